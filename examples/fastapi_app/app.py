"""A small product: messages that are counted, pictures that cost credits, an export that needs a plan.

Run it with `uvicorn --factory examples.fastapi_app.app:create_app` and open the page. It keeps nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import FileResponse
from starlette.middleware.sessions import SessionMiddleware

from entitlements import AsyncEntitlements, Decision, consumes, consumes_credits, current_customer, current_hold
from entitlements.web.fastapi import RESPONSES, Requires, install

HERE = Path(__file__).parent


def create_app() -> FastAPI:
    engine = AsyncEntitlements(HERE / "catalog.yaml", storage="memory:")

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with engine:
            yield

    app = FastAPI(title="Pigeon", lifespan=lifespan, responses=RESPONSES)
    install(app, engine, customer=lambda request: request.session.get("account"), flags="/entitlements")
    app.add_middleware(SessionMiddleware, secret_key=secrets.token_hex())
    app.include_router(work)
    return app


work = APIRouter()


@work.get("/", include_in_schema=False)
async def page(request: Request) -> FileResponse:
    """Everybody who comes gets an account on the free plan; a real product has people sign in."""
    if "account" not in request.session:
        account = request.session["account"] = f"visitor-{secrets.token_hex(4)}"
        engine: AsyncEntitlements = request.app.state.entitlements
        await engine.subscribe(account, "free")
        await engine.grant_credits(account, "ai", 10, key="welcome", category="promotional")
    return FileResponse(HERE / "page.html")


@work.post("/messages")
@consumes("messages")
async def send_message() -> dict[str, str]:
    return {"said": "Your pigeon is on its way."}


@work.post("/pictures")
@consumes_credits("ai", amount=4)
async def paint() -> dict[str, str]:
    hold = current_hold()
    if hold is not None:
        hold.report("2.50")  # it was a small picture
    return {"said": "A small picture, for 2.50 credits of the 4 set aside."}


@work.get("/export")
async def export(decision: Annotated[Decision, Requires("exports")]) -> dict[str, str]:
    return {"said": "to,text\nann,hello\n", "because": decision.reason}


@work.post("/upgrade")
async def upgrade(request: Request) -> dict[str, str]:
    """Change the plan; a real product takes the money first."""
    engine: AsyncEntitlements = request.app.state.entitlements
    await engine.change_plan(current_customer() or "", "pro")
    return {"said": "Welcome to Pro."}
