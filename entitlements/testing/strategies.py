"""Hypothesis strategies: catalogs of every shape the file format knows, and customers of them.

    from hypothesis import given
    from entitlements.testing.strategies import catalogs

    @given(catalogs())
    def test_every_plan_is_shown(catalog): ...

`catalog_documents()` gives the same as mappings in the file format, before they are loaded. What takes
a catalog draws what that catalog offers; the simplest of all comes first, so that examples shrink well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, Final, TypeAlias

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from ..catalog.checking_values import BURN_KEYS
from ..catalog.loading import load
from ..catalog.model import Catalog
from .customers import (
    AT,
    blocks,
    decisions,
    facts,
    grants,
    held_addons,
    instants,
    overrides,
    promotion_runs,
    spans,
    subscriptions,
    trials,
    windows,
)
from .histories import entries, histories

__all__ = [
    "AT",
    "amounts",
    "blocks",
    "catalog_documents",
    "catalogs",
    "decisions",
    "entries",
    "facts",
    "grants",
    "held_addons",
    "histories",
    "instants",
    "keys",
    "overrides",
    "promotion_runs",
    "spans",
    "subscriptions",
    "texts",
    "trials",
    "windows",
]

Document: TypeAlias = dict[str, Any]
Draw: TypeAlias = DrawFn

_ODD_KEYS: Final = ("no", "y", "1", "1e6", "12:30", "a.b", "~", "<<", "Größe", "two words", "null", "0x1", "*x", "#")
_EVERY: Final = ("hour", "day", "week", "month", "quarter", "year")
_ALIGN: Final = ("anniversary", "calendar", "first_use")


@cache
def keys() -> SearchStrategy[str]:
    """Return keys of features, plans and all else: mostly plain words, some that YAML reads as something else."""
    plain = st.text("abcdefghijklmnopqrstuvwxyz_-019", min_size=1, max_size=6)
    return st.one_of(plain, plain, plain, st.sampled_from(_ODD_KEYS))


@cache
def texts() -> SearchStrategy[str]:
    """Return any text that a catalog may hold."""
    anything = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    return st.one_of(keys(), st.text(anything, max_size=12))


@cache
def amounts(scale: int, *, most: int = 10**9) -> SearchStrategy[int | str]:
    """Return amounts as a catalog writes them: whole numbers, and exact strings down to the scale."""

    def spelled(units: int) -> str:
        whole, part = divmod(units, 10**scale)
        return f"{whole}.{part:0{scale}}" if scale else str(whole)

    return st.one_of(st.integers(0, most), st.integers(0, most).map(spelled))


def catalogs() -> SearchStrategy[Catalog]:
    """Return valid catalogs with everything the format knows."""
    return catalog_documents().map(load)


@st.composite
def catalog_documents(draw: Draw) -> Document:
    """Return mappings in the format of a catalog file, each of them valid."""
    features = draw(_entries(_feature()))
    credits_ = draw(_entries(_credit()))
    products = draw(_entries(_described()))
    plans = _grown(draw, lambda earlier: _plan(features, credits_, sorted(products), earlier))
    addons = _grown(draw, lambda earlier: _addon(features, sorted(plans), earlier))
    document: Document = {
        "features": features,
        "credits": credits_,
        "products": products,
        "plans": plans,
        "addons": addons,
        "promotions": draw(_entries(_promotion(features))),
        "rates": _rates(draw, features, sorted(credits_)),
    }
    if plans:
        document |= draw(_options(default_plan=st.sampled_from(sorted(plans)), version=st.just(1)))
    return document


def _entries(values: SearchStrategy[Any], most: int = 3) -> SearchStrategy[Document]:
    return st.dictionaries(keys(), values, max_size=most)


def _options(**values: SearchStrategy[Any]) -> SearchStrategy[Document]:
    return st.fixed_dictionaries({}, optional=values)


def _grown(draw: Draw, entry: Callable[[list[str]], SearchStrategy[Document]]) -> Document:
    grown: Document = {}
    for key in draw(st.lists(keys(), max_size=4, unique=True)):
        grown[key] = draw(entry(sorted(grown)))
    return grown


def _some_of(names: Iterable[str]) -> SearchStrategy[list[str]]:
    choices = sorted(names)
    return st.lists(st.sampled_from(choices), unique=True, max_size=3) if choices else st.just([])


def _described(**values: SearchStrategy[Any]) -> SearchStrategy[Document]:
    return _options(title=texts(), description=texts(), metadata=_metadata(), **values)


@cache
def _metadata() -> SearchStrategy[Document]:
    leaves = st.one_of(st.none(), st.booleans(), st.integers(-(2**62), 2**62), texts())
    branches = st.one_of(st.lists(leaves, max_size=2), st.dictionaries(keys(), leaves, max_size=1))
    return st.dictionaries(keys(), st.one_of(leaves, branches), max_size=2)


@cache
def _durations(least: int = 0) -> SearchStrategy[str]:
    return st.builds("{}{}".format, st.integers(least, 90), st.sampled_from("wdhm"))


@cache
def _periods() -> SearchStrategy[Any]:
    full = st.fixed_dictionaries(
        {"every": st.sampled_from(_EVERY)}, optional={"count": st.integers(1, 12), "align": st.sampled_from(_ALIGN)}
    )
    return st.one_of(st.sampled_from(_EVERY), full)


@cache
def _feature() -> SearchStrategy[Document]:
    return st.one_of(_typed("boolean"), _metered(), _metered(), _config())


def _typed(kind: str, **values: SearchStrategy[Any]) -> SearchStrategy[Document]:
    outage = st.sampled_from(["deny", "allow", "last_known"])
    described = _described(unit=texts(), on_unavailable=outage, **values)
    return described.map(lambda entry: {"type": kind, **entry})


@cache
def _metered() -> SearchStrategy[Document]:
    return _typed(
        "metered",
        reset=st.one_of(st.just("none"), _periods()),
        aggregate=st.sampled_from(["sum", "count", "max", "latest"]),
        scale=st.integers(0, 9),
        backdate=_durations(),
    )


@st.composite
def _config(draw: Draw) -> Document:
    kind = draw(st.sampled_from(["integer", "decimal", "text", "list", "boolean"]))
    prefer = st.lists(_config_values(kind), min_size=1, max_size=3, unique_by=str)
    if kind in {"integer", "decimal", "boolean"}:
        prefer = st.one_of(st.sampled_from(["max", "min"]), prefer)
    options = {} if kind == "list" else {"prefer": prefer}
    return draw(_typed("config", **options)) | {"value": kind}


@cache
def _config_values(kind: str) -> SearchStrategy[Any]:
    values: Mapping[str, SearchStrategy[Any]] = {
        "integer": st.integers(-(10**9), 10**9),
        "decimal": st.one_of(st.integers(-99, 99), st.builds("{}.5".format, st.integers(-99, 99))),
        "text": texts(),
        "list": st.lists(texts(), max_size=3, unique=True),
        "boolean": st.booleans(),
    }
    return values[kind]


@cache
def _credit() -> SearchStrategy[Document]:
    orders = st.one_of(
        st.sampled_from(["default", "first_in_first_out", "soonest_expiry", "plan_first"]),
        st.lists(st.sampled_from(BURN_KEYS), min_size=1, unique=True),
    )
    common = {"scale": st.integers(0, 9), "currency": st.sampled_from(["USD", "EUR"]), "burn_order": orders}
    firm = _described(depletion=st.sampled_from(["hard", "partial"]), **common)
    soft = _described(floor=st.integers(0, 10**6), **common).map(lambda entry: {**entry, "depletion": "soft"})
    return st.one_of(firm, soft)


def _entitlements(features: Document, *modes: str) -> SearchStrategy[Document]:
    each = {key: _entitlement(feature, modes) for key, feature in features.items()}
    return st.fixed_dictionaries({}, optional=each)


def _entitlement(feature: Document, modes: tuple[str, ...]) -> SearchStrategy[Any]:
    if feature["type"] == "metered":
        return st.one_of(_bounds(feature), _limit_forms(feature, modes))
    if feature["type"] == "boolean":
        values: SearchStrategy[Any] = st.booleans()
    elif isinstance(feature.get("prefer"), list):
        values = st.sampled_from(feature["prefer"])
    else:
        values = _config_values(feature["value"])
    plain = st.sampled_from([mode for mode in modes if mode != "add"])
    return st.one_of(values, st.fixed_dictionaries({"value": values}, optional={"mode": plain}))


def _bounds(feature: Document) -> SearchStrategy[Any]:
    return st.one_of(st.just("unlimited"), amounts(feature.get("scale", 0)))


@st.composite
def _limit_forms(draw: Draw, feature: Document, modes: tuple[str, ...]) -> Document:
    mode = draw(_options(mode=st.sampled_from(modes)))
    resetting = feature.get("reset", "none") != "none"
    if not resetting or draw(st.booleans()):
        return draw(_limit(feature, _periods() if resetting else st.just("none"))) | mode
    shapes = draw(st.lists(st.sampled_from(_EVERY), min_size=1, max_size=3, unique=True))
    return {"limits": [draw(_limit(feature, None)) | {"reset": {"every": each, "count": 7}} for each in shapes]} | mode


@st.composite
def _limit(draw: Draw, feature: Document, periods: SearchStrategy[Any] | None) -> Document:
    limit: Document = {"limit": draw(_bounds(feature))}
    if periods is not None:
        limit |= draw(_options(reset=periods))
    limit |= draw(_options(depletion=st.sampled_from(["hard", "partial", "soft"])))
    if limit.get("depletion") == "soft" and isinstance(limit["limit"], int) and draw(st.booleans()):
        limit["ceiling"] = limit["limit"] + draw(st.integers(0, 99))
    return limit


def _plan(features: Document, credits_: Document, products: list[str], earlier: list[str]) -> SearchStrategy[Document]:
    parents: SearchStrategy[Any] = _some_of(earlier)
    if earlier:
        parents = st.one_of(st.sampled_from(earlier), parents)
    granted = {key: _plan_credit(credit) for key, credit in credits_.items()}
    return _described(
        extends=parents,
        version=st.sampled_from(["latest", "pinned"]),
        price=st.one_of(st.integers(0, 999), texts()),
        trial=st.fixed_dictionaries({"days": st.integers(1, 60)}),
        entitlements=_entitlements(features, "grant", "set"),
        credits=st.fixed_dictionaries({}, optional=granted),
        **({"product": st.sampled_from(products)} if products else {}),
    )


def _plan_credit(credit: Document) -> SearchStrategy[Document]:
    rollover = _options(
        max=amounts(credit.get("scale", 0)),
        fraction=st.sampled_from([0, 1, "0.5", "0.125"]),
        expires_after=_durations(1),
        times=st.integers(1, 9),
    )
    return st.fixed_dictionaries(
        {"grant": st.integers(1, 10**6), "every": st.sampled_from(_EVERY[1:])},
        optional={
            "count": st.integers(1, 12),
            "category": st.sampled_from(["paid", "promotional"]),
            "priority": st.integers(0, 100),
            "cost_basis": st.sampled_from([0, 9, "9.00", "0.001"]),
            "rollover": rollover,
        },
    )


def _addon(features: Document, plans: list[str], earlier: list[str]) -> SearchStrategy[Document]:
    verbs = st.sampled_from(["requires", "excludes"])
    related = st.builds(lambda verb, names: {verb: names}, verbs, _some_of(earlier))
    rest = _described(plans=_some_of(plans), price=texts(), entitlements=_entitlements(features, "grant", "add"))
    return st.builds(lambda one, other: {**one, **other}, rest, related)


def _promotion(features: Document) -> SearchStrategy[Document]:
    return _described(days=st.integers(1, 90), entitlements=_entitlements(features, "grant"))


def _rates(draw: Draw, features: Document, credits_: list[str]) -> Document:
    metered = [key for key, feature in features.items() if feature["type"] == "metered"]
    return {key: draw(_rate(credits_)) for key in draw(_some_of(metered))} if credits_ else {}


@st.composite
def _rate(draw: Draw, credits_: list[str]) -> Document:
    prices = st.one_of(st.integers(0, 99), st.sampled_from(["1.5", "0.0001", "4.00"]))
    models = draw(st.lists(keys().filter(lambda key: key != "price"), max_size=3, unique=True))
    cases = [{"model": model, "price": draw(prices)} for model in models]
    cases += [{"model": model, "kind": "input", "price": draw(prices)} for model in models if draw(st.booleans())]
    rate: Document = {"credit": draw(st.sampled_from(credits_)), "price": draw(prices), "when": cases}
    return rate | draw(_options(per=st.sampled_from([1, 1000, "0.5"])))
