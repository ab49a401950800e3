"""What the tests of the engine share: a clock that stands still, and engines on every storage of one machine."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from entitlements import Entitlements
from entitlements.storage.memory import MemoryStorage
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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Put each test to every kind of storage, and one that opens engines to the awaited engine, too."""
    if "setting" in metafunc.fixturenames:
        awaited = ["awaited"] if "opened" in metafunc.fixturenames else []
        metafunc.parametrize("setting", ["memory", "sqlite", *awaited])


@pytest.fixture
def storage(setting: str, request: pytest.FixtureRequest) -> str:
    """The address of a fresh storage, on each kind of storage in turn."""
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
