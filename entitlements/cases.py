"""A case: everything one decision may look at, and how its batch is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final, TypeVar

import attrs

from .alerting import credit_alerts
from .catalog.model import EMPTY, Catalog, Feature, Period
from .decisions import Decision
from .errors import UnknownCustomer, UnknownFeature
from .ledger.chain import chain
from .ledger.crediting import CREDIT_KINDS, Books
from .ledger.due import due, may_be_due
from .ledger.entries import Batch, CounterKey, Entry, Verdict, kinds_of, numbered
from .ledger.facts import Facts
from .ledger.plan_grants import Grants
from .ledger.records import Record
from .ledger.state import EMPTY_HEAD, HOLDING, LIMITING, NO_COUNTERS, Head, books_of, counted, facts_after
from .ledger.trail import Trail
from .metering import Meter, lasting_meters, meters
from .plan_credits import grant_entries
from .requests import Request
from .resolution import Entitlements, resolve
from .thresholds import crossed_by_change

R = TypeVar("R")
_FIRST: Final = frozenset({"subscribe", "start_trial"})
"""Verbs by which somebody new holds a plan: the default plan has granted them nothing before."""


@attrs.define(slots=False, frozen=True)
class Case:
    """A request, the customer's state, the catalog, and the instant `at` at which it is decided.

    `key` is the key the batch will have. `sold` holds older catalog versions by version, `found` the
    batches of this customer that the request names. `trail` says who repaid what, where that was asked
    for. `salt` seals what is personal where the log has none.
    A case that `looks_back` is about the past, of which the present catalog says nothing.
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
    looks_back: bool = False
    trail: Trail | None = None

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
        is_new = not self.head.known and self.request.verb in _FIRST
        resets = () if self.looks_back or is_new else self._resets(self.head.facts, self.head.grants)
        if not resets and not may_be_due(self.head, self.at):
            return ()
        books = books_of(self.head)
        return (*due(books, self.at), *_posted(books, resets), *due(books, self.at))

    def following(self, entries: Sequence[Entry]) -> tuple[Entry, ...]:
        """Return what follows where entries change what is held: what plans grant from now on, and at once."""
        if HOLDING.isdisjoint(kinds_of(entries)):
            return ()
        books = self.books()
        resets = self._resets(facts_after(self.head.facts, entries), books.grants)
        return (*_posted(books, resets), *due(books, self.at)) if resets else ()

    def alerts(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return the lines that tell of what limits and balances come to with what fell due and these entries."""
        limits = () if LIMITING.isdisjoint(kinds_of(entries)) else self._limits_crossed(entries)
        return [*limits, *credit_alerts(self.catalog, self.head, self.at, self.due, entries)]

    def _limits_crossed(self, entries: Sequence[Entry]) -> Iterator[Entry]:
        after = resolve(self.catalog, facts_after(self.head.facts, entries), self.at, sold=self.sold)
        change = (self.entitlements, after)
        return crossed_by_change(self.customer, self.head, self.counters, change, entries)

    def _resets(self, facts: Facts, grants: Mapping[str, Grants]) -> list[Entry]:
        """Return the lines by which plans grant what facts and the catalog say; none where they do already."""
        return grant_entries(self.catalog, facts, grants, self.at, self.sold)

    def books(self) -> Books:
        """Return blocks, holds and debts as they stand now, what fell due posted, to post entries to."""
        books = books_of(self.head)
        for entry in self.due:
            if entry.kind in CREDIT_KINDS:
                books.post(entry)
        return books

    def metered(self, feature: Feature, at: datetime) -> Mapping[Period, Meter]:
        """Return the meters of a feature at an instant, worked out once."""
        found = self._metered.get((feature.key, at))
        if found is None:
            laid_out = lasting_meters if self.key else meters
            found = self._metered[feature.key, at] = laid_out(self.entitlements, self.head.opened, feature, at)
        return found

    @cached_property
    def _metered(self) -> dict[tuple[str, datetime], Mapping[Period, Meter]]:
        return {}

    @cached_property
    def alternatives(self) -> dict[str, Entitlements]:
        """What the customer would be entitled to with another plan or add-on, by label, as far as worked out."""
        return {}

    def looking_back(self) -> Case:
        """Return the case as one about the past."""
        return attrs.evolve(self, looks_back=True)

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
        holds = self.books().holds.values()
        parts = [part for hold in holds for part in (*hold.counters, *(held[:3] for held in hold.budgets))]
        return sum(units for name, start, units in parts if (name, start) == counter)

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
    whole = (*entries, *case.following(entries))
    alerts = case.alerts(whole)
    if alerts and isinstance(result, Decision) and result.receipt is not None:
        receipt = attrs.evolve(result.receipt, seq=result.receipt.seq + len(alerts))
        result = attrs.evolve(result, receipt=receipt)
    return Verdict(result, *batch(case, (*whole, *alerts), kept))


def _posted(books: Books, entries: Sequence[Entry]) -> Sequence[Entry]:
    for entry in entries:
        books.post(entry)
    return entries
