"""Logs in memory: for tests, for trying things out, and for programs that need nothing kept."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from operator import methodcaller
from typing import Any, Final, TypeAlias, TypeVar, cast

from ..errors import StorageError, StorageUnavailable, shown
from ..ledger.entries import Batch, CounterKey, Entry, Verdict
from ..ledger.records import NO_SECRETS, Kept, batch_of, recorded
from ..ledger.state import EMPTY_HEAD, Head, State, counted, is_erasure
from .base import MOST_BEHIND, Call, Decide, FeedPage, Outcome, Reads, Written
from .keeping import MOST_TOLD, bounded, follow, patience, plain, position

R = TypeVar("R")
_RELEASE: Final = methodcaller("release")
Version: TypeAlias = "tuple[Batch, int, Version | None]"
"""A counter as some batch left it: the batch, the amount, and the version before."""


class MemoryStorage:
    """Keeps logs in this process, by the same rules as every storage, until it is closed.

    Customers are locked one by one; `write_timeout` bounds the wait for a lock in seconds.
    """

    def __init__(self, *, write_timeout: float = 5.0) -> None:
        self._write_timeout = patience(write_timeout)
        self._guard = threading.Lock()
        self._locks: dict[str, _CustomerLock] = {}
        self._logs: dict[str, _Log] = {}
        self._known: list[str] = []
        self._feed: list[Batch] = []
        self._closed = False

    def transact(self, customer: str, key: str, reads: Reads, decide: Decide[R]) -> R:
        """Show `decide` the customer's state and append the batch it returns, all or nothing."""
        (outcome,) = self.transact_all([Call(customer, key, reads, decide)])
        return cast("R", outcome.answer())

    def transact_all(self, calls: Sequence[Call]) -> list[Outcome]:
        """Decide all calls in their order, append what they come to in one commit, and return what each came to."""
        holder = _Holder(threading.get_ident())
        mine = self._come_to(sorted({call.customer for call in calls}), holder)
        release_those_had = map(_RELEASE, [each.lock for each in mine.values()])
        try:
            self._acquire(mine, holder)
            return self._decided(calls)
        finally:
            holder.thread = None
            try:  # noqa: SIM105  (one call into C, so that an exception out of a signal handler finds no gap)
                list(release_those_had)
            except RuntimeError:  # this lock was never had, nor any after it
                pass
            self._leave(mine)

    def state(self, customer: str, reads: Reads) -> State:
        """Return the last committed head and the counters `reads` names, of one instant; takes no lock."""
        log = self._log(customer)
        return log.shown(log.head, reads)

    def entries(self, customer: str, *, after: int = 0, limit: int = 1000) -> Sequence[Entry]:
        """Return entries in order of seq, which counts from 1 without gaps."""
        log, start = self._log(customer), bounded(after)
        return tuple(log.entries[start : min(start + bounded(limit), log.head.seq)])

    def batches(self, customer: str, *, after: int = 0, limit: int = 1000) -> Sequence[Batch]:
        """Return whole batches in order of number, which counts from 1 without gaps."""
        log, start = self._log(customer), bounded(after)
        return tuple(log.batches[start : min(start + bounded(limit), log.head.batches)])

    def batch(self, customer: str, key: str) -> Batch | None:
        """Return the batch of a key, None where there is none."""
        log = self._log(customer)
        return log.shown(log.head, lambda _: (), key).prior

    def feed(self, *, after: str | None = None, limit: int = 1000) -> FeedPage:
        """Return the batches of all customers that follow a cursor, each exactly once."""
        start = position(after)
        with self._guard:
            self._check_open()
            page = tuple(self._feed[start : start + bounded(limit)])
            lag = min(max(0, len(self._feed) - start - len(page)), MOST_BEHIND)
        return FeedPage(page, str(start + len(page)) if page else after, lag)

    def customers(self, *, after: str | None = None, limit: int = 1000) -> Sequence[str]:
        """Return customer ids in order, those after `after`."""
        plain(after or "")
        with self._guard:
            self._check_open()
            start = 0 if after is None else bisect_right(self._known, after)
            return tuple(self._known[start : start + bounded(limit)])

    def pulse(self) -> int:
        """Return how many batches were committed: it changes with every commit, whoever made it."""
        self._check_open()
        return len(self._feed)

    def written(self, *, after: str | None) -> Written:
        """Return whose logs have grown since a cursor; without one nobody's, and the cursor of the present."""
        start = None if after is None else position(after)
        with self._guard:
            self._check_open()
            last = len(self._feed)
            new = [] if start is None else self._feed[start:]
        if len(new) > MOST_TOLD:
            return Written(None, str(last))
        return Written({batch.customer: batch.entries[-1].seq for batch in new}, str(last))

    @contextmanager
    def kept(self, customer: str) -> Iterator[Kept]:
        """Show all that is kept of a customer, as of one instant, for an audit; it is read as it is asked for."""
        log = self._log(customer)
        head = log.head
        records = map(recorded, islice(log.batches, head.batches))
        yield Kept(customer, head if head.known else None, records, iter(log.counters(head)))

    def flaws(self) -> Sequence[str]:
        """Return what is wrong with the storage as a whole: nothing can be."""
        self._check_open()
        return ()

    def close(self) -> None:
        """Forget everything; using the storage afterwards raises StorageUnavailable."""
        with self._guard:
            self._closed = True
            self._logs, self._known, self._feed = {}, [], []

    def _acquire(self, mine: Mapping[str, _CustomerLock], holder: _Holder) -> None:
        deadline = time.monotonic() + self._write_timeout
        for customer, each in mine.items():
            if not each.lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
                raise StorageUnavailable(
                    f"{shown(customer)} was locked for {self._write_timeout:g} s; nothing was written"
                )
            each.holder = holder

    def _decided(self, calls: Sequence[Call]) -> list[Outcome]:
        drafts: dict[str, _Draft] = {}
        outcomes, appended = list[Outcome](), list[Batch]()
        for call in calls:
            draft = drafts.get(call.customer)
            if draft is None:
                draft = drafts[call.customer] = _Draft(self._log(call.customer))
            try:
                verdict = draft.decided(call)
            except Exception as error:  # noqa: BLE001  (it is the call's own, and its caller's to raise)
                outcomes.append(Outcome(error=error))
                continue
            outcomes.append(Outcome(verdict.result))
            if verdict.batch is not None:
                appended.append(verdict.batch)
        if appended:
            self._publish({batch.customer: drafts[batch.customer] for batch in appended}, appended)
        return outcomes

    def _publish(self, drafts: Mapping[str, _Draft], appended: Sequence[Batch]) -> None:
        """Let everybody see the drafts at once, or, where that is broken off, nobody."""
        with self._guard:
            self._check_open()
            feed, length = self._feed, len(self._feed)
            stood = {customer: self._logs.get(customer) for customer in drafts}
            heads = {customer: log.head for customer, log in stood.items() if log is not None}
            try:
                for customer, draft in drafts.items():
                    self._replace(customer, draft)
                self._feed.extend([drafts[batch.customer].log.batches[batch.number - 1] for batch in appended])
                for draft in drafts.values():
                    draft.log.head = draft.head
            except BaseException:
                self._feed = feed
                del feed[length:]
                for customer, log in stood.items():
                    self._restore(customer, log, heads.get(customer, EMPTY_HEAD))
                raise

    def _replace(self, customer: str, draft: _Draft) -> None:
        """Put a log in its place: a new one, or one in which nothing personal is left, in the feed too."""
        before = self._logs.get(customer)
        if before is draft.log:
            return
        self._logs[customer] = draft.log
        if before is None:
            insort(self._known, customer)
        else:
            own = iter(draft.log.batches)
            self._feed = [next(own) if batch.customer == customer else batch for batch in self._feed]

    def _restore(self, customer: str, log: _Log | None, head: Head) -> None:
        if log is not None:
            log.head = head
            self._logs[customer] = log
        elif self._logs.pop(customer, None) is not None:
            self._known = [known for known in self._known if known != customer]

    def _come_to(self, customers: Sequence[str], holder: _Holder) -> dict[str, _CustomerLock]:
        """Return the locks of customers, each there until whoever came to it has left."""
        with self._guard:
            self._check_open()
            for customer in customers:
                if customer in self._locks:
                    self._locks[customer].refuse_nesting(customer, holder)
            mine = {customer: self._locks.setdefault(customer, _CustomerLock()) for customer in customers}
            for each in mine.values():
                each.users += 1
            return mine

    def _leave(self, mine: Mapping[str, _CustomerLock]) -> None:
        """Let go of locks; where this is broken off, one may stay, which does no harm."""
        with self._guard:
            for customer, each in mine.items():
                each.users -= 1
                if not each.users:
                    self._locks.pop(customer, None)

    def _log(self, customer: str) -> _Log:
        self._check_open()
        return self._logs.get(customer) or _Log()

    def _check_open(self) -> None:
        if self._closed:
            raise StorageUnavailable("this memory storage is closed")


class _Holder:
    """Whose transaction holds a lock; `thread` is None once it is over."""

    def __init__(self, thread: int) -> None:
        self.thread: int | None = thread


class _CustomerLock:
    """The lock of one customer, there as long as it has users: those who hold or await it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.users = 0
        self.holder: _Holder | None = None

    def refuse_nesting(self, customer: str, mine: _Holder) -> None:
        """Raise StorageError where this very thread holds the lock already."""
        if self.holder is not None and self.holder.thread == mine.thread:
            raise StorageError(f"{shown(customer)}: a decision cannot start another transaction on its own customer")


class _Draft:
    """A log as a group of calls leaves it, beyond what is published: `head` counts what was written so far."""

    def __init__(self, log: _Log) -> None:
        self.log = log
        self.head = log.head

    def decided(self, call: Call) -> Verdict[Any]:
        """Decide a call on the draft, and write its batch down there."""
        log, head = self.log, self.head
        state = log.shown(head, call.reads, call.key)
        verdict = call.decide(state)
        batch = verdict.batch
        if batch is not None:
            unread = counted(batch.entries).keys() - state.counters.keys()
            counters = {**state.counters, **log.counters_at(head, unread)} if unread else state.counters
            after, touched = follow(call.customer, call.key, state, batch, counters)
            log.write(head, batch, touched)
            if is_erasure(batch):
                self.log = log.erased(after)
            self.head = after
        return verdict


class _Log:
    """One customer's log.

    Storing `head` publishes a batch. What was written beside it counts only as far as the head says,
    so that a reader needs no lock and a write that was broken off is simply written over.
    """

    __slots__ = ("_by_key", "_counters", "batches", "entries", "head")

    def __init__(self) -> None:
        self.head = EMPTY_HEAD
        self.batches: list[Batch] = []
        self.entries: list[Entry] = []
        self._by_key: dict[str, Batch] = {}
        self._counters: dict[CounterKey, Version] = {}

    def shown(self, head: Head, reads: Reads, key: str | None = None) -> State:
        """Return the state at a head, with the counters `reads` names and the batch of `key`."""
        prior = None if key is None else self._by_key.get(key)
        if prior is not None and not self._counts(prior, head):
            prior = None
        return State(head, self.counters_at(head, reads(head)), prior)

    def counters_at(self, head: Head, names: Iterable[CounterKey]) -> dict[CounterKey, int]:
        """Return the amounts of the counters as they were at a head."""
        known = self._counters
        amounts = dict.fromkeys(names, 0)
        for name in amounts.keys() & known.keys():
            amounts[name] = self._amount(name, head)
        return amounts

    def write(self, head: Head, batch: Batch, touched: Mapping[CounterKey, int]) -> None:
        """Write a batch and its counters down behind a head, unpublished."""
        del self.batches[head.batches :], self.entries[head.seq :]
        self.batches.append(batch)
        self.entries.extend(batch.entries)
        self._by_key[batch.key] = batch
        for name, amount in touched.items():
            self._counters[name] = (batch, amount, self._version(name, head))

    def counters(self, head: Head) -> list[tuple[CounterKey, int]]:
        """Return every counter as it was at a published head."""
        known = {name: self._version(name, head) for name in sorted(self._counters)}
        return [(name, version[1]) for name, version in known.items() if version is not None]

    def erased(self, head: Head) -> _Log:
        """Return the same log up to a head that is not published yet, with nothing personal in it."""
        log = _Log()
        log.batches = [batch_of(recorded(batch)._replace(secrets=NO_SECRETS)) for batch in self.batches]
        log.entries = [entry for batch in log.batches for entry in batch.entries]
        log._by_key = {batch.key: batch for batch in log.batches}
        log.head = head
        for name in self._counters:
            version = self._version(name, head)
            if version is not None:
                log._counters[name] = (log.batches[version[0].number - 1], version[1], None)
        return log

    def _amount(self, name: CounterKey, head: Head) -> int:
        version = self._version(name, head)
        return 0 if version is None else version[1]

    def _version(self, name: CounterKey, head: Head) -> Version | None:
        version = self._counters.get(name)
        while version is not None and not self._counts(version[0], head):
            version = version[2]
        return version

    def _counts(self, batch: Batch, head: Head) -> bool:
        return batch.number <= head.batches and self.batches[batch.number - 1] is batch
