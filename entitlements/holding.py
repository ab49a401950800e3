"""Holds: credits or usage set aside before the work, settled or released once after it.

Settling and releasing share one key for each hold, so exactly one of them ever takes effect. A hold
lapses at its end by itself; what is settled after that is a plain charge, flagged late.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import cast

import attrs

from .amounts import MAX_UNITS, exact, from_units, to_units
from .cases import Case, verdict
from .decisions import Decision, Receipt, stored
from .errors import AmountError, HoldClosed, HoldExpired, UnknownHold
from .granting import freed
from .judging import judge, unknown_feature
from .ledger.blocks import Late, OpenHold
from .ledger.crediting import Books
from .ledger.due import release as give_back
from .ledger.entries import Batch, Entry, Verdict
from .metering import Meter
from .requests import Request
from .spending import (
    Charge,
    available,
    charge_of,
    credit_decision,
    insufficient,
    is_late,
    passes,
    pay,
    payment_of,
    post,
    purpose_of,
    refused,
    remembered,
    seq_after,
    settled,
    unknown_credit,
)
from .upgrades import with_upgrade
from .using import asked, counted_after

CLOSED = {"settle": "settled", "release": "released"}


def reserve_credits(case: Case) -> Verdict[Decision]:
    """Set credits aside; denied like a charge, save that a soft credit holds what there is and owes when settled."""
    refusal = refused(case)
    if refusal is not None:
        return Verdict(refusal)
    charge, books, late = charge_of(case), case.books(), is_late(case)
    before, payment = available(books, charge), payment_of(books, charge)
    if not passes(charge, payment):
        return Verdict(insufficient(case, charge, before))
    slices = tuple(payment.burned.items())
    pinned = sum(units for _, units in slices)
    hold = OpenHold(case.key, charge.credit.key, pinned, charge.purpose, _ends(case), _late(case), slices)
    lines = [Entry("reserved", case.at, hold.subject, data={"hold": hold})]
    lines += [
        Entry("held", case.at, hold.subject, amount=units, block=block, data={"hold": hold.id})
        for block, units in slices
    ]
    entries = [post(books, line) for line in lines]
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
    return verdict(case, entries, decision, stored(decision))


def reserve(case: Case) -> Verdict[Decision]:
    """Set usage of a metered feature aside: it counts at once, and what is not settled is given back."""
    if case.value("feature") not in case.catalog.features:
        return Verdict(unknown_feature(case.catalog, case.customer, case.value("feature"), case.at))
    question = asked(case)
    feature = question.feature
    if feature.aggregate != "sum":
        raise ValueError(f"feature {feature.key!r} counts {feature.aggregate}; only sums can be held")
    late = is_late(case)
    decision, metered, fits = judge(question, case.entitlements, case.head, case.counters)
    if not decision:
        return Verdict(with_upgrade(decision, question, case))
    counters = tuple((*meter.counter, fits) for meter in metered.values())
    hold = OpenHold(case.key, feature.key, fits, purpose_of(case), _ends(case), _late(case), (), counters)
    entries = [
        Entry("reserved", case.at, feature.key, data={"hold": hold}),
        *_counted(case, feature.key, metered.values(), "usage_held", fits),
    ]
    answered = counted_after(case, question, entries, fits, overage=decision.overage)
    return _flagged(case, entries, answered.result, late=late) if late else answered


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
            raise HoldExpired(f"hold {hold.id!r} ended at {hold.ends_at}; it refuses late settling")
    if hold.counters:
        return _settle_usage(case, books, hold, lapsed=lapsed)
    return _settle_credits(case, books, hold, lapsed=lapsed)


def release(case: Case) -> Verdict[Decision]:
    """Give back all that a hold pins; one that lapsed has given it back already, and is closed to late settling."""
    books = case.books()
    hold = books.holds.get(case.value("hold"))
    if hold is None:
        hold = _lapsed(case)
        entries = [Entry("nothing", case.at, hold.subject, data={"hold": hold.id, "state": "released"})]
    else:
        entries = [*give_back(books, hold, case.at, why="released")]
        entries += freed(books, tuple(block for block, _ in hold.slices), case.at)
    decision = attrs.evolve(_released(case, hold), receipt=Receipt(case.key, seq_after(case, entries)))
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
    used, rest = ({}, ()) if lapsed else _split(hold, units)
    entries = [
        post(books, Entry("settled", case.at, hold.subject, amount=amount, block=block, data={"hold": hold.id}))
        for block, amount in used.items()
    ]
    if not lapsed:
        entries += give_back(books, attrs.evolve(hold, slices=rest), case.at, why="settled")
    more = attrs.evolve(charge, units=units - sum(used.values()))
    payment = payment_of(books, more)
    entries += pay(books, more, payment)
    entries += freed(books, tuple(block for block, _ in rest), case.at)
    burned = {block: used.get(block, 0) + payment.burned.get(block, 0) for block in (*used, *payment.burned)}
    whole = attrs.evolve(payment, burned=burned)
    entries = entries or [Entry("nothing", case.at, credit.key)]
    return settled(case, charge, entries, whole, before, available(books, charge), late=lapsed)


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
    entries: list[Entry] = []
    if not lapsed:
        back = tuple((name, start, amount - units) for name, start, amount in hold.counters if amount > units)
        entries += give_back(books, attrs.evolve(hold, counters=back), case.at, why="settled")
    allowed, overage = True, from_units(0, question.feature.scale)
    if units > held:
        more = attrs.evolve(question, requested=units - held)
        decision, metered, _ = judge(more, case.entitlements, case.head, case.counters)
        allowed, overage = decision.allowed, more.number if decision.limit is None else decision.overage
        entries += _counted(case, hold.subject, metered.values(), "recorded", more.requested)
    entries = entries or [Entry("nothing", case.at, hold.subject)]
    answered = counted_after(case, question, entries, units, overage=overage)
    return _flagged(case, entries, answered.result, allowed=allowed, late=lapsed)


def _counted(case: Case, feature: str, metered: Iterable[Meter], kind: str, units: int) -> Iterator[Entry]:
    """Yield the lines that count units in each meter, opening windows that begin with them."""
    for meter in metered:
        if case.counters.get(meter.counter, 0) + units > MAX_UNITS:
            raise AmountError(f"{feature!r} would come to more than a counter holds; reset or free it first")
        if meter.fresh and units:
            yield Entry("opened", case.at, feature, *meter.counter)
        yield Entry(kind, case.at, feature, *meter.counter, units)


def _as_use(case: Case, hold: OpenHold) -> Request:
    return attrs.evolve(case.request, values={**case.request.values, "feature": hold.subject})


def _flagged(
    case: Case, entries: Sequence[Entry], decision: Decision, *, allowed: bool = True, late: bool = False
) -> Verdict[Decision]:
    receipt = attrs.evolve(cast("Receipt", decision.receipt), late=late)
    flagged = attrs.evolve(decision, receipt=receipt)
    if not allowed:
        flagged = attrs.evolve(flagged, allowed=False, code="limit_reached", outcome="block")
    return verdict(case, entries, flagged, remembered(flagged))


def _released(case: Case, hold: OpenHold) -> Decision:
    version = case.catalog.version
    subject = hold.purpose.feature or hold.subject
    return Decision(True, "ok", case.customer, subject, requested=0, catalog_version=version, at=case.at)
