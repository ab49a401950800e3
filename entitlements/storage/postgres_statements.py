"""What a write does in PostgreSQL, as steps: lock, find the state, decide, append, commit.

A write whose head is in memory takes two trips: one that begins, locks and reads, and one that writes
and commits. The counters to read are guessed from the head in memory; where the head has moved on, what
is missing is read in a third.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from ..ledger.credit_encoding import encode_block, encode_hold
from ..ledger.encoding import encode_budgets, encode_head
from ..ledger.entries import Batch, CounterKey, Verdict
from ..ledger.instants import from_instant, to_instant
from ..ledger.records import Record
from ..ledger.sealing import sealed_text
from ..ledger.state import (
    EMPTY_HEAD,
    FOLD_VERSION,
    Head,
    State,
    changes_terms,
    counted,
    fold,
    is_erasure,
)
from .base import Call, Outcome, Reads
from .growing import Growth, record_of
from .heads import Heads
from .postgres_readings import batches_of, log_of, secrets_of
from .postgres_signals import telling
from .postgres_trips import COMMIT, Row, Statement, Steps, Trip, array_of, begin_reading, begin_writing, lock_of
from .rows import digests_of_head, head_from, is_current, one, same_parts

_HEAD: Final = """
    SELECT seq, batches, at, fold_version, hash, CASE WHEN xmin::text = $2 THEN NULL ELSE head END, xmin::text
    FROM {schema}.heads WHERE customer = $1"""
_SHOWN: Final = "SELECT * FROM {schema}.shown($1, $2, $3, $4, $5)"
_SALT: Final = "SELECT salt FROM {schema}.personal WHERE customer = $1 LIMIT 1"
_BLOCKS: Final = "SELECT id, block, free_units, held_units FROM {schema}.blocks WHERE customer = $1"
_HOLDS: Final = "SELECT id, hold FROM {schema}.holds WHERE customer = $1"
_BUDGETS: Final = "SELECT id, budgets FROM {schema}.budgets WHERE customer = $1"
_COUNTERS: Final = """
    SELECT name, start, amount FROM {schema}.counters
    WHERE customer = $1 AND (name, start) IN (SELECT * FROM unnest($2::text[], $3::bigint[]))"""

_ADD_BATCH: Final = """
    INSERT INTO {schema}.batches (customer, number, key, at, first_seq, last_seq, request, result, hash)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"""
_ADD_BATCH_OF_ONE: Final = """
    SELECT {schema}.add_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)"""
_ADD_ENTRIES: Final = """
    INSERT INTO {schema}.entries (customer, seq, batch, kind, at, subject, counter, "window", amount, data, block)
    SELECT $1, * FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::bigint[], $6::text[], $7::text[],
      $8::bigint[], $9::bigint[], $10::text[], $11::text[])"""
_SEAL: Final = """
    INSERT INTO {schema}.personal (customer, digest, salt, value, number) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT DO NOTHING"""
_MOVE: Final = "SELECT {schema}.move($1, $2, $3, $4, $5, $6, $7, $8)"
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
_VACUUM: Final = "VACUUM {schema}.personal"


@attrs.define
class Log:
    """What a write knows of one customer, and what is to be sent for it.

    The row of `growth` is the mark of the head: what tells it from every other that was ever there.
    """

    customer: str
    growth: Growth
    guesses: Mapping[int, list[CounterKey]] = attrs.Factory(dict)
    lines: list[Statement] = attrs.Factory(list)
    erases: bool = False
    tells: bool = False

    @property
    def has_grown(self) -> bool:
        """Whether there is anything to write."""
        return self.growth.head is not self.growth.stood or self.growth.refolded

    def append(self, key: str, state: State, batch: Batch, record: Record) -> None:
        """Take a batch up; raises LogCorrupt, and takes nothing, where it does not follow."""
        self.growth.grow(self.customer, key, state, batch)
        self.lines = _record(record)
        self.tells = self.tells or changes_terms(batch)
        if is_erasure(batch):
            self.lines += [(_KEEP_DIGESTS, (self.customer,)), (_FORGET, (self.customer,))]
            self.erases = True


def writing(heads: Heads, schema: str, calls: Sequence[Call], wait: float) -> Steps[list[Outcome]]:
    """Decide all calls in their order, commit once what they come to, and return what each comes to.

    Where a call's own `reads` or `decide` raises, that is what it comes to, and it alone writes nothing.
    """
    logs = yield from _find(heads, schema, calls, wait)
    outcomes, lines = list[Outcome](), list[Statement]()
    for call in calls:
        log = logs[call.customer]
        outcomes += [(yield from _decided(log, call))]
        lines += log.lines
        log.lines = []
    written = [log for log in logs.values() if log.has_grown]
    if not written:
        yield Trip([COMMIT])
        return outcomes
    lines += [telling(schema)] if any(log.tells for log in written) else []
    marks = yield from _commit(lines, written, calls)
    for log, mark in zip(written, marks, strict=True):
        heads.put(log.customer, mark, log.growth.head)
    if any(log.erases for log in written):
        yield Trip([(_VACUUM, ())])
    return outcomes


def looking(heads: Heads, customer: str, reads: Reads) -> Steps[State]:
    """Return the state of a customer; a head of another fold is computed, and not written."""
    known = heads.latest(customer)
    if known is not None:
        names = _guessed(reads, known[1])
        *_, (row,), _ = yield Trip([*begin_reading(), _shown(customer, known[0], names or (), ()), COMMIT])
        if names is not None and _mark(row) == known[0]:
            return State(known[1], dict(zip(names, row[7], strict=True)))
    _, _, *parts = yield Trip([*begin_reading(), *_parts(customer)])
    row = one(parts[0])
    if is_current(row):
        head = yield from _decoded(heads, customer, parts)
        counters: Mapping[CounterKey, int] = yield from _amounts_of(customer, reads(head))
    else:
        head, sums = fold((yield from log_of(customer)))
        counters = {name: sums.get(name, 0) for name in reads(head)}
    yield Trip([COMMIT])
    return State(head, counters)


def stored_head(customer: str) -> Steps[tuple[Row, Head | None]]:
    """Return the row of a head, and the head as its rows say, None where there is none of this fold."""
    parts = yield Trip(_parts(customer))
    row = one(parts[0])
    return row, ((yield from _decoded(None, customer, parts)) if is_current(row) else None)


def _find(heads: Heads, schema: str, calls: Sequence[Call], wait: float) -> Steps[dict[str, Log]]:
    """Lock the customers of the calls and return what is known of each."""
    customers = {call.customer: [each for each in calls if each.customer == call.customer] for call in calls}
    asked = begin_writing([lock_of(schema, customer) for customer in customers], wait)
    start, plans = len(asked), []
    for customer, own in customers.items():
        plan = _Plan(customer, own, heads.latest(customer))
        plans.append((plan, slice(start, start + len(plan.statements))))
        asked += plan.statements
        start += len(plan.statements)
    found = yield Trip(asked)
    logs = {}
    for plan, part in plans:
        logs[plan.customer] = yield from _opened(heads, plan, found[part])
    return logs


class _Plan:
    """What to ask of one customer, given the head that is in memory, if one is."""

    def __init__(self, customer: str, calls: Sequence[Call], known: tuple[Row, Head] | None) -> None:
        self.customer, self.known = customer, known
        self.guesses: dict[int, list[CounterKey]] = {}
        self.names: Mapping[CounterKey, None] = {}
        if known is not None:
            guessed = [(id(call), _guessed(call.reads, known[1])) for call in calls]
            self.guesses = {call: names for call, names in guessed if names is not None}
            self.names = dict.fromkeys(name for names in self.guesses.values() for name in names)
        shown = _shown(customer, known[0] if known else ("",), self.names, [call.key for call in calls])
        self.statements = [shown] if known else [shown, *_parts(customer)]


def _opened(heads: Heads, plan: _Plan, found: Sequence[list[Row]]) -> Steps[Log]:
    customer, known = plan.customer, plan.known
    ((*row, amounts, priors),), *parts = found
    if known is not None and _mark(row) == known[0]:
        growth = Growth(known[0], known[1], known[1], counters=dict(zip(plan.names, amounts, strict=True)))
        log = Log(customer, growth, plan.guesses)
    elif is_current(row):
        if known is not None:
            parts = yield Trip(_parts(customer))
        head = yield from _decoded(heads, customer, parts)
        log = Log(customer, Growth(_mark(row), head, head))
    else:
        log = yield from _refolded(customer)
    if log.growth.head.known:
        for number in priors:
            (prior,) = yield from batches_of(customer, number - 1, 1)
            log.growth.batches[prior.key] = prior
    return log


def _decided(log: Log, call: Call) -> Steps[Outcome]:
    """Return what one call comes to, having taken up its batch."""
    growth = log.growth
    names = log.guesses.get(id(call)) if growth.head is growth.stood else None
    try:
        names = list(call.reads(growth.head)) if names is None else names
    except Exception as error:  # noqa: BLE001  (it is the caller's, and is given to him)
        return Outcome(error=error)
    yield from _read(log, growth.missing(names))
    state = growth.shown(names, growth.batches.get(call.key))
    try:
        verdict: Verdict[Any] = call.decide(state)
        batch = verdict.batch
        record = None if batch is None else record_of(verdict, batch)
        unread = [] if batch is None else growth.missing(counted(batch.entries))
    except Exception as error:  # noqa: BLE001
        return Outcome(error=error)
    yield from _read(log, unread)
    try:
        if batch is not None and record is not None:
            log.append(call.key, state, batch, record)
    except Exception as error:  # noqa: BLE001
        return Outcome(error=error)
    return Outcome(verdict.result)


def _read(log: Log, names: Iterable[CounterKey]) -> Steps[None]:
    log.growth.counters.update((yield from _amounts_of(log.customer, names)))


def _commit(lines: Sequence[Statement], logs: Sequence[Log], calls: Sequence[Call]) -> Steps[list[Row]]:
    """Write what was decided, and commit; return the mark of each head."""
    statements, places = [*lines], []
    for log in logs:
        places.append(len(statements))
        statements += _state(log)
    found = yield Trip([*statements, COMMIT], commits=calls[0].key)
    return [(*_counts(log.growth.head), found[place][0][0]) for log, place in zip(logs, places, strict=True)]


def _state(log: Log) -> list[Statement]:
    """Return what writes the head of a log, first, and all that stands beside it."""
    customer, growth = log.customer, log.growth
    before, head = growth.stood, growth.head
    seq, batches, at, _, digest = _counts(head)
    moved = (customer, seq, batches, at, digest)
    changed = {counter: growth.counters[counter] for counter in growth.moved}
    if before.known and same_parts(before, head):
        statements: list[Statement] = [(_MOVE, (*moved, *_places(changed), array_of(changed.values())))]
        changed = {}
    else:
        statements = [(_SET_HEAD, (*moved, FOLD_VERSION, sealed_text(encode_head(head), head.salt, {})))]
    if growth.refolded:
        statements += [(drop, (customer,)) for drop in _DROP_ALL]
    statements += [_block(customer, head, key) for key in sorted(growth.blocks)]
    statements += [_hold(customer, head, key) for key in sorted(growth.holds)]
    statements += [_budgets(customer, head, key) for key in sorted(growth.budgets)]
    return statements + [(_SET_COUNTER, (customer, name, from_instant(at), n)) for (name, at), n in changed.items()]


def _block(customer: str, head: Head, key: str) -> Statement:
    block = head.blocks.get(key)
    if block is None:
        return _DROP_BLOCK, (customer, key)
    said = sealed_text(encode_block(block), head.salt, {})
    return _SET_BLOCK, (customer, key, block.free_units, block.held_units, said)


def _hold(customer: str, head: Head, key: str) -> Statement:
    hold = head.holds.get(key)
    if hold is None:
        return _DROP_HOLD, (customer, key)
    return _SET_HOLD, (customer, key, sealed_text(encode_hold(hold), head.salt, {}))


def _budgets(customer: str, head: Head, key: str) -> Statement:
    return _SET_BUDGETS, (customer, key, sealed_text(encode_budgets(head.budgets.rows[key]), head.salt, {}))


def _record(record: Record) -> list[Statement]:
    customer, number, key, at, first, last, request, result, digest, lines, secrets = record[:11]
    batch = (customer, number, key, at, first, last, request, result, digest)
    if len(lines) == 1:
        statements: list[Statement] = [(_ADD_BATCH_OF_ONE, (*batch, *lines[0][2:]))]
    else:
        statements = [(_ADD_BATCH, batch), (_ADD_ENTRIES, (customer, *map(array_of, zip(*lines, strict=True))))]
    return statements + [(_SEAL, (customer, sealed, *secret)) for sealed, secret in secrets.items()]


def _refolded(customer: str) -> Steps[Log]:
    """Return a log whose head is folded anew, with all that is to be written for it; empty where there is none."""
    head, counters = fold((yield from log_of(customer)))
    if not head.known:
        return Log(customer, Growth((), EMPTY_HEAD, EMPTY_HEAD))
    rows = (set(head.blocks), set(head.holds), set(head.budgets.rows))
    growth = Growth((), EMPTY_HEAD, head, True, dict(counters), set(counters), *rows)
    return Log(customer, growth)


def _parts(customer: str) -> list[Statement]:
    return [(_HEAD, (customer, "")), *((sql, (customer,)) for sql in (_BLOCKS, _HOLDS, _BUDGETS, _SALT))]


def _shown(customer: str, mark: Row, names: Iterable[CounterKey], keys: Iterable[str]) -> Statement:
    return _SHOWN, (customer, mark[-1], *_places(names), array_of(keys))


def _places(names: Iterable[CounterKey]) -> tuple[str, str]:
    return array_of(name for name, _ in names), array_of(from_instant(start) for _, start in names)


def _decoded(heads: Heads | None, customer: str, parts: Sequence[list[Row]]) -> Steps[Head]:
    """Return the head its rows say, from memory where it was decoded before, and remember it."""
    rows, *of_head, salts = parts
    blocks, holds, budgets = of_head
    row = one(rows)
    head = None if heads is None else heads.get(customer, _mark(row))
    if head is not None:
        return head
    salt = salts[0][0] if salts else ""
    known = (yield from secrets_of(customer, digests_of_head(row, (blocks, holds, budgets)))) if salts else {}
    head = head_from(customer, row[:6], (blocks, holds, budgets), salt, known)
    if heads is not None:
        heads.put(customer, _mark(row), head)
    return head


def _mark(row: Sequence[Any]) -> Row:
    return (*row[:5], row[6]) if row else ()


def _counts(head: Head) -> Row:
    return head.seq, head.batches, from_instant(head.at), FOLD_VERSION, head.hash


def _guessed(reads: Reads, head: Head) -> list[CounterKey] | None:
    """Return the counters that `reads` names if the head in memory is still the customer's, None where it raises."""
    try:
        return list(reads(head))
    except Exception:  # noqa: BLE001  (it is asked again with the true head, and that counts)
        return None


def _amounts_of(customer: str, names: Iterable[CounterKey]) -> Steps[dict[CounterKey, int]]:
    amounts: dict[CounterKey, int] = dict.fromkeys(names, 0)
    if amounts:
        (rows,) = yield Trip([(_COUNTERS, (customer, *_places(amounts)))])
        amounts |= {(name, to_instant(start)): amount for name, start, amount in rows}
    return amounts
