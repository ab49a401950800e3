"""What a customer gains and loses where one catalog replaces another."""



import json

import pytest

from entitlements.catalog.diff import Difference, diff
from entitlements.catalog.loading import load

FEATURES = {
    "exports": {"type": "boolean"},
    "seats": {"type": "metered"},
    "calls": {"type": "metered", "reset": "month"},
    "store": {"type": "metered", "scale": 2},
    "tier": {"type": "config", "prefer": ["gold", "silver"]},
    "days": {"type": "config", "value": "integer"},
    "color": {"type": "config"},
    "regions": {"type": "config", "value": "list"},
    "beta": {"type": "config", "value": "boolean"},
}


def catalog(entries, features=FEATURES, **sections):
    return load({"features": features, "plans": {"pro": {"entitlements": entries}}, **sections})


def told(old, new):
    return [str(difference) for difference in old.diff(new)]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {"exports": True}, "gains exports: nothing -> true"),
        ({"exports": True}, {}, "loses exports: true -> nothing"),
        ({"exports": False}, {"exports": True}, "gains exports: false -> true"),
        ({"exports": True}, {"exports": False}, "loses exports: true -> false"),
        ({}, {"exports": False}, None),
        ({"seats": 2}, {"seats": 3}, "gains seats: 2 -> 3"),
        ({"seats": 3}, {"seats": 2}, "loses seats: 3 -> 2"),
        ({"seats": 3}, {"seats": 3}, None),
        ({"seats": 3}, {"seats": "unlimited"}, "gains seats: 3 -> unlimited"),
        ({"seats": "unlimited"}, {"seats": 3}, "loses seats: unlimited -> 3"),
        ({}, {"seats": 0}, "gains seats: nothing -> 0"),
        ({"store": "2.50"}, {"store": "2.25"}, "loses store: 2.5 -> 2.25"),
        ({"calls": 5}, {"calls": {"limit": 5, "depletion": "soft"}}, "gains calls: 5 per month -> 5 per month, soft"),
        ({"calls": 5}, {"calls": {"limit": 5, "depletion": "partial"}}, "gains calls: 5 per month -> 5 per month, partial"),
        ({"calls": 5}, {"calls": {"limit": 4, "depletion": "soft"}}, "changes calls: 5 per month -> 4 per month, soft"),
        (
            {"calls": {"limit": 5, "depletion": "soft"}},
            {"calls": {"limit": 5, "depletion": "soft", "ceiling": 9}},
            "loses calls: 5 per month, soft -> 5 per month, soft up to 9",
        ),
        ({"calls": 100}, {"calls": {"limit": 10, "reset": "day"}}, "changes calls: 100 per month -> 10 per day"),
        ({"calls": 100}, {"calls": {"limit": "unlimited", "reset": "day"}}, "gains calls: 100 per month -> unlimited per day"),
        (
            {"calls": {"limit": 5, "reset": {"every": "hour", "count": 5, "align": "calendar"}}},
            {"calls": {"limits": [{"limit": 5, "reset": {"every": "hour", "count": 5, "align": "calendar"}}, {"limit": 9}]}},
            "changes calls: 5 per 5 hours (calendar) -> 5 per 5 hours (calendar) and 9 per month",
        ),
        ({"tier": "silver"}, {"tier": "gold"}, "gains tier: silver -> gold"),
        ({"tier": "gold"}, {"tier": "silver"}, "loses tier: gold -> silver"),
        ({}, {"tier": "silver"}, "gains tier: nothing -> silver"),
        ({"days": 7}, {"days": 30}, "gains days: 7 -> 30"),
        ({"color": "red"}, {"color": "blue"}, "changes color: red -> blue"),
        ({"color": "red"}, {"color": "red"}, None),
        ({"regions": ["eu"]}, {"regions": ["eu", "us"]}, "gains regions: eu -> eu, us"),
        ({"regions": ["us", "eu"]}, {"regions": ["eu", "us"]}, None),
        ({"regions": ["eu"]}, {"regions": []}, "loses regions: eu -> an empty list"),
        ({"regions": ["eu"]}, {"regions": ["us"]}, "changes regions: eu -> us"),
        ({"beta": False}, {"beta": True}, "gains beta: false -> true"),
    ],
)  # fmt: skip
def test_one_entry(before, after, expected):
    assert told(catalog(before), catalog(after)) == ([] if expected is None else [f"plan:pro {expected}"])


def test_a_difference_is_a_value():
    (found,) = diff(catalog({"seats": 2}), catalog({"seats": 3}))
    assert found == Difference("gains", "plan:pro", "seats", "2", "3")


def test_what_comes_and_goes():
    old = load({"plans": {"a": {}, "b": {}}, "addons": {"x": {}}, "promotions": {"m": {}}})
    new = load({"plans": {"c": {}, "b": {}}, "addons": {"y": {}}, "promotions": {"n": {}}})
    assert old.diff(new) == (
        Difference("loses", "plan:a", "", "sold", "removed"),
        Difference("gains", "plan:c", "", "nothing", "added"),
        Difference("loses", "add-on:x", "", "sold", "removed"),
        Difference("gains", "add-on:y", "", "nothing", "added"),
        Difference("loses", "promotion:m", "", "sold", "removed"),
        Difference("gains", "promotion:n", "", "nothing", "added"),
    )
    assert told(old, new)[:2] == ["plan:a is removed", "plan:c is added"]


def test_inherited_entries_count():
    def tree(**free):
        plans = {
            "free": {"entitlements": {"seats": 2, "calls": 10, **free}},
            "pro": {"extends": "free", "entitlements": {"seats": 20}},
            "tight": {"extends": "free", "entitlements": {"seats": {"limit": 1, "mode": "set"}}},
        }
        return load({"features": FEATURES, "plans": plans})

    assert told(tree(), tree(seats=30, calls=20)) == [
        "plan:free gains seats: 2 -> 30",
        "plan:free gains calls: 10 per month -> 20 per month",
        "plan:pro gains seats: 20 -> 30",
        "plan:pro gains calls: 10 per month -> 20 per month",
        "plan:tight gains calls: 10 per month -> 20 per month",
    ]
    assert told(tree(seats=5), tree(seats=6)) == ["plan:free gains seats: 5 -> 6"]


def test_alternatives_of_parents():
    def tree(*parents):
        plans = {
            "a": {"entitlements": {"calls": 100}},
            "b": {"entitlements": {"calls": {"limit": 10, "reset": "day"}}},
            "c": {"extends": list(parents)},
        }
        return load({"features": FEATURES, "plans": plans})

    assert told(tree("a"), tree("a", "b")) == ["plan:c gains calls: 100 per month -> 10 per day or 100 per month"]
    assert told(tree("a", "b"), tree("b")) == ["plan:c loses calls: 10 per day or 100 per month -> 10 per day"]
    assert told(tree("a", "b"), tree("b", "a")) == []


def test_features_that_change():
    old = catalog({"seats": 5, "store": 5})
    removed = {key: value for key, value in FEATURES.items() if key != "seats"}
    assert told(old, catalog({"store": 5}, features=removed)) == ["plan:pro loses seats: 5 -> nothing"]
    other = FEATURES | {"seats": {"type": "boolean"}}
    assert told(old, catalog({"seats": True, "store": 5}, features=other)) == ["plan:pro changes seats: 5 -> true"]
    finer = FEATURES | {"store": {"type": "metered", "scale": 3}}
    assert told(old, catalog({"seats": 5, "store": 5}, features=finer)) == []
    assert told(old, catalog({"seats": 5, "store": "4.999"}, features=finer)) == ["plan:pro loses store: 5 -> 4.999"]
    monthly = FEATURES | {"seats": {"type": "metered", "reset": "month"}}
    assert told(old, catalog({"seats": 5, "store": 5}, features=monthly)) == [
        "plan:pro changes seats: 5 -> 5 per month"
    ]
    numbered = FEATURES | {"color": {"type": "config", "value": "integer"}}
    assert told(catalog({"color": "red"}), catalog({"color": 5}, features=numbered)) == [
        "plan:pro changes color: red -> 5"
    ]


def test_add_ons_and_promotions():
    def sold(addon, promotion):
        return load(
            {
                "features": FEATURES,
                "addons": {"more": {"entitlements": {"seats": addon}}},
                "promotions": {"launch": {"entitlements": {"calls": promotion}}},
            }
        )

    assert told(sold(5, 10), sold(6, 9)) == [
        "add-on:more gains seats: 5 -> 6",
        "promotion:launch loses calls: 10 per month -> 9 per month",
    ]
    assert told(sold(5, 10), sold({"limit": 9, "mode": "grant"}, 10)) == ["add-on:more changes seats: 5 -> 9"]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"grant": 5}, {"grant": 6}, "gains ai: 5 per month -> 6 per month"),
        ({"grant": "5.5"}, {"grant": 5}, "loses ai: 5.5 per month -> 5 per month"),
        ({"grant": 5}, {"grant": 5}, None),
        (None, {"grant": 5}, "gains ai: nothing -> 5 per month"),
        ({"grant": 5}, None, "loses ai: 5 per month -> nothing"),
        ({"grant": 5}, {"grant": 5, "every": "week", "count": 2}, "changes ai: 5 per month -> 5 per 2 weeks"),
        (
            {"grant": 5},
            {"grant": 5, "category": "promotional", "priority": 9, "cost_basis": "2.50"},
            "changes ai: 5 per month -> 5 per month, promotional, priority 9, cost basis 2.5",
        ),
        ({"grant": 5}, {"grant": 5, "rollover": {}}, "changes ai: 5 per month -> 5 per month, rolls over"),
        (
            {"grant": 5},
            {"grant": 5, "rollover": {"fraction": "0.5", "max": 2, "expires_after": "30d", "times": 3}},
            "changes ai: 5 per month -> 5 per month, rolls over a part of 0.5 up to 2 for 30d 3 times",
        ),
    ],
)
def test_plan_credits(before, after, expected):
    def sold(granted):
        entries = {} if granted is None else {"ai": {"every": "month", **granted}}
        return load({"credits": {"ai": {"scale": 2}}, "plans": {"pro": {"credits": entries}}})

    assert told(sold(before), sold(after)) == ([] if expected is None else [f"plan:pro {expected}"])


def test_rates():
    def sold(**rate):
        rates = {"calls": {"credit": "ai", **rate}} if rate else {}
        return load({"features": FEATURES, "credits": {"ai": {}}, "rates": rates})

    case = {"model": "large", "price": 4}
    assert told(sold(price=1), sold(price="1.50", per=1000, when=[case])) == [
        "rate:calls changes calls: 1 ai -> 1.5, model=large 4 ai per 1000"
    ]
    assert told(sold(when=[case]), sold(when=[case])) == []
    assert told(sold(), sold(price=1)) == ["rate:calls is added"]


def test_nothing_differs_from_itself():
    one = catalog({"seats": 2, "calls": "unlimited", "tier": "gold", "color": "red", "beta": False})
    assert one.diff(one) == ()
    assert one.diff(load(json.loads(json.dumps(dict(one.document))))) == ()


SOLD = {
    "default_plan": "free",
    "features": FEATURES,
    "credits": {"ai": {"scale": 2}},
    "products": {"app": {}, "other": {}},
    "plans": {
        "free": {"product": "app", "credits": {"ai": {"grant": 5, "every": "month"}}},
        "pro": {"product": "app", "extends": "free", "trial": {"days": 14}, "entitlements": {"seats": 5}},
    },
    "addons": {"more": {"plans": ["pro"], "entitlements": {"seats": 5}}, "less": {}},
    "promotions": {"launch": {"days": 14, "entitlements": {"seats": 9}}},
}


def changed(path, value):
    """What is sold, with one thing in it replaced; taken out by None."""
    document = json.loads(json.dumps(SOLD))
    *above, last = path.split(".")
    place = document
    for key in above:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return load(document)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("default_plan", None, ["catalog loses default_plan: free -> nothing"]),
        ("default_plan", "pro", ["catalog changes default_plan: free -> pro"]),
        ("features.seats", {"type": "metered", "aggregate": "max"}, ["feature:seats changes aggregate: sum -> max"]),
        ("features.calls.backdate", "7d", ["feature:calls gains backdate: nothing -> 7d"]),
        ("features.calls.on_unavailable", "deny", ["feature:calls changes on_unavailable: last known -> deny"]),
        ("features.days.prefer", "min", ["feature:days changes prefer: max -> min"]),
        ("features.tier.prefer", None, ["feature:tier changes prefer: gold, silver -> no order"]),
        ("features.calls.title", "Calls", []),
        (
            "credits.ai",
            {"scale": 2, "depletion": "soft", "floor": 100, "currency": "USD", "burn_order": "soonest_expiry"},
            [
                "credit:ai changes depletion: hard -> soft to a debt of 100",
                "credit:ai changes burn_order: default -> soonest expiry",
                "credit:ai changes currency: nothing -> USD",
            ],
        ),
        ("credits.ai.burn_order", ["expires_at", "priority"], ["credit:ai changes burn_order: default -> expires_at, priority"]),
        ("plans.pro.product", "other", ["plan:pro changes product: app -> other"]),
        ("plans.pro.version", "pinned", ["plan:pro changes version: latest -> pinned"]),
        ("plans.pro.trial", {"days": 7}, ["plan:pro loses trial: 14 days -> 7 days"]),
        ("plans.free.trial", {"days": 7}, ["plan:free gains trial: nothing -> 7 days"]),
        ("plans.pro.extends", None, ["plan:pro loses ai: 5 per month -> nothing"]),
        (
            "plans.free.credits.ai",
            {"grant": 5, "every": "month", "allowance": "next_period", "unused": "forfeit"},
            [
                f"plan:{plan} changes ai: 5 per month -> 5 per month, allowance next period, unused forfeit"
                for plan in ("free", "pro")
            ],
        ),
        ("addons.more.plans", None, ["add-on:more changes plans: pro -> every plan"]),
        ("addons.more.requires", ["less"], ["add-on:more changes requires: nothing -> less"]),
        ("addons.more.excludes", ["less"], ["add-on:more changes excludes: nothing -> less"]),
        ("addons.more.entitlements.seats", {"limit": 5, "mode": "grant"}, ["add-on:more changes seats: 5 (add) -> 5 (grant)"]),
        ("promotions.launch.days", 2, ["promotion:launch loses days: 14 -> 2"]),
        ("promotions.launch.days", None, ["promotion:launch changes days: 14 -> nothing"]),
    ],
)
def test_terms_beside_entitlements(path, value, expected):
    assert told(load(SOLD), changed(path, value)) == expected
