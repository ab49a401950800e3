"""Requests: what a caller asks, checked and normalised once, the same for every facade.

A request's `asked` is its canonical JSON form: `10`, `"10"` and `Decimal("10.00")` are one. Two calls
with one key are the same request exactly where these are equal.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

import attrs

from .amounts import UNLIMITED, Unlimited, canonical, to_units
from .errors import AmountError, did_you_mean, shown
from .frozen import FrozenDict, frozen
from .ledger.plan_grants import begins_of
from .periods import calendar_anchor
from .usage import TokenUsage

DEPLETIONS = ("hard", "partial", "soft")
MODES = ("grant", "add", "set", "deny")
STATUSES = ("active", "past_due", "paused")
EVERY = ("none", "hour", "day", "week", "month", "quarter", "year")
CATEGORIES = ("paid", "promotional")
ID_LENGTH = 255
MOST_SECONDS = 100 * 366 * 86_400
PROSE_LENGTH = 10_000
DEEPEST = 8
_SPELLED = frozenset({"feature", "credit", "scope", "dimensions"})  # these are canonical as they are checked
_NEEDED = frozenset(
    {
        "plan", "addon", "promotion", "feature", "amount", "requested", "quantity", "status", "usage", "mode", "zone",
        "credit", "hold", "block", "batch_key", "limit", "every",
    }
)  # fmt: skip


@attrs.frozen
class Request:
    """One verb with its checked arguments; `key` None asks the engine to draw one."""

    verb: str
    customer: str
    key: str | None
    values: Mapping[str, Any]

    @property
    def asked(self) -> dict[str, Any]:
        """The canonical JSON form of what is asked: the verb and every argument that was given."""
        told = [(name, value) for name, value in self.values.items() if value is not None]
        return {"verb": self.verb, **{name: value if name in _SPELLED else _canonical(value) for name, value in told}}


def request(verb: str, customer: str, key: str | None, **values: Any) -> Request:
    """Return a request for a verb.

    Raises TypeError or ValueError for a customer id or key that is none, a naive instant, a number
    of days or a quantity that is not a positive whole number, or an unknown word. None stands for
    what was not given, and is refused where something must be.
    """
    checked = {name: _CHECKS[name](value) for name, value in values.items() if value is not None or name in _NEEDED}
    return Request(
        verb,
        identifier(customer, "customer"),
        None if key is None else identifier(key, "key"),
        MappingProxyType(checked),
    )


def given(**told: Any) -> dict[str, Any]:
    """Return the arguments that were given, those that are None left out."""
    return {name: value for name, value in told.items() if value is not None}


def closing(asked: Request) -> Request:
    """Return the request that closes a hold, under the one key by which a hold is closed."""
    return attrs.evolve(asked, key=f"$close:{asked.values['hold']}")


def voiding(asked: Request) -> Request:
    """Return the request that voids a block, under the one key by which a block is voided."""
    return attrs.evolve(asked, key=f"$void:{asked.values['block']}")


def identifier(value: object, what: str) -> str:
    """Return a customer id, key or scope part unchanged; raise TypeError or ValueError where it cannot be one."""
    if type(value) is str and value.isalnum() and len(value) <= ID_LENGTH:
        return value
    value = text(value, what)
    if not 1 <= len(value) <= ID_LENGTH:
        raise ValueError(f"{what} has {len(value)} characters; it has 1 to {ID_LENGTH}")
    if not value.isprintable() and any(unicodedata.category(letter) in {"Cc", "Cs"} for letter in value):
        raise ValueError(f"{what} is {shown(value)}; control characters and lone surrogates are refused")
    if value[0] == "$" or value[0].isspace() or value[-1].isspace():
        raise ValueError(f"{what} is {shown(value)}; it does not start with '$', nor start or end with a space")
    return value


def aware(value: object, what: str) -> datetime:
    """Return an instant in UTC; raise TypeError for what is not an aware datetime."""
    if not isinstance(value, datetime):
        raise TypeError(f"{what} is of type {type(value).__name__}; it is a datetime with a time zone")
    if value.utcoffset() is None:
        raise TypeError(f"{what} is the naive {value.isoformat()}; give it a time zone, as in tzinfo=UTC")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{what} is {value.isoformat()}; in UTC it lies outside the years 1 to 9999") from None


def count(value: object, what: str) -> int:
    """Return a whole number from zero on; raise TypeError or ValueError for anything else."""
    if whole(value, what) < 0:
        raise ValueError(f"{what} is below zero; it is zero or more")
    return whole(value, what)


def position(value: object, what: str) -> int | None:
    """Return the number of an entry, None for none; raise TypeError or ValueError for anything else."""
    return None if value is None else whole(value, what)


def seconds(value: object, what: str) -> float:
    """Return a span in seconds, from zero to a hundred years; raise TypeError or ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{what} is of type {type(value).__name__}; it is a number of seconds")
    if not 0 <= value <= MOST_SECONDS:
        raise ValueError(f"{what} is {value!r:.40}; it is 0 to {MOST_SECONDS} seconds")
    return value


def text(value: object, what: str) -> str:
    """Return text unchanged, that of an enum as plain text; raise TypeError for anything else."""
    if not isinstance(value, str):
        raise TypeError(f"{what} is of type {type(value).__name__}; it is text")
    return value if type(value) is str else str.__str__(value)


def whole(value: object, what: str) -> int:
    """Return a whole number unchanged; raise TypeError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{what} is of type {type(value).__name__}; it is a whole number")
    return value


def prose(value: object, what: str) -> str:
    """Return free text unchanged; raise TypeError for other types, ValueError for what no log can keep."""
    words = text(value, what)
    if len(words) > PROSE_LENGTH:
        raise ValueError(f"{what} has {len(words)} characters; it has at most {PROSE_LENGTH}")
    if any(unicodedata.category(letter) in {"Cc", "Cs"} and letter not in "\n\t" for letter in words):
        raise ValueError(f"{what} is {shown(words)}; control characters and lone surrogates are refused")
    return words


def scope_of(value: object) -> Mapping[str, str]:
    """Return a scope as an ordered mapping, from one or from its shorthand `team:research/user:ann`."""
    if isinstance(value, str):
        value = _scope_parts(value)
    if not isinstance(value, Mapping) or not value:
        raise TypeError("scope is a mapping such as {'team': 'research'} or text such as 'team:research/user:ann'")
    return FrozenDict({identifier(kind, "scope"): identifier(name, "scope") for kind, name in value.items()})


def dimensions_of(value: object) -> Mapping[str, str]:
    """Return dimensions as an ordered mapping of text; raise TypeError for anything else."""
    if not isinstance(value, Mapping):
        raise TypeError("dimensions is a mapping such as {'model': 'large'}")
    return FrozenDict({identifier(name, "dimension"): identifier(word, "dimension") for name, word in value.items()})


def _scope_parts(whole: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for part in whole.split("/"):
        kind, colon, name = part.partition(":")
        if not colon:
            raise ValueError(f"scope is {shown(whole)}; each part is written kind:name, as in 'team:research/user:ann'")
        try:
            kind, name = unquote(kind, errors="strict"), unquote(name, errors="strict")
        except UnicodeDecodeError:
            raise ValueError(f"scope is {shown(whole)}; what % escapes in it is not UTF-8") from None
        if kind in parts:
            raise ValueError(f"scope is {shown(whole)}; it names {shown(kind)} twice")
        parts[kind] = name
    return parts


def _word(words: Sequence[str], what: str, value: object) -> str:
    word = text(value, what)
    if word not in words:
        raise ValueError(f"{what} is {shown(word)}; it is one of {', '.join(words)}{did_you_mean(word, words)}")
    return word


def _positive(value: object, what: str) -> int:
    number = whole(value, what)
    if not 1 <= number <= 1_000_000:
        raise ValueError(f"{what} is {number if abs(number) < 10**40 else 'too large'}; it is 1 to 1,000,000")
    return number


def _zone(value: object) -> str:
    zone = text(value, "zone")
    calendar_anchor("day", zone)
    return zone


def _entitled(value: object, depth: int = 0) -> Any:
    """Return a value as a catalog may say it, in canonical form."""
    if depth > DEEPEST:
        raise ValueError(f"value is nested more than {DEEPEST} deep; write it as in the catalog")
    if isinstance(value, bool | Unlimited):
        return value
    if isinstance(value, int | Decimal | float):
        exact = canonical(value, what="value")
        return int(exact) if isinstance(value, int) else Decimal(exact)
    if isinstance(value, Mapping):
        return {prose(name, "value"): _entitled(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return tuple(_entitled(inner, depth + 1) for inner in value)
    if not isinstance(value, str):
        raise TypeError(f"value is of type {type(value).__name__}; write it as in the catalog: true, 5, '2.50', a list")
    return prose(value, "value")


def _canonical(value: Any) -> Any:
    if type(value) is str or value is None:
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return canonical(value)
    if isinstance(value, timedelta):
        return value // timedelta(microseconds=1)
    if value is UNLIMITED:
        return str(value)
    if isinstance(value, Mapping):
        return {name: _canonical(inner) for name, inner in value.items()}
    return [_canonical(inner) for inner in value] if isinstance(value, tuple) else value


def _priority(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"priority is of type {type(value).__name__}; it is a whole number, the lower burns first")
    if not 0 <= value <= 1000:
        raise ValueError(f"priority is {str(value)[:20]}; it is 0 to 1000")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"settle_debt is of type {type(value).__name__}; it is True or False")
    return value


def _span(value: object, what: str) -> timedelta:
    if isinstance(value, timedelta):
        span = value
    elif isinstance(value, int) and not isinstance(value, bool):
        if not 0 < value <= MOST_SECONDS:
            raise ValueError(f"{what} is {str(value)[:20]}; it is 1 to {MOST_SECONDS} seconds")
        span = timedelta(seconds=value)
    else:
        raise TypeError(f"{what} is of type {type(value).__name__}; it is whole seconds or a timedelta")
    if span <= timedelta(0):
        raise ValueError(f"{what} is {span}; it lasts longer than nothing")
    return span


def _features(value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, list | tuple | set | frozenset) or not value:
        raise TypeError("features is a list of feature keys such as ['chat']; leave it out for all features")
    return tuple(sorted({text(feature, "features") for feature in value}))


def _metadata(value: object, where: str = "metadata", depth: int = 0) -> Any:
    """Return a part of metadata as JSON values; raises TypeError or ValueError for what no log can keep exactly."""
    if depth > 8:
        raise ValueError("metadata is nested more than 8 deep; flatten it")
    if isinstance(value, Mapping):
        named = ((identifier(name, "metadata key"), inner) for name, inner in value.items())
        return {name: _metadata(inner, f"{where}[{shown(name)}]", depth + 1) for name, inner in named}
    if depth == 0:
        raise TypeError(f"metadata is of type {type(value).__name__}; it is a mapping")
    if isinstance(value, list | tuple):
        return [_metadata(inner, f"{where}[{at}]", depth + 1) for at, inner in enumerate(value)]
    if isinstance(value, int) and value.bit_length() > 63:
        raise ValueError(f"{where} is a number of more than 63 bits; write it as text")
    return value if value is None or isinstance(value, bool | int) else prose(_worded(value, where), where)


def _worded(value: object, where: str) -> str:
    if isinstance(value, str):
        return value
    spelled = value.isoformat() if isinstance(value, date) else str(value) if isinstance(value, float | Decimal) else ""
    kinds = "text, a whole number, true, false, null, a list or a mapping"
    write = shown(spelled) if spelled else "it as text"
    raise TypeError(f"{where} is of type {type(value).__name__}; it is {kinds}; write {write}")


def _positive_or_zero(value: object, what: str) -> Decimal:
    exact = canonical(value, what=what)
    if exact.startswith("-"):
        raise AmountError(f"{what} is {exact[:60]}; it is zero or more")
    return Decimal(exact)


def _amount(value: object, what: str = "amount") -> str:
    exact = canonical(value, what=what)
    if exact.startswith("-"):
        raise AmountError(f"{what} is {exact[:60]}; an amount is zero or more")
    return exact


def _amount_or_kinds(value: object) -> str | Mapping[str, str]:
    """Return an amount, or one for each kind, as a mapping or as a `TokenUsage` says them."""
    kinds = value.kinds if isinstance(value, TokenUsage) else value
    if not isinstance(kinds, Mapping):
        return _amount(kinds)
    return {identifier(kind, "kind"): _amount(units, f"amount of {kind}") for kind, units in kinds.items()}


def _block_id(value: object) -> str:
    """Return the id of a block: a key, or the id of one that nobody asked for, which starts with `$`."""
    named = text(value, "block")
    return named if begins_of(named) is not None else identifier(named, "block")


def _period(value: object) -> tuple[str, int, str]:
    """Return a period of a budget as its parts; by itself it follows the calendar."""
    written = {"every": value} if isinstance(value, str) else value
    if not isinstance(written, Mapping) or "every" not in written or written.keys() - {"every", "count", "align"}:
        raise TypeError("every is a period such as 'month', or {'every': 'month', 'count': 1, 'align': 'anniversary'}")
    every, number = _word(EVERY, "every", written["every"]), _positive(written.get("count", 1), "count")
    if every == "none":
        return ("none", 1, "anniversary")
    return (every, number, _word(("calendar", "anniversary"), "align", written.get("align", "calendar")))


def _alerts(value: object) -> tuple[int, ...]:
    """Return parts of a limit in tenths of a percent, the smallest first."""
    if isinstance(value, str) or not isinstance(value, list | tuple):
        raise TypeError("alerts is a list of parts of the limit such as ['0.8', '1']")
    parts = {to_units(part, 3, what="alerts") for part in value}
    if any(not 0 < part <= 10_000 for part in parts):
        raise ValueError("alerts are parts of the limit: more than 0, and at most 10; 80 percent is '0.8'")
    return tuple(sorted(parts))


_CHECKS: Mapping[str, Any] = {
    "plan": lambda value: text(value, "plan"),
    "addon": lambda value: text(value, "addon"),
    "promotion": lambda value: text(value, "promotion"),
    "feature": lambda value: text(value, "feature"),
    "product": lambda value: text(value, "product"),
    "billing_id": lambda value: identifier(value, "billing_id"),
    "zone": _zone,
    "anchor": lambda value: aware(value, "anchor"),
    "at": lambda value: aware(value, "at"),
    "ends_at": lambda value: aware(value, "ends_at"),
    "occurred_at": lambda value: aware(value, "occurred_at"),
    "days": lambda value: _positive(value, "days"),
    "quantity": lambda value: _positive(value, "quantity"),
    "usage": lambda value: _word(("keep", "reset"), "usage", value),
    "status": lambda value: _word(STATUSES, "status", value),
    "mode": lambda value: _word(MODES, "mode", value),
    "depletion": lambda value: _word(DEPLETIONS, "depletion", value),
    "value": _entitled,
    "reason": lambda value: prose(value, "reason"),
    "amount": _amount_or_kinds,
    "credit": lambda value: text(value, "credit"),
    "hold": lambda value: identifier(value, "hold"),
    "block": _block_id,
    "batch_key": lambda value: identifier(value, "batch_key"),
    "category": lambda value: _word(CATEGORIES, "category", value),
    "late": lambda value: _word(("charge", "refuse"), "late", value),
    "priority": _priority,
    "cost_basis": lambda value: _positive_or_zero(value, "cost_basis"),
    "expires_at": lambda value: aware(value, "expires_at"),
    "effective_at": lambda value: aware(value, "effective_at"),
    "expires_in": lambda value: _span(value, "expires_in"),
    "ttl": lambda value: _span(value, "ttl"),
    "features": _features,
    "settle_debt": _flag,
    "metadata": lambda value: frozen(_metadata(value)),
    "requested": lambda value: _amount(value, "requested"),
    "scope": scope_of,
    "dimensions": dimensions_of,
    "limit": lambda value: _amount(value, "limit"),
    "every": _period,
    "action": lambda value: _word(("block", "notify"), "action", value),
    "alerts": _alerts,
}
