"""The example's page in a real browser: what it shows, and what the back end says, change together."""

import asyncio
import os
import socket
import threading
from pathlib import Path

import pytest
import uvicorn

from entitlements.aio.beside import blocking
from examples.fastapi_app.app import create_app
from tests.browser.chromium import Page


@pytest.fixture
def app():
    return create_app()


@pytest.fixture
def address(app):
    """Where the application is served, on this machine alone."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
    serving = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
    serving.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    server.should_exit = True
    serving.join(30)
    listening.close()


@pytest.fixture
def page(address, tmp_path):
    with Page(tmp_path / "profile") as page:
        page.open(address)
        page.wait_for("document.body.dataset.drawn")
        yield page


@pytest.fixture
def ent(app):
    """The back end's own engine, asked from this side."""
    return blocking(app.state.entitlements)


def customer_of(ent):
    [customer] = [name for name in ent._storage.customers() if not name.startswith("$")]
    return customer


def press(page, selector):
    before = page.evaluate("document.body.dataset.drawn")
    page.click(selector)
    page.wait_for(f"document.body.dataset.drawn !== {before!r}")


def keep_picture(page, name):
    if directory := os.environ.get("ENTITLEMENTS_TEST_PICTURES"):
        page.picture(Path(directory) / f"{name}.png")


def test_a_feature_is_used_up_and_unlocked_on_the_page_and_in_the_back_end_together(page, ent):
    customer = customer_of(ent)
    assert page.text("#used") == "0 of 3 used"
    assert page.text("#lock").endswith("locked")
    assert page.evaluate("document.querySelector('#exports button').disabled")
    keep_picture(page, "new")

    for used in (1, 2, 3):
        press(page, "#messages button")
        assert page.text("#used") == f"{used} of 3 used"
        assert ent.check(customer, "messages").used == used
    assert not ent.check(customer, "messages")
    assert page.evaluate("document.querySelector('#messages button').disabled")
    assert page.text("#resets").startswith("Used up. Starts again")
    assert "messages and exports" in page.text("#offer")
    assert page.evaluate("fetch('/messages', {method: 'POST'}).then(answer => answer.status)") == 402
    keep_picture(page, "used-up")

    press(page, "#prompt button")
    assert ent.check(customer, "messages")
    assert ent.check(customer, "exports")
    assert page.text("#used") == "3 of 50 used"
    assert page.text("#lock") == "Export"
    assert page.text("#history") == "365 days"
    assert not page.evaluate("document.querySelector('#prompt').checkVisibility()")
    page.click("#exports button")
    page.wait_for("document.getElementById('said').innerText.startsWith('to,text')")
    keep_picture(page, "upgraded")


def test_credits_are_drawn_as_they_are_charged(page, ent):
    customer = customer_of(ent)
    assert page.text("#balance") == "10 left"
    for left in ("7.5", "5", "2.5"):
        press(page, "#credits button")
        assert page.text("#balance") == f"{left} left"
        assert ent.balance(customer, "ai").available == pytest.approx(type(ent.balance(customer, "ai").available)(left))
    assert page.evaluate("document.querySelector('#credits button').disabled")
    assert page.evaluate("fetch('/pictures', {method: 'POST'}).then(answer => answer.status)") == 402


def test_what_happens_elsewhere_shows_when_the_page_looks_again(page, ent):
    ent.consume(customer_of(ent), "messages", 2)
    page.evaluate("refresh()")
    assert page.text("#used") == "2 of 3 used"
