"""Group commit on one event loop: those who wait for one customer are decided together, and share a commit.

It differs from `grouping` in who does the work. Here a task does, for as long as somebody waits for the
customer, so that cancelling one caller never takes another's write with it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, TypeAlias, TypeVar

from ..errors import OutcomeUnknown, StorageUnavailable
from .base import Call, Outcome

T = TypeVar("T")
Work: TypeAlias = Callable[[Sequence[Call], float], Awaitable[list[Outcome]]]
"""Decides calls and commits them together, by an instant of the loop's clock; raises for all of them, or none."""

MOST_TOGETHER: Final = 64


async def seen_through(work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` comes to; who is cancelled meanwhile is told so, but only once it has come to it."""
    task, cancelled = asyncio.ensure_future(work), False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        task.exception()
        raise asyncio.CancelledError
    return task.result()


class Turns:
    """Whose turn it is to write, customer by customer; for one event loop."""

    def __init__(self, work: Work, name: str, *, write_timeout: float, most: int = MOST_TOGETHER) -> None:
        self._work, self._name, self._write_timeout, self._most = work, name, write_timeout, most
        self._waiting: dict[str, deque[_Asked]] = {}
        self._working: set[asyncio.Task[None]] = set()

    async def carry_out(self, call: Call) -> Outcome:
        """Have a call decided and committed with those that wait for the same customer.

        Raises StorageUnavailable where its turn did not come in time. Who is cancelled while waiting
        withdraws the call; once it is being decided it is seen through first.
        """
        loop = asyncio.get_running_loop()
        asked = _Asked(call, loop.create_future(), loop.time() + self._write_timeout)
        waiting = self._waiting.get(call.customer)
        if waiting is None:
            waiting = self._waiting[call.customer] = deque()
            task = loop.create_task(self._lead(call.customer, waiting))
            self._working.add(task)
            task.add_done_callback(self._working.discard)
        waiting.append(asked)
        cancelled, left = False, float(self._write_timeout)
        while not asked.answer.done():
            try:
                await asyncio.wait([asked.answer], timeout=left if asked in waiting else None)
            except asyncio.CancelledError:
                cancelled = True
            left = asked.deadline - loop.time()
            if asked in waiting and (cancelled or left <= 0):
                waiting.remove(asked)
                break
        if cancelled:
            asked.answer.add_done_callback(asyncio.Future.cancelled)
            raise asyncio.CancelledError
        if not asked.answer.done():
            raise StorageUnavailable(f"{self._name} was busy for {self._write_timeout:g} s; nothing was written")
        return asked.answer.result()

    async def finish(self) -> None:
        """Wait until nobody is being served."""
        while self._working:
            await asyncio.wait(self._working)

    async def _lead(self, customer: str, waiting: deque[_Asked]) -> None:
        group: list[_Asked] = []
        try:
            while waiting:
                group = [waiting.popleft() for _ in range(min(self._most, len(waiting)))]
                await self._serve(group)
        finally:
            del self._waiting[customer]
            for asked in (*group, *waiting):
                asked.answer.cancel()  # where an answer is there already, this does nothing

    async def _serve(self, group: list[_Asked]) -> None:
        try:
            outcomes = await self._work([asked.call for asked in group], group[0].deadline)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  (it is the answer of whose it is)
            if len(group) == 1:
                group[0].fail(error)
                return
            for asked in group:
                asked.is_in_doubt = isinstance(error, OutcomeUnknown) or not isinstance(error, Exception)
                await self._serve([asked])
            return
        for asked, outcome in zip(group, outcomes, strict=True):
            asked.answer.set_result(outcome)


class _Asked:
    """A call, and whoever waits for it."""

    def __init__(self, call: Call, answer: asyncio.Future[Outcome], deadline: float) -> None:
        self.call, self.answer, self.deadline = call, answer, deadline
        self.is_in_doubt = False

    def fail(self, error: BaseException) -> None:
        """Answer with an error, as it stands for this call: what may be committed is in doubt."""
        if self.is_in_doubt and isinstance(error, StorageUnavailable):
            error = OutcomeUnknown(self.call.key)
        self.answer.set_exception(error)
