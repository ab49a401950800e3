"""Judging: from what a customer is entitled to and has used, to a decision. Nothing is written here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, Final

import attrs

from .amounts import Bound, Number, Unlimited, bound_number, from_units
from .catalog.model import Catalog, Feature, Limit, Period
from .catalog.standing import Standing, at_least, flatten
from .decisions import Allowance, Code, Decision, Outcome
from .errors import near_or_some, shown
from .ledger.entries import CounterKey
from .ledger.facts import in_force
from .ledger.state import Head
from .metering import Meter, Weighed, meters
from .resolution import SET, Entitlements, resolve
from .weighing import Choice, Question, Weighing, end_of, lifted_by_resets, overage, weighed_by, weighed_share
from .wording import coming, gone, paused, ungranted


@attrs.define(slots=False, frozen=True, eq=False)
class Finding:
    """What is found of a question, and the meters usage would be counted in; the decision is spelled out when read.

    `standing` is what the customer is given, None for nothing; `weighed` is None for what has no limits.
    `counters` is what is used, read only where nothing weighs it.
    """

    question: Question
    entitlements: Entitlements
    head: Head
    metered: Mapping[Period, Meter]
    standing: Standing | None
    weighed: Weighing | None
    counters: Mapping[CounterKey, int]

    @property
    def allowed(self) -> bool:
        """Whether the customer may."""
        return self.decision.allowed if self.weighed is None else self.weighed.passes

    @property
    def fits(self) -> int:
        """The units that would be counted."""
        return 0 if self.weighed is None else self.weighed.fits

    @property
    def overage(self) -> int | None:
        """How many of the units asked for lie beyond the limit; None without one that says anything of units."""
        return None if self.weighed is None else overage(self.question, self.weighed.shown)

    @cached_property
    def decision(self) -> Decision:
        """The decision in full."""
        if self.weighed is not None and self.standing is not None:
            return _decided(self.question, self.entitlements, self.head, self.weighed)
        if self.standing is not None:
            return _judge_value(self.question, self.entitlements, self.standing)
        return _missing(self.question, self.entitlements, self.head)

    def booked(self, number: Number, **told: Any) -> Decision:
        """Return the decision that tells that an amount was booked, and what stands now."""
        told |= {"allowed": True, "code": "ok", "outcome": "allow", "requested": number}
        if self.weighed is None:
            why = self.decision._said
            said = ungranted(self.question.feature.key, self._used, why) if why else ""
            return attrs.evolve(self.decision, used=self._used, said=said, **told)
        told.setdefault("overage", from_units(0, self.question.feature.scale))
        return _standing(self.question, self.entitlements, self.weighed, None, **told)

    @property
    def _used(self) -> Number:
        """What is used of a feature that nothing grants, in its own period."""
        feature = self.question.feature
        return from_units(self.counters.get(self.metered[feature.reset].counter, 0), feature.scale)


def found(
    question: Question,
    entitlements: Entitlements,
    head: Head,
    counters: Mapping[CounterKey, int],
    known: Mapping[Period, Meter] | None = None,
) -> Finding:
    """Return what limits and grants say to a question; the meters may be `known` already."""
    feature = question.feature
    metered: Mapping[Period, Meter] = known or {}
    if known is None and feature.type == "metered":
        metered = meters(entitlements, head.opened, feature, question.occurred_at or question.at)
    standing = entitlements.standing(feature.key)
    if standing is None or not _given(feature, standing):
        return Finding(question, entitlements, head, metered, None, None, counters)
    weighed = weighed_by(question, standing, metered, counters) if feature.type == "metered" else None
    return Finding(question, entitlements, head, metered, standing, weighed, counters)


def judge(
    question: Question, entitlements: Entitlements, head: Head, counters: Mapping[CounterKey, int]
) -> tuple[Decision, Mapping[Period, Meter], int]:
    """Return the decision on a question, the meters usage would be counted in, and the units that would be."""
    finding = found(question, entitlements, head, counters)
    return finding.decision, finding.metered, finding.fits


def unknown_feature(catalog: Catalog, customer: str, feature: str, at: datetime, requested: Number = 1) -> Decision:
    """Return the denial of a feature that the catalog does not name."""
    said = f"no feature {shown(feature)} in the catalog{near_or_some(feature, catalog.features)}"
    known: dict[str, Any] = {"catalog_version": catalog.version, "at": at, "requested": requested}
    return Decision(False, "unknown_feature", customer, feature, "block", said=said, **known)


def without_storage(catalog: Catalog, customer: str, feature: str, at: datetime, *, allowed: bool) -> Decision:
    """Return what is answered while the storage cannot be reached and nothing is known."""
    said = f"the storage is unavailable; {feature} is {'allowed' if allowed else 'denied'} until it is back"
    code: Code = "ok" if allowed else "storage_unavailable"
    told: dict[str, Any] = {"catalog_version": catalog.version, "fallback": True, "at": at, "said": said}
    return Decision(allowed, code, customer, feature, "allow" if allowed else "block", **told)


def _given(feature: Feature, standing: Standing) -> bool:
    if feature.type == "metered":
        return bool(standing.shares)
    return standing.value is not None and not (feature.type == "boolean" and standing.value is False)


def _common(question: Question, entitlements: Entitlements) -> dict[str, Any]:
    return {
        "requested": question.number,
        "catalog_version": entitlements.catalog.version,
        "scope": question.scope,
        "at": question.at,
    }


def _missing(question: Question, entitlements: Entitlements, head: Head) -> Decision:
    code = _missing_code(question, entitlements, head)
    return Decision(
        False,
        code,
        question.customer,
        question.feature.key,
        "block",
        valid_until=entitlements.valid_until(question.feature.key),
        said=_withheld(question, entitlements) if code in _NOTHING_HELD else "",
        **_common(question, entitlements),
    )


_NOTHING_HELD: Final = frozenset({"not_in_plan", "no_active_subscription"})


def _withheld(question: Question, entitlements: Entitlements) -> str:
    """Return what keeps a customer from a plan: a pause, its beginning, or that the catalog lost it; "" for neither."""
    sold, catalog = entitlements.sold, entitlements.catalog
    waiting = [held for held in in_force(entitlements.facts.subscriptions, question.at) if held.status == "paused"]
    given = {held.plan: flatten(sold.get(held.version or "", catalog), held.plan) for held in waiting}
    feature = question.feature
    giving = [plan for plan, all_of in given.items() if feature.key in all_of and _given(feature, all_of[feature.key])]
    if giving or (given and not entitlements.holders):
        return paused(min(giving or given))
    later = [held for held in entitlements.facts.subscriptions if held.since > question.at]
    if later and not entitlements.holders:
        soonest = min(later, key=lambda held: (held.since, held.plan))
        return coming(soonest.plan, soonest.since)
    lost = [holder.source for holder in entitlements.holders if holder.plan not in holder.catalog.plans]
    if not lost:
        return ""
    first = min(lost, key=lambda source: source.rank)
    return gone(first.kind, first.key)


def _missing_code(question: Question, entitlements: Entitlements, head: Head) -> Code:
    feature, catalog = question.feature.key, entitlements.catalog
    if not head.known and catalog.default_plan is None:
        return "unknown_customer"
    standing = entitlements.standing(feature)
    if feature in entitlements.denied or (standing is not None and standing.source == SET):
        return "denied_by_override"
    lent = [trial for trial in entitlements.facts.trials if trial.until is not None and trial.until <= question.at]
    ended = any(feature in flatten(entitlements.sold.get(trial.version or "", catalog), trial.plan) for trial in lent)
    if not entitlements.holders and (entitlements.facts.subscriptions or not ended):
        return "no_active_subscription"
    return "trial_ended" if ended else "not_in_plan"


def _judge_value(question: Question, entitlements: Entitlements, standing: Standing) -> Decision:
    feature, value = question.feature, standing.value
    asked = question.value
    allowed = asked is None or (value is not None and at_least(feature, value, asked))
    return Decision(
        allowed,
        "ok" if allowed else "value_not_allowed",
        question.customer,
        feature.key,
        "allow" if allowed else "block",
        source=standing.source.label,
        value=value,
        valid_until=entitlements.valid_until(feature.key),
        **_common(question, entitlements),
    )


def _decided(question: Question, entitlements: Entitlements, head: Head, weighed: Weighing) -> Decision:
    """Return the decision on usage."""
    allowed = weighed.passes
    lifted_at = None if allowed else _lifted_at(question, entitlements, head, weighed.choices)
    outcome = _outcome(question, lifted_at, allowed=allowed)
    over = from_units(overage(question, weighed.shown), question.feature.scale)
    told: dict[str, Any] = {"allowed": allowed, "code": "ok" if allowed else "limit_reached", "outcome": outcome}
    return _standing(question, entitlements, weighed, lifted_at, requested=question.number, overage=over, **told)


def _standing(
    question: Question, entitlements: Entitlements, weighed: Weighing, lifted_at: datetime | None, **told: Any
) -> Decision:
    """Return what is `told` of usage as a decision, with what stands of the limit that is shown."""
    scale, tight = question.feature.scale, weighed.shown.tightest
    limit, throttled = tight.limit, told["outcome"] == "throttle"
    return Decision(
        customer=question.customer,
        feature=question.feature.key,
        limit=bound_number(limit.amount, scale),
        used=from_units(tight.used, scale),
        source=tight.source.label,
        soft=is_soft(limit),
        ceiling=None if limit.ceiling is None else from_units(limit.ceiling, scale),
        window_start=_start(tight.meter),
        resets_at=end_of(tight.meter),
        lifted_at=lifted_at,
        valid_until=_valid_until(question, entitlements, weighed.choices, lifted_at, throttled=throttled),
        catalog_version=entitlements.catalog.version,
        scope=question.scope,
        at=question.at,
        every=str(limit.period),
        choices=_allowances(question.feature, weighed.choices),
        **told,
    )


def _outcome(question: Question, lifted_at: datetime | None, *, allowed: bool) -> Outcome:
    if allowed:
        return "allow"
    soon = lifted_at is not None and lifted_at - question.at <= question.throttle_within
    return "throttle" if soon else "block"


def _lifted_at(
    question: Question, entitlements: Entitlements, head: Head, choices: Sequence[Choice]
) -> datetime | None:
    """Return when resets alone would lift a denial, None where they never do."""
    resets = [(choice, lifted_by_resets(question, choice)) for choice in choices]
    lifted = [at for choice, at in resets if at is not None and _still_passes(question, entitlements, head, choice, at)]
    return min(lifted, default=None)


def _still_passes(question: Question, entitlements: Entitlements, head: Head, choice: Choice, at: datetime) -> bool:
    """Tell whether the facts that begin or end until resets lift a choice leave it its windows and enough room."""
    edge, feature = entitlements.valid_until(question.feature.key), question.feature
    if edge is None or edge > at:
        return True
    then = resolve(entitlements.catalog, entitlements.facts, at, sold=entitlements.sold)
    before, after = (meters(given, head.opened, feature, at) for given in (entitlements, then))
    standing, periods = then.standing(feature.key), choice.share.shape()
    if standing is None or any(after.get(period) != before[period] for period in periods):
        return False
    used = {weighed.meter.counter: weighed.used for weighed in choice.limits}
    kept = [share for share in standing.shares if share.shape() == periods]
    return any(weighed_share(question, share, after, used).passes for share in kept)


def _valid_until(
    question: Question,
    entitlements: Entitlements,
    choices: list[Choice],
    lifted_at: datetime | None,
    *,
    throttled: bool,
) -> datetime | None:
    edges = [end_of(weighed.meter) for choice in choices for weighed in choice.limits]
    edges.append(entitlements.valid_until(question.feature.key))
    if lifted_at is not None and not throttled:
        edges.append(lifted_at - question.throttle_within)
    return min([edge for edge in edges if edge is not None and edge > question.at], default=None)


def _allowances(feature: Feature, choices: list[Choice]) -> tuple[Allowance, ...]:
    if len(choices) == 1 and len(choices[0].limits) == 1:
        return ()
    return tuple(_allowance(feature, choice) for choice in choices)


def _allowance(feature: Feature, choice: Choice) -> Allowance:
    several = choice.limits if len(choice.limits) > 1 else ()
    limits = tuple(_described(feature, weighed) for weighed in several)
    return attrs.evolve(_described(feature, choice.tightest), limits=limits)


def _described(feature: Feature, weighed: Weighed) -> Allowance:
    limit = weighed.limit
    return Allowance(
        weighed.source.label,
        _bound(limit.amount, feature),
        from_units(weighed.used, feature.scale),
        is_soft(limit),
        None if limit.ceiling is None else from_units(limit.ceiling, feature.scale),
        str(limit.period),
        _start(weighed.meter),
        end_of(weighed.meter),
    )


def is_soft(limit: Limit) -> bool:
    """Tell whether more than a limit may pass."""
    return limit.depletion == "soft" or limit.ceiling is not None


def _bound(bound: Bound, feature: Feature) -> Number | Unlimited:
    return bound_number(bound, feature.scale)


def _start(meter: Meter) -> datetime | None:
    return meter.window.start if meter.window is not None and not meter.fresh else None
