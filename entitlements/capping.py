"""The verbs that set and remove budgets: caps on what is used inside a scope."""

from __future__ import annotations

from datetime import datetime

from .amounts import to_units
from .cases import Case, verdict
from .catalog.model import NO_PERIOD, Period
from .errors import UnknownBudget, UnknownCredit
from .ledger.budgets import Budget, Rows, budget_id, later_rows
from .ledger.entries import EPOCH, Entry, Verdict
from .periods import calendar_anchor


def set_budget(case: Case) -> Verdict[Budget]:
    """Set the budget of a scope, a subject and a period; what was counted in it stays.

    One with an end gives way to what stood before it, once it has ended. Raises UnknownFeature,
    UnknownCredit, ValueError for both or neither of them, for an end before the beginning.
    """
    scale = _scale(case)
    known, stood = _known(case)
    ends_at: datetime | None = case.value("ends_at")
    if ends_at is not None and ends_at <= case.since:
        raise ValueError(f"ends_at is {ends_at.isoformat()}; it must come after {case.since.isoformat()}")
    period, budget = Period(*case.value("every")), stood[-1] if stood else None
    zone = budget.zone if budget is not None else _zone(case)
    new = Budget(
        known,
        tuple((case.value("scope") or {}).items()),
        case.value("feature"),
        case.value("credit"),
        tuple((case.value("dimensions") or {}).items()),
        to_units(case.value("limit"), scale, what="limit"),
        scale,
        case.since,
        ends_at,
        period,
        budget.anchor if budget is not None else _anchor(case, period, zone),
        zone,
        case.value("action") or "block",
        case.value("alerts") or (),
    )
    facts = later_rows(stood, new)
    return verdict(case, [Entry("budget_set", case.since, known, data={"facts": facts})], new)


def remove_budget(case: Case) -> Verdict[None]:
    """Take a budget back; raises UnknownBudget where there is none. Set again, it goes on counting where it was."""
    case.known()
    _scale(case)
    known, stood = _known(case)
    if not any(row.until is None or row.until > case.since for row in stood):
        subject = case.value("feature") or case.value("credit")
        raise UnknownBudget(f"there is no budget on {subject!r} per {Period(*case.value('every'))} in that scope")
    return verdict(case, [Entry("budget_removed", case.since, known, data={"facts": ()})], None)


def _known(case: Case) -> tuple[str, Rows]:
    """Return the id of the budget a request names, and the rows there are under it."""
    scope = tuple((case.value("scope") or {}).items())
    subject = (case.value("feature"), case.value("credit"))
    about = (*subject, tuple((case.value("dimensions") or {}).items()), Period(*case.value("every")))
    known = budget_id(scope, *about, case.head.salt or case.salt)
    return known, case.head.budgets.rows.get(known, ())


def _scale(case: Case) -> int:
    feature, credit = case.value("feature"), case.value("credit")
    if (feature is None) == (credit is None):
        raise ValueError("a budget caps a feature or a credit: give feature= or credit=, and not both")
    if credit is not None:
        if credit not in case.catalog.credits:
            raise UnknownCredit(credit, case.catalog.credits)
        return case.catalog.credits[credit].scale
    known = case.known_feature(feature)
    if known.type != "metered":
        raise ValueError(f"feature {feature!r} is {known.type}; only metered features are used up, and can be capped")
    return known.scale


def _zone(case: Case) -> str:
    held = case.entitlements.held()
    return held[0].zone if held else "UTC"


def _anchor(case: Case, period: Period, zone: str) -> datetime:
    if period == NO_PERIOD or period.every == "none":
        return EPOCH
    held = case.entitlements.held()
    if period.align == "anniversary" and held:
        return held[0].anchor
    return calendar_anchor(period.every, zone)
