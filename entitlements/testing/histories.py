"""Logs to test a storage with: entries of every kind, batches of them, and histories drawn at random."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, cast

import attrs

from ..amounts import MAX_UNITS, UNLIMITED
from ..catalog.model import Entitlement, Limit, Period, PlanCredit, Rollover
from ..ledger.blocks import Block, HeldBudget, OpenHold, Purpose
from ..ledger.budgets import Budget
from ..ledger.chain import chain
from ..ledger.entries import EPOCH, NOTHING, Batch, CounterKey, Entry, Verdict, numbered
from ..ledger.facts import Fact, HeldAddOn, Override, PromotionRun, Subscription, Trial
from ..ledger.plan_grants import PlanGrant
from ..ledger.state import FACT_KINDS, Head, State, counted
from ..storage.base import Call, Reads, Storage

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

START: Final = datetime(2026, 1, 31, 23, 59, 59, 999_999, tzinfo=UTC)
CALLS: Final[CounterKey] = ("calls", START)
STRANGE_IDS: Final = ("é", "e\u0301", "a:b", "a", "A", "0", "None", "a ", "'; --", "%", "\u2028", "😀", "x" * 255)
"""Ids that some storage somewhere has taken for one another, or for something else."""

_VALUES: Final = (True, False, 0, 10, Decimal("0.10"), Decimal(2), "", "text", "10", (), ("a", "b"), None)
_BOUNDS: Final = (0, 1, MAX_UNITS, UNLIMITED)


def used(amount: int = 1, counter: CounterKey = CALLS, *, kind: str = "used") -> Entry:
    """Return a line of usage."""
    name, window = counter
    return Entry(kind, START, name, name, window, amount)


def fact(kind: str, *facts: Fact | Budget, at: datetime = START) -> Entry:
    """Return a line after which exactly these facts hold for their key."""
    return Entry(kind, at, facts[0].key, data={"facts": facts})


def batch_of(
    state: State,
    customer: str,
    key: str,
    entries: Sequence[Entry],
    *,
    at: datetime = START,
    result: Mapping[str, Any] = NOTHING,
) -> Batch:
    """Return the batch that appends the entries to a log in this state."""
    at = max(at, state.head.at)
    lines = numbered(entries, after=state.head.seq, key=key, at=at)
    return Batch(customer, key, state.head.batches + 1, at, {"key": key}, result, lines)


def sealed_call_of(
    customer: str, key: str, *entries: Entry, told: Mapping[str, Any] = NOTHING, salt: str = "salt"
) -> Call:
    """Return the call that appends the entries as one batch in the hash chain, what is personal sealed.

    `told` is what is asked and what is answered.
    """

    def decide(state: State) -> Verdict[Batch]:
        lines = numbered(entries, after=state.head.seq, key=key, at=max(START, state.head.at))
        salted = state.head.salt or salt
        number, at = state.head.batches + 1, max(START, state.head.at)
        batch, record = chain(Batch(customer, key, number, at, told, told, lines, salt=salted), state.head.hash)
        return Verdict(batch, batch, record)

    return Call(customer, key, reads_of(entries), decide)


def append_sealed(
    storage: Storage, customer: str, key: str, *entries: Entry, told: Mapping[str, Any] = NOTHING, salt: str = "salt"
) -> Batch:
    """Append the entries as one batch in the hash chain, what is personal sealed, and return it."""
    call = sealed_call_of(customer, key, *entries, told=told, salt=salt)
    return cast("Batch", storage.transact(customer, key, call.reads, call.decide))


def reads_of(entries: Sequence[Entry]) -> Reads:
    """Return the reads that name every counter the entries touch."""
    names = tuple(counted(entries))
    return lambda _: names


def call_of(customer: str, key: str, *entries: Entry, at: datetime = START) -> Call:
    """Return the call that appends the entries as one batch and comes to it, or to the batch the key has already."""

    def decide(state: State) -> Verdict[Batch]:
        if state.prior is not None:
            return Verdict(state.prior)
        batch = batch_of(state, customer, key, entries, at=at)
        return Verdict(batch, batch)

    return Call(customer, key, reads_of(entries), decide)


def append(storage: Storage, customer: str, key: str, *entries: Entry, at: datetime = START) -> Batch:
    """Append the entries as one batch and return it; a key that was used before returns its batch."""
    call = call_of(customer, key, *entries, at=at)
    return cast("Batch", storage.transact(customer, key, call.reads, call.decide))


def whole_state(storage: Storage, customer: str, batches: Sequence[Batch]) -> tuple[Head, Mapping[CounterKey, int]]:
    """Return the head and every counter that the batches touch, as the storage keeps them."""
    state = storage.state(customer, reads_of([entry for batch in batches for entry in batch.entries]))
    return state.head, state.counters


def every_kind() -> tuple[Entry, ...]:
    """Return a line of every kind there is, holding every kind of value there is."""
    later, scoped = START + timedelta(days=31), ("calls team:é/user:a%2Fb", EPOCH)
    plan = Subscription("1", "default", "pro", START, later, START, START, "Europe/Berlin", "past_due", "si_1", "v1")
    free = attrs.evolve(plan, id="2", plan="free", since=later, until=None, billing_id=None, version=None)
    return (
        fact("subscribed", plan, free),
        fact("plan_changed", attrs.evolve(plan, product="support", plan="gold")),
        fact("status_set", attrs.evolve(plan, product="support", status="paused")),
        Entry("canceled", START, "support", data={"facts": (), "reason": "é"}),
        fact("trial_started", Trial("max", START, later), Trial("max", later, None, "v2")),
        fact("addon_set", HeldAddOn("seats", 3, START, None)),
        Entry("addon_removed", later, "seats", data={"facts": ()}),
        fact("promoted", PromotionRun("summer", START, later)),
        *(fact("overridden", override) for override in _overrides()),
        Entry("override_removed", START, "grant:feature-1", data={"facts": ()}),
        used(MAX_UNITS), used(-MAX_UNITS, kind="freed"), used(2, scoped, kind="recorded"),
        used(-1, scoped, kind="usage_reset"),
        Entry("opened", START, "calls", "calls first_use", START + timedelta(microseconds=1)),
        Entry("catalog_kept", START, "v1", data={"document": {"plans": [1, None, True, "1.0", {"é": []}]}}),
        Entry("fixed", START, "calls", data={"scale": 2}),
        Entry("catalog_published", START, "published", data={"version": "v1"}),
        fact("budget_set", _budget("b", START), attrs.evolve(_budget("b", later), scope=(), feature="calls")),
        Entry("budget_removed", later, "b", data={"facts": ()}),
        used(3, ("b", START), kind="budgeted"), used(2, ("b", START), kind="budget_held"),
        used(-1, ("b", START), kind="budget_released"), used(-1, ("b", START), kind="budget_refunded"),
        Entry("priced", START, "calls", amount=3, data={"credit": "ai", "parts": [[None, "2", "1.50"]]}),
    )  # fmt: skip


def credit_kinds() -> tuple[Entry, ...]:
    """Return lines of every kind that credits have, in an order in which the books bear them."""
    later, team = START + timedelta(days=31), (("team", "é"), ("user", "a/b"))
    large = (("model", "large"),)
    paid = Block("paid", "ai", 2, 1000, 1000, 0, "paid", 10, Decimal("9.00"), START, later, None, team, number=1)
    free = attrs.evolve(paid, id="free", category="promotional", cost_basis=None, expires_at=None, scope=None)
    told = attrs.evolve(free, id="told", units=5, free_units=5, features=("calls",), metadata={"note": ["é", 1, None]})
    hold = OpenHold("hold", "ai", 30, Purpose("calls", team), later, "refuse", (("paid", 30),), (("calls", START, 2),))
    usage = attrs.evolve(
        hold,
        id="usage",
        usage=True,
        budgets=(HeldBudget("b", START, 30, "credit"),),
        dimensions=large,
        promised=(("ai", 5),),
    )
    rollover = Rollover(250, Decimal("0.5"), timedelta(days=45, microseconds=1), 2)
    terms = PlanCredit(500, "month", 2, "promotional", 40, Decimal("9.00"), rollover, "prorate", "convert")
    grant = PlanGrant("app-1", "pro", "ai", 2, START, later, terms, START, "Europe/Berlin", changed=True, left=True)
    plan = attrs.evolve(free, id="$plan:pro/ai@1", source="plan:pro", expires_at=later, rollover=rollover)
    owed, named = {"purpose": Purpose(None, team)}, {"hold": "hold"}
    return (
        *(Entry("granted", START, "ai", amount=b.units, block=b.id, data={"block": b}) for b in (paid, free, told)),
        Entry("burned", START, "ai", amount=100, block="paid"),
        Entry("refunded", START, "ai", amount=40, block="paid"),
        Entry("reserved", START, "ai", data={"hold": hold}),
        Entry("held", START, "ai", amount=30, block="paid", data=named),
        Entry("settled", START, "ai", amount=10, block="paid", data=named),
        Entry("released", START, "ai", amount=20, block="paid", data=named),
        Entry("hold_closed", START, "ai", data={**named, "state": "settled"}),
        Entry("reserved", START, "ai", data={"hold": attrs.evolve(hold, id="open")}),
        Entry("overdrawn", START, "ai", amount=70, data={**owed, "order": ["category", "granted"]}),
        Entry("repaid", START, "ai", amount=20, block="free", data=owed),
        Entry("forgiven", START, "ai", amount=20, data=owed),
        Entry("expired", later, "ai", amount=7, block="paid"),
        Entry("burned", START, "ai", amount=5, block="told"),
        Entry("reopened", START, "ai", block="told", data={"block": attrs.evolve(told, free_units=0)}),
        Entry("refunded", START, "ai", amount=5, block="told"),
        Entry("voided", START, "ai", amount=5, block="told"),
        Entry("nothing", START, "ai"),
        Entry("reserved", START, "calls", data={"hold": usage}),
        Entry(
            "plan_credits_set",
            START,
            "ai",
            data={"source": "app-1/ai", "rows": (grant, attrs.evolve(grant, until=None, paused=True))},
        ),
        Entry("granted", START, "ai", amount=plan.units, block=plan.id, data={"block": plan}),
        Entry("rolled", later, "ai", amount=3, block=plan.id, data={"into": "$plan:pro/ai@1+2"}),
        Entry("plan_left", later, "ai", data={"source": "app-1/ai", "forfeits": ["pro", 3]}),
        Entry("plan_left", later + timedelta(days=1), "ai", data={"source": "app-1/ai", "forfeits": ["pro", 5]}),
    )


def personal_kinds() -> tuple[Entry, ...]:
    """Return lines that hold something personal of every sort: a scope, metadata, a reason."""
    return (
        *credit_kinds(),
        fact("overridden", Override(Entitlement("calls", "deny"), START, None, 1, "asked for by é")),
        Entry("used", START, "calls", *CALLS, 2, data={"scope": {"user": "a/b", "team": "é"}}),
    )


def histories(*, batches: int = 8) -> SearchStrategy[list[list[Entry]]]:
    """Return a strategy of histories, each a list of batches' lines, with facts and counters of every kind."""
    from hypothesis import strategies as st  # noqa: PLC0415  (the `testing` extra)

    return st.lists(st.lists(entries(), min_size=1, max_size=4), min_size=1, max_size=batches).map(_never_below_zero)


def entries() -> SearchStrategy[Entry]:
    """Return a strategy of lines that any log may hold: usage, facts of every kind, notes."""
    from hypothesis import strategies as st  # noqa: PLC0415

    return st.one_of(_usage(), _usage(), st.sampled_from(sorted(FACT_KINDS)).flatmap(_facts), _notes())


def _overrides() -> tuple[Override, ...]:
    values = tuple(Entitlement(f"feature-{number}", "grant", value) for number, value in enumerate(_VALUES))
    periods = (Period(), Period("month"), Period("hour", 5, "calendar"), Period("week", 1, "first_use"))
    limits = tuple(Limit(bound, period, "soft", 7) for bound in _BOUNDS for period in periods)
    every = (*values, Entitlement("calls", "set", None, limits), Entitlement("calls", "deny"))
    return tuple(Override(entitlement, START, None, number, "why") for number, entitlement in enumerate(every))


def _usage() -> SearchStrategy[Entry]:
    from hypothesis import strategies as st  # noqa: PLC0415

    names = st.sampled_from([CALLS, ("calls", EPOCH), ("calls team:a", START), ("Calls", START)])
    kinds = st.sampled_from(["used", "recorded", "freed", "usage_reset"])
    return st.builds(lambda amount, name, kind: used(amount, name, kind=kind), st.integers(-9, 9), names, kinds)


def _notes() -> SearchStrategy[Entry]:
    from hypothesis import strategies as st  # noqa: PLC0415

    scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5))
    values = st.one_of(scalars, st.lists(scalars, max_size=2))
    data = st.dictionaries(st.text(max_size=3), values, min_size=1, max_size=2)
    ids = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=3)
    kept = st.builds(lambda subject, data: Entry("catalog_kept", START, subject, data=data), ids, data)
    opened = st.builds(lambda at: Entry("opened", START, "calls", "calls", at), _instants())
    return st.one_of(kept, opened)


def _facts(kind: str) -> SearchStrategy[Entry]:
    from hypothesis import strategies as st  # noqa: PLC0415

    @st.composite
    def entry(draw: DrawFn) -> Entry:
        since = draw(_instants())
        made = _MAKE[FACT_KINDS[kind]](draw(st.sampled_from(["a", "b", "é"])), since)
        until = draw(st.one_of(st.none(), _instants().filter(lambda instant: instant > since)))
        kept = (attrs.evolve(made, until=until),) if draw(st.booleans()) else ()
        return Entry(kind, since, made.key, data={"facts": kept})

    return entry()


def _instants() -> SearchStrategy[datetime]:
    from hypothesis import strategies as st  # noqa: PLC0415

    return st.integers(-60, 60).map(lambda days: START + timedelta(days=days, microseconds=days))


def _never_below_zero(history: list[list[Entry]]) -> list[list[Entry]]:
    amounts: dict[tuple[str, datetime | None], int] = {}

    def bounded(entry: Entry) -> Entry:
        name = (entry.counter, entry.window)
        amount = max(entry.amount, -amounts.get(name, 0))
        amounts[name] = amounts.get(name, 0) + amount
        return attrs.evolve(entry, amount=amount)

    return [[bounded(entry) for entry in entries] for entries in history]


def _budget(name: str, since: datetime) -> Budget:
    period = Period("month", 2, "calendar")
    scope = (("team", name), ("user", "é"))
    return Budget(
        name, scope, None, "ai", (("model", "b"),), 10, 2, since, None, period, START, "Europe/Berlin", "notify"
    )


_MAKE: Final[Mapping[str, Callable[[str, datetime], Any]]] = {
    "subscriptions": lambda name, since: Subscription(name, name, "pro", since, None, since, since),
    "trials": lambda name, since: Trial(name, since, None),
    "addons": lambda name, since: HeldAddOn(name, 2, since, None),
    "promotions": lambda name, since: PromotionRun(name, since, None),
    "overrides": lambda name, since: Override(Entitlement(name, "grant", Decimal("1.50")), since, None, 1, name),
    "budgets": _budget,
}
