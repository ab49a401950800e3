"""One customer's verbs, awaited: the engine's own, without repeating the customer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import attrs

from ..amounts import Amount
from ..catalog.model import Depletion, Mode
from ..decisions import Decision
from ..ledger.entries import Entry
from ..ledger.facts import HeldAddOn, Override, PromotionRun, Status, Subscription, Trial
from ..snapshots import Snapshot
from ..usage import TokenUsage
from .bound_credits import AsyncCustomerAudit, AsyncCustomerCredits
from .bound_usage import AsyncCustomerUsage

if TYPE_CHECKING:
    from ..reports.explain import Explanation
    from .engine import AsyncEntitlements


@attrs.frozen
class AsyncCustomer(AsyncCustomerCredits, AsyncCustomerUsage, AsyncCustomerAudit):
    """All verbs of an engine for one customer; each does what the engine's verb of that name does."""

    _engine: AsyncEntitlements
    id: str

    async def subscribe(
        self,
        plan: str,
        *,
        anchor: datetime | None = None,
        ends_at: datetime | None = None,
        zone: str = "UTC",
        billing_id: str | None = None,
        at: datetime | None = None,
        key: str | None = None,
    ) -> Subscription:
        """Subscribe a customer to a plan of a product they do not hold yet."""
        return await self._engine.subscribe(
            self.id, plan, anchor=anchor, ends_at=ends_at, zone=zone, billing_id=billing_id, at=at, key=key
        )

    async def change_plan(
        self, plan: str, *, usage: str = "keep", at: datetime | None = None, key: str | None = None
    ) -> Subscription:
        """Move a customer to another plan of a product they hold; usage is kept, or starts again with "reset"."""
        return await self._engine.change_plan(self.id, plan, usage=usage, at=at, key=key)

    async def cancel(self, *, product: str | None = None, at: datetime | None = None, key: str | None = None) -> None:
        """End a subscription; `product` may be left out where one is held. Raises UnknownCustomer, NotSubscribed."""
        await self._engine.cancel(self.id, product=product, at=at, key=key)

    async def set_status(
        self, status: Status, *, product: str | None = None, at: datetime | None = None, key: str | None = None
    ) -> Subscription:
        """Make a subscription "active", "past_due" (it still grants) or "paused" (it does not)."""
        return await self._engine.set_status(self.id, status, product=product, at=at, key=key)

    async def start_trial(
        self,
        plan: str,
        *,
        days: int | None = None,
        ends_at: datetime | None = None,
        at: datetime | None = None,
        key: str | None = None,
    ) -> Trial:
        """Lend a customer a plan, for as long as the plan's own terms say unless told otherwise."""
        return await self._engine.start_trial(self.id, plan, days=days, ends_at=ends_at, at=at, key=key)

    async def add_addon(
        self,
        addon: str,
        *,
        quantity: int = 1,
        ends_at: datetime | None = None,
        at: datetime | None = None,
        key: str | None = None,
    ) -> HeldAddOn:
        """Hold an add-on in a quantity; the same add-on again sets it. Raises UnknownAddOn, AddOnRefused."""
        return await self._engine.add_addon(self.id, addon, quantity=quantity, ends_at=ends_at, at=at, key=key)

    async def remove_addon(self, addon: str, *, at: datetime | None = None, key: str | None = None) -> None:
        """Give an add-on up. Raises UnknownCustomer, NotSubscribed."""
        await self._engine.remove_addon(self.id, addon, at=at, key=key)

    async def promote(
        self, promotion: str, *, ends_at: datetime | None = None, at: datetime | None = None, key: str | None = None
    ) -> PromotionRun:
        """Run a promotion for a customer; a newer run replaces the older. Raises UnknownPromotion."""
        return await self._engine.promote(self.id, promotion, ends_at=ends_at, at=at, key=key)

    async def override(
        self,
        feature: str,
        value: object = None,
        *,
        mode: Mode = "set",
        ends_at: datetime | None = None,
        reason: str = "",
        at: datetime | None = None,
        key: str | None = None,
    ) -> Override:
        """Decide one feature for one customer: "set" replaces, "add" adds, "grant" competes, "deny" revokes."""
        return await self._engine.override(
            self.id, feature, value, mode=mode, ends_at=ends_at, reason=reason, at=at, key=key
        )

    async def remove_override(self, feature: str, *, at: datetime | None = None, key: str | None = None) -> None:
        """Take back every override of a feature. Raises UnknownCustomer, NotSubscribed."""
        await self._engine.remove_override(self.id, feature, at=at, key=key)

    async def check(
        self,
        feature: str,
        *,
        requested: Amount = 1,
        value: object = None,
        scope: object = None,
        dimensions: Mapping[str, str] | None = None,
        at: datetime | None = None,
        as_of: int | None = None,
    ) -> Decision:
        """Return whether a customer may have a feature, `requested` of it, or this `value` of it; never writes."""
        return await self._engine.check(
            self.id, feature, requested=requested, value=value, scope=scope, dimensions=dimensions, at=at, as_of=as_of
        )

    async def consume(
        self,
        feature: str,
        amount: Amount | Mapping[str, Amount] | TokenUsage = 1,
        *,
        key: str | None = None,
        scope: object = None,
        dimensions: Mapping[str, str] | None = None,
        occurred_at: datetime | None = None,
        depletion: Depletion | None = None,
    ) -> Decision:
        """Check and record in one step; a denial records nothing and does not use up its key."""
        return await self._engine.consume(
            self.id,
            feature,
            amount,
            key=key,
            scope=scope,
            dimensions=dimensions,
            occurred_at=occurred_at,
            depletion=depletion,
        )

    async def record(
        self,
        feature: str,
        amount: Amount | Mapping[str, Amount] | TokenUsage = 1,
        *,
        key: str | None = None,
        scope: object = None,
        dimensions: Mapping[str, str] | None = None,
        occurred_at: datetime | None = None,
        depletion: Depletion | None = None,
    ) -> Decision:
        """Record usage that already happened, whatever the limit; `overage` says how much lies beyond it."""
        told: dict[str, Any] = {"scope": scope, "dimensions": dimensions, "occurred_at": occurred_at}
        return await self._engine.record(self.id, feature, amount, key=key, depletion=depletion, **told)

    async def free(
        self,
        feature: str,
        amount: Amount = 1,
        *,
        key: str | None = None,
        scope: object = None,
        dimensions: Mapping[str, str] | None = None,
        occurred_at: datetime | None = None,
    ) -> Decision:
        """Give back usage, such as a seat, in the window it was taken in."""
        told: dict[str, Any] = {"scope": scope, "dimensions": dimensions, "occurred_at": occurred_at}
        return await self._engine.free(self.id, feature, amount, key=key, **told)

    async def reset_usage(self, feature: str, *, key: str | None = None) -> Decision:
        """Start a feature's usage again from zero in every open window."""
        return await self._engine.reset_usage(self.id, feature, key=key)

    async def explain(self, feature: str, *, at: datetime | None = None, as_of: int | None = None) -> Explanation:
        """Return the decision with every source that had something to say about it, and how it fared."""
        return await self._engine.explain(self.id, feature, at=at, as_of=as_of)

    async def snapshot(self, *, at: datetime | None = None) -> Snapshot:
        """Return every feature and credit of a customer: what a front end reads, JSON-ready, with an etag."""
        return await self._engine.snapshot(self.id, at=at)

    async def entries(self, *, after: int = 0, limit: int = 1000) -> Sequence[Entry]:
        """Return the lines of a customer's log in order, those after a sequence number."""
        return await self._engine.entries(self.id, after=after, limit=limit)
