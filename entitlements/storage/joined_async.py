"""Logs in PostgreSQL, inside a transaction that the host has open on a connection it awaits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

import psycopg
from psycopg.rows import tuple_row

from ..errors import StorageError
from ..ledger.entries import Batch, Entry
from ..ledger.records import Kept
from ..ledger.state import State
from . import postgres_readings as readings
from .base import Call, Decide, FeedPage, Outcome, Reads, Written
from .heads import Heads
from .hosts import Host, refuse_feed
from .joined_postgres import but_erasures, check_open
from .joined_trips import inside
from .keeping import bounded, plain
from .postgres_auditing import auditing_at_once, flaws_of_schema
from .postgres_connection import Texts, failure
from .postgres_identity import Identity, elsewhere, identifying, identities
from .postgres_statements import looking, writing
from .postgres_trips import Row, Steps, Trip
from .postgres_turns import seen_through

if TYPE_CHECKING:
    from .postgres import PostgresStorage
    from .postgres_async import AsyncPostgresStorage

R = TypeVar("R")
Home: TypeAlias = "PostgresStorage | AsyncPostgresStorage"


class AsyncJoinedPostgres:
    """What `JoinedPostgres` is, awaited. What is begun is seen through before whoever is cancelled is told.

    So a host that catches the cancellation and commits never commits a part of a batch. `home` is the storage
    whose logs are meant, None where that keeps them elsewhere.
    """

    def __init__(
        self, host: Callable[[], Host], home: Home | None = None, *, schema: str, write_timeout: float
    ) -> None:
        self._home = home
        self._host, self._schema, self._write_timeout = host, schema, write_timeout
        self._texts = Texts(schema)
        self._where = f"schema {schema} on the host's connection"
        check_open(host())

    async def transact(self, customer: str, key: str, reads: Reads, decide: Decide[R]) -> R:
        """Show `decide` the customer's state and append the batch it returns, to the host's transaction."""
        (outcome,) = await self.transact_all([Call(customer, key, reads, decide)])
        answer: R = outcome.answer()
        return answer

    async def transact_all(self, calls: Sequence[Call]) -> list[Outcome]:
        """Decide all calls in their order, each on what those before it have written."""
        return await self._run(writing(Heads(), self._schema, [*map(but_erasures, calls)], self._write_timeout))

    async def state(self, customer: str, reads: Reads) -> State:
        """Return the head as the host's transaction sees it, and the counters `reads` names."""
        lock = None if customer.startswith("$") else customer  # what all share is one row, and read at once
        return await self._run(looking(Heads(), customer, reads), lock)

    async def entries(self, customer: str, *, after: int = 0, limit: int = 1000) -> Sequence[Entry]:
        """Return entries in order of seq, those not committed yet among them."""
        return await self._run(readings.reading_entries(customer, bounded(after), bounded(limit)), customer)

    async def batches(self, customer: str, *, after: int = 0, limit: int = 1000) -> Sequence[Batch]:
        """Return whole batches in order of number, those not committed yet among them."""
        return await self._run(readings.reading_batches(customer, bounded(after), bounded(limit)), customer)

    async def batch(self, customer: str, key: str) -> Batch | None:
        """Return the batch of a key, None where there is none."""
        return await self._run(readings.reading_batch(customer, key), customer)

    async def customers(self, *, after: str | None = None, limit: int = 1000) -> Sequence[str]:
        """Return customer ids in order, those after `after`."""
        plain(after or "")
        return await self._run(readings.reading_customers(after, bounded(limit)))

    @asynccontextmanager
    async def kept(self, customer: str) -> AsyncIterator[Kept]:
        """Show all that is kept of a customer, for an audit: read already."""
        yield await self._run(auditing_at_once(customer), customer)

    async def flaws(self) -> Sequence[str]:
        """Return what is wrong with the schema as a whole."""
        return await self._run(flaws_of_schema(self._schema))

    async def feed(self, *, after: str | None = None, limit: int = 1000) -> FeedPage:  # noqa: ARG002
        """Raise ValueError: the feed tells only of what is committed."""
        refuse_feed()

    async def pulse(self) -> int:
        """Raise ValueError: there is no news of a transaction that is not committed."""
        refuse_feed()

    async def written(self, *, after: str | None) -> Written:  # noqa: ARG002
        """Raise ValueError: there is no news of a transaction that is not committed."""
        refuse_feed()

    async def close(self) -> None:
        """Do nothing: the connection is the host's."""

    async def _run(self, steps: Steps[R], customer: str | None = None) -> R:
        connection = check_open(self._host())
        taken = inside(steps, self._schema, self._write_timeout, customer)
        return await seen_through(self._at_home(connection, taken))

    async def _at_home(self, connection: psycopg.AsyncConnection[Any], taken: Steps[R]) -> R:
        """Take the steps; raises ValueError where the transaction is one in another database than the logs."""
        home = self._home
        if home is not None:
            if connection not in identities:
                identities[connection] = await self._taken(connection, identifying())
            here = identities[connection]
            if here.is_other(home.identity) and here.is_other(await _identified(home)):
                raise elsewhere(here, home.identity, home.where)
        return await self._taken(connection, taken)

    async def _taken(self, connection: psycopg.AsyncConnection[Any], taken: Steps[R]) -> R:
        try:
            trip = next(taken)
            while True:
                try:
                    rows = await self._sent(connection, trip)
                except BaseException as error:  # noqa: BLE001  (raised where the steps wait for the answer)
                    trip = taken.throw(error)
                else:
                    trip = taken.send(rows)
        except StopIteration as end:
            result: R = end.value
            return result

    async def _sent(self, connection: psycopg.AsyncConnection[Any], trip: Trip) -> list[list[Row]]:
        found = []
        try:
            async with psycopg.AsyncRawCursor(connection, row_factory=tuple_row) as cursor:
                for text, values in trip.statements:
                    await cursor.execute(self._texts[text], values)
                    found.append(await cursor.fetchall() if cursor.description else [])
        except psycopg.Error as error:
            fault: StorageError = failure(connection, trip, error, self._where)
            raise fault from error
        return found


async def _identified(home: Home) -> Identity:
    """Ask the storage anew which database it is in; one that blocks, in a thread."""
    if iscoroutinefunction(home.identify):
        found: Identity = await home.identify()
        return found
    return await asyncio.to_thread(cast("PostgresStorage", home).identify)
