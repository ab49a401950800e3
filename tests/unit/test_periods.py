"""Usage windows: exact expected values for each rule, computed by hand."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo, available_timezones

import pytest

from entitlements import periods
from entitlements.periods import EVERY, Window, add_period, calendar_anchor, window

MIN = datetime.min.replace(tzinfo=UTC)
MAX = datetime.max.replace(tzinfo=UTC)
TICK = timedelta(microseconds=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def local(text: str, zone: str, *, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)


def span(start: str, end: str) -> Window:
    return Window(utc(start), utc(end))


# --- the window itself


def test_a_window_is_half_open():
    day = span("2024-05-01", "2024-05-02")
    assert day.start in day
    assert day.end - TICK in day
    assert day.end not in day
    assert day.start - TICK not in day


def test_a_window_compares_instants_of_any_zone():
    day = span("2024-05-01", "2024-05-02")
    assert local("2024-05-01 02:00", "Europe/Berlin") in day
    assert local("2024-05-01 01:59", "Europe/Berlin") not in day


def test_a_window_refuses_a_naive_instant():
    with pytest.raises(TypeError, match="at is naive"):
        _ = datetime(2024, 5, 1) in span("2024-05-01", "2024-05-02")  # noqa: DTZ001


def test_a_window_is_a_frozen_value():
    day = span("2024-05-01", "2024-05-02")
    assert day == span("2024-05-01", "2024-05-02")
    assert len({day, span("2024-05-01", "2024-05-02")}) == 1
    with pytest.raises(AttributeError):
        day.start = MIN  # type: ignore[misc]


def test_every_names_the_periods_from_short_to_long():
    assert EVERY == ("hour", "day", "week", "month", "quarter", "year")


# --- each period, in UTC


@pytest.mark.parametrize(
    ("every", "count", "start", "end"),
    [
        ("hour", 1, "2024-05-17 09:15", "2024-05-17 10:15"),
        ("hour", 5, "2024-05-17 08:15", "2024-05-17 13:15"),
        ("day", 1, "2024-05-16 10:15", "2024-05-17 10:15"),
        ("day", 3, "2024-05-15 10:15", "2024-05-18 10:15"),
        ("week", 1, "2024-05-15 10:15", "2024-05-22 10:15"),
        ("week", 2, "2024-05-15 10:15", "2024-05-29 10:15"),
        ("month", 1, "2024-05-10 10:15", "2024-06-10 10:15"),
        ("month", 5, "2024-01-10 10:15", "2024-06-10 10:15"),
        ("quarter", 1, "2024-04-10 10:15", "2024-07-10 10:15"),
        ("quarter", 2, "2024-01-10 10:15", "2024-07-10 10:15"),
        ("year", 1, "2024-01-10 10:15", "2025-01-10 10:15"),
        ("year", 3, "2024-01-10 10:15", "2027-01-10 10:15"),
    ],
)
def test_each_period_counts_from_the_anchor(every, count, start, end):
    found = window(utc("2024-01-10 10:15"), every, utc("2024-05-17 10:00"), count=count)
    assert found == span(start, end)


@pytest.mark.parametrize(
    ("every", "count", "start", "end"),
    [
        ("hour", 5, "2023-11-02 06:15", "2023-11-02 11:15"),
        ("day", 1, "2023-11-02 10:15", "2023-11-03 10:15"),
        ("day", 3, "2023-11-02 10:15", "2023-11-05 10:15"),
        ("week", 2, "2023-11-01 10:15", "2023-11-15 10:15"),
        ("month", 1, "2023-10-10 10:15", "2023-11-10 10:15"),
        ("month", 5, "2023-08-10 10:15", "2024-01-10 10:15"),
        ("quarter", 1, "2023-10-10 10:15", "2024-01-10 10:15"),
        ("year", 3, "2021-01-10 10:15", "2024-01-10 10:15"),
    ],
)
def test_windows_go_on_before_the_anchor(every, count, start, end):
    found = window(utc("2024-01-10 10:15"), every, utc("2023-11-02 11:00"), count=count)
    assert found == span(start, end)


@pytest.mark.parametrize("zone", ["UTC", "Etc/UTC", "Europe/Berlin", "Asia/Kathmandu"])
@pytest.mark.parametrize("every", EVERY)
def test_an_edge_belongs_to_the_window_it_opens(every, zone):
    anchor = utc("2024-01-10 10:15:30.000001")
    assert window(anchor, every, anchor, zone=zone).start == anchor
    assert window(anchor, every, anchor - TICK, zone=zone).end == anchor


def test_microseconds_are_kept():
    anchor = utc("2024-01-31 10:15:30.123456")
    assert window(anchor, "month", utc("2024-02-29 10:15:30.123455")).start == anchor
    assert window(anchor, "month", utc("2024-02-29 10:15:30.123456")).start == utc("2024-02-29 10:15:30.123456")


@pytest.mark.parametrize("every", EVERY)
def test_results_are_plain_datetimes_in_utc(every):
    class Own(datetime):
        pass

    moment = Own(2024, 1, 10, 12, tzinfo=timezone(timedelta(hours=2)))
    found = window(moment, every, moment, zone="America/New_York")
    for instant in (found.start, found.end, add_period(moment, every), calendar_anchor(every, "Asia/Tokyo")):
        assert type(instant) is datetime
        assert instant.tzinfo is UTC
    assert found.start == utc("2024-01-10 10:00")


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Pacific/Apia"])
@pytest.mark.parametrize("count", [1, 7])
@pytest.mark.parametrize("every", EVERY)
def test_a_window_is_found_without_walking_to_it(monkeypatch, every, count, zone):
    asked = []
    edge = periods._edge
    monkeypatch.setattr(periods, "_edge", lambda *args: asked.append(args) or edge(*args))
    for at in (MIN, utc("0724-02-29"), utc("1900-03-01"), utc("2011-12-30 10:00"), utc("2024-10-27 01:10"), MAX):
        asked.clear()
        window(utc("2023-08-31 00:30"), every, at, count=count, zone=zone)
        assert 2 <= len(asked) <= 3


# --- month ends


def test_month_ends_clamp_from_the_anchor_and_do_not_drift():
    anchor, at, starts = utc("2023-01-31"), utc("2023-01-31"), []
    for _ in range(14):
        found = window(anchor, "month", at)
        starts.append(found.start.strftime("%y-%m-%d"))
        at = found.end
    assert starts == [
        *("23-01-31", "23-02-28", "23-03-31", "23-04-30", "23-05-31", "23-06-30", "23-07-31"),
        *("23-08-31", "23-09-30", "23-10-31", "23-11-30", "23-12-31", "24-01-31", "24-02-29"),
    ]


@pytest.mark.parametrize(
    ("anchor", "every", "at", "start", "end"),
    [
        ("2023-01-31", "month", "2023-02-27", "2023-01-31", "2023-02-28"),
        ("2023-01-31", "month", "2023-02-28", "2023-02-28", "2023-03-31"),
        ("2023-01-31", "month", "2023-03-30", "2023-02-28", "2023-03-31"),
        ("2024-01-30", "month", "2024-02-29", "2024-02-29", "2024-03-30"),
        ("2024-01-29", "month", "2025-02-28", "2025-02-28", "2025-03-29"),
        ("2024-03-31", "month", "2024-02-29", "2024-02-29", "2024-03-31"),
        ("2024-03-31", "month", "2023-02-27", "2023-01-31", "2023-02-28"),
        ("2023-11-30", "quarter", "2024-02-29", "2024-02-29", "2024-05-30"),
        ("2023-08-31", "quarter", "2023-12-01", "2023-11-30", "2024-02-29"),
        ("2024-02-29", "year", "2025-02-27", "2024-02-29", "2025-02-28"),
        ("2024-02-29", "year", "2025-02-28", "2025-02-28", "2026-02-28"),
        ("2024-02-29", "year", "2028-02-28", "2027-02-28", "2028-02-29"),
        ("2024-02-29", "year", "2100-03-01", "2100-02-28", "2101-02-28"),
        ("1996-02-29", "year", "2000-02-29", "2000-02-29", "2001-02-28"),
        ("2024-02-29", "year", "2023-02-28", "2023-02-28", "2024-02-29"),
    ],
)
def test_days_that_a_month_lacks_become_its_last(anchor, every, at, start, end):
    assert window(utc(anchor), every, utc(at)) == span(start, end)


def test_a_month_end_clamps_in_local_time():
    # Both anchors are 31 Jan 2023 in their own zone, and 30 Jan or 1 Feb in UTC.
    assert window(utc("2023-01-30 15:00"), "month", utc("2023-02-28"), zone="Asia/Tokyo") == span(
        "2023-02-27 15:00", "2023-03-30 15:00"
    )
    assert window(utc("2023-02-01 04:00"), "month", utc("2023-03-01 04:00"), zone="America/New_York") == span(
        "2023-03-01 04:00", "2023-04-01 03:00"
    )


# --- daylight saving


@pytest.mark.parametrize(
    ("every", "start", "end"),
    [
        ("day", "2024-07-09 08:00", "2024-07-10 08:00"),
        ("week", "2024-07-03 08:00", "2024-07-10 08:00"),
        ("month", "2024-06-10 08:00", "2024-07-10 08:00"),
        ("quarter", "2024-04-10 08:00", "2024-07-10 08:00"),
        ("year", "2024-01-10 09:00", "2025-01-10 09:00"),
        ("hour", "2024-07-10 07:00", "2024-07-10 08:00"),
    ],
)
def test_local_time_is_kept_through_daylight_saving(every, start, end):
    found = window(utc("2024-01-10 09:00"), every, utc("2024-07-10 07:30"), zone="Europe/Berlin")
    assert found == span(start, end)


@pytest.mark.parametrize(
    ("zone", "anchor", "at", "start", "end"),
    [
        # 02:30 is skipped on 31 March: the day begins at 03:00, not at 03:30.
        ("Europe/Berlin", "2024-03-30 02:30", "2024-03-31 01:00", "2024-03-31 01:00", "2024-04-01 00:30"),
        ("Europe/Berlin", "2024-03-30 02:30", "2024-03-31 00:59:59.999999", "2024-03-30 01:30", "2024-03-31 01:00"),
        ("Europe/Berlin", "2024-03-30 02:00", "2024-03-31 01:00", "2024-03-31 01:00", "2024-04-01 00:00"),
        (
            "Europe/Berlin",
            "2024-03-30 02:59:59.999999",
            "2024-03-31 01:00",
            "2024-03-31 01:00",
            "2024-04-01 00:59:59.999999",
        ),
        ("Europe/Berlin", "2024-03-30 03:00", "2024-03-31 01:00", "2024-03-31 01:00", "2024-04-01 01:00"),
        ("Europe/Berlin", "2024-03-30 01:59", "2024-03-31 01:00", "2024-03-31 00:59", "2024-03-31 23:59"),
        ("America/New_York", "2024-03-09 02:30", "2024-03-10 07:00", "2024-03-10 07:00", "2024-03-11 06:30"),
        ("America/New_York", "2024-03-09 02:30", "2024-03-10 06:59", "2024-03-09 07:30", "2024-03-10 07:00"),
        ("Australia/Lord_Howe", "2024-10-05 02:10", "2024-10-05 15:30", "2024-10-05 15:30", "2024-10-06 15:10"),
        ("Australia/Lord_Howe", "2024-10-05 02:10", "2024-10-05 15:29", "2024-10-04 15:40", "2024-10-05 15:30"),
    ],
)
def test_a_skipped_time_becomes_the_first_valid_instant(zone, anchor, at, start, end):
    assert window(local(anchor, zone), "day", utc(at), zone=zone) == span(start, end)


@pytest.mark.parametrize(
    ("every", "anchor", "start"),
    [("week", "2024-03-24 02:30", "2024-03-31 01:00"), ("month", "2024-01-31 02:30", "2024-03-31 01:00")],
)
def test_a_skipped_time_moves_that_edge_alone(every, anchor, start):
    found = window(local(anchor, "Europe/Berlin"), every, utc("2024-03-31 12:00"), zone="Europe/Berlin")
    assert found.start == utc(start)
    assert found.end.astimezone(ZoneInfo("Europe/Berlin")).strftime("%H:%M") == "02:30"


@pytest.mark.parametrize(
    ("zone", "anchor", "at", "start", "end"),
    [
        # 02:30 comes twice on 27 October: the day begins at the first, also once clocks show 02:10 again.
        ("Europe/Berlin", "2024-10-26 02:30", "2024-10-27 00:30", "2024-10-27 00:30", "2024-10-28 01:30"),
        ("Europe/Berlin", "2024-10-26 02:30", "2024-10-27 01:10", "2024-10-27 00:30", "2024-10-28 01:30"),
        ("Europe/Berlin", "2024-10-26 02:30", "2024-10-27 01:30", "2024-10-27 00:30", "2024-10-28 01:30"),
        ("Europe/Berlin", "2024-10-26 02:30", "2024-10-27 00:29", "2024-10-26 00:30", "2024-10-27 00:30"),
        ("America/New_York", "2024-11-02 01:30", "2024-11-03 06:05", "2024-11-03 05:30", "2024-11-04 06:30"),
        ("Australia/Lord_Howe", "2024-04-06 01:45", "2024-04-06 15:05", "2024-04-06 14:45", "2024-04-07 15:15"),
    ],
)
def test_a_repeated_time_is_taken_the_first_time(zone, anchor, at, start, end):
    assert window(local(anchor, zone), "day", utc(at), zone=zone) == span(start, end)


def test_an_anchor_at_the_second_of_two_counts_as_the_first():
    second = local("2024-10-27 02:30", "Europe/Berlin", fold=1)
    assert second.astimezone(UTC) == utc("2024-10-27 01:30")
    assert window(second, "day", second, zone="Europe/Berlin") == span("2024-10-27 00:30", "2024-10-28 01:30")


def test_hours_are_exact_through_daylight_saving():
    anchor = utc("2024-03-30 10:30")
    assert window(anchor, "hour", utc("2024-03-31 01:10"), zone="Europe/Berlin") == span(
        "2024-03-31 00:30", "2024-03-31 01:30"
    )
    assert window(anchor, "hour", utc("2024-03-31 01:10"), count=24, zone="Europe/Berlin") == span(
        "2024-03-30 10:30", "2024-03-31 10:30"
    )
    assert window(anchor, "hour", utc("2024-10-27 01:10"), zone="Australia/Lord_Howe") == span(
        "2024-10-27 00:30", "2024-10-27 01:30"
    )


def test_a_skipped_day_has_no_window():
    # Samoa went from 29 to 31 December 2011.
    midnight = calendar_anchor("day", "Pacific/Apia")
    eve = window(midnight, "day", utc("2011-12-30 09:59"), zone="Pacific/Apia")
    morrow = window(midnight, "day", utc("2011-12-30 10:00"), zone="Pacific/Apia")
    assert eve == span("2011-12-29 10:00", "2011-12-30 10:00")
    assert morrow == span("2011-12-30 10:00", "2011-12-31 10:00")


def test_a_skipped_noon_moves_to_the_next_valid_instant():
    noon = local("2011-12-28 12:00", "Pacific/Apia")
    found = [
        window(noon, "day", utc(at), zone="Pacific/Apia") for at in ("2011-12-29", "2011-12-30", "2011-12-30 10:00")
    ]
    assert found == [
        span("2011-12-28 22:00", "2011-12-29 22:00"),
        span("2011-12-29 22:00", "2011-12-30 10:00"),
        span("2011-12-30 10:00", "2011-12-30 22:00"),
    ]


def test_a_month_that_starts_on_a_skipped_day_starts_with_the_next():
    found = window(local("2011-11-30 08:00", "Pacific/Apia"), "month", utc("2011-12-31"), zone="Pacific/Apia")
    assert found == span("2011-12-30 10:00", "2012-01-29 18:00")


def test_a_repeated_day_is_one_window():
    # Kwajalein set its clocks back by 23 hours on 1 October 1969.
    noon = local("1969-09-29 12:00", "Pacific/Kwajalein")
    assert window(noon, "day", utc("1969-09-30 20:00"), zone="Pacific/Kwajalein") == span(
        "1969-09-30 01:00", "1969-10-02 00:00"
    )


# --- calendar windows


@pytest.mark.parametrize(
    ("every", "start", "end"),
    [
        ("hour", "2024-08-15 13:00", "2024-08-15 14:00"),
        ("day", "2024-08-15", "2024-08-16"),
        ("week", "2024-08-12", "2024-08-19"),
        ("month", "2024-08-01", "2024-09-01"),
        ("quarter", "2024-07-01", "2024-10-01"),
        ("year", "2024-01-01", "2025-01-01"),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York", "Asia/Kolkata"])
def test_calendar_windows_follow_the_calendar(every, start, end, zone):
    found = window(calendar_anchor(every, zone), every, local("2024-08-15 13:45", zone), zone=zone)
    assert found == Window(local(start, zone), local(end, zone))


def test_calendar_windows_reach_back_before_1970():
    assert window(calendar_anchor("quarter"), "quarter", utc("1969-08-15")) == span("1969-07-01", "1969-10-01")
    assert window(calendar_anchor("week"), "week", utc("1970-01-01")) == span("1969-12-29", "1970-01-05")


def test_a_calendar_day_without_midnight_starts_at_its_first_instant():
    found = window(
        calendar_anchor("day", "America/Sao_Paulo"), "day", utc("2018-11-04 12:00"), zone="America/Sao_Paulo"
    )
    assert found == span("2018-11-04 03:00", "2018-11-05 02:00")


@pytest.mark.parametrize("every", EVERY)
def test_calendar_anchors_are_local_midnight_in_every_zone(every):
    day = "1970-01-05" if every == "week" else "1970-01-01"
    zones = sorted(name for name in available_timezones() if name != "localtime")
    assert len(zones) > 400
    wrong = [
        name
        for name in zones
        if calendar_anchor(every, name).astimezone(ZoneInfo(name)).isoformat(" ")[:19] != f"{day} 00:00:00"
    ]
    assert wrong == []


def test_calendar_hours_are_exact_where_a_zone_has_moved_since():
    # Nepal moved its clocks by 15 minutes in 1986.
    anchor = calendar_anchor("hour", "Asia/Kathmandu")
    assert window(anchor, "hour", utc("2024-08-15 13:40"), zone="Asia/Kathmandu").start == utc("2024-08-15 13:30")


def test_calendar_anchor_is_utc_by_default():
    assert calendar_anchor("month") == utc("1970-01-01")
    assert calendar_anchor("week") == utc("1970-01-05")


# --- windows that open at first use


@pytest.mark.parametrize(
    ("start", "every", "count", "zone", "end"),
    [
        ("2024-01-31 12:00", "hour", 5, "UTC", "2024-01-31 17:00"),
        ("2024-01-31 12:00", "day", 1, "UTC", "2024-02-01 12:00"),
        ("2024-01-31 12:00", "week", 2, "UTC", "2024-02-14 12:00"),
        ("2024-01-31 12:00", "month", 1, "UTC", "2024-02-29 12:00"),
        ("2023-11-30 12:00", "quarter", 1, "UTC", "2024-02-29 12:00"),
        ("2024-02-29 12:00", "year", 1, "UTC", "2025-02-28 12:00"),
        ("2024-03-30 12:00", "day", 1, "Europe/Berlin", "2024-03-31 11:00"),
        ("2024-03-30 12:00", "hour", 24, "Europe/Berlin", "2024-03-31 12:00"),
        ("2024-03-30 01:30", "day", 1, "Europe/Berlin", "2024-03-31 01:00"),
        ("2024-10-27 01:30", "day", 1, "Europe/Berlin", "2024-10-28 01:30"),
        ("2011-12-29 22:00", "day", 1, "Pacific/Apia", "2011-12-30 10:00"),
    ],
)
def test_add_period_ends_a_window_that_opens_now(start, every, count, zone, end):
    assert add_period(utc(start), every, count=count, zone=zone) == utc(end)


# --- the ends of time


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Pacific/Kiritimati"])
@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize("anchor", [MIN, utc("2024-01-31 10:00"), MAX])
def test_windows_are_cut_at_the_ends_of_time(anchor, every, zone):
    first, last = window(anchor, every, MIN, zone=zone), window(anchor, every, MAX - TICK, zone=zone)
    assert first.start == MIN
    assert first.start < first.end
    assert last.start < last.end == MAX
    assert window(anchor, every, first.end, zone=zone).start == first.end
    assert window(anchor, every, last.start - TICK, zone=zone).end == last.start


def test_an_edge_beyond_the_ends_of_time_is_cut():
    assert window(utc("2024-06-01"), "year", utc("2024-01-01"), count=9000) == Window(MIN, utc("2024-06-01"))
    assert window(utc("2024-06-01"), "year", utc("2025-01-01"), count=9000) == Window(utc("2024-06-01"), MAX)
    assert window(utc("2024-06-01"), "day", utc("2025-01-01"), count=3_652_059) == Window(utc("2024-06-01"), MAX)
    assert window(utc("2024-06-01"), "hour", utc("2024-01-01"), count=87_649_416) == Window(MIN, utc("2024-06-01"))


@pytest.mark.parametrize(
    ("anchor", "zone", "at", "expected"),
    [
        (utc("2024-06-01 00:00"), "America/New_York", MIN, Window(MIN, utc("0001-01-02 00:56:02"))),
        (utc("2024-06-01 04:00"), "America/New_York", MIN, Window(MIN, utc("0001-01-02 04:56:02"))),
        (utc("2024-06-01 00:00"), "Asia/Tokyo", MAX, Window(utc("9999-12-31 00:00"), MAX)),
        (utc("2024-06-01 15:00"), "Asia/Tokyo", MAX, Window(utc("9999-12-30 15:00"), MAX)),
    ],
)
def test_local_time_is_cut_at_the_ends_of_time(anchor, zone, at, expected):
    assert window(anchor, "day", at, zone=zone) == expected


def test_an_anchor_whose_local_time_is_the_very_last_is_cut():
    anchor = datetime.max.replace(tzinfo=ZoneInfo("Asia/Tokyo"))
    assert window(anchor, "day", anchor, zone="Asia/Tokyo") == Window(anchor - timedelta(days=1), MAX)


def test_the_last_microsecond_lies_in_no_window_and_gets_the_last():
    found = window(utc("2024-01-01"), "day", MAX)
    assert found == window(utc("2024-01-01"), "day", MAX - TICK) == Window(utc("9999-12-31"), MAX)
    assert MAX not in found
    assert add_period(MAX, "month") == MAX


@pytest.mark.parametrize(("end", "hours"), [(MIN, 1), (MAX, -1)])
def test_an_instant_that_utc_cannot_express_is_refused(end, hours):
    beyond = end.replace(tzinfo=timezone(timedelta(hours=hours)))
    with pytest.raises(ValueError, match="at lies outside of the years 1 to 9999 in UTC"):
        window(MIN, "day", beyond)
    with pytest.raises(ValueError, match="anchor lies outside of the years 1 to 9999 in UTC"):
        window(beyond, "day", MIN)


# --- misuse


NOW = utc("2024-05-17 10:00")


def test_a_naive_instant_is_refused_by_name():
    naive = NOW.replace(tzinfo=None)
    with pytest.raises(
        TypeError, match=r"anchor is naive: 2024-05-17 10:00:00; give it a zone, .*tzinfo=datetime\.UTC"
    ):
        window(naive, "day", NOW)
    with pytest.raises(TypeError, match="at is naive"):
        window(NOW, "day", naive)
    with pytest.raises(TypeError, match="anchor is naive"):
        add_period(naive, "day")


@pytest.mark.parametrize("wrong", [None, "2024-05-17", 1715940000, NOW.date()])
def test_what_is_no_datetime_is_refused(wrong):
    with pytest.raises(TypeError, match=f"at must be an aware datetime, not {type(wrong).__name__}"):
        window(NOW, "day", wrong)


@pytest.mark.parametrize("count", [True, 1.0, "1", None])
def test_a_count_that_is_no_int_is_refused(count):
    with pytest.raises(TypeError, match=f"count must be an int, not {type(count).__name__}"):
        window(NOW, "day", NOW, count=count)
    with pytest.raises(TypeError, match="count must be an int"):
        add_period(NOW, "day", count=count)


@pytest.mark.parametrize("count", [0, -1, -(10**30)])
def test_a_count_below_one_is_refused(count):
    with pytest.raises(ValueError, match=f"count must be 1 or more, not {count}"):
        window(NOW, "day", NOW, count=count)


@pytest.mark.parametrize(
    ("every", "most"),
    [
        ("hour", 87_649_416),
        ("day", 3_652_059),
        ("week", 521_722),
        ("month", 119_988),
        ("quarter", 39_996),
        ("year", 9_999),
    ],
)
def test_a_count_that_time_cannot_hold_is_refused(every, most):
    assert NOW in window(NOW, every, NOW, count=most, zone="Europe/Berlin")
    for count in (most + 1, 10**30, 10**5000):
        with pytest.raises(ValueError, match=f"count must be at most {most} of '{every}'"):
            window(NOW, every, NOW, count=count)


@pytest.mark.parametrize(
    ("every", "meant"),
    [("monthly", "month"), ("days", "day"), ("Year", "year"), ("WEEK", "week"), ("quater", "quarter")],
)
def test_an_unknown_every_is_refused_with_the_one_meant(every, meant):
    expected = f"unknown every: '{every}'; did you mean '{meant}'\\? use one of hour, day, week, month, quarter, year"
    with pytest.raises(ValueError, match=expected):
        window(NOW, every, NOW)
    with pytest.raises(ValueError, match=expected):
        calendar_anchor(every)
    with pytest.raises(ValueError, match=expected):
        add_period(NOW, every)


@pytest.mark.parametrize("every", ["", "fortnight", None, 7, [], "x" * 10_000])
def test_an_every_like_no_other_is_refused_without_a_guess(every):
    with pytest.raises(ValueError, match=r"^unknown every: [^;]*; use one of") as caught:
        window(NOW, every, NOW)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("zone", "meant"),
    [
        ("Europe/Berlim", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("Lord Howe", "Australia/Lord_Howe"),
        ("utc", "UTC"),
    ],
)
@pytest.mark.parametrize("every", ["hour", "month"])
def test_an_unknown_zone_is_refused_with_the_one_meant(zone, meant, every):
    for _ in range(2):  # the second answer comes from the cache
        with pytest.raises(ValueError, match=f"unknown zone: '{zone}'; did you mean '{meant}'"):
            window(NOW, every, NOW, zone=zone)
        with pytest.raises(ValueError, match=f"did you mean '{meant}'"):
            calendar_anchor(every, zone)


@pytest.mark.parametrize(
    "zone", ["", "Europe", "../UTC", "/etc/localtime", "a\0b", "\ud800", "x" * 10_000, "right/UTC", "localtime"]
)
def test_what_is_no_iana_zone_is_refused(zone):
    with pytest.raises(ValueError, match=r"^unknown zone: .*use the name of an IANA zone") as caught:
        window(NOW, "day", NOW, zone=zone)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("zone", [None, 1, ["UTC"], UTC, ZoneInfo("UTC")])
def test_a_zone_that_is_no_string_is_refused(zone):
    with pytest.raises(TypeError, match="zone must be the name of an IANA zone, such as"):
        window(NOW, "day", NOW, zone=zone)


def test_a_machine_without_zones_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr(periods, "available_timezones", set)
    with pytest.raises(ValueError, match="no zones here: pip install tzdata"):
        window(NOW, "day", NOW, zone="Mars/Olympus_Mons")
