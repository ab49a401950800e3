"""How the machine does one thing on an engine, and tells what came of it as the model tells it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import attrs

from ..amounts import exact
from ..decisions import Decision
from ..ledger.blocks import Block
from ..ledger.entries import Batch, Entry
from .modelled import Answer, Kind
from .soundness import MOVES

if TYPE_CHECKING:
    from ..engine import Entitlements

BEGINNING: Final = datetime(2026, 3, 10, 12, tzinfo=UTC)
_MOVED: Final = {"granted", "overdrawn", "forgiven", "used", "recorded", "freed", "usage_refunded", *MOVES}


def instant(seconds: int | None) -> datetime | None:
    """Return an instant of the model as the interface takes it."""
    return None if seconds is None else BEGINNING + timedelta(seconds=seconds)


def units_of(number: int | Decimal, scale: int) -> int:
    """Return a number of the interface as smallest units; one that is no such number is an AssertionError."""
    units = Fraction(number) * 10**scale
    if isinstance(number, float) or units.denominator != 1:
        raise AssertionError(f"{number!r} is no exact number at scale {scale}")
    return int(units)


def spelled(units: int, scale: int) -> int | str | Decimal:
    """Return units as a caller writes them: whole numbers, decimals, or exact strings."""
    amount = exact(units, scale)
    if amount == int(amount):
        return int(amount)
    return str(amount) if units % 2 else amount


def told_apart(answer: Answer) -> Answer:
    """Return what both sides tell of an answer; a block does not say that it was replayed."""
    hidden = {"written", "replayed"} if "block" in answer else {"written"}
    return {name: value for name, value in answer.items() if name not in hidden}


def shown(decision: Decision, scale: int) -> Answer:
    """Return a decision as the model tells it."""
    told: Answer = {"allowed": decision.allowed, "code": decision.code}
    receipt = decision.receipt
    if decision.code.startswith("unknown"):
        return {**told, "replayed": False}
    numbers = {name: getattr(decision, name) for name in ("requested", "limit", "used", "overage")}
    told |= {name: None if number is None else units_of(number, scale) for name, number in numbers.items()}
    if receipt is None:
        return {**told, "replayed": False}
    after = None if receipt.balance_after is None else units_of(receipt.balance_after, scale)
    burned = {block: units_of(amount, scale) for block, amount in receipt.burned.items()}
    told |= {"burned": burned, "balance_after": after, "booked": units_of(receipt.booked, scale)}
    return {**told, "late": receipt.late, "replayed": receipt.replayed}


def shown_block(block: Block) -> Answer:
    """Return a block as the model tells it."""
    return {"block": (block.id, block.units, block.free_units, block.held_units)}


def undrawn(line: Entry) -> Entry:
    """Return a line without the key, where the engine drew that by chance."""
    return attrs.evolve(line, key="") if len(line.key) == 32 else line


def moves(batches: Iterable[Batch]) -> list[tuple[Any, ...]]:
    """Return what moved in each batch, as the model tells it."""
    return sorted(
        (batch.number, int((line.at - BEGINNING).total_seconds()), line.kind, line.subject, line.amount, line.block)
        for batch in batches
        for line in batch.entries
        if line.kind in _MOVED
    )


@attrs.frozen
class Doing:
    """Does each verb of the model on an engine; `credit_of` tells of which credit a hold is, or what a key took."""

    engine: Entitlements
    kinds: Mapping[str, Kind]
    credit_of: Callable[[str, str], str]

    def grant(self, customer: str, credit: str, units: int, *, key: str, paid: bool, **told: Any) -> Answer:
        """Grant a block."""
        block = self.engine.grant_credits(
            customer,
            credit,
            spelled(units, self.scale(credit)),
            key=key,
            category="paid" if paid else "promotional",
            expires_at=instant(told["ends"]),
            effective_at=instant(told["begins"]),
            priority=told["priority"],
            cost_basis=told["cost"],
            features=told["features"],
            settle_debt=told["settles"],
        )
        return shown_block(block)

    def consume(self, customer: str, credit: str, units: int, **told: Any) -> Answer:
        """Spend credits."""
        amount = spelled(units, self.scale(credit))
        return shown(self.engine.consume_credits(customer, credit, amount, **told), self.scale(credit))

    def reserve(self, customer: str, credit: str, units: int, *, key: str, **told: Any) -> Answer:
        """Hold credits."""
        hold = self.engine.reserve_credits(customer, credit, spelled(units, self.scale(credit)), key=key, **told)
        if hold.id != key:
            raise AssertionError(f"a hold reserved with key {key!r} has the id {hold.id!r}")
        return shown(hold.decision, self.scale(credit))

    def settle(self, customer: str, hold: str, units: int) -> Answer:
        """Close a hold by what was used."""
        scale = self.scale(self.credit_of(customer, hold))
        return shown(self.engine.settle(customer, hold, spelled(units, scale)), scale)

    def release(self, customer: str, hold: str) -> Answer:
        """Close a hold by giving it back."""
        return shown(self.engine.release(customer, hold), self.scale(self.credit_of(customer, hold)))

    def refund(self, customer: str, named: str, units: int | None, *, key: str) -> Answer:
        """Give back what a batch took."""
        scale = self.scale(self.credit_of(customer, named))
        amount = None if units is None else spelled(units, scale)
        return shown(self.engine.refund(customer, named, amount, key=key), scale)

    def void(self, customer: str, block: str) -> Answer:
        """Take a block back."""
        return shown_block(self.engine.void_block(customer, block))

    def use(self, customer: str, feature: str, units: int, *, key: str, by: str) -> Answer:
        """Count usage of a feature."""
        done: Decision = getattr(self.engine, by)(customer, feature, units, key=key)
        return shown(done, 0)

    def scale(self, credit: str) -> int:
        """Return the scale of a credit, 0 for one there is not."""
        return self.kinds[credit].scale if credit in self.kinds else 0
