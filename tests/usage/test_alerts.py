"""Alerts: a line for each crossing of a threshold, in the batch that crosses, and a call for who listens."""

from datetime import timedelta

import pytest

from entitlements import Catalog
from entitlements.errors import CatalogError

DAY = timedelta(days=1)
DOCUMENT = {
    "version": 1,
    "features": {
        "chat": {"type": "metered", "reset": "day", "alerts": ["1", "0.5"]},
        "images": {"type": "metered", "reset": {"every": "hour", "align": "first_use"}, "alerts": ["0.5"]},
        "calls": {"type": "metered", "alerts": ["0.5"]},
    },
    "credits": {"ai": {"scale": 1, "alerts": [20, "5.5"], "expiring": "7d"}, "plain": {}},
    "plans": {"pro": {"entitlements": {"chat": {"limit": 10, "depletion": "soft"}, "images": 4, "calls": "unlimited"}}},
}


@pytest.fixture
def ent(opened, shared):
    engine = opened(Catalog.load(DOCUMENT), storage=shared)
    engine.subscribe("acme", "pro")
    return engine


@pytest.fixture
def told(ent):
    found = []
    ent.on("threshold", found.append)
    return found


def crossed(ent):
    return [(e.data["of"], e.subject, e.data["threshold"], e.data["value"]) for e in ent.entries("acme", limit=10**6) if e.kind == "crossed"]


def test_each_threshold_of_a_limit_is_told_once_when_it_is_reached_and_again_after_going_back(ent, told):
    for amount in (4, 1, 1, 3):
        ent.consume("acme", "chat", amount)
    assert crossed(ent) == [("limit", "chat", "0.5", "5")]
    ent.free("acme", "chat", 6)
    ent.consume("acme", "chat", 9)
    assert crossed(ent)[1:] == [("limit", "chat", "0.5", "12"), ("limit", "chat", "1", "12")]
    assert [(alert.customer, alert.of, alert.threshold, alert.limit) for alert in told] == [
        ("acme", "limit", "0.5", "10"), ("acme", "limit", "0.5", "10"), ("acme", "limit", "1", "10"),
    ]  # fmt: skip


def test_a_new_window_arms_anew(ent, clock):
    for _ in range(2):
        ent.consume("acme", "chat", 6)
        ent.consume("acme", "images", 2)
        clock.advance(DAY)
    assert [line[:3] for line in crossed(ent)] == [("limit", "chat", "0.5"), ("limit", "images", "0.5")] * 2


def test_a_crossing_stands_in_the_batch_that_crosses_and_is_not_told_on_a_replay(ent, told):
    receipt = ent.consume("acme", "chat", 6, key="k").receipt
    assert [entry.kind for entry in ent.entries("acme") if entry.key == "k"] == ["used", "crossed"]
    assert receipt.seq == ent.entries("acme")[-1].seq == told[0].seq
    assert ent.consume("acme", "chat", 6, key="k").receipt.seq == receipt.seq
    assert len(told) == 1
    last = ent.feed().batches[-1]
    assert (last.key, last.entries[-1].kind) == ("k", "crossed")


def test_records_holds_and_what_is_unlimited(ent, told):
    ent.record("acme", "calls", 10**6)
    ent.reserve("acme", "chat", 5, key="h", ttl=None).settle(10)
    assert [alert.threshold for alert in told] == ["0.5", "1"]


def test_a_balance_that_falls_is_told_and_one_that_rises_arms_again(ent, told):
    ent.grant_credits("acme", "ai", 30, key="a")
    first = ent.consume_credits("acme", "ai", 5, key="b")
    second = ent.consume_credits("acme", "ai", 5, key="c")
    ent.consume_credits("acme", "ai", "14.5", key="d")
    ent.grant_credits("acme", "ai", 30, key="e")
    ent.consume_credits("acme", "ai", 30, key="f")
    ent.refund("acme", "f", key="g")
    ent.reserve_credits("acme", "ai", 30, key="h")
    assert [(alert.threshold, alert.value) for alert in told] == [
        ("20.0", "20.0"), ("5.5", "5.5"), ("20.0", "5.5"), ("5.5", "5.5"), ("20.0", "5.5"), ("5.5", "5.5"),
    ]  # fmt: skip
    assert second.receipt.seq == first.receipt.seq + 2
    assert ent.consume_credits("acme", "ai", 5, key="c").receipt.seq == second.receipt.seq


def test_a_balance_that_falls_by_time_is_told_by_the_next_batch(ent, clock, told):
    ent.grant_credits("acme", "ai", 30, key="a", expires_in=3600)
    clock.advance(DAY)
    ent.consume("acme", "chat")
    assert [(alert.threshold, alert.value) for alert in told] == [("20.0", "0.0"), ("5.5", "0.0")]


def test_a_block_about_to_end_is_told_of_once(ent, clock, told):
    ent.grant_credits("acme", "ai", 50, key="a", expires_in=10 * DAY)
    ent.grant_credits("acme", "ai", 50, key="short", expires_in=DAY)
    ent.grant_credits("acme", "ai", 50, key="never")
    ends = clock() + 10 * DAY
    clock.advance(3 * DAY)
    assert ent.sweep("acme") == 2
    assert ent.sweep("acme") == 0
    (alert,) = told
    assert (alert.of, alert.block, alert.threshold, alert.value) == ("expiry", "a", ends.isoformat(), "50.0")
    clock.advance(DAY)
    ent.consume_credits("acme", "ai", 1, key="b")
    assert len(told) == 1


def test_a_budget_tells_at_its_own_parts_and_whose_it_is(ent, told):
    ent.set_budget("acme", "user:ann", feature="calls", limit=10, every="day", action="notify", alerts=["0.8", "1", "1.5"])
    ent.set_budget("acme", None, feature="calls", limit=100, every="day", alerts=[])
    for amount in (7, 1, 1, 6, 100):
        ent.consume("acme", "calls", amount, scope="user:ann/agent:bot")
    assert [(alert.of, alert.threshold, alert.value, dict(alert.scope)) for alert in told] == [
        ("budget", "0.8", "8", {"user": "ann"}), ("budget", "1", "15", {"user": "ann"}), ("budget", "1.5", "15", {"user": "ann"}),
    ]  # fmt: skip
    ent.erase("acme")
    assert "ann" not in repr(ent.entries("acme"))


def test_a_denial_crosses_nothing(ent, told):
    assert not ent.consume("acme", "images", 5)
    assert (told, crossed(ent)) == ([], [])


@pytest.mark.parametrize("alerts", [["0"], ["-1"], ["0.0001"], ["11"]])
def test_parts_that_cannot_be_are_found_in_the_catalog(alerts):
    with pytest.raises(CatalogError, match="a part of the limit|zero or more"):
        Catalog.load({**DOCUMENT, "features": {"chat": {"type": "metered", "alerts": alerts}}, "plans": {}})


def test_alerts_are_written_again_and_are_for_what_is_used():
    made = Catalog.load(DOCUMENT)
    assert Catalog.load(made.document) == made
    with pytest.raises(CatalogError, match="says nothing on a boolean feature"):
        Catalog.load({"version": 1, "features": {"sso": {"type": "boolean", "alerts": ["1"]}}})
