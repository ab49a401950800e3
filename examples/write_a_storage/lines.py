"""A storage of one's own: a text file with one line for each commit, and everything else in memory.

It is complete: what the package promises of its own storages holds for this one, and `test_lines.py`
proves it. It is small because the package does the thinking: `follow` checks a batch and folds it,
`recorded` and `batch_of` turn batches into what is kept and back. Left to a storage are the lock, the
commit, and what becomes of both when something fails.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from entitlements.errors import OutcomeUnknown, StorageError, StorageUnavailable
from entitlements.ledger.entries import Batch, CounterKey, Entry
from entitlements.ledger.records import NO_SECRETS, Kept, Line, Record, batch_of, recorded
from entitlements.ledger.sealing import Secret
from entitlements.ledger.state import EMPTY_HEAD, Head, State, add, apply, counted, is_erasure
from entitlements.storage.base import Call, Decide, FeedPage, Outcome, Reads, Written
from entitlements.storage.keeping import bounded, follow, position

R = TypeVar("R")


class LinesStorage:
    """Keeps all logs in one file, for one process at a time; `write_timeout` bounds a wait, in seconds."""

    def __init__(self, path: str | os.PathLike[str], *, write_timeout: float = 5.0) -> None:
        self._path, self._write_timeout = Path(path), write_timeout
        self._writing, self._reading = threading.Lock(), threading.Lock()
        self._writer: int | None = None
        self._file = _opened(self._path)
        self._books = Books(_batches_in(self._file))
        self._is_open = True

    def transact(self, customer: str, key: str, reads: Reads, decide: Decide[R]) -> R:
        """Show `decide` the customer's state and append the batch it returns, all or nothing."""
        (outcome,) = self.transact_all([Call(customer, key, reads, decide)])
        result: R = outcome.answer()
        return result

    def transact_all(self, calls: Sequence[Call]) -> list[Outcome]:
        """Decide all calls in their order, append what they come to in one commit, and return what each came to."""
        with self._alone():
            self._check_open()
            draft = Draft(self._books)
            outcomes = [draft.decided(call) for call in calls]
            if draft.batches:
                self._commit(draft, calls[0].key)
            return outcomes

    def state(self, customer: str, reads: Reads) -> State:
        """Return the last committed head and the counters `reads` names, of one instant."""
        with self._looking() as books:
            return books.state(customer, reads)

    def entries(self, customer: str, *, after: int = 0, limit: int = 1000) -> Sequence[Entry]:
        """Return entries in order of seq."""
        with self._looking() as books:
            return tuple(books.entries.get(customer, [])[bounded(after) : bounded(after) + bounded(limit)])

    def batches(self, customer: str, *, after: int = 0, limit: int = 1000) -> Sequence[Batch]:
        """Return whole batches in order of number."""
        with self._looking() as books:
            return tuple(books.batches.get(customer, [])[bounded(after) : bounded(after) + bounded(limit)])

    def batch(self, customer: str, key: str) -> Batch | None:
        """Return the batch of a key, None where there is none."""
        with self._looking() as books:
            return books.by_key.get((customer, key))

    def feed(self, *, after: str | None = None, limit: int = 1000) -> FeedPage:
        """Return the batches of all customers that follow a cursor, each exactly once."""
        start = position(after)
        with self._looking() as books:
            page = tuple(books.feed[start : start + bounded(limit)])
        return FeedPage(page, str(start + len(page)) if page else after)

    def customers(self, *, after: str | None = None, limit: int = 1000) -> Sequence[str]:
        """Return customer ids in order, those after `after`."""
        with self._looking() as books:
            start = 0 if after is None else bisect_right(books.customers, after)
            return tuple(books.customers[start : start + bounded(limit)])

    def kept(self, customer: str) -> AbstractContextManager[Kept]:
        """Show all that is kept of a customer, as of one instant, for an audit."""
        with self._looking() as books:
            records = map(recorded, list(books.batches.get(customer, [])))
            counters = sorted(books.counters.get(customer, {}).items())
            return nullcontext(Kept(customer, books.heads.get(customer), records, iter(counters)))

    def flaws(self) -> Sequence[str]:
        """Return what is wrong with the file as a whole: that it does not hold what was answered."""
        with self._alone(), self._looking() as books:
            same = _batches_in(self._file) == books.feed
        return () if same else (f"{self._path} does not hold what is known of it",)

    def pulse(self) -> int:
        """Return how many batches were committed."""
        with self._looking() as books:
            return len(books.feed)

    def written(self, *, after: str | None) -> Written:
        """Return whose logs have grown since a cursor; without one nobody's, and the cursor of the present."""
        start = None if after is None else position(after)
        with self._looking() as books:
            new = [] if start is None else books.feed[start:]
            return Written({batch.customer: batch.entries[-1].seq for batch in new}, str(len(books.feed)))

    def close(self) -> None:
        """Close the file; using the storage afterwards raises StorageUnavailable."""
        with self._reading:
            self._is_open = False
            self._file.close()

    def _commit(self, draft: Draft, key: str) -> None:
        """Write what was decided, and only then show it to anybody."""
        if draft.erased:
            self._replace(draft.all_batches())
            return
        size = self._file.seek(0, os.SEEK_END)
        try:
            self._file.write(_line_of(draft.batches))
            self._file.flush()
        except BaseException as error:
            self._file.truncate(size)
            if isinstance(error, OSError):
                raise StorageUnavailable(f"{self._path}: {error}; nothing was written") from error
            raise
        try:
            os.fsync(self._file.fileno())
            with self._reading:
                self._books.add(draft.batches)
        except BaseException as error:
            self.close()  # what became of it is read from the file when it is opened again
            if isinstance(error, OSError):
                raise OutcomeUnknown(key) from error
            raise

    def _replace(self, batches: Sequence[Batch]) -> None:
        """Put a file that never held what was erased in the place of the one that did."""
        beside = self._path.with_suffix(".new")
        beside.unlink(missing_ok=True)
        file = _opened(beside)
        file.write(b"".join(_line_of([batch]) for batch in batches))
        file.flush()
        os.fsync(file.fileno())
        beside.replace(self._path)
        with self._reading:
            self._file.close()
            self._file, self._books = file, Books(batches)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait until nobody writes; one decision cannot start another, which would wait for itself."""
        if self._writer == threading.get_ident():
            raise StorageError("a decision cannot start another transaction")
        if not self._writing.acquire(timeout=self._write_timeout):
            raise StorageUnavailable(
                f"{self._path} was being written for {self._write_timeout:g} s; nothing was written"
            )
        try:
            self._writer = threading.get_ident()
            yield
        finally:
            self._writer = None
            self._writing.release()

    @contextmanager
    def _looking(self) -> Iterator[Books]:
        with self._reading:
            self._check_open()
            yield self._books

    def _check_open(self) -> None:
        if not self._is_open:
            raise StorageUnavailable(f"{self._path} is closed")


class Books:
    """What the batches come to: logs, heads and counters by customer."""

    def __init__(self, batches: Iterable[Batch] = ()) -> None:
        self.feed: list[Batch] = []
        self.customers: list[str] = []
        self.batches: dict[str, list[Batch]] = {}
        self.entries: dict[str, list[Entry]] = {}
        self.by_key: dict[tuple[str, str], Batch] = {}
        self.heads: dict[str, Head] = {}
        self.counters: dict[str, dict[CounterKey, int]] = {}
        self.add(batches)

    def add(self, batches: Iterable[Batch]) -> None:
        """Fold more batches in; raises LogCorrupt for one that does not follow."""
        for batch in batches:
            customer = batch.customer
            if customer not in self.heads:
                insort(self.customers, customer)
            counters = self.counters.setdefault(customer, {})
            counters |= add(customer, counters, batch.entries)
            self.heads[customer] = apply(self.heads.get(customer, EMPTY_HEAD), batch)
            self.feed.append(batch)
            self.batches.setdefault(customer, []).append(batch)
            self.entries.setdefault(customer, []).extend(batch.entries)
            self.by_key[customer, batch.key] = batch

    def state(self, customer: str, reads: Reads) -> State:
        """Return the head and the counters that `reads` names."""
        head, counters = self.heads.get(customer, EMPTY_HEAD), self.counters.get(customer, {})
        return State(head, {name: counters.get(name, 0) for name in reads(head)})


class Draft:
    """What calls come to before anything is written: the books as they are, and new batches on top of them."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._heads: dict[str, Head] = {}
        self._counters: dict[tuple[str, CounterKey], int] = {}
        self.batches: list[Batch] = []
        self.erased: set[str] = set()

    def decided(self, call: Call) -> Outcome:
        """Return what one call comes to; what it raises is its own affair."""
        try:
            head = self._heads.get(call.customer, self._books.heads.get(call.customer, EMPTY_HEAD))
            state = State(head, self._amounts(call.customer, call.reads(head)), self._prior(call.customer, call.key))
            verdict = call.decide(state)
            if verdict.batch is not None:
                self._add(call, state, verdict.batch)
        except Exception as error:  # noqa: BLE001  (the outcome of this call)
            return Outcome(error=error)
        return Outcome(verdict.result)

    def all_batches(self) -> list[Batch]:
        """Return every batch there is to be, with nothing personal left where that was erased."""
        return [self._shown(batch) for batch in self._books.feed] + self.batches

    def _add(self, call: Call, state: State, batch: Batch) -> None:
        counters = self._amounts(call.customer, counted(batch.entries))
        head, touched = follow(call.customer, call.key, state, batch, counters)
        self._heads[call.customer] = head
        self._counters |= {(call.customer, name): amount for name, amount in touched.items()}
        self.batches.append(batch)
        if is_erasure(batch):
            self.erased.add(call.customer)
            self.batches = [self._shown(each) for each in self.batches]

    def _amounts(self, customer: str, names: Iterable[CounterKey]) -> dict[CounterKey, int]:
        known = self._books.counters.get(customer, {})
        return {name: self._counters.get((customer, name), known.get(name, 0)) for name in names}

    def _prior(self, customer: str, key: str) -> Batch | None:
        new = (batch for batch in self.batches if (batch.customer, batch.key) == (customer, key))
        prior = next(new, None) or self._books.by_key.get((customer, key))
        return prior and self._shown(prior)

    def _shown(self, batch: Batch) -> Batch:
        erased = batch.customer in self.erased
        return batch_of(recorded(batch)._replace(secrets=NO_SECRETS)) if erased else batch


def _opened(path: Path) -> BinaryIO:
    """Return a file for this process alone, made if there is none."""
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise StorageUnavailable(f"{path} is open elsewhere; one process at a time can use it") from error
    return file


def _batches_in(file: BinaryIO) -> list[Batch]:
    """Return every batch in a file; a last line that was never finished was never answered, and is cut off."""
    batches: list[Batch] = []
    end = file.seek(0)
    for line in file:
        if not line.endswith(b"\n"):
            file.truncate(end)
            break
        batches += [batch_of(_record_of(kept)) for kept in json.loads(line)]
        end += len(line)
    return batches


def _line_of(batches: Iterable[Batch]) -> bytes:
    """Return the line of one commit: its records, as lists."""
    return json.dumps([recorded(batch) for batch in batches]).encode() + b"\n"


def _record_of(kept: list[Any]) -> Record:
    values = dict(zip(Record._fields, kept, strict=True))
    values["lines"] = tuple(Line(*line) for line in values["lines"])
    values["secrets"] = {digest: Secret(*secret) for digest, secret in values["secrets"].items()}
    return Record(**values)
