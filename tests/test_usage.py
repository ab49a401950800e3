"""Usage: what is counted, in which window, against which limit, and what the answer says. On both storages."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from entitlements import UNLIMITED, Catalog
from entitlements.amounts import MAX_UNITS
from entitlements.errors import AmountError

START = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def catalog(*, feature=None, entitlement, default=True, **more):
    """Return a catalog with one metered feature, `tokens`, and one plan."""
    described = {"type": "metered", "reset": "month", **(feature or {})}
    plans = {"basic": {"entitlements": {"tokens": entitlement}}, **more.pop("plans", {})}
    top = {"default_plan": "basic"} if default else {}
    return Catalog.load({"version": 1, **top, "features": {"tokens": described}, "plans": plans, **more})


@pytest.fixture
def ent(opened):
    """An engine for a catalog with the one feature `tokens`."""
    return lambda entitlement, **feature: opened(catalog(entitlement=entitlement, feature=feature))


def consume(ent, amount=1, **more):
    return ent.consume("acme", "tokens", amount, **more)


def record(ent, amount=1, **more):
    return ent.record("acme", "tokens", amount, **more)


def used(ent, **more):
    return ent.check("acme", "tokens", requested=0, **more).used


def entries(ent):
    return [(entry.kind, entry.counter, entry.amount) for entry in ent.entries("acme")]


# --- hard limits


def test_a_hard_limit_lets_pass_what_fits_and_not_one_more(ent):
    ent = ent(10)
    first = consume(ent, 7)
    assert (first.allowed, first.used, first.remaining, first.limit, first.requested) == (True, 7, 3, 10, 7)
    assert consume(ent, 3).remaining == 0
    denied = consume(ent)
    assert (denied.allowed, denied.code, denied.used, denied.remaining, denied.overage) == (
        False, "limit_reached", 10, 0, 1
    )  # fmt: skip
    assert denied.receipt is None
    assert len(ent.entries("acme")) == 2


def test_more_than_is_left_is_denied_whole(ent):
    ent = ent(10)
    consume(ent, 7)
    assert not consume(ent, 4)
    assert used(ent) == 7


def test_a_check_answers_as_a_consume_would_and_writes_nothing(ent):
    ent = ent(10)
    consume(ent, 7)
    assert ent.check("acme", "tokens", requested=3)
    assert not ent.check("acme", "tokens", requested=4)
    assert ent.check("acme", "tokens").allowed
    assert used(ent) == 7


def test_a_receipt_says_what_was_booked(ent):
    ent = ent(10)
    receipt = consume(ent, "3", key="k").receipt
    assert (receipt.key, receipt.seq, receipt.replayed, receipt.late, receipt.booked) == ("k", 1, False, False, 3)
    assert consume(ent).receipt.key != consume(ent).receipt.key


def test_zero_is_consumed_even_where_nothing_is_left(ent):
    ent = ent(0)
    assert consume(ent, 0).allowed
    assert not consume(ent, 1)
    assert entries(ent) == [("used", "tokens/month", 0)]


def test_a_limit_of_zero_a_missing_feature_and_unlimited_are_three_answers(opened):
    plans = {"none": {"entitlements": {}}, "all": {"entitlements": {"tokens": "unlimited"}}}
    ent = opened(catalog(entitlement=0, plans=plans, default=False))
    for plan in ("basic", "none", "all"):
        ent.subscribe(plan, plan)
    zero, missing, unlimited = (ent.check(customer, "tokens") for customer in ("basic", "none", "all"))
    assert (zero.code, zero.limit, zero.used, zero.remaining) == ("limit_reached", 0, 0, 0)
    assert (missing.code, missing.limit, missing.used, missing.remaining) == ("not_in_plan", None, None, None)
    assert (unlimited.code, unlimited.limit, unlimited.remaining, unlimited.unlimited) == (
        "ok", UNLIMITED, UNLIMITED, True
    )  # fmt: skip
    assert [ent.consume(plan, "tokens").allowed for plan in ("basic", "none", "all")] == [False, False, True]


def test_unlimited_usage_is_counted(ent):
    ent = ent("unlimited")
    assert consume(ent, 10**12).used == 10**12
    assert consume(ent, MAX_UNITS - 10**12).used == MAX_UNITS


def test_a_counter_that_is_full_is_an_amount_error_and_nothing_is_written(ent):
    ent = ent("unlimited")
    consume(ent, MAX_UNITS)
    with pytest.raises(AmountError, match="'tokens' would come to more than a counter holds; reset or free it first"):
        consume(ent)
    assert len(ent.entries("acme")) == 1


# --- soft limits, ceilings, partial


def test_a_soft_limit_lets_everything_pass_and_says_how_much_is_over(ent):
    ent = ent({"limit": 10, "depletion": "soft"})
    consume(ent, 8)
    over = consume(ent, 5)
    assert (over.allowed, over.soft, over.used, over.remaining, over.overage, over.limit) == (True, True, 13, 0, 3, 10)
    assert consume(ent, 4).overage == 4


def test_a_ceiling_bounds_a_soft_limit(ent):
    ent = ent({"limit": 10, "depletion": "soft", "ceiling": 15})
    assert consume(ent, 14).ceiling == 15
    assert not consume(ent, 2)
    assert consume(ent, 1).used == 15
    assert ent.check("acme", "tokens").code == "limit_reached"


def test_partial_books_what_fits_and_says_so(ent):
    ent = ent({"limit": 10, "depletion": "partial"})
    consume(ent, 8)
    part = consume(ent, 5)
    assert (part.allowed, part.requested, part.receipt.booked, part.used, part.overage) == (True, 5, 2, 10, 3)
    assert not consume(ent)
    assert entries(ent) == [("used", "tokens/month", 8), ("used", "tokens/month", 2)]


@pytest.mark.parametrize(
    ("depletion", "allowed", "booked"), [("hard", False, None), ("partial", True, 10), ("soft", True, 12)]
)
def test_a_call_may_name_another_depletion(ent, depletion, allowed, booked):
    ent = ent(10)
    decision = consume(ent, 12, depletion=depletion)
    assert decision.allowed is allowed
    assert (decision.receipt.booked if decision.receipt else None) == booked


def test_a_call_may_be_stricter_than_a_soft_limit(ent):
    ent = ent({"limit": 10, "depletion": "soft", "ceiling": 20})
    assert not consume(ent, 11, depletion="hard")
    assert consume(ent, 11)


# --- record


def test_record_never_refuses_and_says_how_much_is_over(ent):
    ent = ent(10)
    over = record(ent, 12)
    assert (over.allowed, over.code, over.used, over.remaining, over.overage) == (True, "ok", 12, 0, 2)
    assert record(ent, 5).overage == 5
    assert not consume(ent)
    assert entries(ent)[0] == ("recorded", "tokens/month", 12)


def test_record_books_what_nothing_grants(opened):
    ent = opened(catalog(entitlement=5, default=False))
    decision = record(ent, 3)
    assert (decision.allowed, decision.limit, decision.overage, decision.receipt.booked) == (True, None, 3, 3)
    ent.subscribe("acme", "basic")
    assert used(ent) == 0  # the window of the subscription begins with it; what came before lies in the calendar month


def test_what_is_booked_and_granted_by_nothing_says_how_much_is_used(opened):
    ent = opened(catalog(entitlement=5, default=False))
    assert record(ent, 3).used == 3
    decision = record(ent, 4, key="k")
    assert (decision.used, decision.remaining, decision.source) == (7, None, None)
    assert decision.reason == "nothing acme holds grants tokens: 7 used"
    again = record(ent, 4, key="k")
    assert (again.receipt.replayed, again.used, again.reason) == (True, 7, decision.reason)
    assert ent.free("acme", "tokens", 2, key=None).reason == "nothing acme holds grants tokens: 5 used"
    ent.subscribe("acme", "basic")
    ent.set_status("acme", "paused")
    paused = record(ent, 2, key="paused")
    why = "the subscription to plan 'basic' is paused; set_status to active resumes it"
    assert paused.reason == f"{paused.used} of tokens used, which nothing grants; {why}"
    assert record(ent, 2, key="paused").reason == paused.reason


def test_record_of_an_unknown_feature_is_a_denial(ent):
    decision = ent(10).record("acme", "token", 3)
    assert (decision.allowed, decision.code) == (False, "unknown_feature")
    assert "did you mean 'tokens'?" in decision.reason


# --- several limits, several allowances


def test_several_limits_must_all_have_room(ent, clock):
    ent = ent({"limits": [{"limit": 5, "reset": {"every": "hour", "count": 5}}, {"limit": 8, "reset": "week"}]})
    first = consume(ent, 5)
    assert (first.limit, first.remaining) == (5, 0)
    assert not consume(ent)
    clock.advance(5 * HOUR)
    second = consume(ent, 3)
    assert second.used == 8
    assert (second.limit, second.remaining) == (8, 0)
    clock.advance(5 * HOUR)
    assert consume(ent).code == "limit_reached"
    (allowance,) = ent.check("acme", "tokens").allowances
    assert sorted((limit.every, limit.used, limit.limit) for limit in allowance.limits) == [
        ("5 hours", 0, 5), ("week", 8, 8)
    ]  # fmt: skip


def test_any_of_several_allowances_is_enough(opened, clock):
    plans = {"daily": {"product": "other", "entitlements": {"tokens": {"limit": 2, "reset": "day"}}}}
    ent = opened(catalog(entitlement=3, plans=plans, default=False, products={"other": {}}))
    ent.subscribe("acme", "basic")
    ent.subscribe("acme", "daily")
    shown = ent.check("acme", "tokens")
    assert {(allowance.every, allowance.limit) for allowance in shown.allowances} == {("month", 3), ("day", 2)}
    assert (shown.limit, shown.source) == (3, "plan:basic")
    assert [consume(ent).allowed for _ in range(4)] == [True, True, True, False]
    clock.advance(DAY)
    assert [consume(ent).allowed for _ in range(3)] == [True, True, False]
    assert {(allowance.every, allowance.used) for allowance in ent.check("acme", "tokens").allowances} == {
        ("month", 5), ("day", 2)
    }  # fmt: skip


# --- windows


@pytest.mark.parametrize(
    ("reset", "start", "end"),
    [
        ("hour", "2026-03-10T12:00", "2026-03-10T13:00"),
        ("day", "2026-03-10T12:00", "2026-03-11T12:00"),
        ("week", "2026-03-10T12:00", "2026-03-17T12:00"),
        ("month", "2026-03-10T12:00", "2026-04-10T12:00"),
        ("quarter", "2026-03-10T12:00", "2026-06-10T12:00"),
        ("year", "2026-03-10T12:00", "2027-03-10T12:00"),
        ({"every": "hour", "count": 5}, "2026-03-10T12:00", "2026-03-10T17:00"),
        ({"every": "hour", "align": "calendar"}, "2026-03-10T12:00", "2026-03-10T13:00"),
        ({"every": "day", "align": "calendar"}, "2026-03-10T00:00", "2026-03-11T00:00"),
        ({"every": "week", "align": "calendar"}, "2026-03-09T00:00", "2026-03-16T00:00"),
        ({"every": "month", "align": "calendar"}, "2026-03-01T00:00", "2026-04-01T00:00"),
        ({"every": "quarter", "align": "calendar"}, "2026-01-01T00:00", "2026-04-01T00:00"),
        ({"every": "year", "align": "calendar"}, "2026-01-01T00:00", "2027-01-01T00:00"),
        ({"every": "day", "align": "first_use"}, "2026-03-10T12:30", "2026-03-11T12:30"),
        ({"every": "hour", "count": 5, "align": "first_use"}, "2026-03-10T12:30", "2026-03-10T17:30"),
    ],
)
def test_a_window_is_where_its_period_says_and_the_count_starts_again_at_its_end(opened, clock, reset, start, end):
    ent = opened(catalog(entitlement=5, feature={"reset": reset}, default=False))
    ent.subscribe("acme", "basic")
    clock.advance(HOUR / 2)
    seen = consume(ent, 5)
    assert seen.window_start == datetime.fromisoformat(start).replace(tzinfo=UTC)
    assert seen.resets_at == datetime.fromisoformat(end).replace(tzinfo=UTC)
    clock.set(seen.resets_at - timedelta(microseconds=1))
    assert not consume(ent)
    clock.set(seen.resets_at)
    again = consume(ent)
    assert (again.used, again.window_start) == (1, seen.resets_at)


def test_a_window_follows_the_wall_clock_of_the_customer(opened, clock):
    ent = opened(catalog(entitlement=5, feature={"reset": {"every": "day", "align": "calendar"}}, default=False))
    ent.subscribe("acme", "basic", zone="Europe/Berlin")
    assert consume(ent).window_start == datetime(2026, 3, 9, 23, tzinfo=UTC)
    clock.set(datetime(2026, 3, 29, 12, tzinfo=UTC))
    seen = consume(ent)
    assert seen.resets_at - seen.window_start == 23 * HOUR


def test_a_month_end_clamps_and_does_not_drift(opened, clock):
    ent = opened(catalog(entitlement=5, default=False))
    ent.subscribe("acme", "basic", anchor=datetime(2026, 1, 31, tzinfo=UTC))
    resets = []
    for _ in range(3):
        resets.append(consume(ent).resets_at)
        clock.set(resets[-1])
    assert [(at.month, at.day) for at in resets] == [(3, 31), (4, 30), (5, 31)]


def test_a_count_without_a_reset_never_starts_again(ent, clock):
    ent = ent(5, reset="none")
    consume(ent, 3)
    clock.advance(4000 * DAY)
    seen = ent.check("acme", "tokens")
    assert (seen.used, seen.window_start, seen.resets_at) == (3, None, None)


def test_a_window_that_opens_at_first_use_is_not_open_before(ent, clock):
    ent = ent(5, reset={"every": "day", "align": "first_use"})
    assert ent.check("acme", "tokens").window_start is None
    assert not consume(ent, 6)
    clock.advance(HOUR)
    assert consume(ent).window_start == START + HOUR
    assert entries(ent) == [("opened", "tokens/day (first_use)", 0), ("used", "tokens/day (first_use)", 1)]


def test_nothing_used_opens_no_window(ent, clock):
    """Found in review: consuming zero opened the window."""
    ent = ent(5, reset={"every": "day", "align": "first_use"})
    consume(ent, 0)
    record(ent, 0)
    clock.advance(HOUR)
    assert consume(ent).window_start == START + HOUR


def test_usage_is_counted_in_every_period_the_catalog_names(opened, clock):
    plans = {"weekly": {"entitlements": {"tokens": {"limit": 50, "reset": "week"}}}}
    ent = opened(catalog(entitlement=100, plans=plans))
    ent.subscribe("acme", "basic")
    consume(ent, 30)
    ent.change_plan("acme", "weekly")
    assert used(ent) == 30


# --- late usage


def test_late_usage_counts_in_the_window_in_which_it_occurred(ent, clock):
    ent = ent(10, reset="day", backdate="2d")
    ent.subscribe("acme", "basic")
    clock.advance(DAY)
    late = record(ent, 4, occurred_at=START + HOUR)
    assert (late.receipt.late, late.used, late.window_start) == (True, 4, START)
    assert used(ent) == 0
    assert used(ent, at=START + HOUR) == 4
    entry = ent.entries("acme")[-1]
    assert (entry.at, entry.window, entry.recorded_at) == (START + HOUR, START, START + DAY)


def test_late_usage_of_a_window_that_opened_at_first_use_counts_in_the_last_that_opened(ent, clock):
    ent = ent(10, reset={"every": "hour", "count": 5, "align": "first_use"}, backdate="2d")
    consume(ent, 9)
    clock.advance(6 * HOUR)
    consume(ent)
    late = record(ent, 4, occurred_at=START + HOUR)
    assert (late.receipt.late, late.used, late.window_start, used(ent)) == (True, 5, START + 6 * HOUR, 5)
    assert ent.free("acme", "tokens", 4, occurred_at=START + HOUR).used == 1
    clock.advance(20 * HOUR)
    assert record(ent, 2, occurred_at=START + 12 * HOUR).window_start == START + 12 * HOUR


def test_late_usage_obeys_the_limit_of_its_own_window(ent, clock):
    ent = ent(10, reset="day", backdate="2d")
    ent.subscribe("acme", "basic")
    consume(ent, 8)
    clock.advance(DAY)
    assert not consume(ent, 3, occurred_at=START + HOUR)
    assert consume(ent, 2, occurred_at=START + HOUR).remaining == 0
    assert consume(ent, 10).allowed


@pytest.mark.parametrize(
    ("ago", "backdate", "refused"),
    [(2 * DAY, "2d", None), (2 * DAY + timedelta(microseconds=1), "2d", "takes usage up to 2d late"),
     (timedelta(microseconds=1), "0s", "takes no late usage"), (-timedelta(microseconds=1), "2d", "which is still to come")],
)  # fmt: skip
def test_usage_may_be_as_late_as_the_catalog_says(ent, ago, backdate, refused):
    ent = ent(10, backdate=backdate)
    if refused is None:
        assert record(ent, occurred_at=START - ago).receipt.late
        return
    with pytest.raises(ValueError, match=refused):
        record(ent, occurred_at=START - ago)
    assert ent.entries("acme") == ()


def test_usage_that_occurred_now_is_not_late(ent):
    assert not record(ent(10), occurred_at=START).receipt.late


# --- aggregates


def test_count_counts_each_use_once_whatever_its_amount(ent):
    ent = ent(2, aggregate="count")
    assert consume(ent, 40).used == 1
    assert consume(ent, 1).used == 2
    assert not consume(ent, 1)


def test_count_counts_no_use_of_nothing(ent):
    ent = ent(2, aggregate="count")
    assert [consume(ent, 0).used for _ in range(4)] == [0, 0, 0, 0]


def test_max_keeps_the_largest_report(ent):
    ent = ent(10, aggregate="max", reset="none")
    assert [record(ent, amount).used for amount in (4, 9, 2)] == [4, 9, 9]
    assert consume(ent, 9).allowed
    assert not consume(ent, 11)
    assert consume(ent, 10).used == 10


def test_latest_keeps_the_last_report(ent):
    ent = ent(10, aggregate="latest", reset="none")
    assert [record(ent, amount).used for amount in (4, 9, 2)] == [4, 9, 2]
    assert not consume(ent, 11)
    assert used(ent) == 2


def test_the_entries_of_every_aggregate_sum_to_its_counter(ent):
    ent = ent(100, aggregate="latest", reset="none")
    for amount in (4, 9, 2, 0, 7):
        record(ent, amount)
    assert sum(entry.amount for entry in ent.entries("acme") if entry.counter == "tokens/none") == used(ent) == 7


# --- free and reset


def test_a_seat_is_freed_and_taken_again(engine):
    engine.consume("acme", "seats", 2)
    assert not engine.consume("acme", "seats")
    freed = engine.free("acme", "seats", key="k")
    assert (freed.allowed, freed.used, freed.remaining, freed.receipt.booked) == (True, 1, 1, 1)
    assert engine.consume("acme", "seats").used == 2
    assert engine.free("acme", "seats", 2).used == 0


def test_no_more_is_freed_than_is_in_use(engine):
    engine.consume("acme", "seats", 2)
    with pytest.raises(AmountError, match="cannot free 3 of 'seats': 2 in use"):
        engine.free("acme", "seats", 3)
    assert engine.check("acme", "seats", requested=0).used == 2


@pytest.mark.parametrize("aggregate", ["count", "max", "latest"])
def test_only_sums_go_down(ent, aggregate):
    ent = ent(5, reset="none", aggregate=aggregate)
    consume(ent)
    with pytest.raises(ValueError, match="only sums go down"):
        ent.free("acme", "tokens")


def test_usage_is_reset_in_every_open_window(ent):
    ent = ent({"limits": [{"limit": 5, "reset": {"every": "hour", "count": 5}}, {"limit": 8, "reset": "week"}]})
    consume(ent, 4)
    reset = ent.reset_usage("acme", "tokens")
    assert (reset.allowed, reset.used, reset.receipt.booked) == (True, 0, 0)
    assert sorted(entries(ent)[-3:]) == [
        ("usage_reset", "tokens/5 hours", -4), ("usage_reset", "tokens/month", -4), ("usage_reset", "tokens/week", -4)
    ]  # fmt: skip
    assert consume(ent, 5).allowed


def test_a_reset_leaves_earlier_windows_as_they_were(ent, clock):
    ent = ent(10, reset="day")
    ent.subscribe("acme", "basic")
    consume(ent, 4)
    clock.advance(DAY)
    consume(ent, 3)
    ent.reset_usage("acme", "tokens")
    assert used(ent) == 0
    assert used(ent, at=START) == 4


@pytest.mark.parametrize(
    "call", [lambda ent: ent.free("acme", "tokens", 0), lambda ent: ent.reset_usage("acme", "tokens")]
)
def test_nothing_is_given_back_to_an_unknown_customer(opened, call):
    """Found in review: a log was opened, and the answer was yes."""
    ent = opened(catalog(entitlement=5, feature={"reset": "none"}, default=False))
    assert call(ent).code == "unknown_customer"
    assert ent.entries("acme") == ()


# --- scale


def test_fractions_are_exact_to_the_scale(ent):
    ent = ent("2.50", scale=2)
    first = consume(ent, "0.10")
    for _ in range(9):
        last = consume(ent, Decimal("0.10"))
    assert first.used == Decimal("0.10")
    assert (last.used, last.remaining, last.limit) == (Decimal("1.00"), Decimal("1.50"), Decimal("2.50"))
    assert str(last.used) == "1.00"
    assert consume(ent, 1).used == Decimal("2.00")
    assert not consume(ent, "0.51")
    assert consume(ent, "0.50").remaining == 0
    with pytest.raises(AmountError, match="its scale allows 2 decimal places"):
        consume(ent, "0.001")


def test_numbers_are_int_at_scale_zero_and_else_decimal(opened):
    whole = opened(catalog(entitlement={"limit": 9, "depletion": "soft", "ceiling": 12}))
    seen = consume(whole, "3")
    numbers = (seen.limit, seen.used, seen.remaining, seen.requested, seen.ceiling, seen.overage, seen.receipt.booked)
    assert {type(number) for number in numbers} == {int}


def test_numbers_are_decimal_at_a_scale(opened):
    exact = opened(catalog(entitlement={"limit": 9, "depletion": "soft", "ceiling": 12}, feature={"scale": 2}))
    seen = consume(exact, 3)
    numbers = (seen.limit, seen.used, seen.remaining, seen.requested, seen.ceiling, seen.overage, seen.receipt.booked)
    assert {type(number) for number in numbers} == {Decimal}
    assert [str(number) for number in numbers] == ["9.00", "3.00", "6.00", "3.00", "12.00", "0.00", "3.00"]


def test_json_spells_every_number_in_digits_that_are_accepted_again(ent):
    ent = ent("1", scale=9)
    spelled = consume(ent, "0.000000001").to_dict()["used"]
    assert spelled == "0.000000001"
    assert consume(ent, spelled)


# --- what the entry keeps


def test_an_entry_keeps_the_circumstances_of_its_usage(ent):
    ent = ent(10)
    decision = consume(ent, 1, scope="team:research/user:ann", dimensions={"model": "large"})
    assert decision.scope == {"team": "research", "user": "ann"}
    assert ent.entries("acme")[0].data == {
        "scope": {"team": "research", "user": "ann"},
        "dimensions": {"model": "large"},
    }


def test_nothing_that_a_caller_holds_is_part_of_the_log(ent):
    """Found in review: the scope of a decision was the scope of the entry, and could be changed."""
    ent, scope, dimensions = ent(10), {"team": "research"}, {"model": "large"}
    decision = consume(ent, 1, scope=scope, dimensions=dimensions)
    scope["team"] = dimensions["model"] = "other"
    with pytest.raises(TypeError, match="stays"):
        decision.scope["team"] = "other"
    assert ent.entries("acme")[0].data == {"scope": {"team": "research"}, "dimensions": {"model": "large"}}


def test_only_what_is_metered_is_used_up(engine):
    for verb in (engine.consume, engine.record, engine.free, engine.reset_usage):
        with pytest.raises(
            ValueError, match="feature 'exports' is boolean; only metered features are used up, check it"
        ):
            verb("acme", "exports")


def test_a_value_is_checked_against_the_order_of_the_catalog(engine):
    engine.subscribe("acme", "pro")
    assert engine.check("acme", "history").value == 7
    assert engine.check("acme", "history", value=7)
    assert engine.check("acme", "history", value=Decimal("7.0"))
    denied = engine.check("acme", "history", value=8)
    assert (denied.code, denied.value) == ("value_not_allowed", 7)


@pytest.mark.parametrize(
    ("feature", "value", "said"),
    [
        ("exports", True, "feature 'exports' is boolean; value= is for config features"),
        ("seats", 3, "feature 'seats' is metered; value= is for config features"),
        ("history", "7", "value is of type str; feature 'history' holds integer values"),
        ("history", True, "value is of type bool; feature 'history' holds integer values"),
        ("history", Decimal("7.5"), "value is of type Decimal; feature 'history' holds integer values"),
    ],
)
def test_a_value_of_another_type_is_refused(engine, feature, value, said):
    with pytest.raises(TypeError, match=said):
        engine.check("acme", feature, value=value)


def test_a_decimal_value_may_be_asked_in_any_exact_spelling(opened):
    """Found in review: what an override takes as text, a check refused."""
    features = {"ratio": {"type": "config", "value": "decimal", "prefer": "max"}}
    plans = {"basic": {"entitlements": {"ratio": "1.5"}}}
    ent = opened({"version": 1, "default_plan": "basic", "features": features, "plans": plans})
    assert [ent.check("acme", "ratio", value=value).allowed for value in (1, "1.50", Decimal("1.5"), "1.51", 2)] == [
        True, True, True, False, False
    ]  # fmt: skip
