"""Granting: a block of credits, when it may be used and by whom, what is taken back of it, what a balance shows."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from entitlements import Catalog
from entitlements.errors import AmountError, UnknownBlock, UnknownCredit, UnknownFeature

from .reading import DAY, HOUR, SECOND, START, consume, grant, left, moves, refund, reserve, size, standing

TICK = timedelta(microseconds=1)


# --- the block


def test_a_block_is_what_was_asked_for_and_nothing_else(ent):
    block = grant(ent, 100, "ai")
    assert (block.id, block.credit, block.category, block.priority, block.source) == ("g", "ai", "paid", 50, "grant")
    assert (block.amount, block.remaining, block.held) == (Decimal("100.00"), Decimal("100.00"), Decimal("0.00"))
    assert (block.effective_at, block.expires_at, block.cost_basis) == (START, None, None)
    assert (block.features, block.scope, block.metadata, block.voided) == (None, None, None, False)
    assert [str(number) for number in (block.amount, block.held)] == ["100.00", "0.00"]


def test_a_block_carries_all_its_terms(ent):
    block = grant(
        ent, "2.50", "ai", category="promotional", priority=0, cost_basis="9.00", features=["sso", "chat", "chat"],
        scope="team:a/user:b", effective_at=START + HOUR, expires_in=DAY, metadata={"invoice": "i-1", "lines": [1]},
    )  # fmt: skip
    assert (block.units, block.category, block.priority, block.cost_basis) == (250, "promotional", 0, Decimal(9))
    assert (block.features, block.scope) == (("chat", "sso"), (("team", "a"), ("user", "b")))
    assert (block.effective_at, block.expires_at) == (START + HOUR, START + HOUR + DAY)
    assert block.metadata == {"invoice": "i-1", "lines": [1]}
    assert ent.balance("acme", "ai", at=START + HOUR).blocks == (block,)


def test_a_grant_needs_no_subscription_and_opens_the_log(opened):
    ent = opened(Catalog.load({"version": 1, "credits": {"plain": {}}}))
    denied = consume(ent, 1)
    assert (denied.allowed, denied.code) == (False, "unknown_customer")
    grant(ent, 5)
    assert consume(ent, 1)


def test_who_is_not_known_is_told_to_be_granted_credits_first(opened):
    plans = {"pro": {"credits": {"plain": {"grant": 5, "every": "month"}}}, "max": {"extends": "pro"}, "bare": {}}
    document = {"version": 1, "credits": {"plain": {}, "other": {}}, "plans": plans}
    ent = opened(Catalog.load(document))
    first = "no customer 'acme' is known; grant the customer plain credits first"
    assert consume(ent, 1).reason == f"{first}, or subscribe the customer to plan pro or plan max"
    assert reserve(ent, 1).decision.reason == consume(ent, 1).reason
    assert consume(ent, 1, "other").reason == "no customer 'acme' is known; grant the customer other credits first"
    ent.subscribe("acme", "max")
    assert consume(ent, 1)


def test_a_key_of_none_draws_a_new_id_for_every_grant(ent):
    first, second = grant(ent, 1, key=None), grant(ent, 1, key=None)
    assert first.id != second.id
    assert left(ent) == 2


def test_cost_basis_is_exact_at_any_precision(ent):
    assert grant(ent, 3, cost_basis="0.1234567890123456789").cost_basis == Decimal("0.1234567890123456789")


# --- when it may be used


def test_a_block_is_usable_from_its_first_instant_to_just_before_its_end(ent, clock):
    grant(ent, 5, effective_at=START + HOUR, expires_at=START + DAY)
    for at, usable in [(HOUR - TICK, 0), (HOUR, 5), (DAY - TICK, 5), (DAY, 0), (DAY + TICK, 0)]:
        assert left(ent, at=START + at) == usable, at
        clock.set(START + at)
        assert left(ent) == usable, at
    assert not consume(ent, 1)


def test_a_charge_at_the_very_end_of_a_block_is_denied_and_one_just_before_is_not(ent, clock):
    grant(ent, 5, expires_at=START + HOUR)
    clock.set(START + HOUR - TICK)
    assert consume(ent, 1, key="before")
    clock.set(START + HOUR)
    denied = consume(ent, 1, key="at the end")
    assert (denied.allowed, denied.code, denied.limit) == (False, "insufficient_credits", 0)


@pytest.mark.parametrize("lasting", [3600, HOUR])
def test_expires_in_counts_from_when_the_block_begins(ent, lasting):
    assert grant(ent, 1, expires_in=lasting).expires_at == START + HOUR
    later = grant(ent, 1, key="later", at=START + DAY, expires_in=lasting)
    assert (later.effective_at, later.expires_at) == (START + DAY, START + DAY + HOUR)


def test_at_says_when_a_block_begins_unless_effective_at_does(ent):
    assert grant(ent, 1, key="past", at=START - DAY).effective_at == START - DAY
    assert grant(ent, 1, key="both", at=START - DAY, effective_at=START + DAY).effective_at == START + DAY
    assert left(ent) == 1


def test_a_future_grant_simply_comes_true(ent, clock):
    grant(ent, 7, at=START + DAY)
    assert (left(ent), left(ent, at=START + DAY)) == (0, 7)
    clock.advance(DAY)
    assert consume(ent, 7)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"expires_at": START, "expires_in": 5}, "not both"),
        ({"expires_at": START}, "must come after"),
        ({"expires_at": START - DAY, "effective_at": START - 2 * DAY}, "which is past"),
        ({"expires_at": START + HOUR, "effective_at": START + HOUR}, "must come after"),
        ({"expires_in": 3600, "at": START - DAY}, "which is past"),
        ({"expires_in": DAY, "effective_at": datetime.max.replace(tzinfo=UTC)}, "beyond the year 9999"),
    ],
)
def test_dates_that_leave_no_time_to_use_a_block_are_refused(ent, told, said):
    with pytest.raises(ValueError, match=said):
        grant(ent, 1, **told)
    assert size(ent) == 0


def test_unknown_credits_and_features_are_raised_with_a_hint(ent):
    with pytest.raises(UnknownCredit, match="did you mean 'plain'"):
        grant(ent, 1, "plian")
    with pytest.raises(UnknownFeature, match="did you mean 'chat'"):
        grant(ent, 1, features=["chta"])
    assert size(ent) == 0


def test_a_block_of_nothing_is_refused(ent):
    with pytest.raises(AmountError, match="at least the smallest unit"):
        grant(ent, 0)
    assert size(ent) == 0


def test_a_block_of_the_smallest_unit_is_a_block(ent):
    assert grant(ent, "0.01", "ai").units == 1
    assert consume(ent, "0.01", "ai")


# --- by whom


def test_a_block_restricted_to_features_pays_for_them_alone(ent):
    grant(ent, 5, features=["chat", "sso"])
    assert [left(ent), left(ent, feature="chat"), left(ent, feature="sso"), left(ent, feature="seats")] == [0, 5, 5, 0]
    assert [bool(consume(ent, 1, key=f"c{n}", feature=name)) for n, name in enumerate([None, "seats", "chat"])] == [
        False, False, True,
    ]  # fmt: skip


def test_a_block_of_a_scope_pays_inside_it_alone(ent):
    grant(ent, 5, scope={"team": "a"})
    assert [left(ent), left(ent, scope="team:b"), left(ent, scope="team:a"), left(ent, scope="team:a/user:x")] == [
        0, 0, 5, 5,
    ]  # fmt: skip
    assert not consume(ent, 1, scope="user:x")
    assert consume(ent, 1, key="in", scope={"user": "x", "team": "a"})


# --- voiding


def test_voiding_takes_what_is_free_and_leaves_what_was_used(ent):
    grant(ent, 10)
    consume(ent, 3)
    block = ent.void_block("acme", "g")
    assert (block.amount, block.remaining, block.held, block.voided) == (10, 0, 0, True)
    assert moves(ent)[-1] == ("voided", 7, "g")
    assert standing(ent) == (0, 0, 0)


def test_voiding_twice_is_voiding_once(ent):
    grant(ent, 10)
    first = ent.void_block("acme", "g")
    lines = size(ent)
    assert ent.void_block("acme", "g") == first
    assert size(ent) == lines


def test_what_a_hold_pins_can_be_settled_after_voiding_and_goes_with_the_block_when_released(ent):
    grant(ent, 10)
    used, given_back = reserve(ent, 4, key="used"), reserve(ent, 3, key="back")
    assert ent.void_block("acme", "g").held == 7
    assert used.settle(3)
    given_back.release()
    assert moves(ent)[-5:] == [
        ("settled", 3, "g"), ("released", 1, "g"), ("voided", 1, "g"), ("released", 3, "g"), ("voided", 3, "g"),
    ]  # fmt: skip
    assert standing(ent) == (0, 0, 0)


def test_a_hold_that_lapses_on_a_voided_block_gives_nothing_back(ent, clock):
    grant(ent, 10)
    reserve(ent, 4, ttl=60)
    ent.void_block("acme", "g")
    clock.advance(60 * SECOND)
    assert standing(ent) == (0, 0, 0)
    ent.sweep("acme")
    assert moves(ent)[-2:] == [("released", 4, "g"), ("voided", 4, "g")]


@pytest.mark.parametrize("used", [4, 10])
def test_what_is_refunded_to_a_voided_block_goes_with_it_even_if_nothing_was_left_to_void(ent, used):
    grant(ent, 10)
    consume(ent, used)
    ent.void_block("acme", "g")
    assert refund(ent)
    assert moves(ent)[-2:] == [("refunded", used, "g"), ("voided", used, "g")]
    assert standing(ent) == (0, 0, 0)


def test_a_block_that_never_was_cannot_be_voided(ent):
    grant(ent, 1)
    consume(ent, 1)
    for name in ("nothing", "c"):
        with pytest.raises(UnknownBlock, match=name):
            ent.void_block("acme", name)
    with pytest.raises(UnknownBlock, match="did you mean 'gr-1'"):
        grant(ent, 1, key="gr-1")
        ent.void_block("acme", "gr1")


def test_a_future_block_can_be_voided_before_it_begins(ent, clock):
    grant(ent, 10, effective_at=START + DAY)
    ent.void_block("acme", "g")
    clock.advance(2 * DAY)
    assert left(ent) == 0


# --- balances


def test_total_is_available_and_held_together_and_debt_stands_apart(ent):
    grant(ent, 10)
    reserve(ent, 4)
    balance = ent.balance("acme", "plain")
    assert (balance.available, balance.held, balance.total, balance.debt) == (6, 4, 10, 0)
    assert balance.to_dict() == {
        "customer": "acme", "credit": "plain", "available": "6", "held": "4", "total": "10", "debt": "0", "promised": "0",
        "blocks": [{
            "id": "g", "credit": "plain", "amount": "10", "remaining": "6", "held": "4", "category": "paid",
            "priority": 50, "cost_basis": None, "effective_at": "2026-03-10T12:00:00+00:00", "expires_at": None,
            "features": None, "scope": None, "source": "grant",
        }],
    }  # fmt: skip


def test_a_balance_says_in_one_line_what_there_is(ent):
    assert str(ent.balance("acme", "ai")) == "0.00 ai left (0.00 held) in 0 blocks"
    grant(ent, "1234.50", "ai", expires_at=START + DAY)
    assert str(ent.balance("acme", "ai")) == (
        "1,234.50 ai left (0.00 held) in 1 block, next expiry 2026-03-11 12:00 UTC"
    )
    consume(ent, 3, "soft")
    assert str(ent.balance("acme", "soft")) == "0 soft left (0 held) in 0 blocks, 3 owed"


def test_a_balance_lists_live_blocks_in_burn_order_restricted_ones_too(ent):
    grant(ent, 1, key="last", priority=60)
    grant(ent, 1, key="chat", features=["chat"], scope="team:a")
    grant(ent, 1, key="first", expires_at=START + DAY)
    grant(ent, 1, key="future", effective_at=START + DAY)
    balance = ent.balance("acme", "plain")
    assert [block.id for block in balance.blocks] == ["chat", "first", "last"]
    assert balance.available == 2
    assert balance.to_dict()["blocks"][0]["scope"] == {"team": "a"}
    assert balance.to_dict()["blocks"][0]["features"] == ["chat"]


def test_a_balance_of_an_unknown_credit_is_raised_and_of_an_unknown_customer_is_zero(ent):
    with pytest.raises(UnknownCredit, match="did you mean 'plain'"):
        ent.balance("acme", "plane")
    assert standing(ent) == (0, 0, 0)


def test_a_balance_as_of_what_is_no_entry_is_refused(ent):
    for as_of in (True, 1.5, "1"):
        with pytest.raises(TypeError, match="as_of"):
            ent.balance("acme", "plain", as_of=as_of)


def test_a_balance_for_an_unknown_feature_is_raised(ent):
    with pytest.raises(UnknownFeature, match="did you mean 'chat'"):
        ent.balance("acme", "plain", feature="chatt")


def test_held_credits_of_a_block_that_ended_are_held_still(ent, clock):
    grant(ent, 10, expires_at=START + HOUR)
    reserve(ent, 4, ttl=7200)
    clock.advance(HOUR)
    balance = ent.balance("acme", "plain")
    assert (balance.available, balance.held, balance.blocks) == (0, 4, ())


def test_a_balance_at_a_past_instant_is_what_was_recorded_by_then(ent, clock):
    grant(ent, 100)
    clock.advance(HOUR)
    consume(ent, 30)
    clock.advance(HOUR)
    grant(ent, 5, key="backdated", at=START)
    assert [left(ent, at=START + hours * HOUR) for hours in (-1, 0, 1, 2)] == [0, 100, 70, 75]


def test_a_balance_as_of_an_entry_knows_nothing_that_came_later(ent, clock):
    grant(ent, 100, expires_at=START + DAY)
    consume(ent, 30)
    assert [left(ent, as_of=seq) for seq in (0, 1, 2, 99)] == [0, 100, 70, 70]
    clock.advance(HOUR)
    consume(ent, 10, key="later")
    assert left(ent, at=START, as_of=99) == 70
    assert left(ent, at=START + DAY, as_of=1) == 0
