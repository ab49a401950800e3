"""Durable credits against one raw INSERT, whatever the history and the number of blocks; and the audit."""

from __future__ import annotations

import sqlite3
import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter_ns, thread_time_ns
from typing import Any

from entitlements import Catalog, Entitlements
from entitlements.ledger.chain import chain
from entitlements.ledger.entries import Batch, Entry, Verdict, numbered
from entitlements.ledger.state import State
from entitlements.storage.sqlite import SQLiteStorage

from .measuring import Figure
from .pricing import NOW

WARM = 1200
"""Commits after which a write-ahead log has been filled once and is written over from its start."""
CATALOG = Catalog.load({"credits": {"ai": {}}})
PLENTY = 10**12


def figures() -> Iterator[Figure]:
    with TemporaryDirectory(dir=Path.cwd()) as folder, ExitStack() as engines:

        def opened(name: str, *, durable: bool = False) -> Entitlements:
            storage = SQLiteStorage(Path(folder, name), durability="full" if durable else "normal")
            return engines.enter_context(Entitlements(CATALOG, storage=storage, clock=lambda: NOW))

        yield from _against_an_insert(opened("durable.db", durable=True), Path(folder, "raw.db"))
        yield from _whatever_the_history(opened("short.db"), opened("long.db"))
        yield from _whatever_the_blocks(opened("blocks.db"), Path(folder, "floor.db"))
        yield from _audit(opened("audit.db"))


def _against_an_insert(ent: Entitlements, path: Path) -> Iterator[Figure]:
    _grant(ent, 4)
    consume, insert = _consume(ent), _inserts(path, "FULL")
    for _ in range(WARM):
        insert()
    for _ in range(WARM // 6):
        consume()
    contestants = {"insert": insert, "consume": consume}
    taken = _in_turn(contestants, 1000)
    busy = {name: _busy(run) for name, run in contestants.items()}
    note = " / ".join(f"{taken[name]:.0f} us, {busy[name]:.0f} of it CPU" for name in ("consume", "insert"))
    yield Figure("durable consume_credits / one raw INSERT", taken["consume"] / taken["insert"], 1.5, note=note)


def _whatever_the_history(short: Entitlements, long: Entitlements) -> Iterator[Figure]:
    for ent in (short, long):
        _grant(ent, 4)
    _grow(short, 1, 100)
    _grow(long, 1000, 1000)
    for name, run in (("consume_credits", _consume), ("balance", _balance)):
        taken = _in_turn({"short": run(short), "long": run(long)}, 1000)
        note = f"{taken['long']:.0f} us"
        yield Figure(f"{name} at 1,000,000 entries / at 100", taken["long"] / taken["short"], 1.3, note=note)


def _whatever_the_blocks(ent: Entitlements, path: Path) -> Iterator[Figure]:
    _grant(ent, 1000)
    taken = _in_turn({"insert": _inserts(path, "NORMAL"), "consume": _consume(ent)}, 300)
    beyond = taken["consume"] - taken["insert"]
    yield Figure("us of a consume with 1,000 open blocks, beyond an INSERT", beyond, 1000)


def _audit(ent: Entitlements) -> Iterator[Figure]:
    _grant(ent, 4)
    for name, batches, lines in (("one in each batch", 50_000, 1), ("twenty in each batch", 5000, 20)):
        customer = f"customer of {lines}"
        _grant(ent, 4, customer)
        _grow(ent, batches, lines, customer)
        speeds = [batches * lines / _seconds(partial(ent.verify, customer)) for _ in range(5)]
        yield Figure(f"entries verified a second, {name}", max(speeds), 50_000, at_least=True)


def _grant(ent: Entitlements, blocks: int, customer: str = "acme") -> None:
    for n in range(blocks):
        terms: dict[str, Any] = {"priority": n % 7, "cost_basis": str(n % 5), "expires_in": timedelta(days=n % 50 + 9)}
        ent.grant_credits(customer, "ai", PLENTY, key=f"g{n}", **terms)


def _consume(ent: Entitlements) -> Callable[[], object]:
    keys = count()
    return lambda: ent.consume_credits("acme", "ai", 1, key=f"key-{next(keys)}")


def _balance(ent: Entitlements) -> Callable[[], object]:
    return lambda: ent.balance("acme", "ai")


def _inserts(path: Path, synchronous: str) -> Callable[[], object]:
    raw, keys = sqlite3.connect(path, isolation_level=None), count()
    raw.execute("PRAGMA journal_mode = WAL")
    raw.execute(f"PRAGMA synchronous = {synchronous}")
    raw.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, customer TEXT, key TEXT, data TEXT)")

    def insert() -> None:
        raw.execute("BEGIN IMMEDIATE")
        raw.execute("INSERT INTO rows (customer, key, data) VALUES (?, ?, ?)", ("acme", f"{next(keys)}", "x" * 200))
        raw.execute("COMMIT")

    return insert


def _grow(ent: Entitlements, batches: int, lines: int, customer: str = "acme") -> None:
    """Write history as the engine would, in batches of the size of real ones, without deciding anything."""
    ent.consume_credits(customer, "ai", 1, key="model")
    model, storage = ent._storage.batch(customer, "model"), ent._storage
    burned = Entry("burned", NOW, "ai", amount=1, block="g0")

    def append(key: str) -> Callable[[State], Verdict[None]]:
        def decide(state: State) -> Verdict[None]:
            entries = numbered([burned] * lines, after=state.head.seq, key=key, at=NOW)
            told = (model.request, model.result, entries) if model else ({}, {}, entries)
            return Verdict(None, *chain(Batch(customer, key, state.head.batches + 1, NOW, *told), state.head.hash))

        return decide

    for n in range(batches):
        storage.transact(customer, f"h{n}", lambda _: (), append(f"h{n}"))


def _in_turn(contestants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median microseconds of one call of each, taken call by call in turn."""
    taken: dict[str, list[int]] = {name: [] for name in contestants}
    for run in contestants.values():
        run()
    for _ in range(rounds):
        for name, run in contestants.items():
            begin = perf_counter_ns()
            run()
            taken[name].append(perf_counter_ns() - begin)
    return {name: statistics.median(times) / 1000 for name, times in taken.items()}


def _busy(run: Callable[[], object], rounds: int = 300) -> float:
    """Return the microseconds of CPU that one call takes."""
    return _seconds(lambda: [run() for _ in range(rounds)]) / rounds * 1e6


def _seconds(run: Callable[[], object]) -> float:
    begin = thread_time_ns()
    run()
    return (thread_time_ns() - begin) / 1e9
