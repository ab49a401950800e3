"""Opening a storage by its address; drivers are imported only when named."""

from __future__ import annotations

from .base import Storage


def open_storage(where: str | Storage | None, *, write_timeout: float = 5.0) -> Storage:
    """Return the storage at an address."""
    if where == "memory:":
        from .memory import MemoryStorage  # noqa: PLC0415

        return MemoryStorage(write_timeout=write_timeout)
    if where is None or isinstance(where, str):
        from .sqlite import SQLiteStorage  # noqa: PLC0415

        return SQLiteStorage((where or "sqlite:///entitlements.db").removeprefix("sqlite:///"), write_timeout=write_timeout)
    return where
