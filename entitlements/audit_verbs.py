"""The verbs that keep a log honest: audit it, name its head, erase what is personal in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .desk import Driven
from .inquiries import head_of, problems
from .ledger.audit import Problem
from .requests import request

if TYPE_CHECKING:
    from .engine import Entitlements


class AuditVerbs(Driven):
    """What `Entitlements` does about its logs as a whole."""

    def verify(self, customer: str | None = None, *, head: str | None = None) -> tuple[Problem, ...]:
        """Audit a customer's log, or the whole storage, and return what is wrong; empty means sound.

        Every batch is hashed and folded again. `head` is what `head()` gave before: with it, a log whose
        end was cut off and one that was rewritten as a whole are found, too. Raises ValueError for a
        head without a customer.
        """
        return self._run(problems(self._desk, customer, head))

    def head(self, customer: str) -> str:
        """Return the hash of a customer's newest batch, to be saved elsewhere; empty for no log."""
        return self._run(head_of(customer))

    def erase(self, customer: str) -> None:
        """Erase everything personal in a customer's log: scopes, metadata, reasons, whenever written.

        Only digests are left, and their salts are gone; balances, limits and the hash chain stay. When
        this returns no byte of it is left in the storage. Raises UnknownCustomer for no log.
        """
        self._run(self._desk.write(request("erase", customer, None)))


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
