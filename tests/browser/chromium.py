"""A browser to test pages with: chromium, headless, told what to do over a pipe by its own protocol."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

QUIET = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--window-size=900,900", "--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--remote-debugging-pipe",
]  # fmt: skip


class Page:
    """One page of one browser, closed with it."""

    def __init__(self, profile: Path) -> None:
        found = shutil.which("chromium")
        if found is None:
            raise FileNotFoundError("no chromium; install Debian's package, as make browser does")
        (theirs, ours), (answers, told) = os.pipe(), os.pipe()
        script = f'exec "$0" "$@" 3<&{theirs} 4>&{told}'
        command = ["bash", "-c", script, found, *QUIET, f"--user-data-dir={profile}"]
        self.browser = subprocess.Popen(command, pass_fds=(theirs, told), stderr=subprocess.DEVNULL)
        os.close(theirs)
        os.close(told)
        self._out, self._in = os.fdopen(ours, "wb", buffering=0), os.fdopen(answers, "rb", buffering=0)
        self._numbers, self._rest, self._session = count(1), b"", None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.ask("Page.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._out.close()
        self._in.close()
        self.browser.terminate()
        self.browser.wait(20)

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return the answer to one command; raises RuntimeError for one that failed."""
        number = next(self._numbers)
        told = {"id": number, "method": method, "params": parameters}
        told |= {"sessionId": self._session} if self._session else {}
        self._out.write(json.dumps(told).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def evaluate(self, script: str) -> Any:
        """Return what a script, or the promise it makes, comes to; raises RuntimeError where it throws."""
        said = self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in said:
            raise RuntimeError(said["exceptionDetails"])
        return said["result"].get("value")

    def open(self, address: str) -> None:
        """Go to a page."""
        self.ask("Page.navigate", url=address)

    def wait_for(self, condition: str, *, seconds: int = 20) -> None:
        """Wait until a condition is true on the page, looked at whenever the page is drawn."""
        script = f"""new Promise((resolve, reject) => {{
            const end = performance.now() + {seconds * 1000}
            const look = () => {{
                let met = false
                try {{ met = {condition} }} catch (error) {{ }}
                if (met) return resolve(true)
                if (performance.now() > end) return reject(new Error(document.body.innerText))
                requestAnimationFrame(look)
            }}
            look()
        }})"""
        self.evaluate(script)

    def text(self, selector: str) -> str:
        """Return what an element shows."""
        said: str = self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")
        return said

    def click(self, selector: str) -> None:
        """Click into the middle of an element, as a person does; a disabled one does nothing."""
        script = f"""(() => {{ const element = document.querySelector({json.dumps(selector)})
            element.scrollIntoView({{block: "center"}})
            const box = element.getBoundingClientRect()
            return [box.x + box.width / 2, box.y + box.height / 2] }})()"""
        x, y = self.evaluate(script)
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def picture(self, path: Path) -> None:
        """Write a picture of the page."""
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot")["data"]))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            chunk = self._in.read(65_536)
            if not chunk:
                raise RuntimeError("the browser has ended")
            self._rest += chunk
        told, _, self._rest = self._rest.partition(b"\0")
        said: dict[str, Any] = json.loads(told)
        return said
