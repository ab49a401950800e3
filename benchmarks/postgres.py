"""A durable write in PostgreSQL against one INSERT, and one hot customer against a lock on its row.

The server is that of ENTITLEMENTS_TEST_POSTGRES, or one of this run's own that syncs every commit to the disk.
"""

from __future__ import annotations

import statistics
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from time import perf_counter_ns
from typing import Any

import psycopg

from entitlements.storage.postgres import PostgresStorage
from entitlements.testing.histories import append, used
from entitlements.testing.serving import postgres_server

from .measuring import Figure

THREADS = 8
EACH = 60
ROUNDS = 5
LINE = '{"feature": "calls", "amount": 1, "allowed": true, "limit": 1000, "used": 12, "remaining": 988}'


def figures() -> Iterator[Figure]:
    with postgres_server(durable=True) as address, psycopg.connect(address, autocommit=True) as plain:
        plain.execute("CREATE TABLE raw (customer text, seq bigint, data text, PRIMARY KEY (customer, seq))")
        plain.execute("CREATE TABLE held (customer text PRIMARY KEY, used bigint NOT NULL)")
        plain.execute("INSERT INTO held VALUES ('hot', 0)")
        with closing(PostgresStorage(address, connections=THREADS)) as storage:
            yield _one_connection(storage, plain)
            yield _one_hot_customer(storage, address)


def _one_connection(storage: PostgresStorage, plain: psycopg.Connection[Any]) -> Figure:
    numbers = count()

    def insert() -> None:
        plain.execute("INSERT INTO raw VALUES ('a', %s, %s)", (next(numbers), LINE))

    def write() -> None:
        append(storage, "a", f"k{next(numbers)}", used())

    taken = _in_turn({"insert": insert, "write": write}, 400)
    note = f"{taken['write']:.0f} us and {taken['insert']:.0f} us"
    return Figure("a batch on PostgreSQL / one INSERT transaction", taken["write"] / taken["insert"], 1.6, note=note)


def _one_hot_customer(storage: PostgresStorage, address: str) -> Figure:
    numbers = count()
    connections = [psycopg.connect(address, autocommit=True) for _ in range(THREADS)]

    def held(thread: int) -> None:
        connection = connections[thread]
        for _ in range(EACH):
            with connection.transaction():
                found = connection.execute("SELECT used FROM held WHERE customer = 'hot' FOR UPDATE").fetchone()
                if found is None:
                    raise LookupError("the row is gone")
                connection.execute("INSERT INTO raw VALUES ('hot', %s, %s)", (next(numbers), LINE))
                connection.execute("UPDATE held SET used = %s WHERE customer = 'hot'", (found[0] + 1,))

    def ours(_: int) -> None:
        for _ in range(EACH):
            append(storage, "hot", f"k{next(numbers)}", used())

    rates: dict[str, list[float]] = {"held": [], "ours": []}
    for _ in range(ROUNDS):
        rates["held"].append(_rate(held))
        rates["ours"].append(_rate(ours))
    for connection in connections:
        connection.close()
    middle = {name: statistics.median(each) for name, each in rates.items()}
    note = f"{middle['ours']:.0f}/s and {middle['held']:.0f}/s"
    name = f"one hot customer, {THREADS} threads / SELECT FOR UPDATE"
    return Figure(name, middle["ours"] / middle["held"], 1.7, at_least=True, note=note)


def _rate(run: Callable[[int], None]) -> float:
    """Return how many operations a second the threads do together."""
    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    begin = perf_counter_ns()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return THREADS * EACH * 1e9 / (perf_counter_ns() - begin)


def _in_turn(contestants: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Return the median time of one call of each in microseconds, taken in turn."""
    taken: dict[str, list[int]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            begin = perf_counter_ns()
            run()
            taken[name].append(perf_counter_ns() - begin)
    return {name: statistics.median(times[rounds // 10 :]) / 1000 for name, times in taken.items()}
