"""`manage.py entitlements`: the command line of the library, on the catalog and storage of the settings."""

from __future__ import annotations

from argparse import REMAINDER, ArgumentParser
from os import PathLike
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError

from .....aio.beside import blocking
from .....cli import main
from .....engine import Entitlements
from .....errors import NotConfigured
from ...configured import engine, setting

_ASKING: Final = {"check", "explain", "balance", "statement", "revenue", "ledger", "verify", "sweep"}


class Command(BaseCommand):
    """Ask what a customer may do, and look into the log of what they did."""

    help = "Ask what a customer may do: `manage.py entitlements check acme exports`, `explain acme`, `verify`."
    requires_system_checks: Any = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take what the library's own command takes."""
        parser.add_argument("words", nargs=REMAINDER, help="a command of `entitlements`, and its arguments")

    def handle(self, *_args: Any, words: list[str], **_options: Any) -> None:
        """Run one command; ends with its exit code."""
        given = None
        if words and words[0] in _ASKING:
            given = _given({word.partition("=")[0] for word in words})
            words = [words[0], *_named(given), *words[1:]]
        main.main(args=words or ["--help"], prog_name="manage.py entitlements", obj=given)


def _given(named: set[str]) -> object:
    """Return what is asked in place of a file and a database: ENGINE, or a catalog that is in no file; else None."""
    if setting("ENGINE") is None and setting("CATALOG") is None:
        raise CommandError("ENTITLEMENTS has no CATALOG; name the file of what you sell, or an ENGINE")
    if "--catalog" in named:
        return None
    if setting("ENGINE") is not None:
        return engine().catalog if "--storage" in named else _asked()
    return None if isinstance(setting("CATALOG"), str | PathLike) else setting("CATALOG")


def _asked() -> Entitlements:
    try:
        return blocking(engine())
    except NotConfigured as error:
        raise CommandError(f"ENTITLEMENTS['ENGINE'] cannot be asked here: {error}; or name --storage") from error


def _named(given: object) -> list[str]:
    """Return the options that the settings stand for; those that are written after them count."""
    catalog, storage = setting("CATALOG"), setting("STORAGE")
    named = ["--catalog", str(catalog)] if given is None and isinstance(catalog, str | PathLike) else []
    return [*named, *(["--storage", str(storage)] if storage else [])]
