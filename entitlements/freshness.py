"""Freshness: how long an answer may be given from memory, and what has changed since it was learned."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from time import monotonic

from . import steps
from .cache import Cache
from .errors import StorageUnavailable
from .offering import Offering
from .steps import Steps
from .telling import Listeners

PULSE_EVERY = 0.05
LOOK_EVERY = 1.0
ASK_EVERY = 0.25
"""Seconds between two questions to a storage that is told of facts by itself: usage of others is that old at most."""
STEADY_FOR = timedelta(seconds=2 * PULSE_EVERY)
NEVER = float("-inf")

Clock = Callable[[], datetime]

system_clock: Clock = partial(datetime.now, UTC)
"""Returns the present instant in UTC."""


class Freshness:
    """Looks for a changed catalog and for the writes of others, and has forgotten what they change.

    Up to `until` (of the monotonic clock) nothing need be looked for; what is valid beyond `steady_until` is
    valid until then without asking the system's clock (`is_steady`); a clock of the caller's own is always asked.
    `lost` says that the storage has not been heard of for longer than an answer may be stale. `timeout` bounds
    each look, in seconds.
    """

    def __init__(
        self,
        offering: Offering,
        cache: Cache,
        listeners: Listeners,
        *,
        clock: Clock,
        max_stale: float,
        timeout: float,
    ) -> None:
        self._offering, self._cache, self._listeners = offering, cache, listeners
        self._max_stale, self._timeout = max_stale, timeout
        self._lock = threading.Lock()
        self._pulse: int | None = None
        self._told = ""
        self._heard_at = self._look_at = 0.0
        self._heard: int | None = None
        self._ask_at = NEVER
        self._closed = False
        self.until = NEVER
        self.lost = False
        self.is_steady = clock is system_clock
        self._minded_at = self.steady_until = datetime.min.replace(tzinfo=UTC)

    @property
    def has_begun(self) -> bool:
        """Whether it is known what news there may be news since."""
        return self._pulse is not None

    def begin(self) -> Steps[None]:
        """Find out where the storage stands now; nothing may be remembered before. Beginning again changes nothing."""
        pulse = yield from steps.pulse()
        news = yield from steps.written(None)
        if self._pulse is None:
            self._told, self._pulse = news.cursor, pulse
            self._heard_at = monotonic()
            self._look_at = self._heard_at + LOOK_EVERY

    def end(self) -> None:
        """Let nothing be answered from memory any more."""
        self._closed, self.until = True, NEVER

    def refresh(self) -> Steps[None]:
        """Look for a changed catalog file once a second, and for writes of other processes every 50 ms.

        A storage that is told of facts by itself is asked for the rest four times a second.
        """
        now = monotonic()
        if now < self.until or not self._lock.acquire(blocking=False):
            return
        try:
            if now >= self._look_at:
                self._look_at = now + LOOK_EVERY
                if (yield from self._offering.refresh(within=self._timeout)):
                    self.change()
            yield from self._listen(now)
            self.until = NEVER if self._closed else now if self.lost else now + PULSE_EVERY
            if self.is_steady:
                self._mind_the_clock(system_clock())
        finally:
            self._lock.release()

    def change(self) -> None:
        """Forget what was decided with another catalog, and tell of the one in use."""
        self._cache.forget_all()
        self._listeners.tell("catalog", self._offering.catalog)

    def _listen(self, now: float) -> Steps[None]:
        """Forget the customers whose logs have grown by others' writes; all, where that cannot be told in time."""
        try:
            heard = yield from steps.heard()
            if heard is not None and heard == self._heard and now < self._ask_at:
                return
            pulse = yield from steps.pulse(within=self._timeout)
            if pulse != self._pulse:
                left = max(0.0, now + self._timeout - monotonic())
                news = yield from steps.written(self._told, within=left)
                self._cache.forget_older(news.customers)
                self._told, self._pulse = news.cursor, pulse
        except StorageUnavailable:
            self.lost = now - self._heard_at > self._max_stale
            return
        self._heard_at, self.lost = now, False
        self._heard, self._ask_at = heard, now + min(ASK_EVERY, self._max_stale)

    def _mind_the_clock(self, at: datetime) -> None:
        """Forget what was decided in a future that the system's clock has taken back."""
        if at < self._minded_at:
            self._cache.forget_all()
        self._minded_at, self.steady_until = at, at + STEADY_FOR
