"""Starlette: one call makes an application act for its customers, and turn denials into responses.

install(app, ent, customer=lambda request: request.session.get("account"), flags="/entitlements")
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.websockets import WebSocket

from ..aio.engine import AsyncEntitlements
from ..engine import Entitlements
from .asgi import REFUSED, Acting, Flags, Who
from .asking import check_askers, check_engine
from .problem import ANSWERED, Problems


def install(
    app: Starlette,
    ent: Entitlements | AsyncEntitlements,
    *,
    customer: Who,
    scoped: Callable[[Any], object] | None = None,
    problems: Problems | None = None,
    flags: str | None = None,
) -> None:
    """Let an application act for the customer of each request, before it has started; else RuntimeError.

    `customer` takes the request and returns an id, or None for nobody; it sees what every other middleware
    has done, such as the session. `flags` is where the front end asks for its snapshot and flags. Raises
    TypeError for an `ent` that is no engine, and for a `customer` or `scoped` that cannot be called.
    """
    check_engine(ent, Entitlements, AsyncEntitlements)
    check_askers(customer, scoped, takes="the request", awaits=True)
    if app.middleware_stack is not None:
        raise RuntimeError("the application has started; install the gates before it does")
    told = problems or Problems()

    def named(scope: Any) -> Any:
        return customer(HTTPConnection(scope))

    def below(scope: Any) -> object:
        return scoped(HTTPConnection(scope)) if scoped is not None else None

    async def answered(asking: HTTPConnection, error: Exception) -> Response:
        problem = told.of(error)
        if problem is None:
            raise error
        if isinstance(asking, WebSocket):
            await asking.close(REFUSED, problem.code)
        return Response(problem.body, problem.status, problem.all_headers)

    app.user_middleware.append(Middleware(Acting, ent, customer=named, scoped=below, problems=told))
    for kind in ANSWERED:
        app.add_exception_handler(kind, cast("Any", answered))
    if flags is not None:
        app.mount(flags, Flags(ent, customer=named, problems=told))
    app.state.entitlements = ent
