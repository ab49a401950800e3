"""The laws of those who spend, on a log written by hand: what is sound passes, and each breach is called by its law."""

import pytest

from .checker import Anomaly, check_run
from .laws import Books
from .terms import DAY, HOUR, SECOND

SCOPE = {"team": "x", "user": "ann"}
PLAN = "$plan:agents/gas@10"
ASKED = ("feature", "credit", "amount", "limit", "plan", "hold")


def history():
    """A plan, a budget of 6 on a team, a use of 3 that costs 15, a hold of 2 settled with 3, and a denial of a use of 1.

    Then a third of the first use is refunded, and the next day's credits are granted, 50 of the first rolled over.
    """
    use = {"feature": "chat", "scope": SCOPE, "dimensions": {"model": "large"}}
    calls = [
        call(0, "subscribe", key="s", plan="agents"),
        call(1, "set_budget", key="b", scope={"team": "x"}, feature="chat", dimensions={}, limit=6, every="day", action="block"),
        call(2, "consume", key="c", amount=3, **use, answer={"allowed": True, "price": 15}),
        call(3, "reserve", key="h", amount=2, ttl=600, **use, answer={"allowed": True, "price": 10}),
        call(4, "settle", hold="h", amount=3, answer={"allowed": True, "price": 15}),
        call(5, "consume", key="d", amount=1, **use, answer={"allowed": False, "code": "budget_exceeded"}),
        call(6, "refund", key="r", of="c", amount=5, answer={"allowed": True}),
        call(7, "usage_tree", answer={"budgets": [[[["team", "x"]], "chat", [], "day", 6, 5, 0]]}),
        call(8, "sweep"),
    ]
    batches = [
        batch(1, "s", calls[0], line("subscribed", "agents", 0), line("granted", "gas", 300, block=PLAN, ends=10 + DAY)),
        batch(2, "b", calls[1], line("budget_set", "$b", 0)),
        batch(3, "c", calls[2], line("used", "chat", 3, window=0), budgeted("budgeted", 3), line("priced", "chat", 15),
              line("burned", "gas", 15, block=PLAN)),
        batch(4, "h", calls[3], line("usage_held", "chat", 2, window=0), line("held", "gas", 10, block=PLAN),
              budgeted("budget_held", 2)),
        batch(5, "$close:h", calls[4], line("settled", "gas", 10, block=PLAN), line("priced", "chat", 15),
              budgeted("budgeted", 1), line("burned", "gas", 5, block=PLAN), line("recorded", "chat", 1, window=0)),
        batch(6, "r", calls[6], line("refunded", "gas", 5, block=PLAN), line("usage_refunded", "chat", -1, window=0),
              budgeted("budget_refunded", -1)),
        batch(7, "w", calls[8], *rolled_over(), at=10 + DAY),
    ]  # fmt: skip
    number = 0
    for each in batches:
        for moved in each["lines"]:
            number += 1
            moved["seq"] = number
    return calls, batches


def rolled_over():
    told = {"at": 10 + DAY}
    return [
        line("rolled", "gas", 50, block=PLAN, **told),
        line("granted", "gas", 50, block=f"{PLAN}+{10 + DAY}", ends=10 + 2 * DAY, **told),
        line("expired", "gas", 225, block=PLAN, **told),
        line("granted", "gas", 300, block=f"$plan:agents/gas@{10 + DAY}", ends=10 + 2 * DAY, **told),
    ]


def call(n, f, **told):
    end = {"mono": 2 * n + 2, "clock": 10, "ended": "answer", "answer": told.pop("answer", {}), "replayed": False}
    return {"id": f"0.{n}", "f": f, "customer": "u0", "mono": 2 * n + 1, "clock": 10, "end": end, **told}


def batch(number, key, asked, *lines, at=10):
    request = {"verb": asked["f"], **{name: str(asked[name]) for name in ASKED if name in asked}}
    if "of" in asked:
        request["batch_key"] = asked["of"]
    return {"customer": "u0", "key": key, "number": number, "at": at, "request": request, "lines": list(lines)}


def line(kind, subject, amount, **told):
    return {"at": 10, "kind": kind, "subject": subject, "amount": amount, "block": "", "window": None, "counter": "",
            "ends": None, **told}  # fmt: skip


def budgeted(kind, amount):
    return line(kind, "chat", amount, window=0, counter="$b")


def test_a_sound_history_passes():
    calls, batches = history()
    counts = check_run(calls, batches)
    assert (counts["lawful settle"], counts["lawful refund"], counts["batches"], counts["observations"]) == (1, 1, 7, 2)


def forget_a_budget(calls, batches):
    del batches[2]["lines"][1]
    renumber(batches)


def count_in_another_window(calls, batches):
    batches[2]["lines"][1]["window"] = DAY


def lose_the_usage(calls, batches):
    batches[4]["lines"].pop()
    renumber(batches)


def overshoot(calls, batches):
    calls[1]["limit"] = 4
    batches[1]["request"]["limit"] = "4"


def pay_less(calls, batches):
    batches[2]["lines"][3]["amount"] = 14


def pay_more(calls, batches):
    batches[4]["lines"][3]["amount"] = 6


def stamp_another_price(calls, batches):
    batches[2]["lines"][2]["amount"] = 6


def hold_less_than_the_price(calls, batches):
    batches[3]["lines"][1]["amount"] = 9


def grant_what_is_over_at_once(calls, batches):
    batches[0]["lines"][1]["ends"] = 10


def pay_from_another_scope(calls, batches):
    calls[0].update(f="grant", key=PLAN, scope={"team": "y"}, credit="gas", amount=300)
    batches[0].update(key=PLAN, request={"verb": "grant_credits", "credit": "gas", "amount": "300", "plan": "agents"})


def refund_more_than_was_taken(calls, batches):
    calls[6]["amount"] = 16
    batches[5]["request"]["amount"] = "16"


def give_back_another_amount(calls, batches):
    batches[5]["lines"][0]["amount"] = 6


def grant_twice_in_a_period(calls, batches):
    again = {**batches[0]["lines"][1], "block": "$plan:agents/gas@11"}
    batches[0]["lines"].append(again)
    renumber(batches)


def miss_a_period(calls, batches):
    batches[6]["lines"].pop()


def roll_over_too_much(calls, batches):
    batches[6]["lines"][0]["amount"] = 51


def overdraw_a_block(calls, batches):
    batches[6]["lines"][2]["amount"] = 240


def deny_without_a_reason(calls, batches):
    calls[1]["action"] = "notify"


def read_what_is_not_so(calls, batches):
    calls[7]["end"]["answer"]["budgets"][0][5] = 6


def answer_in_two_ways(calls, batches):
    calls.append({**calls[2], "id": "1.0", "mono": 7, "end": {**calls[2]["end"], "mono": 8, "replayed": True}})
    calls[-1]["end"]["answer"] = {"allowed": True, "price": 14}


def renumber(batches):
    for number, moved in enumerate((moved for each in batches for moved in each["lines"]), start=1):
        moved["seq"] = number


BREACHES = {
    forget_a_budget: "budgets", count_in_another_window: "budgets", lose_the_usage: "usage", overshoot: "budget overshot",
    pay_less: "prices", pay_more: "prices", stamp_another_price: "prices", hold_less_than_the_price: "prices",
    grant_what_is_over_at_once: "plan grants", pay_from_another_scope: "prices", refund_more_than_was_taken: "refunds",
    give_back_another_amount: "refunds", grant_twice_in_a_period: "plan grants", miss_a_period: "plan grants",
    roll_over_too_much: "rollover", overdraw_a_block: "credits", deny_without_a_reason: "phantom denial",
    answer_in_two_ways: "wrong answer", read_what_is_not_so: "reading of no state",
}  # fmt: skip


@pytest.mark.parametrize("done", BREACHES, ids=lambda done: done.__name__)
def test_a_breach_is_found_and_called_by_its_law(done):
    calls, batches = history()
    done(calls, batches)
    with pytest.raises(Anomaly) as found:
        check_run(calls, batches)
    assert found.value.kind == BREACHES[done]


def left_and_taken_again(ends, amount):
    """A plan that is given up and taken again six hours into its day, and what it grants on the next day."""
    asked = {"key": "x", "plan": "agents"}
    calls = [call(0, "subscribe", key="s", plan="agents"), call(1, "cancel", key="e"), call(2, "subscribe", **asked),
             call(3, "sweep")]  # fmt: skip
    later = 10 + 6 * HOUR
    batches = [
        batch(1, "s", calls[0], line("subscribed", "agents", 0), line("granted", "gas", 300, block=PLAN, ends=10 + DAY)),
        batch(2, "e", calls[1], line("canceled", "agents", 0, at=later), at=later),
        batch(3, "x", calls[2], line("subscribed", "agents", 0, at=later), at=later),
        batch(4, "w", calls[3], line("expired", "gas", 300, block=PLAN, at=10 + DAY),
              line("granted", "gas", amount, block=f"$plan:agents/gas@{10 + DAY}", at=10 + DAY, ends=ends), at=10 + DAY),
    ]  # fmt: skip
    renumber(batches)
    for each in calls:
        each["end"]["clock"] = each["clock"] = later + DAY
    return calls, batches


def test_of_a_day_of_which_a_part_was_granted_before_the_rest_is_granted():
    check_run(*left_and_taken_again(10 + DAY + 6 * HOUR, 75))
    for ends, amount in ((10 + DAY + 6 * HOUR, 300), (10 + DAY + 6 * HOUR, 76), (10 + 2 * DAY, 75)):
        with pytest.raises(Anomaly) as found:
            check_run(*left_and_taken_again(ends, amount))
        assert found.value.kind == "plan grants"


def test_a_part_of_a_day_that_comes_to_nothing_is_passed_over():
    books = Books(plan="agents", since=HOUR, anchor=HOUR, granted={"agents": HOUR + DAY - SECOND})
    assert books.next_grant() == HOUR + DAY
    assert Books(plan="agents", since=HOUR, anchor=HOUR, granted={"agents": DAY}).next_grant() == DAY
