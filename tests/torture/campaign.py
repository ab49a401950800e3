"""A campaign: rounds of work and faults, each on a storage of its own, each judged before the next begins."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import attrs

from . import nemesis
from .checker import Anomaly, check_run
from .clock import SharedClock
from .history import History, calls_of, events_of, lines_of
from .nemesis import Nemesis
from .places import places_of

ROOT = Path(__file__).parents[2]


@attrs.define
class Worker:
    """A process that works, and how often it was started."""

    number: int
    process: subprocess.Popen
    started: int = 1


class Fleet:
    """The workers of a round; one that died is started again where it stopped."""

    def __init__(self, place, address, told):
        self.place = place
        self.told = {"place": str(place), "address": address, **told}
        self.workers = [Worker(number, self.start(number)) for number in range(told["workers"])]

    def start(self, number):
        """Start a worker behind the last call that its history knows."""
        path = self.place / f"worker-{number}.jsonl"
        done = [int(line["id"].partition(".")[2].partition("+")[0]) for line in lines_of(path)] if path.exists() else []
        awaited = number % 2 == 1 and self.told["canary"] is None
        told = {**self.told, "worker": number, "start": max(done, default=-1) + 1, "awaited": awaited}
        return spawn("tests.torture.worker", told, self.place / f"worker-{number}.err")

    def at_work(self, patience=60):
        """Wait until every worker has begun; a round is not measured by how long an interpreter takes to start."""
        paths = [self.place / f"worker-{worker.number}.jsonl" for worker in self.workers]
        deadline = time.monotonic() + patience
        while not all(path.exists() and path.stat().st_size for path in paths):
            if time.monotonic() > deadline:
                raise Anomaly("no verdict", f"not all workers began within {patience} s", "everybody")
            time.sleep(0.05)

    def mend(self):
        for worker in self.workers:
            if worker.process.poll() is not None:
                worker.process, worker.started = self.start(worker.number), worker.started + 1

    def one(self, draw):
        return draw.choice(self.workers)

    def stop(self):
        """Have all workers end what they do and leave."""
        (self.place / "stop").touch()
        for worker in self.workers:
            worker.process.wait(timeout=120)


def spawn(module, told, errors):
    with errors.open("a") as file:
        return subprocess.Popen([sys.executable, "-m", module, json.dumps(told)], cwd=ROOT, stderr=file)


@attrs.define
class Plan:
    """One round: its seed, how long it lasts in seconds, which faults, and how many processes and threads."""

    seed: str
    seconds: float
    kinds: list
    workers: int = 3
    threads: int = 3
    patience: float = 2.0
    canary: str | None = None
    verbs: list | None = None

    def told(self):
        streams = self.workers * self.threads
        return {"seed": self.seed, "workers": self.workers, "threads": self.threads, "streams": streams,
                "patience": self.patience, "canary": self.canary, "verbs": self.verbs}  # fmt: skip


def run_round(plan, place, where):
    """Work, with faults, then resolve and judge; return counts, raise Anomaly."""
    clock, events = SharedClock(place / "clock"), History(place / "nemesis.jsonl")
    fleet = Fleet(place, where.address, plan.told())
    evil = Nemesis(fleet, where, clock, events, plan.seed, plan.kinds)
    try:
        fleet.at_work()
        evil.torment(time.monotonic() + plan.seconds)
        fleet.stop()
    finally:
        for worker in fleet.workers:
            worker.process.kill()
            worker.process.wait()
    if left := where.left():
        raise Anomaly("left behind", "; ".join(left), "everybody")
    finish(place, where.address)
    counts = judged(place)
    if not counts["batches"]:
        raise Anomaly("no verdict", "nothing was written in this round", "everybody")
    return counts + Counter({f"fault {kind}": count for kind, count in evil.counts.items()})


def finish(place, address):
    """The final phase, in a fresh process; where it does not end there is no verdict."""
    told = {"place": str(place), "address": address}
    ended = spawn("tests.torture.exporting", told, place / "final.err").wait(timeout=300)
    if ended != 0:
        raise Anomaly("no verdict", "the final phase did not end: " + (place / "final.err").read_text()[-3000:], "everybody")


def judged(place):
    """Return the counts of a round; raises Anomaly."""
    for path in place.glob("worker-*.err"):
        if "Traceback" in path.read_text():
            raise Anomaly("worker died", path.read_text()[-3000:], path.name)
    final = json.loads((place / "final.json").read_text())
    if final["problems"]:
        raise Anomaly("verify", "; ".join(final["problems"][:5]), "everybody")
    jumps = [event for event in events_of(place / "nemesis.jsonl") if event["fault"] == "jump"]
    calls = calls_of([*place.glob("worker-*.jsonl"), place / "resolving.jsonl"])
    counts = check_run(calls, lines_of(place / "log.jsonl"), jumps)
    return counts + Counter(resolved=final["resolved"])


def run(minutes, storage, seed, canary=None):
    """Run rounds until the time is over; return the exit status."""
    total, until, number = Counter(), time.monotonic() + minutes * 60, 0
    print(f"torture: {minutes:g} minutes on {storage}, seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="torture-server-") as home, places_of(storage, home) as place_of:
        while number == 0 or time.monotonic() + 5 < until:
            seconds = min(45, max(4, (until - time.monotonic()) * 0.6))
            place = Path(tempfile.mkdtemp(prefix="torture-"))
            try:
                total += one_round(f"{seed}/{number}", seconds, place_of(place, number), canary, place)
            except Anomaly as anomaly:
                report(anomaly, place, f"{seed}/{number}")
                return 1
            shutil.rmtree(place)
            number += 1
    print(f"verdict: valid, {number} rounds, seed {seed}")
    print("\n".join(f"  {name:<28} {count:>9,}" for name, count in sorted(total.items())))
    return 0


def one_round(seed, seconds, where, canary, place):
    """Run a round with no faults, those of one group, or all, as the seed has it."""
    draw = random.Random(f"{seed}/round")
    try:
        groups = nemesis.possible(where)
        every = [kind for group in groups for kind in group]
        kinds = draw.choice(([], every, every, every, *groups))
        plan = Plan(seed, seconds, kinds, workers=draw.choice((2, 3, 4)), threads=draw.choice((1, 2, 4)), canary=canary)
        counts = run_round(plan, place, where)
    finally:
        where.close()
    told = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()) if not name.startswith("verb "))
    print(f"round {seed}: {told}", flush=True)
    return counts


def report(anomaly, place, seed):
    """Print the anomaly, what it is about, and where the histories are."""
    print(f"verdict: ANOMALY in round {seed}\n{anomaly}", flush=True)
    for what in anomaly.about:
        print("  ", json.dumps(what, default=str))
    print(f"histories: {place}; judge them again with: python -m tests.torture --judge {place}", flush=True)


def signals_end_it():
    """Leave through the finally blocks when asked to stop."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(f"stopped, process {os.getpid()}"))
