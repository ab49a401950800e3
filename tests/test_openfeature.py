"""OpenFeature: the real SDK, asked as an application asks it."""

import pytest
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason
from openfeature.track import TrackingEventDetails

from entitlements import Entitlements, acting_as
from entitlements.aio.beside import awaited
from entitlements.openfeature import EntitlementsProvider
from entitlements.web.flags import flag_of

CATALOG = {
    "features": {
        "exports": {"type": "boolean"},
        "chat": {"type": "metered", "scale": 1},
        "history": {"type": "config", "value": "integer", "prefer": "max"},
        "tier": {"type": "config", "value": "text", "prefer": ["silver", "gold"]},
    },
    "plans": {"pro": {"entitlements": {"exports": True, "chat": 3, "history": 30, "tier": "gold"}}},
    "default_plan": "free",
}
CATALOG["plans"]["free"] = {}
ACME, OTHER = EvaluationContext("acme"), EvaluationContext("other")


@pytest.fixture
def ent():
    with Entitlements(CATALOG, storage="memory:") as ent:
        ent.subscribe("acme", "pro")
        api.set_provider(EntitlementsProvider(ent))
        yield ent
    api.clear_providers()


@pytest.fixture
def client(ent):
    return api.get_client()


def test_flags_are_decisions(ent, client):
    told = client.get_boolean_details("exports", False, ACME)
    assert (told.value, told.reason, told.variant) == (True, Reason.TARGETING_MATCH, "plan:pro")
    assert client.get_boolean_value("exports", True, OTHER) is False
    assert client.get_integer_value("history", 1, ACME) == 30
    assert client.get_float_value("history", 1.0, ACME) == 30.0
    assert client.get_string_value("tier", "none", ACME) == "gold"
    for key in CATALOG["features"]:
        flag = flag_of(ent.check("acme", key), ent.catalog)
        assert client.get_boolean_details(key, False, ACME).value == (flag["value"] if flag["value"] is True else False)


def test_a_setting_that_is_not_granted_is_its_default(client):
    told = client.get_integer_details("history", 7, OTHER)
    assert (told.value, told.reason, told.error_code) == (7, Reason.DEFAULT, None)
    assert told.flag_metadata["code"] == "not_in_plan"


@pytest.mark.parametrize(
    ("key", "context", "code"),
    [
        ("nothing", ACME, ErrorCode.FLAG_NOT_FOUND),
        ("tier", ACME, ErrorCode.TYPE_MISMATCH),
        ("exports", EvaluationContext(), ErrorCode.TARGETING_KEY_MISSING),
    ],
)
def test_what_cannot_be_answered_is_the_default_with_the_reason(client, key, context, code):
    told = client.get_boolean_details(key, True, context)
    assert (told.value, told.error_code) == (True, code)


def test_the_customer_acting_is_asked_for_where_no_key_is_set(client):
    with acting_as("acme"):
        assert client.get_boolean_value("exports", False) is True


def test_what_is_tracked_is_recorded(ent, client):
    client.track("chat", ACME)
    client.track("chat", ACME, TrackingEventDetails(value=1.5))
    assert ent.check("acme", "chat").used == pytest.approx(2.5)


def test_a_new_catalog_is_told(tmp_path):
    path = tmp_path / "catalog.yaml"
    path.write_text("features: {exports: {type: boolean}}")
    told = []
    with Entitlements(path, storage="memory:") as ent:
        api.set_provider(EntitlementsProvider(ent))
        api.add_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, told.append)
        path.write_text("features: {exports: {type: boolean}, chat: {type: metered}}")
        ent.reload()
        api.remove_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, told.append)
    api.clear_providers()
    assert [details.flags_changed for details in told] == [["exports", "chat"]]


def test_an_engine_that_is_awaited_answers_the_same(ent):
    """Found in review: every flag fell back on its default, with a line in the log."""
    api.set_provider(EntitlementsProvider(awaited(ent)))
    details = api.get_client().get_boolean_details("exports", False, ACME)
    assert (details.value, details.error_code) == (True, None)
    with pytest.raises(TypeError, match="ent is of type str; pass an Entitlements or an AsyncEntitlements"):
        EntitlementsProvider("catalog.yaml")
