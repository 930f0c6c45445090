"""`losda up`: everything that a service needs, on this machine, without containers.

    database (PostgreSQL, or SQLite in the server) ─▶ Prefect server ─▶ losda deploy ─▶ workers
    S3 server (SeaweedFS)

All of it listens on loopback. Files, logs and passwords are in one folder; a second start goes on
with them. It ends with Ctrl-C or SIGTERM, and what it started ends with it.
"""

import fcntl
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows import credentials
from flows.postgres import find_postgres
from flows.services import BUCKET, USER, Site, devices
from flows.supervisor import Service, Supervisor
from tasks.ports import free_ports, is_free
from tasks.seaweedfs import PORTS, weed

__all__ = ["Wish", "up"]

SECRETS = (
    *("PREFECT_PASSWORD", "POSTGRES_PASSWORD"),
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
)
INNER_PORTS = ("database", *PORTS)


@dataclass(frozen=True)
class Wish:
    """What is to be started.

    Attributes:
        folder: Files of all services.
        port: Port of the Prefect server.
        database: `auto`, `sqlite` or `postgresql`.
        s3: Whether to start an S3 server.
        password: Whether the Prefect server asks for a password.
        cpu_limit: Runs at once on the cpu worker.
    """

    folder: Path
    port: int = 4200
    database: str = "auto"
    s3: bool = True
    password: bool = True
    cpu_limit: int = 4


def up(wish: Wish, ready: Callable[[dict[str, Any]], None]) -> None:
    """Start the services, call `ready` with where they are, and keep them until a signal.

    Raises:
        ConnectionError: A service does not start.
        ValueError: The input is wrong, or the services of this folder run already.
    """
    with _locked(wish.folder), _signals() as stop:
        site, is_new = _site(wish)
        supervisor = Supervisor(wish.folder / "logs")
        try:
            _start(supervisor, site, wish.cpu_limit)
            ready(_document(site, is_new))
            supervisor.keep(stop.wait)
        finally:
            sys.stderr.write("losda: ending the services\n")
            supervisor.stop()


def _site(wish: Wish) -> tuple[Site, bool]:
    """Return where everything is, and whether the passwords are new.

    Raises:
        ValueError: A program is missing, or a port is taken.
    """
    database = wish.database
    if database == "auto":
        database = "postgresql"
        try:
            find_postgres("initdb")
        except ValueError:
            database = "sqlite"
    if database == "postgresql":
        find_postgres("initdb")
    if wish.s3:
        weed()
    made, is_new = credentials.read_or_make(wish.folder, SECRETS)
    file = wish.folder / "ports.json"
    inner = json.loads(file.read_text()) if file.exists() else free_ports(INNER_PORTS)
    file.write_text(json.dumps(inner))
    ports = inner | {"server": wish.port}
    used = ["server"] + ["database"] * (database == "postgresql") + ["s3"] * wish.s3
    for name in used:
        if not is_free(ports[name]):
            hint = "--port" if name == "server" else f"another number in {file}"
            raise ValueError(f"port {ports[name]} of the {name} is taken; allowed: {hint}")
    site = Site(wish.folder, ports, made, database, wish.s3, wish.password)
    credentials.write(wish.folder, made | site.client_environment())
    return site, is_new


def _start(supervisor: Supervisor, site: Site, cpu_limit: int) -> None:
    first: list[Service] = []
    if site.database == "postgresql":
        first.append(site.postgres())
    if site.has_s3:
        first.append(site.s3())
    supervisor.start(*first)
    supervisor.start(site.server())
    _deploy(site)
    gpus = range(devices())
    workers = [site.worker("gpu", f"gpu-{k}", 1, k) for k in gpus] or [
        site.worker("gpu", "gpu-0", 1)
    ]
    supervisor.start(site.worker("cpu", "cpu", cpu_limit), *workers)


def _deploy(site: Site) -> None:
    """Apply pools, deployments and automations.

    Raises:
        ConnectionError: It failed.
    """
    done = subprocess.run(
        (sys.executable, "-c", "from flows.cli import app; app()", "deploy"),
        check=False,
        env=dict(site.inherited) | site.client_environment(),
        capture_output=True,
        text=True,
    )
    (site.folder / "logs" / "deploy.log").write_text(done.stdout + done.stderr)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise ConnectionError(f"losda deploy failed: {lines[-1] if lines else done.returncode}")


def _document(site: Site, is_new: bool) -> dict[str, Any]:
    return {
        "server": site.api,
        "page": site.api.removesuffix("/api"),
        "database": site.database,
        "bucket": f"s3://{BUCKET}" if site.has_s3 else None,
        "user": USER if site.asks else None,
        # shown once, and only to people
        "password": site.secrets["PREFECT_PASSWORD"] if site.asks and is_new else None,
        "environment": str(site.folder / credentials.FILE),
        "logs": str(site.folder / "logs"),
        "devices": devices(),
    }


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Be the only one with this folder.

    Raises:
        ValueError: Another process is at it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)  # the database's user has to pass
    with (folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{folder}: its services run already") from None
        yield


@contextmanager
def _signals() -> Iterator[threading.Event]:
    """Yield an event that SIGTERM and SIGINT set."""
    stop = threading.Event()

    def on_signal(number: int, frame: object) -> None:
        if not stop.is_set():
            stop.set()
            raise KeyboardInterrupt

    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, on_signal) for number in numbers]
    try:
        with suppress(KeyboardInterrupt):
            yield stop
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
