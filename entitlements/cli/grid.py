"""A catalog as a table: what each plan gives with all it inherits, and what is sold or given on top."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..amounts import UNLIMITED, Unlimited, from_units
from ..catalog.model import AddOn, Catalog, Credit, Entitlement, Feature, Plan, PlanCredit, Promotion, Rate
from ..catalog.standing import Standing, credits_of, flatten
from ..contest import says
from ..wording import number, source
from .replies import columns, heading

NOTHING = "-"
Row = tuple[str, ...]


def grid(catalog: Catalog) -> str:
    """Return features by plans as aligned text, then add-ons, promotions, credits and rates."""
    blocks = [columns(list(_plan_rows(catalog)), indent=2), *(block for block in _sections(catalog) if len(block) > 1)]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def one_plan(catalog: Catalog, key: str) -> str:
    """Return everything one plan gives and where it comes from, and what goes with it."""
    plan = catalog.plans[key]
    terms = [f"{name} {value}" for name, value in _terms(plan).items()]
    rows = [("FEATURE", "", "GIVES", "FROM"), *_sourced_rows(catalog, key)]
    lines = [heading(f"plan {key}"), *(f"  {term}" for term in terms), "", *columns(rows, indent=2)]
    addons = [addon for addon in catalog.addons.values() if not addon.plans or key in addon.plans]
    if addons:
        lines += ["", heading("Add-ons"), *columns([_addon_row(catalog, addon) for addon in addons], indent=2)]
    return "\n".join(lines)


def effective(catalog: Catalog, plans: Iterable[str]) -> dict[str, Any]:
    """Return what each plan gives with all it inherits, as JSON values: the words, and the source."""
    return {
        plan: {
            key: {"says": _cell(catalog.features[key], standing), "source": standing.source.label}
            for key, standing in flatten(catalog, plan).items()
        }
        for plan in plans
    }


def _plan_rows(catalog: Catalog) -> Iterator[Row]:
    plans = list(catalog.plans.values())
    default = catalog.default_plan
    yield "FEATURE", "", *(f"{plan.key} (default)" if plan.key == default else plan.key for plan in plans)
    terms = [_terms(plan) for plan in plans]
    products = {plan.product for plan in plans}
    for name in ("product", "price", "trial"):
        if (name != "product" or len(products) > 1) and any(name in term for term in terms):
            yield name, "", *(term.get(name, NOTHING) for term in terms)
    for feature in catalog.features.values():
        given = (flatten(catalog, plan.key).get(feature.key) for plan in plans)
        yield feature.key, _kind(feature), *(_cell(feature, standing) for standing in given)
    for credit in catalog.credits.values():
        yield credit.key, "credit", *(_granted(catalog, plan.key, credit) for plan in plans)


def _sourced_rows(catalog: Catalog, plan: str) -> Iterator[Row]:
    given = flatten(catalog, plan)
    for feature in catalog.features.values():
        standing = given.get(feature.key)
        label = NOTHING if standing is None else source(standing.source.label)
        yield feature.key, _kind(feature), _cell(feature, standing), label
    for credit in catalog.credits.values():
        yield credit.key, "credit", _granted(catalog, plan, credit), ""


def _terms(plan: Plan) -> dict[str, str]:
    terms = {
        "product": plan.product,
        "extends": ", ".join(plan.extends),
        "price": plan.price or "",
        "trial": f"{plan.trial.days} days" if plan.trial else "",
        "version": plan.version if plan.version == "pinned" else "",
    }
    return {name: value for name, value in terms.items() if value}


def _kind(feature: Feature) -> str:
    return f"{feature.type}, {feature.unit}" if feature.unit else feature.type


def _cell(feature: Feature, standing: Standing | None) -> str:
    if standing is None:
        return NOTHING
    if not standing.shares:
        return _says(feature, Entitlement(feature.key, value=standing.value))
    return " or ".join(_says(feature, Entitlement(feature.key, limits=share.limits)) for share in standing.shares)


def _says(feature: Feature, entry: Entitlement) -> str:
    if entry.limits and all(isinstance(limit.amount, Unlimited) for limit in entry.limits):
        return str(UNLIMITED)
    return says(feature, entry)


def _granted(catalog: Catalog, plan: str, credit: Credit) -> str:
    grant = credits_of(catalog, plan).get(credit.key)
    return NOTHING if grant is None else _grant(grant, credit)


def _grant(grant: PlanCredit, credit: Credit) -> str:
    every = grant.every if grant.count == 1 else f"{grant.count} {grant.every}s"
    rolls = ", rolls over" if grant.rollover is not None else ""
    return f"{number(from_units(grant.grant, credit.scale))} per {every}{rolls}"


def _sections(catalog: Catalog) -> Iterator[list[str]]:
    yield _section("Add-ons", (_addon_row(catalog, addon) for addon in catalog.addons.values()))
    yield _section("Promotions", (_promotion_row(catalog, item) for item in catalog.promotions.values()))
    yield _section("Credits", (_credit_row(credit) for credit in catalog.credits.values()))
    yield _section("Rates", (_rate_row(rate) for rate in catalog.rates.values()))


def _section(title: str, rows: Iterable[Row]) -> list[str]:
    return [heading(title), *columns(list(rows), indent=2)]


def _addon_row(catalog: Catalog, addon: AddOn) -> Row:
    needs = [f"with {' or '.join(addon.plans) if addon.plans else 'any plan'}"]
    needs += [f"needs {', '.join(addon.requires)}"] if addon.requires else []
    needs += [f"not with {', '.join(addon.excludes)}"] if addon.excludes else []
    price = f"price {addon.price}" if addon.price else ""
    return addon.key, _contents(catalog, addon.entitlements), "; ".join(needs), price


def _promotion_row(catalog: Catalog, promotion: Promotion) -> Row:
    lasts = f"for {promotion.days} days" if promotion.days is not None else "until it is ended"
    return promotion.key, _contents(catalog, promotion.entitlements), lasts


def _contents(catalog: Catalog, entitlements: Mapping[str, Entitlement]) -> str:
    return ", ".join(f"{key} {_says(catalog.features[key], entry)}" for key, entry in entitlements.items())


def _credit_row(credit: Credit) -> Row:
    floor = "" if credit.floor is None else f" to {number(from_units(credit.floor, credit.scale))}"
    places = f"{credit.scale} decimal places" if credit.scale else "whole"
    return credit.key, f"{places}, {credit.depletion}{floor}", credit.currency or ""


def _rate_row(rate: Rate) -> Row:
    per = "" if rate.per == 1 else f" per {number(rate.per)}"
    plainly = [] if rate.price is None else [f"{number(rate.price)} {rate.credit}{per}"]
    cases = [f"{number(case.price)} where {_match(case.match)}" for case in rate.when]
    return rate.feature, "; ".join(plainly + cases)


def _match(match: Mapping[str, str]) -> str:
    return " and ".join(f"{name} is {value}" for name, value in match.items())
