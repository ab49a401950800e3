"""The laws of resolution, on random catalogs, customers and usage.

Allowances unite: no order matters, and what grants or adds never takes anything away.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from entitlements.amounts import UNLIMITED, Unlimited
from entitlements.cases import Case
from entitlements.catalog.model import AddOn, Catalog, Entitlement, Feature, Limit, Period, Plan, Promotion
from entitlements.catalog.standing import Source, add, at_least, bound, join, standing_of
from entitlements.contest import says
from entitlements.deciding import check, counters_of, snapshot
from entitlements.judging import judge
from entitlements.ledger.facts import Facts, HeldAddOn, Override, PromotionRun, Subscription, Trial
from entitlements.ledger.state import Head
from entitlements.metering import counters, meters
from entitlements.reports.explain import explain
from entitlements.requests import request
from entitlements.resolution import resolve
from entitlements.weighing import Question

AT = datetime(2026, 5, 10, 12, tzinfo=UTC)
STEP, TICK = timedelta(hours=6), timedelta(microseconds=1)
HOURS, DAY, MONTH = Period("hour", 5), Period("day"), Period("month")
CALENDAR, FIRST_USE = Period("month", align="calendar"), Period("day", align="first_use")
PERIODS = {
    "calls": (MONTH, DAY, HOURS, CALENDAR, FIRST_USE),
    "peak": (MONTH, DAY),
    "seats": (Period(),),
}
FEATURES = {
    "on": Feature("on", "boolean"),
    "calls": Feature("calls", "metered", reset=MONTH),
    "peak": Feature("peak", "metered", reset=MONTH, aggregate="max"),
    "seats": Feature("seats", "metered"),
    "depth": Feature("depth", "config", value="integer", prefer="max"),
    "delay": Feature("delay", "config", value="integer", prefer="min"),
    "tier": Feature("tier", "config", value="text", prefer=("gold", "silver", "tin")),
    "langs": Feature("langs", "config", value="list"),
    "mark": Feature("mark", "config", value="text"),
}
VALUES = {
    "on": st.booleans(),
    "depth": st.integers(0, 3),
    "delay": st.integers(0, 3),
    "tier": st.sampled_from(["gold", "silver", "tin"]),
    "langs": st.lists(st.sampled_from("abcd"), unique=True, max_size=3).map(tuple),
    "mark": st.sampled_from("xyz"),
}
UNORDERED = {"mark"}
AMOUNTS = st.sampled_from([5, 8, 3, 10, 12, 0, UNLIMITED])
QUICK = settings(max_examples=90, deadline=None, suppress_health_check=[HealthCheck.too_slow])


# --- random catalogs and customers, about one feature each


@st.composite
def limits(draw, period):
    amount = draw(AMOUNTS)
    depletion = draw(st.sampled_from(["hard", "hard", "hard", "partial", "capped", "soft"]))
    if depletion == "capped":
        capped = not isinstance(amount, Unlimited)
        return Limit(amount, period, "soft", amount + draw(st.integers(0, 6)) if capped else None)
    return Limit(amount, period, depletion)


SHAPES = {
    "calls": [
        (MONTH,),
        (MONTH,),
        (DAY,),
        (HOURS, MONTH),
        (MONTH, HOURS),
        (CALENDAR,),
        (FIRST_USE,),
        (FIRST_USE, MONTH),
    ],
    "peak": [(MONTH,), (DAY,), (DAY, MONTH)],
    "seats": [(Period(),)],
}


@st.composite
def entitlements_of(draw, feature, modes):
    mode = draw(st.sampled_from(modes)) if len(modes) > 1 else modes[0]
    if feature in PERIODS:
        return Entitlement(
            feature, mode, limits=tuple(draw(limits(period)) for period in draw(st.sampled_from(SHAPES[feature])))
        )
    return Entitlement(feature, "grant" if mode == "add" else mode, value=draw(VALUES[feature]))


def entries(feature, *modes):
    """What a plan, an add-on or a promotion says about the feature: most often something."""
    said = entitlements_of(feature, modes).map(lambda entitlement: {feature: entitlement})
    return st.one_of(said, said, st.just({}))


@st.composite
def catalogs(draw, feature, version="new"):
    parents = {"a1": ((),), "a2": (("a1",), ()), "b1": ((), ("a2",), ("a1", "a2"))}
    plans = {
        key: Plan(
            key, key[0], draw(st.sampled_from(choices)), entitlements=draw(entries(feature, "grant", "grant", "set"))
        )
        for key, choices in parents.items()
    }
    addons = {
        key: AddOn(key, sold_with, requires, entitlements=draw(entries(feature, "add", "add", "grant")))
        for key, sold_with, requires in (("m", (), ()), ("n", ("a2", "b1"), draw(st.sampled_from([(), ("m",)]))))
    }
    promotions = {"p": Promotion("p", entitlements=draw(entries(feature, "grant")))}
    default = draw(st.sampled_from([None, "a1"]))
    return Catalog(
        {feature: FEATURES[feature]}, {}, {}, plans, addons, promotions, default_plan=default, version=version
    )


STEPS = st.integers(-30, 30)


@st.composite
def spans(draw):
    """A span of time that most often includes AT, and sometimes begins or ends there."""
    began = draw(st.sampled_from([-20, -8, -1, -1, 0, 3]))
    lasts = draw(st.sampled_from([None, None, 1, 5, 20, 30]))
    return AT + began * STEP, None if lasts is None else AT + (began + lasts) * STEP


@st.composite
def subscriptions(draw, product):
    since, until = draw(spans())
    status = draw(st.sampled_from(["active", "active", "active", "past_due", "paused"]))
    version = draw(st.sampled_from([None, None, "old"]))
    zone = draw(st.sampled_from(["UTC", "Asia/Kathmandu"]))
    anchor = AT + draw(STEPS) * STEP
    plans = {"a": ["a1", "a2"], "b": ["b1"]}[product]
    row = Subscription(
        product, product, draw(st.sampled_from(plans)), since, until, since, anchor, zone, status, None, version
    )
    if until is None and draw(st.booleans()):
        cut = since + 12 * STEP
        later = attrs.evolve(row, plan=draw(st.sampled_from(plans)), since=cut, status="active")
        return [attrs.evolve(row, until=cut), later]
    return [row]


def maybe(*strategies):
    """Each of some values, or not."""
    drawn = (st.one_of(st.none(), strategy) for strategy in strategies)
    return st.tuples(*drawn).map(lambda values: tuple(value for value in values if value is not None))


@st.composite
def overrides(draw, feature, mode, number=0):
    said = Entitlement(feature, "deny") if mode == "deny" else draw(entitlements_of(feature, (mode,)))
    return Override(attrs.evolve(said, mode=mode), *draw(spans()), number)


@st.composite
def customers(draw, feature):
    held = [row for product in draw(st.sampled_from(["", "a", "b", "ab"])) for row in draw(subscriptions(product))]
    trials = [spans().map(lambda span, plan=plan: Trial(plan, *span)) for plan in ("a2", "b1")]
    addons = [spans().map(lambda span, key=key: HeldAddOn(key, 2, *span)) for key in "mn"]
    runs = [spans().map(lambda span: PromotionRun("p", *span))]
    modes = [
        (),
        (),
        ("grant",),
        ("set",),
        ("deny",),
        *[("add",), ("grant", "add"), ("set", "add")] * (feature in PERIODS),
    ]
    wanted = draw(st.sampled_from(modes))
    special = tuple(draw(overrides(feature, mode, number)) for number, mode in enumerate(wanted))
    return Facts(tuple(held), draw(maybe(*trials)), draw(maybe(*addons)), draw(maybe(*runs)), special)


@attrs.frozen
class World:
    """A catalog with one feature, the older one in which pinned plans were sold, a customer, and what was used."""

    feature: str
    catalog: Catalog
    sold: Mapping[str, Catalog]
    facts: Facts
    used: Mapping[str, int]
    requested: int
    opened: Mapping[str, datetime]

    def entitlements(self, at=None):
        return resolve(self.catalog, self.facts, at or AT, sold=self.sold)

    def head(self):
        return Head(batches=1, facts=self.facts, opened=self.opened)

    def question(self, at=None):
        return Question("acme", FEATURES[self.feature], self.requested, at or AT)

    def judged(self, counters, entitlements=None, at=None):
        """Return the decision without upgrades, and how many units fit."""
        decision, _, units = judge(self.question(at), entitlements or self.entitlements(at), self.head(), counters)
        return decision, units

    def case(self, verb="check", at=None, feature=True):
        named = {"feature": self.feature, "amount": self.requested} if feature else {}
        asked = request(verb, "acme", None, **named)
        opened = Case(asked, "", self.catalog, at or AT, self.head(), sold=self.sold)
        booked = Booked(self.used)
        return opened.counting({counter: booked[counter] for counter in counters_of(opened, named.get("feature"))})

    def checked(self, at=None):
        return check(self.case(at=at))


FIRST_USES = st.one_of(
    st.just({}), st.integers(0, 30).map(lambda hours: {f"calls/{FIRST_USE}": AT - timedelta(hours=hours)})
)


@st.composite
def worlds(draw, features=("calls", "calls", "calls", *FEATURES)):
    feature = draw(st.sampled_from(features))
    catalog = draw(catalogs(feature))
    facts = draw(customers(feature))
    pinned = any(fact.version for fact in facts.subscriptions)
    sold = {"old": draw(catalogs(feature, "old"))} if pinned else {}
    names = [f"{feature}/{period}" for period in PERIODS.get(feature, ())]
    used = {name: draw(st.sampled_from([0, 4, 7, 9, 12])) for name in names}
    requested = draw(st.sampled_from([1, 2, 5, 0, 11])) if names else 1
    return World(feature, catalog, sold, facts, used, requested, draw(FIRST_USES) if feature == "calls" else {})


class Booked(Mapping):
    """Counters: what was used in any window that began before AT, by the name of the counter."""

    def __init__(self, used, before=AT):
        self.used, self.before = used, before

    def __getitem__(self, counter):
        name, start = counter
        return self.used[name] if start < self.before else 0

    def get(self, counter, default=0):
        return self[counter]

    def __iter__(self):
        return iter(())

    def __len__(self):
        return 1


# --- the join


SOURCES = st.builds(
    Source, st.sampled_from(["override", "promotion", "trial", "add-on", "plan", "parent"]), st.sampled_from("xy")
)


@st.composite
def standings(draw, feature):
    standing = standing_of(draw(SOURCES), draw(entitlements_of(feature, ("grant",))))
    if feature in PERIODS and draw(st.booleans()):
        standing = add(standing, draw(SOURCES), draw(entitlements_of(feature, ("add",))), draw(st.integers(1, 3)))
    return standing


@pytest.mark.parametrize("feature", FEATURES)
@settings(QUICK, max_examples=60)
@given(data=st.data())
def test_the_join_is_commutative_associative_and_idempotent(feature, data):
    described = FEATURES[feature]
    one, two, three = (data.draw(standings(feature)) for _ in range(3))
    assert join(described, one, two) == join(described, two, one)
    assert join(described, join(described, one, two), three) == join(described, one, join(described, two, three))
    assert join(described, one, attrs.evolve(one)) == one
    assert join(described, join(described, one, two), two) == join(described, one, two)


@pytest.mark.parametrize("feature", PERIODS)
@settings(QUICK, max_examples=60)
@given(data=st.data())
def test_additions_in_any_order_come_to_the_same(feature, data):
    base = data.draw(st.one_of(st.none(), standings(feature)))
    first, second = (data.draw(entitlements_of(feature, ("add",))) for _ in range(2))
    m, n = Source("add-on", "m"), Source("add-on", "n")
    one, other = add(add(base, m, first, 2), n, second), add(add(base, n, second), m, first, 2)
    assert [share.limits for share in one.shares] == [share.limits for share in other.shares]


# --- no order matters


def shuffled(data, mapping):
    return dict(data.draw(st.permutations(list(mapping.items()))))


def turned(data, catalog):
    plans = {key: attrs.evolve(plan, extends=plan.extends[::-1]) for key, plan in catalog.plans.items()}
    return attrs.evolve(catalog, plans=shuffled(data, plans), addons=shuffled(data, catalog.addons))


def sorted_upgrade(decision):
    return attrs.evolve(decision, upgrade=tuple(sorted(decision.upgrade)))


@settings(QUICK)
@given(data=st.data(), world=worlds())
def test_the_answer_does_not_depend_on_the_order_of_sources(data, world):
    sections = {
        name: tuple(data.draw(st.permutations(getattr(world.facts, name)))) for name in attrs.fields_dict(Facts)
    }
    sold = {version: turned(data, catalog) for version, catalog in world.sold.items()}
    other = attrs.evolve(world, catalog=turned(data, world.catalog), sold=sold, facts=Facts(**sections))
    assert sorted_upgrade(other.checked()) == sorted_upgrade(world.checked())
    assert other.entitlements().standing(world.feature) == world.entitlements().standing(world.feature)


@settings(QUICK, max_examples=50)
@given(world=worlds())
def test_a_snapshot_says_what_checks_say(world):
    single = attrs.evolve(world, requested=1)
    taken = snapshot(single.case("snapshot", feature=False))
    assert taken.features[world.feature] == single.checked()
    json.dumps(taken.to_dict())


@settings(QUICK, max_examples=50)
@given(world=worlds(["calls"]), facts=customers("calls"))
def test_the_counters_of_a_customer_are_those_of_the_features_whoever_was_asked_about_before(world, facts):
    sold = {"old": world.catalog, **world.sold}
    for each in (world, attrs.evolve(world, facts=facts, sold=sold)):
        entitlements = each.entitlements()
        counted = meters(entitlements, world.opened, FEATURES["calls"], AT).values()
        assert set(counters(entitlements, world.opened, AT)) >= {meter.counter for meter in counted}


SEEDED = """
import json
from datetime import UTC, datetime
from entitlements.cases import Case
from entitlements.catalog.model import Catalog
from entitlements.deciding import snapshot
from entitlements.judging import judge
from entitlements.ledger.facts import Facts, HeldAddOn, PromotionRun, Subscription, Trial
from entitlements.ledger.state import Head
from entitlements.requests import request

def day(number): return datetime(2026, 5, number, tzinfo=UTC)
several = {"limits": [{"limit": 5, "reset": "day"}, {"limit": 50, "reset": "month"}, {"limit": 20, "reset": "week"}]}
catalog = Catalog.load({
    "features": {"calls": {"type": "metered", "reset": "month"}, "langs": {"type": "config", "value": "list"},
                 "tier": {"type": "config", "value": "text"}},
    "products": {"a": {}, "b": {}},
    "plans": {"a1": {"product": "a", "entitlements": {"calls": several, "langs": ["x", "q", "m"], "tier": "x"}},
              "a2": {"product": "a", "extends": "a1", "entitlements": {"calls": {"limit": 7, "reset": "hour"}}},
              "b1": {"product": "b", "entitlements": {"calls": several, "langs": ["k", "z"], "tier": "y"}}},
    "addons": {"m": {"entitlements": {"calls": 5}}, "n": {"entitlements": {"calls": several}}},
    "promotions": {"p": {"entitlements": {"calls": {"limit": 3, "reset": "quarter"}, "tier": "z"}}},
})
def held(plan): return Subscription(plan[0], plan[0], plan, day(1), None, day(1), day(1))
facts = Facts((held("a2"), held("b1")), (Trial("a1", day(1), day(20)),),
              (HeldAddOn("m", 2, day(1), None), HeldAddOn("n", 1, day(1), None)), (PromotionRun("p", day(1), None),))
case = Case(request("snapshot", "acme", None), "", catalog, day(10), Head(batches=1, facts=facts))
print(json.dumps(snapshot(case).to_dict()))
"""


def test_the_answer_does_not_depend_on_the_hash_seed():
    told = set()
    for seed in ("1", "2", "3"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        ran = subprocess.run(
            [sys.executable, "-c", SEEDED], env=environment, capture_output=True, text=True, check=True
        )
        told.add(ran.stdout)
    assert len(told) == 1
    assert '"limit"' in told.pop()


# --- what grants or adds never takes anything away


@st.composite
def gifts(draw, world):
    """The facts with one more source that grants or adds."""
    facts, span = world.facts, (AT - STEP, draw(st.sampled_from([None, AT + STEP])))
    modes = ["grant", "add"] if world.feature in PERIODS else ["grant"]
    modes = [mode for mode in modes if all(fact.entitlement.mode != mode for fact in facts.overrides)]
    plans = [plan for plan in ("a1", "a2", "b1") if all(trial.plan != plan for trial in facts.trials)]
    kinds = ["addon", *["override"] * bool(modes), *["trial"] * bool(plans), *["promotion"] * (not facts.promotions)]
    kinds += ["subscription"] * all(fact.product != "b" for fact in facts.subscriptions)
    match draw(st.sampled_from(kinds)):
        case "promotion":
            return attrs.evolve(facts, promotions=(PromotionRun("p", *span),))
        case "trial":
            return attrs.evolve(facts, trials=(*facts.trials, Trial(draw(st.sampled_from(plans)), *span)))
        case "addon":
            key = draw(st.sampled_from("mn"))
            more = HeldAddOn(key, draw(st.sampled_from([2, 3])), *span)
            return attrs.evolve(facts, addons=(*(fact for fact in facts.addons if fact.addon != key), more))
        case "subscription":
            more = Subscription("b", "b", "b1", *span, AT, AT)
            return attrs.evolve(facts, subscriptions=(*facts.subscriptions, more))
        case _:
            mode = draw(st.sampled_from(modes))
            said = attrs.evolve(draw(entitlements_of(world.feature, (mode,))), mode=mode)
            return attrs.evolve(facts, overrides=(*facts.overrides, Override(said, *span, 99)))


class ByName(Booked):
    """Counters that hold the same in every window, so that a window moved by a new anchor hides nothing."""

    def __getitem__(self, counter):
        return self.used[counter[0]]


RISING = {"block": 0, "throttle": 1, "allow": 2}


def as_lenient(old, new):
    """Tell whether a limit is in no respect less than another."""
    larger = isinstance(new.amount, Unlimited) or (not isinstance(old.amount, Unlimited) and new.amount >= old.amount)
    farther = bound(new) is None or (bound(old) is not None and bound(new) >= bound(old))
    return larger and farther and (old.depletion != "partial" or new.depletion == "partial" or bound(new) is None)


def no_less(before, after):
    """Tell whether every allowance before has one of its periods now, and none of its limits became less."""
    now = {share.shape(): share for share in after.shares}
    pairs = [pair for share in before.shares for pair in zip(share.limits, now[share.shape()].limits, strict=True)]
    return all(as_lenient(old, new) for old, new in pairs)


@pytest.mark.parametrize("feature", PERIODS)
@settings(QUICK, max_examples=100)
@given(data=st.data())
def test_neither_joining_nor_adding_takes_anything_away(feature, data):
    one, other = data.draw(standings(feature)), data.draw(standings(feature))
    assert no_less(one, join(FEATURES[feature], one, other))
    assert no_less(one, add(one, Source("add-on", "m"), data.draw(entitlements_of(feature, ("add",))), 2))


@settings(QUICK, max_examples=250)
@given(data=st.data(), world=worlds(["calls", "calls", "calls", *FEATURES.keys() - UNORDERED]))
def test_a_source_that_grants_or_adds_never_lowers_an_answer(data, world):
    richer = attrs.evolve(world, facts=data.draw(gifts(world)))
    was, now = world.entitlements(), richer.entitlements()
    before, fitted = world.judged(ByName(world.used), was)
    after, fits = richer.judged(ByName(world.used), now)
    event(f"{before.outcome} to {after.outcome}")
    assert after.allowed >= before.allowed
    assert fits >= fitted
    if was.standing(world.feature) is None:
        return
    assert after.source is not None or before.source is None
    if world.feature in PERIODS:
        assert no_less(was.standing(world.feature), now.standing(world.feature))
        assert after.unlimited or not before.unlimited
        if was.anchoring(world.feature) == now.anchoring(world.feature):
            assert RISING[after.outcome] >= RISING[before.outcome]
    elif before.value is not None:
        assert at_least(FEATURES[world.feature], after.value, before.value)


@settings(QUICK)
@given(data=st.data(), world=worlds(["seats"]))
def test_where_periods_do_not_differ_the_shown_limit_never_goes_down(data, world):
    before, _ = world.judged(ByName(world.used))
    after, _ = attrs.evolve(world, facts=data.draw(gifts(world))).judged(ByName(world.used))
    if before.limit is not None and not after.unlimited:
        assert not before.unlimited
        assert after.limit >= before.limit
        assert after.remaining >= before.remaining
        assert after.soft >= before.soft or after.ceiling is not None


# --- limit 0, missing and unlimited


@settings(QUICK, max_examples=50)
@given(world=worlds(sorted(PERIODS)))
def test_limit_zero_missing_and_unlimited_are_three_answers(world):
    period, feature = PERIODS[world.feature][0], world.feature
    answers = []
    for entitlement in (
        Entitlement(feature, "set", limits=(Limit(0, period),)),
        Entitlement(feature, "deny"),
        Entitlement(feature, "set", limits=(Limit(UNLIMITED, period),)),
    ):
        facts = attrs.evolve(world.facts, overrides=(Override(entitlement, AT, None, 99),))
        answers.append(attrs.evolve(world, facts=facts, requested=max(1, world.requested)).checked())
    zero, missing, unlimited = answers
    assert (zero.allowed, zero.code, zero.limit, zero.to_dict()["limit"]) == (False, "limit_reached", 0, 0)
    assert (missing.allowed, missing.code, missing.limit) == (False, "denied_by_override", None)
    assert missing.to_dict()["limit"] is None
    assert (unlimited.allowed, unlimited.code, unlimited.limit) == (True, "ok", UNLIMITED)
    assert unlimited.to_dict()["limit"] == "unlimited"


# --- the explanation


def real_sources(catalog, facts):
    named = {f"{kind}:{plan}" for plan in catalog.plans for kind in ("plan", "parent")}
    named |= {f"trial:{fact.plan}" for fact in facts.trials} | {f"add-on:{fact.addon}" for fact in facts.addons}
    named |= {f"promotion:{fact.promotion}" for fact in facts.promotions}
    return named | {f"override:{fact.entitlement.mode}" for fact in facts.overrides}


def told(row):
    """Return the period and the amount, times the quantity, that a candidate says."""
    said, _, times = re.fullmatch(r"\+?(.*?)(, (\d+) times)?", row.says).group(1, 2, 3)
    amount, _, period = re.sub(r" \((partial|soft).*\)", "", said).partition(" per ")
    number = UNLIMITED if amount == "unlimited" else int(amount.replace(",", "")) * int(times or 1)
    return period or "none", number


@settings(QUICK, max_examples=180)
@given(world=worlds())
def test_the_winner_of_an_explanation_is_real_and_says_what_the_decision_says(world):
    explanation = explain(world.case("explain"))
    decision, rows = explanation.decision, explanation.candidates
    assert {row.source for row in rows} <= real_sources(world.catalog, world.facts)
    won = [row for row in rows if row.outcome == "won"]
    if decision.source is None:
        assert all(row.source in {"override:deny", "override:set"} for row in won)
        return
    assert decision.source in {row.source for row in won}
    if world.feature == "langs":
        items = {item for row in rows if row.outcome in {"won", "added"} for item in row.says.split(", ")}
        assert items - {"nothing"} == set(decision.value)
    elif world.feature not in PERIODS:
        assert says(FEATURES[world.feature], Entitlement(world.feature, value=decision.value)) in {
            row.says for row in won
        }
    elif not any(" and " in row.says for row in rows):
        assert_amounts_add_up(decision, won, [row for row in rows if row.why.startswith("added to")])


def assert_amounts_add_up(decision, won, added):
    periods = {
        each.every for each in decision.allowances if each.source == decision.source and each.limit == decision.limit
    }
    for period in periods:
        amounts = {told(row)[1] for row in won if row.source == decision.source and told(row)[0] == period}
        amounts |= {0} if not amounts else set()
        more = [told(row)[1] for row in added if decision.source in row.why and told(row)[0] == period]
        if UNLIMITED in amounts or UNLIMITED in more:
            assert decision.unlimited
        elif len(amounts) == 1:  # else one parent speaks twice: of now, and of when a pinned plan was sold
            assert decision.limit == amounts.pop() + sum(more)


# --- until when it is valid


def instants_before(until, facts):
    """Return instants before the end of validity: the very last, one midway, and the edges of other facts."""
    horizon = until or AT + 200 * STEP
    edges = {edge for fact in facts for edge in (fact.since, fact.until) if edge is not None and AT < edge < horizon}
    return [horizon - TICK, AT + (horizon - AT) / 2, *sorted(edges)]


@st.composite
def used_up(draw):
    """A world with nothing but one subscription and much use of what it gives."""
    plan = Plan("a1", "a", entitlements={"calls": draw(entitlements_of("calls", ("grant",)))})
    anchor = AT + draw(STEPS) * STEP + timedelta(minutes=draw(st.sampled_from([0, 20, 61])))
    held = Subscription("a", "a", "a1", AT - 30 * STEP, None, AT - 30 * STEP, anchor)
    more = draw(st.sampled_from([(), (Override(draw(entitlements_of("calls", ("grant",))), AT - STEP, None),)]))
    used = {f"calls/{period}": draw(st.sampled_from([5, 8, 9, 12])) for period in PERIODS["calls"]}
    catalog = Catalog({"calls": FEATURES["calls"]}, plans={"a1": plan}, version="new")
    return World("calls", catalog, {}, Facts((held,), overrides=more), used, draw(st.integers(1, 4)), draw(FIRST_USES))


@settings(QUICK, max_examples=250)
@given(world=st.one_of(worlds(), used_up()))
def test_until_it_ends_time_alone_does_not_change_an_answer(world):
    decision = world.checked()
    event(f"{decision.outcome}, {'to be' if decision.lifted_at else 'not'} lifted")
    event(f"{decision.code} until {'the end' if decision.valid_until is None else 'then'}")
    assert decision.valid_until is None or decision.valid_until > AT
    for at in instants_before(decision.valid_until, world.facts):
        assert world.checked(at) == decision


@settings(QUICK, max_examples=60)
@given(world=worlds())
def test_what_was_resolved_once_may_be_used_until_a_fact_changes(world):
    once = world.entitlements()
    for at in instants_before(once.next_change(), world.facts):
        assert not once.changed_by(at)
        assert world.judged(Booked(world.used), once, at) == world.judged(Booked(world.used), None, at)
