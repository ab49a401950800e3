"""`ledger`, `verify` and `sweep`: what a log says, whether it can be trusted, and what fell due in it."""

from __future__ import annotations

from typing import Any, Final

import click

from ..amounts import from_units
from ..catalog.model import Catalog
from ..ledger.crediting import CREDIT_KINDS
from ..ledger.encoding import show_entry
from ..ledger.entries import Entry
from ..reports.tables import table
from ..wording import moment, number
from .options import customer_id, opened, opening_options
from .replies import FINE, PROBLEMS, Misuse, Reply, counted, plain

_CODES: Final = "Exit codes: 0 fine, 2 misuse, 3 storage."


@click.command(short_help="Show the lines of a customer's log.", epilog=_CODES)
@click.argument("customer", callback=customer_id)
@click.option("--after", type=click.IntRange(min=0), default=0, metavar="N", help="Only lines after number N.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=100, show_default=True, metavar="N", help="At most so many lines."
)
@opening_options
def ledger(customer: str, after: int, limit: int, catalog_path: str, storage: str) -> Reply:
    """Show what happened to CUSTOMER, one line for each entry of the log."""
    with opened(catalog_path, storage) as engine:
        entries = engine.entries(customer, after=after, limit=limit)
        catalog = engine.catalog
    if not entries:
        return Reply([], plain(f"the log of {customer} has no entries{f' after {after}' if after else ''}"))
    rows = [("SEQ", "WHEN", "WHAT", "OF", "AMOUNT", "BLOCK", "KEY"), *(_row(entry, catalog) for entry in entries)]
    more = f"more: entitlements ledger {customer} --after {entries[-1].seq}"
    notes = [more] if len(entries) == limit else []
    return Reply([_shown(entry) for entry in entries], plain("\n".join(table(rows, (0, 4), indent=0))), notes=notes)


@click.command(short_help="Prove that logs are sound.", epilog="Exit codes: 0 sound, 1 problems, 2 misuse, 3 storage.")
@click.argument("customer", required=False, callback=customer_id)
@click.option("--head", metavar="HASH", help="The last hash you kept of CUSTOMER's log.")
@opening_options
def verify(customer: str | None, head: str | None, catalog_path: str, storage: str) -> Reply:
    """Prove that the log of CUSTOMER, or every log, is unbroken and comes to what is kept beside it."""
    if head is not None and customer is None:
        raise Misuse("--head is the hash of one customer's log; name the customer, too")
    with opened(catalog_path, storage) as engine:
        problems = engine.verify(customer, head=head)
        empty = customer is not None and not engine.entries(customer, limit=1)
    found = [
        {"customer": problem.customer, "batch": problem.batch, "seq": problem.seq, "message": problem.message}
        for problem in problems
    ]
    text = "\n".join([counted(len(found), "problem"), *(f"  {problem}" for problem in problems)])
    data = {"customer": customer, "sound": not found, "empty": empty, "problems": found}
    return Reply(data, plain(text if found else _sound(customer, empty=empty)), PROBLEMS if found else FINE)


@click.command(short_help="Book what fell due by time.", epilog=_CODES)
@click.argument("customer", required=False, callback=customer_id)
@opening_options
def sweep(customer: str | None, catalog_path: str, storage: str) -> Reply:
    """Book what fell due, such as expiry, for CUSTOMER or for all. Never needed: every answer counts it in already."""
    with opened(catalog_path, storage) as engine:
        booked = engine.sweep(customer)
    ending = "y" if booked == 1 else "ies"
    return Reply({"customer": customer, "booked": booked}, f"{booked:,} entr{ending} booked")


def _sound(customer: str | None, *, empty: bool) -> str:
    if customer is None:
        return "every log is sound"
    return f"the log of {customer} {'has no entries: there is nothing to prove' if empty else 'is sound'}"


def _shown(entry: Entry) -> dict[str, Any]:
    """Return an entry as JSON values; a line of credits says its amount and its block."""
    shown = show_entry(entry)
    if entry.kind in CREDIT_KINDS:
        shown |= {"amount": entry.amount, "block": entry.block}
    return shown


def _row(entry: Entry, catalog: Catalog) -> tuple[str, ...]:
    what = entry.kind.replace("_", " ")
    return str(entry.seq), moment(entry.at), what, entry.subject, _amount(entry, catalog), entry.block, entry.key


def _amount(entry: Entry, catalog: Catalog) -> str:
    if not entry.amount:
        return ""
    credit, feature = catalog.credits.get(entry.subject), catalog.features.get(entry.subject)
    known = (credit or feature) if entry.kind in CREDIT_KINDS | {"refund"} else feature
    return f"{entry.amount:,}" if known is None else number(from_units(entry.amount, known.scale))
