"""The tables of the PostgreSQL storage, in a schema of their own, and how an older one comes up to date.

    batches    the log; `xid` and `position` are the order of the feed
    entries    the lines of the batches
    personal   what is personal in the log, which itself holds only digests; an erasure deletes it
    erased     the digests of what was erased, so that nothing can go missing under that name
    heads      what each log comes to, kept beside it
    blocks     the open blocks of each head, one row each; what is left in one has columns
    holds      the open holds of each head, likewise
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

_FUNCTIONS: Final = (
    """
    CREATE FUNCTION {schema}.lock_all(locks bigint[], statement_timeout text, lock_timeout text)
    RETURNS void LANGUAGE plpgsql AS $body$
    DECLARE
      each bigint;
    BEGIN
      PERFORM set_config('search_path', 'pg_catalog', true), set_config('client_encoding', 'UTF8', true),
        set_config('TimeZone', 'UTC', true), set_config('statement_timeout', $2, true),
        set_config('idle_in_transaction_session_timeout', $2, true), set_config('lock_timeout', $3, true);
      IF current_setting('synchronous_commit') <> 'remote_apply' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
      END IF;
      FOREACH each IN ARRAY locks LOOP
        PERFORM pg_advisory_xact_lock(each);
      END LOOP;
    END $body$""",
    """
    CREATE FUNCTION {schema}.shown(customer text, mark text, names text[], starts bigint[], keys text[],
      OUT seq bigint, OUT batches bigint, OUT at bigint, OUT fold_version bigint, OUT hash text, OUT head text,
      OUT now text, OUT amounts bigint[], OUT priors bigint[])
    LANGUAGE plpgsql STABLE AS $body$
    #variable_conflict use_column
    BEGIN
      SELECT h.seq, h.batches, h.at, h.fold_version, h.hash, CASE WHEN h.xmin::text = $2 THEN NULL ELSE h.head END,
        h.xmin::text
      INTO seq, batches, at, fold_version, hash, head, now FROM {schema}.heads AS h WHERE h.customer = $1;
      amounts := ARRAY(SELECT coalesce((
        SELECT c.amount FROM {schema}.counters AS c WHERE c.customer = $1 AND c.name = n.name AND c.start = n.start), 0)
        FROM unnest($3, $4) WITH ORDINALITY AS n (name, start, place) ORDER BY n.place);
      priors := ARRAY(SELECT b.number FROM {schema}.batches AS b WHERE b.customer = $1 AND b.key = ANY ($5));
    END $body$""",
    """
    CREATE FUNCTION {schema}.add_batch(customer text, number bigint, key text, at bigint, first_seq bigint,
      last_seq bigint, request text, result text, hash text, kind text, counts_at bigint, subject text, counter text,
      "window" bigint, amount bigint, data text, block text)
    RETURNS void LANGUAGE plpgsql AS $body$
    BEGIN
      INSERT INTO {schema}.batches (customer, number, key, at, first_seq, last_seq, request, result, hash)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9);
      INSERT INTO {schema}.entries
        (customer, seq, batch, kind, at, subject, counter, "window", amount, data, block)
      VALUES ($1, $5, $2, $10, $11, $12, $13, $14, $15, $16, $17);
    END $body$""",
    """
    CREATE FUNCTION {schema}.move(customer text, seq bigint, batches bigint, at bigint, hash text,
      names text[], starts bigint[], amounts bigint[], OUT mark text)
    LANGUAGE plpgsql AS $body$
    #variable_conflict use_column
    BEGIN
      UPDATE {schema}.heads AS h SET seq = $2, batches = $3, at = $4, hash = $5 WHERE h.customer = $1
      RETURNING h.xmin::text INTO mark;
      IF NOT FOUND THEN
        RAISE EXCEPTION 'the row of the head is gone' USING ERRCODE = 'integrity_constraint_violation';
      END IF;
      INSERT INTO {schema}.counters (customer, name, start, amount)
      SELECT $1, n.name, n.start, n.amount FROM unnest($6, $7, $8) AS n (name, start, amount)
      ON CONFLICT ON CONSTRAINT counters_pkey DO UPDATE SET amount = excluded.amount;
    END $body$""",
)
"""What a write that is made often asks in one statement; their plans are kept with the connection."""


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
        *_FUNCTIONS,
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
