"""Django: the example project, asked by its own test clients, its checks and its command."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.core.management import call_command
from django.http import HttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.urls import path

from entitlements import Entitlements, StorageUnavailable, consumes, requires_feature
from entitlements.web.django import configured, views
from entitlements.web.django.middleware import customer_of, entitlements
from entitlements.web.problem import Problems
from examples.django_app import settings

ROOT = Path(__file__).parents[2]
CATALOG = ROOT / "examples" / "fastapi_app" / "catalog.yaml"


@pytest.fixture
def ent(clock):
    with Entitlements(CATALOG, storage="memory:", clock=clock) as ent:
        ent.subscribe("acme", "free")
        with override_settings(ENTITLEMENTS={**settings.ENTITLEMENTS, "ENGINE": ent}):
            yield ent


@pytest.fixture
def client(ent):
    client = Client()
    client.get("/sign-in/acme")
    return client


def test_views_are_gated_and_counted(client, ent):
    assert client.get("/messages").content == b"sent for acme"
    assert client.get("/slow-messages").content == b"sent for acme"
    assert ent.check("acme", "messages").used == 2
    for page in ("/export", "/slow-export"):
        denied = client.get(page)
        assert (denied.status_code, denied.headers["Content-Type"]) == (402, "application/problem+json")
        assert denied.json()["code"] == "not_in_plan"
    ent.change_plan("acme", "pro")
    assert [client.get(page).status_code for page in ("/export", "/slow-export")] == [200, 200]


def test_the_asynchronous_client_finds_the_same(ent):
    async def main():
        client = AsyncClient()
        await client.get("/sign-in/acme")
        pages = ("/messages", "/slow-messages", "/export", "/slow-export", "/entitlements/snapshot")
        return [(await client.get(page)).status_code for page in pages]

    assert asyncio.run(main()) == [200, 200, 402, 402, 200]


def test_the_engine_is_opened_once_as_the_settings_say_and_closed_when_they_change(tmp_path):
    changed = {**settings.ENTITLEMENTS, "STORAGE": f"sqlite:///{tmp_path / 'app.db'}"}
    with override_settings(ENTITLEMENTS=changed):
        client = Client()
        client.get("/sign-in/acme")
        opened = configured.engine()
        opened.subscribe("acme", "pro")
        assert configured.engine() is opened
        assert client.get("/export").status_code == 200
    with pytest.raises(StorageUnavailable):
        opened.check("acme", "exports")
    for name, use in (("CATALOG", configured.engine), ("CUSTOMER", lambda: customer_of(RequestFactory().get("/")))):
        with (
            override_settings(ENTITLEMENTS={**settings.ENTITLEMENTS, name: None}),
            pytest.raises(ImproperlyConfigured, match=f"ENTITLEMENTS has no {name}"),
        ):
            use()


def test_a_view_has_the_verbs_of_its_customer(ent):
    def view(request):
        return HttpResponse(str(request.entitlements.consume("messages", 2).used))

    request = RequestFactory().get("/")
    request.session = {"account": "acme"}
    assert entitlements(view)(request).content == b"2"


def test_an_asynchronous_view_refuses_a_key_that_is_none(ent):
    async def main():
        client = AsyncClient()
        await client.get("/sign-in/acme")
        refused = await client.get("/slow-messages", headers={"Idempotency-Key": "k" * 256})
        failed = await client.get("/nothing-here")
        return refused.status_code, failed.status_code

    assert asyncio.run(main()) == (400, 404)


def test_a_request_sent_again_is_done_once(client, ent):
    for status in (200, 409, 409):
        assert client.get("/messages", headers={"Idempotency-Key": "request-1"}).status_code == status
    assert ent.check("acme", "messages").used == 1
    refused = client.get("/messages", headers={"Idempotency-Key": "k" * 256})
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_key")


def test_a_project_that_forgot_the_middleware_still_refuses(ent):
    with override_settings(MIDDLEWARE=settings.MIDDLEWARE[:1]):
        client = Client()
        client.get("/sign-in/acme")
        assert client.get("/export").status_code == 403
        assert Client().get("/export").status_code == 403
    request = RequestFactory().get("/")
    request.session = {"account": "acme"}
    with pytest.raises(PermissionDenied, match="plan pro would allow it"):
        views.requires_feature("exports")(lambda request: HttpResponse())(request)


def test_the_front_end_reads_the_snapshot_and_flags(client):
    first = client.get("/entitlements/snapshot")
    assert first.json()["features"]["messages"]["limit"] == 3
    assert client.get("/entitlements/snapshot", headers={"If-None-Match": first.headers["ETag"]}).status_code == 304
    evaluate = "/entitlements/ofrep/v1/evaluate/flags"
    posted = Client(enforce_csrf_checks=True)
    posted.get("/sign-in/acme")
    assert posted.post(evaluate, {}, "application/json").json()["flags"][0]["key"] == "exports"
    foreign = client.post(evaluate, {"context": {"targetingKey": "other"}}, "application/json")
    assert (foreign.status_code, foreign.json()["code"]) == (403, "foreign_customer")
    large = client.post(evaluate, " " * 70_000, "application/json")
    assert (large.status_code, large.json()["code"]) == (413, "body_too_large")
    assert Client().get("/entitlements/snapshot").status_code == 401


def test_how_denials_are_told_may_be_set(client, ent):
    changed = {**settings.ENTITLEMENTS, "ENGINE": ent, "PROBLEMS": Problems(status={"not_in_plan": 403})}
    with override_settings(ENTITLEMENTS=changed):
        assert client.get("/export").status_code == 403


def ids(messages):
    return sorted(message.id for message in messages if message.id.startswith("entitlements."))


def test_the_system_checks_find_what_is_wrong(tmp_path):
    broken = tmp_path / "catalog.yaml"
    broken.write_text("features: {a: {type: metred}}")
    good = settings.ENTITLEMENTS
    with override_settings(DEBUG=False):
        assert ids(run_checks()) == ["entitlements.W001"]
    with override_settings(DEBUG=True):
        assert ids(run_checks()) == []
        for said in ({"CATALOG": broken}, {"CATALOG": None}, {"CATALOG": tmp_path / "none.yaml"}):
            with override_settings(ENTITLEMENTS={**good, **said}):
                assert ids(run_checks()) == ["entitlements.E001"]
        with override_settings(ENTITLEMENTS={**good, "CATALOGUE": 1}):
            [message] = [message for message in run_checks() if message.id == "entitlements.E002"]
            assert "did you mean 'CATALOG'" in message.msg
        with override_settings(ROOT_URLCONF=__name__):
            [message] = [message for message in run_checks() if message.id == "entitlements.W002"]
            assert "'exprots'; did you mean 'exports'" in message.msg


@consumes("messages")
@requires_feature("exprots")
def mistyped(request): ...


urlpatterns = [path("mistyped", mistyped)]


def test_the_command_asks_the_storage_of_the_settings(tmp_path, capfd):
    address = f"sqlite:///{tmp_path / 'app.db'}"
    with Entitlements(CATALOG, storage=address) as ent:
        ent.subscribe("acme", "pro")
    with (
        override_settings(ENTITLEMENTS={**settings.ENTITLEMENTS, "STORAGE": address}),
        pytest.raises(SystemExit) as end,
    ):
        call_command("entitlements", "check", "acme", "exports")
    assert (end.value.code, capfd.readouterr().out) == (0, "allowed: exports is granted by plan pro\n")


def test_the_command_runs_as_a_user_runs_it():
    command = [sys.executable, "examples/django_app/manage.py", "entitlements", "check", "acme", "exports"]
    environment = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("denied (unknown_customer)")
