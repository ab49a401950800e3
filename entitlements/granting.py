"""Granting credits: blocks come into being, repay what is owed first, and may be voided."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import attrs

from .amounts import canonical, to_units
from .cases import Case, verdict
from .catalog.model import Credit
from .errors import AmountError, UnknownBlock, UnknownCredit
from .ledger.blocks import Block, live
from .ledger.credit_encoding import encode_block
from .ledger.crediting import Books
from .ledger.due import repay
from .ledger.entries import Batch, Entry, Verdict
from .spending import post


def grant_credits(case: Case) -> Verdict[Block]:
    """Grant a block of credits; raises UnknownCredit, UnknownFeature, AmountError, ValueError for its dates."""
    credit = _credit(case)
    books = case.books()
    block = _block(case, credit)
    if block.id in books.blocks:
        raise ValueError(f"a block {block.id!r} is open already; its id is the key of the batch that granted it")
    granted = Entry("granted", case.at, credit.key, amount=block.units, block=block.id, data={"block": block})
    post(books, granted)
    repaid = list(repay(books, block, case.at)) if live(block, case.at) else []
    stands = books.blocks[block.id]
    return verdict(case, (granted, *repaid), stands, {"block": encode_block(stands)})


def void_block(case: Case) -> Verdict[Block]:
    """Take back what is free of a block; what holds pin goes when they are released. Used credits stay used."""
    books = case.books()
    block = books.blocks.get(case.value("block"))
    if block is None:
        return Verdict(_closed_block(case))
    entry = Entry("voided", case.at, block.credit, amount=block.free_units, block=block.id)
    post(books, entry)
    voided = books.blocks[block.id]
    return verdict(case, (entry,), voided, {"block": encode_block(voided)})


def granted_block(batch: Batch) -> Block | None:
    """Return the block a batch granted, as it was granted, None for a batch that granted none."""
    for entry in batch.entries:
        if entry.kind == "granted":
            block: Block = entry.data["block"]
            return block
    return None


def _closed_block(case: Case) -> Block:
    batch = case.found.get(case.value("block"))
    block = granted_block(batch) if batch is not None else None
    if block is None:
        raise UnknownBlock(case.value("block"), [block.id for block in case.books().blocks.values()])
    return attrs.evolve(block, free_units=0, held_units=0)


def _credit(case: Case) -> Credit:
    key = case.value("credit")
    if key not in case.catalog.credits:
        raise UnknownCredit(key, case.catalog.credits)
    for feature in case.value("features") or ():
        case.known_feature(feature)
    return case.catalog.credits[key]


def _block(case: Case, credit: Credit) -> Block:
    units = to_units(case.value("amount"), credit.scale)
    if units == 0:
        raise AmountError("amount is 0; a block holds at least the smallest unit")
    begins = case.value("effective_at") or case.value("at") or case.at
    cost, scope = case.value("cost_basis"), case.value("scope")
    return Block(
        case.key,
        credit.key,
        credit.scale,
        units,
        units,
        0,
        case.value("category") or "paid",
        50 if case.value("priority") is None else case.value("priority"),
        None if cost is None else Decimal(canonical(cost, what="cost_basis")),
        begins,
        _expires(case, begins),
        case.value("features"),
        None if scope is None else tuple(scope.items()),
        settle_debt=case.value("settle_debt") is not False,
        number=case.head.batches + 1,
        metadata=case.value("metadata"),
    )


def _expires(case: Case, begins: datetime) -> datetime | None:
    expires: datetime | None = case.value("expires_at")
    lasting: timedelta | None = case.value("expires_in")
    if lasting is not None and expires is not None:
        raise ValueError("give expires_at= or expires_in=, not both")
    if lasting is not None:
        try:
            expires = begins + lasting
        except OverflowError:
            raise ValueError(f"expires_in is {lasting}; the block would end beyond the year 9999") from None
    if expires is not None and expires <= begins:
        raise ValueError(f"expires_at is {expires.isoformat()}; it must come after {begins.isoformat()}")
    if expires is not None and expires <= case.at:
        raise ValueError(f"expires_at is {expires.isoformat()}, which is past; a block must be usable for a while")
    return expires


def freed(books: Books, blocks: tuple[str, ...], at: datetime) -> list[Entry]:
    """Return the repayments that follow where credits came back to blocks, posting each."""
    return [
        entry
        for block in dict.fromkeys(blocks)
        if block in books.blocks and live(books.blocks[block], at)
        for entry in repay(books, books.blocks[block], at)
    ]
