"""The torture run in small, and the proof that it bites: each known bug put into a storage is found."""

import copy
import tempfile

import pytest

from . import laws, rules, spending
from .campaign import Plan, run_round
from .canary import BUGS
from .checker import Anomaly, check_run
from .model import State
from .nemesis import PROCESSES
from .places import places_of
from .workload import Workload

FOUND = {
    "forgets_keys": {"lost write", "phantom write", "answered twice as new"},
    "answers_before_the_commit": {"lost write"},
    "reads_the_past": {"reading of no state"},
    "denies_when_busy": {"phantom denial"},
    "forgets_a_budget": {"budgets"},
    "overshoots_a_budget": {"budget overshot"},
}


def round_of(tmp_path, storage="sqlite", **told):
    plan = Plan("a seed", told.pop("seconds", 4), told.pop("kinds", []), workers=2, threads=2, **told)
    with tempfile.TemporaryDirectory(prefix="torture-") as home, places_of(storage, home) as place_of:
        where = place_of(tmp_path, 0)
        try:
            return run_round(plan, tmp_path, where)
        finally:
            where.close()


@pytest.mark.parametrize("bug", BUGS)
def test_a_known_bug_is_found(tmp_path, bug):
    with pytest.raises(Anomaly) as found:
        round_of(tmp_path, canary=bug, seconds=8, verbs=list(spending.VERBS) if "budget" in bug else None)
    assert found.value.kind in FOUND[bug]


@pytest.mark.parametrize("storage", ["sqlite", "postgres"])
def test_workers_that_are_killed_and_frozen_do_no_harm(tmp_path, storage):
    counts = round_of(tmp_path, storage, kinds=PROCESSES, seconds=8)
    assert counts["batches"]
    assert counts["fault kill"] + counts["fault freeze"] >= 1


def test_every_verb_of_the_workload_is_done_and_repeated_by_others():
    workload = Workload("seed", 4)
    calls = [workload.call(stream, n) for stream in range(4) for n in range(600)]
    assert {call["f"] for call in calls} == rules.VERBS.keys() | laws.VERBS.keys() | {"consume_many", "usage_tree"}
    keys = [(call["customer"], call["key"]) for call in calls if "key" in call]
    assert len(keys) - len(set(keys)) > 100
    assert calls == [Workload("seed", 4).call(stream, n) for stream in range(4) for n in range(600)]


# Histories written by hand: what is sound passes, and each anomaly is found where it is.


def call(n, f, began, ended, **told):
    answer = told.pop("answer", {})
    end = {"mono": ended, "clock": 10, "ended": "answer", "answer": answer, **told.pop("end", {})}
    return {"id": f"0.{n}", "f": f, "customer": "c0", "mono": began, "clock": 10, "end": end, **told}


def batch(number, key, request, *lines):
    lines = [{"seq": number, "at": 10, "subject": "ai", "block": "", "window": None, **line} for line in lines]
    return {"customer": "c0", "key": key, "number": number, "at": 10, "request": request, "lines": lines}


def history():
    """A grant of 5, a burn of 3, a denial of another 3, and a balance."""
    granted = {"credit": "ai", "amount": 5, "lasts": None, "priority": 50, "paid": True}
    burnt = {"allowed": True, "code": "ok", "booked": 3, "overage": 0, "burned": {"g": 3}, "after": 2}
    calls = [
        call(0, "grant", 1, 2, key="g", **granted, answer={"block": [5, 5, 0]}),
        call(1, "consume_credits", 3, 4, key="b", credit="ai", amount=3, answer=burnt, end={"replayed": False}),
        call(2, "consume_credits", 5, 6, key="d", credit="ai", amount=3,
             answer={"allowed": False, "code": "insufficient_credits", "left": 2}, end={"replayed": False}),
        call(3, "balance", 7, 8, credit="ai", answer={"available": 2, "held": 0, "debt": 0, "blocks": [["g", 2, 0]]}),
    ]  # fmt: skip
    batches = [
        batch(1, "g", {"verb": "grant_credits", "credit": "ai", "amount": "5"}, {"kind": "granted", "amount": 5, "block": "g"}),
        batch(2, "b", {"verb": "consume_credits", "credit": "ai", "amount": "3"}, {"kind": "burned", "amount": 3, "block": "g"}),
    ]
    return calls, batches


def test_a_sound_history_passes():
    calls, batches = history()
    counts = check_run(calls, batches)
    assert (counts["calls"], counts["batches"], counts["observations"]) == (4, 2, 2)


def lose_a_write(calls, batches):
    del batches[1]


def write_what_nobody_asked_for(calls, batches):
    del calls[1]


def fail_and_write_all_the_same(calls, batches):
    calls[1]["end"] = {"mono": 4, "clock": 10, "ended": "failed"}


def write_a_part(calls, batches):
    batches[1]["lines"][0]["amount"] = 2


def write_twice(calls, batches):
    batches.append({**copy.deepcopy(batches[1]), "number": 3})
    batches[2]["lines"][0]["seq"] = 3


def leave_a_gap(calls, batches):
    batches[1]["number"] = 3


def go_back_in_time(calls, batches):
    batches[1]["at"] = 9


def deny_what_there_is(calls, batches):
    calls[2]["amount"] = 1


def answer_wrongly(calls, batches):
    calls[1]["end"]["answer"]["after"] = 3


def read_the_past(calls, batches):
    calls[3]["end"]["answer"] = {"available": 5, "held": 0, "debt": 0, "blocks": [["g", 5, 0]]}


def read_the_future(calls, batches):
    calls[3].update(mono=0)
    calls[3]["end"]["mono"] = 1


def answer_before_it_is_asked(calls, batches):
    calls[0].update(mono=5)
    calls[0]["end"]["mono"] = 6


def overspend(calls, batches):
    for amount in (calls[1], batches[1]["request"]):
        amount["amount"] = 6
    batches[1]["lines"][0]["amount"] = 6


ANOMALIES = {
    lose_a_write: "lost write", write_what_nobody_asked_for: "phantom write", fail_and_write_all_the_same: "failed, but applied",
    write_a_part: "wrong or torn", write_twice: "duplicate effect", leave_a_gap: "gap", go_back_in_time: "time goes back",
    deny_what_there_is: "phantom denial", answer_wrongly: "wrong answer", read_the_past: "reading of no state",
    read_the_future: "reading of no state", answer_before_it_is_asked: "order against real time", overspend: "overspent",
}  # fmt: skip


@pytest.mark.parametrize("done", ANOMALIES, ids=lambda done: done.__name__)
def test_an_anomaly_is_found_and_called_by_its_name(done):
    calls, batches = history()
    done(calls, batches)
    with pytest.raises(Anomaly) as found:
        check_run(calls, batches)
    assert found.value.kind == ANOMALIES[done]


def test_a_trial_leaves_the_state_alone():
    state = State()
    rules.apply(state, {"f": "grant", "key": "g", "credit": "ai", "amount": 5, "lasts": 1, "priority": 50, "paid": True}, 10)
    before = copy.deepcopy(state)
    said = rules.outcome(state, {"f": "consume_credits", "key": "b", "credit": "ai", "amount": 3}, 20)
    assert said["answer"]["after"] == 2
    assert rules.outcome(state, {"f": "balance", "credit": "ai"}, 2_000_000)["answer"]["available"] == 0
    assert state == before
