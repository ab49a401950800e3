"""The desk: where requests meet the clock, the catalog in use and the storage.

Everything that decides is pure and elsewhere; here it is read, decided, written, remembered and
told. Both facades use one desk, so they cannot differ.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from time import monotonic
from typing import Any

import attrs

from .alerting import alert_of
from .cache import Cache, Known
from .cases import Case
from .catalog.model import EMPTY, Catalog
from .catalog.problems import Problem
from .deciding import check, counters_of, snapshot
from .decisions import Decision
from .errors import CatalogError, OutcomeUnknown, StorageUnavailable
from .hearing import Hearing, Note, Outdated, Unfixed, Unsold
from .judging import without_storage
from .ledger.entries import Batch, CounterKey
from .ledger.state import Head, State, fold
from .locating import granting_batch
from .offering import Offering, fixed_by
from .requests import Request, aware
from .snapshots import Snapshot
from .storage.base import Storage

logger = logging.getLogger("entitlements")

CATALOG_LOG = "$catalog"
EVENTS = ("decision", "denied", "consumed", "threshold", "catalog", "stale", "clock")
PULSE_EVERY = 0.05
LOOK_EVERY = 1.0
STEADY_FOR = timedelta(seconds=2 * PULSE_EVERY)
AHEAD = timedelta(minutes=5)
ASK_AGAIN = 2

Clock = Callable[[], datetime]
Listener = Callable[[Any], None]


system_clock: Clock = partial(datetime.now, UTC)
"""Returns the present instant in UTC."""


class Desk:
    """Holds what an engine is made of, and runs one request after another.

    `lost` says that the storage has not been heard of for longer than an answer may be stale.
    Up to `fresh_until` (of the monotonic clock) nothing need be looked for; what is valid beyond
    `steady_until` is valid until then without asking the system's clock (`is_steady`); a clock of the
    caller's own is always asked.
    """

    def __init__(
        self,
        offering: Offering,
        storage: Storage,
        *,
        clock: Clock = system_clock,
        cache: int = 10_000,
        max_stale: float = 5.0,
        throttle_within: float = 3600,
    ) -> None:
        self.storage = storage
        self.clock = clock
        self.cache = Cache(cache)
        self.throttle_within = timedelta(seconds=throttle_within)
        self.listeners: defaultdict[str, list[Listener]] = defaultdict(list)
        self.telling = False
        self.closed = False
        self.sold: dict[str, Catalog] = {}
        self.fixed: dict[str, Mapping[str, Any]] = {}
        self._max_stale = max_stale
        self._lock = threading.Lock()
        self.offering = offering
        offering.accepted_by(self._accept)
        self._pulse = storage.pulse()
        self._told = storage.written(after=None).cursor
        self._heard_at = monotonic()
        self._look_at = self._heard_at + LOOK_EVERY
        self.fresh_until = self._heard_at
        self.lost = False
        self.is_steady = clock is system_clock
        self._minded_at = self.steady_until = datetime.min.replace(tzinfo=UTC)

    def close(self) -> None:
        """Forget everything; no question is answered from memory afterwards."""
        self.closed, self.fresh_until = True, float("-inf")
        self.cache.forget_all()

    def check_open(self) -> None:
        """Raise StorageUnavailable once closed: a policy for a storage that is away is not for one let go of."""
        if self.closed:
            raise StorageUnavailable("this engine is closed; open another")

    def now(self) -> datetime:
        """Return the clock's instant in UTC; raises TypeError for a clock that is naive."""
        return aware(self.clock(), "clock()")

    # Writing

    def write(self, request: Request) -> Any:
        """Decide a request under the storage's lock, append what it comes to, and tell who listens."""
        self.refresh()
        key = request.key or self.draw()
        found = self._found(request)
        unknown = 0
        while True:
            hearing = self._hearing(request, key, found)
            try:
                result = self.storage.transact(request.customer, key, hearing.reads, hearing.decide)
                break
            except Unsold as missing:
                self._fetch(missing.version)
            except Unfixed as first:
                self._keep(hearing.catalog, first)
            except Outdated:
                found = self._found(request)
            except OutcomeUnknown:
                unknown += 1
                if unknown > ASK_AGAIN:
                    raise
        self.cache.forget(request.customer)
        if hearing.ahead > AHEAD:
            self._ahead(request.customer, hearing.ahead)
        if self.telling:
            self._tell_written(request.customer, result, hearing)
        return result

    def draw(self) -> str:
        """Return a key for a call that brought none."""
        return uuid.uuid4().hex

    def customers(self) -> Iterator[str]:
        """Return the id of every customer with a log, in order."""
        after: str | None = None
        while page := self.storage.customers(after=after):
            yield from (customer for customer in page if not customer.startswith("$"))
            after = page[-1]

    def _found(self, request: Request) -> Mapping[str, Batch]:
        """Return the batches a request names; they never change, so they may be read before the lock."""
        named = [request.values[name] for name in ("hold", "block", "batch_key") if name in request.values]
        if not named:
            return EMPTY
        named += [f"$close:{key}" for key in named if request.verb == "refund"]
        batches = {key: granting_batch(self.storage, request.customer, key) for key in named}
        found = {key: batch for key, batch in batches.items() if batch is not None}
        blocks = {entry.block for batch in found.values() for entry in batch.entries if entry.block} - found.keys()
        wanted = blocks if request.verb == "refund" else ()
        granted = {block: granting_batch(self.storage, request.customer, block) for block in wanted}
        return found | {block: batch for block, batch in granted.items() if batch is not None}

    # Looking

    def look(self, request: Request, as_of: int | None = None) -> Decision:
        """Answer a check that names its own amount, value, scope or instant; nothing is remembered."""
        self.check_open()
        self.refresh()
        feature = request.values["feature"]
        try:
            decision = check(self.case(request, feature, as_of=as_of))
        except StorageUnavailable as fault:
            return self._fallback(request.customer, feature, fault, plain=False)
        if self.telling:
            self.tell_decision(decision)
        return decision

    def learn(self, request: Request) -> Decision:
        """Answer a plain check, and remember the answer for as long as it stands."""
        customer, feature = request.customer, request.values["feature"]
        self.check_open()
        self.refresh()
        epoch = self.cache.epoch
        try:
            case = self.case(request, feature, known=None if self.lost else self.cache.warm.get(customer))
        except StorageUnavailable as fault:
            return self._fallback(customer, feature, fault)
        decision = check(case)
        known = self.cache.warm.get(customer)
        if known is None or known.entitlements is not case.entitlements:
            known = Known(case.head, case.entitlements, {})
        if decision.outcome != "throttle" and decision.code != "unknown_feature":
            known.decisions[feature] = decision
        self.cache.learn(customer, known, epoch=epoch)
        if self.telling:
            self.tell_decision(decision)
        return decision

    def snapshot(self, request: Request) -> Snapshot:
        """Return every feature's decision and every credit's balance, all of one state and one instant."""
        self.refresh()
        return snapshot(self.case(request, None))

    def case(
        self, request: Request, feature: str | None, *, as_of: int | None = None, known: Known | None = None
    ) -> Case:
        """Return the case of a question about a feature, or (None) about all, with the state it needs."""
        self.refresh()
        while True:
            try:
                return self._case(request, feature, as_of, known)
            except Unsold as missing:
                self._fetch(missing.version)

    def _case(self, request: Request, feature: str | None, as_of: int | None, known: Known | None) -> Case:
        hearing = self._hearing(request, "")
        at: datetime | None = request.values.get("at")

        def needed(head: Head) -> tuple[CounterKey, ...]:
            return counters_of(hearing.open(head, at), feature)

        if as_of is not None:
            past = self._past(request.customer, as_of, needed)
            return hearing.case.looking_back().counting(past.counters)
        moment = at or max(self.now(), known.head.at) if known is not None else None
        if known is not None and moment is not None and self._still_holds(known, hearing.catalog, moment):
            hearing.open(known.head, moment, known.entitlements)
            if not counters_of(hearing.case, feature):
                return hearing.case
        state = self.storage.state(request.customer, needed)
        decided_at = hearing.case.at
        if known and known.head.seq == state.head.seq and self._still_holds(known, hearing.catalog, decided_at):
            hearing.open(known.head, decided_at, known.entitlements)
        if at is not None and at < state.head.at:
            state = self._past(request.customer, None, needed)
            return hearing.case.looking_back().counting(state.counters)
        return hearing.case.counting(state.counters)

    def _hearing(self, request: Request, key: str, found: Mapping[str, Batch] = EMPTY) -> Hearing:
        terms = (self.throttle_within, self.sold, self.fixed, found)
        return Hearing(request, key, self.offering.catalog, self.now, *terms)

    def _still_holds(self, known: Known, catalog: Catalog, at: datetime) -> bool:
        was = known.entitlements
        return was.catalog is catalog and was.at <= at and not was.changed_by(at)

    def _past(self, customer: str, as_of: int | None, needed: Callable[[Head], Sequence[CounterKey]]) -> State:
        """Return the state a log folds to with all its past, or with only what was known at `as_of`."""
        batches = self.batches(customer)
        if as_of is not None:
            batches = [batch for batch in batches if batch.entries[-1].seq <= as_of]
        head, counters = fold(batches, keep_ended=True)
        return State(head, {counter: counters.get(counter, 0) for counter in needed(head)})

    def batches(self, customer: str) -> list[Batch]:
        """Return every batch of a customer's log."""
        batches: list[Batch] = []
        while page := self.storage.batches(customer, after=len(batches)):
            batches.extend(page)
        return batches

    # Staying fresh

    def refresh(self) -> None:
        """Look for a changed catalog file once a second, and for writes of other processes every 50 ms."""
        now = monotonic()
        if now < self.fresh_until or not self._lock.acquire(blocking=False):
            return
        try:
            if now >= self._look_at:
                self._look_at = now + LOOK_EVERY
                if self.offering.refresh():
                    self._changed()
            self._listen(now)
            self.fresh_until = now if self.lost else now + PULSE_EVERY
            if self.is_steady:
                self._mind_the_clock(system_clock())
        finally:
            self._lock.release()

    def _mind_the_clock(self, at: datetime) -> None:
        """Forget what was decided in a future that the system's clock has taken back."""
        if at < self._minded_at:
            self.cache.forget_all()
        self._minded_at, self.steady_until = at, at + STEADY_FOR

    def reload(self) -> Catalog:
        """Read the catalog again now."""
        before = self.offering.catalog.version
        catalog = self.offering.reload()
        if catalog.version != before:
            self._changed()
        return catalog

    def _listen(self, now: float) -> None:
        """Forget the customers whose logs have grown by others' writes; all, where that cannot be told in time."""
        try:
            pulse = self.storage.pulse()
            if pulse != self._pulse:
                written = self.storage.written(after=self._told)
                self.cache.forget_older(written.customers)
                self._told, self._pulse = written.cursor, pulse
        except StorageUnavailable:
            self.lost = now - self._heard_at > self._max_stale
            return
        self._heard_at, self.lost = now, False

    def _changed(self) -> None:
        self.cache.forget_all()
        self.tell("catalog", self.offering.catalog)

    # Catalog versions and what first use fixes, in the log $catalog

    def _accept(self, catalog: Catalog) -> None:
        """Raise CatalogError where a catalog changes what the first use of a feature fixed for good."""
        noted = self.storage.state(CATALOG_LOG, lambda _: ()).head.noted
        problems = []
        for subject, data in noted.items():
            now = fixed_by(catalog, subject)
            if now is not None and now != data:
                kind, _, key = subject.partition(":")
                fix = f"{' and '.join(data)} {'stay' if len(data) > 1 else 'stays'} as first used: name a new {kind}"
                said = f"was first used with {dict(data)}, now says {dict(now)}; {fix}"
                problems.append(Problem(f"{kind}s.{key}", said))
        if problems:
            raise CatalogError(problems)

    def _keep(self, catalog: Catalog, first: Unfixed) -> None:
        """Write down in `$catalog` what a batch is about to rely on."""
        for subject, data in first.fixes.items():
            self._note("fixed", subject, data)
            self.fixed[subject] = data
        if first.keeps:
            self._note("catalog_kept", f"version:{catalog.version}", {"document": dict(catalog.document)})
            self.sold[catalog.version] = catalog

    def _note(self, kind: str, subject: str, data: Mapping[str, Any]) -> None:
        note = Note(kind, subject, data, self.now)
        self.storage.transact(CATALOG_LOG, subject, lambda _: (), note.decide)

    def _fetch(self, version: str) -> None:
        """Load a catalog version that a pinned plan was sold in."""
        noted = self.storage.state(CATALOG_LOG, lambda _: ()).head.noted
        place = noted.get(f"version:{version}")
        if place is None:
            raise CatalogError([Problem("version", f"version {version} of a pinned plan is not in this storage")])
        entry = self.storage.entries(CATALOG_LOG, after=place["seq"] - 1, limit=1)[0]
        self.sold[version] = Catalog.load(entry.data["document"])

    # Telling

    def tell(self, event: str, value: object) -> None:
        """Call everyone who listens for an event; what a listener raises is logged, never passed on."""
        for listener in tuple(self.listeners[event]):
            try:
                listener(value)
            except Exception:
                logger.exception("a listener for %r failed", event)

    def tell_decision(self, decision: Decision, *, wrote: bool = False) -> None:
        """Tell of a decision, and of what it was."""
        self.tell("decision", decision)
        if not decision.allowed:
            self.tell("denied", decision)
        elif wrote:
            self.tell("consumed", decision)

    def _tell_written(self, customer: str, result: object, hearing: Hearing) -> None:
        if isinstance(result, Decision):
            self.tell_decision(result, wrote=hearing.wrote)
        for line in hearing.crossed:
            self.tell("threshold", alert_of(customer, line))

    def _ahead(self, customer: str, ahead: timedelta) -> None:
        logger.warning("the log of a customer is %s ahead of the clock", ahead)
        self.tell("clock", {"customer": customer, "ahead": ahead})

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
        if self.telling:
            self.tell("stale", decision)
        return decision
