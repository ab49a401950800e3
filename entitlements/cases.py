"""A case: everything one decision may look at, and how its batch is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, TypeVar

import attrs

from .catalog.model import EMPTY, Catalog, Feature
from .errors import UnknownCustomer, UnknownFeature
from .ledger.chain import chain
from .ledger.crediting import CREDIT_KINDS, Books
from .ledger.due import due, may_be_due
from .ledger.entries import Batch, CounterKey, Entry, Verdict, numbered
from .ledger.records import Record
from .ledger.state import EMPTY_HEAD, NO_COUNTERS, Head, books_of, counted
from .requests import Request
from .resolution import Entitlements, resolve

R = TypeVar("R")


@attrs.define(slots=False, frozen=True)
class Case:
    """A request, the customer's state, the catalog, and the instant `at` at which it is decided.

    `key` is the key the batch will have. `sold` holds older catalog versions by version, `found` the
    batches of this customer that the request names. `salt` seals what is personal where the log has none.
    """

    request: Request
    key: str
    catalog: Catalog
    at: datetime
    head: Head = EMPTY_HEAD
    counters: Mapping[CounterKey, int] = NO_COUNTERS
    sold: Mapping[str, Catalog] = EMPTY
    throttle_within: timedelta = timedelta(hours=1)
    found: Mapping[str, Batch] = EMPTY
    salt: str = ""

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
    def due(self) -> tuple[Entry, ...]:
        """What fell due by time up to now and is not booked yet."""
        return tuple(due(books_of(self.head), self.at)) if may_be_due(self.head, self.at) else ()

    def books(self) -> Books:
        """Return blocks, holds and debts as they stand now, what fell due posted, to post entries to."""
        books = books_of(self.head)
        for entry in self.due:
            if entry.kind in CREDIT_KINDS:
                books.post(entry)
        return books

    @cached_property
    def alternatives(self) -> dict[str, Entitlements]:
        """What the customer would be entitled to with another plan or add-on, by label, as far as worked out."""
        return {}

    def counting(self, counters: Mapping[CounterKey, int]) -> Case:
        """Return the case with its counters, and what was worked out already."""
        if not counters:
            return self
        if self.due:
            fallen = counted(self.due)
            counters = {key: amount + fallen.get(key, 0) for key, amount in counters.items()}
        case = object.__new__(Case)
        case.__dict__.update(self.__dict__, counters=counters)
        return case

    def held(self, counter: CounterKey) -> int:
        """Return how much of a counter is set aside by holds that are still open."""
        return sum(
            units
            for hold in self.books().holds.values()
            for name, start, units in hold.counters
            if (name, start) == counter
        )

    def value(self, name: str) -> Any:
        """Return an argument of the request, None where it was not given."""
        return self.request.values.get(name)

    def feature(self) -> Feature:
        """Return the feature the request names; raises UnknownFeature."""
        return self.known_feature(self.value("feature"))

    def known_feature(self, key: str) -> Feature:
        """Return a feature of the catalog; raises UnknownFeature."""
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


def batch(case: Case, entries: Sequence[Entry], result: Mapping[str, Any] = EMPTY) -> tuple[Batch, Record]:
    """Return the batch a case comes to, and its record: what fell due, then its entries, its request, its answer."""
    batch = Batch(
        case.customer,
        case.key,
        case.head.batches + 1,
        case.at,
        case.request.asked,
        result,
        numbered((*case.due, *entries), after=case.head.seq, key=case.key, at=case.at),
        salt=case.head.salt or case.salt,
    )
    return chain(batch, case.head.hash)


def verdict(case: Case, entries: Sequence[Entry], result: R, kept: Mapping[str, Any] = EMPTY) -> Verdict[R]:
    """Return the verdict that appends the entries and answers `result`; `kept` is what a replay needs of it."""
    return Verdict(result, *batch(case, entries, kept))
