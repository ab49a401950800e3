"""What the add-ons of a pricing say of each other, as far as a catalog can keep it: names lead to names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from .checking_graphs import Graph, reachable


def leading_back(requires: Graph) -> Iterator[tuple[str, str]]:
    """Yield who requires whom in a circle, one step of each: without these steps there is none."""
    done: set[str] = set()
    for start in requires:
        trail: dict[str, None] = {}
        branches = [iter((start,))]
        while branches:
            name = next(branches[-1], None)
            if name is None:
                branches.pop()
                done.update(trail.popitem()[:1] if trail else ())
            elif name in trail:
                yield next(reversed(trail)), name
            elif name in requires and name not in done:
                trail[name] = None
                branches.append(iter(requires[name]))


def shutting_out(requires: Graph, excludes: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """Yield who excludes what somebody requires along with it: whoever does could never be held."""
    if any(excludes.values()):
        for name in requires:
            together = {name, *reachable(requires, name)}
            yield from ((one, other) for one in together for other in excludes[one] if other in together)
