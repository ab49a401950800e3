"""Explanations as one web page: nothing is fetched, nothing runs, and it prints."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from ..reports.explain import Explanation

_STYLE: Final = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #8886; }
section { break-inside: avoid; }
""".strip()


def page(customer: str, explained: Sequence[Explanation]) -> str:
    """Return a whole HTML document; every text in it is escaped."""
    title = f"What {customer} may do"
    sections = "\n".join(explanation.to_html() for explanation in explained)
    version = explained[0].decision.catalog_version if explained else ""
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f"<style>\n{_STYLE}\n</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n{sections}\n"
        f"<footer><p>Catalog {escape(version)}. Times are UTC.</p></footer>\n</body>\n</html>\n"
    )
