"""The contest behind a decision: every source that had something to say about a feature, and how it fared."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import attrs

from .amounts import bound_number
from .catalog.model import Entitlement, Feature, Limit
from .catalog.standing import Source, Standing, at_least, lineage
from .decisions import json_instant
from .ledger.facts import Fact, HeldAddOn, Override, PromotionRun, Subscription, Trial
from .resolution import Entitlements, applies
from .wording import instant, number


@attrs.frozen
class Candidate:
    """One entitlement that a source holds out: what it says, and what became of it.

    `outcome` is "won", "added", "lower", "other period", "replaced", "denied", "expired", "not yet",
    "paused", "not held" or "not in catalog"; `why` says it in words.
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
    bids = list(_bids(entitlements, feature))
    standing = entitlements.standing(feature.key)
    judged = [(bid, *_fate(entitlements, feature, standing, bid, bids, winner)) for bid in bids]
    rows = [_candidate(feature, bid, outcome, why) for bid, outcome, why in judged]
    order = {"won": 0, "added": 1}
    ranked = sorted(zip(bids, rows, strict=True), key=lambda pair: (order.get(pair[1].outcome, 2), pair[0].source.rank))
    return tuple(row for _, row in ranked)


def says(feature: Feature, entitlement: Entitlement, quantity: int = 1) -> str:
    """Return what an entitlement says, in words: 1,000 per month; yes; 30; revoked."""
    if entitlement.mode == "deny":
        return "revoked"
    if not entitlement.limits:
        return _value_text(entitlement.value)
    text = " and ".join(_limit_text(feature, limit) for limit in entitlement.limits)
    if entitlement.mode != "add":
        return text
    return f"+{text}" if quantity == 1 else f"+{text}, {quantity} times"


def _value_text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(value) or "nothing"
    return number(value) if isinstance(value, int | Decimal) else str(value)


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
        barred = _barred(entitlements, fact)
        match fact:
            case Subscription():
                yield from _plan_bids(entitlements, feature, "plan", fact, barred)
            case Trial():
                yield from _plan_bids(entitlements, feature, "trial", fact, barred)
            case HeldAddOn() if fact.addon in entitlements.catalog.addons:
                entry = entitlements.catalog.addons[fact.addon].entitlements.get(feature.key)
                if entry is not None:
                    yield _Bid(Source("add-on", fact.addon), entry, fact, barred, fact.quantity)
            case PromotionRun() if fact.promotion in entitlements.catalog.promotions:
                entry = entitlements.catalog.promotions[fact.promotion].entitlements.get(feature.key)
                if entry is not None:
                    yield _Bid(Source("promotion", fact.promotion), entry, fact, barred)
            case Override() if fact.entitlement.feature == feature.key:
                yield _Bid(Source("override", fact.entitlement.mode), fact.entitlement, fact, barred)
    default = entitlements.catalog.default_plan
    if default is not None and any(
        h.subscription is None and h.source == Source("plan", default) for h in entitlements.holders
    ):
        yield from _plan_bids(entitlements, feature, "plan", None, None)


def _plan_bids(
    entitlements: Entitlements,
    feature: Feature,
    kind: str,
    fact: Subscription | Trial | None,
    barred: tuple[str, str] | None,
) -> Iterator[_Bid]:
    catalog = entitlements.catalog
    if fact is not None:
        catalog = entitlements.sold.get(fact.version or "", catalog)
    plan = fact.plan if fact is not None else catalog.default_plan or ""
    covered_by = None
    for key in lineage(catalog, plan):
        entry = catalog.plans[key].entitlements.get(feature.key)
        if entry is None:
            continue
        source = Source("trial", plan) if kind == "trial" else Source("plan" if key == plan else "parent", key)
        replaced = None if covered_by is None else ("replaced", f"plan {covered_by} sets its own")
        yield _Bid(source, entry, fact, barred or replaced)
        if entry.mode == "set":
            covered_by = key


def _barred(entitlements: Entitlements, fact: Fact) -> tuple[str, str] | None:
    at = entitlements.at
    if fact.until is not None and fact.until <= at:
        return "expired", f"ended {instant(fact.until)}"
    if fact.since > at:
        return "not yet", f"begins {instant(fact.since)}"
    if isinstance(fact, Subscription) and fact.status == "paused":
        return "paused", "the subscription is paused"
    if isinstance(fact, HeldAddOn) and fact.addon in entitlements.catalog.addons:
        addon = entitlements.catalog.addons[fact.addon]
        if not any(applies(addon, holder.plan) for holder in entitlements.holders):
            return "not held", f"goes with {' or '.join(addon.plans) or 'a plan'}, which is not held"
    return None


def _fate(
    entitlements: Entitlements,
    feature: Feature,
    standing: Standing | None,
    bid: _Bid,
    bids: list[_Bid],
    winner: str | None,
) -> tuple[str, str]:
    if bid.barred is not None:
        return bid.barred
    if bid.entitlement.mode == "deny":
        return "won", "a revocation beats everything"
    if feature.key in entitlements.denied:
        return "denied", "revoked by an override"
    newest = _newest_set(bids)
    if newest is not None:
        if bid is newest:
            return "won", "an override of mode set replaces the rest"
        return "replaced", "replaced by an override"
    if standing is None:
        return "lower", "grants nothing"
    if bid.entitlement.limits:
        return _metered_fate(standing, bid, winner)
    return _value_fate(feature, standing, bid)


def _newest_set(bids: list[_Bid]) -> _Bid | None:
    sets = [
        (bid.fact.since, bid.fact.number, index)
        for index, bid in enumerate(bids)
        if isinstance(bid.fact, Override) and bid.barred is None and bid.entitlement.mode == "set"
    ]
    return bids[max(sets)[2]] if sets else None


def _metered_fate(standing: Standing, bid: _Bid, winner: str | None) -> tuple[str, str]:
    shape = frozenset(limit.period for limit in bid.entitlement.limits)
    rival = next((share for share in standing.shares if share.shape() == shape), None)
    if rival is None:
        return "lower", "grants nothing"
    if bid.entitlement.mode == "add":
        on_top = rival.source != bid.source
        return ("added", f"added to what {rival.source.label} grants") if on_top else ("won", "stands on its own")
    if rival.source != bid.source:
        return "lower", f"{rival.source.label} grants more"
    if winner is not None and winner != bid.source.label and len(standing.shares) > 1:
        return "other period", f"an allowance of its own beside {winner}"
    return "won", "the most generous" if len(standing.shares) == 1 else "the allowance with the most room"


def _value_fate(feature: Feature, standing: Standing, bid: _Bid) -> tuple[str, str]:
    if standing.source == bid.source:
        return "won", "the most generous"
    value = bid.entitlement.value
    joined = standing.value
    if isinstance(joined, tuple) and isinstance(value, tuple) and value and at_least(feature, joined, value):
        return "added", "united with the others"
    return (
        "lower",
        f"{standing.source.label} grants more" if value != joined else f"{standing.source.label} ranks higher",
    )
