"""Holds: credits or usage set aside before the work, settled or released once after it.

Settling and releasing share one key for each hold, so exactly one of them ever takes effect. A hold
lapses at its end by itself; what is settled after that is a plain charge, flagged late.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import cast

import attrs

from .amounts import exact, from_units, to_units
from .cases import Case, verdict
from .catalog.model import Credit
from .decisions import Decision, Receipt, stored
from .errors import HoldClosed, HoldExpired, LogCorrupt, UnknownHold
from .granting import freed
from .judging import after_aggregate, judge, unknown_feature
from .ledger.blocks import OpenHold
from .ledger.burn import burn, burn_order, usable
from .ledger.crediting import Books
from .ledger.due import release as give_back
from .ledger.entries import Batch, Entry, Verdict
from .spending import (
    Charge,
    Paid,
    available,
    charge_of,
    credit_decision,
    insufficient,
    pay,
    post,
    refused,
    seq_after,
    settled,
)
from .upgrades import with_upgrade
from .using import asked, counted_after

CLOSED = {"settle": "settled", "release": "released"}


def reserve_credits(case: Case) -> Verdict[Decision]:
    """Set credits aside; denied like a charge, except that a soft credit holds what there is and owes only when settled."""
    refusal = refused(case)
    if refusal is not None:
        return Verdict(refusal)
    charge, books = charge_of(case), case.books()
    before = available(books, charge)
    blocks = usable(books.blocks.values(), charge.credit.key, charge.purpose, case.at)
    slices, short = burn(burn_order(blocks, charge.credit.burn_order), charge.units)
    if short and (charge.depletion == "hard" or (charge.depletion == "partial" and not slices)):
        return Verdict(insufficient(case, charge, before))
    hold = OpenHold(
        case.key, charge.credit.key, charge.units - short, charge.purpose, _ends(case), _late(case), tuple(slices)
    )
    entries = [post(books, Entry("reserved", case.at, hold.subject, data={"hold": hold}))]
    entries += [
        post(books, Entry("held", case.at, hold.subject, amount=units, block=block, data={"hold": hold.id}))
        for block, units in slices
    ]
    scale = charge.credit.scale
    receipt = Receipt(
        case.key,
        seq_after(case, tuple(entries)),
        booked=exact(hold.units, scale),
        balance_after=exact(available(books, charge), scale),
    )
    decision = credit_decision(case, charge, before=before, taken=hold.units, overage=short, receipt=receipt)
    return verdict(case, entries, decision, stored(decision))


def reserve(case: Case) -> Verdict[Decision]:
    """Set usage of a metered feature aside: it counts at once, and what is not settled is given back."""
    if case.value("feature") not in case.catalog.features:
        return Verdict(unknown_feature(case.catalog, case.customer, case.value("feature"), case.at))
    question = asked(case)
    feature = question.feature
    if feature.aggregate != "sum":
        raise ValueError(f"feature {feature.key!r} counts {feature.aggregate}; only sums can be held")
    decision, metered, fits = judge(question, case.entitlements, case.head, case.counters)
    if not decision:
        return Verdict(with_upgrade(decision, question, case))
    counters = tuple((meter.counter[0], meter.counter[1], fits) for meter in metered.values())
    purpose = attrs.evolve(_NO_PURPOSE, feature=feature.key, scope=tuple((case.value("scope") or {}).items()))
    hold = OpenHold(case.key, feature.key, fits, purpose, _ends(case), _late(case), (), counters)
    opened = [
        Entry("opened", case.at, feature.key, meter.counter[0], meter.counter[1])
        for meter in metered.values()
        if meter.fresh
    ]
    lines = [Entry("usage_held", case.at, feature.key, name, start, fits) for name, start, _ in counters]
    entries = (*opened, Entry("reserved", case.at, feature.key, data={"hold": hold}), *lines)
    return counted_after(case, question, entries, fits, overage=decision.overage)


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
    if hold.subject in case.catalog.features and hold.counters:
        return _settle_usage(case, books, hold, lapsed=lapsed)
    return _settle_credits(case, books, hold, lapsed=lapsed)


def release(case: Case) -> Verdict[Decision]:
    """Give back all that a hold pins; a hold that lapsed has given it back already."""
    books = case.books()
    hold = books.holds.get(case.value("hold"))
    if hold is None:
        return Verdict(_released(case, _lapsed(case)))
    entries = list(give_back(books, hold, case.at, why="released"))
    entries += freed(books, tuple(block for block, _ in hold.slices), case.at)
    decision = attrs.evolve(_released(case, hold), receipt=Receipt(case.key, seq_after(case, tuple(entries))))
    return verdict(case, entries, decision, stored(decision))


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


def _late(case: Case) -> str:
    return case.value("late") or "charge"


def _credit_of(case: Case, hold: OpenHold) -> Credit:
    if hold.subject not in case.catalog.credits:
        raise LogCorrupt(f"hold {hold.id!r} is on {hold.subject!r}, which the catalog no longer names")
    return case.catalog.credits[hold.subject]


def _settle_credits(case: Case, books: Books, hold: OpenHold, *, lapsed: bool) -> Verdict[Decision]:
    credit = _credit_of(case, hold)
    units = to_units(case.value("amount"), credit.scale)
    charge = Charge(credit, units, hold.purpose, credit.depletion, case.at)
    before = available(books, charge)
    entries, taken = ([], 0) if lapsed else _settle_slices(case, books, hold, units)
    more = attrs.evolve(charge, units=units - taken)
    paid = pay(books, more, beyond=True) if more.units else Paid((), {})
    if paid is None:
        raise LogCorrupt(f"settling hold {hold.id!r} was denied, and settling never is")
    entries += paid.entries
    entries += freed(books, tuple(block for block, _ in hold.slices), case.at)
    burned = dict(paid.burned)
    for entry in entries:
        if entry.kind == "settled":
            burned[entry.block] = burned.get(entry.block, 0) + entry.amount
    whole = Paid(paid.entries, burned, paid.owed, paid.short)
    posted = tuple(entries) or (Entry("nothing", case.at, credit.key),)
    answered = settled(case, charge, posted, whole, before + taken, available(books, charge))
    return _flagged(case, posted, answered.result, short=paid.short and credit.depletion != "partial", late=lapsed)


def _settle_slices(case: Case, books: Books, hold: OpenHold, units: int) -> tuple[list[Entry], int]:
    """Charge the held slices in their order and give the rest back, posting each entry."""
    entries: list[Entry] = []
    rest: list[tuple[str, int]] = []
    left = units
    for block, held in hold.slices:
        used = min(left, held)
        left -= used
        if used:
            line = Entry("settled", case.at, hold.subject, amount=used, block=block, data={"hold": hold.id})
            entries.append(post(books, line))
        if held > used:
            rest.append((block, held - used))
    entries += give_back(books, attrs.evolve(hold, slices=tuple(rest)), case.at, why="settled")
    return entries, units - left


def _settle_usage(case: Case, books: Books, hold: OpenHold, *, lapsed: bool) -> Verdict[Decision]:
    question = asked(attrs.evolve(case, request=_as_use(case, hold)))
    units, held = question.requested, 0 if lapsed else hold.units
    entries: list[Entry] = []
    if not lapsed:
        back = tuple((name, start, max(0, amount - units)) for name, start, amount in hold.counters)
        given = attrs.evolve(hold, counters=tuple(counter for counter in back if counter[2]))
        entries += give_back(books, given, case.at, why="settled")
    short = 0
    if units > held:
        more = attrs.evolve(question, requested=units - held)
        decision, metered, fits = judge(more, case.entitlements, case.head, case.counters)
        short = 0 if decision else more.requested - fits
        for meter in metered.values():
            used = case.counters.get(meter.counter, 0)
            amount = after_aggregate(question.feature, used, more.requested) - used
            entries.append(Entry("recorded", case.at, hold.subject, meter.counter[0], meter.counter[1], amount))
    posted = tuple(entries) or (Entry("nothing", case.at, hold.subject),)
    answered = counted_after(case, question, posted, units, overage=from_units(short, question.feature.scale))
    return _flagged(case, posted, answered.result, short=short, late=lapsed)


def _as_use(case: Case, hold: OpenHold) -> object:
    return attrs.evolve(case.request, values={**case.request.values, "feature": hold.subject})


def _flagged(
    case: Case, entries: tuple[Entry, ...], decision: Decision, *, short: int | bool, late: bool
) -> Verdict[Decision]:
    receipt = attrs.evolve(cast("Receipt", decision.receipt), late=late)
    flagged = attrs.evolve(decision, receipt=receipt)
    if short:
        code = "insufficient_credits" if decision.source and decision.source.startswith("credit:") else "limit_reached"
        flagged = attrs.evolve(flagged, allowed=False, code=code, outcome="block")
    return verdict(case, entries, flagged, stored(flagged))


def _released(case: Case, hold: OpenHold) -> Decision:
    version = case.catalog.version
    subject = hold.purpose.feature or hold.subject
    return Decision(True, "ok", case.customer, subject, requested=0, catalog_version=version, at=case.at)
