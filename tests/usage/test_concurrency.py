"""Ten thousand consumes at once over a tree of three levels: no budget and no balance ever overshoots."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import pytest

from entitlements import Catalog, Entitlements
from entitlements.storage.memory import MemoryStorage
from entitlements.storage.sqlite import SQLiteStorage

CALLS, THREADS = 10_000, 16
TEAMS, USERS = 4, 5
CATALOG = Catalog.load(
    {
        "version": 1,
        "features": {"chat": {"type": "metered"}},
        "credits": {"ai": {"scale": 2}},
        "plans": {"pro": {"entitlements": {"chat": 9_000}}},
        "rates": {"chat": {"credit": "ai", "price": "0.5"}},
    }
)
CREDITS, BLOCKS = 1_500, 12


def set_up(ent):
    ent.subscribe("acme", "pro")
    for number in range(BLOCKS):
        ent.grant_credits("acme", "ai", CREDITS // BLOCKS, key=f"b{number}")
    ent.set_budget("acme", None, credit="ai", limit=CREDITS + 100, every="none")
    for team in range(TEAMS):
        ent.set_budget("acme", f"team:t{team}", feature="chat", limit=500 if team == 0 else 1_000, every="none")
        for user in range(USERS):
            ent.set_budget("acme", f"team:t{team}/user:u{user}", credit="ai", limit=40 + 30 * user, every="none")


@pytest.fixture(params=["memory", "sqlite"])
def engines(request, database):
    """Several engines over one storage: on SQLite each with a connection of its own, as two processes have."""
    if request.param == "memory":
        storages = [MemoryStorage()]
    else:
        storages = [SQLiteStorage(database, durability="normal", write_timeout=120) for _ in range(2)]
    made = [Entitlements(CATALOG, storage=storage) for storage in storages]
    yield made
    for storage in storages:
        storage.close()


def test_ten_thousand_at_once_overshoot_nothing(engines):
    set_up(engines[0])
    before = engines[0].entries("acme", limit=10**6)[-1].seq
    available = engines[0].balance("acme", "ai").available
    scopes = [{"team": f"t{team}", "user": f"u{user}"} for team, user in product(range(TEAMS), range(USERS))]

    def consume(number):
        named = number % (CALLS - 500)  # five hundred of them are sent twice
        engine = engines[number % len(engines)]
        return engine.consume("acme", "chat", key=f"c{named}", scope=scopes[named * 7919 % len(scopes)])

    with ThreadPoolExecutor(THREADS) as pool:
        decisions = list(pool.map(consume, range(CALLS)))

    codes = Counter(decision.code for decision in decisions)
    assert set(codes) == {"ok", "budget_exceeded", "insufficient_credits"}
    fresh = [decision for decision in decisions if decision and not decision.receipt.replayed]
    _never_overshot(engines[0], before, available)
    assert engines[0].check("acme", "chat", requested=0).used == len(fresh)
    assert engines[-1].balance("acme", "ai").available == available - sum(d.receipt.price for d in fresh)
    tree = engines[-1].usage_tree("acme")
    assert tree.root.budgets[0].used == sum(d.receipt.price for d in fresh)
    assert sum(node.budgets[0].used for node in tree.root.inside) == len(fresh)
    assert engines[0].verify() == ()


def _never_overshot(ent, before, available):
    """At every prefix of the log each counter is within its limit, and what was burned within what there was."""
    limits = {e.subject: e.data["facts"][0].units for e in ent.entries("acme", limit=before) if e.kind == "budget_set"}
    counts, burned, after = Counter(), 0, before
    while page := ent.entries("acme", after=after, limit=10_000):
        for line in page:
            counts[line.counter] += line.amount if line.kind == "budgeted" else 0
            burned += line.amount if line.kind == "burned" else 0
            assert line.kind != "budgeted" or counts[line.counter] <= limits[line.counter]
            assert burned <= available * 100
        after = page[-1].seq
    assert burned > 0
    assert len(limits) == 1 + TEAMS + TEAMS * USERS
