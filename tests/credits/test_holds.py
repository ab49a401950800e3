"""Holds: set aside before the work, settled or released exactly once after it, whatever happens in between."""

import asyncio
import subprocess
import sys
from contextlib import nullcontext, suppress
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, localcontext

import pytest

from entitlements import Catalog
from entitlements.amounts import MAX_UNITS
from entitlements.errors import (
    AmountError,
    EntitlementDenied,
    HoldClosed,
    HoldExpired,
    StorageUnavailable,
    UnknownHold,
)

from .conftest import CATALOG
from .reading import DAY, HOUR, SECOND, START, consume, grant, moves, reserve, size, standing

TICK = timedelta(microseconds=1)


# --- reserving credits


def test_a_hold_pins_its_part_of_each_block_in_burn_order(ent):
    grant(ent, 3, key="second")
    grant(ent, 3, key="first", expires_in=3600)
    hold = reserve(ent, 5)
    assert (bool(hold), hold.id, hold.customer) == (True, "h", "acme")
    assert moves(ent)[2:] == [("held", 3, "first"), ("held", 2, "second")]
    assert standing(ent) == (1, 5, 0)
    decision = hold.decision
    assert (decision.limit, decision.used, decision.requested, decision.remaining, decision.overage) == (6, 5, 5, 1, 0)
    assert (decision.receipt.booked, decision.receipt.burned, decision.receipt.balance_after) == (5, {}, 1)


def test_a_hold_that_cannot_be_covered_is_false_and_leaves_nothing(ent):
    grant(ent, 10)
    hold = reserve(ent, 11)
    assert (bool(hold), hold.decision.code, hold.decision.overage) == (False, "insufficient_credits", 1)
    assert repr(hold).removeprefix("Async") == "Hold('h', denied)"
    assert size(ent) == 1
    with pytest.raises(UnknownHold):
        hold.settle(1)


def test_two_holds_never_pin_the_same_credits(ent):
    grant(ent, 10)
    assert reserve(ent, 6, key="one")
    assert not reserve(ent, 6, key="two")
    assert not consume(ent, 5)
    assert reserve(ent, 4, key="three")
    assert standing(ent) == (0, 10, 0)


def test_soft_credits_hold_what_there_is_and_owe_when_settled(ent):
    grant(ent, 4, "soft")
    hold = reserve(ent, 10, "soft")
    assert (hold.decision.receipt.booked, hold.decision.overage) == (4, 6)
    assert standing(ent, "soft") == (0, 4, 0)
    assert hold.settle(10).receipt.booked == 10
    assert standing(ent, "soft") == (0, 0, 6)


def test_a_hold_beyond_the_floor_is_denied_like_the_charge_it_would_become(ent):
    grant(ent, 4, "floored")
    assert not reserve(ent, 15, "floored")
    assert reserve(ent, 14, "floored")


def test_partial_credits_hold_what_there_is_unless_there_is_nothing(ent):
    assert not reserve(ent, 1, "partial", key="nothing")
    grant(ent, 4, "partial")
    hold = reserve(ent, 10, "partial")
    assert (hold.decision.receipt.booked, hold.decision.overage) == (4, 6)


def test_a_hold_of_nothing_can_be_settled_with_something(ent):
    hold = reserve(ent, 0)
    grant(ent, 5)
    assert hold.settle(3).receipt.burned == {"g": 3}


def test_a_hold_of_nothing_can_be_settled_with_nothing(ent):
    assert reserve(ent, 0).settle(0).allowed
    with pytest.raises(HoldClosed):
        ent.release("acme", "h")


def test_unknown_credits_and_features_are_false_holds(ent):
    assert reserve(ent, 1, "plian").decision.code == "unknown_credit"
    assert reserve(ent, 1, feature="chta").decision.code == "unknown_feature"
    assert ent.reserve("acme", "chta", key="f").decision.code == "unknown_feature"
    assert size(ent) == 0


def test_a_key_of_none_draws_an_id(ent):
    grant(ent, 5)
    first, second = reserve(ent, 1, key=None), reserve(ent, 1, key=None)
    assert first.id != second.id
    first.release()
    assert standing(ent) == (4, 1, 0)


def test_the_same_reservation_again_is_the_same_hold(ent):
    grant(ent, 5)
    first, again = reserve(ent, 3), reserve(ent, 3)
    assert again.decision.receipt.replayed
    assert standing(ent) == (2, 3, 0)
    again.settle(1)
    assert first.settle(1).receipt.replayed
    assert standing(ent) == (4, 0, 0)


# --- settling


def test_settling_less_returns_the_rest_to_the_blocks_it_came_from(ent):
    grant(ent, 3, key="second")
    grant(ent, 3, key="first", priority=1)
    decision = reserve(ent, 5).settle(2)
    assert moves(ent)[4:] == [("settled", 2, "first"), ("released", 1, "first"), ("released", 2, "second")]
    assert (decision.limit, decision.used, decision.remaining, decision.requested) == (6, 2, 4, 2)
    assert (decision.receipt.booked, decision.receipt.burned, decision.receipt.balance_after) == (2, {"first": 2}, 4)
    assert decision.receipt.late is False
    assert standing(ent) == (4, 0, 0)


def test_settling_all_of_it_returns_nothing(ent):
    grant(ent, 10)
    hold = reserve(ent, 5)
    assert hold.settle(5).receipt.burned == {"g": 5}
    assert (moves(ent)[2:], standing(ent), repr(hold).removeprefix("Async")) == (
        [("settled", 5, "g")],
        (5, 0, 0),
        "Hold('h', closed)",
    )


def test_settling_nothing_returns_everything_and_closes_the_hold(ent):
    grant(ent, 10)
    hold = reserve(ent, 5)
    assert hold.settle(0).allowed
    assert standing(ent) == (10, 0, 0)
    with pytest.raises(HoldClosed):
        hold.settle(1)


def test_settling_more_draws_on_in_burn_order(ent):
    grant(ent, 5, key="held")
    hold = reserve(ent, 4)
    grant(ent, 5, key="urgent", priority=1)
    decision = hold.settle(10)
    assert (decision.allowed, decision.receipt.burned) == (True, {"held": 5, "urgent": 5})
    assert moves(ent)[-3:] == [("settled", 4, "held"), ("burned", 5, "urgent"), ("burned", 1, "held")]
    assert standing(ent) == (0, 0, 0)


def test_settling_beyond_what_hard_credits_can_pay_books_all_there_is_and_answers_false(ent):
    grant(ent, 10)
    decision = reserve(ent, 6).settle(15)
    assert (decision.allowed, decision.code, decision.outcome) == (False, "insufficient_credits", "block")
    assert (decision.requested, decision.used, decision.overage, decision.receipt.booked) == (15, 10, 5, 10)
    assert standing(ent) == (0, 0, 0)
    assert ent.settle("acme", "h", 15) == ent.settle("acme", "h", 15)
    with pytest.raises(HoldClosed):
        ent.settle("acme", "h", 16)


@pytest.mark.parametrize(
    ("credit", "allowed", "debt"), [("soft", True, 25), ("floored", False, 10), ("partial", True, 0)]
)
def test_settling_beyond_follows_the_policy_of_the_credit(ent, credit, allowed, debt):
    grant(ent, 10, credit)
    decision = reserve(ent, 6, credit).settle(35)
    assert (decision.allowed, decision.overage, decision.receipt.booked) == (allowed, 25, 10 + debt)
    assert standing(ent, credit) == (0, 0, debt)


def test_settling_beyond_a_partial_hold_of_nothing_that_nothing_can_pay_is_false(ent):
    grant(ent, 5, "partial")
    hold = reserve(ent, 5, "partial", ttl=5, late="charge")
    empty = reserve(ent, 0, "partial", key="empty")
    decision = empty.settle(3)
    assert (decision.allowed, decision.overage, decision.receipt.booked) == (False, 3, 0)
    assert hold.settle(5)


def test_what_is_drawn_beyond_a_hold_is_for_what_the_hold_was_for(ent):
    grant(ent, 5, key="chat", features=["chat"], scope="team:a")
    hold = reserve(ent, 2, feature="chat", scope="team:a")
    assert hold.settle(4).receipt.burned == {"chat": 4}
    assert hold.result.feature == "chat"


def test_what_comes_back_repays_what_is_owed(ent):
    grant(ent, 5, "soft")
    hold = reserve(ent, 5, "soft")
    consume(ent, 4, "soft")
    assert hold.settle(2)
    assert moves(ent)[-3:] == [("settled", 2, "g"), ("released", 3, "g"), ("repaid", 3, "g")]
    assert standing(ent, "soft") == (0, 0, 1)


@pytest.mark.parametrize("amount", [-1, 1.5, "1.5", MAX_UNITS + 1, None, True])
def test_settling_with_what_is_no_amount_leaves_the_hold_open(ent, amount):
    grant(ent, 10)
    hold = reserve(ent, 5)
    lines = size(ent)
    with pytest.raises(AmountError):
        hold.settle(amount)
    assert (size(ent), hold.result) == (lines, None)
    assert hold.settle(5)


# --- once


def test_the_same_settling_again_is_the_first_answer(ent):
    grant(ent, 10)
    reserve(ent, 5)
    first, again = ent.settle("acme", "h", 3), ent.settle("acme", "h", "3.00")
    assert (first.receipt.replayed, again.receipt.replayed) == (False, True)
    assert unreplayed(first) == unreplayed(again)
    assert standing(ent) == (7, 0, 0)


def test_the_same_releasing_again_is_the_first_answer(ent):
    grant(ent, 10)
    reserve(ent, 5, feature="chat")
    first, again = ent.release("acme", "h"), ent.release("acme", "h")
    assert (first.allowed, first.feature, first.requested) == (True, "chat", 0)
    assert (first.receipt.replayed, again.receipt.replayed) == (False, True)
    assert unreplayed(first) == unreplayed(again)


def test_a_hold_is_closed_for_good_whichever_way_it_was_closed(ent):
    grant(ent, 10)
    settled, released = reserve(ent, 2, key="settled"), reserve(ent, 2, key="released")
    settled.settle(1)
    released.release()
    lines = size(ent)
    for close, state in [
        (lambda: settled.settle(2), "settled"),
        (settled.release, "settled"),
        (lambda: released.settle(1), "released"),
    ]:
        with pytest.raises(HoldClosed) as closed:
            close()
        assert closed.value.state == state
    assert size(ent) == lines


def test_a_hold_that_never_was_cannot_be_closed(ent):
    grant(ent, 10)
    reserve(ent, 1, key="job-17")
    grant(ent, 10, customer="other")
    reserve(ent, 1, key="others", customer="other")
    for name in ("nothing", "g", "others"):
        for close in (lambda name=name: ent.settle("acme", name, 1), lambda name=name: ent.release("acme", name)):
            with pytest.raises(UnknownHold, match=f"'{name}'"):
                close()
    with pytest.raises(UnknownHold, match="did you mean 'job-17'"):
        ent.settle("acme", "job17", 1)


# --- its end


def test_a_hold_is_open_until_just_before_its_end(ent, clock):
    grant(ent, 10)
    hold = reserve(ent, 5, ttl=60)
    clock.set(START + 60 * SECOND - TICK)
    assert standing(ent) == (5, 5, 0)
    assert hold.settle(3).receipt.late is False


def test_at_its_end_a_hold_has_given_everything_back(ent, clock):
    grant(ent, 10)
    reserve(ent, 5, ttl=60)
    clock.set(START + 60 * SECOND)
    assert standing(ent) == (10, 0, 0)
    assert consume(ent, 10)


def test_settling_late_is_a_plain_charge_flagged_late(ent, clock):
    grant(ent, 10)
    hold = reserve(ent, 5, ttl=60)
    clock.advance(60 * SECOND)
    decision = hold.settle(7)
    assert (decision.allowed, decision.limit, decision.used, decision.receipt.late) == (True, 10, 7, True)
    assert moves(ent)[2:] == [("released", 5, "g"), ("burned", 7, "g")]
    assert hold.settle(7).receipt.replayed
    assert hold.settle(7).receipt.late
    with pytest.raises(HoldClosed):
        hold.release()


def test_settling_late_what_is_no_longer_there_books_all_there_is(ent, clock):
    grant(ent, 10)
    hold = reserve(ent, 5, ttl=60)
    clock.advance(60 * SECOND)
    consume(ent, 8)
    decision = hold.settle(5)
    assert (decision.allowed, decision.overage, decision.receipt.booked, decision.receipt.late) == (False, 3, 2, True)
    assert standing(ent) == (0, 0, 0)


def test_settling_late_with_nothing_closes_the_hold(ent, clock):
    grant(ent, 10)
    hold = reserve(ent, 5, ttl=60)
    clock.advance(60 * SECOND)
    ent.sweep("acme")
    assert hold.settle(0).allowed
    assert ent.entries("acme")[-1].kind == "nothing"
    with pytest.raises(HoldClosed):
        hold.settle(1)


def test_a_hold_may_refuse_to_be_settled_late(ent, clock):
    grant(ent, 10)
    hold = reserve(ent, 5, ttl=60, late="refuse")
    clock.advance(60 * SECOND)
    lines = size(ent)
    with pytest.raises(HoldExpired, match="refuses late settling: charge anew, or let it go"):
        hold.settle(5)
    assert (size(ent), standing(ent)) == (lines, (10, 0, 0))
    assert hold.release()


def test_a_hold_that_lapsed_can_be_released_once_and_not_settled_after_that(ent, clock):
    grant(ent, 10)
    hold = reserve(ent, 5, ttl=60)
    clock.advance(60 * SECOND)
    first, again = hold.release(), hold.release()
    assert unreplayed(first) == unreplayed(again)
    with pytest.raises(HoldClosed) as closed:
        hold.settle(5)
    assert (closed.value.state, standing(ent)) == ("released", (10, 0, 0))


@pytest.mark.parametrize("ttl", [None, timedelta(days=3650), 10 * 366 * 86400])
def test_a_hold_may_last_as_long_as_anybody_wants(ent, clock, ttl):
    grant(ent, 10)
    hold = reserve(ent, 5, ttl=ttl)
    clock.advance(timedelta(days=3649))
    assert standing(ent) == (5, 5, 0)
    assert hold.settle(5).receipt.late is False


def test_a_hold_lasts_an_hour_unless_told_otherwise(ent, clock):
    grant(ent, 10)
    reserve(ent, 5)
    clock.advance(HOUR - TICK)
    assert standing(ent)[1] == 5
    clock.advance(TICK)
    assert standing(ent)[1] == 0


def test_a_hold_that_would_end_after_all_time_is_refused(ent, clock):
    grant(ent, 10)
    clock.set(datetime(9999, 12, 31, 23, tzinfo=UTC))
    with pytest.raises(ValueError, match="beyond the year 9999"):
        reserve(ent, 1, ttl=2 * HOUR)


# --- when the block ends first


def test_a_held_part_of_a_block_can_be_settled_after_the_block_ended(ent, clock):
    grant(ent, 10, expires_in=60)
    hold = reserve(ent, 6)
    clock.advance(120 * SECOND)
    decision = hold.settle(4)
    assert (decision.used, decision.receipt.burned, decision.receipt.late) == (4, {"g": 4}, False)
    assert moves(ent)[2:] == [("expired", 4, "g"), ("settled", 4, "g"), ("released", 2, "g"), ("expired", 2, "g")]
    assert standing(ent) == (0, 0, 0)


def test_what_is_released_to_a_block_that_ended_expires_with_it(ent, clock):
    grant(ent, 10, expires_in=60)
    hold = reserve(ent, 6)
    clock.advance(60 * SECOND)
    hold.release()
    assert moves(ent)[2:] == [("expired", 4, "g"), ("released", 6, "g"), ("expired", 6, "g")]


def test_what_is_drawn_beyond_a_hold_does_not_come_from_a_block_that_ended(ent, clock):
    grant(ent, 10, expires_in=60)
    hold = reserve(ent, 6)
    clock.advance(60 * SECOND)
    assert not hold.settle(7)
    assert (hold.result.overage, hold.result.receipt.burned) == (1, {"g": 6})


# --- from elsewhere


def test_a_hold_is_settled_by_whoever_knows_its_id(opened, shared):
    one, other = opened(CATALOG, storage=shared), opened(CATALOG, storage=shared)
    grant(one, 10)
    reserve(one, 5)
    assert other.settle("acme", "h", 2)
    with pytest.raises(HoldClosed):
        one.release("acme", "h")
    assert standing(one) == standing(other) == (8, 0, 0)


def test_a_hold_is_settled_by_another_process_on_the_same_file(opened, database):
    ent = opened(CATALOG, storage=f"sqlite:///{database}")
    grant(ent, 10)
    reserve(ent, 5, ttl=None)
    document = dict(CATALOG.document)
    program = (
        "from entitlements import Entitlements\n"
        f"ent = Entitlements({document!r}, storage='sqlite:///{database}')\n"
        "print(ent.settle('acme', 'h', 2).receipt.booked)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("2\n", "")
    with pytest.raises(HoldClosed):
        ent.release("acme", "h")
    assert standing(ent) == (8, 0, 0)


def test_a_hold_on_a_credit_that_left_the_catalog_is_not_charged_and_can_be_released(ent, changed):
    grant(ent, 10)
    reserve(ent, 5)
    without = changed(credits={"ai": {"scale": 2}})
    denied = without.settle("acme", "h", 2)
    assert (denied.allowed, denied.code) == (False, "unknown_credit")
    assert standing(ent) == (5, 5, 0)
    assert without.release("acme", "h")
    assert standing(ent) == (10, 0, 0)


def test_a_hold_on_a_feature_that_left_the_catalog_is_not_counted_and_can_be_released(ent, changed):
    ent.reserve("acme", "seats", 5, key="h")
    without = changed(features={"chat": {"type": "metered"}}, plans={"free": {}})
    denied = without.settle("acme", "h", 2)
    assert (denied.allowed, denied.code) == (False, "unknown_feature")
    assert without.release("acme", "h")
    assert ent.check("acme", "seats").used == 0


# --- as a context


def test_a_body_that_ends_well_settles_the_whole_hold(ent):
    grant(ent, 10)
    with reserve(ent, 6) as hold:
        assert standing(ent) == (4, 6, 0)
    assert (hold.result.used, standing(ent)) == (6, (4, 0, 0))


def test_a_body_that_ends_well_settles_what_was_reported_last(ent):
    grant(ent, 10)
    with reserve(ent, 6) as hold:
        hold.report(1)
        hold.report("2")
    assert standing(ent) == (8, 0, 0)


def test_the_whole_of_a_soft_hold_is_what_was_asked_for_and_of_a_partial_one_what_there_was(ent):
    for credit in ("soft", "partial"):
        grant(ent, 4, credit, key=credit)
        with reserve(ent, 10, credit, key=f"hold {credit}"):
            pass
    assert (standing(ent, "soft"), standing(ent, "partial")) == ((0, 0, 6), (0, 0, 0))


def test_a_body_that_fails_releases(ent):
    grant(ent, 10)
    with suppress(ZeroDivisionError), reserve(ent, 6):
        1 / 0  # noqa: B018
    assert moves(ent)[-1] == ("released", 6, "g")
    assert standing(ent) == (10, 0, 0)


def test_a_body_that_fails_after_reporting_is_charged_what_it_reported(ent):
    grant(ent, 10)
    with suppress(ZeroDivisionError), reserve(ent, 6) as hold:
        hold.report(2)
        1 / 0  # noqa: B018
    assert standing(ent) == (8, 0, 0)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError])
@pytest.mark.parametrize(("reported", "after"), [(None, 10), (2, 8)])
def test_a_body_that_is_interrupted_settles_what_it_reported_and_else_releases(ent, error, reported, after):
    grant(ent, 10)
    with pytest.raises(error), reserve(ent, 6) as hold:
        if reported:
            hold.report(reported)
        raise error
    assert standing(ent) == (after, 0, 0)


def test_a_generator_that_is_closed_half_way_gives_back(ent):
    grant(ent, 10)

    def stream():
        with reserve(ent, 6) as hold:
            for words in range(6):
                hold.report(words + 1)
                yield words

    streaming = stream()
    next(streaming), next(streaming)
    streaming.close()
    assert standing(ent) == (8, 0, 0)


def test_a_task_that_is_cancelled_half_way_settles_at_once(ent):
    grant(ent, 10)

    async def work():
        async with reserve(ent, 6) as hold:
            hold.report(2)
            await asyncio.sleep(60)

    async def cancel():
        task = asyncio.create_task(work())
        await asyncio.sleep(0.01)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()
        return standing(ent)

    assert asyncio.run(cancel()) == (8, 0, 0)


@pytest.mark.parametrize(
    ("reported", "error", "used"), [(None, None, 6), (1, None, 1), (None, RuntimeError, 0), (1, RuntimeError, 1)]
)
def test_the_async_form_settles_and_releases_like_the_other(ent, reported, error, used):
    grant(ent, 10)

    async def work():
        async with reserve(ent, 6) as hold:
            await asyncio.sleep(0)
            if reported:
                hold.report(reported)
            if error:
                raise error

    with pytest.raises(error) if error else nullcontext():
        asyncio.run(work())
    assert standing(ent) == (10 - used, 0, 0)


def test_a_denied_hold_raises_on_entering_and_the_body_never_runs(ent):
    with pytest.raises(EntitlementDenied) as denied, reserve(ent, 1):
        pytest.fail("the body ran")
    assert denied.value.decision.code == "insufficient_credits"

    async def work():
        async with reserve(ent, 1):
            pytest.fail("the body ran")

    with pytest.raises(EntitlementDenied):
        asyncio.run(work())


def test_a_body_may_close_its_hold_itself(ent):
    grant(ent, 10)
    with reserve(ent, 6, key="settled") as hold:
        hold.settle(1)
    with suppress(ZeroDivisionError), reserve(ent, 6, key="released") as hold:
        hold.report(5)
        hold.release()
        1 / 0  # noqa: B018
    assert standing(ent) == (9, 0, 0)


@pytest.mark.parametrize("amount", [-1, 1.5, "1.001", MAX_UNITS, None, True])
def test_a_report_of_what_is_no_amount_is_refused_while_the_work_can_still_say_so(ent, amount):
    grant(ent, 10, "ai")
    with reserve(ent, 6, "ai") as hold:
        hold.report("1.50")
        with pytest.raises(AmountError):
            hold.report(amount)
    assert standing(ent, "ai") == (Decimal("8.50"), 0, 0)


def test_a_report_on_a_feature_has_the_scale_of_the_feature(ent):
    with ent.reserve("acme", "seats", 5, key="h") as hold:
        with pytest.raises(AmountError):
            hold.report("1.5")
        hold.report("2")
    assert ent.check("acme", "seats").used == 2


def test_a_hold_that_cannot_be_closed_does_not_hide_why_the_body_failed(ent, clock):
    grant(ent, 10)
    with pytest.raises(KeyboardInterrupt) as raised, reserve(ent, 6, ttl=5, late="refuse") as hold:
        hold.report(2)
        clock.advance(5 * SECOND)
        raise KeyboardInterrupt
    assert raised.value.__notes__ == ["hold 'h' was not closed either: " + str(expired(ent))]


def test_a_hold_that_cannot_be_closed_is_raised_where_the_body_ended_well(ent, clock):
    grant(ent, 10)
    with pytest.raises(HoldExpired), reserve(ent, 6, ttl=5, late="refuse"):
        clock.advance(5 * SECOND)
    with pytest.raises(StorageUnavailable), reserve(ent, 6, key="h2"):
        ent.close()


def test_a_hold_that_an_earlier_attempt_gave_back_is_not_entered_again(ent):
    grant(ent, 10)
    with suppress(ZeroDivisionError), reserve(ent, 6):
        raise ZeroDivisionError
    lines, again = size(ent), reserve(ent, 6)
    assert (bool(again), repr(again).removeprefix("Async")) == (True, "Hold('h', closed)")
    worked = []
    with pytest.raises(HoldClosed, match="released"), again:
        worked.append("and nobody could charge it")
    with pytest.raises(HoldClosed, match="released"), ent.customer("acme").reserve("chat", 2, key="c") as mine:
        mine.release()
        with mine:
            worked.append("as little")
    assert (worked, size(ent), standing(ent)) == ([], lines + 4, (10, 0, 0))


def test_a_hold_that_an_earlier_attempt_settled_is_entered_again_and_charged_once(ent):
    grant(ent, 10)
    for _ in range(2):
        with reserve(ent, 6) as hold:
            hold.report(4)
    assert (hold.result.receipt.replayed, standing(ent)) == (True, (6, 0, 0))


def test_a_hold_shows_its_state(ent):
    grant(ent, 10)
    hold = reserve(ent, 1)
    assert repr(hold).removeprefix("Async") == "Hold('h', open)"
    hold.release()
    assert repr(hold).removeprefix("Async") == "Hold('h', closed)"


def expired(ent):
    with pytest.raises(HoldExpired) as refused:
        ent.settle("acme", "h", 2)
    return refused.value


def unreplayed(decision):
    """A decision without what tells a replay from the first answer."""
    kept = decision.to_dict()
    del kept["receipt"]["replayed"]
    return kept


# --- usage of features


def calls(limit):
    """A catalog with one feature, `calls`, that everybody has with this limit."""
    plans = {"free": {"entitlements": {"calls": limit}}}
    features = {"calls": {"type": "metered"}}
    return Catalog.load({"version": 1, "default_plan": "free", "features": features, "plans": plans})


def used(ent, feature="seats", **more):
    return ent.check("acme", feature, requested=0, **more).used


def test_usage_that_is_held_counts_at_once(ent):
    hold = ent.reserve("acme", "seats", 7, key="h")
    assert (bool(hold), hold.decision.used, hold.decision.remaining, hold.decision.receipt.booked) == (True, 7, 3, 7)
    assert used(ent) == 7
    denied = ent.reserve("acme", "seats", 4, key="more")
    assert (bool(denied), denied.decision.code) == (False, "limit_reached")
    assert not ent.consume("acme", "seats", 4)
    assert ent.consume("acme", "seats", 3)


@pytest.mark.parametrize(("amount", "after"), [(0, 0), (3, 3), (7, 7), (9, 9)])
def test_settling_usage_counts_what_it_came_to(ent, amount, after):
    hold = ent.reserve("acme", "seats", 7, key="h")
    decision = hold.settle(amount)
    assert (decision.allowed, decision.used, decision.requested) == (True, after, amount)
    assert (decision.receipt.booked, decision.overage, decision.feature) == (amount, 0, "seats")
    assert used(ent) == after
    again = hold.settle(amount)
    assert unreplayed(again) == unreplayed(decision)


def test_settling_usage_beyond_the_limit_counts_all_of_it_and_answers_false(ent):
    decision = ent.reserve("acme", "seats", 7, key="h").settle(12)
    assert (decision.allowed, decision.code, decision.outcome) == (False, "limit_reached", "block")
    assert (decision.used, decision.overage, decision.receipt.booked) == (12, 2, 12)
    assert used(ent) == 12


@pytest.mark.parametrize(("held", "amount", "over"), [(13, 13, 3), (13, 11, 1), (13, 10, 0), (13, 15, 5), (8, 15, 5), (13, 0, 0)])
def test_settled_usage_tells_how_much_of_it_is_over_a_soft_limit_whether_it_was_held_or_not(opened, held, amount, over):
    ent = opened(calls({"limit": 10, "depletion": "soft"}))
    decision = ent.reserve("acme", "calls", held, key="h").settle(amount)
    assert (decision.allowed, decision.used, decision.overage) == (True, amount, over)
    assert ent.consume("beta", "calls", amount).overage == over
    assert ent.settle("acme", "h", amount).overage == over
    beside = ent.reserve("acme", "calls", 2, key="beside").settle(2)
    assert beside.overage == max(0, min(2, beside.used - 10))


def test_what_is_over_is_exact_whatever_the_decimal_context_of_the_host(opened):
    plans = {"free": {"entitlements": {"calls": {"limit": "10.25", "depletion": "soft"}}}}
    features = {"calls": {"type": "metered", "scale": 2}}
    ent = opened(Catalog.load({"version": 1, "default_plan": "free", "features": features, "plans": plans}))
    hold = ent.reserve("acme", "calls", "13333.33", key="h")
    with localcontext(Context(prec=2)):
        assert str(hold.settle("13333.33").overage) == "13323.08"


def test_settled_usage_that_was_held_in_a_window_that_is_over_is_not_over_the_limit_of_the_next(opened, clock):
    plans = {"free": {"entitlements": {"calls": {"limit": 10, "depletion": "soft"}}}}
    features = {"calls": {"type": "metered", "reset": {"every": "day", "align": "calendar"}}}
    ent = opened(Catalog.load({"version": 1, "default_plan": "free", "features": features, "plans": plans}))
    hold = ent.reserve("acme", "calls", 13, key="h", ttl=None)
    assert hold.decision.overage == 3
    clock.advance(DAY)
    decision = hold.settle(14)
    assert (decision.used, decision.overage) == (1, 0)


def test_settling_usage_beyond_a_feature_that_was_lost_meanwhile_is_overage_altogether(ent):
    hold = ent.reserve("acme", "seats", 2, key="h")
    ent.override("acme", "seats", mode="deny")
    decision = hold.settle(5)
    assert (decision.allowed, decision.code, decision.overage) == (False, "limit_reached", 3)


def test_releasing_usage_and_letting_it_lapse_give_it_back(ent, clock):
    ent.reserve("acme", "seats", 3, key="released").release()
    ent.reserve("acme", "seats", 4, key="lapsed", ttl=60)
    assert used(ent) == 4
    clock.advance(60 * SECOND)
    assert used(ent) == 0
    assert ent.consume("acme", "seats", 10)


def test_settling_usage_late_counts_it_anew(ent, clock):
    hold = ent.reserve("acme", "seats", 3, key="h", ttl=60)
    clock.advance(60 * SECOND)
    decision = hold.settle(2)
    assert (decision.allowed, decision.receipt.late, used(ent)) == (True, True, 2)
    other = ent.reserve("acme", "seats", 3, key="refuses", ttl=60, late="refuse")
    nothing = ent.reserve("acme", "seats", 3, key="nothing", ttl=60)
    clock.advance(60 * SECOND)
    with pytest.raises(HoldExpired):
        other.settle(2)
    assert nothing.settle(0).used == 2


def test_a_hold_remembers_its_window_and_gives_back_to_it(ent, clock):
    hold = ent.reserve("acme", "chat", 6, key="h", ttl=2 * DAY)
    clock.advance(DAY)
    assert used(ent, "chat") == 0
    assert ent.consume("acme", "chat", 9)
    hold.settle(2)
    assert (used(ent, "chat"), used(ent, "chat", at=START)) == (9, 2)


def test_what_settling_adds_to_a_hold_counts_in_the_window_of_now(ent, clock):
    hold = ent.reserve("acme", "chat", 6, key="h", ttl=2 * DAY)
    clock.advance(DAY)
    assert hold.settle(8)
    assert (used(ent, "chat"), used(ent, "chat", at=START)) == (2, 6)


def test_what_settling_adds_opens_a_window_of_first_use(ent, clock):
    hold = ent.reserve("acme", "images", 2, key="h", ttl=DAY)
    clock.advance(2 * HOUR)
    hold.settle(5)
    clock.advance(timedelta(minutes=59))
    assert used(ent, "images") == 3
    clock.advance(timedelta(minutes=1))
    assert used(ent, "images") == 0


def test_a_hold_of_no_usage_opens_no_window(ent, clock):
    ent.reserve("acme", "images", 0, key="h")
    assert [line.kind for line in ent.entries("acme")] == ["reserved", "usage_held"]


def test_usage_that_is_held_cannot_be_freed(ent):
    ent.consume("acme", "seats", 2)
    hold = ent.reserve("acme", "seats", 3, key="h")
    with pytest.raises(AmountError, match="2 in use"):
        ent.free("acme", "seats", 3)
    ent.free("acme", "seats", 2)
    hold.release()
    assert used(ent) == 0


def test_a_reset_leaves_held_usage_to_its_hold(ent):
    ent.consume("acme", "seats", 2)
    hold = ent.reserve("acme", "seats", 3, key="h")
    ent.reset_usage("acme", "seats")
    assert used(ent) == 3
    hold.settle(1)
    assert used(ent) == 1


def test_a_reset_after_a_hold_lapsed_resets_everything(ent, clock):
    ent.consume("acme", "seats", 2)
    ent.reserve("acme", "seats", 3, key="h", ttl=60)
    clock.advance(60 * SECOND)
    ent.reset_usage("acme", "seats")
    assert used(ent) == 0


def test_a_soft_limit_holds_beyond_and_says_so(opened):
    ent = opened(calls({"limit": 5, "depletion": "soft", "ceiling": 8}))
    hold = ent.reserve("acme", "calls", 7, key="h")
    assert (bool(hold), hold.decision.overage) == (True, 2)
    decision = hold.settle(8)
    assert (decision.allowed, decision.used, decision.overage) == (True, 8, 3)


def test_a_partial_limit_holds_what_fits_and_settles_that(opened):
    ent = opened(calls({"limit": 5, "depletion": "partial"}))
    with ent.reserve("acme", "calls", 7, key="h") as hold:
        assert hold.decision.receipt.booked == 5
    assert used(ent, "calls") == 5


def test_what_a_partial_limit_held_is_settled_also_where_a_soft_one_beside_it_is_shown(opened):
    monthly = {"limit": 5, "depletion": "partial", "reset": "month"}
    daily = {"limit": 3, "depletion": "soft", "ceiling": 5, "reset": "day"}
    document = {
        "version": 1,
        "features": {"calls": {"type": "metered", "reset": "month"}},
        "plans": {"pro": {"entitlements": {"calls": monthly}}},
        "promotions": {"launch": {"days": 9, "entitlements": {"calls": daily}}},
    }
    ent = opened(Catalog.load(document))
    ent.subscribe("acme", "pro")
    ent.promote("acme", "launch")
    with ent.reserve("acme", "calls", 7, key="h") as hold:
        assert (hold.decision.receipt.booked, hold.decision.soft) == (5, True)
    assert (hold.result.receipt.booked, used(ent, "calls")) == (5, 5)


def test_held_usage_is_bounded_like_all_usage(opened):
    ent = opened(calls("unlimited"))
    hold = ent.reserve("acme", "calls", MAX_UNITS, key="h")
    with pytest.raises(AmountError, match="more than a counter holds"):
        ent.reserve("acme", "calls", 1, key="one more")
    assert hold.settle(MAX_UNITS)


@pytest.mark.parametrize(
    ("feature", "said"), [("peak", "only sums can be held"), ("sso", "only metered features are used up")]
)
def test_only_sums_can_be_held(ent, feature, said):
    with pytest.raises(ValueError, match=said):
        ent.reserve("acme", feature, 1, key="h")
    assert size(ent) == 0


def test_a_hold_on_what_is_not_granted_is_denied(ent):
    ent.override("acme", "seats", mode="deny")
    hold = ent.reserve("acme", "seats", 1, key="h")
    assert (bool(hold), hold.decision.code) == (False, "denied_by_override")


def test_held_usage_carries_scope_and_dimensions(ent):
    ent.reserve("acme", "seats", 1, key="h", scope="team:a", dimensions={"model": "large"})
    held = ent.entries("acme")[-1]
    assert (held.kind, held.data) == ("usage_held", {"scope": {"team": "a"}, "dimensions": {"model": "large"}})


# --- what is said of it


def test_releasing_says_what_became_of_the_hold_now_and_when_asked_again(ent, clock):
    grant(ent, 10)
    hold = reserve(ent, 4, ttl=60)
    said = "allowed: hold 'h' is released, and gave back what it held"
    assert [str(ent.release("acme", hold.id)) for _ in range(2)] == [said, said]
    usage = ent.reserve("acme", "chat", 2, key="u", ttl=60)
    clock.advance(61 * SECOND)
    said = "allowed: hold 'u' ended on 2026-03-10 12:01 UTC, and gave back what it held then"
    assert [str(ent.release("acme", usage.id)) for _ in range(2)] == [said, said]


@pytest.mark.parametrize(
    ("credit", "said"),
    [
        ("ai", "25.00 ai asked for, 10.00 booked, 15.00 short"),
        ("floored", "25 floored asked for, 20 booked, 5 short"),
    ],
)
def test_settling_more_than_there_is_says_what_was_booked_and_what_is_short(ent, credit, said):
    grant(ent, 10, credit)
    hold = reserve(ent, 4, credit)
    decision = hold.settle(25)
    assert (decision.allowed, str(decision.receipt.booked)) == (False, said.split()[4])
    assert decision.reason == f"{said}; grant more credits, and charge what is short under a key of its own"
