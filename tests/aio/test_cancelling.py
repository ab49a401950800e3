"""Cancellation at every await: nothing is left behind, and the log knows the outcome by the key."""

from __future__ import annotations

import asyncio
import signal
import threading
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from entitlements import AsyncEntitlements, OutcomeUnknown, Request
from entitlements.storage.memory import MemoryStorage

from .conftest import CATALOG, Suspending

BEGIN, END = datetime(2020, 1, 1, tzinfo=UTC), datetime(2050, 1, 1, tzinfo=UTC)
Verb = Callable[[AsyncEntitlements, str], Awaitable[Any]]


class Suspensions:
    """Awaits a coroutine and cancels it once, where it suspends for the n-th time; `seen` counts how often it did."""

    def __init__(self, work: Coroutine[Any, Any, Any], cancel_at: int) -> None:
        self._work, self._cancel_at, self.seen = work, cancel_at, 0

    @types.coroutine
    def run(self) -> Generator[Any, Any, Any]:
        step: Callable[[], Any] = partial(self._work.send, None)
        while True:
            try:
                waits_for = step()
            except StopIteration as end:
                return end.value
            self.seen += 1
            if self.seen == self._cancel_at:
                if waits_for is not None:
                    waits_for._asyncio_future_blocking = False
                step = partial(self._work.throw, asyncio.CancelledError())
                continue
            try:
                yield waits_for
            except BaseException as error:
                step = partial(self._work.throw, error)
            else:
                step = partial(self._work.send, None)


async def hold(ent: AsyncEntitlements, key: str) -> None:
    async with ent.reserve_credits("acme", "ai", 5, key=key) as held:
        held.report(1)
        await asyncio.sleep(0)


async def reserve(ent: AsyncEntitlements, key: str) -> Any:
    return await ent.reserve_credits("acme", "ai", 5, key=key)


WRITES: dict[str, Verb] = {
    "subscribe": lambda ent, key: ent.subscribe(f"new {key}", "pro", key=key),
    "consume": lambda ent, key: ent.consume("acme", "calls", 1, key=key),
    "record": lambda ent, key: ent.record("acme", "calls", 1, key=key),
    "grant_credits": lambda ent, key: ent.grant_credits("acme", "ai", 1, key=key),
    "consume_credits": lambda ent, key: ent.consume_credits("acme", "ai", 1, key=key),
    "reserve": reserve,
    "consume_many": lambda ent, key: ent.consume_many([Request("acme", "calls", key=key), Request("acme", "calls", 0)]),
    "refund": lambda ent, key: ent.refund("acme", "burned", 1, key=key),
}
READS: dict[str, Verb] = {
    "check": lambda ent, key: ent.check("acme", "calls", requested=2),
    "snapshot": lambda ent, key: ent.snapshot("acme"),
    "explain": lambda ent, key: ent.explain("acme", "calls"),
    "as_of": lambda ent, key: ent.check("acme", "calls", as_of=2),
    "balance": lambda ent, key: ent.balance("acme", "ai", at=BEGIN),
    "entries": lambda ent, key: ent.entries("acme"),
    "feed": lambda ent, key: ent.feed(),
    "head": lambda ent, key: ent.head("acme"),
    "verify": lambda ent, key: ent.verify(),
    "statement": lambda ent, key: ent.statement("acme", "ai", start=BEGIN, end=END),
    "revenue": lambda ent, key: ent.revenue(start=BEGIN, end=END),
    "sweep": lambda ent, key: ent.sweep(),
    "reload": lambda ent, key: ent.reload(),
}


async def opened(storage: Any) -> AsyncEntitlements:
    ent = AsyncEntitlements(CATALOG, storage=storage, timeout=60)
    await ent.subscribe("acme", "pro")
    await ent.grant_credits("acme", "ai", 1000, key="granted")
    await ent.consume_credits("acme", "ai", 500, key="burned")
    return ent


async def at_every_await(ent: AsyncEntitlements, verb: Verb, after: Callable[[str], Awaitable[None]]) -> int:
    """Cancel a verb at its first suspension, then at its second, and so on; return at how many."""
    for number in range(1, 200):
        key = f"key {number}"
        ent._desk.cache.forget_all()
        ent._desk.freshness.until = 0.0

        async def called(key: str = key) -> Any:
            return await verb(ent, key)

        suspensions = Suspensions(called(), number)
        try:
            await suspensions.run()
        except asyncio.CancelledError:
            await after(key)
            continue
        assert suspensions.seen < number
        return number - 1
    raise AssertionError("it suspends for ever")


@pytest.mark.parametrize("verb", WRITES)
def test_a_write_that_is_cancelled_anywhere_is_there_once_or_not_at_all(storage: Any, verb: str) -> None:
    async def main() -> int:
        ent = await opened(storage)
        call = WRITES[verb]

        async def after(key: str) -> None:
            assert await ent.verify() == ()
            await call(ent, key)  # asks again: booked now, or answered again
            customer = f"new {key}" if verb == "subscribe" else "acme"
            booked = [entry for entry in await ent.entries(customer) if entry.key == key]
            assert len({entry.recorded_at for entry in booked}) == 1
            assert (await ent.consume("acme", "calls", 0, key=f"next {key}")).allowed
            assert await ent.verify() == ()

        cancelled = await at_every_await(ent, call, after)
        await ent.close()
        return cancelled

    assert asyncio.run(main()) >= 1


@pytest.mark.parametrize("verb", READS)
def test_a_question_that_is_cancelled_anywhere_leaves_nothing_behind(storage: Any, verb: str) -> None:
    async def main() -> int:
        ent = await opened(storage)

        async def after(key: str) -> None:
            assert (await ent.consume("acme", "calls", 0, key=f"next {key}")).allowed
            await READS[verb](ent, key)
            assert not ent._desk.freshness._lock.locked()

        cancelled = await at_every_await(ent, READS[verb], after)
        assert await ent.verify() == ()
        await ent.close()
        return cancelled

    assert asyncio.run(main()) >= 1


def test_work_inside_a_hold_that_is_cancelled_anywhere_leaves_no_hold_open(storage: Any) -> None:
    async def main() -> int:
        ent = await opened(storage)

        async def after(key: str) -> None:
            assert (await ent.balance("acme", "ai")).held == 0
            assert await ent.verify() == ()

        cancelled = await at_every_await(ent, hold, after)
        left = (await ent.balance("acme", "ai")).available
        settled = [entry for entry in await ent.entries("acme") if entry.kind == "settled"]
        assert left == 500 - len(settled)
        await ent.close()
        return cancelled

    assert asyncio.run(main()) >= 3


def test_a_commit_under_way_is_seen_through_and_the_cancellation_delivered_afterwards() -> None:
    """However often it is cancelled, and while another cancellation is pending."""
    begun, go_on = threading.Event(), threading.Event()

    class Slow(MemoryStorage):
        def transact(self, customer: str, key: str, reads: Any, decide: Any) -> Any:
            result = super().transact(customer, key, reads, decide)
            if key == "slow":
                begun.set()
                assert go_on.wait(30)
            return result

    async def main() -> None:
        async with AsyncEntitlements(CATALOG, storage=Slow()) as ent:
            await ent.subscribe("acme", "pro")
            task = asyncio.create_task(ent.consume("acme", "calls", 7, key="slow"))
            await asyncio.to_thread(begun.wait, 30)
            for _ in range(3):
                task.cancel()
                await asyncio.sleep(0)
                assert not task.done()
            go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            again = await ent.consume("acme", "calls", 7, key="slow")
            assert (again.used, again.receipt.replayed) == (7, True)

    asyncio.run(main())


def test_a_timeout_around_a_write_is_a_timeout_and_the_write_is_known_by_its_key() -> None:
    go_on = threading.Event()

    class Slow(MemoryStorage):
        def transact(self, customer: str, key: str, reads: Any, decide: Any) -> Any:
            if key == "slow":
                assert go_on.wait(30)
            return super().transact(customer, key, reads, decide)

    async def main() -> None:
        async with AsyncEntitlements(CATALOG, storage=Slow()) as ent:
            await ent.subscribe("acme", "pro")
            asyncio.get_running_loop().call_later(0.1, go_on.set)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await ent.consume("acme", "calls", 7, key="slow")
            assert (await ent.consume("acme", "calls", 7, key="slow")).receipt.replayed

    asyncio.run(main())


def test_ctrl_c_leaves_a_usable_engine(storage: Any) -> None:
    engines: list[AsyncEntitlements] = []
    done: list[str] = []

    async def main() -> None:
        ent = await opened(storage)
        engines.append(ent)
        asyncio.get_running_loop().call_later(0.02, signal.raise_signal, signal.SIGINT)
        for number in range(100_000):
            await ent.consume("acme", "calls", 0, key=f"{number}")
            done.append(f"{number}")

    async def look() -> None:
        (ent,) = engines
        assert await ent.verify() == ()
        known = {entry.key for entry in await ent.entries("acme", limit=100_000)}
        assert set(done) <= known
        assert len(known - set(done)) <= 3 + 1  # what it began with, and one whose answer was not waited for
        assert (await ent.consume("acme", "calls", 1, key="next")).allowed
        await ent.close()

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    asyncio.run(look())


def test_a_lost_answer_is_asked_about_again_and_a_cancelled_one_is_not() -> None:
    class Losing(Suspending):
        lost = 0

        async def transact(self, customer: str, key: str, reads: Any, decide: Any) -> Any:
            result = await self._between("transact", customer, key, reads, decide)
            if key == "k" and self.lost < 2:
                self.lost += 1
                raise OutcomeUnknown(key)
            return result

    async def main() -> None:
        async with AsyncEntitlements(CATALOG, storage=Losing()) as ent:  # type: ignore[arg-type]
            await ent.subscribe("acme", "pro")
            assert (await ent.consume("acme", "calls", 2, key="k")).used == 2

    asyncio.run(main())
