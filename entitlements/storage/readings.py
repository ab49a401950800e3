"""What is read of the log in SQL, on one open connection: records, batches, entries, the feed.

Nothing here begins or ends a transaction; what takes several statements is of one instant only
inside one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from ..ledger.entries import Batch, Entry
from ..ledger.records import Line, Record, batch_of
from ..ledger.sealing import Secret, digests_in
from .connection import Connection
from .rows import complete, consecutive, digests_by_customer, entries_from, knowing, one, readable

PAGE: Final = 1000
_AT_ONCE: Final = 500
_RECORD: Final = "customer, number, key, at, first_seq, last_seq, request, result, hash, position"
_LINE: Final = 'e.seq, e.batch, e.kind, e.at, e.subject, e.counter, e."window", e.amount, e.data, e.block'

_RECORDS_OF: Final = f"SELECT {_RECORD} FROM batches WHERE customer = ? AND number > ? ORDER BY number LIMIT ?"  # noqa: S608
_LINES_OF: Final = f"SELECT {_LINE} FROM entries AS e WHERE customer = ? AND seq BETWEEN ? AND ? ORDER BY seq"  # noqa: S608
_LINES_AFTER: Final = f"SELECT {_LINE} FROM entries AS e WHERE customer = ? AND seq > ? ORDER BY seq LIMIT ?"  # noqa: S608
_FEED: Final = f"SELECT {_RECORD} FROM batches WHERE position > ? ORDER BY position LIMIT ?"  # noqa: S608
_ENTRIES: Final = f"""
    SELECT b.key, b.at, {_LINE}
    FROM entries AS e LEFT JOIN batches AS b ON b.customer = e.customer AND b.number = e.batch
    WHERE e.customer = ? AND e.seq > ? ORDER BY e.seq LIMIT ?"""  # noqa: S608
_NUMBER: Final = "SELECT number FROM batches WHERE customer = ? AND key = ?"
_NUMBERS: Final = "SELECT key, number FROM batches WHERE customer = ? AND key IN ({})"
_SECRETS: Final = "SELECT digest, salt, value, number FROM personal WHERE customer = ? AND digest IN ({})"
_ERASED: Final = "SELECT digest, '', '', number FROM erased WHERE customer = ? AND digest IN ({})"
_CUSTOMERS: Final = "SELECT customer FROM heads ORDER BY customer LIMIT ?"
_CUSTOMERS_AFTER: Final = "SELECT customer FROM heads WHERE customer > ? ORDER BY customer LIMIT ?"
_LAST_POSITION: Final = "SELECT coalesce(max(position), 0) FROM batches"
_WRITTEN: Final = "SELECT customer, max(last_seq) FROM batches WHERE position > ? AND position <= ? GROUP BY customer"


def batches_of(connection: Connection, customer: str, after: int, limit: int) -> list[Batch]:
    """Return whole batches of a customer in order of number."""
    records = list(_records_of(connection, customer, after, limit))
    with readable(customer):
        return [batch_of(record) for record in with_secrets(connection, records)]


def batch_with(connection: Connection, customer: str, key: str) -> Batch | None:
    """Return the batch of a key, None where there is none."""
    row = one(connection.rows(_NUMBER, (customer, key)))
    return batches_of(connection, customer, row[0] - 1, 1)[0] if row else None


def numbers_with(connection: Connection, customer: str, keys: Sequence[str]) -> dict[str, int]:
    """Return the numbers of the batches that keys have, by key; those that have none are left out."""
    numbers: dict[str, int] = {}
    for start in range(0, len(keys), _AT_ONCE):
        some = keys[start : start + _AT_ONCE]
        numbers.update(connection.rows(_NUMBERS.format(", ".join("?" * len(some))), (customer, *some)))
    return numbers


def batches_from(connection: Connection, position: int, limit: int) -> tuple[int, tuple[Batch, ...]]:
    """Return the batches of all customers after a position, and the position of the last."""
    rows = connection.rows(_FEED, (position, limit))
    records = [complete(row, connection.rows(_LINES_OF, (row[0], row[4], row[5]))) for row in rows]
    batches = []
    for customer, own in groupby(with_secrets(connection, records), key=itemgetter(0)):
        with readable(customer):
            batches += [batch_of(record) for record in own]
    return (records[-1].position if records else position), tuple(batches)


def log_of(connection: Connection, customer: str) -> Iterator[Batch]:
    """Return every batch of a customer, read a page at a time."""
    after = 0
    while page := batches_of(connection, customer, after, PAGE):
        yield from page
        after = page[-1].number


def entries_of(connection: Connection, customer: str, after: int, limit: int) -> list[Entry]:
    """Return entries of a customer in order of seq."""
    rows = connection.rows(_ENTRIES, (customer, after, limit))
    known = secrets_of(connection, customer, {digest for row in rows for digest in digests_in(row[10])})
    return entries_from(customer, rows, known)


def customer_ids(connection: Connection, after: str | None, limit: int) -> list[str]:
    """Return customer ids in order, those after `after`."""
    rows = connection.rows(_CUSTOMERS, (limit,)) if after is None else connection.rows(_CUSTOMERS_AFTER, (after, limit))
    return [customer for (customer,) in rows]


def last_position(connection: Connection) -> int:
    """Return the position of the newest batch, 0 for none."""
    ((position,),) = connection.rows(_LAST_POSITION)
    return int(position)


def written(connection: Connection, after: int, last: int) -> dict[str, int]:
    """Return whose batches stand at the positions after one and up to another, each with its newest seq."""
    return dict(connection.rows(_WRITTEN, (after, last)))


def lines_after(connection: Connection, customer: str, seq: int) -> Iterator[Line]:
    """Return every line of a customer after a seq, read a page at a time."""
    while page := connection.rows(_LINES_AFTER, (customer, seq, PAGE)):
        yield from map(Line._make, page)
        seq = page[-1][0]


def record_rows(connection: Connection, customer: str) -> Iterator[list[tuple[Any, ...]]]:
    """Return the rows of every batch of a customer, in pages."""
    after = 0
    while page := connection.rows(_RECORDS_OF, (customer, after, PAGE)):
        yield page
        after = page[-1][1]


def with_secrets(connection: Connection, records: Sequence[Record], *, erased: bool = False) -> list[Record]:
    """Return the records, each with the secrets that its texts hold and that are known.

    `erased` gives what was erased, too, as a secret without a text.
    """
    wanted = digests_by_customer(records)
    known = {customer: secrets_of(connection, customer, own, erased=erased) for customer, own in wanted.items()}
    return knowing(records, known)


def secrets_of(
    connection: Connection, customer: str, digests: Iterable[str], *, erased: bool = False
) -> dict[str, Secret]:
    """Return the secrets of a customer that are known, by digest."""
    wanted, known = list(digests), dict[str, Secret]()
    for start in range(0, len(wanted), _AT_ONCE):
        some = wanted[start : start + _AT_ONCE]
        for sql in (_ERASED, _SECRETS) if erased else (_SECRETS,):
            rows = connection.rows(sql.format(", ".join("?" * len(some))), (customer, *some))
            known.update({digest: Secret(salt, text, number) for digest, salt, text, number in rows})
    return known


def _records_of(connection: Connection, customer: str, after: int, limit: int) -> Iterator[Record]:
    rows = connection.rows(_RECORDS_OF, (customer, after, limit))
    if rows:
        yield from consecutive(rows, connection.rows(_LINES_OF, (customer, rows[0][4], rows[-1][5])))
