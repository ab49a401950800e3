"""The line of processes before one file: it makes things fair, and nothing depends on it."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import statistics
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import groupby
from pathlib import Path

import pytest

from entitlements.errors import StorageUnavailable
from entitlements.storage.line import Line
from entitlements.storage.sqlite import SQLiteStorage
from entitlements.testing.histories import append, used
from entitlements.testing.proving import Background, together


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[SQLiteStorage]:
    storage = SQLiteStorage(tmp_path / "log.db", write_timeout=4.0)
    yield storage
    storage.close()


@pytest.fixture
def head(storage: SQLiteStorage) -> Iterator[subprocess.Popen[str]]:
    """Another process, which stands at the head of the line and never asks for anything."""
    script = "import fcntl, sys; file = open(sys.argv[1], 'a'); fcntl.flock(file, fcntl.LOCK_EX); print('in', flush=True); input()"
    command = [sys.executable, "-c", script, f"{storage.path}-line"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "in\n"
    yield process
    process.kill()
    process.communicate()


def test_who_writes_in_a_loop_does_not_pass_who_waits(tmp_path: Path) -> None:
    """Three connections of their own on one file, each as often as it can."""
    counts, done = [0] * 3, threading.Event()

    def write(n: int) -> None:
        with closing(SQLiteStorage(tmp_path / "log.db")) as storage:
            while not done.is_set():
                append(storage, f"c{n}", f"k{counts[n]}", used())
                counts[n] += 1
                if sum(counts) >= 600:
                    done.set()

    SQLiteStorage(tmp_path / "log.db").close()
    together(3, write)
    assert min(counts) >= 0.5 * max(counts)


def test_only_the_head_asks(tmp_path: Path) -> None:
    """Who comes second asks for nothing before the first has what it asked for."""
    first, second = Line(str(tmp_path / "x")), Line(str(tmp_path / "x"))
    asked, free = list[str](), threading.Event()

    def ask(name: str) -> None:
        asked.append(name)
        if not free.is_set():
            raise StorageUnavailable("locked")

    deadline = time.monotonic() + 10
    waiting = Background(lambda: first.ask(lambda: ask("first"), deadline))
    while not asked:
        time.sleep(0.001)
    behind = Background(lambda: second.ask(lambda: ask("second"), deadline))
    time.sleep(0.05)
    assert set(asked) == {"first"}
    free.set()
    waiting.result()
    behind.result()
    assert asked[-1] == "second"


def test_a_head_that_is_frozen_holds_up_nobody_for_longer_than_a_part_of_the_timeout(
    storage: SQLiteStorage, head: subprocess.Popen[str]
) -> None:
    os.kill(head.pid, signal.SIGSTOP)
    began = time.monotonic()
    append(storage, "a", "k1", used())
    first = time.monotonic() - began
    for n in range(20):
        append(storage, "a", f"more-{n}", used())
    assert 0.9 < first < 3
    assert time.monotonic() - began - first < 3


def test_a_head_that_is_killed_is_out_of_the_line(storage: SQLiteStorage, head: subprocess.Popen[str]) -> None:
    head.kill()
    head.wait()
    began = time.monotonic()
    append(storage, "a", "k", used())
    assert time.monotonic() - began < 0.9


def test_the_lock_of_the_database_is_the_lock(storage: SQLiteStorage) -> None:
    """At the head of the line, with another at work in the database: it is waited for, and the wait is bounded."""
    with (
        closing(SQLiteStorage(storage.path)) as other,
        closing(SQLiteStorage(storage.path, write_timeout=0.2)) as hasty,
    ):
        inside, leave = threading.Event(), threading.Event()

        def decide(_: object) -> object:
            inside.set()
            leave.wait(10)
            raise TimeoutError

        slow = Background(lambda: other.transact("a", "k", lambda _: [], decide))
        inside.wait(10)
        with pytest.raises(StorageUnavailable, match="nothing was written"):
            append(hasty, "a", "k", used())
        leave.set()
        with pytest.raises(TimeoutError):
            slow.result()
    assert append(storage, "a", "k", used()).number == 1
    with Path(f"{storage.path}-line").open("a") as line:
        fcntl.flock(line, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_without_a_line_everything_works(tmp_path: Path) -> None:
    (tmp_path / "log.db-line").mkdir()
    with closing(SQLiteStorage(tmp_path / "log.db")) as one, closing(SQLiteStorage(tmp_path / "log.db")) as other:
        together(2, lambda n: [append((one, other)[n], "a", f"{n}-{i}", used()) for i in range(10)])
        assert [batch.number for batch in one.batches("a")] == list(range(1, 21))


def test_who_has_the_turn_is_not_cut_short_and_it_ends(tmp_path: Path) -> None:
    """Two ask as often as they can; each goes many times in a row, and neither for long."""
    order, free, done, began = list[tuple[int, float]](), threading.Lock(), threading.Event(), time.monotonic()

    def ask(n: int) -> None:
        with closing(Line(str(tmp_path / "x"))) as line:
            while not done.is_set():
                line.ask(lambda: _take(free), time.monotonic() + 10)
                order.append((n, time.monotonic()))
                free.release()
                line.leave()
                if time.monotonic() > began + 0.4:
                    done.set()

    together(2, ask)
    turns = [list(turn) for _, turn in groupby(order, key=lambda pair: pair[0])]
    assert len(order) > 5 * len(turns)
    assert len(turns) > 4
    assert statistics.median(turn[-1][1] - turn[0][1] for turn in turns) < 0.1


def _take(free: threading.Lock) -> None:
    if not free.acquire(blocking=False):
        raise StorageUnavailable("locked")


@pytest.mark.parametrize("told", [b"", b"x", b"\xff" * 8, struct.pack("=d", float("inf")), struct.pack("=d", 1e300)])
def test_nobody_waits_longer_than_a_turn_whatever_the_file_says(tmp_path: Path, told: bytes) -> None:
    Path(f"{tmp_path / 'x'}-line").write_bytes(told)
    with closing(Line(str(tmp_path / "x"))) as line:
        began = time.monotonic()
        assert line.ask(lambda: "asked", began + 10) == "asked"
        assert time.monotonic() - began < 0.5


def test_a_clock_that_stands_still_or_goes_back_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where an application freezes it in its tests, and keeps the file."""
    for standing in (50_000_000.0, 50_000_000.004, 20_000_000.0):
        monkeypatch.setattr(time, "monotonic", lambda at=standing: at)
        with closing(Line(str(tmp_path / "x"))) as line, closing(Line(str(tmp_path / "x"))) as other:
            for each in (line, other) * 3:
                assert each.ask(lambda: "asked", standing + 10) == "asked"
                each.leave()


def test_a_file_that_cannot_be_read_is_no_matter(tmp_path: Path) -> None:
    os.mkfifo(f"{tmp_path / 'x'}-line")
    with closing(Line(str(tmp_path / "x"))) as line:
        assert line.ask(lambda: "asked", time.monotonic() + 10) == "asked"
        line.leave()


def test_a_full_disk_is_no_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "pwrite", full)
    with closing(Line(str(tmp_path / "x"))) as line:
        assert [line.ask(lambda: "asked", time.monotonic() + 10) for _ in range(3)] == ["asked"] * 3


def test_a_line_that_is_deleted_costs_nothing_but_its_order(storage: SQLiteStorage) -> None:
    append(storage, "a", "k1", used())
    Path(f"{storage.path}-line").unlink()
    with closing(SQLiteStorage(storage.path)) as other:
        together(2, lambda n: [append((storage, other)[n], "a", f"{n}-{i}", used()) for i in range(10)])
    assert [batch.number for batch in storage.batches("a")] == list(range(1, 22))


def test_a_closed_storage_keeps_no_file_open(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        storage = SQLiteStorage(tmp_path / "log.db")
        append(storage, "a", "k", used())
        storage.state("a", lambda _: [])
        storage.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
