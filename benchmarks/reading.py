"""Checks and snapshots against a dictionary and a flat merge."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from time import thread_time_ns

from entitlements import Entitlements

from .measuring import Figure, nanoseconds
from .pricing import FEATURES, METERED, NOW, catalog, equip, sources

CUSTOMERS = [f"customer-{n:04d}" for n in range(1000)]
CALLS = 20_000
BUYERS = 50


def figures() -> Iterator[Figure]:
    with Entitlements(catalog(), storage="memory:") as ent:
        for customer in CUSTOMERS:
            ent.subscribe(customer, "pro")
        yield from _warm(ent)
        yield from _threads(ent)
    yield from _cold()


def _asked(features: list[str]) -> list[tuple[str, str]]:
    pick = random.Random(11)
    return [(pick.choice(CUSTOMERS), pick.choice(features)) for _ in range(CALLS)]


def _floor(asked: list[tuple[str, str]]) -> Callable[[], None]:
    granted = {customer: dict.fromkeys(FEATURES, 1) for customer in CUSTOMERS}

    def run() -> None:
        for customer, feature in asked:
            granted[customer][feature] >= 1  # noqa: B015

    return run


def _checks(ent: Entitlements, asked: list[tuple[str, str]]) -> Callable[[], None]:
    check = ent.check

    def run() -> None:
        for customer, feature in asked:
            check(customer, feature)

    return run


def _warm(ent: Entitlements) -> Iterator[Figure]:
    for name, features, bound in (("a plan feature", FEATURES[40:], 4), ("a metered feature", METERED, 7)):
        asked = _asked(features)
        run = _checks(ent, asked)
        run()
        taken = nanoseconds({"floor": _floor(asked), "check": run}, clock=thread_time_ns)
        per = taken["check"] / CALLS
        ratio = taken["check"] / taken["floor"]
        yield Figure(f"warm check of {name} / dict[c][f] >= 1", ratio, bound, note=f"{per:.0f} ns")


def _threads(ent: Entitlements) -> Iterator[Figure]:
    run = _checks(ent, _asked(FEATURES))
    run()

    def one() -> None:
        run()
        run()

    def two() -> None:
        threads = [threading.Thread(target=run) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    taken = nanoseconds({"one": one, "two": two})
    yield Figure("checks by two threads / by one", taken["one"] / taken["two"], 0.9, at_least=True)


def _cold() -> Iterator[Figure]:
    """Measure snapshots of customers of whom nothing is remembered, each with an anchor and a limit of its own.

    They hold the same plans and add-ons, as customers of one catalog do, and what those come to is worked
    out once. The note tells what is not in the bound: drawing each decision, and being the first to hold them.
    """
    customers = CUSTOMERS[:BUYERS]
    listed = [sources(number) for number in range(BUYERS)]
    sold = catalog()
    with Entitlements(sold, storage="memory:", clock=lambda: NOW) as ent:
        for number, customer in enumerate(customers):
            equip(ent, customer, number)

        def merge() -> None:
            for own in listed:
                _merged(own)

        def snapshot() -> None:
            for customer in customers:
                ent.snapshot(customer)

        def drawn() -> None:
            for customer in customers:
                list(ent.snapshot(customer).features.values())

        def first() -> None:
            for customer in customers:
                sold.combinations.clear()
                ent.snapshot(customer)

        bounded = nanoseconds({"merge": merge, "snapshot": snapshot}, rounds=25, clock=thread_time_ns)
        told = nanoseconds({"merge": merge, "drawn": drawn, "first": first}, clock=thread_time_ns)
    ratios = [told[name] / told["merge"] for name in ("drawn", "first")]
    note = (
        f"{bounded['snapshot'] / BUYERS / 1000:.0f} us; with every decision drawn {ratios[0]:.0f}, "
        f"where nobody yet holds the same plans and add-ons {ratios[1]:.0f}"
    )
    ratio = bounded["snapshot"] / bounded["merge"]
    yield Figure("cold snapshot, 50 features of 8 sources / flat merge", ratio, 4, note=note)


def _merged(listed: list[dict[str, int]]) -> dict[str, int]:
    """Return the largest of the same 168 numbers for each of the 50 features: less than resolving, which also adds."""
    merged: dict[str, int] = {}
    for source in listed:
        for feature, amount in source.items():
            if amount > merged.get(feature, -1):
                merged[feature] = amount
    return merged
