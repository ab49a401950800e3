"""The contract of a storage, the part about calls that are decided together, and about who is answered when."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from ..errors import LogCorrupt
from ..ledger.entries import Entry, Verdict
from ..ledger.state import State, fold
from ..storage.base import Call, Storage
from .histories import (
    CALLS,
    START,
    append,
    append_sealed,
    batch_of,
    call_of,
    personal_kinds,
    sealed_call_of,
    used,
    whole_state,
)
from .proving import Background, identities, raising, refused, same, together

ROOM = 5


class GroupContract:
    """What every storage promises about several calls at once."""

    def test_calls_made_together_come_to_what_they_come_to_one_by_one(self, storage: Storage) -> None:
        """Results, logs, feed and states are those of the same calls in the same order."""
        calls = [call_of(f"c{n % 3}", f"k{n}", *[used(n)] * (n % 3 + 1)) for n in range(10)]
        made = [outcome.answer() for outcome in storage.transact_all(calls)]
        same(identities(made), [(f"c{n % 3}", n // 3 + 1) for n in range(10)])
        same((list(storage.feed().batches), storage.transact_all([])), (made, []))
        for name in ("c0", "c1", "c2"):
            same(list(storage.batches(name)), [batch for batch in made if batch.customer == name])
            self._is_its_fold(storage, name)

    def test_a_later_call_sees_what_an_earlier_one_appended(self, storage: Storage) -> None:
        """Head, counters and the batch of its key are those of the call before it, though nothing is committed yet."""
        append(storage, "a", "k0", used(1))
        look = Call("a", "k1", lambda head: [CALLS] * min(1, head.seq - 1), Verdict)
        first, seen = storage.transact_all([call_of("a", "k1", used(4)), look])
        same((seen.answer().head.seq, seen.answer().counters, seen.answer().prior), (2, {CALLS: 5}, first.answer()))
        again, other = storage.transact_all([call_of("a", "k2", used()), call_of("a", "k2", used(9))])
        same(again.answer(), other.answer())
        same(len(storage.batches("a")), 3)

    def test_a_call_that_raises_touches_no_other(self, storage: Storage) -> None:
        """What `reads` or `decide` raises is that call's outcome; it writes nothing, and its neighbours are booked."""
        errors = [RuntimeError("decide"), ValueError("reads")]
        calls = [
            call_of("a", "k1", used()),
            Call("a", "k2", lambda _: [], raising(errors[0])),
            call_of("a", "k3", used()),
            Call("b", "k4", raising(errors[1]), lambda _: Verdict(None)),
            call_of("b", "k5", used()),
        ]
        outcomes = storage.transact_all(calls)
        same([outcome.error for outcome in outcomes], [None, errors[0], None, errors[1], None])
        with refused(RuntimeError):
            outcomes[1].answer()
        same([batch.key for batch in storage.batches("a")], ["k1", "k3"])
        same([batch.key for batch in storage.batches("b")], ["k5"])
        self._is_its_fold(storage, "a")

    def test_a_batch_that_does_not_follow_touches_no_other(self, storage: Storage) -> None:
        """It is LogCorrupt for its own call, and no line of it is written."""

        def misfit(state: State) -> Verdict[None]:
            lines = [used(), used(-(10**6), ("other", START))]
            return Verdict(None, batch_of(state, "a", "k2", lines))

        calls = [call_of("a", "k1", used(2)), Call("a", "k2", lambda _: [], misfit), call_of("a", "k3", used(3))]
        first, wrong, last = storage.transact_all(calls)
        same(type(wrong.error), LogCorrupt)
        same(list(storage.batches("a")), [first.answer(), last.answer()])
        same([line.seq for line in storage.entries("a")], [1, 2])
        self._is_its_fold(storage, "a")

    def test_a_denial_among_calls_writes_nothing_and_keeps_its_key_free(self, storage: Storage) -> None:
        """The calls before and after it are booked, and its key can be used afterwards."""
        denied = Call("a", "k2", lambda _: [CALLS], lambda state: Verdict(state.counters[CALLS]))
        outcomes = storage.transact_all([call_of("a", "k1", used(7)), denied, call_of("a", "k3", used())])
        same(outcomes[1].answer(), 7)
        same(append(storage, "a", "k2", used()).number, 3)

    def test_an_interrupt_among_calls_passes_and_nothing_is_written(self, storage: Storage) -> None:
        """What is no Exception is nobody's outcome: none of the calls was made, and all can be made again."""
        before = append(storage, "a", "k0", used())
        for error in (KeyboardInterrupt(), SystemExit(), GeneratorExit()):
            stopped = Call("b", "k", lambda _: [], raising(error))
            with refused(type(error)):
                storage.transact_all([call_of("a", "k1", used()), stopped, call_of("b", "k1", used())])
            same((list(storage.feed().batches), list(storage.customers())), ([before], ["a"]))
        made = storage.transact_all([call_of("a", "k1", used()), call_of("b", "k1", used())])
        same(identities([outcome.answer() for outcome in made]), [("a", 2), ("b", 1)])

    def test_an_erasure_among_calls_erases_what_the_calls_before_it_wrote(self, storage: Storage) -> None:
        """And nothing of the calls after it."""
        secret = "a/b"  # noqa: S105
        append_sealed(storage, "a", "k0", *personal_kinds())
        named = Entry("used", START, "calls", *CALLS, 1, data={"scope": {"user": secret}})
        before, after = sealed_call_of("a", "k1", named), sealed_call_of("a", "k2", named, salt="another")
        erase = sealed_call_of("a", "erase", Entry("erased", START, "a"))
        outcomes = storage.transact_all([before, erase, after, call_of("b", "k", used())])
        same([outcome.error for outcome in outcomes], [None] * 4)
        batches = storage.batches("a")
        same([secret in repr(batch.entries) for batch in batches], [False, False, False, True])
        same([batch for batch in storage.feed().batches if batch.customer == "a"], list(batches))

    def test_groups_are_seen_whole(self, storage: Storage) -> None:
        """A reader of the feed sees all the batches of a group, or none."""
        done = threading.Event()

        def write() -> None:
            try:
                for n in range(30):
                    storage.transact_all([call_of(name, f"k{n}", used()) for name in ("b", "a", "c")])
            finally:
                done.set()

        writer, seen = Background(write), {0}
        while not done.is_set():
            seen.add(len(storage.feed().batches))
        writer.result()
        same({count % 3 for count in seen}, {0})

    def test_groups_that_cross_never_wait_for_each_other_forever(self, storage: Storage) -> None:
        """Four threads, each with the same customers in another order."""
        names = ["a", "b", "c", "d"]

        def write(thread: int) -> None:
            for n in range(8):
                order = names[thread:] + names[:thread]
                made = storage.transact_all([call_of(name, f"{thread}-{n}", used()) for name in order])
                same([outcome.error for outcome in made], [None] * 4)

        together(4, write)
        for name in names:
            same(len(storage.batches(name)), 32)
            self._is_its_fold(storage, name)

    def test_groups_that_wait_for_one_customer_in_opposite_order_all_come_through(self, storage: Storage) -> None:
        """One customer is kept busy, and two groups come that name it first and last."""
        inside, leave = threading.Event(), threading.Event()

        def decide(_: State) -> Verdict[None]:
            inside.set()
            leave.wait(10)
            return Verdict(None)

        busy = Background(lambda: storage.transact("b", "k", lambda _: [], decide))
        inside.wait(10)
        groups = []
        for order in ("ba", "ab"):
            calls = [call_of(name, order, used()) for name in order]
            groups.append(Background(partial(storage.transact_all, calls)))
            time.sleep(0.05)
        leave.set()
        busy.result()
        same([outcome.error for group in groups for outcome in group.result()], [None] * 4)

    def test_what_is_answered_is_committed(self, storage: Storage) -> None:
        """Whoever is answered, by a batch or by a denial that counted others' batches, finds it in the storage."""

        def take(customer: str, key: str) -> tuple[bool, int]:
            def decide(state: State) -> Verdict[tuple[bool, int]]:
                taken = state.counters[CALLS]
                batch = batch_of(state, customer, key, [used()]) if taken < ROOM else None
                return Verdict((batch is not None, taken), batch)

            return storage.transact(customer, key, lambda _: [CALLS], decide)

        def ask(thread: int) -> int:
            allowed = 0
            for n in range(40):
                customer, key = f"c{n // 2}", f"{thread}-{n}"
                passed, taken = take(customer, key)
                found = storage.state(customer, lambda _: [CALLS]).counters[CALLS]
                same((found >= taken + passed, storage.batch(customer, key) is not None), (True, passed))
                allowed += passed
            return allowed

        same(sum(together(6, ask)), 20 * ROOM)

    def test_an_error_in_one_thread_touches_no_other(self, storage: Storage) -> None:
        """Half the threads raise what no storage expects; each gets its own exception, and every batch of the rest."""
        errors: Sequence[type[BaseException]] = (KeyError, SystemExit, KeyboardInterrupt)

        def ask(thread: int) -> list[Any]:
            made = list[Any]()
            for n in range(12):
                if thread < len(errors):
                    with refused(errors[thread]):
                        storage.transact("a", f"{thread}-{n}", lambda _: [], raising(errors[thread](thread)))
                else:
                    made.append(append(storage, "a", f"{thread}-{n}", used()))
            return made

        made = [batch for each in together(6, ask) for batch in each]
        same(list(storage.batches("a")), sorted(made, key=lambda batch: batch.number))
        same((len(made), storage.state("a", lambda _: [CALLS]).counters), (36, {CALLS: 36}))

    def _is_its_fold(self, storage: Storage, customer: str) -> None:
        batches = storage.batches(customer)
        same(whole_state(storage, customer, batches), fold(batches))
