"""Every exception of the package, carried to another process or copied: it says and holds the same."""

import copy
import pickle
import pkgutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from importlib import import_module
from typing import Any

import attrs
import pytest

import entitlements
from entitlements import CatalogError, EntitlementDenied, Entitlements, IdempotencyConflict, UnknownPlan
from entitlements.amounts import UNLIMITED
from entitlements.catalog.problems import Problem
from entitlements.decisions import Allowance, Decision, Receipt
from entitlements.errors import EntitlementsError, UnknownBlock, UnknownCredit, UnknownFeature

AT = datetime(2026, 5, 10, 12, tzinfo=UTC)
DENIED = Decision(
    False,
    "limit_reached",
    "acme",
    "calls",
    "block",
    limit=10,
    used=Decimal("12.50"),
    source="plan:pro",
    scope={"team": "x"},
    receipt=Receipt("k", 3, burned={"b1": Decimal("1.00")}),
    choices=(Allowance("plan:pro", UNLIMITED, 3), Allowance("trial:pro", 5, 5)),
    at=AT,
)
PROBLEM = Problem("plans.pro", "needs the key 'x'", "catalog.yaml", 3, 4)
ARGUMENTS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "CatalogError": (([PROBLEM, attrs.evolve(PROBLEM, line=9)],), {"origin": "catalog.yaml"}),
    "_Unknown": (("pro",), {"known": ["pros", "free"], "hint": "see the catalog"}),
    "EntitlementDenied": ((DENIED,), {}),
    "IdempotencyConflict": (("amount", {"input": 1}, {"input": 2}), {"key": "k1"}),
    "KeyUsed": (("k1", "under way"), {}),
    "HoldClosed": (("h1", "settled"), {}),
    "OutcomeUnknown": (("k1",), {}),
    "Refused": ((401, "no_customer", "no customer is known here"), {}),
}
"""What the exceptions that have an `__init__` of their own are made from, by the class that has it."""
PLAIN = (("it failed; try again",), {})


def subclasses(kind: type[EntitlementsError]) -> Iterator[type[EntitlementsError]]:
    for sub in kind.__subclasses__():
        yield sub
        yield from subclasses(sub)


def every_kind() -> list[type[EntitlementsError]]:
    """Return all exceptions of the package, wherever they are."""
    for module in pkgutil.walk_packages(entitlements.__path__, "entitlements."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    found = {EntitlementsError, *subclasses(EntitlementsError)}
    return sorted((kind for kind in found if kind.__module__.startswith("entitlements.")), key=lambda kind: str(kind))


def made(kind: type[EntitlementsError]) -> EntitlementsError:
    home = next(base for base in kind.__mro__ if "__init__" in vars(base))
    arguments, more = ARGUMENTS[home.__name__] if home.__module__.startswith("entitlements.") else PLAIN
    return kind(*arguments, **more)


WAYS: dict[str, Callable[[Any], Any]] = {
    **{
        f"pickle {n}": lambda error, n=n: pickle.loads(pickle.dumps(error, n))
        for n in range(pickle.HIGHEST_PROTOCOL + 1)
    },
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", every_kind(), ids=lambda kind: kind.__name__)
def test_an_exception_that_travels_says_and_carries_the_same(kind: type[EntitlementsError], way: str) -> None:
    error = made(kind)
    again = WAYS[way](error)
    assert type(again) is kind
    assert again is not error
    assert str(again) == str(error)
    assert again.args == error.args
    assert vars(again) == vars(error)


def test_the_walk_finds_exceptions_outside_of_their_module() -> None:
    names = {kind.__name__ for kind in every_kind()}
    assert {"CatalogError", "UnknownHold", "Refused", "FeatureDenied", "TransactionLost", "Lost"} <= names


def test_a_note_does_not_stand_in_the_way() -> None:
    error = UnknownPlan("pr", ["pro"])
    error.add_note("while subscribing acme")
    assert vars(copy.copy(error)) == {"word": "pr"}


def asked_elsewhere(verb: str) -> None:
    """Do what is refused, in a process of a pool."""
    catalog = {
        "features": {"calls": {"type": "metered", "reset": "month"}, "sso": {"type": "boolean"}},
        "plans": {"free": {"entitlements": {"calls": 5}}},
    }
    with Entitlements(catalog, storage="memory:", clock=lambda: AT) as ent:
        ent.subscribe("acme", "free")
        ent.consume("acme", "calls", 2, key="k", scope="team:x")
        if verb == "raise_if_denied":
            ent.set_budget("acme", "team:x", feature="calls", limit=1, every="month")
            ent.consume("acme", "calls", 2, key="l", scope="team:x").raise_if_denied()
        elif verb == "consume":
            ent.consume("acme", "calls", 2, key="k", scope="team:y")
        elif verb == "subscribe":
            ent.subscribe("other", "fre")
        else:
            Entitlements({"plan": {}, "default_plan": "pro"}, storage="memory:")


def test_what_is_refused_in_a_process_of_a_pool_arrives_as_it_was_raised() -> None:
    with ProcessPoolExecutor(1) as pool:
        calls = {
            verb: pool.submit(asked_elsewhere, verb) for verb in ("raise_if_denied", "consume", "subscribe", "load")
        }
        raised = {verb: call.exception() for verb, call in calls.items()}
    assert isinstance(raised["raise_if_denied"], EntitlementDenied)
    assert raised["raise_if_denied"].decision.code == "budget_exceeded"
    assert str(raised["raise_if_denied"]) == raised["raise_if_denied"].decision.reason
    assert isinstance(raised["consume"], IdempotencyConflict)
    assert raised["consume"].second == {"team": "y"}
    assert str(raised["subscribe"]) == "unknown plan 'fre'; did you mean 'free'?"
    assert isinstance(raised["load"], CatalogError)
    assert len(raised["load"].problems) == str(raised["load"]).count("\n")


def test_where_nothing_is_near_up_to_five_of_what_there_is_are_named():
    assert str(UnknownPlan("zzz", ["pro", "free"])) == "unknown plan 'zzz'; there are 'pro', 'free'"
    assert str(UnknownPlan("zzz", ["pro"])) == "unknown plan 'zzz'; there is 'pro'"
    assert str(UnknownPlan("zzz")) == "unknown plan 'zzz'"
    assert str(UnknownPlan("por", ["pro", "free"])) == "unknown plan 'por'; did you mean 'pro'?"
    assert str(UnknownCredit("zzz", "abcdef")).endswith("; there are 'a', 'b', 'c', 'd', 'e', …")


def test_a_name_that_is_near_none_is_answered_with_those_there_are():
    few = {"features": {"exports": {"type": "boolean"}, "seats": {"type": "metered"}}, "credits": {"ai": {}}}
    with Entitlements(few, storage="memory:") as ent:
        assert ent.check("acme", "qqq").reason == "no feature 'qqq' in the catalog; there are 'exports', 'seats'"
        assert ent.consume_credits("acme", "qqq", 1, key="c").reason == "no credit 'qqq' in the catalog; there is 'ai'"
        with pytest.raises(UnknownFeature, match="unknown feature 'qqq'; there are 'exports', 'seats'"):
            ent.override("acme", "qqq", True)
        ent.grant_credits("acme", "ai", 5, key="g")
        with pytest.raises(UnknownBlock, match="unknown block 'x'; a block's id is the key it was granted with"):
            ent.void_block("acme", "x")
    with Entitlements({}, storage="memory:") as ent:
        assert ent.check("acme", "qqq").reason == "no feature 'qqq' in the catalog; the catalog declares none"
        with pytest.raises(UnknownCredit, match="unknown credit 'ai'; the catalog declares none"):
            ent.balance("acme", "ai")
    assert str(UnknownPlan("pro")) == "unknown plan 'pro'"
