"""A tiny experiment: waves that travel on an 8 x 16 grid, persistence as the forecast model, random components."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
import yaml

from models.grid import LatLonGrid
from tasks.registry import Registry
from tests.small_components import publish_components

__all__ = ["Tiny", "make_tiny"]

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


def make_tiny(folder: Path, times: int = 60, settings: Mapping[str, object] | None = None) -> Tiny:
    """Make the experiment's configuration, data and registry.

    Args:
        folder: Where.
        times: Number of states of the truth, six hours apart; the first analysis is at the ninth.
        settings: What the configuration has beside or instead of its own.
    """
    made = Tiny(folder, folder / "tiny.yaml", folder / "truth.zarr", folder / "registry")
    ds = _waves(pd.date_range("2001-01-01", periods=times, freq="6h").astype("datetime64[ns]"))
    ds.to_zarr(made.data, zarr_format=3, consolidated=False)
    x = np.concatenate([ds["t"].values, ds["msl"].values[:, None]], axis=1)
    grid = LatLonGrid.from_dataset(ds)
    publish_components(Registry(str(made.registry)), x, ds.indexes["time"], grid)
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
        **(settings or {}),
    }
    made.config.write_text(yaml.safe_dump(document))
    return made


def _waves(times: pd.DatetimeIndex) -> xr.Dataset:
    latitude, longitude = np.linspace(-78.75, 78.75, 8), np.arange(16) * 22.5
    level, hours = np.array([500.0, 850.0]), np.arange(len(times)) * 6.0
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
        {"time": times, "level": level, "latitude": latitude, "longitude": longitude},
    )
