"""Meters: in which periods usage is counted, where their windows lie, and how much room limits leave."""

from datetime import UTC, datetime, timedelta

import pytest

from entitlements.amounts import UNLIMITED
from entitlements.catalog.model import Catalog, Entitlement, Limit, Period
from entitlements.catalog.standing import Share, Source
from entitlements.ledger.entries import EPOCH
from entitlements.ledger.facts import Facts, HeldAddOn, Override, PromotionRun, Subscription
from entitlements.metering import Meter, Weighed, counters, counters_of, lasting_meters, meters, periods_of, weigh
from entitlements.periods import Window
from entitlements.resolution import Entitlements, resolve

MONTH, DAY, WEEK, NONE = Period("month"), Period("day"), Period("week"), Period("none")
TICK = timedelta(microseconds=1)


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def span(start, end):
    return Window(utc(start), utc(end))


AT = utc("2026-05-10 12:00")
BEGAN = utc("2026-01-31 09:30")
CATALOG = Catalog.load(
    {
        "default_plan": "free",
        "features": {
            "exports": {"type": "boolean"},
            "seats": {"type": "metered", "reset": "none"},
            "calls": {"type": "metered", "reset": "month"},
            "chat": {"type": "metered", "reset": {"every": "day", "align": "calendar"}},
            "render": {"type": "metered", "reset": {"every": "hour", "count": 5, "align": "first_use"}},
        },
        "products": {"app": {}, "support": {}},
        "plans": {
            "free": {"product": "app", "entitlements": {"chat": 5, "render": 1}},
            "pro": {"product": "app", "entitlements": {"seats": 20, "calls": 5000, "chat": 50, "render": 10}},
            "desk": {"product": "support", "entitlements": {"calls": 100}},
        },
        "addons": {"weekly": {"entitlements": {"calls": {"limit": 100, "reset": "week"}}}},
        "promotions": {"sprint": {"entitlements": {"calls": {"limit": 300, "reset": "day"}}}},
    }
)


def held(plan="pro", began=BEGAN, zone="UTC", version=None, **more):
    product = CATALOG.plans[plan].product
    more = {"started_at": began, "anchor": began, "zone": zone, "version": version, **more}
    return Subscription(product, product, plan, began, None, **more)


def known(*subscriptions, at=AT, catalog=CATALOG, sold=None, **facts):
    return resolve(catalog, Facts(subscriptions=subscriptions, **facts), at, sold=sold or {})


def meter(feature, period, *subscriptions, at=AT, opened=None, **facts):
    metered = CATALOG.features[feature]
    return meters(known(*subscriptions, at=at, **facts), opened or {}, metered, at)[period]


# --- in which periods


def test_usage_is_counted_in_every_period_the_catalog_names_for_a_feature():
    assert dict(periods_of(CATALOG, "calls")) == {DAY: "calls/day", MONTH: "calls/month", WEEK: "calls/week"}
    assert dict(periods_of(CATALOG, "seats")) == {NONE: "seats/none"}


def test_periods_come_in_an_order_that_does_not_depend_on_the_catalogs():
    assert [str(period) for period in periods_of(CATALOG, "calls")] == ["day", "month", "week"]


def test_a_name_tells_count_and_alignment():
    assert list(periods_of(CATALOG, "chat").values()) == ["chat/day (calendar)"]
    assert list(periods_of(CATALOG, "render").values()) == ["render/5 hours (first_use)"]


def test_usage_is_counted_in_the_periods_of_overrides_too():
    quarterly = Override(Entitlement("calls", "grant", limits=(Limit(1, Period("quarter")),)), BEGAN, None)
    counted = meters(known(held(), overrides=(quarterly,)), {}, CATALOG.features["calls"], AT)
    assert [str(period) for period in counted] == ["day", "month", "week", "quarter"]


# --- where the windows lie


def test_what_never_resets_has_one_counter_and_no_window():
    assert meter("seats", NONE, held()) == Meter(("seats/none", EPOCH), NONE)


def test_windows_are_anchored_on_the_subscription_and_clamp_at_month_ends():
    found = meter("calls", MONTH, held())
    assert found.window == span("2026-04-30 09:30", "2026-05-31 09:30")
    assert found.counter == ("calls/month", utc("2026-04-30 09:30"))
    assert not found.fresh


def test_all_periods_of_a_feature_share_the_anchor():
    assert meter("calls", DAY, held()).window == span("2026-05-10 09:30", "2026-05-11 09:30")
    assert meter("calls", WEEK, held()).window == span("2026-05-09 09:30", "2026-05-16 09:30")


def test_the_anchor_may_differ_from_the_beginning():
    moved = held(anchor=utc("2026-01-05"))
    assert meter("calls", MONTH, moved).window == span("2026-05-05", "2026-06-05")


def test_without_a_subscription_that_grants_it_windows_follow_the_calendar():
    run = PromotionRun("sprint", BEGAN, None)
    assert meter("calls", MONTH, promotions=(run,)).window == span("2026-05-01", "2026-06-01")
    assert meter("calls", DAY, promotions=(run,)).window == span("2026-05-10", "2026-05-11")


def test_the_first_held_subscription_that_grants_it_anchors():
    first, second = held("desk", utc("2026-01-20")), held("pro", utc("2026-02-25"))
    for pair in ((first, second), (second, first)):
        assert meter("calls", MONTH, *pair).window == span("2026-04-20", "2026-05-20")
        assert meter("chat", Period("day", align="calendar"), *pair).window == span("2026-05-10", "2026-05-11")


def test_a_calendar_period_ignores_the_anchor_but_keeps_the_zone():
    berlin = meter("chat", Period("day", align="calendar"), held(zone="Europe/Berlin"), at=utc("2026-05-10 22:00"))
    assert berlin.window == span("2026-05-10 22:00", "2026-05-11 22:00")


def test_without_an_anchor_the_calendar_is_that_of_the_first_held_subscription():
    elsewhere = held("desk", zone="Asia/Tokyo")
    found = meter("chat", Period("day", align="calendar"), elsewhere)
    assert found.window == span("2026-05-09 15:00", "2026-05-10 15:00")
    later = held("pro", utc("2026-02-01"), zone="Europe/Berlin", status="paused")
    assert meter("chat", Period("day", align="calendar"), later).window == span("2026-05-09 22:00", "2026-05-10 22:00")
    assert meter("chat", Period("day", align="calendar"), later, elsewhere).window == found.window


def test_windows_follow_the_wall_clock_of_the_zone_through_daylight_saving():
    began = utc("2026-03-01 08:00")  # 09:00 in Berlin
    found = meter("calls", DAY, held(began=began, zone="Europe/Berlin"), at=utc("2026-03-29 07:30"))
    assert found.window == span("2026-03-29 07:00", "2026-03-30 07:00")


def test_a_reset_is_the_fact_that_the_instant_lies_in_a_new_window():
    end = utc("2026-05-31 09:30")
    assert meter("calls", MONTH, held(), at=end - TICK).counter[1] == utc("2026-04-30 09:30")
    assert meter("calls", MONTH, held(), at=end).counter[1] == end


def test_one_instance_tells_the_windows_of_many_instants():
    """Counterexample: worked-out windows were kept for every instant asked about, without end."""
    entitlements = known(held())
    starts = []
    for hours in range(0, 24 * 40, 7):
        at = AT + timedelta(hours=hours)
        starts.append(meters(entitlements, {}, CATALOG.features["calls"], at)[MONTH].counter[1])
    assert sorted(set(starts)) == [utc("2026-04-30 09:30"), utc("2026-05-31 09:30")]
    assert starts == sorted(starts)
    assert len(entitlements.windows) == 3


def test_one_instance_moves_on_to_the_next_window_at_the_very_end_of_one():
    entitlements, end = known(held()), utc("2026-05-31 09:30")
    for at, start in ((end - TICK, utc("2026-04-30 09:30")), (end, end), (end - TICK, utc("2026-04-30 09:30"))):
        assert meters(entitlements, {}, CATALOG.features["calls"], at)[MONTH].counter[1] == start


def test_meters_that_are_remembered_are_those_of_the_instant():
    entitlements, end, calls = known(held()), utc("2026-05-31 09:30"), CATALOG.features["calls"]
    for at in (AT, end - TICK, end, AT, end + TICK):
        assert lasting_meters(entitlements, {}, calls, at) == meters(known(held()), {}, calls, at)
    assert lasting_meters(entitlements, {}, calls, AT) is lasting_meters(entitlements, {}, calls, AT + TICK)


def test_meters_whose_windows_open_at_first_use_are_worked_out_each_time():
    entitlements, render = known(held()), CATALOG.features["render"]
    for opened in ({}, {"render/5 hours (first_use)": AT - TICK}, {}):
        assert lasting_meters(entitlements, opened, render, AT) == meters(known(held()), opened, render, AT)


# --- windows that open with the first use


RENDER = Period("hour", 5, "first_use")


def test_a_window_opens_with_the_first_use():
    found = meter("render", RENDER, held())
    assert found == Meter(("render/5 hours (first_use)", AT), RENDER, Window(AT, AT + timedelta(hours=5)), fresh=True)


def test_an_open_window_lasts_its_period_from_the_first_use():
    opened = {"render/5 hours (first_use)": AT}
    last = meter("render", RENDER, held(), at=AT + timedelta(hours=5) - TICK, opened=opened)
    assert (last.counter[1], last.fresh) == (AT, False)
    assert last.window == Window(AT, AT + timedelta(hours=5))


def test_the_next_window_opens_with_the_next_first_use():
    opened, later = {"render/5 hours (first_use)": AT}, AT + timedelta(hours=5)
    found = meter("render", RENDER, held(), at=later, opened=opened)
    assert (found.counter[1], found.fresh) == (later, True)


# --- the counters of a whole customer


def by_feature(entitlements, opened=None, at=AT):
    return {
        counter
        for feature in entitlements.catalog.features.values()
        if feature.type == "metered"
        for counter in counters_of(entitlements, opened or {}, feature, at)
    }


def test_the_counters_of_a_feature_are_those_of_its_meters():
    metered = CATALOG.features["calls"]
    found = meters(known(held()), {}, metered, AT)
    assert counters_of(known(held()), {}, metered, AT) == tuple(meter.counter for meter in found.values())


def test_a_subscription_that_does_not_grant_a_feature_may_come_to_anchor_it():
    """Counterexample: what had been used under an earlier plan was not looked at before that plan was offered."""
    bare, desk = held("free", utc("2026-01-05")), held("desk", utc("2026-02-25"))
    starts = {start for name, start in counters_of(known(bare), {}, CATALOG.features["calls"], AT) if "month" in name}
    assert starts == {utc("2026-05-01"), utc("2026-05-05")}
    starts = {
        start for name, start in counters_of(known(bare, desk), {}, CATALOG.features["calls"], AT) if "month" in name
    }
    assert starts == {utc("2026-04-25"), utc("2026-05-05")}
    starts = {
        start for name, start in counters_of(known(held(), desk), {}, CATALOG.features["calls"], AT) if "month" in name
    }
    assert starts == {utc("2026-04-30 09:30")}


SOLD = Catalog.load(
    {
        "features": {"calls": {"type": "metered", "reset": "month"}},
        "plans": {"pro": {"entitlements": {"calls": {"limit": 9, "reset": "quarter"}}}},
    }
)
EVERYBODY = {
    "nobody": known,
    "on the default plan": lambda: known(promotions=(PromotionRun("sprint", BEGAN, None),)),
    "subscribed to the default plan": lambda: known(held("free")),
    "subscribed": lambda: known(held("pro"), addons=(HeldAddOn("weekly", 1, BEGAN, None),)),
    "subscribed elsewhere": lambda: known(held("desk", zone="Asia/Tokyo")),
    "paused": lambda: known(held("pro", status="paused")),
    "subscribed twice": lambda: known(held("pro"), held("desk", utc("2026-02-25"))),
    "pinned": lambda: known(held("pro", version=SOLD.version), sold={SOLD.version: SOLD}),
    "overridden": lambda: known(
        held("desk"),
        overrides=(Override(Entitlement("chat", "grant", limits=(Limit(1, Period("year")),)), BEGAN, None),),
    ),
}


@pytest.mark.parametrize("name", EVERYBODY)
def test_the_counters_of_a_customer_are_those_of_every_feature(name):
    entitlements = EVERYBODY[name]()
    assert by_feature(entitlements) == set(counters(entitlements, {}, AT))


def test_the_counters_of_a_customer_do_not_depend_on_who_was_asked_about_before():
    """Counterexample: who was on the default plan shared a layout with who had subscribed to it: IndexError."""
    for _ in range(2):
        for make in EVERYBODY.values():
            entitlements = make()
            assert by_feature(entitlements) == set(counters(entitlements, {}, AT))


def test_counters_asked_for_by_another_thread_amid_working_them_out_are_all_there(monkeypatch):
    catalog = Catalog.load(CATALOG.document)
    one, other = known(held(), catalog=catalog), known(held(), catalog=catalog)
    anchoring, amid = Entitlements.anchoring, []

    def asked_amid(self, feature):
        if self is one:
            amid.append(counters(other, {}, AT))
        return anchoring(self, feature)

    monkeypatch.setattr(Entitlements, "anchoring", asked_amid)
    complete = counters(one, {}, AT)
    assert len(amid) > 1
    assert {*amid} == {complete}


def test_the_counters_of_a_pinned_plan_are_in_its_own_periods_too():
    """Counterexample: a snapshot left out the counters of periods that only the sold version names."""
    entitlements = EVERYBODY["pinned"]()
    assert ("calls/quarter", utc("2026-04-30 09:30")) in counters(entitlements, {}, AT)


def test_open_windows_are_among_the_counters_of_a_customer():
    opened = {"render/5 hours (first_use)": AT - timedelta(hours=1)}
    entitlements = known(held())
    assert by_feature(entitlements, opened) == set(counters(entitlements, opened, AT))
    assert ("render/5 hours (first_use)", AT - timedelta(hours=1)) in counters(entitlements, opened, AT)


# --- room


def weighed(limit, used):
    return Weighed(limit, Meter(("calls/month", EPOCH), limit.period), used, Source("plan", "pro"))


@pytest.mark.parametrize(
    ("limit", "used", "bound", "room", "left"),
    [
        (Limit(10, MONTH), 3, 10, 7, 7),
        (Limit(10, MONTH), 12, 10, -2, -2),
        (Limit(0, MONTH), 0, 0, 0, 0),
        (Limit(10, MONTH, "partial"), 3, 10, 7, 7),
        (Limit(10, MONTH, "soft", 15), 12, 15, 3, -2),
        (Limit(10, MONTH, "partial", 15), 12, 15, 3, -2),
        (Limit(10, MONTH, "soft"), 12, None, None, -2),
        (Limit(UNLIMITED, MONTH), 12, None, None, None),
        (Limit(UNLIMITED, MONTH, "partial"), 12, None, None, None),
    ],
)
def test_the_room_a_limit_leaves(limit, used, bound, room, left):
    found = weighed(limit, used)
    assert (found.bound, found.room, found.left) == (bound, room, left)


def test_weighing_a_share_finds_what_is_used_of_each_of_its_limits():
    entitlements = known(held())
    counted = meters(entitlements, {}, CATALOG.features["calls"], AT)
    share = Share(Source("plan", "pro"), (Limit(5, DAY), Limit(9, MONTH)))
    found = weigh(share, counted, {("calls/month", utc("2026-04-30 09:30")): 4, ("calls/day", EPOCH): 99})
    assert [(each.limit, each.used, each.meter) for each in found] == [
        (Limit(5, DAY), 0, counted[DAY]),
        (Limit(9, MONTH), 4, counted[MONTH]),
    ]
