"""Usage put right: freed in the window it was taken in, and corrected to what it truly was."""

from datetime import timedelta

import pytest

from entitlements.errors import AmountError, IdempotencyConflict

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.fixture
def ent(opened):
    features = {
        "slots": {"type": "metered", "reset": {"every": "day", "align": "calendar"}},
        "peak": {"type": "metered", "aggregate": "max", "reset": "month"},
        "latest": {"type": "metered", "aggregate": "latest"},
        "sso": {"type": "boolean"},
    }
    limits = {"slots": {"limits": [{"limit": 5}, {"limit": 20, "reset": "month"}]}, "peak": 10, "latest": 10, "sso": True}
    plans = {"pro": {"entitlements": limits}, "max": {"entitlements": limits}}
    engine = opened({"version": 1, "features": features, "plans": plans})
    engine.subscribe("acme", "pro")
    return engine


def counts(ent):
    allowance = ent.check("acme", "slots", requested=0).allowances[0]
    return [limit.used for limit in allowance.limits]


def test_what_is_freed_goes_back_to_the_window_it_was_taken_in(ent, clock):
    ent.consume("acme", "slots", 4)
    taken = clock()
    clock.advance(DAY)
    ent.consume("acme", "slots", 2)
    freed = ent.free("acme", "slots", 3, occurred_at=taken, key="f")
    assert freed.receipt.late
    assert counts(ent) == [2, 3]
    with pytest.raises(AmountError, match="cannot free 2 of 'slots': 1 in use"):
        ent.free("acme", "slots", 2, occurred_at=taken)
    with pytest.raises(AmountError, match="2 in use since the last reset; say with occurred_at="):
        ent.free("acme", "slots", 3)
    assert ent.free("acme", "slots", 3, occurred_at=taken, key="f").receipt.replayed
    assert counts(ent) == [2, 3]


def test_what_is_freed_leaves_the_budgets_of_its_scope(ent):
    ent.set_budget("acme", "team:x", feature="slots", limit=3, every="day")
    ent.consume("acme", "slots", 3, scope="team:x")
    ent.free("acme", "slots", 2, scope="team:x")
    assert ent.usage_tree("acme")["team:x"].budgets[0].used == 1
    assert ent.verify("acme") == ()


def test_what_a_hold_set_aside_in_a_budget_is_not_freed(ent, clock):
    ent.set_budget("acme", "team:y", feature="slots", limit=3, every="none")
    ent.consume("acme", "slots", 2)
    ent.reserve("acme", "slots", 2, key="h", scope="team:y", ttl=60)
    ent.free("acme", "slots", 1, scope="team:y")
    budget = ent.usage_tree("acme")["team:y"].budgets[0]
    assert (budget.used, budget.held) == (0, 2)
    clock.advance(HOUR)
    ent.consume("acme", "slots", 1, scope="team:y")
    budget = ent.usage_tree("acme")["team:y"].budgets[0]
    assert (budget.used, budget.held) == (1, 0)
    assert ent.verify("acme") == ()


def test_a_budget_gives_up_what_is_used_beside_what_is_held(ent):
    ent.set_budget("acme", "team:y", feature="slots", limit=3, every="none")
    ent.consume("acme", "slots", 1, scope="team:y")
    ent.consume("acme", "slots", 1)
    ent.reserve("acme", "slots", 2, key="h", scope="team:y", ttl=60)
    ent.free("acme", "slots", 2, scope="team:y")
    budget = ent.usage_tree("acme")["team:y"].budgets[0]
    assert (budget.used, budget.held) == (0, 2)
    ent.release("acme", "h")
    assert ent.verify("acme") == ()


@pytest.mark.parametrize("taken", [0, 3])
def test_a_change_of_plan_that_resets_usage_leaves_what_is_held(ent, clock, taken):
    ent.consume("acme", "slots", taken)
    ent.reserve("acme", "slots", 2, key="h", ttl=60)
    ent.change_plan("acme", "max", usage="reset")
    assert counts(ent) == [2, 2]
    resets = [entry.amount for entry in ent.entries("acme") if entry.kind == "usage_reset"]
    assert resets == ([-3, -3] if taken else [])
    clock.advance(HOUR)
    ent.consume("acme", "peak", 1)
    assert counts(ent) == [0, 0]
    assert ent.verify("acme") == ()


def test_a_hold_gives_back_in_the_window_it_was_taken_in(ent, clock):
    hold = ent.reserve("acme", "slots", 4, key="h", ttl=None)
    clock.advance(DAY)
    ent.consume("acme", "slots", 2)
    hold.release()
    assert counts(ent) == [2, 2]


@pytest.mark.parametrize(("feature", "first", "right"), [("slots", 4, 1), ("slots", 1, 4), ("peak", 9, 3), ("latest", 2, 7)])
def test_usage_is_corrected_up_and_down_whatever_it_counts(ent, feature, first, right):
    ent.consume("acme", feature, first)
    corrected = ent.correct_usage("acme", feature, right, key="c", reason="counted twice by ann")
    assert (corrected.used, corrected.receipt.booked) == (right, right)
    assert ent.check("acme", feature, requested=0).used == right
    lines = [entry for entry in ent.entries("acme") if entry.kind == "usage_corrected"]
    assert {line.amount for line in lines} == {right - first}
    assert lines[0].data == {"reason": "counted twice by ann"}
    ent.erase("acme")
    assert "ann" not in repr(ent.entries("acme"))
    assert ent.verify("acme") == ()


def test_a_correction_leaves_what_is_held_and_reaches_any_window(ent, clock):
    ent.consume("acme", "slots", 3)
    ent.reserve("acme", "slots", 1, key="h", ttl=None)
    then = clock()
    clock.advance(40 * DAY)
    ent.correct_usage("acme", "slots", 0, key="c", occurred_at=then)
    assert ent.check("acme", "slots", requested=0, at=then).used == 1
    ent.release("acme", "h")
    assert ent.check("acme", "slots", requested=0, at=then).used == 0
    assert ent.verify("acme") == ()


def daily(opened, **feature):
    """Return an engine on a feature with limits for a day and a month, and one with 5 days of 10 uses each of it."""
    months = {"type": "metered", "reset": {"every": "month", "align": "calendar"}, **feature}
    day = {"limit": 20, "reset": {"every": "day", "align": "calendar"}}
    plans = {"p": {"entitlements": {"chat": {"limits": [day, {"limit": 200}]}}}, "m": {"entitlements": {"chat": 200}}}
    return opened({"version": 1, "features": {"chat": months}, "plans": plans})


def by_window(ent, **more):
    (allowance,) = ent.check("acme", "chat", requested=0, **more).allowances
    return [limit.used for limit in allowance.limits]


@pytest.mark.parametrize(("right", "stands"), [(3, [3, 53]), (0, [0, 50]), (9, [9, 59])])
@pytest.mark.parametrize("aggregate", ["sum", "count"])
def test_a_correction_is_of_the_shortest_window_and_moves_the_others_by_as_much(opened, clock, aggregate, right, stands):
    ent = daily(opened, aggregate=aggregate)
    ent.subscribe("acme", "p")
    for uses in (10, 10, 10, 10, 10, 5):
        clock.advance(DAY)
        for _ in range(uses):
            ent.consume("acme", "chat")
    assert ent.correct_usage("acme", "chat", right, key="c").receipt.booked == right
    assert by_window(ent) == stands
    ent.correct_usage("acme", "chat", 12, key="d", occurred_at=clock() - DAY)
    assert by_window(ent, at=clock() - DAY) == [12, stands[1] + 2]
    assert by_window(ent) == [right, stands[1] + 2]
    assert ent.verify("acme") == ()


def test_a_correction_is_of_a_window_that_the_customer_has_a_limit_in(opened, clock):
    ent = daily(opened)
    ent.subscribe("acme", "m")
    ent.consume("acme", "chat", 30)
    clock.advance(DAY)
    ent.reserve("acme", "chat", 4, key="h", ttl=60)
    ent.consume("acme", "chat", 5)
    assert ent.correct_usage("acme", "chat", 3, key="c").used == 3 + 4
    clock.advance(HOUR)
    ent.change_plan("acme", "p")
    assert by_window(ent) == [0, 3]
    assert ent.verify("acme") == ()


def test_no_correction_makes_a_counter_of_more_than_it_holds(opened, clock):
    ent = daily(opened)
    ent.subscribe("acme", "p")
    ent.record("acme", "chat", 2**63 - 10)
    clock.advance(DAY)
    with pytest.raises(AmountError, match="more than a counter holds"):
        ent.correct_usage("acme", "chat", 20, key="c")


def test_a_correction_with_the_key_of_another_says_which_argument_differs(ent):
    ent.correct_usage("acme", "slots", 3, key="c")
    with pytest.raises(IdempotencyConflict, match="used") as conflict:
        ent.correct_usage("acme", "slots", 4, key="c")
    assert (conflict.value.field, conflict.value.first, conflict.value.second) == ("used", "3", "4")
    with pytest.raises(IdempotencyConflict) as conflict:
        ent.correct_usage("acme", "peak", 3, key="c")
    assert conflict.value.field == "feature"


def test_what_cannot_be_corrected(ent):
    assert ent.correct_usage("acme", "slot", 1, key=None).code == "unknown_feature"
    assert ent.correct_usage("nobody", "slots", 1, key=None).code == "unknown_customer"
    with pytest.raises(ValueError, match="only metered features"):
        ent.correct_usage("acme", "sso", 1, key=None)
    with pytest.raises(AmountError):
        ent.correct_usage("acme", "slots", -1, key=None)
