"""An engine inside the host's transaction, awaited: what `entitlements.joined` is to blocking code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, NoReturn, TypeVar, cast

from ..amounts import Amount
from ..catalog.model import Catalog
from ..decisions import Decision
from ..desk import Desk
from ..joined import ENGINES_CATALOG, ENGINES_EVENTS, IN_ONE_ALREADY, JoinedDesk
from ..requests import position, request
from ..steps import Steps, run
from ..storage.base import AsyncStorage, Storage
from .driving import Awaited, Driver
from .engine import AsyncEntitlements

if TYPE_CHECKING:
    from ..telling import Listener

T = TypeVar("T")


class AsyncJoined(AsyncEntitlements):
    """The verbs of an engine inside the host's open transaction, awaited; made by `AsyncEntitlements.joined`."""

    def __init__(self, desk: Desk, driver: Driver) -> None:
        self._desk = JoinedDesk(desk)
        self._driver = driver

    async def check(
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
        return await self._driver.read(self._desk.look(question, position(as_of, "as_of")))

    def on(self, event: str, listener: Listener) -> NoReturn:  # noqa: ARG002
        """Raise ValueError: what may still be undone is told to nobody."""
        raise ValueError(ENGINES_EVENTS)

    async def reload(self) -> Catalog:
        """Raise ValueError: the catalog is the engine's."""
        raise ValueError(ENGINES_CATALOG)

    async def publish(self) -> Catalog:
        """Raise ValueError: the catalog is the engine's."""
        raise ValueError(ENGINES_CATALOG)

    def joined(self, connection: object) -> NoReturn:  # noqa: ARG002
        """Raise ValueError: this is joined to a transaction already."""
        raise ValueError(IN_ONE_ALREADY)

    async def close(self) -> None:
        """Do nothing: the connection is the host's, and so is the transaction."""


class InPlace:
    """Drives with a storage that never waits for anybody, in the thread that asks."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def open(self, steps: Steps[None]) -> None:
        """Take the steps."""
        run(steps, self.storage)

    def drop(self) -> None:
        """Do nothing: the connection is the host's."""

    async def read(self, steps: Steps[T]) -> T:
        """Take all steps at once."""
        return run(steps, self.storage)

    write = walk = read

    def call(self, told: Callable[[], None]) -> None:
        """Call at once."""
        told()

    async def close(self) -> None:
        """Do nothing: the connection is the host's."""


def driver_inside(storage: Storage | AsyncStorage) -> Driver:
    """Return what drives steps inside a transaction of the host's: no step leaves the thread it is open in."""
    if iscoroutinefunction(storage.transact):
        return Awaited(cast("AsyncStorage", storage), write_timeout=0)
    return InPlace(cast("Storage", storage))
