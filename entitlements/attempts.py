"""Attempts: work that is done under one key may fail and be tried again, and is charged once.

Behind a gate a hold is reserved under the key. Where an earlier attempt gave it back, the next attempt reserves under
`key:2`, and so on; where one was settled, the work is paid for already.
"""

from __future__ import annotations

from itertools import count

import attrs

from . import steps
from .decisions import Decision
from .desk import Desk
from .errors import KeyUsed
from .holding import CLOSED
from .requests import Request
from .steps import Steps


@attrs.frozen
class Reservation:
    """What is to be set aside for a piece of work; `once` refuses a key under which it is done, or was."""

    asked: Request
    once: bool = False


@attrs.frozen
class Attempt:
    """What reserving came to: the hold's id, the answer, and how an earlier attempt `closed` the hold, if one did."""

    id: str
    decision: Decision
    closed: str | None = None

    @property
    def paid(self) -> bool:
        """Whether the work is paid for already."""
        return self.closed == "settled"


def reserved(desk: Desk, asked: Request) -> Steps[Attempt]:
    """Reserve under the request's own key and no other, whatever became of a hold that has it already."""
    hold = asked.key or desk.draw()
    decision: Decision = yield from desk.write(attrs.evolve(asked, key=hold))
    if decision.receipt is None or not decision.receipt.replayed:
        return Attempt(hold, decision)
    closing = yield from steps.batch(asked.customer, f"$close:{hold}")
    return Attempt(hold, decision, None if closing is None else CLOSED[closing.request["verb"]])


def attempt(desk: Desk, reservation: Reservation) -> Steps[Attempt]:
    """Reserve under the request's key, or under that of the first attempt that was not given back.

    Raises KeyUsed where the work may be done only once, and is under way or done.
    """
    asked = reservation.asked
    key = asked.key or desk.draw()
    for number in count(1):
        made = yield from reserved(desk, attrs.evolve(asked, key=key if number == 1 else f"{key}:{number}"))
        if made.closed != "released":
            break
    receipt = made.decision.receipt
    if reservation.once and receipt is not None and receipt.replayed:
        raise KeyUsed(key, "done" if made.paid else "under way")
    return made
