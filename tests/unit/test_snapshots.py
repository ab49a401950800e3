"""Snapshots: the decisions of one customer at one instant, as a front end reads them."""

import copy
import json
import pickle
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import attrs
import pytest

from entitlements.cases import Case
from entitlements.catalog.model import Catalog
from entitlements.deciding import check, counters_of, snapshot
from entitlements.decisions import Decision
from entitlements.ledger.facts import Facts, PromotionRun, Subscription
from entitlements.ledger.state import Head
from entitlements.requests import request
from entitlements.snapshots import Answers, Snapshot


def day(number, month=5):
    return datetime(2026, month, number, tzinfo=UTC)


AT = day(10)
CATALOG = Catalog.load(
    {
        "features": {
            "exports": {"type": "boolean"},
            "calls": {"type": "metered", "reset": "month"},
            "sums": {"type": "metered", "reset": "none", "scale": 2},
            "history": {"type": "config", "value": "integer"},
            "langs": {"type": "config", "value": "list"},
            "audit": {"type": "boolean"},
        },
        "plans": {
            "pro": {"entitlements": {"exports": True, "calls": 10, "sums": "2.50", "history": 30, "langs": ["en"]}},
            "bare": {},
            "top": {"extends": "pro", "entitlements": {"calls": "unlimited", "audit": True}},
        },
        "promotions": {"launch": {"entitlements": {"calls": 50}}},
    }
)
HELD = Subscription("s", "default", "pro", day(1), None, day(1), day(1))


def case(verb="snapshot", *, at=AT, used=None, facts=None, **asked):
    head = Head(batches=1, facts=facts or Facts(subscriptions=(HELD,)))
    opened = Case(request(verb, "acme", None, **asked), "", CATALOG, at, head)
    return opened.counting(
        {counter: (used or {}).get(counter[0], 0) for counter in counters_of(opened, asked.get("feature"))}
    )


def test_a_snapshot_holds_one_decision_for_every_feature_the_same_as_a_check():
    taken = snapshot(case(used={"calls/month": 10, "sums/none": 125}))
    assert list(taken.features) == list(CATALOG.features)
    for key in CATALOG.features:
        assert taken.features[key] == check(case("check", used={"calls/month": 10, "sums/none": 125}, feature=key))
    assert (taken.features["calls"].code, taken.features["calls"].upgrade) == ("limit_reached", ("plan:top",))
    assert taken.features["sums"].remaining == Decimal("1.25")


def test_a_snapshot_knows_what_was_used_before_a_feature_was_lost():
    """Counterexample: a check did not offer the plan whose limit is used up, a snapshot did."""
    moved = attrs.evolve(HELD, plan="bare", anchor=day(5, 1), started_at=day(5, 1))
    facts, used = Facts(subscriptions=(moved,)), {"calls/month": 10}
    offered = check(case("check", facts=facts, used=used, feature="calls")).upgrade
    assert snapshot(case(facts=facts, used=used)).features["calls"].upgrade == offered == ("plan:top",)


def test_a_snapshot_is_json():
    told = snapshot(case(used={"sums/none": 125})).to_dict()
    assert json.loads(json.dumps(told)) == told
    assert (told["customer"], told["at"]) == ("acme", "2026-05-10T00:00:00+00:00")
    assert told["catalog_version"] == CATALOG.version
    assert told["features"]["sums"]["remaining"] == "1.25"
    assert told["features"]["langs"]["value"] == ["en"]
    assert told["features"]["audit"]["upgrade"] == ["plan:top"]
    assert told["etag"] == snapshot(case(used={"sums/none": 125})).etag
    assert told["credits"] == {}


def test_a_snapshot_is_valid_as_long_as_all_its_decisions():
    assert snapshot(case()).valid_until == day(1, 6)
    ending = Facts(subscriptions=(HELD,), promotions=(PromotionRun("launch", day(1), day(20)),))
    assert snapshot(case(facts=ending)).valid_until == day(20)
    both = {str(end): Decision(True, "ok", "acme", "x", valid_until=end) for end in (day(20), day(12), day(31))}
    assert Snapshot("acme", AT, "v", both).valid_until == day(12)
    assert Snapshot("acme", AT, "v", {"x": Decision(True, "ok", "acme", "x")}).valid_until is None


def test_the_etag_does_not_change_with_the_instant_alone():
    assert snapshot(case()).etag == snapshot(case(at=AT + timedelta(days=3, microseconds=1))).etag


def test_the_etag_changes_with_what_is_shown():
    etags = {
        snapshot(case()).etag,
        snapshot(case(used={"calls/month": 1})).etag,
        snapshot(case(at=day(2, 6))).etag,
        snapshot(case(facts=Facts(subscriptions=(attrs.evolve(HELD, plan="top"),)))).etag,
    }
    assert len(etags) == 4


def test_the_etag_does_not_depend_on_the_order_of_features():
    taken = snapshot(case())
    turned = attrs.evolve(taken, features=dict(reversed(list(taken.features.items()))))
    assert turned.etag == taken.etag


def test_the_etag_tells_credits_and_odd_text_too():
    bare = Snapshot("\ud800", AT, "v", {})
    assert bare.etag != attrs.evolve(bare, credits={"ai": {"available": "5.00"}}).etag
    assert len(bare.etag) == 32


def test_answers_are_made_once_when_first_asked_for():
    made = []

    def answer(key):
        made.append(key)
        return Decision(True, "ok", "acme", key)

    answers = Answers(("a", "b"), answer)
    assert (list(answers), len(answers), made) == (["a", "b"], 2, [])
    assert answers["b"] is answers["b"]
    assert made == ["b"]
    assert answers == {"a": Decision(True, "ok", "acme", "a"), "b": Decision(True, "ok", "acme", "b")}
    assert made == ["b", "a"]


def test_answers_about_nothing_known_are_a_key_error():
    answers = Answers(("a",), lambda key: Decision(True, "ok", "acme", key))
    assert "b" not in answers
    with pytest.raises(KeyError, match="b"):
        answers["b"]
    assert repr(answers).startswith("{'a': Decision(allowed=True")


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda taken: pickle.loads(pickle.dumps(taken))])
def test_a_copy_and_a_pickle_of_a_snapshot_say_the_same(again):
    taken = snapshot(case(used={"calls/month": 10}, facts=Facts(subscriptions=(attrs.evolve(HELD, until=day(20)),))))
    copied = again(taken)
    assert copied == taken
    assert (copied.etag, copied.valid_until, copied.to_dict()) == (taken.etag, taken.valid_until, taken.to_dict())
    assert copied.valid_until == day(20)
