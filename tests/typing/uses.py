"""Typed uses of the gates: what mypy in its strict mode and pyright must both say about them.

A line that ends in `# error` must be refused by both; every other line must pass.
"""

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Any, assert_type

from entitlements import (
    AsyncEntitlements,
    Decision,
    Entitlements,
    Request,
    acting_as,
    check,
    consume_credits,
    consumes,
    consumes_credits,
    current_customer,
    current_hold,
    requires_feature,
)
from entitlements.usage import TokenUsage
from entitlements.web.fastapi import Consumes


@requires_feature("exports")
def plain(a: int, *, b: str = "") -> float:
    return a + len(b)


@consumes("chat", amount=lambda a, b="": a, key=lambda a, b="": f"job-{a}")
async def coroutine(a: int, *, b: str = "") -> float:
    return a + len(b)


@consumes_credits("ai", amount="1.50", customer="acme")
def generator(a: int) -> Generator[int, str, bytes]:
    yield a
    return b""


@requires_feature("exports", customer=lambda a: "acme")
async def streaming(a: int) -> AsyncGenerator[int, str]:
    yield a


class Account:
    @requires_feature("exports")
    def method(self, a: int) -> str:
        return str(a)

    @classmethod
    @consumes("chat")
    def inside(cls, a: int) -> str:
        return str(a)

    @staticmethod
    @consumes("chat")
    def static(a: int) -> str:
        return str(a)


class Called:
    def __call__(self, a: int) -> str:
        return str(a)


def uses(blocking: Entitlements, awaited: AsyncEntitlements) -> None:
    assert_type(plain(1, b="x"), float)
    waiting: Coroutine[Any, Any, float] = coroutine(1, b="x")
    waiting.close()
    assert_type(generator(1), Generator[int, str, bytes])
    assert_type(streaming(1), AsyncGenerator[int, str])
    assert_type(Account().method(1), str)
    assert_type(Account.inside(1), str)
    assert_type(Account.static(1), str)
    kept: Callable[[int], str] = requires_feature("exports")(Called())
    assert_type(kept(1), str)
    assert_type(consumes("chat")(requires_feature("exports")(plain))(1, b="x"), float)
    with acting_as("acme", scope={"team": "x"}, key="request-1", engine=blocking) as acting:
        assert_type(acting.customer, str)
    with acting_as("acme", engine=awaited):
        assert_type(current_customer(), str | None)
        assert_type(check("exports"), Decision)
        assert_type(consume_credits("ai", 1, key=None), Decision)
    if hold := current_hold():
        hold.report("1.50")
        hold.report(TokenUsage(input=1))


def uses_by_kind(ent: Entitlements, told: TokenUsage) -> None:
    kinds = {"input": 1, "output": 2}
    consumes("tokens", amount=kinds)
    Consumes("tokens", amount=kinds)
    ent.consume("acme", "tokens", kinds, key=None)
    ent.record("acme", "tokens", told, key=None)
    ent.consume_many([Request("acme", "tokens", kinds)])
    assert_type(ent.reserve("acme", "tokens", kinds, key=None).settle(told), Decision)
    assert_type(ent.customer("acme").consume("tokens", told), Decision)


async def awaited_uses() -> None:
    assert_type(await coroutine(1, b="x"), float)
    assert_type([item async for item in streaming(1)], list[int])


def misuses() -> None:
    plain("a")  # error
    plain(1, c="x")  # error
    coroutine()  # error
    Account().method("a")  # error
    Account.inside("a")  # error
    requires_feature(7)  # error
    consumes("chat", amount=1.5)  # error
    consumes_credits("ai")  # error
    consume_credits("ai", 1)  # error
    consume_credits("ai", {"input": 1}, key=None)  # error
    acting_as(7)  # error
