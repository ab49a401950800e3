"""Heads kept in memory: never one that was not committed, never one that another process has moved on from."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest

from entitlements.errors import LogCorrupt, OutcomeUnknown
from entitlements.ledger.chain import chain
from entitlements.ledger.entries import Entry, Verdict
from entitlements.ledger.state import EMPTY_HEAD, Head, State, fold
from entitlements.storage.connection import Connection
from entitlements.storage.heads import MOST_BESIDE, NOTHING_BESIDE, Beside, Heads
from entitlements.storage.sqlite import SQLiteStorage
from entitlements.testing.histories import START, append, append_sealed, batch_of, credit_kinds, reads_of, used
from entitlements.testing.proving import same, together

GRANTS = credit_kinds()[:3]
BURN = Entry("burned", START, "ai", amount=1, block="free")


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[SQLiteStorage]:
    with closing(SQLiteStorage(tmp_path / "log.db", durability="normal")) as storage:
        append_sealed(storage, "a", "grants", *GRANTS)
        yield storage


def head(storage: SQLiteStorage, customer: str = "a") -> Head:
    return storage.state(customer, lambda _: []).head


def stored(storage: SQLiteStorage, customer: str = "a") -> Head:
    """Return what another process reads."""
    with closing(SQLiteStorage(storage.path)) as other:
        return head(other, customer)


def test_a_head_that_is_unchanged_is_decoded_once(storage: SQLiteStorage) -> None:
    assert head(storage) is head(storage)
    append_sealed(storage, "a", "k", BURN)
    seen: list[State] = []
    storage.transact("a", "x", lambda _: [], lambda state: Verdict(seen.append(state)))
    assert seen[0].head is head(storage)
    assert seen[0].head == stored(storage)


def failing(*, after: bool) -> Any:
    commit = Connection.commit

    def fail(connection: Connection, key: str) -> None:
        if after:
            commit(connection, key)
        raise OutcomeUnknown(key)

    return fail


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, GeneratorExit])
def test_a_decision_that_raises_leaves_no_head_behind(storage: SQLiteStorage, error: type[BaseException]) -> None:
    before = head(storage)

    def decide(state: State) -> Verdict[None]:
        batch_of(state, "a", "k", [BURN])
        raise error

    with pytest.raises(error):
        storage.transact("a", "k", lambda _: [], decide)
    assert head(storage) is before
    assert append_sealed(storage, "a", "k", BURN).number == 2


def test_a_batch_that_cannot_be_written_leaves_no_head_behind(storage: SQLiteStorage) -> None:
    """The head that follows is worked out before the rows are refused."""
    before = head(storage)
    with closing(sqlite3.connect(storage.path, isolation_level=None)) as plain:
        plain.execute("INSERT INTO entries VALUES ('a', 4, 9, 'used', 0, 'calls', 'calls', 0, 1, NULL, '')")
    with pytest.raises(LogCorrupt):
        append_sealed(storage, "a", "k", BURN)
    assert head(storage) is before
    assert head(storage) == stored(storage)


@pytest.mark.parametrize("after", [False, True])
def test_a_commit_of_unknown_outcome_leaves_no_head_behind(
    storage: SQLiteStorage, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    """Whether it happened or not, what is shown next is what is in the file, to readers and to the next writer."""
    before = head(storage)
    with monkeypatch.context() as patched:
        patched.setattr(Connection, "commit", failing(after=after))
        with pytest.raises(OutcomeUnknown):
            append_sealed(storage, "a", "k", BURN)
    assert head(storage) == stored(storage)
    assert (head(storage) == before) is not after
    assert append_sealed(storage, "a", "k2", BURN).number == 2 + after
    assert head(storage) == stored(storage)
    assert head(storage).blocks["free"].free_units == before.blocks["free"].free_units - 1 - after


def test_a_head_of_another_process_is_taken_at_once(storage: SQLiteStorage) -> None:
    """Two processes that write in turn: each decides on what the other left."""
    script = """
import sys
from entitlements.ledger.entries import Entry
from entitlements.storage.sqlite import SQLiteStorage
from entitlements.testing.histories import START, append_sealed
storage = SQLiteStorage(sys.argv[1], durability="normal")
for line in sys.stdin:
    batch = append_sealed(storage, "a", line.strip(), Entry("burned", START, "ai", amount=1, block="free"))
    print(storage.state("a", lambda _: []).head.blocks["free"].free_units, batch.number, flush=True)
"""
    command = [sys.executable, "-c", script, storage.path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin
        assert other.stdout
        left = head(storage).blocks["free"].free_units
        for turn in range(0, 20, 2):
            append_sealed(storage, "a", f"mine-{turn}", BURN)
            assert head(storage).blocks["free"].free_units == left - turn - 1
            other.stdin.write(f"theirs-{turn}\n")
            other.stdin.flush()
            assert other.stdout.readline().split() == [str(left - turn - 2), str(turn + 3)]
            assert head(storage).blocks["free"].free_units == left - turn - 2
        other.stdin.close()
    batches = storage.batches("a")
    same(head(storage), fold(batches)[0])


def test_two_storages_on_one_file_decide_on_one_state(storage: SQLiteStorage) -> None:
    with closing(SQLiteStorage(storage.path, durability="normal")) as other:
        left = head(storage).blocks["free"].free_units
        together(4, lambda n: [append_sealed((storage, other)[n % 2], "a", f"{n}-{i}", BURN) for i in range(25)])
        assert head(storage) == head(other)
        assert head(storage).blocks["free"].free_units == left - 100
        same(head(storage), fold(storage.batches("a"))[0])


def test_a_head_that_was_folded_anew_is_remembered_only_once_it_is_committed(storage: SQLiteStorage) -> None:
    good = head(storage)
    with closing(sqlite3.connect(storage.path, isolation_level=None)) as plain:
        plain.execute("UPDATE heads SET fold_version = 0, head = '{}'")

    def refuse(_: State) -> Verdict[None]:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        storage.transact("a", "k", lambda _: [], refuse)
    assert head(storage) == good
    storage.transact("a", "k", lambda _: [], lambda _: Verdict(None))
    assert head(storage) is head(storage)
    assert head(storage) == good == stored(storage)


def test_a_write_touches_the_rows_it_changes_and_no_others(storage: SQLiteStorage) -> None:
    """Whatever the number of open blocks: the batch, its line, the head, the block."""
    block = GRANTS[1].data["block"]
    for n in range(300):
        made = attrs.evolve(block, id=f"b{n}", number=n)
        append_sealed(
            storage, "a", f"b{n}", Entry("granted", START, "ai", amount=1000, block=f"b{n}", data={"block": made})
        )
    assert storage._writer
    before = storage._writer.raw.total_changes
    append_sealed(storage, "a", "k", attrs.evolve(BURN, block="b7"))
    assert storage._writer.raw.total_changes - before == 4
    append(storage, "b", "k", used())
    assert len(stored(storage).blocks) == 303
    assert list(head(storage).blocks) == list(stored(storage).blocks)


def test_a_row_of_a_block_that_is_gone_is_a_corrupt_log(storage: SQLiteStorage) -> None:
    head(storage)
    with closing(sqlite3.connect(storage.path, isolation_level=None)) as plain:
        plain.execute("DELETE FROM blocks WHERE id = 'free'")
    with pytest.raises(LogCorrupt, match="block 'free' is gone"):
        append_sealed(storage, "a", "k", BURN)


def counters_seen(storage: SQLiteStorage, key: str, amount: int = 1) -> list[int]:
    """Append usage, and return what the decision saw of its counter."""
    seen: list[int] = []

    def decide(state: State) -> Verdict[None]:
        seen.extend(state.counters.values())
        batch = batch_of(state, "a", key, [used(amount)])
        return Verdict(None, *chain(batch, state.head.hash))

    storage.transact("a", key, reads_of([used()]), decide)
    return seen


def test_counters_are_read_again_where_another_process_has_written(storage: SQLiteStorage) -> None:
    told: list[str] = []
    assert counters_seen(storage, "k1") == [0]
    raw = storage._writer.raw if storage._writer else None
    assert raw is not None
    raw.set_trace_callback(told.append)
    assert counters_seen(storage, "k2") == [1]
    assert not [sql for sql in told if "CROSS JOIN counters" in sql]
    with closing(SQLiteStorage(storage.path)) as other:
        assert counters_seen(other, "k3", 5) == [2]
    assert counters_seen(storage, "k4") == [7]
    assert [sql for sql in told if "CROSS JOIN counters" in sql]


def test_counters_of_a_write_that_was_undone_are_forgotten(
    storage: SQLiteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert counters_seen(storage, "k1") == [0]
    with monkeypatch.context() as patch:
        patch.setattr(Connection, "commit", failing(after=False))
        with pytest.raises(OutcomeUnknown):
            counters_seen(storage, "k2", 5)
    assert counters_seen(storage, "k3") == [1]


def test_what_is_beside_a_row_is_remembered_up_to_so_many() -> None:
    heads, few = Heads(most_parts=60), Beside({("few", START): 7}, {"digest"})
    heads.put("a", (1,), EMPTY_HEAD, few)
    assert [heads.beside(customer, (row,)) for customer, row in (("a", 1), ("a", 2), ("b", 1))] == [
        few,
        NOTHING_BESIDE,
        NOTHING_BESIDE,
    ]
    for many in (
        Beside({(f"c{number}", START): 1 for number in range(MOST_BESIDE + 1)}),
        Beside(sealed=[f"d{number}" for number in range(MOST_BESIDE + 1)]),
    ):
        heads.put("a", (2,), EMPTY_HEAD, many)
        assert (heads.get("a", (2,)), heads.beside("a", (2,))) == (EMPTY_HEAD, NOTHING_BESIDE)
    for customer in "bc":
        some = {(f"c{number}", START): 1 for number in range(MOST_BESIDE // 2)}
        heads.put(customer, (1,), EMPTY_HEAD, Beside(some, [f"d{number}" for number in range(MOST_BESIDE // 2)]))
    assert [heads.get(customer, (1,)) for customer in "bc"] == [None, EMPTY_HEAD]


def test_there_is_room_for_so_much_and_no_more() -> None:
    heads = Heads(most_parts=30)
    for customer in "abcd":
        heads.put(customer, (1,), EMPTY_HEAD)
    assert [heads.get(customer, (1,)) for customer in "abcd"] == [None, EMPTY_HEAD, EMPTY_HEAD, EMPTY_HEAD]
    heads.put("b", (2,), EMPTY_HEAD)
    assert (heads.get("b", (1,)), heads.get("b", (2,))) == (None, EMPTY_HEAD)
    heads.put("big", (1,), attrs.evolve(EMPTY_HEAD, blocks=dict.fromkeys(range(99))))
    assert heads.get("big", (1,)) is None
    heads.put("e", (1,), EMPTY_HEAD)
    assert [heads.get(customer, (1,)) for customer in "cde"] == [None, EMPTY_HEAD, EMPTY_HEAD]
    heads.drop("e")
    heads.drop("nobody")
    assert heads.get("e", (1,)) is None


def test_counters_that_were_not_read_are_counted_from_the_file(storage: SQLiteStorage) -> None:
    """Heads are remembered, counters never: another process's usage counts at once."""
    append(storage, "a", "k1", used(3))
    with closing(SQLiteStorage(storage.path)) as other:
        append(other, "a", "k2", used(4))
    append(storage, "a", "k3", used(5))
    assert dict(storage.state("a", reads_of([used()])).counters) == {("calls", START): 12}
