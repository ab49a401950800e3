"""What falls due by time: expiry, hold timeouts, and the repayments that follow.

No job is needed. Every read answers as if these entries were booked; the next write books exactly
them, first in its own batch, each at its own instant.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TypeVar

from .blocks import Block, OpenHold, live, over, pays
from .burn import burn_order
from .crediting import Books
from .entries import Entry
from .state import Head

T = TypeVar("T")


def due(books: Books, at: datetime) -> list[Entry]:
    """Return the entries that fell due up to and including an instant, and post them to the books.

    In order of their instants; at one instant blocks expire first, then holds lapse, then blocks that
    are live repay what is owed. Nothing that falls due makes anything else begin or end, so each
    instant is looked at once, and a second call finds nothing.
    """
    if not may_be_due(books, at):
        return []
    ends = _by_instant(((block.expires_at, block) for block in books.blocks.values()), at)
    lapses = _by_instant(((hold.ends_at, hold) for hold in books.holds.values()), at)
    begins = _by_instant(((block.effective_at, block) for block in books.blocks.values() if _owes(books, block)), at)
    posted: list[Entry] = []
    for instant in sorted(ends.keys() | lapses.keys() | begins.keys()):
        for block in sorted(ends.get(instant, ()), key=lambda block: (block.number, block.id)):
            posted += _expire(books, block.id, instant)
        for hold in sorted(lapses.get(instant, ()), key=lambda hold: hold.id):
            posted += release(books, hold, instant, why="lapsed")
        if instant in lapses or instant in begins:
            for block in burn_order(block for block in books.blocks.values() if _owes(books, block)):
                posted += repay(books, block, instant)
    return posted


def may_be_due(books: Books | Head, at: datetime) -> bool:
    """Tell whether anything can have fallen due up to and including an instant; False is quick, and certain."""
    if books.debts:
        return True
    ends = [block.expires_at for block in books.blocks.values() if block.expires_at is not None]
    ends += [hold.ends_at for hold in books.holds.values() if hold.ends_at is not None]
    return bool(ends) and min(ends) <= at


def release(books: Books, hold: OpenHold, at: datetime, *, why: str) -> Iterator[Entry]:
    """Give back all that a hold pins, posting each entry: to its blocks, and on from those that are over."""
    for block_id, units in hold.slices:
        yield _posted(books, Entry("released", at, hold.subject, amount=units, block=block_id, data={"hold": hold.id}))
        yield from lose(books, block_id, units, at)
    for counter, window, units in hold.counters:
        yield Entry("usage_released", at, hold.subject, counter, window, -units, data={"hold": hold.id})
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


def _by_instant(edges: Iterable[tuple[datetime | None, T]], at: datetime) -> dict[datetime, list[T]]:
    """Return what begins or ends at each instant up to `at`."""
    found: dict[datetime, list[T]] = {}
    for instant, what in edges:
        if instant is not None and instant <= at:
            found.setdefault(instant, []).append(what)
    return found


def _owes(books: Books, block: Block) -> bool:
    """Tell whether a block is to repay something as soon as it is live."""
    if not block.settle_debt or not block.free_units:
        return False
    return any(credit == block.credit and pays(block, purpose) for credit, purpose in books.debts)


def _expire(books: Books, block_id: str, at: datetime) -> Iterator[Entry]:
    block = books.blocks[block_id]
    if block.free_units:
        yield _posted(books, Entry("expired", at, block.credit, amount=block.free_units, block=block_id))


def _posted(books: Books, entry: Entry) -> Entry:
    books.post(entry)
    return entry
