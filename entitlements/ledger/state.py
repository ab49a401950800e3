"""The state of a customer: the fold of the log, and nothing else.

`apply` is the whole fold. It never reads a catalog: an entry says everything it does. The head is
small (facts and open windows); counters stand beside it, one for each name and window.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

import attrs

from ..amounts import MAX_UNITS
from ..catalog.model import EMPTY
from ..errors import LogCorrupt
from .entries import EPOCH, Batch, CounterKey, Entry
from .facts import NO_FACTS, Facts, current, replace

FOLD_VERSION = 1
NO_COUNTERS: Mapping[CounterKey, int] = MappingProxyType({})

FACT_KINDS: Mapping[str, str] = {
    "subscribed": "subscriptions",
    "plan_changed": "subscriptions",
    "canceled": "subscriptions",
    "status_set": "subscriptions",
    "trial_started": "trials",
    "addon_set": "addons",
    "addon_removed": "addons",
    "promoted": "promotions",
    "overridden": "overrides",
    "override_removed": "overrides",
}
COUNTER_KINDS = frozenset({"used", "recorded", "freed", "usage_reset"})


@attrs.frozen(weakref_slot=False)
class Head:
    """What a customer's log comes to, counters apart.

    `seq` and `batches` count what was folded, `at` is the last recorded instant. `opened` holds the
    start of the latest window of each counter whose windows open at first use. `noted` is what the
    log `$catalog` knows: kept catalog versions, and what the first use of a feature fixed.
    """

    seq: int = 0
    batches: int = 0
    at: datetime = EPOCH
    facts: Facts = NO_FACTS
    opened: Mapping[str, datetime] = EMPTY
    noted: Mapping[str, Any] = EMPTY

    @property
    def known(self) -> bool:
        """Whether the log was ever opened."""
        return self.batches > 0


EMPTY_HEAD = Head()


@attrs.frozen
class State:
    """All that a decision may see: the head, the counters it asked for, and the batch of its key if there is one."""

    head: Head = EMPTY_HEAD
    counters: Mapping[CounterKey, int] = NO_COUNTERS
    prior: Batch | None = None


def apply(head: Head, batch: Batch, *, keep_ended: bool = False) -> Head:
    """Return the head after one more batch.

    `keep_ended` keeps facts that ended long ago too, which only questions about the past need.
    Raises LogCorrupt where the batch does not follow the head.
    """
    _check_follows(head, batch)
    facts, opened, noted = head.facts, dict(head.opened), dict(head.noted)
    for entry in batch.entries:
        if entry.kind in FACT_KINDS:
            facts = _with_fact(facts, entry, None if keep_ended else batch.at)
        elif entry.kind == "opened" and entry.window is not None:
            opened[entry.counter] = entry.window
        elif entry.kind == "fixed":
            noted[entry.subject] = entry.data
        elif entry.kind == "catalog_kept":
            noted[entry.subject] = {"seq": entry.seq}
        elif entry.kind not in COUNTER_KINDS:
            raise LogCorrupt(f"{batch.customer}: entry {entry.seq} is of unknown kind {entry.kind!r}")
    return Head(head.seq + len(batch.entries), batch.number, batch.at, facts, opened, noted)


def counted(entries: Iterable[Entry]) -> dict[CounterKey, int]:
    """Return what the entries add to each counter."""
    sums: dict[CounterKey, int] = {}
    for entry in entries:
        if entry.kind in COUNTER_KINDS and entry.window is not None:
            counter = (entry.counter, entry.window)
            sums[counter] = sums.get(counter, 0) + entry.amount
    return sums


def add(customer: str, counters: Mapping[CounterKey, int], entries: Iterable[Entry]) -> dict[CounterKey, int]:
    """Return the new values of the counters the entries touch; raises LogCorrupt where one leaves its range."""
    values = {counter: counters.get(counter, 0) + amount for counter, amount in counted(entries).items()}
    for (name, _), value in values.items():
        if not 0 <= value <= MAX_UNITS:
            raise LogCorrupt(f"{customer}: counter {name!r} would become {value}; nothing was written")
    return values


def fold(batches: Iterable[Batch], *, keep_ended: bool = False) -> tuple[Head, dict[CounterKey, int]]:
    """Return head and counters of a whole log from its batches in order."""
    head, counters = EMPTY_HEAD, dict[CounterKey, int]()
    for batch in batches:
        head = apply(head, batch, keep_ended=keep_ended)
        counters.update(add(batch.customer, counters, batch.entries))
    return head, counters


def _check_follows(head: Head, batch: Batch) -> None:
    seqs = [entry.seq for entry in batch.entries]
    if batch.number != head.batches + 1 or seqs != list(range(head.seq + 1, head.seq + 1 + len(seqs))):
        raise LogCorrupt(
            f"{batch.customer}: batch {batch.number} with entries {seqs[:1]}…{seqs[-1:]} does not follow "
            f"batch {head.batches} with entry {head.seq}"
        )
    if not batch.entries or batch.at < head.at:
        raise LogCorrupt(f"{batch.customer}: batch {batch.number} is empty or goes back in time")


def _with_fact(facts: Facts, entry: Entry, ended_before: datetime | None) -> Facts:
    section = FACT_KINDS[entry.kind]
    held = replace(getattr(facts, section), entry.subject, entry.at, entry.data["facts"])
    if ended_before is not None:
        held = current(held, ended_before)
    return attrs.evolve(facts, **{section: held})
