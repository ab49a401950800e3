"""The contest behind a decision: every source that spoke, and what became of it."""

from datetime import UTC, datetime

import pytest

from entitlements.amounts import UNLIMITED
from entitlements.cases import Case
from entitlements.catalog.model import Catalog, Entitlement, Feature, Limit, Period
from entitlements.contest import candidates, says
from entitlements.ledger.facts import Facts, HeldAddOn, Override, PromotionRun, Subscription, Trial
from entitlements.ledger.state import Head
from entitlements.reports.explain import explain
from entitlements.requests import request
from entitlements.resolution import resolve

MONTH, DAY, WEEK = Period("month"), Period("day"), Period("week")


def day(number, month=5):
    return datetime(2026, month, number, tzinfo=UTC)


AT = day(10)
CATALOG = Catalog.load(
    {
        "features": {
            "exports": {"type": "boolean"},
            "calls": {"type": "metered", "reset": "month"},
            "history": {"type": "config", "value": "integer"},
            "langs": {"type": "config", "value": "list"},
        },
        "products": {"app": {}, "support": {}},
        "plans": {
            "free": {"product": "app", "entitlements": {"calls": 1000, "exports": False, "langs": ["en"]}},
            "lite": {"product": "app", "extends": "free", "entitlements": {"calls": {"limit": 10, "mode": "set"}}},
            "pro": {
                "product": "app",
                "extends": ["lite", "base"],
                "entitlements": {"exports": True, "history": 30, "langs": ["de", "fr"]},
            },
            "base": {"product": "app", "entitlements": {"calls": 500}},
            "desk": {"product": "support", "entitlements": {"calls": 1000, "history": 90, "langs": ["fr"]}},
            "soft": {"product": "support", "entitlements": {"calls": {"limit": 5, "depletion": "soft", "ceiling": 9}}},
        },
        "addons": {
            "pack": {"plans": ["free", "pro"], "entitlements": {"calls": 100}},
            "big": {"plans": ["free"], "entitlements": {"calls": {"limit": 2000, "mode": "grant"}}},
            "weekly": {"entitlements": {"calls": {"limit": 7, "reset": "week"}}},
        },
        "promotions": {
            "launch": {"entitlements": {"calls": 4000}},
            "sprint": {"entitlements": {"calls": {"limit": 300, "reset": "day"}}},
        },
    }
)


def held(plan, since=None, until=None, **more):
    began, product = since or day(1, 1), CATALOG.plans[plan].product
    return Subscription(
        **{"id": product, "product": product, "plan": plan, "since": began, "until": until}
        | {"started_at": began, "anchor": began}
        | more
    )


def addon(key, quantity=1, until=None):
    return HeldAddOn(key, quantity, day(1), until)


def run(key, since=None, until=None):
    return PromotionRun(key, since or day(1), until)


def trial(plan, since=None, until=None):
    return Trial(plan, since or day(1), until)


def override(mode, value=None, since=None, until=None, number=0, feature="calls", period=MONTH):
    limits = (Limit(value, period),) if feature == "calls" and mode != "deny" else ()
    entitlement = Entitlement(feature, mode, None if limits else value, limits)
    return Override(entitlement, since or day(1), until, number)


def facts(*given):
    kinds = {Subscription: "subscriptions", Trial: "trials", HeldAddOn: "addons"}
    kinds |= {PromotionRun: "promotions", Override: "overrides"}
    sections = {}
    for fact in given:
        sections.setdefault(kinds[type(fact)], []).append(fact)
    return Facts(**{name: tuple(section) for name, section in sections.items()})


def rows(feature, *given, winner=None, catalog=CATALOG):
    found = candidates(resolve(catalog, facts(*given), AT), catalog.features[feature], winner)
    return [(row.source, row.outcome, row.why) for row in found]


def outcomes(feature, *given, winner=None, catalog=CATALOG):
    return [row[:2] for row in rows(feature, *given, winner=winner, catalog=catalog)]


# --- what an entitlement says


@pytest.mark.parametrize(
    ("entitlement", "quantity", "said"),
    [
        (Entitlement("calls", "deny"), 1, "revoked"),
        (Entitlement("calls", value=True), 1, "yes"),
        (Entitlement("calls", value=False), 1, "no"),
        (Entitlement("calls", value=1250), 1, "1,250"),
        (Entitlement("calls", value="gold"), 1, "gold"),
        (Entitlement("calls", value=("de", "en")), 1, "de, en"),
        (Entitlement("calls", value=()), 1, "nothing"),
        (Entitlement("calls", limits=(Limit(1000, MONTH),)), 1, "1,000 per month"),
        (Entitlement("calls", limits=(Limit(5),)), 1, "5"),
        (Entitlement("calls", limits=(Limit(UNLIMITED, MONTH),)), 1, "unlimited per month"),
        (Entitlement("calls", limits=(Limit(5, MONTH, "soft", 1500),)), 1, "5 per month (soft up to 1,500)"),
        (Entitlement("calls", limits=(Limit(5, MONTH, "partial"),)), 1, "5 per month (partial)"),
        (Entitlement("calls", limits=(Limit(5, Period("hour", 5)), Limit(9, WEEK))), 1, "5 per 5 hours and 9 per week"),
        (Entitlement("calls", "add", limits=(Limit(5, MONTH),)), 1, "+5 per month"),
        (Entitlement("calls", "add", limits=(Limit(5, MONTH),)), 3, "+5 per month, 3 times"),
    ],
)
def test_what_an_entitlement_says(entitlement, quantity, said):
    assert says(CATALOG.features["calls"], entitlement, quantity) == said


def test_amounts_are_said_at_the_scale():
    storage = Feature("storage", "metered", scale=2)
    assert says(storage, Entitlement("storage", limits=(Limit(125050),))) == "1,250.50"


# --- who won, and why the others did not


def test_one_source_wins():
    assert rows("calls", held("free")) == [("plan:free", "won", "the most generous")]


def test_the_largest_wins_and_the_others_are_lower():
    assert rows("calls", held("free"), run("launch")) == [
        ("promotion:launch", "won", "the most generous"),
        ("plan:free", "lower", "promotion:launch grants more"),
    ]


def test_of_equals_the_better_rank_wins():
    assert rows("calls", held("desk"), trial("free")) == [
        ("trial:free", "won", "the most generous"),
        ("plan:desk", "lower", "trial:free ranks higher"),
    ]


def test_add_ons_and_add_overrides_are_added():
    assert rows("calls", held("free"), addon("pack", 2), override("add", 5)) == [
        ("plan:free", "won", "the most generous"),
        ("override:add", "added", "added to what plan:free grants"),
        ("add-on:pack", "added", "added to what plan:free grants"),
    ]


def test_an_add_on_is_lower_where_what_it_adds_to_lost():
    """Counterexample: an add-on was shown as added to a promotion that it never adds to."""
    assert rows("calls", held("free"), addon("pack"), run("launch")) == [
        ("promotion:launch", "won", "the most generous"),
        ("add-on:pack", "lower", "promotion:launch grants more"),
        ("plan:free", "lower", "promotion:launch grants more"),
    ]
    assert ("add-on:pack", "lower") in outcomes("calls", held("free"), addon("pack"), addon("big"))


def test_an_override_that_adds_is_added_to_whatever_won():
    assert ("override:add", "added") in outcomes("calls", held("free"), run("launch"), override("add", 5))


def test_an_addition_from_nothing_wins():
    assert rows("calls", override("add", 5)) == [("override:add", "won", "stands on its own")]
    assert outcomes("calls", held("free", until=day(9)), trial("desk"), addon("weekly"), winner="trial:desk") == [
        ("trial:desk", "won"),
        ("add-on:weekly", "other period"),
        ("plan:free", "expired"),
    ]


def test_an_add_on_that_grants_competes_with_the_sum():
    assert outcomes("calls", held("free"), addon("big")) == [("add-on:big", "won"), ("plan:free", "lower")]


def test_what_has_another_period_stands_beside_the_one_shown():
    pair = held("free"), run("sprint")
    assert rows("calls", *pair, winner="plan:free") == [
        ("plan:free", "won", "the allowance with the most room"),
        ("promotion:sprint", "other period", "an allowance of its own beside plan:free"),
    ]
    assert outcomes("calls", *pair, winner="promotion:sprint") == [
        ("promotion:sprint", "won"),
        ("plan:free", "other period"),
    ]


def test_each_limit_of_several_may_have_its_own_winner():
    catalog = Catalog.load(
        {
            "features": {"calls": {"type": "metered", "reset": "month"}},
            "plans": {
                "a": {"entitlements": {"calls": {"limits": [{"limit": 5, "reset": "day"}, {"limit": 10}]}}},
            },
            "promotions": {
                "b": {"entitlements": {"calls": {"limits": [{"limit": 3, "reset": "day"}, {"limit": 20}]}}},
            },
        }
    )
    subscribed = Subscription("s", "default", "a", day(1), None, day(1), day(1))
    assert outcomes("calls", subscribed, run("b"), catalog=catalog) == [("promotion:b", "won"), ("plan:a", "won")]


def test_who_makes_the_winner_soft_is_not_simply_lower():
    assert rows("calls", trial("free"), held("soft")) == [
        ("trial:free", "won", "the most generous"),
        ("plan:soft", "added", "makes what trial:free grants soft"),
    ]


# --- parents


def test_a_parent_that_is_set_aside_is_replaced():
    assert rows("calls", held("lite")) == [
        ("plan:lite", "won", "the most generous"),
        ("parent:free", "replaced", "plan lite sets its own"),
    ]


def test_a_set_entry_replaces_only_what_comes_through_it():
    """Counterexample: a parent beside the one that sets its own was shown as replaced, though it won."""
    assert rows("calls", held("pro")) == [
        ("parent:base", "won", "the most generous"),
        ("parent:free", "replaced", "plan lite sets its own"),
        ("parent:lite", "lower", "parent:base grants more"),
    ]


def test_a_trial_speaks_with_one_voice():
    """Counterexample: what a trial's plan and its parents say all went by the trial's name, and all of it won."""
    assert rows("calls", trial("pro")) == [("trial:pro", "won", "the most generous")]
    (row,) = candidates(resolve(CATALOG, facts(trial("pro")), AT), CATALOG.features["calls"])
    assert row.says == "500 per month"


# --- values


def test_values_compete():
    assert rows("history", held("pro"), held("desk")) == [
        ("plan:desk", "won", "the most generous"),
        ("plan:pro", "lower", "plan:desk grants more"),
    ]
    assert rows("history", trial("pro"), held("pro")) == [
        ("trial:pro", "won", "the most generous"),
        ("plan:pro", "lower", "trial:pro ranks higher"),
    ]


def test_lists_unite_and_what_adds_no_item_is_lower():
    assert rows("langs", held("pro"), held("desk")) == [
        ("plan:pro", "won", "the most generous"),
        ("parent:free", "added", "united with the others"),
        ("plan:desk", "lower", "plan:pro grants more"),
    ]


def test_a_boolean_that_is_off_does_not_win():
    assert rows("exports", held("free")) == [("plan:free", "lower", "grants nothing")]
    assert outcomes("exports", held("pro")) == [("plan:pro", "won"), ("parent:free", "lower")]


# --- overrides


def test_a_set_replaces_the_rest():
    assert rows("calls", held("free"), override("set", 1), override("add", 5)) == [
        ("override:set", "won", "an override of mode set replaces the rest"),
        ("override:add", "replaced", "replaced by an override"),
        ("plan:free", "replaced", "replaced by an override"),
    ]


def test_of_several_sets_the_newest_won():
    old, new = override("set", 7, day(1), number=1), override("set", 5, day(2), number=2)
    for pair in ((old, new), (new, old)):
        found = candidates(resolve(CATALOG, facts(*pair), AT), CATALOG.features["calls"])
        assert [(row.says, row.outcome) for row in found] == [("5 per month", "won"), ("7 per month", "replaced")]


def test_a_revocation_denies_the_rest():
    assert rows("calls", held("free"), override("set", 1), override("deny")) == [
        ("override:deny", "won", "a revocation beats everything"),
        ("override:set", "denied", "revoked by an override"),
        ("plan:free", "denied", "revoked by an override"),
    ]


# --- what did not apply


def test_what_is_over_or_still_to_come_or_paused_or_not_held_says_so():
    given = held("free", status="paused"), run("launch", until=day(9)), run("sprint", since=day(12)), addon("pack")
    assert rows("calls", *given) == [
        ("promotion:launch", "expired", "ended 2026-05-09 00:00 UTC"),
        ("promotion:sprint", "not yet", "begins 2026-05-12 00:00 UTC"),
        ("add-on:pack", "not held", "goes with free or pro, which is not held"),
        ("plan:free", "paused", "the subscription is paused"),
    ]


def test_what_is_held_and_no_longer_in_the_catalog_says_so():
    lost = "not in the catalog", "the catalog no longer has it"
    catalog = Catalog.load({"features": {"calls": {"type": "metered", "reset": "month"}}, "plans": {"new": {}}})
    given = held("free"), run("launch"), run("sprint", until=day(9)), addon("pack"), addon("big", until=day(9))
    assert rows("calls", *given, trial("pro"), catalog=catalog) == [
        ("promotion:launch", *lost),
        ("trial:pro", *lost),
        ("add-on:pack", *lost),
        ("plan:free", *lost),
    ]
    assert outcomes("calls", held("free", status="paused"), catalog=catalog) == [("plan:free", "paused")]
    (row,) = candidates(resolve(catalog, facts(held("free")), AT), catalog.features["calls"])
    assert row.says == "nothing"


def test_an_end_is_exclusive_and_a_beginning_inclusive():
    assert outcomes("calls", run("launch", until=AT)) == [("promotion:launch", "expired")]
    assert outcomes("calls", run("launch", since=AT)) == [("promotion:launch", "won")]


def test_an_expired_override_does_not_decide():
    assert outcomes("calls", held("free"), override("set", 1, until=day(9)), override("deny", until=day(9))) == [
        ("plan:free", "won"),
        ("override:deny", "expired"),
        ("override:set", "expired"),
    ]


def test_sources_that_say_nothing_about_the_feature_are_left_out():
    assert rows("history", held("free"), run("launch"), addon("pack"), override("set", 5)) == []


def test_the_default_plan_is_a_source():
    catalog = Catalog.load({**CATALOG.document, "default_plan": "lite"})
    assert outcomes("calls", catalog=catalog) == [("plan:lite", "won"), ("parent:free", "replaced")]


def test_a_pinned_plan_speaks_as_it_was_sold():
    old = Catalog.load(
        {
            "features": {"calls": {"type": "metered", "reset": "month"}},
            "plans": {"free": {"entitlements": {"calls": 3}}},
        }
    )
    entitlements = resolve(CATALOG, facts(held("free", version=old.version)), AT, sold={old.version: old})
    (row,) = candidates(entitlements, CATALOG.features["calls"])
    assert (row.source, row.says, row.outcome) == ("plan:free", "3 per month", "won")


def test_a_candidate_tells_its_time_as_json():
    (row,) = candidates(resolve(CATALOG, facts(run("launch", day(1), day(20))), AT), CATALOG.features["calls"])
    assert row.to_dict() == {
        "source": "promotion:launch",
        "says": "4,000 per month",
        "outcome": "won",
        "why": "the most generous",
        "since": "2026-05-01T00:00:00+00:00",
        "until": "2026-05-20T00:00:00+00:00",
    }


# --- the explanation


def explained(feature, *given, catalog=CATALOG, at=AT, **asked):
    head = Head(batches=1, facts=facts(*given))
    return explain(Case(request("explain", "acme", None, feature=feature, **asked), "", catalog, at, head))


def test_an_explanation_is_the_decision_with_its_sources():
    text = str(explained("calls", held("free", until=day(20)), run("sprint"), addon("pack", 2)))
    assert text.splitlines() == [
        "calls for acme",
        "  allowed: calls is granted by plan free: 0 of 1,200 used",
        "  0 of 300 used per day, resets 2026-05-11 00:00 UTC",
        "  0 of 1,200 used per month, resets 2026-06-01 00:00 UTC",
        "  sources:",
        "    + plan:free         1,000 per month          won: the allowance with the most room",
        "    + add-on:pack       +100 per month, 2 times  added: added to what plan:free grants",
        "    - promotion:sprint  300 per day              other period: an allowance of its own beside plan:free",
        "  holds until 2026-05-11 00:00 UTC unless something is changed",
    ]


def test_the_winner_of_an_explanation_is_the_source_of_its_decision():
    explanation = explained("history", held("pro"), held("desk"))
    assert [row.source for row in explanation.candidates if row.outcome == "won"] == [explanation.decision.source]
    assert explanation.to_dict()["candidates"][0]["source"] == "plan:desk"
    assert explanation.to_dict()["decision"]["value"] == 90


def test_an_unknown_feature_is_explained_without_sources():
    explanation = explained("cals", held("pro"))
    assert explanation.candidates == ()
    assert str(explanation).splitlines()[0] == "cals for acme"
    assert "did you mean 'calls'" in str(explanation)


def test_html_escapes_whatever_a_customer_is_called():
    head = Head(batches=1, facts=facts(held("free")))
    page = explain(Case(request("explain", "<b>&", None, feature="calls"), "", CATALOG, AT, head)).to_html()
    assert "<h3>calls for &lt;b&gt;&amp;</h3>" in page
    assert "<b>" not in page
    assert "<td>plan:free</td><td>1,000 per month</td><td>won</td>" in page
