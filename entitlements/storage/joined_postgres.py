"""Logs in PostgreSQL, inside a transaction that the host has open: the customer's lock is held until it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.rows import tuple_row

from ..ledger.entries import Batch, Entry
from ..ledger.records import Kept
from ..ledger.state import State, is_erasure
from . import postgres_readings as readings
from .base import Call, Decide, FeedPage, Outcome, Reads, Written
from .heads import Heads
from .hosts import Host, refuse_erasure, refuse_feed
from .joined_trips import inside
from .keeping import bounded, plain
from .postgres_auditing import auditing_at_once, flaws_of_schema
from .postgres_connection import Texts, failure
from .postgres_identity import elsewhere, identifying, identities
from .postgres_statements import looking, writing
from .postgres_trips import Row, Steps, Trip

if TYPE_CHECKING:
    from .postgres import PostgresStorage

R = TypeVar("R")


class JoinedPostgres:
    """The logs of a schema as the host's open transaction sees them; what is written is the host's to commit.

    `host` finds the driver's connection anew for each call, so that one whose transaction is over is
    refused. Nothing is remembered from one call to the next.
    """

    def __init__(self, host: Callable[[], Host], *, schema: str, write_timeout: float) -> None:
        self._host, self._schema, self._write_timeout = host, schema, write_timeout
        self._texts = Texts(schema)
        self._where = f"schema {schema} on the host's connection"
        check_open(host())

    def check_home(self, home: PostgresStorage) -> None:
        """Raise ValueError where the host's transaction is one in another database than the logs of a storage."""
        connection = check_open(self._host())
        if connection not in identities:
            identities[connection] = self._driven(connection, identifying())
        here = identities[connection]
        if here.is_other(home.identity) and here.is_other(home.identify()):
            raise elsewhere(here, home.identity, home.where)

    def transact(self, customer: str, key: str, reads: Reads, decide: Decide[R]) -> R:
        """Show `decide` the customer's state and append the batch it returns, to the host's transaction."""
        (outcome,) = self.transact_all([Call(customer, key, reads, decide)])
        answer: R = outcome.answer()
        return answer

    def transact_all(self, calls: Sequence[Call]) -> list[Outcome]:
        """Decide all calls in their order, each on what those before it have written."""
        return self._run(writing(Heads(), self._schema, [*map(but_erasures, calls)], self._write_timeout))

    def state(self, customer: str, reads: Reads) -> State:
        """Return the head as the host's transaction sees it, and the counters `reads` names."""
        lock = None if customer.startswith("$") else customer  # what all share is one row, and read at once
        return self._run(looking(Heads(), customer, reads), lock)

    def entries(self, customer: str, *, after: int = 0, limit: int = 1000) -> Sequence[Entry]:
        """Return entries in order of seq, those not committed yet among them."""
        return self._run(readings.reading_entries(customer, bounded(after), bounded(limit)), customer)

    def batches(self, customer: str, *, after: int = 0, limit: int = 1000) -> Sequence[Batch]:
        """Return whole batches in order of number, those not committed yet among them."""
        return self._run(readings.reading_batches(customer, bounded(after), bounded(limit)), customer)

    def batch(self, customer: str, key: str) -> Batch | None:
        """Return the batch of a key, None where there is none."""
        return self._run(readings.reading_batch(customer, key), customer)

    def customers(self, *, after: str | None = None, limit: int = 1000) -> Sequence[str]:
        """Return customer ids in order, those after `after`."""
        plain(after or "")
        return self._run(readings.reading_customers(after, bounded(limit)))

    @contextmanager
    def kept(self, customer: str) -> Iterator[Kept]:
        """Show all that is kept of a customer, for an audit: read already."""
        yield self._run(auditing_at_once(customer), customer)

    def flaws(self) -> Sequence[str]:
        """Return what is wrong with the schema as a whole."""
        return self._run(flaws_of_schema(self._schema))

    def feed(self, *, after: str | None = None, limit: int = 1000) -> FeedPage:  # noqa: ARG002
        """Raise ValueError: the feed tells only of what is committed."""
        refuse_feed()

    def pulse(self) -> int:
        """Raise ValueError: there is no news of a transaction that is not committed."""
        refuse_feed()

    def written(self, *, after: str | None) -> Written:  # noqa: ARG002
        """Raise ValueError: there is no news of a transaction that is not committed."""
        refuse_feed()

    def close(self) -> None:
        """Do nothing: the connection is the host's."""

    def _run(self, steps: Steps[R], customer: str | None = None) -> R:
        connection = check_open(self._host())
        return self._driven(connection, inside(steps, self._schema, self._write_timeout, customer))

    def _driven(self, connection: psycopg.Connection[Any], taken: Steps[R]) -> R:
        try:
            trip = next(taken)
            while True:
                try:
                    rows = self._sent(connection, trip)
                except BaseException as error:  # noqa: BLE001  (raised where the steps wait for the answer)
                    trip = taken.throw(error)
                else:
                    trip = taken.send(rows)
        except StopIteration as end:
            result: R = end.value
            return result

    def _sent(self, connection: psycopg.Connection[Any], trip: Trip) -> list[list[Row]]:
        try:
            with psycopg.RawCursor(connection, row_factory=tuple_row) as cursor:
                return [rows_of(cursor.execute(self._texts[text], values)) for text, values in trip.statements]
        except psycopg.Error as error:
            raise failure(connection, trip, error, self._where) from error


def rows_of(cursor: psycopg.Cursor[Any]) -> list[Row]:
    """Return the rows of a statement, none for one that answers nothing."""
    return cursor.fetchall() if cursor.description else []


def check_open(host: Host) -> Any:
    """Return the driver's connection; raises ValueError unless the host has a transaction open on it."""
    raw, status = host.raw, host.raw.info.transaction_status
    if raw.info.pipeline_status != PipelineStatus.OFF:
        raise ValueError("this connection is in pipeline mode, in which answers come later; leave its pipeline first")
    if status == TransactionStatus.INERROR:
        raise ValueError("the transaction on this connection has failed; roll it back and begin another")
    begins = host.begins and not raw.autocommit and status == TransactionStatus.IDLE
    if status != TransactionStatus.INTRANS and not begins:
        raise ValueError("no transaction is open on this connection; begin one first, with connection.transaction()")
    return raw


def but_erasures(call: Call) -> Call:
    """Return the call, which raises ValueError where it would erase."""

    def decide(state: State) -> Any:
        verdict = call.decide(state)
        if verdict.batch is not None and is_erasure(verdict.batch):
            refuse_erasure(call.customer)
        return verdict

    return Call(call.customer, call.key, call.reads, decide)
