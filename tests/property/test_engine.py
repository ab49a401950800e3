"""Random histories of verbs and clocks: storages answer alike, logs fold to their states, keys replay in silence."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from entitlements import Catalog, Decision, Entitlements
from entitlements.errors import EntitlementsError, IdempotencyConflict
from entitlements.ledger.state import fold
from entitlements.periods import window
from entitlements.storage.sqlite import SQLiteStorage
from entitlements.testing import FrozenClock

START = datetime(2026, 3, 10, 12, tzinfo=UTC)
HALF_DAY = timedelta(hours=12)
CATALOG = Catalog.load(
    {
        "version": 1,
        "features": {
            "exports": {"type": "boolean"},
            "history": {"type": "config", "value": "integer", "prefer": "max"},
            "regions": {"type": "config", "value": "list"},
            "seats": {"type": "metered", "reset": "none"},
            "calls": {"type": "metered", "reset": "month", "backdate": "3d"},
            "chat": {"type": "metered", "reset": {"every": "day", "align": "first_use"}, "backdate": "2d"},
            "disk": {"type": "metered", "reset": "none", "aggregate": "max", "scale": 2},
            "level": {"type": "metered", "reset": "week", "aggregate": "latest"},
            "visits": {"type": "metered", "reset": {"every": "day", "align": "calendar"}, "aggregate": "count"},
        },
        "products": {"app": {}, "crm": {}},
        "plans": {
            "free": {"product": "app", "entitlements": {"seats": 2, "calls": 5, "visits": 3, "history": 7}},
            "pro": {
                "product": "app",
                "extends": "free",
                "version": "pinned",
                "trial": {"days": 3},
                "entitlements": {
                    "exports": True,
                    "seats": 5,
                    "calls": {"limit": 20, "depletion": "soft", "ceiling": 25},
                    "chat": {"limits": [{"limit": 4}, {"limit": 9, "reset": "week"}]},
                    "disk": "2.50",
                    "level": {"limit": 7, "depletion": "partial"},
                    "regions": ["eu"],
                },
            },
            "contacts": {"product": "crm", "entitlements": {"calls": {"limit": 3, "reset": "day"}, "regions": ["us"]}},
        },
        "addons": {
            "more": {"plans": ["pro"], "entitlements": {"seats": 2, "calls": 10}},
            "base": {"entitlements": {"history": 30}},
            "over": {"requires": ["base"], "entitlements": {"chat": 3}},
            "anti": {"excludes": ["base"], "entitlements": {"exports": True}},
        },
        "promotions": {
            "launch": {"days": 2, "entitlements": {"calls": "unlimited"}},
            "gift": {"entitlements": {"disk": 9}},
        },
    }
)  # fmt: skip
METERED = ("seats", "calls", "chat", "disk", "level", "visits")

instants = st.integers(-6, 30).map(lambda halves: START + halves * HALF_DAY)
maybe = lambda values: st.none() | values  # noqa: E731
features = st.sampled_from([*CATALOG.features, *METERED, "nope"])
metered = st.sampled_from([*METERED, *METERED, *METERED, "exports", "nope"])
amounts = st.sampled_from([0, 1, 1, 1, 1, 2, 2, 3, 5, "1", "2.00", "0.50", 10**30])
plans = st.sampled_from(["free", "pro", "pro", "pro", "contacts"])
addons = st.sampled_from(["more", "base", "over", "anti"])
scopes = st.sampled_from([None, None, "team:a", {"team": "a", "user": "b"}])
values = st.sampled_from(
    [
        *(True, False, 0, 3, "7", "2.50", "unlimited", ["eu", "us"], None),
        *({"limit": 4, "reset": "day"}, {"limit": 1, "depletion": "soft"}),
    ]
)
VERBS = {
    "subscribe": {
        "plan": plans, "at": maybe(instants), "ends_at": maybe(instants), "anchor": maybe(instants),
        "zone": st.sampled_from(["UTC", "Asia/Tokyo", "America/New_York"]),
    },
    "change_plan": {"plan": plans, "usage": st.sampled_from(["keep", "reset"]), "at": maybe(instants)},
    "cancel": {"product": st.sampled_from([None, None, "app", "crm"]), "at": maybe(instants)},
    "set_status": {"status": st.sampled_from(["active", "past_due", "paused"]), "at": maybe(instants)},
    "start_trial": {"plan": plans, "days": maybe(st.integers(1, 5)), "at": maybe(instants)},
    "add_addon": {"addon": addons, "quantity": st.integers(1, 3), "ends_at": maybe(instants), "at": maybe(instants)},
    "remove_addon": {"addon": addons, "at": maybe(instants)},
    "promote": {"promotion": st.sampled_from(["launch", "gift"]), "ends_at": maybe(instants), "at": maybe(instants)},
    "override": {
        "feature": features, "value": values, "mode": st.sampled_from(["set", "add", "grant", "deny"]),
        "ends_at": maybe(instants), "at": maybe(instants),
    },
    "remove_override": {"feature": st.sampled_from(["calls", "calls", "seats"]), "at": maybe(instants)},
    "consume": {
        "feature": metered, "amount": amounts, "scope": scopes, "occurred_at": maybe(instants),
        "depletion": st.sampled_from([None, None, None, "hard", "partial", "soft"]),
    },
    "record": {"feature": metered, "amount": amounts, "occurred_at": maybe(instants)},
    "free": {"feature": metered, "amount": amounts},
    "reset_usage": {"feature": metered},
}  # fmt: skip
OFTEN = ("consume", "consume", "consume", "record", "free")
BEGINNINGS = (
    (),
    (("start_trial", {"plan": "pro"}),),
    (("subscribe", {"plan": "free"}), ("add_addon", {"addon": "base"}), ("consume", {"feature": "seats", "amount": 2})),
    (
        ("subscribe", {"plan": "pro"}),
        ("override", {"feature": "calls", "value": 3}),
        ("promote", {"promotion": "gift"}),
    ),
    (("subscribe", {"plan": "pro"}), ("add_addon", {"addon": "more"}), ("consume", {"feature": "seats", "amount": 3})),
)
moves = st.sampled_from([0, 0, 0, 1, 1, 2, 4, 28, -1, -3]).map(lambda halves: halves * HALF_DAY)


@st.composite
def calls(draw):
    """Draw a verb with its arguments; most of those that may be left out are."""
    verb = draw(st.sampled_from([*VERBS, *OFTEN]))
    needed = {"plan", "addon", "promotion", "feature", "status", "value", "amount"}
    arguments = {}
    for name, strategy in VERBS[verb].items():
        if name in needed or draw(st.integers(0, 3)) == 0:
            arguments[name] = draw(strategy)
    return verb, arguments


@st.composite
def stories(draw):
    """Draw a beginning and what follows, each as the move of the clock, the call, and the number of its key."""
    begun = [(timedelta(0), call, 100 + number) for number, call in enumerate(draw(st.sampled_from(BEGINNINGS)))]
    return begun + draw(st.lists(st.tuples(moves, calls(), st.integers(0, 30)), max_size=12))


serial = count()


@pytest.fixture(scope="module")
def engines():
    """Two engines on one clock that stands where an example puts it, in memory and in SQLite."""
    clock = FrozenClock(START)
    with (
        Entitlements(CATALOG, storage="memory:", clock=clock) as memory,
        Entitlements(CATALOG, storage=SQLiteStorage(":memory:"), clock=clock) as sqlite,
    ):
        yield clock, memory, sqlite


def outcome(call, *arguments, **options):
    """Return what a call came to; errors are compared by type and message."""
    try:
        result = call(*arguments, **options)
    except (EntitlementsError, ValueError, TypeError) as error:
        return type(error), str(error)
    return (result, result.at) if isinstance(result, Decision) else result


def live(engines, history):
    """Run a history on both engines and return its customer, and the calls that were answered with a batch."""
    clock, memory, sqlite = engines
    clock.set(START)
    customer, done, seen = f"c{next(serial)}", {}, START
    for move, (verb, arguments), number in history:
        clock.advance(move)
        call = {"key": f"k{number}", **arguments}
        first = outcome(getattr(memory, verb), customer, **call)
        assert outcome(getattr(sqlite, verb), customer, **call) == first
        feature = arguments.get("feature", "calls")
        seen = max(seen, clock())
        plain = clock() == seen and number % 2 == 0
        looks = [engine.check(customer, feature, **({} if plain else {"requested": 2})) for engine in (memory, sqlite)]
        if plain:  # one may remember its answer, and the upgrades in it, from another instant than the other
            looks = [attrs.evolve(look, upgrade=()) for look in looks]
        assert looks[0] == looks[1]
        written = memory.entries(customer)
        if written and written[-1].key == f"k{number}" and f"k{number}" not in done:
            done[f"k{number}"] = (verb, call, first)
    return customer, done


def whole(storage, customer):
    batches = storage.batches(customer)
    assert len(batches) < 1000
    return batches


def unsalted(batch):
    """Return a batch without the salt of its log, which is drawn, and the hash over it."""
    return attrs.evolve(batch, hash="", salt="")


SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@SETTINGS
@given(history=stories(), halves=st.integers(-4, 30), data=st.data())
def test_both_storages_answer_every_history_alike(engines, history, halves, data):
    _, memory, sqlite = engines
    customer, _ = live(engines, history)
    assert memory.entries(customer) == sqlite.entries(customer)
    assert [unsalted(b) for b in whole(memory._storage, customer)] == [
        unsalted(b) for b in whole(sqlite._storage, customer)
    ]
    at = START + halves * HALF_DAY
    for options in ({}, {"at": at}):
        first = memory.snapshot(customer, **options)
        again = sqlite.snapshot(customer, **options)
        assert (first, first.etag) == (again, again.etag)
        assert first.to_dict() == again.to_dict()
    seq = data.draw(st.integers(0, len(memory.entries(customer)) + 1))
    for feature in CATALOG.features:
        for options in ({"as_of": seq}, {"at": at, "as_of": seq}):
            assert memory.check(customer, feature, **options) == sqlite.check(customer, feature, **options)
        assert str(memory.explain(customer, feature)) == str(sqlite.explain(customer, feature))


@SETTINGS
@given(history=stories())
def test_every_log_folds_to_the_state_beside_it(engines, history):
    customer, _ = live(engines, history)
    for engine in engines[1:]:
        batches = whole(engine._storage, customer)
        head, counters = fold(batches)
        state = engine._storage.state(customer, lambda _, names=tuple(counters): names)
        assert state.head == head
        assert dict(state.counters) == counters
        assert all(value >= 0 for value in counters.values())
        entries = engine.entries(customer)
        assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
        assert all(one.recorded_at <= other.recorded_at for one, other in pairwise(entries))
        assert len({batch.key for batch in batches}) == len(batches)
        past, _ = fold(batches, keep_ended=True)
        assert past.facts != () and set(head.facts) <= set(past.facts)  # noqa: PT018


@SETTINGS
@given(history=stories(), later=st.integers(-3, 60))
def test_every_key_replays_in_silence(engines, history, later):
    clock = engines[0]
    customer, done = live(engines, history)
    clock.advance(later * HALF_DAY)
    for engine in engines[1:]:
        before = whole(engine._storage, customer)
        for verb, call, first in done.values():
            again = outcome(getattr(engine, verb), customer, **call)
            if isinstance(first, tuple) and isinstance(first[0], Decision):
                assert again[0].receipt.replayed
                assert not first[0].receipt.replayed
                again = (attrs.evolve(again[0], receipt=attrs.evolve(again[0].receipt, replayed=False)), again[1])
            assert again == first
            with pytest.raises(IdempotencyConflict):
                engine.consume(customer, "another", key=call["key"])
        assert whole(engine._storage, customer) == before


@SETTINGS
@given(history=stories())
def test_a_check_and_a_consume_that_follows_agree(engines, history):
    _, *both = engines
    customer, _ = live(engines, history)
    for engine in both:
        for feature in METERED:
            checked = engine.check(customer, feature, requested="1")
            consumed = engine.consume(customer, feature, "1", key=f"then {feature}")
            assert (checked.allowed, checked.code, checked.limit) == (consumed.allowed, consumed.code, consumed.limit)


@SETTINGS
@given(
    steps=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7), st.sampled_from(["consume", "check", "record"]))),
    limit=st.integers(0, 9),
    every=st.sampled_from(["hour", "day", "week"]),
)
def test_a_hard_limit_holds_in_every_window(steps, limit, every):
    """Against a model of ten lines: what was used in each window."""
    catalog = {
        "version": 1,
        "features": {"tokens": {"type": "metered", "reset": every}},
        "plans": {"basic": {"entitlements": {"tokens": limit}}},
    }
    clock, used = FrozenClock(START), Counter()
    with Entitlements(catalog, storage="memory:", clock=clock) as ent:
        ent.subscribe("acme", "basic")
        for hours, amount, verb in steps:
            clock.advance(hours * timedelta(hours=7))
            start = window(START, every, clock()).start
            fits = amount == 0 or used[start] + amount <= limit
            decision = (
                ent.check("acme", "tokens", requested=amount)
                if verb == "check"
                else getattr(ent, verb)("acme", "tokens", amount)
            )
            assert decision.allowed is (fits or verb == "record")
            if verb == "record" or (verb == "consume" and fits):
                used[start] += amount
            assert ent.check("acme", "tokens", requested=0).used == used[start]
            assert decision.remaining == max(0, limit - used[start])
