"""Processes that are told of facts by NOTIFY: what tells, what does not, and what is done where nobody is told."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import count, pairwise
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from entitlements import Entitlements
from entitlements.catalog.model import Entitlement
from entitlements.errors import StorageError, StorageUnavailable
from entitlements.freshness import ASK_EVERY
from entitlements.ledger.entries import Entry, Verdict
from entitlements.ledger.facts import Override
from entitlements.storage.postgres import PostgresStorage
from entitlements.storage.postgres_async import AsyncPostgresStorage
from entitlements.storage.postgres_signals import NAME, Signals
from entitlements.testing.blocking import Blocking
from entitlements.testing.blocking_engine import BlockingEngine
from entitlements.testing.histories import START, append, fact, used

NUMBERS = count()
KINDS = [PostgresStorage, AsyncPostgresStorage]
DENIED = fact("overridden", Override(Entitlement("calls", "deny"), START, None, 1, ""))
CATALOG: dict[str, Any] = {
    "default_plan": "free",
    "features": {"sso": {"type": "boolean"}, "seats": {"type": "metered"}},
    "plans": {"free": {"entitlements": {"seats": 1}}, "pro": {"entitlements": {"sso": True, "seats": 9}}},
}
WATCH = """
import asyncio, json, sys, time
from entitlements import AsyncEntitlements, Entitlements, freshness

freshness.ASK_EVERY = 3600.0

def told(found, seen):
    if bool(found) is not seen:
        print(json.dumps([bool(found), time.monotonic()]), flush=True)
    return bool(found)

async def awaited(*arguments, **options):
    async with AsyncEntitlements(*arguments, **options) as ent:
        seen = None
        while True:
            seen = told(await ent.check("acme", "sso"), seen)
            await asyncio.sleep(0.002)

def waited(*arguments, **options):
    with Entitlements(*arguments, **options) as ent:
        seen = None
        while True:
            seen = told(ent.check("acme", "sso"), seen)
            time.sleep(0.002)

options = {"storage": sys.argv[2], "max_stale": 3600}
if sys.argv[3] == "awaited":
    asyncio.run(awaited(json.loads(sys.argv[1]), **options))
else:
    waited(json.loads(sys.argv[1]), **options)
"""


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a storage listen as soon as it is asked for news, and again as soon as that failed."""
    monkeypatch.setattr("entitlements.storage.postgres_signals.FIRST_PAUSE", 0.0)


@pytest.fixture
def schema() -> str:
    return f"signals_{next(NUMBERS)}"


@pytest.fixture
def plain(postgres_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        yield connection


@contextmanager
def opened(kind: type, url: str, schema: str) -> Iterator[Any]:
    """Open a storage of either kind; both are used as one that is waited for."""
    storage = kind(url, schema=schema)
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


@pytest.fixture(params=KINDS)
def listener(request: pytest.FixtureRequest, postgres_url: str, schema: str) -> Iterator[Any]:
    """A storage that is told, waited for and awaited in turn."""
    with opened(request.param, postgres_url, schema) as storage:
        until(lambda: is_listening(storage))
        yield storage


@pytest.fixture
def other(postgres_url: str, schema: str) -> Iterator[PostgresStorage]:
    """Another process's storage on the same schema."""
    with closing(PostgresStorage(postgres_url, schema=schema)) as storage:
        yield storage


def until(found: Callable[[], Any]) -> Any:
    """Return what is found once it is there."""
    deadline = time.monotonic() + 20
    while not (value := found()):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return value


def is_listening(storage: Any) -> bool:
    storage.pulse()
    return storage.heard() is not None


def listeners(plain: psycopg.Connection, where: str = "query LIKE 'LISTEN%'") -> list[int]:
    """Return the process ids of the server's ends of connections that listen."""
    sql = f"SELECT pid FROM pg_stat_activity WHERE application_name = '{NAME}' AND state = 'idle' AND {where}"
    return [pid for (pid,) in plain.execute(sql).fetchall()]


def test_facts_tell(listener: Any, other: PostgresStorage) -> None:
    lines = [DENIED, Entry("fixed", START, "calls", data={"reset": "none"}), Entry("erased", START, "a")]
    for number, line in enumerate(lines):
        heard = listener.heard()
        append(other, "a", f"k{number}", used(), line)
        until(lambda heard=heard: listener.heard() > heard)
        assert listener.heard() == heard + 1


def test_usage_and_denials_tell_nothing(listener: Any, other: PostgresStorage) -> None:
    """What was committed before a fact would have been told before it."""
    heard = listener.heard()
    for number in range(5):
        append(other, "a", f"k{number}", used(), used(2))
        other.transact("a", f"denied {number}", lambda _: [], lambda _: Verdict(None))
    append(other, "a", "fact", DENIED)
    until(lambda: listener.heard() > heard)
    time.sleep(0.05)
    assert listener.heard() == heard + 1


def test_a_commit_in_another_schema_is_none_of_ours(listener: Any, postgres_url: str, schema: str) -> None:
    heard = listener.heard()
    with closing(PostgresStorage(postgres_url, schema=f"{schema}_too")) as stranger:
        append(stranger, "a", "k", DENIED)
    time.sleep(0.05)
    assert listener.heard() == heard


def test_what_is_rolled_back_is_not_told(listener: Any, other: PostgresStorage, postgres_url: str, schema: str) -> None:
    with Entitlements(CATALOG, storage=PostgresStorage(postgres_url, schema=schema)) as ent:
        first = listener.heard()
        ent.subscribe("else", "pro")  # and the catalog is kept, once
        until(lambda: listener.heard() > first)
        time.sleep(0.05)
        heard = listener.heard()
        with psycopg.connect(postgres_url) as host:
            with host.transaction(force_rollback=True):
                ent.joined(host).subscribe("acme", "pro")
            time.sleep(0.05)
            assert listener.heard() == heard
            with host.transaction():
                ent.joined(host).subscribe("acme", "pro")
        until(lambda: listener.heard() == heard + 1)


def test_a_listener_that_is_cut_off_says_so_and_comes_back(
    listener: Any, other: PostgresStorage, plain: psycopg.Connection
) -> None:
    heard, pulse = listener.heard(), listener.pulse()
    for pid in listeners(plain):
        plain.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    append(other, "a", "unheard of", DENIED)
    assert until(lambda: listener.heard() is None)
    assert listener.pulse() == pulse + 1
    until(lambda: is_listening(listener))
    assert listener.heard() > heard
    heard = listener.heard()
    append(other, "a", "heard of", DENIED)
    until(lambda: listener.heard() == heard + 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_failing_listener_is_tried_ever_less_often(
    kind: type, postgres_url: str, schema: str, monkeypatch: pytest.MonkeyPatch, plain: psycopg.Connection
) -> None:
    monkeypatch.setattr("entitlements.storage.postgres_signals.FIRST_PAUSE", 0.05)
    monkeypatch.setattr("entitlements.storage.postgres_signals._LISTEN", ("LISTEN no channel", ()))
    with opened(kind, postgres_url, schema) as storage:
        signals, tries = storage._signals, list[float]()
        start = signals.open

        def counted(like: Any) -> None:
            tries.append(time.monotonic())
            start(like)

        signals.open = counted
        while len(tries) < 5:
            assert not is_listening(storage)
            time.sleep(0.001)
    pauses = [later - one for one, later in pairwise(tries)]
    assert all(pause >= 0.05 * 2**number for number, pause in enumerate(pauses))
    until(lambda: not listeners(plain, "true"))


@pytest.mark.parametrize("kind", KINDS)
def test_closing_leaves_no_connection(kind: type, postgres_url: str, schema: str, plain: psycopg.Connection) -> None:
    with opened(kind, postgres_url, schema) as storage:
        until(lambda: is_listening(storage))
        assert len(listeners(plain)) == 1
        signals = storage._signals
    until(lambda: not listeners(plain, "true"))
    assert not signals.wanted
    with pytest.raises(StorageUnavailable, match="is closed"):
        storage.heard()


def test_a_forked_child_is_told_to_open_its_own_and_takes_nothing_away(listener: Any, other: PostgresStorage) -> None:
    heard = listener.heard()
    pid = os.fork()
    if pid == 0:
        try:
            listener.heard()
        except StorageError as error:
            os._exit("after it, in the child" in str(error))
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    append(other, "a", "k", DENIED)
    until(lambda: listener.heard() == heard + 1)


# Behind a pooler


class Pooler:
    """Forwards to the server, and makes up who the server's process is, as poolers do."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                self._threads.append(threading.Thread(target=self._connect, args=(client,)))
                self._threads[-1].start()

    def _connect(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(self._target)
            answers = threading.Thread(target=pump, args=(server, client, made_up))
            answers.start()
            pump(client, server, bytes)
            answers.join()


def pump(source: socket.socket, sink: socket.socket, change: Callable[[bytes], bytes]) -> None:
    with suppress(OSError):
        while sent := source.recv(65536):
            sink.sendall(change(sent))
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def made_up(sent: bytes) -> bytes:
    """Return an answer of the server, with another number in the message that says which process it is."""
    head, said, rest = sent.partition(b"K\x00\x00\x00\x0c")
    return head + said + (b"\x7f\x00\x00\x01" + rest[4:] if said else rest)


@pytest.fixture
def pooled(postgres_url: str) -> Iterator[str]:
    """The address of the server behind a pooler."""
    folder = conninfo_to_dict(postgres_url)["host"]
    with closing(Pooler(f"{folder}/.s.PGSQL.5432")) as pooler:
        yield make_conninfo(postgres_url, host="127.0.0.1", port=pooler.port)


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_listens_behind_a_pooler_and_all_is_asked_for(
    kind: type, pooled: str, schema: str, other: PostgresStorage, plain: psycopg.Connection
) -> None:
    with opened(kind, pooled, schema) as storage:
        pulses = [storage.pulse()]
        until(lambda: storage._signals._pgconn is not None)
        for number in range(20):
            append(other, "a", f"k{number}", DENIED)
            pulses.append(storage.pulse())
            assert storage.heard() is None
            assert listeners(plain) == []
            time.sleep(0.005)
    assert pulses == [*range(pulses[0], pulses[0] + 21)]


# What an engine makes of it


@pytest.mark.parametrize("engine", ["waited", "awaited"])
def test_a_downgrade_is_seen_by_notification_alone(
    engine: str, postgres_url: str, schema: str, plain: psycopg.Connection
) -> None:
    address = f"{postgres_url}{'&' if '?' in postgres_url else '?'}schema={schema}"
    with Entitlements(CATALOG, storage=address) as ent:
        ent.subscribe("acme", "pro")
        command = [sys.executable, "-c", WATCH, json.dumps(CATALOG), address, engine]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout
            try:
                assert json.loads(child.stdout.readline())[0] is True
                until(lambda: listeners(plain))
                time.sleep(0.2)  # it asks once more when it begins to listen, and not again within the hour
                for expected in (False, True, False):
                    ent.set_status("acme", "active" if expected else "paused")
                    committed = time.monotonic()
                    seen, at = json.loads(child.stdout.readline())
                    assert seen is expected
                    assert at - committed < 1
            finally:
                child.kill()


@pytest.mark.parametrize("engine", [Entitlements, BlockingEngine])
def test_an_engine_that_is_told_asks_less_often(
    engine: Any, postgres_url: str, schema: str, monkeypatch: pytest.MonkeyPatch, plain: psycopg.Connection
) -> None:
    address = f"{postgres_url}{'&' if '?' in postgres_url else '?'}schema={schema}"
    kind = PostgresStorage if engine is Entitlements else AsyncPostgresStorage
    asked, pulse = list[float](), kind.pulse

    def counted(self: Any, **options: Any) -> Any:
        asked.append(time.monotonic())
        return pulse(self, **options)

    monkeypatch.setattr(kind, "pulse", counted)
    with engine(CATALOG, storage=address) as ent:
        checking(ent, lambda: listeners(plain))
        checking(ent, passed(0.2))
        asked.clear()
        checking(ent, passed(2.1))
        assert 1 <= len(asked) <= 10
        monkeypatch.setattr(Signals, "open", lambda *_: None)
        for pid in listeners(plain):
            plain.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        asked.clear()
        checking(ent, lambda: len(asked) > 20)
        assert min(later - one for one, later in pairwise(asked)) < ASK_EVERY / 2


def checking(ent: Any, is_done: Callable[[], Any]) -> None:
    """Ask the engine all the time until something is so."""

    def done() -> Any:
        ent.check("acme", "sso")
        return is_done()

    until(done)


def passed(seconds: float) -> Callable[[], bool]:
    """Return what tells whether so many seconds are over."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end
