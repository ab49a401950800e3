"""Granting credits: blocks come into being, repay what is owed first, and may be voided."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import attrs

from .amounts import MAX_UNITS, canonical, to_units
from .cases import Case, verdict
from .catalog.model import Credit
from .errors import AmountError, UnknownBlock, UnknownCredit
from .ledger.blocks import Block, empty
from .ledger.credit_encoding import encode_block
from .ledger.crediting import Books
from .ledger.due import repay, repaying
from .ledger.entries import Batch, Entry, Verdict
from .ledger.plan_grants import is_forfeited
from .spending import post


def grant_credits(case: Case) -> Verdict[Block]:
    """Grant a block of credits; raises UnknownCredit, UnknownFeature, AmountError, ValueError for its dates."""
    credit = _credit(case)
    books = case.books()
    block = _block(case, credit, books.number)
    granted = Entry("granted", case.at, credit.key, amount=block.units, block=block.id, data={"block": block})
    post(books, granted)
    check_bound(books, credit.key)
    repaid = list(repay(books, block, case.at))
    stands = books.blocks[block.id]
    return verdict(case, (granted, *repaid), stands, {"block": encode_block(stands)})


def void_block(case: Case) -> Verdict[Block]:
    """Take back what is free of a block, and whatever comes back to it later. Used credits stay used."""
    books, named = case.books(), case.value("block")
    entries = reopened(case, books, named)
    if named not in books.blocks:
        raise UnknownBlock(named, books.blocks, hint="a block's id is the key it was granted with")
    block = books.blocks[named]
    entries.append(post(books, Entry("voided", case.at, block.credit, amount=block.free_units, block=named)))
    voided = books.blocks[named]
    return verdict(case, entries, voided, {"block": encode_block(voided)})


def reopened(case: Case, books: Books, block_id: str) -> list[Entry]:
    """Return the line that opens a block again which nothing is left of, posted; none where something is.

    The books let go of empty blocks; the batch that granted the block says what it was. One that would have
    been forfeited with its plan, had anything been left of it, is voided as those are that were.
    """
    block = books.blocks.get(block_id) or _granted(case.found.get(block_id), block_id)
    if block is None or not empty(block):
        return []
    if is_forfeited(block, books.forfeited):
        block = attrs.evolve(block, voided=True)
    return [post(books, Entry("reopened", case.at, block.credit, block=block_id, data={"block": block}))]


def check_bound(books: Books, credit: str) -> None:
    """Raise AmountError where all blocks of a credit together come to more than a log can hold."""
    blocks = [block for block in books.blocks.values() if block.credit == credit]
    if sum(block.free_units + block.held_units for block in blocks) > MAX_UNITS:
        raise AmountError(f"credits of {credit!r} would come to more than a log can hold; nothing was written")


def _granted(batch: Batch | None, block_id: str) -> Block | None:
    """Return a block that a batch granted, with nothing left of it, None for a batch that did not."""
    for entry in batch.entries if batch is not None else ():
        if entry.kind == "granted" and entry.block == block_id:
            block: Block = entry.data["block"]
            return attrs.evolve(block, free_units=0, held_units=0)
    return None


def _credit(case: Case) -> Credit:
    key = case.value("credit")
    if key not in case.catalog.credits:
        raise UnknownCredit(key, case.catalog.credits)
    for feature in case.value("features") or ():
        case.known_feature(feature)
    return case.catalog.credits[key]


def _block(case: Case, credit: Credit, number: int) -> Block:
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
        number=number,
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
    """Return the repayments that follow where credits came back to blocks, posted; blocks repay as they burn."""
    back = repaying(books, (books.blocks[block] for block in blocks))
    return [entry for block in back for entry in repay(books, block, at)]
