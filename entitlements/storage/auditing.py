"""What an audit reads of an SQLite file, on one open connection."""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from typing import Any, Final

from ..errors import LogCorrupt
from ..ledger.entries import CounterKey
from ..ledger.instants import to_instant
from ..ledger.records import Kept, Line, Record
from .connection import Connection
from .readings import PAGE, lines_after, record_rows, with_secrets
from .rows import readable, record_from
from .schema import LOG, TRIGGERS
from .statements import stored_head

_COUNTERS: Final = """
    SELECT name, start, amount FROM counters WHERE customer = ?1 AND (name, start) > (?2, ?3)
    ORDER BY name, start LIMIT ?4"""
_SECRETS: Final = """
    SELECT (SELECT count(*) FROM personal WHERE customer = ?1) + (SELECT count(*) FROM erased WHERE customer = ?1)"""
_STRAY: Final = """
    SELECT seq FROM entries WHERE customer = ?1
      AND seq > coalesce((SELECT last_seq FROM batches WHERE customer = ?1 ORDER BY number DESC LIMIT 1), 0)
    ORDER BY seq LIMIT 1"""
_TRIGGERS: Final = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
_GAPS: Final = "SELECT count(*), coalesce(max(position), 0) FROM batches"
_HEADLESS: Final = "SELECT DISTINCT customer FROM {} EXCEPT SELECT customer FROM heads ORDER BY customer LIMIT 10"
_ROWS_OF_A_HEAD: Final = ("batches", "entries", "personal", "erased", "blocks", "holds", "counters")
_LOWEST: Final = -(2**63)


def kept_of(connection: Connection, customer: str) -> Kept:
    """Return all that is kept of a customer; its parts are read as they are asked for."""
    row, head, flaws = (), None, []
    try:
        row, head = stored_head(connection, customer)
    except LogCorrupt as error:
        flaws.append(str(error))
    ((secrets,),) = connection.rows(_SECRETS, (customer,))
    flaws += [f"entry {seq} is in no batch" for (seq,) in connection.rows(_STRAY, (customer,))]
    records, counters = _records(connection, customer), _counters(connection, customer)
    is_older = head is None and bool(row)
    return Kept(customer, head, records, counters, secrets, tuple(flaws), folded_anew=is_older)


def flaws_of_file(connection: Connection) -> Iterator[str]:
    """Yield what is wrong with the file whatever the customer."""
    found = dict(connection.rows(_TRIGGERS))
    for table in LOG:
        for sql in TRIGGERS[table]:
            name = sql.split()[2]
            if found.get(name) != sql:
                yield f"trigger {name} is {'missing' if name not in found else 'not the one that was created'}"
    ((count, last),) = connection.rows(_GAPS)
    if count != last:
        yield f"the feed has {count} batches, and the last stands at position {last}"
    for table in _ROWS_OF_A_HEAD:
        rows = connection.rows(_HEADLESS.format(table))
        yield from (f"{customer}: there are {table} of a log that has no head" for (customer,) in rows)
    yield from (said for (said,) in connection.rows("PRAGMA integrity_check(10)") if said != "ok")


def _records(connection: Connection, customer: str) -> Iterator[Record]:
    lines = lines_after(connection, customer, 0)
    line = next(lines, None)
    for rows in record_rows(connection, customer):
        page = []
        for row in rows:
            own, last = list[Line](), row[5]
            while line is not None and line[0] <= last:
                own.append(line)
                line = next(lines, None)
            page.append(record_from(row, tuple(own)))
        yield from with_secrets(connection, page, erased=True)


def _counters(connection: Connection, customer: str) -> Iterator[tuple[CounterKey, int]]:
    after: tuple[Any, ...] = ("", _LOWEST)
    while page := connection.rows(_COUNTERS, (customer, *after, PAGE)):
        with readable(customer):
            yield from [((name, to_instant(start)), amount) for name, start, amount in page]
        after = itemgetter(0, 1)(page[-1])
