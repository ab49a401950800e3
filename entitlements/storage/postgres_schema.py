"""The tables of the PostgreSQL storage, in a schema of their own, and how an older one comes up to date.

    batches    the log; `xid` and `position` are the order of the feed
    entries    the lines of the batches
    personal   what is personal in the log, which itself holds only digests; an erasure deletes it
    erased     the digests of what was erased, so that nothing can go missing under that name
    heads      what each log comes to, kept beside it
    blocks     the open blocks of each head, one row each; what is left in one has columns
    holds      the open holds of each head, likewise
    budgets    the budgets of each head, likewise: those with one id in one row
    counters   the counters of each log, kept beside it
    versions   the steps below that were taken

The customer leads every primary key, and texts are compared by their bytes whatever the locale, so that
customers stand in the same order as in every storage. `batches`, `entries`, `personal` and `erased` can
only be added to: triggers refuse the rest. A personal value can be deleted once its digest is among `erased`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from ..errors import StorageError, shown
from .postgres_functions import FUNCTIONS
from .postgres_trips import COMMIT, Row, Statement, Steps, Trip, begin_changing, lock_of

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_TEXT: Final = 'text COLLATE "C" NOT NULL'

_TABLES: Final = (
    f"""
    CREATE TABLE {{schema}}.batches (
      customer {_TEXT},
      number bigint NOT NULL CHECK (number >= 1),
      key {_TEXT},
      at bigint NOT NULL,
      first_seq bigint NOT NULL CHECK (first_seq >= 1),
      last_seq bigint NOT NULL CHECK (last_seq >= first_seq),
      request text NOT NULL,
      result text NOT NULL,
      hash text NOT NULL,
      xid bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
      position bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
      PRIMARY KEY (customer, number),
      CONSTRAINT batches_key UNIQUE (customer, key)
    )""",
    "CREATE INDEX batches_feed ON {schema}.batches (xid, position)",
    f"""
    CREATE TABLE {{schema}}.entries (
      customer {_TEXT},
      seq bigint NOT NULL CHECK (seq >= 1),
      batch bigint NOT NULL,
      kind {_TEXT},
      at bigint NOT NULL,
      subject {_TEXT},
      counter {_TEXT},
      "window" bigint,
      amount bigint NOT NULL CHECK (amount >= -9223372036854775807),
      data text,
      block {_TEXT},
      PRIMARY KEY (customer, seq)
    )""",
    f"""
    CREATE TABLE {{schema}}.personal (
      customer {_TEXT},
      digest {_TEXT},
      number bigint NOT NULL CHECK (number >= 1),
      salt text NOT NULL,
      value text NOT NULL,
      PRIMARY KEY (customer, digest)
    )""",
    f"""
    CREATE TABLE {{schema}}.erased (
      customer {_TEXT},
      digest {_TEXT},
      number bigint NOT NULL CHECK (number >= 1),
      PRIMARY KEY (customer, digest)
    )""",
    f"""
    CREATE TABLE {{schema}}.heads (
      customer {_TEXT} PRIMARY KEY,
      seq bigint NOT NULL CHECK (seq >= 1),
      batches bigint NOT NULL CHECK (batches >= 1),
      at bigint NOT NULL,
      fold_version bigint NOT NULL,
      head text NOT NULL,
      hash text NOT NULL
    ) WITH (fillfactor = 70)""",
    f"""
    CREATE TABLE {{schema}}.blocks (
      customer {_TEXT},
      id {_TEXT},
      free_units bigint NOT NULL CHECK (free_units >= 0),
      held_units bigint NOT NULL CHECK (held_units >= 0),
      block text NOT NULL,
      PRIMARY KEY (customer, id)
    ) WITH (fillfactor = 70)""",
    f"""
    CREATE TABLE {{schema}}.holds (
      customer {_TEXT},
      id {_TEXT},
      hold text NOT NULL,
      PRIMARY KEY (customer, id)
    ) WITH (fillfactor = 70)""",
    f"""
    CREATE TABLE {{schema}}.counters (
      customer {_TEXT},
      name {_TEXT},
      start bigint NOT NULL,
      amount bigint NOT NULL CHECK (amount >= 0),
      PRIMARY KEY (customer, name, start)
    ) WITH (fillfactor = 70)""",
)
_BUDGETS: Final = f"""
    CREATE TABLE {{schema}}.budgets (
      customer {_TEXT},
      id {_TEXT},
      budgets text NOT NULL,
      PRIMARY KEY (customer, id)
    ) WITH (fillfactor = 70)"""
_REFUSE: Final = """
    CREATE FUNCTION {schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS $body$
    BEGIN
      RAISE EXCEPTION '% are append-only', TG_ARGV[0] USING ERRCODE = 'integrity_constraint_violation';
    END $body$"""
_FORGET: Final = """
    CREATE FUNCTION {schema}.forget() RETURNS trigger LANGUAGE plpgsql AS $body$
    BEGIN
      IF EXISTS (SELECT 1 FROM {schema}.erased WHERE customer = OLD.customer AND digest = OLD.digest) THEN
        RETURN OLD;
      END IF;
      RAISE EXCEPTION 'personal values are append-only' USING ERRCODE = 'integrity_constraint_violation';
    END $body$"""


def _trigger(name: str, events: str, table: str, action: str) -> str:
    return f"CREATE TRIGGER {name} BEFORE {events} ON {{schema}}.{table} FOR EACH {action}"


TRIGGERS: Final = {
    "batches_no_change": ("batches", "UPDATE OR DELETE OR TRUNCATE", "refuse('batches')"),
    "entries_no_change": ("entries", "UPDATE OR DELETE OR TRUNCATE", "refuse('entries')"),
    "erased_no_change": ("erased", "UPDATE OR DELETE OR TRUNCATE", "refuse('erased digests')"),
    "personal_no_change": ("personal", "UPDATE OR TRUNCATE", "refuse('personal values')"),
    "personal_no_delete": ("personal", "DELETE", "forget()"),
}
"""The triggers that keep the log: on which table, before what, and what they do."""

_STEPS: Final = {
    "0001_the_log": (
        *_TABLES,
        _REFUSE,
        _FORGET,
        *(
            _trigger(
                name,
                events,
                table,
                f"{'ROW' if events == 'DELETE' else 'STATEMENT'} EXECUTE FUNCTION {{schema}}.{action}",
            )
            for name, (table, events, action) in TRIGGERS.items()
        ),
    ),
    "0002_budgets": (_BUDGETS,),
    "0003_functions": FUNCTIONS,
}
_LOCK: Final = "SELECT pg_advisory_xact_lock($1)"
_ENCODING: Final = "SELECT current_setting('server_encoding')"
_SCHEMA: Final = "SELECT 1 FROM pg_namespace WHERE nspname = $1"
_VERSIONS: Final = """
    SELECT 1 FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relname = 'versions'"""
_APPLIED: Final = "SELECT name FROM {schema}.versions"
_APPLY: Final = "INSERT INTO {schema}.versions (name) VALUES ($1)"
_CREATE_VERSIONS: Final = f"""
    CREATE TABLE {{schema}}.versions (name {_TEXT} PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"""


def schema_name(name: str) -> str:
    """Return the name of a schema; raises ValueError for one that would not stay as it is written."""
    if not _NAME.fullmatch(name) or name.lower().startswith("pg_"):
        raise ValueError(
            f"a schema cannot be called {shown(name)}; write up to 63 letters, digits and underscores, not 'pg_' first"
        )
    return name


def migrating(schema: str, where: str, wait: float) -> Steps[None]:
    """Bring the tables up to date, once, however many processes start together.

    Raises StorageError for a database of another encoding, and for tables that a newer version has made.
    Where nothing is to be done, no right to create anything is needed.
    """
    *_, ((encoding,),), schemas, versions = yield Trip(_asked(schema, begin_changing(wait)))
    if encoding != "UTF8":
        raise StorageError(f"{where} is encoded in {encoding}; entitlements needs a database in UTF8")
    if _left(where, (yield from _applied(versions))):
        yield Trip([COMMIT])
        lock = lock_of(schema, "", "migration")
        *_, schemas, versions = yield Trip(_asked(schema, [*begin_changing(wait), (_LOCK, (lock,))]))
        left = _left(where, (yield from _applied(versions)))
        statements: list[Statement] = [] if schemas else [("CREATE SCHEMA {schema}", ())]
        statements += [] if versions else [(_CREATE_VERSIONS, ())]
        for name in left:
            statements += [*((sql, ()) for sql in _STEPS[name]), (_APPLY, (name,))]
        yield Trip(statements)
    yield Trip([COMMIT])


def _asked(schema: str, begun: Sequence[Statement]) -> list[Statement]:
    return [*begun, (_ENCODING, ()), (_SCHEMA, (schema,)), (_VERSIONS, (schema,))]


def _applied(versions: Sequence[Row]) -> Steps[set[str]]:
    if not versions:
        return set()
    (rows,) = yield Trip([(_APPLIED, ())])
    return {name for (name,) in rows}


def _left(where: str, applied: set[str]) -> list[str]:
    if applied - _STEPS.keys():
        raise StorageError(f"{where} was written by a newer version of entitlements; upgrade this one")
    return [name for name in _STEPS if name not in applied]
