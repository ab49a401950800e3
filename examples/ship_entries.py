"""Ship every entry to a file of JSON Lines, each exactly once.

    python examples/ship_entries.py sqlite:///app.db out.jsonl

Stop it at any moment and start it again. Where it stands is written into the file itself, behind each
page, so that the lines and the place can never disagree; what stands behind the last place is cut off
and shipped again.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from entitlements import Entitlements
from entitlements.ledger.entries import Batch
from entitlements.ledger.records import recorded

PLACE = b'{"feed":'


def resume(path: Path) -> str | None:
    """Cut off what stands behind the last place, and return that place; None where there is none yet."""
    path.touch()
    kept, cursor = 0, None
    with path.open("rb+") as file:
        for line in file:
            if line.startswith(PLACE) and line.endswith(b"\n"):
                kept, cursor = file.tell(), json.loads(line)["feed"]
        file.truncate(kept)
    return cursor


def lines(batch: Batch) -> list[dict[str, Any]]:
    """Return the entries of a batch as JSON values; instants are microseconds since 1970, scopes stay sealed."""
    told = {"customer": batch.customer, "key": batch.key, "batch": batch.number}
    return [{**told, **line._asdict(), "data": line.data and json.loads(line.data)} for line in recorded(batch).lines]


def ship(ent: Entitlements, path: Path, *, limit: int = 500) -> int:
    """Ship what is new, and return how many entries that was."""
    cursor, shipped = resume(path), 0
    with path.open("ab") as file:
        while (page := ent.feed(after=cursor, limit=limit)).batches:
            entries = [line for batch in page.batches for line in lines(batch)]
            cursor = page.cursor
            for told in (*entries, {"feed": cursor}):
                file.write(json.dumps(told, separators=(",", ":")).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
            shipped += len(entries)
    return shipped


def main() -> None:
    """Ship for as long as it is let; with `--once`, what there is now."""
    storage, path = sys.argv[1], Path(sys.argv[2])
    with Entitlements({"version": 1}, storage=storage) as ent:
        while True:
            print(f"{ship(ent, path)} entries shipped", flush=True)
            if "--once" in sys.argv:
                return
            time.sleep(1)


if __name__ == "__main__":
    main()
