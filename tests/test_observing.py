"""Observing: what logs, Prometheus and OpenTelemetry are told, and that no customer is among it."""

import logging

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest

from entitlements import Entitlements
from entitlements.observing import logs, opentelemetry, prometheus

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
