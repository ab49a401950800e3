"""Inquiries: what is asked about a whole log or about all of them, in several steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from itertools import chain, takewhile
from typing import TYPE_CHECKING, TypeAlias, cast

from . import steps
from .amounts import exact, to_units
from .balances import Balance, balance
from .desk import Desk
from .errors import LogCorrupt, UnknownCredit, UnknownFeature
from .hearing import sold_facts
from .ledger.audit import Problem, audit
from .ledger.entries import Batch
from .ledger.records import Kept
from .rates import price_of
from .requests import Request, identifier, request, text
from .steps import Steps
from .usage_tree import UsageTree, usage_tree
from .versions import CATALOG_LOG, kept

if TYPE_CHECKING:
    from .reports.explain import Explanation
    from .reports.revenue import Revenue
    from .reports.statement import Statement

Pinned: TypeAlias = tuple[str, str, str]
"""A customer, a plan it holds, and the version of the catalog in which that was sold."""


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
    """Return what a use of a feature would cost in credits; raises UnknownFeature, UnknownPrice, AmountError."""
    yield from desk.refresh()
    catalog, key, amount = desk.offering.catalog, asked.values["feature"], asked.values["amount"]
    if key not in catalog.features:
        raise UnknownFeature(key, catalog.features)
    feature = catalog.features[key]
    units = (
        {kind: to_units(each, feature.scale) for kind, each in amount.items()}
        if isinstance(amount, Mapping)
        else to_units(amount, feature.scale)
    )
    price = price_of(catalog, feature, units, asked.values.get("dimensions"))
    return exact(0, 0) if price is None else exact(price.units, catalog.credits[price.credit].scale)


def tree_of(desk: Desk, asked: Request) -> Steps[UsageTree]:
    """Return what is used, held and left of every budget and allocation of a customer."""
    return usage_tree((yield from desk.case(asked, None)))


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
        found, pinned = yield from _audited(desk, identifier(customer, "customer"), head)
        return (*found, *(yield from _unsold(pinned)))
    if head is not None:
        raise ValueError("head= is the head of one log; say whose")
    flaws = yield from steps.flaws()
    catalogs, _ = yield from _audited(desk, CATALOG_LOG)
    others = yield from steps.each(partial(_audited, desk))
    unsold = yield from _unsold([fact for _, pinned in others for fact in pinned])
    audited = chain.from_iterable(found for found, _ in others)
    told_once = [problem for problem in unsold if problem not in catalogs]
    return (*(Problem("", None, None, flaw) for flaw in flaws), *catalogs, *audited, *told_once)


def head_of(customer: str) -> Steps[str]:
    """Return the hash of a customer's newest batch, empty for no log."""
    state = yield from steps.state(identifier(customer, "customer"))
    return state.head.hash


def _audited(desk: Desk, customer: str, head: str | None = None) -> Steps[tuple[tuple[Problem, ...], list[Pinned]]]:
    """Return what is wrong with a log, and the plans it holds as they were sold."""
    saved = None if head is None else text(head, "head")

    def audited(kept: Kept) -> tuple[tuple[Problem, ...], list[Pinned]]:
        facts = () if kept.head is None else sold_facts(kept.head.facts)
        pinned = [(customer, fact.plan, fact.version) for fact in facts if fact.version is not None]
        return audit(kept, now=desk.now(), head=saved), pinned

    return (yield from steps.kept(customer, audited))


def _unsold(pinned: Sequence[Pinned]) -> Steps[list[Problem]]:
    """Return the pinned plans whose catalog version is not kept; it is read after them, as it is written before.

    And what is wrong with those that are kept and cannot be read.
    """
    if not pinned:
        return []
    try:
        state = yield from steps.state(CATALOG_LOG)
    except LogCorrupt as error:
        return [_of_catalogs(error)]
    said = "it holds plan {} as sold in catalog version {}, which is not in the log {}"
    found = [
        Problem(customer, None, None, said.format(plan, version, CATALOG_LOG))
        for customer, plan, version in pinned
        if f"version:{version}" not in state.head.noted
    ]
    for version in sorted({version for _, _, version in pinned if f"version:{version}" in state.head.noted}):
        try:
            yield from kept(version)
        except LogCorrupt as error:
            found.append(_of_catalogs(error))
    return found


def _of_catalogs(error: LogCorrupt) -> Problem:
    return Problem(CATALOG_LOG, None, None, str(error).removeprefix(f"{CATALOG_LOG}: "))


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
