"""What the tests of the engine share: a clock that stands still, and engines on every storage of one machine."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import settings

from entitlements import Entitlements
from entitlements.storage.memory import MemoryStorage
from entitlements.storage.opening import open_storage
from entitlements.storage.sqlite import SQLiteStorage
from entitlements.testing import FrozenClock
from entitlements.testing.blocking_engine import BlockingEngine
from entitlements.testing.serving import postgres_server

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background job
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("entitlements", settings.get_profile(settings.get_current_profile_name()), deadline=None)
settings.load_profile("entitlements")  # how long an example takes says more of the machine than of the code

START = datetime(2026, 3, 10, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(START)


@pytest.fixture
def catalog_file() -> Path:
    """The example catalog of the documentation."""
    return Path(__file__).parent / "catalog.yaml"


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with all tables and nothing in them; copying it is faster than making one."""
    path = tmp_path_factory.mktemp("empty") / "app.db"
    SQLiteStorage(path).close()
    return path


@pytest.fixture
def database(empty_database: Path, tmp_path: Path) -> Path:
    """An SQLite file of this test's own."""
    return Path(shutil.copy(empty_database, tmp_path / "app.db"))


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The address of a PostgreSQL server: that of ENTITLEMENTS_TEST_POSTGRES, or one of this run's own."""
    with postgres_server() as address:
        yield address


@pytest.fixture(scope="session")
def emptied(postgres_url: str) -> Iterator[Callable[[], str]]:
    """Empties one PostgreSQL schema, past its triggers, and gives its address; that is faster than making one."""
    schema = f"tests_{os.getpid()}"
    address = f"{postgres_url}{'&' if '?' in postgres_url else '?'}schema={schema}"
    open_storage(address).close()
    tables = ("batches", "entries", "personal", "erased", "heads", "blocks", "holds", "budgets", "counters")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")

        def empty() -> str:
            connection.execute("; ".join(f"DELETE FROM {schema}.{table}" for table in tables))
            return address

        yield empty
        connection.execute(f"DROP SCHEMA {schema} CASCADE")
        connection.execute("DROP ROLE IF EXISTS app_runtime")  # the one that a page of the documentation makes


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Put each test to every kind of storage, and one that opens engines to the awaited engine, too."""
    if "setting" in metafunc.fixturenames:
        awaited = ["awaited"] if "opened" in metafunc.fixturenames else []
        metafunc.parametrize("setting", ["memory", "sqlite", "postgres", *awaited])


@pytest.fixture
def storage(setting: str, request: pytest.FixtureRequest) -> str:
    """The address of a fresh storage, on each kind of storage in turn."""
    if setting == "postgres":
        return request.getfixturevalue("emptied")()
    return f"sqlite:///{request.getfixturevalue('database')}" if setting == "sqlite" else "memory:"


@pytest.fixture
def shared(storage: str) -> str | MemoryStorage:
    """A storage that several engines may use at once."""
    return MemoryStorage() if storage == "memory:" else storage


@pytest.fixture
def opened(setting: str, storage: str, clock: FrozenClock) -> Iterator[Callable[..., Any]]:
    """Opens engines on any catalog; they are closed when the test is over."""
    engine = BlockingEngine if setting == "awaited" else Entitlements
    with ExitStack() as engines:
        yield lambda catalog, **options: engines.enter_context(
            engine(catalog, **{"storage": storage, "clock": clock, "timeout": 10, **options})
        )


@pytest.fixture
def engine(opened: Callable[..., Entitlements], catalog_file: Path) -> Entitlements:
    """An engine with the example catalog, on each kind of storage in turn."""
    return opened(catalog_file)
