"""Hypothesis strategies of decisions: what `check` answers some customer."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from ..cases import Case
from ..catalog.model import AddOn, Catalog, Entitlement, Feature, Limit, Mode, Period, Plan, Promotion
from ..deciding import check, counters_of
from ..decisions import Decision
from ..ledger.facts import Facts
from ..ledger.state import Head
from ..requests import request
from .customers import AT, Shape, entitlements, facts, shape_of, values

_FEATURES: Final = (
    Feature("exports", "boolean", title="Exports"),
    Feature("calls", "metered", unit="call", reset=Period("month")),
    Feature("two words", "metered", reset=Period("hour", align="calendar")),
    Feature("Größe", "metered", unit="GB", reset=Period("day", 7, "first_use"), scale=1),
    Feature("seats", "metered", title="Seats <b>&", unit="seat"),
    Feature("peak", "metered", reset=Period("week"), aggregate="max"),
    Feature("history", "config", value="integer", prefer="max"),
    Feature("ratio", "config", value="decimal", prefer="min"),
    Feature("tier", "config", prefer=("gold", "silver")),
    Feature("langs", "config", value="list"),
)
_SAYS: Final[dict[str, tuple[Mode, ...]]] = {
    "free": ("grant",), "pro": ("grant", "set"), "addon": ("add", "grant"), "promotion": ("grant",),
}  # fmt: skip
"""Who says something about the feature of a small catalog, and in which modes."""

_used = st.integers(0, 99)
_requested = st.integers(0, 9)
_known = st.integers(0, 15).map(bool)


def decisions(catalog: Catalog | None = None) -> SearchStrategy[Decision]:
    """Return what `check` answers some customer: on the catalog, or on small ones with one feature of any kind."""
    return _small_catalogs().flatmap(_decisions) if catalog is None else _decisions(catalog)


def _decisions(catalog: Catalog) -> SearchStrategy[Decision]:
    asked = st.sampled_from([*sorted(catalog.features) * 8, "no such feature"])
    return _decided(catalog, facts(catalog), asked)


@st.composite
def _decided(draw: DrawFn, catalog: Catalog, held: SearchStrategy[Facts], asked: SearchStrategy[str]) -> Decision:
    key = draw(asked)
    feature = catalog.features.get(key)
    told: dict[str, Any] = {"feature": key, "requested": draw(_requested)}
    if feature is not None and feature.type == "config":
        told["value"] = draw(_asked(shape_of(feature)))
    known = Head(batches=1, facts=draw(held)) if draw(_known) else Head()
    case = Case(request("check", "acme", None, **told), "", catalog, AT, known)
    return check(case.counting({counter: draw(_used) for counter in counters_of(case, key)}))


@lru_cache(maxsize=64)
def _asked(shape: Shape) -> SearchStrategy[Any]:
    """Return what a check may ask a config feature for: often nothing in particular."""
    return st.one_of(st.none(), values(shape))


@cache
def _small_catalogs() -> SearchStrategy[Catalog]:
    return st.one_of(*(_catalogs_of(feature) for feature in _FEATURES))


def _catalogs_of(feature: Feature) -> SearchStrategy[Catalog]:
    """Return catalogs of one feature, of which two plans, an add-on and a promotion each say something or nothing."""
    shape = shape_of(feature)
    said = {who: st.one_of(st.none(), entitlements(shape, modes)) for who, modes in _SAYS.items()}
    if shape.type == "metered" and shape.reset != Period():
        said["pro"] = st.one_of(said["pro"], st.just(_several(shape)))
    default = st.sampled_from([None, None, "free"])
    return st.tuples(st.fixed_dictionaries(said), default).map(lambda drawn: _catalog(feature, *drawn))


def _several(shape: Shape) -> Entitlement:
    """Return an entitlement with two limits, both of which must have room."""
    return Entitlement(shape.key, limits=(Limit(20, Period("day")), Limit(40, Period("month"))))


def _catalog(feature: Feature, said: dict[str, Entitlement | None], default: str | None) -> Catalog:
    lists = {who: {} if each is None else {feature.key: each} for who, each in said.items()}
    return Catalog(
        {feature.key: feature},
        plans={
            "free": Plan("free", entitlements=lists["free"]),
            "pro": Plan("pro", extends=("free",), title="Pro", entitlements=lists["pro"]),
        },
        addons={"extra": AddOn("extra", entitlements=lists["addon"])},
        promotions={"launch": Promotion("launch", entitlements=lists["promotion"])},
        default_plan=default,
        version="drawn",
    )
