"""What a catalog may mean that is wrong in places, so that the rest of it is looked at all the same.

What has the wrong shape is left out, and something stands in for it where something must be. Where the rest
leans on it, the catalog is read in several ways, and only what is wrong in all of them is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import attrs

from ..errors import nearest
from .findings import Finding, Findings, Path
from .words import key_fault, key_word
from .written import (
    WrittenCatalog,
    WrittenCredit,
    WrittenEntitlement,
    WrittenFeature,
    WrittenLimit,
    WrittenPeriod,
    WrittenPlanCredit,
    WrittenRate,
    WrittenRollover,
)

_SECTIONS: Final = tuple(field.name for field in attrs.fields(WrittenCatalog))
_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    kind: tuple(field.name for field in attrs.fields(written))
    for kind, written in {
        "feature": WrittenFeature,
        "credit": WrittenCredit,
        "plan credit": WrittenPlanCredit,
        "rollover": WrittenRollover,
        "entitlement": WrittenEntitlement,
        "limit": WrittenLimit,
        "rate": WrittenRate,
        "period": WrittenPeriod,
    }.items()
}
_LEFT_OUT: Final = object()
_PERIODS: Final = (_LEFT_OUT, {"every": "hour", "count": 7})
_LIMIT: Final[Mapping[str, tuple[Any, ...]]] = {
    "limit": ("unlimited", 0),
    "reset": _PERIODS,
    "depletion": (_LEFT_OUT, "soft"),
}
_WAYS: Final[Mapping[str, Mapping[str, tuple[Any, ...]]]] = {
    "feature": {
        "type": ("metered", "boolean", "config"),
        "reset": _PERIODS,
        "scale": (_LEFT_OUT, 9),
        "value": ("text", "integer", "list", "boolean", "decimal"),
    },
    "credit": {"scale": (_LEFT_OUT, 9), "depletion": (_LEFT_OUT, "soft")},
    "entitlement": _LIMIT,
    "limit": _LIMIT,
}
"""How a field may have been meant that others lean on."""
_DIMENSION: Final = (_LEFT_OUT, "\x1a")
_INSTEAD: Final = {("feature", "type"): "value", ("entitlement", "limits"): "limit", ("rate", "when"): "price"}
"""Which field may be needed without another."""
_ITEMS: Final[Mapping[object, Any]] = {"alerts": 1, "limits": {}, "when": {}}
"""What stands in a list for an item that is wrong; a text in all others."""
_ENTRIES: Final = frozenset(_SECTIONS) - {"version", "default_plan"}
_DEEPEST: Final = 10


@attrs.frozen
class Doubt:
    """A field that is wrong, or that an unknown key may have been meant for, and how it may have been meant."""

    path: Path
    ways: tuple[Any, ...] = (_LEFT_OUT,)


def doubts_of(document: Any, faults: Iterable[Finding]) -> tuple[Doubt, ...]:
    """Return what is in doubt for these faults of shape."""
    found = (doubt for fault in faults if not fault.kept for doubt in _doubts(document, fault))
    return tuple({doubt.path: doubt for doubt in found}.values())


def readings(document: Any, doubts: tuple[Doubt, ...]) -> Iterator[Any]:
    """Yield the document in each way it may have been meant, without what has the wrong shape."""
    for way in range(max((len(doubt.ways) for doubt in doubts), default=1)):
        yield _read(document, [(doubt.path, doubt.ways[way % len(doubt.ways)]) for doubt in doubts])


def settle(findings: Findings, doubts: Iterable[Doubt] = ()) -> None:
    """Tell nothing more, from here on, that follows from what is wrong or in doubt by now."""
    for finding in findings.found:
        if finding.at_key:
            findings.misspelled.add(finding.path)
        if not finding.kept:
            findings.stand_in(finding.path)
    for doubt in doubts:
        findings.stand_in(doubt.path)


def unclear(findings: Findings, section: str, key: str) -> bool:
    """Return whether this may name an entry whose name is wrong, or one of a section that is."""
    entries = findings.document.get(section)
    names = entries if isinstance(entries, Mapping) else ()
    return section in findings.sections or any(key == _trimmed(name) for name in names if key_fault(name))


def mark_sections_meant(findings: Findings) -> None:
    """Mark the section that an unknown one was meant for, where it is missing: what it would hold is not known."""
    meant = [nearest(section, _SECTIONS) for section in findings.sections]
    findings.sections.update(section for section in meant if section and section not in findings.document)


def with_text_keys(document: Any) -> Any:
    """Return a copy of the document with the word for each key that is no text, as far down as entries go."""
    return _with_text_keys(document, 0, {})


def _with_text_keys(document: Any, deep: int, made: dict[tuple[int, int], Any]) -> Any:
    """Return the copy of a part; what stands in several places is copied once."""
    if deep == _DEEPEST or not isinstance(document, Mapping | list | tuple):
        return document
    place = (id(document), deep)
    if place not in made:
        listed = isinstance(document, list | tuple)
        items = enumerate(document) if isinstance(document, list | tuple) else document.items()
        copies = {at if listed else key_word(at): _with_text_keys(item, deep + 1, made) for at, item in items}
        made[place] = list(copies.values()) if listed else copies
    return made[place]


def _doubts(document: Any, fault: Finding) -> Iterator[Doubt]:
    *above, last = fault.path or ("",)
    mapping, kind = tuple(above), _kind(tuple(above))
    if fault.at_key:
        yield Doubt(fault.path)
        yield from (_doubt(mapping, kind, name) for name in _meant(_at(document, mapping), kind, str(last)))
    elif _is_entry(fault.path):
        yield Doubt(fault.path, ({},))
        yield from (_doubt(fault.path, _kind(fault.path), name) for name in _WAYS.get(_kind(fault.path), ()))
    elif isinstance(last, int):
        yield Doubt(fault.path, (_ITEMS.get(above[-1], ""),))
    else:
        yield _doubt(mapping, kind, last)
        instead = _INSTEAD.get((kind, last))
        if instead and instead not in _at(document, mapping):
            yield _doubt(mapping, kind, instead)


def _doubt(mapping: Path, kind: str, name: str) -> Doubt:
    ways = _WAYS.get(kind, {})
    return Doubt((*mapping, name), ways.get(name, _DIMENSION if kind == "case" and name != "price" else (_LEFT_OUT,)))


def _meant(entry: Mapping[str, Any], kind: str, word: str) -> Iterable[str]:
    """Return the fields that an unknown key may have been meant for: the nearest, or any that is not there."""
    fields = _FIELDS.get(kind, ())
    near = nearest(word, fields)
    return [name for name in ((near,) if near else fields) if name not in entry]


def _kind(path: Path) -> str:
    match path:
        case ("features", _):
            return "feature"
        case ("credits", _):
            return "credit"
        case ("rates", _):
            return "rate"
        case ("rates", _, "when", int()):
            return "case"
        case ("plans", _, "credits", _):
            return "plan credit"
        case ("plans", _, "credits", _, "rollover"):
            return "rollover"
        case (_, _, "entitlements", _):
            return "entitlement"
        case (_, _, "entitlements", _, "limits", int()):
            return "limit"
        case (*_, "reset"):
            return "period"
    return ""


def _is_entry(path: Path) -> bool:
    return (len(path) == 2 and path[0] in _ENTRIES) or _kind(path) == "plan credit"


def _at(document: Any, path: Path) -> Mapping[str, Any]:
    """Return the mapping at a path; an empty one where there is another, two keys having had one word."""
    for part in path:
        document = document[part] if _has(document, part) else {}
    return document if isinstance(document, Mapping) else {}


def _has(document: Any, part: str | int) -> bool:
    if isinstance(document, list):
        return isinstance(part, int) and part < len(document)
    return isinstance(document, Mapping) and part in document


def _read(document: Any, meant: Iterable[tuple[Path, Any]]) -> Any:
    for path, value in sorted(meant, key=lambda pair: len(pair[0])):
        document = _put(document, path, value)
    return document


def _put(document: Any, path: Path, value: Any) -> Any:
    """Return a copy with another value in one place, where there is that place."""
    if not path or not isinstance(document, Mapping | list):
        return document
    copy: Any = document[:] if isinstance(document, list) else dict(document)
    part, rest = path[0], path[1:]
    if not _has(document, part) and (rest or isinstance(document, list)):
        return document
    if rest:
        copy[part] = _put(copy[part], rest, value)
    elif value is _LEFT_OUT:
        copy.pop(part, None)
    else:
        copy[part] = value
    return copy


def _trimmed(name: str) -> str:
    return "".join(char for char in name if char.isprintable()).strip().lstrip("$").strip()
