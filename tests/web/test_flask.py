"""Flask: the example application, asked by its own test client."""

from itertools import chain

import pytest
from flask import Flask, Response, abort, request, stream_with_context

from entitlements import (
    AsyncEntitlements,
    Entitlements,
    acting_as,
    consumes,
    current_customer,
    gating,
    requires_feature,
)
from entitlements.web.flask import FlaskEntitlements
from entitlements.web.problem import Problems
from examples.flask_app.app import create_app

CATALOG = "examples/fastapi_app/catalog.yaml"


@pytest.fixture
def ent(catalog_file, clock):
    with Entitlements(catalog_file.parents[1] / CATALOG, storage="memory:", clock=clock) as ent:
        ent.subscribe("acme", "free")
        yield ent


@pytest.fixture
def client(ent):
    client = create_app(ent).test_client()
    client.post("/sign-in/acme")
    return client


def test_the_example_counts_and_locks(client, ent):
    assert client.post("/messages").text == "sent for acme"
    denied = client.get("/export")
    assert (denied.status_code, denied.content_type) == (402, "application/problem+json")
    assert denied.json["upgrade"] == ["plan:pro"]
    ent.change_plan("acme", "pro")
    assert client.get("/export").text == "to,text\n"
    assert current_customer() is None


def test_a_request_sent_again_is_done_once(client, ent):
    for status in (200, 409, 409):
        assert client.post("/messages", headers={"Idempotency-Key": "request-1"}).status_code == status
    assert ent.check("acme", "messages").used == 1
    assert client.post("/messages", headers={"Idempotency-Key": "k" * 256}).json["code"] == "invalid_key"


def test_the_front_end_reads_the_snapshot_and_flags(client):
    first = client.get("/entitlements/snapshot")
    assert first.json["features"]["messages"]["limit"] == 3
    assert client.get("/entitlements/snapshot", headers={"If-None-Match": first.headers["ETag"]}).status_code == 304
    flags = client.post("/entitlements/ofrep/v1/evaluate/flags", json={}).json["flags"]
    assert {flag["key"]: flag.get("value") for flag in flags} == {"exports": False, "messages": True, "history": 7}
    foreign = client.post("/entitlements/ofrep/v1/evaluate/flags", json={"context": {"targetingKey": "other"}})
    assert (foreign.status_code, foreign.json["code"]) == (403, "foreign_customer")
    large = client.post("/entitlements/ofrep/v1/evaluate/flags", data=b" " * 70_000)
    assert (large.status_code, large.json["code"]) == (413, "body_too_large")


def test_nobody_reads_nothing(ent):
    assert create_app(ent).test_client().get("/entitlements/snapshot").status_code == 401


def test_402_is_a_status_once_the_extension_is_there(ent):
    app = Flask(__name__)
    FlaskEntitlements(app, ent, customer=lambda: None)
    app.add_url_rule("/pay", view_func=lambda: abort(402))
    assert app.test_client().get("/pay").status_code == 402


def test_without_an_engine_and_the_setting_it_says_which_to_give():
    with pytest.raises(KeyError, match="config has no ENTITLEMENTS_CATALOG; set it to the path of the catalog, or pass"):
        FlaskEntitlements(Flask(__name__), customer=lambda: "acme")


def test_an_engine_is_opened_as_the_config_says():
    app = create_app()
    with app.extensions["entitlements"].ent as ent:
        ent.subscribe("acme", "pro")
        client = app.test_client()
        client.post("/sign-in/acme")
        assert client.get("/export").status_code == 200


def test_a_stream_with_context_acts_for_whom_its_request_was(ent):
    """Found in review: there was nobody in it."""
    app = Flask(__name__)
    FlaskEntitlements(app, ent, customer=lambda: request.headers.get("x-account"), scoped=lambda: {"team": "x"})
    sent = consumes("messages")(lambda: "sent")

    @app.get("/rows")
    def rows():
        def stream():
            yield f"{current_customer()},"
            present = gating.acting()
            yield f"{present.customer},{present.scope['team']},{present.key}," if present else "nobody,"
            if present:
                yield sent()

        return Response(stream_with_context(stream()))

    headers = {"x-account": "acme", "Idempotency-Key": "request-1"}
    assert app.test_client().get("/rows", headers=headers).text == "acme,acme,x,request-1,sent"
    assert current_customer() is None
    assert [line.key for line in ent.entries("acme") if line.kind == "reserved"] == ["request-1:consume:messages"]
    assert app.test_client().get("/rows").text == "None,nobody,"
    left = app.test_client().get("/rows", headers=headers, buffered=False)
    assert next(left.response) == b"acme,"
    left.close()
    assert current_customer() is None
    with app.test_client() as kept:
        assert kept.get("/rows", headers=headers).status_code == 200
        assert current_customer() == "acme"
    assert current_customer() is None


@pytest.mark.parametrize(("inner", "seen"), [("beta", "beta"), (" bad", "400")])
def test_a_request_within_a_request_is_answered_for_its_own_customer(ent, inner, seen):
    """The two share the application's context; so they do where a test puts one around several."""
    app = Flask(__name__)
    FlaskEntitlements(app, ent, customer=lambda: request.headers.get("x-account"))

    def ask(path, account):
        answer = app.test_client().get(path, headers={"x-account": account} if account else {})
        return answer.text if answer.status_code == 200 else str(answer.status_code)

    @app.get("/who")
    def who():
        return str(current_customer())

    @app.get("/batch")
    def batch():
        def stream():
            yield f",{current_customer()}"

        answers = [ask("/who", inner), str(current_customer())]
        return Response(stream_with_context(chain([",".join(answers)], stream())))

    assert ask("/batch", "acme") == f"{seen},acme,acme"
    with app.app_context():
        assert ask("/batch", "acme") == f"{seen},acme,acme"
        assert ask("/batch", None).endswith("None,None")
        assert [ask("/who", account) for account in ("acme", None, "beta")] == ["acme", "None", "beta"]
    assert current_customer() is None


def test_a_stream_is_charged_when_it_is_done(ent):
    app = Flask(__name__)
    FlaskEntitlements(app, ent, customer=lambda: "acme", problems=Problems(status=lambda decision: 418))

    @app.get("/rows")
    def rows():
        @consumes("messages")
        def stream():
            yield "1,"
            yield str(ent.check("acme", "messages").used)

        return Response(stream_with_context(stream()))

    @app.get("/export")
    @requires_feature("exports")
    def export(): ...

    assert app.test_client().get("/rows").text == "1,1"
    assert app.test_client().get("/export").status_code == 418
    with acting_as("acme", engine=ent):
        assert ent.check("acme", "messages").used == 1


async def awaited():
    return "acme"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"customer": "acme"}, "customer is of type str; pass a function that takes nothing and returns an id, or None for"),
        ({"customer": None}, "customer is of type NoneType; pass a function"),
        ({"customer": awaited}, "customer is a coroutine function, which nobody awaits here; pass a function"),
        ({"scoped": "team:x"}, "scoped is of type str; pass a function that takes nothing and returns a scope, or None"),
        ({"ent": "catalog.yaml"}, "ent is of type str; pass an Entitlements"),
        ({"ent": Entitlements}, "ent is of type type; pass an Entitlements"),
        ({"app": "shop"}, "app is of type str; pass the Flask application, and then the engine"),
    ],
)
def test_what_the_extension_is_set_up_with_is_checked_then(ent, wrong, said):
    told = {"app": Flask(__name__), "ent": ent, "customer": lambda: "acme", **wrong}
    with pytest.raises(TypeError, match=said):
        FlaskEntitlements(**told)
    assert told["app"] == "shop" or told["app"].extensions == {}


def test_an_engine_whose_verbs_are_awaited_is_none_for_flask(catalog_file):
    awaited_engine = AsyncEntitlements(catalog_file.parents[1] / CATALOG, storage="memory:")
    with pytest.raises(TypeError, match="ent is of type AsyncEntitlements; pass an Entitlements"):
        FlaskEntitlements(Flask(__name__), awaited_engine, customer=lambda: "acme")


def test_a_customer_that_is_no_text_is_the_hosts_fault_and_not_the_requests(ent):
    app = Flask(__name__)
    app.testing = True
    FlaskEntitlements(app, ent, customer=lambda: 42)
    with pytest.raises(TypeError, match="customer of a request returned int; return text, or None"):
        app.test_client().get("/")


def test_each_of_several_applications_is_gated_by_its_own_engine(ent):
    """An extension may be made once for all applications of a process; what one sells, another may not."""
    gates = FlaskEntitlements(customer=lambda: "acme", flags="/entitlements")
    apps = [Flask("first"), Flask("second")]
    with Entitlements(ent.catalog, storage="memory:") as other:
        other.subscribe("acme", "pro")
        for app, engine in zip(apps, (ent, other), strict=True):
            app.get("/export")(requires_feature("exports")(lambda: "exported"))
            gates.init_app(app, engine)
        answers = [app.test_client().get("/export").status_code for app in apps]
        shown = [app.test_client().get("/entitlements/snapshot").json["features"]["exports"] for app in apps]
    assert answers == [402, 200]
    assert [feature["allowed"] for feature in shown] == [False, True]
