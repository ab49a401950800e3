"""What the settings say: one engine for the process, and who is asking."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string

from ...engine import Entitlements
from ..problem import Problem, Problems

NAMES: Final = ("CATALOG", "STORAGE", "CUSTOMER", "SCOPE", "PROBLEMS", "ENGINE")
_lock = threading.Lock()
_opened: dict[str, Entitlements] = {}


def setting(name: str) -> Any:
    """Return one of the settings, None where it is not made."""
    return getattr(settings, "ENTITLEMENTS", {}).get(name)


def engine() -> Entitlements:
    """Return the engine of this process: ENGINE, or one opened from CATALOG and STORAGE when first asked for."""
    made: Entitlements | None = named("ENGINE")
    if made is not None:
        return made
    with _lock:
        if "engine" not in _opened:
            if setting("CATALOG") is None:
                raise ImproperlyConfigured("ENTITLEMENTS has no CATALOG; name the file of what you sell")
            _opened["engine"] = Entitlements(setting("CATALOG"), storage=setting("STORAGE"))
        return _opened["engine"]


def named(name: str) -> Any:
    """Return what a setting is, or names by where it is; None where it is not made. Raises ImportError."""
    said = setting(name)
    return import_string(said) if isinstance(said, str) else said


def called(name: str) -> Callable[[HttpRequest], Any] | None:
    """Return a function that the settings name, None where they do not."""
    found: Callable[[HttpRequest], Any] | None = named(name)
    return found


def problems() -> Problems:
    """Return how denials are told."""
    found: Problems = named("PROBLEMS") or Problems()
    return found


def response(problem: Problem) -> HttpResponse:
    """Return a problem as a response."""
    return HttpResponse(problem.body, status=problem.status, headers=problem.all_headers)


def forget(*, setting: str, **_told: Any) -> None:
    """Close the engine that was opened, where the settings it was opened from have changed."""
    if setting == "ENTITLEMENTS":
        with _lock:
            before = _opened.pop("engine", None)
        if before is not None:
            before.close()


setting_changed.connect(forget)
