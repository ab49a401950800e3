"""What the model of the rules knows of a customer: blocks, holds, usage, in whole seconds and smallest units."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Final, TypeAlias

import attrs

MOST: Final = 2**63 - 1
FOREVER: Final = 10**12

Answer: TypeAlias = dict[str, Any]
Slices: TypeAlias = list[tuple[str, int]]
Line: TypeAlias = tuple[str, int, str, str | None]
"""What a charge took: from which block (empty: debt), how much, of which credit, for which feature."""


class Refused(Exception):
    """An error of the interface; `kind` is the name of its type, `said` what distinguishes it."""

    def __init__(self, kind: str, said: str = "") -> None:
        super().__init__(kind, said)
        self.kind, self.said = kind, said


@attrs.define
class Kind:
    """A credit of the catalog."""

    scale: int = 0
    depletion: str = "hard"
    floor: int | None = None


@attrs.define
class Metered:
    """A metered feature with one hard limit; `every` is the length of its windows, None for seats."""

    limit: int
    every: int | None = None


@attrs.define
class Block:
    """One grant, its units spread over five accounts."""

    id: str
    credit: str
    units: int
    accounts: dict[str, int]
    paid: bool
    priority: int
    unit_cost: Fraction
    begins: int
    ends: int
    features: tuple[str, ...] | None
    settles: bool
    number: int
    void: bool = False

    @property
    def free(self) -> int:
        """What may still be drawn on."""
        return self.accounts["free"]

    @property
    def held(self) -> int:
        """What holds have pinned."""
        return self.accounts["held"]


@attrs.define
class Hold:
    """Parts of blocks set aside until `ends`, and what settling may owe beyond them."""

    id: str
    credit: str
    slices: Slices
    feature: str | None
    ends: int
    late: str
    promised: int = 0
    open: bool = True


@attrs.define
class Customer:
    """All that is known about one customer; nothing is ever thrown away.

    Of each purpose `owing` says which charges owe how much, the oldest first; `repaid` says of each
    charge which blocks paid off how much of its debt.
    """

    last: int = -FOREVER
    batches: int = 0
    blocks: dict[str, Block] = attrs.Factory(dict)
    holds: dict[str, Hold] = attrs.Factory(dict)
    debts: dict[tuple[str, str | None], int] = attrs.Factory(dict)
    owing: dict[tuple[str, str | None], list[tuple[Any, int]]] = attrs.Factory(dict)
    repaid: dict[Any, list[tuple[str, int]]] = attrs.Factory(dict)
    answers: dict[Any, tuple[Answer, Answer]] = attrs.Factory(dict)
    taken: dict[Any, list[Line]] = attrs.Factory(dict)
    refunded: dict[Any, int] = attrs.Factory(dict)
    moves: list[tuple[Any, ...]] = attrs.Factory(list)
    used: dict[tuple[str, int], int] = attrs.Factory(dict)
    counted: dict[str, tuple[tuple[str, int], int]] = attrs.Factory(dict)


@attrs.define
class Charge:
    """Who would pay for something, and what nobody could."""

    credit: str
    units: int
    feature: str | None
    slices: Slices
    owed: int
    short: int
    before: int
    passes: bool
    depletion: str
    used: dict[str, int] = attrs.Factory(dict)


def window(metered: Metered, at: int) -> int:
    """Return the start of the usage window an instant lies in; what is never reset has one."""
    return 0 if metered.every is None else at // metered.every


def accounts(units: int) -> dict[str, int]:
    """Return the accounts of a fresh block."""
    return {"free": units, "held": 0, "used": 0, "expired": 0, "voided": 0}


def burns(block: Block) -> tuple[Any, ...]:
    """Return where a block stands in the default burn order; its number and id end every tie."""
    unrestricted = block.features is None
    return (block.priority, block.ends, block.paid, block.unit_cost, unrestricted, block.begins, block.number, block.id)


def live_at(block: Block, at: int) -> bool:
    """Tell whether a block may be drawn on at an instant; its end is exclusive."""
    return block.begins <= at < block.ends and not block.void


def pays(block: Block, feature: str | None) -> bool:
    """Tell whether a block may pay for a feature."""
    return block.features is None or feature in block.features


def usable(block: Block, credit: str, feature: str | None, at: int) -> bool:
    """Tell whether a block can pay for something at an instant."""
    return block.credit == credit and block.free > 0 and live_at(block, at) and pays(block, feature)


def available(state: Customer, credit: str, feature: str | None, at: int) -> int:
    """Return what a charge for the feature could take."""
    return sum(block.free for block in state.blocks.values() if usable(block, credit, feature, at))


def insufficient(units: int, before: int) -> Answer:
    """Return the denial for want of credits."""
    return {"written": False, "allowed": False, "code": "insufficient_credits", "requested": units, "limit": before,
            "used": 0, "overage": units - min(units, before)}  # fmt: skip


def allowed(
    units: int,
    before: int | None,
    taken: int | None,
    overage: int,
    burned: dict[str, int],
    after: int | None,
    *,
    booked: int,
    late: bool = False,
) -> Answer:
    """Return the answer that something was booked."""
    return {"written": True, "allowed": True, "code": "ok", "requested": units, "limit": before, "used": taken,
            "overage": overage, "burned": burned, "balance_after": after, "booked": booked, "late": late}  # fmt: skip
