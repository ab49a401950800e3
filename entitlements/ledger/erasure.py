"""Erasure: what a customer's state comes to once everything personal in it is gone.

Balances, limits and totals stay as they are. A block, a hold or a debt that was bound to a scope
stays bound to it, and as nobody can name that scope any more, it matches nobody.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from ..frozen import frozen
from .blocks import Block, Debt, OpenHold, Purpose, ScopePairs
from .budgets import Budgets, budgets_of
from .facts import Facts, Override
from .sealing import SEALED, Sealed, erased, is_sealed


def erased_facts(facts: Facts, salt: str) -> Facts:
    """Return facts without the reasons that were given for them."""
    return attrs.evolve(facts, overrides=tuple(_erased_override(fact, salt) for fact in facts.overrides))


def erased_blocks(blocks: Mapping[str, Block], salt: str) -> dict[str, Block]:
    """Return blocks without the names in their scopes and without their metadata."""
    return {key: _erased_block(block, salt) for key, block in blocks.items()}


def erased_holds(holds: Mapping[str, OpenHold], salt: str) -> dict[str, OpenHold]:
    """Return holds without the names in their scopes."""
    return {key: attrs.evolve(hold, purpose=_erased_purpose(hold.purpose, salt)) for key, hold in holds.items()}


def erased_debts(debts: Mapping[tuple[str, Purpose], Debt], salt: str) -> dict[tuple[str, Purpose], Debt]:
    """Return debts without the names in their scopes."""
    left = [attrs.evolve(debt, purpose=_erased_purpose(debt.purpose, salt)) for debt in debts.values()]
    return {(debt.credit, debt.purpose): debt for debt in left}


def erased_budgets(budgets: Budgets, salt: str) -> Budgets:
    """Return budgets without the names in their scopes; their counts go on under the same ids."""
    return budgets_of(
        (key, tuple(attrs.evolve(row, scope=_erased_scope(row.scope, salt)) for row in rows))
        for key, rows in budgets.rows.items()
    )


def _erased_override(fact: Override, salt: str) -> Override:
    if not fact.reason or isinstance(fact.reason, Sealed):
        return fact
    return attrs.evolve(fact, reason=Sealed(erased(fact.reason, salt)[SEALED]))


def _erased_block(block: Block, salt: str) -> Block:
    metadata = block.metadata
    if metadata and not is_sealed(metadata):
        metadata = frozen(erased(metadata, salt))
    scope = block.scope if block.scope is None else _erased_scope(block.scope, salt)
    return attrs.evolve(block, scope=scope, metadata=metadata)


def _erased_purpose(purpose: Purpose, salt: str) -> Purpose:
    return Purpose(purpose.feature, _erased_scope(purpose.scope, salt))


def _erased_scope(scope: ScopePairs, salt: str) -> ScopePairs:
    if not scope or scope[0][0] == SEALED:
        return scope
    return ((SEALED, erased([list(pair) for pair in scope], salt)[SEALED]),)
