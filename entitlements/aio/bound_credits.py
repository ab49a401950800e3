"""One customer's credits and log, awaited: the engine's verbs, without repeating the customer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ..amounts import Amount
from ..balances import Balance
from ..catalog.model import Category, Depletion
from ..decisions import Decision
from ..ledger.audit import Problem
from ..ledger.blocks import Block, Late
from ..usage import TokenUsage
from .holds import Reserving

if TYPE_CHECKING:
    from ..reports.statement import Statement
    from .engine import AsyncEntitlements


class AsyncCustomerCredits:
    """What a bound customer does with credits; each verb does what the engine's verb of that name does."""

    __slots__ = ()
    _engine: AsyncEntitlements
    id: str

    async def grant_credits(
        self,
        credit: str,
        amount: Amount,
        *,
        key: str | None,
        category: Category = "paid",
        expires_at: datetime | None = None,
        expires_in: timedelta | int | None = None,
        effective_at: datetime | None = None,
        priority: int = 50,
        cost_basis: Amount | None = None,
        features: Sequence[str] | None = None,
        scope: object = None,
        settle_debt: bool = True,
        metadata: Mapping[str, Any] | None = None,
        at: datetime | None = None,
    ) -> Block:
        """Grant a block of credits, usable in `[effective_at, expires_at)`; debt it could have paid is repaid first."""
        return await self._engine.grant_credits(
            self.id,
            credit,
            amount,
            key=key,
            category=category,
            expires_at=expires_at,
            expires_in=expires_in,
            effective_at=effective_at,
            priority=priority,
            cost_basis=cost_basis,
            features=features,
            scope=scope,
            settle_debt=settle_debt,
            metadata=metadata,
            at=at,
        )

    async def consume_credits(
        self,
        credit: str,
        amount: Amount,
        *,
        key: str | None,
        feature: str | None = None,
        scope: object = None,
        depletion: Depletion | None = None,
        at: datetime | None = None,
    ) -> Decision:
        """Burn credits in burn order, all or nothing unless `depletion` is "partial" or "soft"."""
        return await self._engine.consume_credits(
            self.id, credit, amount, key=key, feature=feature, scope=scope, depletion=depletion, at=at
        )

    def reserve_credits(
        self,
        credit: str,
        amount: Amount,
        *,
        key: str | None,
        ttl: timedelta | int | None = 3600,
        feature: str | None = None,
        scope: object = None,
        late: Late = "charge",
        at: datetime | None = None,
    ) -> Reserving:
        """Set credits aside before the work; the hold's id is the key, and it lapses after `ttl` seconds."""
        return self._engine.reserve_credits(
            self.id, credit, amount, key=key, ttl=ttl, feature=feature, scope=scope, late=late, at=at
        )

    def reserve(
        self,
        feature: str,
        amount: Amount | Mapping[str, Amount] | TokenUsage = 1,
        *,
        key: str | None,
        ttl: timedelta | int | None = 3600,
        scope: object = None,
        dimensions: Mapping[str, str] | None = None,
        late: Late = "charge",
        at: datetime | None = None,
    ) -> Reserving:
        """Set usage of a metered feature aside before the work: it counts at once, and what is not settled returns."""
        return self._engine.reserve(
            self.id, feature, amount, key=key, ttl=ttl, scope=scope, dimensions=dimensions, late=late, at=at
        )

    async def settle(self, hold_id: str, amount: Amount | Mapping[str, Amount] | TokenUsage) -> Decision:
        """Charge what the work came to: less returns the rest, more draws on under the same policy."""
        return await self._engine.settle(self.id, hold_id, amount)

    async def release(self, hold_id: str) -> Decision:
        """Give back all that a hold pins. Raises UnknownHold, HoldClosed where it was settled."""
        return await self._engine.release(self.id, hold_id)

    async def refund(self, batch_key: str, amount: Amount | None = None, *, key: str | None) -> Decision:
        """Give back what a batch took, all that is left of it or an amount, to the same blocks in reverse."""
        return await self._engine.refund(self.id, batch_key, amount, key=key)

    async def void_block(self, block_id: str) -> Block:
        """Take back what is free of a block; what was used stays used. Raises UnknownBlock."""
        return await self._engine.void_block(self.id, block_id)

    async def balance(
        self,
        credit: str,
        *,
        feature: str | None = None,
        scope: object = None,
        at: datetime | None = None,
        as_of: int | None = None,
    ) -> Balance:
        """Return what the credits come to; restricted blocks count where `feature` or `scope` names them."""
        return await self._engine.balance(self.id, credit, feature=feature, scope=scope, at=at, as_of=as_of)

    async def statement(self, credit: str, *, start: datetime, end: datetime) -> Statement:
        """Return the credits of one kind in `[start, end)`, line by line, and that they add up."""
        return await self._engine.statement(self.id, credit, start=start, end=end)

    async def sweep(self) -> int:
        """Book what fell due by time, and return how many entries that was."""
        return await self._engine.sweep(self.id)


class AsyncCustomerAudit:
    """What a bound customer does about its log; each verb does what the engine's verb of that name does."""

    __slots__ = ()
    _engine: AsyncEntitlements
    id: str

    async def verify(self, *, head: str | None = None) -> tuple[Problem, ...]:
        """Audit the log and return what is wrong; empty means sound."""
        return await self._engine.verify(self.id, head=head)

    async def head(self) -> str:
        """Return the hash of the newest batch, to be saved elsewhere; empty for no log."""
        return await self._engine.head(self.id)

    async def erase(self) -> None:
        """Erase everything personal in the log: scopes, metadata, reasons, whenever written."""
        await self._engine.erase(self.id)
