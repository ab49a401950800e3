"""Budgets: caps on what is used inside a scope, and which of them a charge falls under.

A budget holds nothing; it counts. It caps one feature or one credit, for every charge whose scope and
dimensions contain all of its own. Like a fact it is dated: a row of budgets with one id, one after
the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

import attrs

from ..amounts import Number, from_units
from ..catalog.model import NO_PERIOD, Period
from ..periods import Window
from .blocks import ScopePairs
from .entries import EPOCH
from .sealing import digest_of, to_text

Action = Literal["block", "notify"]
Rows: TypeAlias = "tuple[Budget, ...]"


@attrs.frozen(weakref_slot=False)
class Budget:
    """At most `limit` of a feature or a credit in each `period`, in force in `[since, until)`.

    `id` is the name of its counter, and says nothing of the scope; `units` is the limit in smallest
    units. Windows are laid out from `anchor` in the wall-clock time of `zone`; both stay when the
    budget changes. `alerts` are the parts of the limit, in thousandths, that are told of when reached.
    """

    id: str
    scope: ScopePairs
    feature: str | None
    credit: str | None
    dimensions: ScopePairs
    units: int
    scale: int
    since: datetime
    until: datetime | None
    period: Period = NO_PERIOD
    anchor: datetime = EPOCH
    zone: str = "UTC"
    action: Action = "block"
    alerts: tuple[int, ...] = ()

    @property
    def key(self) -> str:
        """The id: the newest budget of a scope, a subject and a period replaces the one before."""
        return self.id

    @property
    def limit(self) -> Number:
        """How much may be used in a window."""
        return from_units(self.units, self.scale)

    @property
    def subject(self) -> str:
        """The feature or the credit it caps."""
        return self.feature or self.credit or ""


@attrs.frozen(weakref_slot=False)
class Budgets:
    """All budgets of a customer by id, each a row in order of time; `shapes` finds those of a charge.

    A budget's shape is the kinds its scope names. For each shape there are the ids by what is named.
    What was worked out of them once is remembered: `found` by kind of use, `windows` by how they are laid out,
    `terms` by budget.
    """

    rows: Mapping[str, Rows] = MappingProxyType({})
    shapes: Mapping[tuple[str, ...], Mapping[ScopePairs, tuple[str, ...]]] = attrs.field(
        default=MappingProxyType({}), eq=False, repr=False
    )
    found: dict[object, Any] = attrs.field(factory=dict, init=False, eq=False, repr=False)
    terms: dict[str, Any] = attrs.field(factory=dict, init=False, eq=False, repr=False)
    windows: dict[object, Window] = attrs.field(factory=dict, init=False, eq=False, repr=False)

    def __bool__(self) -> bool:
        return bool(self.rows)

    def replaced(self, budget_id: str, at: datetime, later: Rows, *, ended_before: datetime | None = None) -> Budgets:
        """Return the budgets where from `at` on the rows of one id are exactly `later`; what was before stays.

        Of those that had `ended_before` an instant only the last is kept.
        """
        before = [_cut(budget, at) for budget in self.rows.get(budget_id, ()) if budget.since < at]
        if ended_before is not None:
            before = [row for row in before if row is before[-1] or row.until is None or row.until > ended_before]
        return self.having(budget_id, (*before, *later))

    def having(self, budget_id: str, rows: Rows) -> Budgets:
        """Return the budgets with these rows under an id, in place of those there were."""
        known = {**self.rows, budget_id: rows}
        if not rows:
            return Budgets(known, self.shapes)
        named = tuple(sorted(rows[0].scope))
        shape = tuple(kind for kind, _ in named)
        ids = self.shapes.get(shape, {})
        if budget_id in ids.get(named, ()):
            return Budgets(known, self.shapes)
        return Budgets(known, {**self.shapes, shape: {**ids, named: (*ids.get(named, ()), budget_id)}})

    def on(self, scope: Mapping[str, str]) -> Iterator[Rows]:
        """Yield the rows of every budget whose scope is contained in one."""
        for shape, ids in self.shapes.items():
            if all(kind in scope for kind in shape):
                for budget_id in ids.get(tuple([(kind, scope[kind]) for kind in shape]), ()):
                    yield self.rows[budget_id]


NO_BUDGETS: Final = Budgets()


def budgets_of(rows: Iterable[tuple[str, Rows]]) -> Budgets:
    """Return budgets from their rows by id."""
    known = dict(rows)
    shapes: dict[tuple[str, ...], dict[ScopePairs, tuple[str, ...]]] = {}
    for budget_id, own in known.items():
        if own:
            named = tuple(sorted(own[0].scope))
            ids = shapes.setdefault(tuple(kind for kind, _ in named), {})
            ids[named] = (*ids.get(named, ()), budget_id)
    return Budgets(known, shapes)


def budget_id(
    scope: ScopePairs, feature: str | None, credit: str | None, dimensions: ScopePairs, period: Period, salt: str
) -> str:
    """Return the id of a budget by all that tells it from others; `salt` seals it, as scopes name persons."""
    told = [sorted(scope), feature, credit, sorted(dimensions), period.every, period.count, period.align]
    return f"$budget:{digest_of(to_text(told), salt if scope else '')[:32]}"


def in_force_of(rows: Rows, at: datetime) -> Budget | None:
    """Return the budget of a row that is in force at an instant, None where none is."""
    for budget in rows:
        if budget.since <= at and (budget.until is None or at < budget.until):
            return budget
    return None


def by_what_it_caps(budget: Budget) -> tuple[ScopePairs, str, ScopePairs, str]:
    """Order budgets by scope, subject, dimensions and period: that of the rows is another after a reopening."""
    return tuple(sorted(budget.scope)), budget.subject, tuple(sorted(budget.dimensions)), str(budget.period)


def is_about(budget: Budget, feature: str | None, credit: str | None, dimensions: Mapping[str, str]) -> bool:
    """Tell whether a budget caps a charge for a feature, in a credit, with these dimensions."""
    about = budget.feature == feature if budget.feature is not None else budget.credit == credit
    return about and all(dimensions.get(name) == value for name, value in budget.dimensions)


def later_rows(rows: Rows, new: Budget) -> Rows:
    """Return what stands from a new budget on: itself, and once it has ended, what stood before it."""
    if new.until is None:
        return (new,)
    again = [row for row in rows if row.until is None or row.until > new.until]
    return (new, *(attrs.evolve(row, since=max(row.since, new.until)) for row in again))


def _cut(budget: Budget, at: datetime) -> Budget:
    return budget if budget.until is not None and budget.until <= at else attrs.evolve(budget, until=at)
