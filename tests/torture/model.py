"""The rules that a log is held to, in plain Python: whole units, microseconds, one state for each customer.

Written from DESIGN.md and the list of invariants, and not from the code it judges; nothing of the
library is imported. A state is moved on in place by what the log says was done; `trial` copies what
is alive of it, to ask what another call would have come to at that point.
"""

from collections import ChainMap
from dataclasses import dataclass, field, replace

HOUR = 3_600_000_000
SECOND = 1_000_000
NEVER = 2**62
CREDITS = {"ai": "hard", "tab": "soft", "part": "partial"}
LIMITS = {None: {"calls": 40, "seats": 5}, "pro": {"calls": 200, "seats": 20}, "team": {"calls": 90, "seats": 9}}


class Refused(Exception):
    """A call that raises; `kind` is the name of the error."""

    def __init__(self, kind):
        super().__init__(kind)
        self.kind = kind


@dataclass
class Block:
    """One grant, and what is free and held of it."""

    id: str
    credit: str
    units: int
    priority: int
    paid: bool
    begins: int
    ends: int
    number: int
    free: int
    held: int = 0
    void: bool = False

    def twin(self):
        """A copy."""
        twin = object.__new__(Block)
        twin.__dict__.update(self.__dict__)
        return twin


@dataclass
class Hold:
    """What was set aside until `ends`: parts of blocks, or units of one counter."""

    id: str
    subject: str
    ends: int
    slices: tuple = ()
    counter: tuple | None = None
    units: int = 0


@dataclass
class State:
    """One customer. `blocks` and `holds` are those something is left in; the others stand in `spent` and `closed`.

    `notes` says of each credit whose debt was how much, and which block repaid it ("": nobody yet), oldest first.
    """

    last: int = 0
    number: int = 0
    blocks: dict = field(default_factory=dict)
    spent: dict = field(default_factory=dict)
    holds: dict = field(default_factory=dict)
    closed: dict = field(default_factory=dict)
    debts: dict = field(default_factory=dict)
    notes: dict = field(default_factory=dict)
    counters: dict = field(default_factory=dict)
    taken: dict = field(default_factory=dict)
    refunded: dict = field(default_factory=dict)
    answers: dict = field(default_factory=dict)
    plan: str | None = None
    overrides: dict = field(default_factory=dict)
    moves: list = field(default_factory=list)

    def trial(self):
        """A copy that may be moved on without this one noticing."""
        blocks = {name: block.twin() for name, block in self.blocks.items()}
        shared = {name: ChainMap({}, getattr(self, name)) for name in ("spent", "closed", "counters", "taken", "refunded")}
        return replace(self, blocks=blocks, holds=dict(self.holds), debts=dict(self.debts), notes=dict(self.notes), overrides=dict(self.overrides),
                       moves=[], **shared)  # fmt: skip

    def edges(self, after, until):
        """The instants in `(after, until]` at which something ends by itself, or an hour begins."""
        ends = [block.ends for block in self.blocks.values()] + [hold.ends for hold in self.holds.values()]
        hours = range((after // HOUR + 1) * HOUR, until + 1, HOUR) if until - after < 100 * HOUR else ()
        return sorted({end for end in (*ends, *hours) if after < end <= until})

    # What moves

    def move(self, at, kind, subject, units, block="", window=None):
        """Write one line down."""
        self.moves.append((at, kind, subject, units, block, window))

    def block(self, name):
        """A block, back among the living where nothing was left of it; raises UnknownBlock."""
        if name not in self.blocks:
            if name not in self.spent:
                raise Refused("UnknownBlock")
            self.blocks[name] = self.spent[name].twin()
        return self.blocks[name]

    def bury(self):
        """Set aside the blocks that nothing is left of."""
        for name in [name for name, block in self.blocks.items() if not block.free and not block.held]:
            self.spent[name] = self.blocks.pop(name)

    def fall_due(self, at):
        """Play everything that ended up to an instant, one instant after the other."""
        while (instant := self.next_end()) <= at:
            for block in self.blocks.values():
                if block.free and block.ends == instant:
                    self.take(block, instant, "expired", block.free)
            for hold in sorted((hold for hold in self.holds.values() if hold.ends == instant), key=lambda hold: hold.id):
                self.let_go(hold, hold.slices, hold.units, instant)
            self.repay(list(self.blocks.values()), instant)

    def next_end(self):
        """The instant at which something ends by itself next."""
        ends = [block.ends for block in self.blocks.values() if block.free] + [hold.ends for hold in self.holds.values()]
        return min(ends, default=NEVER)

    def take(self, block, at, kind, units):
        """Move units out of what is free of a block."""
        block.free -= units
        self.move(at, kind, block.credit, units, block.id)

    def come_back(self, block, at, kind, units, *, held):
        """Move units back to what is free; a block that is over loses them at once."""
        block.free += units
        block.held -= units if held else 0
        self.move(at, kind, block.credit, units, block.id)
        if block.void or block.ends <= at:
            self.take(block, at, "voided" if block.void else "expired", units)

    def let_go(self, hold, slices, units, at):
        """Close a hold, and give back what is left of it."""
        for name, part in slices:
            self.come_back(self.block(name), at, "released", part, held=True)
        if hold.counter and units:
            self.count(at, "usage_released", hold.counter, -units)
        del self.holds[hold.id]
        self.closed[hold.id] = hold

    def repay(self, blocks, at):
        """Blocks pay what is owed in their credit, the first to burn first."""
        for block in sorted(blocks, key=burns) if any(self.debts.values()) else ():
            owed = self.debts.get(block.credit, 0)
            if owed and block.free and not block.void and block.begins <= at < block.ends:
                paid = min(owed, block.free)
                self.take(block, at, "repaid", paid)
                self.owe(block.credit, -paid)
                self.note(block.credit, lambda note: note[1] == "", [(block.id, paid)])

    def owe(self, credit, units):
        self.debts[credit] = self.debts.get(credit, 0) + units

    def note(self, credit, chosen, payers):
        """Write into notes who repaid them, None for notes that are torn up; the oldest of the chosen first."""
        notes, payers = [], list(payers)
        for key, by, units in self.notes.get(credit, []):
            while payers and units and chosen((key, by)):
                payer, most = payers.pop(0)
                part = min(most, units)
                units -= part
                if payer is not None:
                    notes.append((key, payer, part))
                if most > part:
                    payers.insert(0, (payer, most - part))
            notes += [(key, by, units)] if units else []
        self.notes[credit] = notes

    def unrepaid(self, credit, of, units):
        """Tear up what was repaid of a charge, the last first, and return who had repaid it."""
        notes, back = self.notes.get(credit, []), []
        for at in reversed(range(len(notes))):
            key, by, whole = notes[at]
            part = min(whole, units) if key == of and by else 0
            units -= part
            back += [(by, part)] if part else []
            notes = [*notes[:at], *([(key, by, whole - part)] if whole > part else []), *notes[at + 1 :]]
        self.notes[credit] = notes
        return back

    def unpaid(self, credit, of):
        return sum(units for key, by, units in self.notes.get(credit, []) if key == of and not by)

    def count(self, at, kind, counter, units):
        name, window = counter
        self.counters[counter] = self.counters.get(counter, 0) + units
        self.move(at, kind, name, units, "", window)

    # What there is

    def usable(self, credit, at):
        blocks = [block for block in self.blocks.values() if block.credit == credit and block.free and not block.void]
        return sorted((block for block in blocks if block.begins <= at < block.ends), key=burns)

    def available(self, credit, at):
        return sum(block.free for block in self.usable(credit, at))

    def held_of(self, counter):
        return sum(hold.units for hold in self.holds.values() if hold.counter == counter)

    def limit(self, feature):
        """The limit of a feature, None where it is revoked."""
        return self.overrides.get(feature, LIMITS[self.plan][feature])

    def used(self, feature, at):
        return self.counters.get(counter_of(feature, at), 0)

    def has_sso(self):
        return self.overrides.get("sso", self.plan == "pro") is True


def burns(block):
    """The order in which blocks burn: priority, expiry, promotional first, age; the last two end every tie."""
    return (block.priority, block.ends, block.paid, block.begins, block.number, block.id)


def counter_of(feature, at):
    """The counter of a feature at an instant: calls start again with each hour, seats never do."""
    return (feature, at // HOUR * HOUR if feature == "calls" else 0)
