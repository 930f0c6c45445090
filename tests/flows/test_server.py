import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flows import server

STARTER = """
import os, signal
from flows import server
api = server.start()
print(api.process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""

FAKE = """
import http.server, socket, sys
class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
taken = socket.socket(fileno=int(sys.argv[1]))
fake = http.server.HTTPServer(taken.getsockname(), Healthy, bind_and_activate=False)
fake.socket = taken
fake.serve_forever()
"""


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{process}/stat").read_text().split()[2]


def test_the_server_ends_with_a_killed_parent(environment: dict[str, str]) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", STARTER], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert parent.wait() == -signal.SIGKILL
    ended = time.monotonic() + 20
    while is_alive(child) and time.monotonic() < ended:
        time.sleep(0.1)
    assert not is_alive(child)
    parent.stdout.close()


def test_a_configured_api_is_used_and_none_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert server.configured_api() is None
    profile = '[profiles.work]\nPREFECT_API_URL = "http://there/api"\n'
    (tmp_path / "profiles.toml").write_text(f'active = "work"\n{profile}')
    assert server.start() == server.PrefectApi("http://there/api")
    monkeypatch.setenv("PREFECT_API_URL", "http://here/api")
    assert server.start() == server.PrefectApi("http://here/api")


def test_an_api_that_does_not_answer_is_a_connection_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "OTHER_SECONDS", 0.1)
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1:9/api does not answer"):
        server.PrefectApi("http://127.0.0.1:9/api").wait()


def test_a_server_that_dies_at_its_start_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fake.py").write_text(FAKE)
    monkeypatch.setattr(server, "__file__", str(tmp_path / "fake.py"))
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_API_URL", "")
    api = server.start()
    assert api.process is not None
    first = api.process.pid
    api.process.kill()
    api.wait()
    assert api.process.pid != first
    assert os.environ["PREFECT_API_URL"] == api.url
    api.stop()
    assert not is_alive(api.process.pid)


def test_those_who_write_at_the_same_time_wait_for_each_other(api: server.PrefectApi) -> None:
    import httpx

    with httpx.Client(base_url=api.url, timeout=60) as client:
        flow = client.post("/flows/", json={"name": "many"}).json()["id"]

        def write(number: int) -> list[int]:
            found = []
            for _ in range(15):
                made = client.post("/flow_runs/", json={"flow_id": flow, "name": str(number)})
                found.append(made.status_code)
                artifact = {"key": f"many-{number}", "type": "markdown", "data": "x"}
                found.append(client.post("/artifacts/", json=artifact).status_code)
            return found

        with ThreadPoolExecutor(6) as pool:
            codes = [code for found in pool.map(write, range(6)) for code in found]
    assert set(codes) == {201}
