"""One customer's usage, awaited: the engine's usage verbs, without repeating the customer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from ..amounts import Amount
from ..decisions import Decision
from ..ledger.budgets import Action, Budget
from ..usage import TokenUsage
from ..usage_verbs import AT_THE_LIMIT

if TYPE_CHECKING:
    from ..usage_tree import UsageTree
    from .engine import AsyncEntitlements


class AsyncCustomerUsage:
    """What a bound customer does with usage; each verb does what the engine's verb of that name does."""

    __slots__ = ()
    _engine: AsyncEntitlements
    id: str

    async def estimate(
        self,
        feature: str,
        amount: Amount | Mapping[str, Amount] | TokenUsage = 1,
        *,
        dimensions: Mapping[str, str] | None = None,
    ) -> Decimal:
        """Return what a use of a feature would cost in credits, rounded as a charge is; 0 without a rate."""
        return await self._engine.estimate(self.id, feature, amount, dimensions=dimensions)

    async def correct_usage(
        self,
        feature: str,
        used: Amount,
        *,
        key: str | None,
        occurred_at: datetime | None = None,
        reason: str = "",
    ) -> Decision:
        """Set what is used of a feature to what it truly was."""
        return await self._engine.correct_usage(self.id, feature, used, key=key, occurred_at=occurred_at, reason=reason)

    async def usage_tree(self, *, at: datetime | None = None) -> UsageTree:
        """Return what is used, held and left of every budget and allocation, by scope."""
        return await self._engine.usage_tree(self.id, at=at)

    async def set_budget(
        self,
        scope: object,
        *,
        feature: str | None = None,
        credit: str | None = None,
        limit: Amount,
        every: object,
        action: Action = "block",
        dimensions: Mapping[str, str] | None = None,
        alerts: Sequence[Amount] = AT_THE_LIMIT,
        ends_at: datetime | None = None,
        at: datetime | None = None,
        key: str | None = None,
    ) -> Budget:
        """Cap what is used of a feature or a credit inside a scope, in each period."""
        return await self._engine.set_budget(
            self.id,
            scope,
            feature=feature,
            credit=credit,
            limit=limit,
            every=every,
            action=action,
            dimensions=dimensions,
            alerts=alerts,
            ends_at=ends_at,
            at=at,
            key=key,
        )

    async def remove_budget(
        self,
        scope: object,
        *,
        feature: str | None = None,
        credit: str | None = None,
        every: object,
        dimensions: Mapping[str, str] | None = None,
        at: datetime | None = None,
        key: str | None = None,
    ) -> None:
        """Take a budget back. Raises UnknownCustomer, UnknownBudget."""
        await self._engine.remove_budget(
            self.id, scope, feature=feature, credit=credit, every=every, dimensions=dimensions, at=at, key=key
        )
