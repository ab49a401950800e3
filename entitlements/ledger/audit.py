"""The audit of a log: every batch is hashed and folded again, and compared with what is kept.

One walk over the batches in order, in memory that does not grow with their number. What the log
itself cannot tell, its end cut off or all of it written anew, is told by a head that was saved.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

import attrs

from ..errors import LogCorrupt
from .chain import chained
from .entries import NOTHING, Batch, CounterKey
from .instants import to_instant
from .records import Kept, Record, digests_of, entries_in
from .sealing import digest_of, salt_of
from .state import Fold, Head, add

AHEAD: Final = timedelta(minutes=5)
MOST_OF_A_KIND: Final = 10
_UNREADABLE: Final = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError)


@attrs.frozen
class Problem:
    """One thing that is wrong with a log: whose, in which batch and entry where that can be told, and what.

    `customer` is empty where the storage as a whole is meant.
    """

    customer: str
    batch: int | None
    seq: int | None
    message: str

    def __str__(self) -> str:
        where = f", batch {self.batch}" if self.batch is not None else ""
        where += f", entry {self.seq}" if self.seq is not None else ""
        return f"{self.customer or 'the storage'}{where}: {self.message}"


def audit(kept: Kept, *, now: datetime, head: str | None = None) -> tuple[Problem, ...]:
    """Return what is wrong with all that is kept of one customer, of each kind the first ten; empty is sound.

    `head` is a hash that was saved before: the chain must still pass through it.
    """
    walk = _Walk(kept, head)
    try:
        for record in kept.records:
            walk.add(record)
    except LogCorrupt as error:
        walk.tell("storage", str(error))
        walk.folds = False
    walk.end(now)
    return tuple(walk.problems())


class _Walk:
    """What is known of a log up to some batch, and what was found wrong with it."""

    def __init__(self, kept: Kept, saved: str | None) -> None:
        self.folds = True
        self._kept, self._saved = kept, saved
        self._found: dict[str, list[Problem]] = {}
        self._number, self._seq, self._position, self._at = 0, 0, 0, 0
        self._previous: tuple[str, ...] = ("",)
        self._fold, self._counters = Fold(), dict[CounterKey, int]()
        self._secrets, self._unerased = 0, 0
        self._erased_early: int | None = None
        for flaw in kept.flaws:
            self.tell("storage", flaw)

    def tell(self, kind: str, message: str, batch: int | None = None, seq: int | None = None) -> None:
        said = message.removeprefix(f"{self._kept.customer}: ")
        self._found.setdefault(kind, []).append(Problem(self._kept.customer, batch, seq, said))
        if kind == "order":
            self.folds = False
        if len(self._found[kind]) > MOST_OF_A_KIND:
            del self._found[kind][MOST_OF_A_KIND:]

    def problems(self) -> Iterator[Problem]:
        for found in self._found.values():
            yield from found

    def add(self, record: Record) -> None:
        """Look at one more batch."""
        self._check_order(record)
        self._check_hash(record)
        self._check_secrets(record)
        if self.folds:
            self._refold(record)
        for line in record.lines:
            if line.kind == "erased":
                self._forget(record)

    def end(self, now: datetime) -> None:
        """Compare what the log came to with what is kept of it."""
        kept = self._kept
        if self._saved:
            self.tell("head", "the saved head is not in the chain: its end was cut off, or it was rewritten")
        if self._erased_early is not None:
            self.tell("secrets", "a personal value in it was erased, and no erasure is booked", self._erased_early)
        if kept.secrets is not None and kept.secrets != self._secrets:
            self.tell("secrets", f"{kept.secrets} personal values are kept, the log holds {self._secrets}")
        if self.folds and not kept.folded_anew:
            self._compare_heads(self._fold.head)
            self._compare_counters()
        if self._number and _instant(self._at) > now + AHEAD:
            self.tell("clock", f"the log is ahead of the clock, at {_instant(self._at).isoformat()}", self._number)

    def _check_order(self, record: Record) -> None:
        number, lines, seq = record.number, record.lines, self._seq
        if number != self._number + 1:
            said = f"batch {self._number + 1} is missing before it" if number > self._number else "it comes twice"
            self.tell("order", said, number)
            self._previous = ()
        if record.position and record.position <= self._position:
            self.tell("order", "it stands in the feed before the batch it follows", number)
        if record.first != seq + 1 or record.last != seq + len(lines) or not lines:
            said = f"it is to hold entries {record.first} to {record.last}, and follows entry {seq} with {len(lines)}"
            self.tell("order", said, number, seq + 1)
        for line in lines:
            seq += 1
            if line.seq != seq or line.batch != number:
                self.tell("order", f"entry {line.seq} of batch {line.batch} stands in its place", number, seq)
                break
        self._number, self._position, self._at = number, record.position, record.at
        self._seq = record.last

    def _check_hash(self, record: Record) -> None:
        computed = chained(record, self._previous[0]) if self._previous else record.hash
        if computed != record.hash and record.hash not in [chained(record, other) for other in self._previous[1:]]:
            self.tell("chain", "its hash does not follow from what it holds and the batch before", record.number)
        self._previous = (record.hash,) if computed == record.hash else (record.hash, computed)
        if self._saved == record.hash:
            self._saved = None

    def _check_secrets(self, record: Record) -> None:
        for digest in digests_of(record):
            secret = record.secrets.get(digest)
            if secret is None:
                if self._kept.secrets is not None:
                    self.tell("secrets", "a personal value in it is gone", record.number)
            elif secret.number == record.number:
                self._secrets += 1
                if secret.text:
                    self._unerased += 1
                    if digest_of(secret.text, secret.salt) != digest:
                        self.tell("secrets", "a personal value in it was changed", record.number)
                elif self._erased_early is None:
                    self._erased_early = record.number

    def _forget(self, record: Record) -> None:
        if self._unerased and self._kept.secrets is not None:
            self.tell("secrets", "personal values from before this erasure are still kept", record.number)
        self._unerased, self._erased_early = 0, None

    def _refold(self, record: Record) -> None:
        try:
            batch = _batch(record)
            self._fold.add(batch)
            if any(line.window is not None for line in record.lines):
                self._counters.update(add(record.customer, self._counters, batch.entries))
        except LogCorrupt as error:
            self.tell("fold", str(error), record.number)
            self.folds = False
        except _UNREADABLE as error:
            self.tell("fold", f"it cannot be read ({type(error).__name__}: {error})", record.number)
            self.folds = False

    def _compare_heads(self, head: Head) -> None:
        kept = self._kept.head
        if kept is None:
            if head.known:
                self.tell("head", "no head is kept of this log")
            return
        for part in attrs.fields_dict(Head):
            stands, folded = getattr(kept, part), getattr(head, part)
            if stands != folded:
                self.tell("head", f"the head differs from the log in its {part}{_differing(stands, folded)}")

    def _compare_counters(self) -> None:
        left = self._counters
        try:
            for (name, start), amount in self._kept.counters:
                folded = left.pop((name, start), None)
                if folded != amount:
                    said = f"counter {name!r} from {start.isoformat()} is kept as {amount}, the log says {folded or 0}"
                    self.tell("counters", said)
        except LogCorrupt as error:
            self.tell("counters", str(error))
        for (name, start), amount in left.items():
            self.tell("counters", f"counter {name!r} from {start.isoformat()} is not kept, the log says {amount}")


def _batch(record: Record) -> Batch:
    """Return the batch of a record without request and answer, which the fold does not read."""
    at = to_instant(record.at)
    told = (NOTHING, NOTHING, entries_in(record, at), record.hash, salt_of(record.secrets))
    return Batch(record.customer, record.key, record.number, at, *told)


def _differing(stands: object, folded: object) -> str:
    """Return which of the named things differ, for parts that are mappings."""
    if not isinstance(stands, dict) or not isinstance(folded, dict):
        return ""
    differing = {name for name in stands.keys() | folded.keys() if stands.get(name) != folded.get(name)}
    names = [name for name in differing if isinstance(name, str)]
    more = " …" if len(names) > 3 else ""
    return f" ({', '.join(sorted(names)[:3])}{more})" if names else ""


def _instant(micros: int) -> datetime:
    try:
        return to_instant(micros)
    except OverflowError:
        return to_instant(253_402_300_799_000_000)
