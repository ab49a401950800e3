"""The frozen values that an engine hands out: they hash, equal ones alike, and those that leave the process pickle."""

import copy
import pickle
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest

from entitlements import Entitlements, Request
from entitlements.testing import FrozenClock

PERIOD = {"start": datetime(2026, 1, 1, tzinfo=UTC), "end": datetime(2026, 6, 1, tzinfo=UTC)}
TEAM = "team:x"


def decisions(ent: Entitlements) -> Iterator[tuple[str, Any]]:
    yield "check", ent.check("acme", "api_calls", scope=TEAM)
    yield "denied", ent.check("acme", "seats", requested=500)
    for way in ("consume", "replayed"):
        yield way, ent.consume("acme", "api_calls", 2, key="k", scope=TEAM)
    yield "priced", ent.consume("acme", "chat", 1, key="p", scope=TEAM, dimensions={"model": "large"})
    yield "credits", ent.consume_credits("acme", "ai", 5, key="c", scope=TEAM)
    yield "hold", ent.reserve_credits("acme", "ai", 5, key="h", scope=TEAM).decision


def others(ent: Entitlements) -> Iterator[tuple[str, Any]]:
    yield "block", ent.grant_credits("acme", "ai", 10, key="g2", metadata={"a": [1, {"b": 2}]}, scope=TEAM)
    yield "balance", ent.balance("acme", "ai", scope=TEAM)
    yield "tree", ent.usage_tree("acme")
    yield "explanation", ent.explain("acme", "api_calls")
    yield "statement", ent.statement("acme", "ai", **PERIOD)
    yield "revenue", ent.revenue(**PERIOD)
    yield "request", Request("acme", "chat", {"input": 1}, key="r", scope={"team": "x"}, dimensions={"model": "x"})  # type: ignore[arg-type]


def insiders(ent: Entitlements) -> Iterator[tuple[str, Any]]:
    yield "snapshot", ent.snapshot("acme")
    yield "entry", ent.entries("acme")[-1]
    yield "feed", ent.feed()
    for section in ("features", "credits", "products", "plans", "addons", "promotions", "rates"):
        yield section, next(iter(getattr(ent.catalog, section).values()))


@pytest.fixture
def ent(catalog_file: Path, clock: FrozenClock) -> Iterator[Entitlements]:
    with Entitlements(catalog_file, storage="memory:", clock=clock) as ent:
        ent.subscribe("acme", "pro")
        ent.set_budget("acme", TEAM, feature="api_calls", limit=10, every="month")
        ent.grant_credits("acme", "ai", 100, key="g", metadata={"order": "7"}, scope=TEAM)
        yield ent


def test_every_value_hashes_and_equal_ones_alike(ent: Entitlements) -> None:
    for name, value in (*decisions(ent), *others(ent), *insiders(ent)):
        same = value if name == "snapshot" else attrs.evolve(value)
        assert value == same, name
        assert hash(value) == hash(same), name
        assert len({value, same}) == 1, name


def test_a_mapping_counts_in_equality_all_the_same(ent: Entitlements) -> None:
    told = dict((*decisions(ent), *others(ent)))
    decision, block, request = told["consume"], told["block"], told["request"]
    assert decision.scope
    assert attrs.evolve(decision, scope={"team": "y"}) != decision
    assert attrs.evolve(decision.receipt, burned={"b": 1}) != decision.receipt
    assert attrs.evolve(block, metadata={}) != block
    assert attrs.evolve(request, dimensions={"model": "y"}) != request


def test_what_is_answered_pickles_and_copies_to_an_equal_value(ent: Entitlements) -> None:
    for name, value in (*decisions(ent), *others(ent)):
        for again in (pickle.loads(pickle.dumps(value)), copy.copy(value), copy.deepcopy(value)):
            assert again == value, name
            assert type(again) is type(value), name
