"""What holds of a spender's log at every prefix, whatever was asked for: laws of DESIGN.md sections 6 to 8.

    budgets     each batch counts in exactly the budgets its charge falls under, in the window and by the amount the
                rules say; what a consume or a reserve adds to a blocking budget leaves it at its limit at most
    prices      the stamped price is that of the rate card; blocks and debt pay exactly it, less only what nothing is
                left to pay (record and settle); only blocks that are live, and whose scope contains the charge, pay
    one batch   usage, budgets, price and payment of a use stand in one batch, all of them
    refunds     what comes back is what was taken, never more, in proportion in usage and budgets
    denials     there is a budget, a limit, a price or a plan that can be why
    readings    the tree of budgets shows what is used and held
    plans       exactly one grant in each period a plan is held for, each from where the last one ended, and for a
                period of which a part was granted before for the rest of it; what rolls over does so once, at the
                end, at most up to the cap

Calls tell what was asked for, the log what was done. Nothing of the library is imported.
"""

from collections import Counter
from dataclasses import dataclass, field

from .terms import (
    CREDIT_OF,
    DAY,
    GRANTS,
    HOUR,
    LIMITS,
    NEVER,
    ROLLS,
    SECOND,
    SOFT,
    Block,
    Hold,
    Taken,
    counted_in,
    price_of,
    share,
    units_of,
    window,
    within,
)

EFFECTS = {"granted": (1, 0), "burned": (-1, 0), "held": (-1, 1), "settled": (0, -1), "released": (1, -1), "refunded": (1, 0),
           "expired": (-1, 0), "rolled": (-1, 0), "repaid": (-1, 0)}  # fmt: skip
OWED = {"overdrawn": 1, "repaid": -1, "forgiven": -1}
USAGE = {"used", "recorded", "usage_corrected", "usage_held", "usage_released", "usage_refunded"}
BUDGETS = {"budgeted", "budget_held", "budget_released", "budget_refunded"}
PAYS = {"burned", "settled", "overdrawn"}


class Broken(Exception):
    """A law that does not hold after a batch."""

    def __init__(self, law, said):
        super().__init__(f"{law}: {said}")
        self.law, self.said = law, said


@dataclass
class Books:
    """What the batches so far come to."""

    blocks: dict = field(default_factory=dict)
    debts: Counter = field(default_factory=Counter)
    counts: Counter = field(default_factory=Counter)
    budgets: dict = field(default_factory=dict)
    subjects: dict = field(default_factory=dict)
    holds: dict = field(default_factory=dict)
    lapsed: dict = field(default_factory=dict)
    taken: dict = field(default_factory=dict)
    plan: str | None = None
    since: int = 0
    anchor: int = 0
    last: int = 0
    granted: dict = field(default_factory=dict)

    def follow(self, batch, call):
        """Take one more batch in; raises Broken."""
        at, lines = batch["at"], batch["lines"]
        usage, budgets = Counter(), Counter()
        for name in sorted(name for name, hold in self.holds.items() if hold.ends <= at):
            self.lapsed[name] = hold = self.holds.pop(name)
            usage[hold.usage[0]] -= hold.usage[1]
            budgets.subtract(hold.budgets)
        held = self.plan
        if call["f"] in {"subscribe", "change_plan", "cancel"}:
            self.hold_plan(call, at)
        for line in lines:
            self.post(line, call, held)
        VERBS[call["f"]](self, Doing(call, batch, at, usage, budgets))
        found = sums(lines, USAGE, "subject"), sums(lines, BUDGETS, "counter")
        for law, expected, moved in zip(("usage", "budgets"), (usage, budgets), found, strict=True):
            if nonzero(expected) != nonzero(moved):
                raise Broken(law, f"due is {nonzero(expected)}, and moved is {nonzero(moved)}")
        for moved in found:
            self.counts.update(moved)
        self.last = at
        self.check(call, found[1], at)

    def check(self, call, budgets, at):
        """Hold what stands against the limits."""
        if least := [where for where, units in self.counts.items() if units < 0]:
            raise Broken("usage", f"{least} fell below nothing")
        for where, units in budgets.items() if call["f"] in {"consume", "reserve"} else ():
            capped = self.budgets.get(where[0])
            if units > 0 and capped and capped["action"] == "block" and self.counts[where] > capped["limit"]:
                raise Broken("budget overshot", f"{self.counts[where]} of {capped['limit']} in {capped}")
        if call["f"] in {"consume", "reserve"} and call["feature"] == "chat":
            used = self.counts["chat", at // HOUR * HOUR]
            if self.plan is None or used > LIMITS[self.plan]:
                raise Broken("limit overshot", f"{used} used of what {self.plan} gives")
        if self.plan is not None and self.next_grant() <= at:
            raise Broken("plan grants", f"nothing is granted by {self.plan} for {at}")

    # Lines

    def post(self, line, call, held):
        """Move what a line moves of blocks and debt."""
        kind, units = line["kind"], line["amount"]
        self.debts[line["subject"]] += OWED.get(kind, 0) * units
        if self.debts[line["subject"]] < 0:
            raise Broken("credits", f"more is paid back than was owed, in line {line['seq']}")
        if kind == "granted":
            self.open(line, call, held)
        if kind == "rolled":
            self.roll(line)
        if kind in EFFECTS:
            block = self.blocks[line["block"]]
            free, moved = EFFECTS[kind]
            block.free, block.held = block.free + free * units, block.held + moved * units
            if units < 0 or block.free < 0 or block.held < 0 or block.credit != line["subject"]:
                raise Broken("credits", f"block {line['block']} cannot bear line {line['seq']}")

    def open(self, line, call, held):
        """Open the block of a grant: one that was asked for, of a plan, or of what rolled over."""
        name, at = line["block"], line["at"]
        if name in self.blocks:
            raise Broken("credits", f"block {name} is granted twice")
        mine = name == call.get("key")
        scope = call.get("scope", {}) if mine and call["f"] == "grant" else None if mine and call["f"] == "refund" else {}
        ends = NEVER if line["ends"] is None else line["ends"]
        self.blocks[name] = Block(line["subject"], at, ends, scope)
        if not mine and "+" not in name:
            self.granted_by(name, line, held)

    def granted_by(self, name, line, held):
        """Check the grant of a plan: for a period, from where the one before it ended."""
        plan, at, ends = name.removeprefix("$plan:").partition("/")[0], line["at"], line["ends"]
        if plan not in {held, self.plan} or (plan == self.plan and at != self.next_grant()):
            raise Broken("plan grants", f"{name} is granted, and due is one of {self.plan} at {self.next_grant()}")
        before = self.granted.get(plan, 0)
        if at < before or not at < ends <= at + DAY or line["amount"] != share(GRANTS[plan], before, at, ends):
            raise Broken("plan grants", f"{name} is granted twice for a period, or of another size")
        self.granted[plan] = ends

    def next_grant(self):
        """When the plan that is held grants next: a part of a period that comes to nothing is passed over."""
        before = self.granted.get(self.plan, 0)
        at = max(self.since, before)
        ends = at + DAY - (at - self.anchor) % DAY
        return at if share(GRANTS.get(self.plan, 1), before, at, ends) else ends

    def roll(self, line):
        """Check that what rolls over does so once, at the end of its period, and up to the cap."""
        name, block = line["block"], self.blocks[line["block"]]
        cap = ROLLS.get(name.removeprefix("$plan:").partition("/")[0], 0)
        if "+" in name or block.ends != line["at"] or line["amount"] != min(cap, block.free):
            raise Broken("rollover", f"{line['amount']} of {block.free} roll over out of {name}")

    def hold_plan(self, call, at):
        plan = call.get("plan")
        if plan != self.plan:
            self.plan, self.since = plan, at
        if call["f"] == "subscribe":
            self.anchor = at

    # What a charge falls under

    def under(self, call, at, charge):
        """Where a charge counts in budgets, and what: `charge` is in units of a feature and of its credit."""
        return {
            (name, window(terms["every"], at)): charge[terms["subject"]]
            for name, terms in self.budgets.items()
            if terms["subject"] in charge and within(terms["scope"], call["scope"])
            and within(terms["dimensions"], call["dimensions"])
        }  # fmt: skip

    def left_for(self, credit, call, at):
        """What is left that a charge surely could burn."""
        sure = [block for block in self.blocks.values() if block.scope is not None]
        return sum(block.free for block in sure if self.may_pay(block, credit, call, at))

    def allocated(self, credit, call, at):
        """What is left of allocations that a charge could burn; they burn before the shared blocks."""
        return sum(block.free for block in self.blocks.values() if block.scope and self.may_pay(block, credit, call, at))

    def may_pay(self, block, credit, call, at):
        live = block.begins <= at < block.ends
        return block.credit == credit and live and within(block.scope or {}, call["scope"])

    def held_at(self, where):
        """What open holds have set aside in a counter."""
        held = sum(hold.budgets.get(where, 0) for hold in self.holds.values())
        return held + sum(hold.usage[1] for hold in self.holds.values() if hold.usage[0] == where)

    def charged(self, doing, use, *, whole):
        """Check the price of a use and who pays it, and return what is paid: all of it where `whole` says so."""
        price, credit, paid = price_of(use), CREDIT_OF[use["feature"]], Counter()
        stamped = [line["amount"] for line in doing.lines if line["kind"] == "priced"]
        if stamped != [price]:
            raise Broken("prices", f"{stamped} is stamped, and {price} is the price")
        burned = {line["block"] for line in doing.lines if line["kind"] == "burned"}
        for line in doing.lines:
            if line["kind"] in PAYS:
                paid[line["block"]] += line["amount"]
                block = self.blocks.get(line["block"])
                if line["kind"] == "burned" and not self.may_pay(block, credit, use, doing.at):
                    raise Broken("prices", f"block {line['block']} pays what it may not")
        if any(name and self.blocks[name].scope == {} for name in burned) and self.allocated(credit, use, doing.at):
            raise Broken("allocations", "a shared block pays while something is left of an allocation")
        short = price - sum(paid.values())
        if short < 0 or (short and (whole or credit in SOFT or self.left_for(credit, use, doing.at))):
            raise Broken("prices", f"{sum(paid.values())} is paid of {price}")
        if paid[""] and self.left_for(credit, use, doing.at):
            raise Broken("prices", "a debt is made while there is something to pay with")
        return paid


    def may_deny(self, call, at):
        """Tell whether a use may be denied at an instant with the code it was. Nothing that fell due since is played.

        That can only make room, in counters and in blocks, so that no true denial is called untrue.
        """
        code, feature = call["end"]["answer"]["code"], call["feature"]
        price, units = price_of(call), units_of(call["amount"])
        match code:
            case "not_in_plan":
                return self.plan is None or (self.plan == "crew" and feature == "tokens")
            case "limit_reached":
                return feature == "chat" and self.counts["chat", counted_in("chat", at)] + units > LIMITS.get(self.plan, 0)
            case "budget_exceeded":
                under = self.under(call, at, {feature: units, CREDIT_OF[feature]: price})
                return any(
                    self.budgets[where[0]]["action"] == "block" and self.counts[where] + more > self.budgets[where[0]]["limit"]
                    for where, more in under.items()
                )
            case "insufficient_credits":
                return CREDIT_OF[feature] not in SOFT and price > self.left_for(CREDIT_OF[feature], call, at)
        return False

    def tree(self, at):
        """Every budget in force at an instant, with what is used and held in its window."""
        return sorted(
            [[list(pair) for pair in sorted(terms["scope"].items())], terms["subject"],
             [list(pair) for pair in sorted(terms["dimensions"].items())], terms["every"], terms["limit"],
             self.counts[where] - sum(hold.budgets.get(where, 0) for hold in self.holds.values()),
             sum(hold.budgets.get(where, 0) for hold in self.holds.values() if hold.ends > at)]
            for name, terms in self.budgets.items()
            if (where := (name, window(terms["every"], at)))
        )  # fmt: skip

    def edges(self, after, until):
        """The instants in `(after, until]` at which a block or a hold ends or a window begins."""
        hours = range((after // HOUR + 1) * HOUR, until + 1, HOUR) if until - after < 100 * HOUR else ()
        ends = (*(block.ends for block in self.blocks.values() if block.free), *hours)
        ends += tuple(hold.ends for hold in self.holds.values())
        return sorted({end for end in ends if after < end <= until})


@dataclass
class Doing:
    """A call as it was done, and what it is to move in counters."""

    call: dict
    batch: dict
    at: int
    usage: Counter
    budgets: Counter

    @property
    def lines(self):
        return self.batch["lines"]


def take(books, doing):
    """A consume or a record."""
    call, at = doing.call, doing.at
    paid = books.charged(doing, call, whole=call["f"] == "consume")
    units, where = units_of(call["amount"]), (call["feature"], counted_in(call["feature"], at))
    charge = {call["feature"]: units, CREDIT_OF[call["feature"]]: sum(paid.values())}
    under = books.under(call, at, charge)
    doing.usage[where] += units
    doing.budgets.update(under)
    books.taken[call["key"]] = Taken(sum(paid.values()), units, {where: units}, under, paid)


def reserve(books, doing):
    call, at, price = doing.call, doing.at, price_of(doing.call)
    pinned = sum(line["amount"] for line in doing.lines if line["kind"] == "held")
    if pinned != price:
        raise Broken("prices", f"{pinned} is held for a price of {price}")
    where = ("chat", counted_in("chat", at))
    under = books.under(call, at, {"chat": call["amount"], "gas": price})
    doing.usage[where] += call["amount"]
    doing.budgets.update(under)
    books.holds[call["key"]] = Hold(call, at + call["ttl"] * SECOND, (where, call["amount"]), under)


def settle(books, doing):
    """What it came to stays where the hold counted, up to what was held there; what goes beyond counts now."""
    call, at = doing.call, doing.at
    late = call["hold"] in books.lapsed
    hold = books.lapsed[call["hold"]] if late else books.holds.pop(call["hold"])
    use, units = {**hold.call, "amount": call["amount"]}, call["amount"]
    paid = books.charged(doing, use, whole=False)
    (where, held), counted = ((hold.usage[0], 0), {}) if late else (hold.usage, hold.budgets)
    now = ("chat", counted_in("chat", at))
    doing.usage[where] -= max(0, held - units)
    doing.usage[now] += max(0, units - held)
    charge, kept = {"chat": units, "gas": sum(paid.values())}, Counter()
    for each, had in counted.items():
        kept[each] = min(had, charge[books.subjects[each[0]]])
        doing.budgets[each] -= had - kept[each]
    had_by = {name: had for (name, _), had in counted.items()}
    for each, more in books.under(use, at, charge).items():
        beyond = max(0, more - had_by.get(each[0], 0))
        doing.budgets[each] += beyond
        kept[each] += beyond
    used = Counter({where: min(units, held)})
    used[now] += max(0, units - held)
    books.taken[f"$close:{call['hold']}"] = Taken(sum(paid.values()), units, used, kept, paid)


def release(books, doing):
    hold = books.holds.pop(doing.call["hold"], None)
    if hold is not None:
        doing.usage[hold.usage[0]] -= hold.usage[1]
        doing.budgets.subtract(hold.budgets)


def refund(books, doing):
    """A part of what was taken goes back, and the same part of what was counted."""
    of = doing.call["of"]
    taken = books.taken.get(f"$close:{of}") or books.taken.get(of)
    whole = 0 if taken is None else taken.paid or taken.units
    part = whole - taken.back if doing.call["amount"] is None else doing.call["amount"]
    if not 0 < part <= whole - taken.back:
        raise Broken("refunds", f"{part} is refunded of {whole}")
    returned = Counter()
    for line in doing.lines:
        if line["kind"] in {"refunded", "forgiven"} or (line["kind"] == "granted" and line["block"] == doing.call["key"]):
            returned[line["block"] if line["kind"] == "refunded" else ""] += line["amount"]
    if sum(returned.values()) != (part if taken.paid else 0) or returned - taken.blocks:
        raise Broken("refunds", f"{dict(returned)} comes back for {part} of {dict(taken.blocks)}")
    taken.blocks = taken.blocks - returned
    for counted, moves in ((taken.usage, doing.usage), (taken.budgets, doing.budgets)):
        for name in dict.fromkeys(name for name, _ in counted):
            own = {where: units for where, units in counted.items() if where[0] == name}
            for where, units in undone(own, taken.back, part, whole):
                moves[where] -= min(units, max(0, books.counts[where] + moves[where] - books.held_at(where)))
    taken.back += part


def undone(counted, before, part, whole):
    """What a refund takes out of each window of a count: in proportion to the whole of it, the last window first."""
    total = sum(counted.values())
    skip = total * before // whole
    left = total * (before + part) // whole - skip
    for where, all_of_it in reversed(counted.items()):
        skipped = min(skip, all_of_it)
        units = min(left, all_of_it - skipped)
        skip, left = skip - skipped, left - units
        yield where, units


def correct_usage(books, doing):
    where = ("chat", counted_in("chat", doing.at))
    doing.usage[where] += doing.call["amount"] - (books.counts[where] + doing.usage[where] - books.held_at(where))


def set_budget(books, doing):
    call = doing.call
    (name,) = [line["subject"] for line in doing.lines if line["kind"] == "budget_set"]
    books.budgets[name] = {**call, "subject": call.get("feature") or call["credit"]}
    books.subjects[name] = books.budgets[name]["subject"]


def remove_budget(books, doing):
    (name,) = [line["subject"] for line in doing.lines if line["kind"] == "budget_removed"]
    del books.budgets[name]


def nothing_counted(books, doing):
    """Facts, grants and sweeps move no counter; what fell due before them does."""


def sums(lines, kinds, named):
    """What lines of some kinds move, by what they name and window."""
    found = Counter()
    for line in lines:
        if line["kind"] in kinds:
            found[line[named], line["window"]] += line["amount"]
    return found


def nonzero(counter):
    return {where: units for where, units in counter.items() if units}


VERBS = {
    "consume": take, "record": take, "reserve": reserve, "settle": settle, "release": release, "refund": refund,
    "correct_usage": correct_usage, "set_budget": set_budget, "remove_budget": remove_budget,
    **dict.fromkeys(("subscribe", "change_plan", "cancel", "grant", "sweep"), nothing_counted),
}  # fmt: skip
