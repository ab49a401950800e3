"""Credits on SQLite against raw inserts: durable writes, long logs, many open blocks, and `verify`."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from entitlements import Entitlements

from .measuring import Figure, nanoseconds

CATALOG = {"credits": {"ai": {"scale": 2}}}
CALLS = 100
_keys = itertools.count()


def figures() -> Iterator[Figure]:
    with TemporaryDirectory() as folder:
        yield from _durable(Path(folder))
        yield from _history(Path(folder))


def _durable(folder: Path) -> Iterator[Figure]:
    raw = sqlite3.connect(folder / "raw.db", isolation_level=None)
    raw.execute("PRAGMA journal_mode=WAL")
    raw.execute("PRAGMA synchronous=FULL")
    raw.execute("CREATE TABLE burned (seq INTEGER PRIMARY KEY, key TEXT, amount INTEGER)")
    with Entitlements(CATALOG, storage=f"sqlite:///{folder / 'ours.db'}") as ent:
        _grant(ent, "acme", 4)

        def insert() -> None:
            for _ in range(CALLS):
                raw.execute("BEGIN IMMEDIATE")
                raw.execute("INSERT INTO burned (key, amount) VALUES (?, ?)", (str(next(_keys)), 1))
                raw.execute("COMMIT")

        for run in (insert, lambda: _consume(ent, "acme", CALLS)):
            for _ in range(12):  # both logs have been written round once, so that neither still grows
                run()
        taken = nanoseconds({"insert": insert, "consume": lambda: _consume(ent, "acme", CALLS)})
        note = f"{taken['consume'] / CALLS / 1000:.0f} us"
        ratio = taken["consume"] / taken["insert"]
        yield Figure("durable consume_credits / one INSERT per transaction", ratio, 1.5, note=note)
        _grant(ent, "many", 1000)
        _consume(ent, "many", 5)
        taken = nanoseconds({"consume": lambda: _consume(ent, "many", 20)})
        yield Figure("ms for a consume with 1,000 open blocks", taken["consume"] / 20 / 1e6, 1)
    raw.close()


def _history(folder: Path, entries: int = 20_000) -> Iterator[Figure]:
    with Entitlements(CATALOG, storage=f"sqlite:///{folder / 'long.db'}") as ent:
        _grant(ent, "short", 4)
        _grant(ent, "long", 4)
        _consume(ent, "short", 100)
        _consume(ent, "long", entries)
        runs = {who: (lambda who=who: _consume(ent, who, CALLS)) for who in ("short", "long")}
        taken = nanoseconds(runs)
        yield Figure(f"consume after {entries:,} entries / after 100", taken["long"] / taken["short"], 1.3)
        looks = {who: (lambda who=who: [ent.balance(who, "ai") for _ in range(CALLS)]) for who in ("short", "long")}
        taken = nanoseconds(looks)
        yield Figure(f"balance after {entries:,} entries / after 100", taken["long"] / taken["short"], 1.3)
        begin = perf_counter()
        problems = ent.verify("long")
        rate = entries / (perf_counter() - begin)
        yield Figure("entries verified in a second", rate, 50_000, at_least=True, note=f"{len(problems)} problems")


def _grant(ent: Entitlements, customer: str, blocks: int) -> None:
    for n in range(blocks):
        ent.grant_credits(customer, "ai", 1_000_000, key=f"g{n}", priority=n % 100)


def _consume(ent: Entitlements, customer: str, calls: int) -> None:
    for _ in range(calls):
        ent.consume_credits(customer, "ai", 1, key=f"c{next(_keys)}")
