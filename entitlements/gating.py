"""Acting: the default engine, the customer a piece of work is done for, and questions about both.

    configure("catalog.yaml")

    with acting_as("acme"):
        if check("exports"): ...

Who is acting is seen by the tasks started inside, and by functions behind a gate.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import attrs

from .amounts import Amount
from .decisions import Decision
from .engine import Entitlements
from .errors import NotConfigured
from .requests import identifier, scope_of

if TYPE_CHECKING:
    from .aio.engine import AsyncEntitlements


@attrs.frozen
class Acting:
    """For whom work is done: a customer, perhaps a scope below it, the key of the request, and an engine."""

    customer: str
    scope: Any = None
    key: str | None = None
    engine: Entitlements | AsyncEntitlements | None = None
    once: bool = False


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
def acting_as(
    customer: str,
    *,
    scope: object = None,
    key: str | None = None,
    engine: Entitlements | AsyncEntitlements | None = None,
    once: bool = False,
) -> Iterator[Acting]:
    """Do the work inside for a customer; nests, and is seen by the tasks started inside.

    So it is by each step of a gated generator that is called inside, whoever takes it. `key` is that of the
    whole request: functions that consume derive theirs from it. `engine` answers inside instead of the
    default one; an application that has several says which. `once` is for a key that is a client's own:
    work under it that is under way or done is not done again, but raises KeyUsed. Raises TypeError for an
    `engine` that is none.
    """
    _check_engine(engine)
    acting = Acting(
        identifier(customer, "customer"),
        None if scope is None else scope_of(scope),
        None if key is None else identifier(key, "key"),
        engine,
        once,
    )
    token = _acting.set(acting)
    try:
        yield acting
    finally:
        _acting.reset(token)


def _check_engine(engine: object) -> None:
    if engine is None or isinstance(engine, Entitlements):
        return
    from .aio.engine import AsyncEntitlements  # noqa: PLC0415  (plain functions need no event loop)

    if not isinstance(engine, AsyncEntitlements):
        raise TypeError(f"engine is of type {type(engine).__name__}; pass an Entitlements or an AsyncEntitlements")


class Begun:
    """Work that goes on in steps, whoever takes them: each step is done for whom the one before it ended with.

    The first is done for whom the work was begun; where that was nobody, for whoever is acting at each step.
    """

    def __init__(self) -> None:
        self._present = acting()

    @contextmanager
    def step(self) -> Iterator[None]:
        """Take one step; what it says of who is acting is there again in the next, and not left to others."""
        present = self._present or acting()
        token = _acting.set(present)
        try:
            yield
        finally:
            if acting() is not present:
                self._present = acting()
            _acting.reset(token)


def current_customer() -> str | None:
    """Return the customer the present work is done for, None outside `acting_as`."""
    acting = _acting.get()
    return None if acting is None else acting.customer


def check(feature: str, *, customer: str | None = None, **asked: Any) -> Decision:
    """Return whether the present customer may have a feature, as `Entitlements.check` does.

    Raises LookupError where no customer is named or acting, else NotConfigured before `configure`.
    """
    named = customer_acting(customer)
    return blocking_engine().check(named, feature, **scoped(customer, asked))


def consume_credits(
    credit: str, amount: Amount, *, key: str | None, customer: str | None = None, **told: Any
) -> Decision:
    """Burn credits of the present customer, as `Entitlements.consume_credits` does.

    Raises LookupError where no customer is named or acting, else NotConfigured before `configure`.
    """
    named, terms = customer_acting(customer), scoped(customer, told)
    return blocking_engine().consume_credits(named, credit, amount, key=key, **terms)


def acting() -> Acting | None:
    """Return for whom the present work is done, None outside `acting_as`."""
    return _acting.get()


def customer_acting(named: str | None) -> str:
    """Return the customer named, else the one acting; raises LookupError where there is neither."""
    customer = named if named is not None else current_customer()
    if customer is None:
        raise LookupError("no customer: pass customer=, or do the work inside `with acting_as('acme'):`")
    return customer


def scoped(customer: str | None, told: dict[str, Any]) -> dict[str, Any]:
    """Return arguments with the scope that is acting, where they are about the customer that is, and name none."""
    present = acting()
    if present is not None and present.scope is not None and customer is None:
        told.setdefault("scope", present.scope)
    return told


def blocking_engine() -> Entitlements:
    """Return the engine that is acting, else the default one; raises NotConfigured where there is neither."""
    present = acting()
    if present is None or present.engine is None:
        return default_engine()
    if isinstance(present.engine, Entitlements):
        return present.engine
    from .aio.beside import blocking  # noqa: PLC0415  (only for an engine that is awaited)

    return blocking(present.engine)
