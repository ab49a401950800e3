"""Time: the ledger's own, which never goes back; questions about other instants, and with earlier knowledge."""

import logging
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from entitlements.errors import NotSubscribed
from entitlements.testing import FrozenClock

START = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


# --- a frozen clock


def test_a_frozen_clock_stands_still_until_it_is_moved():
    clock = FrozenClock(START)
    assert (clock(), clock()) == (START, START)
    assert clock.advance(HOUR) == START + HOUR == clock()
    assert clock.advance(-2 * HOUR) == START - HOUR == clock()
    assert clock.set(START + DAY) == START + DAY == clock()
    assert repr(clock) == "FrozenClock(2026-03-11T12:00:00+00:00)"


def test_a_frozen_clock_shows_utc():
    berlin = datetime.fromisoformat("2026-03-10T13:00:00+01:00")
    assert FrozenClock(berlin)().isoformat() == "2026-03-10T12:00:00+00:00"


def test_a_frozen_clock_refuses_what_is_no_instant():
    naive = START.replace(tzinfo=None)
    with pytest.raises(TypeError, match="start is the naive 2026-03-10T12:00:00"):
        FrozenClock(naive)
    clock = FrozenClock(START)
    with pytest.raises(TypeError, match="instant is the naive 2026-03-10T12:00:00"):
        clock.set(naive)
    with pytest.raises(TypeError, match="span is of type int; it is a timedelta"):
        clock.advance(60)
    assert clock() == START


# --- ledger time


def test_a_clock_that_goes_back_does_not_bring_back_what_has_ended(engine, clock):
    engine.start_trial("acme", "pro", days=1)
    clock.advance(DAY)
    assert engine.check("acme", "exports").code == "trial_ended"
    engine.consume("acme", "seats")
    clock.set(START)
    assert engine.check("acme", "exports").code == "trial_ended"
    assert engine.check("acme", "exports", requested=2).code == "trial_ended"
    assert engine.snapshot("acme").features["exports"].code == "trial_ended"
    assert engine.explain("acme", "exports").decision.code == "trial_ended"


def test_a_clock_that_goes_back_does_not_reopen_a_window(engine, clock):
    engine.subscribe("acme", "pro")
    engine.grant_credits("acme", "ai", 100, key="to pay for so many")
    engine.consume("acme", "chat", 150)
    clock.advance(DAY)
    engine.consume("acme", "chat", 120)
    clock.set(START)
    assert engine.check("acme", "chat").used == 120
    assert not engine.consume("acme", "chat", 100)
    assert engine.consume("acme", "chat", 80).used == 200


def test_instants_of_a_log_never_go_back(engine, clock):
    engine.subscribe("acme", "pro")
    for hours in (3, -2, 5, -9, 1):
        clock.advance(hours * HOUR)
        engine.consume("acme", "chat")
        engine.promote("acme", "launch")
    recorded = [entry.recorded_at for entry in engine.entries("acme")]
    assert all(earlier <= later for earlier, later in pairwise(recorded))
    assert recorded[-1] == START + 6 * HOUR


def test_a_clock_that_was_ahead_for_a_moment_changes_nothing_for_good(engine, clock):
    engine.start_trial("acme", "pro", days=1)
    clock.advance(DAY)
    assert engine.check("acme", "exports").code == "trial_ended"
    clock.set(START)
    assert engine.check("acme", "exports").allowed


def test_a_fact_begins_at_the_time_of_the_ledger(engine, clock):
    clock.advance(DAY)
    engine.consume("acme", "seats")
    clock.set(START)
    assert engine.subscribe("acme", "pro").since == START + DAY


def test_each_log_has_its_own_time(engine, clock):
    clock.advance(DAY)
    engine.consume("ahead", "seats")
    clock.set(START)
    engine.consume("other", "seats")
    assert engine.entries("other")[0].recorded_at == START


def test_two_engines_with_skewed_clocks_agree(opened, shared, catalog_file):
    fast = opened(catalog_file, storage=shared, clock=FrozenClock(START + DAY))
    slow = opened(catalog_file, storage=shared, clock=FrozenClock(START))
    fast.subscribe("acme", "pro")
    assert slow.check("acme", "exports").allowed
    assert slow.consume("acme", "chat").window_start == fast.check("acme", "chat").window_start


@pytest.mark.parametrize(
    ("ahead", "told"), [(timedelta(minutes=5), False), (timedelta(minutes=5, microseconds=1), True)]
)
def test_a_log_far_ahead_of_the_clock_is_told(engine, clock, caplog, ahead, told):
    seen = []
    engine.on("clock", seen.append)
    engine.consume("acme", "seats")
    clock.advance(-ahead)
    with caplog.at_level(logging.WARNING, logger="entitlements"):
        engine.consume("acme", "seats")
    assert seen == ([{"customer": "acme", "ahead": ahead}] if told else [])
    assert len(caplog.records) == int(told)


def test_a_clock_that_is_naive_is_a_type_error(opened, catalog_file):
    ent = opened(catalog_file, clock=lambda: START.replace(tzinfo=None))
    for call in (lambda: ent.check("acme", "seats"), lambda: ent.consume("acme", "seats")):
        with pytest.raises(TypeError, match=r"clock\(\) is the naive 2026-03-10T12:00:00"):
            call()


# --- at: another instant, today's knowledge


def test_at_asks_about_the_past_with_what_is_known_today(engine, clock):
    engine.subscribe("acme", "pro")
    clock.advance(10 * DAY)
    engine.cancel("acme")
    engine.override("acme", "exports", True, at=START + 2 * DAY, ends_at=START + 3 * DAY)
    codes = [engine.check("acme", "exports", at=START + days * DAY).source for days in (-1, 1, 2, 3, 11)]
    assert codes == [None, "plan:pro", "override:set", "plan:pro", None]


def test_at_finds_facts_that_ended_long_ago(engine, clock):
    engine.subscribe("acme", "pro")
    for day in range(1, 6):
        engine.change_plan("acme", "free" if day % 2 else "pro", at=START + day * DAY)
        clock.set(START + day * DAY)
        engine.consume("acme", "seats", 0)
    limits = [engine.check("acme", "seats", at=START + day * DAY).limit for day in range(6)]
    assert limits == [20, 2, 20, 2, 20, 2]


def test_at_finds_the_usage_of_an_earlier_window(engine, clock):
    engine.subscribe("acme", "pro")
    for amount in (3, 5, 7):
        engine.consume("acme", "chat", amount)
        clock.advance(DAY)
    assert [engine.check("acme", "chat", at=START + days * DAY).used for days in (0, 1, 2, 3)] == [3, 5, 7, 0]


def test_at_asks_about_the_future(engine):
    engine.start_trial("acme", "pro")
    engine.consume("acme", "chat", 5)
    assert engine.check("acme", "chat", at=START + DAY).used == 0
    assert engine.check("acme", "exports", at=START + 14 * DAY).code == "trial_ended"
    assert engine.check("acme", "exports").allowed


def test_at_is_the_same_for_a_check_a_snapshot_and_an_explanation(engine, clock):
    engine.start_trial("acme", "pro")
    for at in (START - DAY, START + DAY, START + 20 * DAY):
        checked = engine.check("acme", "seats", at=at)
        assert engine.snapshot("acme", at=at).features["seats"] == checked
        assert engine.explain("acme", "seats", at=at).decision == checked


# --- as_of: earlier knowledge


def test_as_of_answers_with_the_knowledge_of_an_entry(engine, clock):
    engine.subscribe("acme", "pro")
    subscribed = engine.entries("acme")[-1].seq
    first = engine.consume("acme", "chat", 3).receipt.seq
    second = engine.consume("acme", "chat", 4).receipt.seq
    engine.override("acme", "chat", 5)
    seen = [(engine.check("acme", "chat", as_of=seq).used, engine.check("acme", "chat", as_of=seq).limit)
            for seq in (0, subscribed, first, second, second + 1)]  # fmt: skip
    assert seen == [(None, None), (0, 200), (3, 200), (7, 200), (7, 5)]
    assert engine.explain("acme", "chat", as_of=first).decision.used == 3


def test_what_was_answered_as_of_an_entry_is_answered_again(engine, clock):
    engine.subscribe("acme", "pro")
    seq = engine.consume("acme", "chat", 3).receipt.seq
    answer = engine.check("acme", "chat", at=START, as_of=seq)
    clock.advance(40 * DAY)
    engine.cancel("acme", at=START - DAY)
    engine.consume("acme", "seats")
    assert engine.check("acme", "chat", at=START, as_of=seq) == answer


def test_as_of_knows_no_part_of_a_batch(engine, clock):
    engine.subscribe("acme", "pro")
    engine.consume("acme", "seats", 5)
    engine.consume("acme", "chat", 3)
    clock.advance(HOUR)
    engine.change_plan("acme", "pro", usage="reset", key="reset")
    batch = [entry.seq for entry in engine.entries("acme") if entry.key == "reset"]
    assert len(batch) > 2
    used = [engine.check("acme", "seats", as_of=seq).used for seq in (batch[0] - 1, *batch)]
    assert used == [5] * len(batch) + [0]


def test_as_of_before_the_first_entry_knows_nothing(engine):
    engine.subscribe("acme", "pro")
    assert engine.check("acme", "exports", as_of=0).code == "not_in_plan"


# --- late facts


def test_a_fact_in_the_past_of_a_fact_is_refused_where_nothing_was_held(engine):
    engine.subscribe("acme", "pro")
    with pytest.raises(NotSubscribed):
        engine.change_plan("acme", "free", at=START - DAY)


def test_a_cancellation_in_the_past_takes_effect_from_then_on(engine, clock):
    engine.subscribe("acme", "pro")
    clock.advance(5 * DAY)
    engine.cancel("acme", at=START + 2 * DAY)
    allowed = [engine.check("acme", "exports", at=START + days * DAY).allowed for days in (1, 2, 5)]
    assert allowed == [True, False, False]
    (entry,) = [entry for entry in engine.entries("acme") if entry.kind == "canceled"]
    assert (entry.at, entry.recorded_at) == (START + 2 * DAY, START + 5 * DAY)


def test_a_reset_lifts_nothing_that_has_ended_by_then(opened, clock):
    """Found in review: a denial said to try again after a reset that came when the trial was over."""
    features = {"calls": {"type": "metered", "reset": "hour"}}
    plans = {"pro": {"entitlements": {"calls": 2}}, "other": {}}
    ent = opened({"version": 1, "features": features, "plans": plans})
    ent.start_trial("acme", "pro", ends_at=clock() + timedelta(minutes=50))
    ent.start_trial("beta", "pro", ends_at=clock() + timedelta(minutes=70))
    for customer in ("acme", "beta"):
        ent.consume(customer, "calls", 2)
    clock.advance(timedelta(minutes=1))
    over, held = ent.consume("acme", "calls"), ent.consume("beta", "calls")
    assert (over.outcome, over.lifted_at, over.retry_after()) == ("block", None, None)
    assert (held.outcome, held.lifted_at) == ("throttle", held.resets_at)
    assert "again" not in over.reason
    assert ent.check("beta", "calls", at=held.lifted_at)
    assert not ent.check("acme", "calls", at=over.resets_at)


def test_a_reset_lifts_what_facts_to_come_leave_room_and_its_windows(opened, clock):
    features = {"calls": {"type": "metered", "reset": "day"}}
    plans = {"pro": {"entitlements": {"calls": 2}}, "less": {"entitlements": {"calls": 1}}, "bare": {}}
    offer = {"version": 1, "features": features, "plans": plans}
    ent = opened({**offer, "addons": {"more": {"entitlements": {"calls": 4}}}, "default_plan": "pro"})
    soon = clock() + timedelta(hours=1)
    for customer in ("less", "bare", "moved"):
        ent.subscribe(customer, "pro")
        ent.consume(customer, "calls", 2)
    ent.change_plan("less", "less", at=soon)
    ent.change_plan("bare", "bare", at=soon)
    ent.cancel("moved", at=soon)
    two, one = ent.check("less", "calls", requested=2), ent.check("less", "calls")
    assert (two.lifted_at, one.lifted_at) == (None, clock() + timedelta(days=1))
    assert ent.check("less", "calls", at=one.lifted_at)
    assert ent.check("bare", "calls").lifted_at is None
    assert ent.check("moved", "calls").lifted_at is None


def test_a_reset_at_the_very_end_of_a_fact_lifts_nothing(opened, clock):
    features = {"calls": {"type": "metered", "reset": {"every": "hour", "align": "calendar"}}}
    ent = opened({"version": 1, "features": features, "plans": {"pro": {"entitlements": {"calls": 2}}}})
    ent.start_trial("acme", "pro", ends_at=ent.check("acme", "calls").at + timedelta(hours=1))
    ent.consume("acme", "calls", 2)
    assert ent.check("acme", "calls").resets_at == clock() + timedelta(hours=1)
    assert ent.check("acme", "calls").lifted_at is None


def test_a_pause_moves_no_calendar_window(opened, clock):
    """Found in review: calendar windows left the customer's zone while the subscription was paused."""
    features = {"calls": {"type": "metered", "reset": {"every": "day", "align": "calendar"}}}
    offer = {"version": 1, "features": features, "plans": {"pro": {"entitlements": {"calls": 9}}}}
    ent = opened({**offer, "promotions": {"gift": {"entitlements": {"calls": 5}}}})
    ent.subscribe("acme", "pro", zone="Asia/Tokyo")
    ent.promote("acme", "gift")
    ent.consume("acme", "calls", 5)
    before = ent.check("acme", "calls")
    ent.set_status("acme", "paused")
    after = ent.check("acme", "calls")
    assert (after.source, after.used, after.allowed) == ("promotion:gift", 5, False)
    assert (after.window_start, after.resets_at) == (before.window_start, before.resets_at)
