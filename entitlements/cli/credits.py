"""`balance`, `statement` and `revenue`: what credits a customer has, where they went, and what they earned."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import click

from ..balances import Balance
from ..ledger.blocks import Block
from ..reports.revenue import Revenue
from ..reports.statement import Statement
from ..reports.tables import table
from ..wording import instant, number
from .options import asking_options, customer_id, opened, opening_options, period, period_options
from .replies import Reply, plain

_CODES: Final = "Exit codes: 0 fine, 2 misuse, 3 storage."


@click.command(short_help="Say what credits a customer has.", epilog=_CODES)
@click.argument("customer", callback=customer_id)
@click.argument("credit")
@click.option("--feature", metavar="F", help="Count blocks that pay for this feature alone, too.")
@click.option("--as-of", type=click.IntRange(min=0), metavar="N", help="Know only the log up to entry N.")
@asking_options
def balance(
    customer: str,
    credit: str,
    feature: str | None,
    as_of: int | None,
    at: datetime | None,
    catalog_path: str,
    storage: str,
) -> Reply:
    """Say what CUSTOMER has of CREDIT, and in which blocks, in the order they burn."""
    with opened(catalog_path, storage) as engine:
        found = engine.balance(customer, credit, feature=feature, at=at, as_of=as_of)
    return Reply(found.to_dict(), plain("\n".join([str(found), *_blocks(found)])))


@click.command(short_help="Account for a customer's credits over a period.", epilog=_CODES)
@click.argument("customer", callback=customer_id)
@click.argument("credit")
@period_options
@opening_options
def statement(
    customer: str, credit: str, start: datetime, end: datetime, as_csv: bool, catalog_path: str, storage: str
) -> Reply:
    """Account for CREDIT of CUSTOMER line by line, from --start up to --end."""
    during = period(start, end)
    with opened(catalog_path, storage) as engine:
        return _report(engine.statement(customer, credit, **during), as_csv=as_csv)


@click.command(short_help="Say what credits earned over a period.", epilog=_CODES)
@click.option("--credit", metavar="C", help="One credit alone.")
@period_options
@opening_options
def revenue(credit: str | None, start: datetime, end: datetime, as_csv: bool, catalog_path: str, storage: str) -> Reply:
    """Say what was sold, recognised, lost to expiry and is deferred, by customer and block."""
    during = period(start, end)
    with opened(catalog_path, storage) as engine:
        return _report(engine.revenue(credit=credit, **during), as_csv=as_csv)


def _report(report: Statement | Revenue, *, as_csv: bool) -> Reply:
    return Reply(report.to_dict(), report.to_csv().rstrip("\n") if as_csv else plain(str(report)))


def _blocks(found: Balance) -> list[str]:
    if not found.blocks:
        return []
    rows = [("BLOCK", "LEFT", "HELD", "OF", "CATEGORY", "EXPIRES", "ONLY FOR")]
    return table([*rows, *map(_row, found.blocks)], range(1, 4))


def _row(block: Block) -> tuple[str, ...]:
    expires = "never" if block.expires_at is None else instant(block.expires_at)
    amounts: list[Any] = [number(amount) for amount in (block.remaining, block.held, block.amount)]
    return block.id, *amounts, block.category, expires, _restriction(block)


def _restriction(block: Block) -> str:
    features = ", ".join(block.features or ())
    scope = "/".join(f"{kind}:{name}" for kind, name in block.scope or ())
    return " in ".join(part for part in (features, scope) if part)
