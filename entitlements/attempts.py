"""Attempts: work that is done under one key may fail and be tried again, and is charged once.

A hold is reserved under the key. Where an earlier attempt gave it back, the next attempt reserves under
`key:2`, and so on; where one was settled, the work is paid for already.
"""

from __future__ import annotations

from itertools import count

import attrs

from . import steps
from .decisions import Decision
from .desk import Desk
from .errors import KeyUsed
from .requests import Request
from .steps import Steps


@attrs.frozen
class Reservation:
    """What is to be set aside for a piece of work; `once` refuses a key under which it is done, or was."""

    asked: Request
    once: bool = False


@attrs.frozen
class Attempt:
    """What reserving came to: the hold's id, the answer, and whether the work is paid for already."""

    id: str
    decision: Decision
    paid: bool = False


def attempt(desk: Desk, reservation: Reservation) -> Steps[Attempt]:
    """Reserve under the request's key, or under that of the first attempt that was not given back.

    Raises KeyUsed where the work may be done only once, and is under way or done.
    """
    asked = reservation.asked
    key = asked.key or desk.draw()
    for number in count(1):
        hold = key if number == 1 else f"{key}:{number}"
        decision = yield from desk.write(attrs.evolve(asked, key=hold))
        if decision.receipt is None or not decision.receipt.replayed:
            break
        closed = yield from steps.batch(asked.customer, f"$close:{hold}")
        if closed is not None and closed.request["verb"] == "release":
            continue
        if reservation.once:
            raise KeyUsed(key, "under way" if closed is None else "done")
        return Attempt(hold, decision, paid=closed is not None)
    return Attempt(hold, decision)
