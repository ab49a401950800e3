"""An engine that is awaited, waited for, so that one and the same tests are put to both."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from types import TracebackType
from typing import Any, Self

from ..aio.bound import AsyncCustomer
from ..aio.engine import AsyncEntitlements
from ..aio.holds import AsyncHold

Wait = Callable[[Awaitable[Any]], Any]


class Waited:
    """Something whose methods are awaited, with methods that wait."""

    def __init__(self, subject: Any, wait: Wait) -> None:
        self._subject, self._wait = subject, wait

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._subject, name)
        return self._waiting(found) if callable(found) else found

    def __bool__(self) -> bool:
        return bool(self._subject)

    def __repr__(self) -> str:
        return repr(self._subject)

    def __enter__(self) -> Self:
        self._wait(self._subject.__aenter__())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._wait(self._subject.__aexit__(kind, error, at))

    async def __aenter__(self) -> Self:
        await self._subject.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._subject.__aexit__(kind, error, at)

    def _waiting(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def waited(*arguments: Any, **options: Any) -> Any:
            result = method(*arguments, **options)
            result = self._wait(result) if isawaitable(result) else result
            return Waited(result, self._wait) if isinstance(result, AsyncHold | AsyncCustomer) else result

        return waited


class BlockingEngine(Waited):
    """An AsyncEntitlements with the verbs of an Entitlements, each awaited on an event loop in a thread of its own.

    Any thread may use it; what several ask for at the same time runs at the same time on the loop.
    """

    def __init__(self, catalog: object, **options: Any) -> None:
        engine = AsyncEntitlements(catalog, **options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        super().__init__(engine, self._run_on_loop)

    @property
    def _storage(self) -> Any:
        return self._subject._driver._storage

    def close(self) -> None:
        """Close the engine, and stop the loop."""
        if not self._loop.is_closed():
            self._wait(self._subject.close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _run_on_loop(self, work: Awaitable[Any]) -> Any:
        if threading.current_thread() is self._thread:
            raise RuntimeError("the loop cannot wait for itself: what runs on it awaits the engine")

        async def awaited() -> Any:
            return await work

        if self._loop.is_closed():
            return asyncio.run(awaited())
        return asyncio.run_coroutine_threadsafe(awaited(), self._loop).result()
