"""Budgeting: the budgets that a charge falls under, what is counted in them, and which have no room."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple, cast

from .alerting import Level, crossed, reached
from .amounts import MAX_UNITS, from_units
from .caps import Cap, CapTerms
from .cases import Case
from .catalog.model import EMPTY, Feature
from .decisions import Decision
from .errors import AmountError
from .frozen import FrozenDict
from .ledger.blocks import ScopePairs
from .ledger.budgets import Budget, Budgets, Rows, in_force_of, is_about
from .ledger.entries import EPOCH, CounterKey, Entry
from .metering import is_stale, latest_of, sampled
from .periods import Window, window
from .weighing import after_aggregate

USES_KNOWN: Final = 4096
"""For how many kinds of use a customer's budgets remember which of them cap it."""
_BEGIN: Final = datetime.min.replace(tzinfo=UTC)
_END: Final = datetime.max.replace(tzinfo=UTC)


class Use(NamedTuple):
    """What a charge is counted as: units of a feature, units of a credit, or both, and where it was made.

    `at` is when the feature was used; credits are used now.
    """

    feature: Feature | None = None
    units: int = 0
    credit: str | None = None
    charged: int = 0
    scope: Mapping[str, str] = EMPTY
    dimensions: Mapping[str, str] = EMPTY
    at: datetime | None = None


class Capped(NamedTuple):
    """A budget that a use falls under, with the counter in which it counts there, and what decisions say of it."""

    budget: Budget
    counter: CounterKey
    terms: CapTerms


class Found(NamedTuple):
    """The budgets that a kind of use falls under, from the root down, as they stand in `[since, until)`."""

    since: datetime
    until: datetime
    capped: tuple[Capped, ...]


class Load(NamedTuple):
    """One budget under a charge: its counter, what is used, and what would be after the charge.

    `asked` is what the charge alone comes to in it. A charge that is a `sample` of a feature, of which
    only the latest counts, was taken `at` an instant.
    """

    budget: Budget
    counter: CounterKey
    terms: CapTerms
    used: int
    after: int
    asked: int
    sample: Feature | None = None
    at: datetime | None = None

    @property
    def passes(self) -> bool:
        """Whether the budget lets the charge pass; using nothing always passes."""
        return self.after <= self.budget.units or self.budget.action == "notify" or self.after <= self.used

    @property
    def units(self) -> int:
        """What the charge adds to the counter."""
        return self.after - self.used

    def cap(self, *, booked: bool = False) -> Cap:
        """Return the budget as a decision shows it, before the charge or with it."""
        used, scale = self.after if booked else self.used, self.budget.scale
        return Cap(self.terms, from_units(used, scale), from_units(self.asked, scale), self.passes)


def loads(case: Case, use: Use) -> tuple[Load, ...]:
    """Return every budget a use falls under, from the root down."""
    if not case.head.budgets:
        return ()
    return tuple([_load(case, use, *capped) for capped in _under(case, use)])


def counters_under(case: Case, use: Use) -> tuple[CounterKey, ...]:
    """Return the counters of the budgets a use falls under."""
    if not case.head.budgets:
        return ()
    found = [counter for _, counter, _ in _under(case, use)]
    if use.feature is not None and use.feature.aggregate == "latest":
        found += [latest_of(counter) for counter in found]
    return tuple(found)


def lines(case: Case, found: Iterable[Load], kind: str = "budgeted") -> Iterator[Entry]:
    """Yield the lines that count a charge in each budget; raises AmountError beyond what a counter holds."""
    for load in found:
        units = load.units
        if load.after > MAX_UNITS:
            raise AmountError(f"the budget of {load.budget.subject!r} would come to more than a counter holds")
        if units:
            yield Entry(kind, case.at, load.budget.subject, *load.counter, units)
        if load.sample is not None:
            yield from sampled(load.sample, load.counter, case.counters, load.at or case.at)


def crossings(case: Case, found: Iterable[Load]) -> Iterator[Entry]:
    """Yield the lines that tell where a booked charge comes up to a threshold of a budget."""
    for load in found:
        if load.after > load.used and _reaches_any(load.budget, load.after):
            yield from budget_crossings(case, load.budget, (load.budget.units, load.used), load.after)


def budget_crossings(case: Case, budget: Budget, before: Level | None, used: int) -> Iterator[Entry]:
    """Yield the lines for the thresholds of a budget that what is used reaches, and did not reach before."""
    if _reaches_any(budget, used):
        more = {"budget": budget.id, **({"scope": dict(budget.scope)} if budget.scope else {})}
        levels = (before, (budget.units, used))
        yield from crossed("budget", budget.subject, budget.alerts, levels, budget.scale, case.at, more)


def _reaches_any(budget: Budget, used: int) -> bool:
    return bool(budget.alerts) and reached(min(budget.alerts), (budget.units, used))


def refused(found: Sequence[Load], decided: Callable[[], Decision], case: Case) -> Decision | None:
    """Return the denial where a budget has no room, telling of the first from the root; None where all have.

    What was `decided` before budgets is asked for only then.
    """
    failing = [load for load in found if not load.passes]
    if not failing:
        return None
    decision = decided()
    first = failing[0].cap()
    lifted = _lifted_at(case, failing)
    soon = lifted is not None and lifted - case.at <= case.throttle_within
    return Decision(
        False,
        "budget_exceeded",
        case.customer,
        decision.feature,
        "throttle" if soon else "block",
        limit=first.limit,
        used=first.used,
        requested=first.requested,
        source=first.label,
        window_start=first.window_start,
        resets_at=first.resets_at,
        lifted_at=lifted,
        valid_until=decision.valid_until,
        catalog_version=case.catalog.version,
        scope=decision.scope,
        budgets=caps(found),
        at=case.at,
        every=first.every,
    )


def caps(found: Iterable[Load], *, booked: bool = False) -> tuple[Cap, ...]:
    """Return budgets as a decision shows them, before the charge or with it."""
    return tuple([load.cap(booked=booked) for load in found])


def changes_after(case: Case, use: Use) -> datetime | None:
    """Return the first instant to come at which time alone changes what a budget says of a use."""
    if not case.head.budgets:
        return None
    edges: list[datetime | None] = []
    for rows in case.head.budgets.on(use.scope):
        edges += [edge for row in rows for edge in (row.since, row.until)]
        budget = in_force_of(rows, case.at)
        span = None if budget is None else span_of(case.head.budgets, budget, case.at)
        edges.append(None if span is None else span.end)
    return min((edge for edge in edges if edge is not None and edge > case.at), default=None)


def span_of(budgets: Budgets, budget: Budget, at: datetime) -> Window | None:
    """Return the window of one of a customer's budgets at an instant, None where its count never starts again."""
    period = budget.period
    if period.every == "none":
        return None
    memo, known = budgets.windows, (period, budget.anchor, budget.zone)
    span = memo.get(known)
    if span is None or not span.start <= at < span.end:
        span = memo[known] = window(budget.anchor, period.every, at, count=period.count, zone=budget.zone)
    return span


def counter_of(budget: Budget, span: Window | None) -> CounterKey:
    """Return the counter of a budget in a window."""
    return budget.id, EPOCH if span is None else span.start


def _under(case: Case, use: Use) -> tuple[Capped, ...]:
    """Return the budgets in force that a use falls under, from the root down: worked out once for each kind of use."""
    feature = None if use.feature is None else use.feature.key
    about = (feature, use.credit, tuple(use.scope.items()), tuple(use.dimensions.items()))
    budgets = case.head.budgets
    found = budgets.found.get(about) if use.at is None else None
    if found is None or not found.since <= case.at < found.until:
        found = _found(case, use, _about(budgets, use, feature))
        if use.at is None:
            _remember(budgets, about, found)
    return found.capped


def _found(case: Case, use: Use, rows: Sequence[Rows]) -> Found:
    """Return which of the budgets in some rows are in force, and for how long time changes nothing about that."""
    budgets = [in_force_of(each, case.at) for each in rows]
    capped = tuple([_capped(case, use, each) for each in budgets if each is not None])
    edges = [edge for each in rows for row in each for edge in (row.since, row.until) if edge is not None]
    edges += [edge for each in capped for edge in (each.terms.window_start, each.terms.resets_at) if edge is not None]
    since = max([edge for edge in edges if edge <= case.at], default=_BEGIN)
    return Found(since, min([edge for edge in edges if edge > case.at], default=_END), capped)


def _remember(budgets: Budgets, about: object, found: Found) -> None:
    if len(budgets.found) >= USES_KNOWN:
        budgets.found.clear()
    budgets.found[about] = found


def _about(budgets: Budgets, use: Use, feature: str | None) -> list[Rows]:
    """Return the rows of every budget on a use, from the root down."""
    rows = [each for each in budgets.on(use.scope) if each and is_about(each[0], feature, use.credit, use.dimensions)]
    if len(rows) < 2:
        return rows
    order = {kind: at for at, kind in enumerate(use.scope)}
    return sorted(rows, key=lambda each: _depth(each[0], order))


def _load(case: Case, use: Use, budget: Budget, counter: CounterKey, terms: CapTerms) -> Load:
    used = case.counters.get(counter, 0)
    if budget.feature is None or use.feature is None:
        asked, after = use.charged, used + use.charged
    else:
        stale = use.at is not None and is_stale(counter, case.counters, use.at)
        asked = after_aggregate(use.feature, 0, use.units)
        after = after_aggregate(use.feature, used, use.units, stale=stale)
    if budget.feature is None or use.feature is None or use.feature.aggregate != "latest":
        return Load(budget, counter, terms, used, after, asked)
    return Load(budget, counter, terms, used, after, asked, use.feature, use.at)


def _capped(case: Case, use: Use, budget: Budget) -> Capped:
    late = use.at if budget.feature is not None else None
    span = span_of(case.head.budgets, budget, late or case.at)
    return Capped(budget, counter_of(budget, span), _terms_of(case.head.budgets, budget, span))


def _terms_of(budgets: Budgets, budget: Budget, span: Window | None) -> CapTerms:
    """Return what decisions say of a budget in a window, whoever uses it: worked out once for the latest window."""
    latest, terms = budgets.terms.get(budget.id, (None, None))
    if latest != (budget.since, span):
        scope, dimensions = FrozenDict(budget.scope), FrozenDict(budget.dimensions)
        ends = (None, None) if span is None else (span.start, span.end)
        told = (budget.limit, budget.action, str(budget.period), *ends)
        terms = CapTerms(scope, budget.feature, budget.credit, dimensions, *told)
        budgets.terms[budget.id] = (budget.since, span), terms
    return cast("CapTerms", terms)


def _depth(budget: Budget, order: Mapping[str, int]) -> tuple[int, int, ScopePairs, str, ScopePairs, str]:
    """Order budgets from the root: by the last of their kinds in the charge's scope, then by how many; never a tie."""
    deepest = max((order.get(kind, -1) for kind, _ in budget.scope), default=-1)
    narrower = len(budget.scope) + len(budget.dimensions)
    scope, dimensions = tuple(sorted(budget.scope)), tuple(sorted(budget.dimensions))
    return deepest, narrower, scope, budget.subject, dimensions, str(budget.period)


def _lifted_at(case: Case, failing: Sequence[Load]) -> datetime | None:
    """Return when resets give every failing budget room, None if they never do; a window that is over had its reset."""
    ends = [load.terms.resets_at for load in failing]
    pairs = zip(failing, ends, strict=True)
    resets = [end for load, end in pairs if end is not None and end > case.at and _fits_at(case, load, end)]
    return max(resets) if len(resets) == len(failing) else None


def _fits_at(case: Case, load: Load, at: datetime) -> bool:
    """Tell whether a charge alone fits in its budget as that stands at an instant to come."""
    budget = in_force_of(case.head.budgets.rows[load.budget.id], at)
    return budget is None or budget.action == "notify" or load.asked <= budget.units
