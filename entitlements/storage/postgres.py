"""Logs in PostgreSQL: any number of machines, each embedding the library, agree through the database."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

import attrs
import psycopg
from psycopg.conninfo import conninfo_to_dict, timeout_from_conninfo

from ..errors import StorageError, StorageUnavailable
from ..ledger.entries import Batch, Entry
from ..ledger.records import Kept
from ..ledger.state import State
from . import postgres_readings as readings
from .base import Call, Decide, FeedPage, Outcome, Reads, Written
from .grouping import Take, Turns
from .heads import Heads
from .keeping import MOST_TOLD, bounded, patience, plain
from .postgres_auditing import auditing, counter_page, flaws_of_schema, record_page
from .postgres_connection import (
    OPTIONS,
    Late,
    Lost,
    Texts,
    exchange,
    failure,
    interruption,
    place_name,
    refused,
)
from .postgres_identity import Identity, identifying_alone
from .postgres_pool import Lending
from .postgres_readings import Place, cursor_of, place_of
from .postgres_schema import migrating, schema_name
from .postgres_signals import Signals
from .postgres_statements import looking, writing
from .postgres_trips import Row, Steps, Trip

R = TypeVar("R")

_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 0.5
"""Seconds between two tries to open: after the first, and at most."""


class PostgresStorage:
    """Keeps logs in a schema of a PostgreSQL database, which is made if there is none.

    `conninfo` is an address or a connection string as psycopg takes it. `write_timeout` bounds the wait
    for a connection and for the customer's lock together, in seconds, and that for a server which is away
    as it is opened; `connections` how many are open at once. Any thread may use it; a forked child opens
    its own.
    """

    waits: Final = True

    def __init__(
        self, conninfo: str, *, schema: str = "entitlements", write_timeout: float = 5.0, connections: int = 10
    ) -> None:
        self.schema = schema_name(schema)
        self.where = place_name(conninfo, schema)
        if connections < 1:
            raise ValueError(f"connections is {connections!r}; write how many may be open at once, 1 or more")
        self._conninfo = conninfo
        self._write_timeout = patience(write_timeout)
        self._process = os.getpid()
        self._texts = Texts(schema)
        self._heads = Heads()
        self._guard = threading.Lock()
        self._turns: WeakValueDictionary[str, Turns] = WeakValueDictionary()
        self._deciding: set[int] = set()
        self._closed = False
        self._beat = threading.Lock()
        self._beaten: tuple[int, Place] | None = None
        self._signals = Signals(conninfo, self._texts)
        self._tries = connections + 1
        self.identity = migrate(conninfo, self.schema, self.where, self._texts, self._write_timeout)
        self._pool = Lending(conninfo, connections, self.where)

    def transact(self, customer: str, key: str, reads: Reads, decide: Decide[R]) -> R:
        """Show `decide` the customer's state and append the batch it returns, all or nothing."""
        self._check_usable()
        self._refuse_nesting()
        plain(customer, key)
        (outcome,) = self._turns_of(customer).carry_out([Call(customer, key, reads, decide)])
        answer: R = outcome.answer()
        return answer

    def transact_all(self, calls: Sequence[Call]) -> list[Outcome]:
        """Decide all calls in their order, append what they come to in one commit, and return what each came to."""
        self._check_usable()
        self._refuse_nesting()
        plain(*(text for call in calls for text in (call.customer, call.key)))
        return self._carry_out(self._deadline(), lambda: calls) if calls else []

    def state(self, customer: str, reads: Reads, *, within: float | None = None) -> State:
        """Return the last committed head and the counters `reads` names, of one instant; takes no lock."""
        plain(customer)
        return self._run(lambda _: looking(self._heads, customer, reads), within=within)

    def entries(self, customer: str, *, after: int = 0, limit: int = 1000) -> Sequence[Entry]:
        """Return entries in order of seq, which counts from 1 without gaps."""
        plain(customer)
        return self._run(lambda _: readings.reading_entries(customer, bounded(after), bounded(limit)))

    def batches(self, customer: str, *, after: int = 0, limit: int = 1000) -> Sequence[Batch]:
        """Return whole batches in order of number, which counts from 1 without gaps."""
        plain(customer)
        return self._run(lambda _: readings.reading_batches(customer, bounded(after), bounded(limit)))

    def batch(self, customer: str, key: str) -> Batch | None:
        """Return the batch of a key, None where there is none."""
        plain(customer, key)
        return self._run(lambda _: readings.reading_batch(customer, key))

    def feed(self, *, after: str | None = None, limit: int = 1000) -> FeedPage:
        """Return the batches of all customers that follow a cursor, each exactly once."""
        place, page, lag = self._run(lambda _: readings.reading_feed(place_of(after), bounded(limit)))
        return FeedPage(page, cursor_of(place) if page else after, lag)

    def customers(self, *, after: str | None = None, limit: int = 1000) -> Sequence[str]:
        """Return customer ids in order, those after `after`."""
        plain(after or "")
        return self._run(lambda _: readings.reading_customers(after, bounded(limit)))

    @contextmanager
    def kept(self, customer: str) -> Iterator[Kept]:
        """Show all that is kept of a customer, as of one instant, for an audit; it is read as it is asked for."""
        with ExitStack() as lent:
            connection, kept = self._begin_auditing(customer, lent)
            records = self._pages(connection, lambda last: record_page(customer, last))
            counters = self._pages(connection, lambda last: counter_page(customer, last and last[0]))
            yield attrs.evolve(kept, records=records, counters=counters)

    def flaws(self) -> Sequence[str]:
        """Return what is wrong with the schema as a whole: triggers that are gone, rows of no log."""
        return self._run(lambda _: flaws_of_schema(self.schema))

    def identify(self) -> Identity:
        """Ask anew which database this is, since a server may be replaced while the process runs."""
        self.identity = self._run(lambda _: identifying_alone())
        return self.identity

    def pulse(self, *, within: float | None = None) -> int:
        """Return how many batches have come to light since it was first asked, whoever wrote them."""
        with self._beat:
            counted, place = self._beaten or (0, self._run(lambda _: readings.reading_last(), within=within))
            new, settled, last = self._run(lambda _: readings.reading_new(place), within=within)
            self._beaten = (counted + settled, last)
            if self._signals.wanted:
                until = self._deadline() if within is None else time.monotonic() + within
                self._pool.lend(lambda connection: self._signals.open(connection.pgconn), until)
            return counted + new

    def heard(self) -> int | None:
        """Return how often facts were committed since this process listens, None while it does not; asks nobody.

        It listens on a connection of its own from the second second on, if `pulse` is asked; not behind a pooler.
        """
        self._check_usable()
        return self._signals.told()

    def written(self, *, after: str | None, within: float | None = None) -> Written:
        """Return whose logs have grown since a cursor; without one nobody's, and the cursor of the present."""
        if after is None:
            return Written({}, cursor_of(self._run(lambda _: readings.reading_last(), within=within)))
        grown, place = self._run(lambda _: readings.reading_grown(place_of(after), MOST_TOLD), within=within)
        return Written(grown, cursor_of(place))

    def close(self) -> None:
        """Let go of everything; using the storage afterwards raises StorageUnavailable.

        What is under way is finished on its connection. Closing again does nothing.
        """
        if os.getpid() != self._process:
            return
        self._closed = True
        self._signals.close()
        self._pool.close()

    def _carry_out(self, deadline: float, take: Take) -> list[Outcome]:
        me, calls = threading.get_ident(), list[Call]()

        def steps(wait: float) -> Steps[list[Outcome]]:
            if not calls:
                calls.extend(take())
            return writing(self._heads, self.schema, calls, wait)

        try:
            self._deciding.add(me)
            return self._run(steps, deadline)
        finally:
            self._deciding.discard(me)

    def _run(
        self, steps: Callable[[float], Steps[R]], deadline: float | None = None, *, within: float | None = None
    ) -> R:
        """Run a procedure on a connection, and on another where one was lost before anything was committed.

        `within` bounds all of it, the answer too, in seconds.
        """
        self._check_usable()
        until = None if within is None else time.monotonic() + within
        deadline, tries = deadline or until or self._deadline(), self._tries
        while True:
            tries -= 1
            try:
                return self._pool.lend(
                    lambda connection: self._driven(connection, steps(deadline - time.monotonic()), until), deadline
                )
            except Lost:
                if not tries or time.monotonic() >= deadline:
                    raise

    def _begin_auditing(self, customer: str, lent: ExitStack) -> tuple[psycopg.Connection[Any], Kept]:
        """Begin an audit on a connection, and on another where one was lost; it stays lent until `lent` is closed."""
        deadline, tries = self._deadline(), self._tries
        while True:
            tries -= 1
            with ExitStack() as trying:
                connection = trying.enter_context(self._connection(deadline))
                try:
                    kept = self._driven(connection, auditing(customer))
                except Lost:
                    if not tries or time.monotonic() >= deadline:
                        raise
                else:
                    lent.push(trying.pop_all())
                    return connection, kept

    def _connection(self, deadline: float) -> AbstractContextManager[psycopg.Connection[Any]]:
        self._check_usable()
        return self._pool.lent(deadline)

    def _pages(self, connection: psycopg.Connection[Any], page: Callable[[Any], Steps[list[Any]]]) -> Iterator[Any]:
        last = None
        while rows := self._driven(connection, page(last)):
            yield from rows
            last = rows[-1]

    def _driven(self, connection: psycopg.Connection[Any], steps: Steps[R], until: float | None = None) -> R:
        return drive(connection, steps, self._texts, self.where, until)

    def _turns_of(self, customer: str) -> Turns:
        with self._guard:
            turns = self._turns.get(customer)
            if turns is None:
                turns = self._turns[customer] = Turns(self._carry_out, self.where, write_timeout=self._write_timeout)
            return turns

    def _refuse_nesting(self) -> None:
        if threading.get_ident() in self._deciding:
            raise StorageError(f"{self.where}: a decision cannot use the storage that is running it")

    def _deadline(self) -> float:
        return time.monotonic() + self._write_timeout

    def _check_usable(self) -> None:
        if os.getpid() != self._process:
            raise StorageError(f"{self.where} was opened before a fork; open the engine after it, in the child process")
        if self._closed:
            raise StorageUnavailable(f"{self.where} is closed")


def migrate(conninfo: str, schema: str, where: str, texts: Texts, wait: float) -> Identity:
    """Bring the tables up to date, on a connection of its own, and return which database they are in.

    Tries for `wait` seconds where the server is away, full or starting, and at least once; raises
    StorageUnavailable where that does not help.
    """
    until, pause = time.monotonic() + wait, _FIRST_PAUSE
    while True:
        try:
            with closing(_connected(conninfo, where, until)) as connection:
                drive(connection, migrating(schema, where, max(0.0, until - time.monotonic())), texts, where)
                return drive(connection, identifying_alone(), texts, where)
        except StorageUnavailable:
            if time.monotonic() + pause >= until:
                raise
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _connected(conninfo: str, where: str, until: float) -> psycopg.Connection[Any]:
    left = max(1.0, until - time.monotonic())
    try:
        given = timeout_from_conninfo(conninfo_to_dict(conninfo))
        return psycopg.connect(conninfo, **OPTIONS, connect_timeout=math.ceil(min(left, given)))
    except psycopg.Error as error:
        raise refused(error, where) from error


def drive(
    connection: psycopg.Connection[Any], steps: Steps[R], texts: Texts, where: str, until: float | None = None
) -> R:
    """Run a procedure on a connection, one trip after another, and return what it comes to.

    Raises StorageUnavailable where the server has not answered `until` an instant of the monotonic clock.
    """
    try:
        trip = next(steps)
        while True:
            try:
                found = _sent(connection, trip, texts, where, trip.until(time.monotonic(), until))
            except StorageError as error:
                trip = steps.throw(error)
            else:
                trip = steps.send(found)
    except StopIteration as done:
        result: R = done.value
        return result


def _sent(
    connection: psycopg.Connection[Any], trip: Trip, texts: Texts, where: str, until: float | None
) -> list[list[Row]]:
    interval = 0.1 if until is None else max(0.001, min(0.1, until - time.monotonic()))
    try:
        return connection.wait(exchange(connection.pgconn, trip, texts, until), interval=interval)
    except Late:
        connection.close()
        raise StorageUnavailable(f"{where}: the server did not answer in time; nothing was written") from None
    except psycopg.Error as error:
        interrupt = interruption(error)
        if interrupt is not None:
            connection.close()
            raise interrupt from None
        fault = failure(connection, trip, error, where)
        raise fault from error
    except BaseException:
        connection.close()  # what it was doing when it was broken off is not known
        raise
