"""The spellings of a catalog: strict conversions of one written value each, and what to write instead.

Every function here returns the value or raises `Misfit` with a message that says what is wrong and
what to write. Nothing is converted silently: "12" is not a number here and 5 is not text.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from itertools import islice
from types import MappingProxyType
from typing import Any, Final

import attrs

from ..amounts import MAX_SCALE, canonical
from ..errors import AmountError, shown
from .findings import MOST_FINDINGS, near

DEEPEST: Final = 32
LONGEST_DAYS: Final = 36_500
_SECONDS: Final = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile(r"([0-9]{1,9})([wdhms])", re.ASCII)


class Misfit(ValueError):
    """A written value is not what belongs in its place; `inside` says where within it."""

    def __init__(self, message: str, inside: tuple[str | int, ...] = ()) -> None:
        self.inside = inside
        super().__init__(message)


class Misfits(Misfit):
    """Several misfits within one value."""

    def __init__(self, misfits: tuple[Misfit, ...]) -> None:
        self.misfits = misfits
        super().__init__(str(misfits[0]), misfits[0].inside)


@attrs.frozen
class Surprise:
    """A value whose spelling is not to be trusted; `message` says what to write instead.

    `number` is the spelling where it is a number with a point.
    """

    message: str
    number: str | None = attrs.field(default=None, eq=False)


def misfit(value: object, wanted: str, *, exact: bool = False) -> Misfit:
    """Return the error for a value of the wrong kind: what it is, and what to write.

    `exact` where text does, so that a number with a point is to be put in quotes.
    """
    literal = None if exact else pointed(value)
    if literal is not None:
        return Misfit(f"{literal[:60]} is a float; write {wanted}")
    if isinstance(value, Surprise):
        return Misfit(value.message)
    if value is None:
        return Misfit(f"is empty; write {wanted}, or leave the key out")
    if isinstance(value, float):
        return Misfit(float_message(str(value)))
    return Misfit(f"{spelled(value)}; write {wanted}")


def pointed(value: object) -> str | None:
    """Return how a number with a point is spelled; None for anything else."""
    if isinstance(value, Surprise):
        return value.number
    return str(value) if isinstance(value, float) and math.isfinite(value) else None


def whole(literal: str) -> str | None:
    """Return how to write a number with a point without it, where there is nothing behind it."""
    number = _number(literal)
    return None if number is None or number != int(number) else str(int(number))


def float_message(literal: str) -> str:
    """Return the message for a number with a point or an exponent that is not in quotes."""
    if literal.lower().lstrip("+-.") in {"inf", "nan"}:
        return f"{literal} is no amount; write unlimited"
    return f"{literal[:60]} is a float, and floats are not exact; write {in_digits(literal)}"


def in_digits(literal: str) -> str:
    """Return how to write a float's literal exactly: `1000000` for 1e6, `"2.50" in quotes` for 2.50."""
    number = _number(literal)
    if number is None:
        return "it in digits"
    if "e" in literal.lower() and number == int(number):
        return str(int(number))
    return f'"{number:f}" in quotes'


def _number(literal: str) -> Decimal | None:
    """Return the number that a literal spells, None where nobody would write it in digits."""
    try:
        number = Decimal(literal.replace("_", ""))
    except InvalidOperation:  # an exponent beyond all
        return None
    return None if abs(number.adjusted()) > 40 or len(literal) > 80 else number


def spelled(value: object) -> str:
    """Return a value and its kind in words: `'12' is text`, `5 is a number`."""
    if isinstance(value, bool):
        return f"{str(value).lower()} is a boolean"
    if isinstance(value, str):
        return f"{shown(value)} is text"
    if isinstance(value, int):
        return f"{value if abs(value) < 10**40 else 'this'} is a number"
    kinds = ((Mapping, "a mapping"), (list | tuple, "a list"))
    return f"this is {next((name for kind, name in kinds if isinstance(value, kind)), f'a {type(value).__name__}')}"


def text(value: object, wanted: str = "text, in quotes") -> str:
    """Return text that every storage and every encoder can keep."""
    if not isinstance(value, str):
        raise misfit(value, wanted, exact=True)
    if "\0" in value:
        raise Misfit("has a NUL character in it; take it out")
    if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
        raise Misfit("has half of a surrogate pair in it; write the whole character")
    return value if type(value) is str else str.__str__(value)


def integer(value: object) -> int:
    """Return a whole number of at most 63 bits."""
    if isinstance(value, bool) or not isinstance(value, int):
        literal = pointed(value)
        wanted = "a whole number, without quotes" if isinstance(value, str) else "a whole number"
        raise misfit(value, (whole(literal) if literal else None) or wanted)
    if value.bit_length() > 63:
        raise Misfit(f"is a number of {value.bit_length()} bits; write one of at most 63")
    return int(value)


def scale(value: object) -> int:
    """Return a number of decimal places."""
    places = integer(value)
    if not 0 <= places <= MAX_SCALE:
        raise Misfit(f"is {places}; write how many decimal places, from 0 to {MAX_SCALE}")
    return places


def boolean(value: object) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise misfit(value, "true or false")
    return value


def exact_number(value: object) -> Decimal:
    """Return a whole number or an exact string as a Decimal, in its shortest spelling."""
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise misfit(value, 'a whole number, or an exact one in quotes such as "2.50"', exact=True)
    try:
        return Decimal(canonical(value, what="the number"))
    except AmountError as error:
        raise Misfit(str(error)) from None


def price_number(value: object) -> Decimal:
    """Return an exact number that is zero or more."""
    number = exact_number(value)
    if number < 0:
        raise Misfit(f"is {number}; write zero or more")
    return number


def display_price(value: object) -> str:
    """Return a price for display, which is text even where it is written as a number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(integer(value))
    return text(value, 'text such as "20"')


def duration(value: object) -> timedelta:
    """Return "7d", "12h", "30m" or "2w" as a timedelta."""
    if not isinstance(value, str):
        raise misfit(value, "a duration such as 7d, 12h, 30m or 2w")
    spelling = text(value)
    match = _DURATION.fullmatch(spelling)
    if match is None:
        raise Misfit(f"{shown(spelling)} is not a duration; write one such as 7d, 12h, 30m or 2w")
    seconds = int(match[1]) * _SECONDS[match[2]]
    if seconds > LONGEST_DAYS * _SECONDS["d"]:
        raise Misfit(f"{shown(spelling)} is too long; write at most {LONGEST_DAYS}d")
    return timedelta(seconds=seconds)


def word(value: object, noun: str, choices: Sequence[str]) -> str:
    """Return one of the choices."""
    if isinstance(value, str) and value in choices:
        return str(value)
    if not isinstance(value, str):
        raise misfit(value, one_of(choices))
    raise Misfit(f"{shown(value)} is not {noun}{near(value, choices) or f'; write {one_of(choices)}'}")


def one_of(choices: Sequence[str]) -> str:
    """Return choices as words: `hard, partial or soft`."""
    return f"{', '.join(choices[:-1])} or {choices[-1]}"


def listed(value: object, wanted: str = "a list") -> Sequence[Any]:
    """Return a list."""
    if not isinstance(value, list | tuple):
        raise misfit(value, wanted)
    return value


def mapped(value: object, wanted: str = "a mapping") -> Mapping[Any, Any]:
    """Return a mapping."""
    if not isinstance(value, Mapping):
        raise misfit(value, wanted)
    return value


def metadata(value: object) -> Mapping[str, Any]:
    """Return JSON-ready data, read-only; raises Misfits for what JSON could not hold exactly."""
    misfits = tuple(islice(_metadata_misfits(mapped(value), ()), MOST_FINDINGS + 1))
    if misfits:
        raise Misfits(misfits)
    frozen: Mapping[str, Any] = _frozen(value)
    return frozen


def _metadata_misfits(value: object, path: tuple[str | int, ...]) -> Iterator[Misfit]:
    if len(path) >= DEEPEST:
        yield Misfit(f"is nested more than {DEEPEST} deep; flatten it", path)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            fault, within = key_fault(key), (*path, key_word(key))
            if fault:
                yield Misfit(fault, within)
            yield from _metadata_misfits(item, within)
    elif isinstance(value, list | tuple):
        for at, item in enumerate(value):
            yield from _metadata_misfits(item, (*path, at))
    else:
        try:
            _metadata_leaf(value)
        except Misfit as error:
            yield Misfit(str(error), path)


def _frozen(value: object) -> Any:
    if isinstance(value, Mapping):
        return MappingProxyType({key_word(key): _frozen(item) for key, item in value.items()})
    return tuple(_frozen(item) for item in value) if isinstance(value, list | tuple) else _metadata_leaf(value)


def _metadata_leaf(value: object) -> str | int | None:
    if isinstance(value, str):
        return text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return integer(value)
    raise misfit(value, "text, a whole number, true, false, null, a list or a mapping", exact=True)


def key_fault(key: object) -> str | None:
    """Return what is wrong with a key, or None: 1 to 255 printable characters, trimmed, not starting with `$`."""
    if not isinstance(key, str):
        return no_text(key)
    if key.isascii() and key.isidentifier() and len(key) <= 255:
        return None
    for fails, message in _KEY_FAULTS:
        if fails(key):
            return message
    return None


def no_text(key: object) -> str:
    """Return what is wrong with a key that is no text."""
    return f"this key is of type {type(key).__name__}; keys are text, write it in quotes"


def key_word(key: object) -> str:
    """Return the word for a key that is no text, under which what belongs to it is read on."""
    if isinstance(key, str):
        return key if type(key) is str else str.__str__(key)
    short = key is None or (isinstance(key, int) and abs(key) < 10**40)
    return str(key).lower() if short else type(key).__name__


def _unprintable(key: str) -> bool:
    return not key.isascii() and any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in key)


_KEY_FAULTS: Final[tuple[tuple[Callable[[str], bool], str], ...]] = (
    (lambda key: not key, "the key is empty; write 1 to 255 characters"),
    (lambda key: len(key) > 255, "the key is too long; write 1 to 255 characters"),
    (lambda key: key.startswith("$"), "keys that start with $ are the library's own; write another"),
    (lambda key: key != key.strip(), "the key starts or ends with a space; take it off"),
    (lambda key: key.isascii() and not key.isprintable(), "the key has a control character in it; take it out"),
    (_unprintable, "the key has a control character or half a surrogate pair in it; take it out"),
)
