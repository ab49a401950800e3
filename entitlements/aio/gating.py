"""The module functions, awaited: `entitlements.aio.configure`, `check`, `consume_credits`.

    from entitlements import acting_as, aio

    await aio.configure("catalog.yaml")
    with acting_as("acme"):
        if await aio.check("exports"): ...

Their default engine is an AsyncEntitlements, apart from that of the blocking functions.
"""

from __future__ import annotations

from typing import Any

from ..amounts import Amount
from ..decisions import Decision
from ..errors import NotConfigured
from ..gating import _Default as _Blocking
from ..gating import acting, customer_acting, scoped
from .beside import awaited
from .engine import AsyncEntitlements


class _Default:
    engine: AsyncEntitlements | None = None
    opened: AsyncEntitlements | None = None


async def configure(catalog: object, **options: Any) -> AsyncEntitlements:
    """Open the default engine that the awaited module functions use, and return it.

    Takes what `AsyncEntitlements` takes, or an `AsyncEntitlements` that is open already, alone. Configuring
    again closes the engine that `configure` opened before, and never one that was handed to it.
    """
    if isinstance(catalog, AsyncEntitlements) and options:
        raise TypeError(f"an engine that is open already takes no options; leave out {', '.join(sorted(options))}")
    engine = catalog if isinstance(catalog, AsyncEntitlements) else AsyncEntitlements(catalog, **options)
    _Default.engine, before = engine, _Default.opened
    if engine is not before:
        _Default.opened = None if engine is catalog else engine
        if before is not None:
            await before.close()
    return engine


def default_engine() -> AsyncEntitlements:
    """Return the default engine; raises NotConfigured before `configure`."""
    if _Default.engine is None:
        raise NotConfigured("no default engine yet; await entitlements.aio.configure('catalog.yaml') once at start")
    return _Default.engine


async def check(feature: str, *, customer: str | None = None, **asked: Any) -> Decision:
    """Return whether the present customer may have a feature, as `AsyncEntitlements.check` does.

    Raises LookupError where no customer is named or acting, else NotConfigured before `configure`.
    """
    named = customer_acting(customer)
    return await awaited_engine().check(named, feature, **scoped(customer, asked))


async def consume_credits(
    credit: str, amount: Amount, *, key: str | None, customer: str | None = None, **told: Any
) -> Decision:
    """Burn credits of the present customer, as `AsyncEntitlements.consume_credits` does.

    Raises LookupError where no customer is named or acting, else NotConfigured before `configure`.
    """
    named, terms = customer_acting(customer), scoped(customer, told)
    return await awaited_engine().consume_credits(named, credit, amount, key=key, **terms)


def awaited_engine() -> AsyncEntitlements:
    """Return the engine that is acting, else the default one, else the blocking default one, awaited.

    Raises NotConfigured where there is none.
    """
    present = acting()
    engine = present.engine if present is not None else None
    if engine is None:
        engine = _Default.engine or _Blocking.engine or default_engine()
    return awaited(engine)
