"""What an engine remembers, and when it forgets: own writes spare the rest, others' writes are seen in time."""

import subprocess
import sys
import threading
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import attrs
import pytest

from entitlements import Catalog, Entitlements
from entitlements.cache import Known
from entitlements.freshness import PULSE_EVERY
from entitlements.requests import request
from entitlements.storage.keeping import MOST_TOLD
from entitlements.storage.memory import MemoryStorage
from entitlements.storage.sqlite import SQLiteStorage

CATALOG = Catalog.load(
    {
        "default_plan": "free",
        "features": {"sso": {"type": "boolean"}, "calls": {"type": "metered", "reset": "none"}},
        "plans": {"free": {"entitlements": {"calls": 10**9}}, "pro": {"entitlements": {"sso": True, "calls": 10**9}}},
    }
)
SOON = 2 * PULSE_EVERY


def known(ent, *customers):
    """Return what is remembered of each customer, to be compared by identity."""
    return [ent._desk.cache.warm.get(customer) for customer in customers]


def learned(ent, *customers):
    for customer in customers:
        ent.check(customer, "sso")
    found = known(ent, *customers)
    assert None not in found
    return found


def settled(ent):
    """Let the engine look for news."""
    time.sleep(PULSE_EVERY * 1.1)
    ent._run(ent._desk.refresh())


@pytest.fixture(params=["memory", "sqlite", "sqlite without a file"])
def storage(request, tmp_path):
    path = tmp_path / "app.db" if request.param == "sqlite" else ":memory:"
    storage = MemoryStorage() if request.param == "memory" else SQLiteStorage(path, durability="normal")
    with closing(storage):
        yield storage


@pytest.fixture
def ent(storage):
    with Entitlements(CATALOG, storage=storage) as ent:
        for customer in ("a", "b", "c"):
            ent.subscribe(customer, "pro")
        settled(ent)
        yield ent


def test_own_writes_forget_their_customer_and_nobody_else(ent):
    a, b, c = learned(ent, "a", "b", "c")
    for turn in range(3):
        ent.consume("c", "calls", 1, key=f"{turn}")
        settled(ent)
        assert known(ent, "a", "b") == [a, b]
        assert known(ent, "a")[0] is a
    assert learned(ent, "c") != [c]


def read_so_far(ent, customer, feature):
    """Let a check go on until the storage has told it the state; return it and what it was told."""
    steps = ent._desk.learn(request("check", customer, None, feature=feature))
    step = next(steps)
    while getattr(step, "method", "") != "state":
        step = steps.send(step.answer(ent._storage))
    return steps, step.answer(ent._storage)


def goes_on(ent, steps, answer):
    with pytest.raises(StopIteration) as end:
        while True:
            answer = steps.send(answer).answer(ent._storage)
    return end.value.value


def test_what_was_read_before_a_write_is_not_put_beside_what_was_read_after_it(ent):
    """A thread that was slow to answer from the older state leaves what others learned meanwhile as it is."""
    ent.consume("c", "calls", 1)
    slow = read_so_far(ent, "c", "calls")
    ent.consume("c", "calls", 1)
    (c,) = learned(ent, "c")
    assert goes_on(ent, *slow).used == 1
    assert set(c.decisions) == {"sso"}
    assert known(ent, "c") == [c]
    assert ent.check("c", "calls").used == 2


def test_what_was_decided_from_an_older_state_is_not_kept_beside_what_a_newer_one_says(ent):
    """As where another process wrote in between, and its signal is not there yet."""
    (a,) = learned(ent, "a")
    cache, newer = ent._desk.cache, attrs.evolve(a.head, seq=a.head.seq + 1)
    decision = attrs.evolve(a.decisions["sso"], feature="calls")
    cache.learn("a", newer, a.entitlements, decision, epoch=cache.epoch)
    assert (cache.warm["a"].head, set(cache.warm["a"].decisions)) == (newer, {"calls"})


def test_an_interrupt_may_forget_in_the_middle_of_learning(ent):
    """As a signal's handler does that closes the engine: it neither waits for itself, nor is undone."""
    (a,) = learned(ent, "a")
    cache = ent._desk.cache

    class Interrupted(dict):
        def __setitem__(self, feature, decision):
            super().__setitem__(feature, decision)
            cache.forget_all()

    cache.warm["a"] = Known(a.head, a.entitlements, Interrupted())
    cache.learn("a", a.head, a.entitlements, a.decisions["sso"], epoch=cache.epoch)
    assert known(ent, "a") == [None]


def test_what_was_learned_after_an_own_write_stays_learned(ent):
    """The news of the write comes later, and says nothing that is not known."""
    ent.consume("c", "calls", 1)
    (c,) = learned(ent, "c")
    settled(ent)
    assert known(ent, "c")[0] is c


def test_many_threads_that_write_never_empty_the_cache(ent):
    a, b, _ = learned(ent, "a", "b", "c")
    done = time.monotonic() + 6 * PULSE_EVERY
    wrong = []

    def write(number):
        n = 0
        while time.monotonic() < done:
            n += 1
            ent.consume("c", "calls", 1, key=f"{number}-{n}")
            if known(ent, "a")[0] is not a or known(ent, "b")[0] is not b:
                wrong.append(n)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    settled(ent)
    assert wrong == []
    assert known(ent, "a", "b") == [a, b]


def test_two_engines_that_share_a_storage_see_each_other(ent, storage):
    with Entitlements(CATALOG, storage=storage) as other:
        assert [ent.check("a", "sso").allowed, other.check("a", "sso").allowed] == [True, True]
        (b,) = learned(ent, "b")
        for first, second in ((ent, other), (other, ent)):
            learned(second, "a")
            first.override("a", "sso", mode="deny")
            assert not first.check("a", "sso")
            time.sleep(SOON)
            assert not second.check("a", "sso")
            first.remove_override("a", "sso")
            time.sleep(SOON)
            assert second.check("a", "sso")
        assert known(ent, "b")[0] is b


def test_a_write_of_another_storage_on_the_file_is_seen_in_time(tmp_path):
    path = tmp_path / "app.db"
    with (
        Entitlements(CATALOG, storage=f"sqlite:///{path}") as ent,
        Entitlements(CATALOG, storage=f"sqlite:///{path}") as other,
    ):
        ent.subscribe("a", "pro")
        ent.subscribe("b", "pro")
        settled(ent)
        _, b = learned(ent, "a", "b")
        other.override("a", "sso", mode="deny")
        time.sleep(SOON)
        assert not ent.check("a", "sso")
        assert known(ent, "b")[0] is b


def test_a_write_of_another_process_is_seen_in_time_though_this_one_never_stops_writing(tmp_path):
    """The news is had on a connection of its own, so that a busy writer does not keep it waiting."""
    path = tmp_path / "app.db"
    script = """
import sys, time
sys.path.insert(0, sys.argv[2])
from test_freshness import *
with Entitlements(CATALOG, storage=f"sqlite:///{sys.argv[1]}") as ent:
    print("ready", flush=True)
    sys.stdin.readline()
    ent.override("a", "sso", mode="deny")
    print(time.monotonic(), flush=True)
"""
    with Entitlements(CATALOG, storage=SQLiteStorage(path, durability="normal")) as ent:
        ent.subscribe("a", "pro")
        assert ent.check("a", "sso")
        done = threading.Event()

        def write():
            while not done.is_set():
                ent.consume("busy", "calls", 1)

        command = [sys.executable, "-c", script, str(path), str(Path(__file__).parent)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout.readline() == "ready\n"
            writer = threading.Thread(target=write)
            writer.start()
            try:
                child.stdin.write("go\n")
                child.stdin.flush()
                deadline = time.monotonic() + 20
                while ent.check("a", "sso") and time.monotonic() < deadline:
                    time.sleep(0.001)
                seen = time.monotonic()
                committed = float(child.stdout.readline())
            finally:
                done.set()
                writer.join()
        assert (
            seen - committed < SOON + 0.4
        )  # the interpreter is shared with a busy thread, the machine with other tests


def test_more_news_than_can_be_told_empties_the_cache(ent, storage, monkeypatch):
    learned(ent, "a", "b")
    monkeypatch.setattr("entitlements.storage.sqlite.MOST_TOLD", 2)
    monkeypatch.setattr("entitlements.storage.memory.MOST_TOLD", 2)
    assert MOST_TOLD > 1000
    other = Entitlements(CATALOG, storage=storage)
    for turn in range(3):
        other.consume("other", "calls", 1, key=f"{turn}")
    settled(ent)
    assert known(ent, "a", "b") == [None, None]


def test_a_denial_and_a_replay_are_no_news(ent, storage):
    ent.consume("c", "calls", 1, key="k")
    settled(ent)
    pulse = storage.pulse()
    ent.consume("c", "calls", 1, key="k")
    ent.consume("c", "calls", 10**9)
    assert storage.pulse() == pulse


def test_a_question_that_was_under_way_while_news_came_is_answered_and_not_remembered(ent, storage):
    """What was read before the news may be old; it is not kept as if it were new."""
    state = storage.state

    def slow(customer, reads):
        storage.state = state
        found = state(customer, reads)
        Entitlements(CATALOG, storage=storage).override("a", "sso", mode="deny")
        settled(ent)
        return found

    storage.state = slow
    try:
        ent.check("a", "sso")
    finally:
        storage.state = state
    assert known(ent, "a") == [None]
    assert not ent.check("a", "sso")


def test_an_instant_is_not_needed_to_know_what_is_new():
    """Two writes within one tick of the clock are two."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    with closing(MemoryStorage()) as storage:
        one = Entitlements(CATALOG, storage=storage, clock=lambda: at)
        other = Entitlements(CATALOG, storage=storage, clock=lambda: at)
        one.subscribe("a", "pro")
        assert one.check("a", "sso")
        other.override("a", "sso", mode="deny")
        time.sleep(SOON)
        assert not one.check("a", "sso")
