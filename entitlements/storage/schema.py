"""The tables of the SQLite storage, and how an older file comes up to date.

    batches    the log, in the order of commit; `position` is the cursor of the feed
    entries    the lines of the batches
    personal   what is personal in the log, which itself holds only digests; an erasure deletes it
    erased     the digests of what was erased, so that nothing can go missing under that name
    heads      what each log comes to, kept beside it
    blocks     the open blocks of each head, one row each, so that a write touches only those it changes;
               what is left in one has columns, `block` says what never changes of it
    holds      the open holds of each head, likewise
    budgets    the budgets of each head, likewise: those with one id in one row
    counters   the counters of each log, kept beside it

`batches`, `entries`, `personal` and `erased` can only be added to: triggers refuse the rest on every
connection. That is also why `position` needs no AUTOINCREMENT, which would write one more page for each batch.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from ..errors import StorageError
from .connection import Connection
from .line import patiently

if TYPE_CHECKING:
    from sqlite_utils import Migrations

SET: Final = "entitlements"
TABLES: Final = (
    """
    CREATE TABLE batches (
      position INTEGER PRIMARY KEY,
      customer TEXT NOT NULL,
      number INTEGER NOT NULL CHECK (typeof(number) = 'integer' AND number >= 1),
      key TEXT NOT NULL,
      at INTEGER NOT NULL CHECK (typeof(at) = 'integer'),
      first_seq INTEGER NOT NULL CHECK (typeof(first_seq) = 'integer' AND first_seq >= 1),
      last_seq INTEGER NOT NULL CHECK (typeof(last_seq) = 'integer' AND last_seq >= first_seq),
      request TEXT NOT NULL,
      result TEXT NOT NULL,
      hash TEXT NOT NULL,
      UNIQUE (customer, key),
      UNIQUE (customer, number)
    )""",
    """
    CREATE TABLE entries (
      customer TEXT NOT NULL,
      seq INTEGER NOT NULL CHECK (typeof(seq) = 'integer' AND seq >= 1),
      batch INTEGER NOT NULL,
      kind TEXT NOT NULL,
      at INTEGER NOT NULL CHECK (typeof(at) = 'integer'),
      subject TEXT NOT NULL,
      counter TEXT NOT NULL,
      "window" INTEGER CHECK (typeof("window") IN ('integer', 'null')),
      amount INTEGER NOT NULL CHECK (typeof(amount) = 'integer' AND amount >= -9223372036854775807),
      data TEXT,
      block TEXT NOT NULL,
      PRIMARY KEY (customer, seq)
    ) WITHOUT ROWID""",
    """
    CREATE TABLE personal (
      customer TEXT NOT NULL,
      digest TEXT NOT NULL,
      number INTEGER NOT NULL CHECK (typeof(number) = 'integer' AND number >= 1),
      salt TEXT NOT NULL,
      value TEXT NOT NULL,
      PRIMARY KEY (customer, digest)
    ) WITHOUT ROWID""",
    """
    CREATE TABLE erased (
      customer TEXT NOT NULL,
      digest TEXT NOT NULL,
      number INTEGER NOT NULL CHECK (typeof(number) = 'integer' AND number >= 1),
      PRIMARY KEY (customer, digest)
    ) WITHOUT ROWID""",
    """
    CREATE TABLE heads (
      customer TEXT NOT NULL PRIMARY KEY,
      seq INTEGER NOT NULL CHECK (typeof(seq) = 'integer' AND seq >= 1),
      batches INTEGER NOT NULL CHECK (typeof(batches) = 'integer' AND batches >= 1),
      at INTEGER NOT NULL CHECK (typeof(at) = 'integer'),
      fold_version INTEGER NOT NULL CHECK (typeof(fold_version) = 'integer'),
      head TEXT NOT NULL,
      hash TEXT NOT NULL
    ) WITHOUT ROWID""",
    """
    CREATE TABLE blocks (
      customer TEXT NOT NULL,
      id TEXT NOT NULL,
      free_units INTEGER NOT NULL CHECK (typeof(free_units) = 'integer' AND free_units >= 0),
      held_units INTEGER NOT NULL CHECK (typeof(held_units) = 'integer' AND held_units >= 0),
      block TEXT NOT NULL,
      PRIMARY KEY (customer, id)
    ) WITHOUT ROWID""",
    """
    CREATE TABLE holds (
      customer TEXT NOT NULL,
      id TEXT NOT NULL,
      hold TEXT NOT NULL,
      PRIMARY KEY (customer, id)
    ) WITHOUT ROWID""",
    """
    CREATE TABLE counters (
      customer TEXT NOT NULL,
      name TEXT NOT NULL,
      start INTEGER NOT NULL CHECK (typeof(start) = 'integer'),
      amount INTEGER NOT NULL CHECK (typeof(amount) = 'integer' AND amount >= 0),
      PRIMARY KEY (customer, name, start)
    ) WITHOUT ROWID""",
)
BUDGETS: Final = """
    CREATE TABLE budgets (
      customer TEXT NOT NULL,
      id TEXT NOT NULL,
      budgets TEXT NOT NULL,
      PRIMARY KEY (customer, id)
    ) WITHOUT ROWID"""
_SAME_ROW: Final = {
    "batches": """EXISTS (SELECT 1 FROM batches
      WHERE position = NEW.position OR (customer = NEW.customer AND (key = NEW.key OR number = NEW.number)))""",
    "entries": "EXISTS (SELECT 1 FROM entries WHERE customer = NEW.customer AND seq = NEW.seq)",
    "personal": "EXISTS (SELECT 1 FROM personal WHERE customer = NEW.customer AND digest = NEW.digest)",
    "erased": "EXISTS (SELECT 1 FROM erased WHERE customer = NEW.customer AND digest = NEW.digest)",
}
_STRICT_SINCE: Final = (3, 37)


def migrate(connection: Connection, deadline: float) -> None:
    """Bring the tables up to date, once, however many processes start together.

    Raises StorageError for a file that a newer version has written, and StorageUnavailable for one that others
    have locked at the deadline, as even a reader finds it while the last of them closes it.
    """
    if patiently(lambda: is_migrated(connection), deadline):
        return
    from sqlite_utils import Database  # noqa: PLC0415  (150 ms, and only a new or an older file needs it)

    connection.begin(deadline)
    try:
        with connection.errors_translated():
            _migrations().apply(Database(connection.raw, execute_plugins=False))
        connection.run("COMMIT")
    finally:
        connection.roll_back()


def personal_anew(name: str) -> str:
    """Return the statement that creates the table of personal values under another name."""
    (table,) = (table for table in TABLES if "CREATE TABLE personal (" in table)
    return _strict(table).replace("CREATE TABLE personal (", f"CREATE TABLE {name} (")


def is_migrated(connection: Connection) -> bool:
    """Tell whether the tables are up to date; raises StorageError for a file that a newer version has written."""
    if not connection.rows("SELECT 1 FROM sqlite_master WHERE name = '_sqlite_migrations'"):
        return False
    rows = connection.rows("SELECT name FROM _sqlite_migrations WHERE migration_set = ?", (SET,))
    applied = {name for (name,) in rows}
    if applied - _STEPS.keys():
        raise StorageError(f"{connection.path} was written by a newer version of entitlements; upgrade this one")
    return applied == _STEPS.keys()


def _migrations() -> Migrations:
    from sqlite_utils import Migrations  # noqa: PLC0415

    migrations = Migrations(SET)
    for name, statements in _STEPS.items():
        migrations(name=name)(_step(statements))
    return migrations


def _step(statements: Sequence[str]) -> Any:
    def step(db: Any) -> None:
        for statement in statements:
            db.execute(statement)

    return step


def _strict(table: str) -> str:
    if sqlite3.sqlite_version_info < _STRICT_SINCE:
        return table
    return f"{table}, STRICT" if table.endswith("WITHOUT ROWID") else f"{table} STRICT"


def _triggers(table: str) -> tuple[str, ...]:
    rows = {"personal": "personal values", "erased": "erased digests"}.get(table, table)
    refuse = f"BEGIN SELECT RAISE(ABORT, '{rows} are append-only'); END"
    return (
        f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} {refuse}",
        f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} {refuse}",
        f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN {_SAME_ROW[table]} {refuse}",
    )


LOG: Final = ("batches", "entries", "personal", "erased")
TRIGGERS: Final = {table: _triggers(table) for table in LOG}
_STEPS: Final = {
    "0001_the_log": (*map(_strict, TABLES), *(trigger for table in LOG for trigger in TRIGGERS[table])),
    "0002_budgets": (_strict(BUDGETS),),
}
