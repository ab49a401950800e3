"""Importing and loading, against importing attrs and parsing alone."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from entitlements import Catalog
from entitlements.catalog.loading import load
from entitlements.catalog.writing import to_yaml

from .measuring import Figure, nanoseconds
from .pricing import large

_TIMED = "import time; a = time.perf_counter_ns(); import {name}; print(time.perf_counter_ns() - a)"


def figures() -> Iterator[Figure]:
    floor, ours, engine = _imports("attrs", "entitlements", "entitlements.engine")
    yield Figure("import entitlements / import attrs", ours / floor, 1.6, note=f"first engine: {engine / floor:.1f}")
    yield from _loading()


def _imports(*names: str, rounds: int = 11) -> list[float]:
    taken: dict[str, list[int]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            run = subprocess.run([sys.executable, "-c", _TIMED.format(name=name)], capture_output=True, check=True)
            taken[name].append(int(run.stdout))
    return [statistics.median(taken[name]) for name in names]


def _loading() -> Iterator[Figure]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with TemporaryDirectory() as folder:
        path = Path(folder, "catalog.yaml")
        path.write_text(to_yaml(Catalog.load(large())), encoding="utf-8")
        taken = nanoseconds(
            {
                "parser": lambda: yaml.load(path.read_text(encoding="utf-8"), Loader=loader),
                "ours": lambda: load(path),
            }
        )
        note = f"{path.stat().st_size / 1000:.0f} kB"
    yield Figure("loading a YAML catalog / yaml.load of it (in C)", taken["ours"] / taken["parser"], 2, note=note)
