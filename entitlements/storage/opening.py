"""Opening a storage by its address; a storage is imported only when it is named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from inspect import iscoroutinefunction
from typing import Final, TypeVar

from ..errors import StorageError, did_you_mean, shown
from .base import AsyncStorage, Storage

S = TypeVar("S", Storage, AsyncStorage, Storage | AsyncStorage)

DEFAULT: Final = "sqlite:///entitlements.db"
_SCHEMES: Final = ("memory:", "sqlite:///", "postgresql://")
_POSTGRES: Final = {"postgresql", "postgres"}
_SCHEMA: Final = "entitlements"


def open_storage(where: str | Storage | None, *, write_timeout: float = 5.0) -> Storage:
    """Return the storage at an address, or the storage itself where one is given.

    `memory:` keeps nothing; `sqlite:///entitlements.db` is a file in the working directory,
    `sqlite:////var/lib/entitlements.db` one anywhere, `sqlite:///:memory:` SQLite without a file;
    `postgresql://user@host/database` is a PostgreSQL database, `?schema=name` one schema of it;
    None is `sqlite:///entitlements.db`. Raises ValueError for any other address, StorageError where
    the storage cannot be opened.
    """
    if where is None:
        where = DEFAULT
    if not isinstance(where, str):
        return _given(where)
    if where == "memory:":
        return _open_memory(write_timeout)
    scheme, _, rest = where.partition(":")
    if scheme == "sqlite":
        return _open_sqlite(rest, write_timeout)
    if scheme in _POSTGRES:
        return _open_postgres(where, write_timeout)
    raise ValueError(_unknown(where))


def open_async_storage(
    where: str | Storage | AsyncStorage | None, *, write_timeout: float = 5.0
) -> Storage | AsyncStorage:
    """Return the storage at an address for code that awaits: an AsyncStorage where there is one, else a Storage.

    Raises as `open_storage` does.
    """
    if isinstance(where, str) and where.partition(":")[0] in _POSTGRES:
        return _open_async_postgres(where, write_timeout)
    if where is None or isinstance(where, str):
        return open_storage(where, write_timeout=write_timeout)
    return _checked(where)


def _given(storage: Storage) -> Storage:
    if iscoroutinefunction(_checked(storage).transact):
        raise TypeError(f"{type(storage).__name__} is awaited; open AsyncEntitlements with it")
    return storage


def _checked(storage: S) -> S:
    if not callable(getattr(storage, "transact", None)):
        raise TypeError(f"a storage or its address is needed, not {type(storage).__name__}; write {DEFAULT!r}")
    return storage


def _open_memory(write_timeout: float) -> Storage:
    from .memory import MemoryStorage  # noqa: PLC0415

    return MemoryStorage(write_timeout=write_timeout)


def _open_sqlite(rest: str, write_timeout: float) -> Storage:
    path = rest.removeprefix("///")
    if path == rest or not path:
        raise ValueError("an SQLite address is 'sqlite:///' and a path; an absolute path makes it four slashes")
    if "?" in path:
        raise ValueError("an SQLite address takes no options after '?'; give them to SQLiteStorage")
    from .sqlite import SQLiteStorage  # noqa: PLC0415

    return SQLiteStorage(path, write_timeout=write_timeout)


def _open_postgres(where: str, write_timeout: float) -> Storage:
    conninfo, schema = _schema_apart(where)
    with _driver_needed():
        from .postgres import PostgresStorage  # noqa: PLC0415
    return PostgresStorage(conninfo, schema=schema, write_timeout=write_timeout)


def _open_async_postgres(where: str, write_timeout: float) -> AsyncStorage:
    conninfo, schema = _schema_apart(where)
    with _driver_needed():
        from .postgres_async import AsyncPostgresStorage  # noqa: PLC0415
    return AsyncPostgresStorage(conninfo, schema=schema, write_timeout=write_timeout)


@contextmanager
def _driver_needed() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        said = "PostgreSQL needs the driver psycopg and its pool; install entitlements[postgres]"
        raise StorageError(f"{said} ({error})") from error


def _schema_apart(where: str) -> tuple[str, str]:
    """Return an address without the name of the schema, which is ours and not the driver's, and that name."""
    if "://" not in where:
        raise ValueError("a PostgreSQL address is 'postgresql://user@host/database', with '?schema=name' for a schema")
    address, _, query = where.partition("?")
    parts = query.split("&") if query else []
    ours = [part.partition("=")[2] for part in parts if part.partition("=")[0] == "schema"]
    if len(ours) > 1:
        raise ValueError("the address names more than one schema; keep one")
    rest = "&".join(part for part in parts if part.partition("=")[0] != "schema")
    return f"{address}?{rest}" if rest else address, ours[0] if ours else _SCHEMA


def _unknown(where: str) -> str:
    scheme, colon, _ = where.partition(":")
    if scheme.partition("+")[0] in _POSTGRES:
        return f"a PostgreSQL address begins with 'postgresql://', not {shown(scheme + '://')}"
    if not colon and where not in {"", "memory"}:
        return f"{shown(where)} is no address; a file is written {shown(f'sqlite:///{where}')}"
    hint = did_you_mean(f"{scheme}:", _SCHEMES) or f"; there are {', '.join(_SCHEMES[:-1])} and {_SCHEMES[-1]}"
    return f"no storage is called {shown(scheme)}{hint}"
