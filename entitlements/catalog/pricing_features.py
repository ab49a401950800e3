"""What a Pricing2Yaml file declares: features and usage limits, their values and when they renew.

A feature is a boolean or a config feature of the catalog. A numeric usage limit is a metered
feature, unless it renews every second or minute: that is a rate, a number to read and no allowance to
use up. Every other usage limit is a boolean or a config feature. A limit that is negative or no number
is a mistake; `.inf` is unlimited, and so is what is more than any counter can reach.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from decimal import ROUND_DOWN, Context, Decimal
from typing import Any, Final, Literal, TypeAlias, TypeGuard

import attrs

from ..amounts import MAX_SCALE, MAX_UNITS, UNLIMITED, Unlimited
from ..errors import shown
from .findings import Path, unknown
from .pricing_periods import Reset, renewal
from .pricing_reading import Part, Remarks, Value, key_from, spelled
from .words import key_fault

Setting: TypeAlias = bool | Decimal | Unlimited | str | tuple[str, ...]
Number: TypeAlias = Decimal | Unlimited
Kind = Literal["boolean", "number", "text", "list", "unknown"]

VALUE_TYPES: Final[Mapping[str, Kind]] = {"BOOLEAN": "boolean", "NUMERIC": "number", "TEXT": "text"}
_FEATURE_KEYS: Final = frozenset(
    {
        "description", "valueType", "defaultValue", "type", "integrationType", "automationType", "pricingUrls",
        "pricingURLs", "docUrl", "docURL", "tag", "render", "expression", "serverExpression",
    }
)  # fmt: skip
_LIMIT_KEYS: Final = frozenset(
    {
        "description", "valueType", "defaultValue", "type", "unit", "period", "trackable", "linkedFeatures", "tag",
        "render",
    }
)  # fmt: skip
_SPOKEN: Final[Mapping[str, bool]] = {"yes": True, "on": True, "y": True, "no": False, "off": False, "n": False}
_EXACT: Final = Context(prec=200)
_FLOORED: Final = Context(prec=200, rounding=ROUND_DOWN)
_MOST_DIGITS: Final = 40


@attrs.frozen
class Declared:
    """A feature or a usage limit as the file declares it, and its key in the catalog.

    A `metered` one is an amount that is used, in `unit`, and starts again at each `reset`; it holds
    where one of the features `linked` to it is on. No number of it is below `least`.
    """

    name: str
    key: str
    path: Path
    kind: Kind
    default: Setting
    described: Mapping[str, Any]
    least: int | None = None
    unit: str = ""
    reset: Reset = "none"
    linked: tuple[str, ...] = ()
    metered: bool = False
    scale: int = 0

    def setting(self, value: Value, path: Path, remarks: Remarks) -> Setting:
        """Return a value of this feature: its default where none is given or, with the mistake kept, a wrong one."""
        found = None if value is None else _setting(self.kind, value, path, remarks, self.least)
        return self.default if found is None else found

    def measured(self, settings: Iterable[Setting], remarks: Remarks) -> Declared:
        """Return this feature with the scale that its values need; those out of reach are noted."""
        found = dict.fromkeys(each for each in (self.default, *settings) if isinstance(each, Decimal | Unlimited))
        scale = max((places(each) for each in found if isinstance(each, Decimal)), default=0)
        for number in found:
            if not self.metered and not within(number):
                remarks.note(self.path, f"a value that is read is never unlimited; the largest here is {MAX_UNITS}")
            elif isinstance(number, Decimal) and not within(number, scale * self.metered):
                remarks.note(self.path, f"{spelled(number)} is more than can be counted; unlimited here")
        return attrs.evolve(self, scale=scale)

    def written(self) -> dict[str, Any]:
        """Return the feature as a catalog file has it."""
        unit = {"unit": self.unit} if self.unit else {}
        if self.metered:
            exact = {"scale": self.scale} if self.scale else {}
            return {"type": "metered", **unit, "reset": self.reset, **exact, **self.described}
        if self.kind == "boolean":
            return {"type": "boolean", **unit, **self.described}
        value = ("decimal" if self.scale else "integer") if self.kind == "number" else self.kind
        return {"type": "config", "value": value, **unit, **self.described}

    def entry(self, setting: Setting) -> Any:
        """Return a value as a catalog file has it: out of reach of a counter is unlimited, or the largest there is."""
        if not isinstance(setting, Decimal | Unlimited):
            return list(setting) if isinstance(setting, tuple) else setting
        if within(setting, self.scale * self.metered):
            return exactly(setting)
        return "unlimited" if self.metered else MAX_UNITS


def declared_features(parts: dict[str, Part]) -> dict[str, Declared]:
    """Return the features of a file by name."""
    return {name: _feature(part) for name, part in allotted(parts).items()}


def declared_limits(parts: dict[str, Part], features: Mapping[str, Declared]) -> dict[str, Declared]:
    """Return the usage limits of a file by name; one whose name a feature has gets `Limit` behind its key."""
    taken = {feature.key for feature in features.values()}
    return {name: _limit(part, features) for name, part in allotted(parts, taken, "Limit").items()}


def _feature(part: Part) -> Declared:
    kind, default = _valued(part, least=None)
    for key in ("expression", "serverExpression"):
        if part.peek(key) not in (None, ""):
            part.note(key, "is not evaluated, kept as metadata: the values of plans and add-ons decide")
    return Declared(part.name, part.key, part.path, kind, default, _described(part, _FEATURE_KEYS))


def _limit(part: Part, features: Mapping[str, Declared]) -> Declared:
    linked = _linked(part, features)
    kind, default = _valued(part, least=0)
    unit, reset = renewal(part) if kind in ("number", "unknown") else (part.text("unit"), None)
    described = _described(part, _LIMIT_KEYS)
    if linked:
        names = [features[each].key for each in linked]
        described["metadata"] = {**described.get("metadata", {}), "linkedFeatures": names}
    named = part.name, part.key, part.path
    return Declared(*named, kind, default, described, 0, unit, reset or "none", linked, metered=reset is not None)


def allotted(parts: dict[str, Part], taken: Collection[str] = (), tail: str = "_") -> dict[str, Part]:
    """Return the parts, each with a key: its name where that is a key and not taken, else one like it, noted."""
    held = set(taken)
    held |= {name for name in parts if key_fault(name) is None and name not in taken}
    tried: dict[str, int] = {}
    for name, part in parts.items():
        if key_fault(name) is not None or name in taken:
            part.key = _free(key_from(name), held, tail, tried)
            held.add(part.key)
            why = "a feature has this key too" if key_fault(name) is None else "no key of the catalog is spelled so"
            part.remarks.note(part.path, f"{why}; it is {shown(part.key)} here")
    return parts


def is_on(setting: Setting) -> bool:
    """Return whether a feature with this value is there at all: true, not zero, not empty."""
    return isinstance(setting, Unlimited) or bool(setting)


def places(number: Decimal) -> int:
    """Return how many decimal places a number needs."""
    text = spelled(number)
    return len(text.rstrip("0").partition(".")[2]) if "." in text else 0


def within(number: Number, scale: int = 0) -> TypeGuard[Decimal]:
    """Return whether a number is one that a counter of this scale can reach."""
    return isinstance(number, Decimal) and number <= _EXACT.divide(Decimal(MAX_UNITS), Decimal((0, (1,), scale)))


def plus(one: Setting, other: Setting) -> Number:
    """Return the exact sum of two limits."""
    return _EXACT.add(one, other) if isinstance(one, Decimal) and isinstance(other, Decimal) else UNLIMITED


def larger(one: Setting, other: Setting) -> bool:
    """Return whether one number is larger than another; nothing else is."""
    if isinstance(one, Unlimited):
        return not isinstance(other, Unlimited)
    return isinstance(one, Decimal) and isinstance(other, Decimal) and one > other


def exactly(number: Decimal) -> int | str:
    """Return a number as a catalog file has it: an integer, or its exact text."""
    text = spelled(number)
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text if "." in text else int(text)


_EMPTY: Final[Mapping[Kind, Setting]] = {
    "boolean": False,
    "number": Decimal(0),
    "text": "",
    "list": (),
    "unknown": "",
}


def _valued(part: Part, *, least: int | None) -> tuple[Kind, Setting]:
    kind = _kind(part)
    key = "defaultValue" if part.peek("value") is None else "value"
    if key == "value":
        part.note("value", "stands in the place of the defaultValue")
    value, _ = part.take(key), part.take("defaultValue")
    if kind == "text" and isinstance(value, list):
        kind = "list"
    if value is None:
        part.remarks.wrong(part.path, "needs the key 'defaultValue'")
        return kind, _EMPTY[kind]
    found = _setting(kind, value, part.at(key), part.remarks, least)
    return kind, _EMPTY[kind] if found is None else found


def _described(part: Part, known: frozenset[str]) -> dict[str, Any]:
    kept = {"description": part.text("description"), "metadata": part.metadata(known)}
    return {key: value for key, value in kept.items() if value}


def _kind(part: Part) -> Kind:
    given = part.peek("valueType")
    name = part.text("valueType").strip().upper()
    if given is None or (isinstance(given, str) and not name):
        _need_value_type(part)
    elif name and name not in VALUE_TYPES:
        part.wrong("valueType", f"{unknown('valueType', name, VALUE_TYPES)}; write {', '.join(VALUE_TYPES)}")
    return VALUE_TYPES.get(name, "unknown")


def _need_value_type(part: Part) -> None:
    meant = part.like("valueType", _FEATURE_KEYS | _LIMIT_KEYS)
    if meant is None:
        part.remarks.wrong(part.path, "needs the key 'valueType': BOOLEAN, NUMERIC or TEXT")
    else:
        part.remarks.wrong(part.at(meant), unknown("key", meant, ("valueType",)), at_key=True)


def _setting(kind: Kind, value: Value, path: Path, remarks: Remarks, least: int | None) -> Setting | None:
    if kind == "unknown":
        return None
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
    number = _decimal(value)
    if number.is_nan() or number < (-MAX_UNITS if least is None else least):
        wanted = "a number" if least is None else "a number that is zero or more"
        remarks.wrong(path, f"is {spelled(value)}; write {wanted}, or .inf for unlimited")
        return None
    if number.is_infinite() and number is value:
        return UNLIMITED
    if number.is_infinite() or number.adjusted() >= _MOST_DIGITS:
        remarks.note(path, "is more than any amount can be; unlimited here")
        return UNLIMITED
    return _rounded(number, path, remarks) if number else Decimal(0)


def _decimal(value: int | Decimal) -> Decimal:
    if isinstance(value, Decimal):
        return value
    return Decimal(value) if value.bit_length() < 1000 else Decimal("Infinity" if value > 0 else "-Infinity")


def _rounded(number: Decimal, path: Path, remarks: Remarks) -> Decimal:
    short = number.adjusted() >= -_MOST_DIGITS and len(number.as_tuple().digits) <= 2 * _MOST_DIGITS
    if short and places(number) <= MAX_SCALE:
        return number
    rounded = _FLOORED.quantize(number, Decimal((0, (1,), -MAX_SCALE)))
    remarks.note(path, f"has more than {MAX_SCALE} decimal places; {spelled(rounded)} here")
    return rounded


def _linked(part: Part, features: Mapping[str, Declared]) -> tuple[str, ...]:
    named = {key: part.names(key) or () for key in ("linkedFeatures", "linkedFeature")}
    for key, names in named.items():
        for name in names:
            if name not in features:
                part.wrong(key, unknown("feature", name, features))
    return tuple(dict.fromkeys(name for names in named.values() for name in names if name in features))


def _free(key: str, taken: set[str], tail: str, tried: dict[str, int]) -> str:
    while True:
        number = tried[key] = tried.get(key, -1) + 1
        end = "" if number == 0 else tail if number == 1 else f"{tail}{number}"
        candidate = f"{key[: 255 - len(end)].rstrip()}{end}"
        if candidate not in taken:
            return candidate
