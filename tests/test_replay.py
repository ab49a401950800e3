"""One key, one effect: the same request is answered again, another is a conflict. On both storages."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Barrier, Thread
from zoneinfo import ZoneInfo

import attrs
import pytest

from entitlements import Entitlements
from entitlements.errors import AmountError, IdempotencyConflict, NotSubscribed
from entitlements.testing import FrozenClock

START = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAY = timedelta(days=1)

USES = {
    "consume": lambda ent: ent.consume("acme", "api_calls", 7, key="k", scope="team:a", dimensions={"model": "large"}),
    "consume in part": lambda ent: ent.consume("acme", "chat", 250, key="k", depletion="partial"),
    "consume exactly": lambda ent: ent.record("acme", "storage", "1.50", key="k"),
    "record late": lambda ent: ent.record("acme", "chat", 3, key="k", occurred_at=START - DAY),
    "record over the limit": lambda ent: ent.record("acme", "seats", 50, key="k"),
    "free": lambda ent: ent.free("acme", "seats", 1, key="k"),
    "reset_usage": lambda ent: ent.reset_usage("acme", "seats", key="k"),
    "consume without a limit": lambda ent: ent.consume("free", "api_calls", 3, key="k"),
}
CHANGES = {
    "subscribe": lambda ent: ent.subscribe("new", "pro", key="k", zone="Asia/Tokyo", ends_at=START + 90 * DAY),
    "change_plan": lambda ent: ent.change_plan("acme", "free", key="k", usage="reset"),
    "cancel": lambda ent: ent.cancel("acme", key="k", at=START + DAY),
    "set_status": lambda ent: ent.set_status("acme", "paused", key="k"),
    "start_trial": lambda ent: ent.start_trial("acme", "pro", key="k", days=3),
    "add_addon": lambda ent: ent.add_addon("acme", "extra_seats", key="k", quantity=2),
    "remove_addon": lambda ent: ent.remove_addon("acme", "extra_seats", key="k"),
    "promote": lambda ent: ent.promote("acme", "launch", key="k"),
    "override": lambda ent: ent.override("acme", "history", 365, key="k", reason="as agreed"),
    "override of limits": lambda ent: ent.override(
        "acme", "api_calls", {"limit": "unlimited", "reset": "day"}, key="k"
    ),
    "override that denies": lambda ent: ent.override("acme", "seats", mode="deny", key="k"),
    "remove_override": lambda ent: ent.remove_override("acme", "exports", key="k"),
}


@pytest.fixture
def ent(engine):
    """An engine with a customer who holds and has used something of everything."""
    engine.subscribe("acme", "pro", at=START - 8 * DAY)
    engine.add_addon("acme", "extra_seats")
    engine.override("acme", "exports", True)
    engine.override("acme", "storage", "10")
    engine.consume("acme", "seats", 3)
    engine.promote("free", "launch")
    return engine


def logs(ent):
    return list(ent.feed().batches)


def test_every_verb_that_writes_is_here(ent):
    verbs = {batch.request["verb"] for call in (USES | CHANGES).values() for batch in [_written(ent, call)]}
    assert verbs == {
        "consume", "record", "free", "reset_usage", "subscribe", "change_plan", "cancel", "set_status", "start_trial",
        "add_addon", "remove_addon", "promote", "override", "remove_override",
    }  # fmt: skip


def _written(ent, call):
    with Entitlements(ent.catalog, storage="memory:", clock=FrozenClock(START)) as fresh:
        fresh.subscribe("acme", "pro", at=START - 8 * DAY)
        fresh.add_addon("acme", "extra_seats")
        fresh.override("acme", "exports", True)
        fresh.override("acme", "storage", "10")
        fresh.consume("acme", "seats", 3)
        fresh.promote("free", "launch")
        call(fresh)
        return logs(fresh)[-1]


@pytest.mark.parametrize("name", USES)
def test_a_use_is_answered_again_as_it_was_and_nothing_is_written(ent, clock, name):
    first = USES[name](ent)
    before = logs(ent)
    clock.advance(3 * DAY)
    ent.record("acme", "seats", 1, key="another")
    again = USES[name](ent)
    assert first.receipt.replayed is False
    assert again.receipt.replayed is True
    assert attrs.evolve(again, receipt=attrs.evolve(again.receipt, replayed=False)) == first
    assert again.to_dict() | {"receipt": None} == first.to_dict() | {"receipt": None}
    assert again.at == first.at
    assert logs(ent)[: len(before)] == before
    assert len(logs(ent)) == len(before) + 1


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_answered_again_as_it_was_and_nothing_is_written(ent, clock, name):
    first = CHANGES[name](ent)
    before = logs(ent)
    clock.advance(3 * DAY)
    assert CHANGES[name](ent) == first
    assert logs(ent) == before


@pytest.mark.parametrize("name", USES | CHANGES)
def test_an_answer_survives_a_restart(database, catalog_file, clock, name):
    call = (USES | CHANGES)[name]
    with Entitlements(catalog_file, storage=f"sqlite:///{database}", clock=clock) as ent:
        ent.subscribe("acme", "pro", at=START - 8 * DAY)
        ent.add_addon("acme", "extra_seats")
        ent.override("acme", "exports", True)
        ent.consume("acme", "seats", 3)
        first = call(ent)
        before = logs(ent)
    with Entitlements(catalog_file, storage=f"sqlite:///{database}", clock=clock) as ent:
        again = call(ent)
        assert logs(ent) == before
    if name in CHANGES:
        assert again == first
    else:
        assert again.receipt == attrs.evolve(first.receipt, replayed=True)
        assert attrs.evolve(again, receipt=None) == attrs.evolve(first, receipt=None)


@pytest.mark.parametrize(
    ("field", "call"),
    [
        ("amount", lambda ent: ent.consume("acme", "api_calls", 8, key="k")),
        ("feature", lambda ent: ent.consume("acme", "chat", 7, key="k")),
        ("verb", lambda ent: ent.record("acme", "api_calls", 7, key="k")),
        ("verb", lambda ent: ent.record("acme", "chat", 8, key="k")),
        ("verb", lambda ent: ent.cancel("acme", key="k")),
        ("scope", lambda ent: ent.consume("acme", "api_calls", 7, key="k", scope="team:a")),
        ("dimensions", lambda ent: ent.consume("acme", "api_calls", 7, key="k", dimensions={"model": "large"})),
        ("occurred_at", lambda ent: ent.consume("acme", "api_calls", 7, key="k", occurred_at=START)),
        ("depletion", lambda ent: ent.consume("acme", "api_calls", 7, key="k", depletion="soft")),
    ],
)
def test_a_key_that_comes_back_with_another_request_is_a_conflict(ent, field, call):
    ent.consume("acme", "api_calls", 7, key="k")
    before = logs(ent)
    with pytest.raises(IdempotencyConflict) as conflict:
        call(ent)
    assert conflict.value.field == field
    assert conflict.value.first != conflict.value.second
    assert f"key 'k' was used before with {field} = " in str(conflict.value)
    assert logs(ent) == before


def test_a_conflict_tells_both_requests(ent):
    ent.consume("acme", "api_calls", 7, key="k")
    with pytest.raises(IdempotencyConflict) as conflict:
        ent.consume("acme", "api_calls", "8.0", key="k")
    assert (conflict.value.field, conflict.value.first, conflict.value.second) == ("amount", "7", "8")


@pytest.mark.parametrize("first", [10, "10", Decimal("10.00")])
@pytest.mark.parametrize("again", [10, "10", "10.0", Decimal("10.00"), Decimal("1E+1")])
def test_ten_is_ten_in_any_spelling(ent, first, again):
    ent.consume("acme", "api_calls", first, key="k")
    assert ent.consume("acme", "api_calls", again, key="k").receipt.replayed
    ent.override("acme", "seats", first, key="o")
    assert ent.override("acme", "seats", again if again != "10.0" else "10", key="o").entitlement.limits[0].amount == 10


def test_an_instant_in_another_zone_is_the_same_request(ent):
    berlin = START.astimezone(ZoneInfo("Europe/Berlin"))
    first = ent.cancel("acme", at=START + DAY, key="k")
    assert ent.cancel("acme", at=berlin + DAY, key="k") is first is None


def test_true_and_one_are_not_the_same_request(ent):
    ent.override("acme", "exports", True, key="k")
    with pytest.raises(IdempotencyConflict):
        ent.override("acme", "exports", 1, key="k")


def test_a_denial_does_not_consume_its_key(ent):
    denied = ent.consume("other", "seats", 3, key="k")
    assert denied.code == "limit_reached"
    assert ent.entries("other") == ()
    ent.subscribe("other", "pro")
    allowed = ent.consume("other", "seats", 3, key="k")
    assert (allowed.allowed, allowed.receipt.replayed) == (True, False)
    assert ent.consume("other", "seats", 3, key="k").receipt.replayed


def test_a_denied_key_may_come_back_with_another_request(ent):
    assert not ent.consume("other", "seats", 3, key="k")
    assert ent.consume("other", "seats", 2, key="k").allowed


def test_an_error_does_not_consume_its_key(ent):
    with pytest.raises(AmountError):
        ent.consume("acme", "api_calls", "0.5", key="k")
    with pytest.raises(NotSubscribed):
        ent.remove_override("acme", "history", key="k")
    assert not ent.consume("acme", "api_calls", key="k").receipt.replayed


def test_an_answer_stands_though_it_would_be_denied_now(ent):
    first = ent.consume("other", "seats", 2, key="k")
    assert not ent.consume("other", "seats", 1)
    assert ent.consume("other", "seats", 2, key="k").used == first.used


def test_an_answer_stands_though_the_catalog_has_let_the_feature_go(opened, database, clock):
    features = {"tokens": {"type": "metered"}, "others": {"type": "metered"}}
    before = {"version": 1, "default_plan": "p", "features": features, "plans": {"p": {"entitlements": {"tokens": 5}}}}
    after = {"version": 1, "features": {"others": {"type": "metered"}}}
    with Entitlements(before, storage=f"sqlite:///{database}", clock=clock) as ent:
        first = ent.consume("acme", "tokens", 2, key="k")
    with Entitlements(after, storage=f"sqlite:///{database}", clock=clock) as ent:
        again = ent.consume("acme", "tokens", 2, key="k")
        assert again.receipt.replayed
        assert attrs.evolve(again, receipt=None) == attrs.evolve(first, receipt=None)
        assert ent.consume("acme", "tokens", 2, key="other").code == "unknown_feature"


def test_a_key_belongs_to_its_customer(ent):
    ent.consume("acme", "api_calls", 7, key="k")
    other = ent.consume("other", "api_calls", 5, key="k")
    assert (other.receipt.replayed, other.used) == (False, 5)


@pytest.mark.parametrize(("key", "another"), [("k", "K"), ("é", "e\u0301"), ("a b", "a  b"), ("1", "01")])
def test_keys_are_compared_as_they_are(ent, key, another):
    ent.consume("acme", "api_calls", 1, key=key)
    assert not ent.consume("acme", "api_calls", 1, key=another).receipt.replayed


def test_without_a_key_every_call_counts(ent):
    assert [ent.consume("acme", "api_calls").used for _ in range(3)] == [1, 2, 3]


def test_many_at_once_with_one_key_have_one_effect(ent):
    ready, answers = Barrier(8), []

    def work():
        ready.wait()
        answers.append(ent.consume("acme", "api_calls", 5, key="k"))

    threads = [Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.receipt.replayed for answer in answers) == [False] + [True] * 7
    assert {answer.used for answer in answers} == {5}
    assert ent.check("acme", "api_calls").used == 5
