"""What a decision says to a person: one sentence, and for a denial what to do next."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from .amounts import Number, Unlimited
from .decisions import EXACT, left_of
from .errors import shown
from .periods import duration_text

if TYPE_CHECKING:
    from .decisions import Decision, Quantity

_LAST = datetime.max.replace(tzinfo=UTC)
_INSTANTS = frozenset({"anchor", "at", "effective_at", "ends_at", "expires_at", "occurred_at"})
_SPANS = frozenset({"expires_in", "ttl"})


def reason(decision: Decision) -> str:
    """Return why a decision is what it is."""
    if decision.allowed:
        return _granted(decision)
    said = _DENIALS.get(decision.code, _plainly)(decision)
    return f"{said}; {_next_step(decision)}"


def number(amount: Quantity) -> str:
    """Return an amount as people read it: 82,140 or 1,250.50 or unlimited."""
    if isinstance(amount, Decimal):
        return f"{amount:,f}"
    return f"{amount:,}" if isinstance(amount, int) else str(amount)


def instant(at: datetime) -> str:
    """Return an instant to come as people read it: 2026-12-01 00:00 UTC; with seconds, rounded up, where there are any.

    So who waits until then has waited long enough.
    """
    shown = at.astimezone(UTC)
    return moment(shown + timedelta(seconds=1) if shown.microsecond and shown < _LAST else shown)


def moment(at: datetime) -> str:
    """Return when something happened as people read it: the second in which it did, so never another day."""
    shown = at.astimezone(UTC).replace(tzinfo=None)
    return f"{shown.isoformat(' ', 'seconds' if shown.second else 'minutes')} UTC"


def argument(name: str, asked: object) -> object:
    """Return an argument of a request, in its canonical form, as people write it: 2026-12-01 00:00 UTC, or 1h.

    Exact to the microsecond, as two that differ are told apart by it.
    """
    if name in _INSTANTS and isinstance(asked, str):
        at = datetime.fromisoformat(asked).astimezone(UTC).replace(tzinfo=None)
        fineness = "microseconds" if at.microsecond else "seconds" if at.second else "minutes"
        return f"{at.isoformat(' ', fineness)} UTC"
    if name in _SPANS and isinstance(asked, int):
        return _span(timedelta(microseconds=asked))
    return asked


def _span(span: timedelta) -> str:
    """Return a span as people write it: 30d, 90m, or 1.5s where no whole number of seconds is left."""
    if not span.microseconds:
        return duration_text(span)
    whole = span.days * 86_400 + span.seconds
    return f"{whole}.{span.microseconds:06}".rstrip("0") + "s"


def value_text(value: object) -> str:
    """Return a config value as people read it: yes, 1,250, gold, or de, en."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(value) or "nothing"
    return number(value) if isinstance(value, int | Decimal) else str(value)


def source(label: str | None) -> str:
    """Return a source's label as people read it: plan pro, add-on extra_seats."""
    return (label or "nothing").replace(":", " ", 1)


def paused(plan: str) -> str:
    """Return what to do about a subscription that is paused, the customer not being named."""
    return f"the subscription to plan {shown(plan)} is paused; set_status to active resumes it"


def coming(plan: str, since: datetime) -> str:
    """Return when a subscription begins, the customer not being named."""
    return f"the subscription to plan {shown(plan)} begins on {instant(since)}"


def gone(kind: str, plan: str) -> str:
    """Return what to do about a plan that is held or lent and no longer sold, the customer not being named."""
    how, mend = ("is lent", "put it back") if kind == "trial" else ("holds", "put it back, or change_plan")
    return f"the customer {how} plan {shown(plan)}, which the catalog no longer has; {mend}"


def ungranted(feature: str, used: Number, why: str) -> str:
    """Return how much is used of what nothing grants, and why nothing does, the customer not being named."""
    return f"{number(used)} of {feature} used, which nothing grants; {why}"


def no_customer(customer: str) -> str:
    """Return that a customer is not known, with no word on what to do next."""
    return f"no customer {customer!r} is known"


def also(said: str, upgrade: tuple[str, ...]) -> str:
    """Return a reason that was given, with the plans and add-ons that would allow it besides."""
    return f"{said}; {alternatives(upgrade)} would allow it" if upgrade else said


def alternatives(labels: tuple[str, ...]) -> str:
    """Return labels as a choice: plan pro or add-on extra_seats."""
    return " or ".join(source(label) for label in labels)


def either(steps: Sequence[str]) -> str:
    """Return steps to choose from as a sentence ends: grant more, or wait."""
    return ", or ".join(filter(None, (", ".join(steps[:-1]), steps[-1])))


def _granted(decision: Decision) -> str:
    if decision.source is None and decision.used is not None:
        return f"nothing {decision.customer} holds grants {decision.feature}: {number(decision.used)} used"
    by = f"{decision.feature} is granted by {source(decision.source)}"
    if decision.limit is None:
        shown = "" if decision.value is None or decision.value is True else f": {value_text(decision.value)}"
        return f"{by}{shown}"
    if decision.unlimited:
        return f"{by}, unlimited"
    return f"{by}: {number(decision.used)} of {number(decision.limit)} used{_beyond(decision)}"


def _beyond(decision: Decision) -> str:
    """Return what did not fit, how far what is used lies over the limit, or how much of what is asked would."""
    receipt, used, limit = decision.receipt, decision.used, decision.limit
    if decision.overage and receipt is not None and receipt.booked < decision.requested:
        return f", {number(decision.overage)} did not fit"
    over = left_of(used, limit) if used is not None and isinstance(limit, int | Decimal) else 0
    if over:
        return f", {number(over)} over the limit"
    if decision.overage:
        return f", {number(decision.overage)} of the {number(decision.requested)} asked for would be over the limit"
    return ""


def to_ceiling(decision: Decision) -> str:
    """Return how much may pass beyond the limit, where a ceiling says so: ", 1 up to the ceiling of 7"."""
    if decision.ceiling is None or decision.used is None:
        return ""
    return f", {number(left_of(decision.ceiling, decision.used))} up to the ceiling of {number(decision.ceiling)}"


def _next_step(decision: Decision) -> str:
    steps = []
    if decision.lifted_at is not None:
        elsewhere = decision.resets_at not in {None, decision.lifted_at}
        when = "there is room again on" if elsewhere else "it resets on"
        soon = decision.outcome == "throttle"
        steps.append(f"{'try again after' if soon else when} {instant(decision.lifted_at)}")
    if decision.upgrade:
        steps.append(f"{alternatives(decision.upgrade)} would allow it")
    return " or ".join(steps) if steps else _dead_end(decision)


def _dead_end(decision: Decision) -> str:
    """Return what to do where nothing on sale and no reset helps: what an override set, only an override lifts."""
    if decision.source == "override:set" and decision.code in _SET:
        return _SET[decision.code]
    if decision.code == "insufficient_credits" and decision.receipt is not None:
        return "grant more credits, and charge what is short under a key of its own"
    return _DEAD_ENDS.get(decision.code, "no plan or add-on on sale would allow it")


def _limit_reached(decision: Decision) -> str:
    if decision.limit is None or isinstance(decision.limit, Unlimited):
        return f"{decision.feature} is used up"
    asked = f"{number(decision.requested)} of {decision.feature} asked for"
    left = f"{number(decision.remaining)} left of {number(decision.limit)}{to_ceiling(decision)}"
    return f"{asked}, {left} ({source(decision.source)})"


def _value_not_allowed(decision: Decision) -> str:
    granted = f"{decision.feature} is {value_text(decision.value)} ({source(decision.source)})"
    return f"{granted}, which does not cover what was asked"


def _trial_ended(decision: Decision) -> str:
    return f"the trial that granted {decision.feature} has ended"


def _not_in_plan(decision: Decision) -> str:
    return f"nothing {decision.customer} holds grants {decision.feature}"


def _denied_by_override(decision: Decision) -> str:
    return f"{decision.feature} was revoked for {decision.customer} by an override"


def _no_subscription(decision: Decision) -> str:
    return f"{decision.customer} has no active subscription"


def _unknown_customer(decision: Decision) -> str:
    return no_customer(decision.customer)


def what_is_short(decision: Decision) -> str:
    """Return how many credits were asked for or needed and what there is, with no word on what to do next."""
    credit, receipt = (decision.source or "").removeprefix("credit:"), decision.receipt
    if receipt is not None and receipt.price is not None:
        paid = _less(receipt.price, receipt.unpaid)
        costs = f"{number(decision.requested)} of {decision.feature} cost {number(receipt.price)}"
        return f"{costs}, {number(paid)} booked, {number(receipt.unpaid)} short"
    if receipt is not None:
        short = number(_less(decision.requested, receipt.booked))
        return f"{number(decision.requested)} {credit} asked for, {number(receipt.booked)} booked, {short} short"
    if decision._needed is None:
        return f"{number(decision.requested)} {credit} asked for, {number(decision.remaining)} left"
    paying = decision.allowances[-1]
    needed = f"{number(decision._needed)} {paying.source.removeprefix('credit:')} needed"
    return f"{needed} for {number(decision.requested)} of {decision.feature}, {number(paying.remaining)} left"


def _less(whole: int | Decimal, part: int | Decimal) -> Decimal:
    """Return what is left of an amount exactly, whatever the host's decimal context."""
    return EXACT.subtract(Decimal(whole), Decimal(part))


def _budget_exceeded(decision: Decision) -> str:
    first = next((cap for cap in decision.budgets if not cap.passes), None)
    if first is None:  # a decision made by hand
        return _plainly(decision)
    whose = (decision.source or "").removeprefix("budget:")
    left = f"{number(first.requested)} {first.credit or first.feature} asked for, {number(first.remaining)} left of"
    per = "" if first.every == "none" else f" per {first.every.removesuffix(' (calendar)')}"
    return f"{left} {number(first.limit)}{per} in the budget of {decision.customer if whose == 'all' else whose}"


def _plainly(decision: Decision) -> str:
    return f"{decision.feature} is denied: {decision.code.replace('_', ' ')}"


_DENIALS: Mapping[str, Callable[[Decision], str]] = {
    "limit_reached": _limit_reached,
    "value_not_allowed": _value_not_allowed,
    "trial_ended": _trial_ended,
    "not_in_plan": _not_in_plan,
    "denied_by_override": _denied_by_override,
    "no_active_subscription": _no_subscription,
    "unknown_customer": _unknown_customer,
    "insufficient_credits": what_is_short,
    "budget_exceeded": _budget_exceeded,
}
_SET: Mapping[str, str] = {
    "limit_reached": "raise or remove the override",
    "value_not_allowed": "change or remove the override",
}
_DEAD_ENDS: Mapping[str, str] = {
    "denied_by_override": "remove the override to restore it",
    "unknown_customer": "subscribe the customer to a plan first",
    "no_active_subscription": "subscribe the customer to a plan",
    "storage_unavailable": "try again shortly",
    "insufficient_credits": "grant more credits",
    "budget_exceeded": "raise the budget, or ask for less",
    "unknown_credit": "declare the credit in the catalog",
}
