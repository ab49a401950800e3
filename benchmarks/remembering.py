"""Memory of a cached customer: 50 features, 8 values of its own."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator

from entitlements import Entitlements

from .measuring import Figure
from .pricing import FEATURES, METERED, NOW, catalog

CUSTOMERS = [f"customer-{n:05d}" for n in range(1000)]


def figures() -> Iterator[Figure]:
    with Entitlements(catalog(), storage="sqlite:///:memory:", clock=lambda: NOW) as ent:
        for customer in CUSTOMERS:
            ent.subscribe(customer, "pro")
            for feature in METERED[:8]:
                ent.override(customer, feature, 5)
        for customer in CUSTOMERS:
            ent.check(customer, FEATURES[45])
        ent._desk.cache.forget_all()
        gc.collect()
        first = _grown(lambda: [ent.check(customer, FEATURES[45]) for customer in CUSTOMERS])
        more = _grown(lambda: [ent.check(customer, feature) for customer in CUSTOMERS for feature in METERED])
    decision = more / len(CUSTOMERS) / len(METERED)
    customer_bytes = first / len(CUSTOMERS) - decision
    yield Figure("bytes for a cached customer", customer_bytes, 2500)
    yield Figure("bytes more for each decision asked for", decision, 300)


def _grown(run: object) -> float:
    tracemalloc.start()
    kept = run()  # type: ignore[operator]
    del kept
    gc.collect()
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return grown
