"""Decisions: what may be done, how much of it, why, and what would change the answer.

A decision is a frozen value, true when allowed. Back end and front end read the same one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Context, Decimal
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import attrs

from .amounts import UNLIMITED, Number, Unlimited
from .catalog.model import ConfigValue
from .errors import EntitlementDenied
from .frozen import FrozenDict

if TYPE_CHECKING:
    from .caps import Cap

Outcome = Literal["allow", "throttle", "block"]
Code = Literal[
    "ok",
    "unknown_feature",
    "unknown_customer",
    "denied_by_override",
    "no_active_subscription",
    "trial_ended",
    "not_in_plan",
    "value_not_allowed",
    "limit_reached",
    "budget_exceeded",
    "insufficient_credits",
    "unknown_credit",
    "storage_unavailable",
]
EXACT: Final = Context(prec=100)
_WRITTEN: Final = (Decimal, Unlimited)
"""Decimal arithmetic that the host's own context cannot bend."""

Quantity: TypeAlias = Number | Unlimited | None
Scope: TypeAlias = Mapping[str, str]


@attrs.frozen
class Allowance:
    """One way to be allowed a metered feature, and how much of it is left.

    Where several limits must all have room, `limits` lists each and the rest describes the tightest.
    """

    source: str
    limit: Number | Unlimited
    used: Number
    soft: bool = False
    ceiling: Number | None = None
    every: str = "none"
    window_start: datetime | None = None
    resets_at: datetime | None = None
    limits: tuple[Allowance, ...] = ()

    @property
    def remaining(self) -> Number | Unlimited:
        """How much is left below the limit, never less than zero."""
        return left_of(self.limit, self.used)

    def to_dict(self) -> dict[str, Any]:
        """Return the allowance as JSON values."""
        return {
            "source": self.source,
            "limit": json_number(self.limit),
            "used": json_number(self.used),
            "remaining": json_number(self.remaining),
            "soft": self.soft,
            "ceiling": json_number(self.ceiling),
            "every": self.every,
            "window_start": json_instant(self.window_start),
            "resets_at": json_instant(self.resets_at),
            "limits": [limit.to_dict() for limit in self.limits],
        }


@attrs.frozen
class Receipt:
    """What a write left behind.

    `booked` is the amount recorded, `seq` the last entry of the batch. `replayed` says that this key
    was answered before and nothing was written now; `late` that the usage lies in the past. `price` is
    what a use cost in credits, `unpaid` the part of it that nobody could pay.
    """

    key: str
    seq: int
    replayed: bool = False
    late: bool = False
    booked: Number = 0
    burned: Mapping[str, Number] = attrs.field(factory=dict, hash=False)
    balance_after: Number | None = None
    price: Number | None = None
    unpaid: Number = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the receipt as JSON values."""
        return {
            "key": self.key,
            "seq": self.seq,
            "replayed": self.replayed,
            "late": self.late,
            "booked": json_number(self.booked),
            "burned": {block: json_number(amount) for block, amount in self.burned.items()},
            "balance_after": json_number(self.balance_after),
            "price": json_number(self.price),
            "unpaid": json_number(self.unpaid),
        }


@attrs.frozen(weakref_slot=False)
class Decision:
    """Whether a customer may do something, and everything worth knowing about it.

    True when allowed. Numbers are `int` where the feature's scale is 0, else `Decimal`; `limit` is
    `UNLIMITED` or, for what is not metered, None. `outcome` is "allow"; "throttle" where a reset soon
    lifts the denial; else "block". `valid_until` is the first instant at which time alone can change
    the answer.
    """

    allowed: bool
    code: Code
    customer: str
    feature: str
    outcome: Outcome = "allow"
    limit: Quantity = None
    used: Number | None = None
    requested: Number = 1
    source: str | None = None
    value: ConfigValue | None = None
    soft: bool = False
    ceiling: Number | None = None
    overage: Number = 0
    window_start: datetime | None = None
    resets_at: datetime | None = None
    lifted_at: datetime | None = None
    valid_until: datetime | None = None
    catalog_version: str = ""
    upgrade: tuple[str, ...] = ()
    scope: Scope | None = attrs.field(default=None, hash=False)
    budgets: tuple[Cap, ...] = ()
    stale: bool = False
    fallback: bool = False
    receipt: Receipt | None = None
    at: datetime | None = attrs.field(default=None, eq=False)
    _every: str = "none"
    _choices: tuple[Allowance, ...] = ()
    _said: str = ""
    _needed: Number | None = None

    def __bool__(self) -> bool:
        return self.allowed

    def __str__(self) -> str:
        return f"allowed: {self.reason}" if self.allowed else f"denied ({self.code}): {self.reason}"

    @property
    def unlimited(self) -> bool:
        """Whether there is no limit at all."""
        return self.limit is UNLIMITED

    @property
    def remaining(self) -> Quantity:
        """How much is left below the limit, never less than zero; None for what is not metered."""
        return None if self.limit is None or self.used is None else left_of(self.limit, self.used)

    @property
    def reason(self) -> str:
        """Why, in one sentence for a person; for a denial also what to do next."""
        from .wording import also, reason  # noqa: PLC0415  (wording reads decisions)

        return also(self._said, self.upgrade) if self._said else reason(self)

    @property
    def allowances(self) -> tuple[Allowance, ...]:
        """Every allowance of a metered feature, any of them with room is enough; last the credits that are not."""
        if self._choices or self.limit is None or self.used is None:
            return self._choices
        shown = (self.soft, self.ceiling, self._every, self.window_start, self.resets_at)
        return (Allowance(self.source or "", self.limit, self.used, *shown),)

    def retry_after(self, now: datetime | None = None) -> int | None:
        """Return the whole seconds to wait where a reset lifts the denial soon, else None.

        They count from `now`, or else from the instant this was decided.
        """
        since = now or self.at
        if self.outcome != "throttle" or self.lifted_at is None or since is None:
            return None
        return max(0, math.ceil((self.lifted_at - since).total_seconds()))

    def raise_if_denied(self) -> Decision:
        """Return self where allowed; raise EntitlementDenied, which carries self, where not."""
        if not self.allowed:
            raise EntitlementDenied(self)
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return the whole decision as JSON values: decimals as text, instants as ISO 8601."""
        return {
            "allowed": self.allowed,
            "outcome": self.outcome,
            "code": self.code,
            "reason": self.reason,
            "customer": self.customer,
            "feature": self.feature,
            "limit": json_number(self.limit),
            "unlimited": self.unlimited,
            "soft": self.soft,
            "ceiling": json_number(self.ceiling),
            "used": json_number(self.used),
            "remaining": json_number(self.remaining),
            "requested": json_number(self.requested),
            "overage": json_number(self.overage),
            "value": json_value(self.value),
            "window_start": json_instant(self.window_start),
            "resets_at": json_instant(self.resets_at),
            "lifted_at": json_instant(self.lifted_at),
            "valid_until": json_instant(self.valid_until),
            "source": self.source,
            "allowances": [allowance.to_dict() for allowance in self.allowances],
            "upgrade": list(self.upgrade),
            "scope": None if self.scope is None else dict(self.scope),
            "budgets": [cap.to_dict() for cap in self.budgets],
            "catalog_version": self.catalog_version,
            "stale": self.stale,
            "fallback": self.fallback,
            "receipt": None if self.receipt is None else self.receipt.to_dict(),
        }


def stands(decision: Decision, at: datetime) -> bool:
    """Tell whether a decision was made by an instant and still holds then."""
    made, until = decision.at, decision.valid_until
    return made is not None and made <= at and (until is None or at < until)


def left_of(limit: Number | Unlimited, used: Number) -> Number | Unlimited:
    """Return what is left below a limit, never less than zero."""
    if isinstance(limit, Unlimited):
        return UNLIMITED
    if isinstance(limit, int) and isinstance(used, int):
        return max(0, limit - used)
    return max(EXACT.subtract(limit, used), EXACT.subtract(limit, limit))


def json_number(number: Quantity) -> int | str | None:
    """Return a number as JSON keeps it exact: an int, decimal text, or "unlimited"."""
    if type(number) is int:
        return number
    if isinstance(number, Decimal):
        return f"{number:f}"
    return str(number) if isinstance(number, Unlimited) else number


def json_value(value: ConfigValue | None) -> Any:
    """Return a config value as a JSON value; decimals become text."""
    if isinstance(value, tuple):
        return list(value)
    return f"{value:f}" if isinstance(value, Decimal) else value


def json_instant(at: datetime | None) -> str | None:
    """Return an instant as ISO 8601 text in UTC."""
    if at is None:
        return None
    return _spelled(at) if at.tzinfo is UTC else at.isoformat()


@lru_cache(maxsize=1024)
def _spelled(at: datetime) -> str:
    """Return the text of an instant that is in UTC: one that equals it elsewhere is spelled otherwise."""
    return at.isoformat()


_NUMBERS: Final = ("limit", "used", "requested", "ceiling", "overage", "needed")
_INSTANTS: Final = ("window_start", "resets_at", "lifted_at", "valid_until", "at")
_SLOTS: Final = {"every": "_every", "said": "_said", "needed": "_needed"}
_PLAIN: Final = ("allowed", "code", "outcome", "source", "soft", "catalog_version", "every", "said")
_KEPT: Final = (*_PLAIN, *_NUMBERS, *_INSTANTS)
_TOLD: Final = attrgetter(*(_SLOTS.get(name, name) for name in _KEPT))
_JSON: Final = frozenset({str, int, bool})


def stored(decision: Decision) -> dict[str, Any]:
    """Return what a log keeps of a decision, so that a replay can give the same one again."""
    kept = {
        name: value if type(value) in _JSON else _jsoned(value)
        for name, value in zip(_KEPT, _TOLD(decision), strict=True)
        if value is not None and value is not False
    }
    if decision._choices:
        kept["choices"] = [_stored_allowance(choice) for choice in decision._choices]
    if decision.scope is not None:
        kept["scope"] = decision.scope
    if decision.budgets:
        from .caps import stored_cap  # noqa: PLC0415  (caps read decisions)

        kept["budgets"] = [stored_cap(cap) for cap in decision.budgets]
    return kept if decision.receipt is None else kept | _stored_receipt(decision.receipt, decision.feature)


def _stored_receipt(receipt: Receipt, feature: str) -> dict[str, Any]:
    """Return what a log keeps of a receipt; blocks stand in a list, as one named "scope" would be sealed as a field."""
    kept: dict[str, Any] = {"booked": json_number(receipt.booked)}
    if receipt.late:
        kept["late"] = True
    if receipt.balance_after is not None:
        kept["feature"] = feature
        kept["burned"] = [[block, json_number(amount)] for block, amount in receipt.burned.items()]
        kept["balance_after"] = json_number(receipt.balance_after)
    if receipt.price is not None:
        kept["price"], kept["unpaid"] = json_number(receipt.price), json_number(receipt.unpaid)
    return kept


def _jsoned(value: Number | Unlimited | datetime) -> int | str | None:
    return json_instant(value) if isinstance(value, datetime) else json_number(value)


def restored(kept: Mapping[str, Any], *, customer: str, feature: str, receipt: Receipt) -> Decision:
    """Return the decision that `stored` kept, with the receipt of the replay."""
    values: dict[str, Any] = {name: kept[name] for name in _PLAIN if name in kept}
    values |= {name: _untagged(kept[name]) for name in _NUMBERS if name in kept}
    values |= {name: datetime.fromisoformat(kept[name]) for name in _INSTANTS if name in kept}
    booked = attrs.evolve(
        receipt,
        booked=_untagged(kept.get("booked", 0)),
        late=kept.get("late", False),
        burned={block: _untagged(amount) for block, amount in kept.get("burned", ())},
        balance_after=_untagged(kept.get("balance_after")),
        price=_untagged(kept.get("price")),
        unpaid=_untagged(kept.get("unpaid", 0)),
    )
    choices = tuple(_restored_allowance(choice) for choice in kept.get("choices", ()))
    values.setdefault("allowed", False)
    return Decision(
        customer=customer,
        feature=kept.get("feature", feature),
        receipt=booked,
        choices=choices,
        scope=FrozenDict(kept["scope"]) if "scope" in kept else None,
        budgets=_restored_caps(kept),
        **values,
    )


def _restored_caps(kept: Mapping[str, Any]) -> tuple[Cap, ...]:
    if "budgets" not in kept:
        return ()
    from .caps import restored_cap  # noqa: PLC0415  (caps read decisions)

    return tuple(restored_cap(cap, kept.get("scope")) for cap in kept["budgets"])


def _stored_allowance(allowance: Allowance) -> list[Any]:
    return [
        allowance.source,
        json_number(allowance.limit),
        json_number(allowance.used),
        allowance.soft,
        json_number(allowance.ceiling),
        allowance.every,
        json_instant(allowance.window_start),
        json_instant(allowance.resets_at),
        [_stored_allowance(limit) for limit in allowance.limits],
    ]


def _restored_allowance(kept: list[Any]) -> Allowance:
    source, limit, used, soft, ceiling, every, start, resets, limits = kept
    return Allowance(
        source,
        _untagged(limit),
        _untagged(used),
        soft,
        _untagged(ceiling),
        every,
        None if start is None else datetime.fromisoformat(start),
        None if resets is None else datetime.fromisoformat(resets),
        tuple(_restored_allowance(inner) for inner in limits),
    )


def _untagged(kept: Any) -> Any:
    if kept == "unlimited":
        return UNLIMITED
    return Decimal(kept) if isinstance(kept, str) else kept
