"""What is read of a log in PostgreSQL, as steps inside an open transaction: records, batches, entries, the feed.

The feed goes by (xid, position): the number of the transaction that wrote a batch, then the order of
writing within it. A position alone would skip: it is drawn before the commit, so that a batch may come
to light after another with a higher one was read. A page therefore ends before the oldest transaction
that is still under way anywhere on the server (`pg_snapshot_xmin`): whatever commits from now on has a
number from there up. A transaction that stays open holds the feed up, and nothing is ever skipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from ..errors import shown
from ..ledger.entries import Batch, Entry
from ..ledger.records import Line, Record, batch_of
from ..ledger.sealing import Secret, digests_in
from .postgres_trips import COMMIT, Row, Statement, Steps, Trip, array_of, begin_reading
from .rows import complete, consecutive, digests_by_customer, entries_from, knowing, readable

Place: TypeAlias = tuple[int, int]
"""A place in the feed: the number of a transaction and the position of a batch."""

PAGE: Final = 1000
_RECORD: Final = "customer, number, key, at, first_seq, last_seq, request, result, hash, position"
_LINE: Final = 'e.seq, e.batch, e.kind, e.at, e.subject, e.counter, e."window", e.amount, e.data, e.block'
_SETTLED: Final = "xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint"

_RECORDS: Final = f"""
    SELECT {_RECORD} FROM {{schema}}.batches WHERE customer = $1 AND number > $2 ORDER BY number LIMIT $3"""  # noqa: S608
_LINES: Final = f"""
    SELECT {_LINE} FROM {{schema}}.entries AS e WHERE customer = $1 AND seq BETWEEN $2 AND $3 ORDER BY seq"""  # noqa: S608
_ENTRIES: Final = f"""
    SELECT b.key, b.at, {_LINE}
    FROM {{schema}}.entries AS e LEFT JOIN {{schema}}.batches AS b ON b.customer = e.customer AND b.number = e.batch
    WHERE e.customer = $1 AND e.seq > $2 ORDER BY e.seq LIMIT $3"""  # noqa: S608
_NUMBER: Final = "SELECT number FROM {schema}.batches WHERE customer = $1 AND key = $2"
_SECRETS: Final = """
    SELECT digest, salt, value, number FROM {schema}.personal WHERE customer = $1 AND digest = ANY($2::text[])"""
_ERASED: Final = """
    SELECT digest, '', '', number FROM {schema}.erased WHERE customer = $1 AND digest = ANY($2::text[])"""
_CUSTOMERS: Final = "SELECT customer FROM {schema}.heads ORDER BY customer LIMIT $1"
_CUSTOMERS_AFTER: Final = "SELECT customer FROM {schema}.heads WHERE customer > $1 ORDER BY customer LIMIT $2"
_FEED: Final = f"""
    SELECT {_RECORD}, xid FROM {{schema}}.batches
    WHERE (xid, position) > ($1, $2) AND {_SETTLED} ORDER BY xid, position LIMIT $3"""  # noqa: S608
_LAST: Final = f"""
    SELECT xid, position FROM {{schema}}.batches WHERE {_SETTLED} ORDER BY xid DESC, position DESC LIMIT 1"""  # noqa: S608
_GROWN: Final = """
    SELECT customer, max(last_seq) FROM {schema}.batches WHERE (xid, position) > ($1, $2) GROUP BY customer"""
_NEW: Final = f"""
    SELECT count(*), count(*) FILTER (WHERE {_SETTLED}) FROM {{schema}}.batches WHERE (xid, position) > ($1, $2)"""  # noqa: S608


def reading_batches(customer: str, after: int, limit: int) -> Steps[tuple[Batch, ...]]:
    """Return whole batches of a customer in order of number."""
    batches = yield from batches_of(customer, after, limit, begins=begin_reading())
    yield Trip([COMMIT])
    return tuple(batches)


def reading_batch(customer: str, key: str) -> Steps[Batch | None]:
    """Return the batch of a key, None where there is none."""
    *_, rows = yield Trip([*begin_reading(), (_NUMBER, (customer, key))])
    batches = (yield from batches_of(customer, rows[0][0] - 1, 1)) if rows else []
    yield Trip([COMMIT])
    return batches[0] if batches else None


def reading_entries(customer: str, after: int, limit: int) -> Steps[tuple[Entry, ...]]:
    """Return entries of a customer in order of seq."""
    *_, rows = yield Trip([*begin_reading(), (_ENTRIES, (customer, after, limit))])
    digests = {digest for row in rows for digest in digests_in(row[10])}
    known = yield from secrets_of(customer, digests)
    yield Trip([COMMIT])
    return tuple(entries_from(customer, rows, known))


def reading_feed(after: Place, limit: int) -> Steps[tuple[Place, tuple[Batch, ...]]]:
    """Return the batches of all customers that follow a place, and the place of the last."""
    *_, rows = yield Trip([*begin_reading(), (_FEED, (*after, limit))])
    if not rows:
        yield Trip([COMMIT])
        return after, ()
    found = yield Trip([(_LINES, (row[0], row[4], row[5])) for row in rows])
    records = [complete(row[:10], lines) for row, lines in zip(rows, found, strict=True)]
    records = yield from with_secrets(records)
    yield Trip([COMMIT])
    batches = []
    for record in records:
        with readable(record.customer):
            batches.append(batch_of(record))
    return (rows[-1][10], rows[-1][9]), tuple(batches)


def reading_customers(after: str | None, limit: int) -> Steps[tuple[str, ...]]:
    """Return customer ids in the order of their bytes, which is that of their code points."""
    asked: Statement = (_CUSTOMERS, (limit,)) if after is None else (_CUSTOMERS_AFTER, (after, limit))
    *_, rows, _ = yield Trip([*begin_reading(), asked, COMMIT])
    return tuple(customer for (customer,) in rows)


def reading_last() -> Steps[Place]:
    """Return the place of the last batch that the feed shows."""
    *_, rows, _ = yield Trip([*begin_reading(), (_LAST, ()), COMMIT])
    return (rows[0][0], rows[0][1]) if rows else (0, 0)


def reading_new(after: Place) -> Steps[tuple[int, int, Place]]:
    """Return how many batches stand behind a place, how many of them the feed shows, and the last place it shows."""
    *_, ((new, settled),), rows, _ = yield Trip([*begin_reading(), (_NEW, after), (_LAST, ()), COMMIT])
    return new, settled, (rows[0][0], rows[0][1]) if rows else after


def reading_grown(after: Place, most: int) -> Steps[tuple[dict[str, int] | None, Place]]:
    """Return whose logs have grown since a place, each with its newest seq, and the last place the feed shows.

    Those that the feed does not show yet are told, too, and told again later. None where there are
    more than `most` batches.
    """
    *_, ((new, settled),), last = yield Trip([*begin_reading(), (_NEW, after), (_LAST, ())])
    if new <= most:
        grown, _ = yield Trip([(_GROWN, after), COMMIT])
    else:
        grown, _ = [], (yield Trip([COMMIT]))
    place = (last[0][0], last[0][1]) if settled else after
    return (dict(map(tuple, grown)) if new <= most else None), place


def batches_of(customer: str, after: int, limit: int, *, begins: Sequence[Statement] = ()) -> Steps[list[Batch]]:
    """Return whole batches of a customer in order of number."""
    records = yield from records_of(customer, after, limit, begins=begins)
    records = yield from with_secrets(records)
    with readable(customer):
        return [batch_of(record) for record in records]


def records_of(customer: str, after: int, limit: int, *, begins: Sequence[Statement] = ()) -> Steps[list[Record]]:
    """Return records of a customer in order of number, without their secrets."""
    *_, rows = yield Trip([*begins, (_RECORDS, (customer, after, limit))])
    if not rows:
        return []
    (lines,) = yield Trip([(_LINES, (customer, rows[0][4], rows[-1][5]))])
    return list(consecutive(rows, lines))


def log_of(customer: str) -> Steps[list[Batch]]:
    """Return every batch of a customer, read a page at a time."""
    log = list[Batch]()
    while page := (yield from batches_of(customer, len(log), PAGE)):
        log += page
    return log


def record_rows(customer: str, after: int, limit: int) -> Steps[list[Row]]:
    """Return rows of batches of a customer in order of number."""
    (rows,) = yield Trip([(_RECORDS, (customer, after, limit))])
    return rows


def lines_between(customer: str, first: int, last: int) -> Steps[list[Line]]:
    """Return the lines of a customer from one seq to another."""
    (rows,) = yield Trip([(_LINES, (customer, first, last))])
    return list(map(Line._make, rows))


def with_secrets(records: Sequence[Record], *, erased: bool = False) -> Steps[list[Record]]:
    """Return the records, each with the secrets that its texts hold and that are known.

    `erased` gives what was erased, too, as a secret without a text.
    """
    known = {}
    for customer, digests in digests_by_customer(records).items():
        known[customer] = yield from secrets_of(customer, digests, erased=erased)
    return knowing(records, known)


def secrets_of(customer: str, digests: Iterable[str], *, erased: bool = False) -> Steps[dict[str, Secret]]:
    """Return the secrets of a customer that are known, by digest."""
    wanted = sorted(digests)
    if not wanted:
        return {}
    asked = (_ERASED, _SECRETS) if erased else (_SECRETS,)
    found = yield Trip([(sql, (customer, array_of(wanted))) for sql in asked])
    return {digest: Secret(salt, text, number) for rows in found for digest, salt, text, number in rows}


def place_of(cursor: str | None) -> Place:
    """Return the place a feed cursor stands for, (0, 0) for the start; raises ValueError for what no feed gave."""
    if cursor is None:
        return (0, 0)
    xid, dot, position = cursor.partition(".")
    if not (cursor.isascii() and dot and all(part.isdecimal() and len(part) < 19 for part in (xid, position))):
        raise ValueError(f"{shown(cursor)} is not a cursor of this feed; pass the `cursor` of a page, or None")
    return int(xid), int(position)


def cursor_of(place: Place) -> str:
    """Return the cursor of a place."""
    return f"{place[0]}.{place[1]}"
