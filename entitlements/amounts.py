"""Amounts: exact numbers at a declared scale, and `UNLIMITED`, which is a type of its own.

At the edge an amount is an `int` (whole units), a `Decimal` or an exact string. Inside it is an
`int` of smallest units, `value * 10**scale`, at most `MAX_UNITS`. There is no float on any path
and nothing depends on the host's decimal context.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Context, Decimal
from functools import lru_cache
from typing import Final, TypeAlias, final

from .errors import AmountError, shown

MAX_UNITS: Final = 2**63 - 1
MAX_SCALE: Final = 9
DIGITS: Final = 40
_SHORT: Final = 18
_NUMERIC: Final = (int, Decimal, str)
_CONTEXT: Final = Context(prec=1000)
_LITERAL = re.compile(rf"[+-]?[0-9]{{1,{DIGITS}}}(\.[0-9]{{1,{DIGITS}}})?", re.ASCII)


@final
class Unlimited:
    """No bound at all: beats every number, equals only itself. The one value is `UNLIMITED`."""

    __slots__ = ()
    _only: Unlimited | None = None

    def __new__(cls) -> Unlimited:
        """Return the one value."""
        if cls._only is None:
            cls._only = super().__new__(cls)
        return cls._only

    def __repr__(self) -> str:
        return "unlimited"

    def __reduce__(self) -> tuple[type[Unlimited], tuple[()]]:
        return Unlimited, ()


UNLIMITED: Final = Unlimited()
Amount: TypeAlias = int | Decimal | str
Number: TypeAlias = int | Decimal
Bound: TypeAlias = int | Unlimited


def to_units(value: object, scale: int = 0, *, what: str = "amount") -> int:
    """Return `value` as smallest units at `scale`.

    `what` names the argument in messages. Raises AmountError for anything that is not an exact,
    non-negative number with at most `scale` decimal places and at most `MAX_UNITS` units.
    """
    units = _exact_units(value, scale, what)
    if units < 0:
        raise AmountError(f"{what} is {_spelled(value)}; an amount is zero or more")
    if units > MAX_UNITS:
        most = from_units(MAX_UNITS, scale)
        raise AmountError(f"{what} is {_spelled(value)}; the largest at scale {scale} is {most}")
    return units


def from_units(units: int, scale: int = 0) -> Number:
    """Return smallest units as the number a user reads: an `int` at scale 0, else a `Decimal` at the scale."""
    return units if scale == 0 else exact(units, scale)


@lru_cache(maxsize=4096)
def exact(units: int, scale: int) -> Decimal:
    """Return smallest units as a `Decimal` with exactly `scale` places, whatever the decimal context."""
    return Decimal(units) if scale == 0 else Decimal(units).scaleb(-scale, _CONTEXT)


def canonical(value: object, *, what: str = "amount") -> str:
    """Return the one spelling of an amount: 10, "10" and Decimal("10.00") are all "10".

    Raises AmountError as `to_units` does for what can be no amount at any scale.
    """
    if type(value) is int and -MAX_UNITS <= value <= MAX_UNITS:
        return str(value)
    number = _number(value, what)
    if isinstance(number, int):
        text = str(int(number))
    else:
        text = format(number, "f")
        text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in {"-0", "+0"} else text


def bound_number(bound: Bound, scale: int) -> Number | Unlimited:
    """Return a bound in smallest units as the number a user reads; unlimited stays unlimited."""
    return bound if isinstance(bound, Unlimited) else from_units(bound, scale)


def _exact_units(value: object, scale: int, what: str) -> int:
    if type(value) is int and scale == 0 and -MAX_UNITS <= value <= MAX_UNITS:
        return value
    if type(value) is str and len(value) <= _SHORT and value.isascii() and value.isdecimal():
        return int(value) * _power(scale)
    number = _number(value, what)
    if isinstance(number, int):
        return number * _power(scale)
    sign, digits, exponent = number.as_tuple()
    units, shift = int("".join(map(str, digits))), int(exponent) + scale
    if shift < 0:
        units, rest = divmod(units, _power(-shift))
        if rest:
            raise AmountError(f"{what} is {_spelled(value)}; its scale allows {scale} decimal places")
    else:
        units *= _power(shift)
    return -units if sign else units


def _power(places: int) -> int:
    power: int = 10**places
    return power


def _number(value: object, what: str) -> int | Decimal:
    if isinstance(value, bool) or not isinstance(value, _NUMERIC):
        raise AmountError(_not_a_number(value, what))
    if isinstance(value, int):
        if value.bit_length() > 128:
            raise AmountError(f"{what} is a number of {value.bit_length()} bits; amounts have at most 63")
        return value
    if isinstance(value, str):
        if not _LITERAL.fullmatch(value):
            raise AmountError(f"{what} is {shown(value)}; write a plain number such as '12' or '12.50'")
        return Decimal(value)
    if not value.is_finite():
        raise AmountError(f"{what} is {value}; an amount is a finite number")
    if not -DIGITS <= value.adjusted() < DIGITS or int(value.as_tuple().exponent) < -DIGITS:
        raise AmountError(f"{what} is {_spelled(value)}; it has at most {DIGITS} digits on either side of the point")
    return value


def _not_a_number(value: object, what: str) -> str:
    if isinstance(value, float):
        return _not_exact(value, what)
    if isinstance(value, Unlimited):
        return f"{what} is unlimited; only a limit may be"
    if isinstance(value, Mapping):
        return f"{what} is a mapping of kinds; give one number: only use of a feature with a rate is told by kind"
    return f"{what} is of type {type(value).__name__}; write an int, a Decimal or an exact string"


def _not_exact(value: float, what: str) -> str:
    if not math.isfinite(value):
        return f"{what} is {float(value)}; an amount is a finite number"
    number = Decimal(float.__repr__(value))
    exact = f"the string {f'{number:f}'!r}" if abs(number.adjusted()) < DIGITS else "an int"
    return f"{what} is the float {float(value)}; floats are not exact, write {exact} or a Decimal"


def _spelled(value: object) -> str:
    return shown(value) if isinstance(value, str) else str(value)[:60]
