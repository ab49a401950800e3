"""Plan credits: from what a customer holds and the catalog to the grants that are to be written in the log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

import attrs

from .catalog.model import EMPTY, Catalog
from .catalog.standing import credits_of
from .ledger.entries import Entry
from .ledger.facts import Facts, Subscription
from .ledger.plan_grants import Grants, PlanGrant
from .periods import calendar_anchor


def grant_entries(
    catalog: Catalog, facts: Facts, granted: Mapping[str, Grants], at: datetime, sold: Mapping[str, Catalog] = EMPTY
) -> list[Entry]:
    """Return the lines that make a customer's grants, from an instant on, what is held and the catalog say.

    None where they say so already. A plan that is pinned grants what it granted when it was sold.
    """
    if not granted and not grants_any(catalog) and not sold:
        return []
    wanted: dict[str, list[PlanGrant]] = {}
    for grant in _wanted(catalog, facts, at, sold):
        wanted.setdefault(grant.key, []).append(grant)
    lines = []
    for key in sorted(wanted.keys() | granted.keys()):
        rows, stands = tuple(wanted.get(key, ())), _from(granted.get(key, ()), at)
        if rows != stands:
            data = {"source": key, "rows": rows, **({"left": True} if _is_left(facts, stands, at) else {})}
            lines.append(Entry("plan_credits_set", at, (rows or stands)[0].credit, data=data))
    return lines


def grants_any(catalog: Catalog) -> bool:
    """Tell whether any plan of a catalog grants credits; worked out once."""
    memo = catalog.combined.get("plan credits")
    if memo is None:
        memo = catalog.combined["plan credits"] = {"any": any(plan.credits for plan in catalog.plans.values())}
    return bool(memo["any"])


def _wanted(catalog: Catalog, facts: Facts, at: datetime, sold: Mapping[str, Catalog]) -> Iterator[PlanGrant]:
    yield from _subscribed(catalog, facts, at, sold)
    for trial in facts.trials:
        if trial.until is None or trial.until > at:
            version = sold.get(trial.version or "", catalog)
            for credit, terms in credits_of(version, trial.plan).items():
                span = (max(trial.since, at), trial.until, terms, trial.since)
                scale = version.credits[credit].scale
                yield PlanGrant(f"trial:{trial.plan}", trial.plan, credit, scale, *span, lent=True)
    yield from _by_default(catalog, facts, at)


def _subscribed(catalog: Catalog, facts: Facts, at: datetime, sold: Mapping[str, Catalog]) -> Iterator[PlanGrant]:
    rows = [row for row in facts.subscriptions if row.until is None or row.until > at]
    for row in rows:
        version = sold.get(row.version or "", catalog)
        follower = next((other for other in rows if other.id == row.id and other.since == row.until), None)
        for credit, terms in credits_of(version, row.plan).items():
            if row.status == "paused" and terms.unused == "keep":
                continue  # what is paused grants nothing, and can only be left
            yield PlanGrant(
                row.id,
                row.plan,
                credit,
                version.credits[credit].scale,
                max(row.since, at),
                row.until,
                terms,
                row.anchor,
                row.zone,
                changed=row.since > row.started_at,
                left=follower is not None and follower.plan != row.plan,
                paused=row.status == "paused",
            )


def _by_default(catalog: Catalog, facts: Facts, at: datetime) -> Iterator[PlanGrant]:
    """Yield what the default plan grants while no plan of its product is held."""
    plan = catalog.plans.get(catalog.default_plan or "")
    terms_of = credits_of(catalog, plan.key) if plan is not None else {}
    if plan is None or not terms_of:
        return
    held = [row for row in facts.subscriptions if row.product == plan.product]
    for since, until in _between(held, at):
        for credit, terms in terms_of.items():
            anchor = calendar_anchor(terms.every, "UTC")
            scale = catalog.credits[credit].scale
            yield PlanGrant("default", plan.key, credit, scale, since, until, terms, anchor)


def _between(held: Iterable[Subscription], at: datetime) -> Iterator[tuple[datetime, datetime | None]]:
    """Yield the spans from an instant on in which none of some subscriptions holds."""
    since: datetime | None = at
    for row in sorted(held, key=lambda row: row.since):
        if since is not None and row.since > since:
            yield since, row.since
        if since is not None and (row.until is None or row.until > since):
            since = row.until
    if since is not None:
        yield since, None


def _is_left(facts: Facts, stands: Grants, at: datetime) -> bool:
    """Tell whether the subscription that grants has another plan from an instant on."""
    return any(
        row.id == stands[0].source
        and row.plan != stands[0].plan
        and row.since <= at
        and (row.until is None or at < row.until)
        for row in (facts.subscriptions if stands and stands[0].since <= at else ())
    )


def _from(rows: Grants, at: datetime) -> Grants:
    """Return what is in force or to come of some rows, as it is from an instant on."""
    left = [row for row in rows if row.until is None or row.until > at]
    return tuple(attrs.evolve(row, since=max(row.since, at)) for row in left)
