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
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from entitlements.amounts import UNLIMITED, Unlimited
from entitlements.cases import Case
from entitlements.catalog.model import AddOn, Catalog, Entitlement, Feature, Limit, Period, Plan, Promotion
from entitlements.catalog.standing import Source, add, at_least, bound, join, standing_of
from entitlements.contest import says
from entitlements.deciding import check, snapshot
from entitlements.judging import Question, judge
from entitlements.ledger.facts import Facts, HeldAddOn, Override, PromotionRun, Subscription, Trial
from entitlements.ledger.state import Head
from entitlements.metering import counters, meters
from entitlements.reports.explain import explain
from entitlements.requests import request
from entitlements.resolution import resolve

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
AMOUNTS = st.one_of(st.integers(0, 12), st.just(UNLIMITED))
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


# --- random catalogs and customers


@st.composite
def limits(draw, period):
    amount = draw(AMOUNTS)
    depletion = draw(st.sampled_from(["hard", "hard", "partial", "soft"]))
    capped = depletion == "soft" and not isinstance(amount, Unlimited) and draw(st.booleans())
    return Limit(amount, period, depletion, amount + draw(st.integers(0, 6)) if capped else None)


@st.composite
def entitlements_of(draw, feature, modes):
    mode = draw(st.sampled_from(modes))
    if feature in PERIODS:
        periods = draw(st.lists(st.sampled_from(PERIODS[feature]), min_size=1, max_size=2, unique=True))
        return Entitlement(feature, mode, limits=tuple(draw(limits(period)) for period in periods))
    return Entitlement(feature, "grant" if mode == "add" else mode, value=draw(VALUES[feature]))


@st.composite
def entries(draw, modes=("grant",)):
    named = draw(st.lists(st.sampled_from(sorted(FEATURES)), unique=True, max_size=5))
    return {feature: draw(entitlements_of(feature, modes)) for feature in named}


@st.composite
def catalogs(draw):
    plans = {}
    for key in ("a1", "a2", "a3", "b1", "b2"):
        parents = tuple(draw(st.lists(st.sampled_from(sorted(plans)), unique=True, max_size=2))) if plans else ()
        given_ = draw(entries(("grant", "grant", "set")))
        plans[key] = Plan(key, key[0], parents, entitlements=given_)
    addons = {}
    for key in ("m", "n", "o"):
        required = tuple(draw(st.lists(st.sampled_from(sorted(addons)), max_size=1))) if addons else ()
        sold_with = tuple(draw(st.lists(st.sampled_from(sorted(plans)), unique=True, max_size=3)))
        addons[key] = AddOn(key, sold_with, required, entitlements=draw(entries(("add", "add", "grant"))))
    promotions = {key: Promotion(key, entitlements=draw(entries())) for key in ("p", "q")}
    default = draw(st.sampled_from([None, "a1"]))
    return Catalog(FEATURES, plans=plans, addons=addons, promotions=promotions, default_plan=default, version="new")


INSTANTS = st.one_of(st.integers(-40, 40).map(lambda steps: AT + steps * STEP), st.just(AT))


@st.composite
def spans(draw):
    """A span of time that most often includes AT."""
    since = draw(st.one_of(st.integers(-40, 0).map(lambda steps: AT + steps * STEP), INSTANTS))
    until = draw(st.one_of(st.none(), INSTANTS))
    return since, until if until is None or until > since else None


@st.composite
def subscriptions(draw, product):
    began, ends = draw(spans())
    cut = began + draw(st.integers(1, 30)) * STEP
    rows = (
        [(began, ends)]
        if ends is not None and cut >= ends
        else draw(st.sampled_from([[(began, ends)], [(began, cut), (cut, ends)]]))
    )
    anchor = draw(INSTANTS)
    zone = draw(st.sampled_from(["UTC", "Asia/Kathmandu"]))
    return [
        Subscription(
            product,
            product,
            draw(st.sampled_from([f"{product}1", f"{product}2", f"{product}{3 if product == 'a' else 1}"])),
            since,
            until,
            began,
            anchor,
            zone,
            draw(st.sampled_from(["active", "active", "active", "past_due", "paused"])),
            None,
            draw(st.sampled_from([None, None, "old"])),
        )
        for since, until in rows
    ]


def some(*strategies):
    """Each of some values, or not."""
    return st.tuples(*(st.one_of(st.none(), strategy) for strategy in strategies)).map(
        lambda drawn: tuple(each for each in drawn if each is not None)
    )


def overrides(feature, mode, number=0):
    made = st.just(Entitlement(feature, "deny")) if mode == "deny" else entitlements_of(feature, (mode,))
    return st.builds(
        lambda entitlement, span: Override(entitlement, *span, number),
        made.map(lambda e: attrs.evolve(e, mode=mode)),
        spans(),
    )


@st.composite
def some_overrides(draw):
    wanted = draw(
        st.lists(
            st.tuples(st.sampled_from(sorted(FEATURES)), st.sampled_from(["grant", "grant", "add", "set", "deny"])),
            unique=True,
            max_size=5,
        )
    )
    return tuple(
        draw(overrides(feature, mode, number))
        for number, (feature, mode) in enumerate(wanted)
        if mode != "add" or feature in PERIODS
    )


@st.composite
def customers(draw):
    held = [
        row for product in draw(st.sampled_from(["", "a", "b", "ab", "ab"])) for row in draw(subscriptions(product))
    ]
    trials = [st.builds(lambda span, plan=plan: Trial(plan, *span), spans()) for plan in ("a2", "b1")]
    addons = [st.builds(lambda span, n, key=key: HeldAddOn(key, n, *span), spans(), st.integers(1, 3)) for key in "mno"]
    runs = [st.builds(lambda span, key=key: PromotionRun(key, *span), spans()) for key in "pq"]
    return Facts(tuple(held), draw(some(*trials)), draw(some(*addons)), draw(some(*runs)), draw(some_overrides()))


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


NAMES = [f"{feature}/{period}" for feature, periods in PERIODS.items() for period in periods]
USED = st.fixed_dictionaries({name: st.integers(0, 15) for name in NAMES})
OPENED = st.one_of(
    st.just({}), st.integers(0, 30).map(lambda hours: {f"calls/{FIRST_USE}": AT - timedelta(hours=hours)})
)
REQUESTED = st.integers(0, 14)


@st.composite
def worlds(draw):
    """A catalog, the older version of it in which pinned plans were sold, and a customer."""
    catalog = draw(catalogs())
    sold = {"old": attrs.evolve(draw(catalogs()), version="old")}
    return catalog, sold, draw(customers())


def asked(feature, requested=1, at=AT):
    return Question("acme", FEATURES[feature], requested, at, value=None)


def judged(world, feature, used, requested=1, *, at=AT, opened=None):
    catalog, sold, facts = world
    entitlements = resolve(catalog, facts, at, sold=sold)
    head = Head(batches=1, facts=facts, opened=opened or {})
    decision, _, units = judge(asked(feature, requested, at), entitlements, head, used)
    return decision, units, entitlements


def case(world, feature, used, requested=1, *, at=AT, opened=None, verb="check"):
    catalog, sold, facts = world
    wanted = {"feature": feature, "amount": requested} if feature is not None else {}
    return Case(
        request(verb, "acme", None, **wanted),
        "",
        catalog,
        at,
        Head(batches=1, facts=facts, opened=opened or {}),
        used,
        sold,
    )


def checked(world, feature, used, requested=1, *, at=AT, opened=None):
    return check(case(world, feature, used, requested, at=at, opened=opened))


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
@settings(QUICK, max_examples=100)
@given(data=st.data())
def test_the_join_is_commutative_associative_and_idempotent(feature, data):
    described = FEATURES[feature]
    one, two, three = (data.draw(standings(feature)) for _ in range(3))
    assert join(described, one, two) == join(described, two, one)
    assert join(described, join(described, one, two), three) == join(described, one, join(described, two, three))
    assert join(described, one, attrs.evolve(one)) == one
    assert join(described, join(described, one, two), two) == join(described, one, two)


@pytest.mark.parametrize("feature", PERIODS)
@settings(QUICK, max_examples=100)
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
    plans = {
        key: attrs.evolve(plan, extends=tuple(data.draw(st.permutations(plan.extends))))
        for key, plan in catalog.plans.items()
    }
    changed = {"plans": plans, "addons": catalog.addons, "promotions": catalog.promotions, "features": catalog.features}
    return attrs.evolve(catalog, **{name: shuffled(data, section) for name, section in changed.items()})


def sorted_upgrade(decision):
    return attrs.evolve(decision, upgrade=tuple(sorted(decision.upgrade)))


@settings(QUICK)
@given(data=st.data(), world=worlds(), used=USED, requested=REQUESTED, opened=OPENED)
def test_the_answer_does_not_depend_on_the_order_of_sources(data, world, used, requested, opened):
    catalog, sold, facts = world
    sections = {name: tuple(data.draw(st.permutations(getattr(facts, name)))) for name in attrs.fields_dict(Facts)}
    other = turned(data, catalog), {"old": turned(data, sold["old"])}, Facts(**sections)
    for feature in FEATURES:
        one = sorted_upgrade(checked(world, feature, Booked(used), requested, opened=opened))
        assert sorted_upgrade(checked(other, feature, Booked(used), requested, opened=opened)) == one


@settings(QUICK, max_examples=60)
@given(world=worlds(), used=USED, opened=OPENED)
def test_a_snapshot_says_what_checks_say(world, used, opened):
    taken = snapshot(case(world, None, Booked(used), opened=opened, verb="snapshot"))
    for feature in FEATURES:
        assert taken.features[feature] == checked(world, feature, Booked(used), opened=opened)
    json.dumps(taken.to_dict())


@settings(QUICK, max_examples=60)
@given(worlds=st.lists(worlds(), min_size=2, max_size=2), opened=OPENED)
def test_the_counters_of_a_customer_are_those_of_every_feature_whoever_was_asked_about_before(worlds, opened):
    (catalog, sold, _), _ = worlds
    for _, _, facts in worlds:
        entitlements = resolve(catalog, facts, AT, sold=sold)
        each = {
            meter.counter
            for feature in FEATURES.values()
            if feature.type == "metered"
            for meter in meters(entitlements, opened, feature, AT).values()
        }
        assert set(counters(entitlements, opened, AT)) == each


SEEDED = """
import json
from datetime import UTC, datetime
from entitlements.cases import Case
from entitlements.catalog.model import Catalog
from entitlements.deciding import snapshot
from entitlements.judging import Question, judge
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
def gifts(draw, catalog, facts):
    """A source that grants or adds, and is not there yet."""
    span = (AT - STEP, draw(st.sampled_from([None, AT + STEP])))
    choices = ["override"]
    choices += ["promotion"] * any(key not in {run.promotion for run in facts.promotions} for key in "pq")
    choices += ["trial"] * any(plan not in {trial.plan for trial in facts.trials} for plan in catalog.plans)
    choices += ["addon", "subscription"]
    kind = draw(st.sampled_from(choices))
    if kind == "promotion":
        key = draw(st.sampled_from([key for key in "pq" if key not in {run.promotion for run in facts.promotions}]))
        return attrs.evolve(facts, promotions=(*facts.promotions, PromotionRun(key, *span)))
    if kind == "trial":
        plans = [plan for plan in sorted(catalog.plans) if plan not in {trial.plan for trial in facts.trials}]
        return attrs.evolve(facts, trials=(*facts.trials, Trial(draw(st.sampled_from(plans)), *span)))
    if kind == "addon":
        key = draw(st.sampled_from("mno"))
        held = [
            fact
            for fact in facts.addons
            if fact.addon == key and fact.since <= AT and not (fact.until and fact.until <= AT)
        ]
        more = HeldAddOn(key, sum(fact.quantity for fact in held) + 1, *span)
        return attrs.evolve(facts, addons=(*(fact for fact in facts.addons if fact.addon != key), more))
    if kind == "subscription":
        assume(all(fact.product != "b" for fact in facts.subscriptions))
        plan = draw(st.sampled_from(["b1", "b2"]))
        return attrs.evolve(facts, subscriptions=(*facts.subscriptions, Subscription("b", "b", plan, *span, AT, AT)))
    feature = draw(st.sampled_from(sorted(FEATURES)))
    mode = draw(st.sampled_from(["grant", "add"] if feature in PERIODS else ["grant"]))
    assume(all(fact.key != f"{mode}:{feature}" for fact in facts.overrides))
    given_ = attrs.evolve(draw(entitlements_of(feature, (mode,))), mode=mode)
    return attrs.evolve(facts, overrides=(*facts.overrides, Override(given_, *span, 99)))


class ByName(Booked):
    """Counters that hold the same in every window, so that a window moved by a new anchor hides nothing."""

    def __getitem__(self, counter):
        return self.used[counter[0]]


RISING = {"block": 0, "throttle": 1, "allow": 2}


def no_less(before, after):
    """Tell whether every allowance before has one of its periods now, and none of its limits went down."""
    for share in before.shares:
        (now,) = (other for other in after.shares if other.shape() == share.shape())
        for old, new in zip(share.limits, now.limits, strict=True):
            if not (
                isinstance(new.amount, Unlimited)
                or (not isinstance(old.amount, Unlimited) and new.amount >= old.amount)
            ):
                return False
            if not (bound(new) is None or (bound(old) is not None and bound(new) >= bound(old))):
                return False
    return True


@settings(QUICK, max_examples=300)
@given(data=st.data(), world=worlds(), used=USED, requested=REQUESTED)
def test_a_source_that_grants_or_adds_never_lowers_an_answer(data, world, used, requested):
    catalog, sold, facts = world
    richer = catalog, sold, data.draw(gifts(catalog, facts))
    for feature in FEATURES.keys() - UNORDERED:
        before, fitted, was = judged(world, feature, ByName(used), requested)
        after, fits, now = judged(richer, feature, ByName(used), requested)
        event(f"{before.outcome} to {after.outcome}")
        assert after.allowed >= before.allowed
        assert fits >= fitted
        if was.standing(feature) is None:
            continue
        if feature in PERIODS:
            assert no_less(was.standing(feature), now.standing(feature))
            assert after.unlimited or not before.unlimited
            assert after.source is not None
            if was.anchoring(feature) == now.anchoring(feature):
                assert RISING[after.outcome] >= RISING[before.outcome]
        elif before.value is not None:
            assert at_least(FEATURES[feature], after.value, before.value)


@settings(QUICK)
@given(data=st.data(), world=worlds(), used=USED, requested=REQUESTED)
def test_where_periods_do_not_differ_the_shown_limit_never_goes_down(data, world, used, requested):
    catalog, sold, facts = world
    before, _, _ = judged(world, "seats", ByName(used), requested)
    after, _, _ = judged((catalog, sold, data.draw(gifts(catalog, facts))), "seats", ByName(used), requested)
    if before.limit is not None:
        assert after.unlimited or (not before.unlimited and after.limit >= before.limit)
        assert after.unlimited or (not before.unlimited and after.remaining >= before.remaining)
        assert after.soft >= before.soft or after.unlimited or after.ceiling is not None


# --- limit 0, missing and unlimited


@settings(QUICK, max_examples=60)
@given(world=worlds(), used=USED, feature=st.sampled_from(sorted(PERIODS)), requested=st.integers(1, 14))
def test_limit_zero_missing_and_unlimited_are_three_answers(world, used, feature, requested):
    catalog, sold, facts = world
    others = tuple(fact for fact in facts.overrides if fact.entitlement.feature != feature)
    answers = []
    for entitlement in (
        Entitlement(feature, "set", limits=(Limit(0, PERIODS[feature][0]),)),
        Entitlement(feature, "deny"),
        Entitlement(feature, "set", limits=(Limit(UNLIMITED, PERIODS[feature][0]),)),
    ):
        decided = attrs.evolve(facts, overrides=(*others, Override(entitlement, AT, None, 99)))
        answers.append(checked((catalog, sold, decided), feature, Booked(used), requested))
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


@settings(QUICK, max_examples=250)
@given(world=worlds(), used=USED, requested=REQUESTED)
def test_the_winner_of_an_explanation_is_real_and_says_what_the_decision_says(world, used, requested):
    catalog, _, facts = world
    for feature, described in FEATURES.items():
        explanation = explain(case(world, feature, Booked(used), requested, verb="explain"))
        decision, rows = explanation.decision, explanation.candidates
        assert {row.source for row in rows} <= real_sources(catalog, facts)
        won = [row for row in rows if row.outcome == "won"]
        if decision.source is None:
            assert all(row.source in {"override:deny", "override:set"} for row in won)
            continue
        assert decision.source in {row.source for row in won}
        if feature == "langs":
            items = {item for row in rows if row.outcome in {"won", "added"} for item in row.says.split(", ")}
            assert items - {"nothing"} == set(decision.value)
        elif feature not in PERIODS:
            assert says(described, Entitlement(feature, value=decision.value)) in {row.says for row in won}
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


def instants_before(data, until, facts):
    """Instants before the end of validity: the very last, and any that something else may happen at."""
    horizon = until or AT + 200 * STEP
    edges = {edge for fact in facts for edge in (fact.since, fact.until) if edge is not None and AT < edge < horizon}
    edges |= {horizon - TICK, AT + (horizon - AT) / 2}
    return data.draw(st.sampled_from(sorted(edges)))


@settings(QUICK, max_examples=250)
@given(data=st.data(), world=worlds(), used=USED, requested=REQUESTED, opened=OPENED)
def test_until_it_ends_time_alone_does_not_change_an_answer(data, world, used, requested, opened):
    for feature in FEATURES:
        decision = checked(world, feature, Booked(used), requested, opened=opened)
        event(f"{decision.code} until {'the end' if decision.valid_until is None else 'then'}")
        assert decision.valid_until is None or decision.valid_until > AT
        at = instants_before(data, decision.valid_until, world[2])
        assert checked(world, feature, Booked(used), requested, at=at, opened=opened) == decision


@settings(QUICK, max_examples=100)
@given(data=st.data(), world=worlds(), used=USED, requested=REQUESTED)
def test_what_was_resolved_once_may_be_used_until_a_fact_changes(data, world, used, requested):
    catalog, sold, facts = world
    once = resolve(catalog, facts, AT, sold=sold)
    at = instants_before(data, once.next_change(), facts)
    assert not once.changed_by(at)
    head = Head(batches=1, facts=facts)
    for feature in FEATURES:
        again = resolve(catalog, facts, at, sold=sold)
        kept = judge(asked(feature, requested, at), once, head, Booked(used))
        fresh = judge(asked(feature, requested, at), again, head, Booked(used))
        assert kept == fresh
