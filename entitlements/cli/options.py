"""The options that commands share, and what is checked about them before anything is opened."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from ..amounts import canonical
from ..catalog.model import Catalog
from ..engine import Entitlements
from ..errors import AmountError, StorageError, shown
from ..requests import aware, identifier
from ..storage.opening import DEFAULT
from .replies import Misuse

F = TypeVar("F", bound=Callable[..., Any])

CATALOG: Final = "catalog.yaml"
PUBLISHED: Final = "published:"
_SQLITE: Final = "sqlite:///"
_NO_FILE: Final = ":memory:"
_JSON: Final = "entitlements.json"
_TABLES: Final = {"batches", "entries", "heads", "counters"}


def customer_id(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Return a customer id unchanged, or say what an id is; None where none was named."""
    if value is None:
        return None
    try:
        return identifier(value, "the customer id")
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def exact_amount(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Return an amount in its one spelling, or say how to write it."""
    if value is None:
        return None
    try:
        exact = canonical(value, what="it")
    except AmountError as error:
        raise click.BadParameter(str(error)) from None
    if exact.startswith("-"):
        raise click.BadParameter(f"it is {exact}; an amount is zero or more")
    return exact


def an_instant(_context: click.Context, _parameter: click.Parameter, value: str | None) -> datetime | None:
    """Return an instant in UTC; refuse one without an offset, since it could be any of a day's hours."""
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{shown(value)} is no instant; write one such as 2026-12-01T00:00Z") from None
    if at.tzinfo is None:
        clear = at.isoformat(timespec="minutes")
        raise click.BadParameter(f"{shown(value)} has no time zone; write {clear}Z for UTC, or {clear}+01:00")
    try:
        return aware(at, "the instant")
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _note_json(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    context.meta[_JSON] = value


def _one_format(context: click.Context, _parameter: click.Parameter, value: bool) -> bool:
    if value and context.meta.get(_JSON):
        raise click.UsageError("--csv and --json cannot both be printed; choose one")
    return value


as_json = click.option(
    "--json",
    "as_json",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_note_json,
    help="Print one JSON document.",
)


def asking_options(command: F) -> F:
    """Add the options of every command that asks about customers at an instant."""
    at = click.option(
        "--at", callback=an_instant, metavar="ISO", help="Ask about another instant, such as 2026-12-01T00:00Z."
    )
    return at(opening_options(command))


def opening_options(command: F) -> F:
    """Add the options of every command that opens a log."""
    for option in reversed(_OPENING):
        command = option(command)
    return command


def period_options(command: F) -> F:
    """Add the options of a report over a period."""
    for option in reversed(_PERIOD):
        command = option(command)
    return command


def period(start: datetime, end: datetime) -> dict[str, datetime]:
    """Return the two ends of a period as a verb takes them; raises Misuse where there is nothing between."""
    if start >= end:
        raise Misuse(f"--start is {start.isoformat()}; it must come before --end, {end.isoformat()}")
    return {"start": start, "end": end}


_PERIOD: Final = (
    click.option(
        "--start", callback=an_instant, required=True, metavar="ISO", help="The beginning, such as 2026-11-01T00:00Z."
    ),
    click.option(
        "--end", callback=an_instant, required=True, metavar="ISO", help="The end, which is not in it any more."
    ),
    click.option("--csv", "as_csv", is_flag=True, callback=_one_format, help="Print comma-separated values."),
)
storage_option: Final = click.option(
    "--storage",
    default=DEFAULT,
    show_default=True,
    envvar="ENTITLEMENTS_STORAGE",
    metavar="URL",
    help="The database, or memory: for none. Also: ENTITLEMENTS_STORAGE.",
)
_OPENING: Final = (
    click.option(
        "--catalog",
        "catalog_path",
        default=CATALOG,
        show_default=True,
        envvar="ENTITLEMENTS_CATALOG",
        metavar="PATH",
        help="The catalog, or published: for that in the database. Also: ENTITLEMENTS_CATALOG.",
    ),
    storage_option,
    as_json,
)


@contextmanager
def opened(catalog_path: str, storage: str) -> Iterator[Entitlements]:
    """Open an engine to ask, and create nothing; raises Misuse, CatalogError, StorageError.

    Whoever runs the program may give, as the `obj` of its context, an engine that is open, or a catalog that is
    in no file.
    """
    context = click.get_current_context(silent=True)
    given = None if context is None else context.obj
    if isinstance(given, Entitlements):
        yield given
        return
    catalog = _named(catalog_path) if given is None else Catalog.load(given)
    if storage.startswith(_SQLITE):
        _check_database(storage, None if catalog is None or given is not None else catalog_path, catalog)
    with engine_with(catalog, storage) as engine:
        yield engine


def engine_with(catalog: Catalog | None, storage: str) -> Entitlements:
    """Return an engine; raises Misuse for an address that is none, CatalogError, StorageError."""
    try:
        return Entitlements(catalog, storage=storage)
    except ValueError as error:
        raise Misuse(f"--storage: {error}") from error


def _named(catalog_path: str) -> Catalog | None:
    naming = f"name yours with --catalog PATH or ENTITLEMENTS_CATALOG, or that in the database: --catalog {PUBLISHED}"
    return None if catalog_path == PUBLISHED else read_catalog(catalog_path, naming=naming)


def read_catalog(path: str, *, naming: str = "name yours") -> Catalog:
    """Return the catalog in a file; raises CatalogError, and Misuse for a file that cannot be read."""
    try:
        return Catalog.load(path)
    except FileNotFoundError:
        raise Misuse(f"there is no catalog at {path}; let `entitlements init` write a first one, or {naming}") from None
    except OSError as error:
        raise Misuse(f"{path} cannot be read: {error.strerror}; name a file that can") from error


def _check_database(storage: str, catalog_path: str | None, catalog: Catalog | None) -> None:
    path = storage.removeprefix(_SQLITE)
    if path in {"", _NO_FILE} or (Path(path).exists() and _holds_logs(Path(path))):
        return
    lack = "is no log of any customer in" if Path(path).exists() else "is no database at"
    if catalog is None or catalog_path is None:
        how = "."
    else:
        plan = next((key for key in catalog.plans if key != catalog.default_plan), "PLAN")
        how = f":\n  {first_fact(catalog_path, storage, plan)}"
    raise StorageError(
        f"there {lack} {path}, and asking creates none. The first fact does{how}\n"
        "Or name another database with --storage sqlite:///PATH or ENTITLEMENTS_STORAGE, "
        "or ask without one: --storage memory:"
    )


def first_fact(catalog_path: str, storage: str, plan: str) -> str:
    """Return the command that subscribes a first customer, which creates the database."""
    where = "" if storage == DEFAULT else f", storage={storage!r}"
    opening = f"Entitlements({catalog_path!r}{where})"
    return f"python -c \"from entitlements import Entitlements; {opening}.subscribe('acme', {plan!r})\""


def _holds_logs(path: Path) -> bool:
    """Tell whether a file has the tables of a log; where it cannot be read, leave it to the storage to say so."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    except sqlite3.Error:
        return True
    return {name for (name,) in rows} >= _TABLES
