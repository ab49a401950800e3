"""Counting: under which name a decision counts, and what it took."""

from __future__ import annotations

from typing import Final, Literal

from ..catalog.model import Catalog
from ..decisions import Decision

UNKNOWN: Final = "(unknown)"


def name_of(catalog: Catalog, decision: Decision) -> str:
    """Return the feature or credit that was decided; one name for all that the catalog does not have."""
    name = decision.feature
    return name if name in catalog.features or name in catalog.credits else UNKNOWN


def taken(catalog: Catalog, decision: Decision) -> tuple[Literal["credit", "feature"], str, float] | None:
    """Return what a decision took: of which credit, or else of which feature, and how much; None for nothing.

    For decisions of the event "consumed", which what is only set aside is not: it counts when it is settled.
    """
    receipt = decision.receipt
    if receipt is None or receipt.replayed:
        return None
    credit = (decision.source or "").removeprefix("credit:")
    if credit in catalog.credits:
        burned = float(sum(receipt.burned.values()))
        return ("credit", credit, burned) if burned > 0 else None
    if decision.feature in catalog.features and receipt.booked:
        return "feature", decision.feature, float(receipt.booked)
    return None
