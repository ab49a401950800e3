"""The catalog in use: read once, looked at again when its file changes, and kept when a change is broken."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path

from .catalog.model import Catalog
from .errors import CatalogError, StorageError

logger = logging.getLogger("entitlements")
Accept = Callable[[Catalog], None]


class Offering:
    """The catalog an engine decides with.

    What it is accepted by may refuse a catalog by raising CatalogError; the one in use then stays, and the problem
    is logged once for each state of the file. While the storage is away it is asked again.
    """

    def __init__(self, source: object) -> None:
        self._accept: Accept = lambda _: None
        self._lock = threading.Lock()
        self._path = Path(source) if isinstance(source, str | PathLike) else None
        self._stamp = self._look()
        self._source = source
        self.catalog = Catalog.load(source)

    def accepted_by(self, accept: Accept) -> None:
        """Have every catalog accepted from now on, the present one first; raises what `accept` raises."""
        accept(self.catalog)
        self._accept = accept

    def reload(self) -> Catalog:
        """Read the catalog again, whether or not its file changed; raises CatalogError and keeps the old one."""
        with self._lock:
            stamp = self._look()
            fresh = Catalog.load(self._source)
            self._accept(fresh)
            self.catalog, self._stamp = fresh, stamp
            return fresh

    def refresh(self) -> bool:
        """Read the catalog again if its file changed; tell whether another catalog is in use now."""
        if self._path is None or self._look() == self._stamp or not self._lock.acquire(blocking=False):
            return False
        try:
            return self._replace()
        finally:
            self._lock.release()

    def _replace(self) -> bool:
        before, stamp = self.catalog, self._look()
        try:
            fresh = Catalog.load(self._source)
            self._accept(fresh)
        except StorageError as fault:
            logger.warning("catalog %s could not be compared with the storage yet: %s", self._path, fault)
            return False
        except (CatalogError, OSError) as problem:
            self._stamp = stamp
            logger.warning("catalog %s was not reloaded, version %s stays: %s", self._path, before.version, problem)
            return False
        self.catalog, self._stamp = fresh, stamp
        return fresh.version != before.version

    def _look(self) -> tuple[int, int, int] | None:
        """Return what tells one state of the file from another; survives replaced files and symlinks."""
        if self._path is None:
            return None
        try:
            seen = os.stat(self._path)  # noqa: PTH116  (cheaper than a Path on every look)
        except OSError:
            return None
        return seen.st_mtime_ns, seen.st_size, seen.st_ino


def fixed_by(catalog: Catalog, subject: str) -> Mapping[str, str | int] | None:
    """Return what the first use of `feature:KEY` or `credit:KEY` fixes for good, None for what is not on sale.

    Of a feature that is its type and its scale, of a credit its scale.
    """
    kind, _, key = subject.partition(":")
    if kind == "credit" and key in catalog.credits:
        return {"scale": catalog.credits[key].scale}
    if kind != "feature" or key not in catalog.features:
        return None
    return {"type": catalog.features[key].type, "scale": catalog.features[key].scale}
