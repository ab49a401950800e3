"""What falls due by time: exactly which entries, at which instants, in which order, and only once."""

from copy import deepcopy
from datetime import timedelta

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entitlements.ledger.blocks import Block, Debt, OpenHold, Purpose
from entitlements.ledger.crediting import Books
from entitlements.ledger.due import due
from entitlements.storage.memory import MemoryStorage

from .conftest import CATALOG
from .reading import DAY, HOUR, SECOND, START, consume, grant, left, moves, refund, reserve, size, standing

BLOCK = Block("b", "plain", 0, 10, 10, 0, "paid", 50, None, START, None, number=1)
CHAT, NOBODY = Purpose("chat"), Purpose()


def books(*blocks, holds=(), debts=()):
    """Books of blocks, of holds that are pinned in them, and of what is owed."""
    by_id = {block.id: block for block in blocks}
    for hold in holds:
        for name, units in hold.slices:
            block = by_id[name]
            by_id[name] = attrs.evolve(block, free_units=block.free_units - units, held_units=block.held_units + units)
    owed = {(debt.credit, debt.purpose): debt for debt in debts}
    return Books(by_id, {hold.id: hold for hold in holds}, owed)


def hold(name, ends_at, *slices):
    return OpenHold(name, "plain", sum(units for _, units in slices), NOBODY, ends_at, "charge", slices)


def told(entries):
    """Seconds after the start, kind, amount and block of each line."""
    return [(int((line.at - START).total_seconds()), line.kind, line.amount, line.block) for line in entries]


def after(seconds):
    return START + seconds * SECOND


# --- the entries themselves


def test_nothing_is_due_before_an_end_and_the_free_part_expires_at_it():
    block = attrs.evolve(BLOCK, expires_at=after(5))
    assert due(books(block), after(5) - timedelta(microseconds=1)) == []
    assert told(due(books(block), after(5))) == told(due(books(block), after(99))) == [(5, "expired", 10, "b")]


def test_there_is_one_expiry_for_the_free_part_and_one_for_each_hold_released_after_it():
    block = attrs.evolve(BLOCK, expires_at=after(5))
    found = due(books(block, holds=[hold("h1", after(7), ("b", 2)), hold("h2", after(6), ("b", 3))]), after(9))
    assert told(found) == [
        (5, "expired", 5, "b"),
        (6, "released", 3, "b"), (6, "expired", 3, "b"), (6, "hold_closed", 0, ""),
        (7, "released", 2, "b"), (7, "expired", 2, "b"), (7, "hold_closed", 0, ""),
    ]  # fmt: skip
    assert [line.data["hold"] for line in found if line.kind == "hold_closed"] == ["h2", "h1"]


def test_at_one_instant_blocks_expire_then_holds_lapse_then_debt_is_repaid():
    ending = attrs.evolve(BLOCK, id="ending", expires_at=after(5), settle_debt=False)
    lasting = attrs.evolve(BLOCK, id="lasting", free_units=4, number=2)
    holds = [hold("h", after(5), ("ending", 4), ("lasting", 4))]
    found = due(books(ending, lasting, holds=holds, debts=[Debt("plain", NOBODY, 3)]), after(5))
    assert told(found) == [
        (5, "expired", 6, "ending"), (5, "released", 4, "ending"), (5, "expired", 4, "ending"),
        (5, "released", 4, "lasting"), (5, "hold_closed", 0, ""), (5, "repaid", 3, "lasting"),
    ]  # fmt: skip


def test_a_block_of_which_all_is_held_leaves_no_entry_of_its_own_at_its_end():
    block = attrs.evolve(BLOCK, expires_at=after(5))
    found = due(books(block, holds=[hold("h", None, ("b", 10))]), after(9))
    assert found == []


def test_a_hold_gives_back_to_live_blocks_and_is_closed():
    standing = books(BLOCK, holds=[hold("h", after(5), ("b", 4))])
    assert told(due(standing, after(5))) == [(5, "released", 4, "b"), (5, "hold_closed", 0, "")]
    assert (standing.blocks["b"].free_units, standing.blocks["b"].held_units, standing.holds) == (10, 0, {})


def test_holds_of_one_instant_lapse_in_order_of_their_ids_and_blocks_expire_as_they_were_granted():
    blocks = [attrs.evolve(BLOCK, id=name, number=n, expires_at=after(5)) for n, name in enumerate("cba")]
    holds = [hold(name, after(6), ("a", 1)) for name in ("z", "y")]
    found = due(books(*reversed(blocks), holds=holds), after(9))
    assert [line.block for line in found[:3]] == ["c", "b", "a"]
    assert [line.data["hold"] for line in found if line.kind == "released"] == ["y", "z"]


def test_a_hold_that_was_opened_for_nothing_lapses_too():
    assert told(due(books(holds=[hold("h", after(5))]), after(5))) == [(5, "hold_closed", 0, "")]


def test_usage_set_aside_returns_to_its_own_window():
    held = attrs.evolve(hold("h", after(5)), subject="chat", counters=(("chat/day", START, 3),))
    released, closed = due(books(holds=[held]), after(9))
    assert (released.kind, released.counter, released.window, released.amount) == (
        "usage_released", "chat/day", START, -3,
    )  # fmt: skip
    assert (released.at, closed.kind, closed.data) == (after(5), "hold_closed", {"hold": "h", "state": "lapsed"})


def test_a_block_repays_at_the_instant_it_begins():
    future = attrs.evolve(BLOCK, effective_at=after(5))
    standing = books(future, debts=[Debt("plain", NOBODY, 4)])
    assert due(standing, after(4)) == []
    assert told(due(standing, after(9))) == [(5, "repaid", 4, "b")]
    assert (standing.blocks["b"].free_units, standing.debts) == (6, {})


@pytest.mark.parametrize(
    "told_", [{"settle_debt": False}, {"features": ("sso",)}, {"scope": (("team", "a"),)}, {"credit": "other"}]
)
def test_a_block_does_not_repay_what_it_could_not_have_paid(told_):
    future = attrs.evolve(BLOCK, effective_at=after(5), **told_)
    assert due(books(future, debts=[Debt("plain", CHAT, 4)]), after(9)) == []


def test_the_oldest_debt_is_repaid_first_and_the_first_block_to_burn_repays():
    blocks = [
        attrs.evolve(BLOCK, id=name, units=4, free_units=4, effective_at=after(5), priority=priority, number=priority)
        for name, priority in (("last", 9), ("first", 1))
    ]
    debts = [Debt("plain", CHAT, 3), Debt("plain", NOBODY, 3)]
    assert told(due(books(*blocks, debts=debts), after(5))) == [
        (5, "repaid", 3, "first"), (5, "repaid", 1, "first"), (5, "repaid", 2, "last"),
    ]  # fmt: skip


def test_a_block_that_begins_and_ends_unseen_repays_first_and_expires_then():
    future = attrs.evolve(BLOCK, effective_at=after(5), expires_at=after(7))
    found = due(books(future, debts=[Debt("plain", NOBODY, 4)]), after(9))
    assert told(found) == [(5, "repaid", 4, "b"), (7, "expired", 6, "b")]


def test_a_thousand_ends_are_worked_off_one_by_one():
    blocks = [attrs.evolve(BLOCK, id=str(n), number=n, expires_at=after(n)) for n in range(1000)]
    found = due(books(*blocks, debts=[Debt("other", NOBODY, 4)]), after(999))
    assert told(found) == [(n, "expired", 10, str(n)) for n in range(1000)]


# --- once, and the same on every way there

seconds = st.integers(0, 6)
ends = st.one_of(st.none(), st.integers(1, 9))


@st.composite
def standings(draw):
    """Any books that could be: blocks, holds on them, and debt that no live block with something free could pay."""
    blocks = []
    for number in range(draw(st.integers(1, 4))):
        begins, lasts = draw(seconds), draw(ends)
        span = {"effective_at": after(begins), "expires_at": None if lasts is None else after(begins + lasts)}
        terms = {"features": draw(st.sampled_from([None, ("chat",)])), "settle_debt": draw(st.booleans())}
        block = attrs.evolve(BLOCK, id=f"b{number}", number=number, priority=draw(st.integers(1, 2)), **span, **terms)
        blocks.append(block)
    holds = []
    for number in range(draw(st.integers(0, 3))):
        slices = tuple((block.id, draw(st.integers(1, 3))) for block in blocks if draw(st.booleans()))
        lapses = draw(ends)
        holds.append(hold(f"h{number}", None if lapses is None else after(lapses), *slices))
    purposes = draw(st.lists(st.sampled_from([NOBODY, CHAT]), unique=True))
    return books(*blocks, holds=holds, debts=[Debt("plain", purpose, draw(st.integers(1, 15))) for purpose in purposes])


@given(standings(), st.integers(0, 16))
@settings(deadline=None)
def test_what_fell_due_once_does_not_fall_due_again(standing, until):
    due(standing, after(until))
    assert due(standing, after(until)) == []


@given(standings(), st.lists(st.integers(0, 16), max_size=4))
@settings(deadline=None)
def test_looking_often_finds_the_same_entries_as_looking_once(standing, looks):
    eager, lazy = deepcopy(standing), deepcopy(standing)
    often = [entry for second in [*sorted(looks), 16] for entry in due(eager, after(second))]
    assert often == due(lazy, after(16))
    assert (eager.blocks, eager.holds, eager.debts) == (lazy.blocks, lazy.holds, lazy.debts)


@given(standings())
@settings(deadline=None)
def test_entries_are_in_order_of_their_instants_and_nothing_free_is_left_of_what_ended(standing):
    found = [line.at for line in due(standing, after(16))]
    assert found == sorted(found)
    assert all(block.free_units == 0 for block in standing.blocks.values() if block.expires_at)
    assert all(each.ends_at is None for each in standing.holds.values())


# --- reading and booking


def test_a_read_answers_as_if_it_were_booked_and_writes_nothing(ent, clock):
    grant(ent, 10, expires_at=after(5))
    reserve(ent, 4, ttl=7)
    clock.set(after(6))
    lines = size(ent)
    assert standing(ent) == (0, 4, 0)
    assert standing(ent, at=after(7)) == (0, 0, 0)
    assert size(ent) == lines


def test_the_next_write_books_it_first_in_its_own_batch_each_line_at_its_own_instant(ent, clock):
    grant(ent, 10, expires_at=after(5))
    reserve(ent, 4, ttl=7)
    clock.set(after(60))
    grant(ent, 1, key="next")
    lines = ent.entries("acme", after=3)
    assert told(lines) == [
        (5, "expired", 6, "g"), (7, "released", 4, "g"), (7, "expired", 4, "g"), (7, "hold_closed", 0, ""),
        (60, "granted", 1, "next"),
    ]  # fmt: skip
    assert {(line.key, line.recorded_at) for line in lines} == {("next", after(60))}
    assert ent.sweep("acme") == 0


def test_a_denial_books_nothing_not_even_what_fell_due(ent, clock):
    grant(ent, 10, expires_at=after(5))
    clock.set(after(6))
    assert not consume(ent, 1)
    assert size(ent) == 1


@pytest.mark.parametrize("verb", ["consume", "record", "free", "reset_usage", "subscribe", "refund", "void_block"])
def test_every_verb_that_writes_books_what_fell_due(ent, clock, verb):
    consume(ent, 0, key="zero")
    grant(ent, 5, key="kept")
    consume(ent, 1, key="used")
    ent.consume("acme", "seats", 2)
    grant(ent, 10, expires_at=after(5))
    clock.set(after(6))
    calls = {
        "consume": lambda: ent.consume("acme", "chat"),
        "record": lambda: ent.record("acme", "chat"),
        "free": lambda: ent.free("acme", "seats"),
        "reset_usage": lambda: ent.reset_usage("acme", "chat"),
        "subscribe": lambda: ent.subscribe("acme", "free"),
        "refund": lambda: refund(ent, "used"),
        "void_block": lambda: ent.void_block("acme", "kept"),
    }
    lines = size(ent)
    calls[verb]()
    assert told(ent.entries("acme", after=lines))[0] == (5, "expired", 10, "g")
    assert standing(ent)[1:] == (0, 0)


def test_a_fact_is_answered_again_though_its_batch_begins_with_what_fell_due(ent, clock):
    grant(ent, 10, expires_at=after(5))
    clock.set(after(6))
    first = ent.subscribe("acme", "free", key="s")
    assert ent.subscribe("acme", "free", key="s") == first
    clock.set(after(7))
    assert ent.cancel("acme", key="c") is None
    assert ent.cancel("acme", key="c") is None


def test_sweep_books_what_fell_due_for_one_customer_or_for_all_and_says_how_many_lines(ent, clock):
    for customer in ("acme", "other", "quiet"):
        grant(ent, 1, customer=customer, expires_at=None if customer == "quiet" else after(5))
    assert ent.sweep() == 0
    clock.set(after(9))
    assert ent.sweep("acme") == 1
    assert ent.sweep() == 1
    assert ent.sweep() == 0
    assert [size(ent, customer) for customer in ("acme", "other", "quiet", "nobody")] == [2, 2, 1, 0]
    assert ent.sweep("nobody") == 0


def test_what_expired_on_the_record_stays_expired_when_the_clock_goes_back(ent, clock):
    grant(ent, 10, expires_at=after(5))
    clock.set(after(6))
    ent.sweep("acme")
    clock.set(after(1))
    assert left(ent) == 0
    assert not consume(ent, 1)
    assert grant(ent, 1, key="next").effective_at == after(6)


def test_a_reservation_made_after_the_clock_went_back_lasts_from_ledger_time(ent, clock):
    grant(ent, 10, expires_at=after(100))
    clock.set(after(50))
    consume(ent, 1)
    clock.set(after(0))
    reserve(ent, 4, ttl=10)
    clock.set(after(59))
    assert standing(ent) == (5, 4, 0)
    clock.set(after(60))
    assert standing(ent) == (9, 0, 0)


def test_expiry_is_booked_once_by_many_who_see_it(opened, clock):
    shared = MemoryStorage()
    engines = [opened(CATALOG, storage=shared) for _ in range(3)]
    grant(engines[0], 10, expires_at=after(5))
    clock.set(after(9))
    assert sum(engine.sweep("acme") for engine in engines) == 1
    assert moves(engines[0]) == [("granted", 10, "g"), ("expired", 10, "g")]


def test_two_storages_book_the_same(opened, clock, database):
    logs = []
    for storage in ("memory:", f"sqlite:///{database}"):
        clock.set(START)
        ent = opened(CATALOG, storage=storage)
        grant(ent, 10, "soft", key="a", expires_at=after(5))
        reserve(ent, 4, "soft", ttl=7)
        consume(ent, 20, "soft")
        grant(ent, 9, "soft", key="b", effective_at=after(6))
        clock.set(after(9))
        ent.sweep("acme")
        logs.append(told(ent.entries("acme")))
    assert logs[0] == logs[1]
    assert logs[0][-4:] == [
        (6, "repaid", 9, "b"), (7, "released", 4, "a"), (7, "expired", 4, "a"), (7, "hold_closed", 0, ""),
    ]  # fmt: skip


# --- what a check knows of it


def test_a_denied_check_becomes_an_allowed_one_the_moment_a_hold_lapses(ent, clock):
    ent.reserve("acme", "seats", 10, key="h", ttl=60)
    denied = [ent.check("acme", "seats") for _ in range(2)]
    assert [(check.allowed, check.valid_until) for check in denied] == [(False, after(60))] * 2
    clock.set(after(60))
    assert ent.check("acme", "seats").allowed


def test_a_check_of_another_feature_is_valid_as_long_as_before(ent):
    before = ent.check("acme", "chat").valid_until
    ent.reserve("acme", "seats", 10, key="h", ttl=60)
    assert ent.check("acme", "chat").valid_until == before == START.replace(hour=0) + DAY
    ent.reserve("acme", "chat", 1, key="endless", ttl=None)
    assert ent.check("acme", "chat").valid_until == before
    ent.reserve("acme", "chat", 1, key="soon", ttl=HOUR)
    assert ent.check("acme", "chat").valid_until == START + HOUR
