"""Thresholds of limits: which lines tell of them, where use comes up to a limit or a limit comes down to use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import cast

from .alerting import Level, crossed
from .amounts import to_units
from .catalog.model import Catalog, Feature
from .decisions import Decision
from .judging import judge
from .ledger.entries import CounterKey, Entry
from .ledger.state import Head, counted
from .metering import counters_wherever
from .resolution import Entitlements
from .weighing import Question


def limit_crossings(feature: Feature, stood: Decision, stands: Decision, at: datetime) -> Iterator[Entry]:
    """Yield the lines for the thresholds of the limit that is shown, which are reached now and were not before.

    Where several must all have room, each of them tells: another may be the tightest tomorrow.
    """
    before, now = _levels(feature, stood), _levels(feature, stands)
    replaced = next(iter(before.values()), None) if len(before) == len(now) == 1 else None
    for every, level in now.items():
        levels = before.get(every, replaced), level
        yield from crossed("limit", feature.key, feature.alerts, levels, feature.scale, at)


def crossed_by_change(
    customer: str,
    head: Head,
    counters: Mapping[CounterKey, int],
    change: tuple[Entitlements, Entitlements],
    entries: Iterable[Entry],
) -> Iterator[Entry]:
    """Yield the lines for limits that a change of what is held takes to what is used, or past it.

    `change` is what the customer was entitled to and is now, `entries` are the lines that changed it.
    """
    before, after = change
    counts = {**counters}
    for counter, amount in counted(entries).items():
        counts[counter] = counts.get(counter, 0) + amount
    for feature in watched(after.catalog):
        question = Question(customer, feature, 0, after.at)
        stood, _, _ = judge(question, before, head, counters)
        stands, _, _ = judge(question, after, head, counts)
        yield from limit_crossings(feature, stood, stands, after.at)


def counters_changed(
    entitlements: Entitlements,
    head: Head,
    at: datetime,
    begun: Iterable[tuple[datetime, str]],
    features: Iterable[Feature],
) -> tuple[CounterKey, ...]:
    """Return the counters of metered features, wherever a change of what is held may lay out their windows.

    `begun` are anchors and zones of subscriptions to come.
    """
    if not features:
        return ()
    held = [(subscription.anchor, subscription.zone) for subscription in entitlements.facts.subscriptions]
    anchors = dict.fromkeys((*held, *begun))
    found = [counters_wherever(entitlements, head.opened, feature, at, anchors) for feature in features]
    return tuple(dict.fromkeys(counter for counters in found for counter in counters))


def watched(catalog: Catalog) -> tuple[Feature, ...]:
    """Return the features that tell when use comes to parts of their limits."""
    memo = catalog.combined.get("watched features")
    if memo is None:
        found = tuple(feature for feature in catalog.features.values() if feature.alerts)
        memo = catalog.combined["watched features"] = {"features": found}
    return cast("tuple[Feature, ...]", memo["features"])


def _levels(feature: Feature, decision: Decision) -> dict[str, Level]:
    """Return by period the limits of the allowance that is shown, each with what is used of it, in units."""
    shown = (decision.source, decision.limit, decision.used, decision.window_start)
    found = (one for one in decision.allowances if (one.source, one.limit, one.used, one.window_start) == shown)
    return {
        limit.every: (to_units(limit.limit, feature.scale), to_units(limit.used, feature.scale))
        for allowance in islice(found, 1)
        for limit in allowance.limits or (allowance,)
        if isinstance(limit.limit, int | Decimal)
    }
