"""Caps: what a decision says of each budget that a charge falls under."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import Any, cast

import attrs

from .amounts import Number
from .catalog.model import EMPTY
from .decisions import json_instant, json_number, left_of
from .frozen import FrozenDict
from .ledger.sealing import is_sealed


@attrs.frozen(slots=False)
class CapTerms:
    """What stays the same of a budget in one of its windows, whatever is used of it."""

    scope: Mapping[str, str] = attrs.field(hash=False)
    feature: str | None
    credit: str | None
    dimensions: Mapping[str, str] = attrs.field(hash=False)
    limit: Number
    action: str
    every: str
    window_start: datetime | None
    resets_at: datetime | None

    @cached_property
    def kept(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """What a log keeps of it, before and after what is used.

        Of its scope it is the kinds, as the scope of the charge says the rest.
        """
        before = ("\n".join(self.scope), self.feature, self.credit, json_number(self.limit))
        after = (self.action, self.every, json_instant(self.window_start), json_instant(self.resets_at))
        return before, (*after, *(part for pair in self.dimensions.items() for part in pair))


@attrs.frozen
class Cap:
    """A budget as a decision found it: `used` of its limit, and the `requested` part of this charge.

    What was booked is a part of `used`, what was only asked is not.
    """

    _terms: CapTerms
    used: Number
    requested: Number
    passes: bool

    @property
    def scope(self) -> Mapping[str, str]:
        """Whose budget it is; empty for the whole customer."""
        return self._terms.scope

    @property
    def feature(self) -> str | None:
        """The feature it caps, None where that is a credit."""
        return self._terms.feature

    @property
    def credit(self) -> str | None:
        """The credit it caps, None where that is a feature."""
        return self._terms.credit

    @property
    def dimensions(self) -> Mapping[str, str]:
        """What a charge's dimensions have to say for it to fall under the budget."""
        return self._terms.dimensions

    @property
    def limit(self) -> Number:
        """How much may be used in a window."""
        return self._terms.limit

    @property
    def action(self) -> str:
        """What it does where there is no room: "block", or "notify", which stops nothing."""
        return self._terms.action

    @property
    def every(self) -> str:
        """Its period."""
        return self._terms.every

    @property
    def window_start(self) -> datetime | None:
        """Where its window begins, None where its count never starts again."""
        return self._terms.window_start

    @property
    def resets_at(self) -> datetime | None:
        """Where its window ends, None where its count never starts again."""
        return self._terms.resets_at

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
    """Return what a log keeps of a cap."""
    before, after = cap._terms.kept
    return [*before, json_number(cap.used), json_number(cap.requested), cap.passes, *after]


def restored_cap(kept: list[Any], scope: Mapping[str, str] | None) -> Cap:
    """Return a cap from what a log keeps of it and the scope of its charge, which may have been erased."""
    kinds, feature, credit, *numbers = kept[:6]
    passes, action, every, start, resets = kept[6:11]
    dimensions = FrozenDict(zip(kept[11::2], kept[12::2], strict=True))
    whole = scope or EMPTY
    named = [*whole] if kinds and is_sealed(whole) else kinds.split("\n")
    own = FrozenDict({kind: whole[kind] for kind in named if kind in whole})
    limit, used, requested = map(_number, numbers)
    ends = (None if at is None else datetime.fromisoformat(at) for at in (start, resets))
    return Cap(CapTerms(own, feature, credit, dimensions, limit, action, every, *ends), used, requested, passes)


def _number(kept: int | str) -> Number:
    from decimal import Decimal  # noqa: PLC0415

    return Decimal(kept) if isinstance(kept, str) else kept
