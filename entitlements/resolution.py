"""What a customer is entitled to: `resolve(catalog, facts, at)`, and the story behind it.

    Allowances unite: a source that grants or adds never takes anything away.

For each feature, in three steps. Within a subscription, the plan (with what it inherits) plus its
add-ons. Between subscriptions, trials, promotions and `grant` overrides, the most generous. Then
`add` overrides on top; the newest `set` replaces it all; `deny` beats everything. Pure, total, and a
function of the set of facts: their order does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any, Final, TypeAlias

import attrs

from .catalog.model import EMPTY, AddOn, Catalog, Feature, Period
from .catalog.standing import Kind, Source, Standing, add, flatten, join, promoted, standing_of
from .ledger.entries import EPOCH
from .ledger.facts import Fact, Facts, HeldAddOn, Override, PromotionRun, Subscription, Trial, in_force
from .periods import Window

GRANTED, ADDED, SET = Source("override", "grant"), Source("override", "add"), Source("override", "set")
Layout: TypeAlias = dict[tuple[Period, bool], list[str]]
"""The names of counters by period, and by whether a subscription anchors them."""
COMBINATIONS: Final = 4096
"""How many combinations of plans, add-ons and promotions a catalog keeps worked out."""


@attrs.frozen
class Holder:
    """A plan in force for a customer: held, lent as a trial, or the catalog's default."""

    source: Source
    catalog: Catalog
    subscription: Subscription | None = None

    @property
    def plan(self) -> str:
        """The key of the plan."""
        return self.source.key

    def standings(self) -> Mapping[str, Standing]:
        """Return what the plan gives by itself, by feature."""
        return flatten(self.catalog, self.plan, "trial" if self.source.kind == "trial" else "plan")


@attrs.define(eq=False, weakref_slot=False)
class Combination:
    """What plans, add-ons and promotions come to by feature: one object for all who hold the same.

    `layout` is set as a whole once the names of the counters are worked out: any thread may read it.
    """

    standings: Mapping[str, Standing]
    layout: Layout | None = None


@attrs.frozen(eq=False, weakref_slot=False)
class Entitlements:
    """What a customer is entitled to at one instant, feature by feature.

    `combination` is shared with all who hold the same plans, add-ons and promotions; `own` is what
    this customer's overrides made of it. `sold` holds the older catalog versions that pinned plans
    need; `windows` holds the latest usage windows, `metered` the meters of features that are used.
    """

    catalog: Catalog
    facts: Facts
    at: datetime
    holders: tuple[Holder, ...]
    combination: Combination
    own: Mapping[str, Standing]
    denied: frozenset[str] = frozenset()
    sold: Mapping[str, Catalog] = EMPTY
    windows: dict[object, Window] = attrs.field(factory=dict, init=False, repr=False)
    metered: dict[str, Any] = attrs.field(factory=dict, init=False, repr=False)

    @property
    def shared(self) -> Mapping[str, Standing]:
        """What the plans, add-ons and promotions come to, overrides apart."""
        return self.combination.standings

    def standing(self, feature: str) -> Standing | None:
        """Return what stands for a feature, None where nothing grants it or an override denies it."""
        if feature in self.denied:
            return None
        found = self.own.get(feature)
        return found if found is not None else self.combination.standings.get(feature)

    def held(self) -> tuple[Subscription, ...]:
        """Return the subscriptions in force, the first-held first."""
        return tuple([holder.subscription for holder in self._subscribed() if holder.subscription is not None])

    def anchoring(self, feature: str) -> Subscription | None:
        """Return the first-held subscription that grants a feature, whose anchor its windows have."""
        for holder in self._subscribed():
            if feature in holder.standings() or self.added(feature, holder.plan):
                return holder.subscription
        return None

    def added(self, feature: str, plan: str) -> bool:
        """Tell whether an add-on in force that goes with a plan speaks of a feature."""
        held = in_force(self.facts.addons, self.at)
        return any(feature in addon.entitlements for addon, _ in _allowed(self.catalog, held, plan))

    def valid_until(self, feature: str) -> datetime | None:
        """Return the first instant after `at` at which a fact that concerns the feature begins or ends."""
        return min([edge for fact, edge in self._edges if self._concerns(fact, feature)], default=None)

    def next_change(self) -> datetime | None:
        """Return the first instant after `at` at which any fact begins or ends."""
        return min((edge for _, edge in self._edges), default=None)

    def changed_by(self, at: datetime) -> bool:
        """Tell whether any fact has begun or ended between the instant this was resolved at and `at`."""
        return any(edge <= at for _, edge in self._edges)

    @cached_property
    def _edges(self) -> tuple[tuple[Fact, datetime], ...]:
        return tuple(
            (fact, edge) for fact in self.facts for edge in (fact.since, fact.until) if edge and edge > self.at
        )

    def _subscribed(self) -> list[Holder]:
        """Return the holders that are subscriptions, the first-held first."""
        subscribed = [holder for holder in self.holders if holder.subscription is not None]
        return subscribed if len(subscribed) < 2 else sorted(subscribed, key=_first_held)

    def _given(self, feature: str) -> bool:
        standing = self.standing(feature)
        return standing is not None and standing.value is not False

    def _concerns(self, fact: Fact, feature: str) -> bool:
        match fact:
            case Override():
                return fact.entitlement.feature == feature
            case PromotionRun():
                return feature in promoted(self.catalog, fact.promotion)
            case HeldAddOn():
                addon = self.catalog.addons.get(fact.addon)
                return addon is not None and feature in addon.entitlements
            case Trial():
                granted = flatten(self.sold.get(fact.version or "", self.catalog), fact.plan, "trial")
                addons = _allowed(self.catalog, self.facts.addons, fact.plan)
                return (
                    feature in granted
                    or not self._given(feature)
                    or any(feature in addon.entitlements for addon, _ in addons)
                )
            case _:
                return True


def resolve(catalog: Catalog, facts: Facts, at: datetime, *, sold: Mapping[str, Catalog] = EMPTY) -> Entitlements:
    """Return what the facts entitle a customer to at an instant.

    `sold` gives the catalog versions that pinned plans were sold in, by version; a version that is
    missing there falls back on the current catalog.
    """
    holders = _holders(catalog, facts, at, sold)
    addons, runs = in_force(facts.addons, at), in_force(facts.promotions, at)
    combination = _combined(catalog, holders, addons, runs)
    shared = combination.standings
    overrides = in_force(facts.overrides, at)
    own: dict[str, Standing] = {}
    for override in overrides:
        if override.entitlement.mode == "grant":
            _contend(catalog.features, shared, own, _granted(override))
    for override in overrides if len(overrides) < 2 else sorted(overrides, key=_newest_set_last):
        _override(shared, own, override)
    denied = frozenset([override.entitlement.feature for override in overrides if override.entitlement.mode == "deny"])
    return Entitlements(catalog, facts, at, holders, combination, own, denied, sold)


@lru_cache(maxsize=4096)
def source_of(kind: Kind, key: str) -> Source:
    """Return a source; equal ones are one object, whoever holds them."""
    return Source(kind, key)


def first_held(subscription: Subscription) -> tuple[datetime, str]:
    """Return what tells the subscription that a customer took first: the least of several."""
    return subscription.started_at, subscription.id


def _first_held(holder: Holder) -> tuple[datetime, str]:
    return first_held(holder.subscription) if holder.subscription is not None else (EPOCH, "")


def applies(addon: AddOn, plan: str) -> bool:
    """Tell whether an add-on goes with a plan; without a list of plans it goes with every plan."""
    return not addon.plans or plan in addon.plans


def _holders(catalog: Catalog, facts: Facts, at: datetime, sold: Mapping[str, Catalog]) -> tuple[Holder, ...]:
    held = in_force(facts.subscriptions, at)
    holders = [
        Holder(source_of("plan", subscription.plan), sold.get(subscription.version or "", catalog), subscription)
        for subscription in held
        if subscription.status != "paused"
    ]
    default = catalog.plans.get(catalog.default_plan or "")
    if default is not None and all(subscription.product != default.product for subscription in held):
        holders.append(Holder(source_of("plan", default.key), catalog))
    lent = in_force(facts.trials, at)
    holders += [Holder(source_of("trial", trial.plan), sold.get(trial.version or "", catalog)) for trial in lent]
    return tuple(holders)


def _combined(
    catalog: Catalog, holders: tuple[Holder, ...], held: tuple[HeldAddOn, ...], runs: tuple[PromotionRun, ...]
) -> Combination:
    """Return what plans, add-ons and promotions come to, worked out once for all who hold the same."""
    named = (
        tuple([(holder.source.label, holder.catalog.version, holder.subscription is not None) for holder in holders]),
        tuple([(fact.addon, fact.quantity) for fact in held]),
        tuple([run.promotion for run in runs]),
    )
    memo: Combination | None = catalog.combinations.get(named)
    if memo is None:
        if len(catalog.combinations) >= COMBINATIONS:
            catalog.combinations.clear()
        memo = catalog.combinations[named] = Combination(_combine(catalog, holders, held, runs))
    return memo


def _combine(
    catalog: Catalog, holders: tuple[Holder, ...], held: tuple[HeldAddOn, ...], runs: tuple[PromotionRun, ...]
) -> Mapping[str, Standing]:
    combined: dict[str, Standing] = {}
    for holder in holders:
        _contend(catalog.features, EMPTY, combined, {**holder.standings(), **_enlarged(catalog, holder, held)})
    for run in runs:
        _contend(catalog.features, EMPTY, combined, promoted(catalog, run.promotion))
    return combined


def _allowed(catalog: Catalog, held: Iterable[HeldAddOn], plan: str) -> Iterator[tuple[AddOn, int]]:
    for fact in sorted(held, key=lambda fact: fact.addon):
        addon = catalog.addons.get(fact.addon)
        if addon is not None and applies(addon, plan):
            yield addon, fact.quantity


def summed(catalog: Catalog, holder: Holder, held: Iterable[HeldAddOn]) -> dict[str, Standing]:
    """Return what the `add` entries of the add-ons that go with a plan make of it, by feature."""
    base = holder.standings()
    sums: dict[str, Standing] = {}
    for addon, quantity in _allowed(catalog, held, holder.plan):
        source = Source("add-on", addon.key)
        for key, entitlement in addon.entitlements.items():
            if entitlement.mode == "add":
                sums[key] = add(sums.get(key) or base.get(key), source, entitlement, quantity)
    return sums


def _enlarged(catalog: Catalog, holder: Holder, held: tuple[HeldAddOn, ...]) -> dict[str, Standing]:
    if not held:
        return {}
    base = holder.standings()
    enlarged = summed(catalog, holder, held)
    for addon, _ in _allowed(catalog, held, holder.plan):
        source = Source("add-on", addon.key)
        for key, entitlement in addon.entitlements.items():
            if entitlement.mode != "add":
                sum_so_far = enlarged.get(key) or base.get(key)
                given = standing_of(source, entitlement)
                enlarged[key] = given if sum_so_far is None else join(catalog.features[key], sum_so_far, given)
    return enlarged


def _granted(override: Override) -> Mapping[str, Standing]:
    entitlement = override.entitlement
    return {entitlement.feature: standing_of(GRANTED, entitlement)}


def _contend(
    features: Mapping[str, Feature],
    shared: Mapping[str, Standing],
    own: dict[str, Standing],
    contender: Mapping[str, Standing],
) -> None:
    for key, standing in contender.items():
        mine = own.get(key) or shared.get(key)
        if mine is None:
            own[key] = standing
        elif mine is not standing and key in features:
            own[key] = join(features[key], mine, standing)


def _newest_set_last(override: Override) -> tuple[bool, datetime, int, str]:
    return override.entitlement.mode == "set", override.since, override.number, override.key


def _override(shared: Mapping[str, Standing], own: dict[str, Standing], override: Override) -> None:
    entitlement = override.entitlement
    key = entitlement.feature
    if entitlement.mode == "set":
        own[key] = standing_of(SET, entitlement)
    elif entitlement.mode == "add":
        mine = own.get(key) or shared.get(key)
        own[key] = add(mine, ADDED, entitlement)
