"""One decision through rates and budgets against a plain charge of credits, and whatever the number of scopes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from entitlements import Catalog, Entitlements
from entitlements.storage.sqlite import SQLiteStorage

from .ledger import _in_turn
from .measuring import Figure
from .pricing import NOW

CATALOG = Catalog.load(
    {
        "features": {"chat": {"type": "metered", "reset": "month"}},
        "credits": {"ai": {"scale": 2}},
        "plans": {"pro": {"entitlements": {"chat": "unlimited"}}},
        "rates": {"chat": {"credit": "ai", "price": "1.5", "when": [{"model": "large", "price": "4"}]}},
    }
)
PLENTY = 10**12
SCOPE = {"team": "research", "user": "ann", "agent": "bot"}


def figures() -> Iterator[Figure]:
    with TemporaryDirectory(dir=Path.cwd()) as folder, ExitStack() as engines:

        def opened(name: str) -> Entitlements:
            storage = SQLiteStorage(Path(folder, name), durability="full")
            ent = engines.enter_context(Entitlements(CATALOG, storage=storage, clock=lambda: NOW))
            ent.subscribe("acme", "pro")
            ent.grant_credits("acme", "ai", PLENTY, key="plenty")
            return ent

        yield from _through_four_budgets(opened("plain.db"), opened("four.db"))
        yield from _whatever_the_scopes(opened("ten.db"), opened("thousands.db"))


def _through_four_budgets(plain: Entitlements, four: Entitlements) -> Iterator[Figure]:
    for scope in (None, "team:research", "user:ann", "team:research/agent:bot"):
        four.set_budget("acme", scope, credit="ai", limit=PLENTY, every="month")
    taken = _in_turn({"plain": _charge(plain), "priced": _priced(four, lambda _: SCOPE)}, 600)
    note = f"{taken['priced']:.0f} us and {taken['plain']:.0f} us"
    yield Figure("priced consume through 4 budgets / consume_credits", taken["priced"] / taken["plain"], 1.5, note=note)


def _whatever_the_scopes(few: Entitlements, many: Entitlements) -> Iterator[Figure]:
    for ent, scopes in ((few, 10), (many, 10_000)):
        for number in range(scopes):
            ent.set_budget("acme", f"user:u{number}", credit="ai", limit=PLENTY, every="month")
    runs = {"few": _priced(few, lambda n: _user(n, 10)), "many": _priced(many, lambda n: _user(n, 10_000))}
    taken = _in_turn(runs, 600)
    note = f"{taken['many']:.0f} us and {taken['few']:.0f} us"
    yield Figure("consume among 10,000 scopes / among 10", taken["many"] / taken["few"], 1.1, note=note)


def _user(number: int, scopes: int) -> dict[str, str]:
    return {"user": f"u{number * 7919 % scopes}"}


def _charge(ent: Entitlements) -> Callable[[], Any]:
    keys = count()
    return lambda: ent.consume_credits("acme", "ai", 1, key=f"k{next(keys)}")


def _priced(ent: Entitlements, scope: Callable[[int], dict[str, str]]) -> Callable[[], Any]:
    keys = count()

    def consume() -> Any:
        number = next(keys)
        return ent.consume("acme", "chat", 1, key=f"k{number}", scope=scope(number), dimensions={"model": "large"})

    return consume
