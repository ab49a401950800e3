"""Decoded heads, remembered for as long as their rows say the same.

A head is read from its rows once and then kept in memory; it is the customer's as long as the row
in the database is the row it was decoded from, whichever process wrote it. The row names the last
batch by its hash, so what was known of the log at that row still stands, too.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from ..ledger.entries import CounterKey
from ..ledger.state import NO_COUNTERS, Head

MOST_PARTS: Final = 100_000
MOST_BESIDE: Final = 32
"""How many counters, and how many digests, are remembered of one customer: those of its last writes; beyond that,
none."""
Row: TypeAlias = tuple[Any, ...]
"""A row of `heads` as it was read: all that tells one head from the next."""


class Beside(NamedTuple):
    """What is known of a log beside its head: some counters, and the digests of some secrets that are kept."""

    counters: Mapping[CounterKey, int] = NO_COUNTERS
    sealed: Collection[str] = ()


NOTHING_BESIDE: Final = Beside()


class Heads:
    """Heads by customer, those put in longest ago forgotten first; any thread may use it.

    There is room for `most_parts`: blocks, holds and facts of all heads together. Only what is
    committed belongs here: a storage puts a head in after the commit, never before.
    """

    def __init__(self, most_parts: int = MOST_PARTS) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Row, Head, int, Beside]] = {}
        self._parts, self._most_parts = 0, most_parts

    def get(self, customer: str, row: Row) -> Head | None:
        """Return the head that was decoded from this very row, None where there is none."""
        known = self._known.get(customer)
        return known[1] if known is not None and known[0] == row else None

    def beside(self, customer: str, row: Row) -> Beside:
        """Return what is known beside this very row, nothing where it is another."""
        known = self._known.get(customer)
        return known[3] if known is not None and known[0] == row else NOTHING_BESIDE

    def latest(self, customer: str) -> tuple[Row, Head] | None:
        """Return the head that was put in last with its row, whether or not that row still stands."""
        known = self._known.get(customer)
        return None if known is None else known[:2]

    def put(self, customer: str, row: Row, head: Head, beside: Beside = NOTHING_BESIDE) -> None:
        """Remember a head, and what is beside it; one larger than all the room there is, is not."""
        if max(map(len, beside)) > MOST_BESIDE:
            beside = NOTHING_BESIDE
        parts = _parts(head) + len(beside.counters) + len(beside.sealed)
        with self._lock:
            self._drop(customer)
            if parts <= self._most_parts:
                self._known[customer] = (row, head, parts, beside)
                self._parts += parts
            while self._parts > self._most_parts:
                self._drop(next(iter(self._known)))

    def drop(self, customer: str) -> None:
        """Forget one customer."""
        with self._lock:
            self._drop(customer)

    def _drop(self, customer: str) -> None:
        known = self._known.pop(customer, None)
        self._parts -= 0 if known is None else known[2]


def _parts(head: Head) -> int:
    rows = len(head.blocks) + len(head.holds) + len(head.budgets.rows)
    return 8 + rows + len(head.facts.overrides) + len(head.facts.subscriptions)
