"""The verbs that keep a log honest: audit it, name its head, erase what is personal in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .desk import CATALOG_LOG, Desk
from .ledger.audit import Problem, audit
from .requests import identifier, request, text

if TYPE_CHECKING:
    from .engine import Entitlements


class AuditVerbs:
    """What `Entitlements` does about its logs as a whole."""

    _desk: Desk

    def verify(self, customer: str | None = None, *, head: str | None = None) -> tuple[Problem, ...]:
        """Audit a customer's log, or the whole storage, and return what is wrong; empty means sound.

        Every batch is hashed and folded again. `head` is what `head()` gave before: with it, a log whose
        end was cut off and one that was rewritten as a whole are found, too. Raises ValueError for a
        head without a customer.
        """
        if customer is not None:
            return self._audited(identifier(customer, "customer"), head)
        if head is not None:
            raise ValueError("head= is the head of one log; say whose")
        customers = [CATALOG_LOG, *self._desk.customers()]
        flaws = (Problem("", None, None, flaw) for flaw in self._desk.storage.flaws())
        return (*flaws, *(problem for each in customers for problem in self._audited(each, None)))

    def head(self, customer: str) -> str:
        """Return the hash of a customer's newest batch, to be saved elsewhere; empty for no log."""
        return self._desk.storage.state(identifier(customer, "customer"), lambda _: ()).head.hash

    def erase(self, customer: str) -> None:
        """Erase everything personal in a customer's log: scopes, metadata, reasons, whenever written.

        Only digests are left, and their salts are gone; balances, limits and the hash chain stay. When
        this returns no byte of it is left in the storage. Raises UnknownCustomer for no log.
        """
        self._desk.write(request("erase", customer, None))

    def _audited(self, customer: str, head: str | None) -> tuple[Problem, ...]:
        saved = None if head is None else text(head, "head")
        with self._desk.storage.kept(customer) as kept:
            return audit(kept, now=self._desk.now(), head=saved)


class CustomerAudit:
    """What a bound customer does about its log; each verb does what the engine's verb of that name does."""

    __slots__ = ()
    _engine: Entitlements
    id: str

    def verify(self, *, head: str | None = None) -> tuple[Problem, ...]:
        """Audit the log and return what is wrong; empty means sound."""
        return self._engine.verify(self.id, head=head)

    def head(self) -> str:
        """Return the hash of the newest batch, to be saved elsewhere; empty for no log."""
        return self._engine.head(self.id)

    def erase(self) -> None:
        """Erase everything personal in the log: scopes, metadata, reasons, whenever written."""
        self._engine.erase(self.id)
