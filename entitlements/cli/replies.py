"""Replies: what a command has to say, as text for people, as JSON for programs, and as an exit code."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from typing import Any, Final

import attrs
import click

from ..errors import CatalogError, EntitlementsError, StorageError

FINE: Final = 0
DENIED: Final = 1
PROBLEMS: Final = 1
MISUSE: Final = 2
STORAGE: Final = 3
INTERRUPTED: Final = 130

_VERDICT = re.compile(r"^( *)(allowed|denied)\b", re.MULTILINE)
_COLOURS: Final = {"allowed": "green", "denied": "red"}


@attrs.frozen
class Reply:
    """What a command answers: `data` is JSON-ready; `text`, and `notes` on stderr, say the same to a person.

    `data` None prints nothing as JSON. The text of a reply that `failed` goes to stderr too, so that
    stdout holds answers alone.
    """

    data: Any
    text: str = ""
    code: int = FINE
    notes: Sequence[str] = ()
    failed: bool = False


class Misuse(click.ClickException):
    """The command was asked for something it cannot do; the message says what to do instead."""

    exit_code = MISUSE


def fault(error: Exception, code: int | None = None) -> Reply:
    """Return the reply of a command that failed: what, where, what to do next."""
    kind, usual = _kind(error)
    code = usual if code is None else code
    message = error.format_message() if isinstance(error, click.ClickException) else str(error)
    told: dict[str, Any] = {"kind": kind, "type": type(error).__name__, "message": message, "exit": code}
    if isinstance(error, CatalogError):
        told["problems"] = [attrs.asdict(problem) for problem in error.problems]
    return Reply({"error": told}, f"Error: {plain(message)}", code, failed=True)


def show(reply: Reply, *, as_json: bool) -> None:
    """Print a reply: as JSON on stdout, or as text."""
    if as_json and reply.data is not None:
        click.echo(json.dumps(reply.data, indent=2))
        return
    if reply.text:
        click.echo(reply.text, err=reply.failed, color=colour())
    for note in reply.notes:
        click.echo(plain(note), err=True, color=colour())


def colour() -> bool | None:
    """Return False where colour is not wanted, None where the terminal decides."""
    return False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None


def plain(text: str) -> str:
    """Return text that cannot steer a terminal: whatever is not printable is spelled out."""
    return "".join(letter if letter == "\n" or letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def painted(text: str) -> str:
    """Return text with the verdicts that begin its lines in colour; the words stay."""
    return _VERDICT.sub(lambda found: found[1] + click.style(found[2], fg=_COLOURS[found[2]], bold=True), plain(text))


def heading(text: str) -> str:
    """Return a line that stands above others."""
    return click.style(plain(text), bold=True)


def columns(rows: Sequence[Sequence[str]], *, indent: int = 0) -> list[str]:
    """Return rows as lines whose columns are aligned, as wide as their widest cell."""
    cells = [[plain(cell) for cell in row] for row in rows]
    widths = [max(len(row[at]) for row in cells if at < len(row)) for at in range(max(map(len, cells), default=0))]
    padded = ("  ".join(cell.ljust(widths[at]) for at, cell in enumerate(row)) for row in cells)
    return [f"{'':{indent}}{line}".rstrip() for line in padded]


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: 1 plan, 3 plans."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _kind(error: Exception) -> tuple[str, int]:
    if isinstance(error, StorageError):
        return "storage", STORAGE
    if isinstance(error, CatalogError):
        return "catalog", MISUSE
    if isinstance(error, OSError):
        return "file", MISUSE
    return "misuse", MISUSE


FAULTS: Final = (click.ClickException, EntitlementsError, OSError)
"""What a command may fail with; anything else is a mistake of ours and shows its traceback."""
