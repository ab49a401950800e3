"""YAML as plain data with places, and without the surprises of YAML.

The text is read event by event: nothing recurses, no alias is ever followed and no tag is ever
obeyed. A plain word that two readers of YAML would take for two different things becomes a
`Surprise`, which says what to write instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import attrs
import yaml

from ..errors import shown
from .findings import MOST_FINDINGS, Finding, Path, Reading, Unreadable
from .words import Surprise, float_message, in_digits

DEEPEST: Final = 64
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PARSERS_BOUND: Final = "exceeded maximum nesting depth"
_NUMERIC: Final = frozenset("0123456789+-.")
_INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]*)", re.ASCII)
_TRUE_WORDS: Final = ("yes", "on", "y")
_FALSE_WORDS: Final = ("no", "off", "n")
_UNPRINTABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Mark: TypeAlias = Any
Event: TypeAlias = Any


def read_yaml(text: str) -> Reading:
    """Return the one document of a YAML text; raises Unreadable where it is no YAML or too deep."""
    tree = _Tree()
    take = tree.takes()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            take[type(event)](event)
            if tree.ended or len(tree.findings) > MOST_FINDINGS:
                break
    except yaml.MarkedYAMLError as error:
        raise unreadable(error, text, deepest=DEEPEST) from None
    except yaml.YAMLError as error:
        raise _unprintable(text, error) from None
    return Reading(tree.root, tree.place, tuple(tree.findings))


def unreadable(error: yaml.MarkedYAMLError, text: str, *, deepest: int) -> Unreadable:
    """Return what is wrong with `text`, which is no YAML, or which is deeper than the parser itself goes.

    The parser reads ahead, so it may meet its own bound before the events tell that `deepest` is passed.
    """
    problem = error.problem or error.context
    if problem == _PARSERS_BOUND:
        return Unreadable(f"this is nested more than {deepest} deep; flatten it", place_of(error.problem_mark))
    mark = error.problem_mark
    line = "".join(text.splitlines()[mark.line : mark.line + 1]) if mark is not None else ""
    if mark is not None and line[mark.column : mark.column + 1] == "\t":
        return Unreadable("this is not YAML: a tab stands here; indent with spaces", place_of(mark))
    return Unreadable(f"this is not YAML: {problem}", place_of(mark))


def place_of(mark: Mark) -> tuple[int, int] | None:
    """Return the line and column of a mark, counted from 1."""
    return (mark.line + 1, mark.column + 1) if mark is not None else None


def plain(text: str) -> Any:
    """Return what a YAML word without quotes means: None, a boolean, an int, itself, or a Surprise."""
    return _numeric(text) if text[:1] in _NUMERIC else _WORDS.get(text, text)


def _spellings(word: str) -> tuple[str, str, str]:
    return word, word.capitalize(), word.upper()


def _either(word: str, meant: str) -> Surprise:
    return Surprise(f'{word} is a boolean to some readers of YAML only; write {meant}, or "{word}" in quotes')


_WORDS: Final[dict[str, Any]] = {
    **dict.fromkeys(("", "~", *_spellings("null"))),
    **dict.fromkeys(_spellings("true"), True),
    **dict.fromkeys(_spellings("false"), False),
    **{spelling: _either(spelling, "true") for word in _TRUE_WORDS for spelling in _spellings(word)},
    **{spelling: _either(spelling, "false") for word in _FALSE_WORDS for spelling in _spellings(word)},
}


def _numeric(text: str) -> Any:
    if _INTEGER.fullmatch(text):
        return int(text) if len(text) <= 40 else Surprise(f"is a number of {len(text)} digits; write one of at most 19")
    if len(text) <= 100:
        for pattern, message in _SURPRISES:
            if pattern.fullmatch(text):
                return Surprise(message(text), text if message is float_message else None)
    return text


def _leading_zero(text: str) -> str:
    return f'{text} is octal to some readers of YAML; write {_stripped(text)}, or "{text}" in quotes'


def _based(text: str) -> str:
    digits = text.replace("_", "")
    return f'{text} is a number to some readers of YAML only; write {int(digits, 0)}, or "{text}" in quotes'


def _grouped(text: str) -> str:
    return f'{text} is a number to some readers of YAML only; write {_stripped(text)}, or "{text}" in quotes'


def _sexagesimal(text: str) -> str:
    return f'{text} is a number to base 60 to some readers of YAML; write "{text}" in quotes'


def _exponent(text: str) -> str:
    return f"{text} is text to some readers of YAML; write {in_digits(text)}"


def _infinite(text: str) -> str:
    return f"{text} is no amount; write unlimited"


def _date(text: str) -> str:
    return f'{text} is a date to some readers of YAML; write "{text}" in quotes'


def _stripped(text: str) -> str:
    return str(int(text.replace("_", "")))


_SURPRISES: Final[tuple[tuple[re.Pattern[str], Callable[[str], str]], ...]] = tuple(
    (re.compile(pattern, re.ASCII), message)
    for pattern, message in (
        (r"[-+]?0[0-9_]*[0-9]", _leading_zero),
        (r"[-+]?0[xX][0-9a-fA-F_]*[0-9a-fA-F]|[-+]?0[oO][0-7_]*[0-7]|[-+]?0[bB][01_]*[01]", _based),
        (r"[-+]?[0-9][0-9_]*", _grouped),
        (r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?", _sexagesimal),
        (r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)[eE][-+]?[0-9]{1,9}", _exponent),
        (r"[-+]?(\.[0-9][0-9_]*|[0-9][0-9_]*\.[0-9_]*)", float_message),
        (r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", _infinite),
        (r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt \t].*)?", _date),
    )
)


class _Dropped:
    """Stands for a key that cannot be used; its value is read and thrown away."""


_DROPPED: Final = _Dropped()


@attrs.define
class _Frame:
    """A mapping or a list that is being read, and where its parts stand."""

    container: Any
    marks: dict[Any, tuple[Mark, Mark]]
    key: Any = _DROPPED
    key_mark: Mark = None
    key_next: bool = True


@attrs.define
class _Tree:
    """The document so far."""

    root: Any = None
    root_mark: Mark = None
    ended: bool = False
    documents: int = 0
    stack: list[_Frame] = attrs.field(factory=list)
    marks: dict[int, dict[Any, tuple[Mark, Mark]]] = attrs.field(factory=dict)
    findings: list[Finding] = attrs.field(factory=list)

    def takes(self) -> dict[type[Any], Callable[[Event], None]]:
        """Return what to do for each kind of event."""
        return {
            yaml.ScalarEvent: self._scalar,
            yaml.MappingStartEvent: lambda event: self._open({}, event),
            yaml.SequenceStartEvent: lambda event: self._open([], event),
            yaml.MappingEndEvent: self._close,
            yaml.SequenceEndEvent: self._close,
            yaml.AliasEvent: self._alias,
            yaml.DocumentStartEvent: self._start,
            yaml.DocumentEndEvent: _nothing,
            yaml.StreamStartEvent: _nothing,
            yaml.StreamEndEvent: _nothing,
        }

    def place(self, path: Path, *, key: bool = False) -> tuple[int, int] | None:
        """Return line and column of the value at `path`, or of its key."""
        marks, value = (self.root_mark, self.root_mark), self.root
        for part in path:
            inside = self.marks.get(id(value), {})
            if part not in inside:
                break
            marks, value = inside[part], value[part]
        return place_of(marks[0] if key else marks[1])

    def _start(self, event: Event) -> None:
        self.documents += 1
        if self.documents > 1:
            message = "a second document starts here; a catalog is one document"
            self.findings.append(Finding((), message, place=place_of(event.start_mark)))
            self.ended = True

    def _scalar(self, event: Event) -> None:
        if event.tag is not None or event.anchor is not None:
            self._put(self._marked(event, event.value), event)
        else:
            self._put(plain(event.value) if event.implicit[0] else event.value, event)

    def _open(self, container: Any, event: Event) -> None:
        if len(self.stack) >= DEEPEST:
            raise Unreadable(f"this is nested more than {DEEPEST} deep; flatten it", place_of(event.start_mark))
        self._put(self._marked(event, container), event)
        marks: dict[Any, tuple[Mark, Mark]] = {}
        self.marks[id(container)] = marks
        self.stack.append(_Frame(container, marks))

    def _close(self, _event: Event) -> None:
        self.stack.pop()

    def _alias(self, event: Event) -> None:
        self._put(Surprise(f"aliases such as *{event.anchor[:40]} are not followed; write the value out"), event)

    def _marked(self, event: Event, value: Any) -> Any:
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")[:60]
            return Surprise(f"tags such as {tag} are not obeyed; write the value without one")
        if event.anchor is not None:
            message = f"anchors such as &{event.anchor[:40]} are not kept; write the value without one"
            path = (*self._path(), *self._next())
            self.findings.append(Finding(path, message, place=place_of(event.start_mark), kept=True))
        return value

    def _put(self, value: Any, event: Event) -> None:
        if not self.stack:
            self.root, self.root_mark = value, event.start_mark
            return
        frame = self.stack[-1]
        if isinstance(frame.container, list):
            frame.marks[len(frame.container)] = (event.start_mark, event.start_mark)
            frame.container.append(value)
        elif frame.key_next:
            frame.key, frame.key_mark, frame.key_next = self._key(frame, value, event), event.start_mark, False
        else:
            frame.key_next = True
            if frame.key is not _DROPPED:
                frame.container[frame.key] = value
                frame.marks[frame.key] = (frame.key_mark, event.start_mark)

    def _key(self, frame: _Frame, value: Any, event: Event) -> Any:
        if not isinstance(value, str):
            message, name = _bad_key(event), getattr(event, "value", None)
        elif value == "<<" and event.implicit[0]:
            self._spoil(Surprise("has a merge key (<<), which is not obeyed; write the keys out, or use extends"))
            return _DROPPED
        elif value in frame.container:
            line = frame.marks[value][0].line + 1
            message, name = f"duplicate key {shown(value)} (first at line {line}); keep one of them", value
        else:
            return value
        path = (*self._path(), *((name,) if name else ()))
        again = name in frame.container
        at_key = bool(name) and not again
        self.findings.append(Finding(path, message, at_key=at_key, place=place_of(event.start_mark), kept=True))
        return name if name and not again else _DROPPED

    def _spoil(self, surprise: Surprise) -> None:
        if len(self.stack) == 1:
            self.root = surprise
            return
        above = self.stack[-2]
        if isinstance(above.container, list):
            above.container[-1] = surprise
        elif above.key is not _DROPPED:
            above.container[above.key] = surprise

    def _path(self) -> Path:
        above = self.stack[:-1]
        parts = (len(frame.container) - 1 if isinstance(frame.container, list) else frame.key for frame in above)
        return tuple(part for part in parts if part is not _DROPPED)

    def _next(self) -> Path:
        if not self.stack:
            return ()
        frame = self.stack[-1]
        if isinstance(frame.container, list):
            return (len(frame.container),)
        return () if frame.key_next or frame.key is _DROPPED else (frame.key,)


def _bad_key(event: Event) -> str:
    word = getattr(event, "value", None)
    if word is None or event.tag is not None:
        return "a key is text; write one word, or quote it"
    return f'the key {shown(word)[1:-1]} is not text in YAML; write "{word[:60]}" in quotes'


def _nothing(_event: Event) -> None:
    pass


def _unprintable(text: str, error: yaml.YAMLError) -> Unreadable:
    found = _UNPRINTABLE.search(text)
    if found is None:
        return Unreadable(f"this is not YAML: {error}")
    line, column = text.count("\n", 0, found.start()) + 1, found.start() - text.rfind("\n", 0, found.start())
    return Unreadable(f"the character U+{ord(found[0]):04X} cannot stand in YAML; take it out", (line, column))
