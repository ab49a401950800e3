"""What is sold: features, credits, products, plans, add-ons, promotions, rates.

Frozen values with the names of the catalog file, and nothing that fetches. Amounts are smallest
units at the scale of their feature or credit; `loading` turns a file into these values, `checking`
says what is wrong with them, `standing` what a source of them gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs

from ..amounts import Bound

if TYPE_CHECKING:
    from .diff import Difference

FeatureType = Literal["boolean", "metered", "config"]
ConfigType = Literal["integer", "decimal", "text", "list", "boolean"]
Aggregate = Literal["sum", "count", "max", "latest"]
Depletion = Literal["hard", "partial", "soft"]
Mode = Literal["grant", "add", "set", "deny"]
Category = Literal["paid", "promotional"]
AllowanceOnChange = Literal["full", "prorate", "next_period"]
Unused = Literal["keep", "convert", "forfeit"]
Rounding = Literal["up", "nearest", "down"]
OnUnavailable = Literal["deny", "allow", "last_known"]
ConfigValue: TypeAlias = bool | int | Decimal | str | tuple[str, ...]

DEFAULT_PRODUCT = "default"
EMPTY: Mapping[str, Any] = MappingProxyType({})


@attrs.frozen(cache_hash=True, weakref_slot=False)
class Period:
    """How often usage starts again from zero: `count` times `every`, laid out by `align`.

    `every="none"` never starts again (seats, storage). `align` is "anniversary" (from the first-held
    subscription that grants the feature, else the calendar), "calendar", or "first_use".
    """

    every: Literal["none", "hour", "day", "week", "month", "quarter", "year"] = "none"
    count: int = 1
    align: Literal["anniversary", "calendar", "first_use"] = "anniversary"

    def __str__(self) -> str:
        return _spelled(self)


@lru_cache
def _spelled(period: Period) -> str:
    spelled = period.every if period.count == 1 else f"{period.count} {period.every}s"
    return spelled if period.align == "anniversary" else f"{spelled} ({period.align})"


NO_PERIOD = Period()


@attrs.frozen(weakref_slot=False)
class Limit:
    """At most `amount` in each `period`; a soft limit lets more pass, up to `ceiling` where one is given."""

    amount: Bound
    period: Period = NO_PERIOD
    depletion: Depletion = "hard"
    ceiling: int | None = None


@attrs.frozen(weakref_slot=False)
class Entitlement:
    """What one source says about one feature.

    Boolean and config features have a `value`, metered ones `limits` that must all have room.
    """

    feature: str
    mode: Mode = "grant"
    value: ConfigValue | None = None
    limits: tuple[Limit, ...] = ()


@attrs.frozen
class Feature:
    """Something a customer may have: on or off, a configured value, or an amount that is used.

    `alerts` are the parts of a limit, in thousandths, that are told of when usage reaches them.
    """

    key: str
    type: FeatureType
    title: str = ""
    description: str = ""
    metadata: Mapping[str, Any] = attrs.field(default=EMPTY, hash=False)
    unit: str = ""
    reset: Period = NO_PERIOD
    aggregate: Aggregate = "sum"
    scale: int = 0
    value: ConfigType = "text"
    prefer: Literal["max", "min"] | tuple[ConfigValue, ...] | None = None
    backdate: timedelta = timedelta(0)
    on_unavailable: OnUnavailable = "last_known"
    alerts: tuple[int, ...] = ()


@attrs.frozen
class Credit:
    """A kind of credit: its scale, its currency, what happens when it runs out, the order it burns in.

    `alerts` are the balances, in smallest units, that are told of when what is left falls to them;
    `expiring` is how long before its end a block is told of.
    """

    key: str
    title: str = ""
    description: str = ""
    metadata: Mapping[str, Any] = attrs.field(default=EMPTY, hash=False)
    scale: int = 0
    currency: str | None = None
    depletion: Depletion = "hard"
    floor: int | None = None
    burn_order: str | tuple[str, ...] = "default"
    alerts: tuple[int, ...] = ()
    expiring: timedelta | None = None


@attrs.frozen
class Product:
    """A family of plans, of which a customer holds one at a time."""

    key: str
    title: str = ""
    description: str = ""
    metadata: Mapping[str, Any] = attrs.field(default=EMPTY, hash=False)


@attrs.frozen
class Rollover:
    """What is left of a period's plan credits lives on: capped, in part, for a while, so many times."""

    max: int | None = None
    fraction: Decimal = Decimal(1)
    expires_after: timedelta | None = None
    times: int = 1


@attrs.frozen
class PlanCredit:
    """Credits a plan grants every period; `grant` and `rollover.max` are smallest units.

    Where a customer changes to the plan within a period, `allowance` says what that period gives. Where
    one leaves it for another plan, `unused` says what becomes of what is left.
    """

    grant: int
    every: Literal["day", "week", "month", "quarter", "year"]
    count: int = 1
    category: Category = "paid"
    priority: int = 50
    cost_basis: Decimal | None = None
    rollover: Rollover | None = None
    allowance: AllowanceOnChange = "full"
    unused: Unused = "keep"


@attrs.frozen
class TrialTerms:
    """How long a trial of a plan lasts unless told otherwise."""

    days: int


@attrs.frozen
class Plan:
    """A plan of a product; it extends its parents, and its own entries join theirs."""

    key: str
    product: str = DEFAULT_PRODUCT
    extends: tuple[str, ...] = ()
    version: Literal["latest", "pinned"] = "latest"
    title: str = ""
    description: str = ""
    metadata: Mapping[str, Any] = attrs.field(default=EMPTY, hash=False)
    price: str | None = None
    trial: TrialTerms | None = None
    entitlements: Mapping[str, Entitlement] = attrs.field(default=EMPTY, hash=False)
    credits: Mapping[str, PlanCredit] = attrs.field(default=EMPTY, hash=False)


@attrs.frozen
class AddOn:
    """Something sold on top of a plan; without `plans` it goes with every plan."""

    key: str
    plans: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    title: str = ""
    description: str = ""
    metadata: Mapping[str, Any] = attrs.field(default=EMPTY, hash=False)
    price: str | None = None
    entitlements: Mapping[str, Entitlement] = attrs.field(default=EMPTY, hash=False)


@attrs.frozen
class Promotion:
    """Entitlements given away for a while, whatever the plan."""

    key: str
    days: int | None = None
    title: str = ""
    description: str = ""
    metadata: Mapping[str, Any] = attrs.field(default=EMPTY, hash=False)
    entitlements: Mapping[str, Entitlement] = attrs.field(default=EMPTY, hash=False)


@attrs.frozen
class RateCase:
    """A price for charges whose dimensions equal all of `match`."""

    match: Mapping[str, str] = attrs.field(hash=False)
    price: Decimal


@attrs.frozen
class Rate:
    """The price of a feature in credits: `price` for every `per` units; the most specific case wins.

    `whole` charges every begun block of `per` units as a whole one; `round` says how a charge as a
    whole is rounded to the credit's scale.
    """

    feature: str
    credit: str
    price: Decimal | None = None
    per: Decimal = Decimal(1)
    when: tuple[RateCase, ...] = ()
    whole: bool = False
    round: Rounding = "up"


@attrs.frozen(eq=False)
class Catalog:
    """Everything that is sold. Two catalogs with the same content have the same `version`.

    `origin` is the file it was read from, None where it was read from a mapping.
    """

    features: Mapping[str, Feature] = EMPTY
    credits: Mapping[str, Credit] = EMPTY
    products: Mapping[str, Product] = EMPTY
    plans: Mapping[str, Plan] = EMPTY
    addons: Mapping[str, AddOn] = EMPTY
    promotions: Mapping[str, Promotion] = EMPTY
    rates: Mapping[str, Rate] = EMPTY
    default_plan: str | None = None
    notes: tuple[str, ...] = ()
    document: Mapping[str, Any] = attrs.field(default=EMPTY, repr=False)
    version: str = ""
    origin: str | None = attrs.field(default=None, repr=False)
    flattened: dict[tuple[str, str], Mapping[str, Any]] = attrs.field(factory=dict, init=False, repr=False)
    combined: dict[object, Mapping[Any, Any]] = attrs.field(factory=dict, init=False, repr=False)
    combinations: dict[object, Any] = attrs.field(factory=dict, init=False, repr=False)
    """What `standing` and `resolution` have worked out already; memos, never part of the content."""

    @classmethod
    def load(cls, source: object) -> Catalog:
        """Return the catalog in a file (.yaml .yml .toml .json) or a mapping.

        Raises CatalogError with every problem at once; OSError where a file cannot be read.
        """
        from .loading import load  # noqa: PLC0415  (cattrs and PyYAML only when a catalog is read)

        return load(source)

    def diff(self, other: Catalog) -> tuple[Difference, ...]:
        """Return what a customer gains and loses where `other` replaces this catalog, in catalog order."""
        from .diff import diff  # noqa: PLC0415

        return diff(self, other)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Catalog) and self.version == other.version

    def __hash__(self) -> int:
        return hash(self.version)

    def __copy__(self) -> Catalog:
        return self

    def __deepcopy__(self, memo: object) -> Catalog:
        return self  # a value that never changes

    def __reduce__(self) -> tuple[Any, ...]:
        if not self.version:
            said = "a catalog that was put together by hand cannot be pickled; make it by Catalog.load(mapping)"
            raise TypeError(said)
        return _again, (dict(self.document), self.notes, self.origin)


def _again(document: Mapping[str, Any], notes: tuple[str, ...], origin: str | None) -> Catalog:
    """Return a catalog that was pickled, read from its document."""
    from .loading import parse  # noqa: PLC0415  (cattrs and PyYAML only when a catalog is read)

    return parse(document, notes=notes, origin=origin)
