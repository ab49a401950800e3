"""Wrapping: a gate put before a function of any kind, which stays of that kind.

A plain function is gated when it is called, a coroutine when it is awaited. A generator belongs to whoever
called it: a feature is checked at the call, or at the first step of one that is asynchronous; what is set
aside for it is set aside at the first step, and settled after the last. Every step is done for whom it was
called, whoever takes it: a response is streamed when its request is over. Because of the call, what stands
before a generator function is a plain function, so its kind is remembered for the gates put before it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from contextvars import ContextVar
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, Literal, ParamSpec, TypeVar, cast
from weakref import WeakKeyDictionary

from .attempts import Attempt, Reservation, attempt
from .gating import Begun, blocking_engine
from .holds import HeldWork, Hold, kinds_asked

if TYPE_CHECKING:
    from .aio.engine import AsyncEntitlements
    from .engine import Entitlements
    from .gates import Gate

P = ParamSpec("P")
R = TypeVar("R")
H = TypeVar("H", bound=HeldWork)
Kind = Literal["plain", "coroutine", "generator", "async generator"]

_kinds: WeakKeyDictionary[Callable[..., Any], Kind] = WeakKeyDictionary()
_holding: ContextVar[HeldWork | None] = ContextVar("entitlements_holding", default=None)


def current_hold() -> HeldWork | None:
    """Return the hold that a gate around the present work has reserved, the innermost; None outside of any."""
    return _holding.get()


def gated(gate: Gate, function: Callable[P, R]) -> Callable[P, R]:
    """Return a function behind a gate; raises TypeError for what is no function."""
    if isinstance(function, staticmethod | classmethod):
        inner: Any = gated(gate, function.__func__)
        return cast("Callable[P, R]", type(function)(inner))
    if inspect.isclass(function) or not callable(function):
        raise TypeError(f"{function!r} is no function; decorate a function or a method")
    kind = kind_of(function)
    wrapped = functools.wraps(function)(_WRAPPERS[gate.holds, kind](gate, function))
    _kinds[wrapped] = kind
    vars(wrapped)["__entitlements__"] = (gate, *getattr(function, "__entitlements__", ()))
    return cast("Callable[P, R]", wrapped)


def kind_of(function: Callable[..., Any]) -> Kind:
    """Return what kind of function this is, behind its gates; an object that is called is what its `__call__` is."""
    called = _called(function)
    if isinstance(called, FunctionType) and called in _kinds:
        return _kinds[called]
    if inspect.iscoroutinefunction(called):
        return "coroutine"
    if inspect.isasyncgenfunction(called):
        return "async generator"
    return "generator" if inspect.isgeneratorfunction(called) else "plain"


def _called(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that is run in the end, without what binds arguments to it."""
    if isinstance(function, functools.partial):
        return _called(function.func)
    if inspect.ismethod(function):
        return _called(function.__func__)
    return function if inspect.isroutine(function) else type(function).__call__


def _required(gate: Gate, function: Callable[..., Any]) -> Callable[..., Any]:
    def passing(*args: Any, **kwargs: Any) -> Any:
        customer, asked = gate.question(args, kwargs)
        blocking_engine().check(customer, gate.name, **asked).raise_if_denied()
        return function(*args, **kwargs)

    return passing


def _required_stepping(gate: Gate, function: Callable[..., Any]) -> Callable[..., Any]:
    def passing(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        customer, asked = gate.question(args, kwargs)
        blocking_engine().check(customer, gate.name, **asked).raise_if_denied()
        return _stepped(nullcontext(None), function(*args, **kwargs), Begun())

    return passing


def _required_awaited(gate: Gate, function: Callable[..., Any]) -> Callable[..., Any]:
    async def passing(*args: Any, **kwargs: Any) -> Any:
        async with _checked(gate.name, gate.question(args, kwargs), _awaited_engine()):
            return await function(*args, **kwargs)

    return passing


def _required_streaming(gate: Gate, function: Callable[..., Any]) -> Callable[..., Any]:
    def passing(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        checked = _checked(gate.name, gate.question(args, kwargs), _awaited_engine())
        return _streamed(checked, function(*args, **kwargs), Begun())

    return passing


def _held(gate: Gate, function: Callable[..., Any]) -> Callable[..., Any]:
    def passing(*args: Any, **kwargs: Any) -> Any:
        with _reserved(gate.reservation(args, kwargs), blocking_engine()) as hold, _inside(hold):
            return _finished(function(*args, **kwargs))

    return passing


def _held_awaited(gate: Gate, function: Callable[..., Any]) -> Callable[..., Any]:
    async def passing(*args: Any, **kwargs: Any) -> Any:
        async with reserved_awaited(gate.reservation(args, kwargs), _awaited_engine()) as hold:
            with _inside(hold):
                return await function(*args, **kwargs)

    return passing


def _held_stepping(gate: Gate, function: Callable[..., Any]) -> Callable[..., Any]:
    def passing(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        reserved = _reserved(gate.reservation(args, kwargs), blocking_engine())
        return _stepped(reserved, function(*args, **kwargs), Begun())

    return passing


def _held_streaming(gate: Gate, function: Callable[..., Any]) -> Callable[..., Any]:
    def passing(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        reserved = reserved_awaited(gate.reservation(args, kwargs), _awaited_engine())
        return _streamed(reserved, function(*args, **kwargs), Begun())

    return passing


_WRAPPERS: Final[dict[tuple[bool, Kind], Callable[[Gate, Callable[..., Any]], Callable[..., Any]]]] = {
    (False, "plain"): _required,
    (False, "generator"): _required_stepping,
    (False, "coroutine"): _required_awaited,
    (False, "async generator"): _required_streaming,
    (True, "plain"): _held,
    (True, "generator"): _held_stepping,
    (True, "coroutine"): _held_awaited,
    (True, "async generator"): _held_streaming,
}


def _awaited_engine() -> AsyncEntitlements:
    from .aio.gating import awaited_engine  # noqa: PLC0415  (plain functions need no event loop)

    return awaited_engine()


@asynccontextmanager
async def _checked(
    feature: str, question: tuple[str, dict[str, Any]], engine: AsyncEntitlements
) -> AsyncIterator[None]:
    customer, asked = question
    decision = await engine.check(customer, feature, **asked)
    decision.raise_if_denied()
    yield None


@contextmanager
def _reserved(wanted: Reservation, engine: Entitlements) -> Iterator[HeldWork]:
    made = engine._run(attempt(engine._desk, wanted))
    with _known(Hold(engine, wanted.asked.customer, made.id, made.decision, kinds_asked(wanted.asked)), made) as hold:
        yield hold


@asynccontextmanager
async def reserved_awaited(wanted: Reservation, engine: AsyncEntitlements) -> AsyncIterator[HeldWork]:
    """Hold what a request sets aside, while the work inside is done; raises EntitlementDenied."""
    from .aio.holds import AsyncHold, Reserving  # noqa: PLC0415  (plain functions need no event loop)

    async def reserving() -> AsyncHold:
        made = await engine._driver.write(attempt(engine._desk, wanted))
        told = (wanted.asked.customer, made.id, made.decision, kinds_asked(wanted.asked))
        return _known(AsyncHold(engine, *told), made)

    async with Reserving(reserving()) as hold:
        yield hold


def _known(hold: H, made: Attempt) -> H:
    """Return a hold that is closed already where the work was paid for before."""
    if made.paid:
        hold.result = made.decision
    return hold


@contextmanager
def _inside(hold: HeldWork | None, begun: Begun | None = None) -> Iterator[None]:
    token = _holding.set(_holding.get() if hold is None else hold)
    try:
        with nullcontext() if begun is None else begun.step():
            yield
    finally:
        _holding.reset(token)


def _finished(result: Any) -> Any:
    """Return a result; raises TypeError where it is work that has yet to be done, and would be settled too soon."""
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError("the gated function returned a coroutine; put the gate on the `async def` itself")
    return result


def _stepped(
    opening: AbstractContextManager[HeldWork | None], inner: Generator[Any, Any, Any], begun: Begun
) -> Generator[Any, Any, Any]:
    """Run a generator inside a context that is entered by its first step; each step knows the hold, and for whom."""
    with opening as hold:
        step = functools.partial(inner.send, None)
        while True:
            with _inside(hold, begun):
                try:
                    item = step()
                except StopIteration as end:
                    return end.value
            try:
                sent = yield item
            except GeneratorExit:
                with _inside(hold, begun):
                    inner.close()
                raise
            except BaseException as error:  # noqa: BLE001  (raised where the generator waits)
                step = functools.partial(inner.throw, error)
            else:
                step = functools.partial(inner.send, sent)


async def _streamed(
    opening: AbstractAsyncContextManager[HeldWork | None], inner: AsyncGenerator[Any, Any], begun: Begun
) -> AsyncGenerator[Any, Any]:
    """Run an async generator inside a context that is entered by its first step; each step knows as much."""
    async with opening as hold:
        step = inner.asend(None)
        while True:
            with _inside(hold, begun):
                try:
                    item = await step
                except StopAsyncIteration:
                    return
            try:
                sent = yield item
            except GeneratorExit:
                with _inside(hold, begun):
                    await inner.aclose()
                raise
            except BaseException as error:  # noqa: BLE001  (raised where the generator waits)
                step = inner.athrow(error)
            else:
                step = inner.asend(sent)
