"""Celery: a real worker, on a broker in memory."""

import logging

import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker

from entitlements import Entitlements, KeyUsed, acting_as, configure, consumes, current_customer, gating
from entitlements.celery import TaskDenied, connect, works_for

CATALOG = {
    "features": {"chat": {"type": "metered"}},
    "plans": {"pro": {"entitlements": {"chat": 3}}},
}


@pytest.fixture
def ent(monkeypatch):
    monkeypatch.setattr(gating._Default, "engine", None)
    monkeypatch.setattr(gating._Default, "opened", None)
    with configure(Entitlements(CATALOG, storage="memory:")) as ent:
        ent.subscribe("acme", "pro")
        yield ent


# Without fixups: the Django project of other tests is none of this worker.
app = Celery("entitled", broker="memory://", backend="cache+memory://", set_as_current=False, fixups=set())
app.conf.update(worker_hijack_root_logger=False, broker_connection_retry_on_startup=False)
connect()
tried = []


@app.task(bind=True, autoretry_for=(Exception,), max_retries=3, default_retry_delay=0)
@works_for(lambda task, account, failing=0: account)
@consumes("chat", amount=2)
def answer(task, account, failing=0):
    tried.append(task.request.id)
    if len(tried) <= failing:
        raise ConnectionError
    return current_customer()


@app.task(bind=True)
@works_for()
@consumes("chat")
def sent(task):
    return current_customer(), dict(gating.acting().scope or {})


@pytest.fixture(autouse=True)
def worker(ent):
    tried.clear()
    level = logging.root.level
    with start_worker(app, pool="solo", perform_ping_check=False, loglevel="ERROR"):
        yield
    logging.root.setLevel(level)  # the worker sets it for the whole process


def test_a_task_that_is_tried_again_is_charged_once(ent):
    result = answer.apply_async(("acme", 2), task_id="task-1")
    assert result.get(timeout=30) == "acme"
    assert tried == ["task-1"] * 3
    assert ent.check("acme", "chat").used == 2


def test_a_denied_task_fails_at_once_and_is_never_tried_again(ent):
    ent.consume("acme", "chat", 2)
    with pytest.raises(TaskDenied) as denied:
        answer.delay("acme").get(timeout=30)
    assert denied.value.args[0] == "limit_reached"
    assert (tried, ent.check("acme", "chat").used) == ([], 2)


def test_a_task_works_for_whom_it_was_sent(ent):
    with acting_as("acme", scope="team:x", key="request-1"):
        result = sent.delay()
    assert result.get(timeout=30) == ["acme", {"team": "x"}]
    assert [line.key for line in ent.entries("acme") if line.kind == "reserved"] == [f"{result.id}:consume:chat"]
    with pytest.raises(LookupError, match="no customer"):
        sent.delay().get(timeout=30)


@pytest.fixture
def eager():
    app.conf.update(task_always_eager=True, task_eager_propagates=True)
    yield
    app.conf.update(task_always_eager=False, task_eager_propagates=False)


def test_a_task_that_runs_in_place_works_for_the_one_acting(ent, eager):
    """Found in review: what Celery offers for tests, and a plain call, were LookupErrors."""
    with acting_as("acme", scope="team:x", key="request-1"):
        for run in (sent.delay, sent.apply):
            assert run().get() == ("acme", {"team": "x"})
        assert sent() == ("acme", {"team": "x"})
    first, second, called = [line.key for line in ent.entries("acme") if line.kind == "reserved"]
    assert "request-1" not in first + second
    assert (first != second, called) == (True, "request-1:consume:chat")
    assert ent.check("acme", "chat").used == 3
    with pytest.raises(LookupError, match="no customer"):
        sent.delay()


def test_a_task_that_runs_in_place_asks_the_engine_that_is_acting(ent, eager):
    with Entitlements(CATALOG, storage="memory:") as mine:
        mine.subscribe("only", "pro")
        with acting_as("only", engine=mine):
            assert sent.delay().get() == ("only", {})
        assert mine.check("only", "chat").used == 1


def test_a_task_that_runs_in_place_is_done_once_under_a_clients_key(ent):
    with acting_as("acme", key="request-1", once=True):
        assert sent() == ("acme", {})
        with pytest.raises(KeyUsed):
            sent()
        assert sent.apply().get() == ("acme", {})
