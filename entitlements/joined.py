"""An engine inside the host's transaction: all verbs, decided and written there, committed or undone by the host.

    with app_connection:                                  # the host's own transaction
        order = insert_order(app_connection, ...)
        ent.joined(app_connection).consume("acme", "orders", key=order)

Nothing is remembered, and nobody is told: what was written may still be undone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NoReturn

from .amounts import Amount
from .catalog.model import Catalog
from .decisions import Decision
from .desk import Desk
from .engine import Entitlements
from .errors import StorageUnavailable
from .hearing import Hearing
from .requests import Request, position, request
from .steps import Steps
from .storage.base import Storage
from .versions import Versions, noted_in_log

if TYPE_CHECKING:
    from .telling import Listener


ENGINES_EVENTS: Final = "events are told by the engine, of what is committed; listen there"
ENGINES_CATALOG: Final = "the catalog is the engine's; reload or publish it there"
PATIENCE: Final = 3600.0
"""A question is not broken off, in seconds: how long a statement may take is for the host's connection to say."""
IN_ONE_ALREADY: Final = "this is inside a transaction already; join another one from the engine"


class JoinedVersions(Versions):
    """What the log `$catalog` says inside the host's transaction, for one verb.

    What is written there may be undone before the next verb, and the transaction stay open: by a savepoint of
    the host's. So each verb starts from what the engine knows to be committed, and each write reads the log.
    """

    def __init__(self, known: Versions, now: Callable[[], datetime]) -> None:
        super().__init__(now)
        self.sold = dict(known.sold)

    def read(self) -> Steps[None]:
        """Read what stands in the log now; what does not is written again by whatever relies on it."""
        noted = yield from noted_in_log()
        self.fixed = dict(noted)
        self.sold = {version: sold for version, sold in self.sold.items() if f"version:{version}" in noted}


class JoinedDesk(Desk):
    """The desk of an engine, inside the host's transaction: the same offering and clock, and nothing in mind."""

    versions: JoinedVersions

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk.offering, clock=desk.clock, cache=1, timeout=PATIENCE)
        self._engine = desk
        self.throttle_within = desk.throttle_within
        self.versions = JoinedVersions(desk.versions, self.now)

    def refresh(self) -> Steps[None]:
        """Look for a changed catalog file, for the engine; else forget what the verb before has learned."""
        self._engine.check_open()
        self.versions = JoinedVersions(self._engine.versions, self.now)
        if not self._engine.freshness.has_begun:
            yield from self.offering.begin(self.versions.accept)
        if (yield from self.offering.refresh(self.versions.accept)):
            self._engine.freshness.change()

    def learn(self, request: Any) -> Steps[Decision]:
        """Answer a plain check, and forget the answer."""
        return self.look(request)

    def _written(self, request: Request, key: str) -> Steps[tuple[Any, Hearing]]:
        yield from self.versions.read()
        return (yield from super()._written(request, key))

    def _written_together(self, asked: Sequence[tuple[Request, str]]) -> Steps[tuple[list[Any], list[Hearing]]]:
        yield from self.versions.read()
        return (yield from super()._written_together(asked))

    def _fallback(
        self, customer: str, feature: str, fault: StorageUnavailable, *, plain: bool = True  # noqa: ARG002
    ) -> NoReturn:
        """Raise the fault: a transaction that cannot be read from can write nothing either."""
        raise fault


class Joined(Entitlements):
    """The verbs of an engine inside the host's open transaction.

    Made by `Entitlements.joined`. Every verb reads what the host's transaction sees and writes into it; the
    host's commit commits it, the host's rollback leaves nothing of it. Once the transaction is over, every
    verb raises ValueError. Not for `feed` and `erase`, which are about what is committed.
    """

    def __init__(self, desk: Desk, storage: Storage) -> None:
        self._desk = JoinedDesk(desk)
        self._storage = storage

    def check(
        self,
        customer: str,
        feature: str,
        *,
        requested: Amount = 1,
        value: object = None,
        scope: object = None,
        dimensions: Mapping[str, str] | None = None,
        at: datetime | None = None,
        as_of: int | None = None,
    ) -> Decision:
        """Return whether a customer may have a feature, as the host's transaction sees it; never writes."""
        asked = {"value": value, "scope": scope, "dimensions": dimensions, "at": at}
        question = request("check", customer, None, feature=feature, requested=requested, **asked)
        return self._run(self._desk.look(question, position(as_of, "as_of")))

    def on(self, event: str, listener: Listener) -> NoReturn:  # noqa: ARG002
        """Raise ValueError: what may still be undone is told to nobody."""
        raise ValueError(ENGINES_EVENTS)

    def reload(self) -> Catalog:
        """Raise ValueError: the catalog is the engine's."""
        raise ValueError(ENGINES_CATALOG)

    def publish(self) -> Catalog:
        """Raise ValueError: the catalog is the engine's."""
        raise ValueError(ENGINES_CATALOG)

    def joined(self, connection: object) -> NoReturn:  # noqa: ARG002
        """Raise ValueError: this is joined to a transaction already."""
        raise ValueError(IN_ONE_ALREADY)

    def close(self) -> None:
        """Do nothing: the connection is the host's, and so is the transaction."""
