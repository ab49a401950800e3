"""What blocks of credits came to in a period, in credits and in money, exact to the last unit.

The money that is still deferred for a block with `left` of its `units` is `cost - cost * (units - left)
// units`, in the smallest unit of the cost: whatever order the parts are used, expire, are voided or
come back in, they sum to the cost exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final, TypeVar

import attrs

from ..amounts import exact
from ..balances import sum_exact
from ..catalog.model import Category
from ..ledger.blocks import Block
from ..ledger.crediting import Books
from ..ledger.entries import Entry
from ..ledger.plan_grants import CENTS, deferred, places_of, smallest

_COLUMNS: Final[Mapping[str, int]] = {
    "granted": 1, "burned": 2, "settled": 2, "repaid": 2, "expired": 3, "voided": 4, "rolled": 4, "refunded": 5,
}  # fmt: skip
_SIGNS: Final = (1, 1, -1, -1, -1, 1)


@attrs.frozen
class CreditFlow:
    """Credits over a period: opening + granted - used - expired - voided + refunded = closing."""

    opening: Decimal
    granted: Decimal
    used: Decimal
    expired: Decimal
    voided: Decimal
    refunded: Decimal
    closing: Decimal


@attrs.frozen
class DeferredFlow:
    """Deferred revenue over a period: opening + sold - recognised - breakage - voided + refunded = closing.

    `recognised` was earned by use, `breakage` by expiry.
    """

    opening: Decimal
    sold: Decimal
    recognised: Decimal
    breakage: Decimal
    voided: Decimal
    refunded: Decimal
    closing: Decimal


Flow = TypeVar("Flow", CreditFlow, DeferredFlow)


@attrs.define
class Tally:
    """One block counted over a period: what is `left`, and seven columns each of credits and of money.

    Money is in the smallest unit of the block's cost, which has `places` decimal places, at least cents.
    """

    block: Block
    left: int = 0
    units: list[int] = attrs.field(factory=lambda: [0] * 7)
    money: list[int] = attrs.field(factory=lambda: [0] * 7)
    places: int = attrs.field(init=False)
    cost: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.places = places_of(self.block.cost_basis)
        self.cost = smallest(self.block.cost_basis, self.places)

    @property
    def deferred(self) -> int:
        """The money still deferred, in its smallest unit."""
        return deferred(self.cost, self.block.units, self.left)

    def move(self, entry: Entry, *, counts: bool) -> int:
        """Move what a line moves and return by how much deferred money changed; before the period nothing `counts`."""
        column, before = _COLUMNS[entry.kind], self.money[6]
        self.left += _SIGNS[column] * entry.amount
        deferred = self.deferred
        if counts:
            self.units[column] += entry.amount
            self.money[column] += abs(deferred - before)
        else:
            self.units[0], self.money[0] = self.left, deferred
        self.units[6], self.money[6] = self.left, deferred
        return deferred - before

    def credits(self) -> CreditFlow:
        """Return what the block came to in credits."""
        return CreditFlow(*(exact(units, self.block.scale) for units in self.units))

    def revenue(self) -> DeferredFlow:
        """Return what the block came to in money; zero throughout for a block without a cost."""
        return DeferredFlow(*(exact(amount, self.places) for amount in self.money))


class Tallies:
    """The blocks of one customer, or those of one credit, that anything was left of or that moved."""

    def __init__(self, credit: str | None = None) -> None:
        self._credit = credit
        self._by_block: dict[str, Tally] = {}

    def add(self, entry: Entry, books: Books, *, counts: bool) -> Decimal | None:
        """Count a posted line; return by how much deferred revenue changed, None for no cost or no such change."""
        if entry.kind not in _COLUMNS or self._credit not in {None, entry.subject}:
            return None
        tally = self._by_block.get(entry.block)
        if tally is None:
            tally = self._by_block[entry.block] = Tally(books.blocks[entry.block])
        change = tally.move(entry, counts=counts)
        if not counts and tally.left == 0:
            del self._by_block[entry.block]
        return None if tally.block.cost_basis is None else exact(change, tally.places)

    def all(self, category: Category | None = None) -> list[Tally]:
        """Return the tallies in the order their blocks were granted, of one category or of both."""
        found = [tally for tally in self._by_block.values() if category in {None, tally.block.category}]
        return sorted(found, key=lambda tally: (tally.block.number, tally.block.id))


def total(kind: type[Flow], flows: Iterable[Flow], scale: int = CENTS) -> Flow:
    """Return the sum of flows, zero at a scale for none."""
    sums = [exact(0, scale)] * 7
    for flow in flows:
        sums = [sum_exact(one, other) for one, other in zip(sums, attrs.astuple(flow), strict=True)]
    return kind(*sums)


def adds_up(flow: CreditFlow | DeferredFlow) -> bool:
    """Tell whether opening and movements come to closing."""
    *movements, closing = attrs.astuple(flow)
    found = exact(0, 0)
    for sign, amount in zip(_SIGNS, movements, strict=True):
        found = sum_exact(found, amount if sign > 0 else amount.copy_negate())
    return bool(found == closing)


def to_texts(flow: CreditFlow | DeferredFlow) -> dict[str, Any]:
    """Return a flow as JSON values: amounts as plain decimal text."""
    return {name: f"{amount:f}" for name, amount in attrs.asdict(flow).items()}
