"""Flags: what a front end reads, from the very decisions the back end makes.

    GET  …/snapshot                          every feature and credit, as `Snapshot.to_dict()`, with an ETag
    POST …/ofrep/v1/evaluate/flags           the same features as flags of the OpenFeature remote protocol
    POST …/ofrep/v1/evaluate/flags/exports   one of them

Any OpenFeature client with an OFREP provider reads the last two unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final
from urllib.parse import unquote

import attrs

from ..catalog.model import Catalog
from ..decisions import Decision, json_instant, json_number
from ..snapshots import Snapshot
from .asking import check_own, context_posted
from .problem import Refused, detail_of, refuse

FLAGS: Final = "/ofrep/v1/evaluate/flags"
SNAPSHOT: Final = "/snapshot"


@attrs.frozen
class Question:
    """What a front end asks: of which feature, or of all; and the tag of what it knows."""

    path: str
    feature: str | None = None
    known: str | None = None


@attrs.frozen
class Reply:
    """A response in the making."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def question(method: str, path: str, customer: str | None, body: bytes = b"", known: str | None = None) -> Question:
    """Return what is asked at a path below the mount; raises Refused for what cannot be answered.

    `customer` is that of the session, `known` the If-None-Match header.
    """
    path = path.rstrip("/")
    wanted = {SNAPSHOT: {"GET", "HEAD"}}.get(path, {"POST"})
    if path not in {SNAPSHOT, FLAGS} and not path.startswith(f"{FLAGS}/"):
        raise Refused(404, "not_found", "there is nothing here")
    if method not in wanted:
        allowed = sorted(wanted)
        raise Refused(405, "not_allowed", f"ask this by {' or '.join(allowed)}", {"Allow": ", ".join(allowed)})
    if customer is None:
        raise refuse(401, "no_customer", "nobody is signed in", said=path)
    if path == SNAPSHOT:
        return Question(SNAPSHOT, None, known)
    check_own(context_posted(body), customer)
    feature = unquote(path.removeprefix(FLAGS).removeprefix("/")) or None
    return Question(FLAGS, feature, known)


def reply(asked: Question, snapshot: Snapshot, catalog: Catalog) -> Reply:
    """Return the answer to a question from a customer's snapshot, and the catalog that tells flags from settings."""
    if asked.path == SNAPSHOT:
        return _tagged(asked, snapshot, snapshot.to_dict())
    if asked.feature is None:
        flags = [flag_of(decision, catalog) for decision in snapshot.features.values()]
        return _tagged(asked, snapshot, {"flags": flags, "metadata": {"version": snapshot.catalog_version}})
    decision = snapshot.features.get(asked.feature)
    if decision is None:
        missing = {
            "key": asked.feature,
            "errorCode": "FLAG_NOT_FOUND",
            "errorDetails": "the catalog has no such feature",
        }
        return _json(404, missing)
    return _json(200, flag_of(decision, catalog))


def flag_of(decision: Decision, catalog: Catalog) -> dict[str, Any]:
    """Return a decision as a flag: a setting is its value, everything else is true or false.

    A setting that is not granted has no value, so that a client falls back on its own default.
    """
    flag: dict[str, Any] = {
        "key": decision.feature,
        "reason": reason_of(decision),
        "variant": variant_of(decision),
        "metadata": metadata_of(decision),
    }
    value = value_of(decision, catalog)
    return flag if value is None else {**flag, "value": value}


def value_of(decision: Decision, catalog: Catalog) -> Any:
    """Return what a flag is worth: true or false, a number, a text or a list; None for a setting not granted."""
    feature, value = catalog.features.get(decision.feature), decision.value
    if feature is None or feature.type != "config":
        return decision.allowed
    if not decision.allowed:
        return None
    if isinstance(value, tuple):
        return list(value)
    return float(value) if isinstance(value, Decimal) else value


def reason_of(decision: Decision) -> str:
    """Return the reason of a flag, in the words of OpenFeature."""
    if decision.stale:
        return "STALE"
    return "TARGETING_MATCH" if decision.allowed else "DEFAULT"


def variant_of(decision: Decision) -> str:
    """Return which answer it is: the source that grants it, or the code of the denial."""
    return decision.source if decision.allowed and decision.source else decision.code


def metadata_of(decision: Decision) -> dict[str, bool | int | float | str]:
    """Return what else a front end may show, flat: what is not known is left out."""
    said = {
        "code": decision.code,
        "detail": detail_of(decision),
        "source": decision.source,
        "limit": None if decision.unlimited else json_number(decision.limit),
        "unlimited": decision.unlimited or None,
        "used": json_number(decision.used),
        "remaining": None if decision.unlimited else json_number(decision.remaining),
        "resets_at": json_instant(decision.resets_at),
        "upgrade": ",".join(decision.upgrade) or None,
        "version": decision.catalog_version,
    }
    return {name: value for name, value in said.items() if value is not None}


def matches(known: str | None, etag: str) -> bool:
    """Tell whether an If-None-Match header names an entity tag."""
    if known is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in known.split(",")]
    return f'"{etag}"' in tags or "*" in tags


def _tagged(asked: Question, snapshot: Snapshot, told: dict[str, Any]) -> Reply:
    headers = {"ETag": f'"{snapshot.etag}"', "Cache-Control": "private, no-cache"}
    if matches(asked.known, snapshot.etag):
        return Reply(304, headers, b"")
    return _json(200, told, **headers)


def _json(status: int, told: dict[str, Any], **headers: str) -> Reply:
    usual = {"Content-Type": "application/json", "Cache-Control": "private, no-store"}
    return Reply(status, {**usual, **headers}, json.dumps(told).encode())
