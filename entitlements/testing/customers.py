"""Hypothesis strategies of what a customer may hold: facts, grants of credits, and the decisions that follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypeAlias

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from ..amounts import UNLIMITED, Bound, Unlimited, exact
from ..cases import Case
from ..catalog.model import (
    Catalog,
    ConfigValue,
    Credit,
    Depletion,
    Entitlement,
    Feature,
    Limit,
    Mode,
    Period,
)
from ..deciding import check, counters_of
from ..decisions import Decision
from ..ledger.blocks import Block
from ..ledger.facts import F, Facts, HeldAddOn, Override, PromotionRun, Status, Subscription, Trial
from ..ledger.state import Head
from ..periods import Window
from ..requests import request

Draw: TypeAlias = DrawFn
Span: TypeAlias = tuple[datetime, datetime | None]

AT: Final = datetime(2026, 5, 10, 12, tzinfo=UTC)
"""The instant around which everything is drawn: ask about it, and most of what was drawn is in force."""

_STEP: Final = timedelta(hours=6)
_ZONES: Final = ("UTC", "UTC", "Asia/Kathmandu", "America/New_York")
_SCOPES: Final = ({"team": "research"}, {"team": "research", "user": "ann"}, {"user": "bo/b"})
_FEATURES: Final[Mapping[str, Feature]] = {
    "exports": Feature("exports", "boolean"),
    "calls": Feature("calls", "metered", reset=Period("month")),
    "seats": Feature("seats", "metered"),
    "tier": Feature("tier", "config", value="text", prefer=("gold", "silver")),
}


def instants(*, days: int = 30) -> SearchStrategy[datetime]:
    """Return aware instants up to so many days before and after `AT`, four a day; `AT` is the simplest."""
    return st.integers(-4 * days, 4 * days).map(lambda steps: AT + steps * _STEP)


def spans() -> SearchStrategy[Span]:
    """Return when something holds, its end exclusive or None: most often at `AT`, sometimes just up to it."""
    began = st.sampled_from([-1, -8, -20, 0, 3])
    lasts = st.sampled_from([None, None, 1, 5, 20, 30])
    ends = lambda began, lasts: (AT + began * _STEP, None if lasts is None else AT + (began + lasts) * _STEP)  # noqa: E731
    return st.builds(ends, began, lasts)


def windows() -> SearchStrategy[Window]:
    """Return half-open windows of a quarter of a day up to a month."""
    return st.builds(lambda start, steps: Window(start, start + steps * _STEP), instants(), st.integers(1, 124))


@st.composite
def subscriptions(draw: Draw, catalog: Catalog | None = None) -> Subscription:
    """Draw a subscription to a plan of the catalog, or to a plan named "pro" or "free"."""
    plan = draw(_named(catalog, "plans", ("pro", "free")))
    product = "default" if catalog is None else catalog.plans[plan].product
    since, until = draw(spans())
    status: Status = draw(st.sampled_from(["active", "active", "active", "past_due", "paused"]))
    anchor, zone = draw(instants()), draw(st.sampled_from(_ZONES))
    return Subscription(product, product, plan, since, until, since, anchor, zone, status)


def trials(catalog: Catalog | None = None) -> SearchStrategy[Trial]:
    """Return trials of the plans of the catalog, or of "pro" or "free"."""
    return st.builds(lambda plan, span: Trial(plan, *span), _named(catalog, "plans", ("pro", "free")), spans())


def held_addons(catalog: Catalog | None = None) -> SearchStrategy[HeldAddOn]:
    """Return add-ons of the catalog, or "extra_seats", held one to three times."""
    named = _named(catalog, "addons", ("extra_seats",))
    return st.builds(lambda addon, quantity, span: HeldAddOn(addon, quantity, *span), named, st.integers(1, 3), spans())


def promotion_runs(catalog: Catalog | None = None) -> SearchStrategy[PromotionRun]:
    """Return runs of the promotions of the catalog, or of "launch"."""
    named = _named(catalog, "promotions", ("launch",))
    return st.builds(lambda promotion, span: PromotionRun(promotion, *span), named, spans())


@st.composite
def overrides(draw: Draw, catalog: Catalog | None = None) -> Override:
    """Draw an override of a feature of the catalog, with a value that the feature can have."""
    features = _FEATURES if catalog is None else catalog.features
    feature = features[draw(_sampled(sorted(features)))]
    said = draw(_entitlements(feature))
    number, reason = draw(st.integers(0, 9)), draw(st.sampled_from(["", "as agreed"]))
    return Override(said, *draw(spans()), number, reason)


@st.composite
def facts(draw: Draw, catalog: Catalog | None = None) -> Facts:
    """Draw all facts of a customer, as `resolve(catalog, facts, at)` takes them.

    No two of a kind have the same key, so that a customer holds one plan of each product. Facts of which
    the catalog has none to offer are left out.
    """
    return Facts(
        draw(_some(catalog, "plans", subscriptions)),
        draw(_some(catalog, "plans", trials)),
        draw(_some(catalog, "addons", held_addons)),
        draw(_some(catalog, "promotions", promotion_runs)),
        draw(_some(catalog, "features", overrides)),
    )


@st.composite
def grants(draw: Draw, catalog: Catalog) -> dict[str, Any]:
    """Draw the arguments of a grant but its key: `ent.grant_credits("acme", key="g", **grant)` takes each.

    Raises ValueError for a catalog without credits.
    """
    credit = catalog.credits[draw(_sampled(sorted(catalog.credits)))]
    units = draw(st.integers(1, 10**9))
    terms: dict[str, SearchStrategy[Any]] = {
        "category": st.sampled_from(["paid", "promotional"]),
        "priority": st.integers(0, 100),
        "cost_basis": st.sampled_from([0, 9, "9.00", Decimal("0.001")]),
        "expires_in": st.integers(1, 90).map(lambda days: timedelta(days=days)),
        "scope": st.sampled_from(_SCOPES),
        "settle_debt": st.booleans(),
        "metadata": st.sampled_from([{"invoice": "in_1"}, {"tags": ["a", "é"]}]),
    }
    if catalog.features:
        terms["features"] = st.lists(_sampled(sorted(catalog.features)), min_size=1, max_size=2, unique=True)
    told = draw(st.fixed_dictionaries({}, optional=terms))
    return {"credit": credit.key, "amount": draw(_spelled(units, credit)), **told}


@st.composite
def blocks(draw: Draw) -> Block:
    """Draw a block as a balance shows it: what is free, held and gone of it add up to what was granted."""
    scale, units = draw(st.integers(0, 4)), draw(st.integers(1, 10**6))
    free = draw(st.integers(0, units))
    since, until = draw(spans())
    return Block(
        draw(st.sampled_from(["g1", "g2", "plan:pro:1"])),
        "ai",
        scale,
        units,
        free,
        draw(st.integers(0, units - free)),
        draw(st.sampled_from(["paid", "promotional"])),
        draw(st.integers(0, 100)),
        draw(st.sampled_from([None, Decimal(0), Decimal("9.00")])),
        since,
        until,
        draw(st.sampled_from([None, ("calls",)])),
        draw(st.sampled_from([None, (("team", "research"),)])),
        number=draw(st.integers(1, 9)),
    )


@st.composite
def decisions(draw: Draw, catalog: Catalog | None = None) -> Decision:
    """Draw what `check` answers some customer: with a catalog drawn too, unless one is given."""
    if catalog is None:
        from .strategies import catalogs  # noqa: PLC0415  (which offers these strategies, too)

        catalog = draw(catalogs().filter(lambda drawn: drawn.features))
    feature = draw(_sampled([*sorted(catalog.features), *sorted(catalog.features), "no such feature"]))
    held = draw(facts(catalog))
    known = Head(batches=1, facts=held) if draw(st.integers(0, 9)) else Head()
    asked = request("check", "acme", None, feature=feature, requested=draw(st.integers(0, 9)))
    case = Case(asked, "", catalog, AT, known)
    return check(case.counting({counter: draw(st.integers(0, 99)) for counter in counters_of(case, feature)}))


def _some(
    catalog: Catalog | None, section: str, of: Callable[[Catalog | None], SearchStrategy[F]]
) -> SearchStrategy[tuple[F, ...]]:
    if catalog is not None and not getattr(catalog, section):
        return st.just(())
    held = st.lists(of(catalog), max_size=2, unique_by=lambda fact: fact.key)
    return held.map(lambda drawn: tuple(sorted(drawn, key=lambda fact: fact.key)))


def _named(catalog: Catalog | None, section: str, otherwise: Sequence[str]) -> SearchStrategy[str]:
    return _sampled(otherwise if catalog is None else sorted(getattr(catalog, section)))


def _sampled(names: Sequence[str]) -> SearchStrategy[str]:
    if not names:
        raise ValueError("the catalog has nothing of this kind to draw from")
    return st.sampled_from(names)


def _spelled(units: int, credit: Credit) -> SearchStrategy[Any]:
    amount = exact(units, credit.scale)
    return st.sampled_from([amount, str(amount)] if credit.scale else [units, amount, str(units)])


@st.composite
def _entitlements(draw: Draw, feature: Feature) -> Entitlement:
    modes: Sequence[Mode] = ("set", "grant", "deny", "add") if feature.type == "metered" else ("set", "grant", "deny")
    mode = draw(st.sampled_from(modes))
    if mode == "deny":
        return Entitlement(feature.key, "deny")
    if feature.type == "metered":
        return Entitlement(feature.key, mode, limits=(draw(_limits(feature)),))
    return Entitlement(feature.key, mode, draw(_values(feature)))


@st.composite
def _limits(draw: Draw, feature: Feature) -> Limit:
    amount: Bound = draw(st.one_of(st.integers(0, 50), st.just(UNLIMITED)))
    depletion: Depletion = draw(st.sampled_from(["hard", "hard", "partial", "soft"]))
    more = draw(st.one_of(st.none(), st.integers(0, 9))) if depletion == "soft" else None
    ceiling = None if more is None or isinstance(amount, Unlimited) else amount + more
    return Limit(amount, feature.reset, depletion, ceiling)


def _values(feature: Feature) -> SearchStrategy[ConfigValue]:
    if feature.type == "boolean":
        return st.booleans()
    if isinstance(feature.prefer, tuple):
        return st.sampled_from(feature.prefer)
    values: Mapping[str, SearchStrategy[Any]] = {
        "integer": st.integers(-99, 99),
        "decimal": st.integers(-99, 99).map(lambda tenths: Decimal(tenths) / 10),
        "text": st.sampled_from(["", "a", "größer"]),
        "list": st.lists(st.sampled_from("abc"), unique=True, max_size=3).map(tuple),
        "boolean": st.booleans(),
    }
    return values[feature.value]
