"""Prometheus: how often each feature was allowed and denied, what was consumed, how often a fallback answered.

    observe(ent)

    entitlements_decisions_total{feature, allowed, code}
    entitlements_consumed_total{feature}
    entitlements_credits_consumed_total{credit}
    entitlements_fallbacks_total{feature}

A name that the catalog does not have counts as `(unknown)`, so that no question makes a new series.
"""

from __future__ import annotations

from functools import cache

from prometheus_client import REGISTRY, CollectorRegistry, Counter

from ..aio.engine import AsyncEntitlements
from ..decisions import Decision
from ..engine import Entitlements
from .counting import name_of, taken


def observe(ent: Entitlements | AsyncEntitlements, *, registry: CollectorRegistry = REGISTRY) -> None:
    """Count every decision of an engine from now on; raises ValueError where a registry counts one already."""
    decisions = Counter("entitlements_decisions", "Decisions made", ["feature", "allowed", "code"], registry=registry)
    consumed = Counter("entitlements_consumed", "Usage recorded", ["feature"], registry=registry)
    burned = Counter("entitlements_credits_consumed", "Credits burned", ["credit"], registry=registry)
    fallbacks = Counter("entitlements_fallbacks", "Answers given without the storage", ["feature"], registry=registry)
    child = cache(decisions.labels)

    def tell(decision: Decision) -> None:
        child(name_of(ent.catalog, decision), str(decision.allowed).lower(), decision.code).inc()

    def count(decision: Decision) -> None:
        match taken(ent.catalog, decision):
            case ("credit", credit, amount):
                burned.labels(credit).inc(amount)
            case ("feature", feature, amount):
                consumed.labels(feature).inc(amount)

    ent.on("decision", tell)
    ent.on("consumed", count)
    ent.on("stale", lambda decision: fallbacks.labels(name_of(ent.catalog, decision)).inc())
