"""A Prefect API for as long as a run lasts, where no other is configured.

The parent opens the socket, so the port is known before the server is up and a request waits for
it. The server ends when its standard input does: also when the parent dies of kill -9.
Run as a script, this module is that server. It records in PREFECT_HOME, where `prefect server
start` shows the runs later.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

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


OWN_SECONDS, OTHER_SECONDS = 180.0, 15.0
"""How long to wait for a server that has just been started, and for one that should be there."""


@dataclass
class PrefectApi:
    """The API that this process talks to; without `listener` it is someone else's."""

    url: str
    listener: socket.socket | None = None
    process: subprocess.Popen[bytes] | None = None
    log: IO[bytes] | None = None

    def spawn(self) -> None:
        """Start a server on the listener."""
        if self.listener is None:
            return
        descriptor, self.log = self.listener.fileno(), tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-P", __file__, str(descriptor)],
            env=os.environ | LEAN,
            pass_fds=[descriptor],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self.log,
            start_new_session=True,
        )

    def wait(self, restarts: int = 2) -> None:
        """Return when the API answers.

        A server that ends is started again: two that make the same new database at the same time
        get in each other's way.

        Raises:
            ConnectionError: It does not answer.
        """
        ended = time.monotonic() + (OWN_SECONDS if self.listener else OTHER_SECONDS)
        while not self._answers() and time.monotonic() < ended:
            time.sleep(0.05)
            if self.process is not None and self.process.poll() is not None:
                if not restarts:
                    break
                restarts -= 1
                self.spawn()
        if not self._answers():
            raise ConnectionError(f"the Prefect API at {self.url} does not answer {self._why()}")
        if self.listener is not None:
            self.listener.close()

    def stop(self) -> None:
        """End the server, if it is ours, when the last records of the flow's log have reached it."""
        if self.process is not None:
            handlers = sys.modules.get("prefect.logging.handlers")
            if handlers is not None and self.process.poll() is None:
                handlers.APILogHandler().flush()
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=1.0):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def _why(self) -> str:
        """Return the last line that the server wrote."""
        if self.log is None:
            return "(PREFECT_API_URL)"
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        return f"({lines[-1]})" if lines else ""


def start() -> PrefectApi:
    """Choose the configured API, or begin to start one; return at once."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    url = configured_api()
    if url:
        return PrefectApi(url)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    api = PrefectApi(f"http://127.0.0.1:{listener.getsockname()[1]}/api", listener)
    api.spawn()
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


def _end_with(stream: IO[str]) -> None:
    stream.read()
    os.kill(os.getpid(), signal.SIGTERM)


def _write_in_turn() -> None:
    """Let transactions of SQLite wait for each other instead of failing.

    One that reads before it writes fails at once where another wrote in between; the server then
    answers 503, and the client tries again after 2, 4, 8 … seconds. One that takes the lock when it
    begins waits for the other some milliseconds.
    """
    from prefect.server.database.configurations import AioSqliteConfiguration

    begin = AioSqliteConfiguration.begin_transaction
    AioSqliteConfiguration.begin_transaction = lambda self, session, with_for_update=False: begin(  # type: ignore[method-assign]
        self, session, with_for_update=True
    )


def create_app() -> "FastAPI":
    """Return Prefect's server, with SQLite's transactions in turn.

    For `uvicorn --factory flows.server:create_app`; on PostgreSQL it is Prefect's own.
    """
    _write_in_turn()
    from prefect.server.api import server

    return server.create_app()


def _serve(descriptor: int) -> None:
    threading.Thread(target=_end_with, args=(sys.stdin,), daemon=True).start()
    import uvicorn

    configuration = uvicorn.Config(create_app, factory=True, log_level="error", lifespan="on")
    uvicorn.Server(configuration).run(sockets=[socket.socket(fileno=descriptor)])


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
