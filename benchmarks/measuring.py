"""Contestants measured in turn, A B A B, so that a drifting machine does not favour one."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from time import perf_counter_ns

import attrs

Run = Callable[[], object]


@attrs.frozen
class Figure:
    """What was measured against what, and the most it may come to (`at_least`: the least)."""

    name: str
    ratio: float
    bound: float
    at_least: bool = False
    note: str = ""

    @property
    def holds(self) -> bool:
        return self.ratio >= self.bound if self.at_least else self.ratio <= self.bound

    def __str__(self) -> str:
        verdict = "ok" if self.holds else "MISSED"
        sign = ">=" if self.at_least else "<="
        return f"{self.name:<58} {self.ratio:8.2f}  ({sign} {self.bound:g})  {verdict}  {self.note}"


def nanoseconds(
    contestants: Mapping[str, Run], *, rounds: int = 9, clock: Callable[[], int] = perf_counter_ns
) -> dict[str, float]:
    """Return the median time of one call of each contestant, taken in turn.

    What only computes is best measured by `thread_time_ns`: on a machine that is shared, the longer of
    two runs is interrupted more often, and that is not its cost.
    """
    taken: dict[str, list[int]] = {name: [] for name in contestants}
    for run in contestants.values():
        run()
    for _ in range(rounds):
        for name, run in contestants.items():
            begin = clock()
            run()
            taken[name].append(clock() - begin)
    return {name: statistics.median(times) for name, times in taken.items()}
