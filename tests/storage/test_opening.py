"""Opening a storage by its address."""

import sys
from pathlib import Path

import pytest

from entitlements.errors import StorageError
from entitlements.storage.memory import MemoryStorage
from entitlements.storage.opening import open_storage
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
        ("mysql://user:secret@host/db", "there are memory: and sqlite:///"),
        ("", "there are"),
    ],
)
def test_another_address_is_refused_with_the_right_one(where: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint) as caught:
        open_storage(where)
    assert "secret" not in str(caught.value)


def test_postgresql_is_told_to_wait() -> None:
    with pytest.raises(StorageError, match="later") as caught:
        open_storage("postgresql://user:secret@host/db")
    assert "secret" not in str(caught.value)
    with pytest.raises(TypeError, match="sqlite:///"):
        open_storage(Path("a.db"))  # type: ignore[arg-type]


def test_only_what_is_named_is_imported() -> None:
    import subprocess

    script = (
        "import sys; from entitlements.storage.opening import open_storage; open_storage('memory:');"
        "print({'sqlite3', 'sqlite_utils'} & sys.modules.keys())"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "set()\n"
