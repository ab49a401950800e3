"""Whether a log is sound: audited as `verify` does, and read line by line by rules of its own.

The rules are those of the documentation, written without the code that keeps them: sequence and time,
accounts of blocks, holds and debt at every line, and who burned before whom.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any, Final

from ..catalog.model import Catalog
from ..ledger.audit import AHEAD, audit
from ..ledger.blocks import Block, OpenHold, Purpose, ScopePairs
from ..ledger.entries import Batch, Entry
from ..ledger.sealing import SEALED
from ..ledger.state import Head, State, fold
from .modelled import MOST

if TYPE_CHECKING:
    from ..engine import Entitlements

NEVER: Final = datetime.max.replace(tzinfo=UTC)
MOVES: Final[Mapping[str, tuple[str, str]]] = {
    "burned": ("free", "used"), "repaid": ("free", "used"), "refunded": ("used", "free"),
    "held": ("free", "held"), "settled": ("held", "used"), "released": ("held", "free"),
    "expired": ("free", "expired"), "voided": ("free", "voided"),
    "rolled": ("free", "rolled"),
}  # fmt: skip
_OWES: Final[Mapping[str, int]] = {"overdrawn": 1, "repaid": -1, "forgiven": -1}
_DEFAULT: Final = ("priority", "expires_at", "category", "cost_basis", "restricted", "effective_at", "granted")
_POLICIES: Final[Mapping[str, tuple[str, ...]]] = {
    "default": (), "first_in_first_out": ("granted",), "soonest_expiry": ("expires_at",), "plan_first": ("plan",),
}  # fmt: skip
_PAGE: Final = 1000


def assert_sound(ent: Entitlements, customer: str) -> None:
    """Raise AssertionError, with every flaw found, unless a customer's log is sound and all agrees with it.

    The log is audited as `ent.verify` does, save that it may be ahead of the clock, folded again and
    compared with the state that decisions read, and held line by line to the rules of credits: no
    account of a block below zero, what leaves one arrives in another, holds are closed once, debt stays
    within its floor, keys are used once, and nothing burned while a block before it had something left.
    Floors and burn orders are those of the engine's catalog.
    """
    found = flaws(ent, customer)
    if found:
        raise AssertionError("\n  ".join([f"the log of {customer!r} is not sound:", *found]))


def flaws(ent: Entitlements, customer: str) -> list[str]:
    """Return what is wrong with a customer's log, in sentences; empty is sound."""
    with ent._storage.kept(customer) as kept:
        audited = [str(problem) for problem in audit(kept, now=NEVER - AHEAD)]  # a test may well set its clock back
    batches = log_of(ent, customer)
    lines = [line for batch in batches for line in batch.entries]
    reading = Reading(ent.catalog)
    reading.read(batches)
    if not reading.flaws and not audited:
        state = ent._storage.state(customer, lambda _: tuple(fold(batches)[1]))
        reading.compare(batches, state)
    shown = list(entries_of(ent, customer))
    if shown != lines:
        at = next((n for n, (one, other) in enumerate(zip(shown, lines, strict=False), 1) if one != other), None)
        where = f"at entry {at}" if at else f"in number: {len(shown)} and {len(lines)}"
        reading.flaws.append(f"L6: its entries and its batches differ {where}")
    return audited + reading.flaws


def log_of(ent: Entitlements, customer: str) -> list[Batch]:
    """Return all batches of a customer's log."""
    batches: list[Batch] = []
    while page := ent._storage.batches(customer, after=len(batches), limit=_PAGE):
        batches += page
    return batches


def entries_of(ent: Entitlements, customer: str) -> list[Entry]:
    """Return all lines of a customer's log."""
    lines: list[Entry] = []
    while page := ent.entries(customer, after=len(lines), limit=_PAGE):
        lines += page
    return lines


class Reading:
    """One log read from its beginning; what breaks a rule is told in `flaws`, each by the rule's name."""

    def __init__(self, catalog: Catalog) -> None:
        self.flaws: list[str] = []
        self._catalog = catalog
        self._blocks: dict[str, Block] = {}
        self._accounts: dict[str, Counter[str]] = {}
        self._debts: Counter[tuple[str, Any]] = Counter()
        self._void: set[str] = set()
        self._holds: dict[str, tuple[OpenHold, Counter[str]]] = {}
        self._purposes: dict[str, Purpose] = {}
        self._seq = 0

    def read(self, batches: Sequence[Batch]) -> None:
        """Read a whole log."""
        for earlier, batch in pairwise(batches):
            self._need(batch.at >= earlier.at, f"L10: batch {batch.number} lies before the batch it follows")
        for key, times in Counter(batch.key for batch in batches).items():
            self._need(times == 1, f"I1: key {key!r} was booked {times} times")
        for batch in batches:
            for _, these in groupby(batch.entries, key=lambda line: (line.kind, line.subject)):
                lines = list(these)
                for line in lines:
                    self._check_line(line, batch)
                    self._move(line)
                    self._check_bounds(line)
                if lines[0].kind in {"burned", "held"}:
                    self._check_order(lines, batch.request)

    def compare(self, batches: Sequence[Batch], state: State) -> None:
        """Compare what was read with the fold of the log, and both with the state that decisions see (L2, R3)."""
        head, counters = fold(batches)
        self._need(state.head == head, "L2: the state that decisions see is not the fold of the log")
        self._need(dict(state.counters) == counters, "L2: the counters that decisions see are not those of the log")
        for name, amount in counters.items():
            self._need(amount >= 0, f"B1: counter {name[0]!r} has come to {amount}")
        self._compare_blocks(head)
        owed = {key: units for key, units in self._debts.items() if units}
        folded = {key: debt.units for key, debt in head.debts.items()}
        self._need(folded == owed, f"L4: {folded} is owed, the lines come to {owed}")

    def _compare_blocks(self, head: Head) -> None:
        for account in ("free", "held"):
            folded = {name: getattr(block, f"{account}_units") for name, block in head.blocks.items()}
            read = {name: units[account] for name, units in self._accounts.items()}
            said = f"L3: what is {account} of the blocks is {_some(folded)}, the lines come to {_some(read)}"
            self._need(_some(folded) == _some(read), said)
        open_holds = {name: hold for name, (hold, _) in self._holds.items()}
        self._need(
            head.holds == open_holds, f"R1: the open holds are {set(head.holds)}, the lines say {set(open_holds)}"
        )
        pinned = sum((left for _, left in self._holds.values()), Counter[str]())
        held = {name: block.held_units for name, block in head.blocks.items()}
        self._need(_some(held) == _some(pinned), f"R3: {_some(held)} is held, the open holds pin {_some(pinned)}")

    def _need(self, kept: bool, said: str) -> None:
        if not kept and said not in self.flaws:
            self.flaws.append(said)

    def _check_line(self, line: Entry, batch: Batch) -> None:
        """L5, L7, L8, L10: gapless, exact, one sign for each kind, never back in time."""
        self._seq += 1
        here = f"entry {line.seq} ({line.kind})"
        self._need(line.seq == self._seq, f"L5: {here} stands where entry {self._seq} belongs")
        self._need(type(line.amount) is int and -MOST <= line.amount <= MOST, f"L7: {here} moves {line.amount!r}")
        feature = self._catalog.features.get(line.subject)
        falls = line.counter != "" and (feature is None or feature.aggregate == "latest")
        signed = falls or line.kind.startswith(("usage_", "budget_")) or line.kind == "freed"
        self._need(signed or line.amount >= 0, f"L8: {here} moves {line.amount}, against its kind")
        self._need(line.recorded_at == batch.at, f"L10: {here} was not recorded when its batch was")
        self._need(line.key == batch.key, f"L9: {here} names the key {line.key!r}, its batch {batch.key!r}")

    def _move(self, line: Entry) -> None:
        """L1, L9: what leaves one account arrives in another, of a block that was granted before."""
        here = f"entry {line.seq} ({line.kind})"
        if line.kind == "granted":
            block = line.data["block"]
            self._need(line.block not in self._blocks, f"L9: {here} grants block {line.block!r} a second time")
            self._need(line.amount == block.units >= 1, f"L1: {here} grants {line.amount}, its block {block.units}")
            self._blocks[line.block] = block
            self._accounts[line.block] = Counter(free=line.amount)
        elif line.kind == "reserved":
            hold = line.data["hold"]
            self._need(hold.id not in self._purposes, f"R1: {here} opens hold {hold.id!r} a second time")
            self._holds[hold.id] = (hold, Counter(dict(hold.slices)))
            self._purposes[hold.id] = hold.purpose
        elif line.kind == "hold_closed":
            self._close(line.data["hold"], here)
        elif line.kind == "voided":
            self._void.add(line.block)
        if line.kind in MOVES and line.block in self._accounts:
            source, target = MOVES[line.kind]
            self._accounts[line.block][source] -= line.amount
            self._accounts[line.block][target] += line.amount
        if line.kind in {"settled", "released"} and line.data["hold"] in self._holds:
            self._holds[line.data["hold"]][1][line.block] -= line.amount
        if line.kind in _OWES:
            self._debts[line.subject, line.data["purpose"]] += _OWES[line.kind] * line.amount

    def _close(self, name: str, here: str) -> None:
        if name not in self._holds:
            self._need(False, f"R1: {here} closes hold {name!r}, which is not open")
            return
        _, left = self._holds.pop(name)
        self._need(not any(left.values()), f"R3: {here} closes hold {name!r} while {_some(left)} of it is pinned")

    def _check_bounds(self, line: Entry) -> None:
        """L3, B1, B2: no account below zero at any line, the parts are the whole, debt only as far as allowed."""
        here = f"entry {line.seq} ({line.kind})"
        if line.block and line.block not in self._accounts:
            self._need(False, f"L9: {here} moves credits of block {line.block!r}, which was never granted")
        elif line.block:
            accounts = self._accounts[line.block]
            below = {name: units for name, units in accounts.items() if units < 0}
            self._need(not below, f"L3: {here} leaves block {line.block!r} with {below}")
        if line.kind in _OWES:
            owed = self._debts[line.subject, line.data["purpose"]]
            self._need(owed >= 0, f"L4: {here} repays {-owed} more than was owed")
        owing = [line.subject] if line.kind == "overdrawn" else []
        owing += [credit for credit, _ in line.data["hold"].promised] if line.kind == "reserved" else []
        for name in owing:
            self._check_floor(name, here)

    def _check_floor(self, name: str, here: str) -> None:
        credit = self._catalog.credits.get(name)
        if credit is None or credit.floor is None:
            return
        total = sum(units for (owing, _), units in self._debts.items() if owing == name)
        promised = [part for hold, _ in self._holds.values() for part in hold.promised]
        total += sum(units for owing, units in promised if owing == name)
        self._need(total <= credit.floor, f"B2: {here} owes {total} in all, the floor is {credit.floor}")

    def _check_order(self, lines: Sequence[Entry], request: Mapping[str, Any]) -> None:
        """O2, O4: only from usable blocks, and from none while one before it in the order had something left."""
        credit, at, here = self._catalog.credits.get(lines[0].subject), lines[0].at, f"entry {lines[0].seq}"
        purpose = self._purposes.get(request["hold"], Purpose()) if "hold" in request else _purpose(request)
        known = {line.block for line in lines if line.block in self._blocks}
        usable = [
            block
            for name, block in self._blocks.items()
            if block.credit == lines[0].subject
            and name not in self._void
            and block.effective_at <= at < (block.expires_at or NEVER)
            and (block.features is None or purpose.feature in block.features)
            and (_is_sealed(block.scope, purpose.scope) or set(block.scope or ()) <= set(purpose.scope))
        ]
        never = sorted(known - {block.id for block in usable})
        self._need(not never, f"O4: {here} draws on {never}, which nothing may be drawn on at {at.isoformat()}")
        if credit is None:
            return
        # Of a scope that was erased nobody can tell how deep it was, nor whom it contained.
        told = [block for block in usable if not _is_sealed(block.scope, purpose.scope)]
        ordered = sorted(told, key=lambda block: burn_rank(block, credit.burn_order))
        last = max((n for n, block in enumerate(ordered) if block.id in known), default=0)
        passed = [block.id for block in ordered[:last] if self._accounts[block.id]["free"]]
        if passed:
            self.flaws.append(f"O2: {here} draws on {ordered[last].id!r} while something is left in {passed}")


def burn_rank(block: Block, policy: str | tuple[str, ...]) -> tuple[Any, ...]:
    """Return where a block stands in a burn order, as the documentation writes it; its id ends every tie."""
    own = _POLICIES[policy] if isinstance(policy, str) else policy
    ranks = {
        "priority": block.priority,
        "expires_at": block.expires_at or NEVER,
        "category": block.category == "paid",
        "cost_basis": Fraction(block.cost_basis or Decimal(0)) / block.units,
        "restricted": block.features is None and block.scope is None,
        "effective_at": block.effective_at,
        "granted": (block.number, block.effective_at),
        "plan": not block.source.startswith("plan:"),
    }
    keys = (*own, *(key for key in _DEFAULT if key not in own))
    return (-len(block.scope or ()), *(ranks[key] for key in keys), block.id)


def _purpose(request: Mapping[str, Any]) -> Purpose:
    """Return what a request says that its charge is for."""
    return Purpose(request.get("feature"), tuple((request.get("scope") or {}).items()))


def _is_sealed(block: ScopePairs | None, charge: ScopePairs) -> bool:
    """Tell whether a block is bound to a scope, and its scope or that of the charge was erased."""
    return block is not None and block != () and any(kind == SEALED for kind, _ in (*block, *charge))


def _some(units: Mapping[str, int]) -> dict[str, int]:
    """Return what is not zero."""
    return {name: number for name, number in units.items() if number}
