"""The model as a catalog file: one canonical spelling for each content, and its version."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import yaml

from ..amounts import Bound, Unlimited, bound_number, canonical, exact, from_units
from ..periods import duration_text
from .building import default_preference
from .model import (
    DEFAULT_PRODUCT,
    NO_PERIOD,
    AddOn,
    Catalog,
    ConfigValue,
    Credit,
    Entitlement,
    Feature,
    Limit,
    Mode,
    Period,
    Plan,
    PlanCredit,
    Promotion,
    Rate,
    Rollover,
)
from .yaml_reading import plain

Document = dict[str, Any]
VERSION_LENGTH: Final = 32


def document(catalog: Catalog) -> Document:
    """Return the catalog as JSON-ready data in the file format: defaults left out, one spelling for each content.

    `load(document(catalog)) == catalog`, and two catalogs with the same content have the same document.
    """
    sections: Document = {
        "default_plan": catalog.default_plan,
        "features": {key: _feature(feature) for key, feature in catalog.features.items()},
        "credits": {key: _credit(credit) for key, credit in catalog.credits.items()},
        "products": {key: _described(product) for key, product in catalog.products.items()},
        "plans": {key: _plan(plan, catalog) for key, plan in catalog.plans.items()},
        "addons": {key: _addon(addon, catalog) for key, addon in catalog.addons.items()},
        "promotions": {key: _promotion(promotion, catalog) for key, promotion in catalog.promotions.items()},
        "rates": {key: _rate(rate) for key, rate in catalog.rates.items()},
    }
    return {"version": 1, **{name: section for name, section in sections.items() if section}}


def version_of(written: Mapping[str, Any]) -> str:
    """Return the version of a document: the first 32 hex digits of the SHA-256 of its canonical JSON."""
    text = json.dumps(dict(written), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:VERSION_LENGTH]


def to_yaml(catalog: Catalog) -> str:
    """Return the catalog as a YAML file for people: in catalog order, loading back to the same version."""
    lines = yaml.dump(
        document(catalog), Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110
    )
    return str(lines)


class _Dumper(yaml.SafeDumper):
    """Writes no aliases, and quotes every text that a reader of YAML could take for something else."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = None if isinstance(plain(value), str) and value.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def _some(**entries: Any) -> Document:
    return {key: value for key, value in entries.items() if value not in (None, "", (), [], {})}


def _described(thing: Any) -> Document:
    return _some(title=thing.title, description=thing.description, metadata=_thawed(thing.metadata))


def _thawed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _thawed(item) for key, item in value.items()}
    return [_thawed(item) for item in value] if isinstance(value, tuple) else value


def _unless(value: Any, default: object) -> Any:
    return None if value == default else value


def _number(value: int | Decimal) -> int | str:
    if isinstance(value, int):
        return value
    text = canonical(value)
    return text if "." in text else int(text)


def _amount(units: int, scale: int) -> int | str:
    return _number(from_units(units, scale))


def _bound(bound: Bound, scale: int) -> int | str:
    number = bound_number(bound, scale)
    return "unlimited" if isinstance(number, Unlimited) else _number(number)


def _span(span: timedelta | None) -> str | None:
    return duration_text(span) if span else None


def _period(period: Period) -> str | Document:
    extra = _some(count=_unless(period.count, 1), align=_unless(period.align, "anniversary"))
    return {"every": period.every, **extra} if extra else period.every


def _value(value: ConfigValue) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return _number(value) if isinstance(value, Decimal) else value


def _feature(feature: Feature) -> Document:
    prefer = _unless(feature.prefer, default_preference(feature.value) if feature.type == "config" else None)
    return {
        "type": feature.type,
        **_described(feature),
        **_some(
            unit=feature.unit,
            reset=_period(feature.reset) if feature.reset != NO_PERIOD else None,
            aggregate=_unless(feature.aggregate, "sum"),
            scale=_unless(feature.scale, 0),
            value=_unless(feature.value, "text"),
            prefer=[_value(item) for item in prefer] if isinstance(prefer, tuple) else prefer,
            backdate=_span(feature.backdate),
            on_unavailable=_unless(feature.on_unavailable, "last_known"),
            alerts=[_number(exact(part, 3)) for part in feature.alerts],
        ),
    }


def _credit(credit: Credit) -> Document:
    order = credit.burn_order
    return _described(credit) | _some(
        scale=_unless(credit.scale, 0),
        currency=credit.currency,
        depletion=_unless(credit.depletion, "hard"),
        floor=None if credit.floor is None else _amount(credit.floor, credit.scale),
        burn_order=list(order) if isinstance(order, tuple) else _unless(order, "default"),
        alerts=[_amount(left, credit.scale) for left in credit.alerts],
        expiring=_span(credit.expiring),
    )


def _entitlements(entries: Mapping[str, Entitlement], catalog: Catalog, metered: Mode) -> Document:
    return {key: _entitlement(entry, catalog.features[key], metered) for key, entry in entries.items()}


def _entitlement(entry: Entitlement, feature: Feature, metered: Mode) -> Any:
    mode = _unless(entry.mode, metered if feature.type == "metered" else "grant")
    if feature.type != "metered":
        value = _value(entry.value) if entry.value is not None else None
        return value if mode is None else {"value": value, "mode": mode}
    if mode is None and len(entry.limits) == 1 and _is_plain(entry.limits[0], feature):
        return _bound(entry.limits[0].amount, feature.scale)
    limits = [_limit(limit, feature) for limit in entry.limits]
    return (limits[0] if len(limits) == 1 else {"limits": limits}) | _some(mode=mode)


def _is_plain(limit: Limit, feature: Feature) -> bool:
    return limit.period == feature.reset and limit.ceiling is None and limit.depletion == "hard"


def _limit(limit: Limit, feature: Feature) -> Document:
    return {"limit": _bound(limit.amount, feature.scale)} | _some(
        reset=_period(limit.period) if limit.period != feature.reset else None,
        depletion=_unless(limit.depletion, "hard"),
        ceiling=None if limit.ceiling is None else _amount(limit.ceiling, feature.scale),
    )


def _plan(plan: Plan, catalog: Catalog) -> Document:
    return _described(plan) | _some(
        product=_unless(plan.product, DEFAULT_PRODUCT),
        extends=plan.extends[0] if len(plan.extends) == 1 else list(plan.extends),
        version=_unless(plan.version, "latest"),
        price=plan.price,
        trial={"days": plan.trial.days} if plan.trial else None,
        entitlements=_entitlements(plan.entitlements, catalog, "grant"),
        credits={key: _plan_credit(credit, catalog.credits[key]) for key, credit in plan.credits.items()},
    )


def _plan_credit(granted: PlanCredit, credit: Credit) -> Document:
    return (
        {"grant": _amount(granted.grant, credit.scale), "every": granted.every}
        | _some(
            count=_unless(granted.count, 1),
            category=_unless(granted.category, "paid"),
            priority=_unless(granted.priority, 50),
            cost_basis=None if granted.cost_basis is None else _number(granted.cost_basis),
            allowance=_unless(granted.allowance, "full"),
            unused=_unless(granted.unused, "keep"),
        )
        | _rollover(granted.rollover, credit.scale)
    )


def _rollover(rollover: Rollover | None, scale: int) -> Document:
    if rollover is None:
        return {}
    entries = _some(
        max=None if rollover.max is None else _amount(rollover.max, scale),
        fraction=None if rollover.fraction == 1 else _number(rollover.fraction),
        expires_after=_span(rollover.expires_after),
        times=_unless(rollover.times, 1),
    )
    return {"rollover": entries}


def _addon(addon: AddOn, catalog: Catalog) -> Document:
    return _described(addon) | _some(
        plans=list(addon.plans),
        requires=list(addon.requires),
        excludes=list(addon.excludes),
        price=addon.price,
        entitlements=_entitlements(addon.entitlements, catalog, "add"),
    )


def _promotion(promotion: Promotion, catalog: Catalog) -> Document:
    return _described(promotion) | _some(
        days=promotion.days, entitlements=_entitlements(promotion.entitlements, catalog, "grant")
    )


def _rate(rate: Rate) -> Document:
    return {"credit": rate.credit} | _some(
        price=None if rate.price is None else _number(rate.price),
        per=None if rate.per == 1 else _number(rate.per),
        when=[{**case.match, "price": _number(case.price)} for case in rate.when],
        whole=rate.whole or None,
        round=_unless(rate.round, "up"),
    )
