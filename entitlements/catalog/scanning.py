"""Where the parts of a JSON or TOML text stand: valid texts are scanned, and only when somebody asks."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal, TypeAlias

import attrs

from .findings import Path

Part: TypeAlias = tuple[Path, int, int]
"""A path, the offset of its key and the offset of its value."""

_JSON_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
_TOML_TOKEN: Final = re.compile(
    r'''"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[\n\[\]{},=.]|\#[^\n]*|[^\s\[\]{},=.\#"']+''',
    re.DOTALL,
)


def place_of(text: str, at: int) -> tuple[int, int]:
    """Return line and column, from 1, of an offset."""
    return text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)


def place_at_depth(text: str, depth: int) -> tuple[int, int] | None:
    """Return where the brackets of a JSON or TOML text are first nested deeper than this."""
    inside = 0
    for token in _TOML_TOKEN.finditer(text):
        inside += (token[0] in "[{") - (token[0] in "]}")
        if inside > depth:
            return place_of(text, token.start())
    return None


@attrs.define
class ScannedPlaces:
    """The places in a valid text, which `scan` yields the parts of, the whole first."""

    text: str
    scan: Callable[[str], Iterator[Part]]
    offsets: dict[Path, tuple[int, int]] = attrs.field(factory=dict)

    def __call__(self, path: Path, *, key: bool = False) -> tuple[int, int] | None:
        """Return line and column of the value at `path`, or of its key; of what is above it where it is not there."""
        if not self.offsets:
            for found, at_key, at in self.scan(self.text):
                self.offsets.setdefault(found, (at_key, at))
        while path not in self.offsets:
            path = path[:-1]
        return place_of(self.text, self.offsets[path][0 if key else 1])


def scanned_json(text: str) -> Iterator[Part]:
    """Yield every part of a JSON text, in order."""
    path: list[Any] = []
    at_key = 0
    for token in _JSON_TOKEN.finditer(text):
        sign, at = token[0], token.start()
        if sign in "]}":
            path.pop()
        elif sign == ",":
            path[-1] = path[-1] + 1 if isinstance(path[-1], int) else None
        elif path and path[-1] is None and sign != ":":
            path[-1], at_key = json.loads(sign), at
        elif sign != ":":
            yield tuple(path), at_key if path and isinstance(path[-1], str) else at, at
            if sign in "[{":
                path.append(0 if sign == "[" else None)


def scanned_toml(text: str) -> Iterator[Part]:
    """Yield every part of a TOML text, in order; a table that many headers name comes with each of them."""
    yield (), 0, 0
    scan = _TomlScan()
    for token in _TOML_TOKEN.finditer(text):
        if not token[0].startswith("#"):
            yield from scan.take(token[0], token.start())


@attrs.define
class _Inside:
    """An array or an inline table that is open; `index` counts the items of an array."""

    path: Path
    index: int | None


@attrs.define
class _TomlScan:
    """What one token means after those before it."""

    awaits: Literal["key", "value", "end"] = "key"
    table: Path = ()
    header: int = 0
    words: list[tuple[str, int]] = attrs.field(factory=list)
    path: Path = ()
    at_key: int | None = None
    inside: list[_Inside] = attrs.field(factory=list)
    tables: dict[Path, int] = attrs.field(factory=dict)

    def take(self, sign: str, at: int) -> Iterator[Part]:
        """Yield the parts that begin here."""
        if self.awaits == "key":
            yield from self._key(sign, at)
        elif self.awaits == "value":
            yield from self._value(sign, at)
        else:
            self._end(sign)

    def _key(self, sign: str, at: int) -> Iterator[Part]:
        if sign == "[":
            self.header += 1
        elif sign == "]" and self.words:
            yield from self._headed()
        elif sign == "=":
            yield from self._assigned()
        elif sign == "}":
            self._close()
        elif sign not in "]\n.,":
            self.words.append((_word(sign), at))

    def _headed(self) -> Iterator[Part]:
        path: Path = ()
        for word, at in self.words:
            path = (*path, self.tables[path], word) if path in self.tables else (*path, word)
            yield path, at, at
        if self.header == 2:
            self.tables[path] = self.tables.get(path, -1) + 1
            path = (*path, self.tables[path])
            yield path, at, at
        self.table, self.header, self.words = path, 0, []

    def _assigned(self) -> Iterator[Part]:
        *above, (word, self.at_key) = self.words
        path = self.inside[-1].path if self.inside else self.table
        for name, at in above:
            path = (*path, name)
            yield path, at, at
        self.path, self.words, self.awaits = (*path, word), [], "value"

    def _value(self, sign: str, at: int) -> Iterator[Part]:
        if sign == "]":
            self._close()
        elif sign != "\n":
            yield self.path, at if self.at_key is None else self.at_key, at
            self.awaits = "end"
            if sign in "[{":
                self.inside.append(_Inside(self.path, 0 if sign == "[" else None))
                self._next()

    def _end(self, sign: str) -> None:
        if sign in "]}":
            self._close()
        elif sign == "\n" and not self.inside:
            self.awaits = "key"
        elif sign == ",":
            inside = self.inside[-1]
            inside.index = None if inside.index is None else inside.index + 1
            self._next()

    def _next(self) -> None:
        inside = self.inside[-1]
        self.awaits = "key" if inside.index is None else "value"
        if inside.index is not None:
            self.path, self.at_key = (*inside.path, inside.index), None

    def _close(self) -> None:
        self.inside.pop()
        self.awaits = "end"


def _word(sign: str) -> str:
    """Return the key that a token spells."""
    return next(iter(tomllib.loads(f"{sign} = 1"))) if sign[0] in "\"'" else sign
