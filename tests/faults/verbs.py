"""Every verb that writes, once, on a file that stands ready for it: what the system-call faults are done to."""

import json
import os
from datetime import UTC, datetime, timedelta

from entitlements import Catalog, Entitlements, Request
from entitlements.errors import EntitlementsError, OutcomeUnknown
from entitlements.testing import FrozenClock

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
CATALOG = Catalog.load(
    {
        "default_plan": "free",
        "features": {
            "sso": {"type": "boolean"},
            "calls": {"type": "metered", "reset": "none"},
            "chat": {"type": "metered", "reset": "none"},
        },
        "credits": {"ai": {}},
        "products": {"app": {}},
        "rates": {"chat": {"credit": "ai", "price": "2"}},
        "plans": {
            "free": {"product": "app", "entitlements": {"calls": 100}},
            "pro": {"product": "app", "trial": {"days": 14}, "entitlements": {"calls": 1000, "chat": 100, "sso": True}},
        },
        "addons": {"more": {"entitlements": {"calls": {"limit": 5, "mode": "add"}}}},
        "promotions": {"launch": {"days": 14, "entitlements": {"sso": True}}},
    }
)
VERBS = {
    "subscribe": lambda ent: ent.subscribe("new", "pro", key="k"),
    "change_plan": lambda ent: ent.change_plan("acme", "free", key="k"),
    "cancel": lambda ent: ent.cancel("acme", key="k"),
    "set_status": lambda ent: ent.set_status("acme", "paused", key="k"),
    "start_trial": lambda ent: ent.start_trial("new", "pro", key="k"),
    "add_addon": lambda ent: ent.add_addon("acme", "more", quantity=3, key="k"),
    "remove_addon": lambda ent: ent.remove_addon("acme", "more", key="k"),
    "promote": lambda ent: ent.promote("acme", "launch", key="k"),
    "override": lambda ent: ent.override("acme", "calls", 7, reason="because", key="k"),
    "remove_override": lambda ent: ent.remove_override("acme", "sso", key="k"),
    "consume": lambda ent: ent.consume("acme", "calls", 3, key="k"),
    "consume_many": lambda ent: ent.consume_many(
        [Request("acme", "calls", 3, key="k"), Request("new", "calls", 4, key="k")]
    ),
    "a priced consume": lambda ent: ent.consume("acme", "chat", 3, scope="user:ann", key="k"),
    "record": lambda ent: ent.record("acme", "calls", 3, key="k"),
    "free": lambda ent: ent.free("acme", "calls", 2, key="k"),
    "reset_usage": lambda ent: ent.reset_usage("acme", "calls", key="k"),
    "correct_usage": lambda ent: ent.correct_usage("acme", "calls", 3, key="k", reason="counted twice"),
    "set_budget": lambda ent: ent.set_budget("acme", "user:bob", feature="chat", limit=5, every="day", key="k"),
    "remove_budget": lambda ent: ent.remove_budget("acme", "user:ann", feature="chat", every="day", key="k"),
    "reserve": lambda ent: ent.reserve("acme", "calls", 3, key="k"),
    "grant_credits": lambda ent: ent.grant_credits("acme", "ai", 9, key="k", metadata={"invoice": "i"}),
    "consume_credits": lambda ent: ent.consume_credits("acme", "ai", 15, key="k"),
    "reserve_credits": lambda ent: ent.reserve_credits("acme", "ai", 15, key="k"),
    "settle": lambda ent: ent.settle("acme", "hold", 3),
    "release": lambda ent: ent.release("acme", "hold"),
    "refund": lambda ent: ent.refund("acme", "burnt", key="k"),
    "void_block": lambda ent: ent.void_block("acme", "second"),
    "sweep": lambda ent: ent.sweep("acme"),
    "erase": lambda ent: ent.erase("acme"),
}
ONCE = set(VERBS) - {"sweep", "erase"}
"""The verbs with a key of their own: done twice, they leave one batch."""
KEYS = {"settle": "$close:hold", "release": "$close:hold", "void_block": "$void:second"}


def opened(path, at=NOW):
    return Entitlements(CATALOG, storage=f"sqlite:///{path}", clock=FrozenClock(at))


def prepare(path):
    """Make a file on which every verb has something to do."""
    with opened(path) as ent:
        stock(ent)


def stock(ent):
    """Give every verb something to do."""
    ent.subscribe("acme", "pro", key="s")
    ent.add_addon("acme", "more", key="a")
    ent.override("acme", "sso", mode="deny", reason="chargeback", key="o")
    ent.consume("acme", "calls", 5, key="c")
    ent.set_budget("acme", "user:ann", feature="chat", limit=9, every="day", key="b")
    ent.grant_credits("acme", "ai", 10, key="first", metadata={"invoice": "a personal number"})
    ent.grant_credits("acme", "ai", 20, key="second")
    ent.consume_credits("acme", "ai", 6, key="burnt")
    ent.reserve_credits("acme", "ai", 5, key="hold")
    ent.grant_credits("acme", "ai", 4, key="short", expires_at=NOW + timedelta(minutes=1))


def run(verb, path, report, ready, go):
    """Open the file, say so, wait for a word, and do a verb twice, with a line in `report` of how each ended.

    A process that is killed in between leaves the lines it had written by then.
    """
    at = NOW + timedelta(minutes=5 if verb == "sweep" else 0)
    with report.open("a", encoding="utf-8", buffering=1) as told, opened(path, at) as ent:
        os.write(ready, b"ready")
        os.read(go, 1)
        for _ in range(2):
            try:
                VERBS[verb](ent)
                told.write(json.dumps("done") + "\n")
            except EntitlementsError as error:
                unknown = isinstance(error, OutcomeUnknown)
                told.write(json.dumps("unknown" if unknown else f"failed: {type(error).__name__}: {error}") + "\n")
