"""The feed, and those who follow it: every batch exactly once, in order, whatever is killed in between."""

import importlib.util
import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from entitlements import Entitlements

ROOT = Path(__file__).parent.parent
CATALOG = {
    "default_plan": "free",
    "features": {"calls": {"type": "metered"}},
    "credits": {"ai": {}},
    "plans": {"free": {"entitlements": {"calls": {"limit": "unlimited"}}}},
}


def example(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def ent(opened):
    return opened(CATALOG)


@pytest.fixture
def file(tmp_path):
    return f"sqlite:///{tmp_path}/app.db"


def write(ent, batches, customers=3):
    for n in range(batches):
        ent.consume(f"c{n % customers}", "calls", 1, key=f"k{n}")


def test_the_lag_is_how_many_batches_stand_behind_the_page(ent):
    write(ent, 9)
    everything = ent.feed()
    assert everything.lag == 0
    page = ent.feed(limit=4)
    assert (len(page.batches), page.lag) == (4, len(everything.batches) - 4)
    assert ent.feed(after=page.cursor, limit=0).lag == page.lag
    rest = ent.feed(after=page.cursor)
    assert rest.lag == 0
    assert (*page.batches, *rest.batches) == everything.batches
    assert ent.feed(after=everything.cursor).lag == 0
    assert ent.feed(limit=0).lag == len(everything.batches)


def test_customers_come_in_pages_in_order(shared):
    with Entitlements(CATALOG, storage=shared) as ent:
        write(ent, 25, customers=25)
        storage, found = ent._storage, []
        while page := storage.customers(after=found[-1] if found else None, limit=4):
            assert len(page) <= 4
            found += page
        assert found == sorted(["$catalog", *(f"c{n}" for n in range(25))])


def test_a_feed_can_be_followed_while_others_write(ent):
    """Whoever goes on from the cursor of each page sees all batches of all customers once, each log in order."""
    def work(number):
        for n in range(15):
            ent.consume(f"c{n % 3}", "calls", 1, key=f"{number}-{n}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    seen, cursor = [], None
    deadline = time.monotonic() + 60
    while len(seen) < 61 and time.monotonic() < deadline:
        page = ent.feed(after=cursor, limit=7)
        seen += [(batch.customer, batch.number) for batch in page.batches]
        cursor = page.cursor
    for thread in threads:
        thread.join()
    assert max(Counter(seen).values()) == 1
    for customer in ("c0", "c1", "c2"):
        assert [number for name, number in seen if name == customer] == list(range(1, 21))


def entries_in(path):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [(line["customer"], line["seq"]) for line in lines if "seq" in line]


def test_entries_are_shipped_once_however_often_it_is_killed(file, tmp_path):
    """Killed at any moment, and started again: each entry stands in the file exactly once."""
    path = tmp_path / "out.jsonl"
    command = [sys.executable, str(ROOT / "examples" / "ship_entries.py"), file, str(path)]
    with Entitlements(CATALOG, storage=file) as ent:
        write(ent, 40)
        for turn in range(4):
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
                assert "shipped" in child.stdout.readline()
                write_more(ent, turn)
                time.sleep(0.1 * turn)
                child.send_signal(signal.SIGKILL)
            with path.open("ab") as torn:
                torn.write(b'{"customer":"c0","seq":1,"torn')
        write(ent, 45)
        last = subprocess.run([*command, "--once"], capture_output=True, text=True, check=True)
        assert "entries shipped" in last.stdout
        customers = ["$catalog", *(f"c{n}" for n in range(3))]
        logged = [(customer, entry.seq) for customer in customers for entry in ent._storage.entries(customer)]
        assert sorted(entries_in(path)) == sorted(logged)


def write_more(ent, turn):
    for n in range(10):
        ent.grant_credits("c1", "ai", 5, key=f"g{turn}.{n}", metadata={"private": "note"})


def test_what_is_shipped_is_what_the_log_keeps(file, tmp_path):
    ship = example("ship_entries").ship
    with Entitlements(CATALOG, storage=file) as ent:
        ent.grant_credits("acme", "ai", 5, key="g", metadata={"private": "note"})
        assert ship(ent, tmp_path / "out.jsonl", limit=1) == 2
        assert ship(ent, tmp_path / "out.jsonl") == 0
        lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
        (granted,) = [line for line in lines if line.get("kind") == "granted"]
        assert (granted["customer"], granted["key"], granted["amount"], granted["block"]) == ("acme", "g", 5, "g")
        assert "private" not in (tmp_path / "out.jsonl").read_text()


def test_a_read_model_counts_each_batch_once_however_often_it_is_killed(file, tmp_path):
    path = tmp_path / "reports.db"
    command = [sys.executable, str(ROOT / "examples" / "read_model.py"), file, str(path)]
    with Entitlements(CATALOG, storage=file) as ent:
        write(ent, 30)
        for turn in range(3):
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
                assert "taken up" in child.stdout.readline()
                for n in range(10):
                    ent.consume("c0", "calls", 2, key=f"{turn}.{n}")
                time.sleep(0.3 * turn)
                child.send_signal(signal.SIGKILL)
        ent.grant_credits("c1", "ai", 9, key="g")
        ent.consume_credits("c1", "ai", 4, key="b")
        ent.refund("c1", "b", 1, key="r")
        ent.consume_credits("c2", "ai", 7, key="owed", depletion="soft")
        ent.refund("c2", "owed", 2, key="forgiven")
        subprocess.run([*command, "--once"], capture_output=True, check=True)
    reports = sqlite3.connect(path)
    rows = reports.execute("SELECT customer, subject, sum(amount) FROM daily GROUP BY 1, 2 ORDER BY 1, 2").fetchall()
    reports.close()
    assert rows == [("c0", "calls", 70), ("c1", "ai", 3), ("c1", "calls", 10), ("c2", "ai", 5), ("c2", "calls", 10)]
