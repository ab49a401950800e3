"""What is wrong with a catalog as a whole: names that lead nowhere, circles, contradictions.

`check` is pure and works on the model. Its findings carry paths; whoever has read the catalog from
a text knows where they stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Final, TypeAlias

import attrs

from ..errors import shown
from .checking_graphs import Graph, circle_findings, exclusion_findings, graph_findings
from .checking_rates import rate_findings
from .checking_values import (
    check_entitlement,
    contradictions,
    count_findings,
    credit_findings,
    feature_findings,
    is_plain,
    plan_credit_findings,
)
from .findings import MOST_FINDINGS, Finding, Path, unknown
from .model import DEFAULT_PRODUCT, AddOn, Catalog, Entitlement, Plan, Promotion, Rate
from .standing import counted_as, credits_of
from .words import LONGEST_DAYS, key_fault

_MOST_LOOKED_AT: Final = 20 * MOST_FINDINGS
"""What follows from other mistakes is among them, and is not told."""
Unclear: TypeAlias = Callable[[str, str], bool]
_NOUNS: Final[Mapping[str, str]] = {
    "features": "feature",
    "credits": "credit",
    "products": "product",
    "plans": "plan",
    "addons": "add-on",
    "promotions": "promotion",
    "rates": "rate",
}


def all_clear(_section: str, _key: str) -> bool:
    """Return False: no entry was left out."""
    return False


def check(catalog: Catalog, unclear: Unclear = all_clear) -> tuple[Finding, ...]:
    """Return what is wrong with a catalog, empty where nothing is; no more than anybody would list.

    `unclear(section, key)` tells whether an entry was left out for a mistake of its own, so that what
    refers to it is not reported again.
    """
    return tuple(islice(_Checker(catalog, unclear).findings(), _MOST_LOOKED_AT))


@attrs.frozen
class _Checker:
    """The checks that look further than one entry."""

    catalog: Catalog
    unclear: Unclear

    def findings(self) -> Iterator[Finding]:
        catalog = self.catalog
        yield from _keys(catalog)
        if catalog.default_plan is not None:
            yield from self._refer("plans", catalog.default_plan, ("default_plan",))
        for feature in catalog.features.values():
            yield from feature_findings(feature)
        for credit in catalog.credits.values():
            yield from credit_findings(credit)
        yield from self._entries()
        yield from graph_findings("plans", "extends", {key: plan.extends for key, plan in catalog.plans.items()})
        yield from circle_findings("addons", "requires", self._requires())
        yield from _counted_alike(catalog)
        yield from self._entitlements()

    def _entries(self) -> Iterator[Finding]:
        for plan in self.catalog.plans.values():
            yield from self._plan(plan)
        requires = self._requires()
        excludes = {key: addon.excludes for key, addon in self.catalog.addons.items()}
        for addon in self.catalog.addons.values():
            yield from self._addon(addon, requires, excludes)
        for promotion in self.catalog.promotions.values():
            yield from count_findings(promotion.days, LONGEST_DAYS, ("promotions", promotion.key, "days"))
        for rate in self.catalog.rates.values():
            yield from self._rate(rate)

    def _plan(self, plan: Plan) -> Iterator[Finding]:
        path: Path = ("plans", plan.key)
        if plan.product != DEFAULT_PRODUCT:
            yield from self._refer("products", plan.product, (*path, "product"))
        yield from self._refer_each("plans", plan.extends, (*path, "extends"))
        if plan.trial is not None:
            yield from count_findings(plan.trial.days, LONGEST_DAYS, (*path, "trial", "days"))
        for key, granted in plan.credits.items():
            yield from self._refer("credits", key, (*path, "credits", key), at_key=True)
            yield from plan_credit_findings(granted, (*path, "credits", key))

    def _requires(self) -> Graph:
        return {key: addon.requires for key, addon in self.catalog.addons.items()}

    def _addon(self, addon: AddOn, requires: Graph, excludes: Graph) -> Iterator[Finding]:
        path: Path = ("addons", addon.key)
        yield from self._refer_each("plans", addon.plans, (*path, "plans"))
        yield from self._refer_each("addons", addon.requires, (*path, "requires"))
        yield from self._refer_each("addons", addon.excludes, (*path, "excludes"))
        yield from exclusion_findings(addon.key, requires, excludes)

    def _rate(self, rate: Rate) -> Iterator[Finding]:
        path: Path = ("rates", rate.feature)
        if not key_fault(rate.feature):
            yield from self._refer("features", rate.feature, path, at_key=True)
        yield from self._refer("credits", rate.credit, (*path, "credit"))
        feature = self.catalog.features.get(rate.feature)
        if feature is not None and feature.type != "metered":
            message = f"prices feature {shown(feature.key)}, which is {feature.type}; only metered features have a rate"
            yield Finding(path, message, at_key=True)
        yield from rate_findings(rate)

    def _entitlements(self) -> Iterator[Finding]:
        told: set[str] = set()
        for path, entitlement in _every_entitlement(self.catalog):
            feature = self.catalog.features.get(entitlement.feature)
            if feature is None:
                yield from self._refer("features", entitlement.feature, path, at_key=True)
            elif not is_plain(feature, entitlement):
                yield from check_entitlement(feature, entitlement, path)
                found = () if feature.key in told else tuple(islice(contradictions(feature, entitlement, path), 1))
                told.update(feature.key for _ in found)
                yield from found

    def _refer(self, section: str, key: str, path: Path, *, at_key: bool = False) -> Iterator[Finding]:
        known = getattr(self.catalog, section)
        if key not in known and not self.unclear(section, key):
            yield Finding(path, unknown(_NOUNS[section], key, known), at_key=at_key)

    def _refer_each(self, section: str, keys: Iterable[str], path: Path) -> Iterator[Finding]:
        seen = set()
        for at, key in enumerate(keys):
            if key in seen:
                yield Finding((*path, at), f"names {shown(key)} twice; name it once")
            seen.add(key)
            yield from self._refer(section, key, (*path, at))


def _keys(catalog: Catalog) -> Iterator[Finding]:
    for section in _NOUNS:
        for key in getattr(catalog, section):
            fault = key_fault(key)
            if fault:
                yield Finding((section, key), fault, at_key=True)


def _counted_alike(catalog: Catalog) -> Iterator[Finding]:
    """Yield the plans of which a log could not tell the grants from another's, so that one of the two never came."""
    counted: dict[str, tuple[str, str]] = {}
    odd = any("/" in key for key in (*catalog.plans, *catalog.credits)) or any(":" in key for key in catalog.plans)
    for plan in catalog.plans if odd else ():  # no others can be alike
        for credit in credits_of(catalog, plan):
            for lent in (False, True):
                other, same = counted.setdefault(counted_as(plan, credit, lent=lent), (plan, credit))
                if (other, same) != (plan, credit):
                    said = f"what it grants of {shown(credit)} would be counted as what {shown(other)} grants of "
                    fix = "give the plan a key without '/' and 'trial:'"
                    yield Finding(("plans", plan), f"{said}{shown(same)}; {fix}")


def _every_entitlement(catalog: Catalog) -> Iterator[tuple[Path, Entitlement]]:
    sections: tuple[tuple[str, Mapping[str, Plan | AddOn | Promotion]], ...] = (
        ("plans", catalog.plans),
        ("addons", catalog.addons),
        ("promotions", catalog.promotions),
    )
    for section, entries in sections:
        for key, entry in entries.items():
            for name, entitlement in entry.entitlements.items():
                yield (section, key, "entitlements", name), entitlement
