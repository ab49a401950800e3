"""A procedure's trips inside a transaction of the host's: what begins and commits is left out.

A savepoint stands around the rest, so that an error leaves nothing behind and the host may go on; how
long a lock is waited for is ours while we are at it, and the host's again afterwards.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

from ..errors import StorageError
from .postgres_trips import Row, Statement, Steps, Trip, lock_of, locking, within

R = TypeVar("R")

_SAVEPOINT: Final[Statement] = ("SAVEPOINT entitlements", ())
_UNDO: Final[Statement] = ("ROLLBACK TO SAVEPOINT entitlements", ())
_RELEASE: Final[Statement] = ("RELEASE SAVEPOINT entitlements", ())
_LOOK: Final = """
    SELECT current_setting('transaction_isolation'), current_setting('lock_timeout'),
      to_regclass(quote_ident($1) || '.batches') IS NOT NULL"""
_PATIENCE: Final = "SELECT set_config('lock_timeout', $1, true)"


def inside(steps: Steps[R], schema: str, wait: float, customer: str | None = None) -> Steps[R]:
    """Take a procedure inside a transaction that is open already, waiting for a lock `wait` seconds at most.

    Where it is about a customer, that one's lock is taken first, and held until the host commits: at READ
    COMMITTED every statement sees another instant, but with the lock nobody else writes between them.
    Raises ValueError at another isolation level than READ COMMITTED, StorageError where the tables are
    not there.
    """
    ((isolation, lock_timeout, has_tables),) = (yield Trip([(_LOOK, (schema,))]))[0]
    _check_isolation(isolation)
    _check_tables(schema, has_tables)
    yield Trip([_SAVEPOINT, _patience(f"{max(1, int(wait * 1000))}ms")])
    try:
        if customer is not None:
            yield Trip([locking(lock_of(schema, customer))])
        result = yield from _inner(steps)
    except BaseException:
        yield Trip([_UNDO, _RELEASE, _patience(lock_timeout)])
        raise
    yield Trip([_RELEASE, _patience(lock_timeout)])
    return result


def _inner(steps: Steps[R]) -> Steps[R]:
    try:
        trip = next(steps)
        while True:
            rows = yield from _sent(trip)
            trip = steps.send(rows)
    except StopIteration as end:
        result: R = end.value
        return result


def _sent(trip: Trip) -> Steps[list[list[Row]]]:
    """Send what a trip has inside a transaction; what was left out has no rows."""
    inner = [within(statement) for statement in trip.statements]
    own = [statement for statement in inner if statement is not None]
    found = iter((yield Trip(own)) if own else ())
    return [[] if statement is None else next(found) for statement in inner]


def _patience(lock_timeout: str) -> Statement:
    return _PATIENCE, (lock_timeout,)


def _check_isolation(isolation: str) -> None:
    if isolation != "read committed":
        raise ValueError(
            f"the transaction is at isolation level {isolation}; begin it READ COMMITTED, else it would decide on "
            "what was true before it had the customer's lock"
        )


def _check_tables(schema: str, found: Any) -> None:
    if not found:
        raise StorageError(
            f"there are no tables of entitlements in schema {schema} of this database; open Entitlements(catalog, "
            "storage='postgresql://…') on it once to make them"
        )
