"""Snapshots: everything a front end needs to draw what a customer may do, from the very same decisions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime
from functools import cached_property, partial
from typing import Any, TypeVar

import attrs

from .catalog.model import EMPTY
from .decisions import Decision, json_instant

A = TypeVar("A")


def _never() -> None:
    return None


def _known(until: datetime | None) -> datetime | None:
    return until


class Answers(Mapping[str, A]):
    """The answer on each of a number of features or credits, made from one state when first asked for."""

    def __init__(self, keys: Collection[str], answer: Callable[[str], A]) -> None:
        self._keys = keys
        self._answer = answer
        self._made: dict[str, A] = {}

    def __getitem__(self, key: str) -> A:
        made = self._made.get(key)
        if made is None:
            if key not in self._keys:
                raise KeyError(key)
            made = self._made[key] = self._answer(key)
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return repr(dict(self))


@attrs.define(slots=False, frozen=True)
class Snapshot:
    """Every feature and credit of one customer at one instant.

    `features` holds one decision for each feature of the catalog, all made from the state that was read
    when the snapshot was taken; `credits` one balance for each credit, as JSON values. `etag` changes
    exactly when something a front end would show has changed.
    """

    customer: str
    at: datetime
    catalog_version: str
    features: Mapping[str, Decision] = attrs.field(hash=False)
    credits: Mapping[str, dict[str, Any]] = attrs.field(default=EMPTY, hash=False)
    _credits_until: Callable[[], datetime | None] = attrs.field(default=_never, eq=False, repr=False)

    @cached_property
    def valid_until(self) -> datetime | None:
        """The first instant at which time alone can change the snapshot."""
        edges = [self._credits_until(), *(decision.valid_until for decision in self.features.values())]
        return min((edge for edge in edges if edge is not None), default=None)

    @cached_property
    def etag(self) -> str:
        """A strong entity tag over all that `to_dict` says, the instant apart."""
        shown = {name: value for name, value in self._shown().items() if name != "at"}
        canonical = json.dumps(shown, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode("utf-8", "backslashreplace")).hexdigest()[:32]

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what a copy or a pickle is made of: every answer, made by now, without the state behind them."""
        answers = dict(self.features), dict(self.credits), partial(_known, self._credits_until())
        return Snapshot, (self.customer, self.at, self.catalog_version, *answers)

    def to_dict(self) -> dict[str, Any]:
        """Return the snapshot as JSON values."""
        return {**self._shown(), "etag": self.etag}

    def _shown(self) -> dict[str, Any]:
        return {
            "customer": self.customer,
            "at": json_instant(self.at),
            "valid_until": json_instant(self.valid_until),
            "catalog_version": self.catalog_version,
            "features": {key: decision.to_dict() for key, decision in self.features.items()},
            "credits": dict(self.credits),
        }
