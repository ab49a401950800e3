"""Logs in an SQLite file: one machine, any number of processes and threads."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar, cast

from ..errors import OutcomeUnknown, StorageError, StorageUnavailable
from ..ledger.entries import Batch, Entry
from ..ledger.records import Kept
from ..ledger.state import State
from . import auditing, readings, statements
from .base import MOST_BEHIND, Call, Decide, FeedPage, Outcome, Reads, Written
from .connection import MEMORY, Connection, Durability, files_of, log_of, moved, open_reader, open_writer
from .forgetting import scrub
from .grouping import Take, Turns
from .heads import Heads
from .keeping import MOST_TOLD, bounded, bytes_left, patience, plain, position
from .line import Line
from .schema import migrate
from .writing import Writing

R = TypeVar("R")
_IDLE_READERS: Final = 16


class SQLiteStorage:
    """Keeps logs in an SQLite file, created if there is none; ":memory:" keeps them nowhere.

    `write_timeout` bounds the wait for the one write lock, within this process and between processes,
    in seconds. `durability="full"` keeps every answered batch over a loss of power; "normal" may lose
    the last ones, and never a part of one. Any thread may use it; a forked child opens its own.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, write_timeout: float = 5.0, durability: Durability = "full"
    ) -> None:
        if durability not in {"full", "normal"}:
            raise ValueError(f"durability is {durability!r}; write 'full' or 'normal'")
        self.path = MEMORY if path == MEMORY else str(Path(path).absolute())
        self._write_timeout = patience(write_timeout)
        self._durability: Durability = durability
        self._process = os.getpid()
        self._turns = Turns(self._carry_out, self.path, write_timeout=self._write_timeout)
        self._readers: list[Connection] = []
        self._heads = Heads()
        self._committed = 0
        self._listener: Connection | None = None
        self._listening = threading.Lock()
        self._closed = False
        self._log = ""
        self._files: tuple[tuple[int, int], ...] | None = None
        self._writer: Connection | None = self._open_writer(create=True)
        self._line = Line(None if self.path == MEMORY else self.path)

    def transact(self, customer: str, key: str, reads: Reads, decide: Decide[R]) -> R:
        """Show `decide` the customer's state and append the batch it returns, all or nothing."""
        (outcome,) = self.transact_all([Call(customer, key, reads, decide)])
        return cast("R", outcome.answer())

    def transact_all(self, calls: Sequence[Call]) -> list[Outcome]:
        """Decide all calls in their order, append what they come to in one commit, and return what each came to."""
        self._check_usable()
        return self._turns.carry_out(calls) if calls else []

    def state(self, customer: str, reads: Reads) -> State:
        """Return the last committed head and the counters `reads` names, of one instant; takes no lock."""
        with self._reading_at_once() as connection:
            return statements.look(connection, self._heads, customer, reads)

    def entries(self, customer: str, *, after: int = 0, limit: int = 1000) -> Sequence[Entry]:
        """Return entries in order of seq, which counts from 1 without gaps."""
        with self._reading_at_once() as connection:
            return tuple(readings.entries_of(connection, customer, bounded(after), bounded(limit)))

    def batches(self, customer: str, *, after: int = 0, limit: int = 1000) -> Sequence[Batch]:
        """Return whole batches in order of number, which counts from 1 without gaps."""
        with self._reading_at_once() as connection:
            return tuple(readings.batches_of(connection, customer, bounded(after), bounded(limit)))

    def batch(self, customer: str, key: str) -> Batch | None:
        """Return the batch of a key, None where there is none."""
        with self._reading_at_once() as connection:
            return readings.batch_with(connection, customer, key)

    def feed(self, *, after: str | None = None, limit: int = 1000) -> FeedPage:
        """Return the batches of all customers that follow a cursor, each exactly once."""
        start = position(after)
        with self._reading_at_once() as connection:
            last, page = readings.batches_from(connection, start, bounded(limit))
            lag = min(max(0, readings.last_position(connection) - last), MOST_BEHIND)
        return FeedPage(page, str(last) if page else after, lag)

    def customers(self, *, after: str | None = None, limit: int = 1000) -> Sequence[str]:
        """Return customer ids in order, those after `after`."""
        plain(after or "")
        with self._reading() as connection:
            return tuple(readings.customer_ids(connection, after, bounded(limit)))

    @contextmanager
    def kept(self, customer: str) -> Iterator[Kept]:
        """Show all that is kept of a customer, as of one instant, for an audit; it is read as it is asked for."""
        with self._reading_at_once() as connection:
            yield auditing.kept_of(connection, customer)

    def flaws(self) -> Sequence[str]:
        """Return what is wrong with the file as a whole: triggers that are gone, rows of no log, broken pages."""
        with self._reading_at_once() as connection:
            return tuple(auditing.flaws_of_file(connection))

    def pulse(self) -> int:
        """Return a number that changes with every commit to the file, whoever made it, and with nothing else."""
        self._check_usable()
        if self.path == MEMORY:
            return self._committed
        with self._listening:
            if self._listener is None:
                self._listener = open_reader(self.path, self._write_timeout)
            ((version,),) = self._listener.rows("PRAGMA data_version")
        return int(version)

    def written(self, *, after: str | None) -> Written:
        """Return whose logs have grown since a cursor; without one nobody's, and the cursor of the present."""
        start = None if after is None else position(after)
        with self._reading_at_once() as connection:
            last = readings.last_position(connection)
            if start is None or start >= last:
                return Written({}, str(last))
            told = last - start <= MOST_TOLD
            return Written(readings.written(connection, start, last) if told else None, str(last))

    def close(self) -> None:
        """Let go of everything; using the storage afterwards raises StorageUnavailable.

        Waits for the transaction that is under way. Closing again does nothing.
        """
        if os.getpid() != self._process:
            return
        self._turns.refuse_nesting()
        self._closed = True
        try:
            with self._turns.held():
                self._drop_writer()
                self._line.close()
        except StorageUnavailable as error:
            raise StorageUnavailable(
                f"{self.path} is still writing after {self._write_timeout:g} s; close it again"
            ) from error
        self._drop_readers()
        self._drop_listener()

    def _carry_out(self, deadline: float, take: Take) -> list[Outcome]:
        self._check_usable()
        connection = self._writer = self._writer or self._open_writer()
        try:
            connection.begin(deadline, self._line)
            self._check_place()
            calls = take()
            writing = Writing(connection, self._heads)
            writing.decide_all(calls)
            if writing.has_written:
                self._commit(connection, calls[0].key)
            writing.remember()
            if writing.erases and self.path != MEMORY:
                self._scrub(connection, deadline, writing)
            return writing.outcomes
        finally:
            self._end(connection)
            self._line.leave()

    def _check_place(self) -> None:
        """Raise StorageError where what is written would go into a file that nobody finds again."""
        if self.path != MEMORY and files_of(self.path, self._log) != self._files:
            raise moved(self.path)

    def _scrub(self, connection: Connection, deadline: float, writing: Writing) -> None:
        self._drop_readers()
        try:
            scrub(connection, deadline)
        except StorageError as error:  # the batches are committed: nobody else is told of it
            writing.leave_bytes(bytes_left(error))

    def _commit(self, connection: Connection, key: str) -> None:
        try:
            connection.commit(key)
        except OutcomeUnknown:
            if self.path != MEMORY:
                self._drop_writer()
            raise
        self._committed += 1

    def _end(self, connection: Connection) -> None:
        try:
            if self._writer is connection:
                connection.roll_back()
        except StorageError:
            self._drop_writer()
            raise

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        self._check_usable()
        if self.path == MEMORY:
            with self._reading_in_turn() as connection:
                yield connection
            return
        connection = self._take_reader()
        try:
            yield connection
            connection.roll_back()
        except BaseException:
            connection.close()
            raise
        self._keep_reader(connection)

    @contextmanager
    def _reading_in_turn(self) -> Iterator[Connection]:
        with self._turns.held():
            self._check_usable()
            connection = self._writer = self._writer or self._open_writer()
            try:
                yield connection
            finally:
                connection.roll_back()

    @contextmanager
    def _reading_at_once(self) -> Iterator[Connection]:
        """Read with every statement of one instant."""
        with self._reading() as connection:
            connection.begin_reading()
            yield connection

    def _take_reader(self) -> Connection:
        try:
            return self._readers.pop()
        except IndexError:
            return open_reader(self.path, self._write_timeout)

    def _keep_reader(self, connection: Connection) -> None:
        if len(self._readers) >= _IDLE_READERS:
            connection.close()
            return
        self._readers.append(connection)
        if self._closed:
            self._drop_readers()

    def _open_writer(self, *, create: bool = False) -> Connection:
        deadline = time.monotonic() + self._write_timeout
        connection = open_writer(self.path, self._durability, deadline, create=create)
        try:
            migrate(connection, deadline)
            if self.path != MEMORY:
                self._log = log_of(self.path)
                self._files = files_of(self.path, self._log)
        except BaseException:
            connection.close()
            raise
        return connection

    def _drop_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None

    def _drop_readers(self) -> None:
        while self._readers:
            with suppress(IndexError):
                self._readers.pop().close()

    def _drop_listener(self) -> None:
        with self._listening:
            if self._listener is not None:
                self._listener.close()
            self._listener = None

    def _check_usable(self) -> None:
        if os.getpid() != self._process:
            raise StorageError(f"{self.path} was opened before a fork; open the engine after it, in the child process")
        if self._closed:
            raise StorageUnavailable(f"{self.path} is closed")
