"""`demo`: a story told by the library itself, on a copy of a catalog, in a directory that goes away again."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import click

from ..engine import Entitlements
from .replies import FINE, PROBLEMS, Reply, counted, heading
from .stage import DemoClock, Stage
from .story import CHAPTERS

CATALOG: Final = files("entitlements.cli") / "demo_catalog.yaml"
_OPENING: Final = (
    "Every answer below is computed now, by the library, from a copy of the catalog of an AI assistant\n"
    "and an SQLite file, in a directory that is removed at the end. Time moves when the story says so."
)
_NEXT: Final = {
    "entitlements init": "write a first catalog of your own",
    "entitlements catalog show": "see what each plan gives",
    "entitlements check acme exports --storage memory:": "ask the first question",
}


@click.command(
    short_help="Show what the library does, in a few seconds.",
    epilog="Exit codes: 0 everything came out as it should, 1 something did not.",
)
@click.option("--json", "quiet", is_flag=True, help="Print one JSON document, at the end.")
def demo(*, quiet: bool) -> Reply:
    """Show what the library does: each line of Python, and its real answer."""
    with TemporaryDirectory(prefix="entitlements-demo-", ignore_cleanup_errors=True) as place:
        stage = _play(Path(place), quiet=quiet)
    return _reply(stage, quiet=quiet)


def _play(place: Path, *, quiet: bool) -> Stage:
    catalog, database, clock = place / "catalog.yaml", place / "demo.db", DemoClock()
    with as_file(CATALOG) as original:
        shutil.copyfile(original, catalog)
    with Entitlements(catalog, storage=f"sqlite:///{database}", clock=clock) as engine:
        stage = Stage(engine, clock, catalog, database, quiet=quiet)
        stage.say(_OPENING)
        for title, chapter in CHAPTERS.items():
            stage.open(title, chapter)
    return stage


def _reply(stage: Stage, *, quiet: bool) -> Reply:
    wrong = stage.surprises()
    verdict = "Everything came out as it should."
    if wrong:
        verdict = f"{counted(len(wrong), 'answer')} did not come out as expected: this is a bug, please report it."
    data: dict[str, Any] = {"as_expected": not wrong, "chapters": stage.chapters, "next": list(_NEXT)}
    lines = [heading(verdict), "", "Next:", *(f"  {command:<52}{why}" for command, why in _NEXT.items())]
    return Reply(data, "" if quiet else "\n".join(["", *lines]), PROBLEMS if wrong else FINE)
