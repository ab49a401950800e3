"""What every storage holds to, however it keeps its logs."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from typing import Final

from ..errors import LogCorrupt, StorageError, StorageUnavailable, shown
from ..ledger.entries import Batch, CounterKey
from ..ledger.state import Head, State, add, apply

MOST: Final = 2**62
MOST_TOLD: Final = 10_000
"""How many new batches are looked through to tell whose they are."""
_LARGEST: Final = 2**63 - 1


def follow(
    customer: str, key: str, state: State, batch: Batch, counters: Mapping[CounterKey, int]
) -> tuple[Head, dict[CounterKey, int]]:
    """Return the head, and the counters the batch touches, as they stand after the batch.

    Raises LogCorrupt where the batch is not of this customer and key, was there before, or does not
    follow the head, or where a counter would leave its range.
    """
    if batch.customer != customer or batch.key != key:
        raise LogCorrupt(
            f"{shown(customer)}: a batch of {shown(batch.customer)}, {shown(batch.key)} came for {shown(key)}"
        )
    if state.prior is not None:
        raise LogCorrupt(
            f"{shown(customer)}: key {shown(key)} is that of batch {state.prior.number}; nothing was written"
        )
    if batch.salt and state.head.salt and batch.salt != state.head.salt:
        raise LogCorrupt(f"{customer}: batch {batch.number} is sealed with another salt than its log")
    _check_entries(batch)
    return apply(state.head, batch), add(customer, counters, batch.entries)


def position(cursor: str | None) -> int:
    """Return the position a feed cursor stands for, 0 for the start; raises ValueError for what no feed gave."""
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 19):
        raise ValueError(f"{shown(cursor)} is not a cursor of this feed; pass the `cursor` of a page, or None")
    return int(cursor)


def plain(*texts: str) -> None:
    """Raise ValueError for a text that some storage could not keep: with a NUL character or a lone surrogate."""
    for text in texts:
        if "\0" in text or (not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text)):
            raise ValueError(f"{shown(text)} holds a NUL character or a lone surrogate, which no text may")


def bytes_left(error: StorageError) -> StorageUnavailable:
    """Return what a call comes to whose erasure is committed, but of which the storage may still hold bytes."""
    said = str(error).removesuffix("; nothing was written")
    return StorageUnavailable(f"the erasure is booked, but bytes of what was erased may be left ({said}); erase again")


def bounded(number: int) -> int:
    """Return the number moved into 0 and `MOST`, so that any limit or offset has a meaning everywhere."""
    return max(0, min(number, MOST))


def patience(write_timeout: float) -> float:
    """Return a timeout in seconds that a lock takes; raises ValueError unless it is zero or more."""
    if math.isnan(write_timeout) or write_timeout < 0:
        raise ValueError(f"write_timeout is {write_timeout!r}; write seconds, zero or more")
    return min(float(write_timeout), threading.TIMEOUT_MAX)


def _check_entries(batch: Batch) -> None:
    key, at = batch.key, batch.at
    for entry in batch.entries:
        if entry.key != key or entry.recorded_at != at:
            said = "does not carry the key and instant of its batch"
            raise LogCorrupt(f"{shown(batch.customer)}: entry {entry.seq} {said}")
        if not -_LARGEST <= entry.amount <= _LARGEST:
            said = f"has the amount {entry.amount}, which is out of range"
            raise LogCorrupt(f"{shown(batch.customer)}: entry {entry.seq} {said}")
