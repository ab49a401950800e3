"""A whole catalog: what every key means, and what a catalog that is wrong is told."""

import copy
import json
import os
import pickle
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from enum import Enum
from types import MappingProxyType

import attrs
import pytest
import yaml

from entitlements.amounts import MAX_UNITS, UNLIMITED
from entitlements.catalog import loading
from entitlements.catalog.loading import entitlement, load, parse
from entitlements.catalog.model import (
    NO_PERIOD,
    AddOn,
    Catalog,
    Credit,
    Entitlement,
    Feature,
    Limit,
    Period,
    Plan,
    PlanCredit,
    Product,
    Promotion,
    Rate,
    RateCase,
    Rollover,
    TrialTerms,
)
from entitlements.errors import AmountError, CatalogError
from entitlements.frozen import FrozenDict

MONTH = Period("month")
EXAMPLE = """\
version: 1
default_plan: free                                    # optional: what any customer without a subscription has
features:                                             # title, description, metadata: for display, on everything
  exports:   {type: boolean}
  seats:     {type: metered, unit: seat, reset: none}
  api_calls: {type: metered, unit: call, reset: month}                     # = {every: month, count: 1, align: anniversary}
  storage:   {type: metered, unit: GB, reset: none, aggregate: max, scale: 2}
  history:   {type: config, value: integer, prefer: max, unit: day}
  chat:      {type: metered, unit: message, reset: {every: day, align: calendar}, backdate: 7d, on_unavailable: deny}
credits:
  ai: {scale: 2, currency: USD, depletion: hard, burn_order: default}      # depletion: hard | partial | soft, soft with floor: 500
products:
  app: {title: The app}
plans:
  free: {product: app, entitlements: {seats: 2, api_calls: 1000, history: 7}}
  pro:
    product: app
    extends: free
    version: latest                                                        # or pinned
    price: "20"                                                            # for display
    trial: {days: 14}
    entitlements:
      exports: true
      seats: 20
      api_calls: {limit: 100000, depletion: soft, ceiling: 150000}
      chat: {limit: 200}
    credits:
      ai: {grant: 500, every: month, category: paid, priority: 50, cost_basis: "9.00", rollover: {max: 250, fraction: "0.5", expires_after: 30d, times: 1}}
addons:
  extra_seats: {plans: [pro], requires: [], excludes: [], entitlements: {seats: {limit: 5, mode: add}}}
promotions:
  launch: {days: 14, entitlements: {api_calls: {limit: unlimited}}}
rates:
  chat: {credit: ai, price: "1.5", per: 1, when: [{model: large, price: "4"}]}
"""


def problems(document, **more):
    """Every problem of a catalog that cannot be used, as `path: message`."""
    with pytest.raises(CatalogError) as refusal:
        parse(document, **more)
    return [str(problem) for problem in refusal.value.problems]


def file_problems(directory, text, name="catalog.yaml"):
    """Every problem of a file, without the directory."""
    path = directory / name
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    with pytest.raises(CatalogError) as refusal:
        load(path)
    return [str(problem).removeprefix(f"{directory}{os.sep}") for problem in refusal.value.problems]


def metered(entries, **more):
    """A catalog with one metered feature `calls` and the given entry in plan `pro`."""
    return {
        "features": {"calls": {"type": "metered", **more}},
        "plans": {"pro": {"entitlements": {"calls": entries}}},
    }


def limits_of(entry, **more):
    return parse(metered(entry, **more)).plans["pro"].entitlements["calls"].limits


# --- what is meant ------------------------------------------------------------------------------


def test_the_example_of_the_interface(tmp_path):
    path = tmp_path / "catalog.yaml"
    path.write_text(EXAMPLE)
    catalog = Catalog.load(path)
    assert catalog.default_plan == "free"
    assert dict(catalog.features) == {
        "exports": Feature("exports", "boolean"),
        "seats": Feature("seats", "metered", unit="seat"),
        "api_calls": Feature("api_calls", "metered", unit="call", reset=MONTH),
        "storage": Feature("storage", "metered", unit="GB", aggregate="max", scale=2),
        "history": Feature("history", "config", value="integer", prefer="max", unit="day"),
        "chat": Feature(
            "chat",
            "metered",
            unit="message",
            reset=Period("day", align="calendar"),
            backdate=timedelta(days=7),
            on_unavailable="deny",
        ),
    }
    assert dict(catalog.credits) == {"ai": Credit("ai", scale=2, currency="USD")}
    assert dict(catalog.products) == {"app": Product("app", title="The app")}
    soft = Limit(100_000, MONTH, "soft", 150_000)
    assert catalog.plans["pro"] == Plan(
        "pro",
        product="app",
        extends=("free",),
        price="20",
        trial=TrialTerms(14),
        entitlements=MappingProxyType(
            {
                "exports": Entitlement("exports", value=True),
                "seats": Entitlement("seats", limits=(Limit(20),)),
                "api_calls": Entitlement("api_calls", limits=(soft,)),
                "chat": Entitlement("chat", limits=(Limit(200, Period("day", align="calendar")),)),
            }
        ),
        credits=MappingProxyType(
            {
                "ai": PlanCredit(
                    50_000,
                    "month",
                    cost_basis=Decimal(9),
                    rollover=Rollover(25_000, Decimal("0.5"), timedelta(days=30), 1),
                )
            }
        ),
    )
    assert catalog.plans["free"].entitlements["history"] == Entitlement("history", value=7)
    extra = Entitlement("seats", "add", limits=(Limit(5),))
    assert catalog.addons["extra_seats"] == AddOn(
        "extra_seats", plans=("pro",), entitlements=MappingProxyType({"seats": extra})
    )
    launch = Entitlement("api_calls", limits=(Limit(UNLIMITED, MONTH),))
    assert catalog.promotions["launch"] == Promotion(
        "launch", days=14, entitlements=MappingProxyType({"api_calls": launch})
    )
    case = RateCase(MappingProxyType({"model": "large"}), Decimal(4))
    assert catalog.rates["chat"] == Rate("chat", "ai", Decimal("1.5"), Decimal(1), (case,))
    assert catalog.notes == ()
    assert len(catalog.version) == 32


def test_the_example_in_every_format(tmp_path):
    document = yaml.safe_load(EXAMPLE)
    (tmp_path / "a.JSON").write_text(json.dumps(document))
    (tmp_path / "a.yml").write_text(EXAMPLE)
    assert load(document) == load(tmp_path / "a.JSON") == load(str(tmp_path / "a.yml"))
    toml = 'default_plan = "free"\n[features]\nseats = {type = "metered"}\n[plans.free.entitlements]\nseats = 2\n'
    (tmp_path / "a.toml").write_text(toml)
    plans = {"free": {"entitlements": {"seats": 2}}}
    assert load(tmp_path / "a.toml") == load(
        {"default_plan": "free", "features": {"seats": {"type": "metered"}}, "plans": plans}
    )


def test_a_catalog_is_returned_as_it_is():
    catalog = parse({})
    assert load(catalog) is catalog


def test_an_empty_mapping_is_an_empty_catalog():
    catalog = parse({})
    assert (dict(catalog.features), dict(catalog.plans), catalog.default_plan) == ({}, {}, None)
    assert dict(catalog.document) == {"version": 1}


@pytest.mark.parametrize("entry", [5, "5", {"limit": 5}, {"limit": "5"}, {"limits": [{"limit": 5}]}, Decimal("5.0")])
def test_shorthands_of_a_limit(entry):
    assert limits_of(entry) == (Limit(5),)
    assert limits_of(entry, reset="day") == (Limit(5, Period("day")),)


@pytest.mark.parametrize("entry", ["unlimited", UNLIMITED, {"limit": "unlimited"}, {"limits": [{"limit": UNLIMITED}]}])
def test_unlimited(entry):
    assert limits_of(entry) == (Limit(UNLIMITED),)


def test_limits_keep_their_scale():
    assert limits_of("2.5", scale=2) == (Limit(250),)
    assert limits_of({"limit": 1, "depletion": "soft", "ceiling": "1.25"}, scale=2) == (
        Limit(100, depletion="soft", ceiling=125),
    )
    assert limits_of(str(MAX_UNITS)) == (Limit(MAX_UNITS),)


def test_several_limits():
    entry = {"limits": [{"limit": 50, "reset": {"every": "hour", "count": 5}}, {"limit": 900, "depletion": "partial"}]}
    assert limits_of(entry, reset="week") == (Limit(50, Period("hour", 5)), Limit(900, Period("week"), "partial"))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("none", NO_PERIOD),
        ({"every": "none"}, NO_PERIOD),
        ("quarter", Period("quarter")),
        ({"every": "month", "count": 1, "align": "anniversary"}, MONTH),
        ({"every": "hour", "count": 5, "align": "first_use"}, Period("hour", 5, "first_use")),
    ],
)
def test_resets(written, meant):
    assert parse(metered(1, reset=written)).features["calls"].reset == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("7d", timedelta(7)),
        ("12h", timedelta(hours=12)),
        ("30m", timedelta(minutes=30)),
        ("2w", timedelta(14)),
        ("0d", timedelta()),
    ],
)
def test_durations(written, meant):
    assert parse(metered(1, backdate=written)).features["calls"].backdate == meant


def test_modes_by_section():
    features = {"on": {"type": "boolean"}, "calls": {"type": "metered"}, "tier": {"type": "config"}}
    entries = {"on": True, "calls": 5, "tier": "gold"}
    catalog = parse(
        {
            "features": features,
            "plans": {"p": {"entitlements": entries}, "q": {"entitlements": {"calls": {"limit": 1, "mode": "set"}}}},
            "addons": {"a": {"entitlements": entries}, "b": {"entitlements": {"calls": {"limit": 1, "mode": "grant"}}}},
            "promotions": {"m": {"entitlements": entries}},
        }
    )

    def modes(entry):
        return [each.mode for each in entry.entitlements.values()]

    assert modes(catalog.plans["p"]) == ["grant", "grant", "grant"]
    assert modes(catalog.plans["q"]) == ["set"]
    assert modes(catalog.addons["a"]) == ["grant", "add", "grant"]
    assert modes(catalog.addons["b"]) == ["grant"]
    assert modes(catalog.promotions["m"]) == ["grant", "grant", "grant"]


@pytest.mark.parametrize(
    ("kind", "written", "meant"),
    [
        ("integer", -3, -3),
        ("decimal", 3, Decimal(3)),
        ("decimal", "2.50", Decimal("2.5")),
        ("text", "gold", "gold"),
        ("list", ["eu", "us"], ("eu", "us")),
        ("boolean", False, False),
        ("integer", {"value": 4, "mode": "set"}, 4),
        ("list", {"value": []}, ()),
    ],
)
def test_config_values(kind, written, meant):
    document = {
        "features": {"f": {"type": "config", "value": kind}},
        "plans": {"p": {"entitlements": {"f": written}}},
    }
    value = parse(document).plans["p"].entitlements["f"].value
    assert value == meant
    assert type(value) is type(meant)


@pytest.mark.parametrize(
    ("kind", "prefer"), [("integer", "max"), ("decimal", "max"), ("boolean", "max"), ("list", None), ("text", None)]
)
def test_what_is_preferred_by_itself(kind, prefer):
    assert parse({"features": {"f": {"type": "config", "value": kind}}}).features["f"].prefer == prefer


def test_what_is_preferred():
    features = {
        "a": {"type": "config", "prefer": ["gold", "silver"]},
        "b": {"type": "config", "value": "decimal", "prefer": ["1.50", 1]},
        "c": {"type": "config", "value": "boolean", "prefer": "min"},
    }
    found = parse({"features": features}).features
    assert found["a"].prefer == ("gold", "silver")
    assert found["b"].prefer == (Decimal("1.5"), Decimal(1))
    assert found["c"].prefer == "min"


def test_names_and_prices_for_display():
    described = {"title": "T", "description": "D", "metadata": {"a": [1, None, {"b": True}], "c": "x"}}
    catalog = parse(
        {
            "features": {"f": {"type": "boolean", **described}},
            "credits": {"c": described},
            "products": {"r": described},
            "plans": {"p": {"price": 20, **described}, "q": {"price": "€ 5"}, "z": {"price": ""}},
            "addons": {"a": {"price": 0, **described}},
            "promotions": {"m": described},
        }
    )
    entries = (
        catalog.features["f"], catalog.credits["c"], catalog.products["r"],
        catalog.plans["p"], catalog.addons["a"], catalog.promotions["m"],
    )  # fmt: skip
    for entry in entries:
        assert (entry.title, entry.description) == ("T", "D")
        assert entry.metadata["a"] == (1, None, {"b": True})
        assert isinstance(entry.metadata, MappingProxyType)
    assert [catalog.plans[key].price for key in "pqz"] == ["20", "€ 5", None]
    assert catalog.addons["a"].price == "0"


def test_the_implicit_product():
    assert parse({"plans": {"p": {}, "q": {"product": "default"}}}).plans["p"].product == "default"
    assert parse({"products": {"app": {}}, "plans": {"p": {}}}).plans["p"].product == "default"


def test_every_mapping_is_read_only():
    catalog = parse(
        {
            "features": {"calls": {"type": "metered", "metadata": {"x": {}}}},
            "credits": {"ai": {}},
            "plans": {"pro": {"entitlements": {"calls": 1}, "credits": {"ai": {"grant": 1, "every": "day"}}}},
            "rates": {"calls": {"credit": "ai", "when": [{"model": "x", "price": 1}]}},
        }
    )
    pro = catalog.plans["pro"]
    mappings = [catalog.features, catalog.plans, catalog.rates, catalog.document, pro.entitlements, pro.credits]
    mappings += [
        catalog.features["calls"].metadata,
        catalog.features["calls"].metadata["x"],
        catalog.rates["calls"].when[0].match,
        catalog.document["features"],
        catalog.document["rates"]["calls"]["when"][0],
    ]
    for mapping in mappings:
        assert isinstance(mapping, MappingProxyType | FrozenDict)


def test_a_source_is_not_changed_and_not_kept():
    metadata = {"x": [1]}
    document = {"features": {"f": {"type": "boolean", "metadata": metadata}}}
    catalog = parse(document)
    metadata["x"].append(2)
    assert catalog.features["f"].metadata == {"x": (1,)}


def test_notes_are_no_part_of_the_version():
    assert parse({}, notes=["read from a draft"]).notes == ("read from a draft",)
    assert parse({}, notes=["read from a draft"]) == parse({})


def test_texts_of_other_types_become_plain():
    class Key(str, Enum):  # noqa: UP042  (its str() is not its value)
        SEATS = "seats"

    catalog = parse({"features": {Key.SEATS: {"type": "metered", "unit": Key.SEATS}}})
    assert [type(key) for key in catalog.features] == [str]
    assert type(catalog.features["seats"].unit) is str


# --- where it comes from ------------------------------------------------------------------------


def test_a_missing_file_stays_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "catalog.yaml")
    with pytest.raises(IsADirectoryError):
        (tmp_path / "dir.yaml").mkdir()
        load(tmp_path / "dir.yaml")


def test_an_unknown_suffix_names_the_known_ones():
    with pytest.raises(CatalogError) as refusal:
        load("catalog.ini")
    assert str(refusal.value) == (
        "1 problem in catalog.ini\n  catalog.ini a catalog file ends in .yaml, .yml, .toml, .json; this one in '.ini'"
    )
    with pytest.raises(CatalogError, match="this one in nothing"):
        load("catalog")


@pytest.mark.parametrize("path", ["a\0b.yaml", "\ud800.yaml"])
def test_what_is_no_path(path):
    with pytest.raises(CatalogError, match="this is no path; it has a character that no file name has"):
        load(path)


@pytest.mark.parametrize("source", [None, 5, ["catalog.yaml"], object()])
def test_what_is_no_source(source):
    with pytest.raises(TypeError, match=f"a catalog is a path, a mapping or a Catalog, not {type(source).__name__}"):
        load(source)


def test_the_model_needs_no_reader():
    code = "import sys, entitlements.catalog.model; print(*(set(sys.modules) & {'cattrs', 'yaml', 'json', 'tomllib'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


# --- what is wrong ------------------------------------------------------------------------------


def test_all_problems_at_once_each_with_its_place(tmp_path):
    text = """\
    version: 2
    default_plan: fre
    features:
      exports: {typ: boolean}
      tokens: {type: metered, reset: montly}
      seats: {type: metered, scale: "2", unit: 5}
      1: {type: boolean}
      exports: {type: boolean}
    plans:
      free: {entitlements: {seats: 2, tokens: 5, exports: no}}
      pro:
        extends: fre
        entitlments: {}
        trial: {}
        entitlements:
          seets: 1
          tokens: 1e6
    rates:
      tokens: {credit: ai, price: 1.5}
    """
    assert file_problems(tmp_path, text) == [
        "catalog.yaml:1:10 version: 2 is not a format this library knows; write 1",
        "catalog.yaml:2:15 default_plan: unknown plan 'fre'; did you mean 'free'?",
        "catalog.yaml:4:13 features.exports.typ: unknown key 'typ'; did you mean 'type'?",
        "catalog.yaml:5:34 features.tokens.reset: 'montly' is not a period; did you mean 'month'?",
        "catalog.yaml:6:33 features.seats.scale: '2' is text; write a whole number, without quotes",
        "catalog.yaml:6:44 features.seats.unit: 5 is a number; write text, in quotes",
        'catalog.yaml:7:3 features.1: the key 1 is not text in YAML; write "1" in quotes',
        "catalog.yaml:8:3 features.exports: duplicate key 'exports' (first at line 4); keep one of them",
        'catalog.yaml:10:55 plans.free.entitlements.exports: no is a boolean to some readers of YAML only; write false, or "no" in quotes',
        "catalog.yaml:12:14 plans.pro.extends: unknown plan 'fre'; did you mean 'free'?",
        "catalog.yaml:13:5 plans.pro.entitlments: unknown key 'entitlments'; did you mean 'entitlements'?",
        "catalog.yaml:14:12 plans.pro.trial: needs the key 'days'",
        "catalog.yaml:16:7 plans.pro.entitlements.seets: unknown feature 'seets'; did you mean 'seats'?",
        "catalog.yaml:17:15 plans.pro.entitlements.tokens: 1e6 is text to some readers of YAML; write 1000000",
        "catalog.yaml:19:20 rates.tokens.credit: unknown credit 'ai'",
        'catalog.yaml:19:31 rates.tokens.price: 1.5 is a float, and floats are not exact; write "1.5" in quotes',
    ]


def test_the_error_names_the_file_and_counts(tmp_path):
    path = tmp_path / "catalog.json"
    path.write_text('{"plans": [],\n "x": 1}')
    with pytest.raises(CatalogError) as refusal:
        load(path)
    assert str(refusal.value) == (
        f"2 problems in {path}\n"
        f"  {path}:1:11 plans: this is a list; write a mapping from keys to entries\n"
        f"  {path}:2:2 x: unknown key 'x'; the keys here are version, default_plan, features, credits, products, "
        "plans, addons, promotions, rates"
    )
    problem = refusal.value.problems[0]
    assert (problem.file, problem.line, problem.column, problem.path) == (str(path), 1, 11, "plans")


def test_a_text_that_cannot_be_read_at_all(tmp_path):
    assert file_problems(tmp_path, "a: [1\nb: 2") == [
        "catalog.yaml:2:2 this is not YAML: did not find expected ',' or ']'"
    ]
    assert file_problems(tmp_path, "# nothing\n") == [
        "catalog.yaml there is nothing here; write features, plans and whatever else is sold"
    ]
    assert file_problems(tmp_path, "- a\n") == [
        "catalog.yaml:1:1 this is a list; write a mapping with keys such as version, default_plan, features"
    ]
    (problem,) = file_problems(tmp_path, "a = ]\nb = 1", "catalog.toml")
    assert problem == "catalog.toml:1:5 this is not TOML: Invalid value"


def test_toml_has_line_and_column(tmp_path):
    text = """\
    [plans.pro]
    extends = "fre"
    [features.b]
    type = "metred"
    scale = 2.5
    """
    assert file_problems(tmp_path, text, "catalog.toml") == [
        "catalog.toml:2:11 plans.pro.extends: unknown plan 'fre'",
        "catalog.toml:4:8 features.b.type: 'metred' is not a feature type; did you mean 'metered'?",
        'catalog.toml:5:9 features.b.scale: 2.5 is a float; write a whole number',
    ]


def test_a_mapping_has_paths_without_places_in_its_own_order():
    document = {"plans": {"a.b": {"extends": ["x", "y"]}, "c\n": {}}, "features": {"f": {}}, "version": "1"}
    assert problems(document) == [
        "plans.'a.b'.extends[0]: unknown plan 'x'",
        "plans.'a.b'.extends[1]: unknown plan 'y'",
        "plans.'c\\n': the key starts or ends with a space; take it off",
        "features.f: needs the key 'type': boolean, metered or config",
        "version: '1' is text; write a whole number, without quotes",
    ]


def test_origin_and_places_can_be_given():
    def places(path, *, key=False):
        return (3, 4) if path == ("x",) and key else None

    assert problems({"x": 1}, places=places, origin="a.txt")[0].startswith("a.txt:3:4 x: unknown key 'x'")


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"plan": {"p": {}}, "default_plan": "p"}, ["plan: unknown key 'plan'; did you mean 'plans'?"]),
        ({"feature": {}, "plans": {"p": {"entitlements": {"x": 1}}}}, ["feature: unknown key 'feature'; did you mean 'features'?"]),
        ({"features": [], "plans": {"p": {"entitlements": {"x": 1}}}}, ["features: this is a list; write a mapping from keys to entries"]),
        (
            {"features": {"x": {"type": "metred"}}, "plans": {"p": {"entitlements": {"x": True}}}, "rates": {"x": {"credit": "c"}}, "credits": {"c": 5}},
            [
                "features.x.type: 'metred' is not a feature type; did you mean 'metered'?",
                "rates.x: needs a price, or cases under when",
                "credits.c: 5 is a number; write a mapping with keys such as title, description, metadata",
            ],
        ),
        (
            {"features": {"x": {"type": "metered", "reset": "dayly"}}, "plans": {"p": {"entitlements": {"x": {"limit": 1, "reset": "day"}}}}},
            ["features.x.reset: 'dayly' is not a period; did you mean 'day'?"],
        ),
        ({"plans": {"p": {"extends": 5}, "q": {"extends": "p"}}}, ["plans.p.extends: 5 is a number; write a key or a list"]),
        ({"plans": {"p": 5, "q": {"extends": "p"}}}, ["plans.p: 5 is a number; write a mapping with keys such as product, extends, version"]),
        ({"plans": {"$p": {}, "q": {"extends": "$p"}}}, ["plans.'$p': keys that start with $ are the library's own; write another"]),
        (metered({"limit": "x", "depletion": "soft", "ceiling": 0}), ["plans.pro.entitlements.calls.limit: limit is 'x'; write a plain number such as '12' or '12.50'"]),
    ],
)  # fmt: skip
def test_one_mistake_is_one_problem(document, expected):
    assert problems(document) == expected


def test_what_is_right_beside_a_mistake_is_still_looked_at():
    entries = {"a": {"limt": 1}, "b": {"limit": 1, "ceiling": 3}, "c": -1, "d": {"limit": 1, "ceiling": 3}}
    features = {key: {"type": "metered"} for key in "abcd"}
    ceiling = "is for depletion: soft, where usage may pass the limit; write that too, or leave it out"
    assert problems(
        {"features": features, "plans": {"p": {"entitlements": entries, "extends": "x", "titel": "y"}}}
    ) == [
        "plans.p.entitlements.a.limt: unknown key 'limt'; did you mean 'limit'?",
        f"plans.p.entitlements.b.ceiling: {ceiling}",
        "plans.p.entitlements.c: limit is -1; an amount is zero or more; for no limit write unlimited",
        f"plans.p.entitlements.d.ceiling: {ceiling}",
        "plans.p.extends: unknown plan 'x'",
        "plans.p.titel: unknown key 'titel'; did you mean 'title'?",
    ]
    assert problems({"plans": {"p": {"entitlements": [], "extends": "x"}}}) == [
        "plans.p.entitlements: this is a list; write a mapping from features to entitlements",
        "plans.p.extends: unknown plan 'x'",
    ]


CIRCLE = {"a": {"extends": "b", "entitlements": {"y": True}}, "b": {"extends": "a"}}


def test_a_stray_section_hides_nothing_of_the_section_it_was_meant_for():
    told = [
        "default_plan: unknown plan 'fre'",
        "plans.a.extends: goes in a circle: a -> b -> a; take one step out",
        "plans.a.entitlements.y: unknown feature 'y'",
    ]
    assert sorted(problems({"default_plan": "fre", "plans": CIRCLE})) == sorted(told)
    stray = {"default_plan": "fre", "plans": CIRCLE, "plan": {}}
    assert sorted(problems(stray)) == sorted([*told, "plan: unknown key 'plan'; did you mean 'plans'?"])


def test_below_a_key_that_is_no_text_in_yaml_the_rest_is_read(tmp_path):
    text = """\
    features: {on: {type: metered, reset: {every: month, count: 0}}, x: {type: metred}}
    plans:
      on: {entitlements: {on: 5, x: yes, zz: 5}, extends: fre}
      ? [x]
      : {entitlements: {zzz: 1}}
    """
    assert file_problems(tmp_path, text) == [
        'catalog.yaml:1:12 features.on: the key on is not text in YAML; write "on" in quotes',
        "catalog.yaml:1:61 features.on.reset.count: is 0; write a number from 1 to 1200",
        "catalog.yaml:1:76 features.x.type: 'metred' is not a feature type; did you mean 'metered'?",
        'catalog.yaml:3:3 plans.on: the key on is not text in YAML; write "on" in quotes',
        'catalog.yaml:3:23 plans.on.entitlements.on: the key on is not text in YAML; write "on" in quotes',
        'catalog.yaml:3:33 plans.on.entitlements.x: yes is a boolean to some readers of YAML only; write true, or "yes" in quotes',
        "catalog.yaml:3:38 plans.on.entitlements.zz: unknown feature 'zz'",
        "catalog.yaml:3:55 plans.on.extends: unknown plan 'fre'",
        "catalog.yaml:4:5 plans: a key is text; write one word, or quote it",
    ]


def test_a_key_that_is_no_text_in_yaml_and_unknown_is_one_problem(tmp_path):
    text = "plans: {p: {on: 5}}\nrates: {no: {credit: c, price: 1}}\ncredits: {c: {}}\n"
    assert file_problems(tmp_path, text) == [
        'catalog.yaml:1:13 plans.p.on: the key on is not text in YAML; write "on" in quotes',
        'catalog.yaml:2:9 rates.no: the key no is not text in YAML; write "no" in quotes',
    ]


def test_below_keys_of_a_mapping_that_are_no_text_the_rest_is_read():
    plans = {True: {"extends": "fre", "entitlements": {5: 1, "zz": 1}}, " b": {"extend": 1}, "c": {"extends": "x"}}
    told = "this key is of type {}; keys are text, write it in quotes"
    assert problems({"plans": plans, "features": {None: {"type": "metred"}}}) == [
        f"plans.true: {told.format('bool')}",
        "plans.true.extends: unknown plan 'fre'",
        f"plans.true.entitlements.5: {told.format('int')}",
        "plans.true.entitlements.zz: unknown feature 'zz'",
        "plans.' b': the key starts or ends with a space; take it off",
        "plans.' b'.extend: unknown key 'extend'; did you mean 'extends'?",
        "plans.c.extends: unknown plan 'x'",
        f"features.none: {told.format('NoneType')}",
        "features.none.type: 'metred' is not a feature type; did you mean 'metered'?",
    ]


def test_a_wrong_field_hides_no_other_of_its_entry():
    orders = "write one of default, first_in_first_out, soonest_expiry, plan_first, or a list of keys"
    credit = {"scale": 99, "depletion": "sof", "burn_order": "foo", "floor": "0.5", "currency": "usd", "titel": "x"}
    assert problems({"credits": {"ai": credit}}) == [
        "credits.ai.scale: is 99; write how many decimal places, from 0 to 9",
        "credits.ai.depletion: 'sof' is not a depletion; did you mean 'soft'?",
        f"credits.ai.burn_order: 'foo' is not a burn order; {orders}",
        "credits.ai.currency: 'usd' is not a currency; write its three capital letters, such as USD",
        "credits.ai.titel: unknown key 'titel'; did you mean 'title'?",
    ]
    feature = {"type": "metered", "scale": 99, "reset": {"every": "month", "count": 0}}
    assert problems({"features": {"f": feature}, "plans": {"p": {"entitlements": {"f": "0.5"}}}}) == [
        "features.f.scale: is 99; write how many decimal places, from 0 to 9",
        "features.f.reset.count: is 0; write a number from 1 to 1200",
    ]
    feature = {"type": "config", "valu": "integer", "prefer": "max", "scale": 1}
    assert problems({"features": {"f": feature}}) == [
        "features.f.valu: unknown key 'valu'; did you mean 'value'?",
        "features.f.scale: says nothing on a config feature; leave it out",
    ]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ([{"reset": {"every": "day", "count": "x"}}, {"reset": "day"}], ["[0].reset.count: 'x' is text"]),
        ([{"reset": {"every": "day", "cont": 2}}, {"reset": "day"}], ["[0].reset.cont: unknown key 'cont'"]),
        (
            [{"reset": "dy"}, {"reset": "day"}, {"reset": "day"}],
            ["[0].reset: 'dy' is not a period", "[2].reset: has the same period as limits[1], day"],
        ),
        ([{}, {}], ["[1]: has the same period as limits[0], month"]),
    ],
)
def test_a_period_that_is_wrong_is_no_other_and_hides_no_other(limits, expected):
    told = problems(metered({"limits": [{"limit": 1, **limit} for limit in limits]}, reset="month"))
    assert [line.partition("; ")[0] for line in told] == [f"plans.pro.entitlements.calls.limits{line}" for line in expected]


def test_what_follows_takes_no_place_of_what_does_not():
    many = {"plans": {"p": {}}, "addons": {"m": {"plans": [1] * 60}}, "features": {"calls": {"type": "metered"}}}
    told = problems({**many, "credits": {"ai": {}}, "rates": {"calls": {"credit": "aii", "price": 1}}})
    assert len(told) == 61
    assert told[-1] == "rates.calls.credit: unknown credit 'aii'; did you mean 'ai'?"


def test_a_metadata_key_that_is_wrong_hides_nothing_below_it():
    assert problems({"products": {"p": {"metadata": {"$x": 1.5}}}}) == [
        "products.p.metadata.'$x': keys that start with $ are the library's own; write another",
        'products.p.metadata.\'$x\': 1.5 is a float, and floats are not exact; write "1.5" in quotes',
    ]


def test_keys_that_have_one_word():
    for entries in ({1: {"type": "metered", "foo": 1}, "1": 5}, {1.5: {"type": "metered", "foo": 1}, 2.5: 5}):
        assert any("keys are text" in line for line in problems({"features": entries}))
    assert len(problems({"addons": {b"a": {"plans": [1, 2]}, b"b": {"plans": []}}})) >= 3


def test_what_holds_itself_takes_bounded_time():
    started = time.perf_counter()
    circle = []
    circle.extend([circle] * 10)
    assert problems({"plans": {"p": {"extends": circle}}})
    assert time.perf_counter() - started < 5


def test_names_in_what_was_left_out_are_looked_up():
    document = {
        "features": {"chat": {"type": "metered"}},
        "credits": {"ai": {}},
        "plans": {"a": {"credits": {"aii": {"grant": 5}, "ai": {"grant": 5}}, "entitlements": {"foo": {"limt": 5}}}},
        "rates": {"chta": {"credit": "aii", "prise": 5}, "chat": {"credit": 5}},
    }
    every = "needs the key 'every': day, week, month, quarter or year"
    assert problems(document) == [
        f"plans.a.credits.aii: {every}",
        "plans.a.credits.aii: unknown credit 'aii'; did you mean 'ai'?",
        f"plans.a.credits.ai: {every}",
        "plans.a.entitlements.foo: unknown feature 'foo'",
        "plans.a.entitlements.foo.limt: unknown key 'limt'; did you mean 'limit'?",
        "rates.chta: unknown feature 'chta'; did you mean 'chat'?",
        "rates.chta.credit: unknown credit 'aii'; did you mean 'ai'?",
        "rates.chta.prise: unknown key 'prise'; did you mean 'price'?",
        "rates.chat: needs a price, or cases under when",
        "rates.chat.credit: 5 is a number; write text, in quotes",
    ]


def test_an_unclear_feature_still_tells_of_surprises(tmp_path):
    text = "features: {x: {type: metred}}\nplans: {p: {entitlements: {x: 1_000}}}\n"
    assert file_problems(tmp_path, text) == [
        "catalog.yaml:1:22 features.x.type: 'metred' is not a feature type; did you mean 'metered'?",
        'catalog.yaml:2:31 plans.p.entitlements.x: 1_000 is a number to some readers of YAML only; write 1000, or "1_000" in quotes',
    ]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (5, "5 is a number; write text, in quotes"),
        (True, "true is a boolean; write text, in quotes"),
        (None, "is empty; write text, in quotes, or leave the key out"),
        (2.5, '2.5 is a float, and floats are not exact; write "2.5" in quotes'),
        (float("inf"), "inf is no amount; write unlimited"),
        (float("nan"), "nan is no amount; write unlimited"),
        (1e16, "1e+16 is a float, and floats are not exact; write 10000000000000000"),
        ([], "this is a list; write text, in quotes"),
        ({}, "this is a mapping; write text, in quotes"),
        (b"x", "this is a bytes; write text, in quotes"),
        ("a\0b", "has a NUL character in it; take it out"),
        ("\udcff", "has half of a surrogate pair in it; write the whole character"),
        (10**400, "this is a number; write text, in quotes"),
    ],
)
def test_strict_text(value, message):
    assert problems({"features": {"f": {"type": "boolean", "title": value}}}) == [f"features.f.title: {message}"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("12", "'12' is text; write a whole number, without quotes"),
        ("\uff11\uff12", "'\\uff11\\uff12' is text; write a whole number, without quotes"),
        (True, "true is a boolean; write a whole number"),
        (1.9, "1.9 is a float; write a whole number"),
        (2.0, "2.0 is a float; write 2"),
        (None, "is empty; write a whole number, or leave the key out"),
        (["a"], "this is a list; write a whole number"),
        (10**30, "is a number of 100 bits; write one of at most 63"),
        (0, "is 0; write a number from 1 to 36500"),
        (-1, "is -1; write a number from 1 to 36500"),
        (36_501, "is 36501; write a number from 1 to 36500"),
    ],
)
def test_strict_integers(value, message):
    assert problems({"plans": {"p": {"trial": {"days": value}}}}) == [f"plans.p.trial.days: {message}"]
    assert problems({"promotions": {"p": {"days": value}}}) == [f"promotions.p.days: {message}"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("false", "'false' is text; write true or false"),
        (0, "0 is a number; write true or false"),
        (None, "is empty; write true or false, or leave the key out"),
        ({"value": 1}, "1 is a number; write true or false"),
        ({"limit": 1}, "is for metered features; f is boolean, write value"),
        ({}, "needs the key 'value'"),
    ],
)
def test_strict_booleans(value, message):
    document = {"features": {"f": {"type": "boolean"}}, "plans": {"p": {"entitlements": {"f": value}}}}
    key = "".join(f".{name}" for name in value) if isinstance(value, dict) else ""
    assert problems(document) == [f"plans.p.entitlements.f{key}: {message}"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-1, "limit is -1; an amount is zero or more; for no limit write unlimited"),
        (-2, "limit is -2; an amount is zero or more"),
        ("-1", "limit is '-1'; an amount is zero or more; for no limit write unlimited"),
        ("2.5", "limit is '2.5'; its scale allows 0 decimal places"),
        (2.5, "limit is the float 2.5; floats are not exact, write the string '2.5' or a Decimal"),
        (1.0, "limit is the float 1.0; floats are not exact, write the string '1.0' or a Decimal"),
        ("1e3", "limit is '1e3'; write a plain number such as '12' or '12.50'"),
        ("\uff11", "limit is '\\uff11'; write a plain number such as '12' or '12.50'"),
        *(
            (
                word,
                f"limit is {word!a}; write a plain number such as '12' or '12.50'; for no limit write unlimited",
            )
            for word in ("Unlimited", "unlimted", "infinite", "Infinity", "no_limit", "none", "\u221e")
        ),
        ("many", "limit is 'many'; write a plain number such as '12' or '12.50'"),
        (Decimal("Infinity"), "limit is Infinity; an amount is a finite number; for no limit write unlimited"),
        (2**63, "limit is 9223372036854775808; the largest at scale 0 is 9223372036854775807"),
        (True, "calls is metered; write a number or unlimited"),
        (None, "is empty; write a number or unlimited, or leave the key out"),
        ([1], "this is a list; write a number or unlimited"),
        (Decimal("NaN"), "limit is NaN; an amount is a finite number"),
    ],
)
def test_strict_amounts(value, message):
    assert problems(metered(value)) == [f"plans.pro.entitlements.calls: {message}"]
    assert problems(metered({"limit": value})) == [f"plans.pro.entitlements.calls.limit: {message}"]
    assert problems(metered({"limits": [{"limit": value}]})) == [
        f"plans.pro.entitlements.calls.limits[0].limit: {message}"
    ]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({}, ["calls: needs the key 'limit': a number or unlimited"]),
        ({"mode": "set"}, ["calls: needs the key 'limit': a number or unlimited"]),
        ({"value": 5}, ["calls.value: is for config features; calls is metered, write limit"]),
        ({"limit": 1, "limits": [{"limit": 2}]}, ["calls.limit: stands beside limits; write it in each of them, or leave it out"]),
        ({"limits": []}, ["calls.limits: is empty; write at least one limit"]),
        ({"limit": 1, "mode": "add"}, ["calls.mode: 'add' is not for plans; write grant or set, or leave it out"]),
        ({"limit": 1, "mode": "deny"}, ["calls.mode: 'deny' is not for plans; write grant or set, or leave it out"]),
        ({"limit": 1, "mode": "sett"}, ["calls.mode: 'sett' is not a mode; did you mean 'set'?"]),
        ({"limt": 1}, ["calls.limt: unknown key 'limt'; did you mean 'limit'?"]),
        ({"limit": 1, "depletion": "sofd"}, ["calls.depletion: 'sofd' is not a depletion; did you mean 'soft'?"]),
        ({"limit": 1, "depletion": "x"}, ["calls.depletion: 'x' is not a depletion; write hard, partial or soft"]),
        ({"limit": 1, "reset": 5}, ["calls.reset: 5 is a number; write a period such as month, or {every: month, count: 1, align: calendar}"]),
        ({"limit": 1, "reset": {"count": 5}}, ["calls.reset: needs the key 'every': none, hour, day, week, month, quarter or year"]),
        ({"limit": 1, "reset": {"every": "day", "align": "utc"}}, ["calls.reset.align: 'utc' is not an align; write anniversary, calendar or first_use"]),
        ({"limit": -1, "ceiling": "x"}, ["calls.limit: limit is -1; an amount is zero or more; for no limit write unlimited", "calls.ceiling: ceiling is 'x'; write a plain number such as '12' or '12.50'"]),
        ({"limits": {}}, ["calls.limits: this is a mapping; write a list"]),
        ({"limits": [5]}, ["calls.limits[0]: 5 is a number; write a mapping with keys such as limit, reset, depletion"]),
        ({"limits": [{}]}, ["calls.limits[0]: needs the key 'limit'"]),
    ],
)  # fmt: skip
def test_shapes_of_limits(entry, expected):
    assert problems(metered(entry)) == [f"plans.pro.entitlements.{line}" for line in expected]


def test_what_to_write_for_a_number_with_a_point(tmp_path):
    text = """\
    features: {calls: {type: metered, backdate: 1.5}, sso: {type: boolean}, hours: {type: metered, scale: 1}}
    plans: {p: {trial: {days: 14.5}, entitlements: {calls: 10.5, sso: 1.0, hours: 2.5}}}
    addons: {a: {entitlements: {calls: 7.0}}}
    """
    assert file_problems(tmp_path, text) == [
        "catalog.yaml:1:45 features.calls.backdate: 1.5 is a float; write a duration such as 7d, 12h, 30m or 2w",
        "catalog.yaml:2:27 plans.p.trial.days: 14.5 is a float; write a whole number",
        "catalog.yaml:2:56 plans.p.entitlements.calls: 10.5 is a float, and floats are not exact; write a whole number, or \"10.5\" in quotes and a scale",
        "catalog.yaml:2:67 plans.p.entitlements.sso: 1.0 is a float; write true or false",
        'catalog.yaml:2:79 plans.p.entitlements.hours: 2.5 is a float, and floats are not exact; write "2.5" in quotes',
        "catalog.yaml:3:36 addons.a.entitlements.calls: 7.0 is a float, and floats are not exact; write 7",
    ]


def test_every_item_of_a_list_is_looked_at(tmp_path):
    text = """\
    features: {regions: {type: config, value: list}, tiers: {type: config, prefer: [1, 2, gold]}}
    plans: {p: {entitlements: {regions: [1.5, eu, yes, eu]}}, q: {entitlements: {regions: [eu, us, eu]}}}
    """
    assert file_problems(tmp_path, text) == [
        "catalog.yaml:1:81 features.tiers.prefer[0]: 1 is a number; write text, in quotes",
        "catalog.yaml:1:84 features.tiers.prefer[1]: 2 is a number; write text, in quotes",
        'catalog.yaml:2:38 plans.p.entitlements.regions[0]: 1.5 is a float, and floats are not exact; write "1.5" in quotes',
        'catalog.yaml:2:47 plans.p.entitlements.regions[2]: yes is a boolean to some readers of YAML only; write true, or "yes" in quotes',
        "catalog.yaml:2:96 plans.q.entitlements.regions[2]: names 'eu' twice; name it once",
    ]


def test_modes_that_do_not_belong():
    features = {"calls": {"type": "metered"}}
    entry = {"entitlements": {"calls": {"limit": 1, "mode": "set"}}}
    assert problems({"features": features, "addons": {"a": entry}, "promotions": {"m": entry}}) == [
        "addons.a.entitlements.calls.mode: 'set' is not for addons; write grant or add, or leave it out",
        "promotions.m.entitlements.calls.mode: 'set' is not for promotions; write grant, or leave it out",
    ]


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("integer", "7", "'7' is text; write a whole number, without quotes"),
        ("integer", True, "true is a boolean; write a whole number"),
        ("decimal", 2.5, '2.5 is a float, and floats are not exact; write "2.5" in quotes'),
        ("decimal", "x", "the number is 'x'; write a plain number such as '12' or '12.50'"),
        ("decimal", [], 'this is a list; write a whole number, or an exact one in quotes such as "2.50"'),
        ("text", 7, "7 is a number; write text, in quotes"),
        ("list", "eu", "'eu' is text; write a list of texts"),
        ("boolean", "no", "'no' is text; write true or false"),
    ],
)
def test_strict_config_values(kind, value, message):
    feature = {"type": "config", "value": kind}
    document = {"features": {"f": feature}, "plans": {"p": {"entitlements": {"f": value}}}}
    assert problems(document) == [f"plans.p.entitlements.f: {message}"]
    if kind != "list":
        assert problems({"features": {"f": {**feature, "prefer": [value]}}}) == [f"features.f.prefer[0]: {message}"]


@pytest.mark.parametrize(
    ("feature", "expected"),
    [
        ({"type": "boolean", "reset": "day", "scale": 0}, ["reset: says nothing on a boolean feature; leave it out", "scale: says nothing on a boolean feature; leave it out"]),
        ({"type": "metered", "value": "text", "prefer": "max"}, ["value: says nothing on a metered feature; leave it out", "prefer: says nothing on a metered feature; leave it out"]),
        ({"type": "config", "aggregate": "sum"}, ["aggregate: says nothing on a config feature; leave it out"]),
        ({"type": "config", "value": "integer", "prefer": "most"}, ["prefer: 'most' is text; write max, min, or a list with the best value first"]),
        ({"type": "config", "value": "number"}, ["value: 'number' is not a config type; write integer, decimal, text, list or boolean"]),
        ({"type": "metered", "scale": 10}, ["scale: is 10; write how many decimal places, from 0 to 9"]),
        ({"type": "metered", "scale": 10**18}, ["scale: is 1000000000000000000; write how many decimal places, from 0 to 9"]),
        ({"type": "metered", "backdate": "7 days"}, ["backdate: '7 days' is not a duration; write one such as 7d, 12h, 30m or 2w"]),
        ({"type": "metered", "backdate": "999999999w"}, ["backdate: '999999999w' is too long; write at most 36500d"]),
        ({"type": "metered", "backdate": 7}, ["backdate: 7 is a number; write a duration such as 7d, 12h, 30m or 2w"]),
        ({"type": "metered", "aggregate": "avg"}, ["aggregate: 'avg' is not an aggregate; write sum, count, max or latest"]),
        ({"type": "metered", "on_unavailable": "last"}, ["on_unavailable: 'last' is not an on_unavailable; write deny, allow or last_known"]),
        ({"type": "metered", "on_unavailable": True}, ["on_unavailable: true is a boolean; write deny, allow or last_known"]),
    ],
)  # fmt: skip
def test_features_that_are_wrong(feature, expected):
    assert problems({"features": {"f": feature}}) == [f"features.f.{line}" for line in expected]


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ([], "metadata: this is a list; write a mapping"),
        ({"a": [1, 2.5]}, 'metadata.a[1]: 2.5 is a float, and floats are not exact; write "2.5" in quotes'),
        ({"a": {1: 2}}, "metadata.a.1: this key is of type int; keys are text, write it in quotes"),
        ({"a": {"b": object()}}, "metadata.a.b: this is a object; write text, a whole number, true, false, null, a list or a mapping"),
        ({"a": "\ud800"}, "metadata.a: has half of a surrogate pair in it; write the whole character"),
        ({"a": 10**5000}, "metadata.a: is a number of 16610 bits; write one of at most 63"),
    ],
)  # fmt: skip
def test_metadata_that_json_cannot_hold(metadata, expected):
    assert problems({"products": {"r": {"metadata": metadata}}}) == [f"products.r.{expected}"]


def test_whole_numbers_have_63_bits():
    for number in (2**63 - 1, 1 - 2**63):
        assert parse({"products": {"r": {"metadata": {"a": number}}}}).products["r"].metadata == {"a": number}
        assert problems({"products": {"r": {"metadata": {"a": number * 2}}}}) == [
            "products.r.metadata.a: is a number of 64 bits; write one of at most 63"
        ]


def test_metadata_is_bounded():
    deep: dict[str, object] = {}
    for _ in range(31):
        deep = {"a": deep}
    parse({"products": {"r": {"metadata": deep}}})
    (problem,) = problems({"products": {"r": {"metadata": {"a": deep}}}})
    assert problem == f"products.r.metadata{'.a' * 32}: is nested more than 32 deep; flatten it"
    inner: dict[str, object] = {}
    endless = {"a": inner}
    inner["a"] = endless
    (problem,) = problems({"products": {"r": {"metadata": endless}}})
    assert problem.endswith(": is nested more than 32 deep; flatten it")


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("", "the key is empty; write 1 to 255 characters"),
        ("x" * 256, "the key is too long; write 1 to 255 characters"),
        ("ü" * 256, "the key is too long; write 1 to 255 characters"),
        ("$x", "keys that start with $ are the library's own; write another"),
        (" x", "the key starts or ends with a space; take it off"),
        ("x\u2003", "the key starts or ends with a space; take it off"),
        ("a\nb", "the key has a control character in it; take it out"),
        ("a\x7fb", "the key has a control character in it; take it out"),
        ("ä\x9f", "the key has a control character or half a surrogate pair in it; take it out"),
        ("a\udc00", "the key has a control character or half a surrogate pair in it; take it out"),
    ],
)
@pytest.mark.parametrize("section", ["features", "credits", "products", "plans", "addons", "promotions", "rates"])
def test_keys(section, key, message):
    entries = {"features": {"type": "boolean"}, "rates": {"credit": "c", "price": 1}}
    document = {"credits": {"c": {}}, section: {key: entries.get(section, {})}}
    assert [line.rsplit(": ", 1)[1] for line in problems(document) if "unknown credit" not in line] == [message]


def test_keys_that_are_no_text():
    for key in (5, None, 10**5000, (1,)):
        kind = type(key).__name__
        word = {5: "5", None: "none"}.get(key, kind)
        told = f"{word}: this key is of type {kind}; keys are text, write it in quotes"
        assert problems({key: {}}) == [told]
        assert problems({"features": {key: {"type": "boolean"}}}) == [f"features.{told}"]
        assert problems({"features": {"f": {"type": "boolean", key: 1}}}) == [f"features.f.{told}"]
        case = {"credit": "c", "when": [{key: "x", "price": 1}]}
        assert problems({"features": {"f": {"type": "metered"}}, "credits": {"c": {}}, "rates": {"f": case}}) == [
            f"rates.f.when[0].{told}"
        ]


@pytest.mark.parametrize("key", ["x" * 255, "Größe", "a b", "a.b", "42", "no", "€$"])
def test_keys_that_are_fine(key):
    assert list(parse({"features": {key: {"type": "boolean"}}}).features) == [key]


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        ({"price": 1}, ["rates.f: needs the key 'credit'"]),
        ({"credit": "c", "price": -1}, ["rates.f.price: is -1; write zero or more"]),
        ({"credit": "c", "when": [{"model": "x"}]}, ["rates.f.when[0]: needs the key 'price'"]),
        ({"credit": "c", "when": [{"model": 5, "price": "x"}]}, ["rates.f.when[0].model: 5 is a number; write text, in quotes", "rates.f.when[0].price: the number is 'x'; write a plain number such as '12' or '12.50'"]),
        ({"credit": "c", "when": [5]}, ["rates.f.when[0]: 5 is a number; write a mapping such as {model: large, price: 4}"]),
    ],
)  # fmt: skip
def test_shapes_of_rates(rate, expected):
    assert problems({"features": {"f": {"type": "metered"}}, "credits": {"c": {}}, "rates": {"f": rate}}) == expected


@pytest.mark.parametrize(
    ("granted", "expected"),
    [
        ({}, ["plans.p.credits.c: needs the key 'grant'", "plans.p.credits.c: needs the key 'every': day, week, month, quarter or year"]),
        ({"grant": 5, "every": "hour"}, ["plans.p.credits.c.every: 'hour' is not a period for credits; write day, week, month, quarter or year"]),
        ({"grant": "0.001", "every": "day"}, ["plans.p.credits.c.grant: grant is '0.001'; its scale allows 2 decimal places"]),
        ({"grant": "unlimited", "every": "day"}, ["plans.p.credits.c.grant: grant is 'unlimited'; write a plain number such as '12' or '12.50'"]),
        ({"grant": None, "every": "day"}, ["plans.p.credits.c.grant: is empty; write a number, or leave the key out"]),
        ({"grant": 1, "every": "day", "rollover": True}, ["plans.p.credits.c.rollover: true is a boolean; write a mapping with keys such as max, fraction, expires_after"]),
        ({"grant": 1, "every": "day", "rollover": {"max": -1}}, ["plans.p.credits.c.rollover.max: max is -1; an amount is zero or more"]),
        ({"grant": 1, "every": "day", "cost_basis": -1}, ["plans.p.credits.c.cost_basis: is -1; write zero or more"]),
    ],
)  # fmt: skip
def test_shapes_of_plan_credits(granted, expected):
    assert problems({"credits": {"c": {"scale": 2}}, "plans": {"p": {"credits": {"c": granted}}}}) == expected


def test_credits_that_are_wrong():
    assert problems({"credits": {"c": {"depletion": "soft", "floor": "0.1"}}}) == [
        "credits.c.floor: floor is '0.1'; its scale allows 0 decimal places"
    ]
    assert problems({"plans": {"p": {"credits": {"c": {"grant": 1, "every": "day"}}}}}) == [
        "plans.p.credits.c: unknown credit 'c'"
    ]


def test_no_more_problems_than_anybody_reads():
    found = problems({"plans": {f"p{number}": 5 for number in range(1000)}})
    assert len(found) == 101
    assert found[-1] == "there are more than 100 problems; the rest is not listed"
    assert len(problems({"plans": {f"p{number}": 5 for number in range(100)}})) == 100
    assert len(problems({"plans": {f"p{number}": {"extends": "x"} for number in range(1000)}})) == 101


def test_many_unknown_names_among_many_take_bounded_time():
    features = {f"feature_{number}": {"type": "boolean"} for number in range(20_000)}
    entries = {f"featur_{number}": True for number in range(20_000)}
    assert len(problems({"features": features, "plans": {"p": {"entitlements": entries}}})) == 101


# --- overrides ----------------------------------------------------------------------------------

ON = Feature("on", "boolean")
CALLS = Feature("calls", "metered", reset=MONTH)
STORE = Feature("store", "metered", scale=2)
TIER = Feature("tier", "config", prefer=("gold", "silver"))
DAYS = Feature("days", "config", value="integer", prefer="max")


@pytest.mark.parametrize(
    ("feature", "value", "meant"),
    [
        (ON, True, Entitlement("on", "set", value=True)),
        (ON, False, Entitlement("on", "set", value=False)),
        (ON, {"value": True}, Entitlement("on", "set", value=True)),
        (CALLS, 5, Entitlement("calls", "set", limits=(Limit(5, MONTH),))),
        (CALLS, "unlimited", Entitlement("calls", "set", limits=(Limit(UNLIMITED, MONTH),))),
        (CALLS, UNLIMITED, Entitlement("calls", "set", limits=(Limit(UNLIMITED, MONTH),))),
        (CALLS, {"limit": 5, "reset": "day"}, Entitlement("calls", "set", limits=(Limit(5, Period("day")),))),
        (CALLS, {"limit": 5, "mode": "set"}, Entitlement("calls", "set", limits=(Limit(5, MONTH),))),
        (STORE, "2.50", Entitlement("store", "set", limits=(Limit(250),))),
        (STORE, Decimal("2.5"), Entitlement("store", "set", limits=(Limit(250),))),
        (TIER, "gold", Entitlement("tier", "set", value="gold")),
        (DAYS, 30, Entitlement("days", "set", value=30)),
    ],
)
def test_overrides(feature, value, meant):
    assert entitlement(feature, value, mode="set") == meant


def test_modes_of_overrides():
    assert entitlement(CALLS, 5, mode="add").mode == "add"
    assert entitlement(CALLS, 5, mode="grant").mode == "grant"
    assert entitlement(CALLS, None, mode="deny") == Entitlement("calls", "deny")
    assert entitlement(ON, False, mode="deny") == Entitlement("on", "deny")


@pytest.mark.parametrize(
    ("feature", "value", "mode", "message"),
    [
        (ON, 1, "set", "on: 1 is a number; write true or false"),
        (ON, None, "set", "on: is empty; write true or false, or leave the key out"),
        (ON, True, "add", "on: add is for limits; 'on' is boolean, write grant or set"),
        (DAYS, 3, "add", "days: add is for limits; 'days' is config, write grant or set"),
        (ON, {"limit": 1}, "set", "on.limit: is for metered features; on is boolean, write value"),
        (CALLS, True, "set", "calls: calls is metered; write a number or unlimited"),
        (CALLS, {"limt": 5}, "set", "calls.limt: unknown key 'limt'; did you mean 'limit'?"),
        (CALLS, {"limit": 5, "mode": "add"}, "set", "calls.mode: 'add' here and 'set' in the call; leave this one out"),
        (CALLS, {"limits": []}, "set", "calls.limits: is empty; write at least one limit"),
        (CALLS, {"limit": 5, "reset": "none"}, "set", "calls.reset: is none here and month on feature 'calls'; usage resets in all periods of a feature or in none, so write a period in both"),
        (CALLS, {"limit": 5, "depletion": "soft", "ceiling": 4}, "set", "calls.ceiling: is below the limit; write one at or above it"),
        (CALLS, 5, "deny", "calls: deny takes no value; leave it out, or write False"),
        (TIER, "silvr", "set", "tier: 'silvr' is not a value of feature 'tier'; did you mean 'silver'?"),
        (TIER, 5, "set", "tier: 5 is a number; write text, in quotes"),
    ],
)  # fmt: skip
def test_overrides_of_another_shape(feature, value, mode, message):
    with pytest.raises(CatalogError) as refusal:
        entitlement(feature, value, mode=mode)
    assert str(refusal.value) == f"1 problem in the value for feature '{feature.key}'\n  {message}"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (2.5, "limit is the float 2.5; floats are not exact, write the string '2.5' or a Decimal"),
        (-1, "limit is -1; an amount is zero or more; for no limit write unlimited"),
        ("1.5", "limit is '1.5'; its scale allows 0 decimal places"),
        ({"limit": "x"}, "limit is 'x'; write a plain number such as '12' or '12.50'"),
        ({"limit": 1, "ceiling": -1}, "ceiling is -1; an amount is zero or more"),
        ({"limit": -1, "ceiling": -2}, "limit is -1; an amount is zero or more; for no limit write unlimited"),
    ],
)
def test_overrides_with_bad_amounts(value, message):
    with pytest.raises(AmountError) as refusal:
        entitlement(CALLS, value, mode="set")
    assert str(refusal.value) == message


def test_an_origin_is_any_mapping():
    class Slow(Mapping):
        def __init__(self, inner):
            self.inner = inner

        def __getitem__(self, key):
            return self.inner[key]

        def __iter__(self):
            return iter(self.inner)

        def __len__(self):
            return len(self.inner)

    catalog = load(Slow({"features": Slow({"f": Slow({"type": "boolean"})})}))
    assert list(catalog.features) == ["f"]
    assert loading.load(catalog.document) == catalog


def test_a_catalog_goes_to_another_process_and_is_its_own_copy(tmp_path):
    path = tmp_path / "sold.yaml"
    path.write_text("features:\n  f: {type: metered, scale: 2, metadata: {a: [1, {b: c}]}}\nplans: {p: {entitlements: {f: 5}}}\n")
    catalog = attrs.evolve(load(path), notes=("a remark",))
    script = "import pickle, sys; c = pickle.load(sys.stdin.buffer); print(c.version, c.notes, c.origin, c.plans['p'].entitlements)"
    found = subprocess.run([sys.executable, "-c", script], input=pickle.dumps(catalog), capture_output=True, check=True)
    entitlements = catalog.plans["p"].entitlements
    assert found.stdout.decode().strip() == f"{catalog.version} ('a remark',) {path} {entitlements}"
    assert copy.deepcopy({"c": catalog})["c"] is copy.copy(catalog) is catalog
    assert pickle.loads(pickle.dumps(catalog)).features == catalog.features


def test_a_catalog_that_was_never_loaded_cannot_be_pickled_and_says_what_to_do():
    with pytest.raises(TypeError, match=r"put together by hand cannot be pickled; make it by Catalog.load\(mapping\)"):
        pickle.dumps(Catalog(plans={"p": Plan("p")}))
