"""Two engines on one file: nothing comes between what a decision sees and what it writes."""

import sqlite3
from contextlib import closing

import pytest

from entitlements.errors import AmountError, StorageUnavailable

from .conftest import CATALOG
from .reading import START, consume, grant, left, moves, refund, reserve, standing


@pytest.fixture
def address(database):
    return f"sqlite:///{database}"


class Meddling:
    """A clock that does something else once, while somebody asks what time it is."""

    def __init__(self):
        self.act = None

    def __call__(self):
        act, self.act = self.act, None
        if act is not None:
            act()
        return START


@pytest.mark.parametrize("verb", ["consume", "reserve", "refund", "grant"])
def test_nobody_writes_between_what_a_decision_reads_and_what_it_writes(opened, address, verb):
    clock = Meddling()
    one, other = opened(CATALOG, storage=address, clock=clock), opened(CATALOG, storage=address, write_timeout=0.02)
    grant(one, 10)
    consume(one, 3, key="taken")
    verbs = {
        "consume": lambda ent, key: consume(ent, 7, key=key),
        "reserve": lambda ent, key: reserve(ent, 7, key=key).decision,
        "refund": lambda ent, key: refund(ent, "taken", key=key),
        "grant": lambda ent, key: grant(ent, 1, key="same"),
    }
    met = []

    def meddle():
        try:
            met.append(verbs[verb](other, "meddler"))
        except StorageUnavailable as locked:
            met.append(locked)

    clock.act = meddle
    assert verbs[verb](one, "first")
    assert [type(each) for each in met] == [StorageUnavailable]
    assert left(other) == {"consume": 0, "reserve": 0, "refund": 10, "grant": 8}[verb]


def test_a_decision_that_raises_leaves_no_lock_behind(opened, address):
    one, other = opened(CATALOG, storage=address), opened(CATALOG, storage=address, write_timeout=0)
    grant(one, 10)
    with pytest.raises(AmountError):
        consume(one, "0.5")
    assert grant(other, 1, key="after misuse")
    assert not consume(one, 99)
    assert grant(other, 1, key="after a denial")


def test_the_database_itself_refuses_a_second_batch_of_a_key(opened, database, address):
    grant(opened(CATALOG, storage=address), 10)
    with closing(sqlite3.connect(database)) as connection:
        names = [row[1] for row in connection.execute("PRAGMA table_info(batches)")]
        copied = ", ".join(name for name in names if name not in {"position", "number"})
        again = f"INSERT INTO batches (number, {copied}) SELECT 99, {copied} FROM batches LIMIT 1"
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(again)
        connection.execute("DROP TRIGGER batches_no_replace")
        with pytest.raises(sqlite3.IntegrityError, match="UNIQUE constraint failed: batches.customer, batches.key"):
            connection.execute(again)


def test_what_was_answered_is_in_the_file(opened, database, address):
    ent = opened(CATALOG, storage=address)
    grant(ent, 10)
    assert consume(ent, 4)
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT kind, amount FROM entries WHERE customer = 'acme' ORDER BY seq").fetchall() == [
            ("granted", 10), ("burned", 4),
        ]  # fmt: skip


def test_two_engines_see_each_other_at_once(opened, shared):
    one, other = opened(CATALOG, storage=shared), opened(CATALOG, storage=shared)
    grant(one, 10)
    assert consume(other, 6)
    assert not consume(one, 6, key="second")
    assert standing(one) == standing(other) == (4, 0, 0)
    assert moves(one) == moves(other)
