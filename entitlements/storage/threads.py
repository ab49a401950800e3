"""Threads for a storage that blocks, so that an event loop does not.

They are an engine's own. The default threads of a loop are its host's: a busy host would keep answers
waiting there, and writes that wait for a lock would take the threads the host counts on. Some read and more
write, apart, so that no question stands in line behind writes that wait for their turn.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Final, TypeVar

from ..errors import StorageError, StorageUnavailable

T = TypeVar("T")
READERS: Final = 8
WRITERS: Final = 32


class Threads:
    """Runs functions in threads for any event loop; `write_timeout` bounds the wait for a thread, in seconds."""

    def __init__(self, *, write_timeout: float = 5.0) -> None:
        self._process = os.getpid()
        self._write_timeout = write_timeout
        self._lock = threading.Lock()
        self._writing = 0
        self._readers = ThreadPoolExecutor(READERS, "entitlements-read")
        self._writers = ThreadPoolExecutor(WRITERS, "entitlements-write")

    async def read(self, function: Callable[[], T]) -> T:
        """Return what a function returns that changes nothing; a cancellation leaves it to itself."""
        return await asyncio.wrap_future(self._start(self._readers, function))

    async def write(self, function: Callable[[], T]) -> T:
        """Return what a function returns that writes; once it has begun, a cancellation waits for its end.

        Cancelled before, it does not begin. Raises StorageUnavailable, with nothing begun, where no thread
        was free within `write_timeout`.
        """
        work = self._start(self._writers, function)
        answer = asyncio.wrap_future(work)
        try:
            await asyncio.wait({answer}, timeout=self._patience(work))
        except asyncio.CancelledError:
            if not work.cancel():
                await _ended(answer)
            raise
        if not answer.done() and work.cancel():
            raise StorageUnavailable(f"no thread was free to write for {self._write_timeout:g} s; nothing was written")
        return await seen_through(answer)

    async def end(self, last: Callable[[], None]) -> None:
        """Take no more work, run one last function, and see it through; what was taken before is done as well."""
        if os.getpid() == self._process:
            self._readers.shutdown(wait=False)
            self._writers.shutdown(wait=False)
            alone = ThreadPoolExecutor(1, "entitlements-close")
            work = asyncio.wrap_future(alone.submit(last))
            alone.shutdown(wait=False)
            await seen_through(work)

    def _patience(self, work: Future[T]) -> float | None:
        """Return for how long a thread may be waited for; None where one is free."""
        with self._lock:
            self._writing += 1
            crowded = self._writing > WRITERS
        work.add_done_callback(self._written)
        return self._write_timeout if crowded else None

    def _written(self, _: Future[T]) -> None:
        with self._lock:
            self._writing -= 1

    def _start(self, threads: ThreadPoolExecutor, function: Callable[[], T]) -> Future[T]:
        if os.getpid() != self._process:
            raise StorageError("the engine was opened before a fork; open another after it, in the child process")
        try:
            return threads.submit(copy_context().run, function)
        except RuntimeError:
            raise StorageUnavailable("this engine is closed; open another") from None


async def seen_through(work: asyncio.Future[T]) -> T:
    """Return the result of work that is not to be broken off: a cancellation is raised once it is over."""
    try:
        await asyncio.wait({work})
    except asyncio.CancelledError:
        await _ended(work)
        raise
    return work.result()


async def _ended(work: asyncio.Future[T]) -> None:
    """Wait for work to end, however often cancelled; what it comes to is nobody's any more."""
    while not work.done():
        try:
            await asyncio.wait({work})
        except asyncio.CancelledError:  # one is under way already, and will be raised
            continue
    if not work.cancelled():
        work.exception()
