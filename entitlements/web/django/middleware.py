"""The middleware: a view acts for the customer of its request, and what it denies becomes a response."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from inspect import iscoroutinefunction
from typing import Any

from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware
from django.utils.functional import SimpleLazyObject

from ...gating import acting_as
from ..asking import customer_named, key_named
from ..problem import Refused
from .configured import called, engine, problems, response


@sync_and_async_middleware
def entitlements(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Let views, of either kind, act for the customer of their request; `request.entitlements` has the verbs."""
    if iscoroutinefunction(get_response):

        async def middleware(request: HttpRequest) -> HttpResponseBase:
            try:
                acting = await sync_to_async(_acting)(request)
            except Refused as refused:
                return _refused(refused)
            with acting:
                answer: HttpResponseBase = await get_response(request)
            return answer
    else:

        def middleware(request: HttpRequest) -> HttpResponseBase:  # type: ignore[misc]
            try:
                acting = _acting(request)
            except Refused as refused:
                return _refused(refused)
            with acting:
                answer: HttpResponseBase = get_response(request)
            return answer

    setattr(middleware, "process_exception", _denied)  # noqa: B010  (a function, to a type checker, has none)
    return middleware


def customer_of(request: HttpRequest) -> str | None:
    """Return the customer of a request, as CUSTOMER says; None for nobody."""
    named = called("CUSTOMER")
    if named is None:
        raise ImproperlyConfigured("ENTITLEMENTS has no CUSTOMER; name a function that takes the request")
    return customer_named(named(request))


def _acting(request: HttpRequest) -> AbstractContextManager[Any]:
    customer = customer_of(request)
    if customer is None:
        return nullcontext()
    key, below = key_named(request.headers.get("Idempotency-Key")), called("SCOPE")
    request.entitlements = SimpleLazyObject(lambda: engine().customer(customer))
    return acting_as(customer, scope=None if below is None else below(request), key=key, engine=engine(), once=True)


def _denied(_request: HttpRequest, error: Exception) -> HttpResponseBase | None:
    problem = problems().of(error)
    return None if problem is None else response(problem)


def _refused(refused: Refused) -> HttpResponseBase:
    problem = problems().of(refused)
    if problem is None:
        raise refused
    return response(problem)
