"""Every verb comes to the same inside a host's transaction as outside of one, on every driver."""

import asyncio
import inspect
import sqlite3
from contextlib import closing, contextmanager
from datetime import timedelta
from uuid import uuid4

import attrs
import psycopg
import pytest

from entitlements import AsyncEntitlements, Entitlements
from entitlements.storage.postgres import PostgresStorage
from entitlements.storage.postgres_async import AsyncPostgresStorage
from entitlements.testing import FrozenClock

from ..faults.verbs import CATALOG, NOW, VERBS, stock

INSIDE = {name: verb for name, verb in VERBS.items() if name != "erase"}
READS = {
    "balance": lambda ent: ent.balance("acme", "ai"),
    "check": lambda ent: ent.check("acme", "calls"),
    "check at": lambda ent: ent.check("acme", "calls", at=NOW - timedelta(days=1)),
    "explain": lambda ent: ent.explain("acme", "calls"),
    "snapshot": lambda ent: ent.snapshot("acme"),
    "entries": lambda ent: ent.entries("acme"),
    "statement": lambda ent: ent.statement("acme", "ai", start=NOW - timedelta(days=1), end=NOW + timedelta(days=1)),
    "revenue": lambda ent: ent.revenue(start=NOW - timedelta(days=1), end=NOW + timedelta(days=1)),
    "head": lambda ent: ent.head("acme"),
    "verify": lambda ent: ent.verify(),
    "sweep all": lambda ent: ent.sweep(),
}


@contextmanager
def sqlite_pair(clock, tmp_path, _):
    with Entitlements(CATALOG, storage=f"sqlite:///{tmp_path}/app.db", clock=clock) as ent:
        stock(ent)
        with closing(sqlite3.connect(tmp_path / "app.db", isolation_level=None)) as app:
            app.execute("BEGIN IMMEDIATE")
            yield ent, ent.joined(app)
            app.execute("COMMIT")


@contextmanager
def postgres_pair(clock, _, request):
    storage = PostgresStorage(request.getfixturevalue("postgres_url"), schema=f"joined_{uuid4().hex[:12]}")
    with Entitlements(CATALOG, storage=storage, clock=clock) as ent:
        stock(ent)
        with psycopg.connect(request.getfixturevalue("postgres_url")) as app, app.transaction():
            yield ent, ent.joined(app)


@pytest.fixture(params=[sqlite_pair, postgres_pair], ids=lambda pair: pair.__name__)
def pair(request, tmp_path):
    """An engine, one joined to a transaction that is committed when the block is left, and a clock for both."""

    @contextmanager
    def made(at):
        clock = FrozenClock(NOW)
        with request.param(clock, tmp_path, request) as (ent, joined):
            clock.set(at)
            yield ent, joined

    return made


def at_of(name):
    return NOW + timedelta(minutes=5 if name == "sweep" else 0)


def told(value):
    """What a verb returned, without what is drawn by chance and which engine a hold belongs to."""
    return value.decision if type(value).__name__ in {"Hold", "AsyncHold"} else value


def undrawn(entries):
    return [attrs.evolve(entry, key="") if len(entry.key) == 32 else entry for entry in entries]


def plainly(name):
    """What a verb comes to outside: its value, and the logs it leaves."""
    clock = FrozenClock(NOW)
    with Entitlements(CATALOG, storage="memory:", clock=clock) as ent:
        stock(ent)
        clock.set(at_of(name))
        return told(INSIDE[name](ent)), [undrawn(ent.entries(customer)) for customer in ("acme", "new")]


@pytest.fixture(autouse=True)
def one_salt(monkeypatch):
    """What names a budget is drawn by chance, too, once for each log."""
    monkeypatch.setattr("entitlements.hearing.secrets.token_hex", lambda size: "5a" * size)


@pytest.mark.parametrize("name", INSIDE)
def test_a_verb_that_writes_comes_to_the_same(pair, name):
    value, logs = plainly(name)
    with pair(at_of(name)) as (_, joined):
        assert told(INSIDE[name](joined)) == value
        assert [undrawn(joined.entries(customer)) for customer in ("acme", "new")] == logs


@pytest.mark.parametrize("name", READS)
def test_a_verb_that_reads_comes_to_the_same(pair, name):
    with pair(NOW) as (ent, joined):
        inside, outside = READS[name](joined), READS[name](ent) if "sweep" not in name else 0
        assert str(inside) == str(outside)


def test_the_same_awaited(postgres_url):
    async def main():
        for name, verb in {**INSIDE, **READS}.items():
            clock = FrozenClock(NOW)
            schema = f"joined_{uuid4().hex[:12]}"
            with Entitlements(CATALOG, storage=PostgresStorage(postgres_url, schema=schema), clock=clock) as ent:
                stock(ent)
            clock.set(at_of(name))
            expected = plainly(name) if name in INSIDE else None
            storage = AsyncPostgresStorage(postgres_url, schema=schema)
            async with AsyncEntitlements(CATALOG, storage=storage, clock=clock) as ent:
                app = await psycopg.AsyncConnection.connect(postgres_url)
                async with app, app.transaction():
                    joined = ent.joined(app)
                    value = verb(joined)
                    value = await value if inspect.isawaitable(value) else value
                    if expected:
                        logs = [undrawn(await joined.entries(customer)) for customer in ("acme", "new")]
                        assert (told(value), logs) == expected, name
                assert await ent.verify() == ()

    asyncio.run(main())


def test_several_are_consumed_at_once_and_undone_at_once(pair):
    from entitlements import Request

    with pair(NOW) as (_, joined):
        before = joined.check("acme", "calls").used
        asked = [Request("acme", "calls", 1, key="m1"), Request("new", "calls", 2, key="m2")]
        assert [answer.used for answer in joined.consume_many(asked)] == [before + 1, 2]
        with pytest.raises(ValueError):
            joined.consume_many([Request("acme", "calls", 1, key="m3"), Request("acme", "sso", 1, key="m4")])
        assert joined.check("acme", "calls").used == before + 1
        assert joined.consume_many(asked)[1].receipt.replayed
