"""What every rule of the model rests on: ledger time, idempotency, moves between accounts, charges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from fractions import Fraction
from typing import TypeAlias

from .modelled import (
    MOST,
    Answer,
    Block,
    Charge,
    Customer,
    Kind,
    Metered,
    Refused,
    Slices,
    allowed,
    available,
    burns,
    usable,
)

Decide: TypeAlias = Callable[[Customer, int], Answer]


class Rules:
    """Customers by id, and how anything at all comes to be booked for one."""

    def __init__(self, kinds: Mapping[str, Kind], features: Mapping[str, Metered | None]) -> None:
        self.kinds, self.features, self.clock = kinds, features, 0
        self.customers: dict[str, Customer] = {}

    # Time

    def now(self, customer: str) -> int:
        """Return ledger time: the clock, but never before the last recorded instant."""
        return max(self.clock, self.customers.get(customer, Customer()).last)

    def state(self, customer: str, at: int | None = None) -> Customer:
        """Return a copy of the customer with everything booked that fell due up to now."""
        at = self.now(customer) if at is None else at
        state = deepcopy(self.customers.get(customer, Customer()))
        known = [block.begins for block in state.blocks.values()] + [block.ends for block in state.blocks.values()]
        known += [hold.ends for hold in state.holds.values()]
        for instant in sorted({edge for edge in known if state.last < edge <= at}):
            self._fall_due(state, instant)
        return state

    def _fall_due(self, state: Customer, at: int) -> None:
        for block in state.blocks.values():
            if block.ends == at and block.free:
                self._move(state, at, "expired", block.credit, block.free, block)
        lapsed = [hold for hold in state.holds.values() if hold.open and hold.ends == at]
        for hold in sorted(lapsed, key=lambda hold: hold.id):
            self._give_back(state, hold.slices, at)
            hold.open = False
        self._repay(state, state.blocks.values(), at)

    def write(self, customer: str, key: object, request: Answer, decide: Decide) -> Answer:
        """Do one operation under its key: the first answer again, a conflict, or a new answer with its effect."""
        booked = self.customers.get(customer, Customer())
        if key in booked.answers:
            first, answer = booked.answers[key]
            for name in ("verb", *sorted(first.keys() | request.keys())):
                if first.get(name) != request.get(name):
                    raise Refused("IdempotencyConflict", name)
            return {**answer, "replayed": True}
        at, state = self.now(customer), self.state(customer)
        answer = decide(state, at)
        if answer["written"]:
            state.batches, state.last = state.batches + 1, at
            state.answers[key] = (request, answer)
            state.moves = [move if move[0] else (state.batches, *move[1:]) for move in state.moves]
            self.customers[customer] = state
        return {**answer, "replayed": False}

    def _asked(self, verb: str, credit: str, units: int, **more: object) -> Answer:
        """Return a request, the amount as it was asked for: a whole number of credits, or part of one."""
        scale = self.kinds[credit].scale if credit in self.kinds else 0
        return {"verb": verb, "credit": credit, "amount": Fraction(units, 10**scale), **more}

    # What moves

    def _move(self, state: Customer, at: int, kind: str, credit: str, units: int, block: Block | None = None) -> None:
        """Add a line: where units come from and where they go, each account of a block by name."""
        lines = {
            "burned": ("free", "used"), "held": ("free", "held"), "settled": ("held", "used"),
            "released": ("held", "free"), "refunded": ("used", "free"), "expired": ("free", "expired"),
            "voided": ("free", "voided"), "repaid": ("free", "used"),
        }  # fmt: skip
        if block is not None and kind in lines:
            source, target = lines[kind]
            block.accounts[source] -= units
            block.accounts[target] += units
            if min(block.accounts.values()) < 0:
                raise AssertionError(f"the model itself is wrong: {kind} left {block}")
        state.moves.append((0, at, kind, credit, units, block.id if block is not None else ""))

    def _come_back(self, state: Customer, at: int, kind: str, block: Block, units: int) -> None:
        self._move(state, at, kind, block.credit, units, block)
        if block.void:
            self._move(state, at, "voided", block.credit, units, block)
        elif block.ends <= at:
            self._move(state, at, "expired", block.credit, units, block)

    def _give_back(self, state: Customer, slices: Slices, at: int) -> None:
        for block, units in slices:
            self._come_back(state, at, "released", state.blocks[block], units)

    def _repay(self, state: Customer, blocks: Iterable[Block], at: int) -> None:
        """Let blocks pay what is owed: the first to burn first, the oldest debt first, each what it could have paid."""
        for block in sorted(blocks, key=burns):
            for (credit, feature), owed in list(state.debts.items()):
                if block.settles and usable(block, credit, feature, at) and owed:
                    paid = min(owed, block.free)
                    self._move(state, at, "repaid", credit, paid, block)
                    self._owe(state, credit, feature, -paid)
                    for key, part in self._less_owing(state, credit, feature, paid):
                        state.repaid.setdefault(key, []).append((block.id, part))

    def _owe(self, state: Customer, credit: str, feature: str | None, units: int) -> None:
        left = state.debts.get((credit, feature), 0) + units
        state.debts[credit, feature] = left
        if not left:
            del state.debts[credit, feature]

    def _less_owing(
        self, state: Customer, credit: str, feature: str | None, units: int, first: object = None
    ) -> list[tuple[object, int]]:
        """Take units off what charges owe, of one of them `first`, then of the oldest; return whose and how much."""
        less, left = list[tuple[object, int]](), list[tuple[object, int]]()
        charges = state.owing.get((credit, feature), [])
        for key, owed in sorted(charges, key=lambda charge: charge[0] != first):
            part = min(owed, units)
            units -= part
            less += [(key, part)] if part else []
            left += [(key, owed - part)] if owed > part else []
        keys = [key for key, _ in charges]
        state.owing[credit, feature] = sorted(left, key=lambda charge: keys.index(charge[0]))
        return less

    def _unpaid(self, state: Customer, key: object, units: int) -> list[tuple[str, int]]:
        """Take units out of what blocks paid off a charge, the last first; return which and how much."""
        out: list[tuple[str, int]] = []
        for block, paid in reversed(state.repaid.get(key, [])):
            out += [(block, min(paid, units))] if units else []
            units -= min(paid, units)
        kept = sum(paid for _, paid in state.repaid.get(key, [])) - sum(part for _, part in out)
        parts = state.repaid.pop(key, [])
        for block, paid in parts:
            part = min(paid, kept)
            state.repaid.setdefault(key, []).extend([(block, part)] if part else [])
            kept -= part
        return out

    # Charges

    def _unknown(self, credit: str, feature: str | None) -> Answer | None:
        if credit not in self.kinds:
            return {"written": False, "allowed": False, "code": "unknown_credit"}
        if feature is not None and feature not in self.features:
            return {"written": False, "allowed": False, "code": "unknown_feature"}
        return None

    def _charge(self, state: Customer, at: int, credit: str, units: int, feature: str | None, depletion: str) -> Charge:
        """Return who would pay: blocks in burn order, then, where soft, debt down to the floor.

        What open holds have promised to owe is as good as owed.
        """
        if units > MOST:
            raise Refused("AmountError")
        blocks = [block for block in state.blocks.values() if usable(block, credit, feature, at)]
        slices: Slices = []
        left = units
        for block in sorted(blocks, key=burns):
            part = min(block.free, left)
            slices, left = slices + ([(block.id, part)] if part else []), left - part
        floor = self.kinds[credit].floor
        owing = sum(units for (owed, _), units in state.debts.items() if owed == credit)
        owing += sum(hold.promised for hold in state.holds.values() if hold.open and hold.credit == credit)
        room = (MOST if floor is None else floor) - owing
        owed = min(left, max(0, room)) if depletion == "soft" else 0
        passes = left == owed or (depletion == "partial" and bool(slices))
        before = sum(block.free for block in blocks)
        return Charge(credit, units, feature, slices, owed, left - owed, before, passes, depletion)

    def _pay(self, state: Customer, at: int, key: object, charge: Charge) -> None:
        for block, part in charge.slices:
            self._move(state, at, "burned", charge.credit, part, state.blocks[block])
        if charge.owed:
            self._move(state, at, "overdrawn", charge.credit, charge.owed)
            self._owe(state, charge.credit, charge.feature, charge.owed)
            state.owing.setdefault((charge.credit, charge.feature), []).append((key, charge.owed))

    def _paid(self, state: Customer, at: int, key: object, charge: Charge, *, late: bool = False) -> Answer:
        parts = [*charge.used.items(), *charge.slices]
        lines = [(block, part, charge.credit, charge.feature) for block, part in parts]
        lines += [("", charge.owed, charge.credit, charge.feature)] if charge.owed else []
        state.taken[key] = lines
        burned = {block: sum(part for name, part in parts if name == block) for block, _ in parts}
        after = available(state, charge.credit, charge.feature, at)
        taken, overage = sum(burned.values()) + charge.owed, charge.owed + charge.short
        answer = allowed(charge.units, charge.before, taken, overage, burned, after, booked=taken, late=late)
        if charge.short and not (charge.depletion == "partial" and burned):
            answer |= {"allowed": False, "code": "insufficient_credits"}
        return answer

    def _bounded(self, state: Customer, credit: str) -> None:
        blocks = [block for block in state.blocks.values() if block.credit == credit]
        if sum(block.free + block.held for block in blocks) > MOST:
            raise Refused("AmountError")
