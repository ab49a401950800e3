"""Statements: worked examples, line by line."""

from __future__ import annotations

import csv
import decimal
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from entitlements import Entitlements, Statement, UnknownCredit
from entitlements.testing import FrozenClock

CATALOG = {
    "features": {"chat": {"type": "metered"}},
    "credits": {"ai": {"scale": 2, "currency": "USD"}, "owed": {"depletion": "soft"}, "fine": {"scale": 9}},
}
JANUARY, FEBRUARY, MARCH, APRIL = (datetime(2026, month, 1, tzinfo=UTC) for month in (1, 2, 3, 4))
NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)
Opened = Callable[..., Entitlements]


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(NOON)


@pytest.fixture
def ent(opened: Opened) -> Entitlements:
    return opened(CATALOG)


def month(ent: Entitlements, start: datetime, end: datetime, credit: str = "ai") -> Statement:
    found = ent.statement("acme", credit, start=start, end=end)
    assert found.adds_up
    return found


def told(statement: Statement) -> list[tuple[str, str, str]]:
    return [(line.what, str(line.amount), str(line.balance)) for line in statement.lines]


class TestLines:
    def test_a_month_as_text(self, ent: Entitlements, clock: FrozenClock) -> None:
        ent.grant_credits(
            "acme", "ai", 300, key="pack", cost_basis="10.00", expires_at=datetime(2026, 3, 11, tzinfo=UTC)
        )
        ent.grant_credits("acme", "ai", 30, key="gift", category="promotional", priority=1)
        clock.advance(timedelta(days=1))
        ent.consume_credits("acme", "ai", 100, key="use", feature="chat")
        hold = ent.reserve_credits("acme", "ai", 40, key="job")
        clock.advance(timedelta(minutes=5))
        hold.settle("25.50")
        assert str(month(ent, JANUARY, FEBRUARY)).splitlines() == [
            "ai credits of acme, 2026-01-01 00:00 UTC to 2026-02-01 00:00 UTC",
            "",
            "  WHEN                  WHAT                                       BLOCK   AMOUNT  BALANCE  DEFERRED USD",
            "                        opening balance                                               0.00",
            "  2026-01-10 12:00 UTC  granted, paid, until 2026-03-11 00:00 UTC  pack   +300.00   300.00        +10.00",
            "  2026-01-10 12:00 UTC  granted, promotional                       gift    +30.00   330.00",
            "  2026-01-11 12:00 UTC  used for chat                              gift    -30.00   300.00",
            "  2026-01-11 12:00 UTC  used for chat                              pack    -70.00   230.00         -2.33",
            "  2026-01-11 12:00 UTC  40.00 held, hold job                       pack      0.00   230.00",
            "  2026-01-11 12:05 UTC  used, hold job                             pack    -25.50   204.50         -0.85",
            "  2026-01-11 12:05 UTC  14.50 given back, hold job                 pack      0.00   204.50",
            "                        closing balance                                             204.50",
            "",
            "  opening: 0.00 available, 0.00 held, 0.00 owed",
            "  closing: 204.50 available, 0.00 held, 0.00 owed",
            "",
            "  CREDITS      OPENING  GRANTED   USED  EXPIRED  VOIDED  REFUNDED  CLOSING",
            "  paid            0.00   300.00  95.50     0.00    0.00      0.00   204.50",
            "  promotional     0.00    30.00  30.00     0.00    0.00      0.00     0.00",
            "",
            "  DEFERRED USD  OPENING   SOLD  RECOGNISED  BREAKAGE  VOIDED  REFUNDED  CLOSING",
            "  paid             0.00  10.00        3.18      0.00    0.00      0.00     6.82",
            "",
            "  opening 0.00 +204.50 = closing 204.50, and every part adds up",
        ]

    def test_what_fell_due_stands_in_it_before_anybody_booked_it(self, ent: Entitlements, clock: FrozenClock) -> None:
        ends = datetime(2026, 1, 20, tzinfo=UTC)
        ent.grant_credits("acme", "ai", 100, key="pack", expires_at=ends)
        ent.reserve_credits("acme", "ai", 60, key="job", ttl=timedelta(days=15))
        clock.set(APRIL)
        before = month(ent, JANUARY, FEBRUARY)
        assert told(before)[2:] == [
            ("expired", "-40.00", "60.00"),
            ("60.00 given back, hold job", "0.00", "60.00"),
            ("expired", "-60.00", "0.00"),
        ]
        expired = before.lines[2]
        assert (expired.at, expired.seq, expired.key) == (ends, None, "")
        ent.sweep("acme")
        after = month(ent, JANUARY, FEBRUARY)
        assert told(after) == told(before)
        assert all(line.seq and line.key for line in after.lines)

    def test_refunds_voids_and_what_begins_later(self, ent: Entitlements, clock: FrozenClock) -> None:
        ent.grant_credits("acme", "ai", 10, key="pack")
        ent.grant_credits("acme", "ai", 7, key="later", effective_at=MARCH)
        ent.consume_credits("acme", "ai", 4, key="use")
        ent.refund("acme", "use", 1, key="sorry")
        ent.void_block("acme", "pack")
        january = month(ent, JANUARY, FEBRUARY)
        assert told(january)[1:] == [
            ("granted, paid, usable from 2026-03-01 00:00 UTC", "7.00", "17.00"),
            ("used", "-4.00", "13.00"),
            ("refunded, of use", "1.00", "14.00"),
            ("voided", "-7.00", "7.00"),
        ]
        assert str(january.closing) == "0.00 available, 0.00 held, 7.00 not begun, 0.00 owed"
        assert month(ent, FEBRUARY, MARCH).closing == month(ent, MARCH, APRIL).opening == january.closing
        assert str(month(ent, FEBRUARY, MARCH + timedelta(microseconds=1)).closing).startswith("7.00 available")
        assert str(month(ent, MARCH, APRIL).closing) == "7.00 available, 0.00 held, 0.00 owed"

    def test_debt_its_repayment_and_its_forgiveness(self, ent: Entitlements, clock: FrozenClock) -> None:
        ent.grant_credits("acme", "owed", 5, key="first")
        ent.consume_credits("acme", "owed", 12, key="use")
        clock.set(FEBRUARY)
        ent.refund("acme", "use", 3, key="sorry")
        ent.grant_credits("acme", "owed", 10, key="pack")
        january, february = month(ent, JANUARY, FEBRUARY, "owed"), month(ent, FEBRUARY, MARCH, "owed")
        assert told(january)[1:] == [("used", "-5", "0"), ("used, owed", "-7", "-7")]
        assert (january.closing.debt, january.closing.balance) == (7, -7)
        assert told(february) == [
            ("debt forgiven, of use", "3", "-4"),
            ("granted, paid", "10", "6"),
            ("4 of debt repaid", "0", "6"),
        ]
        assert february.paid.credits.used == 4

    def test_what_only_some_charges_may_use_is_counted_apart(self, ent: Entitlements, clock: FrozenClock) -> None:
        ent.grant_credits("acme", "ai", 5, key="for-chat", features=["chat"])
        ent.grant_credits("acme", "ai", 3, key="for-all")
        ent.reserve_credits("acme", "ai", 2, key="job", feature="chat", ttl=None)
        closing, balance = month(ent, JANUARY, FEBRUARY).closing, ent.balance("acme", "ai")
        assert str(closing) == "3.00 available, 0.00 held, 5.00 restricted, 0.00 owed"
        assert (closing.available, closing.held) == (balance.available, balance.held)


class TestPeriods:
    def test_an_unknown_customer_has_an_empty_one_and_an_unknown_credit_none(self, ent: Entitlements) -> None:
        empty = month(ent, JANUARY, FEBRUARY)
        assert (empty.lines, str(empty.closing.balance), empty.paid.deferred) == ((), "0.00", None)
        with pytest.raises(UnknownCredit):
            ent.statement("acme", "nope", start=JANUARY, end=FEBRUARY)
        with pytest.raises(ValueError, match="must come before end"):
            ent.statement("acme", "ai", start=FEBRUARY, end=JANUARY)
        with pytest.raises(TypeError, match="naive"):
            ent.statement("acme", "ai", start=JANUARY, end=FEBRUARY.replace(tzinfo=None))
        with pytest.raises(ValueError, match="customer"):
            ent.statement("$catalog", "ai", start=JANUARY, end=FEBRUARY)

    def test_other_credits_and_usage_are_not_in_it(self, ent: Entitlements) -> None:
        ent.grant_credits("acme", "owed", 5, key="other", cost_basis=1)
        ent.consume_credits("acme", "owed", 9, key="use")
        ent.record("acme", "chat", 3)
        assert month(ent, JANUARY, FEBRUARY).lines == ()

    def test_the_bound_customer_has_it_too(self, ent: Entitlements) -> None:
        ent.grant_credits("acme", "ai", 5, key="pack")
        bound = ent.customer("acme").statement("ai", start=JANUARY, end=FEBRUARY)
        assert bound == month(ent, JANUARY, FEBRUARY)

    def test_a_statement_that_does_not_add_up_says_so(self, ent: Entitlements) -> None:
        import attrs

        ent.grant_credits("acme", "ai", 5, key="pack")
        broken = attrs.evolve(month(ent, JANUARY, FEBRUARY), lines=())
        assert not broken.adds_up
        assert str(broken).endswith("opening 0.00 +5.00 = closing 5.00: IT DOES NOT ADD UP")


class TestOutput:
    @pytest.fixture
    def statement(self, ent: Entitlements) -> Statement:
        ent.grant_credits("acme", "ai", "1500.00", key="@pack", cost_basis="1234.50")
        ent.consume_credits("acme", "ai", "0.01", key="use")
        return month(ent, JANUARY, FEBRUARY)

    def test_no_line_shows_an_instant_outside_the_period(self, ent: Entitlements) -> None:
        last = FEBRUARY - timedelta(microseconds=1)
        with Entitlements(ent.catalog, storage="memory:", clock=lambda: last) as other:
            other.grant_credits("acme", "ai", 5, key="g")
            told = str(other.statement("acme", "ai", start=JANUARY, end=FEBRUARY))
        assert f"{last:%Y-%m-%d %H:%M:%S} UTC  granted" in told

    def test_as_csv(self, statement: Statement) -> None:
        opening, granted, used, closing = csv.DictReader(io.StringIO(statement.to_csv()))
        assert (opening["at"], opening["what"], opening["balance"]) == (
            "2026-01-01T00:00:00+00:00",
            "opening balance",
            "0.00",
        )
        assert (granted["block"], granted["amount"], granted["deferred"]) == ("'@pack", "1500.00", "1234.50")
        assert (used["key"], used["kind"], used["amount"], used["balance"]) == ("use", "burned", "-0.01", "1499.99")
        assert (closing["kind"], closing["balance"], closing["amount"]) == ("closing", "1499.99", "")

    def test_as_json(self, statement: Statement) -> None:
        told = json.loads(json.dumps(statement.to_dict()))
        assert told["closing"] == {
            "available": "1499.99", "held": "0.00", "restricted": "0.00", "pending": "0.00", "debt": "0.00",
            "balance": "1499.99",
        }  # fmt: skip
        assert told["lines"][1]["amount"] == "-0.01"
        assert told["paid"]["deferred"]["sold"] == "1234.50"
        assert told["promotional"]["deferred"] is None
        assert told["adds_up"] is True

    def test_amounts_are_plain_and_exact_in_any_context(self, ent: Entitlements) -> None:
        ent.grant_credits("acme", "fine", "0.000000001", key="speck")
        ent.grant_credits("acme", "fine", "9000000000", key="heap")
        plainly = month(ent, JANUARY, FEBRUARY, "fine")
        assert plainly.to_dict()["opening"]["balance"] == "0.000000000"
        assert plainly.to_dict()["closing"]["balance"] == "9000000000.000000001"
        with decimal.localcontext(decimal.Context(prec=1, Emax=1, Emin=-1, traps=[decimal.Inexact, decimal.Rounded])):
            bent: Any = month(ent, JANUARY, FEBRUARY, "fine")
            assert (str(bent), bent.to_csv(), bent.to_dict()) == (str(plainly), plainly.to_csv(), plainly.to_dict())


def test_a_period_in_which_nothing_changed_says_so(ent: Entitlements) -> None:
    ent.grant_credits("acme", "ai", 3, key="g")
    ent.void_block("acme", "g")
    said = str(ent.statement("acme", "ai", start=NOON - timedelta(days=1), end=NOON + timedelta(days=1)))
    assert said.splitlines()[-1] == "  opening 0.00 +0.00 = closing 0.00, and every part adds up"
