"""The awaited engine: how often it leaves the loop, what it shares with its host, and what it answers meanwhile."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from entitlements import (
    AsyncEntitlements,
    AsyncHold,
    CatalogError,
    EntitlementDenied,
    Entitlements,
    NotConfigured,
    Request,
    StorageUnavailable,
    acting_as,
    aio,
)
from entitlements.storage.memory import MemoryStorage
from entitlements.storage.threaded import Threaded
from entitlements.storage.threads import WRITERS, Threads
from entitlements.testing.blocking_engine import BlockingEngine

from .conftest import CATALOG, Suspending


@pytest.fixture
def hops(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every hop to a thread, as it is made."""
    made: list[str] = []
    start = Threads._start

    def counted(self: Threads, threads: ThreadPoolExecutor, function: Any) -> Any:
        made.append("read" if threads is self._readers else "write")
        return start(self, threads, function)

    monkeypatch.setattr(Threads, "_start", counted)
    return made


# --- hops


@pytest.mark.parametrize("address", ["memory:", "sqlite"])
def test_a_write_and_a_cold_read_take_one_hop_each(address: str, database: Path, hops: list[str]) -> None:
    async def main() -> None:
        async with AsyncEntitlements(
            CATALOG, storage=address if address == "memory:" else f"sqlite:///{database}"
        ) as ent:
            hops.clear()

            async def taken(work: Any) -> list[str]:
                await work
                made = hops.copy()
                hops.clear()
                return made

            assert await taken(ent.subscribe("acme", "pro")) == ["write"]
            assert await taken(ent.grant_credits("acme", "ai", 10, key="g")) == ["write"]
            assert await taken(ent.reserve_credits("acme", "ai", 3, key="h")) == ["write"]
            assert await taken(ent.settle("acme", "h", 3)) == ["write"]
            assert await taken(ent.refund("acme", "h", 1, key="r")) == ["write"]
            assert await taken(ent.sweep("acme")) == ["write"]
            assert await taken(ent.consume_many([Request("acme", "calls"), Request("b", "calls")])) == ["write"]
            ent._desk.cache.forget_all()
            assert await taken(ent.check("acme", "calls")) == ["read"]
            assert await taken(ent.check("acme", "calls", requested=3)) == ["read"]
            for read in (ent.snapshot, ent.explain, ent.entries, ent.head, ent.verify):
                asked = ("acme", "calls") if read == ent.explain else ("acme",)
                assert await taken(read(*asked)) == ["read"]
            assert await taken(ent.balance("acme", "ai")) == ["read"]

    asyncio.run(main())


def test_a_warm_check_never_leaves_the_loop(storage: Any, hops: list[str]) -> None:
    async def main() -> None:
        async with AsyncEntitlements(CATALOG, storage=storage) as ent:
            await ent.subscribe("acme", "pro")
            for feature in ("sso", "calls"):
                known = await ent.check("acme", feature)
                hops.clear()
                for check in (ent.check("acme", feature), ent.customer("acme").check(feature)):
                    with pytest.raises(StopIteration) as answered:
                        check.send(None)
                    assert answered.value.value is known
            assert hops == []

    asyncio.run(main())


def test_what_goes_through_all_customers_hops_for_each_step(hops: list[str]) -> None:
    async def main() -> None:
        async with AsyncEntitlements(CATALOG, storage="memory:") as ent:
            for name in ("a", "b", "c"):
                await ent.subscribe(name, "pro")
            await ent.check("a", "sso")
            hops.clear()
            assert await ent.sweep() == 0
            assert hops.count("write") == 3
            hops.clear()
            assert await ent.verify() == ()
            assert "write" not in hops
            assert hops.count("read") >= 4

    asyncio.run(main())


# --- what it shares with its host


def test_a_host_that_keeps_its_own_threads_busy_does_not_keep_answers_waiting() -> None:
    async def main() -> None:
        loop, go_on = asyncio.get_running_loop(), threading.Event()
        loop.set_default_executor(ThreadPoolExecutor(1))
        busy = loop.run_in_executor(None, go_on.wait, 30)
        async with AsyncEntitlements(CATALOG, storage="memory:") as ent:
            await ent.subscribe("acme", "pro")
            assert await ent.check("acme", "calls")
        assert not busy.done()
        go_on.set()
        assert await busy

    asyncio.run(main())


def test_questions_do_not_stand_in_line_behind_writes_and_closing_waits_for_none() -> None:
    go_on, waiting = threading.Event(), threading.Semaphore(0)

    class Stuck(MemoryStorage):
        def transact(self, customer: str, key: str, reads: Any, decide: Any) -> Any:
            if key == "stuck":
                waiting.release()
                assert go_on.wait(30)
            return super().transact(customer, key, reads, decide)

    async def main() -> None:
        ent = AsyncEntitlements(CATALOG, storage=Stuck(), write_timeout=0.05)
        await ent.subscribe("acme", "pro")
        stuck = [asyncio.create_task(ent.consume(f"c{n}", "calls", 1, key="stuck")) for n in range(WRITERS)]
        for _ in stuck:
            await asyncio.to_thread(waiting.acquire)
        assert (await ent.check("acme", "calls", requested=2)).allowed
        with pytest.raises(StorageUnavailable, match=r"no thread was free to write for 0\.05 s; nothing was written"):
            await ent.consume("acme", "calls", 1, key="never")
        queued = asyncio.create_task(ent.consume("acme", "calls", 1, key="withdrawn"))
        await asyncio.sleep(0)
        queued.cancel()
        with pytest.raises(asyncio.CancelledError):
            await queued
        assert [entry.kind for entry in await ent.entries("acme")] == ["subscribed"]
        await asyncio.wait_for(ent.close(), 10)
        go_on.set()
        ended = await asyncio.gather(*stuck, return_exceptions=True)
        assert {type(each) for each in ended} == {StorageUnavailable}

    asyncio.run(main())


def test_a_write_timeout_of_nothing_still_writes_where_a_thread_is_free() -> None:
    async def main() -> None:
        async with AsyncEntitlements(CATALOG, storage="memory:", write_timeout=0) as ent:
            assert await ent.subscribe("acme", "pro")

    asyncio.run(main())


def test_whoever_blocks_imports_nothing_of_asyncio() -> None:
    script = (
        "import sys; from entitlements import Entitlements\n"
        "ent = Entitlements({'features': {}, 'plans': {}}, storage='memory:'); ent.check('acme', 'sso')\n"
        "print({'asyncio', 'concurrent.futures', 'entitlements.aio'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("set()\n", "")


# --- loops, tasks, processes


def test_one_loop_after_another_and_two_at_once_use_one_engine(storage: Any) -> None:
    if isinstance(storage, Suspending):
        storage = MemoryStorage()
    ent = AsyncEntitlements(CATALOG, storage=storage)
    asyncio.run(_awaited(ent.subscribe("acme", "pro")))
    asyncio.run(_awaited(ent.check("acme", "sso")))

    async def used() -> None:
        for _ in range(20):
            await ent.consume("acme", "calls")
            await ent.check("acme", "calls")

    threads = [threading.Thread(target=lambda: asyncio.run(used())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asyncio.run(_awaited(ent.check("acme", "calls"))).used == 60
    assert asyncio.run(_awaited(ent.verify())) == ()
    asyncio.run(_awaited(ent.close()))
    with pytest.raises(StorageUnavailable, match="closed"):
        asyncio.run(_awaited(ent.consume("acme", "calls")))
    with pytest.raises(StorageUnavailable, match="closed"):
        asyncio.run(_awaited(ent.check("acme", "calls")))
    asyncio.run(_awaited(ent.close()))


async def _awaited(work: Any) -> Any:
    return await work


def test_two_hundred_tasks_on_one_customer_never_take_more_than_there_is(storage: Any) -> None:
    async def main() -> None:
        async with AsyncEntitlements(CATALOG, storage=storage) as ent:
            await ent.subscribe("acme", "pro")
            decisions = await asyncio.gather(*(ent.consume("acme", "calls", key=f"{n}") for n in range(200)))
            assert sum(decision.allowed for decision in decisions) == 150
            assert sorted(d.used for d in decisions if d) == list(range(1, 151))
            assert (await ent.check("acme", "calls")).used == 150
            assert await ent.verify() == ()

    asyncio.run(main())


def test_an_engine_opened_before_a_fork_says_so_in_the_child(tmp_path: Path) -> None:
    script = """
import asyncio, os, sys
from entitlements import AsyncEntitlements, StorageError
for storage in ("memory:", "sqlite:///app.db"):
    ent = AsyncEntitlements({"features": {"sso": {"type": "boolean"}}, "plans": {"pro": {}}}, storage=storage)
    asyncio.run(ent.subscribe("acme", "pro"))
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(ent.subscribe("other", "pro"))
        except StorageError as error:
            asyncio.run(ent.close())
            os._exit(0 if "fork" in str(error) else 3)
        os._exit(2)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == 0, status
    asyncio.run(ent.subscribe("still here", "pro"))
    asyncio.run(ent.close())
print("fine")
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("fine\n", "")


# --- waiting and not knowing


def test_a_check_that_cannot_read_in_time_answers_by_the_features_policy() -> None:
    async def main() -> None:
        storage = Suspending()
        async with AsyncEntitlements(CATALOG, storage=storage, timeout=0.05) as ent:  # type: ignore[arg-type]
            await ent.subscribe("acme", "pro")
            assert await ent.check("acme", "sso")
            storage.silent = True
            ent._desk.freshness.until = 0.0
            began = time.monotonic()
            unknown = await ent.check("stranger", "sso")
            assert time.monotonic() - began < 5
            assert (unknown.code, unknown.fallback) == ("storage_unavailable", True)
            assert (await ent.check("acme", "calls", requested=2)).code == "storage_unavailable"
            assert (await ent.check("acme", "open", requested=1, value=None, scope={"team": "x"})).fallback
            storage.silent = False
            assert (await ent.consume("acme", "calls", 2)).used == 2

    asyncio.run(main())


def test_a_blocking_storage_that_waits_is_told_for_how_long() -> None:
    told: list[float] = []

    class Waiting(MemoryStorage):
        waits = True
        away = False

        def state(self, customer: str, reads: Any, *, within: float | None = None) -> Any:
            told.append(-1.0 if within is None else within)
            if self.away:
                raise StorageUnavailable("nothing came in time")
            return super().state(customer, reads)

        def pulse(self, *, within: float | None = None) -> int:
            return super().pulse()

        def written(self, *, after: str | None, within: float | None = None) -> Any:
            return super().written(after=after)

    storage = Waiting()
    with Entitlements(CATALOG, storage=storage, timeout=0.25) as ent:
        ent.subscribe("acme", "pro")
        told.clear()
        assert ent.check("acme", "calls", requested=2)
        assert ent.balance("acme", "ai").total == 0
        assert 0 < told[0] <= 0.25
        assert told[1:] == [-1.0]
        storage.away = True
        assert ent.check("acme", "calls", requested=2).code == "storage_unavailable"


def test_an_awaited_storage_is_first_asked_when_the_engine_is_entered_or_used() -> None:
    async def main() -> None:
        storage = Suspending()
        ent = AsyncEntitlements(CATALOG, storage=storage)  # type: ignore[arg-type]
        assert storage.asked == []
        answers = await asyncio.gather(*(ent.consume("acme", "calls", 0) for _ in range(10)))
        assert len(answers) == 10
        await ent.close()
        changed = {**CATALOG.document, "credits": {"ai": {"scale": 4}}}
        storage = Suspending()
        async with AsyncEntitlements(CATALOG, storage=storage) as ent:  # type: ignore[arg-type]
            await ent.grant_credits("acme", "ai", 1, key="g")
            with pytest.raises(CatalogError, match="scale"):
                await AsyncEntitlements(changed, storage=storage).__aenter__()  # type: ignore[arg-type]

    asyncio.run(main())


def test_an_awaited_storage_is_not_for_the_blocking_engine() -> None:
    with pytest.raises(TypeError, match="Threaded is awaited; open AsyncEntitlements with it"):
        Entitlements(CATALOG, storage=Threaded(MemoryStorage()))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a storage or its address is needed, not int"):
        AsyncEntitlements(CATALOG, storage=5)  # type: ignore[arg-type]


# --- telling


def test_listeners_are_called_on_the_loop_before_the_verb_returns(storage: Any) -> None:
    async def main() -> None:
        seen: list[tuple[str, int]] = []
        async with AsyncEntitlements(CATALOG, storage=storage) as ent:
            ent.on("decision", lambda decision: seen.append((decision.feature, threading.get_ident())))
            await ent.subscribe("acme", "pro")
            for n in range(3):
                await ent.consume("acme", "calls")
                await ent.check("acme", "sso")
                assert len(seen) == 2 * n + 2
        assert {thread for _, thread in seen} == {threading.get_ident()}

    asyncio.run(main())


def test_a_listener_is_a_plain_function() -> None:
    async def listener(_: object) -> None: ...

    ent = AsyncEntitlements(CATALOG, storage="memory:")
    with pytest.raises(TypeError, match="a coroutine function; it is called, not awaited"):
        ent.on("decision", listener)  # type: ignore[arg-type]


# --- holds


def test_a_hold_is_awaited_or_entered_or_made_a_task(storage: Any) -> None:
    async def main() -> None:
        async with AsyncEntitlements(CATALOG, storage=storage) as ent:
            await ent.grant_credits("acme", "ai", 10, key="g")
            held = await ent.reserve_credits("acme", "ai", 4, key="h1")
            assert isinstance(held, AsyncHold)
            assert (held.id, bool(held), repr(held)) == ("h1", True, "AsyncHold('h1', open)")
            assert (await held.settle(3)).allowed
            async with ent.customer("acme").reserve_credits("ai", 4, key="h2") as held:
                held.report("1.50")
            assert held.result is not None
            async with asyncio.TaskGroup() as group:
                task = group.create_task(ent.reserve_credits("acme", "ai", 2, key="h3"))
            await task.result().release()
            with pytest.raises(EntitlementDenied):
                async with ent.reserve_credits("acme", "ai", 100, key="h4"):
                    raise AssertionError("the body of a denied hold never runs")
            with pytest.raises(ZeroDivisionError) as failed:
                async with ent.reserve_credits("acme", "ai", 2, key="h5"):
                    await ent.close()
                    raise ZeroDivisionError
            assert "hold 'h5' was not closed either" in failed.value.__notes__[0]

    asyncio.run(main())


def test_reserving_that_nobody_awaits_is_warned_about() -> None:
    ent = AsyncEntitlements(CATALOG, storage="memory:")

    def forgotten() -> None:
        ent.reserve_credits("acme", "ai", 4, key="h")
        gc.collect()

    with pytest.warns(RuntimeWarning, match="was never awaited"):
        forgotten()
    ent.reserve_credits("acme", "ai", 4, key="h").close()


# --- module functions


def test_the_module_functions_work_for_whom_is_acting() -> None:
    async def main() -> None:
        with pytest.raises(NotConfigured, match=r"await entitlements\.aio\.configure"):
            await aio.check("sso", customer="acme")
        first = await aio.configure(CATALOG, storage="memory:")
        await first.subscribe("acme", "pro")
        await first.grant_credits("acme", "ai", 10, key="g", scope={"team": "red"})
        with pytest.raises(LookupError, match="acting_as"):
            await aio.check("sso")
        with acting_as("acme", scope={"team": "red"}):
            assert await aio.check("sso")
            assert (await aio.consume_credits("ai", 4, key="k")).allowed
            assert not await aio.consume_credits("ai", 4, key="k2", customer="other")
        with pytest.raises(TypeError, match="takes no options; leave out clock"):
            await aio.configure(first, clock=None)
        second = await aio.configure(AsyncEntitlements(CATALOG, storage="memory:"))
        with pytest.raises(StorageUnavailable):
            await first.entries("acme")
        await aio.configure(CATALOG, storage="memory:")
        assert list(await second.entries("acme")) == []

    try:
        asyncio.run(main())
    finally:
        aio.gating._Default.engine = aio.gating._Default.opened = None


# --- the adapter the tests of the engine use


def test_the_engine_that_blocks_on_an_awaited_one_is_closed_like_any_other() -> None:
    with BlockingEngine(CATALOG, storage="memory:") as ent:
        ent.subscribe("acme", "pro")
        assert ent.customer("acme").check("sso")
    with pytest.raises(StorageUnavailable):
        ent.entries("acme")
    ent.close()
