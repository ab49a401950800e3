"""The pricing the benchmarks run on: 50 features, a chain of plans, 8 sources, 168 grants."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from entitlements import Catalog

FEATURES = [f"feature_{n:02d}" for n in range(50)]
METERED = FEATURES[:40]
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SUBSCRIBED = datetime(2026, 3, 31, 9, tzinfo=UTC)
_PICK = random.Random(7)


def _entry(feature: str, amount: int) -> Any:
    return amount if feature in METERED else True


def _grants(features: list[str], amount: int) -> dict[str, Any]:
    return {feature: _entry(feature, amount + n) for n, feature in enumerate(features)}


def _some(count: int) -> list[str]:
    return sorted(_PICK.sample(METERED, count))


DOCUMENT: dict[str, Any] = {
    "features": {
        feature: {"type": "metered", "reset": "month"} if feature in METERED else {"type": "boolean"}
        for feature in FEATURES
    },
    "plans": {
        "base": {"entitlements": _grants(FEATURES, 100)},
        "pro": {"extends": "base", "entitlements": _grants(FEATURES, 1000)},
        "max": {"entitlements": _grants(FEATURES[:30], 5000)},
    },
    "addons": {f"pack_{n}": {"plans": ["pro"], "entitlements": _grants(_some(10), 50)} for n in range(3)},
    "promotions": {"launch": {"entitlements": _grants(_some(7), 2000)}},
}


def catalog() -> Catalog:
    return Catalog.load(DOCUMENT)


def sources(number: int = 0) -> list[dict[str, int]]:
    """Return the numbers of a customer that was equipped alike as plain mappings: what a flat merge needs."""
    plans, addons = DOCUMENT["plans"], DOCUMENT["addons"]
    listed = [plans["base"], plans["pro"], *addons.values(), plans["max"], DOCUMENT["promotions"]["launch"]]
    flat = [{feature: int(amount) for feature, amount in seller["entitlements"].items()} for seller in listed]
    return [*flat, {_special(number): 77_000}]


def equip(ent: Any, customer: str, number: int = 0) -> None:
    """Give a customer the eight sources; the number tells from when, and which limit is its own."""
    ent.subscribe(customer, "pro", at=SUBSCRIBED + number * timedelta(hours=1))
    for n in range(3):
        ent.add_addon(customer, f"pack_{n}")
    ent.start_trial(customer, "max", days=14)
    ent.promote(customer, "launch")
    ent.override(customer, _special(number), 77_000)


def _special(number: int) -> str:
    return METERED[(3 + number) % len(METERED)]


def large() -> dict[str, Any]:
    """Return a catalog of 10 plans in a chain with 50 grants each, and 20 add-ons."""
    plans: dict[str, Any] = {
        f"plan_{n}": {"entitlements": _grants(FEATURES, 100 + n), **({"extends": f"plan_{n - 1}"} if n else {})}
        for n in range(10)
    }
    addons = {f"addon_{n}": {"plans": ["plan_3"], "entitlements": _grants(METERED[:10], 50)} for n in range(20)}
    return {**DOCUMENT, "plans": plans, "addons": addons, "promotions": {}}
