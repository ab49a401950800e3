"""Holds: credits or usage set aside before the work, settled or released once after it.

Settling and releasing share one key for each hold, so exactly one of them ever takes effect. A hold
lapses at its end by itself; what is settled after that is a plain charge, flagged late.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

import attrs

from .amounts import MAX_UNITS, Number, Unlimited, exact, from_units, to_units
from .budgeting import Load, Use, caps, crossings, loads
from .budgeting import lines as budget_lines
from .cases import Case, verdict
from .catalog.model import EMPTY
from .charging import bill_for, judged, paid_for, price_asked, unpaid, use_of
from .decisions import Code, Decision, Receipt, left_of, stored
from .errors import AmountError, HoldClosed, HoldExpired, UnknownHold
from .frozen import FrozenDict
from .granting import freed
from .judging import judge, unknown_feature
from .ledger.blocks import HeldBudget, Late, OpenHold
from .ledger.crediting import Books
from .ledger.due import release as give_back
from .ledger.entries import Batch, Entry, Verdict
from .metering import Meter
from .requests import Request
from .spending import (
    Charge,
    Payment,
    available,
    charge_of,
    credit_decision,
    insufficient,
    is_late,
    passes,
    pay,
    payment_of,
    post,
    promised_of,
    purpose_of,
    refused,
    refused_under,
    remembered,
    seq_after,
    settled,
    unknown_credit,
    use_of_credits,
)
from .upgrades import with_upgrade
from .using import asked, standing_after
from .wording import moment

CLOSED = {"settle": "settled", "release": "released"}


def reserve_credits(case: Case) -> Verdict[Decision]:
    """Set credits aside; denied like a charge. A soft credit pins what there is and promises to owe the rest."""
    refusal = refused(case)
    if refusal is not None:
        return Verdict(refusal)
    charge, books, late = charge_of(case), case.books(), is_late(case)
    before, payment = available(books, charge), payment_of(books, charge)
    under = loads(case, use_of_credits(charge, payment))
    refusal = refused_under(case, charge, under)
    if refusal is not None:
        return Verdict(refusal)
    if not passes(charge, payment):
        return Verdict(insufficient(case, charge, before, books))
    slices = tuple(payment.burned.items())
    pinned = sum(units for _, units in slices)
    terms = (charge.purpose, _ends(case), _late(case), slices, (), _held_budgets(under))
    hold = OpenHold(case.key, charge.credit.key, pinned, *terms, promised=_promised(charge, payment))
    entries = [
        *_opened(case, books, hold, charge.credit.key),
        *budget_lines(case, under, "budget_held"),
        *crossings(case, under),
    ]
    scale = charge.credit.scale
    receipt = Receipt(
        case.key,
        seq_after(case, entries),
        late=late,
        booked=exact(pinned, scale),
        balance_after=exact(available(books, charge), scale),
    )
    overage = charge.units - pinned
    decision = credit_decision(case, charge, before=before, taken=pinned, overage=overage, receipt=receipt)
    decision = attrs.evolve(decision, budgets=caps(under, booked=True))
    return verdict(case, entries, decision, stored(decision))


def reserve(case: Case) -> Verdict[Decision]:
    """Set usage of a metered feature aside: it counts at once, and what is not settled is given back."""
    if case.value("feature") not in case.catalog.features:
        return Verdict(unknown_feature(case.catalog, case.customer, case.value("feature"), case.at))
    question = asked(case)
    feature = question.feature
    if feature.aggregate != "sum":
        raise ValueError(f"feature {feature.key!r} counts {feature.aggregate}; only sums can be held")
    late, books = is_late(case), case.books()
    judgement = judged(case, question, books)
    if not judgement.allowed:
        return Verdict(with_upgrade(judgement.decision, question, case))
    fits, bill, under = judgement.fits, judgement.bill, judgement.under
    slices = () if bill is None else tuple(bill.payment.burned.items())
    counters = tuple((*meter.counter, fits) for meter in judgement.metered.values())
    terms = (purpose_of(case), _ends(case), _late(case), slices, counters, _held_budgets(under), True)
    promised = () if bill is None else _promised(bill.charge, bill.payment)
    hold = OpenHold(case.key, feature.key, fits, *terms, tuple((question.dimensions or EMPTY).items()), promised)
    first, *held = _opened(case, books, hold, "" if bill is None else bill.charge.credit.key)
    usage = list(_counted(case, feature.key, judgement.metered.values(), "usage_held", fits))
    beside = [*held, *budget_lines(case, under, "budget_held"), *crossings(case, under)]
    shown: dict[str, Any] = {"overage": judgement.overage, "budgets": caps(under, booked=True)}
    entries, decision = standing_after(case, question, [first, *usage], fits, beside=beside, **shown)
    if bill is None and not late:
        return verdict(case, entries, decision, stored(decision))
    receipt = cast("Receipt", decision.receipt)
    if bill is not None:
        left = available(books, bill.charge)
        told = paid_for(bill, left) | {"burned": {}, "unpaid": exact(0, bill.charge.credit.scale)}
        receipt = attrs.evolve(receipt, **told)
    return _flagged(case, entries, attrs.evolve(decision, receipt=receipt), late=late)


def _opened(case: Case, books: Books, hold: OpenHold, credit: str) -> list[Entry]:
    """Return the lines that open a hold and pin its parts of blocks, posted."""
    lines = [Entry("reserved", case.at, hold.subject, data={"hold": hold})]
    lines += [
        Entry("held", case.at, credit, amount=units, block=block, data={"hold": hold.id})
        for block, units in hold.slices
    ]
    return [post(books, line) for line in lines]


def _promised(charge: Charge, payment: Payment) -> tuple[tuple[str, int], ...]:
    return ((charge.credit.key, payment.owed),) if payment.owed else ()


def _held_budgets(under: Iterable[Load]) -> tuple[HeldBudget, ...]:
    return tuple(
        HeldBudget(*load.counter, load.units, "credit" if load.budget.feature is None else "usage")
        for load in under
        if load.units
    )


def settle(case: Case) -> Verdict[Decision]:
    """Charge what the work came to: less returns the rest, more draws on; raises UnknownHold, HoldExpired.

    Beyond what the blocks can pay it books all there is, closes the hold and answers falsy.
    """
    books = case.books()
    hold = books.holds.get(case.value("hold"))
    lapsed = hold is None
    if hold is None:
        hold = _lapsed(case)
        if hold.late == "refuse":
            ended = f"hold {hold.id!r} ended at {hold.ends_at}"
            raise HoldExpired(f"{ended}; it refuses late settling: charge anew, or let it go")
    if hold.usage:
        return _settle_usage(case, books, hold, lapsed=lapsed)
    return _settle_credits(case, books, hold, lapsed=lapsed)


def release(case: Case) -> Verdict[Decision]:
    """Give back all that a hold pins; one that lapsed has given it back already, and is closed to late settling."""
    books = case.books()
    hold = books.holds.get(case.value("hold"))
    lapsed = hold is None
    if hold is None:
        hold = _lapsed(case)
        entries = [Entry("nothing", case.at, hold.subject, data={"hold": hold.id, "state": "released"})]
    else:
        entries = [*give_back(books, hold, case.at, why="released")]
        entries += freed(books, tuple(block for block, _ in hold.slices), case.at)
    decision = attrs.evolve(_released(case, hold, lapsed=lapsed), receipt=Receipt(case.key, seq_after(case, entries)))
    return verdict(case, entries, decision, remembered(decision))


def hold_of(batch: Batch) -> OpenHold | None:
    """Return the hold a batch opened, as it was opened, None for a batch that opened none."""
    for entry in batch.entries:
        if entry.kind == "reserved":
            return cast("OpenHold", entry.data["hold"])
    return None


def check_closed(case: Case, prior: Batch) -> None:
    """Raise HoldClosed where a hold was closed before by another verb or with another amount."""
    if case.request.asked != prior.request:
        raise HoldClosed(case.value("hold"), CLOSED[prior.request["verb"]])


def _lapsed(case: Case) -> OpenHold:
    batch = case.found.get(case.value("hold"))
    hold = hold_of(batch) if batch is not None else None
    if hold is None:
        raise UnknownHold(case.value("hold"), case.books().holds, hint="a hold's id is the key it was reserved with")
    return hold


def _ends(case: Case) -> datetime | None:
    ttl: timedelta | None = case.value("ttl")
    try:
        return None if ttl is None else case.at + ttl
    except OverflowError:
        raise ValueError(f"ttl is {ttl}; the hold would end beyond the year 9999") from None


def _late(case: Case) -> Late:
    return cast("Late", case.value("late") or "charge")


def _settle_credits(case: Case, books: Books, hold: OpenHold, *, lapsed: bool) -> Verdict[Decision]:
    if hold.subject not in case.catalog.credits:
        return Verdict(unknown_credit(case, hold.subject))
    credit = case.catalog.credits[hold.subject]
    units = to_units(case.value("amount"), credit.scale)
    charge = Charge(credit, units, hold.purpose, credit.depletion, case.at)
    before = available(books, charge) + (0 if lapsed else hold.units)
    drawn = _draw(case, books, hold, charge, lapsed=lapsed)
    use = Use(credit=credit.key, charged=drawn.payment.taken, scope=dict(hold.purpose.scope))
    under = _settled_loads(hold, loads(case, use), lapsed=lapsed)
    entries = [*drawn.entries, *_beyond(case, under), *crossings(case, under)]
    if not lapsed:
        left = attrs.evolve(hold, slices=drawn.rest, budgets=_unused(hold, 0, drawn.payment.taken))
        entries += give_back(books, left, case.at, why="settled")
    entries += pay(books, *drawn.more)
    entries += freed(books, tuple(block for block, _ in drawn.rest), case.at)
    entries = entries or [Entry("nothing", case.at, credit.key)]
    after = available(books, charge)
    return settled(case, charge, entries, drawn.payment, before, after, late=lapsed, budgets=caps(under, booked=True))


@attrs.frozen
class Draw:
    """What a hold pays of a charge: its lines, who pays in all, what is left of it, and what is paid beyond."""

    entries: list[Entry]
    payment: Payment
    rest: tuple[tuple[str, int], ...]
    more: tuple[Charge, Payment]


def _draw(case: Case, books: Books, hold: OpenHold, charge: Charge, *, lapsed: bool) -> Draw:
    """Return how a charge is paid out of a hold and beyond it; what is settled is posted.

    Where anything is left of the hold nothing is paid beyond it, so that what is left may return later.
    """
    mine = not lapsed and _is_in(books, hold, charge.credit.key)
    used, rest = _split(hold, charge.units) if mine else ({}, () if lapsed else hold.slices)
    entries = [
        post(books, Entry("settled", case.at, charge.credit.key, amount=amount, block=block, data={"hold": hold.id}))
        for block, amount in used.items()
    ]
    own = 0 if lapsed else promised_of(hold, charge.credit.key)
    more = attrs.evolve(charge, units=charge.units - sum(used.values()), promised=own)
    payment = payment_of(books, more)
    burned = {block: used.get(block, 0) + payment.burned.get(block, 0) for block in (*used, *payment.burned)}
    return Draw(entries, attrs.evolve(payment, burned=burned), rest, (more, payment))


def _is_in(books: Books, hold: OpenHold, credit: str) -> bool:
    """Tell whether what a hold pins and promises is of this credit: the price may be in another by now."""
    pinned = [books.blocks[block].credit for block, _ in hold.slices]
    return {*pinned, *(name for name, _ in hold.promised)} <= {credit}


def _unused(hold: OpenHold, usage: int, credits_: int) -> tuple[HeldBudget, ...]:
    """Return what a hold counts in budgets beyond what it came to, in units of usage and of its own credit."""
    came_to = {"usage": usage, "credit": credits_}
    return tuple(
        held._replace(units=held.units - came_to[held.of]) for held in hold.budgets if held.units > came_to[held.of]
    )


def _settled_loads(hold: OpenHold, under: Iterable[Load], *, lapsed: bool) -> tuple[Load, ...]:
    """Return the budgets under a settled charge as they are after it: what its hold counts there is a part of it."""
    held = {} if lapsed else {known.id: known for known in hold.budgets}
    return tuple(_settled_load(load, held.get(load.budget.id)) for load in under)


def _settled_load(load: Load, held: HeldBudget | None) -> Load:
    more = load.units - (held.units if held is not None else 0)
    same = held is not None and held.start == load.counter[1]
    return load._replace(after=load.used + (more if same else max(0, more)))


def _beyond(case: Case, under: Iterable[Load]) -> Iterator[Entry]:
    """Yield what a settled charge counts in budgets beyond what its hold counts there already."""
    return budget_lines(case, (load for load in under if load.units > 0))


def _split(hold: OpenHold, units: int) -> tuple[dict[str, int], tuple[tuple[str, int], ...]]:
    """Return what units of use take of each slice of a hold, in their order, and what is left of each."""
    used: dict[str, int] = {}
    rest: list[tuple[str, int]] = []
    for block, held in hold.slices:
        taken = min(held, units)
        units -= taken
        if taken:
            used[block] = taken
        if held > taken:
            rest.append((block, held - taken))
    return used, tuple(rest)


def _settle_usage(case: Case, books: Books, hold: OpenHold, *, lapsed: bool) -> Verdict[Decision]:
    if hold.subject not in case.catalog.features:
        return Verdict(unknown_feature(case.catalog, case.customer, hold.subject, case.at))
    question = asked(attrs.evolve(case, request=_as_use(case, hold)))
    units, held = question.requested, 0 if lapsed else hold.units
    price = price_asked(case, question, units)
    bill = None if price is None else bill_for(case, question, price, books)
    drawn = None if bill is None else _draw(case, books, hold, bill.charge, lapsed=lapsed)
    charged = 0 if drawn is None else drawn.payment.taken
    under = _settled_loads(hold, loads(case, use_of(case, question, units, charged)), lapsed=lapsed)
    entries: list[Entry] = [] if drawn is None else [*drawn.entries]
    if bill is not None:
        entries.append(bill.stamp(case, question))
    entries += [*_beyond(case, under), *crossings(case, under)]
    if not lapsed:
        back = tuple((name, start, amount - units) for name, start, amount in hold.counters if amount > units)
        rest = hold.slices if drawn is None else drawn.rest
        own = charged if bill is not None and _is_in(books, hold, bill.price.credit) else 0
        left = attrs.evolve(hold, slices=rest, counters=back, budgets=_unused(hold, units, own))
        entries += give_back(books, left, case.at, why="settled")
        entries += freed(books, tuple(block for block, _ in rest), case.at)
    if drawn is not None:
        entries += pay(books, *drawn.more)
    allowed, overage = True, from_units(0, question.feature.scale)
    if units > held:
        more = attrs.evolve(question, requested=units - held, kinds=None)
        decision, metered, _ = judge(more, case.entitlements, case.head, case.counters)
        allowed, overage = decision.allowed, more.number if decision.limit is None else decision.overage
        entries += _counted(case, hold.subject, metered.values(), "recorded", more.requested)
    entries = entries or [Entry("nothing", case.at, hold.subject)]
    told: dict[str, Any] = {"overage": overage, "budgets": caps(under, booked=True)}
    entries, answered = standing_after(case, question, entries, units, **told)
    answered = attrs.evolve(answered, overage=_over(answered))
    code: Code | None = None if allowed else "limit_reached"
    if bill is not None and drawn is not None:
        bill = attrs.evolve(bill, payment=drawn.payment)
        free, burned = available(books, bill.charge), sum(drawn.payment.burned.values())
        receipt = attrs.evolve(cast("Receipt", answered.receipt), **paid_for(bill, free))
        answered = attrs.evolve(answered, receipt=receipt)
        if drawn.payment.short and code is None:
            answered = unpaid(answered, bill.charge, free + burned, drawn.payment.taken)
    return _flagged(case, entries, answered, code=code, late=lapsed)


def _over(answered: Decision) -> Number:
    """Return how much of what a hold was settled with lies beyond the limit, of what was held as of what was not."""
    used, limit = answered.used, answered.limit
    if used is None or limit is None or isinstance(limit, Unlimited):
        return answered.overage
    return max(answered.overage, min(answered.requested, cast("Number", left_of(used, limit))))


def _counted(case: Case, feature: str, metered: Iterable[Meter], kind: str, units: int) -> Iterator[Entry]:
    """Yield the lines that count units in each meter, opening windows that begin with them."""
    for meter in metered:
        if case.counters.get(meter.counter, 0) + units > MAX_UNITS:
            raise AmountError(f"{feature!r} would come to more than a counter holds; reset or free it first")
        if meter.fresh and units:
            yield Entry("opened", case.at, feature, *meter.counter)
        yield Entry(kind, case.at, feature, *meter.counter, units)


def _as_use(case: Case, hold: OpenHold) -> Request:
    scope = FrozenDict(hold.purpose.scope) or None
    told = {"feature": hold.subject, "scope": scope, "dimensions": FrozenDict(hold.dimensions)}
    return attrs.evolve(case.request, values={**case.request.values, **told})


def _flagged(
    case: Case, entries: Sequence[Entry], decision: Decision, *, code: Code | None = None, late: bool = False
) -> Verdict[Decision]:
    receipt = attrs.evolve(cast("Receipt", decision.receipt), late=late)
    flagged = attrs.evolve(decision, receipt=receipt)
    if code is not None:
        flagged = attrs.evolve(flagged, allowed=False, code=code, outcome="block")
    return verdict(case, entries, flagged, remembered(flagged))


def _released(case: Case, hold: OpenHold, *, lapsed: bool) -> Decision:
    version = case.catalog.version
    subject = hold.purpose.feature or hold.subject
    said = f"hold {hold.id!r} is released, and gave back what it held"
    if lapsed:
        said = f"hold {hold.id!r} ended on {moment(cast('datetime', hold.ends_at))}, and gave back what it held then"
    return Decision(True, "ok", case.customer, subject, requested=0, catalog_version=version, at=case.at, said=said)
