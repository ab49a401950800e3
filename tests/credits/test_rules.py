"""The rules of credits, one by one, through the public interface and on both storages."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from decimal import Decimal

import pytest

from entitlements import (
    AmountError,
    EntitlementDenied,
    Entitlements,
    HoldClosed,
    HoldExpired,
    IdempotencyConflict,
    UnknownCredit,
    UnknownHold,
)

DAY = timedelta(days=1)


def kinds(engine, customer="acme"):
    return [entry.kind for entry in engine.entries(customer)]


# --- burning


def test_credits_burn_in_the_order_of_the_catalog(engine, clock):
    engine.grant_credits("acme", "ai", 10, key="late", expires_at=clock() + 9 * DAY)
    engine.grant_credits("acme", "ai", 10, key="never")
    engine.grant_credits("acme", "ai", 10, key="soon", expires_at=clock() + DAY)
    engine.grant_credits("acme", "ai", 10, key="first", priority=1)
    engine.grant_credits("acme", "ai", 10, key="gift", category="promotional", expires_at=clock() + 9 * DAY)
    decision = engine.consume_credits("acme", "ai", 45, key="c")
    assert list(decision.receipt.burned) == ["first", "soon", "gift", "late", "never"]
    assert decision.receipt.burned["never"] == Decimal("5.00")
    assert decision.receipt.balance_after == Decimal("5.00")


def test_a_denial_burns_nothing_and_leaves_its_key(engine):
    engine.grant_credits("acme", "ai", 10, key="g")
    denied = engine.consume_credits("acme", "ai", "10.01", key="c")
    assert (denied.allowed, denied.code, denied.remaining) == (False, "insufficient_credits", Decimal("10.00"))
    assert kinds(engine) == ["granted"]
    engine.grant_credits("acme", "ai", 1, key="g2")
    assert engine.consume_credits("acme", "ai", "10.01", key="c")


def test_partial_burns_what_there_is_and_says_so(engine):
    engine.grant_credits("acme", "ai", 10, key="g")
    decision = engine.consume_credits("acme", "ai", 25, key="c", depletion="partial")
    assert (decision.allowed, decision.overage, decision.receipt.booked) == (True, Decimal("15.00"), Decimal("10.00"))
    assert not engine.consume_credits("acme", "ai", 1, key="d", depletion="partial")


def test_a_restricted_block_pays_only_for_its_features(engine):
    engine.grant_credits("acme", "ai", 10, key="chat", features=["chat"])
    assert not engine.consume_credits("acme", "ai", 1, key="a")
    assert engine.consume_credits("acme", "ai", 1, key="a", feature="chat")
    assert engine.balance("acme", "ai").available == 0
    assert engine.balance("acme", "ai", feature="chat").available == 9


def test_zero_is_an_amount_and_keeps_its_key(engine):
    engine.grant_credits("acme", "ai", 1, key="g")
    assert engine.consume_credits("acme", "ai", 0, key="z").receipt.booked == 0
    assert engine.consume_credits("acme", "ai", 0, key="z").receipt.replayed


# --- expiry


def test_a_block_ends_at_its_instant_exactly_and_is_booked_once(engine, clock):
    engine.grant_credits("acme", "ai", 10, key="g", expires_at=clock() + DAY)
    clock.advance(DAY - timedelta(microseconds=1))
    assert engine.balance("acme", "ai").available == 10
    clock.advance(timedelta(microseconds=1))
    assert engine.balance("acme", "ai").available == 0
    assert kinds(engine) == ["granted"]
    clock.advance(5 * DAY)
    assert (engine.sweep("acme"), engine.sweep("acme")) == (1, 0)
    expired = engine.entries("acme")[-1]
    assert (expired.kind, expired.amount, expired.at) == ("expired", 1000, clock() - 5 * DAY)


def test_what_fell_due_is_booked_first_in_the_next_write(engine, clock):
    engine.grant_credits("acme", "ai", 10, key="g", expires_at=clock() + DAY)
    clock.advance(2 * DAY)
    engine.grant_credits("acme", "ai", 3, key="h")
    assert kinds(engine) == ["granted", "expired", "granted"]


def test_a_clock_that_goes_back_brings_nothing_back(engine, clock):
    engine.grant_credits("acme", "ai", 10, key="g", expires_at=clock() + DAY)
    clock.advance(2 * DAY)
    engine.sweep("acme")
    clock.advance(-2 * DAY)
    assert engine.balance("acme", "ai").available == 0


# --- debt


def test_debt_is_shown_and_repaid_first_by_the_next_grant(engine):
    decision = engine.grant_credits("acme", "ai", 10, key="g") and engine.consume_credits(
        "acme", "ai", 25, key="c", depletion="soft"
    )
    assert (decision.overage, engine.balance("acme", "ai").debt) == (Decimal("15.00"), Decimal("15.00"))
    block = engine.grant_credits("acme", "ai", 20, key="h")
    assert (block.remaining, engine.balance("acme", "ai").debt) == (Decimal("5.00"), 0)
    assert kinds(engine)[-2:] == ["granted", "repaid"]


def test_a_block_repays_only_debt_it_could_have_paid(engine):
    engine.grant_credits("acme", "ai", 1, key="g")
    engine.consume_credits("acme", "ai", 5, key="c", depletion="soft")
    assert engine.grant_credits("acme", "ai", 9, key="chat", features=["chat"]).remaining == 9
    assert engine.balance("acme", "ai").debt == 4


# --- holds


def test_settling_less_returns_the_rest(engine):
    engine.grant_credits("acme", "ai", 10, key="g")
    hold = engine.reserve_credits("acme", "ai", 8, key="h")
    balance = engine.balance("acme", "ai")
    assert (balance.available, balance.held, balance.total) == (2, 8, 10)
    assert hold.settle(3).receipt.booked == 3
    assert (engine.balance("acme", "ai").available, engine.balance("acme", "ai").held) == (7, 0)


def test_settling_more_draws_on_and_beyond_books_all_there_is(engine):
    engine.grant_credits("acme", "ai", 10, key="g")
    assert engine.reserve_credits("acme", "ai", 4, key="h").settle(6)
    beyond = engine.reserve_credits("acme", "ai", 2, key="i").settle(9)
    assert (beyond.allowed, beyond.overage, beyond.receipt.booked) == (False, Decimal("5.00"), Decimal("4.00"))
    assert engine.balance("acme", "ai").total == 0


def test_a_hold_is_closed_once(engine):
    engine.grant_credits("acme", "ai", 10, key="g")
    engine.reserve_credits("acme", "ai", 4, key="h")
    engine.settle("acme", "h", 3)
    assert engine.settle("acme", "h", 3).receipt.replayed
    with pytest.raises(HoldClosed, match="settled"):
        engine.release("acme", "h")
    with pytest.raises(HoldClosed, match="settled"):
        engine.settle("acme", "h", 2)
    engine.reserve_credits("acme", "ai", 4, key="i")
    engine.release("acme", "i")
    with pytest.raises(HoldClosed, match="released"):
        engine.settle("acme", "i", 1)
    with pytest.raises(UnknownHold):
        engine.settle("acme", "nobody's", 1)


def test_a_hold_lapses_by_itself_and_late_settling_is_a_plain_charge(engine, clock):
    engine.grant_credits("acme", "ai", 10, key="g")
    engine.reserve_credits("acme", "ai", 4, key="h", ttl=60)
    engine.reserve_credits("acme", "ai", 4, key="strict", ttl=60, late="refuse")
    clock.advance(timedelta(seconds=60))
    assert engine.balance("acme", "ai").available == 10
    late = engine.settle("acme", "h", 4)
    assert (bool(late), late.receipt.late, engine.balance("acme", "ai").available) == (True, True, 6)
    with pytest.raises(HoldExpired):
        engine.settle("acme", "strict", 4)


def test_a_held_part_outlives_its_block_and_what_is_released_expires(engine, clock):
    engine.grant_credits("acme", "ai", 10, key="g", expires_at=clock() + DAY)
    engine.reserve_credits("acme", "ai", 6, key="h", ttl=None)
    clock.advance(2 * DAY)
    assert engine.settle("acme", "h", 2)
    lines = [(entry.kind, entry.amount) for entry in engine.entries("acme") if entry.kind in {"settled", "expired"}]
    assert sorted(lines) == [("expired", 400), ("expired", 400), ("settled", 200)]
    assert engine.balance("acme", "ai").total == 0


def test_a_hold_settles_from_another_engine(opened, shared, catalog_file):
    one, other = opened(catalog_file, storage=shared), opened(catalog_file, storage=shared)
    one.grant_credits("acme", "ai", 10, key="g")
    one.reserve_credits("acme", "ai", 4, key="h")
    assert other.settle("acme", "h", 1)
    assert one.balance("acme", "ai").available == 9


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
def test_a_body_that_fails_releases_and_one_that_reported_is_charged(engine, error):
    engine.grant_credits("acme", "ai", 10, key="g")
    with pytest.raises(error), engine.reserve_credits("acme", "ai", 4, key="h"):
        raise error
    assert engine.balance("acme", "ai").available == 10
    with pytest.raises(error), engine.reserve_credits("acme", "ai", 4, key="i") as hold:
        hold.report(1)
        raise error
    assert engine.balance("acme", "ai").available == 9


def test_a_body_that_ends_well_settles_the_whole_hold_and_a_denied_one_never_runs(engine):
    engine.grant_credits("acme", "ai", 10, key="g")
    with engine.reserve_credits("acme", "ai", 4, key="h"):
        pass
    assert engine.balance("acme", "ai").total == 6
    with pytest.raises(EntitlementDenied), engine.reserve_credits("acme", "ai", 7, key="i"):
        pytest.fail("the body of a denied hold ran")


def test_a_cancelled_task_closes_its_hold(engine):
    engine.grant_credits("acme", "ai", 10, key="g")

    async def work():
        async with engine.reserve_credits("acme", "ai", 4, key="h") as hold:
            hold.report(3)
            await asyncio.sleep(60)

    async def cancelled():
        task = asyncio.create_task(work())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert (engine.balance("acme", "ai").available, engine.balance("acme", "ai").held) == (7, 0)


def test_usage_is_held_in_its_window_and_given_back_there(engine, clock):
    engine.subscribe("acme", "pro")
    hold = engine.reserve("acme", "chat", 150, key="h", ttl=None)
    assert engine.check("acme", "chat").remaining == 50
    clock.advance(DAY)
    assert engine.check("acme", "chat").used == 0
    hold.settle(20)
    assert engine.check("acme", "chat").used == 0
    assert engine.check("acme", "chat", at=clock() - DAY).used == 20


# --- refunds


def test_a_refund_goes_back_in_reverse_and_never_beyond_what_was_taken(engine):
    engine.grant_credits("acme", "ai", 10, key="a", priority=1)
    engine.grant_credits("acme", "ai", 10, key="b")
    engine.consume_credits("acme", "ai", 15, key="c")
    engine.refund("acme", "c", 7, key="r1")
    assert {block.id: block.remaining for block in engine.balance("acme", "ai").blocks} == {"a": 2, "b": 10}
    with pytest.raises(AmountError, match="8.00 of it is left"):
        engine.refund("acme", "c", 9, key="r2")
    engine.refund("acme", "c", key="r3")
    with pytest.raises(AmountError):
        engine.refund("acme", "c", key="r4")
    assert engine.balance("acme", "ai").available == 20
    with pytest.raises(LookupError, match="took anything"):
        engine.refund("acme", "nothing", key="r5")


def test_a_refund_after_expiry_expires_again(engine, clock):
    engine.grant_credits("acme", "ai", 10, key="g", expires_at=clock() + DAY)
    engine.consume_credits("acme", "ai", 10, key="c")
    clock.advance(2 * DAY)
    engine.refund("acme", "c", key="r")
    assert engine.balance("acme", "ai").total == 0
    assert kinds(engine)[-2:] == ["refunded", "expired"]


def test_of_concurrent_refunds_one_wins(engine):
    engine.grant_credits("acme", "ai", 10, key="g")
    engine.consume_credits("acme", "ai", 10, key="c")
    outcomes = []

    def work(n):
        try:
            outcomes.append(engine.refund("acme", "c", key=f"r{n}"))
        except AmountError as error:
            outcomes.append(error)

    together = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in together:
        thread.start()
    for thread in together:
        thread.join()
    assert sum(not isinstance(outcome, AmountError) for outcome in outcomes) == 1
    assert engine.balance("acme", "ai").available == 10


# --- keys and money


def test_fifty_threads_with_one_key_have_one_effect(engine):
    engine.grant_credits("acme", "ai", 100, key="g")
    decisions = []
    threads = [
        threading.Thread(target=lambda: decisions.append(engine.consume_credits("acme", "ai", 2, key="k")))
        for _ in range(50)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert engine.balance("acme", "ai").available == 98
    assert sorted(decision.receipt.replayed for decision in decisions) == [False] + [True] * 49
    assert len({(d.receipt.seq, d.receipt.booked, d.receipt.balance_after) for d in decisions}) == 1


def test_a_key_of_another_request_is_a_conflict_that_names_the_field(engine):
    engine.grant_credits("acme", "ai", 10, key="k")
    with pytest.raises(IdempotencyConflict, match="amount"):
        engine.grant_credits("acme", "ai", 11, key="k")
    with pytest.raises(IdempotencyConflict, match="verb"):
        engine.consume_credits("acme", "ai", 10, key="k")
    assert engine.grant_credits("acme", "ai", Decimal("10.00"), key="k").id == "k"
    assert engine.balance("acme", "ai").available == 10


@pytest.mark.parametrize("amount", [1.5, True, "1e3", "0.001", -1, 2**63, Decimal("NaN"), None])
def test_only_exact_amounts_are_money(engine, amount):
    engine.grant_credits("acme", "ai", 10, key="g")
    for verb in (engine.grant_credits, engine.consume_credits, engine.reserve_credits):
        with pytest.raises(AmountError):
            verb("acme", "ai", amount, key="k")
    assert kinds(engine) == ["granted"]


def test_a_grant_of_an_unknown_credit_raises_and_a_charge_is_denied(engine):
    with pytest.raises(UnknownCredit, match="did you mean 'ai'"):
        engine.grant_credits("acme", "aii", 1, key="g")
    assert engine.consume_credits("acme", "aii", 1, key="c").code == "unknown_credit"


def test_a_voided_block_loses_what_is_free(engine):
    engine.grant_credits("acme", "ai", 10, key="g")
    engine.consume_credits("acme", "ai", 4, key="c")
    assert engine.void_block("acme", "g").remaining == 0
    assert engine.void_block("acme", "g").remaining == 0
    assert engine.balance("acme", "ai").total == 0


def test_engines_agree_with_the_log_after_reopening(opened, tmp_path, catalog_file):
    storage = f"sqlite:///{tmp_path / 'ledger.db'}"
    first: Entitlements = opened(catalog_file, storage=storage)
    first.grant_credits("acme", "ai", 10, key="g")
    taken = first.consume_credits("acme", "ai", 4, key="c")
    first.close()
    second: Entitlements = opened(catalog_file, storage=storage)
    again = second.consume_credits("acme", "ai", 4, key="c")
    assert again.receipt.replayed
    assert (again.receipt.burned, again.receipt.seq) == (taken.receipt.burned, taken.receipt.seq)
    assert second.balance("acme", "ai").available == 6
