"""The rules of credits and of usage in plain Python: dicts and ints, whole seconds, smallest units.

Written from the rules as the documentation gives them, and not from the code it is compared with.
Slow and obvious on purpose: every operation copies the customer, plays what fell due up to now, one
instant after the other, does what it does, and keeps the copy only where something is written.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import attrs

from .modelled import (
    FOREVER,
    MOST,
    Answer,
    Block,
    Customer,
    Hold,
    Line,
    Metered,
    Refused,
    Slices,
    accounts,
    allowed,
    available,
    burns,
    insufficient,
    live_at,
    pays,
    window,
)
from .rules import Rules


class Model(Rules):
    """What a customer's credits and usage come to; `clock` is what the wall clock shows, and may go back."""

    # Credits

    def grant(
        self,
        customer: str,
        credit: str,
        units: int,
        *,
        key: str,
        ends: int | None = None,
        begins: int | None = None,
        paid: bool = True,
        priority: int = 50,
        cost: int | None = None,
        features: tuple[str, ...] | None = None,
        settles: bool = True,
    ) -> Answer:
        """Grant a block of credits, which first repays what it could have paid."""
        request = self._asked("grant_credits", credit, units, features=features, priority=priority, category=paid)
        request |= {"expires_at": ends, "effective_at": begins, "cost_basis": cost, "settle_debt": settles}

        def decide(state: Customer, at: int) -> Answer:
            if credit not in self.kinds:
                raise Refused("UnknownCredit")
            if not 0 < units <= MOST:
                raise Refused("AmountError")
            first = at if begins is None else begins
            if ends is not None and (ends <= first or ends <= at):
                raise Refused("ValueError")
            block = Block(key, credit, units, accounts(units), paid, priority, Fraction(cost or 0, units), first,
                          FOREVER if ends is None else ends, features, settles, state.batches + 1)  # fmt: skip
            state.blocks[key] = block
            self._move(state, at, "granted", credit, units, block)
            self._bounded(state, credit)
            self._repay(state, [block], at)
            return {"written": True, "block": (key, units, block.free, block.held)}

        return self.write(customer, key, request, decide)

    def consume(
        self,
        customer: str,
        credit: str,
        units: int,
        *,
        key: str,
        feature: str | None = None,
        depletion: str | None = None,
    ) -> Answer:
        """Spend credits, as far as the credit's depletion or the call's allows."""
        request = self._asked("consume_credits", credit, units, feature=feature, depletion=depletion)

        def decide(state: Customer, at: int) -> Answer:
            denied = self._unknown(credit, feature)
            if denied:
                return denied
            charge = self._charge(state, at, credit, units, feature, depletion or self.kinds[credit].depletion)
            if not charge.passes:
                return insufficient(units, charge.before)
            self._pay(state, at, key, charge)
            return self._paid(state, at, key, charge)

        return self.write(customer, key, request, decide)

    def reserve(
        self,
        customer: str,
        credit: str,
        units: int,
        *,
        key: str,
        ttl: int | None = 3600,
        feature: str | None = None,
        late: str = "charge",
    ) -> Answer:
        """Pin parts of blocks until the hold is closed or lapses."""
        request = self._asked("reserve_credits", credit, units, feature=feature, ttl=ttl, late=late)

        def decide(state: Customer, at: int) -> Answer:
            denied = self._unknown(credit, feature)
            if denied:
                return denied
            charge = self._charge(state, at, credit, units, feature, self.kinds[credit].depletion)
            if not charge.passes:
                return insufficient(units, charge.before)
            for block, part in charge.slices:
                self._move(state, at, "held", credit, part, state.blocks[block])
            ends = FOREVER if ttl is None else at + ttl
            state.holds[key] = Hold(key, credit, charge.slices, feature, ends, late, charge.owed)
            held = sum(part for _, part in charge.slices)
            after = available(state, credit, feature, at)
            return allowed(units, charge.before, held, units - held, {}, after, booked=held)

        return self.write(customer, key, request, decide)

    def settle(self, customer: str, hold: str, units: int) -> Answer:
        """Close a hold by what was really used of it, or beyond it."""
        request = {"verb": "settle", "amount": units}
        return self._close(customer, hold, request, lambda state, at, held: self._settle(state, at, held, units))

    def release(self, customer: str, hold: str) -> Answer:
        """Close a hold by giving back all it pinned."""
        return self._close(customer, hold, {"verb": "release"}, self._release)

    def _close(
        self, customer: str, key: str, request: Answer, close: Callable[[Customer, int, Hold], Answer]
    ) -> Answer:
        def decide(state: Customer, at: int) -> Answer:
            hold = state.holds.get(key)
            if hold is None:
                raise Refused("UnknownHold")
            answer = close(state, at, hold)
            hold.open = False
            return answer

        first = self.customers.get(customer, Customer()).answers.get(("close", key))
        if first is not None and first[0] != request:
            raise Refused("HoldClosed", {"settle": "settled", "release": "released"}[first[0]["verb"]])
        return self.write(customer, ("close", key), request, decide)

    def _settle(self, state: Customer, at: int, hold: Hold, units: int) -> Answer:
        late = not hold.open
        if late and hold.late == "refuse":
            raise Refused("HoldExpired")
        if units > MOST:
            raise Refused("AmountError")
        pinned, left = 0, units
        used: dict[str, int] = {}
        rest: Slices = []
        for block, held in [] if late else hold.slices:
            taken = min(held, left)
            pinned, left = pinned + held, left - taken
            if taken:
                self._move(state, at, "settled", hold.credit, taken, state.blocks[block])
                used[block] = taken
            rest += [(block, held - taken)] if held > taken else []
        before = available(state, hold.credit, hold.feature, at) + pinned
        self._give_back(state, rest, at)
        hold.open = False  # what it promised is its own to owe
        charge = self._charge(state, at, hold.credit, left, hold.feature, self.kinds[hold.credit].depletion)
        charge = attrs.evolve(charge, before=before, units=units, used=used)
        self._pay(state, at, ("close", hold.id), charge)
        self._repay(state, [state.blocks[block] for block, _ in rest], at)
        return self._paid(state, at, ("close", hold.id), charge, late=late)

    def _release(self, state: Customer, at: int, hold: Hold) -> Answer:
        if hold.open:
            self._give_back(state, hold.slices, at)
            self._repay(state, [state.blocks[block] for block, _ in hold.slices], at)
        return allowed(0, None, None, 0, {}, None, booked=0)

    def refund(self, customer: str, named: str, units: int | None = None, *, key: str) -> Answer:
        """Give back of a batch, or of the settling of a hold: the last part first, never more than was taken."""

        def decide(state: Customer, at: int) -> Answer:
            of: object = ("close", named) if ("close", named) in state.taken else named
            lines = state.taken.get(of)
            if not lines:
                return self._uncount(state, at, named, units)
            credit, before = lines[0][2], state.refunded.get(of, 0)
            left = sum(line[1] for line in lines) - before
            asked = left if units is None else units
            if not 0 < asked <= left:
                raise Refused("AmountError")
            state.refunded[of] = before + asked
            back = self._return(state, at, key, of, lines, before, asked)
            self._bounded(state, credit)
            self._repay(state, [state.blocks[block] for block in back], at)
            burned = {block: -part for block, part in back.items()}
            return allowed(asked, None, None, 0, burned, available(state, credit, None, at), booked=asked)

        return self.write(customer, key, self._asked_back(customer, named, units), decide)

    def _asked_back(self, customer: str, named: str, units: int | None) -> Answer:
        """Return what is asked for: an amount, since the credit of another batch may have another scale."""
        state = self.state(customer)
        lines = state.taken.get(named, ())
        credit = state.holds[named].credit if named in state.holds else lines[0][2] if lines else ""
        scale = self.kinds[credit].scale if credit in self.kinds else 0
        return {
            "verb": "refund",
            "batch_key": named,
            "amount": None if units is None else Fraction(units, 10**scale),
        }

    def _return(
        self, state: Customer, at: int, key: str, of: object, lines: list[Line], skip: int, left: int
    ) -> dict[str, int]:
        back: dict[str, int] = {}
        for where, units, credit, feature in reversed(lines):
            skipped = min(skip, units)
            part = min(left, units - skipped)
            skip, left = skip - skipped, left - part
            if where and part:
                back[where] = back.get(where, 0) + part
                self._come_back(state, at, "refunded", state.blocks[where], part)
            elif part:
                owed = min(part, state.debts.get((credit, feature), 0))
                if owed:
                    self._move(state, at, "forgiven", credit, owed)
                    self._owe(state, credit, feature, -owed)
                    for other, less in self._less_owing(state, credit, feature, owed, first=of):
                        stood_in = self._unpaid(state, of, less) if other != of else []
                        state.repaid.setdefault(other, []).extend(stood_in)
                if part > owed:
                    back[key] = part - owed
                    self._again(state, at, key, credit, self._unpaid(state, of, part - owed))
        return back

    def _again(self, state: Customer, at: int, key: str, credit: str, repaid: list[tuple[str, int]]) -> None:
        """Open a block for what blocks had repaid, for no more and no longer than any of them that is not over."""
        units = sum(part for _, part in repaid)
        over = [block for block, _ in repaid if state.blocks[block].void or state.blocks[block].ends <= at]
        bound = [state.blocks[block] for block, _ in repaid if block not in over] or [
            state.blocks[block] for block in over
        ]
        limits = [set(block.features) for block in bound if block.features is not None]
        features = tuple(set.intersection(*limits)) if limits else None
        ends = min(block.ends for block in bound)
        block = Block(
            key, credit, units, accounts(units), False, 50, Fraction(0), at, ends, features, True, state.batches + 1
        )
        state.blocks[key] = block
        self._move(state, at, "granted", credit, units, block)
        lost = sum(part for name, part in repaid if name in over)
        if lost:
            self._move(state, at, "expired", credit, lost, block)

    def void(self, customer: str, block_id: str) -> Answer:
        """Take back what is free of a block, and whatever would come back to it."""

        def decide(state: Customer, at: int) -> Answer:
            block = state.blocks.get(block_id)
            if block is None:
                raise Refused("UnknownBlock")
            block.void = True
            self._move(state, at, "voided", block.credit, block.free, block)
            return {"written": True, "block": (block_id, block.units, 0, block.held)}

        return self.write(customer, ("void", block_id), {"verb": "void_block"}, decide)

    def sweep(self, customer: str) -> None:
        """Book what fell due, if anything did: a move, or the end of a hold on nothing."""
        booked = self.customers.get(customer, Customer())

        def decide(state: Customer, _: int) -> Answer:
            ended = [hold.open for hold in state.holds.values()] != [hold.open for hold in booked.holds.values()]
            return {"written": ended or len(state.moves) > len(booked.moves)}

        self.write(customer, object(), {"verb": "sweep"}, decide)

    def balance(
        self, customer: str, credit: str, feature: str | None = None, at: int | None = None
    ) -> tuple[int, int, int, int, list[tuple[str, int, int]]]:
        """Return what is available, held, owed and promised, and each live block's free and held units as they burn."""
        at = self.now(customer) if at is None else at
        state = self.state(customer, at)
        mine = sorted((block for block in state.blocks.values() if block.credit == credit), key=burns)
        live = [(block.id, block.free, block.held) for block in mine if live_at(block, at) and block.free + block.held]
        held = sum(block.held for block in mine if pays(block, feature))
        debt = sum(owed for (owing, _), owed in state.debts.items() if owing == credit)
        promised = sum(hold.promised for hold in state.holds.values() if hold.open and hold.credit == credit)
        return available(state, credit, feature, at), held, debt, promised, live

    # Usage

    def use(self, customer: str, feature: str, units: int, *, key: str, by: str = "consume") -> Answer:
        """Count usage in its window: "consume" obeys the limit, "record" does not, "free" counts down."""

        def decide(state: Customer, at: int) -> Answer:
            if feature not in self.features:
                return {"written": False, "allowed": False, "code": "unknown_feature"}
            metered = self.features[feature]
            if metered is None:
                raise Refused("ValueError")
            return self._count(state, at, key, feature, metered, units, by)

        return self.write(customer, key, {"verb": by, "feature": feature, "amount": Fraction(units)}, decide)

    def used(self, customer: str, feature: str) -> int:
        """Return what is used of a metered feature in the window of now."""
        metered, state = self.features[feature], self.customers.get(customer, Customer())
        return 0 if metered is None else state.used.get((feature, window(metered, self.now(customer))), 0)

    def _count(self, state: Customer, at: int, key: str, feature: str, metered: Metered, units: int, by: str) -> Answer:
        counter = (feature, window(metered, at))
        before = state.used.get(counter, 0)
        over = max(0, before + units - max(metered.limit, before))
        if by == "consume" and over:
            return {"written": False, "allowed": False, "code": "limit_reached", "requested": units,
                    "limit": metered.limit, "used": before, "overage": over}  # fmt: skip
        after = before - units if by == "free" else before + units
        if not 0 <= after <= MOST:
            raise Refused("AmountError")
        state.used[counter] = after
        if units and by != "free":
            state.counted[key] = (counter, units)
        self._move(state, at, {"consume": "used", "record": "recorded", "free": "freed"}[by], feature, after - before)
        overage = over if by == "record" else 0
        return allowed(units, metered.limit, after, overage, {}, None, booked=units)

    def _uncount(self, state: Customer, at: int, named: str, units: int | None) -> Answer:
        """Give usage back in the window where it was counted, as far as it was not given back otherwise."""
        if named not in state.counted:
            raise Refused("LookupError")
        counter, counted = state.counted[named]
        left = counted - state.refunded.get(named, 0)
        asked = left if units is None else units
        if not 0 < asked <= left:
            raise Refused("AmountError")
        state.refunded[named] = counted - left + asked
        back = min(asked, state.used[counter])
        state.used[counter] -= back
        self._move(state, at, "usage_refunded", counter[0], -back)
        return allowed(asked, None, None, 0, {}, None, booked=asked)
