"""Joining: the storage that works inside a transaction of the host's, whichever driver the host uses."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from .base import AsyncStorage, Storage
from .hosts import host_of
from .memory import MemoryStorage

SCHEMA: Final = "entitlements"
PATIENCE: Final = 5.0
"""How long a customer's lock is waited for inside a host's transaction, in seconds."""


def join(connection: object, storage: Any) -> Storage:
    """Return the logs of a storage as the transaction sees them that the host has open on a connection.

    Raises ValueError where no transaction is open, or where it is one of another database than the
    storage's; TypeError for what is no connection; StorageError where the tables are not there.
    """
    host = partial(host_of, connection)
    kind = host().kind
    _check_kind(kind, storage)
    if kind == "sqlite":
        from .joined_sqlite import JoinedSQLite  # noqa: PLC0415

        return JoinedSQLite(host, getattr(storage, "path", None))
    if kind == "postgres":
        from .joined_postgres import JoinedPostgres  # noqa: PLC0415

        joined = JoinedPostgres(host, schema=getattr(storage, "schema", SCHEMA), write_timeout=PATIENCE)
        if (home := _home(storage)) is not None:
            joined.check_home(home)
        return joined
    raise TypeError("this connection is awaited; join it with AsyncEntitlements")


def join_async(connection: object, storage: Any) -> Storage | AsyncStorage:
    """Return what `join` does, for an engine that is awaited: on a connection of psycopg's that is awaited, too.

    A connection of sqlite3 is used in place: its host has the lock already, so nothing is waited for. That
    psycopg's is one to the storage's database is found out by the first verb, since nothing is awaited here.
    """
    host = partial(host_of, connection)
    kind = host().kind
    if kind == "postgres":
        raise TypeError("this connection blocks, and the engine is awaited; join an AsyncConnection of psycopg")
    if kind == "sqlite":
        return join(connection, storage)
    _check_kind(kind, storage)
    from .joined_async import AsyncJoinedPostgres  # noqa: PLC0415

    schema = getattr(storage, "schema", SCHEMA)
    return AsyncJoinedPostgres(host, _home(storage), schema=schema, write_timeout=PATIENCE)


def _home(storage: Any) -> Any:
    """Return a storage that knows which database it is in, None for any other."""
    return storage if hasattr(storage, "identity") else None


def _check_kind(kind: str, storage: Any) -> None:
    """Raise ValueError where the engine is known to keep its logs in a database of the other kind."""
    if isinstance(storage, MemoryStorage):
        said = "the logs are in memory, and this is a connection to a database; open an engine on that one"
        raise ValueError(said)  # noqa: TRY004  (the engine is the wrong one, not the type of what is given)
    if kind == "sqlite" and hasattr(storage, "schema"):
        raise ValueError("the logs are in PostgreSQL, and this is a connection to an SQLite file")
    if kind != "sqlite" and hasattr(storage, "path"):
        raise ValueError(f"the logs are in the SQLite file {storage.path}, and this is a connection to PostgreSQL")
