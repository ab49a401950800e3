"""What refers to its own kind: circles, chains that are too long, too many ways up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from ..errors import shown
from .findings import MOST_FINDINGS, Finding

DEEPEST: Final = 32
MOST_WAYS: Final = 1000
SHOWN: Final = 12
Graph: TypeAlias = Mapping[str, Sequence[str]]


def graph_findings(section: str, verb: str, graph: Graph) -> Iterator[Finding]:
    """Yield what is wrong with who extends or requires whom; names outside the graph lead nowhere."""
    order, circles = _walked(graph)
    if circles:
        yield from _told(section, verb, circles)
        graph = _leading_nowhere(graph, {key for circle in circles for key in circle})
        order, _ = _walked(graph)
    depth: dict[str, int] = {}
    ways: dict[str, int] = {}
    for key in order:
        above = [name for name in graph[key] if name in depth]
        depth[key] = 1 + max((depth[name] for name in above), default=0)
        ways[key] = sum(ways[name] for name in above) or 1
        if depth[key] == DEEPEST + 1:
            yield Finding((section, key, verb), f"is a chain of {depth[key]}; chains have at most {DEEPEST}")
        elif ways[key] > MOST_WAYS >= max((ways[name] for name in above), default=0):
            yield Finding((section, key, verb), f"leads up on more than {MOST_WAYS} ways; name fewer")


def circle_findings(section: str, verb: str, graph: Graph) -> Iterator[Finding]:
    """Yield the circles alone, where nothing climbs up the graph."""
    yield from _told(section, verb, _walked(graph)[1])


def reachable(graph: Graph, start: str) -> dict[str, None]:
    """Return what `start` leads to, nearest first, and no more of it than a sound catalog has."""
    seen: dict[str, None] = {}
    waiting = list(graph.get(start, ()))
    for key in waiting:
        if key not in seen and len(seen) < MOST_WAYS:
            seen[key] = None
            waiting.extend(graph.get(key, ()))
    return seen


def exclusion_findings(key: str, requires: Graph, excludes: Graph) -> Iterator[Finding]:
    """Yield what an add-on excludes although one of the two requires the other, or requires although those exclude."""
    needed = reachable(requires, key) if excludes[key] or requires[key] else {}
    for at, other in enumerate(excludes[key]):
        if other == key:
            yield Finding(("addons", key, "excludes", at), "excludes itself; take it out")
        elif other in needed:
            yield Finding(("addons", key, "excludes", at), f"excludes {shown(other)}, which it requires; drop one")
        elif key in reachable(requires, other):
            yield Finding(("addons", key, "excludes", at), f"excludes {shown(other)}, which requires it; drop one")
    for one in needed:
        for other in excludes.get(one, ()):
            if other in needed and other not in reachable(requires, one) and one not in reachable(requires, other):
                first, second = sorted((one, other))
                message = f"comes to {shown(first)} and {shown(second)}, which exclude each other; drop one"
                yield Finding(("addons", key, "requires"), message)


def _leading_nowhere(graph: Graph, circular: set[str]) -> Graph:
    """Return the graph without what leads into a circle."""
    above: dict[str, list[str]] = {}
    for key, names in graph.items():
        for name in names:
            above.setdefault(name, []).append(key)
    waiting, seen = list(circular), set(circular)
    for key in waiting:
        more = [name for name in above.get(key, ()) if name not in seen]
        seen.update(more)
        waiting.extend(more)
    return {key: names for key, names in graph.items() if key not in seen}


def _told(section: str, verb: str, circles: Sequence[Sequence[str]]) -> Iterator[Finding]:
    return (Finding((section, circle[0], verb), _circle_message(circle)) for circle in circles)


def _circle_message(circle: Sequence[str]) -> str:
    names = [*circle, circle[0]] if len(circle) <= SHOWN else [*circle[: SHOWN - 1], "...", circle[-1], circle[0]]
    return f"goes in a circle: {' -> '.join(shown(key)[1:-1] for key in names)}; take one step out"


def _walked(graph: Graph) -> tuple[list[str], list[list[str]]]:
    """Return the names, each after all it leads to, and the circles; walks without recursion."""
    graph = {key: [name for name in graph[key] if name in graph] for key in graph}
    order: dict[str, None] = {}
    circles: list[list[str]] = []
    for start in graph:
        trail: dict[str, None] = {}
        branches: list[Iterator[str]] = [iter((start,))]
        while branches:
            key = next(branches[-1], None)
            if key is None:
                branches.pop()
                order.update([trail.popitem()] if trail else ())
            elif key in trail:
                circles.append(list(trail)[list(trail).index(key) :])
            elif key not in order:
                trail[key] = None
                branches.append(iter(graph[key]))
        if len(circles) >= MOST_FINDINGS:
            break
    return list(order), circles
