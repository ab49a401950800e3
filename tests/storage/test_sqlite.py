"""The SQLite storage: the contract, and what only a file can suffer."""

import contextlib
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from entitlements.errors import LogCorrupt, OutcomeUnknown, StorageError, StorageUnavailable
from entitlements.ledger.entries import Batch, Verdict
from entitlements.ledger.state import FOLD_VERSION, State, fold
from entitlements.storage.base import Storage
from entitlements.storage.connection import Connection
from entitlements.storage.schema import is_migrated, migrate
from entitlements.storage.sqlite import SQLiteStorage
from entitlements.testing.contract import StorageContract
from entitlements.testing.histories import CALLS, append, batch_of, every_kind, reads_of, used, whole_state
from entitlements.testing.proving import Background, together


class TestFile(StorageContract):
    """With durability "normal", which differs in nothing but the waiting for the disk."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[SQLiteStorage]:
        storage = SQLiteStorage(tmp_path / "log.db", durability="normal")
        yield storage
        storage.close()

    def reopen(self, storage: Storage) -> SQLiteStorage:
        return SQLiteStorage(storage.path)


class TestInMemory(StorageContract):
    @pytest.fixture
    def storage(self) -> Iterator[SQLiteStorage]:
        storage = SQLiteStorage(":memory:")
        yield storage
        storage.close()


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[SQLiteStorage]:
    storage = SQLiteStorage(tmp_path / "log.db", write_timeout=0.2)
    yield storage
    storage.close()


@pytest.fixture
def plain(storage: SQLiteStorage) -> Iterator[sqlite3.Connection]:
    """A connection as the sqlite3 shell has it: no recursive triggers, no timeout."""
    with closing(sqlite3.connect(storage.path, isolation_level=None, timeout=0)) as connection:
        yield connection


PRELUDE = """
import sys
from entitlements.storage.sqlite import SQLiteStorage
from entitlements.testing.histories import *
"""


def child(script: str, *arguments: object, **options: Any) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", PRELUDE + script, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)


def assert_sound(storage: SQLiteStorage, customer: str = "a") -> list[Batch]:
    batches = list(storage.batches(customer, limit=10**6))
    assert whole_state(storage, customer, batches) == fold(batches)
    with closing(sqlite3.connect(storage.path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    return batches


# The log can only be added to


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE {0} SET at = 0",
        "DELETE FROM {0}",
        "REPLACE INTO {0} SELECT * FROM {0}",
        "INSERT OR REPLACE INTO {0} SELECT * FROM {0}",
        "INSERT OR IGNORE INTO {0} SELECT * FROM {0}",
        "INSERT INTO {0} SELECT * FROM {0} WHERE true ON CONFLICT DO UPDATE SET at = 0",
        "INSERT INTO {0} SELECT * FROM {0} WHERE true ON CONFLICT DO NOTHING",
    ],
)
@pytest.mark.parametrize("table", ["batches", "entries"])
def test_what_was_written_cannot_be_changed_by_sql(
    storage: SQLiteStorage, plain: sqlite3.Connection, table: str, sql: str
) -> None:
    batch = append(storage, "a", "k", used())
    with pytest.raises(sqlite3.IntegrityError, match=f"{table} are append-only"):
        plain.execute(sql.format(table))
    assert assert_sound(storage) == [batch]


@pytest.mark.parametrize("column", ["position", "key", "number"])
def test_a_batch_cannot_be_replaced_through_any_of_its_keys(
    storage: SQLiteStorage, plain: sqlite3.Connection, column: str
) -> None:
    append(storage, "a", "k", used())
    new = {"position": "99", "number": "99", "key": "'other'", column: column}
    columns = ("position", "customer", "number", "key", "at", "first_seq", "last_seq", "request", "result")
    values = ", ".join(new.get(name, name) for name in columns)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        plain.execute(f"REPLACE INTO batches ({', '.join(columns)}) SELECT {values} FROM batches")


@pytest.mark.parametrize("amount", ["1.5", "'many'", "NULL", "-1", "9223372036854775808", "1e300", "x'01'"])
def test_a_counter_is_a_whole_number_from_zero_up(
    storage: SQLiteStorage, plain: sqlite3.Connection, amount: str
) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        plain.execute(f"INSERT INTO counters VALUES ('a', 'calls', 0, {amount})")
    with pytest.raises(sqlite3.IntegrityError):
        plain.execute("INSERT INTO counters VALUES (NULL, 'calls', 0, 1)")


@pytest.mark.parametrize("amount", ["1.5", "'many'", "NULL", "-9223372036854775808", "9223372036854775808"])
def test_an_entry_has_a_whole_number(storage: SQLiteStorage, plain: sqlite3.Connection, amount: str) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        plain.execute(f"INSERT INTO entries VALUES ('a', 1, 1, 'used', 0, 'calls', 'calls', 0, {amount}, NULL, '')")


# Half a batch, and other people's transactions


def test_lines_already_inserted_go_when_a_later_one_collides(storage: SQLiteStorage, plain: sqlite3.Connection) -> None:
    before = append(storage, "a", "k1", used())
    plain.execute("INSERT INTO entries VALUES ('a', 3, 2, 'used', 0, 'calls', 'calls', 0, 1, NULL, '')")
    with pytest.raises(LogCorrupt, match="append-only"):
        append(storage, "a", "k2", used(), used())
    assert list(storage.batches("a")) == [before]
    assert plain.execute("SELECT seq FROM entries").fetchall() == [(1,), (3,)]
    assert append(storage, "b", "k2", used()).number == 1


def test_an_unwritable_line_leaves_nothing(storage: SQLiteStorage) -> None:
    before = append(storage, "a", "k1", used())
    unwritable = [used(), *every_kind()[-1:]]

    def decide(state: State) -> Verdict[None]:
        batch = batch_of(state, "a", "k2", unwritable)
        batch.entries[1].data["scale"] = object()  # type: ignore[index]
        return Verdict(None, batch)

    with pytest.raises(TypeError):
        storage.transact("a", "k2", reads_of([used()]), decide)
    assert assert_sound(storage) == [before]


@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit, RuntimeError])
def test_no_lock_is_left_behind_by_an_exception(
    storage: SQLiteStorage, plain: sqlite3.Connection, error: type[BaseException]
) -> None:
    def decide(_: State) -> Verdict[None]:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            plain.execute("BEGIN IMMEDIATE")
        raise error

    with pytest.raises(error):
        storage.transact("a", "k", lambda _: [], decide)
    plain.execute("BEGIN IMMEDIATE")
    plain.execute("ROLLBACK")
    assert append(storage, "a", "k", used()).number == 1


def test_waiting_for_another_process_is_bounded(storage: SQLiteStorage, plain: sqlite3.Connection) -> None:
    first = append(storage, "a", "k1", used())
    plain.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageUnavailable, match="nothing was written"):
        append(storage, "a", "k2", used())
    assert list(storage.batches("a")) == [first]
    assert storage.state("a", lambda _: [CALLS]).counters == {CALLS: 1}
    plain.execute("ROLLBACK")
    assert append(storage, "a", "k2", used()).number == 2


def test_waiting_for_another_thread_is_bounded(storage: SQLiteStorage) -> None:
    inside, leave = threading.Event(), threading.Event()

    def dawdle(_: State) -> Verdict[None]:
        inside.set()
        leave.wait(10)
        return Verdict(None)

    slow = Background(lambda: storage.transact("a", "k", lambda _: [], dawdle))
    inside.wait(10)
    with pytest.raises(StorageUnavailable):
        append(storage, "b", "k", used())
    assert storage.state("a", lambda _: []).head.seq == 0
    with pytest.raises(StorageUnavailable, match="close it again"):
        storage.close()
    leave.set()
    slow.result()
    storage.close()
    with pytest.raises(StorageUnavailable, match="closed"):
        append(storage, "b", "k", used())


def test_a_decision_cannot_use_the_storage_that_runs_it(storage: SQLiteStorage) -> None:
    with pytest.raises(StorageError, match="decision"):
        storage.transact("a", "k", lambda _: [], lambda _: Verdict(append(storage, "b", "k", used())))
    assert append(storage, "a", "k", used()).number == 1


def test_whoever_waits_while_a_storage_closes_is_told() -> None:
    storage = SQLiteStorage(":memory:")
    closing_down: list[Background] = []

    def decide(_: State) -> Verdict[list[Background]]:
        uses = (lambda: append(storage, "a", "k", used()), lambda: storage.state("a", lambda _: []))
        waiting = [Background(use) for use in uses]
        closing_down.append(Background(storage.close))
        time.sleep(0.05)
        return Verdict(waiting)

    for waiting in storage.transact("a", "k", lambda _: [], decide):
        with contextlib.suppress(StorageUnavailable):
            waiting.result()
    closing_down[0].result()
    with pytest.raises(StorageUnavailable, match="closed"):
        storage.state("a", lambda _: [])


def test_two_storages_on_one_file_never_overlap(storage: SQLiteStorage) -> None:
    """Read, dawdle, write, from two connections: a deferred BEGIN fails or overspends here."""
    with closing(SQLiteStorage(storage.path)) as other:
        contract = TestFile()
        tries = together(4, lambda n: [contract._try_one((storage, other)[n % 2], f"{n}-{i}") for i in range(20)])
    assert sum(map(sum, tries)) == 50
    assert len(assert_sound(storage)) == 50


# Processes


def test_processes_that_start_together_make_one_schema_and_one_log(tmp_path: Path) -> None:
    script = """
import sqlite_utils, time
print("ready", flush=True)
start = float(sys.stdin.readline())
for round in range(5):
    while time.time() < start + round * 0.08:
        pass
    storage = SQLiteStorage(f"{sys.argv[1]}/{round}.db")
    append(storage, "a", sys.argv[2], used())
    storage.close()
"""
    children = [child(script, tmp_path, n, stderr=subprocess.PIPE) for n in range(4)]
    assert [each.stdout.readline() for each in children if each.stdout] == ["ready\n"] * 4
    for each in children:
        assert each.stdin
        each.stdin.write(f"{time.time() + 0.05}\n")
        each.stdin.flush()
    said = [each.communicate(timeout=20)[1] for each in children]
    assert [each.returncode for each in children] == [0, 0, 0, 0], "\n".join(said)
    for number in range(5):
        with closing(SQLiteStorage(tmp_path / f"{number}.db")) as storage:
            assert len(assert_sound(storage)) == 4


def test_a_file_that_is_locked_while_its_tables_are_looked_for_is_waited_for(tmp_path: Path) -> None:
    path = str(tmp_path / "log.db")
    with closing(sqlite3.connect(path, isolation_level=None)) as last, closing(
        sqlite3.connect(path, isolation_level=None, timeout=0, check_same_thread=False)
    ) as raw:
        last.execute("CREATE TABLE other (id)")
        last.execute("BEGIN EXCLUSIVE")  # as the last process has it that closes the file
        connection = Connection(raw, path)
        with pytest.raises(StorageUnavailable, match="is locked"):
            migrate(connection, time.monotonic() + 0.05)
        opening = Background(lambda: migrate(connection, time.monotonic() + 10))
        time.sleep(0.05)
        last.execute("COMMIT")
        opening.result()
        assert is_migrated(connection)


def test_a_killed_writer_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    script = """
storage = SQLiteStorage(sys.argv[1])
for n in range(10**6):
    print(append(storage, "a", f"{sys.argv[2]}-{n}", used(), used(2)).key, flush=True)
"""
    acknowledged: list[str] = []
    for run in range(5):
        with child(script, tmp_path / "log.db", run) as writer:
            assert writer.stdout
            acknowledged += [writer.stdout.readline().strip() for _ in range(3 + 11 * run)]
            writer.kill()
            acknowledged += writer.stdout.read().split()
        with closing(SQLiteStorage(tmp_path / "log.db")) as storage:
            kept = [batch.key for batch in assert_sound(storage)]
            assert kept[: len(acknowledged)] == acknowledged
            assert len(kept) <= len(acknowledged) + 1
            acknowledged = kept


def test_a_forked_child_is_told_to_open_its_own(storage: SQLiteStorage) -> None:
    append(storage, "a", "k", used())
    uses: list[Callable[[], object]] = [
        lambda: append(storage, "a", "k2", used()),
        lambda: storage.state("a", lambda _: []),
        storage.feed,
        storage.pulse,
    ]
    pid = os.fork()
    if pid == 0:
        refused = 0
        for use in uses:
            try:
                use()
            except StorageError as error:
                refused += "after it, in the child" in str(error)
        storage.close()
        os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == len(uses)
    assert append(storage, "a", "k2", used()).number == 2


def test_the_pulse_tells_of_commits_elsewhere(storage: SQLiteStorage) -> None:
    pulses = [storage.pulse()]
    with closing(SQLiteStorage(storage.path)) as other:
        for n in range(3):
            append(other, "a", f"k{n}", used())
            pulses += [storage.pulse(), storage.pulse()]
    assert len(set(pulses)) == 4


# The head is a cache


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
def test_a_head_of_another_fold_is_folded_again(storage: SQLiteStorage, plain: sqlite3.Connection, damage: str) -> None:
    made = [append(storage, "a", f"k{n}", *every_kind()) for n in range(3)]
    good = whole_state(storage, "a", made)
    plain.executescript(damage)
    before = plain.execute("SELECT fold_version FROM heads").fetchall()
    assert whole_state(storage, "a", made) == good
    assert plain.execute("SELECT fold_version FROM heads").fetchall() == before
    assert append(storage, "a", "k1", used()) == made[1]
    assert plain.execute("SELECT fold_version FROM heads").fetchall() == [(FOLD_VERSION,)]
    assert plain.execute("SELECT count(*) FROM counters").fetchall() == [(len(good[1]),)]
    append(storage, "a", "k9", used())
    assert_sound(storage)


# A broken world


def test_a_commit_that_fails_is_an_unknown_outcome(storage: SQLiteStorage) -> None:
    append(storage, "a", "k1", used())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = Path(f"{storage.path}-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 5000, hard))
    try:
        with pytest.raises(OutcomeUnknown) as caught:
            append(storage, "a", "k2", used())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.key == "k2"
    assert storage._writer is None
    assert append(storage, "a", "k2", used()).number == 2
    assert len(assert_sound(storage)) == 2


def test_a_damaged_file_is_a_corrupt_log(tmp_path: Path) -> None:
    with closing(SQLiteStorage(tmp_path / "log.db")) as storage:
        for n in range(30):
            append(storage, "a", f"k{n}", *every_kind())
    damaged = bytearray((tmp_path / "log.db").read_bytes())
    damaged[4096:] = b"\x99" * (len(damaged) - 4096)
    (tmp_path / "log.db").write_bytes(damaged)
    with pytest.raises(LogCorrupt, match=r"log\.db"), closing(SQLiteStorage(tmp_path / "log.db")) as storage:
        storage.batches("a")


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE heads SET head = 'no json'",
        "UPDATE heads SET head = '{\"trials\": [{}]}'",
        "UPDATE heads SET head = CAST(x'ff' AS TEXT)",
        "UPDATE heads SET at = 9223372036854775807",
        "DROP TRIGGER batches_no_update; UPDATE batches SET request = '{', at = 9223372036854775807",
        "DROP TRIGGER entries_no_update; UPDATE entries SET data = '[]'",
        "DROP TRIGGER entries_no_delete; DELETE FROM entries WHERE seq = 2",
        "DROP TRIGGER entries_no_delete; DELETE FROM entries",
        "DROP TRIGGER batches_no_delete; DELETE FROM batches WHERE number = 1",
    ],
)
def test_rows_that_cannot_be_read_are_a_corrupt_log(
    storage: SQLiteStorage, plain: sqlite3.Connection, damage: str
) -> None:
    for n in range(2):
        append(storage, "a", f"k{n}", *every_kind())
    plain.executescript(damage)
    with pytest.raises(LogCorrupt):
        [storage.state("a", lambda _: []), storage.entries("a"), fold(storage.batches("a"))]
    assert append(storage, "b", "k", used()).number == 1


def test_a_file_of_a_newer_version_is_refused(storage: SQLiteStorage, plain: sqlite3.Connection) -> None:
    plain.execute("INSERT INTO _sqlite_migrations (migration_set, name) VALUES ('entitlements', '9999_later')")
    with pytest.raises(StorageError, match="newer version"):
        SQLiteStorage(storage.path)


def test_tables_of_the_host_stay_as_they_are(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "host.db")) as host:
        host.executescript("CREATE TABLE users (id); INSERT INTO users VALUES (1)")
        with closing(SQLiteStorage(tmp_path / "host.db")) as storage:
            append(storage, "a", "k", used())
        assert host.execute("SELECT * FROM users").fetchall() == [(1,)]
        host.executescript("CREATE TABLE other (id)")
    with closing(sqlite3.connect(tmp_path / "taken.db")) as host:
        host.executescript("CREATE TABLE entries (id)")
    with pytest.raises(StorageError, match=r"taken\.db.*entries already exists"):
        SQLiteStorage(tmp_path / "taken.db")


def test_places_that_hold_no_database_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database, and long enough to show it " * 40)
    for path, what in (
        (tmp_path / "none" / "log.db", "does not exist"),
        (tmp_path, "is a directory"),
        (tmp_path / "text.db", "not an SQLite database"),
        (tmp_path / "text.db" / "log.db", "does not exist"),
    ):
        with pytest.raises(StorageError, match=what) as caught:
            SQLiteStorage(path)
        assert str(path.name) in str(caught.value)
    assert (tmp_path / "text.db").read_text().startswith("this is")


def test_a_place_that_cannot_be_written_is_named() -> None:
    """In a process that is not root, for whom nothing is read-only."""
    script = """
import os
if os.getuid() == 0:
    import attrs, sqlite_utils
    os.setuid(65534)
for path in sys.argv[1:]:
    try:
        SQLiteStorage(path)
    except Exception as error:
        print(type(error).__name__, error)
"""
    with tempfile.TemporaryDirectory() as outer:
        Path(outer).chmod(0o755)
        place = Path(outer) / "place"
        place.mkdir()
        SQLiteStorage(place / "log.db").close()
        (place / "log.db").chmod(0o444)
        place.chmod(0o555)
        out, _ = child(script, place / "new.db", place / "log.db").communicate(timeout=20)
        place.chmod(0o777)
        out += child(script, place / "log.db").communicate(timeout=20)[0]
    assert [line.split(" ", 1)[0] for line in out.splitlines()] == ["StorageError"] * 3, out
    assert out.count("is read-only") == 3


def test_what_it_costs_to_be_sure_is_set(tmp_path: Path) -> None:
    for durability, level in (("full", 2), ("normal", 1)):
        with closing(SQLiteStorage(tmp_path / "log.db", durability=durability)) as storage:
            assert storage._writer
            assert storage._writer.rows("PRAGMA synchronous") == [(level,)]
            assert storage._writer.rows("PRAGMA journal_mode") == [("wal",)]
    for wrong in ({"durability": "off"}, {"write_timeout": -1}, {"write_timeout": float("nan")}):
        with pytest.raises(ValueError):
            SQLiteStorage(tmp_path / "log.db", **wrong)


def test_memory_needs_no_file_and_no_sqlite_utils_to_import(tmp_path: Path) -> None:
    script = "print(sorted({'sqlite_utils', 'hypothesis', 'pytest'} & sys.modules.keys()))"
    out, _ = child(script, cwd=tmp_path).communicate(timeout=20)
    assert out == "[]\n"


def replaced(path: Path) -> None:
    other = SQLiteStorage(path.with_name("other.db"))
    append(other, "a", "k", used())
    other.close()
    path.with_name("other.db").replace(path)


@pytest.mark.parametrize(
    "harm",
    [
        Path.unlink,
        lambda path: path.rename(path.with_name("elsewhere.db")),
        replaced,
        lambda path: path.with_name(f"{path.name}-wal").unlink(),
        lambda path: replaced_by_copy(path, "-wal"),
    ],
)
def test_nothing_is_written_to_a_file_that_nobody_finds_again(tmp_path: Path, harm: Callable[[Path], object]) -> None:
    path = tmp_path / "log.db"
    with closing(SQLiteStorage(path)) as storage:
        append(storage, "a", "k1", used())
        harm(path)
        for _ in range(2):
            with pytest.raises(
                StorageError, match=r"deleted, moved or replaced while it was open; nothing was written"
            ):
                append(storage, "a", "k2", used())


def test_a_file_that_is_opened_by_a_link_is_written_until_the_link_leads_elsewhere(tmp_path: Path) -> None:
    """Its write-ahead log lies beside the file, not beside the link."""
    link = tmp_path / "link.db"
    (tmp_path / "real").mkdir()
    link.symlink_to(tmp_path / "real" / "log.db")
    with closing(SQLiteStorage(link)) as storage:
        append(storage, "a", "k1", used())
        assert append(storage, "a", "k2", used()).number == 2
        link.unlink()
        link.symlink_to(tmp_path / "other.db")
        SQLiteStorage(link).close()
        with pytest.raises(StorageError, match="deleted, moved or replaced"):
            append(storage, "a", "k3", used())


def replaced_by_copy(path: Path, end: str) -> None:
    file = path.with_name(path.name + end)
    copy = file.with_name("copy")
    copy.write_bytes(file.read_bytes())
    copy.replace(file)
