"""A small application: reports that a plan limits, and drafts that are paid in credits."""

from __future__ import annotations

from entitlements import Entitlements


class Shop:
    """Writes reports and drafts for customers, as far as they may have them."""

    def __init__(self, ent: Entitlements) -> None:
        self._ent = ent

    def report(self, customer: str, number: int) -> str:
        """Return a report, or why there is none; the same number asked for again is counted once."""
        decision = self._ent.consume(customer, "reports", key=f"report-{number}")
        return f"report {number}" if decision else f"no report: {decision.reason}"

    def draft(self, customer: str, job: str, words: int) -> str:
        """Return a draft, and charge a credit for each ten words that were really written."""
        with self._ent.reserve_credits(customer, "ai", 10, key=job) as hold:
            text = "word " * words
            hold.report(-(-words // 10))
        return text.strip()
