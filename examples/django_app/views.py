"""Views of both kinds, behind gates."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from entitlements import consumes, current_customer
from entitlements.web.django.views import requires_feature


def customer_of(request: HttpRequest) -> str | None:
    account: str | None = request.session.get("account")
    return account


def sign_in(request: HttpRequest, account: str) -> HttpResponse:
    """Believe anybody; a real product asks for a password."""
    request.session["account"] = account
    return HttpResponse(f"hello {account}")


@consumes("messages")
def send_message(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"sent for {current_customer()}")


@consumes("messages")
async def send_slowly(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"sent for {current_customer()}")


@requires_feature("exports")
def export(request: HttpRequest) -> HttpResponse:
    return HttpResponse("to,text\n")


@requires_feature("exports")
async def export_slowly(request: HttpRequest) -> HttpResponse:
    return HttpResponse("to,text\n")
