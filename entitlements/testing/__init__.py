"""What to test your own storage, catalog and code with: `pip install entitlements[testing]`.

Names are imported when they are first used: a clock needs no Hypothesis.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import strategies
    from .clock import FrozenClock
    from .contract import StorageContract
    from .machine import LedgerMachine
    from .soundness import assert_sound

_HOME = {
    "FrozenClock": "clock",
    "LedgerMachine": "machine",
    "StorageContract": "contract",
    "assert_sound": "soundness",
}

__all__ = ["FrozenClock", "LedgerMachine", "StorageContract", "assert_sound", "strategies"]


def __getattr__(name: str) -> object:
    if name == "strategies":
        return import_module(f".{name}", __name__)
    if name not in _HOME:
        raise AttributeError(f"module 'entitlements.testing' has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
