"""A hearing: one attempt to decide one request, between a storage's lock and the pure decision.

The clock is read once, under the lock; the instant of the batch is never before the log's last.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

from .cases import Case
from .catalog.fixing import fixed_by
from .catalog.model import EMPTY, Catalog
from .catalog.problems import Problem
from .catalog.standing import flatten
from .changing import CHANGES
from .deciding import decide, reads
from .errors import CatalogError
from .ledger.chain import chain
from .ledger.entries import Batch, CounterKey, Entry, Verdict, numbered
from .ledger.facts import Facts, Subscription, Trial
from .ledger.state import NO_COUNTERS, Head, State
from .ledger.trail import Trail
from .requests import Request
from .resolution import Entitlements
from .resolved import Resolved

R = TypeVar("R")
T = TypeVar("T")
_SELLING = ("subscribe", "change_plan", "start_trial")


class Unsold(Exception):
    """A pinned plan needs a catalog version that has not been loaded yet."""

    def __init__(self, version: str) -> None:
        self.version = version
        super().__init__(version)


class Unfixed(Exception):
    """A batch relies on what the log `$catalog` must say first."""

    def __init__(self, fixes: Mapping[str, Mapping[str, Any]], *, keeps: bool) -> None:
        self.fixes = fixes
        self.keeps = keeps
        super().__init__(", ".join(fixes))


class Outdated(Exception):
    """What a request names was read before an erasure, and must be read again."""


class Stopped(BaseException):
    """One of several requests cannot be decided, so that none is to be booked: `error` says why, `number` which.

    It is no Exception, because that would undo only the call it came out of.
    """

    def __init__(self, number: int, error: Exception) -> None:
        self.number, self.error = number, error
        super().__init__(number, error)


def stopping(number: int, half: Callable[[T], R]) -> Callable[[T], R]:
    """Return half a hearing that stops all of those decided together where it raises."""

    def stop(given: T) -> R:
        try:
            return half(given)
        except Exception as error:
            raise Stopped(number, error) from error

    return stop


class Hearing:
    """Hears one request against one catalog; a fresh one is made for each attempt."""

    def __init__(
        self,
        request: Request,
        key: str,
        catalog: Catalog,
        now: Callable[[], datetime],
        throttle_within: timedelta,
        sold: Mapping[str, Catalog],
        fixed: Mapping[str, Mapping[str, Any]],
        found: Mapping[str, Batch] = EMPTY,
        resolved: Resolved | None = None,
        trail: Trail | None = None,
    ) -> None:
        self.request, self.key, self.catalog = request, key, catalog
        self.ahead = timedelta(0)
        self.wrote = False
        self.crossed: list[Entry] = []
        self._now, self._throttle_within, self._sold, self._fixed = now, throttle_within, sold, fixed
        self._found, self._salt, self._resolved, self._trail = found, "", resolved, trail

    def open(self, head: Head, at: datetime | None = None, entitlements: Entitlements | None = None) -> Case:
        """Return the case at an instant, by default the ledger's time; raises Unsold, Outdated."""
        if self._found and any(batch.salt and batch.salt != head.salt for batch in self._found.values()):
            raise Outdated
        if at is None:
            now = self._now()
            at = max(now, head.at)
            self.ahead = head.at - now
        for fact in sold_facts(head.facts):
            if fact.version is not None and fact.version not in self._sold:
                raise Unsold(fact.version)
        terms = (self._sold, self._throttle_within, self._found, self._salt)
        case = Case(self.request, self.key, self.catalog, at, head, NO_COUNTERS, *terms, trail=self._trail)
        if entitlements is None and self._resolved is not None:
            entitlements = self._resolved.get(case.customer, self.catalog, head.facts, at)
        if entitlements is not None:
            case.__dict__["entitlements"] = entitlements
        self.case = case
        return case

    def reads(self, head: Head) -> tuple[CounterKey, ...]:
        """Return the counters the decision needs; the first half of what a storage runs under its lock."""
        self._salt = head.salt or secrets.token_hex(16)
        return reads(self.open(head))

    def decide(self, state: State) -> Verdict[Any]:
        """Return the verdict; the second half. Raises Unfixed where `$catalog` must be written first."""
        verdict = decide(self.case.counting(state.counters), state.prior)
        if verdict.batch is not None:
            self._check_fixed(verdict.batch)
        if self._resolved is not None and "entitlements" in self.case.__dict__:
            self._resolved.put(self.case.customer, self.case.entitlements)
        self.wrote = verdict.batch is not None
        self.crossed = [line for line in verdict.batch.entries if line.kind == "crossed"] if verdict.batch else []
        return verdict

    def _check_fixed(self, batch: Batch) -> None:
        granting = [f"credit:{entry.subject}" for entry in batch.entries if entry.kind == "plan_credits_set"]
        fixes: dict[str, Mapping[str, Any]] = {}
        for subject in (*self._relied_on(), *granting):
            data = fixed_by(self.catalog, subject)
            if data is not None and self._fixed.get(subject) != data:
                fixes[subject] = data
        keeps = self._pins() and self.catalog.version not in self._sold
        if fixes or keeps:
            raise Unfixed(fixes, keeps=keeps)

    def _relied_on(self) -> tuple[str, ...]:
        if self._pins():
            return tuple(f"feature:{key}" for key in flatten(self.catalog, self.request.values["plan"]))
        feature, credit = self.request.values.get("feature"), self.request.values.get("credit")
        kept = self.request.verb not in CHANGES or self.request.verb in {"override", "set_budget"}
        features = (f"feature:{feature}",) if kept and feature in self.catalog.features else ()
        return (*features, f"credit:{credit}") if credit in self.catalog.credits else features

    def _pins(self) -> bool:
        if self.request.verb not in _SELLING:
            return False
        plan = self.catalog.plans.get(self.request.values.get("plan", ""))
        return plan is not None and plan.version == "pinned"


class Note:
    """One line of the log `$catalog`: a kept catalog version, which is published, or what a first use fixed."""

    def __init__(
        self, kind: str, subject: str, data: Mapping[str, Any], now: Callable[[], datetime], key: str
    ) -> None:
        self.kind, self.subject, self.data, self.key, self._now = kind, subject, data, key, now

    def decide(self, state: State) -> Verdict[bool]:
        """Return the line as a batch, and whether there is one; raises CatalogError where another stands for good."""
        head = state.head
        if self._stands(head) or state.prior is not None:
            return Verdict(False)
        at = max(self._now(), head.at)
        line = Entry(self.kind, at, self.subject, data=self.data)
        entries = numbered([line], after=head.seq, key=self.key, at=at)
        asked = {"verb": self.kind, "subject": self.subject}
        batch = Batch("$catalog", self.key, head.batches + 1, at, asked, EMPTY, entries)
        return Verdict(True, *chain(batch, head.hash))

    def _stands(self, head: Head) -> bool:
        if self.subject not in head.noted:
            return False
        is_same = head.noted[self.subject] == self.data
        if self.kind == "fixed" and not is_same:
            raise CatalogError([Problem(self.subject, f"was first used as {dict(head.noted[self.subject])}")])
        return is_same or self.kind != "catalog_published"


def sold_facts(facts: Facts) -> tuple[Subscription | Trial, ...]:
    """Return the facts that hold a plan: with a `version`, as it was in that version of the catalog."""
    return (*facts.subscriptions, *facts.trials)
