"""The one canonical spelling of a catalog, its version, and YAML for people."""



import json
from datetime import timedelta

import pytest
import yaml

from entitlements.catalog.loading import load, parse
from entitlements.catalog.writing import document, to_yaml, version_of

FULL = {
    "default_plan": "free",
    "features": {
        "exports": {"type": "boolean", "title": "Exports", "metadata": {"a": [1, None], "b": {}}},
        "seats": {"type": "metered", "unit": "seat"},
        "calls": {
            "type": "metered",
            "reset": {"every": "month", "align": "calendar"},
            "aggregate": "count",
            "scale": 2,
            "backdate": "90m",
            "on_unavailable": "deny",
        },
        "tier": {"type": "config", "prefer": ["gold", "silver"]},
        "ratio": {"type": "config", "value": "decimal", "prefer": "min"},
        "regions": {"type": "config", "value": "list"},
    },
    "credits": {
        "ai": {"scale": 2, "currency": "USD", "depletion": "soft", "floor": "10.5", "burn_order": ["plan", "granted"]}
    },
    "products": {"app": {"title": "The app"}},
    "plans": {
        "free": {"product": "app", "entitlements": {"seats": 2, "tier": "silver", "regions": ["eu", "us"]}},
        "base": {"entitlements": {"exports": False}},
        "pro": {
            "product": "app",
            "extends": "free",
            "version": "pinned",
            "price": "20",
            "trial": {"days": 14},
            "entitlements": {
                "exports": {"value": True, "mode": "set"},
                "seats": {"limit": 20, "mode": "set"},
                "calls": {"limit": "100.25", "depletion": "soft", "ceiling": 150, "reset": "day"},
                "ratio": "0.125",
            },
            "credits": {
                "ai": {
                    "grant": 500,
                    "every": "month",
                    "count": 3,
                    "category": "promotional",
                    "priority": 0,
                    "cost_basis": 0,
                    "rollover": {"max": "2.5", "fraction": 0, "expires_after": "30d", "times": 2},
                }
            },
        },
        "team": {
            "extends": ["pro", "base"],
            "entitlements": {
                "calls": {"limits": [{"limit": "unlimited"}, {"limit": 5, "reset": "hour"}], "mode": "set"}
            },
            "credits": {"ai": {"grant": "0.01", "every": "day", "rollover": {}}},
        },
    },
    "addons": {
        "more": {"plans": ["pro"], "requires": ["base"], "price": "5", "entitlements": {"seats": 5, "exports": True}},
        "base": {"excludes": ["other"], "entitlements": {"seats": {"limit": 5, "mode": "grant"}}},
        "other": {},
    },
    "promotions": {"launch": {"days": 14, "entitlements": {"calls": "unlimited"}}, "ever": {}},
    "rates": {
        "calls": {
            "credit": "ai",
            "price": "1.5",
            "per": 1000,
            "when": [{"model": "large", "price": 4}, {"model": "large", "kind": "input", "price": 0}],
        }
    },
}


def test_the_canonical_spelling_is_its_own():
    assert document(load(FULL)) == {"version": 1, **FULL}
    assert list(document(load(FULL))) == ["version", *FULL]


def test_a_document_loads_back():
    catalog = load(FULL)
    again = load(document(catalog))
    assert again == catalog
    for section in ("features", "credits", "products", "plans", "addons", "promotions", "rates", "default_plan"):
        assert getattr(again, section) == getattr(catalog, section)


def test_a_loaded_catalog_carries_document_and_version():
    catalog = load(FULL)
    assert dict(catalog.document) == document(catalog)
    assert catalog.version == version_of(catalog.document)
    assert json.loads(json.dumps(dict(catalog.document))) == document(catalog)


@pytest.mark.parametrize(
    ("section", "written", "canonical"),
    [
        ("features", {"type": "metered", "reset": "none", "aggregate": "sum", "scale": 0, "backdate": "0d"}, {"type": "metered"}),
        ("features", {"type": "metered", "reset": {"every": "month", "count": 1, "align": "anniversary"}}, {"type": "metered", "reset": "month"}),
        ("features", {"type": "metered", "backdate": "2w"}, {"type": "metered", "backdate": "14d"}),
        ("features", {"type": "metered", "backdate": "48h"}, {"type": "metered", "backdate": "2d"}),
        ("features", {"type": "metered", "backdate": "120m"}, {"type": "metered", "backdate": "2h"}),
        ("features", {"type": "metered", "backdate": "90s"}, {"type": "metered", "backdate": "90s"}),
        ("features", {"type": "config", "value": "text"}, {"type": "config"}),
        ("features", {"type": "config", "value": "integer", "prefer": "max"}, {"type": "config", "value": "integer"}),
        ("features", {"type": "config", "value": "decimal", "prefer": ["1.50", "2.0"]}, {"type": "config", "value": "decimal", "prefer": ["1.5", 2]}),
        ("features", {"type": "boolean", "title": "", "metadata": {}, "on_unavailable": "last_known"}, {"type": "boolean"}),
        ("credits", {"scale": 0, "depletion": "hard", "burn_order": "default"}, {}),
        ("credits", {"depletion": "soft", "floor": 0}, {"depletion": "soft", "floor": 0}),
        ("plans", {"product": "default", "version": "latest", "extends": [], "entitlements": {}, "price": 7}, {"price": "7"}),
        ("addons", {"plans": [], "requires": [], "excludes": []}, {}),
    ],
)  # fmt: skip
def test_defaults_are_left_out(section, written, canonical):
    assert document(load({section: {"x": written}})) == {"version": 1, section: {"x": canonical}}


@pytest.mark.parametrize(
    "entry",
    [5, "5", "5.00", {"limit": 5}, {"limit": "5.0", "depletion": "hard"}, {"limits": [{"limit": 5, "reset": "month"}], "mode": "grant"}],
)  # fmt: skip
def test_one_content_has_one_version(entry):
    features = {"calls": {"type": "metered", "reset": "month", "scale": 2}}
    catalog = load({"plans": {"p": {"entitlements": {"calls": entry}}}, "features": features})
    assert catalog.document["plans"] == {"p": {"entitlements": {"calls": 5}}}
    assert catalog.version == load({"features": features, "plans": {"p": {"entitlements": {"calls": 5}}}}).version


def test_the_version_is_of_the_content_alone():
    assert version_of({"a": 1, "b": {"c": [1]}}) == version_of({"b": {"c": [1]}, "a": 1})
    assert version_of({"a": 1}) == "015abd7f5cc57a2dd94b7590f04ad808"
    assert version_of({"a": [1, 2]}) != version_of({"a": [2, 1]})
    assert version_of({"a": "1"}) != version_of({"a": 1})
    assert parse({}, notes=["x"]).version == parse({}).version
    assert load({}).version != load(FULL).version


def test_every_change_changes_the_version():
    versions = {load(FULL).version}
    for path, value in (
        (("features", "exports", "title"), "Export"),
        (("features", "calls", "scale"), 3),
        (("credits", "ai", "burn_order"), ["granted", "plan"]),
        (("plans", "pro", "entitlements", "seats", "mode"), "grant"),
        (("plans", "pro", "trial", "days"), 15),
        (("plans", "team", "extends"), ["base", "pro"]),
        (("addons", "more", "price"), "6"),
        (("promotions", "launch", "days"), 15),
        (("rates", "calls", "per"), 1),
    ):
        changed = json.loads(json.dumps(FULL))
        inner = changed
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        versions.add(load(changed).version)
    assert len(versions) == 10


YAML = """\
version: 1
default_plan: free
features:
  seats: {type: metered, unit: seat}
  "no":
    type: boolean
    title: "1e6"
    description: "two\\nlines"
    metadata:
      a: null
      b: true
      "12:30": "010"
plans:
  free:
    price: "20"
    entitlements:
      seats: 2
      "no": true
  pro: {extends: free}
"""


def test_yaml_for_people(tmp_path):
    metadata = {"a": None, "b": True, "12:30": "010"}
    odd = {"type": "boolean", "title": "1e6", "description": "two\nlines", "metadata": metadata}
    features = {"seats": {"type": "metered", "unit": "seat"}, "no": odd}
    plans = {"free": {"price": "20", "entitlements": {"seats": 2, "no": True}}, "pro": {"extends": "free"}}
    catalog = load({"default_plan": "free", "features": features, "plans": plans})
    assert to_yaml(catalog) == YAML
    path = tmp_path / "catalog.yaml"
    path.write_text(YAML)
    assert load(path) == catalog


@pytest.mark.parametrize(
    "text",
    ["no", "y", "ON", "~", "null", "true", "1", "1.5", "1e6", "0x1", "010", "1_0", "12:30", ".inf", "2024-01-01", "=", "<<",
     "- x", "a: b", "#", "&a", "*a", "!a", "%a", "@a", "`a", "[a", "{a", "? a", "'", '"', "a #b", " a", "a ", "\ta", "a\tb", "\n", "a\n\nb\n",
     "\x85", "\u2028", "\ufeff", "\x07", "\U0001f600", "x" * 300, "word " * 60, "é", "\\", "\\n", "---", "..."],
)  # fmt: skip
def test_every_text_comes_back_from_yaml(text, tmp_path):
    plan = {
        "title": text,
        "metadata": {
            "list": [text, {"x": text}],
            "x": {text: text} if text.isprintable() and text == text.strip() and len(text) < 256 else {},
        },
    }
    catalog = load({"plans": {"p": plan}})
    path = tmp_path / "catalog.yaml"
    path.write_text(to_yaml(catalog), encoding="utf-8", newline="\n")
    assert load(path).plans["p"] == catalog.plans["p"]


def test_yaml_has_no_aliases_and_keeps_the_order():
    shared = {"x": ["y"]}
    catalog = load({"plans": {"z": {"metadata": shared}, "a": {"metadata": shared}}})
    assert list(yaml.safe_load(to_yaml(catalog))["plans"]) == ["z", "a"]
    assert "&" not in to_yaml(catalog)


def test_durations_of_a_day_and_more():
    catalog = load({"features": {"f": {"type": "metered", "backdate": "36h"}}})
    assert catalog.features["f"].backdate == timedelta(hours=36)
    assert document(catalog)["features"]["f"]["backdate"] == "36h"
