"""What a write sends to PostgreSQL once it is decided: its batches, and what the head and its rows have come to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from ..ledger.blocks import Block
from ..ledger.credit_encoding import encode_block, encode_hold
from ..ledger.encoding import encode_budgets, encode_head
from ..ledger.entries import CounterKey
from ..ledger.instants import from_instant
from ..ledger.records import Record
from ..ledger.sealing import sealed_text
from ..ledger.state import FOLD_VERSION, Head
from .growing import Growth
from .postgres_trips import Row, Statement, array_of
from .rows import same_parts

_ADD_BATCH: Final = f"SELECT {{schema}}.add_batch({', '.join(f'${n}' for n in range(1, 24))})"
_ADD_BATCH_OF_MANY: Final = _ADD_BATCH.replace(".add_batch(", ".add_batch_of_many(")
_STAYS: Final = (None,) * 6
_SEAL: Final = """
    INSERT INTO {schema}.personal (customer, digest, salt, value, number) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT DO NOTHING"""
_SET_HEAD: Final = """
    INSERT INTO {schema}.heads AS h (customer, seq, batches, at, hash, fold_version, head)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (customer) DO UPDATE SET seq = excluded.seq, batches = excluded.batches, at = excluded.at,
      fold_version = excluded.fold_version, head = excluded.head, hash = excluded.hash RETURNING h.xmin::text"""
_SET_BLOCK: Final = """
    INSERT INTO {schema}.blocks (customer, id, free_units, held_units, block) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (customer, id) DO UPDATE SET free_units = excluded.free_units, held_units = excluded.held_units,
      block = excluded.block"""
_SET_HOLD: Final = """
    INSERT INTO {schema}.holds (customer, id, hold) VALUES ($1, $2, $3)
    ON CONFLICT (customer, id) DO UPDATE SET hold = excluded.hold"""
_SET_BUDGETS: Final = """
    INSERT INTO {schema}.budgets (customer, id, budgets) VALUES ($1, $2, $3)
    ON CONFLICT (customer, id) DO UPDATE SET budgets = excluded.budgets"""
_DROP_BLOCK: Final = "DELETE FROM {schema}.blocks WHERE customer = $1 AND id = $2"
_DROP_HOLD: Final = "DELETE FROM {schema}.holds WHERE customer = $1 AND id = $2"
_SET_COUNTER: Final = """
    INSERT INTO {schema}.counters (customer, name, start, amount) VALUES ($1, $2, $3, $4)
    ON CONFLICT (customer, name, start) DO UPDATE SET amount = excluded.amount"""
_DROP_ALL: Final = tuple(
    f"DELETE FROM {{schema}}.{table} WHERE customer = $1"  # noqa: S608
    for table in ("counters", "blocks", "holds", "budgets")
)
_KEEP_DIGESTS: Final = """
    INSERT INTO {schema}.erased (customer, digest, number)
    SELECT customer, digest, number FROM {schema}.personal WHERE customer = $1 ON CONFLICT DO NOTHING"""
_FORGET: Final = "DELETE FROM {schema}.personal WHERE customer = $1"


def adding(record: Record, growth: Growth) -> list[Statement]:
    """Return what appends a batch to its log, first, and what is personal in it beside it."""
    customer, number, key, at, first, last, request, result, digest, lines = record[:10]
    batch = (customer, number, key, at, first, last, request, result, digest)
    if len(lines) == 1:
        added: Statement = (_ADD_BATCH, (*batch, *lines[0][2:], *_STAYS))
    else:
        _, _, *columns = zip(*lines, strict=True)
        added = (_ADD_BATCH_OF_MANY, (*batch, *map(array_of, columns), *_STAYS))
    return [added, *((_SEAL, (customer, sealed, *secret)) for sealed, secret in growth.unsealed(record))]


def erasing(customer: str) -> list[Statement]:
    """Return what deletes all that is personal in a log, and keeps its digests."""
    return [(_KEEP_DIGESTS, (customer,)), (_FORGET, (customer,))]


def moving(customer: str, growth: Growth, lines: list[Statement], last: int) -> int:
    """Add to the lines what writes the head of a log and all beside it; return the place of what answers with its mark.

    The head moves with the batch that was appended `last`, unless its text is another; that is written anew.
    """
    before, head = growth.stood, growth.head
    amounts = {counter: growth.counters[counter] for counter in growth.moved}
    if before.known and same_parts(before, head):
        left = {key: block for key in growth.blocks if (block := _differing_in_units(before, head, key)) is not None}
        lines[last] = _moved(lines[last], amounts, left)
        lines += _rows(customer, growth, growth.blocks - left.keys())
        return last
    place = len(lines)
    drops = [(drop, (customer,)) for drop in _DROP_ALL] if growth.refolded else []
    lines += [_set_head(customer, head), *drops, *_rows(customer, growth, growth.blocks), *_set(customer, amounts)]
    return place


def places(names: Iterable[CounterKey]) -> tuple[str, str]:
    """Return counters as PostgreSQL reads them: an array of names and one of instants."""
    return array_of([name for name, _ in names]), array_of([from_instant(start) for _, start in names])


def counts_of(head: Head) -> Row:
    """Return the columns of a head but for its text."""
    return head.seq, head.batches, from_instant(head.at), FOLD_VERSION, head.hash


def _moved(last: Statement, amounts: Mapping[CounterKey, int], left: Mapping[str, Block]) -> Statement:
    text, values = last
    free, held = [block.free_units for block in left.values()], [block.held_units for block in left.values()]
    arrays = (*places(amounts), array_of(amounts.values()), array_of(left), array_of(free), array_of(held))
    return text, (*values[: -len(_STAYS)], *arrays)


def _set_head(customer: str, head: Head) -> Statement:
    counts = (head.seq, head.batches, from_instant(head.at), head.hash)
    return _SET_HEAD, (customer, *counts, FOLD_VERSION, sealed_text(encode_head(head), head.salt))


def _differing_in_units(before: Head, head: Head, key: str) -> Block | None:
    stood, block = before.blocks.get(key), head.blocks.get(key)
    return block if stood is not None and block is not None and stood.differs_in_units(block) else None


def _rows(customer: str, growth: Growth, blocks: Iterable[str]) -> Iterator[Statement]:
    """Yield what writes these blocks, and the holds and budgets that have changed, row by row."""
    head = growth.head
    yield from (_block(customer, head, key) for key in sorted(blocks))
    yield from (_hold(customer, head, key) for key in sorted(growth.holds))
    yield from (_budgets(customer, head, key) for key in sorted(growth.budgets))


def _block(customer: str, head: Head, key: str) -> Statement:
    block = head.blocks.get(key)
    if block is None:
        return _DROP_BLOCK, (customer, key)
    said = sealed_text(encode_block(block), head.salt)
    return _SET_BLOCK, (customer, key, block.free_units, block.held_units, said)


def _hold(customer: str, head: Head, key: str) -> Statement:
    hold = head.holds.get(key)
    if hold is None:
        return _DROP_HOLD, (customer, key)
    return _SET_HOLD, (customer, key, sealed_text(encode_hold(hold), head.salt))


def _budgets(customer: str, head: Head, key: str) -> Statement:
    return _SET_BUDGETS, (customer, key, sealed_text(encode_budgets(head.budgets.rows[key]), head.salt))


def _set(customer: str, amounts: Mapping[CounterKey, int]) -> Iterator[Statement]:
    for (name, start), amount in amounts.items():
        yield _SET_COUNTER, (customer, name, from_instant(start), amount)
