"""A storage that blocks, awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import attrs

from ..ledger.entries import Batch, Entry
from ..ledger.records import Kept
from ..ledger.state import State
from .base import Call, Decide, FeedPage, Outcome, Reads, Storage, Written
from .threads import Threads

R = TypeVar("R")


class Threaded:
    """An AsyncStorage whose every method is that of a Storage, in a thread of its own few.

    A `transact` that has begun is seen through however often its caller is cancelled. `write_timeout`
    bounds the wait for a thread, in seconds, before the storage's own wait begins.
    """

    def __init__(self, storage: Storage, *, write_timeout: float = 5.0) -> None:
        self._storage = storage
        self._threads = Threads(write_timeout=write_timeout)

    async def transact(self, customer: str, key: str, reads: Reads, decide: Decide[R]) -> R:
        """Show `decide` the customer's state and append the batch it returns, all or nothing."""
        return await self._threads.write(partial(self._storage.transact, customer, key, reads, decide))

    async def transact_all(self, calls: Sequence[Call]) -> list[Outcome]:
        """Decide all calls in their order, append what they come to in one commit, and return what each came to."""
        return await self._threads.write(partial(self._storage.transact_all, calls))

    async def state(self, customer: str, reads: Reads) -> State:
        """Return the last committed head and the counters `reads` names, of one instant; takes no lock."""
        return await self._threads.read(partial(self._storage.state, customer, reads))

    async def entries(self, customer: str, *, after: int = 0, limit: int = 1000) -> Sequence[Entry]:
        """Return entries in order of seq, which counts from 1 without gaps."""
        return await self._threads.read(partial(self._storage.entries, customer, after=after, limit=limit))

    async def batches(self, customer: str, *, after: int = 0, limit: int = 1000) -> Sequence[Batch]:
        """Return whole batches in order of number, which counts from 1 without gaps."""
        return await self._threads.read(partial(self._storage.batches, customer, after=after, limit=limit))

    async def batch(self, customer: str, key: str) -> Batch | None:
        """Return the batch of a key, None where there is none; a batch never changes, save by an erasure."""
        return await self._threads.read(partial(self._storage.batch, customer, key))

    async def feed(self, *, after: str | None = None, limit: int = 1000) -> FeedPage:
        """Return the batches of all customers that follow a cursor, each exactly once."""
        return await self._threads.read(partial(self._storage.feed, after=after, limit=limit))

    async def customers(self, *, after: str | None = None, limit: int = 1000) -> Sequence[str]:
        """Return customer ids in order, those after `after`."""
        return await self._threads.read(partial(self._storage.customers, after=after, limit=limit))

    @asynccontextmanager
    async def kept(self, customer: str) -> AsyncIterator[Kept]:
        """Show all that is kept of a customer, as of one instant, for an audit."""
        yield await self._threads.read(partial(self._read, customer))

    async def flaws(self) -> Sequence[str]:
        """Return what is wrong with the storage as a whole: logs without a head, rows of no log, broken files."""
        return await self._threads.read(self._storage.flaws)

    async def pulse(self) -> int:
        """Return a number that changes with every commit, whoever made it, and with nothing else; cheap."""
        return await self._threads.read(self._storage.pulse)

    async def written(self, *, after: str | None) -> Written:
        """Return whose logs have grown since a cursor; without one nobody's, and the cursor of the present."""
        return await self._threads.read(partial(self._storage.written, after=after))

    async def close(self) -> None:
        """Let go of everything; using the storage afterwards raises StorageUnavailable."""
        await self._threads.end(self._storage.close)

    def _read(self, customer: str) -> Kept:
        with self._storage.kept(customer) as kept:
            return attrs.evolve(kept, records=iter([*kept.records]), counters=iter([*kept.counters]))
