"""A server that is a copy of another: it is read from, and written to once it has been promoted."""

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from entitlements.errors import StorageUnavailable
from entitlements.storage.postgres import PostgresStorage
from entitlements.storage.postgres_async import AsyncPostgresStorage
from entitlements.testing.blocking import Blocking
from entitlements.testing.histories import CALLS, append, used
from tests.torture.server import Server

ADVICE = "recovery; nothing was written; this server is a copy that only reads: .* target_session_attrs=read-write"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as folder:
        server = Server(folder)
        try:
            yield server
        finally:
            server.crash()


def demote(server: Server) -> None:
    """Start the server again as a standby, which follows nobody and waits to be promoted."""
    server.process.send_signal(signal.SIGINT)
    server.process.wait(timeout=60)
    Path(server.home, "data", "standby.signal").touch()
    server.start()


@pytest.mark.parametrize("kind", [PostgresStorage, AsyncPostgresStorage])
def test_a_standby_is_read_and_is_written_to_once_it_is_promoted(server: Server, kind: type) -> None:
    def opened(schema: str) -> Any:
        storage = kind(f"host={server.home} user=postgres dbname=postgres", schema=schema, write_timeout=0.5)
        return storage if kind is PostgresStorage else Blocking(storage)

    schema = kind.__name__.lower()
    storage = opened(schema)
    assert append(storage, "a", "k1", used()).number == 1
    demote(server)
    assert storage.state("a", lambda _: [CALLS]).counters == {CALLS: 1}
    with pytest.raises(StorageUnavailable, match=ADVICE):
        append(storage, "a", "k2", used())
    with pytest.raises(StorageUnavailable, match=ADVICE):
        opened(f"{schema}_anew").state("a", lambda _: [])
    server.ask("SELECT pg_promote()")
    assert append(storage, "a", "k2", used()).number == 2
    for each in (storage, opened(f"{schema}_anew")):
        assert append(each, "b", "k1", used()).number == 1
        each.close()
