"""The hash chain of a log: each batch is sealed over the one before.

A preimage holds every field of a record in one fixed order: a text with its length before it, a
number with a semicolon after it, nothing as a dash, so that no two records share one. What is
personal stands in the texts as a salted digest: after an erasure the chain still verifies.
"""

from __future__ import annotations

import hashlib

from .entries import Batch
from .records import Line, Record, recorded


def chain(batch: Batch, previous: str) -> tuple[Batch, Record]:
    """Return a batch with the hash it has after the batch with hash `previous`, and its record."""
    record = recorded(batch)
    digest = chained(record, previous)
    salt = batch.salt if record.secrets else ""
    told = (batch.customer, batch.key, batch.number, batch.at, batch.request, batch.result, batch.entries)
    return Batch(*told, digest, salt), Record._make((*record[:8], digest, *record[9:]))


def chained(record: Record, previous: str) -> str:
    """Return the hash of a record that follows the one with hash `previous`."""
    customer, number, key, at, _, _, request, result, _, lines = record[:10]
    told = (
        f"{len(previous)}:{previous}{len(customer)}:{customer}{number};{len(key)}:{key}{at};"
        f"{len(request)}:{request}{len(result)}:{result}{len(lines)};"
    )
    return hashlib.sha256("".join([told, *map(_told, lines)]).encode("utf-8")).hexdigest()


def _told(line: Line) -> str:
    seq, batch, kind, at, subject, counter, window, amount, data, block = line
    begins = "-" if window is None else window
    told = "-;" if data is None else f"{len(data)}:{data}"
    return (
        f"{seq};{batch};{len(kind)}:{kind}{at};{len(subject)}:{subject}{len(counter)}:{counter}"
        f"{begins};{amount};{told}{len(block)}:{block}"
    )
