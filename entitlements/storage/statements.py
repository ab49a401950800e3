"""The logs of all customers as SQL, on one open connection.

Nothing here begins or ends a transaction, and nothing decides.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import attrs

from ..errors import LogCorrupt, shown
from ..ledger.encoding import decode_data, decode_head, encode_data, encode_head, from_instant, to_instant
from ..ledger.entries import EPOCH, NOTHING, Batch, CounterKey, Entry
from ..ledger.state import EMPTY_HEAD, FOLD_VERSION, Head, State, counted, fold
from .base import Reads
from .connection import Connection
from .keeping import follow

PAGE: Final = 1000
_UNREADABLE: Final = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError)
_to_text = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode

_HEAD = "SELECT seq, batches, at, fold_version, head FROM heads WHERE customer = ?"
_HEAD_AND_PRIOR = """
    SELECT seq, batches, at, fold_version, head,
      (SELECT number FROM batches WHERE batches.customer = heads.customer AND key = ?)
    FROM heads WHERE customer = ?"""
_COUNTER = "SELECT amount FROM counters WHERE customer = ? AND name = ? AND start = ?"
_BATCHES = """
    SELECT b.position, b.customer, b.key, b.number, b.at, b.first_seq, b.last_seq, b.request, b.result,
      e.kind, e.at, e.subject, e.counter, e."window", e.amount, e.data, e.seq
    FROM (SELECT * FROM batches WHERE {these} LIMIT ?) AS b
    LEFT JOIN entries AS e ON e.customer = b.customer AND e.seq BETWEEN b.first_seq AND b.last_seq
    ORDER BY b.position, e.seq"""
_BATCHES_OF = _BATCHES.format(these="customer = ? AND number > ? ORDER BY number")
_FEED = _BATCHES.format(these="position > ? ORDER BY position")
_ENTRIES = """
    SELECT b.key, b.at, e.kind, e.at, e.subject, e.counter, e."window", e.amount, e.data, e.seq
    FROM entries AS e LEFT JOIN batches AS b ON b.customer = e.customer AND b.number = e.batch
    WHERE e.customer = ? AND e.seq > ? ORDER BY e.seq LIMIT ?"""
_CUSTOMERS = "SELECT customer FROM heads ORDER BY customer LIMIT ?"
_CUSTOMERS_AFTER = "SELECT customer FROM heads WHERE customer > ? ORDER BY customer LIMIT ?"

_ADD_BATCH = """
    INSERT INTO batches (customer, number, key, at, first_seq, last_seq, request, result)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
_ADD_ENTRY = """
    INSERT INTO entries (customer, seq, batch, kind, at, subject, counter, "window", amount, data)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_MOVE_HEAD = "UPDATE heads SET seq = ?, batches = ?, at = ? WHERE customer = ?"
_SET_HEAD = """
    INSERT INTO heads (customer, seq, batches, at, fold_version, head) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (customer) DO UPDATE SET seq = excluded.seq, batches = excluded.batches, at = excluded.at,
      fold_version = excluded.fold_version, head = excluded.head"""
_SET_COUNTER = """
    INSERT INTO counters (customer, name, start, amount) VALUES (?, ?, ?, ?)
    ON CONFLICT (customer, name, start) DO UPDATE SET amount = excluded.amount"""
_DROP_COUNTERS = "DELETE FROM counters WHERE customer = ?"


@attrs.frozen
class Found:
    """What a write finds: the state to show, and whether the head had to be folded anew."""

    state: State
    refolded: bool


def find(connection: Connection, customer: str, key: str, reads: Reads) -> Found:
    """Return the state a decision on `key` sees; a head of another fold is replaced first."""
    row = _one(connection.rows(_HEAD_AND_PRIOR, (key, customer)))
    refolded = not _is_current(row) and _refold(connection, customer)
    if refolded:
        row = _one(connection.rows(_HEAD_AND_PRIOR, (key, customer)))
    head, prior = _head(customer, row), None
    if head.known and row[5] is not None:
        (prior,) = batches_of(connection, customer, row[5] - 1, 1)
    return Found(State(head, _counters(connection, customer, reads(head)), prior), refolded)


def look(connection: Connection, customer: str, reads: Reads) -> State:
    """Return the state of a customer; a head of another fold is computed, and not written."""
    row = _one(connection.rows(_HEAD, (customer,)))
    if _is_current(row):
        head = _head(customer, row)
        return State(head, _counters(connection, customer, reads(head)))
    head, counters = fold(_log(connection, customer))
    return State(head, {counter: counters.get(counter, 0) for counter in reads(head)})


def append(connection: Connection, customer: str, key: str, state: State, batch: Batch) -> None:
    """Write a batch, and the head and counters that follow from it."""
    unread = [counter for counter in counted(batch.entries) if counter not in state.counters]
    counters = {**state.counters, **_counters(connection, customer, unread)} if unread else state.counters
    head, touched = follow(customer, key, state, batch, counters)
    at = from_instant(batch.at)
    request, result = _to_text(dict(batch.request)), _to_text(dict(batch.result))
    first, last = batch.entries[0].seq, batch.entries[-1].seq
    connection.run(_ADD_BATCH, (customer, batch.number, key, at, first, last, request, result))
    connection.run_each(_ADD_ENTRY, [_entry_row(customer, batch.number, entry) for entry in batch.entries])
    _write_head(connection, customer, state.head, head)
    _write_counters(connection, customer, touched)


def batches_of(connection: Connection, customer: str, after: int, limit: int) -> list[Batch]:
    """Return whole batches of a customer in order of number."""
    return [batch for _, batch in _batches(connection.rows(_BATCHES_OF, (customer, after, limit)))]


def batches_from(connection: Connection, position: int, limit: int) -> tuple[int, tuple[Batch, ...]]:
    """Return the batches of all customers after a position, and the position of the last."""
    page = list(_batches(connection.rows(_FEED, (position, limit))))
    return (page[-1][0] if page else position), tuple(batch for _, batch in page)


def entries_of(connection: Connection, customer: str, after: int, limit: int) -> list[Entry]:
    """Return entries of a customer in order of seq."""
    rows = connection.rows(_ENTRIES, (customer, after, limit))
    with _readable(customer):
        return [_entry(key, to_instant(at), line) for key, at, *line in rows]


def customer_ids(connection: Connection, after: str | None, limit: int) -> list[str]:
    """Return customer ids in order, those after `after`."""
    rows = connection.rows(_CUSTOMERS, (limit,)) if after is None else connection.rows(_CUSTOMERS_AFTER, (after, limit))
    return [customer for (customer,) in rows]


def _refold(connection: Connection, customer: str) -> bool:
    head, counters = fold(_log(connection, customer))
    if head.known:
        connection.run(_DROP_COUNTERS, (customer,))
        _write_head(connection, customer, EMPTY_HEAD, head)
        _write_counters(connection, customer, counters)
    return head.known


def _log(connection: Connection, customer: str) -> Iterator[Batch]:
    after = 0
    while page := batches_of(connection, customer, after, PAGE):
        yield from page
        after = page[-1].number


def _counters(connection: Connection, customer: str, names: Iterable[CounterKey]) -> dict[CounterKey, int]:
    amounts: dict[CounterKey, int] = {}
    for name, start in names:
        rows = connection.rows(_COUNTER, (customer, name, from_instant(start)))
        amounts[name, start] = rows[0][0] if rows else 0
    return amounts


def _write_head(connection: Connection, customer: str, before: Head, head: Head) -> None:
    at = from_instant(head.at)
    if before.known and _same_parts(before, head):
        connection.run(_MOVE_HEAD, (head.seq, head.batches, at, customer))
    else:
        text = _to_text(encode_head(head))
        connection.run(_SET_HEAD, (customer, head.seq, head.batches, at, FOLD_VERSION, text))


def _write_counters(connection: Connection, customer: str, counters: Mapping[CounterKey, int]) -> None:
    rows = [(customer, name, from_instant(start), amount) for (name, start), amount in counters.items()]
    connection.run_each(_SET_COUNTER, rows)


def _same_parts(before: Head, head: Head) -> bool:
    return before.facts is head.facts and before.opened == head.opened and before.noted == head.noted


def _is_current(row: Sequence[Any]) -> bool:
    return bool(row) and row[3] == FOLD_VERSION


def _one(rows: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    return rows[0] if rows else ()


def _head(customer: str, row: Sequence[Any]) -> Head:
    if not _is_current(row):
        return EMPTY_HEAD
    seq, batches, at, _, text = row[:5]
    try:
        parts = _head_parts(text)
        return Head(seq, batches, to_instant(at), parts.facts, parts.opened, parts.noted)
    except _UNREADABLE as error:
        raise _unreadable(customer, error) from error


@lru_cache(maxsize=1024)
def _head_parts(text: str) -> Head:
    return decode_head(json.loads(text), seq=0, batches=0, at=EPOCH)


def _batches(rows: Iterable[Sequence[Any]]) -> Iterator[tuple[int, Batch]]:
    for position, lines in groupby(rows, key=itemgetter(0)):
        yield position, _batch(list(lines))


def _batch(lines: Sequence[Sequence[Any]]) -> Batch:
    _, customer, key, number, at, first, last, request, result = lines[0][:9]
    with _readable(customer):
        recorded = to_instant(at)
        entries = tuple(_entry(key, recorded, line[9:]) for line in lines)
        if len(entries) != last - first + 1:
            raise LogCorrupt(f"{shown(customer)}: batch {number} has {len(entries)} of its {last - first + 1} entries")
        return Batch(customer, key, number, recorded, json.loads(request), json.loads(result), entries)


def _entry(key: str, recorded: datetime, line: Sequence[Any]) -> Entry:
    kind, at, subject, counter, start, amount, data, seq = line
    window = None if start is None else to_instant(start)
    kept = NOTHING if data is None else decode_data(kind, json.loads(data))
    return Entry(kind, to_instant(at), subject, counter, window, amount, kept, seq, key, recorded)


def _entry_row(customer: str, number: int, entry: Entry) -> tuple[Any, ...]:
    window = None if entry.window is None else from_instant(entry.window)
    data = _to_text(encode_data(entry.kind, entry.data)) if entry.data else None
    at = from_instant(entry.at)
    return customer, entry.seq, number, entry.kind, at, entry.subject, entry.counter, window, entry.amount, data


@contextmanager
def _readable(customer: str) -> Iterator[None]:
    try:
        yield
    except _UNREADABLE as error:
        raise _unreadable(customer, error) from error


def _unreadable(customer: str, error: Exception) -> LogCorrupt:
    return LogCorrupt(f"{shown(customer)}: a stored row cannot be read ({type(error).__name__}: {error})")
