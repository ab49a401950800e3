"""The state of a customer: the fold of the log, and nothing else.

`Fold` is the whole fold. It never reads a catalog: an entry says everything it does. The head is
small (facts and open windows); counters stand beside it, one for each name and window.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

import attrs

from ..amounts import MAX_UNITS
from ..catalog.model import EMPTY
from ..errors import LogCorrupt
from .blocks import RANK, Block, Debt, OpenHold, Purpose
from .budgets import NO_BUDGETS, Budgets
from .crediting import CREDIT_KINDS, Books, finished
from .entries import EPOCH, Batch, CounterKey, Entry, kinds_of
from .erasure import erased_blocks, erased_budgets, erased_debts, erased_facts, erased_holds
from .facts import NO_FACTS, Facts, current, replace
from .plan_grants import Forfeited, Grants

FOLD_VERSION = 3
NO_COUNTERS: Mapping[CounterKey, int] = MappingProxyType({})

FACT_KINDS: Mapping[str, str] = {
    "subscribed": "subscriptions",
    "plan_changed": "subscriptions",
    "canceled": "subscriptions",
    "status_set": "subscriptions",
    "trial_started": "trials",
    "addon_set": "addons",
    "addon_removed": "addons",
    "promoted": "promotions",
    "overridden": "overrides",
    "override_removed": "overrides",
    "budget_set": "budgets",
    "budget_removed": "budgets",
}
LIMITING = frozenset(kind for kind, section in FACT_KINDS.items() if section != "budgets")
"""Kinds of facts that say what a customer is entitled to."""
HOLDING = frozenset(kind for kind, section in FACT_KINDS.items() if section in {"subscriptions", "trials"})
"""Kinds of facts that say which plans a customer holds."""
_BUDGETING = FACT_KINDS.keys() - LIMITING
USAGE_KINDS = frozenset(
    {"used", "recorded", "freed", "usage_reset", "usage_corrected", "usage_held", "usage_released", "usage_refunded"}
)
BUDGET_KINDS = frozenset({"budgeted", "budget_held", "budget_released", "budget_refunded"})
COUNTER_KINDS = USAGE_KINDS | BUDGET_KINDS | {"refund", "sampled"}
_CATALOG_KINDS = frozenset({"fixed", "catalog_kept", "catalog_published"})
PLAIN_KINDS = frozenset({"opened", "nothing", "erased", "priced", "crossed"}) | _CATALOG_KINDS
_TERM_KINDS = FACT_KINDS.keys() | _CATALOG_KINDS | {"erased"}
NO_BLOCKS: Mapping[str, Block] = MappingProxyType({})
NO_HOLDS: Mapping[str, OpenHold] = MappingProxyType({})
NO_DEBTS: Mapping[tuple[str, Purpose], Debt] = MappingProxyType({})


@attrs.frozen(weakref_slot=False)
class Head:
    """What a customer's log comes to, counters apart.

    `seq` and `batches` count what was folded, `at` is the last recorded instant. `opened` holds the
    start of the latest window of each counter whose windows open at first use. `noted` is what the
    log `$catalog` knows: kept catalog versions, and what the first use of a feature fixed. `blocks`
    stand in the default burn order. `salt` is what seals what is personal since the last erasure.
    """

    seq: int = 0
    batches: int = 0
    at: datetime = EPOCH
    facts: Facts = NO_FACTS
    opened: Mapping[str, datetime] = EMPTY
    noted: Mapping[str, Any] = EMPTY
    blocks: Mapping[str, Block] = NO_BLOCKS
    holds: Mapping[str, OpenHold] = NO_HOLDS
    debts: Mapping[tuple[str, Purpose], Debt] = NO_DEBTS
    budgets: Budgets = NO_BUDGETS
    grants: Mapping[str, Grants] = EMPTY
    granted: Mapping[str, datetime] = EMPTY
    forfeited: Mapping[str, Forfeited] = EMPTY
    hash: str = ""
    salt: str = ""

    @property
    def known(self) -> bool:
        """Whether the log was ever opened."""
        return self.batches > 0


EMPTY_HEAD = Head()


@attrs.frozen
class State:
    """All that a decision may see: the head, the counters it asked for, and the batch of its key if there is one."""

    head: Head = EMPTY_HEAD
    counters: Mapping[CounterKey, int] = NO_COUNTERS
    prior: Batch | None = None


class Fold:
    """Folds one batch after another; `head` is what they came to, and ends the fold.

    `keep_ended` keeps facts that ended long ago too, which only questions about the past need.
    """

    def __init__(self, head: Head = EMPTY_HEAD, *, keep_ended: bool = False) -> None:
        self.seq, self.batches, self.at, self.hash, self.salt = head.seq, head.batches, head.at, head.hash, head.salt
        self._facts, self._opened, self._noted = head.facts, head.opened, head.noted
        self._budgets = head.budgets
        self._stood, self._books = head, None if head.known else books_of(head)
        self._keep_ended = keep_ended

    def add(self, batch: Batch) -> None:
        """Fold one more batch; raises LogCorrupt where it does not follow."""
        self._check_follows(batch)
        self.salt = batch.salt or self.salt
        for entry in batch.entries:
            if entry.kind in CREDIT_KINDS:
                self._post(entry)
            elif entry.kind not in COUNTER_KINDS:
                self._note(entry, batch)
        if self._books is not None:
            self._sweep(self._books, batch.entries)
        self.seq += len(batch.entries)
        self.batches, self.at, self.hash = batch.number, batch.at, batch.hash

    @property
    def head(self) -> Head:
        """What was folded; nothing may be added afterwards."""
        stood, books = self._stood, self._books
        blocks, holds, debts = stood.blocks, stood.holds, stood.debts
        if books is not None:
            blocks, holds, debts = books.blocks, books.holds, books.debts
            blocks = blocks if books.in_order else in_burn_order(blocks.values())
        of_plans = stood if books is None else books
        plans = (of_plans.grants, of_plans.granted, of_plans.forfeited)
        parts = (self._facts, self._opened, self._noted, blocks, holds, debts, self._budgets, *plans)
        return Head(self.seq, self.batches, self.at, *parts, self.hash, self.salt)

    def _check_follows(self, batch: Batch) -> None:
        entries = batch.entries
        seqs = [entry.seq for entry in entries]
        if batch.number != self.batches + 1 or seqs != [*range(self.seq + 1, self.seq + 1 + len(seqs))]:
            raise LogCorrupt(
                f"{batch.customer}: batch {batch.number} with entries {seqs[:1]}…{seqs[-1:]} does not follow "
                f"batch {self.batches} with entry {self.seq}"
            )
        if not entries or batch.at < self.at:
            raise LogCorrupt(f"{batch.customer}: batch {batch.number} is empty or goes back in time")

    def _post(self, entry: Entry) -> None:
        if self._books is None:
            self._books = books_of(self._stood)
        self._books.post(entry)

    def _note(self, entry: Entry, batch: Batch) -> None:
        kind, ended_before = entry.kind, None if self._keep_ended else batch.at
        if FACT_KINDS.get(kind) == "budgets":
            rows = entry.data["facts"]
            self._budgets = self._budgets.replaced(entry.subject, entry.at, rows, ended_before=ended_before)
        elif kind in FACT_KINDS:
            self._facts = _with_fact(self._facts, entry, ended_before)
        elif kind == "opened" and entry.window is not None:
            self._opened = {**self._opened, entry.counter: entry.window}
        elif kind in {"fixed", "catalog_published"}:
            self._noted = {**self._noted, entry.subject: entry.data}
        elif kind == "catalog_kept":
            self._noted = {**self._noted, entry.subject: {"seq": entry.seq}}
        elif kind == "erased":
            self._erase()
        elif kind not in PLAIN_KINDS:
            raise LogCorrupt(f"{batch.customer}: entry {entry.seq} is of unknown kind {kind!r}")

    def _erase(self) -> None:
        books = self._books or books_of(self._stood)
        blocks, holds = erased_blocks(books.blocks, self.salt), erased_holds(books.holds, self.salt)
        debts = erased_debts(books.debts, self.salt)
        self._books = attrs.evolve(books, blocks=blocks, holds=holds, debts=debts, in_order=False)
        self._facts = erased_facts(self._facts, self.salt)
        self._budgets = erased_budgets(self._budgets, self.salt)
        self.salt = ""

    def _sweep(self, books: Books, entries: Iterable[Entry]) -> None:
        for entry in entries:
            if entry.block in books.blocks and finished(books.blocks[entry.block]):
                del books.blocks[entry.block]


def apply(head: Head, batch: Batch, *, keep_ended: bool = False) -> Head:
    """Return the head after one more batch; raises LogCorrupt where it does not follow."""
    fold = Fold(head, keep_ended=keep_ended)
    fold.add(batch)
    return fold.head


def facts_after(facts: Facts, entries: Iterable[Entry]) -> Facts:
    """Return facts as they are with the entries that change them."""
    for entry in entries:
        if FACT_KINDS.get(entry.kind, "budgets") != "budgets":
            facts = _with_fact(facts, entry, None)
    return facts


def is_erasure(batch: Batch) -> bool:
    """Tell whether a batch erases what is personal in its log."""
    return "erased" in kinds_of(batch.entries)


def changes_terms(batch: Batch) -> bool:
    """Tell whether a batch changes what plan features are decided by: facts, what is fixed for all, an erasure."""
    return not _TERM_KINDS.isdisjoint(kinds_of(batch.entries))


def books_of(head: Head) -> Books:
    """Return books of a head's blocks, holds, debts and plan grants, to post entries to.

    A log has no more grants than entries, so what is granted from here on is numbered after all that was.
    """
    credits_ = (dict(head.blocks), dict(head.holds), dict(head.debts))
    return Books(*credits_, True, dict(head.grants), dict(head.granted), head.seq + 1, dict(head.forfeited))


def in_burn_order(blocks: Iterable[Block]) -> dict[str, Block]:
    """Return blocks by id in the default burn order, in which a head keeps them."""
    return {block.id: block for block in sorted(blocks, key=RANK)}


def touched(batch: Batch) -> tuple[set[str], set[str]]:
    """Return the ids of the blocks and of the holds that a batch may change."""
    blocks, holds = set[str](), set[str]()
    for entry in batch.entries:
        if entry.block:
            blocks.add(entry.block)
        if entry.kind == "reserved":
            holds.add(entry.data["hold"].id)
        elif entry.kind == "hold_closed":
            holds.add(entry.data["hold"])
    return blocks, holds


def touched_budgets(batch: Batch) -> set[str]:
    """Return the ids of the budgets that a batch may change."""
    return {entry.subject for entry in batch.entries if entry.kind in _BUDGETING}


def counted(entries: Iterable[Entry]) -> dict[CounterKey, int]:
    """Return what the entries add to each counter."""
    sums: dict[CounterKey, int] = {}
    for entry in entries:
        if entry.window is not None and entry.kind in COUNTER_KINDS:
            counter = (entry.counter, entry.window)
            sums[counter] = sums.get(counter, 0) + entry.amount
    return sums


def add(customer: str, counters: Mapping[CounterKey, int], entries: Iterable[Entry]) -> dict[CounterKey, int]:
    """Return the new values of the counters the entries touch; raises LogCorrupt where one leaves its range."""
    values = {counter: counters.get(counter, 0) + amount for counter, amount in counted(entries).items()}
    for (name, _), value in values.items():
        if not 0 <= value <= MAX_UNITS:
            raise LogCorrupt(f"{customer}: counter {name!r} would become {value}; nothing was written")
    return values


def fold(batches: Iterable[Batch], *, keep_ended: bool = False) -> tuple[Head, dict[CounterKey, int]]:
    """Return head and counters of a whole log from its batches in order."""
    folding, counters = Fold(keep_ended=keep_ended), dict[CounterKey, int]()
    for batch in batches:
        folding.add(batch)
        counters.update(add(batch.customer, counters, batch.entries))
    return folding.head, counters


def _with_fact(facts: Facts, entry: Entry, ended_before: datetime | None) -> Facts:
    section = FACT_KINDS[entry.kind]
    held = replace(getattr(facts, section), entry.subject, entry.at, entry.data["facts"])
    if ended_before is not None:
        held = current(held, ended_before)
    return attrs.evolve(facts, **{section: held})
