"""Usage windows, as pure functions of the original anchor, the period, the zone and the instant.

Edge `k` is always computed from the anchor, `k * count` periods away, never from the edge before it, so a month
end clamps without drifting: 31 Jan, 28 Feb, 31 Mar. Windows are half-open and tile time; none has zero length.

"hour" is exact elapsed time. Longer periods follow the wall clock of an IANA zone: every edge has the anchor's
local time. Where clocks skip that time the edge is the first valid instant after it, and where clocks show it
twice the edge is the first of the two (also when the anchor itself was the second).

Datetimes end at the years 1 and 9999, so windows do too: an edge that lies beyond, in UTC or in local time, is cut
to `datetime.min` or `datetime.max` in UTC. Nothing here raises `OverflowError`.

No clock is read. The only thing read is the time zone data, through `zoneinfo`, once for each zone.
"""

from datetime import UTC, datetime, timedelta, tzinfo
from difflib import get_close_matches
from functools import lru_cache
from typing import Final, Literal, TypeAlias, get_args
from zoneinfo import ZoneInfo, available_timezones

import attrs

Every: TypeAlias = Literal["hour", "day", "week", "month", "quarter", "year"]
EVERY: Final[tuple[str, ...]] = get_args(Every)

_DAY: Final = 86_400
_SECONDS: Final = {"hour": 3_600, "day": _DAY, "week": 7 * _DAY}
_UNITS: Final = ((_DAY, "d"), (3_600, "h"), (60, "m"), (1, "s"))
_MONTHS: Final = {"month": 1, "quarter": 3, "year": 12}

_MIN: Final = datetime.min.replace(tzinfo=UTC)
_MAX: Final = datetime.max.replace(tzinfo=UTC)
_TICK: Final = datetime.resolution
_LAST: Final = _MAX - _TICK
_ZERO: Final = timedelta()
_MOST: Final = {
    **{every: _MAX.toordinal() * _DAY // seconds for every, seconds in _SECONDS.items()},
    **{every: _MAX.year * 12 // months for every, months in _MONTHS.items()},
}

_DAYS_IN_MONTH: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

# Loadable on many machines, yet not IANA zones: the first two differ between hosts, the others count leap seconds
# or are copies.
_NOT_ZONES: Final = ("localtime", "posixrules", "posix/", "right/")
_SHOWN: Final = 64


@attrs.frozen
class Window:
    """A half-open span of time, `start` included and `end` excluded, both in UTC."""

    start: datetime
    end: datetime

    def __contains__(self, at: datetime) -> bool:
        """Tell whether `at`, an aware datetime, lies in the window; a naive one is a `TypeError`."""
        return self.start <= _utc(at, "at") < self.end


def window(anchor: datetime, every: Every, at: datetime, *, count: int = 1, zone: str = "UTC") -> Window:
    """Return the window of `count` periods that contains `at`, counted from `anchor` in both directions.

    Args:
        anchor: The instant that fixes the wall time, weekday and day of month of every edge.
        every: The period: "hour", "day", "week", "month", "quarter" or "year".
        at: The instant asked about; it may lie before `anchor`.
        count: How many periods make one window.
        zone: The IANA zone whose wall clock "day" and longer periods follow; "hour" does not depend on it.

    Returns:
        A window with `start <= at < end`, in UTC. Only `datetime.max` in UTC lies in no window; it gets the last one.

    Raises:
        TypeError: `anchor` or `at` is not an aware datetime, `count` not an int, or `zone` not a string.
        ValueError: `every` or `zone` is unknown, `count` is below 1 or longer than the years 1 to 9999 hold, or
            an instant lies outside of these years in UTC.
    """
    origin, instant = _utc(anchor, "anchor"), min(_utc(at, "at"), _LAST)
    _check(every, count)
    clock = _clock(zone)
    if every == "hour":
        clock = UTC
    origin = _wall(origin, clock)
    k = _estimate(origin, every, count, _wall(instant, clock))
    start, end = _edge(origin, every, k * count, clock), _edge(origin, every, (k + 1) * count, clock)
    while start > instant:  # the estimate was one too many
        k -= 1
        start, end = _edge(origin, every, k * count, clock), start
    while end <= instant:  # or the clock was set back, having shown the next edge's time before
        k += 1
        start, end = end, _edge(origin, every, (k + 1) * count, clock)
    return Window(start, end)


def calendar_anchor(every: Every, zone: str = "UTC") -> datetime:
    """Return the anchor that aligns windows with the calendar of `zone`.

    It is 1970-01-01 00:00 local time, and for "week" Monday 1970-01-05: days begin at local midnight, weeks on
    Monday, quarters in January, April, July and October. Hours are exact elapsed hours from there, so they begin
    off the local hour while `zone` is shifted by a part of an hour from where it stood in 1970.

    Args:
        every: The period to align.
        zone: The IANA zone whose calendar counts.

    Returns:
        An instant in UTC, to be used as the anchor of `window` with the same `every` and `zone`.

    Raises:
        TypeError: `zone` is not a string.
        ValueError: `every` or `zone` is unknown.
    """
    _check(every, 1)
    return _instant(datetime(1970, 1, 5 if every == "week" else 1, tzinfo=UTC), _clock(zone))


def add_period(start: datetime, every: Every, *, count: int = 1, zone: str = "UTC") -> datetime:
    """Return the end of a window that opens at `start`, as windows do that open at first use.

    It is later than `start`, in UTC, and at most `datetime.max` (the one instant that has no later one).

    Args:
        start: The instant at which the window opens.
        every: The period.
        count: How many periods make the window.
        zone: The IANA zone whose wall clock "day" and longer periods follow.

    Raises:
        TypeError: As `window` does.
        ValueError: As `window` does.
    """
    return window(start, every, start, count=count, zone=zone).end


def _utc(instant: datetime, name: str) -> datetime:
    """Return `instant` in UTC as a plain datetime, or refuse it under its argument's `name`."""
    if type(instant) is datetime and instant.tzinfo is UTC:
        return instant
    if not isinstance(instant, datetime):
        raise TypeError(f"{name} must be an aware datetime, not {type(instant).__name__}")
    if instant.utcoffset() is None:
        raise TypeError(f"{name} is naive: {instant}; give it a zone, for example {name}.replace(tzinfo=datetime.UTC)")
    try:
        moved = instant.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{name} lies outside of the years 1 to 9999 in UTC: {instant}; use one within") from None
    return datetime.combine(moved.date(), moved.time(), UTC)


def _check(every: str, count: int) -> None:
    """Refuse an unknown `every` and a `count` that no window can have."""
    if every not in EVERY:
        hint = f"{_meant(str(every), EVERY)}use one of {', '.join(EVERY)}"
        raise ValueError(f"unknown every: {every!r:.{_SHOWN}}; {hint}")
    if not isinstance(count, int) or isinstance(count, bool):
        raise TypeError(f"count must be an int, not {type(count).__name__}: it is how many periods make a window")
    if count < 1:
        raise ValueError(f"count must be 1 or more, not {count}: it is how many periods make a window")
    if count > _MOST[every]:
        raise ValueError(f"count must be at most {_MOST[every]} of {every!r}: more do not fit in the years 1 to 9999")


def _clock(zone: str) -> tzinfo:
    """Return the rules of `zone`, with `datetime.UTC` itself for UTC, the case without gaps and overlaps."""
    if zone == "UTC":
        return UTC
    if not isinstance(zone, str):
        raise TypeError(f'zone must be the name of an IANA zone, such as "Europe/Berlin", not {type(zone).__name__}')
    found = _load(zone)
    if isinstance(found, str):
        raise ValueError(found)  # noqa: TRY004 - the argument's type is right, its value is unknown
    return found


@lru_cache(maxsize=1024)
def _load(zone: str) -> tzinfo | str:
    """Return the rules of `zone`, or what to say if there is none, since finding that out takes milliseconds."""
    if zone.startswith(_NOT_ZONES):
        return _unknown(zone)
    try:
        return UTC if zone == "Etc/UTC" else ZoneInfo(zone)
    except (LookupError, ValueError, OSError):
        return _unknown(zone)


def _unknown(zone: str) -> str:
    """Return what to say of a `zone` that does not exist."""
    known = tuple(sorted(available_timezones()))
    hint = f"{_meant(zone, known)}use the name of an IANA zone" if known else "no zones here: pip install tzdata"
    return f"unknown zone: {zone[:_SHOWN]!r}; {hint}"


def _meant(word: str, known: tuple[str, ...]) -> str:
    """Return a did-you-mean for `word`, or nothing; of a zone the city alone is enough."""
    names = {name.rpartition("/")[2].lower(): name for name in known} | {name.lower(): name for name in known}
    close = get_close_matches(word[:_SHOWN].lower(), names, n=1)
    return f"did you mean {names[close[0]]!r}? " if close else ""


# A wall time is kept as a datetime in UTC: in the zone UTC it is the instant itself.


def _wall(instant: datetime, clock: tzinfo) -> datetime:
    """Return what `clock` shows at `instant`."""
    if clock is UTC:
        return instant
    try:
        return instant + (instant.astimezone(clock).utcoffset() or _ZERO)
    except OverflowError:
        return _cut(instant)


def _instant(wall: datetime, clock: tzinfo) -> datetime:
    """Return the first instant at which `clock` shows `wall` or, having skipped it, something later."""
    if clock is UTC or wall in (_MIN, _MAX):
        return wall
    try:
        # Without `fold` the offset is the one before a change: the first of two instants, and too late in a gap.
        instant = wall - (clock.utcoffset(wall) or _ZERO)
    except OverflowError:
        return _cut(wall)
    late = _wall(instant, clock) - wall
    return _gap_end(instant - late, instant, wall, clock) if late else instant


def _gap_end(before: datetime, after: datetime, wall: datetime, clock: tzinfo) -> datetime:
    """Return the instant at which `clock` jumps over `wall`, known to lie after `before` and not after `after`."""
    while after - before > _TICK:
        middle = before + (after - before) // 2
        if _wall(middle, clock) < wall:
            before = middle
        else:
            after = middle
    return after


def _cut(moment: datetime) -> datetime:
    """Return the end of datetime's range that `moment` is next to."""
    return _MIN if moment.year == _MIN.year else _MAX


def _edge(origin: datetime, every: str, periods: int, clock: tzinfo) -> datetime:
    """Return the instant `periods` after the wall time `origin`, or before it."""
    return _instant(_later(origin, every, periods), clock)


def _later(origin: datetime, every: str, periods: int) -> datetime:
    """Return the wall time `periods` after `origin`, cut to the years that datetime has."""
    if every in _SECONDS:
        try:
            return origin + timedelta(0, periods * _SECONDS[every])
        except OverflowError:
            return _MIN if periods < 0 else _MAX
    year, month = divmod(12 * origin.year + origin.month - 1 + periods * _MONTHS[every], 12)
    if not _MIN.year <= year <= _MAX.year:
        return _MIN if periods < 0 else _MAX
    day = min(origin.day, _days_in_month(year, month))
    return datetime(year, month + 1, day, origin.hour, origin.minute, origin.second, origin.microsecond, UTC)


def _days_in_month(year: int, month: int) -> int:
    """Return the length of a month, counted from 0 for January."""
    leap = month == 1 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return _DAYS_IN_MONTH[month] + leap


def _estimate(origin: datetime, every: str, count: int, wall: datetime) -> int:
    """Return the number of the window that contains `wall`, or one of its neighbours."""
    if every in _SECONDS:
        passed = wall - origin
        return (passed.days * _DAY + passed.seconds) // (count * _SECONDS[every])
    months = 12 * (wall.year - origin.year) + wall.month - origin.month - (wall.day < origin.day)
    return months // (count * _MONTHS[every])


def duration_text(span: timedelta) -> str:
    """Return a span of whole seconds as a catalog says it, 7d or 90m: in days, or in the largest exact unit below."""
    seconds = span.days * 86_400 + span.seconds
    size, unit = next((size, unit) for size, unit in _UNITS if seconds % size == 0)
    return f"{seconds // size}{unit}"
