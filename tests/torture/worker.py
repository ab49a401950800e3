"""One process of a run: threads that share an engine, each doing the calls of its stream one after the other."""

import itertools
import json
import sys
import threading
import time
from pathlib import Path

from entitlements import Entitlements
from entitlements.errors import EntitlementsError

from .canary import broken
from .clock import SharedClock
from .history import History
from .performing import CATALOG, perform
from .places import storage_at
from .workload import Workload


def main(told):
    """Work until the file `stop` appears; a call under way then is ended first."""
    place = Path(told["place"])
    clock, history = SharedClock(place / "clock"), History(place / f"worker-{told['worker']}.jsonl")
    workload = Workload(told["seed"], told["streams"], told["verbs"])
    stopping = threading.Event()
    ent = opened(told, clock, place)
    if ent is None:
        return
    numbers = [told["worker"] * told["threads"] + thread for thread in range(told["threads"])]
    threads = [
        threading.Thread(target=work, args=(ent, clock, history, workload, number, told["start"], stopping))
        for number in numbers
    ]
    for thread in threads:
        thread.start()
    while not (place / "stop").exists():
        time.sleep(0.05)
    stopping.set()
    for thread in threads:
        thread.join()
    ent.close()


def opened(told, clock, place):
    """An engine on the storage, however long that takes; None where the run is over before."""
    while not (place / "stop").exists():
        try:
            storage = storage_at(told["address"], write_timeout=told["patience"])
            storage = broken(storage, told["canary"]) if told["canary"] else storage
            return Entitlements(CATALOG, storage=storage, clock=clock)
        except EntitlementsError:
            time.sleep(0.05)
    return None


def work(ent, clock, history, workload, stream, start, stopping):
    """Do one call after the other."""
    for n in itertools.count(start):
        if stopping.is_set():
            return
        recorded(ent, clock, history, f"{stream}.{n}", workload.call(stream, n))


def recorded(ent, clock, history, name, call):
    """Do a call, with a line before and a line after it, and return how it ended."""
    history.write(type="invoke", id=name, clock=clock.micros(), **call)
    end = perform(ent, call)
    history.write(type="end", id=name, clock=clock.micros(), **end)
    return end


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
