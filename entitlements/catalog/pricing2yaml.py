"""Catalogs from Pricing2Yaml files, syntax versions 1.0 to 3.1.

The whole pricing becomes one product, named after `saasName`. Boolean features stay boolean, other
features become config; a numeric usage limit becomes a metered feature of its own, which a plan
grants where one of the features it is linked to is on. An add-on's `usageLimits` compete with the
plan's, its `usageLimitsExtensions` add to them, and what it turns on brings its limits along. A file
without plans has one plan here, with every default, for its add-ons to stand on. What is for display
is kept as metadata; what the catalog cannot hold or enforce is in its `notes`, one line each.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import reduce
from pathlib import Path as FilePath
from typing import Any, Final

import attrs

from ..errors import shown
from .findings import Finding, Findings, Path, Unreadable, unknown
from .loading import parse
from .model import Catalog
from .pricing_addons import leading_back, shutting_out
from .pricing_features import Declared, Setting, allotted, declared_features, declared_limits, is_on, larger, plus
from .pricing_reading import LARGEST, Part, Remarks, Value, key_from, read, spelled

SYNTAX_VERSIONS: Final = ("1.0", "1.1", "2.0", "2.1", "3.0", "3.1")
MOST_CELLS: Final = 500_000
_PRICES: Final = ("price", "monthlyPrice", "annualPrice")
_ROOT_KEYS: Final = frozenset(
    {
        "saasName", "syntaxVersion", "version", "createdAt", "day", "month", "year", "starts", "ends", "currency",
        "url", "tags", "billing", "hasAnnualPayment", "variables", "custom", "features", "usageLimits", "plans",
        "addOns",
    }
)  # fmt: skip
_PLAN_KEYS: Final = frozenset(
    {*_PRICES, "description", "unit", "private", "customPrice", "render", "tags", "features", "usageLimits"}
)
_ADDON_KEYS: Final = _PLAN_KEYS | {
    "usageLimitsExtensions", "availableFor", "dependsOn", "excludes", "subscriptionConstraints",
    "isSubscriptionConstraint",
}  # fmt: skip
_UNENFORCED: Final[Mapping[str, str]] = {
    "variables": "are not computed into prices",
    "starts": "does not begin anything",
    "ends": "does not end anything",
    "private": "is not hidden from anybody",
    "subscriptionConstraints": "do not bound how many may be bought",
}
_KEPT: Final = "takes nothing away from a plan that has more"


def load(path: str | os.PathLike[str]) -> Catalog:
    """Return the catalog of a Pricing2Yaml file; its `notes` say what of the file it does not hold.

    Raises CatalogError with every problem at once, each with its line, and OSError where the file
    cannot be read.
    """
    name = os.fsdecode(path)
    findings = Findings(name, name)
    try:
        with FilePath(name).open("rb") as file:
            reading = read(file.read(LARGEST + 1))
    except ValueError as error:
        findings.add(error.finding if isinstance(error, Unreadable) else Finding((), "this is no path"))
        raise findings.error() from None
    findings = Findings(name, name, reading.document if isinstance(reading.document, dict) else {}, reading.places)
    findings.extend(reading.findings)
    document, notes = _converted(reading.document, findings)
    return parse(document, notes=notes, origin=name)


def convert(document: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return a Pricing2Yaml document as a catalog file's mapping, and the notes on what that does not hold.

    `document` is what a YAML reader returns; numbers may be Decimal, to be exact. Raises CatalogError
    with every problem at once.
    """
    return _converted(document, Findings("the pricing"))


def _converted(document: object, findings: Findings) -> tuple[dict[str, Any], tuple[str, ...]]:
    remarks = Remarks(findings)
    root = remarks.root(document)
    if root is None:
        raise findings.error()
    pricing = _pricing(root)
    findings.raise_if_any()
    return _Writer(pricing, remarks).document(), remarks.notes


@attrs.frozen(eq=False)
class Offer:
    """A plan or an add-on: what it says otherwise than the defaults, and the names it refers to."""

    name: str
    key: str
    path: Path
    described: Mapping[str, Any]
    features: Mapping[str, Setting] = attrs.field(factory=dict)
    limits: Mapping[str, Setting] = attrs.field(factory=dict)
    extensions: Mapping[str, Setting] = attrs.field(factory=dict)
    plans: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()

    def feature(self, feature: Declared) -> Setting:
        """Return the value of a feature in a plan."""
        return self.features.get(feature.name, feature.default)

    def limit(self, limit: Declared) -> Setting:
        """Return the value of a usage limit in a plan."""
        return self.limits.get(limit.name, limit.default)


@attrs.frozen
class Pricing:
    """A file as values whose references all hold: everything by name, in file order."""

    name: str
    metadata: Mapping[str, Any]
    features: Mapping[str, Declared]
    limits: Mapping[str, Declared]
    plans: Mapping[str, Offer]
    addons: Mapping[str, Offer]

    def holds(self, limit: Declared, plan: Offer) -> bool:
        """Return whether a limit holds in a plan: a feature it is linked to is on, or it is linked to none."""
        return not limit.linked or any(is_on(plan.feature(self.features[name])) for name in limit.linked)

    def open_to(self, addon: Offer) -> list[Offer]:
        """Return the plans an add-on goes with."""
        return [self.plans[name] for name in addon.plans or self.plans]

    def measured(self, remarks: Remarks) -> Pricing:
        """Return this pricing with the scale each feature needs for its values anywhere."""
        offers = (*self.plans.values(), *self.addons.values())
        features = _by_name(offer.features for offer in offers)
        limits = _by_name(given for offer in offers for given in (offer.limits, offer.extensions))
        return attrs.evolve(
            self,
            features={name: each.measured(features[name], remarks) for name, each in self.features.items()},
            limits={name: each.measured(limits[name], remarks) for name, each in self.limits.items()},
        )


def _by_name(settings: Iterable[Mapping[str, Setting]]) -> Mapping[str, list[Setting]]:
    values: dict[str, list[Setting]] = defaultdict(list)
    for each in settings:
        for name, setting in each.items():
            values[name].append(setting)
    return values


def _pricing(root: Part) -> Pricing:
    name = root.text("saasName").strip()
    for key, wanted in (("saasName", "the name of what is sold"), ("features", "a mapping of features by name")):
        if not name if key == "saasName" else root.peek(key) is None:
            root.remarks.wrong((), f"needs the key {key!r}: {wanted}; this is no Pricing2Yaml without it")
    features = declared_features(root.parts("features"))
    limits = declared_limits(root.parts("usageLimits"), features)
    reader = _OfferReader(features, limits, allotted(root.parts("plans")), allotted(root.parts("addOns")))
    if not reader.plans and not reader.addons:
        root.remarks.wrong((), "needs the key 'plans' or the key 'addOns', with something in it")
    plans = {each: reader.plan(part) for each, part in reader.plans.items()}
    addons = _straightened({each: reader.addon(part) for each, part in reader.addons.items()}, root.remarks)
    rows = sum(1 + len(each.linked) for each in (*features.values(), *limits.values()))
    if (rows + 1) * (len(plans) + 1) * (len(addons) + 1) > MOST_CELLS:
        root.remarks.wrong((), "this has more plans, add-ons and features than any pricing; split it up")
    pricing = Pricing(name, _metadata(root), features, limits, plans or _ground(root, name), addons)
    return pricing.measured(root.remarks)


def _straightened(addons: Mapping[str, Offer], remarks: Remarks) -> dict[str, Offer]:
    """Return add-ons that require each other in no circle and exclude nothing they require: each can be held."""
    back = set(leading_back({name: addon.requires for name, addon in addons.items()}))
    requires = {name: [each for each in addon.requires if (name, each) not in back] for name, addon in addons.items()}
    shut = set(shutting_out(requires, {name: addon.excludes for name, addon in addons.items()}))
    for name, other in sorted(back):
        remarks.note((*addons[name].path, "dependsOn"), f"{shown(other)} leads back here; it is not required")
    for name, other in sorted(shut):
        remarks.note((*addons[name].path, "excludes"), f"{shown(other)} is required here; it is not excluded")
    return {
        name: attrs.evolve(
            addon,
            requires=tuple(requires[name]),
            excludes=tuple(each for each in addon.excludes if (name, each) not in shut),
        )
        for name, addon in addons.items()
    }


def _ground(root: Part, name: str) -> dict[str, Offer]:
    key = key_from(name)
    root.note("plans", f"there are none; the plan {shown(key)} has every default, for the add-ons to stand on")
    return {name: Offer(name, key, ("plans",), {})}


def _metadata(root: Part) -> dict[str, Any]:
    syntax = root.peek("syntaxVersion")
    if syntax is not None and _spelled(syntax) not in SYNTAX_VERSIONS:
        root.note("syntaxVersion", f"is not known; read as {SYNTAX_VERSIONS[-1]}")
    billing = root.peek("billing")
    if isinstance(billing, dict) and any(factor != 1 for factor in billing.values()):
        root.note("billing", "is not computed into prices; kept as metadata")
    return _metadata_of(root, _ROOT_KEYS)


def _metadata_of(part: Part, known: frozenset[str]) -> dict[str, Any]:
    for key, reason in _UNENFORCED.items():
        if part.peek(key) not in (None, False, {}):
            part.note(key, f"{reason}; kept as metadata")
    return part.metadata(known)


def _spelled(value: Value) -> str | None:
    if isinstance(value, bool | list | dict) or value is None:
        return None
    return value if isinstance(value, str) else spelled(value)


@attrs.frozen
class _OfferReader:
    """Reads plans and add-ons, all of which it knows by name."""

    features: Mapping[str, Declared]
    limits: Mapping[str, Declared]
    plans: Mapping[str, Part]
    addons: Mapping[str, Part]

    def plan(self, part: Part) -> Offer:
        """Return a plan."""
        features, limits = self._settings(part, "features"), self._settings(part, "usageLimits")
        return Offer(part.name, part.key, part.path, _described(part, _PLAN_KEYS), features, limits)

    def addon(self, part: Part) -> Offer:
        """Return an add-on."""
        limits, extensions = self._settings(part, "usageLimits"), self._settings(part, "usageLimitsExtensions")
        given = self._settings(part, "features"), limits, extensions
        if not any(given):
            part.remarks.note(part.path, "gives nothing")
        if part.peek("availableFor") == []:
            part.note("availableFor", "is empty; an add-on that names no plan goes with every plan here")
        named = [self._named(part, key) for key in ("availableFor", "dependsOn", "excludes")]
        return Offer(part.name, part.key, part.path, _described(part, _ADDON_KEYS), *given, *named)

    def _settings(self, part: Part, section: str) -> dict[str, Setting]:
        declared, noun = (self.features, "feature") if section == "features" else (self.limits, "usage limit")
        settings = {}
        for name, entry in part.entries(section).items():
            if name in declared:
                settings[name] = declared[name].setting(_value(entry), entry.at("value"), part.remarks)
            else:
                part.remarks.wrong(entry.path, unknown(noun, name, declared), at_key=True)
        return settings

    def _named(self, part: Part, key: str) -> tuple[str, ...]:
        known, noun = (self.plans, "plan") if key == "availableFor" else (self.addons, "add-on")
        names = part.names(key) or ()
        for name in names:
            if name not in known:
                part.wrong(key, unknown(noun, name, known))
            elif known[name] is part:
                part.note(key, "names the add-on itself; ignored")
        return tuple(name for name in names if known.get(name) is not part)


def _value(entry: Part) -> Value:
    value = entry.take("value")
    if value is None and "usageLimitsExtensions" in entry.path[2:3]:
        entry.remarks.wrong(entry.path, "needs the key 'value': how much it adds")
    for key in dict(entry.items()):
        entry.note(key, "unknown key, ignored")
    return value


def _described(part: Part, known: frozenset[str]) -> dict[str, Any]:
    price, description = _price(part), part.text("description")
    kept = {"description": description, "price": price, "metadata": _metadata_of(part, known)}
    return {key: value for key, value in kept.items() if value}


def _price(part: Part) -> str | None:
    for key in _PRICES:
        if part.peek(key) is not None and _spelled(part.peek(key)) is None:
            part.wrong(key, "is no price; write a number, or text such as Contact Sales")
    key = next((key for key in _PRICES if part.peek(key) is not None), "price")
    price = _spelled(part.take(key))
    if key == "annualPrice":
        part.note(key, "is what it costs when paid by the year; it is the price here")
    if price is not None and "#" in price:
        part.note(key, "is a formula, which is not computed; the price here is its text")
    return price


@attrs.frozen
class _Writer:
    """Writes a pricing as a catalog file's mapping."""

    pricing: Pricing
    remarks: Remarks

    def document(self) -> dict[str, Any]:
        """Return the mapping; the notes on what it does not hold are with the remarks."""
        pricing, product = self.pricing, key_from(self.pricing.name)
        return {
            "version": 1,
            "features": {each.key: each.written() for each in (*pricing.features.values(), *pricing.limits.values())},
            "products": {product: {"title": pricing.name, "metadata": pricing.metadata}},
            "plans": {plan.key: {"product": product, **self._plan(plan)} for plan in pricing.plans.values()},
            "addons": {addon.key: self._addon(addon) for addon in pricing.addons.values()},
        }

    def _plan(self, plan: Offer) -> dict[str, Any]:
        entries = {each.key: each.entry(plan.feature(each)) for each in self.pricing.features.values()}
        for limit in self.pricing.limits.values():
            if not limit.metered or self.pricing.holds(limit, plan):
                entries[limit.key] = limit.entry(plan.limit(limit))
            elif is_on(plan.limits.get(limit.name, False)):
                self._note(plan, "usageLimits", limit, "is not granted: no feature it is linked to is on in this plan")
        return {**plan.described, "entitlements": entries}

    def _addon(self, addon: Offer) -> dict[str, Any]:
        references = {
            "plans": [self.pricing.plans[name].key for name in addon.plans],
            "requires": [self.pricing.addons[name].key for name in addon.requires],
            "excludes": [self.pricing.addons[name].key for name in addon.excludes],
        }
        entries = dict(self._values(addon))
        for limit in self.pricing.limits.values():
            amount = self._amount(addon, limit) if limit.metered else None
            if amount is not None:
                entries[limit.key] = amount
        return {**addon.described, **{key: keys for key, keys in references.items() if keys}, "entitlements": entries}

    def _values(self, addon: Offer) -> Iterator[tuple[str, Any]]:
        for name, setting in addon.features.items():
            feature = self.pricing.features[name]
            if any(_takes_away(setting, plan.feature(feature)) for plan in self.pricing.open_to(addon)):
                self._note(addon, "features", feature, _KEPT)
            if setting is not False:
                yield feature.key, feature.entry(setting)
        for limit in (limit for limit in self.pricing.limits.values() if not limit.metered):
            if limit.name in addon.limits:
                yield limit.key, limit.entry(addon.limits[limit.name])
            if limit.name in addon.extensions:
                self._note(addon, "usageLimitsExtensions", limit, "is left out: nothing adds to a value that is read")

    def _amount(self, addon: Offer, limit: Declared) -> dict[str, Any] | None:
        """Return what an add-on says about a metered limit: its own amount, what it adds, or what it wakes."""
        own, extra = addon.limits.get(limit.name), addon.extensions.get(limit.name)
        section = "usageLimitsExtensions" if own is None else "usageLimits"
        idle = [plan for plan in self.pricing.open_to(addon) if not self.pricing.holds(limit, plan)]
        wakes = any(is_on(addon.features.get(name, False)) for name in limit.linked)
        if idle and not wakes and (own is not None or extra is not None):
            names = ", ".join(shown(plan.key) for plan in idle[:5])
            self._note(addon, section, limit, f"counts in {names} too, where what the limit is linked to is off")
        if own is not None:
            return {"limit": limit.entry(self._own(addon, limit, own, extra, idle)), "mode": "grant"}
        if extra is not None:
            if wakes and any(is_on(plan.limit(limit)) for plan in idle):
                self._note(addon, section, limit, "adds to zero where a plan has what it is linked to off")
            return {"limit": limit.entry(extra), "mode": "add"}
        return {"limit": limit.entry(self._woken(addon, limit, idle)), "mode": "grant"} if idle and wakes else None

    def _own(
        self, addon: Offer, limit: Declared, own: Setting, extra: Setting | None, idle: Collection[Offer]
    ) -> Setting:
        """Return an add-on's own amount, and with it what it adds: one entry says only one of the two."""
        if any(plan not in idle and larger(plan.limit(limit), own) for plan in self.pricing.open_to(addon)):
            self._note(addon, "usageLimits", limit, _KEPT)
        if extra is None:
            return own
        self._note(addon, "usageLimitsExtensions", limit, "stands beside usageLimits; their sum is granted")
        return plus(own, extra)

    def _woken(self, addon: Offer, limit: Declared, idle: Collection[Offer]) -> Setting:
        """Return the most that no plan is better off with than the file says: the least of what plans have."""
        amounts = [plan.limit(limit) for plan in self.pricing.open_to(addon)]
        least = reduce(lambda one, other: other if larger(one, other) else one, amounts)
        if any(larger(plan.limit(limit), least) for plan in idle):
            reason = f"turns on what {shown(limit.key)} is linked to; plans differ in it, and the least is granted"
            self.remarks.note(addon.path, reason)
        return least

    def _note(self, offer: Offer, section: str, declared: Declared, message: str) -> None:
        self.remarks.note((*offer.path, section, declared.name), message)


def _takes_away(setting: Setting, had: Setting) -> bool:
    if isinstance(setting, tuple) and isinstance(had, tuple):
        return not set(had) <= set(setting)
    return larger(had, setting) or (setting is False and had is True)
