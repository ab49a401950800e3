"""Debt: credits used that no block could pay, always shown, repaid first by the next grant that could have paid it."""

import pytest

from .reading import DAY, SECOND, START, consume, grant, left, moves, refund, reserve, size, standing

CREDITS = ["soft", "floored"]


def debts(ent):
    """What is owed, and for what, the oldest first, as the log keeps it."""
    head = ent._storage.state("acme", lambda _: ()).head
    return [(debt.credit, debt.purpose.feature, debt.units) for debt in head.debts.values()]


# --- going into debt


@pytest.mark.parametrize("credit", CREDITS)
def test_debt_is_what_blocks_could_not_pay_and_is_always_shown(ent, credit):
    grant(ent, 3, credit)
    consume(ent, 8, credit)
    assert standing(ent, credit) == (0, 0, 5)
    assert ent.balance("acme", credit, feature="chat").debt == 5
    assert ent.balance("acme", credit).to_dict()["debt"] == "5"
    assert ent.balance("acme", "plain").debt == 0


def test_blocks_that_may_not_pay_stay_as_they_are(ent):
    grant(ent, 3, "soft", features=["chat"])
    consume(ent, 8, "soft")
    assert standing(ent, "soft", feature="chat") == (3, 0, 8)


def test_charges_add_up_by_what_they_were_for(ent):
    for number, feature in enumerate(["chat", None, "chat"]):
        consume(ent, 2, "soft", key=f"c{number}", feature=feature)
    assert debts(ent) == [("soft", "chat", 4), ("soft", None, 2)]


def test_the_floor_is_for_all_debt_of_a_credit_together(ent):
    assert consume(ent, 6, "floored", key="a", feature="chat")
    assert not consume(ent, 5, "floored", key="b")
    assert consume(ent, 4, "floored", key="c", feature="seats")
    assert not consume(ent, 1, "floored", key="d", feature="chat")
    assert standing(ent, "floored") == (0, 0, 10)


def test_a_credit_in_debt_beyond_a_floor_that_was_raised_owes_no_more(ent, changed):
    consume(ent, 10, "floored")
    lower = changed(credits={"floored": {"depletion": "soft", "floor": 4}})
    assert not consume(lower, 1, "floored", key="more")
    assert consume(lower, 0, "floored", key="nothing")
    grant(lower, 7, "floored")
    assert consume(lower, 1, "floored", key="room again")
    assert standing(lower, "floored") == (0, 0, 4)


# --- what holds have promised


def test_what_holds_have_promised_counts_against_the_floor(ent):
    """3 in blocks and a floor of 10: 13 is all there is, for holds and for charges together."""
    grant(ent, 3, "floored")
    hold = reserve(ent, 9, "floored", key="h1")
    assert (hold.decision.receipt.booked, hold.decision.overage) == (3, 6)
    assert not reserve(ent, 5, "floored", key="too much")
    assert not consume(ent, 5, "floored", key="too much")
    other = reserve(ent, 4, "floored", key="h2")
    assert not consume(ent, 1, "floored", key="more")
    assert (other.settle(4).allowed, hold.settle(9).allowed) == (True, True)
    assert standing(ent, "floored") == (0, 0, 10)
    assert ent.balance("acme", "floored").promised == 0
    assert ent.verify("acme") == ()


def test_what_is_promised_is_shown(ent):
    grant(ent, 3, "floored")
    hold = reserve(ent, 9, "floored")
    balance = ent.balance("acme", "floored")
    assert (balance.available, balance.held, balance.total, balance.debt, balance.promised) == (0, 3, 3, 0, 6)
    assert str(balance) == "0 floored left (3 held) in 1 block, 6 promised"
    assert balance.to_dict()["promised"] == "6"
    assert ent.balance("acme", "soft").promised == 0
    hold.settle(5)
    balance = ent.balance("acme", "floored")
    assert (balance.promised, balance.debt) == (0, 2)


@pytest.mark.parametrize("end", ["released", "lapsed", "settled with less", "settled with nothing"])
def test_a_hold_that_is_closed_promises_nothing(ent, clock, end):
    hold = reserve(ent, 10, "floored", ttl=60)
    assert not consume(ent, 1, "floored")
    if end == "lapsed":
        clock.advance(60 * SECOND)
    elif end == "released":
        hold.release()
    else:
        hold.settle(4 if end == "settled with less" else 0)
    assert ent.balance("acme", "floored").promised == 0
    owed = 4 if end == "settled with less" else 0
    assert consume(ent, 10 - owed, "floored")
    assert standing(ent, "floored") == (0, 0, 10)


def test_a_hold_settled_beyond_its_promise_owes_what_others_have_left(ent):
    first, other = reserve(ent, 3, "floored", key="h1"), reserve(ent, 4, "floored", key="h2")
    decision = first.settle(8)
    assert (decision.allowed, decision.receipt.booked, decision.overage) == (False, 6, 8)
    assert other.settle(4)
    assert standing(ent, "floored") == (0, 0, 10)


def test_a_promise_is_kept_where_blocks_come_meanwhile_and_are_gone_again(ent):
    hold = reserve(ent, 10, "floored")
    grant(ent, 7, "floored")
    assert consume(ent, 7, "floored")
    assert not consume(ent, 1, "floored", key="more")
    assert hold.settle(10)
    assert standing(ent, "floored") == (0, 0, 10)


def test_holds_settled_late_have_promised_nothing(ent, clock):
    hold = reserve(ent, 10, "floored", ttl=60)
    clock.advance(60 * SECOND)
    consume(ent, 7, "floored")
    decision = hold.settle(10)
    assert (decision.allowed, decision.receipt.late, decision.receipt.booked) == (False, True, 3)


def test_without_a_floor_what_is_promised_is_only_told(ent):
    for number in range(3):
        assert reserve(ent, 2**60, "soft", key=f"h{number}")
    assert ent.balance("acme", "soft").promised == 3 * 2**60
    assert consume(ent, 2**60, "soft")


# --- repaying


@pytest.mark.parametrize(("granted", "left_over", "owed"), [(3, 0, 5), (8, 0, 0), (10, 2, 0)])
def test_the_next_grant_repays_first_as_far_as_it_goes(ent, granted, left_over, owed):
    consume(ent, 8, "soft")
    block = grant(ent, granted, "soft")
    assert block.remaining == left_over
    assert moves(ent)[1:] == [("granted", granted, "g"), ("repaid", granted - left_over, "g")]
    assert standing(ent, "soft") == (left_over, 0, owed)


def test_the_oldest_debt_is_repaid_first(ent):
    consume(ent, 3, "soft", key="a", feature="chat")
    consume(ent, 3, "soft", key="b")
    grant(ent, 4, "soft")
    assert debts(ent) == [("soft", None, 2)]
    assert [line.data["purpose"].feature for line in ent.entries("acme") if line.kind == "repaid"] == ["chat", None]


def test_a_debt_that_was_repaid_and_made_again_is_the_youngest(ent):
    consume(ent, 1, "soft", key="a", feature="chat")
    consume(ent, 1, "soft", key="b")
    grant(ent, 1, "soft")
    consume(ent, 1, "soft", key="c", feature="chat")
    assert debts(ent) == [("soft", None, 1), ("soft", "chat", 1)]


def test_a_grant_told_not_to_settle_debt_leaves_it(ent):
    consume(ent, 8, "soft")
    grant(ent, 10, "soft", key="kept", settle_debt=False)
    assert standing(ent, "soft") == (10, 0, 8)
    grant(ent, 3, "soft", key="pays")
    assert standing(ent, "soft") == (10, 0, 5)


def test_a_block_that_does_not_settle_debt_pays_none_when_something_comes_back_to_it(ent):
    grant(ent, 10, "soft", settle_debt=False)
    hold = reserve(ent, 10, "soft")
    consume(ent, 4, "soft")
    hold.release()
    assert standing(ent, "soft") == (10, 0, 4)
    assert ent.sweep("acme") == 0


@pytest.mark.parametrize(
    ("told", "repaid"),
    [
        ({"features": ["chat"]}, 3),
        ({"features": ["sso"]}, 0),
        ({"scope": "team:a"}, 5),
        ({"scope": "team:b"}, 0),
        ({"features": ["chat"], "scope": "team:a"}, 3),
        ({}, 8),
    ],
)
def test_a_block_repays_only_what_it_could_have_paid(ent, told, repaid):
    consume(ent, 3, "soft", key="a", feature="chat", scope="team:a/user:x")
    consume(ent, 2, "soft", key="b", scope="team:a")
    consume(ent, 3, "soft", key="c")
    assert grant(ent, 20, "soft", **told).remaining == 20 - repaid
    assert ent.balance("acme", "soft").debt == 8 - repaid


def test_a_block_of_another_credit_repays_nothing(ent):
    consume(ent, 8, "soft")
    grant(ent, 20, "floored")
    assert standing(ent, "soft") == (0, 0, 8)


def test_a_future_block_repays_when_it_begins(ent, clock):
    consume(ent, 8, "soft")
    grant(ent, 10, "soft", effective_at=START + DAY)
    assert standing(ent, "soft") == (0, 0, 8)
    assert standing(ent, "soft", at=START + DAY) == (2, 0, 0)
    clock.set(START + 2 * DAY)
    assert standing(ent, "soft") == (2, 0, 0)
    ent.sweep("acme")
    (repaid,) = [line for line in ent.entries("acme") if line.kind == "repaid"]
    assert (repaid.at, repaid.amount, repaid.recorded_at) == (START + DAY, 8, START + 2 * DAY)


def test_a_balance_is_the_same_before_and_after_what_fell_due_is_booked(ent, clock):
    consume(ent, 10, "soft")
    grant(ent, 10, "soft", effective_at=START + DAY)
    clock.set(START + 2 * DAY)
    before = ent.balance("acme", "soft")
    ent.sweep("acme")
    assert ent.balance("acme", "soft") == before
    assert before.blocks == ()


def test_debt_is_repaid_by_what_a_hold_gives_back(ent, clock):
    grant(ent, 10, "soft")
    released, lapsing = reserve(ent, 4, "soft", key="released"), reserve(ent, 6, "soft", key="lapsing", ttl=60)
    consume(ent, 8, "soft")
    released.release()
    assert standing(ent, "soft") == (0, 6, 4)
    clock.advance(60 * SECOND)
    assert standing(ent, "soft") == (2, 0, 0)
    assert not lapsing.release().receipt.replayed
    assert moves(ent)[-2:] == [("released", 6, "g"), ("repaid", 4, "g")]


def test_blocks_that_come_back_together_repay_in_burn_order(ent):
    grant(ent, 5, "soft", key="last")
    grant(ent, 5, "soft", key="first", priority=1)
    consume(ent, 10, "soft")
    consume(ent, 3, "soft", key="owed")
    refund(ent)
    assert moves(ent)[-3:] == [("refunded", 5, "last"), ("refunded", 5, "first"), ("repaid", 3, "first")]


def test_debt_is_never_lost_when_the_credit_turns_hard(ent, changed):
    consume(ent, 8, "soft")
    hard = changed(credits={"soft": {}})
    assert standing(hard, "soft") == (0, 0, 8)
    assert not consume(hard, 1, "soft", key="more")
    grant(hard, 10, "soft")
    assert standing(hard, "soft") == (2, 0, 0)


def test_debt_does_not_end(ent, clock):
    consume(ent, 8, "soft")
    clock.advance(3650 * DAY)
    assert standing(ent, "soft") == (0, 0, 8)


def test_a_denial_at_the_floor_writes_nothing(ent):
    consume(ent, 10, "floored")
    lines = size(ent)
    denied = consume(ent, 1, "floored", key="more")
    assert (denied.code, denied.limit, denied.overage, size(ent)) == ("insufficient_credits", 0, 1, lines)


def test_voiding_a_block_does_not_touch_debt(ent):
    grant(ent, 3, "soft", settle_debt=False)
    consume(ent, 2, "soft", feature="chat", depletion="soft")
    consume(ent, 5, "soft", key="owed")
    ent.void_block("acme", "g")
    assert standing(ent, "soft") == (0, 0, 4)
    assert left(ent, "soft") == 0


# --- in which order blocks repay


ORDERS = {"default": "soon", "first_in_first_out": "first", ("category", "granted"): "free"}


def burning(order):
    return {"tab": {"depletion": "soft", "burn_order": order if isinstance(order, str) else [*order]}}


def owing(changed, order):
    """A soft credit with three blocks that are all held, and a debt of four."""
    ent = changed(credits=burning(order))
    grant(ent, 5, "tab", key="first", expires_at=START + 9 * DAY)
    grant(ent, 5, "tab", key="soon", expires_at=START + 5 * DAY)
    grant(ent, 5, "tab", key="free", expires_at=START + 9 * DAY, category="promotional")
    reserve(ent, 15, "tab", key="h", ttl=60)
    consume(ent, 4, "tab", key="over")
    return ent


def repaid(ent):
    return [(line.block, line.amount) for line in ent.entries("acme", limit=999) if line.kind == "repaid"]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("how", ["released", "lapsed", "refunded"])
def test_what_comes_back_to_several_blocks_repays_in_the_order_in_which_the_credit_burns(changed, clock, order, how):
    ent = owing(changed, order)
    if how == "released":
        ent.release("acme", "h")
    elif how == "lapsed":
        clock.advance(61 * SECOND)
        ent.sweep("acme")
    else:
        ent.settle("acme", "h", 15)
        refund(ent, "h", key="r")
    assert repaid(ent) == [(ORDERS[order], 4)]
    assert ent.verify("acme") == ()


@pytest.mark.parametrize("order", ORDERS)
def test_blocks_that_begin_at_once_repay_in_that_order_too(changed, clock, order):
    ent = changed(credits=burning(order))
    consume(ent, 4, "tab", key="over")
    begins = {"effective_at": START + DAY}
    grant(ent, 5, "tab", key="first", expires_at=START + 9 * DAY, **begins)
    grant(ent, 5, "tab", key="soon", expires_at=START + 5 * DAY, **begins)
    grant(ent, 5, "tab", key="free", expires_at=START + 9 * DAY, category="promotional", **begins)
    clock.advance(2 * DAY)
    ent.sweep("acme")
    assert repaid(ent) == [(ORDERS[order], 4)]


@pytest.mark.parametrize("order", ORDERS)
def test_how_a_debt_is_repaid_does_not_depend_on_the_catalog_there_is_when_somebody_comes(changed, clock, order):
    owing(changed, order)
    clock.advance(61 * SECOND)
    later = changed(credits=burning("soonest_expiry"))
    later.sweep("acme")
    assert repaid(later) == [(ORDERS[order], 4)]
    assert later.verify("acme") == ()


def test_the_line_that_owes_says_the_order_alike_whatever_keeps_it(changed):
    (line,) = [line for line in owing(changed, ("category", "granted")).entries("acme") if line.kind == "overdrawn"]
    assert line.data["order"] == ["category", "granted"]


def orders(ent):
    head = ent._storage.state("acme", lambda _: ()).head
    return [debt.order for debt in head.debts.values()]


def test_of_several_debts_in_one_credit_the_oldest_says_the_order_and_of_one_the_charge_that_added_last(changed):
    first, later = owing(changed, ("category", "granted")), changed(credits=burning("default"))
    consume(later, 1, "tab", key="other", feature="chat")
    assert orders(later) == [("category", "granted"), "default"]
    assert later.verify("acme") == ()
    consume(first, 1, "tab", key="last", feature="chat")
    refund(later, "other")
    assert orders(later) == [("category", "granted"), ("category", "granted")]
    consume(later, 1, "tab", key="again", feature="chat")
    assert orders(changed(credits=burning("plan_first"))) == [("category", "granted"), "default"]
    later.release("acme", "h")
    assert repaid(later) == [("free", 4), ("free", 1), ("first", 1)]
