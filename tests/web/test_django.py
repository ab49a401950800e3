"""Django: the example project, asked by its own test clients, its checks and its command."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.core.checks import ERROR, run_checks
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.core.management import CommandError, call_command
from django.http import HttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.urls import path
from django.utils.asyncio import async_unsafe

from entitlements import (
    Catalog,
    Entitlements,
    StorageUnavailable,
    acting_as,
    consumes,
    current_customer,
    requires_feature,
)
from entitlements.aio.beside import awaited
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


@pytest.mark.parametrize("who", ["acme", lambda request, page: f"{page}me"], ids=["named", "told"])
@pytest.mark.parametrize("function", [None, lambda request: None], ids=["nobody says", "nobody is"])
def test_a_gate_that_names_its_customer_needs_nobody_signed_in(ent, who, function):
    ent.change_plan("acme", "pro")

    @views.requires_feature("exports", customer=who)
    def view(request, page):
        return HttpResponse(page)

    with override_settings(ENTITLEMENTS={**settings.ENTITLEMENTS, "ENGINE": ent, "CUSTOMER": function}):
        assert view(RequestFactory().get("/"), "ac").content == b"ac"
        nobody = views.requires_feature("exports", customer=lambda request: None)(lambda request: HttpResponse())
        with pytest.raises(PermissionDenied, match="nobody is signed in"):
            nobody(RequestFactory().get("/"))


def test_an_asynchronous_view_may_ask_the_database_who_is_signed_in(ent):
    """Without the middleware, too: what Django refuses on an event loop is done in a thread."""

    @views.requires_feature("messages")
    async def view(request):
        return HttpResponse(current_customer())

    asked = async_unsafe(lambda request: "acme")
    with override_settings(ENTITLEMENTS={**settings.ENTITLEMENTS, "ENGINE": ent, "CUSTOMER": asked}):
        assert asyncio.run(view(RequestFactory().get("/"))).content == b"acme"


def test_an_asynchronous_view_asks_nobody_where_the_middleware_has_said_who_is_acting(ent, monkeypatch):
    """All such questions wait for one thread, whose turn every request would have to wait for."""
    monkeypatch.setattr(views, "sync_to_async", None)

    @views.requires_feature("messages")
    async def view(request):
        return HttpResponse(current_customer())

    async def main():
        with acting_as("acme"):
            return await view(RequestFactory().get("/"))

    with override_settings(ENTITLEMENTS={**settings.ENTITLEMENTS, "ENGINE": ent}):
        assert asyncio.run(main()).content == b"acme"


def test_an_engine_that_is_awaited_tells_the_front_end_the_same(client, ent):
    told = client.get("/entitlements/snapshot").json()
    with override_settings(ENTITLEMENTS={**settings.ENTITLEMENTS, "ENGINE": awaited(ent)}):
        assert client.get("/entitlements/snapshot").json()["etag"] == told["etag"]
        assert client.get("/export").status_code == 402


def test_what_is_known_already_is_told_without_a_body_and_its_type(client):
    first = client.get("/entitlements/snapshot")
    again = client.get("/entitlements/snapshot", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    assert "Content-Type" not in again.headers


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


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ({"CUSTOMER": None}, "ENTITLEMENTS has no CUSTOMER, so nobody says who is asking"),
        ({"CUSTOMER": "shop.nowhere.customer_of"}, r"ENTITLEMENTS\['CUSTOMER'\] cannot be found: No module named 'shop'"),
        ({"CUSTOMER": "examples.django_app.views.customer"}, r"\['CUSTOMER'\] cannot be found: .* does not define"),
        ({"CUSTOMER": "nobody"}, r"\['CUSTOMER'\] cannot be found: nobody doesn't look like a module path"),
        ({"CUSTOMER": 7}, r"\['CUSTOMER'\] cannot be called: 7"),
        ({"SCOPE": "examples.django_app.settings.DEBUG"}, r"\['SCOPE'\] cannot be called: True"),
        ({"PROBLEMS": "examples.django_app.settings.DEBUG"}, r"\['PROBLEMS'\] is no Problems: True"),
    ],
)
def test_the_system_checks_find_functions_that_cannot_be_called(said, match):
    """Found in review: the first request was the first to say so."""
    with override_settings(DEBUG=True, ENTITLEMENTS={**settings.ENTITLEMENTS, **said}):
        [message] = [message for message in run_checks() if message.id.startswith("entitlements.")]
    assert (message.id, message.level) == ("entitlements.E003", ERROR)
    assert re.search(match, message.msg)


def test_the_system_checks_do_without_urls_and_find_an_engine_that_is_not_there():
    with override_settings(DEBUG=True):
        with override_settings():
            del django_settings.ROOT_URLCONF
            assert ids(run_checks()) == []
        with override_settings(ENTITLEMENTS={**settings.ENTITLEMENTS, "ENGINE": "shop.nowhere.ent"}):
            assert ids(run_checks()) == ["entitlements.E001"]


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


def commanded(capfd, *words, **said):
    with (
        override_settings(ENTITLEMENTS={"CUSTOMER": settings.ENTITLEMENTS["CUSTOMER"], **said}),
        pytest.raises(SystemExit) as end,
    ):
        call_command("entitlements", *words)
    told = capfd.readouterr()
    return end.value.code, told.out + told.err


def test_the_command_asks_with_a_catalog_that_is_in_no_file(tmp_path, capfd):
    """Found in review: the whole catalog was taken for the name of a file."""
    catalog = Catalog.load(CATALOG)
    address = f"sqlite:///{tmp_path / 'app.db'}"
    for said in (dict(catalog.document), catalog):
        asked = ("check", "acme", "exports")
        code, told = commanded(capfd, *asked, CATALOG=said, STORAGE=address)
        assert code == 3
        assert f"there is no database at {tmp_path / 'app.db'}, and asking creates none. The first fact does." in told
        assert commanded(capfd, *asked, CATALOG=said, STORAGE="memory:")[1].startswith("denied (unknown_customer)")
    broken = commanded(capfd, "check", "acme", "exports", CATALOG={"features": {"a": {"type": "metred"}}})
    assert "did you mean 'metered'" in broken[1]


def test_the_command_asks_the_engine_of_the_settings_unless_it_names_another(tmp_path, capfd):
    """Found in review: a project with an engine of its own was told that it has no catalog."""
    with Entitlements(CATALOG, storage="memory:") as ent:
        ent.subscribe("acme", "pro")
        granted = (0, "allowed: exports is granted by plan pro\n")
        assert commanded(capfd, "check", "acme", "exports", ENGINE=ent) == granted
        assert commanded(capfd, "check", "acme", "exports", ENGINE=ent, CATALOG=CATALOG) == granted
        for words in (("--storage", "memory:"), ("--storage=memory:", f"--catalog={CATALOG}")):
            code, told = commanded(capfd, "check", "acme", "exports", *words, ENGINE=ent)
            assert (code, told.partition(":")[0]) == (1, "denied (unknown_customer)")
        assert ent.check("acme", "exports")
    with override_settings(ENTITLEMENTS={}), pytest.raises(CommandError, match="no CATALOG"):
        call_command("entitlements", "check", "acme", "exports")


def test_the_command_runs_as_a_user_runs_it():
    command = [sys.executable, "examples/django_app/manage.py", "entitlements", "check", "acme", "exports"]
    environment = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("denied (unknown_customer)")
