"""The fold: what a log comes to, batch by batch, and the batches it refuses."""

from datetime import UTC, datetime, timedelta

import attrs
import pytest

from entitlements.amounts import MAX_UNITS
from entitlements.errors import LogCorrupt
from entitlements.ledger.entries import EPOCH, Batch, Entry, numbered
from entitlements.ledger.facts import PromotionRun, Subscription, current, in_force, replace
from entitlements.ledger.state import EMPTY_HEAD, add, apply, counted, fold

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
CALLS = ("calls/month", NOON)


def run(since, until=None, name="launch"):
    return PromotionRun(name, NOON + since * HOUR, None if until is None else NOON + until * HOUR)


def promoted(*facts, at=0, name="launch"):
    return Entry("promoted", NOON + at * HOUR, name, data={"facts": facts})


def used(amount, kind="used", counter=CALLS):
    return Entry(kind, NOON, "calls", counter[0], counter[1], amount)


def log(*batches, at=NOON):
    """Return batches of these entries, one an hour, numbered as a storage numbers them."""
    seq, made = 0, []
    for number, entries in enumerate(batches, start=1):
        recorded = at + (number - 1) * HOUR
        lines = numbered(entries, after=seq, key=f"k{number}", at=recorded)
        made.append(Batch("acme", f"k{number}", number, recorded, {}, {}, lines))
        seq += len(entries)
    return made


# --- facts


def test_a_fact_holds_from_its_beginning_up_to_its_end():
    fact = run(0, 2)
    held = [in_force((fact,), NOON + hours * HOUR) for hours in (-1, 0, 1, 2)]
    assert held == [(), (fact,), (fact,), ()]


def test_what_is_replaced_from_an_instant_on_stays_as_it_was_before():
    assert replace((run(0),), "launch", NOON + 5 * HOUR, [run(5, 9)]) == (run(0, 5), run(5, 9))


def test_what_would_begin_after_a_replacement_is_gone():
    assert replace((run(0, 3), run(6)), "launch", NOON + 4 * HOUR, []) == (run(0, 3),)


def test_a_fact_that_begins_with_its_replacement_leaves_no_trace():
    assert replace((run(4),), "launch", NOON + 4 * HOUR, [run(4, 6)]) == (run(4, 6),)


def test_a_replacement_touches_no_other_key():
    other = run(0, name="winter")
    assert replace((other, run(0)), "launch", NOON + HOUR, []) == (run(0, 1), other)


def test_only_the_last_of_the_ended_facts_with_a_key_is_kept():
    facts = (run(0, 1), run(1, 2), run(2, 9), run(9))
    assert current(facts, NOON + 5 * HOUR) == (run(1, 2), run(2, 9), run(9))
    assert current(facts, NOON + 2 * HOUR) == (run(1, 2), run(2, 9), run(9))
    assert current(facts, NOON) == facts


def test_each_key_keeps_its_own_last_ended_fact():
    facts = (run(0, 1), run(0, 2, name="winter"))
    assert current(facts, NOON + 9 * HOUR) == facts


# --- the fold


def test_an_empty_log_is_an_unknown_customer():
    assert fold([]) == (EMPTY_HEAD, {})
    assert not EMPTY_HEAD.known


def test_a_log_folds_to_what_each_of_its_entries_says():
    plan = Subscription("app-1", "app", "pro", NOON, None, NOON, NOON)
    batches = log(
        [Entry("subscribed", NOON, "app", data={"facts": (plan,)})],
        [used(3), used(2, counter=("calls/day", NOON))],
        [Entry("opened", NOON, "calls", "calls/5 hours", NOON), used(1), used(4, "recorded")],
        [used(-2, "freed"), used(-6, "usage_reset")],
        [Entry("fixed", NOON, "feature:calls", data={"scale": 0})],
        [Entry("catalog_kept", NOON, "version:1", data={"document": {}})],
    )
    head, counters = fold(batches)
    assert (head.seq, head.batches, head.at) == (10, 6, NOON + 5 * HOUR)
    assert head.known
    assert head.facts.subscriptions == (plan,)
    assert head.opened == {"calls/5 hours": NOON}
    assert head.noted == {"feature:calls": {"scale": 0}, "version:1": {"seq": 10}}
    assert counters == {CALLS: 0, ("calls/day", NOON): 2}


def test_the_fold_is_apply_repeated():
    batches = log([promoted(run(0, 1))], [promoted(run(1), at=1)], [used(7)])
    head = EMPTY_HEAD
    for batch in batches:
        head = apply(head, batch)
    assert (head, {CALLS: 7}) == fold(batches)


def test_facts_that_ended_long_ago_are_let_go_unless_the_past_is_asked_for():
    batches = log(*([promoted(run(hour, hour + 1), at=hour)] for hour in range(6)))
    assert fold(batches)[0].facts.promotions == (run(4, 5), run(5, 6))
    assert fold(batches, keep_ended=True)[0].facts.promotions == tuple(run(hour, hour + 1) for hour in range(6))


def test_the_latest_window_that_was_opened_counts():
    name = "calls/5 hours"
    batches = log(*([Entry("opened", NOON, "calls", name, NOON + hours * HOUR)] for hours in (0, 7)))
    assert fold(batches)[0].opened == {name: NOON + 7 * HOUR}


def test_entries_that_count_nothing_touch_no_counter():
    assert counted([promoted(run(0)), Entry("opened", NOON, "calls", *CALLS)]) == {}
    assert counted([used(3), used(4), used(-1, "freed")]) == {CALLS: 6}


# --- what is refused


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"number": 3}, "acme: batch 3 with entries [2]…[2] does not follow batch 1 with entry 1"),
        ({"number": 1}, "does not follow batch 1"),
        ({"entries": ()}, "batch 2 is empty or goes back in time"),
        ({"at": NOON - HOUR}, "batch 2 is empty or goes back in time"),
    ],
)
def test_a_batch_that_does_not_follow_is_refused(change, said):
    first, second = log([used(1)], [used(1)])
    with pytest.raises(LogCorrupt) as refused:
        apply(apply(EMPTY_HEAD, first), attrs.evolve(second, **change))
    assert said in str(refused.value)


def test_a_gap_between_sequence_numbers_is_refused():
    (batch,) = log([used(1), used(1)])
    first, second = batch.entries
    with pytest.raises(LogCorrupt, match="does not follow batch 0 with entry 0"):
        apply(EMPTY_HEAD, attrs.evolve(batch, entries=(first, attrs.evolve(second, seq=3))))


def test_an_entry_of_an_unknown_kind_is_refused():
    (batch,) = log([Entry("melted", NOON, "ai")])
    with pytest.raises(LogCorrupt, match="acme: entry 1 is of unknown kind 'melted'"):
        apply(EMPTY_HEAD, batch)


@pytest.mark.parametrize(
    ("before", "amount", "after"), [(5, -5, 0), (0, MAX_UNITS, MAX_UNITS), (MAX_UNITS, -MAX_UNITS, 0)]
)
def test_a_counter_may_hold_anything_from_zero_to_63_bits(before, amount, after):
    assert add("acme", {CALLS: before}, [used(amount)]) == {CALLS: after}


@pytest.mark.parametrize(("before", "amount", "after"), [(5, -6, -1), (MAX_UNITS, 1, 2**63)])
def test_a_counter_never_leaves_its_range(before, amount, after):
    with pytest.raises(LogCorrupt, match=f"acme: counter 'calls/month' would become {after}; nothing was written"):
        add("acme", {CALLS: before}, [used(amount)])


def test_the_order_of_entries_of_one_batch_does_not_take_a_counter_out_of_its_range():
    assert add("acme", {}, [used(-3, "freed"), used(3)]) == {CALLS: 0}


def test_entries_are_numbered_on_and_carry_their_batch():
    lines = numbered([used(1), used(2)], after=4, key="k", at=NOON + HOUR)
    assert [(line.seq, line.key, line.recorded_at) for line in lines] == [(5, "k", NOON + HOUR), (6, "k", NOON + HOUR)]
    assert used(1).recorded_at == EPOCH
