"""Secrets that are kept already are not written again, and none is ever missing for having been taken for kept."""

from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from entitlements.errors import OutcomeUnknown
from entitlements.ledger.audit import audit
from entitlements.ledger.entries import EPOCH, Entry
from entitlements.storage.base import Call
from entitlements.storage.connection import Connection
from entitlements.storage.heads import MOST_BESIDE
from entitlements.storage.memory import MemoryStorage
from entitlements.storage.postgres import PostgresStorage
from entitlements.storage.sqlite import SQLiteStorage
from entitlements.testing.histories import START, append_sealed, sealed_call_of

NUMBERS = count()
OPENINGS: dict[str, Callable[[Path, Any], Any]] = {
    "memory": lambda folder, request: MemoryStorage(),
    "sqlite": lambda folder, request: SQLiteStorage(folder / "log.db", durability="normal"),
    "postgres": lambda folder, request: PostgresStorage(
        request.getfixturevalue("postgres_url"), schema=f"sealed_{next(NUMBERS)}"
    ),
}


@pytest.fixture(params=OPENINGS)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    with closing(OPENINGS[request.param](tmp_path, request)) as storage:
        yield storage


def scoped(user: str) -> Entry:
    return Entry("used", START, "calls", "calls", EPOCH, 1, {"scope": {"user": user}})


def call(key: str, user: str, salt: str = "salt") -> Call:
    return sealed_call_of("a", key, scoped(user), salt=salt)


def users(storage: Any) -> list[str | None]:
    """Return who is told in each line, None where that is not known."""
    return [entry.data["scope"].get("user") for entry in storage.entries("a") if entry.kind == "used"]


def assert_sound(storage: Any) -> None:
    with storage.kept("a") as kept:
        assert audit(kept, now=START) == ()


def test_one_secret_may_stand_in_any_number_of_batches(storage: Any) -> None:
    for number in range(3):
        append_sealed(storage, "a", f"k{number}", scoped("ann"))
    storage.transact_all([call(f"together {number}", user) for number, user in enumerate(("ann", "bob", "bob"))])
    append_sealed(storage, "a", "last", scoped("bob"))
    assert users(storage) == ["ann"] * 4 + ["bob"] * 3
    assert_sound(storage)


def test_more_secrets_than_are_remembered_are_all_kept(storage: Any) -> None:
    names = [f"user {number % (2 * MOST_BESIDE)}" for number in range(5 * MOST_BESIDE)]
    for number, name in enumerate(names):
        append_sealed(storage, "a", f"k{number}", scoped(name))
    assert users(storage) == names
    assert_sound(storage)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(("salt", "before"), [("another", [None]), ("salt", [None, "ann"])])
def test_what_is_told_again_after_an_erasure_is_kept_again(
    storage: Any, together: bool, salt: str, before: list[str | None]
) -> None:
    """With the salt of before it has the very digest that was erased, and what was erased may be read again."""
    calls = [call("k1", "ann"), sealed_call_of("a", "erase", Entry("erased", START, "a")), call("k2", "ann", salt)]
    for some in [calls] if together else [[each] for each in calls]:
        for outcome in storage.transact_all(some):
            outcome.answer()
    append_sealed(storage, "a", "k3", scoped("ann"))
    first, *later = users(storage)
    assert first in before
    assert later == ["ann", "ann"]


def test_a_secret_of_a_call_that_was_undone_is_not_taken_for_kept(storage: Any) -> None:
    def refuse(_: Any) -> Any:
        call("gone", "ann").decide(_)
        raise RuntimeError

    append_sealed(storage, "a", "k0", scoped("bob"))
    outcomes = storage.transact_all([Call("a", "gone", lambda _: (), refuse), call("k1", "ann"), call("k2", "bob")])
    assert isinstance(outcomes[0].error, RuntimeError)
    append_sealed(storage, "a", "k3", scoped("ann"))
    assert users(storage) == ["bob", "ann", "bob", "ann"]
    assert_sound(storage)


def test_a_secret_of_a_commit_that_failed_is_not_taken_for_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Connection, key: str) -> None:
        raise OutcomeUnknown(key)

    with closing(SQLiteStorage(tmp_path / "log.db", durability="normal")) as storage:
        append_sealed(storage, "a", "k0", scoped("bob"))
        with monkeypatch.context() as patch:
            patch.setattr(Connection, "commit", fail)
            with pytest.raises(OutcomeUnknown):
                append_sealed(storage, "a", "gone", scoped("ann"))
        append_sealed(storage, "a", "k1", scoped("ann"))
        assert users(storage) == ["bob", "ann"]
        assert_sound(storage)


def test_a_secret_that_is_known_to_be_kept_is_not_written_again(tmp_path: Path) -> None:
    with closing(SQLiteStorage(tmp_path / "log.db", durability="normal")) as storage:
        append_sealed(storage, "a", "k0", scoped("ann"))
        told: list[str] = []
        assert storage._writer
        storage._writer.raw.set_trace_callback(told.append)
        append_sealed(storage, "a", "k1", scoped("ann"))
        assert not [sql for sql in told if "personal" in sql]
        append_sealed(storage, "a", "k2", scoped("bob"))
        assert [sql for sql in told if "personal" in sql]
