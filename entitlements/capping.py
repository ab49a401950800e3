"""The verbs that set and remove budgets: caps on what is used inside a scope."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from .amounts import to_units
from .budgeting import budget_crossings, counter_of, span_of
from .cases import Case, verdict
from .catalog.model import NO_PERIOD, Period
from .errors import UnknownBudget, UnknownCredit, shown
from .ledger.budgets import Budget, Rows, budget_id, by_what_it_caps, in_force_of, later_rows
from .ledger.entries import EPOCH, CounterKey, Entry, Verdict
from .ledger.sealing import SEALED
from .periods import calendar_anchor, window


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
        *_laid_out(case, stood),
        case.value("action") or "block",
        case.value("alerts") or (),
    )
    facts = later_rows(stood, new)
    entries = [Entry("budget_set", case.since, known, data={"facts": facts}), *_crossings(case, known, facts)]
    return verdict(case, entries, new)


def counters_capped(case: Case) -> tuple[CounterKey, ...]:
    """Return the counter of the budget a request sets, where it is to be told what has come to its new limit."""
    if not case.value("alerts"):
        return ()
    known, stood = _known(case)
    period, anchor, zone = _laid_out(case, stood)
    if period.every == "none":
        return ((known, EPOCH),)
    return ((known, window(anchor, period.every, case.at, count=period.count, zone=zone).start),)


def _crossings(case: Case, known: str, facts: Rows) -> Iterator[Entry]:
    """Yield the lines for the thresholds that the count reaches by the new limit, and did not by the old."""
    before = in_force_of(case.head.budgets.rows.get(known, ()), case.at)
    budgets = case.head.budgets.replaced(known, case.since, facts, ended_before=case.at)
    after = in_force_of(budgets.rows[known], case.at)
    if after is not None:
        used = case.counters.get(counter_of(after, span_of(budgets, after, case.at)), 0)
        yield from budget_crossings(case, after, None if before is None else (before.units, used), used)


def remove_budget(case: Case) -> Verdict[None]:
    """Take a budget back; raises UnknownBudget where there is none. Set again, it goes on counting where it was."""
    case.known()
    _scale(case)
    known, stood = _known(case)
    if not any(row.until is None or row.until > case.since for row in stood):
        subject = case.value("feature") or case.value("credit")
        asked = f"there is no budget on {subject!r} per {Period(*case.value('every'))} in that scope"
        raise UnknownBudget(f"{asked}; {_those_there_are(case)}")
    return verdict(case, [Entry("budget_removed", case.since, known, data={"facts": ()})], None)


def _those_there_are(case: Case) -> str:
    """Return which budgets could be removed: up to five, each with its subject, period and scope."""
    newest = [rows[-1] for rows in case.head.budgets.rows.values() if rows]
    lasting = sorted((row for row in newest if row.until is None or row.until > case.since), key=by_what_it_caps)
    if not lasting:
        return f"{case.customer} has none"
    named = [f"{row.subject!r} per {row.period}{_in_scope(row)}" for row in lasting[:5]]
    return f"{case.customer} has one on {', '.join(named)}{', …' if len(lasting) > 5 else ''}"


def _in_scope(budget: Budget) -> str:
    """Return where a budget counts, and of which dimensions; nothing for one on the whole customer."""
    scope = "/".join(f"{kind}:{name}" for kind, name in budget.scope if kind != SEALED)
    of = ", ".join(f"{name} {value}" for name, value in budget.dimensions if name != SEALED)
    erased = any(name == SEALED for name, _ in (*budget.scope, *budget.dimensions))
    told = (f" in {shown(scope)}" if scope else "") + (f" of {shown(of)}" if of else "")
    return f"{told} in a scope that was erased" if erased else told


def _known(case: Case) -> tuple[str, Rows]:
    """Return the id of the budget a request names, and the rows there are under it."""
    scope = tuple((case.value("scope") or {}).items())
    subject = (case.value("feature"), case.value("credit"))
    about = (*subject, tuple((case.value("dimensions") or {}).items()), Period(*case.value("every")))
    known = budget_id(scope, *about, case.head.salt or case.salt)
    return known, case.head.budgets.rows.get(known, ())


def _laid_out(case: Case, stood: Rows) -> tuple[Period, datetime, str]:
    """Return the period of the budget a request names, and from where and in which zone its windows are laid out."""
    period = Period(*case.value("every"))
    if stood:
        return period, stood[-1].anchor, stood[-1].zone
    zone = _zone(case)
    return period, _anchor(case, period, zone), zone


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
