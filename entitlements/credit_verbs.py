"""The credit verbs of an engine: grant, burn, hold, refund, and look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from .amounts import Amount
from .attempts import reserved
from .balances import Balance
from .catalog.model import Category, Depletion
from .decisions import Decision
from .desk import Driven
from .holds import Hold, kinds_asked
from .inquiries import balance_of, revenue_of, statement_of, sweep
from .ledger.blocks import Block, Late
from .requests import Request, closing, given, position, request, voiding
from .usage import TokenUsage

if TYPE_CHECKING:
    from .reports.revenue import Revenue
    from .reports.statement import Statement


class CreditVerbs(Driven):
    """What `Entitlements` does with credits. An amount is an int, a Decimal or an exact string, never a float."""

    def grant_credits(
        self,
        customer: str,
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
        """Grant a block of credits, usable in `[effective_at, expires_at)`; debt it could have paid is repaid first.

        `cost_basis` is what was paid for the whole block; `expires_in` is a timedelta or seconds. The
        block's id is the key. Raises UnknownCredit, UnknownFeature, AmountError, ValueError.
        """
        told = {"category": category, "priority": priority, "settle_debt": settle_debt, "at": at}
        span = {"expires_at": expires_at, "expires_in": expires_in, "effective_at": effective_at}
        terms = {"cost_basis": cost_basis, "features": features, "scope": scope, "metadata": metadata}
        asked = request("grant_credits", customer, key, credit=credit, amount=amount, **told, **span, **terms)
        return cast("Block", self._run(self._desk.write(asked)))

    def consume_credits(
        self,
        customer: str,
        credit: str,
        amount: Amount,
        *,
        key: str | None,
        feature: str | None = None,
        scope: object = None,
        depletion: Depletion | None = None,
        at: datetime | None = None,
    ) -> Decision:
        """Burn credits in burn order, all or nothing unless `depletion` is "partial" or "soft".

        `receipt.burned` says what each block paid. Raises AmountError, IdempotencyConflict.
        """
        told = given(feature=feature, scope=scope, depletion=depletion, at=at)
        return self._decide(request("consume_credits", customer, key, credit=credit, amount=amount, **told))

    def reserve_credits(
        self,
        customer: str,
        credit: str,
        amount: Amount,
        *,
        key: str | None,
        ttl: timedelta | int | None = 3600,
        feature: str | None = None,
        scope: object = None,
        late: Late = "charge",
        at: datetime | None = None,
    ) -> Hold:
        """Set credits aside before the work; the hold's id is the key, and it lapses after `ttl` seconds.

        `late` says whether settling after that is a plain "charge" or is to "refuse".
        """
        told = given(feature=feature, scope=scope, at=at)
        asked = request("reserve_credits", customer, key, credit=credit, amount=amount, ttl=ttl, late=late, **told)
        return self._hold(asked)

    def reserve(
        self,
        customer: str,
        feature: str,
        amount: Amount | Mapping[str, Amount] | TokenUsage = 1,
        *,
        key: str | None,
        ttl: timedelta | int | None = 3600,
        scope: object = None,
        dimensions: Mapping[str, str] | None = None,
        late: Late = "charge",
        at: datetime | None = None,
    ) -> Hold:
        """Set usage of a metered feature aside before the work: it counts at once, and what is not settled returns."""
        told = {"ttl": ttl, "scope": scope, "dimensions": dimensions, "late": late, "at": at}
        return self._hold(request("reserve", customer, key, feature=feature, amount=amount, **told))

    def settle(
        self, customer: str, hold_id: str, amount: Amount | Mapping[str, Amount] | TokenUsage
    ) -> Decision:
        """Charge what the work came to: less returns the rest, more draws on under the same policy.

        Beyond what can be paid it books all there is, closes the hold and answers falsy with `overage`.
        The same settle again replays. Raises UnknownHold, HoldClosed, HoldExpired.
        """
        return self._decide(closing(request("settle", customer, None, hold=hold_id, amount=amount)))

    def release(self, customer: str, hold_id: str) -> Decision:
        """Give back all that a hold pins. Raises UnknownHold, HoldClosed where it was settled."""
        return self._decide(closing(request("release", customer, None, hold=hold_id)))

    def refund(self, customer: str, batch_key: str, amount: Amount | None = None, *, key: str | None) -> Decision:
        """Give back what a batch took, all that is left of it or an amount, to the same blocks in reverse.

        A hold's batch is named by the hold's id. Raises AmountError beyond what was taken, LookupError
        for a batch that took nothing.
        """
        return self._decide(request("refund", customer, key, batch_key=batch_key, **given(amount=amount)))

    def void_block(self, customer: str, block_id: str) -> Block:
        """Take back what is free of a block; what was used stays used. Raises UnknownBlock."""
        asked = voiding(request("void_block", customer, None, block=block_id))
        return cast("Block", self._run(self._desk.write(asked)))

    def balance(
        self,
        customer: str,
        credit: str,
        *,
        feature: str | None = None,
        scope: object = None,
        at: datetime | None = None,
        as_of: int | None = None,
    ) -> Balance:
        """Return what a customer's credits come to; restricted blocks count where `feature` or `scope` names them.

        `at` in the past answers with what was recorded by then, so that the answer never changes.
        Raises UnknownCredit, UnknownFeature.
        """
        told = given(feature=feature, scope=scope, at=at)
        asked = request("balance", customer, None, credit=credit, **told)
        return self._run(balance_of(self._desk, asked, position(as_of, "as_of")))

    def statement(self, customer: str, credit: str, *, start: datetime, end: datetime) -> Statement:
        """Return one customer's credits of one kind in `[start, end)`, line by line, and that they add up.

        What falls due before `end` is in it, booked or not. Raises UnknownCredit, ValueError for an
        empty period.
        """
        return self._run(statement_of(self._desk, customer, credit, start, end))

    def revenue(self, *, start: datetime, end: datetime, credit: str | None = None) -> Revenue:
        """Return what was sold, recognised by use, lost to expiry and is still deferred, for every block.

        Of all customers in `[start, end)`, in one credit or in all. A period that is over is never
        restated. Raises UnknownCredit, ValueError for an empty period.
        """
        return self._run(revenue_of(self._desk, start, end, credit))

    def sweep(self, customer: str | None = None) -> int:
        """Book what fell due by time, for one customer or all, and return how many entries that was.

        Never needed: every read answers as if it were booked, and the next write books it.
        """
        return self._run(sweep(self._desk, customer))

    def _decide(self, asked: Request) -> Decision:
        return cast("Decision", self._run(self._desk.write(asked)))

    def _hold(self, asked: Request) -> Hold:
        made = self._run(reserved(self._desk, asked))
        return Hold(cast("Any", self), asked.customer, made.id, made.decision, kinds_asked(asked), made.closed)
