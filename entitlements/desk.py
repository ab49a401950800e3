"""The desk: where requests meet the clock, the catalog in use and the storage.

Everything that decides is pure and elsewhere; here it is read, decided, written, remembered and
told, in steps that an engine drives with its storage. All engines use one desk, so they cannot differ.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, TypeVar

import attrs

from . import steps
from .alerting import alert_of
from .cache import Cache, Known
from .cases import Case
from .catalog.model import EMPTY, Catalog
from .consuming import blamed
from .deciding import check, counters_of, snapshot
from .decisions import Decision, stands
from .errors import LogCorrupt, OutcomeUnknown, StorageError, StorageUnavailable
from .freshness import Clock, Freshness, system_clock
from .hearing import Hearing, Outdated, Stopped, Unfixed, Unsold, stopping
from .judging import without_storage
from .ledger.entries import Batch, CounterKey
from .ledger.state import Head
from .ledger.trail import Trail
from .locating import batches_of, past_state, traced
from .offering import Offering
from .refunding import Untraced
from .requests import Request, aware, count, seconds
from .resolved import Resolved, still_holds
from .snapshots import Snapshot
from .steps import Steps, run
from .storage.base import Call, Storage
from .telling import Listeners
from .versions import Versions

logger = logging.getLogger("entitlements")
T = TypeVar("T")

AHEAD = timedelta(minutes=5)
ASK_AGAIN = 2
TAKING = frozenset({"consume", "record", "consume_credits", "settle"})


class Desk:
    """Holds what an engine is made of, and takes one request after another through its steps.

    `timeout` bounds what a check waits for the storage, and `max_stale` how old an answer from memory may
    become while the storage is away, in seconds.
    """

    def __init__(
        self,
        offering: Offering,
        *,
        clock: Clock = system_clock,
        cache: int = 10_000,
        timeout: float = 0.1,
        max_stale: float = 5.0,
        throttle_within: float = 3600,
    ) -> None:
        self.clock = clock
        self.cache = Cache(cache)
        self.resolved = Resolved()
        self.listeners = Listeners()
        self.offering = offering
        self.versions = Versions(self.now)
        self.timeout = timeout
        self.throttle_within = timedelta(seconds=throttle_within)
        self.closed = False
        known = (offering, self.cache, self.listeners)
        self.freshness = Freshness(*known, clock=clock, max_stale=max_stale, timeout=timeout)

    def open(self) -> Steps[None]:
        """Accept the catalog, and find out where the storage stands; an engine does this before anything else."""
        yield from self.offering.accepted_by(self.versions.accept)
        yield from self.freshness.begin()

    def begin(self) -> Steps[None]:
        """Open, or leave it to the first verb where the log of catalogs does not hold: `verify` can be asked then.

        Every other verb opens again, and raises what that raises.
        """
        try:
            if not self.freshness.has_begun:
                yield from self.open()
        except LogCorrupt as fault:
            logger.warning("opened for verify() alone, every other verb raises this: %s", fault)

    def close(self) -> None:
        """Forget everything; no question is answered from memory afterwards."""
        self.closed = True
        self.freshness.end()
        self.cache.forget_all()

    def check_open(self) -> None:
        """Raise StorageUnavailable once closed: a policy for a storage that is away is not for one let go of."""
        if self.closed:
            raise StorageUnavailable("this engine is closed; open another")

    def now(self) -> datetime:
        """Return the clock's instant in UTC; raises TypeError for a clock that is naive."""
        return aware(self.clock(), "clock()")

    def refresh(self) -> Steps[None]:
        """Look for what has changed since it was last looked for, if that is long enough ago."""
        if not self.freshness.has_begun:
            yield from self.open()
        yield from self.freshness.refresh()

    def reload(self) -> Steps[Catalog]:
        """Read the catalog again now."""
        before = self.offering.catalog.version
        catalog = yield from self.offering.reload()
        if catalog.version != before:
            self.freshness.change()
        return catalog

    def publish(self) -> Steps[Catalog]:
        """Publish the catalog in use."""
        yield from self.refresh()
        catalog = self.offering.catalog
        yield from self.versions.publish(catalog)
        return catalog

    # Writing

    def write(self, request: Request) -> Steps[Any]:
        """Decide a request under the storage's lock, append what it comes to, and tell who listens."""
        yield from self.refresh()
        key = request.key or self.draw()
        try:
            result, hearing = yield from self._written(request, key)
        finally:
            self.cache.forget(request.customer)
        self._tell(hearing, result)
        return result

    def write_all(self, requests: Sequence[Request]) -> Steps[list[Any]]:
        """Decide requests in their order and append what they come to in one commit; what stops one stops all."""
        yield from self.refresh()
        asked = [(request, request.key or self.draw()) for request in requests]
        try:
            results, hearings = yield from self._written_together(asked)
        finally:
            for customer in {request.customer for request in requests}:
                self.cache.forget(customer)
        for hearing, result in zip(hearings, results, strict=True):
            self._tell(hearing, result)
        return results

    def draw(self) -> str:
        """Return a key for a call that brought none."""
        return uuid.uuid4().hex

    def _written(self, request: Request, key: str) -> Steps[tuple[Any, Hearing]]:
        found, trail = (yield from self._found(request)), None
        unknown = 0
        while True:
            hearing = self._hearing(request, key, found, trail)
            try:
                result = yield from steps.transact(request.customer, key, hearing.reads, hearing.decide)
            except Unsold as missing:
                yield from self.versions.fetch(missing.version)
            except Unfixed as first:
                yield from self.versions.keep(hearing.catalog, first)
            except Outdated:
                found, trail = (yield from self._found(request)), None
            except Untraced as debt:
                trail = yield from traced(request.customer, debt.credit, trail)
            except StorageError as fault:
                unknown = _doubts(fault, unknown, key)
            else:
                return result, hearing

    def _written_together(self, asked: Sequence[tuple[Request, str]]) -> Steps[tuple[list[Any], list[Hearing]]]:
        unknown = 0
        while True:
            hearings = [self._hearing(request, key) for request, key in asked]
            try:
                outcomes = yield from steps.transact_all([_call(number, each) for number, each in enumerate(hearings)])
            except Stopped as stopped:
                yield from self._mend(stopped, hearings[stopped.number].catalog)
            except StorageError as fault:
                unknown = _doubts(fault, unknown, asked[0][1])
            else:
                return [outcome.answer() for outcome in outcomes], hearings

    def _mend(self, stopped: Stopped, catalog: Catalog) -> Steps[None]:
        """See to what several requests were stopped for; raises it where it is not for the desk to see to."""
        if isinstance(stopped.error, Unsold):
            yield from self.versions.fetch(stopped.error.version)
        elif isinstance(stopped.error, Unfixed):
            yield from self.versions.keep(catalog, stopped.error)
        else:
            raise blamed(stopped.error, stopped.number) from None

    def _tell(self, hearing: Hearing, result: Any) -> None:
        if hearing.ahead > AHEAD:
            self.listeners.tell_ahead(hearing.request.customer, hearing.ahead)
        if not self.listeners.any:
            return
        if isinstance(result, Decision):
            self.listeners.tell_decision(result, took=hearing.wrote and hearing.request.verb in TAKING)
        for line in hearing.crossed:
            self.listeners.tell("threshold", alert_of(hearing.request.customer, line))

    def _found(self, request: Request) -> Steps[Mapping[str, Batch]]:
        """Return the batches a request names; they never change, so they may be read before the lock."""
        named = [request.values[name] for name in ("hold", "block", "batch_key") if name in request.values]
        if not named:
            return EMPTY
        refunds = request.verb == "refund"
        found = yield from batches_of(request.customer, named + [f"$close:{key}" for key in named if refunds])
        blocks = {entry.block for batch in found.values() for entry in batch.entries if entry.block} - found.keys()
        return found | (yield from batches_of(request.customer, blocks if refunds else ()))

    # Looking

    def look(self, request: Request, as_of: int | None = None) -> Steps[Decision]:
        """Answer a check that names its own amount, value, scope or instant; nothing is remembered."""
        return self.listeners.timed(self._look(request, as_of))

    def learn(self, request: Request) -> Steps[Decision]:
        """Answer a plain check, and remember the answer for as long as it stands."""
        return self.listeners.timed(self._learn(request))

    def _look(self, request: Request, as_of: int | None) -> Steps[Decision]:
        self.check_open()
        feature, until = request.values["feature"], monotonic() + self.timeout
        try:
            decision = check((yield from self.case(request, feature, as_of=as_of, until=until)))
        except StorageUnavailable as fault:
            return self._fallback(request.customer, feature, fault, plain=False)
        if self.listeners.any:
            self.listeners.tell_decision(decision)
        return decision

    def _learn(self, request: Request) -> Steps[Decision]:
        customer, feature, until = request.customer, request.values["feature"], monotonic() + self.timeout
        self.check_open()
        try:
            yield from self.refresh()
            epoch = self.cache.epoch
            remembered = None if self.freshness.lost else self.cache.warm.get(customer)
            case = yield from self.case(request, feature, known=remembered, until=until)
        except StorageUnavailable as fault:
            return self._fallback(customer, feature, fault)
        decision = check(case)
        self.cache.learn(customer, case.head, case.entitlements, decision, epoch=epoch)
        if self.listeners.any:
            self.listeners.tell_decision(decision)
        return decision

    def remembered(self, customer: str, feature: str) -> Decision | None:
        """Return the answer to a plain check that still stands, None where it must be asked for.

        `Entitlements.check` does the same in place, to save the call.
        """
        try:
            known = self.cache.warm.get(customer)
            decision = known.decisions.get(feature) if known is not None else None
        except TypeError:  # unhashable: the request says what it should be
            return None
        if decision is None or monotonic() >= self.freshness.until or self.listeners.any:
            return None
        until, fresh = decision.valid_until, self.freshness
        if fresh.is_steady and (until is None or until > fresh.steady_until):
            return decision
        return decision if stands(decision, self.clock()) else None

    def snapshot(self, request: Request) -> Steps[Snapshot]:
        """Return every feature's decision and every credit's balance, all of one state and one instant."""
        return snapshot((yield from self.case(request, None)))

    def case(
        self,
        request: Request,
        feature: str | None,
        *,
        as_of: int | None = None,
        known: Known | None = None,
        until: float | None = None,
    ) -> Steps[Case]:
        """Return the case of a question about a feature, or (None) about all, with the state it needs.

        `until` is the instant, of the monotonic clock, up to which the storage is waited for.
        """
        yield from self.refresh()
        while True:
            try:
                return (yield from self._case(request, feature, as_of, known, until))
            except Unsold as missing:
                yield from self.versions.fetch(missing.version)

    def _case(
        self, request: Request, feature: str | None, as_of: int | None, known: Known | None, until: float | None
    ) -> Steps[Case]:
        hearing = self._hearing(request, "")
        at: datetime | None = request.values.get("at")

        def needed(head: Head) -> tuple[CounterKey, ...]:
            return counters_of(hearing.open(head, at), feature)

        if as_of is not None:
            past = yield from past_state(request.customer, as_of, needed)
            return hearing.case.looking_back().counting(past.counters)
        moment = at or max(self.now(), known.head.at) if known is not None else None
        if known is not None and moment is not None and still_holds(known.entitlements, hearing.catalog, moment):
            hearing.open(known.head, moment, known.entitlements)
            if not counters_of(hearing.case, feature):
                return hearing.case
        within = None if until is None else max(0.0, until - monotonic())
        state = yield from steps.state(request.customer, needed, within=within)
        decided_at = hearing.case.at
        if known and known.head.seq == state.head.seq and still_holds(known.entitlements, hearing.catalog, decided_at):
            hearing.open(known.head, decided_at, known.entitlements)
        if at is not None and at < state.head.at:
            state = yield from past_state(request.customer, None, needed)
            return hearing.case.looking_back().counting(state.counters)
        return hearing.case.counting(state.counters)

    def _hearing(
        self, request: Request, key: str, found: Mapping[str, Batch] = EMPTY, trail: Trail | None = None
    ) -> Hearing:
        terms = (self.throttle_within, self.versions.sold, self.versions.fixed, found, self.resolved, trail)
        return Hearing(request, key, self.offering.catalog, self.now, *terms)

    def _fallback(self, customer: str, feature: str, fault: StorageUnavailable, *, plain: bool = True) -> Decision:
        """Answer while the storage is away, as the feature's `on_unavailable` says."""
        catalog = self.offering.catalog
        policy = catalog.features[feature].on_unavailable if feature in catalog.features else "deny"
        logger.warning("storage unavailable, feature %s answered by policy %s: %s", feature, policy, fault)
        known = self.cache.warm.get(customer) if plain and policy == "last_known" else None
        last = known.decisions.get(feature) if known is not None else None
        if last is not None:
            decision = attrs.evolve(last, stale=True, fallback=True)
        else:
            decision = without_storage(catalog, customer, feature, self.now(), allowed=policy == "allow")
        if self.listeners.any:
            self.listeners.tell("stale", decision)
        return decision


class Driven:
    """What the verbs of an engine stand on: a desk, and the storage its steps are driven with."""

    _desk: Desk
    _storage: Storage

    def _run(self, steps: Steps[T]) -> T:
        return run(steps, self._storage, self._desk.listeners.tell_fault)


def desk_of(
    catalog: object,
    clock: Clock | None,
    *,
    cache: int,
    timeout: float,
    max_stale: float,
    throttle_within: float,
) -> Desk:
    """Return a desk with an engine's options; raises CatalogError, and TypeError or ValueError for a wrong option."""
    if clock is not None and not callable(clock):
        raise TypeError(f"clock is of type {type(clock).__name__}; it is called and returns an aware datetime")
    return Desk(
        Offering(catalog),
        clock=clock or system_clock,
        cache=count(cache, "cache"),
        timeout=seconds(timeout, "timeout"),
        max_stale=seconds(max_stale, "max_stale"),
        throttle_within=seconds(throttle_within, "throttle_within"),
    )


def _call(number: int, hearing: Hearing) -> Call:
    reads, decide = stopping(number, hearing.reads), stopping(number, hearing.decide)
    return Call(hearing.request.customer, hearing.key, reads, decide)


def _doubts(fault: StorageError, unknown: int, key: str) -> int:
    """Return how often the outcome has not been known by now, so that it is asked about again; raises what is not.

    What failed after that wrote nothing, but of the first attempt nobody knows: it stays OutcomeUnknown.
    """
    if isinstance(fault, OutcomeUnknown) and unknown < ASK_AGAIN:
        return unknown + 1
    if unknown and not isinstance(fault, OutcomeUnknown | LogCorrupt):
        raise OutcomeUnknown(key) from fault
    raise fault
