import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from numpy.typing import NDArray

from models.grid import LatLonGrid
from models.state import StateSpec, Variable
from tasks import seaweedfs


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real S3 server (SeaweedFS); yields its endpoint, which the environment names as well."""
    folder = tmp_path_factory.mktemp("seaweedfs")
    with seaweedfs.s3_server(folder) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server.endpoint


@pytest.fixture
def s3_root(s3_server: str) -> str:
    """A new empty prefix on the S3 server."""
    return f"s3://{seaweedfs.BUCKET}/{uuid.uuid4().hex}"


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
    from tasks import local_files

    monkeypatch.setattr(local_files, "sync", lambda paths: None)


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
