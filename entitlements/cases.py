"""A case: everything one decision may look at, and how its batch is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, TypeVar

import attrs

from .catalog.model import EMPTY, Catalog, Feature
from .errors import UnknownCustomer, UnknownFeature
from .ledger.entries import Batch, CounterKey, Entry, Verdict, numbered
from .ledger.state import EMPTY_HEAD, NO_COUNTERS, Head
from .requests import Request
from .resolution import Entitlements, resolve

R = TypeVar("R")


@attrs.define(slots=False, frozen=True)
class Case:
    """A request, the customer's state, the catalog, and the instant `at` at which it is decided.

    `key` is the key the batch will have. `sold` holds older catalog versions by version.
    """

    request: Request
    key: str
    catalog: Catalog
    at: datetime
    head: Head = EMPTY_HEAD
    counters: Mapping[CounterKey, int] = NO_COUNTERS
    sold: Mapping[str, Catalog] = EMPTY
    throttle_within: timedelta = timedelta(hours=1)

    @property
    def customer(self) -> str:
        """The customer the request is about."""
        return self.request.customer

    @property
    def since(self) -> datetime:
        """When a fact begins to hold: the request's `at`, else now."""
        return self.value("at") or self.at

    @cached_property
    def entitlements(self) -> Entitlements:
        """What the customer is entitled to now."""
        return resolve(self.catalog, self.head.facts, self.at, sold=self.sold)

    @cached_property
    def alternatives(self) -> dict[str, Entitlements]:
        """What the customer would be entitled to with another plan or add-on, by label, as far as worked out."""
        return {}

    def counting(self, counters: Mapping[CounterKey, int]) -> Case:
        """Return the case with its counters, and what was worked out already."""
        counted = attrs.evolve(self, counters=counters)
        counted.__dict__["entitlements"] = self.entitlements
        return counted

    def value(self, name: str) -> Any:
        """Return an argument of the request, None where it was not given."""
        return self.request.values.get(name)

    def feature(self) -> Feature:
        """Return the feature the request names; raises UnknownFeature."""
        key = self.value("feature")
        if key not in self.catalog.features:
            raise UnknownFeature(key, self.catalog.features)
        return self.catalog.features[key]

    @property
    def is_known(self) -> bool:
        """Whether the customer has a log, or a default plan makes every id known."""
        return self.head.known or self.catalog.default_plan is not None

    def known(self) -> None:
        """Raise UnknownCustomer for a customer that is not known."""
        if not self.is_known:
            raise UnknownCustomer(self.customer, hint="subscribe the customer to a plan first")


def batch(case: Case, entries: Sequence[Entry], result: Mapping[str, Any] = EMPTY) -> Batch:
    """Return the batch a case comes to: its entries numbered after the head, its request and its answer."""
    return Batch(
        case.customer,
        case.key,
        case.head.batches + 1,
        case.at,
        case.request.asked,
        result,
        numbered(entries, after=case.head.seq, key=case.key, at=case.at),
    )


def verdict(case: Case, entries: Sequence[Entry], result: R, kept: Mapping[str, Any] = EMPTY) -> Verdict[R]:
    """Return the verdict that appends the entries and answers `result`; `kept` is what a replay needs of it."""
    return Verdict(result, batch(case, entries, kept))
