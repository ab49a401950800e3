"""An awaited storage, waited for, so that one and the same contract is put to both."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from ..ledger.records import Kept

T = TypeVar("T")


class Blocking:
    """A Storage whose every method waits for that of an asynchronous one, on an event loop in a thread of its own.

    Any thread may use it; what they ask for at the same time runs at the same time on the loop.
    """

    def __init__(self, storage: Any) -> None:
        self.storage = storage
        self._loop = asyncio.new_event_loop()
        self._is_over = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.storage, name)
        if not asyncio.iscoroutinefunction(method):
            return method
        return lambda *values, **options: self.wait(method(*values, **options))

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what a coroutine comes to on the loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    @contextmanager
    def kept(self, customer: str) -> Iterator[Kept]:
        """Show all that is kept of a customer."""
        shown = self.storage.kept(customer)
        kept = self.wait(shown.__aenter__())
        try:
            yield kept
        finally:
            self.wait(shown.__aexit__(None, None, None))

    def end(self) -> None:
        """Stop the loop, once the storage is closed."""
        self._is_over = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        while not self._is_over:
            try:
                self._loop.run_forever()
            except (KeyboardInterrupt, SystemExit):
                continue  # it has the caller's name on it, and is raised there
