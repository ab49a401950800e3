"""Revenue from credits: worked examples, to the cent."""

from __future__ import annotations

import csv
import decimal
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from itertools import pairwise
from typing import Any

import attrs
import pytest

from entitlements import Entitlements, Revenue, UnknownCredit
from entitlements.periods import Window
from entitlements.reports.flows import CreditFlow, DeferredFlow
from entitlements.reports.revenue import revenue
from entitlements.storage.memory import MemoryStorage
from entitlements.testing import FrozenClock

CATALOG = {
    "features": {"chat": {"type": "metered"}},
    "credits": {
        "ai": {"scale": 2, "currency": "USD"},
        "owed": {"scale": 0, "currency": "USD", "depletion": "soft"},
        "img": {"currency": "EUR"},
        "free": {},
    },
}
JANUARY, FEBRUARY, MARCH, APRIL = (datetime(2026, month, 1, tzinfo=UTC) for month in (1, 2, 3, 4))
NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)
Opened = Callable[..., Entitlements]
TEXT = """\
Revenue from credits, 2026-01-01 00:00 UTC to 2026-02-01 00:00 UTC

  CUSTOMER  BLOCK  CREDIT  CATEGORY       OPENING      SOLD  RECOGNISED  BREAKAGE  VOIDED  REFUNDED   CLOSING
  acme      =pack  ai      paid      USD     0.00  1,234.50      205.75      0.00    0.00      0.00  1,028.75
  total            ai      paid      USD     0.00  1,234.50      205.75      0.00    0.00      0.00  1,028.75
  total                              USD     0.00  1,234.50      205.75      0.00    0.00      0.00  1,028.75

  CUSTOMER  BLOCK  CREDIT  CATEGORY  OPENING   GRANTED    USED  EXPIRED  VOIDED  REFUNDED   CLOSING
  acme      =pack  ai      paid         0.00  1,500.00  250.00     0.00    0.00      0.00  1,250.00
  total            ai      paid         0.00  1,500.00  250.00     0.00    0.00      0.00  1,250.00
"""


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(NOON)


@pytest.fixture
def ent(opened: Opened) -> Entitlements:
    return opened(CATALOG)


def month(ent: Entitlements, start: datetime, end: datetime, **options: Any) -> Revenue:
    return ent.revenue(start=start, end=end, **options)


def months(ent: Entitlements) -> list[Revenue]:
    edges = [JANUARY, FEBRUARY, MARCH, APRIL]
    return [month(ent, start, end) for start, end in pairwise(edges)]


def money(revenue: Revenue, block: str) -> tuple[str, ...]:
    """Opening, sold, recognised, breakage, voided, refunded, closing of one block, as written."""
    (row,) = [row for row in revenue.rows if row.block == block]
    return unmoved(row.deferred)


def counted(revenue: Revenue, block: str) -> tuple[str, ...]:
    (row,) = [row for row in revenue.rows if row.block == block]
    return unmoved(row.credits)


def unmoved(flow: CreditFlow | DeferredFlow) -> tuple[str, ...]:
    """All of a flow as written; nothing in these examples moves from one block to another."""
    assert flow.moved == 0
    return tuple(f"{amount}" for name, amount in attrs.asdict(flow).items() if name != "moved")


class TestRule:
    def test_ten_dollars_for_three_credits_are_recognised_as_333_333_and_334(
        self, ent: Entitlements, clock: FrozenClock
    ) -> None:
        ent.grant_credits("acme", "ai", 3, key="pack", cost_basis=10)
        for at in (NOON, datetime(2026, 2, 10, tzinfo=UTC), datetime(2026, 3, 10, tzinfo=UTC)):
            clock.set(at)
            ent.consume_credits("acme", "ai", 1, key=None)
        january, february, march = months(ent)
        assert money(january, "pack") == ("0.00", "10.00", "3.33", "0.00", "0.00", "0.00", "6.67")
        assert money(february, "pack") == ("6.67", "0.00", "3.33", "0.00", "0.00", "0.00", "3.34")
        assert money(march, "pack") == ("3.34", "0.00", "3.34", "0.00", "0.00", "0.00", "0.00")

    def test_what_expires_is_breakage_in_the_month_it_expires(self, ent: Entitlements, clock: FrozenClock) -> None:
        ends = datetime(2026, 2, 15, tzinfo=UTC)
        ent.grant_credits("acme", "ai", 100, key="pack", cost_basis="9.00", expires_at=ends)
        ent.consume_credits("acme", "ai", 40, key="use")
        clock.set(APRIL)
        january, february, march = months(ent)
        assert money(january, "pack") == ("0.00", "9.00", "3.60", "0.00", "0.00", "0.00", "5.40")
        assert money(february, "pack") == ("5.40", "0.00", "0.00", "5.40", "0.00", "0.00", "0.00")
        assert counted(february, "pack") == ("60.00", "0.00", "0.00", "60.00", "0.00", "0.00", "0.00")
        assert march.rows == ()

    def test_a_refund_counts_when_it_is_made_and_restates_nothing(self, ent: Entitlements, clock: FrozenClock) -> None:
        ent.grant_credits("acme", "ai", 3, key="pack", cost_basis=10)
        ent.consume_credits("acme", "ai", 3, key="use")
        clock.set(FEBRUARY)
        before = month(ent, JANUARY, FEBRUARY)
        ent.refund("acme", "use", "1.50", key="sorry")
        january, february, _ = months(ent)
        assert january == before
        assert money(january, "pack") == ("0.00", "10.00", "10.00", "0.00", "0.00", "0.00", "0.00")
        assert money(february, "pack") == ("0.00", "0.00", "0.00", "0.00", "0.00", "5.00", "5.00")
        assert counted(february, "pack") == ("0.00", "0.00", "0.00", "0.00", "0.00", "1.50", "1.50")

    def test_a_refund_to_a_block_that_has_ended_is_breakage_at_once(
        self, ent: Entitlements, clock: FrozenClock
    ) -> None:
        ent.grant_credits("acme", "ai", 3, key="pack", cost_basis=10, expires_in=86400)
        ent.consume_credits("acme", "ai", 3, key="use")
        clock.set(FEBRUARY)
        ent.refund("acme", "use", key="sorry")
        assert money(month(ent, FEBRUARY, MARCH), "pack") == (
            "0.00", "0.00", "0.00", "10.00", "0.00", "10.00", "0.00",
        )  # fmt: skip

    def test_what_is_voided_is_neither_recognised_nor_deferred(self, ent: Entitlements, clock: FrozenClock) -> None:
        ent.grant_credits("acme", "ai", 100, key="pack", cost_basis="10")
        ent.consume_credits("acme", "ai", 25, key="use")
        clock.set(FEBRUARY)
        ent.void_block("acme", "pack")
        assert money(month(ent, FEBRUARY, MARCH), "pack") == ("7.50", "0.00", "0.00", "0.00", "7.50", "0.00", "0.00")

    @pytest.mark.parametrize("cost", [None, "10"])
    def test_a_used_up_block_that_is_voided_leaves_no_row(
        self, ent: Entitlements, clock: FrozenClock, cost: str | None
    ) -> None:
        ent.grant_credits("acme", "ai", 100, key="pack", cost_basis=cost)
        ent.consume_credits("acme", "ai", 100, key="use")
        clock.set(FEBRUARY)
        ent.void_block("acme", "pack")
        assert month(ent, FEBRUARY, MARCH).rows == ()
        assert [row.block for row in month(ent, JANUARY, MARCH).rows] == ["pack"]
        clock.set(MARCH)
        ent.refund("acme", "use", 5, key="sorry")
        assert counted(month(ent, MARCH, APRIL), "pack") == ("0.00", "0.00", "0.00", "0.00", "5.00", "5.00", "0.00")
        assert ent.verify() == ()

    def test_a_block_that_repays_debt_is_used_when_it_repays(self, ent: Entitlements, clock: FrozenClock) -> None:
        ent.grant_credits("acme", "owed", 1, key="first")
        ent.consume_credits("acme", "owed", 21, key="use")
        clock.set(FEBRUARY)
        ent.grant_credits("acme", "owed", 100, key="pack", cost_basis=10)
        assert money(month(ent, FEBRUARY, MARCH), "pack") == ("0.00", "10.00", "2.00", "0.00", "0.00", "0.00", "8.00")
        assert counted(month(ent, FEBRUARY, MARCH), "pack") == ("0", "100", "20", "0", "0", "0", "80")

    def test_what_is_held_stays_deferred_until_it_is_settled(self, ent: Entitlements, clock: FrozenClock) -> None:
        ent.grant_credits("acme", "ai", 100, key="pack", cost_basis=10)
        hold = ent.reserve_credits("acme", "ai", 60, key="job", ttl=None)
        clock.set(FEBRUARY)
        hold.settle(40)
        january, february, _ = months(ent)
        assert money(january, "pack") == ("0.00", "10.00", "0.00", "0.00", "0.00", "0.00", "10.00")
        assert money(february, "pack") == ("10.00", "0.00", "4.00", "0.00", "0.00", "0.00", "6.00")

    def test_what_a_hold_gives_back_after_its_block_ended_is_breakage_then(
        self, ent: Entitlements, clock: FrozenClock
    ) -> None:
        ent.grant_credits("acme", "ai", 100, key="pack", cost_basis=10, expires_at=datetime(2026, 1, 20, tzinfo=UTC))
        ent.reserve_credits("acme", "ai", 60, key="job", ttl=timedelta(days=30))
        clock.set(APRIL)
        january, february, _ = months(ent)
        assert money(january, "pack") == ("0.00", "10.00", "0.00", "4.00", "0.00", "0.00", "6.00")
        assert money(february, "pack") == ("6.00", "0.00", "0.00", "6.00", "0.00", "0.00", "0.00")

    @pytest.mark.parametrize(
        ("cost", "first", "rest"),
        [("1.005", "0.335", "0.670"), ("0.01", "0.00", "0.01"), ("1000", "333.33", "666.67"), (0, "0.00", "0.00")],
    )
    def test_money_has_the_places_of_the_cost_and_at_least_cents(
        self, ent: Entitlements, clock: FrozenClock, cost: Any, first: str, rest: str
    ) -> None:
        ent.grant_credits("acme", "ai", 3, key="pack", cost_basis=cost)
        ent.consume_credits("acme", "ai", 1, key="use")
        (row,) = month(ent, JANUARY, FEBRUARY).rows
        assert (str(row.deferred.recognised), str(row.deferred.closing)) == (first, rest)

    def test_a_block_without_a_cost_has_its_credits_and_no_money(self, ent: Entitlements) -> None:
        ent.grant_credits("acme", "ai", 5, key="gift", category="promotional")
        ent.consume_credits("acme", "ai", 2, key="use")
        revenue = month(ent, JANUARY, FEBRUARY)
        assert money(revenue, "gift") == ("0.00",) * 7
        assert counted(revenue, "gift") == ("0.00", "5.00", "2.00", "0.00", "0.00", "0.00", "3.00")


class TestPeriods:
    def test_a_period_is_half_open(self, ent: Entitlements, clock: FrozenClock) -> None:
        ent.grant_credits("acme", "ai", 100, key="pack", cost_basis=10, expires_at=MARCH)
        clock.set(FEBRUARY)
        ent.consume_credits("acme", "ai", 10, key="at-the-edge")
        january, february, march = months(ent)
        assert money(january, "pack")[-1] == "10.00"
        assert money(february, "pack") == ("10.00", "0.00", "1.00", "0.00", "0.00", "0.00", "9.00")
        assert money(march, "pack") == ("9.00", "0.00", "0.00", "9.00", "0.00", "0.00", "0.00")

    def test_what_fell_due_counts_alike_before_and_after_it_is_booked(
        self, ent: Entitlements, clock: FrozenClock
    ) -> None:
        ent.grant_credits("acme", "ai", 100, key="pack", cost_basis=10, expires_at=datetime(2026, 1, 20, tzinfo=UTC))
        clock.set(FEBRUARY)
        before = months(ent)
        assert money(before[0], "pack")[3] == "10.00"
        clock.set(APRIL)
        assert ent.sweep() == 1
        assert months(ent) == before

    def test_use_counts_when_it_was_recorded_however_late(self, ent: Entitlements, clock: FrozenClock) -> None:
        ent.grant_credits("acme", "ai", 100, key="pack", cost_basis=10)
        clock.set(FEBRUARY)
        ent.consume_credits("acme", "ai", 10, key="use")
        granted, used = ent._storage.batches("acme")
        late = attrs.evolve(used, entries=(attrs.evolve(used.entries[0], at=NOON),))
        january = revenue([("acme", [granted, late])], Window(JANUARY, FEBRUARY), currencies={})
        assert money(january, "pack")[-1] == "10.00"

    def test_an_erasure_changes_no_report(self, ent: Entitlements, clock: FrozenClock) -> None:
        ann, bob = {"team": "x", "user": "ann"}, {"user": "bob"}
        ent.grant_credits("acme", "owed", 5, key="anns", scope=ann, metadata={"for": "ann"}, cost_basis=1)
        ent.consume_credits("acme", "owed", 9, key="use-1", scope=ann)
        ent.consume_credits("acme", "owed", 3, key="use-2", scope=bob)
        clock.set(FEBRUARY)
        before = months(ent), str(ent.statement("acme", "owed", start=JANUARY, end=FEBRUARY))
        ent.erase("acme")
        assert (months(ent), str(ent.statement("acme", "owed", start=JANUARY, end=FEBRUARY))) == before
        ent.grant_credits("acme", "owed", 20, key="pack", cost_basis=10)
        assert money(months(ent)[1], "pack") == ("0.00", "10.00", "3.50", "0.00", "0.00", "0.00", "6.50")

    def test_a_day_is_a_period_too_and_so_are_the_ends_of_time(self, ent: Entitlements, clock: FrozenClock) -> None:
        ent.grant_credits("acme", "ai", 100, key="pack", cost_basis=10)
        berlin = timezone(timedelta(hours=1))
        day = ent.revenue(start=datetime(2026, 1, 10, tzinfo=berlin), end=datetime(2026, 1, 11, tzinfo=berlin))
        assert day.start == datetime(2026, 1, 9, 23, tzinfo=UTC)
        first, last = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
        ever = ent.revenue(start=first, end=last)
        assert ever.rows == day.rows

    def test_a_period_that_is_empty_or_naive_is_refused(self, ent: Entitlements) -> None:
        with pytest.raises(ValueError, match=r"start is 2026-02-01T00:00:00.+it must come before end"):
            month(ent, FEBRUARY, FEBRUARY)
        with pytest.raises(TypeError, match="start is the naive"):
            month(ent, JANUARY.replace(tzinfo=None), FEBRUARY)

    def test_a_log_of_many_pages_is_read_whole(self, opened: Opened, clock: FrozenClock) -> None:
        storage = MemoryStorage()
        paged = storage.batches
        storage.batches = lambda customer, *, after=0, limit=3: paged(customer, after=after, limit=3)  # type: ignore[method-assign]
        ent = opened(CATALOG, storage=storage)
        ent.grant_credits("acme", "ai", 100, key="pack", cost_basis=10)
        for _ in range(10):
            ent.consume_credits("acme", "ai", 1, key=None)
        assert money(month(ent, JANUARY, FEBRUARY), "pack")[2] == "1.00"

    def test_what_comes_after_the_period_is_not_even_read(self, opened: Opened, clock: FrozenClock) -> None:
        storage, read = MemoryStorage(), []
        paged = storage.batches

        def noted(customer: str, *, after: int = 0, limit: int = 1) -> Any:
            read.append(after)
            return paged(customer, after=after, limit=1)

        ent = opened(CATALOG, storage=storage)
        ent.grant_credits("acme", "ai", 100, key="pack", cost_basis=10)
        clock.set(FEBRUARY)
        for _ in range(10):
            ent.record("acme", "chat")
        storage.batches = noted  # type: ignore[method-assign]
        assert money(month(ent, JANUARY, FEBRUARY), "pack")[-1] == "10.00"
        assert read == [0, 1]


class TestTotals:
    @pytest.fixture
    def report(self, ent: Entitlements) -> Revenue:
        ent.grant_credits("acme", "ai", 100, key="pack-a", cost_basis="10.00")
        ent.grant_credits("acme", "ai", 50, key="gift-a", category="promotional")
        ent.grant_credits("acme", "img", 10, key="img-a", cost_basis="5.00")
        ent.grant_credits("beta", "ai", 10, key="pack-b", cost_basis="1.005")
        ent.consume_credits("acme", "ai", 60, key="use")
        ent.consume_credits("beta", "ai", 5, key="use")
        ent.consume_credits("acme", "img", 1, key="draw")
        return month(ent, JANUARY, FEBRUARY)

    def test_rows_stand_by_customer_and_in_granted_order(self, report: Revenue) -> None:
        assert [(row.customer, row.block, row.currency) for row in report.rows] == [
            ("acme", "pack-a", "USD"),
            ("acme", "gift-a", "USD"),
            ("acme", "img-a", "EUR"),
            ("beta", "pack-b", "USD"),
        ]

    def test_currencies_are_never_added_to_each_other(self, report: Revenue) -> None:
        found = {sums.currency: (str(sums.deferred.sold), str(sums.deferred.recognised)) for sums in report.totals}
        assert found == {"USD": ("11.005", "1.502"), "EUR": ("5.00", "0.50")}
        assert [sums["currency"] for sums in report.to_dict()["totals"]] == ["USD", "EUR"]
        assert [line.split()[1] for line in str(report).splitlines() if line.startswith("  total  ")][3:5] == [
            "USD",
            "EUR",
        ]

    def test_there_is_a_sum_for_each_category_and_each_customer(self, report: Revenue) -> None:
        categories = {(sums.credit, sums.category): str(sums.deferred.closing) for sums in report.by_category}
        assert categories == {("ai", "paid"): "9.503", ("ai", "promotional"): "0.00", ("img", "paid"): "4.50"}
        used = {(sums.credit, sums.category): str(sums.credits.used) for sums in report.by_category if sums.credits}
        assert used == {("ai", "paid"): "15.00", ("ai", "promotional"): "50.00", ("img", "paid"): "1"}
        customers = {(sums.customer, sums.currency): str(sums.deferred.closing) for sums in report.by_customer}
        assert customers == {("acme", "USD"): "9.00", ("acme", "EUR"): "4.50", ("beta", "USD"): "0.503"}

    def test_one_credit_may_be_asked_for(self, ent: Entitlements, report: Revenue) -> None:
        images = month(ent, JANUARY, FEBRUARY, credit="img")
        assert [row.block for row in images.rows] == ["img-a"]
        with pytest.raises(UnknownCredit, match="did you mean 'img'"):
            month(ent, JANUARY, FEBRUARY, credit="imgs")

    def test_a_credit_that_left_the_catalog_is_still_reported(self, opened: Opened, clock: FrozenClock) -> None:
        storage = MemoryStorage()
        opened(CATALOG, storage=storage).grant_credits("acme", "ai", 1, key="pack", cost_basis=2)
        (row,) = month(opened({"credits": {}}, storage=storage), JANUARY, FEBRUARY).rows
        assert (row.credit, row.currency, row.deferred.closing) == ("ai", None, 2)

    def test_no_customers_no_rows(self, ent: Entitlements) -> None:
        assert month(ent, JANUARY, FEBRUARY).totals == ()
        assert str(month(ent, JANUARY, FEBRUARY)).endswith("no credits in this period")


class TestExactness:
    def test_no_decimal_context_of_the_host_bends_a_report(self, ent: Entitlements) -> None:
        cost = f"{'123456789' * 4}1234.{'987654321' * 4}4321"
        ent.grant_credits("acme", "ai", 3, key="pack", cost_basis=cost)
        ent.grant_credits("beta", "ai", 3, key="pack", cost_basis=cost)
        ent.consume_credits("acme", "ai", 1, key="use")
        plainly = month(ent, JANUARY, FEBRUARY)
        with decimal.localcontext(decimal.Context(prec=1, Emax=1, Emin=-1, traps=[decimal.Inexact, decimal.Rounded])):
            bent = month(ent, JANUARY, FEBRUARY)
            assert (str(bent), bent.to_csv(), bent.to_dict()) == (str(plainly), plainly.to_csv(), plainly.to_dict())
        recognised = Decimal("411522630411522630411522630411522630411.6625514406625514406625514406625514404773")
        assert plainly.totals[0].deferred.recognised == recognised
        assert (
            str(plainly.totals[0].deferred.sold)
            == "2469135782469135782469135782469135782469.9753086439753086439753086439753086428642"
        )


class TestOutput:
    @pytest.fixture
    def report(self, ent: Entitlements) -> Revenue:
        ent.grant_credits("acme", "ai", 1500, key="=pack", cost_basis="1234.50")
        ent.consume_credits("acme", "ai", 250, key="use")
        return month(ent, JANUARY, FEBRUARY)

    def test_as_text(self, report: Revenue) -> None:
        assert f"{report}\n" == TEXT

    def test_as_csv_which_no_spreadsheet_takes_for_a_formula(self, report: Revenue) -> None:
        (row,) = csv.DictReader(io.StringIO(report.to_csv()))
        assert (row["customer"], row["block"], row["currency"]) == ("acme", "'=pack", "USD")
        assert (row["credits_used"], row["deferred_recognised"], row["deferred_closing"]) == (
            "250.00",
            "205.75",
            "1028.75",
        )
        names = [f"{side}_{field.name}" for side, kind in (("credits", CreditFlow), ("deferred", DeferredFlow))
                 for field in attrs.fields(kind)]  # fmt: skip
        assert list(row) == ["customer", "block", "credit", "category", "currency", *names]

    def test_as_json(self, report: Revenue) -> None:
        told = json.loads(json.dumps(report.to_dict()))
        assert told["start"] == "2026-01-01T00:00:00+00:00"
        assert told["rows"][0]["deferred"]["recognised"] == "205.75"
        assert told["totals"] == [
            {"currency": "USD", "credits": told["rows"][0]["credits"], "deferred": told["rows"][0]["deferred"]}
        ]
        assert told["by_category"][0]["category"] == "paid"
        assert told["by_customer"][0]["customer"] == "acme"
