"""What a customer may do, and how much of it: decided in process, before the work is done.

Names are imported when they are first used, so that `import entitlements` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .aio.engine import AsyncEntitlements
    from .aio.holds import AsyncHold
    from .amounts import UNLIMITED, Unlimited
    from .balances import Balance
    from .catalog.model import Catalog
    from .consuming import Request
    from .decisions import Allowance, Decision, Receipt
    from .engine import Entitlements
    from .errors import (
        AddOnRefused,
        AlreadySubscribed,
        AmountError,
        CatalogError,
        EntitlementDenied,
        EntitlementsError,
        HoldClosed,
        HoldExpired,
        IdempotencyConflict,
        KeyUsed,
        LogCorrupt,
        NotConfigured,
        NotSubscribed,
        OutcomeUnknown,
        StorageError,
        StorageUnavailable,
        UnknownAddOn,
        UnknownBlock,
        UnknownBudget,
        UnknownCredit,
        UnknownCustomer,
        UnknownFeature,
        UnknownHold,
        UnknownPlan,
        UnknownPrice,
        UnknownPromotion,
    )
    from .gates import consumes, consumes_credits, requires_feature
    from .gating import acting_as, check, configure, consume_credits, current_customer
    from .holds import Hold
    from .ledger.blocks import Block
    from .ledger.entries import Entry
    from .ledger.facts import Subscription
    from .periods import Window, window
    from .reports.explain import Explanation
    from .reports.revenue import Revenue
    from .reports.statement import Statement
    from .snapshots import Snapshot
    from .wrapping import current_hold

_HOMES = {
    "aio.engine": ("AsyncEntitlements",),
    "aio.holds": ("AsyncHold",),
    "amounts": ("UNLIMITED", "Unlimited"),
    "balances": ("Balance",),
    "catalog.model": ("Catalog",),
    "consuming": ("Request",),
    "decisions": ("Allowance", "Decision", "Receipt"),
    "engine": ("Entitlements",),
    "errors": (
        "AddOnRefused",
        "AlreadySubscribed",
        "AmountError",
        "CatalogError",
        "EntitlementDenied",
        "EntitlementsError",
        "HoldClosed",
        "HoldExpired",
        "IdempotencyConflict",
        "KeyUsed",
        "LogCorrupt",
        "NotConfigured",
        "NotSubscribed",
        "OutcomeUnknown",
        "StorageError",
        "StorageUnavailable",
        "UnknownAddOn",
        "UnknownBlock",
        "UnknownBudget",
        "UnknownCredit",
        "UnknownCustomer",
        "UnknownFeature",
        "UnknownHold",
        "UnknownPlan",
        "UnknownPrice",
        "UnknownPromotion",
    ),
    "gates": ("consumes", "consumes_credits", "requires_feature"),
    "gating": ("acting_as", "check", "configure", "consume_credits", "current_customer"),
    "holds": ("Hold",),
    "ledger.blocks": ("Block",),
    "ledger.entries": ("Entry",),
    "ledger.facts": ("Subscription",),
    "periods": ("Window", "window"),
    "reports.explain": ("Explanation",),
    "reports.revenue": ("Revenue",),
    "reports.statement": ("Statement",),
    "snapshots": ("Snapshot",),
    "wrapping": ("current_hold",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "UNLIMITED",
    "AddOnRefused",
    "Allowance",
    "AlreadySubscribed",
    "AmountError",
    "AsyncEntitlements",
    "AsyncHold",
    "Balance",
    "Block",
    "Catalog",
    "CatalogError",
    "Decision",
    "EntitlementDenied",
    "Entitlements",
    "EntitlementsError",
    "Entry",
    "Explanation",
    "Hold",
    "HoldClosed",
    "HoldExpired",
    "IdempotencyConflict",
    "KeyUsed",
    "LogCorrupt",
    "NotConfigured",
    "NotSubscribed",
    "OutcomeUnknown",
    "Receipt",
    "Request",
    "Revenue",
    "Snapshot",
    "Statement",
    "StorageError",
    "StorageUnavailable",
    "Subscription",
    "UnknownAddOn",
    "UnknownBlock",
    "UnknownBudget",
    "UnknownCredit",
    "UnknownCustomer",
    "UnknownFeature",
    "UnknownHold",
    "UnknownPlan",
    "UnknownPrice",
    "UnknownPromotion",
    "Unlimited",
    "Window",
    "acting_as",
    "check",
    "configure",
    "consume_credits",
    "consumes",
    "consumes_credits",
    "current_customer",
    "current_hold",
    "requires_feature",
    "window",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'entitlements' has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
