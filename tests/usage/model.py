"""The rules of rates and budgets in plain Python: dicts and ints, hours since a midnight, smallest units.

Written from DESIGN.md sections 6 to 8, and not from the code it is compared with. One feature, `chat`, with
a limit of 60 a day and a price in one credit; budgets in windows of an hour, a day, or none.
"""

from copy import deepcopy
from dataclasses import dataclass, field

LIMIT = 60
PRICES = {None: 150, "large": 400}
SPANS = {"hour": 1, "day": 24, "none": None}


@dataclass
class Hold:
    units: int
    price: int
    model: str | None
    scope: dict
    day: int
    ends: int | None
    counted: dict
    open: bool = True


@dataclass
class State:
    """All there is to know of one customer."""

    left: int = 0
    used: dict = field(default_factory=dict)
    budgets: dict = field(default_factory=dict)
    counts: dict = field(default_factory=dict)
    holds: dict = field(default_factory=dict)
    taken: dict = field(default_factory=dict)
    back: dict = field(default_factory=dict)


class Model:
    def __init__(self):
        self.hour, self.state, self.answers = 0, State(), {}

    # What falls due, and where things count

    def lapse(self):
        for hold in self.state.holds.values():
            if hold.open and hold.ends is not None and hold.ends <= self.hour:
                self._give_back(hold)

    def _give_back(self, hold):
        hold.open = False
        self.state.left += hold.price
        self.state.used[hold.day] -= hold.units
        for where, units in hold.counted.items():
            self.state.counts[where] -= units

    def _window(self, every):
        return None if SPANS[every] is None else self.hour // SPANS[every]

    def under(self, scope, model, charge):
        """Every budget that caps a charge: where it counts, what it would add, and whether it has room."""
        found = {}
        for name, (limit, action) in self.state.budgets.items():
            pairs, subject, dimension, every = name
            if set(pairs) <= set(scope.items()) and dimension in {None, model}:
                where = (name, self._window(every))
                units = charge[subject]
                after = self.state.counts.get(where, 0) + units
                found[where] = (units, not units or after <= limit or action == "notify")
        return found

    def reached(self):
        """What has come to half of the limit or to a budget by now: the names of the budgets, and "limit"."""
        state = self.state
        found = {name for name, (limit, _) in state.budgets.items()
                 if state.counts.get((name, self._window(name[3])), 0) >= max(1, limit)}  # fmt: skip
        return found | ({"limit"} if 2 * state.used.get(self.hour // 24, 0) >= LIMIT else set())

    # Verbs; each returns what it tells, or None where nothing was written

    def consume(self, units, scope, model):
        return self._take(units, scope, model, refuse=True)

    def record(self, units, scope, model):
        return self._take(units, scope, model, refuse=False)

    def _take(self, units, scope, model, *, refuse):
        state, day = self.state, self.hour // 24
        price = PRICES[model] * units
        code = self._denial(units, price, scope, model)
        if refuse and code:
            return {"code": code}
        paid = min(price, state.left)
        under = self.under(scope, model, {"chat": units, "ai": paid})
        state.left -= paid
        state.used[day] = state.used.get(day, 0) + units
        for where, (more, _) in under.items():
            state.counts[where] = state.counts.get(where, 0) + more
        return {"code": "ok", "price": price, "unpaid": price - paid, "used": state.used[day],
                "taken": (paid, units, {where: more for where, (more, _) in under.items()}, day)}  # fmt: skip

    def _denial(self, units, price, scope, model):
        if units and self.state.used.get(self.hour // 24, 0) + units > LIMIT:
            return "limit_reached"
        if not all(room for _, room in self.under(scope, model, {"chat": units, "ai": price}).values()):
            return "budget_exceeded"
        return "insufficient_credits" if price > self.state.left else None

    def reserve(self, key, units, scope, model, hours):
        state, day, price = self.state, self.hour // 24, PRICES[model] * units
        code = self._denial(units, price, scope, model)
        if code:
            return {"code": code}
        under = self.under(scope, model, {"chat": units, "ai": price})
        counted = {where: more for where, (more, _) in under.items()}
        state.left -= price
        state.used[day] = state.used.get(day, 0) + units
        for where, more in counted.items():
            state.counts[where] = state.counts.get(where, 0) + more
        ends = None if hours is None else self.hour + hours
        state.holds[key] = Hold(units, price, model, scope, day, ends, counted)
        return {"code": "ok", "price": price, "unpaid": 0, "used": state.used[day]}

    def settle(self, key, units):
        """What it came to stands in the hold's own windows up to what was held there, and beyond in the present ones."""
        state, hold, day = self.state, self.state.holds[key], self.hour // 24
        late, held = not hold.open, hold.units if hold.open else 0
        price = PRICES[hold.model] * units
        over = units > held and state.used.get(day, 0) + units - held > LIMIT
        pinned = hold.price if hold.open else 0
        paid = min(price, state.left + pinned)
        charge = {"chat": units, "ai": paid}
        counted = {} if late else hold.counted
        state.left -= paid - pinned
        if not late:
            state.used[hold.day] -= max(0, held - units)
        state.used[day] = state.used.get(day, 0) + max(0, units - held)
        kept = {}
        for where, had in counted.items():
            kept[where] = min(had, charge[where[0][1]])
            state.counts[where] -= had - kept[where]
        names = {where[0]: had for where, had in counted.items()}
        for where, (more, _) in self.under(hold.scope, hold.model, charge).items():
            beyond = max(0, more - names.get(where[0], 0))
            state.counts[where] = state.counts.get(where, 0) + beyond
            if beyond:
                kept[where] = kept.get(where, 0) + beyond
        hold.open = False
        code = "limit_reached" if over else "insufficient_credits" if paid < price else "ok"
        days = {hold.day: min(units, held)} if held else {}
        days[day] = days.get(day, 0) + max(0, units - held)
        return {"code": code, "price": price, "unpaid": price - paid, "late": late, "taken": (paid, units, kept, days)}

    def release(self, key):
        hold = self.state.holds[key]
        if hold.open:
            self._give_back(hold)
        return {"code": "ok"}

    def snapshot(self):
        return deepcopy(self.state)
