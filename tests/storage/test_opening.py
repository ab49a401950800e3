"""Opening a storage by its address."""

import sys
from pathlib import Path

import psycopg
import pytest

from entitlements.errors import StorageError
from entitlements.storage.memory import MemoryStorage
from entitlements.storage.opening import open_async_storage, open_storage
from entitlements.storage.postgres import PostgresStorage
from entitlements.storage.postgres_async import AsyncPostgresStorage
from entitlements.storage.sqlite import SQLiteStorage


def opened_path(where: str | None) -> str:
    storage = open_storage(where, write_timeout=1)
    assert isinstance(storage, SQLiteStorage)
    storage.close()
    return storage.path


def test_an_address_opens_its_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert isinstance(open_storage("memory:"), MemoryStorage)
    assert opened_path(None) == str(tmp_path / "entitlements.db")
    assert opened_path("sqlite:///relative.db") == str(tmp_path / "relative.db")
    assert opened_path(f"sqlite:///{tmp_path}/a b%20#é.db") == f"{tmp_path}/a b%20#é.db"
    assert opened_path("sqlite:///:memory:") == ":memory:"
    files = {"entitlements.db", "relative.db", "a b%20#é.db"}
    assert {path.name for path in tmp_path.iterdir()} == files | {f"{name}-line" for name in files}


def test_a_storage_is_returned_as_it_is() -> None:
    storage = MemoryStorage()
    assert open_storage(storage) is storage


@pytest.mark.parametrize(
    ("where", "hint"),
    [
        ("memory", "did you mean 'memory:'"),
        ("memroy:", "did you mean 'memory:'"),
        ("sqlte:///a.db", "did you mean 'sqlite:///'"),
        ("entitlements.db", "'sqlite:///entitlements.db'"),
        ("sqlite://a.db", "four slashes"),
        ("sqlite:///", "four slashes"),
        ("sqlite:///a.db?mode=ro", "no options"),
        ("mysql://user:secret@host/db", "there are memory:, sqlite:/// and postgresql://"),
        ("postgresql+psycopg://user:secret@host/db", "begins with 'postgresql://'"),
        ("postgresql:user:secret", "a PostgreSQL address is"),
        ("postgresql://user:secret@host/db?schema=a-b", "a schema cannot be called 'a-b'"),
        ("postgresql://user:secret@host/db?schema=a&schema=b", "more than one schema"),
        ("postgresql://user:secret@host/db?nonsense=1", "no address of a PostgreSQL server"),
        ("", "there are"),
    ],
)
def test_another_address_is_refused_with_the_right_one(where: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint) as caught:
        open_storage(where)
    assert "secret" not in str(caught.value)


def test_an_address_opens_postgresql_for_either_kind_of_engine(postgres_url: str) -> None:
    storage = open_storage(f"{postgres_url}&schema=opening")
    assert isinstance(storage, PostgresStorage)
    assert (storage.schema, storage.customers()) == ("opening", ())
    storage.close()
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT count(*) FROM opening.versions").fetchall() == [(3,)]
    awaited = open_async_storage(f"{postgres_url}&schema=opening")
    assert isinstance(awaited, AsyncPostgresStorage)
    assert awaited.schema == "opening"


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    with pytest.raises(StorageError) as caught:
        open_storage("postgresql://user:secret@127.0.0.1:1/app", write_timeout=0.1)
    assert "PostgreSQL app on 127.0.0.1, schema entitlements" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_without_the_driver_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for name in ("postgres", "postgres_async", "postgres_connection"):
        monkeypatch.delitem(sys.modules, f"entitlements.storage.{name}", raising=False)
    for opening in (open_storage, open_async_storage):
        with pytest.raises(StorageError, match=r"install entitlements\[postgres\]"):
            opening("postgresql://user@host/app")


def test_what_is_no_address_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="sqlite:///"):
        open_storage(Path("a.db"))  # type: ignore[arg-type]


def test_only_what_is_named_is_imported() -> None:
    import subprocess

    script = (
        "import sys; from entitlements.storage.opening import open_storage; open_storage('memory:');"
        "print({'sqlite3', 'sqlite_utils', 'psycopg'} & sys.modules.keys())"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "set()\n"
