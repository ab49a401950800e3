"""The verbs that change facts: each checks everything, then says what holds from its instant on.

An entry of a fact carries the whole row of facts with its key that follows it, so folding a log
needs no catalog and no knowledge of the verb.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from .capping import remove_budget, set_budget
from .cases import Case, verdict
from .catalog.model import Catalog, Plan
from .errors import (
    AddOnRefused,
    AlreadySubscribed,
    NotSubscribed,
    UnknownAddOn,
    UnknownPlan,
    UnknownPromotion,
    did_you_mean,
    shown,
)
from .ledger.budgets import Budget
from .ledger.entries import Entry, Verdict
from .ledger.facts import F, Fact, HeldAddOn, Override, PromotionRun, Subscription, Trial, in_force
from .ledger.state import facts_after
from .metering import meters
from .resolution import applies, resolve
from .wording import coming


def subscribe(case: Case) -> Verdict[Subscription]:
    """Subscribe to a plan; raises UnknownPlan, AlreadySubscribed, ValueError for an end before the beginning."""
    plan = _plan(case.catalog, case.value("plan"))
    held = _from(case.head.facts.subscriptions, plan.product, case.since)
    if held:
        raise AlreadySubscribed(_held_already(case, held[0]))
    subscription = Subscription(
        f"{plan.product}-{case.head.batches + 1}",
        plan.product,
        plan.key,
        case.since,
        _ends(case),
        started_at=case.since,
        anchor=case.value("anchor") or case.since,
        zone=case.value("zone") or "UTC",
        billing_id=case.value("billing_id"),
        version=_sold_in(case.catalog, plan),
    )
    return _fact(case, "subscribed", subscription)


def change_plan(case: Case) -> Verdict[Subscription]:
    """Move a subscription to another plan of its product; anchor, zone, status and end stay as they are."""
    case.known()
    plan = _plan(case.catalog, case.value("plan"))
    held = _from(case.head.facts.subscriptions, plan.product, case.since)
    if not held:
        raise NotSubscribed(f"{case.customer} holds no plan of product {plan.product!r}; use subscribe")
    if held[0].since > case.since:
        begins = coming(held[0].plan, held[0].since)
        raise NotSubscribed(f"{case.customer}: {begins}; cancel it first, or give at= from then on")
    facts = _rewritten(held, case.since, plan=plan.key, version=_sold_in(case.catalog, plan))
    changed = Entry("plan_changed", case.since, plan.product, data={"facts": facts})
    return verdict(case, [changed, *_usage_resets(case, changed)], facts[0])


def cancel(case: Case) -> Verdict[None]:
    """End a subscription, and whatever was scheduled after it; raises NotSubscribed where none is held."""
    product = _held_product(case)
    return _none_after(case, "canceled", product)


def set_status(case: Case) -> Verdict[Subscription]:
    """Make a subscription active, past due (it still grants) or paused (it does not)."""
    product = _held_product(case)
    held = _from(case.head.facts.subscriptions, product, case.since)
    facts = _rewritten(held, case.since, status=case.value("status"))
    return verdict(case, [Entry("status_set", case.since, product, data={"facts": facts})], facts[0])


def start_trial(case: Case) -> Verdict[Trial]:
    """Lend a plan for a number of days, or until an instant; the plan's own terms unless told otherwise."""
    plan = _plan(case.catalog, case.value("plan"))
    days = case.value("days") or (plan.trial.days if plan.trial is not None else None)
    until = _ends(case)
    if until is None:
        if days is None:
            raise ValueError(f"plan {plan.key!r} has no trial in the catalog; give days= or ends_at=")
        until = _later(case.since, days)
    elif case.value("days"):
        raise ValueError("give days= or ends_at=, not both")
    return _fact(case, "trial_started", Trial(plan.key, case.since, until, _sold_in(case.catalog, plan)))


def add_addon(case: Case) -> Verdict[HeldAddOn]:
    """Hold an add-on in a quantity; raises UnknownAddOn, and AddOnRefused where its own rules forbid it."""
    key = case.value("addon")
    if key not in case.catalog.addons:
        raise UnknownAddOn(key, case.catalog.addons)
    refusal = addon_refusal(case.catalog, case, key)
    if refusal:
        raise AddOnRefused(refusal)
    return _fact(case, "addon_set", HeldAddOn(key, case.value("quantity") or 1, case.since, _ends(case)))


def remove_addon(case: Case) -> Verdict[None]:
    """Give an add-on up; raises NotSubscribed where it is not held."""
    case.known()
    key = case.value("addon")
    if not _from(case.head.facts.addons, key, case.since):
        held = [fact.addon for fact in case.head.facts.addons if fact.until is None or fact.until > case.since]
        raise NotSubscribed(f"{case.customer} does not hold add-on {shown(key)}{did_you_mean(key, held)}")
    return _none_after(case, "addon_removed", key)


def promote(case: Case) -> Verdict[PromotionRun]:
    """Run a promotion for as long as the catalog says, or until an instant."""
    key = case.value("promotion")
    if key not in case.catalog.promotions:
        raise UnknownPromotion(key, case.catalog.promotions)
    days = case.catalog.promotions[key].days
    until = _ends(case) or (None if days is None else _later(case.since, days))
    return _fact(case, "promoted", PromotionRun(key, case.since, until))


def override(case: Case) -> Verdict[Override]:
    """Decide about one feature for this customer alone: set, add to, grant, or deny."""
    from .catalog.loading import entitlement as parse  # noqa: PLC0415  (cattrs only where it is needed)

    entitlement = parse(case.feature(), case.value("value"), mode=case.value("mode"))
    number = case.head.batches + 1
    return _fact(case, "overridden", Override(entitlement, case.since, _ends(case), number, case.value("reason") or ""))


def remove_override(case: Case) -> Verdict[None]:
    """Take back every override of a feature; raises NotSubscribed where there is none."""
    case.known()
    feature = case.value("feature")
    held = [fact for fact in case.head.facts.overrides if fact.until is None or fact.until > case.since]
    keys = sorted({fact.key for fact in held if fact.entitlement.feature == feature})
    if not keys:
        near = did_you_mean(feature, (fact.entitlement.feature for fact in held))
        raise NotSubscribed(f"{case.customer} has no override of feature {shown(feature)}{near}")
    nothing: Mapping[str, Any] = {"facts": ()}
    return verdict(case, [Entry("override_removed", case.since, key, data=nothing) for key in keys], None)


def addon_refusal(catalog: Catalog, case: Case, key: str) -> str:
    """Return why a customer may not hold an add-on from the case's instant on; empty where nothing forbids it."""
    addon, since = catalog.addons[key], case.since
    held = {fact.addon for fact in in_force(case.head.facts.addons, since)} - {key}
    plans = [holder.plan for holder in resolve(catalog, case.head.facts, since, sold=case.sold).holders]
    if not any(applies(addon, plan) for plan in plans):
        goes_with = " or ".join(addon.plans) or "any plan"
        return f"add-on {key!r} goes with {goes_with}; {case.customer} holds {', '.join(plans) or 'no plan'}"
    missing = sorted(set(addon.requires) - held)
    if missing:
        return f"add-on {key!r} requires {', '.join(missing)}; add it first"
    excluded = [other for other in sorted(_beside(case) - {key}) if _exclude(catalog, key, other)]
    return f"add-on {key!r} and {', '.join(excluded)} exclude each other; remove that first" if excluded else ""


def _beside(case: Case) -> set[str]:
    """Return the add-ons held at any instant at which what the case begins would be held, too."""
    since, until = case.since, case.value("ends_at")
    later = [fact for fact in case.head.facts.addons if fact.until is None or fact.until > since]
    return {fact.addon for fact in later if until is None or fact.since < until}


def _exclude(catalog: Catalog, one: str, other: str) -> bool:
    pair = catalog.addons.get(one), catalog.addons.get(other)
    return bool((pair[0] and other in pair[0].excludes) or (pair[1] and one in pair[1].excludes))


def _plan(catalog: Catalog, key: str) -> Plan:
    if key not in catalog.plans:
        raise UnknownPlan(key, catalog.plans)
    return catalog.plans[key]


def _sold_in(catalog: Catalog, plan: Plan) -> str | None:
    return catalog.version if plan.version == "pinned" else None


def _ends(case: Case) -> datetime | None:
    ends_at: datetime | None = case.value("ends_at")
    if ends_at is not None and ends_at <= case.since:
        raise ValueError(f"ends_at is {ends_at.isoformat()}; it must come after {case.since.isoformat()}")
    return ends_at


def _later(since: datetime, days: int) -> datetime:
    try:
        return since + timedelta(days=days)
    except OverflowError:
        raise ValueError(f"{days} days after {since.isoformat()} lies beyond the year 9999") from None


def _from(facts: Iterable[F], key: str, since: datetime) -> list[F]:
    return [fact for fact in facts if fact.key == key and (fact.until is None or fact.until > since)]


def _held_already(case: Case, held: Subscription) -> str:
    holds = f"{case.customer} holds plan {held.plan!r} of product {held.product!r}"
    if held.since > case.since:
        return f"{holds} from {held.since.isoformat()} on; cancel that first"
    return f"{holds}; use change_plan to leave it"


def _rewritten(held: Sequence[Subscription], since: datetime, **changes: Any) -> tuple[Subscription, ...]:
    """Return the rows of a product from an instant on, the first subscription's changed, in as few as say it."""
    rows: list[Subscription] = []
    for fact in held:
        own = fact.id == held[0].id
        row = attrs.evolve(fact, since=max(fact.since, since), **changes) if own else fact
        if rows and rows[-1] == attrs.evolve(row, since=rows[-1].since, until=rows[-1].until):
            row = attrs.evolve(rows.pop(), until=row.until)
        rows.append(row)
    return tuple(rows)


def _held_product(case: Case) -> str:
    case.known()
    held = [fact for fact in case.head.facts.subscriptions if fact.until is None or fact.until > case.since]
    products = sorted({fact.product for fact in held})
    named: str | None = case.value("product")
    if named is not None and named in products:
        return named
    if named is not None or not products:
        others = f"; it holds plans of {', '.join(products)}" if products else ""
        which = "" if named is None else f" of product {shown(named)}{did_you_mean(named, products) or others}"
        raise NotSubscribed(f"{case.customer} holds no plan{which}")
    if len(products) > 1:
        raise ValueError(f"{case.customer} holds plans of {', '.join(products)}; say which with product=")
    return products[0]


def _fact(case: Case, kind: str, fact: F) -> Verdict[F]:
    return verdict(case, [Entry(kind, case.since, fact.key, data={"facts": (fact,)})], fact)


def _none_after(case: Case, kind: str, key: str) -> Verdict[None]:
    return verdict(case, [Entry(kind, case.since, key, data={"facts": ()})], None)


def _usage_resets(case: Case, changed: Entry) -> list[Entry]:
    """Return the lines that start usage again from zero, in the windows of before a change and in those of after it."""
    if case.value("usage") != "reset":
        return []
    if case.since > case.at:
        raise ValueError("usage='reset' takes effect at once; for a later change call reset_usage when it comes")
    then = resolve(case.catalog, facts_after(case.head.facts, (changed,)), case.at, sold=case.sold)
    opened, metered = case.head.opened, [each for each in case.catalog.features.values() if each.type == "metered"]
    counted = {
        meter.counter: feature.key
        for feature in metered
        for given in (case.entitlements, then)
        for meter in meters(given, opened, feature, case.at).values()
    }
    return [
        Entry("usage_reset", case.at, feature, *counter, -used)
        for counter, feature in counted.items()
        if case.counters.get(counter) and (used := case.counters[counter] - case.held(counter))
    ]


CHANGES: Mapping[str, Callable[[Case], Verdict[Fact | Budget | None]]] = {
    "subscribe": subscribe,
    "change_plan": change_plan,
    "cancel": cancel,
    "set_status": set_status,
    "start_trial": start_trial,
    "add_addon": add_addon,
    "remove_addon": remove_addon,
    "promote": promote,
    "override": override,
    "remove_override": remove_override,
    "set_budget": set_budget,
    "remove_budget": remove_budget,
}
