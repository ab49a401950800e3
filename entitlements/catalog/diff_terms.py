"""Terms: what a catalog says beside entitlements that a customer gains or loses by, each in a few words.

A term that has a size can be more or less: more is a gain. What has none only changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import attrs

from ..amounts import canonical, from_units
from ..periods import duration_text
from .model import AddOn, Catalog, Credit, Feature, Plan, Promotion

NOTHING: Final = "nothing"


@attrs.frozen
class Term:
    """One term: what it says, and where it can be more or less, how much it is."""

    text: str
    size: int | None = None


Terms: TypeAlias = Mapping[str, Term]
Moved: TypeAlias = Literal["gains", "loses", "changes"]


def moved(one: Term, other: Term) -> Moved:
    """Tell what became of a term that is not what it was."""
    if one.size is None or other.size is None or one.size == other.size:
        return "changes"
    return "gains" if other.size > one.size else "loses"


def catalog_terms(catalog: Catalog) -> Terms:
    """Return what a catalog says of whoever holds no plan."""
    default = catalog.default_plan
    return {"default_plan": Term(default or NOTHING, int(default is not None))}


def feature_terms(feature: Feature) -> Terms:
    """Return what a feature says beside what is given of it."""
    prefer = feature.prefer
    ordered = ", ".join(map(str, prefer)) if isinstance(prefer, tuple) else prefer or "no order"
    backdate = duration_text(feature.backdate) if feature.backdate else NOTHING
    return {
        "aggregate": Term(feature.aggregate),
        "prefer": Term(ordered),
        "backdate": Term(backdate, int(feature.backdate.total_seconds())),
        "on_unavailable": Term(feature.on_unavailable.replace("_", " ")),
    }


def credit_terms(credit: Credit) -> Terms:
    """Return what happens when a credit runs out, and in which order it burns."""
    debt = "" if credit.floor is None else f" to a debt of {canonical(from_units(credit.floor, credit.scale))}"
    order = credit.burn_order
    return {
        "depletion": Term(f"{credit.depletion}{debt}"),
        "burn_order": Term(", ".join(order) if isinstance(order, tuple) else order.replace("_", " ")),
        "currency": Term(credit.currency or NOTHING),
    }


def plan_terms(plan: Plan) -> Terms:
    """Return what a plan says beside what it gives."""
    days = plan.trial.days if plan.trial is not None else 0
    return {
        "product": Term(plan.product),
        "version": Term(plan.version),
        "trial": Term(f"{days} days" if days else NOTHING, days),
    }


def addon_terms(addon: AddOn) -> Terms:
    """Return with what an add-on goes, and with what not."""
    return {
        "plans": Term(_listed(addon.plans, "every plan")),
        "requires": Term(_listed(addon.requires, NOTHING)),
        "excludes": Term(_listed(addon.excludes, NOTHING)),
    }


def promotion_terms(promotion: Promotion) -> Terms:
    """Return how long a promotion runs unless told otherwise."""
    days = promotion.days
    return {"days": Term(NOTHING if days is None else str(days), days)}


def _listed(keys: tuple[str, ...], otherwise: str) -> str:
    return ", ".join(sorted(keys)) or otherwise
