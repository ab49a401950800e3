"""Versions: the log `$catalog`, where older catalogs are kept and what a first use fixed is written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from . import steps
from .catalog.model import Catalog
from .catalog.problems import Problem
from .errors import CatalogError
from .hearing import Note, Unfixed
from .ledger.state import Head
from .offering import fixed_by
from .steps import Steps

CATALOG_LOG = "$catalog"


class Versions:
    """What is known of the log `$catalog`: catalogs that were `sold`, by version, and what is `fixed`, by subject."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.sold: dict[str, Catalog] = {}
        self.fixed: dict[str, Mapping[str, Any]] = {}
        self._now = now

    def accept(self, catalog: Catalog) -> Steps[None]:
        """Raise CatalogError where a catalog changes what the first use of a feature fixed for good."""
        noted = yield from self._noted()
        problems = []
        for subject, data in noted.items():
            now = fixed_by(catalog, subject)
            if now is not None and now != data:
                kind, _, key = subject.partition(":")
                fix = f"{' and '.join(data)} {'stay' if len(data) > 1 else 'stays'} as first used: name a new {kind}"
                said = f"was first used with {dict(data)}, now says {dict(now)}; {fix}"
                problems.append(Problem(f"{kind}s.{key}", said))
        if problems:
            raise CatalogError(problems)

    def keep(self, catalog: Catalog, first: Unfixed) -> Steps[None]:
        """Write down what a batch is about to rely on."""
        for subject, data in first.fixes.items():
            yield from self._note("fixed", subject, data)
            self.fixed[subject] = data
        if first.keeps:
            yield from self._note("catalog_kept", f"version:{catalog.version}", {"document": dict(catalog.document)})
            self.sold[catalog.version] = catalog

    def fetch(self, version: str) -> Steps[None]:
        """Load a catalog version that a pinned plan was sold in."""
        noted = yield from self._noted()
        place = noted.get(f"version:{version}")
        if place is None:
            raise CatalogError([Problem("version", f"version {version} of a pinned plan is not in this storage")])
        (entry,) = yield from steps.entries(CATALOG_LOG, after=place["seq"] - 1, limit=1)
        self.sold[version] = yield from steps.work(partial(Catalog.load, entry.data["document"]))

    def _noted(self) -> Steps[Mapping[str, Any]]:
        state = yield from steps.state(CATALOG_LOG)
        return state.head.noted

    def _note(self, kind: str, subject: str, data: Mapping[str, Any]) -> Steps[bool]:
        note = Note(kind, subject, data, self._now)
        return (yield from steps.transact(CATALOG_LOG, subject, _no_counters, note.decide))


def _no_counters(_: Head) -> tuple[()]:
    return ()
