"""Connections to PostgreSQL, waiting or awaiting: how they are opened, and what their errors are to us."""

from __future__ import annotations

from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from ..errors import LogCorrupt, OutcomeUnknown, StorageError, StorageUnavailable
from .postgres_trips import Trip

OPTIONS: Final[dict[str, Any]] = {
    "autocommit": True,
    "prepare_threshold": None,
    "client_encoding": "UTF8",
    "application_name": "entitlements",
}
"""Transactions begin and end in our own words, and no statement is left prepared: a pooler may stand between."""

IDLE_FOR: Final = 600.0
"""After how many seconds of idleness a connection is closed."""

_OPEN: Final = {TransactionStatus.INTRANS, TransactionStatus.INERROR}
_NOT_FITTING: Final = ("22", "23", "P0", "XX001", "XX002")
_AWAY: Final = ("08", "25006", "25P03", "25P04", "40", "53", "55", "57", "58")


class Lost(StorageUnavailable):
    """The connection was lost before anything was sent to be committed; another one may do better."""


class Texts(dict[str, bytes]):
    """Statements as they are sent, with the name of the schema quoted in them; each is put together once."""

    def __init__(self, schema: str) -> None:
        super().__init__()
        self._schema = sql.Identifier(schema)

    def __missing__(self, text: str) -> bytes:
        composed = sql.SQL(text).format(schema=self._schema).as_bytes(None)
        self[text] = composed
        return composed


def place_name(conninfo: str, schema: str) -> str:
    """Return what a database is called in messages, without a password; raises ValueError for no address."""
    try:
        parts = conninfo_to_dict(conninfo)
    except psycopg.ProgrammingError as error:
        raise ValueError(
            "this is no address of a PostgreSQL server; write 'postgresql://user@host/database'"
        ) from error
    database = parts.get("dbname") or parts.get("user") or "the default database"
    return f"PostgreSQL {database} on {parts.get('host') or 'this machine'}, schema {schema}"


def failure(connection: Any, trip: Trip, error: psycopg.Error, where: str) -> StorageError:
    """Return the driver's error as ours, from what the connection says has become of the transaction.

    One that is still open was not committed. Of any other that was to be, nobody knows.
    """
    if connection.info.transaction_status in _OPEN:
        return translated(error, where)
    if trip.commits is not None:
        return OutcomeUnknown(trip.commits)
    if connection.closed or connection.broken:
        return Lost(f"{where}: the connection was lost ({_said(error)}); nothing was written")
    return translated(error, where)


def interruption(error: BaseException) -> BaseException | None:
    """Return the interrupt or the cancellation that an error of the driver came of, None where it came of none."""
    cause = error.__context__
    while cause is not None and isinstance(cause, Exception):
        cause = cause.__context__
    return cause


def translated(error: psycopg.Error, where: str) -> StorageError:
    """Return the driver's error as ours, where nothing was committed."""
    state = error.sqlstate or ""
    if state.startswith(_NOT_FITTING) or isinstance(error, psycopg.DataError):
        return LogCorrupt(f"{where}: a batch does not fit what is stored ({_said(error)}); nothing was written")
    if state.startswith(_AWAY) or (not state and isinstance(error, psycopg.OperationalError)):
        return StorageUnavailable(f"{where}: {_said(error)}; nothing was written")
    return StorageError(f"{where}: {_said(error)}")


def _said(error: psycopg.Error) -> str:
    """Return the first line of what the server said: later ones show stored values."""
    return error.diag.message_primary or (str(error).splitlines() or [type(error).__name__])[0]
