"""Connections to PostgreSQL as threads lend them to each other: an interrupt at any moment loses none.

The pool of psycopg goes on counting with a connection that an interrupt kept its caller from having: it is
handed to whoever waited, or it is gone between two lines. So nobody waits inside it for a connection that
another has: who comes stands in line here. An interrupt inside the pool costs that pool, never the storage:
another takes its place, and opens nothing until all that the first had open is closed, but for what is lent.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count, islice
from typing import Any, Final, TypeAlias, TypeVar
from weakref import WeakSet

import psycopg
from psycopg.pq import TransactionStatus
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from ..errors import StorageUnavailable
from .postgres_connection import ASK_EVERY, OPTIONS, POOL, interruption

R = TypeVar("R")
Connection = psycopg.Connection[Any]

_LOOK_EVERY: Final = 0.1
"""After how many seconds who waits looks itself whether it is its turn, should nobody have told it."""
_PATIENCE: Final = 1.0
"""How long a pool that was replaced is waited for, in seconds."""


class _Known(psycopg.Connection[Any]):
    """A connection that is opened when `opened_by` says so, and is known to it."""

    @classmethod
    def connect(cls, conninfo: str = "", *, opened_by: OpenedBy, **options: Any) -> _Known:  # type: ignore[override]
        return opened_by(partial(super().connect, conninfo, **options))


Pool = ConnectionPool[_Known]
OpenedBy: TypeAlias = Callable[[Callable[[], _Known]], _Known]


class _Loan:
    """A place in the line; `pool` is where a connection may be missing, `connection` the one that is had."""

    __slots__ = ("connection", "pool", "turn")

    def __init__(self) -> None:
        self.pool: Pool | None = None
        self.connection: _Known | None = None
        self.turn: threading.Event | None = None


class Lending:
    """Lends connections to threads in the order they come; no more than `most` are open at any time."""

    def __init__(self, conninfo: str, most: int, where: str) -> None:
        self._conninfo, self._most, self._where = conninfo, most, where
        self._guard = threading.RLock()
        self._line: dict[_Loan, None] = {}
        self._closed = False
        self._clearing = threading.Lock()
        self._made: WeakSet[Connection] = WeakSet()
        self._numbers = count()
        self._pools: dict[Pool, None] = {}
        self._pool = self._opened()

    def lend(self, use: Callable[[Connection], R], deadline: float) -> R:
        """Return what `use` returns of a connection; raises StorageUnavailable where none is had in time.

        `deadline` is an instant of the monotonic clock. Here, and not in `lent`, an interrupt finds no gap.
        """
        loan = _Loan()
        try:
            try:
                return use(self._begun(loan, deadline))
            finally:
                self._over(loan)
        finally:
            if loan in self._line:
                self._leave(loan)  # an interrupt has broken it off

    @contextmanager
    def lent(self, deadline: float) -> Iterator[Connection]:
        """Lend a connection; raises StorageUnavailable where none is had until an instant of the monotonic clock."""
        loan = _Loan()
        try:
            try:
                yield self._begun(loan, deadline)
            finally:
                self._over(loan)
        finally:
            if loan in self._line:
                self._leave(loan)

    def close(self) -> None:
        """Let go of every connection; one that is lent is closed when it is given back."""
        self._closed = True
        with self._guard:
            pools = [*self._pools]
        for pool in pools:
            pool.close()

    def _begun(self, loan: _Loan, deadline: float) -> Connection:
        self._stand_in_line(loan, deadline)
        connection = loan.connection = self._taken(loan, deadline)
        return connection

    def _over(self, loan: _Loan) -> None:
        try:
            if loan.connection is not None and loan.pool is not None:
                try:
                    end(loan.connection)
                finally:
                    loan.pool.putconn(loan.connection)
                    loan.pool = None
        finally:
            self._leave(loan)

    def _opened(self) -> Pool:
        name = f"entitlements-{next(self._numbers)}"
        options = OPTIONS | {"opened_by": partial(self._known, name)}
        pool = ConnectionPool(
            self._conninfo, connection_class=_Known, kwargs=options, max_size=self._most, name=name, open=True, **POOL
        )
        self._pools[pool] = None
        return pool

    def _stand_in_line(self, loan: _Loan, deadline: float) -> None:
        with self._guard:
            self._line[loan] = None
            if len(self._line) <= self._most:
                return
            turn = loan.turn = threading.Event()
        self._call()
        while not turn.wait(min(_LOOK_EVERY, max(0.0, deadline - time.monotonic()))):
            if time.monotonic() >= deadline:
                raise self._none_in_time()
            self._call()

    def _call(self) -> None:
        with self._guard:
            for loan in tuple(islice(self._line, self._most)):
                if loan.turn is not None:
                    loan.turn.set()

    def _taken(self, loan: _Loan, deadline: float) -> _Known:
        while True:
            pool = loan.pool = self._pool
            try:
                return pool.getconn(timeout=max(0.001, min(ASK_EVERY, deadline - time.monotonic())))
            except PoolTimeout as error:
                loan.pool = None
                if time.monotonic() >= deadline:
                    raise self._none_in_time() from error
            except PoolClosed as error:
                loan.pool = None
                if self._closed or pool is self._pool:
                    raise StorageUnavailable(f"{self._where} is closed") from error

    def _leave(self, loan: _Loan) -> None:
        pool = loan.pool
        with self._guard:
            if pool is not None and pool is self._pool and not self._closed:
                self._pool = self._opened()
            loan.pool = None
            self._line.pop(loan, None)
        if len(self._line) >= self._most:
            self._call()

    def _known(self, name: str, opening: Callable[[], _Known]) -> _Known:
        """Open a connection for the pool of a name, and know it; called by that pool's own threads."""
        with self._clearing:
            if name != self._pool.name:
                raise psycopg.OperationalError("another pool has taken this one's place")
            self._clear()
        connection = opening()
        self._made.add(connection)
        return connection

    def _clear(self) -> None:
        """Close what pools that were replaced have open, and what an interrupt has kept from its caller."""
        replaced = [pool for pool in tuple(self._pools) if pool is not self._pool]
        if not replaced:
            return
        for pool in replaced:
            pool.close(_PATIENCE)
        lent = self._lent_by(replaced)
        for connection in [each for each in self._made if each not in lent]:
            connection.close()
        for pool in replaced:
            self._pools.pop(pool)

    def _lent_by(self, pools: list[Pool]) -> set[Connection | None]:
        """Return the connections that somebody has, once nobody is about to have one of these closed pools."""
        until = time.monotonic() + _PATIENCE
        while True:
            with self._guard:
                loans = tuple(self._line)
            if not any(loan.pool in pools and loan.connection is None for loan in loans):
                return {loan.connection for loan in loans}
            if time.monotonic() >= until:
                return set(self._made)
            time.sleep(0.001)

    def _none_in_time(self) -> StorageUnavailable:
        return StorageUnavailable(f"{self._where}: no connection was had in time; nothing was written")


def end(connection: Connection) -> None:
    """Undo what is still open; a connection on which that fails is closed, and what was open is undone with it."""
    try:
        if connection.pgconn.transaction_status != TransactionStatus.IDLE:
            connection.rollback()
    except BaseException as error:
        connection.close()
        interrupt = interruption(error)
        if interrupt is not None:
            raise interrupt from None
        if not isinstance(error, psycopg.Error):
            raise
