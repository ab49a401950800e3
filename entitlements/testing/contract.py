"""The contract of a storage, as tests that any storage can be put to.

from entitlements.testing.contract import StorageContract

class TestMine(StorageContract):
    @pytest.fixture
    def storage(self):
        storage = MyStorage(...)
        yield storage
        storage.close()
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Final

import attrs

from ..errors import LogCorrupt, StorageUnavailable
from ..ledger.entries import EPOCH, Batch, CounterKey, Entry, Verdict
from ..ledger.state import EMPTY_HEAD, Head, State
from ..storage.base import Storage
from .contract_audit import AuditContract
from .contract_groups import GroupContract
from .histories import (
    CALLS,
    START,
    STRANGE_IDS,
    append,
    batch_of,
    every_kind,
    histories,
    reads_of,
    used,
)
from .proving import (
    Background,
    feed_in_pages,
    identities,
    in_pages,
    pages_of,
    raising,
    refused,
    same,
    spelled,
    together,
)

EXAMPLES: Final = 40


class StorageContract(AuditContract, GroupContract):
    """What every storage promises; a subclass gives a `storage` fixture, empty for each test."""

    def reopen(self, storage: Storage) -> Storage | None:  # noqa: ARG002  (for a subclass to use)
        """Return a new storage on the data of a closed one; override it where data outlives the storage."""
        return None

    def test_an_unknown_customer_is_empty(self, storage: Storage) -> None:
        """Nothing is there, and asking leaves nothing behind."""
        same(storage.state("nobody", lambda _: [CALLS]), State(EMPTY_HEAD, {CALLS: 0}))
        same((list(storage.entries("nobody")), list(storage.batches("nobody"))), ([], []))
        same((list(storage.customers()), storage.feed().batches, storage.feed().cursor), ([], (), None))

    def test_what_was_appended_is_read_back(self, storage: Storage) -> None:
        """State, entries, batches, feed and customers show the batch as it was given."""
        batch = append(storage, "a", "k1", used(3), used(4))
        head = Head(seq=2, batches=1, at=START)
        same(storage.state("a", lambda _: [CALLS, ("other", START)]), State(head, {CALLS: 7, ("other", START): 0}))
        same(tuple(storage.entries("a")), batch.entries)
        same(list(storage.batches("a")), [batch])
        same((storage.feed().batches, list(storage.customers())), ((batch,), ["a"]))

    def test_a_decision_sees_head_counters_and_no_prior(self, storage: Storage) -> None:
        """`reads` is given the head, `decide` the same head with exactly the counters that were read."""
        append(storage, "a", "k1", used(3))
        head = Head(seq=1, batches=1, at=START)
        seen: list[Head] = []

        def reads(head: Head) -> list[CounterKey]:
            seen.append(head)
            return [CALLS, ("b", EPOCH)]

        same(storage.transact("a", "k2", reads, Verdict), State(head, {CALLS: 3, ("b", EPOCH): 0}))
        same(seen, [head])

    def test_a_denial_writes_nothing_and_keeps_its_key_free(self, storage: Storage) -> None:
        """A verdict without a batch is returned, and the key can be used afterwards."""
        same(storage.transact("a", "k", lambda _: [], lambda _: Verdict("no")), "no")
        same(storage.state("a", lambda _: []).head, EMPTY_HEAD)
        same(append(storage, "a", "k", used()).number, 1)

    def test_a_decision_that_raises_leaves_nothing(self, storage: Storage) -> None:
        """Whatever `reads` or `decide` raises passes, nothing is written, and the next call works."""
        before = append(storage, "a", "k1", used())
        for error in (RuntimeError("decide"), KeyboardInterrupt(), GeneratorExit(), SystemExit()):
            with refused(type(error)):
                storage.transact("a", "k2", lambda _: [], raising(error))
            with refused(type(error)):
                storage.transact("a", "k2", raising(error), lambda _: Verdict(None))
            self._is_untouched(storage, before)
        same(append(storage, "a", "k2", used()).number, 2)

    def test_a_decision_that_failed_may_be_made_again(self, storage: Storage) -> None:
        """The same key with the same decision, after an error, is booked once."""
        calls = count()

        def decide(state: State) -> Verdict[Batch]:
            if next(calls) == 0:
                raise TimeoutError
            batch = batch_of(state, "a", "k", [used()])
            return Verdict(state.prior or batch, None if state.prior else batch)

        with refused(TimeoutError):
            storage.transact("a", "k", reads_of([used()]), decide)
        first = storage.transact("a", "k", reads_of([used()]), decide)
        same(storage.transact("a", "k", reads_of([used()]), decide), first)
        same(list(storage.batches("a")), [first])

    def test_a_batch_that_does_not_follow_is_refused(self, storage: Storage) -> None:
        """Stale, gapped, empty, foreign and backdated batches are LogCorrupt, and nothing is written."""
        before = append(storage, "a", "k1", used())
        state = storage.state("a", reads_of([used()]))
        good = batch_of(state, "a", "k2", [used()])
        (line,) = good.entries
        early = START - timedelta(microseconds=1)
        self._refuses(storage, before, attrs.evolve(good, number=1))
        self._refuses(storage, before, attrs.evolve(good, number=3))
        self._refuses(storage, before, attrs.evolve(good, entries=()))
        self._refuses(storage, before, attrs.evolve(good, entries=(attrs.evolve(line, seq=1),)))
        self._refuses(storage, before, attrs.evolve(good, entries=(attrs.evolve(line, seq=3),)))
        self._refuses(storage, before, attrs.evolve(good, customer="b"))
        self._refuses(storage, before, attrs.evolve(good, key="k3"))
        self._refuses(storage, before, attrs.evolve(good, entries=(attrs.evolve(line, key="k3"),)))
        self._refuses(storage, before, attrs.evolve(good, at=early, entries=(attrs.evolve(line, recorded_at=early),)))
        self._refuses(storage, before, batch_of(state, "a", "k1", [used()]), key="k1")

    def test_half_a_batch_is_never_written(self, storage: Storage) -> None:
        """Where a later line cannot be written, the lines before it are not either."""
        before = append(storage, "a", "k1", used(5))
        good = batch_of(storage.state("a", reads_of([used()])), "a", "k2", [used(), used(), used()])
        first, second, third = good.entries
        for last in (
            attrs.evolve(third, seq=second.seq),
            attrs.evolve(third, amount=-8),
            attrs.evolve(third, amount=2**63),
            attrs.evolve(third, kind="canceled", amount=-(2**63), data={"facts": ()}),
            attrs.evolve(third, kind="no such kind"),
        ):
            self._refuses(storage, before, attrs.evolve(good, entries=(first, second, last)))
        same(append(storage, "a", "k2", used(-5)).number, 2)

    def test_counters_that_were_not_read_are_counted_too(self, storage: Storage) -> None:
        """What a batch touches is added to what is stored, whether `reads` named it or not."""
        append(storage, "a", "k1", used(5))

        def decide(state: State) -> Verdict[None]:
            return Verdict(None, batch_of(state, "a", "k2", [used(2)]))

        storage.transact("a", "k2", lambda _: [], decide)
        same(storage.state("a", lambda _: [CALLS]).counters, {CALLS: 7})

    def test_a_key_that_comes_back_is_shown_its_batch(self, storage: Storage) -> None:
        """`State.prior` is the whole batch of that key, and None for any other."""
        batches = [append(storage, "a", f"k{n}", *[used()] * n) for n in (1, 2, 3)]
        for batch in batches:
            same(storage.transact("a", batch.key, lambda _: [], lambda state: Verdict(state.prior)), batch)
        same(storage.transact("a", "k4", lambda _: [], lambda state: Verdict(state.prior)), None)
        same(append(storage, "a", "k2", used()), batches[1])

    def test_a_key_belongs_to_one_customer(self, storage: Storage) -> None:
        """The same key of another customer is another batch."""
        same([append(storage, name, f"first of {name}", used()).number for name in "abc"], [1, 1, 1])
        same([append(storage, name, "k", used()).number for name in "abc"], [2, 2, 2])
        same(append(storage, "b", "k", used()).customer, "b")

    def test_strange_ids_stay_apart(self, storage: Storage) -> None:
        """Ids that look alike are different customers, keys and counters, and are listed in order of code points."""
        for customer in STRANGE_IDS:
            for key in STRANGE_IDS:
                append(storage, customer, key, *(used(1, (name, START)) for name in STRANGE_IDS))
        same(list(storage.customers()), sorted(STRANGE_IDS))
        every = [(name, START) for name in STRANGE_IDS]
        for customer in STRANGE_IDS:
            same([batch.key for batch in storage.batches(customer)], list(STRANGE_IDS))
            same(storage.state(customer, lambda _: every).counters, dict.fromkeys(every, len(STRANGE_IDS)))

    def test_every_kind_and_value_comes_back_unchanged(self, storage: Storage) -> None:
        """Facts, notes, requests and results are equal in value and type after storing."""
        result = {"allowed": True, "used": "0.10", "none": None, "list": [1, {"é": "\u2028😀"}], "": 2**70}
        kept = [append(storage, "one by one", f"k{n}", line) for n, line in enumerate(every_kind())]
        kept.append(append(storage, "at once", "k", *every_kind()))

        def decide(state: State) -> Verdict[Batch]:
            batch = batch_of(state, "at once", "k2", [used()], at=START + timedelta(days=9), result=result)
            return Verdict(batch, batch)

        kept.append(storage.transact("at once", "k2", reads_of([used()]), decide))
        found = [*storage.batches("one by one"), *storage.batches("at once")]
        same(found, kept)
        same([spelled(batch) for batch in found], [spelled(batch) for batch in kept])
        same(list(storage.entries("at once")), [line for batch in kept[-2:] for line in batch.entries])
        for customer in ("one by one", "at once"):
            self._is_the_fold(storage, customer)

    def test_the_state_is_the_fold_of_the_log(self, storage: Storage) -> None:
        """For any history of facts, usage and notes, head and counters are what the log folds to."""
        from hypothesis import given, settings  # noqa: PLC0415  (the `testing` extra)

        names = count()

        @settings(max_examples=EXAMPLES, deadline=None)
        @given(histories())
        def holds(history: list[list[Entry]]) -> None:
            customer = f"customer-{next(names)}"
            kept = [append(storage, customer, f"k{n}", *lines) for n, lines in enumerate(history)]
            same(list(storage.batches(customer)), kept)
            self._is_the_fold(storage, customer)

        holds()

    def test_paging_sees_everything_once(self, storage: Storage) -> None:
        """Entries, batches, feed and customers in pages of any size are those of one page, in order."""
        made = [append(storage, f"c{n % 3}", f"k{n}", *[used()] * (n % 4 + 1)) for n in range(11)]
        same(storage.feed().batches, tuple(made))
        for limit in (1, 2, 3, 1000):
            same(feed_in_pages(storage, limit), made)
            same(in_pages(lambda after, n: storage.customers(after=after, limit=n), str, limit), ["c0", "c1", "c2"])
            for name in ("c0", "c1", "c2"):
                own = [batch for batch in made if batch.customer == name]
                lines = [line for batch in own for line in batch.entries]
                same([line.seq for line in lines], list(range(1, len(lines) + 1)))
                same(in_pages(pages_of(storage.batches, name), lambda batch: batch.number, limit), own)
                same(in_pages(pages_of(storage.entries, name), lambda line: line.seq, limit), lines)

    def test_a_feed_goes_on_from_its_cursor(self, storage: Storage) -> None:
        """The cursor of an empty page still stands, what came later follows it, and a made-up one is refused."""
        append(storage, "a", "k1", used())
        end = storage.feed().cursor
        same(storage.feed(after=end), attrs.evolve(storage.feed(), batches=(), cursor=end))
        later = append(storage, "b", "k1", used())
        same(storage.feed(after=end).batches, (later,))
        with refused(ValueError):
            storage.feed(after="no cursor")

    def test_the_pulse_is_quiet_while_nothing_is_committed(self, storage: Storage) -> None:
        """Neither a denial nor a look changes the pulse."""
        append(storage, "a", "k1", used())
        pulse = storage.pulse()
        storage.transact("a", "k2", lambda _: [], lambda _: Verdict(None))
        storage.state("a", lambda _: [CALLS])
        same(storage.pulse(), pulse)

    def test_decisions_of_one_customer_never_overlap(self, storage: Storage) -> None:
        """Six threads, 120 tries, room for 50: exactly 50 pass, though every decision dawdles."""
        allowed = together(6, lambda thread: [self._try_one(storage, f"{thread}-{n}") for n in range(20)])
        same(sum(map(sum, allowed)), 50)
        same(storage.state("a", lambda _: [CALLS]).counters, {CALLS: 50})
        same([line.seq for line in storage.entries("a")], list(range(1, 51)))

    def test_one_key_raced_is_booked_once(self, storage: Storage) -> None:
        """Eight threads with one key get one and the same batch."""
        append(storage, "a", "before", used())
        batches = together(8, lambda _: append(storage, "a", "k", used()))
        same(batches, [batches[0]] * 8)
        same(len(storage.batches("a")), 2)

    def test_the_first_write_raced_loses_nothing(self, storage: Storage) -> None:
        """Eight threads that open the same log are all in it, in the feed too."""
        made = together(8, lambda n: append(storage, "a", f"k{n}", used()))
        same(sorted(batch.number for batch in made), list(range(1, 9)))
        same(list(storage.batches("a")), sorted(made, key=lambda batch: batch.number))
        same((list(storage.feed().batches), list(storage.customers())), (list(storage.batches("a")), ["a"]))
        self._is_the_fold(storage, "a")

    def test_readers_see_whole_batches_only(self, storage: Storage) -> None:
        """While a writer adds one line and three calls at a time, head and counters always agree."""
        done = threading.Event()

        def write() -> None:
            try:
                for n in range(40):
                    append(storage, "a", f"k{n}", used(1), used(2, ("b", START)), used(3))
            finally:
                done.set()

        def watch() -> list[int]:
            seen = []
            while not done.is_set():
                state = storage.state("a", lambda _: [CALLS, ("b", START)])
                same(state.counters, {CALLS: 4 * state.head.batches, ("b", START): 2 * state.head.batches})
                same(state.head.seq, 3 * state.head.batches)
                seen.append(state.head.batches)
            return seen

        *watched, _ = together(3, lambda n: write() if n == 2 else watch())
        for seen in watched:
            same(seen, sorted(seen or []))

    def test_a_feed_never_skips_what_commits_late(self, storage: Storage) -> None:
        """A reader that follows the feed while six writers append sees every batch once."""
        done = threading.Event()

        def write(thread: int) -> None:
            for n in range(12):
                append(storage, f"c{thread}", f"k{n}", used())

        def follow() -> list[Batch]:
            seen, cursor = list[Batch](), None
            while True:
                last = done.is_set()
                page = storage.feed(after=cursor, limit=5)
                seen, cursor = [*seen, *page.batches], page.cursor
                if last and not page.batches:
                    return seen

        follower = Background(follow)
        together(6, write)
        done.set()
        same([(batch.customer, batch.number) for batch in follower.result()], identities(storage.feed().batches))

    def test_data_outlives_the_storage(self, storage: Storage) -> None:
        """What was answered is there when the storage is opened again."""
        kept = [append(storage, "a", f"k{n}", *every_kind()) for n in range(2)]
        cursor = storage.feed().cursor
        storage.close()
        again = self.reopen(storage)
        if again is None:
            return
        try:
            same(list(again.batches("a")), kept)
            same(again.feed(after=cursor).batches, ())
            same(append(again, "a", "k1", used()), kept[1])
            self._is_the_fold(again, "a")
        finally:
            again.close()

    def test_close_is_final(self, storage: Storage) -> None:
        """Everything is StorageUnavailable afterwards; closing again is not."""
        append(storage, "a", "k", used())
        storage.close()
        storage.close()
        uses: list[Callable[[], object]] = [
            lambda: append(storage, "a", "k2", used()),
            lambda: storage.state("a", lambda _: []),
            lambda: storage.entries("a"),
            lambda: storage.batches("a"),
            storage.feed,
            storage.customers,
            storage.pulse,
        ]
        for use in uses:
            with refused(StorageUnavailable):
                use()

    def _try_one(self, storage: Storage, key: str) -> bool:
        def decide(state: State) -> Verdict[bool]:
            room = state.counters[CALLS] < 50
            time.sleep(0.0005)
            return Verdict(room, batch_of(state, "a", key, [used()]) if room else None)

        return storage.transact("a", key, lambda _: [CALLS], decide)

    def _refuses(self, storage: Storage, before: Batch, batch: Batch, *, key: str = "k2") -> None:
        with refused(LogCorrupt):
            storage.transact("a", key, reads_of(batch.entries), lambda _: Verdict(None, batch))
        self._is_untouched(storage, before)

    def _is_untouched(self, storage: Storage, only: Batch) -> None:
        same((list(storage.batches("a")), tuple(storage.entries("a"))), ([only], only.entries))
        same((storage.feed().batches, list(storage.customers())), ((only,), ["a"]))
        self._is_the_fold(storage, "a")
