"""The engine as a whole: what it tells, shows, remembers and forgets, and what threads do to it. On both storages."""

import json
import logging
import sys
import time
from datetime import UTC, datetime, timedelta
from threading import Barrier, Thread

import pytest

from entitlements import UNLIMITED, Entitlements
from entitlements.errors import EntitlementDenied, OutcomeUnknown, StorageUnavailable
from entitlements.ledger.state import fold
from entitlements.storage.memory import MemoryStorage
from entitlements.testing import FrozenClock

START = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def together(count, work):
    """Run work(n) on that many threads at once and return what each came to."""
    ready, results, errors = Barrier(count), [], []

    def run(n):
        ready.wait()
        try:
            results.append(work(n))
        except BaseException as error:
            errors.append(error)

    threads = [Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    return results


def eventually(answer, expected, *, within):
    began = time.monotonic()
    while (found := answer()) != expected:
        assert time.monotonic() - began < within, f"still {found!r} after {within} s"
        time.sleep(0.005)
    return time.monotonic() - began


@pytest.fixture
def often_switching():
    """Threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


# --- decisions


def test_a_decision_is_true_when_allowed_and_says_why(engine):
    engine.subscribe("acme", "pro")
    yes, no = engine.check("acme", "exports"), engine.check("other", "exports")
    assert bool(yes)
    assert not no
    assert str(yes) == "allowed: exports is granted by plan pro"
    assert str(no) == "denied (not_in_plan): nothing other holds grants exports; plan pro would allow it"
    assert no.upgrade == ("plan:pro",)
    assert yes.raise_if_denied() is yes
    with pytest.raises(EntitlementDenied) as denied:
        no.raise_if_denied()
    assert denied.value.decision is no
    assert str(denied.value) == no.reason


def test_a_denial_that_a_reset_lifts_soon_is_a_throttle(engine, clock):
    engine.subscribe("acme", "pro", at=START - 10 * DAY)
    engine.consume("acme", "chat", 200)
    far = engine.check("acme", "chat")
    assert (far.outcome, far.retry_after(), far.resets_at) == ("block", None, datetime(2026, 3, 11, tzinfo=UTC))
    assert far.valid_until == datetime(2026, 3, 10, 23, tzinfo=UTC)
    clock.set(datetime(2026, 3, 10, 23, tzinfo=UTC))
    near = engine.check("acme", "chat")
    assert (near.outcome, near.retry_after()) == ("throttle", 3600)
    clock.advance(HOUR)
    assert engine.check("acme", "chat").allowed


def test_a_decision_is_json_ready(engine):
    engine.subscribe("acme", "pro")
    engine.consume("acme", "storage", 0)
    for decision in (engine.check("acme", "api_calls"), engine.consume("acme", "seats"), engine.check("acme", "nope")):
        assert json.loads(json.dumps(decision.to_dict())) == decision.to_dict()


# --- events


def test_every_decision_is_told(engine):
    told = {event: [] for event in ("decision", "denied", "consumed")}
    for event, seen in told.items():
        engine.on(event, seen.append)
    allowed = engine.check("acme", "seats")
    booked = engine.consume("acme", "seats", 2, key="k")
    denied = engine.consume("acme", "seats")
    replayed = engine.consume("acme", "seats", 2, key="k")
    unknown = engine.check("acme", "nope")
    engine.subscribe("acme", "pro")
    assert told["decision"] == [allowed, booked, denied, replayed, unknown]
    assert told["denied"] == [denied, unknown]
    assert told["consumed"] == [booked]


def test_a_remembered_decision_is_told_as_well(engine):
    engine.check("acme", "seats")
    seen = []
    engine.on("decision", seen.append)
    for _ in range(3):
        engine.check("acme", "seats")
    assert len(seen) == 3


def test_a_listener_that_fails_is_logged_and_disturbs_nobody(engine, caplog):
    seen = []

    def fails(_):
        raise RuntimeError("no")

    engine.on("consumed", fails)
    engine.on("consumed", seen.append)
    with caplog.at_level(logging.ERROR, logger="entitlements"):
        assert engine.consume("acme", "seats").allowed
    assert len(seen) == 1
    assert "a listener for 'consumed' failed" in caplog.text


def test_a_listener_may_use_the_engine(storage, catalog_file):
    engine, seen = Entitlements(catalog_file, storage=storage), []
    engine.on("consumed", lambda decision: seen.append(engine.check(decision.customer, decision.feature).used))
    engine.consume("acme", "seats")
    assert seen == [1]
    engine.close()


def test_an_event_nobody_tells_is_refused(engine):
    with pytest.raises(ValueError, match="'consume' is no event; did you mean 'consumed'"):
        engine.on("consume", print)


# --- snapshots


def test_a_snapshot_is_every_decision_of_one_instant(engine):
    engine.subscribe("acme", "pro")
    engine.consume("acme", "chat", 3)
    snapshot = engine.snapshot("acme")
    assert list(snapshot.features) == list(engine.catalog.features)
    assert all(snapshot.features[key] == engine.check("acme", key) for key in engine.catalog.features)
    assert (snapshot.customer, snapshot.at, snapshot.catalog_version) == ("acme", START, engine.catalog.version)
    shown = snapshot.to_dict()
    assert json.loads(json.dumps(shown)) == shown
    assert shown["etag"] == snapshot.etag


def test_an_etag_changes_exactly_with_what_is_shown(engine, clock):
    engine.subscribe("acme", "pro")
    first = engine.snapshot("acme").etag
    clock.advance(HOUR)
    assert engine.snapshot("acme").etag == first
    engine.consume("acme", "chat")
    second = engine.snapshot("acme").etag
    assert second != first
    engine.consume("other", "seats")
    assert engine.snapshot("acme").etag == second
    assert engine.snapshot("other").etag != engine.snapshot("acme").etag


def test_two_storages_show_the_same_etag(opened, catalog_file, database):
    etags = []
    for storage in ("memory:", f"sqlite:///{database}"):
        ent = opened(catalog_file, storage=storage)
        ent.subscribe("acme", "pro")
        ent.consume("acme", "storage", 0)
        ent.override("acme", "api_calls", "unlimited")
        etags.append(ent.snapshot("acme").etag)
    assert etags[0] == etags[1]


def test_an_explanation_lists_every_source(engine):
    engine.subscribe("acme", "pro")
    engine.promote("acme", "launch", at=START + DAY)
    explained = engine.explain("acme", "api_calls")
    assert {row.source: row.outcome for row in explained.candidates} == {
        "plan:pro": "won", "parent:free": "lower", "promotion:launch": "not yet"
    }  # fmt: skip
    assert "plan:pro" in str(explained)
    assert engine.explain("acme", "nope").candidates == ()


# --- opening and closing


def test_an_engine_is_a_context_manager(storage, catalog_file, clock):
    with Entitlements(catalog_file, storage=storage, clock=clock) as ent:
        assert ent.consume("acme", "seats")
    for call in (
        lambda: ent.consume("acme", "seats"),
        lambda: ent.snapshot("acme"),
        lambda: ent.entries("acme"),
        lambda: ent.check("acme", "seats"),
        lambda: ent.check("acme", "seats", requested=2),
        ent.feed,
    ):
        with pytest.raises(StorageUnavailable, match="is closed"):
            call()
    ent.close()


def test_what_was_written_is_there_after_a_restart(database, catalog_file, clock):
    address = f"sqlite:///{database}"
    with Entitlements(catalog_file, storage=address, clock=clock) as ent:
        ent.subscribe("acme", "pro")
        ent.override("acme", "api_calls", {"limit": "unlimited", "reset": "day"}, reason="é")
        ent.consume("acme", "chat", 3, scope={"team": "a"})
        before = (ent.entries("acme"), ent.snapshot("acme").to_dict(), ent.feed())
    with Entitlements(catalog_file, storage=address, clock=clock) as ent:
        assert (ent.entries("acme"), ent.snapshot("acme").to_dict(), ent.feed()) == before


def test_entries_and_the_feed_are_read_in_pages(engine):
    for _ in range(5):
        engine.consume("acme", "seats", 0)
    engine.consume("other", "seats", 0)
    assert [entry.seq for entry in engine.entries("acme", after=2, limit=2)] == [3, 4]
    page = engine.feed(limit=4)
    rest = engine.feed(after=page.cursor)
    assert [batch.customer for batch in (*page.batches, *rest.batches)] == ["$catalog"] + ["acme"] * 5 + ["other"]
    assert engine.feed(after=rest.cursor).batches == ()


# --- what is remembered


class Counting(MemoryStorage):
    """A storage that counts how often it is read."""

    def __init__(self):
        super().__init__()
        self.reads = 0

    def state(self, customer, reads):
        self.reads += 1
        return super().state(customer, reads)


@pytest.fixture
def counting():
    return Counting()


def reads_of(storage, call):
    before = storage.reads
    call()
    return storage.reads - before


def test_a_check_is_answered_from_memory_until_something_can_have_changed(opened, catalog_file, counting, clock):
    ent = opened(catalog_file, storage=counting)
    ent.start_trial("acme", "pro", days=1)
    ent.check("acme", "exports")
    time.sleep(0.06)
    ent.check("acme", "exports")
    assert reads_of(counting, lambda: [ent.check("acme", "exports") for _ in range(100)]) == 0
    clock.advance(DAY)
    assert reads_of(counting, lambda: ent.check("acme", "exports")) == 1
    assert not ent.check("acme", "exports")


def test_a_plan_that_brings_an_add_on_back_is_an_upgrade(opened):
    """Found in review: the add-on was held and no plan, and "no plan or add-on on sale" was said to allow it."""
    features = {"tokens": {"type": "metered", "reset": "month"}}
    addons = {"extra": {"plans": ["basic"], "entitlements": {"tokens": 5}}}
    ent = opened({"version": 1, "features": features, "plans": {"basic": {}, "other": {}}, "addons": addons})
    ent.subscribe("acme", "basic")
    ent.add_addon("acme", "extra")
    ent.cancel("acme")
    assert ent.check("acme", "tokens", requested=5).upgrade == ("plan:basic",)
    assert ent.check("acme", "tokens", requested=6).upgrade == ()
    ent.subscribe("acme", "basic")
    assert ent.check("acme", "tokens", requested=5)


def test_a_write_names_the_upgrades_that_a_check_names_where_another_plan_has_used_its_own_windows(opened, clock):
    """What was used while an earlier plan granted the feature counts again if it does; a write remembers that, too."""
    plans = {
        "big": {"product": "old", "entitlements": {"tokens": 8}},
        "none": {"product": "old"},
        "small": {"product": "new", "entitlements": {"tokens": 2}},
    }
    features = {"tokens": {"type": "metered", "reset": "month"}}
    products = {"old": {}, "new": {}}
    ent = opened({"version": 1, "products": products, "features": features, "plans": plans})
    ent.subscribe("acme", "big")
    ent.consume("acme", "tokens", 8)
    ent.change_plan("acme", "none")
    clock.advance(DAY)
    ent.subscribe("acme", "small")
    for number in range(3):
        ent.consume("acme", "tokens", 1, key=f"k{number}")
    denied = ent.consume("acme", "tokens", 1)
    assert (denied.allowed, denied.upgrade) == (False, ())
    assert ent.check("acme", "tokens").upgrade == ()


def test_a_remembered_denial_names_the_upgrades_of_now(opened, clock):
    """Found by the random histories: two engines named different upgrades, as their memories were older or younger."""
    plans = {
        "monthly": {"entitlements": {"tokens": 5}},
        "daily": {"entitlements": {"tokens": {"limit": 3, "reset": "day"}}},
    }
    ent = opened({"version": 1, "features": {"tokens": {"type": "metered", "reset": "month"}}, "plans": plans})
    ent.subscribe("acme", "monthly")
    ent.consume("acme", "tokens", 5)
    time.sleep(0.06)
    assert ent.check("acme", "tokens").upgrade == ()
    clock.advance(DAY)
    assert ent.check("acme", "tokens").upgrade == ent.check("acme", "tokens", requested="1").upgrade == ("plan:daily",)


def test_a_denial_at_the_start_of_a_window_is_not_remembered_past_it(opened, clock):
    """Found by the random histories."""
    plans = {"daily": {"entitlements": {"tokens": {"limit": 3, "reset": "day"}}}}
    ent = opened({"version": 1, "features": {"tokens": {"type": "metered", "reset": "month"}}, "plans": plans})
    clock.set(datetime(2026, 3, 11, tzinfo=UTC))
    ent.record("acme", "tokens", 5)
    time.sleep(0.06)
    assert ent.check("acme", "tokens").upgrade == ()
    clock.advance(HOUR)
    assert ent.check("acme", "tokens").upgrade == ent.check("acme", "tokens", requested="1").upgrade


def test_only_so_many_customers_are_remembered(opened, catalog_file, counting):
    ent = opened(catalog_file, storage=counting, cache=3)
    for customer in "abcd":
        ent.check(customer, "seats")
    assert reads_of(counting, lambda: [ent.check(customer, "seats") for customer in "bcd"]) == 0
    assert reads_of(counting, lambda: ent.check("a", "seats")) == 1
    assert reads_of(counting, lambda: ent.check("b", "seats")) == 1


def test_an_own_write_is_seen_at_once(engine):
    assert engine.check("acme", "seats").used == 0
    for expected in range(1, 3):
        engine.consume("acme", "seats")
        assert engine.check("acme", "seats").used == expected
    assert not engine.check("acme", "exports")
    engine.subscribe("acme", "pro")
    assert engine.check("acme", "exports")
    engine.cancel("acme")
    assert not engine.check("acme", "exports")


def test_a_write_of_another_engine_is_seen_soon(opened, shared, catalog_file):
    one, other = opened(catalog_file, storage=shared), opened(catalog_file, storage=shared)
    assert not other.check("acme", "exports")
    one.subscribe("acme", "pro")
    assert eventually(lambda: other.check("acme", "exports").allowed, True, within=2) < 1
    one.consume("acme", "chat", 5)
    eventually(lambda: other.check("acme", "chat").used, 5, within=1)
    assert other.consume("acme", "chat", 195)
    assert not one.consume("acme", "chat")


def test_what_a_write_decides_on_is_never_remembered(opened, shared, catalog_file):
    one, other = opened(catalog_file, storage=shared), opened(catalog_file, storage=shared)
    assert one.check("acme", "seats").remaining == 2
    other.consume("acme", "seats", 2)
    assert not one.consume("acme", "seats")


def test_the_answer_of_one_customer_is_never_that_of_another(engine):
    engine.subscribe("acme", "pro")
    for _ in range(2):
        assert [engine.check(customer, "exports").customer for customer in ("acme", "other")] == ["acme", "other"]
        assert [engine.check(customer, "exports").allowed for customer in ("acme", "other")] == [True, False]


# --- a storage that is away


class Away(MemoryStorage):
    """A storage that can be away."""

    away = False

    def state(self, customer, reads):
        if self.away:
            raise StorageUnavailable("away")
        return super().state(customer, reads)

    def pulse(self):
        if self.away:
            raise StorageUnavailable("away")
        return super().pulse()


def test_a_check_falls_back_as_its_feature_says_and_says_so(opened, caplog):
    features = {name: {"type": "boolean", "on_unavailable": name} for name in ("deny", "allow")}
    storage = Away()
    ent = opened({"version": 1, "features": features}, storage=storage)
    seen = []
    ent.on("stale", seen.append)
    storage.away = True
    allowed, denied = ent.check("acme", "allow"), ent.check("acme", "deny")
    assert (allowed.allowed, allowed.fallback) == (True, True)
    assert (denied.allowed, denied.fallback, denied.code) == (False, True, "storage_unavailable")
    assert seen == [allowed, denied]
    assert "storage unavailable, feature deny answered by policy deny" in caplog.text
    storage.away = False
    assert ent.check("acme", "allow").code == "unknown_customer"


@pytest.mark.parametrize(("feature", "asked"), [("seats", {"requested": 500}), ("history", {"value": 500})])
def test_a_fallback_never_answers_another_question(opened, catalog_file, feature, asked):
    storage = Away()
    ent = opened(catalog_file, storage=storage)
    ent.check("acme", feature)
    time.sleep(0.06)
    ent.check("acme", feature)
    storage.away = True
    assert not ent.check("acme", feature, **asked)


class AnsweringTwice(MemoryStorage):
    """A storage whose first commit for a customer succeeds without saying so."""

    unsaid = True

    def transact(self, customer, key, reads, decide):
        result = super().transact(customer, key, reads, decide)
        if self.unsaid and customer == "acme":
            self.unsaid = False
            raise OutcomeUnknown(key)
        return result


def test_a_commit_of_which_nobody_knows_is_asked_about_again_with_the_same_key(opened, catalog_file):
    ent = opened(catalog_file, storage=AnsweringTwice())
    decision = ent.consume("acme", "seats")
    assert (decision.used, decision.receipt.replayed) == (1, True)
    assert len(ent.entries("acme")) == 1


# --- options


@pytest.mark.parametrize(
    "option",
    [
        {"cache": "many"},
        {"cache": -1},
        {"throttle_within": 1e20},
        {"throttle_within": float("nan")},
        {"throttle_within": "hour"},
        {"throttle_within": -5},
        {"max_stale": "x"},
        {"max_stale": -1},
        {"timeout": "x"},
        {"write_timeout": "x"},
        {"clock": 5},
    ],
    ids=repr,
)
def test_an_option_that_is_none_is_refused_by_name(catalog_file, option):
    (name,) = option
    with pytest.raises((TypeError, ValueError), match=name):
        Entitlements(catalog_file, storage="memory:", **option).close()


# --- two readings of the clock


class Ticking:
    """A clock that shows one instant after another."""

    def __init__(self, *instants):
        self.instants = list(instants)

    def __call__(self):
        return self.instants.pop(0) if len(self.instants) > 1 else self.instants[0]


def test_an_answer_is_about_one_instant(opened, catalog_file):
    clock = Ticking(START)
    ent = opened(catalog_file, storage="memory:", clock=clock)
    ent.start_trial("acme", "pro", days=1)
    time.sleep(0.06)
    ent.check("acme", "history")
    clock.instants = [START + DAY - timedelta(microseconds=1), START + DAY]
    decision = ent.check("acme", "exports")
    assert decision.allowed is (decision.at < START + DAY)


# --- threads


@pytest.mark.parametrize(("depletion", "booked"), [("hard", 100), ("partial", 100)])
def test_threads_never_take_more_than_the_limit(opened, depletion, booked):
    features = {"tokens": {"type": "metered", "reset": "month"}}
    plans = {"p": {"entitlements": {"tokens": {"limit": 100, "depletion": depletion}}}}
    ent = opened({"version": 1, "default_plan": "p", "features": features, "plans": plans})
    amounts = (1, 2, 3)

    def work(n):
        decisions = [ent.consume("acme", "tokens", amounts[(n + turn) % 3]) for turn in range(12)]
        return [decision.receipt.booked for decision in decisions if decision]

    taken = [amount for taken in together(8, work) for amount in taken]
    assert sum(taken) == ent.check("acme", "tokens").used == booked
    assert sum(entry.amount for entry in ent.entries("acme")) == booked
    assert [entry.seq for entry in ent.entries("acme")] == list(range(1, len(taken) + 1))


def test_threads_take_every_unit_there_is(engine):
    engine.override("acme", "seats", 100)

    def work(n):
        return sum(engine.consume("acme", "seats").allowed for _ in range(20))

    assert sum(together(8, work)) == 100
    assert engine.check("acme", "seats").used == 100


def test_two_engines_together_never_take_more_than_the_limit(opened, shared, catalog_file):
    engines = [opened(catalog_file, storage=shared) for _ in range(2)]
    engines[0].override("acme", "seats", 100)

    def work(n):
        return sum(engines[n % 2].consume("acme", "seats").allowed for _ in range(20))

    assert sum(together(8, work)) == 100


def test_threads_of_readers_and_writers_agree_in_the_end(engine):
    engine.subscribe("acme", "pro")

    def work(n):
        for turn in range(15):
            if n % 2:
                engine.consume("acme", "chat")
                engine.set_status("acme", ("active", "past_due")[turn % 2])
            else:
                seen = engine.check("acme", "chat")
                assert 0 <= seen.used <= 60
                assert engine.snapshot("acme").features["exports"].allowed

    together(8, work)
    assert engine.check("acme", "chat").used == 60
    head, counters = fold(engine._storage.batches("acme"))
    assert counters[("chat/day (calendar)", datetime(2026, 3, 10, tzinfo=UTC))] == 60
    assert engine._storage.state("acme", lambda _: ()).head == head


def test_threads_that_only_look_never_disturb_each_other(catalog_file, clock, often_switching):
    with Entitlements(catalog_file, storage="memory:", clock=clock, cache=2) as ent:
        together(4, lambda n: [ent.check(f"c{turn * (n + 1) % 5}", "history") for turn in range(1500)])


def test_threads_open_a_customer_and_fix_a_feature_once(engine):
    together(8, lambda n: engine.consume("acme", "seats", 0))
    together(8, lambda n: engine.promote(f"c{n}", "launch"))
    batches = engine.feed().batches
    assert len([batch for batch in batches if batch.customer == "$catalog"]) == 1
    assert engine.check("c3", "api_calls").limit is UNLIMITED


def test_clocks_of_threads_do_not_run_against_each_other(opened, catalog_file):
    clocks = [FrozenClock(START + n * HOUR) for n in range(4)]
    storage = MemoryStorage()
    engines = [opened(catalog_file, storage=storage, clock=clock) for clock in clocks]
    together(4, lambda n: [engines[n].consume("acme", "seats", 0) for _ in range(10)])
    recorded = [entry.recorded_at for entry in engines[0].entries("acme")]
    assert recorded == sorted(recorded)
