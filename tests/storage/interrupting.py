"""Ctrl-C at every point where it can strike.

Python looks for signals where a function begins and where a call into C ends. A profile function is
called at exactly these points, so what it raises there is raised as by a handler of a signal.
"""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from types import FrameType


def interrupted_everywhere(action: Callable[[int], object]) -> Iterator[int]:
    """Run the action again and again, interrupted one point later each time, until it comes through; yield after each."""
    for point in count():
        if not interrupted(partial(action, point), point):
            return
        yield point


def interrupted(action: Callable[[], object], point: int) -> bool:
    """Run the action and interrupt it at the numbered point; tell whether it came so far."""
    points = count()

    def strike(frame: FrameType, event: str, _: object) -> None:
        if frame.f_code.co_filename == weakref.__file__:  # a callback, out of which Python lets nothing pass
            return
        if event in {"call", "c_return"} and next(points) == point:
            raise KeyboardInterrupt

    gc.disable()  # what is called by a collection lets nothing pass either
    sys.setprofile(strike)
    try:
        action()
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(None)
        gc.enable()
    return False
