"""What a source gives for a feature, and how two of them join.

Allowances unite: joining never takes anything away. The join is commutative, associative and
idempotent, so an answer is a function of the set of sources. Inheritance is flattened once for each
plan of a catalog, here, and shared by all who hold it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Final, Literal

import attrs

from ..amounts import MAX_UNITS, UNLIMITED, Bound, Unlimited
from ..periods import EVERY
from .model import Catalog, ConfigValue, Entitlement, Feature, Limit, Period, PlanCredit

Kind = Literal["override", "promotion", "trial", "add-on", "plan", "parent"]
RANK: Final[Mapping[str, int]] = {
    kind: rank for rank, kind in enumerate(("override", "promotion", "trial", "add-on", "plan", "parent"))
}
_LENGTH: Final[Mapping[str, int]] = {every: length for length, every in enumerate((*EVERY, "none"))}


@attrs.frozen(weakref_slot=False)
class Source:
    """Where an entitlement comes from; the lower `rank` wins a tie, then the key.

    `label` is the source in one word: `plan:pro`, `add-on:extra_seats`, `override:set`.
    """

    kind: Kind
    key: str
    label: str = attrs.field(init=False, eq=False, repr=False)

    @label.default
    def _label(self) -> str:
        return f"{self.kind}:{self.key}"

    @property
    def rank(self) -> tuple[int, str]:
        """What decides between equals."""
        return RANK[self.kind], self.key


@attrs.frozen(weakref_slot=False)
class Share:
    """One allowance of a metered feature: limits that must all have room, the shortest period first.

    `sources` tells for each limit who gave the largest; `source` is the first of them.
    """

    source: Source
    limits: tuple[Limit, ...]
    sources: tuple[Source, ...] = attrs.field()

    @sources.default
    def _one_source(self) -> tuple[Source, ...]:
        return (self.source,) * len(self.limits)

    def shape(self) -> tuple[Period, ...]:
        """Return the periods of the limits: shares of one shape compete, others stand side by side."""
        return tuple([limit.period for limit in self.limits])


@attrs.frozen(weakref_slot=False)
class Standing:
    """What stands for one feature: a value, or shares any of which may have room.

    Lists are sorted; of a united list `breadth` is how many items `source` gives by itself.
    """

    source: Source
    value: ConfigValue | None = None
    shares: tuple[Share, ...] = ()
    breadth: int = 0


def standing_of(source: Source, entitlement: Entitlement) -> Standing:
    """Return what one entitlement of a source comes to alone."""
    value = entitlement.value
    if isinstance(value, tuple):
        return Standing(source, tuple(sorted({*value})), breadth=len({*value}))
    return Standing(source, value, (share_of(source, entitlement.limits),) if entitlement.limits else ())


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
    own, from zero. A sum is soft if a part of it is. An amount never exceeds what a counter can hold.
    """
    given = share_of(source, entitlement.limits)
    limits = tuple([_times(limit, quantity) for limit in given.limits])
    more = given if quantity == 1 else Share(source, limits)
    shares = {share.shape(): share for share in standing.shares} if standing is not None else {}
    base = shares.get(more.shape())
    shares[more.shape()] = more if base is None else _plus(base, more)
    return _side_by_side(shares.values(), source)


def flatten(catalog: Catalog, plan: str, kind: Literal["plan", "trial"] = "plan") -> Mapping[str, Standing]:
    """Return what a plan gives with all it inherits, by feature; empty for a plan the catalog lacks.

    A plan's entry of mode `set` stands alone, any other joins its parents'. A trial speaks with one
    voice; in a subscription each parent is a source of its own.
    """
    memo = catalog.flattened.get((kind, plan))
    if memo is None:
        given = _flatten(catalog, plan, "plan")
        if kind == "trial":
            given = {key: _spoken_by(Source("trial", plan), standing) for key, standing in given.items()}
        memo = catalog.flattened[kind, plan] = given
    return memo


def promoted(catalog: Catalog, promotion: str) -> Mapping[str, Standing]:
    """Return what a promotion gives, by feature; empty for one the catalog lacks."""
    memo = catalog.flattened.get(("promotion", promotion))
    if memo is None:
        memo = catalog.flattened["promotion", promotion] = _stand(
            Source("promotion", promotion),
            catalog.promotions[promotion].entitlements if promotion in catalog.promotions else {},
        )
    return memo


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


def credits_of(catalog: Catalog, plan: str) -> Mapping[str, PlanCredit]:
    """Return what a plan grants by credit: its own terms, else those of the nearest plan it extends."""
    memo = catalog.combined.get(("plan credits", plan))
    if memo is None:
        found: dict[str, PlanCredit] = {}
        for key in lineage(catalog, plan):
            for credit, terms in catalog.plans[key].credits.items():
                found.setdefault(credit, terms)
        memo = catalog.combined["plan credits", plan] = found
    return memo


def counted_as(plan: str, credit: str, *, lent: bool) -> str:
    """Return the name under which a log counts what a plan grants of a credit; what a trial lends counts apart."""
    return f"{'trial:' if lent else ''}{plan}/{credit}"


def _flatten(catalog: Catalog, plan: str, kind: Literal["plan", "parent"]) -> dict[str, Standing]:
    if plan not in catalog.plans:
        return {}
    described = catalog.plans[plan]
    joined = _stand(Source(kind, plan), described.entitlements)
    for parent in described.extends:
        for key, standing in _flatten(catalog, parent, "parent").items():
            entry = described.entitlements.get(key)
            if entry is None or entry.mode != "set":
                joined[key] = join(catalog.features[key], joined[key], standing) if key in joined else standing
    return joined


def _spoken_by(source: Source, standing: Standing) -> Standing:
    shares = tuple(Share(source, share.limits) for share in standing.shares)
    return attrs.evolve(standing, source=source, shares=shares)


def _stand(source: Source, entitlements: Mapping[str, Entitlement]) -> dict[str, Standing]:
    return {key: standing_of(source, entitlement) for key, entitlement in entitlements.items()}


def _join_values(feature: Feature, one: Standing, other: Standing) -> Standing:
    if one.value is None or other.value is None:
        return other if one.value is None else one
    first, second = sorted((one, other), key=lambda standing: (standing.source.rank, str(standing.value)))
    if isinstance(first.value, tuple) and isinstance(second.value, tuple):
        broadest = second if second.breadth > first.breadth else first
        return attrs.evolve(broadest, value=tuple(sorted({*first.value, *second.value})))
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
    shares = {share.shape(): share for share in one.shares}
    for share in other.shares:
        rival = shares.get(share.shape())
        shares[share.shape()] = share if rival is None else _wider(rival, share)
    return _side_by_side(shares.values(), min(one.source, other.source, key=_rank))


def _side_by_side(shares: Iterable[Share], otherwise: Source) -> Standing:
    """Return shares of different shapes as one standing, in an order that depends on nothing but their periods."""
    ordered = tuple(shares)
    if len(ordered) > 1:
        ordered = tuple(sorted(ordered, key=lambda share: [_length(limit) for limit in share.limits]))
    sources = [source for share in ordered for source in share.sources]
    first = sources[0] if len(sources) == 1 else min(sources, key=_rank, default=otherwise)
    return Standing(first, None, ordered)


@lru_cache(maxsize=4096)
def share_of(source: Source, limits: tuple[Limit, ...]) -> Share:
    """Return the share a source gives with its limits; equal ones are one object, whoever holds them."""
    return Share(source, tuple(sorted(limits, key=_length)))


def _length(limit: Limit) -> tuple[int, int, str]:
    return _LENGTH[limit.period.every], limit.period.count, limit.period.align


def _rank(source: Source) -> tuple[int, str]:
    return source.rank


def _wider(one: Share, other: Share) -> Share:
    """Return the join of two shares of one shape: of each period the largest limit, and who gave it."""
    pairs = list(zip(one.limits, other.limits, strict=True))
    limits = tuple([_joined(mine, theirs, _largest(mine.amount, theirs.amount), max) for mine, theirs in pairs])
    sources = tuple(
        [
            _giver((mine.amount, source), (theirs.amount, rival))
            for (mine, theirs), source, rival in zip(pairs, one.sources, other.sources, strict=True)
        ]
    )
    return Share(sources[0], limits, sources)


def _giver(one: tuple[Bound, Source], other: tuple[Bound, Source]) -> Source:
    if one[0] == other[0]:
        return min(one[1], other[1], key=_rank)
    return one[1] if _largest(one[0], other[0]) == one[0] else other[1]


def bound(limit: Limit) -> int | None:
    """Return what usage of a limit may not pass: its ceiling, else itself, None where nothing stops it."""
    if limit.ceiling is not None:
        return limit.ceiling
    return None if limit.depletion == "soft" or isinstance(limit.amount, Unlimited) else limit.amount


def _joined(one: Limit, other: Limit, amount: Bound, reach: Callable[[int, int], int]) -> Limit:
    """Return a limit of this amount, as lenient as the more lenient of two in each respect.

    `reach` makes the bound that usage may not pass from theirs: the larger, or the sum.
    """
    if one is other and amount == one.amount:
        return one
    soft = "soft" in (one.depletion, other.depletion) or one.ceiling is not None or other.ceiling is not None
    partial = "partial" in (one.depletion, other.depletion)
    mine, theirs = bound(one), bound(other)
    if mine is None or theirs is None or isinstance(amount, Unlimited):
        return Limit(amount, one.period, "soft" if soft else "partial" if partial else "hard")
    ceiling = reach(mine, theirs) if soft else None
    return Limit(amount, one.period, "partial" if partial else "soft" if soft else "hard", ceiling)


def _largest(one: Bound, other: Bound) -> Bound:
    if isinstance(one, Unlimited) or isinstance(other, Unlimited):
        return UNLIMITED
    return max(one, other)


def _plus(share: Share, more: Share) -> Share:
    pairs = zip(share.limits, more.limits, strict=True)
    limits = tuple([_joined(limit, extra, _sum(limit.amount, extra.amount), _total) for limit, extra in pairs])
    return Share(share.source, limits, share.sources)


def _sum(one: Bound, other: Bound) -> Bound:
    return UNLIMITED if isinstance(one, Unlimited) or isinstance(other, Unlimited) else _total(one, other)


def _total(one: int, other: int) -> int:
    return min(MAX_UNITS, one + other)


def _times(limit: Limit, quantity: int) -> Limit:
    if quantity == 1 or isinstance(limit.amount, Unlimited):
        return limit
    ceiling = None if limit.ceiling is None else min(MAX_UNITS, limit.ceiling * quantity)
    return attrs.evolve(limit, amount=min(MAX_UNITS, limit.amount * quantity), ceiling=ceiling)
