"""Judging: codes in their order, which allowance is shown, what passes, when a block becomes a throttle."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import attrs
import pytest

from entitlements.amounts import UNLIMITED
from entitlements.catalog.model import Catalog, Entitlement, Limit, Period
from entitlements.judging import judge, unknown_feature
from entitlements.ledger.facts import Facts, Override, PromotionRun, Subscription, Trial
from entitlements.ledger.state import Head
from entitlements.metering import meters
from entitlements.resolution import resolve
from entitlements.weighing import Question, after_aggregate

HOUR, DAY, MONTH = Period("hour"), Period("day"), Period("month")
TICK = timedelta(microseconds=1)


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


AT = utc("2026-05-10 12:30")
BEGAN = utc("2026-01-15")
MONTH_END = utc("2026-05-15")
FEATURES = {
    "exports": {"type": "boolean"},
    "seats": {"type": "metered", "reset": "none"},
    "calls": {"type": "metered", "reset": "month"},
    "chat": {"type": "metered", "reset": "day"},
    "sums": {"type": "metered", "reset": "month", "scale": 2},
    "peak": {"type": "metered", "reset": "month", "aggregate": "max"},
    "level": {"type": "metered", "reset": "month", "aggregate": "latest"},
    "hits": {"type": "metered", "reset": "month", "aggregate": "count", "scale": 1},
    "render": {"type": "metered", "reset": {"every": "hour", "count": 5, "align": "first_use"}},
    "history": {"type": "config", "value": "integer"},
    "tier": {"type": "config", "value": "text", "prefer": ["gold", "silver"]},
    "langs": {"type": "config", "value": "list"},
    "watermark": {"type": "config", "value": "boolean", "prefer": "min"},
}


def offer(default=None, trial=None, **entitlements):
    """A catalog with one plan that has the entitlements, and what a test adds to it."""
    plans = {"pro": {"entitlements": entitlements}, "empty": {}, "lent": {"entitlements": trial or {}}}
    promotions = {"sprint": {"entitlements": {"calls": {"limit": 60, "reset": "hour"}}}}
    document = {"features": FEATURES, "plans": plans, "promotions": promotions}
    return Catalog.load(document if default is None else {**document, "default_plan": default})


def held(plan="pro", **more):
    return Subscription(
        **{"id": "s", "product": "default", "plan": plan, "since": BEGAN, "until": None}
        | {
            "started_at": BEGAN,
            "anchor": BEGAN,
        }
        | more
    )


def override(feature, mode, *limits, value=None, until=None):
    return Override(Entitlement(feature, mode, value, limits), BEGAN, until)


def judged(catalog, feature, facts=None, *, used=None, at=AT, known=True, sold=None, opened=None, **question):
    """Return decision and units for a question; `used` is by period, in smallest units."""
    head = Head(
        batches=int(known), facts=Facts(subscriptions=(held(),)) if facts is None else facts, opened=opened or {}
    )
    entitlements = resolve(catalog, head.facts, at, sold=sold or {})
    metered = catalog.features[feature]
    counted = meters(entitlements, head.opened, metered, question.get("occurred_at") or at)
    counters = {counted[period].counter: amount for period, amount in (used or {}).items()}
    asked = Question("acme", metered, question.pop("requested", 1), at, **question)
    decision, _, units = judge(asked, entitlements, head, counters)
    return decision, units


def decided(*args, **kwargs):
    return judged(*args, **kwargs)[0]


# --- codes, in the order in which they are given


NOBODY = Facts()
ENDED_TRIAL = Trial("lent", utc("2026-03-01"), utc("2026-04-01"))
DENY = override("calls", "deny")


def test_a_feature_the_catalog_lacks_is_a_denial_with_a_suggestion():
    decision = unknown_feature(offer(), "acme", "cals", AT)
    assert (decision.allowed, decision.code, decision.outcome) == (False, "unknown_feature", "block")
    assert "did you mean 'calls'" in decision.reason


CASES = {
    "unknown_customer": (NOBODY, False),
    "denied_by_override": (Facts(subscriptions=(held("empty"),), trials=(ENDED_TRIAL,), overrides=(DENY,)), True),
    "no_active_subscription": (Facts(subscriptions=(held("empty", until=AT),), trials=(ENDED_TRIAL,)), True),
    "trial_ended": (Facts(subscriptions=(held("empty"),), trials=(ENDED_TRIAL,)), True),
    "not_in_plan": (Facts(subscriptions=(held("empty"),)), True),
}


@pytest.mark.parametrize("code", CASES)
def test_the_first_of_what_denies_is_the_code(code):
    facts, known = CASES[code]
    decision = decided(offer(trial={"calls": 5}), "calls", facts, known=known)
    assert (decision.allowed, decision.code, decision.outcome, decision.source) == (False, code, "block", None)
    assert (decision.limit, decision.used, decision.value, decision.allowances) == (None, None, None, ())


def test_a_customer_without_a_log_is_unknown_even_where_nobody_is_granted_the_feature():
    assert decided(offer(), "exports", NOBODY, known=False).code == "unknown_customer"


def test_with_a_default_plan_every_customer_is_known():
    assert decided(offer("pro", calls=5), "calls", NOBODY, known=False).allowed
    assert decided(offer("empty", calls=5), "calls", NOBODY, known=False).code == "not_in_plan"


def test_a_revocation_comes_before_the_end_of_a_subscription():
    assert decided(offer(), "calls", Facts(overrides=(DENY,))).code == "denied_by_override"


def test_setting_a_boolean_to_false_denies_by_override():
    off = Facts(subscriptions=(held(),), overrides=(override("exports", "set", value=False),))
    assert decided(offer(exports=True), "exports", off).code == "denied_by_override"


def test_nothing_was_ever_held():
    assert decided(offer(), "calls", NOBODY).code == "no_active_subscription"


def test_a_paused_subscription_is_not_active():
    assert (
        decided(offer(calls=5), "calls", Facts(subscriptions=(held(status="paused"),))).code == "no_active_subscription"
    )


RESUME = "the subscription to plan 'pro' is paused; set_status to active resumes it"
LOST = "the customer {} plan 'sunk', which the catalog no longer has; put it back"


def test_a_paused_subscription_is_told_of_and_how_to_resume_it():
    paused = held(status="paused")
    assert decided(offer(calls=5), "calls", Facts(subscriptions=(paused,))).reason == RESUME
    assert decided(offer(), "calls", Facts(subscriptions=(paused,))).reason == RESUME
    beside = Facts(subscriptions=(paused, held("empty")))
    decision = decided(offer(calls=5), "calls", beside)
    assert (decision.code, decision.reason) == ("not_in_plan", RESUME)


def test_a_pause_is_not_told_of_where_it_takes_nothing_away():
    beside = Facts(subscriptions=(held(status="paused"), held("empty")))
    for catalog, feature in ((offer(), "calls"), (offer(exports=False), "exports")):
        assert decided(catalog, feature, beside).reason.startswith(f"nothing acme holds grants {feature}; ")
    over = Facts(subscriptions=(held(status="paused", until=AT),))
    assert decided(offer(calls=5), "calls", over).reason.startswith("acme has no active subscription; ")


def test_a_plan_that_the_catalog_lost_is_told_of():
    decision = decided(offer(), "calls", Facts(subscriptions=(held("sunk"),)))
    assert (decision.code, decision.reason) == ("not_in_plan", f"{LOST.format('holds')}, or change_plan")
    assert attrs.evolve(decision, upgrade=("plan:top",)).reason == f"{decision.reason}; plan top would allow it"
    lent = Facts(trials=(Trial("sunk", utc("2026-05-01"), utc("2026-06-01")),))
    assert decided(offer(), "calls", lent).reason == LOST.format("is lent")


def test_a_subscription_that_is_still_to_come_is_told_of():
    later = attrs.evolve(held(), since=utc("2026-09-01"), started_at=utc("2026-09-01"))
    decision = decided(offer(calls=5), "calls", Facts(subscriptions=(later,)))
    assert decision.code == "no_active_subscription"
    assert decision.reason == "the subscription to plan 'pro' begins on 2026-09-01 00:00 UTC"


def test_a_past_due_subscription_is_active():
    assert decided(offer(calls=5), "calls", Facts(subscriptions=(held(status="past_due"),))).allowed


def test_who_held_nothing_but_a_trial_is_told_that_it_ended():
    assert decided(offer(trial={"calls": 5}), "calls", Facts(trials=(ENDED_TRIAL,))).code == "trial_ended"


def test_a_trial_of_other_features_did_not_end_for_this_one():
    assert decided(offer(trial={"calls": 5}), "exports", Facts(trials=(ENDED_TRIAL,))).code == "no_active_subscription"


def test_a_trial_has_ended_at_its_very_end():
    ending = Facts(trials=(Trial("lent", utc("2026-05-01"), AT),))
    assert decided(offer(trial={"calls": 5}), "calls", ending).code == "trial_ended"
    assert decided(offer(trial={"calls": 5}), "calls", ending, at=AT - TICK).allowed


def test_a_trial_that_begins_later_has_not_ended():
    later = Trial("lent", utc("2026-06-01"), utc("2026-07-01"))
    assert decided(offer(trial={"calls": 5}), "calls", Facts(trials=(later,))).code == "no_active_subscription"


def test_a_trial_in_force_holds_a_plan():
    running = Trial("lent", utc("2026-05-01"), utc("2026-06-01"))
    assert decided(offer(trial={"calls": 5}), "exports", Facts(trials=(running,))).code == "not_in_plan"


def test_a_feature_that_is_off_is_not_in_the_plan():
    decision = decided(offer(exports=False), "exports")
    assert (decision.code, decision.source, decision.value) == ("not_in_plan", None, None)


def test_false_is_a_value_of_a_config_feature():
    decision = decided(offer(watermark=False), "watermark")
    assert (decision.allowed, decision.value, decision.source) == (True, False, "plan:pro")


def test_a_grant_override_of_false_takes_nothing_away():
    granted = Facts(subscriptions=(held(),), overrides=(override("exports", "grant", value=False),))
    assert decided(offer(exports=False), "exports", granted).code == "not_in_plan"


# --- limit 0, missing, unlimited


def test_limit_zero_missing_and_unlimited_are_three_answers():
    zero, missing, unlimited = (
        decided(offer(**given), "calls") for given in ({"calls": 0}, {}, {"calls": "unlimited"})
    )
    assert (zero.code, zero.limit, zero.remaining, zero.unlimited) == ("limit_reached", 0, 0, False)
    assert (missing.code, missing.limit, missing.remaining, missing.unlimited) == ("not_in_plan", None, None, False)
    assert (unlimited.code, unlimited.limit, unlimited.remaining) == ("ok", UNLIMITED, UNLIMITED)
    assert unlimited.unlimited


def test_asking_for_nothing_passes_a_limit_of_zero():
    assert decided(offer(calls=0), "calls", requested=0).allowed


# --- boolean and config


def test_a_boolean_is_allowed_by_its_source():
    decision = decided(offer(exports=True), "exports")
    assert (decision.allowed, decision.code, decision.outcome) == (True, "ok", "allow")
    assert (decision.value, decision.source, decision.limit, decision.remaining) == (True, "plan:pro", None, None)


@pytest.mark.parametrize(("asked", "allowed"), [(None, True), (0, True), (30, True), (31, False)])
def test_a_config_value_covers_what_is_asked_in_its_order(asked, allowed):
    decision = decided(offer(history=30), "history", value=asked)
    assert (decision.allowed, decision.value) == (allowed, 30)
    assert decision.code == ("ok" if allowed else "value_not_allowed")
    assert decision.outcome == ("allow" if allowed else "block")
    assert decision.source == "plan:pro"


def test_a_config_value_of_zero_is_a_value():
    assert decided(offer(history=0), "history").value == 0
    assert decided(offer(history=0), "history", value=1).code == "value_not_allowed"


@pytest.mark.parametrize(("asked", "allowed"), [("silver", True), ("gold", False)])
def test_a_listed_order_decides_over_texts(asked, allowed):
    assert decided(offer(tier="silver"), "tier", value=asked).allowed is allowed


@pytest.mark.parametrize(
    ("asked", "allowed"), [("en", True), (("de", "en"), True), ("fr", False), (("en", "fr"), False)]
)
def test_a_list_covers_its_items(asked, allowed):
    assert decided(offer(langs=["en", "de"]), "langs", value=asked).allowed is allowed


# --- one limit


@pytest.mark.parametrize(
    ("used", "requested", "allowed"),
    [(0, 10, True), (9, 1, True), (10, 0, True), (10, 1, False), (0, 11, False), (12, 1, False)],
)
def test_a_hard_limit_passes_what_fits_wholly(used, requested, allowed):
    decision, units = judged(offer(calls=10), "calls", used={MONTH: used}, requested=requested)
    assert decision.allowed is allowed
    assert units == (requested if allowed else 0)
    assert (decision.limit, decision.used, decision.remaining) == (10, used, max(0, 10 - used))
    assert decision.code == ("ok" if allowed else "limit_reached")


def test_a_decision_shows_the_window_the_source_and_what_was_asked():
    decision = decided(offer(calls=10), "calls", used={MONTH: 4}, requested=3)
    assert (decision.window_start, decision.resets_at) == (utc("2026-04-15"), MONTH_END)
    assert (decision.source, decision.requested, decision.overage, decision.soft) == ("plan:pro", 3, 0, False)
    assert (decision.customer, decision.feature, decision.at) == ("acme", "calls", AT)


def test_what_never_resets_has_no_window():
    decision = decided(offer(seats=2), "seats", used={Period("none"): 2})
    assert (decision.code, decision.window_start, decision.resets_at) == ("limit_reached", None, None)
    assert (decision.outcome, decision.valid_until) == ("block", None)


def test_numbers_are_decimals_at_the_scale():
    decision = decided(offer(sums="10.5"), "sums", used={MONTH: 125}, requested=250)
    assert (decision.limit, decision.used, decision.remaining) == (Decimal("10.50"), Decimal("1.25"), Decimal("9.25"))
    assert decision.requested == Decimal("2.50")
    assert isinstance(decided(offer(calls=10), "calls").limit, int)


SOFT = {"limit": 10, "depletion": "soft"}
CAPPED = {**SOFT, "ceiling": 15}


@pytest.mark.parametrize(("used", "requested", "overage"), [(0, 10, 0), (8, 5, 3), (10, 5, 5), (500, 500, 500)])
def test_a_soft_limit_passes_everything_and_says_how_far_over_it_goes(used, requested, overage):
    decision, units = judged(offer(calls=SOFT), "calls", used={MONTH: used}, requested=requested)
    assert (decision.allowed, units, decision.overage) == (True, requested, overage)
    assert (decision.soft, decision.ceiling, decision.limit) == (True, None, 10)


@pytest.mark.parametrize(
    ("used", "requested", "allowed"), [(10, 5, True), (10, 6, False), (15, 1, False), (0, 15, True)]
)
def test_a_soft_limit_with_a_ceiling_passes_up_to_it(used, requested, allowed):
    decision, units = judged(offer(calls=CAPPED), "calls", used={MONTH: used}, requested=requested)
    assert (decision.allowed, units) == (allowed, requested if allowed else 0)
    assert (decision.soft, decision.ceiling, decision.limit) == (True, 15, 10)


PARTIAL = {"limit": 10, "depletion": "partial"}


@pytest.mark.parametrize(
    ("used", "requested", "allowed", "units"),
    [(0, 10, True, 10), (7, 10, True, 3), (9, 2, True, 1), (10, 1, False, 0), (12, 1, False, 0), (10, 0, True, 0)],
)
def test_a_partial_limit_passes_what_fits(used, requested, allowed, units):
    decision, fits = judged(offer(calls=PARTIAL), "calls", used={MONTH: used}, requested=requested)
    assert (decision.allowed, fits) == (allowed, units)
    assert decision.overage == max(0, requested - max(0, 10 - used))


def test_partial_joined_with_a_soft_ceiling_passes_what_fits_below_the_ceiling():
    both = Facts(subscriptions=(held(),), overrides=(override("calls", "grant", Limit(5, MONTH, "soft", 15)),))
    decision, fits = judged(offer(calls=PARTIAL), "calls", both, used={MONTH: 12}, requested=10)
    assert (decision.allowed, fits, decision.ceiling) == (True, 3, 15)


def test_a_limit_with_a_ceiling_is_shown_as_soft():
    both = Facts(subscriptions=(held(),), overrides=(override("calls", "grant", Limit(5, MONTH, "soft", 15)),))
    decision = decided(offer(calls=PARTIAL), "calls", both)
    assert decision.soft
    assert decision.allowances[0].soft


@pytest.mark.parametrize(("depletion", "units"), [("hard", 0), ("partial", 2), ("soft", 9)])
def test_a_question_may_bring_its_own_depletion(depletion, units):
    decision, fits = judged(offer(calls=10), "calls", used={MONTH: 8}, requested=9, depletion=depletion)
    assert (decision.allowed, fits) == (units > 0, units)


def test_a_questions_own_softness_keeps_the_ceiling_and_its_hardness_drops_it():
    assert not decided(offer(calls=CAPPED), "calls", used={MONTH: 15}, depletion="soft").allowed
    hard = decided(offer(calls=CAPPED), "calls", used={MONTH: 10}, depletion="hard")
    assert (hard.allowed, hard.ceiling, hard.soft) == (False, None, False)


def test_unlimited_never_counts_against_a_question():
    decision, units = judged(offer(calls="unlimited"), "calls", used={MONTH: 10**15}, requested=10**12)
    assert (decision.allowed, units, decision.overage, decision.used) == (True, 10**12, 0, 10**15)


# --- how usage comes together


def test_after_one_more_use():
    features = offer().features
    assert after_aggregate(features["calls"], 5, 3) == 8
    assert after_aggregate(features["hits"], 50, 999) == 60
    assert (after_aggregate(features["peak"], 5, 3), after_aggregate(features["peak"], 5, 7)) == (5, 7)
    assert (after_aggregate(features["level"], 5, 3), after_aggregate(features["level"], 5, 7)) == (3, 7)


@pytest.mark.parametrize(
    ("feature", "used", "requested", "allowed"),
    [
        ("peak", 9, 10, True),
        ("peak", 0, 11, False),
        ("peak", 10, 10, True),
        ("level", 10, 10, True),
        ("level", 0, 11, False),
        ("hits", 90, 12345, True),
        ("hits", 100, 1, False),
    ],
)
def test_a_limit_bounds_what_the_aggregate_comes_to(feature, used, requested, allowed):
    assert decided(offer(**{feature: 10}), feature, used={MONTH: used}, requested=requested).allowed is allowed


def test_overage_of_a_peak_is_how_far_it_rises_above_the_limit():
    decision = decided(offer(peak=SOFT), "peak", used={MONTH: 4}, requested=13)
    assert (decision.allowed, decision.overage) == (True, 3)


# --- several allowances


SPRINT = Facts(subscriptions=(held(),), promotions=(PromotionRun("sprint", BEGAN, None),))


@pytest.mark.parametrize(
    ("hourly", "monthly", "allowed"), [(60, 99, True), (59, 100, True), (0, 0, True), (60, 100, False)]
)
def test_any_allowance_with_room_passes(hourly, monthly, allowed):
    assert decided(offer(calls=100), "calls", SPRINT, used={HOUR: hourly, MONTH: monthly}).allowed is allowed


def test_the_allowance_with_the_most_room_is_shown():
    decision = decided(offer(calls=100), "calls", SPRINT, used={HOUR: 10, MONTH: 45})
    assert (decision.limit, decision.used, decision.source) == (100, 45, "plan:pro")
    decision = decided(offer(calls=100), "calls", SPRINT, used={HOUR: 10, MONTH: 55})
    assert (decision.limit, decision.used, decision.source) == (60, 10, "promotion:sprint")
    assert decision.resets_at == utc("2026-05-10 13:00")


def test_of_equal_room_the_soonest_reset_is_shown():
    decision = decided(offer(calls=100), "calls", SPRINT, used={HOUR: 10, MONTH: 50})
    assert (decision.limit, decision.resets_at) == (60, utc("2026-05-10 13:00"))


def test_an_allowance_that_passes_is_shown_before_one_with_more_room_that_does_not():
    daily = Facts(subscriptions=(held(),), overrides=(override("peak", "grant", Limit(12, DAY)),))
    decision = decided(offer(peak=10), "peak", daily, used={MONTH: 0, DAY: 11}, requested=12)
    assert (decision.allowed, decision.limit, decision.used, decision.source) == (True, 12, 11, "override:grant")


def test_unlimited_is_shown_before_any_number():
    decision = decided(offer(calls="unlimited"), "calls", SPRINT)
    assert (decision.unlimited, decision.source) == (True, "plan:pro")
    decision = decided(offer(calls=SOFT), "calls", SPRINT, used={MONTH: 99})
    assert (decision.limit, decision.soft) == (10, True)


def test_all_allowances_are_listed_in_the_order_of_their_periods():
    decision = decided(offer(calls=100), "calls", SPRINT, used={HOUR: 10, MONTH: 45})
    listed = [(each.source, each.limit, each.used, each.remaining, each.every) for each in decision.allowances]
    assert listed == [("promotion:sprint", 60, 10, 50, "hour"), ("plan:pro", 100, 45, 55, "month")]
    assert [each.resets_at for each in decision.allowances] == [utc("2026-05-10 13:00"), MONTH_END]


def test_one_allowance_is_listed_too():
    (allowance,) = decided(offer(calls=CAPPED), "calls", used={MONTH: 4}).allowances
    assert (allowance.source, allowance.limit, allowance.used, allowance.every) == ("plan:pro", 10, 4, "month")
    assert (allowance.soft, allowance.ceiling, allowance.limits) == (True, 15, ())
    assert (allowance.window_start, allowance.resets_at) == (utc("2026-04-15"), MONTH_END)


# --- several limits of one allowance


BOTH = {"limits": [{"limit": 5, "reset": "day"}, {"limit": 20, "reset": "month"}]}


@pytest.mark.parametrize(("daily", "monthly", "allowed"), [(4, 19, True), (5, 0, False), (0, 20, False)])
def test_all_limits_of_one_allowance_must_pass(daily, monthly, allowed):
    assert decided(offer(calls=BOTH), "calls", used={DAY: daily, MONTH: monthly}).allowed is allowed


def test_the_tightest_limit_is_shown_and_all_are_listed():
    decision = decided(offer(calls=BOTH), "calls", used={DAY: 2, MONTH: 18})
    assert (decision.limit, decision.used, decision.remaining, decision.resets_at) == (20, 18, 2, MONTH_END)
    (allowance,) = decision.allowances
    assert (allowance.limit, allowance.every) == (20, "month")
    assert [(each.limit, each.used, each.every, each.limits) for each in allowance.limits] == [
        (5, 2, "day", ()),
        (20, 18, "month", ()),
    ]


def test_of_equally_tight_limits_the_last_to_reset_is_shown():
    assert decided(offer(calls=BOTH), "calls", used={DAY: 2, MONTH: 17}).limit == 20


def test_a_partial_limit_books_no_more_than_the_tightest_limit_lets_pass():
    catalog = offer(calls={"limits": [{**PARTIAL, "reset": "day"}, {**PARTIAL, "limit": 12, "reset": "month"}]})
    decision, units = judged(catalog, "calls", used={DAY: 3, MONTH: 8}, requested=50)
    assert (decision.allowed, units, decision.limit) == (True, 4, 12)


def test_of_limits_without_a_bound_the_one_with_the_least_left_is_shown():
    catalog = offer(calls={"limits": [{**SOFT, "reset": "day"}, {"limit": "unlimited", "reset": "month"}]})
    decision = decided(catalog, "calls", used={DAY: 12})
    assert (decision.unlimited, decision.limit, decision.soft, decision.overage) == (False, 10, True, 1)


def test_a_limit_is_labelled_by_who_gave_it():
    more = override("calls", "grant", Limit(3, DAY), Limit(50, MONTH))
    decision = decided(offer(calls=BOTH), "calls", Facts(subscriptions=(held(),), overrides=(more,)), used={MONTH: 49})
    assert (decision.limit, decision.source) == (50, "override:grant")
    assert [(each.limit, each.source) for each in decision.allowances[0].limits] == [
        (5, "plan:pro"),
        (50, "override:grant"),
    ]


# --- throttle and block


def test_a_reset_within_the_hour_makes_it_a_throttle():
    full = {"used": {DAY: 5}, "at": utc("2026-05-10 23:00")}
    decision = decided(offer(chat=5), "chat", **full)
    assert (decision.outcome, decision.resets_at) == ("throttle", utc("2026-05-11"))
    assert decision.retry_after() == 3600


def test_a_reset_later_than_that_is_a_block_until_it_comes_near():
    decision = decided(offer(chat=5), "chat", used={DAY: 5}, at=utc("2026-05-10 23:00") - TICK)
    assert (decision.outcome, decision.valid_until) == ("block", utc("2026-05-10 23:00"))
    assert decision.retry_after() is None


def test_throttle_within_is_the_callers():
    decision = decided(offer(chat=5), "chat", used={DAY: 5}, throttle_within=timedelta(days=1))
    assert (decision.outcome, decision.valid_until) == ("throttle", utc("2026-05-11"))


def test_a_reset_that_would_not_help_is_a_block():
    late = utc("2026-05-10 23:30")
    decision = decided(offer(chat=5), "chat", used={DAY: 1}, at=late, requested=6)
    assert (decision.outcome, decision.valid_until) == ("block", utc("2026-05-11"))
    assert decided(offer(chat=0), "chat", at=late).outcome == "block"
    assert decided(offer(seats=1), "seats", used={Period("none"): 1}, at=late).outcome == "block"


@pytest.mark.parametrize(("requested", "outcome"), [(10, "throttle"), (11, "block")])
def test_a_reset_frees_a_soft_limit_up_to_its_ceiling(requested, outcome):
    catalog = offer(chat={"limit": 5, "depletion": "soft", "ceiling": 10})
    assert decided(catalog, "chat", used={DAY: 10}, at=utc("2026-05-10 23:30"), requested=requested).outcome == outcome


def test_a_reset_that_lets_a_part_pass_lifts_a_partial_limit():
    catalog = offer(chat={"limit": 5, "depletion": "partial"})
    assert decided(catalog, "chat", used={DAY: 5}, at=utc("2026-05-10 23:30"), requested=50).outcome == "throttle"


@pytest.mark.parametrize(("monthly", "outcome"), [(10, "throttle"), (20, "block")])
def test_every_limit_that_blocks_must_be_lifted(monthly, outcome):
    used = {DAY: 5, MONTH: monthly}
    assert decided(offer(calls=BOTH), "calls", used=used, at=utc("2026-05-10 23:30")).outcome == outcome


def test_the_first_allowance_to_be_lifted_counts():
    assert decided(offer(calls=100), "calls", SPRINT, used={HOUR: 60, MONTH: 100}).outcome == "throttle"


def test_retry_after_counts_to_the_allowance_that_is_lifted_first():
    """Counterexample: 60 an hour is full for 30 minutes, 3 of the month are left; 5 asked for: 'retry in 4 days'."""
    decision = decided(offer(calls=100), "calls", SPRINT, used={HOUR: 60, MONTH: 97}, requested=5)
    assert (decision.limit, decision.remaining, decision.resets_at) == (100, 3, MONTH_END)
    assert (decision.outcome, decision.retry_after()) == ("throttle", 1800)
    assert "try again after 2026-05-10 13:00 UTC" in decision.reason


def test_retry_after_counts_to_the_last_limit_that_blocks():
    catalog = offer(calls={"limits": [{"limit": 5, "reset": "hour"}, {"limit": 20, "reset": "day"}]})
    decision = decided(catalog, "calls", used={HOUR: 4, DAY: 20 - 2}, at=utc("2026-05-10 23:10"), requested=3)
    assert (decision.limit, decision.resets_at) == (5, utc("2026-05-11"))
    later = decided(
        catalog,
        "calls",
        used={HOUR: 5, DAY: 18},
        at=utc("2026-05-10 22:10"),
        requested=3,
        throttle_within=timedelta(hours=2),
    )
    assert (later.limit, later.resets_at, later.outcome) == (5, utc("2026-05-10 23:00"), "throttle")
    assert later.retry_after() == 110 * 60


def test_what_is_denied_for_other_reasons_than_a_limit_is_a_block():
    assert decided(offer(history=3), "history", value=4, at=utc("2026-05-14 23:30")).outcome == "block"


def test_the_end_of_time_is_no_reason_to_fail():
    end = datetime(9999, 12, 31, 23, 30, tzinfo=UTC)
    assert decided(offer(chat=5), "chat", used={DAY: 5}, at=end).outcome == "throttle"


# --- until when it is valid


def test_a_decision_on_usage_is_valid_to_the_end_of_its_window():
    assert decided(offer(calls=5), "calls").valid_until == MONTH_END
    assert decided(offer(calls=5), "calls", used={MONTH: 5}).valid_until == MONTH_END - timedelta(hours=1)


def test_it_is_valid_no_longer_than_any_window_it_looked_at():
    assert decided(offer(calls=100), "calls", SPRINT).valid_until == utc("2026-05-10 13:00")
    assert decided(offer(calls=BOTH), "calls").valid_until == utc("2026-05-11")


def test_it_is_valid_no_longer_than_the_facts():
    ending = Facts(subscriptions=(held(until=utc("2026-05-12")),))
    assert decided(offer(calls=5, exports=True), "calls", ending).valid_until == utc("2026-05-12")
    assert decided(offer(calls=5, exports=True), "exports", ending).valid_until == utc("2026-05-12")


def test_a_denial_is_valid_until_a_fact_may_lift_it():
    coming = Facts(subscriptions=(held("empty"),), promotions=(PromotionRun("sprint", utc("2026-05-12"), None),))
    assert decided(offer(), "calls", coming).valid_until == utc("2026-05-12")
    assert decided(offer(), "exports", coming).valid_until is None


def test_a_window_that_has_not_been_opened_ends_nothing():
    fresh = decided(offer(render=5), "render")
    assert (fresh.used, fresh.window_start, fresh.resets_at, fresh.valid_until) == (0, None, None, None)


FRESH = {"every": "day", "align": "first_use"}


def test_a_window_that_has_not_been_opened_does_not_settle_which_limit_is_shown():
    """Counterexample: the month was shown until its end came nearer than a day, then the window of a first use."""
    catalog = offer(calls={"limits": [{"limit": 5, "reset": FRESH}, {"limit": 5, "reset": "month"}]})
    early, late = (decided(catalog, "calls", at=utc(text)) for text in ("2026-05-13 12:00", "2026-05-14 12:00"))
    assert early == late
    assert late.valid_until == MONTH_END


def test_a_window_that_has_not_been_opened_does_not_settle_which_allowance_is_shown():
    more = Facts(
        subscriptions=(held(),), overrides=(override("calls", "grant", Limit(5, Period("day", 1, "first_use"))),)
    )
    early, late = (
        decided(offer(calls=5), "calls", more, at=utc(text)) for text in ("2026-05-13 12:00", "2026-05-14 12:00")
    )
    assert early == late
    assert late.source == "plan:pro"


def test_an_opened_window_ends_it():
    period, opened = Period("hour", 5, "first_use"), {"render/5 hours (first_use)": AT - timedelta(hours=1)}
    open_now = decided(offer(render=5), "render", used={period: 2}, opened=opened)
    assert (open_now.used, open_now.window_start) == (2, AT - timedelta(hours=1))
    assert open_now.resets_at == open_now.valid_until == AT + timedelta(hours=4)


# --- late usage


def test_late_usage_is_judged_in_its_own_window():
    late = utc("2026-04-20")
    decision, units = judged(offer(calls=5), "calls", used={MONTH: 5}, at=utc("2026-05-20"), occurred_at=late)
    assert (decision.allowed, units, decision.used, decision.window_start) == (False, 0, 5, utc("2026-04-15"))


def test_a_window_in_the_past_never_lifts():
    decision = decided(offer(calls=5), "calls", used={MONTH: 5}, at=utc("2026-05-20"), occurred_at=utc("2026-04-20"))
    assert (decision.outcome, decision.valid_until) == ("block", None)


def test_scope_and_catalog_version_are_told():
    catalog = offer(calls=5)
    decision = decided(catalog, "calls", scope={"team": "x"})
    assert (decision.scope, decision.catalog_version) == ({"team": "x"}, catalog.version)
