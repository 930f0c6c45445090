"""`losda up` as a process, and what is to be known of it from outside: its answers, its processes."""

import base64
import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["LOSDA", "Process", "RunningServices"]

LOSDA = (sys.executable, "-c", "from flows.cli import app; app()")
PATIENCE = 600.0


@dataclass(frozen=True)
class Process:
    """A process below `losda up`.

    Attributes:
        number: Its number.
        parent: That of its parent.
        command: Its command line.
        environment: Its environment.
    """

    number: int
    parent: int
    command: str
    environment: Mapping[str, str] = field(repr=False)

    @property
    def flow(self) -> str:
        """The name of the flow of which it is a run; nothing if it is none."""
        return self.environment.get("PREFECT__FLOW_NAME", "")

    @property
    def run(self) -> str:
        """The id of that run."""
        return self.environment.get("PREFECT__FLOW_RUN_ID", "")


class RunningServices:
    """Services of one folder, started, and how to talk to them."""

    def __init__(
        self, folder: Path, environment: Mapping[str, str], port: int, database: str, *more: str
    ) -> None:
        """Start them and wait until they answer.

        Args:
            folder: Files of the services; what they write to standard error is beside it.
            environment: The environment of `losda up`.
            port: Of the Prefect server.
            database: `sqlite` or `postgresql`.
            more: Further arguments of `losda up`.
        """
        self.folder, self.port, self.inherited = folder, port, dict(environment)
        self.command = (*LOSDA, "up", str(folder), "--port", str(port), "--database", database)
        self.command += (*more, "--json")
        self.start()

    def start(self) -> None:
        """Start them, again if they were killed; a port may be taken a moment longer.

        Raises:
            RuntimeError: They do not start.
        """
        ended = time.monotonic() + PATIENCE
        while not (document := self._spawn()):
            if time.monotonic() > ended:
                raise RuntimeError(self._errors().read_text())
            time.sleep(1)
        self.document = json.loads(document)
        lines = (self.folder / "environment").read_text().splitlines()
        self.secrets = dict(line.split("=", 1) for line in lines)
        self.environment = self.inherited | self.secrets

    def stop(self) -> int:
        """End them; return the exit code."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120)

    def _spawn(self) -> str:
        with self._errors().open("ab") as errors:
            self.process = subprocess.Popen(
                self.command, env=self.inherited, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        assert self.process.stdout is not None
        lines = ""
        while line := self.process.stdout.readline():
            lines += line
            if lines.endswith("\n}\n"):
                return lines
        self.process.wait()
        return ""

    def _errors(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.err")

    def ask(self, path: str, body: object = None, password: str | None = None) -> Any:  # noqa: ANN401
        """Ask the Prefect API."""
        account = f"losda:{password or self.secrets['PREFECT_PASSWORD']}".encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Basic {base64.b64encode(account).decode()}",
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or "null")

    def losda(self, *arguments: object) -> dict[str, Any]:
        """Run a command and return its JSON document."""
        done = subprocess.run(
            (*LOSDA, *map(str, arguments), "--json"),
            check=False,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    def below(self, top: int | None = None) -> list[Process]:
        """Return the processes below `losda up`, or below one of them."""
        every = list(_processes())
        found = [top or self.process.pid]
        for number in found:
            found += [process.number for process in every if process.parent == number]
        return [process for process in every if process.number in found[1:]]

    def left(self) -> list[Process]:
        """Return all processes that have to do with the folder, whoever their parents are."""
        folder = str(self.folder)
        return [
            process
            for process in _processes()
            if folder in process.command or folder in process.environment.get("PREFECT_HOME", "")
        ]

    def children(self) -> dict[str, int]:
        """Return the services by their command lines."""
        return {p.command: p.number for p in self.below() if p.parent == self.process.pid}


def _processes() -> Iterable[Process]:
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if fields[0] not in "ZX":
                command = (entry / "cmdline").read_text().replace("\0", " ").strip()
                texts = (entry / "environ").read_bytes().decode(errors="replace").split("\0")
                environment = dict(text.split("=", 1) for text in texts if "=" in text)
                yield Process(int(entry.name), int(fields[1]), command, environment)
