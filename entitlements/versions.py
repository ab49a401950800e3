"""Versions: the log `$catalog`, where older catalogs are kept, one is published, and what a first use fixed stands."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from . import steps
from .catalog.findings import Finding
from .catalog.fixing import fixed_by
from .catalog.model import Catalog
from .catalog.problems import Problem
from .errors import CatalogError, LogCorrupt, OutcomeUnknown, StorageUnavailable
from .hearing import Note, Unfixed
from .ledger.audit import audit
from .ledger.state import Head
from .steps import Steps

CATALOG_LOG = "$catalog"
PUBLISHED = "published"
ASK_AGAIN = 3
_WHENEVER = datetime(9999, 1, 1, tzinfo=UTC)
_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError)
_RESTORE = "verify() tells all that does not hold; restore the storage from a copy that is sound"


class Versions:
    """What is known of the log `$catalog`: catalogs that were `sold`, by version, and what is `fixed`, by subject."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.sold: dict[str, Catalog] = {}
        self.fixed: dict[str, Mapping[str, Any]] = {}
        self._now = now

    def accept(self, catalog: Catalog) -> Steps[None]:
        """Raise CatalogError where a catalog changes what the first use of a feature fixed for good.

        LogCorrupt where it may not have been fixed so: where the log `$catalog` does not hold.
        """
        noted = yield from noted_in_log()
        found = []
        for subject, data in noted.items():
            now = fixed_by(catalog, subject)
            if now is not None and now != data:
                found.append(_changed(subject, data, now))
            elif now is not None:
                self.fixed[subject] = now
        if found:
            yield from self._check_log()
            raise (yield from steps.work(partial(_refusal, catalog, found)))

    def keep(self, catalog: Catalog, first: Unfixed) -> Steps[None]:
        """Write down what a batch is about to rely on."""
        for subject, data in first.fixes.items():
            try:
                yield from self._note("fixed", subject, data)
            except CatalogError:
                yield from self.accept(catalog)  # which says where
                raise
            self.fixed[subject] = data
        if first.keeps:
            yield from self._keep(catalog)

    def publish(self, catalog: Catalog) -> Steps[None]:
        """Have a catalog be the one that engines without one of their own use; raises what `accept` raises."""
        yield from self.accept(catalog)
        yield from self._keep(catalog)
        again = f"{PUBLISHED}:{uuid.uuid4().hex}"  # a version may be published again after another
        yield from self._note("catalog_published", PUBLISHED, {"version": catalog.version}, key=again)

    def fetch(self, version: str) -> Steps[None]:
        """Load a catalog version that a pinned plan was sold in; raises LogCorrupt where it cannot be read."""
        self.sold[version] = yield from kept(version)

    def _check_log(self) -> Steps[None]:
        """Raise LogCorrupt where the log `$catalog` does not hold, so that no catalog is blamed for it."""
        found = yield from steps.kept(CATALOG_LOG, partial(audit, now=_WHENEVER))
        if found:
            raise LogCorrupt(f"{found[0]}; {_RESTORE}")

    def _keep(self, catalog: Catalog) -> Steps[None]:
        yield from self._note("catalog_kept", f"version:{catalog.version}", {"document": dict(catalog.document)})
        self.sold[catalog.version] = catalog

    def _note(self, kind: str, subject: str, data: Mapping[str, Any], key: str = "") -> Steps[bool]:
        """Write one line down, unless it is there; what is not known to be written is asked about again.

        Where that does not help it is StorageUnavailable: the batch that relies on it is not written.
        """
        note = Note(kind, subject, data, self._now, key or subject)
        fault: OutcomeUnknown | None = None
        for _ in range(ASK_AGAIN):
            try:
                return (yield from steps.transact(CATALOG_LOG, note.key, _no_counters, note.decide))
            except OutcomeUnknown as error:
                fault = error
        raise StorageUnavailable(f"{subject} could not be written to {CATALOG_LOG}; nothing else was") from fault


def published(*, within: float | None = None) -> Steps[str]:
    """Return which version of the catalog is published; raises CatalogError where none is."""
    noted = yield from noted_in_log(within=within)
    if PUBLISHED not in noted:
        said = "none is published in this storage; run `entitlements catalog publish catalog.yaml`, or name a catalog"
        raise CatalogError([Problem("catalog", said)])
    return str(noted[PUBLISHED]["version"])


def kept(version: str) -> Steps[Catalog]:
    """Return a catalog version as the log keeps it; raises LogCorrupt where it is not there or cannot be read."""
    noted = yield from noted_in_log()
    place = noted.get(f"version:{version}")
    if place is None:
        raise LogCorrupt(f"{CATALOG_LOG}: catalog version {version} is referred to, and not kept; {_RESTORE}")
    try:
        (entry,) = yield from steps.entries(CATALOG_LOG, after=place["seq"] - 1, limit=1)
        return (yield from steps.work(partial(Catalog.load, entry.data["document"])))
    except (CatalogError, *_UNREADABLE) as error:
        said = f"{CATALOG_LOG}: catalog version {version} cannot be read ({type(error).__name__}: {error})"
        how = f"use the newest release that wrote to this storage; if that cannot either, {_RESTORE}"
        raise LogCorrupt(f"{said}; {how}") from error


def noted_in_log(*, within: float | None = None) -> Steps[Mapping[str, Any]]:
    """Return what the log `$catalog` says, by subject."""
    state = yield from steps.state(CATALOG_LOG, within=within)
    return state.head.noted


def _changed(subject: str, first: Mapping[str, Any], now: Mapping[str, Any]) -> Finding:
    """Return what is wrong where a catalog says something else of a feature or credit than was fixed."""
    kind, _, key = subject.partition(":")
    differing = [name for name in now if now[name] != first.get(name)]
    fix = f"{' and '.join(first)} {'stay' if len(first) > 1 else 'stays'} as first used: name a new {kind}"
    said = f"was first used with {_told(first)}, now says {_told(now)}; {fix}"
    return Finding((f"{kind}s", key, *differing[:1]), said)


def _told(fixed: Mapping[str, Any]) -> str:
    return " and ".join(f"{name} {value}" for name, value in fixed.items())


def _refusal(catalog: Catalog, found: Sequence[Finding]) -> CatalogError:
    from .catalog.loading import refusal  # noqa: PLC0415  (cattrs and PyYAML only when a catalog is read)

    return refusal(catalog, found)


def _no_counters(_: Head) -> tuple[()]:
    return ()
