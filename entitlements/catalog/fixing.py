"""Fixing: what the first use of a feature or credit fixes for good, whatever a later catalog says."""

from __future__ import annotations

from collections.abc import Mapping

from .model import Catalog


def fixed_by(catalog: Catalog, subject: str) -> Mapping[str, str | int] | None:
    """Return what the first use of `feature:KEY` or `credit:KEY` fixes for good, None for what is not on sale.

    Of a feature that is its type and its scale, of a credit its scale.
    """
    kind, _, key = subject.partition(":")
    if kind == "credit" and key in catalog.credits:
        return {"scale": catalog.credits[key].scale}
    if kind != "feature" or key not in catalog.features:
        return None
    return {"type": catalog.features[key].type, "scale": catalog.features[key].scale}
