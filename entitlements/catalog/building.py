"""From the `written` values to the model: amounts get their scale, shorthands become what they mean.

Everything here is pure and never raises for a mistake in the catalog; it leaves out what cannot be
built and says why in the findings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, Literal, TypeVar

import attrs

from ..amounts import MAX_SCALE
from .entitling import Section, converted, entitled, units
from .findings import Finding, Findings, Path, agreed, unknown
from .meaning import unclear
from .model import (
    NO_PERIOD,
    AddOn,
    Catalog,
    ConfigType,
    Credit,
    Entitlement,
    Feature,
    Plan,
    PlanCredit,
    Product,
    Promotion,
    Rate,
    RateCase,
    Rollover,
)
from .words import Surprise, misfit
from .written import (
    Absent,
    Entry,
    Shorthand,
    WrittenAddOn,
    WrittenCatalog,
    WrittenCredit,
    WrittenFeature,
    WrittenPlan,
    WrittenPlanCredit,
    WrittenProduct,
    WrittenPromotion,
    WrittenRate,
    WrittenRollover,
    is_given,
)

T = TypeVar("T")
W = TypeVar("W")
_DESCRIBED: Final = ("title", "description", "metadata")
_METERED_ONLY: Final = ("reset", "aggregate", "scale", "backdate", "alerts")
_CONFIG_ONLY: Final = ("value", "prefer")


def built(catalog: WrittenCatalog, findings: Findings, notes: Iterable[str] = ()) -> Catalog:
    """Return the catalog without what cannot be built, which is in the findings."""
    if catalog.version != 1:
        findings.add(Finding(("version",), f"{catalog.version} is not a format this library knows; write 1"))
    features = _each("features", catalog.features, _feature, findings)
    kinds = _each("credits", catalog.credits, _credit, findings)
    maker = _Maker(features, kinds, findings)
    return Catalog(
        features=features,
        credits=kinds,
        products=_each("products", catalog.products, _product, findings),
        plans=_each("plans", catalog.plans, maker.plan, findings),
        addons=_each("addons", catalog.addons, maker.addon, findings),
        promotions=_each("promotions", catalog.promotions, maker.promotion, findings),
        rates=_each("rates", catalog.rates, _rate, findings),
        default_plan=catalog.default_plan,
        notes=tuple(notes),
    )


@attrs.frozen
class _Maker:
    """Builds what refers to features and credits."""

    features: Mapping[str, Feature]
    credits: Mapping[str, Credit]
    findings: Findings

    def plan(self, key: str, written: WrittenPlan, path: Path, findings: Findings) -> Plan:
        return Plan(
            key,
            product=written.product,
            extends=tuple(written.extends),
            version=written.version,
            price=written.price or None,
            trial=written.trial,
            entitlements=self._entitlements("plans", written.entitlements, path),
            credits=_each("credits", written.credits, self._plan_credit, findings, path),
            **_described(written),
        )

    def addon(self, key: str, written: WrittenAddOn, path: Path, _: Findings) -> AddOn:
        return AddOn(
            key,
            plans=tuple(written.plans),
            requires=tuple(written.requires),
            excludes=tuple(written.excludes),
            price=written.price or None,
            entitlements=self._entitlements("addons", written.entitlements, path),
            **_described(written),
        )

    def promotion(self, key: str, written: WrittenPromotion, path: Path, _: Findings) -> Promotion:
        return Promotion(
            key,
            days=written.days,
            entitlements=self._entitlements("promotions", written.entitlements, path),
            **_described(written),
        )

    def _entitlements(self, section: Section, entries: Mapping[str, Entry], path: Path) -> Mapping[str, Entitlement]:
        def one(key: str, entry: Entry, at: Path, findings: Findings) -> Entitlement | None:
            feature = self.features.get(key)
            if feature is not None:
                return entitled(feature, entry, section, at, findings)
            if not unclear(findings, "features", key):
                findings.add(Finding(at, unknown("feature", key, self.features), at_key=True))
            if isinstance(entry, Shorthand) and isinstance(entry.value, Surprise):
                findings.add(Finding(at, entry.value.message))
            return None

        return _each("entitlements", entries, one, self.findings, path)

    def _plan_credit(self, key: str, written: WrittenPlanCredit, path: Path, findings: Findings) -> PlanCredit:
        credit = self.credits.get(key)
        scales = (MAX_SCALE, 0) if credit is None else (credit.scale,)
        return agreed(scales, lambda scale, found: _plan_credit(written, scale, path, found), findings)


def _each(
    section: str,
    entries: Mapping[str, W],
    make: Callable[[str, W, Path, Findings], T | None],
    findings: Findings,
    above: Path = (),
) -> Mapping[str, T]:
    made = {key: make(key, entry, (*above, section, key), findings) for key, entry in entries.items()}
    return MappingProxyType({key: each for key, each in made.items() if each is not None})


def _described(written: Any) -> dict[str, Any]:
    return {name: getattr(written, name) for name in _DESCRIBED}


def _feature(key: str, written: WrittenFeature, path: Path, findings: Findings) -> Feature:
    for name in (*_METERED_ONLY * (written.type != "metered"), *_CONFIG_ONLY * (written.type != "config")):
        if is_given(getattr(written, name)):
            findings.add(Finding((*path, name), f"says nothing on a {written.type} feature; leave it out"))
    value = written.value or "text"
    prefer = _prefer(written, value, (*path, "prefer"), findings)
    return Feature(
        key,
        written.type,
        unit=written.unit,
        reset=written.reset or NO_PERIOD,
        aggregate=written.aggregate or "sum",
        scale=written.scale or 0,
        value=value,
        prefer=prefer,
        backdate=written.backdate or timedelta(0),
        on_unavailable=written.on_unavailable,
        alerts=_parts(written.alerts or (), (*path, "alerts"), findings),
        **_described(written),
    )


def _prefer(written: WrittenFeature, value: ConfigType, path: Path, findings: Findings) -> Any:
    if written.type != "config":
        return None
    if isinstance(written.prefer, Absent):
        return default_preference(value)
    if isinstance(written.prefer, str) and written.prefer in {"max", "min"}:
        return written.prefer
    if not isinstance(written.prefer, list | tuple):
        findings.add(Finding(path, str(misfit(written.prefer, "max, min, or a list with the best value first"))))
        return None
    items = tuple(converted(item, value, (*path, at), findings) for at, item in enumerate(written.prefer))
    return None if None in items else items


def default_preference(value: ConfigType) -> Literal["max"] | None:
    """Return what a config feature prefers by itself: the largest number, true; lists unite, texts have no order."""
    return None if value in {"text", "list"} else "max"


def _parts(alerts: Iterable[Decimal], path: Path, findings: Findings) -> tuple[int, ...]:
    """Return parts of a limit in thousandths, the smallest first."""
    parts = []
    for at, part in enumerate(alerts):
        thousandths = part * 1000
        if not 0 < part <= 10 or thousandths != int(thousandths):
            findings.add(Finding((*path, at), f"is {part}; write a part of the limit such as '0.8', up to 10"))
        else:
            parts.append(int(thousandths))
    return tuple(sorted(set(parts)))


def _credit(key: str, written: WrittenCredit, path: Path, findings: Findings) -> Credit:
    floor = None if isinstance(written.floor, Absent) else units(written.floor, written.scale, "floor", path, findings)
    return Credit(
        key,
        scale=written.scale,
        currency=written.currency,
        depletion=written.depletion,
        floor=floor,
        burn_order=written.burn_order,
        alerts=tuple(units(left, written.scale, "alerts", path, findings) for left in written.alerts),
        expiring=written.expiring,
        **_described(written),
    )


def _plan_credit(written: WrittenPlanCredit, scale: int, path: Path, findings: Findings) -> PlanCredit:
    return PlanCredit(
        grant=units(written.grant, scale, "grant", path, findings),
        every=written.every,
        count=written.count,
        category=written.category,
        priority=written.priority,
        cost_basis=written.cost_basis,
        rollover=_rollover(written.rollover, scale, (*path, "rollover"), findings),
        allowance=written.allowance,
        unused=written.unused,
    )


def _product(key: str, written: WrittenProduct, _path: Path, _findings: Findings) -> Product:
    return Product(key, **_described(written))


def _rate(key: str, written: WrittenRate, _path: Path, _findings: Findings) -> Rate:
    cases = tuple(RateCase(case.match, case.price) for case in written.when)
    return Rate(key, written.credit, written.price, written.per, cases, written.whole, written.round)


def _rollover(written: WrittenRollover | None, scale: int, path: Path, findings: Findings) -> Rollover | None:
    if written is None:
        return None
    most = None if isinstance(written.max, Absent) else units(written.max, scale, "max", path, findings)
    return Rollover(most, written.fraction, written.expires_after, written.times)
