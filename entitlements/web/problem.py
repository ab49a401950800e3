"""Problems: what a denial, or an error of the library, becomes in HTTP. The one place for all frameworks.

    402  paying fixes it: another plan, an add-on, more credits
    403  neither paying nor waiting fixes it
    409  a hold, a subscription or an add-on stands in the way
    422  a key came back with another request, or an amount is none
    429  waiting fixes it, and not for long; with Retry-After and RateLimit
    503  the storage is away; with Retry-After

Bodies are those of RFC 9457, `application/problem+json`.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from http.client import responses
from typing import Any, Final, TypeAlias

import attrs

from ..catalog.model import EMPTY
from ..decisions import Decision, json_instant, json_number
from ..errors import (
    AddOnRefused,
    AlreadySubscribed,
    AmountError,
    EntitlementDenied,
    EntitlementsError,
    HoldClosed,
    HoldExpired,
    IdempotencyConflict,
    KeyUsed,
    NotSubscribed,
    OutcomeUnknown,
    StorageUnavailable,
    shown,
)

logger = logging.getLogger("entitlements")

MEDIA: Final = "application/problem+json"
WAIT: Final = 1
EXCEEDED: Final = "https://iana.org/assignments/http-problem-types#quota-exceeded"

_STATUS: Final[Mapping[str, int]] = {
    "no_active_subscription": 402,
    "trial_ended": 402,
    "not_in_plan": 402,
    "limit_reached": 402,
    "budget_exceeded": 402,
    "insufficient_credits": 402,
    "storage_unavailable": 503,
}
_AWAY: Final = "the answer cannot be given at the moment; try again"
_TOLD: Final[tuple[tuple[type[EntitlementsError], int, str, str], ...]] = (
    (KeyUsed, 409, "key_used", "the request with this key is under way or done; a new request needs a new key"),
    (HoldClosed, 409, "hold_closed", "the hold was closed before"),
    (HoldExpired, 409, "hold_expired", "the hold has ended"),
    (AlreadySubscribed, 409, "already_subscribed", "a plan of this product is held already"),
    (AddOnRefused, 409, "addon_refused", "the add-on cannot be had now"),
    (NotSubscribed, 409, "not_subscribed", "what was to be changed is not held"),
    (AmountError, 422, "invalid_amount", "an amount is a plain number, zero or more, and not too large"),
    (StorageUnavailable, 503, "storage_unavailable", _AWAY),
    (OutcomeUnknown, 503, "outcome_unknown", f"{_AWAY} with the same key"),
)


class Refused(EntitlementsError):
    """A request that is not answered; what it said is logged, not sent back. `headers` say what would be."""

    def __init__(self, status: int, code: str, detail: str, headers: Mapping[str, str] = EMPTY) -> None:
        self.status, self.code, self.detail, self.headers = status, code, detail, dict(headers)
        super().__init__(detail)


ANSWERED: Final[tuple[type[EntitlementsError], ...]] = (
    EntitlementDenied,
    IdempotencyConflict,
    Refused,
    *(kind for kind, *_ in _TOLD),
)

Chosen: TypeAlias = Mapping[str, int] | Callable[[Decision], int | None]


@attrs.frozen
class Problem:
    """A response in the making: `members` are those of the body beside `type`, `title`, `status` and `detail`."""

    status: int
    code: str
    detail: str
    members: Mapping[str, Any] = attrs.field(default=EMPTY, hash=False)
    headers: Mapping[str, str] = attrs.field(default=EMPTY, hash=False)
    type: str = "about:blank"

    def to_dict(self) -> dict[str, Any]:
        """Return the body as JSON values."""
        title = responses.get(self.status, "")
        told = {"type": self.type, "title": title, "status": self.status, "detail": self.detail, "code": self.code}
        return {**told, **self.members}

    @property
    def body(self) -> bytes:
        """The body as it is sent."""
        return json.dumps(self.to_dict(), ensure_ascii=True).encode()

    @property
    def all_headers(self) -> dict[str, str]:
        """The headers as they are sent, the media type among them."""
        return {"Content-Type": MEDIA, "Cache-Control": "no-store", **self.headers}


@attrs.frozen
class Problems:
    """How denials and errors are told over HTTP.

    `status` replaces the status of a denial: a mapping by code, or a callable of the Decision that returns
    one or None. `types` is the address under which your documentation describes each code, as in
    `https://example.com/problems/`. `customer` puts the customer's id into bodies. `limits` sends the
    RateLimit headers, which tell how large a plan is.
    """

    status: Chosen = EMPTY
    types: str = ""
    customer: bool = False
    limits: bool = True

    def of(self, error: Exception) -> Problem | None:
        """Return what an error becomes, None for one that is none of ours and should stay a failure."""
        if isinstance(error, EntitlementDenied):
            return self._denial(error.decision)
        if isinstance(error, Refused):
            return Problem(error.status, error.code, error.detail, headers=error.headers)
        if isinstance(error, IdempotencyConflict):
            said = f"this key was used before for another request: {error.field} differs"
            return Problem(422, "key_reused", said, {"field": error.field})
        for kind, status, code, said in _TOLD:
            if isinstance(error, kind):
                return Problem(status, code, said, headers=_waits(status))
        return None

    def status_of(self, decision: Decision) -> int:
        """Return the status of a denial: the one chosen for it, else the usual."""
        chosen = self.status(decision) if callable(self.status) else self.status.get(decision.code)
        return status_for(decision) if chosen is None else chosen

    def _denial(self, decision: Decision) -> Problem:
        status = self.status_of(decision)
        members = _members(decision)
        if self.customer:
            members["customer"] = decision.customer
        headers = _waits(status, decision)
        if self.limits and status in {402, 429}:
            headers |= limit_headers(decision)
        kind = f"{self.types}{decision.code}" if self.types else "about:blank"
        if status == 429:
            kind = EXCEEDED
            members["violated-policies"] = [decision.feature]
        return Problem(status, decision.code, detail_of(decision, named=self.customer), members, headers, kind)


def status_for(decision: Decision) -> int:
    """Return the usual status of a denial: 429 only where waiting fixes it soon, 402 where paying does."""
    if decision.retry_after() is not None:
        return 429
    return _STATUS.get(decision.code, 403)


def detail_of(decision: Decision, *, named: bool = False) -> str:
    """Return why, in one sentence for a person; without the customer's id unless it is to be named."""
    if named:
        return decision.reason
    if decision.code == "unknown_customer":
        return "this customer is not known"
    return attrs.evolve(decision, customer="this customer").reason


def limit_headers(decision: Decision) -> dict[str, str]:
    """Return the RateLimit headers of a metered feature: what is left, of how much, until when, in whole seconds."""
    limit, left = decision.limit, decision.remaining
    if not isinstance(limit, int | Decimal) or not isinstance(left, int | Decimal):
        return {}
    name = _quoted(decision.feature)
    if name is None:
        return {}
    policy, now = f"{name};q={math.floor(limit)}", f"{name};r={math.floor(left)}"
    if decision.window_start is not None and decision.resets_at is not None:
        policy += f";w={_seconds(decision.window_start, decision.resets_at)}"
    ends = decision.lifted_at if decision.outcome == "throttle" else decision.resets_at
    if decision.at is not None and ends is not None:
        now += f";t={_seconds(decision.at, ends)}"
    return {"RateLimit-Policy": policy, "RateLimit": now}


def refuse(status: int, code: str, detail: str, *, said: str = "") -> Refused:
    """Return the refusal of a request, and log what it said: on one line, escaped and cut."""
    extra = {"entitlements.refused": code, "entitlements.status": status}
    logger.warning("refused a request (%s): %s", code, shown(said), extra=extra)
    return Refused(status, code, detail)


def _members(decision: Decision) -> dict[str, Any]:
    return {
        "feature": decision.feature,
        "outcome": decision.outcome,
        "limit": json_number(decision.limit),
        "used": json_number(decision.used),
        "remaining": json_number(decision.remaining),
        "requested": json_number(decision.requested),
        "resets_at": json_instant(decision.resets_at),
        "upgrade": list(decision.upgrade),
    }


def _waits(status: int, decision: Decision | None = None) -> dict[str, str]:
    if status not in {429, 503}:
        return {}
    seconds = decision.retry_after() if decision is not None else None
    return {"Retry-After": str(max(WAIT, seconds or 0))}


def _quoted(name: str) -> str | None:
    """Return a name as a string of a structured header, None where it cannot be one."""
    if not name.isascii() or not name.isprintable():
        return None
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _seconds(start: datetime, end: datetime) -> int:
    return max(0, math.ceil((end - start).total_seconds()))
