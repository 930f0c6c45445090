"""The services of `losda up`, as processes on loopback: database, S3, Prefect server, workers."""

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from configs.deployment import HEARTBEAT
from flows.postgres import DATABASE
from flows.postgres import postgres as database_server
from flows.supervisor import Service, plain_environment
from tasks.ports import HOST
from tasks.seaweedfs import mini

__all__ = ["BUCKET", "USER", "Site", "devices"]

BUCKET = "losda"
USER = "losda"
LATE_AFTER = 300
"""Seconds after which a run that no worker took is late."""
FREED = {
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "536870912",
    "MALLOC_TOP_PAD_": "67108864",
}
"""glibc keeps freed buffers: 1.5 to 2 times faster model steps."""


@dataclass(frozen=True)
class Site:
    """Where everything is.

    Attributes:
        folder: Files of all services.
        ports: Port of each service by name.
        secrets: PREFECT_PASSWORD, POSTGRES_PASSWORD, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
        database: `sqlite` or `postgresql`.
        has_s3: Whether there is an S3 server.
        asks: Whether the Prefect server asks for the password.
        inherited: The environment of this process.
    """

    folder: Path
    ports: Mapping[str, int]
    secrets: Mapping[str, str] = field(repr=False)
    database: str
    has_s3: bool
    asks: bool
    inherited: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)

    @property
    def api(self) -> str:
        """Address of the Prefect API."""
        return f"http://{HOST}:{self.ports['server']}/api"

    def client_environment(self) -> dict[str, str]:
        """Return what a process needs to talk to the services."""
        own = {"PREFECT_API_URL": self.api}
        if self.asks:
            own["PREFECT_API_AUTH_STRING"] = f"{USER}:{self.secrets['PREFECT_PASSWORD']}"
        if self.has_s3:
            own |= {
                "AWS_ENDPOINT_URL": f"http://{HOST}:{self.ports['s3']}",
                "AWS_ACCESS_KEY_ID": self.secrets["AWS_ACCESS_KEY_ID"],
                "AWS_SECRET_ACCESS_KEY": self.secrets["AWS_SECRET_ACCESS_KEY"],
            }
        return own

    def postgres(self) -> Service:
        """Return the database server.

        Raises:
            OSError: Its files could not be made.
        """
        password = self.secrets["POSTGRES_PASSWORD"]
        return database_server(self.folder / "postgres", self.ports["database"], USER, password)

    def s3(self) -> Service:
        """Return the S3 server (SeaweedFS) with one bucket."""
        folder = self.folder / "s3" / "data"
        folder.mkdir(parents=True, exist_ok=True)
        command = mini(folder, self.ports, BUCKET)
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        account = {name: self.secrets[name] for name in names}  # the server's only account
        return Service("s3", command, plain_environment() | account, self._bucket_is_there)

    def server(self) -> Service:
        """Return the Prefect server."""
        home = self.folder / "prefect"
        home.mkdir(exist_ok=True)
        own = {
            "PREFECT_HOME": str(home),
            "PREFECT_SERVER_API_HOST": HOST,
            "PREFECT_SERVER_API_PORT": str(self.ports["server"]),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            # with leases in memory a restart of the server ends the runs that hold one
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
                "prefect.server.concurrency.lease_storage.filesystem"
            ),
            "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
            "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": str(LATE_AFTER),
        }
        if self.asks:
            password = f"{USER}:{self.secrets['PREFECT_PASSWORD']}"
            own["PREFECT_SERVER_API_AUTH_STRING"] = password
        if self.database == "postgresql":
            account = f"{USER}:{self.secrets['POSTGRES_PASSWORD']}"
            own["PREFECT_API_DATABASE_CONNECTION_URL"] = (
                f"postgresql+asyncpg://{account}@{HOST}:{self.ports['database']}/{DATABASE}"
            )
        command = (
            *(sys.executable, "-m", "uvicorn", "--factory", "--log-level", "warning"),
            *("--host", HOST, "--port", str(self.ports["server"])),
            "flows.server:create_app",
        )
        return Service("server", command, self._without_prefect() | own, self._api_answers)

    def worker(self, pool: str, name: str, limit: int, device: int | None = None) -> Service:
        """Return a worker of a pool.

        Args:
            pool: `cpu` or `gpu`.
            name: Its name.
            limit: Runs at once.
            device: The accelerator that its runs see, if any.
        """
        command = (
            *(sys.executable, "-m", "prefect", "worker", "start", "--type", "process"),
            *("--pool", pool, "--name", name, "--limit", str(limit)),
        )
        environment = FREED | self._without_prefect() | self.client_environment()
        environment |= {
            "PREFECT_HOME": str(self.folder / "workers"),
            "PATH": os.pathsep.join(  # for the command of its runs (prefect.yaml)
                [str(Path(sys.executable).parent), self.inherited.get("PATH", os.defpath)]
            ),
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT),
            "DO_NOT_TRACK": "1",
        }
        if device is not None:
            environment["CUDA_VISIBLE_DEVICES"] = str(device)
        return Service(f"worker-{name}", command, environment, lambda: True)

    def _without_prefect(self) -> dict[str, str]:
        """Return the user's environment without other servers' addresses and passwords."""
        return {k: v for k, v in self.inherited.items() if not k.startswith("PREFECT_")}

    def _bucket_is_there(self) -> bool:
        import s3fs

        environment = self.client_environment()
        store = s3fs.S3FileSystem(
            key=environment["AWS_ACCESS_KEY_ID"],
            secret=environment["AWS_SECRET_ACCESS_KEY"],
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            skip_instance_cache=True,
        )
        try:
            store.ls(BUCKET)
        except (OSError, PermissionError):
            return False
        return True

    def _api_answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.api}/health", timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            return False


def devices() -> int:
    """Return the number of NVIDIA devices."""
    try:
        listed = subprocess.run(
            ("nvidia-smi", "--list-gpus"), check=False, capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())
