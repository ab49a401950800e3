"""The fold of credit entries: what each kind of line does to blocks, holds and debt.

Each kind has one sign and one effect. A line that its block or hold cannot bear is LogCorrupt: it
could only come from a broken decision or a changed log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

import attrs

from ..amounts import MAX_UNITS
from ..catalog.standing import counted_as
from ..errors import LogCorrupt
from .blocks import Block, Debt, OpenHold, Purpose, empty
from .entries import Entry
from .instants import to_end
from .plan_grants import Forfeited, Grants, PlanGrant, count_granted


@attrs.define
class Books:
    """Blocks, holds, debt and plan grants of one customer while entries are posted to them.

    `granted` is when the last period ends for which a plan granted a credit, or lent it; `number` is that of the
    next block to be granted. `forfeited` says up to which number, exclusive, the blocks of a plan and a credit
    were forfeited as the plan was left, and when that was, for each time. `in_order` says that the blocks stand in
    the default burn order, as those of a head do.
    """

    blocks: dict[str, Block] = attrs.field(factory=dict)
    holds: dict[str, OpenHold] = attrs.field(factory=dict)
    debts: dict[tuple[str, Purpose], Debt] = attrs.field(factory=dict)
    in_order: bool = False
    grants: dict[str, Grants] = attrs.field(factory=dict)
    granted: dict[str, datetime] = attrs.field(factory=dict)
    number: int = 0
    forfeited: dict[str, Forfeited] = attrs.field(factory=dict)

    def post(self, entry: Entry) -> None:
        """Post one credit entry; raises LogCorrupt for a line the books cannot bear."""
        _POSTINGS[entry.kind](self, entry)

    def _granted(self, entry: Entry) -> None:
        block: Block = entry.data["block"]
        if block.id in self.blocks or not entry.amount == block.units == block.free_units or block.held_units:
            raise LogCorrupt(f"entry {entry.seq}: block {block.id!r} was granted before, or in another amount")
        self.blocks[block.id], self.in_order = block, False
        self.number = max(self.number, block.number + 1)
        count_granted(self.granted, block, *(to_end(entry.data.get(name)) for name in ("lent_until", "began")))

    def _reopened(self, entry: Entry) -> None:
        block: Block = entry.data["block"]
        if not all(map(empty, (block, self.blocks.get(block.id, block)))):
            raise LogCorrupt(f"entry {entry.seq}: block {block.id!r} is not empty, and only an empty one is reopened")
        self.blocks[block.id], self.in_order = block, False

    def _move(self, entry: Entry, free: int, held: int) -> None:
        block = self.blocks.get(entry.block)
        if block is None or block.credit != entry.subject:
            raise LogCorrupt(f"entry {entry.seq}: block {entry.block!r} of {entry.subject!r} is not open")
        free_units = block.free_units + free * entry.amount
        held_units = block.held_units + held * entry.amount
        if entry.amount < 0 or free_units < 0 or held_units < 0 or free_units + held_units > block.units:
            raise LogCorrupt(f"entry {entry.seq}: block {block.id!r} cannot bear {entry.kind} of {entry.amount}")
        self.blocks[block.id] = block.holding(free_units, held_units)

    def _owe(self, entry: Entry, sign: int) -> None:
        purpose: Purpose = entry.data["purpose"]
        owed = self.debts.get((entry.subject, purpose))
        units = (owed.units if owed is not None else 0) + sign * entry.amount
        if not 0 <= units <= MAX_UNITS or entry.amount < 0:
            raise LogCorrupt(f"entry {entry.seq}: debt in {entry.subject!r} cannot bear {entry.kind} of {entry.amount}")
        if units == 0:
            self.debts.pop((entry.subject, purpose), None)
        else:
            order = owed.order if owed is not None and sign < 0 else entry.data.get("order", "default")
            self.debts[entry.subject, purpose] = Debt(entry.subject, purpose, units, order)

    def _voided(self, entry: Entry) -> None:
        self._move(entry, -1, 0)
        self.blocks[entry.block] = attrs.evolve(self.blocks[entry.block], voided=True)

    def _repaid(self, entry: Entry) -> None:
        self._move(entry, -1, 0)
        self._owe(entry, -1)

    def _reserved(self, entry: Entry) -> None:
        hold: OpenHold = entry.data["hold"]
        if hold.id in self.holds:
            raise LogCorrupt(f"entry {entry.seq}: hold {hold.id!r} was opened before")
        self.holds[hold.id] = hold

    def _closed(self, entry: Entry) -> None:
        if self.holds.pop(entry.data["hold"], None) is None:
            raise LogCorrupt(f"entry {entry.seq}: hold {entry.data['hold']!r} is not open")

    def _set_grants(self, entry: Entry) -> None:
        """Let grants be what the entry says from its instant on; one that is left stands until that is due."""
        key = entry.data["source"]
        ended = [row for row in self.grants.get(key, ()) if row.since <= entry.at and leaves(row, entry)]
        rows = (*(attrs.evolve(row, until=entry.at, left=True) for row in ended), *entry.data["rows"])
        self._keep_grants(key, rows)

    def _left(self, entry: Entry) -> None:
        key, forfeits = entry.data["source"], entry.data.get("forfeits")
        if forfeits is not None:
            plan, number = forfeits
            name = counted_as(plan, entry.subject, lent=False)
            self.forfeited[name] = (*self.forfeited.get(name, ()), (number, entry.at))
        rows = self.grants.get(key, ())
        self._keep_grants(key, tuple(row for row in rows if row.until is None or row.until > entry.at))

    def _keep_grants(self, key: str, rows: Grants) -> None:
        if rows:
            self.grants[key] = rows
        else:
            self.grants.pop(key, None)

    def copied(self) -> Books:
        """Return books that say the same, to post other entries to."""
        credits_ = (dict(self.blocks), dict(self.holds), dict(self.debts), self.in_order)
        return Books(*credits_, dict(self.grants), dict(self.granted), self.number, dict(self.forfeited))

    def swept(self) -> Books:
        """Return the books without blocks that nothing is left of; voided ones stay, as a refund must know them."""
        kept = {key: block for key, block in self.blocks.items() if not finished(block)}
        return attrs.evolve(self, blocks=kept)


def leaves(grant: PlanGrant, entry: Entry) -> bool:
    """Tell whether setting grants leaves one for another plan in a way that something becomes of what is unused."""
    in_force = grant.until is None or grant.until > entry.at
    return in_force and bool(entry.data.get("left")) and grant.terms.unused != "keep"


def finished(block: Block) -> bool:
    """Tell whether the books can let go of a block."""
    return not (block.free_units or block.held_units or block.voided)


_POSTINGS: Final[Mapping[str, Callable[[Books, Entry], None]]] = MappingProxyType(
    {
        "granted": Books._granted,
        "reopened": Books._reopened,
        "burned": lambda books, entry: books._move(entry, -1, 0),
        "held": lambda books, entry: books._move(entry, -1, +1),
        "settled": lambda books, entry: books._move(entry, 0, -1),
        "released": lambda books, entry: books._move(entry, +1, -1),
        "refunded": lambda books, entry: books._move(entry, +1, 0),
        "expired": lambda books, entry: books._move(entry, -1, 0),
        "rolled": lambda books, entry: books._move(entry, -1, 0),
        "voided": Books._voided,
        "repaid": Books._repaid,
        "overdrawn": lambda books, entry: books._owe(entry, +1),
        "forgiven": lambda books, entry: books._owe(entry, -1),
        "reserved": Books._reserved,
        "hold_closed": Books._closed,
        "plan_credits_set": Books._set_grants,
        "plan_left": Books._left,
    }
)
CREDIT_KINDS: Final = frozenset(_POSTINGS)
