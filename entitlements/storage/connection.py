"""One connection to SQLite: opened with care, and with errors that are ours."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal

from ..errors import LogCorrupt, OutcomeUnknown, StorageError, StorageUnavailable
from .line import NOBODY_ELSE, Line, patiently

Durability = Literal["full", "normal"]
MEMORY: Final = ":memory:"
_WAL_KEPT: Final = 64 * 2**20
_LONGEST_WAIT: Final = 86_400.0


class Connection:
    """A connection to SQLite that begins and ends its transactions itself.

    Every error of the driver comes out as a StorageError that names the file.
    """

    __slots__ = ("path", "raw")

    def __init__(self, raw: sqlite3.Connection, path: str) -> None:
        self.raw = raw
        self.path = path

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a statement, leaving no cursor open."""
        try:
            return self.raw.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run a statement that answers nothing, and return how many rows it changed."""
        try:
            return self.raw.execute(sql, values).rowcount
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    def run_each(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement that answers nothing once for each row."""
        try:
            if rows:
                self.raw.executemany(sql, rows)
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    def begin(self, deadline: float, line: Line = NOBODY_ELSE) -> None:
        """Begin a transaction that holds the one write lock, in line; raises StorageUnavailable at the deadline."""
        self.roll_back()
        line.ask(self._begin_immediate, deadline)

    def begin_reading(self) -> None:
        """Begin a transaction in which every statement sees the same instant."""
        self.run("BEGIN")

    def commit(self, key: str) -> None:
        """Commit; whatever goes wrong here is OutcomeUnknown, and the connection is not to be used again."""
        try:
            self.raw.execute("COMMIT")
        except sqlite3.Error as error:
            raise OutcomeUnknown(key) from error

    def roll_back(self) -> None:
        """Undo what is open, if anything is."""
        if self.raw.in_transaction:
            self.run("ROLLBACK")

    def close(self) -> None:
        """Close; what was open is undone."""
        with suppress(sqlite3.Error):
            self.raw.close()

    def _begin_immediate(self) -> None:
        self.run("BEGIN IMMEDIATE")

    @contextmanager
    def errors_translated(self) -> Iterator[None]:
        """Turn the driver's errors into ours."""
        try:
            yield
        except sqlite3.Error as error:
            raise translated(error, self.path) from error


def translated(error: sqlite3.Error, path: str) -> StorageError:
    """Return the driver's error as one of ours."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return StorageUnavailable(f"{path} is locked by another connection; nothing was written")
    if code == sqlite3.SQLITE_CONSTRAINT:
        return LogCorrupt(f"{path}: a batch does not fit what is stored ({error}); nothing was written")
    if code == sqlite3.SQLITE_CORRUPT or str(error).startswith("Could not decode"):
        return LogCorrupt(f"{path}: {error}")
    if code == sqlite3.SQLITE_NOTADB:
        return StorageError(f"{path} is not an SQLite database")
    if code == sqlite3.SQLITE_READONLY:
        return StorageError(f"{path} cannot be written: {error}")
    return StorageError(f"{path}: {error}")


def log_of(path: str) -> str:
    """Return where a database has its write-ahead log: beside the file itself, whatever links lead there."""
    return f"{os.path.realpath(path)}-wal"


def files_of(path: str, log: str) -> tuple[tuple[int, int], ...]:
    """Return which files a database and its write-ahead log are; raises StorageError where one is gone."""
    try:
        found = os.stat(path), os.stat(log)  # noqa: PTH116  (this is done for every write)
    except OSError as error:
        raise moved(path) from error
    return tuple((each.st_dev, each.st_ino) for each in found)


def moved(path: str) -> StorageError:
    """Return what is raised where a database is open that another one, or none, stands in the place of."""
    return StorageError(
        f"{path} or its write-ahead log was deleted, moved or replaced while it was open; nothing was written: close "
        "the engine, see that the right file is there, and open it again"
    )


def open_writer(path: str, durability: Durability, deadline: float, *, create: bool) -> Connection:
    """Open the connection that writes; raises StorageUnavailable where others have the file locked at the deadline."""
    if path != MEMORY:
        _check_place(Path(path))
    connection = _connect(path, "rwc" if create else "rw", wait=0)
    try:
        patiently(lambda: _set_up(connection, durability), deadline)
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: str, wait: float) -> Connection:
    """Open a connection that only reads, and never creates a file."""
    connection = _connect(path, "rw", wait=min(wait, _LONGEST_WAIT))
    try:
        connection.rows("PRAGMA query_only = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(path: str, mode: str, *, wait: float) -> Connection:
    where = path if path == MEMORY else f"{Path(path).as_uri()}?mode={mode}"
    try:
        raw = sqlite3.connect(where, uri=path != MEMORY, timeout=wait, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise translated(error, path) from error
    return Connection(raw, path)


def _set_up(connection: Connection, durability: Durability) -> None:
    """Have a connection write as it should; each of these may find the file locked, and may be done again."""
    if connection.path != MEMORY:
        _use_wal(connection)
    connection.rows(f"PRAGMA synchronous = {durability}")
    connection.rows(f"PRAGMA journal_size_limit = {_WAL_KEPT}")
    connection.rows("PRAGMA secure_delete = ON")
    connection.rows("PRAGMA temp_store = MEMORY")


def _use_wal(connection: Connection) -> None:
    ((mode,),) = connection.rows("PRAGMA journal_mode = WAL")
    if mode != "wal":
        raise StorageError(f"{connection.path} cannot keep a write-ahead log (its journal mode is {mode})")


def _check_place(path: Path) -> None:
    try:
        if not path.parent.is_dir():
            raise StorageError(f"the directory {path.parent} of {path.name} does not exist; create it first")
        if path.is_dir():
            raise StorageError(f"{path} is a directory; name a file in it")
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error
    if not os.access(path.parent, os.W_OK):
        raise StorageError(f"the directory {path.parent} is read-only; SQLite writes beside {path.name}, too")
    if path.exists() and not os.access(path, os.W_OK):
        raise StorageError(f"{path} is read-only")
