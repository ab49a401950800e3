"""Pricings of real products, imported: what comes out is what the files say, worked out a second time.

The files lie beside the checkout, under shared/catalogs; where they do not, the three small ones under
tests/pricings stand in for them, and a test says so.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from entitlements import Entitlements
from entitlements.amounts import UNLIMITED, bound_number
from entitlements.catalog import pricing2yaml
from entitlements.catalog.loading import parse
from entitlements.catalog.model import Catalog, Entitlement, Period
from entitlements.errors import CatalogError

HERE = Path(__file__).parent
REAL = HERE.parent.parent / "shared" / "catalogs" / "pricing2yaml"
MADE_UP = sorted((HERE / "pricings").glob("*.yml"))
FILES = [*MADE_UP, *sorted(REAL.glob("*/*.yml"))]
PERIODS = {"day": "day", "month": "month", "year": "year"}
RATES = ("/minute", "/min", "/second")


@cache
def raw_of(path: Path) -> Any:
    """The file with every scalar as the text it is written as, whatever it means."""
    return yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))


@cache
def loaded(path: Path) -> Catalog:
    return pricing2yaml.load(path)


def plainly(path: Path) -> Any:
    """The file as any reader of YAML gives it, floats and all."""
    return yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def section(raw: Any, key: str) -> dict[str, Any]:
    value = raw.get(key)
    return value if isinstance(value, dict) else {}


def own_or_default(offer: dict[str, Any], key: str, name: str, declared: dict[str, Any]) -> Any:
    return section(offer, key).get(name, {}).get("value", declared[name]["defaultValue"])


def number(text: str) -> Any:
    return UNLIMITED if text == ".inf" else Decimal(text)


def linked_to(limit: dict[str, Any]) -> list[str]:
    linked = limit.get("linkedFeatures")
    return linked if isinstance(linked, list) else []


def is_on(value: Any) -> bool:
    return value not in ("false", "", [])


def is_rate(limit: dict[str, Any]) -> bool:
    return limit["type"] == "RENEWABLE" and limit.get("unit", "").endswith(RATES)


def is_metered(limit: dict[str, Any]) -> bool:
    return limit["valueType"] == "NUMERIC" and not is_rate(limit)


def amount(catalog: Catalog, entitlement: Entitlement) -> Any:
    (limit,) = entitlement.limits
    found = bound_number(limit.amount, catalog.features[entitlement.feature].scale)
    return found if found is UNLIMITED else Decimal(found)


def plans_of(raw: Any) -> dict[str, Any]:
    return section(raw, "plans") or {raw["saasName"]: {}}


@pytest.fixture(params=FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def path(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def raw(path: Path) -> Any:
    return raw_of(path)


@pytest.fixture
def catalog(path: Path) -> Catalog:
    return loaded(path)


def test_the_real_files_are_here(capsys: pytest.CaptureFixture[str]) -> None:
    found = len(FILES) - len(MADE_UP)
    assert len(MADE_UP) == 3
    if found == 0:
        with capsys.disabled():
            print(f"\nWARNING: {REAL} is absent; no real pricing was imported, only {len(MADE_UP)} made-up ones")
    else:
        assert found >= 109, f"{REAL} has {found} files; it had 109"


def test_as_many_of_everything_as_in_the_file(raw: Any, catalog: Catalog) -> None:
    assert list(catalog.products) == [raw["saasName"]]
    assert len(catalog.features) == len(raw["features"]) + len(section(raw, "usageLimits"))
    assert list(catalog.plans) == list(plans_of(raw))
    assert list(catalog.addons) == list(section(raw, "addOns"))
    assert {plan.product for plan in catalog.plans.values()} == {raw["saasName"]}
    assert bool(section(raw, "plans")) != any(note.startswith("plans: there are none") for note in catalog.notes)


def test_every_feature_has_the_value_the_file_gives_it(raw: Any, catalog: Catalog) -> None:
    for name, plan in plans_of(raw).items():
        entitlements = catalog.plans[name].entitlements
        for key, feature in raw["features"].items():
            expected = own_or_default(plan, "features", key, raw["features"])
            if feature["valueType"] == "BOOLEAN":
                assert catalog.features[key].type == "boolean"
                assert entitlements[key].value is (expected == "true")
            else:
                assert catalog.features[key].type == "config"
                assert entitlements[key].value == (tuple(expected) if isinstance(expected, list) else expected)


def test_every_limit_has_the_number_the_file_gives_it_where_it_holds(raw: Any, catalog: Catalog) -> None:
    limits = section(raw, "usageLimits")
    for name, plan in plans_of(raw).items():
        entitlements = catalog.plans[name].entitlements
        for key, limit in limits.items():
            expected = own_or_default(plan, "usageLimits", key, limits)
            linked = values_linked(raw, plan, limit)
            if not is_metered(limit):
                value = entitlements[key].value
                assert str(value).lower() == expected if isinstance(value, bool | int) else value == expected
            elif linked and not any(map(is_on, linked)):
                assert key not in entitlements
            else:
                assert amount(catalog, entitlements[key]) == number(expected)
                assert entitlements[key].mode == "grant"


def test_every_limit_renews_as_its_unit_says(raw: Any, catalog: Catalog) -> None:
    for key, limit in section(raw, "usageLimits").items():
        feature = catalog.features[key]
        written = limit.get("unit", "")
        counted, _, period = written.rpartition("/")
        if is_metered(limit) and limit["type"] != "NON_RENEWABLE" and period in PERIODS:
            assert (feature.reset, feature.unit) == (Period(PERIODS[period]), counted)  # type: ignore[arg-type]
        elif is_metered(limit):
            unsaid = {"NON_RENEWABLE": "none", "RENEWABLE": "month", "TIME_DRIVEN": "month", "RESPONSE_DRIVEN": "none"}
            assert (feature.reset, feature.unit) == (Period(unsaid[limit["type"]]), written)  # type: ignore[arg-type]


def test_every_addon_gives_what_the_file_says_and_no_more(raw: Any, catalog: Catalog) -> None:
    for name, addon in section(raw, "addOns").items():
        made = catalog.addons[name]
        assert made.plans == tuple(addon.get("availableFor") or ())
        assert made.requires == tuple(addon.get("dependsOn") or ())
        assert made.excludes == tuple(addon.get("excludes") or ())
        entitlements = dict(made.entitlements)
        for key, entry in section(addon, "features").items():
            assert entitlements.pop(key).value == (entry["value"] == "true" or entry["value"])
        for key, mode, entry in limits_of(addon):
            if catalog.features[key].type == "metered":
                assert entitlements[key].mode == mode
                assert amount(catalog, entitlements.pop(key)) == number(entry["value"])
            else:
                assert str(entitlements.pop(key).value).lower() == entry["value"]
        assert {key: amount(catalog, entitlement) for key, entitlement in entitlements.items()} == woken(raw, addon)
        assert all(entitlement.mode == "grant" for entitlement in entitlements.values())


def limits_of(addon: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    for key, mode in (("usageLimits", "grant"), ("usageLimitsExtensions", "add")):
        yield from ((name, mode, entry) for name, entry in section(addon, key).items())


def woken(raw: Any, addon: dict[str, Any]) -> dict[str, Any]:
    """The limits that an add-on says nothing about, and whose feature it turns on where a plan has it off.

    It brings each of them along, in the least amount that its plans have for it.
    """
    turned_on = {key for key, entry in section(addon, "features").items() if is_on(entry["value"])}
    said = {key for key, _, _ in limits_of(addon)}
    limits = section(raw, "usageLimits")
    found = {}
    for key, limit in limits.items():
        plans = [plans_of(raw)[name] for name in addon.get("availableFor") or plans_of(raw)]
        idle = [plan for plan in plans if not any(is_on(value) for value in values_linked(raw, plan, limit))]
        if is_metered(limit) and turned_on & set(linked_to(limit)) and idle and key not in said:
            amounts = [number(own_or_default(plan, "usageLimits", key, limits)) for plan in plans]
            finite = [each for each in amounts if each is not UNLIMITED]
            found[key] = min(finite) if finite else UNLIMITED
    return found


def values_linked(raw: Any, plan: dict[str, Any], limit: dict[str, Any]) -> list[Any]:
    return [own_or_default(plan, "features", each, raw["features"]) for each in linked_to(limit)]


def test_the_catalog_survives_being_written(catalog: Catalog) -> None:
    again = Catalog.load(json.loads(json.dumps(dict(catalog.document))))
    assert again == catalog
    assert again.features == catalog.features
    assert again.plans == catalog.plans
    assert again.addons == catalog.addons


def test_what_is_imported_is_enforced() -> None:
    with Entitlements(loaded(HERE / "pricings" / "meetings.yml"), storage="memory:") as ent:
        ent.subscribe("acme", "PRO")
        assert ent.check("acme", "recordings")
        assert ent.check("acme", "participants", requested=100)
        assert not ent.check("acme", "participants", requested=101)
        assert not ent.check("acme", "webinars")
        assert not ent.check("acme", "webinarParticipants")
        ent.add_addon("acme", "largeMeetings", quantity=2)
        ent.add_addon("acme", "webinars1000")
        assert ent.check("acme", "participants").limit == 1100
        assert ent.check("acme", "webinars")
        assert ent.check("acme", "webinarParticipants").limit == 1000
        ent.add_addon("acme", "moreViewers")
        assert ent.check("acme", "webinarParticipants").unlimited


def test_converting_twice_is_converting_once(path: Path) -> None:
    document = plainly(path)
    before = copy.deepcopy(document)
    assert pricing2yaml.convert(document) == pricing2yaml.convert(document)
    assert document == before


def test_notes_are_lines_that_name_a_place(catalog: Catalog) -> None:
    assert len(set(catalog.notes)) == len(catalog.notes)
    for note in catalog.notes:
        place, _, reason = note.partition(": ")
        assert place.split(".")[0] in {"usageLimits", "plans", "addOns", "billing", "variables", "features"}
        assert reason
        assert "\n" not in note


JUNK: list[Any] = [
    None, True, 0, -1, 0.5, 1e300, float("inf"), float("nan"), 10**30, 10**5000, Decimal("1e-9999"), Decimal("sNaN"),
    "", "$x", "a\0b", "\ud800", "PRO ", "call/minute", "NUMERIC", "RENEWABLE", [], {}, [None], ["a"], {"value": None},
    {"value": 7, "unit": "MIN"}, {1: 2, "1": 3}, b"bytes", object(),
]  # fmt: skip
KEYS: list[Any] = [
    "value", "defaultValue", "valueType", "type", "unit", "period", "linkedFeatures", "availableFor", "dependsOn",
    "excludes", "features", "usageLimits", "usageLimitsExtensions", "plans", "addOns", "saasName", "price", "billing",
    "custom", "$x", " a ", "", 1, None, 2.5, ("t",),
]  # fmt: skip


def paths_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inside:
        yield from paths_in(item, (*path, key))


def at(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


def mutate(document: Any, chance: random.Random) -> None:
    everywhere = list(paths_in(document))
    path = chance.choice(everywhere)
    parent, key = at(document, path[:-1]), path[-1]
    match chance.randrange(6):
        case 0:
            parent[key] = chance.choice(JUNK)
        case 1:
            del parent[key]
        case 2:
            parent[key] = copy.deepcopy(at(document, chance.choice(everywhere)))
        case 3:
            parent[key] = [parent[key]]
        case 4:
            parent[key] = {chance.choice(KEYS): parent[key]}
        case _ if isinstance(parent, dict):
            parent[chance.choice(KEYS)] = parent.pop(key)


@pytest.mark.parametrize("seed", range(40))
def test_whatever_a_file_is_turned_into_is_a_catalog_or_a_catalog_error(seed: int) -> None:
    chance = random.Random(seed)
    for path in chance.sample(FILES, 3):
        document = plainly(path)
        for _ in range(chance.choice((1, 1, 2, 5))):
            mutate(document, chance)
        made = made_of(document)
        if made is not None:
            assert Catalog.load(dict(made.document)) == made


def made_of(document: Any) -> Catalog | None:
    try:
        converted, notes = pricing2yaml.convert(document)
        return parse(converted, notes=notes)
    except CatalogError as error:
        if not error.problems:
            raise
        return None


SPLICES = (b"&a ", b"*a", b"<<: ", b"!x ", b"---\n", b"{", b"]", b'"', b"\0", b"\xff", b"  ", b"")


@pytest.mark.parametrize("seed", range(40))
def test_whatever_a_text_is_turned_into_is_a_catalog_or_a_catalog_error(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    text = bytearray(chance.choice(FILES).read_bytes())
    for _ in range(chance.choice((1, 2, 6))):
        place = chance.randrange(len(text))
        text[place : place + chance.randrange(20)] = chance.choice(SPLICES)
    file = tmp_path / "pricing.yml"
    file.write_bytes(text)
    try:
        pricing2yaml.load(file)
    except CatalogError as error:
        if not error.problems or error.problems[0].file != str(file):
            raise
