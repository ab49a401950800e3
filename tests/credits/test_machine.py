"""Two engines, on memory and on SQLite, in lockstep with a model of the rules, whatever comes.

`CREDIT_CAMPAIGN=5000` runs that many longer programs instead of the few of every test run.
"""

import os
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import cache
from pathlib import Path

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from entitlements import Catalog, Entitlements
from entitlements.amounts import exact
from entitlements.storage.memory import MemoryStorage
from entitlements.storage.opening import open_storage
from entitlements.storage.sqlite import SQLiteStorage
from entitlements.testing import FrozenClock

from .audit import MOVES, audit
from .model import FOREVER, Kind, Model, Refused

START = datetime(2026, 3, 10, 12, tzinfo=UTC)
KINDS = {"ai": Kind(2), "debt": Kind(0, "soft"), "floor": Kind(0, "soft", 10), "part": Kind(0, "partial")}
CATALOG = Catalog.load(
    {
        "version": 1,
        "default_plan": "free",
        "features": {"chat": {"type": "metered"}, "draw": {"type": "boolean"}},
        "credits": {
            "ai": {"scale": 2, "currency": "USD"},
            "debt": {"depletion": "soft"},
            "floor": {"depletion": "soft", "floor": 10},
            "part": {"depletion": "partial"},
        },
        "plans": {"free": {}},
    }
)
CAMPAIGN = int(os.environ.get("CREDIT_CAMPAIGN", "0"))

LEFT = [("left", -1), ("left", 0), ("left", 0), ("left", 1)]
customers = st.sampled_from([*"aaaaaaaaa", "A", "e\u0301"])
credits_ = st.sampled_from(["ai", "ai", "ai", "debt", "debt", "debt", "floor", "floor", "part", "part"])
features = st.sampled_from([None, None, None, None, "chat", "chat", "draw"])
restrictions = st.sampled_from([None, None, None, None, ("chat",), ("chat", "draw")])
spans = st.sampled_from([None, 5, 10, 10, 60, 60, 3600])
amounts = st.sampled_from([1, 1, 2, 2, 3, 4, 5, 6, 7, 8, 12, 20, 0, *LEFT, *LEFT, 2**31, 2**53, 2**63 - 1])
small = [1, 2, 3, 5, 5, 8, 10, 10, 10, 20, 20, 40]
sizes = st.sampled_from([*small, *small, 2**31, 2**53, 2**63 - 1])
spread = st.sampled_from(range(100))
anew = st.sampled_from([0] * 12 + [1, 2, 4])
grants = st.tuples(credits_, st.sampled_from(small), st.sampled_from([None, None, 10, 60, 60, 3600]), restrictions)


@cache
def empty_database():
    path = Path(tempfile.mkdtemp()) / "empty.db"
    SQLiteStorage(path).close()
    return path


class CreditMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.clock = FrozenClock(START)
        self.model = Model(KINDS, {"chat", "draw"})
        self.place = Path(tempfile.mkdtemp())
        shutil.copy(empty_database(), self.place / "app.db")
        self.memory, self.sqlite = MemoryStorage(), self.open_file()
        self.address = self.emptied()
        self.postgres = open_storage(self.address)
        self.made, self.calls, self.seen = 0, [], {}
        self.reopen()

    def open_file(self):
        return SQLiteStorage(self.place / "app.db", durability="normal")

    def teardown(self):
        for customer in list(self.seen):
            self.verify(customer)
        self.sqlite.close()
        self.postgres.close()
        shutil.rmtree(self.place)

    # What happens

    @initialize(given=st.lists(grants, min_size=2, max_size=5))
    def grants_to_begin_with(self, given):
        for credit, units, ends, restricted in given:
            self.grant("a", credit, units, ends, None, True, 50, None, restricted, True, 0)

    @rule(back=st.sampled_from([0, 1, 10, 7200]))
    def disturb(self, back):
        """The clock goes back, or file and database are closed and opened again."""
        if back:
            self.set_clock(self.model.clock - back)
        else:
            self.reopen()

    def reopen(self):
        """Close file and database and open them again; all engines forget everything they had in mind."""
        self.sqlite.close()
        self.postgres.close()
        self.sqlite, self.postgres = self.open_file(), open_storage(self.address)
        self.storages = (self.memory, self.sqlite, self.postgres)
        self.engines = [
            Entitlements(CATALOG, storage=storage, clock=self.clock, timeout=10) for storage in self.storages
        ]

    @rule(span=st.sampled_from([1, 1, 5, 5, 10, 60, 3600]))
    def advance(self, span):
        self.set_clock(self.model.clock + span)

    @rule(customer=customers, pick=spread, off=st.sampled_from([-1, 0, 0, 0, 1]))
    def advance_to_an_edge(self, customer, pick, off):
        """To the very second at which a block begins or ends or a hold lapses, or one beside it."""
        state = self.model.state(customer)
        edges = [edge for block in state.blocks.values() for edge in (block.begins, block.ends)]
        edges += [hold.ends for hold in state.holds.values()]
        coming = sorted({edge for edge in edges if self.model.now(customer) < edge < FOREVER})
        if coming:
            self.set_clock(coming[pick % len(coming)] + off)

    @rule(customer=customers)
    def sweep(self, customer):
        self.model.sweep(customer)
        for engine in self.engines:
            engine.sweep(customer)
        self.verify(customer)

    @rule(customer=customers, credit=credits_, units=sizes, ends=spans, begins=spans, paid=st.booleans(),
          priority=st.sampled_from([50, 50, 10]), cost=st.sampled_from([None, 0, 3, 100]), restricted=restrictions,
          settles=st.sampled_from([True, True, True, False]), again=anew)  # fmt: skip
    def grant(self, customer, credit, units, ends, begins, paid, priority, cost, restricted, settles, again):
        now = self.model.now(customer)
        begins = now + begins if begins is not None and begins > 10 else None
        ends = now + ends if ends is not None else None
        told = {"paid": paid, "priority": priority, "cost": cost, "features": restricted, "settles": settles}
        key, units = self.key(customer, again), self.units(customer, credit, units)
        self.do("grant", customer, credit, units, key=key, ends=ends, begins=begins, **told)

    @precondition(lambda self: any(who.debts for who in self.model.customers.values()))
    @rule(units=sizes, begins=spans, restricted=restrictions, settles=st.sampled_from([True, True, True, False]))
    def grant_to_a_debtor(self, units, begins, restricted, settles):
        name, (credit, _) = next((name, debt) for name, who in self.model.customers.items() for debt in who.debts)
        self.grant(name, credit, units, 3600, begins, True, 50, 100, restricted, settles, 0)

    @rule(customer=customers, credit=credits_, units=amounts, feature=features, again=anew,
          depletion=st.sampled_from([None, None, None, "hard", "partial", "soft"]))  # fmt: skip
    def consume(self, customer, credit, units, feature, depletion, again):
        key, units = self.key(customer, again), self.units(customer, credit, units, feature)
        self.do("consume", customer, credit, units, key=key, feature=feature, depletion=depletion)

    @rule(customer=customers, credit=credits_, units=amounts, feature=features)
    def consume_plainly(self, customer, credit, units, feature):
        self.consume(customer, credit, units, feature, None, 0)

    @rule(customer=customers, credit=credits_, units=amounts, ttl=spans)
    def reserve_plainly(self, customer, credit, units, ttl):
        self.reserve(customer, credit, units, None, ttl, "charge", 0)

    @rule(customer=customers, credit=credits_, units=amounts, feature=features, ttl=spans, again=anew,
          late=st.sampled_from(["charge", "charge", "refuse"]))  # fmt: skip
    def reserve(self, customer, credit, units, feature, ttl, late, again):
        key, units = self.key(customer, again), self.units(customer, credit, units, feature)
        self.do("reserve", customer, credit, units, key=key, ttl=ttl, feature=feature, late=late)

    @precondition(lambda self: self.holds())
    @rule(pick=spread, units=amounts, off=st.sampled_from([None, None, -1, 0, 1]))
    def settle(self, pick, units, off):
        customer, hold, held = self.hold(pick)
        credit = self.credit_of(customer, hold)
        units = self.units(customer, credit, units) if off is None else max(0, held + off)
        self.do("settle", customer, hold, units)

    @precondition(lambda self: self.holds())
    @rule(pick=spread)
    def release(self, pick):
        customer, hold, _ = self.hold(pick)
        self.do("release", customer, hold)

    @precondition(lambda self: self.model.customers)
    @rule(pick=spread, units=st.sampled_from([None, None, 0, 1, 2, 3, 5, 8]), again=anew)
    def refund(self, pick, units, again):
        """Of something that was taken; now and then of any key at all, or of another customer's."""
        customers = self.model.customers.items()
        taken = [(name, key[1] if isinstance(key, tuple) else key) for name, who in customers for key in who.taken]
        customer, named = taken[-1 - pick % len(taken)] if taken and pick < 90 else ("a", f"k{pick - 88}")
        self.do("refund", customer, named, units, key=self.key(customer, again))

    @precondition(lambda self: self.model.customers)
    @rule(pick=spread)
    def void(self, pick):
        blocks = [(name, block) for name, who in self.model.customers.items() for block in who.blocks]
        if pick < 25:
            self.do("void", *(blocks[pick % len(blocks)] if blocks and pick else ("a", "none")))

    @rule(pick=spread)
    def repeat(self, pick):
        """The very same call again, whatever happened since."""
        if self.calls:
            verb, customer, given, told = self.calls[-1 - pick % min(12, len(self.calls))]
            self.do(verb, customer, *given, **told)

    @rule(pick=spread, units=st.integers(0, 5))
    def mutated_repeat(self, pick, units):
        """The same key with another amount, or for another feature."""
        if self.calls and pick < 30:
            verb, customer, given, told = self.calls[-1 - pick % min(12, len(self.calls))]
            if verb in {"grant", "consume", "reserve", "settle", "refund"}:
                given = (*given[:-1], units)
            if "feature" in told and pick % 2:
                told = {**told, "feature": "chat"}
            self.do(verb, customer, *given, **told)

    @rule(customer=customers, credit=st.sampled_from(list(KINDS)), feature=st.sampled_from([None, "chat"]),
          ahead=st.sampled_from([0, 0, 5, 60]))  # fmt: skip
    def balance(self, customer, credit, feature, ahead):
        now = self.model.now(customer)
        expected = self.model.balance(customer, credit, feature, now + ahead)
        at = START + timedelta(seconds=now + ahead) if ahead else None
        for engine in self.engines:
            found = engine.balance(customer, credit, feature=feature, at=at)
            blocks = [(block.id, block.free_units, block.held_units) for block in found.blocks]
            scale = KINDS[credit].scale
            amounts = [units_of(amount, scale) for amount in (found.available, found.held, found.debt)]
            assert (*amounts, blocks) == expected
            assert units_of(found.total, scale) == expected[0] + expected[1]

    # How it is done on both sides, and compared

    def do(self, verb, customer, *given, **told):
        """Do one thing to the model and to all engines, and compare answers or errors, then everything else."""
        self.calls.append((verb, customer, given, told))
        try:
            expected = getattr(self.model, verb)(customer, *given, **told)
        except Refused as refused:
            expected = (refused.kind, refused.said)
        for engine in self.engines:
            try:
                found = getattr(self, f"{verb}_on")(engine, customer, *given, **told)
            except Exception as error:
                found = (type(error).__name__, getattr(error, "field", getattr(error, "state", "")))
            assert found == (told_apart(expected) if isinstance(expected, dict) else expected)
        self.verify(customer)

    def grant_on(self, engine, customer, credit, units, *, key, ends, begins, paid, priority, cost, features, settles):
        block = engine.grant_credits(
            customer, credit, self.spelled(units, credit), key=key, category="paid" if paid else "promotional",
            expires_at=instant(ends), effective_at=instant(begins), priority=priority, cost_basis=cost,
            features=features, settle_debt=settles,
        )  # fmt: skip
        return {"block": (block.id, block.units, block.free_units, block.held_units)}

    def consume_on(self, engine, customer, credit, units, *, key, feature, depletion):
        amount = self.spelled(units, credit)
        found = engine.consume_credits(customer, credit, amount, key=key, feature=feature, depletion=depletion)
        return shown(found, credit)

    def reserve_on(self, engine, customer, credit, units, *, key, ttl, feature, late):
        amount = self.spelled(units, credit)
        hold = engine.reserve_credits(customer, credit, amount, key=key, ttl=ttl, feature=feature, late=late)
        assert hold.id == key
        return shown(hold.decision, credit)

    def settle_on(self, engine, customer, hold, units):
        credit = self.credit_of(customer, hold)
        return shown(engine.settle(customer, hold, self.spelled(units, credit)), credit)

    def release_on(self, engine, customer, hold):
        return shown(engine.release(customer, hold), self.credit_of(customer, hold))

    def refund_on(self, engine, customer, named, units, *, key):
        state = self.model.state(customer)
        lines = state.taken.get(("close", named)) or state.taken.get(named) or [("", 0, "ai", None)]
        amount = None if units is None else self.spelled(units, lines[0][2])
        return shown(engine.refund(customer, named, amount, key=key), lines[0][2])

    def void_on(self, engine, customer, block):
        block = engine.void_block(customer, block)
        return {"block": (block.id, block.units, block.free_units, block.held_units)}

    def verify(self, customer):
        """Every log holds its invariants, all are equal, what was read once stays, and the model moved the same."""
        logs = []
        for storage in self.storages:
            audit(storage, customer, CATALOG)
            logs.append(storage.entries(customer, limit=10**6))
        drawn = [list(map(undrawn, log)) for log in logs]
        assert drawn == [drawn[0]] * len(drawn)
        before = self.seen.get(customer, [()] * len(logs))
        assert [log[: len(earlier)] for log, earlier in zip(logs, before, strict=True)] == before
        self.seen[customer] = logs
        booked = self.model.customers.get(customer)
        assert moves(self.sqlite.batches(customer, limit=10**6)) == sorted(booked.moves if booked else [])

    # What is drawn, made real

    def set_clock(self, seconds):
        self.model.clock = seconds
        self.clock.set(START + timedelta(seconds=seconds))

    def key(self, customer, again):
        """A new key, or three times in ten one of the last."""
        keys = [told["key"] for _, _, _, told in self.calls if "key" in told]
        if again and again <= len(keys):
            return keys[-again]
        self.made += 1
        return f"k{self.made}"

    def units(self, customer, credit, drawn, feature=None):
        """A number of units; ("left", n) is n more than what is left."""
        if isinstance(drawn, int):
            return drawn
        return max(0, self.model.balance(customer, credit, feature)[0] + drawn[1])

    def holds(self):
        return [(name, hold) for name, who in self.model.customers.items() for hold in who.holds.values()]

    def hold(self, pick):
        """Whose, which, and how much: one of the last holds, now and then an older one, or one that is none."""
        if pick >= 96:
            return "a", "none", 0
        holds = self.holds()
        name, hold = holds[-1 - pick % min(3 if pick < 70 else 12, len(holds))]
        return name, hold.id, sum(units for _, units in hold.slices)

    def credit_of(self, customer, hold):
        found = self.model.state(customer).holds.get(hold)
        return found.credit if found is not None else "ai"

    def spelled(self, units, credit):
        """Units as a caller writes them: whole numbers, decimals, or exact strings."""
        scale = KINDS[credit].scale if credit in KINDS else 0
        amount = exact(units, scale)
        return int(amount) if amount == int(amount) else str(amount) if units % 2 else amount


def instant(seconds):
    return None if seconds is None else START + timedelta(seconds=seconds)


def units_of(number, scale):
    """A number of the interface as smallest units, exactly."""
    units = Fraction(number) * 10**scale
    assert units.denominator == 1
    assert not isinstance(number, float)
    return units.numerator


def told_apart(answer):
    """What both sides tell of an answer; a block does not say that it was replayed."""
    hidden = {"written", "replayed"} if "block" in answer else {"written"}
    return {name: value for name, value in answer.items() if name not in hidden}


def shown(decision, credit):
    """A decision as the model tells it."""
    scale = KINDS[credit].scale if credit in KINDS else 0
    told = {"allowed": decision.allowed, "code": decision.code}
    receipt = decision.receipt
    if decision.code.startswith("unknown"):
        return {**told, "replayed": False}
    numbers = {name: getattr(decision, name) for name in ("requested", "limit", "used", "overage")}
    told |= {name: None if number is None else units_of(number, scale) for name, number in numbers.items()}
    if receipt is None:
        return {**told, "replayed": False}
    after = None if receipt.balance_after is None else units_of(receipt.balance_after, scale)
    burned = {block: units_of(amount, scale) for block, amount in receipt.burned.items()}
    told |= {"burned": burned, "balance_after": after, "booked": units_of(receipt.booked, scale)}
    return {**told, "late": receipt.late, "replayed": receipt.replayed}


def undrawn(line):
    """A line without the key, where the engine drew that by chance."""
    return attrs.evolve(line, key="") if len(line.key) == 32 else line


def moves(batches):
    """What moved in each batch, as the model tells it."""
    kinds = {"granted", "overdrawn", "forgiven", *MOVES}
    return sorted(
        (batch.number, int((line.at - START).total_seconds()), line.kind, line.subject, line.amount, line.block)
        for batch in batches
        for line in batch.entries
        if line.kind in kinds
    )


@pytest.fixture(scope="module", autouse=True)
def _schema(emptied):
    CreditMachine.emptied = staticmethod(emptied)


TestCredits = CreditMachine.TestCase
TestCredits.settings = settings(
    max_examples=CAMPAIGN or 50,
    stateful_step_count=100 if CAMPAIGN else 30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
