"""What Hypothesis is told of the package's values, so that `st.from_type(Catalog)` draws real ones.

Hypothesis calls `register` when it is imported itself, and nothing else does.
"""

from __future__ import annotations

from typing import Any


def register() -> None:
    """Register a strategy for every value of the public interface that says something."""
    from hypothesis import strategies as st  # noqa: PLC0415

    from ..amounts import UNLIMITED, Unlimited  # noqa: PLC0415
    from ..catalog.model import Catalog  # noqa: PLC0415
    from ..decisions import Decision  # noqa: PLC0415
    from ..ledger.blocks import Block  # noqa: PLC0415
    from ..ledger.entries import Entry  # noqa: PLC0415
    from ..ledger.facts import Facts, HeldAddOn, Override, PromotionRun, Subscription, Trial  # noqa: PLC0415
    from ..periods import Window  # noqa: PLC0415

    named: dict[type[Any], str] = {
        Catalog: "catalogs",
        Decision: "decisions",
        Block: "blocks",
        Entry: "entries",
        Facts: "facts",
        Subscription: "subscriptions",
        Trial: "trials",
        HeldAddOn: "held_addons",
        PromotionRun: "promotion_runs",
        Override: "overrides",
        Window: "windows",
    }
    for kind, name in named.items():
        st.register_type_strategy(kind, _later(name))
    st.register_type_strategy(Unlimited, st.just(UNLIMITED))


def _later(name: str) -> Any:
    """Return what Hypothesis asks for a strategy; only then are all of them imported."""

    def strategy(_: type[Any]) -> Any:
        from . import strategies  # noqa: PLC0415

        return getattr(strategies, name)()

    return strategy
