"""Vacuuming what was erased, as steps, and finding out whether that has left anything.

A vacuum leaves the rows that an older transaction, anywhere on the server, may still see, and says nothing
of it; nor does it fail where the role may not vacuum. The server's own counts say both, to any role.
"""

from __future__ import annotations

from typing import Final

from ..errors import StorageUnavailable
from .postgres_trips import Steps, Trip

_VACUUM: Final = "VACUUM {schema}.personal"
_COUNTS: Final = """
    SELECT pg_catalog.pg_stat_get_vacuum_count(c.oid), pg_catalog.pg_stat_get_dead_tuples(c.oid)
      + coalesce(pg_catalog.pg_stat_get_dead_tuples(nullif(c.reltoastrelid, 0)), 0)
    FROM pg_catalog.pg_class AS c WHERE c.oid = '{schema}.personal'::pg_catalog.regclass"""
_REST: Final = "SELECT pg_catalog.pg_sleep($1::float8)::text"
_RESTS: Final = ("0", "0.01", "0.02", "0.04", "0.08", "0.16", "0.32")
"""Seconds between two tries: writes that were under way are soon over, and a long report is not waited for."""
_LEAST_WAIT: Final = 0.1
"""How long is waited for the server in any case, in seconds."""


def vacuuming(wait: float) -> Steps[None]:
    """Vacuum the personal values; each try waits `wait` seconds at most.

    Raises StorageUnavailable where the role may not, and where an older transaction still sees what was erased.
    """
    within, is_done = max(_LEAST_WAIT, wait), False
    for rest in _RESTS:
        ((before, _),), _ = yield Trip([(_COUNTS, ()), (_REST, (rest,))], within=within)
        yield Trip([(_VACUUM, ())], within=within)
        (((after, dead),),) = yield Trip([(_COUNTS, ())], within=within)
        is_done = is_done or after > before
        if after > before and not dead:
            return
    if not is_done:
        raise StorageUnavailable(
            "this role may not vacuum the table personal: make it the owner, or grant MAINTAIN on it"
        )
    raise StorageUnavailable(
        "a transaction older than the erasure, or a replica, can still see it: wait until it is over"
    )
