"""Usage windows tile time, and their edges are where an independent library puts them."""

from datetime import UTC, datetime, timedelta
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st
from whenever import Instant, PlainDateTime, RepeatedTime, SkippedTime

from entitlements.periods import EVERY, Window, add_period, calendar_anchor, window

ZONES = (
    "UTC",
    "Europe/Berlin",
    "Europe/London",
    "Europe/Dublin",  # winter is its "daylight saving"
    "America/New_York",
    "America/St_Johns",  # changed at 00:01
    "America/Sao_Paulo",  # skipped midnight
    "America/Havana",
    "Africa/Casablanca",  # goes back for Ramadan
    "Africa/Monrovia",  # an offset with seconds
    "Asia/Kathmandu",
    "Asia/Tehran",
    "Asia/Gaza",
    "Australia/Lord_Howe",  # half an hour
    "Antarctica/Troll",  # two hours
    "Pacific/Apia",  # skipped 30 December 2011
    "Pacific/Kwajalein",  # skipped 21 August 1993
)
UNITS = {
    "day": {"days": 1},
    "week": {"days": 7},
    "month": {"months": 1},
    "quarter": {"months": 3},
    "year": {"months": 12},
}
HOURS = {"hour": 1, "day": 24, "week": 168, "month": 730, "quarter": 2191, "year": 8766}
TICK = timedelta(microseconds=1)
MIN = datetime.min.replace(tzinfo=UTC)
MAX = datetime.max.replace(tzinfo=UTC)


# --- the oracle: `whenever` alone


def standard(instant: Instant) -> datetime:
    return instant.to_stdlib().astimezone(UTC)


def shown(instant: datetime, zone: str) -> PlainDateTime:
    return Instant(instant).to_tz(zone).to_plain()


def resolve(wall: PlainDateTime, zone: str) -> datetime:
    """The first valid instant for a wall time; the gap is left by its end, not shifted by its length."""
    try:
        moment = wall.assume_tz(zone, disambiguation="raise")
    except RepeatedTime:
        moment = wall.assume_tz(zone, disambiguation="earlier")
    except SkippedTime:
        moment = wall.assume_tz(zone, disambiguation="earlier")
        while moment.to_plain() < wall:
            moment = moment.next_transition()
    return standard(moment.to_instant())


def later(wall: PlainDateTime, every: str, periods: int) -> PlainDateTime:
    return wall.add(**{unit: length * periods for unit, length in UNITS[every].items()})


def edge(anchor: datetime, every: str, periods: int, zone: str) -> datetime:
    if every == "hour":
        return anchor + timedelta(hours=periods)
    return resolve(later(shown(anchor, zone), every, periods), zone)


def expected(anchor: datetime, every: str, at: datetime, count: int, zone: str) -> Window:
    near = (at - anchor) // timedelta(hours=count * HOURS[every])
    edges = [edge(anchor, every, k * count, zone) for k in range(near - 3, near + 5)]
    return Window(max(e for e in edges if e <= at), min(e for e in edges if e > at))


# --- the cases


@cache
def changes(zone: str) -> tuple[datetime, ...]:
    """When the clocks of `zone` were or will be set, from 1970 to 2100."""
    found, moment = [], Instant.from_utc(1970, 1, 10).to_tz(zone)
    while (change := moment.next_transition()) is not None and change.year < 2100:
        if change.offset != moment.offset:
            found.append(standard(change.to_instant()))
        moment = change
    return tuple(found) or (datetime(2024, 3, 31, 1, tzinfo=UTC),)


ANYWHERE = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
MONTH_ENDS = st.builds(
    lambda year, month, hours: datetime(year, month, 1, tzinfo=UTC) + timedelta(hours=hours),
    st.sampled_from((2000, 2023, 2024)),
    st.just(3) | st.integers(1, 12),
    st.integers(-60, 30),
)
MINUTES = st.integers(-90, 90) | st.sampled_from((-1440, -720, 0, 1440))
Case = tuple[datetime, str, datetime, int, str]


@st.composite
def changing(draw: st.DrawFn) -> Case:
    """An anchor of which one edge falls about where a clock is set, and an instant close to it."""
    zone, every = draw(st.sampled_from(ZONES)), draw(st.sampled_from(EVERY[1:]))
    count, steps = draw(st.integers(1, 14)), draw(st.integers(-9, 9))
    change = draw(st.sampled_from(changes(zone)))
    wall = PlainDateTime(shown(change, zone).to_stdlib() + timedelta(minutes=draw(MINUTES)))
    anchor = resolve(later(wall, every, -steps * count), zone)
    return anchor, every, change + timedelta(minutes=draw(MINUTES), microseconds=draw(st.integers(-1, 1))), count, zone


PLAIN = st.tuples(
    ANYWHERE | MONTH_ENDS,
    st.sampled_from(EVERY),
    ANYWHERE | MONTH_ENDS,
    st.just(1) | st.integers(1, 14),
    st.sampled_from(ZONES),
)
CASES = PLAIN | changing()


# --- the laws


@settings(max_examples=700, deadline=None)
@given(CASES, st.integers(1, 10**6))
def test_windows_tile_time(case, part):
    anchor, every, at, count, zone = case
    found = window(anchor, every, at, count=count, zone=zone)
    assert found.start <= at < found.end
    assert at in found
    assert window(anchor, every, found.end, count=count, zone=zone).start == found.end
    assert window(anchor, every, found.start - TICK, count=count, zone=zone).end == found.start
    inside = found.end - TICK - (found.end - TICK - found.start) // part
    for same in (found.start, inside, found.end - TICK):
        assert window(anchor, every, same, count=count, zone=zone) == found


@settings(max_examples=1000, deadline=None)
@given(CASES)
def test_edges_agree_with_whenever(case):
    anchor, every, at, count, zone = case
    assert window(anchor, every, at, count=count, zone=zone) == expected(anchor, every, at, count, zone)


@settings(max_examples=300, deadline=None)
@given(CASES)
def test_the_anchor_opens_a_window_unless_its_local_time_had_come_before(case):
    anchor, every, _, count, zone = case
    start = window(anchor, every, anchor, count=count, zone=zone).start
    assert start == edge(anchor, every, 0, zone)
    assert start == anchor or (start < anchor and shown(start, zone) == shown(anchor, zone) and every != "hour")


@settings(max_examples=300, deadline=None)
@given(CASES)
def test_add_period_is_the_edge_after_the_start(case):
    _, every, start, count, zone = case
    end = add_period(start, every, count=count, zone=zone)
    assert end == edge(start, every, count, zone)
    assert end > start


@settings(max_examples=300, deadline=None)
@given(CASES)
def test_calendar_windows_start_where_the_calendar_says(case):
    _, every, at, _, zone = case
    day = shown(at, zone).replace(hour=0, minute=0, second=0, nanosecond=0)
    if every == "week":
        day = day.add(days=1 - day.date().day_of_week().value)
    if months := UNITS.get(every, {}).get("months"):
        day = day.replace(month=(day.month - 1) // months * months + 1, day=1)
    first = resolve(shown(at, zone), zone)  # when the clocks showed this time first
    found = window(calendar_anchor(every, zone), every, first, zone=zone)
    if every == "hour":
        assert (found.start - calendar_anchor("day", zone)) % timedelta(hours=1) == timedelta()
    else:
        assert found.start == resolve(day, zone)


SOON = st.sampled_from((timedelta(), TICK)) | st.timedeltas(timedelta(), timedelta(3))
ALWAYS = st.datetimes(timezones=st.just(UTC)) | st.builds(MIN.__add__, SOON) | st.builds(MAX.__sub__, SOON)


@settings(max_examples=700, deadline=None)
@given(ALWAYS, st.sampled_from(EVERY), ALWAYS, st.integers(1, 14) | st.integers(1, 9999), st.sampled_from(ZONES))
def test_windows_tile_all_of_time_to_its_ends(anchor, every, at, count, zone):
    found = window(anchor, every, at, count=count, zone=zone)
    assert MIN <= found.start < found.end <= MAX
    assert at in found or at == MAX
    assert found.start == MIN or window(anchor, every, found.start - TICK, count=count, zone=zone).end == found.start
    assert found.end == MAX or window(anchor, every, found.end, count=count, zone=zone).start == found.end
