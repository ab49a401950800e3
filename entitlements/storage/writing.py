"""One transaction on an SQLite file: calls decided one after another, each kept or undone for itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..errors import StorageUnavailable
from ..ledger.entries import Batch, CounterKey
from ..ledger.records import Record
from ..ledger.state import counted, is_erasure
from . import statements
from .base import Call, Outcome
from .connection import Connection
from .forgetting import forget
from .growing import Growth, record_of
from .heads import Heads
from .readings import batch_with, batches_of, numbers_with


class Writing:
    """What one transaction comes to: an outcome for each call, and what is true once it is committed.

    `has_written` tells whether there is anything to commit, `erases` which calls erase.
    """

    def __init__(self, connection: Connection, heads: Heads) -> None:
        self.outcomes: list[Outcome] = []
        self.erases: list[int] = []
        self.has_written = False
        self._connection = connection
        self._heads = heads
        self._logs: dict[str, Growth] = {}
        self._records: list[Record] = []
        self._erased = ""
        self._numbers: dict[tuple[str, str], int] | None = None

    def decide_all(self, calls: Sequence[Call]) -> None:
        """Decide the calls in their order and write what they come to; one that raises is undone alone."""
        if len(calls) == 1:
            self._decide_alone(calls[0])
        elif calls:
            self._decide_together(calls)

    def remember(self) -> None:
        """Remember the heads as they stand; call it once they are committed, or where nothing was written."""
        for customer, growth in self._logs.items():
            if growth.batches or growth.refolded:
                self._heads.put(customer, growth.row, growth.head, growth.beside)

    def leave_bytes(self, error: StorageUnavailable) -> None:
        """Let the calls that erase come to this error: they are booked, but bytes are left."""
        for number in self.erases:
            self.outcomes[number] = Outcome(error=error)

    def _decide_alone(self, call: Call) -> None:
        try:
            outcome = self._decide(call)
            self._write()
        except Exception as error:  # noqa: BLE001  (it is the call's own, and its caller's to raise)
            self._forget_all()
            outcome = Outcome(error=error)
        self.outcomes.append(outcome)

    def _decide_together(self, calls: Sequence[Call]) -> None:
        """Decide all and write once; where that does not fit what is stored, each is written for itself."""
        self._connection.run("SAVEPOINT calls")
        try:
            self._numbers = self._numbers_of(calls)
            for call in calls:
                self.outcomes.append(self._decided(call))
                if self._erased:
                    self._write()
            self._write()
        except Exception as error:  # noqa: BLE001  (whose it is, is found out one by one)
            self._undo_to("calls", error)
            self._forget_all()
            for call in calls:
                self.outcomes.append(self._decide_among_others(call))
        self._connection.run("RELEASE calls")

    def _decided(self, call: Call) -> Outcome:
        try:
            return self._decide(call)
        except Exception as error:
            if not self._connection.raw.in_transaction:
                raise
            return Outcome(error=error)

    def _decide_among_others(self, call: Call) -> Outcome:
        growth = self._logs.get(call.customer)
        stood = None if growth is None else growth.copied()
        self._connection.run("SAVEPOINT call")
        try:
            outcome = self._decide(call)
            self._write()
        except Exception as error:  # noqa: BLE001  (it is the call's own, and its caller's to raise)
            self._undo_to("call", error)
            self._go_back(call.customer, stood)
            outcome = Outcome(error=error)
        self._connection.run("RELEASE call")
        return outcome

    def _undo_to(self, savepoint: str, error: Exception) -> None:
        if not self._connection.raw.in_transaction:  # SQLite gave all of it up, and the others with it
            raise error
        self._connection.run(f"ROLLBACK TO {savepoint}")

    def _go_back(self, customer: str, stood: Growth | None) -> None:
        self._records, self._erased = [], ""
        self.erases = [number for number in self.erases if number < len(self.outcomes)]
        if stood is None:
            self._logs.pop(customer, None)
        else:
            self._logs[customer] = stood

    def _forget_all(self) -> None:
        self._logs, self._records, self._erased, self._numbers = {}, [], "", None
        self.outcomes, self.erases, self.has_written = [], [], False

    def _decide(self, call: Call) -> Outcome:
        """Decide one call on what is known, and let its log grow in memory; where it raises, nothing has grown."""
        customer, key = call.customer, call.key
        growth, prior = self._found(customer, key)
        names = tuple(call.reads(growth.head))
        self._read(customer, growth, names)
        state = growth.shown(names, prior)
        verdict = call.decide(state)
        batch = verdict.batch
        if batch is not None:
            record = record_of(verdict, batch)
            self._read(customer, growth, counted(batch.entries))
            growth.grow(customer, key, state, batch)
            self._records.append(record)
            if is_erasure(batch):
                self._erased = customer
                self.erases.append(len(self.outcomes))
        return Outcome(verdict.result)

    def _read(self, customer: str, growth: Growth, names: Iterable[CounterKey]) -> None:
        if missing := growth.missing(names):
            growth.counters.update(statements.counters_of(self._connection, customer, missing))

    def _found(self, customer: str, key: str) -> tuple[Growth, Batch | None]:
        growth = self._logs.get(customer)
        if growth is None:
            growth, prior = statements.find(self._connection, self._heads, customer, key)
            self._logs[customer] = growth
            return growth, prior
        return growth, growth.batches.get(key) or self._stored(customer, key)

    def _numbers_of(self, calls: Sequence[Call]) -> dict[tuple[str, str], int]:
        """Return the numbers of the batches that were there before, each customer's keys looked for at once."""
        keys: dict[str, list[str]] = {}
        for call in calls:
            keys.setdefault(call.customer, []).append(call.key)
        return {
            (customer, key): number
            for customer, own in keys.items()
            if len(own) > 1  # the first call of each looks for its own
            for key, number in numbers_with(self._connection, customer, own).items()
        }

    def _stored(self, customer: str, key: str) -> Batch | None:
        """Return the batch of a key that was there before; while calls are decided together, its number is known."""
        if self._numbers is None:
            return batch_with(self._connection, customer, key)
        number = self._numbers.get((customer, key))
        return None if number is None else batches_of(self._connection, customer, number - 1, 1)[0]

    def _write(self) -> None:
        """Write what has been decided since it was last written; what was erased goes before anything follows it."""
        statements.write_records(self._connection, self._records, self._logs)
        for customer in dict.fromkeys(record.customer for record in self._records):
            statements.write_state(self._connection, customer, self._logs[customer])
        if self._erased:
            forget(self._connection, self._erased)
            self._logs[self._erased].sealed.clear()
        refolded = any(growth.refolded for growth in self._logs.values())
        self.has_written = self.has_written or refolded or bool(self._records)
        self._records, self._erased = [], ""
