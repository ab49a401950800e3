"""Consuming: what is burned, what is denied, and what the answer says, for each way to run out."""

from datetime import timedelta
from decimal import Decimal

import pytest

from entitlements.errors import AmountError

from .reading import DAY, HOUR, START, consume, grant, left, moves, size, standing

# --- hard


def test_a_charge_burns_what_was_asked_and_says_from_which_blocks(ent):
    grant(ent, 10)
    decision = consume(ent, 4)
    assert (decision.allowed, decision.code, decision.outcome) == (True, "ok", "allow")
    assert (decision.limit, decision.used, decision.remaining, decision.requested, decision.overage) == (10, 4, 6, 4, 0)
    assert (decision.feature, decision.source, decision.soft) == ("plain", "credit:plain", False)
    receipt = decision.receipt
    assert (receipt.key, receipt.seq, receipt.replayed, receipt.late) == ("c", 2, False, False)
    assert (receipt.booked, receipt.burned, receipt.balance_after) == (4, {"g": 4}, 6)
    assert moves(ent) == [("granted", 10, "g"), ("burned", 4, "g")]


def test_hard_credits_pay_all_or_nothing(ent):
    grant(ent, 10)
    denied = consume(ent, 11)
    assert (denied.allowed, denied.code, denied.outcome) == (False, "insufficient_credits", "block")
    assert (denied.limit, denied.used, denied.remaining, denied.requested, denied.overage) == (10, 0, 10, 11, 1)
    assert denied.receipt is None
    assert size(ent) == 1
    assert consume(ent, 10)
    assert not consume(ent, 1, key="one more")


def test_a_denial_says_what_to_do_next(ent):
    grant(ent, "3.50", "ai")
    assert consume(ent, 4, "ai").reason == "4.00 ai asked for, 3.50 left; grant more credits"


def test_amounts_come_back_at_the_scale_of_the_credit(ent):
    grant(ent, 10, "ai")
    decision = consume(ent, "2.5", "ai")
    shown = (decision.limit, decision.used, decision.requested, decision.overage, decision.receipt.balance_after)
    assert [str(number) for number in shown] == ["10.00", "2.50", "2.50", "0.00", "7.50"]
    assert {type(number) for number in shown} == {Decimal}


@pytest.mark.parametrize("credit", ["plain", "soft", "partial"])
def test_a_charge_of_zero_is_allowed_and_recorded_even_where_nothing_is_left(ent, credit):
    decision = consume(ent, 0, credit)
    assert (decision.allowed, decision.receipt.booked, decision.receipt.burned) == (True, 0, {})
    assert [(line.kind, line.amount) for line in ent.entries("acme")] == [("nothing", 0)]
    assert consume(ent, 0, credit).receipt.replayed


def test_credits_of_another_kind_are_never_touched(ent):
    grant(ent, 10, "partial")
    assert not consume(ent, 1)
    assert left(ent, "partial") == 10


# --- partial and soft


def test_partial_books_what_there_is_and_says_what_is_missing(ent):
    grant(ent, 10, "partial")
    decision = consume(ent, 15, "partial")
    assert (decision.allowed, decision.requested, decision.used, decision.overage) == (True, 15, 10, 5)
    assert (decision.receipt.booked, decision.receipt.balance_after) == (10, 0)
    assert standing(ent, "partial") == (0, 0, 0)


def test_partial_is_denied_only_where_there_is_nothing(ent):
    denied = consume(ent, 5, "partial")
    assert (denied.code, denied.overage) == ("insufficient_credits", 5)
    assert size(ent) == 0


def test_soft_owes_what_no_block_can_pay(ent):
    grant(ent, 10, "soft")
    decision = consume(ent, 15, "soft")
    assert (decision.allowed, decision.soft, decision.used, decision.overage) == (True, True, 15, 5)
    assert (decision.receipt.booked, decision.receipt.burned) == (15, {"g": 10})
    assert moves(ent)[1:] == [("burned", 10, "g"), ("overdrawn", 5, "")]
    assert standing(ent, "soft") == (0, 0, 5)


def test_soft_with_a_floor_owes_up_to_it_and_not_one_more(ent):
    assert not consume(ent, 11, "floored", key="too much")
    assert consume(ent, 6, "floored", key="six")
    assert not consume(ent, 5, "floored", key="five")
    assert consume(ent, 4, "floored", key="four")
    assert not consume(ent, 1, "floored", key="one")
    assert standing(ent, "floored") == (0, 0, 10)


def test_a_denied_soft_charge_burns_none_of_the_blocks(ent):
    grant(ent, 5, "floored")
    denied = consume(ent, 16, "floored")
    assert (denied.code, denied.limit, denied.overage) == ("insufficient_credits", 5, 11)
    assert standing(ent, "floored") == (5, 0, 0)
    assert size(ent) == 1


@pytest.mark.parametrize(
    ("credit", "depletion", "expected"),
    [("plain", "partial", (5, 0)), ("plain", "soft", (8, 3)), ("soft", "partial", (5, 0)), ("partial", "soft", (8, 3))],
)
def test_a_call_may_say_how_it_runs_out(ent, credit, depletion, expected):
    grant(ent, 5, credit)
    decision = consume(ent, 8, credit, depletion=depletion)
    assert (decision.used, ent.balance("acme", credit).debt) == expected


@pytest.mark.parametrize("credit", ["soft", "floored", "partial"])
def test_a_call_may_insist_on_all_or_nothing(ent, credit):
    grant(ent, 5, credit)
    assert not consume(ent, 6, credit, depletion="hard")
    assert standing(ent, credit) == (5, 0, 0)


# --- who asks, and for what


def test_the_answer_names_the_feature_and_the_scope_it_was_asked_for(ent):
    grant(ent, 10)
    decision = consume(ent, 1, feature="chat", scope="team:a")
    assert (decision.feature, decision.scope, decision.source) == ("chat", {"team": "a"}, "credit:plain")


def test_unknown_credits_and_features_are_denials_with_a_hint(ent):
    credit, feature = consume(ent, 1, "plian"), consume(ent, 1, feature="chta")
    assert (credit.code, credit.outcome, credit.feature) == ("unknown_credit", "block", "plian")
    assert credit.reason == "no credit 'plian' in the catalog; did you mean 'plain'?"
    assert (feature.code, feature.outcome, feature.feature) == ("unknown_feature", "block", "chta")
    assert size(ent) == 0


def test_an_amount_finer_than_the_scale_is_refused(ent):
    grant(ent, 1, "ai")
    with pytest.raises(AmountError, match="its scale allows 2 decimal places"):
        consume(ent, "0.001", "ai")
    assert size(ent) == 1


# --- late use


def test_use_that_lies_in_the_past_burns_what_is_usable_now_and_is_flagged_late(ent, clock):
    grant(ent, 5, key="then", expires_in=3600)
    clock.advance(2 * HOUR)
    grant(ent, 5, key="now")
    decision = consume(ent, 3, at=START)
    assert (decision.receipt.late, decision.receipt.burned) == (True, {"now": 3})
    assert consume(ent, 3, at=START).receipt.late
    assert ent.entries("acme")[-1].at == START + 2 * HOUR


def test_use_that_happens_now_is_not_late(ent):
    grant(ent, 5)
    assert not consume(ent, 1, at=START).receipt.late


@pytest.mark.parametrize("verb", ["consume_credits", "reserve_credits", "reserve"])
def test_use_that_is_still_to_come_is_refused(ent, verb):
    grant(ent, 5)
    given = ("chat", 1) if verb == "reserve" else ("plain", 1)
    with pytest.raises(ValueError, match="still to come"):
        getattr(ent, verb)("acme", *given, key="k", at=START + timedelta(microseconds=1))
    assert size(ent) == 1


def test_a_reservation_for_work_that_began_earlier_is_late_and_lasts_from_now(ent, clock):
    grant(ent, 5)
    held = [ent.reserve_credits("acme", "plain", 1, key="h", at=START - DAY, ttl=60)]
    held.append(ent.reserve("acme", "chat", 1, key="u", at=START - DAY, ttl=60))
    assert [hold.decision.receipt.late for hold in held] == [True, True]
    assert [hold.decision.receipt.late for hold in (ent.reserve("acme", "chat", 1, key="now", at=START),)] == [False]
    clock.advance(timedelta(seconds=59))
    assert ent.balance("acme", "plain").held == 1
