"""What an engine remembers between questions: states, entitlements and finished decisions.

Only answers are cached, never what a write decides on: that is always read under the lock.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

import attrs
from cachetools import LRUCache

from .decisions import Decision
from .ledger.state import Head
from .resolution import Entitlements


@attrs.define(eq=False, weakref_slot=False)
class Known:
    """What is known of one customer: the state at `head`, and the decisions made from it."""

    head: Head
    entitlements: Entitlements
    decisions: dict[str, Decision]


class Cache:
    """Known customers, the least recently learned forgotten first.

    `warm` is read without a lock on every check; `epoch` changes with every forgetting, so that what
    was read from the storage before it is not remembered after it.
    """

    def __init__(self, size: int) -> None:
        self.warm: dict[str, Known] = {}
        self.epoch = 0
        self._lock = threading.RLock()  # a signal's handler may forget in the middle of learning
        self._order: LRUCache[str, None] = _Order(max(1, size), self.warm)

    def learn(self, customer: str, head: Head, entitlements: Entitlements, decision: Decision, *, epoch: int) -> None:
        """Remember a state that was read while `epoch` was current, and a decision made from it; else nothing.

        What was decided from the very same state stays remembered beside it. A decision that is soon another, or
        on what the catalog does not have, is not kept.
        """
        with self._lock:
            if epoch != self.epoch:
                return
            known = self.warm.get(customer)
            if known is None or known.head.seq != head.seq or known.entitlements is not entitlements:
                known = Known(head, entitlements, {})
            if decision.outcome != "throttle" and decision.code != "unknown_feature":
                known.decisions[decision.feature] = decision
            self.warm[customer] = known
            self._order[customer] = None
            if epoch != self.epoch:
                self.warm.pop(customer, None)

    def forget(self, customer: str) -> None:
        """Drop one customer."""
        with self._lock:
            self.epoch += 1
            self.warm.pop(customer, None)

    def forget_older(self, seqs: Mapping[str, int] | None) -> None:
        """Drop the customers of which an older state is known than their newest seq; None drops everything."""
        if seqs is None:
            self.forget_all()
            return
        with self._lock:
            self.epoch += 1
            for customer, seq in seqs.items():
                known = self.warm.get(customer)
                if known is not None and known.head.seq < seq:
                    self.warm.pop(customer, None)

    def forget_all(self) -> None:
        """Drop everything."""
        with self._lock:
            self.epoch += 1
            self.warm.clear()


class _Order(LRUCache[str, None]):
    """The order in which customers were learned; what falls out is forgotten."""

    def __init__(self, size: int, warm: dict[str, Known]) -> None:
        super().__init__(size)
        self._warm = warm

    def popitem(self) -> tuple[str, None]:
        """Drop the oldest customer here and in the cache."""
        customer, nothing = super().popitem()
        self._warm.pop(customer, None)
        return customer, nothing
