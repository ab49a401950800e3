"""Hypothesis strategies: catalogs of every shape the file format knows, and customers of them.

    from hypothesis import given
    from entitlements.testing.strategies import catalogs

    @given(catalogs())
    def test_every_plan_is_shown(catalog): ...

`catalog_documents()` gives the same as mappings in the file format, before they are loaded. What takes
a catalog draws what that catalog offers; the simplest of all comes first, so that examples shrink well.
What does not depend on a draw is built once, for building a strategy takes longer than drawing from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import permutations
from typing import Any, Final, TypeAlias

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from ..catalog.checking_values import BURN_KEYS
from ..catalog.loading import load
from ..catalog.model import Catalog
from .answers import decisions
from .customers import (
    AT,
    blocks,
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

_told = st.booleans()


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
    plans = _grown(draw, 4, lambda earlier: _plan(draw, features, credits_, sorted(products), earlier))
    addons = _grown(draw, 4, lambda earlier: _addon(draw, features, sorted(plans), earlier))
    document: Document = {
        "features": features,
        "credits": credits_,
        "products": products,
        "plans": plans,
        "addons": addons,
        "promotions": _grown(draw, 3, lambda _: _promotion(draw, features)),
        "rates": _rates(draw, features, sorted(credits_)),
    }
    if draw(_told) and plans:
        document["default_plan"] = _one_of(draw, sorted(plans))
    if draw(_told) and plans:
        document["version"] = 1
    return document


@cache
def _entries(values: SearchStrategy[Any]) -> SearchStrategy[Document]:
    return st.dictionaries(keys(), values, max_size=3)


@st.composite
def _options(draw: Draw, /, **values: SearchStrategy[Any]) -> Document:
    return {name: draw(value) for name, value in values.items() if draw(_told)}


@cache
def _names(most: int) -> SearchStrategy[list[str]]:
    return st.lists(keys(), max_size=most, unique=True)


def _grown(draw: Draw, most: int, entry: Callable[[list[str]], Document]) -> Document:
    grown: Document = {}
    for key in draw(_names(most)):
        grown[key] = entry(sorted(grown))
    return grown


@cache
def _positions(count: int, most: int) -> SearchStrategy[tuple[int, ...]]:
    """Return up to so many different positions in a list, in any order."""
    return st.sampled_from([some for size in range(most + 1) for some in permutations(range(count), size)])


def _some_of(draw: Draw, names: Sequence[str]) -> list[str]:
    return [names[position] for position in draw(_positions(len(names), 3))]


def _one_of(draw: Draw, names: Sequence[Any]) -> Any:
    return names[draw(_below(len(names)))]


@cache
def _below(count: int) -> SearchStrategy[int]:
    return st.integers(0, count - 1)


def _described(**values: SearchStrategy[Any]) -> SearchStrategy[Document]:
    return st.builds(lambda told, rest: {**told, **rest}, _descriptions(), _options(**values))


@cache
def _descriptions() -> SearchStrategy[Document]:
    told = {"title": texts(), "description": texts(), "metadata": _metadata()}
    return st.one_of(
        st.just({}), *(st.fixed_dictionaries({name: value}) for name, value in told.items()), _options(**told)
    )


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
    full = st.builds(lambda every, more: {"every": every, **more}, st.sampled_from(_EVERY),
                     _options(count=st.integers(1, 12), align=st.sampled_from(_ALIGN)))  # fmt: skip
    return st.one_of(st.sampled_from(_EVERY), full)


@cache
def _feature() -> SearchStrategy[Document]:
    return st.one_of(_typed("boolean"), _metered(), _metered(), *(_config(kind) for kind in _CONFIG))


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


def _config(kind: str) -> SearchStrategy[Document]:
    prefer: SearchStrategy[Any] = st.lists(_config_values(kind), min_size=1, max_size=3, unique_by=str)
    if kind in {"integer", "decimal", "boolean"}:
        prefer = st.one_of(st.sampled_from(["max", "min"]), prefer)
    typed = _typed("config", **({} if kind == "list" else {"prefer": prefer}))
    return typed.map(lambda entry: {**entry, "value": kind})


_CONFIG: Final = ("integer", "decimal", "text", "list", "boolean")


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


def _entitlements(draw: Draw, features: Document, *modes: str) -> Document:
    return {key: _entitlement(draw, feature, modes) for key, feature in features.items() if draw(_told)}


def _entitlement(draw: Draw, feature: Document, modes: tuple[str, ...]) -> Any:
    if feature["type"] == "metered":
        return draw(_bounds(feature.get("scale", 0))) if draw(_told) else _limit_forms(draw, feature, modes)
    if isinstance(feature.get("prefer"), list):
        value = _one_of(draw, feature["prefer"])
    else:
        value = draw(_config_values(feature.get("value", "boolean")))
    if draw(_told):
        return value
    mode = [mode for mode in modes if mode != "add"]
    return {"value": value, "mode": _one_of(draw, mode)} if draw(_told) else {"value": value}


@cache
def _bounds(scale: int) -> SearchStrategy[Any]:
    return st.one_of(st.just("unlimited"), amounts(scale))


def _limit_forms(draw: Draw, feature: Document, modes: tuple[str, ...]) -> Document:
    mode = {"mode": _one_of(draw, modes)} if draw(_told) else {}
    scale, resetting = feature.get("scale", 0), feature.get("reset", "none") != "none"
    if not resetting or draw(_told):
        reset = draw(_options(reset=_periods() if resetting else st.just("none")))
        return _limit(draw, scale) | reset | mode
    shapes = draw(_positions(len(_EVERY), 3)) or (0,)
    return {"limits": [_limit(draw, scale) | {"reset": {"every": _EVERY[each], "count": 7}} for each in shapes]} | mode


def _limit(draw: Draw, scale: int) -> Document:
    limit: Document = {"limit": draw(_bounds(scale))}
    limit |= draw(_depletions())
    if limit.get("depletion") == "soft" and isinstance(limit["limit"], int) and draw(_told):
        limit["ceiling"] = limit["limit"] + draw(_below(100))
    return limit


@cache
def _depletions() -> SearchStrategy[Document]:
    return _options(depletion=st.sampled_from(["hard", "partial", "soft"]))


def _plan(draw: Draw, features: Document, credits_: Document, products: list[str], earlier: list[str]) -> Document:
    plan = draw(_plan_terms())
    if draw(_told):
        plan["extends"] = _one_of(draw, earlier) if draw(_told) and earlier else _some_of(draw, earlier)
    if draw(_told) and products:
        plan["product"] = _one_of(draw, products)
    if draw(_told):
        plan["entitlements"] = _entitlements(draw, features, "grant", "set")
        plan["credits"] = {
            key: draw(_plan_credit(credit.get("scale", 0))) for key, credit in credits_.items() if draw(_told)
        }
    return plan


@cache
def _plan_terms() -> SearchStrategy[Document]:
    return _described(
        version=st.sampled_from(["latest", "pinned"]),
        price=st.one_of(st.integers(0, 999), texts()),
        trial=st.fixed_dictionaries({"days": st.integers(1, 60)}),
    )


@cache
def _plan_credit(scale: int) -> SearchStrategy[Document]:
    rollover = _options(
        max=amounts(scale),
        fraction=st.sampled_from([0, 1, "0.5", "0.125"]),
        expires_after=_durations(1),
        times=st.integers(1, 9),
    )
    needed = st.fixed_dictionaries({"grant": st.integers(1, 10**6), "every": st.sampled_from(_EVERY[1:])})
    more = _options(
        count=st.integers(1, 12),
        category=st.sampled_from(["paid", "promotional"]),
        priority=st.integers(0, 100),
        cost_basis=st.sampled_from([0, 9, "9.00", "0.001"]),
        rollover=rollover,
    )
    return st.builds(lambda one, other: {**one, **other}, needed, more)


def _addon(draw: Draw, features: Document, plans: list[str], earlier: list[str]) -> Document:
    addon = draw(_addon_terms())
    if draw(_told):
        addon["plans"] = _some_of(draw, plans)
    if draw(_told):
        addon["entitlements"] = _entitlements(draw, features, "grant", "add")
    if draw(_told):
        addon["excludes"] = _some_of(draw, earlier)
    else:
        addon["requires"] = _some_of(draw, earlier)[:1]  # two might exclude each other
    return addon


@cache
def _addon_terms() -> SearchStrategy[Document]:
    return _described(price=texts())


def _promotion(draw: Draw, features: Document) -> Document:
    promotion = draw(_promotion_terms())
    if draw(_told):
        promotion["entitlements"] = _entitlements(draw, features, "grant")
    return promotion


@cache
def _promotion_terms() -> SearchStrategy[Document]:
    return _described(days=st.integers(1, 90))


def _rates(draw: Draw, features: Document, credits_: list[str]) -> Document:
    metered = [key for key, feature in features.items() if feature["type"] == "metered"]
    return {key: _rate(draw, credits_) for key in metered if draw(_told)} if credits_ else {}


@cache
def _prices() -> SearchStrategy[Any]:
    return st.one_of(st.integers(0, 99), st.sampled_from(["1.5", "0.0001", "4.00"]))


def _rate(draw: Draw, credits_: list[str]) -> Document:
    models = [model for model in draw(_names(3)) if model != "price"]
    cases = [{"model": model, "price": draw(_prices())} for model in models]
    cases += [{"model": model, "kind": "input", "price": draw(_prices())} for model in models if draw(_told)]
    rate: Document = {"credit": _one_of(draw, credits_), "price": draw(_prices()), "when": cases}
    return rate | draw(_per())


@cache
def _per() -> SearchStrategy[Document]:
    return _options(per=st.sampled_from([1, 1000, "0.5"]))
