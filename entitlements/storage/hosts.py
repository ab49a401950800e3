"""The host's connection: which driver stands behind it, and whether a transaction of the host's is open on it.

What is known are connections of sqlite3 and psycopg, sessions and connections of SQLAlchemy, also those that
its pool lends, and Django's. None of these packages is imported: each is known by its name and by what it offers.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

import attrs

_BEGIN: Final = "begin a transaction on it first; nothing was done"


@attrs.frozen
class Host:
    """A driver's own connection, found behind what the host works with.

    `begins` says that the driver begins the transaction with the first statement, because whoever wraps
    it holds one open already.
    """

    raw: Any
    kind: str
    begins: bool = False


def host_of(connection: Any) -> Host:
    """Return the driver's connection behind the host's.

    Raises ValueError where no transaction is open on a wrapper, TypeError for what is not known.
    """
    package = type(connection).__module__.partition(".")[0]
    if package == "sqlalchemy" and hasattr(connection, "driver_connection"):
        return _behind_pool(connection)
    if hasattr(connection, "in_atomic_block") and hasattr(connection, "ensure_connection"):
        return _behind_django(connection)
    if hasattr(connection, "sync_session") or hasattr(connection, "sync_connection"):
        return _behind_sqlalchemy(getattr(connection, "sync_session", None) or connection.sync_connection, connection)
    if callable(getattr(type(connection), "in_transaction", None)):
        return _behind_sqlalchemy(connection, connection)
    return Host(connection, _kind_of(connection, package))


def refuse_feed() -> NoReturn:
    """Raise ValueError: what is not committed yet is no news."""
    raise ValueError("the feed tells only of what is committed; ask the engine for it, not inside a transaction")


def refuse_erasure(customer: str) -> NoReturn:
    """Raise ValueError: an open transaction cannot promise that no byte is left."""
    raise ValueError(
        f"{customer}: an erasure is complete only once it is committed and its bytes are overwritten; "
        "ask the engine for it, not inside a transaction"
    )


def _behind_django(connection: Any) -> Host:
    if not connection.in_atomic_block:
        raise ValueError("no transaction is open on Django's connection; work inside transaction.atomic()")
    connection.ensure_connection()
    raw = connection.connection
    return Host(raw, _kind_of(raw, type(raw).__module__.partition(".")[0]), begins=True)


def _behind_pool(lent: Any) -> Host:
    raw = lent.driver_connection
    if raw is None:
        raise ValueError(f"the connection that SQLAlchemy's pool lent was given back; {_BEGIN}")
    return Host(raw, _kind_of(raw, type(raw).__module__.partition(".")[0]))


def _behind_sqlalchemy(session: Any, given: Any) -> Host:
    if session is None or getattr(session, "closed", False) is True or not session.in_transaction():
        raise ValueError(f"no transaction is open on the {type(given).__name__}; {_BEGIN}")
    connection = _opened(session, given) if callable(session.connection) else session
    raw = connection.connection.driver_connection
    return Host(raw, _kind_of(raw, type(raw).__module__.partition(".")[0]), begins=True)


def _opened(session: Any, given: Any) -> Any:
    """Return a session's connection; raises ValueError where one that is awaited would have to be opened first.

    SQLAlchemy, asked for it outside of its own greenlet, would leave a coroutine behind that nobody awaits.
    """
    if session is not given and not getattr(session.get_transaction(), "_connections", True):
        raise ValueError(
            f"the {type(given).__name__} has no connection yet, and joining awaits nothing; "
            "say `await session.connection()` first"
        )
    return session.connection()


def _kind_of(raw: Any, package: str) -> str:
    names = {base.__module__.partition(".")[0] for base in type(raw).__mro__} | {package}
    if "sqlite3" in names:
        return "sqlite"
    if "psycopg" in names:
        return "postgres_async" if hasattr(raw, "__aenter__") else "postgres"
    raise TypeError(
        f"a connection of type {type(raw).__module__}.{type(raw).__name__} cannot be joined; "
        "give one of sqlite3 or psycopg, a session of SQLAlchemy or Django's connection"
    )
