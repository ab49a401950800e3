"""Which block burns first never depends on whether somebody swept, or wrote anything else, in between."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entitlements import Catalog, Entitlements
from entitlements.ledger.blocks import RANK, granted_order
from entitlements.ledger.burn import POLICIES, burn_order
from entitlements.ledger.entries import Batch, Entry, numbered
from entitlements.ledger.state import EMPTY_HEAD, apply, books_of
from entitlements.testing import FrozenClock

from .test_burn import BLOCK as PLAIN

START = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)
ORDERS = [*POLICIES, ["granted"], ["category", "granted"], ["plan", "granted"]]


def catalog(order, **terms):
    names = ("alpha", "zed")  # of a tie, the ids of what a trial grants would decide one way and the other
    return Catalog.load(
        {
            "version": 1,
            "credits": {"ai": {"burn_order": order, "depletion": "soft"}},
            "products": {name: {} for name in names},
            "plans": {
                name: {"product": name, "trial": {"days": 20}, "credits": {"ai": {"grant": 10, "every": every, **terms}}}
                for name, every in zip(names, ("week", "day"), strict=True)
            },
        }
    )  # fmt: skip


def moved(ent):
    return [(line.kind, line.block, line.amount, line.at) for line in ent.entries("acme", limit=10**6) if line.block]


def burned(decision):
    return list(decision.receipt.burned.items()) if decision.receipt else None


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("plan", ["alpha", "zed"])
def test_of_what_one_batch_grants_at_one_instant_the_first_granted_burns_first(opened, clock, order, plan):
    """A plan is bought at the very instant at which its trial grants again, swept before or not."""
    ent, came = opened(catalog(order, priority=1)), []
    for who in ("late", "swept"):
        clock.set(START)
        ent.start_trial(who, plan)
        clock.set(START + 7 * DAY)
        if who == "swept":
            ent.sweep(who)
        ent.subscribe(who, plan)
        came.append(burned(ent.consume_credits(who, "ai", 15, key="c")))
    assert came[0] == came[1]
    assert len(came[0]) == 2


@pytest.mark.parametrize("order", ["first_in_first_out", "default"])
@pytest.mark.parametrize("days", [0, 2])
def test_what_fell_due_was_granted_before_what_is_granted_now_wherever_that_is_said_to_begin(opened, clock, order, days):
    ent, came = opened(catalog(order)), []
    for who in ("late", "swept"):
        clock.set(START)
        ent.subscribe(who, "alpha")
        ent.consume_credits(who, "ai", 10, key="all")
        clock.set(START + 8 * DAY)
        if who == "swept":
            ent.sweep(who)
        ends = START + 14 * DAY
        ent.grant_credits(who, "ai", 10, key="!", effective_at=START + (7 - days) * DAY, expires_at=ends)
        came.append(burned(ent.consume_credits(who, "ai", 15, key="c")))
    assert came[0] == came[1]
    assert (came[0][0][0] == "!") is (order == "default" and days > 0)


def test_what_ends_at_one_instant_is_told_in_one_order_swept_or_not(opened, clock):
    ent = opened(catalog("default"))
    clock.set(START)
    ent.subscribe("acme", "alpha")
    ent.grant_credits("acme", "ai", 10, key="!", expires_at=START + 14 * DAY)
    clock.set(START + 15 * DAY)

    def lines():
        told = ent.statement("acme", "ai", start=START, end=START + 15 * DAY).to_dict()["lines"]
        return [(line["kind"], line["at"], line["block"], line["amount"]) for line in told]

    before = lines()
    assert ent.sweep("acme")
    assert lines() == before
    assert [block for kind, _, block, _ in before if kind == "expired"][1] == "!"


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_the_same_history_burns_the_same_blocks_whoever_sweeps_when(data):  # noqa: C901
    document = catalog(data.draw(st.sampled_from(ORDERS)), **data.draw(st.sampled_from([{}, {"rollover": {"max": 4}}])))
    clocks = FrozenClock(START), FrozenClock(START)
    lazy, eager = (Entitlements(document, storage="memory:", clock=clock) for clock in clocks)
    plans = st.sampled_from(["alpha", "zed"])
    held = set()
    for n in range(data.draw(st.integers(2, 12))):
        days = data.draw(st.sampled_from([0, 0, 1, 3, 7]))
        for part in range(days + 1) if data.draw(st.booleans()) else ():
            clocks[1].set(clocks[0]() + part * DAY)
            eager.sweep("acme")
        for clock in clocks:
            clock.set((clocks[0]() + days * DAY) if clock is clocks[0] else clocks[0]())
        verb, plan = data.draw(st.sampled_from(["trial", "buy", "leave", "grant", "burn", "burn", "hold"])), data.draw(plans)
        amount, off = data.draw(st.integers(1, 40)), data.draw(st.integers(-7, 3)) * DAY
        answers = []
        for ent in (lazy, eager):
            now = clocks[0]()
            if verb == "trial":
                ent.start_trial("acme", plan)
            elif verb == "buy" and plan not in held:
                ent.subscribe("acme", plan, at=now + offset(amount))
            elif verb == "leave" and plan in held:
                ent.cancel("acme", product=plan)
            elif verb == "grant":
                ends = {"expires_at": now + 9 * DAY} if amount % 2 else {}
                ent.grant_credits("acme", "ai", amount, key=f"g{n}", effective_at=now + off, category="promotional", **ends)
            elif verb == "burn":
                answers.append(burned(ent.consume_credits("acme", "ai", amount, key=f"c{n}")))
            elif verb == "hold":
                ent.reserve_credits("acme", "ai", amount, key=f"h{n}", ttl=3 * 86_400)
            blocks = [attrs.evolve(block, number=0) for block in ent.balance("acme", "ai").blocks]
            answers.append(blocks)
        half = len(answers) // 2
        assert answers[:half] == answers[half:]
        if verb == "buy" and plan not in held:
            held.add(plan)
            for clock in clocks:
                clock.advance(offset(amount))
        elif verb == "leave":
            held.discard(plan)
    for ent in (lazy, eager):
        ent.sweep("acme")
        assert ent.verify() == ()
        numbers = [line.data["block"].number for line in ent.entries("acme", limit=10**6) if line.kind == "granted"]
        assert all(one < other for one, other in pairwise(numbers))
    assert moved(lazy) == moved(eager)


def offset(amount):
    """How far in the future a plan is bought from, if at all."""
    return timedelta(0) if amount % 3 else DAY


def test_a_log_whose_blocks_were_numbered_by_their_batches_burns_as_before_and_what_comes_now_comes_after():
    """Blocks of older logs bear the number of their batch, which is no more than that of their entries."""
    old = [attrs.evolve(PLAIN, id=name, number=2, effective_at=START + at * DAY) for name, at in (("b", 0), ("a", 1))]
    lines = [Entry("granted", START, one.credit, amount=one.units, block=one.id, data={"block": one}) for one in old]
    first = Batch("acme", "k", 1, START, {}, {}, numbered([Entry("nothing", START, "ai")], after=0, key="k", at=START))
    then = Batch("acme", "l", 2, START, {}, {}, numbered(lines, after=1, key="l", at=START))
    head = apply(apply(EMPTY_HEAD, first), then)
    books = books_of(head)
    assert [block.id for block in burn_order(head.blocks.values(), "first_in_first_out")] == ["b", "a"]
    assert books.number > max(block.number for block in old)
    new = attrs.evolve(old[0], id="0", number=books.number)
    books.post(attrs.evolve(lines[0], block="0", data={"block": new}))
    assert [block.id for block in sorted(books.blocks.values(), key=granted_order)] == ["b", "a", "0"]
    assert [block.id for block in sorted(books.blocks.values(), key=RANK)] == ["b", "0", "a"]
    assert books.number > new.number
