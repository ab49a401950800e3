"""What the tests of rates, budgets and plan credits share: one catalog, and engines on it on every storage."""

from collections.abc import Callable
from typing import Any

import pytest

from entitlements import Catalog, Entitlements

DOCUMENT = {
    "version": 1,
    "features": {
        "chat": {"type": "metered", "reset": "month", "backdate": "7d"},
        "tokens": {"type": "metered", "reset": "month"},
        "images": {"type": "metered", "reset": "month", "aggregate": "max"},
        "seats": {"type": "metered"},
        "sso": {"type": "boolean"},
    },
    "credits": {"ai": {"scale": 2, "currency": "USD"}, "soft": {"depletion": "soft"}, "part": {"depletion": "partial"}},
    "plans": {
        "pro": {"entitlements": {"chat": 100, "tokens": "unlimited", "images": 50, "seats": 10, "sso": True}},
        "partly": {"product": "other", "entitlements": {"tokens": {"limit": 100, "depletion": "partial"}}},
    },
    "products": {"other": {}},
    "rates": {
        "chat": {"credit": "ai", "price": "1.5", "when": [{"model": "large", "price": "4"}]},
        "tokens": {
            "credit": "ai",
            "per": 1000,
            "when": [
                {"kind": "input", "price": "1"},
                {"kind": "output", "price": "3"},
                {"kind": "input", "model": "large", "price": "10"},
                {"kind": "output", "model": "large", "price": "30"},
            ],
        },
    },
}
CATALOG = Catalog.load(DOCUMENT)


@pytest.fixture
def ent(opened: Callable[..., Entitlements], shared: Any) -> Entitlements:
    """An engine in which acme holds pro and 100 credits, on each kind of storage in turn."""
    engine = opened(CATALOG, storage=shared)
    engine.subscribe("acme", "pro")
    engine.grant_credits("acme", "ai", 100, key="paid")
    return engine


@pytest.fixture
def changed(opened: Callable[..., Entitlements], shared: Any) -> Callable[..., Entitlements]:
    """Opens an engine on the same storage whose catalog differs in some sections."""

    def open_changed(**sections: Any) -> Entitlements:
        return opened(Catalog.load({**DOCUMENT, **sections}), storage=shared)

    return open_changed
