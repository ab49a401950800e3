"""A log as one transaction finds and grows it: what stood, what stands now, and what is still to be written.

Calls that are decided together see what those before them came to in memory, so that each row is
written once for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs

from ..ledger.entries import Batch, CounterKey, Verdict
from ..ledger.records import Record, recorded
from ..ledger.state import Head, State, counted, touched, touched_budgets
from .base import Reads
from .heads import Row
from .keeping import follow

Count = Callable[[Iterable[CounterKey]], dict[CounterKey, int]]
"""Reads counters as they are stored."""


@attrs.define
class Growth:
    """What one transaction knows of a customer's log.

    `row` and `stood` are the head as it is stored, `head` is what it has come to. `counters` are those that
    were read, as they have come to be; what has changed since it was written is named in `moved`,
    `blocks`, `holds` and `budgets`. `refolded` says that the head is stored anew.
    """

    row: Row
    stood: Head
    head: Head
    refolded: bool = False
    counters: dict[CounterKey, int] = attrs.field(factory=dict)
    moved: set[CounterKey] = attrs.field(factory=set)
    blocks: set[str] = attrs.field(factory=set)
    holds: set[str] = attrs.field(factory=set)
    budgets: set[str] = attrs.field(factory=set)
    batches: dict[str, Batch] = attrs.field(factory=dict)

    def shown(self, prior: Batch | None, reads: Reads, count: Count) -> State:
        """Return the state that a decision sees."""
        return State(self.head, self._counted(reads(self.head), count), prior)

    def grow(self, customer: str, key: str, state: State, batch: Batch, count: Count) -> None:
        """Follow a batch decided on a state; raises LogCorrupt, and changes nothing, where it does not follow."""
        counters = {**state.counters, **self._counted(counted(batch.entries), count)}
        head, changed = follow(customer, key, state, batch, counters)
        blocks, holds = touched(batch)
        self.head, self.batches[key] = head, batch
        self.counters.update(changed)
        self.moved.update(changed)
        self.blocks |= blocks
        self.holds |= holds
        self.budgets |= touched_budgets(batch)

    def stand(self, row: Row) -> None:
        """Take note that all of it is written, and the head in this row."""
        self.row, self.stood = row, self.head
        for changes in (self.moved, self.blocks, self.holds, self.budgets):
            changes.clear()

    def copied(self) -> Growth:
        """Return the same, to be gone back to."""
        known = (dict(self.counters), set(self.moved), set(self.blocks), set(self.holds), set(self.budgets))
        return Growth(self.row, self.stood, self.head, self.refolded, *known, dict(self.batches))

    def _counted(self, names: Iterable[CounterKey], count: Count) -> dict[CounterKey, int]:
        known = self.counters
        wanted = dict.fromkeys(names, 0)
        missing = [name for name in wanted if name not in known]
        if missing:
            known.update(count(missing))
        return {name: known[name] for name in wanted}


def record_of(verdict: Verdict[object], batch: Batch) -> Record:
    """Return a batch as it is kept: as it was made for its hash, unless that is of another."""
    record = verdict.record
    return record if record is not None and record.hash == batch.hash else recorded(batch)
