"""Weighing: what each limit of a feature lets pass of a question, and which of them is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

import attrs

from .amounts import Number, Unlimited, from_units, to_units
from .catalog.model import ConfigValue, Depletion, Feature, Limit, Period
from .catalog.standing import Share, Standing
from .decisions import Scope
from .ledger.entries import EPOCH, CounterKey
from .metering import Meter, Weighed, weigh

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

    def for_nothing(self) -> Question:
        """Return the question for nothing more, which tells what stands."""
        what = (self.value, self.depletion, self.scope, self.occurred_at, self.throttle_within)
        return Question(self.customer, self.feature, 0, self.at, *what, self.dimensions, self.kinds)


class Choice(NamedTuple):
    """One share weighed against a question: whether it passes, and its tightest limit."""

    share: Share
    limits: tuple[Weighed, ...]
    tightest: Weighed
    fits: int
    passes: bool


class Weighing(NamedTuple):
    """What limits say to a question: every share weighed, the one that is shown, and whether any passes."""

    choices: list[Choice]
    shown: Choice
    passes: bool

    @property
    def fits(self) -> int:
        """The units that pass; less than asked for only where a `partial` limit passes part of them."""
        return self.shown.fits if self.passes else 0


def weighed_by(
    question: Question, standing: Standing, metered: Mapping[Period, Meter], counters: Mapping[CounterKey, int]
) -> Weighing:
    """Return what the limits of a standing say to a question."""
    choices = [weighed_share(question, share, metered, counters) for share in standing.shares]
    passing = [choice for choice in choices if choice.passes]
    return Weighing(choices, _least(passing or choices, _most_room), bool(passing))


def weighed_share(
    question: Question, share: Share, metered: Mapping[Period, Meter], counters: Mapping[CounterKey, int]
) -> Choice:
    """Return what the limits of one share say to a question."""
    late = question.occurred_at if question.feature.aggregate == "latest" else None
    limits = weigh(share, metered, counters, late)
    if question.depletion is not None:
        limits = tuple(_with_depletion(weighed, question.depletion) for weighed in limits)
    fits = min([_fitting(question, weighed) for weighed in limits])
    passes = fits > 0 or question.requested == 0
    return Choice(share, limits, _least(limits, _tightest), fits, passes)


def overage(question: Question, shown: Choice) -> int:
    """Return how much of what was asked lies beyond the limit: booked where it is soft, else not."""
    left = shown.tightest.left
    if left is None or question.requested == 0:
        return 0
    if question.feature.aggregate != "sum":
        tight = shown.tightest
        after = after_aggregate(question.feature, tight.used, question.requested, stale=tight.stale)
        return max(0, after - (tight.used + left))
    return max(0, question.requested - max(0, left))


def lifted_by_resets(question: Question, choice: Choice) -> datetime | None:
    """Return when resets alone would let the question pass this choice, None if they never do."""
    ends = []
    for weighed in choice.limits:
        if _fitting(question, weighed) >= min(1, question.requested):
            continue
        span = weighed.meter.window
        if span is None or span.end <= question.at or _fitting(question, weighed._replace(used=0)) == 0:
            return None
        ends.append(span.end)
    return max(ends) if ends else None


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


def end_of(meter: Meter) -> datetime | None:
    """Return when a meter starts again, None where it does not, or only would."""
    return meter.window.end if meter.window is not None and not meter.fresh else None


def _least(several: Sequence[T], key: Callable[[T], Any]) -> T:
    """Return the least by a key, which is not asked where there is but one: the usual case."""
    return several[0] if len(several) == 1 else min(several, key=key)


def _with_depletion(weighed: Weighed, depletion: Depletion) -> Weighed:
    ceiling = weighed.limit.ceiling if depletion == "soft" else None
    return weighed._replace(limit=Limit(weighed.limit.amount, weighed.limit.period, depletion, ceiling))


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
    room, left, end = weighed.room, weighed.left, end_of(weighed.meter)
    least = room if room is not None else left or 0
    return room is None, left is None, least, EPOCH - end if end is not None else timedelta.min


def _most_room(choice: Choice) -> tuple[bool, bool, int, bool, datetime, tuple[int, str]]:
    """Order choices by the most room, then by the soonest reset, then by the rank of their source."""
    room, left, end = choice.tightest.room, choice.tightest.left, end_of(choice.tightest.meter)
    more = room if room is not None else left or 0
    return room is not None, left is not None, -more, end is None, end or EPOCH, choice.share.source.rank
