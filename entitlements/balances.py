"""Balances: what a customer's credits come to at an instant, as if all that fell due were booked."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import attrs

from .amounts import exact
from .cases import Case
from .decisions import EXACT, json_instant, json_number
from .errors import UnknownCredit
from .ledger.blocks import Block, Purpose, live, pays
from .ledger.burn import burn_order
from .ledger.due import next_due
from .spending import owed_in, promised_in, purpose_of

ANYTHING: Final = Purpose()


@attrs.frozen
class Balance:
    """Credits of one kind: `available` may be spent now, `held` is pinned by holds, `debt` is owed.

    `promised` is what open holds may come to owe beyond what they pin; it counts against the floor as if owed.
    `total` is available and held together. `blocks` are those in force, in the order they burn; one
    that is restricted to features or a scope counts only where the question names them.
    """

    customer: str
    credit: str
    available: Decimal
    held: Decimal
    debt: Decimal
    blocks: tuple[Block, ...]
    promised: Decimal

    @property
    def total(self) -> Decimal:
        """What is available and held together."""
        return sum_exact(self.available, self.held)

    def __str__(self) -> str:
        ends = [block.expires_at for block in self.blocks if block.expires_at is not None]
        soonest = f", next expiry {min(ends):%Y-%m-%d %H:%M} UTC" if ends else ""
        owed = f", {self.debt:,f} owed" if self.debt else ""
        owed += f", {self.promised:,f} promised" if self.promised else ""
        blocks = f"{len(self.blocks)} block{'' if len(self.blocks) == 1 else 's'}"
        return f"{self.available:,f} {self.credit} left ({self.held:,f} held) in {blocks}{soonest}{owed}"

    def to_dict(self) -> dict[str, Any]:
        """Return the balance as JSON values: amounts as text, instants as ISO 8601."""
        return {
            "customer": self.customer,
            "credit": self.credit,
            "available": json_number(self.available),
            "held": json_number(self.held),
            "total": json_number(self.total),
            "debt": json_number(self.debt),
            "promised": json_number(self.promised),
            "blocks": [block_to_dict(block) for block in self.blocks],
        }


def balance(case: Case) -> Balance:
    """Return the balance of a credit for a purpose; raises UnknownCredit or UnknownFeature."""
    key, feature = case.value("credit"), case.value("feature")
    if key not in case.catalog.credits:
        raise UnknownCredit(key, case.catalog.credits)
    if feature is not None:
        case.known_feature(feature)
    return balance_of(case, key, purpose_of(case))


def balance_of(case: Case, key: str, purpose: Purpose = ANYTHING) -> Balance:
    """Return the balance of a credit of the catalog for a purpose, by default for any that names nothing."""
    credit, books = case.catalog.credits[key], case.books().swept()
    mine = [block for block in books.blocks.values() if block.credit == key]
    blocks = burn_order([block for block in mine if live(block, case.at)], credit.burn_order)
    free = sum(block.free_units for block in blocks if pays(block, purpose))
    held = sum(block.held_units for block in mine if pays(block, purpose))
    owed, promised = owed_in(books, key), promised_in(books, key)
    left, pinned, debt, later = (exact(units, credit.scale) for units in (free, held, owed, promised))
    return Balance(case.customer, key, left, pinned, debt, tuple(blocks), later)


def changes_at(case: Case) -> datetime | None:
    """Return the first instant to come at which time alone changes a balance: a block or a hold begins or ends."""
    head = case.head
    if not (head.blocks or head.holds or head.grants or case.due):
        return None
    books = case.books().swept()
    edges: list[datetime | None] = [next_due(books)]
    edges += [edge for block in books.blocks.values() for edge in (block.effective_at, block.expires_at)]
    edges += [hold.ends_at for hold in books.holds.values()]
    return min((edge for edge in edges if edge is not None and edge > case.at), default=None)


def block_to_dict(block: Block) -> dict[str, Any]:
    """Return a block as JSON values."""
    return {
        "id": block.id,
        "credit": block.credit,
        "amount": json_number(block.amount),
        "remaining": json_number(block.remaining),
        "held": json_number(block.held),
        "category": block.category,
        "priority": block.priority,
        "cost_basis": None if block.cost_basis is None else json_number(block.cost_basis),
        "effective_at": json_instant(block.effective_at),
        "expires_at": json_instant(block.expires_at),
        "features": None if block.features is None else list(block.features),
        "scope": None if block.scope is None else dict(block.scope),
        "source": block.source,
    }


def sum_exact(one: Decimal, other: Decimal) -> Decimal:
    """Return the sum of two amounts exactly, whatever the host's decimal context."""
    return EXACT.add(one, other)
