"""Instants as integers of microseconds since 1970 in UTC, and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from .entries import EPOCH

_MICROSECOND = timedelta(microseconds=1)


def from_instant(at: datetime) -> int:
    """Return an aware instant as microseconds since 1970."""
    return _micros(at) if at.tzinfo is UTC else (at - EPOCH) // _MICROSECOND


@lru_cache(maxsize=1024)
def _micros(at: datetime) -> int:
    """Return the microseconds of an instant that is in UTC: elsewhere one hour may stand for two of them."""
    return (at - EPOCH) // _MICROSECOND


def to_instant(micros: int) -> datetime:
    """Return microseconds since 1970 as an instant in UTC."""
    return EPOCH + timedelta(microseconds=micros)


def from_end(at: datetime | None) -> int | None:
    """Return an end as microseconds since 1970, None for no end."""
    return None if at is None else from_instant(at)


def to_end(micros: int | None) -> datetime | None:
    """Return an end from microseconds since 1970, None for no end."""
    return None if micros is None else to_instant(micros)
