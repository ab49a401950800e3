"""Burn order: which block is drawn on first. A policy is a list of keys; every order is total.

Whatever the policy, allocations come before shared blocks, and of two allocations the one whose scope has
more pairs. Among those that tie, and among shared blocks, the keys decide:

| key | first comes |
|---|---|
| priority | the lower number |
| expires_at | the sooner expiry, none last |
| category | promotional before paid |
| cost_basis | the cheaper unit |
| restricted | blocks that only some charges may use |
| effective_at | the earlier |
| granted | the earlier granted, as the log has them; what fell due is granted when it did, whoever booked it |
| plan | credits of a plan before all others |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from .blocks import RANK, Block, Purpose, depth, granted_order, pays, unit_cost
from .entries import EPOCH


def _expiry(block: Block) -> tuple[bool, datetime]:
    return block.expires_at is None, block.expires_at or EPOCH


KEYS: Final[Mapping[str, Callable[[Block], Any]]] = MappingProxyType(
    {
        "priority": lambda block: block.priority,
        "expires_at": _expiry,
        "category": lambda block: block.category == "paid",
        "cost_basis": unit_cost,
        "restricted": lambda block: block.features is None and block.scope is None,
        "effective_at": lambda block: block.effective_at,
        "granted": granted_order,
        "plan": lambda block: not block.source.startswith("plan:"),
    }
)
_DEFAULT: Final = ("priority", "expires_at", "category", "cost_basis", "restricted", "effective_at", "granted")
POLICIES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "default": _DEFAULT,
        "first_in_first_out": ("granted",),
        "soonest_expiry": ("expires_at",),
        "plan_first": ("plan",),
    }
)


def keys_of(policy: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return the keys of a policy in full: its own, then those of the default order it leaves out."""
    own = POLICIES[policy] if isinstance(policy, str) else policy
    return (*own, *(key for key in _DEFAULT if key not in own))


def burn_order(blocks: Iterable[Block], policy: str | tuple[str, ...] = "default") -> list[Block]:
    """Return blocks in the order they burn; no two are ever equal, the id decides last."""
    if policy == "default":
        return sorted(blocks, key=RANK)
    keys = [KEYS[key] for key in keys_of(policy)]
    return sorted(blocks, key=lambda block: (-depth(block), *(key(block) for key in keys), block.id))


def usable(blocks: Iterable[Block], credit: str, purpose: Purpose, at: datetime) -> list[Block]:
    """Return the blocks of a credit that may pay for a purpose at an instant and have something free."""
    return [
        block
        for block in blocks
        if block.free_units > 0
        and block.credit == credit
        and block.effective_at <= at  # `live` and `pays`, spelled out: a customer may have thousands of blocks
        and (block.expires_at is None or at < block.expires_at)
        and not block.voided
        and ((block.features is None and block.scope is None) or pays(block, purpose))
    ]


def burn(blocks: Iterable[Block], units: int) -> tuple[list[tuple[str, int]], int]:
    """Take units from blocks in their order; return a slice for each block touched, and what none could pay."""
    slices = []
    for block in blocks:
        if units == 0:
            break
        taken = min(units, block.free_units)
        slices.append((block.id, taken))
        units -= taken
    return slices, units
