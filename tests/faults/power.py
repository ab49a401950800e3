"""Loss of power: everything that was not synced may be gone, there, or there in part, whatever was written after it.

The system calls of a process that writes are traced with all their bytes, and so is each answer it gives.
From that the disk is put together as it may be found after the power went at any moment: what was synced
stands; of each write after that a coin decides whether it arrived, not at all, or the first sectors of it.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from entitlements import Entitlements
from entitlements.storage.sqlite import SQLiteStorage
from entitlements.testing import FrozenClock

from .syscalls import Unsound
from .verbs import CATALOG, NOW, prepare

SECTOR = 512
LINE = re.compile(r'^\d+ +(\w+)\((\d+)<([^>]*)>(?:, "((?:\\x[0-9a-f]{2})*)")?(.*)\) += (\d+)')


def work(path, report, ready, go, durability, calls):
    """Write one batch after the other, telling of each once it is answered."""
    storage = SQLiteStorage(path, durability=durability)
    with report.open("a", encoding="utf-8", buffering=1) as told, Entitlements(CATALOG, storage=storage, clock=FrozenClock(NOW)) as ent:
        os.write(ready, b"ready")
        os.read(go, 1)
        for n in range(calls):
            match n % 4:
                case 0:
                    ent.grant_credits("acme", "ai", 9, key=f"p{n}", metadata={"filling": "x" * 50 * n})
                case 1:
                    ent.consume_credits("acme", "ai", 7, key=f"p{n}")
                case 2:
                    ent.consume("acme", "calls", 3, key=f"p{n}")
                case 3:
                    ent.record("other", "calls", 1, key=f"p{n}")
            told.write(f"p{n}\n")
        os.kill(os.getpid(), signal.SIGKILL)


def traced(home, durability, calls):
    """Return the files as they stood at the beginning, and the calls that followed as (name, file, bytes, offset)."""
    path, report, trace = home / "app.db", home / "report", home / "trace"
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        work(path, report, ready[1], go[0], durability, calls)
    os.close(ready[1])
    if os.read(ready[0], 5) != b"ready":
        raise Unsound("the writer did not begin")
    files = {each.name: each.read_bytes() for each in home.glob("app.db*") if not each.name.endswith("-shm")}
    command = ["strace", "-f", "-y", "-xx", "-s", "100000", "-o", str(trace), "-e", "trace=pwrite64,fdatasync,ftruncate,write", "-p"]
    tracer = subprocess.Popen([*command, str(child)], stderr=subprocess.PIPE)
    if b"attached" not in (attached := tracer.stderr.readline()):
        raise Unsound(f"strace cannot trace: {attached.decode()}")
    os.write(go[1], b"!")
    for end in (ready[0], *go):
        os.close(end)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != -signal.SIGKILL:
        raise Unsound("the writer did not come to its end")
    tracer.communicate(timeout=30)
    return files, [call for line in trace.read_text().splitlines() if (call := parsed(line)) is not None]


def parsed(line):
    """A line of strace as (name, file, bytes, offset); None for what does not matter here."""
    found = LINE.match(line)
    if found is None:
        return None
    name, _, path, text, rest, _ = found.groups()
    path = bytes.fromhex(path.replace("\\x", "")).decode() if path.startswith("\\x") else path
    file = Path(path).name
    if file.endswith("-shm") or not (file.startswith("app.db") or file == "report"):
        return None
    data = bytes.fromhex((text or "").replace("\\x", ""))
    offset = int(rest.rsplit(",", 1)[1]) if name in {"pwrite64", "ftruncate"} else 0
    return name, file, data, offset


class Disk:
    """What is on the disk: for each file what is synced, and what was written since."""

    def __init__(self, files):
        self.synced = {name: bytearray(data) for name, data in files.items()}
        self.since, self.told = {}, []

    def take(self, call):
        """Take one system call up."""
        name, file, data, offset = call
        if name == "write":
            self.told += data.decode().split()
        elif name == "fdatasync":
            for write in self.since.pop(file, ()):
                put(self.synced.setdefault(file, bytearray()), *write)
        else:
            self.since.setdefault(file, []).append((name, data, offset))

    def after_power_loss(self, draw):
        """The files as they may be found."""
        found = {name: bytearray(data) for name, data in self.synced.items()}
        for file, writes in self.since.items():
            for name, data, offset in writes:
                kept = draw.choice(("none", "none", "all", "part"))
                if kept == "part":
                    put(found.setdefault(file, bytearray()), name, data[: draw.randrange(0, len(data) + 1, SECTOR)], offset)
                elif kept == "all":
                    put(found.setdefault(file, bytearray()), name, data, offset)
        return found


def put(content, name, data, offset):
    """Carry out a write or a cut."""
    if name == "ftruncate":
        del content[offset:]
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def check(home, disk, draw, durability, calls):
    """Put a disk together as it may be found, open it, and raise Unsound for what is not as promised."""
    place = Path(tempfile.mkdtemp(dir=home))
    for name, data in disk.after_power_loss(draw).items():
        (place / name).write_bytes(data)
    with Entitlements(CATALOG, storage=f"sqlite:///{place}/app.db", clock=FrozenClock(NOW)) as ent:
        problems = ent.verify()
        there = [f"p{n}" for n in range(calls) if _is_there(ent, n)]
        if problems:
            raise Unsound(f"verify: {problems[0]}")
        lost = [key for key in disk.told if key not in there]
        if lost and durability == "full":
            raise Unsound(f"{lost} were answered, and are gone")
        if there != [f"p{n}" for n in range(len(there))]:
            raise Unsound(f"{there} are there, and not what came before them")
        ent.consume("acme", "calls", 1, key="after")
    shutil.rmtree(place)
    return len(lost)


def _is_there(ent, n):
    return ent._storage.batch("other" if n % 4 == 3 else "acme", f"p{n}") is not None


def run(seed, durability="full", calls=12, each=2):
    """Lose the power after every system call, `each` times; return how many states were checked and the most lost."""
    draw, states, most = random.Random(seed), 0, 0
    with tempfile.TemporaryDirectory(prefix="power-") as home:
        home = Path(home)
        prepare(home / "app.db")
        files, happened = traced(home, durability, calls)
        disk = Disk(files)
        for number, call in enumerate(happened):
            disk.take(call)
            for _ in range(each):
                try:
                    most = max(most, check(home, disk, draw, durability, calls))
                except Exception as error:
                    raise Unsound(f"seed {seed}, call {number} of {len(happened)}: {type(error).__name__}: {error}") from error
                states += 1
    return states, most


if __name__ == "__main__":
    seed = sys.argv[1] if len(sys.argv) > 1 else str(random.randrange(10**6))
    for durability in ("full", "normal"):
        states, most = run(seed, durability, calls=60, each=4)
        print(json.dumps({"durability": durability, "states": states, "most answered batches lost": most, "seed": seed}), flush=True)
