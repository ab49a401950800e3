"""Deciding: where resolution and the ledger meet.

    reads(case)  -> names of the counters the decision needs
    decide(case, prior) -> the answer, and the batch to append

Pure: no clock, no I/O, nothing awaited. A key that was answered before is answered again from its
batch; everything else is a table from verb to decision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, cast

import attrs

from . import metering
from .amounts import canonical, to_units
from .balances import balance_of, changes_at
from .budgeting import Use, counters_under
from .capping import counters_capped
from .cases import Case, verdict
from .catalog.model import EMPTY, ConfigValue, Feature
from .changing import CHANGES
from .charging import judged
from .decisions import Decision, Receipt, restored
from .errors import IdempotencyConflict, UnknownCustomer
from .granting import grant_credits, void_block
from .holding import CLOSED, check_closed, hold_of, release, reserve, reserve_credits, settle
from .judging import unknown_feature
from .ledger.blocks import Block, OpenHold
from .ledger.credit_encoding import decode_block
from .ledger.entries import Batch, CounterKey, Entry, Verdict
from .ledger.sealing import is_sealed
from .ledger.state import FACT_KINDS
from .refunding import refund, taking_of
from .snapshots import Answers, Snapshot
from .spending import consume_credits
from .thresholds import counters_changed, watched
from .upgrades import with_upgrade
from .usage_tree import tree_counters
from .using import USES
from .weighing import Question
from .wording import argument

_CONFIG_TYPES: Mapping[str, tuple[type, ...]] = {
    "integer": (int,),
    "decimal": (Decimal,),
    "text": (str,),
    "boolean": (bool,),
    "list": (str, tuple),
}


def sweep(case: Case) -> Verdict[int]:
    """Book what fell due, and return how many entries that was; nobody is heard of for the first time by that."""
    if not case.head.known:
        return Verdict(0)
    count = len(case.due) + len(case.alerts(()))
    return verdict(case, (), count) if count else Verdict(0)


def erase(case: Case) -> Verdict[None]:
    """Book that everything personal in the log is erased; the storage does it with the same batch.

    Raises UnknownCustomer for a customer without a log.
    """
    if not case.head.known:
        raise UnknownCustomer(case.customer, hint="there is no log to erase anything from")
    return verdict(case, [Entry("erased", case.at, case.customer)], None)


_ARGUMENTS: Mapping[tuple[str, str], str] = {("correct_usage", "amount"): "used"}
"""The arguments that a request names otherwise than its verb does."""
CREDITS: Mapping[str, Callable[[Case], Verdict[Decision]]] = {
    "consume_credits": consume_credits,
    "reserve_credits": reserve_credits,
    "reserve": reserve,
    "settle": settle,
    "release": release,
    "refund": refund,
}
BLOCKS: Mapping[str, Callable[[Case], Verdict[Block]]] = {"grant_credits": grant_credits, "void_block": void_block}
BOOKS: Mapping[str, Callable[[Case], Verdict[Any]]] = {"sweep": sweep, "erase": erase}
VERBS: Mapping[str, Callable[[Case], Verdict[Any]]] = {**CHANGES, **USES, **CREDITS, **BLOCKS, **BOOKS}


def reads(case: Case) -> tuple[CounterKey, ...]:
    """Return the counters that deciding the case needs."""
    if case.request.verb in CHANGES:
        return _counters_of_change(case)
    if case.request.verb in CLOSED:
        return _counters_of_hold(case)
    if case.request.verb == "refund":
        return _counters_of_batch(case)
    return counters_of(case, case.value("feature") or "")


def _counters_of_change(case: Case) -> tuple[CounterKey, ...]:
    """Return the counters that tell what a change of facts or of a budget comes to."""
    if case.request.verb in {"set_budget", "remove_budget"}:
        return counters_capped(case)
    begins = [(case.value("anchor") or case.since, case.value("zone") or "UTC")] if case.value("plan") else []
    if case.value("usage") != "reset":
        return counters_changed(case.entitlements, case.head, case.at, begins, watched(case.catalog))
    metered = [feature for feature in case.catalog.features.values() if feature.type == "metered"]
    return (*counters_of(case, None), *counters_changed(case.entitlements, case.head, case.at, begins, metered))


def _counters_of_hold(case: Case) -> tuple[CounterKey, ...]:
    hold = case.head.holds.get(case.value("hold")) or _opened_by(case)
    if hold is None:
        return ()
    held = [(name, start) for name, start, _ in hold.counters]
    held += [(budget.id, budget.start) for budget in hold.budgets]
    told: dict[str, Any] = {"scope": dict(hold.purpose.scope), "dimensions": dict(hold.dimensions)}
    told |= {"feature" if hold.usage else "credit": hold.subject}
    used = attrs.evolve(case, request=attrs.evolve(case.request, values={**case.request.values, **told}))
    used.__dict__["entitlements"] = case.entitlements
    return (*held, *counters_of(used, hold.subject if hold.usage else ""))


def _opened_by(case: Case) -> OpenHold | None:
    batch = case.found.get(case.value("hold"))
    return hold_of(batch) if batch is not None else None


def _counters_of_batch(case: Case) -> tuple[CounterKey, ...]:
    taking = taking_of(case)
    if taking is None:
        return ()
    return (taking.counter, *((line.counter, line.window) for line in taking.lines if line.window is not None))


def counters_of(case: Case, feature: str | None) -> tuple[CounterKey, ...]:
    """Return the counters of a feature's open windows, or with None those of every feature."""
    at = case.value("occurred_at") or case.at
    if case.request.verb == "usage_tree":
        return tree_counters(case)
    if feature is None:
        usage = metering.counters(case.entitlements, case.head.opened, at)
        return usage if not case.head.budgets else (*usage, *_all_budget_counters(case))
    named = case.catalog.features.get(feature)
    metered = named if named is not None and named.type == "metered" else None
    budgets = counters_under(case, _use(case, metered)) if case.head.budgets else ()
    if metered is None:
        return budgets
    known = case.metered(metered, at)
    usage = metering.counters_of(case.entitlements, case.head.opened, metered, at, known)
    return usage if not budgets else (*usage, *budgets)


def _use(case: Case, feature: Feature | None) -> Use:
    """Return what a request is counted as, as far as it says which budgets it falls under."""
    terms = (case.value("scope") or EMPTY, case.value("dimensions") or EMPTY, case.value("occurred_at"))
    credit = case.value("credit")
    if credit:
        return Use(None, 0, credit, 0, *terms)
    rate = case.catalog.rates.get(feature.key) if feature is not None else None
    return Use(feature, 0, None if rate is None else rate.credit, 0, *terms)


def _all_budget_counters(case: Case) -> Iterator[CounterKey]:
    """Yield the counters of the budgets on the whole customer."""
    for feature in case.catalog.features.values():
        if feature.type == "metered":
            yield from counters_under(case, _use(case, feature))


def decide(case: Case, prior: Batch | None) -> Verdict[Any]:
    """Return the verdict on a case; `prior` is the batch that its key wrote before, if any.

    Raises IdempotencyConflict where the key was used for another request, and what the verb raises.
    """
    if prior is not None:
        return Verdict(replayed(case, prior))
    return VERBS[case.request.verb](case)


def replayed(case: Case, prior: Batch) -> Any:
    """Return the first answer to a key again; raises IdempotencyConflict naming the field that differs.

    What was erased since cannot be compared: there, whatever is given passes.
    """
    if case.request.verb in CLOSED:
        check_closed(case, prior)
    asked = case.request.asked
    for field in ("verb", *sorted(asked.keys() | prior.request.keys())):
        first, second = prior.request.get(field), asked.get(field)
        if first != second and (second is None or not is_sealed(first)):
            name = _ARGUMENTS.get((case.request.verb, field), field)
            raise IdempotencyConflict(name, argument(field, first), argument(field, second), key=prior.key)
    if case.request.verb in BOOKS:
        return len(prior.entries) if case.request.verb == "sweep" else None
    if case.request.verb in BLOCKS:
        return decode_block(prior.result["block"])
    if case.request.verb in USES or case.request.verb in CREDITS:
        receipt = Receipt(prior.key, prior.entries[-1].seq, replayed=True)
        return restored(prior.result, customer=case.customer, feature=case.value("feature") or "", receipt=receipt)
    facts = next(entry.data["facts"] for entry in prior.entries if entry.kind in FACT_KINDS)
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
    """Return the answer on every feature and credit of the catalog, all of one state and one instant."""
    features = case.catalog.features
    answers = Answers(features, lambda key: _answer(case, features[key]))
    kinds = case.catalog.credits
    balances = Answers(kinds, lambda key: balance_of(case, key).to_dict()) if kinds else EMPTY
    return Snapshot(case.customer, case.at, case.catalog.version, answers, balances, lambda: changes_at(case))


def _answer(case: Case, feature: Feature) -> Decision:
    question = question_of(case, feature)
    judgement = judged(case, question)
    return _while_held(with_upgrade(judgement.decision, question, case), case)


def _while_held(decision: Decision, case: Case) -> Decision:
    """Return the decision, valid no longer than until a hold on the feature lapses and gives back what it set aside."""
    holds = case.books().holds.values() if case.head.holds else ()
    lapses = [hold.ends_at for hold in holds if hold.counters and hold.subject == decision.feature]
    edges = [edge for edge in (decision.valid_until, *lapses) if edge is not None]
    return attrs.evolve(decision, valid_until=min(edges)) if lapses and edges else decision


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
        dimensions=case.value("dimensions"),
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
