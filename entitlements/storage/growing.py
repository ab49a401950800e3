"""A log as one transaction finds and grows it: what stood, what stands now, and what is still to be written.

Calls that are decided together see what those before them came to in memory, so that each row is
written once for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from ..ledger.entries import Batch, CounterKey, Verdict
from ..ledger.records import Record, recorded
from ..ledger.sealing import Secret
from ..ledger.state import Head, State, touched, touched_budgets
from .heads import NOTHING_BESIDE, Beside, Row
from .keeping import follow


@attrs.define
class Growth:
    """What one transaction knows of a customer's log.

    `row` and `stood` are the head as it is stored, `head` is what it has come to. `counters` are those that
    were read, as they have come to be; what has changed since it was written is named in `moved`,
    `blocks`, `holds` and `budgets`. `batches` are known by key. `refolded` says that the head is stored anew.
    `sealed` are digests of secrets that are kept, or are to be written with what has grown.
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
    sealed: set[str] = attrs.field(factory=set)

    @classmethod
    def on(cls, row: Row, head: Head, beside: Beside = NOTHING_BESIDE, *, refolded: bool = False) -> Growth:
        """Return what is known of a log that stands at a head."""
        return cls(row, head, head, refolded, dict(beside.counters), sealed=set(beside.sealed))

    @property
    def beside(self) -> Beside:
        """What is known beside the head, once it is committed."""
        return Beside(self.counters, self.sealed)

    def missing(self, names: Iterable[CounterKey]) -> list[CounterKey]:
        """Return the counters among these that are still to be read."""
        return [name for name in dict.fromkeys(names) if name not in self.counters]

    def shown(self, names: Iterable[CounterKey], prior: Batch | None) -> State:
        """Return the state that a decision sees, with these counters, all of which have been read."""
        return State(self.head, {name: self.counters[name] for name in names}, prior)

    def grow(self, customer: str, key: str, state: State, batch: Batch) -> None:
        """Follow a batch whose counters are read; raises LogCorrupt, and changes nothing, where it does not follow."""
        self.head, changed = follow(customer, key, state, batch, self.counters)
        blocks, holds = touched(batch)
        self.batches[key] = batch
        self.counters.update(changed)
        self.moved.update(changed)
        self.blocks |= blocks
        self.holds |= holds
        self.budgets |= touched_budgets(batch)

    def unsealed(self, record: Record) -> list[tuple[str, Secret]]:
        """Return the secrets of a record that are not known to be kept, and take them for kept."""
        new = [(digest, secret) for digest, secret in record.secrets.items() if digest not in self.sealed]
        self.sealed.update(record.secrets)
        return new

    def stand(self, row: Row) -> None:
        """Take note that all of it is written, and the head in this row."""
        self.row, self.stood = row, self.head
        for changes in (self.moved, self.blocks, self.holds, self.budgets):
            changes.clear()

    def copied(self) -> Growth:
        """Return the same, to be gone back to."""
        known = (dict(self.counters), set(self.moved), set(self.blocks), set(self.holds), set(self.budgets))
        return Growth(self.row, self.stood, self.head, self.refolded, *known, dict(self.batches), set(self.sealed))


def record_of(verdict: Verdict[object], batch: Batch) -> Record:
    """Return a batch as it is kept: as it was made for its hash, unless that is of another."""
    record = verdict.record
    return record if record is not None and record.hash == batch.hash else recorded(batch)
