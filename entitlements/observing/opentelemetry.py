"""OpenTelemetry: evaluations as events of the semantic conventions for feature flags, and metrics.

    observe(ent)

Events are named `feature_flag.evaluation`; only changes are sent: the first answer on a feature and each
that differs from the last, so that a busy check stays cheap. `every=True` sends all. Metrics are
`entitlements.checks`, `entitlements.check.duration`, `entitlements.consumed`, `entitlements.credits.consumed`
and `entitlements.store.errors`.
"""

from __future__ import annotations

from typing import Any, Final

from opentelemetry import metrics
from opentelemetry._logs import LoggerProvider, SeverityNumber, get_logger
from opentelemetry.metrics import MeterProvider

from ..aio.engine import AsyncEntitlements
from ..decisions import Decision
from ..engine import Entitlements
from .counting import name_of, taken

NAME: Final = "entitlements"
_ERRORS: Final = {"unknown_feature": "flag_not_found", "unknown_credit": "flag_not_found"}


def observe(
    ent: Entitlements | AsyncEntitlements,
    *,
    every: bool = False,
    loggers: LoggerProvider | None = None,
    meters: MeterProvider | None = None,
) -> None:
    """Tell OpenTelemetry of every decision of an engine from now on, by the providers given or the global ones."""
    logger = get_logger(NAME, logger_provider=loggers)
    meter = metrics.get_meter(NAME, meter_provider=meters)
    checks = meter.create_counter("entitlements.checks", "{check}", "Decisions made")
    consumed = meter.create_counter("entitlements.consumed", "{use}", "Usage recorded")
    burned = meter.create_counter("entitlements.credits.consumed", "{credit}", "Credits burned")
    duration = meter.create_histogram("entitlements.check.duration", "s", "Time a check took")
    errors = meter.create_counter("entitlements.store.errors", "{error}", "Errors of the storage")
    last: dict[str, str] = {}

    def tell(decision: Decision) -> None:
        feature = name_of(ent.catalog, decision)
        checks.add(1, {"feature": feature, "allowed": decision.allowed, "code": decision.code})
        if every or last.get(feature) != decision.code:
            last[feature] = decision.code
            logger.emit(
                event_name="feature_flag.evaluation",
                severity_number=SeverityNumber.INFO,
                attributes=attributes_of(decision, feature),
            )

    def count(decision: Decision) -> None:
        for took in taken(ent.catalog, decision):
            match took:
                case ("credit", credit, amount):
                    burned.add(amount, {"credit": credit})
                case ("feature", feature, amount):
                    consumed.add(amount, {"feature": feature})

    ent.on("decision", tell)
    ent.on("consumed", count)
    ent.on("checked", lambda checked: duration.record(checked.seconds))
    ent.on("fault", lambda fault: errors.add(1, {"error.type": type(fault).__name__}))


def attributes_of(decision: Decision, feature: str) -> dict[str, Any]:
    """Return the attributes of an evaluation; the customer, who would be its context, is never among them."""
    told = {
        "feature_flag.key": feature,
        "feature_flag.provider.name": NAME,
        "feature_flag.result.variant": decision.source if decision.allowed else decision.code,
        "feature_flag.result.value": decision.allowed,
        "feature_flag.result.reason": _reason(decision),
        "feature_flag.version": decision.catalog_version,
        "error.type": _ERRORS.get(decision.code),
    }
    return {name: value for name, value in told.items() if value is not None}


def _reason(decision: Decision) -> str:
    if decision.code in _ERRORS:
        return "error"
    if decision.stale:
        return "stale"
    return "targeting_match" if decision.allowed else "default"
