"""`erase`: what is personal is gone to the last byte, and everything that is not stays as it was."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from entitlements import Catalog, Entitlements
from entitlements.errors import HoldClosed, IdempotencyConflict, StorageError, StorageUnavailable, UnknownCustomer
from entitlements.ledger.audit import audit
from entitlements.ledger.entries import Entry
from entitlements.storage.sqlite import SQLiteStorage
from entitlements.testing import FrozenClock
from entitlements.testing.histories import append_sealed, call_of, personal_kinds, sealed_call_of, used

START = datetime(2026, 3, 10, 12, tzinfo=UTC)
DOCUMENT = {
    "default_plan": "pro",
    "features": {"chat": {"type": "metered", "reset": "month"}, "sso": {"type": "boolean"}},
    "credits": {"ai": {}, "soft": {"depletion": "soft"}},
    "plans": {"pro": {"entitlements": {"chat": 100}}},
}
CATALOG = Catalog.load(DOCUMENT)
ANN = {"team": "qzxteam", "user": "qzxann"}
MARK = "qzx"


def live(ent, customer="acme", mark=MARK, clock=None):
    """Leave something personal of every sort behind, each holding the mark."""
    ann = {"team": f"{mark}team", "user": f"{mark}ann"}
    ent.override(customer, "sso", True, reason=f"{mark} asked", key="o")
    ent.grant_credits(customer, "ai", 100, key="g1", scope=ann, metadata={f"{mark}key": [f"{mark}value"]})
    ent.grant_credits(customer, "ai", 100, key="g2", metadata={"by": f"{mark}by"})
    ent.consume_credits(customer, "ai", 5, key="c1", scope=ann)
    ent.consume(customer, "chat", 3, key="u1", scope=ann)
    ent.reserve_credits(customer, "ai", 20, key="h1", scope=ann, ttl=None)
    ent.reserve(customer, "chat", 4, key="h2", scope=ann, ttl=None)
    ent.consume_credits(customer, "soft", 8, key="c2", scope=ann)
    ent.refund(customer, "c1", 2, key="r1")


@pytest.fixture
def ent(opened, shared):
    engine = opened(CATALOG, storage=shared)
    live(engine)
    live(engine, "other", mark="other")
    return engine


def shown(ent, customer="acme"):
    """Return everything an engine says of a customer and its log, as one text."""
    said = [ent.entries(customer), ent.explain(customer, "sso").to_dict(), ent.snapshot(customer).to_dict()]
    said += [ent.check(customer, feature) for feature in CATALOG.features]
    said += [ent.balance(customer, credit) for credit in CATALOG.credits]
    said += [ent.balance(customer, credit, at=START) for credit in CATALOG.credits]
    said += [ent.statement(customer, "ai", start=START - timedelta(days=9), end=START + timedelta(days=9))]
    said += [batch for batch in ent.feed().batches if batch.customer == customer]
    return "\n".join(map(repr, said))


def test_everything_personal_was_there_before(ent):
    for name in ("team", "ann", " asked", "key", "value", "by"):
        assert f"{MARK}{name}" in shown(ent), name


def test_nothing_an_engine_says_holds_anything_personal_afterwards(ent):
    other = shown(ent, "other")
    ent.erase("acme")
    assert MARK not in shown(ent)
    assert "$sealed" in shown(ent)
    assert shown(ent, "other") == other
    assert MARK not in repr([vars(ent._storage), ent._desk.cache.warm, vars(ent._desk.versions)])


def test_a_bound_customer_erases_itself(ent):
    ent.customer("acme").erase()
    assert MARK not in shown(ent)


def test_balances_totals_and_the_chain_stay(ent):
    def totals():
        amounts = [(b.available, b.held, b.debt, b.total) for b in (ent.balance("acme", c) for c in CATALOG.credits)]
        blocks = [
            [(x.id, x.amount, x.remaining, x.held) for x in ent.balance("acme", c).blocks] for c in CATALOG.credits
        ]
        return amounts, blocks, ent.check("acme", "chat").used, ent.check("acme", "sso").allowed

    before, entries, saved = totals(), ent.entries("acme"), ent.head("acme")
    ent.erase("acme")
    after = ent.entries("acme")
    assert totals() == before
    assert [(e.seq, e.kind, e.amount, e.block, e.at) for e in after[:-1]] == [
        (e.seq, e.kind, e.amount, e.block, e.at) for e in entries
    ]
    assert (after[-1].kind, after[-1].subject) == ("erased", "acme")
    assert ent.verify() == ent.verify("acme", head=saved) == ()


def test_a_customer_without_a_log_is_unknown(ent):
    """Even where a default plan makes every id known."""
    assert ent.check("nobody", "chat")
    with pytest.raises(UnknownCustomer):
        ent.erase("nobody")
    assert ent.entries("nobody") == ()
    for wrong in ("", "$catalog", 7):
        with pytest.raises((TypeError, ValueError)):
            ent.erase(wrong)


def test_erasing_twice_is_fine(ent):
    ent.erase("acme")
    said = shown(ent)
    ent.erase("acme")
    assert [entry.kind for entry in ent.entries("acme")[-2:]] == ["erased", "erased"]
    assert said.count("$sealed") == shown(ent).count("$sealed")
    assert ent.verify() == ()


def test_old_keys_still_answer_with_their_scopes_sealed(ent):
    first = ent.consume_credits("acme", "ai", 5, key="c1", scope=ANN)
    ent.erase("acme")
    again = ent.consume_credits("acme", "ai", 5, key="c1", scope=ANN)
    assert again.receipt.replayed
    assert (again.receipt.burned, again.used) == (first.receipt.burned, first.used)
    assert list(again.scope) == ["$sealed"]
    assert ent.consume_credits("acme", "ai", 5, key="c1", scope={"user": "bob"}).receipt.replayed
    for wrong in ({"amount": 6, "scope": ANN}, {"amount": 5}):
        with pytest.raises(IdempotencyConflict):
            ent.consume_credits("acme", "ai", **{"key": "c1", **wrong})
    block = ent.grant_credits("acme", "ai", 100, key="g1", scope=ANN, metadata={"any": 1})
    assert (block.amount, block.scope[0][0]) == (100, "$sealed")
    assert ent.override("acme", "sso", True, reason="any", key="o").reason != ""
    assert ent.consume("acme", "chat", 3, key="u1", scope=ANN).receipt.replayed
    assert ent.consume_credits("acme", "soft", 8, key="c2", scope=ANN).receipt.replayed


@pytest.mark.parametrize("block", ["scope", "metadata", "reason"])
def test_a_block_that_is_named_like_something_personal_is_not_taken_for_it(ent, block):
    ent.grant_credits("acme", "ai", 7, key=block, priority=0, metadata={"by": "qzxby"})
    first = ent.consume_credits("acme", "ai", 5, key="c3")
    ent.erase("acme")
    again = ent.consume_credits("acme", "ai", 5, key="c3")
    assert again.receipt.burned == first.receipt.burned == {block: 5}
    assert again.receipt.balance_after == first.receipt.balance_after
    assert ent.refund("acme", "c3", key="r3").receipt.burned == {block: -5}
    assert ent.verify("acme") == ()


def test_what_was_bound_to_a_scope_matches_nobody(ent):
    assert ent.balance("acme", "ai", scope=ANN).available == 100 - 3 - 20 + 100
    ent.erase("acme")
    assert ent.balance("acme", "ai", scope=ANN).available == 100
    assert ent.consume_credits("acme", "ai", 101, key="c3", scope=ANN).code == "insufficient_credits"
    ent.grant_credits("acme", "soft", 5, key="g3", scope=ANN)
    assert ent.balance("acme", "soft", scope=ANN).debt == 8
    ent.grant_credits("acme", "soft", 5, key="g4")
    assert ent.balance("acme", "soft", scope=ANN).debt == 3
    assert ent.verify() == ()


def test_what_was_open_can_be_closed_and_what_was_taken_refunded(ent):
    ent.erase("acme")
    assert ent.settle("acme", "h1", 15)
    assert ent.release("acme", "h2")
    with pytest.raises(HoldClosed):
        ent.release("acme", "h1")
    assert ent.refund("acme", "c1", key="r2").receipt.booked == 3
    assert ent.refund("acme", "c2", 6, key="r3")
    assert ent.balance("acme", "soft").debt == 2
    assert ent.refund("acme", "u1", 1, key="r4")
    assert ent.void_block("acme", "g1").voided
    assert ent.check("acme", "chat").used == 2
    assert ent.verify() == ()


def test_a_log_goes_on_and_is_erased_again(ent):
    ent.erase("acme")
    live_again = {"team": "qzxteam", "user": "qzxnew"}
    ent.grant_credits("acme", "ai", 50, key="new", scope=live_again, metadata={"by": "qzxnew"})
    assert ent.balance("acme", "ai", scope=live_again).available == 150
    assert "qzxnew" in shown(ent)
    assert "qzxann" not in shown(ent)
    assert ent.verify() == ()
    sealed = {entry.data["block"].scope for entry in ent.entries("acme") if entry.kind == "granted"}
    ent.erase("acme")
    assert MARK not in shown(ent)
    assert ent.verify() == ()
    assert len({entry.data["block"].scope for entry in ent.entries("acme") if entry.kind == "granted"}) == len(sealed)


def test_equal_scopes_of_two_customers_have_nothing_in_common(ent):
    """Nor of one customer before and after an erasure: nobody can follow a person from log to log."""
    live(ent, "third")
    ent.erase("acme")
    ent.erase("third")

    def digests(customer):
        return {str(entry.data.get("purpose", entry.data.get("scope"))) for entry in ent.entries(customer)} - {"None"}

    assert digests("acme")
    assert not digests("acme") & digests("third")
    before = digests("acme")
    ent.consume("acme", "chat", 1, scope=ANN)
    ent.erase("acme")
    assert len(digests("acme")) == len(before) + 1


def test_what_fell_due_is_booked_first_and_sealed_with_the_rest(opened, shared, clock):
    ent = opened(CATALOG, storage=shared)
    ent.consume_credits("acme", "soft", 8, key="c", scope=ANN)
    ent.grant_credits("acme", "soft", 5, key="g", scope=ANN, effective_at=START + timedelta(hours=1))
    clock.advance(timedelta(hours=2))
    ent.erase("acme")
    assert [entry.kind for entry in ent.entries("acme")][-2:] == ["repaid", "erased"]
    assert MARK not in shown(ent)
    assert ent.balance("acme", "soft").debt == 3
    assert ent.verify() == ()


def test_what_was_found_before_an_erasure_is_looked_up_again(ent):
    """A refund reads the batch it names before the lock; an erasure that comes between is noticed."""
    storage, erased = ent._storage, []
    batch_of = storage.batch

    def batch(customer, key):
        found = batch_of(customer, key)
        if key == "c2" and not erased:
            erased.append(True)
            ent.erase("acme")
        return found

    storage.batch = batch
    assert ent.refund("acme", "c2", key="r2").receipt.booked == 8
    assert ent.balance("acme", "soft").debt == 0
    assert "granted" not in [entry.kind for entry in ent.entries("acme")[-2:]]
    assert ent.verify() == ()


# The file


def bytes_of(path):
    """Return every byte of the files in a database's directory."""
    return b"".join(each.read_bytes() for each in sorted(Path(path).parent.iterdir()) if each.is_file())


def secrets_of(path):
    with closing(sqlite3.connect(path)) as plain:
        rows = plain.execute("SELECT salt, value FROM personal WHERE customer = 'acme'").fetchall()
    return {salt.encode() for salt, _ in rows}, {value.encode() for _, value in rows}


def crowd(ent, rounds):
    """Write so much, of so many customers in turn, that every page is split many times over."""
    for n in range(rounds):
        for customer in ("abel", "acme", "zoe"):
            mark = MARK if customer == "acme" else "other"
            scope = {"user": f"{mark}{n * 7919 % rounds:04d}" + "u" * (n % 50)}
            ent.grant_credits(
                customer, "ai", 10, key=f"g{n}", scope=scope, metadata={"note": mark * (n * 31 % 200 + 1)}
            )
            ent.consume_credits(customer, "ai", n % 12, key=f"c{n}", scope=scope)


@pytest.fixture
def file(database):
    """An engine on a file, durable no further than tests need."""
    with Entitlements(CATALOG, storage=SQLiteStorage(database, durability="normal"), clock=FrozenClock(START)) as ent:
        yield ent


def test_not_a_byte_is_left_in_any_file(file, database):
    crowd(file, 150)
    file._storage._writer.rows("PRAGMA wal_checkpoint(PASSIVE)")
    live(file, "mark")
    salts, values = secrets_of(database)
    before = bytes_of(database)
    assert before.count(MARK.encode()) > 200
    assert all(secret in before for secret in salts | values)
    file.erase("mark")
    file.erase("acme")
    after = bytes_of(database)
    assert MARK.encode() not in after
    assert not [secret for secret in salts | values if secret in after]
    assert file.verify() == ()
    assert after.count(b"other") > 200
    assert file.balance("zoe", "ai").blocks[0].metadata is not None


def test_not_a_byte_is_left_after_writes_that_came_before_and_after(file, database):
    """Erasures one after another, with the log going on between them."""
    for turn in range(3):
        crowd_of = f"{MARK}{turn}"
        for n in range(60):
            file.consume("acme", "chat", 0, scope={"user": f"{crowd_of}-{n}"}, key=f"{turn}-{n}")
            file.consume("zoe", "chat", 0, scope={"user": f"other-{n}"}, key=f"{turn}-{n}")
        file.erase("acme")
        assert MARK.encode() not in bytes_of(database)
    assert file.verify() == ()


def test_not_a_byte_is_left_when_the_process_is_killed_right_after(database):
    script = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from test_erase import *
ent = Entitlements(CATALOG, storage=f"sqlite:///{sys.argv[1]}", clock=FrozenClock(START))
live(ent)
live(ent, "other", mark="other")
print("lived", flush=True)
sys.stdin.readline()
ent.erase("acme")
os.kill(os.getpid(), signal.SIGKILL)
"""
    command = [sys.executable, "-c", script, str(database), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "lived\n"
        assert MARK.encode() in bytes_of(database)
        child.communicate("go\n", timeout=30)
        assert child.returncode == -signal.SIGKILL
    assert MARK.encode() not in bytes_of(database)
    with Entitlements(CATALOG, storage=f"sqlite:///{database}", clock=FrozenClock(START)) as ent:
        assert ent.verify() == ()
        assert "erased" in [entry.kind for entry in ent.entries("acme")]
        assert ent.balance("other", "ai", scope={"team": "otherteam", "user": "otherann"}).available == 177
    assert MARK.encode() not in bytes_of(database)


def test_a_reader_in_the_way_is_said_and_asking_again_finishes(database):
    storage = SQLiteStorage(database, write_timeout=0.3)
    with (
        Entitlements(CATALOG, storage=storage, clock=FrozenClock(START)) as ent,
        closing(sqlite3.connect(database)) as reader,
    ):
        live(ent)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM personal").fetchall()
        with pytest.raises(StorageUnavailable, match="booked, but .*another connection still reads it"):
            ent.erase("acme")
        assert MARK not in shown(ent)
        assert ent.consume("acme", "chat", 1)
        reader.rollback()
        ent.erase("acme")
        assert MARK.encode() not in bytes_of(database)
        assert ent.verify() == ()
    storage.close()


def test_a_disk_that_fails_after_the_commit_is_told_to_who_erased_alone(tmp_path, monkeypatch):
    def fail(*_):
        raise StorageError("disk I/O error")

    with closing(SQLiteStorage(tmp_path / "log.db")) as storage:
        append_sealed(storage, "a", "k0", *personal_kinds())
        calls = [call_of("a", "k1", used()), sealed_call_of("a", "erase", Entry("erased", START, "a"))]
        with monkeypatch.context() as patch:
            patch.setattr("entitlements.storage.sqlite.scrub", fail)
            first, second = storage.transact_all(calls)
        assert first.answer().number == 2
        with pytest.raises(StorageUnavailable, match=r"the erasure is booked, but .*disk I/O error.*; erase again"):
            second.answer()
        assert [batch.key for batch in storage.batches("a")] == ["k0", "k1", "erase"]


def test_personal_values_cannot_be_changed_or_deleted_by_sql(file, database):
    live(file)
    with closing(sqlite3.connect(database, isolation_level=None)) as plain:
        for sql in (
            "UPDATE personal SET value = '1'",
            "DELETE FROM personal",
            "REPLACE INTO personal SELECT * FROM personal",
            "INSERT OR IGNORE INTO personal SELECT * FROM personal",
        ):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                plain.execute(sql)
    file.erase("acme")
    with closing(sqlite3.connect(database, isolation_level=None)) as plain:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            plain.execute("INSERT INTO personal VALUES ('a', 'd', 1, 's', '1'), ('a', 'd', 1, 's', '1')")
        assert plain.execute("SELECT count(*) FROM personal").fetchall() == [(0,)]


def test_the_hosts_own_tables_keep_their_rows_and_a_broken_view_is_no_obstacle(file, database):
    live(file)
    with closing(sqlite3.connect(database, isolation_level=None)) as host:
        host.executescript(
            "CREATE TABLE users (name); INSERT INTO users VALUES ('a'), ('b'); DELETE FROM users WHERE rowid = 1"
        )
        host.executescript("CREATE VIEW broken AS SELECT * FROM no_such_table")
        file.erase("acme")
        assert host.execute("SELECT rowid, name FROM users").fetchall() == [(2, "b")]
    assert MARK.encode() not in bytes_of(database)
    assert file.verify() == ()


def test_an_erasure_that_fails_leaves_everything(file, database, monkeypatch):
    """Whatever goes wrong in the transaction, the log, the secrets and the triggers are as before."""
    live(file)
    monkeypatch.setattr("entitlements.storage.forgetting._KEEP_OTHERS", "INSERT INTO nothing SELECT ?")
    before = shown(file)
    with pytest.raises(Exception, match="nothing"):
        file.erase("acme")
    assert shown(file) == before
    assert file.verify() == ()
    monkeypatch.undo()
    file.erase("acme")
    assert MARK.encode() not in bytes_of(database)


def test_another_engine_on_the_file_forgets_too(file, database):
    live(file)
    with Entitlements(CATALOG, storage=f"sqlite:///{database}", clock=FrozenClock(START)) as other:
        other.check("acme", "sso")
        assert MARK in shown(other)
        assert MARK in repr(other._desk.cache.warm["acme"].head)
        file.erase("acme")
        deadline = time.monotonic() + 1
        while MARK in repr(other._desk.cache.warm.get("acme")) and time.monotonic() < deadline:
            other.check("acme", "sso")
        assert MARK not in repr(other._desk.cache.warm.get("acme"))
        assert MARK not in shown(other)


def test_only_digests_stand_in_the_tables_of_the_log_at_any_time(file, database):
    """The log, the heads and the blocks never hold a personal value: there is one table to erase from."""
    live(file)
    with closing(sqlite3.connect(database)) as plain:
        for (table,) in plain.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            held = MARK in json.dumps(plain.execute(f"SELECT * FROM {table}").fetchall())
            assert held == (table == "personal"), table


def test_every_write_after_many_erasures_is_sound(file):
    clock = FrozenClock(START)
    for turn in range(4):
        scope = {"user": f"{MARK}{turn}"}
        file.grant_credits("acme", "ai", 10, key=f"g{turn}", scope=scope)
        file.consume_credits("acme", "soft", 3, key=f"s{turn}", scope=scope)
        file.erase("acme")
    with file._storage.kept("acme") as kept:
        assert audit(kept, now=clock()) == ()
    assert file.balance("acme", "soft").debt == 12
    file.grant_credits("acme", "soft", 12, key="all")
    assert file.balance("acme", "soft").debt == 0
    assert file.verify() == ()


def test_sqlite_without_a_file_erases_too(tmp_path):
    """An SQLite storage without a file erases by the same path."""
    with Entitlements(CATALOG, storage="sqlite:///:memory:", clock=FrozenClock(START)) as ent:
        live(ent)
        ent.erase("acme")
        assert MARK not in shown(ent)
        assert ent.verify() == ()
    assert list(tmp_path.iterdir()) == []
