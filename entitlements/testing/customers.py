"""Hypothesis strategies of what a customer may hold: facts, and grants of credits.

What is drawn depends on the catalog's names alone; each strategy is built once for those, for building
one takes longer than drawing from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from ..amounts import UNLIMITED, Bound, Unlimited, exact
from ..catalog.model import (
    DEFAULT_PRODUCT,
    Catalog,
    ConfigType,
    ConfigValue,
    Credit,
    Depletion,
    Entitlement,
    Feature,
    FeatureType,
    Limit,
    Mode,
    Period,
)
from ..ledger.blocks import Block
from ..ledger.facts import F, Facts, HeldAddOn, Override, PromotionRun, Subscription, Trial
from ..periods import Window

Draw: TypeAlias = DrawFn
Span: TypeAlias = tuple[datetime, datetime | None]
_T = TypeVar("_T")

AT: Final = datetime(2026, 5, 10, 12, tzinfo=UTC)
"""The instant around which everything is drawn: ask about it, and most of what was drawn is in force."""


class Shape(NamedTuple):
    """What of a feature decides which entitlements to it there may be."""

    key: str
    type: FeatureType
    reset: Period = Period()
    value: ConfigType = "text"
    prefer: object = None


_STEP: Final = timedelta(hours=6)
_SCOPES: Final = ({"team": "research"}, {"team": "research", "user": "ann"}, {"user": "bo/b"})
_PLANS: Final = (("free", DEFAULT_PRODUCT), ("pro", DEFAULT_PRODUCT))
_KEYS: Final = {"plans": ("free", "pro"), "addons": ("extra_seats",), "promotions": ("launch",)}
_SHAPES: Final = (
    Shape("exports", "boolean"),
    Shape("calls", "metered", Period("month")),
    Shape("seats", "metered"),
    Shape("tier", "config", prefer=("gold", "silver")),
)
_SPANS: Final[Sequence[Span]] = [
    (AT + began * _STEP, None if lasts is None else AT + (began + lasts) * _STEP)
    for began in (-1, -8, -20, 0, 3)
    for lasts in (None, None, 1, 5, 20, 30)
]
_DEPLETIONS: Final[Sequence[tuple[Depletion, int | None]]] = (
    ("hard", None), ("hard", None), ("partial", None), ("soft", None), ("soft", 0), ("soft", 5),
)  # fmt: skip

_spans = st.sampled_from(_SPANS)
_tried = st.sampled_from([*_SPANS, *[span for span in _SPANS if span[1] is not None and span[1] <= AT] * 3])
_instants = st.integers(-120, 120).map(lambda steps: AT + steps * _STEP)
_statuses = st.sampled_from(["active", "active", "active", "past_due", "paused"])
_zones = st.sampled_from(["UTC", "UTC", "Asia/Kathmandu", "America/New_York"])
_amounts = st.integers(0, 60).map(lambda units: UNLIMITED if units > 50 else units)
_terms = st.fixed_dictionaries(
    {},
    optional={
        "category": st.sampled_from(["paid", "promotional"]),
        "priority": st.integers(0, 100),
        "cost_basis": st.sampled_from([0, 9, "9.00", Decimal("0.001")]),
        "expires_in": st.integers(1, 90).map(lambda days: timedelta(days=days)),
        "scope": st.sampled_from(_SCOPES),
        "settle_debt": st.booleans(),
        "metadata": st.sampled_from([{"invoice": "in_1"}, {"tags": ["a", "é"]}]),
    },
)
_numbers: Mapping[ConfigType, SearchStrategy[ConfigValue]] = {
    "integer": st.integers(-99, 99),
    "decimal": st.integers(-99, 99).map(lambda tenths: Decimal(tenths) / 10),
    "text": st.sampled_from(["", "a", "größer"]),
    "list": st.lists(st.sampled_from("abc"), unique=True, max_size=3).map(tuple),
    "boolean": st.booleans(),
}


def instants(*, days: int = 30) -> SearchStrategy[datetime]:
    """Return aware instants up to so many days before and after `AT`, four a day; `AT` is the simplest."""
    return st.integers(-4 * days, 4 * days).map(lambda steps: AT + steps * _STEP)


def spans() -> SearchStrategy[Span]:
    """Return when something holds, its end exclusive or None: most often at `AT`, sometimes just up to it."""
    return _spans


def windows() -> SearchStrategy[Window]:
    """Return half-open windows of a quarter of a day up to a month."""
    return st.builds(lambda start, steps: Window(start, start + steps * _STEP), _instants, st.integers(1, 124))


def subscriptions(catalog: Catalog | None = None) -> SearchStrategy[Subscription]:
    """Return subscriptions to the plans of the catalog, or to plans named "pro" and "free"."""
    return _subscriptions(_offered(_plans(catalog)))


def trials(catalog: Catalog | None = None) -> SearchStrategy[Trial]:
    """Return trials of the plans of the catalog, or of "pro" and "free"; many have ended."""
    return _trials(_offered(_plans(catalog)))


def held_addons(catalog: Catalog | None = None) -> SearchStrategy[HeldAddOn]:
    """Return add-ons of the catalog, or "extra_seats", held one to three times."""
    return _held_addons(_offered(_keys(catalog, "addons")))


def promotion_runs(catalog: Catalog | None = None) -> SearchStrategy[PromotionRun]:
    """Return runs of the promotions of the catalog, or of "launch"."""
    return _promotion_runs(_offered(_keys(catalog, "promotions")))


def overrides(catalog: Catalog | None = None) -> SearchStrategy[Override]:
    """Return overrides of the features of the catalog, each with a value that its feature can have."""
    return _overrides(_offered(_shapes(catalog)))


def facts(catalog: Catalog | None = None) -> SearchStrategy[Facts]:
    """Return all facts of a customer, as `resolve(catalog, facts, at)` takes them.

    No two of a kind have the same key, so that a customer holds one plan of each product. Facts of which
    the catalog has none to offer are left out.
    """
    return _facts(_plans(catalog), _keys(catalog, "addons"), _keys(catalog, "promotions"), _shapes(catalog))


@st.composite
def grants(draw: Draw, catalog: Catalog) -> dict[str, Any]:
    """Draw the arguments of a grant but its key: `ent.grant_credits("acme", key="g", **grant)` takes each.

    Raises ValueError for a catalog without credits.
    """
    credit = catalog.credits[draw(st.sampled_from(_offered(sorted(catalog.credits))))]
    units, told = draw(st.integers(1, 10**9)), draw(_terms)
    if draw(st.booleans()) and catalog.features:
        features = st.sampled_from(sorted(catalog.features))
        told["features"] = draw(st.lists(features, min_size=1, max_size=2, unique=True))
    return {"credit": credit.key, "amount": draw(_spelled(units, credit)), **told}


@st.composite
def blocks(draw: Draw) -> Block:
    """Draw a block as a balance shows it: what is free, held and gone of it add up to what was granted."""
    scale, units = draw(st.integers(0, 4)), draw(st.integers(1, 10**6))
    free = draw(st.integers(0, units))
    since, until = draw(spans())
    return Block(
        draw(st.sampled_from(["g1", "g2", "plan:pro:1"])),
        "ai",
        scale,
        units,
        free,
        draw(st.integers(0, units - free)),
        draw(st.sampled_from(["paid", "promotional"])),
        draw(st.integers(0, 100)),
        draw(st.sampled_from([None, Decimal(0), Decimal("9.00")])),
        since,
        until,
        draw(st.sampled_from([None, ("calls",)])),
        draw(st.sampled_from([None, (("team", "research"),)])),
        number=draw(st.integers(1, 9)),
    )


@lru_cache(maxsize=256)
def entitlements(shape: Shape, modes: tuple[Mode, ...]) -> SearchStrategy[Entitlement]:
    """Return what a source may say about a feature in one of the modes; what is not metered is never added to."""
    if shape.type == "metered":
        limits = st.tuples(_amounts, st.sampled_from(_DEPLETIONS)).map(lambda drawn: (_limit(shape, *drawn),))
        return st.tuples(st.sampled_from(modes), limits).map(
            lambda drawn: _entitlement(shape, drawn[0], None, drawn[1])
        )
    plain = st.sampled_from([mode for mode in modes if mode != "add"])
    return st.tuples(plain, values(shape)).map(lambda drawn: _entitlement(shape, *drawn))


@lru_cache(maxsize=256)
def values(shape: Shape) -> SearchStrategy[ConfigValue]:
    """Return the values that a boolean or config feature may have."""
    if shape.type == "boolean":
        return st.booleans()
    return st.sampled_from(shape.prefer) if isinstance(shape.prefer, tuple) else _numbers[shape.value]


def shape_of(feature: Feature) -> Shape:
    """Return what of the feature decides which entitlements to it there may be."""
    return Shape(feature.key, feature.type, feature.reset, feature.value, feature.prefer)


def _plans(catalog: Catalog | None) -> tuple[tuple[str, str], ...]:
    return _PLANS if catalog is None else tuple((key, catalog.plans[key].product) for key in sorted(catalog.plans))


def _keys(catalog: Catalog | None, section: str) -> tuple[str, ...]:
    return _KEYS[section] if catalog is None else tuple(sorted(getattr(catalog, section)))


def _shapes(catalog: Catalog | None) -> tuple[Shape, ...]:
    return _SHAPES if catalog is None else tuple(shape_of(catalog.features[key]) for key in sorted(catalog.features))


def _offered(names: Sequence[_T]) -> Sequence[_T]:
    if not names:
        raise ValueError("the catalog has nothing of this kind to draw from")
    return names


@lru_cache(maxsize=64)
def _facts(
    plans: tuple[tuple[str, str], ...], addons: tuple[str, ...], promotions: tuple[str, ...], shapes: tuple[Shape, ...]
) -> SearchStrategy[Facts]:
    return st.tuples(
        _some(_subscriptions, plans),
        _some(_trials, plans),
        _some(_held_addons, addons),
        _some(_promotion_runs, promotions),
        _some(_overrides, shapes),
    ).map(lambda drawn: Facts(*drawn))


def _some(of: Callable[[Any], SearchStrategy[F]], offered: Sequence[Any]) -> SearchStrategy[tuple[F, ...]]:
    return st.lists(of(offered), max_size=2).map(_by_key) if offered else st.just(())


def _by_key(drawn: Iterable[F]) -> tuple[F, ...]:
    held = {fact.key: fact for fact in drawn}
    return tuple(held[key] for key in sorted(held))


@lru_cache(maxsize=64)
def _subscriptions(plans: tuple[tuple[str, str], ...]) -> SearchStrategy[Subscription]:
    drawn = st.tuples(st.sampled_from(plans), _spans, _statuses, _instants, _zones)
    return drawn.map(lambda drawn: _subscription(*drawn))


def _subscription(named: tuple[str, str], span: Span, status: Any, anchor: datetime, zone: str) -> Subscription:
    plan, product = named
    since, until = span
    return Subscription(product, product, plan, since, until, since, anchor, zone, status)


@lru_cache(maxsize=64)
def _trials(plans: tuple[tuple[str, str], ...]) -> SearchStrategy[Trial]:
    return st.tuples(st.sampled_from(plans), _tried).map(lambda drawn: Trial(drawn[0][0], *drawn[1]))


@lru_cache(maxsize=64)
def _held_addons(keys: tuple[str, ...]) -> SearchStrategy[HeldAddOn]:
    drawn = st.tuples(st.sampled_from(keys), st.integers(1, 3), _spans)
    return drawn.map(lambda drawn: HeldAddOn(drawn[0], drawn[1], *drawn[2]))


@lru_cache(maxsize=64)
def _promotion_runs(keys: tuple[str, ...]) -> SearchStrategy[PromotionRun]:
    return st.tuples(st.sampled_from(keys), _spans).map(lambda drawn: PromotionRun(drawn[0], *drawn[1]))


@lru_cache(maxsize=64)
def _overrides(shapes: tuple[Shape, ...]) -> SearchStrategy[Override]:
    said = st.one_of(*(entitlements(shape, ("set", "grant", "deny", "add")) for shape in shapes))
    drawn = st.tuples(said, _spans, st.integers(0, 9), st.sampled_from(["", "as agreed"]))
    return drawn.map(lambda drawn: Override(drawn[0], *drawn[1], drawn[2], drawn[3]))


def _entitlement(shape: Shape, mode: Mode, value: ConfigValue | None, limits: tuple[Limit, ...] = ()) -> Entitlement:
    return Entitlement(shape.key, mode) if mode == "deny" else Entitlement(shape.key, mode, value, limits)


def _limit(shape: Shape, amount: Bound, depleted: tuple[Depletion, int | None]) -> Limit:
    depletion, more = depleted
    ceiling = None if more is None or isinstance(amount, Unlimited) else amount + more
    return Limit(amount, shape.reset, depletion, ceiling)


def _spelled(units: int, credit: Credit) -> SearchStrategy[Any]:
    amount = exact(units, credit.scale)
    return st.sampled_from([amount, str(amount)] if credit.scale else [units, amount, str(units)])
