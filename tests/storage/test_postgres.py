"""The PostgreSQL storage, waited for and awaited: the contract, the tables, and what a schema may suffer."""

import itertools
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from entitlements.errors import LogCorrupt, StorageError
from entitlements.ledger.audit import audit
from entitlements.ledger.entries import Batch, Entry
from entitlements.ledger.state import FOLD_VERSION, fold
from entitlements.storage import postgres_statements
from entitlements.storage.base import Storage
from entitlements.storage.postgres import PostgresStorage
from entitlements.storage.postgres_async import AsyncPostgresStorage
from entitlements.testing.blocking import Blocking
from entitlements.testing.contract import StorageContract
from entitlements.testing.histories import (
    CALLS,
    START,
    append,
    append_sealed,
    call_of,
    credit_kinds,
    every_kind,
    personal_kinds,
    used,
    whole_state,
)
from entitlements.testing.proving import identities, together

TABLES = ("batches", "entries", "personal", "erased", "heads", "blocks", "holds", "budgets", "counters")
NAMES = itertools.count()


class TestServer(StorageContract):
    @pytest.fixture
    def storage(self, postgres_url: str) -> Iterator[Any]:
        with closing(PostgresStorage(postgres_url, schema=f"contract_{next(NAMES)}")) as storage:
            yield storage

    @pytest.fixture(autouse=True)
    def _address(self, postgres_url: str) -> None:
        self.address = postgres_url

    def reopen(self, storage: Storage) -> PostgresStorage:
        return PostgresStorage(self.address, schema=storage.schema)


class TestAwaited(TestServer):
    @pytest.fixture
    def storage(self, postgres_url: str) -> Iterator[Any]:
        storage = Blocking(AsyncPostgresStorage(postgres_url, schema=f"contract_{next(NAMES)}"))
        yield storage
        storage.close()
        storage.end()


@pytest.fixture
def storage(postgres_url: str) -> Iterator[PostgresStorage]:
    with closing(PostgresStorage(postgres_url, schema=f"schema_{next(NAMES)}")) as storage:
        yield storage


@pytest.fixture
def plain(postgres_url: str, storage: PostgresStorage) -> Iterator[psycopg.Connection]:
    """A connection as any tool has it."""
    with psycopg.connect(postgres_url, autocommit=True, options=f"-c search_path={storage.schema}") as connection:
        yield connection


def assert_sound(storage: PostgresStorage, customer: str = "a") -> list[Batch]:
    batches = list(storage.batches(customer, limit=10**6))
    assert whole_state(storage, customer, batches) == fold(batches)
    assert storage.flaws() == ()
    return batches


# The log can only be added to


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE {0} SET customer = 'b'",
        "UPDATE {0} SET customer = 'b' WHERE false",
        "DELETE FROM {0}",
        "TRUNCATE {0}",
        "INSERT INTO {0} OVERRIDING USER VALUE SELECT * FROM {0} ON CONFLICT ({1}) DO UPDATE SET customer = 'b'",
    ],
)
@pytest.mark.parametrize(
    ("table", "key", "called"),
    [
        ("batches", "customer, number", "batches"),
        ("entries", "customer, seq", "entries"),
        ("erased", "customer, digest", "erased digests"),
        ("personal", "customer, digest", "personal values"),
    ],
)
def test_what_was_written_cannot_be_changed_by_sql(
    storage: PostgresStorage, plain: psycopg.Connection, table: str, key: str, called: str, sql: str
) -> None:
    append_sealed(storage, "b", "k1", *personal_kinds())
    append_sealed(storage, "b", "k2", Entry("erased", START, "b"))
    made = append_sealed(storage, "a", "k", *personal_kinds())
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match=f"{called} are append-only"):
        plain.execute(sql.format(table, key))
    assert assert_sound(storage) == [made]


@pytest.mark.parametrize("amount", ["'many'", "NULL", "-1", "9223372036854775808"])
def test_a_counter_is_a_whole_number_from_zero_up(
    storage: PostgresStorage, plain: psycopg.Connection, amount: str
) -> None:
    with pytest.raises((psycopg.DataError, psycopg.IntegrityError)):
        plain.execute(f"INSERT INTO counters VALUES ('a', 'calls', 0, {amount})")
    with pytest.raises(psycopg.errors.NotNullViolation):
        plain.execute("INSERT INTO counters VALUES (NULL, 'calls', 0, 1)")


@pytest.mark.parametrize("amount", ["'many'", "NULL", "-9223372036854775808", "9223372036854775808"])
def test_an_entry_has_a_whole_number(storage: PostgresStorage, plain: psycopg.Connection, amount: str) -> None:
    with pytest.raises((psycopg.DataError, psycopg.IntegrityError)):
        plain.execute(f"INSERT INTO entries VALUES ('a', 1, 1, 'used', 0, 'calls', 'calls', 0, {amount}, NULL, '')")


@pytest.mark.parametrize("column", ["free_units", "held_units"])
def test_a_block_never_holds_less_than_nothing(
    storage: PostgresStorage, plain: psycopg.Connection, column: str
) -> None:
    left = {"free_units": 1, "held_units": 1, column: -1}
    with pytest.raises(psycopg.errors.CheckViolation):
        plain.execute("INSERT INTO blocks VALUES ('a', 'b', %(free_units)s, %(held_units)s, '{}')", left)


def test_the_customer_leads_every_primary_key(storage: PostgresStorage, plain: psycopg.Connection) -> None:
    keys = plain.execute(
        """SELECT c.relname, a.attname FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid
           JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
           WHERE i.indisprimary AND c.relnamespace = %s::regnamespace AND c.relname <> 'versions'""",
        [storage.schema],
    ).fetchall()
    assert sorted(keys) == sorted((table, "customer") for table in TABLES)


def test_lines_already_inserted_go_when_a_later_one_collides(
    storage: PostgresStorage, plain: psycopg.Connection
) -> None:
    before = append(storage, "a", "k1", used())
    plain.execute("INSERT INTO entries VALUES ('a', 3, 2, 'used', 0, 'calls', 'calls', 0, 1, NULL, '')")
    with pytest.raises(LogCorrupt, match="does not fit what is stored"):
        append(storage, "a", "k2", used(), used())
    assert list(storage.batches("a")) == [before]
    assert plain.execute("SELECT seq FROM entries").fetchall() == [(1,), (3,)]
    assert append(storage, "b", "k2", used()).number == 1


def test_an_erasure_leaves_nothing_personal_in_any_row(storage: PostgresStorage, plain: psycopg.Connection) -> None:
    secret = "wvutsr"
    told = {"scope": {"user": secret}, "reason": secret}
    append_sealed(storage, "a", "k1", *personal_kinds(), told=told)
    append_sealed(storage, "b", "k1", *personal_kinds(), told={"reason": "other"})
    assert secret in rows(plain)
    append_sealed(storage, "a", "erase", Entry("erased", START, "a"))
    assert secret not in rows(plain)
    assert "other" in rows(plain)
    assert plain.execute("SELECT count(*) FROM personal WHERE customer = 'a'").fetchall() == [(0,)]


def test_an_audit_sees_that_all_personal_values_are_gone(storage: PostgresStorage, plain: psycopg.Connection) -> None:
    append_sealed(storage, "a", "k1", *personal_kinds())
    plain.execute("ALTER TABLE personal DISABLE TRIGGER ALL")
    plain.execute("DELETE FROM personal")
    with storage.kept("a") as kept:
        problems = audit(kept, now=START)
    assert {(problem.batch, problem.message) for problem in problems} >= {(1, "a personal value in it is gone")}


def rows(plain: psycopg.Connection) -> str:
    """Return every live row of every table."""
    return repr([plain.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES])


@pytest.mark.parametrize("text", ["a\0", "\ud800"])
def test_what_no_text_of_postgresql_can_hold_is_refused_first(storage: PostgresStorage, text: str) -> None:
    for use in (
        lambda: append(storage, text, "k", used()),
        lambda: append(storage, "a", text, used()),
        lambda: storage.transact_all([call_of("a", text, used())]),
        lambda: storage.state(text, lambda _: []),
        lambda: storage.entries(text),
        lambda: storage.batches(text),
        lambda: storage.batch("a", text),
        lambda: storage.customers(after=text),
    ):
        with pytest.raises(ValueError, match="NUL character or a lone surrogate"):
            use()
    assert append(storage, "a", "k", used()).number == 1


# What a cursor promises


def test_the_feed_waits_for_a_batch_that_commits_late(storage: PostgresStorage, plain: psycopg.Connection) -> None:
    first = append(storage, "a", "k1", used())
    plain.execute("BEGIN")
    plain.execute("INSERT INTO batches VALUES ('late', 1, 'k', 0, 1, 1, '{}', '{}', '')")
    plain.execute("INSERT INTO entries VALUES ('late', 1, 1, 'used', 0, 'calls', 'calls', 0, 1, NULL, '')")
    append(storage, "a", "k2", used())
    page = storage.feed()
    told = storage.written(after=page.cursor)
    assert page.batches == (first,)
    assert storage.feed(after=page.cursor).batches == ()
    assert told.customers == {"a": 2}
    pulse = storage.pulse()
    plain.execute("COMMIT")
    assert storage.pulse() == pulse + 1
    assert identities(storage.feed(after=page.cursor).batches) == [("late", 1), ("a", 2)]
    again = storage.written(after=told.cursor)
    assert again.customers == {"a": 2, "late": 1}
    assert storage.written(after=again.cursor).customers == {}
    assert storage.pulse() == pulse + 1


@pytest.mark.parametrize("cursor", ["", "1", "1.", ".1", "1.x", "-1.1", "1.1.1", "٣.1", "9" * 19 + ".1"])
def test_a_cursor_that_no_feed_gave_is_refused(storage: PostgresStorage, cursor: str) -> None:
    for use in (storage.feed, storage.written):
        with pytest.raises(ValueError, match="not a cursor of this feed"):
            use(after=cursor)


# The head is a cache


def test_two_storages_that_take_turns_never_show_an_old_head(postgres_url: str, storage: PostgresStorage) -> None:
    with closing(PostgresStorage(postgres_url, schema=storage.schema)) as other:
        for n in range(6):
            append((storage, other)[n % 2], "a", f"k{n}", used(n), used(1, ("b", START)))
            for each in (storage, other):
                state = each.state("a", lambda _: [CALLS, ("b", START)])
                assert (state.head.batches, state.counters[CALLS]) == (n + 1, sum(range(n + 1)))
    assert_sound(storage)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE heads SET fold_version = fold_version - 1, head = '{}', seq = 1",
        "UPDATE heads SET fold_version = fold_version - 1; UPDATE counters SET amount = 77",
        "DELETE FROM heads",
        "DELETE FROM heads; DELETE FROM counters",
        "UPDATE heads SET fold_version = 0; INSERT INTO counters VALUES ('a', 'stray', 0, 5)",
    ],
)
def test_a_head_of_another_fold_is_folded_again(
    storage: PostgresStorage, plain: psycopg.Connection, damage: str
) -> None:
    made = [append(storage, "a", f"k{n}", *every_kind()) for n in range(3)]
    good = whole_state(storage, "a", made)
    plain.execute(damage)
    before = plain.execute("SELECT fold_version FROM heads").fetchall()
    assert whole_state(storage, "a", made) == good
    assert plain.execute("SELECT fold_version FROM heads").fetchall() == before
    assert append(storage, "a", "k1", used()) == made[1]
    assert plain.execute("SELECT fold_version FROM heads").fetchall() == [(FOLD_VERSION,)]
    assert plain.execute("SELECT count(*) FROM counters").fetchall() == [(len(good[1]),)]
    append(storage, "a", "k9", used())
    assert_sound(storage)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE heads SET head = 'no json'",
        "UPDATE heads SET head = '{\"trials\": [{}]}'",
        "UPDATE heads SET at = 9223372036854775807",
        "UPDATE batches SET request = '{', at = 9223372036854775807",
        "UPDATE entries SET data = '[]'",
        "DELETE FROM entries WHERE seq = 2",
        "DELETE FROM entries",
        "DELETE FROM batches WHERE number = 1",
    ],
)
def test_rows_that_cannot_be_read_are_a_corrupt_log(
    storage: PostgresStorage, plain: psycopg.Connection, damage: str
) -> None:
    for n in range(2):
        append(storage, "a", f"k{n}", *every_kind())
    plain.execute("SET session_replication_role = replica")
    plain.execute(damage)
    with pytest.raises(LogCorrupt):
        [storage.state("a", lambda _: []), storage.entries("a"), fold(storage.batches("a"))]
    assert append(storage, "b", "k", used()).number == 1


def test_a_block_whose_row_is_gone_is_a_corrupt_log(storage: PostgresStorage, plain: psycopg.Connection) -> None:
    made = append(storage, "a", "k", *credit_kinds())
    burned = Entry("burned", START, "ai", amount=1, block="paid")
    assert append(storage, "a", "k2", burned).number == 2
    plain.execute("DELETE FROM blocks WHERE id = 'paid'")
    with pytest.raises(LogCorrupt, match="the row of a block is gone"):
        append(storage, "a", "k3", burned)
    assert storage.batch("a", "k") == made
    assert storage.batch("a", "k3") is None


@pytest.mark.parametrize(
    ("damage", "flaw"),
    [
        ("DROP TRIGGER batches_no_change ON batches", "trigger batches_no_change is missing"),
        ("ALTER TABLE entries DISABLE TRIGGER USER", "trigger entries_no_change is not the one that was created"),
        ("DELETE FROM heads", "a: there are batches of a log that has no head"),
    ],
)
def test_what_is_wrong_with_the_schema_is_told(
    storage: PostgresStorage, plain: psycopg.Connection, damage: str, flaw: str
) -> None:
    append(storage, "a", "k", used())
    assert storage.flaws() == ()
    plain.execute(damage)
    assert flaw in storage.flaws()


# Schemas


def test_schemas_of_one_database_are_apart(postgres_url: str, storage: PostgresStorage) -> None:
    with closing(PostgresStorage(postgres_url, schema=f"{storage.schema}_too")) as other:
        made = append(other, "a", "k", used())
        assert list(storage.customers()) == []
        assert append(storage, "a", "k", used(2)).entries[0].amount == 2
        assert list(other.batches("a")) == [made]


@pytest.mark.parametrize("name", ["", "a-b", 'a"b', "a b", "1a", "x" * 64, "pg_temp", "PG_catalog", "é", "a\n"])
def test_a_schema_with_a_strange_name_is_refused(postgres_url: str, name: str) -> None:
    with pytest.raises(ValueError, match="a schema cannot be called"):
        PostgresStorage(postgres_url, schema=name)


def test_a_name_in_capitals_or_a_reserved_one_is_quoted(postgres_url: str) -> None:
    for name in ("Entitlements", "select", "x" * 63):
        with closing(PostgresStorage(postgres_url, schema=name)) as storage:
            append(storage, "a", "k", used())
            assert_sound(storage)


def test_tables_of_a_newer_version_are_refused(
    postgres_url: str, storage: PostgresStorage, plain: psycopg.Connection
) -> None:
    plain.execute("INSERT INTO versions (name) VALUES ('9999_later')")
    with pytest.raises(StorageError, match="newer version"):
        PostgresStorage(postgres_url, schema=storage.schema)


def test_functions_of_an_older_version_are_replaced_and_go_on_working(
    postgres_url: str, storage: PostgresStorage, plain: psycopg.Connection
) -> None:
    """A schema as the version before left it: it had no step for its functions, and moved a head on its own."""
    made = [append(storage, "a", "k", *credit_kinds())]
    plain.execute("DELETE FROM versions WHERE name = '0003_functions'")
    plain.execute("DROP FUNCTION found; DROP FUNCTION add_batch_of_many; DROP FUNCTION add_batch")
    plain.execute(
        "CREATE OR REPLACE FUNCTION lock_all(locks bigint[], statement_timeout text, lock_timeout text)"
        " RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE 'the old one'; END $$"
    )
    plain.execute(
        "CREATE FUNCTION move(customer text, seq bigint, batches bigint, at bigint, hash text,"
        " names text[], starts bigint[], amounts bigint[], OUT mark text)"
        " LANGUAGE plpgsql AS $$ BEGIN mark := 'of the old one'; END $$"
    )
    with closing(PostgresStorage(postgres_url, schema=storage.schema)) as newer:
        made += [append(newer, "a", f"k{n}", used()) for n in range(1, 4)]
        made += [append(storage, "a", "k4", used(), used()), append(newer, "a", "k5", used())]
        assert assert_sound(newer) == made
    old = plain.execute("SELECT move('a', 1, 1, 1, '', '{}', '{}', '{}')").fetchall()
    assert old == [("of the old one",)]


def test_a_database_that_is_not_in_utf8_is_refused(postgres_url: str, plain: psycopg.Connection) -> None:
    plain.execute("DROP DATABASE IF EXISTS latin")
    plain.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(StorageError, match="encoded in LATIN1"):
        PostgresStorage(psycopg.conninfo.make_conninfo(postgres_url, dbname="latin"))


def test_two_customers_that_share_a_lock_only_wait(storage: PostgresStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_statements, "lock_of", lambda *_: 42)
    storage.transact_all([call_of(name, "k", used()) for name in "abc"])
    together(4, lambda n: [append(storage, f"c{n % 2}", f"{n}-{i}", used()) for i in range(5)])
    together(2, lambda n: storage.transact_all([call_of(name, f"{n}", used()) for name in ("abc", "cba")[n]]))
    assert [len(assert_sound(storage, name)) for name in ("a", "b", "c", "c0", "c1")] == [3, 3, 3, 10, 10]
