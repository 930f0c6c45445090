"""Headless Chromium for tests: open a page, wait for something in it, look at it, take a picture.

Spoken to over the DevTools protocol (https://chromedevtools.github.io/devtools-protocol/) with the
`websockets` that Prefect brings, as the pages are filled by scripts long after they are loaded.
"""

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def chromium() -> str | None:
    """Return the path of the browser, if there is one."""
    found = os.environ.get("LOSDA_TEST_CHROMIUM") or next(
        filter(None, map(shutil.which, NAMES)), None
    )
    return found


@dataclass
class Browser:
    """A tab of a headless browser."""

    socket: ClientConnection
    number: int = 0

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Send a command and return its result."""
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv(timeout=60))
            if message.get("id") == self.number:
                assert "error" not in message, (method, message["error"])
                return dict(message["result"])

    def open(self, address: str, width: int = 1280, height: int = 900) -> None:
        """Go to a page in a window of some size."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **metrics)
        self.call("Page.enable")
        self.call("Page.navigate", url=address)

    def evaluate(self, expression: str) -> Any:  # noqa: ANN401
        """Return the value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, expression: str, seconds: float = 30) -> Any:  # noqa: ANN401
        """Wait until a JavaScript expression is true of the page and return its value."""
        ended = time.monotonic() + seconds
        while not (value := self.evaluate(f"document.body && ({expression})")):
            text = self.text()
            assert time.monotonic() < ended, f"{expression} is never true of:\n{text[:3000]}"
            time.sleep(0.1)
        return value

    def click(self, words: str) -> None:
        """Click on the innermost element that shows just these words."""
        same = f"e => !e.children.length && e.textContent.trim() === {json.dumps(words)}"
        self.wait(f"[...document.querySelectorAll('*')].some({same})")
        self.evaluate(f"[...document.querySelectorAll('*')].find({same}).click()")

    def text(self) -> str:
        """Return the text of the page."""
        return str(self.evaluate("document.body ? document.body.innerText : ''"))

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """Write a picture of the window, or of the whole page, as PNG."""
        found = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Start a browser that keeps its files in a folder; it ends with the block."""
    command = [
        *(str(chromium()), "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
        *("--remote-debugging-port=0", f"--user-data-dir={folder}", "--disable-dev-shm-usage"),
        *("--no-first-run", "--disable-extensions", "--disable-background-networking"),
        "about:blank",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port = _port(folder / "DevToolsActivePort", process)
        pages = httpx.get(f"http://127.0.0.1:{port}/json", trust_env=False).json()
        page = next(page for page in pages if page["type"] == "page")
        with connect(page["webSocketDebuggerUrl"], max_size=None, proxy=None) as socket:
            yield Browser(socket)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _port(path: Path, process: "subprocess.Popen[bytes]", seconds: float = 60) -> int:
    ended = time.monotonic() + seconds
    while time.monotonic() < ended:
        if path.exists() and path.read_text().count("\n"):
            return int(path.read_text().splitlines()[0])
        assert process.poll() is None, "the browser ended"
        time.sleep(0.05)
    raise AssertionError("the browser does not answer")
