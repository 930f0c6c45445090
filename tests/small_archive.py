"""A small archive in the layout of WeatherBench 2, as it is or spoilt, and its states."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr

from configs.data import DataVariable
from tasks.reference_gridded import ZarrReference

HOURS, START = pd.Timedelta(hours=6), pd.Timestamp("2020-02-28")
TIMES = pd.date_range(START, periods=8, freq="6h")
VARIABLES = (
    DataVariable(name="z", standard_name="geopotential", units="m2 s-2", levels=(500.0, 850.0)),
    DataVariable(name="q", standard_name="specific_humidity", units="kg kg-1", levels=(850.0,)),
    DataVariable(name="t2m", standard_name="air_temperature", units="K"),
    DataVariable(name="msl", standard_name="air_pressure_at_mean_sea_level", units="Pa"),
)
Change = Callable[[xr.Dataset], xr.Dataset]
Archive = Callable[..., str]


def truth() -> xr.Dataset:
    """A small archive in the layout of WeatherBench 2."""
    latitude, longitude = np.linspace(-78.75, 78.75, 8), np.arange(16) * 22.5
    place = np.cos(np.radians(latitude)) * np.sin(np.radians(longitude))[:, None]
    place = place + 0.1 * latitude / 90 + 0.01 * np.arange(16)[:, None]
    drift = 1 + 0.1 * np.arange(len(TIMES))[:, None, None]
    wave = drift * place
    low = np.array([55_000.0, 14_000.0])[:, None, None]
    deep = ("time", "level", "longitude", "latitude")
    surface = ("time", "longitude", "latitude")
    ds = xr.Dataset(
        {
            "geopotential": (deep, low + 900 * wave[:, None], {"units": "m**2 s**-2"}),
            "specific_humidity": (
                deep,
                np.array([1e-3, 6e-3])[:, None, None] * (1 + 0.3 * wave[:, None]),
                {"units": "kg kg**-1"},
            ),
            "2m_temperature": (surface, 280 + 9 * wave, {"units": "K"}),
            "mean_sea_level_pressure": (surface, 1.01e5 + 900 * wave, {"units": "Pa"}),
        }
    ).astype(np.float32)
    return ds.assign_coords(time=TIMES, level=[500, 850], latitude=latitude, longitude=longitude)


def archive_in(folder: Path) -> Archive:
    """Return what writes the archive into a folder, changed if wanted; its address comes back."""

    def make(change: Change = lambda ds: ds, name: str = "era5.zarr", chunk: int = 2) -> str:
        ds = change(truth()).drop_encoding()
        encoding = {str(n): {"chunks": (chunk, *v.shape[1:])} for n, v in ds.data_vars.items()}
        ds.to_zarr(folder / name, zarr_format=2, consolidated=True, encoding=encoding)
        return str(folder / name)

    return make


def states(address: str) -> torch.Tensor:
    """Return all states of the archive once it has passed its check."""
    reference = ZarrReference(address, VARIABLES)
    reference.check(TIMES[0], TIMES[-1], HOURS)
    return reference.states(list(TIMES))
