"""The contest behind a decision: every source that had something to say about a feature, and how it fared."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import attrs

from .amounts import Bound, bound_number
from .catalog.model import Catalog, Entitlement, Feature, Limit, Period
from .catalog.standing import Share, Source, Standing, flatten, lineage
from .decisions import json_instant
from .ledger.facts import Fact, HeldAddOn, Override, PromotionRun, Subscription, Trial, in_force
from .resolution import Entitlements, applies, summed
from .wording import instant, moment, number, value_text


@attrs.frozen
class Candidate:
    """One entitlement that a source holds out: what it says, and what became of it.

    `outcome` is "won", "added", "lower", "other period", "replaced", "denied", "expired", "not yet",
    "paused", "not held" or "not in the catalog"; `why` says it in words.
    """

    source: str
    says: str
    outcome: str
    why: str
    since: datetime | None = None
    until: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the candidate as JSON values."""
        return {
            "source": self.source,
            "says": self.says,
            "outcome": self.outcome,
            "why": self.why,
            "since": json_instant(self.since),
            "until": json_instant(self.until),
        }


@attrs.frozen
class _Bid:
    source: Source
    entitlement: Entitlement
    fact: Fact | None
    barred: tuple[str, str] | None = None
    quantity: int = 1


def candidates(entitlements: Entitlements, feature: Feature, winner: str | None = None) -> tuple[Candidate, ...]:
    """Return every candidate for a feature, winners first, then by rank of the source.

    `winner` is the source whose allowance a decision showed; of several allowances it tells which won.
    """
    bids = tuple(_bids(entitlements, feature))
    contest = _Contest(entitlements, feature, bids, winner)
    rows = [_candidate(feature, bid, *contest.fate(bid)) for bid in bids]
    order = {"won": 0, "added": 1}
    ranked = sorted(zip(bids, rows, strict=True), key=lambda pair: (order.get(pair[1].outcome, 2), pair[0].source.rank))
    return tuple(row for _, row in ranked)


def says(feature: Feature, entitlement: Entitlement, quantity: int = 1) -> str:
    """Return what an entitlement says, in words: 1,000 per month; yes; 30; revoked."""
    if entitlement.mode == "deny":
        return "revoked"
    if not entitlement.limits:
        return value_text(entitlement.value)
    text = " and ".join(_limit_text(feature, limit) for limit in entitlement.limits)
    if entitlement.mode != "add":
        return text
    return f"+{text}" if quantity == 1 else f"+{text}, {quantity} times"


def _limit_text(feature: Feature, limit: Limit) -> str:
    amount = number(bound_number(limit.amount, feature.scale))
    period = "" if limit.period.every == "none" else f" per {limit.period}"
    ceiling = "" if limit.ceiling is None else f" up to {number(bound_number(limit.ceiling, feature.scale))}"
    kind = "" if limit.depletion == "hard" else f" ({limit.depletion}{ceiling})"
    return f"{amount}{period}{kind}"


def _candidate(feature: Feature, bid: _Bid, outcome: str, why: str) -> Candidate:
    since = None if bid.fact is None else bid.fact.since
    until = None if bid.fact is None else bid.fact.until
    return Candidate(bid.source.label, says(feature, bid.entitlement, bid.quantity), outcome, why, since, until)


def _bids(entitlements: Entitlements, feature: Feature) -> Iterator[_Bid]:
    for fact in entitlements.facts:
        barred, lost = _barred(entitlements, fact), _lost(entitlements, fact)
        if lost is None:
            yield from _bids_of(entitlements, feature, fact, barred)
        elif barred is None or barred[0] == "paused":
            yield _Bid(lost, Entitlement(feature.key, value=()), fact, barred or _LOST)
    if any(holder.source.kind == "plan" and holder.subscription is None for holder in entitlements.holders):
        yield from _plan_bids(entitlements, feature, None, None)


def _bids_of(
    entitlements: Entitlements, feature: Feature, fact: Fact, barred: tuple[str, str] | None
) -> Iterator[_Bid]:
    match fact:
        case Subscription():
            yield from _plan_bids(entitlements, feature, fact, barred)
        case Trial():
            yield from _trial_bids(entitlements, feature, fact, barred)
        case HeldAddOn():
            entry = entitlements.catalog.addons[fact.addon].entitlements.get(feature.key)
            if entry is not None:
                yield _Bid(Source("add-on", fact.addon), entry, fact, barred, fact.quantity)
        case PromotionRun():
            entry = entitlements.catalog.promotions[fact.promotion].entitlements.get(feature.key)
            if entry is not None:
                yield _Bid(Source("promotion", fact.promotion), entry, fact, barred)
        case Override() if fact.entitlement.feature == feature.key:
            yield _Bid(Source("override", fact.entitlement.mode), fact.entitlement, fact, barred)


_LOST: Final = "not in the catalog", "the catalog no longer has it"


def _lost(entitlements: Entitlements, fact: Fact) -> Source | None:
    """Return the source that a fact names where the catalog no longer has it; what it granted nobody knows."""
    catalog = entitlements.catalog
    match fact:
        case Subscription() | Trial():
            known: Container[str] = entitlements.sold.get(fact.version or "", catalog).plans
            source = Source("trial" if isinstance(fact, Trial) else "plan", fact.plan)
        case HeldAddOn():
            known, source = catalog.addons, Source("add-on", fact.addon)
        case PromotionRun():
            known, source = catalog.promotions, Source("promotion", fact.promotion)
        case _:
            return None
    return None if source.key in known else source


def _plan_bids(
    entitlements: Entitlements, feature: Feature, fact: Subscription | None, barred: tuple[str, str] | None
) -> Iterator[_Bid]:
    catalog, plan = entitlements.catalog, entitlements.catalog.default_plan or ""
    if fact is not None:
        catalog, plan = entitlements.sold.get(fact.version or "", catalog), fact.plan
    heard = dict(_heard(catalog, plan, feature.key))
    for key in lineage(catalog, plan):
        entry = catalog.plans[key].entitlements.get(feature.key)
        if entry is not None:
            setter = next((setter for setter in heard if heard[setter] and key in lineage(catalog, setter)), key)
            replaced = None if key in heard else ("replaced", f"plan {setter} sets its own")
            yield _Bid(Source("plan" if key == plan else "parent", key), entry, fact, barred or replaced)


def _heard(catalog: Catalog, plan: str, feature: str) -> Iterator[tuple[str, bool]]:
    """Yield a plan and all it inherits a feature from, and whether each sets its own and inherits no further."""
    waiting, seen = [plan], set[str]()
    while waiting:
        key = waiting.pop(0)
        if key not in seen and key in catalog.plans:
            seen.add(key)
            entry = catalog.plans[key].entitlements.get(feature)
            sets = entry is not None and entry.mode == "set"
            yield key, sets
            waiting.extend(() if sets else catalog.plans[key].extends)


def _trial_bids(
    entitlements: Entitlements, feature: Feature, fact: Trial, barred: tuple[str, str] | None
) -> Iterator[_Bid]:
    catalog = entitlements.sold.get(fact.version or "", entitlements.catalog)
    standing = flatten(catalog, fact.plan, "trial").get(feature.key)
    if standing is not None and standing.value is not None:
        yield _Bid(standing.source, Entitlement(feature.key, value=standing.value), fact, barred)
    for share in standing.shares if standing is not None else ():
        yield _Bid(share.source, Entitlement(feature.key, limits=share.limits), fact, barred)


def _barred(entitlements: Entitlements, fact: Fact) -> tuple[str, str] | None:
    at = entitlements.at
    if fact.until is not None and fact.until <= at:
        return "expired", f"ended {moment(fact.until)}"
    if fact.since > at:
        return "not yet", f"begins {instant(fact.since)}"
    if isinstance(fact, Subscription) and fact.status == "paused":
        return "paused", "the subscription is paused"
    if isinstance(fact, HeldAddOn) and fact.addon in entitlements.catalog.addons:
        addon = entitlements.catalog.addons[fact.addon]
        if not any(applies(addon, holder.plan) for holder in entitlements.holders):
            return "not held", f"goes with {' or '.join(addon.plans) or 'a plan'}, which is not held"
    return None


@attrs.frozen
class _Contest:
    """All bids for a feature, and what they come to."""

    entitlements: Entitlements
    feature: Feature
    bids: tuple[_Bid, ...]
    shown: str | None

    def fate(self, bid: _Bid) -> tuple[str, str]:
        """Return what became of a bid, and why."""
        if bid.barred is not None:
            return bid.barred
        if bid.entitlement.mode == "deny":
            return "won", "a revocation beats everything"
        if self.feature.key in self.entitlements.denied:
            return "denied", "revoked by an override"
        newest = self._newest_set()
        if newest is not None:
            replaces = "won", "an override of mode set replaces the rest"
            return replaces if bid is newest else ("replaced", "replaced by an override")
        standing = self.entitlements.standing(self.feature.key)
        if standing is None:
            return "lower", "grants nothing"
        return self._metered_fate(standing, bid) if bid.entitlement.limits else self._value_fate(standing, bid)

    def _newest_set(self) -> _Bid | None:
        sets = [
            (bid.fact.since, bid.fact.number, index)
            for index, bid in enumerate(self.bids)
            if isinstance(bid.fact, Override) and bid.barred is None and bid.entitlement.mode == "set"
        ]
        return self.bids[max(sets)[2]] if sets else None

    def _metered_fate(self, standing: Standing, bid: _Bid) -> tuple[str, str]:
        share = next((share for share in standing.shares if {*share.shape()} == _shape(bid)), None)
        if share is None:
            return "lower", "grants nothing"
        if bid.source in share.sources:
            return self._own_fate(standing, share, bid)
        label = share.source.label
        if bid.entitlement.mode == "add":
            counts = bid.source.kind == "override" or self._enlarges(share, bid)
            return ("added", f"added to what {label} grants") if counts else ("lower", f"{label} grants more")
        if self._lends(share, bid):
            return "added", f"makes what {label} grants {bid.entitlement.limits[0].depletion}"
        rivals = [rival for rival in self.bids if rival.source == share.source and rival.barred is None]
        equal = any(_amounts(rival) == _amounts(bid) for rival in rivals)
        return "lower", f"{label} ranks higher" if equal else f"{label} grants more"

    def _own_fate(self, standing: Standing, share: Share, bid: _Bid) -> tuple[str, str]:
        several = len(standing.shares) > 1
        if several and self.shown is not None and self.shown not in {source.label for source in share.sources}:
            return "other period", f"an allowance of its own beside {self.shown}"
        if bid.entitlement.mode == "add":
            return "won", "stands on its own"
        return "won", "the allowance with the most room" if several else "the most generous"

    def _enlarges(self, share: Share, bid: _Bid) -> bool:
        """Tell whether the share that won is one that an add-on added to."""
        held = in_force(self.entitlements.facts.addons, self.entitlements.at)
        for holder in self.entitlements.holders:
            if applies(self.entitlements.catalog.addons[bid.source.key], holder.plan):
                standing = summed(self.entitlements.catalog, holder, held)[self.feature.key]
                if any(mine.shape() == share.shape() and mine.sources == share.sources for mine in standing.shares):
                    return True
        return False

    def _lends(self, share: Share, bid: _Bid) -> bool:
        """Tell whether a bid made the winner's limits more lenient than the winner's own."""
        lent = {limit.depletion for limit in bid.entitlement.limits} & {limit.depletion for limit in share.limits}
        own = [rival for rival in self.bids if rival.source in share.sources and rival.barred is None]
        return bool(lent - {limit.depletion for rival in own for limit in rival.entitlement.limits} - {"hard"})

    def _value_fate(self, standing: Standing, bid: _Bid) -> tuple[str, str]:
        label, value = standing.source.label, bid.entitlement.value
        if standing.source == bid.source:
            nothing = value is False and self.feature.type == "boolean"
            return ("lower", "grants nothing") if nothing else ("won", "the most generous")
        if isinstance(value, tuple):
            own = {item for rival in self.bids if rival.source == standing.source for item in _items(rival)}
            return ("added", "united with the others") if {*value} - own else ("lower", f"{label} grants more")
        return "lower", f"{label} grants more" if value != standing.value else f"{label} ranks higher"


def _shape(bid: _Bid) -> frozenset[Period]:
    return frozenset(limit.period for limit in bid.entitlement.limits)


def _amounts(bid: _Bid) -> Mapping[Period, Bound]:
    return {limit.period: limit.amount for limit in bid.entitlement.limits}


def _items(bid: _Bid) -> tuple[str, ...]:
    value = bid.entitlement.value
    return value if isinstance(value, tuple) and bid.barred is None else ()
