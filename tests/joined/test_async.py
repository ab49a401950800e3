"""Inside a transaction of the host's, awaited: on an AsyncConnection of psycopg, and on sqlite3 in place."""

import asyncio
import sqlite3
from contextlib import closing
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from entitlements import AsyncEntitlements, Catalog
from entitlements.storage.postgres import PostgresStorage
from entitlements.storage.postgres_async import AsyncPostgresStorage

CATALOG = Catalog.load(
    {
        "default_plan": "free",
        "features": {"orders": {"type": "metered", "reset": "none"}, "sso": {"type": "boolean"}},
        "credits": {"ai": {}},
        "plans": {"free": {"entitlements": {"orders": 10}}, "pro": {"entitlements": {"orders": 100, "sso": True}}},
    }
)


@pytest.fixture
def storage(postgres_url):
    return AsyncPostgresStorage(postgres_url, schema=f"joined_{uuid4().hex[:12]}")


def test_what_is_written_is_committed_with_the_hosts_own_rows(storage, postgres_url):
    async def main():
        async with AsyncEntitlements(CATALOG, storage=storage) as ent:
            app = await psycopg.AsyncConnection.connect(postgres_url, autocommit=True)
            async with app, app.transaction():
                joined = ent.joined(app)
                assert (await joined.consume("acme", "orders", 3, key="o1")).used == 3
                assert (await joined.grant_credits("acme", "ai", 10, key="g")).remaining == 10
                assert (await joined.consume("acme", "orders", 3, key="o1")).receipt.replayed
                assert (await joined.customer("acme").check("orders")).used == 3
                assert await joined.verify("acme") == ()
                assert (await ent.check("acme", "orders")).used == 0
            assert (await ent.balance("acme", "ai")).available == 10
            assert await ent.verify() == ()

    asyncio.run(main())


def test_a_rollback_leaves_nothing(storage, postgres_url):
    async def main():
        async with AsyncEntitlements(CATALOG, storage=storage) as ent:
            app = await psycopg.AsyncConnection.connect(postgres_url)
            async with app:
                async with app.transaction():
                    joined = ent.joined(app)
                    await joined.subscribe("acme", "pro", key="s")
                    assert await joined.check("acme", "sso")
                    raise psycopg.Rollback
                assert not await ent.check("acme", "sso")
                assert await ent.entries("acme") == ()
                with pytest.raises(ValueError, match="no transaction is open"):
                    await joined.check("acme", "sso")
                async with app.pipeline(), app.transaction():
                    with pytest.raises(ValueError, match="leave its pipeline first"):
                        await joined.check("acme", "sso")
                with pytest.raises(ValueError, match="no transaction is open"):
                    ent.joined(app)

    asyncio.run(main())


def test_a_cancelled_call_is_whole_or_not_there_when_the_host_commits_all_the_same(storage, postgres_url):
    async def main():
        async with AsyncEntitlements(CATALOG, storage=storage) as ent:
            await ent.consume("warm", "orders", 1, key="w")
            app = await psycopg.AsyncConnection.connect(postgres_url)
            async with app:
                for turn in range(40):
                    async with app.transaction():
                        await app.execute("SELECT 1")
                        asked = asyncio.ensure_future(ent.joined(app).grant_credits("acme", "ai", 1, key=f"{turn}"))
                        await asyncio.sleep(turn * 0.0002)
                        asked.cancel()
                        await asyncio.wait([asked])
            assert await ent.verify() == ()

    asyncio.run(main())


@pytest.mark.parametrize("kind", [AsyncPostgresStorage, PostgresStorage])
def test_another_database_is_refused_by_the_first_verb(postgres_url, kind):
    name, schema = f"other_{uuid4().hex[:12]}", f"joined_{uuid4().hex[:12]}"
    elsewhere = make_conninfo(postgres_url, dbname=name)

    async def main():
        async with AsyncEntitlements(CATALOG, storage=kind(postgres_url, schema=schema)) as ent:
            async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as app:
                await app.execute(f"CREATE DATABASE {name}")
                async with app.transaction():
                    assert await ent.joined(app).consume("acme", "orders", key="o1")
            async with await psycopg.AsyncConnection.connect(elsewhere) as app, app.transaction():
                for verb in (ent.joined(app).check, ent.joined(app).consume):
                    with pytest.raises(ValueError, match=f"the transaction is one in database {name}"):
                        await verb("acme", "orders")

    asyncio.run(main())


def test_a_connection_of_sqlite3_is_used_in_place(tmp_path):
    async def main():
        async with AsyncEntitlements(CATALOG, storage=f"sqlite:///{tmp_path}/app.db") as ent:
            app = sqlite3.connect(tmp_path / "app.db", isolation_level=None)
            app.execute("BEGIN IMMEDIATE")
            joined = ent.joined(app)
            assert (await joined.consume("acme", "orders", 3, key="o1")).used == 3
            app.execute("ROLLBACK")
            assert (await ent.check("acme", "orders")).used == 0
            app.execute("BEGIN IMMEDIATE")
            assert (await ent.joined(app).reserve("acme", "orders", 3, key="h")).decision.used == 3
            app.execute("COMMIT")
            app.close()
            assert await ent.verify() == ()

    asyncio.run(main())


def test_the_wrong_colour_is_a_type_error(storage, postgres_url, tmp_path):
    async def main():
        async with AsyncEntitlements(CATALOG, storage=storage) as ent:
            with psycopg.connect(postgres_url) as app, pytest.raises(TypeError, match="AsyncConnection"):
                ent.joined(app)
            with closing(sqlite3.connect(tmp_path / "other.db", isolation_level=None)) as sqlite:
                sqlite.execute("BEGIN IMMEDIATE")
                with pytest.raises(ValueError, match="an SQLite file"):
                    ent.joined(sqlite)
                async with AsyncEntitlements(CATALOG, storage="memory:") as elsewhere:
                    with pytest.raises(ValueError, match="the logs are in memory"):
                        elsewhere.joined(sqlite)

    asyncio.run(main())
