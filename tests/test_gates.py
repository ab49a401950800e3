"""Gates: what runs only where it may, and is charged once for what it came to."""

import asyncio
import functools
import inspect
import sqlite3
from contextlib import asynccontextmanager, closing, nullcontext
from datetime import UTC, datetime
from decimal import Decimal

import pytest

import entitlements.aio.gating
from entitlements import (
    AsyncEntitlements,
    EntitlementDenied,
    Entitlements,
    IdempotencyConflict,
    KeyUsed,
    NotConfigured,
    UnknownCredit,
    UnknownFeature,
    acting_as,
    aio,
    configure,
    consume_credits,
    consumes,
    consumes_credits,
    current_customer,
    current_hold,
    gating,
    requires_feature,
)
from entitlements.aio.beside import awaited
from entitlements.storage.memory import MemoryStorage
from entitlements.storage.threaded import Threaded
from entitlements.testing import FrozenClock
from entitlements.web.fastapi import Consumes, Requires

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
CATALOG = {
    "features": {
        "exports": {"type": "boolean"},
        "chat": {"type": "metered", "reset": {"every": "day", "align": "calendar"}},
    },
    "credits": {"ai": {"scale": 2}},
    "plans": {"pro": {"entitlements": {"exports": True, "chat": 10}}},
}
FEATURE, USAGE, CREDITS = requires_feature("exports"), consumes("chat", amount=4), consumes_credits("ai", amount=5)


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch):
    for default in (gating._Default, entitlements.aio.gating._Default):
        monkeypatch.setattr(default, "engine", None)
        monkeypatch.setattr(default, "opened", None)


@pytest.fixture
def ent(storage, clock):
    """The default engine, with a customer who has ten messages a day and a hundred credits."""
    with configure(Entitlements(CATALOG, storage=storage, clock=clock, timeout=30)) as ent:
        ent.subscribe("acme", "pro")
        ent.grant_credits("acme", "ai", 100, key="invoice")
        yield ent


@pytest.fixture(params=["blocking", "awaited"])
def either(request, ent):
    """The same engine, as the default of asynchronous code once as it is and once as an AsyncEntitlements."""
    if request.param == "awaited":
        entitlements.aio.gating._Default.engine = awaited(ent)
    return ent


def used(ent, customer="acme"):
    return ent.check(customer, "chat").used


def left(ent):
    return ent.balance("acme", "ai").available


class Failed(Exception):
    pass


# --- functions of every kind, behind a feature


@requires_feature("exports")
def plain(a: int, *, b: str = "") -> tuple:
    """Plain."""
    return a, b


@requires_feature("exports")
async def coroutine(a: int, *, b: str = "") -> tuple:
    return a, b


@requires_feature("exports")
def generator(a: int, *, b: str = ""):
    got = yield a
    return (got, b)


@requires_feature("exports")
async def streaming(a: int, *, b: str = ""):
    try:
        got = yield a
    except Failed:
        got = "caught"
    yield (got, b)


class Called:
    def __call__(self, a, *, b=""):
        return a, b


class CalledAwaited:
    async def __call__(self, a, *, b=""):
        return a, b


def finish(value):
    return asyncio.run(value) if inspect.iscoroutine(value) else value


async def drained(stream):
    return [item async for item in stream]


@pytest.mark.parametrize(
    "function",
    [
        plain,
        coroutine,
        requires_feature("exports")(Called()),
        requires_feature("exports")(CalledAwaited()),
        requires_feature("exports")(functools.partial(plain.__wrapped__)),
        requires_feature("exports")(functools.partial(coroutine.__wrapped__)),
        requires_feature("exports")(plain),
    ],
)
def test_what_is_called_runs_only_where_the_feature_may_be_had(either, function):
    with acting_as("acme"):
        assert finish(function(1, b="x")) == (1, "x")
    with acting_as("other"), pytest.raises(EntitlementDenied) as denied:
        finish(function(1))
    assert denied.value.decision.upgrade == ("plan:pro",)
    with pytest.raises(LookupError, match="no customer"):
        finish(function(1))


def test_a_coroutine_function_stays_one_and_knows_its_gates(ent):
    assert inspect.iscoroutinefunction(coroutine)
    assert inspect.iscoroutinefunction(requires_feature("exports")(CalledAwaited()))
    assert not inspect.iscoroutinefunction(plain)
    assert inspect.signature(coroutine) == inspect.signature(coroutine.__wrapped__)
    nested = consumes("chat")(plain)
    assert [(gate.verb, gate.name) for gate in nested.__entitlements__] == [("consume", "chat"), ("check", "exports")]


def test_a_generator_belongs_to_whoever_called_it_and_is_sent_values(ent):
    with acting_as("acme"):
        started = generator(1, b="x")
    assert next(started) == 1
    with pytest.raises(StopIteration) as end:
        started.send("sent")
    assert end.value.value == ("sent", "x")


def test_what_is_thrown_into_a_held_generator_reaches_it(ent):
    @consumes("chat", amount=4)
    def rows():
        try:
            yield 1
        except Failed:
            current_hold().report(2)
            yield "caught"

    with acting_as("acme"):
        started = rows()
    assert (next(started), started.throw(Failed), list(started)) == (1, "caught", [])
    assert used(ent) == 2


def test_an_async_generator_belongs_to_whoever_called_it_and_is_sent_values(either):
    async def main():
        with acting_as("acme"):
            one, other = streaming(1, b="x"), streaming(2)
        with acting_as("other"):
            denied = streaming(1)
            assert [await anext(one), await one.asend("sent")] == [1, ("sent", "x")]
        assert [await anext(other), await other.athrow(Failed)] == [2, ("caught", "")]
        with pytest.raises(EntitlementDenied):
            await anext(denied)
        with pytest.raises(StopAsyncIteration):
            await anext(one)

    asyncio.run(main())


def test_methods_of_every_kind_are_gated_whichever_way_round(either):
    class Account:
        @requires_feature("exports")
        async def method(self, a):
            return self, a

        @classmethod
        @requires_feature("exports")
        def inside(cls, a):
            return cls, a

        @requires_feature("exports")
        @classmethod
        def outside(cls, a):
            return cls, a

        @requires_feature("exports")
        @staticmethod
        async def static(a):
            return a

    account = Account()
    with acting_as("acme"):
        assert finish(account.method(1)) == (account, 1)
        assert account.inside(2) == Account.outside(2) == (Account, 2)
        assert finish(Account.static(3)) == 3
    with acting_as("other"):
        for call in (account.method, Account.inside, Account.outside, account.static):
            with pytest.raises(EntitlementDenied):
                finish(call(1))


def test_what_is_no_function_is_refused(ent):
    class Account:
        pass

    for thing in (Account, 7, "exports"):
        with pytest.raises(TypeError, match="is no function; decorate a function or a method"):
            requires_feature("exports")(thing)
    for decorator, match in ((consumes, "consumes takes the key of a feature"), (consumes_credits, "key of a credit")):
        with pytest.raises(TypeError, match=match):
            decorator(plain, **({"amount": 1} if decorator is consumes_credits else {}))


def test_a_mistyped_name_is_found_when_the_function_is_decorated(ent):
    with pytest.raises(UnknownFeature, match="did you mean 'chat'"):
        consumes("chatt")
    with pytest.raises(UnknownCredit, match="unknown credit 'ia'"):
        consumes_credits("ia", amount=1)
    with pytest.raises(UnknownFeature):
        consumes_credits("ai", amount=1, feature="chatt")


def test_a_mistyped_name_is_found_with_an_awaited_default_alone():
    async def main():
        async with await aio.configure(CATALOG, storage="memory:"):
            with pytest.raises(UnknownFeature):
                requires_feature("export")

    asyncio.run(main())


# --- reserve before, settle after success, release on failure


def test_usage_is_set_aside_before_and_settled_after(ent):
    seen = []

    @consumes("chat", amount=lambda text: len(text))
    def answer(text):
        seen.append((used(ent), bool(current_hold())))
        return text.upper()

    with acting_as("acme"):
        assert answer("abc") == "ABC"
        assert (seen, used(ent)) == ([(3, True)], 3)
        with pytest.raises(EntitlementDenied) as denied:
            answer("a" * 8)
    assert (denied.value.decision.code, seen, used(ent)) == ("limit_reached", [(3, True)], 3)
    assert current_hold() is None


TOLD_BY_KIND = {
    "features": {"tokens": {"type": "metered"}},
    "credits": {"ai": {"scale": 2}},
    "plans": {"pro": {"entitlements": {"tokens": "unlimited"}}},
    "rates": {"tokens": {"credit": "ai", "when": [{"kind": "input", "price": 1}, {"kind": "output", "price": 3}]}},
}


@pytest.mark.parametrize(("reported", "price"), [(None, 13), ({"input": 2, "output": 1}, 5)])
@pytest.mark.parametrize("kind", ["plain", "coroutine"])
def test_what_is_set_aside_by_kinds_is_settled_by_kinds(either, storage, clock, kind, reported, price):
    with Entitlements(TOLD_BY_KIND, storage=storage, clock=clock) as told:
        told.subscribe("beta", "pro")
        told.grant_credits("beta", "ai", 20, key="g")
        configure(told)
        if isinstance(entitlements.aio.gating._Default.engine, aio.AsyncEntitlements):
            entitlements.aio.gating._Default.engine = awaited(told)

        def work():
            return current_hold().report(reported) if reported else None

        async def working():
            return work()

        gated = consumes("tokens", amount=lambda: {"input": 4, "output": 3}, customer="beta")(
            work if kind == "plain" else working
        )
        finish(gated())
        assert (told.balance("beta", "ai").available, told.balance("beta", "ai").held) == (20 - price, 0)


def test_failure_gives_everything_back_unless_something_was_reported(ent):
    @consumes("chat", amount=4)
    def fails(report):
        if report is not None:
            current_hold().report(report)
        raise Failed

    with acting_as("acme"):
        with pytest.raises(Failed):
            fails(None)
        assert used(ent) == 0
        with pytest.raises(Failed):
            fails(3)
        assert used(ent) == 3


def test_credits_are_settled_for_what_was_reported(ent):
    @consumes_credits("ai", amount="40")
    def work(cost):
        current_hold().report(cost)

    with acting_as("acme"):
        work("25.25")
    assert left(ent) == Decimal("74.75")


def test_a_coroutine_is_charged_when_it_is_done(either):
    ent = either

    @consumes("chat", amount=4)
    async def work(fail):
        await asyncio.sleep(0)
        inside.append(await awaited(ent).check("acme", "chat"))
        if fail:
            raise Failed
        current_hold().report(3)
        return "done"

    inside = []

    async def main():
        with acting_as("acme"):
            with pytest.raises(Failed):
                await work(True)
            assert (await work(False)) == "done"

    asyncio.run(main())
    assert [decision.used for decision in inside] == [4, 4]
    assert used(ent) == 3


def test_a_cancelled_coroutine_gives_everything_back(either):
    async def main():
        started = asyncio.Event()

        @consumes("chat", amount=4)
        async def work():
            started.set()
            await asyncio.Event().wait()

        with acting_as("acme"):
            task = asyncio.create_task(work())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert used(either) == 0


@pytest.mark.parametrize("times", range(12))
def test_a_coroutine_cancelled_at_any_moment_leaves_nothing_held(either, times):
    """Whatever a cancellation meets, reserving, working or settling: all or nothing is charged, and no hold is open."""

    @consumes("chat", amount=4)
    async def work():
        await asyncio.sleep(0)

    async def main():
        with acting_as("acme"):
            task = asyncio.create_task(work())
        for _ in range(times):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        return task.cancelled()

    cancelled = asyncio.run(main())
    assert used(either) in ({0, 4} if cancelled else {4})
    assert open_holds(either) == set()


def open_holds(ent):
    """Return the ids of holds that were opened and not closed."""
    lines = ent.entries("acme")
    opened = {line.key for line in lines if line.kind == "reserved"}
    return opened - {line.key.removeprefix("$close:") for line in lines}


async def work_once():
    raise AssertionError("the work began")


async def stream_once():
    raise AssertionError("the work began")
    yield


@pytest.mark.parametrize(
    "started",
    [
        lambda: USAGE(work_once)(),
        lambda: anext(USAGE(stream_once)()),
        lambda: CREDITS(USAGE(work_once))(),
        lambda: asynccontextmanager(Consumes("chat", amount=4).dependency)(None).__aenter__(),
    ],
)
def test_cancelled_while_it_is_set_aside_it_is_given_back_first(tmp_path, started):
    """Found in review: what was written after the cancellation stayed held until its time was up."""
    path = tmp_path / "app.db"

    async def main():
        with acting_as("acme", engine=ent):
            task = asyncio.ensure_future(started())
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.sleep(0.05)
        other.execute("ROLLBACK")
        with pytest.raises(asyncio.CancelledError):
            await task

    with Entitlements(CATALOG, storage=f"sqlite:///{path}") as ent:
        ent.subscribe("acme", "pro")
        ent.grant_credits("acme", "ai", 100, key="invoice")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            asyncio.run(main())
        assert (used(ent), left(ent), open_holds(ent)) == (0, 100, set())
        assert len(reserved(ent)) == 1


def test_a_generator_holds_from_its_first_step_to_its_last(ent):
    @consumes("chat", amount=4)
    def rows():
        yield used(ent)
        current_hold().report(3)
        yield current_customer()
        return "end"

    with acting_as("acme"):
        started = rows()
    assert used(ent) == 0
    assert next(started) == 4
    assert current_hold() is None
    assert next(started) == "acme"
    assert current_customer() is None
    with pytest.raises(StopIteration, match="end"):
        next(started)
    assert used(ent) == 3


def test_a_generator_left_early_is_charged_what_it_reported(ent):
    @consumes("chat", amount=4)
    def rows(report):
        current_hold().report(report)
        yield 1
        current_hold().report(4)
        yield 2

    with acting_as("acme"):
        started = rows(1)
    next(started)
    started.close()
    assert used(ent) == 1


def test_an_async_generator_holds_from_its_first_step_to_its_last(either):
    ent = either

    @consumes("chat", amount=4)
    async def rows():
        yield 1
        current_hold().report(3)
        yield 2

    async def main():
        with acting_as("acme"):
            whole, early, thrown = rows(), rows(), rows()
        assert await drained(whole) == [1, 2]
        await anext(early)
        await early.aclose()
        await anext(thrown)
        with pytest.raises(Failed):
            await thrown.athrow(Failed)
        assert current_hold() is None

    asyncio.run(main())
    assert used(ent) == 3
    assert open_holds(ent) == set()


def test_a_denied_generator_never_begins(either):
    ran = []

    @consumes("chat", amount=11)
    def rows():
        ran.append(1)
        yield

    @consumes("chat", amount=11)
    async def stream():
        ran.append(1)
        yield

    with acting_as("acme"):
        with pytest.raises(EntitlementDenied):
            next(rows())
        with pytest.raises(EntitlementDenied):
            asyncio.run(drained(stream()))
    assert ran == []


def test_work_that_has_yet_to_be_done_is_not_charged_too_soon(ent):
    async def work(): ...

    @consumes("chat")
    def started():
        return work()

    with acting_as("acme"), pytest.raises(TypeError, match="put the gate on the `async def` itself"):
        started()
    assert used(ent) == 0


def test_nested_gates_each_hold_their_own(ent):
    @consumes_credits("ai", amount=10)
    @consumes("chat", amount=2)
    @requires_feature("exports")
    def work():
        current_hold().report(1)

    with acting_as("acme", key="request-1"):
        work()
    assert (used(ent), left(ent)) == (1, 90)
    with acting_as("acme"), pytest.raises(EntitlementDenied):
        consumes_credits("ai", amount=10)(consumes("chat", amount=10)(plain))(1)
    assert (used(ent), left(ent)) == (1, 90)


def rows_of(ent, log):
    """Return a generator function that fails in the middle."""

    def rows(fail):
        log.append((used(ent), left(ent), current_hold() is not None))
        yield 1
        if fail:
            raise Failed
        yield 2

    return rows


def stream_of(ent, log):
    async def rows(fail):
        log.append((used(ent), left(ent), current_hold() is not None))
        yield 1
        await asyncio.sleep(0)
        if fail:
            raise Failed
        yield 2

    return rows


class Rows:
    """What is called is a gated generator function."""

    def __init__(self, rows):
        self.rows = rows

    @requires_feature("exports")
    def __call__(self, fail):
        yield from self.rows(fail)


NESTED = {
    "usage, feature": lambda rows: USAGE(FEATURE(rows)),
    "feature, usage": lambda rows: FEATURE(USAGE(rows)),
    "usage, credits": lambda rows: USAGE(CREDITS(rows)),
    "credits, feature, usage": lambda rows: CREDITS(FEATURE(USAGE(rows))),
    "credits, partial, usage": lambda rows: CREDITS(functools.partial(USAGE(rows))),
}


@pytest.mark.parametrize("nested", NESTED)
@pytest.mark.parametrize("made", [rows_of, stream_of])
def test_nested_gates_on_a_generator_hold_until_its_last_step(either, nested, made):
    """Found in review: the outer gate took a gated generator for a plain function, and settled before its first step."""
    taken = {"chat": 4 * ("usage" in nested), "ai": 5 * ("credits" in nested)}
    log = []
    rows = NESTED[nested](made(either, log))
    start = list if made is rows_of else (lambda stream: asyncio.run(drained(stream)))
    with acting_as("acme"), pytest.raises(Failed):
        start(rows(True))
    assert log.pop() == (taken["chat"], 100 - taken["ai"], True)
    assert (used(either), left(either), open_holds(either)) == (0, 100, set())
    with acting_as("acme"):
        assert start(rows(False)) == [1, 2]
    assert (used(either), left(either), open_holds(either)) == (taken["chat"], 100 - taken["ai"], set())


@pytest.mark.parametrize("bound", [lambda rows: Rows(rows), lambda rows: Rows(rows).__call__])
def test_a_gate_on_a_gated_method_that_is_a_generator_knows_it_for_one(ent, bound):
    rows = USAGE(bound(rows_of(ent, [])))
    with acting_as("acme"), pytest.raises(Failed):
        list(rows(True))
    assert (used(ent), open_holds(ent)) == (0, set())


def test_nested_gates_on_a_generator_are_for_whoever_called_it(either):
    rows, stream = NESTED["credits, feature, usage"](rows_of(either, [])), CREDITS(USAGE(stream_of(either, [])))
    with acting_as("acme"):
        started, streaming = rows(False), stream(False)
    assert list(started) == asyncio.run(drained(streaming)) == [1, 2]
    assert (used(either), left(either)) == (8, 90)


# --- keys


def reserved(ent):
    return [line.key for line in ent.entries("acme") if line.kind == "reserved"]


@pytest.mark.parametrize("gate", [FEATURE, USAGE], ids=["feature", "usage"])
@pytest.mark.parametrize("elsewhere", [nullcontext, lambda: acting_as("beta")], ids=["nobody", "another"])
def test_every_step_of_a_generator_is_done_for_whom_it_was_called(ent, gate, elsewhere):
    """A response is streamed when its request is over: what it takes meanwhile is not another's."""
    ent.subscribe("beta", "pro")
    nested = consumes("chat")(current_customer)

    @gate
    def stepping():
        yield nested()
        with acting_as("acme", scope="team:x"):
            yield gating.acting().scope
            yield gating.acting().scope
        yield nested()

    with acting_as("acme"):
        begun = stepping()
    seen = []
    for _ in range(4):
        with elsewhere():
            present = gating.acting()
            seen.append(next(begun))
            assert gating.acting() is present
    assert list(begun) == []
    assert seen == ["acme", {"team": "x"}, {"team": "x"}, "acme"]
    assert (used(ent, "beta"), used(ent)) == (0, 2 + 4 * (gate is USAGE))


@pytest.mark.parametrize("gate", [FEATURE, USAGE], ids=["feature", "usage"])
@pytest.mark.parametrize("elsewhere", [nullcontext, lambda: acting_as("beta")], ids=["nobody", "another"])
def test_every_step_of_an_async_generator_is_done_for_whom_it_was_called(either, gate, elsewhere):
    @gate
    async def streaming():
        for _ in range(2):
            await asyncio.sleep(0)
            yield current_customer()

    async def main():
        with acting_as("acme"):
            begun = streaming()
        with elsewhere():
            return [await anext(begun), await anext(begun), await anext(begun, "end"), current_customer()]

    assert asyncio.run(main()) == ["acme", "acme", "end", None if elsewhere is nullcontext else "beta"]


def test_a_generator_called_for_nobody_is_stepped_for_whoever_is_acting(ent):
    """Its customer is named, so that nobody need be acting where it is called."""

    @requires_feature("exports", customer="acme")
    def stepping():
        yield current_customer()
        yield current_customer()

    begun = stepping()
    with acting_as("acme"):
        assert next(begun) == "acme"
    assert next(begun) is None


def test_keys_are_derived_from_that_of_the_request(ent):
    with acting_as("acme", key="request-1"):
        consumes("chat")(plain)(1)
        consumes_credits("ai", amount=1)(plain)(1)
    assert reserved(ent) == ["request-1:consume:chat", "request-1:consume_credits:ai"]


def test_a_request_that_comes_again_is_charged_once(either):
    @consumes("chat", amount=4)
    def work():
        return "done"

    @consumes_credits("ai", amount=4)
    async def awaited():
        return "done"

    for _ in range(3):
        with acting_as("acme", key="request-1"):
            assert (work(), asyncio.run(awaited())) == ("done", "done")
    assert (used(either), left(either)) == (4, 96)
    with acting_as("acme"):
        assert (work(), asyncio.run(awaited())) == ("done", "done")
    assert (used(either), left(either)) == (8, 92)


def test_a_request_that_failed_may_come_again_and_is_charged_once(either):
    """An attempt that failed gave its hold back, which cannot be settled any more."""

    @consumes("chat", amount=4)
    def work(fail):
        assert used(either) == 4
        if fail:
            raise Failed

    for fail in (True, True, False):
        with acting_as("acme", key="request-1"):
            try:
                work(fail)
            except Failed:
                assert used(either) == 0
    assert used(either) == 4
    assert reserved(either) == [f"request-1:consume:chat{number}" for number in ("", ":2", ":3")]
    with acting_as("acme", key="request-1"):
        work(False)
    assert (used(either), len(reserved(either))) == (4, 3)


def test_a_request_that_failed_once_it_had_reported_is_charged_that_and_no_more(either):
    @consumes("chat", amount=4)
    def work(reported, fail):
        current_hold().report(reported)
        if fail:
            raise Failed

    with acting_as("acme", key="request-1"):
        with pytest.raises(Failed):
            work(1, fail=True)
        work(4, fail=False)
    assert (used(either), reserved(either)) == (1, ["request-1:consume:chat"])


def test_work_under_a_clients_key_is_done_once(either):
    """A client chooses its keys: one that always sends the same must not have the work done for nothing."""
    ran = []

    @consumes("chat", amount=4)
    def work(nested):
        ran.append(nested)
        if nested:
            with pytest.raises(KeyUsed) as used:
                work(False)
            assert used.value.state == "under way"

    with acting_as("acme", key="request-1", once=True):
        work(True)
        with pytest.raises(KeyUsed) as used:
            work(False)
    assert used.value.state == "done"
    assert (ran, either.check("acme", "chat").used) == ([True], 4)


def test_a_key_of_the_hosts_own_is_trusted_even_then(ent):
    work = consumes("chat", key="job-1")(plain)
    with acting_as("acme", key="request-1", once=True):
        assert [work(1), work(2)] == [(1, ""), (2, "")]
    assert used(ent) == 1


def test_a_key_that_comes_back_for_something_else_is_a_conflict(ent):
    work = consumes("chat", amount=lambda n: n)(lambda n: n)
    with acting_as("acme", key="request-1"):
        work(1)
        with pytest.raises(IdempotencyConflict, match="amount"):
            work(2)
    assert used(ent) == 1


def test_a_key_may_be_named_or_made_of_the_arguments(ent):
    @consumes("chat", key=lambda job: f"job-{job}")
    def work(job): ...

    with acting_as("acme", key="request-1"):
        for job in (1, 2, 1):
            work(job)
    assert reserved(ent) == ["job-1", "job-2"]


def test_a_long_key_is_digested_and_still_one(ent):
    for _ in range(2):
        with acting_as("acme", key="k" * 255):
            consumes("chat")(plain)(1)
    assert used(ent) == 1
    assert [len(key) for key in reserved(ent)] == [64]


def test_the_scope_that_is_acting_is_booked_too(ent):
    ent.grant_credits("acme", "ai", 5, key="allocation", scope="team:x")
    with acting_as("acme", scope="team:x"):
        consumes_credits("ai", amount=2)(plain)(1)
        consumes_credits("ai", amount=1, scope="team:y")(plain)(1)
    assert {block.id: block.remaining for block in ent.balance("acme", "ai", scope="team:x").blocks} == {
        "allocation": 3,
        "invoice": 99,
    }


# --- engines


def test_credits_are_consumed_for_the_one_acting(ent):
    with acting_as("acme"):
        assert consume_credits("ai", 30, key="job").receipt.balance_after == 70
    assert not consume_credits("ai", 30, key="job", customer="other")


def test_the_engine_that_is_acting_answers_instead_of_the_default(ent):
    mine = Entitlements(CATALOG, storage="memory:")
    mine.subscribe("only", "pro")
    with mine, acting_as("only", engine=mine):
        assert plain(1) == (1, "")
        assert finish(coroutine(1)) == (1, "")
        assert gating.check("exports")
    with acting_as("only"), pytest.raises(EntitlementDenied):
        plain(1)


def test_a_plain_function_may_be_gated_by_an_engine_that_is_awaited():
    async def main():
        async with AsyncEntitlements(CATALOG, storage="memory:", clock=FrozenClock(NOON)) as engine:
            await engine.subscribe("acme", "pro")
            with acting_as("acme", engine=engine):
                assert await asyncio.to_thread(consumes("chat")(plain), 1) == (1, "")
                assert await asyncio.to_thread(plain, 1) == (1, "")
            assert (await engine.check("acme", "chat")).used == 1

    asyncio.run(main())


def test_an_engine_whose_storage_is_awaited_gates_asynchronous_functions_alone(tmp_path):
    async def main():
        async with AsyncEntitlements(CATALOG, storage=Threaded(MemoryStorage())) as engine:
            await engine.subscribe("acme", "pro")
            with acting_as("acme", engine=engine):
                assert await consumes("chat")(coroutine)(1) == (1, "")
                with pytest.raises(NotConfigured, match="gate an async function, or configure an Entitlements"):
                    plain(1)

    asyncio.run(main())


@pytest.mark.parametrize(
    "call",
    [
        lambda: plain(1),
        lambda: coroutine(1),
        lambda: generator(1),
        lambda: anext(streaming(1)),
        lambda: consumes("chat")(plain)(1),
        lambda: consumes("chat")(coroutine)(1),
        lambda: next(consumes("chat")(generator)(1)),
        lambda: anext(consumes("chat")(streaming)(1)),
        lambda: asynccontextmanager(Consumes("chat").dependency)(None).__aenter__(),
        lambda: Requires("exports").dependency(None),
        lambda: gating.check("exports"),
        lambda: consume_credits("ai", 1, key="k"),
        lambda: aio.check("exports"),
        lambda: aio.consume_credits("ai", 1, key="k"),
    ],
)
def test_where_nobody_is_acting_that_is_what_is_said_first(call):
    """Found in review: an application whose engine acts with its requests was told to configure another one."""

    async def main():
        result = call()
        if inspect.isawaitable(result):
            await result

    with pytest.raises(LookupError, match="no customer"):
        asyncio.run(main())


def test_before_configure_every_kind_says_what_to_do():
    with acting_as("acme"):
        for call in (plain, coroutine, consumes("chat")(plain), consumes("chat")(coroutine)):
            with pytest.raises(NotConfigured):
                finish(call(1))


@pytest.mark.parametrize(
    "started",
    [
        lambda: consumes("chat")(coroutine)(1),
        lambda: anext(consumes("chat")(streaming)(1)),
        lambda: anext(consumes("chat")(consumes("chat")(streaming))(1)),
    ],
)
def test_a_coroutine_never_blocks_the_loop_though_the_engine_blocks(tmp_path, started):
    """While one process holds the write lock, the loop goes on; and the check is answered without leaving it."""
    path = tmp_path / "app.db"
    turns = []

    async def main():
        with acting_as("acme", engine=ent):
            task = asyncio.ensure_future(started())
            while len(turns) < 50:
                await asyncio.sleep(0)
                turns.append(task.done())
            other.rollback()
            assert await task in {1, (1, "")}

    with Entitlements(CATALOG, storage=f"sqlite:///{path}") as ent:
        ent.subscribe("acme", "pro")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        asyncio.run(main())
        other.close()
    assert not any(turns)
