"""One engine, seen from the other side: a blocking one awaited, an awaited one blocking.

Both share the desk and the storage, and so what is remembered, what is told, and what is closed. One that is
joined to a transaction of the host's stays in the thread in which that is open.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from ..engine import Entitlements
from ..errors import NotConfigured
from ..joined import Joined
from .driving import InThreads
from .engine import AsyncEntitlements
from .joined import AsyncJoined, InPlace

_awaited: WeakKeyDictionary[Entitlements, AsyncEntitlements] = WeakKeyDictionary()


def awaited(engine: Entitlements | AsyncEntitlements) -> AsyncEntitlements:
    """Return an engine whose verbs are awaited; those of a blocking one run in threads, of a joined one in place."""
    if isinstance(engine, AsyncEntitlements):
        return engine
    if isinstance(engine, Joined):
        joined = AsyncJoined.__new__(AsyncJoined)
        joined._desk, joined._driver = engine._desk, InPlace(engine._storage)
        return joined
    twin = _awaited.get(engine)
    if twin is None:
        twin = AsyncEntitlements.__new__(AsyncEntitlements)
        twin._desk = engine._desk
        twin._driver = InThreads(
            engine._storage, write_timeout=engine._patience, failed=engine._desk.listeners.tell_fault
        )
        twin = _awaited.setdefault(engine, twin)
    return twin


def blocking(engine: Entitlements | AsyncEntitlements) -> Entitlements:
    """Return an engine whose verbs block; raises NotConfigured for one whose storage is awaited."""
    if isinstance(engine, Entitlements):
        return engine
    driver = engine._driver
    if isinstance(driver, InPlace):
        joined = Joined.__new__(Joined)
        joined._desk, joined._storage = engine._desk, driver.storage
        return joined
    if not isinstance(driver, InThreads):
        raise NotConfigured("this engine's storage is awaited; gate an async function, or configure an Entitlements")
    twin = Entitlements.__new__(Entitlements)
    twin._stand_on(engine._desk, driver._storage, driver._threads._write_timeout)
    return twin
