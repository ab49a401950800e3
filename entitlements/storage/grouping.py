"""Group commit: those who wait while a commit is under way are decided together, and share the next.

Whoever finds nobody at work leads: it decides for itself and for all who wait, commits once, and
only then is anybody answered. A lone caller leads at once and waits for nobody. Nothing here knows
what is written, or where; a storage hands in the work.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Final, TypeAlias

from ..errors import OutcomeUnknown, StorageError, StorageUnavailable
from .base import Call, Outcome

MOST_TOGETHER: Final = 64
"""How many calls share one commit; a caller with more of its own is not split."""
_LOOK_EVERY: Final = 0.05
"""How often, in seconds, who waits looks whether a turn is free, should whoever was to say so have died."""

Take: TypeAlias = Callable[[], Sequence[Call]]
Work: TypeAlias = Callable[[float, Take], Sequence[Outcome]]
"""Locks what must be locked (StorageUnavailable at the deadline), then takes the calls, decides them and commits."""


class Turns:
    """Whose turn it is to write; any thread may take part.

    `work` is called by one thread at a time, with the instant of the monotonic clock up to which it
    may wait and a function that gives the calls to decide; it returns an outcome for each of them, or
    raises, and then none of them was answered. `name` is what messages call the place that is written to.

    The main thread decides for nobody but itself: signals are handled there, so that Ctrl-C in it
    can never end up in another caller's decision.
    """

    def __init__(self, work: Work, name: str, *, write_timeout: float, most: int = MOST_TOGETHER) -> None:
        self._work, self._name, self._write_timeout, self._most = work, name, write_timeout, most
        self._turn = threading.RLock()
        self._leader: _Party | None = None
        self._called: _Party | None = None
        self._guard = threading.Lock()
        self._waiting: dict[_Party, None] = {}
        self._under_way: Sequence[_Party] = ()

    def carry_out(self, calls: Sequence[Call]) -> list[Outcome]:
        """Have the calls decided and committed, all in one commit, and return what each came to.

        Raises StorageUnavailable where their turn did not come in time (then they are not carried out,
        now or later), OutcomeUnknown where a commit failed, and what the work raises for these calls alone.
        """
        self.refuse_nesting()
        party = _Party(calls, time.monotonic() + self._write_timeout)
        try:
            self._enter(party)
            while not party.is_settled:
                if self._has_turn(party):
                    self._lead(party)
                    self._turn.release()
                else:
                    self._wait(party)
            return party.answer()
        finally:
            try:  # noqa: SIM105  (inline, so that an exception out of a signal handler finds no gap)
                self._turn.release()
            except RuntimeError:  # the turn is not ours
                pass
            self._leave(party)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep everybody from writing; raises StorageUnavailable where they do not let go in time."""
        self.refuse_nesting()
        party = _Party((), time.monotonic() + self._write_timeout)
        try:
            self._enter(party)
            while not self._has_turn(party):
                self._wait(party)
            self._leader = party
            yield
        finally:
            if self._leader is party:
                self._leader = None
            try:  # noqa: SIM105  (inline, as above)
                self._turn.release()
            except RuntimeError:
                pass
            self._leave(party)

    def refuse_nesting(self) -> None:
        """Raise StorageError in the thread that is at work just now."""
        leader = self._leader
        if leader is not None and leader.thread == threading.get_ident():
            raise StorageError(f"{self._name}: a decision cannot use the storage that is running it")

    def _enter(self, party: _Party) -> None:
        with self._guard:
            self._waiting[party] = None

    def _has_turn(self, party: _Party) -> bool:
        """Take the turn if nobody has it and nobody else was called to it."""
        called = self._called
        if called is not None and called is not party and not party.is_impatient:
            return False
        if not self._turn.acquire(blocking=False):
            return False
        self._called = None
        return True

    def _lead(self, party: _Party) -> None:
        if party.is_settled:
            return
        group: list[_Party] = []

        def take() -> list[Call]:
            with self._guard:
                self._under_way = group
                group.extend(self._chosen(party))
            return [call for each in group for call in each.calls]

        try:
            self._leader = party
            outcomes = iter(self._work(party.deadline, take))
            for each in group:
                each.settle(list(islice(outcomes, len(each.calls))))
        except BaseException as error:
            if group and group != [party]:
                _undo(group, error)
            elif party.told(error) is error:
                raise
            else:
                raise party.told(error) from error
        finally:
            self._leader, self._under_way = None, ()

    def _chosen(self, leader: _Party) -> list[_Party]:
        """Return who is decided next, in the order they came."""
        if leader.is_interruptible or len(self._waiting) == 1:
            return [leader]
        for settled in [party for party in self._waiting if party.is_settled]:  # who was interrupted on leaving
            del self._waiting[settled]
        chosen, calls = list[_Party](), 0
        for party in self._waiting:
            calls += len(party.calls)
            if chosen and (party.is_alone or calls > self._most):
                break
            if party.calls:
                chosen.append(party)
            if party.is_alone:
                break
        return chosen

    def _wait(self, party: _Party) -> None:
        left = party.deadline - time.monotonic()
        if left > 0:
            party.is_impatient = not party.gate.acquire(timeout=min(left, _LOOK_EVERY))
        elif self._withdrawn(party):
            raise party.told(StorageUnavailable(self._too_long()))
        else:
            party.gate.acquire(timeout=_LOOK_EVERY)

    def _withdrawn(self, party: _Party) -> bool:
        with self._guard:
            if party in self._under_way or party.is_settled:
                return False
            self._waiting.pop(party, None)
            return True

    def _leave(self, party: _Party) -> None:
        """Go, and call whoever came next, unless somebody leads."""
        with self._guard:
            self._waiting.pop(party, None)
            if self._called is party:
                self._called = None
            if not self._waiting or self._leader is not None or self._called is not None:
                return
            waiting = [each for each in self._waiting if not each.is_settled]
            self._called = next((each for each in waiting if not each.is_interruptible), next(iter(waiting), None))
            if self._called is not None:
                self._called.wake()

    def _too_long(self) -> str:
        return f"{self._name} was busy for {self._write_timeout:g} s; nothing was written"


class _Party:
    """The calls of one caller, who waits for them."""

    __slots__ = (
        "_error",
        "_outcomes",
        "calls",
        "deadline",
        "gate",
        "is_alone",
        "is_impatient",
        "is_in_doubt",
        "is_interruptible",
        "thread",
    )

    def __init__(self, calls: Sequence[Call], deadline: float) -> None:
        self.calls, self.deadline = calls, deadline
        self.thread = threading.get_ident()
        self.is_interruptible = self.thread == threading.main_thread().ident
        self.is_alone = self.is_in_doubt = self.is_impatient = False
        self.gate = threading.Lock()
        self.gate.acquire()
        self._outcomes: list[Outcome] | None = None
        self._error: BaseException | None = None

    @property
    def is_settled(self) -> bool:
        """Whether it is known what the calls came to."""
        return self._outcomes is not None or self._error is not None

    def settle(self, outcomes: list[Outcome]) -> None:
        """Let the caller have the outcomes."""
        self._outcomes = outcomes
        self.wake()

    def fail(self, error: BaseException) -> None:
        """Let the caller have the error."""
        self._error = error
        self.wake()

    def wake(self) -> None:
        """Make the caller look whether it is settled, or may lead."""
        try:  # noqa: SIM105  (this is done for every call)
            self.gate.release()
        except RuntimeError:  # it is awake
            pass

    def answer(self) -> list[Outcome]:
        """Return the outcomes; raises the error where there is one."""
        if self._error is not None:
            raise self._error
        return self._outcomes or []

    def told(self, error: BaseException) -> BaseException:
        """Return the error as it stands for these calls: what may be committed is in doubt."""
        if self.is_in_doubt and isinstance(error, StorageUnavailable):
            return OutcomeUnknown(self.calls[0].key)
        return error


def _undo(group: Sequence[_Party], error: BaseException) -> None:
    """Have each of a group that failed decided again, alone; who was alone already has failed."""
    if len(group) == 1:
        group[0].fail(group[0].told(error))
        return
    is_undone = isinstance(error, StorageError) and not isinstance(error, OutcomeUnknown)
    for party in group:
        party.is_alone = True
        party.is_in_doubt = party.is_in_doubt or not is_undone
