"""Revenue from credits over a period: what was sold, recognised, lost to expiry, and is still deferred.

A function of logs and two instants, and of nothing else: a month that is over is never restated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import attrs

from ..catalog.model import Category
from ..ledger.entries import Batch
from ..periods import Window
from ..wording import moment
from .flows import CreditFlow, DeferredFlow, Tallies, Tally, names, read, to_texts, total
from .postings import Reading
from .tables import Cell, table, to_csv

_MONEY: Final = tuple(field.name for field in attrs.fields(DeferredFlow))
_CREDITS: Final = tuple(field.name for field in attrs.fields(CreditFlow))
_WHO: Final = ("customer", "block", "credit", "category", "currency")


@attrs.frozen
class RevenueRow:
    """One block over the period, in credits and in money; zero money where no cost basis is known."""

    customer: str
    block: str
    credit: str
    category: Category
    currency: str | None
    credits: CreditFlow
    deferred: DeferredFlow

    def to_dict(self) -> dict[str, Any]:
        """Return the row as JSON values: amounts as text."""
        named = {name: getattr(self, name) for name in _WHO}
        return {**named, "credits": to_texts(self.credits), "deferred": to_texts(self.deferred)}


@attrs.frozen
class RevenueTotal:
    """The sum of rows in one currency, of one customer, or of one credit and category, or (None) of all.

    `credits` is the sum in credits where all rows are of one credit, else None.
    """

    currency: str | None
    deferred: DeferredFlow
    customer: str | None = None
    credit: str | None = None
    category: Category | None = None
    credits: CreditFlow | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the total as JSON values, what it is not about left out."""
        about = {name: getattr(self, name) for name in ("customer", "credit", "category")}
        told = {name: value for name, value in about.items() if value is not None}
        sums = {} if self.credits is None else {"credits": to_texts(self.credits)}
        return {**told, "currency": self.currency, **sums, "deferred": to_texts(self.deferred)}


@attrs.frozen
class Revenue:
    """What became of credits in `[start, end)`: a row for each block, by customer and in granted order.

    A block stands in it if anything was left of it at the start or anything of it moved. Currencies are
    never added to each other.
    """

    start: datetime
    end: datetime
    credit: str | None
    rows: tuple[RevenueRow, ...]

    @property
    def totals(self) -> tuple[RevenueTotal, ...]:
        """The sum of all rows, for each currency."""
        return tuple(self._sums(lambda row: {"currency": row.currency}))

    @property
    def by_category(self) -> tuple[RevenueTotal, ...]:
        """The sum for each credit and category."""
        return tuple(self._sums(lambda row: {"currency": row.currency, "credit": row.credit, "category": row.category}))

    @property
    def by_customer(self) -> tuple[RevenueTotal, ...]:
        """The sum for each customer and currency."""
        return tuple(self._sums(lambda row: {"currency": row.currency, "customer": row.customer}))

    def __str__(self) -> str:
        title = f"Revenue from credits, {moment(self.start)} to {moment(self.end)}"
        if not self.rows:
            return f"{title}\n  no credits in this period"
        return "\n".join([title, "", *table(list(self._money()), range(5, 13)), "", *self._counted()])

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values: amounts as text, instants as ISO 8601."""
        return {
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "credit": self.credit,
            "rows": [row.to_dict() for row in self.rows],
            "totals": [sums.to_dict() for sums in self.totals],
            "by_category": [sums.to_dict() for sums in self.by_category],
            "by_customer": [sums.to_dict() for sums in self.by_customer],
        }

    def to_csv(self) -> str:
        """Return the rows as CSV, one for each block, its credits and its deferred revenue side by side."""
        columns = [f"credits_{name}" for name in _CREDITS] + [f"deferred_{name}" for name in _MONEY]
        lines: list[tuple[Cell, ...]] = [(*_WHO, *columns)]
        for row in self.rows:
            amounts = (*attrs.astuple(row.credits), *attrs.astuple(row.deferred))
            lines.append((row.customer, row.block, row.credit, row.category, row.currency, *amounts))
        return to_csv(lines)

    def _sums(self, about: Callable[[RevenueRow], dict[str, Any]]) -> Iterator[RevenueTotal]:
        groups: dict[tuple[Any, ...], list[RevenueRow]] = {}
        for row in self.rows:
            groups.setdefault(tuple(about(row).values()), []).append(row)
        for rows in groups.values():
            deferred = total(DeferredFlow, [row.deferred for row in rows])
            one = len({row.credit for row in rows}) == 1
            counted = total(CreditFlow, [row.credits for row in rows], 0) if one else None
            yield RevenueTotal(**about(rows[0]), deferred=deferred, credits=counted)

    def _money(self) -> Iterator[tuple[str, ...]]:
        columns = names(DeferredFlow, [row.deferred for row in self.rows])
        yield "CUSTOMER", "BLOCK", "CREDIT", "CATEGORY", "", *map(str.upper, columns)
        for row in self.rows:
            yield row.customer, row.block, row.credit, row.category, row.currency or "", *read(row.deferred, columns)
        for sums in self.by_category:
            about = sums.credit or "", sums.category or "", sums.currency or ""
            yield "total", "", *about, *read(sums.deferred, columns)
        for sums in self.totals:
            yield "total", "", "", "", sums.currency or "", *read(sums.deferred, columns)

    def _counted(self) -> list[str]:
        columns = names(CreditFlow, [row.credits for row in self.rows])
        head = ("CUSTOMER", "BLOCK", "CREDIT", "CATEGORY", *map(str.upper, columns))
        rows = [(row.customer, row.block, row.credit, row.category, *read(row.credits, columns)) for row in self.rows]
        totals = [(sums.credit or "", sums.category or "", _of(sums, columns)) for sums in self.by_category]
        return table([head, *rows, *(("total", "", *about, *told) for *about, told in totals)], range(4, 12))


def revenue(
    logs: Iterable[tuple[str, Iterable[Batch]]],
    during: Window,
    *,
    currencies: Mapping[str, str | None],
    credit: str | None = None,
) -> Revenue:
    """Return the revenue from logs, each read once and batch by batch, in a period; of one credit or of all."""
    rows: list[RevenueRow] = []
    for customer, batches in logs:
        rows += rows_of(customer, batches, during, currencies=currencies, credit=credit)
    return Revenue(during.start, during.end, credit, tuple(rows))


def rows_of(
    customer: str,
    batches: Iterable[Batch],
    during: Window,
    *,
    currencies: Mapping[str, str | None],
    credit: str | None = None,
) -> list[RevenueRow]:
    """Return the rows of one customer's blocks from its log, read once and batch by batch."""
    return [_row(customer, tally, currencies) for tally in _tallies(batches, during, credit).all()]


def _tallies(batches: Iterable[Batch], during: Window, credit: str | None) -> Tallies:
    reading, tallies = Reading(batches, during.end), Tallies(credit)
    for posting in reading.postings(during.start):
        tallies.add(posting.entry, reading.books, counts=False)
    for posting in reading.postings(during.end):
        tallies.add(posting.entry, reading.books, counts=True)
    return tallies


def _row(customer: str, tally: Tally, currencies: Mapping[str, str | None]) -> RevenueRow:
    block = tally.block
    currency = currencies.get(block.credit)
    return RevenueRow(customer, block.id, block.credit, block.category, currency, tally.credits(), tally.revenue())


def _of(sums: RevenueTotal, columns: Iterable[str]) -> Iterator[str]:
    return iter(()) if sums.credits is None else read(sums.credits, columns)
