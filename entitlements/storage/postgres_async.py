"""Logs in PostgreSQL, awaited: what `PostgresStorage` is to threads, for one event loop."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from weakref import WeakSet

import psycopg
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from ..errors import StorageError, StorageUnavailable
from ..ledger.entries import Batch, Entry
from ..ledger.records import Kept
from ..ledger.state import State
from . import postgres_readings as readings
from .base import Call, Decide, FeedPage, Outcome, Reads, Written
from .heads import Heads
from .keeping import MOST_TOLD, bounded, patience, plain
from .postgres import migrate
from .postgres_auditing import auditing_at_once, flaws_of_schema
from .postgres_connection import (
    ASK_EVERY,
    OPTIONS,
    POOL,
    Late,
    Lost,
    Texts,
    exchange,
    failure,
    interruption,
    place_name,
)
from .postgres_identity import Identity, identifying_alone
from .postgres_readings import Place, cursor_of, place_of
from .postgres_schema import schema_name
from .postgres_signals import Signals
from .postgres_statements import looking, writing
from .postgres_trips import Row, Steps, Trip
from .postgres_turns import Turns, seen_through

R = TypeVar("R")
Connection = psycopg.AsyncConnection[Any]


class _Known(psycopg.AsyncConnection[Any]):
    """A connection that is known to whose pool it is opened for."""

    @classmethod
    async def connect(  # type: ignore[override]
        cls, conninfo: str = "", *, made: WeakSet[Connection], **options: Any
    ) -> _Known:
        connection = await super().connect(conninfo, **options)
        made.add(connection)
        return connection


Pool = AsyncConnectionPool[_Known]


class AsyncPostgresStorage:
    """Keeps logs in a schema of a PostgreSQL database, which is made if there is none; for one event loop at a time.

    Takes what `PostgresStorage` takes. Opening it connects once, to bring the tables up to date, and blocks
    meanwhile. The connections it works with belong to the event loop that uses it; once that is closed, another
    may. A commit that is under way is seen through before whoever is cancelled is told.
    """

    def __init__(
        self, conninfo: str, *, schema: str = "entitlements", write_timeout: float = 5.0, connections: int = 10
    ) -> None:
        self.schema = schema_name(schema)
        self.where = place_name(conninfo, schema)
        if connections < 1:
            raise ValueError(f"connections is {connections!r}; write how many may be open at once, 1 or more")
        self._conninfo, self._connections = conninfo, connections
        self._guard = threading.Lock()
        self._own: _Own | None = None
        self._write_timeout = patience(write_timeout)
        self._process = os.getpid()
        self._texts = Texts(schema)
        self._heads = Heads()
        self._closed = False
        self._signals = Signals(conninfo, self._texts)
        self._beaten: tuple[int, Place] | None = None
        self.identity = migrate(conninfo, self.schema, self.where, self._texts, self._write_timeout)

    async def transact(self, customer: str, key: str, reads: Reads, decide: Decide[R]) -> R:
        """Show `decide` the customer's state and append the batch it returns, all or nothing."""
        plain(customer, key)
        outcome = await self._of_this_loop().turns.carry_out(Call(customer, key, reads, decide))
        answer: R = outcome.answer()
        return answer

    async def transact_all(self, calls: Sequence[Call]) -> list[Outcome]:
        """Decide all calls in their order, append what they come to in one commit, and return what each came to."""
        plain(*(text for call in calls for text in (call.customer, call.key)))
        return await self._carry_out(calls, time.monotonic() + self._write_timeout) if calls else []

    async def state(self, customer: str, reads: Reads) -> State:
        """Return the last committed head and the counters `reads` names, of one instant; takes no lock."""
        plain(customer)
        return await self._run(lambda _: looking(self._heads, customer, reads))

    async def entries(self, customer: str, *, after: int = 0, limit: int = 1000) -> Sequence[Entry]:
        """Return entries in order of seq, which counts from 1 without gaps."""
        plain(customer)
        return await self._run(lambda _: readings.reading_entries(customer, bounded(after), bounded(limit)))

    async def batches(self, customer: str, *, after: int = 0, limit: int = 1000) -> Sequence[Batch]:
        """Return whole batches in order of number, which counts from 1 without gaps."""
        plain(customer)
        return await self._run(lambda _: readings.reading_batches(customer, bounded(after), bounded(limit)))

    async def batch(self, customer: str, key: str) -> Batch | None:
        """Return the batch of a key, None where there is none."""
        plain(customer, key)
        return await self._run(lambda _: readings.reading_batch(customer, key))

    async def feed(self, *, after: str | None = None, limit: int = 1000) -> FeedPage:
        """Return the batches of all customers that follow a cursor, each exactly once."""
        start = place_of(after)
        place, page, lag = await self._run(lambda _: readings.reading_feed(start, bounded(limit)))
        return FeedPage(page, cursor_of(place) if page else after, lag)

    async def customers(self, *, after: str | None = None, limit: int = 1000) -> Sequence[str]:
        """Return customer ids in order, those after `after`."""
        plain(after or "")
        return await self._run(lambda _: readings.reading_customers(after, bounded(limit)))

    @asynccontextmanager
    async def kept(self, customer: str) -> AsyncIterator[Kept]:
        """Show all that is kept of a customer, as of one instant, for an audit: read already."""
        yield await self._run(lambda _: auditing_at_once(customer))

    async def flaws(self) -> Sequence[str]:
        """Return what is wrong with the schema as a whole: triggers that are gone, rows of no log."""
        return await self._run(lambda _: flaws_of_schema(self.schema))

    async def identify(self) -> Identity:
        """Ask anew which database this is, since a server may be replaced while the process runs."""
        self.identity = await self._run(lambda _: identifying_alone())
        return self.identity

    async def pulse(self) -> int:
        """Return how many batches have come to light since it was first asked, whoever wrote them."""
        async with self._of_this_loop().beat:
            counted, place = self._beaten or (0, await self._run(lambda _: readings.reading_last()))
            new, settled, last = await self._run(lambda _: readings.reading_new(place))
            self._beaten = (counted + settled, last)
            if self._signals.wanted:
                async with self._connection(time.monotonic() + self._write_timeout) as connection:
                    self._signals.open(connection.pgconn)
            return counted + new

    def heard(self) -> int | None:
        """Return how often facts were committed since this process listens, None while it does not; asks nobody."""
        self._check_usable()
        return self._signals.told()

    async def written(self, *, after: str | None) -> Written:
        """Return whose logs have grown since a cursor; without one nobody's, and the cursor of the present."""
        if after is None:
            return Written({}, cursor_of(await self._run(lambda _: readings.reading_last())))
        start = place_of(after)
        grown, place = await self._run(lambda _: readings.reading_grown(start, MOST_TOLD))
        return Written(grown, cursor_of(place))

    async def close(self) -> None:
        """Let go of everything; using the storage afterwards raises StorageUnavailable.

        Waits for what is under way. Closing again does nothing.
        """
        if os.getpid() != self._process:
            return
        own = self._own
        if own is not None and not self._closed:
            own = self._of_this_loop()
        self._closed = True
        self._signals.close()
        if own is not None:
            await own.turns.finish()
            await own.pool.close()

    async def _carry_out(self, calls: Sequence[Call], deadline: float) -> list[Outcome]:
        return await self._run(lambda wait: writing(self._heads, self.schema, calls, wait), deadline)

    async def _run(self, steps: Callable[[float], Steps[R]], deadline: float | None = None) -> R:
        """Run a procedure on a connection, and on another where one was lost before anything was committed."""
        deadline, tries = deadline or time.monotonic() + self._write_timeout, self._connections + 1
        while True:
            tries -= 1
            try:
                async with self._connection(deadline) as connection:
                    return await self._driven(connection, steps(deadline - time.monotonic()))
            except Lost:
                if not tries or time.monotonic() >= deadline:
                    raise

    @asynccontextmanager
    async def _connection(self, deadline: float) -> AsyncIterator[Connection]:
        own = self._of_this_loop()
        await own.open()
        await self._stand_in_line(own.line, deadline)
        try:
            connection = await self._taken(own.pool, deadline)
            try:
                yield connection
            finally:
                await seen_through(_given_back(own.pool, connection))
        finally:
            own.line.release()

    async def _stand_in_line(self, line: asyncio.Semaphore, deadline: float) -> None:
        """Wait until a connection is free, or one more may be opened: so nobody waits in the pool for another's."""
        if not line.locked():
            await line.acquire()
            return
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                await line.acquire()
        except TimeoutError as error:
            raise self._none_in_time() from error

    async def _taken(self, pool: Pool, deadline: float) -> _Known:
        task = asyncio.current_task()
        asked_to_stop = 0 if task is None else task.cancelling()
        while True:
            try:
                connection = await pool.getconn(timeout=max(0.001, min(ASK_EVERY, deadline - time.monotonic())))
            except PoolTimeout as error:
                if time.monotonic() >= deadline:
                    raise self._none_in_time() from error
            except PoolClosed as error:
                raise StorageUnavailable(f"{self.where} is closed") from error
            else:
                break
        if task is not None and task.cancelling() > asked_to_stop:
            # the pool may have taken a connection and not the cancellation
            await seen_through(_given_back(pool, connection))
            raise asyncio.CancelledError
        return connection

    def _none_in_time(self) -> StorageUnavailable:
        return StorageUnavailable(f"{self.where}: no connection was had in time; nothing was written")

    def _of_this_loop(self) -> _Own:
        """Return what belongs to the running event loop; raises StorageError where another one that is open has it."""
        self._check_usable()
        loop = asyncio.get_running_loop()
        with self._guard:
            own = self._own
            if own is not None and own.loop is not loop:
                if not own.loop.is_closed():
                    raise StorageError(f"{self.where} is used by another event loop; open an engine in each")
                own.leave()
                own = None
            if own is None:
                turns = Turns(self._carry_out, self.where, write_timeout=self._write_timeout)
                own = self._own = _Own(loop, self._conninfo, self._connections, turns)
            return own

    async def _driven(self, connection: Connection, steps: Steps[R]) -> R:
        try:
            trip = next(steps)
            while True:
                work = _sent(connection, trip, self._texts, self.where)
                try:
                    found = await (work if trip.commits is None else seen_through(work))
                except StorageError as error:
                    trip = steps.throw(error)
                else:
                    trip = steps.send(found)
        except StopIteration as done:
            result: R = done.value
            return result

    def _check_usable(self) -> None:
        if os.getpid() != self._process:
            raise StorageError(f"{self.where} was opened before a fork; open the engine after it, in the child process")
        if self._closed:
            raise StorageUnavailable(f"{self.where} is closed")


class _Own:
    """What belongs to one event loop: the connections, and the places of those who wait."""

    def __init__(self, loop: asyncio.AbstractEventLoop, conninfo: str, connections: int, turns: Turns) -> None:
        self.loop, self.turns = loop, turns
        self.line, self.beat = asyncio.Semaphore(connections), asyncio.Lock()
        self._watching: asyncio.Future[None] | None = None
        self._made: WeakSet[Connection] = WeakSet()
        self.pool: Pool = AsyncConnectionPool(
            conninfo,
            connection_class=_Known,
            kwargs=OPTIONS | {"made": self._made},
            max_size=connections,
            open=False,
            **POOL,
        )

    async def open(self) -> None:
        """Open the pool, unless it is."""
        if self._watching is None:
            before = asyncio.all_tasks()
            await self.pool.open()
            self._watching = asyncio.ensure_future(_seen_ended(asyncio.all_tasks() - before))

    def leave(self) -> None:
        """Let go of every connection, once the loop is closed and nobody can use one."""
        for connection in self._made:
            connection.pgconn.finish()


async def _seen_ended(workers: set[asyncio.Task[Any]]) -> None:
    """Wait until a pool's tasks have ended, and see to it that they do when the loop ends.

    They may swallow a cancellation, and a loop that is to end cancels once and then waits for them.
    """
    try:
        await asyncio.wait(workers)
    except asyncio.CancelledError:
        while left := [worker for worker in workers if not worker.done()]:
            for worker in left:
                worker.cancel()
            await asyncio.wait(left, timeout=0.01)
        raise


async def _given_back(pool: Pool, connection: _Known) -> None:
    """Undo what is still open, and give the connection back; one on which that fails is closed."""
    try:
        if connection.pgconn.transaction_status != TransactionStatus.IDLE:
            await connection.rollback()
    except psycopg.Error:
        await connection.close()
    await pool.putconn(connection)


async def _sent(connection: Connection, trip: Trip, texts: Texts, where: str) -> list[list[Row]]:
    try:
        return await connection.wait(exchange(connection.pgconn, trip, texts, trip.until(time.monotonic())))
    except Late:
        await connection.close()
        raise StorageUnavailable(f"{where}: the server did not answer in time; nothing was written") from None
    except psycopg.Error as error:
        interrupt = interruption(error)
        if interrupt is not None:
            await connection.close()
            raise interrupt from None
        fault = failure(connection, trip, error, where)
        raise fault from error
    except BaseException:
        await connection.close()  # what it was doing when it was broken off is not known
        raise
