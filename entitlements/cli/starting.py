"""`init`: a first catalog, and what to do with it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Final

import click

from ..catalog.model import Catalog
from ..storage.opening import DEFAULT
from .options import CATALOG, as_json, first_fact
from .replies import Misuse, Reply, counted, heading

_YAML: Final = (".yaml", ".yml")


@click.command(
    short_help="Write a first catalog.", epilog="Exit codes: 0 written, 2 there already, or no place for it."
)
@click.argument("file", default=CATALOG, type=click.Path(dir_okay=False))
@click.option("--force", is_flag=True, help="Overwrite the file where there is one.")
@as_json
def init(file: str, *, force: bool) -> Reply:
    """Write a first catalog to FILE (catalog.yaml), with comments, and say what to try next."""
    if not file.endswith(_YAML):
        raise Misuse(f"{file} does not end in .yaml; the catalog is written as YAML")
    text = (files("entitlements.cli") / "first_catalog.yaml").read_text(encoding="utf-8")
    write_new(Path(file), text, force=force)
    catalog = Catalog.load(file)
    steps = _next_steps(file)
    data = {"written": file, "version": catalog.version, "next": list(steps)}
    return Reply(data, "\n".join([_written(file, catalog), *_listed(steps)]))


def write_new(path: Path, text: str, *, force: bool) -> None:
    """Write a file that is not there yet; raises Misuse where it is, unless forced."""
    try:
        with path.open("w" if force else "x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        said = f"{path} is there already and was left alone; name another file, or overwrite it with --force"
        raise Misuse(said) from None
    except OSError as error:
        raise Misuse(f"{path} cannot be written: {error.strerror}; name another place") from error


def _written(file: str, catalog: Catalog) -> str:
    sold = f"{counted(len(catalog.plans), 'plan')}, {counted(len(catalog.features), 'feature')}"
    return heading(f"Wrote {file}: {sold}. Next:")


def _next_steps(file: str) -> dict[str, str]:
    named = "" if file == CATALOG else f" --catalog {file}"
    shown = "" if file == CATALOG else f" {file}"
    return {
        f"entitlements catalog show{shown}": "what each plan gives",
        f"entitlements check acme exports --storage memory:{named}": "what a new customer may do; needs no database",
        first_fact(file, DEFAULT, "pro"): "subscribe acme to pro, in entitlements.db",
        f"entitlements check acme exports{named}": "ask again",
        f"entitlements explain acme seats{named}": "and why",
    }


def _listed(steps: dict[str, str]) -> list[str]:
    return [line for command, why in steps.items() for line in (f"  {command}", f"      {why}")]
