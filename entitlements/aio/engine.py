"""The engine for asynchronous code: every verb of `Entitlements`, awaited.

    from entitlements import AsyncEntitlements

    async with AsyncEntitlements("catalog.yaml") as ent:
        await ent.subscribe("acme", "pro")
        if await ent.check("acme", "exports"): ...

The steps of every verb are those of the blocking engine; how they are taken is for `driving` to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from .. import steps
from ..amounts import Amount
from ..catalog.model import Catalog, Depletion, Mode
from ..consuming import Request, checked
from ..decisions import Decision
from ..desk import desk_of
from ..inquiries import explanation
from ..ledger.entries import Entry
from ..ledger.facts import HeldAddOn, Override, PromotionRun, Status, Subscription, Trial
from ..requests import identifier, position, request, seconds, text, whole
from ..snapshots import Snapshot
from ..storage.base import AsyncStorage, FeedPage, Storage
from ..storage.joining import join_async
from ..storage.opening import open_async_storage
from ..telling import Listener
from ..usage import TokenUsage
from .audit_verbs import AsyncAuditVerbs
from .bound import AsyncCustomer
from .credit_verbs import AsyncCreditVerbs
from .driving import driver_of
from .usage_verbs import AsyncUsageVerbs

if TYPE_CHECKING:
    from ..reports.explain import Explanation

_ONE: Amount = 1


class AsyncEntitlements(AsyncCreditVerbs, AsyncUsageVerbs, AsyncAuditVerbs):
    """Decides what customers may do and how much of it, and keeps the log of what they did; every verb is awaited.

    Takes the arguments of `Entitlements`; `storage` may be an AsyncStorage, too. With a storage that
    blocks, such as memory and SQLite, a verb that writes or reads the storage takes one hop to a thread
    of the engine's own; an AsyncStorage is awaited itself, and opened by `async with` or the first verb.
    A check that is answered from memory takes neither. Any event loop may use it, one after another.

    Raises CatalogError for a catalog that cannot be used, StorageError for a storage that cannot.
    """

    def __init__(
        self,
        catalog: object,
        *,
        storage: str | Storage | AsyncStorage | None = None,
        clock: Callable[[], datetime] | None = None,
        cache: int = 10_000,
        timeout: float = 0.1,
        write_timeout: float = 5.0,
        max_stale: float = 5.0,
        throttle_within: float = 3600,
    ) -> None:
        patience = seconds(write_timeout, "write_timeout")
        self._desk = desk_of(
            catalog, clock, cache=cache, timeout=timeout, max_stale=max_stale, throttle_within=throttle_within
        )
        self._driver = driver_of(
            open_async_storage(storage, write_timeout=patience),
            write_timeout=patience,
            failed=self._desk.listeners.tell_fault,
        )
        try:
            self._driver.open(self._desk.begin())
        except BaseException:
            if storage is None or isinstance(storage, str):
                self._driver.drop()
            raise
        self._desk.listeners.caller = self._driver.call

    @property
    def catalog(self) -> Catalog:
        """The catalog in use; one that is published stands here once the engine is open."""
        return self._desk.offering.catalog

    async def reload(self) -> Catalog:
        """Read the catalog again now, from where it came; raises CatalogError and keeps the one in use if broken."""
        return await self._driver.read(self._desk.reload())

    async def publish(self) -> Catalog:
        """Have the catalog in use be the one that engines use which are opened with None, within a second.

        Raises CatalogError where it changes what a first use has fixed.
        """
        return await self._driver.write(self._desk.publish())

    async def close(self) -> None:
        """Let go of the storage; later calls raise StorageUnavailable."""
        self._desk.close()
        await self._driver.close()

    async def __aenter__(self) -> Self:
        await self._driver.read(self._desk.begin())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    def customer(self, customer: str) -> AsyncCustomer:
        """Return all verbs bound to one customer."""
        return AsyncCustomer(self, identifier(customer, "customer"))

    def joined(self, connection: object) -> AsyncEntitlements:
        """Return all verbs inside the transaction that is open on a connection of the host's.

        An AsyncConnection of psycopg (READ COMMITTED), an AsyncSession of SQLAlchemy on one, or a connection of
        sqlite3 (begun IMMEDIATE, on the file of this engine), which is used in place. What is written there is
        committed by the host, and undone by the host. Raises ValueError outside a transaction,
        StorageUnavailable where the connection is lost.
        """
        from .joined import AsyncJoined, driver_inside  # noqa: PLC0415

        return AsyncJoined(self._desk, driver_inside(join_async(connection, self._driver.storage)))

    def on(self, event: str, listener: Listener) -> None:
        """Call `listener` with the value of every such event from now on.

        "decision", "denied", "consumed" and "stale" bring the Decision, "threshold" the Alert, "catalog" the
        new Catalog, "clock" what is known of a log ahead of the clock, "checked" a Checked with the seconds
        a check took, "fault" every StorageError. Raises ValueError for an unknown event.
        """
        self._desk.listeners.add(event, listener)

    # Facts

    async def subscribe(
        self,
        customer: str,
        plan: str,
        *,
        anchor: datetime | None = None,
        ends_at: datetime | None = None,
        zone: str = "UTC",
        billing_id: str | None = None,
        at: datetime | None = None,
        key: str | None = None,
    ) -> Subscription:
        """Subscribe a customer to a plan of a product they do not hold yet.

        `anchor` is where usage windows start (by default the subscription does), in the wall-clock
        time of `zone`. Raises UnknownPlan, AlreadySubscribed.
        """
        return cast(
            "Subscription",
            await self._write(
                "subscribe",
                customer,
                key,
                plan=plan,
                anchor=anchor,
                ends_at=ends_at,
                zone=zone,
                billing_id=billing_id,
                at=at,
            ),
        )

    async def change_plan(
        self, customer: str, plan: str, *, usage: str = "keep", at: datetime | None = None, key: str | None = None
    ) -> Subscription:
        """Move a customer to another plan of a product they hold; usage is kept, or starts again with "reset".

        Raises UnknownPlan, UnknownCustomer, NotSubscribed.
        """
        return cast("Subscription", await self._write("change_plan", customer, key, plan=plan, usage=usage, at=at))

    async def cancel(
        self, customer: str, *, product: str | None = None, at: datetime | None = None, key: str | None = None
    ) -> None:
        """End a subscription; `product` may be left out where one is held. Raises UnknownCustomer, NotSubscribed."""
        await self._write("cancel", customer, key, product=product, at=at)

    async def set_status(
        self,
        customer: str,
        status: Status,
        *,
        product: str | None = None,
        at: datetime | None = None,
        key: str | None = None,
    ) -> Subscription:
        """Make a subscription "active", "past_due" (it still grants) or "paused" (it does not)."""
        return cast(
            "Subscription", await self._write("set_status", customer, key, status=status, product=product, at=at)
        )

    async def start_trial(
        self,
        customer: str,
        plan: str,
        *,
        days: int | None = None,
        ends_at: datetime | None = None,
        at: datetime | None = None,
        key: str | None = None,
    ) -> Trial:
        """Lend a customer a plan, for as long as the plan's own terms say unless told otherwise.

        A newer trial of the same plan replaces the older. Raises UnknownPlan, ValueError without an end.
        """
        return cast(
            "Trial", await self._write("start_trial", customer, key, plan=plan, days=days, ends_at=ends_at, at=at)
        )

    async def add_addon(
        self,
        customer: str,
        addon: str,
        *,
        quantity: int = 1,
        ends_at: datetime | None = None,
        at: datetime | None = None,
        key: str | None = None,
    ) -> HeldAddOn:
        """Hold an add-on in a quantity; the same add-on again sets it. Raises UnknownAddOn, AddOnRefused."""
        return cast(
            "HeldAddOn",
            await self._write("add_addon", customer, key, addon=addon, quantity=quantity, ends_at=ends_at, at=at),
        )

    async def remove_addon(
        self, customer: str, addon: str, *, at: datetime | None = None, key: str | None = None
    ) -> None:
        """Give an add-on up. Raises UnknownCustomer, NotSubscribed."""
        await self._write("remove_addon", customer, key, addon=addon, at=at)

    async def promote(
        self,
        customer: str,
        promotion: str,
        *,
        ends_at: datetime | None = None,
        at: datetime | None = None,
        key: str | None = None,
    ) -> PromotionRun:
        """Run a promotion for a customer; a newer run replaces the older. Raises UnknownPromotion."""
        return cast(
            "PromotionRun", await self._write("promote", customer, key, promotion=promotion, ends_at=ends_at, at=at)
        )

    async def override(
        self,
        customer: str,
        feature: str,
        value: object = None,
        *,
        mode: Mode = "set",
        ends_at: datetime | None = None,
        reason: str = "",
        at: datetime | None = None,
        key: str | None = None,
    ) -> Override:
        """Decide one feature for one customer: "set" replaces, "add" adds, "grant" competes, "deny" revokes.

        `value` is written as in the catalog: true or false, a number, "unlimited", a config value, or a
        mapping such as {"limit": 5, "reset": "day"}. Raises UnknownFeature, AmountError, CatalogError.
        """
        return cast(
            "Override",
            await self._write(
                "override",
                customer,
                key,
                feature=feature,
                value=value,
                mode=mode,
                ends_at=ends_at,
                reason=None if reason == "" else reason,
                at=at,
            ),
        )

    async def remove_override(
        self, customer: str, feature: str, *, at: datetime | None = None, key: str | None = None
    ) -> None:
        """Take back every override of a feature. Raises UnknownCustomer, NotSubscribed."""
        await self._write("remove_override", customer, key, feature=feature, at=at)

    # Deciding

    async def check(
        self,
        customer: str,
        feature: str,
        *,
        requested: Amount = _ONE,
        value: object = None,
        scope: object = None,
        dimensions: Mapping[str, str] | None = None,
        at: datetime | None = None,
        as_of: int | None = None,
    ) -> Decision:
        """Return whether a customer may have a feature, `requested` of it, or this `value` of it; never writes.

        `at` asks about another instant with today's knowledge, `as_of` with the knowledge of an entry.
        An unknown customer or feature is a denial; misuse raises TypeError, ValueError or AmountError.
        """
        plain = value is None and scope is None and dimensions is None and at is None and as_of is None
        if plain and requested is _ONE:
            decision = self._desk.remembered(customer, feature)
            if decision is not None:
                return decision
            return await self._driver.read(self._desk.learn(request("check", customer, None, feature=feature)))
        told = {"value": value, "scope": scope, "dimensions": dimensions, "at": at}
        asked = request("check", customer, None, feature=feature, requested=requested, **told)
        return await self._driver.read(self._desk.look(asked, position(as_of, "as_of")))

    async def consume(
        self,
        customer: str,
        feature: str,
        amount: Amount | Mapping[str, Amount] | TokenUsage = 1,
        *,
        key: str | None = None,
        scope: object = None,
        dimensions: Mapping[str, str] | None = None,
        occurred_at: datetime | None = None,
        depletion: Depletion | None = None,
    ) -> Decision:
        """Check and record in one step; a denial records nothing and does not use up its key.

        `depletion` replaces the limit's own for this call. Raises AmountError, ValueError for a
        feature that is not metered, IdempotencyConflict.
        """
        told = {"scope": scope, "dimensions": dimensions, "occurred_at": occurred_at, "depletion": depletion}
        return cast("Decision", await self._write("consume", customer, key, feature=feature, amount=amount, **told))

    async def consume_many(self, requests: Sequence[Request]) -> list[Decision]:
        """Consume several things in one commit, of any customers, in their order; each has its own key and answer.

        A denial stops nothing. What `consume` would raise for one of them, such as IdempotencyConflict,
        is raised with a note that says for which, and then none is booked.
        """
        return await self._driver.write(self._desk.write_all(checked(requests)))

    async def record(
        self,
        customer: str,
        feature: str,
        amount: Amount | Mapping[str, Amount] | TokenUsage = 1,
        *,
        key: str | None = None,
        scope: object = None,
        dimensions: Mapping[str, str] | None = None,
        occurred_at: datetime | None = None,
        depletion: Depletion | None = None,
    ) -> Decision:
        """Record usage that already happened, whatever the limit; `overage` says how much lies beyond it.

        `depletion` replaces that of the credits it costs: what they cannot pay is owed where it is "soft".
        """
        told = {"scope": scope, "dimensions": dimensions, "occurred_at": occurred_at, "depletion": depletion}
        return cast("Decision", await self._write("record", customer, key, feature=feature, amount=amount, **told))

    async def explain(
        self, customer: str, feature: str, *, at: datetime | None = None, as_of: int | None = None
    ) -> Explanation:
        """Return the decision with every source that had something to say about it, and how it fared."""
        asked = request("check", customer, None, feature=text(feature, "feature"), at=at)
        return await self._driver.read(explanation(self._desk, asked, position(as_of, "as_of")))

    async def snapshot(self, customer: str, *, at: datetime | None = None) -> Snapshot:
        """Return every feature and credit of a customer: what a front end reads, JSON-ready, with an etag."""
        return await self._driver.read(self._desk.snapshot(request("snapshot", customer, None, at=at)))

    # The log

    async def entries(self, customer: str, *, after: int = 0, limit: int = 1000) -> Sequence[Entry]:
        """Return the lines of a customer's log in order, those after a sequence number."""
        customer, after, limit = identifier(customer, "customer"), whole(after, "after"), whole(limit, "limit")
        return await self._driver.read(steps.entries(customer, after=after, limit=limit))

    async def feed(self, *, after: str | None = None, limit: int = 1000) -> FeedPage:
        """Return the batches of all customers in the order they were committed, those after a cursor."""
        cursor = None if after is None else text(after, "after")
        return await self._driver.read(steps.feed(after=cursor, limit=whole(limit, "limit")))

    async def _write(self, verb: str, customer: str, key: str | None, **values: Any) -> Any:
        return await self._driver.write(self._desk.write(request(verb, customer, key, **values)))
