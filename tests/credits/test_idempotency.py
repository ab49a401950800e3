"""One key, one effect: the first answer again, a conflict that names its field, and nothing else, ever."""

import re
from datetime import UTC, timedelta, timezone
from decimal import Decimal

import attrs
import pytest

from entitlements.errors import AmountError, IdempotencyConflict
from entitlements.testing.proving import together

from .conftest import CATALOG
from .reading import DAY, START, consume, grant, left, moves, refund, reserve, size, standing

VERBS = {
    "grant_credits": lambda ent, key: grant(ent, 7, key=key),
    "consume_credits": lambda ent, key: consume(ent, 7, key=key, feature="chat", scope="team:a"),
    "soft charge": lambda ent, key: consume(ent, 70, "soft", key=key),
    "reserve_credits": lambda ent, key: reserve(ent, 7, key=key).decision,
    "reserve": lambda ent, key: ent.reserve("acme", "seats", 2, key=key).decision,
    "refund": lambda ent, key: refund(ent, "taken", 2, key=key),
    "refund of usage": lambda ent, key: refund(ent, "used", 2, key=key),
    "settle": lambda ent, key: ent.settle("acme", "held", 3),
    "settle beyond": lambda ent, key: ent.settle("acme", "held", 300),
    "settle usage": lambda ent, key: ent.settle("acme", "held usage", 2),
    "release": lambda ent, key: ent.release("acme", "held"),
    "release usage": lambda ent, key: ent.release("acme", "held usage"),
    "void_block": lambda ent, key: ent.void_block("acme", "base"),
}


def prepared(ent):
    """A customer of whom every verb can ask something."""
    grant(ent, 50, key="base")
    consume(ent, 5, key="taken")
    ent.consume("acme", "seats", 4, key="used")
    reserve(ent, 5, key="held", ttl=None, feature="chat")
    ent.reserve("acme", "seats", 3, key="held usage", ttl=None)
    return ent


def plain(answer):
    """An answer without what says that it is a replay."""
    if not hasattr(answer, "receipt"):
        return answer
    return attrs.evolve(answer, receipt=attrs.evolve(answer.receipt, replayed=False)).to_dict()


@pytest.mark.parametrize("verb", VERBS)
def test_the_same_request_again_gives_the_first_answer_and_writes_nothing(ent, clock, verb):
    prepared(ent)
    first = VERBS[verb](ent, "k")
    lines = size(ent)
    clock.advance(7 * DAY)
    again = VERBS[verb](ent, "k")
    assert plain(again) == plain(first)
    assert getattr(again, "receipt", None) is None or (first.receipt.replayed, again.receipt.replayed) == (False, True)
    assert size(ent) == lines


@pytest.mark.parametrize("verb", VERBS)
def test_the_first_answer_is_given_by_every_engine_on_the_same_log(opened, shared, verb):
    one, other = prepared(opened(CATALOG, storage=shared)), opened(CATALOG, storage=shared)
    assert plain(VERBS[verb](one, "k")) == plain(VERBS[verb](other, "k"))


@pytest.mark.parametrize("verb", VERBS)
def test_the_first_answer_is_given_after_reopening_the_file(opened, database, verb):
    address = f"sqlite:///{database}"
    one = prepared(opened(CATALOG, storage=address))
    first = VERBS[verb](one, "k")
    one.close()
    other = opened(CATALOG, storage=address)
    lines = size(other)
    assert plain(VERBS[verb](other, "k")) == plain(first)
    assert size(other) == lines


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("amount", {"amount": 8}),
        ("credit", {"credit": "ai"}),
        ("category", {"category": "promotional"}),
        ("cost_basis", {"cost_basis": "0"}),
        ("effective_at", {"effective_at": START}),
        ("expires_at", {"expires_at": START + DAY}),
        ("expires_in", {"expires_in": 5}),
        ("features", {"features": ["chat"]}),
        ("metadata", {"metadata": {"a": 1}}),
        ("priority", {"priority": 49}),
        ("scope", {"scope": "team:a"}),
        ("settle_debt", {"settle_debt": False}),
        ("at", {"at": START}),
    ],
)
def test_another_grant_under_the_same_key_conflicts_and_names_the_field(ent, field, told):
    ent.grant_credits("acme", credit="plain", amount=7, key="k")
    with pytest.raises(IdempotencyConflict) as conflict:
        ent.grant_credits("acme", **{"credit": "plain", "amount": 7, "key": "k"} | told)
    assert conflict.value.field == field
    assert (size(ent), left(ent)) == (1, 7)


@pytest.mark.parametrize("verb", ["consume_credits", "reserve_credits"])
@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("amount", {"amount": 6}),
        ("credit", {"credit": "ai"}),
        ("feature", {"feature": "chat"}),
        ("scope", {"scope": "team:a"}),
        ("at", {"at": START}),
    ],
)
def test_another_charge_under_the_same_key_conflicts_and_names_the_field(ent, verb, field, told):
    grant(ent, 10)
    same = {"credit": "plain", "amount": 5, "key": "k"}
    getattr(ent, verb)("acme", **same)
    with pytest.raises(IdempotencyConflict) as conflict:
        getattr(ent, verb)("acme", **same | told)
    assert conflict.value.field == field
    assert ent.balance("acme", "plain").available == 5


def test_a_conflict_says_what_was_asked_first_and_what_now(ent):
    grant(ent, 10)
    consume(ent, "5.00")
    said = "key 'c' was used before with amount = '5', now amount = '6'; nothing was done"
    with pytest.raises(IdempotencyConflict, match=said) as conflict:
        consume(ent, 6)
    assert (conflict.value.first, conflict.value.second) == ("5", "6")


@pytest.mark.parametrize(
    ("field", "first", "second", "words"),
    [
        ("ttl", 3600, 60, ("1h", "1m")),
        ("ttl", timedelta(days=30), None, ("30d", None)),
        ("ttl", timedelta(seconds=90), timedelta(seconds=90, microseconds=500), ("90s", "90.0005s")),
        ("at", START, START + DAY, ("2026-03-10 12:00 UTC", "2026-03-11 12:00 UTC")),
        ("at", None, START + timedelta(seconds=5), (None, "2026-03-10 12:00:05 UTC")),
        ("at", START, START + timedelta(microseconds=5), ("2026-03-10 12:00 UTC", "2026-03-10 12:00:00.000005 UTC")),
    ],
)
def test_a_conflict_tells_spans_and_instants_as_people_write_them(ent, clock, field, first, second, words):
    grant(ent, 10)
    clock.set(START + 2 * DAY)
    ent.reserve_credits("acme", "plain", 5, key="h", **{field: first})
    said = f"used before with {field} = {words[0]!r}, now {field} = {words[1]!r}; nothing"
    with pytest.raises(IdempotencyConflict, match=re.escape(said)) as conflict:
        ent.reserve_credits("acme", "plain", 5, key="h", **{field: second})
    assert (conflict.value.first, conflict.value.second) == words


@pytest.mark.parametrize(
    ("verb", "field", "told"),
    [
        ("consume_credits", "depletion", {"depletion": "soft"}),
        ("reserve_credits", "ttl", {"ttl": 60}),
        ("reserve_credits", "ttl", {"ttl": None}),
        ("reserve_credits", "late", {"late": "refuse"}),
    ],
)
def test_how_a_charge_is_made_is_part_of_the_request(ent, verb, field, told):
    grant(ent, 10)
    same = {"credit": "plain", "amount": 5, "key": "k"}
    getattr(ent, verb)("acme", **same)
    with pytest.raises(IdempotencyConflict) as conflict:
        getattr(ent, verb)("acme", **same | told)
    assert conflict.value.field == field


@pytest.mark.parametrize(
    ("field", "told"),
    [("amount", {"amount": 1}), ("batch_key", {"batch_key": "other"}), ("batch_key", {"batch_key": "none"})],
)
def test_another_refund_under_the_same_key_conflicts_even_if_there_is_nothing_to_refund(ent, field, told):
    grant(ent, 10)
    consume(ent, 2)
    consume(ent, 2, key="other")
    same = {"batch_key": "c", "amount": 2, "key": "k"}
    ent.refund("acme", **same)
    with pytest.raises(IdempotencyConflict) as conflict:
        ent.refund("acme", **same | told)
    assert conflict.value.field == field


def test_a_key_of_another_verb_conflicts_and_never_answers_for_it(ent):
    grant(ent, 10, key="k")
    for verb in (
        lambda: consume(ent, 10, key="k"),
        lambda: reserve(ent, 10, key="k"),
        lambda: refund(ent, "k", key="k"),
        lambda: ent.consume("acme", "seats", key="k"),
        lambda: ent.subscribe("acme", "free", key="k"),
    ):
        with pytest.raises(IdempotencyConflict) as conflict:
            verb()
        assert (conflict.value.field, conflict.value.first) == ("verb", "grant_credits")
    assert size(ent) == 1


def test_a_key_belongs_to_one_customer(ent):
    for customer, amount in (("acme", 10), ("ACME", 20), ("acme2", 30)):
        block = grant(ent, amount, customer=customer)
        assert (block.id, block.amount) == ("g", amount)
        assert consume(ent, amount, customer=customer).receipt.burned == {"g": amount}
    assert size(ent) == 2


def test_equal_amounts_instants_and_spans_are_one_however_they_are_written(ent):
    zone = timezone(timedelta(hours=2))
    same = [
        {"amount": 10, "expires_at": START + DAY, "cost_basis": 9, "features": ["sso", "chat"], "scope": "team:a/user:b"},
        {"amount": "10", "expires_at": (START + DAY).astimezone(zone), "cost_basis": "9.00",
         "features": ("chat", "sso", "chat"), "scope": {"team": "a", "user": "b"}},
        {"amount": Decimal("10.00"), "expires_at": (START + DAY).astimezone(UTC), "cost_basis": Decimal(9),
         "features": {"chat", "sso"}, "scope": {"user": "b", "team": "a"}, "priority": 50, "category": "paid"},
    ]  # fmt: skip
    blocks = [ent.grant_credits("acme", "ai", key="k", **told) for told in same]
    assert blocks[0] == blocks[1] == blocks[2]
    told = {"feature": "chat", "scope": "team:a/user:b"}
    holds = [reserve(ent, 1, "ai", ttl=ttl, **told) for ttl in (60, timedelta(minutes=1))]
    assert [hold.decision.receipt.replayed for hold in holds] == [False, True]


def test_a_denial_does_not_use_up_its_key(ent):
    assert not consume(ent, 5, key="k")
    assert not reserve(ent, 5, key="k")
    grant(ent, 5)
    decision = consume(ent, 4, key="k")
    assert (decision.allowed, decision.receipt.replayed) == (True, False)
    assert consume(ent, 4, key="k").receipt.replayed


def test_misuse_does_not_use_up_its_key(ent):
    with pytest.raises(AmountError):
        grant(ent, 0, key="k")
    with pytest.raises(LookupError):
        refund(ent, "nothing", key="k")
    assert grant(ent, 5, key="k").amount == 5


def test_a_key_of_none_protects_nobody(ent):
    grant(ent, 10)
    for _ in range(2):
        consume(ent, 3, key=None)
    assert left(ent) == 4


def test_a_grant_is_replayed_after_its_end(ent, clock):
    first = grant(ent, 5, expires_at=START + DAY)
    clock.advance(2 * DAY)
    assert grant(ent, 5, expires_at=START + DAY) == first
    assert left(ent) == 0


def test_a_charge_is_replayed_though_its_credit_left_the_catalog(ent, changed):
    grant(ent, 5)
    first = consume(ent, 2)
    assert plain(consume(changed(credits={"ai": {}}), 2)) == plain(first)


@pytest.mark.parametrize("verb", ["grant_credits", "consume_credits", "reserve_credits", "settle", "release", "refund"])
def test_fifty_threads_with_one_key_have_one_effect(opened, shared, verb):
    engines = [prepared(opened(CATALOG, storage=shared)), opened(CATALOG, storage=shared)]
    lines = size(engines[0])
    answers = together(50, lambda number: VERBS[verb](engines[number % 2], "k"))
    assert all(plain(answer) == plain(answers[0]) for answer in answers)
    written = engines[0].entries("acme", after=lines)
    assert len({line.key for line in written}) == 1
    if verb != "grant_credits":
        assert sorted(answer.receipt.replayed for answer in answers) == [False] + [True] * 49


def test_ten_charges_of_three_at_once_on_a_balance_of_three_pass_once(opened, shared):
    ent = opened(CATALOG, storage=shared)
    grant(ent, 3)
    answers = together(10, lambda number: consume(ent, 3, key=f"c{number}"))
    assert sorted(map(bool, answers)) == [False] * 9 + [True]
    assert {answer.code for answer in answers} == {"ok", "insufficient_credits"}
    assert standing(ent) == (0, 0, 0)
    assert moves(ent)[1:] == [("burned", 3, "g")]
