"""Gates: functions that run only where the customer may have what they need.

    @requires_feature("exports")
    def export(): ...

    @consumes("chat", amount=lambda prompt: len(prompt))
    async def answer(prompt: str) -> str: ...

    with acting_as("acme", key="request-17"):
        export()

A denial is raised as EntitlementDenied, before the function begins.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final, Literal, ParamSpec, TypeAlias, TypeVar

import attrs

from .amounts import Amount
from .attempts import Reservation
from .errors import UnknownCredit, UnknownFeature
from .gating import _Default, acting, customer_acting, scoped
from .ledger.blocks import Late
from .requests import ID_LENGTH, given, request, text
from .usage import TokenUsage
from .wrapping import gated

P = ParamSpec("P")
R = TypeVar("R")
Who: TypeAlias = str | Callable[..., str | None] | None
Key: TypeAlias = str | Callable[..., str | None] | None
Used: TypeAlias = Amount | Mapping[str, Amount] | TokenUsage
Verb = Literal["check", "consume", "consume_credits"]

_HELD: Final = {"consume": ("reserve", "feature"), "consume_credits": ("reserve_credits", "credit")}


@attrs.frozen
class Gate:
    """What a function needs: `name` is a feature or a credit. A gated function has them in `__entitlements__`."""

    verb: Verb
    name: str
    customer: Who = None
    key: Key = None
    terms: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def holds(self) -> bool:
        """Whether something is set aside for the function, and settled after it."""
        return self.verb != "check"

    def question(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the customer a call is about, and what else is asked; raises LookupError for nobody."""
        named = _told(self.customer, args, kwargs)
        return customer_acting(named), scoped(named, dict(self.terms))

    def reservation(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Reservation:
        """Return what sets aside what a call may take; raises LookupError for nobody."""
        named = _told(self.customer, args, kwargs)
        terms = {name: _told(value, args, kwargs) for name, value in self.terms.items()}
        amount, ttl = terms.pop("amount"), terms.pop("ttl")
        verb, kind = _HELD[self.verb]
        told = {kind: self.name, "amount": amount, "ttl": ttl, **scoped(named, given(**terms))}
        present = acting()
        once = present is not None and present.once and self.key is None
        return Reservation(request(verb, customer_acting(named), self._key(args, kwargs), **told), once)

    def _key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
        if self.key is not None:
            key: str | None = _told(self.key, args, kwargs)
            return key
        present = acting()
        return None if present is None or present.key is None else derived(present.key, self.verb, self.name)


def requires_feature(feature: str, *, customer: Who = None, **asked: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function run only where the customer may have the feature; else raise EntitlementDenied.

    `customer` is an id, or a callable that takes the function's arguments; by default the one acting.
    Other arguments are those of `check`. With a default engine configured, an unknown feature is
    found when the function is decorated: UnknownFeature.
    """
    if not isinstance(feature, str):
        raise TypeError("requires_feature takes the key of a feature: @requires_feature('exports')")
    check_feature(feature)
    return _gate(Gate("check", feature, customer, terms=asked))


def consumes(
    feature: str,
    *,
    amount: Used | Callable[..., Used] = 1,
    key: Key = None,
    customer: Who = None,
    scope: object = None,
    dimensions: Mapping[str, str] | Callable[..., Mapping[str, str]] | None = None,
    ttl: timedelta | int | None = 3600,
    late: Late = "charge",
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Set usage of a metered feature aside before a function runs; settle it after success, release it on failure.

    Each argument is a value, or a callable that takes the function's arguments. Inside,
    `current_hold().report(n)` says what the work came to: that is settled, also on failure. The key is
    derived from the one acting, `{key}:consume:{feature}`, else drawn for each call. Denied, the function
    does not run and EntitlementDenied is raised. An unknown feature is found as by `requires_feature`.
    """
    if not isinstance(feature, str):
        raise TypeError("consumes takes the key of a feature: @consumes('chat')")
    check_feature(feature)
    terms = {"amount": amount, "ttl": ttl, "scope": scope, "dimensions": dimensions, "late": late}
    return _gate(Gate("consume", feature, customer, key, terms))


def consumes_credits(
    credit: str,
    *,
    amount: Amount | Callable[..., Amount],
    key: Key = None,
    customer: Who = None,
    feature: str | None = None,
    scope: object = None,
    ttl: timedelta | int | None = 3600,
    late: Late = "charge",
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Set credits aside before a function runs; settle them after success, release them on failure.

    As `consumes` in all else; the derived key is `{key}:consume_credits:{credit}`. An unknown credit is
    found when the function is decorated, where a default engine is configured: UnknownCredit.
    """
    if not isinstance(credit, str):
        raise TypeError("consumes_credits takes the key of a credit: @consumes_credits('ai', amount=1)")
    if feature is not None:
        check_feature(feature)
    for engine in _configured():
        if credit not in engine.catalog.credits:
            raise UnknownCredit(credit, engine.catalog.credits)
    terms = {"amount": amount, "ttl": ttl, "feature": feature, "scope": scope, "late": late}
    return _gate(Gate("consume_credits", credit, customer, key, terms))


def derived(key: str, verb: Verb, name: str) -> str:
    """Return the key of one use within a request; a digest of it where it would be too long for a key."""
    whole = f"{key}:{verb}:{name}"
    return whole if len(whole) + 8 <= ID_LENGTH else sha256(whole.encode()).hexdigest()


def _gate(gate: Gate) -> Callable[[Callable[P, R]], Callable[P, R]]:
    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        return gated(gate, function)

    return decorate


def _told(value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return a value, or what a callable makes of the arguments of the function it is for."""
    return value(*args, **kwargs) if callable(value) else value


def check_feature(feature: str) -> None:
    """Raise UnknownFeature for a feature that a default engine does not know, TypeError for what is no text."""
    text(feature, "feature")
    for engine in _configured():
        if feature not in engine.catalog.features:
            raise UnknownFeature(feature, engine.catalog.features)


def _configured() -> list[Any]:
    """Return the default engines there are; that of asynchronous code only where it was ever imported."""
    awaited = sys.modules.get("entitlements.aio.gating")
    engines = [_Default.engine, awaited._Default.engine if awaited is not None else None]
    return [engine for engine in engines if engine is not None]
