"""The contract of a storage, the part about credits, audit, erasure and news of commits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from ..ledger.audit import audit
from ..ledger.blocks import Block, OpenHold, Purpose
from ..ledger.chain import chained
from ..ledger.entries import Entry
from ..ledger.records import batch_of
from ..ledger.state import Head, fold
from ..storage.base import Storage
from .histories import CALLS, START, append, append_sealed, credit_kinds, personal_kinds, used, whole_state
from .proving import refused, same


class AuditContract:
    """What every storage promises about what it keeps beside and beneath the log."""

    def test_blocks_holds_and_debt_come_back_unchanged(self, storage: Storage) -> None:
        """Lines of credits line by line, by threes and all at once: state, log and audit agree after each."""
        kinds = credit_kinds()
        for customer, size in (("one by one", 1), ("by threes", 3), ("at once", len(kinds))):
            for n, lines in enumerate(_in_batches(kinds, size)):
                made = append_sealed(storage, customer, f"k{n}", *lines)
                same(storage.batch(customer, made.key), made)
                self._is_the_fold(storage, customer)
            self._is_sound(storage, customer)
        heads = [storage.state(customer, lambda _: []).head for customer in ("one by one", "at once")]
        same(heads[0].blocks, heads[1].blocks)
        same((heads[0].holds, heads[0].debts), (heads[1].holds, heads[1].debts))
        same((heads[0].grants, heads[0].granted), (heads[1].grants, heads[1].granted))
        left = {"pro/ai": ((3, kinds[-2].at), (5, kinds[-1].at))}
        same((heads[0].forfeited, heads[1].forfeited), (left, left))
        same(list(heads[0].blocks), ["paid", "$plan:pro/ai@1", "told", "free"])

    def test_the_pulse_changes_with_every_commit(self, storage: Storage) -> None:
        """Each batch changes it, whoever wrote it, and `written` says whose logs have grown, and how far."""
        pulses, cursor = [storage.pulse()], storage.written(after=None).cursor
        same(storage.written(after=None).customers, {})
        for n in range(4):
            append(storage, f"c{n % 2}", f"k{n}", *[used()] * (n + 1))
            pulses.append(storage.pulse())
        same(len(set(pulses)), 5)
        grown = storage.written(after=cursor)
        same(grown.customers, {"c0": 4, "c1": 6})
        same(
            (storage.written(after=grown.cursor).customers, storage.written(after=grown.cursor).cursor),
            ({}, grown.cursor),
        )
        with refused(ValueError):
            storage.written(after="no cursor")

    def test_an_audit_sees_everything_as_it_is_kept(self, storage: Storage) -> None:
        """`kept` shows the records in order, with what they are hashed from, every counter, and the stored head."""
        made = [append_sealed(storage, "a", f"k{n}", *lines) for n, lines in enumerate(([used(2)], personal_kinds()))]
        append(storage, "b", "k", used())
        with storage.kept("a") as kept:
            records, counters, head = list(kept.records), dict(kept.counters), kept.head
        same([batch_of(record) for record in records], made)
        hashes = [batch.hash for batch in made]
        same([chained(record, before) for record, before in zip(records, ["", hashes[0]], strict=True)], hashes)
        same((head, counters), fold(made))
        with storage.kept("nobody") as kept:
            same((kept.head, list(kept.records), list(kept.counters)), (None, [], []))
        self._is_sound(storage, "a")
        same(list(storage.flaws()), [])

    def test_an_erasure_leaves_digests_and_a_chain_that_holds(self, storage: Storage) -> None:
        """Nothing personal is in any answer afterwards; the chain, the balances and every number are as before."""
        secret = "wvutsr"  # noqa: S105
        told = {"scope": {"user": secret}, "metadata": {"to": [secret]}, "reason": secret, "amount": "1"}
        hidden = [attrs.evolve(line, data=_named(line.data, secret)) for line in personal_kinds()]
        first = append_sealed(storage, "a", "k1", *hidden, told=told)
        other = append_sealed(storage, "b", "k1", *hidden, told=told)
        before = storage.state("a", lambda _: [CALLS])
        append_sealed(storage, "a", "erase", Entry("erased", START, "a"))
        self._is_sealed(storage, secret)
        same(storage.batch("b", "k1"), other)
        sealed = storage.batch("a", "k1")
        same(sealed is not None and (sealed.hash, sealed.salt), (first.hash, ""))
        after = storage.state("a", lambda _: [CALLS])
        same(after.counters, before.counters)
        same(_units(after.head), _units(before.head))
        later = append_sealed(storage, "a", "k2", *hidden[-1:], told=told, salt="another")
        same(storage.batch("a", "k2"), later)
        append_sealed(storage, "a", "again", Entry("erased", START, "a"))
        self._is_sealed(storage, secret)
        self._is_the_fold(storage, "a")

    def _is_sealed(self, storage: Storage, secret: str) -> None:
        shown = [storage.batches("a"), storage.entries("a"), storage.state("a", lambda _: [])]
        shown += [[batch for batch in storage.feed().batches if batch.customer == "a"]]
        with storage.kept("a") as kept:
            shown += [list(kept.records)]
        same([secret in repr(each) for each in shown], [False] * len(shown))
        self._is_sound(storage, "a")
        self._is_sound(storage, "b")

    def _is_sound(self, storage: Storage, customer: str) -> None:
        with storage.kept(customer) as kept:
            same(audit(kept, now=START), ())

    def _is_the_fold(self, storage: Storage, customer: str) -> None:
        batches = storage.batches(customer)
        same(whole_state(storage, customer, batches), fold(batches))


def _in_batches(lines: Sequence[Entry], size: int) -> Iterator[list[Entry]]:
    """Yield the lines in batches of a size, an empty block never opened again in one and filled in the next."""
    batch: list[Entry] = []
    for line in lines:
        batch.append(line)
        if len(batch) >= size and line.kind != "reopened":
            yield batch
            batch = []
    if batch:
        yield batch


def _named(data: Mapping[str, Any], secret: str) -> dict[str, Any]:
    """Return an entry's data with the secret wherever something personal stands."""
    return {name: _naming(name, value, secret) for name, value in data.items()}


def _naming(name: str, value: Any, secret: str) -> Any:
    if isinstance(value, Block):
        return attrs.evolve(value, scope=value.scope and (("user", secret),), metadata={"for": secret})
    if isinstance(value, OpenHold):
        return attrs.evolve(value, purpose=attrs.evolve(value.purpose, scope=(("user", secret),)))
    if isinstance(value, Purpose):
        return attrs.evolve(value, scope=(("user", secret),))
    if name == "facts":
        return tuple(attrs.evolve(fact, reason=secret) for fact in value)
    return {"user": secret} if name == "scope" else value


def _units(head: Head) -> list[Any]:
    """Return what of a head is numbers."""
    debts = sorted((debt.credit, debt.purpose.feature or "", debt.units) for debt in head.debts.values())
    return [[(block.id, block.free_units, block.held_units) for block in head.blocks.values()], list(head.holds), debts]
