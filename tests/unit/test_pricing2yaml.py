"""Pricing2Yaml as catalogs: every syntax version, every rule of the mapping, and what a file that is wrong is told."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from entitlements.amounts import MAX_UNITS, UNLIMITED
from entitlements.catalog import pricing2yaml
from entitlements.catalog.loading import parse
from entitlements.catalog.model import AddOn, Catalog, Entitlement, Feature, Limit, Period, Plan, Product
from entitlements.errors import CatalogError

Load = Callable[[str], Catalog]
ON = {"valueType": "BOOLEAN", "defaultValue": True}
OFF = {"valueType": "BOOLEAN", "defaultValue": False}
MONTH = Period("month")
NO_PERIOD = "{} with no period; it {} here, as the format{}"
OWN_CHANGE = "'s own change to 3.0 reads it"


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads a text as a file."""

    def loaded(text: str) -> Catalog:
        file = tmp_path / "pricing.yml"
        file.write_text(text, encoding="utf-8")
        return pricing2yaml.load(file)

    return loaded


def pricing(**parts: Any) -> dict[str, Any]:
    """A document with what a test is about, and what every document needs."""
    return {"saasName": "Acme", "features": {}, "plans": {"FREE": None}, **parts}


def limit(default: Any, **more: Any) -> dict[str, Any]:
    return {"valueType": "NUMERIC", "defaultValue": default, "type": "NON_RENEWABLE", **more}


def made(**parts: Any) -> Catalog:
    converted, notes = pricing2yaml.convert(pricing(**parts))
    return parse(converted, notes=notes)


def notes_of(**parts: Any) -> tuple[str, ...]:
    return pricing2yaml.convert(pricing(**parts))[1]


def problems_of(**parts: Any) -> list[tuple[str, str]]:
    with pytest.raises(CatalogError) as caught:
        pricing2yaml.convert(pricing(**parts))
    return [(problem.path, problem.message) for problem in caught.value.problems]


def limits_in(catalog: Catalog, plan: str = "FREE") -> dict[str, Any]:
    found = catalog.plans[plan].entitlements
    return {key: each.limits[0].amount for key, each in found.items() if each.limits}


def values_in(catalog: Catalog, plan: str = "FREE") -> dict[str, Any]:
    return {key: each.value for key, each in catalog.plans[plan].entitlements.items() if not each.limits}


# The syntax versions


def test_version_1_0(load: Load) -> None:
    catalog = load("""\
saasName: petclinic
day: 15
month: 1
year: 2024
currency: EUR
hasAnnualPayment: true
features:
  maxPets:
    description: How many pets
    valueType: NUMERIC
    defaultValue: 2
    expression: userContext['pets'] < planContext['usageLimits']['maxPets']
    serverExpression: ""
    type: DOMAIN
  supportPriority: {description: "", valueType: TEXT, defaultValue: LOW, type: SUPPORT}
  haveCalendar: {description: "", valueType: BOOLEAN, defaultValue: false, type: DOMAIN}
usageLimits:
  maxPets:
    description: ""
    valueType: NUMERIC
    defaultValue: 10
    unit: pet
    type: NON_RENEWABLE
    linkedFeatures: [maxPets]
plans:
  BASIC:
    description: Basic plan
    monthlyPrice: 0.0
    annualPrice: 0.0
    unit: user/month
    features: null
    usageLimits: null
  ADVANCED:
    description: Advanced plan
    monthlyPrice: 5.50
    annualPrice: 5.0
    unit: user/month
    features:
      maxPets: {value: 4}
      supportPriority: {value: MEDIUM}
      haveCalendar: {value: true}
  YEARLY: {monthlyPrice: null, annualPrice: 4, unit: user/month}
addOns: null
""")
    assert catalog.products == {
        "petclinic": Product(
            "petclinic",
            title="petclinic",
            metadata={"day": 15, "month": 1, "year": 2024, "currency": "EUR", "hasAnnualPayment": True},
        )
    }
    assert catalog.features == {
        "maxPets": Feature(
            "maxPets",
            "config",
            description="How many pets",
            value="integer",
            prefer="max",
            metadata={
                "expression": "userContext['pets'] < planContext['usageLimits']['maxPets']",
                "serverExpression": "",
                "type": "DOMAIN",
            },
        ),
        "supportPriority": Feature("supportPriority", "config", value="text", metadata={"type": "SUPPORT"}),
        "haveCalendar": Feature("haveCalendar", "boolean", metadata={"type": "DOMAIN"}),
        "maxPetsLimit": Feature(
            "maxPetsLimit",
            "metered",
            unit="pet",
            metadata={"type": "NON_RENEWABLE", "linkedFeatures": ("maxPets",)},
        ),
    }
    assert catalog.plans == {
        "BASIC": Plan(
            "BASIC",
            product="petclinic",
            description="Basic plan",
            price="0.0",
            metadata={"annualPrice": "0.0", "unit": "user/month"},
            entitlements={
                "maxPets": Entitlement("maxPets", value=2),
                "supportPriority": Entitlement("supportPriority", value="LOW"),
                "haveCalendar": Entitlement("haveCalendar", value=False),
                "maxPetsLimit": Entitlement("maxPetsLimit", limits=(Limit(10),)),
            },
        ),
        "ADVANCED": Plan(
            "ADVANCED",
            product="petclinic",
            description="Advanced plan",
            price="5.50",
            metadata={"annualPrice": "5.0", "unit": "user/month"},
            entitlements={
                "maxPets": Entitlement("maxPets", value=4),
                "supportPriority": Entitlement("supportPriority", value="MEDIUM"),
                "haveCalendar": Entitlement("haveCalendar", value=True),
                "maxPetsLimit": Entitlement("maxPetsLimit", limits=(Limit(10),)),
            },
        ),
        "YEARLY": Plan(
            "YEARLY",
            product="petclinic",
            price="4",
            metadata={"unit": "user/month"},
            entitlements=catalog.plans["BASIC"].entitlements,
        ),
    }
    assert catalog.notes == (
        "features.maxPets.expression: is not evaluated, kept as metadata: the values of plans and add-ons decide",
        "usageLimits.maxPets: a feature has this key too; it is 'maxPetsLimit' here",
        "plans.YEARLY.annualPrice: is what it costs when paid by the year; it is the price here",
    )


def test_version_1_1(load: Load) -> None:
    catalog = load("""\
saasName: Overleaf
version: "1.1"
createdAt: 2024-11-14
starts: 2024-11-17 10:00:00
ends: null
currency: USD
hasAnnualPayment: false
features:
  compile: {valueType: BOOLEAN, defaultValue: true, type: DOMAIN}
  sla: {valueType: BOOLEAN, defaultValue: false, type: GUARANTEE, docUrl: "https://o.example/sla"}
  payment: {valueType: TEXT, defaultValue: [CARD, OTHER], type: PAYMENT}
usageLimits:
  compileTimeout: {valueType: NUMERIC, defaultValue: 1, unit: minute, type: TIME_DRIVEN, linkedFeatures: [compile]}
  flowCredits: {valueType: NUMERIC, defaultValue: 5, unit: credit/month, type: RESPONSE_DRIVEN, linkedFeatures: null}
plans:
  FREE: {monthlyPrice: 0, annualPrice: 0, unit: user/month}
addOns:
  base:
    {availableFor: [FREE], monthlyPrice: 15.00, annualPrice: 12.00, unit: user/month, features: {sla: {value: true}}}
  more:
    availableFor: [FREE]
    dependsOn: [base]
    price: 3
    usageLimitsExtensions: {flowCredits: {value: 10}}
""")
    assert catalog.products["Overleaf"].metadata == {
        "version": "1.1",
        "createdAt": "2024-11-14",
        "starts": "2024-11-17 10:00:00",
        "currency": "USD",
        "hasAnnualPayment": False,
    }
    assert {key: (each.reset, each.unit) for key, each in catalog.features.items() if each.type == "metered"} == {
        "compileTimeout": (MONTH, "minute"),
        "flowCredits": (MONTH, "credit"),
    }
    assert catalog.features["payment"].value == "list"
    assert catalog.plans["FREE"].entitlements["payment"].value == ("CARD", "OTHER")
    assert catalog.features["sla"].metadata == {"type": "GUARANTEE", "docUrl": "https://o.example/sla"}
    assert catalog.addons == {
        "base": AddOn(
            "base",
            plans=("FREE",),
            price="15.00",
            metadata={"annualPrice": "12.00", "unit": "user/month"},
            entitlements={"sla": Entitlement("sla", value=True)},
        ),
        "more": AddOn(
            "more",
            plans=("FREE",),
            requires=("base",),
            price="3",
            entitlements={"flowCredits": Entitlement("flowCredits", "add", limits=(Limit(10, MONTH),))},
        ),
    }
    assert catalog.notes == (
        f"usageLimits.compileTimeout.type: {NO_PERIOD.format('TIME_DRIVEN', 'renews every month', OWN_CHANGE)}",
        "starts: does not begin anything; kept as metadata",
    )


def test_version_2_0(load: Load) -> None:
    catalog = load("""\
saasName: Charts
version: "2.0"
createdAt: "2024-08-31"
currency: EUR
url: https://charts.example/pricing
tags: [Drawing]
billing: {monthly: 1, semester: 0.95}
variables: {x: 15.00, vip: true}
features:
  charts: {valueType: BOOLEAN, defaultValue: true, type: DOMAIN, tag: Drawing, render: DISABLED}
usageLimits:
  exports: {valueType: NUMERIC, defaultValue: .inf, unit: export/day, type: RENEWABLE, render: ENABLED}
plans:
  PRO: {price: "#vip ? #x * 2 : 5", unit: user/month, private: true}
  SALES: {price: Contact Sales, private: false}
addOns:
  extra: {price: 'Math.floor(#x / 5)', excludes: [other], features: {charts: {value: true}}}
  other: {price: 1, excludes: [extra], private: true, features: {charts: null}}
""")
    assert catalog.products["Charts"].metadata == {
        "version": "2.0",
        "createdAt": "2024-08-31",
        "currency": "EUR",
        "url": "https://charts.example/pricing",
        "tags": ("Drawing",),
        "billing": {"monthly": 1, "semester": "0.95"},
        "variables": {"x": "15.00", "vip": True},
    }
    assert catalog.features["charts"].metadata == {"type": "DOMAIN", "tag": "Drawing", "render": "DISABLED"}
    assert catalog.features["exports"] == Feature(
        "exports", "metered", unit="export", reset=Period("day"), metadata={"type": "RENEWABLE", "render": "ENABLED"}
    )
    assert limits_in(catalog, "PRO") == {"exports": UNLIMITED}
    assert {key: plan.price for key, plan in catalog.plans.items()} == {
        "PRO": "#vip ? #x * 2 : 5",
        "SALES": "Contact Sales",
    }
    assert catalog.plans["PRO"].metadata == {"unit": "user/month", "private": True}
    assert catalog.addons["extra"] == AddOn(
        "extra",
        excludes=("other",),
        price="Math.floor(#x / 5)",
        entitlements={"charts": Entitlement("charts", value=True)},
    )
    assert catalog.notes == (
        "plans.PRO.price: is a formula, which is not computed; the price here is its text",
        "plans.PRO.private: is not hidden from anybody; kept as metadata",
        "addOns.extra.price: is a formula, which is not computed; the price here is its text",
        "addOns.other.private: is not hidden from anybody; kept as metadata",
        "billing: is not computed into prices; kept as metadata",
        "variables: are not computed into prices; kept as metadata",
    )


def test_version_2_1_names_its_syntax_and_a_version_of_its_own(load: Load) -> None:
    catalog = load("""\
saasName: Docs
syntaxVersion: '2.1'
version: jan-25
createdAt: '2025-01-01'
currency: USD
billing: {monthly: 1.0}
features: {docs: {valueType: BOOLEAN, defaultValue: true, type: DOMAIN}}
plans: {FREE: {price: 0, unit: user/month, features: null, usageLimits: null}}
""")
    assert catalog.products["Docs"].metadata["version"] == "jan-25"
    assert catalog.products["Docs"].metadata["billing"] == {"monthly": "1.0"}
    assert catalog.notes == ()


def test_version_3_0(load: Load) -> None:
    catalog = load("""\
saasName: PetClinic
syntaxVersion: "3.0"
features:
  pets:
    valueType: BOOLEAN
    defaultValue: true
    expression: subscriptionContext['pets'] < pricingContext['usageLimits']['maxPets']
    type: DOMAIN
  visits: {valueType: BOOLEAN, defaultValue: true, type: DOMAIN}
usageLimits:
  maxPets:
    {valueType: NUMERIC, defaultValue: 2, unit: pet, type: NON_RENEWABLE, trackable: true, linkedFeatures: [pets]}
  maxVisits:
    valueType: NUMERIC
    defaultValue: 1
    unit: visit
    type: RENEWABLE
    period: {value: 15, unit: DAY}
    linkedFeatures: [visits]
plans: {GOLD: {price: 5.0, unit: user/month}}
addOns:
  extraPet:
    price: 2.95
    subscriptionConstraints: {minQuantity: 2, maxQuantity: 10, quantityStep: 2}
    usageLimitsExtensions: {maxPets: {value: 1}}
""")
    assert catalog.features["maxPets"].metadata == {
        "type": "NON_RENEWABLE",
        "trackable": True,
        "linkedFeatures": ("pets",),
    }
    assert catalog.features["maxVisits"].reset == Period("day", 15)
    assert catalog.addons["extraPet"].metadata == {
        "subscriptionConstraints": {"minQuantity": 2, "maxQuantity": 10, "quantityStep": 2}
    }
    assert catalog.notes == (
        "features.pets.expression: is not evaluated, kept as metadata: the values of plans and add-ons decide",
        "addOns.extraPet.subscriptionConstraints: do not bound how many may be bought; kept as metadata",
    )


def test_version_3_1(load: Load) -> None:
    catalog = load("""\
saasName: Regions
syntaxVersion: 3.1
variables: {region: eu, priceByRegion: {eu-price: 3, us-price: 4.50}}
custom: {deployment: {region: us-east-1, $schema: x}, ids: [1, 2.50, null]}
features: {docs: {valueType: BOOLEAN, defaultValue: true, type: DOMAIN}}
plans: {PRO: {price: 9.99}}
""")
    assert catalog.products["Regions"].metadata == {
        "syntaxVersion": "3.1",
        "variables": {"region": "eu", "priceByRegion": {"eu-price": 3, "us-price": "4.50"}},
        "custom": {"deployment": {"region": "us-east-1", "_schema": "x"}, "ids": (1, "2.50", None)},
    }
    assert catalog.notes == (
        "variables: are not computed into prices; kept as metadata",
        "custom.deployment.'$schema': kept as '_schema': a key is printable, trimmed, with no $ ahead",
    )


@pytest.mark.parametrize(("version", "noted"), [("4.0", True), ("3.1", False), (Decimal("2.1"), False), (2.1, False)])
def test_an_unknown_syntax_version_is_read_as_the_latest_and_noted(version: Any, noted: bool) -> None:
    notes = notes_of(syntaxVersion=version)
    assert notes == (("syntaxVersion: is not known; read as 3.1",) if noted else ())


# Features


def test_every_plan_has_every_feature_its_own_value_or_the_default() -> None:
    features = {
        "exports": OFF,
        "sharing": ON,
        "level": {"valueType": "TEXT", "defaultValue": "LOW"},
        "seats": {"valueType": "NUMERIC", "defaultValue": 3},
        "payment": {"valueType": "TEXT", "type": "PAYMENT", "defaultValue": ["CARD"]},
    }
    own = {"exports": True, "sharing": False, "level": "HIGH", "seats": 9, "payment": ["CARD", "ACH"]}
    catalog = made(
        features=features, plans={"FREE": {"features": None}, "PRO": {"features": {k: {"value": own[k]} for k in own}}}
    )
    assert values_in(catalog) == {
        "exports": False,
        "sharing": True,
        "level": "LOW",
        "seats": 3,
        "payment": ("CARD",),
    }
    assert values_in(catalog, "PRO") == {**own, "payment": ("CARD", "ACH")}
    assert catalog.notes == ()


def test_numeric_features_are_integers_until_a_value_is_not() -> None:
    features = {"a": {"valueType": "NUMERIC", "defaultValue": 10.0}, "b": {"valueType": "NUMERIC", "defaultValue": -1}}
    catalog = made(features=features, plans={"FREE": {"features": {"b": {"value": Decimal("0.50")}}}})
    assert [catalog.features[key].value for key in "ab"] == ["integer", "decimal"]
    assert values_in(catalog) == {"a": 10, "b": Decimal("0.5")}


def test_an_unlimited_numeric_feature_has_the_largest_number_there_is() -> None:
    catalog = made(features={"days": {"valueType": "NUMERIC", "defaultValue": float("inf")}})
    assert values_in(catalog) == {"days": MAX_UNITS}
    assert catalog.notes == (
        f"features.days: a value that is read is never unlimited; the largest here is {MAX_UNITS}",
    )


def test_a_feature_may_give_its_value_itself() -> None:
    catalog = made(features={"a": {"valueType": "boolean ", "defaultValue": False, "value": True}})
    assert values_in(catalog) == {"a": True}
    assert catalog.notes == ("features.a.value: stands in the place of the defaultValue",)


def test_a_bare_value_is_read_as_the_value() -> None:
    catalog = made(
        features={"a": OFF},
        usageLimits={"n": limit(1)},
        plans={"FREE": {"features": {"a": True}, "usageLimits": {"n": float("inf")}}},
    )
    assert values_in(catalog) == {"a": True}
    assert limits_in(catalog) == {"n": UNLIMITED}
    assert catalog.notes == (
        "plans.FREE.features.a: has no key 'value'; read as the value",
        "plans.FREE.usageLimits.n: has no key 'value'; read as the value",
    )


def test_words_of_older_yaml_are_read_and_noted(load: Load) -> None:
    catalog = load("""\
saasName: Acme
features:
  a: {valueType: BOOLEAN, defaultValue: yes}
  b: {valueType: TEXT, defaultValue: 99.90}
  c: {valueType: NUMERIC, defaultValue: 1_000}
  d: {valueType: NUMERIC, defaultValue: 1e3}
  f: {valueType: NUMERIC, defaultValue: 0x1F}
  e: {valueType: TEXT, defaultValue: 12:30}
plans: {NO: {}, 2024: {price: 10_000}, 1.10: {}, ON: {}}
addOns: {x: {availableFor: [NO, 2024, 1.10], features: {a: {value: off}}}}
""")
    assert list(catalog.plans) == ["NO", "2024", "1.10", "ON"]
    assert catalog.addons["x"].plans == ("NO", "2024", "1.10")
    assert values_in(catalog, "NO") == {"a": True, "b": "99.90", "c": 1000, "d": 1000, "f": 31, "e": "12:30"}
    assert catalog.plans["2024"].price == "10000"
    assert catalog.notes == (
        "features.a.defaultValue: yes is a boolean in YAML 1.1, and read as one",
        "features.b.defaultValue: is a number where its valueType is TEXT; read as text",
        "addOns.x.features.a.value: off is a boolean in YAML 1.1, and read as one",
        "addOns.x.features.a: takes nothing away from a plan that has more",
    )


# Usage limits


def test_numbers_are_exactly_as_written(load: Load) -> None:
    catalog = load("""\
saasName: Acme
features: {}
usageLimits:
  a: {valueType: NUMERIC, defaultValue: 0.1, type: NON_RENEWABLE}
  b: {valueType: NUMERIC, defaultValue: 9007199254740993, type: NON_RENEWABLE}
  c: {valueType: NUMERIC, defaultValue: 5.00, type: NON_RENEWABLE}
plans:
  FREE: {usageLimits: {a: {value: 0.125}}}
  PRO: {usageLimits: {a: {value: 3}}}
addOns: {more: {usageLimitsExtensions: {a: {value: 0.30000000000000004e1}}}}
""")
    assert {key: each.scale for key, each in catalog.features.items()} == {"a": 3, "b": 0, "c": 0}
    assert limits_in(catalog) == {"a": 125, "b": 9_007_199_254_740_993, "c": 5}
    assert limits_in(catalog, "PRO")["a"] == 3_000
    assert catalog.addons["more"].entitlements["a"] == Entitlement("a", "add", limits=(Limit(3_000),))
    assert catalog.notes == (
        "addOns.more.usageLimitsExtensions.a.value: has more than 9 decimal places; 3.000000000 here",
    )


def test_the_scale_is_that_of_the_finest_value() -> None:
    catalog = made(
        usageLimits={"a": limit(1), "b": limit(1)},
        addOns={"x": {"usageLimits": {"a": {"value": 0.25}}, "usageLimitsExtensions": {"b": {"value": 0.1}}}},
    )
    assert [catalog.features[key].scale for key in "ab"] == [2, 1]
    assert limits_in(catalog) == {"a": 100, "b": 10}


@pytest.mark.parametrize("huge", [10**19, 1e300, 10**5000, Decimal("1e9999")], ids=["just", "float", "int", "decimal"])
def test_more_than_can_be_counted_is_unlimited_and_noted(huge: Any) -> None:
    catalog = made(usageLimits={"a": limit(huge)})
    assert limits_in(catalog) == {"a": UNLIMITED}
    assert len(catalog.notes) == 1
    assert "unlimited here" in catalog.notes[0]


def test_what_is_too_large_depends_on_the_scale() -> None:
    catalog = made(
        usageLimits={"a": limit(Decimal("0.000001"))}, plans={"FREE": {"usageLimits": {"a": {"value": 10**15}}}}
    )
    assert limits_in(catalog) == {"a": UNLIMITED}
    assert catalog.notes == ("usageLimits.a: 1000000000000000 is more than can be counted; unlimited here",)


@pytest.mark.parametrize(
    ("written", "unit", "reset"),
    [
        ({"type": "NON_RENEWABLE", "unit": "GB"}, "GB", "none"),
        ({"type": "NON_RENEWABLE", "unit": ""}, "", "none"),
        ({"type": "RENEWABLE", "unit": "minute/month"}, "minute", "month"),
        ({"type": "renewable", "unit": "call / Day"}, "call", "day"),
        ({"type": "RENEWABLE", "unit": "calls per week"}, "calls", "week"),
        ({"type": "RENEWABLE", "unit": "user/year"}, "user", "year"),
        ({"type": "RENEWABLE", "unit": "run/h"}, "run", "hour"),
        ({"type": "RENEWABLE", "unit": "run/5 hours"}, "run", Period("hour", 5)),
        ({"type": "RENEWABLE", "unit": "run/90 minutes"}, None, None),
        ({"type": "RENEWABLE", "unit": "run/120 min"}, "run", Period("hour", 2)),
        ({"type": "RENEWABLE", "unit": "/month"}, "", "month"),
        ({"type": "RENEWABLE", "unit": "x", "period": {"value": 1, "unit": "MONTH"}}, "x", "month"),
        ({"type": "RENEWABLE", "unit": "x/month", "period": {"value": 1, "unit": "MONTH"}}, "x", "month"),
        ({"type": "RENEWABLE", "unit": "x", "period": {"value": 2, "unit": "year"}}, "x", Period("year", 2)),
        ({"type": "RENEWABLE", "unit": "x", "period": {"unit": "WEEK"}}, "x", "week"),
        ({"type": "RENEWABLE", "unit": "x", "period": {"value": 3600, "unit": "SEC"}}, "x", "hour"),
        ({"type": "TIME_DRIVEN", "unit": "minute/month"}, "minute", "month"),
        ({"type": "RESPONSE_DRIVEN", "unit": "credit/month"}, "credit", "month"),
        ({"unit": "call/month"}, "call", "month"),
        ({"type": "RENEWABLE", "unit": "email/day (max)"}, "email (max)", "day"),
        ({"type": "RENEWABLE", "unit": "GB (up/down)/month"}, "GB (up/down)", "month"),
        ({"type": "RENEWABLE", "unit": "minutes/mo."}, "minutes", "month"),
        ({"type": "RENEWABLE", "unit": "call/p.a."}, "call", "year"),
        ({"type": "RENEWABLE", "unit": "call / Calendar Month"}, "call", "month"),
        ({"type": "RENEWABLE", "unit": "per month"}, "", "month"),
        ({"type": "RENEWABLE", "unit": "call/every 3 days"}, "call", Period("day", 3)),
        ({"type": "RENEWABLE", "unit": "call/semester"}, "call", Period("month", 6)),
        ({"type": "RENEWABLE", "unit": "call/half-year"}, "call", Period("month", 6)),
        ({"type": "RENEWABLE", "unit": "call/fortnight"}, "call", Period("week", 2)),
        ({"type": "RENEWABLE", "unit": "call/decade"}, "call", Period("year", 10)),
    ],
)
def test_when_a_limit_renews(written: dict[str, Any], unit: str | None, reset: Any) -> None:
    catalog = made(usageLimits={"a": {"valueType": "NUMERIC", "defaultValue": 5, **written}})
    feature = catalog.features["a"]
    if unit is None:
        assert feature.type == "config"
    else:
        assert (feature.type, feature.unit) == ("metered", unit)
        assert feature.reset == (Period(reset) if isinstance(reset, str) else reset)
        assert catalog.notes == ()


ONE_DAY = {"value": 1, "unit": "DAY"}
NEVER = "NON_RENEWABLE stands beside a period; the type counts, it never renews here"
EACH = "{!r} counts for each {!r}; here it counts for the whole customer"


@pytest.mark.parametrize(
    ("written", "reset", "place", "note"),
    [
        ({"type": "RENEWABLE"}, "month", "type", NO_PERIOD.format("RENEWABLE", "renews every month", " says")),
        ({"type": "TIME_DRIVEN"}, "month", "type", NO_PERIOD.format("TIME_DRIVEN", "renews every month", OWN_CHANGE)),
        ({"type": "RESPONSE_DRIVEN"}, "none", "type", NO_PERIOD.format("RESPONSE_DRIVEN", "never renews", OWN_CHANGE)),
        ({}, "none", "type", "no type, with no period; it never renews here"),
        ({"type": "NON_RENEWABLE", "unit": "run/month"}, "none", "type", NEVER),
        ({"type": "NON_RENEWABLE", "period": ONE_DAY}, "none", "type", NEVER),
        (
            {"type": "RENEWABLE", "unit": "x/year", "period": ONE_DAY},
            "day",
            "unit",
            "'x/year' names another period than period does; period counts",
        ),
        (
            {"type": "RENEWABLE", "unit": "x/lifetime", "period": ONE_DAY},
            "day",
            "unit",
            "'x/lifetime' names another period than period does; period counts",
        ),
        ({"type": "RENEWABLE", "unit": "action/user/month"}, "month", "unit", EACH.format("action/user", "user")),
        ({"type": "NON_RENEWABLE", "unit": "MB/file"}, "none", "unit", EACH.format("MB/file", "file")),
        ({"type": "RENEWABLE", "unit": "run/hour/user"}, "hour", "unit", EACH.format("run/user", "user")),
        ({"type": "RENEWABLE", "unit": "GB/month/user"}, "month", "unit", EACH.format("GB/user", "user")),
        ({"type": "RENEWABLE", "unit": "GB per user per month"}, "month", "unit", EACH.format("GB/user", "user")),
        (
            {"type": "RENEWABLE", "unit": "call/hour/month"},
            "month",
            "unit",
            "'call/hour/month' names more than one period; 'month' counts",
        ),
    ],
)
def test_what_of_a_renewal_is_noted(written: dict[str, Any], reset: str, place: str, note: str) -> None:
    catalog = made(usageLimits={"a": {"valueType": "NUMERIC", "defaultValue": 5, **written}})
    assert catalog.features["a"].reset == Period(reset)  # type: ignore[arg-type]
    assert catalog.notes == (f"usageLimits.a.{place}: {note}",)


@pytest.mark.parametrize(("count", "unit"), [(20_000, "day"), (200, "year")])
def test_a_period_too_long_to_count_never_renews(count: int, unit: str) -> None:
    catalog = made(usageLimits={"a": limit(5, type="RENEWABLE", unit="x", period={"value": count, "unit": unit})})
    assert catalog.features["a"].reset == Period()
    assert catalog.notes == (
        f"usageLimits.a: renews every {count} {unit}s, which is too long to count; it never renews here",
    )


@pytest.mark.parametrize("named", ["lifetime", "billing cycle", "term", "biweekly", "1.5 months", "ms"])
def test_a_time_that_is_no_period_is_noted_and_never_called_a_scope(named: str) -> None:
    catalog = made(usageLimits={"a": limit(5, type="RENEWABLE", unit=f"call/{named}")})
    assert (catalog.features["a"].type, catalog.features["a"].unit) == ("config", f"call/{named}")
    told = ": renews every 1 milliseconds" if named == "ms" else f".unit: renews every {named!r}"
    assert catalog.notes == (f"usageLimits.a{told}, which is no period here: a number to read",)
    never = made(usageLimits={"a": limit(5, type="NON_RENEWABLE", unit=f"call/{named}")})
    assert never.notes == (f"usageLimits.a.type: {NEVER}",)


def test_a_unit_as_long_as_a_novel_is_one_thing_counted() -> None:
    catalog = made(usageLimits={"a": limit(5, unit=f"{'x' * 300}/user")})
    assert catalog.features["a"].unit == f"{'x' * 300}/user"
    assert len(catalog.notes) == 1
    assert "for each 'user'" in catalog.notes[0]


def test_a_rate_is_a_number_to_read_and_no_allowance() -> None:
    catalog = made(
        usageLimits={"calls": limit(100, type="RENEWABLE", unit="call/minute")},
        plans={"FREE": None, "PRO": {"usageLimits": {"calls": {"value": float("inf")}}}},
        addOns={
            "fast": {"usageLimits": {"calls": {"value": 500}}},
            "faster": {"usageLimitsExtensions": {"calls": {"value": 50}}},
        },
    )
    assert catalog.features["calls"] == Feature(
        "calls", "config", value="integer", prefer="max", unit="call/minute", metadata={"type": "RENEWABLE"}
    )
    assert [values_in(catalog, plan)["calls"] for plan in catalog.plans] == [100, MAX_UNITS]
    assert catalog.addons["fast"].entitlements == {"calls": Entitlement("calls", value=500)}
    assert catalog.addons["faster"].entitlements == {}
    assert catalog.notes == (
        "usageLimits.calls: renews every 60 seconds, which is no period here: a number to read",
        f"usageLimits.calls: a value that is read is never unlimited; the largest here is {MAX_UNITS}",
        "addOns.faster.usageLimitsExtensions.calls: is left out: nothing adds to a value that is read",
    )


def test_limits_that_are_no_numbers_are_values() -> None:
    catalog = made(
        features={"a": OFF},
        usageLimits={
            "early": {"valueType": "BOOLEAN", "defaultValue": False, "type": "NON_RENEWABLE", "linkedFeatures": ["a"]},
            "depth": {"valueType": "TEXT", "defaultValue": "30 days", "type": "RENEWABLE", "unit": "x/month"},
        },
        plans={"FREE": {"usageLimits": {"early": {"value": True}}}},
        addOns={
            "x": {"usageLimits": {"depth": {"value": "1 year"}}, "usageLimitsExtensions": {"early": {"value": True}}}
        },
    )
    assert (catalog.features["early"].type, catalog.features["depth"].type) == ("boolean", "config")
    assert catalog.features["depth"].unit == "x/month"
    assert values_in(catalog) == {"a": False, "early": True, "depth": "30 days"}
    assert catalog.addons["x"].entitlements == {"depth": Entitlement("depth", value="1 year")}
    assert catalog.notes == ("addOns.x.usageLimitsExtensions.early: is left out: nothing adds to a value that is read",)


def test_a_limit_holds_where_one_of_its_features_is_on() -> None:
    catalog = made(
        features={
            "a": OFF,
            "b": OFF,
            "n": {"valueType": "NUMERIC", "defaultValue": 0},
            "t": {"valueType": "TEXT", "defaultValue": ""},
        },
        usageLimits={
            "free": limit(1),
            "none": limit(2, linkedFeatures=[]),
            "either": limit(3, linkedFeatures=["a", "b"]),
            "alone": limit(4, linkedFeature="a"),
            "number": limit(5, linkedFeatures=["n"]),
            "text": limit(6, linkedFeatures="t"),
        },
        plans={
            "FREE": None,
            "B": {"features": {"b": {"value": True}}},
            "ALL": {"features": {"a": {"value": True}, "n": {"value": 1}, "t": {"value": "some"}}},
        },
    )
    assert limits_in(catalog) == {"free": 1, "none": 2}
    assert limits_in(catalog, "B") == {"free": 1, "none": 2, "either": 3}
    assert limits_in(catalog, "ALL") == {"free": 1, "none": 2, "either": 3, "alone": 4, "number": 5, "text": 6}
    assert catalog.notes == ()


def test_a_plans_own_limit_that_does_not_hold_is_noted() -> None:
    catalog = made(
        features={"a": OFF},
        usageLimits={"n": limit(0, linkedFeatures=["a"])},
        plans={"FREE": {"usageLimits": {"n": {"value": 9}}}, "PRO": {"usageLimits": {"n": {"value": 0}}}},
    )
    assert limits_in(catalog) == {}
    assert catalog.notes == ("plans.FREE.usageLimits.n: is not granted: no feature it is linked to is on in this plan",)


# Keys


def test_names_that_are_no_keys_get_one_and_a_note(load: Load) -> None:
    catalog = load(r"""
saasName: "$Acme\a"
features:
  99.9Uptime: {valueType: BOOLEAN, defaultValue: true}
  "$x": {valueType: BOOLEAN, defaultValue: true}
  "_x": {valueType: BOOLEAN, defaultValue: false}
  "": {valueType: BOOLEAN, defaultValue: true}
  " sp ace ": {valueType: BOOLEAN, defaultValue: true}
  "a\nb": {valueType: BOOLEAN, defaultValue: true}
usageLimits:
  n: {valueType: NUMERIC, defaultValue: 1, type: NON_RENEWABLE, linkedFeatures: ["$x", "sp ace"]}
plans: {FREE: {features: {"$x": {value: false}}}}
""")
    assert list(catalog.features) == ["99.9Uptime", "_x_", "_x", "_", "sp ace", "a_b", "n"]
    assert values_in(catalog) == {
        "99.9Uptime": True, "_x_": False, "_x": False, "_": True, "sp ace": True, "a_b": True,
    }  # fmt: skip
    assert catalog.features["n"].metadata["linkedFeatures"] == ("_x_", "sp ace")
    assert list(catalog.products) == ["_Acme_"]
    assert catalog.products["_Acme_"].title == "$Acme\a"
    assert catalog.notes == (
        "features.' sp ace ': the spaces around the name are taken off",
        "features.'$x': no key of the catalog is spelled so; it is '_x_' here",
        "features.'': no key of the catalog is spelled so; it is '_' here",
        "features.'a\\nb': no key of the catalog is spelled so; it is 'a_b' here",
    )


def test_a_limit_named_as_a_feature_moves_out_of_its_way_and_of_others() -> None:
    catalog = made(
        features={"pets": ON, "petsLimit": ON},
        usageLimits={"pets": limit(1, linkedFeatures=["pets"]), "petsLimit2": limit(2)},
        addOns={"more": {"usageLimitsExtensions": {"pets": {"value": 5}}}},
    )
    assert limits_in(catalog) == {"petsLimit3": 1, "petsLimit2": 2}
    assert catalog.addons["more"].entitlements["petsLimit3"].limits == (Limit(5),)


def test_long_names_are_cut_to_what_a_key_may_be() -> None:
    catalog = made(features={"x" * 300: ON, "x" * 301: OFF})
    assert [len(key) for key in catalog.features] == [255, 255]
    assert len(set(catalog.features)) == 2


def test_names_that_differ_in_spaces_alone_are_one_name_too_many() -> None:
    assert problems_of(plans={"PRO": None, "PRO ": None}) == [
        ("plans.'PRO '", "this name stands here twice but for spaces")
    ]


# Add-ons


def test_what_an_addon_sets_competes_and_what_it_adds_adds() -> None:
    catalog = made(
        features={"a": OFF, "level": {"valueType": "TEXT", "defaultValue": "LOW"}},
        usageLimits={"n": limit(10), "m": limit(10)},
        plans={"FREE": {"price": 0}, "PRO": None},
        addOns={
            "x": {
                "description": "More",
                "availableFor": ["PRO"],
                "features": {"a": {"value": True}, "level": {"value": "HIGH"}},
                "usageLimits": {"n": {"value": 50}},
                "usageLimitsExtensions": {"m": {"value": float("inf")}},
            },
            "y": {"availableFor": "FREE", "dependsOn": ["x"], "excludes": ["z"], "usageLimits": {"n": None}},
            "z": {"features": {"a": {}}},
        },
    )
    assert catalog.addons == {
        "x": AddOn(
            "x",
            plans=("PRO",),
            description="More",
            entitlements={
                "a": Entitlement("a", value=True),
                "level": Entitlement("level", value="HIGH"),
                "n": Entitlement("n", limits=(Limit(50),)),
                "m": Entitlement("m", "add", limits=(Limit(UNLIMITED),)),
            },
        ),
        "y": AddOn(
            "y",
            plans=("FREE",),
            requires=("x",),
            excludes=("z",),
            entitlements={"n": Entitlement("n", limits=(Limit(10),))},
        ),
        "z": AddOn("z"),
    }
    assert catalog.notes == ()


def test_an_addon_that_sets_and_adds_grants_the_sum() -> None:
    catalog = made(
        usageLimits={"n": limit(5)},
        addOns={"x": {"usageLimits": {"n": {"value": 10.5}}, "usageLimitsExtensions": {"n": {"value": 30}}}},
    )
    assert catalog.addons["x"].entitlements == {"n": Entitlement("n", limits=(Limit(405),))}
    assert catalog.notes == ("addOns.x.usageLimitsExtensions.n: stands beside usageLimits; their sum is granted",)


def test_an_addon_takes_nothing_away() -> None:
    catalog = made(
        features={
            "a": ON,
            "n": {"valueType": "NUMERIC", "defaultValue": 5},
            "pay": {"valueType": "TEXT", "defaultValue": ["CARD", "ACH"]},
        },
        usageLimits={"u": limit(float("inf"))},
        addOns={
            "x": {
                "features": {"a": {"value": False}, "n": {"value": 2}, "pay": {"value": ["CARD"]}},
                "usageLimits": {"u": {"value": 3}},
            }
        },
    )
    assert set(catalog.addons["x"].entitlements) == {"n", "pay", "u"}
    message = "takes nothing away from a plan that has more"
    assert catalog.notes == tuple(
        f"addOns.x.{place}: {message}" for place in ("features.a", "features.n", "features.pay", "usageLimits.u")
    )


def test_an_addon_that_turns_a_feature_on_brings_its_limits_along() -> None:
    catalog = made(
        features={"a": OFF},
        usageLimits={"n": limit(7, linkedFeatures=["a"]), "other": limit(8)},
        plans={"FREE": None, "PRO": {"features": {"a": {"value": True}}}},
        addOns={
            "a": {"features": {"a": {"value": True}}},
            "proOnly": {"availableFor": ["PRO"], "features": {"a": {"value": True}}},
        },
    )
    assert limits_in(catalog) == {"other": 8}
    assert catalog.addons["a"].entitlements == {
        "a": Entitlement("a", value=True),
        "n": Entitlement("n", limits=(Limit(7),)),
    }
    assert catalog.addons["proOnly"].entitlements == {"a": Entitlement("a", value=True)}
    assert catalog.notes == ()


def test_limits_brought_along_are_never_more_than_a_plan_says() -> None:
    def plan(amount: int) -> dict[str, Any]:
        return {"usageLimits": {"n": {"value": amount}}}

    catalog = made(
        features={"a": OFF},
        usageLimits={"n": limit(7, linkedFeatures=["a"])},
        plans={"FREE": plan(3), "PLUS": plan(5), "PRO": {"features": {"a": {"value": True}}, **plan(9)}},
        addOns={"a": {"features": {"a": {"value": True}}}},
    )
    assert catalog.addons["a"].entitlements["n"] == Entitlement("n", limits=(Limit(3),))
    assert catalog.notes[-1] == (
        "addOns.a: turns on what 'n' is linked to; plans differ in it, and the least is granted"
    )


def test_limits_that_an_addon_gives_where_their_feature_is_off_are_noted() -> None:
    catalog = made(
        features={"a": OFF},
        usageLimits={"n": limit(7, linkedFeatures=["a"])},
        plans={"FREE": None, "PRO": {"features": {"a": {"value": True}}}},
        addOns={
            "more": {"usageLimitsExtensions": {"n": {"value": 1}}},
            "other": {"usageLimits": {"n": {"value": 100}}},
            "both": {"features": {"a": {"value": True}}, "usageLimitsExtensions": {"n": {"value": 1}}},
        },
    )
    assert {key: each.entitlements["n"].mode for key, each in catalog.addons.items()} == {
        "more": "add", "other": "grant", "both": "add",
    }  # fmt: skip
    assert catalog.notes == (
        "addOns.more.usageLimitsExtensions.n: counts in 'FREE' too, where what the limit is linked to is off",
        "addOns.other.usageLimits.n: counts in 'FREE' too, where what the limit is linked to is off",
        "addOns.both.usageLimitsExtensions.n: adds to zero where a plan has what it is linked to off",
    )


def test_what_an_addon_refers_to() -> None:
    catalog = made(
        features={"a": ON},
        addOns={
            "x": {"availableFor": [], "dependsOn": ["x"], "excludes": ["y", "y", "x"], "features": {"a": True}},
            "y": {},
        },
    )
    assert (catalog.addons["x"].plans, catalog.addons["x"].requires, catalog.addons["x"].excludes) == ((), (), ("y",))
    assert catalog.notes == (
        "addOns.x.features.a: has no key 'value'; read as the value",
        "addOns.x.availableFor: is empty; an add-on that names no plan goes with every plan here",
        "addOns.x.dependsOn: names the add-on itself; ignored",
        "addOns.x.excludes: names the add-on itself; ignored",
        "addOns.y: gives nothing",
    )


def test_addons_that_require_each_other_require_in_one_direction() -> None:
    catalog = made(
        features={"a": ON},
        addOns={
            name: {"dependsOn": needed, "features": {"a": {}}}
            for name, needed in {"x": ["y"], "y": ["z"], "z": ["x", "y"]}.items()
        },
    )
    assert {key: each.requires for key, each in catalog.addons.items()} == {"x": ("y",), "y": ("z",), "z": ()}
    assert catalog.notes == (
        "addOns.z.dependsOn: 'x' leads back here; it is not required",
        "addOns.z.dependsOn: 'y' leads back here; it is not required",
    )


def test_an_addon_that_excludes_what_it_requires_requires_it() -> None:
    wanted = {"x": {}, "y": {"dependsOn": ["x"]}, "z": {"dependsOn": ["y"], "excludes": ["w", "x", "y"]}, "w": {}}
    catalog = made(features={"a": ON}, addOns={name: {**terms, "features": {"a": {}}} for name, terms in wanted.items()})
    assert (catalog.addons["z"].requires, catalog.addons["z"].excludes) == (("y",), ("w",))
    assert catalog.notes == (
        "addOns.z.excludes: 'x' is required here; it is not excluded",
        "addOns.z.excludes: 'y' is required here; it is not excluded",
    )


@pytest.mark.parametrize(
    ("wanted", "left"),
    [
        ({"x": {"dependsOn": ["y"]}, "y": {"excludes": ["x"]}}, {}),
        ({"x": {"excludes": ["y"]}, "y": {}, "z": {"dependsOn": ["x", "y"]}}, {}),
        ({"x": {"dependsOn": ["y"]}, "y": {"dependsOn": ["z"]}, "z": {"dependsOn": ["x"], "excludes": ["x", "y"]}}, {}),
        ({"x": {"dependsOn": ["y"], "excludes": ["z"]}, "y": {"excludes": ["z"]}, "z": {}}, {"x": ("z",), "y": ("z",)}),
    ],
)
def test_every_addon_can_be_held(wanted: Any, left: dict[str, tuple[str, ...]]) -> None:
    catalog = made(features={"a": ON}, addOns={name: {**terms, "features": {"a": {}}} for name, terms in wanted.items()})
    assert {key: each.excludes for key, each in catalog.addons.items() if each.excludes} == left
    assert len(catalog.notes) == sum(len(terms.get("excludes", ())) for terms in wanted.values()) - sum(
        map(len, left.values())
    ) + ("z" in wanted and wanted["z"].get("dependsOn") == ["x"])


def test_addons_may_depend_on_many() -> None:
    chain = {f"x{n}": {"dependsOn": [f"x{n + 1}"] if n < 40 else [], "features": {"a": {}}} for n in range(41)}
    ladder = {f"y{n}": {"dependsOn": [f"y{up}" for up in range(n)], "features": {"a": {}}} for n in range(14)}
    catalog = made(features={"a": ON}, addOns={**chain, **ladder})
    assert (len(catalog.addons), catalog.notes) == (55, ())


def test_addons_without_plans_stand_on_a_plan_of_defaults() -> None:
    catalog = made(
        saasName="Identity",
        features={"sso": OFF, "log": ON},
        usageLimits={"apps": limit(5), "users": limit(3, linkedFeatures=["sso"])},
        plans=None,
        addOns={"sso": {"price": 2, "features": {"sso": {"value": True}}}},
    )
    assert catalog.plans == {
        "Identity": Plan(
            "Identity",
            product="Identity",
            entitlements={
                "sso": Entitlement("sso", value=False),
                "log": Entitlement("log", value=True),
                "apps": Entitlement("apps", limits=(Limit(5),)),
            },
        )
    }
    assert catalog.addons["sso"].plans == ()
    assert catalog.addons["sso"].entitlements["users"].limits == (Limit(3),)
    assert catalog.notes == (
        "plans: there are none; the plan 'Identity' has every default, for the add-ons to stand on",
    )


# What is kept, and what is not known


def test_unknown_keys_are_kept_and_noted_with_what_may_be_meant() -> None:
    catalog = made(
        features={"a": {**ON, "colour": "red", "integrationTyp": "API"}},
        usageLimits={"n": limit(1, weight=Decimal("0.5"))},
        plans={"FREE": {"trialDays": 14, "features": {"a": {"value": True, "why": "x"}}}},
        addons={"x": {}},
    )
    assert catalog.features["a"].metadata == {"colour": "red", "integrationTyp": "API"}
    assert catalog.features["n"].metadata == {"type": "NON_RENEWABLE", "weight": "0.5"}
    assert catalog.plans["FREE"].metadata == {"trialDays": 14}
    assert catalog.products["Acme"].metadata == {"addons": {"x": {}}}
    assert catalog.notes == (
        "features.a.colour: unknown key, kept as metadata",
        "features.a.integrationTyp: unknown key, kept as metadata; did you mean 'integrationType'?",
        "usageLimits.n.weight: unknown key, kept as metadata",
        "plans.FREE.features.a.why: unknown key, ignored",
        "plans.FREE.trialDays: unknown key, kept as metadata",
        "addons: unknown key, kept as metadata; did you mean 'addOns'?",
    )


def test_metadata_is_ready_for_json() -> None:
    converted, _ = pricing2yaml.convert(
        pricing(
            createdAt=date(2024, 1, 15), custom={"n": 2.5, "big": 10**30, "deep": [{"x": (1, None)}], 3: float("inf")}
        )
    )
    assert converted["products"]["Acme"]["metadata"] == {
        "createdAt": "2024-01-15",
        "custom": {"n": "2.5", "big": str(10**30), "deep": [{"x": [1, None]}], "3": ".inf"},
    }


def test_metadata_keys_that_come_to_the_same_are_not_mixed_up() -> None:
    catalog = made(custom={"$a": 1, "_a": 2})
    assert catalog.products["Acme"].metadata == {"custom": {"_a": 2}}
    assert catalog.notes == ("custom.'$a': left out: '_a', the key nearest to it, stands here too",)


def test_names_that_are_no_text_are_read_as_they_are_written() -> None:
    catalog = made(features={True: ON, 2024: ON, 1.5: OFF})
    assert values_in(catalog) == {"true": True, "2024": True, "1.5": False}


def test_converting_reads_any_mapping_and_changes_none() -> None:
    document = MappingProxyType(pricing(features=MappingProxyType({"a": MappingProxyType(ON)})))
    converted, notes = pricing2yaml.convert(document)
    assert converted == {
        "version": 1,
        "features": {"a": {"type": "boolean"}},
        "products": {"Acme": {"title": "Acme", "metadata": {}}},
        "plans": {"FREE": {"product": "Acme", "entitlements": {"a": True}}},
        "addons": {},
    }
    assert notes == ()


# What is wrong


def feature(value_type: Any, default: Any) -> dict[str, Any]:
    return {"features": {"a": {"valueType": value_type, "defaultValue": default}}}


def bounded(default: Any, **more: Any) -> dict[str, Any]:
    return {"usageLimits": {"a": limit(default, **more)}}


def addon(**parts: Any) -> dict[str, Any]:
    return {"addOns": {"x": parts}}


NO_NAME = "needs the key 'saasName': the name of what is sold"
NO_FEATURES = "needs the key 'features': a mapping of features by name"
NOTHING_SOLD = "needs the key 'plans' or the key 'addOns', with something in it"
NO_NUMBER = "is no number; its valueType is NUMERIC, write one, without quotes; unlimited is .inf"
LEAST = "{}; write a number that is zero or more, or .inf for unlimited"
BAD_PERIOD = "is no period; write {value: 1, unit: MONTH}"
NO_NAMES = "this is no list of names; write one"


@pytest.mark.parametrize(
    ("parts", "path", "message"),
    [
        ({"saasName": None}, "", NO_NAME),
        ({"saasName": "  "}, "", NO_NAME),
        ({"saasName": ["x"]}, "saasName", "this is a list; write text"),
        ({"features": None}, "", NO_FEATURES),
        ({"features": "many"}, "features", "this is text; write a mapping"),
        ({"features": {"a": True}}, "features.a", "this is true or false; write a mapping"),
        (feature(None, True), "features.a", "needs the key 'valueType': BOOLEAN, NUMERIC or TEXT"),
        (feature(["TEXT"], True), "features.a.valueType", "this is a list; write text"),
        (feature(" ", True), "features.a", "needs the key 'valueType': BOOLEAN, NUMERIC or TEXT"),
        (
            {"features": {"a": {"valueTyp": "BOOLEAN", "defaultValue": True}}},
            "features.a.valueTyp",
            "unknown key 'valueTyp'; did you mean 'valueType'?",
        ),
        (
            feature("BOOL", "x"),
            "features.a.valueType",
            "unknown valueType 'BOOL'; did you mean 'BOOLEAN'?; write BOOLEAN",
        ),
        (feature("BOOLEAN", None), "features.a", "needs the key 'defaultValue'"),
        (
            feature("BOOLEAN", 1),
            "features.a.defaultValue",
            "is no boolean; its valueType is BOOLEAN, write true or false",
        ),
        (feature("TEXT", True), "features.a.defaultValue", "is no text; its valueType is TEXT, write text"),
        (feature("TEXT", [1]), "features.a.defaultValue", "is no list of texts"),
        (feature("NUMERIC", "unlimited"), "features.a.defaultValue", NO_NUMBER),
        (feature("NUMERIC", "10"), "features.a.defaultValue", NO_NUMBER),
        (feature("NUMERIC", True), "features.a.defaultValue", "is no number; its valueType is NUMERIC"),
        (feature("NUMERIC", float("nan")), "features.a.defaultValue", "is .nan; write a number, or .inf for unlimited"),
        (feature("NUMERIC", -(10**5000)), "features.a.defaultValue", "is a number of too many digits; write a number"),
        ({"features": {"a": {**ON, "description": []}}}, "features.a.description", "this is a list; write text"),
        (bounded(-1), "usageLimits.a.defaultValue", LEAST.format("is -1")),
        (bounded(Decimal("-0.5")), "usageLimits.a.defaultValue", LEAST.format("is -0.5")),
        (bounded(Decimal("sNaN")), "usageLimits.a.defaultValue", LEAST.format("is .nan")),
        (bounded(float("-inf")), "usageLimits.a.defaultValue", LEAST.format("is -.inf")),
        (bounded(1, type="RENEWED"), "usageLimits.a.type", "unknown type of usage limit 'RENEWED'; did you mean"),
        (bounded(1, type=[1]), "usageLimits.a.type", "unknown type of usage limit"),
        (bounded(1, linkedFeatures=["b"]), "usageLimits.a.linkedFeatures", "unknown feature 'b'"),
        (bounded(1, linkedFeatures=[{}]), "usageLimits.a.linkedFeatures", NO_NAMES),
        (bounded(1, period={"value": 0, "unit": "DAY"}), "usageLimits.a.period", BAD_PERIOD),
        (bounded(1, period={"value": 1, "unit": "AGE"}), "usageLimits.a.period", BAD_PERIOD),
        (bounded(1, period={"value": True, "unit": "DAY"}), "usageLimits.a.period", BAD_PERIOD),
        (bounded(1, period="MONTH"), "usageLimits.a.period", BAD_PERIOD),
        ({"plans": None}, "", NOTHING_SOLD),
        ({"plans": {}, "addOns": {}}, "", NOTHING_SOLD),
        ({"plans": ["FREE"]}, "plans", "this is a list; write a mapping"),
        ({"plans": {"FREE": {"features": {"b": None}}}}, "plans.FREE.features.b", "unknown feature 'b'"),
        ({"plans": {"FREE": {"usageLimits": {"b": 1}}}}, "plans.FREE.usageLimits.b", "unknown usage limit 'b'"),
        ({"plans": {"FREE": {"usageLimits": [1]}}}, "plans.FREE.usageLimits", "this is a list; write a mapping"),
        ({"plans": {"FREE": {"price": [1]}}}, "plans.FREE.price", "is no price; write a number, or text"),
        (addon(availableFor=["FREEE"]), "addOns.x.availableFor", "unknown plan 'FREEE'; did you mean 'FREE'?"),
        (addon(availableFor=[None]), "addOns.x.availableFor", NO_NAMES),
        (addon(dependsOn=["y"]), "addOns.x.dependsOn", "unknown add-on 'y'"),
        (addon(excludes=["FREE"]), "addOns.x.excludes", "unknown add-on 'FREE'"),
        (
            {**addon(usageLimitsExtensions={"a": {}}), **bounded(1)},
            "addOns.x.usageLimitsExtensions.a",
            "needs the key 'value': how much it adds",
        ),
        ({"custom": object()}, "custom", "this is a object; write text, a number"),
        ({"custom": "a\0b"}, "custom", "has a NUL character in it; take it out"),
        ({"custom": {1: 2, "1": 3}}, "custom", "the key '1' is no text, or stands here twice"),
    ],
)
def test_what_a_document_that_is_wrong_is_told(parts: dict[str, Any], path: str, message: str) -> None:
    found = problems_of(**parts)
    assert any(place == path and told.startswith(message) for place, told in found), found


def test_no_value_is_judged_by_an_unknown_value_type() -> None:
    found = problems_of(
        features={"a": {"valueType": "BOOLEN", "defaultValue": True}},
        usageLimits={"n": {"valueType": "NUMRIC", "defaultValue": 5, "type": "RENEWED"}},
        plans={"FREE": {"features": {"a": {"value": False}}, "usageLimits": {"n": {"value": 7}}}},
        addOns={"x": {"usageLimitsExtensions": {"n": {"value": 7}}}},
    )
    assert [path for path, _ in found] == ["features.a.valueType", "usageLimits.n.valueType", "usageLimits.n.type"]
    assert found[0][1].startswith("unknown valueType 'BOOLEN'; did you mean 'BOOLEAN'?")


def test_all_mistakes_are_told_at_once_and_none_twice() -> None:
    found = problems_of(features={"a": {"valueType": "X"}}, plans={"FREE": {"features": {"b": None}}}, addOns={"x": 1})
    assert [path for path, _ in found] == ["features.a", "features.a.valueType", "plans.FREE.features.b", "addOns.x"]


@pytest.mark.parametrize("document", [None, [], "text", 5, {}, {"plans": {"a": {"product": "x"}}, "features": {}}])
def test_what_is_no_pricing_is_a_catalog_error(document: Any) -> None:
    with pytest.raises(CatalogError):
        pricing2yaml.convert(document)


def test_a_document_inside_itself_is_a_catalog_error() -> None:
    document: dict[str, Any] = pricing()
    document["custom"] = document
    with pytest.raises(CatalogError, match="nested more than 32 deep"):
        pricing2yaml.convert(document)


# Files


def test_problems_of_a_file_say_where(load: Load, tmp_path: Path) -> None:
    with pytest.raises(CatalogError) as caught:
        load("""\
saasName: Acme
features:
  a: {valueType: BOOLEAN, defaultValue: 5}
  a: {valueType: BOOLEAN, defaultValue: true}
plans:
  FREE:
    usageLimits:
      nothing: {value: 1}
""")
    file = tmp_path / "pricing.yml"
    assert [str(problem) for problem in caught.value.problems] == [
        f"{file}:3:41 features.a.defaultValue: is no boolean; its valueType is BOOLEAN, write true or false",
        f"{file}:4:3 features.a: duplicate key 'a' (first at line 3); keep one of them",
        f"{file}:8:7 plans.FREE.usageLimits.nothing: unknown usage limit 'nothing'",
    ]


def test_aliases_and_merge_keys_mean_what_they_mean(load: Load) -> None:
    catalog = load("""\
saasName: Acme
custom:
  - &off {valueType: BOOLEAN, defaultValue: false, type: DOMAIN}
  - &more {description: shared, type: SUPPORT}
features:
  a: *off
  b: {<<: *off, defaultValue: true}
  c: {<<: [*off, *more]}
plans: {FREE: {features: {c: &yes {value: true}}}, PRO: {features: {a: *yes}}}
""")
    assert values_in(catalog) == {"a": False, "b": True, "c": True}
    assert values_in(catalog, "PRO") == {"a": True, "b": True, "c": False}
    assert catalog.features["c"].description == "shared"
    assert catalog.features["c"].metadata == {"type": "DOMAIN"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "this is empty; write a mapping"),
        ("- a", "this is a list; write a mapping"),
        ("a: [", "this is not YAML: "),
        ("a: \x01", "this is not YAML: "),
        (
            "a: !!python/object:os.system {}",
            "tags such as 'tag:yaml.org,2002:python/object:os.system' are not obeyed; take it out",
        ),
        ("a: 1\n---\nb: 2", "a second document starts here; a pricing is one document"),
        ("a: &x [*x]", "an alias stands inside of what it names"),
        ("a: *x", "this is not YAML: found undefined alias"),
        ("a:\n\tb: 1", "this is not YAML: a tab stands here; indent with spaces"),
        ("? [a]\n: 1", "a key is text; write one word, or quote it"),
        ("<<: 5", "a merge key (<<) takes a mapping, or a list of them"),
        ("[" * 10_000, "this is nested more than 32 deep; flatten it"),
        ("x: [" + "1," * 500_000 + "]", "this is larger than any pricing; split it up"),
        ("#" * (4 * 2**20 + 1), "the file is larger than 4 MiB; a pricing is not"),
    ],
)
def test_texts_that_are_no_pricing_are_refused(load: Load, text: str, message: str) -> None:
    with pytest.raises(CatalogError) as caught:
        load(text)
    assert caught.value.problems[0].message.startswith(message)


BOMB = """\
saasName: Acme
features: {a: {valueType: BOOLEAN, defaultValue: true}}
plans: {FREE: null}
custom:
  - &a0 [x, x, x, x, x, x, x, x, x]
"""


def test_bombs_are_refused_soon(load: Load) -> None:
    lines = [f"  - &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 20)]
    with pytest.raises(CatalogError, match="more than 100000 values"):
        load(BOMB + "".join(lines))


def test_merges_without_end_are_refused_soon(load: Load) -> None:
    merges = ", ".join(["*m"] * 200)
    keys = ", ".join(f"k{n}: 1" for n in range(1000))
    with pytest.raises(CatalogError, match="more than 100000 values are merged"):
        load(f"{BOMB}  - &m {{{keys}}}\n  - {{<<: [{merges}]}}\n")


def test_more_cells_than_any_pricing_has_are_refused_soon(load: Load) -> None:
    features = ", ".join(f"f{n}: *on" for n in range(3000))
    plans = ", ".join(f"p{n}: " for n in range(3000))
    on = "custom: &on {valueType: BOOLEAN, defaultValue: true}"
    with pytest.raises(CatalogError, match="more plans, add-ons and features than any pricing"):
        load(f"saasName: A\n{on}\nfeatures: {{{features}}}\nplans: {{{plans}}}")


def test_files_in_other_encodings_and_with_marks_are_read(tmp_path: Path) -> None:
    text = "saasName: Café\nfeatures: {}\nplans: {FREE: null}\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        file = tmp_path / f"{encoding}.yml"
        file.write_bytes(text.encode(encoding))
        assert list(pricing2yaml.load(file).products) == ["Café"]


@pytest.mark.parametrize(
    ("data", "message", "place"),
    [
        (b"saasName: Acme\nplans: Caf\xe9\n", "byte 0xe9 is not UTF-8; save the file as UTF-8", (2, 11)),
        (b"\xff\xfe", "byte 0xff is not UTF-8; save the file as UTF-8", (1, 1)),
        (b"\xff\xfea", "byte 0xff is not UTF-8; save the file as UTF-8", (1, 1)),
    ],
)
def test_a_file_in_no_encoding_is_told_by_its_byte(
    tmp_path: Path, data: bytes, message: str, place: tuple[int, int]
) -> None:
    for name, load_file in (("a.yml", pricing2yaml.load), ("b.yaml", Catalog.load)):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CatalogError) as caught:
            load_file(tmp_path / name)
        problem = caught.value.problems[0]
        assert (problem.message, (problem.line, problem.column)) == (message, place)


def test_a_file_that_cannot_be_read_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        pricing2yaml.load(tmp_path / "nowhere.yml")
    with pytest.raises(CatalogError, match="this is no path"):
        pricing2yaml.load("a\0b")


def test_without_the_c_library_the_same_is_read(tmp_path: Path) -> None:
    program = """
import sys, yaml
del yaml.CSafeLoader
from entitlements.catalog import pricing2yaml
print(pricing2yaml.load(sys.argv[1]).version)
"""
    file = Path(__file__).parent.parent / "pricings" / "notebooks.yml"
    found = subprocess.run([sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == pricing2yaml.load(file).version
