"""`verify` and `head`: whatever is changed behind the engine's back is found, and what is sound is sound."""

import asyncio
import inspect
import logging
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import attrs
import psycopg
import pytest

from entitlements import AsyncEntitlements, Catalog, Entitlements
from entitlements.audit_verbs import AuditVerbs, CustomerAudit
from entitlements.errors import LogCorrupt
from entitlements.ledger.audit import Problem
from entitlements.ledger.entries import Verdict
from entitlements.storage.memory import MemoryStorage
from entitlements.storage.sqlite import SQLiteStorage
from entitlements.testing import FrozenClock

START = datetime(2026, 3, 10, 12, tzinfo=UTC)
CATALOG = Catalog.load(
    {
        "features": {"chat": {"type": "metered", "reset": "month"}, "sso": {"type": "boolean"}},
        "credits": {"ai": {}, "soft": {"depletion": "soft"}},
        "plans": {"pro": {"version": "pinned", "entitlements": {"chat": 100}}},
    }
)
LOG = ("batches", "entries", "personal", "erased")
TABLES = (*LOG, "heads", "blocks", "holds", "counters")


def live(ent, clock, customer="acme"):
    """Let a customer do something of everything."""
    ent.subscribe(customer, "pro", key="s")
    ent.override(customer, "sso", True, reason="asked for by zoe", key="o1")
    ent.consume_credits(customer, "soft", 3, key="c0", scope={"user": "zoe"})
    ent.erase(customer)
    ent.override(customer, "sso", True, reason="asked for by ann", key="o2")
    for n, scope in enumerate((None, {"user": "ann"}, None)):
        ent.grant_credits(customer, "ai", 100, key=f"g{n}", scope=scope, metadata={"by": f"bob {n}"}, expires_in=9000)
    ent.consume_credits(customer, "ai", 5, key="c1", scope={"user": "ann"})
    ent.consume(customer, "chat", 3, key="u1", scope="user:ann")
    ent.reserve_credits(customer, "ai", 20, key="h1", scope={"user": "ann"})
    ent.reserve_credits(customer, "ai", 20, key="h2", scope={"user": "ann"}, ttl=None)
    clock.advance(timedelta(seconds=60))
    ent.settle(customer, "h1", 15)
    ent.consume_credits(customer, "soft", 8, key="c2", scope={"user": "ann"})
    ent.refund(customer, "c1", 2, key="r1")
    ent.consume(customer, "chat", 2, key="u2")


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """An SQLite file in which two customers have lived."""
    path = tmp_path_factory.mktemp("lived") / "app.db"
    clock = FrozenClock(START)
    with Entitlements(CATALOG, storage=f"sqlite:///{path}", clock=clock) as ent:
        live(ent, clock)
        live(ent, clock, "other")
        ent.reserve_credits("other", "ai", 5, key="h3")
    return path


@pytest.fixture
def file(lived, tmp_path):
    return shutil.copy(lived, tmp_path / "app.db")


def opened(file, at=START + timedelta(hours=1)):
    return Entitlements(CATALOG, storage=f"sqlite:///{file}", clock=FrozenClock(at))


def verified(file, customer=None, **options):
    with opened(file) as ent:
        return ent.verify(customer, **options)


def tamper(file, *statements):
    """Run statements as somebody would who takes the triggers away and puts them back."""
    with closing(sqlite3.connect(file, isolation_level=None)) as plain:
        plain.execute("PRAGMA ignore_check_constraints = ON")
        triggers = plain.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            plain.execute(f"DROP TRIGGER {name}")
        changed = [
            plain.execute(*([statement] if isinstance(statement, str) else statement)).rowcount
            for statement in statements
        ]
        for _, sql in triggers:
            plain.execute(sql)
    assert all(changed), statements


def rows(file, sql, *values):
    with closing(sqlite3.connect(file)) as plain:
        return plain.execute(sql, values).fetchall()


def columns(table):
    with closing(SQLiteStorage(":memory:")) as storage:
        return [row[1:3] for row in storage._writer.rows(f"PRAGMA table_info({table})")]


def some(rows):
    """Return the first, the last, and a few between."""
    return [*rows[:: max(1, len(rows) // 4)], *rows[-1:]]


# Sound


def test_what_the_engine_wrote_is_sound(lived):
    assert verified(lived) == ()
    assert verified(lived, "acme") == ()
    assert verified(lived, "nobody") == ()
    assert verified(lived, "other") == ()


def test_every_batch_was_the_head_once(file):
    with opened(file) as ent:
        hashes = [batch.hash for batch in ent.feed().batches if batch.customer == "acme"]
        assert len(set(hashes)) == len(hashes)
        assert ent.head("acme") == ent.customer("acme").head() == hashes[-1]
        assert ent.head("nobody") == ""
        for each in ("", *hashes):
            assert ent.verify("acme", head=each) == ent.customer("acme").verify(head=each) == ()
        ent.consume("acme", "chat", 1)
        assert ent.verify("acme", head=hashes[-1]) == ()
        assert ent.head("acme") not in hashes


def test_on_every_storage_a_log_is_sound(storage, clock):
    with Entitlements(CATALOG, storage=storage, clock=clock) as ent:
        assert ent.verify() == ()
        live(ent, clock)
        clock.advance(timedelta(days=40))
        ent.sweep()
        assert ent.verify() == ent.verify("acme", head=ent.head("acme")) == ()


def test_a_pinned_plan_whose_catalog_is_not_kept_is_found(storage, clock):
    """Found in review: such a log was called sound, and every verb on it raised."""
    with Entitlements(CATALOG, storage=storage, clock=clock) as ent:
        version = ent.catalog.version
        ent._desk.versions.sold[version] = ent.catalog  # as if it had been written down
        ent.subscribe("acme", "pro")
        ent.start_trial("other", "pro", days=30)
        said = f"it holds plan pro as sold in catalog version {version}, which is not in the log $catalog"
        assert ent.verify("acme") == (Problem("acme", None, None, said),)
        assert ent.verify() == (Problem("acme", None, None, said), Problem("other", None, None, said))


def test_where_the_catalogs_cannot_be_read_that_is_said(file):
    with opened(file) as ent:
        tamper(file, "UPDATE heads SET head = 'x', seq = seq + 1 WHERE customer = '$catalog'")
        (problem,) = ent.verify("acme")
    assert problem.customer == "$catalog"
    assert "a stored row cannot be read" in problem.message


DAMAGED_CATALOGS = {
    "a head that cannot be read": ("UPDATE heads SET head = 'x' {}", "a stored row cannot be read"),
    "a head of another shape": (
        """UPDATE heads SET head = replace(head, '{{"scale":0}}', '5') {}""",
        "a stored row cannot be read",
    ),
    "another type that was fixed": ("UPDATE heads SET head = replace(head, 'metered', 'boolean') {}", "differs from the log"),
    "another version that is kept": ("UPDATE heads SET head = replace(head, 'version:', 'version:x') {}", "differs from the log"),
    "a place that is none": ("""UPDATE heads SET head = replace(head, '"seq":', '"nil":') {}""", "differs from the log"),
    "a catalog that cannot be loaded": (
        "UPDATE entries SET data = replace(data, 'features', 'faetures') {} AND kind = 'catalog_kept'",
        "its hash does not follow",
    ),
    "a catalog that is no JSON": ("UPDATE entries SET data = '[' {} AND kind = 'catalog_kept'", "it cannot be read"),
    "a catalog that is gone": ("DELETE FROM entries {} AND kind = 'catalog_kept'", "follows entry"),
}


@pytest.mark.parametrize("damage", DAMAGED_CATALOGS)
def test_whatever_is_wrong_with_the_log_of_catalogs_verify_names_it_and_every_other_verb_is_stopped(file, damage, caplog):
    """Found in use: opening or the first verb raised CatalogError, and nobody could ask `verify`."""
    statement, message = DAMAGED_CATALOGS[damage]
    tamper(file, statement.format("WHERE customer = '$catalog'"))
    with caplog.at_level(logging.WARNING, logger="entitlements"), opened(file) as ent:
        before, problems = ent.entries("acme", limit=10_000), ent.verify()
        assert {problem.customer for problem in problems} <= {"$catalog", "acme", "other"}
        assert any(problem.customer == "$catalog" and message in problem.message for problem in problems)
        assert not [str(problem) for problem in problems if str(problem).count("$catalog: ") > 1]
        assert len(set(problems)) == len(problems)
        for verb in (
            lambda: ent.check("acme", "chat"),
            lambda: ent.consume("acme", "chat"),
            lambda: ent.balance("acme", "ai"),
            lambda: ent.grant_credits("acme", "ai", 1, key="new"),
            lambda: ent.snapshot("acme"),
        ):
            with pytest.raises(LogCorrupt, match=r"\$catalog"):
                verb()
        assert ent.entries("acme", limit=10_000) == before
    assert ("opened for verify() alone" in caplog.text) is ("head" in damage or damage == "another type that was fixed")

    async def awaited():
        async with AsyncEntitlements(CATALOG, storage=f"sqlite:///{file}", clock=FrozenClock(START)) as ent:
            assert await ent.verify("acme") or damage.startswith("another type")
            with pytest.raises(LogCorrupt):
                await ent.check("acme", "chat")

    asyncio.run(awaited())


def test_a_damaged_log_of_catalogs_stops_every_verb_but_verify_blocking_or_awaited(emptied, postgres_url):
    url = emptied()
    schema = url.rpartition("schema=")[2]
    catalog = {"features": {"chat": {"type": "metered"}}, "plans": {"pro": {"entitlements": {"chat": 5}}}}
    with Entitlements(catalog, storage=url) as ent:
        ent.subscribe("acme", "pro")
        ent.consume("acme", "chat")
    with psycopg.connect(postgres_url, autocommit=True) as plain:
        plain.execute(
            f"UPDATE {schema}.heads SET head = replace(head, 'metered', 'boolean') WHERE customer = '$catalog'"
        )

    async def awaited():
        async with AsyncEntitlements(catalog, storage=url) as ent:
            with pytest.raises(LogCorrupt, match="the head differs"):
                await ent.consume("acme", "chat")
            return await ent.verify()

    with Entitlements(catalog, storage=url) as ent, psycopg.connect(postgres_url) as mine:
        with pytest.raises(LogCorrupt, match="the head differs"):
            ent.check("acme", "chat")
        with pytest.raises(LogCorrupt, match="the head differs"), mine.transaction():
            ent.joined(mine).check("acme", "chat")
        assert [problem.customer for problem in ent.verify()] == ["$catalog"]
        assert ent.verify() == asyncio.run(awaited())


def test_inside_a_transaction_a_damaged_log_of_catalogs_stops_every_verb_too(file):
    tamper(file, "UPDATE heads SET head = replace(head, 'metered', 'boolean') WHERE customer = '$catalog'")
    with opened(file) as ent, closing(sqlite3.connect(file, isolation_level=None)) as mine:
        mine.execute("BEGIN IMMEDIATE")
        with pytest.raises(LogCorrupt, match=r"\$catalog: the head differs"):
            ent.joined(mine).check("acme", "chat")
        mine.execute("ROLLBACK")


def test_a_log_of_catalogs_that_was_restored_is_used_at_once(file, tmp_path):
    sound = shutil.copy(file, tmp_path / "sound.db")
    tamper(file, "UPDATE heads SET head = 'x' WHERE customer = '$catalog'")
    with opened(file) as ent:
        with pytest.raises(LogCorrupt):
            ent.check("acme", "chat")
        with closing(sqlite3.connect(sound)) as copy:
            ((head,),) = copy.execute("SELECT head FROM heads WHERE customer = '$catalog'").fetchall()
        tamper(file, ("UPDATE heads SET head = ? WHERE customer = '$catalog'", (head,)))
        assert ent.check("acme", "chat")
        assert ent.verify() == ()


def test_a_catalog_is_not_blamed_for_what_a_damaged_log_says_was_fixed(file):
    with opened(file) as ent:
        del ent._desk.versions.fixed["credit:ai"]  # as where it was fixed by another engine, a moment ago
        tamper(file, """UPDATE heads SET head = replace(head, '"scale":0', '"scale":3') WHERE customer = '$catalog'""")
        with pytest.raises(LogCorrupt, match="the head differs from the log"):
            ent.consume_credits("acme", "ai", 1, key="new")


def test_misuse_is_refused(file):
    with opened(file) as ent:
        for wrong, error in (
            ({"head": "00"}, ValueError),
            ({"customer": 7}, TypeError),
            ({"customer": ""}, ValueError),
        ):
            with pytest.raises(error):
                ent.verify(**wrong)
        for wrong in (7, b"00"):
            with pytest.raises(TypeError):
                ent.verify("acme", head=wrong)


# Every column of every row


@pytest.mark.parametrize(("table", "column"), [(table, column) for table in TABLES for column, _ in columns(table)])
def test_no_column_can_be_changed_unseen(file, table, column):
    kind = dict(columns(table))[column]
    key = {
        "batches": "position",
        "entries": "seq",
        "personal": "digest",
        "erased": "digest",
        "heads": "customer",
        "counters": "name",
    }
    where = f"customer = 'acme' AND {key.get(table, 'id')} = ?"
    named = [row[0] for row in rows(file, f"SELECT {key.get(table, 'id')} FROM {table} WHERE customer = 'acme'")]
    if (table, column) == ("heads", "fold_version"):
        return  # a head of another version is folded again before it is used
    assert named
    for each in some(named):
        copy = shutil.copy(file, f"{file}.{len(named)}.db")
        value = f'"{column}" + 1000' if kind == "INTEGER" else f"\"{column}\" || 'x'"
        if (table, column) == ("entries", "window"):
            value = '1000 + coalesce("window", 0)'
        if (table, column) == ("entries", "data"):
            value = "coalesce(data, '{\"a\":1}') || ' '"
        if column == "digest":
            value = "'0' || substr(digest, 2)" if not each.startswith("0") else "'1' || substr(digest, 2)"
        tamper(copy, (f'UPDATE {table} SET "{column}" = {value} WHERE {where}', (each,)))
        assert verified(copy), f"{table}.{column} of {each}"


@pytest.mark.parametrize("table", TABLES)
def test_no_row_can_be_taken_away_unseen(file, table):
    key = {
        "batches": "position",
        "entries": "seq",
        "personal": "digest",
        "erased": "digest",
        "heads": "customer",
        "counters": "name",
    }
    named = [row[0] for row in rows(file, f"SELECT {key.get(table, 'id')} FROM {table} WHERE customer = 'acme'")]
    assert named
    for each in some(named):
        copy = shutil.copy(file, f"{file}.gone.db")
        tamper(copy, (f"DELETE FROM {table} WHERE customer = 'acme' AND {key.get(table, 'id')} = ?", (each,)))
        assert verified(copy, "acme"), each


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO entries VALUES ('acme', 99, 99, 'used', 0, 'chat', 'chat', 0, 1, NULL, '')",
        "INSERT INTO entries VALUES ('acme', 99, 1, 'nothing', 0, 'chat', '', NULL, 0, NULL, '')",
        "INSERT INTO entries VALUES ('new', 1, 1, 'used', 0, 'chat', 'chat', 0, 1, NULL, '')",
        "INSERT INTO batches VALUES (99, 'acme', 99, 'x', 0, 99, 99, '{}', '{}', '')",
        """INSERT INTO batches
        SELECT 99, customer, number + 1, 'x', at, last_seq + 1, last_seq + 1, request, result, hash FROM batches
        WHERE customer = 'acme' ORDER BY number DESC LIMIT 1""",
        "INSERT INTO batches VALUES (99, 'new', 1, 'x', 0, 1, 1, '{}', '{}', '')",
        "INSERT INTO counters VALUES ('acme', 'chat', 1, 1)",
        """INSERT INTO blocks VALUES
        ('acme', 'x', 9, 0, (SELECT block FROM blocks WHERE id = 'g0' AND customer = 'acme'))""",
        "INSERT INTO holds SELECT customer, 'x', replace(hold, 'h2', 'x') FROM holds WHERE customer = 'acme'",
        "INSERT INTO personal SELECT 'acme', '00', 1, salt, value FROM personal WHERE customer = 'acme' LIMIT 1",
        "INSERT INTO heads VALUES ('new', 1, 1, 0, 3, '{}', '')",
    ],
)
def test_no_row_can_be_slipped_in_unseen(file, sql):
    tamper(file, sql)
    assert verified(file)


@pytest.mark.parametrize("table", ["batches", "entries"])
def test_no_two_rows_can_change_places_unseen(file, table):
    """Everything but the key of one row is exchanged with that of the next."""
    key = {"batches": "number", "entries": "seq"}[table]
    names = [name for name, _ in columns(table) if name not in {"customer", key, "position"}]
    listed, sets = ", ".join(map('"{}"'.format, names)), ", ".join(map('"{}" = ?'.format, names))
    last = rows(file, f"SELECT max({key}) FROM {table} WHERE customer = 'acme'")[0][0]
    for one in some(range(1, last)):
        copy = shutil.copy(file, f"{file}.swapped.db")
        these = f"FROM {table} WHERE customer = 'acme' AND {key} IN ({one}, {one + 1}) ORDER BY {key}"
        found = rows(copy, f"SELECT {listed} {these}")
        if found[0] == found[1]:
            continue
        park = [f"UPDATE batches SET key = 'parked' WHERE customer = 'acme' AND number = {one}"] * (table == "batches")
        moves = [
            (f"UPDATE {table} SET {sets} WHERE customer = 'acme' AND {key} = ?", (*values, number))
            for values, number in ((found[0], one + 1), (found[1], one))
        ]
        tamper(copy, *park, *moves)
        problems = verified(copy, "acme")
        assert problems, one
        assert problems[0].customer == "acme"


def test_batches_cannot_change_places_in_the_feed_unseen(file):
    positions = [row[0] for row in rows(file, "SELECT position FROM batches WHERE customer = 'acme' ORDER BY number")]
    tamper(
        file,
        f"UPDATE batches SET position = 999 WHERE position = {positions[2]}",
        f"UPDATE batches SET position = {positions[2]} WHERE position = {positions[5]}",
        f"UPDATE batches SET position = {positions[5]} WHERE position = 999",
    )
    assert "stands in the feed before" in verified(file, "acme")[0].message


def test_the_first_bad_batch_is_named_and_the_others_are_not(file):
    tamper(file, "UPDATE batches SET result = '{}' WHERE customer = 'acme' AND number = 6")
    said = "its hash does not follow from what it holds and the batch before"
    assert verified(file) == (Problem("acme", 6, None, said),)
    assert verified(file, "other") == ()


@pytest.mark.parametrize("tables", [["personal"], ["personal", "erased"]], ids=" and ".join)
@pytest.mark.parametrize("customer", ["acme", "other"])
def test_it_is_seen_that_all_personal_values_of_a_customer_are_gone(file, tables, customer):
    tamper(file, *(f"DELETE FROM {table} WHERE customer = '{customer}'" for table in tables))
    gone = [problem for problem in verified(file, customer) if problem.message == "a personal value in it is gone"]
    assert gone
    assert gone[0].batch == {"personal": 5, "erased": 2}[tables[-1]]


def test_it_is_seen_that_the_personal_values_of_everybody_are_gone(tmp_path):
    """Nothing of anybody is known then: no row is left that could tell that there was one."""
    file = tmp_path / "app.db"
    with opened(file) as ent:
        ent.grant_credits("acme", "ai", 100, key="g", metadata={"by": "bob"})
        ent.consume_credits("acme", "ai", 1, key="c", scope="user:ann")
    tamper(file, "DELETE FROM personal")
    assert {(problem.batch, problem.message) for problem in verified(file)} >= {
        (1, "a personal value in it is gone"), (2, "a personal value in it is gone"),
    }  # fmt: skip


# The end cut off, and all of it written anew


def cut(file, number):
    """Cut a log off after a batch, and let the storage fold what is left, as if it had always been all."""
    ((last,),) = rows(file, "SELECT last_seq FROM batches WHERE customer = 'acme' AND number = ?", number)
    tamper(
        file,
        f"DELETE FROM batches WHERE customer = 'acme' AND number > {number}",
        f"DELETE FROM entries WHERE customer = 'acme' AND seq > {last}",
        f"UPDATE personal SET number = number WHERE customer = 'acme' AND number <= {number}",
        "UPDATE heads SET fold_version = 0 WHERE customer = 'acme'",
    )
    with closing(sqlite3.connect(file, isolation_level=None)) as plain:
        for trigger in plain.execute("SELECT name FROM sqlite_master WHERE name LIKE 'personal_no%'").fetchall():
            plain.execute(f"DROP TRIGGER {trigger[0]}")
        plain.execute("DELETE FROM personal WHERE customer = 'acme' AND number > ?", (number,))
    with closing(SQLiteStorage(file)) as storage:
        storage.transact("acme", "none", lambda _: (), lambda _: Verdict(None))


def test_a_log_whose_end_is_cut_off_is_found_by_a_saved_head(file):
    with opened(file) as ent:
        saved = ent.head("acme")
    cut(file, 8)
    assert verified(file, "acme") == ()
    (problem,) = verified(file, "acme", head=saved)
    assert problem == Problem(
        "acme", None, None, "the saved head is not in the chain: its end was cut off, or it was rewritten"
    )


def test_a_log_that_is_gone_is_found_by_a_saved_head(file):
    with opened(file) as ent:
        saved = ent.head("acme")
    tamper(file, *(f"DELETE FROM {table} WHERE customer = 'acme'" for table in TABLES))
    assert verified(file, "acme") == ()
    assert [problem.message[:14] for problem in verified(file, "acme", head=saved)] == ["the saved head"]


def test_a_log_that_was_written_anew_is_found_by_a_saved_head(file, tmp_path):
    with opened(file) as ent:
        saved = ent.head("acme")
    clock = FrozenClock(START)
    with Entitlements(CATALOG, storage=f"sqlite:///{tmp_path}/again.db", clock=clock) as again:
        live(again, clock)
        assert again.verify("acme") == ()
        (problem,) = again.verify("acme", head=saved)
    assert "rewritten" in problem.message


# The file as a whole


@pytest.mark.parametrize("table", LOG)
@pytest.mark.parametrize("what", ["update", "delete", "replace"])
def test_a_trigger_that_is_gone_or_another_is_reported(file, table, what):
    name = f"{table}_no_{what}"
    with closing(sqlite3.connect(file, isolation_level=None)) as plain:
        plain.execute(f"DROP TRIGGER {name}")
        assert verified(file) == (Problem("", None, None, f"trigger {name} is missing"),)
        assert verified(file, "acme") == ()
        plain.execute(f"CREATE TRIGGER {name} BEFORE UPDATE ON {table} BEGIN SELECT 1; END")
    assert verified(file) == (Problem("", None, None, f"trigger {name} is not the one that was created"),)


def test_a_log_without_a_head_is_found_though_no_list_of_customers_shows_it(file):
    tamper(file, "DELETE FROM heads WHERE customer = 'acme'")
    with opened(file) as ent:
        assert list(ent._storage.customers()) == ["$catalog", "other"]
        assert "acme: there are batches of a log that has no head" in [problem.message for problem in ent.verify()]
        ent.consume("acme", "chat", 1)
        assert ent.verify() == ()


def test_the_log_of_the_catalog_is_verified_too(file):
    tamper(file, "UPDATE entries SET subject = 'feature:x' WHERE customer = '$catalog' AND kind = 'fixed'")
    assert {problem.customer for problem in verified(file)} == {"$catalog"}


def test_a_log_ahead_of_the_clock_is_reported(file):
    with opened(file, at=START - timedelta(days=1)) as ent:
        (problem,) = ent.verify("acme")
        assert "ahead of the clock" in problem.message
        assert {each.customer for each in ent.verify()} == {"$catalog", "acme", "other"}


def test_rows_that_cannot_be_read_are_problems_and_no_exceptions(file):
    for damage in (
        "UPDATE heads SET head = 'no json' WHERE customer = 'acme'",
        "UPDATE blocks SET block = '[]' WHERE customer = 'acme'",
        "UPDATE entries SET data = '{' WHERE customer = 'acme' AND data IS NOT NULL",
        "UPDATE batches SET at = 9223372036854775807 WHERE customer = 'acme'",
        "UPDATE counters SET start = 9223372036854775807 WHERE customer = 'acme'",
        "UPDATE entries SET kind = CAST(x'ff' AS TEXT) WHERE customer = 'acme' AND seq = 3",
        "UPDATE batches SET last_seq = 9223372036854775807 WHERE customer = 'acme' AND number = 2",
        "UPDATE personal SET value = '{' WHERE customer = 'acme'",
    ):
        copy = shutil.copy(file, f"{file}.damaged.db")
        tamper(copy, damage)
        assert verified(copy, "acme"), damage
        assert verified(copy, "other") == ()


# Memory


def test_what_is_changed_in_memory_is_found(clock):
    storage = MemoryStorage()
    with Entitlements(CATALOG, storage=storage, clock=clock) as ent:
        live(ent, clock)
        log = storage._logs["acme"]
        saved, good = ent.head("acme"), list(log.batches)
        for n, batch in enumerate(good):
            for changed in (
                attrs.evolve(batch, request={"verb": "other"}),
                attrs.evolve(batch, result={"used": "0"}),
                attrs.evolve(batch, hash="0" * 64),
                attrs.evolve(batch, key="other"),
                attrs.evolve(batch, at=batch.at - timedelta(seconds=1)),
                attrs.evolve(batch, entries=(attrs.evolve(batch.entries[0], amount=1), *batch.entries[1:])),
                attrs.evolve(batch, entries=()),
            ):
                log.batches[n] = changed
                if changed != batch:
                    assert ent.verify("acme"), changed
            log.batches[n] = batch
        assert ent.verify("acme", head=saved) == ()
        log.head = attrs.evolve(log.head, at=log.head.at + timedelta(seconds=1))
        assert [problem.message for problem in ent.verify("acme")] == ["the head differs from the log in its at"]


# The verbs


def test_a_bound_customer_has_the_same_verbs():
    verbs = {name for name in vars(AuditVerbs) if not name.startswith("_")}
    assert verbs == {name for name in vars(CustomerAudit) if not name.startswith("_")} - {"id"}
    for name in verbs:
        engine = [p for p in inspect.signature(getattr(AuditVerbs, name)).parameters.values() if p.name != "customer"]
        bound = list(inspect.signature(getattr(CustomerAudit, name)).parameters.values())
        assert [(p.name, p.kind, p.default) for p in engine] == [(p.name, p.kind, p.default) for p in bound]


def test_verifying_sees_one_instant_while_others_write(file):
    with opened(file) as ent, ent._storage.kept("acme") as kept:
        records = iter(kept.records)
        first = next(records)
        with opened(file) as other:
            other.consume("acme", "chat", 1)
        seen = [first, *records]
        assert kept.head.batches == len(seen) == seen[-1].number
        assert ent.verify("acme") == ()
