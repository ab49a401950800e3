"""Laws of catalogs: one content has one version, whatever its spelling; junk is refused and nothing else."""

import json
import pickle
from collections.abc import Mapping
from decimal import Decimal

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from entitlements.catalog.diff import diff
from entitlements.catalog.findings import Unreadable
from entitlements.catalog.loading import load, parse
from entitlements.catalog.reading import read
from entitlements.catalog.writing import document, to_yaml, version_of
from entitlements.errors import CatalogError
from entitlements.testing.strategies import catalog_documents, catalogs

SECTIONS = ("features", "credits", "products", "plans", "addons", "promotions", "rates")
LESS = settings(max_examples=40, deadline=None)


def outcome(written):
    """The version of what loads, None for what is refused; anything else escapes."""
    try:
        return parse(written).version
    except CatalogError as refusal:
        return _told(refusal.problems)


def read_outcome(data, suffix):
    try:
        reading = read(data, suffix)
    except Unreadable as refusal:
        return _told([refusal.finding])
    try:
        return parse(reading.document, places=reading.places, origin="catalog", found=reading.findings).version
    except CatalogError as refusal:
        return _told(refusal.problems)


def _told(problems):
    assert problems
    assert all(problem.message and problem.message.isprintable() for problem in problems)


# --- one content, one version -------------------------------------------------------------------


@LESS
@given(catalogs())
def test_a_pickled_catalog_is_the_same_catalog(catalog):
    again = pickle.loads(pickle.dumps(catalog))
    assert again == catalog
    for field in ("features", "credits", "products", "plans", "addons", "promotions", "rates", "default_plan", "notes"):
        assert getattr(again, field) == getattr(catalog, field), field


@LESS
@given(catalogs())
def test_a_document_loads_back_to_the_same_catalog(catalog):
    again = load(document(catalog))
    assert again.version == catalog.version == version_of(document(again))
    for section in SECTIONS:
        assert getattr(again, section) == getattr(catalog, section)
    assert again.default_plan == catalog.default_plan
    assert diff(catalog, again) == ()


@LESS
@given(catalogs())
def test_yaml_and_json_load_back_to_the_same_version(catalog):
    assert read_outcome(to_yaml(catalog).encode(), ".yaml") == catalog.version
    assert read_outcome(json.dumps(document(catalog)).encode(), ".json") == catalog.version
    assert (
        read_outcome(json.dumps(document(catalog), indent="\t", ensure_ascii=False).encode(), ".json")
        == catalog.version
    )


@LESS
@given(catalog_documents(), st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_change_the_version(written, chance):
    assert parse(_shuffled(written, chance)) == parse(written)


@LESS
@given(catalog_documents(), st.randoms(use_true_random=False))
def test_the_spelling_does_not_change_the_version(written, chance):
    assert parse(_respelled(written, chance)).version == parse(written).version


def _shuffled(value, chance):
    if isinstance(value, Mapping):
        items = [(key, _shuffled(item, chance)) for key, item in value.items()]
        chance.shuffle(items)
        return dict(items)
    return [_shuffled(item, chance) for item in value] if isinstance(value, list) else value


def _respelled(written, chance):
    """Write the same content in another way: long forms, defaults said aloud, amounts as text."""
    again = json.loads(json.dumps(written))
    for feature in again["features"].values():
        _respell_reset(feature, chance)
        if feature["type"] == "metered":
            feature.setdefault("aggregate", "sum")
            feature.setdefault("scale", 0)
    for plan in again["plans"].values():
        if isinstance(plan.get("extends"), str):
            plan["extends"] = [plan["extends"]]
        plan.setdefault("version", "latest")
    for section in ("plans", "addons", "promotions"):
        for entry in again[section].values():
            for key, value in entry.get("entitlements", {}).items():
                entry["entitlements"][key] = _respelled_entry(value, again["features"][key], chance)
    return again


def _respell_reset(entry, chance):
    reset = entry.get("reset")
    if isinstance(reset, str) and chance.random() < 0.5:
        entry["reset"] = {"every": reset, "count": 1, "align": "anniversary"}


def _respelled_entry(value, feature, chance):
    if feature["type"] != "metered":
        return value if isinstance(value, dict) or chance.random() < 0.5 else {"value": value}
    value = dict(value) if isinstance(value, dict) else {"limit": value}
    if "limit" in value and chance.random() < 0.5:
        mode = {"mode": value.pop("mode")} if "mode" in value else {}
        value = {"limits": [value], **mode}
    for limit in value.get("limits", [value]):
        _respell_reset(limit, chance)
        limit.setdefault("depletion", "hard")
        if isinstance(limit["limit"], int) and chance.random() < 0.5:
            limit["limit"] = str(limit["limit"])
    return value


@LESS
@given(catalogs(), catalogs())
def test_a_difference_turns_round(one, other):
    turned = {"gains": "loses", "loses": "gains", "changes": "changes"}
    there = {(each.subject, each.name): each.kind for each in diff(one, other)}
    back = {(each.subject, each.name): turned[each.kind] for each in diff(other, one)}
    assert there.keys() == back.keys()
    for key, kind in there.items():
        assert kind == back[key] or "changes" in (kind, back[key])


# --- junk ---------------------------------------------------------------------------------------

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(allow_nan=False),
    st.just(Decimal("sNaN")),
    st.text(max_size=8),
    st.sampled_from(
        ["unlimited", "none", "month", "metered", "grant", "7d", "max", "1e9", "-1", "2.5", 10**40, b"x", object()]
    ),
)
KEYS = st.one_of(st.text(max_size=5), st.none(), st.booleans(), st.integers(), st.floats(), st.tuples())
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)  # fmt: skip
WORDS = st.sampled_from(
    [
        "version",
        "default_plan",
        "features",
        "credits",
        "products",
        "plans",
        "addons",
        "promotions",
        "rates",
        "type",
        "reset",
        "every",
        "count",
        "limit",
        "limits",
        "mode",
        "entitlements",
        "extends",
        "trial",
        "days",
        "prefer",
        "value",
        "when",
        "price",
        "credit",
        "grant",
        "rollover",
        "metadata",
        "scale",
        "x",
        "seats",
    ]
)
NEARLY = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=4)),
    max_leaves=30,
)


@LESS
@given(st.dictionaries(st.one_of(WORDS, KEYS), ANYTHING, max_size=4))
def test_any_mapping_is_a_catalog_or_a_catalog_error(junk):
    outcome(junk)


@LESS
@given(st.fixed_dictionaries({}, optional={key: st.dictionaries(st.sampled_from("abx"), NEARLY) for key in SECTIONS}))
def test_nearly_a_catalog_is_a_catalog_or_a_catalog_error(junk):
    outcome(junk)


@settings(max_examples=120, deadline=None)
@given(catalog_documents(), ANYTHING, st.randoms(use_true_random=False))
def test_one_part_replaced_is_a_catalog_or_a_catalog_error(written, junk, chance):
    outcome(_mutated(written, junk, chance))


def _mutated(value, junk, chance):
    if not value or not isinstance(value, dict | list) or chance.random() < 0.15:
        return junk
    if isinstance(value, list):
        return [_mutated(value[0], junk, chance), *value[1:]]
    key = chance.choice(list(value))
    what = chance.random()
    if what < 0.1:
        return {name: item for name, item in value.items() if name != key}
    if what < 0.2:
        return {(name if name != key else f"{name}x"): item for name, item in value.items()}
    return {**value, key: _mutated(value[key], junk, chance)}


@settings(max_examples=120, deadline=None)
@given(st.text(max_size=60), st.sampled_from([".yaml", ".json", ".toml"]))
@example("{}", ".json")
@example("? ? ? :", ".yaml")
@example("!!binary x: &a *a", ".yaml")
@example("[[[a]]]\n[a]", ".toml")
def test_any_text_is_a_catalog_or_a_catalog_error(text, suffix):
    read_outcome(text.encode("utf-8", "surrogatepass"), suffix)


@LESS
@given(st.binary(max_size=40), st.sampled_from([".yaml", ".json", ".toml"]))
def test_any_bytes_are_a_catalog_or_a_catalog_error(data, suffix):
    read_outcome(data, suffix)


@settings(max_examples=60, deadline=None)
@given(
    catalogs(),
    st.integers(0, 10**6),
    st.sampled_from(["", "\t", ":", "- ", "{", "}", "'", "&a ", "*a", "!x ", "no", "1e6", "\n", "é", "#", ","]),
)
def test_a_damaged_file_is_a_catalog_or_a_catalog_error(catalog, at, damage):
    for text, suffix in ((to_yaml(catalog), ".yaml"), (json.dumps(document(catalog)), ".json")):
        cut = at % (len(text) + 1)
        read_outcome((text[:cut] + damage + text[cut + 1 :]).encode(), suffix)


@LESS
@given(catalogs())
def test_our_yaml_means_the_same_to_other_readers(catalog):
    try:
        theirs = yaml.safe_load(to_yaml(catalog))
    except yaml.YAMLError:
        return
    assert load(theirs) == catalog


@LESS
@given(catalogs())
def test_places_stand_where_the_text_says(catalog):
    text = to_yaml(catalog)
    reading = read(text.encode(), ".yaml")
    lines = text.splitlines()
    for section in SECTIONS:
        for key in getattr(catalog, section):
            line, column = reading.places((section, key), key=True)
            assert lines[line - 1][column - 1 :].lstrip("\"'?").startswith(key[:1] if key[0] not in "\\\"'" else "")
