"""What a customer is entitled to: subscriptions, add-ons, trials, promotions and overrides, step by step."""

import itertools
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from entitlements.amounts import UNLIMITED
from entitlements.catalog.model import Catalog, Entitlement, Limit, Period
from entitlements.catalog.standing import Source
from entitlements.ledger.facts import Facts, HeldAddOn, Override, PromotionRun, Subscription, Trial
from entitlements.resolution import applies, resolve

MONTH, DAY = Period("month"), Period("day")
TICK = timedelta(microseconds=1)


def day(number, month=5):
    return datetime(2026, month, number, tzinfo=UTC)


AT = day(10)
CATALOG = Catalog.load(
    {
        "features": {
            "exports": {"type": "boolean"},
            "seats": {"type": "metered", "reset": "none"},
            "calls": {"type": "metered", "reset": "month"},
            "history": {"type": "config", "value": "integer"},
            "langs": {"type": "config", "value": "list"},
        },
        "products": {"app": {}, "support": {}},
        "plans": {
            "free": {"product": "app", "entitlements": {"seats": 2, "calls": 1000, "langs": ["en"]}},
            "pro": {
                "product": "app",
                "extends": "free",
                "entitlements": {"exports": True, "seats": 20, "calls": 5000, "history": 30, "langs": ["de"]},
            },
            "desk": {"product": "support", "entitlements": {"calls": 3000, "history": 90}},
            "bare": {"product": "support"},
        },
        "addons": {
            "more_seats": {"plans": ["pro"], "entitlements": {"seats": 5}},
            "any_calls": {"entitlements": {"calls": 100}},
            "big_calls": {"plans": ["pro"], "entitlements": {"calls": {"limit": 6000, "mode": "grant"}}},
            "small_calls": {"plans": ["pro"], "entitlements": {"calls": {"limit": 10, "mode": "grant"}}},
            "exporting": {"plans": ["free"], "entitlements": {"exports": True}},
        },
        "promotions": {
            "launch": {"entitlements": {"calls": 4000, "exports": True}},
            "sprint": {"entitlements": {"calls": {"limit": 300, "reset": "day"}}},
        },
    }
)


def held(plan, since=None, until=None, **more):
    began = since or day(1, 1)
    product = CATALOG.plans[plan].product if plan in CATALOG.plans else "app"
    return Subscription(
        **{"id": product, "product": product, "plan": plan, "since": began, "until": until}
        | more
        | {
            "started_at": more.get("started_at", began),
            "anchor": more.get("anchor", began),
        }
    )


def addon(key, quantity=1, since=None, until=None):
    return HeldAddOn(key, quantity, since or day(1), until)


def run(key, since=None, until=None):
    return PromotionRun(key, since or day(1), until)


def trial(plan, since=None, until=None, version=None):
    return Trial(plan, since or day(1), until, version)


def override(mode, value=None, since=None, until=None, number=0, feature="calls", period=MONTH):
    if mode == "deny":
        entitlement = Entitlement(feature, "deny")
    elif feature in {"calls", "seats"}:
        entitlement = Entitlement(feature, mode, limits=(Limit(value, period),))
    else:
        entitlement = Entitlement(feature, mode, value=value)
    return Override(entitlement, since or day(1), until, number)


def facts(*given):
    kinds = {Subscription: "subscriptions", Trial: "trials", HeldAddOn: "addons"}
    kinds |= {PromotionRun: "promotions", Override: "overrides"}
    sections = {}
    for fact in given:
        sections.setdefault(kinds[type(fact)], []).append(fact)
    return Facts(**{name: tuple(section) for name, section in sections.items()})


def given(feature, *held_facts, at=AT, catalog=CATALOG, sold=None):
    """Return what stands: (amount, label) for one limit, (value, label) for a value, None for nothing."""
    standing = resolve(catalog, facts(*held_facts), at, sold=sold or {}).standing(feature)
    if standing is None:
        return None
    if not standing.shares:
        return standing.value, standing.source.label
    shares = [(share.limits[0].amount, share.source.label) for share in standing.shares]
    return shares[0] if len(shares) == 1 else shares


# --- step 1: within a subscription


def test_nobody_has_anything_without_facts():
    assert given("calls") is None


def test_a_plan_gives_its_own_and_what_it_inherits():
    assert given("calls", held("pro")) == (5000, "plan:pro")
    assert given("langs", held("pro")) == (("de", "en"), "plan:pro")


def test_add_ons_are_added_times_their_quantity():
    assert given("seats", held("pro"), addon("more_seats", 3)) == (35, "plan:pro")


def test_add_ons_are_added_from_zero_where_the_plan_has_none():
    assert given("calls", held("bare"), addon("any_calls", 2)) == (200, "add-on:any_calls")


def test_several_add_ons_all_add_up():
    assert given("calls", held("pro"), addon("any_calls", 2), addon("more_seats")) == (5200, "plan:pro")
    assert given("seats", held("pro"), addon("any_calls", 2), addon("more_seats")) == (25, "plan:pro")


def test_an_add_on_that_grants_competes_with_the_sum():
    assert given("calls", held("pro"), addon("big_calls"), addon("any_calls", 9)) == (6000, "add-on:big_calls")
    assert given("calls", held("pro"), addon("big_calls"), addon("any_calls", 11)) == (6100, "plan:pro")
    assert given("calls", held("pro"), addon("small_calls"), addon("any_calls")) == (5100, "plan:pro")


def test_the_quantity_of_an_add_on_that_grants_does_not_count():
    assert given("calls", held("pro"), addon("big_calls", 5)) == (6000, "add-on:big_calls")


def test_an_add_on_grants_booleans():
    assert given("exports", held("free"), addon("exporting")) == (True, "add-on:exporting")


def test_an_add_on_counts_only_while_a_plan_that_allows_it_is_held():
    assert given("seats", held("free"), addon("more_seats")) == (2, "plan:free")
    assert given("seats", addon("more_seats")) is None
    assert given("seats", held("pro", until=day(11)), addon("more_seats")) == (25, "plan:pro")
    assert given("seats", held("pro", until=day(11)), addon("more_seats"), at=day(11)) is None


def test_an_add_on_without_a_list_of_plans_still_needs_one_to_be_held():
    assert given("calls", addon("any_calls")) is None
    assert applies(CATALOG.addons["any_calls"], "bare")
    assert not applies(CATALOG.addons["more_seats"], "free")


def test_an_add_on_enlarges_each_subscription_by_itself_and_is_never_counted_twice():
    assert given("calls", held("pro"), held("desk"), addon("any_calls")) == (5100, "plan:pro")


def test_an_add_on_that_enlarges_the_smaller_subscription_may_make_it_the_larger():
    facts_ = held("free"), held("desk"), addon("any_calls", 25)
    assert given("calls", *facts_) == (5500, "plan:desk")


def test_an_add_on_enlarges_a_trial_of_a_plan_that_allows_it():
    assert given("seats", trial("pro"), addon("more_seats")) == (25, "trial:pro")


def test_an_add_on_the_catalog_lacks_gives_nothing():
    assert given("calls", held("free"), addon("gone")) == (1000, "plan:free")


# --- step 2: between sources


def test_between_subscriptions_the_most_generous_wins():
    assert given("calls", held("free"), held("desk")) == (3000, "plan:desk")
    assert given("history", held("pro"), held("desk")) == (90, "plan:desk")


def test_a_trial_competes():
    assert given("calls", held("free"), trial("pro")) == (5000, "trial:pro")
    assert given("calls", held("pro"), trial("free")) == (5000, "plan:pro")


def test_a_promotion_competes():
    assert given("calls", held("free"), run("launch")) == (4000, "promotion:launch")
    assert given("calls", held("pro"), run("launch")) == (5000, "plan:pro")


def test_a_promotion_needs_no_subscription():
    assert given("calls", run("launch")) == (4000, "promotion:launch")


def test_a_grant_override_competes_and_never_lowers():
    assert given("calls", held("pro"), override("grant", 5001)) == (5001, "override:grant")
    assert given("calls", held("pro"), override("grant", 4999)) == (5000, "plan:pro")
    assert given("calls", held("pro"), override("grant", 5000)) == (5000, "override:grant")


def test_ties_end_in_rank():
    assert given("exports", held("pro"), trial("pro"), run("launch")) == (True, "promotion:launch")
    assert given("exports", held("pro"), trial("pro")) == (True, "trial:pro")
    everything = held("pro"), trial("pro"), run("launch"), override("grant", True, feature="exports")
    assert given("exports", *everything) == (True, "override:grant")


def test_what_has_another_period_stands_beside():
    assert given("calls", held("pro"), run("sprint")) == [(300, "promotion:sprint"), (5000, "plan:pro")]


# --- step 3: overrides


def test_an_add_override_adds_to_the_winner():
    assert given("calls", held("free"), run("launch"), override("add", 50)) == (4050, "promotion:launch")


def test_an_add_override_comes_after_the_contest_not_before():
    assert given("calls", held("free"), override("add", 3500), run("launch")) == (7500, "promotion:launch")


def test_an_add_override_adds_from_zero():
    assert given("calls", override("add", 50)) == (50, "override:add")


def test_an_add_override_of_another_period_stands_beside():
    assert given("calls", held("free"), override("add", 50, period=DAY)) == [(50, "override:add"), (1000, "plan:free")]


@pytest.mark.parametrize("value", [9999, 1, 0, UNLIMITED])
def test_a_set_override_replaces_up_or_down(value):
    assert given("calls", held("pro"), run("launch"), override("set", value)) == (value, "override:set")


def test_a_set_override_replaces_all_periods():
    assert given("calls", held("pro"), run("sprint"), override("set", 7, period=DAY)) == (7, "override:set")


@pytest.mark.parametrize("later", ["add", "grant"])
def test_nothing_comes_after_a_set(later):
    assert given("calls", held("pro"), override("set", 7, day(1)), override(later, 9000, day(2), number=9)) == (
        7,
        "override:set",
    )


def test_of_several_sets_the_newest_holds():
    old, new = override("set", 7, day(1), number=1), override("set", 5, day(2), number=2)
    assert given("calls", old, new) == given("calls", new, old) == (5, "override:set")


def test_of_sets_of_one_instant_the_later_written_holds():
    old, new = override("set", 7, number=1), override("set", 5, number=2)
    assert given("calls", old, new) == given("calls", new, old) == (5, "override:set")


@pytest.mark.parametrize("mode", ["set", "add", "grant"])
def test_deny_beats_all(mode):
    assert given("calls", held("pro"), override("deny", since=day(1)), override(mode, 10, day(9), number=9)) is None


def test_deny_revokes_its_feature_alone():
    assert given("seats", held("pro"), override("deny")) == (20, "plan:pro")


def test_an_override_holds_for_its_time_alone():
    lowered = held("pro"), override("set", 1, since=day(5), until=day(15))
    assert [given("calls", *lowered, at=at)[0] for at in (day(5) - TICK, day(5), day(15) - TICK, day(15))] == [
        5000,
        1,
        1,
        5000,
    ]


# --- who holds what, and when


def test_facts_hold_from_their_beginning_up_to_their_end():
    for fact in (held("pro", day(5), day(15)), trial("pro", day(5), day(15)), run("launch", day(5), day(15))):
        exports = [given("exports", fact, at=at) is not None for at in (day(5) - TICK, day(5), day(15) - TICK, day(15))]
        assert exports == [False, True, True, False]


def test_an_add_on_holds_from_its_beginning_up_to_its_end():
    pair = held("pro"), addon("more_seats", 1, day(5), day(15))
    seats = [given("seats", *pair, at=at)[0] for at in (day(5) - TICK, day(5), day(15) - TICK, day(15))]
    assert seats == [20, 25, 25, 20]


@pytest.mark.parametrize(("status", "expected"), [("active", 5000), ("past_due", 5000), ("paused", None)])
def test_a_paused_subscription_grants_nothing_and_a_past_due_one_still_does(status, expected):
    found = given("calls", held("pro", status=status))
    assert (found and found[0]) == expected


def test_a_paused_subscription_carries_no_add_ons():
    assert given("calls", held("pro", status="paused"), addon("any_calls")) is None


DEFAULTED = Catalog.load({**CATALOG.document, "default_plan": "free"})


def test_the_default_plan_is_what_those_have_who_hold_no_plan_of_its_product():
    assert given("calls", catalog=DEFAULTED) == (1000, "plan:free")
    assert given("seats", held("desk"), catalog=DEFAULTED) == (2, "plan:free")
    assert given("langs", held("pro"), catalog=DEFAULTED) == (("de", "en"), "plan:pro")


def test_a_paused_subscription_does_not_bring_the_default_plan_back():
    assert given("calls", held("pro", status="paused"), catalog=DEFAULTED) is None


def test_an_ended_subscription_brings_the_default_plan_back():
    ended = held("pro", until=day(9))
    assert given("calls", ended, catalog=DEFAULTED, at=day(9)) == (1000, "plan:free")


def test_the_default_plan_carries_add_ons():
    assert given("exports", addon("exporting"), catalog=DEFAULTED) == (True, "add-on:exporting")


def test_a_plan_the_catalog_lacks_gives_nothing():
    assert given("calls", held("gone")) is None
    assert given("calls", held("gone"), run("launch"), run("gone")) == (4000, "promotion:launch")


# --- pinned plans


OLD = Catalog.load(
    {
        "features": {"calls": {"type": "metered", "reset": "month"}, "exports": {"type": "boolean"}},
        "products": {"app": {}},
        "plans": {
            "free": {"product": "app", "entitlements": {"calls": 2000}},
            "pro": {"product": "app", "extends": "free", "entitlements": {"exports": False}},
        },
        "addons": {"any_calls": {"entitlements": {"calls": 1}}},
    }
)


def test_a_pinned_plan_and_its_parents_stay_as_they_were_sold():
    sold = {OLD.version: OLD}
    assert given("calls", held("pro", version=OLD.version), sold=sold) == (2000, "parent:free")
    assert given("exports", held("pro", version=OLD.version), sold=sold) == (False, "plan:pro")
    assert given("calls", trial("pro", version=OLD.version), sold=sold) == (2000, "trial:pro")


def test_what_is_not_the_plan_itself_is_current():
    sold = {OLD.version: OLD}
    assert given("calls", held("pro", version=OLD.version), addon("any_calls"), sold=sold) == (2100, "parent:free")


def test_a_plan_that_is_not_pinned_follows_the_catalog():
    assert given("calls", held("pro"), sold={OLD.version: OLD}) == (5000, "plan:pro")


def test_a_version_nobody_kept_falls_back_on_the_catalog():
    assert given("calls", held("pro", version="lost")) == (5000, "plan:pro")


# --- anchoring


def anchoring(feature, *held_facts, at=AT):
    found = resolve(CATALOG, facts(*held_facts), at).anchoring(feature)
    return found and found.plan


def test_the_first_held_subscription_that_grants_a_feature_anchors_it():
    pro, desk = held("pro", day(2, 1)), held("desk", day(1, 1))
    assert anchoring("calls", pro, desk) == anchoring("calls", desk, pro) == "desk"
    assert anchoring("seats", pro, desk) == "pro"


def test_what_counts_is_when_a_subscription_began_not_its_last_change():
    changed = held("pro", day(3, 4), started_at=day(1, 1))
    assert anchoring("calls", changed, held("desk", day(1, 2))) == "pro"


def test_subscriptions_of_one_instant_anchor_by_their_ids():
    assert anchoring("calls", held("pro"), held("desk")) == "pro"
    assert anchoring("calls", held("pro", id="z"), held("desk")) == "desk"


def test_a_subscription_that_does_not_grant_a_feature_does_not_anchor_it():
    assert anchoring("calls", held("bare", day(1, 1)), held("pro", day(2, 1))) == "pro"
    assert anchoring("calls", held("bare"), run("launch"), trial("pro")) is None


def test_a_subscription_grants_what_its_add_ons_grant():
    assert anchoring("calls", held("bare"), addon("any_calls")) == "bare"
    assert anchoring("seats", held("bare"), addon("more_seats")) is None


def test_neither_ended_nor_paused_subscriptions_anchor():
    assert anchoring("calls", held("pro", until=AT), held("desk", day(2, 2))) == "desk"
    assert anchoring("calls", held("pro", status="paused"), held("desk", day(2, 2))) == "desk"


# --- until when it stands


def until(feature, *held_facts, at=AT, catalog=CATALOG):
    return resolve(catalog, facts(*held_facts), at).valid_until(feature)


def test_what_never_ends_is_valid_forever():
    assert until("calls", held("pro")) is None


def test_the_first_beginning_or_end_to_come_ends_the_validity():
    assert until("calls", held("pro", until=day(20)), run("launch", until=day(15))) == day(15)
    assert until("calls", held("pro"), run("launch", since=day(12), until=day(15))) == day(12)


def test_what_is_over_or_begins_now_is_no_edge():
    assert until("calls", held("pro"), run("launch", since=day(1), until=AT)) is None
    assert until("calls", held("pro"), run("launch", since=AT, until=day(15))) == day(15)


def test_facts_about_other_features_do_not_end_it():
    assert until("seats", held("pro"), run("launch", until=day(15))) is None
    assert until("seats", held("pro"), override("set", 1, until=day(15))) is None
    assert until("calls", held("pro"), addon("more_seats", until=day(15))) is None
    assert until("calls", held("pro"), trial("bare", until=day(15))) is None
    assert until("calls", held("pro"), run("gone", until=day(15)), addon("gone", until=day(15))) is None


def test_facts_about_the_feature_end_it():
    assert until("seats", held("pro"), addon("more_seats", until=day(15))) == day(15)
    assert until("calls", held("pro"), override("deny", since=day(15))) == day(15)
    assert until("calls", held("pro"), trial("free", until=day(15))) == day(15)


def test_a_trial_that_carries_an_add_on_for_the_feature_ends_it():
    carried = trial("bare", until=day(15)), addon("any_calls")
    assert until("calls", held("pro"), *carried) == day(15)
    assert until("seats", held("pro"), *carried) is None


def test_every_subscription_may_end_it_for_it_may_anchor_or_bring_the_default_plan_back():
    assert until("calls", held("pro"), held("bare", until=day(15))) == day(15)


def test_the_end_of_any_trial_matters_to_what_nothing_grants():
    """Counterexample: the end of a trial of other features changed the code of a denial unforeseen."""
    assert until("seats", trial("bare", until=day(15))) == day(15)


def test_what_a_pinned_trial_gave_when_it_was_sold_decides():
    sold = {OLD.version: OLD}
    known = resolve(CATALOG, facts(held("pro"), trial("pro", until=day(15), version=OLD.version)), AT, sold=sold)
    assert known.valid_until("calls") == day(15)
    assert known.valid_until("history") is None


def test_any_fact_counts_as_a_change():
    known = resolve(CATALOG, facts(held("pro"), run("launch", day(12), day(15))), AT)
    assert known.next_change() == day(12)
    assert not known.changed_by(day(12) - TICK)
    assert known.changed_by(day(12))
    assert resolve(CATALOG, facts(held("pro")), AT).next_change() is None


# --- a function of the set of facts


def test_the_order_of_facts_does_not_matter():
    many = [held("pro"), held("desk"), trial("free"), addon("any_calls", 2), addon("big_calls"), run("launch")]
    many += [run("sprint"), override("grant", 5600), override("add", 5), override("deny", feature="seats")]
    features = list(CATALOG.features)
    one = resolve(CATALOG, facts(*many), AT)
    for shuffled in itertools.islice(itertools.permutations(many), 0, None, 90_001):
        other = resolve(CATALOG, facts(*shuffled), AT)
        assert [other.standing(key) for key in features] == [one.standing(key) for key in features]


def test_those_who_hold_the_same_share_what_it_comes_to():
    one = resolve(CATALOG, facts(held("pro"), run("launch")), AT)
    other = resolve(CATALOG, facts(held("pro", day(3, 3)), run("launch", until=day(20))), day(11))
    assert one.shared is other.shared


def test_a_default_plan_and_a_subscription_to_it_are_not_the_same_to_hold():
    """Counterexample: a snapshot of one read the counters, or crashed on the anchor, of the other."""
    default = resolve(DEFAULTED, facts(), AT)
    subscribed = resolve(DEFAULTED, facts(held("free")), AT)
    assert default.combination != subscribed.combination
    assert default.standing("calls") == subscribed.standing("calls")


def test_a_catalog_keeps_only_so_many_combinations(monkeypatch):
    monkeypatch.setattr("entitlements.resolution.COMBINATIONS", 3)
    fresh = attrs.evolve(CATALOG)
    for quantity in range(1, 9):
        assert given("seats", held("pro"), addon("more_seats", quantity), catalog=fresh) == (
            20 + 5 * quantity,
            "plan:pro",
        )
        assert len(fresh.combined) <= 3


def test_an_override_makes_a_customers_own_standing_and_leaves_the_shared_one():
    alone = resolve(CATALOG, facts(held("pro"), override("add", 7)), AT)
    assert alone.standing("calls").shares[0].limits == (Limit(5007, MONTH),)
    assert alone.shared["calls"].shares[0].limits == (Limit(5000, MONTH),)
    assert alone.shared["calls"].source == Source("plan", "pro")
