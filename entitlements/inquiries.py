"""Inquiries: what is asked about a whole log or about all of them, in several steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from functools import partial
from itertools import chain, takewhile
from typing import TYPE_CHECKING, cast

from . import steps
from .amounts import exact, to_units
from .balances import Balance, balance
from .desk import Desk
from .errors import UnknownCredit, UnknownFeature
from .ledger.audit import Problem, audit
from .ledger.entries import Batch
from .rates import price_of
from .requests import Request, identifier, request, text
from .steps import Steps
from .versions import CATALOG_LOG

if TYPE_CHECKING:
    from .reports.explain import Explanation
    from .reports.revenue import Revenue
    from .reports.statement import Statement


def explanation(desk: Desk, asked: Request, as_of: int | None) -> Steps[Explanation]:
    """Return a decision with every source that had something to say about it."""
    from .reports.explain import explain  # noqa: PLC0415

    return explain((yield from desk.case(asked, asked.values["feature"], as_of=as_of)))


def balance_of(desk: Desk, asked: Request, as_of: int | None) -> Steps[Balance]:
    """Return what credits come to; a question about the past is answered from what was recorded by then."""
    case = yield from desk.case(asked, "", as_of=as_of)
    if case.at < case.head.at:
        by_then = yield from steps.log(asked.customer, partial(_last_seq, by=case.at))
        case = yield from desk.case(asked, "", as_of=min(case.head.seq, by_then))
    return balance(case)


def estimate_of(desk: Desk, asked: Request) -> Steps[Decimal]:
    """Return what a use would cost in credits; raises UnknownFeature, UnknownPrice, AmountError."""
    yield from desk.refresh()
    catalog, feature, amount = desk.offering.catalog, asked.values["feature"], asked.values["amount"]
    if feature not in catalog.features:
        raise UnknownFeature(feature, catalog.features)
    known = catalog.features[feature]
    units: int | dict[str, int] = 0
    if isinstance(amount, Mapping):
        units = {kind: to_units(each, known.scale) for kind, each in amount.items()}
    else:
        units = to_units(amount, known.scale)
    price = price_of(catalog, known, units, asked.values.get("dimensions"))
    return exact(0, 0) if price is None else exact(price.units, catalog.credits[price.credit].scale)


def statement_of(desk: Desk, customer: str, credit: str, start: datetime, end: datetime) -> Steps[Statement]:
    """Return one customer's credits of one kind in a period; raises UnknownCredit, ValueError."""
    from .reports.postings import period_of  # noqa: PLC0415
    from .reports.statement import statement  # noqa: PLC0415

    during, customer = period_of(start, end), identifier(customer, "customer")
    yield from _check_credit(desk, credit)
    known = desk.offering.catalog.credits[credit]
    return (yield from steps.log(customer, lambda batches: statement(customer, known, batches, during)))


def revenue_of(desk: Desk, start: datetime, end: datetime, credit: str | None) -> Steps[Revenue]:
    """Return the revenue from all customers' blocks in a period; raises UnknownCredit, ValueError."""
    from .reports.postings import period_of  # noqa: PLC0415
    from .reports.revenue import Revenue, RevenueRow, rows_of  # noqa: PLC0415

    during = period_of(start, end)
    if credit is not None:
        yield from _check_credit(desk, credit)
    currencies = {key: known.currency for key, known in desk.offering.catalog.credits.items()}

    def rows(customer: str) -> Steps[list[RevenueRow]]:
        counted = partial(rows_of, customer, during=during, currencies=currencies, credit=credit)
        return (yield from steps.log(customer, counted))

    found = yield from steps.each(rows)
    return Revenue(during.start, during.end, credit, tuple(chain.from_iterable(found)))


def sweep(desk: Desk, customer: str | None) -> Steps[int]:
    """Book what fell due by time, for one customer or all, and return how many entries that was."""

    def swept(each: str) -> Steps[int]:
        return cast("int", (yield from desk.write(request("sweep", each, None))))

    return (yield from swept(customer)) if customer is not None else sum((yield from steps.each(swept)))


def problems(desk: Desk, customer: str | None, head: str | None) -> Steps[tuple[Problem, ...]]:
    """Return what is wrong with a log, or with all and the storage; raises ValueError for a head without a log."""
    if customer is not None:
        return (yield from _audited(desk, identifier(customer, "customer"), head))
    if head is not None:
        raise ValueError("head= is the head of one log; say whose")
    flaws = yield from steps.flaws()
    catalogs = yield from _audited(desk, CATALOG_LOG)
    others = yield from steps.each(partial(_audited, desk))
    return (*(Problem("", None, None, flaw) for flaw in flaws), *catalogs, *chain.from_iterable(others))


def head_of(customer: str) -> Steps[str]:
    """Return the hash of a customer's newest batch, empty for no log."""
    state = yield from steps.state(identifier(customer, "customer"))
    return state.head.hash


def _audited(desk: Desk, customer: str, head: str | None = None) -> Steps[tuple[Problem, ...]]:
    saved = None if head is None else text(head, "head")
    return (yield from steps.kept(customer, lambda kept: audit(kept, now=desk.now(), head=saved)))


def _check_credit(desk: Desk, credit: str) -> Steps[None]:
    yield from desk.refresh()
    known = desk.offering.catalog.credits
    if text(credit, "credit") not in known:
        raise UnknownCredit(credit, known)


def _last_seq(batches: Iterator[Batch], by: datetime) -> int:
    seq = 0
    for batch in takewhile(lambda batch: batch.at <= by, batches):
        seq = batch.entries[-1].seq
    return seq
