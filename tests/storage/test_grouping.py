"""Group commit: who is decided with whom, who is answered when, and what becomes of those whose leader fails."""

from __future__ import annotations

import resource
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from entitlements.errors import LogCorrupt, OutcomeUnknown, StorageError, StorageUnavailable
from entitlements.ledger.entries import Batch, Verdict
from entitlements.ledger.state import EMPTY_HEAD, State, fold
from entitlements.storage.base import Call, Outcome, Storage
from entitlements.storage.grouping import Take, Turns, _Party
from entitlements.storage.memory import MemoryStorage
from entitlements.storage.sqlite import SQLiteStorage
from entitlements.testing.histories import CALLS, append, batch_of, call_of, reads_of, used, whole_state
from entitlements.testing.proving import Background, raising, together

from .interrupting import interrupted, interrupted_everywhere


class Book:
    """Work for turns that writes keys into a list; every commit can be held up, or fail."""

    def __init__(self, *, write_timeout: float = 5.0, most: int = 64) -> None:
        self.groups: list[list[str]] = []
        self.threads: list[tuple[str, int]] = []
        self.begin: Callable[[float], None] = lambda deadline: None
        self.commit: Callable[[list[str]], None] = lambda keys: None
        self.turns = Turns(self._work, "the book", write_timeout=write_timeout, most=most)

    def write(self, *keys: str) -> list[Any]:
        return [outcome.answer() for outcome in self.turns.carry_out([self.call(key) for key in keys])]

    def call(self, key: str) -> Call:
        def decide(_: State) -> Verdict[str]:
            self.threads.append((key, threading.get_ident()))
            return Verdict(key)

        return Call("a", key, lambda _: [], decide)

    def waiting(self, count: int) -> None:
        """Wait until so many have come, those at work included."""
        until(lambda: len(self.turns._waiting) == count)

    def has(self, caller: Background) -> bool:
        """Tell whether a caller waits, or is at work."""
        return caller._thread.ident in [party.thread for party in list(self.turns._waiting)]

    @contextmanager
    def held_up(self) -> Iterator[None]:
        """Let the next commit wait until the block is left; those started in the block come meanwhile."""
        inside, leave = threading.Event(), threading.Event()

        def hold(_: list[str]) -> None:
            self.commit = lambda keys: None
            inside.set()
            assert leave.wait(10)

        self.commit = hold
        first = Background(lambda: self.write("first"))
        assert inside.wait(10)
        try:
            yield
        finally:
            leave.set()
        assert first.result() == ["first"]

    def _work(self, deadline: float, take: Take) -> Sequence[Outcome]:
        self.begin(deadline)
        calls = take()
        outcomes = [Outcome(call.decide(State(EMPTY_HEAD, {})).result) for call in calls]
        keys = [call.key for call in calls]
        self.groups.append(keys)
        self.commit(keys)
        return outcomes


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


# Who is decided together


def test_who_comes_alone_is_decided_alone() -> None:
    book = Book()
    assert book.write("a", "b") == ["a", "b"]
    assert book.write("c") == ["c"]
    assert book.groups == [["a", "b"], ["c"]]


def test_those_who_wait_share_the_next_commit_in_the_order_they_came() -> None:
    book = Book()
    with book.held_up():
        waiting = []
        for n in range(5):
            waiting.append(Background(partial(book.write, f"k{n}")))
            book.waiting(n + 2)
    assert [each.result() for each in waiting] == [[f"k{n}"] for n in range(5)]
    assert book.groups == [["first"], [f"k{n}" for n in range(5)]]


def test_who_comes_while_the_lock_is_awaited_is_decided_too() -> None:
    book, inside, leave = Book(), threading.Event(), threading.Event()

    def begin(_: float) -> None:
        inside.set()
        leave.wait(10)

    book.begin = begin
    leader = Background(lambda: book.write("leader"))
    inside.wait(10)
    follower = Background(lambda: book.write("follower"))
    book.waiting(2)
    leave.set()
    assert (leader.result(), follower.result()) == (["leader"], ["follower"])
    assert book.groups == [["leader", "follower"]]


def test_a_group_is_bounded_and_the_calls_of_one_caller_are_never_split() -> None:
    book = Book(most=4)
    with book.held_up():
        waiting = []
        for n, size in enumerate((1, 1, 1, 1, 1, 6, 2, 2, 1)):
            waiting.append(Background(partial(book.write, *[f"{n}-{part}" for part in range(size)])))
            book.waiting(n + 2)
    for each in waiting:
        each.result()
    assert [len(group) for group in book.groups] == [1, 4, 1, 6, 4, 1]


def test_nobody_is_answered_before_the_commit() -> None:
    book = Book()
    with book.held_up():
        waiting = [Background(partial(book.write, f"k{n}")) for n in range(4)]
        book.waiting(5)
        answered: list[bool] = []

        def commit(_: list[str]) -> None:
            time.sleep(0.02)
            answered.extend(not each._thread.is_alive() for each in waiting)

        book.commit = commit
    for each in waiting:
        each.result()
    assert answered == [False] * 4


def test_nobody_is_left_behind() -> None:
    """The slowest of eight threads gets at least 0.8 of what the fastest does."""
    book, most = Book(most=4), 2000
    book.commit = lambda keys: time.sleep(0.0001)
    done, counts = threading.Event(), [0] * 8

    def write(thread: int) -> None:
        while not done.is_set():
            book.write(f"{thread}-{counts[thread]}")
            counts[thread] += 1
            if sum(counts) >= most:
                done.set()

    together(8, write)
    assert min(counts) >= 0.8 * max(counts)
    assert sorted(key for group in book.groups for key in group) == sorted(
        {key for group in book.groups for key in group}
    )


def test_the_main_thread_decides_for_nobody_but_itself() -> None:
    """A signal is handled there: what its handler raises would come out of somebody else's decision."""
    book = Book()
    mine, other = _Party([book.call("mine")], 1e9), _Party([book.call("other")], 1e9)
    other.is_interruptible = False
    for party in (other, mine):
        book.turns._enter(party)
    assert book.turns._chosen(mine) == [mine]
    book, done, main = Book(), threading.Event(), threading.get_ident()
    book.commit = lambda keys: time.sleep(0.0001)

    def write(thread: int) -> None:
        n = 0
        while not done.is_set():
            book.write(f"{thread}-{n}")
            n += 1

    others = [Background(partial(write, n)) for n in range(4)]
    for n in range(300):
        book.write(f"main-{n}")
    done.set()
    for each in others:
        each.result()
    assert {key.partition("-")[0] for key, thread in book.threads if thread == main} <= {"main"}
    assert sum(key.startswith("main") for key, _ in book.threads) == 300


# What goes wrong for a group


def failing(book: Book, *errors: BaseException | None) -> None:
    """Let the next commits of the book fail."""
    left = list(errors)

    def commit(_: list[str]) -> None:
        error = left.pop(0) if left else None
        if error is not None:
            raise error

    book.commit = commit


def three_waiting(book: Book, *errors: BaseException | None) -> list[Background]:
    """Return three who wait together, in this order, for commits that fail so."""
    waiting = []
    with book.held_up():
        for n in range(3):
            waiting.append(Background(partial(book.write, f"k{n}")))
            book.waiting(n + 2)
        failing(book, *errors)
    return waiting


@pytest.mark.parametrize("error", [OutcomeUnknown("k0"), StorageError("disk"), RuntimeError("?"), KeyboardInterrupt()])
def test_a_failed_commit_undoes_the_group_and_each_is_decided_again_alone(error: BaseException) -> None:
    book = Book()
    waiting = three_waiting(book, error)
    assert [each.result() for each in waiting] == [["k0"], ["k1"], ["k2"]]
    assert book.groups[1] == ["k0", "k1", "k2"]
    assert sorted(book.groups[2:]) == [["k0"], ["k1"], ["k2"]]


@pytest.mark.parametrize("error", [OutcomeUnknown("k"), StorageError("disk"), SystemExit(3)])
def test_what_fails_again_alone_is_its_own_callers(error: BaseException) -> None:
    book = Book()
    failed, *others = three_waiting(book, StorageError("first"), error)
    outcomes: list[object] = []
    for each in (failed, *others):
        try:
            outcomes.append(each.result())
        except BaseException as raised:
            outcomes.append(raised)
    assert sum(each is error for each in outcomes) == 1
    assert sum(isinstance(each, list) for each in outcomes) == 2
    assert book.write("later") == ["later"]


def test_of_what_may_have_been_committed_nobody_says_that_it_was_not() -> None:
    """The group's commit may have happened; that nobody could write afterwards does not tell."""
    book = Book(write_timeout=0.3)
    waiting = three_waiting(book, OutcomeUnknown("k0"), *[StorageUnavailable("busy")] * 3)
    for n, each in enumerate(waiting):
        with pytest.raises(OutcomeUnknown) as caught:
            each.result()
        assert caught.value.key == f"k{n}"


def test_what_was_surely_not_committed_is_said_to_be_so() -> None:
    book = Book(write_timeout=0.3)
    for each in three_waiting(book, StorageError("undone"), *[StorageUnavailable("busy")] * 3):
        with pytest.raises(StorageUnavailable):
            each.result()


# Waiting


def test_waiting_is_bounded_and_who_gave_up_is_never_carried_out() -> None:
    book = Book(write_timeout=0.05)
    with book.held_up():
        with pytest.raises(StorageUnavailable, match=r"the book was busy for 0\.05 s; nothing was written"):
            book.write("impatient")
        with pytest.raises(StorageUnavailable, match="nothing was written"), book.turns.held():
            raise AssertionError
    book.write("later")
    assert book.groups == [["first"], ["later"]]


def test_a_commit_under_way_is_never_abandoned() -> None:
    book = Book(write_timeout=0.1)
    with book.held_up():
        waiting = [Background(partial(book.write, f"k{n}")) for n in range(2)]
        book.waiting(3)
        book.commit = lambda keys: time.sleep(0.3)
    assert [each.result() for each in waiting] == [["k0"], ["k1"]]


def test_a_lock_that_is_not_had_touches_only_who_asked_for_it() -> None:
    """The leader's own time is over; those who came later still wait for theirs."""
    book, asked = Book(), list[float]()

    def begin(deadline: float) -> None:
        asked.append(deadline)
        if len(asked) == 2:
            raise StorageUnavailable("locked")

    book.begin = begin
    with book.held_up():
        waiting = []
        for n in range(3):
            waiting.append(Background(partial(book.write, f"k{n}")))
            book.waiting(n + 2)
    with pytest.raises(StorageUnavailable, match="locked"):
        waiting[0].result()
    assert [each.result() for each in waiting[1:]] == [["k1"], ["k2"]]
    assert book.groups == [["first"], ["k1", "k2"]]


def test_nobody_writes_while_the_turn_is_held_and_nobody_waits_for_it_twice() -> None:
    book = Book(write_timeout=0.05)
    with book.turns.held():
        with pytest.raises(StorageUnavailable):
            Background(lambda: book.write("a")).result()
        for use in (lambda: book.write("b"), lambda: book.turns.held().__enter__()):
            with pytest.raises(StorageError, match="a decision cannot use the storage that is running it"):
                use()
    assert book.write("c") == ["c"]


# Interrupts


def test_an_interrupt_at_any_point_leaves_turns_that_go_on() -> None:
    book = Book()
    for point in interrupted_everywhere(lambda point: book.write(f"k{point}")):
        assert Background(partial(book.write, f"next-{point}")).result(5) == [f"next-{point}"]
        assert book.turns._leader is None
        assert [party for party in book.turns._waiting if not party.is_settled] == []
    assert point > 20


def test_who_is_interrupted_while_waiting_is_withdrawn_or_stays_with_the_leader() -> None:
    """At every point of a wait: whoever else waits is answered, and what was withdrawn never comes."""
    for point in range(10**6):
        book = Book()
        with book.held_up():
            other = Background(partial(book.write, "other"))
            book.waiting(2)
            was = interrupted(partial(_given_up, book), point)
        assert other.result() == ["other"]
        assert book.groups == [["first"], ["other"]]
        if not was:
            return


def _given_up(book: Book) -> None:
    book.turns._write_timeout = 0.01
    with pytest.raises(StorageUnavailable):
        book.turns.carry_out([book.call("mine")])


def test_a_leader_that_dies_anywhere_hands_over() -> None:
    """A thread that is made to raise at any point of leading others leaves nobody waiting."""
    for point in range(10**6):
        book = Book()
        with book.held_up():
            leader = Background(partial(interrupted, lambda book=book: book.write("leader"), point))
            until(lambda leader=leader, book=book: book.has(leader) or not leader._thread.is_alive())
            others = []
            for n in range(2):
                others.append(Background(partial(book.write, f"k{n}")))
                until(lambda other=others[-1], book=book: book.has(other))
        assert [each.result(5) for each in others] == [["k0"], ["k1"]]
        if not leader.result(5):
            return


# On the storages


@pytest.fixture(params=["memory", "file", "sqlite in memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    made: dict[str, Callable[[], Storage]] = {
        "memory": lambda: MemoryStorage(write_timeout=60),
        "file": lambda: SQLiteStorage(tmp_path / "log.db", durability="normal"),
        "sqlite in memory": lambda: SQLiteStorage(":memory:"),
    }
    storage = made[request.param]()
    yield storage
    storage.close()


def test_an_interrupt_at_any_point_of_a_write_leaves_a_storage_that_works(storage: Storage) -> None:
    append(storage, "a", "before", used())
    for point in interrupted_everywhere(lambda point: append(storage, "a", f"k{point}", used(2))):
        made = Background(lambda point=point: append(storage, "a", f"next-{point}", used())).result(5)
        batches = storage.batches("a", limit=10**6)
        assert batches[-1] == made
        assert fold(batches) == whole_state(storage, "a", batches)
        assert append(storage, "a", f"k{point}", used(2)).key == f"k{point}"
    assert point > 50
    assert [batch.number for batch in storage.batches("a", limit=10**6)] == list(range(1, 2 * point + 5))


def test_an_interrupt_at_any_point_of_several_calls_leaves_all_or_none_of_them(storage: Storage) -> None:
    names = ["c", "a", "b"]

    def calls(point: int) -> list[Call]:
        return [call_of(name, f"k{point}", used(2)) for name in names]

    for point in interrupted_everywhere(lambda point: storage.transact_all(calls(point))):
        found = [storage.batch(name, f"k{point}") is not None for name in names]
        assert found in ([True] * 3, [False] * 3)
        assert list(storage.customers()) == sorted(names) if any(found) else True
        made = Background(lambda point=point: storage.transact_all(calls(point))).result(5)
        assert [outcome.error for outcome in made] == [None] * 3
    for name in names:
        batches = storage.batches(name, limit=10**6)
        assert len(batches) == point + 2
        assert fold(batches) == whole_state(storage, name, batches)
    assert len(storage.feed(limit=10**6).batches) == 3 * (point + 2)


def test_an_interrupt_at_any_point_of_reading_leaves_a_storage_that_works(storage: Storage) -> None:
    append(storage, "a", "k", used(2))
    reads: list[Callable[[], object]] = [
        lambda: storage.state("a", lambda _: [CALLS]),
        lambda: storage.written(after=None),
        storage.pulse,
    ]
    for n, read in enumerate(reads):
        for point in interrupted_everywhere(lambda _, read=read: read()):
            Background(lambda n=n, point=point: append(storage, "b", f"{n}-{point}", used())).result(5)
    batches = storage.batches("b", limit=10**6)
    assert fold(batches) == whole_state(storage, "b", batches)


def test_an_interrupt_at_any_point_of_closing_leaves_a_storage_that_can_be_closed(tmp_path: Path) -> None:
    for point in range(10**6):
        storage = SQLiteStorage(tmp_path / "log.db")
        was = interrupted(storage.close, point)
        storage.close()
        with pytest.raises(StorageUnavailable):
            append(storage, "a", "k", used())
        if not was:
            return


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # an interrupt within a callback of Python's
def test_ctrl_c_in_the_main_thread_touches_nobody_else(storage: Storage) -> None:
    """Real signals at any moment, while four threads write to the same customer."""
    done, interrupts = threading.Event(), 0

    def write(thread: int) -> list[Batch]:
        made = list[Batch]()
        while not done.is_set():
            made.append(append(storage, "a", f"{thread}-{len(made)}", used()))
            done.wait(0.0005)
        return made

    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    others = [Background(partial(write, n)) for n in range(4)]
    try:
        for n in range(150):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0001 + n * 0.00002, 0.5)  # again, if a callback swallows the first
                while True:
                    append(storage, "a", f"main-{n}", used())
            except KeyboardInterrupt:
                signal.setitimer(signal.ITIMER_REAL, 0)
                interrupts += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        done.set()
    made = [batch for each in others for batch in each.result()]
    batches = storage.batches("a", limit=10**6)
    assert interrupts == 150
    assert [batch for batch in batches if not batch.key.startswith("main")] == sorted(
        made, key=lambda each: each.number
    )
    assert fold(batches) == whole_state(storage, "a", batches)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SQLiteStorage]:
    storage = SQLiteStorage(tmp_path / "log.db")
    yield storage
    storage.close()


@contextmanager
def busy(storage: SQLiteStorage) -> Iterator[None]:
    """Keep a decision under way until the block is left, so that whoever starts in it waits for the same commit."""
    inside, leave = threading.Event(), threading.Event()

    def decide(_: State) -> Verdict[None]:
        inside.set()
        leave.wait(10)
        return Verdict(None)

    slow = Background(lambda: storage.transact("slow", "k", lambda _: [], decide))
    inside.wait(10)
    try:
        yield
    finally:
        leave.set()
    slow.result()


def in_order(storage: SQLiteStorage, *actions: Callable[[], object]) -> list[Background]:
    waiting = []
    for action in actions:
        came = len(storage._turns._waiting)
        waiting.append(Background(action))
        until(lambda came=came: len(storage._turns._waiting) > came)
    return waiting


def test_a_group_is_one_commit(file: SQLiteStorage) -> None:
    with busy(file):
        waiting = in_order(file, *[partial(append, file, f"c{n % 2}", f"k{n}", used()) for n in range(6)])
    for each in waiting:
        each.result()
    assert file._committed == 1
    assert [len(file.batches(name)) for name in ("c0", "c1")] == [3, 3]


def test_what_a_group_decided_before_a_failed_commit_is_answered_to_nobody(file: SQLiteStorage) -> None:
    """The first takes the last of it, the second is denied for that; the commit fails, and the first gives up.

    The second's denial was about something that never was: it is decided again, and passes.
    """
    append(file, "a", "before", used(9))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = Path(f"{file.path}-wal").stat().st_size
    tries: list[str] = []

    def take(key: str) -> bool:
        def decide(state: State) -> Verdict[bool]:
            tries.append(key)
            if tries.count("first") > 1 and key == "first":
                raise TimeoutError
            if tries == ["first", "second"]:  # now the disk is full, until somebody tries again
                resource.setrlimit(resource.RLIMIT_FSIZE, (size + 4096, hard))
            elif tries.count(key) > 1:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            room = state.counters[CALLS] < 10
            return Verdict(room, batch_of(state, "a", key, [used()]) if room else None)

        return file.transact("a", key, reads_of([used()]), decide)

    try:
        with busy(file):
            first, second = in_order(file, lambda: take("first"), lambda: take("second"))
        with pytest.raises(TimeoutError):
            first.result()
        assert second.result() is True
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert tries[:2] == ["first", "second"]
    assert [batch.key for batch in file.batches("a")] == ["before", "second"]


def test_lines_already_inserted_go_when_a_later_one_collides_and_nobody_elses_do(file: SQLiteStorage) -> None:
    """Something stands where the second line of the second call belongs: half of it was written before that is seen."""
    with closing(sqlite3.connect(file.path)) as plain, plain:
        plain.execute("INSERT INTO entries VALUES ('a', 3, 9, 'used', 0, 'calls', 'calls', 0, 1, NULL, '')")
    calls = [call_of("a", "k1", used()), call_of("a", "k2", used(), used()), call_of("b", "k", used())]
    first, wrong, last = file.transact_all(calls)
    assert type(wrong.error) is LogCorrupt
    assert [list(file.batches("a")), list(file.batches("b"))] == [[first.answer()], [last.answer()]]
    with closing(sqlite3.connect(file.path)) as plain:
        assert plain.execute("SELECT seq FROM entries WHERE customer = 'a'").fetchall() == [(1,), (3,)]
    assert file.state("a", lambda _: [CALLS]).counters == {CALLS: 1}


def test_an_interrupt_of_one_decision_in_a_group_reaches_only_its_caller(file: SQLiteStorage) -> None:
    with busy(file):
        first, wrong, last = in_order(
            file,
            lambda: append(file, "a", "k1", used()),
            lambda: file.transact("a", "k2", lambda _: [], raising(KeyboardInterrupt())),
            lambda: append(file, "a", "k3", used()),
        )
    assert isinstance(first.result(), Batch)
    assert isinstance(last.result(), Batch)
    with pytest.raises(KeyboardInterrupt):
        wrong.result()
    assert [batch.key for batch in file.batches("a")] in (["k1", "k3"], ["k3", "k1"])


def test_what_an_earlier_call_of_a_group_wrote_costs_no_reading_again(file: SQLiteStorage) -> None:
    """The head it leaves is kept in memory until the commit, and nobody else sees it before."""
    append(file, "a", "k0", used())
    with busy(file):
        waiting = in_order(file, *[partial(append, file, "a", f"k{n}", used()) for n in (1, 2, 3)])
        assert file.state("a", lambda _: []).head.seq == 1
    for each in waiting:
        each.result()
    assert file.state("a", lambda _: [CALLS]) == State(file.state("a", lambda _: []).head, {CALLS: 4})


def test_a_switch_of_threads_anywhere_loses_nobody(file: SQLiteStorage) -> None:
    """Sixteen threads that take turns as often as can be, half of them with several calls at once."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        made = together(16, lambda n: _several(file, n) if n % 2 else _singly(file, n))
    finally:
        sys.setswitchinterval(interval)
    assert sorted(batch.number for each in made for batch in each) == list(range(1, 16 * 12 + 1))
    batches = file.batches("a", limit=1000)
    assert fold(batches) == whole_state(file, "a", batches)


def _singly(storage: Storage, thread: int) -> list[Batch]:
    return [append(storage, "a", f"{thread}-{n}", used()) for n in range(12)]


def _several(storage: Storage, thread: int) -> list[Batch]:
    calls = [[call_of("a", f"{thread}-{n}-{part}", used()) for part in range(4)] for n in range(3)]
    return [outcome.answer() for each in calls for outcome in storage.transact_all(each)]
