"""Locating: in which batch a block was granted that nobody asked for, and that so has no key of its own."""

from __future__ import annotations

from .ledger.entries import Batch
from .ledger.instants import to_instant
from .ledger.plan_grants import begins_of
from .storage.base import Storage


def granting_batch(storage: Storage, customer: str, block: str) -> Batch | None:
    """Return the batch that granted a block, None where none did; reads as many batches as the log's length has digits.

    What falls due is booked by the first batch at or after its instant. A block's id tells when it began.
    """
    began = begins_of(block)
    if began is None:
        return storage.batch(customer, block)
    at = to_instant(began)
    before, last = 0, storage.state(customer, lambda _: ()).head.batches
    while before < last:
        middle = (before + last) // 2
        (batch,) = storage.batches(customer, after=middle, limit=1)
        before, last = (before, middle) if batch.at >= at else (middle + 1, last)
    return _first_granting(storage, customer, block, before)


def _first_granting(storage: Storage, customer: str, block: str, after: int) -> Batch | None:
    """Return the batch that granted a block among those of the instant of the one that follows `after`."""
    first: Batch | None = None
    while page := storage.batches(customer, after=after, limit=10):
        for batch in page:
            first = first or batch
            if batch.at != first.at:
                return None
            if any(entry.kind == "granted" and entry.block == block for entry in batch.entries):
                return batch
        after = page[-1].number
    return None
