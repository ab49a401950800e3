"""Shortages: what a charge that credits cannot pay is told of those there are besides, and of those to come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import attrs

from .amounts import exact
from .caps import scope_text
from .decisions import Decision
from .ledger.blocks import Block, Purpose, live, pays
from .ledger.crediting import Books
from .ledger.plan_grants import next_grant
from .ledger.sealing import SEALED
from .wording import either, instant, number, what_is_short

if TYPE_CHECKING:
    from .spending import Charge

NAMED = 3
"""How many kinds of restriction, and how many features of one, are told by name."""


def explained(decision: Decision, charge: Charge, books: Books) -> Decision:
    """Return the denial of a charge with a reason that says what may not be used for it and why, and what to do."""
    mine = [block for block in books.blocks.values() if block.credit == charge.credit.key and not block.voided]
    strange = [block for block in mine if _is_strange(block, charge)]
    held = sum(block.held_units for block in mine if live(block, charge.at) and pays(block, charge.purpose))
    besides = [*_restricted(strange, charge), *([f"{_told(held, charge)} set aside in holds"] if held else [])]
    steps = [*_named(strange, charge.purpose), *(["settle or release a hold"] if held else []), "grant more credits"]
    steps += _awaited(mine, charge, books)
    apart = f" (and {', '.join(besides)})" if besides else ""
    return attrs.evolve(decision, said=f"{what_is_short(decision)}{apart}; {either(steps)}")


def _is_strange(block: Block, charge: Charge) -> bool:
    return block.free_units > 0 and live(block, charge.at) and not pays(block, charge.purpose)


def _told(units: int, charge: Charge) -> str:
    return number(exact(units, charge.credit.scale))


def _restricted(strange: Iterable[Block], charge: Charge) -> Iterator[str]:
    """Yield what is left in blocks that may not pay, by what they are restricted to."""
    units: dict[str, int] = {}
    for block in strange:
        where = _restriction(block)
        units[where] = units.get(where, 0) + block.free_units
    kinds = list(units)
    for where in kinds[:NAMED]:
        yield f"{_told(units[where], charge)} {where}"
    if kinds[NAMED:]:
        yield f"{_told(sum(units[where] for where in kinds[NAMED:]), charge)} restricted otherwise"


def _restriction(block: Block) -> str:
    features = list(block.features or ())
    named = [*features[:NAMED], *(["others"] if features[NAMED:] else [])]
    only = f"only for {' or '.join(named)}" if named else "only"
    if block.scope and block.scope[0][0] == SEALED:
        return f"{only} inside a scope that was erased"
    return f"{only} inside {scope_text(dict(block.scope))}" if block.scope else only


def _named(strange: Iterable[Block], purpose: Purpose) -> list[str]:
    """Return what a charge could name so that a block might pay for it: what it leaves open, never something else."""
    scope, missing = dict(purpose.scope), set()
    for block in strange:
        apart = block.features is not None and purpose.feature not in block.features
        if (apart and purpose.feature is not None) or _contradicts(block, scope):
            continue
        missing |= ({"feature"} if apart else set()) | (set() if set(block.scope or ()) <= scope.items() else {"scope"})
    return [f"say which {' and '.join(sorted(missing))} it is for"] if missing else []


def _contradicts(block: Block, scope: Mapping[str, str]) -> bool:
    return any(kind == SEALED or scope.get(kind, name) != name for kind, name in block.scope or ())


def _awaited(mine: Iterable[Block], charge: Charge, books: Books) -> list[str]:
    """Return what to wait for: the next instant at which a block begins or a plan grants; nothing where none will."""
    at, begin = charge.at, dict[datetime, int]()
    for block in mine:
        if block.effective_at > at and block.free_units and pays(block, charge.purpose):
            begin[block.effective_at] = begin.get(block.effective_at, 0) + block.free_units
    come = [(when, f"{_told(units, charge)} more may be used") for when, units in begin.items()]
    for row in (row for rows in books.grants.values() for row in rows if row.credit == charge.credit.key):
        when = next_grant(row, books.granted)
        come += [(when, f"plan {row.plan} grants more")] if when is not None else []
    if not come:
        return []
    soonest, what = min(come)
    return [f"wait until {instant(soonest)}, when {what}"]
