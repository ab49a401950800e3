"""What a charge that credits cannot pay is told: what there is besides, why it may not pay, and what to do."""

import pytest

from .reading import DAY, START, grant, reserve

LATER = "2026-03-11 12:00 UTC"
GRANTING = {
    "plans": {
        "free": {"entitlements": {"chat": 10}},
        "pro": {"product": "two", "credits": {"plain": {"grant": 5, "every": "month"}}},
    },
    "products": {"two": {}},
    "rates": {"chat": {"credit": "plain", "price": "2"}},
}


def said(ent, amount=40, **more):
    return ent.consume_credits("acme", "plain", amount, key=None, **more).reason


@pytest.fixture
def granting(changed):
    return changed(**GRANTING)


def test_where_nothing_else_is_and_nothing_comes_only_a_grant_helps(ent):
    grant(ent, 3)
    grant(ent, 7, "soft", key="another credit")
    assert said(ent) == "40 plain asked for, 3 left; grant more credits"


@pytest.mark.parametrize(
    ("block", "charge", "told"),
    [
        ({"features": ["chat"]}, {}, "(and 7 only for chat); say which feature it is for, or grant more credits"),
        ({"features": ["chat"]}, {"feature": "seats"}, "(and 7 only for chat); grant more credits"),
        ({"scope": "team:a"}, {}, "(and 7 only inside team:a); say which scope it is for, or grant more credits"),
        (
            {"scope": "team:a"},
            {"scope": "user:x"},
            "(and 7 only inside team:a); say which scope it is for, or grant more credits",
        ),
        ({"scope": "team:a"}, {"scope": "team:b"}, "(and 7 only inside team:a); grant more credits"),
        (
            {"scope": "team:a", "features": ["chat", "seats"]},
            {},
            "(and 7 only for chat or seats inside team:a); say which feature and scope it is for, or grant more credits",
        ),
        (
            {"scope": "team:a", "features": ["chat"]},
            {"feature": "chat"},
            "(and 7 only for chat inside team:a); say which scope it is for, or grant more credits",
        ),
    ],
)
def test_credits_that_are_for_something_else_are_named_and_how_to_use_them_where_one_may(ent, block, charge, told):
    grant(ent, 7, **block)
    assert said(ent, **charge) == f"40 plain asked for, 0 left {told}"
    assert said(ent, 7, feature="chat", scope="team:a") != f"40 plain asked for, 0 left {told}"


def test_of_many_restrictions_the_first_are_named_and_of_many_features_too(ent):
    for number, team in enumerate("abcde"):
        grant(ent, 1 + number, key=team, scope=f"team:{team}", priority=number)
    grant(ent, 10, key="again", scope="team:a")
    grant(ent, 6, key="chat", features=["chat", "images", "seats", "peak"])
    told = "11 only inside team:a, 2 only inside team:b, 3 only inside team:c, 15 restricted otherwise"
    assert f"0 left (and {told});" in said(ent, scope="team:x", feature="sso")
    grant(ent, 100, key="feature", credit="queue", features=["chat", "images", "seats", "peak"])
    decision = ent.consume_credits("acme", "queue", 1, key=None)
    assert "(and 100 only for chat or images or peak or others)" in decision.reason


def test_credits_for_a_scope_that_was_erased_are_named_and_nobody_can_say_which(ent):
    grant(ent, 7, scope="team:a")
    ent.erase("acme")
    assert said(ent) == "40 plain asked for, 0 left (and 7 only inside a scope that was erased); grant more credits"


def test_credits_set_aside_in_holds_are_named_and_voided_or_ended_ones_are_not(ent, clock):
    grant(ent, 10, key="lasting")
    grant(ent, 5, key="ending", expires_at=START + DAY, priority=0)
    reserve(ent, 9, ttl=None)
    held = "9 set aside in holds); settle or release a hold, or grant more credits"
    assert said(ent) == f"40 plain asked for, 6 left (and {held}"
    clock.set(START + DAY)
    assert said(ent) == "40 plain asked for, 6 left (and 4 set aside in holds); " + held.partition("; ")[2]
    ent.void_block("acme", "lasting")
    assert said(ent) == "40 plain asked for, 0 left; grant more credits"


def test_credits_that_begin_later_are_waited_for_the_soonest_first(ent, clock):
    grant(ent, 5, key="a", effective_at=START + DAY)
    grant(ent, 6, key="b", effective_at=START + DAY)
    grant(ent, 7, key="c", effective_at=START + 2 * DAY)
    grant(ent, 8, key="d", effective_at=START + DAY / 2, features=["chat"])
    wait = f"40 plain asked for, 0 left; grant more credits, or wait until {LATER}, when 11 more may be used"
    assert said(ent) == wait
    assert "2026-03-11 00:00 UTC, when 8 more" in said(ent, feature="chat")
    clock.set(START + 2 * DAY)
    assert said(ent) == "40 plain asked for, 18 left (and 8 only for chat); say which feature it is for, or grant more credits"


def test_a_plan_that_grants_is_waited_for_until_its_next_period_and_no_longer_than_it_is_held(granting, clock):
    grant(granting, 1)
    assert said(granting) == "40 plain asked for, 1 left; grant more credits"
    granting.subscribe("acme", "pro")
    wait = "grant more credits, or wait until 2026-04-10 12:00 UTC, when plan pro grants more"
    assert said(granting) == f"40 plain asked for, 6 left; {wait}"
    grant(granting, 3, key="sooner", effective_at=START + DAY)
    assert f"or wait until {LATER}, when 3 more may be used" in said(granting)
    clock.set(START + DAY)
    assert said(granting) == f"40 plain asked for, 9 left; {wait}"
    granting.cancel("acme", product="two")
    assert said(granting) == "40 plain asked for, 9 left; grant more credits"


def test_a_priced_use_and_a_hold_are_told_the_same(granting):
    grant(granting, 3, scope="team:a")
    granting.subscribe("acme", "pro")
    asked = granting.check("acme", "chat", requested=4)
    assert asked.reason == (
        "8 plain needed for 4 of chat, 5 left (and 3 only inside team:a); say which scope it is for, grant more "
        "credits, or wait until 2026-04-10 12:00 UTC, when plan pro grants more"
    )
    assert granting.consume("acme", "chat", 4) == asked
    assert granting.reserve("acme", "chat", 4, key="h").decision == asked
    assert granting.snapshot("acme").features["chat"].allowed
    held = reserve(granting, 40, scope="team:b").decision
    assert held.reason.startswith("40 plain asked for, 5 left (and 3 only inside team:a); grant more credits, or wait")
    assert granting.check("acme", "chat", requested=4, scope="team:a")
