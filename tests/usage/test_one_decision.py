"""One decision over entitlement, limits, budgets and credits: all of it is booked, or none."""

from contextlib import suppress
from datetime import timedelta
from decimal import Decimal

import pytest

from entitlements.errors import AmountError, IdempotencyConflict
from entitlements.usage import TokenUsage

LARGE = {"model": "large"}


def kinds(ent, after):
    return [entry.kind for entry in ent.entries("acme", after=after)]


def last(ent):
    return ent.entries("acme")[-1].seq


def left(ent):
    return ent.balance("acme", "ai").available


def test_a_priced_use_counts_in_usage_and_budgets_and_burns_credits_in_one_batch(ent):
    ent.set_budget("acme", "team:x", credit="ai", limit=50, every="month")
    ent.set_budget("acme", None, feature="chat", limit=10, every="day")
    before = last(ent)
    decision = ent.consume("acme", "chat", 3, key="k", scope="team:x/user:ann", dimensions=LARGE)
    assert (decision.used, decision.receipt.price, decision.receipt.burned) == (3, 12, {"paid": Decimal(12)})
    assert (decision.receipt.balance_after, decision.receipt.unpaid, left(ent)) == (88, 0, 88)
    assert [(cap.scope, cap.used, cap.limit) for cap in decision.budgets] == [({}, 3, 10), ({"team": "x"}, 12, 50)]
    assert kinds(ent, before) == ["used", "budgeted", "budgeted", "priced", "burned"]
    assert len({entry.key for entry in ent.entries("acme", after=before)}) == 1
    assert decision.receipt.seq == last(ent)


@pytest.mark.parametrize(
    ("tight", "code"),
    [
        ("limit", "limit_reached"),
        ("feature budget", "budget_exceeded"),
        ("credit budget", "budget_exceeded"),
        ("credits", "insufficient_credits"),
    ],
)
@pytest.mark.parametrize("verb", ["consume", "reserve"])
def test_where_one_has_no_room_nothing_is_booked(ent, tight, code, verb):
    amount = {"limit": 101}.get(tight, 20)
    if tight == "feature budget":
        ent.set_budget("acme", "team:x", feature="chat", limit=19, every="day")
    if tight == "credit budget":
        ent.set_budget("acme", "user:ann", credit="ai", limit="29.99", every="none")
    if tight == "credits":
        ent.consume_credits("acme", "ai", "70.01", key=None)
    ent.set_budget("acme", "user:ann", feature="chat", limit=1000, every="week")
    before, tree, balance = last(ent), ent.usage_tree("acme").to_dict(), left(ent)
    asked = ent.check("acme", "chat", requested=amount, scope="team:x/user:ann")
    found = getattr(ent, verb)("acme", "chat", amount, key="k", scope="team:x/user:ann")
    decision = found if verb == "consume" else found.decision
    assert (decision.allowed, decision.code, decision.receipt) == (False, code, None)
    assert (asked.allowed, asked.code, asked.reason) == (False, code, decision.reason)
    after = ent.usage_tree("acme").to_dict()
    assert (last(ent), left(ent), after["inside"]) == (before, balance, tree["inside"])


def test_what_denies_first_is_told_first(ent):
    ent.set_budget("acme", None, credit="ai", limit=1, every="month")
    assert ent.consume("acme", "chat", 101).code == "limit_reached"
    assert ent.consume("acme", "chat", 100).code == "budget_exceeded"
    ent.remove_budget("acme", None, credit="ai", every="month")
    assert ent.consume("acme", "chat", 100).code == "insufficient_credits"
    assert ent.consume("acme", "chat", 60)


def test_check_says_what_consume_would(ent):
    assert ent.check("acme", "chat", requested=66)
    assert ent.check("acme", "chat", requested=67).code == "insufficient_credits"
    assert not ent.check("acme", "chat", requested=26, dimensions=LARGE)
    assert ent.check("acme", "chat", requested=25, dimensions=LARGE)
    assert ent.check("acme", "tokens")  # nothing says of what kind, and so nothing says what it costs


def test_a_check_takes_one_number_and_no_mapping_of_kinds_and_says_so(ent):
    with pytest.raises(AmountError, match="requested is a mapping of kinds; give one number: only use of a feature with"):
        ent.check("acme", "tokens", requested={"input": 1})


def test_the_scope_and_the_dimensions_of_a_check_pick_the_budgets(ent):
    ent.set_budget("acme", "team:x", feature="chat", limit=3, every="day")
    ent.set_budget("acme", None, feature="chat", dimensions=LARGE, limit=2, every="day")
    assert ent.check("acme", "chat", requested=4)
    assert ent.check("acme", "chat", requested=4, scope="team:y")
    assert ent.check("acme", "chat", requested=4, scope="team:x").code == "budget_exceeded"
    assert ent.check("acme", "chat", requested=3, dimensions=LARGE).code == "budget_exceeded"


def test_a_meter_stays_the_features_own_when_the_credits_run_out(ent):
    used = ent.consume("acme", "chat", 33)
    ent.consume_credits("acme", "ai", 50, key=None)
    asked = ent.check("acme", "chat")
    told = (asked.code, asked.outcome, asked.limit, asked.used, asked.remaining, asked.source, asked.soft)
    assert told == ("insufficient_credits", "block", 100, 33, 67, "plan:pro", False)
    assert (asked.window_start, asked.resets_at, asked.requested, asked.overage) == (used.window_start, used.resets_at, 1, 0)
    mine, credit = asked.allowances
    assert (mine.source, mine.limit, mine.used, mine.every) == ("plan:pro", 100, 33, "month")
    assert (credit.source, credit.limit, credit.used, credit.remaining) == ("credit:ai", Decimal("0.50"), 0, Decimal("0.50"))
    next_step = "grant more credits"
    assert asked.reason == f"1.50 ai needed for 1 of chat, 0.50 left; {next_step}"
    assert ent.snapshot("acme").features["chat"] == asked
    assert (ent.consume("acme", "chat"), ent.reserve("acme", "chat", key="h").decision) == (asked, asked)
    assert "33 of 100 used per month" in str(ent.explain("acme", "chat"))
    assert "  0.50 ai left\n" in str(ent.explain("acme", "chat"))


def test_a_warm_check_forgets_when_the_credits_are_gone(ent):
    assert ent.check("acme", "chat")
    ent.consume_credits("acme", "ai", 99, key=None)
    assert ent.check("acme", "chat").code == "insufficient_credits"


def test_a_check_stands_no_longer_than_the_block_that_pays(ent, clock):
    ent.consume_credits("acme", "ai", 100, key=None)
    ent.grant_credits("acme", "ai", 10, key="short", expires_in=60)
    assert ent.check("acme", "chat").valid_until == clock() + timedelta(seconds=60)
    clock.advance(timedelta(seconds=60))
    assert ent.check("acme", "chat").code == "insufficient_credits"


@pytest.mark.parametrize("bound", [False, True])
@pytest.mark.parametrize(
    ("depletion", "unpaid", "owed"), [(None, 200, 0), ("hard", 200, 0), ("partial", 200, 0), ("soft", 0, 200)]
)
def test_record_takes_a_depletion_as_consume_does_for_what_the_credits_cannot_pay(ent, bound, depletion, unpaid, owed):
    def record():
        told = {"key": "k", "depletion": depletion}
        return ent.customer("acme").record("chat", 200, **told) if bound else ent.record("acme", "chat", 200, **told)

    decision = record()
    assert (decision.allowed, decision.used, decision.overage) == (True, 200, 100)
    assert (decision.receipt.unpaid, ent.balance("acme", "ai").debt) == (unpaid, owed)
    assert record().receipt.replayed
    with pytest.raises(IdempotencyConflict, match="depletion"):
        ent.record("acme", "chat", 200, key="k", depletion="soft" if depletion != "soft" else "hard")
    with pytest.raises(ValueError, match="depletion is 'sofd'.*did you mean 'soft'"):
        ent.record("acme", "chat", depletion="sofd")


def test_record_never_refuses_and_says_what_is_unpaid(ent):
    ent.set_budget("acme", "team:x", credit="ai", limit=10, every="month")
    decision = ent.record("acme", "chat", 200, key="k", scope="team:x")
    assert (decision.allowed, decision.used, decision.overage) == (True, 200, 100)
    assert (decision.receipt.price, decision.receipt.unpaid, left(ent)) == (300, 200, 0)
    assert [cap.used for cap in decision.budgets] == [100]


def test_priced_holds_promise_no_more_than_the_floor(ent, changed):
    """10 is the floor, and a use of 1 costs 2: 5 uses are all there is, held, charged or recorded."""
    floored = {"ai": {"scale": 2}, "soft": {"depletion": "soft", "floor": 10}}
    soft = changed(rates={"chat": {"credit": "soft", "price": "2"}}, credits=floored)
    hold = soft.reserve("acme", "chat", 3, key="h")
    assert soft.balance("acme", "soft").promised == 6
    assert soft.reserve("acme", "chat", 3, key="h2").decision.code == "insufficient_credits"
    assert soft.consume("acme", "chat", 3, key="k").code == "insufficient_credits"
    assert soft.check("acme", "chat", requested=3).code == "insufficient_credits"
    assert soft.record("acme", "chat", 3, key="r").receipt.unpaid == 2
    assert soft.settle("acme", hold.id, 3)
    assert (soft.balance("acme", "soft").debt, soft.balance("acme", "soft").promised) == (10, 0)


def test_credits_that_are_soft_go_into_debt(ent, changed):
    soft = changed(rates={"chat": {"credit": "soft", "price": "2"}})
    assert soft.consume("acme", "chat", 3, key="k").receipt.unpaid == 0
    assert soft.balance("acme", "soft").debt == 6
    hold = soft.reserve("acme", "chat", 2, key="h")
    assert soft.settle("acme", hold.id, 2)
    assert soft.balance("acme", "soft").debt == 10


def test_a_partial_credit_pays_a_use_in_full_or_not_at_all(ent, changed):
    part = changed(rates={"chat": {"credit": "part", "price": "2"}})
    part.grant_credits("acme", "part", 5, key="p")
    assert part.consume("acme", "chat", 3).code == "insufficient_credits"
    assert part.consume("acme", "chat", 2)


def test_a_partial_limit_charges_what_it_books_and_no_part_of_several_kinds(ent):
    ent.cancel("acme")
    ent.subscribe("acme", "partly")
    assert ent.consume("acme", "tokens", {"input": 60, "output": 60}, key="kinds").code == "limit_reached"
    assert ent.consume("acme", "tokens", {"input": 60, "output": 40}, key="kinds").used == 100


def test_kinds_are_counted_together_and_conflict_by_kind(ent):
    assert ent.consume("acme", "tokens", {"input": 600, "output": 400}, key="k").used == 1000
    assert ent.consume("acme", "tokens", {"output": "400", "input": Decimal(600)}, key="k").receipt.replayed
    with pytest.raises(AmountError, match="only a feature with a rate by kind takes one"):
        ent.consume("acme", "seats", {"input": 1})


def test_a_replay_tells_the_whole_answer_again(ent):
    ent.set_budget("acme", "team:x/user:ann", credit="ai", limit=50, every="month")
    first = ent.consume("acme", "chat", 3, key="k", scope="team:x/user:ann/agent:bot")
    again = ent.consume("acme", "chat", 3, key="k", scope="team:x/user:ann/agent:bot")
    assert again.receipt.replayed
    assert {**again.to_dict(), "receipt": None} == {**first.to_dict(), "receipt": None}
    assert (again.receipt.price, again.receipt.burned) == (first.receipt.price, first.receipt.burned)


# --- holds


def test_a_hold_on_a_priced_use_pins_credits_and_settling_charges_what_it_came_to(ent):
    ent.set_budget("acme", "team:x", credit="ai", limit=50, every="month")
    hold = ent.reserve("acme", "chat", 10, key="h", scope="team:x")
    assert (hold.decision.receipt.price, left(ent), ent.balance("acme", "ai").held) == (15, 85, 15)
    assert (ent.usage_tree("acme")["team:x"].budgets[0].held, ent.check("acme", "chat").used) == (15, 10)
    settled = hold.settle(4)
    assert (settled.allowed, settled.used, settled.receipt.price, left(ent)) == (True, 4, 6, 94)
    budget = ent.usage_tree("acme")["team:x"].budgets[0]
    assert (budget.used, budget.held, budget.left) == (6, 0, 44)


def test_settling_more_draws_on_and_budgets_count_beyond_their_limit(ent):
    ent.set_budget("acme", "team:x", credit="ai", limit=20, every="month")
    hold = ent.reserve("acme", "chat", 10, key="h", scope="team:x")
    settled = hold.settle(20)
    assert (settled.allowed, settled.receipt.price, left(ent), settled.budgets[0].used) == (True, 30, 70, 30)


def test_settling_more_than_credits_can_pay_books_all_there_is(ent):
    hold = ent.reserve("acme", "chat", 10, key="h")
    settled = hold.settle(80)
    assert (settled.allowed, settled.code, settled.used) == (False, "insufficient_credits", 80)
    assert (settled.receipt.price, settled.receipt.unpaid, left(ent)) == (120, 20, 0)
    mine, credit = settled.allowances
    assert (settled.limit, mine.limit, mine.used, credit.limit, credit.used) == (100, 100, 80, 100, 100)
    assert settled.reason.startswith("80 of chat cost 120.00, 100.00 booked, 20.00 short; ")
    again = ent.settle("acme", "h", 80)
    assert {**again.to_dict(), "receipt": None} == {**settled.to_dict(), "receipt": None}


def test_a_hold_released_or_lapsed_gives_everything_back(ent, clock):
    ent.set_budget("acme", "team:x", credit="ai", limit=20, every="none")
    ent.set_budget("acme", "team:x", feature="chat", limit=20, every="none")
    ent.reserve("acme", "chat", 10, key="one", scope="team:x").release()
    ent.reserve("acme", "chat", 10, key="two", scope="team:x", ttl=60)
    assert not ent.reserve("acme", "chat", 10, key="three", scope="team:x")
    clock.advance(timedelta(seconds=60))
    assert (left(ent), ent.check("acme", "chat").used) == (100, 0)
    assert [budget.left for budget in ent.usage_tree("acme")["team:x"].budgets] == [20, 20]
    late = ent.settle("acme", "two", 2)
    assert (late.receipt.late, late.receipt.price, left(ent)) == (True, 3, 97)
    assert ent.verify("acme") == ()


def test_a_hold_keeps_its_dimensions_and_its_kinds_are_settled_by_kind(ent):
    hold = ent.reserve("acme", "tokens", {"input": 1000, "output": 1000}, key="h", dimensions=LARGE)
    assert hold.decision.receipt.price == 40
    assert hold.settle({"input": 1000}).receipt.price == 10
    assert (left(ent), ent.check("acme", "tokens", requested=0).used) == (90, 1000)


KINDS = {"input": 2000, "output": 1000}
USAGE = TokenUsage(input=1000, output=1000)


@pytest.mark.parametrize(
    ("reported", "fails", "price"),
    [
        (None, False, Decimal(5)),
        (None, True, None),
        ({"input": 1000}, False, Decimal(1)),
        (USAGE, False, Decimal(4)),
        (USAGE, True, Decimal(4)),
    ],
)
def test_work_inside_a_hold_by_kinds_is_charged_by_kinds(ent, reported, fails, price):
    held = ent.reserve("acme", "tokens", KINDS, key="h")
    with suppress(KeyError), held:
        if reported is not None:
            held.report(reported)
        if fails:
            raise KeyError
    assert held.result.receipt.price == price
    assert (left(ent), ent.balance("acme", "ai").held) == (100 - (price or 0), 0)


def test_what_a_hold_takes_no_kinds_for_is_refused_as_it_is_reported(ent):
    with ent.reserve("acme", "tokens", KINDS, key="h") as hold:
        for wrong in ({"input": -1}, {"input": "0.5"}):
            with pytest.raises(AmountError):
                hold.report(wrong)
    assert hold.result.receipt.price == 5
    with ent.reserve("acme", "seats", 2, key="seats") as hold, pytest.raises(AmountError, match="give one number"):
        hold.report({"input": 1})
    assert hold.result.receipt.booked == 2


def test_a_hold_outlives_a_change_of_the_rate_card(ent, changed):
    ent.reserve("acme", "chat", 10, key="h")
    dearer = changed(rates={"chat": {"credit": "ai", "price": "3"}})
    assert dearer.settle("acme", "h", 10).receipt.price == 30
    assert (left(dearer), dearer.balance("acme", "ai").held) == (70, 0)


def test_a_hold_outlives_the_rate_itself_and_another_credit(ent, changed):
    ent.grant_credits("acme", "part", 100, key="part")
    for key in ("free", "other"):
        ent.reserve("acme", "chat", 10, key=key)
    assert changed(rates={}).settle("acme", "free", 10).receipt.price is None
    other = changed(rates={"chat": {"credit": "part", "price": "2"}})
    assert other.settle("acme", "other", 10).receipt.burned == {"part": 20}
    assert (left(other), other.balance("acme", "ai").held) == (100, 0)
    assert other.verify("acme") == ()


@pytest.mark.parametrize("came_to", [4, 40])
def test_what_a_hold_counted_in_a_credit_leaves_its_budgets_where_the_price_is_in_another_by_now(ent, changed, came_to):
    ent.grant_credits("acme", "part", 100, key="part")
    for credit in ("ai", "part"):
        ent.set_budget("acme", "team:x", credit=credit, limit=90, every="none")
    ent.reserve("acme", "chat", 10, key="h", scope="team:x")
    other = changed(rates={"chat": {"credit": "part", "price": "2"}})
    assert other.settle("acme", "h", came_to).receipt.price == 2 * came_to
    assert [(budget.credit, budget.used) for budget in other.usage_tree("acme")["team:x"].budgets] == [
        ("ai", 0),
        ("part", 2 * came_to),
    ]
    other.refund("acme", "h", key="r")
    assert [budget.used for budget in other.usage_tree("acme")["team:x"].budgets] == [0, 0]


def test_a_hold_can_be_settled_with_all_it_counts_in_a_budget_however_much_that_is(ent):
    ent.override("acme", "seats", "unlimited")
    ent.set_budget("acme", None, feature="seats", limit=2**63 - 1, every="none")
    ent.reserve("acme", "seats", 2**62, key="h")
    ent.reserve("acme", "seats", 1, key="more")
    with pytest.raises(AmountError, match="the budget of 'seats' would come to more than a counter holds"):
        ent.settle("acme", "h", 2**63 - 1)
    decision = ent.settle("acme", "h", 2**62)
    assert (decision.allowed, decision.budgets[0].used) == (True, 2**62 + 1)


def test_a_replay_names_the_scope_of_a_budget_as_the_budget_does(ent):
    ent.set_budget("acme", "user:ann/team:x", credit="ai", limit=50, every="none")
    inside = {"team": "x", "user": "ann"}
    hold = ent.reserve("acme", "chat", 1, key="h", scope=inside)
    answers = [hold.decision, ent.reserve("acme", "chat", 1, key="h", scope=inside).decision]
    answers += [ent.settle("acme", "h", 1) for _ in range(2)]
    answers += [ent.consume("acme", "chat", 1, key="k", scope=inside) for _ in range(2)]
    ent.reserve_credits("acme", "ai", 1, key="credits", scope=inside)
    answers += [ent.settle("acme", "credits", 1) for _ in range(2)]
    assert [cap.label for each in answers for cap in each.budgets] == ["budget:user:ann/team:x"] * 8
    assert [each.receipt.replayed for each in answers] == [False, True] * 4
    assert [each.scope for each in answers] == [inside] * 8
    assert ent.reserve("acme", "chat", 1, key="everywhere").settle(1).scope is None


# --- refunds


def test_a_refund_undoes_credits_usage_and_budgets(ent):
    ent.set_budget("acme", "team:x", credit="ai", limit=50, every="month")
    ent.set_budget("acme", "team:x", feature="chat", limit=50, every="month")
    ent.consume("acme", "chat", 10, key="k", scope="team:x")
    ent.refund("acme", "k", key="r")
    assert (left(ent), ent.check("acme", "chat").used) == (100, 0)
    assert [budget.used for budget in ent.usage_tree("acme")["team:x"].budgets] == [0, 0]
    with pytest.raises(AmountError):
        ent.refund("acme", "k", 1, key="again")


@pytest.mark.parametrize(("aggregate", "counts"), [("max", [8, 8]), ("latest", [8, 8]), ("count", [2, 8]), ("sum", [8, 8])])
@pytest.mark.parametrize("name", ["size", "ai"])
def test_a_refund_leaves_a_budget_on_what_is_no_sum_as_it_is(opened, name, aggregate, counts):
    credit = {"credits": {"ai": {"depletion": "soft"}}, "rates": {name: {"credit": "ai", "price": 1}}}
    sized = {name: {"type": "metered", "aggregate": aggregate, "reset": "month"}}
    ent = opened({"version": 1, "features": sized, "plans": {"p": {"entitlements": {name: 100}}}, **credit})
    ent.subscribe("acme", "p")
    ent.set_budget("acme", "team:x", feature=name, limit=20, every="month")
    ent.set_budget("acme", "team:x", credit="ai", limit=20, every="month")
    ent.consume("acme", name, 5, key="1", scope="team:x")
    ent.consume("acme", name, 8, key="2", scope="team:x")
    ent.refund("acme", "1", key="r")
    about = {budget.feature or "credit": budget.used for budget in ent.usage_tree("acme")["team:x"].budgets}
    assert [about[name], about["credit"]] == counts
    assert ent.verify("acme") == ()


def test_refunds_in_parts_undo_usage_in_proportion_and_never_more_than_all(ent):
    ent.set_budget("acme", "team:x", feature="chat", limit=50, every="month")
    ent.consume("acme", "chat", 7, key="k", scope="team:x")  # 10.50
    used = []
    for part in range(7):
        ent.refund("acme", "k", "1.5", key=f"r{part}")
        used.append((ent.check("acme", "chat").used, ent.usage_tree("acme")["team:x"].budgets[0].used))
    assert used == [(n, n) for n in (6, 5, 4, 3, 2, 1, 0)]
    assert left(ent) == 100


def test_a_refund_of_a_settled_hold_undoes_what_the_hold_had_counted(ent):
    ent.set_budget("acme", "team:x", credit="ai", limit=50, every="month")
    ent.reserve("acme", "chat", 10, key="h", scope="team:x").settle(6)
    assert ent.usage_tree("acme")["team:x"].budgets[0].used == 9
    ent.refund("acme", "h", key="r")
    assert (left(ent), ent.check("acme", "chat").used) == (100, 0)
    assert ent.usage_tree("acme")["team:x"].budgets[0].used == 0


def test_settling_a_priced_use_beyond_the_credits_says_what_was_booked_and_what_is_short(ent):
    hold = ent.reserve("acme", "chat", 3, key="h")
    decision = ent.settle("acme", hold.id, 80)
    assert decision.reason == (
        "80 of chat cost 120.00, 100.00 booked, 20.00 short; grant more credits, "
        "and charge what is short under a key of its own"
    )
