"""The usage tree: every budget of a customer and every block bound to a scope, by scope, the root first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import combinations
from typing import Any

import attrs

from .amounts import Number, from_units
from .balances import block_to_dict
from .budgeting import counter_of, span_of
from .caps import scope_text
from .cases import Case
from .decisions import json_instant, json_number
from .ledger.blocks import Block, ScopePairs, live
from .ledger.budgets import Budget, by_what_it_caps, in_force_of
from .ledger.entries import CounterKey
from .wording import number


@attrs.frozen
class BudgetUsage:
    """A budget in its present window: what is `used`, `held` by open holds besides, and `left`."""

    feature: str | None
    credit: str | None
    dimensions: Mapping[str, str] = attrs.field(hash=False)
    limit: Number
    used: Number
    held: Number
    left: Number
    action: str = "block"
    every: str = "none"
    window_start: datetime | None = None
    resets_at: datetime | None = None

    def __str__(self) -> str:
        told = " ".join(f"{name}={value}" for name, value in self.dimensions.items())
        what = f"{self.feature or self.credit}{' ' * bool(told)}{told}"
        per = "" if self.every == "none" else f" per {self.every.removesuffix(' (calendar)')}"
        held = f", {number(self.held)} held" if self.held else ""
        return f"{what}{per}: {number(self.used)} used{held}, {number(self.left)} left of {number(self.limit)}"

    def to_dict(self) -> dict[str, Any]:
        """Return the budget as JSON values."""
        numbers = {name: json_number(getattr(self, name)) for name in ("limit", "used", "held", "left")}
        about = {"feature": self.feature, "credit": self.credit, "dimensions": dict(self.dimensions)}
        ends = {"window_start": json_instant(self.window_start), "resets_at": json_instant(self.resets_at)}
        return {**about, **numbers, "action": self.action, "every": self.every, **ends}


@attrs.frozen
class ScopeUsage:
    """One scope: its budgets, the blocks that were granted to it, and the scopes inside it."""

    scope: Mapping[str, str] = attrs.field(hash=False)
    budgets: tuple[BudgetUsage, ...] = ()
    allocations: tuple[Block, ...] = ()
    inside: tuple[ScopeUsage, ...] = ()

    def __iter__(self) -> Iterator[ScopeUsage]:
        yield self
        for inner in self.inside:
            yield from inner

    def to_dict(self) -> dict[str, Any]:
        """Return the scope and all inside it as JSON values."""
        return {
            "scope": dict(self.scope),
            "budgets": [budget.to_dict() for budget in self.budgets],
            "allocations": [block_to_dict(block) for block in self.allocations],
            "inside": [inner.to_dict() for inner in self.inside],
        }


@attrs.frozen
class UsageTree:
    """All budgets and allocations of a customer at one instant; `root` is the whole customer."""

    customer: str
    at: datetime
    root: ScopeUsage

    def __str__(self) -> str:
        return "\n".join(_drawn(self.root, self.customer, 0))

    def __iter__(self) -> Iterator[ScopeUsage]:
        return iter(self.root)

    def __getitem__(self, scope: str) -> ScopeUsage:
        """Return a scope by its shorthand; raises KeyError where nothing is said of it."""
        found = next((node for node in self if scope_text(node.scope) == scope), None)
        if found is None:
            raise KeyError(scope)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return the tree as JSON values."""
        return {"customer": self.customer, "at": json_instant(self.at), **self.root.to_dict()}


def usage_tree(case: Case) -> UsageTree:
    """Return what is used, held and left of every budget, and what is left of every allocation."""
    budgets: dict[ScopePairs, list[BudgetUsage]] = {(): []}
    held = _held(case)
    for budget in _in_force(case):
        budgets.setdefault(_canonical(budget.scope), []).append(_usage_of(case, budget, held))
    blocks: dict[ScopePairs, list[Block]] = {}
    for block in case.books().blocks.values():
        if block.scope is not None and live(block, case.at) and (block.free_units or block.held_units):
            blocks.setdefault(_canonical(block.scope), []).append(block)
    return UsageTree(case.customer, case.at, _tree(budgets, blocks))


def tree_counters(case: Case) -> tuple[CounterKey, ...]:
    """Return the counters of every budget in force."""
    return tuple(counter_of(budget, span_of(case.head.budgets, budget, case.at)) for budget in _in_force(case))


def _in_force(case: Case) -> list[Budget]:
    """Return the budgets in the order of what they are: that of the rows is another after a reopening."""
    found = (in_force_of(rows, case.at) for rows in case.head.budgets.rows.values())
    return sorted((budget for budget in found if budget is not None), key=by_what_it_caps)


def _held(case: Case) -> Mapping[CounterKey, int]:
    held: dict[CounterKey, int] = {}
    for hold in case.books().holds.values():
        for part in hold.budgets:
            held[part.id, part.start] = held.get((part.id, part.start), 0) + part.units
    return held


def _usage_of(case: Case, budget: Budget, held: Mapping[CounterKey, int]) -> BudgetUsage:
    span = span_of(case.head.budgets, budget, case.at)
    counter = counter_of(budget, span)
    counted, pinned = case.counters.get(counter, 0), held.get(counter, 0)
    numbers = (budget.units, counted - pinned, pinned, max(0, budget.units - counted))
    limit, used, aside, left = (from_units(units, budget.scale) for units in numbers)
    about = (budget.feature, budget.credit, dict(budget.dimensions))
    ends = (None, None) if span is None else (span.start, span.end)
    return BudgetUsage(*about, limit, used, aside, left, budget.action, str(budget.period), *ends)


def _canonical(scope: ScopePairs) -> ScopePairs:
    return tuple(sorted(scope))


def _tree(budgets: Mapping[ScopePairs, list[BudgetUsage]], blocks: Mapping[ScopePairs, list[Block]]) -> ScopeUsage:
    """Return the scopes as a tree: each stands inside the largest other that it is contained in."""
    inside: dict[ScopePairs, list[ScopePairs]] = {}
    scopes = sorted({*budgets, *blocks}, key=lambda scope: (len(scope), scope))
    known = set(scopes)
    for scope in scopes[1:]:
        inside.setdefault(_around(scope, known), []).append(scope)

    def node(scope: ScopePairs) -> ScopeUsage:
        inner = tuple(node(each) for each in inside.get(scope, ()))
        return ScopeUsage(dict(scope), tuple(budgets.get(scope, ())), tuple(blocks.get(scope, ())), inner)

    return node(())


def _around(scope: ScopePairs, known: set[ScopePairs]) -> ScopePairs:
    """Return the largest known scope that contains a scope, the first in order of several."""
    for size in range(len(scope) - 1, 0, -1):
        for part in combinations(scope, size):
            if part in known:
                return part
    return ()


def _drawn(node: ScopeUsage, name: str, depth: int) -> Iterator[str]:
    yield f"{'  ' * depth}{name}"
    for budget in node.budgets:
        yield f"{'  ' * depth}  {budget}"
    for block in node.allocations:
        held = f", {number(block.held)} held" if block.held_units else ""
        left = f"{number(block.remaining)} left{held} of {number(block.amount)}"
        yield f"{'  ' * depth}  {block.credit} allocated: {left}"
    for inner in node.inside:
        yield from _drawn(inner, scope_text(inner.scope), depth + 1)
