"""Programs that the machine of the kit once got wrong itself, step by step."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from entitlements import Entitlements
from entitlements.testing import LedgerMachine


class InMemory(LedgerMachine):
    """The machine on an engine in memory; a test calls its rules as Hypothesis would."""

    def open_engine(self) -> Entitlements:
        return Entitlements(self.catalog, storage="memory:", clock=self.clock)

    def used(self) -> tuple[int, object]:
        """What is used of "chat", as the model and as the engine say."""
        return self.model.used("a", "chat"), self.engine.check("a", "chat").used


@pytest.fixture
def machine() -> Iterator[InMemory]:
    machine = InMemory()
    yield machine
    machine.teardown()


def test_a_refund_undoes_usage(machine: InMemory) -> None:
    machine.use("a", "chat", 1, "consume", 0)
    machine.use("a", "chat", 4, "consume", 0)
    machine.refund(90, 3, 0)  # names the key "k2", whatever the model holds it for
    assert machine.used() == (2, 2)
    machine.use("a", "chat", 6, "consume", 0)
    assert machine.used() == (8, 8)
    machine.refund(90, None, 0)
    assert machine.used() == (7, 7)
    machine.refund(90, None, 0)  # nothing is left of it to be refunded
    assert machine.used() == (7, 7)


def test_a_refund_of_usage_takes_no_seat_that_was_given_back(machine: InMemory) -> None:
    machine.use("a", "chat", 1, "consume", 0)
    machine.use("a", "chat", 4, "record", 0)
    machine.use("a", "chat", 3, "free", 0)
    machine.refund(90, None, 0)
    assert machine.used() == (0, 0)


def test_a_refund_of_usage_goes_to_the_window_where_it_was_counted(machine: InMemory) -> None:
    machine.use("a", "calls", 1, "consume", 0)
    machine.use("a", "calls", 9, "consume", 0)
    machine.advance(3600)
    machine.use("a", "calls", 10, "consume", 0)
    machine.refund(90, None, 0)
    assert machine.model.used("a", "calls") == machine.engine.check("a", "calls").used == 10
