"""Inside a transaction of the host's on psycopg: committed and undone with it, the customer's lock held until then."""

import sqlite3
import threading
import time
from contextlib import closing
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from entitlements import Catalog, Entitlements
from entitlements.errors import IdempotencyConflict, StorageError, StorageUnavailable
from entitlements.freshness import PULSE_EVERY
from entitlements.storage.joined_postgres import JoinedPostgres
from entitlements.storage.postgres import PostgresStorage
from entitlements.storage.postgres_identity import Identity, identities

CATALOG = Catalog.load(
    {
        "default_plan": "free",
        "features": {"orders": {"type": "metered", "reset": "none"}, "sso": {"type": "boolean"}},
        "credits": {"ai": {}},
        "plans": {"free": {"entitlements": {"orders": 10}}, "pro": {"entitlements": {"orders": 100, "sso": True}}},
    }
)


@pytest.fixture
def schema():
    return f"joined_{uuid4().hex[:12]}"


@pytest.fixture
def ent(postgres_url, schema):
    with Entitlements(CATALOG, storage=PostgresStorage(postgres_url, schema=schema)) as ent:
        ent.consume("warm", "orders", key="so that what a first use fixes is fixed")
        yield ent


@pytest.fixture
def app(postgres_url, ent):
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TEMPORARY TABLE orders (id text PRIMARY KEY)")
        yield connection


def test_what_is_written_is_committed_with_the_hosts_own_rows(ent, app):
    with app.transaction():
        joined = ent.joined(app)
        app.execute("INSERT INTO orders VALUES ('o1')")
        assert joined.consume("acme", "orders", 3, key="o1").used == 3
        assert joined.grant_credits("acme", "ai", 10, key="g1", metadata={"invoice": "i1"}).remaining == 10
        assert joined.consume_credits("acme", "ai", 4, key="c1").receipt.balance_after == 6
        assert ent.check("acme", "orders").used == 0
    time.sleep(PULSE_EVERY * 1.1)
    assert ent.check("acme", "orders").used == 3
    assert ent.balance("acme", "ai").available == 6
    assert ent.verify() == ()


def test_a_rollback_leaves_nothing_not_even_in_mind(ent, app):
    ent.consume("acme", "orders", 1, key="before")
    head = ent.head("acme")
    with app.transaction():
        joined = ent.joined(app)
        joined.subscribe("acme", "pro", key="s")
        assert joined.consume("acme", "orders", 50, key="o1")
        assert joined.check("acme", "sso")
        assert joined.verify("acme") == ()
        raise psycopg.Rollback
    assert not ent.check("acme", "sso")
    assert ent.check("acme", "orders").used == 1
    assert ent.head("acme") == head
    assert ent.consume("acme", "orders", 2, key="o1").used == 3
    assert ent.verify() == ()


def test_a_call_sees_what_the_one_before_it_wrote(ent, app):
    with app.transaction():
        joined = ent.joined(app)
        for turn in range(1, 6):
            assert joined.consume("acme", "orders", 2, key=f"o{turn}").used == 2 * turn
        assert joined.consume("acme", "orders", 1, key="o6").code == "limit_reached"
        assert joined.consume("acme", "orders", 2, key="o1").receipt.replayed
        with pytest.raises(IdempotencyConflict):
            joined.consume("acme", "orders", 3, key="o1")
        assert [entry.seq for entry in joined.entries("acme")] == [1, 2, 3, 4, 5]
    assert ent.verify() == ()
    assert [batch.number for batch in ent.feed().batches if batch.customer == "acme"] == [1, 2, 3, 4, 5]


def test_an_error_of_one_call_leaves_the_hosts_transaction_usable(ent, app):
    with app.transaction():
        joined = ent.joined(app)
        joined.consume("acme", "orders", 1, key="k")
        for call in (lambda: joined.refund("acme", "nothing", key="r"), lambda: joined.cancel("acme")):
            with pytest.raises(LookupError):
                call()
        joined.consume("acme", "orders", 1, key="k2")
        app.execute("INSERT INTO orders VALUES ('o1')")
    assert len(ent.entries("acme")) == 2


def test_outside_a_transaction_or_in_one_that_failed_it_is_refused(ent, app):
    with pytest.raises(ValueError, match="no transaction is open"):
        ent.joined(app)
    with app.transaction():
        joined = ent.joined(app)
    with pytest.raises(ValueError, match="no transaction is open"):
        joined.consume("acme", "orders", key="k")
    app.execute("BEGIN")
    with pytest.raises(psycopg.Error):
        app.execute("SELECT nothing")
    with pytest.raises(ValueError, match="has failed; roll it back"):
        ent.joined(app)
    app.execute("ROLLBACK")
    assert ent.entries("acme") == ()


def test_a_pipeline_is_refused_and_the_transaction_goes_on_after_it(ent, app):
    with app.transaction():
        joined = ent.joined(app)
        with app.pipeline():
            app.execute("INSERT INTO orders VALUES ('o1')")
            for call in (lambda: ent.joined(app), lambda: joined.consume("acme", "orders", key="k")):
                with pytest.raises(ValueError, match="leave its pipeline first"):
                    call()
        assert joined.consume("acme", "orders", key="k").used == 1
        assert app.execute("SELECT id FROM orders").fetchall() == [("o1",)]
    assert ent.verify() == ()


@pytest.mark.parametrize("level", [psycopg.IsolationLevel.REPEATABLE_READ, psycopg.IsolationLevel.SERIALIZABLE])
def test_a_stricter_isolation_level_is_refused(ent, app, level):
    app.isolation_level = level
    with app.transaction(), pytest.raises(ValueError, match="begin it READ COMMITTED"):
        ent.joined(app).consume("acme", "orders", key="k")


def test_the_customers_lock_is_held_until_the_host_commits(ent, app):
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(ent.consume("acme", "orders", 2, key="k2")))
    with app.transaction():
        assert ent.joined(app).consume("acme", "orders", 9, key="k1")
        waiting.start()
        waiting.join(0.2)
        assert answers == []
        assert ent.consume("other", "orders", 2, key="k")
    waiting.join()
    assert [answer.code for answer in answers] == ["limit_reached"]


@pytest.mark.parametrize(
    "look",
    [
        lambda joined: joined.check("acme", "orders"),
        lambda joined: joined.balance("acme", "ai"),
        lambda joined: joined.snapshot("acme").etag,
        lambda joined: joined.entries("acme"),
        lambda joined: joined.verify("acme"),
    ],
)
def test_what_is_read_inside_is_of_one_instant_and_stands_until_the_host_commits(ent, app, look):
    """Statements at READ COMMITTED see what is committed between them; so nobody else may write."""
    ent.consume("acme", "orders", 1, key="k1")
    writing = threading.Thread(target=lambda: ent.consume("acme", "orders", 2, key="k2"))
    with app.transaction():
        first = look(ent.joined(app))
        writing.start()
        writing.join(0.2)
        assert writing.is_alive()
        assert str(look(ent.joined(app))) == str(first)
    writing.join()
    assert ent.check("acme", "orders", at=None).used == 3


def test_a_lock_not_had_in_time_is_unavailable_and_the_host_goes_on_with_its_own_patience(
    ent, app, postgres_url, monkeypatch
):
    monkeypatch.setattr("entitlements.storage.joining.PATIENCE", 0.2)
    with psycopg.connect(postgres_url) as other, app.transaction():
        ent.joined(app).consume("mine", "orders", key="k")
        app.execute("SET LOCAL lock_timeout = '7s'")
        with other.transaction():
            ent.joined(other).consume("acme", "orders", key="k")
            with pytest.raises(StorageUnavailable, match="nothing was written"):
                ent.joined(app).consume("acme", "orders", key="k2")
        assert app.execute("SHOW lock_timeout").fetchone() == ("7s",)
        assert ent.joined(app).consume("acme", "orders", key="k2").used == 2
        assert app.execute("SHOW lock_timeout").fetchone() == ("7s",)
    assert ent.verify() == ()


def test_the_hosts_own_ways_of_reading_rows_do_not_matter(ent, postgres_url):
    with psycopg.connect(postgres_url, row_factory=dict_row, prepare_threshold=0) as app:
        with app.transaction():
            ent.joined(app).consume("acme", "orders", 4, key="k")
            assert app.execute("SELECT 1 AS one").fetchone() == {"one": 1}
        assert app.execute("SHOW search_path").fetchone()["search_path"] == '"$user", public'
    assert ent.consume("acme", "orders", 1).used == 5


def test_a_database_without_the_tables_is_told_how_to_make_them(postgres_url, app):
    with app.transaction():
        joined = JoinedPostgres(lambda: _host(app), schema="nowhere", write_timeout=1)
        with pytest.raises(StorageError, match="open Entitlements"):
            joined.entries("acme")
        assert app.execute("SELECT 1").fetchone() == (1,)


def test_a_database_of_the_other_kind_is_refused(ent, app, tmp_path):
    with Entitlements(CATALOG, storage=f"sqlite:///{tmp_path}/app.db") as other:
        with app.transaction(), pytest.raises(ValueError, match="this is a connection to PostgreSQL"):
            other.joined(app)
        with closing(sqlite3.connect(tmp_path / "app.db", isolation_level=None)) as file:
            file.execute("BEGIN IMMEDIATE")
            assert other.joined(file).entries("acme") == ()
            with pytest.raises(ValueError, match="an SQLite file"):
                ent.joined(file)


def test_another_database_of_the_server_is_refused_even_one_with_tables(ent, schema, postgres_url):
    """Found in review: the host's rows were charged for in logs of which the engine knows nothing."""
    name = f"other_{uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as maker:
        maker.execute(f"CREATE DATABASE {name}")
    elsewhere = make_conninfo(postgres_url, dbname=name)
    Entitlements(CATALOG, storage=PostgresStorage(elsewhere, schema=schema)).close()
    with psycopg.connect(elsewhere) as app:
        for _ in range(2):
            with app.transaction():
                with pytest.raises(ValueError, match=f"one in database {name} .*; join a connection to the engine's own"):
                    ent.joined(app)
                assert app.execute("SELECT count(*) FROM pg_tables WHERE schemaname = %s", (schema,)).fetchone()[0] > 8


def test_another_server_is_refused_but_not_one_that_took_the_place_of_the_engines(ent, app, monkeypatch):
    other = Identity(app.info.dbname, 7)
    monkeypatch.setattr(ent._storage, "identity", other)
    with app.transaction():
        assert ent.joined(app).check("acme", "orders")
    assert ent._storage.identity.server not in {None, 7}
    monkeypatch.setattr(ent._storage, "identity", other)
    monkeypatch.setattr(ent._storage, "identify", lambda: other)
    with app.transaction(), pytest.raises(ValueError, match="the logs are in .* of server 7"):
        ent.joined(app)


def test_where_the_server_may_not_be_asked_for_its_number_the_names_are_compared(ent, app):
    with app.transaction(force_rollback=True):
        app.execute("CREATE ROLE without_rights")
        app.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
        app.execute("SET LOCAL ROLE without_rights")
        ent.joined(app)
        assert identities[app] == Identity(app.info.dbname, None)
        assert app.execute("SELECT 1").fetchone() == (1,)


def test_a_connection_that_is_lost_wrote_nothing(ent, app):
    with pytest.raises(psycopg.OperationalError), app.transaction():
        ent.joined(app).consume("acme", "orders", key="k")
        with psycopg.connect(app.info.dsn, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", (app.info.backend_pid,))
        with pytest.raises(StorageUnavailable, match="nothing was written"):
            ent.joined(app).consume("acme", "orders", key="k2")
        app.execute("SELECT 1")
    assert ent.entries("acme") == ()


def test_feed_and_erasure_are_the_engines(ent, app):
    with app.transaction():
        joined = ent.joined(app)
        joined.grant_credits("acme", "ai", 1, key="g")
        with pytest.raises(ValueError, match="committed"):
            joined.erase("acme")
        with pytest.raises(ValueError, match="committed"):
            joined.feed()
    assert ent.balance("acme", "ai").available == 1


def _host(app):
    from entitlements.storage.hosts import host_of

    return host_of(app)
