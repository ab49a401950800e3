"""Logs in an SQLite file, inside a transaction that the host has open: nothing here begins, commits or waits."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from ..errors import StorageError, StorageUnavailable
from ..ledger.entries import Batch, Entry
from ..ledger.records import Kept
from ..ledger.state import State
from . import auditing, readings, statements
from .base import Call, Decide, FeedPage, Outcome, Reads, Written
from .connection import MEMORY, Connection, translated
from .heads import Heads
from .hosts import Host, refuse_erasure, refuse_feed
from .keeping import bounded, plain
from .schema import is_migrated
from .writing import Writing

R = TypeVar("R")


class JoinedSQLite:
    """The logs of a file as the host's open transaction sees them; what is written is the host's to commit.

    `path` is the file that the engine keeps its logs in, None where it keeps them elsewhere. `host` finds the
    driver's connection anew for each call, so that one whose transaction is over is refused. Nothing is
    remembered from one call to the next.
    """

    def __init__(self, host: Callable[[], Host], path: str | None) -> None:
        self._host = host
        raw = host().raw
        _in_transaction(raw)
        self._connection = HostConnection(raw, file_of(raw))
        self._check_open()
        if path is not None and not _is_same(self._connection.path, path):
            raise ValueError(f"the connection is one to {self._connection.path}, and the logs are in {path}")
        with self._at_work():
            if not is_migrated(self._connection):
                raise StorageError(
                    f"{self._connection.path} has no tables of this version of entitlements; open "
                    "Entitlements(catalog, storage='sqlite:///…') on it once, outside of a transaction, to make them"
                )

    def transact(self, customer: str, key: str, reads: Reads, decide: Decide[R]) -> R:
        """Show `decide` the customer's state and append the batch it returns, to the host's transaction."""
        (outcome,) = self.transact_all([Call(customer, key, reads, decide)])
        answer: R = outcome.answer()
        return answer

    def transact_all(self, calls: Sequence[Call]) -> list[Outcome]:
        """Decide all calls in their order, each on what those before it have written."""
        with self._at_work() as connection:
            connection.take_lock()
            with connection.savepoint("entitlements"):
                return [_decided(connection, call) for call in calls]

    def state(self, customer: str, reads: Reads) -> State:
        """Return the head as the host's transaction sees it, and the counters `reads` names."""
        with self._at_work() as connection:
            return statements.look(connection, Heads(), customer, reads)

    def entries(self, customer: str, *, after: int = 0, limit: int = 1000) -> Sequence[Entry]:
        """Return entries in order of seq, those not committed yet among them."""
        with self._at_work() as connection:
            return tuple(readings.entries_of(connection, customer, bounded(after), bounded(limit)))

    def batches(self, customer: str, *, after: int = 0, limit: int = 1000) -> Sequence[Batch]:
        """Return whole batches in order of number, those not committed yet among them."""
        with self._at_work() as connection:
            return tuple(readings.batches_of(connection, customer, bounded(after), bounded(limit)))

    def batch(self, customer: str, key: str) -> Batch | None:
        """Return the batch of a key, None where there is none."""
        with self._at_work() as connection:
            return readings.batch_with(connection, customer, key)

    def customers(self, *, after: str | None = None, limit: int = 1000) -> Sequence[str]:
        """Return customer ids in order, those after `after`."""
        plain(after or "")
        with self._at_work() as connection:
            return tuple(readings.customer_ids(connection, after, bounded(limit)))

    @contextmanager
    def kept(self, customer: str) -> Iterator[Kept]:
        """Show all that is kept of a customer, for an audit."""
        with self._at_work() as connection:
            yield auditing.kept_of(connection, customer)

    def flaws(self) -> Sequence[str]:
        """Return what is wrong with the file as a whole."""
        with self._at_work() as connection:
            return tuple(auditing.flaws_of_file(connection))

    def feed(self, *, after: str | None = None, limit: int = 1000) -> FeedPage:  # noqa: ARG002
        """Raise ValueError: the feed tells only of what is committed."""
        refuse_feed()

    def pulse(self) -> int:
        """Raise ValueError: there is no news of a transaction that is not committed."""
        refuse_feed()

    def written(self, *, after: str | None) -> Written:  # noqa: ARG002
        """Raise ValueError: there is no news of a transaction that is not committed."""
        refuse_feed()

    def close(self) -> None:
        """Do nothing: the connection is the host's."""

    def _check_open(self) -> None:
        if self._host().raw is not self._connection.raw or not _in_transaction(self._connection.raw):
            raise ValueError(
                f"no transaction is open on the connection to {self._connection.path}; begin one first, with "
                "BEGIN IMMEDIATE"
            )

    @contextmanager
    def _at_work(self) -> Iterator[HostConnection]:
        self._check_open()
        raw = self._connection.raw
        text_factory, raw.text_factory = raw.text_factory, str
        try:
            yield self._connection
        finally:
            raw.text_factory = text_factory


class HostConnection(Connection):
    """A connection that stays the host's: its row factory is left aside, and its transaction left open."""

    __slots__ = ()

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a statement as tuples, whatever the host has rows made into."""
        cursor = self.raw.cursor()
        cursor.row_factory = None
        try:
            return cursor.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise translated(error, self.path) from error
        finally:
            cursor.close()

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run a statement that answers nothing, and return how many rows it changed."""
        cursor = self.raw.cursor()
        try:
            return cursor.execute(sql, values).rowcount
        except sqlite3.Error as error:
            raise translated(error, self.path) from error
        finally:
            cursor.close()

    def run_each(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement that answers nothing once for each row."""
        for values in rows:
            self.run(sql, values)

    @contextmanager
    def savepoint(self, name: str) -> Iterator[None]:
        """Undo what the block has written if it raises; raises TransactionLost where there is nothing left to undo."""
        self.run(f"SAVEPOINT {name}")
        try:
            yield
        except BaseException as error:
            if not self.raw.in_transaction:
                raise TransactionLost(f"{self.path}: SQLite gave up the host's transaction") from error
            self.run(f"ROLLBACK TO {name}")
            self.run(f"RELEASE {name}")
            raise
        self.run(f"RELEASE {name}")

    def take_lock(self) -> None:
        """Take the one write lock, which a host that began IMMEDIATE has; nothing is read before it is had.

        Raises StorageUnavailable where another connection has it, or has written since the host first read.
        """
        try:
            self.run("UPDATE heads SET seq = seq WHERE 0")
        except StorageUnavailable as error:
            said = "begin the transaction with BEGIN IMMEDIATE, so that it waits for its turn before it reads"
            raise StorageUnavailable(f"{error}: {said}") from error


class TransactionLost(StorageError):
    """SQLite has given up the host's transaction, as it does on a full disk: the host's own rows are gone, too."""


def file_of(raw: sqlite3.Connection) -> str:
    """Return the path of the main file of a connection."""
    cursor = raw.cursor()
    cursor.row_factory = None
    try:
        path = next(row[2] for row in cursor.execute("PRAGMA database_list") if row[1] in {"main", b"main"})
    finally:
        cursor.close()
    return (path.decode() if isinstance(path, bytes) else path) or MEMORY


def _in_transaction(raw: sqlite3.Connection) -> bool:
    """Tell whether a transaction is open on a connection; raises ValueError where that is closed."""
    try:
        return raw.in_transaction
    except sqlite3.ProgrammingError as error:
        raise ValueError(
            f"the host's connection cannot be used ({error}); open one, and begin a transaction with BEGIN IMMEDIATE"
        ) from error


def _decided(connection: HostConnection, call: Call) -> Outcome:
    """Decide one call so that an error of its own leaves nothing of it behind."""
    writing = Writing(connection, Heads())
    try:
        with connection.savepoint("call"):
            writing.decide_all([call])
            result = writing.outcomes[0].answer()
            if writing.erases:
                refuse_erasure(call.customer)
    except TransactionLost:
        raise
    except Exception as error:  # noqa: BLE001  (it is the call's own, and its caller's to raise)
        return Outcome(error=error)
    return Outcome(result)


def _is_same(first: str, second: str) -> bool:
    if MEMORY in {first, second}:
        return False
    return Path(first).exists() and Path(second).exists() and Path(first).samefile(second)
