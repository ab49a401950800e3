"""Tests of the application, with the fixtures that come with the package."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from shop import Shop

from entitlements import Catalog, Decision, EntitlementDenied, Entitlements
from entitlements.testing import FrozenClock, assert_sound
from entitlements.testing.strategies import decisions


@pytest.fixture
def shop(ent: Entitlements) -> Shop:
    """Return the application, on the engine that `ent` is."""
    return Shop(ent)


def test_a_free_customer_has_two_reports_a_month(ent: Entitlements, ent_clock: FrozenClock, shop: Shop) -> None:
    ent.subscribe("acme", "free")

    assert [shop.report("acme", number) for number in (1, 2, 2)] == ["report 1", "report 2", "report 2"]
    assert shop.report("acme", 3).startswith("no report: ")

    ent_clock.advance(timedelta(days=31))
    assert shop.report("acme", 3) == "report 3"


def test_a_trial_ends_by_itself(ent: Entitlements, ent_clock: FrozenClock) -> None:
    ent.start_trial("acme", "pro")
    assert ent.check("acme", "exports")

    ent_clock.advance(timedelta(days=14))
    assert ent.check("acme", "exports").code == "trial_ended"


def test_a_draft_costs_what_was_written(ent: Entitlements, shop: Shop) -> None:
    ent.grant_credits("acme", "ai", 12, key="invoice-1")

    assert shop.draft("acme", "job-1", 15).count("word") == 15
    assert ent.balance("acme", "ai").available == 10
    assert_sound(ent, "acme")

    ent.consume_credits("acme", "ai", 1, key="other")
    with pytest.raises(EntitlementDenied):
        shop.draft("acme", "job-2", 15)
    assert ent.balance("acme", "ai").available == 9


@pytest.mark.entitlements({"features": {"reports": {"type": "metered"}}, "plans": {"none": {}}})
def test_a_plan_without_reports_gives_none(ent: Entitlements, shop: Shop) -> None:
    ent.subscribe("acme", "none")
    assert shop.report("acme", 1).startswith("no report: ")


def test_no_plan_loses_what_it_must_have(ent: Entitlements) -> None:
    for plan in ent.catalog.plans:
        ent.subscribe(f"on {plan}", plan)
        assert ent.check(f"on {plan}", "reports"), plan


@given(decisions(Catalog.load({"features": {"reports": {"type": "metered"}}, "plans": {"free": {}}})))
def test_every_denial_can_be_shown(decision: Decision) -> None:
    shown = decision.to_dict()
    assert decision or (shown["reason"] and shown["code"] != "ok")
