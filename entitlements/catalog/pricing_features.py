"""What a Pricing2Yaml file declares: features and usage limits, their values and when they renew.

A feature is a boolean or a config feature of the catalog. A numeric usage limit is a metered
feature, unless it renews every second or minute: that is a rate, a number to read and no allowance to
use up. Every other usage limit is a boolean or a config feature.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import ROUND_DOWN, Context, Decimal
from typing import Any, Final, Literal, TypeAlias

import attrs

from ..amounts import MAX_SCALE, MAX_UNITS, UNLIMITED, Unlimited
from ..errors import did_you_mean, shown
from .findings import Path, unknown
from .pricing_reading import Part, Remarks, Value, key_from, spelled
from .words import key_fault

Setting: TypeAlias = bool | Decimal | Unlimited | str | tuple[str, ...]
Number: TypeAlias = Decimal | Unlimited
Kind = Literal["boolean", "number", "text", "list"]
Reset: TypeAlias = str | dict[str, str | int]

VALUE_TYPES: Final[Mapping[str, Kind]] = {"BOOLEAN": "boolean", "NUMERIC": "number", "TEXT": "text"}
LIMIT_TYPES: Final = ("RENEWABLE", "NON_RENEWABLE", "TIME_DRIVEN", "RESPONSE_DRIVEN")
FEATURE_TYPES: Final = frozenset(
    {"INFORMATION", "INTEGRATION", "DOMAIN", "AUTOMATION", "MANAGEMENT", "GUARANTEE", "SUPPORT", "PAYMENT"}
)
_FEATURE_KEYS: Final = frozenset(
    {
        "type", "integrationType", "automationType", "pricingUrls", "pricingURLs", "docUrl", "docURL", "tag", "render",
        "expression", "serverExpression",
    }
)  # fmt: skip
_LIMIT_KEYS: Final = frozenset({"type", "trackable", "tag", "render", "linkedFeatures", "unit", "period"})
_DECLARED_KEYS: Final = frozenset({"description", "valueType", "defaultValue", "value", "unit", "period", "linkedFeatures"})
_SPOKEN: Final[Mapping[str, bool]] = {"yes": True, "on": True, "y": True, "no": False, "off": False, "n": False}
_EXACT: Final = Context(prec=200)
_FLOORED: Final = Context(prec=200, rounding=ROUND_DOWN)
_MOST_DIGITS: Final = 40
_MOST_PERIODS: Final = 10_000
_HOUR: Final = 3600
_PER: Final = re.compile(r"(.*?)(?:/|\s+per\s+)\s*(?:([0-9]{1,6})\s*)?([a-z]+)\s*", re.IGNORECASE | re.DOTALL)
_TIMES: Final[Mapping[str, tuple[str, int]]] = {
    name: meant
    for meant, names in {
        ("second", 1): "s sec secs second seconds",
        ("second", 60): "min mins minute minutes",
        ("hour", 1): "h hr hrs hour hours",
        ("day", 1): "d day days daily",
        ("week", 1): "w wk week weeks weekly",
        ("month", 1): "mo month months monthly",
        ("quarter", 1): "quarter quarters quarterly",
        ("year", 1): "y yr yrs year years yearly annum",
    }.items()
    for name in names.split()
}


@attrs.frozen
class Declared:
    """A feature or a usage limit as the file declares it, and its key in the catalog."""

    name: str
    key: str
    path: Path
    kind: Kind
    default: Setting
    described: Mapping[str, Any]

    def setting(self, value: Value, path: Path, remarks: Remarks) -> Setting:
        """Return a value of this feature; its default where the value is absent or, with the mistake kept, wrong."""
        if value is None:
            return self.default
        found = _setting(self.kind, value, path, remarks, least=self.least)
        return self.default if found is None else found

    @property
    def least(self) -> int | None:
        """The smallest number that may stand here, None for any."""
        return None

    @property
    def metered(self) -> bool:
        """Whether this is an amount that is used, and no value that is read."""
        return False

    def written(self, settings: Iterable[Setting]) -> dict[str, Any]:
        """Return the feature of the catalog file; `settings` are all its values anywhere."""
        if self.kind == "boolean":
            return {"type": "boolean", **self.described}
        value: str = self.kind
        if self.kind == "number":
            value = "decimal" if any(places(number) for number in numbers(settings)) else "integer"
        return {"type": "config", "value": value, **self.described}


@attrs.frozen
class UsageLimit(Declared):
    """A usage limit: what it counts, when it starts again (None for a rate) and the features it bounds."""

    unit: str = ""
    reset: Reset | None = "none"
    linked: tuple[str, ...] = ()

    @property
    def least(self) -> int | None:
        """Zero: a limit is never below."""
        return 0

    @property
    def metered(self) -> bool:
        """Whether this is an amount that is used, and no value that is read."""
        return self.kind == "number" and self.reset is not None

    def written(self, settings: Iterable[Setting]) -> dict[str, Any]:
        """Return the feature of the catalog file; `settings` are all its values anywhere."""
        unit = {"unit": self.unit} if self.unit else {}
        if not self.metered:
            return {**super().written(settings), **unit}
        scale = max((places(number) for number in numbers(settings)), default=0)
        exact = {"scale": scale} if scale else {}
        return {"type": "metered", **unit, "reset": self.reset, **exact, **self.described}


def declared_features(parts: Mapping[str, Part]) -> dict[str, Declared]:
    """Return the features of a file by name."""
    keys = allot(parts, set(), parts)
    return {name: Declared(name, keys[name], part.path, *_declared(part, _FEATURE_KEYS)) for name, part in parts.items()}


def declared_limits(parts: Mapping[str, Part], features: Mapping[str, Declared]) -> dict[str, UsageLimit]:
    """Return the usage limits of a file by name; a name that a feature has already gets `Limit` behind its key."""
    keys = allot(parts, {feature.key for feature in features.values()}, parts)
    limits = {}
    for name, part in parts.items():
        linked = _linked(part, features)
        unit, reset = _renewal(part)
        limits[name] = UsageLimit(name, keys[name], part.path, *_declared(part, _LIMIT_KEYS), unit, reset, linked)
    return limits


def allot(names: Iterable[str], taken: set[str], parts: Mapping[str, Part]) -> dict[str, str]:
    """Return a key for each name and add it to `taken`: its own spelling where that is a key, and free."""
    listed = list(names)
    keys = {name: name for name in listed if key_fault(name) is None and name not in taken}
    taken.update(keys)
    for name in listed:
        if name not in keys:
            keys[name] = _free(key_from(name), taken)
            taken.add(keys[name])
            why = "a feature has this key" if key_fault(name) is None else "no key of a catalog is spelled so"
            parts[name].remarks.note(parts[name].path, f"{why}; it is {shown(keys[name])} here")
    return keys


def is_on(setting: Setting) -> bool:
    """Return whether a feature with this value is there at all: true, not zero, not empty."""
    return isinstance(setting, Unlimited) or bool(setting)


def numbers(settings: Iterable[Setting]) -> list[Decimal]:
    """Return the finite numbers among some values."""
    return [setting for setting in settings if isinstance(setting, Decimal)]


def places(number: Decimal) -> int:
    """Return how many decimal places a number needs."""
    text = spelled(number)
    return len(text.rstrip("0").partition(".")[2]) if "." in text else 0


def plus(one: Number, other: Number) -> Number:
    """Return the exact sum of two limits."""
    if isinstance(one, Unlimited) or isinstance(other, Unlimited):
        return UNLIMITED
    return _EXACT.add(one, other)


def larger(one: Number, other: Number) -> bool:
    """Return whether one limit is larger than another."""
    return not isinstance(other, Unlimited) and (isinstance(one, Unlimited) or one > other)


def exactly(number: Decimal) -> int | str:
    """Return a number as a catalog file has it: an integer, or its exact text."""
    text = spelled(number)
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text if "." in text else int(text)


def limit_of(setting: Number, scale: int) -> int | str:
    """Return a limit as a catalog file has it; one that no counter can reach is unlimited."""
    if isinstance(setting, Unlimited) or setting > _EXACT.divide(Decimal(MAX_UNITS), Decimal(10) ** scale):
        return "unlimited"
    return exactly(setting)


def value_of(setting: Setting) -> Any:
    """Return a value as a catalog file has it; an unlimited number is the largest there is."""
    if isinstance(setting, Unlimited):
        return MAX_UNITS
    if isinstance(setting, Decimal):
        return exactly(min(setting, Decimal(MAX_UNITS)))
    return list(setting) if isinstance(setting, tuple) else setting


def _declared(part: Part, known: frozenset[str]) -> tuple[Kind, Setting, dict[str, Any]]:
    kind = _kind(part)
    default = part.take("defaultValue")
    value = part.take("value")
    if value is not None:
        part.note("value", "stands in the place of the defaultValue")
        default = value
    if kind == "text" and isinstance(default, list):
        kind = "list"
    least = 0 if "linkedFeatures" in known else None
    found = _setting(kind, default, part.at("defaultValue"), part.remarks, least=least) if default is not None else None
    if default is None:
        part.remarks.wrong(part.path, "needs the key 'defaultValue'")
    return kind, _EMPTY[kind] if found is None else found, _described(part, known)


_EMPTY: Final[Mapping[Kind, Setting]] = {"boolean": False, "number": Decimal(0), "text": "", "list": ()}


def _described(part: Part, known: frozenset[str]) -> dict[str, Any]:
    description = part.text("description")
    _note_expressions(part)
    metadata = part.metadata(known, _DECLARED_KEYS)
    kind = metadata.get("type")
    if "linkedFeatures" not in known and kind is not None and str(kind).strip().upper() not in FEATURE_TYPES:
        part.note("type", f"{shown(str(kind))} is no type of feature, kept as metadata{did_you_mean(str(kind), FEATURE_TYPES)}")
    kept = {"description": description, "metadata": metadata}
    return {key: value for key, value in kept.items() if value}


def _note_expressions(part: Part) -> None:
    for key in ("expression", "serverExpression"):
        expression = part.peek(key)
        if isinstance(expression, str) and expression.strip():
            part.note(key, "is not evaluated, kept as metadata: the values of plans and add-ons decide")


def _kind(part: Part) -> Kind:
    name = part.text("valueType").strip().upper()
    if name not in VALUE_TYPES:
        message = unknown("valueType", name, VALUE_TYPES) if name else "is missing"
        part.wrong("valueType", f"{message}; write {', '.join(VALUE_TYPES)}")
    return VALUE_TYPES.get(name, "text")


def _setting(kind: Kind, value: Value, path: Path, remarks: Remarks, *, least: int | None) -> Setting | None:
    if kind == "number":
        return _number(value, path, remarks, least)
    if kind == "boolean":
        return _boolean(value, path, remarks)
    return _texts(value, path, remarks) if kind == "list" else _text(value, path, remarks)


def _boolean(value: Value, path: Path, remarks: Remarks) -> bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _SPOKEN:
        remarks.note(path, f"{value} is a boolean in YAML 1.1, and read as one")
        return _SPOKEN[value.lower()]
    remarks.wrong(path, "is no boolean; its valueType is BOOLEAN, write true or false")
    return None


def _text(value: Value, path: Path, remarks: Remarks) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        remarks.note(path, "is a number where its valueType is TEXT; read as text")
        return spelled(value)
    remarks.wrong(path, "is no text; its valueType is TEXT, write text, in quotes where it may be read otherwise")
    return None


def _texts(value: Value, path: Path, remarks: Remarks) -> tuple[str, ...] | None:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(str(item) for item in value)
    remarks.wrong(path, "is no list of texts, as the defaultValue of this feature is")
    return None


def _number(value: Value, path: Path, remarks: Remarks, least: int | None) -> Number | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        hint = "; unlimited is .inf" if isinstance(value, str) else ""
        remarks.wrong(path, f"is no number; its valueType is NUMERIC, write one, without quotes{hint}")
        return None
    number = Decimal(value) if not isinstance(value, int) or value.bit_length() < 1000 else Decimal("Infinity")
    if isinstance(value, int) and value < 0 < value.bit_length() - 999:
        number = number.copy_negate()
    if number.is_nan() or number == Decimal("-Infinity") or (least is not None and number < least):
        remarks.wrong(path, f"is {spelled(number)}; write a number that is zero or more, or .inf for unlimited")
        return None
    return _bounded(number, path, remarks)


def _bounded(number: Decimal, path: Path, remarks: Remarks) -> Number | None:
    if number.is_infinite():
        return UNLIMITED
    if number and number.adjusted() >= _MOST_DIGITS:
        if number < 0:
            remarks.wrong(path, f"has more than {_MOST_DIGITS} digits")
            return None
        remarks.note(path, "is more than any amount can be; unlimited here")
        return UNLIMITED
    if number.adjusted() < -_MOST_DIGITS or len(number.as_tuple().digits) > 2 * _MOST_DIGITS or places(number) > MAX_SCALE:
        rounded = number.quantize(Decimal(1).scaleb(-MAX_SCALE), context=_FLOORED)
        remarks.note(path, f"has more than {MAX_SCALE} decimal places; {spelled(rounded)} here")
        return rounded
    return number


def _linked(part: Part, features: Mapping[str, Declared]) -> tuple[str, ...]:
    named = part.names("linkedFeatures") or ()
    named += tuple(name for name in part.names("linkedFeature") or () if name not in named)
    linked = []
    for name in named:
        found = resolved(name, features)
        if found is None:
            part.wrong("linkedFeatures", unknown("feature", name, features))
        else:
            linked.append(found)
    return tuple(linked)


def resolved(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is meant: the same, or the same but for spaces around it."""
    listed = list(known)
    if name in listed:
        return name
    return next((each for each in listed if each.strip() == name.strip()), None)


def _free(key: str, taken: set[str]) -> str:
    number = 1
    while True:
        tail = "Limit" if number == 1 else f"Limit{number}"
        candidate = key if number == 0 else f"{key[: 255 - len(tail)].rstrip()}{tail}"
        if candidate not in taken:
            return candidate
        number += 1
