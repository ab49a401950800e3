"""Meters: in which window usage is counted, and how much room the limits leave in it.

Usage of a feature is counted once in each period that anything names for it, so that whichever
allowance counts finds its count. A window is a function of the anchor, the period, the zone and the
instant; a reset is the fact that the instant lies in a new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import repeat, takewhile
from typing import Final, NamedTuple, cast

import attrs

from .amounts import Unlimited
from .catalog.model import AddOn, Catalog, Feature, Limit, Period, Plan, Promotion
from .catalog.standing import Share, Source, Standing, bound
from .ledger.entries import EPOCH, CounterKey, Entry
from .ledger.facts import Subscription, in_force
from .ledger.instants import from_instant
from .periods import Every, Window, add_period, calendar_anchor, window
from .resolution import Entitlements, Layout, first_held

_BEGIN: Final = datetime.min.replace(tzinfo=UTC)
_END: Final = datetime.max.replace(tzinfo=UTC)


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


class Metered(NamedTuple):
    """The meters of a feature and the counters they need, which are the same at every instant in `[since, until)`."""

    since: datetime
    until: datetime
    meters: Mapping[Period, Meter]
    counters: tuple[CounterKey, ...]


class Weighed(NamedTuple):
    """One limit with its giver, its meter and what is used of it: the room left, in smallest units.

    What is asked for is `stale` where a later sample was counted already.
    """

    limit: Limit
    meter: Meter
    used: int
    source: Source
    stale: bool = False

    @property
    def bound(self) -> int | None:
        """What usage may not pass: the limit, a soft limit's ceiling, or None for no bound."""
        return bound(self.limit)

    @property
    def room(self) -> int | None:
        """What may still be used, None without a bound; negative where more was used than allowed."""
        most = self.bound
        return None if most is None else most - self.used

    @property
    def left(self) -> int | None:
        """What is left below the limit itself, None for unlimited."""
        return None if isinstance(self.limit.amount, Unlimited) else self.limit.amount - self.used


def periods_of(catalog: Catalog, feature: str) -> Mapping[Period, str]:
    """Return every period the catalog names for a feature, in a fixed order, with its counter's name."""
    memo = catalog.combined.get(("periods", feature))
    if memo is None:
        periods = sorted(set(_named(catalog, feature)), key=str)
        memo = catalog.combined["periods", feature] = {period: _name(feature, period) for period in periods}
    return memo


def _counted(catalog: Catalog, feature: str, standing: Standing | None) -> Mapping[Period, str]:
    """Return the periods a feature is counted in: the catalog's, and those of what stands for the customer."""
    named = periods_of(catalog, feature)
    shares = standing.shares if standing is not None else ()
    own = [limit.period for share in shares for limit in share.limits if limit.period not in named]
    return {**named, **{period: _name(feature, period) for period in sorted(own, key=str)}} if own else named


def lasting_meters(
    entitlements: Entitlements, opened: Mapping[str, datetime], feature: Feature, at: datetime
) -> Mapping[Period, Meter]:
    """Return what `meters` does, and remember it while its windows last: for customers who write, again and again."""
    known: Metered | None = entitlements.metered.get(feature.key)
    if known is not None and known.since <= at < known.until:
        return known.meters
    found = meters(entitlements, opened, feature, at)
    if all(period.align != "first_use" or period.every == "none" for period in found):
        every = [*found.values(), *_brought_back(entitlements, opened, feature, at)]
        spans = [meter.window for meter in every if meter.window is not None]
        since = max([span.start for span in spans], default=_BEGIN)
        until = min([span.end for span in spans], default=_END)
        entitlements.metered[feature.key] = Metered(since, until, found, _counted_by(feature, every))
    return found


def meters(
    entitlements: Entitlements, opened: Mapping[str, datetime], feature: Feature, at: datetime
) -> dict[Period, Meter]:
    """Return the meter of each period in which usage of a feature at an instant is counted.

    `opened` holds the start of the latest window of each counter whose windows open at first use.
    """
    anchoring = entitlements.anchoring(feature.key)
    periods = _counted(entitlements.catalog, feature.key, entitlements.standing(feature.key))
    return {period: _meter(entitlements, opened, anchoring, name, period, at) for period, name in periods.items()}


def shortest(entitlements: Entitlements, feature: Feature, metered: Mapping[Period, Meter]) -> Meter:
    """Return the meter of the shortest window that a customer has a limit in, of the feature's own where in none."""
    standing = entitlements.standing(feature.key)
    shares = standing.shares if standing is not None else ()
    limited = [metered[limit.period] for share in shares for limit in share.limits]
    return min(limited or [metered[feature.reset]], key=_length)


def _length(meter: Meter) -> timedelta:
    return timedelta.max if meter.window is None else meter.window.end - meter.window.start


def counters_of(
    entitlements: Entitlements,
    opened: Mapping[str, datetime],
    feature: Feature,
    at: datetime,
    metered: Mapping[Period, Meter] | None = None,
) -> tuple[CounterKey, ...]:
    """Return the counters of a feature's open windows, also those another plan of a subscription brings back.

    `metered` are the feature's meters, where they are known already.
    """
    remembered: Metered | None = entitlements.metered.get(feature.key)
    if remembered is not None and remembered.meters is metered:
        return remembered.counters
    known = meters(entitlements, opened, feature, at) if metered is None else metered
    return _counted_by(feature, [*known.values(), *_brought_back(entitlements, opened, feature, at)])


def _brought_back(
    entitlements: Entitlements, opened: Mapping[str, datetime], feature: Feature, at: datetime
) -> Iterator[Meter]:
    """Yield the meters of a feature that count again where a subscription held earlier comes to grant it."""
    anchoring = entitlements.anchoring(feature.key)
    for subscription in takewhile(lambda held: held is not anchoring, entitlements.held()):
        for period, name in periods_of(entitlements.catalog, feature.key).items():
            yield _meter(entitlements, opened, subscription, name, period, at)


def _counted_by(feature: Feature, meters: Iterable[Meter]) -> tuple[CounterKey, ...]:
    """Return the counters of meters, each once, and where only the latest sample counts, those that date it."""
    found = [meter.counter for meter in meters]
    if feature.aggregate == "latest":
        found += [latest_of(counter) for counter in found]
    return tuple(dict.fromkeys(found))


def sampled(feature: Feature, counter: CounterKey, counters: Mapping[CounterKey, int], at: datetime) -> Iterator[Entry]:
    """Yield the line that says when the latest sample in a counter was taken, where only the latest counts."""
    if feature.aggregate == "latest":
        later = from_instant(at) - counters.get(latest_of(counter), 0)
        if later > 0:
            yield Entry("sampled", at, feature.key, *latest_of(counter), later)


def counters_wherever(
    entitlements: Entitlements,
    opened: Mapping[str, datetime],
    feature: Feature,
    at: datetime,
    anchors: Iterable[tuple[datetime, str]],
) -> Iterator[CounterKey]:
    """Yield the counters of a feature's windows, whichever of the anchors, with their zones, they are laid out from."""
    held = [fact.entitlement for fact in entitlements.facts.overrides if fact.entitlement.feature == feature.key]
    own = {limit.period: _name(feature.key, limit.period) for given in held for limit in given.limits}
    named = _counted(entitlements.catalog, feature.key, entitlements.standing(feature.key))
    for period, name in {**named, **own}.items():
        if period.every == "none":
            yield name, EPOCH
        elif period.align != "first_use":
            yield from ((name, start) for start in _starts(period, anchors, at))
        elif name in opened:
            yield name, opened[name]


def _starts(period: Period, anchors: Iterable[tuple[datetime, str]], at: datetime) -> Iterator[datetime]:
    """Yield where the window at an instant starts: in the calendar of each zone, and from each anchor."""
    every = cast("Every", period.every)
    for zone in dict.fromkeys(("UTC", *(zone for _, zone in anchors))):
        yield window(calendar_anchor(every, zone), every, at, count=period.count, zone=zone).start
    for anchor, zone in anchors if period.align == "anniversary" else ():
        yield window(anchor, every, at, count=period.count, zone=zone).start


def counters(entitlements: Entitlements, opened: Mapping[str, datetime], at: datetime) -> tuple[CounterKey, ...]:
    """Return the counters of every metered feature of the catalog at an instant.

    Names and periods are the same for all who hold the same and are worked out once; only where the
    windows begin is the customer's own.
    """
    held = entitlements.held()
    if len(held) > 1 or opened:
        return _counters_of(entitlements, opened, entitlements.catalog.features, at)
    found: list[CounterKey] = []
    for (period, anchored), names in _layout(entitlements).items():
        anchors = held if anchored else (None, *held)
        for start in {_start(entitlements, anchor, period, at) for anchor in anchors}:
            found += zip(names, repeat(start))
    own = _with_own_periods(entitlements)
    return (*found, *_counters_of(entitlements, opened, own, at)) if own else tuple(found)


def _with_own_periods(entitlements: Entitlements) -> list[str]:
    """Return the features of which this customer's overrides name a period that the catalog does not."""
    return [
        key
        for key, standing in entitlements.own.items()
        for share in standing.shares
        for limit in share.limits
        if limit.period not in periods_of(entitlements.catalog, key)
    ]


def _layout(entitlements: Entitlements) -> Layout:
    """Return the names of all counters by period, and by whether the one subscription anchors them."""
    combination = entitlements.combination
    if combination.layout is None:
        combination.layout = _laid_out(entitlements)
    return combination.layout


def _laid_out(entitlements: Entitlements) -> Layout:
    layout = Layout()
    for feature in entitlements.catalog.features.values():
        if feature.type == "metered":
            anchored = entitlements.anchoring(feature.key) is not None
            standing = entitlements.shared.get(feature.key)
            for period, name in _counted(entitlements.catalog, feature.key, standing).items():
                layout.setdefault((period, anchored), []).append(name)
    return layout


def _counters_of(
    entitlements: Entitlements, opened: Mapping[str, datetime], features: Iterable[str], at: datetime
) -> tuple[CounterKey, ...]:
    known = [entitlements.catalog.features[key] for key in features if key in entitlements.catalog.features]
    return tuple(
        counter
        for feature in known
        if feature.type == "metered"
        for counter in counters_of(entitlements, opened, feature, at)
    )


def weigh(
    share: Share, meters: Mapping[Period, Meter], counters: Mapping[CounterKey, int], late: datetime | None = None
) -> tuple[Weighed, ...]:
    """Return the limits of a share with what is used of each; `late` is when a late sample was taken."""
    weighed = []
    for limit, source in zip(share.limits, share.sources, strict=True):
        meter = meters[limit.period]
        stale = late is not None and is_stale(meter.counter, counters, late)
        weighed.append(Weighed(limit, meter, counters.get(meter.counter, 0), source, stale))
    return tuple(weighed)


def latest_of(counter: CounterKey) -> CounterKey:
    """Return the counter that says when the latest sample in another was taken, in microseconds since 1970."""
    return f"$latest:{counter[0]}", counter[1]


def is_stale(counter: CounterKey, counters: Mapping[CounterKey, int], at: datetime) -> bool:
    """Tell whether a later sample than one taken at an instant was counted; of two at once the last recorded is."""
    return from_instant(at) < counters.get(latest_of(counter), 0)


def _name(feature: str, period: Period) -> str:
    return f"{feature}/{period}"


def _meter(
    entitlements: Entitlements,
    opened: Mapping[str, datetime],
    anchoring: Subscription | None,
    name: str,
    period: Period,
    at: datetime,
) -> Meter:
    if period.every == "none":
        return Meter((name, EPOCH), period)
    if period.align == "first_use":
        return _first_use(name, period, _zone(entitlements, anchoring), opened.get(name), at)
    span = _window(entitlements, anchoring, period, at)
    return Meter((name, span.start), period, span)


def _start(entitlements: Entitlements, anchoring: Subscription | None, period: Period, at: datetime) -> datetime:
    """Return where the count of a period starts that nobody has opened before."""
    if period.every == "none":
        return EPOCH
    return at if period.align == "first_use" else _window(entitlements, anchoring, period, at).start


def _window(entitlements: Entitlements, anchoring: Subscription | None, period: Period, at: datetime) -> Window:
    """Return the window at an instant, worked out once for each anchor and period."""
    latest = (period, anchoring.id if anchoring is not None else None)
    span = entitlements.windows.get(latest)
    if span is None or not span.start <= at < span.end:
        span = entitlements.windows[latest] = _worked_out(entitlements, anchoring, period, at)
    return span


def _worked_out(entitlements: Entitlements, anchoring: Subscription | None, period: Period, at: datetime) -> Window:
    every, zone = cast("Every", period.every), _zone(entitlements, anchoring)
    if anchoring is not None and period.align == "anniversary":
        return window(anchoring.anchor, every, at, count=period.count, zone=zone)
    anchor = calendar_anchor(every, zone)
    return window(anchor, every, at, count=period.count, zone=zone)


def _first_use(name: str, period: Period, zone: str, start: datetime | None, at: datetime) -> Meter:
    every = cast("Every", period.every)
    if start is not None:
        end = add_period(start, every, count=period.count, zone=zone)
        if at < end:
            return Meter((name, start), period, Window(start, end))
    return Meter((name, at), period, Window(at, add_period(at, every, count=period.count, zone=zone)), fresh=True)


def _zone(entitlements: Entitlements, anchoring: Subscription | None) -> str:
    """Return whose wall clock windows follow: that of the first-held subscription where none anchors, paused or not."""
    if anchoring is not None:
        return anchoring.zone
    held = in_force(entitlements.facts.subscriptions, entitlements.at)
    return min(held, key=first_held).zone if held else "UTC"


def _named(catalog: Catalog, feature: str) -> Iterable[Period]:
    if feature in catalog.features:
        yield catalog.features[feature].reset
    sellers: tuple[Plan | AddOn | Promotion, ...] = (
        *catalog.plans.values(),
        *catalog.addons.values(),
        *catalog.promotions.values(),
    )
    for seller in sellers:
        entitlement = seller.entitlements.get(feature)
        for limit in entitlement.limits if entitlement is not None else ():
            yield limit.period
