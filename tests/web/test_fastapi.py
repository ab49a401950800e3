"""FastAPI and Starlette: the example application, asked by their own test client."""

import asyncio
import logging
from typing import Annotated

import attrs
import pytest
from fastapi import APIRouter, FastAPI, WebSocket
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.websockets import WebSocketDisconnect

from entitlements import (
    AsyncEntitlements,
    Decision,
    EntitlementDenied,
    Entitlements,
    consumes,
    current_customer,
    gating,
    requires_feature,
)
from entitlements.holds import HeldWork
from entitlements.web.asgi import Acting, Flags
from entitlements.web.asking import key_named
from entitlements.web.fastapi import RESPONSES, Consumes, Requires, install
from entitlements.web.flags import flag_of
from entitlements.web.problem import Problems, Refused
from examples.fastapi_app.app import create_app
from tests.conftest import START

CATALOG = {
    "default_plan": "free",
    "features": {
        "exports": {"type": "boolean"},
        "chat": {"type": "metered", "reset": {"every": "day", "align": "calendar"}},
        "burst": {"type": "metered", "reset": {"every": "hour", "align": "calendar"}},
    },
    "credits": {"ai": {"scale": 2}},
    "plans": {"free": {}, "pro": {"entitlements": {"exports": True, "chat": 3, "burst": 1}}},
}


@pytest.fixture(params=["blocking", "awaited"])
def ent(request, clock):
    if request.param == "blocking":
        with Entitlements(CATALOG, storage="memory:", clock=clock) as engine:
            engine.subscribe("acme", "pro")
            yield engine
        return
    engine = AsyncEntitlements(CATALOG, storage="memory:", clock=clock)
    blocking = Entitlements(CATALOG, storage=engine._driver._storage, clock=clock)
    blocking.subscribe("acme", "pro")
    yield engine


def asker(request):
    return request.headers.get("x-account")


def add_stream(app):
    @app.get("/stream", dependencies=[Requires("exports")])
    async def stream():
        @consumes("chat")
        async def rows():
            yield f"{current_customer()},"
            yield "end"

        return StreamingResponse(rows())


@pytest.fixture
def client(ent):
    app = FastAPI(responses=RESPONSES)
    install(app, ent, customer=asker, flags="/front")

    @app.get("/export", dependencies=[Requires("exports")])
    def export():
        return current_customer()

    @app.get("/why")
    async def why(decision: Annotated[Decision, Requires("exports")]):
        return decision.code

    @app.post("/burst")
    @consumes("burst")
    async def burst():
        return "done"

    @app.post("/plain")
    @consumes("chat")
    def plain():
        return "done"

    @app.post("/fails")
    @consumes("chat")
    async def fails(fail: bool = False):
        if fail:
            raise ValueError("failed")

    @app.post("/reports/{amount}")
    async def reports(amount: int, hold: Annotated[HeldWork, Consumes("chat", amount=2)], fail: bool = False):
        hold.report(amount)
        if fail:
            raise ValueError
        return "done"

    add_stream(app)
    with TestClient(app) as client:
        yield client


def test_a_feature_is_required_of_an_endpoint(client):
    assert client.get("/export", headers={"x-account": "acme"}).json() == "acme"
    assert client.get("/why", headers={"x-account": "acme"}).json() == "ok"
    denied = client.get("/export", headers={"x-account": "other"})
    assert (denied.status_code, denied.headers["content-type"]) == (402, "application/problem+json")
    assert denied.json() == {
        "type": "about:blank",
        "title": "Payment Required",
        "status": 402,
        "detail": "nothing this customer holds grants exports; plan pro would allow it",
        "code": "not_in_plan",
        "feature": "exports",
        "outcome": "block",
        "limit": None,
        "used": None,
        "remaining": None,
        "requested": 1,
        "resets_at": None,
        "upgrade": ["plan:pro"],
    }


def test_what_waiting_fixes_is_429_and_says_how_long(client, clock):
    clock.set(START.replace(minute=30))
    assert client.post("/burst", headers={"x-account": "acme"}).status_code == 200
    denied = client.post("/burst", headers={"x-account": "acme"})
    assert denied.status_code == 429
    assert denied.headers["retry-after"] == "1800"
    assert denied.headers["ratelimit-policy"] == '"burst";q=1;w=3600'
    assert denied.headers["ratelimit"] == '"burst";r=0;t=1800'
    assert denied.json()["violated-policies"] == ["burst"]


def test_a_request_sent_again_is_done_once_and_a_key_for_something_else_is_422(client):
    """A client that always sends one key must not get for one charge what it likes, as often as it likes."""
    headers = {"x-account": "acme", "idempotency-key": '"request-1"'}
    answers = [client.post("/plain", headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 409, 409]
    assert answers[1].json()["code"] == "key_used"
    assert client.post("/reports/1", headers={**headers, "idempotency-key": "request-1"}).status_code == 422
    assert [client.post("/plain", headers={"x-account": "acme"}).status_code for _ in range(3)] == [200, 200, 402]


def test_a_dependency_holds_for_the_endpoint_and_charges_what_it_reports(client):
    assert client.post("/reports/1", headers={"x-account": "acme"}).status_code == 200
    snapshot = client.get("/front/snapshot", headers={"x-account": "acme"}).json()
    assert snapshot["features"]["chat"]["used"] == 1
    with pytest.raises(ValueError):
        client.post("/reports/0?fail=true", headers={"x-account": "acme"})
    assert client.get("/front/snapshot", headers={"x-account": "acme"}).json()["features"]["chat"]["used"] == 1


def test_a_request_that_failed_may_be_sent_again_with_its_key(client):
    headers = {"x-account": "acme", "idempotency-key": "request-1"}
    with pytest.raises(ValueError, match="failed"):
        client.post("/fails?fail=true", headers=headers)
    assert [client.post("/fails", headers=headers).status_code for _ in range(2)] == [200, 409]


def test_a_stream_is_gated_before_it_begins_and_charged_when_it_is_done(client):
    assert client.get("/stream", headers={"x-account": "other"}).status_code == 402
    assert client.get("/stream", headers={"x-account": "acme"}).text == "acme,end"
    assert client.get("/front/snapshot", headers={"x-account": "acme"}).json()["features"]["chat"]["used"] == 1


def test_a_gate_without_a_customer_is_our_own_mistake(client):
    with pytest.raises(LookupError, match="no customer"):
        client.get("/export")


def test_the_openapi_document_tells_what_denials_look_like(client):
    told = client.get("/openapi.json").json()["paths"]["/export"]["get"]["responses"]
    assert {"402", "403", "409", "422", "429", "503"} <= told.keys()
    assert "application/problem+json" in told["402"]["content"]


def test_what_does_not_validate_is_told_of_as_fastapi_tells_it(client):
    """Found in review: with RESPONSES, its 422 had no description any more."""
    told = client.get("/openapi.json").json()["paths"]["/reports/{amount}"]["post"]["responses"]["422"]["content"]
    assert set(told) == {"application/problem+json", "application/json"}
    bare = FastAPI()
    bare.add_api_route("/{amount}", lambda amount: amount)
    own = TestClient(bare).get("/openapi.json").json()
    schemas = own["components"]["schemas"]
    expected = schemas["HTTPValidationError"]
    expected["properties"]["detail"]["items"] = schemas["ValidationError"]
    assert told["application/json"]["schema"] == expected
    invalid = client.post("/reports/many", headers={"x-account": "acme"})
    assert (invalid.status_code, invalid.headers["content-type"]) == (422, "application/json")
    assert set(invalid.json()) == set(expected["properties"])


def test_usage_may_be_set_aside_for_another_customer_and_for_a_scope(ent):
    app = FastAPI()
    install(app, ent, customer=asker)
    held = Consumes(
        "chat",
        customer=lambda request: request.query_params.get("for"),
        scope=lambda request: {"team": request.query_params["team"]},
    )

    @app.post("/messages")
    async def messages(hold: Annotated[HeldWork, held]):
        return [hold.customer, dict(hold.decision.scope)]

    with TestClient(app, headers={"x-account": "acme"}) as client:
        assert client.post("/messages?team=x").json() == ["acme", {"team": "x"}]
        assert client.post("/messages?team=x&for=other").json()["code"] == "not_in_plan"


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"x-account": "a" * 256}, 400, "invalid_customer"),
        ({"x-account": "$catalog"}, 400, "invalid_customer"),
        ({"x-account": "acme", "idempotency-key": "k" * 256}, 400, "invalid_key"),
        ({"x-account": "acme", "idempotency-key": "a\x7fb"}, 400, "invalid_key"),
        ({"x-account": "acme", "idempotency-key": ""}, 400, "invalid_key"),
    ],
)
def test_a_header_that_is_no_id_or_key_is_refused_and_logged_on_one_line(client, caplog, headers, status, code):
    with caplog.at_level(logging.WARNING, "entitlements"):
        refused = client.get("/export", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (status, code)
    [record] = [record for record in caplog.records if "refused a request" in record.getMessage()]
    assert record.getMessage().isprintable()
    assert "kkkk" not in refused.text


def test_a_customer_that_would_inject_a_header_is_refused(ent, caplog):
    app = Starlette(routes=[Route("/", lambda request: PlainTextResponse(current_customer()))])
    install(app, ent, customer=lambda request: "acme\r\nset-cookie: a=b")
    with TestClient(app) as client, caplog.at_level(logging.WARNING, "entitlements"):
        refused = client.get("/")
    assert (refused.status_code, "set-cookie" in refused.headers, "set-cookie" in refused.text) == (400, False, False)
    assert [len(record.getMessage().splitlines()) for record in caplog.records] == [1]


# --- flags and the snapshot


def test_the_snapshot_is_tagged_and_private(client):
    first = client.get("/front/snapshot", headers={"x-account": "acme"})
    assert first.headers["cache-control"] == "private, no-cache"
    assert first.json()["etag"] == first.headers["etag"].strip('"')
    same = client.get(
        "/front/snapshot", headers={"x-account": "acme", "if-none-match": f'"x", W/{first.headers["etag"]}'}
    )
    assert (same.status_code, same.content) == (304, b"")
    client.post("/plain", headers={"x-account": "acme"})
    changed = client.get("/front/snapshot", headers={"x-account": "acme", "if-none-match": first.headers["etag"]})
    assert changed.json()["features"]["chat"]["used"] == 1


def test_flags_are_evaluated_for_the_customer_of_the_session(client):
    posted = {"context": {"targetingKey": "acme", "colour": "red"}}
    answer = client.post("/front/ofrep/v1/evaluate/flags", json=posted, headers={"x-account": "acme"})
    flags = {flag["key"]: flag for flag in answer.json()["flags"]}
    assert (flags["exports"]["value"], flags["exports"]["variant"]) == (True, "plan:pro")
    assert flags["chat"]["metadata"]["remaining"] == 3
    known = {"x-account": "acme", "if-none-match": answer.headers["etag"]}
    assert client.post("/front/ofrep/v1/evaluate/flags", json=posted, headers=known).status_code == 304
    one = client.post("/front/ofrep/v1/evaluate/flags/exports", headers={"x-account": "other"}).json()
    assert (one["value"], one["metadata"]["code"]) == (False, "not_in_plan")
    missing = client.post("/front/ofrep/v1/evaluate/flags/nothing", headers={"x-account": "acme"})
    assert (missing.status_code, missing.json()["errorCode"]) == (404, "FLAG_NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path", "account", "content", "status", "code"),
    [
        (
            "POST",
            "ofrep/v1/evaluate/flags",
            "acme",
            b'{"context": {"targetingKey": "oth\\ner"}}',
            403,
            "foreign_customer",
        ),
        ("POST", "ofrep/v1/evaluate/flags", "acme", b'{"context": {"targetingKey": 7}}', 403, "foreign_customer"),
        (
            "POST",
            "ofrep/v1/evaluate/flags/exports",
            "acme",
            b'{"context": {"targetingKey": "x"}}',
            403,
            "foreign_customer",
        ),
        ("POST", "ofrep/v1/evaluate/flags", None, b"{}", 401, "no_customer"),
        ("GET", "snapshot", None, b"", 401, "no_customer"),
        ("POST", "ofrep/v1/evaluate/flags", "acme", b"{" + b" " * 70_000, 413, "body_too_large"),
        ("POST", "ofrep/v1/evaluate/flags", "acme", b"{", 400, "invalid_body"),
        ("POST", "ofrep/v1/evaluate/flags", "acme", b"[" * 60_000, 400, "invalid_body"),
        ("POST", "ofrep/v1/evaluate/flags", "acme", b"\xff", 400, "invalid_body"),
        ("POST", "ofrep/v1/evaluate/flags", "acme", b'{"context": 7}', 400, "invalid_body"),
        ("GET", "ofrep/v1/evaluate/flags", "acme", b"", 405, "not_allowed"),
        ("POST", "snapshot", "acme", b"", 405, "not_allowed"),
        ("GET", "elsewhere", "acme", b"", 404, "not_found"),
    ],
)
def test_what_cannot_be_answered_is_refused(client, caplog, method, path, account, content, status, code):
    headers = {"x-account": account} if account else {}
    with caplog.at_level(logging.WARNING, "entitlements"):
        refused = client.request(method, f"/front/{path}", content=content, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert all(record.getMessage().isprintable() for record in caplog.records)
    assert "oth\\n" not in refused.text


@pytest.mark.parametrize(("path", "allowed"), [("snapshot", "GET, HEAD"), ("ofrep/v1/evaluate/flags", "POST")])
def test_what_is_asked_by_another_method_is_told_which_it_takes(client, path, allowed):
    refused = client.request("PUT", f"/front/{path}", headers={"x-account": "acme"})
    assert (refused.status_code, refused.headers["allow"]) == (405, allowed)


def test_a_mounted_application_with_gates_of_its_own_denies_as_the_outer_one_does(ent):
    app, inner = FastAPI(), FastAPI()
    for each in (app, inner):
        install(each, ent, customer=asker, flags="/front")

    @inner.post("/burst", dependencies=[Requires("exports")])
    @consumes("burst")
    async def burst():
        return current_customer()

    app.mount("/inner", inner)
    client = TestClient(app, headers={"x-account": "acme"})
    answers = [client.post("/inner/burst", headers={"Idempotency-Key": key}) for key in ("a", "a", "b")]
    assert [answer.status_code for answer in answers] == [200, 409, 429]
    assert client.get("/inner/front/snapshot").json()["etag"] == client.get("/front/snapshot").json()["etag"]
    assert client.post("/inner/burst", headers={"x-account": "other"}).status_code == 402


def test_what_is_known_already_is_told_without_a_length(client):
    """A length there would be that of the body that is known: a cache may take it over."""
    headers = {"x-account": "acme"}
    known = client.get("/front/snapshot", headers=headers).headers["etag"]
    again = client.get("/front/snapshot", headers={**headers, "if-none-match": known})
    assert (again.status_code, again.headers["etag"], "content-length" in again.headers) == (304, known, False)


@pytest.mark.parametrize("key", ["$mine", "", " x", "k" * 256])
def test_a_key_that_is_none_is_told_all_that_a_key_is(key):
    with pytest.raises(Refused, match="1 to 255 characters, none for control, no space at either end, no \\$ in front"):
        key_named(key)


def test_an_oversized_body_without_a_length_is_refused_before_it_is_read(ent):
    read, sent = [], []

    async def receive():
        read.append(True)
        return {"type": "http.request", "body": b" " * 10_000, "more_body": True}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/ofrep/v1/evaluate/flags", "headers": []}
    asyncio.run(Flags(ent, customer=lambda scope: "acme")(scope, receive, send))
    assert (sent[0]["status"], len(read)) == (413, 7)


# --- overriding, and without a framework


def test_statuses_and_types_may_be_chosen(ent):
    problems = Problems(status={"not_in_plan": 403}, types="https://example.com/problems/", customer=True)
    app = FastAPI()
    install(app, ent, customer=asker, problems=problems)

    @app.get("/export")
    @requires_feature("exports")
    async def export(): ...

    with TestClient(app) as client:
        denied = client.get("/export", headers={"x-account": "other"})
    assert denied.status_code == 403
    assert denied.json()["type"] == "https://example.com/problems/not_in_plan"
    assert denied.json()["customer"] == "other"
    assert denied.json()["detail"].startswith("nothing other holds")


def test_any_asgi_application_may_be_gated(ent):
    @requires_feature("exports")
    async def inner(scope, receive, send):
        await PlainTextResponse(current_customer())(scope, receive, send)

    async def who(scope):
        return dict(scope["headers"]).get(b"x-account", b"").decode() or None

    async def app(scope, receive, send):
        if scope["type"] == "http":
            await inner(scope, receive, send)

    client = TestClient(Acting(app, ent, customer=who))
    assert client.get("/", headers={"x-account": "acme"}).text == "acme"
    assert client.get("/", headers={"x-account": "other"}).status_code == 402


def test_a_connection_that_stays_open_acts_for_its_customer_too(ent):
    app = FastAPI()
    install(app, ent, customer=asker, scoped=lambda request: {"team": "x"})

    @app.websocket("/talk")
    async def talk(socket: WebSocket):
        await socket.accept()
        await socket.send_json([current_customer(), dict(gating.acting().scope)])
        await requires_feature("exports")(socket.close)()

    with TestClient(app) as client:
        for account, code in (("acme", 1000), ("other", 1008)):
            with client.websocket_connect("/talk", headers={"x-account": account}) as talking:
                assert talking.receive_json() == [account, {"team": "x"}]
                assert talking.receive()["code"] == code


def test_a_router_with_gates_has_websockets_too(ent):
    app = FastAPI()
    install(app, ent, customer=asker)
    router = APIRouter(dependencies=[Requires("exports"), Consumes("chat")])

    @router.websocket("/talk")
    async def talk(socket: WebSocket):
        await socket.accept()
        await socket.send_text("hello")
        await socket.close()

    app.include_router(router)
    with TestClient(app) as client:
        with client.websocket_connect("/talk", headers={"x-account": "acme"}) as talking:
            assert talking.receive_text() == "hello"
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/talk", headers={"x-account": "other"}):
            raise AssertionError("it was let in")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"x-account": "ac\x01me"}, "invalid_customer"),
        ({"x-account": "x" * 300}, "invalid_customer"),
        ({"x-account": "acme", "Idempotency-Key": "k" * 256}, "invalid_key"),
    ],
)
def test_a_connection_for_what_is_no_customer_is_refused_before_it_is_accepted(ent, caplog, headers, code):
    """Found in review: the server was left to log a traceback."""
    app = FastAPI()
    install(app, ent, customer=asker)

    @app.websocket("/talk")
    async def talk(socket: WebSocket):
        pytest.fail("it began")

    with (
        TestClient(app) as client,
        caplog.at_level(logging.WARNING, "entitlements"),
        pytest.raises(WebSocketDisconnect) as closed,
        client.websocket_connect("/talk", headers=headers),
    ):
        pytest.fail("it was accepted")
    assert (closed.value.code, closed.value.reason) == (1008, code)
    [record] = [record for record in caplog.records if record.name == "entitlements"]
    assert record.getMessage().startswith(f"refused a request ({code})")
    assert record.getMessage().isprintable()


def test_a_denial_that_any_application_lets_through_closes_a_connection_once(ent):
    @requires_feature("exports")
    async def denied(send): ...

    async def app(scope, receive, send):
        await receive()
        for kind in scope["path"].strip("/").split("/"):
            await send({"type": f"websocket.{kind}"})
        await denied(send)

    client = TestClient(Acting(app, ent, customer=lambda scope: "other"))
    with client.websocket_connect("/accept") as talking:
        assert talking.receive() == {"type": "websocket.close", "code": 1008, "reason": "not_in_plan"}
    with pytest.raises(EntitlementDenied), client.websocket_connect("/accept/close"):
        pytest.fail("it stayed open")


def test_gates_are_installed_before_an_application_starts(ent):
    app = FastAPI()
    with TestClient(app), pytest.raises(RuntimeError, match="install the gates before it does"):
        install(app, ent, customer=asker)
    with pytest.raises(RuntimeError, match="over HTTP, not by lifespan"), TestClient(Flags(ent, customer=asker)):
        pytest.fail("started")


def test_gates_are_installed_with_an_engine_and_a_function_that_names_the_customer(ent):
    app = FastAPI()
    with pytest.raises(TypeError, match="customer is of type str; pass a function that takes the request"):
        install(app, ent, customer="acme")
    for nothing in (None, "catalog.yaml", Entitlements):
        said = f"ent is of type {type(nothing).__name__}; pass an Entitlements or an AsyncEntitlements"
        with pytest.raises(TypeError, match=said):
            install(app, nothing, customer=asker)
    assert app.user_middleware == []


@pytest.mark.parametrize("made", [Acting, Flags])
def test_what_any_application_is_gated_with_is_checked_when_it_is_set_up(ent, made):
    def set_up(engine=ent, customer=asker, **more):
        return made(*([FastAPI()] if made is Acting else []), engine, customer=customer, **more)

    assert set_up()
    assert set_up(customer=aasker)
    with pytest.raises(TypeError, match="customer is of type str; pass a function that takes the ASGI scope and returns an"):
        set_up(customer="acme")
    for nothing in (None, "catalog.yaml", Entitlements):
        said = f"ent is of type {type(nothing).__name__}; pass an Entitlements or an AsyncEntitlements"
        with pytest.raises(TypeError, match=said):
            set_up(nothing)
    if made is Acting:
        with pytest.raises(TypeError, match="scoped is of type dict; pass a function that takes the ASGI scope and returns a"):
            set_up(scoped={"team": "x"})
        with pytest.raises(TypeError, match="scoped is a coroutine function, which nobody awaits here"):
            set_up(scoped=aasker)
        with pytest.raises(TypeError, match="app is of type .*Entitlements; pass the ASGI application, and then the engine"):
            Acting(ent, FastAPI(), customer=asker)


async def aasker(request):
    return asker(request)


def test_a_scope_that_nobody_can_ask_for_is_told_when_the_gates_are_installed(ent):
    with pytest.raises(TypeError, match="scoped is of type str; pass a function that takes the request and returns a scope"):
        install(FastAPI(), ent, customer=asker, scoped="team:x")


def test_a_customer_that_is_no_text_is_the_hosts_fault_and_not_the_requests(ent):
    app = FastAPI()
    install(app, ent, customer=lambda request: 42)
    said = "the function that names the customer of a request returned int; return text, or None"
    with pytest.raises(TypeError, match=said):
        TestClient(app).get("/")


def test_settings_are_flags_of_their_own_kind():
    catalog = {
        "features": {
            "ratio": {"type": "config", "value": "decimal", "prefer": "max"},
            "languages": {"type": "config", "value": "list"},
        },
        "plans": {"pro": {"entitlements": {"ratio": "0.5", "languages": ["de", "en"]}}},
        "default_plan": "free",
    }
    catalog["plans"]["free"] = {}
    with Entitlements(catalog, storage="memory:") as ent:
        ent.subscribe("acme", "pro")
        flags = {key: flag_of(ent.check("acme", key), ent.catalog) for key in catalog["features"]}
        assert [flag["value"] for flag in flags.values()] == [0.5, ["de", "en"]]
        assert "value" not in flag_of(ent.check("other", "ratio"), ent.catalog)
        assert flag_of(attrs.evolve(ent.check("acme", "ratio"), stale=True), ent.catalog)["reason"] == "STALE"


def test_a_storage_that_is_away_is_503(ent):
    app = FastAPI()
    install(app, ent, customer=asker)

    @app.get("/seats")
    @consumes("chat")
    async def seats(): ...

    with TestClient(app) as client:
        if isinstance(ent, Entitlements):
            ent.close()
        else:
            client.portal.call(ent.close)
        away = client.get("/seats", headers={"x-account": "acme"})
    assert (away.status_code, away.headers["retry-after"]) == (503, "1")
    assert away.json()["detail"] == "the answer cannot be given at the moment; try again"


# --- the example


def test_the_example_counts_locks_and_upgrades():
    with TestClient(create_app()) as client:
        client.get("/")
        assert client.get("/export").status_code == 402
        assert [client.post("/messages").status_code for _ in range(4)] == [200, 200, 200, 402]
        assert client.post("/pictures").status_code == 200
        snapshot = client.get("/entitlements/snapshot").json()
        assert (snapshot["features"]["messages"]["allowed"], snapshot["credits"]["ai"]["available"]) == (False, "7.50")
        client.post("/upgrade")
        assert client.get("/export").json()["said"].startswith("to,text")
        assert client.post("/messages").status_code == 200
