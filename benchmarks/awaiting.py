"""Checks that are awaited, against the same checks called and a coroutine awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from entitlements import AsyncEntitlements, Entitlements

from .measuring import Figure, nanoseconds
from .pricing import FEATURES, catalog

CALLS = 20_000


def figures() -> Iterator[Figure]:
    asked = [("acme", FEATURES[n % len(FEATURES)]) for n in range(CALLS)]
    awaited = AsyncEntitlements(catalog(), storage="memory:")
    with Entitlements(catalog(), storage="memory:") as ent:
        ent.subscribe("acme", "pro")
        asyncio.run(_subscribe(awaited))

        async def nothing(*_: str) -> None:
            return None

        async def bare() -> None:
            for customer, feature in asked:
                await nothing(customer, feature)

        async def checks() -> None:
            for customer, feature in asked:
                await awaited.check(customer, feature)

        def called() -> None:
            for customer, feature in asked:
                ent.check(customer, feature)

        with asyncio.Runner() as runner:
            contestants = {
                "called": called,
                "bare": lambda: runner.run(bare()),
                "awaited": lambda: runner.run(checks()),
            }
            taken = nanoseconds(contestants)
            runner.run(awaited.close())
    note = f"{taken['awaited'] / CALLS:.0f} ns"
    ratio = taken["awaited"] / (taken["called"] + taken["bare"])
    yield Figure("warm check awaited / called + a bare await", ratio, 1.5, note=note)


async def _subscribe(ent: AsyncEntitlements) -> None:
    await ent.subscribe("acme", "pro")
