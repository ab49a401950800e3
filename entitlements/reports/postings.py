"""A log read for a report: the lines of credits, in order, each with the instant at which it counts.

Use, settling and refunds count when they were recorded; grants, expiry, holds that lapse and
repayments at their own instant. What fell due and is not booked yet is read as if it were,
so a report says the same before and after somebody books it, and in the same order: what is granted by
itself is numbered after all that was.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

import attrs

from ..ledger.crediting import CREDIT_KINDS, Books
from ..ledger.due import due
from ..ledger.entries import Batch, Entry
from ..periods import Window
from ..requests import aware

RECORDED: Final = frozenset({"burned", "settled", "overdrawn", "refunded", "forgiven"})
"""Kinds of lines that count when they were recorded, whenever the use itself was."""
_FIRST: Final = datetime.min.replace(tzinfo=UTC)


@attrs.frozen
class Posting:
    """A line of credits and the instant at which it counts; `batch` is None where it is not booked yet."""

    entry: Entry
    at: datetime
    batch: Batch | None = None


class Reading:
    """One log, read once from its beginning up to an instant; `books` is what it comes to so far."""

    def __init__(self, batches: Iterable[Batch], until: datetime) -> None:
        self.books = Books()
        self._until = until
        self._unread = self._read(batches)
        self._next: Posting | None = None

    def postings(self, before: datetime) -> Iterator[Posting]:
        """Yield the lines that count before an instant, at most `until`, once each is posted to the books."""
        while (posting := self._peek()) is not None and posting.at < before:
            self._next = None
            self.books.post(posting.entry)
            yield posting

    def _peek(self) -> Posting | None:
        if self._next is None:
            self._next = next(self._unread, None)
        return self._next

    def _read(self, batches: Iterable[Batch]) -> Generator[Posting, None, None]:
        for batch in batches:
            entries = [entry for entry in batch.entries if entry.kind in CREDIT_KINDS]
            for entry in entries:
                yield Posting(entry, batch.at if entry.kind in RECORDED else entry.at, batch)
            if entries:
                self.books = self.books.swept()
            self.books.number = batch.entries[-1].seq + 1
            if batch.at >= self._until:
                return
        books = self.books.copied()
        for entry in due(books, self._until):
            if entry.kind in CREDIT_KINDS:
                yield Posting(entry, entry.at)


def period_of(start: datetime, end: datetime) -> Window:
    """Return the half-open period of a report; raises TypeError for naive instants, ValueError for none between."""
    period = Window(aware(start, "start"), aware(end, "end"))
    if period.start >= period.end:
        raise ValueError(f"start is {start.isoformat()}; it must come before end, {end.isoformat()}")
    return period


def just_before(at: datetime) -> datetime:
    """Return the last instant before one, and the first of all for itself."""
    return at if at == _FIRST else at - datetime.resolution
