"""Where a run keeps its logs: a file on a small disk, or a schema behind a proxy, and what can go wrong there."""

import contextlib
import subprocess
from pathlib import Path

from entitlements.storage.opening import open_storage
from entitlements.storage.postgres import PostgresStorage
from entitlements.storage.postgres_async import AsyncPostgresStorage

from .proxy import Proxy
from .server import Server


def storage_at(address, *, write_timeout):
    """Return the storage of a run; a schema is written behind the address."""
    address, _, schema = address.partition("#")
    if schema:
        return PostgresStorage(address, schema=schema, write_timeout=write_timeout, connections=4)
    return open_storage(address, write_timeout=write_timeout)


def awaited_storage_at(address, *, write_timeout):
    """Return the storage of a run for an engine that is awaited."""
    address, _, schema = address.partition("#")
    if schema:
        return AsyncPostgresStorage(address, schema=schema, write_timeout=write_timeout, connections=4)
    return open_storage(address, write_timeout=write_timeout)


class File:
    """A file of SQLite, for each round one on a small disk of its own where that may be mounted."""

    def __init__(self, place):
        self.place, self.disk = Path(place), None
        (self.place / "disk").mkdir()
        tried = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "torture", str(self.place / "disk")], check=False,
                               stderr=subprocess.DEVNULL)  # fmt: skip
        if tried.returncode == 0:
            self.disk = self.place / "disk"
        self.address = f"sqlite:///{self.place}/disk/app.db"

    def left(self):
        """What nobody ended; a file has nothing of the kind."""
        return []

    def close(self):
        if self.disk:
            subprocess.run(["umount", "-l", str(self.disk)], check=True)


class Schema:
    """A schema of a server that lives as long as the campaign; the workers reach it through a proxy."""

    def __init__(self, server, name):
        self.server, self.disk = server, None
        self.proxy = Proxy(server.socket)
        self.address = f"postgresql://postgres@127.0.0.1:{self.proxy.port}/postgres?sslmode=disable&gssencmode=disable#{name}"

    def left(self):
        """What nobody ended on the server."""
        return self.server.left()

    def close(self):
        self.proxy.close()


@contextlib.contextmanager
def places_of(storage, home):
    """Give what makes a place for each round of a campaign."""
    if storage == "sqlite":
        yield lambda place, number: File(place)
        return
    server = Server(home)
    try:
        yield lambda place, number: Schema(server, f"round_{number}")
    finally:
        server.crash()
