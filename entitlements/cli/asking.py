"""`check` and `explain`: what a customer may do, and why."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import click

from ..amounts import canonical
from ..catalog.model import Feature
from ..decisions import Decision
from ..engine import Entitlements
from ..errors import shown
from ..reports.explain import Explanation
from ..wording import alternatives, instant, number, source, to_ceiling
from .options import asking_options, customer_id, exact_amount, opened
from .pages import page
from .replies import DENIED, FINE, STORAGE, Misuse, Reply, columns, counted, heading, painted

_CODES: Final = "Exit codes: 0 allowed, 1 denied, 2 misuse, 3 storage."


@click.command(short_help="Say whether a customer may have a feature.", epilog=_CODES)
@click.argument("customer", callback=customer_id)
@click.argument("feature")
@click.option("--requested", callback=exact_amount, metavar="N", help="How much of a metered feature.  [default: 1]")
@click.option("--value", metavar="V", help="Which value of a config feature; a list is written a,b.")
@asking_options
def check(
    customer: str,
    feature: str,
    requested: str | None,
    value: str | None,
    at: datetime | None,
    catalog_path: str,
    storage: str,
) -> Reply:
    """Say whether CUSTOMER may have FEATURE; nothing is recorded."""
    with opened(catalog_path, storage) as engine:
        asked = _asked(engine.catalog.features.get(feature), requested, value)
        decision = engine.check(customer, feature, at=at, **asked)
    return Reply(decision.to_dict(), painted("\n".join(_lines(decision))), _code(decision))


@click.command(short_help="Say why a customer may have a feature or not.", epilog=f"{_CODES} Without FEATURE: 0.")
@click.argument("customer", callback=customer_id)
@click.argument("feature", required=False)
@click.option("--as-of", type=click.IntRange(min=0), metavar="N", help="Know only the log up to entry N.")
@click.option("--html", type=click.Path(dir_okay=False), metavar="FILE", help="Write it as a web page, too.")
@asking_options
def explain(
    customer: str,
    feature: str | None,
    as_of: int | None,
    html: str | None,
    at: datetime | None,
    catalog_path: str,
    storage: str,
) -> Reply:
    """Say why CUSTOMER may have FEATURE or not; without FEATURE, what they may have of everything."""
    with opened(catalog_path, storage) as engine:
        asked = [feature] if feature is not None else list(engine.catalog.features)
        explained = [engine.explain(customer, key, at=at, as_of=as_of) for key in asked]
        reply = _one(explained[0]) if feature is not None else _all(engine, customer, explained, at)
    return reply if html is None else _written(reply, customer, explained, Path(html))


def _asked(feature: Feature | None, requested: str | None, value: str | None) -> dict[str, Any]:
    if feature is None:
        return {}
    if requested is not None and feature.type != "metered":
        raise Misuse(f"{feature.key} is a {feature.type} feature and has no amount; leave --requested out")
    if value is not None and feature.type != "config":
        raise Misuse(f"{feature.key} is a {feature.type} feature and has no values; leave --value out")
    amount = {} if requested is None else {"requested": requested}
    return amount if value is None else {"value": _value(feature, value)}


def _value(feature: Feature, value: str) -> object:
    """Return a value as the feature holds it; raises Misuse for text that is none."""
    try:
        match feature.value:
            case "integer":
                return int(value)
            case "decimal":
                return _decimal(value)
            case "boolean":
                return {"true": True, "false": False}[value]
            case "list":
                return tuple(part.strip() for part in value.split(","))
            case _:
                return value
    except (ValueError, KeyError):
        words = {"integer": "a whole number", "decimal": "a number such as 2.50", "boolean": "true or false"}
        raise Misuse(f"--value is {shown(value)}; {feature.key} holds {words[feature.value]}") from None


def _decimal(value: str) -> Decimal:
    return Decimal(canonical(value))


def _code(decision: Decision) -> int:
    if decision.code == "storage_unavailable":
        return STORAGE
    return FINE if decision.allowed else DENIED


def _lines(decision: Decision) -> list[str]:
    lines = [str(decision)]
    if decision.allowed and decision.remaining is not None:
        resets = "" if decision.resets_at is None else f", resets {instant(decision.resets_at)}"
        lines.append(f"  {number(decision.remaining)} left{to_ceiling(decision)}{resets}")
    return lines


def _one(explanation: Explanation) -> Reply:
    return Reply(explanation.to_dict(), painted(str(explanation)), _code(explanation.decision))


def _all(engine: Entitlements, customer: str, explained: Sequence[Explanation], at: datetime | None) -> Reply:
    decisions = [explanation.decision for explanation in explained]
    allowed = sum(decision.allowed for decision in decisions)
    when = "" if at is None else f" on {instant(at)}"
    text = [
        heading(f"{customer}: {allowed} of {counted(len(decisions), 'feature')} allowed{when}"),
        painted("\n".join(columns([_row(decision) for decision in decisions], indent=2))),
        f"Why, for one of them: entitlements explain {customer} FEATURE",
    ]
    data = {
        "customer": customer,
        "catalog_version": engine.catalog.version,
        "features": {explanation.decision.feature: explanation.to_dict() for explanation in explained},
    }
    return Reply(data, "\n".join(text))


def _row(decision: Decision) -> tuple[str, str, str, str]:
    if not decision.allowed:
        hint = f"{alternatives(decision.upgrade)} would allow it" if decision.upgrade else ""
        return "denied", decision.feature, decision.code.replace("_", " "), hint
    return "allowed", decision.feature, _have(decision), source(decision.source)


def _have(decision: Decision) -> str:
    if decision.used is None:
        value = decision.value
        return ", ".join(value) if isinstance(value, tuple) else "yes" if value is True else str(value)
    resets = "" if decision.resets_at is None else f", resets {instant(decision.resets_at)}"
    return f"{number(decision.used)} of {number(decision.limit)} used{resets}"


def _written(reply: Reply, customer: str, explained: Sequence[Explanation], path: Path) -> Reply:
    try:
        path.write_text(page(customer, explained), encoding="utf-8")
    except OSError as error:
        raise Misuse(f"{path} cannot be written: {error.strerror}; name another file with --html") from error
    return Reply({**reply.data, "html": str(path)}, f"{reply.text}\nWritten to {path}", reply.code)
