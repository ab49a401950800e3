"""Gates that act with an engine joined to the host's transaction: what they take is committed and undone with it."""

import asyncio
import sqlite3
from contextlib import closing
from uuid import uuid4

import psycopg
import pytest

from entitlements import (
    AsyncEntitlements,
    EntitlementDenied,
    Entitlements,
    NotConfigured,
    acting_as,
    consumes,
    requires_feature,
)
from entitlements.storage.postgres import PostgresStorage
from entitlements.storage.postgres_async import AsyncPostgresStorage

CATALOG = {
    "default_plan": "free",
    "features": {"chat": {"type": "metered", "reset": "none"}, "sso": {"type": "boolean"}},
    "plans": {"free": {"entitlements": {"chat": 3}}},
}


@requires_feature("chat")
@consumes("chat", amount=2)
def plain():
    return "done"


@requires_feature("chat")
@consumes("chat", amount=2)
async def coroutine():
    return "done"


@consumes("chat", amount=2)
@requires_feature("chat")
async def streaming():
    yield "done"


async def called():
    return plain()


async def drained():
    (item,) = [item async for item in streaming()]
    return item


@pytest.fixture(params=["sqlite", "postgres"])
def pair(request, tmp_path):
    """An engine, and a connection of the host's to the same database."""
    if request.param == "sqlite":
        storage = f"sqlite:///{tmp_path}/app.db"
        connect = lambda: sqlite3.connect(tmp_path / "app.db", isolation_level=None)  # noqa: E731
    else:
        url = request.getfixturevalue("postgres_url")
        storage = PostgresStorage(url, schema=f"joined_{uuid4().hex[:12]}")
        connect = lambda: psycopg.connect(url, autocommit=True)  # noqa: E731
    with Entitlements(CATALOG, storage=storage) as ent, closing(connect()) as app:
        yield ent, app


@pytest.mark.parametrize("work", [called, coroutine, drained])
def test_whatever_is_gated_works_inside_the_transaction(pair, work):
    """Found in review: what is awaited was an AttributeError."""
    ent, app = pair

    async def main(joined):
        with acting_as("acme", engine=joined):
            assert await work() == "done"
            assert joined.check("acme", "chat").used == 2
            with pytest.raises(EntitlementDenied):
                await work()

    for end, used in (("ROLLBACK", 0), ("COMMIT", 2)):
        app.execute("BEGIN")
        asyncio.run(main(ent.joined(app)))
        app.execute(end)
        assert ent.check("acme", "chat", requested=0).used == used
    assert ent.verify() == ()


def test_what_is_awaited_may_gate_a_plain_function_where_nothing_has_to_be(tmp_path, postgres_url):
    async def main():
        async with AsyncEntitlements(CATALOG, storage=f"sqlite:///{tmp_path}/app.db") as ent:
            with closing(sqlite3.connect(tmp_path / "app.db", isolation_level=None)) as app:
                app.execute("BEGIN IMMEDIATE")
                with acting_as("acme", engine=ent.joined(app)):
                    assert plain() == "done"
                app.execute("COMMIT")
            assert (await ent.check("acme", "chat")).used == 2
        storage = AsyncPostgresStorage(postgres_url, schema=f"joined_{uuid4().hex[:12]}")
        async with AsyncEntitlements(CATALOG, storage=storage) as ent:
            async with await psycopg.AsyncConnection.connect(postgres_url) as app, app.transaction():
                with acting_as("acme", engine=ent.joined(app)):
                    assert await coroutine() == "done"
                    with pytest.raises(NotConfigured, match="gate an async function"):
                        plain()
            assert (await ent.check("acme", "chat")).used == 2

    asyncio.run(main())


def test_what_the_host_raised_is_not_hidden_by_the_transaction_it_ended(pair):
    ent, app = pair
    error, statement = psycopg.errors.DivisionByZero, "SELECT 1 / 0"
    if isinstance(app, sqlite3.Connection):
        app.execute("CREATE TABLE once (id int PRIMARY KEY)")
        error, statement = sqlite3.IntegrityError, "INSERT OR ROLLBACK INTO once VALUES (1), (1)"

    async def awaited():
        async with ent.joined(app).reserve("acme", "chat", 2, key="h"):
            app.execute(statement)

    def blocking():
        with ent.joined(app).reserve("acme", "chat", 2, key="h"):
            app.execute(statement)

    for work in (blocking, lambda: asyncio.run(awaited())):
        app.execute("BEGIN")
        with pytest.raises(error) as raised:
            work()
        assert any("hold 'h' was not closed either" in note for note in raised.value.__notes__)
        if isinstance(app, psycopg.Connection):
            app.execute("ROLLBACK")
    assert ent.check("acme", "chat", requested=0).used == 0
