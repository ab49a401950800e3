"""What a write does in SQL, on one open connection: find a log, append batches, write what it has grown to.

Nothing here begins or ends a transaction, and nothing decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from ..errors import LogCorrupt
from ..ledger.credit_encoding import encode_block, encode_hold
from ..ledger.encoding import encode_budgets, encode_head
from ..ledger.entries import Batch, CounterKey
from ..ledger.instants import from_instant
from ..ledger.records import Record
from ..ledger.sealing import sealed_text
from ..ledger.state import EMPTY_HEAD, FOLD_VERSION, Head, State, fold
from .base import Reads
from .connection import Connection
from .growing import Growth
from .heads import Heads, Row
from .readings import batches_of, log_of, secrets_of
from .rows import digests_of_head, head_from, is_current, one, readable, same_parts

_HEAD: Final = "SELECT seq, batches, at, fold_version, hash, head FROM heads WHERE customer = ?"
_HEAD_AND_PRIOR: Final = """
    SELECT seq, batches, at, fold_version, hash, head,
      (SELECT number FROM batches WHERE batches.customer = heads.customer AND key = ?)
    FROM heads WHERE customer = ?"""
_SALT: Final = "SELECT salt FROM personal WHERE customer = ? LIMIT 1"
_BLOCKS: Final = "SELECT id, block, free_units, held_units FROM blocks WHERE customer = ?"
_HOLDS: Final = "SELECT id, hold FROM holds WHERE customer = ?"
_SOME_COUNTERS: Final = """
    SELECT c.name, c.start, c.amount FROM (VALUES {}) AS wanted
    CROSS JOIN counters AS c ON c.customer = ? AND c.name = wanted.column1 AND c.start = wanted.column2"""
_COUNTERS_AT_ONCE: Final = 50

_ADD_BATCH: Final = """
    INSERT INTO batches (customer, number, key, at, first_seq, last_seq, request, result, hash)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_ADD_ENTRY: Final = """
    INSERT INTO entries (customer, seq, batch, kind, at, subject, counter, "window", amount, data, block)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_SEAL: Final = """
    INSERT INTO personal (customer, digest, salt, value, number) SELECT ?1, ?2, ?3, ?4, ?5
    WHERE NOT EXISTS (SELECT 1 FROM personal WHERE customer = ?1 AND digest = ?2)"""
_MOVE_HEAD: Final = "UPDATE heads SET seq = ?, batches = ?, at = ?, hash = ? WHERE customer = ?"
_SET_HEAD: Final = """
    INSERT INTO heads (seq, batches, at, fold_version, hash, head, customer) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (customer) DO UPDATE SET seq = excluded.seq, batches = excluded.batches, at = excluded.at,
      fold_version = excluded.fold_version, head = excluded.head, hash = excluded.hash"""
_SET_BLOCK: Final = "REPLACE INTO blocks (customer, id, free_units, held_units, block) VALUES (?, ?, ?, ?, ?)"
_MOVE_BLOCK: Final = "UPDATE blocks SET free_units = ?, held_units = ? WHERE customer = ? AND id = ?"
_SET_HOLD: Final = "REPLACE INTO holds (customer, id, hold) VALUES (?, ?, ?)"
_DROP_BLOCK: Final = "DELETE FROM blocks WHERE customer = ? AND id = ?"
_DROP_HOLD: Final = "DELETE FROM holds WHERE customer = ? AND id = ?"
_BUDGETS: Final = "SELECT id, budgets FROM budgets WHERE customer = ?"
_SET_BUDGETS: Final = "REPLACE INTO budgets (customer, id, budgets) VALUES (?, ?, ?)"
_SET_COUNTER: Final = """
    INSERT INTO counters (customer, name, start, amount) VALUES (?, ?, ?, ?)
    ON CONFLICT (customer, name, start) DO UPDATE SET amount = excluded.amount"""
_PARTS: Final = ("counters", "blocks", "holds", "budgets")
_DROP_ALL: Final = tuple(f"DELETE FROM {table} WHERE customer = ?" for table in _PARTS)  # noqa: S608


def find(connection: Connection, heads: Heads, customer: str, key: str) -> tuple[Growth, Batch | None]:
    """Return a log as a write finds it, and the batch of `key`; a head of another fold is replaced first."""
    found = one(connection.rows(_HEAD_AND_PRIOR, (key, customer)))
    refolded = not is_current(found) and _refold(connection, customer)
    if refolded:
        found = one(connection.rows(_HEAD_AND_PRIOR, (key, customer)))
    row = found[:6]
    head = head_of(connection, heads, customer, row, keep=not refolded)
    prior = None
    if head.known and found[6] is not None:
        (prior,) = batches_of(connection, customer, found[6] - 1, 1)
    return Growth.on(row, head, heads.beside(customer, row), refolded=refolded), prior


def look(connection: Connection, heads: Heads, customer: str, reads: Reads) -> State:
    """Return the state of a customer; a head of another fold is computed, and not written."""
    row = one(connection.rows(_HEAD, (customer,)))
    if is_current(row):
        head = head_of(connection, heads, customer, row)
        return State(head, counters_of(connection, customer, reads(head)))
    head, counters = fold(log_of(connection, customer))
    return State(head, {counter: counters.get(counter, 0) for counter in reads(head)})


def write_records(connection: Connection, records: Sequence[Record], logs: Mapping[str, Growth]) -> None:
    """Append batches to their logs, with their entries and what is personal in them."""
    connection.run_each(_ADD_BATCH, [record[:9] for record in records])
    connection.run_each(_ADD_ENTRY, [(record.customer, *line) for record in records for line in record.lines])
    for record in records:
        for digest, secret in logs[record.customer].unsealed(record):
            connection.run(_SEAL, (record.customer, digest, *secret))


def write_state(connection: Connection, customer: str, growth: Growth) -> None:
    """Write the head that a log has grown to, and everything beside it that has changed."""
    row = _write_head(connection, customer, growth.row, growth.stood, growth.head)
    _write_blocks(connection, customer, growth.stood, growth.head, growth.blocks)
    _write_holds(connection, customer, growth.head, growth.holds)
    _write_budgets(connection, customer, growth.head, growth.budgets)
    _write_counters(connection, customer, {counter: growth.counters[counter] for counter in growth.moved})
    growth.stand(row)


def stored_head(connection: Connection, customer: str) -> tuple[Row, Head | None]:
    """Return the row of a head, and the head as its rows say, None where there is none of this fold."""
    row = one(connection.rows(_HEAD, (customer,)))
    return row, _decoded(connection, customer, row) if is_current(row) else None


def head_of(connection: Connection, heads: Heads, customer: str, row: Row, *, keep: bool = True) -> Head:
    """Return the head of a row, from memory where it was decoded before; `keep` remembers it."""
    if not is_current(row):
        return EMPTY_HEAD
    head = heads.get(customer, row)
    if head is None:
        head = _decoded(connection, customer, row)
        if keep:
            heads.put(customer, row, head)
    return head


def _decoded(connection: Connection, customer: str, row: Row) -> Head:
    blocks, holds = connection.rows(_BLOCKS, (customer,)), connection.rows(_HOLDS, (customer,))
    budgets = connection.rows(_BUDGETS, (customer,))
    salted = one(connection.rows(_SALT, (customer,)))
    with readable(customer):
        known = secrets_of(connection, customer, digests_of_head(row, (blocks, holds, budgets))) if salted else {}
    return head_from(customer, row, (blocks, holds, budgets), salted[0] if salted else "", known)


def _refold(connection: Connection, customer: str) -> bool:
    head, counters = fold(log_of(connection, customer))
    if head.known:
        for drop in _DROP_ALL:
            connection.run(drop, (customer,))
        _write_head(connection, customer, (), EMPTY_HEAD, head)
        _write_blocks(connection, customer, EMPTY_HEAD, head, head.blocks)
        _write_holds(connection, customer, head, head.holds)
        _write_budgets(connection, customer, head, head.budgets.rows)
        _write_counters(connection, customer, counters)
    return head.known


def counters_of(connection: Connection, customer: str, names: Iterable[CounterKey]) -> dict[CounterKey, int]:
    """Return counters as they are stored, 0 for those that are not."""
    amounts: dict[CounterKey, int] = dict.fromkeys(names, 0)
    wanted = list(amounts)
    for first in range(0, len(wanted), _COUNTERS_AT_ONCE):
        some = {(name, from_instant(start)): (name, start) for name, start in wanted[first : first + _COUNTERS_AT_ONCE]}
        pairs = [part for pair in some for part in pair]
        sql = _SOME_COUNTERS.format(", ".join(["(?, ?)"] * len(some)))
        for name, start, amount in connection.rows(sql, (*pairs, customer)):
            amounts[some[name, start]] = amount
    return amounts


def _write_head(connection: Connection, customer: str, row: Row, before: Head, head: Head) -> Row:
    seq, batches, at, digest = head.seq, head.batches, from_instant(head.at), head.hash
    if before.known and same_parts(before, head):
        connection.run(_MOVE_HEAD, (seq, batches, at, digest, customer))
        text = row[5]
    else:
        text = sealed_text(encode_head(head), head.salt)
        connection.run(_SET_HEAD, (seq, batches, at, FOLD_VERSION, digest, text, customer))
    return (seq, batches, at, FOLD_VERSION, digest, text)


def _write_blocks(connection: Connection, customer: str, before: Head, head: Head, keys: Iterable[str]) -> None:
    for key in keys:
        stood, block = before.blocks.get(key), head.blocks.get(key)
        if block is None:
            connection.run(_DROP_BLOCK, (customer, key))
        elif stood is not None and stood.differs_in_units(block):
            if connection.run(_MOVE_BLOCK, (block.free_units, block.held_units, customer, key)) != 1:
                raise LogCorrupt(f"{customer}: the row of block {key!r} is gone; nothing was written")
        else:
            said = sealed_text(encode_block(block), head.salt)
            connection.run(_SET_BLOCK, (customer, key, block.free_units, block.held_units, said))


def _write_holds(connection: Connection, customer: str, head: Head, keys: Iterable[str]) -> None:
    for key in keys:
        hold = head.holds.get(key)
        if hold is None:
            connection.run(_DROP_HOLD, (customer, key))
        else:
            connection.run(_SET_HOLD, (customer, key, sealed_text(encode_hold(hold), head.salt)))


def _write_budgets(connection: Connection, customer: str, head: Head, keys: Iterable[str]) -> None:
    for key in keys:
        said = sealed_text(encode_budgets(head.budgets.rows[key]), head.salt)
        connection.run(_SET_BUDGETS, (customer, key, said))


def _write_counters(connection: Connection, customer: str, counters: Mapping[CounterKey, int]) -> None:
    rows = [(customer, name, from_instant(start), amount) for (name, start), amount in counters.items()]
    connection.run_each(_SET_COUNTER, rows)
