"""What facts came to is used again for these very facts, as long as neither catalog nor time changes it."""

from datetime import UTC, datetime, timedelta

import attrs

from entitlements import Catalog
from entitlements.ledger.facts import Facts, PromotionRun
from entitlements.resolution import resolve
from entitlements.resolved import MOST, Resolved

AT = datetime(2026, 3, 10, tzinfo=UTC)
CATALOG = {"features": {"exports": {"type": "boolean"}}, "promotions": {"launch": {"entitlements": {"exports": True}}}}


def test_only_the_same_facts_catalog_and_stretch_of_time_are_answered_from_memory():
    catalog, resolved = Catalog.load(CATALOG), Resolved()
    facts = Facts(promotions=(PromotionRun(since=AT, until=AT + timedelta(days=3), promotion="launch"),))
    entitlements = resolve(catalog, facts, AT)
    assert resolved.get("acme", catalog, facts, AT) is None
    resolved.put("acme", entitlements)
    assert resolved.get("acme", catalog, facts, AT + timedelta(days=2)) is entitlements
    assert resolved.get("acme", catalog, facts, AT + timedelta(days=3)) is None
    assert resolved.get("acme", catalog, facts, AT - timedelta(seconds=1)) is None
    assert resolved.get("acme", catalog, attrs.evolve(facts), AT) is None
    assert resolved.get("acme", Catalog.load(CATALOG), facts, AT) is None
    assert resolved.get("other", catalog, facts, AT) is None


def test_no_more_customers_are_remembered_than_there_is_room_for():
    resolved = Resolved()
    catalog, facts = Catalog.load(CATALOG), Facts()
    for number in range(MOST + 1):
        resolved.put(f"customer-{number}", resolve(catalog, facts, AT))
    assert resolved.get(f"customer-{MOST}", catalog, facts, AT) is not None
    assert resolved.get("customer-0", catalog, facts, AT) is None
