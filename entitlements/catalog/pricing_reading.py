"""A Pricing2Yaml text as plain data with places, and typed access to it.

Numbers stay exactly as written, keys and dates are text, aliases and merge keys mean what YAML says
they mean, and tags are refused. However a text is made, reading it ends soon: its depth is measured
before anything recurses, and what aliases unfold to is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from itertools import islice
from typing import Any, Final, TypeAlias

import attrs
import yaml

from ..errors import shown
from .findings import Finding, Findings, Path, Reading, Unreadable, dotted, near
from .pricing_words import check_encoding, plain
from .words import Misfit, key_fault
from .words import text as sound
from .yaml_reading import place_of, unreadable

Value: TypeAlias = "bool | int | Decimal | str | list[Value] | dict[str, Value] | None"

LARGEST: Final = 4 * 2**20
DEEPEST: Final = 32
MOST_VALUES: Final = 100_000
_MOST_HINTS: Final = 200
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_QUOTES: Final = frozenset("'\"|>")
_UNFINISHED: Final = object()


def read(data: bytes) -> Reading:
    """Return the one document of a YAML text; raises Unreadable where it is none, too deep or too large."""
    if len(data) > LARGEST:
        raise Unreadable(f"the file is larger than {LARGEST // 2**20} MiB; a pricing is not")
    check_encoding(data)
    try:
        _survey(data)
        tree = _Tree(yaml.compose(data, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        raise unreadable(error, data.decode(errors="replace"), deepest=DEEPEST) from None
    except yaml.YAMLError as error:
        raise Unreadable(f"this is not YAML: {str(error).splitlines()[0]}") from None
    return Reading(tree.value(tree.root, ()), tree.place, tuple(tree.findings))


def spelled(number: int | Decimal) -> str:
    """Return a number as text, in digits wherever that is short."""
    if isinstance(number, int):
        return str(number) if number.bit_length() < 1000 else "a number of too many digits"
    if not number.is_finite():
        return ".nan" if number.is_nan() else ".inf" if number > 0 else "-.inf"
    return format(number, "f") if abs(number.adjusted()) < 60 else str(number)


@attrs.define
class Remarks:
    """What is wrong with a pricing, and what of it the catalog does not hold."""

    findings: Findings
    _notes: dict[str, None] = attrs.field(factory=dict)
    _values: int = 0
    _hints: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes so far, each once, in the order they came up."""
        return tuple(self._notes)

    def wrong(self, path: Path, message: str, *, at_key: bool = False) -> None:
        """Keep a mistake; raises CatalogError when there are too many."""
        self.findings.add(Finding(path, message, at_key=at_key))

    def note(self, path: Path, message: str) -> None:
        """Keep a note on what stands at `path`."""
        self._notes[f"{dotted(path)}: {message}"] = None

    def hint(self, word: str, known: Iterable[str]) -> str:
        """Return a did-you-mean, of which a note has time for so many."""
        self._hints += 1
        return near(word, known) if self._hints <= _MOST_HINTS else ""

    def root(self, document: object) -> Part | None:
        """Return a document as a Part, checked to its leaves; None, with the mistake kept, where it is no mapping."""
        checked = self._checked(document, ())
        if not isinstance(checked, dict):
            self.wrong((), f"{_kind(checked)}; write a mapping")
            return None
        self.findings.document = checked
        return Part(dict(checked), (), self)

    def _checked(self, value: object, path: Path) -> Value:
        self._values += 1
        if self._values > MOST_VALUES or len(path) > DEEPEST:
            limit = f"nested more than {DEEPEST} deep" if len(path) > DEEPEST else f"more than {MOST_VALUES} values"
            self.wrong(path[:DEEPEST], f"this is {limit}; a pricing is not")
            raise self.findings.error()
        if isinstance(value, Mapping):
            return self._checked_mapping(value, path)
        if isinstance(value, list | tuple):
            return [self._checked(item, (*path, at)) for at, item in enumerate(value)]
        return self._leaf(value, path)

    def _checked_mapping(self, value: Mapping[Any, Any], path: Path) -> dict[str, Value]:
        checked: dict[str, Value] = {}
        for raw, item in value.items():
            name = _name(self._leaf(raw, path))
            if name is None or name in checked:
                self.wrong(path, f"the key {shown(str(raw)[:80])} is no text, or stands here twice")
            else:
                checked[name] = self._checked(item, (*path, name))
        return checked

    def _leaf(self, value: object, path: Path) -> Value:
        try:
            return _leaf(value)
        except Misfit as error:
            self.wrong(path, str(error))
            return None


@attrs.define
class Part:
    """One mapping of a pricing: hands out its values by type, and knows which were never asked for.

    One that stands in a section by name has that `name`, trimmed, and a `key` in the catalog.
    """

    _left: dict[str, Value]
    path: Path
    remarks: Remarks
    name: str = ""
    key: str = ""

    def peek(self, key: str) -> Value:
        """Return a value as it is, None where it is absent, and leave it."""
        return self._left.get(key)

    def like(self, key: str, known: Iterable[str]) -> str | None:
        """Return a key that is not `known` and was probably meant to be this one; None where there is none."""
        return next((name for name in islice(self._left, 100) if name not in known and near(name, (key,))), None)

    def take(self, key: str) -> Value:
        """Return a value as it is and leave it out from now on."""
        return self._left.pop(key, None)

    def text(self, key: str) -> str:
        """Return text, or a number as its text; empty where it is absent."""
        value = self.take(key)
        name = None if isinstance(value, bool) else _name(value)
        if name is None and value is not None:
            self.wrong(key, f"{_kind(value)}; write text")
        return name or ""

    def names(self, key: str) -> tuple[str, ...] | None:
        """Return a list of names, each once, where one name alone is a list too; None where it is absent."""
        value = self.take(key)
        if value is None:
            return None
        listed = value if isinstance(value, list) else [value]
        named = [_name(item) for item in listed]
        if None in named:
            self.wrong(key, "this is no list of names; write one, such as [BASIC, PRO]")
        return tuple(dict.fromkeys(name.strip() for name in named if name is not None))

    def part(self, key: str) -> Part | None:
        """Return the mapping at a key; None where it is absent or, with the mistake kept, something else."""
        return self._part(self.at(key), self.take(key))

    def parts(self, key: str) -> dict[str, Part]:
        """Return the mappings of a section by trimmed name, an empty entry as an empty mapping."""
        section = self.part(key)
        named: dict[str, Part] = {}
        for raw, entry in section.items() if section is not None else ():
            name, part = raw.strip(), self._part((*self.path, key, raw), {} if entry is None else entry)
            if name in named:
                self.remarks.wrong((*self.path, key, raw), "this name stands here twice but for spaces", at_key=True)
            if name != raw:
                self.remarks.note((*self.path, key, raw), "the spaces around the name are taken off")
            if part is not None:
                part.name = part.key = name
                named[name] = part
        return named

    def entries(self, key: str) -> dict[str, Part]:
        """Return the mappings of a section by name, where a bare value stands for a mapping with that `value`."""
        section: Any = self.peek(key)
        for name, entry in section.items() if isinstance(section, dict) else ():
            if not isinstance(entry, dict) and entry is not None:
                self.remarks.note((*self.path, key, name), "has no key 'value'; read as the value")
                section[name] = {"value": entry}
        return self.parts(key)

    def items(self) -> Iterator[tuple[str, Value]]:
        """Yield what is left, and leave nothing."""
        left, self._left = self._left, {}
        yield from left.items()

    def at(self, key: str) -> Path:
        """Return the path of a key."""
        return (*self.path, key)

    def wrong(self, key: str, message: str) -> None:
        """Keep a mistake in the value at a key."""
        self.remarks.wrong(self.at(key), message)

    def note(self, key: str, message: str) -> None:
        """Keep a note on the value at a key."""
        self.remarks.note(self.at(key), message)

    def metadata(self, known: frozenset[str]) -> dict[str, Any]:
        """Return what was never asked for, JSON-ready; what is not `known` in this place is noted."""
        left = {key: value for key, value in self.items() if value is not None}
        for key in left:
            if key not in known:
                self.note(key, f"unknown key, kept as metadata{self.remarks.hint(key, known)}")
        return self._ready_mapping(left, self.path)

    def _part(self, path: Path, value: Value) -> Part | None:
        if value is None or isinstance(value, dict):
            return None if value is None else Part(dict(value), path, self.remarks)
        self.remarks.wrong(path, f"{_kind(value)}; write a mapping")
        return None

    def _ready(self, value: Value, path: Path) -> Any:
        if isinstance(value, dict):
            return self._ready_mapping(value, path)
        if isinstance(value, list):
            return [self._ready(item, (*path, at)) for at, item in enumerate(value)]
        if isinstance(value, Decimal) or (type(value) is int and value.bit_length() > 63):
            return spelled(value)
        return value

    def _ready_mapping(self, values: Mapping[str, Value], path: Path) -> dict[str, Any]:
        ready: dict[str, Any] = {}
        for key, value in values.items():
            name = key_from(key)
            if name in ready or (name != key and name in values):
                self.remarks.note((*path, key), f"left out: {shown(name)}, the key nearest to it, stands here too")
                continue
            if name != key:
                self.remarks.note((*path, key), f"kept as {shown(name)}: a key is printable, trimmed, with no $ ahead")
            ready[name] = self._ready(value, (*path, key))
        return ready


def key_from(name: str) -> str:
    """Return the catalog key nearest to a name: the name itself where it is one."""
    if key_fault(name) is None:
        return name
    safe = "".join("_" if key_fault(f"_{char}_") else char for char in name).strip()
    safe = f"_{safe.lstrip('$')}" if safe.startswith("$") else safe
    return safe[:255].strip() or "_"


def _kind(value: Value) -> str:
    if value is None:
        return "this is empty"
    kinds = ((bool, "true or false"), (int | Decimal, "a number"), (str, "text"), (list, "a list"))
    return f"this is {next((name for kind, name in kinds if isinstance(value, kind)), 'a mapping')}"


def _name(value: Value) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | Decimal):
        return spelled(value)
    return value if isinstance(value, str) else None


def _leaf(value: object) -> Value:
    if value is None or isinstance(value, bool | Decimal):
        return Decimal("NaN") if isinstance(value, Decimal) and value.is_nan() else value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return Decimal(repr(float(value)))
    if isinstance(value, date | datetime):
        return value.isoformat()
    return sound(value, "text, a number, true, false, a list or a mapping")


def _survey(data: bytes) -> None:
    """Refuse, event by event, what is not safe to build: depth, tags, a second document."""
    depth = documents = 0
    for number, event in enumerate(yaml.parse(data, Loader=_LOADER)):
        tag = getattr(event, "tag", None)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        documents += isinstance(event, yaml.DocumentStartEvent)
        message = None
        if depth > DEEPEST:
            message = f"this is nested more than {DEEPEST} deep; flatten it"
        elif documents > 1:
            message = "a second document starts here; a pricing is one document"
        elif tag is not None:
            message = f"tags such as {shown(tag)} are not obeyed; take it out"
        elif number > 4 * MOST_VALUES:
            message = "this is larger than any pricing; split it up"
        if message is not None:
            raise Unreadable(message, place_of(event.start_mark))


@attrs.define
class _Tree:
    """The nodes of a text as values, each built once however many aliases name it."""

    root: Any
    findings: list[Finding] = attrs.field(factory=list)
    _built: dict[int, Any] = attrs.field(factory=dict)
    _merged: int = 0

    def value(self, node: Any, path: Path) -> Any:
        """Return what a node says."""
        if isinstance(node, yaml.ScalarNode):
            return node.value if node.style in _QUOTES else plain(node.value)
        built = self._built.get(id(node))
        if built is _UNFINISHED:
            raise Unreadable("an alias stands inside of what it names", place_of(node.start_mark))
        if built is not None or node is None:
            return built
        self._built[id(node)] = _UNFINISHED
        if isinstance(node, yaml.SequenceNode):
            built = [self.value(item, (*path, at)) for at, item in enumerate(node.value)]
        else:
            built = self._mapping(node, path)
        self._built[id(node)] = built
        return built

    def place(self, path: Path, *, key: bool = False) -> tuple[int, int] | None:
        """Return line and column of the value at `path`, or of its key."""
        at_key = node = self.root
        for part in path:
            found = next((pair for pair in _members(node) if pair[0] == part), None)
            if found is None:
                break
            _, at_key, node = found
        return place_of(getattr(at_key if key else node, "start_mark", None))

    def _mapping(self, node: Any, path: Path) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged = []
        first: dict[str, int] = {}
        for key, at_key, item in _members(node):
            if not isinstance(at_key, yaml.ScalarNode):
                raise Unreadable("a key is text; write one word, or quote it", place_of(at_key.start_mark))
            if key == "<<":
                merged.append((self.value(item, (*path, key)), item))
            elif key in own:
                message = f"duplicate key {shown(key)} (first at line {first[key]}); keep one of them"
                self.findings.append(Finding((*path, key), message, at_key=True, place=place_of(at_key.start_mark)))
            else:
                own[key], first[key] = self.value(item, (*path, key)), at_key.start_mark.line + 1
        return self._with_merged(own, merged)

    def _with_merged(self, own: dict[str, Any], merged: list[tuple[Any, Any]]) -> dict[str, Any]:
        for value, node in merged:
            for other in value if isinstance(value, list) else [value]:
                if not isinstance(other, dict):
                    raise Unreadable("a merge key (<<) takes a mapping, or a list of them", place_of(node.start_mark))
                self._merged += len(other) + 1
                if self._merged > MOST_VALUES:
                    raise Unreadable(f"more than {MOST_VALUES} values are merged here", place_of(node.start_mark))
                for key, item in other.items():
                    own.setdefault(key, item)
        return own


def _members(node: Any) -> Iterator[tuple[Any, Any, Any]]:
    if isinstance(node, yaml.MappingNode):
        yield from ((key.value, key, item) for key, item in node.value)
    elif isinstance(node, yaml.SequenceNode):
        yield from ((at, item, item) for at, item in enumerate(node.value))
