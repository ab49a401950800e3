"""The hold a caller has in hand: settle it, release it, or work inside it.

    async with ent.reserve_credits("acme", "ai", 40, key="job-7") as hold:
        answer = await model(prompt)
        hold.report(answer.cost)

What was reported is charged, and what is left of the hold returns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator, Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from ..amounts import Amount
from ..decisions import Decision
from ..holds import HeldWork
from ..storage.threads import seen_through
from ..usage import TokenUsage


class AsyncSettles(Protocol):
    """What settles and releases holds by their id, awaited."""

    async def settle(
        self, customer: str, hold_id: str, amount: Amount | Mapping[str, Amount] | TokenUsage
    ) -> Decision:
        """Charge what the work came to."""
        ...

    async def release(self, customer: str, hold_id: str) -> Decision:
        """Give everything back."""
        ...


class AsyncHold(HeldWork):
    """Credits or usage set aside; false when denied. `id` is the key, `decision` the answer to reserving.

    As an async context manager a denied hold raises EntitlementDenied on entering, and one that was
    released before, also by an earlier attempt under its key, HoldClosed. A normal exit settles what was
    reported, else the whole hold; an exception, a cancellation or an interrupt settles what was
    reported, else releases, and stays the one that is raised. A cancellation meanwhile waits until the hold
    is closed. `result` is the decision that closed it.
    """

    def __init__(
        self,
        engine: AsyncSettles,
        customer: str,
        hold_id: str,
        decision: Decision,
        kinds: Mapping[str, Amount] | None = None,
        closed: str | None = None,
    ) -> None:
        super().__init__(customer, hold_id, decision, kinds, closed)
        self._engine = engine

    async def settle(self, amount: Amount | Mapping[str, Amount] | TokenUsage) -> Decision:
        """Charge what the work came to; less than was held gives the rest back, more draws on."""
        self.result = await self._engine.settle(self.customer, self.id, amount)
        return self.result

    async def release(self) -> Decision:
        """Give everything back."""
        self.result = await self._engine.release(self.customer, self.id)
        self._closed = "released"
        return self.result

    async def __aenter__(self) -> Self:
        self._check_enterable()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self.result is not None:
            return
        try:
            await seen_through(asyncio.ensure_future(self._close(failed=error is not None)))
        except Exception as fault:
            if error is None:
                raise
            self._note(error, fault)

    async def _close(self, *, failed: bool) -> None:
        due = self._due(failed=failed)
        if due is None:
            await self.release()
        else:
            await self.settle(due)


class Reserving(Coroutine[Any, Any, AsyncHold]):
    """A hold about to be reserved: await it for the hold, or work inside it by `async with`."""

    def __init__(self, reserving: Coroutine[Any, Any, AsyncHold]) -> None:
        self._reserving = reserving
        self._hold: AsyncHold | None = None

    def __await__(self) -> Generator[Any, Any, AsyncHold]:
        return self._reserving.__await__()

    def send(self, value: Any) -> Any:
        """Go on, as a coroutine does; so it can be a task."""
        return self._reserving.send(value)

    def throw(self, *error: Any) -> Any:
        """Raise where it waits, as a coroutine does."""
        return self._reserving.throw(*error)

    def close(self) -> None:
        """Give up, as a coroutine does."""
        self._reserving.close()

    async def __aenter__(self) -> AsyncHold:
        """Reserve, and return the hold; cancelled meanwhile, what was reserved is given back first."""
        reserving = asyncio.ensure_future(self._reserving)
        try:
            self._hold = await seen_through(reserving)
        except asyncio.CancelledError as cancelled:
            if not reserving.cancelled() and reserving.exception() is None and reserving.result():
                await reserving.result().__aexit__(type(cancelled), cancelled, None)
            raise
        return await self._hold.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._hold is not None:
            await self._hold.__aexit__(kind, error, at)
