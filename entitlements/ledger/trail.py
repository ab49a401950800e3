"""Who repaid what: which blocks paid for the debt that a charge left, told from the log line by line.

What is owed for one purpose is repaid in the order in which it was borrowed. A refund forgives what its
charge still owes, then what others owe for the same purpose; for these it stands in, so that the blocks
which had repaid its charge count as having repaid theirs.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from .blocks import Block, Purpose
from .entries import Batch, Entry


@attrs.define
class Account:
    """What is owed and was repaid for one purpose: what each charge still owes, the oldest first, and who repaid it.

    Charges go by the keys of their batches, and blocks by their ids. What was given back is no longer in it.
    """

    owed: dict[str, int] = attrs.field(factory=dict)
    repaid: dict[str, list[tuple[str, int]]] = attrs.field(factory=dict)

    def borrow(self, key: str, units: int) -> None:
        """Note that a charge owes units."""
        self.owed[key] = self.owed.get(key, 0) + units

    def repay(self, block: str, units: int) -> None:
        """Note that a block repaid units, of what was borrowed first."""
        for key in list(self.owed):
            part = self._less(key, units)
            units -= part
            if part:
                self.repaid.setdefault(key, []).append((block, part))

    def forgive(self, key: str, units: int) -> None:
        """Note that a refund of a charge forgave units: its own, then those of others, whom its blocks now repaid."""
        units -= self._less(key, units)
        for other in list(self.owed) if units else ():
            part = self._less(other, units)
            self.repaid.setdefault(other, []).extend(self.give_back(key, part))
            units -= part

    def give_back(self, key: str, units: int) -> list[tuple[str, int]]:
        """Take out what blocks repaid of a charge, the last first, and return which and how much."""
        parts, back = self.repaid.get(key, []), list[tuple[str, int]]()
        while units:
            block, paid = parts.pop()
            part = min(paid, units)
            back.append((block, part))
            units -= part
            if paid > part:
                parts.append((block, paid - part))
        return back

    def copied(self) -> Account:
        """Return an account that says the same."""
        return Account(dict(self.owed), {key: list(parts) for key, parts in self.repaid.items()})

    def _less(self, key: str, units: int) -> int:
        """Take up to so many units off what a charge owes, and return how many."""
        part = min(self.owed.get(key, 0), units)
        if part and part == self.owed[key]:
            del self.owed[key]
        elif part:
            self.owed[key] -= part
        return part


class Trail:
    """What a log tells of debt in one credit, up to batch `number`; `blocks` are those that were granted."""

    def __init__(self, credit: str) -> None:
        self.credit, self.number = credit, 0
        self.blocks: dict[str, Block] = {}
        self._accounts: dict[Purpose, Account] = {}
        self._purposes: dict[str, Purpose] = {}

    def follow(self, batch: Batch) -> None:
        """Take in one more batch."""
        refunded = ""
        for entry in batch.entries:
            if entry.kind == "refund":
                refunded = entry.data["of"]
            if entry.subject == self.credit:
                self._take(entry, batch.key, refunded)
        self.number = batch.number

    def account(self, purpose: Purpose, more: Iterable[Entry]) -> Account:
        """Return the account of a purpose with repayments that are not booked yet."""
        account = self._accounts.get(purpose, Account()).copied()
        for entry in more:
            if entry.kind == "repaid" and entry.subject == self.credit and entry.data["purpose"] == purpose:
                account.repay(entry.block, entry.amount)
        return account

    def _take(self, entry: Entry, key: str, refunded: str) -> None:
        if entry.kind == "granted":
            block: Block = entry.data["block"]
            self.blocks[block.id] = block
            if block.source == "refund":
                self._accounts[self._purposes[refunded]].give_back(refunded, block.units)
        elif entry.kind in {"overdrawn", "repaid", "forgiven"}:
            account = self._accounts.setdefault(entry.data["purpose"], Account())
            if entry.kind == "overdrawn":
                self._purposes[key] = entry.data["purpose"]
                account.borrow(key, entry.amount)
            elif entry.kind == "repaid":
                account.repay(entry.block, entry.amount)
            else:
                account.forgive(refunded, entry.amount)


def joined(blocks: Iterable[Block]) -> tuple[tuple[str, ...] | None, tuple[tuple[str, str], ...] | None]:
    """Return the features and the scope of what all of some blocks could pay."""
    features: tuple[str, ...] | None = None
    scope: dict[str, str] | None = None
    for block in blocks:
        if block.features is not None:
            features = (
                block.features if features is None else tuple(each for each in features if each in block.features)
            )
        if block.scope is not None:
            scope = {**(scope or {}), **dict(block.scope)}
    return features, None if scope is None else tuple(scope.items())
