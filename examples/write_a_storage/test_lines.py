"""The proof: the contract of a storage, and random programs of every verb, on `LinesStorage`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from lines import LinesStorage

from entitlements import Catalog, Entitlements, StorageUnavailable
from entitlements.storage.base import Storage
from entitlements.testing import FrozenClock, LedgerMachine, StorageContract, assert_sound


class TestContract(StorageContract):
    """Every promise of a storage, one test each."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[LinesStorage]:
        """Return an empty storage for each test."""
        self.path = tmp_path / "log.jsonl"
        storage = LinesStorage(self.path)
        yield storage
        storage.close()

    def reopen(self, _: Storage) -> Storage:
        """Return a storage on the file that the closed one has left."""
        return LinesStorage(self.path)


class Machine(LedgerMachine):
    """Every verb of credits and usage, in any order, with the file closed and opened again in between."""

    def open_engine(self) -> Entitlements:
        self.directory = tempfile.TemporaryDirectory()
        return self._opened()

    def reopen_engine(self, engine: Entitlements) -> Entitlements:
        engine.close()
        return self._opened()

    def teardown(self) -> None:
        super().teardown()
        self.directory.cleanup()

    def _opened(self) -> Entitlements:
        storage = LinesStorage(Path(self.directory.name) / "log.jsonl")
        return Entitlements(self.catalog, storage=storage, clock=self.clock)


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=20, stateful_step_count=20)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


def test_a_commit_that_was_broken_off_never_was(path: Path, ent_clock: FrozenClock) -> None:
    catalog = Catalog.load({"credits": {"ai": {}}})
    with Entitlements(catalog, storage=LinesStorage(path), clock=ent_clock) as ent:
        ent.grant_credits("acme", "ai", 10, key="g")
        kept = path.read_bytes()
        ent.consume_credits("acme", "ai", 3, key="c")
    path.write_bytes(path.read_bytes()[:-9])

    with Entitlements(catalog, storage=LinesStorage(path), clock=ent_clock) as ent:
        assert path.read_bytes() == kept
        assert ent.balance("acme", "ai").available == 10
        assert ent.consume_credits("acme", "ai", 4, key="c")  # the key was never used
        assert_sound(ent, "acme")


def test_what_was_erased_is_not_in_the_file(path: Path) -> None:
    with Entitlements({"credits": {"ai": {}}}, storage=LinesStorage(path)) as ent:
        ent.grant_credits("acme", "ai", 10, key="g", metadata={"to": "ann@example.com"})
        assert b"ann@example.com" in path.read_bytes()
        ent.erase("acme")
        assert b"ann@example.com" not in path.read_bytes()
        assert ent.verify() == ()


def test_a_second_process_is_told_to_wait(path: Path) -> None:
    storage = LinesStorage(path)
    with pytest.raises(StorageUnavailable, match="open elsewhere"):
        LinesStorage(path)
    storage.close()
    LinesStorage(path).close()


def test_a_file_that_somebody_shortened_is_reported(path: Path) -> None:
    with Entitlements({"credits": {"ai": {}}}, storage=LinesStorage(path)) as ent:
        ent.grant_credits("acme", "ai", 10, key="g")
        path.write_bytes(b"")
        assert [str(problem) for problem in ent.verify()] == [f"the storage: {path} does not hold what is known of it"]
