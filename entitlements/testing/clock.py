"""A clock that stands still until it is told to move."""

from __future__ import annotations

from datetime import datetime, timedelta

from ..requests import aware


class FrozenClock:
    """A clock for tests: `Entitlements(catalog, clock=FrozenClock(start))`.

    It shows `start` until `advance` or `set` moves it, forward or back. A naive instant is a TypeError.
    """

    def __init__(self, start: datetime) -> None:
        self._now = aware(start, "start")

    def __call__(self) -> datetime:
        """Return the instant the clock shows, in UTC."""
        return self._now

    def __repr__(self) -> str:
        return f"FrozenClock({self._now.isoformat()})"

    def advance(self, span: timedelta) -> datetime:
        """Move the clock by a span of time, back where it is negative, and return what it shows then."""
        if not isinstance(span, timedelta):
            raise TypeError(f"span is of type {type(span).__name__}; it is a timedelta, as in timedelta(days=1)")
        self._now += span
        return self._now

    def set(self, instant: datetime) -> datetime:
        """Move the clock to an instant, and return it."""
        self._now = aware(instant, "instant")
        return self._now
