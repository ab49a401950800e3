"""FastAPI: gates as dependencies, and what they answer in the OpenAPI document.

    app = FastAPI(responses=RESPONSES)
    install(app, ent, customer=lambda request: request.session.get("account"))

    @app.get("/export", dependencies=[Requires("exports")])
    async def export(): ...

    @app.post("/chat")
    async def chat(hold: Annotated[AsyncHold, Consumes("chat")]): ...

The decorators of `entitlements` do the same on the functions themselves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta
from typing import Any, Final

from fastapi import Depends
from fastapi.openapi.utils import validation_error_definition, validation_error_response_definition
from fastapi.requests import HTTPConnection

from ..aio.gating import awaited_engine
from ..decisions import Decision
from ..gates import Gate, Key, Used, Who, check_feature
from ..holds import HeldWork
from ..ledger.blocks import Late
from ..wrapping import reserved_awaited
from .problem import MEDIA
from .starlette import install

__all__ = ["RESPONSES", "Consumes", "Requires", "install"]

_SCHEMA: Final = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "feature": {"type": "string"},
        "limit": {"type": ["integer", "string", "null"]},
        "used": {"type": ["integer", "string", "null"]},
        "remaining": {"type": ["integer", "string", "null"]},
        "resets_at": {"type": ["string", "null"], "format": "date-time"},
        "upgrade": {"type": "array", "items": {"type": "string"}},
    },
}
_SAID: Final = {
    402: "Another plan, an add-on or more credits would allow it",
    403: "It is not allowed, and neither paying nor waiting changes that",
    409: "A hold, a subscription or an add-on stands in the way",
    422: "What was sent does not validate; or a key came back with another request, or an amount is none",
    429: "Used up for now; Retry-After says for how long",
    503: "The answer cannot be given at the moment",
}
_INVALID: Final = {"title": "Detail", "type": "array", "items": validation_error_definition}
_OF_FASTAPI: Final = {  # which describes its own 422 only where nothing else is said of that status
    422: {"application/json": {"schema": {**validation_error_response_definition, "properties": {"detail": _INVALID}}}}
}
RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    status: {"description": said, "content": {MEDIA: {"schema": _SCHEMA}, **_OF_FASTAPI.get(status, {})}}
    for status, said in _SAID.items()
}


def Requires(feature: str, **asked: Any) -> Any:  # noqa: N802  (it stands where a class would)
    """Return a dependency that lets a request through where the customer may have the feature.

    It gives the Decision. Arguments are those of `requires_feature`; a callable takes the request, or the WebSocket.
    """
    check_feature(feature)
    customer = asked.pop("customer", None)
    gate = Gate("check", feature, customer, terms=asked)

    async def required(request: HTTPConnection) -> Decision:
        named, terms = gate.question((request,), {})
        decision = await awaited_engine().check(named, feature, **terms)
        return decision.raise_if_denied()

    return Depends(required)


def Consumes(  # noqa: N802  (it stands where a class would)
    feature: str,
    *,
    amount: Used | Callable[..., Used] = 1,
    key: Key = None,
    customer: Who = None,
    scope: object = None,
    dimensions: Mapping[str, str] | Callable[..., Mapping[str, str]] | None = None,
    ttl: timedelta | int | None = 3600,
    late: Late = "charge",
) -> Any:
    """Return a dependency that sets usage aside for an endpoint, and settles it when that has succeeded.

    It gives the hold, to `report` to. Arguments are those of `consumes`; a callable takes the request. The
    hold is closed before the response is sent; for a stream, put `consumes` on what streams.
    """
    check_feature(feature)
    terms = {"amount": amount, "ttl": ttl, "scope": scope, "dimensions": dimensions, "late": late}
    gate = Gate("consume", feature, customer, key, terms)

    async def consumed(request: HTTPConnection) -> AsyncIterator[HeldWork]:
        async with reserved_awaited(gate.reservation((request,), {}), awaited_engine()) as hold:
            yield hold

    return Depends(consumed, scope="function")
