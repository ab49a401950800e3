"""Judging: from what a customer is entitled to and has used, to a decision. Nothing is written here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

import attrs

from .amounts import Bound, Number, Unlimited, bound_number, from_units, to_units
from .catalog.model import Catalog, ConfigValue, Depletion, Feature, Limit, Period
from .catalog.standing import Share, Standing, at_least, flatten
from .decisions import Allowance, Code, Decision, Outcome, Scope
from .errors import did_you_mean, shown
from .ledger.entries import EPOCH, CounterKey
from .ledger.facts import in_force
from .ledger.state import Head
from .metering import Meter, Weighed, meters, weigh
from .resolution import SET, Entitlements
from .wording import coming, gone, paused

T = TypeVar("T")


@attrs.frozen
class Question:
    """What is asked: may `customer` have `requested` smallest units of `feature`, or this `value` of it.

    `depletion` replaces the limits' own for this question; `occurred_at` picks the window of late usage.
    `dimensions` and `kinds`, which add up to `requested`, say what it costs.
    """

    customer: str
    feature: Feature
    requested: int
    at: datetime
    value: ConfigValue | None = None
    depletion: Depletion | None = None
    scope: Scope | None = None
    occurred_at: datetime | None = None
    throttle_within: timedelta = timedelta(hours=1)
    dimensions: Mapping[str, str] | None = None
    kinds: Mapping[str, int] | None = None

    @property
    def number(self) -> Number:
        """The amount asked for, as a user reads it."""
        return from_units(self.requested, self.feature.scale)


@attrs.frozen
class Choice:
    """One share weighed against a question: whether it passes, and its tightest limit."""

    share: Share
    limits: tuple[Weighed, ...]
    tightest: Weighed
    fits: int
    passes: bool


def judge(
    question: Question,
    entitlements: Entitlements,
    head: Head,
    counters: Mapping[CounterKey, int],
    known: Mapping[Period, Meter] | None = None,
) -> tuple[Decision, Mapping[Period, Meter], int]:
    """Return the decision on a question, the meters usage would be counted in, and the units that would be.

    The units are less than asked for only where a `partial` limit passes part of them. The meters may be
    `known` already.
    """
    feature = question.feature
    metered: Mapping[Period, Meter] = known or {}
    if known is None and feature.type == "metered":
        metered = meters(entitlements, head.opened, feature, question.occurred_at or question.at)
    standing = entitlements.standing(feature.key)
    if standing is None or not _given(feature, standing):
        return _missing(question, entitlements, head), metered, 0
    if feature.type != "metered":
        return _judge_value(question, entitlements, standing), metered, 0
    decision, fits = _judge_usage(question, entitlements, standing, metered, counters)
    return decision, metered, fits


def unknown_feature(catalog: Catalog, customer: str, feature: str, at: datetime, requested: Number = 1) -> Decision:
    """Return the denial of a feature that the catalog does not name."""
    said = f"no feature {shown(feature)} in the catalog{did_you_mean(feature, catalog.features)}"
    known: dict[str, Any] = {"catalog_version": catalog.version, "at": at, "requested": requested}
    return Decision(False, "unknown_feature", customer, feature, "block", said=said, **known)


def without_storage(catalog: Catalog, customer: str, feature: str, at: datetime, *, allowed: bool) -> Decision:
    """Return what is answered while the storage cannot be reached and nothing is known."""
    said = f"the storage is unavailable; {feature} is {'allowed' if allowed else 'denied'} until it is back"
    code: Code = "ok" if allowed else "storage_unavailable"
    told: dict[str, Any] = {"catalog_version": catalog.version, "fallback": True, "at": at, "said": said}
    return Decision(allowed, code, customer, feature, "allow" if allowed else "block", **told)


def after_aggregate(feature: Feature, used: int, amount: int, *, stale: bool = False) -> int:
    """Return what a counter becomes with one more use of `amount` units; using nothing is no use.

    A `stale` sample is older than the latest that was counted, which stands.
    """
    match feature.aggregate:
        case "sum":
            return used + amount
        case "count":
            return used + to_units(1, feature.scale) if amount else used
        case "max":
            return max(used, amount)
        case _:
            return used if stale else amount


def _given(feature: Feature, standing: Standing) -> bool:
    if feature.type == "metered":
        return bool(standing.shares)
    return standing.value is not None and not (feature.type == "boolean" and standing.value is False)


def _common(question: Question, entitlements: Entitlements) -> dict[str, Any]:
    return {
        "requested": question.number,
        "catalog_version": entitlements.catalog.version,
        "scope": question.scope,
        "at": question.at,
    }


def _missing(question: Question, entitlements: Entitlements, head: Head) -> Decision:
    code = _missing_code(question, entitlements, head)
    return Decision(
        False,
        code,
        question.customer,
        question.feature.key,
        "block",
        valid_until=entitlements.valid_until(question.feature.key),
        said=_withheld(question, entitlements) if code in _NOTHING_HELD else "",
        **_common(question, entitlements),
    )


_NOTHING_HELD: Final = frozenset({"not_in_plan", "no_active_subscription"})


def _withheld(question: Question, entitlements: Entitlements) -> str:
    """Return what keeps a customer from a plan: a pause, its beginning, or that the catalog lost it; "" for neither."""
    sold, catalog = entitlements.sold, entitlements.catalog
    waiting = [held for held in in_force(entitlements.facts.subscriptions, question.at) if held.status == "paused"]
    given = {held.plan: flatten(sold.get(held.version or "", catalog), held.plan) for held in waiting}
    feature = question.feature
    giving = [plan for plan, all_of in given.items() if feature.key in all_of and _given(feature, all_of[feature.key])]
    if giving or (given and not entitlements.holders):
        return paused(min(giving or given))
    later = [held for held in entitlements.facts.subscriptions if held.since > question.at]
    if later and not entitlements.holders:
        soonest = min(later, key=lambda held: (held.since, held.plan))
        return coming(soonest.plan, soonest.since)
    lost = [holder.source for holder in entitlements.holders if holder.plan not in holder.catalog.plans]
    if not lost:
        return ""
    first = min(lost, key=lambda source: source.rank)
    return gone(first.kind, first.key)


def _missing_code(question: Question, entitlements: Entitlements, head: Head) -> Code:
    feature, catalog = question.feature.key, entitlements.catalog
    if not head.known and catalog.default_plan is None:
        return "unknown_customer"
    standing = entitlements.standing(feature)
    if feature in entitlements.denied or (standing is not None and standing.source == SET):
        return "denied_by_override"
    lent = [trial for trial in entitlements.facts.trials if trial.until is not None and trial.until <= question.at]
    ended = any(feature in flatten(entitlements.sold.get(trial.version or "", catalog), trial.plan) for trial in lent)
    if not entitlements.holders and (entitlements.facts.subscriptions or not ended):
        return "no_active_subscription"
    return "trial_ended" if ended else "not_in_plan"


def _judge_value(question: Question, entitlements: Entitlements, standing: Standing) -> Decision:
    feature, value = question.feature, standing.value
    asked = question.value
    allowed = asked is None or (value is not None and at_least(feature, value, asked))
    return Decision(
        allowed,
        "ok" if allowed else "value_not_allowed",
        question.customer,
        feature.key,
        "allow" if allowed else "block",
        source=standing.source.label,
        value=value,
        valid_until=entitlements.valid_until(feature.key),
        **_common(question, entitlements),
    )


def _judge_usage(
    question: Question,
    entitlements: Entitlements,
    standing: Standing,
    metered: Mapping[Period, Meter],
    counters: Mapping[CounterKey, int],
) -> tuple[Decision, int]:
    late = question.occurred_at if question.feature.aggregate == "latest" else None
    choices = [_choose(question, share, weigh(share, metered, counters, late)) for share in standing.shares]
    passing = [choice for choice in choices if choice.passes]
    shown = _least(passing or choices, _most_room)
    allowed = bool(passing)
    outcome, lifted_at = _outcome(question, choices, allowed=allowed)
    scale, tight = question.feature.scale, shown.tightest
    limit = tight.limit
    decision = Decision(
        allowed,
        "ok" if allowed else "limit_reached",
        question.customer,
        question.feature.key,
        outcome,
        bound_number(limit.amount, scale),
        from_units(tight.used, scale),
        source=tight.source.label,
        soft=is_soft(limit),
        ceiling=None if limit.ceiling is None else from_units(limit.ceiling, scale),
        overage=from_units(_overage(question, shown), scale),
        window_start=_start(tight.meter),
        resets_at=_end(tight.meter),
        lifted_at=lifted_at,
        valid_until=_valid_until(question, entitlements, choices, lifted_at, throttled=outcome == "throttle"),
        every=str(limit.period),
        choices=_allowances(question.feature, choices),
        **_common(question, entitlements),
    )
    return decision, shown.fits if allowed else 0


def _choose(question: Question, share: Share, limits: tuple[Weighed, ...]) -> Choice:
    if question.depletion is not None:
        limits = tuple(_with_depletion(weighed, question.depletion) for weighed in limits)
    fits = min([_fitting(question, weighed) for weighed in limits])
    passes = fits > 0 or question.requested == 0
    return Choice(share, limits, _least(limits, _tightest), fits, passes)


def _least(several: Sequence[T], key: Callable[[T], Any]) -> T:
    """Return the least by a key, which is not asked where there is but one: the usual case."""
    return several[0] if len(several) == 1 else min(several, key=key)


def _with_depletion(weighed: Weighed, depletion: Depletion) -> Weighed:
    ceiling = weighed.limit.ceiling if depletion == "soft" else None
    return attrs.evolve(weighed, limit=Limit(weighed.limit.amount, weighed.limit.period, depletion, ceiling))


def _fitting(question: Question, weighed: Weighed) -> int:
    """Return how many of the units asked for a limit lets pass: all, none, or (partial) some."""
    bound = weighed.bound
    if bound is None or isinstance(bound, Unlimited) or question.requested == 0:
        return question.requested
    if after_aggregate(question.feature, weighed.used, question.requested, stale=weighed.stale) <= bound:
        return question.requested
    if weighed.limit.depletion == "partial" and question.feature.aggregate == "sum":
        return max(0, bound - weighed.used)
    return 0


def _tightest(weighed: Weighed) -> tuple[bool, bool, int, timedelta]:
    """Order limits by the least room, or what is left, then by the latest reset (one that never comes first)."""
    room, left, end = weighed.room, weighed.left, _end(weighed.meter)
    least = room if room is not None else left or 0
    return room is None, left is None, least, EPOCH - end if end is not None else timedelta.min


def _most_room(choice: Choice) -> tuple[bool, bool, int, bool, datetime, tuple[int, str]]:
    """Order choices by the most room, then by the soonest reset, then by the rank of their source."""
    room, left, end = choice.tightest.room, choice.tightest.left, _end(choice.tightest.meter)
    more = room if room is not None else left or 0
    return room is not None, left is not None, -more, end is None, end or EPOCH, choice.share.source.rank


def _overage(question: Question, shown: Choice) -> int:
    """Return how much of what was asked lies beyond the limit: booked where it is soft, else not."""
    left = shown.tightest.left
    if left is None or question.requested == 0:
        return 0
    if question.feature.aggregate != "sum":
        tight = shown.tightest
        after = after_aggregate(question.feature, tight.used, question.requested, stale=tight.stale)
        return max(0, after - (tight.used + left))
    return max(0, question.requested - max(0, left))


def _outcome(question: Question, choices: list[Choice], *, allowed: bool) -> tuple[Outcome, datetime | None]:
    if allowed:
        return "allow", None
    lifted = [at for at in (_lifted_at(question, choice) for choice in choices) if at is not None]
    if not lifted:
        return "block", None
    soonest = min(lifted)
    return ("throttle" if soonest - question.at <= question.throttle_within else "block"), soonest


def _lifted_at(question: Question, choice: Choice) -> datetime | None:
    """Return when resets alone would let the question pass this choice, None if they never do."""
    ends = []
    for weighed in choice.limits:
        if _fitting(question, weighed) >= min(1, question.requested):
            continue
        span = weighed.meter.window
        if span is None or span.end <= question.at or _fitting(question, attrs.evolve(weighed, used=0)) == 0:
            return None
        ends.append(span.end)
    return max(ends) if ends else None


def _valid_until(
    question: Question,
    entitlements: Entitlements,
    choices: list[Choice],
    lifted_at: datetime | None,
    *,
    throttled: bool,
) -> datetime | None:
    edges = [_end(weighed.meter) for choice in choices for weighed in choice.limits]
    edges.append(entitlements.valid_until(question.feature.key))
    if lifted_at is not None and not throttled:
        edges.append(lifted_at - question.throttle_within)
    return min([edge for edge in edges if edge is not None and edge > question.at], default=None)


def _allowances(feature: Feature, choices: list[Choice]) -> tuple[Allowance, ...]:
    if len(choices) == 1 and len(choices[0].limits) == 1:
        return ()
    return tuple(_allowance(feature, choice) for choice in choices)


def _allowance(feature: Feature, choice: Choice) -> Allowance:
    several = choice.limits if len(choice.limits) > 1 else ()
    limits = tuple(_described(feature, weighed) for weighed in several)
    return attrs.evolve(_described(feature, choice.tightest), limits=limits)


def _described(feature: Feature, weighed: Weighed) -> Allowance:
    limit = weighed.limit
    return Allowance(
        weighed.source.label,
        _bound(limit.amount, feature),
        from_units(weighed.used, feature.scale),
        is_soft(limit),
        None if limit.ceiling is None else from_units(limit.ceiling, feature.scale),
        str(limit.period),
        _start(weighed.meter),
        _end(weighed.meter),
    )


def is_soft(limit: Limit) -> bool:
    """Tell whether more than a limit may pass."""
    return limit.depletion == "soft" or limit.ceiling is not None


def _bound(bound: Bound, feature: Feature) -> Number | Unlimited:
    return bound_number(bound, feature.scale)


def _start(meter: Meter) -> datetime | None:
    return meter.window.start if meter.window is not None and not meter.fresh else None


def _end(meter: Meter) -> datetime | None:
    return meter.window.end if meter.window is not None and not meter.fresh else None
