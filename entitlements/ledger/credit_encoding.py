"""Blocks, holds and debt as JSON values, and back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

from ..catalog.model import PlanCredit, Rollover
from ..frozen import frozen
from .blocks import Block, Debt, HeldBudget, OpenHold, Purpose, ScopePairs
from .instants import from_end, from_instant, to_end, to_instant
from .plan_grants import Grants, PlanGrant
from .sealing import SEALED

_PLAIN = (
    "id", "credit", "scale", "units", "free_units", "held_units", "category", "priority",
    "source", "settle_debt", "number",
)  # fmt: skip


def encode_block(block: Block) -> dict[str, Any]:
    """Return a block as JSON values, what is not set left out."""
    encoded = {name: getattr(block, name) for name in _PLAIN}
    encoded["effective_at"] = from_instant(block.effective_at)
    optional = {
        "expires_at": from_end(block.expires_at),
        "cost_basis": None if block.cost_basis is None else str(block.cost_basis),
        "features": None if block.features is None else list(block.features),
        "scope": None if block.scope is None else from_pairs(block.scope),
        "metadata": block.metadata,
        "voided": block.voided or None,
        "rollover": None if block.rollover is None else _encode_rollover(block.rollover),
    }
    return encoded | {name: value for name, value in optional.items() if value is not None}


def decode_block(encoded: Mapping[str, Any]) -> Block:
    """Return a block from JSON values."""
    cost, features, scope = encoded.get("cost_basis"), encoded.get("features"), encoded.get("scope")
    return Block(
        **{name: encoded[name] for name in _PLAIN},
        effective_at=to_instant(encoded["effective_at"]),
        expires_at=to_end(encoded.get("expires_at")),
        cost_basis=None if cost is None else Decimal(cost),
        features=None if features is None else tuple(features),
        scope=to_pairs(scope),
        metadata=frozen(encoded.get("metadata")),
        voided=encoded.get("voided", False),
        rollover=_decode_rollover(encoded.get("rollover")),
    )


def encode_grants(rows: Grants) -> dict[str, Any]:
    """Return plan grants of one key as JSON values."""
    return {"rows": [_encode_grant(row) for row in rows]}


def decode_grants(encoded: Mapping[str, Any]) -> Grants:
    """Return plan grants of one key from JSON values."""
    return tuple(_decode_grant(row) for row in encoded["rows"])


def encode_hold(hold: OpenHold) -> dict[str, Any]:
    """Return a hold as JSON values."""
    encoded = {
        "id": hold.id,
        "subject": hold.subject,
        "units": hold.units,
        **encode_purpose(hold.purpose),
        "ends_at": from_end(hold.ends_at),
        "late": hold.late,
        "slices": [list(part) for part in hold.slices],
        "counters": [[name, from_instant(start), units] for name, start, units in hold.counters],
        "usage": hold.usage,
    }
    optional = {
        "budgets": [[held.id, from_instant(held.start), held.units, held.of] for held in hold.budgets],
        "dimensions": dict(hold.dimensions),
        "promised": [list(part) for part in hold.promised],
    }
    return encoded | {name: value for name, value in optional.items() if value}


def decode_hold(encoded: Mapping[str, Any]) -> OpenHold:
    """Return a hold from JSON values."""
    return OpenHold(
        encoded["id"],
        encoded["subject"],
        encoded["units"],
        decode_purpose(encoded),
        to_end(encoded["ends_at"]),
        encoded["late"],
        tuple((block, units) for block, units in encoded["slices"]),
        tuple((name, to_instant(start), units) for name, start, units in encoded["counters"]),
        tuple(HeldBudget(name, to_instant(start), units, of) for name, start, units, of in encoded.get("budgets", ())),
        encoded.get("usage", bool(encoded["counters"])),
        tuple(encoded.get("dimensions", {}).items()),
        tuple((credit, units) for credit, units in encoded.get("promised", ())),
    )


def encode_purpose(purpose: Purpose) -> dict[str, Any]:
    """Return a purpose as JSON values."""
    return {"feature": purpose.feature, "scope": from_pairs(purpose.scope)}


def decode_purpose(encoded: Mapping[str, Any]) -> Purpose:
    """Return a purpose from JSON values."""
    return Purpose(encoded["feature"], to_pairs(encoded["scope"]) or ())


def encode_debt(debt: Debt) -> dict[str, Any]:
    """Return a debt as JSON values."""
    encoded = {"credit": debt.credit, "units": debt.units, **encode_purpose(debt.purpose)}
    return encoded if debt.order == "default" else {**encoded, "order": debt.order}


def decode_debt(encoded: Mapping[str, Any]) -> Debt:
    """Return a debt from JSON values."""
    return Debt(encoded["credit"], decode_purpose(encoded), encoded["units"], encoded.get("order", "default"))


def encode_credit_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data of a credit entry as JSON values."""
    return {name: _ENCODERS[name](value) if name in _ENCODERS else value for name, value in data.items()}


def decode_credit_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data of a credit entry from JSON values."""
    return {name: _decoded(name, value) for name, value in data.items()}


def _decoded(name: str, value: Any) -> Any:
    return _DECODERS[name](value) if isinstance(value, Mapping) and name in _DECODERS else value


def _encode_hold_or_id(hold: OpenHold | str) -> dict[str, Any] | str:
    return hold if isinstance(hold, str) else encode_hold(hold)


def from_pairs(scope: ScopePairs) -> Any:
    """Return a scope as JSON values; one that was erased stays its digest."""
    if scope and scope[0][0] == SEALED:
        return {SEALED: scope[0][1]}
    return [list(pair) for pair in scope]


def to_pairs(encoded: Any) -> tuple[tuple[str, str], ...] | None:
    """Return a scope from JSON values; one that was erased is a digest and matches nobody."""
    if isinstance(encoded, Mapping):
        return ((SEALED, encoded[SEALED]),)
    return None if encoded is None else tuple((kind, name) for kind, name in encoded)


def _encode_grant(grant: PlanGrant) -> dict[str, Any]:
    terms = grant.terms
    encoded = {name: getattr(grant, name) for name in _GRANT_PLAIN}
    encoded |= {name: getattr(terms, name) for name in _TERMS_PLAIN}
    encoded |= {
        "since": from_instant(grant.since),
        "until": from_end(grant.until),
        "anchor": from_instant(grant.anchor),
    }
    optional = {
        "cost_basis": None if terms.cost_basis is None else str(terms.cost_basis),
        "rollover": None if terms.rollover is None else _encode_rollover(terms.rollover),
        "paused": grant.paused or None,
    }
    return encoded | {name: value for name, value in optional.items() if value is not None}


_GRANT_PLAIN = ("source", "plan", "credit", "scale", "zone", "changed", "left", "lent")
_TERMS_PLAIN = ("grant", "every", "count", "category", "priority", "allowance", "unused")


def _decode_grant(encoded: Mapping[str, Any]) -> PlanGrant:
    cost = encoded.get("cost_basis")
    terms = PlanCredit(
        **{name: encoded[name] for name in _TERMS_PLAIN},
        cost_basis=None if cost is None else Decimal(cost),
        rollover=_decode_rollover(encoded.get("rollover")),
    )
    return PlanGrant(
        **{name: encoded[name] for name in _GRANT_PLAIN},
        since=to_instant(encoded["since"]),
        until=to_end(encoded["until"]),
        terms=terms,
        anchor=to_instant(encoded["anchor"]),
        paused=encoded.get("paused", False),
    )


def _encode_rollover(rollover: Rollover) -> list[Any]:
    life = None if rollover.expires_after is None else rollover.expires_after // _MICROSECOND
    return [rollover.max, str(rollover.fraction), life, rollover.times]


def _decode_rollover(encoded: Any) -> Rollover | None:
    if encoded is None:
        return None
    most, fraction, life, times = encoded
    return Rollover(most, Decimal(fraction), None if life is None else life * _MICROSECOND, times)


_MICROSECOND = timedelta(microseconds=1)
_ENCODERS: Mapping[str, Any] = {
    "block": encode_block,
    "hold": _encode_hold_or_id,
    "purpose": encode_purpose,
    "rows": encode_grants,
}
_DECODERS: Mapping[str, Any] = {
    "block": decode_block,
    "hold": decode_hold,
    "purpose": decode_purpose,
    "rows": decode_grants,
}
