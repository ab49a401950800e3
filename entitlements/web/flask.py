"""Flask: an extension that acts for the customer of each request, and turns denials into responses.

    gates = FlaskEntitlements(customer=lambda: session.get("account"), flags="/entitlements")
    gates.init_app(app, ent)

    @app.get("/export")
    @requires_feature("exports")
    def export(): ...

Without an engine it opens one from ENTITLEMENTS_CATALOG and ENTITLEMENTS_STORAGE of the app's config.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Final

from flask import Blueprint, Flask, Response, appcontext_pushed, g, request
from werkzeug.exceptions import HTTPException

from ..engine import Entitlements
from ..gating import acting_as
from .asking import LARGEST, check_askers, check_engine, check_size, customer_named, key_named
from .flags import Reply, question, reply
from .problem import ANSWERED, Problems

NAME: Final = "entitlements"
_ACTING: Final = "_entitlements_acting"
_AGAIN: Final = "_entitlements_again"
_UNDER_WAY: Final = "_entitlements_under_way"


class PaymentRequired(HTTPException):
    """402, which Werkzeug has no class for; `abort(402)` raises it once the extension is there."""

    code = 402
    description = "Another plan, an add-on or more credits would allow it."


class FlaskEntitlements:
    """Gates for a Flask application; it is found again as `app.extensions["entitlements"]`.

    `customer` is called in the context of each request and returns an id, or None for nobody; `scoped`
    a scope below it. `flags` is where the front end asks for its snapshot and flags. Raises TypeError for
    functions that are none, an `app` that is no Flask and an `ent` that is no engine whose verbs block.
    """

    def __init__(
        self,
        app: Flask | None = None,
        ent: Entitlements | None = None,
        *,
        customer: Callable[[], str | None],
        scoped: Callable[[], object] | None = None,
        problems: Problems | None = None,
        flags: str | None = None,
    ) -> None:
        check_askers(customer, scoped, takes="nothing")
        self.customer, self.scoped, self.problems, self.flags = customer, scoped, problems or Problems(), flags
        if app is not None:
            self.init_app(app, ent)

    def init_app(self, app: Flask, ent: Entitlements | None = None) -> None:
        """Gate an application; raises KeyError where there is neither an engine nor ENTITLEMENTS_CATALOG.

        Several applications may be gated, each by its own engine; `ent` is that of the last.
        """
        if not isinstance(app, Flask):
            raise TypeError(f"app is of type {type(app).__name__}; pass the Flask application, and then the engine")
        if ent is not None:
            check_engine(ent, Entitlements)
        engine = self.ent = ent if ent is not None else _opened(app)
        app.extensions[NAME] = self
        app.aborter.mapping[402] = PaymentRequired
        app.before_request(partial(self._begin, engine))
        app.teardown_request(_end)
        appcontext_pushed.connect(_act, app)
        for kind in ANSWERED:
            app.register_error_handler(kind, self._answered)
        if self.flags is not None:
            app.register_blueprint(self._blueprint(engine), url_prefix=self.flags)

    def _begin(self, ent: Entitlements) -> None:
        acting, again = ExitStack(), None
        customer = customer_named(self.customer())
        if customer is not None:
            key = key_named(request.headers.get("Idempotency-Key"))
            below = self.scoped() if self.scoped is not None else None
            again = partial(acting_as, customer, scope=below, key=key, engine=ent, once=True)
            acting.enter_context(again())
        acting.callback(setattr, g, _AGAIN, g.get(_AGAIN) if g.get(_UNDER_WAY) else again)
        acting.callback(setattr, g, _UNDER_WAY, g.get(_UNDER_WAY, False))
        setattr(g, _AGAIN, again)
        setattr(g, _UNDER_WAY, True)
        request.environ[_ACTING] = acting

    def _answered(self, error: Exception) -> Response:
        problem = self.problems.of(error)
        if problem is None:
            raise error
        return Response(problem.body, problem.status, problem.all_headers)

    def _blueprint(self, ent: Entitlements) -> Blueprint:
        pages = Blueprint(NAME, __name__)
        methods = ["GET", "HEAD", "POST"]
        pages.add_url_rule("/<path:path>", "flags", partial(self._front, ent), methods=methods)
        return pages

    def _front(self, ent: Entitlements, path: str) -> Response:
        customer = customer_named(self.customer())
        check_size(request.content_length)
        known = request.headers.get("If-None-Match")
        asked = question(request.method, f"/{path}", customer, request.stream.read(LARGEST + 1), known)
        return _sent(reply(asked, ent.snapshot(customer or ""), ent.catalog))


def _opened(app: Flask) -> Entitlements:
    if app.config.get("ENTITLEMENTS_CATALOG") is None:
        said = "set it to the path of the catalog, or pass an engine as ent"
        raise KeyError(f"the app's config has no ENTITLEMENTS_CATALOG; {said}")
    return Entitlements(app.config["ENTITLEMENTS_CATALOG"], storage=app.config.get("ENTITLEMENTS_STORAGE"))


def _act(_app: object) -> None:
    """Act for whom the request was, where `stream_with_context` takes its context up after its end."""
    again = g.get(_AGAIN)
    if again is not None and not g.get(_UNDER_WAY) and _ACTING not in g:
        stack = ExitStack()
        stack.enter_context(again())
        setattr(g, _ACTING, stack)


def _end(_error: BaseException | None) -> None:
    """Act no longer; a request within a request has the context of the outer one, which goes on acting as it did."""
    stack: ExitStack | None = request.environ.pop(_ACTING, None) or g.pop(_ACTING, None)
    if stack is not None:
        stack.close()


def _sent(answer: Reply) -> Response:
    return Response(answer.body, answer.status, dict(answer.headers))
