"""What a write does in PostgreSQL, as steps: lock, find the state, decide, append, commit.

A write whose head is in memory takes two trips: one that begins, locks and reads, and one that writes
and commits. The counters to read are guessed from the head in memory; where the head has moved on, what
is missing is read in a third.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from ..errors import StorageError
from ..ledger.entries import Batch, CounterKey, Verdict
from ..ledger.instants import to_instant
from ..ledger.records import Record
from ..ledger.state import EMPTY_HEAD, Head, State, changes_terms, counted, fold, is_erasure
from .base import Call, Outcome, Reads
from .growing import Growth, record_of
from .heads import Beside, Heads
from .keeping import bytes_left
from .postgres_readings import batches_of, log_of, secrets_of
from .postgres_signals import telling
from .postgres_trips import (
    COMMIT,
    Row,
    Statement,
    Steps,
    Trip,
    array_of,
    begin_finding,
    begin_reading,
    begin_writing,
    lock_of,
)
from .postgres_vacuuming import vacuuming
from .postgres_writing import adding, counts_of, erasing, moving, places
from .rows import digests_of_head, head_from, is_current, one

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


@attrs.define
class Log:
    """What a write knows of one customer.

    The row of `growth` is the mark of the head: what tells it from every other that was ever there. `last`
    is the place of the last batch that was taken up, among all that is to be sent. `erased` has the keys of
    those that erase.
    """

    customer: str
    growth: Growth
    guesses: Mapping[int, list[CounterKey]] = attrs.Factory(dict)
    last: int = -1
    erased: set[str] = attrs.Factory(set)
    tells: bool = False

    @property
    def has_grown(self) -> bool:
        """Whether there is anything to write."""
        return self.growth.head is not self.growth.stood or self.growth.refolded

    def append(self, key: str, state: State, batch: Batch, record: Record, lines: list[Statement]) -> None:
        """Take a batch up, to be sent with the lines; raises LogCorrupt, and takes none, where it does not follow."""
        self.growth.grow(self.customer, key, state, batch)
        self.last = len(lines)
        lines += adding(record, self.growth)
        self.tells = self.tells or changes_terms(batch)
        if is_erasure(batch):
            lines += erasing(self.customer)
            self.growth.sealed.clear()
            self.erased.add(key)


def writing(heads: Heads, schema: str, calls: Sequence[Call], wait: float) -> Steps[list[Outcome]]:
    """Decide all calls in their order, commit once what they come to, and return what each comes to.

    Where a call's own `reads` or `decide` raises, that is what it comes to, and it alone writes nothing.
    """
    logs = yield from _find(heads, schema, calls, wait)
    outcomes, lines = list[Outcome](), list[Statement]()
    for call in calls:
        outcomes += [(yield from _decided(logs[call.customer], call, lines))]
    written = [log for log in logs.values() if log.has_grown]
    if not written:
        yield Trip([COMMIT])
        return outcomes
    lines += [telling(schema)] if any(log.tells for log in written) else []
    marks = yield from _commit(lines, written, calls)
    for log, mark in zip(written, marks, strict=True):
        heads.put(log.customer, mark, log.growth.head, Beside(sealed=log.growth.sealed))
    if any(log.erased for log in written):
        try:
            yield from vacuuming(wait)
        except StorageError as error:  # all of it is committed: only who erased is told
            left = Outcome(error=bytes_left(error))
            return [left if call.key in logs[call.customer].erased else outcomes[at] for at, call in enumerate(calls)]
    return outcomes


def looking(heads: Heads, customer: str, reads: Reads) -> Steps[State]:
    """Return the state of a customer; a head of another fold is computed, and not written."""
    known = heads.latest(customer)
    if known is not None:
        names = _guessed(reads, known[1])
        *_, (row,), _ = yield Trip([*begin_reading(), _shown(customer, known[0][-1], names or (), ()), COMMIT])
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
    plans = [_Plan(customer, own, heads) for customer, own in customers.items()]
    if len(plans) == 1 and plans[0].known is not None:
        return {plans[0].customer: (yield from _found(heads, schema, plans[0], plans[0].known, wait))}
    asked, parts = begin_writing([lock_of(schema, customer) for customer in customers], wait), []
    for plan in plans:
        statements = [plan.shown] if plan.known else plan.all_there_is
        parts.append(slice(len(asked), len(asked) + len(statements)))
        asked += statements
    found = yield Trip(asked)
    logs = {}
    for plan, part in zip(plans, parts, strict=True):
        logs[plan.customer] = yield from _opened(heads, plan, found[part])
    return logs


class _Plan:
    """What to ask of one customer, given the head that is in memory, if one is."""

    def __init__(self, customer: str, calls: Sequence[Call], heads: Heads) -> None:
        self.customer, self.known = customer, (known := heads.latest(customer))
        self.sealed = heads.beside(customer, known[0]).sealed if known else ()
        self.guesses: dict[int, list[CounterKey]] = {}
        self.names: Mapping[CounterKey, None] = {}
        if known is not None:
            guessed = [(id(call), _guessed(call.reads, known[1])) for call in calls]
            self.guesses = {call: names for call, names in guessed if names is not None}
            self.names = dict.fromkeys([name for names in self.guesses.values() for name in names])
        self.asked = (*places(self.names), array_of([call.key for call in calls]))

    @property
    def shown(self) -> Statement:
        """What asks for the row of the head, the counters and the batches of the keys."""
        return _SHOWN, (self.customer, self.known[0][-1] if self.known else "", *self.asked)

    @property
    def all_there_is(self) -> list[Statement]:
        """What asks for all that a head is made of, too."""
        return [self.shown, *_parts(self.customer)]

    def log(self, known: tuple[Row, Head], amounts: Iterable[int]) -> Log:
        """Return the log, given that the head in memory is the one that stands."""
        mark, head = known
        return Log(self.customer, Growth.on(mark, head, Beside(self.counters(amounts), self.sealed)), self.guesses)

    def counters(self, amounts: Iterable[int]) -> dict[CounterKey, int]:
        """Return the counters that were asked for, as they were answered."""
        return dict(zip(self.names, amounts, strict=True))


def _found(heads: Heads, schema: str, plan: _Plan, known: tuple[Row, Head], wait: float) -> Steps[Log]:
    """Lock a customer whose head is in memory, and return what is known of it."""
    seq, *_, digest, mark = known[0]
    asked = (plan.customer, mark, *plan.asked, seq, digest)
    _, ((found,),) = yield Trip(begin_finding(asked, lock_of(schema, plan.customer), wait))
    if found is None:  # somebody else has written meanwhile
        return (yield from _opened(heads, plan, (yield Trip(plan.all_there_is))))
    count = len(plan.names)
    return (yield from _recalling(plan.log(known, found[:count]), found[count:]))


def _opened(heads: Heads, plan: _Plan, found: Sequence[list[Row]]) -> Steps[Log]:
    ((*row, amounts, priors),), *parts = found
    if plan.known is not None and _mark(row) == plan.known[0]:
        log = plan.log(plan.known, amounts)
    elif is_current(row):
        parts = parts or (yield Trip(_parts(plan.customer)))
        head = yield from _decoded(heads, plan.customer, parts)
        log = Log(plan.customer, Growth.on(_mark(row), head, Beside(plan.counters(amounts))))
    else:
        log = yield from _refolded(plan.customer)
    return (yield from _recalling(log, priors))


def _recalling(log: Log, priors: Iterable[int]) -> Steps[Log]:
    """Return the log with the batches of these numbers, whose keys are used again."""
    for number in priors if log.growth.head.known else ():
        (prior,) = yield from batches_of(log.customer, number - 1, 1)
        log.growth.batches[prior.key] = prior
    return log


def _decided(log: Log, call: Call, lines: list[Statement]) -> Steps[Outcome]:
    """Return what one call comes to, having taken up its batch, to be sent with the lines."""
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
            log.append(call.key, state, batch, record, lines)
    except Exception as error:  # noqa: BLE001
        return Outcome(error=error)
    return Outcome(verdict.result)


def _read(log: Log, names: Iterable[CounterKey]) -> Steps[None]:
    log.growth.counters.update((yield from _amounts_of(log.customer, names)))


def _commit(lines: list[Statement], logs: Sequence[Log], calls: Sequence[Call]) -> Steps[list[Row]]:
    """Write what was decided, and commit; return the mark of each head."""
    places = [moving(log.customer, log.growth, lines, log.last) for log in logs]
    found = yield Trip([*lines, COMMIT], commits=calls[0].key)
    return [(*counts_of(log.growth.head), found[place][0][0]) for log, place in zip(logs, places, strict=True)]


def _refolded(customer: str) -> Steps[Log]:
    """Return a log whose head is folded anew, with all that is to be written for it; empty where there is none."""
    head, counters = fold((yield from log_of(customer)))
    if not head.known:
        return Log(customer, Growth.on((), EMPTY_HEAD))
    rows = (set(head.blocks), set(head.holds), set(head.budgets.rows))
    growth = Growth((), EMPTY_HEAD, head, True, dict(counters), set(counters), *rows)
    return Log(customer, growth)


def _parts(customer: str) -> list[Statement]:
    return [(_HEAD, (customer, "")), *((sql, (customer,)) for sql in (_BLOCKS, _HOLDS, _BUDGETS, _SALT))]


def _shown(customer: str, mark: str, names: Iterable[CounterKey], keys: Iterable[str]) -> Statement:
    return _SHOWN, (customer, mark, *places(names), array_of(keys))


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


def _guessed(reads: Reads, head: Head) -> list[CounterKey] | None:
    """Return the counters that `reads` names if the head in memory is still the customer's, None where it raises."""
    try:
        return list(reads(head))
    except Exception:  # noqa: BLE001  (it is asked again with the true head, and that counts)
        return None


def _amounts_of(customer: str, names: Iterable[CounterKey]) -> Steps[dict[CounterKey, int]]:
    amounts: dict[CounterKey, int] = dict.fromkeys(names, 0)
    if amounts:
        (rows,) = yield Trip([(_COUNTERS, (customer, *places(amounts)))])
        amounts |= {(name, to_instant(start)): amount for name, start, amount in rows}
    return amounts
