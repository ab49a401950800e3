"""An outcome that is not known stays so until it is known: nothing that comes after it is taken for its answer."""

import pytest

from entitlements import Entitlements, OutcomeUnknown
from entitlements.errors import StorageError, StorageUnavailable
from entitlements.storage.memory import MemoryStorage


class Faulty(MemoryStorage):
    """Commits, and then raises what it is told to, one error for each call; None is no error."""

    def __init__(self):
        super().__init__()
        self.faults = []
        self.only = ""

    def transact(self, customer, key, reads, decide):
        if not self.faults or (self.only and customer != self.only):
            return super().transact(customer, key, reads, decide)
        fault = self.faults.pop(0)
        if fault is None or isinstance(fault, OutcomeUnknown):
            result = super().transact(customer, key, reads, decide)
            if fault is None:
                return result
        raise fault


@pytest.fixture
def storage():
    return Faulty()


@pytest.fixture
def ent(storage, catalog_file, clock):
    with Entitlements(catalog_file, storage=storage, clock=clock) as engine:
        engine.grant_credits("acme", "ai", 10, key="g")
        yield engine


@pytest.mark.parametrize("fault", [StorageUnavailable("away"), StorageError("disk I/O error")])
def test_a_storage_that_is_away_afterwards_does_not_make_it_a_failure(ent, storage, fault):
    """Nothing was written the second time; of the first nobody knows, and so it is said with the caller's key."""
    storage.faults = [OutcomeUnknown("k"), fault]
    with pytest.raises(OutcomeUnknown) as raised:
        ent.consume_credits("acme", "ai", 4, key="k")
    assert raised.value.key == "k"
    assert raised.value.__cause__ is fault
    assert ent.consume_credits("acme", "ai", 4, key="k").receipt.replayed
    assert ent.balance("acme", "ai").available == 6


def test_a_storage_that_is_away_at_once_is_a_failure(ent, storage):
    storage.faults = [StorageUnavailable("away")]
    with pytest.raises(StorageUnavailable):
        ent.consume_credits("acme", "ai", 4, key="k")
    assert ent.balance("acme", "ai").available == 10


def test_a_note_on_the_catalog_is_asked_about_again(ent, storage):
    storage.only, storage.faults = "$catalog", [OutcomeUnknown("feature:seats")] * 2
    assert ent.consume("acme", "seats", 1, key="k").used == 1


def test_where_the_catalogs_note_is_never_known_the_callers_batch_is_not_written(ent, storage):
    storage.only, storage.faults = "$catalog", [OutcomeUnknown("feature:seats")] * 3
    with pytest.raises(StorageUnavailable, match="nothing else was"):
        ent.consume("acme", "seats", 1, key="k")
    assert [entry.kind for entry in ent.entries("acme")] == ["granted"]
    assert not ent.consume("acme", "seats", 1, key="k").receipt.replayed
