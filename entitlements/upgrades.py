"""Upgrades: which plans and add-ons on sale would turn a denial into a yes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial

import attrs

from .cases import Case
from .catalog.model import Catalog, Plan
from .catalog.standing import flatten
from .changing import addon_refusal
from .decisions import Decision
from .judging import judge
from .ledger.facts import Facts, HeldAddOn, Subscription, holds, replace
from .resolution import resolve
from .weighing import Question

CURABLE = frozenset(
    {"unknown_customer", "no_active_subscription", "trial_ended", "not_in_plan", "value_not_allowed", "limit_reached"}
)

LAST = chr(sys.maxunicode)
"""The id of a subscription bought now: those held already anchor first."""


def with_upgrade(decision: Decision, question: Question, case: Case) -> Decision:
    """Return a denial with the plans and add-ons that would allow it, in the order of the catalog.

    What would allow it may change with any fact and with the resets of what is on sale, so the denial
    is valid no longer than those.
    """
    if decision.allowed or decision.code not in CURABLE or not _sold(case.catalog, decision.feature):
        return decision
    answers = dict(_answers(question, case))
    edges = [decision.valid_until, case.entitlements.next_change(), *_resets(answers.values(), question.at)]
    return attrs.evolve(
        decision,
        upgrade=tuple(label for label, answer in answers.items() if answer.allowed),
        valid_until=min((edge for edge in edges if edge is not None and edge > question.at), default=None),
    )


def _sold(catalog: Catalog, feature: str) -> bool:
    addons = any(feature in addon.entitlements for addon in catalog.addons.values())
    return addons or any(feature in flatten(catalog, plan) for plan in catalog.plans)


def _answers(question: Question, case: Case) -> Iterator[tuple[str, Decision]]:
    """Yield what would be decided with each plan and each add-on that could be bought and grants the feature.

    A plan grants what the add-ons that are held with it give, too.
    """
    feature = question.feature.key
    for plan in case.catalog.plans.values():
        held = any(holder.plan == plan.key for holder in case.entitlements.holders if holder.source.kind == "plan")
        if not held and (feature in flatten(case.catalog, plan.key) or case.entitlements.added(feature, plan.key)):
            label = f"plan:{plan.key}"
            yield label, _answer(question, case, label, partial(_with_plan, case, plan))
    for addon in case.catalog.addons.values():
        if feature in addon.entitlements and not addon_refusal(case.catalog, case, addon.key):
            label = f"add-on:{addon.key}"
            yield label, _answer(question, case, label, partial(_with_addon, case, addon.key))


def _answer(question: Question, case: Case, label: str, facts: Callable[[], Facts]) -> Decision:
    entitlements = case.alternatives.get(label)
    if entitlements is None:
        entitlements = case.alternatives[label] = resolve(case.catalog, facts(), question.at, sold=case.sold)
    decision, _, _ = judge(question, entitlements, case.head, case.counters)
    return decision


def _resets(answers: Iterable[Decision], at: datetime) -> Iterator[datetime]:
    """Yield when what is used of a limit that denies starts again from zero.

    What is bought now opens its windows now; one that finds usage there, because another window began
    at this very instant, would find none a moment later.
    """
    for answer in answers:
        for allowance in () if answer.allowed else answer.allowances:
            for limit in (allowance, *allowance.limits):
                if limit.used and limit.resets_at is not None:
                    yield limit.resets_at if limit.window_start != at else at + datetime.resolution


def _with_plan(case: Case, plan: Plan) -> Facts:
    facts, at = case.head.facts, case.at
    held = [fact for fact in facts.subscriptions if fact.product == plan.product and holds(fact, at)]
    bought = Subscription(LAST, plan.product, plan.key, at, None, started_at=at, anchor=at)
    if held:
        bought = attrs.evolve(held[0], plan=plan.key, version=None)
    return attrs.evolve(facts, subscriptions=replace(facts.subscriptions, plan.product, at, (bought,)))


def _with_addon(case: Case, addon: str) -> Facts:
    facts, at = case.head.facts, case.at
    held = sum(fact.quantity for fact in facts.addons if fact.addon == addon and holds(fact, at))
    return attrs.evolve(facts, addons=replace(facts.addons, addon, at, (HeldAddOn(addon, held + 1, at, None),)))
