"""What falls due by time: hold timeouts, expiry, and the repayments that follow.

No job is needed. Every read answers as if these entries were booked; the next write books exactly
them, first in its own batch, each at its own instant.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from .blocks import Block, OpenHold, live, pays
from .burn import burn_order
from .crediting import Books
from .entries import Entry


def due(books: Books, at: datetime) -> list[Entry]:
    """Return the entries that fell due up to and including an instant, and post them to the books.

    In order of their instants; at one instant holds lapse first, then blocks expire, then blocks that
    begin repay what is owed.
    """
    posted: list[Entry] = []
    while (instant := _next(books, at)) is not None:
        entries = list(_at(books, instant))
        if not entries:
            break
        posted.extend(entries)
    return posted


def release(books: Books, hold: OpenHold, at: datetime, *, why: str) -> Iterator[Entry]:
    """Give back all that a hold pins, posting each entry: to its blocks, or to expired where they ended."""
    for block_id, units in hold.slices:
        yield _posted(books, Entry("released", at, hold.subject, amount=units, block=block_id, data={"hold": hold.id}))
        block = books.blocks[block_id]
        if block.expires_at is not None and block.expires_at <= at:
            yield _posted(books, _expiry(block, at, units))
    for counter, window, units in hold.counters:
        yield Entry("usage_released", at, hold.subject, counter, window, -units, data={"hold": hold.id})
    yield _posted(books, Entry("hold_closed", at, hold.subject, data={"hold": hold.id, "state": why}))


def repay(books: Books, block: Block, at: datetime) -> Iterator[Entry]:
    """Repay what is owed and the block could have paid, oldest debt first, posting each entry."""
    for (credit, purpose), debt in list(books.debts.items()):
        free = books.blocks[block.id].free_units
        if credit == block.credit and free and block.settle_debt and live(block, at) and pays(block, purpose):
            paid = min(free, debt.units)
            entry = Entry("repaid", at, credit, amount=paid, block=block.id, data={"purpose": purpose})
            yield _posted(books, entry)


def _next(books: Books, at: datetime) -> datetime | None:
    """Return the earliest instant up to `at` at which something falls due, None for nothing."""
    ends = [hold.ends_at for hold in books.holds.values() if hold.ends_at is not None]
    ends += [block.expires_at for block in books.blocks.values() if block.expires_at is not None and block.free_units]
    ends += [block.effective_at for block in books.blocks.values() if _owes(books, block)]
    fallen = [end for end in ends if end <= at]
    return min(fallen) if fallen else None


def _owes(books: Books, block: Block) -> bool:
    """Tell whether a block has yet to repay something when it begins."""
    if not block.settle_debt or not block.free_units:
        return False
    return any(credit == block.credit and pays(block, purpose) for credit, purpose in books.debts)


def _at(books: Books, instant: datetime) -> Iterator[Entry]:
    for hold in sorted(books.holds.values(), key=lambda hold: hold.id):
        if hold.ends_at is not None and hold.ends_at <= instant:
            yield from release(books, hold, hold.ends_at, why="lapsed")
    for block in sorted(books.blocks.values(), key=lambda block: block.number):
        if block.expires_at is not None and block.expires_at <= instant and block.free_units:
            yield _posted(books, _expiry(block, block.expires_at, block.free_units))
    for block in burn_order(books.blocks.values()):
        if live(block, instant):
            yield from repay(books, block, instant)


def _expiry(block: Block, at: datetime, units: int) -> Entry:
    return Entry("expired", at, block.credit, amount=units, block=block.id)


def _posted(books: Books, entry: Entry) -> Entry:
    books.post(entry)
    return entry
