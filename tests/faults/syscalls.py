"""One fault at each write and each sync of a verb: an I/O error once, or from there on; a full disk; a kill.

The verb's process is traced from the moment its file is open. Afterwards, whatever the fault, in a fresh
process: what was answered is there, what failed is not, the logs verify, and the same call with its key
leaves exactly one batch.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

from . import verbs

CALLS = ("pwrite64", "fdatasync", "ftruncate")
FAULTS = {
    "an I/O error": "error=EIO:when={n}",
    "I/O errors from there on": "error=EIO:when={n}+",
    "a full disk": "error=ENOSPC:when={n}",
    "a full disk from there on": "error=ENOSPC:when={n}+",
    "a kill": "signal=KILL:when={n}",
}


class Unsound(Exception):
    """What a fault left behind that it may not."""


class Bench:
    """A file that stands ready, copied for each fault."""

    def __init__(self, home):
        self.home = Path(home)
        self.ready = self.home / "ready.db"
        verbs.prepare(self.ready)

    def counted(self, verb):
        """Return how often a verb, done twice, calls each of `CALLS`."""
        path, trace = self.copied(), self.home / "trace"
        self.traced(verb, path, ["-e", f"trace={','.join(CALLS)}"], trace)
        lines = trace.read_text().splitlines()
        return {call: sum(f"{call}(" in line for line in lines) for call in CALLS}

    def faulted(self, verb, call, fault, n):
        """Do a verb with a fault at its n-th call, and raise Unsound for what is wrong afterwards."""
        path = self.copied()
        told = self.traced(verb, path, ["-e", f"trace={call}", "-e", f"inject={call}:{FAULTS[fault].format(n=n)}"], os.devnull)
        try:
            self.check(verb, path, told)
        except Unsound as unsound:
            raise Unsound(f"{verb}: {fault} at {call} number {n}, told {told}: {unsound}") from None

    def copied(self):
        for old in self.home.glob("app.db*"):
            old.unlink()
        shutil.copy(self.ready, self.home / "app.db")
        return self.home / "app.db"

    def traced(self, verb, path, options, trace):
        """Run a verb in a child under strace, attached once the file is open; return what the child told."""
        report = self.home / "report"
        report.unlink(missing_ok=True)
        ready, go = os.pipe(), os.pipe()
        child = os.fork()
        if not child:
            os._exit(in_child(verb, path, report, ready[1], go[0]))
        try:
            os.close(ready[1])
            if os.read(ready[0], 5) != b"ready":
                raise Unsound(f"{verb} did not begin")
            tracer = subprocess.Popen(["strace", "-f", "-o", str(trace), *options, "-p", str(child)], stderr=subprocess.PIPE)
            attached = tracer.stderr.readline()
            if b"attached" not in attached:
                raise Unsound(f"strace cannot trace: {attached.decode()}")
            os.write(go[1], b"!")
        finally:
            for end in (ready[0], *go):
                os.close(end)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        tracer.communicate(timeout=30)
        if status not in {0, -signal.SIGKILL}:
            raise Unsound(f"{verb} ended with {status}: {report.read_text()[-2000:]}")
        return [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []

    def check(self, verb, path, told):
        """Hold what is left against what was told."""
        with verbs.opened(path) as ent:
            problems = ent.verify()
            if problems:
                raise Unsound(f"verify: {problems[0]}")
            key = verbs.KEYS.get(verb, "k")
            batch, other = ent._storage.batch("acme", key), ent._storage.batch("new", key)
            if verb == "consume_many" and (batch is None) is not (other is None):
                raise Unsound("one of two is there that were to be in one commit")
            batch = batch or other
            if verb in verbs.ONCE:
                if "done" in told and batch is None:
                    raise Unsound("it was answered, and is not there")
                if len(told) == 2 and all(each.startswith("failed") for each in told) and batch is not None:
                    raise Unsound("it failed, and is there")
            verbs.VERBS[verb](ent)
            verbs.VERBS[verb](ent)
            if ent.verify():
                raise Unsound(f"verify after a repeat: {ent.verify()[0]}")
            if verb == "erase" and any(b"a personal number" in each.read_bytes() for each in path.parent.glob("app.db*")):
                raise Unsound("what was erased is still in the file")


def in_child(verb, path, report, ready, go):
    """Do the verb and return the exit status of the child; what goes wrong besides is written to its report."""
    try:
        verbs.run(verb, path, report, ready, go)
    except BaseException:
        report.write_text(traceback.format_exc())
        return 70
    return 0


def each(bench, chosen, thin=1):
    """Do every fault to every n-th write and sync of the verbs; yields what was done, raises Unsound."""
    for verb in chosen:
        for call, count in bench.counted(verb).items():
            for fault in FAULTS:
                for n in range(1, count + 1, thin):
                    bench.faulted(verb, call, fault, n)
                    yield verb, call, fault, n


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="faults-") as home:
        done = 0
        for verb in sys.argv[1:] or verbs.VERBS:
            before = done
            for _ in each(Bench(tempfile.mkdtemp(dir=home)), [verb]):
                done += 1
            print(f"{verb:<18} {done - before:>5} faults", flush=True)
    print(f"{done} faults at every write and sync of every verb: all sound")
