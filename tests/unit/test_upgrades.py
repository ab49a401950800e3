"""Upgrades: the plans and add-ons that really would allow what was denied, and only those."""

from datetime import UTC, datetime

import pytest

from entitlements.cases import Case
from entitlements.catalog.model import Catalog, Entitlement, Limit, Period
from entitlements.deciding import check, counters_of
from entitlements.ledger.facts import Facts, HeldAddOn, Override, PromotionRun, Subscription, Trial
from entitlements.ledger.state import Head
from entitlements.requests import request


def day(number, month=5):
    return datetime(2026, month, number, tzinfo=UTC)


AT = day(10)
DOCUMENT = {
    "features": {
        "exports": {"type": "boolean"},
        "audit": {"type": "boolean"},
        "calls": {"type": "metered", "reset": "month"},
        "chat": {"type": "metered", "reset": {"every": "month", "align": "calendar"}},
        "history": {"type": "config", "value": "integer"},
    },
    "products": {"app": {}, "support": {}},
    "plans": {
        "free": {"product": "app", "entitlements": {"calls": 10, "history": 7}},
        "pro": {"product": "app", "extends": "free", "entitlements": {"exports": True, "calls": 100, "history": 30}},
        "top": {"product": "app", "extends": "pro", "entitlements": {"calls": "unlimited", "chat": 5, "history": 90}},
        "off": {"product": "app", "entitlements": {"exports": False}},
        "desk": {"product": "support", "entitlements": {"exports": True, "calls": 100}},
    },
    "addons": {
        "calls_50": {"plans": ["free", "pro"], "entitlements": {"calls": 50}},
        "exporting": {
            "plans": ["free"],
            "requires": ["base"],
            "excludes": ["rival"],
            "entitlements": {"exports": True},
        },
        "base": {"entitlements": {"history": 8}},
        "rival": {"entitlements": {"history": 8}},
    },
    "promotions": {"launch": {"entitlements": {"calls": 5}}},
}
CATALOG = Catalog.load(DOCUMENT)


def held(plan, until=None, **more):
    product = CATALOG.plans[plan].product
    return Subscription(
        **{"id": product, "product": product, "plan": plan, "since": day(1), "until": until}
        | {"started_at": day(1, 1), "anchor": day(1, 1)}
        | more
    )


def addon(key, quantity=1, until=None):
    return HeldAddOn(key, quantity, day(1), until)


def denied(feature, *given, used=0, known=True, catalog=CATALOG, at=AT, **asked):
    kinds = {Subscription: "subscriptions", Trial: "trials", HeldAddOn: "addons"}
    kinds |= {PromotionRun: "promotions", Override: "overrides"}
    sections = {}
    for fact in given:
        sections.setdefault(kinds[type(fact)], []).append(fact)
    facts = Facts(**{name: tuple(section) for name, section in sections.items()})
    case = Case(
        request("check", "acme", None, feature=feature, **asked), "", catalog, at, Head(batches=int(known), facts=facts)
    )
    case = case.counting(dict.fromkeys(counters_of(case, feature), used))
    decision = check(case)
    assert not decision
    return decision


def test_every_plan_that_would_allow_it_is_named_in_the_order_of_the_catalog():
    assert denied("exports", held("free")).upgrade == ("plan:pro", "plan:top", "plan:desk")


def test_a_plan_that_says_no_is_not_named():
    assert "plan:off" not in denied("exports", held("free")).upgrade


def test_an_unknown_customer_is_told_what_to_subscribe_to():
    decision = denied("calls", known=False, requested=60)
    assert (decision.code, decision.upgrade) == ("unknown_customer", ("plan:pro", "plan:top", "plan:desk"))


def test_who_has_no_subscription_or_lost_a_trial_is_told_too():
    assert denied("chat").upgrade == ("plan:top",)
    lost = denied("chat", Trial("top", day(1), day(9)))
    assert (lost.code, lost.upgrade) == ("trial_ended", ("plan:top",))


@pytest.mark.parametrize(
    ("used", "upgrade"),
    [
        (10, ("plan:pro", "plan:top", "plan:desk", "add-on:calls_50")),
        (60, ("plan:pro", "plan:top", "plan:desk")),
        (100, ("plan:top",)),
    ],
)
def test_only_what_leaves_room_after_what_is_used_is_named(used, upgrade):
    assert denied("calls", held("free"), used=used).upgrade == upgrade


def test_the_held_plan_is_not_an_upgrade():
    assert denied("calls", held("pro"), used=100).upgrade == ("plan:top", "add-on:calls_50")


def test_a_plan_held_as_a_trial_may_be_bought():
    trying = Trial("off", day(1), day(20))
    assert denied("exports", trying).upgrade == ("plan:pro", "plan:top", "plan:desk")


def test_a_plan_takes_the_place_of_the_one_held_of_its_product_and_joins_those_of_others():
    catalog = Catalog.load(
        {
            "features": {"langs": {"type": "config", "value": "list"}},
            "products": {"app": {}, "support": {}},
            "plans": {
                "free": {"product": "app", "entitlements": {"langs": ["en"]}},
                "german": {"product": "app", "entitlements": {"langs": ["de"]}},
                "desk": {"product": "support", "entitlements": {"langs": ["de"]}},
            },
        }
    )
    assert denied("langs", held("free"), value=["de"], catalog=catalog).upgrade == ("plan:german", "plan:desk")
    assert denied("langs", held("free"), value=["de", "en"], catalog=catalog).upgrade == ("plan:desk",)


def test_one_more_of_an_add_on_is_an_upgrade():
    assert denied("calls", held("pro"), addon("calls_50"), used=150).upgrade == ("plan:top", "add-on:calls_50")
    assert denied("calls", held("pro"), addon("calls_50", 2), used=250).upgrade == ("plan:top",)


def test_an_add_on_that_goes_with_other_plans_is_no_upgrade():
    assert denied("calls", held("desk"), used=100).upgrade == ("plan:top",)


def test_an_add_on_whose_rules_refuse_it_is_no_upgrade():
    plans = ("plan:pro", "plan:top", "plan:desk")
    assert denied("exports", held("free")).upgrade == plans
    assert denied("exports", held("free"), addon("base")).upgrade == (*plans, "add-on:exporting")
    assert denied("exports", held("free"), addon("base"), addon("rival")).upgrade == plans
    assert denied("exports", held("desk", until=day(9)), addon("base")).upgrade == plans


def test_values_are_upgraded_by_plans_that_cover_them():
    decision = denied("history", held("free"), value=30)
    assert (decision.code, decision.upgrade) == ("value_not_allowed", ("plan:pro", "plan:top"))
    assert denied("history", held("free"), value=91).upgrade == ()


def test_what_nothing_on_sale_grants_has_no_upgrade():
    decision = denied("audit", held("free"))
    assert (decision.code, decision.upgrade) == ("not_in_plan", ())
    assert decision.reason.endswith("no plan or add-on on sale would allow it")


def test_what_an_override_took_away_cannot_be_bought():
    revoked = Override(Entitlement("exports", "deny"), day(1), None)
    assert denied("exports", held("free"), revoked).upgrade == ()
    lowered = Override(Entitlement("calls", "set", limits=(Limit(3, Period("month")),)), day(1), None)
    assert denied("calls", held("free"), lowered, used=3).upgrade == ()


def test_an_override_that_adds_counts_for_the_upgrade_too():
    more = Override(Entitlement("calls", "add", limits=(Limit(5, Period("month")),)), day(1), None)
    assert "plan:pro" in denied("calls", held("free"), more, used=104).upgrade
    assert "plan:pro" not in denied("calls", held("free"), more, used=105).upgrade


def test_changing_the_plan_does_not_resume_a_paused_subscription():
    """Counterexample: the plan held, and others of its product, were offered to who had paused them."""
    decision = denied("calls", held("pro", status="paused"))
    assert (decision.code, decision.upgrade) == ("no_active_subscription", ("plan:desk",))


def test_a_past_due_subscription_can_be_upgraded():
    assert denied("exports", held("free", status="past_due")).upgrade == ("plan:pro", "plan:top", "plan:desk")


def test_the_default_plan_can_be_left():
    catalog = Catalog.load({**DOCUMENT, "default_plan": "free"})
    assert denied("exports", catalog=catalog, known=False).upgrade == ("plan:pro", "plan:top", "plan:desk")
    assert denied("calls", catalog=catalog, used=10).upgrade == ("plan:pro", "plan:top", "plan:desk", "add-on:calls_50")


def test_a_pinned_plan_is_bought_as_it_is_sold_now():
    old = Catalog.load({**DOCUMENT, "plans": {**DOCUMENT["plans"], "pro": {"product": "app", "entitlements": {}}}})
    pinned = held("free", version=old.version)
    head = Head(batches=1, facts=Facts(subscriptions=(pinned,)))
    case = Case(request("check", "acme", None, feature="exports"), "", CATALOG, AT, head, sold={old.version: old})
    assert check(case).upgrade == ("plan:pro", "plan:top", "plan:desk")


def test_a_subscription_begun_now_begins_its_windows_now():
    """What was used on trial was counted by the calendar; the windows of a first subscription are new ones."""
    assert denied("calls", Trial("free", day(1), day(20)), used=10).upgrade == (
        "plan:free",
        "plan:pro",
        "plan:top",
        "plan:desk",
        "add-on:calls_50",
    )


def test_a_subscription_that_changes_its_plan_keeps_its_windows():
    assert "plan:pro" in denied("calls", held("free"), used=99).upgrade
    assert "plan:pro" not in denied("calls", held("free"), used=100).upgrade


def test_what_is_bought_now_does_not_take_the_anchor_from_what_began_at_the_same_instant():
    """Counterexample: a plan of another product was offered for its fresh window, for one microsecond."""
    begun = held("free", since=AT, started_at=AT, anchor=day(5, 1))
    assert "plan:desk" not in denied("calls", begun, used=100).upgrade


# --- an upgrade is part of the answer, and so of how long it is valid


def test_a_denial_is_valid_until_a_fact_may_change_what_would_allow_it():
    """Counterexample: an add-on that another requires ended, and the cached denial went on offering the other."""
    pair = held("free"), addon("base", until=day(15))
    decision = denied("exports", *pair)
    assert (decision.upgrade[-1], decision.valid_until) == ("add-on:exporting", day(15))
    assert denied("exports", *pair, at=day(15)).upgrade == ("plan:pro", "plan:top", "plan:desk")


def test_a_denial_of_what_is_not_on_sale_does_not_depend_on_other_facts():
    assert denied("audit", held("free"), addon("base", until=day(15))).valid_until is None


def test_a_denial_is_valid_no_longer_than_its_own_reasons():
    decision = denied("calls", held("free"), addon("base", until=day(30)), used=10)
    assert decision.valid_until == datetime(2026, 5, 30, tzinfo=UTC)
    earlier = denied("calls", held("free"), addon("base", until=day(31)), used=10, at=day(30))
    assert earlier.valid_until == day(31)


def test_a_denial_is_valid_until_a_reset_makes_another_plan_allow_it():
    """Counterexample: `top` has 5 chats a month, which are used: it is no upgrade before the first of June."""
    decision = denied("chat", held("free"), used=5)
    assert (decision.upgrade, decision.valid_until) == ((), day(1, 6))
    assert denied("chat", held("free"), at=day(1, 6)).upgrade == ("plan:top",)


def test_usage_before_the_feature_was_lost_counts_for_the_upgrade():
    """100 calls were used on `pro`; `off` has none; going back to `pro` keeps the usage, so it would not allow one."""
    back = held("off", anchor=day(5, 1))
    case = Case(request("check", "acme", None, feature="calls"), "", CATALOG, AT, Head(batches=1, facts=Facts((back,))))
    booked = {("calls/month", day(5)): 100}
    case = case.counting({counter: booked.get(counter, 0) for counter in counters_of(case, "calls")})
    assert "plan:pro" not in check(case).upgrade
