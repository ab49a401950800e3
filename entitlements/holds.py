"""The hold a caller has in hand: settle it, release it, or work inside it.

    with ent.reserve_credits("acme", "ai", 40, key="job-7") as hold:
        answer = model(prompt)
        hold.report(answer.cost)

What was reported is charged, and what is left of the hold returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import TracebackType
from typing import Protocol, Self, cast

from .amounts import Amount, Number, to_units
from .decisions import Decision
from .errors import HoldClosed
from .requests import Request
from .usage import TokenUsage


class Settles(Protocol):
    """What settles and releases holds by their id."""

    def settle(self, customer: str, hold_id: str, amount: Amount | Mapping[str, Amount] | TokenUsage) -> Decision:
        """Charge what the work came to."""
        ...

    def release(self, customer: str, hold_id: str) -> Decision:
        """Give everything back."""
        ...


class HeldWork:
    """What every hold knows, whoever closes it and however."""

    def __init__(
        self,
        customer: str,
        hold_id: str,
        decision: Decision,
        kinds: Mapping[str, Amount] | None = None,
        closed: str | None = None,
    ) -> None:
        self.id = hold_id
        self.customer = customer
        self.decision = decision
        self.result: Decision | None = None
        self._kinds = kinds
        self._closed = closed
        self._reported: Amount | Mapping[str, Amount] | None = None

    def __bool__(self) -> bool:
        return self.decision.allowed

    def __repr__(self) -> str:
        state = "denied" if not self else "open" if self.result is None and self._closed is None else "closed"
        return f"{type(self).__name__}({self.id!r}, {state})"

    def report(self, amount: Amount | Mapping[str, Amount] | TokenUsage) -> None:
        """Note what the work has come to so far; a later report replaces an earlier one. Raises AmountError."""
        told, scale = amount.kinds if isinstance(amount, TokenUsage) else amount, _scale(self.decision.requested)
        parts = [*told.values()] if isinstance(told, Mapping) and self._is_priced else [cast("Amount", told)]
        for part in parts:
            to_units(part, scale)
        self._reported = {**told} if isinstance(told, Mapping) else told

    def _check_enterable(self) -> None:
        """Raise EntitlementDenied or HoldClosed before work that nothing is set aside for, and nobody could charge."""
        self.decision.raise_if_denied()
        if self._closed == "released":
            raise HoldClosed(self.id, self._closed)

    @property
    def _is_priced(self) -> bool:
        return self.decision.receipt is None or self.decision.receipt.price is not None

    def _due(self, *, failed: bool) -> Amount | Mapping[str, Amount] | None:
        """Return what closing the hold charges: what was reported, else all of it, and None to release it."""
        if self._reported is not None:
            return self._reported
        if failed:
            return None
        return _whole(self.decision) if self._kinds is None else self._kinds

    def _note(self, error: BaseException, fault: Exception) -> None:
        """Say with the error that ended the work that the hold was not closed either."""
        error.add_note(f"hold {self.id!r} was not closed either: {fault}")


class Hold(HeldWork):
    """Credits or usage set aside; false when denied. `id` is the key, `decision` the answer to reserving.

    As a context manager a denied hold raises EntitlementDenied on entering, and one that was released
    before, also by an earlier attempt under its key, HoldClosed. A normal exit settles what
    was reported, else the whole hold; an exception, a cancellation or an interrupt settles what was
    reported, else releases, and stays the one that is raised. `result` is the decision that closed it.
    """

    def __init__(
        self,
        engine: Settles,
        customer: str,
        hold_id: str,
        decision: Decision,
        kinds: Mapping[str, Amount] | None = None,
        closed: str | None = None,
    ) -> None:
        super().__init__(customer, hold_id, decision, kinds, closed)
        self._engine = engine

    def settle(self, amount: Amount | Mapping[str, Amount] | TokenUsage) -> Decision:
        """Charge what the work came to; less than was held gives the rest back, more draws on."""
        self.result = self._engine.settle(self.customer, self.id, amount)
        return self.result

    def release(self) -> Decision:
        """Give everything back."""
        self.result = self._engine.release(self.customer, self.id)
        self._closed = "released"
        return self.result

    def __enter__(self) -> Self:
        self._check_enterable()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.result is not None:
            return
        try:
            self._close(failed=error is not None)
        except Exception as fault:
            if error is None:
                raise
            self._note(error, fault)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Close the hold without awaiting anything, so that no cancellation can come between."""
        self.__exit__(kind, error, at)

    def _close(self, *, failed: bool) -> None:
        due = self._due(failed=failed)
        if due is None:
            self.release()
        else:
            self.settle(due)


def kinds_asked(asked: Request) -> Mapping[str, Amount] | None:
    """Return the amount that a request names by kind, None where it names one number."""
    amount = asked.values.get("amount")
    return amount if isinstance(amount, Mapping) else None


def _whole(decision: Decision) -> Number:
    """Return what a hold is for: all that was asked where what is missing becomes debt, else what was set aside."""
    is_owed = decision.soft and decision.source is not None and decision.source.startswith("credit:")
    if is_owed or decision.receipt is None:
        return decision.requested
    return decision.receipt.booked


def _scale(number: Number) -> int:
    return -int(number.as_tuple().exponent) if isinstance(number, Decimal) else 0
