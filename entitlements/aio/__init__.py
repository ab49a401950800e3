"""The engine for asynchronous code: every verb of `Entitlements`, awaited.

Names are imported when they are first used, as those of `entitlements` are.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .engine import AsyncEntitlements
    from .gating import check, configure, consume_credits
    from .holds import AsyncHold

_HOME = {
    "AsyncEntitlements": "engine",
    "AsyncHold": "holds",
    "check": "gating",
    "configure": "gating",
    "consume_credits": "gating",
}

__all__ = ["AsyncEntitlements", "AsyncHold", "check", "configure", "consume_credits"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'entitlements.aio' has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
