"""What is wrong with a rate: nothing to charge, cases that fit one charge equally well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Final, TypeAlias

import attrs

from ..errors import shown
from .findings import Finding, Path
from .model import Rate, RateCase
from .words import key_fault

MOST_SHAPES: Final = 20
Dimensions: TypeAlias = frozenset[str]
Numbered: TypeAlias = list[tuple[int, RateCase]]


@attrs.frozen
class _Covered:
    """The cases of a rate, by the sets of their dimensions."""

    shapes: tuple[Dimensions, ...]
    matches: frozenset[frozenset[tuple[str, str]]]

    def decides(self, both: Mapping[str, str], size: int) -> bool:
        """Tell whether a case with more dimensions settles a tie for every charge with `both`."""
        wider = (shape for shape in self.shapes if len(shape) > size and shape <= both.keys())
        return any(frozenset((name, both[name]) for name in shape) in self.matches for shape in wider)


def rate_findings(rate: Rate) -> Iterator[Finding]:
    """Yield what is wrong with a rate by itself."""
    path: Path = ("rates", rate.feature)
    if rate.price is None and not rate.when:
        yield Finding((*path, "price"), "needs a price, or cases under when")
    if rate.per <= 0:
        yield Finding((*path, "per"), f"is {rate.per}; write how many units the price is for, more than zero")
    for at, case in enumerate(rate.when):
        for name in case.match:
            fault = key_fault(name)
            if fault:
                yield Finding((*path, "when", at, name), fault, at_key=True)
        if not case.match:
            yield Finding((*path, "when", at), "names no dimension; write one, or make this the price of the rate")
    yield from _ties(rate, path)


def _ties(rate: Rate, path: Path) -> Iterator[Finding]:
    shapes: dict[Dimensions, Numbered] = {}
    for at, case in enumerate(rate.when):
        shapes.setdefault(frozenset(case.match), []).append((at, case))
    if len(shapes) > MOST_SHAPES:
        yield Finding((*path, "when"), f"has cases with more than {MOST_SHAPES} sets of dimensions; use fewer")
        return
    covered = _Covered(tuple(shapes), frozenset(frozenset(case.match.items()) for case in rate.when))
    for dimensions, cases in shapes.items():
        yield from _same(dimensions, cases, path)
    for (one, ones), (other, others) in combinations(shapes.items(), 2):
        if len(one) == len(other):
            yield from _crossing(one & other, ones, others, covered, path)


def _same(dimensions: Dimensions, cases: Numbered, path: Path) -> Iterator[Finding]:
    first: dict[tuple[str, ...], int] = {}
    for at, case in cases:
        before = first.setdefault(_projected(case, dimensions), at)
        if before != at and dimensions:
            yield Finding((*path, "when", at), f"is the same case as when[{before}]; keep one of them")


def _crossing(shared: Dimensions, ones: Numbered, others: Numbered, covered: _Covered, path: Path) -> Iterator[Finding]:
    by_shared: dict[tuple[str, ...], Numbered] = {}
    for at, case in ones:
        by_shared.setdefault(_projected(case, shared), []).append((at, case))
    for at, case in others:
        for before, rival in by_shared.get(_projected(case, shared), ()):
            both = {**rival.match, **case.match}
            if not covered.decides(both, len(case.match)):
                first, last = sorted((before, at))
                yield Finding((*path, "when", last), _tie(both, first))


def _tie(both: Mapping[str, str], first: int) -> str:
    charge = ", ".join(f"{shown(name)[1:-1]}: {shown(value)[1:-1]}" for name, value in sorted(both.items())[:6])
    return f"ties with when[{first}] on a charge with {{{charge}}}; add a case for exactly that"


def _projected(case: RateCase, dimensions: Dimensions) -> tuple[str, ...]:
    return tuple(case.match[name] for name in sorted(dimensions))
