"""Pages as a person sees them, in headless Chromium: Prefect's of a run, and the monitor.

LOSDA_TEST_SCREENSHOTS names a folder that keeps the pictures.
"""

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tasks.ports import free_ports
from tests.browser import Browser, browser, chromium

if TYPE_CHECKING:
    from conftest import Tiny

pytestmark = pytest.mark.skipif(
    chromium() is None, reason="Chromium is not installed (or LOSDA_TEST_CHROMIUM names none)"
)
CYCLES = ("20010103T00", "20010103T06", "20010103T12")
PICTURES = "[...document.images].filter(i => i.src.startsWith('data:image/svg') && i.naturalWidth)"


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("chromium")) as tab:
        yield tab


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(os.environ.get("LOSDA_TEST_SCREENSHOTS") or tmp_path_factory.mktemp("pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def prefect(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Prefect's own server with its user interface, on loopback; yields its address."""
    port = free_ports(("server",))["server"]
    address = f"http://127.0.0.1:{port}"
    home = tmp_path_factory.mktemp("prefect")
    own = {
        "PREFECT_HOME": str(home),
        "PREFECT_UI_API_URL": f"{address}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    command = ["-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *command], env=environment | own, stdout=log, stderr=log
        )
        try:
            ended = time.monotonic() + 180
            while not answers(f"{address}/api/health"):
                assert process.poll() is None, (home / "server.log").read_text()[-2000:]
                assert time.monotonic() < ended, (home / "server.log").read_text()[-2000:]
                time.sleep(0.2)
            yield address
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=1):
            return True
    except (urllib.error.URLError, OSError):
        return False


def asked(address: str, body: dict[str, object]) -> list[dict[str, str]]:
    request = urllib.request.Request(
        address, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return list(json.loads(answer.read()))


@pytest.fixture(scope="module")
def run(
    prefect: str,
    environment: dict[str, str],
    tiny: "Tiny",
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path]:
    """A run that the server has seen: the number of its flow run, and its directory."""
    root = tmp_path_factory.mktemp("seen") / "e"
    command = ["from flows.cli import app; app()", "run", tiny.config, "--out", root]
    done = subprocess.run(
        [sys.executable, "-c", *map(str, command), "--no-report"],
        env=environment | {"PREFECT_API_URL": f"{prefect}/api"},
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (found,) = asked(f"{prefect}/api/flow_runs/filter", {"limit": 1})
    return found["id"], root


def test_prefect_shows_the_run_its_artifacts_and_pictures(
    seen: Browser, prefect: str, run: tuple[str, Path], pictures: Path
) -> None:
    seen.open(f"{prefect}/runs/flow-run/{run[0]}", 1400, 1100)
    for words in ("tiny-losda", "experiment:tiny", "method:losda", "Completed"):
        seen.wait(f"document.body.innerText.includes('{words}')")
    seen.wait(f"document.body.innerText.includes('verify-{CYCLES[0]}')")
    seen.click("Artifacts")
    for name in ("progress", "pages", "scores", "observations", "pictures", "means"):
        seen.wait(f"document.body.innerText.includes('tiny-{name}')")
    seen.screenshot(pictures / "run.png")
    own = {"artifacts": {"flow_run_id": {"any_": [run[0]]}}}
    found = {a["key"]: a["id"] for a in asked(f"{prefect}/api/artifacts/filter", own)}
    for name, words in (
        ("observations", "expected RMS"),
        ("scores", "analysis − background"),
        ("pages", "monitor.html"),
    ):
        seen.open(f"{prefect}/artifacts/artifact/{found[f'tiny-{name}']}", 1400, 900)
        seen.wait(f"document.body.innerText.includes('{words}')")
        seen.screenshot(pictures / f"{name}.png")
    seen.open(f"{prefect}/artifacts/artifact/{found['tiny-pictures']}", 1400, 1400)
    seen.wait(f"{PICTURES}.length === 2")
    assert seen.evaluate(f"{PICTURES}.every(i => i.clientWidth > 500)")
    seen.screenshot(pictures / "pictures.png")


@pytest.mark.parametrize("width", [1400, 400])
def test_the_monitor_is_drawn_without_asking_anybody(
    seen: Browser, run: tuple[str, Path], pictures: Path, width: int
) -> None:
    page = run[1] / "monitor.html"
    seen.open(page.as_uri(), width, 900)
    # one chart for each variable and all, the departures of each, counts, timings
    seen.wait("document.querySelectorAll('.chart canvas').length >= 3 + 2 + 2 + 1")
    assert seen.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    loaded = seen.evaluate("performance.getEntriesByType('resource').map(r => r.name)")
    assert not [name for name in loaded if not name.startswith("data:")]
    drawn = "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v)"
    assert seen.evaluate(f"[...document.querySelectorAll('.chart canvas')].every({drawn})")
    told = seen.evaluate("document.querySelector('#errors .told').textContent")
    assert re.search(r"2001-01-03 12 UTC · .*background [\d.]+ · analysis [\d.]+", told), told
    assert CYCLES[2] in seen.text() and "No failure, hold, rerun or alert." in seen.text()
    seen.screenshot(pictures / f"monitor-{width}.png", whole=True)
