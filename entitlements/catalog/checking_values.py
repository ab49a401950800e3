"""What is wrong with one entry by itself: an entitlement, a period, a feature, a credit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from ..amounts import MAX_SCALE, Unlimited
from ..errors import shown
from .findings import Finding, Path, near
from .model import ConfigType, Credit, Entitlement, Feature, Limit, Period, PlanCredit, Rollover

BURN_ORDERS: Final = ("default", "first_in_first_out", "soonest_expiry", "plan_first")
BURN_KEYS: Final = (
    "priority",
    "expires_at",
    "category",
    "cost_basis",
    "restricted",
    "effective_at",
    "granted",
    "plan",
)
MOST_TIMES: Final = 10_000
MOST_PERIODS: Final[Mapping[str, int]] = {
    "hour": 10_000,
    "day": 10_000,
    "week": 1_000,
    "month": 1_200,
    "quarter": 400,
    "year": 100,
}
_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)
_KINDS: Final[Mapping[ConfigType, type]] = {
    "integer": int,
    "decimal": Decimal,
    "text": str,
    "list": tuple,
    "boolean": bool,
}


def is_plain(feature: Feature, entitlement: Entitlement) -> bool:
    """Tell whether an entitlement is one limit in the feature's own period, which cannot be wrong."""
    if feature.type != "metered" or len(entitlement.limits) != 1:
        return False
    limit = entitlement.limits[0]
    return limit.period is feature.reset and limit.ceiling is None


def check_entitlement(feature: Feature, entitlement: Entitlement, path: Path) -> Iterator[Finding]:
    """Yield what is wrong with what `entitlement` says about `feature`, beside `contradictions`."""
    if entitlement.mode == "deny":
        return
    if feature.type == "metered":
        yield from _limits(feature, entitlement.limits, path)
        return
    if entitlement.mode == "add":
        yield Finding((*path, "mode"), f"add is for limits; {shown(feature.key)} is {feature.type}, write grant or set")
    yield from _value(feature, entitlement, path)


def contradictions(feature: Feature, entitlement: Entitlement, path: Path) -> Iterator[Finding]:
    """Yield a finding for each limit that resets where the feature does not, or the other way round."""
    for at, limit in enumerate(entitlement.limits):
        if (limit.period.every == "none") != (feature.reset.every == "none"):
            yield Finding(
                (*path, "limits", at, "reset"),
                f"is {limit.period} here and {feature.reset} on feature {shown(feature.key)}; "
                "usage resets in all periods of a feature or in none, so write a period in both",
                beside=("features", feature.key, "reset", "every"),
            )


def feature_findings(feature: Feature) -> Iterator[Finding]:
    """Yield what is wrong with a feature."""
    path: Path = ("features", feature.key)
    yield from _scale(feature.scale, path)
    yield from _period(feature.reset, (*path, "reset"))
    if feature.type == "config":
        yield from _preference(feature, (*path, "prefer"))


def credit_findings(credit: Credit) -> Iterator[Finding]:
    """Yield what is wrong with a credit."""
    path: Path = ("credits", credit.key)
    yield from _scale(credit.scale, path)
    if credit.currency is not None and not _CURRENCY.fullmatch(credit.currency):
        message = f"{shown(credit.currency)} is not a currency; write its three capital letters, such as USD"
        yield Finding((*path, "currency"), message)
    if credit.floor is not None and credit.depletion != "soft":
        yield Finding((*path, "floor"), "is for depletion: soft, where credits go into debt; leave it out")
    yield from _burn_order(credit.burn_order, (*path, "burn_order"))


def plan_credit_findings(granted: PlanCredit, path: Path) -> Iterator[Finding]:
    """Yield what is wrong with the credits that a plan grants."""
    if granted.grant == 0:
        yield Finding((*path, "grant"), "is 0; write more, or leave the credit out")
    yield from count_findings(granted.count, MOST_PERIODS[granted.every], (*path, "count"))
    if granted.rollover is not None:
        yield from _rollover(granted.rollover, (*path, "rollover"))


def count_findings(count: int | None, most: int, path: Path) -> Iterator[Finding]:
    """Yield a finding unless `count` is from 1 to `most`, or absent."""
    if count is not None and not 1 <= count <= most:
        yield Finding(path, f"is {count}; write a number from 1 to {most}")


def _limits(feature: Feature, limits: Sequence[Limit], path: Path) -> Iterator[Finding]:
    if not limits:
        yield Finding((*path, "limits"), "is empty; write at least one limit")
    earlier: dict[Period, list[int]] = {}
    for at, limit in enumerate(limits):
        place = (*path, "limits", at)
        for before in earlier.setdefault(limit.period, []):
            message = f"has the same period as limits[{before}], {limit.period}; keep one of them"
            yield Finding((*place, "reset"), message, beside=(*path, "limits", before, "reset"))
        earlier[limit.period].append(at)
        yield from _ceiling(limit, (*place, "ceiling"))
        if limit.period != feature.reset:
            yield from _period(limit.period, (*place, "reset"))


def _ceiling(limit: Limit, path: Path) -> Iterator[Finding]:
    if limit.ceiling is None:
        return
    if limit.depletion != "soft":
        yield Finding(path, "is for depletion: soft, where usage may pass the limit; write that too, or leave it out")
    elif isinstance(limit.amount, Unlimited):
        yield Finding(path, "says nothing above an unlimited limit; leave it out")
    elif limit.ceiling < limit.amount:
        yield Finding(path, "is below the limit; write one at or above it")


def _period(period: Period, path: Path) -> Iterator[Finding]:
    if period.every != "none":
        yield from count_findings(period.count, MOST_PERIODS[period.every], (*path, "count"))
    elif period.align == "first_use":
        yield Finding(path, "has align: first_use and every: none; what never resets has no first use, write a period")
    elif (period.align, period.count) != ("anniversary", 1):
        yield Finding(path, "never resets, so count and align say nothing; leave them out")


def _value(feature: Feature, entitlement: Entitlement, path: Path) -> Iterator[Finding]:
    kind: ConfigType = "boolean" if feature.type == "boolean" else feature.value
    value = entitlement.value
    if type(value) is not _KINDS[kind]:
        yield Finding((*path, "value"), f"is not of type {kind}, which feature {shown(feature.key)} has")
    elif isinstance(value, tuple):
        yield from _twice(value, (*path, "value"))
    elif isinstance(feature.prefer, tuple) and feature.prefer and value not in feature.prefer:
        known = [str(each) for each in feature.prefer]
        options = near(str(value), known) or f"; write one of {', '.join(shown(each)[1:-1] for each in known)[:200]}"
        message = f"{shown(str(value))} is not a value of feature {shown(feature.key)}{options}"
        yield Finding((*path, "value"), message)


def _preference(feature: Feature, path: Path) -> Iterator[Finding]:
    if feature.prefer is None:
        return
    if feature.value == "list":
        yield Finding(path, "is not for lists, which unite; leave it out")
    elif feature.value == "text" and not isinstance(feature.prefer, tuple):
        yield Finding(path, f"texts have no {feature.prefer}; write a list with the best value first")
    elif not feature.prefer:
        yield Finding(path, "is empty; write the values, the best first")
    elif isinstance(feature.prefer, tuple):
        yield from _twice(feature.prefer, path)


def _twice(values: Sequence[Any], path: Path) -> Iterator[Finding]:
    seen = set()
    for at, value in enumerate(values):
        if value in seen:
            yield Finding((*path, at), f"names {shown(str(value))} twice; name it once")
        seen.add(value)


def _scale(scale: int, path: Path) -> Iterator[Finding]:
    if not 0 <= scale <= MAX_SCALE:
        yield Finding((*path, "scale"), f"is {scale}; write how many decimal places, from 0 to {MAX_SCALE}")


def _burn_order(order: str | tuple[str, ...], path: Path) -> Iterator[Finding]:
    if isinstance(order, str):
        if order not in BURN_ORDERS:
            options = near(order, BURN_ORDERS) or f"; write one of {', '.join(BURN_ORDERS)}, or a list of keys"
            yield Finding(path, f"{shown(order)} is not a burn order{options}")
        return
    if not order:
        yield Finding(path, f"is empty; write one of {', '.join(BURN_ORDERS)}, or a list of keys")
    for at, key in enumerate(order):
        if key not in BURN_KEYS:
            options = near(key, BURN_KEYS) or f"; the keys are {', '.join(BURN_KEYS)}"
            yield Finding((*path, at), f"{shown(key)} is not a key to burn by{options}")
    yield from _twice(order, path)


def _rollover(rollover: Rollover, path: Path) -> Iterator[Finding]:
    if not 0 <= rollover.fraction <= 1:
        yield Finding((*path, "fraction"), f"is {rollover.fraction}; write a part from 0 to 1")
    if rollover.expires_after is not None and not rollover.expires_after:
        yield Finding((*path, "expires_after"), "is no time at all; write a longer one, or leave it out")
    yield from count_findings(rollover.times, MOST_TIMES, (*path, "times"))
