"""Erasing personal values from an SQLite file, so that no byte of them is left.

The log itself never holds one. The table that does is made anew without them: a mere DELETE, even
with `secure_delete`, leaves copies in the gaps of pages that were once split, while a table that is
dropped has every page of it overwritten. Then the write-ahead log is copied back and cut to nothing.
"""

from __future__ import annotations

from typing import Final

from ..errors import StorageUnavailable
from .connection import Connection
from .line import patiently
from .schema import TRIGGERS, personal_anew

_KEEP_DIGESTS: Final = """
    INSERT INTO erased SELECT customer, digest, number FROM personal AS p WHERE customer = ?
      AND NOT EXISTS (SELECT 1 FROM erased WHERE customer = p.customer AND digest = p.digest)"""
_KEEP_OTHERS: Final = "INSERT INTO personal_kept SELECT * FROM personal WHERE customer <> ?"


def forget(connection: Connection, customer: str) -> None:
    """Drop the personal values of a customer, inside the transaction that books their erasure."""
    if not connection.rows("SELECT 1 FROM personal WHERE customer = ? LIMIT 1", (customer,)):
        return
    connection.run(_KEEP_DIGESTS, (customer,))
    connection.rows("PRAGMA legacy_alter_table = ON")  # else a broken view of the host's would stop the renaming
    connection.run(personal_anew("personal_kept"))
    connection.run(_KEEP_OTHERS, (customer,))
    connection.run("DROP TABLE personal")
    connection.run("ALTER TABLE personal_kept RENAME TO personal")
    connection.rows("PRAGMA legacy_alter_table = OFF")
    for trigger in TRIGGERS["personal"]:
        connection.run(trigger)


def scrub(connection: Connection, deadline: float) -> None:
    """Empty the write-ahead log into the file; raises StorageUnavailable where a reader stands in the way."""
    patiently(lambda: _empty_log(connection), deadline)


def _empty_log(connection: Connection) -> None:
    ((busy, _, _),) = connection.rows("PRAGMA wal_checkpoint(TRUNCATE)")
    if busy:
        raise StorageUnavailable(f"{connection.path}: another connection still reads it")
