"""What a catalog file may say, key by key: the attribute names are the keys of the file.

These are the values between the file and the model. Amounts are still as written, since their scale
stands elsewhere in the file, and an entitlement may still be a shorthand.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final, Literal, NewType, TypeAlias

import attrs

from .model import (
    DEFAULT_PRODUCT,
    EMPTY,
    Aggregate,
    AllowanceOnChange,
    Category,
    ConfigType,
    Depletion,
    FeatureType,
    Mode,
    OnUnavailable,
    Period,
    Rounding,
    TrialTerms,
    Unused,
)

Metadata = NewType("Metadata", Mapping[str, Any])
Price = NewType("Price", str)
Scale = NewType("Scale", int)
Keys = NewType("Keys", tuple[str, ...])
OneOrMore = NewType("OneOrMore", tuple[str, ...])
BurnOrder: TypeAlias = str | tuple[str, ...]
Every = Literal["none", "hour", "day", "week", "month", "quarter", "year"]
CreditEvery = Literal["day", "week", "month", "quarter", "year"]
Align = Literal["anniversary", "calendar", "first_use"]
PlanVersion = Literal["latest", "pinned"]
NO_METADATA: Final = Metadata(EMPTY)


class Absent:
    """The key is not there; None would be a value somebody wrote."""


ABSENT: Final = Absent()


def is_given(value: object) -> bool:
    """Tell whether a key that may be left out is there."""
    return value is not None and not isinstance(value, Absent)


@attrs.frozen
class WrittenPeriod:
    """The long form of a `reset`."""

    every: Every
    count: int = 1
    align: Align = "anniversary"


@attrs.frozen
class WrittenFeature:
    """An entry of `features`."""

    type: FeatureType
    title: str = ""
    description: str = ""
    metadata: Metadata = NO_METADATA
    unit: str = ""
    reset: Period | None = None
    aggregate: Aggregate | None = None
    scale: Scale | None = None
    value: ConfigType | None = None
    prefer: Any = ABSENT
    backdate: timedelta | None = None
    on_unavailable: OnUnavailable = "last_known"
    alerts: tuple[Decimal, ...] | None = None


@attrs.frozen
class WrittenCredit:
    """An entry of `credits`."""

    title: str = ""
    description: str = ""
    metadata: Metadata = NO_METADATA
    scale: Scale = Scale(0)
    currency: str | None = None
    depletion: Depletion = "hard"
    floor: Any = ABSENT
    burn_order: BurnOrder = "default"
    alerts: tuple[Decimal, ...] = ()
    expiring: timedelta | None = None


@attrs.frozen
class WrittenProduct:
    """An entry of `products`."""

    title: str = ""
    description: str = ""
    metadata: Metadata = NO_METADATA


@attrs.frozen
class WrittenRollover:
    """The `rollover` of plan credits."""

    max: Any = ABSENT
    fraction: Decimal = Decimal(1)
    expires_after: timedelta | None = None
    times: int = 1


@attrs.frozen
class WrittenPlanCredit:
    """An entry of a plan's `credits`."""

    grant: Any
    every: CreditEvery
    count: int = 1
    category: Category = "paid"
    priority: int = 50
    cost_basis: Decimal | None = None
    rollover: WrittenRollover | None = None
    allowance: AllowanceOnChange = "full"
    unused: Unused = "keep"


@attrs.frozen
class WrittenLimit:
    """An entry of `limits`."""

    limit: Any
    reset: Period | None = None
    depletion: Depletion | None = None
    ceiling: Any = ABSENT


@attrs.frozen
class WrittenEntitlement:
    """The long form of an entry of `entitlements`: a value, one limit, or several."""

    mode: Mode | None = None
    value: Any = ABSENT
    limit: Any = ABSENT
    reset: Period | None = None
    depletion: Depletion | None = None
    ceiling: Any = ABSENT
    limits: tuple[WrittenLimit, ...] | None = None


@attrs.frozen
class Shorthand:
    """The short form of an entry of `entitlements`: the bare value or limit."""

    value: object


Entry: TypeAlias = WrittenEntitlement | Shorthand
Entries = NewType("Entries", Mapping[str, Entry])
NO_ENTRIES: Final = Entries(EMPTY)


@attrs.frozen
class WrittenPlan:
    """An entry of `plans`."""

    product: str = DEFAULT_PRODUCT
    extends: OneOrMore = OneOrMore(())
    version: PlanVersion = "latest"
    title: str = ""
    description: str = ""
    metadata: Metadata = NO_METADATA
    price: Price | None = None
    trial: TrialTerms | None = None
    entitlements: Entries = NO_ENTRIES
    credits: Mapping[str, WrittenPlanCredit] = EMPTY


@attrs.frozen
class WrittenAddOn:
    """An entry of `addons`."""

    plans: Keys = Keys(())
    requires: Keys = Keys(())
    excludes: Keys = Keys(())
    title: str = ""
    description: str = ""
    metadata: Metadata = NO_METADATA
    price: Price | None = None
    entitlements: Entries = NO_ENTRIES


@attrs.frozen
class WrittenPromotion:
    """An entry of `promotions`."""

    days: int | None = None
    title: str = ""
    description: str = ""
    metadata: Metadata = NO_METADATA
    entitlements: Entries = NO_ENTRIES


@attrs.frozen
class WrittenCase:
    """An entry of a rate's `when`: the dimensions it needs, and its price."""

    match: Mapping[str, str]
    price: Decimal


@attrs.frozen
class WrittenRate:
    """An entry of `rates`."""

    credit: str
    price: Decimal | None = None
    per: Decimal = Decimal(1)
    when: tuple[WrittenCase, ...] = ()
    whole: bool = False
    round: Rounding = "up"


@attrs.frozen
class WrittenCatalog:
    """The whole file."""

    version: int = 1
    default_plan: str | None = None
    features: Mapping[str, WrittenFeature] = EMPTY
    credits: Mapping[str, WrittenCredit] = EMPTY
    products: Mapping[str, WrittenProduct] = EMPTY
    plans: Mapping[str, WrittenPlan] = EMPTY
    addons: Mapping[str, WrittenAddOn] = EMPTY
    promotions: Mapping[str, WrittenPromotion] = EMPTY
    rates: Mapping[str, WrittenRate] = EMPTY
