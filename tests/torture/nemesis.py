"""The nemesis: what goes wrong during a round, and when, drawn from the seed.

Each fault is a method that begins it, lets it last and ends it, and is written to the history of the
nemesis. What this machine does not allow is said once, and loudly, and left out.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time


class Nemesis:
    """Does faults of these kinds to a fleet of workers, and to where they keep their logs."""

    def __init__(self, fleet, where, clock, history, seed, kinds):
        self.fleet, self.where, self.clock, self.history = fleet, where, clock, history
        self.draw = random.Random(f"{seed}/nemesis")
        self.kinds, self.counts = kinds, {}

    def torment(self, until):
        """One fault after the other, with a breath between them."""
        while (left := until - time.monotonic()) > 0:
            self.breathe(min(left, self.draw.uniform(0.1, 0.8)))
            if not self.kinds or time.monotonic() >= until:
                continue
            kind = self.draw.choice(self.kinds)
            getattr(self, kind)()
            self.counts[kind] = self.counts.get(kind, 0) + 1
            self.fleet.mend()

    def breathe(self, seconds):
        """Let the workers work, and start again those that died."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))
            self.fleet.mend()

    def note(self, fault, **more):
        self.history.write(type="fault", fault=fault, **more)

    # To the workers

    def kill(self):
        """Kill a worker at an arbitrary moment."""
        worker = self.fleet.one(self.draw)
        self.note("kill", worker=worker.number)
        worker.process.kill()
        worker.process.wait()

    def freeze(self):
        """Stop a worker wherever it is, the write lock in its hands perhaps, and let it go on later."""
        worker = self.fleet.one(self.draw)
        self.note("freeze", worker=worker.number)
        os.kill(worker.process.pid, signal.SIGSTOP)
        try:
            time.sleep(self.draw.uniform(0.2, 2.5))
        finally:
            os.kill(worker.process.pid, signal.SIGCONT)

    def jump(self):
        """Move the clock of everybody: seconds or hours, forwards or back."""
        seconds = self.draw.choice((-7200, -90, -5, 3, 20, 65, 700, 3600))
        began, before = time.monotonic_ns(), self.clock.micros()
        self.clock.move(seconds)
        self.note("jump", seconds=seconds, began=began, before=before, after=self.clock.micros())

    # To the disk

    def syscalls(self):
        """Let system calls of a worker fail: once, or from one on, a write, a sync or a cut."""
        worker = self.fleet.one(self.draw)
        call = self.draw.choice(("pwrite64", "fdatasync", "pwrite64,fdatasync,ftruncate"))
        error = self.draw.choice(("EIO", "EIO", "ENOSPC"))
        when = self.draw.choice((f"{self.draw.randint(1, 40)}", f"{self.draw.randint(1, 40)}+", "1+7"))
        self.inject(worker, f"inject={call}:error={error}:when={when}", call)

    def kill_in_syscall(self):
        """Kill a worker in the middle of a write or a sync."""
        worker = self.fleet.one(self.draw)
        call = self.draw.choice(("pwrite64", "fdatasync"))
        self.inject(worker, f"inject={call}:signal=KILL:when={self.draw.randint(1, 60)}", call)

    def slow_disk(self):
        """Let every sync of a worker take a while."""
        worker = self.fleet.one(self.draw)
        self.inject(worker, f"inject=fdatasync:delay_enter={self.draw.randint(20, 300)}ms", "fdatasync")

    def inject(self, worker, what, calls):
        self.note("strace", worker=worker.number, what=what)
        command = ["strace", "-f", "-q", "-o", str(self.fleet.place / "strace.out"), "-e", f"trace={calls}", "-e", what, "-p"]
        tracer = subprocess.Popen([*command, str(worker.process.pid)], stderr=subprocess.DEVNULL)
        try:
            tracer.wait(timeout=self.draw.uniform(0.3, 1.5))
        except subprocess.TimeoutExpired:
            let_go(tracer)

    def disk_full(self):
        """Fill the disk that the database is on, and give the room back later."""
        stuffing = self.where.disk / "stuffing"
        self.note("disk_full")
        try:
            with stuffing.open("wb", buffering=0) as file:
                while True:
                    file.write(b"\0" * 65536)
        except OSError:
            time.sleep(self.draw.uniform(0.3, 1.5))
        finally:
            stuffing.unlink(missing_ok=True)


    # To the server

    def cut_before(self):
        """Cut connections just before a COMMIT reaches the server."""
        self.cut("before")

    def cut_after(self):
        """Cut connections just after a COMMIT was carried out, before anybody is told."""
        self.cut("after")

    def cut(self, kind):
        self.note(f"cut {kind}")
        self.where.proxy.kind = kind
        try:
            time.sleep(self.draw.uniform(0.3, 2))
        finally:
            self.where.proxy.kind = None

    def delay(self):
        """Let every answer of the server come late."""
        self.note("delay")
        self.where.proxy.delay = self.draw.uniform(0.01, 0.2)
        try:
            time.sleep(self.draw.uniform(0.3, 2))
        finally:
            self.where.proxy.delay = 0.0

    def terminate(self):
        """Have the server end the connection of a worker, whatever it is doing."""
        self.note("terminate")
        for pid in self.some_backends():
            self.where.server.ask("SELECT pg_terminate_backend(%s)", pid)

    def freeze_backend(self):
        """Stop processes of the server, locks in their hands perhaps, and let them go on later."""
        self.note("freeze_backend")
        stopped = self.some_backends()
        try:
            for pid in stopped:
                signalled(pid, signal.SIGSTOP)
            time.sleep(self.draw.uniform(0.2, 2.5))
        finally:
            for pid in stopped:
                signalled(pid, signal.SIGCONT)

    def some_backends(self):
        pids = self.where.server.backends()
        return self.draw.sample(pids, min(len(pids), self.draw.randint(1, 3)))

    def restart(self):
        """Crash the server, and start it again; it recovers from its log."""
        self.note("restart")
        self.where.server.crash()
        time.sleep(self.draw.uniform(0, 1))
        self.where.server.start()


CLOCK = ["jump"]
PROCESSES = ["kill", "freeze"]
DISK = ["syscalls", "kill_in_syscall", "slow_disk"]
NETWORK = ["cut_before", "cut_after", "delay"]
SERVER = ["terminate", "freeze_backend", "restart"]


def possible(where):
    """Return the groups of faults this machine allows in a place, and say loudly what it does not."""
    groups = [PROCESSES, CLOCK]
    if where.address.startswith("postgresql"):
        return [*groups, NETWORK, SERVER]
    if traces():
        groups.append(DISK)
    else:
        complain("no system call can be made to fail, and no disk be slow: strace is missing or may not trace")
    if where.disk:
        groups.append(["disk_full"])
    else:
        complain("no disk can be filled: mounting a tmpfs needs root")
    return groups


def let_go(tracer):
    """End a tracer, so that it lets go of the worker; one that hangs on a worker that was killed is killed itself."""
    tracer.terminate()
    try:
        tracer.wait(timeout=5)
    except subprocess.TimeoutExpired:
        tracer.kill()
        tracer.wait()


def complain(what):
    print(f"NOT INJECTED: {what}", file=sys.stderr, flush=True)


def signalled(pid, what):
    """Signal a process that may be gone already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, what)


def traces():
    """Tell whether strace is there and may trace a process."""
    if shutil.which("strace") is None:
        return False
    tried = subprocess.run(["strace", "-q", "-o", os.devnull, "-e", "inject=fdatasync:error=EIO", "true"], check=False,
                           stderr=subprocess.DEVNULL)  # fmt: skip
    return tried.returncode == 0
