"""While the storage is away: what is known stands for `max_stale`, then each feature's own policy decides."""

from __future__ import annotations

import time
from typing import Any

import pytest

from entitlements import Decision, Entitlements, StorageUnavailable
from entitlements.storage.memory import MemoryStorage

CATALOG = {
    "features": {
        "exports": {"type": "boolean"},
        "open": {"type": "boolean", "on_unavailable": "allow"},
        "shut": {"type": "boolean", "on_unavailable": "deny"},
        "calls": {"type": "metered", "reset": "month"},
    },
    "plans": {"pro": {"entitlements": {"exports": True, "open": True, "shut": True, "calls": 10}}},
}


class Flaky(MemoryStorage):
    """A memory storage whose plug can be pulled."""

    away = False

    def state(self, *args: Any, **kwargs: Any) -> Any:
        return self._answer(super().state, args, kwargs)

    def transact(self, *args: Any, **kwargs: Any) -> Any:
        return self._answer(super().transact, args, kwargs)

    def pulse(self) -> int:
        return self._answer(super().pulse, (), {})

    def _answer(self, method: Any, args: Any, kwargs: Any) -> Any:
        if self.away:
            raise StorageUnavailable("the plug is pulled")
        return method(*args, **kwargs)


@pytest.fixture
def storage() -> Flaky:
    return Flaky()


@pytest.fixture
def ent(storage: Flaky) -> Entitlements:
    engine = Entitlements(CATALOG, storage=storage, max_stale=0.2)
    engine.subscribe("acme", "pro")
    for feature in ("exports", "open", "shut", "calls"):
        assert engine.check("acme", feature)
    return engine


def lost(storage: Flaky, ent: Entitlements) -> None:
    storage.away = True
    time.sleep(0.3)
    ent.check("acme", "exports")


def test_a_short_absence_changes_nothing(storage: Flaky, ent: Entitlements) -> None:
    storage.away = True
    decision = ent.check("acme", "exports")
    assert (decision.allowed, decision.stale, decision.fallback) == (True, False, False)


def test_after_max_stale_the_last_known_answer_says_that_it_is_stale(storage: Flaky, ent: Entitlements) -> None:
    lost(storage, ent)
    for feature in ("exports", "calls"):
        decision = ent.check("acme", feature)
        assert (decision.allowed, decision.stale, decision.fallback) == (True, True, True)


def test_the_last_known_answer_stays_for_as_long_as_memory_has_it(storage: Flaky, ent: Entitlements) -> None:
    lost(storage, ent)
    time.sleep(0.5)
    assert ent.check("acme", "calls").stale
    with pytest.raises(StorageUnavailable):
        ent.consume("acme", "calls")
    decision = ent.check("acme", "calls")
    assert (decision.code, decision.stale, decision.fallback) == ("storage_unavailable", False, True)


@pytest.mark.parametrize(("feature", "allowed"), [("exports", False), ("shut", False), ("open", True)])
def test_what_is_never_in_memory_is_answered_by_the_feature(
    storage: Flaky, ent: Entitlements, feature: str, allowed: bool
) -> None:
    lost(storage, ent)
    decision = ent.check("acme", feature, scope="team:research")
    assert (decision.allowed, decision.stale, decision.fallback) == (allowed, False, True)


def test_a_feature_may_deny_or_allow_instead(storage: Flaky, ent: Entitlements) -> None:
    lost(storage, ent)
    shut, opened = ent.check("acme", "shut"), ent.check("acme", "open")
    assert (shut.allowed, shut.code, shut.fallback) == (False, "storage_unavailable", True)
    assert "the storage is unavailable" in shut.reason
    assert (opened.allowed, opened.fallback, opened.stale) == (True, True, False)


def test_nobody_known_is_denied(storage: Flaky, ent: Entitlements) -> None:
    lost(storage, ent)
    assert ent.check("stranger", "exports").code == "storage_unavailable"


def test_a_question_with_an_amount_falls_back_too(storage: Flaky, ent: Entitlements) -> None:
    lost(storage, ent)
    assert ent.check("acme", "shut", requested=2).code == "storage_unavailable"


def test_a_write_is_never_a_denial(storage: Flaky, ent: Entitlements) -> None:
    storage.away = True
    with pytest.raises(StorageUnavailable):
        ent.consume("acme", "calls")


def test_once_it_is_back_answers_are_fresh_again(storage: Flaky, ent: Entitlements) -> None:
    told: list[Decision] = []
    ent.on("stale", told.append)
    lost(storage, ent)
    assert told[-1].stale
    storage.away = False
    decision = ent.check("acme", "exports")
    assert (decision.allowed, decision.stale, decision.fallback) == (True, False, False)
