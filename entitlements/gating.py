"""Gating: the default engine, the customer a piece of work is done for, and functions behind a feature.

configure("catalog.yaml")

@requires_feature("exports")
def export(): ...

with acting_as("acme"):
export()
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

import attrs

from .decisions import Decision
from .engine import Entitlements
from .errors import NotConfigured, UnknownFeature
from .requests import identifier, scope_of

P = ParamSpec("P")
R = TypeVar("R")
Who = str | Callable[..., str] | None


@attrs.frozen
class Acting:
    """For whom work is done: a customer, perhaps a scope below it, and the key of the request."""

    customer: str
    scope: Any = None
    key: str | None = None


class _Default:
    engine: Entitlements | None = None
    opened: Entitlements | None = None


_acting: ContextVar[Acting | None] = ContextVar("entitlements_acting", default=None)


def configure(catalog: object, **options: Any) -> Entitlements:
    """Open the default engine that the module functions use, and return it.

    Takes what `Entitlements` takes, or an `Entitlements` that is open already, alone. Configuring
    again closes the engine that `configure` opened before, and never one that was handed to it.
    """
    if isinstance(catalog, Entitlements) and options:
        raise TypeError(f"an engine that is open already takes no options; leave out {', '.join(sorted(options))}")
    engine = catalog if isinstance(catalog, Entitlements) else Entitlements(catalog, **options)
    _Default.engine, before = engine, _Default.opened
    if engine is not before:
        _Default.opened = None if engine is catalog else engine
        if before is not None:
            before.close()
    return engine


def default_engine() -> Entitlements:
    """Return the default engine; raises NotConfigured before `configure`."""
    if _Default.engine is None:
        raise NotConfigured("no default engine yet; call entitlements.configure('catalog.yaml') once at start")
    return _Default.engine


@contextmanager
def acting_as(customer: str, *, scope: object = None, key: str | None = None) -> Iterator[Acting]:
    """Do the work inside for a customer; nests, and is seen by the tasks and generators started inside."""
    acting = Acting(
        identifier(customer, "customer"),
        None if scope is None else scope_of(scope),
        None if key is None else identifier(key, "key"),
    )
    token = _acting.set(acting)
    try:
        yield acting
    finally:
        _acting.reset(token)


def current_customer() -> str | None:
    """Return the customer the present work is done for, None outside `acting_as`."""
    acting = _acting.get()
    return None if acting is None else acting.customer


def check(feature: str, *, customer: str | None = None, **asked: Any) -> Decision:
    """Return whether the present customer may have a feature, as `Entitlements.check` does.

    Raises NotConfigured before `configure`, LookupError where no customer is named or acting.
    """
    acting = _acting.get()
    if acting is not None and acting.scope is not None and customer is None:
        asked.setdefault("scope", acting.scope)
    return default_engine().check(customer_acting(customer), feature, **asked)


def requires_feature(feature: str, *, customer: Who = None, **asked: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function run only where the customer may have the feature; else raise EntitlementDenied.

    `customer` is an id, or a callable that takes the function's arguments; by default the one acting.
    Other arguments are those of `check`. With a default engine configured, an unknown feature is
    found when the function is decorated: UnknownFeature.
    """
    if not isinstance(feature, str):
        raise TypeError("requires_feature takes the key of a feature: @requires_feature('exports')")
    if _Default.engine is not None and feature not in _Default.engine.catalog.features:
        raise UnknownFeature(feature, _Default.engine.catalog.features)

    def gate(function: Callable[P, R]) -> Callable[P, R]:
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"{function.__qualname__} is asynchronous; requires_feature gates plain functions")

        @functools.wraps(function)
        def gated(*args: P.args, **kwargs: P.kwargs) -> R:
            named = customer(*args, **kwargs) if callable(customer) else customer
            check(feature, customer=named, **asked).raise_if_denied()
            return function(*args, **kwargs)

        return gated

    return gate


def acting() -> Acting | None:
    """Return for whom the present work is done, None outside `acting_as`."""
    return _acting.get()


def customer_acting(named: str | None) -> str:
    """Return the customer named, else the one acting; raises LookupError where there is neither."""
    customer = named if named is not None else current_customer()
    if customer is None:
        raise LookupError("no customer: pass customer=, or do the work inside `with acting_as('acme'):`")
    return customer
