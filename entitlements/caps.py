"""Caps: what a decision says of each budget that a charge falls under."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

import attrs

from .amounts import Number
from .catalog.model import EMPTY
from .decisions import json_instant, json_number, left_of
from .ledger.sealing import is_sealed


@attrs.frozen
class Cap:
    """A budget as a decision found it: `used` of `limit`, and the `requested` part of this charge.

    What was booked is a part of `used`, what was only asked is not. It caps `feature` or `credit` inside
    `scope`, which is empty for the whole customer. One whose `action` is "notify" stops nothing.
    """

    scope: Mapping[str, str] = attrs.field(hash=False)
    feature: str | None
    credit: str | None
    dimensions: Mapping[str, str] = attrs.field(hash=False)
    limit: Number
    used: Number
    requested: Number
    passes: bool
    action: str = "block"
    every: str = "none"
    window_start: datetime | None = None
    resets_at: datetime | None = None

    @property
    def remaining(self) -> Number:
        """How much is left, never less than zero."""
        return cast("Number", left_of(self.limit, self.used))

    @property
    def label(self) -> str:
        """Whose budget it is, as a source is written: budget:team:research/user:ann."""
        return f"budget:{scope_text(self.scope) or 'all'}"

    def to_dict(self) -> dict[str, Any]:
        """Return the cap as JSON values."""
        return {
            "scope": dict(self.scope),
            "feature": self.feature,
            "credit": self.credit,
            "dimensions": dict(self.dimensions),
            "limit": json_number(self.limit),
            "used": json_number(self.used),
            "remaining": json_number(self.remaining),
            "requested": json_number(self.requested),
            "passes": self.passes,
            "action": self.action,
            "every": self.every,
            "window_start": json_instant(self.window_start),
            "resets_at": json_instant(self.resets_at),
        }


def scope_text(scope: Mapping[str, str]) -> str:
    """Return a scope in its shorthand, root first: team:research/user:ann."""
    from urllib.parse import quote  # noqa: PLC0415  (only where a scope is spelled out)

    return "/".join(f"{quote(kind, safe=' ')}:{quote(name, safe=' ')}" for kind, name in scope.items())


def stored_cap(cap: Cap) -> list[Any]:
    """Return what a log keeps of a cap; of its scope the kinds, as the charge's own says the rest."""
    told = [
        "\n".join(cap.scope),
        cap.feature,
        cap.credit,
        json_number(cap.limit),
        json_number(cap.used),
        json_number(cap.requested),
        cap.passes,
        cap.action,
        cap.every,
        json_instant(cap.window_start),
        json_instant(cap.resets_at),
    ]
    return told if not cap.dimensions else [*told, *(part for pair in cap.dimensions.items() for part in pair)]


def restored_cap(kept: list[Any], scope: Mapping[str, str] | None) -> Cap:
    """Return a cap from what a log keeps of it and the scope of its charge, which may have been erased."""
    kinds, feature, credit, *numbers = kept[:6]
    passes, action, every, start, resets = kept[6:11]
    dimensions = dict(zip(kept[11::2], kept[12::2], strict=True))
    whole = scope or EMPTY
    own = whole if is_sealed(whole) else {kind: name for kind, name in whole.items() if kind in kinds.split("\n")}
    limit, used, requested = map(_number, numbers)
    ends = (None if at is None else datetime.fromisoformat(at) for at in (start, resets))
    return Cap(own, feature, credit, dimensions, limit, used, requested, passes, action, every, *ends)


def _number(kept: int | str) -> Number:
    from decimal import Decimal  # noqa: PLC0415

    return Decimal(kept) if isinstance(kept, str) else kept
