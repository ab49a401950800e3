"""Catalogs from files and mappings, all their problems at once. The one module of the catalog that reads files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path as FilePath
from typing import Any

import attrs
from cattrs import BaseValidationError

from ..errors import AmountError, CatalogError, shown
from ..frozen import frozen
from .building import built
from .checking import check
from .checking_values import check_entitlement, contradictions
from .entitling import entitled
from .findings import Finding, Findings, Path, Places, Unreadable, agreed, nowhere
from .meaning import doubts_of, mark_sections_meant, readings, settle, unclear, with_text_keys
from .model import Catalog, Entitlement, Feature, Mode
from .problems import Problem
from .reading import FORMATS, LARGEST, read
from .structuring import findings_of, structured, structured_in_part
from .words import Misfit
from .writing import document as document_of
from .writing import version_of
from .written import Entry, Shorthand, WrittenCatalog, WrittenEntitlement


def load(source: object) -> Catalog:
    """Return the catalog in a file or in a mapping; a Catalog is returned as it is.

    The suffix of a file decides its format: .yaml, .yml, .toml or .json. Raises CatalogError with
    every problem at once, and OSError (FileNotFoundError) where the file cannot be read.
    """
    if isinstance(source, Catalog):
        return source
    if isinstance(source, Mapping):
        return parse(source)
    if isinstance(source, str | os.PathLike):
        return _load_file(os.fspath(source))
    raise TypeError(f"a catalog is a path, a mapping or a Catalog, not {type(source).__name__}")


def parse(
    document: Mapping[str, Any],
    *,
    places: Places = nowhere,
    origin: str | None = None,
    notes: Iterable[str] = (),
    found: Iterable[Finding] = (),
) -> Catalog:
    """Return the catalog that a mapping in the file format describes, and read nothing.

    `places` knows where each path stands in the text of `origin`; `found` is what its reader found
    wrong already; `notes` are remarks that go with the catalog and are not part of its version.
    Raises CatalogError with every problem at once.
    """
    findings = Findings(origin or "the catalog", origin, document, places)
    findings.extend(found)
    catalog = agreed(_written(document, findings), partial(_checked, notes), findings)
    findings.raise_if_any()
    canonical = document_of(catalog)
    return attrs.evolve(catalog, document=frozen(canonical), version=version_of(canonical), origin=origin)


def refusal(catalog: Catalog, found: Iterable[Finding]) -> CatalogError:
    """Return the CatalogError of what cannot be taken up of a catalog, with places in the file it was read from.

    The file is read again for that; of one that says something else by now, or is gone, only the name is told.
    """
    findings = _reread(catalog) or Findings(catalog.origin or "the catalog", catalog.origin, catalog.document)
    findings.extend(found)
    return findings.error()


def _reread(catalog: Catalog) -> Findings | None:
    origin = catalog.origin
    if origin is None:
        return None
    try:
        reading = read(_bytes(origin), FilePath(origin).suffix.lower())
        if reading.findings or parse(reading.document) != catalog:
            return None
    except (CatalogError, Unreadable, OSError, LookupError):
        return None
    return Findings(origin, origin, reading.document, reading.places)


def entitlement(feature: Feature, value: object, *, mode: Mode) -> Entitlement:
    """Return what an override with `value` says about a feature.

    `value` is written as in a catalog: true or false, a number, an exact string or unlimited, a config
    value, or a mapping such as {"limit": 5, "reset": "day"}; `deny` takes None or False. Raises
    AmountError for a bad amount and CatalogError for a value of another shape.
    """
    findings = Findings(f"the value for feature {shown(feature.key)}", document={feature.key: value})
    path: Path = (feature.key,)
    if mode == "deny":
        if value is not None and value is not False:
            findings.add(Finding(path, "deny takes no value; leave it out, or write False"))
        made: Entitlement | None = Entitlement(feature.key, "deny")
    else:
        made = entitled(feature, _entry(value, mode, path, findings), "overrides", path, findings)
    if made is not None:
        settle(findings)
        made = attrs.evolve(made, mode=mode)
        findings.extend(check_entitlement(feature, made, path))
        findings.extend(contradictions(feature, made, path))
    if made is None or findings.found:
        raise _amount_error(findings) or findings.error()
    return made


def _amount_error(findings: Findings) -> AmountError | None:
    return next((AmountError(finding.message) for finding in findings.found if finding.amount), None)


def _entry(value: object, mode: Mode, path: Path, findings: Findings) -> Entry:
    if not isinstance(value, Mapping):
        return Shorthand(value)
    try:
        written = structured(value, WrittenEntitlement)
    except BaseValidationError as error:
        findings.extend(findings_of(error, path))
        raise findings.error() from None
    if written.mode not in (None, mode):
        findings.add(Finding((*path, "mode"), f"{written.mode!r} here and {mode!r} in the call; leave this one out"))
    return attrs.evolve(written, mode=mode)


def _load_file(name: str | bytes) -> Catalog:
    path = os.fsdecode(name)
    suffix = FilePath(path).suffix.lower()
    if suffix not in FORMATS:
        message = f"a catalog file ends in {', '.join(FORMATS)}; this one in {shown(suffix) if suffix else 'nothing'}"
        raise CatalogError([Problem("", message, path)], origin=path)
    try:
        reading = read(_bytes(path), suffix)
    except Unreadable as error:
        findings = Findings(path, path)
        findings.add(error.finding)
        raise findings.error() from None
    return parse(reading.document, places=reading.places, origin=path, found=reading.findings)


def _bytes(path: str) -> bytes:
    try:
        with FilePath(path).open("rb") as file:
            return file.read(LARGEST + 1)
    except FileNotFoundError:
        said = f"there is no catalog at {FilePath(path).absolute()}"
        raise FileNotFoundError(f"{said}; pass another path, or let `entitlements init` write one") from None
    except ValueError:
        raise Unreadable("this is no path; it has a character that no file name has") from None


def _written(document: Mapping[str, Any], findings: Findings) -> Sequence[WrittenCatalog]:
    """Return what a document says; where it has the wrong shape, all that it may have been meant to say."""
    if document is None:
        findings.add(Finding((), "there is nothing here; write features, plans and whatever else is sold"))
        raise findings.error()
    try:
        return (structured(document, WrittenCatalog),)
    except (BaseValidationError, Misfit) as error:
        faults = tuple(findings_of(error))
    findings.extend(faults)
    if not isinstance(document, Mapping):
        raise findings.error()
    findings.document = with_text_keys(document)
    mark_sections_meant(findings)
    doubts = doubts_of(findings.document, faults)
    settle(findings, doubts)
    try:
        return [structured_in_part(reading, WrittenCatalog) for reading in readings(findings.document, doubts)]
    except (BaseValidationError, Misfit):
        raise findings.error() from None


def _checked(notes: Iterable[str], written: WrittenCatalog, findings: Findings) -> Catalog:
    catalog = built(written, findings, notes)
    settle(findings)
    findings.extend(check(catalog, partial(unclear, findings)))
    return catalog
