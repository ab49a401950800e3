"""Credits in a snapshot: the same balances a back end reads, made only when they are looked at."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from entitlements import Entitlements, deciding
from entitlements.testing import FrozenClock

CATALOG: dict[str, Any] = {
    "features": {"chat": {"type": "metered", "reset": "month"}},
    "credits": {"ai": {"scale": 2}, "img": {}},
    "plans": {"pro": {"entitlements": {"chat": 10}}},
}
Opened = Callable[..., Entitlements]


@pytest.fixture
def ent(opened: Opened) -> Entitlements:
    return opened(CATALOG)


def test_every_credit_of_the_catalog_has_its_balance(ent: Entitlements) -> None:
    ent.grant_credits("acme", "ai", 100, key="pack")
    ent.reserve_credits("acme", "ai", "2.50", key="job")
    snapshot = ent.snapshot("acme")
    assert list(snapshot.credits) == ["ai", "img"]
    assert snapshot.credits["ai"] == ent.balance("acme", "ai").to_dict()
    assert snapshot.to_dict()["credits"]["ai"]["available"] == "97.50"
    assert snapshot.to_dict()["credits"]["img"]["total"] == "0"
    assert json.loads(json.dumps(snapshot.to_dict())) == snapshot.to_dict()
    with pytest.raises(KeyError):
        snapshot.credits["nope"]


def test_the_etag_changes_with_a_balance_and_with_nothing_else(ent: Entitlements, clock: FrozenClock) -> None:
    ent.grant_credits("acme", "ai", 100, key="pack")
    first = ent.snapshot("acme").etag
    clock.advance(timedelta(hours=1))
    assert ent.snapshot("acme").etag == first
    ent.grant_credits("beta", "ai", 100, key="pack")
    assert ent.snapshot("acme").etag == first
    ent.consume_credits("acme", "ai", "0.01", key="use")
    assert ent.snapshot("acme").etag != first


def test_it_is_valid_until_a_block_or_a_hold_begins_or_ends(ent: Entitlements, clock: FrozenClock) -> None:
    now = clock()

    def valid_until() -> datetime | None:
        return ent.snapshot("acme").valid_until

    assert valid_until() is None
    ent.grant_credits("acme", "ai", 100, key="pack", expires_in=timedelta(days=9))
    assert valid_until() == now + timedelta(days=9)
    ent.grant_credits("acme", "ai", 100, key="later", effective_at=now + timedelta(days=5))
    assert valid_until() == now + timedelta(days=5)
    ent.reserve_credits("acme", "ai", 1, key="job", ttl=60)
    edge = valid_until()
    assert edge == now + timedelta(minutes=1)
    before = ent.snapshot("acme").etag
    assert ent.snapshot("acme", at=edge - timedelta(microseconds=1)).etag == before
    assert ent.snapshot("acme", at=edge).etag != before
    clock.set(now + timedelta(days=6))
    assert valid_until() == now + timedelta(days=9)
    clock.set(now + timedelta(days=9))
    assert valid_until() is None
    assert ent.snapshot("acme").credits["ai"]["available"] == "100.00"


def test_all_of_it_is_of_one_state_even_when_looked_at_later(ent: Entitlements) -> None:
    ent.grant_credits("acme", "ai", 100, key="pack")
    snapshot = ent.snapshot("acme")
    ent.consume_credits("acme", "ai", 60, key="use")
    assert snapshot.credits["ai"]["available"] == "100.00"


def test_no_balance_is_made_before_it_is_looked_at(ent: Entitlements, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    balance_of = deciding.balance_of
    monkeypatch.setattr(deciding, "balance_of", lambda case, key: made.append(key) or balance_of(case, key))
    snapshot = ent.snapshot("acme")
    assert not snapshot.features["chat"]
    assert made == []
    assert snapshot.credits["img"] == snapshot.credits["img"]
    assert made == ["img"]


def test_a_catalog_without_credits_pays_nothing_for_them(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    ent = opened({name: value for name, value in CATALOG.items() if name != "credits"})
    ent.subscribe("acme", "pro")
    monkeypatch.setattr(deciding, "balance_of", None)
    monkeypatch.setattr("entitlements.cases.Case.books", None)
    snapshot = ent.snapshot("acme")
    assert snapshot.to_dict()["credits"] == {}
    assert snapshot.valid_until is not None
