"""Rows of a report as aligned text, and as CSV that a spreadsheet reads as it is."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from typing import Final

_FORMULA: Final = ("=", "+", "-", "@")
Cell = str | Decimal | int | None


class _Lines(list[str]):
    def write(self, line: str) -> None:
        self.append(line)


def table(rows: Sequence[Sequence[str]], right: Collection[int] = (), *, indent: int = 2) -> list[str]:
    """Return rows as lines with aligned columns, those numbered in `right` to the right."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))] if rows else []
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(f"{'':{indent}}{'  '.join(cells)}".rstrip())
    return lines


def to_csv(rows: Iterable[Sequence[Cell]]) -> str:
    """Return rows as CSV: amounts as plain decimals, and no text that a spreadsheet takes for a formula.

    A text that begins with one of = + - @ gets an apostrophe before it.
    """
    lines = _Lines()
    csv.writer(lines, lineterminator="\n").writerows([_plainly(cell) for cell in row] for row in rows)
    return "".join(lines)


def _plainly(cell: Cell) -> str:
    if isinstance(cell, str):
        return f"'{cell}" if cell.startswith(_FORMULA) else cell
    if cell is None:
        return ""
    return f"{cell:f}" if isinstance(cell, Decimal) else str(cell)
