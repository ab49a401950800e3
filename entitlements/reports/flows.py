"""What blocks of credits came to in a period, in credits and in money, exact to the last unit.

The money that is still deferred for a block with `left` of its `units` is `cost - cost * (units - left)
// units`, in the smallest unit of the cost: whatever order the parts are used, expire, are voided or
come back in, they sum to the cost exactly. What rolls over or is converted moves from one block to
another with its part of the cost: it is neither voided nor sold again, and in a sum of both blocks it
comes to nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final, TypeAlias, TypeVar

import attrs

from ..amounts import exact
from ..balances import sum_exact
from ..catalog.model import Category
from ..ledger.blocks import Block, granted_order
from ..ledger.crediting import Books
from ..ledger.entries import Entry
from ..ledger.plan_grants import CENTS, deferred, lives_on, places_of, smallest
from ..wording import number

_MOVED: Final = 6
_CLOSING: Final = 7
_COLUMNS: Final[Mapping[str, int]] = {
    "granted": 1, "burned": 2, "settled": 2, "repaid": 2, "expired": 3, "voided": 4, "refunded": 5, "rolled": _MOVED,
}  # fmt: skip
_COMES_IN: Final = frozenset({"granted", "refunded"})
_SIGNS: Final = (1, 1, -1, -1, -1, 1, 1)


@attrs.frozen
class CreditFlow:
    """Credits over a period: opening + granted - used - expired - voided + refunded + moved = closing.

    `moved` is what lives on from another block, less what lives on in another; in a total it is zero.
    """

    opening: Decimal
    granted: Decimal
    used: Decimal
    expired: Decimal
    voided: Decimal
    refunded: Decimal
    moved: Decimal
    closing: Decimal


@attrs.frozen
class DeferredFlow:
    """Deferred revenue over a period: opening + sold - recognised - breakage - voided + refunded + moved = closing.

    `recognised` was earned by use, `breakage` by expiry. `moved` came with what lives on from another
    block, less what went with what lives on in another; in a total it is zero.
    """

    opening: Decimal
    sold: Decimal
    recognised: Decimal
    breakage: Decimal
    voided: Decimal
    refunded: Decimal
    moved: Decimal
    closing: Decimal


Flow = TypeVar("Flow", CreditFlow, DeferredFlow)
AnyFlow: TypeAlias = CreditFlow | DeferredFlow


@attrs.define
class Tally:
    """One block counted over a period: what is `left`, and eight columns each of credits and of money.

    Money is in the smallest unit of the block's cost, which has `places` decimal places, at least cents.
    """

    block: Block
    left: int = 0
    units: list[int] = attrs.field(factory=lambda: [0] * 8)
    money: list[int] = attrs.field(factory=lambda: [0] * 8)
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
        before, more = self.money[_CLOSING], entry.amount if entry.kind in _COMES_IN else -entry.amount
        self.left += more
        change = self.deferred - before
        if counts:
            column = _MOVED if entry.kind == "granted" and lives_on(self.block) else _COLUMNS[entry.kind]
            sign = _SIGNS[column]
            self.units[column] += more * sign
            self.money[column] += change * sign
        else:
            self.units[0], self.money[0] = self.left, before + change
        self.units[_CLOSING], self.money[_CLOSING] = self.left, before + change
        return change

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
        """Count a posted line; return by how much deferred revenue changed, None for no cost or no such change.

        A line that moves nothing, as that by which a used-up block is voided, leaves no row of its own.
        """
        if entry.kind not in _COLUMNS or not entry.amount or self._credit not in {None, entry.subject}:
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
        return sorted(found, key=lambda tally: (granted_order(tally.block), tally.block.id))


def total(kind: type[Flow], flows: Iterable[Flow], scale: int = CENTS) -> Flow:
    """Return the sum of flows, zero at a scale for none."""
    sums = [exact(0, scale)] * 8
    for flow in flows:
        sums = [sum_exact(one, other) for one, other in zip(sums, attrs.astuple(flow), strict=True)]
    return kind(*sums)


def adds_up(flow: AnyFlow) -> bool:
    """Tell whether opening and movements come to closing."""
    *movements, closing = attrs.astuple(flow)
    found = exact(0, 0)
    for sign, amount in zip(_SIGNS, movements, strict=True):
        found = sum_exact(found, amount if sign > 0 else amount.copy_negate())
    return bool(found == closing)


def to_texts(flow: AnyFlow) -> dict[str, Any]:
    """Return a flow as JSON values: amounts as plain decimal text."""
    return {name: f"{amount:f}" for name, amount in attrs.asdict(flow).items()}


def names(kind: type[AnyFlow], flows: Iterable[AnyFlow]) -> tuple[str, ...]:
    """Return the columns of flows that are shown to people: what moved between blocks only where something did."""
    moved = any(flow.moved for flow in flows)
    return tuple(field.name for field in attrs.fields(kind) if moved or field.name != "moved")


def read(flow: AnyFlow, columns: Iterable[str]) -> Iterator[str]:
    """Yield columns of a flow as people read them."""
    return (number(getattr(flow, name)) for name in columns)
