"""Logs: one record for each decision, with its parts as attributes.

    observe(ent)

Denials are told at INFO, the rest at DEBUG, by the logger `entitlements.decisions`. What a record has
in `extra` starts with `entitlements.`; the customer is among it only where asked for.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from ..aio.engine import AsyncEntitlements
from ..decisions import Decision, json_number
from ..engine import Entitlements
from .counting import name_of

logger: Final = logging.getLogger("entitlements.decisions")


def observe(ent: Entitlements | AsyncEntitlements, *, customer: bool = False) -> None:
    """Log every decision of an engine from now on; `customer` puts the customer's id into the records."""

    def tell(decision: Decision) -> None:
        level = logging.DEBUG if decision.allowed else logging.INFO
        if logger.isEnabledFor(level):
            name = name_of(ent.catalog, decision)
            extra = attributes_of(decision, name) | ({"entitlements.customer": decision.customer} if customer else {})
            logger.log(level, "%s: %s", name, decision.code, extra=extra)

    ent.on("decision", tell)


def attributes_of(decision: Decision, name: str) -> dict[str, Any]:
    """Return what a record tells of a decision; the customer and the sentence that names them are not in it."""
    receipt = decision.receipt
    told = {
        "feature": name,
        "allowed": decision.allowed,
        "code": decision.code,
        "outcome": decision.outcome,
        "source": decision.source,
        "limit": json_number(decision.limit),
        "used": json_number(decision.used),
        "requested": json_number(decision.requested),
        "stale": decision.stale or None,
        "replayed": receipt.replayed if receipt is not None else None,
        "catalog_version": decision.catalog_version,
    }
    return {f"entitlements.{name}": value for name, value in told.items() if value is not None}
