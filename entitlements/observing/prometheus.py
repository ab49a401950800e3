"""Prometheus: how often each feature was allowed and denied, what was consumed, how the storage does.

    observe(ent)

    entitlements_decisions_total{feature, allowed, code}
    entitlements_consumed_total{feature}
    entitlements_credits_consumed_total{credit}
    entitlements_fallbacks_total{feature}
    entitlements_check_seconds
    entitlements_store_errors_total{error}

A name that the catalog does not have counts as `(unknown)`, so that no question makes a new series.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram

from ..aio.engine import AsyncEntitlements
from ..decisions import Decision
from ..engine import Entitlements
from .counting import name_of, taken

BUCKETS: Final = (1e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0)
"""Seconds: an answer from memory takes some millionths of one, one from the storage some thousandths."""


def observe(ent: Entitlements | AsyncEntitlements, *, registry: CollectorRegistry = REGISTRY) -> None:
    """Count every decision of an engine from now on; raises ValueError where a registry counts one already."""
    decisions = Counter("entitlements_decisions", "Decisions made", ["feature", "allowed", "code"], registry=registry)
    consumed = Counter("entitlements_consumed", "Usage recorded", ["feature"], registry=registry)
    burned = Counter("entitlements_credits_consumed", "Credits burned", ["credit"], registry=registry)
    fallbacks = Counter("entitlements_fallbacks", "Answers given without the storage", ["feature"], registry=registry)
    seconds = Histogram("entitlements_check_seconds", "Time a check took", registry=registry, buckets=BUCKETS)
    errors = Counter("entitlements_store_errors", "Errors of the storage", ["error"], registry=registry)
    child = cache(decisions.labels)

    def tell(decision: Decision) -> None:
        child(name_of(ent.catalog, decision), str(decision.allowed).lower(), decision.code).inc()

    def count(decision: Decision) -> None:
        for took in taken(ent.catalog, decision):
            match took:
                case ("credit", credit, amount):
                    burned.labels(credit).inc(amount)
                case ("feature", feature, amount):
                    consumed.labels(feature).inc(amount)

    ent.on("decision", tell)
    ent.on("consumed", count)
    ent.on("checked", lambda checked: seconds.observe(checked.seconds))
    ent.on("fault", lambda fault: errors.labels(type(fault).__name__).inc())
    ent.on("stale", lambda decision: fallbacks.labels(name_of(ent.catalog, decision)).inc())
