"""Locating: where in a log stands what is asked for, be it a batch, a block or a state of the past."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import takewhile

from . import steps
from .ledger.entries import Batch, CounterKey
from .ledger.instants import to_instant
from .ledger.plan_grants import begins_of
from .ledger.state import Head, State, fold
from .ledger.trail import Trail
from .steps import Steps


def batches_of(customer: str, keys: Iterable[str]) -> Steps[dict[str, Batch]]:
    """Return the batches of keys and blocks, by these; without those that there are not."""
    found = {}
    for key in keys:
        batch = yield from granting_batch(customer, key)
        if batch is not None:
            found[key] = batch
    return found


def traced(customer: str, credit: str, trail: Trail | None) -> Steps[Trail]:
    """Return who repaid what in a credit, up to the last batch; what a trail tells already is not read again."""
    followed = Trail(credit) if trail is None else trail
    while page := (yield from steps.batches(customer, after=followed.number, limit=1000)):
        for batch in page:
            followed.follow(batch)
    return followed


def past_state(customer: str, as_of: int | None, needed: Callable[[Head], Sequence[CounterKey]]) -> Steps[State]:
    """Return the state a log folds to with all its past, or with only what was known at `as_of`."""

    def folded(batches: Iterator[Batch]) -> tuple[Head, dict[CounterKey, int]]:
        known = batches if as_of is None else takewhile(lambda batch: batch.entries[-1].seq <= as_of, batches)
        return fold(known, keep_ended=True)

    head, counters = yield from steps.log(customer, folded)
    return State(head, {counter: counters.get(counter, 0) for counter in needed(head)})


def granting_batch(customer: str, block: str) -> Steps[Batch | None]:
    """Return the batch of a key, or that granted a block which has none; None where there is none.

    What falls due is booked by the first batch at or after its instant, and the id of such a block tells
    when it began: as many batches are read as the number of them has binary digits.
    """
    began = begins_of(block)
    if began is None:
        return (yield from steps.batch(customer, block))
    at = to_instant(began)
    before, last = 0, (yield from steps.state(customer)).head.batches
    while before < last:
        middle = (before + last) // 2
        (batch,) = yield from steps.batches(customer, after=middle, limit=1)
        before, last = (before, middle) if batch.at >= at else (middle + 1, last)
    return (yield from _first_granting(customer, block, before))


def _first_granting(customer: str, block: str, after: int) -> Steps[Batch | None]:
    """Return the batch that granted a block among those of the instant of the one that follows `after`."""
    first: Batch | None = None
    while page := (yield from steps.batches(customer, after=after, limit=10)):
        for batch in page:
            first = first or batch
            if batch.at != first.at:
                return None
            if any(entry.kind == "granted" and entry.block == block for entry in batch.entries):
                return batch
        after = page[-1].number
    return None
