"""Measure everything and say which bounds hold: `make bench`, or `python -m benchmarks reading`."""

from __future__ import annotations

import importlib
import platform
import sys

SUITES = ("reading", "awaiting", "starting", "remembering", "ledger", "crowd", "postgres")


def main() -> int:
    print(f"Python {platform.python_version()}; ratios within this run; the floor is in the name of each figure")
    missed = 0
    for suite in sys.argv[1:] or SUITES:
        for figure in importlib.import_module(f"benchmarks.{suite}").figures():
            print(figure, flush=True)
            missed += not figure.holds
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
