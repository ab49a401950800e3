"""A catalog as a whole: references, circles, contradictions."""



import time

import attrs
import pytest

from entitlements.amounts import UNLIMITED
from entitlements.catalog.checking import check
from entitlements.catalog.findings import dotted
from entitlements.catalog.loading import parse
from entitlements.catalog.model import (
    Catalog,
    Credit,
    Entitlement,
    Feature,
    Limit,
    Period,
    Plan,
    PlanCredit,
    Rate,
)
from entitlements.errors import CatalogError

CALLS = {"calls": {"type": "metered"}}


def problems(document):
    """Every problem of a catalog that cannot be used, as `path: message`."""
    with pytest.raises(CatalogError) as refusal:
        parse(document)
    return [str(problem) for problem in refusal.value.problems]


def told(catalog):
    """Every finding of a catalog that was built by hand."""
    return [f"{dotted(finding.path)}: {finding.message}" for finding in check(catalog)]


def plan_with(entry, reset="none", **feature):
    return {
        "features": {"calls": {"type": "metered", "reset": reset, **feature}},
        "plans": {"pro": {"entitlements": {"calls": entry}}},
    }


def test_a_sound_catalog_has_no_findings():
    assert check(parse(plan_with(5))) == ()
    assert check(Catalog()) == ()


# --- references ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"default_plan": "fre", "plans": {"free": {}}}, "default_plan: unknown plan 'fre'; did you mean 'free'?"),
        ({"default_plan": "x"}, "default_plan: unknown plan 'x'"),
        ({"products": {"app": {}}, "plans": {"p": {"product": "ap"}}}, "plans.p.product: unknown product 'ap'; did you mean 'app'?"),
        ({"plans": {"p": {"product": "app"}}}, "plans.p.product: unknown product 'app'"),
        ({"plans": {"pro": {}, "q": {"extends": "prro"}}}, "plans.q.extends: unknown plan 'prro'; did you mean 'pro'?"),
        ({"plans": {"pro": {}, "q": {"extends": ["pro", "x"]}}}, "plans.q.extends[1]: unknown plan 'x'"),
        ({"plans": {"pro": {}}, "addons": {"a": {"plans": ["pr"]}}}, "addons.a.plans[0]: unknown plan 'pr'; did you mean 'pro'?"),
        ({"addons": {"seats": {}, "a": {"requires": ["seat"]}}}, "addons.a.requires[0]: unknown add-on 'seat'; did you mean 'seats'?"),
        ({"addons": {"seats": {}, "a": {"excludes": ["seat"]}}}, "addons.a.excludes[0]: unknown add-on 'seat'; did you mean 'seats'?"),
        ({"features": CALLS, "plans": {"p": {"entitlements": {"call": 1}}}}, "plans.p.entitlements.call: unknown feature 'call'; did you mean 'calls'?"),
        ({"features": CALLS, "addons": {"a": {"entitlements": {"call": 1}}}}, "addons.a.entitlements.call: unknown feature 'call'; did you mean 'calls'?"),
        ({"features": CALLS, "promotions": {"m": {"entitlements": {"call": 1}}}}, "promotions.m.entitlements.call: unknown feature 'call'; did you mean 'calls'?"),
        ({"credits": {"ai": {}}, "plans": {"p": {"credits": {"a": {"grant": 1, "every": "day"}}}}}, "plans.p.credits.a: unknown credit 'a'; did you mean 'ai'?"),
        ({"credits": {"ai": {}}, "rates": {"calls": {"credit": "ai", "price": 1}}}, "rates.calls: unknown feature 'calls'"),
        ({"features": CALLS, "rates": {"calls": {"credit": "ai", "price": 1}}}, "rates.calls.credit: unknown credit 'ai'"),
        ({"features": {"on": {"type": "boolean"}}, "credits": {"ai": {}}, "rates": {"on": {"credit": "ai", "price": 1}}}, "rates.on: prices feature 'on', which is boolean; only metered features have a rate"),
        ({"plans": {"p": {}, "q": {"extends": ["p", "p"]}}}, "plans.q.extends[1]: names 'p' twice; name it once"),
        ({"plans": {"p": {}}, "addons": {"a": {"plans": ["p", "p"]}}}, "addons.a.plans[1]: names 'p' twice; name it once"),
    ],
)  # fmt: skip
def test_references(document, message):
    assert problems(document) == [message]


def test_a_catalog_made_by_hand_is_checked_as_well():
    catalog = Catalog(
        features={
            "on": Feature("on", "boolean"),
            "n": Feature("n", "metered", scale=10),
            "$x": Feature("$x", "boolean"),
        },
        credits={"c": Credit("c", scale=-1)},
        plans={
            "p": Plan(
                "p",
                entitlements={
                    "lost": Entitlement("lost", value=True),
                    "on": Entitlement("on", value="yes"),
                    "n": Entitlement("n"),
                },
                credits={"lost": PlanCredit(0, "day")},
            )
        },
        rates={"lost": Rate("lost", "lost")},
    )
    assert told(catalog) == [
        "features.'$x': keys that start with $ are the library's own; write another",
        "features.n.scale: is 10; write how many decimal places, from 0 to 9",
        "credits.c.scale: is -1; write how many decimal places, from 0 to 9",
        "plans.p.credits.lost: unknown credit 'lost'",
        "plans.p.credits.lost.grant: is 0; write more, or leave the credit out",
        "rates.lost: unknown feature 'lost'",
        "rates.lost.credit: unknown credit 'lost'",
        "rates.lost.price: needs a price, or cases under when",
        "plans.p.entitlements.lost: unknown feature 'lost'",
        "plans.p.entitlements.on.value: is not of type boolean, which feature 'on' has",
        "plans.p.entitlements.n.limits: is empty; write at least one limit",
    ]


# --- circles and chains -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extends", "expected"),
    [
        ({"a": ["a"]}, ["plans.a.extends: goes in a circle: a -> a; take one step out"]),
        ({"a": ["b"], "b": ["a"]}, ["plans.a.extends: goes in a circle: a -> b -> a; take one step out"]),
        ({"x": ["a"], "a": ["b"], "b": ["c"], "c": ["a"]}, ["plans.a.extends: goes in a circle: a -> b -> c -> a; take one step out"]),
        (
            {"a": ["b"], "b": ["a"], "c": ["d"], "d": ["c"]},
            ["plans.a.extends: goes in a circle: a -> b -> a; take one step out", "plans.c.extends: goes in a circle: c -> d -> c; take one step out"],
        ),
    ],
)  # fmt: skip
def test_circles(extends, expected):
    assert problems({"plans": {key: {"extends": names} for key, names in extends.items()}}) == expected


def test_circles_of_add_ons():
    addons = {"a": {"requires": ["b"]}, "b": {"requires": ["a"]}}
    assert problems({"addons": addons}) == ["addons.a.requires: goes in a circle: a -> b -> a; take one step out"]


def test_a_long_circle_is_shown_in_part():
    plans = {f"p{number}": {"extends": f"p{(number + 1) % 50}"} for number in range(50)}
    assert problems({"plans": plans}) == [
        "plans.p0.extends: goes in a circle: p0 -> p1 -> p2 -> p3 -> p4 -> p5 -> p6 -> p7 -> p8 -> p9 -> p10 -> ... -> p49 -> p0; take one step out"
    ]


def test_diamonds_are_no_circles():
    parse({"plans": {"a": {"extends": ["b", "c"]}, "b": {"extends": "d"}, "c": {"extends": "d"}, "d": {}}})


def chain(section, verb, length):
    links = {f"p{number}": {verb: [f"p{number + 1}"] if number + 1 < length else []} for number in range(length)}
    return {section: links}


def test_chains_have_an_end():
    parse(chain("plans", "extends", 32))
    (problem,) = problems(chain("plans", "extends", 33))
    assert problem == "plans.p0.extends: is a chain of 33; chains have at most 32"
    started = time.perf_counter()
    (problem,) = problems(chain("plans", "extends", 10_000))
    assert problem == "plans.p9967.extends: is a chain of 33; chains have at most 32"
    assert time.perf_counter() - started < 5


def test_a_circle_hides_no_chain_elsewhere():
    plans = chain("plans", "extends", 33)["plans"]
    assert problems({"plans": {**plans, "z": {"extends": "z"}, "y": {"extends": ["z", "p0"]}}}) == [
        "plans.p0.extends: is a chain of 33; chains have at most 32",
        "plans.z.extends: goes in a circle: z -> z; take one step out",
    ]


def test_addons_may_require_each_other_in_any_number():
    assert len(parse(chain("addons", "requires", 2_000)).addons) == 2_000
    ladder = {f"a{rung}": {"requires": [f"a{up}" for up in range(rung)]} for rung in range(14)}
    assert len(parse({"addons": ladder}).addons) == 14


def test_ways_up_are_bounded():
    def ladder(rungs):
        plans = {"a0": {}, "b0": {}}
        for rung in range(1, rungs):
            plans |= {f"{side}{rung}": {"extends": [f"a{rung - 1}", f"b{rung - 1}"]} for side in "ab"}
        return {"plans": plans}

    parse(ladder(8))
    assert problems(ladder(31)) == [
        "plans.a10.extends: leads up on more than 1000 ways; name fewer",
        "plans.b10.extends: leads up on more than 1000 ways; name fewer",
    ]


def test_a_thousand_ways_up_are_fine():
    roots = {f"r{number}": {} for number in range(1000)}
    parse({"plans": roots | {"p": {"extends": list(roots)}, "q": {"extends": "p"}}})
    assert problems({"plans": roots | {"p": {"extends": list(roots)}, "q": {"extends": ["p", "r0"]}}}) == [
        "plans.q.extends: leads up on more than 1000 ways; name fewer"
    ]


def test_a_tangle_takes_bounded_time():
    started = time.perf_counter()
    names = [f"p{number}" for number in range(400)]
    assert len(problems({"plans": {name: {"extends": names} for name in names}})) == 101
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    ("plans", "path", "grants", "other"),
    [
        ({"x": ["y/z"], "x/y": ["z"]}, "plans.'x/y'", "'z'", "'x' grants of 'y/z'"),
        ({"x": ["z"], "trial:x": ["z"]}, "plans.'trial:x'", "'z'", "'x' grants of 'z'"),
    ],
)
def test_plans_whose_grants_a_log_could_not_tell_apart(plans, path, grants, other):
    """Found by random stories: of two such grants, one silently never came."""
    granted = {plan: {"credits": {credit: {"grant": 5, "every": "month"} for credit in names}} for plan, names in plans.items()}
    document = {"credits": {name: {} for names in plans.values() for name in names}, "plans": granted}
    said = f"{path}: what it grants of {grants} would be counted as what {other}; give the plan a key without '/' and 'trial:'"
    assert problems(document) == [said]
    heir = {"extends": list(plans)[1], "product": "other"}
    assert len(problems(document | {"products": {"other": {}}, "plans": {**granted, "heir": heir}})) == 1


def test_odd_keys_whose_grants_can_be_told_apart_are_fine():
    names = ("a/b", "c", "trial:d")
    grants = {"credits": {"y/z": {"grant": 5, "every": "month"}}}
    assert list(Catalog.load({"credits": {"y/z": {}}, "plans": dict.fromkeys(names, grants)}).plans) == list(names)


# --- add-ons ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("addon", "message"),
    [
        ({"requires": ["b"], "excludes": ["b"]}, "addons.a.excludes[0]: excludes 'b', which it requires; drop one"),
        ({"requires": ["b"], "excludes": ["c"]}, "addons.a.excludes[0]: excludes 'c', which it requires; drop one"),
        ({"excludes": ["a"]}, "addons.a.excludes[0]: excludes itself; take it out"),
    ],
)
def test_add_ons_that_exclude_what_they_need(addon, message):
    assert problems({"addons": {"a": addon, "b": {"requires": ["c"]}, "c": {}}}) == [message]


@pytest.mark.parametrize(
    ("addons", "expected"),
    [
        ({"a": {"requires": ["b"]}, "b": {"excludes": ["a"]}}, ["b.excludes[0]: excludes 'a', which requires it; drop one"]),
        ({"a": {"requires": ["b"]}, "b": {"requires": ["c"]}, "c": {"excludes": ["a"]}}, ["c.excludes[0]: excludes 'a', which requires it; drop one"]),
        (
            {"a": {"requires": ["b", "c"]}, "b": {"excludes": ["c"]}, "c": {"excludes": ["b"]}, "d": {"requires": ["a"]}, "e": {"requires": ["b"]}},
            ["a.requires: comes to 'b' and 'c', which exclude each other; drop one", "d.requires: comes to 'b' and 'c', which exclude each other; drop one"],
        ),
    ],
)  # fmt: skip
def test_add_ons_that_could_never_be_held(addons, expected):
    assert problems({"addons": addons}) == [f"addons.{line}" for line in expected]


def test_add_ons_may_exclude_the_same():
    parse({"addons": {"a": {"requires": ["b"], "excludes": ["c"]}, "b": {"excludes": ["c"]}, "c": {}}})


# --- entitlements -------------------------------------------------------------------------------

SOFT = {"limit": 5, "depletion": "soft"}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"limits": []}, ["limits: is empty; write at least one limit"]),
        ({"limit": 5, "ceiling": 9}, ["ceiling: is for depletion: soft, where usage may pass the limit; write that too, or leave it out"]),
        ({"limit": 5, "ceiling": 9, "depletion": "partial"}, ["ceiling: is for depletion: soft, where usage may pass the limit; write that too, or leave it out"]),
        ({**SOFT, "ceiling": 4}, ["ceiling: is below the limit; write one at or above it"]),
        ({**SOFT, "limit": "unlimited", "ceiling": 4}, ["ceiling: says nothing above an unlimited limit; leave it out"]),
        ({"limits": [{"limit": 5}, {**SOFT, "ceiling": 4}]}, ["limits[1]: has the same period as limits[0], month; keep one of them", "limits[1].ceiling: is below the limit; write one at or above it"]),
        ({"limits": [{"limit": 5, "reset": "day"}, {"limit": 9}, {"limit": 9, "reset": {"every": "day", "count": 1}}]}, ["limits[2].reset: has the same period as limits[0], day; keep one of them"]),
        ({"limit": 5, "reset": {"every": "day", "count": 0}}, ["reset.count: is 0; write a number from 1 to 10000"]),
        ({"limit": 5, "reset": {"every": "day", "count": 10_001}}, ["reset.count: is 10001; write a number from 1 to 10000"]),
        ({"limit": 5, "reset": {"every": "year", "count": 101}}, ["reset.count: is 101; write a number from 1 to 100"]),
        ({"limit": 5, "reset": "none"}, ["reset: is none here and month on feature 'calls'; usage resets in all periods of a feature or in none, so write a period in both"]),
        ({"limits": [{"limit": 5, "reset": "none"}]}, ["limits[0].reset: is none here and month on feature 'calls'; usage resets in all periods of a feature or in none, so write a period in both"]),
    ],
)  # fmt: skip
def test_limits(entry, expected):
    assert problems(plan_with(entry, reset="month")) == [f"plans.pro.entitlements.calls.{line}" for line in expected]


def test_limits_that_are_fine():
    parse(plan_with({**SOFT, "ceiling": 5}))
    parse(plan_with({"limits": [{"limit": 5, "reset": "day"}, {"limit": 50}]}, reset="month"))
    parse(plan_with({"limit": 5, "reset": {"every": "day", "count": 10_000}}, reset="month"))


def test_resets_that_contradict_are_told_once_for_each_feature():
    document = plan_with({"limit": 5, "reset": "day"})
    document["plans"]["team"] = {"entitlements": {"calls": {"limit": 5, "reset": "week"}}}
    document["features"]["x"] = {"type": "metered"}
    document["plans"]["twice"] = {
        "entitlements": {"x": {"limits": [{"limit": 5, "reset": "day"}, {"limit": 5, "reset": "week"}]}}
    }
    document["plans"]["team"]["entitlements"]["x"] = {
        "limit": 5,
        "reset": {"every": "hour", "count": 5, "align": "calendar"},
    }
    assert problems(document) == [
        "plans.pro.entitlements.calls.reset: is day here and none on feature 'calls'; usage resets in all periods of a feature or in none, so write a period in both",
        "plans.team.entitlements.x.reset: is 5 hours (calendar) here and none on feature 'x'; usage resets in all periods of a feature or in none, so write a period in both",
    ]


@pytest.mark.parametrize(
    ("reset", "message"),
    [
        ({"every": "none", "align": "first_use"}, "has align: first_use and every: none; what never resets has no first use, write a period"),
        ({"every": "none", "align": "calendar"}, "never resets, so count and align say nothing; leave them out"),
        ({"every": "none", "count": 0}, "never resets, so count and align say nothing; leave them out"),
        ({"every": "none", "count": 2}, "never resets, so count and align say nothing; leave them out"),
    ],
)  # fmt: skip
def test_what_never_resets(reset, message):
    assert problems({"features": {"calls": {"type": "metered", "reset": reset}}}) == [
        f"features.calls.reset: {message}"
    ]


def test_resets_of_features_are_bounded():
    for count in (0, -1, 1_201):
        reset = {"every": "month", "count": count}
        expected = [f"features.calls.reset.count: is {count}; write a number from 1 to 1200"]
        assert problems({"features": {"calls": {"type": "metered", "reset": reset}}}) == expected


def test_add_is_for_limits():
    features = {"on": {"type": "boolean"}, "tier": {"type": "config"}}
    entries = {"on": {"value": True, "mode": "add"}, "tier": {"value": "x", "mode": "add"}}
    assert problems({"features": features, "addons": {"a": {"entitlements": entries}}}) == [
        "addons.a.entitlements.on.mode: add is for limits; 'on' is boolean, write grant or set",
        "addons.a.entitlements.tier.mode: add is for limits; 'tier' is config, write grant or set",
    ]


# --- config values ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("feature", "value", "expected"),
    [
        ({"prefer": ["gold", "silver"]}, "golf", ["plans.p.entitlements.f: 'golf' is not a value of feature 'f'; did you mean 'gold'?"]),
        ({"prefer": ["gold", "silver"]}, "x", ["plans.p.entitlements.f: 'x' is not a value of feature 'f'; write one of gold, silver"]),
        ({"prefer": ["a\r\x1fb"]}, "x", [r"plans.p.entitlements.f: 'x' is not a value of feature 'f'; write one of a\r\x1fb"]),
        ({"prefer": ["gold"]}, {"value": "x"}, ["plans.p.entitlements.f.value: 'x' is not a value of feature 'f'; write one of gold"]),
        ({"value": "integer", "prefer": [1, 5]}, 3, ["plans.p.entitlements.f: '3' is not a value of feature 'f'; write one of 1, 5"]),
        ({"value": "list"}, ["a", "b", "a"], ["plans.p.entitlements.f[2]: names 'a' twice; name it once"]),
        ({"prefer": "max"}, "x", ["features.f.prefer: texts have no max; write a list with the best value first"]),
        ({"prefer": []}, "x", ["features.f.prefer: is empty; write the values, the best first"]),
        ({"prefer": ["a", "b", "a"]}, "a", ["features.f.prefer[2]: names 'a' twice; name it once"]),
        ({"value": "list", "prefer": [["a"]]}, ["a"], ["features.f.prefer: is not for lists, which unite; leave it out"]),
        ({"value": "list", "prefer": "max"}, ["a"], ["features.f.prefer: is not for lists, which unite; leave it out"]),
    ],
)  # fmt: skip
def test_config(feature, value, expected):
    document = {"features": {"f": {"type": "config", **feature}}, "plans": {"p": {"entitlements": {"f": value}}}}
    assert problems(document) == expected


def test_config_values_that_are_fine():
    features = {"f": {"type": "config", "value": "decimal", "prefer": ["2.50", 1]}}
    parse({"features": features, "plans": {"p": {"entitlements": {"f": "2.5"}}, "q": {"entitlements": {"f": "1.0"}}}})


# --- credits ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("credit", "message"),
    [
        ({"currency": "usd"}, "currency: 'usd' is not a currency; write its three capital letters, such as USD"),
        ({"currency": "DOLLAR"}, "currency: 'DOLLAR' is not a currency; write its three capital letters, such as USD"),
        ({"floor": 5}, "floor: is for depletion: soft, where credits go into debt; leave it out"),
        ({"burn_order": "plan_frst"}, "burn_order: 'plan_frst' is not a burn order; did you mean 'plan_first'?"),
        ({"burn_order": "lifo"}, "burn_order: 'lifo' is not a burn order; write one of default, first_in_first_out, soonest_expiry, plan_first, or a list of keys"),
        ({"burn_order": []}, "burn_order: is empty; write one of default, first_in_first_out, soonest_expiry, plan_first, or a list of keys"),
        ({"burn_order": ["plan", "x"]}, "burn_order[1]: 'x' is not a key to burn by; the keys are priority, expires_at, category, cost_basis, restricted, effective_at, granted, plan"),
        ({"burn_order": ["prioritty"]}, "burn_order[0]: 'prioritty' is not a key to burn by; did you mean 'priority'?"),
        ({"burn_order": ["plan", "granted", "plan"]}, "burn_order[2]: names 'plan' twice; name it once"),
    ],
)  # fmt: skip
def test_credits(credit, message):
    assert problems({"credits": {"c": credit}}) == [f"credits.c.{message}"]


@pytest.mark.parametrize("order", ["default", "first_in_first_out", "soonest_expiry", "plan_first"])
def test_burn_orders(order):
    assert parse({"credits": {"c": {"burn_order": order}}}).credits["c"].burn_order == order
    keys = ["priority", "expires_at", "category", "cost_basis", "restricted", "effective_at", "granted", "plan"]
    assert parse({"credits": {"c": {"burn_order": keys}}}).credits["c"].burn_order == tuple(keys)


@pytest.mark.parametrize(
    ("granted", "message"),
    [
        ({"grant": 0}, "grant: is 0; write more, or leave the credit out"),
        ({"count": 0}, "count: is 0; write a number from 1 to 10000"),
        ({"count": 401, "every": "quarter"}, "count: is 401; write a number from 1 to 400"),
        ({"rollover": {"fraction": "1.01"}}, "rollover.fraction: is 1.01; write a part from 0 to 1"),
        (
            {"rollover": {"expires_after": "0d"}},
            "rollover.expires_after: is no time at all; write a longer one, or leave it out",
        ),
        ({"rollover": {"times": 0}}, "rollover.times: is 0; write a number from 1 to 10000"),
    ],
)
def test_plan_credits(granted, message):
    entry = {"grant": 5, "every": "day", **granted}
    assert problems({"credits": {"c": {}}, "plans": {"p": {"credits": {"c": entry}}}}) == [
        f"plans.p.credits.c.{message}"
    ]


# --- rates --------------------------------------------------------------------------------------


def rated(*cases, **more):
    rate = {"credit": "ai", "when": list(cases), **more}
    return {"features": CALLS, "credits": {"ai": {}}, "rates": {"calls": rate}}


LARGE, SMALL, INPUT, CACHED = {"model": "large"}, {"model": "small"}, {"kind": "input"}, {"cached": "yes"}


@pytest.mark.parametrize(
    ("cases", "expected"),
    [
        ([LARGE, SMALL, LARGE], ["when[2]: is the same case as when[0]; keep one of them"]),
        ([LARGE, INPUT], ["when[1]: ties with when[0] on a charge with {kind: input, model: large}; add a case for exactly that"]),
        ([LARGE | INPUT, LARGE | CACHED], ["when[1]: ties with when[0] on a charge with {cached: yes, kind: input, model: large}; add a case for exactly that"]),
        ([LARGE | INPUT, INPUT, SMALL], ["when[2]: ties with when[1] on a charge with {kind: input, model: small}; add a case for exactly that"]),
        ([{}], ["when[0]: names no dimension; write one, or make this the price of the rate"]),
    ],
)  # fmt: skip
def test_cases_that_tie(cases, expected):
    document = rated(*({**case, "price": 1} for case in cases))
    assert problems(document) == [f"rates.calls.{line}" for line in expected]


@pytest.mark.parametrize(
    "cases",
    [
        [LARGE, SMALL],
        [LARGE, LARGE | INPUT],
        [LARGE, INPUT, LARGE | INPUT],
        [LARGE | INPUT, SMALL | CACHED],
        [LARGE | INPUT, LARGE | CACHED, LARGE | INPUT | CACHED],
        [LARGE | INPUT, CACHED | {"x": "y"}, LARGE | INPUT | CACHED],
    ],
)
def test_cases_that_never_tie(cases):
    parse(rated(*({**case, "price": 1} for case in cases)))


def test_rates():
    assert problems(rated(per=0, price=1)) == [
        "rates.calls.per: is 0; write how many units the price is for, more than zero"
    ]
    assert problems(rated()) == ["rates.calls: needs a price, or cases under when"]
    many = [{f"d{number}": "x", f"e{number}": "y" * number, "price": 1} for number in range(21)]
    many = [{name: value for case in many[: at + 1] for name, value in case.items()} for at in range(21)]
    parse(rated(*many[:20]))
    assert problems(rated(*many)) == ["rates.calls.when: has cases with more than 20 sets of dimensions; use fewer"]


def test_many_cases_take_bounded_time():
    models = [f"m{number}" for number in range(1000)]
    cases = [{"model": model, "price": 1} for model in models]
    cases += [{"model": model, "kind": kind, "price": 1} for model in models for kind in ("input", "output")]
    cases += [{"kind": "input", "price": 1}]
    started = time.perf_counter()
    with pytest.raises(CatalogError) as refusal:
        parse(rated(*cases, {"kind": "output", "price": 2}, {"kind": "third", "price": 2}))
    assert len(refusal.value.problems) == 101
    parse(rated(*cases))
    assert time.perf_counter() - started < 5


# --- the seams ----------------------------------------------------------------------------------


def test_what_is_unclear_is_not_told_again():
    catalog = Catalog(plans={"p": Plan("p", extends=("x", "y"))}, default_plan="z")
    found = check(catalog, lambda section, key: (section, key) in {("plans", "x"), ("plans", "z")})
    assert [finding.message for finding in found] == ["unknown plan 'y'"]


def test_a_limit_in_a_period_that_is_equal_but_another_is_fine():
    feature = Feature("f", "metered", reset=Period("month"))
    limit = Limit(UNLIMITED, attrs.evolve(feature.reset))
    plan = Plan("p", entitlements={"f": Entitlement("f", limits=(limit,))})
    assert check(Catalog(features={"f": feature}, plans={"p": plan})) == ()
