"""Two engines, on memory and on SQLite, in lockstep with a model of rates and budgets, whatever comes.

`USAGE_CAMPAIGN=2000` runs that many longer programs instead of the few of every test run.
"""

import os
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from entitlements import AmountError, Catalog, Entitlements
from entitlements.storage.memory import MemoryStorage
from entitlements.storage.sqlite import SQLiteStorage
from entitlements.testing import FrozenClock

from .model import LIMIT, Model

START = datetime(2026, 3, 10, tzinfo=UTC)
CATALOG = Catalog.load(
    {
        "version": 1,
        "features": {"chat": {"type": "metered", "reset": {"every": "day", "align": "calendar"}, "alerts": ["0.5"]}},
        "credits": {"ai": {"scale": 2, "alerts": [10]}},
        "plans": {name: {"entitlements": {"chat": LIMIT}} for name in ("pro", "max")},
        "rates": {"chat": {"credit": "ai", "price": "1.5", "when": [{"model": "large", "price": "4"}]}},
    }
)
CAMPAIGN = int(os.environ.get("USAGE_CAMPAIGN", "0"))

scopes = st.sampled_from(
    [{}, {"team": "x"}, {"team": "x", "user": "ann"}, {"user": "ann"}, {"team": "y", "user": "ann", "agent": "b"}]
)
models = st.sampled_from([None, None, None, "large"])
amounts = st.sampled_from([0, 1, 1, 2, 3, 5, 8, 20, 59, 60, 61])
everies = st.sampled_from(["hour", "day", "day", "none"])
picks = st.integers(0, 50)


class UsageMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.clock, self.model, self.made, self.plans = FrozenClock(START), Model(), 0, ["pro", "max"]
        self.reached, self.read = set(), 0
        self.place = Path(tempfile.mkdtemp())
        self.storages = (MemoryStorage(), SQLiteStorage(self.place / "app.db", durability="normal"))
        self.engines = [Entitlements(CATALOG, storage=storage, clock=self.clock) for storage in self.storages]

    def teardown(self):
        for engine in self.engines:
            assert engine.verify() == ()
        self.storages[1].close()
        shutil.rmtree(self.place)

    @initialize()
    def begin(self):
        for engine in self.engines:
            engine.subscribe("a", "pro")
        self.grant(100)

    @rule(credits=st.sampled_from([1, 10, 100]))
    def grant(self, credits):
        key = self.key()
        for engine in self.engines:
            engine.grant_credits("a", "ai", credits, key=key)
        self.model.state.left += 100 * credits
        self.compare()

    @rule(hours=st.sampled_from([1, 1, 2, 23, 24]))
    def advance(self, hours):
        for _ in range(hours):
            self.model.hour += 1
            self.model.lapse()
        self.clock.set(START + timedelta(hours=self.model.hour))
        self.compare()

    @rule(scope=scopes, subject=st.sampled_from(["chat", "ai"]), model=models, every=everies,
          limit=st.sampled_from([0, 3, 10, 30, 90]), action=st.sampled_from(["block", "block", "notify"]))  # fmt: skip
    def set_budget(self, scope, subject, model, every, limit, action):
        name = (tuple(sorted(scope.items())), subject, model, every)
        self.model.state.budgets[name] = (limit * (100 if subject == "ai" else 1), action)
        self.budget("set_budget", scope, subject, model, every, limit=limit, action=action)
        self.compare()

    @precondition(lambda self: self.model.state.budgets)
    @rule(pick=picks)
    def remove_budget(self, pick):
        name = sorted(self.model.state.budgets, key=repr)[pick % len(self.model.state.budgets)]
        del self.model.state.budgets[name]
        self.budget("remove_budget", dict(name[0]), *name[1:])
        self.compare()

    def budget(self, verb, scope, subject, model, every, **terms):
        about = {"feature" if subject == "chat" else "credit": subject}
        dimensions = None if model is None else {"model": model}
        for engine in self.engines:
            getattr(engine, verb)("a", scope or None, every=every, dimensions=dimensions, **about, **terms)

    @rule(verb=st.sampled_from(["consume", "consume", "record"]), units=amounts, scope=scopes, model=models)
    def use(self, verb, units, scope, model):
        key, told = self.key(), {"scope": scope or None, "dimensions": self.dimensions(model)}
        asked = [engine.check("a", "chat", requested=units, **told) for engine in self.engines]
        before = self.model.snapshot()
        expected = getattr(self.model, verb)(units, scope, model)
        if verb == "consume":
            assert {found.code for found in asked} == {expected["code"]}
        for found in asked if expected["code"] == "insufficient_credits" else ():
            assert (found.limit, found.used) == (LIMIT, before.used.get(self.model.hour // 24, 0))
            assert Fraction(found.allowances[-1].limit) * 100 == before.left
        self.same(expected, lambda engine: getattr(engine, verb)("a", "chat", units, key=key, **told))
        if expected["code"] == "ok":
            self.model.state.taken[key] = expected["taken"]
        else:
            assert self.model.state == before

    @rule(units=amounts, scope=scopes, model=models, hours=st.sampled_from([None, 1, 2, 30]))
    def reserve(self, units, scope, model, hours):
        key, told = self.key(), {"scope": scope or None, "dimensions": self.dimensions(model)}
        ttl = None if hours is None else hours * 3600
        expected = self.model.reserve(key, units, scope, model, hours)
        self.same(expected, lambda engine: engine.reserve("a", "chat", units, key=key, ttl=ttl, **told).decision)

    @precondition(lambda self: self.closable())
    @rule(pick=picks, units=amounts)
    def settle(self, pick, units):
        key = self.closable()[pick % len(self.closable())]
        expected = self.model.settle(key, units)
        self.same(expected, lambda engine: engine.settle("a", key, units))
        self.model.state.taken[key] = expected["taken"]
        self.model.answers[key] = True

    @precondition(lambda self: self.closable())
    @rule(pick=picks)
    def release(self, pick):
        key = self.closable()[pick % len(self.closable())]
        self.same(self.model.release(key), lambda engine: engine.release("a", key))
        self.model.answers[key] = True

    @precondition(lambda self: any(paid for paid, *_ in self.model.state.taken.values()))
    @rule(pick=picks, cents=st.sampled_from([None, 1, 50, 150, 400]))
    def refund(self, pick, cents):
        state = self.model.state
        keys = sorted(key for key, (paid, *_) in state.taken.items() if paid)
        named = keys[pick % len(keys)]
        paid, units, counted, days = state.taken[named]
        before = state.back.get(named, 0)
        part = paid - before if cents is None else min(cents, paid - before)
        if not part:
            return
        for engine in self.engines:
            engine.refund("a", named, f"{part // 100}.{part % 100:02d}", key=f"r{self.made}")
        self.made += 1
        state.left += part
        state.back[named] = before + part

        held_days, held_budgets = self.held()
        for day, more in undone(days if isinstance(days, dict) else {days: units}, before, part, paid):
            state.used[day] -= min(more, max(0, state.used[day] - held_days.get(day, 0)))
        for name in dict.fromkeys(name for name, _ in counted):
            own = {where: whole for where, whole in counted.items() if where[0] == name}
            for where, units in undone(own, before, part, paid):
                state.counts[where] -= min(units, max(0, state.counts[where] - held_budgets.get(where, 0)))
        self.compare()

    @rule(units=st.sampled_from([0, 1, 1, 2, 3, 5, 8]), scope=scopes, model=models)
    def free(self, units, scope, model):
        state, day, (held_days, held_budgets) = self.model.state, self.model.hour // 24, self.held()
        told = {"scope": scope or None, "dimensions": self.dimensions(model), "key": self.key()}
        if units > state.used.get(day, 0) - held_days.get(day, 0):
            for engine in self.engines:
                with pytest.raises(AmountError):
                    engine.free("a", "chat", units, **told)
            return
        for engine in self.engines:
            engine.free("a", "chat", units, **told)
        state.used[day] = state.used.get(day, 0) - units
        for where in self.model.under(scope, model, {"chat": units, "ai": 0}):
            if where[0][1] == "chat":
                counted = state.counts.get(where, 0)
                state.counts[where] = counted - min(units, counted - held_budgets.get(where, 0))
        self.compare()

    @rule(by=st.sampled_from(["reset_usage", "change_plan"]))
    def reset(self, by):
        day, key = self.model.hour // 24, self.key()
        if by == "change_plan":
            self.plans.reverse()
        told = {"usage": "reset"} if by == "change_plan" else {}
        for engine in self.engines:
            getattr(engine, by)("a", self.plans[0] if told else "chat", key=key, **told)
        self.model.state.used[day] = self.held()[0].get(day, 0)
        self.compare()

    def held(self):
        days, budgets = {}, {}
        for hold in self.model.state.holds.values():
            if hold.open:
                days[hold.day] = days.get(hold.day, 0) + hold.units
                for where, more in hold.counted.items():
                    budgets[where] = budgets.get(where, 0) + more
        return days, budgets

    # Comparing

    def same(self, expected, act):
        for engine in self.engines:
            found = act(engine)
            assert found.code == expected["code"], (found.reason, expected)
            if found.receipt is not None and "price" in expected:
                assert Fraction(found.receipt.price) * 100 == expected["price"]
                assert Fraction(found.receipt.unpaid) * 100 == expected["unpaid"]
                assert "used" not in expected or found.used == expected["used"]
        self.compare()

    def compare(self):
        """Balance, usage and every budget are what the model says, on both storages, and no cap or balance overshot."""
        state, day = self.model.state, self.model.hour // 24
        for engine in self.engines:
            assert Fraction(engine.balance("a", "ai").available) * 100 == state.left
            assert engine.check("a", "chat", requested=0).used == state.used.get(day, 0)
            found = {}
            for node in engine.usage_tree("a"):
                for budget in node.budgets:
                    subject = budget.feature or budget.credit
                    scale = 1 if budget.feature else 100
                    name = (tuple(sorted(node.scope.items())), subject, budget.dimensions.get("model"), budget.every.removesuffix(" (calendar)"))
                    found[name] = Fraction(budget.used + budget.held) * scale
            expected = {
                name: state.counts.get((name, self.model._window(name[3])), 0) for name in state.budgets
            }
            assert found == expected
        logs = [storage.entries("a", limit=10**6) for storage in self.storages]
        self.compare_alerts(logs[0])
        told = [[(e.kind, e.at, e.amount, e.subject.partition(":")[0], e.window, e.block) for e in log] for log in logs]
        assert told[0] == told[1]

    def compare_alerts(self, log):
        """What came to a threshold since the last comparison is told once, and nothing else is."""
        reached = self.model.reached()
        new = [("limit", "chat", ()) if name == "limit" else ("budget", name[1], name[0]) for name in reached - self.reached]
        lines = [entry for entry in log[self.read :] if entry.kind == "crossed" and entry.data["of"] != "balance"]
        assert sorted(new) == sorted((e.data["of"], e.subject, tuple(sorted(e.data.get("scope", {}).items()))) for e in lines)
        self.reached, self.read = reached, len(log)

    def key(self):
        self.made += 1
        return f"k{self.made}"

    def dimensions(self, model):
        return None if model is None else {"model": model}

    def closable(self):
        return sorted(key for key in self.model.state.holds if key not in self.model.answers)


def undone(counted, before, part, paid):
    """What a refund takes out of each window of a count: in proportion to the whole of it, the last window first."""
    total = sum(counted.values())
    skip = total * before // paid
    left = total * (before + part) // paid - skip
    for where, whole in reversed(counted.items()):
        skipped = min(skip, whole)
        units = min(left, whole - skipped)
        skip, left = skip - skipped, left - units
        yield where, units


TestUsage = UsageMachine.TestCase
TestUsage.settings = settings(
    max_examples=CAMPAIGN or 40,
    stateful_step_count=60 if CAMPAIGN else 25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
