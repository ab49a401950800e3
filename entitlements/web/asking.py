"""Asking: what a request says about who asks, checked before anything is done with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from ..requests import identifier
from .problem import refuse

LARGEST: Final = 65_536


def customer_named(said: object) -> str | None:
    """Return the customer that a host's function named, None for nobody; raises Refused for what is no id."""
    if said is None:
        return None
    try:
        return identifier(said, "customer")
    except (TypeError, ValueError):
        raise refuse(400, "invalid_customer", "the customer of this request has no valid id", said=str(said)) from None


def key_named(header: str | None) -> str | None:
    """Return the key of an Idempotency-Key header, quoted or not; raises Refused for what is no key."""
    if header is None:
        return None
    bare = header[1:-1] if len(header) > 1 and header[0] == header[-1] == '"' else header
    try:
        return identifier(bare, "key")
    except ValueError:
        said = "an Idempotency-Key has 1 to 255 characters, no control characters, and no space at either end"
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
