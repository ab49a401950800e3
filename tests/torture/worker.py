"""One process of a run: threads that share an engine, each doing the calls of its stream one after the other."""

import itertools
import json
import sys
import threading
import time
from functools import partial
from pathlib import Path

from entitlements import Entitlements
from entitlements.errors import EntitlementsError
from entitlements.testing.blocking_engine import BlockingEngine

from .canary import broken
from .clock import SharedClock
from .history import History
from .hosts import transaction_at
from .performing import CATALOG, perform, perform_joined, perform_many
from .places import awaited_storage_at, storage_at
from .workload import Workload

ENGINES = {"erase"}
"""What is not done in a transaction of a host's."""


def main(told):
    """Work until the file `stop` appears; a call under way then is ended first."""
    place = Path(told["place"])
    clock, history = SharedClock(place / "clock"), History(place / f"worker-{told['worker']}.jsonl")
    workload = Workload(told["seed"], told["streams"], told["verbs"])
    stopping = threading.Event()
    ent = opened(told, clock, place)
    if ent is None:
        return
    host = None if told["awaited"] else partial(transaction_at, told["address"], told["patience"])
    numbers = [told["worker"] * told["threads"] + thread for thread in range(told["threads"])]
    threads = [
        threading.Thread(target=work, args=(ent, host, clock, history, workload, number, told["start"], stopping))
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
            return awaited(told, clock) if told["awaited"] else blocking(told, clock)
        except EntitlementsError:
            time.sleep(0.05)
    return None


def blocking(told, clock):
    storage = storage_at(told["address"], write_timeout=told["patience"])
    storage = broken(storage, told["canary"]) if told["canary"] else storage
    return Entitlements(CATALOG, storage=storage, clock=clock)


def awaited(told, clock):
    """An engine that is awaited, on one event loop that all threads of the worker put their calls to."""
    storage = awaited_storage_at(told["address"], write_timeout=told["patience"])
    return BlockingEngine(CATALOG, storage=storage, clock=clock)


def work(ent, host, clock, history, workload, stream, start, stopping):
    """Do one call after the other, now and then one in a transaction of a host's."""
    for n in itertools.count(start):
        if stopping.is_set():
            return
        name, call = f"{stream}.{n}", workload.call(stream, n)
        if call["f"] == "consume_many":
            recorded_many(ent, clock, history, name, call["parts"])
        elif host is not None and call["f"] not in ENGINES and n % 15 == stream % 15:
            doing = partial(perform_joined, host=host, commits=n % 2 == 0)
            recorded(ent, clock, history, name, call, doing)
        else:
            recorded(ent, clock, history, name, call)


def recorded_many(ent, clock, history, name, parts):
    """Do a call of several parts, with a line before and a line after it for each."""
    for number, part in enumerate(parts):
        history.write(type="invoke", id=f"{name}+{number}", clock=clock.micros(), **part)
    for number, end in enumerate(perform_many(ent, parts)):
        history.write(type="end", id=f"{name}+{number}", clock=clock.micros(), **end)


def recorded(ent, clock, history, name, call, doing=perform):
    """Do a call, with a line before and a line after it, and return how it ended."""
    history.write(type="invoke", id=name, clock=clock.micros(), **call)
    end = doing(ent, call=call)
    history.write(type="end", id=name, clock=clock.micros(), **end)
    return end


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
