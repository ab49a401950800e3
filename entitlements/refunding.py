"""Refunds: what a batch took goes back where it came from, in reverse, never more than was taken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from .amounts import exact, from_units, to_units
from .cases import Case, verdict
from .decisions import Decision, Receipt, stored
from .errors import AmountError, shown
from .granting import freed, granted_block
from .ledger.blocks import Block, Purpose
from .ledger.crediting import Books
from .ledger.entries import EPOCH, Batch, CounterKey, Entry, Verdict
from .spending import Charge, available, post, seq_after

TAKEN = frozenset({"burned", "settled", "overdrawn"})
USED = frozenset({"used", "recorded", "usage_held"})


def refund(case: Case) -> Verdict[Decision]:
    """Give back what a batch took, all that is left of it or an amount; raises AmountError beyond that.

    Credits return to their blocks in reverse order; what had gone into debt is forgiven first, and a
    block that has ended meanwhile passes its part straight to expired.
    """
    batch = batch_of(case)
    taken = [entry for entry in batch.entries if entry.kind in TAKEN]
    if taken:
        return _refund_credits(case, batch, taken)
    return _refund_usage(case, batch)


def batch_of(case: Case) -> Batch:
    """Return the batch that took what is to be refunded; raises LookupError for a key that took nothing."""
    named = case.value("batch_key")
    for key in (f"$close:{named}", named):
        batch = case.found.get(key)
        if batch is not None and any(entry.kind in TAKEN | USED for entry in batch.entries):
            return batch
    raise LookupError(f"no batch with key {shown(named)} took anything from {case.customer}; nothing to refund")


def refunded_counter(batch: Batch) -> CounterKey:
    """Return the counter that holds how much of a batch was refunded."""
    return f"$refunded:{batch.key}", EPOCH


def _refund_credits(case: Case, batch: Batch, taken: list[Entry]) -> Verdict[Decision]:
    credit = case.catalog.credits[taken[0].subject]
    whole = sum(entry.amount for entry in taken)
    units, before = _asked(case, batch, whole, credit.scale)
    books = case.books()
    entries = [Entry("refund", case.at, credit.key, *refunded_counter(batch), units, data={"of": batch.key})]
    back: dict[str, int] = {}
    for entry, amount in _slices(taken, before, units):
        back[entry.block] = back.get(entry.block, 0) + amount
        entries += _give_back(case, books, entry, amount)
    entries += freed(books, tuple(back), case.at)
    purpose = Purpose(None, ())
    left = available(books, Charge(credit, units, purpose, credit.depletion, case.at))
    scale = credit.scale
    burned = {block: exact(-amount, scale) for block, amount in back.items() if block}
    receipt = Receipt(case.key, seq_after(case, tuple(entries)), False, False, exact(units, scale), burned, exact(left, scale))
    decision = Decision(
        True,
        "ok",
        case.customer,
        credit.key,
        requested=exact(units, scale),
        source=f"credit:{credit.key}",
        catalog_version=case.catalog.version,
        receipt=receipt,
        at=case.at,
    )
    return verdict(case, entries, decision, stored(decision))


def _asked(case: Case, batch: Batch, whole: int, scale: int) -> tuple[int, int]:
    """Return the units to refund now and those refunded before."""
    before = case.counters.get(refunded_counter(batch), 0)
    left = whole - before
    units = left if case.value("amount") is None else to_units(case.value("amount"), scale)
    if units > left or left == 0:
        rest, all_of_it = from_units(left, scale), from_units(whole, scale)
        raise AmountError(f"batch {shown(batch.key)} took {all_of_it}; {rest} of it is left to refund")
    return units, before


def _slices(taken: list[Entry], skip: int, units: int) -> Iterator[tuple[Entry, int]]:
    for entry in reversed(taken):
        skipped = min(skip, entry.amount)
        part = min(units, entry.amount - skipped)
        skip, units = skip - skipped, units - part
        if part:
            yield entry, part


def _give_back(case: Case, books: Books, entry: Entry, units: int) -> Iterator[Entry]:
    if entry.kind == "overdrawn":
        yield from _forgive(case, books, entry, units)
        return
    if entry.block not in books.blocks:
        block = _emptied(case, entry.block)
        yield post(books, Entry("reopened", case.at, entry.subject, block=block.id, data={"block": block}))
    yield post(books, Entry("refunded", case.at, entry.subject, amount=units, block=entry.block))
    block = books.blocks[entry.block]
    if block.expires_at is not None and block.expires_at <= case.at:
        yield post(books, Entry("expired", case.at, entry.subject, amount=units, block=entry.block))


def _forgive(case: Case, books: Books, entry: Entry, units: int) -> Iterator[Entry]:
    """Forgive debt that is still owed; what was repaid since comes back as a promotional block of its own."""
    purpose: Purpose = entry.data["purpose"]
    debt = books.debts.get((entry.subject, purpose))
    owed = min(units, debt.units if debt is not None else 0)
    if owed:
        yield post(books, Entry("forgiven", case.at, entry.subject, amount=owed, data={"purpose": purpose}))
    if units > owed:
        block = _returned(case, entry, units - owed)
        yield post(books, Entry("granted", case.at, entry.subject, amount=block.units, block=block.id, data={"block": block}))


def _returned(case: Case, entry: Entry, units: int) -> Block:
    scale = case.catalog.credits[entry.subject].scale
    number = case.head.batches + 1
    return Block(
        case.key, entry.subject, scale, units, units, 0, "promotional", 50, None, case.at, None, source="refund", number=number
    )


def _emptied(case: Case, block_id: str) -> Block:
    batch = case.found.get(block_id)
    block = granted_block(batch) if batch is not None else None
    if block is None:
        raise LookupError(f"block {block_id!r} is not in the log of {case.customer}")
    return attrs.evolve(block, free_units=0, held_units=0)


def _refund_usage(case: Case, batch: Batch) -> Verdict[Decision]:
    lines = [entry for entry in batch.entries if entry.kind in USED and entry.window is not None]
    feature = case.catalog.features[lines[0].subject]
    if feature.aggregate != "sum":
        raise ValueError(f"feature {feature.key!r} counts {feature.aggregate}; only sums can be refunded")
    whole = max(line.amount for line in lines)
    units, before = _asked(case, batch, whole, feature.scale)
    entries = [Entry("refund", case.at, feature.key, *refunded_counter(batch), units, data={"of": batch.key})]
    held = _held(case)
    for line in lines:
        counter = (line.counter, line.window or EPOCH)
        free = max(0, case.counters.get(counter, 0) - held.get(counter, 0))
        entries.append(Entry("usage_refunded", case.at, feature.key, *counter, -min(units, free)))
    receipt = Receipt(case.key, seq_after(case, tuple(entries)), booked=from_units(units, feature.scale))
    decision = Decision(
        True,
        "ok",
        case.customer,
        feature.key,
        requested=from_units(units, feature.scale),
        catalog_version=case.catalog.version,
        receipt=receipt,
        at=case.at,
    )
    return verdict(case, entries, decision, stored(decision))


def _held(case: Case) -> Mapping[CounterKey, int]:
    held: dict[CounterKey, int] = {}
    for hold in case.head.holds.values():
        for name, start, units in hold.counters:
            held[name, start] = held.get((name, start), 0) + units
    return held
