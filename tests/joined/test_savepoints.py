"""What the host undoes while its transaction, or the object that was joined to it, goes on: nothing is relied on."""

import asyncio
import json
import sqlite3
from contextlib import closing
from uuid import uuid4

import psycopg
import pytest

from entitlements import AsyncEntitlements, Catalog, Entitlements
from entitlements.storage.postgres import PostgresStorage
from entitlements.storage.postgres_async import AsyncPostgresStorage


def catalog(scale=2, limit=500):
    return {
        "default_plan": "free",
        "features": {"chat": {"type": "metered", "scale": scale, "reset": "none"}},
        "credits": {"ai": {"scale": scale}},
        "plans": {
            "free": {"entitlements": {"chat": 100}},
            "gold": {"version": "pinned", "entitlements": {"chat": limit}},
        },
    }


USES = {
    "subscribe": lambda ent: ent.subscribe("acme", "gold"),
    "start_trial": lambda ent: ent.start_trial("acme", "gold", days=30),
    "consume": lambda ent: ent.consume("acme", "chat", "1.25", key="k"),
    "grant": lambda ent: ent.grant_credits("acme", "ai", "1.25", key="k"),
}


@pytest.fixture(params=["sqlite", "postgres"])
def kind(request):
    return request.param


@pytest.fixture
def address(kind, request, tmp_path):
    return str(tmp_path / "app.db") if kind == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
def opened(kind, address):
    """Opens engines on one and the same database."""
    schema = f"joined_{uuid4().hex[:12]}"
    storage = f"sqlite:///{address}" if kind == "sqlite" else None
    return lambda sold: Entitlements(sold, storage=storage or PostgresStorage(address, schema=schema))


@pytest.fixture
def app(kind, address, opened):
    """The host's connection, on which it begins and ends transactions by itself."""
    opened(catalog()).close()
    sqlite = kind == "sqlite"
    app = sqlite3.connect(address, isolation_level=None) if sqlite else psycopg.connect(address, autocommit=True)
    with closing(app):
        yield app


def noted(ent):
    return {entry.subject for batch in ent.feed().batches if batch.customer == "$catalog" for entry in batch.entries}


def undo_to_savepoint(app, joined, use):
    app.execute("SAVEPOINT nested")
    use(joined)
    app.execute("ROLLBACK TO SAVEPOINT nested")
    app.execute("RELEASE SAVEPOINT nested")


def undo_all(app, joined, use):
    use(joined)
    app.execute("ROLLBACK")
    app.execute("BEGIN")


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("undo", [undo_to_savepoint, undo_all])
def test_what_was_undone_is_written_again_by_what_relies_on_it(opened, app, undo, use):
    with opened(catalog()) as ent:
        app.execute("BEGIN")
        joined = ent.joined(app)
        undo(app, joined, USES[use])
        USES[use](joined)
        app.execute("COMMIT")
        expected = {"consume": {"feature:chat"}, "grant": {"credit:ai"}}
        assert noted(ent) == expected.get(use, {"feature:chat", f"version:{ent.catalog.version}"})
        assert ent.verify() == ()
    with opened(catalog(limit=1)) as later:
        assert later.check("acme", "chat").limit == (500 if use in {"subscribe", "start_trial"} else 100)
        assert later.consume("acme", "chat", 2, key="later")
        assert later.verify() == () == later.verify("acme")


def test_what_the_engine_knows_to_be_committed_is_not_written_again(opened, app):
    with opened(catalog()) as ent:
        ent.subscribe("other", "gold")
        app.execute("BEGIN")
        joined = ent.joined(app)
        undo_to_savepoint(app, joined, USES["subscribe"])
        joined.subscribe("acme", "gold")
        assert joined.consume("acme", "chat", 400, key="k")
        app.execute("COMMIT")
        assert noted(ent) == {"feature:chat", f"version:{ent.catalog.version}"}
        assert [batch.number for batch in ent.feed().batches if batch.customer == "$catalog"] == [1, 2]
        assert ent.verify() == ()


def test_a_pinned_plan_is_decided_by_what_the_transaction_still_holds(opened, app):
    """A version that only this transaction has kept is read from it, and not remembered when that is undone."""
    with opened(catalog()) as first, opened(catalog(limit=1)) as second:
        first.subscribe("other", "gold")
        app.execute("BEGIN")
        joined = second.joined(app)
        assert joined.check("other", "chat").limit == 500
        undo_to_savepoint(app, joined, lambda joined: joined.subscribe("acme", "gold"))
        assert joined.check("acme", "chat").limit == 100
        joined.subscribe("acme", "gold")
        assert joined.check("acme", "chat").limit == 1
        app.execute("COMMIT")
        assert first.check("acme", "chat", at=None).limit == 1
        assert first.verify() == ()


def test_a_catalog_file_that_changes_meanwhile_teaches_the_engine_nothing_that_may_be_undone(opened, app, tmp_path):
    file = tmp_path / "catalog.json"
    file.write_text(json.dumps(catalog()))
    with opened(file) as ent:
        app.execute("BEGIN")
        joined = ent.joined(app)
        joined.consume("acme", "chat", 1, key="k")
        file.write_text(json.dumps(catalog(limit=600)))
        assert joined.check("acme", "chat").used == 1
        assert ent.catalog.version != Catalog.load(catalog()).version
        app.execute("ROLLBACK")
        assert ent.consume("acme", "chat", 1, key="k")
        assert noted(ent) == {"feature:chat"}


def test_awaited_it_is_the_same(postgres_url):
    storage = AsyncPostgresStorage(postgres_url, schema=f"joined_{uuid4().hex[:12]}")

    async def main():
        async with AsyncEntitlements(catalog(), storage=storage) as ent:
            async with await psycopg.AsyncConnection.connect(postgres_url) as app, app.transaction():
                await app.execute("SELECT 1")
                joined = ent.joined(app)
                async with app.transaction(force_rollback=True):
                    await joined.subscribe("acme", "gold")
                await joined.subscribe("acme", "gold")
            assert (await ent.check("acme", "chat")).limit == 500
            assert await ent.verify() == ()

    asyncio.run(main())
