"""The verbs that keep a log honest, awaited: audit it, name its head, erase what is personal in it."""

from __future__ import annotations

from ..inquiries import head_of, problems
from ..ledger.audit import Problem
from ..requests import request
from .driving import Awaiting


class AsyncAuditVerbs(Awaiting):
    """What `AsyncEntitlements` does about its logs as a whole."""

    async def verify(self, customer: str | None = None, *, head: str | None = None) -> tuple[Problem, ...]:
        """Audit a customer's log, or the whole storage, and return what is wrong; empty means sound.

        Every batch is hashed and folded again. `head` is what `head()` gave before: with it, a log whose
        end was cut off and one that was rewritten as a whole are found, too. Raises ValueError for a
        head without a customer.
        """
        return await self._driver.walk(problems(self._desk, customer, head))

    async def head(self, customer: str) -> str:
        """Return the hash of a customer's newest batch, to be saved elsewhere; empty for no log."""
        return await self._driver.read(head_of(customer))

    async def erase(self, customer: str) -> None:
        """Erase everything personal in a customer's log: scopes, metadata, reasons, whenever written.

        Only digests are left, and their salts are gone; balances, limits and the hash chain stay. When
        this returns no byte of it is left in the storage. Raises UnknownCustomer for no log.
        """
        await self._driver.write(self._desk.write(request("erase", customer, None)))
