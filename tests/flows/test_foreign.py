"""Cycles whose forecast model is another's: FengWu's and Pangu's layouts, a program, earth2studio."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
import yaml

from models.foreign.layouts import LAYOUTS, regular_axes
from models.grid import LatLonGrid
from tasks import archive
from tasks.registry import Registry
from tests.foreign_models import LEVELS, UNITS, Turning, fengwu, pangu, program
from tests.small_components import publish_components

Losda = Callable[..., tuple[int, str, str]]
ROWS, COLUMNS, STEP = 8, 16, pd.Timedelta(hours=6)
TIMES = pd.date_range("2001-01-01", periods=20, freq="6h").astype("datetime64[ns]")
LONG = {
    "z": "geopotential",
    "q": "specific_humidity",
    "t": "air_temperature",
    "u": "eastward_wind",
    "v": "northward_wind",
}
SURFACE = {
    "u10": ("eastward_wind", "m s-1"),
    "v10": ("northward_wind", "m s-1"),
    "t2m": ("air_temperature", "K"),
    "msl": ("air_pressure_at_mean_sea_level", "Pa"),
}
MEAN = {"q": 5e-3, "t": 260.0, "u": 5.0, "v": 0.0, "t2m": 280.0, "msl": 1e5}
SIZE = {"z": 300.0, "q": 1e-3, "t": 5.0, "msl": 500.0, "t2m": 5.0}


@dataclass(frozen=True)
class World:
    """A truth that turns eastward by one column in six hours, and what an experiment needs."""

    folder: Path
    config: Path
    registry: Path

    def with_model(self, kind: str, name: str = "", **settings: object) -> Path:
        """Write the configuration with a forecast model."""
        document = yaml.safe_load(self.config.read_text())
        document["forecast_model"] = {"kind": kind, **settings}
        document["checkpoints"]["forecast_model"] = name or kind
        path = self.folder / f"{name or kind}.yaml"
        path.write_text(yaml.safe_dump(document))
        return path


def truth() -> xr.Dataset:
    latitude = np.linspace(-90.0, 90.0, ROWS)
    longitude = np.arange(COLUMNS) * 22.5
    generator = np.random.default_rng(0)

    def turning(name: str, levels: int) -> Any:  # noqa: ANN401
        first = generator.standard_normal((levels, ROWS, COLUMNS))
        first -= first.mean((1, 2), keepdims=True)
        height = 7000 * 9.81 * np.log(1013 / np.array(LEVELS))[:, None, None]
        mean = height if name == "z" else MEAN.get(name, 0.0)
        x = np.stack([np.roll(first, k, -1) for k in range(len(TIMES))])
        return (mean + SIZE.get(name, 5.0) * x).astype(np.float32)

    dims = ("time", "level", "latitude", "longitude")
    variables: dict[str, Any] = {
        name: (dims, turning(name, len(LEVELS)), {"units": units}) for name, units in UNITS.items()
    }
    for name, (_, units) in SURFACE.items():
        variables[name] = ((dims[0], *dims[2:]), turning(name, 1)[:, 0], {"units": units})
    coordinates = {"time": TIMES, "level": np.array(LEVELS, float)}
    axes = {"latitude": latitude, "longitude": longitude}
    return xr.Dataset(variables, coordinates | axes)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("foreign")
    ds, registry = truth(), folder / "registry"
    ds.to_zarr(folder / "truth.zarr", zarr_format=3, consolidated=False)
    levels = np.concatenate([ds[name].values for name in UNITS], axis=1)
    x = np.concatenate([levels, *(ds[name].values[:, None] for name in SURFACE)], axis=1)
    publish_components(Registry(str(registry)), x, TIMES, LatLonGrid.from_dataset(ds))
    state: list[dict[str, object]] = [
        {"name": n, "standard_name": LONG[n], "units": u, "levels": [float(v) for v in LEVELS]}
        for n, u in UNITS.items()
    ]
    state += [{"name": n, "standard_name": s, "units": u} for n, (s, u) in SURFACE.items()]
    document = {
        "name": "foreign",
        "registry": str(registry),
        "start": "2001-01-02T12:00",
        "cycles": 3,
        "spin_up": 0,
        "first_guess": {"lead": "PT24H"},
        "reference": {
            "kind": "zarr",
            "address": str(folder / "truth.zarr"),
            "variables": state,
        },
        "observations": {"network": {"kind": "columns", "fraction": 0.3}},
        "verification": dict.fromkeys(("forecast_lead", "forecast_every"), "PT12H")
        | {"forecast_step": "PT6H"},
        "checkpoints": dict.fromkeys(("statistics", "autoencoder", "denoiser"), "tiny"),
    }
    (folder / "foreign.yaml").write_text(yaml.safe_dump(document))
    return World(folder, folder / "foreign.yaml", registry)


def adopt(losda: Losda, world: World, alias: str, *arguments: str) -> None:
    where = ("--registry", str(world.registry), "--alias", alias, "--licence", "CC0-1.0")
    code, out, err = losda("registry", "adopt", *arguments, *where)
    assert code == 0, err
    digest = out.strip()
    code, out, _ = losda("registry", "show", "forecast_model", alias, "--registry", world.registry)
    assert code == 0 and json.loads(out)["digest"] == digest
    card = json.loads(out)["card"]
    assert card["licence"] == "CC0-1.0"
    files = dict(each.split("=") for each in arguments if each[0].isdigit())
    if files:
        kept = {step: own["name"] for step, own in card["configuration"]["files"].items()}
        assert kept == {step: Path(file).name for step, file in files.items()}


def cycle(losda: Losda, config: Path, out: Path) -> dict[str, Any]:
    code, text, err = losda("run", config, "--out", out, "--json", "--no-report")
    assert code == 0, err
    return dict(json.loads(text))


def values(out: Path, name: str) -> torch.Tensor:
    """Return an archive as (time, field, lat, lon)."""
    ds = archive.open_archive(str(out), name).load()
    parts = [ds[n].values for n in UNITS] + [ds[n].values[:, None] for n in SURFACE]
    return torch.from_numpy(np.concatenate(parts, axis=1))


def test_a_cycle_with_a_model_of_pangu_s_layout(
    losda: Losda, world: World, tmp_path: Path
) -> None:
    six = pangu(tmp_path / "6.onnx", ROWS, COLUMNS, by=1)
    day = pangu(tmp_path / "24.onnx", ROWS, COLUMNS, by=4)
    adopt(losda, world, "onnx", f"24={day}", f"6={six}", "--layout", "pangu")
    out = tmp_path / "e"
    document = cycle(losda, world.with_model("onnx"), out)
    assert document["mean"]["free"] < 1e-10, "the model is exact"
    background, analysis = values(out, "background"), values(out, "analysis")
    assert torch.equal(background[1:], analysis[:-1].roll(1, -1))
    assert not torch.equal(analysis, background)
    again = cycle(losda, world.with_model("onnx"), out)
    assert again["mean"] == document["mean"]


def test_a_cycle_with_a_model_of_fengwu_s_layout_remembers_the_analysis_before(
    losda: Losda, world: World, tmp_path: Path
) -> None:
    model = fengwu(tmp_path / "6.onnx", ROWS, COLUMNS)
    generator = np.random.default_rng(1)
    for name, numbers in (("mean", generator.normal(size=69)), ("std", np.full(69, 2.0))):
        np.save(tmp_path / f"{name}.npy", numbers)
    normalized = [f"--{n}={tmp_path / n}.npy" for n in ("mean", "std")]
    adopt(losda, world, "fengwu", f"6={model}", "--layout", "fengwu", *normalized)
    out = tmp_path / "e"
    cycle(
        losda,
        world.with_model(
            "onnx",
            "fengwu",
        ),
        out,
    )
    background, analysis = values(out, "background"), values(out, "analysis")
    expected = 2 * analysis[1] - analysis[0]
    size = expected.abs().amax((-1, -2), keepdim=True)
    assert ((background[2] - expected).abs() < 1e-5 * size + 1e-6).all()


def test_a_cycle_with_an_exported_program(losda: Losda, world: World, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Turning(69).eval()
    model.weight.zero_()  # exactly one column, so that the truth is known
    exported = program(tmp_path / "6.pt2", model, (1, 69, ROWS, COLUMNS))
    adopt(losda, world, "program", f"6={exported}", "--config", str(world.config))
    document = cycle(losda, world.with_model("program"), tmp_path / "e")
    assert document["mean"]["free"] < 1e-10


def test_a_cycle_with_a_prognostic_model(losda: Losda, world: World, tmp_path: Path) -> None:
    latitude, longitude = regular_axes(ROWS, COLUMNS)
    arguments = {
        "variable": list(LAYOUTS["fengwu"].channels),
        "domain_coords": {"lat": latitude, "lon": longitude},
    }
    module = "tests.earth2_models"
    adopt(
        *(losda, world, "earth2studio", f"{module}:Turn", "--module", module),
        *("--arguments", json.dumps(arguments)),
    )
    config = world.with_model("earth2studio", modules=[module])
    assert cycle(losda, config, tmp_path / "e")["mean"]["free"] < 1e-10
    code, _, err = losda("run", world.with_model("earth2studio"), "--out", tmp_path / "f")
    assert code == 2 and "forecast_model.modules" in err and "'tests.earth2_models'" in err


def refused(losda: Losda, *arguments: object) -> str:
    code, out, err = losda(*arguments)
    assert code == 2 and out == "" and err.strip().count("\n") == 0, err
    return err


def test_what_does_not_fit_is_refused_before_anything_is_written(
    losda: Losda, world: World, tmp_path: Path
) -> None:
    out = tmp_path / "e"
    day = pangu(tmp_path / "24.onnx", ROWS, COLUMNS, by=4)
    adopt(losda, world, "day", f"24={day}", "--layout", "pangu")
    config = world.with_model("onnx", "day")
    line = refused(losda, "run", config, "--out", out)
    assert "step: 6 h; the forecast model's steps are 24 h; allowed: sums of them" in line
    config = world.with_model("program", "day")
    line = refused(losda, "run", config, "--out", out)
    assert "forecast_model.kind: 'program'" in line and "is 'onnx'" in line
    other = pangu(tmp_path / "other.onnx", ROWS, 8, by=1)
    adopt(losda, world, "other", f"6={other}", "--layout", "pangu")
    line = refused(losda, "run", world.with_model("onnx", "other"), "--out", out)
    assert "longitude of the state is 0 to 337.5 (16 values); the forecast model has" in line
    line = refused(losda, "run", world.with_model("onnx", "none"), "--out", out)
    assert "no forecast_model 'none'; allowed:" in line
    torch.jit.script(torch.nn.Identity()).save(str(tmp_path / "m.pt"))
    adopt(losda, world, "script", f"6={tmp_path / 'm.pt'}", "--config", str(world.config))
    line = refused(losda, "run", world.with_model("program", "script"), "--out", out)
    assert "is TorchScript" in line and "forecast_model.torchscript=true" in line
    assert not out.exists()
    script = world.with_model("program", "script", torchscript=True)
    code, text, _ = losda("check", script)
    assert code == 0 and "forecast_model" in text


def test_a_memory_that_the_reference_does_not_reach_is_refused(
    losda: Losda, world: World, tmp_path: Path
) -> None:
    for name in ("mean", "std"):
        np.save(tmp_path / f"{name}.npy", np.ones(69))
    model = fengwu(tmp_path / "6.onnx", ROWS, COLUMNS)
    normalized = [f"--{n}={tmp_path / n}.npy" for n in ("mean", "std")]
    adopt(losda, world, "early", f"6={model}", "--layout", "fengwu", *normalized)
    config = world.with_model("onnx", "early")
    line = refused(
        losda, "run", config, "--out", tmp_path / "e", "--set", "start=2001-01-02T00:00"
    )
    assert "also needs the state 6 h before it starts" in line and "2000-12-31 18:00" in line


def test_bad_adoptions_are_one_line(losda: Losda, world: World, tmp_path: Path) -> None:
    six = pangu(tmp_path / "6.onnx", ROWS, COLUMNS, by=1)
    where = ("--registry", tmp_path / "r", "--alias", "a", "--licence", "x")
    for arguments, words in (
        ([six, "--layout", "pangu"], ["each step in hours once", "6=model.onnx"]),
        ([f"6={six}", "--layout", "fengwu"], ["'fengwu'", "--mean and --std"]),
        ([f"6={six}", "--layout", "sfno"], ["layout 'sfno'", "fengwu, pangu, channels"]),
        ([f"6={six}"], ["layout 'channels'", "--config"]),
        ([f"6={tmp_path}/gone.onnx", "--layout", "pangu"], ["gone.onnx: no such file"]),
        (["os:system"], ["forecast_model.modules: earth2studio.models.px", "'os'"]),
        (["6=a.onnx", "--mean", "m.npy"], ["--mean and --std: give both"]),
        ([], ["no model"]),
    ):
        line = refused(losda, "registry", "adopt", *arguments, *where)
        assert all(word in line for word in words), line
    assert not (tmp_path / "r").exists()
