"""Which database a connection is one to: its name, and its server's own number where that may be asked for."""

from __future__ import annotations

from typing import Any, Final
from weakref import WeakKeyDictionary

import attrs

from .postgres_trips import COMMIT, Steps, Trip, begin_reading

_NAME: Final = """
    SELECT current_database(),
      coalesce(has_function_privilege(to_regprocedure('pg_catalog.pg_control_system()'), 'EXECUTE'), false)::int"""
_SERVER: Final = "SELECT system_identifier FROM pg_catalog.pg_control_system()"


@attrs.frozen
class Identity:
    """A database; `server` is the number drawn when the server was made, None where it is not told."""

    database: str
    server: int | None

    def __str__(self) -> str:
        return self.database if self.server is None else f"{self.database} of server {self.server}"

    def is_other(self, than: Identity) -> bool:
        """Tell whether this is for sure another database; copies of a whole server are one to it."""
        servers = {self.server, than.server} - {None}
        return self.database != than.database or len(servers) == 2


identities: Final[WeakKeyDictionary[Any, Identity]] = WeakKeyDictionary()
"""What hosts' connections are ones to: a connection stays with its database, so it is asked once."""


def identifying() -> Steps[Identity]:
    """Ask in a transaction that is open already; fails for no want of rights, so it leaves that usable."""
    ((database, may_ask),) = (yield Trip([(_NAME, ())]))[0]
    if not may_ask:
        return Identity(database, None)
    ((server,),) = (yield Trip([(_SERVER, ())]))[0]
    return Identity(database, server)


def identifying_alone() -> Steps[Identity]:
    """Ask in a transaction of one's own."""
    yield Trip(begin_reading())
    identity = yield from identifying()
    yield Trip([COMMIT])
    return identity


def elsewhere(here: Identity, there: Identity, where: str) -> ValueError:
    """Return what is raised for a transaction in another database than that of the logs, which are `where`."""
    return ValueError(
        f"the transaction is one in database {here}, and the logs are in {there} ({where}); join a connection to the "
        "engine's own database"
    )
