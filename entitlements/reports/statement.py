"""Statements: one customer's credits of one kind over a period, line by line, and the check that they add up.

A function of a log and two instants. The balance is all that is left, free or held, less what is owed:
a hold changes nothing of it until it is settled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import attrs

from ..amounts import exact
from ..balances import sum_exact
from ..catalog.model import Category, Credit
from ..decisions import json_instant
from ..ledger.blocks import Block, Purpose, pays
from ..ledger.crediting import Books
from ..ledger.entries import Batch, Entry
from ..ledger.plan_grants import lives_on
from ..periods import Window
from ..spending import owed_in
from ..wording import instant, moment, number, source
from .flows import AnyFlow, CreditFlow, DeferredFlow, Tallies, adds_up, names, read, to_texts, total
from .postings import Posting, Reading, just_before
from .tables import Cell, table, to_csv

_SIGNS: Final[Mapping[str, int]] = {
    "granted": 1, "refunded": 1, "forgiven": 1, "burned": -1, "settled": -1, "expired": -1, "voided": -1, "rolled": -1,
    "overdrawn": -1, "repaid": 0, "held": 0, "released": 0,
}  # fmt: skip
_COLUMNS: Final = ("at", "seq", "key", "kind", "what", "block", "category", "amount", "balance", "deferred")


@attrs.frozen
class Standing:
    """What a customer has of a credit at one instant; nothing is counted in two of these.

    `available` anyone may spend, `held` is pinned by holds, `pending` begins later; `restricted` is what
    is left, free or held, of blocks that only some charges may use; `debt` is owed.
    """

    available: Decimal
    held: Decimal
    restricted: Decimal
    pending: Decimal
    debt: Decimal

    @property
    def balance(self) -> Decimal:
        """All that is left, free or held, less what is owed."""
        left = sum_exact(sum_exact(self.available, self.held), sum_exact(self.restricted, self.pending))
        return sum_exact(left, self.debt.copy_negate())

    def __str__(self) -> str:
        parts = [f"{number(self.available)} available", f"{number(self.held)} held"]
        parts += [f"{number(self.restricted)} restricted"] if self.restricted else []
        parts += [f"{number(self.pending)} not begun"] if self.pending else []
        return ", ".join([*parts, f"{number(self.debt)} owed"])

    def to_dict(self) -> dict[str, Any]:
        """Return the standing as JSON values: amounts as text."""
        return {name: f"{amount:f}" for name, amount in {**attrs.asdict(self), "balance": self.balance}.items()}


@attrs.frozen
class StatementLine:
    """One line: `amount` is what it changed of the balance, `balance` what that came to.

    `deferred` is by how much deferred revenue changed, None for a block without a cost. `seq` is None
    and `key` empty where the line fell due and nobody has booked it yet.
    """

    at: datetime
    seq: int | None
    key: str
    kind: str
    what: str
    block: str
    category: Category | None
    amount: Decimal
    balance: Decimal
    deferred: Decimal | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the line as JSON values: amounts as text, the instant as ISO 8601."""
        told = {name: getattr(self, name) for name in _COLUMNS}
        told |= {name: f"{told[name]:f}" for name in ("amount", "balance", "deferred") if told[name] is not None}
        return {**told, "at": json_instant(self.at)}


@attrs.frozen
class Flows:
    """What blocks of one category came to; `deferred` is None where none of them has a cost."""

    credits: CreditFlow
    deferred: DeferredFlow | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the flows as JSON values."""
        return {
            "credits": to_texts(self.credits),
            "deferred": None if self.deferred is None else to_texts(self.deferred),
        }


@attrs.frozen
class Statement:
    """One customer's credits of one kind in `[start, end)`, paid and promotional apart.

    `opening` is what stood just before `start`, `closing` what stands just before `end`.
    """

    customer: str
    credit: str
    currency: str | None
    start: datetime
    end: datetime
    opening: Standing
    lines: tuple[StatementLine, ...]
    closing: Standing
    paid: Flows
    promotional: Flows

    @property
    def adds_up(self) -> bool:
        """Whether opening and lines come to closing, and paid and promotional credits to what is left."""
        found = self.opening.balance
        for line in self.lines:
            found = sum_exact(found, line.amount)
        left = sum_exact(self.paid.credits.closing, self.promotional.credits.closing)
        whole = left == sum_exact(self.closing.balance, self.closing.debt)
        flows = (self.paid.credits, self.promotional.credits, self.paid.deferred, self.promotional.deferred)
        return whole and found == self.closing.balance and all(flow is None or adds_up(flow) for flow in flows)

    def __str__(self) -> str:
        title = f"{self.credit} credits of {self.customer}, {moment(self.start)} to {moment(self.end)}"
        standing = [f"  opening: {self.opening}", f"  closing: {self.closing}"]
        return "\n".join([title, "", *self._table(), "", *standing, "", *self._flows(), "", f"  {self._check()}"])

    def to_dict(self) -> dict[str, Any]:
        """Return the statement as JSON values: amounts as text, instants as ISO 8601."""
        return {
            "customer": self.customer,
            "credit": self.credit,
            "currency": self.currency,
            "start": json_instant(self.start),
            "end": json_instant(self.end),
            "opening": self.opening.to_dict(),
            "lines": [line.to_dict() for line in self.lines],
            "closing": self.closing.to_dict(),
            "paid": self.paid.to_dict(),
            "promotional": self.promotional.to_dict(),
            "adds_up": self.adds_up,
        }

    def to_csv(self) -> str:
        """Return the lines as CSV, with the opening balance before them and the closing balance after."""
        rows: list[tuple[Cell, ...]] = [_COLUMNS, self._edge(self.start, "opening", self.opening)]
        for line in self.lines:
            at, *rest = attrs.astuple(line)
            rows.append((at.isoformat(), *rest))
        return to_csv([*rows, self._edge(self.end, "closing", self.closing)])

    def _edge(self, at: datetime, name: str, standing: Standing) -> tuple[Cell, ...]:
        return at.isoformat(), None, None, name, f"{name} balance", None, None, None, standing.balance, None

    def _table(self) -> list[str]:
        priced = self.paid.deferred is not None or self.promotional.deferred is not None
        rows: list[tuple[str, ...]] = [("WHEN", "WHAT", "BLOCK", "AMOUNT", "BALANCE", self._deferred())]
        rows += [("", "opening balance", "", "", number(self.opening.balance), "")]
        rows += [_shown(line) for line in self.lines]
        rows += [("", "closing balance", "", "", number(self.closing.balance), "")]
        return table(rows if priced else [row[:-1] for row in rows], (3, 4, 5))

    def _flows(self) -> list[str]:
        sides = {"paid": self.paid, "promotional": self.promotional}
        counted = {name: side.credits for name, side in sides.items()}
        money = {name: side.deferred for name, side in sides.items() if side.deferred is not None}
        lines = _side_by_side("CREDITS", CreditFlow, counted)
        return [*lines, "", *_side_by_side(self._deferred(), DeferredFlow, money)] if money else lines

    def _deferred(self) -> str:
        return f"DEFERRED {self.currency}" if self.currency else "DEFERRED"

    def _check(self) -> str:
        moved = sum_exact(self.closing.balance, self.opening.balance.copy_negate())
        said = f"opening {number(self.opening.balance)} {moved:+,f} = closing {number(self.closing.balance)}"
        return f"{said}, and every part adds up" if self.adds_up else f"{said}: IT DOES NOT ADD UP"


def statement(customer: str, credit: Credit, batches: Iterable[Batch], during: Window) -> Statement:
    """Return the statement of a customer's credit over a period, from the log read once."""
    reading, tallies = Reading(batches, during.end), Tallies(credit.key)
    for posting in reading.postings(during.start):
        tallies.add(posting.entry, reading.books, counts=False)
    opening = _standing(reading.books, credit, just_before(during.start))
    lines = tuple(_lines(reading, tallies, credit, opening, during.end))
    closing = _standing(reading.books, credit, just_before(during.end))
    sides = _flows_of(tallies, "paid", credit), _flows_of(tallies, "promotional", credit)
    return Statement(customer, credit.key, credit.currency, during.start, during.end, opening, lines, closing, *sides)


def _standing(books: Books, credit: Credit, at: datetime) -> Standing:
    places = {"available": 0, "held": 0, "restricted": 0, "pending": 0, "debt": owed_in(books, credit.key)}
    for block in books.blocks.values():
        if block.credit != credit.key:
            continue
        if not pays(block, Purpose()):
            places["restricted"] += block.free_units + block.held_units
        else:
            places["held"] += block.held_units
            places["pending" if block.effective_at > at else "available"] += block.free_units
    return Standing(**{name: exact(units, credit.scale) for name, units in places.items()})


def _lines(
    reading: Reading, tallies: Tallies, credit: Credit, opening: Standing, end: datetime
) -> Iterator[StatementLine]:
    balance = opening.balance
    for posting in reading.postings(end):
        entry, books = posting.entry, reading.books
        deferred = tallies.add(entry, books, counts=True)
        if entry.kind not in _SIGNS or entry.subject != credit.key:
            continue
        amount = exact(_SIGNS[entry.kind] * entry.amount, credit.scale)
        balance = sum_exact(balance, amount)
        seq, key = (entry.seq, entry.key) if posting.batch is not None else (None, "")
        category = books.blocks[entry.block].category if entry.block else None
        what = _WORDS[entry.kind](posting, number(exact(entry.amount, credit.scale)))
        at = posting.at
        yield StatementLine(at, seq, key, entry.kind, what, entry.block, category, amount, balance, deferred)


def _flows_of(tallies: Tallies, category: Category, credit: Credit) -> Flows:
    found = tallies.all(category)
    counted = total(CreditFlow, [tally.credits() for tally in found], credit.scale)
    if all(tally.block.cost_basis is None for tally in found):
        return Flows(counted)
    return Flows(counted, total(DeferredFlow, [tally.revenue() for tally in found]))


def _shown(line: StatementLine) -> tuple[str, ...]:
    amount, deferred = _signed(line.amount), "" if line.deferred is None else _signed(line.deferred)
    return moment(line.at), line.what, line.block, amount, number(line.balance), deferred


def _signed(amount: Decimal) -> str:
    return f"{amount:+,f}" if amount else number(amount)


def _side_by_side(title: str, kind: type[AnyFlow], flows: Mapping[str, AnyFlow]) -> list[str]:
    columns = names(kind, flows.values())
    rows = [(side, *read(flow, columns)) for side, flow in flows.items()]
    return table([(title, *map(str.upper, columns)), *rows], range(1, 9))


def _asked(posting: Posting, name: str) -> Any:
    return None if posting.batch is None else posting.batch.request.get(name)


def _granted(posting: Posting, _: str) -> str:
    block = posting.entry.data["block"]
    if block.source == "refund":
        return f"given back for {_asked(posting, 'batch_key')}"
    if lives_on(block):
        kind, _, plan = block.source.partition(":")
        kept = "rolled over" if kind == "rollover" else "converted"
        return f"{kept} from plan {plan}, {block.category}{_ends(block)}"
    by = "" if block.source == "grant" else f" by {source(block.source)}"
    begins = f", usable from {instant(block.effective_at)}" if block.effective_at > posting.at else ""
    return f"granted{by}, {block.category}{begins}{_ends(block)}"


def _ends(block: Block) -> str:
    return "" if block.expires_at is None else f", until {instant(block.expires_at)}"


def _burned(posting: Posting, _: str) -> str:
    hold, feature = _asked(posting, "hold"), _asked(posting, "feature")
    return f"used, hold {hold}" if hold else f"used for {feature}" if feature else "used"


def _overdrawn(posting: Posting, amount: str) -> str:
    return f"{_burned(posting, amount)}, owed"


_WORDS: Final[Mapping[str, Callable[[Posting, str], str]]] = {
    "granted": _granted,
    "burned": _burned,
    "settled": lambda posting, _: f"used, hold {_hold(posting.entry)}",
    "overdrawn": _overdrawn,
    "expired": lambda *_: "expired",
    "voided": lambda *_: "voided",
    "rolled": lambda *_: "lives on in another block",
    "refunded": lambda posting, _: f"refunded, of {_asked(posting, 'batch_key')}",
    "forgiven": lambda posting, _: f"debt forgiven, of {_asked(posting, 'batch_key')}",
    "repaid": lambda _, amount: f"{amount} of debt repaid",
    "held": lambda posting, amount: f"{amount} held, hold {_hold(posting.entry)}",
    "released": lambda posting, amount: f"{amount} given back, hold {_hold(posting.entry)}",
}


def _hold(entry: Entry) -> str:
    hold: str = entry.data["hold"]
    return hold
