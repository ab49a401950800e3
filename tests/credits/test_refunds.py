"""Refunds: what a batch took goes back where it came from, the last part first, and never more than was taken."""

from decimal import Decimal

import pytest

from entitlements import Catalog, Entitlements
from entitlements.amounts import MAX_UNITS
from entitlements.errors import AmountError
from entitlements.storage.memory import MemoryStorage
from entitlements.testing import FrozenClock
from entitlements.testing.proving import together

from .conftest import CATALOG, DOCUMENT
from .reading import DAY, HOUR, SECOND, START, consume, grant, left, moves, refund, reserve, size, standing

# --- credits


def test_a_refund_gives_back_all_that_a_charge_took(ent):
    grant(ent, 10)
    consume(ent, 6)
    decision = refund(ent)
    assert (decision.requested, decision.source, decision.feature) == (6, "credit:plain", "plain")
    assert (decision.receipt.booked, decision.receipt.burned, decision.receipt.balance_after) == (6, {"g": -6}, 10)
    assert moves(ent)[-1] == ("refunded", 6, "g")
    assert standing(ent) == (10, 0, 0)


def test_parts_go_back_in_the_reverse_of_the_order_they_burned_in(ent):
    for priority, name in enumerate(("first", "second", "third")):
        grant(ent, 3, key=name, priority=priority)
    consume(ent, 8)
    assert refund(ent, amount=1, key="r1").receipt.burned == {"third": -1}
    assert refund(ent, amount=3, key="r2").receipt.burned == {"third": -1, "second": -2}
    assert refund(ent, key="r3").receipt.burned == {"second": -1, "first": -3}
    assert [(block.id, block.remaining) for block in ent.balance("acme", "plain").blocks] == [
        ("first", 3), ("second", 3), ("third", 3),
    ]  # fmt: skip


def test_blocks_are_those_that_paid_whatever_would_burn_first_today(ent):
    grant(ent, 5, key="paid")
    consume(ent, 5)
    grant(ent, 5, key="urgent", priority=1)
    assert refund(ent).receipt.burned == {"paid": -5}


def test_a_block_that_was_used_up_is_opened_again_as_it_was(ent):
    block = grant(ent, 5, "ai", category="promotional", cost_basis="9.00", features=["chat"], metadata={"n": 1})
    consume(ent, 5, "ai", feature="chat")
    refund(ent)
    assert ent.balance("acme", "ai", feature="chat").blocks == (block,)


def test_never_more_than_was_taken_in_one_refund_or_in_many(ent):
    grant(ent, 10)
    consume(ent, 6)
    with pytest.raises(AmountError, match="cannot refund 7 of 'c': it took 6, and 6 of it is left"):
        refund(ent, amount=7, key="too much")
    refund(ent, amount=4, key="four")
    with pytest.raises(AmountError, match="cannot refund 3 of 'c': it took 6, and 2 of it is left"):
        refund(ent, amount=3, key="three")
    refund(ent, amount=2, key="two")
    for amount, said in ((None, "nothing is left to refund of 'c': it took 6, and all of it was"), (1, "and 0 of it is left")):
        with pytest.raises(AmountError, match=said):
            refund(ent, amount=amount, key="again")
    assert standing(ent) == (10, 0, 0)


@pytest.mark.parametrize("amount", [0, -1, 1.5, "0.001", MAX_UNITS + 1])
def test_a_refund_of_what_is_no_amount_or_nothing_is_refused(ent, amount):
    grant(ent, 10)
    consume(ent, 6)
    lines = size(ent)
    with pytest.raises(AmountError):
        refund(ent, amount=amount)
    assert size(ent) == lines


def test_a_refund_of_a_part_is_exact_at_the_scale(ent):
    grant(ent, 10, "ai")
    consume(ent, "6.66", "ai")
    assert refund(ent, amount="0.01").receipt.booked == Decimal("0.01")
    assert left(ent, "ai") == Decimal("3.35")


def test_what_was_booked_in_part_is_refunded_in_part(ent):
    grant(ent, 4, "partial")
    consume(ent, 10, "partial")
    assert refund(ent).receipt.booked == 4


@pytest.mark.parametrize("named", ["g", "h", "nothing", "zero", "r", "denied"])
def test_only_what_took_something_can_be_refunded(ent, named):
    grant(ent, 10)
    reserve(ent, 1)
    consume(ent, 0, key="zero")
    consume(ent, 99, key="denied")
    consume(ent, 1)
    refund(ent)
    with pytest.raises(LookupError, match=f"no batch with key '{named}' took anything.*: give the key of a charge"):
        refund(ent, named, key="again")


def test_a_charge_of_another_customer_cannot_be_refunded(ent):
    for customer in ("acme", "other"):
        grant(ent, 10, customer=customer)
    consume(ent, 5, key="others", customer="other")
    with pytest.raises(LookupError):
        refund(ent, "others")


def test_a_refund_on_a_credit_that_left_the_catalog_is_denied(ent, changed):
    grant(ent, 10)
    consume(ent, 5)
    ent.consume("acme", "seats", 1, key="seat")
    without = changed(credits={"ai": {}}, features={"chat": {"type": "metered"}}, plans={"free": {}})
    assert (refund(without).code, refund(without, "seat").code) == ("unknown_credit", "unknown_feature")
    assert refund(ent)


# --- blocks that ended


def test_what_is_refunded_to_a_block_that_ended_expires_at_once(ent, clock):
    grant(ent, 10, expires_in=60)
    consume(ent, 6)
    clock.advance(60 * SECOND)
    decision = refund(ent)
    assert (decision.allowed, decision.receipt.booked, decision.receipt.balance_after) == (True, 6, 0)
    assert moves(ent)[2:] == [("expired", 4, "g"), ("refunded", 6, "g"), ("expired", 6, "g")]
    assert standing(ent) == (0, 0, 0)


def test_what_goes_back_to_live_blocks_is_usable_and_the_rest_is_not(ent, clock):
    grant(ent, 5, key="ending", expires_in=60)
    grant(ent, 5, key="lasting")
    consume(ent, 10)
    clock.advance(60 * SECOND)
    assert refund(ent, amount=7).receipt.burned == {"lasting": -5, "ending": -2}
    assert standing(ent) == (5, 0, 0)


def test_what_is_refunded_repays_what_is_owed(ent):
    grant(ent, 5, "soft")
    consume(ent, 5, "soft")
    consume(ent, 3, "soft", key="owed")
    assert refund(ent).receipt.balance_after == 2
    assert moves(ent)[-2:] == [("refunded", 5, "g"), ("repaid", 3, "g")]
    assert standing(ent, "soft") == (2, 0, 0)


# --- debt


def test_what_had_gone_into_debt_is_forgiven_first(ent):
    grant(ent, 5, "soft")
    consume(ent, 8, "soft")
    assert refund(ent, amount=2, key="r1").receipt.burned == {}
    assert (moves(ent)[-1], standing(ent, "soft")) == (("forgiven", 2, ""), (0, 0, 1))
    assert refund(ent, amount=3, key="r2").receipt.burned == {"g": -2}
    assert standing(ent, "soft") == (2, 0, 0)


def test_debt_that_was_repaid_since_comes_back_as_a_promotional_block(ent):
    consume(ent, 8, "soft")
    grant(ent, 5, "soft")
    decision = refund(ent)
    assert moves(ent)[-2:] == [("forgiven", 3, ""), ("granted", 5, "r")]
    assert (decision.receipt.booked, decision.receipt.burned, decision.receipt.balance_after) == (8, {"r": -5}, 5)
    (block,) = ent.balance("acme", "soft").blocks
    assert (block.id, block.amount, block.category, block.source) == ("r", 5, "promotional", "refund")


def returned(ent, key="r", **more):
    """The block in which a refund gave back what had repaid debt: what is left of it, and its terms."""
    (block,) = [block for block in ent.balance("acme", "soft", **more).blocks if block.id == key]
    return int(block.remaining), block.features, block.scope, block.expires_at


def test_repaid_debt_comes_back_under_the_terms_of_the_block_that_repaid_it(ent, clock):
    """Who repays with credits of a team, for one feature and an hour, does not get credits for everybody for good."""
    consume(ent, 10, "soft", scope="team:r", feature="chat")
    grant(ent, 10, "soft", scope="team:r", features=["chat", "images"], expires_in=HOUR)
    refund(ent)
    assert returned(ent) == (10, ("chat", "images"), (("team", "r"),), START + HOUR)
    assert left(ent, "soft", scope="team:other", feature="chat") == 0
    assert left(ent, "soft", scope="team:r", feature="seats") == 0
    assert left(ent, "soft", scope="team:r", feature="images") == 10
    clock.advance(HOUR)
    assert left(ent, "soft", scope="team:r", feature="chat") == 0
    assert ent.verify("acme") == ()


def test_what_several_blocks_repaid_comes_back_for_what_all_of_them_could_pay(ent):
    consume(ent, 12, "soft", scope="team:r/user:ann", feature="chat")
    grant(ent, 3, "soft", key="g1")
    grant(ent, 4, "soft", key="g2", scope="team:r", features=["chat", "seats"], expires_in=DAY)
    grant(ent, 5, "soft", key="g3", scope="user:ann", features=["images", "chat"], expires_in=HOUR)
    refund(ent, amount=5, key="r1")
    assert returned(ent, "r1") == (5, ("chat", "images"), (("user", "ann"),), START + HOUR)
    refund(ent, amount=2, key="r2")
    assert returned(ent, "r2") == (2, ("chat", "seats"), (("team", "r"),), START + DAY)
    refund(ent, key="r3")
    assert returned(ent, "r3") == (5, ("chat", "seats"), (("team", "r"),), START + DAY)
    consume(ent, 9, "soft", key="again", scope="team:r/user:ann", feature="chat")
    assert left(ent, "soft", scope="team:r/user:ann", feature="chat") == 3


def test_the_terms_of_blocks_that_repaid_meet(ent):
    consume(ent, 7, "soft", scope="team:r/user:ann", feature="chat")
    grant(ent, 3, "soft", key="g1", scope="team:r", features=["seats", "chat"], expires_in=DAY)
    grant(ent, 4, "soft", key="g2", scope="user:ann", features=["chat", "images"], expires_in=HOUR)
    refund(ent)
    assert returned(ent) == (7, ("chat",), (("user", "ann"), ("team", "r")), START + HOUR)


@pytest.mark.parametrize("way", ["ended", "voided"])
def test_what_a_block_repaid_that_is_over_is_lost_with_it(ent, clock, way):
    consume(ent, 10, "soft")
    grant(ent, 6, "soft", key="g1", expires_in=HOUR if way == "ended" else None)
    grant(ent, 4, "soft", key="g2", expires_in=DAY)
    if way == "voided":
        ent.void_block("acme", "g1")
    clock.advance(HOUR)
    before = size(ent)
    decision = refund(ent)
    assert moves(ent, before) == [("granted", 10, "r"), ("expired", 6, "r")]
    assert (decision.receipt.burned, decision.receipt.balance_after) == ({"r": -10}, 4)
    assert returned(ent) == (4, None, None, START + DAY)
    assert ent.sweep("acme") == 0
    assert ent.verify("acme") == ()


def test_where_all_that_repaid_is_over_all_is_lost(ent, clock):
    consume(ent, 10, "soft")
    grant(ent, 10, "soft", expires_in=HOUR)
    clock.advance(HOUR)
    assert refund(ent).receipt.balance_after == 0
    assert moves(ent)[-2:] == [("granted", 10, "r"), ("expired", 10, "r")]
    assert ent.sweep("acme") == 0
    statement = ent.statement("acme", "soft", start=START, end=START + DAY)
    assert (statement.closing.balance, statement.adds_up) == (0, True)


def test_debt_is_repaid_in_the_order_it_was_made_and_comes_back_from_those_who_repaid_it(ent):
    consume(ent, 5, "soft", key="c1")
    consume(ent, 5, "soft", key="c2")
    grant(ent, 5, "soft", key="g1", expires_in=DAY)
    grant(ent, 5, "soft", key="g2", expires_in=HOUR)
    refund(ent, "c1", key="r1")
    refund(ent, "c2", key="r2")
    assert (returned(ent, "r1")[3], returned(ent, "r2")[3]) == (START + DAY, START + HOUR)


def test_a_refund_that_forgives_what_another_charge_owes_stands_in_for_it(ent):
    consume(ent, 10, "soft", key="c1")
    grant(ent, 10, "soft", key="g1", expires_in=HOUR)
    consume(ent, 10, "soft", key="c2")
    refund(ent, "c1", key="r1")
    assert moves(ent)[-1] == ("forgiven", 10, "")
    refund(ent, "c2", key="r2")
    assert returned(ent, "r2") == (10, None, None, START + HOUR)


def test_repayments_that_fell_due_and_are_not_booked_are_known(ent, clock):
    consume(ent, 10, "soft", key="c")
    grant(ent, 1, key="ends", expires_in=HOUR)
    grant(ent, 10, "soft", effective_at=START + HOUR, expires_in=DAY)
    clock.advance(2 * HOUR)
    refund(ent)
    assert [kind for kind, *_ in moves(ent)[-2:]] == ["repaid", "granted"]
    assert returned(ent) == (10, None, None, START + DAY + HOUR)


def test_a_refund_is_given_back_by_a_plans_block_under_its_terms(opened, clock):
    plans = {"pro": {"credits": {"soft": {"grant": 30, "every": "month"}}}}
    ent = opened(Catalog.load({**DOCUMENT, "plans": {**DOCUMENT["plans"], **plans}}))
    consume(ent, 10, "soft")
    ent.subscribe("acme", "pro")
    refund(ent)
    month = START.replace(month=4)
    assert returned(ent) == (10, None, None, month)


def test_an_erasure_hides_nothing_that_a_refund_must_know(ent):
    consume(ent, 10, "soft", scope="user:ann")
    grant(ent, 10, "soft", scope="user:ann", expires_in=HOUR)
    ent.erase("acme")
    refund(ent)
    ((units, features, ((name, _),), ends),) = [returned(ent)]
    assert (units, features, name, ends) == (10, None, "$sealed", START + HOUR)
    assert left(ent, "soft", scope="user:ann") == left(ent, "soft") == 0
    assert ent.verify("acme") == ()


def test_a_refund_that_somebody_writes_before_reads_on_from_where_it_was():
    """Between reading who repaid and the lock another write came: what it told is read, and nothing else again."""
    read, tried = [], []

    class Busy(MemoryStorage):
        def batches(self, customer, *, after=0, limit=1000):
            read.append(after)
            return super().batches(customer, after=after, limit=limit)

        def transact(self, customer, key, reads, decide):
            tried.append(key)
            if key == "r" and tried.count("r") == 2:
                consume(ent, 5, "soft", key="c2")
                grant(ent, 5, "soft", key="g2", expires_in=HOUR)
            return super().transact(customer, key, reads, decide)

    ent = Entitlements(CATALOG, storage=Busy(), clock=FrozenClock(START))
    consume(ent, 10, "soft")
    grant(ent, 10, "soft", expires_in=DAY)
    assert refund(ent).receipt.burned == {"r": -10}
    assert returned(ent)[3] == START + DAY
    assert read == [0, 2, 2, 4]
    assert tried.count("r") == 3
    refund(ent, "c2", key="r2")
    assert returned(ent, "r2")[3] == START + HOUR


def test_a_block_that_comes_back_repays_other_debt(ent):
    consume(ent, 8, "soft", feature="chat")
    grant(ent, 8, "soft")
    consume(ent, 5, "soft", key="other", feature="seats")
    assert refund(ent).receipt.balance_after == 3
    assert moves(ent)[-2:] == [("granted", 8, "r"), ("repaid", 5, "r")]
    assert standing(ent, "soft") == (3, 0, 0)
    assert ent.sweep("acme") == 0


def test_a_charge_on_a_refunded_block_can_be_refunded_too(ent):
    consume(ent, 8, "soft")
    grant(ent, 8, "soft")
    refund(ent)
    consume(ent, 8, "soft", key="again")
    assert refund(ent, "again", key="r2").receipt.burned == {"r": -8}


# --- holds


def test_a_hold_is_refunded_under_its_id_and_took_what_it_was_settled_with(ent):
    grant(ent, 10)
    reserve(ent, 5).settle(7)
    assert refund(ent, "h").receipt.burned == {"g": -7}
    with pytest.raises(AmountError):
        refund(ent, "h", key="r2")
    assert standing(ent) == (10, 0, 0)


def test_a_hold_settled_late_is_refunded_for_what_it_was_charged(ent, clock):
    grant(ent, 10)
    hold = reserve(ent, 5, ttl=60)
    clock.advance(60 * SECOND)
    hold.settle(3)
    assert refund(ent, "h").receipt.booked == 3


@pytest.mark.parametrize("way", ["open", "released", "lapsed", "released after lapsing", "settled with nothing"])
@pytest.mark.parametrize("kind", ["credits", "usage"])
def test_a_hold_that_took_nothing_has_nothing_to_refund(ent, clock, way, kind):
    grant(ent, 10)
    consume(ent, 5)
    ent.consume("acme", "seats", 5)
    hold = reserve(ent, 3, ttl=60) if kind == "credits" else ent.reserve("acme", "seats", 3, key="h", ttl=60)
    if "laps" in way:
        clock.advance(60 * SECOND)
        ent.sweep()
    if way.startswith("released"):
        hold.release()
    if way.startswith("settled"):
        hold.settle(0)
    with pytest.raises(LookupError):
        refund(ent, "h")
    clock.advance(60 * SECOND)
    assert (left(ent), ent.check("acme", "seats").used) == (5, 5)


# --- usage


def used(ent, feature="seats", **more):
    return ent.check("acme", feature, requested=0, **more).used


def test_usage_is_refunded_to_the_window_it_was_counted_in(ent, clock):
    ent.consume("acme", "chat", 6, key="c")
    clock.advance(DAY)
    ent.consume("acme", "chat", 2)
    decision = refund(ent, amount=4)
    assert (decision.allowed, decision.feature, decision.requested, decision.receipt.booked) == (True, "chat", 4, 4)
    assert (used(ent, "chat"), used(ent, "chat", at=START)) == (2, 2)
    with pytest.raises(AmountError, match="cannot refund 3 of 'c': it took 6, and 2 of it is left"):
        refund(ent, amount=3, key="r2")
    refund(ent, key="r3")
    assert used(ent, "chat", at=START) == 0


def test_recorded_usage_is_refunded_too(ent):
    ent.record("acme", "seats", 25, key="c")
    refund(ent, amount=20)
    assert used(ent) == 5


def test_a_refund_of_usage_replays(ent):
    ent.consume("acme", "seats", 6, key="c")
    first, again = refund(ent), refund(ent)
    assert (again.receipt.replayed, again.feature, again.receipt.booked) == (True, "seats", 6)
    assert (first.allowed, used(ent)) == (True, 0)


def test_usage_that_was_freed_or_reset_meanwhile_is_not_taken_from_anybody_else(ent):
    ent.consume("acme", "seats", 6, key="c")
    ent.free("acme", "seats", 4)
    refund(ent)
    assert used(ent) == 0
    assert ent.entries("acme")[-1].amount == -2


def test_a_refund_leaves_held_usage_to_its_hold(ent):
    ent.consume("acme", "seats", 3, key="c")
    ent.free("acme", "seats", 3)
    hold = ent.reserve("acme", "seats", 4, key="h")
    refund(ent)
    assert used(ent) == 4
    hold.release()
    assert used(ent) == 0


def test_a_hold_that_lapsed_unseen_holds_nothing_back_from_a_refund(ent, clock):
    ent.consume("acme", "seats", 3, key="c")
    ent.reserve("acme", "seats", 3, key="h", ttl=60)
    clock.advance(60 * SECOND)
    refund(ent)
    assert used(ent) == 0


@pytest.mark.parametrize(("settled", "left_over"), [(1, 5), (4, 5), (7, 5)])
def test_a_usage_hold_took_what_it_was_settled_with(ent, settled, left_over):
    ent.record("acme", "seats", 5)
    ent.reserve("acme", "seats", 4, key="h").settle(settled)
    assert used(ent) == 5 + settled
    decision = refund(ent, "h")
    assert (decision.receipt.booked, used(ent)) == (settled, left_over)
    with pytest.raises(AmountError):
        refund(ent, "h", key="again")


def test_a_usage_hold_is_refunded_in_part_the_last_window_first(ent, clock):
    hold = ent.reserve("acme", "chat", 6, key="h", ttl=2 * DAY)
    clock.advance(DAY)
    hold.settle(8)
    refund(ent, "h", amount=3)
    assert (used(ent, "chat"), used(ent, "chat", at=START)) == (0, 5)
    refund(ent, "h", key="r2")
    assert used(ent, "chat", at=START) == 0


def test_a_usage_hold_settled_late_is_refunded_for_what_it_was_charged(ent, clock):
    hold = ent.reserve("acme", "seats", 4, key="h", ttl=60)
    clock.advance(60 * SECOND)
    hold.settle(3)
    assert refund(ent, "h").receipt.booked == 3
    assert used(ent) == 0


def test_usage_counted_in_several_periods_was_taken_once_and_returns_to_all(opened):
    limits = [{"limit": 50, "reset": "day"}, {"limit": 500, "reset": "month"}]
    plans = {"free": {"entitlements": {"calls": {"limits": limits}}}}
    features = {"calls": {"type": "metered", "reset": "month"}}
    ent = opened(Catalog.load({"version": 1, "default_plan": "free", "features": features, "plans": plans}))
    ent.consume("acme", "calls", 6, key="c")
    assert refund(ent, amount=4).receipt.booked == 4
    (choice,) = ent.check("acme", "calls", requested=0).allowances
    assert [limit.used for limit in choice.limits] == [2, 2]


def test_only_sums_can_be_refunded(ent):
    ent.consume("acme", "peak", 5, key="c")
    with pytest.raises(ValueError, match="only sums can be refunded"):
        refund(ent)


# --- concurrently


def test_of_many_full_refunds_at_once_exactly_one_wins(opened, shared):
    ent = opened(CATALOG, storage=shared)
    grant(ent, 10)
    consume(ent, 6)

    def attempt(number):
        try:
            return refund(ent, key=f"r{number}").receipt.booked
        except AmountError:
            return None

    won = together(8, attempt)
    assert sorted(won, key=str) == [6, *[None] * 7]
    assert standing(ent) == (10, 0, 0)


def test_many_partial_refunds_at_once_never_exceed_what_was_taken(opened, shared):
    engines = [opened(CATALOG, storage=shared) for _ in range(2)]
    grant(engines[0], 10)
    consume(engines[0], 10)

    def attempt(number):
        try:
            return refund(engines[number % 2], amount=3, key=f"r{number}").receipt.booked
        except AmountError:
            return 0

    assert sum(together(8, attempt)) == 9
    assert standing(engines[1]) == (9, 0, 0)


def test_a_refund_that_would_overflow_a_credit_is_refused_and_writes_nothing(ent):
    grant(ent, MAX_UNITS)
    consume(ent, MAX_UNITS)
    grant(ent, MAX_UNITS, key="g2")
    lines = size(ent)
    with pytest.raises(AmountError, match="more than a log can hold"):
        refund(ent, amount=1)
    assert size(ent) == lines
    consume(ent, 1, key="room")
    assert refund(ent, amount=1)


def test_a_refund_can_be_made_at_any_time_after(ent, clock):
    grant(ent, 10)
    consume(ent, 6)
    clock.advance(3650 * DAY + HOUR)
    assert refund(ent).receipt.balance_after == 10


def test_usage_that_was_reset_meanwhile_is_given_back_only_as_far_as_it_counts(opened):
    """Both parts of a hold that was settled for more count in one place: what is left there is given back once."""
    catalog = {"default_plan": "free", "features": {"calls": {"type": "metered", "reset": "none"}}}
    ent = opened(catalog | {"plans": {"free": {"entitlements": {"calls": 100}}}})
    ent.reserve("acme", "calls", 5, key="h").settle(8)
    ent.reset_usage("acme", "calls")
    ent.consume("acme", "calls", 4)
    assert ent.refund("acme", "h", key="r").receipt.booked == 8
    assert ent.check("acme", "calls").used == 0
    assert ent.verify() == ()
