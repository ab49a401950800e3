"""The invariants of a log (research/invariants.md, Part 1), checked line by line over the whole of it."""

from collections import Counter
from datetime import UTC, datetime
from fractions import Fraction
from itertools import groupby

from entitlements.ledger.state import fold

MOST = 2**63 - 1
NEVER = datetime.max.replace(tzinfo=UTC)
MOVES = {
    "burned": ("free", "used"), "repaid": ("free", "used"), "refunded": ("used", "free"),
    "held": ("free", "held"), "settled": ("held", "used"), "released": ("held", "free"),
    "expired": ("free", "expired"), "voided": ("free", "voided"),
}  # fmt: skip
OWES = {"overdrawn": 1, "repaid": -1, "forgiven": -1}


class Audit:
    """One log read from its beginning; each method says which invariants it holds."""

    def __init__(self, catalog):
        self.catalog = catalog
        self.blocks, self.accounts, self.debts, self.void = {}, {}, Counter(), set()
        self.holds, self.purposes = {}, {}
        self.seq, self.recorded = 0, None

    def read(self, batches):
        for batch in batches:
            for kind, these in groupby(batch.entries, key=lambda line: line.kind):
                lines = list(these)
                for line in lines:
                    self.structure(line, batch)
                    self.move(line)
                    self.bounds(line)
                if kind in {"burned", "held"}:
                    named = batch.request.get("hold")
                    self.dominance(lines, self.purposes[named] if named else batch.request.get("feature"))
        return self

    def structure(self, line, batch):
        """L5, L7, L8, L10: gapless, exact, one sign for each kind, never back in time."""
        self.seq += 1
        assert line.seq == self.seq
        assert type(line.amount) is int
        assert -MOST <= line.amount <= MOST
        assert line.amount >= 0 or line.kind.startswith("usage_") or line.kind == "freed"
        assert line.recorded_at == batch.at >= line.at
        assert self.recorded is None or self.recorded <= batch.at
        self.recorded = batch.at

    def move(self, line):
        """L1, L9: what leaves one account arrives in another, of a block that was granted before."""
        if line.kind == "granted":
            block = line.data["block"]
            assert line.block not in self.blocks
            assert line.amount == block.units >= 1
            self.blocks[line.block] = block
            self.accounts[line.block] = Counter(free=line.amount)
        elif line.kind == "reserved":
            hold = line.data["hold"]
            assert hold.id not in self.holds
            self.holds[hold.id] = (hold, Counter(dict(hold.slices)))
            self.purposes[hold.id] = hold.purpose.feature
        elif line.kind == "hold_closed":
            _, left = self.holds.pop(line.data["hold"])
            assert not any(left.values()), "R3: a hold is closed once nothing of it is pinned"
        elif line.kind == "voided":
            self.void.add(line.block)
        if line.kind in MOVES:
            source, target = MOVES[line.kind]
            self.accounts[line.block][source] -= line.amount
            self.accounts[line.block][target] += line.amount
        if line.kind in {"settled", "released"}:
            self.holds[line.data["hold"]][1][line.block] -= line.amount
        if line.kind in OWES:
            self.debts[line.subject, line.data["purpose"]] += OWES[line.kind] * line.amount

    def bounds(self, line):
        """L3, B1, B2: no account below zero at any prefix, the parts are the whole, debt only as far as allowed."""
        if line.block:
            accounts = self.accounts[line.block]
            assert min(accounts.values()) >= 0, (line, accounts)
            assert sum(accounts.values()) == self.blocks[line.block].units
        if line.kind in OWES:
            assert self.debts[line.subject, line.data["purpose"]] >= 0
            owed = sum(units for (credit, _), units in self.debts.items() if credit == line.subject)
            floor = self.catalog.credits[line.subject].floor
            assert owed <= (MOST if floor is None else floor)

    def dominance(self, lines, feature):
        """O2, O4: only from usable blocks, and from none while one before it in the order had something left."""
        taken, at = {line.block: line.amount for line in lines}, lines[0].at
        usable = [
            block
            for name, block in self.blocks.items()
            if block.credit == lines[0].subject
            and name not in self.void
            and block.effective_at <= at < (block.expires_at or NEVER)
            and (block.features is None or feature in block.features)
        ]
        assert taken.keys() <= {block.id for block in usable}
        ordered = sorted(usable, key=burns)
        last = max(n for n, block in enumerate(ordered) if block.id in taken)
        assert all(self.accounts[block.id]["free"] == 0 for block in ordered[:last])


def burns(block):
    """The default burn order, as DESIGN.md writes it."""
    unit_cost = Fraction(block.cost_basis or 0) / block.units
    unrestricted = block.features is None and block.scope is None
    return (
        block.priority, block.expires_at or NEVER, block.category == "paid", unit_cost, unrestricted,
        block.effective_at, block.number, block.id,
    )  # fmt: skip


def audit(storage, customer, catalog):
    """Hold the whole log of a customer to the invariants, and head and counters to their fold (L2, R3)."""
    batches = storage.batches(customer, limit=10**6)
    found = Audit(catalog).read(batches)
    head, counters = fold(batches)
    state = storage.state(customer, lambda _: tuple(counters))
    assert state.head == head
    assert dict(state.counters) == counters
    held = {name: block.held_units for name, block in head.blocks.items() if block.held_units}
    free = {name: block.free_units for name, block in head.blocks.items() if block.free_units}
    assert free == {name: accounts["free"] for name, accounts in found.accounts.items() if accounts["free"]}
    assert held == {name: accounts["held"] for name, accounts in found.accounts.items() if accounts["held"]}
    assert head.holds == {name: hold for name, (hold, _) in found.holds.items()}
    pinned = sum((left for _, left in found.holds.values()), Counter())
    assert held == {name: units for name, units in pinned.items() if units}
    owed = {key: units for key, units in found.debts.items() if units}
    assert {key: debt.units for key, debt in head.debts.items()} == owed
    return found
