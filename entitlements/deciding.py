"""Deciding: where resolution and the ledger meet.

    reads(case)  -> names of the counters the decision needs
    decide(case, prior) -> the answer, and the batch to append

Pure: no clock, no I/O, nothing awaited. A key that was answered before is answered again from its
batch; everything else is a table from verb to decision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, cast

from . import metering
from .amounts import canonical, to_units
from .cases import Case
from .catalog.model import ConfigValue, Feature
from .changing import CHANGES
from .decisions import Decision, Receipt, restored
from .errors import IdempotencyConflict
from .judging import Question, judge, unknown_feature
from .ledger.entries import Batch, CounterKey, Verdict
from .snapshots import Answers, Snapshot
from .upgrades import with_upgrade
from .using import USES

_CONFIG_TYPES: Mapping[str, tuple[type, ...]] = {
    "integer": (int,),
    "decimal": (Decimal,),
    "text": (str,),
    "boolean": (bool,),
    "list": (str, tuple),
}
VERBS: Mapping[str, Callable[[Case], Verdict[Any]]] = {**CHANGES, **USES}


def reads(case: Case) -> tuple[CounterKey, ...]:
    """Return the counters that deciding the case needs."""
    if case.request.verb in CHANGES:
        resets = case.request.verb == "change_plan" and case.value("usage") == "reset"
        return counters_of(case, None) if resets else ()
    return counters_of(case, case.value("feature"))


def counters_of(case: Case, feature: str | None) -> tuple[CounterKey, ...]:
    """Return the counters of a feature's open windows, or with None those of every feature."""
    at = case.value("occurred_at") or case.at
    if feature is None:
        return metering.counters(case.entitlements, case.head.opened, at)
    known = case.catalog.features.get(feature)
    if known is None or known.type != "metered":
        return ()
    return metering.counters_of(case.entitlements, case.head.opened, known, at)


def decide(case: Case, prior: Batch | None) -> Verdict[Any]:
    """Return the verdict on a case; `prior` is the batch that its key wrote before, if any.

    Raises IdempotencyConflict where the key was used for another request, and what the verb raises.
    """
    if prior is not None:
        return Verdict(replayed(case, prior))
    return VERBS[case.request.verb](case)


def replayed(case: Case, prior: Batch) -> Any:
    """Return the first answer to a key again; raises IdempotencyConflict naming the field that differs."""
    asked = case.request.asked
    for field in ("verb", *sorted(asked.keys() | prior.request.keys())):
        if asked.get(field) != prior.request.get(field):
            raise IdempotencyConflict(field, prior.request.get(field), asked.get(field), key=prior.key)
    if case.request.verb in USES:
        receipt = Receipt(prior.key, prior.entries[-1].seq, replayed=True)
        return restored(prior.result, customer=case.customer, feature=case.value("feature"), receipt=receipt)
    facts = prior.entries[0].data["facts"]
    return facts[0] if facts else None


def check(case: Case) -> Decision:
    """Return what would be decided, with upgrades for a denial; nothing is written.

    Raises AmountError for an amount that is none, TypeError for a value that is not of the feature's
    type.
    """
    key = case.value("feature")
    if key not in case.catalog.features:
        return unknown_feature(case.catalog, case.customer, key, case.at)
    return _answer(case, case.catalog.features[key])


def snapshot(case: Case) -> Snapshot:
    """Return what is decided about every feature of the catalog, all of one state and one instant."""
    features = case.catalog.features
    answers = Answers(features, lambda key: _answer(case, features[key]))
    return Snapshot(case.customer, case.at, case.catalog.version, answers)


def _answer(case: Case, feature: Feature) -> Decision:
    question = question_of(case, feature)
    decision, _, _ = judge(question, case.entitlements, case.head, case.counters)
    return with_upgrade(decision, question, case)


def question_of(case: Case, feature: Feature) -> Question:
    """Return the question a check asks about a feature."""
    metered = feature.type == "metered"
    amount = case.value("requested")
    return Question(
        case.customer,
        feature,
        to_units(1 if amount is None else amount, feature.scale, what="requested") if metered else 1,
        case.at,
        value=_asked_value(feature, case.value("value")),
        scope=case.value("scope"),
        throttle_within=case.throttle_within,
    )


def _asked_value(feature: Feature, value: Any) -> ConfigValue | None:
    if value is None:
        return None
    if feature.type != "config":
        raise TypeError(f"feature {feature.key!r} is {feature.type}; value= is for config features")
    if feature.value == "decimal" and isinstance(value, int | str) and not isinstance(value, bool):
        return Decimal(canonical(value, what="value"))
    if feature.value == "integer" and isinstance(value, Decimal) and value == value.to_integral_value():
        return int(value)
    if not isinstance(value, _CONFIG_TYPES[feature.value]) or isinstance(value, bool) is not (
        feature.value == "boolean"
    ):
        raise TypeError(
            f"value is of type {type(value).__name__}; feature {feature.key!r} holds {feature.value} values"
        )
    return cast("ConfigValue", value)
