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
from ..gating import acting, customer_acting
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

    Raises NotConfigured before `configure`, LookupError where no customer is named or acting.
    """
    return await default_engine().check(customer_acting(customer), feature, **_scoped(customer, asked))


async def consume_credits(
    credit: str, amount: Amount, *, key: str | None, customer: str | None = None, **told: Any
) -> Decision:
    """Burn credits of the present customer, as `AsyncEntitlements.consume_credits` does.

    Raises NotConfigured before `configure`, LookupError where no customer is named or acting.
    """
    terms = _scoped(customer, told)
    return await default_engine().consume_credits(customer_acting(customer), credit, amount, key=key, **terms)


def _scoped(customer: str | None, told: dict[str, Any]) -> dict[str, Any]:
    present = acting()
    if present is not None and present.scope is not None and customer is None:
        told.setdefault("scope", present.scope)
    return told
