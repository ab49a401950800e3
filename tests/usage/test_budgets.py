"""Budgets: whom they cap, in which window, what changing them does, and what is left of them."""

import json
import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from entitlements import Entitlements, UnknownBudget, UnknownCredit, UnknownCustomer, UnknownFeature
from entitlements.errors import AmountError, IdempotencyConflict

DAY = timedelta(days=1)
ANN = {"team": "x", "user": "ann"}


def use(ent, amount=1, scope=None, feature="seats", **more):
    return ent.consume("acme", feature, amount, scope=scope, **more)


def used(ent, scope=""):
    tree = ent.usage_tree("acme")
    node = tree[scope] if scope else tree.root
    return [budget.used for budget in node.budgets]


@pytest.mark.parametrize(
    ("scope", "counts"),
    [
        (None, False),
        ("user:ann", True),
        ("team:x/user:ann", True),
        ("user:ann/agent:bot", True),
        ("user:bob", False),
        ("agent:ann", False),
        ("team:x", False),
    ],
)
def test_a_budget_counts_every_charge_whose_scope_contains_its_own(ent, scope, counts):
    ent.set_budget("acme", "user:ann", feature="seats", limit=5, every="none")
    assert bool(use(ent, 2, scope).budgets) is counts
    assert used(ent, "user:ann") == [2 * counts]


def test_which_budgets_cap_a_use_is_remembered_for_so_many_uses_and_no_more(ent, monkeypatch):
    monkeypatch.setattr("entitlements.budgeting.USES_KNOWN", 2)
    ent.set_budget("acme", "user:u1", feature="seats", limit=1, every="none")
    counted = [len(use(ent, 1, f"user:u{number % 4}", feature="chat").budgets) for number in range(8)]
    assert counted == [0] * 8
    ent.set_budget("acme", "user:u1", feature="chat", limit=9, every="none")
    assert [len(use(ent, 1, f"user:u{number % 4}", feature="chat").budgets) for number in range(8)] == [0, 1, 0, 0] * 2


def test_what_is_remembered_of_budgets_is_that_of_the_instant_asked_about(ent, clock):
    began = clock()
    ent.set_budget("acme", "user:ann", feature="seats", limit=5, every={"every": "hour"})
    ent.set_budget("acme", "user:ann", feature="seats", limit=3, every="none", ends_at=began + DAY)

    def caps(**more):
        found = ent.check("acme", "seats", scope="user:ann", **more).budgets
        return [(cap.limit, cap.used, cap.window_start) for cap in found]

    use(ent, 1, "user:ann")
    before = caps()
    clock.advance(2 * DAY)
    after = caps()
    assert [cap[0] for cap in before] == [5, 3]
    assert [(limit, counted) for limit, counted, _ in after] == [(5, 0)]
    assert caps(at=began) == before
    assert caps() == after
    use(ent, 2, "user:ann")
    assert [cap[:2] for cap in caps()] == [(5, 2)]


def test_a_budget_of_several_kinds_needs_them_all(ent):
    ent.set_budget("acme", ANN, feature="seats", limit=5, every="none")
    for scope in ("team:x", "user:ann", "team:y/user:ann"):
        use(ent, 1, scope)
    use(ent, 1, {"user": "ann", "team": "x"})
    assert used(ent, "team:x/user:ann") == [1]


def test_the_first_budget_without_room_from_the_root_is_named_and_all_are_listed(ent):
    ent.set_budget("acme", "user:ann", feature="seats", limit=1, every="none")
    ent.set_budget("acme", ANN, feature="seats", limit=3, every="none")
    ent.set_budget("acme", "team:x", feature="seats", limit=2, every="month")
    ent.set_budget("acme", None, feature="seats", limit=9, every="none")
    denied = use(ent, 3, ANN)
    assert [(dict(cap.scope), cap.passes) for cap in denied.budgets] == [
        ({}, True), ({"team": "x"}, False), ({"user": "ann"}, False), (ANN, True),
    ]  # fmt: skip
    assert (denied.source, denied.limit, denied.used, denied.requested) == ("budget:team:x", 2, 0, 3)
    assert denied.reason.startswith("3 seats asked for, 2 left of 2 per month in the budget of team:x; ")
    assert (denied.outcome, denied.lifted_at) == ("block", None)
    assert denied.to_dict()["budgets"][1]["scope"] == {"team": "x"}


def test_a_denial_that_a_reset_lifts_says_when(ent, clock):
    ent.set_budget("acme", "team:x", feature="seats", limit=2, every={"every": "hour"})
    assert use(ent, 2, "team:x")
    denied = use(ent, 1, "team:x")
    assert (denied.outcome, denied.lifted_at, denied.retry_after()) == ("throttle", datetime(2026, 3, 10, 13, tzinfo=UTC), 3600)
    clock.advance(timedelta(hours=1))
    assert use(ent, 1, "team:x")


def test_a_denial_by_budgets_that_reset_at_different_times_says_when_there_is_room_again(ent, clock):
    ent.set_budget("acme", "team:x", feature="seats", limit=1, every="day")
    ent.set_budget("acme", ANN, feature="seats", limit=1, every="month")
    use(ent, 1, ANN)
    denied = use(ent, 1, ANN)
    assert (denied.source, denied.resets_at.day, denied.lifted_at) == ("budget:team:x", 11, datetime(2026, 4, 1, tzinfo=UTC))
    assert denied.reason == (
        "1 seats asked for, 0 left of 1 per day in the budget of team:x; there is room again on 2026-04-01 00:00 UTC"
    )
    clock.advance(DAY)
    assert use(ent, 1, ANN).reason.endswith("; it resets on 2026-04-01 00:00 UTC")


def test_a_budget_that_notifies_denies_nothing_and_counts(ent):
    ent.set_budget("acme", "team:x", feature="seats", limit=2, every="none", action="notify")
    assert use(ent, 5, "team:x").budgets[0].used == 5
    assert (used(ent, "team:x"), ent.usage_tree("acme")["team:x"].budgets[0].left) == ([5], 0)


def test_changing_or_removing_a_budget_never_resets_its_count(ent):
    ent.set_budget("acme", "team:x", feature="seats", limit=5, every="month")
    use(ent, 4, "team:x")
    assert ent.set_budget("acme", "team:x", feature="seats", limit=3, every="month").limit == 3
    assert (used(ent, "team:x"), use(ent, 1, "team:x").code) == ([4], "budget_exceeded")
    ent.remove_budget("acme", "team:x", feature="seats", every="month")
    assert use(ent, 1, "team:x").budgets == ()
    ent.set_budget("acme", "team:x", feature="seats", limit=6, every="month")
    assert use(ent, 2, "team:x").budgets[0].used == 6


def test_a_temporary_increase_gives_way_to_what_stood_before(ent, clock):
    ent.set_budget("acme", "team:x", feature="seats", limit=2, every="none")
    ent.set_budget("acme", "team:x", feature="seats", limit=5, every="none", ends_at=clock() + DAY)
    assert use(ent, 4, "team:x")
    assert ent.check("acme", "seats", scope="team:x").valid_until == clock() + DAY
    clock.advance(DAY)
    assert use(ent, 1, "team:x").code == "budget_exceeded"
    assert ent.usage_tree("acme")["team:x"].budgets[0].limit == 2


def test_a_budget_may_be_set_for_later(ent, clock):
    ent.set_budget("acme", None, feature="seats", limit=0, every="none", at=clock() + DAY)
    assert ent.check("acme", "seats").valid_until == clock() + DAY
    assert use(ent)
    clock.advance(DAY)
    assert use(ent).code == "budget_exceeded"


@pytest.mark.parametrize("later", ["set", "removed"])
def test_a_temporary_increase_stands_though_a_change_is_planned_for_later(ent, changed, clock, later):
    terms = {"feature": "seats", "every": "none"}
    ent.set_budget("acme", "team:x", limit=2, **terms)
    ent.set_budget("acme", "team:x", limit=5, ends_at=clock() + DAY, **terms)
    if later == "set":
        ent.set_budget("acme", "team:x", limit=7, at=clock() + 3 * DAY, **terms)
    else:
        ent.remove_budget("acme", "team:x", at=clock() + 3 * DAY, **terms)
    for engine in (ent, changed()):
        assert use(engine, 6, "team:x").code == "budget_exceeded"
        found = [engine.check("acme", "seats", scope="team:x", at=clock() + days * DAY).budgets for days in range(4)]
        assert [cap.limit for caps in found for cap in caps] == [5, 2, 2, *([7] if later == "set" else [])]
        assert engine.verify("acme") == ()


def test_what_a_log_forgot_of_a_budget_is_known_again_once_it_is_folded_anew(database, clock):
    """A head of an older fold had lost a temporary increase where a change was planned for later."""
    from .conftest import CATALOG

    terms = {"feature": "seats", "every": "none"}
    with Entitlements(CATALOG, storage=f"sqlite:///{database}", clock=clock) as ent:
        ent.subscribe("acme", "pro")
        ent.set_budget("acme", "team:x", limit=5, ends_at=clock() + DAY, **terms)
        ent.set_budget("acme", "team:x", limit=7, at=clock() + 3 * DAY, **terms)
    with sqlite3.connect(database) as file:
        ((kept,),) = file.execute("SELECT budgets FROM budgets").fetchall()
        known = json.loads(kept)
        assert len(known["rows"]) == 2
        file.execute("UPDATE budgets SET budgets = ?", (json.dumps({"rows": known["rows"][1:]}),))
        file.execute("UPDATE heads SET fold_version = 2")
    file.close()
    with Entitlements(CATALOG, storage=f"sqlite:///{database}", clock=clock) as ent:
        assert use(ent, 6, "team:x").code == "budget_exceeded"
        assert use(ent, 5, "team:x")
        assert ent.verify() == ()


def test_dimensions_narrow_a_budget(ent):
    ent.set_budget("acme", "team:x", credit="ai", limit=8, every="month", dimensions={"model": "large"})
    assert use(ent, 20, "team:x", "chat")
    assert use(ent, 2, "team:x", "chat", dimensions={"model": "large", "region": "eu"})
    assert use(ent, 1, "team:x", "chat", dimensions={"model": "large"}).code == "budget_exceeded"
    assert use(ent, 1, "team:x", "chat")


def test_a_budget_on_a_credit_counts_what_is_charged_however_it_is_charged(ent):
    ent.set_budget("acme", "team:x", credit="ai", limit=30, every="month")
    assert ent.consume_credits("acme", "ai", 10, key=None, scope="team:x").budgets[0].used == 10
    assert use(ent, 4, "team:x", "chat").budgets[0].used == 16
    hold = ent.reserve_credits("acme", "ai", 14, key="h", scope="team:x")
    assert ent.consume_credits("acme", "ai", 1, key=None, scope="team:x").code == "budget_exceeded"
    assert hold.settle(4).budgets[0].used == 20
    assert used(ent, "team:x") == [20]
    ent.refund("acme", "h", 3, key="r")
    assert used(ent, "team:x") == [17]


def test_a_partial_charge_counts_what_it_took(ent):
    ent.set_budget("acme", "team:x", credit="part", limit=30, every="month")
    ent.grant_credits("acme", "part", 5, key="p")
    assert ent.consume_credits("acme", "part", 20, key=None, scope="team:x").receipt.booked == 5
    assert used(ent, "team:x") == [5]


def test_a_budget_counts_as_its_feature_does(ent):
    ent.set_budget("acme", "team:x", feature="images", limit=10, every="month")
    assert use(ent, 7, "team:x", "images")
    assert use(ent, 9, "team:x", "images")
    assert use(ent, 11, "team:x", "images").code == "budget_exceeded"
    assert used(ent, "team:x") == [9]


def test_a_budget_on_what_is_counted_says_that_a_use_counts_as_one(opened, clock):
    visits = {"visits": {"type": "metered", "aggregate": "count", "reset": "month"}}
    ent = opened({"version": 1, "features": visits, "plans": {"p": {"entitlements": {"visits": 100}}}})
    ent.subscribe("acme", "p")
    ent.set_budget("acme", None, feature="visits", limit=2, every="hour")
    found = [use(ent, 5, None, "visits") for _ in range(3)]
    assert [(cap.requested, cap.used, cap.passes) for each in found for cap in each.budgets] == [
        (1, 1, True),
        (1, 2, True),
        (1, 2, False),
    ]
    assert (found[2].code, found[2].outcome, found[2].retry_after()) == ("budget_exceeded", "throttle", 3600)


def test_late_usage_counts_in_the_window_it_belongs_to(ent, clock):
    ent.set_budget("acme", "team:x", feature="chat", limit=10, every="day")
    use(ent, 3, "team:x", "chat", occurred_at=clock() - DAY)
    assert used(ent, "team:x") == [0]
    assert use(ent, 8, "team:x", "chat", occurred_at=clock() - DAY).code == "budget_exceeded"


@pytest.mark.parametrize(("then", "retry"), [(3, None), (6, 3600), (None, 3600)])
def test_a_denial_promises_a_reset_only_where_what_stands_by_then_has_room(ent, clock, then, retry):
    if then is not None:
        ent.set_budget("acme", "team:x", feature="seats", limit=then, every="hour")
    ent.set_budget("acme", "team:x", feature="seats", limit=5, every="hour", ends_at=clock() + timedelta(minutes=30))
    use(ent, 2, "team:x")
    denied = use(ent, 4, "team:x")
    assert (denied.code, denied.retry_after()) == ("budget_exceeded", retry)
    clock.advance(timedelta(hours=1))
    assert bool(use(ent, 4, "team:x")) is (retry is not None)


def test_a_denial_of_late_usage_does_not_promise_a_reset_that_is_past(ent, clock):
    ent.set_budget("acme", "team:x", feature="chat", limit=10, every="day")
    denied = [use(ent, 8, "team:x", "chat", occurred_at=clock() - DAY) for _ in range(2)][1]
    assert (denied.code, denied.outcome, denied.retry_after()) == ("budget_exceeded", "block", None)
    assert denied.reason.endswith("raise the budget, or ask for less")


def test_windows_follow_the_calendar_or_the_subscription_and_stay(ent, clock):
    ent.set_budget("acme", "a:1", feature="seats", limit=10, every="month")
    ent.set_budget("acme", "a:2", feature="seats", limit=10, every={"every": "month", "align": "anniversary"})
    use(ent, 1, "a:1")
    use(ent, 1, "a:2")
    clock.set(datetime(2026, 4, 1, tzinfo=UTC))
    assert (used(ent, "a:1"), used(ent, "a:2")) == ([0], [1])
    ent.cancel("acme")
    ent.subscribe("acme", "pro", zone="Asia/Tokyo")
    ent.set_budget("acme", "a:2", feature="seats", limit=20, every={"every": "month", "align": "anniversary"})
    assert used(ent, "a:2") == [1]
    clock.set(datetime(2026, 4, 10, 12, tzinfo=UTC))
    assert used(ent, "a:2") == [0]


def test_using_nothing_passes_a_budget_that_is_used_up(ent):
    ent.set_budget("acme", None, feature="seats", limit=0, every="none")
    assert use(ent, 0)
    assert not use(ent, 1)


@pytest.mark.parametrize(
    ("told", "error", "said"),
    [
        ({"feature": "seat", "limit": 1, "every": "day"}, UnknownFeature, "did you mean 'seats'"),
        ({"credit": "sofd", "limit": 1, "every": "day"}, UnknownCredit, "did you mean 'soft'"),
        ({"limit": 1, "every": "day"}, ValueError, "a feature or a credit"),
        ({"feature": "seats", "credit": "ai", "limit": 1, "every": "day"}, ValueError, "and not both"),
        ({"feature": "sso", "limit": 1, "every": "day"}, ValueError, "only metered features"),
        ({"feature": "seats", "limit": "0.5", "every": "day"}, AmountError, "limit is '0.5'"),
        ({"feature": "seats", "limit": -1, "every": "day"}, AmountError, "limit is -1"),
        ({"feature": "seats", "limit": 1, "every": "dey"}, ValueError, "did you mean 'day'"),
        ({"feature": "seats", "limit": 1, "every": 5}, TypeError, "every is a period"),
        ({"feature": "seats", "limit": 1, "every": {"every": "day", "align": "first_use"}}, ValueError, "align is"),
        ({"feature": "seats", "limit": 1, "every": "day", "action": "warn"}, ValueError, "block, notify"),
        ({"feature": "seats", "limit": 1, "every": "day", "alerts": ["0"]}, ValueError, "more than 0"),
        ({"feature": "seats", "limit": 1, "every": "day", "alerts": "0.8"}, TypeError, "a list of parts"),
        ({"feature": "seats", "limit": 1, "every": "day", "ends_at": datetime(2026, 1, 1, tzinfo=UTC)}, ValueError, "come after"),
    ],
)
def test_a_budget_that_cannot_be_is_refused(ent, told, error, said):
    with pytest.raises(error, match=said):
        ent.set_budget("acme", "team:x", **{"alerts": ["1"], **told})
    assert ent.usage_tree("acme").root.inside == ()


def test_there_must_be_a_budget_to_remove(ent):
    with pytest.raises(UnknownBudget, match="no budget on 'seats' per day"):
        ent.remove_budget("acme", "team:x", feature="seats", every="day")
    with pytest.raises(UnknownCustomer):
        ent.remove_budget("nobody", "team:x", feature="seats", every="day")


def test_who_removes_a_budget_that_is_none_is_told_which_there_are(ent):
    ent.set_budget("acme", "team:x/user:y", feature="seats", limit=1, every="day")
    with pytest.raises(UnknownBudget, match="in that scope; acme has one on 'seats' per day .calendar. in 'team:x/user:y'$"):
        ent.remove_budget("acme", "team:x", feature="seats", every="day")
    ent.remove_budget("acme", "team:x/user:y", feature="seats", every="day")
    ent.set_budget("acme", None, credit="ai", limit=1, every="month")
    with pytest.raises(UnknownBudget, match="in that scope; acme has one on 'ai' per month"):
        ent.remove_budget("acme", None, credit="ai", every="day")
    ent.remove_budget("acme", None, credit="ai", every="month")
    ent.set_budget("acme", "user:ann", feature="seats", limit=1, every="month")
    ent.erase("acme")
    with pytest.raises(UnknownBudget, match=r"\(calendar\) in a scope that was erased$"):
        ent.remove_budget("acme", "user:bob", feature="seats", every="month")


def test_which_budgets_there_are_is_told_in_the_same_order_after_a_reopening(ent, changed):
    for name in ("d", "a", "c", "b"):
        ent.set_budget("acme", f"user:{name}", feature="seats", limit=1, every="none")
    told = " and ".join(f"'seats' per none in 'user:{name}'" for name in "abcd").replace(" and", ",")
    for engine in (ent, changed()):
        with pytest.raises(UnknownBudget, match=f"acme has one on {told}$"):
            engine.remove_budget("acme", None, feature="seats", every="none")


def test_who_removes_a_budget_and_has_none_is_told_so(ent):
    with pytest.raises(UnknownBudget, match="in that scope; acme has none$"):
        ent.remove_budget("acme", None, credit="ai", every="month")


def test_setting_a_budget_opens_a_log_and_its_key_replays(ent):
    first = ent.set_budget("new", "team:x", credit="ai", limit=5, every="day", key="k")
    assert ent.set_budget("new", "team:x", credit="ai", limit="5.00", every={"every": "day"}, key="k") == first
    with pytest.raises(IdempotencyConflict):
        ent.set_budget("new", "team:x", credit="ai", limit=6, every="day", key="k")


# --- the tree


def test_the_budgets_of_one_scope_come_in_the_same_order_before_and_after_a_reopening(ent, changed):
    for every in ("month", "hour", "day", "none"):
        for feature in ("tokens", "seats"):
            ent.set_budget("acme", "team:x", feature=feature, limit=5, every=every)
    here, anew = (
        [(budget.feature, budget.every) for budget in each.usage_tree("acme")["team:x"].budgets]
        for each in (ent, changed())
    )
    assert here == anew
    assert here == sorted(here)


def test_the_tree_shows_used_held_and_left_and_what_was_allocated(ent):
    ent.set_budget("acme", None, credit="ai", limit=1000, every="month")
    ent.set_budget("acme", "team:x", credit="ai", limit=50, every="month")
    ent.set_budget("acme", ANN, credit="ai", limit=20, every="day")
    ent.grant_credits("acme", "ai", 8, key="alloc", scope="team:x/agent:bot")
    use(ent, 2, ANN, "chat")
    ent.reserve("acme", "chat", 4, key="h", scope=ANN)
    tree = ent.usage_tree("acme")
    assert str(tree) == (
        "acme\n"
        "  ai per month: 3.00 used, 6.00 held, 991.00 left of 1,000.00\n"
        "  team:x\n"
        "    ai per month: 3.00 used, 6.00 held, 41.00 left of 50.00\n"
        "    agent:bot/team:x\n"
        "      ai allocated: 8.00 left of 8.00\n"
        "    team:x/user:ann\n"
        "      ai per day: 3.00 used, 6.00 held, 11.00 left of 20.00"
    )
    assert [dict(node.scope) for node in tree][1] == {"team": "x"}
    assert tree.to_dict()["inside"][0]["budgets"][0]["left"] == "41.00"
    with pytest.raises(KeyError):
        tree["team:y"]
    assert ent.customer("acme").usage_tree() == tree


def test_an_allocation_pays_only_inside_its_scope_and_before_what_is_shared_whatever_its_terms(ent):
    ent.grant_credits("acme", "ai", 3, key="soon", category="promotional", priority=1, expires_in=3600)
    ent.grant_credits("acme", "ai", 8, key="alloc", scope="team:x")
    assert use(ent, 4, "team:y", "chat").receipt.burned == {"soon": 3, "paid": 3}
    ent.grant_credits("acme", "ai", 3, key="sooner", category="promotional", priority=1, expires_in=60)
    assert use(ent, 6, "team:x/user:ann", "chat").receipt.burned == {"alloc": 8, "sooner": 1}


def test_after_an_erasure_blocks_still_stand_in_the_order_they_burn_in(ent):
    ent.grant_credits("acme", "ai", 3, key="deep", scope="team:x/user:ann")
    ent.grant_credits("acme", "ai", 3, key="shallow", scope="team:x", priority=1)
    assert [block.id for block in ent.balance("acme", "ai").blocks] == ["deep", "shallow", "paid"]
    ent.erase("acme")
    kept = ent._storage.state("acme", lambda _: ()).head.blocks
    assert [*kept] == [block.id for block in ent.balance("acme", "ai").blocks] == ["shallow", "deep", "paid"]


def test_the_tree_of_another_window(ent, clock):
    ent.set_budget("acme", None, feature="seats", limit=5, every="day")
    use(ent, 2)
    before = clock()
    clock.advance(DAY)
    use(ent, 1)
    assert [ent.usage_tree("acme", at=at).root.budgets[0].used for at in (before, clock(), clock() + DAY)] == [2, 1, 0]


# --- what is kept


def test_an_erasure_leaves_counts_and_no_names(opened, storage, ent, shared):
    ent.set_budget("acme", "user:ann.smith", feature="seats", limit=5, every="none")
    use(ent, 2, "user:ann.smith")
    ent.erase("acme")
    assert ent.verify("acme") == ()
    (before,) = [entry.subject for entry in ent.entries("acme") if entry.kind == "budget_set"]
    (node,) = ent.usage_tree("acme").root.inside
    assert (list(node.scope), node.budgets[0].used) == (["$sealed"], 2)
    assert "ann.smith" not in repr(ent.entries("acme")) + repr(ent.feed()) + repr(ent.usage_tree("acme"))
    assert use(ent, 9 - 2, "user:ann.smith").budgets == ()
    again = ent.set_budget("acme", "user:ann.smith", feature="seats", limit=5, every="none")
    assert again.id != before
    assert use(ent, 1, "user:ann.smith").budgets[0].used == 1


def test_a_replay_after_an_erasure_tells_the_budgets_of_all_from_those_whose_scope_was_erased(ent):
    ent.set_budget("acme", None, feature="seats", limit=9, every="none")
    ent.set_budget("acme", "user:ann", feature="seats", limit=9, every="none")
    ent.reserve("acme", "seats", 3, key="h", scope="user:ann")
    use(ent, 2, "user:ann", key="k")
    ent.erase("acme")
    answers = [use(ent, 2, "user:ann", key="k"), ent.settle("acme", "h", 4), ent.settle("acme", "h", 4)]
    found = [(each.receipt.replayed, [list(cap.scope) for cap in each.budgets]) for each in answers]
    assert found == [(replayed, [[], ["$sealed"]]) for replayed in (True, False, True)]


def test_no_name_of_a_scope_stands_in_the_file_after_an_erasure(opened, database, clock):
    from .conftest import CATALOG

    with Entitlements(CATALOG, storage=f"sqlite:///{database}", clock=clock) as ent:
        ent.subscribe("acme", "pro")
        ent.set_budget("acme", "user:ann.smith", feature="seats", limit=5, every="none", alerts=["0.2"])
        ent.consume("acme", "seats", 2, scope="user:ann.smith", key="k")
        assert b"ann.smith" in b"".join(path.read_bytes() for path in database.parent.iterdir())
        ent.erase("acme")
        assert ent.consume("acme", "seats", 2, scope="user:other", key="k").budgets[0].used == 2
    assert b"ann.smith" not in b"".join(path.read_bytes() for path in database.parent.iterdir())


def test_another_process_reads_the_same_budgets(opened, database, clock):
    from .conftest import CATALOG

    engines = [Entitlements(CATALOG, storage=f"sqlite:///{database}", clock=clock) for _ in range(2)]
    one, two = engines
    one.subscribe("acme", "pro")
    one.set_budget("acme", "team:x", feature="seats", limit=5, every="none")
    assert two.consume("acme", "seats", 3, scope="team:x").budgets[0].used == 3
    assert one.consume("acme", "seats", 3, scope="team:x").code == "budget_exceeded"
    assert two.verify() == ()
    for engine in engines:
        engine.close()


def test_a_budget_removed_and_set_again_at_one_instant_caps_in_a_process_that_read_it_in_between(database, clock):
    """Time in a log stands still while the clock is behind it."""
    from .conftest import CATALOG

    terms = {"feature": "seats", "every": "none"}
    with Entitlements(CATALOG, storage=f"sqlite:///{database}", clock=clock) as ent:
        ent.subscribe("acme", "pro")
        ent.set_budget("acme", "team:x", limit=9, **terms)
        ent.remove_budget("acme", "team:x", **terms)
    with Entitlements(CATALOG, storage=f"sqlite:///{database}", clock=clock) as ent:
        ent.set_budget("acme", "team:x", limit=5, **terms)
        assert use(ent, 3, "team:x")
        assert use(ent, 3, "team:x").code == "budget_exceeded"
        assert ent.verify() == ()
