"""The functions of the PostgreSQL storage: what a write asks and sends, in few statements whose plans are kept.

A connection keeps the plans of a function and of nothing else of ours, since a pooler may stand between. They
go row by row: each query finds one row by its key, so that one plan does for all; one over arrays is planned
anew for each. Processes of an older version may still be using its functions, so that one of another shape
gets another name or number of arguments. Whoever changes any adds a step that makes all of them anew.
"""

from __future__ import annotations

from typing import Final

_SETTINGS: Final = """
      PERFORM set_config('search_path', 'pg_catalog', true), set_config('client_encoding', 'UTF8', true),
        set_config('TimeZone', 'UTC', true), set_config('statement_timeout', statement_timeout, true),
        set_config('idle_in_transaction_session_timeout', statement_timeout, true),
        set_config('lock_timeout', lock_timeout, true);
      IF current_setting('synchronous_commit') <> 'remote_apply' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
      END IF;"""
_LOOKED_UP: Final = """
      amounts := '{{}}';
      FOR place IN 1 .. cardinality($3) LOOP
        SELECT c.amount INTO one
        FROM {schema}.counters AS c WHERE c.customer = $1 AND c.name = $3[place] AND c.start = $4[place];
        amounts[place] := coalesce(one, 0);
      END LOOP;
      priors := '{{}}';
      FOREACH each IN ARRAY $5 LOOP
        SELECT b.number INTO one FROM {schema}.batches AS b WHERE b.customer = $1 AND b.key = each;
        IF FOUND THEN
          priors := priors || one;
        END IF;
      END LOOP;"""
"""The amounts of the counters (names $3, starts $4) of customer $1, and the numbers of its batches with the keys $5."""

_BATCH: Final = """customer text, number bigint, key text, at bigint,
      first_seq bigint, last_seq bigint, request text, result text, hash text"""
_ADDED: Final = """
      INSERT INTO {schema}.batches (customer, number, key, at, first_seq, last_seq, request, result, hash)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9);"""
_MOVES: Final = """names text[], starts bigint[], sums bigint[],
      ids text[], free bigint[], held bigint[], OUT mark text"""
_MOVED: Final = """
      IF $18 IS NULL THEN
        RETURN;
      END IF;
      UPDATE {schema}.heads AS h SET seq = $6, batches = $2, at = $4, hash = $9 WHERE h.customer = $1
      RETURNING h.xmin::text INTO mark;
      IF NOT FOUND THEN
        RAISE EXCEPTION 'the row of the head is gone' USING ERRCODE = 'integrity_constraint_violation';
      END IF;
      FOR place IN 1 .. cardinality($18) LOOP
        INSERT INTO {schema}.counters (customer, name, start, amount) VALUES ($1, $18[place], $19[place], $20[place])
        ON CONFLICT ON CONSTRAINT counters_pkey DO UPDATE SET amount = excluded.amount;
      END LOOP;
      FOR place IN 1 .. cardinality($21) LOOP
        UPDATE {schema}.blocks AS b SET free_units = $22[place], held_units = $23[place]
        WHERE b.customer = $1 AND b.id = $21[place];
        IF NOT FOUND THEN
          RAISE EXCEPTION 'the row of a block is gone' USING ERRCODE = 'integrity_constraint_violation';
        END IF;
      END LOOP;"""
"""With the last batch of a log its head moves, and the counters and blocks beside it; the names of others are NULL."""

FUNCTIONS: Final = (
    f"""
    CREATE OR REPLACE FUNCTION {{schema}}.lock_all(locks bigint[], statement_timeout text, lock_timeout text)
    RETURNS void LANGUAGE plpgsql AS $body$
    DECLARE
      each bigint;
    BEGIN{_SETTINGS}
      FOREACH each IN ARRAY locks LOOP
        PERFORM pg_advisory_xact_lock(each);
      END LOOP;
    END $body$""",
    f"""
    CREATE OR REPLACE FUNCTION {{schema}}.shown(customer text, mark text, names text[], starts bigint[], keys text[],
      OUT seq bigint, OUT batches bigint, OUT at bigint, OUT fold_version bigint, OUT hash text, OUT head text,
      OUT now text, OUT amounts bigint[], OUT priors bigint[])
    LANGUAGE plpgsql STABLE AS $body$
    #variable_conflict use_column
    DECLARE
      each text;
      one bigint;
    BEGIN
      SELECT h.seq, h.batches, h.at, h.fold_version, h.hash, CASE WHEN h.xmin::text = $2 THEN NULL ELSE h.head END,
        h.xmin::text
      INTO seq, batches, at, fold_version, hash, head, now FROM {{schema}}.heads AS h WHERE h.customer = $1;{_LOOKED_UP}
    END $body$""",  # noqa: S608
    f"""
    CREATE OR REPLACE FUNCTION {{schema}}.found(customer text, mark text, names text[], starts bigint[], keys text[],
      seq bigint, hash text, lock bigint, statement_timeout text, lock_timeout text)
    RETURNS bigint[] LANGUAGE plpgsql AS $body$
    #variable_conflict use_column
    DECLARE
      amounts bigint[];
      priors bigint[];
      each text;
      one bigint;
    BEGIN{_SETTINGS}
      PERFORM pg_advisory_xact_lock(lock);
      PERFORM FROM {{schema}}.heads AS h WHERE h.customer = $1 AND h.xmin::text = $2 AND h.seq = $6 AND h.hash = $7;
      IF NOT FOUND THEN
        RETURN NULL;
      END IF;{_LOOKED_UP}
      RETURN amounts || priors;
    END $body$""",
    f"""
    CREATE OR REPLACE FUNCTION {{schema}}.add_batch({_BATCH},
      kind text, counts_at bigint, subject text, counter text, "window" bigint, amount bigint, data text, block text,
      {_MOVES})
    LANGUAGE plpgsql AS $body$
    #variable_conflict use_column
    BEGIN{_ADDED}
      INSERT INTO {{schema}}.entries
        (customer, seq, batch, kind, at, subject, counter, "window", amount, data, block)
      VALUES ($1, $5, $2, $10, $11, $12, $13, $14, $15, $16, $17);{_MOVED}
    END $body$""",  # noqa: S608
    f"""
    CREATE OR REPLACE FUNCTION {{schema}}.add_batch_of_many({_BATCH},
      kinds text[], count_at bigint[], subjects text[], counters text[], windows bigint[], amounts bigint[],
      data text[], blocks text[], {_MOVES})
    LANGUAGE plpgsql AS $body$
    #variable_conflict use_column
    BEGIN{_ADDED}
      FOR line IN 1 .. cardinality(kinds) LOOP
        INSERT INTO {{schema}}.entries
          (customer, seq, batch, kind, at, subject, counter, "window", amount, data, block)
        VALUES ($1, $5 + line - 1, $2, $10[line], $11[line], $12[line], $13[line], $14[line], $15[line], $16[line],
          $17[line]);
      END LOOP;{_MOVED}
    END $body$""",  # noqa: S608
)
