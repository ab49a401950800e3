"""The program: its commands, and the one place where replies and errors become output and an exit code."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any, Final, NoReturn

import attrs
import click

from .groups import Group
from .replies import FAULTS, FINE, INTERRUPTED, MISUSE, Reply, colour, fault, show

_HOMES: Final = {
    "init": "starting",
    "demo": "demo",
    "check": "asking",
    "explain": "asking",
    "balance": "credits",
    "statement": "credits",
    "revenue": "credits",
    "ledger": "logs",
    "verify": "logs",
    "sweep": "logs",
    "catalog": "catalogs",
}


class ReaderLeft(Exception):
    """Whoever read our output has left; said in a way that click does not take for a failure of the command."""


class Program(Group):
    """A group of commands that return a Reply; exits with the reply's code.

    A command is imported when it is named, so that asking a question does not load what a demo needs.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the commands in the order a newcomer meets them."""
        return list(_HOMES)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        """Return a command by its name, None where there is none."""
        if name not in _HOMES:
            return None
        command: click.Command = getattr(import_module(f".{_HOMES[name]}", __package__), name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; raises ReaderLeft where nobody reads what it prints."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderLeft from error

    def main(self, args: Any = None, *rest: Any, **extra: Any) -> NoReturn:
        """Run a command, print its reply and exit."""
        as_json = _wants_json(sys.argv[1:] if args is None else list(args))
        _print_anything()
        reply = Reply(None)
        try:
            reply = self._answer(args, rest, extra, as_json=as_json)
            show(reply, as_json=as_json)
            if sys.stdout is not None:  # it is None where the shell closed it
                sys.stdout.flush()
        except (BrokenPipeError, ReaderLeft):
            _print_no_more()
        except OSError as error:
            _print_no_more()
            reply = Reply(None, code=MISUSE)
            click.echo(f"Error: the answer could not be written: {error.strerror}; send it elsewhere", err=True)
        sys.exit(reply.code)

    def _answer(self, args: Any, rest: tuple[Any, ...], extra: dict[str, Any], *, as_json: bool) -> Reply:
        extra = {"color": colour(), **extra, "standalone_mode": False}
        try:
            reply = super().main(args, *rest, **extra)
        except FAULTS as error:
            return _failed(error, as_json=as_json)
        except click.Abort:
            return Reply(None, code=INTERRUPTED)
        return reply if isinstance(reply, Reply) else Reply(None, code=int(reply or FINE))


def _failed(error: Exception, *, as_json: bool) -> Reply:
    reply = fault(error)
    if isinstance(error, click.UsageError) and not as_json:
        error.show()
        return attrs.evolve(reply, text="")
    return reply


def _wants_json(words: list[str]) -> bool:
    """Tell whether --json was asked for, also where the rest of the line cannot be understood."""
    return "--json" in (words[: words.index("--")] if "--" in words else words)


def _print_anything() -> None:
    """Let a terminal that knows few letters spell out the others, rather than fail."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _print_no_more() -> None:
    """Let the interpreter's last flush go nowhere, since what we print does not arrive."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(
    cls=Program,
    name="entitlements",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 allowed or fine, 1 denied or problems found, 2 misuse, 3 storage.",
)
@click.version_option(None, "--version", package_name="entitlements", message="entitlements %(version)s")
def main() -> None:
    """Ask what a customer may do and how much of it, and look into the log of what they did.

    New here? `entitlements demo` shows what it does, `entitlements init` writes a first catalog.
    """
