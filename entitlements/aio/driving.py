"""Driving: how the steps of an engine's procedures are taken without blocking the event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, Protocol, TypeAlias, TypeVar, cast

from ..desk import Desk
from ..errors import StorageError, StorageUnavailable
from ..ledger.entries import Batch
from ..steps import Ask, Audit, Failed, Heard, Log, Step, Steps, run
from ..storage.base import AsyncStorage, Storage
from ..storage.threads import Threads

logger = logging.getLogger("entitlements")
T = TypeVar("T")

Answer: TypeAlias = Callable[[Step], Awaitable[Any]]


async def drive(steps: Steps[T], answer: Answer, failed: Failed | None = None) -> T:
    """Drive steps to their end, awaiting each answer, and return what they come to; see `steps.run`."""
    try:
        step = next(steps)
        while True:
            try:
                found = await answer(step)
            except BaseException as error:  # noqa: BLE001  (raised where the steps wait for the answer)
                if failed is not None and isinstance(error, StorageError):
                    failed(error)
                step = steps.throw(error)
            else:
                step = steps.send(found)
    except StopIteration as end:
        return cast("T", end.value)
    finally:
        steps.close()


class Driver(Protocol):
    """Takes the steps of procedures with one storage."""

    @property
    def storage(self) -> Storage | AsyncStorage:
        """The storage."""
        ...

    def open(self, steps: Steps[None]) -> None:
        """Take the first steps of an engine where that can be done without awaiting, else leave them for later."""
        ...

    def drop(self) -> None:
        """Let go of a storage with which nothing could be opened."""
        ...

    async def read(self, steps: Steps[T]) -> T:
        """Take the steps of a procedure that writes nothing; may be broken off at any of them."""
        ...

    async def write(self, steps: Steps[T]) -> T:
        """Take the steps of a procedure that writes; a commit under way is never broken off."""
        ...

    async def walk(self, steps: Steps[T]) -> T:
        """Take the steps of a procedure that goes through all customers; may be broken off between any two."""
        ...

    def call(self, told: Callable[[], None]) -> None:
        """Call what tells listeners, on the event loop of whoever asked."""
        ...

    async def close(self) -> None:
        """Let go of the storage."""
        ...


class Awaiting:
    """What the verbs of an engine that is awaited stand on: a desk, and what drives its steps."""

    _desk: Desk
    _driver: Driver


def driver_of(storage: Storage | AsyncStorage, *, write_timeout: float, failed: Failed) -> Driver:
    """Return what drives steps with a storage, of either kind; `failed` is told of the storage's errors."""
    if iscoroutinefunction(storage.transact):
        return Awaited(cast("AsyncStorage", storage), write_timeout=write_timeout, failed=failed)
    return InThreads(cast("Storage", storage), write_timeout=write_timeout, failed=failed)


class InThreads:
    """Drives with a storage that blocks: a whole procedure in one hop to a thread and back."""

    def __init__(self, storage: Storage, *, write_timeout: float, failed: Failed) -> None:
        self._storage = self.storage = storage
        self._failed = failed
        self._threads = Threads(write_timeout=write_timeout)
        self._asker = threading.local()

    def open(self, steps: Steps[None]) -> None:
        """Take the steps here and now, so that an engine that cannot be opened is not there."""
        run(steps, self._storage, self._failed)

    def drop(self) -> None:
        """Let go of the storage."""
        self._storage.close()

    async def read(self, steps: Steps[T]) -> T:
        """Take all steps in one thread, and leave them to it if cancelled."""
        return await self._threads.read(self._hop(partial(run, steps, self._storage, self._failed)))

    async def write(self, steps: Steps[T]) -> T:
        """Take all steps in one thread, and wait for their end if cancelled after they began."""
        return await self._threads.write(self._hop(partial(run, steps, self._storage, self._failed)))

    async def walk(self, steps: Steps[T]) -> T:
        """Take each step in a thread, and none after a cancellation."""
        return await drive(steps, self._answer, self._failed)

    def call(self, told: Callable[[], None]) -> None:
        """Call on the loop that waits for this thread, or at once where none does."""
        loop: asyncio.AbstractEventLoop | None = getattr(self._asker, "loop", None)
        if loop is None:
            told()
            return
        try:
            loop.call_soon_threadsafe(told)
        except RuntimeError:
            logger.warning("an event was not told: the event loop was closed before")

    async def close(self) -> None:
        """Let go of the storage, and of the threads."""
        await self._threads.end(self._storage.close)

    async def _answer(self, step: Step) -> Any:
        writes = isinstance(step, Ask) and step.method in {"transact", "transact_all"}
        hop = self._threads.write if writes else self._threads.read
        return await hop(self._hop(partial(step.answer, self._storage)))

    def _hop(self, work: Callable[[], T]) -> Callable[[], T]:
        loop = asyncio.get_running_loop()

        def hopped() -> T:
            self._asker.loop = loop
            try:
                return work()
            finally:
                self._asker.loop = None

        return hopped


class Awaited:
    """Drives with a storage that is awaited, step by step; what takes long without it goes to a thread."""

    def __init__(self, storage: AsyncStorage, *, write_timeout: float, failed: Failed | None = None) -> None:
        self._storage = self.storage = storage
        self._failed = failed
        self._threads = Threads(write_timeout=write_timeout)

    def open(self, steps: Steps[None]) -> None:
        """Leave the steps to the first verb: nothing can be awaited here."""
        steps.close()

    def drop(self) -> None:
        """Do nothing: no storage was asked for anything yet."""

    async def read(self, steps: Steps[T]) -> T:
        """Await each step; the storage sees to it that nothing is left behind by a cancellation."""
        return await drive(steps, self._answer, self._failed)

    write = walk = read

    def call(self, told: Callable[[], None]) -> None:
        """Call at once: this is the loop."""
        told()

    async def close(self) -> None:
        """Let go of the storage, and of the threads."""
        try:
            await self._storage.close()
        finally:
            await self._threads.end(_nothing)

    async def _answer(self, step: Step) -> Any:
        match step:
            case Ask():
                return await self._asked(step)
            case Heard():
                return step.answer(self._storage)
            case Log():
                batches = await self._batches(step.customer)
                return await self._threads.read(partial(step.use, iter(batches)))
            case Audit():
                async with self._storage.kept(step.customer) as kept:
                    return await self._threads.read(partial(step.use, kept))
            case _:
                return await self._threads.read(step.function)

    async def _asked(self, step: Ask) -> Any:
        patience = asyncio.timeout(step.within)
        try:
            async with patience:
                return await getattr(self._storage, step.method)(*step.arguments, **step.named)
        except TimeoutError:
            if not patience.expired():
                raise
            raise StorageUnavailable(f"the storage said nothing within {step.within:.3g} s") from None

    async def _batches(self, customer: str) -> list[Batch]:
        batches: list[Batch] = []
        while page := await self._storage.batches(customer, after=batches[-1].number if batches else 0):
            batches.extend(page)
        return batches


def _nothing() -> None:
    return
