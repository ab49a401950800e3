"""A commit whose answer was lost is asked about again with the same key, whatever the verb."""

from datetime import timedelta

import pytest

from entitlements import Entitlements, OutcomeUnknown
from entitlements.storage.memory import MemoryStorage
from entitlements.storage.sqlite import SQLiteStorage


def losing(kind):
    """Return a kind of storage that commits, and may then raise as if the answer had been lost."""

    class Losing(kind):
        loses = False

        def transact(self, customer, key, reads, decide):
            result = super().transact(customer, key, reads, decide)
            if self.loses:
                self.loses = False
                raise OutcomeUnknown(key)
            return result

    return Losing


@pytest.fixture(params=["memory", "sqlite"])
def storage(request, tmp_path):
    return losing(MemoryStorage)() if request.param == "memory" else losing(SQLiteStorage)(tmp_path / "app.db")


@pytest.fixture
def ent(storage, catalog_file, clock):
    with Entitlements(catalog_file, storage=storage, clock=clock) as engine:
        engine.grant_credits("acme", "ai", 10, key="g", expires_at=clock() + timedelta(days=1), metadata={"by": "ann"})
        yield engine


def test_a_sweep_still_says_how_many_entries_it_booked(ent, storage, clock):
    clock.advance(timedelta(days=2))
    storage.loses = True
    assert ent.sweep("acme") == 1
    assert ent.sweep("acme") == 0


def test_an_erasure_happens_once(ent, storage):
    storage.loses = True
    ent.erase("acme")
    assert "ann" not in repr(ent.entries("acme"))
    assert ent.verify("acme") == ()


def test_a_charge_is_taken_once(ent, storage):
    storage.loses = True
    decision = ent.consume_credits("acme", "ai", 4, key=None)
    assert (decision.receipt.replayed, ent.balance("acme", "ai").available) == (True, 6)


def test_a_grant_is_given_once(ent, storage):
    storage.loses = True
    block = ent.grant_credits("acme", "ai", 5, key=None)
    assert (block.remaining, ent.balance("acme", "ai").available) == (5, 15)
