"""Many callers and one file: threads against one lock, processes against a busy timeout, many calls against one."""

from __future__ import annotations

import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs

from entitlements import Catalog, Entitlements, Request
from entitlements.storage.base import Call, Outcome
from entitlements.storage.sqlite import SQLiteStorage
from entitlements.testing.histories import append, used

from .measuring import Figure
from .pricing import NOW

ROUNDS = 5
SECONDS = 0.6
CATALOG = Catalog.load(
    {"features": {"chat": {"type": "metered"}}, "plans": {"pro": {"entitlements": {"chat": 10**12}}}}
)
CHILD = """
import sqlite3, sys, time
from benchmarks.crowd import PROCESSES
path, way, name, seconds = sys.argv[1:]
write = PROCESSES[way](path, name)
print("ready", flush=True)
start = float(sys.stdin.readline())
while time.time() < start:
    time.sleep(0.0005)
done, longest, now, end = 0, 0.0, time.time(), start + float(seconds)
while now < end:
    write()
    done, began, now = done + 1, now, time.time()
    longest = max(longest, now - began)
print(done, longest, flush=True)
"""


@attrs.frozen
class Run:
    """What a crowd did: calls a second, those of the slowest to those of the fastest, the longest wait in ms."""

    speed: float
    evenness: float
    longest: float


def figures() -> Iterator[Figure]:
    with TemporaryDirectory(dir=Path.cwd()) as folder:
        storage = SQLiteStorage(Path(folder, "crowd.db"))
        with Entitlements(CATALOG, storage=storage, clock=lambda: NOW) as ent:
            ent.subscribe("acme", "pro")
            yield from _threads(ent)
            yield from _many_calls(ent)
        yield from _a_lone_caller(Path(folder))
        yield from _processes(Path(folder))


def _threads(ent: Entitlements) -> Iterator[Figure]:
    """One hot customer, durable; the floor is eight threads behind one lock, each call a commit of its own."""
    lock, keys = threading.Lock(), count()

    def consume() -> None:
        ent.consume("acme", "chat", key=f"key-{next(keys)}")

    def behind_a_lock() -> None:
        with lock:
            consume()

    ways = {"lock": (8, behind_a_lock), "8": (8, consume), "32": (32, consume)}
    runs = _in_turn({name: partial(_crowd, *way) for name, way in ways.items()})
    floor = runs["lock"].speed
    for threads, bound in (("8", 2.5), ("32", 4.0)):
        note = f"{runs[threads].speed:.0f} a second, {floor:.0f} behind the lock"
        yield Figure(f"{threads} threads / eight behind one lock", runs[threads].speed / floor, bound, True, note)
    for threads in ("8", "32"):
        yield Figure(f"slowest / fastest of {threads} threads", runs[threads].evenness, 0.8, at_least=True)
        note = f"ms; {runs['lock'].longest:.0f} behind the lock"
        yield Figure(f"longest wait of {threads} threads", runs[threads].longest, 25, note=note)


def _a_lone_caller(folder: Path) -> Iterator[Figure]:
    """What taking part in turns costs who is alone: the same writes, one by one, with the work called directly."""
    storage, keys = SQLiteStorage(folder / "lone.db", durability="normal"), count()

    class Direct:
        """Turns of somebody who knows that nobody else is there."""

        def carry_out(self, calls: Sequence[Call]) -> Sequence[Outcome]:
            return storage._carry_out(time.monotonic() + 5, lambda: calls)

        held = storage._turns.held
        refuse_nesting = storage._turns.refuse_nesting

    with Entitlements(CATALOG, storage=storage, clock=lambda: NOW) as ent:
        ent.subscribe("acme", "pro")
        turns: list[Any] = [storage._turns, Direct()]
        taken: list[list[float]] = [[], []]
        for number in range(4000):
            storage._turns = turns[number % 2]
            began = time.perf_counter()
            ent.consume("acme", "chat", key=f"key-{next(keys)}")
            taken[number % 2].append(time.perf_counter() - began)
    ratio = statistics.median(taken[0]) / statistics.median(taken[1])
    yield Figure("a lone consume without syncing, in turns / without turns", ratio, 1.05)


def _many_calls(ent: Entitlements) -> Iterator[Figure]:
    keys = count()

    def single() -> None:
        for _ in range(20):
            ent.consume("acme", "chat", key=f"single-{next(keys)}")

    def many() -> None:
        ent.consume_many([Request("acme", "chat", key=f"many-{next(keys)}") for _ in range(100)])

    taken: dict[str, list[float]] = {"single": [], "many": []}
    for _ in range(30):
        for name, run, calls in (("single", single, 20), ("many", many, 100)):
            began = time.perf_counter()
            run()
            taken[name].append((time.perf_counter() - began) / calls)
    ratio = statistics.median(taken["single"]) / statistics.median(taken["many"])
    note = f"{1e6 * statistics.median(taken['many']):.0f} us each"
    yield Figure("consume_many of 100 / single calls, in rate", ratio, 10, at_least=True, note=note)


def _processes(folder: Path) -> Iterator[Figure]:
    """Four processes on one file; the floors are one process, and four with SQLite's own busy timeout."""
    path = str(folder / "processes.db")
    ways = {"one": ("ours", 1), "four": ("ours", 4), "busy": ("busy timeout", 4)}
    SQLiteStorage(path).close()
    runs = _in_turn({name: partial(_race, path, *way) for name, way in ways.items()})
    note = f"{runs['four'].speed:.0f} a second; slowest / fastest {runs['four'].evenness:.2f}"
    yield Figure("4 processes / 1 process, in sum", runs["four"].speed / runs["one"].speed, 0.8, True, note)
    note = f"{runs['four'].longest:.0f} ms and {runs['busy'].longest:.0f} ms"
    yield Figure(
        "longest wait of 4 processes / with a busy timeout",
        runs["four"].longest / runs["busy"].longest,
        1 / 6,
        note=note,
    )


def _in_turn(contestants: dict[str, Callable[[], Run]]) -> dict[str, Run]:
    """Return the medians of several rounds in which each runs in turn, of the longest waits too."""
    runs: dict[str, list[Run]] = {name: [] for name in contestants}
    for _ in range(ROUNDS):
        for name, run in contestants.items():
            runs[name].append(run())
    return {
        name: Run(*(statistics.median(values) for values in zip(*map(attrs.astuple, each), strict=True)))
        for name, each in runs.items()
    }


def _crowd(threads: int, action: Callable[[], None]) -> Run:
    counts, longest, barrier = [0] * threads, [0.0] * threads, threading.Barrier(threads)

    def work(number: int) -> None:
        barrier.wait()
        now = time.monotonic()
        end = now + SECONDS
        while now < end:
            action()
            began, now = now, time.monotonic()
            counts[number] += 1
            longest[number] = max(longest[number], now - began)

    running = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return Run(sum(counts) / SECONDS, min(counts) / max(counts), max(longest) * 1000)


def _race(path: str, way: str, processes: int) -> Run:
    seconds, name = 2 * SECONDS, f"{time.monotonic_ns()}"
    command = [sys.executable, "-c", CHILD, path, way]
    children = [
        subprocess.Popen(
            [*command, f"{name}-{n}", f"{seconds}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for n in range(processes)
    ]
    for child in children:
        _ = child.stdout and child.stdout.readline()
    start = time.time() + 0.05
    for child in children:
        if child.stdin:
            child.stdin.write(f"{start}\n")
            child.stdin.flush()
    said = [child.communicate()[0].split() for child in children]
    counts = [int(done) for done, _ in said]
    return Run(sum(counts) / seconds, min(counts) / max(counts), max(float(longest) for _, longest in said) * 1000)


def _ours(path: str, name: str) -> Callable[[], object]:
    storage, keys = SQLiteStorage(path, write_timeout=30), count()
    return lambda: append(storage, "a", f"{name}-{next(keys)}", used())


def _with_a_busy_timeout(path: str, name: str) -> Callable[[], object]:
    """The same writes, waiting for the lock as SQLite does by itself."""
    storage, keys = SQLiteStorage(path, write_timeout=30), count()
    if storage._writer is None:
        raise RuntimeError("the storage has no connection")
    storage._writer.rows("PRAGMA busy_timeout = 30000")
    storage._line.close()
    return lambda: append(storage, "a", f"{name}-{next(keys)}", used())


PROCESSES: dict[str, Callable[[str, str], Callable[[], object]]] = {"ours": _ours, "busy timeout": _with_a_busy_timeout}
