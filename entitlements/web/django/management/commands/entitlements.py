"""`manage.py entitlements`: the command line of the library, on the catalog and storage of the settings."""

from __future__ import annotations

from argparse import REMAINDER, ArgumentParser
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError

from .....cli import main
from ...configured import setting

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
        if words and words[0] in _ASKING:
            words = [words[0], *_named(words), *words[1:]]
        main.main(args=words or ["--help"], prog_name="manage.py entitlements")


def _named(words: list[str]) -> list[str]:
    """Return the options that the settings stand for, those apart that were given."""
    said = {"--catalog": setting("CATALOG"), "--storage": setting("STORAGE")}
    if setting("CATALOG") is None:
        raise CommandError("ENTITLEMENTS has no CATALOG; name the file of what you sell")
    return [word for name, value in said.items() if value and name not in words for word in (name, str(value))]
