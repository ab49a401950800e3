"""The storage seam: what every storage does, and what none does.

A storage keeps logs. It never decides: the decision is handed in and run under the storage's own
lock, so that nothing comes between what a decision sees and what it writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import attrs

from ..ledger.entries import Batch, CounterKey, Entry, Verdict
from ..ledger.records import Kept
from ..ledger.state import Head, State

R = TypeVar("R")
MOST_BEHIND: Final = 100_000

Reads: TypeAlias = Callable[[Head], Sequence[CounterKey]]
Decide: TypeAlias = Callable[[State], Verdict[R]]


@attrs.frozen
class Call:
    """One decision asked of a storage: on whose log, under which key, and what is run under the lock."""

    customer: str
    key: str
    reads: Reads
    decide: Decide[Any]


@attrs.frozen
class Outcome:
    """What a call came to: its result, or the error that is its alone (then it wrote nothing)."""

    result: Any = None
    error: Exception | None = None

    def answer(self) -> Any:
        """Return the result; raises the error where there is one."""
        if self.error is not None:
            raise self.error
        return self.result


@attrs.frozen
class FeedPage:
    """Batches of all customers in the order they were committed, and the cursor that follows them.

    `lag` is how many batches are written behind the cursor, counted up to `MOST_BEHIND`.
    """

    batches: tuple[Batch, ...]
    cursor: str | None
    lag: int = 0


@attrs.frozen
class Written:
    """Whose logs have grown since a cursor, each with its newest seq (None: more than can be told), and the next."""

    customers: Mapping[str, int] | None
    cursor: str


class Storage(Protocol):
    """Keeps the log of every customer, with its head and counters beside it.

    A storage that may have to wait for an answer says so by a true attribute `waits`. A check then calls its
    `state`, `pulse` and `written` with `within`, the seconds it waits at most before it raises StorageUnavailable.

    A storage that is told when other processes commit facts may say so by a method `heard`, never awaited, which
    asks nobody: it returns a number that grows with every time it was told, None while it would not be. Who asks
    it need not ask `pulse` at once for what only changes facts; of usage alone `heard` says nothing.
    """

    def transact(self, customer: str, key: str, reads: Reads, decide: Decide[R]) -> R:
        """Show `decide` the customer's state and append the batch it returns, all or nothing.

        In this order: lock the customer; load the head and the batch of `key` (`State.prior`); ask
        `reads` for the counters needed; call `decide` once with all of it; write its batch, entries,
        head and counters; commit; return its result. No other transact on this customer runs in
        between. If `reads` or `decide` raises, nothing is written and the exception passes. Both
        may be called again from the start. Raises StorageUnavailable where the lock is not had in
        time, OutcomeUnknown where the commit failed, LogCorrupt where the batch does not follow.

        A batch with an entry of kind "erased" erases: once it is answered, no secret of this customer
        (`ledger.sealing`) is left anywhere in the storage, its own included, and nothing else changed.
        StorageUnavailable then says that it is booked, but bytes are left while somebody reads them.
        """
        ...

    def transact_all(self, calls: Sequence[Call]) -> list[Outcome]:
        """Decide all calls in their order, append what they come to in one commit, and return what each came to.

        A later call on the same customer sees what an earlier one appended. Customers are locked in
        sorted order. An exception out of a call's own `reads` or `decide`, or LogCorrupt for its
        batch, is the outcome of that call, which then wrote nothing, and touches no other; what is
        not an Exception, such as KeyboardInterrupt, passes, and nothing at all is written. All calls
        may be made again from the start. Raises StorageUnavailable (nothing was written) or
        OutcomeUnknown (with the key of the first call) for all of them.
        """
        ...

    def state(self, customer: str, reads: Reads) -> State:
        """Return the last committed head and the counters `reads` names, of one instant; takes no lock."""
        ...

    def entries(self, customer: str, *, after: int = 0, limit: int = 1000) -> Sequence[Entry]:
        """Return entries in order of seq, which counts from 1 without gaps."""
        ...

    def batches(self, customer: str, *, after: int = 0, limit: int = 1000) -> Sequence[Batch]:
        """Return whole batches in order of number, which counts from 1 without gaps."""
        ...

    def batch(self, customer: str, key: str) -> Batch | None:
        """Return the batch of a key, None where there is none; a batch never changes, save by an erasure."""
        ...

    def feed(self, *, after: str | None = None, limit: int = 1000) -> FeedPage:
        """Return the batches of all customers that follow a cursor, each exactly once."""
        ...

    def customers(self, *, after: str | None = None, limit: int = 1000) -> Sequence[str]:
        """Return customer ids in order, those after `after`."""
        ...

    def kept(self, customer: str) -> AbstractContextManager[Kept]:
        """Show all that is kept of a customer, as of one instant, for an audit.

        It is read as it is asked for.
        """
        ...

    def flaws(self) -> Sequence[str]:
        """Return what is wrong with the storage as a whole: logs without a head, rows of no log, broken files."""
        ...

    def pulse(self) -> int:
        """Return a number that changes with every commit, whoever made it, and with nothing else; cheap."""
        ...

    def written(self, *, after: str | None) -> Written:
        """Return whose logs have grown since a cursor; without one nobody's, and the cursor of the present."""
        ...

    def close(self) -> None:
        """Let go of everything; using the storage afterwards raises StorageUnavailable."""
        ...


class AsyncStorage(Protocol):
    """Keeps logs as `Storage` does, each method under the same promise, and is awaited.

    Any method may be cancelled. A `transact` that waits for its turn then has written nothing; once its
    commit is under way it sees it through, and is cancelled afterwards: the log tells, by the key. Every
    method has been let go of before the cancellation passes: no lock, transaction or connection stays.
    How long a method may take is the caller's to say, by `asyncio.timeout`. `heard`, if there is one, is no
    coroutine.
    """

    async def transact(self, customer: str, key: str, reads: Reads, decide: Decide[R]) -> R:
        """Show `decide` the customer's state and append the batch it returns, all or nothing."""
        ...

    async def transact_all(self, calls: Sequence[Call]) -> list[Outcome]:
        """Decide all calls in their order, append what they come to in one commit, and return what each came to."""
        ...

    async def state(self, customer: str, reads: Reads) -> State:
        """Return the last committed head and the counters `reads` names, of one instant; takes no lock."""
        ...

    async def entries(self, customer: str, *, after: int = 0, limit: int = 1000) -> Sequence[Entry]:
        """Return entries in order of seq, which counts from 1 without gaps."""
        ...

    async def batches(self, customer: str, *, after: int = 0, limit: int = 1000) -> Sequence[Batch]:
        """Return whole batches in order of number, which counts from 1 without gaps."""
        ...

    async def batch(self, customer: str, key: str) -> Batch | None:
        """Return the batch of a key, None where there is none; a batch never changes, save by an erasure."""
        ...

    async def feed(self, *, after: str | None = None, limit: int = 1000) -> FeedPage:
        """Return the batches of all customers that follow a cursor, each exactly once."""
        ...

    async def customers(self, *, after: str | None = None, limit: int = 1000) -> Sequence[str]:
        """Return customer ids in order, those after `after`."""
        ...

    def kept(self, customer: str) -> AbstractAsyncContextManager[Kept]:
        """Show all that is kept of a customer, as of one instant, for an audit.

        It is read already when it is shown, and read by another thread.
        """
        ...

    async def flaws(self) -> Sequence[str]:
        """Return what is wrong with the storage as a whole: logs without a head, rows of no log, broken files."""
        ...

    async def pulse(self) -> int:
        """Return a number that changes with every commit, whoever made it, and with nothing else; cheap."""
        ...

    async def written(self, *, after: str | None) -> Written:
        """Return whose logs have grown since a cursor; without one nobody's, and the cursor of the present."""
        ...

    async def close(self) -> None:
        """Let go of everything; using the storage afterwards raises StorageUnavailable."""
        ...
