"""Any history of credits over several months: its reports chain, add up, and are never restated."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from entitlements import Balance, Entitlements, HoldClosed, Revenue, Statement
from entitlements.reports.flows import CreditFlow, DeferredFlow, adds_up
from entitlements.storage.memory import MemoryStorage
from entitlements.storage.sqlite import SQLiteStorage
from entitlements.testing import FrozenClock

MONTHS = tuple(datetime(2026, month, 1, tzinfo=UTC) for month in range(1, 7))
TICK = timedelta(microseconds=1)
CUSTOMERS = ("acme", "beta")
SIGNS = {"granted": 1, "refunded": 1, "burned": -1, "settled": -1, "repaid": -1, "expired": -1, "voided": -1}

Step = tuple[timedelta, str, dict[str, Any]]


# Drawing a history

waits = st.sampled_from([timedelta(0), timedelta(0), timedelta(hours=1), timedelta(days=3), timedelta(days=11)])
amounts = st.sampled_from(["0.01", "0.03", "1", "2.50", "3.33", "7", "10", "100"])
costs = st.sampled_from([None, "0", "0.01", "1", "9.99", "1.005", "100000000000000000000.01"])
grants = st.fixed_dictionaries(
    {"amount": amounts, "cost_basis": costs},
    optional={
        "category": st.just("promotional"),
        "expires": st.sampled_from([1, 10, 31, 45, *MONTHS]),
        "begins": st.sampled_from([1, 20, *MONTHS]),
        "features": st.just(["chat"]),
        "priority": st.sampled_from([1, 99]),
        "settle_debt": st.booleans(),
    },
)
numbers = st.integers(0, 5)
uses = st.fixed_dictionaries({"amount": amounts}, optional={"feature": st.just("chat")})
holds = st.fixed_dictionaries(
    {"amount": amounts, "ttl": st.sampled_from([None, 60, 3600, 40 * 86400])}, optional={"feature": st.just("chat")}
)
actions = st.one_of(
    st.tuples(st.just("grant"), grants),
    st.tuples(st.just("consume"), uses),
    st.tuples(st.just("consume"), uses),
    st.tuples(st.just("reserve"), holds),
    st.tuples(st.just("reserve"), holds),
    st.tuples(st.just("settle"), st.fixed_dictionaries({"number": numbers, "amount": amounts})),
    st.tuples(st.just("release"), st.fixed_dictionaries({"number": numbers})),
    st.tuples(st.just("refund"), st.fixed_dictionaries({"number": numbers}, optional={"amount": amounts})),
    st.tuples(st.just("void"), st.fixed_dictionaries({"number": numbers})),
    st.tuples(st.just("sweep"), st.just({})),
)
customers = st.sampled_from(["acme", "acme", "acme", "beta"])
steps = st.tuples(waits, customers, actions).map(lambda drawn: (drawn[0], drawn[1], *drawn[2]))
first = st.tuples(st.just(timedelta(0)), st.just("acme"), st.just("grant"), grants)
histories = st.builds(lambda begin, rest: [begin, *rest], first, st.lists(steps, min_size=6, max_size=30))
depletions = st.sampled_from(["hard", "partial", "soft"])


class History:
    """An engine whose clock is moved step by step, and what it reported at the end of each month."""

    def __init__(self, storage: Any, depletion: str) -> None:
        self.clock = FrozenClock(MONTHS[0] + timedelta(hours=1))
        credit = {"scale": 2, "currency": "USD", "depletion": depletion}
        catalog = {"features": {"chat": {"type": "metered"}}, "credits": {"ai": credit, "img": {}}}
        self.ent = Entitlements(catalog, storage=storage, clock=self.clock)
        self.keys: dict[tuple[str, str], list[str]] = defaultdict(list)
        self.balances: dict[tuple[datetime, str], Balance] = {}
        self.reported: dict[datetime, Revenue] = {}
        self.stated: dict[tuple[datetime, str], Statement] = {}

    def play(self, history: list[Any]) -> None:
        for number, (wait, customer, verb, values) in enumerate(history):
            self.pass_to(self.clock() + wait)
            with suppress(ValueError, LookupError, HoldClosed):
                getattr(self, f"_{verb}")(customer, f"{verb}-{number}", dict(values))
        self.pass_to(MONTHS[-1])

    def pass_to(self, instant: datetime) -> None:
        """Move the clock, and note what stood and was reported at the edge of each month on the way."""
        for start, end in pairwise(MONTHS):
            if self.clock() < end <= instant:
                self.clock.set(end - TICK)
                self.balances |= {(end, customer): self.ent.balance(customer, "ai") for customer in CUSTOMERS}
                self.clock.set(end)
                self.reported[end] = self.ent.revenue(start=start, end=end)
                self.stated |= {(end, each): self.statement(each, start, end) for each in CUSTOMERS}
        self.clock.set(max(instant, self.clock()))

    def statement(self, customer: str, start: datetime, end: datetime) -> Statement:
        return self.ent.statement(customer, "ai", start=start, end=end)

    def _grant(self, customer: str, key: str, values: dict[str, Any]) -> None:
        spans = {"expires": "expires_at", "begins": "effective_at"}
        for name, argument in spans.items():
            if name in values:
                when = values.pop(name)
                values[argument] = when if isinstance(when, datetime) else self.clock() + timedelta(days=when)
        self.ent.grant_credits(customer, "ai", values.pop("amount"), key=key, **values)
        self.keys[customer, "grant"].append(key)

    def _consume(self, customer: str, key: str, values: dict[str, Any]) -> None:
        if self.ent.consume_credits(customer, "ai", values.pop("amount"), key=key, **values):
            self.keys[customer, "consume"].append(key)

    def _reserve(self, customer: str, key: str, values: dict[str, Any]) -> None:
        if self.ent.reserve_credits(customer, "ai", values.pop("amount"), key=key, **values):
            self.keys[customer, "reserve"].append(key)

    def _settle(self, customer: str, key: str, values: dict[str, Any]) -> None:
        self.ent.settle(customer, self._one(customer, "reserve", values["number"]), values["amount"])

    def _release(self, customer: str, key: str, values: dict[str, Any]) -> None:
        self.ent.release(customer, self._one(customer, "reserve", values["number"]))

    def _refund(self, customer: str, key: str, values: dict[str, Any]) -> None:
        made = [*self.keys[customer, "consume"], *self.keys[customer, "reserve"]]
        self.ent.refund(customer, made[values["number"] % len(made)] if made else "none", values.get("amount"), key=key)

    def _void(self, customer: str, key: str, values: dict[str, Any]) -> None:
        self.ent.void_block(customer, self._one(customer, "grant", values["number"]))

    def _sweep(self, customer: str, key: str, values: dict[str, Any]) -> None:
        self.ent.sweep(customer)

    def _one(self, customer: str, verb: str, number: int) -> str:
        made = self.keys[customer, verb]
        return made[number % len(made)] if made else "none"


@contextmanager
def memory() -> Iterator[Any]:
    yield MemoryStorage()


@contextmanager
def sqlite() -> Iterator[Any]:
    with tempfile.TemporaryDirectory() as directory:
        yield SQLiteStorage(Path(directory) / "app.db", durability="normal")


@contextmanager
def played(opening: Callable[[], Any], depletion: str, history: list[Any]) -> Iterator[History]:
    with opening() as storage:
        made = History(storage, depletion)
        try:
            made.play(history)
            yield made
        finally:
            made.ent.close()


def on_every_storage(test: Any) -> Any:
    """Run a test of `(opening, depletion, history)` on random histories, more of them where they are cheap."""
    drawn = given(depletion=depletions, history=histories)
    examples = {memory: 80, sqlite: 20}

    @pytest.mark.parametrize("opening", [memory, sqlite], ids=["memory", "sqlite"])
    def run(opening: Callable[[], Any]) -> None:
        @settings(max_examples=examples[opening], deadline=None, suppress_health_check=list(HealthCheck))
        @drawn
        def each(depletion: str, history: list[Any]) -> None:
            with played(opening, depletion, history) as made:
                test(made)

        each()

    run.__name__ = test.__name__
    return run


def columns(flow: type[Any]) -> list[str]:
    return [field.name for field in attrs.fields(flow)]


# What holds of any history


@on_every_storage
def test_opening_and_movements_come_to_closing_for_every_block_and_in_total(made: History) -> None:
    for revenue in made.reported.values():
        rows = [*revenue.rows, *revenue.totals, *revenue.by_category, *revenue.by_customer]
        assert all(adds_up(row.deferred) for row in rows)
        assert all(adds_up(row.credits) for row in rows if row.credits is not None)
        for column in columns(DeferredFlow):
            whole = sum(getattr(row.deferred, column) for row in revenue.rows)
            for sums in (revenue.totals, revenue.by_category, revenue.by_customer):
                assert sum(getattr(each.deferred, column) for each in sums) == whole


@on_every_storage
def test_each_month_opens_as_the_month_before_it_closed(made: History) -> None:
    for before, after in pairwise(made.reported.values()):
        closed = {row.block: row for row in before.rows if row.credits.closing}
        opened = {row.block: row for row in after.rows if row.credits.opening}
        assert closed.keys() == opened.keys()
        for block, row in opened.items():
            assert row.credits.opening == closed[block].credits.closing
            assert row.deferred.opening == closed[block].deferred.closing
        assert all(not row.deferred.opening for row in after.rows if row.block not in opened)


@on_every_storage
def test_the_months_sum_to_the_whole(made: History) -> None:
    whole = made.ent.revenue(start=MONTHS[0], end=MONTHS[-1])
    for row in whole.rows:
        parts = [part for month in made.reported.values() for part in month.rows if part.block == row.block]
        for side in ("credits", "deferred"):
            for name in columns(type(getattr(row, side)))[1:-1]:
                total = sum((getattr(getattr(part, side), name) for part in parts), Decimal(0))
                assert total == getattr(getattr(row, side), name)


@on_every_storage
def test_deferred_revenue_is_what_the_rule_says_of_what_is_left(made: History) -> None:
    """An oracle of its own: the booked lines of the log, and fractions."""
    made.ent.sweep()
    for end, revenue in made.reported.items():
        for row in revenue.rows:
            entries = [entry for entry in made.ent.entries(row.customer, limit=10_000) if entry.block == row.block]
            block = next(entry.data["block"] for entry in entries if entry.kind == "granted")
            left = sum(SIGNS.get(entry.kind, 0) * entry.amount for entry in entries if entry.at < end)
            cost = Fraction(block.cost_basis or 0)
            smallest = 10 ** max(2, -int((block.cost_basis or Decimal(0)).as_tuple().exponent))
            recognised = Fraction(cost * (block.units - left) / block.units * smallest // 1, smallest)
            assert Fraction(row.deferred.closing) == cost - recognised
            assert row.credits.closing * 100 == left
            assert row.deferred.closing == 0 or left
            if left == block.units:
                assert row.deferred.closing == cost


@on_every_storage
def test_a_closed_month_is_never_restated(made: History) -> None:
    def again() -> tuple[Any, Any]:
        months = {end: made.ent.revenue(start=start, end=end) for start, end in pairwise(MONTHS)}
        lines = {(end, each): made.statement(each, start, end) for start, end in pairwise(MONTHS) for each in CUSTOMERS}
        return months, {at: [_told(line) for line in found.lines] for at, found in lines.items()}

    told = {at: [_told(line) for line in found.lines] for at, found in made.stated.items()}
    assert again() == (made.reported, told)
    made.clock.advance(timedelta(days=400))
    made.ent.sweep()
    for customer in CUSTOMERS:
        for key in made.keys[customer, "consume"]:
            with suppress(ValueError, LookupError):
                made.ent.refund(customer, key, key=f"late-{key}")
    made.ent.grant_credits("acme", "ai", 5, key="late", cost_basis=3)
    assert again() == (made.reported, told)


def _told(line: Any) -> Any:
    """A line without what says who booked it: a line that fell due may not have been booked yet."""
    return attrs.evolve(line, seq=None, key="")


@on_every_storage
def test_a_statement_adds_up_chains_and_closes_as_the_balance_stood(made: History) -> None:
    for customer in CUSTOMERS:
        stated = [made.stated[end, customer] for end in MONTHS[1:]]
        for statement in stated:
            balance = made.balances[statement.end, customer]
            closing = statement.closing
            assert statement.adds_up
            assert (closing.available, closing.held, closing.debt) == (balance.available, balance.held, balance.debt)
            restricted = {block.id: block for block in balance.blocks if block.features}
            assert closing.restricted >= sum((block.remaining for block in restricted.values()), Decimal(0))
        assert all(after.opening == before.closing for before, after in pairwise(stated))


@on_every_storage
def test_a_statement_and_the_revenue_report_say_the_same(made: History) -> None:
    for (end, customer), statement in made.stated.items():
        rows = [row for row in made.reported[end].rows if row.customer == customer]
        for category, side in (("paid", statement.paid), ("promotional", statement.promotional)):
            mine = [row for row in rows if row.category == category]
            for name in columns(CreditFlow):
                assert getattr(side.credits, name) == sum(getattr(row.credits, name) for row in mine)
            if side.deferred is not None:
                for name in columns(DeferredFlow):
                    assert getattr(side.deferred, name) == sum(getattr(row.deferred, name) for row in mine)
        moved = sum(line.deferred for line in statement.lines if line.deferred is not None)
        assert moved == sum(row.deferred.closing - row.deferred.opening for row in rows)


@on_every_storage
def test_every_report_can_be_read_as_text_json_and_csv(made: History) -> None:
    for report in (*made.reported.values(), *made.stated.values()):
        assert str(report)
        assert report.to_dict()["start"] == report.start.isoformat()
        lines = report.lines if isinstance(report, Statement) else report.rows
        assert report.to_csv().count("\n") == len(lines) + (3 if isinstance(report, Statement) else 1)
