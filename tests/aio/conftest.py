"""What the tests of the awaited engine share: a catalog, storages of every kind, and one that suspends all the time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from entitlements import Catalog
from entitlements.ledger.records import Kept
from entitlements.storage.memory import MemoryStorage
from entitlements.storage.threaded import Threaded

CATALOG = Catalog.load(
    {
        "features": {
            "sso": {"type": "boolean"},
            "calls": {"type": "metered", "reset": "none"},
            "open": {"type": "boolean", "on_unavailable": "allow"},
        },
        "credits": {"ai": {"scale": 2}},
        "plans": {"pro": {"entitlements": {"sso": True, "open": True, "calls": 150}}},
    }
)


class Suspending:
    """An AsyncStorage that suspends before and after everything, on the loop itself.

    What happens between the two happens at once, so a cancellation finds it before or after. `silent` makes
    it wait for ever when asked for a state.
    """

    silent = False

    def __init__(self) -> None:
        self.inner = MemoryStorage()
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    async def _between(self, name: str, *arguments: Any, **named: Any) -> Any:
        self.asked.append(name)
        await asyncio.sleep(0)
        if self.silent and name in {"state", "pulse"}:
            await asyncio.Event().wait()
        answer = getattr(self.inner, name)(*arguments, **named)
        await asyncio.sleep(0)
        return answer

    @asynccontextmanager
    async def kept(self, customer: str) -> AsyncIterator[Kept]:
        await asyncio.sleep(0)
        with self.inner.kept(customer) as kept:
            yield kept
        await asyncio.sleep(0)


def _suspended(name: str) -> Any:
    async def method(self: Suspending, *arguments: Any, **named: Any) -> Any:
        return await self._between(name, *arguments, **named)

    return method


for _name in (
    "transact", "transact_all", "state", "entries", "batches", "batch", "feed", "customers", "flaws", "pulse",
    "written", "close",
):  # fmt: skip
    setattr(Suspending, _name, _suspended(_name))


@pytest.fixture(params=["memory", "sqlite", "threaded", "suspending"])
def storage(request: pytest.FixtureRequest, database: Path) -> Any:
    """A storage of each kind in turn: two that block, one in threads, one that suspends on the loop."""
    kinds = {"memory": MemoryStorage, "threaded": lambda: Threaded(MemoryStorage()), "suspending": Suspending}
    return f"sqlite:///{database}" if request.param == "sqlite" else kinds[request.param]()
