"""Keep a second database for reports: `python examples/read_model.py sqlite:///app.db reports.db`.

How much of what each customer used on each day, kept up from the feed. Where it stands in the feed is
written in the same transaction as what it made of it, so that every batch counts exactly once, however
often it is stopped. Drop the file, and it is built again.
"""

import sqlite3
import sys
import time

from entitlements import Entitlements
from entitlements.ledger.entries import Batch, Entry

TABLES = """
CREATE TABLE IF NOT EXISTS daily (
  customer TEXT, day TEXT, subject TEXT, amount INTEGER, PRIMARY KEY (customer, day, subject));
CREATE TABLE IF NOT EXISTS place (one INTEGER PRIMARY KEY CHECK (one = 1), cursor TEXT);
"""
ADD = """
INSERT INTO daily VALUES (?, ?, ?, ?)
ON CONFLICT (customer, day, subject) DO UPDATE SET amount = daily.amount + excluded.amount"""
MOVE = "INSERT INTO place VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET cursor = excluded.cursor"
USED = {"used", "recorded", "freed", "usage_held", "usage_released", "usage_refunded", "burned", "settled", "overdrawn"}
GIVEN_BACK = {"refunded", "forgiven"}


def counted(entry: Entry) -> int:
    """Return the smallest units an entry takes; what is given back is negative."""
    if entry.kind in GIVEN_BACK:
        return -entry.amount
    return entry.amount if entry.kind in USED else 0


def take_up(reports: sqlite3.Connection, batch: Batch) -> None:
    """Count the entries of a batch."""
    for entry in batch.entries:
        if counted(entry):
            reports.execute(ADD, (batch.customer, f"{entry.at:%Y-%m-%d}", entry.subject, counted(entry)))


def follow(ent: Entitlements, reports: sqlite3.Connection, *, limit: int = 500) -> int:
    """Take up what is new, a page in one transaction with the place it ends at; return how many batches that was."""
    taken = 0
    while True:
        with reports:
            reports.execute("BEGIN IMMEDIATE")  # so that two that follow come one after the other
            row = reports.execute("SELECT cursor FROM place").fetchone()
            page = ent.feed(after=row[0] if row else None, limit=limit)
            for batch in page.batches:
                take_up(reports, batch)
            reports.execute(MOVE, (page.cursor,))
        taken += len(page.batches)
        if not page.batches:
            return taken


def main() -> None:
    """Follow for as long as it is let; with `--once`, what there is now."""
    storage, path = sys.argv[1], sys.argv[2]
    reports = sqlite3.connect(path)
    reports.executescript(TABLES)
    with Entitlements({"version": 1}, storage=storage) as ent:
        while True:
            print(f"{follow(ent, reports)} batches taken up", flush=True)
            if "--once" in sys.argv:
                return
            time.sleep(1)


if __name__ == "__main__":
    main()
