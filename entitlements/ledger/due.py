"""What falls due by time: expiry and rollover, hold timeouts, plan credits, and the repayments that follow.

No job is needed. Every read answers as if these entries were booked; the next write books exactly
them, first in its own batch, each at its own instant.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from heapq import heapify, heappop
from typing import Final

import attrs

from ..catalog.model import EMPTY, Rollover
from .blocks import Block, OpenHold, empty, granted_order, live, over, pays
from .burn import burn_order
from .crediting import Books
from .entries import Entry
from .instants import from_instant
from .plan_grants import PlanGrant, block_of, converted, in_force, is_of_plan, next_grant, rolled
from .state import Head

_MAKES_MORE: Final = frozenset({"granted", "plan_left"})
"""Kinds of lines after which something new may come to be due."""


def due(books: Books, at: datetime) -> list[Entry]:
    """Return the entries that fell due up to and including an instant, and post them to the books.

    In order of their instants; at one instant blocks expire first, and what rolls over lives on; then
    holds lapse, plans grant, and what is left of a plan that was left is dealt with; then blocks that
    are live repay what is owed. What falls due makes others begin or end later, never at the same
    instant, so each instant is looked at once, and a second call finds nothing.
    """
    if not may_be_due(books, at):
        return []
    posted: list[Entry] = []
    instants = _instants(books, at)
    while instants:
        instant = heappop(instants)
        begun = len(posted)
        posted += _at(books, instant)
        if any(entry.kind in _MAKES_MORE for entry in posted[begun:]):
            instants = _instants(books, at, after=instant)
    return posted


def may_be_due(books: Books | Head, at: datetime) -> bool:
    """Tell whether anything can have fallen due up to and including an instant; False is quick, and certain."""
    if books.debts:
        return True
    ends = [block.expires_at for block in books.blocks.values() if block.expires_at is not None]
    ends += [hold.ends_at for hold in books.holds.values() if hold.ends_at is not None]
    ends += _of_grants(books) if books.grants else ()
    return bool(ends) and min(ends) <= at


def next_due(books: Books) -> datetime | None:
    """Return the first instant to come at which a plan grants, or is left; None for never."""
    return min(_of_grants(books), default=None)


def release(books: Books, hold: OpenHold, at: datetime, *, why: str) -> Iterator[Entry]:
    """Give back all that a hold pins, posting each entry: to its blocks, and on from those that are over."""
    for block_id, units in hold.slices:
        credit = books.blocks[block_id].credit
        yield _posted(books, Entry("released", at, credit, amount=units, block=block_id, data={"hold": hold.id}))
        yield from lose(books, block_id, units, at)
    for counter, window, units in hold.counters:
        yield Entry("usage_released", at, hold.subject, counter, window, -units, data={"hold": hold.id})
    for counter, window, units, _ in hold.budgets:
        yield Entry("budget_released", at, hold.subject, counter, window, -units, data={"hold": hold.id})
    yield _posted(books, Entry("hold_closed", at, hold.subject, data={"hold": hold.id, "state": why}))


def lose(books: Books, block_id: str, units: int, at: datetime) -> Iterator[Entry]:
    """Take units that came back to a block out again where it is over: expired with it, or voided with it."""
    block = books.blocks[block_id]
    if over(block, at):
        kind = "voided" if block.voided else "expired"
        yield _posted(books, Entry(kind, at, block.credit, amount=units, block=block_id))


def repay(books: Books, block: Block, at: datetime) -> Iterator[Entry]:
    """Repay what is owed and the block could have paid, oldest debt first, posting each entry."""
    for (credit, purpose), debt in list(books.debts.items()):
        free = books.blocks[block.id].free_units
        if credit == block.credit and free and block.settle_debt and live(block, at) and pays(block, purpose):
            paid = min(free, debt.units)
            entry = Entry("repaid", at, credit, amount=paid, block=block.id, data={"purpose": purpose})
            yield _posted(books, entry)


def repaying(books: Books, blocks: Iterable[Block]) -> list[Block]:
    """Return blocks in the order in which they repay: of each credit, in that of the oldest debt in it.

    A debt says by itself how its charge would have burned: what falls due does not depend on a catalog.
    """
    orders: dict[str, str | tuple[str, ...]] = {}
    for debt in books.debts.values():
        orders.setdefault(debt.credit, debt.order)
    own: dict[str, list[Block]] = {credit: [] for credit, order in orders.items() if order != "default"}
    others: list[Block] = []
    for block in blocks:
        own.get(block.credit, others).append(block)
    ordered = burn_order(others)
    for credit, mine in own.items():
        ordered += burn_order(mine, orders[credit])
    return ordered


def _instants(books: Books, at: datetime, after: datetime | None = None) -> list[datetime]:
    """Return the instants up to `at`, and after another, at which something falls due, as a heap."""
    found = {block.expires_at for block in books.blocks.values()}
    found |= {hold.ends_at for hold in books.holds.values()}
    found |= {block.effective_at for block in books.blocks.values() if _owes(books, block)}
    instants = [instant for instant in found.union(_of_grants(books)) if instant is not None and instant <= at]
    if after is not None:
        instants = [instant for instant in instants if instant > after]
    heapify(instants)
    return instants


def _of_grants(books: Books | Head) -> list[datetime]:
    found = [next_grant(row, books.granted) for rows in books.grants.values() for row in rows]
    found += [row.until for rows in books.grants.values() for row in rows if _is_settled(row)]
    return [instant for instant in found if instant is not None]


def _is_settled(row: PlanGrant) -> bool:
    """Tell whether something becomes of what is left when a plan is left."""
    return row.left and row.terms.unused != "keep"


def _at(books: Books, instant: datetime) -> Iterator[Entry]:
    """Yield what falls due at one instant, each line posted."""
    ended = [block for block in books.blocks.values() if block.expires_at == instant and block.free_units]
    for block in sorted(ended, key=lambda block: (granted_order(block), block.id)):
        yield from _expire(books, block.id, instant)
    lapsed = [hold for hold in books.holds.values() if hold.ends_at == instant]
    for hold in sorted(lapsed, key=lambda hold: hold.id):
        yield from release(books, hold, instant, why="lapsed")
    for row in sorted(_granting(books, instant), key=lambda row: (row.lent, row.key)):
        yield from _grant(books, row, instant)
    for key, rows in sorted(books.grants.items()):
        for row in [row for row in rows if row.until == instant and _is_settled(row)]:
            yield from _leave(books, key, row, instant)
    if lapsed or any(block.effective_at == instant for block in books.blocks.values() if _owes(books, block)):
        for block in repaying(books, [block for block in books.blocks.values() if _owes(books, block)]):
            yield from repay(books, block, instant)


def _granting(books: Books, instant: datetime) -> list[PlanGrant]:
    return [row for rows in books.grants.values() for row in rows if next_grant(row, books.granted) == instant]


def _grant(books: Books, row: PlanGrant, at: datetime) -> Iterator[Entry]:
    """Yield the grant of a period; two sources of one plan grant it once."""
    if next_grant(row, books.granted) == at:
        block, span = block_of(row, at, books.granted, books.number), row.period(at)
        counts = {"lent_until": span.end} if row.lent else {}
        if not row.lent and block.units == row.terms.grant and span.start < at:
            counts = {"began": span.start}
        yield _opened(books, block, {name: from_instant(instant) for name, instant in counts.items()})


def _leave(books: Books, key: str, row: PlanGrant, at: datetime) -> Iterator[Entry]:
    """Yield what becomes of what is left of a plan's credits when it is left for another plan."""
    mine = [block for block in books.blocks.values() if block.credit == row.credit and is_of_plan(block, row.plan)]
    for block in sorted(mine, key=lambda block: block.id):
        if over(block, at) or empty(block):
            continue  # a write in between would have let go of it
        if row.terms.unused == "forfeit":
            yield _posted(books, Entry("voided", at, block.credit, amount=block.free_units, block=block.id))
        elif block.free_units:
            into = converted(block, at, books.number)
            while into.id in books.blocks:  # left twice at one instant, where something came back in between
                into = attrs.evolve(into, id=f"{into.id}+{from_instant(at)}")
            yield from _move(books, block, into, at)
    forfeits = {"forfeits": [row.plan, books.number]} if row.terms.unused == "forfeit" else {}
    yield _posted(books, Entry("plan_left", at, row.credit, data={"source": key, **forfeits}))


def _move(books: Books, block: Block, into: Block, at: datetime) -> Iterator[Entry]:
    yield _posted(books, Entry("rolled", at, block.credit, amount=into.units, block=block.id, data={"into": into.id}))
    yield _opened(books, into)


def _opened(books: Books, block: Block, counts: Mapping[str, int] = EMPTY) -> Entry:
    granted = Entry("granted", block.effective_at, block.credit, amount=block.units, block=block.id)
    return _posted(books, attrs.evolve(granted, data={"block": block, **counts}))


def _owes(books: Books, block: Block) -> bool:
    """Tell whether a block is to repay something as soon as it is live."""
    if not block.settle_debt or not block.free_units:
        return False
    return any(credit == block.credit and pays(block, purpose) for credit, purpose in books.debts)


def _expire(books: Books, block_id: str, at: datetime) -> Iterator[Entry]:
    block = books.blocks[block_id]
    if block.rollover is not None:
        into = _rolled(books, block, block.rollover, at)
        if into is not None:
            yield from _move(books, block, into, at)
            block = books.blocks[block_id]
    if block.free_units:
        yield _posted(books, Entry("expired", at, block.credit, amount=block.free_units, block=block_id))


def _rolled(books: Books, block: Block, rollover: Rollover, at: datetime) -> Block | None:
    """Return the block in which what is left of one lives on, None where nothing grants its credit any more."""
    plan = block.source.partition(":")[2]
    rows = in_force(books.grants.values(), block.credit, at)
    row = min(rows, key=lambda row: (row.plan != plan, row.lent, row.key), default=None)
    return rolled(block, rollover, row, at, books.number) if row is not None else None


def _posted(books: Books, entry: Entry) -> Entry:
    books.post(entry)
    return entry
