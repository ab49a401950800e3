"""The hash chain of a log: each batch is sealed over the one before.

A preimage is a row of JSON texts, each with its length before it, so that no two batches share one.
What is personal (scopes, metadata, reasons) enters as a salted digest: after an erasure the value
and its salt are gone, the digest stands in their place, and the chain still verifies.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from .encoding import encode_data
from .entries import Batch, Entry
from .instants import from_end, from_instant

SEALED: Final = "$sealed"
PERSONAL: Final = frozenset({"scope", "metadata", "reason"})
_to_text = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


def chained(batch: Batch, previous: str) -> str:
    """Return the hash of a batch that follows the batch with hash `previous`."""
    parts = [
        _to_text([previous, batch.customer, batch.key, batch.number, from_instant(batch.at)]),
        _to_text(sealed(batch.request, batch.salt)),
        _to_text(sealed(batch.result, batch.salt)),
        *(_to_text(sealed(row(entry), batch.salt)) for entry in batch.entries),
    ]
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8")
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()


def row(entry: Entry) -> list[Any]:
    """Return what of an entry is hashed, as JSON values."""
    data = encode_data(entry.kind, entry.data) if entry.data else None
    end = from_end(entry.window)
    at = from_instant(entry.at)
    return [entry.seq, entry.kind, at, entry.subject, entry.counter, end, entry.amount, entry.block, data]


def sealed(value: Any, salt: str) -> Any:
    """Return a JSON value with everything personal in it replaced by its salted digest."""
    if isinstance(value, Mapping):
        return {name: _sealed_field(name, inner, salt) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [sealed(inner, salt) for inner in value]
    return value


def is_sealed(value: Any) -> bool:
    """Tell whether a value is the digest of what was erased, or was sealed for hashing."""
    return isinstance(value, Mapping) and value.keys() == {SEALED}


def _sealed_field(name: str, value: Any, salt: str) -> Any:
    if name not in PERSONAL or is_sealed(value) or value in (None, "", [], {}):
        return sealed(value, salt)
    text = f"{len(salt)}:{salt}{_to_text(value)}"
    return {SEALED: hashlib.sha256(text.encode("utf-8")).hexdigest()}
