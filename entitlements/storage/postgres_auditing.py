"""What an audit reads of PostgreSQL, as steps inside one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from ..errors import LogCorrupt
from ..ledger.entries import CounterKey
from ..ledger.instants import to_instant
from ..ledger.records import Kept, Line, Record
from .postgres_readings import PAGE, lines_after, record_rows, with_secrets
from .postgres_schema import TRIGGERS
from .postgres_statements import stored_head
from .postgres_trips import COMMIT, Row, Steps, Trip, begin_reading
from .rows import readable, record_from

T = TypeVar("T")

_COUNTERS: Final = """
    SELECT name, start, amount FROM {schema}.counters WHERE customer = $1 AND (name, start) > ($2, $3)
    ORDER BY name, start LIMIT $4"""
_SECRETS: Final = """
    SELECT (SELECT count(*) FROM {schema}.personal WHERE customer = $1)
      + (SELECT count(*) FROM {schema}.erased WHERE customer = $1)"""
_STRAY: Final = """
    SELECT seq FROM {schema}.entries WHERE customer = $1 AND seq > coalesce(
      (SELECT last_seq FROM {schema}.batches WHERE customer = $1 ORDER BY number DESC LIMIT 1), 0)
    ORDER BY seq LIMIT 1"""
_TRIGGERS: Final = """
    SELECT t.tgname, c.relname, t.tgenabled, pg_get_triggerdef(t.oid)
    FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND NOT t.tgisinternal"""
_HEADLESS: Final = """
    SELECT DISTINCT customer FROM {{schema}}.{0} AS t
    WHERE NOT EXISTS (SELECT 1 FROM {{schema}}.heads WHERE customer = t.customer) ORDER BY customer LIMIT 10"""
_ROWS_OF_A_HEAD: Final = ("batches", "entries", "personal", "erased", "blocks", "holds", "counters")
_AHEAD: Final = """
    SELECT count(*) FROM {schema}.batches WHERE xid >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint"""
_LOWEST: Final = -(2**63)


def auditing(customer: str, driven: Callable[[Steps[Any]], Any]) -> Steps[Kept]:
    """Return all that is kept of a customer; `driven` reads its parts as they are asked for, while this is open."""
    yield Trip(begin_reading())
    row, head, flaws = (), None, []
    try:
        row, head = yield from stored_head(customer)
    except LogCorrupt as error:
        flaws.append(str(error))
    ((secrets,),), stray = yield Trip([(_SECRETS, (customer,)), (_STRAY, (customer,))])
    flaws += [f"entry {seq} is in no batch" for (seq,) in stray]
    records, counters = _records(customer, driven), _counters(customer, driven)
    is_older = head is None and bool(row)
    return Kept(customer, head, records, counters, secrets, tuple(flaws), folded_anew=is_older)


def flaws_of_schema(schema: str) -> Steps[tuple[str, ...]]:
    """Return what is wrong with the schema whatever the customer."""
    asked = [(_HEADLESS.format(table), ()) for table in _ROWS_OF_A_HEAD]
    found = yield Trip([*begin_reading(), (_TRIGGERS, (schema,)), (_AHEAD, ()), *asked, COMMIT])
    triggers, ((ahead,),), *headless = found[2:-1]
    flaws = list(_broken(triggers))
    if ahead:
        flaws.append(f"the feed hides {ahead} batches: they were written on another server; see the page on PostgreSQL")
    for table, rows in zip(_ROWS_OF_A_HEAD, headless, strict=True):
        flaws += [f"{customer}: there are {table} of a log that has no head" for (customer,) in rows]
    return tuple(flaws)


def _broken(found: list[Row]) -> Iterator[str]:
    known = {name: (table, enabled, text) for name, table, enabled, text in found}
    for name, (table, events, action) in TRIGGERS.items():
        if name not in known:
            yield f"trigger {name} is missing"
            continue
        where, enabled, text = known[name]
        is_whole = action.partition("(")[0] in text and all(event in text for event in events.split(" OR "))
        if where != table or enabled == "D" or not is_whole:
            yield f"trigger {name} is not the one that was created"


def _records(customer: str, driven: Callable[[Steps[Any]], Any]) -> Iterator[Record]:
    lines = _lines(customer, driven)
    line = next(lines, None)
    after = 0
    while rows := driven(record_rows(customer, after)):
        page = []
        for row in rows:
            own, last = list[Line](), row[5]
            while line is not None and line[0] <= last:
                own.append(line)
                line = next(lines, None)
            page.append(record_from(row, tuple(own)))
        yield from driven(with_secrets(page, erased=True))
        after = rows[-1][1]


def _lines(customer: str, driven: Callable[[Steps[Any]], Any]) -> Iterator[Line]:
    seq = 0
    while page := driven(lines_after(customer, seq)):
        yield from page
        seq = page[-1].seq


def _counters(customer: str, driven: Callable[[Steps[Any]], Any]) -> Iterator[tuple[CounterKey, int]]:
    after: tuple[Any, ...] = ("", _LOWEST)
    while page := driven(_counter_rows(customer, after)):
        with readable(customer):
            yield from [((name, to_instant(start)), amount) for name, start, amount in page]
        after = page[-1][:2]


def _counter_rows(customer: str, after: tuple[Any, ...]) -> Steps[list[Row]]:
    (rows,) = yield Trip([(_COUNTERS, (customer, *after, PAGE))])
    return rows
