"""Dated facts about one customer: subscriptions, trials, add-ons, promotions, overrides.

A fact holds in `[since, until)`. What changes in time (a plan change, a pause) is a row of facts
with the same key, one after the other; nothing is ever edited, and a future fact simply comes true.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Literal, TypeAlias, TypeVar

import attrs

from ..catalog.model import Entitlement

Status = Literal["active", "past_due", "paused"]


@attrs.frozen
class Subscription:
    """A plan held by a customer, one for each product.

    `[since, until)` is when this plan and status hold, `started_at` when the subscription began.
    `anchor` is where its usage windows start, in the wall-clock time of `zone`. `version` is the
    catalog version a pinned plan was sold in, else None.
    """

    id: str
    product: str
    plan: str
    since: datetime
    until: datetime | None
    started_at: datetime
    anchor: datetime
    zone: str = "UTC"
    status: Status = "active"
    billing_id: str | None = None
    version: str | None = None

    @property
    def key(self) -> str:
        """The product: a customer holds one plan of each."""
        return self.product


@attrs.frozen
class Trial:
    """A plan lent for a while."""

    plan: str
    since: datetime
    until: datetime | None
    version: str | None = None

    @property
    def key(self) -> str:
        """The plan: a newer trial of the same plan replaces the older."""
        return self.plan


@attrs.frozen
class HeldAddOn:
    """An add-on held in some quantity; it counts only while a plan that allows it is held."""

    addon: str
    quantity: int
    since: datetime
    until: datetime | None

    @property
    def key(self) -> str:
        """The add-on: the same add-on again sets the quantity."""
        return self.addon


@attrs.frozen
class PromotionRun:
    """One run of a promotion for a customer."""

    promotion: str
    since: datetime
    until: datetime | None

    @property
    def key(self) -> str:
        """The promotion: a newer run replaces the older."""
        return self.promotion


@attrs.frozen(weakref_slot=False)
class Override:
    """What was decided for this customer alone, and why; `number` tells the newest."""

    entitlement: Entitlement
    since: datetime
    until: datetime | None
    number: int = 0
    reason: str = ""

    @property
    def key(self) -> str:
        """Feature and mode: one override of each kind per feature, the newest replaces."""
        return f"{self.entitlement.mode}:{self.entitlement.feature}"


Fact: TypeAlias = Subscription | Trial | HeldAddOn | PromotionRun | Override
F = TypeVar("F", bound=Fact)


@attrs.frozen(weakref_slot=False)
class Facts:
    """All facts about one customer, each kind in order of key and time."""

    subscriptions: tuple[Subscription, ...] = ()
    trials: tuple[Trial, ...] = ()
    addons: tuple[HeldAddOn, ...] = ()
    promotions: tuple[PromotionRun, ...] = ()
    overrides: tuple[Override, ...] = ()

    def __iter__(self) -> Iterator[Fact]:
        yield from self.subscriptions
        yield from self.trials
        yield from self.addons
        yield from self.promotions
        yield from self.overrides


SECTIONS: tuple[str, ...] = ("subscriptions", "trials", "addons", "promotions", "overrides")
NO_FACTS = Facts()


def holds(fact: Fact, at: datetime) -> bool:
    """Tell whether a fact is in force at an instant."""
    return fact.since <= at and (fact.until is None or at < fact.until)


def in_force(facts: Iterable[F], at: datetime) -> tuple[F, ...]:
    """Return the facts in force at an instant, in their order."""
    return tuple([fact for fact in facts if fact.since <= at and (fact.until is None or at < fact.until)])


def replace(facts: tuple[F, ...], key: str, at: datetime, later: Iterable[F]) -> tuple[F, ...]:
    """Return the facts where from `at` on those with `key` are exactly `later`; what was before stays."""
    kept = [fact for fact in facts if fact.key != key]
    before = [_cut(fact, at) for fact in facts if fact.key == key and fact.since < at]
    rows = kept + before + list(later)
    return tuple(sorted(rows, key=lambda fact: (fact.key, fact.since)))


def current(facts: tuple[F, ...], at: datetime) -> tuple[F, ...]:
    """Return the facts that are in force at `at` or come later, and of each key the last that ended."""
    last = {fact.key: fact for fact in facts if _ended(fact, at)}
    return tuple(fact for fact in facts if not _ended(fact, at) or last[fact.key] is fact)


def _ended(fact: Fact, at: datetime) -> bool:
    return fact.until is not None and fact.until <= at


def _cut(fact: F, at: datetime) -> F:
    return fact if fact.until is not None and fact.until <= at else attrs.evolve(fact, until=at)
