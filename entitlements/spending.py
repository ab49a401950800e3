"""Spending credits: charges on blocks in burn order, and debt where the credit allows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import attrs

from .amounts import MAX_UNITS, exact, to_units
from .cases import Case, verdict
from .catalog.model import Credit, Depletion
from .decisions import Code, Decision, Receipt, stored
from .errors import AmountError, did_you_mean, shown
from .judging import unknown_feature
from .ledger.blocks import Purpose
from .ledger.burn import burn, burn_order, usable
from .ledger.crediting import Books
from .ledger.entries import Entry, Verdict


@attrs.frozen
class Charge:
    """What is to be paid: units of a credit for a purpose, and what to do where blocks run out."""

    credit: Credit
    units: int
    purpose: Purpose
    depletion: Depletion
    at: datetime

    @property
    def amount(self) -> Decimal:
        """The units as a user reads them."""
        return exact(self.units, self.credit.scale)


@attrs.frozen
class Paid:
    """What a charge came to: the entries, units by block, units gone into debt, units nobody paid."""

    entries: tuple[Entry, ...]
    burned: Mapping[str, int]
    owed: int = 0
    short: int = 0


def consume_credits(case: Case) -> Verdict[Decision]:
    """Burn credits in the order the catalog writes; a denial burns nothing.

    Raises AmountError for an amount finer than the credit's scale.
    """
    refusal = refused(case)
    if refusal is not None:
        return Verdict(refusal)
    charge, books = charge_of(case), case.books()
    before = available(books, charge)
    paid = pay(books, charge)
    if paid is None:
        return Verdict(insufficient(case, charge, before))
    entries = paid.entries or (Entry("nothing", case.at, charge.credit.key),)
    return settled(case, charge, entries, paid, before, available(books, charge))


def refused(case: Case) -> Decision | None:
    """Return the denial of a credit verb for a credit, feature or customer that is not known, else None."""
    credit, feature = case.value("credit"), case.value("feature")
    if credit not in case.catalog.credits:
        said = f"no credit {shown(credit)} in the catalog{did_you_mean(credit, case.catalog.credits)}"
        return _denial(case, "unknown_credit", credit, said)
    if feature is not None and feature not in case.catalog.features:
        return unknown_feature(case.catalog, case.customer, feature, case.at)
    if not case.is_known:
        return _denial(case, "unknown_customer", credit, "")
    return None


def charge_of(case: Case, units: int | None = None) -> Charge:
    """Return the charge a request asks for, in units of its credit unless they are given."""
    credit = case.catalog.credits[case.value("credit")]
    asked = to_units(case.value("amount"), credit.scale) if units is None else units
    return Charge(credit, asked, purpose_of(case), case.value("depletion") or credit.depletion, case.at)


def purpose_of(case: Case) -> Purpose:
    """Return what a request is for."""
    return Purpose(case.value("feature"), tuple((case.value("scope") or {}).items()))


def available(books: Books, charge: Charge) -> int:
    """Return the units that blocks could pay a charge of this purpose with."""
    return sum(block.free_units for block in _blocks(books, charge))


def pay(books: Books, charge: Charge, *, beyond: bool = False) -> Paid | None:
    """Charge the books, posting each entry; None, with nothing posted, where the policy denies it.

    `beyond` books all that can be paid even then, because the use has happened.
    """
    slices, short = burn(burn_order(_blocks(books, charge), charge.credit.burn_order), charge.units)
    owed = min(short, _may_owe(books, charge)) if charge.depletion == "soft" else 0
    left = short - owed
    if left and not beyond and (charge.depletion != "partial" or not slices):
        return None
    entries = []
    for block, units in slices:
        entries.append(post(books, Entry("burned", charge.at, charge.credit.key, amount=units, block=block)))
    if owed:
        data = {"purpose": charge.purpose}
        entries.append(post(books, Entry("overdrawn", charge.at, charge.credit.key, amount=owed, data=data)))
    return Paid(tuple(entries), dict(slices), owed, left)


def post(books: Books, entry: Entry) -> Entry:
    """Post an entry to the books and return it."""
    books.post(entry)
    return entry


def insufficient(case: Case, charge: Charge, left: int) -> Decision:
    """Return the denial of a charge that the credits left cannot pay."""
    decision = credit_decision(case, charge, before=left, taken=0, overage=charge.units - min(left, charge.units))
    return attrs.evolve(decision, allowed=False, code="insufficient_credits", outcome="block")


def settled(
    case: Case, charge: Charge, entries: tuple[Entry, ...], paid: Paid, before: int, after: int
) -> Verdict[Decision]:
    """Return the verdict on a charge that was paid."""
    scale, taken = charge.credit.scale, sum(paid.burned.values()) + paid.owed
    receipt = Receipt(
        case.key,
        seq_after(case, entries),
        booked=exact(taken, scale),
        burned={block: exact(units, scale) for block, units in paid.burned.items()},
        balance_after=exact(after, scale),
    )
    overage = paid.owed + paid.short
    decision = credit_decision(case, charge, before=before, taken=taken, overage=overage, receipt=receipt)
    return verdict(case, entries, decision, stored(decision))


def credit_decision(
    case: Case, charge: Charge, *, before: int, taken: int, overage: int = 0, receipt: Receipt | None = None
) -> Decision:
    """Return an allowed decision about credits: `limit` is what there was, `used` what this took of it."""
    scale = charge.credit.scale
    return Decision(
        True,
        "ok",
        case.customer,
        charge.purpose.feature or charge.credit.key,
        limit=exact(before, scale),
        used=exact(taken, scale),
        requested=charge.amount,
        source=f"credit:{charge.credit.key}",
        soft=charge.depletion == "soft",
        overage=exact(overage, scale),
        catalog_version=case.catalog.version,
        scope=case.value("scope"),
        receipt=receipt,
        at=case.at,
    )


def seq_after(case: Case, entries: tuple[Entry, ...]) -> int:
    """Return the sequence number of the last entry of the batch these entries go into."""
    return case.head.seq + len(case.due) + len(entries)


def owed_in(books: Books, credit: str) -> int:
    """Return all debt in a credit, in units."""
    return sum(debt.units for debt in books.debts.values() if debt.credit == credit)


def _blocks(books: Books, charge: Charge) -> Any:
    return usable(books.blocks.values(), charge.credit.key, charge.purpose, charge.at)


def _may_owe(books: Books, charge: Charge) -> int:
    owed = owed_in(books, charge.credit.key)
    floor = charge.credit.floor if charge.credit.floor is not None else MAX_UNITS
    if charge.credit.floor is None and owed + charge.units > MAX_UNITS:
        raise AmountError(f"debt in {charge.credit.key!r} would come to more than a log can hold")
    return max(0, floor - owed)


def _denial(case: Case, code: Code, subject: str, said: str) -> Decision:
    version = case.catalog.version
    return Decision(False, code, case.customer, subject, "block", catalog_version=version, at=case.at, said=said)


def slices_of(entries: Iterator[Entry]) -> tuple[tuple[str, int], ...]:
    """Return what entries took of each block, in their order."""
    return tuple((entry.block, entry.amount) for entry in entries)
