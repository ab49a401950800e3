"""Telling: who listens for what happens at the desk."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from inspect import iscoroutinefunction
from time import perf_counter
from typing import Any, TypeAlias

import attrs

from .decisions import Decision
from .errors import StorageError, did_you_mean, shown
from .requests import text
from .steps import Steps

logger = logging.getLogger("entitlements")

EVENTS = ("decision", "denied", "consumed", "threshold", "catalog", "stale", "clock", "checked", "fault")

Listener: TypeAlias = Callable[[Any], None]
Caller: TypeAlias = Callable[[Callable[[], None]], None]


@attrs.frozen
class Checked:
    """A check that was answered, and how many seconds the answer took."""

    decision: Decision
    seconds: float


class Listeners:
    """Those who listen, by event; `any` says whether there are some at all.

    `caller` calls what is to be told where listeners expect it, by default at once.
    """

    def __init__(self) -> None:
        self.any = False
        self.caller: Caller = _at_once
        self._by_event: defaultdict[str, list[Listener]] = defaultdict(list)

    def add(self, event: str, listener: Listener) -> None:
        """Tell a listener of every such event from now on; raises ValueError for an unknown one, TypeError."""
        if text(event, "event") not in EVENTS:
            raise ValueError(f"{shown(event)} is no event{did_you_mean(event, EVENTS)}; known: {', '.join(EVENTS)}")
        if not callable(listener):
            raise TypeError(f"listener is of type {type(listener).__name__}; it is called with the event's value")
        if iscoroutinefunction(listener):
            raise TypeError("listener is a coroutine function; it is called, not awaited: start a task in it")
        self._by_event[event].append(listener)
        self.any = True

    def tell(self, event: str, value: object) -> None:
        """Call everyone who listens for an event; what a listener raises is logged, never passed on."""
        if listeners := tuple(self._by_event[event]):
            self.caller(lambda: _call(event, listeners, value))

    def tell_decision(self, decision: Decision, *, took: bool = False) -> None:
        """Tell of a decision, and of what it was; one that settles a hold may deny more, and take all there is."""
        self.tell("decision", decision)
        if not decision.allowed:
            self.tell("denied", decision)
        if took:
            self.tell("consumed", decision)

    def timed(self, check: Steps[Decision]) -> Steps[Decision]:
        """Return the steps of a check; they tell how long they took, if somebody listens for that."""
        return self._timed(check) if self._by_event["checked"] else check

    def tell_fault(self, fault: StorageError) -> None:
        """Tell of an error of the storage, whether or not anyone is to see it."""
        if self.any:
            self.tell("fault", fault)

    def tell_ahead(self, customer: str, ahead: timedelta) -> None:
        """Tell of a log that is ahead of the clock."""
        logger.warning("the log of a customer is %s ahead of the clock", ahead)
        self.tell("clock", {"customer": customer, "ahead": ahead})

    def _timed(self, check: Steps[Decision]) -> Steps[Decision]:
        begun = perf_counter()
        decision = yield from check
        self.tell("checked", Checked(decision, perf_counter() - begun))
        return decision


def _at_once(call: Callable[[], None]) -> None:
    call()


def _call(event: str, listeners: tuple[Listener, ...], value: object) -> None:
    for listener in listeners:
        try:
            listener(value)
        except Exception:
            logger.exception("a listener for %r failed", event)
