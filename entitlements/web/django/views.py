"""Views: a decorator that gates them, and the one that the front end reads."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from inspect import iscoroutinefunction
from typing import Any, ParamSpec, TypeVar, cast

from asgiref.sync import sync_to_async
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.views.decorators.csrf import csrf_exempt

from ...aio.beside import blocking
from ...errors import EntitlementDenied
from ...gates import Who
from ...gates import requires_feature as gate
from ...gating import acting, acting_as, current_customer
from ..asking import LARGEST, check_size
from ..flags import question, reply
from ..problem import ANSWERED
from .configured import engine, problems, response, setting
from .middleware import customer_of

P = ParamSpec("P")
R = TypeVar("R")


class FeatureDenied(EntitlementDenied, PermissionDenied):
    """A denial that is a 403 to a project that forgot the middleware."""


def requires_feature(feature: str, **asked: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a view, of either kind, run only where the customer of the request may have the feature.

    Takes the arguments of `entitlements.requires_feature`, and works without the middleware. Where nobody is
    signed in and no `customer` is named, it is PermissionDenied.
    """
    told = asked.get("customer")

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        gated: Any = gate(feature, **asked)(view)

        @functools.wraps(gated)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            with _acting(current_customer() or _who(request, told, args, kwargs)):
                try:
                    return gated(request, *args, **kwargs)
                except EntitlementDenied as denied:
                    raise FeatureDenied(denied.decision) from None

        @functools.wraps(gated)
        async def checked_awaited(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            with _acting(current_customer() or await sync_to_async(_who)(request, told, args, kwargs)):
                try:
                    return await gated(request, *args, **kwargs)
                except EntitlementDenied as denied:
                    raise FeatureDenied(denied.decision) from None

        return cast("Callable[P, R]", checked_awaited if iscoroutinefunction(gated) else checked)

    return decorate


@csrf_exempt
def front(request: HttpRequest, path: str) -> HttpResponse:
    """Answer what a front end asks: its customer's snapshot and flags. Nothing is changed, so it needs no token."""
    try:
        customer = customer_of(request)
        check_size(request.headers.get("Content-Length"))
        body, known = request.read(LARGEST + 1), request.headers.get("If-None-Match")
        asked = question(request.method or "GET", f"/{path}", customer, body, known)
        asked_of = blocking(engine())
        answer = reply(asked, asked_of.snapshot(customer or ""), asked_of.catalog)
    except ANSWERED as error:
        problem = problems().of(error)
        if problem is None:
            raise
        return response(problem)
    if answer.status == 304:
        return HttpResponseNotModified(headers=dict(answer.headers))
    return HttpResponse(answer.body, status=answer.status, headers=dict(answer.headers))


def _who(request: HttpRequest, told: Who, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """Return for whom a view works where nobody is acting: whom the settings or else the gate name; None for nobody."""
    signed_in = None if told is not None and setting("CUSTOMER") is None else customer_of(request)
    if signed_in is not None:
        return signed_in
    return told(request, *args, **kwargs) if callable(told) else told


def _acting(customer: str | None) -> AbstractContextManager[Any]:
    if customer is None:
        raise PermissionDenied("nobody is signed in")
    present = acting()
    terms = {"scope": present.scope, "key": present.key, "once": present.once} if present is not None else {}
    return acting_as(customer, **terms, engine=engine())
