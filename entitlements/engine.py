"""The engine: what a product asks, in process.

    from entitlements import Entitlements

    ent = Entitlements("catalog.yaml")
    ent.subscribe("acme", "pro")
    if ent.check("acme", "exports"): ...

Every verb checks its arguments, becomes a request, and is decided at the desk; nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from . import steps
from .amounts import Amount
from .audit_verbs import AuditVerbs
from .bound import Customer
from .cache import Known
from .catalog.model import Catalog, Depletion, Mode
from .consuming import Request, checked
from .credit_verbs import CreditVerbs
from .decisions import Decision, stands
from .desk import Desk, desk_of
from .inquiries import explanation
from .ledger.entries import Entry
from .ledger.facts import HeldAddOn, Override, PromotionRun, Status, Subscription, Trial
from .requests import identifier, position, request, seconds, text, whole
from .snapshots import Snapshot
from .storage.base import FeedPage, Storage
from .storage.joining import join
from .storage.opening import open_storage
from .telling import Listener
from .usage import TokenUsage
from .usage_verbs import UsageVerbs

if TYPE_CHECKING:
    from .reports.explain import Explanation

_ONE: Amount = 1


class Entitlements(CreditVerbs, UsageVerbs, AuditVerbs):
    """Decides what customers may do and how much of it, and keeps the log of what they did.

    `catalog` is a path (.yaml, .yml, .toml, .json), a mapping, a Catalog, or None for the version published
    in the storage. `storage` is "memory:", "sqlite:///app.db" (by default entitlements.db in the working
    directory) or a Storage. `clock` returns the present as an aware datetime. `cache` is how many customers
    are remembered; `max_stale`, `write_timeout` and `throttle_within` are seconds.

    Raises CatalogError for a catalog that cannot be used, StorageError for a storage that cannot.
    """

    def __init__(
        self,
        catalog: object,
        *,
        storage: str | Storage | None = None,
        clock: Callable[[], datetime] | None = None,
        cache: int = 10_000,
        timeout: float = 0.1,
        write_timeout: float = 5.0,
        max_stale: float = 5.0,
        throttle_within: float = 3600,
    ) -> None:
        desk = desk_of(
            catalog, clock, cache=cache, timeout=timeout, max_stale=max_stale, throttle_within=throttle_within
        )
        patience = seconds(write_timeout, "write_timeout")
        self._stand_on(desk, open_storage(storage, write_timeout=patience), patience)
        try:
            self._run(self._desk.begin())
        except BaseException:
            if self._storage is not storage:
                self._storage.close()
            raise

    def _stand_on(self, desk: Desk, storage: Storage, patience: float) -> None:
        self._desk, self._storage, self._patience = desk, storage, patience
        self._warm: Mapping[str, Known] = desk.cache.warm
        self._fresh, self._now = desk.freshness, desk.clock

    @property
    def catalog(self) -> Catalog:
        """The catalog in use."""
        return self._desk.offering.catalog

    def reload(self) -> Catalog:
        """Read the catalog again now, from where it came; raises CatalogError and keeps the one in use if broken."""
        return self._run(self._desk.reload())

    def publish(self) -> Catalog:
        """Have the catalog in use be the one that engines use which are opened with None, within a second.

        Raises CatalogError where it changes what a first use has fixed.
        """
        return self._run(self._desk.publish())

    def close(self) -> None:
        """Let go of the storage; later calls raise StorageUnavailable."""
        self._desk.close()
        self._storage.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def customer(self, customer: str) -> Customer:
        """Return all verbs bound to one customer."""
        return Customer(self, identifier(customer, "customer"))

    def joined(self, connection: object) -> Entitlements:
        """Return all verbs inside the transaction that is open on a connection of the host's.

        A connection of sqlite3 (begun IMMEDIATE, on the file of this engine) or psycopg (READ COMMITTED), a
        session of SQLAlchemy or Django's connection. What is written there is committed by the host, and
        undone by the host. Raises ValueError outside a transaction, StorageUnavailable
        where the connection is lost.
        """
        from .joined import Joined  # noqa: PLC0415

        return Joined(self._desk, join(connection, self._storage))

    def on(self, event: str, listener: Listener) -> None:
        """Call `listener` with the value of every such event from now on.

        "decision", "denied", "consumed" and "stale" bring the Decision, "threshold" the Alert, "catalog" the
        new Catalog, "clock" what is known of a log ahead of the clock, "checked" a Checked with the seconds
        a check took, "fault" every StorageError. Raises ValueError for an unknown event.
        """
        self._desk.listeners.add(event, listener)
        self._warm = {}  # from now on every check is answered at the desk, which tells of it

    # Facts

    def subscribe(
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
            self._write(
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

    def change_plan(
        self, customer: str, plan: str, *, usage: str = "keep", at: datetime | None = None, key: str | None = None
    ) -> Subscription:
        """Move a customer to another plan of a product they hold; usage is kept, or starts again with "reset".

        Raises UnknownPlan, UnknownCustomer, NotSubscribed.
        """
        return cast("Subscription", self._write("change_plan", customer, key, plan=plan, usage=usage, at=at))

    def cancel(
        self, customer: str, *, product: str | None = None, at: datetime | None = None, key: str | None = None
    ) -> None:
        """End a subscription; `product` may be left out where one is held. Raises UnknownCustomer, NotSubscribed."""
        self._write("cancel", customer, key, product=product, at=at)

    def set_status(
        self,
        customer: str,
        status: Status,
        *,
        product: str | None = None,
        at: datetime | None = None,
        key: str | None = None,
    ) -> Subscription:
        """Make a subscription "active", "past_due" (it still grants) or "paused" (it does not)."""
        return cast("Subscription", self._write("set_status", customer, key, status=status, product=product, at=at))

    def start_trial(
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
        return cast("Trial", self._write("start_trial", customer, key, plan=plan, days=days, ends_at=ends_at, at=at))

    def add_addon(
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
            self._write("add_addon", customer, key, addon=addon, quantity=quantity, ends_at=ends_at, at=at),
        )

    def remove_addon(self, customer: str, addon: str, *, at: datetime | None = None, key: str | None = None) -> None:
        """Give an add-on up. Raises UnknownCustomer, NotSubscribed."""
        self._write("remove_addon", customer, key, addon=addon, at=at)

    def promote(
        self,
        customer: str,
        promotion: str,
        *,
        ends_at: datetime | None = None,
        at: datetime | None = None,
        key: str | None = None,
    ) -> PromotionRun:
        """Run a promotion for a customer; a newer run replaces the older. Raises UnknownPromotion."""
        return cast("PromotionRun", self._write("promote", customer, key, promotion=promotion, ends_at=ends_at, at=at))

    def override(
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
            self._write(
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

    def remove_override(
        self, customer: str, feature: str, *, at: datetime | None = None, key: str | None = None
    ) -> None:
        """Take back every override of a feature. Raises UnknownCustomer, NotSubscribed."""
        self._write("remove_override", customer, key, feature=feature, at=at)

    # Deciding

    def check(
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
            try:
                decision = self._warm[customer].decisions[feature]
            except (KeyError, TypeError):  # not remembered; or unhashable: the request says what it should be
                pass
            else:
                fresh = self._fresh
                if monotonic() < fresh.until:
                    until = decision.valid_until
                    if fresh.is_steady and (until is None or until > fresh.steady_until):
                        return decision
                    if stands(decision, self._now()):
                        return decision
            return self._run(self._desk.learn(request("check", customer, None, feature=feature)))
        told = {"value": value, "scope": scope, "dimensions": dimensions, "at": at}
        asked = request("check", customer, None, feature=feature, requested=requested, **told)
        return self._run(self._desk.look(asked, position(as_of, "as_of")))

    def consume(
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
        return cast("Decision", self._write("consume", customer, key, feature=feature, amount=amount, **told))

    def consume_many(self, requests: Sequence[Request]) -> list[Decision]:
        """Consume several things in one commit, of any customers, in their order; each has its own key and answer.

        A denial stops nothing. What `consume` would raise for one of them, such as IdempotencyConflict,
        is raised with a note that says for which, and then none is booked.
        """
        return self._run(self._desk.write_all(checked(requests)))

    def record(
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
        return cast("Decision", self._write("record", customer, key, feature=feature, amount=amount, **told))

    def explain(
        self, customer: str, feature: str, *, at: datetime | None = None, as_of: int | None = None
    ) -> Explanation:
        """Return the decision with every source that had something to say about it, and how it fared."""
        asked = request("check", customer, None, feature=text(feature, "feature"), at=at)
        return self._run(explanation(self._desk, asked, position(as_of, "as_of")))

    def snapshot(self, customer: str, *, at: datetime | None = None) -> Snapshot:
        """Return every feature and credit of a customer: what a front end reads, JSON-ready, with an etag."""
        return self._run(self._desk.snapshot(request("snapshot", customer, None, at=at)))

    # The log

    def entries(self, customer: str, *, after: int = 0, limit: int = 1000) -> Sequence[Entry]:
        """Return the lines of a customer's log in order, those after a sequence number."""
        customer, after, limit = identifier(customer, "customer"), whole(after, "after"), whole(limit, "limit")
        return self._run(steps.entries(customer, after=after, limit=limit))

    def feed(self, *, after: str | None = None, limit: int = 1000) -> FeedPage:
        """Return the batches of all customers in the order they were committed, those after a cursor."""
        cursor = None if after is None else text(after, "after")
        return self._run(steps.feed(after=cursor, limit=whole(limit, "limit")))

    def _write(self, verb: str, customer: str, key: str | None, **values: Any) -> Any:
        return self._run(self._desk.write(request(verb, customer, key, **values)))
