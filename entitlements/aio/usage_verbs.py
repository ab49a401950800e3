"""The usage verbs of an engine that is awaited: what things cost, and budgets on what is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import cast

from ..amounts import Amount
from ..decisions import Decision
from ..inquiries import estimate_of
from ..ledger.budgets import Action, Budget
from ..requests import given, request
from ..usage import TokenUsage
from ..usage_tree import UsageTree, usage_tree
from ..usage_verbs import AT_THE_LIMIT
from .driving import Awaiting


class AsyncUsageVerbs(Awaiting):
    """What `AsyncEntitlements` says of prices, and does with budgets."""

    async def estimate(
        self,
        customer: str,
        feature: str,
        amount: Amount | Mapping[str, Amount] | TokenUsage = 1,
        *,
        dimensions: Mapping[str, str] | None = None,
    ) -> Decimal:
        """Return what a use of a feature would cost in credits, rounded as a charge is; 0 without a rate.

        `amount` may be a mapping of kinds. Raises UnknownFeature, UnknownPrice, AmountError.
        """
        told = given(feature=feature, dimensions=dimensions)
        return await self._driver.read(
            estimate_of(self._desk, request("estimate", customer, None, amount=amount, **told))
        )

    async def correct_usage(
        self,
        customer: str,
        feature: str,
        used: Amount,
        *,
        key: str | None,
        occurred_at: datetime | None = None,
        reason: str = "",
    ) -> Decision:
        """Set what is used of a feature to what it truly was, in the present window or in that of `occurred_at`.

        What holds have set aside stays beside it; credits and budgets stay as they are, see `refund`.
        Raises AmountError, ValueError for a feature that is not metered.
        """
        told = given(occurred_at=occurred_at, reason=reason or None)
        return cast(
            "Decision",
            await self._driver.write(
                self._desk.write(request("correct_usage", customer, key, feature=feature, amount=used, **told))
            ),
        )

    async def usage_tree(self, customer: str, *, at: datetime | None = None) -> UsageTree:
        """Return what is used, held and left of every budget and allocation of a customer, by scope."""
        return usage_tree(
            await self._driver.read(self._desk.case(request("usage_tree", customer, None, **given(at=at)), None))
        )

    async def set_budget(
        self,
        customer: str,
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
        """Cap what is used of a feature or a credit inside a scope, in each period.

        The scope None is the whole customer. A budget counts from when it was first set, and changing it
        never starts its count again. With `ends_at` it gives way to what stood before. `every` follows
        the calendar unless it says {"every": ..., "align": "anniversary"}; "none" never starts again.
        With `action` "notify" nothing is denied. `alerts` are parts of the limit to be told of.
        Raises UnknownFeature, UnknownCredit, ValueError, AmountError.
        """
        told = given(scope=scope, feature=feature, credit=credit, dimensions=dimensions, ends_at=ends_at, at=at)
        terms = {"limit": limit, "every": every, "action": action, "alerts": alerts}
        return cast(
            "Budget", await self._driver.write(self._desk.write(request("set_budget", customer, key, **told, **terms)))
        )

    async def remove_budget(
        self,
        customer: str,
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
        told = given(scope=scope, feature=feature, credit=credit, dimensions=dimensions, at=at)
        await self._driver.write(self._desk.write(request("remove_budget", customer, key, every=every, **told)))
