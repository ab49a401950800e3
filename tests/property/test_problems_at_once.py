"""No mistake in a catalog hides another, and none makes up another: what each tells alone, all tell together.

The exceptions are the few that leave nothing to judge another by, and stand in `HIDES`.
"""

from __future__ import annotations

import copy

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from entitlements.catalog.loading import parse
from entitlements.errors import CatalogError

CATALOG = {
    "default_plan": "free",
    "features": {
        "calls": {"type": "metered", "unit": "call", "reset": {"every": "month", "count": 1}, "alerts": ["0.8", 1]},
        "hours": {"type": "metered", "scale": 2, "reset": "day", "backdate": "7d", "on_unavailable": "deny"},
        "tier": {"type": "config", "value": "text", "prefer": ["gold", "silver"]},
        "size": {"type": "config", "value": "integer"},
        "sso": {"type": "boolean", "title": "SSO"},
    },
    "credits": {"ai": {"scale": 2, "currency": "EUR", "depletion": "soft", "floor": 5, "burn_order": "default", "alerts": [5, 1]}},
    "products": {"app": {"title": "App"}},
    "plans": {
        "free": {"product": "app", "entitlements": {"calls": 10, "hours": "2.50", "tier": "silver", "size": 3, "sso": False}},
        "pro": {
            "product": "app",
            "extends": ["free"],
            "trial": {"days": 14},
            "entitlements": {
                "calls": {"limit": 5, "depletion": "soft", "ceiling": 9},
                "hours": {"limits": [{"limit": 8, "reset": "day"}, {"limit": 100, "reset": {"every": "month", "count": 1}}]},
                "tier": {"value": "gold", "mode": "set"},
            },
            "credits": {
                "ai": {
                    "grant": 100,
                    "every": "month",
                    "count": 1,
                    "cost_basis": "0.01",
                    "rollover": {"max": 50, "fraction": "0.5", "expires_after": "30d", "times": 2},
                }
            },
        },
        "team": {
            "entitlements": {"calls": {"limits": [{"limit": 1, "reset": "day"}, {"limit": 5, "reset": "week"}]}, "tier": "gold"}
        },
    },
    "addons": {"more": {"plans": ["pro"], "requires": ["base"], "entitlements": {"calls": 5}}, "base": {}},
    "promotions": {"spring": {"days": 30, "entitlements": {"hours": {"limit": 3, "reset": "day"}}}},
    "rates": {
        "calls": {"credit": "ai", "price": 1, "per": 10, "when": [{"model": "large", "price": 4}, {"model": "mini", "price": 2}]}
    },
}  # fmt: skip

FAULTS = [
    ("version", "1"),
    ("default_plan", "fre"),
    ("features.calls.unit", 5),
    ("features.calls.reset.every", "mnth"),
    ("features.calls.reset.count", -1),
    ("features.calls.reset.algn", "calendar"),
    ("features.calls.alerts.0", "x"),
    ("features.calls.alerts.1", 20),
    ("features.calls.agregate", "max"),
    ("features.hours.type", "metred"),
    ("features.hours.scale", 20),
    ("features.hours.backdate", "7 days"),
    ("features.hours.on_unavailable", "dny"),
    ("features.tier.value", "txt"),
    ("features.tier.title", 5),
    ("features.tier.prefer", ["gold", "gold", "silver"]),
    ("features.sso.title", 5),
    ("features.sso.metadata", [1]),
    ("credits.ai.scale", 20),
    ("credits.ai.depletion", "sft"),
    ("credits.ai.floor", "zzz"),
    ("credits.ai.titel", "AI"),
    ("credits.$ai", {"scale": 20}),
    ("credits.ai.currency", "euro"),
    ("credits.ai.burn_order", ["priorty"]),
    ("credits.ai.expiring", "soon"),
    ("products.app.title", None),
    ("products.app.metadata", {"a": 1.5, "b": [{"c": 2.5}]}),
    ("plans.free.product", "ap"),
    ("plans.free.price", 2.5),
    ("plans.free.entitlements.calls", -1),
    ("plans.free.entitlements.hours", "two"),
    ("plans.free.entitlements.size", "three"),
    ("plans.free.entitlements.sso", "no"),
    ("plans.pro.extends.0", "fre"),
    ("plans.pro.extends.1", 5),
    ("plans.pro.trial.days", 0),
    ("plans.pro.trial.dys", 5),
    ("plans.pro.entitlements.calls.limit", "unlimted"),
    ("plans.pro.entitlements.calls.depletion", "sft"),
    ("plans.pro.entitlements.calls.mode", "add"),
    ("plans.pro.entitlements.calls.ceiling", -9),
    ("plans.pro.entitlements.hours.limits.0.limit", -8),
    ("plans.pro.entitlements.hours.limits.0.rest", "day"),
    ("plans.pro.entitlements.hours.limits.1.limit", "x"),
    ("plans.pro.entitlements.hours.limits.1.reset.every", "mnth"),
    ("plans.pro.entitlements.hours.limits.2", 5),
    ("plans.pro.entitlements.tier.mode", "st"),
    ("plans.pro.entitlements.tier.value", 5),
    ("plans.pro.entitlements.nothing", True),
    ("plans.pro.credits.ai.grant", -1),
    ("plans.pro.credits.ai.every", "dy"),
    ("plans.pro.credits.ai.count", 0),
    ("plans.pro.credits.ai.categry", "paid"),
    ("plans.pro.credits.ai.cost_basis", -1),
    ("plans.pro.credits.ai.rollover.max", -1),
    ("plans.pro.credits.ai.rollover.fraction", "2"),
    ("plans.pro.credits.ai.rollover.expires_after", "30 days"),
    ("plans.pro.credits.ai.rollover.times", -1),
    ("plans.pro.credits.aii", {"grant": "x", "every": "month"}),
    ("plans.team.entitlements.calls.limits.0.ceiling", 0),
    ("plans.team.entitlements.calls.limits.0.foo", 1),
    ("plans.team.entitlements.calls.limits.1.reset", "day"),
    ("plans.team.entitlements.tier", "bronze"),
    ("plans.lost ", {"extends": "nope", "entitlements": {"zz": 1, "calls": -5}}),
    ("addons.more.plans.0", "prp"),
    ("addons.more.requires.0", 7),
    ("addons.more.excludes", ["nobody", "base"]),
    ("addons.more.entitlements.calls", None),
    ("promotions.spring.days", 0),
    ("promotions.spring.entitlements.hours.limit", "x"),
    ("promotions.spring.entitlements.hours.reset", "dy"),
    ("promotions.spring.entitlements.calls", {"limit": 1, "reset": "none"}),
    ("rates.calls.credit", "aii"),
    ("rates.calls.price", "x"),
    ("rates.calls.per", 0),
    ("rates.calls.when.0.price", "y"),
    ("rates.calls.when.1.model", 5),
    ("rates.calls.when.2", {"price": 1}),
    ("rates.calls.whole", "yes"),
    ("rates.calls.titel", "x"),
    ("rates.hours", {"price": -1, "per": -1}),
    ("rates.nothing", 5),
]
HIDES = {
    "features.hours.type": {
        "plans.free.entitlements.hours",
        "plans.pro.entitlements.hours.limits.0.limit",
        "plans.pro.entitlements.hours.limits.1.limit",
        "promotions.spring.entitlements.hours.limit",
    },
    "features.tier.value": {
        "features.tier.prefer",
        "plans.pro.entitlements.tier.value",
        "plans.team.entitlements.tier",
    },
    "features.calls.reset.every": {"promotions.spring.entitlements.calls"},
    "plans.team.entitlements.calls.limits.0.foo": {"plans.team.entitlements.calls.limits.0.ceiling"},
    "addons.more.requires.0": {"addons.more.excludes"},
}
"""What cannot be judged without another: an amount without its type, an exclusion without what is required.

An unknown key that is near none may have been meant for any that is not there.
"""
MANY = {
    "addons.more.excludes": 2,
    "credits.$ai": 2,
    "plans.lost ": 4,
    "plans.pro.credits.aii": 2,
    "products.app.metadata": 2,
    "rates.hours": 3,
    "rates.nothing": 2,
}


def planted(faults):
    document = copy.deepcopy(CATALOG)
    for path, value in faults:
        place = document
        *above, last = path.split(".")
        for part in above:
            place = place[int(part) if isinstance(place, list) else part]
        if isinstance(place, list):
            place[int(last) : int(last) + 1] = [value]
        else:
            place[last] = copy.deepcopy(value)
    return document


def told(*faults):
    """Where something is wrong, and the first words of what: the rest may name what is wrong besides."""
    try:
        parse(planted(faults))
    except CatalogError as error:
        return {(problem.path, *problem.message.split()[:3]) for problem in error.problems}
    return set()


ALONE = {fault[0]: told(fault) for fault in FAULTS}


@pytest.mark.parametrize("path", ALONE)
def test_each_mistake_is_told(path):
    assert len(ALONE[path]) == MANY.get(path, 1)


@pytest.mark.parametrize("at", range(len(FAULTS)), ids=[path for path, _ in FAULTS])
def test_no_mistake_hides_or_makes_up_another(at):
    one = FAULTS[at]
    for other in FAULTS[at + 1 :]:
        if other[0] not in HIDES.get(one[0], ()) and one[0] not in HIDES.get(other[0], ()):
            assert told(one, other) == ALONE[one[0]] | ALONE[other[0]], other


@settings(max_examples=60)
@given(st.lists(st.sampled_from(range(len(FAULTS))), unique=True, max_size=40).map(sorted))
@example([at for at, (path, _) in enumerate(FAULTS) if path not in HIDES])
def test_all_mistakes_are_told_at_once(chosen):
    faults = [FAULTS[at] for at in chosen]
    hidden = set().union(*(HIDES.get(path, ()) for path, _ in faults))
    for path, _ in faults:
        if path not in hidden:
            assert told(*faults) >= ALONE[path]
    assert told(*faults) <= set().union(*(ALONE[path] for path, _ in faults))
