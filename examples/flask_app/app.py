"""The smallest Flask application with plans: `flask --app examples.flask_app.app run`. It keeps nothing."""

from __future__ import annotations

import secrets
from pathlib import Path

from flask import Flask, session

from entitlements import Entitlements, consumes, current_customer, requires_feature
from entitlements.web.flask import FlaskEntitlements


def create_app(ent: Entitlements | None = None) -> Flask:
    app = Flask(__name__)
    app.secret_key = secrets.token_hex()
    app.config["ENTITLEMENTS_CATALOG"] = Path(__file__).parents[1] / "fastapi_app" / "catalog.yaml"
    app.config["ENTITLEMENTS_STORAGE"] = "memory:"
    gates = FlaskEntitlements(customer=lambda: session.get("account"), flags="/entitlements")
    gates.init_app(app, ent)

    @app.post("/sign-in/<account>")
    def sign_in(account: str) -> str:
        """Believe anybody; a real product asks for a password."""
        session["account"] = account
        return f"hello {account}"

    @app.post("/messages")
    @consumes("messages")
    def send_message() -> str:
        return f"sent for {current_customer()}"

    @app.get("/export")
    @requires_feature("exports")
    async def export() -> str:
        return "to,text\n"

    return app
