"""A crowd: processes full of threads that all ask for the same thing at the same time."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import datetime
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, Final

import attrs

from ..engine import Entitlements

PROCESSES: Final = 2
THREADS: Final = 4
_PATIENCE: Final = 30.0


@attrs.frozen
class Counts:
    """How often a crowd asked, and what it was told."""

    asked: int
    allowed: int
    denied: int

    @classmethod
    def total(cls, counts: Iterable[Counts]) -> Counts:
        """Return the sum of counts."""
        rows = [attrs.astuple(one) for one in counts]
        return cls(*map(sum, zip(*rows, strict=True)))

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as JSON values."""
        return attrs.asdict(self)


class _Gate:
    barrier: Barrier | None = None


def rush(catalog: Path, database: Path, at: datetime, customer: str, feature: str, each: int) -> list[Counts]:
    """Let every process consume one of a feature `each` times, by all its threads; return each one's counts.

    They wait for each other before the first, and their clocks show `at`.
    """
    spawn = multiprocessing.get_context("spawn")
    gate = spawn.Barrier(PROCESSES)
    with ProcessPoolExecutor(PROCESSES, spawn, _enter, (gate,)) as processes:
        parts = [processes.submit(_ask, catalog, database, at, customer, feature, each) for _ in range(PROCESSES)]
        return [part.result() for part in parts]


def _enter(gate: Barrier) -> None:
    _Gate.barrier = gate


def _ask(catalog: Path, database: Path, at: datetime, customer: str, feature: str, each: int) -> Counts:
    with Entitlements(catalog, storage=f"sqlite:///{database}", clock=lambda: at) as engine:
        if _Gate.barrier is not None:
            _Gate.barrier.wait(_PATIENCE)
        with ThreadPoolExecutor(THREADS) as threads:
            answers = list(threads.map(lambda _: engine.consume(customer, feature), range(each)))
    allowed = sum(answer.allowed for answer in answers)
    return Counts(each, allowed, len(answers) - allowed)
