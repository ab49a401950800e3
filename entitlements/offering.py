"""The catalog in use: read once, again when its file changes or another is published, and kept when that is broken."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from functools import partial
from itertools import count
from os import PathLike
from pathlib import Path

from . import steps
from .catalog.model import Catalog
from .errors import CatalogError, StorageError, StorageUnavailable
from .steps import Steps
from .versions import kept, published

logger = logging.getLogger("entitlements")
Accept = Callable[[Catalog], Steps[None]]
Stamp = tuple[int, int, int] | str | None


class Offering:
    """The catalog an engine decides with: a file, what a mapping says, or (`source` None) the published version.

    What it is accepted by may refuse a catalog by raising CatalogError; the one in use then stays, and the problem
    is logged once for each state of what was read. While the storage is away it is asked again. The published
    version is read with the first steps that are taken; until then the catalog is empty.
    """

    def __init__(self, source: object) -> None:
        self._accept: Accept = _accept_any
        self._lock = threading.Lock()
        self._turns = count(1)
        self._turn = 0
        self._warned: tuple[Stamp, str] | None = None
        self._given = Path(source) if isinstance(source, str | PathLike) else None
        self._path = None if self._given is None else self._given.absolute()
        self._stamp = self._look_at_file()
        self._source = source
        self.catalog = Catalog() if source is None else Catalog.load(source)

    def begin(self, accept: Accept) -> Steps[None]:
        """Have the present catalog accepted, read first where it is the published one; raises what `accept` raises."""
        if self._source is None:
            yield from self.reload(accept)
        else:
            yield from accept(self.catalog)

    def accepted_by(self, accept: Accept) -> Steps[None]:
        """Have every catalog accepted from now on, the present one first; raises what `accept` raises."""
        yield from self.begin(accept)
        self._accept = accept

    def reload(self, accept: Accept | None = None) -> Steps[Catalog]:
        """Read the catalog again, whether or not it changed; raises CatalogError and keeps the old one.

        `accept` is asked instead of what accepts every catalog: inside a transaction, what it learns is not to last.
        """
        turn, stamp = next(self._turns), (yield from self._look())
        fresh = yield from self._read(stamp)
        yield from (accept or self._accept)(fresh)
        self._use(fresh, turn, stamp)
        return fresh

    def refresh(self, accept: Accept | None = None, *, within: float | None = None) -> Steps[bool]:
        """Read the catalog again, as `reload` does, if it changed; tell whether another is in use now.

        `within` bounds the look at what is published, in seconds; a storage that is away has nothing new.
        """
        before, stamp = self.catalog, self._stamp
        try:
            stamp = yield from self._look(within)
            if stamp == self._stamp:
                self._warned = None
                return False
            fresh = yield from self.reload(accept)
        except StorageError as fault:
            if stamp != self._stamp or not isinstance(fault, StorageUnavailable):
                self._warn(stamp, f"could not be compared with the storage yet: {fault}")
            return False
        except (CatalogError, OSError) as problem:
            self._stamp = stamp
            self._warn(stamp, f"was not reloaded, version {before.version} stays: {problem}")
            return False
        return fresh.version != before.version

    def _use(self, fresh: Catalog, turn: int, stamp: Stamp) -> None:
        """Use a catalog from now on, unless one that was read after it is in use already."""
        with self._lock:
            if turn > self._turn:
                self.catalog, self._stamp, self._turn = fresh, stamp, turn

    def _warn(self, stamp: Stamp, said: str) -> None:
        if (stamp, said) != self._warned:
            self._warned = stamp, said
            logger.warning("catalog %s %s", self._named(), said)

    def _named(self) -> object:
        """Return the source as it was given; where the process went elsewhere, as daemons do, the file's whole path."""
        if self._source is None:
            return "as published"
        try:
            is_there = self._given is None or self._given.absolute() == self._path
        except OSError:  # the working directory itself is gone
            is_there = False
        return self._source if is_there else self._path

    def _look(self, within: float | None = None) -> Steps[Stamp]:
        """Return what tells one state of the source from another."""
        if self._source is None:
            return (yield from published(within=within))
        return self._look_at_file()

    def _read(self, stamp: Stamp) -> Steps[Catalog]:
        if self._source is None:
            return (yield from kept(str(stamp)))
        return (yield from steps.work(partial(Catalog.load, self._named())))

    def _look_at_file(self) -> Stamp:
        """Return what tells one state of the file from another; survives replaced files and symlinks."""
        if self._path is None:
            return None
        try:
            seen = os.stat(self._path)  # noqa: PTH116  (cheaper than a Path on every look)
        except OSError:
            return None
        return seen.st_mtime_ns, seen.st_size, seen.st_ino


def _accept_any(_: Catalog) -> Steps[None]:
    yield from ()
