"""What is left when a round is over: unknown calls asked again, books closed, the whole log written out."""

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from entitlements import Entitlements

from .clock import SharedClock
from .history import History, calls_of
from .performing import CATALOG
from .places import storage_at
from .worker import recorded

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def main(told):
    """Ask every unknown call again with its key, sweep, verify, and export; what cannot end is no verdict."""
    place = Path(told["place"])
    clock, history = SharedClock(place / "clock"), History(place / "resolving.jsonl")
    storage = storage_at(told["address"], write_timeout=30)
    with Entitlements(CATALOG, storage=storage, clock=clock) as ent:
        resolved = resolve(ent, clock, history, place)
        customers = [customer for customer in storage.customers() if not customer.startswith("$")]
        for number, customer in enumerate(customers):
            recorded(ent, clock, history, f"sweep.{number}", {"f": "sweep", "customer": customer})
        clock.move(7 * 86_400)  # past whatever the nemesis made of it, so that no log is ahead of it
        for number, customer in enumerate(each for each in customers if each.startswith("u")):
            recorded(ent, clock, history, f"caught_up.{number}", {"f": "sweep", "customer": customer})
        problems = [str(problem) for problem in ent.verify()]
        with (place / "log.jsonl").open("w", encoding="utf-8") as file:
            for customer in customers:
                for batch in every_batch(storage, customer):
                    file.write(json.dumps(exported(batch)) + "\n")
        missed = followed(storage, customers)
    (place / "final.json").write_text(json.dumps({"problems": [*problems, *missed], "resolved": resolved}))


def resolve(ent, clock, history, place):
    """Repeat each call of which nothing is known; the key says whether it was done."""
    unknown = [call for call in calls_of(place.glob("worker-*.jsonl")) if not call["end"] or call["end"]["ended"] == "unknown"]
    deadline = time.monotonic() + 120
    for call in unknown:
        again = {name: value for name, value in call.items() if name not in {"type", "id", "mono", "clock", "end"}}
        for turn in range(1000):
            end = recorded(ent, clock, history, f"{call['id']}.again{turn}", again)
            if end["ended"] not in {"unknown", "failed"}:
                break
            if time.monotonic() > deadline:
                raise TimeoutError(f"{call['id']} cannot be resolved: {end}")
            time.sleep(0.01)
    return len(unknown)


def every_batch(storage, customer):
    read = 0
    while page := storage.batches(customer, after=read):
        yield from page
        read = page[-1].number


def exported(batch):
    """A batch as JSON values, instants in microseconds."""
    lines = [
        {"seq": line.seq, "kind": line.kind, "at": micros(line.at), "subject": line.subject, "amount": line.amount,
         "block": line.block, "window": None if line.window is None else micros(line.window), "counter": line.counter,
         "ends": ends_of(line)}
        for line in batch.entries
    ]  # fmt: skip
    request = {name: batch.request[name] for name in batch.request if name not in {"metadata", "reason"}}
    told = {"customer": batch.customer, "key": batch.key, "number": batch.number, "at": micros(batch.at)}
    return {**told, "request": request, "lines": lines}


def ends_of(line):
    """When a block ends that a line grants, None for one without an end and for other lines."""
    block = line.data.get("block") if line.kind == "granted" else None
    return None if block is None or block.expires_at is None else micros(block.expires_at)


def followed(storage, customers):
    """What the feed has too much of, too little, or in another order than the logs; nothing where it is sound."""
    told, cursor = {}, None
    while (page := storage.feed(after=cursor, limit=500)).batches:
        for batch in page.batches:
            told.setdefault(batch.customer, []).append(batch.number)
        cursor = page.cursor
    return [
        f"the feed has batches {told.get(customer, [])[:3]}… of {customer}, the log others"
        for customer in customers
        if told.get(customer, []) != [batch.number for batch in every_batch(storage, customer)]
    ]


def micros(instant):
    return (instant - EPOCH) // timedelta(microseconds=1)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
