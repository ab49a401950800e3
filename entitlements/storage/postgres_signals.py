"""Signals: how a process is told that another has committed facts, by NOTIFY, on a connection of its own.

A batch with facts names the schema's channel in its transaction, and PostgreSQL tells all who listen once
that is committed. Usage names none: NOTIFY lets only one transaction of the whole server commit at a time.
Nobody relies on being told. Who listens still asks, only less often, and who cannot listen asks as before.
"""

from __future__ import annotations

import selectors
import threading
import time
from typing import Final

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import ConnStatus, PGconn, PollingStatus
from psycopg.pq.abc import PGconn as AnyPGconn
from psycopg.waiting import Ready, Wait

from .postgres_connection import OPTIONS, Exchange, Texts, exchange
from .postgres_trips import Statement, Trip

NAME: Final = "entitlements (listening)"
"""What the connection is called in pg_stat_activity."""

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
OPEN_WITHIN: Final = 10.0
"""Seconds: before the first try to listen, at most between two, and what one may take."""

_WHO: Final[Statement] = ("SELECT pg_backend_pid()", ())
_LISTEN: Final[Statement] = ("LISTEN {schema}", ())
_TELL: Final = "SELECT pg_notify($1, '') WHERE pg_notification_queue_usage() < 0.5"


def telling(schema: str) -> Statement:
    """Return what tells, once the transaction is committed, that facts have changed in a schema; it says not whose.

    The channel has the schema's name. Where some listener has stopped reading, so that the server's queue
    fills up, nobody is told: a commit fails on a queue that is full.
    """
    return _TELL, (schema,)


class Signals:
    """Listens for facts committed in a schema, while that can be had; no method waits for the server.

    `told` takes what has arrived; `open` begins to listen, and is to be called when it is `wanted`. After
    a failure it is wanted again, later after each. Any thread may use it, and any event loop.
    """

    def __init__(self, conninfo: str, texts: Texts) -> None:
        self._conninfo, self._texts = conninfo, texts
        self._guard = threading.Lock()
        self._pgconn: AnyPGconn | None = None
        self._opening: Exchange[None] | None = None
        self._awaited = Wait.W
        self._count = 0
        self._pause = FIRST_PAUSE
        self._due = time.monotonic() + FIRST_PAUSE
        self._closed = False

    @property
    def wanted(self) -> bool:
        """Whether it is time to begin to listen: not in a process that is gone within a second."""
        return self._pgconn is None and time.monotonic() >= self._due and not self._closed

    def open(self, like: AnyPGconn) -> None:
        """Begin to listen to the server that an open connection leads to; its address is known, and not looked up."""
        with self._guard:
            if self._pgconn is not None or self._closed:
                return
            host = {"host": like.host, "hostaddr": like.hostaddr, "port": like.port}
            address = {name: value.decode() for name, value in host.items() if value}
            named = {"client_encoding": OPTIONS["client_encoding"], "application_name": NAME}
            self._pgconn = PGconn.connect_start(make_conninfo(self._conninfo, **address, **named).encode())
            self._opening, self._awaited = self._listening(self._pgconn), Wait.W
            self._due = time.monotonic() + OPEN_WITHIN
            self._step(None)

    def told(self) -> int | None:
        """Return how often this process was told so far, None while it would not be."""
        with self._guard:
            if self._pgconn is None:
                return None
            if self._opening is not None:
                self._go_on(self._pgconn)
            elif not self._has_taken(self._pgconn):
                self._lose()
            return None if self._pgconn is None or self._opening is not None else self._count

    def close(self) -> None:
        """Stop listening for good."""
        with self._guard:
            self._closed = True
            self._lose()

    def _listening(self, pgconn: AnyPGconn) -> Exchange[None]:
        """Connect, and listen; raises psycopg.Error where that cannot be had, as behind a pooler.

        A pooler makes up the number of the process that it says one is connected to, and would hand what
        was listened for to whoever uses that process by then.
        """
        yield Wait.W
        while (status := pgconn.connect_poll()) != PollingStatus.OK:
            if status == PollingStatus.FAILED:
                raise psycopg.OperationalError(pgconn.get_error_message())
            yield Wait.R if status == PollingStatus.READING else Wait.W
        pgconn.nonblocking = 1
        (((process,),),) = yield from exchange(pgconn, Trip([_WHO]), self._texts)
        if process != pgconn.backend_pid:
            raise psycopg.NotSupportedError("a pooler stands between, and a session cannot be had")
        yield from exchange(pgconn, Trip([_LISTEN]), self._texts)

    def _go_on(self, pgconn: AnyPGconn) -> None:
        """Go on opening as far as the server has answered; what takes too long is given up."""
        while self._opening is not None:
            try:
                ready = _ready(pgconn.socket, self._awaited)
            except psycopg.Error:
                self._lose()
                return
            if not ready:
                if time.monotonic() >= self._due:
                    self._lose()
                return
            self._step(ready)

    def _step(self, ready: Ready | None) -> None:
        if self._opening is None:
            return
        try:
            self._awaited = next(self._opening) if ready is None else self._opening.send(ready)
        except StopIteration:
            self._opening, self._pause = None, FIRST_PAUSE
            self._count += 1  # what was committed before, nobody told
        except psycopg.Error:
            self._lose()

    def _has_taken(self, pgconn: AnyPGconn) -> bool:
        """Count what has arrived, and tell whether the connection still stands."""
        try:
            pgconn.consume_input()
            while pgconn.notifies() is not None:
                self._count += 1
        except psycopg.Error:
            return False
        return pgconn.status == ConnStatus.OK

    def _lose(self) -> None:
        """Let go of the connection, and want none for a while."""
        if self._pgconn is not None:
            self._pgconn.finish()
        self._pgconn = self._opening = None
        self._due = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE)


def _ready(socket: int, wait: Wait) -> Ready | None:
    """Return what a socket is ready for of that which is waited for, None for nothing; waits not."""
    with selectors.DefaultSelector() as selector:
        selector.register(socket, wait)
        found = selector.select(0)
    return Ready(found[0][1]) if found else None
