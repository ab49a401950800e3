"""What a source gives for a feature, and how two of them join.

Allowances unite: joining never takes anything away. The join is commutative, associative and
idempotent, so an answer is a function of the set of sources. Inheritance is flattened once for each
plan of a catalog, here, and shared by all who hold it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import reduce
from typing import Final, Literal, cast

import attrs

from ..amounts import MAX_UNITS, UNLIMITED, Bound, Unlimited
from .model import Catalog, ConfigValue, Depletion, Entitlement, Feature, Limit, Period

Kind = Literal["override", "promotion", "trial", "add-on", "plan", "parent"]
RANK: Final[Mapping[str, int]] = {
    kind: rank for rank, kind in enumerate(("override", "promotion", "trial", "add-on", "plan", "parent"))
}
_LENIENCY: Final[Mapping[Depletion, int]] = {"hard": 0, "partial": 1, "soft": 2}


@attrs.frozen
class Source:
    """Where an entitlement comes from; the lower `rank` wins a tie, then the key."""

    kind: Kind
    key: str

    @property
    def label(self) -> str:
        """The source in one word: `plan:pro`, `add-on:extra_seats`, `override:set`."""
        return f"{self.kind}:{self.key}"

    @property
    def rank(self) -> tuple[int, str]:
        """What decides between equals."""
        return RANK[self.kind], self.key


@attrs.frozen
class Share:
    """One allowance of a metered feature: limits that must all have room, and who gave the largest."""

    source: Source
    limits: tuple[Limit, ...]

    def shape(self) -> frozenset[Period]:
        """Return the periods of the limits: shares of one shape compete, others stand side by side."""
        return frozenset(limit.period for limit in self.limits)


@attrs.frozen
class Standing:
    """What stands for one feature: a value, or shares any of which may have room."""

    source: Source
    value: ConfigValue | None = None
    shares: tuple[Share, ...] = ()


def standing_of(source: Source, entitlement: Entitlement) -> Standing:
    """Return what one entitlement of a source comes to alone."""
    shares = (Share(source, entitlement.limits),) if entitlement.limits else ()
    return Standing(source, entitlement.value, shares)


def join(feature: Feature, one: Standing, other: Standing) -> Standing:
    """Return what two sources of one feature give together: part by part the most generous."""
    if one is other:
        return one
    if feature.type == "metered":
        return _join_shares(one, other)
    return _join_values(feature, one, other)


def at_least(feature: Feature, granted: ConfigValue, asked: ConfigValue) -> bool:
    """Tell whether a granted config value covers the value asked for, in the order the catalog names."""
    if isinstance(granted, tuple):
        return set(asked if isinstance(asked, tuple) else (asked,)) <= set(granted)
    if granted == asked and type(granted) is type(asked):
        return True
    grade = _grade(feature, granted), _grade(feature, asked)
    return grade[0] is not None and grade[1] is not None and grade[0] >= grade[1]


def add(standing: Standing | None, source: Source, entitlement: Entitlement, quantity: int = 1) -> Standing:
    """Return a standing enlarged by `quantity` times an entry of mode `add`.

    The entry adds to the share that has exactly its periods; where none has, it is a share of its
    own, from zero. An amount never exceeds what a counter can hold.
    """
    more = Share(source, tuple(_times(limit, quantity) for limit in entitlement.limits))
    shares = standing.shares if standing is not None else ()
    enlarged = tuple(_plus(share, more) if share.shape() == more.shape() else share for share in shares)
    if all(share.shape() != more.shape() for share in shares):
        enlarged = (*shares, more)
    return Standing(source if standing is None else standing.source, None, enlarged)


def flatten(catalog: Catalog, plan: str, kind: Literal["plan", "trial"] = "plan") -> Mapping[str, Standing]:
    """Return what a plan gives with all it inherits, by feature; empty for a plan the catalog lacks.

    A plan's entry of mode `set` stands alone, any other joins its parents'. A trial speaks with one
    voice; in a subscription each parent is a source of its own.
    """
    memo = catalog.flattened.get((kind, plan))
    if memo is None:
        memo = catalog.flattened[kind, plan] = _flatten(catalog, plan, kind, Source(kind, plan))
    return cast("Mapping[str, Standing]", memo)


def promoted(catalog: Catalog, promotion: str) -> Mapping[str, Standing]:
    """Return what a promotion gives, by feature; empty for one the catalog lacks."""
    memo = catalog.flattened.get(("promotion", promotion))
    if memo is None:
        memo = catalog.flattened["promotion", promotion] = _stand(
            Source("promotion", promotion),
            catalog.promotions[promotion].entitlements if promotion in catalog.promotions else {},
        )
    return cast("Mapping[str, Standing]", memo)


def lineage(catalog: Catalog, plan: str) -> tuple[str, ...]:
    """Return a plan and all it extends, nearest first, each once."""
    seen: dict[str, None] = {}
    waiting = [plan]
    while waiting:
        key = waiting.pop(0)
        if key not in seen and key in catalog.plans:
            seen[key] = None
            waiting.extend(catalog.plans[key].extends)
    return tuple(seen)


def _flatten(catalog: Catalog, plan: str, kind: Kind, source: Source) -> dict[str, Standing]:
    if plan not in catalog.plans:
        return {}
    described = catalog.plans[plan]
    own = _stand(source, described.entitlements)
    joined = dict(own)
    for parent in described.extends:
        above = source if kind == "trial" else Source("parent", parent)
        for key, standing in _flatten(catalog, parent, kind if kind == "trial" else "parent", above).items():
            entry = described.entitlements.get(key)
            if entry is None or entry.mode != "set":
                joined[key] = join(catalog.features[key], joined[key], standing) if key in joined else standing
    return joined


def _stand(source: Source, entitlements: Mapping[str, Entitlement]) -> dict[str, Standing]:
    return {key: standing_of(source, entitlement) for key, entitlement in entitlements.items()}


def _join_values(feature: Feature, one: Standing, other: Standing) -> Standing:
    if one.value is None or other.value is None:
        return other if one.value is None else one
    first, second = sorted((one, other), key=lambda standing: standing.source.rank)
    if isinstance(first.value, tuple) and isinstance(second.value, tuple):
        united = tuple(sorted({*first.value, *second.value}))
        widest = second if set(second.value) > set(first.value) else first
        return Standing(widest.source, united)
    grades = _grade(feature, first.value), _grade(feature, second.value)
    if grades[0] is None or grades[1] is None:
        return first if grades[0] is not None or grades[1] is None else second
    return second if grades[1] > grades[0] else first


def _grade(feature: Feature, value: ConfigValue | None) -> int | Decimal | None:
    """Return how generous a value is, None where the catalog names no order or does not list it."""
    if isinstance(feature.prefer, tuple):
        return -feature.prefer.index(value) if value in feature.prefer else None
    if isinstance(value, bool):
        return int(value) if feature.prefer != "min" else -int(value)
    if isinstance(value, Decimal):
        return value.copy_negate() if feature.prefer == "min" else value
    if isinstance(value, int):
        return -value if feature.prefer == "min" else value
    return None


def _join_shares(one: Standing, other: Standing) -> Standing:
    if len(one.shares) == 1 == len(other.shares):
        mine, theirs = one.shares[0], other.shares[0]
        widest = _wider(mine, theirs)
        if widest is mine:
            return one
        if widest is theirs:
            return other
        if widest is not None:
            return Standing(widest.source, None, (widest,))
    shares = _unite([*one.shares, *other.shares])
    return Standing(min((share.source for share in shares), key=lambda source: source.rank), None, shares)


def _unite(shares: Iterable[Share]) -> tuple[Share, ...]:
    by_shape: dict[frozenset[Period], Share] = {}
    for share in shares:
        shape = share.shape()
        held = by_shape.get(shape)
        by_shape[shape] = share if held is None else (_wider(held, share) or held)
    return tuple(by_shape[shape] for shape in sorted(by_shape, key=lambda shape: sorted(map(str, shape))))


def _wider(one: Share, other: Share) -> Share | None:
    """Return the join of two shares of one shape, one of the two where it is that; None for two shapes."""
    if len(one.limits) == 1 == len(other.limits):
        mine, theirs = one.limits[0], other.limits[0]
        if mine.period is not theirs.period and mine.period != theirs.period:
            return None
        joined = _widest(mine, theirs)
        larger = _larger_source(one, other, ((mine.amount, theirs.amount),))
        return _share(one, other, larger, (joined,))
    if one.shape() != other.shape():
        return None
    partner = {limit.period: limit for limit in other.limits}
    pairs = [(limit, partner[limit.period]) for limit in sorted(one.limits, key=lambda limit: str(limit.period))]
    larger = _larger_source(one, other, tuple((mine.amount, theirs.amount) for mine, theirs in pairs))
    return _share(one, other, larger, tuple(_widest(mine, theirs) for mine, theirs in pairs))


def _share(one: Share, other: Share, source: Source, limits: tuple[Limit, ...]) -> Share:
    for share in (one, other):
        if share.source is source and share.limits == limits:
            return share
    return Share(source, limits)


def _larger_source(one: Share, other: Share, amounts: tuple[tuple[Bound, Bound], ...]) -> Source:
    for mine, theirs in amounts:
        if mine != theirs:
            return one.source if _largest(mine, theirs) is mine else other.source
    return one.source if one.source.rank <= other.source.rank else other.source


def _widest(one: Limit, other: Limit) -> Limit:
    if one is other:
        return one
    amount = _largest(one.amount, other.amount)
    depletion = one.depletion if _LENIENCY[one.depletion] >= _LENIENCY[other.depletion] else other.depletion
    ceiling = _ceiling(one, other, amount) if depletion == "soft" else None
    for limit in (one, other):
        if limit.amount == amount and limit.depletion == depletion and limit.ceiling == ceiling:
            return limit
    return Limit(amount, one.period, depletion, ceiling)


def _largest(one: Bound, other: Bound) -> Bound:
    if isinstance(one, Unlimited) or isinstance(other, Unlimited):
        return UNLIMITED
    return max(one, other)


def _ceiling(one: Limit, other: Limit, amount: Bound) -> int | None:
    ceilings = [limit.ceiling for limit in (one, other) if limit.depletion == "soft"]
    bounded = [ceiling for ceiling in ceilings if ceiling is not None]
    if len(bounded) < len(ceilings) or isinstance(amount, Unlimited):
        return None
    return max(amount, *bounded)


def _plus(share: Share, more: Share) -> Share:
    extra = {limit.period: limit for limit in more.limits}
    return Share(share.source, tuple(_sum(limit, extra[limit.period]) for limit in share.limits))


def _sum(limit: Limit, more: Limit) -> Limit:
    if isinstance(limit.amount, Unlimited) or isinstance(more.amount, Unlimited):
        return attrs.evolve(limit, amount=UNLIMITED, ceiling=None)
    ceiling = None if limit.ceiling is None else min(MAX_UNITS, limit.ceiling + more.amount)
    return attrs.evolve(limit, amount=min(MAX_UNITS, limit.amount + more.amount), ceiling=ceiling)


def _times(limit: Limit, quantity: int) -> Limit:
    if quantity == 1 or isinstance(limit.amount, Unlimited):
        return limit
    ceiling = None if limit.ceiling is None else min(MAX_UNITS, limit.ceiling * quantity)
    return attrs.evolve(limit, amount=min(MAX_UNITS, limit.amount * quantity), ceiling=ceiling)


def joined(feature: Feature, standings: Iterable[Standing]) -> Standing | None:
    """Return what any number of sources give together, None for none."""
    given = list(standings)
    return reduce(lambda one, other: join(feature, one, other), given) if given else None
