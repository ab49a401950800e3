"""Inside a transaction of the host's on sqlite3: all or nothing with the host's own rows, and nothing remembered."""

import sqlite3
import threading
import time

import pytest

from entitlements import AsyncEntitlements, Catalog, Entitlements
from entitlements.errors import IdempotencyConflict, StorageError, StorageUnavailable
from entitlements.freshness import PULSE_EVERY
from entitlements.storage.sqlite import SQLiteStorage

CATALOG = Catalog.load(
    {
        "default_plan": "free",
        "features": {"orders": {"type": "metered", "reset": "none"}, "sso": {"type": "boolean"}},
        "credits": {"ai": {}},
        "plans": {"free": {"entitlements": {"orders": 10}}, "pro": {"entitlements": {"orders": 100, "sso": True}}},
    }
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "app.db"


@pytest.fixture
def ent(path):
    with Entitlements(CATALOG, storage=f"sqlite:///{path}") as ent:
        yield ent


@pytest.fixture
def app(path, ent):
    connection = sqlite3.connect(path, isolation_level=None, timeout=0.2)
    connection.execute("CREATE TABLE orders (id TEXT PRIMARY KEY)")
    yield connection
    connection.close()


def begin(app):
    app.execute("BEGIN IMMEDIATE")
    return app


def test_what_is_written_is_committed_with_the_hosts_own_rows(ent, app):
    joined = ent.joined(begin(app))
    app.execute("INSERT INTO orders VALUES ('o1')")
    assert joined.consume("acme", "orders", 3, key="o1").used == 3
    assert joined.grant_credits("acme", "ai", 10, key="g1").remaining == 10
    assert ent.check("acme", "orders").used == 0
    app.execute("COMMIT")
    time.sleep(PULSE_EVERY * 1.1)
    assert ent.check("acme", "orders").used == 3
    assert ent.balance("acme", "ai").available == 10
    assert ent.verify() == ()


def test_a_rollback_leaves_nothing_not_even_in_mind(ent, app):
    ent.consume("acme", "orders", 1, key="before")
    head = ent.head("acme")
    joined = ent.joined(begin(app))
    joined.subscribe("acme", "pro", key="s")
    assert joined.consume("acme", "orders", 50, key="o1")
    assert joined.check("acme", "sso")
    assert joined.balance("acme", "ai").available == 0
    app.execute("ROLLBACK")
    assert not ent.check("acme", "sso")
    assert ent.check("acme", "orders").used == 1
    assert ent.head("acme") == head
    assert [entry.kind for entry in ent.entries("acme")] == ["used"]
    assert ent.consume("acme", "orders", 2, key="o1").used == 3
    assert ent.verify() == ()


def test_what_a_first_use_fixed_is_forgotten_with_the_transaction(ent, app):
    ent.joined(begin(app)).consume("acme", "orders", 1, key="k")
    app.execute("ROLLBACK")
    assert ent._desk.versions.fixed == {}
    assert ent._storage.entries("$catalog") == ()
    ent.consume("acme", "orders", 1, key="k")
    assert ent._storage.entries("$catalog")[0].subject == "feature:orders"


def test_a_call_sees_what_the_one_before_it_wrote(ent, app):
    joined = ent.joined(begin(app))
    for turn in range(1, 6):
        assert joined.consume("acme", "orders", 2, key=f"o{turn}").used == 2 * turn
    assert joined.consume("acme", "orders", 1, key="o6").code == "limit_reached"
    assert joined.consume("acme", "orders", 2, key="o1").receipt.replayed
    with pytest.raises(IdempotencyConflict):
        joined.consume("acme", "orders", 3, key="o1")
    hold = joined.customer("acme").reserve_credits("ai", 1, key="h")
    assert not hold
    assert [entry.seq for entry in joined.entries("acme")] == [1, 2, 3, 4, 5]
    app.execute("COMMIT")
    assert ent.verify() == ()


def test_an_error_of_one_call_leaves_the_hosts_transaction_as_it_was(ent, app):
    joined = ent.joined(begin(app))
    app.execute("INSERT INTO orders VALUES ('o1')")
    joined.consume("acme", "orders", 1, key="k")
    with pytest.raises(LookupError):
        joined.refund("acme", "nothing", key="r")
    with pytest.raises(LookupError):
        joined.cancel("acme")
    joined.consume("acme", "orders", 1, key="k2")
    app.execute("COMMIT")
    assert app.execute("SELECT count(*) FROM orders").fetchone() == (1,)
    assert len(ent.entries("acme")) == 2


def test_outside_a_transaction_it_is_refused(ent, app):
    with pytest.raises(ValueError, match="BEGIN IMMEDIATE"):
        ent.joined(app)
    joined = ent.joined(begin(app))
    app.execute("COMMIT")
    for call in (
        lambda: joined.consume("acme", "orders", key="k"),
        lambda: joined.check("acme", "orders"),
        lambda: joined.balance("acme", "ai"),
        lambda: joined.verify(),
    ):
        with pytest.raises(ValueError, match="no transaction is open"):
            call()


def test_a_deferred_transaction_is_decided_under_the_lock_or_not_at_all(ent, app):
    """The lock is taken before anything is read; one that has read an older state is told what to do."""
    app.execute("BEGIN")
    assert ent.joined(app).consume("acme", "orders", 1, key="k1").used == 1
    app.execute("COMMIT")
    app.execute("BEGIN")
    app.execute("SELECT * FROM orders").fetchall()
    ent.consume("acme", "orders", 1, key="k2")
    with pytest.raises(StorageUnavailable, match="BEGIN IMMEDIATE"):
        ent.joined(app).consume("acme", "orders", 1, key="k3")
    app.execute("ROLLBACK")


def test_others_wait_for_the_hosts_commit(ent, app):
    joined = ent.joined(begin(app))
    assert joined.consume("acme", "orders", 9, key="k1")
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(ent.consume("acme", "orders", 2, key="k2")))
    waiting.start()
    waiting.join(0.2)
    assert answers == []
    app.execute("COMMIT")
    waiting.join()
    assert [answer.code for answer in answers] == ["limit_reached"]


def test_the_hosts_own_ways_of_reading_rows_do_not_matter(ent, path):
    app = sqlite3.connect(path)
    app.row_factory, app.text_factory = sqlite3.Row, bytes
    app.execute("CREATE TABLE IF NOT EXISTS orders (id TEXT)")
    app.execute("BEGIN IMMEDIATE")
    ent.joined(app).grant_credits("acme", "ai", 5, key="g", metadata={"invoice": "i1"})
    assert ent.joined(app).consume_credits("acme", "ai", 2, key="c").receipt.balance_after == 3
    app.execute("INSERT INTO orders VALUES ('o')")
    assert app.execute("SELECT id FROM orders").fetchone()["id"] == b"o"
    app.commit()
    app.close()
    assert ent.balance("acme", "ai").available == 3
    assert ent.verify() == ()


def test_another_file_and_a_file_without_tables_are_refused(ent, tmp_path):
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE orders (id)")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(ValueError, match=r"other\.db, and the logs are in .*app\.db"):
        ent.joined(other)
    other.rollback()
    ent.close()
    bare = sqlite3.connect(tmp_path / "app.db", isolation_level=None)
    bare.execute("DROP TABLE _sqlite_migrations")
    bare.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="to make them"):
        ent.joined(bare)
    bare.close()


@pytest.mark.parametrize("kind", [Entitlements, AsyncEntitlements])
def test_logs_in_memory_are_in_nobodys_database(tmp_path, kind):
    other = sqlite3.connect(tmp_path / "other.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(ValueError, match="the logs are in memory"):
        kind(CATALOG, storage="memory:").joined(other)
    other.rollback()
    other.close()


@pytest.mark.parametrize("given", [None, "sqlite:///app.db", object()])
def test_what_is_no_connection_is_a_type_error(ent, given):
    with pytest.raises(TypeError, match="cannot be joined"):
        ent.joined(given)


def test_feed_erasure_events_and_reloading_are_the_engines(ent, app):
    joined = ent.joined(begin(app))
    joined.grant_credits("acme", "ai", 1, key="g")
    with pytest.raises(ValueError, match="committed"):
        joined.erase("acme")
    for call in (joined.feed, joined.reload, lambda: joined.on("denied", print), lambda: joined.joined(app)):
        with pytest.raises(ValueError, match="engine"):
            call()
    joined.close()
    app.execute("COMMIT")
    assert ent.balance("acme", "ai").available == 1


def test_nobody_is_told_of_what_may_be_undone(ent, app):
    told = []
    for event in ("decision", "denied", "consumed"):
        ent.on(event, told.append)
    joined = ent.joined(begin(app))
    joined.consume("acme", "orders", 1, key="k")
    joined.check("acme", "sso")
    app.execute("ROLLBACK")
    assert told == []


def test_a_transaction_that_sqlite_gave_up_is_said_so(ent, app):
    """A full disk, say, ends the whole transaction: the host's rows are gone, too."""
    joined = ent.joined(begin(app))
    app.execute("INSERT INTO orders VALUES ('o1')")
    app.execute("PRAGMA max_page_count = 1")
    with pytest.raises(StorageError):
        for turn in range(1000):
            joined.grant_credits("acme", "ai", 1, key=f"g{turn}", metadata={"filling": "x" * 9000})
    app.rollback()
    app.execute("PRAGMA max_page_count = 100000")
    assert ent.balance("acme", "ai").available == 0
    assert app.execute("SELECT count(*) FROM orders").fetchone() == (0,)
    assert ent.verify() == ()


def test_the_write_lock_of_another_process_is_waited_for_by_the_host(path, ent, app):
    other = SQLiteStorage(path)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        begin(app)
    blocker.execute("ROLLBACK")
    blocker.close()
    other.close()
    assert ent.joined(begin(app)).consume("acme", "orders", 1, key="k")
    app.execute("COMMIT")


def test_a_connection_that_is_closed_is_refused(ent, app):
    """Found in review: what was raised was the driver's own error."""
    app.execute("BEGIN IMMEDIATE")
    joined = ent.joined(app)
    app.close()
    for call in (lambda: ent.joined(app), lambda: joined.consume("acme", "orders", key="k")):
        with pytest.raises(ValueError, match="cannot be used .*closed.*; open one, and begin a transaction"):
            call()
    assert ent.entries("acme") == ()
