"""Observing: what logs, Prometheus and OpenTelemetry are told, and that no customer is among it."""

import asyncio
import logging

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest

from entitlements import AsyncEntitlements, Entitlements, StorageUnavailable
from entitlements.observing import logs, opentelemetry, prometheus
from entitlements.storage.memory import MemoryStorage

CATALOG = {
    "features": {"exports": {"type": "boolean"}, "chat": {"type": "metered"}},
    "credits": {"ai": {"scale": 2}},
    "plans": {"pro": {"entitlements": {"chat": 3}}},
}


@pytest.fixture
def ent():
    with Entitlements(CATALOG, storage="memory:") as ent:
        ent.subscribe("acme-1", "pro")
        ent.grant_credits("acme-1", "ai", 10, key="invoice")
        yield ent


def use(ent):
    ent.check("acme-1", "exports")
    ent.check("acme-1", "exports")
    ent.check("acme-1", "no such feature")
    ent.consume("acme-1", "chat", 2, key="job")
    ent.consume("acme-1", "chat", 2, key="job")
    ent.consume("acme-1", "chat", 2)
    ent.consume_credits("acme-1", "ai", "2.50", key="burn")


def test_prometheus_counts_decisions_and_what_they_took(ent):
    registry = CollectorRegistry()
    prometheus.observe(ent, registry=registry)
    use(ent)

    def value(name, **labels):
        return registry.get_sample_value(name, labels)

    assert value("entitlements_decisions_total", feature="exports", allowed="false", code="not_in_plan") == 2
    assert value("entitlements_decisions_total", feature="(unknown)", allowed="false", code="unknown_feature") == 1
    assert value("entitlements_decisions_total", feature="chat", allowed="true", code="ok") == 2
    assert value("entitlements_consumed_total", feature="chat") == 2
    assert value("entitlements_credits_consumed_total", credit="ai") == 2.5
    assert b"acme-1" not in generate_latest(registry)
    with pytest.raises(ValueError, match="Duplicated"):
        prometheus.observe(ent, registry=registry)


def test_what_is_set_aside_counts_once_when_it_is_settled_and_what_is_given_back_never(ent):
    registry = CollectorRegistry()
    prometheus.observe(ent, registry=registry)
    ent.reserve("acme-1", "chat", 2, key="hold").settle(1)
    ent.reserve("acme-1", "chat", 1, key="other").release()
    ent.reserve_credits("acme-1", "ai", 5, key="credits").settle("2.50")
    ent.refund("acme-1", "credits", 1, key="refund")
    short = ent.reserve_credits("acme-1", "ai", 5, key="short")
    assert not short.settle(50)
    ent.free("acme-1", "chat", 1)
    assert registry.get_sample_value("entitlements_consumed_total", {"feature": "chat"}) == 1
    assert registry.get_sample_value("entitlements_credits_consumed_total", {"credit": "ai"}) == 2.5 + 8.5


def test_opentelemetry_is_told_of_evaluations_and_counts(ent):
    exporter, reader = InMemoryLogRecordExporter(), InMemoryMetricReader()
    loggers = LoggerProvider()
    loggers.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    opentelemetry.observe(ent, loggers=loggers, meters=MeterProvider([reader]))
    use(ent)
    records = [data.log_record for data in exporter.get_finished_logs()]
    assert {record.event_name for record in records} == {"feature_flag.evaluation"}
    told = [
        (record.attributes["feature_flag.key"], record.attributes["feature_flag.result.reason"]) for record in records
    ]
    assert told == [
        ("exports", "default"),
        ("(unknown)", "error"),
        ("chat", "targeting_match"),
        ("chat", "default"),
        ("ai", "targeting_match"),
    ]
    data = reader.get_metrics_data()
    points = {
        (metric.name, *sorted(point.attributes.items())): point.value
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
        if metric.name != "entitlements.check.duration"
        for point in metric.data.data_points
    }
    assert points["entitlements.credits.consumed", ("credit", "ai")] == 2.5
    assert points["entitlements.consumed", ("feature", "chat")] == 2
    assert "acme-1" not in f"{points} {[(record.body, dict(record.attributes)) for record in records]}"


def test_logs_tell_denials_with_their_parts_and_the_customer_only_where_asked(ent, caplog):
    logs.observe(ent)
    with caplog.at_level(logging.INFO, "entitlements.decisions"):
        use(ent)
    told = [(record.getMessage(), vars(record)["entitlements.code"]) for record in caplog.records]
    assert told == [
        ("exports: not_in_plan", "not_in_plan"),
        ("exports: not_in_plan", "not_in_plan"),
        ("(unknown): unknown_feature", "unknown_feature"),
        ("chat: limit_reached", "limit_reached"),
    ]
    assert "acme-1" not in str([vars(record) for record in caplog.records])
    caplog.clear()
    logs.observe(ent, customer=True)
    with caplog.at_level(logging.INFO, "entitlements.decisions"):
        ent.check("acme-1", "exports")
    assert vars(caplog.records[-1])["entitlements.customer"] == "acme-1"


def test_what_was_asked_for_cannot_break_a_log_line(ent, caplog):
    logs.observe(ent)
    with caplog.at_level(logging.INFO, "entitlements.decisions"):
        ent.check("acme-1", "exports\nERROR all is lost")
    assert all(record.getMessage().isprintable() for record in caplog.records)


class Flaky(MemoryStorage):
    """A storage that fails as often as it is told to."""

    failures = 0

    def state(self, *args, **kwargs):
        if self.failures:
            self.failures -= 1
            raise StorageUnavailable("it is away")
        return super().state(*args, **kwargs)


def test_every_check_is_timed_and_every_error_of_the_storage_counted():
    registry, reader, storage = CollectorRegistry(), InMemoryMetricReader(), Flaky()
    with Entitlements(CATALOG, storage=storage) as ent:
        prometheus.observe(ent, registry=registry)
        opentelemetry.observe(ent, meters=MeterProvider([reader]))
        ent.subscribe("acme-1", "pro")
        storage.failures = 2
        assert ent.check("acme-1", "chat").fallback
        with pytest.raises(StorageUnavailable):
            ent.balance("acme-1", "ai")
        assert ent.check("acme-1", "chat")
        assert ent.check("acme-1", "chat", requested=3)
        ent.consume("acme-1", "chat")
    assert registry.get_sample_value("entitlements_store_errors_total", {"error": "StorageUnavailable"}) == 2
    assert registry.get_sample_value("entitlements_check_seconds_count") == 3
    assert 0 < registry.get_sample_value("entitlements_check_seconds_sum") < 3
    metrics = {each.name: each for each in reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics}
    (errors,) = metrics["entitlements.store.errors"].data.data_points
    assert (errors.value, dict(errors.attributes)) == (2, {"error.type": "StorageUnavailable"})
    (duration,) = metrics["entitlements.check.duration"].data.data_points
    assert (duration.count, metrics["entitlements.check.duration"].unit) == (3, "s")


def test_an_awaited_engine_tells_of_time_and_errors_on_its_loop():
    async def told():
        storage, checked, faults = Flaky(), [], []
        async with AsyncEntitlements(CATALOG, storage=storage) as ent:
            ent.on("checked", checked.append)
            ent.on("fault", faults.append)
            await ent.subscribe("acme-1", "pro")
            assert await ent.check("acme-1", "chat")
            storage.failures = 1
            with pytest.raises(StorageUnavailable):
                await ent.balance("acme-1", "ai")
            await asyncio.sleep(0)
        return checked, faults

    checked, faults = asyncio.run(told())
    assert [each.decision.code for each in checked] == ["ok"]
    assert checked[0].seconds > 0
    assert [str(fault) for fault in faults] == ["it is away"]


def test_credits_are_counted_that_a_price_or_a_debt_takes():
    registry = CollectorRegistry()
    priced = {**CATALOG, "rates": {"chat": {"credit": "ai", "price": "1.5"}}}
    with Entitlements(priced, storage="memory:") as ent:
        prometheus.observe(ent, registry=registry)
        ent.subscribe("acme-1", "pro")
        ent.grant_credits("acme-1", "ai", 4, key="invoice")
        ent.consume("acme-1", "chat", 2)
        ent.consume_credits("acme-1", "ai", 5, key="owed", depletion="soft")
        ent.record("acme-1", "chat", 1)
    assert registry.get_sample_value("entitlements_consumed_total", {"feature": "chat"}) == 3
    assert registry.get_sample_value("entitlements_credits_consumed_total", {"credit": "ai"}) == 3 + 5
