"""The nemesis: what goes wrong during a round, and when, drawn from the seed.

Each fault is a method that begins it, lets it last and ends it, and is written to the history of the
nemesis. What this machine does not allow is said once, and loudly, and left out.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path


class Nemesis:
    """Does faults of these kinds to a fleet of workers until a moment of the monotonic clock."""

    def __init__(self, fleet, place, clock, history, seed, kinds):
        self.fleet, self.place, self.clock, self.history = fleet, place, clock, history
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
        before = self.clock.micros()
        self.clock.move(seconds)
        self.note("jump", seconds=seconds, before=before, after=self.clock.micros())

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
        command = ["strace", "-f", "-q", "-o", str(self.place / "strace.out"), "-e", f"trace={calls}", "-e", what, "-p"]
        tracer = subprocess.Popen([*command, str(worker.process.pid)], stderr=subprocess.DEVNULL)
        try:
            tracer.wait(timeout=self.draw.uniform(0.3, 1.5))
        except subprocess.TimeoutExpired:
            tracer.terminate()  # it lets go of the worker
            tracer.wait(timeout=10)

    def disk_full(self):
        """Fill the disk that the database is on, and give the room back later."""
        stuffing = self.fleet.disk / "stuffing"
        self.note("disk_full")
        try:
            with stuffing.open("wb", buffering=0) as file:
                while True:
                    file.write(b"\0" * 65536)
        except OSError:
            time.sleep(self.draw.uniform(0.3, 1.5))
        finally:
            stuffing.unlink(missing_ok=True)


CLOCK = ["jump"]
PROCESSES = ["kill", "freeze"]
DISK = ["syscalls", "kill_in_syscall", "slow_disk"]


def possible(mount):
    """Return the kinds of fault this machine allows, and say loudly which it does not."""
    kinds = [*PROCESSES, *CLOCK]
    if traces():
        kinds += DISK
    else:
        complain("no system call can be made to fail, and no disk be slow: strace is missing or may not trace")
    if mount:
        kinds.append("disk_full")
    else:
        complain("no disk can be filled: mounting a tmpfs needs root")
    return kinds


def complain(what):
    print(f"NOT INJECTED: {what}", file=sys.stderr, flush=True)


def traces():
    """Tell whether strace is there and may trace a process."""
    if shutil.which("strace") is None:
        return False
    tried = subprocess.run(["strace", "-q", "-o", os.devnull, "-e", "inject=fdatasync:error=EIO", "true"], check=False,
                           stderr=subprocess.DEVNULL)  # fmt: skip
    return tried.returncode == 0


def mounted(place, megabytes=24):
    """Mount a small disk for the database and return its directory, None where that is not allowed."""
    disk = Path(place) / "disk"
    disk.mkdir()
    tried = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "torture", str(disk)], check=False,
                           stderr=subprocess.DEVNULL)  # fmt: skip
    return disk if tried.returncode == 0 else None


def unmounted(disk):
    subprocess.run(["umount", "-l", str(disk)], check=True)
