"""Catalogs with everything at once, drawn anew for each story, and what a running engine may be given instead."""

from copy import deepcopy
from random import Random

FEATURES = {
    "exports": {"type": "boolean"},
    "history": {"type": "config", "value": "integer", "prefer": "max"},
    "seats": {"type": "metered", "reset": "none", "alerts": ["0.5", "1"]},
    "calls": {"type": "metered", "reset": "month", "backdate": "3d", "alerts": ["0.8"]},
    "chat": {"type": "metered", "reset": {"every": "day", "align": "first_use"}, "backdate": "2d"},
    "disk": {"type": "metered", "reset": "none", "aggregate": "max", "scale": 2},
    "level": {"type": "metered", "reset": "week", "aggregate": "latest", "backdate": "2d"},
    "visits": {"type": "metered", "reset": {"every": "day", "align": "calendar"}, "aggregate": "count"},
    "tokens": {"type": "metered", "reset": "month", "backdate": "2d"},
    "draw": {"type": "metered", "scale": 1, "reset": {"every": "hour", "count": 5, "align": "first_use"}},
    "notes": {"type": "metered", "reset": {"every": "week", "align": "calendar"}},
}
CREDITS = {
    "ai": {"scale": 2, "currency": "USD", "alerts": [5], "expiring": "2d"},
    "gold": {"depletion": "soft", "floor": 20, "burn_order": "soonest_expiry", "currency": "EUR"},
    "owed": {"scale": 1, "depletion": "soft", "burn_order": "first_in_first_out"},
    "part": {"depletion": "partial", "burn_order": "plan_first", "currency": "USD", "alerts": [3, 0]},
}
METERED = [name for name, feature in FEATURES.items() if feature["type"] == "metered"]
SUMMED = [name for name in METERED if FEATURES[name].get("aggregate", "sum") == "sum"]
PLANS = ("free", "basic", "pro", "team+", "crm", "crm_plus")
ADDONS = ("more", "base", "over", "anti")
PROMOTIONS = ("launch", "gift")


def drawn(draw: Random) -> dict:
    """Return a catalog document."""
    document = {
        "version": 1,
        "features": deepcopy(FEATURES),
        "credits": deepcopy(CREDITS),
        "products": {"app": {}, "crm": {}},
        "plans": _plans(draw),
        "addons": {
            "more": {"plans": ["basic", "pro"], "entitlements": {"seats": 2, "calls": 10, "tokens": 5}},
            "base": {"entitlements": {"history": 30, "chat": {"limit": 2, "reset": "day", "mode": "add"}}},
            "over": {"requires": ["base"], "entitlements": {"notes": {"limit": 9, "mode": "grant"}}},
            "anti": {"excludes": ["base"], "entitlements": {"exports": True, "draw": "2.5"}},
        },
        "promotions": {
            "launch": {"days": 2, "entitlements": {"calls": "unlimited", "visits": 9}},
            "gift": {"entitlements": {"disk": 9, "notes": {"limit": 3, "reset": "day"}}},
        },
        "rates": {
            "chat": {"credit": "ai", "price": "1.5", "when": [{"model": "large", "price": "4"}]},
            "tokens": {"credit": draw.choice(["gold", "ai"]), "per": 2, "price": "1",
                       "when": [{"kind": "input", "price": "1"}, {"kind": "output", "price": "3"}],
                       "whole": draw.random() < 0.3, "round": draw.choice(["up", "nearest", "down"])},
            "draw": {"credit": draw.choice(["owed", "part"]), "price": "1.3", "when": [{"model": "large", "price": "0"}]},
        },
    }  # fmt: skip
    if draw.random() < 0.4:
        document["default_plan"] = "free"
    return document


def replaced(document: dict, draw: Random) -> dict:
    """Return a later version of a catalog: other terms, limits and prices, what logs rely on as it was."""
    later = deepcopy(document)
    fresh = drawn(draw)
    for section in draw.sample(["plans", "addons", "promotions", "rates"], 2):
        later[section] = fresh[section]
    if draw.random() < 0.3:
        later["plans"] = {name: plan for name, plan in later["plans"].items() if name != "team+"}
    if draw.random() < 0.3:
        del later["rates"][draw.choice(sorted(later["rates"]))]
    if draw.random() < 0.2:
        later.pop("default_plan", None)
    return later


def _plans(draw: Random) -> dict:
    every = ["day", "week", "month", "month"]
    return {
        "free": {"product": "app", "credits": _credits(draw, every, ["ai", "part"], 0.6),
                 "entitlements": {"seats": 2, "calls": 5, "visits": 3, "history": 7, "notes": 4}},
        "basic": {
            "product": "app", "extends": "free", "trial": {"days": 3}, "version": draw.choice(["latest", "pinned"]),
            "credits": _credits(draw, every, CREDITS, 0.7),
            "entitlements": {"seats": 4, "chat": {"limits": [{"limit": 4}, {"limit": 9, "reset": "week"}]},
                             "tokens": {"limit": 12, "depletion": "soft", "ceiling": 15},
                             "draw": {"limit": "4.5", "depletion": "partial"}},
        },
        "pro": {
            "product": "app", "extends": "basic", "trial": {"days": 5}, "version": draw.choice(["latest", "pinned"]),
            "credits": _credits(draw, every, CREDITS, 0.8),
            "entitlements": {"exports": True, "calls": {"limit": 20, "depletion": "soft", "ceiling": 25},
                             "chat": {"limit": 8, "mode": draw.choice(["grant", "set"])}, "disk": "2.50",
                             "tokens": {"limit": 30, "reset": "day"}, "level": {"limit": 7, "depletion": "partial"}},
        },
        "team+": {
            "product": "app", "extends": ["pro"], "credits": _credits(draw, every, CREDITS, 0.8),
            "entitlements": {"seats": "unlimited", "chat": "unlimited", "tokens": "unlimited", "draw": "unlimited"},
        },
        "crm": {"product": "crm", "credits": _credits(draw, every, CREDITS, 0.3),
                "entitlements": {"calls": {"limit": 3, "reset": "day"}, "chat": 3, "level": 5}},
        "crm_plus": {"product": "crm", "extends": "crm", "credits": _credits(draw, every, CREDITS, 0.3),
                     "version": draw.choice(["latest", "pinned"]), "entitlements": {"tokens": 10, "notes": "unlimited"}},
    }  # fmt: skip


def _credits(draw: Random, every: list, kinds: object, chance: float) -> dict:
    return {credit: _terms(draw, every) for credit in sorted(kinds) if draw.random() < chance}


def _terms(draw: Random, every: list) -> dict:
    terms = {"grant": draw.choice([1, 5, 10, 30]), "every": draw.choice(every), "count": draw.choice([1, 1, 1, 2, 3])}
    told = {
        "category": draw.choice(["paid", "promotional"]),
        "priority": draw.choice([10, 50, 90]),
        "cost_basis": draw.choice(["0", "9.00", "0.07", "10"]),
        "allowance": draw.choice(["full", "prorate", "next_period"]),
        "unused": draw.choice(["keep", "convert", "forfeit"]),
        "rollover": _rollover(draw),
    }
    return terms | {name: value for name, value in told.items() if draw.random() < 0.6}


def _rollover(draw: Random) -> dict:
    told = {
        "max": draw.choice([1, 4, 10]),
        "fraction": draw.choice(["0.5", "0.3", "1", "0"]),
        "expires_after": draw.choice(["1d", "2d", "7d", "30d", "40d", "1h"]),
        "times": draw.choice([1, 2, 3]),
    }
    return {name: value for name, value in told.items() if draw.random() < 0.5} or {"times": 2}
