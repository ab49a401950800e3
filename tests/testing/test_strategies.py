"""What the strategies draw: valid, varied, and simple where nothing more is asked for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from entitlements import Block, Catalog, Decision, Entitlements, Entry, Unlimited
from entitlements.amounts import to_units
from entitlements.ledger.facts import SECTIONS, Facts, holds
from entitlements.periods import Window
from entitlements.resolution import resolve
from entitlements.testing import FrozenClock, strategies
from entitlements.testing.strategies import AT, catalogs, decisions, facts, grants, instants

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
FINDING = settings(max_examples=1000, database=None, phases=[Phase.generate, Phase.shrink], deadline=None)
SHOP = Catalog.load(
    {
        "features": {
            "calls": {"type": "metered", "reset": "month"},
            "exports": {"type": "boolean"},
            "history": {"type": "config", "value": "integer", "prefer": "max"},
        },
        "credits": {"ai": {"scale": 2, "currency": "USD"}, "plain": {}},
        "plans": {
            "free": {"entitlements": {"calls": 3}},
            "pro": {"entitlements": {"calls": {"limit": 9, "depletion": "soft", "ceiling": 12}, "exports": True}},
        },
        "addons": {"more": {"entitlements": {"calls": 5}}},
        "promotions": {"launch": {"entitlements": {"history": 30}}},
    }
)


def found(strategy: st.SearchStrategy[Any], condition: Callable[[Any], object]) -> Any:
    """The simplest that meets the condition; NoSuchExample where there is none to be had."""
    return find(strategy, lambda value: bool(condition(value)), settings=FINDING)


# Valid


@QUICK
@given(st.data())
def test_facts_of_any_catalog_resolve_at_any_instant(data: st.DataObject) -> None:
    catalog = data.draw(catalogs())
    held, at = data.draw(facts(catalog)), data.draw(instants(days=60))
    for row in held.subscriptions:
        assert catalog.plans[row.plan].product == row.product
    for section in SECTIONS:
        keys = [fact.key for fact in getattr(held, section)]
        assert keys == sorted(set(keys))
    resolved = resolve(catalog, held, at)
    assert resolved.at == at


@QUICK
@given(decisions())
def test_a_drawn_decision_holds_together(decision: Decision) -> None:
    assert bool(decision) is decision.allowed is (decision.outcome == "allow") is (decision.code == "ok")
    assert decision.to_dict()["reason"] == decision.reason != ""
    assert decision.window_start is None or decision.window_start <= AT
    assert decision.resets_at is None or decision.resets_at > AT


serial = count()


@pytest.fixture(scope="module")
def shop() -> Any:
    with Entitlements(SHOP, storage="memory:", clock=FrozenClock(AT)) as ent:
        yield ent


@QUICK
@given(grant=grants(SHOP))
def test_every_grant_is_taken_as_it_is_written(shop: Entitlements, grant: dict[str, Any]) -> None:
    customer = f"c{next(serial)}"
    block = shop.grant_credits(customer, key="g", **grant)
    assert block.units == block.free_units == to_units(grant["amount"], SHOP.credits[grant["credit"]].scale)
    assert block.expires_at == (AT + grant["expires_in"] if "expires_in" in grant else None)
    assert [found.id for found in shop.balance(customer, grant["credit"]).blocks] == ["g"]


@QUICK
@given(st.from_type(Block))
def test_the_parts_of_a_drawn_block_are_within_the_whole(block: Block) -> None:
    assert 0 <= block.free_units + block.held_units <= block.units
    assert block.expires_at is None or block.expires_at > block.effective_at


@QUICK
@given(st.from_type(Window), st.from_type(Entry))
def test_windows_are_open_at_their_end_and_lines_are_of_a_known_kind(window: Window, entry: Entry) -> None:
    assert window.start in window
    assert window.end not in window
    assert window.end - window.start >= timedelta(hours=6)
    assert entry.kind in {"used", "recorded", "freed", "usage_reset", "opened", "catalog_kept"} or "facts" in entry.data


def test_a_catalog_without_the_thing_asked_for_is_told_at_once() -> None:
    drawing = (grants, strategies.subscriptions, strategies.trials, strategies.held_addons, strategies.promotion_runs,
               strategies.overrides)  # fmt: skip
    for strategy in drawing:
        with pytest.raises(ValueError, match="nothing of this kind"):
            find(strategy(Catalog.load({})), lambda value: True, settings=FINDING)


def test_a_catalog_without_features_has_one_answer() -> None:
    assert found(decisions(Catalog.load({})), lambda decision: True).code in {"unknown_feature", "unknown_customer"}


# Varied

CASES: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], object]]] = {
    "a customer with nothing": (facts(SHOP), lambda held: held == Facts()),
    "something of every kind": (facts(SHOP), lambda held: all(getattr(held, section) for section in SECTIONS)),
    "a subscription in force": (facts(SHOP), lambda held: any(holds(row, AT) for row in held.subscriptions)),
    "one that ends at the very instant": (facts(SHOP), lambda held: any(row.until == AT for row in held.subscriptions)),
    "one still to come": (facts(SHOP), lambda held: any(row.since > AT for row in held.subscriptions)),
    "a paused one": (facts(SHOP), lambda held: any(row.status == "paused" for row in held.subscriptions)),
    "a denial": (strategies.overrides(SHOP), lambda fact: fact.entitlement.mode == "deny"),
    "an addition": (strategies.overrides(SHOP), lambda fact: fact.entitlement.mode == "add"),
    "an unlimited override": (
        strategies.overrides(SHOP),
        lambda fact: any(isinstance(limit.amount, Unlimited) for limit in fact.entitlement.limits),
    ),
    "a config value": (strategies.overrides(SHOP), lambda fact: fact.entitlement.feature == "history" and fact.entitlement.value),
    "a free grant": (grants(SHOP), lambda grant: grant.get("cost_basis") == 0),
    "a fraction as a string": (grants(SHOP), lambda grant: "." in str(grant["amount"]) and isinstance(grant["amount"], str)),
    "a decimal": (grants(SHOP), lambda grant: isinstance(grant["amount"], Decimal)),
    "a restricted grant": (grants(SHOP), lambda grant: "features" in grant and "scope" in grant),
    "a block held in part": (strategies.blocks(), lambda block: block.held_units and block.free_units),
    "a block used up": (strategies.blocks(), lambda block: not block.held_units and not block.free_units),
    "a long history": (strategies.histories(), lambda history: len(history) > 5),
    "two windows at once": (strategies.windows(), lambda window: window.start < AT < window.end),
}  # fmt: skip
CODES = ("ok", "unknown_feature", "unknown_customer", "denied_by_override", "no_active_subscription", "trial_ended",
         "not_in_plan", "limit_reached")  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_this_is_drawn_too(case: str) -> None:
    strategy, condition = CASES[case]
    assert condition(found(strategy, condition))


@pytest.mark.parametrize("code", CODES)
def test_a_decision_of_every_code_that_a_check_can_have_is_drawn(code: str) -> None:
    assert found(decisions(SHOP), lambda decision: decision.code == code).code == code


@pytest.mark.parametrize("wanted", ["unlimited", "soft", "upgrade", "stale"])
def test_decisions_differ_in_more_than_their_code(wanted: str) -> None:
    if wanted == "stale":  # what was drawn was decided, not remembered
        assert not found(decisions(SHOP), lambda decision: decision.allowed).stale
    else:
        assert getattr(found(decisions(SHOP), lambda decision: getattr(decision, wanted)), wanted)


# Simple


def test_what_fails_for_any_customer_fails_for_one_with_nothing() -> None:
    assert found(facts(SHOP), lambda held: True) == Facts()
    assert found(instants(), lambda at: True) == AT


def test_a_failure_about_one_fact_shrinks_to_that_fact() -> None:
    held = found(facts(SHOP), lambda held: held.trials)
    assert attrs.evolve(held, trials=()) == Facts()
    (trial,) = held.trials
    assert (trial.plan, trial.until) == ("free", None)


def test_a_failure_about_an_amount_shrinks_to_the_smallest_grant_that_has_it() -> None:
    grant = found(grants(SHOP), lambda grant: grant["credit"] == "plain" and int(grant["amount"]) > 1000)
    assert grant == {"credit": "plain", "amount": 1001}


def test_a_failure_about_plans_shrinks_to_a_catalog_of_little_else() -> None:
    catalog = found(catalogs(), lambda catalog: len(catalog.plans) == 2)
    sections = ("features", "credits", "addons", "promotions", "rates")
    assert {section: dict(getattr(catalog, section)) for section in sections} == {section: {} for section in sections}


def test_every_strategy_that_is_offered_is_there_and_says_what_it_draws() -> None:
    offered = {name: getattr(strategies, name) for name in strategies.__all__ if name != "AT"}
    assert {"catalogs", "facts", "grants", "histories"} <= offered.keys()
    for name, strategy in offered.items():
        assert strategy.__doc__, name
