"""Consuming several things at once: what a caller asks, one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import attrs

from . import requests
from .amounts import Amount
from .catalog.model import Depletion
from .usage import TokenUsage


@attrs.frozen
class Request:
    """One of several usages to consume, with the arguments of `Entitlements.consume`."""

    customer: str
    feature: str
    amount: Amount | Mapping[str, Amount] | TokenUsage = attrs.field(default=1, hash=False)
    key: str | None = attrs.field(default=None, kw_only=True)
    scope: object = attrs.field(default=None, kw_only=True, hash=False)
    dimensions: Mapping[str, str] | None = attrs.field(default=None, kw_only=True, hash=False)
    occurred_at: datetime | None = attrs.field(default=None, kw_only=True)
    depletion: Depletion | None = attrs.field(default=None, kw_only=True)


def checked(asked: Sequence[Request]) -> list[requests.Request]:
    """Return the requests to decide; raises as `consume` does, with a note that says for which of them."""
    if isinstance(asked, str) or not isinstance(asked, Sequence):
        raise TypeError(f"requests is of type {type(asked).__name__}; it is a list of Request")
    return [_checked(number, each) for number, each in enumerate(asked)]


def blamed(error: Exception, number: int) -> Exception:
    """Return the error with a note that says which request it is about."""
    error.add_note(f"this is about requests[{number}]; none of the requests was booked")
    return error


def _checked(number: int, asked: Request) -> requests.Request:
    if not isinstance(asked, Request):
        raise TypeError(f"requests[{number}] is of type {type(asked).__name__}; it is a Request")
    try:
        return requests.request(
            "consume",
            asked.customer,
            asked.key,
            feature=asked.feature,
            amount=asked.amount,
            scope=asked.scope,
            dimensions=asked.dimensions,
            occurred_at=asked.occurred_at,
            depletion=asked.depletion,
        )
    except (TypeError, ValueError) as error:
        raise blamed(error, number) from error.__cause__
