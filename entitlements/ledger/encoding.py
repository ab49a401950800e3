"""Ledger values as JSON values, and back: exact, total, without a catalog.

Instants are integers of microseconds since 1970 in UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

import attrs

from ..amounts import UNLIMITED, Bound, Unlimited
from ..catalog.model import ConfigValue, Entitlement, Limit, Period
from .blocks import Block, OpenHold
from .budgets import Budget, Rows, budgets_of
from .credit_encoding import (
    decode_credit_data,
    decode_debt,
    decode_grants,
    encode_credit_data,
    encode_debt,
    encode_grants,
    from_pairs,
    to_pairs,
)
from .crediting import CREDIT_KINDS
from .entries import Entry
from .facts import SECTIONS, Fact, Facts, HeldAddOn, Override, PromotionRun, Subscription, Trial
from .instants import from_instant, to_instant
from .plan_grants import Forfeited
from .sealing import SEALED, Sealed, is_sealed
from .state import FACT_KINDS, Head, in_burn_order


def encode_data(kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry's data as JSON values; `kind` says what stands in it."""
    if kind in FACT_KINDS:
        encode = _ENCODERS[FACT_KINDS[kind]]
        return {**data, "facts": [encode(fact) for fact in data["facts"]]}
    return encode_credit_data(data) if kind in CREDIT_KINDS else dict(data)


def decode_data(kind: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an entry's data from JSON values."""
    if kind in FACT_KINDS:
        decode = _DECODERS[FACT_KINDS[kind]]
        return {**data, "facts": tuple(decode(fact) for fact in data["facts"])}
    return decode_credit_data(data) if kind in CREDIT_KINDS else data


def encode_head(head: Head) -> dict[str, Any]:
    """Return facts, opened windows, notes and debts as JSON values; the rest of a head has columns and rows."""
    encoded: dict[str, Any] = {}
    for section in SECTIONS:
        facts = getattr(head.facts, section)
        if facts:
            encoded[section] = [_ENCODERS[section](fact) for fact in facts]
    if head.opened:
        encoded["opened"] = {name: from_instant(start) for name, start in head.opened.items()}
    if head.noted:
        encoded["noted"] = {subject: dict(data) for subject, data in head.noted.items()}
    if head.debts:
        encoded["debts"] = [encode_debt(debt) for debt in head.debts.values()]
    if head.grants:
        encoded["grants"] = {key: encode_grants(rows) for key, rows in head.grants.items()}
    if head.granted:
        encoded["granted"] = {name: from_instant(end) for name, end in head.granted.items()}
    if head.forfeited:
        encoded["forfeited"] = {name: _encode_forfeited(times) for name, times in head.forfeited.items()}
    return encoded


def decode_head(
    encoded: Mapping[str, Any],
    head: Head,
    *,
    blocks: Iterable[Block] = (),
    holds: Iterable[OpenHold] = (),
    budgets: Iterable[tuple[str, Rows]] = (),
) -> Head:
    """Return a head that has counts, instant, hash and salt of `head`, and what its JSON values and its rows say."""
    sections = {
        section: tuple(_DECODERS[section](fact) for fact in encoded[section])
        for section in SECTIONS
        if section in encoded
    }
    debts = map(decode_debt, encoded.get("debts", ()))
    return attrs.evolve(
        head,
        facts=Facts(**sections),
        opened={name: to_instant(start) for name, start in encoded.get("opened", {}).items()},
        noted={subject: dict(data) for subject, data in encoded.get("noted", {}).items()},
        blocks=in_burn_order(blocks),
        holds={hold.id: hold for hold in holds},
        debts={(debt.credit, debt.purpose): debt for debt in debts},
        budgets=budgets_of(budgets),
        grants={key: decode_grants(rows) for key, rows in encoded.get("grants", {}).items()},
        granted={name: to_instant(end) for name, end in encoded.get("granted", {}).items()},
        forfeited={name: _decode_forfeited(times) for name, times in encoded.get("forfeited", {}).items()},
    )


def _encode_forfeited(times: Forfeited) -> list[int]:
    """Return numbers and instants in turn, as heads were written that knew of one time only."""
    return [part for number, at in times for part in (number, from_instant(at))]


def _decode_forfeited(encoded: list[int]) -> Forfeited:
    return tuple((number, to_instant(at)) for number, at in zip(encoded[::2], encoded[1::2], strict=True))


def encode_entitlement(entitlement: Entitlement) -> dict[str, Any]:
    """Return an entitlement as JSON values."""
    return {
        "feature": entitlement.feature,
        "mode": entitlement.mode,
        "value": _encode_value(entitlement.value),
        "limits": [_encode_limit(limit) for limit in entitlement.limits],
    }


def decode_entitlement(encoded: Mapping[str, Any]) -> Entitlement:
    """Return an entitlement from JSON values."""
    return Entitlement(
        encoded["feature"],
        encoded["mode"],
        _decode_value(encoded["value"]),
        tuple(_decode_limit(limit) for limit in encoded["limits"]),
    )


def show_entry(entry: Entry) -> dict[str, Any]:
    """Return an entry as JSON values for people: ISO instants, only what is set."""
    shown: dict[str, Any] = {"seq": entry.seq, "key": entry.key, "kind": entry.kind, "subject": entry.subject}
    shown |= {"at": entry.at.isoformat(), "recorded_at": entry.recorded_at.isoformat()}
    if entry.counter:
        shown |= {"counter": entry.counter, "amount": entry.amount}
        shown |= {"window": entry.window.isoformat() if entry.window else None}
    if entry.block or (entry.amount and not entry.counter):
        shown |= {"amount": entry.amount, "block": entry.block}
    if entry.data:
        shown["data"] = encode_data(entry.kind, entry.data)
    return shown


def _encode_limit(limit: Limit) -> list[Any]:
    period = limit.period
    return [_encode_bound(limit.amount), period.every, period.count, period.align, limit.depletion, limit.ceiling]


def _decode_limit(encoded: list[Any]) -> Limit:
    amount, every, count, align, depletion, ceiling = encoded
    return Limit(_decode_bound(amount), _period(every, count, align), depletion, ceiling)


@lru_cache
def _period(every: Any, count: int, align: Any) -> Period:
    return Period(every, count, align)


def _encode_bound(bound: Bound) -> int | str:
    return "unlimited" if isinstance(bound, Unlimited) else bound


def _decode_bound(encoded: int | str) -> Bound:
    return encoded if isinstance(encoded, int) else UNLIMITED


def _encode_value(value: ConfigValue | None) -> Any:
    if isinstance(value, Decimal):
        return {"decimal": str(value)}
    return list(value) if isinstance(value, tuple) else value


def _decode_value(encoded: Any) -> ConfigValue | None:
    if isinstance(encoded, dict):
        return Decimal(encoded["decimal"])
    return tuple(encoded) if isinstance(encoded, list) else encoded


def _span(fact: Fact | Budget) -> list[int | None]:
    return [from_instant(fact.since), None if fact.until is None else from_instant(fact.until)]


def _ends(span: list[Any]) -> dict[str, Any]:
    since, until = span
    return {"since": to_instant(since), "until": None if until is None else to_instant(until)}


def _encode_subscription(fact: Subscription) -> dict[str, Any]:
    return {
        "span": _span(fact),
        "started_at": from_instant(fact.started_at),
        "anchor": from_instant(fact.anchor),
        **{name: getattr(fact, name) for name in _SUBSCRIPTION_TEXTS},
    }


_SUBSCRIPTION_TEXTS = ("id", "product", "plan", "zone", "status", "billing_id", "version")


def _decode_subscription(encoded: Mapping[str, Any]) -> Subscription:
    texts = {name: encoded[name] for name in _SUBSCRIPTION_TEXTS}
    instants: dict[str, Any] = {name: to_instant(encoded[name]) for name in ("started_at", "anchor")}
    return Subscription(**texts, **instants, **_ends(encoded["span"]))


def _encode_override(fact: Override) -> dict[str, Any]:
    entitlement = encode_entitlement(fact.entitlement)
    reason = {SEALED: str(fact.reason)} if isinstance(fact.reason, Sealed) else fact.reason
    return {"span": _span(fact), "entitlement": entitlement, "number": fact.number, "reason": reason}


def _decode_override(encoded: Mapping[str, Any]) -> Override:
    entitlement = decode_entitlement(encoded["entitlement"])
    reason = encoded["reason"]
    if is_sealed(reason):
        reason = Sealed(reason[SEALED])
    return Override(entitlement, number=encoded["number"], reason=reason, **_ends(encoded["span"]))


def _encode_budget(budget: Budget) -> dict[str, Any]:
    encoded = {name: getattr(budget, name) for name in _BUDGET_PLAIN}
    encoded |= {"span": _span(budget), "scope": from_pairs(budget.scope), "dimensions": dict(budget.dimensions)}
    period = [budget.period.every, budget.period.count, budget.period.align]
    return encoded | {"period": period, "anchor": from_instant(budget.anchor), "alerts": list(budget.alerts)}


_BUDGET_PLAIN = ("id", "feature", "credit", "units", "scale", "zone", "action")


def _decode_budget(encoded: Mapping[str, Any]) -> Budget:
    return Budget(
        **{name: encoded[name] for name in _BUDGET_PLAIN},
        scope=to_pairs(encoded["scope"]) or (),
        dimensions=tuple(encoded["dimensions"].items()),
        period=_period(*encoded["period"]),
        anchor=to_instant(encoded["anchor"]),
        alerts=tuple(encoded["alerts"]),
        **_ends(encoded["span"]),
    )


def encode_budgets(rows: Rows) -> dict[str, Any]:
    """Return the budgets of one id as JSON values."""
    return {"rows": [_encode_budget(row) for row in rows]}


def decode_budgets(encoded: Mapping[str, Any]) -> Rows:
    """Return the budgets of one id from JSON values."""
    return tuple(_decode_budget(row) for row in encoded["rows"])


_ENCODERS: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "subscriptions": _encode_subscription,
    "trials": lambda fact: {"span": _span(fact), "plan": fact.plan, "version": fact.version},
    "addons": lambda fact: {"span": _span(fact), "addon": fact.addon, "quantity": fact.quantity},
    "promotions": lambda fact: {"span": _span(fact), "promotion": fact.promotion},
    "overrides": _encode_override,
    "budgets": _encode_budget,
}
_DECODERS: Mapping[str, Callable[[Any], Any]] = {
    "subscriptions": _decode_subscription,
    "trials": lambda data: Trial(plan=data["plan"], version=data["version"], **_ends(data["span"])),
    "addons": lambda data: HeldAddOn(addon=data["addon"], quantity=data["quantity"], **_ends(data["span"])),
    "promotions": lambda data: PromotionRun(promotion=data["promotion"], **_ends(data["span"])),
    "overrides": _decode_override,
    "budgets": _decode_budget,
}
