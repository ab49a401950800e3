"""Charging: one decision over what is granted, its limits, every budget, and the credits that a use costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from .amounts import Number, exact, from_units
from .balances import changes_at
from .budgeting import Load, Use, caps, changes_after, crossings, loads, refused
from .budgeting import lines as budget_lines
from .cases import Case
from .catalog.model import EMPTY, Period
from .decisions import Allowance, Decision
from .judging import Finding, found
from .ledger.blocks import Purpose
from .ledger.crediting import Books
from .ledger.entries import Entry
from .metering import Meter
from .rates import Price, has_price, price_of
from .shortages import explained
from .spending import Charge, Payment, free_in, lines_of, passes, paying, payment_of
from .weighing import Question

_BOOKING: Final = frozenset({"consume", "reserve"})
"""Verbs that answer with what stands after they booked, and so need no more of a decision than that it passes."""


@attrs.frozen
class Bill:
    """What a priced use costs, who would pay it of which books, and how much there was `before` to pay with."""

    price: Price
    charge: Charge
    payment: Payment
    before: int
    books: Books = attrs.field(eq=False, repr=False)

    @property
    def left(self) -> int:
        """What is left to pay with once it is paid."""
        return self.before - sum(self.payment.burned.values())

    def stamp(self, case: Case, question: Question) -> Entry:
        """Return the line that states the price and how it came about."""
        stamp, dimensions = self.price.stamp, question.dimensions
        data = {**stamp, "dimensions": dimensions} if dimensions else stamp
        return Entry("priced", case.at, question.feature.key, amount=self.price.units, data=data)


@attrs.frozen
class Judgement:
    """What was found of a use, the units that would be counted, and what it falls under.

    `told` is the decision where more than limits was looked at.
    """

    finding: Finding
    fits: int
    bill: Bill | None = None
    under: tuple[Load, ...] = ()
    told: Decision | None = None

    @property
    def decision(self) -> Decision:
        """The whole decision."""
        return self.finding.decision if self.told is None else self.told

    @property
    def allowed(self) -> bool:
        """Whether the use may be."""
        return self.finding.allowed if self.told is None else self.told.allowed

    @property
    def metered(self) -> Mapping[Period, Meter]:
        """The meters the use would be counted in."""
        return self.finding.metered

    @property
    def overage(self) -> Number:
        """How much of the use lies beyond the limit: all of it, where none says anything of amounts."""
        over, feature = self.finding.overage, self.finding.question.feature
        return from_units(self.fits if over is None else over, feature.scale)


def judged(case: Case, question: Question, books: Books | None = None) -> Judgement:
    """Return the whole judgement on a question: what is granted and its limits, then budgets, then credits.

    Raises UnknownPrice for what has no price; a question that names no dimensions may leave that open.
    """
    finding = found_in(case, question)
    fits = finding.fits
    if not finding.allowed or not (case.head.budgets or question.feature.key in case.catalog.rates):
        return Judgement(finding, fits)
    if question.kinds is not None and fits < question.requested:
        return Judgement(finding, 0, told=_not_in_part(finding.decision))
    price = None if _is_open(case, question) else price_asked(case, question, fits)
    use = use_of(case, question, fits, 0 if price is None else price.units)
    under = loads(case, use)
    bill = None if price is None else bill_for(case, question, price, books or case.books())
    refusal = refused(under, lambda: finding.decision, case)
    if refusal is None and bill is not None and not passes(bill.charge, bill.payment):
        refusal = explained(unpaid(finding.decision, bill.charge, bill.before), bill.charge, bill.books)
    if refusal is None and case.request.verb in _BOOKING:
        return Judgement(finding, fits, bill, under)
    edges = [finding.decision.valid_until, changes_after(case, use), changes_at(case) if bill is not None else None]
    until = min((edge for edge in edges if edge is not None), default=None)
    told = attrs.evolve(finding.decision if refusal is None else refusal, valid_until=until, budgets=caps(under))
    return Judgement(finding, 0 if refusal is not None else fits, bill, under, told)


def recorded(case: Case, question: Question) -> Judgement:
    """Return the judgement on a use that already happened: all of it counts, and what can be paid is."""
    finding = found_in(case, question)
    price = price_asked(case, question, question.requested)
    bill = None if price is None else bill_for(case, question, price, case.books())
    under = loads(case, use_of(case, question, question.requested, 0 if bill is None else bill.payment.taken))
    return Judgement(finding, question.requested, bill, under)


def found_in(case: Case, question: Question) -> Finding:
    """Return what is granted of a question, and what its limits say."""
    return found(question, case.entitlements, case.head, case.counters, meters_of(case, question))


def meters_of(case: Case, question: Question) -> Mapping[Period, Meter] | None:
    """Return the meters a question is about, None where its feature has none."""
    feature = question.feature
    return case.metered(feature, question.occurred_at or question.at) if feature.type == "metered" else None


def use_of(case: Case, question: Question, units: int, charged: int) -> Use:
    """Return what units of the feature asked for, and the credits they cost, are counted as in budgets."""
    rate = case.catalog.rates.get(question.feature.key)
    terms = (question.scope or EMPTY, question.dimensions or EMPTY, question.occurred_at)
    return Use(question.feature, units, None if rate is None else rate.credit, charged, *terms)


def bill_for(case: Case, question: Question, price: Price, books: Books) -> Bill:
    """Return who would pay a price. A use is paid in full or not at all, so a partial credit counts as a hard one."""
    credit = case.catalog.credits[price.credit]
    policy = question.depletion or credit.depletion
    purpose = Purpose(question.feature.key, tuple((question.scope or EMPTY).items()))
    charge = Charge(credit, price.units, purpose, "hard" if policy == "partial" else policy, case.at)
    blocks = paying(books, charge)
    return Bill(price, charge, payment_of(books, charge, blocks), free_in(blocks), books)


def booked(case: Case, question: Question, judgement: Judgement) -> list[Entry]:
    """Return the lines beside those of usage: what counts in budgets, the price, and who pays it."""
    entries = [*budget_lines(case, judgement.under), *crossings(case, judgement.under)]
    bill = judgement.bill
    if bill is not None:
        entries += [bill.stamp(case, question), *lines_of(bill.charge, bill.payment)]
    return entries


def paid_for(bill: Bill, left: int) -> dict[str, Any]:
    """Return what a receipt says of a priced use: what it cost, who paid, and what is left to pay with."""
    scale = bill.charge.credit.scale
    return {
        "burned": {block: exact(units, scale) for block, units in bill.payment.burned.items()},
        "balance_after": exact(left, scale),
        "price": bill.charge.amount,
        "unpaid": exact(bill.payment.short, scale),
    }


def unpaid(decision: Decision, charge: Charge, had: int, taken: int = 0) -> Decision:
    """Return the denial of a use for which credits do not suffice: of what they `had`, what was `taken` of it.

    The meter stays the feature's own. What there is of the credit stands last among the allowances.
    """
    credit, scale = charge.credit, charge.credit.scale
    paying = Allowance(f"credit:{credit.key}", exact(had, scale), exact(taken, scale), charge.depletion == "soft")
    choices = (*decision.allowances, paying)
    told = attrs.evolve(decision, choices=choices, needed=charge.amount)
    return attrs.evolve(told, allowed=False, code="insufficient_credits", outcome="block")


def price_asked(case: Case, question: Question, units: int) -> Price | None:
    """Return what units of the feature asked for cost, by their kinds where it tells them, None without a rate."""
    asked = question.kinds if question.kinds is not None else units
    return price_of(case.catalog, question.feature, asked, question.dimensions)


def _is_open(case: Case, question: Question) -> bool:
    """Tell whether a mere question says too little for a price: it names no dimensions, and there is no default."""
    looks = case.request.verb not in {*_BOOKING, "record", "settle"}
    return looks and not question.dimensions and not has_price(case.catalog, question.feature, None)


def _not_in_part(decision: Decision) -> Decision:
    """Return the denial of a use by kinds of which only a part fits: nobody can tell which part."""
    return attrs.evolve(decision, allowed=False, code="limit_reached", outcome="block")
