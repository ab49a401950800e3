"""Plan credits: one grant for each period, whoever comes first and however late, and what a change of plan does."""

import csv
import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entitlements import Catalog, Entitlements
from entitlements.errors import CatalogError
from entitlements.reports.flows import adds_up
from entitlements.testing import FrozenClock, assert_sound

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def plan(grant=500, **terms):
    return {"credits": {"ai": {"grant": grant, "every": "month", **terms}}}


def catalog(**plans):
    default = {"default_plan": "free"} if "free" in plans else {}
    return {"version": 1, **default, "features": {"chat": {"type": "metered"}},
            "credits": {"ai": {"scale": 2, "currency": "USD"}}, "plans": plans}  # fmt: skip


@pytest.fixture
def clock():
    return FrozenClock(START)


@pytest.fixture
def ent(opened):
    return lambda **plans: opened(catalog(**plans))


def blocks(ent, who="acme", at=None):
    found = ent.balance(who, "ai", at=at).blocks
    return [(block.source, int(block.remaining), f"{block.effective_at:%m-%d}", block.expires_at and f"{block.expires_at:%m-%d}")
            for block in found]  # fmt: skip


def left(ent, who="acme"):
    return ent.balance(who, "ai").available


def granted(ent, who="acme"):
    return [(entry.data["block"].source, f"{entry.at:%m-%d}") for entry in ent.entries(who) if entry.kind == "granted"]


def test_a_plan_grants_at_once_and_once_a_period_clamped_from_the_anchor(ent, clock):
    ent = ent(pro=plan())
    ent.subscribe("acme", "pro")
    assert blocks(ent) == [("plan:pro", 500, "01-31", "02-28")]
    clock.set(datetime(2026, 2, 28, 11, 59, tzinfo=UTC))
    assert blocks(ent) == [("plan:pro", 500, "01-31", "02-28")]
    clock.set(datetime(2026, 2, 28, 12, tzinfo=UTC))
    assert blocks(ent) == [("plan:pro", 500, "02-28", "03-31")]
    assert len(ent.entries("acme")) == 3


def test_missed_periods_are_caught_up_each_with_its_own_end(ent, clock):
    ent = ent(pro=plan())
    ent.subscribe("acme", "pro")
    clock.advance(100 * DAY)
    assert ent.sweep("acme") == 6
    assert granted(ent) == [("plan:pro", day) for day in ("01-31", "02-28", "03-31", "04-30")]
    assert [f"{entry.at:%m-%d}" for entry in ent.entries("acme") if entry.kind == "expired"] == ["02-28", "03-31", "04-30"]
    assert ent.sweep("acme") == 0
    assert ent.verify("acme") == ()


def test_a_customer_without_a_plan_has_what_the_default_plan_grants_from_when_they_are_first_heard_of(ent, clock):
    ent = ent(free=plan(10, category="promotional"), pro=plan())
    assert blocks(ent, "new") == [("plan:free", 10, "01-31", "02-01")]
    assert ent.entries("new") == ()
    ent.consume_credits("new", "ai", 4, key="k")
    clock.advance(DAY)
    assert blocks(ent, "new") == [("plan:free", 10, "02-01", "03-01")]
    assert left(ent, "new") == 10


def test_who_subscribes_first_gets_nothing_of_the_default_plan_and_who_cancels_falls_back_on_it(ent, clock):
    ent = ent(free=plan(10), pro=plan())
    ent.subscribe("acme", "pro")
    assert left(ent) == 500
    ent.cancel("acme", at=START + 10 * DAY)
    assert left(ent) == 500
    clock.advance(10 * DAY)
    assert blocks(ent) == [("plan:free", 10, "02-10", "03-01"), ("plan:pro", 500, "01-31", "02-28")][::-1]
    clock.advance(30 * DAY)
    assert blocks(ent) == [("plan:free", 10, "03-01", "04-01")]


def test_a_paused_plan_grants_nothing_until_it_goes_on(ent, clock):
    ent = ent(pro=plan())
    ent.subscribe("acme", "pro")
    ent.set_status("acme", "paused")
    clock.set(datetime(2026, 3, 10, tzinfo=UTC))
    assert blocks(ent) == []
    ent.set_status("acme", "active")
    assert blocks(ent) == [("plan:pro", 500, "03-10", "03-31")]
    ent.set_status("acme", "past_due")
    clock.set(datetime(2026, 4, 1, tzinfo=UTC))
    assert blocks(ent) == [("plan:pro", 500, "03-31", "04-30")]


def test_what_a_trial_grants_ends_with_it_and_the_plan_bought_then_grants_its_own(ent, clock):
    ent = ent(pro={**plan(), "trial": {"days": 14}})
    ent.start_trial("acme", "pro")
    assert blocks(ent) == [("plan:pro", 500, "01-31", "02-14")]
    clock.advance(14 * DAY)
    assert blocks(ent) == []
    ent.subscribe("acme", "pro")
    assert blocks(ent) == [("plan:pro", 500, "02-14", "03-14")]


def test_a_plan_grants_what_the_nearest_plan_it_extends_grants(ent):
    ent = ent(base=plan(100), pro={"extends": "base"}, top={"extends": "pro", **plan(900)})
    for who, name in (("a", "pro"), ("b", "top")):
        ent.subscribe(who, name)
    assert (left(ent, "a"), left(ent, "b")) == (100, 900)


def test_debt_is_repaid_by_what_the_plan_grants(opened, clock):
    soft = catalog(pro=plan())
    soft["credits"]["ai"]["depletion"] = "soft"
    ent = opened(soft)
    ent.subscribe("acme", "pro")
    ent.consume_credits("acme", "ai", 600, key="k")
    assert ent.balance("acme", "ai").debt == 100
    clock.advance(28 * DAY)
    assert (ent.balance("acme", "ai").debt, left(ent)) == (0, 400)


# --- rollover


@pytest.mark.parametrize(
    ("rollover", "used", "rolled"),
    [
        ({}, 100, 400),
        ({"max": 250}, 100, 250),
        ({"fraction": "0.5"}, 100, 200),
        ({"fraction": "0.5", "max": 150}, 100, 150),
        ({"fraction": "0.333"}, 499, Decimal("0.33")),
        ({"fraction": 0}, 100, None),
        ({"max": 250}, 500, None),
    ],
)
def test_what_is_left_rolls_over_in_part_and_up_to_a_most(ent, clock, rollover, used, rolled):
    ent = ent(pro=plan(rollover=rollover))
    ent.subscribe("acme", "pro")
    ent.consume_credits("acme", "ai", used, key="k")
    clock.advance(28 * DAY)
    found = {block.source: block.remaining for block in ent.balance("acme", "ai").blocks}
    assert found == {"plan:pro": 500, **({"rollover:pro": rolled} if rolled else {})}


def test_what_rolled_over_lives_a_period_or_as_long_as_it_is_told_and_rolls_over_so_many_times(ent, clock):
    ent = ent(once=plan(rollover={}), long=plan(rollover={"expires_after": "45d", "times": 2}))
    ent.subscribe("a", "once")
    ent.subscribe("b", "long")
    clock.set(datetime(2026, 2, 28, 12, tzinfo=UTC))
    assert ("rollover:once", 500, "02-28", "03-31") in blocks(ent, "a")
    assert ("rollover:long", 500, "02-28", "04-14") in blocks(ent, "b")
    clock.set(datetime(2026, 3, 31, 12, tzinfo=UTC))
    assert [found for found in blocks(ent, "a") if found[0] == "rollover:once"] == [("rollover:once", 500, "03-31", "04-30")]
    clock.set(datetime(2026, 4, 14, 12, tzinfo=UTC))
    again = [found for found in blocks(ent, "b") if found[2] == "04-14"]
    assert again == [("rollover:long", 500, "04-14", "05-29")]
    clock.set(datetime(2026, 5, 29, 12, tzinfo=UTC))
    assert not [found for found in blocks(ent, "b") if found[2] in {"04-14", "05-29"}]


def test_what_rolls_over_in_the_last_year_there_is_ends_with_it_and_shuts_nobody_out(ent, clock):
    last = datetime.max.replace(tzinfo=UTC)
    clock.set(datetime(9999, 11, 20, tzinfo=UTC))
    ent = ent(long=plan(rollover={"expires_after": "45d", "times": 3}))
    ent.subscribe("acme", "long")
    clock.set(datetime(9999, 12, 25, tzinfo=UTC))
    assert ent.consume_credits("acme", "ai", 700, key="a")
    found = [(block.source, block.remaining, block.expires_at) for block in ent.balance("acme", "ai").blocks]
    assert found == [("plan:long", 300, last)]
    assert ent.balance("acme", "ai", at=last).available == 0
    clock.set(last - DAY)
    assert ent.consume_credits("acme", "ai", 300, key="b")
    assert ent.verify() == ()


@pytest.mark.parametrize("life", [{}, {"expires_after": "30d"}])
def test_what_rolls_over_in_a_trial_ends_with_it(ent, clock, life):
    ent = ent(pro=plan(rollover={"max": 50, **life}))
    ent.start_trial("acme", "pro", days=40)
    clock.set(datetime(2026, 2, 28, 12, tzinfo=UTC))
    assert blocks(ent) == [("rollover:pro", 50, "02-28", "03-12"), ("plan:pro", 500, "02-28", "03-12")]
    clock.set(datetime(2026, 3, 12, 12, tzinfo=UTC))
    assert blocks(ent) == []


@pytest.mark.parametrize("product", ["app", "web"])
def test_what_rolls_over_in_a_plan_that_was_bought_lives_its_period_whatever_is_lent_beside_it(opened, clock, product):
    """And whatever its product is called."""
    document = catalog(pro=plan(rollover={"max": 50}))
    document["products"], document["plans"]["pro"]["product"] = {product: {}}, product
    ent = opened(document)
    ent.subscribe("acme", "pro")
    clock.advance(10 * DAY)
    ent.start_trial("acme", "pro", days=25)
    clock.set(datetime(2026, 2, 28, 12, tzinfo=UTC))
    assert blocks(ent) == [("rollover:pro", 50, "02-28", "03-31"), ("plan:pro", 500, "02-28", "03-31")]


def test_nothing_rolls_over_once_the_plan_is_given_up(ent, clock):
    ent = ent(pro=plan(rollover={}))
    ent.subscribe("acme", "pro")
    ent.cancel("acme")
    clock.advance(28 * DAY)
    assert (left(ent), ent.balance("acme", "ai").blocks) == (0, ())


def test_what_a_hold_pins_does_not_roll_over_and_is_settled_all_the_same(ent, clock):
    ent = ent(pro=plan(rollover={}))
    ent.subscribe("acme", "pro")
    hold = ent.reserve_credits("acme", "ai", 100, key="h", ttl=None)
    clock.advance(28 * DAY)
    assert left(ent) == 900
    assert hold.settle(60).receipt.burned == {"$plan:pro/ai@1769860800000000": 60}
    assert left(ent) == 900
    assert ent.verify("acme") == ()


def test_the_cost_moves_with_what_rolls_over_and_adds_up(ent, clock):
    ent = ent(pro=plan(300, cost_basis="10.00", rollover={"fraction": "0.5"}))
    ent.subscribe("acme", "pro")
    ent.consume_credits("acme", "ai", 101, key="k")
    clock.advance(28 * DAY)
    during = {"start": START - DAY, "end": START + 28 * DAY + timedelta(seconds=1)}
    rows = {row.block: row.deferred for row in ent.revenue(**during).rows}
    first, rolled = rows["$plan:pro/ai@1769860800000000"], rows["$plan:pro/ai@1769860800000000+1772280000000000"]
    assert (first.recognised, first.moved, first.breakage, first.closing) == (
        Decimal("3.36"), Decimal("-3.32"), Decimal("3.32"), 0)  # fmt: skip
    assert (rolled.moved, rolled.closing) == (-first.moved, -first.moved)
    assert (first.sold, rolled.sold, first.voided, rolled.voided) == (10, 0, 0, 0)
    assert "every part adds up" in str(ent.statement("acme", "ai", **during))


@pytest.mark.parametrize("unused", ["keep", "convert"])
def test_what_lives_on_in_another_block_is_neither_sold_again_nor_voided(ent, clock, unused):
    ent = ent(pro=plan(100, cost_basis="9.00", unused=unused, rollover={"max": 30, "fraction": "0.5", "times": 2}), small={})
    ent.subscribe("acme", "pro")
    ent.consume_credits("acme", "ai", 60, key="k")
    months = [START.replace(day=1), *(datetime(2026, month, 1, tzinfo=UTC) for month in range(2, 7))]
    reports = []
    for month in months[1:]:
        clock.set(month + DAY)
        if month.month == 5:
            ent.change_plan("acme", "small")
        reports.append(ent.revenue(start=months[len(reports)], end=month))
    for report, following in zip(reports, [*reports[1:], None], strict=True):
        for flow in (*(row.deferred for row in report.rows), *(row.credits for row in report.rows)):
            assert adds_up(flow)
        (whole,) = report.totals
        assert (whole.deferred.moved, whole.credits.moved, whole.deferred.voided) == (0, 0, 0)
        assert adds_up(whole.deferred)
        assert following is None or whole.deferred.closing == following.totals[0].deferred.opening
    assert [report.totals[0].deferred.sold for report in reports] == [9, 9, 9, 9, 0]
    ent.sweep("acme")
    assert [ent.revenue(start=start, end=end) for start, end in pairwise(months)] == reports
    stated = ent.statement("acme", "ai", start=months[0], end=months[-1])
    assert (stated.paid.deferred.sold, stated.paid.credits.granted, stated.paid.credits.moved) == (36, 400, 0)
    assert stated.adds_up
    said = "rolled over from plan pro, paid, until 2026-03-31" if unused == "keep" else "converted from plan pro, paid"
    assert any(line.what.startswith(said) for line in stated.lines)


def test_what_moved_between_blocks_is_shown_where_something_did(ent, clock):
    ent = ent(pro=plan(100, cost_basis="9.00", rollover={"max": 30}))
    ent.subscribe("acme", "pro")
    before = ent.revenue(start=START, end=START + DAY)
    assert ("MOVED" in str(before), "moved" in before.to_csv(), "moved" in before.to_dict()["rows"][0]["credits"]) == (
        False, True, True)  # fmt: skip
    clock.advance(28 * DAY)
    after = ent.revenue(start=START + DAY, end=START + 29 * DAY)
    heads, out, into = map(str.split, str(after).splitlines()[2:5])
    assert heads[-8:] == ["OPENING", "SOLD", "RECOGNISED", "BREAKAGE", "VOIDED", "REFUNDED", "MOVED", "CLOSING"]
    assert out[-8:] == ["9.00", "0.00", "0.00", "6.30", "0.00", "0.00", "-2.70", "0.00"]
    assert into[-8:] == ["0.00", "0.00", "0.00", "0.00", "0.00", "0.00", "2.70", "2.70"]
    rows = list(csv.DictReader(io.StringIO(after.to_csv())))
    assert [(row["credits_moved"], row["deferred_moved"]) for row in rows] == [
        ("-30.00", "-2.70"), ("30.00", "2.70"), ("0.00", "0.00")]  # fmt: skip


def test_a_closed_month_is_told_in_the_same_order_before_and_after_it_is_booked(ent, clock):
    ent = ent(pro=plan(100, cost_basis="9.00", rollover={"max": 30}))
    ent.subscribe("acme", "pro")
    ent.grant_credits("acme", "ai", 5, key="z", cost_basis="1.00")
    ent.grant_credits("acme", "ai", 5, key="a", cost_basis="1.00")
    clock.advance(70 * DAY)
    closed = {"start": START, "end": START + 60 * DAY}
    before = ent.revenue(**closed)
    assert [row.block.partition("@")[0] for row in before.rows] == ["$plan:pro/ai", "z", "a", *["$plan:pro/ai"] * 4]
    ent.sweep("acme")
    ent.grant_credits("acme", "ai", 5, key="b", cost_basis="1.00")
    after = ent.revenue(**closed)
    assert (after.rows, after.to_csv(), str(after)) == (before.rows, before.to_csv(), str(before))


# --- changes of plan


def test_an_upgrade_grants_in_full_and_keeps_what_is_left_and_what_was_bought(ent, clock):
    ent = ent(pro=plan(), top=plan(1000))
    ent.subscribe("acme", "pro")
    ent.grant_credits("acme", "ai", 7, key="bought")
    ent.consume_credits("acme", "ai", 100, key="k")
    clock.advance(10 * DAY)
    ent.change_plan("acme", "top")
    assert sorted(blocks(ent)) == [
        ("grant", 7, "01-31", None), ("plan:pro", 400, "01-31", "02-28"), ("plan:top", 1000, "02-10", "02-28"),
    ]  # fmt: skip
    clock.set(datetime(2026, 2, 28, 12, tzinfo=UTC))
    assert sorted(blocks(ent)) == [("grant", 7, "01-31", None), ("plan:top", 1000, "02-28", "03-31")]


def test_nothing_is_won_by_switching_back_and_forth_or_by_cancelling_and_coming_back(ent, clock):
    ent = ent(free=plan(10), pro=plan())
    ent.subscribe("acme", "free")
    for _ in range(3):
        ent.change_plan("acme", "pro")
        clock.advance(DAY)
        ent.change_plan("acme", "free")
        ent.cancel("acme")
        ent.subscribe("acme", "pro")
        ent.cancel("acme")
        ent.subscribe("acme", "free")
    assert sorted(granted(ent)) == [("plan:free", "01-31"), ("plan:pro", "01-31")]
    assert left(ent) == 510


def test_who_comes_back_is_granted_again_when_the_period_paid_for_is_over(ent, clock):
    ent = ent(pro=plan())
    ent.subscribe("acme", "pro")
    clock.advance(20 * DAY)
    ent.cancel("acme")
    ent.subscribe("acme", "pro")
    clock.set(datetime(2026, 2, 28, 12, tzinfo=UTC))
    assert blocks(ent) == [("plan:pro", 357, "02-28", "03-20")]
    assert left(ent) == Decimal("357.14")  # 20 of 28 days, rounded down
    clock.set(datetime(2026, 3, 20, 12, tzinfo=UTC))
    assert blocks(ent) == [("plan:pro", 500, "03-20", "04-20")]


def test_coming_back_again_and_again_wins_nothing_and_loses_nothing(ent, clock):
    ent = ent(pro=plan(100))
    ent.subscribe("acme", "pro")
    for day in range(1, 121):
        clock.advance(DAY)
        if day in {2, 32, 62, 92}:
            ent.cancel("acme")
            ent.subscribe("acme", "pro")
    ent.sweep("acme")
    amounts = [entry.data["block"].amount for entry in ent.entries("acme") if entry.kind == "granted"]
    assert [str(amount) for amount in amounts] == ["100.00", "7.14", "100.00", "6.45", "96.66", "100.00"]
    assert granted(ent)[1:3] == [("plan:pro", "02-28"), ("plan:pro", "03-02")]


def test_a_part_that_comes_to_nothing_is_passed_over(opened, clock):
    whole = catalog(pro=plan(1))
    whole["credits"]["ai"]["scale"] = 0
    ent = opened(whole)
    ent.subscribe("acme", "pro")
    clock.advance(20 * DAY)
    ent.cancel("acme")
    ent.subscribe("acme", "pro")
    clock.set(datetime(2026, 2, 28, 12, tzinfo=UTC))
    assert blocks(ent) == []
    clock.set(datetime(2026, 3, 20, 12, tzinfo=UTC))
    assert blocks(ent) == [("plan:pro", 1, "03-20", "04-20")]


def test_of_several_trials_in_a_period_the_first_alone_grants(ent, clock):
    ent = ent(pro=plan())
    for _ in range(3):
        ent.start_trial("acme", "pro", days=1)
        clock.advance(2 * DAY)
    assert granted(ent) == [("plan:pro", "01-31")]
    clock.set(datetime(2026, 2, 28, 12, tzinfo=UTC))
    ent.start_trial("acme", "pro", days=1)
    assert granted(ent) == [("plan:pro", "01-31"), ("plan:pro", "02-28")]


def test_a_trial_grants_nothing_for_a_period_of_a_plan_that_was_bought(ent, clock):
    ent = ent(pro=plan())
    ent.subscribe("acme", "pro")
    ent.cancel("acme")
    ent.start_trial("acme", "pro", days=90)
    assert granted(ent) == [("plan:pro", "01-31")]
    clock.set(datetime(2026, 2, 28, 12, tzinfo=UTC))
    assert blocks(ent) == [("plan:pro", 500, "02-28", "03-31")]


def test_a_plan_bought_in_its_trial_grants_at_once_and_the_next_trial_waits_for_what_both_gave(ent, clock):
    ent = ent(pro=plan())
    ent.start_trial("acme", "pro", days=14)
    ent.subscribe("acme", "pro")
    assert [found[1:] for found in blocks(ent)] == [(500, "01-31", "02-14"), (500, "01-31", "02-28")]
    ent.cancel("acme")
    clock.set(datetime(2026, 2, 28, 12, tzinfo=UTC))
    ent.start_trial("acme", "pro", days=90)
    clock.set(datetime(2026, 3, 27, 12, tzinfo=UTC))
    assert left(ent) == 0
    clock.set(datetime(2026, 3, 28, 12, tzinfo=UTC))
    assert left(ent) == 500
    assert ent.verify("acme") == ()


def test_a_plan_and_its_trial_that_begin_together_grant_once(ent, clock):
    ent = ent(pro=plan())
    ent.override("acme", "chat", 1)
    ent.start_trial("acme", "pro", days=14, at=START + DAY)
    ent.subscribe("acme", "pro", at=START + DAY)
    clock.advance(DAY)
    assert blocks(ent) == [("plan:pro", 500, "02-01", "03-01")]


def test_a_plan_bought_for_the_last_hour_of_each_period_counts_as_all_of_it_for_its_trial(ent, clock):
    """Or who is in a trial has all that it lends, and all that is bought, too."""
    ent = ent(pro=plan(24, every="day"), none={})
    ent.subscribe("acme", "none")
    ent.start_trial("acme", "pro", days=40)
    for _ in range(20):
        clock.advance(timedelta(hours=23))
        ent.change_plan("acme", "pro")
        ent.change_plan("acme", "none")
        clock.advance(timedelta(hours=1))
    ent.sweep("acme")
    grants = [entry for entry in ent.entries("acme", limit=1000) if entry.kind == "granted"]
    bought = [entry for entry in grants if not entry.block.startswith("$plan:trial:")]
    assert (len(bought), sum(entry.amount for entry in bought)) == (20, 20 * 2400)
    assert sum(entry.amount for entry in grants) < (20 + 4) * 2400
    assert_sound(ent, "acme")


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_whatever_is_taken_and_given_up_no_span_of_time_is_granted_more_than_its_periods(data):  # noqa: C901
    """The law of ledger/README.md: of a span, less than its periods and two more, and two more with a trial."""
    every, count = data.draw(st.sampled_from([("day", 1), ("week", 1), ("month", 1)]))
    period = timedelta(days=28) if every == "month" else count * {"day": DAY, "week": 7 * DAY}[every]
    whole = 700
    clock = FrozenClock(START)
    ent = Entitlements(
        catalog(pro=plan(7, every=every, count=count), none={}),
        storage="memory:", clock=clock,
    )  # fmt: skip
    held = None
    hour = timedelta(hours=1)
    steps = st.one_of(st.sampled_from([timedelta(0), hour, DAY + hour, DAY + hour, period, period + hour]),
                      st.integers(0, int(2 * period / hour)).map(lambda n: n * hour))  # fmt: skip
    verbs = st.sampled_from(["take", "take", "take again", "take again", "take again", "give up", "give up", "change", "trial", "trial", "trial", "pause", "go on"])
    for _ in range(data.draw(st.integers(2, 14))):
        clock.advance(data.draw(steps))
        verb = data.draw(verbs)
        if verb == "take again" and held is not None:
            ent.cancel("acme")
            ent.subscribe("acme", "pro")
            held = "pro"
        elif verb in {"take", "take again"} and held is None:
            held = data.draw(st.sampled_from(["pro", "pro", "none"]))
            ent.subscribe("acme", held)
        elif verb == "trial":
            ent.start_trial("acme", "pro", days=data.draw(st.sampled_from([1, 3, 40])))
        elif held is not None and verb == "give up":
            ent.cancel("acme")
            held = None
        elif held is not None and verb == "change":
            held = "pro" if held == "none" else "none"
            ent.change_plan("acme", held)
        elif held is not None and verb in {"pause", "go on"}:
            ent.set_status("acme", "paused" if verb == "pause" else "active")
    clock.advance(3 * period)
    ent.consume_credits("acme", "ai", 0, key=None)
    grants = [(entry.at, entry.amount, entry.block.startswith("$plan:trial:")) for entry in ent.entries("acme", limit=10**6) if entry.kind == "granted"]
    for lent, most in ((False, 2), (True, 2), (None, 4)):
        mine = [(at, units) for at, units, is_lent in grants if lent in {None, is_lent}]
        for first, (begins, _) in enumerate(mine):
            for last in range(first, len(mine)):
                units = sum(units for _, units in mine[first : last + 1])
                assert units < whole * ((mine[last][0] - begins) / period + most), (lent, mine[first : last + 1])
    assert ent.verify() == ()


@pytest.mark.parametrize(
    ("terms", "now", "then"),
    [
        ({}, [("plan:top", 1000, "02-10", "02-28")], [("plan:top", 1000, "02-28", "03-31")]),
        ({"allowance": "prorate"}, [("plan:top", 642, "02-10", "02-28")], [("plan:top", 1000, "02-28", "03-31")]),
        ({"allowance": "next_period"}, [], [("plan:top", 1000, "02-28", "03-31")]),
    ],
)
def test_what_the_rest_of_the_period_gives_on_a_change(ent, clock, terms, now, then):
    ent = ent(pro={}, top=plan(1000, **terms))
    ent.subscribe("acme", "pro")
    clock.advance(10 * DAY)
    ent.change_plan("acme", "top")
    assert blocks(ent) == now
    clock.set(datetime(2026, 2, 28, 12, tzinfo=UTC))
    assert blocks(ent) == then
    ent.subscribe("other", "top")
    assert left(ent, "other") == 1000


def test_a_part_of_a_grant_bears_its_part_of_the_cost(ent, clock):
    ent = ent(pro={}, top=plan(1000, allowance="prorate", cost_basis="9.00"))
    ent.subscribe("acme", "pro")
    clock.advance(10 * DAY)
    ent.change_plan("acme", "top")
    (block,) = ent.balance("acme", "ai").blocks
    assert (block.amount, block.cost_basis) == (Decimal("642.86"), Decimal("5.78"))


@pytest.mark.parametrize("when", ["at once", "later"])
@pytest.mark.parametrize(
    ("unused", "kept"),
    [
        ("keep", [("plan:pro", 400, "01-31", "02-28")]),
        ("forfeit", []),
        ("convert", [("converted:pro", 400, "02-10", None)]),
    ],
)
def test_what_becomes_of_what_is_unused_on_a_change(ent, clock, when, unused, kept):
    ent = ent(pro=plan(unused=unused, cost_basis="9.00"), small=plan(20))
    ent.subscribe("acme", "pro")
    ent.grant_credits("acme", "ai", 7, key="bought")
    ent.consume_credits("acme", "ai", 100, key="k")
    if when == "later":
        ent.change_plan("acme", "small", at=START + 10 * DAY)
        assert left(ent) == 407
    clock.advance(10 * DAY)
    if when == "at once":
        ent.change_plan("acme", "small")
    expected = sorted([*kept, ("grant", 7, "01-31", None), ("plan:small", 20, "02-10", "02-28")], key=str)
    assert sorted(blocks(ent), key=str) == expected
    ent.sweep("acme")
    assert sorted(blocks(ent), key=str) == expected
    assert ent.sweep("acme") == 0
    during = {"start": START - DAY, "end": START + 11 * DAY}
    assert "every part adds up" in str(ent.statement("acme", "ai", **during))
    assert ent.verify("acme") == ()


@pytest.mark.parametrize("owed", [0, 40])
def test_what_is_forfeited_is_what_is_left_whether_or_not_anybody_came_in_between(opened, clock, owed):
    document = catalog(pro=plan(10, every="week", unused="forfeit"), top=plan(1000))
    document["credits"]["ai"]["depletion"] = "soft"
    ent, weeks = opened(document), {"late": (), "always": (1, 2, 3, 4), "once": (2,), "at the end": (4,)}
    for who in weeks:
        ent.subscribe(who, "pro")
        ent.consume_credits(who, "ai", 10 + owed, key="k")
        ent.change_plan(who, "top", at=START + 29 * DAY)
    for week in range(1, 5):
        clock.advance(7 * DAY)
        for who, swept in weeks.items():
            if week in swept:
                ent.sweep(who)
    clock.advance(2 * DAY)
    booked = {who: [] for who in weeks}
    for who in weeks:
        ent.sweep(who)
        booked[who] = [(e.kind, e.block, e.amount, e.at) for e in ent.entries(who, limit=1000) if e.block]
    assert all(lines == booked["always"] for lines in booked.values())
    assert [amount for kind, _, amount, _ in booked["late"] if kind == "voided"] == ([] if owed else [1000])


@pytest.mark.parametrize("spent", [1, 499, 500])
@pytest.mark.parametrize("when", ["before it is left", "as it is left", "later"])
@pytest.mark.parametrize("booked", [True, False])
def test_what_comes_back_to_a_forfeited_block_is_forfeited_too_however_much_was_left_of_it(
    ent, clock, spent, when, booked
):
    ent, left_at = ent(pro=plan(unused="forfeit", cost_basis="9.00"), top={}), START + 10 * DAY
    ent.subscribe("acme", "pro")
    ent.consume_credits("acme", "ai", spent, key="k")
    ent.change_plan("acme", "top", at=left_at)
    clock.set({"before it is left": START + DAY, "as it is left": left_at, "later": START + 12 * DAY}[when])
    if booked:
        ent.sweep("acme")
    decision = ent.refund("acme", "k", key="r")
    assert decision.receipt.booked == spent
    assert left(ent) == (500 if when == "before it is left" else 0)
    clock.set(START + 12 * DAY)
    assert left(ent) == 0
    ent.sweep("acme")
    assert ent.verify("acme") == ()
    (row,) = ent.revenue(start=START - DAY, end=START + 13 * DAY).rows
    assert (row.credits.voided, row.credits.closing, row.deferred.closing) == (500, 0, 0)
    assert adds_up(row.deferred)


def test_what_the_plan_grants_anew_is_not_forfeited_although_one_batch_books_both(opened, clock):
    ent = opened(catalog(pro=plan(unused="forfeit"), top={}))
    ent.subscribe("acme", "pro")
    ent.change_plan("acme", "top", at=START + 10 * DAY)
    ent.change_plan("acme", "pro", at=START + 35 * DAY)
    clock.set(START + 36 * DAY)
    assert ent.consume_credits("acme", "ai", 500, key="k")
    ent.refund("acme", "k", 3, key="r")
    assert left(ent) == 3
    assert ent.verify("acme") == ()


@pytest.mark.parametrize("when", ["before it is left", "later"])
def test_what_comes_back_to_a_block_that_had_ended_before_its_plan_was_left_has_expired(opened, shared, clock, when):
    """So it is breakage, whenever the refund is booked: it was never forfeited."""
    document = catalog(pro=plan(unused="forfeit", cost_basis="9.00"), top={})
    ent, (first, last) = opened(document, storage=shared), (START + 40 * DAY, START + 45 * DAY)
    ent.subscribe("acme", "pro")
    ent.consume_credits("acme", "ai", 500, key="k")
    clock.set(first)
    if when != "later":
        ent.refund("acme", "k", key="r")
    ent.change_plan("acme", "top")
    clock.set(last)
    again = opened(document, storage=shared)  # which reads the head from its rows
    if when == "later":
        again.refund("acme", "k", key="r")
    ended, forfeited = again.revenue(start=START - DAY, end=last + DAY).rows
    assert (ended.credits.expired, ended.credits.voided, ended.deferred.breakage) == (500, 0, Decimal("9.00"))
    assert (forfeited.credits.expired, forfeited.credits.voided) == (0, 500)
    assert again.verify("acme") == ()


def test_what_comes_back_to_a_block_forfeited_once_is_forfeited_although_its_plan_was_left_again_after_it_had_ended(opened, shared, clock):
    document = catalog(pro=plan(unused="forfeit", cost_basis="9.00"), top={})
    ent = opened(document, storage=shared)
    ent.subscribe("acme", "pro")
    ent.consume_credits("acme", "ai", 500, key="k")
    clock.advance(10 * DAY)
    ent.change_plan("acme", "top")
    clock.advance(30 * DAY)
    ent.change_plan("acme", "pro")
    ent.change_plan("acme", "top")
    again = opened(document, storage=shared)  # which reads the head from its rows
    again.refund("acme", "k", key="r")
    first, second = again.revenue(start=START - DAY, end=clock() + DAY).rows
    assert (first.credits.expired, first.credits.voided) == (0, 500)
    assert (second.credits.expired, second.credits.voided) == (0, 500)
    assert again.verify("acme") == ()


def test_a_forfeited_block_that_had_been_used_up_is_voided_and_one_kept_or_granted_since_is_not(opened, shared, clock):
    document = catalog(pro=plan(unused="forfeit", every="week"), top={})
    first = opened(document, storage=shared)
    first.subscribe("acme", "pro")
    first.grant_credits("acme", "ai", 5, key="bought", priority=1)
    first.consume_credits("acme", "ai", 505, key="old")
    first.change_plan("acme", "top")
    clock.advance(7 * DAY)  # where the next grant begins, at once
    first.change_plan("acme", "pro")
    first.consume_credits("acme", "ai", 500, key="new")
    ent = opened(document, storage=shared)  # which reads the head from its rows
    ent.refund("acme", "new", 3, key="r1")
    assert left(ent) == 3
    ent.erase("acme")
    ent.refund("acme", "old", key="r2")
    assert left(ent) == 8
    ent.change_plan("acme", "top")
    ent.refund("acme", "new", 4, key="r3")
    assert left(ent) == 5
    assert ent.void_block("acme", "bought").remaining == 0
    assert ent.verify("acme") == ()


def test_a_change_that_is_taken_back_before_it_comes_grants_nothing_more(ent, clock):
    ent = ent(pro=plan(unused="forfeit"), top=plan(1000))
    ent.subscribe("acme", "pro")
    ent.change_plan("acme", "top", at=START + 10 * DAY)
    ent.change_plan("acme", "pro", at=START + DAY)
    clock.advance(11 * DAY)
    assert blocks(ent) == [("plan:pro", 500, "01-31", "02-28")]


# --- the catalog changes


def test_a_changed_catalog_grants_its_own_from_the_next_period_and_takes_nothing(opened, shared, clock):
    old, new = catalog(pro=plan()), catalog(pro=plan(700))
    first = opened(old, storage=shared)
    first.subscribe("acme", "pro")
    later = opened(new, storage=shared)
    assert left(later) == 500
    clock.advance(28 * DAY)
    later.consume_credits("acme", "ai", 1, key="k")
    assert left(later) == 499  # nobody had told the log before the period began
    clock.advance(31 * DAY)
    assert (left(later), left(first)) == (700, 700)


def test_a_plan_that_begins_to_grant_does_so_for_who_holds_it(opened, shared, clock):
    opened(catalog(pro={}), storage=shared).subscribe("acme", "pro")
    later = opened(catalog(pro=plan()), storage=shared)
    clock.advance(DAY)
    assert blocks(later) == [("plan:pro", 500, "02-01", "02-28")]
    gone = opened(catalog(pro={}), storage=shared)
    later.sweep("acme")
    assert gone.sweep("acme") == 1
    clock.advance(30 * DAY)
    assert left(gone) == 0


def test_a_pinned_plan_grants_what_was_sold(opened, shared, clock):
    opened(catalog(pro={**plan(), "version": "pinned"}), storage=shared).subscribe("acme", "pro")
    later = opened(catalog(pro={**plan(9), "version": "pinned"}), storage=shared)
    clock.advance(28 * DAY)
    assert blocks(later) == [("plan:pro", 500, "02-28", "03-31")]


def test_the_past_is_not_told_by_the_present_catalog(opened, shared, clock):
    opened(catalog(pro={}), storage=shared).subscribe("acme", "pro")
    later = opened(catalog(pro=plan()), storage=shared)
    clock.advance(DAY)
    later.consume_credits("acme", "ai", 1, key="k")
    assert later.balance("acme", "ai", at=START).available == 0
    assert later.balance("acme", "ai", as_of=1).available == 0


def test_the_scale_of_a_credit_is_fixed_once_a_plan_has_granted_it(opened, shared):
    opened(catalog(pro=plan()), storage=shared).subscribe("acme", "pro")
    other = catalog(pro=plan())
    other["credits"]["ai"]["scale"] = 3
    with pytest.raises(CatalogError, match="stays as first used"):
        opened(other, storage=shared)


def test_words_of_plan_credits_are_checked_and_written_again():
    with pytest.raises(CatalogError, match="full, prorate"):
        Catalog.load(catalog(pro=plan(allowance="half")))
    made = Catalog.load(catalog(pro=plan(allowance="prorate", unused="convert", rollover={"max": 3})))
    assert Catalog.load(made.document) == made


# --- blocks that nobody asked for


def test_a_plans_block_is_voided_and_refunded_like_any_other(ent, clock):
    ent = ent(pro=plan())
    ent.subscribe("acme", "pro")
    for n in range(40):
        ent.consume_credits("acme", "ai", 1, key=f"k{n}")
    (block,) = ent.balance("acme", "ai").blocks
    ent.consume_credits("acme", "ai", 460, key="all")
    assert ent.balance("acme", "ai").blocks == ()
    ent.refund("acme", "k7", key="r")
    assert left(ent) == 1
    assert ent.void_block("acme", block.id).voided
    assert left(ent) == 0
    clock.advance(60 * DAY)
    ent.refund("acme", "k8", key="late")
    assert left(ent) == 500
    assert ent.verify("acme") == ()


def test_a_block_granted_at_an_instant_that_several_batches_share_is_found(ent, clock):
    ent = ent(free={}, pro=plan())
    for n in range(25):
        ent.override("acme", "chat", n)
    ent.subscribe("acme", "pro")
    ent.consume_credits("acme", "ai", 500, key="all")
    for n in range(5):
        ent.override("acme", "chat", n)
    ent.refund("acme", "all", 5, key="r")
    assert left(ent) == 5


# --- lazy is eager


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whoever_sweeps_when_and_how_often_the_answers_are_the_same(data):  # noqa: C901
    """Two engines hear the same story; one is swept at instants of its own, the other never."""
    plans = catalog(
        free=plan(10, every="week"),
        pro=plan(rollover={"fraction": "0.5", "times": 2, "expires_after": "40d"}, unused="convert", cost_basis="9.00"),
        top=plan(1000, unused="forfeit", allowance="prorate", every="month"),
        day=plan(3, every="day", rollover={"max": 5}, allowance="next_period"),
    )
    clocks = [FrozenClock(START), FrozenClock(START)]
    lazy, eager = (Entitlements(plans, storage="memory:", clock=clock) for clock in clocks)
    names, held = st.sampled_from(["free", "pro", "top", "day"]), False
    for n in range(data.draw(st.integers(1, 10))):
        hours = data.draw(st.integers(0, 24 * 45))
        for part in sorted(data.draw(st.lists(st.integers(0, hours), max_size=3))):
            clocks[1].set(clocks[0]() + timedelta(hours=part))
            eager.sweep("acme")
        for clock in clocks:
            clock.set(clocks[0]() + timedelta(hours=hours) if clock is clocks[0] else clocks[0]())
        verb = data.draw(st.sampled_from(["plan", "cancel", "spend", "hold", "pause", "look"]))
        name, amount = data.draw(names), data.draw(st.integers(0, 600))
        at = data.draw(st.sampled_from([None, clocks[0]() + timedelta(hours=7)]))
        for ent in (lazy, eager):
            if verb == "plan" and not held:
                ent.subscribe("acme", name, at=at)
            elif verb == "plan":
                ent.change_plan("acme", name, at=None)
            elif verb == "cancel" and held:
                ent.cancel("acme")
            elif verb == "spend":
                ent.consume_credits("acme", "ai", amount, key=f"s{n}", depletion="partial")
            elif verb == "hold":
                ent.reserve_credits("acme", "ai", min(amount, 3), key=f"h{n}", ttl=3600 * 24)
            elif verb == "pause" and held:
                ent.set_status("acme", "paused" if amount % 2 else "active")
        if verb == "plan" and not held and at is not None:
            for clock in clocks:
                clock.advance(timedelta(hours=7))
        held = (held or verb == "plan") and verb != "cancel"
        told = [
            [attrs.evolve(block, number=0) for block in ent.balance("acme", "ai").blocks] for ent in (lazy, eager)
        ]
        assert told[0] == told[1]
    end = clocks[0]() + DAY
    for ent in (lazy, eager):
        ent.sweep("acme")
        assert ent.verify() == ()
    flows = [str(ent.statement("acme", "ai", start=START - DAY, end=end)).splitlines()[-12:] for ent in (lazy, eager)]
    assert flows[0] == flows[1]
    grants = [sorted((e.block, e.amount, e.at) for e in ent.entries("acme", limit=10**6) if e.kind == "granted") for ent in (lazy, eager)]
    assert grants[0] == grants[1]


@pytest.mark.parametrize("order", ["default", "first_in_first_out", "plan_first", ["granted"], ["category", "granted"]])
def test_which_grant_burns_first_does_not_depend_on_when_it_was_booked(opened, clock, order):
    """Also of those that one batch catches up on, the one that fell due first was granted first."""
    document = {
        "credits": {"ai": {"burn_order": order}},
        "products": {"x": {}, "y": {}},
        "plans": {
            "w": {"product": "x", "credits": {"ai": {"grant": 10, "every": "week"}}},
            "m": {"product": "y", "credits": {"ai": {"grant": 10, "every": "month"}}},
        },
    }
    ent, burned, expired = opened(document), [], []
    for who in ("late", "swept"):
        clock.set(datetime(2026, 3, 11, tzinfo=UTC))
        ent.subscribe(who, "m")
        ent.subscribe(who, "w", at=datetime(2026, 3, 13, tzinfo=UTC))
    for at in (datetime(2026, 4, 11, 1, tzinfo=UTC), datetime(2026, 4, 17, 1, tzinfo=UTC)):
        clock.set(at)
        ent.sweep("swept")
    for who in ("late", "swept"):
        burned.append(ent.consume_credits(who, "ai", 15, key="x").receipt.burned)
        expired.append([(line.kind, line.at, line.block) for line in ent.entries(who) if line.kind == "expired"])
    assert burned[0] == burned[1]
    assert list(burned[0].values()) == [10, 5]
    assert expired[0] == expired[1]


def test_what_rolls_over_as_its_plan_is_left_is_converted_at_once(ent, clock):
    """A downgrade at the end of a period: what is left lives on for an instant, and then in the new plan."""
    ent = ent(pro=plan(10, rollover={"max": 5}, unused="convert"), basic=plan(2))
    clock.set(datetime(2026, 2, 1, tzinfo=UTC))
    for who in ("acme", "swept"):
        ent.subscribe(who, "pro")
        ent.change_plan(who, "basic", at=datetime(2026, 3, 1, tzinfo=UTC))
    clock.set(datetime(2026, 3, 1, tzinfo=UTC))
    ent.sweep("swept")
    clock.set(datetime(2026, 3, 2, tzinfo=UTC))
    assert [left(ent, who) for who in ("acme", "swept")] == [7, 7]
    ent.consume_credits("acme", "ai", 6, key="c")
    assert left(ent) == 1
    assert ent.verify() == ()


def test_what_is_held_as_its_plan_is_left_is_converted_by_nobody(ent, clock):
    ent = ent(pro=plan(10, unused="convert"), basic=plan(2))
    ent.subscribe("acme", "pro")
    hold = ent.reserve_credits("acme", "ai", 10, key="h", ttl=3600)
    ent.change_plan("acme", "basic", at=START + timedelta(minutes=1))
    clock.advance(timedelta(minutes=2))
    assert (left(ent), ent.balance("acme", "ai").held) == (2, 10)
    hold.settle(4)
    assert [entry.kind for entry in ent.entries("acme") if entry.kind == "rolled"] == []
    assert ent.verify() == ()


def test_how_long_an_answer_is_valid_does_not_depend_on_who_swept(opened, clock):
    document = catalog(pro=plan(unused="convert", every="day"), basic={"entitlements": {"chat": 9}})
    document["rates"] = {"chat": {"credit": "ai", "price": "1"}}
    ent = opened(document)
    for who in ("acme", "swept"):
        ent.subscribe(who, "pro")
        ent.change_plan(who, "basic", at=START + timedelta(hours=1))
    clock.advance(timedelta(hours=2))
    ent.sweep("swept")
    assert [ent.check(who, "chat").valid_until for who in ("acme", "swept")] == [None, None]
    assert [ent.snapshot(who).valid_until for who in ("acme", "swept")] == [None, None]


def test_what_comes_back_and_is_converted_again_at_the_same_instant_is_another_block(ent):
    ent = ent(pro=plan(10, unused="convert"), basic={})
    ent.subscribe("acme", "pro")
    hold = ent.reserve_credits("acme", "ai", 4, key="h")
    ent.change_plan("acme", "basic")
    hold.release()
    ent.change_plan("acme", "pro")
    ent.change_plan("acme", "basic")
    assert blocks(ent) == [("converted:pro", 6, "01-31", None), ("converted:pro", 4, "01-31", None)]
    ent.consume_credits("acme", "ai", 9, key="c")
    ent.refund("acme", "c", key="r")
    assert left(ent) == 10
    assert_sound(ent, "acme")


@pytest.mark.parametrize(("unused", "kept"), [("keep", 400), ("forfeit", 0), ("convert", 400)])
@pytest.mark.parametrize("when", ["at once", "later"])
def test_a_plan_that_is_left_while_it_is_paused_is_left(opened, shared, clock, unused, kept, when):
    ent = opened(catalog(pro=plan(unused=unused), small={}), storage=shared)
    ent.subscribe("acme", "pro")
    ent.consume_credits("acme", "ai", 100, key="k")
    told = {"at": START + 10 * DAY} if when == "later" else {}
    if told:
        ent.set_status("acme", "paused", at=START + 5 * DAY)
        ent.change_plan("acme", "small", **told)
        clock.advance(8 * DAY)
        assert left(ent) == 400
        clock.advance(2 * DAY)
    else:
        clock.advance(5 * DAY)
        ent.set_status("acme", "paused")
        clock.advance(5 * DAY)
        ent = opened(catalog(pro=plan(unused=unused), small={}), storage=shared)  # which reads the head from its rows
        assert left(ent) == 400
        ent.change_plan("acme", "small")
    ent.set_status("acme", "active", at=START + 11 * DAY)
    clock.advance(2 * DAY)
    assert left(ent) == kept
    clock.set(datetime(2026, 3, 5, tzinfo=UTC))
    assert left(ent) == (kept if unused == "convert" else 0)
    ent.sweep("acme")
    assert_sound(ent, "acme")


def test_a_paused_plan_that_forfeits_neither_grants_nor_rolls_over(ent, clock):
    ent = ent(pro=plan(unused="forfeit", rollover={"max": 100}), small={})
    ent.subscribe("acme", "pro")
    ent.set_status("acme", "paused")
    clock.set(datetime(2026, 3, 10, tzinfo=UTC))
    assert blocks(ent) == []
    ent.set_status("acme", "active")
    assert blocks(ent) == [("plan:pro", 500, "03-10", "03-31")]


@pytest.mark.parametrize("names", [("pro+", "ai", "gold"), ("pro", "ai+a", "ai+b"), ("a@b+c", "ai", "gold")])
def test_a_plus_in_the_name_of_a_plan_or_a_credit_is_a_part_of_it(opened, clock, names):
    """Two credits of one plan that roll over at one instant are two blocks, whatever the plan is called."""
    plan, *credits_ = names
    terms = {"grant": 10, "every": "month", "rollover": {"fraction": "0.5", "times": 2, "expires_after": "20d"}}
    document = {"version": 1, "credits": {name: {} for name in credits_}, "plans": {plan: {"credits": dict.fromkeys(credits_, terms)}}}  # fmt: skip
    ent = opened(Catalog.load(document))
    ent.subscribe("acme", plan)
    clock.advance(40 * DAY)
    assert [ent.balance("acme", name).available for name in credits_] == [15, 15]
    ent.sweep("acme")
    clock.advance(20 * DAY)
    for name in credits_:
        assert ent.consume_credits("acme", name, 10, key=f"use of {name}")
        assert ent.balance("acme", name).available == 7
    assert ent.verify() == ()


@pytest.mark.parametrize("order", ["default", "first_in_first_out", ["granted"], ["category", "granted"]])
@pytest.mark.parametrize("since", [None, timedelta(0), -DAY])
def test_what_a_write_grants_was_granted_after_what_fell_due_before_it(opened, clock, order, since):
    """Also at the same instant, and where it says that it has been usable for longer."""
    terms = {"grant": 10, "every": "month", "priority": 50}
    document = {"credits": {"ai": {"burn_order": order}}, "plans": {"pro": {"credits": {"ai": terms}}}}
    ent, burned = opened(document), []
    for who in ("late", "swept"):
        ent.subscribe(who, "pro")
    clock.set(datetime(2026, 2, 28, 12, tzinfo=UTC))
    ent.sweep("swept")
    for who in ("late", "swept"):
        effective_at = None if since is None else clock() + since
        ends = datetime(2026, 3, 31, 12, tzinfo=UTC)
        ent.grant_credits(who, "ai", 10, key="!", effective_at=effective_at, expires_at=ends, priority=50)
        burned.append(list(ent.consume_credits(who, "ai", 15, key="x").receipt.burned.items()))
    assert burned[0] == burned[1]


@pytest.mark.parametrize("plans", [("a", "b"), ("b", "a")])
@pytest.mark.parametrize("how", ["change_plan", "cancel and subscribe"])
def test_what_a_new_plan_grants_was_granted_after_what_the_old_one_did_at_the_same_instant(opened, clock, plans, how):
    """A change at the very end of a period: the order does not depend on whether anybody swept before it."""
    one, other = plans
    terms = {"credits": {"ai": {"grant": 10, "every": "month"}}}
    ent, burned = opened({"credits": {"ai": {}}, "plans": {"a": terms, "b": terms}}), []
    for who in ("late", "swept"):
        ent.subscribe(who, one)
    clock.set(datetime(2026, 2, 28, 12, tzinfo=UTC))
    ent.sweep("swept")
    for who in ("late", "swept"):
        if how == "change_plan":
            ent.change_plan(who, other)
        else:
            ent.cancel(who)
            ent.subscribe(who, other, anchor=START)
        burned.append(ent.consume_credits(who, "ai", 15, key="x").receipt.burned)
    assert burned[0] == burned[1]
    assert [(block.partition("/")[0], int(amount)) for block, amount in burned[0].items()] == [
        (f"$plan:{one}", 10),
        (f"$plan:{other}", 5),
    ]
