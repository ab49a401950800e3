"""Inside the transactions of SQLAlchemy 2 and of Django, on SQLite and on PostgreSQL."""

import asyncio
import sqlite3
from contextlib import contextmanager
from uuid import uuid4

import django
import pytest
import sqlalchemy as sa
from django.conf import settings
from django.db import connections, transaction
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from entitlements import AsyncEntitlements, Catalog, Entitlements
from entitlements.storage.postgres import PostgresStorage
from entitlements.storage.postgres_async import AsyncPostgresStorage

CATALOG = Catalog.load(
    {
        "default_plan": "free",
        "features": {"orders": {"type": "metered", "reset": "none"}},
        "plans": {"free": {"entitlements": {"orders": 10}}},
    }
)
PINNED = {
    "features": {"orders": {"type": "metered", "reset": "none"}},
    "plans": {"gold": {"version": "pinned", "entitlements": {"orders": 7}}},
}


def alchemy_on_sqlite(path):
    """SQLAlchemy begins IMMEDIATE where it is told to, as its manual says."""
    engine = sa.create_engine(f"sqlite:///{path}")

    @sa.event.listens_for(engine, "connect")
    def never_begin_by_itself(connection, _):
        connection.isolation_level = None

    @sa.event.listens_for(engine, "begin")
    def begin_immediate(connection):
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


@pytest.fixture(params=["sqlite", "postgres"])
def kind(request):
    return request.param


@pytest.fixture
def address(kind, request, tmp_path):
    return str(tmp_path / "app.db") if kind == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
def ent(kind, address):
    schema = f"joined_{uuid4().hex[:12]}"
    storage = f"sqlite:///{address}" if kind == "sqlite" else PostgresStorage(address, schema=schema)
    with Entitlements(CATALOG, storage=storage) as ent:
        ent.consume("warm", "orders", 1, key="w")
        yield ent


@pytest.fixture
def alchemy(kind, address):
    engine = alchemy_on_sqlite(address) if kind == "sqlite" else sa.create_engine(address.replace("postgresql:", "postgresql+psycopg:"))
    yield engine
    engine.dispose()


def test_a_session_of_sqlalchemy_commits_and_undoes(ent, alchemy):
    with Session(alchemy) as session, session.begin():
        assert ent.joined(session).consume("acme", "orders", 3, key="o1").used == 3
        assert session.scalar(sa.text("SELECT 7")) == 7
    with Session(alchemy) as session:
        session.begin()
        joined = ent.joined(session)
        assert joined.consume("acme", "orders", 2, key="o2").used == 5
        session.rollback()
        with pytest.raises(ValueError, match="no transaction is open"):
            joined.consume("acme", "orders", 2, key="o3")
    with alchemy.begin() as connection:
        assert ent.joined(connection).consume("acme", "orders", 1, key="o4").used == 4
    assert [entry.amount for entry in ent.entries("acme")] == [3, 1]
    assert ent.verify() == ()


def test_outside_of_a_transaction_sqlalchemy_is_refused(ent, alchemy):
    with Session(alchemy) as session, pytest.raises(ValueError, match="Session"):
        ent.joined(session)


def test_a_connection_that_the_pool_of_sqlalchemy_lends_is_the_drivers(ent, alchemy, kind):
    """Found in review: it was said to be no connection."""
    lent = alchemy.raw_connection()
    with pytest.raises(ValueError, match="no transaction is open"):
        ent.joined(lent)
    for end, used in ((lent.rollback, 0), (lent.commit, 3)):
        lent.cursor().execute("BEGIN IMMEDIATE" if kind == "sqlite" else "SELECT 1")
        joined = ent.joined(lent)
        assert joined.consume("acme", "orders", 3, key="o1").used == 3
        end()
        assert ent.check("acme", "orders", requested=0).used == used
        with pytest.raises(ValueError, match="no transaction is open"):
            joined.check("acme", "orders")
    lent.close()
    for use in (lambda: ent.joined(lent), lambda: joined.check("acme", "orders")):
        with pytest.raises(ValueError, match="pool lent was given back"):
            use()


def test_sqlalchemy_that_never_begins_on_sqlite_is_refused(tmp_path):
    with Entitlements(CATALOG, storage=f"sqlite:///{tmp_path}/app.db") as ent:
        engine = sa.create_engine(f"sqlite:///{tmp_path}/app.db")
        with Session(engine) as session, session.begin(), pytest.raises(ValueError, match="BEGIN IMMEDIATE"):
            ent.joined(session)
        engine.dispose()


def test_an_async_session_of_sqlalchemy(postgres_url):
    storage = AsyncPostgresStorage(postgres_url, schema=f"joined_{uuid4().hex[:12]}")

    async def main():
        alchemy = create_async_engine(postgres_url.replace("postgresql:", "postgresql+psycopg_async:"))
        async with AsyncEntitlements(CATALOG, storage=storage) as ent:
            async with AsyncSession(alchemy) as session, session.begin():
                await session.connection()
                assert (await ent.joined(session).consume("acme", "orders", 3, key="o1")).used == 3
            async with AsyncSession(alchemy) as session:
                await session.begin()
                await session.connection()
                assert (await ent.joined(session).consume("acme", "orders", 3, key="o2")).used == 6
                await session.rollback()
                with pytest.raises(ValueError, match="AsyncSession"):
                    ent.joined(session)
            assert (await ent.check("acme", "orders")).used == 3
        await alchemy.dispose()

    asyncio.run(main())


def test_an_async_session_without_a_connection_says_how_to_open_it(postgres_url):
    storage = AsyncPostgresStorage(postgres_url, schema=f"joined_{uuid4().hex[:12]}")

    async def main():
        alchemy = create_async_engine(postgres_url.replace("postgresql:", "postgresql+psycopg_async:"))
        async with AsyncEntitlements(CATALOG, storage=storage) as ent:
            async with AsyncSession(alchemy) as session, session.begin():
                with pytest.raises(ValueError, match=r"AsyncSession has no connection yet.*await session.connection\(\)"):
                    ent.joined(session)
                await session.connection()
                assert (await ent.joined(session).consume("acme", "orders", 3, key="o1")).used == 3
            assert await ent.verify() == ()
        await alchemy.dispose()

    asyncio.run(main())


@contextmanager
def django_on(name, database):
    if not settings.configured:
        settings.configure(DATABASES={}, USE_TZ=True)
        django.setup()
    connections.databases["default"] = {"ENGINE": "django.db.backends.dummy"}
    connections.databases[name] = connections.databases["default"] | database
    connections.configure_settings(connections.databases)
    try:
        yield connections[name]
    finally:
        connections[name].close()


def database_of(kind, address):
    if kind == "sqlite":
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": address, "OPTIONS": {"transaction_mode": "IMMEDIATE"}}
    host = address.partition("host=")[2]
    return {"ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "postgres", "HOST": host}


def test_djangos_connection_commits_and_undoes(ent, kind, address):
    with django_on(f"app_{uuid4().hex[:8]}", database_of(kind, address)) as connection:
        with transaction.atomic(using=connection.alias):
            joined = ent.joined(connection)
            assert joined.consume("acme", "orders", 3, key="o1").used == 3
            with connection.cursor() as cursor:
                cursor.execute("SELECT 7")
                assert cursor.fetchone() == (7,)
        with pytest.raises(ValueError, match="atomic"):
            joined.consume("acme", "orders", 1, key="o2")
        with transaction.atomic(using=connection.alias):
            assert ent.joined(connection).consume("acme", "orders", 4, key="o3").used == 7
            transaction.set_rollback(True, using=connection.alias)
        with pytest.raises(ValueError, match="atomic"):
            ent.joined(connection)
    assert [entry.amount for entry in ent.entries("acme")] == [3]
    assert ent.verify() == ()


def test_what_a_nested_atomic_of_django_undoes_is_written_again(kind, address):
    schema, told = f"joined_{uuid4().hex[:12]}", database_of(kind, address)
    storage = f"sqlite:///{address}" if kind == "sqlite" else PostgresStorage(address, schema=schema)
    with Entitlements(PINNED, storage=storage) as ent, django_on(f"app_{uuid4().hex[:8]}", told) as connection:
        with transaction.atomic(using=connection.alias):
            joined = ent.joined(connection)
            with pytest.raises(RuntimeError), transaction.atomic(using=connection.alias):
                joined.subscribe("acme", "gold")
                raise RuntimeError
            joined.subscribe("acme", "gold")
        assert ent.consume("acme", "orders", 7, key="o1").limit == 7
        assert ent.verify() == ()


def test_a_module_of_ones_own_around_sqlite3_is_sqlite3(tmp_path):
    class Connection(sqlite3.Connection):
        pass

    with Entitlements(CATALOG, storage=f"sqlite:///{tmp_path}/app.db") as ent:
        app = sqlite3.connect(tmp_path / "app.db", factory=Connection, isolation_level=None)
        app.execute("BEGIN IMMEDIATE")
        assert ent.joined(app).consume("acme", "orders", 3, key="o1").used == 3
        app.execute("COMMIT")
        app.close()
