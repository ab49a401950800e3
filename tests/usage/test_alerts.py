"""Alerts: a line for each crossing of a threshold, in the batch that crosses, and a call for who listens."""

from datetime import UTC, datetime, timedelta

import pytest

from entitlements import Catalog
from entitlements.errors import CatalogError
from entitlements.testing import FrozenClock

DAY = timedelta(days=1)
DOCUMENT = {
    "version": 1,
    "features": {
        "chat": {"type": "metered", "reset": "day", "alerts": ["1", "0.5"]},
        "images": {"type": "metered", "reset": {"every": "hour", "align": "first_use"}, "alerts": ["0.5"]},
        "calls": {"type": "metered", "alerts": ["0.5"]},
    },
    "credits": {"ai": {"scale": 1, "alerts": [20, "5.5"], "expiring": "7d"}, "plain": {}},
    "plans": {
        "pro": {"entitlements": {"chat": {"limit": 10, "depletion": "soft"}, "images": 4, "calls": "unlimited"}},
        "small": {"entitlements": {"chat": {"limit": 4, "depletion": "soft"}, "images": 2, "calls": 100}},
    },
    "addons": {"more": {"entitlements": {"chat": 90}}},
}


@pytest.fixture
def ent(opened, shared):
    engine = opened(Catalog.load(DOCUMENT), storage=shared)
    engine.subscribe("acme", "pro")
    return engine


@pytest.fixture
def told(ent):
    found = []
    ent.on("threshold", found.append)
    return found


def crossed(ent):
    return [(e.data["of"], e.subject, e.data["threshold"], e.data["value"]) for e in ent.entries("acme", limit=10**6) if e.kind == "crossed"]


def test_each_threshold_of_a_limit_is_told_once_when_it_is_reached_and_again_after_going_back(ent, told):
    for amount in (4, 1, 1, 3):
        ent.consume("acme", "chat", amount)
    assert crossed(ent) == [("limit", "chat", "0.5", "5")]
    ent.free("acme", "chat", 6)
    ent.consume("acme", "chat", 9)
    assert crossed(ent)[1:] == [("limit", "chat", "0.5", "12"), ("limit", "chat", "1", "12")]
    assert [(alert.customer, alert.of, alert.threshold, alert.limit) for alert in told] == [
        ("acme", "limit", "0.5", "10"), ("acme", "limit", "0.5", "10"), ("acme", "limit", "1", "10"),
    ]  # fmt: skip


def test_a_new_window_arms_anew(ent, clock):
    for _ in range(2):
        ent.consume("acme", "chat", 6)
        ent.consume("acme", "images", 2)
        clock.advance(DAY)
    assert [line[:3] for line in crossed(ent)] == [("limit", "chat", "0.5"), ("limit", "images", "0.5")] * 2


def test_a_crossing_stands_in_the_batch_that_crosses_and_is_not_told_on_a_replay(ent, told):
    receipt = ent.consume("acme", "chat", 6, key="k").receipt
    assert [entry.kind for entry in ent.entries("acme") if entry.key == "k"] == ["used", "crossed"]
    assert receipt.seq == ent.entries("acme")[-1].seq == told[0].seq
    assert ent.consume("acme", "chat", 6, key="k").receipt.seq == receipt.seq
    assert len(told) == 1
    last = ent.feed().batches[-1]
    assert (last.key, last.entries[-1].kind) == ("k", "crossed")


def test_records_holds_and_what_is_unlimited(ent, told):
    ent.record("acme", "calls", 10**6)
    ent.reserve("acme", "chat", 5, key="h", ttl=None).settle(10)
    assert [alert.threshold for alert in told] == ["0.5", "1"]


def test_a_balance_that_falls_is_told_and_one_that_rises_arms_again(ent, told):
    ent.grant_credits("acme", "ai", 30, key="a")
    first = ent.consume_credits("acme", "ai", 5, key="b")
    second = ent.consume_credits("acme", "ai", 5, key="c")
    ent.consume_credits("acme", "ai", "14.5", key="d")
    ent.grant_credits("acme", "ai", 30, key="e")
    ent.consume_credits("acme", "ai", 30, key="f")
    ent.refund("acme", "f", key="g")
    ent.reserve_credits("acme", "ai", 30, key="h")
    assert [(alert.threshold, alert.value) for alert in told] == [
        ("20.0", "20.0"), ("5.5", "5.5"), ("20.0", "5.5"), ("5.5", "5.5"), ("20.0", "5.5"), ("5.5", "5.5"),
    ]  # fmt: skip
    assert second.receipt.seq == first.receipt.seq + 2
    assert ent.consume_credits("acme", "ai", 5, key="c").receipt.seq == second.receipt.seq


def test_a_balance_that_falls_by_time_is_told_by_the_next_batch(ent, clock, told):
    ent.grant_credits("acme", "ai", 30, key="a", expires_in=3600)
    clock.advance(DAY)
    ent.consume("acme", "chat")
    fallen = [(alert.threshold, alert.value) for alert in told if alert.of == "balance"]
    assert fallen == [("20.0", "0.0"), ("5.5", "0.0")]


@pytest.mark.parametrize("swept", [False, True])
@pytest.mark.parametrize("begins", ["a plan grants", "a block begins", "a hold lapses", "one that ended meanwhile"])
def test_a_balance_that_rose_in_the_absence_of_everybody_is_armed_whoever_swept(opened, shared, clock, begins, swept):
    monthly = {"entitlements": {"chat": 10}, "credits": {"ai": {"grant": 30, "every": "month"}}}
    ent, told = opened(Catalog.load({**DOCUMENT, "plans": {"m": monthly}}), storage=shared), []
    ent.on("threshold", lambda alert: told.append(alert.threshold) if alert.of == "balance" else None)
    later = clock() + 40 * DAY
    if begins == "a plan grants":
        ent.subscribe("acme", "m")
        ent.consume_credits("acme", "ai", 28, key="a")
    else:
        ent.grant_credits("acme", "ai", 2, key="low")
        ends = later - DAY if begins == "one that ended meanwhile" else None
        ent.grant_credits("acme", "ai", 30, key="high", effective_at=None if "hold" in begins else later - 9 * DAY, expires_at=ends)
    if begins == "a hold lapses":
        ent.reserve_credits("acme", "ai", 30, key="hold", ttl=20 * DAY)
    told.clear()
    for days in (32, 8):
        clock.advance(days * DAY)
        assert not swept or ent.sweep("acme") is not None
    ent.consume_credits("acme", "ai", 0 if begins == "one that ended meanwhile" else 28, key="b")
    assert told == ["20.0", "5.5"]
    ent.consume_credits("acme", "ai", 1, key="c")
    assert told == ["20.0", "5.5"]


def test_a_block_about_to_end_is_told_of_once(ent, clock, told):
    ent.grant_credits("acme", "ai", 50, key="a", expires_in=10 * DAY)
    ent.grant_credits("acme", "ai", 50, key="short", expires_in=DAY)
    ent.grant_credits("acme", "ai", 50, key="never")
    ends = clock() + 10 * DAY
    clock.advance(3 * DAY)
    assert ent.sweep("acme") == 2
    assert ent.sweep("acme") == 0
    short, alert = told
    assert (short.of, short.block, short.at) == ("expiry", "short", clock() - 3 * DAY)
    assert (alert.of, alert.block, alert.threshold, alert.value) == ("expiry", "a", ends.isoformat(), "50.0")
    clock.advance(DAY)
    ent.consume_credits("acme", "ai", 1, key="b")
    assert len(told) == 2


def test_a_block_with_less_life_than_the_notice_is_told_of_by_the_batch_that_grants_it(ent, clock, told):
    ent.grant_credits("acme", "ai", 50, key="a", expires_in=3 * DAY)
    assert [(alert.of, alert.block, alert.key) for alert in told] == [("expiry", "a", "a")]
    ent.consume_credits("acme", "ai", 50, key="b")
    told.clear()
    ent.refund("acme", "b", key="back")  # what is opened again is not granted again
    clock.advance(DAY)
    ent.consume_credits("acme", "ai", 1, key="c")
    assert [alert for alert in told if alert.of == "expiry"] == []


def test_a_block_that_is_held_as_its_notice_begins_is_told_of_then_and_not_again(ent, clock, told):
    for block, held in (("all", 50), ("part", 20)):
        ent.grant_credits("acme", "ai", 50, key=block, expires_in=10 * DAY)
        ent.reserve_credits("acme", "ai", held, key=f"of {block}", ttl=6 * DAY)
    ent.grant_credits("acme", "ai", 50, key="used up", expires_in=9 * DAY)
    ent.consume_credits("acme", "ai", 50, key="c")
    clock.advance(4 * DAY)
    ent.grant_credits("acme", "plain", 1, key="another write")
    assert [(alert.block, alert.value) for alert in told if alert.of == "expiry"] == [("all", "50.0"), ("part", "50.0")]
    told.clear()
    clock.advance(3 * DAY)  # the holds have lapsed
    ent.sweep("acme")
    assert ent.balance("acme", "ai").available == 100
    assert [alert for alert in told if alert.of == "expiry"] == []


@pytest.mark.parametrize("swept", [(), (32,), (32, 53), (10, 32, 40)])
def test_a_block_that_was_granted_in_the_absence_of_everybody_is_told_of_once_however_late(opened, shared, swept):
    clock, told = FrozenClock(datetime(2026, 1, 1, tzinfo=UTC)), []
    monthly = {"entitlements": {"chat": 10}, "credits": {"ai": {"grant": 10, "every": "month"}}}
    document = {**DOCUMENT, "plans": {"m": monthly}}
    ent = opened(Catalog.load(document), storage=shared, clock=clock)
    ent.on("threshold", told.append)
    ent.subscribe("acme", "m")
    began = clock()
    for days in (*swept, 55, 56):
        clock.advance(began + days * DAY - clock())
        ent.sweep("acme") if days in swept else ent.consume("acme", "chat")
    ends = datetime(2026, 3, 1, tzinfo=UTC)
    assert [alert.threshold for alert in told if alert.of == "expiry"] == [ends.isoformat()]


def test_a_budget_tells_at_its_own_parts_and_whose_it_is(ent, told):
    ent.set_budget("acme", "user:ann", feature="calls", limit=10, every="day", action="notify", alerts=["0.8", "1", "1.5"])
    ent.set_budget("acme", None, feature="calls", limit=100, every="day", alerts=[])
    for amount in (7, 1, 1, 6, 100):
        ent.consume("acme", "calls", amount, scope="user:ann/agent:bot")
    assert [(alert.of, alert.threshold, alert.value, dict(alert.scope)) for alert in told] == [
        ("budget", "0.8", "8", {"user": "ann"}), ("budget", "1", "15", {"user": "ann"}), ("budget", "1.5", "15", {"user": "ann"}),
    ]  # fmt: skip
    ent.erase("acme")
    assert "ann" not in repr(ent.entries("acme"))


def test_a_budget_that_comes_down_to_what_is_used_tells_in_its_own_batch_and_is_armed_by_going_up(ent, told):
    def limit(to, **more):
        ent.set_budget("acme", "user:ann", feature="calls", limit=to, every="day", alerts=["0.5", "1"], **more)
        return [(alert.threshold, alert.value, alert.limit) for alert in told[len(seen) :] if not seen.append(alert)]

    seen = []
    limit(200)
    ent.consume("acme", "calls", 50, scope="user:ann")
    assert limit(100) == [("0.5", "50", "100")]
    assert limit(40, key="lower") == [("1", "50", "40")]
    assert [entry.kind for entry in ent.entries("acme") if entry.key == "lower"] == ["budget_set", "crossed"]
    ent.record("acme", "calls", 5, scope="user:ann")
    assert (limit(40), limit(200), limit(60)) == ([], [], [("0.5", "55", "60")])
    ent.remove_budget("acme", "user:ann", feature="calls", every="day")
    assert limit(55) == [("0.5", "55", "55"), ("1", "55", "55")]
    assert ent.verify("acme") == ()


def test_a_budget_set_from_a_day_to_come_or_on_what_is_not_used_tells_nothing(ent, clock, told):
    ent.set_budget("acme", None, feature="calls", limit=9, every="none")
    ent.consume("acme", "calls", 8)
    ent.set_budget("acme", None, feature="calls", limit=8, every="none", at=clock() + DAY)
    ent.set_budget("acme", "user:bob", feature="calls", limit=8, every="none", at=clock() + DAY)
    ent.set_budget("acme", "user:ann", feature="calls", limit=0, every="none", action="notify")
    ent.set_budget("acme", None, feature="calls", limit=7, every="none", alerts=[])
    assert told == []
    ent.record("acme", "calls", 1, scope="user:ann")
    assert [(alert.value, alert.limit) for alert in told] == [("1", "0")]


@pytest.mark.parametrize(
    ("up", "down", "reached"),
    [
        (("override", "chat", 40), ("remove_override", "chat"), ["0.5"]),
        (("override", "chat", 40), ("override", "chat", 4), ["0.5", "1"]),
        (("add_addon", "more"), ("remove_addon", "more"), ["0.5"]),
        (("change_plan", "pro"), ("change_plan", "small"), ["1"]),
    ],
)
def test_a_limit_that_comes_down_to_what_is_used_tells_in_its_own_batch_and_is_armed_by_going_up(ent, told, up, down, reached):
    getattr(ent, up[0])("acme", *up[1:])
    ent.record("acme", "chat", 6)
    before = len(told)
    for key in ("once", "again"):
        getattr(ent, down[0])("acme", *down[1:], key=key)
        ent.record("acme", "chat", 0)
        getattr(ent, up[0])("acme", *up[1:])
        assert [entry.data["threshold"] for entry in ent.entries("acme") if (entry.key, entry.kind) == (key, "crossed")] == reached
    assert [(alert.of, alert.subject, alert.threshold, alert.value) for alert in told[before:]] == [("limit", "chat", part, "6") for part in reached * 2]
    assert ent.verify("acme") == ()


def test_a_smaller_plan_tells_of_every_feature_and_one_that_starts_again_of_none(ent, clock, told):
    ent.consume("acme", "chat", 4)
    ent.consume("acme", "images", 1)
    ent.consume("acme", "calls", 70)
    ent.change_plan("acme", "small", usage="reset")
    ent.change_plan("acme", "pro")
    assert told == []
    ent.consume("acme", "chat", 4)
    ent.consume("acme", "images", 1)
    ent.consume("acme", "calls", 70)
    ent.change_plan("acme", "small", at=clock() + DAY)
    assert told == []
    ent.change_plan("acme", "small")
    assert crossed(ent) == [
        ("limit", "chat", "0.5", "4"), ("limit", "chat", "1", "4"), ("limit", "images", "0.5", "1"), ("limit", "calls", "0.5", "70"),
    ]  # fmt: skip


def test_a_plan_that_brings_its_windows_back_tells_of_what_was_used_in_them(ent, clock, told):
    anchor = clock()
    ent.consume("acme", "chat", 4)
    ent.cancel("acme")
    clock.advance(DAY / 4)
    ent.subscribe("acme", "small", anchor=anchor)
    assert [(alert.of, alert.threshold, alert.value) for alert in told] == [("limit", "0.5", "4"), ("limit", "1", "4")]
    ent.cancel("acme")
    ent.subscribe("acme", "small", zone="Asia/Tokyo")
    assert (len(told), ent.check("acme", "chat").used) == (2, 0)


def test_an_override_with_a_period_of_its_own_tells_of_what_is_counted_in_it(ent, clock, told):
    hourly = {"limit": 10, "reset": "hour"}
    ent.override("acme", "chat", hourly)
    ent.consume("acme", "chat", 4)
    clock.advance(DAY / 240)
    ent.remove_override("acme", "chat")
    assert told == []
    ent.override("acme", "chat", {**hourly, "limit": 4})
    assert [(alert.threshold, alert.value, alert.limit) for alert in told] == [("0.5", "4", "4"), ("1", "4", "4")]


def test_of_several_limits_that_must_all_have_room_each_tells_also_while_another_is_the_tightest(opened, shared, clock):
    limits = [{"limit": 10, "reset": "day"}, {"limit": 30, "reset": "month"}]
    features = {"chat": {"type": "metered", "reset": "day", "alerts": ["0.8"]}}
    ent = opened(Catalog.load({"version": 1, "features": features, "plans": {"m": {"entitlements": {"chat": {"limits": limits}}}}}),
                 storage=shared)  # fmt: skip
    found = []
    ent.on("threshold", lambda alert: found.append((alert.value, alert.limit)))
    ent.subscribe("acme", "m")
    for use in (8, 6, 4, 6, 6):
        assert ent.consume("acme", "chat", use)
        clock.advance(DAY)
    assert not ent.consume("acme", "chat")
    assert found == [("8", "10"), ("24", "30")]
    ent.correct_usage("acme", "chat", 0, key="c")
    ent.override("acme", "chat", {"limit": 40, "reset": "month"})
    assert found == [("8", "10"), ("24", "30")]
    ent.remove_override("acme", "chat")
    assert found == [("8", "10"), ("24", "30"), ("30", "30")]


def test_a_denial_crosses_nothing(ent, told):
    assert not ent.consume("acme", "images", 5)
    assert (told, crossed(ent)) == ([], [])


@pytest.mark.parametrize("alerts", [["0"], ["-1"], ["0.0001"], ["11"]])
def test_parts_that_cannot_be_are_found_in_the_catalog(alerts):
    with pytest.raises(CatalogError, match="a part of the limit|zero or more"):
        Catalog.load({**DOCUMENT, "features": {"chat": {"type": "metered", "alerts": alerts}}, "plans": {}})


def test_alerts_are_written_again_and_are_for_what_is_used():
    made = Catalog.load(DOCUMENT)
    assert Catalog.load(made.document) == made
    with pytest.raises(CatalogError, match="says nothing on a boolean feature"):
        Catalog.load({"version": 1, "features": {"sso": {"type": "boolean", "alerts": ["1"]}}})


def test_alerts_in_percent_are_refused_with_the_part_to_write(ent):
    with pytest.raises(ValueError, match="more than 0, and at most 10; 80 percent is '0.8'"):
        ent.set_budget("acme", "team:x", feature="chat", limit=5, every="month", alerts=[80])
