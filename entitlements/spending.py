"""Spending credits: charges on blocks in burn order, and debt where the credit allows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import attrs

from .amounts import MAX_UNITS, exact, to_units
from .budgeting import Load, Use, caps, crossings, loads
from .budgeting import lines as budget_lines
from .budgeting import refused as budget_refusal
from .caps import Cap
from .cases import Case, verdict
from .catalog.model import Credit, Depletion
from .catalog.standing import credits_of
from .decisions import Code, Decision, Receipt, stored
from .errors import near_or_some, shown
from .frozen import FrozenDict
from .judging import unknown_feature
from .ledger.blocks import Block, OpenHold, Purpose
from .ledger.burn import burn, burn_order, usable
from .ledger.crediting import Books
from .ledger.entries import Entry, Verdict
from .shortages import explained
from .wording import alternatives, no_customer


@attrs.frozen
class Charge:
    """What is to be paid: units of a credit for a purpose, and what to do where blocks run out.

    `promised` is what the hold that is settled by it may owe; to every other charge that counts as owed.
    """

    credit: Credit
    units: int
    purpose: Purpose
    depletion: Depletion
    at: datetime
    promised: int = 0

    @property
    def amount(self) -> Decimal:
        """The units as a user reads them."""
        return exact(self.units, self.credit.scale)


@attrs.frozen
class Payment:
    """Who pays a charge: units by block in the order they burn, units that go into debt, units nobody pays."""

    burned: Mapping[str, int]
    owed: int = 0
    short: int = 0

    @property
    def taken(self) -> int:
        """All units that are paid, now or as debt."""
        return sum(self.burned.values()) + self.owed


def consume_credits(case: Case) -> Verdict[Decision]:
    """Burn credits in the order the catalog writes; a denial burns nothing.

    Raises AmountError for an amount finer than the credit's scale, ValueError for use still to come.
    """
    refusal = refused(case)
    if refusal is not None:
        return Verdict(refusal)
    charge, books, late = charge_of(case), case.books(), is_late(case)
    blocks = paying(books, charge)
    before, payment = free_in(blocks), payment_of(books, charge, blocks)
    under = loads(case, use_of_credits(charge, payment))
    refusal = refused_under(case, charge, under)
    if refusal is not None:
        return Verdict(refusal)
    if not passes(charge, payment):
        return Verdict(insufficient(case, charge, before, books))
    paid = lines_of(charge, payment) or [Entry("nothing", case.at, charge.credit.key)]
    after = before - sum(payment.burned.values())
    entries = [*budget_lines(case, under), *crossings(case, under), *paid]
    return settled(case, charge, entries, payment, before, after, late=late, budgets=caps(under, booked=True))


def use_of_credits(charge: Charge, payment: Payment) -> Use:
    """Return what a charge is counted as in budgets: what is taken, or all that is asked where it does not pass."""
    units = payment.taken if passes(charge, payment) else charge.units
    return Use(credit=charge.credit.key, charged=units, scope=dict(charge.purpose.scope))


def refused_under(case: Case, charge: Charge, under: tuple[Load, ...]) -> Decision | None:
    """Return the denial of a charge for which a budget has no room, else None."""
    return budget_refusal(under, lambda: credit_decision(case, charge, before=0, taken=0), case)


def refused(case: Case) -> Decision | None:
    """Return the denial of a credit verb for a credit, feature or customer that is not known, else None."""
    credit, feature = case.value("credit"), case.value("feature")
    if credit not in case.catalog.credits:
        return unknown_credit(case, credit)
    if feature is not None and feature not in case.catalog.features:
        return unknown_feature(case.catalog, case.customer, feature, case.at)
    if not case.is_known:
        return _denial(case, "unknown_customer", credit, _stranger(case, credit))
    return None


def _stranger(case: Case, credit: str) -> str:
    """Return what to do first for a customer that is not known; one who has credits need hold no plan."""
    granting = [f"plan:{plan}" for plan in case.catalog.plans if credit in credits_of(case.catalog, plan)]
    subscribe = f", or subscribe the customer to {alternatives(tuple(granting))}" if granting else ""
    return f"{no_customer(case.customer)}; grant the customer {credit} credits first{subscribe}"


def unknown_credit(case: Case, credit: str) -> Decision:
    """Return the denial of a credit that the catalog does not name."""
    said = f"no credit {shown(credit)} in the catalog{near_or_some(credit, case.catalog.credits)}"
    return _denial(case, "unknown_credit", credit, said)


def is_late(case: Case) -> bool:
    """Tell whether `at` says that the use lies in the past; raises ValueError for use that is still to come."""
    at: datetime = case.value("at") or case.at
    if at > case.at:
        raise ValueError(f"at is {at.isoformat()}, which is still to come at {case.at.isoformat()}")
    return at < case.at


def charge_of(case: Case) -> Charge:
    """Return the charge a request asks for."""
    credit = case.catalog.credits[case.value("credit")]
    units = to_units(case.value("amount"), credit.scale)
    return Charge(credit, units, purpose_of(case), case.value("depletion") or credit.depletion, case.at)


def purpose_of(case: Case) -> Purpose:
    """Return what a request is for."""
    return Purpose(case.value("feature"), tuple((case.value("scope") or {}).items()))


def available(books: Books, charge: Charge) -> int:
    """Return the units that blocks could pay a charge of this purpose with."""
    return free_in(paying(books, charge))


def payment_of(books: Books, charge: Charge, blocks: list[Block] | None = None) -> Payment:
    """Return who would pay a charge as the books stand: blocks in burn order, then debt where the policy allows it.

    `blocks` are those that may pay, in that order, where they are known already.
    """
    slices, short = burn(paying(books, charge) if blocks is None else blocks, charge.units)
    owed = min(short, _may_owe(books, charge)) if short and charge.depletion == "soft" else 0
    return Payment(dict(slices), owed, short - owed)


def passes(charge: Charge, payment: Payment) -> bool:
    """Tell whether the policy lets a charge pass: all of it is paid, or, where it may be partial, some."""
    return not payment.short or (charge.depletion == "partial" and bool(payment.burned))


def pay(books: Books, charge: Charge, payment: Payment) -> list[Entry]:
    """Return the lines of a payment, posted to the books."""
    return [post(books, line) for line in lines_of(charge, payment)]


def lines_of(charge: Charge, payment: Payment) -> list[Entry]:
    """Return the lines of a payment: one for each block, one for the debt."""
    credit, at = charge.credit.key, charge.at
    lines = [Entry("burned", at, credit, amount=units, block=block) for block, units in payment.burned.items()]
    if payment.owed:
        order, data = charge.credit.burn_order, dict[str, object](purpose=charge.purpose)
        if order != "default":
            data["order"] = order if isinstance(order, str) else [*order]
        lines.append(Entry("overdrawn", at, credit, amount=payment.owed, data=data))
    return lines


def post(books: Books, entry: Entry) -> Entry:
    """Post an entry to the books and return it."""
    books.post(entry)
    return entry


def insufficient(case: Case, charge: Charge, left: int, books: Books) -> Decision:
    """Return the denial of a charge that the credits left cannot pay; it says what else the books hold."""
    decision = credit_decision(case, charge, before=left, taken=0, overage=charge.units - min(left, charge.units))
    denied = attrs.evolve(decision, allowed=False, code="insufficient_credits", outcome="block")
    return explained(denied, charge, books)


def settled(
    case: Case,
    charge: Charge,
    entries: Sequence[Entry],
    payment: Payment,
    before: int,
    after: int,
    *,
    late: bool = False,
    budgets: tuple[Cap, ...] = (),
) -> Verdict[Decision]:
    """Return the verdict on a charge that was paid as far as the policy allows; false where it does not allow all."""
    scale, taken = charge.credit.scale, payment.taken
    receipt = Receipt(
        case.key,
        seq_after(case, entries),
        late=late,
        booked=exact(taken, scale),
        burned={block: exact(units, scale) for block, units in payment.burned.items()},
        balance_after=exact(after, scale),
    )
    overage = payment.owed + payment.short
    decision = credit_decision(case, charge, before=before, taken=taken, overage=overage, receipt=receipt)
    if budgets:
        decision = attrs.evolve(decision, budgets=budgets)
    if not passes(charge, payment):
        decision = attrs.evolve(decision, allowed=False, code="insufficient_credits", outcome="block")
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
        scope=case.value("scope") or FrozenDict(charge.purpose.scope) or None,
        receipt=receipt,
        at=case.at,
    )


def remembered(decision: Decision) -> dict[str, Any]:
    """Return what a log keeps of a decision where the request does not name the feature or credit."""
    return {**stored(decision), "feature": decision.feature}


def seq_after(case: Case, entries: Sequence[Entry]) -> int:
    """Return the sequence number of the last entry of the batch these entries go into."""
    return case.head.seq + len(case.due) + len(entries)


def owed_in(books: Books, credit: str) -> int:
    """Return all debt in a credit, in units."""
    return sum(debt.units for debt in books.debts.values() if debt.credit == credit)


def promised_in(books: Books, credit: str) -> int:
    """Return what open holds may come to owe in a credit, in units: what no block could pay when they were made."""
    return sum(promised_of(hold, credit) for hold in books.holds.values())


def promised_of(hold: OpenHold, credit: str) -> int:
    """Return what one hold may come to owe in a credit, in units."""
    return sum(units for name, units in hold.promised if name == credit)


def paying(books: Books, charge: Charge) -> list[Block]:
    """Return the blocks that may pay a charge, in the order they burn."""
    credit = charge.credit
    blocks = usable(books.blocks.values(), credit.key, charge.purpose, charge.at)
    return blocks if books.in_order and credit.burn_order == "default" else burn_order(blocks, credit.burn_order)


def free_in(blocks: list[Block]) -> int:
    """Return the units that blocks have left."""
    return sum([block.free_units for block in blocks])


def _may_owe(books: Books, charge: Charge) -> int:
    credit, floor = charge.credit, charge.credit.floor if charge.credit.floor is not None else MAX_UNITS
    return max(0, floor - owed_in(books, credit.key) - promised_in(books, credit.key) + charge.promised)


def _denial(case: Case, code: Code, subject: str, said: str) -> Decision:
    version = case.catalog.version
    return Decision(False, code, case.customer, subject, "block", catalog_version=version, at=case.at, said=said)
