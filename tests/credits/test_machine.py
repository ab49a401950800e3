"""The engine on every storage, in lockstep with the model of the rules and with an engine in memory, whatever comes.

`CREDIT_CAMPAIGN=5000` runs that many longer programs instead of the few of every test run.
"""

import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from entitlements import Entitlements
from entitlements.storage.sqlite import SQLiteStorage
from entitlements.testing import LedgerMachine

CAMPAIGN = int(os.environ.get("CREDIT_CAMPAIGN", "0"))


@cache
def empty_database():
    path = Path(tempfile.mkdtemp()) / "empty.db"
    SQLiteStorage(path).close()
    return path


class SQLiteMachine(LedgerMachine):
    """A file, closed and opened again in between: nothing may depend on what an engine had in mind."""

    def open_engine(self):
        self.place = Path(tempfile.mkdtemp())
        shutil.copy(empty_database(), self.place / "app.db")
        return self.reopened()

    def reopen_engine(self, engine):
        engine.close()
        return self.reopened()

    def reopened(self):
        storage = SQLiteStorage(self.place / "app.db", durability="normal")
        return Entitlements(self.catalog, storage=storage, clock=self.clock)

    def teardown(self):
        try:
            super().teardown()
        finally:
            shutil.rmtree(self.place)


class PostgresMachine(LedgerMachine):
    """A schema, emptied before each program."""

    emptied = None

    def open_engine(self):
        self.address = self.emptied()
        return self.reopened()

    def reopen_engine(self, engine):
        engine.close()
        return self.reopened()

    def reopened(self):
        return Entitlements(self.catalog, storage=self.address, clock=self.clock, timeout=10)


@pytest.fixture(scope="module", autouse=True)
def _schema(emptied):
    PostgresMachine.emptied = staticmethod(emptied)


TestSQLite, TestPostgres = SQLiteMachine.TestCase, PostgresMachine.TestCase
TestSQLite.settings = TestPostgres.settings = settings(
    max_examples=CAMPAIGN or 50,
    stateful_step_count=100 if CAMPAIGN else 30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
