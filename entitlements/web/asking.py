"""Asking: what a request says about who asks, checked before anything is done with it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any, Final

from ..requests import identifier
from .problem import refuse

LARGEST: Final = 65_536


def check_engine(ent: object, *kinds: type) -> None:
    """Raise TypeError for what is no engine of one of these kinds, before any request is asked."""
    if not isinstance(ent, kinds):
        wanted = " or ".join(f"an {kind.__name__}" for kind in kinds)
        raise TypeError(f"ent is of type {type(ent).__name__}; pass {wanted}")


def check_asker(what: str, function: object, returns: str, *, takes: str, awaits: bool) -> None:
    """Raise TypeError for what cannot be called for each request; `awaits` tells whether it may be awaited."""
    said = f"pass a function that takes {takes} and returns {returns}"
    if not callable(function):
        raise TypeError(f"{what} is of type {type(function).__name__}; {said}")
    if not awaits and inspect.iscoroutinefunction(function):
        raise TypeError(f"{what} is a coroutine function, which nobody awaits here; {said}")


def check_askers(customer: object, scoped: object, *, takes: str, awaits: bool = False) -> None:
    """Raise TypeError for functions that cannot say whose a request is, or, where one is given, in what scope."""
    check_asker("customer", customer, "an id, or None for nobody", takes=takes, awaits=awaits)
    if scoped is not None:
        check_asker("scoped", scoped, "a scope, or None", takes=takes, awaits=False)


def customer_named(said: object) -> str | None:
    """Return the customer that a host's function named, None for nobody.

    Raises Refused for text that is no id, and TypeError for what is no text: that is for the host to mend.
    """
    if said is None:
        return None
    if not isinstance(said, str):
        kind = type(said).__name__
        raise TypeError(f"the function that names the customer of a request returned {kind}; return text, or None")
    try:
        return identifier(said, "customer")
    except ValueError:
        raise refuse(400, "invalid_customer", "the customer of this request has no valid id", said=said) from None


def key_named(header: str | None) -> str | None:
    """Return the key of an Idempotency-Key header, quoted or not; raises Refused for what is no key."""
    if header is None:
        return None
    bare = header[1:-1] if len(header) > 1 and header[0] == header[-1] == '"' else header
    try:
        return identifier(bare, "key")
    except ValueError:
        said = "an Idempotency-Key has 1 to 255 characters, none for control, no space at either end, no $ in front"
        raise refuse(400, "invalid_key", said, said=header) from None


def check_size(length: str | int | None) -> None:
    """Raise Refused for a body that is larger than any that is read, and for a length that is none."""
    if length is None or length == "":
        return
    if isinstance(length, str) and not (length.isascii() and length.isdigit()):
        raise refuse(400, "invalid_body", "the length of the body is not a number", said=length)
    if len(str(length)) > 18 or int(length) > LARGEST:
        raise refuse(413, "body_too_large", f"the body is larger than {LARGEST} bytes", said=str(length))


def context_posted(body: bytes) -> Mapping[str, Any]:
    """Return the context that an evaluation request brings; raises Refused for what is none."""
    check_size(len(body))
    try:
        said = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError):
        raise refuse(400, "invalid_body", "the body is not JSON", said=repr(body[:40])) from None
    context = said.get("context") if isinstance(said, dict) else said
    if context is None:
        return {}
    if not isinstance(context, dict):
        raise refuse(400, "invalid_body", "the context is not an object", said=str(type(context).__name__))
    return context


def check_own(context: Mapping[str, Any], customer: str) -> None:
    """Raise Refused where a posted key is another customer's; who asks is for the session alone to say."""
    posted = context.get("targetingKey")
    if posted is not None and posted != customer:
        raise refuse(403, "foreign_customer", "the targetingKey is not yours; leave it out", said=str(posted))
