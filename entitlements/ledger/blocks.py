"""Blocks of credits, holds on them, and debt: what a customer's credits come to.

Amounts are smallest units at the credit's scale. Of a block, `granted = free + held + consumed +
expired + voided`, each at least zero; the head keeps only blocks that are free or held in part.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, TypeAlias

import attrs

from ..amounts import exact
from ..catalog.model import Category

ScopePairs: TypeAlias = tuple[tuple[str, str], ...]
Late = Literal["charge", "refuse"]


@attrs.frozen(weakref_slot=False)
class Block:
    """One grant of credits, usable in `[effective_at, expires_at)`.

    `amount`, `remaining` and `held` are what a user reads; `free_units` and `held_units` are the same
    in smallest units. `cost_basis` is what was paid for the whole block. `number` is the order of
    granting. A restricted block pays only for its `features`, or only inside its `scope`.
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
    metadata: Mapping[str, Any] | None = None

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


@attrs.frozen(weakref_slot=False)
class Purpose:
    """What a charge is for: the feature it pays and the scope it was made in."""

    feature: str | None = None
    scope: ScopePairs = ()


@attrs.frozen(weakref_slot=False)
class OpenHold:
    """Credits or usage set aside: `slices` pins parts of blocks, `counters` usage in its windows.

    It lapses at `ends_at` (None: never); settling after that charges anew or is refused, as `late` says.
    """

    id: str
    subject: str
    units: int
    purpose: Purpose
    ends_at: datetime | None
    late: Late
    slices: tuple[tuple[str, int], ...] = ()
    counters: tuple[tuple[str, datetime, int], ...] = ()


@attrs.frozen(weakref_slot=False)
class Debt:
    """Credits used that no block could pay, by what they were for."""

    credit: str
    purpose: Purpose
    units: int


def live(block: Block, at: datetime) -> bool:
    """Tell whether a block may be drawn on at an instant; its end is exclusive."""
    return block.effective_at <= at and (block.expires_at is None or at < block.expires_at)


def pays(block: Block, purpose: Purpose) -> bool:
    """Tell whether a block may pay for a purpose: its features include the feature, its scope contains the charge."""
    if block.features is not None and purpose.feature not in block.features:
        return False
    return block.scope is None or set(block.scope) <= set(purpose.scope)
