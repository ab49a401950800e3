"""A machine that puts any engine to every rule of credits and usage there is, at random, against a model.

from entitlements.testing import LedgerMachine

class MyLedger(LedgerMachine):
    def open_engine(self):
        return Entitlements(self.catalog, storage=MyStorage(...), clock=self.clock)

TestMyLedger = MyLedger.TestCase
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from ..catalog.model import Catalog
from ..engine import Entitlements
from ..ledger.entries import Entry
from .clock import FrozenClock
from .lockstep import BEGINNING, Doing, instant, moves, told_apart, undrawn, units_of
from .model import Model
from .modelled import FOREVER, Hold, Kind, Metered, Refused
from .proving import agree
from .soundness import assert_sound, entries_of, log_of

KINDS: Final = {"ai": Kind(2), "debt": Kind(0, "soft"), "floor": Kind(0, "soft", 10), "part": Kind(0, "partial")}
FEATURES: Final = {"chat": Metered(8), "calls": Metered(10, 3600), "draw": None}

_LEFT: Final = (("left", -1), ("left", 0), ("left", 0), ("left", 1))
_SMALL: Final = (1, 2, 3, 5, 5, 8, 10, 10, 10, 20, 20, 40)
_LARGE: Final = (2**31, 2**53, 2**63 - 1)
_AMOUNTS: Final = (1, 1, 2, 2, 3, 4, 5, 6, 7, 8, 12, 20, 0, *_LEFT, *_LEFT, *_LARGE)
_TERMS: Final = {"ends": None, "begins": None, "paid": True, "priority": 50, "cost": None, "features": None,
                 "settles": True}  # fmt: skip
_customers = st.sampled_from([*"aaaaaaaaa", "A", "e\u0301"])
_credits = st.sampled_from(["ai", "ai", "ai", "debt", "debt", "debt", "floor", "floor", "part", "part"])
_features = st.sampled_from([None, None, None, None, "chat", "chat", "draw"])
_restrictions = st.sampled_from([None, None, None, None, ("chat",), ("chat", "draw")])
_spans = st.sampled_from([None, 5, 10, 10, 60, 60, 3600])
_amounts = st.sampled_from(_AMOUNTS)
_sizes = st.sampled_from([*_SMALL, *_SMALL, *_LARGE])
_spread = st.sampled_from(range(100))
_anew = st.sampled_from([0] * 12 + [1, 2, 4])
_settling = st.sampled_from([True, True, True, False])
_grants = st.tuples(_credits, st.sampled_from(_SMALL), st.sampled_from([None, None, 10, 60, 60, 3600]), _restrictions)


class LedgerMachine(RuleBasedStateMachine):
    """Random programs of every credit and usage verb, in lockstep with a model and with an engine in memory.

    A subclass says in `open_engine` what is to be tested. After every step the answer or the error is
    that of the model, the log is sound (`assert_sound`), holds the moves of the model, equals line by
    line the log of an engine on `MemoryStorage`, and shows everything that was read before unchanged.
    The clock goes forward, back, and onto the very instants at which something falls due; keys come
    back with equal and with other requests; engines are opened anew.
    """

    catalog: ClassVar[Catalog] = Catalog.load(
        {
            "version": 1,
            "default_plan": "free",
            "features": {
                "chat": {"type": "metered"},
                "calls": {"type": "metered", "reset": {"every": "hour", "align": "calendar"}},
                "draw": {"type": "boolean"},
            },
            "credits": {
                "ai": {"scale": 2, "currency": "USD"},
                "debt": {"depletion": "soft"},
                "floor": {"depletion": "soft", "floor": 10},
                "part": {"depletion": "partial"},
            },
            "plans": {"free": {"entitlements": {"chat": 8, "calls": 10}}},
        }
    )
    """The catalog to open the engine with."""

    clock: FrozenClock
    """The clock to open the engine with; the machine moves it."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FrozenClock(BEGINNING)
        self.model = Model(KINDS, FEATURES)
        self._made = 0
        self._agreed = True
        self._calls: list[tuple[str, str, tuple[Any, ...], dict[str, Any]]] = []
        self._seen: dict[str, tuple[Entry, ...]] = {}
        self._reference = Entitlements(self.catalog, storage="memory:", clock=self.clock)
        self.engine = self.open_engine()

    # What a subclass says

    def open_engine(self) -> Entitlements:
        """Return an engine on `self.catalog` and `self.clock` whose storage is empty; override it."""
        raise NotImplementedError(f"{type(self).__name__} does not say in open_engine which engine it tests")

    def reopen_engine(self, engine: Entitlements) -> Entitlements:
        """Return another engine on the data of one that was open so far.

        As it stands it opens a second engine on the same open storage: what the first remembered is gone.
        Override it where data outlives the storage: close the engine, and open one as after a restart.
        """
        return Entitlements(self.catalog, storage=engine._storage, clock=self.clock)

    def teardown(self) -> None:
        """Look at every log once more, and close the engine; extend it to clear away what was opened."""
        try:
            if self._agreed:  # else what was found first is to be shown, not what came of it
                for customer in list(self._seen):
                    self._compare(customer)
        finally:
            self._reference.close()
            self.engine.close()

    # What happens

    @initialize(given=st.lists(_grants, min_size=2, max_size=5))
    def grants_to_begin_with(self, given: list[tuple[Any, ...]]) -> None:
        """Give the first customer some blocks, without which little can happen."""
        for credit, units, ends, restricted in given:
            self._grant("a", credit, units, ends=ends, features=restricted)

    @rule(back=st.sampled_from([0, 1, 10, 7200]))
    def disturb(self, back: int) -> None:
        """Set the clock back, or open the engine again."""
        if back:
            self._set_clock(self.model.clock - back)
        else:
            self._reference = Entitlements(self.catalog, storage=self._reference._storage, clock=self.clock)
            self.engine = self.reopen_engine(self.engine)

    @rule(span=st.sampled_from([1, 1, 5, 5, 10, 60, 3600]))
    def advance(self, span: int) -> None:
        """Let time pass."""
        self._set_clock(self.model.clock + span)

    @rule(customer=_customers, pick=_spread, off=st.sampled_from([-1, 0, 0, 0, 1]))
    def advance_to_an_edge(self, customer: str, pick: int, off: int) -> None:
        """Go to the very second at which a block begins or ends or a hold lapses, or one beside it."""
        state = self.model.state(customer)
        edges = [edge for block in state.blocks.values() for edge in (block.begins, block.ends)]
        edges += [hold.ends for hold in state.holds.values()]
        coming = sorted({edge for edge in edges if self.model.now(customer) < edge < FOREVER})
        if coming:
            self._set_clock(coming[pick % len(coming)] + off)

    @rule(customer=_customers)
    def sweep(self, customer: str) -> None:
        """Book what fell due, and nothing else."""
        self.model.sweep(customer)
        for engine in self._engines():
            engine.sweep(customer)
        self._compare(customer)

    @rule(customer=_customers, credit=_credits, units=_sizes, ends=_spans, begins=_spans, paid=st.booleans(),
          priority=st.sampled_from([50, 50, 10]), cost=st.sampled_from([None, 0, 3, 100]), restricted=_restrictions,
          settles=_settling, again=_anew)  # fmt: skip
    def grant(
        self,
        customer: str,
        credit: str,
        units: int,
        ends: int | None,
        begins: int | None,
        paid: bool,
        priority: int,
        cost: int | None,
        restricted: tuple[str, ...] | None,
        settles: bool,
        again: int,
    ) -> None:
        """Grant credits, some of them from later than now on."""
        begins = begins if begins is not None and begins > 10 else None
        told: dict[str, Any] = {
            "paid": paid,
            "priority": priority,
            "cost": cost,
            "features": restricted,
            "settles": settles,
        }
        self._grant(customer, credit, units, ends=ends, begins=begins, again=again, **told)

    @precondition(lambda self: any(who.debts for who in self.model.customers.values()))
    @rule(units=_sizes, begins=_spans, restricted=_restrictions, settles=_settling)
    def grant_to_a_debtor(
        self, units: int, begins: int | None, restricted: tuple[str, ...] | None, settles: bool
    ) -> None:
        """Grant credits where some are owed."""
        name, (credit, _) = next((name, debt) for name, who in self.model.customers.items() for debt in who.debts)
        begins = begins if begins is not None and begins > 10 else None
        told: dict[str, Any] = {"cost": 100, "features": restricted, "settles": settles}
        self._grant(name, credit, units, ends=3600, begins=begins, **told)

    @rule(customer=_customers, credit=_credits, units=_amounts, feature=_features, again=_anew,
          depletion=st.sampled_from([None, None, None, "hard", "partial", "soft"]))  # fmt: skip
    def consume(
        self, customer: str, credit: str, units: Any, feature: str | None, depletion: str | None, again: int
    ) -> None:
        """Spend credits, as far as they may be."""
        key, units = self._key(again), self._units(customer, credit, units, feature)
        self._do("consume", customer, credit, units, key=key, feature=feature, depletion=depletion)

    @rule(customer=_customers, credit=_credits, units=_amounts, feature=_features)
    def consume_plainly(self, customer: str, credit: str, units: Any, feature: str | None) -> None:
        """Spend credits under a new key."""
        self.consume(customer, credit, units, feature, None, 0)

    @rule(customer=_customers, credit=_credits, units=_amounts, ttl=_spans)
    def reserve_plainly(self, customer: str, credit: str, units: Any, ttl: int | None) -> None:
        """Hold credits under a new key."""
        self.reserve(customer, credit, units, None, ttl, "charge", 0)

    @rule(customer=_customers, credit=_credits, units=_amounts, feature=_features, ttl=_spans, again=_anew,
          late=st.sampled_from(["charge", "charge", "refuse"]))  # fmt: skip
    def reserve(
        self, customer: str, credit: str, units: Any, feature: str | None, ttl: int | None, late: str, again: int
    ) -> None:
        """Hold credits for a while."""
        key, units = self._key(again), self._units(customer, credit, units, feature)
        self._do("reserve", customer, credit, units, key=key, ttl=ttl, feature=feature, late=late)

    @precondition(lambda self: self._holds())
    @rule(pick=_spread, units=_amounts, off=st.sampled_from([None, None, -1, 0, 1]))
    def settle(self, pick: int, units: Any, off: int | None) -> None:
        """Settle a hold, open or not: by some amount, or by what is held and one more or less."""
        customer, hold, held = self._hold(pick)
        credit = self._credit_of(customer, hold)
        units = self._units(customer, credit, units) if off is None else max(0, held + off)
        self._do("settle", customer, hold, units)

    @precondition(lambda self: self._holds())
    @rule(pick=_spread)
    def release(self, pick: int) -> None:
        """Release a hold, open or not."""
        customer, hold, _ = self._hold(pick)
        self._do("release", customer, hold)

    @precondition(lambda self: self.model.customers)
    @rule(pick=_spread, units=st.sampled_from([None, None, 0, 1, 2, 3, 5, 8]), again=_anew)
    def refund(self, pick: int, units: int | None, again: int) -> None:
        """Refund something that was taken; now and then any key at all, or of another customer's."""
        customers = self.model.customers.items()
        taken = [(name, key[1] if isinstance(key, tuple) else key) for name, who in customers for key in who.taken]
        taken += [(name, key) for name, who in customers for key in who.counted]
        customer, named = taken[-1 - pick % len(taken)] if taken and pick < 90 else ("a", f"k{pick - 88}")
        self._do("refund", customer, named, units, key=self._key(again))

    @precondition(lambda self: self.model.customers)
    @rule(pick=_spread)
    def void(self, pick: int) -> None:
        """Take a block back; now and then one that there is not."""
        blocks = [(name, block) for name, who in self.model.customers.items() for block in who.blocks]
        if pick < 25:
            self._do("void", *(blocks[pick % len(blocks)] if blocks and pick else ("a", "none")))

    @rule(customer=_customers, feature=st.sampled_from(["chat", "chat", "calls", "calls", "draw", "none"]),
          units=st.sampled_from([0, 1, 1, 2, 3, 3, 4, *_LARGE]), by=st.sampled_from(["consume", "record", "free"]),
          again=_anew)  # fmt: skip
    def use(self, customer: str, feature: str, units: int, by: str, again: int) -> None:
        """Use a feature, or give seats back, beyond what is in use too."""
        self._do("use", customer, feature, units, key=self._key(again), by=by)

    @rule(pick=_spread)
    def repeat(self, pick: int) -> None:
        """Make the very same call again, whatever happened since."""
        if self._calls:
            verb, customer, given, told = self._calls[-1 - pick % min(12, len(self._calls))]
            self._do(verb, customer, *given, **told)

    @rule(pick=_spread, units=st.integers(0, 5))
    def mutated_repeat(self, pick: int, units: int) -> None:
        """Use the same key with another amount, or for another feature."""
        if self._calls and pick < 30:
            verb, customer, given, told = self._calls[-1 - pick % min(12, len(self._calls))]
            if verb in {"grant", "consume", "reserve", "settle", "refund", "use"}:
                given = (*given[:-1], units)
            if "feature" in told and pick % 2:
                told = {**told, "feature": "chat"}
            self._do(verb, customer, *given, **told)

    @rule(customer=_customers, credit=st.sampled_from(list(KINDS)), feature=st.sampled_from([None, "chat"]),
          ahead=st.sampled_from([0, 0, 5, 60]))  # fmt: skip
    def balance(self, customer: str, credit: str, feature: str | None, ahead: int) -> None:
        """Look at a balance, of now or of later."""
        now = self.model.now(customer)
        expected = self.model.balance(customer, credit, feature, now + ahead)
        scale = KINDS[credit].scale
        for engine in self._engines():
            found = engine.balance(customer, credit, feature=feature, at=instant(now + ahead) if ahead else None)
            blocks = [(block.id, block.free_units, block.held_units) for block in found.blocks]
            told = (found.available, found.held, found.debt, found.promised)
            numbers = [units_of(amount, scale) for amount in told]
            agree(f"the balance of {customer!r} in {credit!r}", (*numbers, blocks), expected)
            agree("its total", units_of(found.total, scale), sum(expected[:2]))

    @rule(customer=_customers, feature=st.sampled_from(["chat", "calls"]), units=st.integers(0, 12))
    def check(self, customer: str, feature: str, units: int) -> None:
        """Ask before the work is done."""
        used, metered = self.model.used(customer, feature), FEATURES[feature]
        fits = metered is not None and (units == 0 or used + units <= metered.limit)
        for engine in self._engines():
            found = engine.check(customer, feature, requested=units)
            agree(f"a check of {units} of {feature!r} for {customer!r}", (found.allowed, found.used), (fits, used))

    # How it is done on all sides, and compared

    def _engines(self) -> tuple[Entitlements, Entitlements]:
        return self._reference, self.engine

    def _grant(self, customer: str, credit: str, units: int, *, again: int = 0, **told: Any) -> None:
        """Grant with the ordinary terms where none are given; `ends` and `begins` are seconds from now."""
        now = self.model.now(customer)
        terms: dict[str, Any] = {**_TERMS, **told}
        spans = {name: None if terms[name] is None else now + terms[name] for name in ("ends", "begins")}
        self._do("grant", customer, credit, units, key=self._key(again), **{**terms, **spans})

    def _do(self, verb: str, customer: str, *given: Any, **told: Any) -> None:
        """Do one thing to the model and to both engines, and compare answers or errors, then everything else."""
        self._calls.append((verb, customer, given, told))
        self._agreed = False
        expected: object
        try:
            expected = told_apart(getattr(self.model, verb)(customer, *given, **told))
        except Refused as refused:
            expected = (refused.kind, refused.said)
        for engine in self._engines():
            found: object
            try:
                found = getattr(Doing(engine, KINDS, self._credit_of), verb)(customer, *given, **told)
            except AssertionError:
                raise
            except Exception as error:  # noqa: BLE001  (compared with what the model refuses)
                found = (type(error).__name__, getattr(error, "field", getattr(error, "state", "")))
            agree(f"{verb} of {(customer, *given)} with {told} is not what the rules say", found, expected)
        self._compare(customer)

    def _compare(self, customer: str) -> None:
        """Every log is sound, both are equal, what was read once stays, and the model moved the same."""
        logs = []
        for engine in self._engines():
            assert_sound(engine, customer)
            logs.append(entries_of(engine, customer))
        reference, log = logs
        before = self._seen.get(customer, ())
        agree(f"what was read of the log of {customer!r} has changed", tuple(log[: len(before)]), before)
        self._seen[customer] = tuple(log)
        moved, booked = moves(log_of(self.engine, customer)), self.model.customers.get(customer)
        expected = sorted(booked.moves if booked else [])
        agree(f"the log of {customer!r} holds other moves than the rules say", moved, expected)
        mine, theirs = (list(map(undrawn, lines)) for lines in (log, reference))
        agree(f"the log of {customer!r} differs from that in memory", mine, theirs)
        self._agreed = True

    # What is drawn, made real

    def _set_clock(self, seconds: int) -> None:
        self.model.clock = seconds
        self.clock.set(BEGINNING + timedelta(seconds=seconds))

    def _key(self, again: int) -> str:
        """Return a new key, or three times in ten one of the last."""
        keys = [told["key"] for _, _, _, told in self._calls if "key" in told]
        if again and again <= len(keys):
            return str(keys[-again])
        self._made += 1
        return f"k{self._made}"

    def _units(self, customer: str, credit: str, drawn: Any, feature: str | None = None) -> int:
        """Return a number of units; ("left", n) is n more than what is left."""
        if isinstance(drawn, int):
            return drawn
        return max(0, self.model.balance(customer, credit, feature)[0] + int(drawn[1]))

    def _holds(self) -> list[tuple[str, Hold]]:
        return [(name, hold) for name, who in self.model.customers.items() for hold in who.holds.values()]

    def _hold(self, pick: int) -> tuple[str, str, int]:
        """Return whose, which, how much: one of the last holds, now and then an older one, or one that is none."""
        if pick >= 96:
            return "a", "none", 0
        holds = self._holds()
        name, hold = holds[-1 - pick % min(3 if pick < 70 else 12, len(holds))]
        return name, hold.id, sum(units for _, units in hold.slices)

    def _credit_of(self, customer: str, name: str) -> str:
        """Return of which credit a hold is, or what a batch took; empty where that was no credit."""
        state = self.model.state(customer)
        if name in state.holds:
            return state.holds[name].credit
        lines = state.taken.get(name)
        return lines[0][2] if lines else ""
