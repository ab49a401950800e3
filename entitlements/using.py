"""The verbs of usage: consume obeys the limit, record never refuses, free gives back, reset starts again.

Each checks first and then books one entry for every period in which the feature is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from .amounts import MAX_UNITS, from_units, to_units
from .budgeting import caps, loads
from .cases import Case, verdict
from .catalog.model import Feature, Period
from .charging import Judgement, booked, judged, meters_of, paid_for, recorded, use_of
from .decisions import Decision, Receipt, stored
from .errors import AmountError
from .judging import Finding, found, judge, unknown_feature
from .ledger.entries import CounterKey, Entry, Verdict
from .ledger.state import USAGE_KINDS, counted
from .metering import Meter, is_stale, meters, sampled, shortest
from .periods import duration_text
from .thresholds import limit_crossings
from .upgrades import with_upgrade
from .weighing import Question, after_aggregate

_ANY_WINDOW = frozenset({"free", "correct_usage"})
"""Verbs that put right what was booked before, however long ago."""
_ADDED_UP = frozenset({"sum", "count"})
"""Aggregates by which a longer window counts what the shorter ones in it count together."""


def consume(case: Case) -> Verdict[Decision]:
    """Check and book in one step; a denial books nothing.

    Raises ValueError for a feature that is not metered or usage outside what `backdate` allows,
    AmountError for an amount finer than the feature's scale or beyond what a counter holds.
    """
    if case.value("feature") not in case.catalog.features:
        return Verdict(_unknown(case))
    question = asked(case)
    judgement = judged(case, question)
    if not judgement.allowed:
        return Verdict(with_upgrade(judgement.decision, question, case))
    return _book(case, question, judgement, "used")


def record(case: Case) -> Verdict[Decision]:
    """Book usage that already happened, whatever the limit; the decision says how far over it is.

    Of a priced use what can be paid is, and the receipt says what is left unpaid.
    """
    if case.value("feature") not in case.catalog.features:
        return Verdict(_unknown(case))
    question = asked(case)
    return _book(case, question, recorded(case, question), "recorded")


def free(case: Case) -> Verdict[Decision]:
    """Give back usage in the window it was taken in; raises AmountError for more than is in use there.

    What is counted without windows (a seat) has but one. It leaves the budgets it was counted in, too.
    """
    if case.value("feature") not in case.catalog.features:
        return Verdict(_unknown(case))
    question = asked(case)
    feature = question.feature
    if feature.aggregate != "sum":
        raise ValueError(f"feature {feature.key!r} counts {feature.aggregate}; only sums go down")
    if not case.is_known:
        return Verdict(_stranger(case, question))
    metered = meters(case.entitlements, case.head.opened, feature, question.occurred_at or case.at)
    used = _in_use(case, metered[feature.reset].counter)
    if question.requested > used:
        raise AmountError(_not_in_use(question, used))
    lines = []
    for meter in metered.values():
        back = min(question.requested, _in_use(case, meter.counter))
        lines.append(_line("freed", feature, meter, case.at, -back))
    return counted_after(case, question, lines, question.requested, beside=_out_of_budgets(case, question))


def _out_of_budgets(case: Case, question: Question) -> list[Entry]:
    """Return the lines that take what is freed out of the budgets on its feature; what is held there stays."""
    under = [load for load in loads(case, use_of(case, question, 0, 0)) if load.budget.feature is not None]
    backs = [min(question.requested, max(0, _in_use(case, load.counter))) for load in under]
    return [
        Entry("budget_refunded", case.at, load.budget.subject, *load.counter, -back)
        for load, back in zip(under, backs, strict=True)
        if back
    ]


def correct_usage(case: Case) -> Verdict[Decision]:
    """Set what is used in a window to what it truly was, up or down; what holds set aside stays beside it.

    The window is the shortest the customer has a limit in; where uses add up the others move by as much.
    """
    if case.value("feature") not in case.catalog.features:
        return Verdict(_unknown(case))
    question = asked(case)
    if not case.is_known:
        return Verdict(_stranger(case, question))
    feature, at = question.feature, question.occurred_at or case.at
    metered = meters(case.entitlements, case.head.opened, feature, at)
    told = shortest(case.entitlements, feature, metered)
    reason = {"reason": case.value("reason")} if case.value("reason") else {}
    lines = []
    for meter in metered.values():
        change = _corrected_by(case, question, meter, told)
        if meter.fresh and change:
            lines.append(Entry("opened", at, feature.key, *meter.counter))
        lines.append(attrs.evolve(_line("usage_corrected", feature, meter, at, change), data=reason))
        lines += sampled(feature, meter.counter, case.counters, at)
    return counted_after(case, question, lines, question.requested)


def _corrected_by(case: Case, question: Question, meter: Meter, told: Meter) -> int:
    """Return by how much a meter changes where what is used by the one that was `told` of is corrected."""
    used = _in_use(case, meter.counter)
    if question.feature.aggregate not in _ADDED_UP:
        return question.requested - used
    change = max(question.requested - _in_use(case, told.counter), -used)
    if case.counters.get(meter.counter, 0) + change > MAX_UNITS:
        raise AmountError(f"{question.feature.key!r} would come to more than a counter holds; reset or free it first")
    return change


def _in_use(case: Case, counter: CounterKey) -> int:
    """Return what is counted and not merely held."""
    return case.counters.get(counter, 0) - case.held(counter)


def _not_in_use(question: Question, used: int) -> str:
    feature = question.feature
    in_use = from_units(used, feature.scale)
    said = f"cannot free {question.number} of {feature.key!r}: {in_use} in use"
    windowed = feature.reset.every != "none" and question.occurred_at is None
    return f"{said} since the last reset; say with occurred_at= when it was taken" if windowed else said


def reset_usage(case: Case) -> Verdict[Decision]:
    """Start a feature's usage again from zero in every window that is open now."""
    if case.value("feature") not in case.catalog.features:
        return Verdict(_unknown(case))
    question = asked(case)
    if not case.is_known:
        return Verdict(_stranger(case, question))
    metered = meters(case.entitlements, case.head.opened, question.feature, case.at)
    lines = [
        _line(
            "usage_reset",
            question.feature,
            meter,
            case.at,
            case.held(meter.counter) - case.counters.get(meter.counter, 0),
        )
        for meter in metered.values()
    ]
    return counted_after(case, question, lines, 0)


def asked(case: Case) -> Question:
    """Return the question a usage request comes to; raises as `consume` does."""
    feature = case.feature()
    if feature.type != "metered":
        raise ValueError(
            f"feature {feature.key!r} is {feature.type}; only metered features are used up, check it instead"
        )
    units, kinds = _units(case, feature)
    return Question(
        case.customer,
        feature,
        units,
        case.at,
        depletion=case.value("depletion"),
        scope=case.value("scope"),
        occurred_at=_occurred_at(case, feature),
        throttle_within=case.throttle_within,
        dimensions=case.value("dimensions"),
        kinds=kinds,
    )


def _units(case: Case, feature: Feature) -> tuple[int, Mapping[str, int] | None]:
    """Return the units a request names, and what they are by kind where it tells kinds apart."""
    amount = case.value("amount")
    if amount is None or isinstance(amount, str):
        return 0 if amount is None else to_units(amount, feature.scale), None
    if feature.key not in case.catalog.rates:
        raise AmountError(
            f"amount is a mapping of kinds; only a feature with a rate by kind takes one, not {feature.key!r}"
        )
    kinds = {kind: to_units(units, feature.scale, what=f"amount of {kind}") for kind, units in amount.items()}
    if sum(kinds.values()) > MAX_UNITS:
        raise AmountError(f"the kinds of {feature.key!r} come to more than a counter holds")
    return sum(kinds.values()), kinds


def _unknown(case: Case) -> Decision:
    return unknown_feature(case.catalog, case.customer, case.value("feature"), case.at)


def _stranger(case: Case, question: Question) -> Decision:
    decision, _, _ = judge(question, case.entitlements, case.head, case.counters)
    return with_upgrade(decision, question, case)


def _occurred_at(case: Case, feature: Feature) -> datetime | None:
    occurred_at: datetime | None = case.value("occurred_at")
    if occurred_at is None or occurred_at == case.at:
        return None
    if occurred_at > case.at:
        raise ValueError(f"occurred_at is {occurred_at.isoformat()}, which is still to come at {case.at.isoformat()}")
    if case.request.verb in _ANY_WINDOW:
        return occurred_at
    if case.at - occurred_at > feature.backdate:
        late = f"usage up to {duration_text(feature.backdate)} late" if feature.backdate else "no late usage"
        raise ValueError(
            f"occurred_at is {occurred_at.isoformat()}; feature {feature.key!r} takes {late} (backdate in the catalog)"
        )
    return occurred_at


def _book(case: Case, question: Question, judgement: Judgement, kind: str) -> Verdict[Decision]:
    feature, at, units = question.feature, question.occurred_at or case.at, judgement.fits
    lines: list[Entry] = []
    for meter in judgement.metered.values():
        used = case.counters.get(meter.counter, 0)
        stale = question.occurred_at is not None and is_stale(meter.counter, case.counters, at)
        after = after_aggregate(feature, used, units, stale=stale)
        if after > MAX_UNITS:
            raise AmountError(f"{feature.key!r} would come to more than a counter holds; reset or free it first")
        if meter.fresh and units:
            lines.append(Entry("opened", at, feature.key, meter.counter[0], meter.counter[1]))
        lines.append(_line(kind, feature, meter, at, after - used))
        lines += sampled(feature, meter.counter, case.counters, at)
    return counted_after(case, question, lines, units, judgement=judgement, overage=judgement.overage)


def _line(kind: str, feature: Feature, meter: Meter, at: datetime, amount: int) -> Entry:
    return Entry(kind, at, feature.key, meter.counter[0], meter.counter[1], amount)


def counted_after(case: Case, question: Question, lines: Sequence[Entry], units: int, **told: Any) -> Verdict[Decision]:
    """Append the lines, and what a judgement books beside them, and answer with what stands after them."""
    entries, decision = standing_after(case, question, lines, units, **told)
    return verdict(case, entries, decision, stored(decision))


def standing_after(
    case: Case,
    question: Question,
    lines: Sequence[Entry],
    units: int,
    *,
    judgement: Judgement | None = None,
    beside: Sequence[Entry] = (),
    **shown: Any,
) -> tuple[list[Entry], Decision]:
    """Return the lines with what a judgement books beside them, and the decision on what stands after them."""
    entries = [*_with_circumstances(case, lines), *beside]
    if judgement is not None:
        entries += booked(case, question, judgement)
        shown["budgets"] = caps(judgement.under, booked=True)
    standing = _standing(case, question, lines, meters_of(case, question) if judgement is None else judgement.metered)
    if question.feature.alerts:
        entries += _crossings(case, question, standing.decision)
    late = question.occurred_at is not None
    counts = from_units(units, question.feature.scale)
    bill = None if judgement is None else judgement.bill
    paid = {} if bill is None else paid_for(bill, bill.left)
    receipt = Receipt(case.key, case.head.seq + len(case.due) + len(entries), late=late, booked=counts, **paid)
    return entries, standing.booked(question.number, receipt=receipt, **shown)


def _standing(
    case: Case, question: Question, lines: Sequence[Entry], metered: Mapping[Period, Meter] | None
) -> Finding:
    """Return what is found of nothing more, once the lines are booked."""
    after, opened = _counters_after(case, lines)
    head, asked_for = case.head, question.for_nothing()
    if head.known and not opened:
        return found(asked_for, case.entitlements, head, after, metered)
    head = attrs.evolve(head, opened={**head.opened, **opened}, batches=head.batches + 1)
    return found(asked_for, case.entitlements, head, after)


def _crossings(case: Case, question: Question, standing: Decision) -> Iterator[Entry]:
    """Yield the lines that tell where usage comes up to a threshold of the limit that is shown."""
    stood, _, _ = judge(question.for_nothing(), case.entitlements, case.head, case.counters)
    yield from limit_crossings(question.feature, stood, standing, case.at)


def _with_circumstances(case: Case, lines: Sequence[Entry]) -> Sequence[Entry]:
    told = {name: case.value(name) for name in ("scope", "dimensions") if case.value(name)}
    if not told:
        return lines
    return [_telling(line, told) if line.kind in USAGE_KINDS else line for line in lines]


def _telling(line: Entry, told: Mapping[str, Any]) -> Entry:
    counter = (line.counter, line.window, line.amount)
    return Entry(line.kind, line.at, line.subject, *counter, {**line.data, **told}, line.block)


def _counters_after(case: Case, lines: Sequence[Entry]) -> tuple[dict[CounterKey, int], dict[str, datetime]]:
    counters = dict(case.counters)
    for counter, amount in counted(lines).items():
        counters[counter] = counters.get(counter, 0) + amount
    opened = {line.counter: line.window for line in lines if line.kind == "opened" and line.window is not None}
    return counters, opened


USES: Mapping[str, Callable[[Case], Verdict[Decision]]] = {
    "consume": consume,
    "record": record,
    "free": free,
    "reset_usage": reset_usage,
    "correct_usage": correct_usage,
}
