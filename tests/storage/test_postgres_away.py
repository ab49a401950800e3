"""A PostgreSQL server that refuses for a moment, that was away, and how many connections it ever sees."""

import asyncio
import gc
import itertools
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from entitlements.errors import StorageError, StorageUnavailable
from entitlements.storage.postgres import PostgresStorage
from entitlements.storage.postgres_async import AsyncPostgresStorage
from entitlements.testing.blocking import Blocking
from entitlements.testing.histories import append, call_of, used
from entitlements.testing.proving import Background, together

from .interrupting import interrupted_everywhere

NAMES = itertools.count()
KINDS = [PostgresStorage, AsyncPostgresStorage]


def fresh() -> str:
    return f"away_{next(NAMES)}"


@contextmanager
def opened(kind: type, url: str, schema: str, **options: Any) -> Iterator[Any]:
    """Open a storage of either kind; both are used as one that is waited for."""
    storage = kind(url, schema=schema, **options)
    used_as = storage if kind is PostgresStorage else Blocking(storage)
    try:
        yield used_as
    finally:
        used_as.close()
        if used_as is not storage:
            used_as.end()


@pytest.fixture
def plain(postgres_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        yield connection


class Door:
    """An address of the server that can be shut: nobody comes in meanwhile, and who is in is thrown out."""

    def __init__(self, folder: str, url: str, plain: psycopg.Connection) -> None:
        parts = conninfo_to_dict(url)
        name = f".s.PGSQL.{parts.get('port') or 5432}"
        self._link, self._socket, self._plain = Path(folder) / name, Path(str(parts["host"])) / name, plain
        self.address = make_conninfo(url, host=folder)

    def open(self) -> None:
        self._link.symlink_to(self._socket)

    def shut(self) -> None:
        self._link.unlink()
        self._plain.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name LIKE 'entitlements%'"
        )


@pytest.fixture
def door(postgres_url: str, plain: psycopg.Connection) -> Iterator[Door]:
    with tempfile.TemporaryDirectory() as folder:  # the name of a socket has to be short
        yield Door(folder, postgres_url, plain)


def after(seconds: float, action: Callable[[], object]) -> Background:
    return Background(lambda: [time.sleep(seconds), action()])


@pytest.mark.parametrize("kind", KINDS)
def test_opening_waits_for_a_server_that_is_away_for_a_moment(door: Door, kind: type) -> None:
    coming = after(0.4, door.open)
    with opened(kind, door.address, fresh()) as storage:
        assert append(storage, "a", "k", used()).number == 1
    coming.result()


def test_opening_waits_for_a_server_that_has_no_connection_free(postgres_url: str, plain: psycopg.Connection) -> None:
    role = fresh()
    plain.execute(f"CREATE ROLE {role} LOGIN SUPERUSER CONNECTION LIMIT 1")
    plain.execute(f"ALTER ROLE {role} NOSUPERUSER")
    plain.execute(f"CREATE SCHEMA {role} AUTHORIZATION {role}")
    address = make_conninfo(postgres_url, user=role)
    with psycopg.connect(address) as holder:
        with pytest.raises(StorageUnavailable, match=r"schema \w+: .*too many connections.*; see that the server runs"):
            PostgresStorage(address, schema=role, write_timeout=0.1)
        going = after(0.4, holder.close)
        with pytest.raises(StorageError, match="permission denied"):  # which it is only told once it is connected
            PostgresStorage(address, schema=fresh())
        going.result()
    plain.execute(f"DROP SCHEMA {role}")
    plain.execute(f"DROP ROLE {role}")


def test_a_connection_that_is_lost_while_tables_are_made_is_not_the_end(
    postgres_url: str, plain: psycopg.Connection
) -> None:
    schema = fresh()
    waits = "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with psycopg.connect(postgres_url) as holder:
        holder.execute("SELECT pg_advisory_xact_lock(%s)", [_migration_lock(schema)])
        opening = Background(lambda: PostgresStorage(postgres_url, schema=schema))
        while not plain.execute(waits).fetchall():
            time.sleep(0.002)
    with closing(opening.result()) as storage:
        assert append(storage, "a", "k", used()).number == 1


def _migration_lock(schema: str) -> int:
    from entitlements.storage.postgres_trips import lock_of

    return lock_of(schema, "", "migration")


@pytest.mark.parametrize("kind", KINDS)
def test_opening_gives_up_after_its_time(door: Door, kind: type) -> None:
    began = time.monotonic()
    with pytest.raises(
        StorageUnavailable, match=r"^PostgreSQL postgres on .*, schema \w+: .*; see that the server runs"
    ):
        kind(door.address, schema=fresh(), write_timeout=0.3)
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("wrong", [{"dbname": "nowhere"}, {"user": "nobody"}, {"connect_timeout": "soon"}])
def test_an_address_that_is_wrong_is_told_at_once(postgres_url: str, wrong: dict[str, str]) -> None:
    began = time.monotonic()
    with pytest.raises(
        StorageError, match="(does not exist|connect_timeout: 'soon'); see that the address is right"
    ) as caught:
        PostgresStorage(make_conninfo(postgres_url, **wrong), write_timeout=30)
    assert not isinstance(caught.value, StorageUnavailable)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_was_away_is_used_again_soon(door: Door, kind: type) -> None:
    """However long it was away: what connects in the background must not have given itself a long break."""
    door.open()
    with opened(kind, door.address, fresh(), write_timeout=5, connections=2) as storage:
        append(storage, "a", "k", used())
        door.shut()
        coming = after(3.3, door.open)  # a pool left to itself tries after 1, 3 and 7 seconds
        assert append(storage, "a", "k2", used()).number == 2
        coming.result()


def test_a_server_away_for_longer_than_a_write_waits_is_used_again_soon(door: Door) -> None:
    door.open()
    with opened(PostgresStorage, door.address, fresh(), write_timeout=0.3, connections=2) as storage:
        append(storage, "a", "k", used())
        door.shut()
        until = time.monotonic() + 3.3
        while time.monotonic() < until:
            with pytest.raises(StorageUnavailable):
                append(storage, "a", "k2", used())
        door.open()
        began = time.monotonic()
        while time.monotonic() - began < 2:
            try:
                assert append(storage, "a", "k2", used()).number == 2
                break
            except StorageUnavailable:
                continue
        else:
            pytest.fail("the server is back, and is not used")


def test_no_more_connections_are_open_than_were_allowed_whatever_was_interrupted(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, connect = list[int](), psycopg.Connection.connect.__func__  # type: ignore[attr-defined]

    def counting(kind: Any, *values: Any, **options: Any) -> Any:
        known = [each for each in gc.get_objects() if isinstance(each, kind) and not each.closed]
        seen.append(len(known) + 1)
        return connect(kind, *values, **options)

    with opened(PostgresStorage, postgres_url, fresh(), connections=2) as storage:
        monkeypatch.setattr(psycopg.Connection, "connect", classmethod(counting))
        kept = list[BaseException]()

        def take(_: int) -> None:
            try:
                storage.state("a", lambda _: ())
            except KeyboardInterrupt as interrupt:  # who keeps it keeps all that stood in its frames
                kept.append(interrupt)
                raise

        for _ in interrupted_everywhere(take):
            together(2, lambda n: append(storage, f"{n}", f"{len(kept)}", used()))
    assert len(seen) > 10
    assert max(seen) == 2


def test_the_line_for_connections_is_kept_by_those_who_wait(postgres_url: str) -> None:
    """Twice as many as there are connections are served, each as often, awaited as well."""

    async def crowd() -> None:
        storage = AsyncPostgresStorage(postgres_url, schema=fresh(), connections=2, write_timeout=10)
        served = []

        async def ask(n: int) -> None:
            await storage.state(f"{n}", lambda _: ())
            served.append(n)

        await asyncio.gather(*(ask(n) for n in range(40)))
        assert sorted(served) == list(range(40))
        tasks = [asyncio.ensure_future(storage.state("a", lambda _: ())) for _ in range(40)]
        await asyncio.sleep(0.002)
        for task in tasks[::2]:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert [found for found in done[1::2] if isinstance(found, BaseException)] == []
        await asyncio.gather(*(ask(n) for n in range(4)))
        await storage.close()

    asyncio.run(crowd())


# Event loops


async def wrote(storage: AsyncPostgresStorage, key: str) -> int:
    call = call_of("a", key, used())
    return (await storage.transact("a", key, call.reads, call.decide)).number


def test_event_loops_use_a_storage_one_after_another(
    postgres_url: str, plain: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """As each call of asyncio.run has its own; what one left behind half-way is in nobody's way."""
    caplog.set_level(logging.CRITICAL, "psycopg.pool")  # what is captured is kept, and a connection in its frames
    role = fresh()
    plain.execute(f"CREATE ROLE {role} LOGIN SUPERUSER")
    storage = AsyncPostgresStorage(
        make_conninfo(postgres_url, user=role), schema=fresh(), connections=1, write_timeout=2
    )

    async def left_alone(key: str) -> None:
        tasks = [asyncio.ensure_future(wrote(storage, f"{key} {n}")) for n in range(3)]
        tasks.append(asyncio.ensure_future(storage.pulse()))
        await asyncio.sleep(0.002)

    made = [asyncio.run(wrote(storage, "first"))]
    for n in range(3):
        asyncio.run(left_alone(f"{n}"))
        made.append(asyncio.run(wrote(storage, f"k{n}")))
        assert asyncio.run(storage.pulse()) >= 0
    assert made == sorted(set(made))
    asyncio.run(storage.close())
    with pytest.raises(StorageUnavailable, match="is closed"):
        asyncio.run(wrote(storage, "late"))
    count = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s"
    gc.collect()  # what was being opened as a loop ended is nobody's, and in a cycle
    until(lambda: plain.execute(count, [role]).fetchall() == [(0,)])
    plain.execute(f"DROP OWNED BY {role}")
    plain.execute(f"DROP ROLE {role}")


def test_an_event_loop_that_comes_after_another_has_closed_its_connections(
    postgres_url: str, plain: psycopg.Connection
) -> None:
    """Also one that somebody keeps, as an exception that is kept does: else more would be open than are allowed."""
    role, kept = fresh(), list[object]()
    plain.execute(f"CREATE ROLE {role} LOGIN SUPERUSER")
    storage = AsyncPostgresStorage(make_conninfo(postgres_url, user=role), schema=fresh(), connections=1)

    async def keep() -> None:
        async with storage._connection(time.monotonic() + 5) as connection:
            kept.append(connection)

    for n in range(3):
        asyncio.run(keep())
        assert asyncio.run(wrote(storage, f"k{n}")) == n + 1
        until(lambda: plain.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", [role]).fetchall() <= [(1,)])
    asyncio.run(storage.close())
    plain.execute(f"DROP OWNED BY {role}")
    plain.execute(f"DROP ROLE {role}")


def test_an_event_loop_cannot_use_the_connections_of_another_that_still_runs(postgres_url: str) -> None:
    storage = AsyncPostgresStorage(postgres_url, schema=fresh(), connections=1, write_timeout=2)

    async def main() -> None:
        assert await wrote(storage, "k1") == 1
        for use in (partial(wrote, storage, "k2"), storage.feed, storage.pulse, storage.close):
            with pytest.raises(StorageError, match="used by another event loop; open an engine in each"):
                await asyncio.to_thread(asyncio.run, use())
        assert await wrote(storage, "k2") == 2
        await storage.close()

    asyncio.run(asyncio.wait_for(main(), 20))


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.002)
