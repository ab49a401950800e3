"""Text to plain data with places: YAML, JSON and TOML, each read strictly.

Nothing here knows what a catalog is. What is wrong with a spelling is a finding, or a `Surprise` in
the place of the value; what cannot be read to its end is `Unreadable`.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from ..errors import shown
from .findings import MOST_FINDINGS, Finding, Path, Reading, Unreadable
from .scanning import ScannedPlaces, place_at_depth, place_of, scanned_json, scanned_toml
from .words import Surprise, float_message
from .yaml_reading import DEEPEST, read_yaml

LARGEST: Final = 4 * 2**20
_TOO_DEEP: Final = f"this is nested more than {DEEPEST} deep; flatten it"
_TOML_LINE: Final = re.compile(r"\s*\(at line (\d+), column (\d+)\)$")
_TOML_DIGITS: Final = re.compile(r"\b[0-9a-fA-FxX_]{1000}")
_TOML_DEEP: Final = re.compile(rf"(?<![\w\"'-])(?:[\w\"'-]++[ \t]*+\.[ \t]*+){{{DEEPEST}}}")


def read(data: bytes, suffix: str) -> Reading:
    """Return what the bytes of a file with this suffix say; raises Unreadable where they cannot be read."""
    return FORMATS[suffix](_decoded(data))


def _decoded(data: bytes) -> str:
    if len(data) > LARGEST:
        raise Unreadable(f"the file is larger than {LARGEST // 2**20} MiB; a catalog is not, split it up")
    text = utf8(data)
    if "\0" in text:
        raise Unreadable("there is a NUL character here; take it out", place_of(text, text.index("\0")))
    return text


def utf8(data: bytes) -> str:
    """Return bytes as text; raises Unreadable, which names the byte, where they are not UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = (data.count(b"\n", 0, error.start) + 1, error.start - data.rfind(b"\n", 0, error.start))
        raise Unreadable(f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8", place) from None


def _read_json(text: str) -> Reading:
    twice: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        entries = dict(pairs)
        if len(entries) < len(pairs):
            twice.append("a key")
            entries |= reversed(pairs)
        return entries

    try:
        document = json.loads(
            text, object_pairs_hook=unique, parse_float=_float, parse_int=_integer, parse_constant=_constant
        )
    except json.JSONDecodeError as error:
        raise Unreadable(f"this is not JSON: {error.msg}", (error.lineno, error.colno)) from None
    except RecursionError:
        raise Unreadable(_TOO_DEEP, place_at_depth(text, DEEPEST)) from None
    duplicates = tuple(islice(_duplicates(text), MOST_FINDINGS + 1)) if twice else ()
    return Reading(document, ScannedPlaces(text, scanned_json), duplicates)


def _float(literal: str) -> Surprise:
    return Surprise(float_message(literal), literal if "." in literal else None)


def _integer(literal: str) -> int | Surprise:
    if len(literal) > 40:
        return Surprise(f"is a number of {len(literal)} digits; write one of at most 19")
    return int(literal)


def _constant(literal: str) -> Surprise:
    return Surprise(f'{literal} is no amount; write "unlimited"')


def _read_toml(text: str) -> Reading:
    deep = _TOML_DEEP.search(text)
    if deep is not None:
        raise Unreadable(_TOO_DEEP, place_of(text, deep.start()))
    try:
        document = tomllib.loads(text, parse_float=_float)
    except tomllib.TOMLDecodeError as error:
        where = _TOML_LINE.search(str(error))
        place = (int(where[1]), int(where[2])) if where else place_of(text, len(text))
        raise Unreadable(f"this is not TOML: {_TOML_LINE.sub('', str(error))}", place) from None
    except RecursionError:
        raise Unreadable(_TOO_DEEP, place_at_depth(text, DEEPEST)) from None
    except ValueError:
        digits = _TOML_DIGITS.search(text)
        at = place_of(text, digits.start()) if digits else None
        raise Unreadable("a number in this file has too many digits; write one of at most 19", at) from None
    return Reading(document, ScannedPlaces(text, scanned_toml))


FORMATS: Final[Mapping[str, Callable[[str], Reading]]] = {
    ".yaml": read_yaml,
    ".yml": read_yaml,
    ".toml": _read_toml,
    ".json": _read_json,
}


def _duplicates(text: str) -> Iterator[Finding]:
    """Yield a finding for every key that stands twice in its object of a JSON text."""
    first: dict[Path, int] = {}
    twice: Path | None = None
    for path, at_key, _ in scanned_json(text):
        if twice is not None and path[: len(twice)] == twice and len(path) > len(twice):
            continue
        twice = path if path in first else None
        if path in first:
            line = text.count("\n", 0, first[path]) + 1
            message = f"duplicate key {shown(str(path[-1]))} (first at line {line}); keep one of them"
            yield Finding(path, message, place=place_of(text, at_key), kept=True)
        first.setdefault(path, at_key)
