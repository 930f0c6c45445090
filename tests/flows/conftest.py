"""A tiny experiment: waves that travel on an 8 x 16 grid, persistence as the forecast model, random components."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml

from flows import server
from models.grid import LatLonGrid
from tasks.registry import Registry
from tests.small_components import publish_components

REPOSITORY = Path(__file__).resolve().parent.parent.parent
TIMES = pd.date_range("2001-01-01", periods=60, freq="6h").astype("datetime64[ns]")
VARIABLES = (
    {"name": "t", "standard_name": "air_temperature", "units": "K", "levels": [500.0, 850.0]},
    {"name": "msl", "standard_name": "air_pressure_at_mean_sea_level", "units": "Pa"},
)


@dataclass(frozen=True)
class Tiny:
    """Addresses of what a tiny experiment needs."""

    folder: Path
    config: Path
    data: Path
    registry: Path

    def document(self) -> dict[str, object]:
        """Return the configuration."""
        return dict(yaml.safe_load(self.config.read_text()))


def waves() -> xr.Dataset:
    latitude, longitude = np.linspace(-78.75, 78.75, 8), np.arange(16) * 22.5
    level, hours = np.array([500.0, 850.0]), np.arange(len(TIMES)) * 6.0
    phase = np.radians(longitude)[None, None, None] - 0.02 * hours[:, None, None, None]
    wave = np.sin(2 * phase + level[None, :, None, None] / 400) + 0.5 * np.cos(3 * phase)
    wave = wave * np.cos(np.radians(latitude))[None, None, :, None]
    t = (270 + 10 * wave).astype(np.float32)
    msl = (101_000 + 900 * wave[:, 0]).astype(np.float32)
    return xr.Dataset(
        {
            "t": (("time", "level", "latitude", "longitude"), t, {"units": "K"}),
            "msl": (("time", "latitude", "longitude"), msl, {"units": "Pa"}),
        },
        {"time": TIMES, "level": level, "latitude": latitude, "longitude": longitude},
    )


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """The tiny experiment's configuration, data and registry."""
    folder = tmp_path_factory.mktemp("tiny")
    made = Tiny(folder, folder / "tiny.yaml", folder / "truth.zarr", folder / "registry")
    ds = waves()
    ds.to_zarr(made.data, zarr_format=3, consolidated=False)
    x = np.concatenate([ds["t"].values, ds["msl"].values[:, None]], axis=1)
    publish_components(Registry(str(made.registry)), x, TIMES, LatLonGrid.from_dataset(ds))
    names = ("statistics", "autoencoder", "denoiser")
    document = {
        "name": "tiny",
        "registry": str(made.registry),
        "start": "2001-01-03T00:00",
        "cycles": 3,
        "spin_up": 1,
        "first_guess": {"lead": "PT12H"},
        "reference": {"kind": "zarr", "address": str(made.data), "variables": list(VARIABLES)},
        "forecast_model": {"kind": "persistence"},
        "observations": {"network": {"kind": "columns", "fraction": 0.2}},
        "verification": {
            "forecast_lead": "PT12H",
            "forecast_step": "PT6H",
            "forecast_every": "PT12H",
        },
        "checkpoints": dict.fromkeys(names, "tiny"),
    }
    made.config.write_text(yaml.safe_dump(document))
    return made


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of losda processes: a Prefect home and a cache of their own."""
    folder = tmp_path_factory.mktemp("home")
    own = {"PREFECT_HOME": str(folder / "prefect"), "LOSDA_CACHE": str(folder / "cache")}
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("LOSDA_", "PREFECT_"))}
    return inherited | own | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def api(environment: dict[str, str]) -> Iterator[server.PrefectApi]:
    """One Prefect API for all runs of this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", environment["PREFECT_HOME"])
        patch.setenv("LOSDA_CACHE", environment["LOSDA_CACHE"])
        patch.delenv("PREFECT_API_URL", raising=False)
        started = server.start()
        from prefect.settings import PREFECT_API_URL, temporary_settings

        with temporary_settings({PREFECT_API_URL: started.url}):
            started.wait()
            yield started
        patch.delenv("PREFECT_API_URL")


@pytest.fixture(scope="session")
def finished(tiny: Tiny, api: server.PrefectApi, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a finished run of three cycles; copy it to change it."""
    from configs import load
    from flows.running import run_experiment
    from tasks.experiment import Experiment

    root = tmp_path_factory.mktemp("finished") / "e"
    experiment = Experiment(root=str(root), config=load(str(tiny.config)))
    document = run_experiment(experiment, report=False)
    (root.parent / "document.json").write_text(json.dumps(document))
    return root


@pytest.fixture
def losda(
    api: server.PrefectApi, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run a losda command in this process: exit code, standard output, standard error."""
    from flows.cli import app

    def command(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            app([str(argument) for argument in arguments])
        output = capsys.readouterr()
        return int(ended.value.code or 0), output.out, output.err

    return command


@pytest.fixture
def losda_process(environment: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a losda command in a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", "from flows.cli import app; app()", *map(str, arguments)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def reprocessed(
    tiny: Tiny, api: server.PrefectApi, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The directory of nine cycles in two streams, joined; copy it to change it."""
    from flows.reprocessing import reprocess

    root = tmp_path_factory.mktemp("reprocessed") / "r"
    end = datetime.fromisoformat("2001-01-05T00:00")
    options = {"end": end, "streams": 2, "spinup": 2, "workers": 0, "report": False}
    document = asyncio.run(reprocess(str(tiny.config), str(root), **options))
    (root.parent / "document.json").write_text(json.dumps(document))
    return root
