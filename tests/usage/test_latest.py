"""Features of which the latest sample counts: latest by when it was taken, in whatever order samples are told of."""

from datetime import timedelta
from itertools import permutations

import pytest

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SAMPLES = ((1, 40), (2, 10), (3, 30), (30, 20))
"""How many hours ago, and how much; the last was taken on the day before."""


@pytest.fixture
def ent(opened, shared):
    features = {
        "disk": {"type": "metered", "aggregate": "latest", "backdate": "40d", "scale": 1},
        "files": {"type": "metered", "aggregate": "latest", "reset": {"every": "day", "align": "calendar"}, "backdate": "40d"},
    }
    both = {"limits": [{"limit": 50}, {"limit": 50, "reset": {"every": "month", "align": "calendar"}}]}
    engine = opened({"version": 1, "features": features, "plans": {"pro": {"entitlements": {"disk": 50, "files": both}}}}, storage=shared)
    engine.subscribe("acme", "pro")
    return engine


def stands(ent, feature="disk", **more):
    return ent.check("acme", feature, requested=0, **more).used


def test_an_older_sample_that_comes_late_enters_the_log_and_counts_nothing(ent, clock):
    ent.record("acme", "disk", 20)
    clock.advance(5 * HOUR)
    ent.record("acme", "disk", 10)
    late = ent.record("acme", "disk", "20.5", occurred_at=clock() - 2 * HOUR, key="late")
    assert (late.allowed, late.used, late.overage, late.receipt.late, late.receipt.booked) == (True, 10, 0, True, late.requested)
    assert stands(ent) == 10
    lines = [entry for entry in ent.entries("acme") if entry.key == "late"]
    assert [(line.kind, line.amount, line.at) for line in lines] == [("recorded", 0, clock() - 2 * HOUR)]
    again = ent.record("acme", "disk", "20.5", occurred_at=clock() - 2 * HOUR, key="late")
    assert {**again.to_dict(), "receipt": None} == {**late.to_dict(), "receipt": None}
    ent.record("acme", "disk", 30, occurred_at=clock())
    assert (stands(ent), stands(ent, as_of=late.receipt.seq), ent.verify("acme")) == (30, 10, ())


@pytest.mark.parametrize("verb", ["consume", "record"])
@pytest.mark.parametrize("order", [*permutations(SAMPLES)][::3])
def test_in_whatever_order_they_come_the_newest_of_each_window_stands(ent, clock, verb, order):
    clock.set(clock() + 6 * HOUR)
    ent.set_budget("acme", "team:x", feature="files", limit=50, every="month")
    now = clock()
    for number, (hours, amount) in enumerate(order):
        told = {"occurred_at": now - hours * HOUR, "scope": "team:x"}
        for feature in ("disk", "files"):
            assert getattr(ent, verb)("acme", feature, amount, key=f"{feature}{number}", **told)
    assert (stands(ent), stands(ent, "files")) == (40, 40)
    (choice,) = ent.check("acme", "files", requested=0).allowances
    assert [limit.used for limit in choice.limits] == [40, 40]
    assert ent.check("acme", "files", requested=0, at=now).used == 40
    assert ent.usage_tree("acme")["team:x"].budgets[0].used == 40
    days = {entry.window: 0 for entry in ent.entries("acme") if entry.counter == "files/day (calendar)"}
    for entry in ent.entries("acme"):
        if entry.counter == "files/day (calendar)":
            days[entry.window] += entry.amount
    assert sorted(days.values()) == [20, 40]
    assert ent.verify("acme") == ()


def test_of_two_samples_of_one_instant_the_last_recorded_stands(ent, clock):
    then = clock()
    ent.record("acme", "disk", 10)
    ent.record("acme", "disk", 20)
    clock.advance(HOUR)
    ent.record("acme", "disk", 30, occurred_at=then)
    assert stands(ent) == 30


def test_a_limit_is_held_against_what_a_late_sample_would_change(ent, clock):
    taken = clock()
    clock.advance(DAY)
    ent.set_budget("acme", None, feature="disk", limit=40, every="none")
    ent.record("acme", "disk", 10, occurred_at=taken)
    assert not ent.consume("acme", "disk", 60, occurred_at=taken + HOUR)
    assert ent.consume("acme", "disk", 45, occurred_at=taken + HOUR).code == "budget_exceeded"
    assert ent.consume("acme", "disk", 60, occurred_at=taken - HOUR).used == 10
    assert ent.record("acme", "disk", 60, occurred_at=taken - HOUR).overage == 0


def test_a_correction_is_the_latest_there_is_of_its_instant(ent, clock):
    ent.record("acme", "disk", 10)
    clock.advance(5 * HOUR)
    ent.correct_usage("acme", "disk", 25, key="c")
    ent.record("acme", "disk", 20, occurred_at=clock() - HOUR)
    assert stands(ent) == 25
    ent.correct_usage("acme", "disk", 15, key="d", occurred_at=clock() - 2 * HOUR)
    ent.record("acme", "disk", 20, occurred_at=clock() - HOUR)
    assert (stands(ent), ent.record("acme", "disk", 5).used) == (15, 5)
    assert ent.verify("acme") == ()
