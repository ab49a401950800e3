"""A line of processes before one file: only its head asks for the write lock, so that each comes in turn.

Without it a process that writes in a loop takes the lock again before anybody else has looked. A turn lasts
some milliseconds, since going from one process to another costs more than a write does: the next has to
notice, and to read again what it held in memory. The line is a courtesy, never a guarantee: SQLite's own
lock is the lock, and where the line does not move, or there is none, everybody asks for that directly.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from ..errors import StorageUnavailable

try:
    import fcntl
except ImportError:  # pragma: no cover  (where there is no flock, nobody stands in line)
    fcntl = None  # type: ignore[assignment]

T = TypeVar("T")
_TURN: Final = 0.008
"""How long who has come to the head may ask again without standing in line, in seconds."""
_AWAY: Final = 0.001
"""Who stays away for longer between two times is not waited for."""
_LOOK_EVERY: Final = 0.0005
_LOOKS: Final = round(_TURN / _LOOK_EVERY)
_HEAD_ASKS_EVERY: Final = 0.0001
_REST_ASK_EVERY: Final = 0.003
_INSTANT: Final = struct.Struct("=d")
_SHARE: Final = 0.25
"""How much of its time to wait a caller stands in a line that does not move."""
_SHUNNED_FOR: Final = 5.0


class Line:
    """The line before one file, kept by a lock on a file beside it; one thread at a time uses it.

    A process that was killed is out of it at once. Behind one that is frozen, nobody stands longer
    than a quarter of the time it has; then the line is left alone for some seconds.
    """

    def __init__(self, path: str | None) -> None:
        self._file = None if path is None or fcntl is None else _opened(f"{path}-line")
        self._shunned_until = self._turn_ends = self._left_at = self._away = 0.0

    def ask(self, action: Callable[[], T], deadline: float) -> T:
        """Return what `action` does once nobody is in its way; raises StorageUnavailable at the deadline."""
        file = self._file
        if file is None:
            return patiently(action, deadline)
        now = time.monotonic()
        if self._turn_ends - _TURN <= now < self._turn_ends:
            self._away = now - self._left_at
            with suppress(StorageUnavailable):
                return self._in_turn(file, action())
        try:
            self._come_to_head(file, deadline)
            asked = patiently(lambda: _after_another(file, action), deadline, every=_HEAD_ASKS_EVERY)
            self._turn_ends = time.monotonic() + _TURN
            return self._in_turn(file, asked)
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)

    def leave(self) -> None:
        """Have done with what was asked for; who may ask again and soon does is waited for some times as long."""
        if self._file is not None:
            self._left_at = time.monotonic()
            soon = self._left_at + 4 * self._away if self._away < _AWAY else 0.0
            _tell(self._file, min(self._turn_ends, soon))

    def close(self) -> None:
        """Leave for good."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def __del__(self) -> None:
        self.close()

    def _in_turn(self, file: int, asked: T) -> T:
        _tell(file, self._turn_ends)
        return asked

    def _come_to_head(self, file: int, deadline: float) -> None:
        now = time.monotonic()
        until = now + (deadline - now) * _SHARE
        while not _is_head(file) and now >= self._shunned_until:
            if now >= until:
                self._shunned_until = now + _SHUNNED_FOR
                return
            time.sleep(_REST_ASK_EVERY)
            now = time.monotonic()


NOBODY_ELSE: Final = Line(None)


def patiently(action: Callable[[], T], deadline: float, *, every: float = 0.001) -> T:
    """Return what `action` does once nobody is in its way; raises StorageUnavailable at the deadline.

    Asks again and again, `every` so many seconds. SQLite's own waiting backs off to a tenth of a
    second, by which a busy process starves the others, and hears no signal.
    """
    while True:
        try:
            return action()
        except StorageUnavailable:
            if time.monotonic() >= deadline:
                raise
        time.sleep(every)


def _after_another(file: int, action: Callable[[], T]) -> T:
    """Return what `action` does once who has the turn makes no more use of it; after a turn in any case."""
    for _ in range(_LOOKS):
        left = _told(file) - time.monotonic()
        if not 0 < left <= _TURN:
            break
        time.sleep(min(left, _LOOK_EVERY))
    return action()


def _tell(file: int, until: float) -> None:
    with suppress(OSError):  # a disk that is full
        os.pwrite(file, _INSTANT.pack(until), 0)


def _told(file: int) -> float:
    """Return the instant in the file, whatever it holds; the clock is one for all processes of a machine."""
    with suppress(OSError, struct.error):
        return float(_INSTANT.unpack(os.pread(file, _INSTANT.size, 0))[0])
    return 0.0


def _opened(path: str) -> int | None:
    with suppress(OSError):
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    return None


def _is_head(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
