"""Alerting: the lines that a batch writes where it crosses a threshold, once for each crossing.

Nothing is remembered for it: a threshold is crossed where what was lies before it and what is lies at
it or beyond, whether the use moved or the limit, so that going back arms it again. A balance goes back
by time, too, where credits begin or a plan grants, whether or not anybody has booked that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, TypeAlias, cast

import attrs

from .amounts import Number, canonical, exact, from_units
from .catalog.model import EMPTY, Catalog, Credit
from .decisions import json_number
from .frozen import frozen
from .ledger.blocks import empty, live
from .ledger.crediting import CREDIT_KINDS, Books
from .ledger.entries import Entry
from .ledger.state import Head, books_of

THOUSAND = 1000
_SIGNS: Final = {"granted": 1, "released": 1, "expired": -1, "rolled": -1, "voided": -1, "repaid": -1}
"""What lines that fell due do to what is free of blocks in force."""
Level: TypeAlias = tuple[int, int]
"""A limit and what is used of it, in smallest units."""


@attrs.frozen
class Alert:
    """A threshold that was crossed: of a limit, a budget or a balance, or the coming end of a block.

    `threshold` is a part of the limit, an amount that is left, or the instant at which a block ends;
    `value` is what it has come to.
    """

    customer: str
    of: str
    subject: str
    threshold: str
    value: str
    at: datetime
    limit: str | None = None
    scope: Mapping[str, str] | None = None
    block: str = ""
    key: str = ""
    seq: int = 0


def alert_of(customer: str, entry: Entry) -> Alert:
    """Return what a line of kind "crossed" tells."""
    data = entry.data
    told = (data["of"], entry.subject, data["threshold"], data["value"], entry.at)
    return Alert(customer, *told, data.get("limit"), frozen(data.get("scope")), entry.block, entry.key, entry.seq)


def crossed(
    of: str,
    subject: str,
    parts: Iterable[int],
    levels: tuple[Level | None, Level],
    scale: int,
    at: datetime,
    more: Mapping[str, Any] = EMPTY,
) -> Iterator[Entry]:
    """Yield a line for each part of a limit, in thousandths, that is reached now and was not before.

    `levels` are what stood before, None where there was no limit, and what stands now.
    """
    before, now = levels
    limit, used = (_text(from_units(units, scale)) for units in now)
    for part in parts:
        if reached(part, now) and not (before is not None and reached(part, before)):
            told = {"threshold": canonical(exact(part, 3)), "value": used, "limit": limit}
            yield Entry("crossed", at, subject, data={"of": of, **told, **more})


def reached(part: int, level: Level) -> bool:
    """Tell whether use has come to a part of a limit, in thousandths; nothing that is used reaches nothing."""
    limit, used = level
    return used > 0 and limit * part <= used * THOUSAND


def credit_alerts(
    catalog: Catalog, head: Head, at: datetime, due: Sequence[Entry], entries: Sequence[Entry]
) -> list[Entry]:
    """Return the lines for balances that fell to a threshold from a head to a batch, and for blocks about to end.

    What fell `due` since the head may have raised a balance before it fell, as if it had been swept meanwhile.
    """
    watched = _watched(catalog)
    if not watched:
        return []
    books = books_of(head)
    before = {credit.key: _most(books, credit.key, head.at, due, at) for credit in watched}
    for entry in (*due, *entries):
        if entry.kind in CREDIT_KINDS:
            books.post(entry)
    found: list[Entry] = []
    for credit in watched:
        found += _fallen(credit, before[credit.key], _available(books, credit.key, at), at)
        found += _ending(credit, head, books, at)
    return found


def _watched(catalog: Catalog) -> tuple[Credit, ...]:
    memo = catalog.combined.get("watched credits")
    if memo is None:
        found = (credit for credit in catalog.credits.values() if credit.alerts or credit.expiring is not None)
        memo = catalog.combined["watched credits"] = {"credits": tuple(found)}
    return cast("tuple[Credit, ...]", memo["credits"])


def _available(books: Books, credit: str, at: datetime) -> int:
    return sum(block.free_units for block in books.blocks.values() if block.credit == credit and live(block, at))


def _most(books: Books, credit: str, since: datetime, due: Sequence[Entry], at: datetime) -> int:
    """Return the most there was to spend from the last batch until now, when only what fell due moved anything."""
    pending = [block for block in books.blocks.values() if block.credit == credit and since < block.effective_at <= at]
    moves = [(block.effective_at, block.free_units) for block in pending]
    lines = [line for line in due if line.subject == credit and line.kind in _SIGNS]
    moves += [(line.at, _SIGNS[line.kind] * line.amount) for line in lines]
    most = left = _available(books, credit, since)
    for _, together in groupby(sorted(moves, key=itemgetter(0)), key=itemgetter(0)):
        left += sum(units for _, units in together)
        most = max(most, left)
    return most


def _fallen(credit: Credit, before: int, after: int, at: datetime) -> Iterator[Entry]:
    for threshold in credit.alerts:
        if after <= threshold < before:
            told = {"threshold": _text(exact(threshold, credit.scale)), "value": _text(exact(after, credit.scale))}
            yield Entry("crossed", at, credit.key, data={"of": "balance", **told})


def _ending(credit: Credit, head: Head, books: Books, at: datetime) -> Iterator[Entry]:
    """Yield a line for each block that has come within the credit's notice of its end since the last batch.

    What a hold pins may come back and end, too, and nobody would be told of it then.
    """
    if credit.expiring is None:
        return
    for block in books.blocks.values():
        if block.credit != credit.key or block.expires_at is None or empty(block) or block.expires_at <= at:
            continue
        is_near, was_near = (block.expires_at - when <= credit.expiring for when in (at, head.at))
        if is_near and (not was_near or block.number > head.seq):  # what this batch grants is told by it
            told = {"threshold": block.expires_at.isoformat(), "value": _text(block.remaining + block.held)}
            yield Entry("crossed", at, credit.key, data={"of": "expiry", **told}, block=block.id)


def _text(number: Number) -> str:
    return str(json_number(number))
