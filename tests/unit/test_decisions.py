"""Decisions as values: truth, remaining, waiting, JSON, and what a log keeps of them."""

import json
import pickle
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, localcontext

import attrs
import pytest

from entitlements.amounts import UNLIMITED
from entitlements.decisions import (
    Allowance,
    Decision,
    Receipt,
    json_instant,
    json_number,
    json_value,
    left_of,
    restored,
    stored,
)
from entitlements.errors import EntitlementDenied

AT = datetime(2026, 5, 10, 12, tzinfo=UTC)
START, END = datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)
ALLOWED = Decision(
    True,
    "ok",
    "acme",
    "calls",
    limit=10,
    used=4,
    requested=3,
    source="plan:pro",
    soft=True,
    ceiling=15,
    window_start=START,
    resets_at=END,
    valid_until=END,
    catalog_version="v1",
    scope={"team": "x"},
    at=AT,
    every="month",
)
DENIED = Decision(False, "limit_reached", "acme", "calls", "block", limit=10, used=12, source="plan:pro", at=AT)


# --- truth


def test_a_decision_is_true_exactly_where_it_allows():
    assert ALLOWED
    assert not DENIED


def test_a_decision_is_frozen():
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        ALLOWED.allowed = False


def test_the_instant_it_was_made_is_no_part_of_what_it_says():
    assert attrs.evolve(ALLOWED, at=END) == ALLOWED
    assert attrs.evolve(ALLOWED, used=5) != ALLOWED


def test_a_denial_raises_where_asked_to_and_an_allowance_returns_itself():
    assert ALLOWED.raise_if_denied() is ALLOWED
    with pytest.raises(EntitlementDenied) as caught:
        DENIED.raise_if_denied()
    assert caught.value.decision is DENIED


def test_as_text_it_says_the_code_of_a_denial_and_the_reason():
    assert str(ALLOWED) == "allowed: calls is granted by plan pro: 4 of 10 used"
    assert str(DENIED).startswith("denied (limit_reached): 1 of calls asked for, 0 left of 10 (plan pro)")


def test_a_reason_that_was_given_replaces_the_usual_one():
    assert attrs.evolve(DENIED, said="because").reason == "because"


# --- remaining


@pytest.mark.parametrize(
    ("limit", "used", "left"),
    [
        (10, 4, 6),
        (10, 10, 0),
        (10, 12, 0),
        (0, 0, 0),
        (UNLIMITED, 12, UNLIMITED),
        (Decimal("10.50"), Decimal("0.25"), Decimal("10.25")),
        (Decimal("1.00"), Decimal("2.00"), Decimal("0.00")),
    ],
)
def test_what_remains_is_never_less_than_nothing(limit, used, left):
    found = left_of(limit, used)
    assert (found, str(found)) == (left, str(left))
    assert attrs.evolve(DENIED, limit=limit, used=used).remaining == left


def test_what_remains_does_not_depend_on_the_hosts_decimal_context():
    with localcontext() as context:
        context.prec = 2
        assert left_of(Decimal("123456.78"), Decimal("0.01")) == Decimal("123456.77")


def test_what_is_not_metered_has_no_remainder_and_no_allowances():
    decision = Decision(True, "ok", "acme", "exports", value=True)
    assert (decision.remaining, decision.unlimited, decision.allowances) == (None, False, ())


def test_unlimited_is_a_type_and_not_a_number():
    assert attrs.evolve(ALLOWED, limit=UNLIMITED).unlimited
    assert not attrs.evolve(ALLOWED, limit=2**63 - 1).unlimited


def test_the_one_allowance_of_a_decision_is_what_it_shows():
    assert ALLOWED.allowances == (
        Allowance("plan:pro", 10, 4, soft=True, ceiling=15, every="month", window_start=START, resets_at=END),
    )
    assert ALLOWED.allowances[0].remaining == 6


# --- waiting


THROTTLED = attrs.evolve(DENIED, outcome="throttle", lifted_at=AT + timedelta(seconds=90, microseconds=1))


def test_retry_after_is_whole_seconds_rounded_up():
    assert THROTTLED.retry_after() == 91
    assert THROTTLED.retry_after(AT + timedelta(seconds=90)) == 1


def test_retry_after_counts_from_the_instant_given_else_from_the_decision():
    assert THROTTLED.retry_after(AT + timedelta(seconds=60)) == 31
    assert attrs.evolve(THROTTLED, at=None).retry_after() is None
    assert attrs.evolve(THROTTLED, at=None).retry_after(AT) == 91


def test_retry_after_is_never_negative():
    assert THROTTLED.retry_after(END) == 0


@pytest.mark.parametrize("outcome", ["allow", "block"])
def test_only_a_throttle_is_worth_waiting_for(outcome):
    assert attrs.evolve(THROTTLED, outcome=outcome).retry_after() is None


# --- JSON


def test_a_decision_is_json_with_exact_numbers():
    decision = attrs.evolve(ALLOWED, limit=Decimal("10.50"), used=Decimal("4.25"), requested=Decimal("0.10"))
    told = decision.to_dict()
    assert json.loads(json.dumps(told)) == told
    assert (told["limit"], told["used"], told["remaining"], told["requested"]) == ("10.50", "4.25", "6.25", "0.10")
    assert (told["allowed"], told["outcome"], told["code"]) == (True, "allow", "ok")
    assert told["resets_at"] == "2026-06-01T00:00:00+00:00"
    assert told["reason"] == "calls is granted by plan pro: 4.25 of 10.50 used"
    assert told["scope"] == {"team": "x"}
    assert told["receipt"] is None


def test_json_tells_unlimited_from_missing_and_from_zero():
    told = [attrs.evolve(ALLOWED, limit=limit).to_dict() for limit in (UNLIMITED, None, 0)]
    assert [(each["limit"], each["unlimited"]) for each in told] == [("unlimited", True), (None, False), (0, False)]


def test_every_field_of_a_decision_is_in_its_json_but_the_instant():
    public = {field.name for field in attrs.fields(Decision) if not field.name.startswith("_")} - {"at"}
    assert public | {"reason", "unlimited", "remaining", "allowances"} == set(ALLOWED.to_dict())


def test_json_of_allowances_and_receipts():
    several = Allowance("plan:pro", 10, 4, limits=(Allowance("plan:pro", 5, 1, every="day"),))
    told = several.to_dict()
    assert json.loads(json.dumps(told)) == told
    assert (told["limits"][0]["limit"], told["limits"][0]["every"]) == (5, "day")
    receipt = Receipt("k", 3, booked=Decimal("1.50"), burned={"b1": Decimal("0.50")}, balance_after=Decimal("9.00"))
    assert receipt.to_dict() == {
        "key": "k",
        "seq": 3,
        "replayed": False,
        "late": False,
        "booked": "1.50",
        "burned": {"b1": "0.50"},
        "balance_after": "9.00",
        "price": None,
        "unpaid": 0,
    }


def test_json_values():
    assert json_value(("de", "en")) == ["de", "en"]
    assert json_value(Decimal("1.50")) == "1.50"
    assert [json_value(value) for value in (True, 3, "x", None)] == [True, 3, "x", None]
    assert (json_number(3), json_number(Decimal("3.0")), json_number(UNLIMITED), json_number(None)) == (
        3,
        "3.0",
        "unlimited",
        None,
    )
    assert json_instant(AT) == "2026-05-10T12:00:00+00:00"
    assert json_instant(None) is None


def test_equal_instants_are_spelled_each_in_its_own_zone():
    elsewhere = AT.astimezone(timezone(timedelta(hours=2)))
    assert elsewhere == AT
    assert [json_instant(at) for at in (AT, elsewhere, AT)] == [
        "2026-05-10T12:00:00+00:00", "2026-05-10T14:00:00+02:00", "2026-05-10T12:00:00+00:00",
    ]  # fmt: skip


# --- what a log keeps


RECEIPT = Receipt("k1", 7)


@pytest.mark.parametrize(
    "decision",
    [
        ALLOWED,
        attrs.evolve(ALLOWED, limit=UNLIMITED, ceiling=None, soft=False, resets_at=None),
        attrs.evolve(
            ALLOWED, limit=Decimal("10.50"), used=Decimal("0.00"), requested=Decimal("1.25"), overage=Decimal("0.50")
        ),
        attrs.evolve(ALLOWED, limit=0, used=0, requested=0),
        attrs.evolve(
            ALLOWED,
            choices=(
                Allowance("plan:pro", 10, 4, True, 15, "month", START, END),
                Allowance("trial:top", UNLIMITED, 4, limits=(Allowance("trial:top", Decimal("5.0"), Decimal("1.5")),)),
            ),
        ),
        attrs.evolve(ALLOWED, scope=None, valid_until=None, source=None, said="so"),
    ],
    ids=["plain", "unlimited", "decimals", "zeros", "several allowances", "said"],
)
def test_what_was_stored_is_restored(decision):
    booked = attrs.evolve(decision, receipt=attrs.evolve(RECEIPT, booked=decision.requested, late=True))
    kept = json.loads(json.dumps(stored(booked)))
    again = restored(kept, customer="acme", feature="calls", receipt=attrs.evolve(RECEIPT, replayed=True))
    assert again == attrs.evolve(booked, receipt=attrs.evolve(booked.receipt, replayed=True))
    assert again.at == decision.at
    assert again.reason == decision.reason


def test_a_decision_survives_a_pickle():
    copy = pickle.loads(pickle.dumps(attrs.evolve(ALLOWED, limit=UNLIMITED)))
    assert copy == attrs.evolve(ALLOWED, limit=UNLIMITED)
    assert copy.unlimited
