"""Meters: in which window usage is counted, and how much room the limits leave in it.

Usage of a feature is counted once in each period that anything names for it, so that whichever
allowance counts finds its count. A window is a function of the anchor, the period, the zone and the
instant; a reset is the fact that the instant lies in a new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import cast

import attrs

from .amounts import Bound, Unlimited
from .catalog.model import Catalog, Feature, Limit, Period
from .catalog.standing import Share
from .ledger.entries import EPOCH, CounterKey
from .periods import Every, Window, add_period, calendar_anchor, window
from .resolution import Entitlements


@attrs.frozen
class Meter:
    """The counter of one period at one instant.

    `window` is None where the count never starts again; `fresh` says that the window has not been
    opened yet and would open with the first use.
    """

    counter: CounterKey
    period: Period
    window: Window | None = None
    fresh: bool = False


@attrs.frozen
class Weighed:
    """One limit with its meter and what is used of it: the room that is left, in smallest units."""

    limit: Limit
    meter: Meter
    used: int

    @property
    def bound(self) -> Bound | None:
        """What usage may not pass: the limit, a soft limit's ceiling, or None for no bound."""
        if self.limit.depletion == "soft":
            return self.limit.ceiling
        return None if isinstance(self.limit.amount, Unlimited) else self.limit.amount

    @property
    def room(self) -> int | None:
        """What may still be used, None without a bound; negative where more was used than allowed."""
        return None if self.bound is None or isinstance(self.bound, Unlimited) else self.bound - self.used

    @property
    def left(self) -> int | None:
        """What is left below the limit itself, None for unlimited."""
        return None if isinstance(self.limit.amount, Unlimited) else self.limit.amount - self.used


def periods_of(catalog: Catalog, feature: str) -> tuple[Period, ...]:
    """Return every period the catalog names for a feature, in a fixed order."""
    memo = catalog.flattened.get(("periods", feature))
    if memo is None:
        memo = catalog.flattened["periods", feature] = {str(period): period for period in _named(catalog, feature)}
    return tuple(cast("Mapping[str, Period]", memo).values())


def meters(
    entitlements: Entitlements, opened: Mapping[str, datetime], feature: Feature, at: datetime
) -> dict[Period, Meter]:
    """Return the meter of each period in which usage of a feature at an instant is counted.

    `opened` holds the start of the latest window of each counter whose windows open at first use.
    """
    periods = dict.fromkeys(periods_of(entitlements.catalog, feature.key))
    standing = entitlements.standing(feature.key)
    for share in standing.shares if standing is not None else ():
        periods |= dict.fromkeys(limit.period for limit in share.limits)
    return {period: meter(entitlements, opened, feature, period, at) for period in periods}


def meter(
    entitlements: Entitlements, opened: Mapping[str, datetime], feature: Feature, period: Period, at: datetime
) -> Meter:
    """Return the meter of one period of a feature at an instant."""
    name = f"{feature.key}/{period}"
    if period.every == "none":
        return Meter((name, EPOCH), period)
    anchoring = entitlements.anchoring(feature.key)
    zone = anchoring.zone if anchoring is not None else _zone(entitlements)
    if period.align == "first_use":
        return _first_use(name, period, zone, opened.get(name), at)
    every = cast("Every", period.every)
    calendar = anchoring is None or period.align == "calendar"
    anchor = calendar_anchor(every, zone) if calendar or anchoring is None else anchoring.anchor
    span = window(anchor, every, at, count=period.count, zone=zone)
    return Meter((name, span.start), period, span)


def weigh(share: Share, meters: Mapping[Period, Meter], counters: Mapping[CounterKey, int]) -> tuple[Weighed, ...]:
    """Return the limits of a share with what is used of each."""
    return tuple(
        Weighed(limit, meters[limit.period], counters.get(meters[limit.period].counter, 0)) for limit in share.limits
    )


def _first_use(name: str, period: Period, zone: str, start: datetime | None, at: datetime) -> Meter:
    every = cast("Every", period.every)
    if start is not None:
        end = add_period(start, every, count=period.count, zone=zone)
        if at < end:
            return Meter((name, start), period, Window(start, end))
    return Meter((name, at), period, Window(at, add_period(at, every, count=period.count, zone=zone)), fresh=True)


def _zone(entitlements: Entitlements) -> str:
    held = [holder.subscription for holder in entitlements.holders if holder.subscription is not None]
    return min(held, key=lambda held: (held.started_at, held.id)).zone if held else "UTC"


def _named(catalog: Catalog, feature: str) -> Iterable[Period]:
    if feature in catalog.features:
        yield catalog.features[feature].reset
    for seller in (*catalog.plans.values(), *catalog.addons.values(), *catalog.promotions.values()):
        entitlement = seller.entitlements.get(feature)
        for limit in entitlement.limits if entitlement is not None else ():
            yield limit.period
