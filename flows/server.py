"""A Prefect API for as long as a run lasts, where no other is configured.

The parent opens the socket, so the port is taken before the server is up and the first request waits for it.
The server ends when its standard input does: also when the parent dies of kill -9. Run as a script, this
module is that server. It records in PREFECT_HOME, where `prefect server start` shows the runs later.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import tomllib
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import IO

QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
}
"""Environment of every process; the user's own settings win."""

LEAN = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    **{
        f"PREFECT_SERVER_SERVICES_{service}_ENABLED": "false"
        for service in (
            "CANCELLATION_CLEANUP",
            "EVENT_LOGGER",
            "FOREMAN",
            "LATE_RUNS",
            "PAUSE_EXPIRATIONS",
            "SCHEDULER",
            "TRIGGERS",
        )
    },
}
"""Environment of the server: no user interface, nothing that schedules."""


@dataclass
class PrefectApi:
    """The API that this process talks to; `process` is empty where it is someone else's."""

    url: str
    process: subprocess.Popen[bytes] | None = None

    def wait(self, seconds: float = 120) -> None:
        """Return when the API answers.

        Raises:
            ConnectionError: It does not.
        """
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=seconds):
                return
        except (urllib.error.URLError, OSError) as error:
            raise ConnectionError(f"the Prefect API at {self.url} does not answer: {error}") from None

    def stop(self) -> None:
        """End the server, if it is ours."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def start() -> PrefectApi:
    """Choose the configured API, or begin to start one; return at once."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    url = configured_api()
    if url:
        return PrefectApi(url)
    api = _spawn()
    os.environ["PREFECT_API_URL"] = api.url
    return api


def configured_api() -> str | None:
    """Return the API's address from the environment or the active Prefect profile."""
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    profiles = home / "profiles.toml"
    if os.environ.get("PREFECT_API_URL") or not profiles.is_file():
        return os.environ.get("PREFECT_API_URL")
    content = tomllib.loads(profiles.read_text())
    active = os.environ.get("PREFECT_PROFILE", content.get("active", ""))
    url = content.get("profiles", {}).get(active, {}).get("PREFECT_API_URL")
    return str(url) if url else None


def _spawn() -> PrefectApi:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        port, descriptor = listener.getsockname()[1], listener.fileno()
        process = subprocess.Popen(
            [sys.executable, "-P", __file__, str(descriptor)],
            env=os.environ | LEAN,
            pass_fds=[descriptor],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    return PrefectApi(f"http://127.0.0.1:{port}/api", process)


def _end_with(stream: IO[str]) -> None:
    stream.read()
    os.kill(os.getpid(), signal.SIGTERM)


def _serve(descriptor: int) -> None:
    import uvicorn

    threading.Thread(target=_end_with, args=(sys.stdin,), daemon=True).start()
    configuration = uvicorn.Config(
        "prefect.server.api.server:create_app", factory=True, log_level="error", lifespan="on"
    )
    uvicorn.Server(configuration).run(sockets=[socket.socket(fileno=descriptor)])


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
