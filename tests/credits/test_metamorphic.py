"""What must not matter: the order of grants, how a charge is split, the scale of things, names, company, sweeping."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entitlements import Catalog, Entitlements
from entitlements.amounts import exact
from entitlements.testing import FrozenClock

from .reading import START

DOCUMENT = {
    "version": 1,
    "default_plan": "free",
    "features": {"chat": {"type": "metered"}},
    "credits": {
        "hard": {"scale": 1},
        "soft": {"scale": 1, "depletion": "soft"},
        "part": {"scale": 1, "depletion": "partial"},
        "floor": {"scale": 1, "depletion": "soft", "floor": 5},
    },
    "plans": {"free": {}},
}
CATALOG = Catalog.load(DOCUMENT)
CREDITS = sorted(CATALOG.credits)
EXAMPLES = settings(max_examples=120, deadline=None)

credit = st.sampled_from(CREDITS)
units = st.integers(1, 60)
ends = st.sampled_from([None, None, 5, 10, 10, 20])
feature = st.sampled_from([None, None, "chat"])
terms = st.fixed_dictionaries(
    {
        "priority": st.integers(1, 3),
        "category": st.sampled_from(["paid", "promotional"]),
        "features": st.sampled_from([None, None, ("chat",)]),
        "settle_debt": st.sampled_from([True, True, False]),
    }
)
steps = st.one_of(
    st.tuples(st.just("grant"), credit, units, ends, terms),
    st.tuples(st.just("consume"), credit, units, feature),
    st.tuples(st.just("consume"), credit, units, feature),
    st.tuples(st.just("reserve"), credit, units, feature, ends),
    st.tuples(st.just("settle"), st.integers(0, 3), units),
    st.tuples(st.just("release"), st.integers(0, 3)),
    st.tuples(st.just("refund"), st.integers(0, 5), st.one_of(st.none(), units)),
    st.tuples(st.just("wait"), st.sampled_from([1, 5, 10])),
)
programs = st.lists(steps, min_size=3, max_size=14)


class World:
    """An engine in memory with its own clock, on which programs run."""

    def __init__(self, customer="acme", times=1, catalog=CATALOG):
        self.clock = FrozenClock(START)
        self.ent = Entitlements(catalog, storage="memory:", clock=self.clock)
        self.customer, self.times, self.made = customer, times, 0

    def run(self, program, *, between=lambda world: None):
        """Run a program and return every answer, scaled back and with the customer left out."""
        answers = []
        for step in program:
            answers.append(self.step(*step))
            between(self)
        return answers

    def step(self, verb, *given):
        if verb == "wait":
            return self.clock.advance(timedelta(seconds=given[0]))
        self.made += 1
        try:
            return self.shown(getattr(self, verb)(f"k{self.made}", *given))
        except Exception as error:
            return type(error).__name__

    def grant(self, key, credit, units, lasts, told):
        expires = None if lasts is None else self.clock() + timedelta(seconds=lasts)
        return self.ent.grant_credits(self.customer, credit, self.amount(units), key=key, expires_at=expires, **told)

    def consume(self, key, credit, units, feature):
        return self.ent.consume_credits(self.customer, credit, self.amount(units), key=key, feature=feature)

    def reserve(self, key, credit, units, feature, ttl):
        told = {"key": key, "feature": feature, "ttl": ttl}
        return self.ent.reserve_credits(self.customer, credit, self.amount(units), **told).decision

    def settle(self, _, back, units):
        return self.ent.settle(self.customer, self.key(back), self.amount(units))

    def release(self, _, back):
        return self.ent.release(self.customer, self.key(back))

    def refund(self, key, back, units):
        return self.ent.refund(self.customer, self.key(back), None if units is None else self.amount(units), key=key)

    def amount(self, units):
        return exact(units * self.times, 1)

    def key(self, back):
        return f"k{self.made - 1 - back}"

    def shown(self, answer):
        """An answer of which nothing but names and scale depends on where it was given."""
        if not hasattr(answer, "receipt"):
            return (answer.id, answer.units / self.times, answer.free_units / self.times)
        receipt = answer.receipt
        taken = {} if receipt is None else {block: amount / self.times for block, amount in receipt.burned.items()}
        numbers = [answer.limit, answer.used, answer.overage]
        numbers += [] if receipt is None else [receipt.booked, receipt.balance_after]
        scaled = [None if number is None else number / self.times for number in numbers]
        return (answer.allowed, answer.code, answer.requested / self.times, *scaled, taken)

    def balances(self, *, at=None, as_of=None):
        """Every balance as a whole, the customer left out."""
        found = [
            self.ent.balance(self.customer, credit, feature=feature, at=at, as_of=as_of)
            for credit in CREDITS
            for feature in (None, "chat")
        ]
        return [
            (each.available / self.times, each.held / self.times, each.debt / self.times,
             [(block.id, block.free_units / self.times, block.held_units / self.times) for block in each.blocks])
            for each in found
        ]  # fmt: skip

    def log(self):
        """What the log says, without names and keys."""
        self.ent.sweep(self.customer)
        return [(line.kind, line.at, line.subject, line.amount, line.block) for line in self.ent.entries(self.customer)]


@given(programs)
@EXAMPLES
def test_sweeping_after_every_step_changes_nothing(program):
    never, always = World(), World()
    assert never.run(program) == always.run(program, between=lambda world: world.ent.sweep())
    assert never.balances() == always.balances()
    assert never.log() == always.log()


@given(programs, st.sampled_from([2, 7, 10**9]))
@EXAMPLES
def test_scaling_every_amount_scales_every_answer(program, times):
    floored = {**DOCUMENT["credits"], "floor": {"scale": 1, "depletion": "soft", "floor": 5 * times}}
    one, many = World(), World(times=times, catalog=Catalog.load({**DOCUMENT, "credits": floored}))
    assert one.run(program) == many.run(program)
    assert one.balances() == many.balances()


@given(programs, st.sampled_from(["a", "A", "\u00e9", "e\u0301", "0", "None", "a:b", "x" * 255, "';--"]))
@EXAMPLES
def test_the_name_of_a_customer_changes_nothing(program, name):
    one, other = World(), World(name)
    assert one.run(program) == other.run(program)
    assert one.balances() == other.balances()
    assert one.log() == other.log()


@given(programs, programs)
@EXAMPLES
def test_another_customer_changes_nothing(program, others):
    alone, in_company = World(), World()
    others = [step for step in others if step[0] != "wait"]

    def meanwhile(world):
        if others:
            world.customer = "ACME"
            world.step(*others.pop())
            world.customer, world.made = "acme", world.made - 1

    alone_log = (alone.run(program), alone.balances(), alone.log())
    assert alone_log == (in_company.run(program, between=meanwhile), in_company.balances(), in_company.log())


@given(st.permutations(range(5)), st.lists(st.tuples(units, ends, terms), min_size=5, max_size=5), credit)
@EXAMPLES
def test_the_order_of_grants_changes_no_total(order, granted, credit):
    one, other = World(), World()
    for world, numbers in ((one, range(5)), (other, order)):
        for number in numbers:
            world.grant(f"g{number}", credit, *granted[number])
    for seconds in (0, 5, 10, 20):
        at = START + timedelta(seconds=seconds)
        assert [each[:3] for each in one.balances(at=at)] == [each[:3] for each in other.balances(at=at)]


@given(programs, credit, feature, st.integers(0, 60), st.integers(0, 60))
@EXAMPLES
def test_a_charge_in_two_parts_is_a_charge(program, credit, feature, first, second):
    whole, parts = World(), World()
    assert whole.run(program) == parts.run(program)
    one = whole.consume("whole", credit, first + second, feature)
    two = [parts.consume("first", credit, first, feature), parts.consume("second", credit, second, feature)]
    if one.allowed and all(two):
        assert whole.balances() == parts.balances()
        taken = {}
        for part in two:
            for block, amount in part.receipt.burned.items():
                taken[block] = taken.get(block, 0) + amount
        assert one.receipt.burned == taken
        assert one.receipt.balance_after == two[1].receipt.balance_after


@given(programs, programs)
@EXAMPLES
def test_what_was_answered_about_a_past_instant_never_changes(program, later):
    world = World()
    answered = {}

    def ask(world):
        seq = len(world.ent.entries("acme"))
        answered[world.clock()] = (seq, world.balances())

    world.run(program, between=ask)
    world.clock.advance(timedelta(seconds=1))
    world.run(later)
    world.clock.advance(timedelta(days=1))
    world.ent.sweep()
    for instant, (seq, balances) in answered.items():
        assert world.balances(at=instant) == balances
        assert world.balances(at=instant, as_of=seq) == balances


@pytest.mark.parametrize("depletion", ["hard", "partial", "soft"])
def test_a_charge_of_nothing_changes_nothing(depletion):
    world = World()
    world.grant("g", "hard", 10, None, {})
    before = world.balances()
    world.ent.consume_credits("acme", "hard", 0, key="zero", depletion=depletion)
    assert world.balances() == before
