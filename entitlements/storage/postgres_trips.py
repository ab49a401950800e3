"""Trips to PostgreSQL: what is sent at once and answered at once, so that every procedure is written once.

A procedure is a generator. It yields a trip, is sent the rows of each of its statements, and returns
what it comes to; who sends the trips, waiting or awaiting, is not its business. Each procedure is one
transaction from BEGIN to COMMIT, and relies on nothing that a session could keep: the next one may run
on another connection, as it does behind a pooler.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Sequence
from typing import Any, Final, Literal, TypeAlias, TypeVar

import attrs

R = TypeVar("R")

Row: TypeAlias = tuple[Any, ...]
Statement: TypeAlias = tuple[str, Sequence["str | int | None"]]
"""SQL in which `{schema}` stands for the schema and `$1` for a value, and the values."""


@attrs.frozen
class Trip:
    """Statements that are sent together and run in order, until one fails.

    `commits` is the key of what the trip commits with its last statement: whether that happened is not
    known where the answer is lost. `within` bounds the wait for the answer, in seconds, where the server does not.
    """

    statements: Sequence[Statement]
    commits: str | None = None
    within: float | None = None

    def until(self, now: float, latest: float | None = None) -> float | None:
        """Return the instant by which the answer has to be there, `latest` at the latest, None where there is none."""
        ends = [end for end in (latest, None if self.within is None else now + self.within) if end is not None]
        return min(ends, default=None)


Steps: TypeAlias = Generator[Trip, list[list[Row]], R]

PATIENCE_MS: Final = 60_000
"""What a single statement may take, and a transaction that is waiting for us, in milliseconds."""
_LONGEST_MS: Final = 2**31 - 1

COMMIT: Final[Statement] = ("COMMIT", ())
_BEGIN_WRITING: Final[Statement] = ("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE NOT DEFERRABLE", ())
_BEGIN_READING: Final[Statement] = ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY NOT DEFERRABLE", ())
_SETTINGS: Final = """
    SELECT set_config('search_path', 'pg_catalog', true), set_config('client_encoding', 'UTF8', true),
      set_config('TimeZone', 'UTC', true), set_config('statement_timeout', $1, true),
      set_config('idle_in_transaction_session_timeout', $1, true), set_config('lock_timeout', $2, true),
      set_config('synchronous_commit',
        CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true)"""
_LOCK: Final = "SELECT {schema}.lock_all($1, $2, $3)"
_FOUND: Final = "SELECT {schema}.found($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
_LOCK_ONLY: Final = "SELECT pg_advisory_xact_lock(lock) FROM unnest($1::bigint[]) AS lock"


def begin_writing(locks: Iterable[int], wait: float) -> list[Statement]:
    """Return what begins a transaction that writes, holding these locks; it waits for one `wait` seconds at most.

    READ COMMITTED is said whatever the server's default is: what follows a lock must see what was
    committed while it was waited for. Locks are taken in the order of their numbers, so that nobody
    waits for one who waits for him.
    """
    patience, longest = _milliseconds(wait)
    return [_BEGIN_WRITING, (_LOCK, (array_of(sorted({*locks})), longest, patience))]


def begin_finding(asked: Row, lock: int, wait: float) -> list[Statement]:
    """Return what begins a transaction that writes, holding one lock, and asks what then stands."""
    patience, longest = _milliseconds(wait)
    return [_BEGIN_WRITING, (_FOUND, (*asked, lock, longest, patience))]


def locking(lock: int) -> Statement:
    """Return what takes a lock in a transaction that is open already."""
    return _LOCK_ONLY, (array_of([lock]),)


def begin_changing(wait: float) -> list[Statement]:
    """Return what begins a transaction that makes tables, which may not be there yet."""
    patience, longest = _milliseconds(wait)
    return [_BEGIN_WRITING, (_SETTINGS, (longest, patience))]


def begin_reading() -> list[Statement]:
    """Return what begins a transaction in which every statement sees one and the same instant."""
    return [_BEGIN_READING, (_SETTINGS, (str(PATIENCE_MS), str(PATIENCE_MS)))]


def within(statement: Statement) -> Statement | None:
    """Return a statement as it is run in a transaction that is open already, None where it begins, sets or commits."""
    text, values = statement
    if text == _LOCK:
        return _LOCK_ONLY, values[:1]
    return None if text in {_BEGIN_WRITING[0], _BEGIN_READING[0], _SETTINGS, COMMIT[0]} else statement


def array_of(values: Iterable[int | str | None]) -> str:
    """Return an array as PostgreSQL reads it."""
    told = [_quoted(value) if isinstance(value, str) else "NULL" if value is None else str(value) for value in values]
    return f"{{{','.join(told)}}}"


def lock_of(schema: str, name: str, kind: Literal["customer", "migration"] = "customer") -> int:
    """Return the number of the lock of a customer in a schema; two that share one only wait for each other."""
    text = f"{kind}\0{schema}\0{name}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big", signed=True)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _milliseconds(wait: float) -> tuple[str, str]:
    patience = max(1, min(int(wait * 1000), _LONGEST_MS))
    return str(patience), str(max(PATIENCE_MS, patience))
