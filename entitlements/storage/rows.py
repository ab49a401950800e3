"""What the rows of a log say: records, entries, heads, whichever database they were read from.

Everything here is a function of rows that were read; nothing reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from ..errors import LogCorrupt
from ..ledger.blocks import Block, OpenHold
from ..ledger.credit_encoding import decode_block, decode_hold
from ..ledger.encoding import decode_budgets, decode_head
from ..ledger.entries import Entry
from ..ledger.instants import to_instant
from ..ledger.records import Line, Record, digests_of, entry_of
from ..ledger.sealing import Secret, digests_in, opened_value
from ..ledger.state import FOLD_VERSION, Head

P = TypeVar("P", Block, OpenHold)
Rows = Sequence[Sequence[Any]]
_UNREADABLE: Final = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError)


def one(rows: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Return the row there is, an empty one where there is none."""
    return rows[0] if rows else ()


@contextmanager
def readable(customer: str) -> Iterator[None]:
    """Turn what goes wrong in reading stored rows into LogCorrupt."""
    try:
        yield
    except _UNREADABLE as error:
        said = f"{customer}: a stored row cannot be read ({type(error).__name__}: {error})"
        raise LogCorrupt(said) from error


def record_from(row: Sequence[Any], lines: tuple[Line, ...]) -> Record:
    """Return the record of a row of `batches` and its lines."""
    customer, number, key, at, first, last, request, result, digest, position = row
    return Record(customer, number, key, at, first, last, request, result, digest, lines, position=position)


def complete(row: Sequence[Any], lines: Rows) -> Record:
    """Return the record of a row of `batches` and its lines; raises LogCorrupt unless they are all there."""
    customer, number, first, last = row[0], row[1], row[4], row[5]
    if len(lines) != last - first + 1 or lines[0][0] != first or lines[-1][0] != last:
        raise LogCorrupt(f"{customer}: batch {number} does not have its {last - first + 1} entries")
    return record_from(row, tuple(map(Line._make, lines)))


def consecutive(rows: Rows, lines: Rows) -> Iterator[Record]:
    """Yield the records of rows that follow one another, from the lines of all of them in order."""
    read = 0
    for row in rows:
        count = row[5] - row[4] + 1
        yield complete(row, lines[read : read + count])
        read += count


def digests_by_customer(records: Iterable[Record]) -> dict[str, set[str]]:
    """Return the digests that stand in records, by customer; those of nobody are left out."""
    wanted: dict[str, set[str]] = {}
    for record in records:
        digests = digests_of(record)
        if digests:
            wanted.setdefault(record.customer, set()).update(digests)
    return wanted


def knowing(records: Sequence[Record], known: Mapping[str, Mapping[str, Secret]]) -> list[Record]:
    """Return the records, each with those of its customer's secrets that its texts hold."""
    if not known:
        return list(records)
    return [_knowing(record, known.get(record.customer, {})) for record in records]


def entries_from(customer: str, rows: Rows, known: Mapping[str, Secret]) -> list[Entry]:
    """Return the entries of rows that give key and instant of the batch, then the line."""
    with readable(customer):
        return [entry_of(Line(*line), key, at, to_instant(at), known) for key, at, *line in rows]


def is_current(row: Sequence[Any]) -> bool:
    """Tell whether a row of `heads` is there and of this fold."""
    return bool(row) and row[3] == FOLD_VERSION


def head_from(
    customer: str, row: Sequence[Any], parts: tuple[Rows, Rows, Rows], salt: str, known: Mapping[str, Secret]
) -> Head:
    """Return the head that its row (counts, instant, fold, hash, text), its blocks, holds and budgets say."""
    blocks, holds, budgets = parts
    seq, batches, at, _, digest, text = row
    with readable(customer):
        counts = Head(seq, batches, to_instant(at), hash=digest, salt=salt)
        return decode_head(
            opened_value(text, known),
            counts,
            blocks=[_named(key, decode_block(opened_value(said, known))).holding(*left) for key, said, *left in blocks],
            holds=[_named(key, decode_hold(opened_value(said, known))) for key, said in holds],
            budgets=[(key, decode_budgets(opened_value(said, known))) for key, said in budgets],
        )


def digests_of_head(row: Sequence[Any], parts: tuple[Rows, Rows, Rows]) -> set[str]:
    """Return the digests that stand in the texts of a head: its own, and those of blocks, holds and budgets."""
    texts = (row[5], *(each[1] for part in parts for each in part))
    return {digest for text in texts for digest in digests_in(text)}


def same_parts(before: Head, head: Head) -> bool:
    """Tell whether the text of a head is that of another: facts, windows, notes, debts, plan grants."""
    same = before.facts is head.facts and before.opened == head.opened and before.noted == head.noted
    same = same and before.grants == head.grants and before.granted == head.granted
    same = same and before.forfeited == head.forfeited
    return same and [*before.debts.values()] == [*head.debts.values()]


def _knowing(record: Record, known: Mapping[str, Secret]) -> Record:
    digests = digests_of(record) if known else []
    own = {digest: known[digest] for digest in digests if digest in known}
    return record._replace(secrets=own) if digests else record


def _named(key: str, part: P) -> P:
    if part.id != key:
        raise ValueError(f"the row of {key!r} holds {part.id!r}")
    return part
