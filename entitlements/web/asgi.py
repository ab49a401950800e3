"""ASGI: a middleware that says for whom a request is answered, and an application for front ends.

    app = Acting(app, ent, customer=lambda scope: scope["session"].get("account"))
    flags = Flags(ent, customer=lambda scope: scope["session"].get("account"))

Both need no framework. `customer` takes the scope of the request and returns an id, or None for nobody;
it may be a coroutine function, and must not block.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, TypeAlias

from ..aio.beside import awaited
from ..aio.engine import AsyncEntitlements
from ..engine import Entitlements
from ..gating import acting_as
from .asking import LARGEST, check_askers, check_engine, check_size, customer_named, key_named
from .flags import question, reply
from .problem import ANSWERED, Problem, Problems, refuse

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Who: TypeAlias = Callable[[Any], str | Awaitable[str | None] | None]

REFUSED: Final = 1008
"""How a connection that stays open is told of a policy."""
NOT_MODIFIED: Final = 304
"""Says nothing of a body: a length would be that of the one that is known already."""


class Acting:
    """Middleware: the application inside acts for the customer of each request, with its Idempotency-Key.

    A denial that the application lets through becomes a response, unless one has begun; a WebSocket is closed
    with 1008, which is a 403 before it is accepted. `scoped` says for whom below the customer: it takes what
    `customer` takes, and returns a scope or None. Raises TypeError for an `app` that cannot be called, an
    `ent` that is no engine, and for functions that are none.
    """

    def __init__(
        self,
        app: App,
        ent: Entitlements | AsyncEntitlements,
        *,
        customer: Who,
        scoped: Callable[[Any], object] | None = None,
        problems: Problems | None = None,
    ) -> None:
        if not callable(app):
            raise TypeError(f"app is of type {type(app).__name__}; pass the ASGI application, and then the engine")
        check_engine(ent, Entitlements, AsyncEntitlements)
        check_askers(customer, scoped, takes="the ASGI scope", awaits=True)
        self.app, self.ent, self.customer, self.scoped = app, ent, customer, scoped
        self.problems = problems or Problems()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or what else comes over a connection."""
        last = ""

        async def sending(message: Message) -> None:
            nonlocal last
            last = message["type"]
            await send(message)

        try:
            await self._act(scope, receive, sending)
        except ANSWERED as error:
            problem = self.problems.of(error)
            if problem is None or not _may_end(scope, last):
                raise
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": REFUSED, "reason": problem.code})
            else:
                await send_problem(problem, send)

    async def _act(self, scope: Scope, receive: Receive, send: Send) -> None:
        customer = await _named(self.customer, scope) if scope["type"] in {"http", "websocket"} else None
        if customer is None:
            await self.app(scope, receive, send)
            return
        below = self.scoped(scope) if self.scoped is not None else None
        key = key_named(header(scope, b"idempotency-key"))
        with acting_as(customer, scope=below, key=key, engine=self.ent, once=True):
            await self.app(scope, receive, send)


class Flags:
    """Application: a customer's snapshot and flags for the front end, to be mounted where it asks for them.

    Raises TypeError for an `ent` that is no engine, and for a `customer` that cannot be called.
    """

    def __init__(
        self, ent: Entitlements | AsyncEntitlements, *, customer: Who, problems: Problems | None = None
    ) -> None:
        check_engine(ent, Entitlements, AsyncEntitlements)
        check_askers(customer, None, takes="the ASGI scope", awaits=True)
        self.ent, self.customer, self.problems = ent, customer, problems or Problems()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"flags are asked for over HTTP, not by {scope['type']}")
        try:
            customer = await _named(self.customer, scope)
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            body = await _body(scope, receive)
            asked = question(scope["method"], path, customer, body, header(scope, b"if-none-match"))
            answer = reply(asked, await awaited(self.ent).snapshot(customer or ""), self.ent.catalog)
        except ANSWERED as error:
            problem = self.problems.of(error)
            if problem is None:
                raise
            await send_problem(problem, send)
        else:
            await _send(answer.status, answer.headers, answer.body, send)


def _may_end(scope: Scope, last: str) -> bool:
    """Tell whether a request can still be answered with a problem, after the last message that was sent."""
    return last == "" if scope["type"] == "http" else scope["type"] == "websocket" and last != "websocket.close"


def header(scope: Scope, name: bytes) -> str | None:
    """Return a header of a request, None where it has none; one that is repeated counts as joined."""
    found = [value for key, value in scope["headers"] if key.lower() == name]
    return b", ".join(found).decode("latin-1") if found else None


async def send_problem(problem: Problem, send: Send) -> None:
    """Send a problem as the whole response."""
    await _send(problem.status, problem.all_headers, problem.body, send)


async def _named(customer: Who, scope: Scope) -> str | None:
    said = customer(scope)
    return customer_named(await said if inspect.isawaitable(said) else said)


async def _body(scope: Scope, receive: Receive) -> bytes:
    check_size(header(scope, b"content-length"))
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if len(body) > LARGEST:
            raise refuse(413, "body_too_large", f"the body is larger than {LARGEST} bytes", said=str(len(body)))
        if message["type"] != "http.request" or not message.get("more_body"):
            return body


async def _send(status: int, headers: Mapping[str, str], body: bytes, send: Send) -> None:
    pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    if status != NOT_MODIFIED:
        pairs.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
