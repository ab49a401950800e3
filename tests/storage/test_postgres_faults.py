"""PostgreSQL in a hostile world: settings, processes, interrupts, cancellation, connections that are cut."""

import asyncio
import contextlib
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from entitlements.errors import LogCorrupt, OutcomeUnknown, StorageError, StorageUnavailable
from entitlements.ledger.entries import Batch, Entry, Verdict
from entitlements.ledger.state import State, fold
from entitlements.storage.postgres import PostgresStorage
from entitlements.storage.postgres_async import AsyncPostgresStorage
from entitlements.storage.postgres_connection import translated
from entitlements.storage.postgres_trips import lock_of
from entitlements.testing.blocking import Blocking
from entitlements.testing.contract import StorageContract
from entitlements.testing.histories import (
    CALLS,
    START,
    STRANGE_IDS,
    append,
    append_sealed,
    call_of,
    personal_kinds,
    reads_of,
    sealed_call_of,
    used,
    whole_state,
)
from entitlements.testing.proving import Background, together

from .interrupting import interrupted_everywhere

NAMES = itertools.count()
KINDS = [PostgresStorage, AsyncPostgresStorage]


def fresh() -> str:
    return f"faults_{next(NAMES)}"


@contextmanager
def opened(kind: type, url: str, schema: str, **options: Any) -> Iterator[Any]:
    """Open a storage of either kind; both are used as one that is waited for."""
    storage = kind(url, schema=schema, **options)
    if kind is PostgresStorage:
        with closing(storage):
            yield storage
        return
    blocking = Blocking(storage)
    try:
        yield blocking
    finally:
        blocking.close()
        blocking.end()


@pytest.fixture
def storage(postgres_url: str) -> Iterator[PostgresStorage]:
    with opened(PostgresStorage, postgres_url, fresh(), write_timeout=0.5) as storage:
        yield storage


@pytest.fixture(params=KINDS)
def either(request: pytest.FixtureRequest, postgres_url: str) -> Iterator[Any]:
    """A storage with a single connection, waited for and awaited: what is left behind on it is in the way."""
    with opened(request.param, postgres_url, fresh(), write_timeout=2, connections=1) as storage:
        yield storage


@pytest.fixture
def plain(postgres_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        yield connection


def assert_sound(storage: Any, customer: str = "a") -> list[Batch]:
    batches = list(storage.batches(customer, limit=10**6))
    assert whole_state(storage, customer, batches) == fold(batches)
    assert storage.flaws() == ()
    return batches


def backends(plain: psycopg.Connection, where: str = "true") -> list[int]:
    """Return the process ids of the server's ends of our connections."""
    sql = f"SELECT pid FROM pg_stat_activity WHERE application_name = 'entitlements' AND {where} ORDER BY 1"
    return [pid for (pid,) in plain.execute(sql).fetchall()]


def until(found: Callable[[], Any]) -> Any:
    """Return what is found once it is there."""
    deadline = time.monotonic() + 20
    while not (value := found()):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return value


# Settings of a role that would have it otherwise

HOSTILE = {
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "default_transaction_deferrable": "on",
    "lock_timeout": "1ms",
    "statement_timeout": "200ms",
    "idle_in_transaction_session_timeout": "1ms",
    "synchronous_commit": "off",
    "search_path": "evil, public",
    "client_encoding": "LATIN1",
    "TimeZone": "Pacific/Kiritimati",
    "DateStyle": "SQL, DMY",
    "standard_conforming_strings": "off",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "enable_indexscan": "off",
    "jit_above_cost": "0",
}


@pytest.fixture
def hostile(postgres_url: str, plain: psycopg.Connection) -> Iterator[str]:
    """The address of a role whose every default is against us, in a schema that it owns nothing in."""
    role = f"hostile_{next(NAMES)}"
    plain.execute(f"CREATE ROLE {role} LOGIN")
    for name, value in HOSTILE.items():
        plain.execute(f"ALTER ROLE {role} SET {name} = {value if name == 'search_path' else repr(value)}")
    schema = fresh()
    PostgresStorage(postgres_url, schema=schema).close()
    plain.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
    plain.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}")
    yield f"{make_conninfo(postgres_url, user=role)} schema={schema}"
    plain.execute(f"DROP OWNED BY {role}")
    plain.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize("kind", KINDS)
def test_no_default_of_a_role_changes_anything(hostile: str, plain: psycopg.Connection, kind: type) -> None:
    address, _, schema = hostile.partition(" schema=")
    names = ("transaction_isolation", "transaction_read_only", "synchronous_commit", "search_path", "timezone")
    names += ("client_encoding", "statement_timeout", "idle_in_transaction_session_timeout")
    seen = ", ".join(f"current_setting('{name}')" for name in names)
    plain.execute(f"CREATE TABLE {schema}.seen AS SELECT {', '.join(f'{n!r}::text AS {n}' for n in names)} LIMIT 0")
    plain.execute(
        f"CREATE FUNCTION {schema}.see() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS "
        f"$$ BEGIN INSERT INTO {schema}.seen SELECT {seen}; RETURN NEW; END $$"
    )
    plain.execute(f"CREATE TRIGGER see BEFORE INSERT ON {schema}.batches FOR EACH ROW EXECUTE FUNCTION {schema}.see()")
    with opened(kind, address, schema, write_timeout=10) as storage:
        for customer in STRANGE_IDS:
            append(storage, customer, "\\'k\\", *(used(1, (name, CALLS[1])) for name in STRANGE_IDS))
        assert list(storage.customers()) == sorted(STRANGE_IDS)
        contract = StorageContract()
        tries = together(4, lambda n: [contract._try_one(storage, f"{n}-{i}") for i in range(15)])
        assert sum(map(sum, tries)) == 50
        assert_sound(storage)
    rows = plain.execute(f"SELECT DISTINCT * FROM {schema}.seen").fetchall()
    assert rows == [("read committed", "off", "on", "pg_catalog", "UTC", "UTF8", "1min", "1min")]


def test_a_stronger_promise_of_the_role_is_kept(postgres_url: str, plain: psycopg.Connection) -> None:
    schema = fresh()
    with opened(
        PostgresStorage, make_conninfo(postgres_url, options="-c synchronous_commit=remote_apply"), schema
    ) as storage:
        seen = []

        def decide(_: State) -> Verdict[None]:
            (pid,) = backends(plain, "state = 'idle in transaction'")
            seen.append(pid)
            return Verdict(None)

        storage.transact("a", "k", lambda _: [], decide)
        with storage._connection(time.monotonic() + 5) as connection:
            assert connection.execute("SHOW synchronous_commit").fetchall() == [("remote_apply",)]
            assert [connection.info.backend_pid] == seen


def test_a_session_is_left_as_it_was(either: Any, plain: psycopg.Connection) -> None:
    """What a pooler hands to the next client has no lock, no setting and no prepared statement of ours."""
    append(either, "a", "k", used())
    either.feed()
    either.state("a", lambda _: [CALLS])
    (pid,) = until(lambda: [pid for pid in backends(plain, "state = 'idle'") if pid])[-1:]
    locks = plain.execute("SELECT count(*) FROM pg_locks WHERE pid = %s", [pid]).fetchall()
    assert locks == [(0,)]
    session = session_of(either)
    assert session("SELECT count(*) FROM pg_prepared_statements") == [(0,)]
    assert session("SELECT name FROM pg_settings WHERE source = 'session'") == []
    assert session("SELECT count(*) FROM pg_listening_channels()") == [(0,)]


def session_of(storage: Any) -> Callable[[str], list[Any]]:
    """Return what asks on a connection of the storage's own pool."""
    if isinstance(storage, PostgresStorage):

        def ask(sql: str) -> list[Any]:
            with storage._connection(time.monotonic() + 5) as connection:
                return connection.execute(sql).fetchall()

        return ask

    async def awaited(sql: str) -> list[Any]:
        async with storage.storage._own.pool.connection() as connection:
            return await (await connection.execute(sql)).fetchall()

    return lambda sql: storage.wait(awaited(sql))


# Waiting


@contextmanager
def locked(plain: psycopg.Connection, schema: str, customer: str = "a") -> Iterator[None]:
    """Hold the lock of a customer on another connection."""
    with plain.transaction():
        plain.execute("SELECT pg_advisory_xact_lock(%s)", [lock_of(schema, customer)])
        yield


def waiting(plain: psycopg.Connection) -> list[Any]:
    return plain.execute("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").fetchall()


def test_waiting_for_a_customer_is_bounded_and_in_nobodys_way(
    storage: PostgresStorage, plain: psycopg.Connection
) -> None:
    first = append(storage, "a", "k1", used())
    with locked(plain, storage.schema):
        began = time.monotonic()
        with pytest.raises(StorageUnavailable, match="nothing was written"):
            append(storage, "a", "k2", used())
        assert 0.4 < time.monotonic() - began < 4
        assert append(storage, "b", "k", used()).number == 1
        assert list(storage.batches("a")) == [first]
        assert storage.state("a", lambda _: [CALLS]).counters == {CALLS: 1}
    assert append(storage, "a", "k2", used()).number == 2


def test_waiting_for_a_connection_is_bounded(postgres_url: str) -> None:
    inside, leave = threading.Event(), threading.Event()

    def dawdle(_: State) -> Verdict[None]:
        inside.set()
        leave.wait(10)
        return Verdict(None)

    with opened(PostgresStorage, postgres_url, fresh(), write_timeout=0.3, connections=1) as storage:
        slow = Background(lambda: storage.transact("a", "k", lambda _: [], dawdle))
        inside.wait(10)
        with pytest.raises(StorageUnavailable, match="no connection was had in time"):
            append(storage, "b", "k", used())
        leave.set()
        slow.result()
        assert append(storage, "b", "k", used()).number == 1


def test_a_question_waits_no_longer_than_it_says(storage: PostgresStorage, plain: psycopg.Connection) -> None:
    append(storage, "a", "k", used())
    cursor = storage.written(after=None).cursor
    questions = (
        lambda: storage.state("a", lambda _: [CALLS], within=0.1),
        lambda: storage.pulse(within=0.1),
        lambda: storage.written(after=cursor, within=0.1),
    )
    with plain.transaction():
        plain.execute(f"LOCK TABLE {storage.schema}.heads, {storage.schema}.batches IN ACCESS EXCLUSIVE MODE")
        for ask in questions:
            began = time.monotonic()
            with pytest.raises(StorageUnavailable, match="did not answer in time"):
                ask()
            assert time.monotonic() - began < 5
    for ask in questions:
        ask()
    assert storage.state("a", lambda _: [CALLS]).counters == {CALLS: 1}


def test_a_decision_cannot_use_the_storage_that_runs_it(storage: PostgresStorage) -> None:
    def nested(customer: str, _: State) -> Verdict[Batch]:
        return Verdict(append(storage, customer, "k", used()))

    for customer in "ab":
        with pytest.raises(StorageError, match="decision"):
            storage.transact("a", "k", lambda _: [], partial(nested, customer))
    assert append(storage, "a", "k", used()).number == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit, RuntimeError])
def test_no_lock_is_left_behind_by_an_exception(either: Any, plain: psycopg.Connection, error: type) -> None:
    schema = either.schema

    def decide(_: State) -> Verdict[None]:
        found = plain.execute("SELECT pg_try_advisory_xact_lock(%s)", [lock_of(schema, "a")])
        assert found.fetchall() == [(False,)]
        raise error

    with pytest.raises(error):
        either.transact("a", "k", lambda _: [], decide)
    assert append(either, "a", "k", used()).number == 1
    assert backends(plain, "state LIKE 'idle in transaction%'") == []


# Processes

PRELUDE = """
import sys
from entitlements.storage.postgres import PostgresStorage
from entitlements.testing.histories import *
"""


def child(script: str, *arguments: object, stderr: int | None = None) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", PRELUDE + script, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True)


def test_processes_that_start_together_make_one_schema_and_one_log(postgres_url: str) -> None:
    script = """
import time
print("ready", flush=True)
start = float(sys.stdin.readline())
for round in range(4):
    while time.time() < start + round * 0.1:
        pass
    storage = PostgresStorage(sys.argv[1], schema=f"{sys.argv[2]}_{round}", write_timeout=20)
    append(storage, "a", sys.argv[3], used())
    storage.close()
"""
    schema = fresh()
    children = [child(script, postgres_url, schema, n, stderr=subprocess.PIPE) for n in range(3)]
    assert [each.stdout.readline() for each in children if each.stdout] == ["ready\n"] * 3
    for each in children:
        assert each.stdin
        each.stdin.write(f"{time.time() + 0.05}\n")
        each.stdin.flush()
    said = [each.communicate(timeout=60)[1] for each in children]
    assert [each.returncode for each in children] == [0, 0, 0], "\n".join(said)
    for number in range(4):
        with opened(PostgresStorage, postgres_url, f"{schema}_{number}") as storage:
            assert len(assert_sound(storage)) == 3


def test_a_killed_writer_loses_nothing_it_acknowledged(postgres_url: str) -> None:
    script = """
storage = PostgresStorage(sys.argv[1], schema=sys.argv[2])
for n in range(10**6):
    print(append(storage, "a", f"{sys.argv[3]}-{n}", used(), used(2)).key, flush=True)
"""
    schema, acknowledged = fresh(), list[str]()
    with opened(PostgresStorage, postgres_url, schema) as storage:
        for run in range(3):
            with child(script, postgres_url, schema, run) as writer:
                assert writer.stdout
                acknowledged += [writer.stdout.readline().strip() for _ in range(3 + 11 * run)]
                writer.kill()
                acknowledged += writer.stdout.read().split()
            append(storage, "a", f"after {run}", used())  # waits until the server has let go of the dead
            kept = [batch.key for batch in assert_sound(storage)]
            assert kept[: len(acknowledged)] == acknowledged
            assert len(kept) <= len(acknowledged) + 2
            acknowledged = kept


@pytest.mark.parametrize("kind", KINDS)
def test_a_forked_child_is_told_to_open_its_own(postgres_url: str, kind: type) -> None:
    with opened(kind, postgres_url, fresh()) as storage:
        append(storage, "a", "k", used())
        forked = storage if kind is PostgresStorage else storage.storage
        uses: list[Callable[[], object]] = [
            lambda: forked.transact("a", "k2", lambda _: [], Verdict),
            lambda: forked.transact_all([call_of("a", "k2", used())]),
            lambda: forked.state("a", lambda _: []),
            forked.feed,
            forked.pulse,
        ]
        pid = os.fork()
        if pid == 0:
            refused = 0
            for use in uses:
                try:
                    found = use()
                    if asyncio.iscoroutine(found):
                        asyncio.new_event_loop().run_until_complete(found)
                except StorageError as error:
                    refused += "after it, in the child" in str(error)
            os._exit(refused)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == len(uses)
        assert append(storage, "a", "k2", used()).number == 2


# Interrupts and cancellation


def test_ctrl_c_while_waiting_for_a_customer_leaves_nothing(
    postgres_url: str, storage: PostgresStorage, plain: psycopg.Connection
) -> None:
    append(storage, "a", "k1", used())
    with opened(PostgresStorage, postgres_url, storage.schema, write_timeout=30, connections=1) as patient:
        with psycopg.connect(postgres_url, autocommit=True) as holder, locked(holder, storage.schema):
            interrupting = Background(lambda: [until(lambda: waiting(plain)), os.kill(os.getpid(), signal.SIGINT)])
            with pytest.raises(KeyboardInterrupt):
                append(patient, "a", "k2", used())
            interrupting.result()
            until(lambda: not waiting(plain))
        assert append(patient, "a", "k2", used()).number == 2
    assert len(assert_sound(storage)) == 2


def test_ctrl_c_at_any_moment_leaves_a_storage_that_works(postgres_url: str, plain: psycopg.Connection) -> None:
    with opened(PostgresStorage, postgres_url, fresh(), connections=1) as storage:
        append(storage, "a", "first", used())
        for n in range(40):
            timer = threading.Timer(n * 0.0002, os.kill, (os.getpid(), signal.SIGINT))
            try:
                timer.start()
                for _ in range(50):
                    append(storage, "a", f"k{n}", used())
                timer.join()
                time.sleep(1)
            except KeyboardInterrupt:
                timer.join()
            made = append(storage, "a", f"k{n}", used())
            assert append(storage, "a", f"k{n}", used()) == made
        assert len(assert_sound(storage)) == 41
    assert backends(plain, "state LIKE 'idle in transaction%'") == []


def test_ctrl_c_while_waiting_for_a_connection_loses_none(postgres_url: str, plain: psycopg.Connection) -> None:
    with opened(PostgresStorage, postgres_url, fresh(), write_timeout=5, connections=1) as storage:
        append(storage, "a", "k", used())
        with locked(plain, storage.schema):
            busy = Background(lambda: append(storage, "a", "k1", used()))
            time.sleep(0.2)
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
            with pytest.raises(KeyboardInterrupt):
                append(storage, "b", "k", used())
        assert busy.result().number == 2
        assert [append(storage, "b", f"k{n}", used()).number for n in range(3)] == [1, 2, 3]


def interrupted_twice(action: Callable[[], object], first: float, second: float) -> None:
    """Run the action and, once it is interrupted, again; each interrupt comes after so many seconds."""
    begun, ended = threading.Event(), threading.Event()

    def strike() -> None:
        begun.wait()
        for delay in (first, second):
            time.sleep(delay)
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.002)  # until the signal has come
        ended.set()

    striking = Background(strike)
    with suppress(KeyboardInterrupt):
        try:
            begun.set()
            action()
            ended.wait()
        except KeyboardInterrupt:
            action()
            ended.wait()
    striking.result()


def test_two_interrupts_in_a_row_lose_no_connection(postgres_url: str, plain: psycopg.Connection) -> None:
    """The first breaks off a query and its connection with it, the second the wait for another."""
    with opened(PostgresStorage, postgres_url, fresh(), write_timeout=2, connections=1) as storage:
        for n in range(100):
            write = partial(append, storage, "a", f"k{n}", used())
            interrupted_twice(write, 0.0002 * (n % 10), 0.0007 * (n // 10))
            assert write().number == n + 1
        assert len(assert_sound(storage)) == 100
    assert backends(plain, "state LIKE 'idle in transaction%'") == []


def test_ctrl_c_wherever_it_can_strike_loses_no_connection(postgres_url: str) -> None:
    with opened(PostgresStorage, postgres_url, fresh(), write_timeout=2, connections=1) as storage:

        def take(_: int) -> None:
            with storage._connection(time.monotonic() + 2):
                pass

        for _ in interrupted_everywhere(take):
            take(0)


def test_cancelling_at_every_await_leaves_nothing_behind(postgres_url: str, plain: psycopg.Connection) -> None:
    asyncio.run(_cancelling(postgres_url))
    assert backends(plain, "state LIKE 'idle in transaction%'") == []


async def _cancelling(url: str) -> None:
    """Cancel an append after 0, 1, 2 … turns of the loop, until one is done before; the key tells each time."""
    storage = AsyncPostgresStorage(url, schema=fresh(), connections=1)
    entries, cancelled = [used(), used(2, ("b", CALLS[1]))], 0
    for turns in range(400):
        call = call_of("a", f"k{turns}", *entries)
        task = asyncio.ensure_future(storage.transact("a", call.key, call.reads, call.decide))
        for _ in range(turns):
            await asyncio.sleep(0)
        if turns >= 40:
            await asyncio.wait([task], timeout=(turns - 40) * 0.00005)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            cancelled += 1
        made = await storage.transact("a", call.key, call.reads, call.decide)
        assert await storage.transact("a", call.key, call.reads, call.decide) == made
        assert (await storage.state("a", reads_of(entries))).head.batches == turns + 1
        if turns - cancelled > 10:
            break
    assert cancelled > 10  # how many turns a write takes depends on the machine
    batches = await storage.batches("a", limit=10**6)
    state = await storage.state("a", reads_of(entries))
    assert (state.head, dict(state.counters)) == fold(batches)
    await storage.close()


def test_a_cancellation_that_the_pool_swallows_is_not_lost(postgres_url: str, plain: psycopg.Connection) -> None:
    """As the pool does where a connection comes free in the very turn of the loop that cancels."""

    async def swallowed() -> None:
        storage = AsyncPostgresStorage(postgres_url, schema=fresh(), connections=1)
        await storage.state("a", lambda _: ())
        assert storage._own is not None
        pool = storage._own.pool
        getconn = pool.getconn

        async def late(**bound: Any) -> Any:
            connection = await getconn(**bound)
            asyncio.current_task().cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
            return connection

        pool.getconn = late
        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(storage.state("a", lambda _: ()))
        pool.getconn = getconn
        assert (await storage.state("a", lambda _: ())).head.batches == 0
        await storage.close()

    asyncio.run(swallowed())
    assert backends(plain, "state LIKE 'idle in transaction%'") == []


def test_a_cancelled_caller_takes_nobody_with_it(postgres_url: str) -> None:
    async def crowd() -> None:
        storage = AsyncPostgresStorage(postgres_url, schema=fresh(), connections=2)
        calls = [call_of("a", f"k{n}", used()) for n in range(30)]
        tasks = [asyncio.ensure_future(storage.transact("a", c.key, c.reads, c.decide)) for c in calls]
        for n, task in enumerate(tasks):
            await asyncio.sleep(0)
            if n % 3 == 0:
                task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        kept = {batch.key for batch in await storage.batches("a")}
        assert {batch.key for batch in done if isinstance(batch, Batch)} <= kept
        assert [n for n in range(30) if n % 3 and not isinstance(done[n], Batch)] == []
        await storage.close()

    asyncio.run(crowd())


def test_a_loop_that_ends_ends_what_waits(postgres_url: str, plain: psycopg.Connection) -> None:
    schema = fresh()

    async def left_alone() -> None:
        storage = AsyncPostgresStorage(postgres_url, schema=schema, connections=1)
        call = call_of("a", "k", used())
        await storage.transact("a", call.key, call.reads, call.decide)
        with psycopg.connect(postgres_url, autocommit=True) as holder, locked(holder, schema):
            asyncio.ensure_future(storage.transact("a", "k2", call.reads, call.decide))  # noqa: RUF006
            await asyncio.to_thread(until, lambda: waiting(plain))

    asyncio.run(asyncio.wait_for(left_alone(), 20))
    until(lambda: not waiting(plain))
    until(lambda: backends(plain, "state LIKE 'idle in transaction%'") == [])


# Connections that are lost


def test_a_connection_that_died_while_idle_is_replaced(either: Any, plain: psycopg.Connection) -> None:
    for n in range(3):
        assert append(either, "a", f"k{n}", used()).number == n + 1
        for pid in until(lambda: backends(plain, "state = 'idle'")):
            plain.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        assert either.state("a", lambda _: [CALLS]).counters == {CALLS: n + 1}
    assert len(assert_sound(either)) == 3


def test_an_audit_is_begun_again_where_a_connection_died_while_idle(either: Any, plain: psycopg.Connection) -> None:
    append(either, "a", "k1", used())
    for pid in until(lambda: backends(plain, "state = 'idle'")):
        plain.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    with either.kept("a") as kept:
        assert [record.key for record in kept.records] == ["k1"]
        assert list(kept.counters) == [(CALLS, 1)]
    assert backends(plain, "state LIKE 'idle in transaction%'") == []


def test_a_connection_that_dies_before_the_commit_is_an_unknown_outcome(either: Any, plain: psycopg.Connection) -> None:
    append(either, "a", "k1", used())
    call = call_of("a", "k2", used())

    def decide(state: State) -> Verdict[Any]:
        for pid in backends(plain, "state = 'idle in transaction'"):
            plain.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        return call.decide(state)

    with pytest.raises(OutcomeUnknown) as caught:
        either.transact("a", "k2", call.reads, decide)
    assert caught.value.key == "k2"
    assert append(either, "a", "k2", used()).number == 2
    assert len(assert_sound(either)) == 2


class Cutter:
    """A proxy before a server on a Unix socket that cuts a connection at its next COMMIT, before or after it."""

    def __init__(self, folder: Path, server: str) -> None:
        self.cut: str | None = None
        self._server = server
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen(20)
        self._sockets, self._threads = [self._listener], list[threading.Thread]()
        self._start(self._accept)

    def stop(self) -> None:
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for each in self._sockets:
            each.close()

    def _start(self, action: Callable[..., None], *values: Any) -> None:
        thread = threading.Thread(target=action, args=values, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                self._sockets += [client, server]
                server.connect(self._server)
                muted = threading.Event()
                self._start(self._ask, client, server, muted)
                self._start(self._answer, client, server, muted)

    def _ask(self, client: socket.socket, server: socket.socket, muted: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while asked := client.recv(2**16):
                if self.cut and b"COMMIT\0" in asked and b".add_batch(" in asked:
                    cut, self.cut = self.cut, None
                    muted.set()
                    if cut == "before":
                        break
                server.sendall(asked)
            server.shutdown(socket.SHUT_RDWR)
            client.shutdown(socket.SHUT_RDWR)

    def _answer(self, client: socket.socket, server: socket.socket, muted: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while answer := server.recv(2**16):
                if not muted.is_set():
                    client.sendall(answer)
                elif answer.endswith(b"Z\0\0\0\5I"):  # committed, and ready for another
                    break
            client.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def cutter(postgres_url: str) -> Iterator[Cutter]:
    parts = conninfo_to_dict(postgres_url)
    with tempfile.TemporaryDirectory() as folder:  # the name of a socket has to be short
        cutter = Cutter(Path(folder), f"{parts['host']}/.s.PGSQL.{parts.get('port') or 5432}")
        cutter.address = make_conninfo(postgres_url, host=folder)  # type: ignore[attr-defined]
        yield cutter
        cutter.stop()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("when", "kept"), [("before", 1), ("after", 2)])
def test_a_commit_whose_answer_is_lost_is_an_unknown_outcome_and_the_key_tells(
    postgres_url: str, cutter: Any, kind: type, when: str, kept: int
) -> None:
    schema = fresh()
    opening = opened(kind, cutter.address, schema, write_timeout=10)
    with opening as storage, opened(PostgresStorage, postgres_url, schema) as straight:
        append(storage, "a", "k1", used())
        for n in range(3):
            cutter.cut = when
            with pytest.raises(OutcomeUnknown) as caught:
                append(storage, "a", f"again {n}", used())
            assert caught.value.key == f"again {n}"
            assert len(straight.batches("a")) == n + kept
            made = append(storage, "a", f"again {n}", used())
            assert append(storage, "a", f"again {n}", used(9)) == made
        assert len(assert_sound(storage)) == 4


@pytest.mark.parametrize("when", ["before", "after"])
def test_of_a_group_whose_answer_is_lost_each_is_booked_once(cutter: Any, when: str) -> None:
    with opened(PostgresStorage, cutter.address, fresh(), write_timeout=20) as storage:
        append(storage, "a", "k", used())
        cutter.cut = when

        def write(thread: int) -> list[Batch]:
            made = []
            for n in range(4):
                try:
                    made.append(append(storage, "a", f"{thread}-{n}", used()))
                except OutcomeUnknown as error:
                    made.append(append(storage, "a", error.key, used()))
            return made

        made = [batch for batches in together(6, write) for batch in batches]
        assert sorted(batch.number for batch in made) == list(range(2, 26))
        assert len(assert_sound(storage)) == 25


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (psycopg.errors.LockNotAvailable, StorageUnavailable),
        (psycopg.errors.QueryCanceled, StorageUnavailable),
        (psycopg.errors.ReadOnlySqlTransaction, StorageUnavailable),
        (psycopg.errors.CannotConnectNow, StorageUnavailable),
        (psycopg.errors.AdminShutdown, StorageUnavailable),
        (psycopg.errors.TooManyConnections, StorageUnavailable),
        (psycopg.errors.DiskFull, StorageUnavailable),
        (psycopg.errors.DeadlockDetected, StorageUnavailable),
        (psycopg.errors.SerializationFailure, StorageUnavailable),
        (psycopg.OperationalError, StorageUnavailable),
        (psycopg.errors.UniqueViolation, LogCorrupt),
        (psycopg.errors.CheckViolation, LogCorrupt),
        (psycopg.errors.NumericValueOutOfRange, LogCorrupt),
        (psycopg.errors.DataCorrupted, LogCorrupt),
        (psycopg.errors.InsufficientPrivilege, StorageError),
        (psycopg.errors.UndefinedTable, StorageError),
        (psycopg.errors.InvalidPassword, StorageError),
    ],
)
def test_every_kind_of_error_is_one_of_ours(error: type[psycopg.Error], ours: type[StorageError]) -> None:
    found = translated(error("what the server said\nDETAIL: a secret"), "PostgreSQL app on host")
    assert type(found) is ours
    assert "PostgreSQL app on host" in str(found)
    assert "secret" not in str(found)


def test_a_role_without_rights_is_told(postgres_url: str, plain: psycopg.Connection, storage: PostgresStorage) -> None:
    role = f"poor_{next(NAMES)}"
    plain.execute(f"CREATE ROLE {role} LOGIN")
    for schema in (storage.schema, fresh()):
        with pytest.raises(StorageError, match="permission denied"):
            PostgresStorage(make_conninfo(postgres_url, user=role), schema=schema)
    plain.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize("kind", KINDS)
def test_an_erasure_that_cannot_be_finished_is_told_to_nobody_else(
    postgres_url: str, plain: psycopg.Connection, kind: type
) -> None:
    """It is committed with the rest of its group, and waits no longer than a write may."""
    schema, erase = fresh(), sealed_call_of("a", "erase", Entry("erased", START, "a"))
    with opened(kind, postgres_url, schema, write_timeout=1, connections=1) as storage:
        append_sealed(storage, "a", "k0", *personal_kinds())
        with plain.transaction():
            plain.execute(f"LOCK TABLE {schema}.personal IN SHARE UPDATE EXCLUSIVE MODE")
            began = time.monotonic()
            first, second, third = storage.transact_all([call_of("a", "k1", used()), erase, call_of("a", "k2", used())])
            assert time.monotonic() - began < 8
        assert [first.answer().number, third.answer().number] == [2, 4]
        with pytest.raises(StorageUnavailable, match=r"the erasure is booked, but .*; erase again"):
            second.answer()
        assert append_sealed(storage, "a", "again", Entry("erased", START, "a")).number == 5
        assert len(assert_sound(storage)) == 5


@pytest.mark.parametrize("kind", KINDS)
def test_an_erasure_that_a_transaction_can_still_see_is_told_and_finished_later(
    postgres_url: str, plain: psycopg.Connection, kind: type
) -> None:
    schema = fresh()
    with opened(kind, postgres_url, schema, connections=1) as storage:
        append_sealed(storage, "a", "k", *personal_kinds())
        with psycopg.connect(postgres_url) as report:
            report.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            report.execute("SELECT 1")
            with pytest.raises(
                StorageUnavailable, match=r"the erasure is booked, but .* can still see it.*; erase again"
            ):
                append_sealed(storage, "a", "erase", Entry("erased", START, "a"))
            assert report.execute(f"SELECT count(*) > 0 FROM {schema}.personal").fetchall() == [(True,)]
        assert append_sealed(storage, "a", "again", Entry("erased", START, "a")).number == 3
        assert left_dead(plain, schema) == 0
        assert len(assert_sound(storage)) == 3


def left_dead(plain: psycopg.Connection, schema: str) -> int:
    """Return how many rows that were deleted the table of personal values still held, as another vacuum says."""
    said = list[str]()
    plain.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
    plain.execute(f"VACUUM (VERBOSE) {schema}.personal")
    (told,) = [text for text in said if f'{schema}.personal"' in text and "finished" in text]
    found = re.search(r"tuples: (\d+) removed, \d+ remain, (\d+) are dead", told)
    assert found
    return int(found[1]) + int(found[2])


@pytest.mark.parametrize("kind", KINDS)
def test_an_erasure_waits_for_writes_that_are_under_way(
    postgres_url: str, plain: psycopg.Connection, kind: type
) -> None:
    schema = fresh()
    with opened(kind, postgres_url, schema) as storage:
        append_sealed(storage, "a", "k", *personal_kinds())
        with psycopg.connect(postgres_url) as writer:
            writer.execute("SELECT pg_current_xact_id()")
            ending = Background(lambda: [time.sleep(0.1), writer.rollback()])
            assert append_sealed(storage, "a", "erase", Entry("erased", START, "a")).number == 2
            ending.result()
        assert left_dead(plain, schema) == 0


def test_erasures_at_once_do_not_take_each_other_for_something_left(postgres_url: str) -> None:
    with opened(PostgresStorage, postgres_url, fresh(), write_timeout=20) as storage:

        def erase(thread: int) -> None:
            for n in range(4):
                append_sealed(storage, f"{thread}-{n}", "k", *personal_kinds())
                append_sealed(storage, f"{thread}-{n}", "erase", Entry("erased", START, f"{thread}-{n}"))

        together(4, erase)


def test_a_role_that_may_not_vacuum_is_told_that_bytes_are_left(postgres_url: str, plain: psycopg.Connection) -> None:
    """A server only warns of it; with MAINTAIN, which is all it takes, the next erasure finishes the work."""
    schema, role = fresh(), f"poor_{next(NAMES)}"
    PostgresStorage(postgres_url, schema=schema).close()
    plain.execute(f"CREATE ROLE {role} LOGIN")
    plain.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
    plain.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}")
    with opened(PostgresStorage, make_conninfo(postgres_url, user=role), schema) as storage:
        append_sealed(storage, "a", "k", *personal_kinds())
        with pytest.raises(StorageUnavailable, match=r"the erasure is booked, but .*may not vacuum.*; erase again"):
            append_sealed(storage, "a", "erase", Entry("erased", START, "a"))
        plain.execute(f"GRANT MAINTAIN ON {schema}.personal TO {role}")
        assert append_sealed(storage, "a", "again", Entry("erased", START, "a")).number == 3
    assert left_dead(plain, schema) == 0
    plain.execute(f"DROP OWNED BY {role}")
    plain.execute(f"DROP ROLE {role}")
