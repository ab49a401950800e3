"""System checks: what is wrong with the settings and the gates, said before anybody asks.

entitlements.E001   the catalog is missing or cannot be used
entitlements.E002   a setting has a name that is none
entitlements.E003   CUSTOMER is missing, or what a setting names cannot be found or called
entitlements.W001   the storage is memory, and DEBUG is off
entitlements.W002   a view is gated by a feature that the catalog does not have
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004  (Django's own name)
from django.core.exceptions import ImproperlyConfigured
from django.urls import URLPattern, URLResolver, get_resolver

from ...catalog.model import Catalog
from ...errors import CatalogError, StorageError, did_you_mean
from ..problem import Problems
from .configured import NAMES, engine, named, setting

_UNUSABLE: Final = (CatalogError, StorageError, ImportError, OSError, TypeError, ImproperlyConfigured)


def check_catalog(**_told: Any) -> list[CheckMessage]:
    """Find a catalog that cannot be used, and settings that are none."""
    unknown = [name for name in getattr(settings, "ENTITLEMENTS", {}) if name not in NAMES]
    found: list[CheckMessage] = [
        Error(f"ENTITLEMENTS[{name!r}] is no setting{did_you_mean(name, NAMES)}", id="entitlements.E002")
        for name in unknown
    ]
    try:
        _catalog()
    except _UNUSABLE as error:
        found.append(Error(str(error), hint="See CATALOG, or ENGINE, in ENTITLEMENTS.", id="entitlements.E001"))
    return found


def check_functions(**_told: Any) -> list[CheckMessage]:
    """Find settings that name nothing that can be used, and nobody who says who is asking."""
    if setting("CUSTOMER") is None:
        said = "ENTITLEMENTS has no CUSTOMER, so nobody says who is asking"
        hint = "Name a function that takes the request and returns an id, or None for nobody."
        return [Error(said, hint=hint, id="entitlements.E003"), *_check_named("SCOPE", "PROBLEMS")]
    return _check_named("CUSTOMER", "SCOPE", "PROBLEMS")


def _check_named(*names: str) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for name in names:
        try:
            said = named(name)
        except ImportError as error:
            found.append(Error(f"ENTITLEMENTS[{name!r}] cannot be found: {error}", id="entitlements.E003"))
            continue
        if said is not None and not (isinstance(said, Problems) if name == "PROBLEMS" else callable(said)):
            wanted = "is no Problems" if name == "PROBLEMS" else "cannot be called"
            found.append(Error(f"ENTITLEMENTS[{name!r}] {wanted}: {said!r}", id="entitlements.E003"))
    return found


def check_storage(**_told: Any) -> list[CheckMessage]:
    """Find a storage that forgets everything, in production."""
    if settings.DEBUG or setting("STORAGE") != "memory:":
        return []
    said = "what customers have and use is kept in memory, and lost when the process ends"
    return [Warning(said, hint="Name a file: 'STORAGE': 'sqlite:///app.db'.", id="entitlements.W001")]


def check_gates(**_told: Any) -> list[CheckMessage]:
    """Find views behind features that the catalog does not have."""
    try:
        catalog = _catalog()
    except _UNUSABLE:
        return []
    found: list[CheckMessage] = []
    views = get_resolver().url_patterns if getattr(settings, "ROOT_URLCONF", None) else []
    for pattern in _patterns(views):
        for gate in getattr(pattern.callback, "__entitlements__", ()):
            known = catalog.credits if gate.verb == "consume_credits" else catalog.features
            if gate.name not in known:
                said = f"{pattern.pattern} is gated by {gate.name!r}{did_you_mean(gate.name, known)}"
                found.append(Warning(said, hint="The catalog has no such feature.", id="entitlements.W002"))
    return found


def _catalog() -> Catalog:
    if setting("ENGINE") is not None:
        return engine().catalog
    if setting("CATALOG") is None:
        raise ImproperlyConfigured("ENTITLEMENTS has no CATALOG; name the file of what you sell")
    return Catalog.load(setting("CATALOG"))


def _patterns(found: list[URLPattern | URLResolver]) -> Iterator[URLPattern]:
    for pattern in found:
        if isinstance(pattern, URLResolver):
            yield from _patterns(pattern.url_patterns)
        else:
            yield pattern
