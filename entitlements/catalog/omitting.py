"""What is left out of a catalog that is wrong, so that the rest of it is looked at all the same.

What has the wrong shape cannot be read on. The least that can be is left out, and where something must
be, something stands in for it; what follows from that is not told.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import attrs

from .findings import Finding, Findings, Path, unit_of
from .words import key_word
from .written import (
    WrittenCatalog,
    WrittenCredit,
    WrittenEntitlement,
    WrittenFeature,
    WrittenPlanCredit,
    WrittenRate,
)


def _fields(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in attrs.fields(kind))


_SECTIONS: Final = _fields(WrittenCatalog)
_KINDS: Final[Mapping[tuple[object, int], str]] = {
    ("features", 2): "feature",
    ("credits", 2): "credit",
    ("rates", 2): "rate",
    ("entitlements", 4): "entitlement",
    ("credits", 4): "plan credit",
}
_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "feature": _fields(WrittenFeature),
    "credit": _fields(WrittenCredit),
    "rate": _fields(WrittenRate),
    "entitlement": _fields(WrittenEntitlement),
    "plan credit": _fields(WrittenPlanCredit),
}
_LEANING: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("feature", "value"): ("prefer",),
    ("feature", ""): ("prefer",),
    ("credit", "scale"): ("floor", "alerts"),
    ("credit", "depletion"): ("floor",),
    ("credit", ""): ("floor", "alerts"),
    ("rate", "when"): ("when", "price"),
    ("rate", ""): ("when", "price"),
    ("entitlement", "limits"): ("limit",),
    ("entitlement", ""): ("limit", "value"),
}
"""What says nothing without a field; "" is a key that is unknown, and may have been meant for any."""
_ITEMS: Final[Mapping[object, Any]] = {"alerts": 1, "limits": {}, "when": {}}
"""What stands in a list for an item that is wrong; a text in all others."""
_ENTRIES: Final = (("rates",), ("credits",))
"""Where an entry that is wrong is read as an empty one, so that its name is looked up."""
_DEEPEST: Final = 5


def settle(findings: Findings) -> None:
    """Tell nothing more, from here on, that follows from what is wrong by now."""
    for finding in findings.found:
        if finding.at_key:
            findings.misspelled.add(finding.path)
        if not finding.kept:
            findings.stood_in.update((finding.path, *_leaning(finding.path)))


def fields_wrong(findings: Findings, section: str, key: str) -> frozenset[str]:
    """Return the fields of a feature or a credit that are wrong, each that an unknown key may have been meant for."""
    kind = _KINDS[section, 2]
    paths = [finding.path for finding in findings.found if finding.path[:2] == (section, key) and not finding.kept]
    return frozenset(name for path in paths for name in (_meant(kind, path[2]) if len(path) > 2 else _FIELDS[kind]))


def readable(document: Any, faults: Iterable[Finding]) -> Any:
    """Return a copy of the document without what has the wrong shape."""
    return _without(document, {_omitted(document, fault.path) for fault in faults if not fault.kept})


def with_text_keys(document: Any, deep: int = 0) -> Any:
    """Return a copy of the document with the word for each key that is no text, as far down as entries go."""
    if deep == _DEEPEST or not isinstance(document, Mapping):
        return document
    return {key_word(key): with_text_keys(item, deep + 1) for key, item in document.items()}


def mark_sections_meant(findings: Findings) -> None:
    """Mark the section that an unknown one was meant for, where it is missing: what it would hold is not known."""
    for word in [unit[0] for unit in findings.units if len(unit) == 1]:
        meant = difflib.get_close_matches(str(word), _SECTIONS, n=1)
        findings.units.update((section,) for section in meant if section not in findings.document)


def _leaning(path: Path) -> Iterator[Path]:
    entry = unit_of(path)
    kind = _KINDS.get((entry[-2], len(entry))) if len(entry) > 1 else None
    if kind is not None and len(path) > len(entry):
        word = path[len(entry)]
        field = str(word) if word in _FIELDS[kind] else ""
        yield from ((*entry, other) for other in _LEANING.get((kind, field), ()))


def _meant(kind: str, word: object) -> Iterable[str]:
    if word in _FIELDS[kind]:
        return (str(word),)
    return difflib.get_close_matches(str(word), _FIELDS[kind], n=1) or _FIELDS[kind]


def _omitted(document: Any, path: Path) -> Path:
    """Return what is left out for a fault: its own place, or all of a feature that has no type."""
    entry = unit_of(path)
    untyped = entry[:1] == ("features",) and (path[2:3] == ("type",) or _untyped(document, entry))
    return entry if untyped else path


def _untyped(document: Any, entry: Path) -> bool:
    for part in entry:
        if not isinstance(document, Mapping) or part not in document:
            return True
        document = document[part]
    return not isinstance(document, Mapping) or document.get("type") is None


def _without(document: Any, parts: Iterable[Path], above: Path = ()) -> Any:
    """Return a copy of the document without these parts, or with what stands in for them."""
    inside: dict[str | int, list[Path]] = {}
    for part in parts:
        if part:
            inside.setdefault(part[0], []).append(part[1:])
    if not inside or not isinstance(document, Mapping | list | tuple):
        return document
    listed = not isinstance(document, Mapping)
    kept: dict[Any, Any] = {}
    for key, item in enumerate(document) if isinstance(document, list | tuple) else document.items():
        rest = inside.get(key, ())
        if () not in rest:
            kept[key] = _without(item, rest, (*above, key))
        elif listed or above in _ENTRIES or _is_plan_credits(above):
            kept[key] = _ITEMS.get(above[-1], "") if listed else {}
    return list(kept.values()) if listed else kept


def _is_plan_credits(path: Path) -> bool:
    return len(path) == 3 and (path[0], path[2]) == ("plans", "credits")
