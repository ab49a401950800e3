"""Connections to PostgreSQL, waiting or awaiting: how they are opened, and what their errors are to us."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any, Final, TypeAlias, TypeVar

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.waiting import Ready, Wait

from ..errors import LogCorrupt, OutcomeUnknown, StorageError, StorageUnavailable
from .postgres_trips import Row, Trip

OPTIONS: Final[dict[str, Any]] = {
    "autocommit": True,
    "prepare_threshold": None,
    "client_encoding": "UTF8",
    "application_name": "entitlements",
}
"""Transactions begin and end in our own words, and no statement is left prepared: a pooler may stand between."""

POOL: Final[dict[str, Any]] = {"min_size": 0, "max_idle": 600.0, "reconnect_timeout": 1.0}
"""What every pool is told: connections are opened as they are needed, and closed after so many seconds of idleness.

A pool that cannot connect gives up after a second: asked anew, it tries at once, where by itself it would wait
for twice as long each time, and stay away for as long again as the server was.
"""
ASK_EVERY: Final = 1.0
"""After how many seconds without a connection the pool is asked anew."""

_OPEN: Final = {TransactionStatus.INTRANS, TransactionStatus.INERROR}
_NOT_FITTING: Final = ("22", "23", "P0", "XX001", "XX002")
_REFUSED_FOR_GOOD: Final = ("does not exist", "authentication failed", "no password supplied", "pg_hba.conf")
_NOT_IN_RECOVERY: Final = "0A000"
"""What a server that follows another one says to a transaction that is to write; of ours it refuses nothing else so."""
_COPY: Final = (
    "this server is a copy that only reads: give the address of the one that writes, or of all with "
    "target_session_attrs=read-write"
)
_AWAY: Final = ("08", "25006", "25P03", "25P04", "40", "53", "55", "57", "58")


T = TypeVar("T")
Exchange: TypeAlias = Generator[Wait, "Ready | int", T]
_NUMBERS: Final = {20, 21, 23}
_NUMBER_LISTS: Final = {1016}


class Lost(StorageUnavailable):
    """The connection was lost before anything was sent to be committed; another one may do better."""


class Late(Exception):
    """The server has not answered in time."""


class Texts(dict[str, bytes]):
    """Statements as they are sent, with the name of the schema quoted in them; each is put together once."""

    def __init__(self, schema: str) -> None:
        super().__init__()
        self._schema = sql.Identifier(schema)

    def __missing__(self, text: str) -> bytes:
        composed = sql.SQL(text).format(schema=self._schema).as_bytes(None)
        self[text] = composed
        return composed


def exchange(pgconn: PGconn, trip: Trip, texts: Texts, until: float | None = None) -> Exchange[list[list[Row]]]:
    """Send the statements of a trip at once, and return the rows of each; what it yields is what to wait for.

    Raises Late where the answer is not there `until` an instant of the monotonic clock.

    This is libpq's pipeline without the driver's cursors, which cost more than the statements.
    """
    piped = len(trip.statements) > 1  # what cannot run inside a transaction cannot run in a pipeline either
    if piped:
        pgconn.enter_pipeline_mode()
    for text, values in trip.statements:
        pgconn.send_query_params(texts[text], [_encoded(value) for value in values])
    if piped:
        pgconn.pipeline_sync()
    while pgconn.flush():
        if (yield Wait.RW) & Ready.R:
            pgconn.consume_input()
    results = yield from _results(pgconn, until, ended=ExecStatus.PIPELINE_SYNC if piped else None)
    if piped:
        pgconn.exit_pipeline_mode()
    for result in results:
        if result.status == ExecStatus.FATAL_ERROR:
            raise error_from_result(result, encoding="utf-8")
    return [_decoded(result) for result in results]


def _results(pgconn: PGconn, until: float | None, *, ended: ExecStatus | None) -> Exchange[list[PGresult]]:
    """Return the result of every statement that was sent, up to the one of status `ended`, or to the first silence."""
    results = list[PGresult]()
    while True:
        while pgconn.is_busy():
            if (yield Wait.R):
                pgconn.consume_input()
            elif until is not None and time.monotonic() >= until:
                raise Late
        result = pgconn.get_result()
        if result is not None and result.status != ended:
            results.append(result)
        elif result is not None or ended is None:
            return results
        elif pgconn.status != ConnStatus.OK:
            raise psycopg.OperationalError("the connection is closed")


def _encoded(value: str | int | None) -> bytes | None:
    if value is None:
        return None
    text = str(value)
    if "\0" in text:
        raise psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
    return text.encode()


def _decoded(result: PGresult) -> list[Row]:
    columns = [(column, _reader(result.ftype(column))) for column in range(result.nfields)]
    get = result.get_value
    return [
        tuple([None if (value := get(row, column)) is None else read(value) for column, read in columns])
        for row in range(result.ntuples)
    ]


def _reader(kind: int) -> Callable[[bytes], Any]:
    if kind in _NUMBERS:
        return int
    return _numbers if kind in _NUMBER_LISTS else bytes.decode


def _numbers(value: bytes) -> list[int]:
    return [int(number) for number in value[1:-1].split(b",")] if len(value) > 2 else []


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


def refused(error: psycopg.Error, where: str) -> StorageError:
    """Return the driver's error as ours, where no connection was had; StorageUnavailable if another try may do better.

    The driver gives no code here, only what the server said; in another language than English it is tried again.
    """
    said = _said(error)
    if not isinstance(error, psycopg.OperationalError) or any(answer in said for answer in _REFUSED_FOR_GOOD):
        return StorageError(f"{where}: {said}; see that the address is right")
    return StorageUnavailable(f"{where}: {said}; see that the server runs and has a connection free, and open it again")


def translated(error: psycopg.Error, where: str) -> StorageError:
    """Return the driver's error as ours, where nothing was committed."""
    state = error.sqlstate or ""
    if state.startswith(_NOT_FITTING) or isinstance(error, psycopg.DataError):
        return LogCorrupt(f"{where}: a batch does not fit what is stored ({_said(error)}); nothing was written")
    if state == _NOT_IN_RECOVERY:
        return StorageUnavailable(f"{where}: {_said(error)}; nothing was written; {_COPY}")
    if state.startswith(_AWAY) or (not state and isinstance(error, psycopg.OperationalError)):
        return StorageUnavailable(f"{where}: {_said(error)}; nothing was written")
    return StorageError(f"{where}: {_said(error)}")


def _said(error: psycopg.Error) -> str:
    """Return the first line of what the server said: later ones show stored values."""
    return error.diag.message_primary or (str(error).splitlines() or [type(error).__name__])[0]
