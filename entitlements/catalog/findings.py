"""What is wrong with a catalog while it is being read: findings with paths, gathered and bounded.

A `Finding` names its place by the keys that lead to it; `Findings` turns them into `Problem`s with
file, line and column, in file order, and remembers which parts of the catalog are unclear so that
one mistake is reported once.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import attrs

from ..errors import CatalogError, did_you_mean, shown
from .problems import Problem

Path: TypeAlias = tuple[str | int, ...]
T = TypeVar("T")
R = TypeVar("R")
MOST_FINDINGS: Final = 100
_PLAIN = re.compile(r"[\w-]{1,80}")


class Places(Protocol):
    """Where a path stands in a text: line and column from 1, or None where that is not known."""

    def __call__(self, path: Path, *, key: bool = False) -> tuple[int, int] | None:
        """Return the place of the value at `path`, or of its key."""


def nowhere(path: Path, *, key: bool = False) -> tuple[int, int] | None:  # noqa: ARG001
    """Return None: a mapping keeps no positions."""
    return None


@attrs.frozen
class Finding:
    """One thing that is wrong at `path`, or does not go with what stands at `beside`.

    `at_key` where it is the key that is wrong and not its value, `amount` where it is a bad amount,
    `kept` where what is wrong is read on all the same; `place` where line and column are known already.
    """

    path: Path
    message: str
    at_key: bool = False
    amount: bool = False
    place: tuple[int, int] | None = None
    kept: bool = False
    beside: Path = ()

    @property
    def what(self) -> tuple[Path, str]:
        """Where it is wrong and how, without what to write instead, which stands behind a semicolon."""
        return self.path, self.message.partition("; ")[0]


@attrs.frozen
class Reading:
    """What a text says as plain data, where it says so, and what is wrong with its spelling."""

    document: Any
    places: Places
    findings: tuple[Finding, ...] = ()


class Unreadable(ValueError):
    """A text that cannot be read to its end; `finding` says why."""

    def __init__(self, message: str, place: tuple[int, int] | None = None) -> None:
        self.finding = Finding((), message, place=place)
        super().__init__(message)


def dotted(path: Path) -> str:
    """Return a path as it is shown: `plans.pro.limits[0]`, with odd keys quoted and escaped."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{_key(part)}" for part in path)
    return text.removeprefix(".")


def written(path: Path, document: object) -> Path:
    """Return the part of `path` that the document spells out, shorthands being shorter than what they mean."""
    found: list[str | int] = []
    rest = list(path)
    while rest:
        if rest[:2] == ["limits", 0] and not _has(document, "limits"):
            rest = rest[2:]
        elif rest[0] == "value" and isinstance(document, list | tuple):
            rest = rest[1:]
        elif _has(document, rest[0]):
            found.append(rest[0])
            document = document[rest.pop(0)]  # type: ignore[index]
        else:
            break
    return tuple(found)


def unknown(noun: str, word: str, known: Iterable[str]) -> str:
    """Return the message for a name that is declared nowhere."""
    return f"unknown {noun} {shown(word)}{near(word, known)}"


def near(word: str, known: Iterable[str]) -> str:
    """Return a did-you-mean in bounded time, however many names are known."""
    return did_you_mean(word, islice(known, 1000))


@attrs.define
class Findings:
    """What was found so far; after `most` the catalog is refused without looking further."""

    origin: str = "the catalog"
    file: str | None = None
    document: Mapping[str, Any] = attrs.field(factory=dict)
    places: Places = nowhere
    most: int = MOST_FINDINGS
    found: dict[Finding, None] = attrs.field(factory=dict)
    sections: set[str] = attrs.field(factory=set)
    misspelled: set[Path] = attrs.field(factory=set)
    stood_in: set[Path] = attrs.field(factory=set)
    around: set[Path] = attrs.field(factory=set)

    def add(self, finding: Finding) -> None:
        """Keep a finding, unless it follows from another; raises CatalogError when there are too many."""
        if self.stood_in and self._follows(finding):
            return
        if not finding.kept and len(finding.path) == 1:
            self.sections.add(str(finding.path[0]))
        if finding.kept or not finding.at_key or finding.path not in self.misspelled:
            self.found[finding] = None
        if finding.kept and finding.at_key:
            self.misspelled.add(finding.path)
        if len(self.found) > self.most:
            raise self.error()

    def apart(self) -> Findings:
        """Return findings of the same text, without those so far and without bound."""
        return attrs.evolve(
            self,
            most=sys.maxsize,
            found={},
            sections=set(self.sections),
            misspelled=set(self.misspelled),
            stood_in=set(self.stood_in),
            around=set(self.around),
        )

    def extend(self, findings: Iterable[Finding]) -> None:
        """Keep several."""
        for finding in findings:
            self.add(finding)

    def stand_in(self, path: Path) -> None:
        """Note that what stands at `path` from here on is not what was written."""
        self.stood_in.add(path)
        self.around.update(path[:length] for length in range(2, len(path)))

    def _follows(self, finding: Finding) -> bool:
        """Tell whether this is about something that was not written; a name is judged apart from its value."""
        if finding.at_key:
            return self._within(finding.path[:-1])
        path = written(finding.path, self.document)
        is_there = path[-1:] == finding.path[-1:]
        judged = (finding.path, finding.beside, *((path,) if is_there else ()))
        return (
            self._within(path)
            or self._within(finding.beside)
            or any(each in self.stood_in or each in self.around for each in judged)
        )

    def _within(self, path: Path) -> bool:
        return any(path[:length] in self.stood_in for length in range(1, len(path) + 1))

    def raise_if_any(self) -> None:
        """Raise CatalogError with everything that was found, in file order."""
        if self.found:
            raise self.error()

    def error(self) -> CatalogError:
        """Return the CatalogError of all findings."""
        placed = sorted(islice(self._placed(), MOST_FINDINGS), key=lambda pair: pair[0])
        problems = [problem for _, problem in placed]
        if len(self.found) > MOST_FINDINGS:
            problems.append(
                Problem("", f"there are more than {MOST_FINDINGS} problems; the rest is not listed", self.file)
            )
        return CatalogError(problems, origin=self.origin)

    def _placed(self) -> Iterator[tuple[tuple[int, ...], Problem]]:
        for finding in self.found:
            path = finding.path if finding.at_key else written(finding.path, self.document)
            line, column = finding.place or self.places(path, key=finding.at_key) or (None, None)
            order = _order(path, self.document) if line is None or column is None else (line, column)
            yield order, Problem(dotted(path), finding.message, self.file, line, column)


def agreed(readings: Iterable[T], make: Callable[[T, Findings], R], findings: Findings) -> R:
    """Return what is made of the first reading; only what is wrong by every reading is wrong.

    Two readings agree on what is wrong; what to write instead may depend on the reading.
    """
    readings = list(readings)
    if len(readings) == 1:
        return make(readings[0], findings)
    made = [(scratch := findings.apart(), make(reading, scratch)) for reading in readings]
    (first, result), *others = made
    told = [{each.what for each in other.found} for other, _ in others]
    findings.extend(finding for finding in first.found if all(finding.what in each for each in told))
    return result


def _key(part: str) -> str:
    return part if _PLAIN.fullmatch(part) else shown(part)


def _has(document: object, part: str | int) -> bool:
    if isinstance(part, int):
        return isinstance(document, list | tuple) and part < len(document)
    return isinstance(document, Mapping) and part in document


def _order(path: Path, document: object) -> tuple[int, ...]:
    order = []
    for part in path:
        if not _has(document, part):
            break
        order.append(part if isinstance(part, int) else list(document).index(part))  # type: ignore[call-overload]
        document = document[part]  # type: ignore[index]
    return tuple(order)
