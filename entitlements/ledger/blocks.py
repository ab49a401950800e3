"""Blocks of credits, holds on them, and debt: what a customer's credits come to.

Amounts are smallest units at the credit's scale. Of a block, `granted = free + held + consumed +
expired + voided`, each at least zero; the head keeps only blocks that are free or held in part, and
voided ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Context, Decimal
from functools import cached_property
from operator import attrgetter
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import attrs

from ..amounts import exact
from ..catalog.model import Category, Rollover
from .entries import EPOCH

_WIDE: Final = Context(prec=200)
ScopePairs: TypeAlias = tuple[tuple[str, str], ...]
Late = Literal["charge", "refuse"]


@attrs.frozen(weakref_slot=False)
class Block:
    """One grant of credits, usable in `[effective_at, expires_at)`.

    `amount`, `remaining` and `held` are what a user reads; `free_units` and `held_units` are the same
    in smallest units. `cost_basis` is what was paid for the whole block. `number` is the order of
    granting: that of the grants in the log, whoever booked them. A restricted block pays only for its
    `features`, or only inside its `scope`. A `voided` block pays for nothing, and nothing comes back to
    it. `rollover` says how what is left of it lives on.
    """

    id: str
    credit: str
    scale: int
    units: int
    free_units: int
    held_units: int
    category: Category
    priority: int
    cost_basis: Decimal | None
    effective_at: datetime
    expires_at: datetime | None
    features: tuple[str, ...] | None = None
    scope: ScopePairs | None = None
    source: str = "grant"
    settle_debt: bool = True
    number: int = 0
    metadata: Mapping[str, Any] | None = attrs.field(default=None, hash=False)
    voided: bool = False
    rollover: Rollover | None = None

    @cached_property
    def rank(self) -> tuple[Any, ...]:
        """Where the block stands in the default burn order; worked out once, as it never changes."""
        worth = (self.category == "paid", unit_cost(self), self.features is None and self.scope is None)
        expiry = (self.expires_at is None, self.expires_at or EPOCH)
        return (-depth(self), self.priority, *expiry, *worth, self.effective_at, self.number, self.id)

    def holding(self, free_units: int, held_units: int) -> Block:
        """Return the block with other units left in it; its rank stays."""
        make: Any = Block
        moved: Block = make(*_BEFORE_UNITS(self), free_units, held_units, *_AFTER_UNITS(self))
        object.__setattr__(moved, "rank", self.rank)  # frozen, and what never changes need not be worked out again
        return moved

    def differs_in_units(self, other: Block) -> bool:
        """Tell whether a block came of this one by `holding` alone; may be false where it did."""
        return other.rank is self.rank and other.voided is self.voided

    @property
    def amount(self) -> Decimal:
        """What was granted."""
        return exact(self.units, self.scale)

    @property
    def remaining(self) -> Decimal:
        """What is left and free."""
        return exact(self.free_units, self.scale)

    @property
    def held(self) -> Decimal:
        """What is left and pinned by holds."""
        return exact(self.held_units, self.scale)


_NAMES: Final = [field.name for field in attrs.fields(Block)]
_BEFORE_UNITS: Final = attrgetter(*_NAMES[: _NAMES.index("free_units")])
_AFTER_UNITS: Final = attrgetter(*_NAMES[_NAMES.index("held_units") + 1 :])


@attrs.frozen(weakref_slot=False)
class Purpose:
    """What a charge is for: the feature it pays and the scope it was made in."""

    feature: str | None = None
    scope: ScopePairs = ()


class HeldBudget(NamedTuple):
    """What a hold counts in a budget's window, in units of the feature or of the credit that it caps."""

    id: str
    start: datetime
    units: int
    of: Literal["usage", "credit"]


@attrs.frozen(weakref_slot=False)
class OpenHold:
    """Credits or usage set aside: `slices` pins parts of blocks, `counters` and `budgets` usage in its windows.

    `promised` is what no block could pay, by credit: settling may owe it, so nobody else may meanwhile.
    `units` are those of its subject: a feature where it is of `usage`, else a credit. It lapses at
    `ends_at` (None: never); settling after that charges anew or is refused, as `late` says.
    """

    id: str
    subject: str
    units: int
    purpose: Purpose
    ends_at: datetime | None
    late: Late
    slices: tuple[tuple[str, int], ...] = ()
    counters: tuple[tuple[str, datetime, int], ...] = ()
    budgets: tuple[HeldBudget, ...] = ()
    usage: bool = False
    dimensions: ScopePairs = ()
    promised: tuple[tuple[str, int], ...] = ()


def _order(told: str | Sequence[str]) -> str | tuple[str, ...]:
    return told if isinstance(told, str) else tuple(told)


@attrs.frozen(weakref_slot=False)
class Debt:
    """Credits used that no block could pay, by what they were for.

    `order` is the burn order of the charge that came to it last, a policy or its keys: so it is repaid, too.
    """

    credit: str
    purpose: Purpose
    units: int
    order: str | tuple[str, ...] = attrs.field(default="default", converter=_order)


RANK: Final = attrgetter("rank")
"""Returns the rank of a block, to sort by."""


def granted_order(block: Block) -> tuple[int, datetime]:
    """Return when a block was granted, among others.

    Older logs number all blocks of one batch alike: of those, the one that fell due first.
    """
    return block.number, block.effective_at


def depth(block: Block) -> int:
    """Return how many pairs the scope of an allocation has; 0 for a block that every scope shares."""
    return len(block.scope) if block.scope else 0


def unit_cost(block: Block) -> int:
    """Return what a unit cost, times ten to the 120th: exact enough to order by, and quick to compare.

    A cost has at most 40 decimal places and a block at most 2**63 units, so that two costs of a unit
    that differ at all differ by more than one in the 119th place.
    """
    return int(block.cost_basis.scaleb(40, _WIDE)) * 10**80 // block.units if block.cost_basis and block.units else 0


def live(block: Block, at: datetime) -> bool:
    """Tell whether a block may be drawn on at an instant; its end is exclusive."""
    return block.effective_at <= at and not over(block, at)


def over(block: Block, at: datetime) -> bool:
    """Tell whether a block has ended at an instant or was voided: what comes back to it is lost at once."""
    return block.voided or (block.expires_at is not None and block.expires_at <= at)


def empty(block: Block) -> bool:
    """Tell whether nothing is left of a block, neither free nor held."""
    return not block.free_units and not block.held_units


def pays(block: Block, purpose: Purpose) -> bool:
    """Tell whether a block may pay for a purpose: its features include the feature, its scope contains the charge."""
    if block.features is not None and purpose.feature not in block.features:
        return False
    return block.scope is None or set(block.scope) <= set(purpose.scope)
