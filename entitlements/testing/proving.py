"""What the contract of a storage is proved with: threads, comparisons, pages."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NoReturn, TypeVar

from ..ledger.entries import Batch
from ..storage.base import Storage

T = TypeVar("T")


class Background:
    """A function running in a thread of its own; `result` waits for it and raises what it raised."""

    def __init__(self, action: Callable[[], Any]) -> None:
        self._action = action
        self._result: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def result(self, within: float = 30) -> Any:
        """Return what the function returned."""
        self._thread.join(within)
        if self._thread.is_alive():
            raise AssertionError(f"a thread is not done after {within} s")
        if self._error is not None:
            raise self._error
        return self._result

    def _run(self) -> None:
        try:
            self._result = self._action()
        except BaseException as error:  # noqa: BLE001  (passed on by `result`)
            self._error = error


def together(threads: int, action: Callable[[int], T]) -> list[T]:
    """Return what `action` returns for each number, all started at the same moment in threads of their own.

    Threads take turns far more often than usual meanwhile, so that they get in each other's way.
    """
    barrier = threading.Barrier(threads)

    def started(number: int) -> T:
        barrier.wait(10)
        return action(number)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        running = [Background(partial(started, number)) for number in range(threads)]
        return [each.result() for each in running]
    finally:
        sys.setswitchinterval(interval)


def same(found: object, expected: object) -> None:
    """Raise AssertionError, with both values, unless they are equal; also under `python -O`."""
    if found != expected:
        raise AssertionError(f"found    {found!r}\nexpected {expected!r}")


def agree(what: str, found: object, expected: object) -> None:
    """Raise AssertionError that says what differs, with both values, unless they are equal."""
    if found != expected:
        raise AssertionError(f"{what}:\nfound    {found!r}\nexpected {expected!r}")


@contextmanager
def refused(kind: type[BaseException]) -> Iterator[None]:
    """Raise AssertionError unless the block raises exactly this kind of exception."""
    try:
        yield
    except BaseException as error:
        if type(error) is not kind:
            raise
        return
    raise AssertionError(f"{kind.__name__} was not raised")


def raising(error: BaseException) -> Callable[[Any], NoReturn]:
    """Return a `reads` or `decide` that raises."""

    def function(_: Any) -> NoReturn:
        raise error

    return function


def spelled(batch: Batch) -> list[str]:
    """Return what is stored as JSON in a batch, spelled out: True is not 1, and 2 not Decimal("2")."""
    return [repr(dict(values)) for values in (batch.request, batch.result, *(line.data for line in batch.entries))]


def identities(batches: Sequence[Batch]) -> list[tuple[str, int]]:
    """Return customer and number of each batch."""
    return [(batch.customer, batch.number) for batch in batches]


def pages_of(method: Callable[..., Sequence[T]], customer: str) -> Callable[[Any, int], Sequence[T]]:
    """Return one customer's pages as a function of where they start and how long they are."""
    return lambda after, limit: method(customer, after=after or 0, limit=limit)


def in_pages(pages: Callable[[Any, int], Sequence[T]], cursor: Callable[[T], Any], limit: int) -> list[T]:
    """Return everything a paged method gives, asking for `limit` at a time."""
    seen, after = list[T](), None
    while page := pages(after, limit):
        same((len(page) <= limit, cursor(page[-1]) == after), (True, False))
        seen, after = [*seen, *page], cursor(page[-1])
    return seen


def feed_in_pages(storage: Storage, limit: int) -> list[Batch]:
    """Return the whole feed, asking for `limit` batches at a time."""
    seen, page = list[Batch](), storage.feed(limit=limit)
    while page.batches:
        seen, later = [*seen, *page.batches], storage.feed(after=page.cursor, limit=limit)
        same((len(page.batches) <= limit, later.batches == page.batches), (True, False))
        page = later
    return seen
