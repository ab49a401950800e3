"""The catalog in use: read once, looked at again when its file changes, and kept when a change is broken."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from os import PathLike
from pathlib import Path

from . import steps
from .catalog.model import Catalog
from .errors import CatalogError, StorageError
from .steps import Steps

logger = logging.getLogger("entitlements")
Accept = Callable[[Catalog], Steps[None]]
Stamp = tuple[int, int, int] | None


class Offering:
    """The catalog an engine decides with.

    What it is accepted by may refuse a catalog by raising CatalogError; the one in use then stays, and the problem
    is logged once for each state of the file. While the storage is away it is asked again.
    """

    def __init__(self, source: object) -> None:
        self._accept: Accept = _accept_any
        self._lock = threading.Lock()
        self._turns = count(1)
        self._turn = 0
        self._given = source if isinstance(source, str | PathLike) else None
        self._path = None if self._given is None else Path(self._given).absolute()
        self._stamp = self._look()
        self._source = source
        self.catalog = Catalog.load(source)

    def accepted_by(self, accept: Accept) -> Steps[None]:
        """Have every catalog accepted from now on, the present one first; raises what `accept` raises."""
        yield from accept(self.catalog)
        self._accept = accept

    def reload(self, accept: Accept | None = None) -> Steps[Catalog]:
        """Read the catalog again, whether or not its file changed; raises CatalogError and keeps the old one.

        `accept` is asked instead of what accepts every catalog: inside a transaction, what it learns is not to last.
        """
        turn, stamp = next(self._turns), self._look()
        fresh = yield from steps.work(partial(Catalog.load, self._named()))
        yield from (accept or self._accept)(fresh)
        self._use(fresh, turn, stamp)
        return fresh

    def refresh(self, accept: Accept | None = None) -> Steps[bool]:
        """Read the catalog again, as `reload` does, if its file changed; tell whether another is in use now."""
        if self._path is None or self._look() == self._stamp:
            return False
        before, stamp = self.catalog, self._look()
        try:
            fresh = yield from self.reload(accept)
        except StorageError as fault:
            logger.warning("catalog %s could not be compared with the storage yet: %s", self._named(), fault)
            return False
        except (CatalogError, OSError) as problem:
            self._stamp = stamp
            logger.warning("catalog %s was not reloaded, version %s stays: %s", self._named(), before.version, problem)
            return False
        return fresh.version != before.version

    def _use(self, fresh: Catalog, turn: int, stamp: Stamp) -> None:
        """Use a catalog from now on, unless one that was read after it is in use already."""
        with self._lock:
            if turn > self._turn:
                self.catalog, self._stamp, self._turn = fresh, stamp, turn

    def _named(self) -> object:
        """Return the source as it was given; where the process went elsewhere, as daemons do, the file's whole path."""
        if self._given is None or Path(self._given).absolute() == self._path:
            return self._source
        return self._path

    def _look(self) -> Stamp:
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


def _accept_any(_: Catalog) -> Steps[None]:
    yield from ()
