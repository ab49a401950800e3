"""Celery: a task works for the customer it was sent for, and is charged once however often it is tried.

    connect()

    @app.task(bind=True, autoretry_for=(ConnectionError,))
    @works_for(lambda task, account, text: account)
    @consumes("chat")
    def answer(task, account, text): ...

The id of a task stays the same over its retries and redeliveries, so it is the key.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final, ParamSpec, TypeVar

import attrs
from celery.exceptions import Ignore
from celery.signals import before_task_publish

from .aio.engine import AsyncEntitlements
from .engine import Entitlements
from .errors import EntitlementDenied
from .gating import Acting, acting, acting_as

P = ParamSpec("P")
R = TypeVar("R")
HEADER: Final = "entitlements"


class TaskDenied(Exception):
    """What the result of a denied task says; it survives every serializer, so it carries the code and the reason."""


def connect() -> None:
    """Send along with every task whom it is sent for: the customer, and perhaps scope, that are acting."""
    before_task_publish.connect(_send_along, weak=False, dispatch_uid="entitlements")


def works_for(
    customer: str | Callable[..., str | None] | None = None, *, engine: Entitlements | AsyncEntitlements | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a bound task work for a customer, its own id being the key; stands below `@app.task(bind=True)`.

    `customer` is an id, or a callable that takes the task's arguments; by default the one it was sent for, and
    where it was not sent but runs in place, the one acting there, with its engine. A denied task fails at once,
    with TaskDenied, and is never retried. Raises LookupError where no customer is known.
    """

    def decorate(run: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(run)
        def working(*args: P.args, **kwargs: P.kwargs) -> R:
            task: Any = args[0]
            told = _told(customer, args, kwargs)
            asked = engine or told.engine
            with acting_as(told.customer, scope=told.scope, key=told.key, engine=asked, once=told.once):
                try:
                    return run(*args, **kwargs)
                except EntitlementDenied as denied:
                    raise _failed(task, denied) from denied

        return working

    return decorate


def _send_along(headers: dict[str, Any] | None = None, **_told: Any) -> None:
    present = acting()
    if present is not None and headers is not None:
        scope = None if present.scope is None else dict(present.scope)
        headers.setdefault(HEADER, {"customer": present.customer, "scope": scope})


def _told(customer: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Acting:
    """Return for whom a task works, its id being the key; one that is called as a function has none of its own."""
    named = customer(*args, **kwargs) if callable(customer) else customer
    task: Any = args[0]
    if named is not None:
        return Acting(named, None, task.request.id)
    sent = getattr(task.request, HEADER, None) or (task.request.headers or {}).get(HEADER) or {}
    if "customer" in sent:
        return Acting(sent["customer"], sent.get("scope"), task.request.id)
    present = acting()
    if present is None:
        raise LookupError("no customer: send the task inside `with acting_as('acme'):`, or say works_for(customer)")
    return present if task.request.id is None else attrs.evolve(present, key=task.request.id, once=False)


def _failed(task: Any, denied: EntitlementDenied) -> Exception:
    """Store the denial as the task's failure, and return what keeps Celery from trying again."""
    decision = denied.decision
    told = TaskDenied(decision.code, decision.reason)
    if task.request.called_directly or task.request.is_eager:
        return told
    task.backend.mark_as_failure(task.request.id, told, request=task.request)
    ignored: Exception = Ignore()
    return ignored
