"""The rules of credits in plain Python: dicts and ints, whole seconds, smallest units.

Written from DESIGN.md section 7 and the list of invariants, and not from the code it is compared with.
Slow and obvious on purpose: every operation copies the customer, plays what fell due up to now, one
instant after the other, does what it does, and keeps the copy only where something is written.
"""

from copy import deepcopy
from dataclasses import dataclass, field
from fractions import Fraction
from types import SimpleNamespace

MOST = 2**63 - 1
FOREVER = 10**12


class Refused(Exception):
    """An error of the interface; `kind` is the name of its type, `said` what distinguishes it."""

    def __init__(self, kind, said=""):
        super().__init__(kind, said)
        self.kind, self.said = kind, said


@dataclass
class Kind:
    """A credit of the catalog."""

    scale: int = 0
    depletion: str = "hard"
    floor: int | None = None


@dataclass
class Customer:
    """All that is known about one customer; nothing is ever thrown away."""

    last: int = -FOREVER
    batches: int = 0
    blocks: dict = field(default_factory=dict)
    holds: dict = field(default_factory=dict)
    debts: dict = field(default_factory=dict)
    answers: dict = field(default_factory=dict)
    taken: dict = field(default_factory=dict)
    refunded: dict = field(default_factory=dict)
    moves: list = field(default_factory=list)


class Model:
    """Customers by id; `clock` is what the wall clock shows, and may go back."""

    def __init__(self, kinds, features):
        self.kinds, self.features, self.clock, self.customers = kinds, features, 0, {}

    # Time

    def now(self, customer):
        """Ledger time: the clock, but never before the last recorded instant."""
        return max(self.clock, self.customers.get(customer, Customer()).last)

    def state(self, customer, at=None):
        """A copy of the customer with everything booked that fell due up to now."""
        at = self.now(customer) if at is None else at
        state = deepcopy(self.customers.get(customer, Customer()))
        known = [block.begins for block in state.blocks.values()] + [block.ends for block in state.blocks.values()]
        known += [hold.ends for hold in state.holds.values()]
        for instant in sorted({edge for edge in known if state.last < edge <= at}):
            self._fall_due(state, instant)
        return state

    def _fall_due(self, state, at):
        for block in state.blocks.values():
            if block.ends == at and block.free:
                self._move(state, at, "expired", block.credit, block.free, block)
        lapsed = [hold for hold in state.holds.values() if hold.open and hold.ends == at]
        for hold in sorted(lapsed, key=lambda hold: hold.id):
            self._give_back(state, hold, hold.slices, at)
            hold.open = False
        self._repay(state, state.blocks.values(), at)

    def write(self, customer, key, request, decide):
        """One operation under its key: the first answer again, a conflict, or a new answer with its effect."""
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

    def _asked(self, verb, credit, units, **more):
        """A request, the amount as it was asked for: a whole number of credits, or part of one."""
        scale = self.kinds[credit].scale if credit in self.kinds else 0
        return {"verb": verb, "credit": credit, "amount": Fraction(units, 10**scale), **more}

    # What moves

    def _move(self, state, at, kind, credit, units, block=None):
        """One line: where units come from and where they go, each account of a block by name."""
        lines = {
            "burned": ("free", "used"), "held": ("free", "held"), "settled": ("held", "used"),
            "released": ("held", "free"), "refunded": ("used", "free"), "expired": ("free", "expired"),
            "voided": ("free", "voided"), "repaid": ("free", "used"),
        }  # fmt: skip
        if block is not None and kind in lines:
            source, target = lines[kind]
            block.accounts[source] -= units
            block.accounts[target] += units
            assert min(block.accounts.values()) >= 0, (kind, block)
        state.moves.append((0, at, kind, credit, units, block.id if block is not None else ""))

    def _come_back(self, state, at, kind, block, units):
        self._move(state, at, kind, block.credit, units, block)
        if block.void:
            self._move(state, at, "voided", block.credit, units, block)
        elif block.ends <= at:
            self._move(state, at, "expired", block.credit, units, block)

    def _give_back(self, state, hold, slices, at):
        for block, units in slices:
            self._come_back(state, at, "released", state.blocks[block], units)

    def _repay(self, state, blocks, at):
        """Blocks pay what is owed: the first to burn first, the oldest debt first, each what it could have paid."""
        for block in sorted(blocks, key=burns):
            for (credit, feature), owed in list(state.debts.items()):
                if block.settles and usable(block, credit, feature, at) and owed:
                    paid = min(owed, block.free)
                    self._move(state, at, "repaid", credit, paid, block)
                    self._owe(state, credit, feature, -paid)

    def _owe(self, state, credit, feature, units):
        left = state.debts.get((credit, feature), 0) + units
        state.debts[credit, feature] = left
        if not left:
            del state.debts[credit, feature]

    # Verbs

    def grant(self, customer, credit, units, *, key, ends=None, begins=None, paid=True, priority=50, cost=None,
              features=None, settles=True):  # fmt: skip
        request = self._asked("grant_credits", credit, units, features=features, priority=priority, category=paid)
        request |= {"expires_at": ends, "effective_at": begins, "cost_basis": cost, "settle_debt": settles}

        def decide(state, at):
            if credit not in self.kinds:
                raise Refused("UnknownCredit")
            if not 0 < units <= MOST:
                raise Refused("AmountError")
            first = at if begins is None else begins
            if ends is not None and (ends <= first or ends <= at):
                raise Refused("ValueError")
            accounts = {"free": units, "held": 0, "used": 0, "expired": 0, "voided": 0}
            block = Block(key, credit, units, accounts, paid, priority, Fraction(cost or 0, units), first,
                          FOREVER if ends is None else ends, features, settles, state.batches + 1)  # fmt: skip
            state.blocks[key] = block
            self._move(state, at, "granted", credit, units, block)
            self._bounded(state, credit)
            self._repay(state, [block], at)
            return {"written": True, "block": (key, units, block.free, block.held)}

        return self.write(customer, key, request, decide)

    def consume(self, customer, credit, units, *, key, feature=None, depletion=None):
        request = self._asked("consume_credits", credit, units, feature=feature, depletion=depletion)

        def decide(state, at):
            denied = self._unknown(credit, feature)
            if denied:
                return denied
            charge = self._charge(state, at, credit, units, feature, depletion or self.kinds[credit].depletion)
            if not charge.passes:
                return insufficient(units, charge.before)
            self._pay(state, at, charge)
            return self._paid(state, at, key, charge)

        return self.write(customer, key, request, decide)

    def reserve(self, customer, credit, units, *, key, ttl=3600, feature=None, late="charge"):
        request = self._asked("reserve_credits", credit, units, feature=feature, ttl=ttl, late=late)

        def decide(state, at):
            denied = self._unknown(credit, feature)
            if denied:
                return denied
            charge = self._charge(state, at, credit, units, feature, self.kinds[credit].depletion)
            if not charge.passes:
                return insufficient(units, charge.before)
            for block, part in charge.slices:
                self._move(state, at, "held", credit, part, state.blocks[block])
            ends = FOREVER if ttl is None else at + ttl
            state.holds[key] = Hold(key, credit, charge.slices, feature, ends, late)
            held = sum(part for _, part in charge.slices)
            after = available(state, credit, feature, at)
            return allowed(units, charge.before, held, units - held, {}, after, booked=held)

        return self.write(customer, key, request, decide)

    def settle(self, customer, hold, units):
        request = {"verb": "settle", "amount": units}
        return self._close(customer, hold, request, lambda *case: self._settle(*case, units))

    def release(self, customer, hold):
        return self._close(customer, hold, {"verb": "release"}, self._release)

    def _close(self, customer, key, request, close):
        def decide(state, at):
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

    def _settle(self, state, at, hold, units):
        late = not hold.open
        if late and hold.late == "refuse":
            raise Refused("HoldExpired")
        if units > MOST:
            raise Refused("AmountError")
        pinned, used, rest, left = 0, {}, [], units
        for block, held in () if late else hold.slices:
            taken = min(held, left)
            pinned, left = pinned + held, left - taken
            if taken:
                self._move(state, at, "settled", hold.credit, taken, state.blocks[block])
                used[block] = taken
            rest += [(block, held - taken)] if held > taken else []
        before = available(state, hold.credit, hold.feature, at) + pinned
        self._give_back(state, hold, rest, at)
        charge = self._charge(state, at, hold.credit, left, hold.feature, self.kinds[hold.credit].depletion)
        charge = SimpleNamespace(**vars(charge) | {"before": before, "units": units, "used": used})
        self._pay(state, at, charge)
        self._repay(state, [state.blocks[block] for block, _ in rest], at)
        return self._paid(state, at, ("close", hold.id), charge, late=late)

    def _release(self, state, at, hold):
        if hold.open:
            self._give_back(state, hold, hold.slices, at)
            self._repay(state, [state.blocks[block] for block, _ in hold.slices], at)
        return allowed(0, None, None, 0, {}, None, booked=0)

    def refund(self, customer, named, units=None, *, key):
        """Of a batch, or of the settling of a hold: the last part first, never more than was taken."""

        def decide(state, at):
            of = ("close", named) if ("close", named) in state.taken else named
            lines = state.taken.get(of)
            if not lines:
                raise Refused("LookupError")
            credit, before = lines[0][2], state.refunded.get(of, 0)
            left = sum(line[1] for line in lines) - before
            asked = left if units is None else units
            if not 0 < asked <= left:
                raise Refused("AmountError")
            state.refunded[of] = before + asked
            back = self._return(state, at, key, lines, before, asked)
            self._bounded(state, credit)
            self._repay(state, [state.blocks[block] for block in back], at)
            burned = {block: -part for block, part in back.items()}
            return allowed(asked, None, None, 0, burned, available(state, credit, None, at), booked=asked)

        return self.write(customer, key, {"verb": "refund", "batch_key": named, "amount": units}, decide)

    def _return(self, state, at, key, lines, skip, left):
        back = {}
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
                if part > owed:
                    accounts = {"free": part - owed, "held": 0, "used": 0, "expired": 0, "voided": 0}
                    block = Block(key, credit, part - owed, accounts, False, 50, Fraction(0), at, FOREVER, None, True,
                                  state.batches + 1)  # fmt: skip
                    state.blocks[key] = block
                    back[key] = part - owed
                    self._move(state, at, "granted", credit, part - owed, block)
        return back

    def void(self, customer, block_id):
        def decide(state, at):
            block = state.blocks.get(block_id)
            if block is None:
                raise Refused("UnknownBlock")
            block.void = True
            self._move(state, at, "voided", block.credit, block.free, block)
            return {"written": True, "block": (block_id, block.units, 0, block.held)}

        return self.write(customer, ("void", block_id), {"verb": "void_block"}, decide)

    def sweep(self, customer):
        """Book what fell due, if anything did: a move, or the end of a hold on nothing."""
        booked = self.customers.get(customer, Customer())

        def decide(state, at):
            ended = [hold.open for hold in state.holds.values()] != [hold.open for hold in booked.holds.values()]
            return {"written": ended or len(state.moves) > len(booked.moves)}

        self.write(customer, object(), {"verb": "sweep"}, decide)

    def balance(self, customer, credit, feature=None, at=None):
        """Available, held, debt, and what is free and held of each live block in the order they burn."""
        at = self.now(customer) if at is None else at
        state = self.state(customer, at)
        mine = sorted((block for block in state.blocks.values() if block.credit == credit), key=burns)
        live = [(block.id, block.free, block.held) for block in mine if live_at(block, at) and block.free + block.held]
        held = sum(block.held for block in mine if pays(block, feature))
        debt = sum(owed for (owing, _), owed in state.debts.items() if owing == credit)
        return available(state, credit, feature, at), held, debt, live

    # Charges

    def _unknown(self, credit, feature):
        if credit not in self.kinds:
            return {"written": False, "allowed": False, "code": "unknown_credit"}
        if feature is not None and feature not in self.features:
            return {"written": False, "allowed": False, "code": "unknown_feature"}
        return None

    def _charge(self, state, at, credit, units, feature, depletion):
        """Who would pay: blocks in burn order, then, where soft, debt down to the floor."""
        if units > MOST:
            raise Refused("AmountError")
        blocks = [block for block in state.blocks.values() if usable(block, credit, feature, at)]
        slices, left = [], units
        for block in sorted(blocks, key=burns):
            part = min(block.free, left)
            slices, left = slices + ([(block.id, part)] if part else []), left - part
        floor = MOST if self.kinds[credit].floor is None else self.kinds[credit].floor
        room = floor - sum(owed for (owing, _), owed in state.debts.items() if owing == credit)
        owed = min(left, max(0, room)) if depletion == "soft" else 0
        passes = left == owed or (depletion == "partial" and bool(slices))
        before = sum(block.free for block in blocks)
        return SimpleNamespace(credit=credit, units=units, feature=feature, slices=slices, owed=owed, short=left - owed,
                               before=before, passes=passes, depletion=depletion, used={})  # fmt: skip

    def _pay(self, state, at, charge):
        for block, part in charge.slices:
            self._move(state, at, "burned", charge.credit, part, state.blocks[block])
        if charge.owed:
            self._move(state, at, "overdrawn", charge.credit, charge.owed)
            self._owe(state, charge.credit, charge.feature, charge.owed)

    def _paid(self, state, at, key, charge, *, late=False):
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

    def _bounded(self, state, credit):
        blocks = [block for block in state.blocks.values() if block.credit == credit]
        if sum(block.free + block.held for block in blocks) > MOST:
            raise Refused("AmountError")


@dataclass
class Block:
    """One grant, its units spread over five accounts."""

    id: str
    credit: str
    units: int
    accounts: dict
    paid: bool
    priority: int
    unit_cost: Fraction
    begins: int
    ends: int
    features: tuple | None
    settles: bool
    number: int
    void: bool = False

    @property
    def free(self):
        return self.accounts["free"]

    @property
    def held(self):
        return self.accounts["held"]


@dataclass
class Hold:
    """Parts of blocks set aside until `ends`."""

    id: str
    credit: str
    slices: list
    feature: str | None
    ends: int
    late: str
    open: bool = True


def burns(block):
    """The default burn order; the block's number and id end every tie."""
    unrestricted = block.features is None
    return (block.priority, block.ends, block.paid, block.unit_cost, unrestricted, block.begins, block.number, block.id)


def live_at(block, at):
    return block.begins <= at < block.ends and not block.void


def pays(block, feature):
    return block.features is None or feature in block.features


def usable(block, credit, feature, at):
    return block.credit == credit and block.free > 0 and live_at(block, at) and pays(block, feature)


def available(state, credit, feature, at):
    return sum(block.free for block in state.blocks.values() if usable(block, credit, feature, at))


def insufficient(units, before):
    return {"written": False, "allowed": False, "code": "insufficient_credits", "requested": units, "limit": before,
            "used": 0, "overage": units - min(units, before)}  # fmt: skip


def allowed(units, before, taken, overage, burned, after, *, booked, late=False):
    return {"written": True, "allowed": True, "code": "ok", "requested": units, "limit": before, "used": taken,
            "overage": overage, "burned": burned, "balance_after": after, "booked": booked, "late": late}  # fmt: skip
