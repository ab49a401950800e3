"""Steps: what a procedure asks the storage, one thing after another.

A procedure that needs the storage is a generator. It yields a step, and is sent the answer, or has
the error raised where it waits. `run` drives it with a storage that blocks, `aio.driving.drive` with
one that is awaited, so that both engines share every sequence to the letter:

    def is_known(customer: str) -> Steps[bool]:
        state = yield from steps.state(customer)
        return state.head.known
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, TypeAlias, TypeVar, cast

import attrs

from .errors import StorageError
from .ledger.entries import Batch, Entry, frozen_batch, frozen_entry
from .ledger.records import Kept
from .ledger.state import Head, State
from .storage.base import AsyncStorage, Call, Decide, FeedPage, Outcome, Reads, Storage, Written

R = TypeVar("R")
T = TypeVar("T")

Step: TypeAlias = "Ask | Heard | Log | Audit | Work"
Steps: TypeAlias = Generator[Step, Any, T]
Failed: TypeAlias = Callable[[StorageError], None]


def run(steps: Steps[T], storage: Storage, failed: Failed | None = None) -> T:
    """Drive steps to their end with a storage that blocks, and return what they come to.

    `failed` is told of every error of the storage, whatever the steps make of it.
    """
    try:
        step = next(steps)
        while True:
            try:
                answer = step.answer(storage)
            except BaseException as error:  # noqa: BLE001  (raised where the steps wait for the answer)
                if failed is not None and isinstance(error, StorageError):
                    failed(error)
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as end:
        return cast("T", end.value)
    finally:
        steps.close()


@attrs.frozen
class Ask:
    """A method of the storage to call; `within` seconds where a question must not wait longer."""

    method: str
    arguments: tuple[Any, ...] = ()
    named: dict[str, Any] = attrs.field(factory=dict)
    within: float | None = None

    def answer(self, storage: Storage) -> Any:
        """Call the method; a storage that may have to wait is told for how long."""
        if self.within is None or not getattr(storage, "waits", False):
            return getattr(storage, self.method)(*self.arguments, **self.named)
        return getattr(storage, self.method)(*self.arguments, **self.named, within=self.within)


@attrs.frozen
class Heard:
    """How often the storage was told of facts that others have committed."""

    def answer(self, storage: Storage | AsyncStorage) -> int | None:
        """Return what the storage says at once, None where it is never told."""
        heard: Callable[[], int | None] | None = getattr(storage, "heard", None)
        return None if heard is None else heard()


@attrs.frozen
class Log:
    """A customer's log, to be read batch by batch by `use`."""

    customer: str
    use: Callable[[Iterator[Batch]], Any]

    def answer(self, storage: Storage) -> Any:
        """Use the log while it is read, a page at a time."""
        return self.use(_batches(storage, self.customer))


@attrs.frozen
class Audit:
    """All that is kept of a customer, to be read by `use`."""

    customer: str
    use: Callable[[Kept], Any]

    def answer(self, storage: Storage) -> Any:
        """Use what is kept while it is read."""
        with storage.kept(self.customer) as kept:
            return self.use(kept)


@attrs.frozen
class Work:
    """A function that takes long and asks the storage nothing."""

    function: Callable[[], Any]

    def answer(self, storage: Storage) -> Any:  # noqa: ARG002
        """Call the function."""
        return self.function()


def transact(customer: str, key: str, reads: Reads, decide: Decide[R]) -> Steps[R]:
    """Decide under the storage's lock and append the batch."""
    result: R = yield Ask("transact", (customer, key, reads, decide))
    return result


def transact_all(calls: Sequence[Call]) -> Steps[list[Outcome]]:
    """Decide calls in their order and append their batches in one commit."""
    outcomes: list[Outcome] = yield Ask("transact_all", (calls,))
    return outcomes


def state(customer: str, reads: Reads | None = None, *, within: float | None = None) -> Steps[State]:
    """Read a customer's head, and the counters `reads` names, by default none."""
    found: State = yield Ask("state", (customer, reads or _none), within=within)
    return found


def batches(customer: str, *, after: int, limit: int) -> Steps[Sequence[Batch]]:
    """Read a page of batches."""
    page: Sequence[Batch] = yield Ask("batches", (customer,), {"after": after, "limit": limit})
    return page


def entries(customer: str, *, after: int, limit: int) -> Steps[Sequence[Entry]]:
    """Read a page of entries, frozen."""
    page: Sequence[Entry] = yield Ask("entries", (customer,), {"after": after, "limit": limit})
    return tuple(map(frozen_entry, page))


def batch(customer: str, key: str) -> Steps[Batch | None]:
    """Read the batch of a key."""
    found: Batch | None = yield Ask("batch", (customer, key))
    return found


def feed(*, after: str | None, limit: int) -> Steps[FeedPage]:
    """Read a page of all customers' batches, frozen."""
    page: FeedPage = yield Ask("feed", (), {"after": after, "limit": limit})
    return attrs.evolve(page, batches=tuple(map(frozen_batch, page.batches)))


def each(procedure: Callable[[str], Steps[T]]) -> Steps[list[T]]:
    """Follow a procedure for every customer with a log, in order, and return what each came to."""
    found: list[T] = []
    after: str | None = None
    while page := (yield Ask("customers", (), {"after": after})):
        for customer in page:
            found += [] if customer.startswith("$") else [(yield from procedure(customer))]
        after = page[-1]
    return found


def flaws() -> Steps[Sequence[str]]:
    """Ask what is wrong with the storage as a whole."""
    found: Sequence[str] = yield Ask("flaws")
    return found


def pulse(*, within: float | None = None) -> Steps[int]:
    """Read the number that changes with every commit."""
    number: int = yield Ask("pulse", within=within)
    return number


def heard() -> Steps[int | None]:
    """Ask how often the storage was told of facts, None where it would not be."""
    times: int | None = yield Heard()
    return times


def written(after: str | None, *, within: float | None = None) -> Steps[Written]:
    """Ask whose logs have grown."""
    news: Written = yield Ask("written", (), {"after": after}, within=within)
    return news


def log(customer: str, use: Callable[[Iterator[Batch]], T]) -> Steps[T]:
    """Return what `use` makes of a customer's log."""
    used: T = yield Log(customer, use)
    return used


def kept(customer: str, use: Callable[[Kept], T]) -> Steps[T]:
    """Return what `use` makes of all that is kept of a customer."""
    used: T = yield Audit(customer, use)
    return used


def work(function: Callable[[], T]) -> Steps[T]:
    """Return what a function returns that takes long and asks the storage nothing."""
    done: T = yield Work(function)
    return done


def _batches(storage: Storage, customer: str) -> Iterator[Batch]:
    read = 0
    while page := storage.batches(customer, after=read):
        yield from page
        read = page[-1].number


def _none(_: Head) -> tuple[()]:
    return ()
