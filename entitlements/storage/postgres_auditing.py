"""What an audit reads of PostgreSQL, as steps inside one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import attrs

from ..errors import LogCorrupt
from ..ledger.entries import CounterKey
from ..ledger.instants import from_instant, to_instant
from ..ledger.records import Kept, Record
from .postgres_readings import PAGE, lines_between, record_rows, with_secrets
from .postgres_schema import TRIGGERS
from .postgres_statements import stored_head
from .postgres_trips import COMMIT, Row, Steps, Trip, begin_reading
from .rows import readable, record_from

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
_RECORDS_AT_ONCE: Final = 200


def auditing(customer: str) -> Steps[Kept]:
    """Return what is kept of a customer, but for records and counters; the transaction is left open to read them."""
    yield Trip(begin_reading())
    row, head, flaws = (), None, []
    try:
        row, head = yield from stored_head(customer)
    except LogCorrupt as error:
        flaws.append(str(error))
    ((secrets,),), stray = yield Trip([(_SECRETS, (customer,)), (_STRAY, (customer,))])
    flaws += [f"entry {seq} is in no batch" for (seq,) in stray]
    is_older = head is None and bool(row)
    return Kept(customer, head, iter(()), iter(()), secrets, tuple(flaws), folded_anew=is_older)


def auditing_at_once(customer: str) -> Steps[Kept]:
    """Return all that is kept of a customer, read already."""
    kept = yield from auditing(customer)
    records, counters = list[Record](), list[tuple[CounterKey, int]]()
    while page := (yield from record_page(customer, records[-1] if records else None)):
        records += page
    while more := (yield from counter_page(customer, counters[-1][0] if counters else None)):
        counters += more
    yield Trip([COMMIT])
    return attrs.evolve(kept, records=iter(records), counters=iter(counters))


def record_page(customer: str, last: Record | None) -> Steps[list[Record]]:
    """Return the records that follow one, each with the lines that stand where its own should."""
    number, seq = (0, 0) if last is None else (last.number, last.last)
    rows = yield from record_rows(customer, number, _RECORDS_AT_ONCE)
    if not rows:
        return []
    lines, read, records = (yield from lines_between(customer, seq + 1, rows[-1][5])), 0, []
    for row in rows:
        start = read
        while read < len(lines) and lines[read].seq <= row[5]:
            read += 1
        records.append(record_from(row, tuple(lines[start:read])))
    return (yield from with_secrets(records, erased=True))


def counter_page(customer: str, last: CounterKey | None) -> Steps[list[tuple[CounterKey, int]]]:
    """Return the counters that follow one, in order of name and start."""
    after = ("", _LOWEST) if last is None else (last[0], from_instant(last[1]))
    (rows,) = yield Trip([(_COUNTERS, (customer, *after, PAGE))])
    with readable(customer):
        return [((name, to_instant(start)), amount) for name, start, amount in rows]


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
