"""What one entry says about one feature: shorthands become what they mean, amounts get their scale.

Pure; a mistake is a finding and never an exception.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from ..amounts import MAX_UNITS, UNLIMITED, Bound, Unlimited, to_units
from ..errors import AmountError
from . import words
from .findings import Finding, Findings, Path
from .model import ConfigType, ConfigValue, Entitlement, Feature, Limit, Mode
from .words import Misfit, Surprise, in_digits, misfit, pointed, whole
from .written import Absent, Entry, Shorthand, WrittenEntitlement, WrittenLimit, is_given

Section = Literal["plans", "addons", "promotions", "overrides"]
MODES: Final[Mapping[Section, tuple[Mode, ...]]] = {
    "plans": ("grant", "set"),
    "addons": ("grant", "add"),
    "promotions": ("grant",),
    "overrides": ("grant", "add", "set", "deny"),
}
_LIMIT_KEYS: Final = ("limit", "reset", "depletion", "ceiling")
_ENDLESS: Final = frozenset(
    {
        "-1", "-1.0", "inf", "infinite", "infinity", "\u221e", "none", "null", "no limit", "no limits", "nolimit",
        "no-limit", "unbounded", "limitless", "endless", "any", "all",
    }
)  # fmt: skip
_CONVERSIONS: Final[Mapping[ConfigType, Callable[[Any], ConfigValue]]] = {
    "integer": words.integer,
    "decimal": words.exact_number,
    "text": words.text,
    "boolean": words.boolean,
    "list": lambda value: tuple(words.listed(value, "a list of texts")),
}


def entitled(feature: Feature, entry: Entry, section: Section, path: Path, findings: Findings) -> Entitlement | None:
    """Return what an entry says about a feature; where it says nothing, None with the reasons in the findings.

    What is wrong in it is in the findings too, with something in its place, so that the rest can be looked at.
    """
    mode = _mode(feature, entry, section, path, findings)
    if feature.type == "metered":
        limits = _limits(feature, entry, path, findings)
        return None if limits is None else Entitlement(feature.key, mode, limits=limits)
    value = _value(feature, entry, path, findings)
    return None if value is None else Entitlement(feature.key, mode, value=value)


def _mode(feature: Feature, entry: Entry, section: Section, path: Path, findings: Findings) -> Mode:
    mode = entry.mode if isinstance(entry, WrittenEntitlement) else None
    if mode is None:
        return "add" if section == "addons" and feature.type == "metered" else "grant"
    if mode not in MODES[section]:
        allowed = " or ".join(MODES[section])
        findings.add(Finding((*path, "mode"), f"{mode!r} is not for {section}; write {allowed}, or leave it out"))
        return "grant"
    return mode


def _value(feature: Feature, entry: Entry, path: Path, findings: Findings) -> ConfigValue | None:
    if isinstance(entry, Shorthand):
        return converted(entry.value, _value_type(feature), path, findings)
    wrong = [name for name in (*_LIMIT_KEYS, "limits") if is_given(getattr(entry, name))]
    for name in wrong:
        findings.add(Finding((*path, name), f"is for metered features; {feature.key} is {feature.type}, write value"))
    if isinstance(entry.value, Absent):
        if not wrong:
            findings.add(Finding((*path, "value"), "needs the key 'value'"))
        return None
    return converted(entry.value, _value_type(feature), (*path, "value"), findings)


def _value_type(feature: Feature) -> ConfigType:
    return "boolean" if feature.type == "boolean" else feature.value


def converted(value: object, kind: ConfigType, path: Path, findings: Findings) -> ConfigValue | None:
    """Return a config value of the declared type, or None with the reasons in the findings."""
    if kind == "list" and isinstance(value, list | tuple):
        items = [converted(item, "text", (*path, at), findings) for at, item in enumerate(value)]
        return None if None in items else tuple(str(item) for item in items)
    try:
        return _CONVERSIONS[kind](value)
    except Misfit as error:
        findings.add(Finding(path, str(error)))
        return None


def _limits(feature: Feature, entry: Entry, path: Path, findings: Findings) -> tuple[Limit, ...] | None:
    if isinstance(entry, Shorthand):
        return (Limit(_bound(entry.value, feature, path, findings), feature.reset),)
    if entry.limits is not None:
        _refuse_beside_limits(entry, path, findings)
        places = (((*path, "limits", at), each) for at, each in enumerate(entry.limits))
        return tuple(_limit(each, feature, place, findings) for place, each in places)
    if isinstance(entry.limit, Absent):
        _refuse_without_limit(feature, entry, path, findings)
        return None
    return (_limit(entry, feature, path, findings),)


def _refuse_beside_limits(entry: WrittenEntitlement, path: Path, findings: Findings) -> None:
    for name in (*_LIMIT_KEYS, "value"):
        if is_given(getattr(entry, name)):
            findings.add(Finding((*path, name), "stands beside limits; write it in each of them, or leave it out"))


def _refuse_without_limit(feature: Feature, entry: WrittenEntitlement, path: Path, findings: Findings) -> None:
    if isinstance(entry.value, Absent):
        findings.add(Finding((*path, "limit"), "needs the key 'limit': a number or unlimited"))
    else:
        findings.add(Finding((*path, "value"), f"is for config features; {feature.key} is metered, write limit"))


def _limit(written: WrittenLimit | WrittenEntitlement, feature: Feature, path: Path, findings: Findings) -> Limit:
    amount = _bound(written.limit, feature, (*path, "limit"), findings)
    ceiling = None
    if not isinstance(written.ceiling, Absent):
        ceiling = units(written.ceiling, feature.scale, "ceiling", path, findings)
    return Limit(amount, written.reset or feature.reset, written.depletion or "hard", ceiling)


def _bound(value: object, feature: Feature, path: Path, findings: Findings) -> Bound:
    if isinstance(value, Unlimited) or (isinstance(value, str) and value == "unlimited"):
        return UNLIMITED
    if isinstance(value, bool):
        findings.add(Finding(path, f"{feature.key} is metered; write a number or unlimited"))
        return 0
    return _amount(value, feature.scale, "limit", path, findings)


def units(value: object, scale: int, what: str, path: Path, findings: Findings) -> int:
    """Return the amount under the key `what`, or 0 with the reason in the findings."""
    return _amount(value, scale, what, (*path, what), findings)


def _amount(value: object, scale: int, what: str, path: Path, findings: Findings) -> int:
    if type(value) is int and scale == 0 and 0 <= value <= MAX_UNITS:
        return value
    if isinstance(value, Surprise) or value is None or isinstance(value, list | tuple | Mapping):
        findings.add(Finding(path, str(_no_amount(value, scale, what))))
        return 0
    try:
        return to_units(value, scale, what=what)
    except AmountError as error:
        endless = what == "limit" and _is_endless(value)
        findings.add(Finding(path, f"{error}; for no limit write unlimited" if endless else str(error), amount=True))
        return 0


def _no_amount(value: object, scale: int, what: str) -> Misfit:
    literal = pointed(value)
    if literal is None or scale > 0:
        return misfit(value, "a number or unlimited" if what == "limit" else "a number", exact=True)
    instead = whole(literal) or f"a whole number, or {in_digits(literal)} and a scale"
    return Misfit(f"{literal[:60]} is a float, and floats are not exact; write {instead}")


def _is_endless(value: object) -> bool:
    """Tell whether what is no amount is how others write that there is no limit."""
    if isinstance(value, int):
        return value == -1
    spelled = str(value).strip().lower().replace("_", " ")
    return spelled in _ENDLESS or spelled.startswith("unlim")
