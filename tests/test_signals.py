"""A downgrade made by one process is seen by another within a second, on every storage that processes share."""

import json
import sqlite3
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager

import psycopg
import pytest

from entitlements import Entitlements

CATALOG = {
    "default_plan": "free",
    "features": {"sso": {"type": "boolean"}, "seats": {"type": "metered"}},
    "plans": {"free": {"entitlements": {"seats": 1}}, "pro": {"entitlements": {"sso": True, "seats": 9}}},
}
WATCH = """
import json, sys, time
from entitlements import Entitlements
with Entitlements(json.loads(sys.argv[1]), storage=sys.argv[2]) as ent:
    seen = None
    while True:
        found = bool(ent.check("acme", "sso"))
        if found is not seen:
            seen = found
            print(json.dumps([seen, time.monotonic()]), flush=True)
        time.sleep(0.002)
"""


@pytest.fixture(params=["sqlite", "postgres"])
def address(request, database):
    return f"sqlite:///{database}" if request.param == "sqlite" else request.getfixturevalue("emptied")()


@contextmanager
def watching(address):
    """Another process that asks all the time, and tells when the answer turns."""
    command = [sys.executable, "-c", WATCH, json.dumps(CATALOG), address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            yield lambda: json.loads(child.stdout.readline())
        finally:
            child.kill()


def delays(turned, changes):
    """Make each change, and return after how many seconds the other process saw it."""
    found = []
    for expected, change in changes:
        change()
        committed = time.monotonic()
        seen, at = turned()
        assert seen is expected
        found.append(at - committed)
    return found


def test_a_downgrade_is_seen_by_another_process_within_a_second(address):
    with Entitlements(CATALOG, storage=address) as ent:
        ent.subscribe("acme", "pro")
        changes = [
            (False, lambda: ent.override("acme", "sso", mode="deny")),
            (True, lambda: ent.remove_override("acme", "sso")),
            (False, lambda: ent.set_status("acme", "paused")),
            (True, lambda: ent.set_status("acme", "active")),
            (False, lambda: ent.cancel("acme")),
        ]
        with watching(address) as turned:
            assert turned()[0] is True
            assert statistics.median(delays(turned, changes)) < 1


def test_a_downgrade_in_a_hosts_transaction_is_seen_once_that_is_committed(address, request, database):
    with Entitlements(CATALOG, storage=address) as ent, watching(address) as turned:
        assert turned()[0] is False
        with hosts(address, request, database) as (begin, commit, connection):
            begin()
            ent.joined(connection).subscribe("acme", "pro")
            assert not ent.check("acme", "sso")
            assert statistics.median(delays(turned, [(True, commit)])) < 1


@contextmanager
def hosts(address, request, database):
    if address.startswith("sqlite"):
        connection = sqlite3.connect(database, isolation_level=None)
        yield lambda: connection.execute("BEGIN IMMEDIATE"), lambda: connection.execute("COMMIT"), connection
    else:
        connection = psycopg.connect(request.getfixturevalue("postgres_url"), autocommit=True)
        yield lambda: connection.execute("BEGIN"), lambda: connection.execute("COMMIT"), connection
    connection.close()
