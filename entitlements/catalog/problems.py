"""A problem of a catalog: what is wrong, and where."""

from __future__ import annotations

import attrs


@attrs.frozen
class Problem:
    """One thing that is wrong: `message` says what and what to write, the rest says where.

    `path` is dotted ("plans.pro.extends"); `line` and `column` count from 1 and are None where it
    was read from a mapping, or stands nowhere.
    """

    path: str
    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        return " ".join(part for part in (place, f"{self.path}:" if self.path else "", self.message) if part)
