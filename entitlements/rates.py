"""Rates: what a use of a feature costs in credits, by the catalog's rate card.

A case fits a charge whose dimensions equal all that it names; the one that names most wins, and the
rate's own price is for charges that none fits. A kind of units is the dimension `kind`. A charge is
rounded once, as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Any, Final, cast

import attrs

from .amounts import MAX_UNITS, canonical, from_units
from .catalog.model import EMPTY, Catalog, Feature, Rate, RateCase
from .errors import AmountError, UnknownPrice, did_you_mean, shown
from .frozen import FrozenDict, frozen

KIND: Final = "kind"
MOST_KNOWN: Final = 10_000
"""How much a catalog remembers: dimensions come from callers, and there may be any number of them."""
_NOTHING: Final = Fraction(0)
_DECIMAL: Final = 10**40


@attrs.frozen
class Fit:
    """The price that fits, as text; `cost` is that of one block of `block` smallest units, in those of the credit.

    `ratio` is the cost of one smallest unit.
    """

    price: str
    cost: Fraction
    block: Fraction
    ratio: Fraction


@attrs.frozen
class Part:
    """An amount of a feature of one kind (None: of no kind), and the price that fits it, both as text."""

    kind: str | None
    amount: str
    price: str


@attrs.frozen
class Price:
    """What a use costs: smallest units of a credit, `unrounded` as it was before, and how it came to that."""

    credit: str
    units: int
    unrounded: str
    per: str
    parts: tuple[Part, ...]

    @cached_property
    def stamp(self) -> Mapping[str, Any]:
        """The price as it is stamped on an entry: JSON values, amounts as text."""
        parts = [[part.kind, part.amount, part.price] for part in self.parts]
        return FrozenDict(credit=self.credit, unrounded=self.unrounded, per=self.per, parts=frozen(parts))


def price_of(
    catalog: Catalog, feature: Feature, units: int | Mapping[str, int], dimensions: Mapping[str, str] | None = None
) -> Price | None:
    """Return what units of a feature cost, in smallest units of its rate's credit; None for a feature without a rate.

    Raises UnknownPrice where no price fits, AmountError for a price beyond what a log can hold.
    """
    rate = catalog.rates.get(feature.key)
    if rate is None:
        return None
    if not isinstance(units, int):
        return _price(catalog, feature, rate, units, dimensions)
    told = ("price of", feature.key, units, *sorted((dimensions or EMPTY).items()))
    memo = catalog.combined.get(told)
    if memo is None:
        memo = {"price": _price(catalog, feature, rate, units, dimensions)}
        if len(catalog.combined) < MOST_KNOWN:
            catalog.combined[told] = memo
    return cast("Price", memo["price"])


def _price(
    catalog: Catalog, feature: Feature, rate: Rate, units: int | Mapping[str, int], dimensions: Mapping[str, str] | None
) -> Price:
    kinds = ((None, units),) if isinstance(units, int) else units.items()
    cost, parts = _NOTHING, list[Part]()
    for kind, amount in kinds:
        fitting = _fitting(catalog, rate, dimensions or EMPTY, kind)
        more = _cost(rate, fitting, amount)
        cost = cost + more if cost else more
        parts.append(Part(kind, canonical(from_units(amount, feature.scale)), fitting.price))
    whole = _rounded(rate, cost)
    if whole > MAX_UNITS:
        raise AmountError(f"{feature.key!r} would cost more {rate.credit} than a log can hold")
    exact = cost / _power(catalog.credits[rate.credit].scale)
    return Price(rate.credit, whole, _spelled(exact), canonical(rate.per), tuple(parts))


def has_price(catalog: Catalog, feature: Feature, dimensions: Mapping[str, str] | None) -> bool:
    """Tell whether a plain amount with these dimensions has a price."""
    return feature.key in catalog.rates and _find(catalog.rates[feature.key], dimensions or EMPTY) is not None


def _fitting(catalog: Catalog, rate: Rate, dimensions: Mapping[str, str], kind: str | None) -> Fit:
    """Return the price that fits; worked out once for each kind and dimensions that come up."""
    known = {**dimensions, KIND: kind} if kind is not None else dimensions
    told = ("price", rate.feature, *sorted(known.items()))
    memo = catalog.combined.get(told)
    if memo is None:
        price = _find(rate, known)
        if price is None:
            raise UnknownPrice(_unpriced(rate, known))
        memo = {"fit": _fit(catalog, rate, price)}
        if len(catalog.combined) < MOST_KNOWN:
            catalog.combined[told] = memo
    return cast("Fit", memo["fit"])


def _fit(catalog: Catalog, rate: Rate, price: Decimal) -> Fit:
    block = Fraction(rate.per) * _power(catalog.features[rate.feature].scale)
    cost = Fraction(price) * _power(catalog.credits[rate.credit].scale)
    return Fit(canonical(price), cost, block, cost / block)


def _find(rate: Rate, dimensions: Mapping[str, str]) -> Decimal | None:
    """Return the price of the most specific case that fits, else the rate's own, None where there is none."""
    best: RateCase | None = None
    for case in rate.when:
        if (best is None or len(case.match) > len(best.match)) and case.match.items() <= dimensions.items():
            best = case
    return rate.price if best is None else best.price


def _cost(rate: Rate, fit: Fit, units: int) -> Fraction:
    """Return what units cost, in smallest units of the credit, not rounded yet."""
    if not rate.whole:
        return units * fit.ratio
    blocks = units / fit.block
    return -(-blocks.numerator // blocks.denominator) * fit.cost


def _rounded(rate: Rate, cost: Fraction) -> int:
    down, rest = divmod(cost.numerator, cost.denominator)
    if rate.round == "down" or not rest:
        return down
    return down + 1 if rate.round == "up" or 2 * rest >= cost.denominator else down


def _unpriced(rate: Rate, dimensions: Mapping[str, str]) -> str:
    """Return what is wrong with a charge that no price fits, and what might be meant."""
    told = ", ".join(f"{shown(name)[1:-1]}: {shown(value)[1:-1]}" for name, value in sorted(dimensions.items()))
    near = "".join(_near(rate, dimensions))
    return (
        f"the rate of {rate.feature!r} has no price for {{{told}}}{near}; add a case for it under when, or a price for "
        "all that no case fits"
    )


def _near(rate: Rate, dimensions: Mapping[str, str]) -> Iterable[str]:
    for name, value in sorted(dimensions.items()):
        priced = {case.match[name] for case in rate.when if name in case.match}
        if priced and value not in priced:
            yield did_you_mean(value, priced)
    needed = sorted({name for case in rate.when for name in case.match} - dimensions.keys())
    if needed:
        yield f" (nothing is said of {', '.join(needed)})"


def _power(scale: int) -> int:
    power: int = 10**scale
    return power


def _spelled(cost: Fraction) -> str:
    """Return an exact cost as decimal text, as a fraction where no decimal is exact."""
    scaled, rest = divmod(cost.numerator * _DECIMAL, cost.denominator)
    if rest:
        return f"{cost.numerator}/{cost.denominator}"
    text = f"{scaled // _DECIMAL}.{scaled % _DECIMAL:040d}"
    return text.rstrip("0").rstrip(".")
