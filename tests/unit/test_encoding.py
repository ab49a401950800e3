"""Ledger values as JSON and back: nothing lost, and nothing that is not JSON."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entitlements.amounts import MAX_UNITS, UNLIMITED
from entitlements.catalog.model import Entitlement, Limit, Period
from entitlements.ledger.budgets import Budget
from entitlements.ledger.encoding import (
    decode_data,
    decode_entitlement,
    decode_head,
    encode_data,
    encode_entitlement,
    encode_head,
    from_instant,
    show_entry,
    to_instant,
)
from entitlements.ledger.entries import EPOCH, Entry
from entitlements.ledger.facts import Facts, HeldAddOn, Override, PromotionRun, Subscription, Trial
from entitlements.ledger.sealing import sealed_text
from entitlements.ledger.state import FACT_KINDS, Head

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
LATER = NOON + timedelta(days=14, microseconds=1)
FIVE_HOURS = Period("hour", 5, "first_use")

ENTITLEMENTS = [
    Entitlement("exports", "deny"),
    Entitlement("exports", "set", value=False),
    Entitlement("history", "grant", value=7),
    Entitlement("history", "grant", value=0),
    Entitlement("ratio", "set", value=Decimal("0.10")),
    Entitlement("tier", "set", value="7"),
    Entitlement("tier", "set", value=""),
    Entitlement("regions", "set", value=("eu", "us")),
    Entitlement("regions", "set", value=()),
    Entitlement("seats", "add", limits=(Limit(0),)),
    Entitlement("seats", "set", limits=(Limit(UNLIMITED),)),
    Entitlement("calls", "set", limits=(Limit(MAX_UNITS, FIVE_HOURS, "soft", MAX_UNITS), Limit(5, Period("week")))),
]
FACTS = {
    "subscribed": Subscription("app-1", "app", "pro", NOON, None, NOON, LATER, "Asia/Tokyo", "paused", "sub_1", "v1"),
    "trial_started": Trial("pro", NOON, LATER, "v1"),
    "addon_set": HeldAddOn("extra_seats", 3, NOON, None),
    "promoted": PromotionRun("launch", NOON, LATER),
    "overridden": Override(ENTITLEMENTS[-1], NOON, LATER, 4, "as agreed — 😀"),
    "budget_set": Budget("$budget:1", (("team", "é"),), None, "ai", (("model", "l"),), 5, 2, NOON, LATER, FIVE_HOURS, NOON),
}


def through_json(value):
    return json.loads(json.dumps(value, allow_nan=False))


@pytest.mark.parametrize("entitlement", ENTITLEMENTS, ids=repr)
def test_an_entitlement_survives(entitlement):
    back = decode_entitlement(through_json(encode_entitlement(entitlement)))
    assert back == entitlement
    assert type(back.value) is type(entitlement.value)
    assert str(back.value) == str(entitlement.value)


@pytest.mark.parametrize("kind", FACT_KINDS)
def test_the_data_of_every_kind_of_fact_survives(kind):
    example = next(fact for name, fact in FACTS.items() if FACT_KINDS[name] == FACT_KINDS[kind])
    for facts in ((), (example,), (example, example)):
        assert decode_data(kind, through_json(encode_data(kind, {"facts": facts}))) == {"facts": facts}


def test_other_data_is_json_already():
    told = {"scope": {"team": "research"}, "dimensions": {"model": "large"}}
    assert decode_data("used", through_json(encode_data("used", told))) == told


@pytest.mark.parametrize(
    "head",
    [
        Head(),
        Head(5, 3, NOON, Facts((FACTS["subscribed"],))),
        Head(5, 3, NOON, Facts(*((fact,) for kind, fact in FACTS.items() if kind != "budget_set")), {"calls/5 hours": NOON}, {"a": {"b": 2}}),
    ],
)
def test_a_head_survives(head):
    back = decode_head(through_json(encode_head(head)), Head(head.seq, head.batches, head.at))
    assert back == head


@pytest.mark.parametrize("value", [Decimal("1.50"), {1, 2}, NOON, b"a"])
def test_what_is_no_json_is_never_written(value):
    with pytest.raises(TypeError, match=f"a value of type {type(value).__name__} is no JSON value"):
        sealed_text({"metadata": {"deep": [value]}}, "salt")
    with pytest.raises(ValueError, match="not JSON compliant"):
        sealed_text({"amount": float("nan")}, "salt")


def test_an_empty_head_takes_no_room():
    assert encode_head(Head()) == {}


@pytest.mark.parametrize(
    ("at", "micros"),
    [(EPOCH, 0), (EPOCH - timedelta(microseconds=1), -1), (datetime(2000, 1, 1, tzinfo=UTC), 946_684_800_000_000)],
)
def test_an_instant_is_microseconds_since_1970(at, micros):
    assert from_instant(at) == micros
    assert to_instant(micros) == at


@given(st.datetimes(timezones=st.just(UTC)))
def test_every_instant_survives(at):
    assert to_instant(from_instant(at)) == at
    assert to_instant(from_instant(at)).utcoffset() == timedelta(0)


def test_an_entry_of_usage_is_shown_with_its_counter():
    entry = Entry("used", NOON, "calls", "calls/month", EPOCH, 3, {"scope": {"team": "a"}}, "", 7, "k", LATER)
    assert show_entry(entry) == {
        "seq": 7,
        "key": "k",
        "kind": "used",
        "subject": "calls",
        "at": "2026-03-10T12:00:00+00:00",
        "recorded_at": "2026-03-24T12:00:00.000001+00:00",
        "counter": "calls/month",
        "amount": 3,
        "window": "1970-01-01T00:00:00+00:00",
        "data": {"scope": {"team": "a"}},
    }


@pytest.mark.parametrize("kind", FACTS)
def test_an_entry_of_a_fact_is_shown_as_json(kind):
    entry = Entry(kind, NOON, FACTS[kind].key, data={"facts": (FACTS[kind],)})
    shown = show_entry(entry)
    assert through_json(shown) == shown
    assert "counter" not in shown
    assert len(shown["data"]["facts"]) == 1
