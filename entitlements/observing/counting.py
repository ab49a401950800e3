"""Counting: under which name a decision counts, and what it took."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

from ..catalog.model import Catalog
from ..decisions import Decision

UNKNOWN: Final = "(unknown)"
Taken: TypeAlias = tuple[Literal["credit", "feature"], str, float]
"""Of which credit or feature, and how much."""


def name_of(catalog: Catalog, decision: Decision) -> str:
    """Return the feature or credit that was decided; one name for all that the catalog does not have."""
    name = decision.feature
    return name if name in catalog.features or name in catalog.credits else UNKNOWN


def taken(catalog: Catalog, decision: Decision) -> Iterator[Taken]:
    """Yield what a decision took: of a credit, of a feature, or of both where the use has a price.

    For decisions of the event "consumed", which what is only set aside is not: it counts when it is settled.
    """
    receipt = decision.receipt
    if receipt is None or receipt.replayed:
        return
    credit = (decision.source or "").removeprefix("credit:")
    if receipt.price is not None and decision.feature in catalog.rates:
        paid = float(receipt.price) - float(receipt.unpaid)
        yield from _some("credit", catalog.rates[decision.feature].credit, paid)
    elif credit in catalog.credits:
        yield from _some("credit", credit, float(receipt.booked))
        return
    if decision.feature in catalog.features:
        yield from _some("feature", decision.feature, float(receipt.booked))


def _some(kind: Literal["credit", "feature"], name: str, amount: float) -> Iterator[Taken]:
    if amount > 0:
        yield kind, name, amount
