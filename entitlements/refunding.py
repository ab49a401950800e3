"""Refunds: what a batch took goes back where it came from, in reverse, never more than was taken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs

from .amounts import exact, from_units, to_units
from .cases import Case, verdict
from .catalog.model import Credit, Feature
from .decisions import Decision, Receipt
from .errors import AmountError, shown
from .granting import check_bound, freed, reopened
from .judging import unknown_feature
from .ledger.blocks import Block, Purpose, over
from .ledger.crediting import Books
from .ledger.due import lose
from .ledger.entries import EPOCH, Batch, CounterKey, Entry, Verdict
from .ledger.trail import joined
from .spending import Charge, available, post, remembered, seq_after, unknown_credit


class Untraced(Exception):
    """A refund must know who repaid a debt in `credit`, and no trail up to the last batch is at hand."""

    def __init__(self, credit: str) -> None:
        self.credit = credit
        super().__init__(credit)


TAKEN = frozenset({"burned", "settled", "overdrawn"})
USED = frozenset({"used", "recorded"})
COUNTED = USED | {"usage_held", "budgeted", "budget_held"}
_HELD = {"usage_held": "usage_released", "budget_held": "budget_released"}


@attrs.frozen
class Taking:
    """The lines by which a batch took credits or usage, and the key of that batch.

    What it took is counted in credits where it took any, else in usage; the rest goes back in proportion.
    """

    key: str
    lines: tuple[Entry, ...]

    @property
    def credits(self) -> list[Entry]:
        """The lines that took credits."""
        return [line for line in self.lines if line.kind in TAKEN]

    @property
    def subject(self) -> str:
        """The credit, or else the feature, that was taken."""
        first = next((line for line in self.lines if line.kind in TAKEN), None)
        return (first or self._usage[0]).subject

    @property
    def counter(self) -> CounterKey:
        """The counter that holds how much of it was refunded."""
        return f"$refunded:{self.key}", EPOCH

    @property
    def whole(self) -> int:
        """All units that were taken; usage counted in several periods was taken once."""
        if self.credits:
            return sum(line.amount for line in self.credits)
        sums: dict[str, int] = {}
        for line in self._usage:
            sums[line.counter] = sums.get(line.counter, 0) + line.amount
        return max(sums.values())

    @property
    def takes(self) -> bool:
        """Whether anything was taken: credits or usage."""
        return bool(self.credits or self._usage)

    @property
    def counters(self) -> Mapping[str, Sequence[Entry]]:
        """The lines that counted usage, in its meters and in budgets, by counter."""
        found: dict[str, list[Entry]] = {}
        for line in self.lines:
            if line.kind in COUNTED:
                found.setdefault(line.counter, []).append(line)
        return found

    @property
    def _usage(self) -> list[Entry]:
        return [line for line in self.lines if line.kind in USED or line.kind == "usage_held"]


def refund(case: Case) -> Verdict[Decision]:
    """Give back what a batch took, all that is left of it or an amount.

    Credits return to their blocks in reverse order; what had gone into debt is forgiven first, and a
    block that is over meanwhile loses its part at once. Raises LookupError for a batch that took
    nothing, AmountError beyond what is left.
    """
    taking = taking_of(case)
    if taking is None:
        key = shown(case.value("batch_key"))
        took = f"no batch with key {key} took anything from {case.customer}"
        raise LookupError(f"{took}; nothing to refund: give the key of a charge, as its receipt has it")
    subject, known = taking.subject, case.catalog
    if taking.credits:
        credit = known.credits.get(subject)
        return _refund_credits(case, taking, credit) if credit else Verdict(unknown_credit(case, subject))
    feature = known.features.get(subject)
    if feature is None:
        return Verdict(unknown_feature(known, case.customer, subject, case.at))
    return _refund_usage(case, taking, feature)


def taking_of(case: Case) -> Taking | None:
    """Return what is to be refunded, None for a key whose batch took nothing.

    A hold took what it was settled with: an open, released or lapsed one took nothing.
    """
    key = case.value("batch_key")
    opened, closed = case.found.get(key), case.found.get(f"$close:{key}")
    lines = _taken(closed or opened)
    if closed is not None and _settled_in_life(closed, key):
        lines = (*_kept(opened, closed, key), *lines)
    taking = Taking(closed.key if closed is not None else key, lines)
    return taking if taking.takes else None


def _taken(batch: Batch | None) -> tuple[Entry, ...]:
    lines = batch.entries if batch is not None else ()
    return tuple(line for line in lines if line.kind in TAKEN | USED | {"budgeted"} and line.amount)


def _settled_in_life(closed: Batch, hold: str) -> bool:
    return any(
        line.kind == "hold_closed" and line.data == {"hold": hold, "state": "settled"} for line in closed.entries
    )


def _kept(opened: Batch | None, closed: Batch, hold: str) -> Iterator[Entry]:
    """Yield what a hold had set aside in counters, less what settling gave back."""
    back = {
        (line.counter, line.window): -line.amount
        for line in closed.entries
        if line.kind in _HELD.values() and line.data.get("hold") == hold
    }
    for line in opened.entries if opened is not None else ():
        left = line.amount - back.get((line.counter, line.window), 0)
        if line.kind in _HELD and left > 0:
            yield attrs.evolve(line, amount=left)


def _refund_credits(case: Case, taking: Taking, credit: Credit) -> Verdict[Decision]:
    units, before = _asked(case, taking, credit.scale)
    books = case.books()
    entries = [Entry("refund", case.at, credit.key, *taking.counter, units, data={"of": taking.key})]
    back: dict[str, int] = {}
    for line, amount in _parts(taking.credits, before, units):
        returned = list(_give_back(case, books, taking.key, line, amount))
        entries += returned
        for entry in returned:
            if entry.kind in {"refunded", "granted"}:
                back[entry.block] = back.get(entry.block, 0) + entry.amount
    check_bound(books, credit.key)
    entries += _uncounted(case, taking, before, units)
    entries += freed(books, tuple(back), case.at)
    left = available(books, Charge(credit, units, Purpose(), credit.depletion, case.at))
    receipt = Receipt(
        case.key,
        seq_after(case, entries),
        booked=exact(units, credit.scale),
        burned={block: exact(-amount, credit.scale) for block, amount in back.items()},
        balance_after=exact(left, credit.scale),
    )
    return _refunded(case, credit.key, entries, receipt, source=f"credit:{credit.key}")


def _refund_usage(case: Case, taking: Taking, feature: Feature) -> Verdict[Decision]:
    if feature.aggregate != "sum":
        raise ValueError(f"feature {feature.key!r} counts {feature.aggregate}; only sums can be refunded")
    units, before = _asked(case, taking, feature.scale)
    entries = [Entry("refund", case.at, feature.key, *taking.counter, units, data={"of": taking.key})]
    entries += _uncounted(case, taking, before, units)
    receipt = Receipt(case.key, seq_after(case, entries), booked=from_units(units, feature.scale))
    return _refunded(case, feature.key, entries, receipt)


def _uncounted(case: Case, taking: Taking, before: int, units: int) -> Iterator[Entry]:
    """Yield the lines that take usage out of its counters, in proportion to what is refunded.

    The parts of several refunds sum to the whole exactly. What only sums can undo is left as it is.
    """
    free: dict[CounterKey, int] = {}
    for lines in taking.counters.values():
        if _is_sum(case, lines[0]):
            total = sum(line.amount for line in lines)
            share = total * (before + units) // taking.whole - total * before // taking.whole
            skip = total * before // taking.whole
            for line, amount in _parts(lines, skip, share):
                counter = (line.counter, line.window or EPOCH)
                left = free.get(counter, max(0, case.counters.get(counter, 0) - case.held(counter)))
                back = min(amount, left)
                free[counter] = left - back
                kind = "budget_refunded" if line.kind.startswith("budget") else "usage_refunded"
                yield Entry(kind, case.at, line.subject, *counter, -back)


def _is_sum(case: Case, line: Entry) -> bool:
    """Tell whether a line counts in a sum, as all do but those of a feature, and of budgets on one, that is none."""
    rows = case.head.budgets.rows.get(line.counter, ())
    key = rows[0].feature if rows else line.subject
    feature = None if key is None else case.catalog.features.get(key)
    return feature is None or feature.aggregate == "sum"


def _asked(case: Case, taking: Taking, scale: int) -> tuple[int, int]:
    """Return the units to refund now and those refunded before."""
    before = case.counters.get(taking.counter, 0)
    left = taking.whole - before
    units = left if case.value("amount") is None else to_units(case.value("amount"), scale)
    if units > left or not units:
        asked, rest, whole = (from_units(amount, scale) for amount in (units, left, taking.whole))
        key = shown(case.value("batch_key"))
        if before and not left and case.value("amount") is None:
            raise AmountError(f"nothing is left to refund of {key}: it took {whole}, and all of it was refunded before")
        raise AmountError(f"cannot refund {asked} of {key}: it took {whole}, and {rest} of it is left to refund")
    return units, before


def _parts(lines: Sequence[Entry], skip: int, units: int) -> Iterator[tuple[Entry, int]]:
    """Yield what `units` are of each line, the last line first, past what `skip` units refunded before."""
    for line in reversed(lines):
        skipped = min(skip, line.amount)
        part = min(units, line.amount - skipped)
        skip, units = skip - skipped, units - part
        if part:
            yield line, part


def _give_back(case: Case, books: Books, taken_by: str, line: Entry, units: int) -> Iterator[Entry]:
    if line.kind == "overdrawn":
        yield from _forgive(case, books, taken_by, line, units)
        return
    yield from reopened(case, books, line.block)
    yield post(books, Entry("refunded", case.at, line.subject, amount=units, block=line.block))
    yield from lose(books, line.block, units, case.at)


def _forgive(case: Case, books: Books, taken_by: str, line: Entry, units: int) -> Iterator[Entry]:
    """Forgive debt that is still owed; what was repaid since comes back as a promotional block of its own.

    That block may pay for no more, and for no longer, than the blocks that repaid: what those that are
    over repaid is lost at once.
    """
    purpose: Purpose = line.data["purpose"]
    debt = books.debts.get((line.subject, purpose))
    owed = min(units, debt.units if debt is not None else 0)
    if owed:
        yield post(books, Entry("forgiven", case.at, line.subject, amount=owed, data={"purpose": purpose}))
    if units == owed:
        return
    parts = list(_repaid_by(case, books, taken_by, line, owed, units - owed))
    block = _returned(case, line.subject, parts, books.number)
    granted = Entry("granted", case.at, line.subject, amount=block.units, block=block.id, data={"block": block})
    yield post(books, granted)
    lost = sum(part for repaid, part in parts if over(repaid, case.at))
    if lost:
        yield post(books, Entry("expired", case.at, line.subject, amount=lost, block=block.id))


def _repaid_by(
    case: Case, books: Books, taken_by: str, line: Entry, forgiven: int, units: int
) -> Iterator[tuple[Block, int]]:
    """Yield the blocks that repaid the debt of a charge and how much each, the last first; raises Untraced."""
    trail = case.trail
    if trail is None or trail.number != case.head.batches:
        raise Untraced(line.subject)
    account = trail.account(line.data["purpose"], case.due)
    account.forgive(taken_by, forgiven)
    for block, part in account.give_back(taken_by, units):
        yield books.blocks.get(block) or trail.blocks[block], part


def _returned(case: Case, credit: str, parts: Sequence[tuple[Block, int]], number: int) -> Block:
    """Return the block in which repaid debt comes back, under the terms of all that repaid it and are not over."""
    repaid = [block for block, _ in parts]
    bound = [block for block in repaid if not over(block, case.at)] or repaid
    features, scope = joined(bound)
    units = sum(part for _, part in parts)
    return Block(
        case.key,
        credit,
        case.catalog.credits[credit].scale,
        units,
        units,
        0,
        "promotional",
        50,
        None,
        case.at,
        min((block.expires_at for block in bound if block.expires_at is not None), default=None),
        features,
        scope,
        source="refund",
        number=number,
    )


def _refunded(
    case: Case, subject: str, entries: Iterable[Entry], receipt: Receipt, source: str | None = None
) -> Verdict[Decision]:
    decision = Decision(
        True,
        "ok",
        case.customer,
        subject,
        requested=receipt.booked,
        source=source,
        catalog_version=case.catalog.version,
        receipt=receipt,
        at=case.at,
    )
    return verdict(case, (*entries,), decision, remembered(decision))
