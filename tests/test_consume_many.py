"""`consume_many`: several things in one commit, each with its own key and answer."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from entitlements import (
    AmountError,
    Decision,
    Entitlements,
    IdempotencyConflict,
    LogCorrupt,
    OutcomeUnknown,
    Request,
    StorageUnavailable,
)
from entitlements.storage.memory import MemoryStorage
from entitlements.storage.sqlite import SQLiteStorage
from entitlements.testing import FrozenClock

CATALOG = {
    "features": {
        "chat": {"type": "metered", "reset": "month", "backdate": "7d"},
        "seats": {"type": "metered", "reset": "none", "scale": 1},
        "sso": {"type": "boolean"},
    },
    "plans": {
        "pro": {"entitlements": {"chat": 10, "seats": 3, "sso": True}},
        "old": {"version": "pinned", "entitlements": {"chat": 5}},
    },
}


@pytest.fixture
def ent(opened: Callable[..., Entitlements]) -> Entitlements:
    engine = opened(CATALOG)
    for customer in ("acme", "other"):
        engine.subscribe(customer, "pro")
    return engine


def used(ent: Entitlements, customer: str = "acme", feature: str = "chat") -> object:
    return ent.check(customer, feature).used


def test_many_come_to_what_they_come_to_one_by_one(opened: Callable[..., Entitlements], ent: Entitlements) -> None:
    asked = [
        Request("acme", "chat", 4, key="a"),
        Request("other", "chat", "3", key="b", scope="user:ann", dimensions={"model": "large"}),
        Request("acme", "chat", 7, key="c"),
        Request("acme", "seats", "1.5", key="d"),
        Request("acme", "chat", 7, key="e", depletion="partial"),
        Request("nobody", "chat", key="f"),
        Request("acme", "chta", key="g"),
    ]
    single = opened(CATALOG, storage="memory:")
    for customer in ("acme", "other"):
        single.subscribe(customer, "pro")
    alone = [
        single.consume(
            each.customer, each.feature, each.amount, key=each.key, scope=each.scope,
            dimensions=each.dimensions, depletion=each.depletion,
        )
        for each in asked
    ]  # fmt: skip
    together = ent.consume_many(asked)
    assert together == alone
    assert [decision.code for decision in together] == [
        "ok", "ok", "limit_reached", "ok", "ok", "unknown_customer", "unknown_feature",
    ]  # fmt: skip
    for customer in ("acme", "other"):
        assert ent.entries(customer)[1:] == single.entries(customer)[1:]
        assert ent.verify(customer) == ()


def test_they_are_one_commit(ent: Entitlements) -> None:
    pulse = ent._storage.pulse()
    ent.consume_many([Request("acme", "chat", key="w")])
    one = ent._storage.pulse() - pulse
    ent.consume_many([Request(customer, "chat") for customer in ("acme", "other") * 3])
    assert ent._storage.pulse() - pulse - one == (one if isinstance(ent._storage, SQLiteStorage) else 6)


def test_nothing_asked_is_nothing_done(ent: Entitlements) -> None:
    assert ent.consume_many([]) == []


def test_a_key_that_was_used_is_answered_again_beside_what_is_new(ent: Entitlements) -> None:
    first = ent.consume("acme", "chat", 4, key="a")
    again, new, twice = ent.consume_many(
        [Request("acme", "chat", 4, key="a"), Request("acme", "chat", 1, key="b"), Request("acme", "chat", 1, key="b")]
    )
    assert (again.used, again.receipt and again.receipt.replayed) == (first.used, True)
    assert (new.used, new.receipt and new.receipt.replayed) == (5, False)
    assert (twice.used, twice.receipt and twice.receipt.replayed) == (5, True)
    assert used(ent) == 5


def test_the_same_list_again_books_nothing(ent: Entitlements) -> None:
    asked = [Request("acme", "chat", 2, key=f"k{n}") for n in range(7)]
    assert [bool(decision) for decision in ent.consume_many(asked)] == [True] * 5 + [False] * 2
    assert [bool(decision) for decision in ent.consume_many(asked)] == [True] * 5 + [False] * 2
    assert used(ent) == 10


def test_without_keys_each_is_booked(ent: Entitlements) -> None:
    ent.consume_many([Request("acme", "chat")] * 3)
    ent.consume_many([Request("acme", "chat")] * 3)
    assert used(ent) == 6


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        (Request("acme", "chat", -1), AmountError, "below|negative|zero or more"),
        (Request("acme", "chat", 1.5), AmountError, "1.5"),
        (Request("", "chat"), ValueError, "customer"),
        (Request("acme", "chat", key="$k"), ValueError, "key"),
        (Request("acme", "chat", depletion="sfot"), ValueError, "soft"),
        (Request("acme", 7), TypeError, "feature"),
        (Request("acme", "chat", 1, key="taken"), IdempotencyConflict, "amount"),
        (Request("acme", "sso", key="k"), ValueError, "boolean"),
        (Request("acme", "chat", "0.5", key="k"), AmountError, "scale|fraction|whole"),
    ],
)
def test_misuse_by_one_books_none_and_says_which(
    ent: Entitlements, wrong: Request, error: type[Exception], said: str
) -> None:
    ent.consume("acme", "chat", 2, key="taken")
    good = [Request("acme", "chat", key="good"), Request("other", "seats", key="fine")]
    with pytest.raises(error, match=said) as caught:
        ent.consume_many([*good, wrong, Request("acme", "chat", key="last")])
    assert any("requests[2]" in note for note in caught.value.__notes__)
    assert (used(ent), used(ent, "other", "seats")) == (2, 0)
    assert [bool(decision) for decision in ent.consume_many(good)] == [True, True]


@pytest.mark.parametrize("wrong", ["acme", 7, None, {"a": 1}, Request("acme", "chat"), [("acme", "chat")], [None]])
def test_what_is_no_list_of_requests_is_refused(ent: Entitlements, wrong: object) -> None:
    with pytest.raises(TypeError, match="Request"):
        ent.consume_many(wrong)


def test_late_usage_is_late_in_company_too(ent: Entitlements, clock: FrozenClock) -> None:
    early = clock() - timedelta(days=3)
    (decision,) = ent.consume_many([Request("acme", "chat", key="k", occurred_at=early)])
    assert decision.receipt is not None
    assert decision.receipt.late
    with pytest.raises(ValueError, match="backdate") as caught:
        ent.consume_many([Request("acme", "chat"), Request("acme", "chat", occurred_at=clock() - timedelta(days=8))])
    assert "requests[1]" in caught.value.__notes__[0]


def test_what_is_remembered_is_forgotten_and_who_listens_is_told_of_each(ent: Entitlements) -> None:
    told: list[tuple[str, Decision]] = []
    assert (used(ent), used(ent, "other")) == (0, 0)
    for event in ("consumed", "denied"):
        ent.on(event, lambda decision, event=event: told.append((event, decision)))
    decisions = ent.consume_many(
        [Request("acme", "chat", 4), Request("other", "chat", 11), Request("other", "chat", 5)]
    )
    assert told == list(zip(["consumed", "denied", "consumed"], decisions, strict=True))
    assert (used(ent), used(ent, "other")) == (4, 5)


def test_a_customer_on_a_pinned_plan_is_among_them(opened: Callable[..., Entitlements], shared: object) -> None:
    """What the catalog log must say first is written first, and what is sold in an older version is fetched."""
    first = opened(CATALOG, storage=shared)
    first.subscribe("pinned", "old")
    later = opened({**CATALOG, "plans": {"old": {"version": "pinned", "entitlements": {"chat": 1}}}}, storage=shared)
    decisions = later.consume_many([Request("pinned", "chat", 5, key="a"), Request("pinned", "chat", 1, key="b")])
    assert [(bool(decision), decision.limit) for decision in decisions] == [(True, 5), (False, 5)]


def losing(kind: type) -> type:
    class Losing(kind):
        """Commits, and then says, as often as told to, that it does not know."""

        loses: int = 0

        def transact_all(self, calls):
            outcomes = super().transact_all(calls)
            if self.loses and len(calls) > 1:
                self.loses -= 1
                raise OutcomeUnknown(calls[0].key)
            return outcomes

    return Losing


@pytest.mark.parametrize("kind", [MemoryStorage, SQLiteStorage])
def test_a_lost_answer_is_asked_for_again_and_nothing_is_booked_twice(kind: type, tmp_path, clock: FrozenClock) -> None:
    storage = losing(kind)(*([tmp_path / "app.db"] if kind is SQLiteStorage else []))
    with Entitlements(CATALOG, storage=storage, clock=clock) as ent:
        ent.subscribe("acme", "pro")
        storage.loses = 2
        decisions = ent.consume_many([Request("acme", "chat", 2), Request("acme", "chat", 3)])
        assert [decision.used for decision in decisions] == [2, 5]
        assert used(ent) == 5
        storage.loses = 3
        with pytest.raises(OutcomeUnknown):
            ent.consume_many([Request("acme", "chat", key="a"), Request("acme", "chat", key="b")])
        assert used(ent) == 7


def test_a_storage_that_is_away_is_no_denial(ent: Entitlements) -> None:
    ent._storage.close()
    with pytest.raises(StorageUnavailable):
        ent.consume_many([Request("acme", "chat")])


def test_a_log_that_does_not_hold_is_said_and_nothing_is_booked(database: Path) -> None:
    with closing(sqlite3.connect(database)) as plain, Entitlements(CATALOG, storage=f"sqlite:///{database}") as ent:
        for customer in ("acme", "other"):
            ent.subscribe(customer, "pro")
        plain.executescript("UPDATE heads SET head = 'no json' WHERE customer = 'acme'")
        with pytest.raises(LogCorrupt, match="acme"):
            ent.consume_many([Request("other", "chat"), Request("acme", "chat")])
