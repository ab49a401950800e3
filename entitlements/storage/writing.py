"""One transaction on an SQLite file: calls decided one after another, each kept or undone for itself."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import StorageUnavailable
from ..ledger.state import Head, is_erasure
from . import statements
from .base import Call, Outcome
from .connection import Connection
from .forgetting import forget
from .heads import Heads, Row


class Writing:
    """What one transaction comes to: an outcome for each call, and what is true once it is committed.

    `has_written` tells whether there is anything to commit, `erases` which calls erase.
    """

    def __init__(self, connection: Connection, heads: Heads) -> None:
        self.outcomes: list[Outcome] = []
        self.erases: list[int] = []
        self.has_written = False
        self._connection = connection
        self._heads = Uncommitted(heads)

    def decide_all(self, calls: Sequence[Call]) -> None:
        """Decide the calls in order; one that raises is undone alone, if need be to its own savepoint."""
        for call in calls:
            self.outcomes.append(self._decide_alone(call) if len(calls) == 1 else self._decide_among_others(call))

    def remember(self) -> None:
        """Remember the heads as they stand; call it once they are committed, or where nothing was written."""
        self._heads.remember()

    def leave_bytes(self, error: StorageUnavailable) -> None:
        """Let the calls that erase come to this error: they are booked, but bytes are left."""
        for number in self.erases:
            self.outcomes[number] = Outcome(error=error)

    def _decide_alone(self, call: Call) -> Outcome:
        try:
            return self._decide(call)
        except Exception as error:  # noqa: BLE001  (it is the call's own, and its caller's to raise)
            return Outcome(error=error)

    def _decide_among_others(self, call: Call) -> Outcome:
        self._connection.run("SAVEPOINT call")
        try:
            outcome = self._decide(call)
        except Exception as error:
            if not self._connection.raw.in_transaction:  # SQLite gave all of it up, and the others with it
                raise
            self._connection.run("ROLLBACK TO call")
            outcome = Outcome(error=error)
        self._connection.run("RELEASE call")
        return outcome

    def _decide(self, call: Call) -> Outcome:
        connection, customer = self._connection, call.customer
        found = statements.find(connection, self._heads, customer, call.key, call.reads)
        verdict = call.decide(found.state)
        row, head = statements.append(connection, customer, call.key, found, verdict)
        if verdict.batch is not None and is_erasure(verdict.batch):
            forget(connection, customer)
            self.erases.append(len(self.outcomes))
        if verdict.batch is not None or found.refolded:
            self._heads.put(customer, row, head)
            self.has_written = True
        return Outcome(verdict.result)


class Uncommitted(Heads):
    """Heads as a transaction leaves them, which nobody else may see before it is committed."""

    def __init__(self, committed: Heads) -> None:
        self._committed = committed
        self._own: dict[str, tuple[Row, Head]] = {}

    def get(self, customer: str, row: Row) -> Head | None:
        """Return the head that was decoded from this very row, None where there is none."""
        own = self._own.get(customer)
        return own[1] if own is not None and own[0] == row else self._committed.get(customer, row)

    def put(self, customer: str, row: Row, head: Head) -> None:
        """Keep a head until the transaction is committed."""
        self._own[customer] = row, head

    def remember(self) -> None:
        """Remember the heads for everybody."""
        for customer, (row, head) in self._own.items():
            self._committed.put(customer, row, head)
