"""Plan grants: the credits that what a customer holds grants every period, and the blocks they come to.

A plan grant says all that its blocks need, so that no catalog is read to tell what fell due. A plan
grants a credit once for a period, whoever comes first and however often it is left and taken again:
the next block begins no sooner than the period of the last one is over, and one that begins then in
the middle of a period of another anchor is cut to the rest of it. README.md here says what follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Final, Literal, TypeAlias

import attrs

from ..amounts import exact
from ..catalog.model import PlanCredit, Rollover
from ..catalog.standing import counted_as
from ..periods import Every, Window, window
from .blocks import Block, over
from .instants import from_instant

CENTS: Final = 2
_GRANTED: Final = "$plan:"
_NOTHING: Final = timedelta()
_LAST: Final = datetime.max.replace(tzinfo=UTC)
Grants: TypeAlias = "tuple[PlanGrant, ...]"
Forfeited: TypeAlias = tuple[tuple[int, datetime], ...]
"""Up to which number, exclusive, the blocks of a plan and a credit were forfeited, and at which instant: each time."""


@attrs.frozen(weakref_slot=False)
class PlanGrant:
    """Credits that a plan grants in each period, in force in `[since, until)`.

    `source` is what grants them: a subscription, a trial, or the default plan. Periods are laid out
    from `anchor` in the wall-clock time of `zone`. `changed` says that it began by a change of plan,
    `left` that it ends by one, `lent` that what it grants ends with it, `paused` that it grants nothing
    and stands only to be left.
    """

    source: str
    plan: str
    credit: str
    scale: int
    since: datetime
    until: datetime | None
    terms: PlanCredit
    anchor: datetime
    zone: str = "UTC"
    changed: bool = False
    left: bool = False
    lent: bool = False
    paused: bool = False

    @property
    def key(self) -> str:
        """What tells it from other grants: what grants it, and the credit."""
        return f"{self.source}/{self.credit}"

    @property
    def counts_as(self) -> str:
        """The plan and the credit, of which there is one block for a period; what is lent is counted apart."""
        return counted_as(self.plan, self.credit, lent=self.lent)

    def period(self, at: datetime) -> Window:
        """Return the period an instant lies in."""
        return _period(self.anchor, self.terms.every, at, self.terms.count, self.zone)


def next_grant(grant: PlanGrant, granted: Mapping[str, datetime]) -> datetime | None:
    """Return when a plan grants next, None for never; `granted` is when the last periods end."""
    if grant.paused:
        return None
    last = _last(grant, granted)
    at = grant.since if last is None else max(grant.since, last)
    if grant.changed and at == grant.since and grant.terms.allowance == "next_period":
        span = grant.period(at)
        at = at if span.start == at else span.end
    if not _units(grant, at, last):
        at = grant.period(at).end
    return at if at < (grant.until or _LAST) else None  # periods are cut at the last instant there is


def block_of(grant: PlanGrant, at: datetime, granted: Mapping[str, datetime], number: int) -> Block:
    """Return the block a plan grants at an instant, for what is left of the period; `number` orders it among others."""
    terms, span = grant.terms, grant.period(at)
    ends = span.end if not grant.lent or grant.until is None else min(span.end, grant.until)
    units = _units(grant, at, _last(grant, granted))
    return Block(
        f"{_GRANTED}{grant.counts_as}@{from_instant(at)}",
        grant.credit,
        grant.scale,
        units,
        units,
        0,
        terms.category,
        terms.priority,
        _share(terms.cost_basis, units, terms.grant),
        at,
        ends,
        source=f"plan:{grant.plan}",
        number=number,
        rollover=terms.rollover,
    )


def count_granted(
    granted: MutableMapping[str, datetime], block: Block, lent_until: datetime | None, began: datetime | None = None
) -> None:
    """Note until when a block that was granted counts; `lent_until` is the end of its period where it was lent.

    `began` is where the period began that it is the whole grant of, None for when the block begins.

    What is bought counts nothing that was lent before. A period of which both had a part counts twice
    for whoever is lent the plan again.
    """
    plan, ends = plan_of(block), block.expires_at
    if plan is None or ends is None:
        return
    bought, lent = (counted_as(plan, block.credit, lent=is_lent) for is_lent in (False, True))
    if lent_until is not None:
        granted[lent] = lent_until
        return
    granted[bought] = ends
    since = began or block.effective_at
    both = granted.get(lent, since) - since
    if both > _NOTHING:
        granted[lent] = ends + min(both, _LAST - ends)


def rolled(block: Block, rollover: Rollover, grant: PlanGrant, at: datetime, number: int) -> Block | None:
    """Return the block in which what is left of one lives on past its end, None where nothing does."""
    part = Fraction(block.free_units) * Fraction(rollover.fraction)
    units = part.numerator // part.denominator
    units = units if rollover.max is None else min(units, rollover.max)
    if not units or at == _LAST:  # at the last instant there is, nothing can live on
        return None
    again = attrs.evolve(rollover, times=rollover.times - 1) if rollover.times > 1 else None
    lasts = rollover.expires_after
    ends = grant.period(at).end if lasts is None else at + min(lasts, _LAST - at)  # as periods are cut at the last year
    ends = ends if not grant.lent or grant.until is None else min(ends, grant.until)
    return _moved(block, units, at, ends, "rollover", again, number)


def converted(block: Block, at: datetime, number: int) -> Block:
    """Return the block without an end into which what is left of one is turned when its plan is left."""
    return _moved(block, block.free_units, at, None, "converted", None, number)


def begins_of(block: str) -> int | None:
    """Return when a block that nobody asked for began, in microseconds since 1970, None for any other."""
    began = block.rpartition("@")[2].rpartition("+")[2]
    return int(began) if block.startswith(_GRANTED) and began.removeprefix("-").isdecimal() else None


def is_of_plan(block: Block, plan: str) -> bool:
    """Tell whether a block was granted by a plan, or lives on from one that was, until its own end."""
    return block.source in {f"plan:{plan}", f"rollover:{plan}"}


def is_forfeited(block: Block, forfeited: Mapping[str, Forfeited]) -> bool:
    """Tell whether a block is one of those that were forfeited as their plan was left, empty or not.

    One that had ended by then was not.
    """
    kind, _, plan = block.source.partition(":")
    if kind not in {"plan", "rollover"}:
        return False
    times = forfeited.get(counted_as(plan, block.credit, lent=False), ())
    return any(block.number < number and not over(block, at) for number, at in times)


def plan_of(block: Block) -> str | None:
    """Return the plan that granted a block by itself, None for any other block."""
    kind, _, plan = block.source.partition(":")
    return plan if kind == "plan" else None


def lives_on(block: Block) -> bool:
    """Tell whether a block holds what is left of another, and so was not granted anew."""
    return block.source.partition(":")[0] in {"rollover", "converted"}


def in_force(grants: Iterable[Grants], credit: str, at: datetime) -> Iterator[PlanGrant]:
    """Yield the grants of a credit that are in force at an instant."""
    for rows in grants:
        for grant in rows:
            is_held = grant.since <= at and (grant.until is None or at < grant.until)
            if grant.credit == credit and is_held and not grant.paused:
                yield grant


def deferred(cost: int, units: int, left: int) -> int:
    """Return the money that is still deferred for what is left of a block, in the smallest unit of its cost.

    Whatever order the parts of a block go in, they sum to its cost exactly.
    """
    return cost - cost * (units - left) // units


def places_of(cost: Decimal | None) -> int:
    """Return the decimal places in which the parts of a cost are told: its own, and at least cents."""
    return CENTS if cost is None else max(CENTS, -int(cost.as_tuple().exponent))


def smallest(cost: Decimal | None, places: int) -> int:
    """Return a cost in its smallest unit."""
    if cost is None:
        return 0
    _, digits, exponent = cost.as_tuple()
    scaled: int = int("".join(map(str, digits))) * 10 ** (int(exponent) + places)
    return scaled


@lru_cache(maxsize=4096)
def _period(anchor: datetime, every: Every, at: datetime, count: int, zone: str) -> Window:
    return window(anchor, every, at, count=count, zone=zone)


def _last(grant: PlanGrant, granted: Mapping[str, datetime]) -> datetime | None:
    """Return until when what was granted before counts; for what is bought, nothing that was lent does."""
    bought = granted.get(counted_as(grant.plan, grant.credit, lent=False))
    lent = granted.get(grant.counts_as)
    return lent if bought is None or (lent is not None and lent > bought) else bought


def _units(grant: PlanGrant, at: datetime, last: datetime | None) -> int:
    """Return what is granted at an instant: in full for a period of which nothing was granted, else for what is left.

    A part is rounded down, so that many of them never come to more than the whole.
    """
    terms = grant.terms
    if last is None and not grant.changed:
        return terms.grant
    span = grant.period(at)
    if last is not None and last > span.start:
        return terms.grant * (span.end - at) // (span.end - span.start)
    if grant.changed and at == grant.since and terms.allowance == "prorate":
        return -(-terms.grant * (span.end - at) // (span.end - span.start))
    return terms.grant


def _moved(
    block: Block,
    units: int,
    at: datetime,
    ends: datetime | None,
    kind: Literal["rollover", "converted"],
    again: Rollover | None,
    number: int,
) -> Block:
    places = places_of(block.cost_basis)
    cost, left = smallest(block.cost_basis, places), block.free_units + block.held_units
    moved = deferred(cost, block.units, left) - deferred(cost, block.units, left - units)
    # What rolls over may be converted at the same instant: the name of the first would be taken.
    origin = block.id if kind == "converted" else _origin(block.id)
    return attrs.evolve(
        block,
        id=f"{origin}+{from_instant(at)}",
        units=units,
        free_units=units,
        held_units=0,
        cost_basis=None if block.cost_basis is None else exact(moved, places),
        effective_at=at,
        expires_at=ends,
        source=f"{kind}:{block.source.partition(':')[2]}",
        number=number,
        rollover=again,
    )


def _origin(block: str) -> str:
    """Return the block that one which rolled over began as; there may be a "+" in the names of plans and credits."""
    named, at, began = block.rpartition("@")
    return f"{named}{at}{began.partition('+')[0]}"


def _share(cost: Decimal | None, units: int, whole: int) -> Decimal | None:
    """Return the part of a cost that a part of a grant bears."""
    if cost is None or units == whole:
        return cost
    places = places_of(cost)
    return exact(smallest(cost, places) * units // whole, places)
