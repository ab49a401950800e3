"""Connections to PostgreSQL as threads lend them to each other: an interrupt at any moment loses none.

The pool of psycopg goes on counting with a connection that an interrupt kept its caller from having: it is
handed to whoever waited, or it is gone between two lines. So nobody waits inside it for a connection that
another has: who comes stands in line here. An interrupt inside the pool costs that pool, never the storage:
another takes its place.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final

import psycopg
from psycopg.pq import TransactionStatus
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from ..errors import StorageUnavailable
from .postgres_connection import IDLE_FOR, OPTIONS, interruption

Pool = ConnectionPool[psycopg.Connection[Any]]

_LOOK_EVERY: Final = 0.1
"""After how many seconds who waits looks itself whether it is its turn, should nobody have told it."""


class _Loan(threading.Event):
    """A place in the line, set once its turn has come; `pool` is where a connection may be missing."""

    pool: Pool | None = None


class Lending:
    """Lends connections to threads in the order they come, `most` of them at a time."""

    def __init__(self, conninfo: str, most: int, where: str) -> None:
        self._conninfo, self._most, self._where = conninfo, most, where
        self._guard = threading.RLock()
        self._line: dict[_Loan, None] = {}
        self._closed = False
        self._pool = self._opened()

    @contextmanager
    def lent(self, deadline: float) -> Iterator[psycopg.Connection[Any]]:
        """Lend a connection; raises StorageUnavailable where none is had until an instant of the monotonic clock."""
        loan = _Loan()
        try:
            try:
                self._stand_in_line(loan, deadline)
                connection = self._taken(loan, deadline)
                try:
                    try:
                        yield connection
                    finally:
                        end(connection)
                finally:
                    _give_back(loan, connection)
            finally:
                self._leave(loan)
        finally:
            self._leave(loan)  # again, since an interrupt may have broken it off

    def close(self) -> None:
        """Let go of every connection; one that is lent is closed when it is given back."""
        self._closed = True
        with self._guard:
            pool = self._pool
        pool.close()

    def _opened(self) -> Pool:
        return ConnectionPool(
            self._conninfo, kwargs=OPTIONS, min_size=0, max_size=self._most, max_idle=IDLE_FOR, open=True
        )

    def _stand_in_line(self, loan: _Loan, deadline: float) -> None:
        with self._guard:
            self._line[loan] = None
        self._call()
        while not loan.wait(min(_LOOK_EVERY, max(0.0, deadline - time.monotonic()))):
            if time.monotonic() >= deadline:
                raise self._none_in_time()
            self._call()

    def _call(self) -> None:
        with self._guard:
            for loan in tuple(islice(self._line, self._most)):
                loan.set()

    def _taken(self, loan: _Loan, deadline: float) -> psycopg.Connection[Any]:
        while True:
            pool = loan.pool = self._pool
            try:
                return pool.getconn(timeout=max(0.001, deadline - time.monotonic()))
            except PoolTimeout as error:
                loan.pool = None
                raise self._none_in_time() from error
            except PoolClosed as error:
                loan.pool = None
                if self._closed or pool is self._pool:
                    raise StorageUnavailable(f"{self._where} is closed") from error

    def _leave(self, loan: _Loan) -> None:
        if loan.pool is None and loan not in self._line:
            return
        if loan.pool is not None:
            self._replace(loan.pool)
            loan.pool = None
        with self._guard:
            self._line.pop(loan, None)
        self._call()

    def _replace(self, pool: Pool) -> None:
        with self._guard:
            if self._pool is pool and not self._closed:
                self._pool = self._opened()
        threading.Thread(target=pool.close, daemon=True).start()

    def _none_in_time(self) -> StorageUnavailable:
        return StorageUnavailable(f"{self._where}: no connection was had in time; nothing was written")


def end(connection: psycopg.Connection[Any]) -> None:
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


def _give_back(loan: _Loan, connection: psycopg.Connection[Any]) -> None:
    if loan.pool is not None:
        loan.pool.putconn(connection)
    loan.pool = None
