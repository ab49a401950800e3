"""Faults of the disk on SQLite, in the form that every run has time for; `make faults` does all of them.

They need strace, and to be allowed to trace. Where that is not so they fail and say what is missing.
"""

import inspect
import random
import shutil

import pytest

from entitlements import Entitlements, deciding

from . import power
from .syscalls import FAULTS, Bench, Unsound
from .verbs import VERBS

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    assert shutil.which("strace"), "strace is missing; install the package of that name"
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("verb", ["consume_credits", "erase"])
def test_a_fault_at_any_write_or_sync_loses_nothing_and_doubles_nothing(bench, verb, fault):
    """A few of them, others in each run; the name of the place is in the message of a failure."""
    counts = bench.counted(verb)
    assert counts["fdatasync"] >= 2
    places = [(call, n) for call, count in counts.items() for n in range(1, count + 1)]
    for call, n in random.sample(places, 4):
        bench.faulted(verb, call, fault, n)


def test_every_verb_that_writes_meets_the_syscalls_it_is_faulted_at(bench):
    for verb in VERBS:
        assert bench.counted(verb)["fdatasync"], verb


def test_every_verb_of_an_engine_that_writes_is_among_those_that_are_faulted():
    """A verb writes that has a key of its own, or that is decided on a state."""
    public = {name: verb for name, verb in inspect.getmembers(Entitlements, inspect.isfunction) if name[0] != "_"}
    keyed = {name for name, verb in public.items() if "key" in inspect.signature(verb).parameters}
    assert {"consume", "set_budget", "correct_usage"} <= keyed
    assert keyed | deciding.VERBS.keys() | {"consume_many"} <= VERBS.keys()


def test_no_answered_batch_is_lost_with_the_power():
    states, most = power.run(str(random.random()), "full", calls=5, each=1)
    assert states > 30
    assert most == 0


def test_with_durability_normal_the_last_ones_may_be_lost_and_never_a_part():
    states, most = power.run("of this seed some are lost", "normal", calls=8, each=1)
    assert states > 30
    assert most > 0


def test_the_fault_bench_notices_what_is_lost(bench, monkeypatch):
    """An engine that answers before it commits is found."""
    from entitlements.storage.connection import Connection

    monkeypatch.setattr(Connection, "commit", lambda connection, key: connection.roll_back())
    with pytest.raises(Unsound, match="it was answered, and is not there"):
        bench.faulted("consume_credits", "pwrite64", "an I/O error", 1000)


def test_the_power_bench_notices_what_is_lost(monkeypatch):
    """Syncing less than full is found."""
    from entitlements.storage import sqlite

    real = sqlite.open_writer
    monkeypatch.setattr(sqlite, "open_writer", lambda path, durability, *rest, **named: real(path, "normal", *rest, **named))
    with pytest.raises(Unsound, match="were answered, and are gone"):
        power.run("seed", "full", calls=8, each=1)
