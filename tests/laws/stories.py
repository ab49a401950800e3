"""Stories: drawn from a seed, played until a law breaks, and made as short as they go."""

from collections.abc import Callable
from random import Random

import attrs

from . import catalogs
from .drawing import FREELY, STARTS, Drawer, Step
from .playing import Broken, World


@attrs.define
class Story:
    """A catalog, when it begins, and what happens; steady ones have nothing that a sweep may tell apart."""

    seed: object
    document: dict
    steady: bool
    steps: list


def drawn(seed: object) -> tuple[Story, Drawer]:
    """Return a story without steps, and who draws them."""
    draw = Random(f"{seed} story")
    document, steady = catalogs.drawn(draw), draw.random() < 0.6
    start = draw.choice(STARTS)
    story = Story(seed, document, steady, [Step(start, "wait", {})])
    return story, Drawer(seed, document, start, frozenset(FREELY) if steady else frozenset())


def told(seed: object, length: int) -> tuple[Story, str | None]:
    """Draw and play a story; return it and what broke, or None."""
    story, drawer = drawn(seed)
    world = World(story.document, story.steps[0].at, seed, steady=story.steady)
    try:
        for _ in range(length):
            step = drawer.next(world.live)
            story.steps.append(step)
            if world.play(step):
                drawer.heard(step, world.took)
        world.end()
    except Exception as broken:
        return story, said(broken)
    finally:
        world.close()
    return story, None


def played(story: Story, about: str) -> str | None:
    """Play a story again with an eye on the law that broke; return what broke, or None."""
    world = World(story.document, story.steps[0].at, story.seed, steady=story.steady, about=[about])
    try:
        for step in story.steps[1:]:
            world.play(step)
        world.end()
    except Exception as broken:
        return said(broken)
    finally:
        world.close()
    return None


def said(broken: Exception) -> str:
    """Return what broke, a law or something else, as text."""
    return str(broken) if isinstance(broken, Broken) else f"{type(broken).__name__}: {broken}"


def law_of(what: str) -> str:
    """Return which law broke, without what it broke on."""
    return what.splitlines()[0].partition(" (")[0].partition("'")[0]


def shortened(story: Story, what: str, again: Callable[[Story, str], str | None] = played) -> Story:
    """Return the story with every step left out, and every argument, without which the same still breaks, played `again`."""
    law = law_of(what)

    def breaks(steps: list, document: dict | None = None) -> bool:
        found = again(attrs.evolve(story, steps=[story.steps[0], *steps], document=document or story.document), law)
        return found is not None and law_of(found) == law

    steps, size = story.steps[1:], max(1, len(story.steps) // 2)
    while size:
        at = len(steps)
        while at > 0:
            kept = steps[: max(0, at - size)] + steps[at:]
            if breaks(kept):
                steps = kept
            at -= size
        size //= 2
    for number, step in enumerate(steps):
        for name in [name for name in step.told if name not in {"key", "document", "requests"}]:
            less = attrs.evolve(step, told={other: value for other, value in step.told.items() if other != name})
            if breaks([*steps[:number], less, *steps[number + 1 :]]):
                steps[number] = step = less
    return attrs.evolve(story, steps=[story.steps[0], *steps], document=_shorter(story.document, steps, breaks))


def _shorter(document: dict, steps: list, breaks: object) -> dict:
    """Return a catalog with less in it with which the same still breaks."""
    for section in ("rates", "promotions", "addons", "plans"):
        for name in list(document.get(section, ())):
            less = {**document, section: {other: value for other, value in document[section].items() if other != name}}
            if _holds(steps, less, breaks):
                document = less
    for plan in list(document["plans"]):
        for part in [part for part in document["plans"][plan] if part != "product"]:
            plans = {**document["plans"], plan: {n: v for n, v in document["plans"][plan].items() if n != part}}
            if _holds(steps, {**document, "plans": plans}, breaks):
                document = {**document, "plans": plans}
    return document


def _holds(steps: list, document: dict, breaks: object) -> bool:
    try:
        return breaks(steps, document)
    except Exception:
        return False
