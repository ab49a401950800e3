"""Entries and batches: the lines of a customer's log, and the operations that wrote them.

An entry is one line; a batch is all lines of one operation, written together or not at all and
known by `(customer, key)`. Neither ever changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import attrs

from ..frozen import frozen

if TYPE_CHECKING:
    from .records import Record

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOTHING: Mapping[str, Any] = MappingProxyType({})

CounterKey: TypeAlias = tuple[str, datetime]
"""The name of a counter and the start of its window; `EPOCH` for a counter that never starts again."""

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


@attrs.frozen
class Entry:
    """One line of a log.

    `at` is when it counts, `recorded_at` when it was written. A fact carries what holds from `at` on
    in `data`; a line of usage adds `amount` (smallest units, may be negative) to the counter
    `(counter, window)`; a line of credits moves `amount` in, out or within `block`. `seq` counts from 1
    without gaps within a customer.
    """

    kind: str
    at: datetime
    subject: str
    counter: str = ""
    window: datetime | None = None
    amount: int = 0
    data: Mapping[str, Any] = attrs.field(default=NOTHING, hash=False)
    block: str = ""
    seq: int = 0
    key: str = ""
    recorded_at: datetime = EPOCH


@attrs.frozen
class Batch:
    """The entries of one operation, what was asked, and what was answered.

    `number` counts a customer's batches from 1; `request` and `result` are JSON values, so that the
    same key can be answered again from the log alone. `hash` chains it to the batch before; `salt`
    seals what is personal in it, and is empty where nothing is, or where that was erased.
    """

    customer: str
    key: str
    number: int
    at: datetime
    request: Mapping[str, Any] = attrs.field(hash=False)
    result: Mapping[str, Any] = attrs.field(hash=False)
    entries: tuple[Entry, ...]
    hash: str = ""
    salt: str = ""


@attrs.frozen
class Verdict(Generic[R_co]):
    """What a decision comes to: the answer, and the batch to append (None: nothing is written).

    `record` is the batch as it is kept, where hashing it has made that already.
    """

    result: R_co
    batch: Batch | None = None
    record: Record | None = attrs.field(default=None, eq=False, repr=False)


def numbered(entries: Sequence[Entry], *, after: int, key: str, at: datetime) -> tuple[Entry, ...]:
    """Return the entries with the sequence numbers that follow `after`, their batch's key and its instant."""
    return tuple([_numbered(entry, seq, key, at) for seq, entry in enumerate(entries, start=after + 1)])


def kinds_of(entries: Iterable[Entry]) -> list[str]:
    """Return the kind of each entry."""
    return [entry.kind for entry in entries]


def frozen_batch(batch: Batch) -> Batch:
    """Return a batch that nobody who reads it can change: a storage may keep the very one."""
    told = (batch.customer, batch.key, batch.number, batch.at, frozen(batch.request), frozen(batch.result))
    return Batch(*told, tuple(map(frozen_entry, batch.entries)), batch.hash, batch.salt)


def frozen_entry(entry: Entry) -> Entry:
    """Return an entry that nobody who reads it can change."""
    return entry if entry.data is NOTHING else attrs.evolve(entry, data=frozen(entry.data))


def _numbered(entry: Entry, seq: int, key: str, at: datetime) -> Entry:
    where = (entry.counter, entry.window, entry.amount, entry.data, entry.block)
    return Entry(entry.kind, entry.at, entry.subject, *where, seq, key, at)
