"""Explanations: a decision with every source behind it, as text, JSON values or HTML."""

from __future__ import annotations

from html import escape
from typing import Any

import attrs

from ..cases import Case
from ..contest import Candidate, candidates
from ..deciding import check
from ..decisions import Allowance, Decision
from ..wording import instant, number

_MARKS = {"won": "+", "added": "+"}


@attrs.frozen
class Explanation:
    """Why a decision is what it is: every candidate, the winners first."""

    decision: Decision
    candidates: tuple[Candidate, ...]

    def __str__(self) -> str:
        lines = [f"{self.decision.feature} for {self.decision.customer}", f"  {self.decision}"]
        lines += [f"  {_allowance_line(allowance)}" for allowance in self.decision.allowances]
        if self.candidates:
            lines.append("  sources:")
            lines += _aligned(self.candidates)
        if self.decision.valid_until is not None:
            lines.append(f"  holds until {instant(self.decision.valid_until)} unless something is changed")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as JSON values."""
        return {
            "decision": self.decision.to_dict(),
            "candidates": [candidate.to_dict() for candidate in self.candidates],
        }

    def to_html(self) -> str:
        """Return the explanation as one HTML section: no scripts, no styles, every text escaped."""
        rows = "".join(
            f"<tr><td>{escape(row.source)}</td><td>{escape(row.says)}</td>"
            f"<td>{escape(row.outcome)}</td><td>{escape(row.why)}</td></tr>"
            for row in self.candidates
        )
        return (
            f"<section><h3>{escape(self.decision.feature)} for {escape(self.decision.customer)}</h3>"
            f"<p>{escape(str(self.decision))}</p>"
            "<table><thead><tr><th>source</th><th>says</th><th>outcome</th><th>why</th></tr></thead>"
            f"<tbody>{rows}</tbody></table></section>"
        )

    def _repr_html_(self) -> str:
        return self.to_html()


def explain(case: Case) -> Explanation:
    """Return the explanation of a case about one feature."""
    decision = check(case)
    feature = case.catalog.features.get(case.value("feature"))
    if feature is None:
        return Explanation(decision, ())
    return Explanation(decision, candidates(case.entitlements, feature, decision.source))


def _allowance_line(allowance: Allowance) -> str:
    several = " and ".join(_allowance_line(limit) for limit in allowance.limits)
    if several:
        return several
    if allowance.source.startswith("credit:"):
        return f"{number(allowance.remaining)} {allowance.source.removeprefix('credit:')} left"
    period = "" if allowance.every == "none" else f" per {allowance.every}"
    resets = "" if allowance.resets_at is None else f", resets {instant(allowance.resets_at)}"
    return f"{number(allowance.used)} of {number(allowance.limit)} used{period}{resets}"


def _aligned(rows: tuple[Candidate, ...]) -> list[str]:
    source = max(len(row.source) for row in rows)
    said = max(len(row.says) for row in rows)
    return [
        f"    {_MARKS.get(row.outcome, '-')} {row.source:<{source}}  {row.says:<{said}}  {row.outcome}: {row.why}"
        for row in rows
    ]
