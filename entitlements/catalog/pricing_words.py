"""What the bytes and the plain words of a Pricing2Yaml text mean, in every reader of the format."""

from __future__ import annotations

import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Final

from .reading import utf8

_LONGEST_NUMBER: Final = 80
_WORDS: Final[Mapping[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER: Final = re.compile(r"[-+]?[0-9][0-9_]*", re.ASCII)
_BASED: Final = re.compile(r"0x[0-9a-fA-F]+|0o[0-7]+", re.ASCII)
_DECIMAL: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]{1,4})?", re.ASCII)
_SPECIAL: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def check_encoding(data: bytes) -> None:
    """Raise Unreadable, which names the byte, for what is neither UTF-8 nor UTF-16 with its mark."""
    if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        with suppress(UnicodeDecodeError):
            if data.decode("utf-16"):
                return
    utf8(data)


def plain(word: str) -> bool | int | Decimal | str | None:
    """Return what a YAML word without quotes means in every reader of the format."""
    if word in _WORDS:
        return _WORDS[word]
    if len(word) > _LONGEST_NUMBER:
        return word
    digits = word.replace("_", "")
    if _INTEGER.fullmatch(word):
        return int(digits)
    if _BASED.fullmatch(word):
        return int(digits, 0)
    if _DECIMAL.fullmatch(word):
        return Decimal(digits)
    return Decimal(word.replace(".", "")) if _SPECIAL.fullmatch(word) else word
