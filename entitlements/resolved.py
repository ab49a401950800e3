"""What facts came to: worked out anew only where they, the catalog or the time have changed it.

A write reads the facts under the lock, every time; these very facts come to the same as before.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from .catalog.model import Catalog
from .ledger.facts import Facts
from .resolution import Entitlements

MOST: Final = 1000
"""How many customers are remembered; then all are forgotten."""


class Resolved:
    """What the facts of customers last came to; dropped altogether where it is that of too many."""

    def __init__(self) -> None:
        self._known: dict[str, Entitlements] = {}

    def get(self, customer: str, catalog: Catalog, facts: Facts, at: datetime) -> Entitlements | None:
        """Return what these very facts come to at an instant, None where it has to be worked out."""
        was = self._known.get(customer)
        return was if was is not None and was.facts is facts and still_holds(was, catalog, at) else None

    def put(self, customer: str, entitlements: Entitlements) -> None:
        """Remember what a customer's facts come to."""
        if len(self._known) >= MOST:
            self._known = {}
        self._known[customer] = entitlements


def still_holds(was: Entitlements, catalog: Catalog, at: datetime) -> bool:
    """Tell whether what facts came to is what they come to by this catalog at this instant."""
    return was.catalog is catalog and was.at <= at and not was.changed_by(at)
