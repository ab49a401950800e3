"""The memory storage: the contract, and what a write that was broken off leaves behind."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from entitlements.errors import StorageError, StorageUnavailable
from entitlements.ledger.entries import EPOCH, Verdict
from entitlements.ledger.state import Head, State
from entitlements.storage.memory import MemoryStorage
from entitlements.storage.sqlite import SQLiteStorage
from entitlements.testing.contract import StorageContract
from entitlements.testing.histories import CALLS, append, batch_of, reads_of, used
from entitlements.testing.proving import Background, together


class TestMemory(StorageContract):
    @pytest.fixture
    def storage(self) -> Iterator[MemoryStorage]:
        storage = MemoryStorage()
        yield storage
        storage.close()


def test_a_write_broken_off_before_it_is_published_never_was(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = MemoryStorage()
    append(storage, "a", "k1", used(5))

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(storage, "_publish", interrupted)
        append(storage, "a", "k2", used(7), used(1, ("other", EPOCH)))
    batch = append(storage, "a", "k3", used(1))
    every = [CALLS, ("other", EPOCH)]
    assert storage.transact("a", "k2", lambda _: every, Verdict) == State(
        Head(seq=2, batches=2, at=batch.at), {CALLS: 6, ("other", EPOCH): 0}
    )
    assert storage.batches("a")[1:] == storage.feed().batches[1:] == (batch,)
    assert storage.entries("a")[1:] == batch.entries


def test_waiting_for_a_customer_is_bounded_and_for_another_needless() -> None:
    storage = MemoryStorage(write_timeout=0.05)

    def blocked(state: State) -> Verdict[int]:
        with pytest.raises(StorageUnavailable, match="nothing was written"):
            Background(lambda: append(storage, "a", "k", used())).result()
        return Verdict(Background(lambda: append(storage, "b", "k", used())).result().number)

    assert storage.transact("a", "k", lambda _: [], blocked) == 1
    assert append(storage, "a", "k", used()).number == 1


def test_a_decision_cannot_write_to_its_own_customer() -> None:
    storage = MemoryStorage()
    with pytest.raises(StorageError, match="decision"):
        storage.transact("a", "k", lambda _: [], lambda _: Verdict(append(storage, "a", "k2", used())))
    assert append(storage, "a", "k2", used()).number == 1


def test_a_storage_closed_during_a_decision_keeps_nothing() -> None:
    storage = MemoryStorage()

    def decide(state: State) -> Verdict[None]:
        storage.close()
        return Verdict(None, batch_of(state, "a", "k", [used()]))

    with pytest.raises(StorageUnavailable):
        storage.transact("a", "k", reads_of([used()]), decide)


def test_the_pulse_counts_batches() -> None:
    storage = MemoryStorage()
    together(4, lambda n: append(storage, "a", f"k{n}", used()))
    assert storage.pulse() == 4


def test_customers_asked_about_leave_no_lock_behind() -> None:
    storage = MemoryStorage()
    for n in range(100):
        storage.transact(f"c{n}", "k", lambda _: [], lambda _: Verdict(None))
    assert len(storage._locks) == 0
    with pytest.raises(ValueError):
        MemoryStorage(write_timeout=-1)


@pytest.mark.parametrize("after", ["\0", "a\0b", "\ud800"])
def test_what_no_text_may_hold_is_refused_as_a_place_in_the_list_of_customers(tmp_path: Path, after: str) -> None:
    for storage in (MemoryStorage(), SQLiteStorage(tmp_path / "log.db")):
        with closing(storage), pytest.raises(ValueError, match="NUL character or a lone surrogate"):
            storage.customers(after=after)
