"""What is left out of a catalog that is wrong, so that the rest of it is looked at all the same.

What has the wrong shape cannot be read on. The least that can be is left out: a field where the rest of
its entry can be judged without it, else the entry; and the names in what was left out are looked up.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import attrs

from .findings import Finding, Findings, Path, unit_of, unknown
from .model import Catalog
from .words import key_fault, key_word
from .written import WrittenCatalog, WrittenCredit, WrittenFeature

_SECTIONS: Final = tuple(field.name for field in attrs.fields(WrittenCatalog))
_FIELDS: Final[Mapping[object, frozenset[str]]] = {
    "features": frozenset(field.name for field in attrs.fields(WrittenFeature)) - {"type"},
    "credits": frozenset(field.name for field in attrs.fields(WrittenCredit)),
}
"""What an entry can be judged without."""
_LEANING: Final[Mapping[tuple[object, object], tuple[str, ...]]] = {
    ("features", "value"): ("prefer",),
    ("features", ""): ("prefer",),
    ("credits", "scale"): ("floor", "alerts"),
    ("credits", "depletion"): ("floor",),
    ("credits", ""): ("floor", "alerts"),
}
"""What says nothing without a field; "" is a key that is unknown, and may have been meant for any."""
_NAMED: Final[Mapping[object, tuple[str, str]]] = {
    "entitlements": ("feature", "features"),
    "credits": ("credit", "credits"),
}
_DEEPEST: Final = 5


def readable(document: Any, faults: Iterable[Finding]) -> Any:
    """Return a copy of the document without what has the wrong shape."""
    return _without(document, {part for fault in faults if not fault.kept for part in _omitted(document, fault.path)})


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


def names_left_out(catalog: Catalog, findings: Findings) -> Iterator[Finding]:
    """Yield a finding for each name in what was left out that is declared nowhere."""
    for path in sorted(findings.units, key=str):
        if len(path) == 4 and path[2] in _NAMED:
            noun, section = _NAMED[path[2]]
            yield from _unknown(catalog, findings.unclear, noun, section, path[3], path, at_key=True)
        elif len(path) == 2 and path[0] == "rates":
            yield from _unknown(catalog, findings.unclear, "feature", "features", path[1], path, at_key=True)
            named = _at(findings.document, (*path, "credit"))
            yield from _unknown(catalog, findings.unclear, "credit", "credits", named, (*path, "credit"))


def _without(document: Any, parts: Iterable[Path]) -> Any:
    """Return a copy of the document without these parts."""
    inside: dict[str | int, list[Path]] = {}
    for part in parts:
        if part:
            inside.setdefault(part[0], []).append(part[1:])
    if not inside or not isinstance(document, Mapping):
        return document
    return {key: _without(item, inside.get(key, ())) for key, item in document.items() if () not in inside.get(key, ())}


def _omitted(document: Any, path: Path) -> Iterator[Path]:
    entry = unit_of(path)
    fields = _FIELDS.get(entry[0], frozenset()) if entry else frozenset()
    untyped = entry[:1] == ("features",) and _at(document, (*entry, "type")) is None
    if len(path) < 3 or not fields or path[2] == "type" or untyped:
        yield entry
        return
    yield path[:3]
    field = path[2] if path[2] in fields else ""
    yield from ((*entry, other) for other in _LEANING.get((entry[0], field), ()))


def _unknown(
    catalog: Catalog,
    unclear: Callable[..., bool],
    noun: str,
    section: str,
    name: object,
    path: Path,
    *,
    at_key: bool = False,
) -> Iterator[Finding]:
    known = getattr(catalog, section)
    if isinstance(name, str) and name not in known and not unclear(section, name) and not key_fault(name):
        yield Finding(path, unknown(noun, name, known), at_key=at_key)


def _at(document: Any, path: Path) -> object:
    for part in path:
        if not isinstance(document, Mapping) or part not in document:
            return None
        document = document[part]
    return document
