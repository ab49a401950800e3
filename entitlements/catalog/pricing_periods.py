"""When a usage limit of a Pricing2Yaml file renews: its `type`, its `period`, and the period its `unit` names.

`call/month`, `GB per 2 weeks`, `run/hour/user` and `email/day (max)` name one, in any part behind the
first; what other parts stand there are scopes. A word for a time is never one, even where it is no period.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, TypeAlias

import attrs

from ..errors import shown
from .checking_values import MOST_PERIODS
from .findings import unknown
from .pricing_reading import Part

Reset: TypeAlias = str | dict[str, str | int]
Time: TypeAlias = tuple[str, int]

LIMIT_TYPES: Final = ("RENEWABLE", "NON_RENEWABLE", "TIME_DRIVEN", "RESPONSE_DRIVEN")
_HOUR: Final = 3600
_LONGEST_UNIT: Final = 200
_BETWEEN: Final = re.compile(r"(?:/|(?:^|\s)per\s)(?![^()]*\))", re.IGNORECASE)
_REMARK: Final = re.compile(r"\s*\([^()]*\)")
_STRAY: Final = re.compile(r"[\s_-]+|(?<![0-9])\.|\.(?![0-9])|[,;:!*]")
_TIMED: Final = re.compile(r"(?:each|every|calendar|rolling)?([0-9.]{1,12})?([a-z]+)")


def _by_name(meant: Mapping[Time, str]) -> dict[str, Time]:
    return {name: time for time, names in meant.items() for name in names.split()}


_TIMES: Final = _by_name(
    {
        ("millisecond", 1): "ms millisecond milliseconds",
        ("second", 1): "s sec secs second seconds",
        ("second", 60): "min mins minute minutes",
        ("hour", 1): "h hr hrs hour hours hourly",
        ("day", 1): "d day days daily",
        ("week", 1): "w wk wks week weeks weekly",
        ("week", 2): "fortnight fortnights fortnightly",
        ("month", 1): "mo mos mon mth mths month months monthly",
        ("quarter", 1): "q qtr qtrs quarter quarters quarterly trimester trimesters",
        ("month", 6): "semester semesters halfyear halfyears halfyearly semiannual semiannually",
        ("year", 1): "y yr yrs year years yearly annum annual annually pa",
        ("year", 10): "decade decades",
        ("year", 100): "century centuries",
    }
)
_OTHER_TIMES: Final = frozenset(
    {
        "biannual", "biannually", "bimonthly", "biweekly", "billingcycle", "billingperiod", "businessday",
        "businessdays", "cycle", "cycles", "lifetime", "lifetimes", "night", "nights", "period", "periods", "season",
        "seasons", "term", "terms", "weekday", "weekdays", "weekend", "weekends", "workday", "workdays", "workingday",
        "workingdays",
    }
)  # fmt: skip
"""Words for times whose length nobody can tell, or that have none."""


@attrs.frozen
class _Spoken:
    """What a unit says: what is counted, for each of what, and in which times, None being none of ours."""

    counted: str
    scope: str = ""
    times: tuple[tuple[str, Time | None], ...] = ()

    @property
    def meant(self) -> tuple[str, Time | None]:
        """The word and the time that count: the last that is one of ours, else the last."""
        known = [named for named in self.times if named[1] is not None]
        return (known or self.times or [("", None)])[-1]


def renewal(part: Part) -> tuple[str, Reset | None]:
    """Return what a numeric usage limit counts, and when it starts again: None where that is no period of ours."""
    unit = part.text("unit")
    kind = _limit_type(part)
    spoken = _spoken(unit)
    if spoken.scope:
        counted, scope = shown(spoken.counted), shown(spoken.scope)
        part.note("unit", f"{counted} counts for each {scope}; here it counts for the whole customer")
    written = _period(part)
    if kind == "NON_RENEWABLE":
        if written is not None or spoken.times:
            part.note("type", "NON_RENEWABLE stands beside a period; the type counts, it never renews here")
        return unit, "none"
    word, named = spoken.meant
    if written is None and word and named is None:
        part.note("unit", f"renews every {shown(word)}, which is no period here: a number to read")
        return unit, None
    time = written or named
    if time is None:
        part.note("type", f"{kind or 'no type,'} with no period; {_UNSAID[kind][1]}")
        return unit, _UNSAID[kind][0]
    if word and named != time:
        part.note("unit", f"{shown(unit)} names another period than period does; period counts")
    elif len(spoken.times) > 1:
        part.note("unit", f"{shown(unit)} names more than one period; {shown(word)} counts")
    reset = _reset(part, time)
    return spoken.counted if named == time and reset is not None else unit, reset


_UNSAID: Final[Mapping[str, tuple[Reset, str]]] = {
    "RENEWABLE": ("month", "it renews every month here, as the format says"),
    "TIME_DRIVEN": ("month", "it renews every month here, as the format's own change to 3.0 reads it"),
    "RESPONSE_DRIVEN": ("none", "it never renews here, as the format's own change to 3.0 reads it"),
    "": ("none", "it never renews here"),
}


def _limit_type(part: Part) -> str:
    value = part.peek("type")
    kind = value.strip().upper() if isinstance(value, str) else "" if value is None else "?"
    if kind and kind not in LIMIT_TYPES:
        part.wrong("type", f"{unknown('type of usage limit', kind, LIMIT_TYPES)}; write {', '.join(LIMIT_TYPES)}")
    return kind if kind in LIMIT_TYPES else ""


def _period(part: Part) -> Time | None:
    written = part.peek("period")
    if written is None:
        return None
    count = written.get("value", 1) if isinstance(written, dict) else None
    unit = written.get("unit") if isinstance(written, dict) else None
    meant = _TIMES.get(unit.strip().lower()) if isinstance(unit, str) else None
    if meant is None or isinstance(count, bool) or not isinstance(count, int) or not 0 < count < 10**12:
        part.wrong("period", "is no period; write {value: 1, unit: MONTH}, in SEC, MIN, HOUR, DAY, WEEK, MONTH or YEAR")
        return None
    return meant[0], meant[1] * count


def _spoken(unit: str) -> _Spoken:
    if len(unit) > _LONGEST_UNIT:
        return _Spoken(unit, unit.rpartition("/")[2].strip() if "/" in unit else "")
    first, *others = _BETWEEN.split(unit)
    kept, times = [first.strip()], []
    for other in others:
        named = _time(other)
        if named is None:
            kept.append(other.strip())
        else:
            times.append((_REMARK.sub("", other).strip(), named[0] if named else None))
            kept[0] += "".join(_REMARK.findall(other))
    return _Spoken("/".join(kept) if times else unit, kept[-1] if len(kept) > 1 else "", tuple(times))


def _time(part: str) -> tuple[Time, ...] | None:
    """Return the time that a part of a unit names: none of ours is (), and what is no time at all None."""
    match = _TIMED.fullmatch(_STRAY.sub("", _REMARK.sub("", part)).lower())
    meant = _TIMES.get(match[2]) if match else None
    if match is None or meant is None:
        return () if match and match[2] in _OTHER_TIMES else None
    count = match[1] or "1"
    return ((meant[0], meant[1] * max(1, int(count))),) if count.isdecimal() else ()


def _reset(part: Part, time: Time) -> Reset | None:
    every, count = time
    if every == "millisecond" or (every == "second" and count % _HOUR):
        part.remarks.note(part.path, f"renews every {count} {every}s, which is no period here: a number to read")
        return None
    if every == "second":
        every, count = "hour", count // _HOUR
    if count > MOST_PERIODS[every]:
        part.remarks.note(part.path, f"renews every {count} {every}s, which is too long to count; it never renews here")
        return "none"
    return every if count == 1 else {"every": every, "count": count}
