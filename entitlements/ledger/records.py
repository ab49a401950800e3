"""Records: batches as a storage keeps them, in the very texts that the hash chain covers.

A batch becomes a record once, when it is written, and its texts are never written anew: what is
hashed later is what was stored, not what another version would make of it. What is personal is
sealed in the texts and stands beside them as secrets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final, NamedTuple

import attrs

from .encoding import decode_data, encode_data
from .entries import NOTHING, Batch, CounterKey, Entry
from .instants import from_instant, to_instant
from .sealing import MARK, Seal, Secret, digests_in, opened_value, salt_of
from .state import Head

NO_SECRETS: Final[Mapping[str, Secret]] = MappingProxyType({})


class Line(NamedTuple):
    """An entry as it is kept: instants in microseconds since 1970, data as sealed JSON text."""

    seq: int
    batch: int
    kind: str
    at: int
    subject: str
    counter: str
    window: int | None
    amount: int
    data: str | None
    block: str


class Record(NamedTuple):
    """A batch as it is kept: its lines, and request and result as sealed JSON text.

    `secrets` holds what is known of the personal values in the texts, by digest. `position` is where
    it stands among the batches of all customers, where the storage numbers them; it is not hashed.
    """

    customer: str
    number: int
    key: str
    at: int
    first: int
    last: int
    request: str
    result: str
    hash: str
    lines: tuple[Line, ...]
    secrets: Mapping[str, Secret] = NO_SECRETS
    position: int = 0


@attrs.frozen
class Kept:
    """All that a storage keeps of one customer, as of one instant: what an audit reads.

    `head` is None where none is kept; one of another fold is not kept either, `folded_anew`. `records`
    and `counters` are read as they are asked for. `secrets` counts the secrets kept, erased ones too, and
    is None where they are not kept apart. `flaws` says what the storage itself finds wrong.
    """

    customer: str
    head: Head | None
    records: Iterator[Record]
    counters: Iterator[tuple[CounterKey, int]]
    secrets: int | None = None
    flaws: Sequence[str] = ()
    folded_anew: bool = False


def recorded(batch: Batch) -> Record:
    """Return a batch as it is kept, with its hash as it stands."""
    seal, at = Seal(batch.salt, batch.number), from_instant(batch.at)
    told = (seal.text(batch.request), seal.text(batch.result))
    lines = tuple([_line(entry, batch, at, seal) for entry in batch.entries])
    first, last = (lines[0].seq, lines[-1].seq) if lines else (0, 0)
    return Record(batch.customer, batch.number, batch.key, at, first, last, *told, batch.hash, lines, seal.secrets)


def batch_of(record: Record) -> Batch:
    """Return the batch of a record; a secret that is not known stays sealed in it."""
    secrets, at = record.secrets, to_instant(record.at)
    told = (opened_value(record.request, secrets), opened_value(record.result, secrets), entries_in(record, at))
    return Batch(record.customer, record.key, record.number, at, *told, record.hash, salt_of(secrets))


def entries_in(record: Record, at: datetime) -> tuple[Entry, ...]:
    """Return the entries of a record's lines; `at` is the record's own instant."""
    key, micros, secrets = record.key, record.at, record.secrets
    return tuple([entry_of(line, key, micros, at, secrets) for line in record.lines])


def entry_of(line: Line, key: str, micros: int, recorded_at: datetime, secrets: Mapping[str, Secret]) -> Entry:
    """Return the entry of a line of the batch with this key and instant, which is given in both forms."""
    seq, _, kind, counts_at, subject, counter, window, amount, data, block = line
    at = recorded_at if counts_at == micros else to_instant(counts_at)
    kept = NOTHING if data is None else decode_data(kind, opened_value(data, secrets))
    begins = None if window is None else to_instant(window)
    return Entry(kind, at, subject, counter, begins, amount, kept, block, seq, key, recorded_at)


def digests_of(record: Record) -> list[str]:
    """Return the digest of every secret that a record's texts hold, each once."""
    if MARK not in record.request and MARK not in record.result and all(map(_is_plain, record.lines)):
        return []
    texts = (record.request, record.result, *(line.data for line in record.lines))
    return list(dict.fromkeys(digest for text in texts for digest in digests_in(text)))


def _is_plain(line: Line) -> bool:
    return line.data is None or MARK not in line.data


def _line(entry: Entry, batch: Batch, at: int, seal: Seal) -> Line:
    """Return the line of an entry of a batch, whose instant is `at`."""
    return Line(
        entry.seq,
        batch.number,
        entry.kind,
        at if entry.at is batch.at else from_instant(entry.at),
        entry.subject,
        entry.counter,
        None if entry.window is None else from_instant(entry.window),
        entry.amount,
        seal.text(encode_data(entry.kind, entry.data)) if entry.data else None,
        entry.block,
    )
