"""Gating: the default engine, whom work is done for, and functions behind a feature."""

import asyncio
import contextvars
import threading

import pytest

import entitlements
from entitlements import Entitlements, acting_as, check, configure, current_customer, gating, requires_feature
from entitlements.errors import CatalogError, EntitlementDenied, NotConfigured, StorageUnavailable, UnknownFeature


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch):
    monkeypatch.setattr(gating._Default, "engine", None)
    monkeypatch.setattr(gating._Default, "opened", None)
    yield
    if gating._Default.opened is not None:
        gating._Default.opened.close()


@pytest.fixture
def default(catalog_file, clock):
    """The default engine, with a customer who may export."""
    ent = configure(catalog_file, storage="memory:", clock=clock)
    ent.subscribe("acme", "pro")
    return ent


@requires_feature("exports")
def export(*rows):
    """Export rows."""
    return rows


# --- the default engine


def test_before_configure_everything_says_what_to_do():
    for call in (lambda: check("exports", customer="acme"), gating.default_engine):
        with pytest.raises(NotConfigured, match=r"call entitlements.configure\('catalog.yaml'\) once at start"):
            call()
    with acting_as("acme"), pytest.raises(NotConfigured):
        export()


def test_the_module_functions_use_the_default_engine(default):
    assert gating.default_engine() is default
    assert entitlements.check("exports", customer="acme") == default.check("acme", "exports")
    assert check("seats", customer="acme", requested=21).code == "limit_reached"
    assert check("history", customer="acme", value=7).allowed


def test_configuring_again_closes_the_engine_it_opened(default, catalog_file):
    fresh = configure(catalog_file, storage="memory:")
    assert gating.default_engine() is fresh
    with pytest.raises(StorageUnavailable):
        default.consume("acme", "seats")


def test_an_engine_that_is_handed_over_is_never_closed(catalog_file, clock):
    """Found in review: the host's own engine was closed."""
    with Entitlements(catalog_file, storage="memory:", clock=clock) as mine:
        assert configure(mine) is mine
        configure(catalog_file, storage="memory:")
        assert mine.consume("acme", "seats")
        configure(mine)
        assert gating.default_engine() is mine
        assert mine.consume("acme", "seats")


def test_an_engine_that_was_opened_and_is_handed_back_is_still_closed_in_the_end(default, catalog_file):
    configure(default)
    configure(catalog_file, storage="memory:")
    with pytest.raises(StorageUnavailable):
        default.consume("acme", "seats")


def test_an_open_engine_takes_no_options(default):
    """Found in review: they were silently ignored."""
    with pytest.raises(TypeError, match="an engine that is open already takes no options; leave out clock, storage"):
        configure(default, storage="memory:", clock=None)


def test_a_configuration_that_fails_leaves_the_engine_in_use(default):
    with pytest.raises(CatalogError):
        configure({"version": 1, "features": {"a": {"type": "metred"}}}, storage="memory:")
    assert check("exports", customer="acme")


# --- whom work is done for


def test_work_is_done_for_the_innermost_customer():
    assert current_customer() is None
    with acting_as("acme"):
        assert current_customer() == "acme"
        with acting_as("other"):
            assert current_customer() == "other"
        assert current_customer() == "acme"
    assert current_customer() is None


def test_an_exception_ends_acting_too():
    with pytest.raises(ZeroDivisionError), acting_as("acme"):
        raise ZeroDivisionError
    assert current_customer() is None


def test_acting_says_for_whom():
    with acting_as("acme", scope="team:research", key="request-1") as acting:
        assert (acting.customer, acting.scope, acting.key) == ("acme", {"team": "research"}, "request-1")


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"customer": ""}, ValueError),
        ({"customer": None}, TypeError),
        ({"customer": "acme", "scope": "team"}, ValueError),
        ({"customer": "acme", "scope": 7}, TypeError),
        ({"customer": "acme", "key": ""}, ValueError),
        ({"customer": "acme", "key": 7}, TypeError),
    ],
)
def test_acting_for_what_is_no_customer_is_refused(arguments, kind):
    with pytest.raises(kind), acting_as(**arguments):
        pytest.fail("acted")
    assert current_customer() is None


def test_tasks_see_the_customer_they_were_started_for():
    async def who():
        await asyncio.sleep(0)
        return current_customer()

    async def serve(customer):
        with acting_as(customer):
            return await asyncio.create_task(who())

    async def main():
        return await asyncio.gather(*(serve(customer) for customer in "abc"))

    assert asyncio.run(main()) == ["a", "b", "c"]


def test_a_new_thread_acts_for_nobody_unless_the_context_is_given():
    seen = []
    with acting_as("acme"):
        context = contextvars.copy_context()
        threads = [
            threading.Thread(target=lambda: seen.append(current_customer())),
            threading.Thread(target=context.run, args=(lambda: seen.append(current_customer()),)),
        ]
        for thread in threads:
            thread.start()
            thread.join()
    assert seen == [None, "acme"]


@pytest.mark.parametrize("engine", ["sqlite:///app.db", 5, Entitlements])
def test_acting_with_what_is_no_engine_is_refused_at_once(engine):
    with pytest.raises(TypeError, match=r"engine is of type \w+; pass an Entit"), acting_as("acme", engine=engine):
        pytest.fail("acted")
    assert current_customer() is None


def test_a_check_is_about_the_customer_acting_unless_another_is_named(default):
    with acting_as("acme", scope={"team": "research"}):
        decision = check("exports")
        assert (decision.customer, decision.allowed, decision.scope) == ("acme", True, {"team": "research"})
        other = check("exports", customer="other")
        assert (other.customer, other.allowed, other.scope) == ("other", False, None)
        assert check("exports", scope="user:ann").scope == {"user": "ann"}


def test_a_check_for_nobody_says_what_to_do(default):
    with pytest.raises(LookupError, match="no customer: pass customer=, or do the work inside `with acting_as"):
        check("exports")


# --- functions behind a feature


def test_a_function_runs_only_where_the_feature_may_be_had(default):
    with acting_as("acme"):
        assert export(1, 2) == (1, 2)
    with acting_as("other"), pytest.raises(EntitlementDenied) as denied:
        export(1)
    assert denied.value.decision.code == "not_in_plan"
    assert denied.value.decision.upgrade == ("plan:pro",)


def test_a_function_that_is_denied_does_not_begin(default):
    ran = []

    @requires_feature("exports", customer="other")
    def work():
        ran.append(True)

    with pytest.raises(EntitlementDenied):
        work()
    assert ran == []


def test_a_gated_function_is_still_itself():
    assert (export.__name__, export.__doc__, export.__module__) == ("export", "Export rows.", __name__)


def test_the_customer_may_come_from_the_arguments(default):
    @requires_feature("exports", customer=lambda account, *, limit=0: account)
    def work(account, *, limit=0):
        return account, limit

    assert work("acme", limit=3) == ("acme", 3)
    with pytest.raises(EntitlementDenied):
        work("other")


def test_methods_are_gated(default):
    class Account:
        def __init__(self, id):
            self.id = id

        @requires_feature("exports", customer=lambda self: self.id)
        def export(self):
            return self.id

        @classmethod
        @requires_feature("exports", customer="acme")
        def everything(cls):
            return cls

        @staticmethod
        @requires_feature("exports", customer="acme")
        def nothing():
            return None

    assert Account("acme").export() == "acme"
    assert Account.everything() is Account
    assert Account.nothing() is None
    with pytest.raises(EntitlementDenied):
        Account("other").export()


def test_a_gate_may_ask_for_a_value_or_an_amount(default):
    @requires_feature("history", customer="acme", value=8)
    def long():
        pytest.fail("ran")

    @requires_feature("seats", customer="acme", requested=20)
    def many():
        return True

    with pytest.raises(EntitlementDenied):
        long()
    assert many()


def test_a_generator_is_gated_when_it_is_called(default):
    @requires_feature("exports")
    def rows():
        yield from (1, 2)

    with acting_as("acme"):
        started = rows()
    assert list(started) == [1, 2]
    with acting_as("other"), pytest.raises(EntitlementDenied):
        rows()


def test_a_mistyped_feature_is_found_when_the_function_is_decorated(default):
    with pytest.raises(UnknownFeature, match="unknown feature 'export'; did you mean 'exports'"):
        requires_feature("export")


def test_a_gate_without_a_feature_says_how_to_write_it():
    with pytest.raises(TypeError, match=r"requires_feature takes the key of a feature: @requires_feature\('exports'\)"):

        @requires_feature
        def work(): ...
