"""What the tests of credits share: one catalog, and engines on it on every storage of one machine."""

from collections.abc import Callable
from typing import Any

import pytest

from entitlements import Catalog, Entitlements

DOCUMENT = {
    "version": 1,
    "default_plan": "free",
    "features": {
        "chat": {"type": "metered", "reset": {"every": "day", "align": "calendar"}},
        "images": {"type": "metered", "reset": {"every": "hour", "align": "first_use"}},
        "seats": {"type": "metered"},
        "peak": {"type": "metered", "aggregate": "max"},
        "sso": {"type": "boolean"},
    },
    "credits": {
        "ai": {"scale": 2, "currency": "USD"},
        "plain": {},
        "soft": {"depletion": "soft"},
        "floored": {"depletion": "soft", "floor": 10},
        "partial": {"depletion": "partial"},
        "queue": {"burn_order": "first_in_first_out"},
    },
    "plans": {"free": {"entitlements": {"chat": 10, "images": 10, "seats": 10, "peak": 10, "sso": True}}},
}
CATALOG = Catalog.load(DOCUMENT)


@pytest.fixture
def ent(opened: Callable[..., Entitlements], shared: Any) -> Entitlements:
    """An engine with every kind of credit, on each kind of storage in turn."""
    return opened(CATALOG, storage=shared)


@pytest.fixture
def changed(opened: Callable[..., Entitlements], shared: Any) -> Callable[..., Entitlements]:
    """Opens an engine on the same storage whose catalog differs in some sections."""

    def open_changed(**sections: Any) -> Entitlements:
        return opened(Catalog.load({**DOCUMENT, **sections}), storage=shared)

    return open_changed
