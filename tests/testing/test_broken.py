"""The kit bites: engines and storages that are broken on purpose, each caught by name.

What passes here would pass for somebody's storage, too.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from entitlements import Block, Catalog, Entitlements
from entitlements.ledger.blocks import OpenHold, Purpose
from entitlements.ledger.entries import Batch, Entry, Verdict
from entitlements.ledger.state import State
from entitlements.storage.base import Decide, Reads
from entitlements.storage.memory import MemoryStorage
from entitlements.testing import FrozenClock, LedgerMachine, assert_sound
from entitlements.testing.histories import append, append_sealed, used
from entitlements.testing.soundness import flaws

START = datetime(2026, 3, 10, 12, tzinfo=UTC)
LATER = START + timedelta(days=1)


# The machine


class NoCommit(MemoryStorage):
    """Answers, and keeps nothing of every third write."""

    writes = 0

    def transact(self, customer: str, key: str, reads: Reads, decide: Decide[Any]) -> Any:
        self.writes += 1
        if self.writes % 3:
            return super().transact(customer, key, reads, decide)
        return super().transact(customer, key, reads, lambda state: Verdict(decide(state).result))


class ForgottenKeys(MemoryStorage):
    """Never shows a decision the batch that its key was used for."""

    def transact(self, customer: str, key: str, reads: Reads, decide: Decide[Any]) -> Any:
        return super().transact(customer, key, reads, lambda state: decide(attrs.evolve(state, prior=None)))


class KeysOfEverybody(MemoryStorage):
    """Keeps keys for all customers together."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, Batch] = {}

    def transact(self, customer: str, key: str, reads: Reads, decide: Decide[Any]) -> Any:
        def shared(state: State) -> Verdict[Any]:
            verdict = decide(attrs.evolve(state, prior=self.seen.get(key)))
            if verdict.batch is not None and not customer.startswith("$"):
                self.seen[key] = verdict.batch
            return verdict

        return super().transact(customer, key, reads, shared)


class StaleReads(MemoryStorage):
    """Shows whoever only looks the first state there was."""

    def __init__(self) -> None:
        super().__init__()
        self.first: dict[str, State] = {}

    def state(self, customer: str, reads: Reads) -> State:
        now = super().state(customer, reads)
        return self.first.setdefault(customer, now) if now.head.batches > 1 else now


class HistoryRewritten(MemoryStorage):
    """Shows every line of a customer's log half an hour younger once the log is five lines long."""

    def entries(self, customer: str, *, after: int = 0, limit: int = 1000) -> tuple[Entry, ...]:
        found = super().entries(customer, after=after, limit=limit)
        late = len(super().entries(customer)) > 4
        return tuple(attrs.evolve(line, at=line.at + timedelta(minutes=30)) if late else line for line in found)


class LostCounters(MemoryStorage):
    """Reads every counter as zero."""

    def transact(self, customer: str, key: str, reads: Reads, decide: Decide[Any]) -> Any:
        def lost(state: State) -> Verdict[Any]:
            return decide(attrs.evolve(state, counters=dict.fromkeys(state.counters, 0)))

        return super().transact(customer, key, reads, lost)


class Overspending(Entitlements):
    """Lets every charge go into debt."""

    def consume_credits(self, *arguments: Any, **told: Any) -> Any:
        return super().consume_credits(*arguments, **{**told, "depletion": "soft"})


class FirstInFirstOut(Entitlements):
    """Burns in the order of granting, whatever ends first."""

    def __init__(self, catalog: Catalog, **told: Any) -> None:
        credits_ = {
            key: {**credit, "burn_order": "first_in_first_out"} for key, credit in catalog.document["credits"].items()
        }
        super().__init__({**catalog.document, "credits": credits_}, **told)


class Slow(Entitlements):
    """Looks at a clock that is a second late, so that what ends now is still there."""

    def __init__(self, catalog: object, *, clock: Callable[[], datetime], **told: Any) -> None:
        super().__init__(catalog, clock=lambda: clock() - timedelta(seconds=1), **told)


class Generous(Entitlements):
    """Grants again where a grant is repeated."""

    def grant_credits(self, customer: str, credit: str, amount: Any, *, key: str | None, **told: Any) -> Block:
        held = {block.id for block in self.balance(customer, credit).blocks}
        return super().grant_credits(customer, credit, amount, key=f"{key}'" if key in held else key, **told)


OTHERWISE = "is not what the rules say"
APART = "differs from that in memory"
# What Hypothesis draws depends on the modules that are imported, so that each is told by all it may be found by first.
ENGINES: dict[str, tuple[Any, type[MemoryStorage], str]] = {
    "an answer without a commit": (Entitlements, NoCommit, f"the rules say|^the balance of|{APART}"),
    "keys that are forgotten": (Entitlements, ForgottenKeys, f"{OTHERWISE}:\nfound .*LogCorrupt"),
    "keys shared by all customers": (Entitlements, KeysOfEverybody, OTHERWISE),
    "reads that lag behind": (Entitlements, StaleReads, "L2: the state that decisions see"),
    "a history that changes": (Entitlements, HistoryRewritten, "L6: its entries and its batches differ at entry 1"),
    "counters that are lost": (Entitlements, LostCounters, f"^(use|refund) of.*{OTHERWISE}|other moves"),
    "an overspend": (Overspending, MemoryStorage, f"^consume of.*{OTHERWISE}|overdrawn"),
    "the wrong burn order": (FirstInFirstOut, MemoryStorage, f"^the balance of|{OTHERWISE}|other moves|{APART}"),
    "an end that is inclusive": (Slow, MemoryStorage, "the rules say"),
    "a grant that is made twice": (Generous, MemoryStorage, OTHERWISE),
}


@pytest.mark.parametrize("name", ENGINES)
def test_the_machine_finds(name: str) -> None:
    kind, storage, said = ENGINES[name]

    class Broken(LedgerMachine):
        def open_engine(self) -> Entitlements:
            return kind(self.catalog, storage=storage(), clock=self.clock)

        def reopen_engine(self, engine: Entitlements) -> Entitlements:
            return engine

    quick = settings(
        max_examples=300,
        stateful_step_count=30,
        phases=[Phase.generate],
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    with pytest.raises(AssertionError, match=said):
        run_state_machine_as_test(Broken, settings=quick)


def test_a_machine_without_an_engine_says_what_it_wants() -> None:
    with pytest.raises(NotImplementedError, match="open_engine"):
        LedgerMachine()


# One log

CATALOG = Catalog.load({"credits": {"ai": {}, "floored": {"depletion": "soft", "floor": 10}}})
FIRST = Block("first", "ai", 0, 10, 10, 0, "paid", 10, None, START, LATER, number=1)
SECOND = attrs.evolve(FIRST, id="second", priority=20, expires_at=None)
ALLOCATED = attrs.evolve(FIRST, id="allocated", priority=99, scope=(("team", "x"),))
DEEPER = attrs.evolve(ALLOCATED, id="deeper", scope=(("team", "x"), ("user", "ann")))
HOLD = OpenHold("h", "ai", 4, Purpose(), LATER, "charge", (("first", 4),))


def granted(block: Block) -> Entry:
    return Entry("granted", START, "ai", amount=block.units, block=block.id, data={"block": block})


def burned(block: Block, amount: int, at: datetime = START) -> Entry:
    return Entry("burned", at, "ai", amount=amount, block=block.id)


def held(*lines: Entry) -> tuple[Entry, ...]:
    taken = Entry("held", START, "ai", amount=4, block="first", data={"hold": "h"})
    return (granted(FIRST), Entry("reserved", START, "ai", data={"hold": HOLD}), taken, *lines)


LOGS: dict[str, tuple[tuple[Entry, ...], str]] = {
    "O2: one before it is not empty": ((granted(FIRST), granted(SECOND), burned(SECOND, 1)), r"O2: entry 3 draws on 'second' while something is left in \['first'\]"),
    "O4: it has ended": ((granted(FIRST), burned(FIRST, 1, LATER)), r"O4: entry 2 draws on \['first'\], which nothing may be drawn on"),
    "O4: it is for another feature": ((granted(attrs.evolve(FIRST, features=("chat",))), burned(FIRST, 1)), r"O4: entry 2"),
    "B2: more is promised than the floor": (
        (Entry("overdrawn", START, "floored", amount=7, data={"purpose": Purpose()}),
         Entry("reserved", START, "floored", data={"hold": attrs.evolve(HOLD, subject="floored", slices=(), promised=(("floored", 4),))})),
        "B2: entry 2 .reserved. owes 11 in all, the floor is 10"),
    "B2: more is owed than the floor": ((Entry("overdrawn", START, "floored", amount=11, data={"purpose": Purpose()}),), "B2: entry 1 .overdrawn. owes 11 in all, the floor is 10"),
    "L8: a sign against its kind": ((Entry("nothing", START, "ai", amount=-1),), "L8: entry 1 .nothing. moves -1"),
}  # fmt: skip


def logged(lines: tuple[Entry, ...]) -> Entitlements:
    storage = MemoryStorage()
    append_sealed(storage, "acme", "k", *lines)
    return Entitlements(CATALOG, storage=storage, clock=FrozenClock(START))


@pytest.mark.parametrize("name", LOGS)
def test_assert_sound_finds(name: str) -> None:
    lines, said = LOGS[name]
    with logged(lines) as ent, pytest.raises(AssertionError, match=said) as raised:
        assert_sound(ent, "acme")
    assert str(raised.value).startswith("the log of 'acme' is not sound:\n  ")


@pytest.mark.parametrize(
    ("scope", "drawn", "said"),
    [
        ("team:x", FIRST, r"O2: entry 4 draws on 'first' while something is left in \['allocated'\]"),
        ("team:x/user:ann", FIRST, r"O2: entry 4 draws on 'first' while something is left in \['deeper', 'allocated'\]"),
        ("team:x/user:ann", ALLOCATED, r"O2: entry 4 draws on 'allocated' while something is left in \['deeper'\]"),
        ("team:x", DEEPER, r"O4: entry 4 draws on \['deeper'\], which nothing may be drawn on"),
        (None, ALLOCATED, r"O4: entry 4 draws on \['allocated'\], which nothing may be drawn on"),
    ],
)
def test_assert_sound_knows_who_burns_in_which_scope(scope: str | None, drawn: Block, said: str) -> None:
    storage, told = MemoryStorage(), {"scope": scope and dict(pair.split(":") for pair in scope.split("/"))}
    lines = [*map(granted, (FIRST, ALLOCATED, DEEPER)), burned(drawn, 1)]
    append_sealed(storage, "acme", "k", *lines, told=told)
    with Entitlements(CATALOG, storage=storage, clock=FrozenClock(START)) as ent:
        with pytest.raises(AssertionError, match=said):
            assert_sound(ent, "acme")
        ent.erase("acme")
        assert not [flaw for flaw in flaws(ent, "acme") if flaw.startswith("O")]


def test_assert_sound_passes_allocations_that_burned_in_their_order_after_an_erasure_too() -> None:
    with Entitlements(CATALOG, storage="memory:", clock=FrozenClock(START)) as ent:
        ent.grant_credits("acme", "ai", 3, key="shared", priority=1)
        ent.grant_credits("acme", "ai", 3, key="team", scope="team:x", priority=2)
        ent.grant_credits("acme", "ai", 3, key="user", scope="team:x/user:ann")
        ent.consume_credits("acme", "ai", 4, key="one", scope="team:x/user:ann")
        hold = ent.reserve_credits("acme", "ai", 1, key="two", scope="team:x/user:ann")
        hold.settle(3)
        assert_sound(ent, "acme")
        ent.erase("acme")
        assert_sound(ent, "acme")


def test_assert_sound_passes_what_the_engine_writes_and_what_nobody_wrote() -> None:
    with logged(held(Entry("released", START, "ai", amount=4, block="first", data={"hold": "h"}),
                     Entry("hold_closed", START, "ai", data={"hold": "h", "state": "released"}))) as ent:  # fmt: skip
        assert_sound(ent, "acme")
        assert_sound(ent, "nobody")
        ent.grant_credits("beta", "floored", 3, key="g")
        ent.consume_credits("beta", "floored", 9, key="c")
        assert_sound(ent, "beta")


def test_assert_sound_names_what_the_audit_finds() -> None:
    storage = MemoryStorage()
    append(storage, "acme", "k", used(3))
    with Entitlements(CATALOG, storage=storage) as ent, pytest.raises(AssertionError, match="its hash does not follow"):
        assert_sound(ent, "acme")


class Tampered(MemoryStorage):
    """Shows the batches of a log as `shown` makes them."""

    def __init__(self, shown: Callable[[Batch], Batch]) -> None:
        super().__init__()
        self.shown = shown

    def batches(self, customer: str, **told: Any) -> tuple[Batch, ...]:
        return tuple(map(self.shown, super().batches(customer, **told)))


def line_changed(**changes: Any) -> Callable[[Batch], Batch]:
    return lambda batch: attrs.evolve(batch, entries=tuple(attrs.evolve(line, **changes) for line in batch.entries))


TAMPERED: dict[str, tuple[Callable[[Batch], Batch], str]] = {
    "one key twice": (lambda batch: attrs.evolve(batch, key="k1"), "I1: key 'k1' was booked 2 times"),
    "back in time": (lambda batch: attrs.evolve(batch, at=START - batch.number * timedelta(1)), "L10: batch 2 lies before"),
    "recorded at another time": (line_changed(recorded_at=LATER), "L10: entry 1 .granted. was not recorded when"),
    "a gap": (line_changed(seq=7), "L5: entry 7 .granted. stands where entry 1 belongs"),
    "of another key": (line_changed(key="other"), "L9: entry 1 .granted. names the key 'other'"),
    "a block nobody granted": (line_changed(kind="burned"), "L9: entry 1 .burned. moves credits of block 'first'"),
    "a hold nobody opened": (line_changed(kind="hold_closed", data={"hold": "h"}), "R1: entry 1 .hold_closed. closes hold 'h'"),
    "another amount than its block": (line_changed(kind="granted", amount=9, data={"block": FIRST}), "L1: entry 1 .granted. grants 9, its block 10"),
    "one hold twice": (line_changed(kind="reserved", data={"hold": HOLD}), "R1: entry 2 .reserved. opens hold 'h' a second time"),
    "a fraction": (line_changed(amount=0.5), "L7: entry 1 .granted. moves 0.5"),
    "too much taken": (
        lambda batch: line_changed(kind="burned", amount=11)(batch) if batch.number == 2 else batch,
        "L3: entry 2 .burned. leaves block 'first' with {'free': -1}",
    ),
    "too much repaid": (line_changed(kind="repaid", data={"purpose": Purpose()}, block=""), "L4: entry 1 .repaid. repays 10 more"),
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPERED)
def test_assert_sound_sees_batches_that_show(name: str) -> None:
    shown, said = TAMPERED[name]
    storage = Tampered(shown)
    append_sealed(storage, "acme", "k1", granted(FIRST))
    append_sealed(storage, "acme", "k2", burned(FIRST, 1))
    with Entitlements(CATALOG, storage=storage) as ent, pytest.raises(AssertionError, match=said):
        assert_sound(ent, "acme")


def test_assert_sound_finds_a_hold_closed_over_what_it_pins() -> None:
    log = held(Entry("hold_closed", START, "ai", data={"hold": "h", "state": "released"}))
    with logged(log) as ent, pytest.raises(AssertionError, match="R3: entry 4 .hold_closed. closes hold 'h' while"):
        assert_sound(ent, "acme")
