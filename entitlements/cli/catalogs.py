"""`catalog validate | show | diff | import | publish`: a catalog file, without any customer."""

from __future__ import annotations

from pathlib import Path

import attrs
import click

from ..catalog.model import Catalog
from ..catalog.writing import to_yaml
from ..errors import CatalogError, UnknownPlan
from .grid import effective, grid, one_plan
from .groups import Group
from .options import CATALOG, as_json, engine_with, read_catalog, storage_option
from .replies import PROBLEMS, Misuse, Reply, counted, fault, heading, plain
from .starting import write_new

_SECTIONS = {
    "plans": "plan",
    "features": "feature",
    "credits": "credit",
    "addons": "add-on",
    "promotions": "promotion",
    "rates": "rate",
}
_MEMORY = "memory:"
_CODES = "Exit codes: 0 fine, 1 problems found, 2 misuse."
_file = click.argument("file", default=CATALOG, envvar="ENTITLEMENTS_CATALOG")


@click.group(cls=Group, short_help="Look at a catalog: validate, show, diff, import, publish.")
def catalog() -> None:
    """Look at a catalog: find its mistakes, see it as a table, compare it with another, import or publish one."""


@catalog.command(short_help="Find every mistake in a catalog at once.", epilog=_CODES)
@_file
@as_json
def validate(file: str) -> Reply:
    """Find every mistake in FILE (catalog.yaml) at once."""
    try:
        found = read_catalog(file)
    except CatalogError as error:
        problems = [attrs.asdict(problem) for problem in error.problems]
        return Reply({"valid": False, "file": file, "problems": problems}, plain(str(error)), PROBLEMS)
    lines = [f"{file} is fine: {_contents(found)}. Version {found.version}.", *_notes(found)]
    data = {"valid": True, "file": file, "version": found.version, "notes": list(found.notes), "problems": []}
    return Reply(data, plain("\n".join(lines)))


@catalog.command(short_help="Show what each plan gives.", epilog=_CODES)
@_file
@click.option("--plan", metavar="P", help="One plan: what it gives, and from where.")
@as_json
def show(file: str, plan: str | None) -> Reply:
    """Show what each plan of FILE (catalog.yaml) gives, with all it inherits."""
    try:
        found = read_catalog(file)
    except CatalogError as error:
        return fault(error, PROBLEMS)
    if plan is not None and plan not in found.plans:
        raise UnknownPlan(plan, found.plans)
    title = heading(f"{file}: {_contents(found)}")
    text = one_plan(found, plan) if plan is not None else f"{title}\n\n{grid(found)}"
    plans = [plan] if plan is not None else found.plans
    data = {"file": file, "version": found.version, "catalog": dict(found.document), "plans": effective(found, plans)}
    return Reply(data, text)


@catalog.command(short_help="Say what customers gain and lose.", epilog=_CODES)
@click.argument("old")
@click.argument("new", default=CATALOG, envvar="ENTITLEMENTS_CATALOG")
@as_json
def diff(old: str, new: str) -> Reply:
    """Say what customers gain and lose where NEW (catalog.yaml) replaces OLD."""
    try:
        before, after = read_catalog(old), read_catalog(new)
    except CatalogError as error:
        return fault(error, PROBLEMS)
    found = before.diff(after)
    title = heading(f"From {old} to {new}: {counted(len(found), 'difference')}")
    versions = {"old": {"file": old, "version": before.version}, "new": {"file": new, "version": after.version}}
    data = {**versions, "differences": [attrs.asdict(one) for one in found]}
    return Reply(data, "\n".join([title, *(plain(f"  {one}") for one in found)]))


@catalog.command("import", short_help="Turn a Pricing2Yaml file into a catalog.", epilog=_CODES)
@click.argument("file")
@click.option("-o", "--output", "out", metavar="OUT", help="Write to OUT.  [default: stdout]")
@click.option("--force", is_flag=True, help="Overwrite OUT where there is one.")
@as_json
def import_(file: str, out: str | None, *, force: bool) -> Reply:
    """Turn a Pricing2Yaml FILE into a catalog; what could not be carried over is noted on stderr."""
    from ..catalog import pricing2yaml  # noqa: PLC0415  (large, and of use here alone)

    try:
        found = pricing2yaml.load(_readable(file))
    except CatalogError as error:
        return fault(error, PROBLEMS)
    text = to_yaml(found)
    if out is not None:
        write_new(Path(out), text, force=force)
    data = {"file": file, "written": out, "version": found.version, "notes": list(found.notes)}
    if out is not None:
        return Reply(data, f"Wrote {out}: {_contents(found)}.", notes=_notes(found))
    return Reply({**data, "catalog": dict(found.document)}, text.rstrip("\n"), notes=_notes(found))


@catalog.command(short_help="Have engines use a catalog from the database.", epilog=_CODES)
@_file
@storage_option
@as_json
def publish(file: str, storage: str) -> Reply:
    """Keep FILE (catalog.yaml) in the database, as the catalog of all engines that are opened without one."""
    if storage == _MEMORY:
        raise Misuse(f"{_MEMORY} keeps nothing; name the database with --storage URL or ENTITLEMENTS_STORAGE")
    try:
        found = read_catalog(file)
        with engine_with(found, storage) as engine:
            engine.publish()
    except CatalogError as error:
        return fault(error, PROBLEMS)
    data = {"file": file, "version": found.version}
    return Reply(data, plain(f"Published {file}: {_contents(found)}. Version {found.version}."))


def _readable(file: str) -> str:
    try:
        with Path(file).open("rb"):
            return file
    except OSError as error:
        raise Misuse(f"{file} cannot be read: {error.strerror}; name a Pricing2Yaml file") from error


def _notes(found: Catalog) -> list[str]:
    return [f"note: {note}" for note in found.notes]


def _contents(found: Catalog) -> str:
    counts = {word: len(getattr(found, section)) for section, word in _SECTIONS.items()}
    return ", ".join(counted(count, word) for word, count in counts.items() if count) or "nothing in it"
