"""A reference in a Zarr store: times, levels and layouts of WeatherBench 2, and a region cut out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
import zarr

from configs.data import DataVariable, Region
from tasks.reference_gridded import ZarrReference
from tasks.store import join
from tests.real_states import GLOBE, SURFACE, upload


@pytest.fixture
def weather_bench(tmp_path: Path) -> Callable[..., str]:
    """Writes a store in the layout of WeatherBench 2: longitude first, south first, levels in hPa."""

    def make(zarr_format: int = 2, consolidated: bool = True, **coordinates: object) -> str:
        time = pd.date_range("2020-01-01", periods=4, freq="6h")
        level, latitude = [500, 850], np.linspace(-90, 90, 7)
        longitude = np.arange(12) * 30.0
        shape = (4, 2, 12, 7)
        generator = np.random.default_rng(0)
        low = np.array([55000.0, 14000.0])[:, None, None]
        dims = ("time", "level", "longitude", "latitude")
        ds = xr.Dataset(
            {
                "geopotential": (
                    dims,
                    low + 500 * generator.random(shape),
                    {"units": "m**2 s**-2"},
                ),
                "temperature": (dims, 260 + 20 * generator.random(shape)),
                "2m_temperature": (
                    ("time", "longitude", "latitude"),
                    280 + 20 * generator.random((4, 12, 7)),
                    {"units": "K"},
                ),
            },
            {"time": time, "level": level, "latitude": latitude, "longitude": longitude}
            | coordinates,
        ).astype(np.float32)
        path = tmp_path / f"bench-{zarr_format}-{consolidated}.zarr"
        ds.to_zarr(path, zarr_format=zarr_format, consolidated=consolidated)
        return str(path)

    return make


def bench_variables() -> tuple[DataVariable, ...]:
    return (
        DataVariable(
            name="z", standard_name="geopotential", units="m2 s-2", levels=(850.0, 500.0)
        ),
        DataVariable(name="t", standard_name="air_temperature", units="K", levels=(850.0,)),
        DataVariable(name="t2m", standard_name="air_temperature", units="K"),
    )


def test_zarr_times_are_decoded_from_the_groups_attribute(root: str) -> None:
    reference = ZarrReference(upload(GLOBE, join(root, "era5.zarr")), SURFACE)
    steps = np.diff(reference.times) / np.timedelta64(1, "h")
    assert reference.times[0] == pd.Timestamp("2026-03-25T00")
    assert steps.tolist() == [7, 7, 7, 8]
    grid = reference.spec.grid
    assert grid.wraps and grid.reaches_poles and grid.latitude[0] == 90
    stored = zarr.open_group(GLOBE, mode="r")
    x = reference.states([reference.times[3], reference.times[1]])
    for i, name in enumerate(("t2m", "u10", "msl")):
        np.testing.assert_array_equal(x[:, i], stored[name][...][[3, 1]])
    with pytest.raises(ValueError, match="lacks 4 of 5 times, the first 2026-03-25 06:00:00"):
        reference.check(reference.times[0], pd.Timestamp("2026-03-26"), pd.Timedelta(hours=6))


@pytest.mark.parametrize(("zarr_format", "consolidated"), [(2, True), (2, False), (3, False)])
def test_weather_bench_layout(
    weather_bench: Callable[..., str], zarr_format: int, consolidated: bool
) -> None:
    address = weather_bench(zarr_format, consolidated)
    reference = ZarrReference(address, bench_variables())
    time = pd.Timestamp("2020-01-01T12")
    ds = xr.open_zarr(address, chunks=None, consolidated=False).sel(time=time)
    x = reference.state(time)
    assert reference.spec.field_names == ("z@850", "z@500", "t@850", "t2m")
    assert reference.spec.grid.latitude[0] == -90
    for i, (name, level) in enumerate([("geopotential", 850), ("geopotential", 500)]):
        np.testing.assert_array_equal(x[i], ds[name].sel(level=level).values.T)
    np.testing.assert_array_equal(x[3], ds["2m_temperature"].values.T)


def test_levels_in_pascal_are_understood(weather_bench: Callable[..., str]) -> None:
    level = ("level", [50_000, 85_000], {"units": "Pa"})
    reference = ZarrReference(weather_bench(level=level), bench_variables())
    assert reference.spec.levels == (850.0, 500.0)
    x = reference.state(pd.Timestamp("2020-01-01"))
    assert x[0].max() < 20_000 < x[1].min()


def test_a_level_that_is_not_there_is_refused(weather_bench: Callable[..., str]) -> None:
    variables = (bench_variables()[0].model_copy(update={"levels": (850.0, 700.0)}),)
    with pytest.raises(ValueError, match="no level 700 hPa; present: 500, 850"):
        ZarrReference(weather_bench(), variables)


def test_levels_need_to_be_named(weather_bench: Callable[..., str]) -> None:
    variables = (bench_variables()[0].model_copy(update={"levels": None}),)
    with pytest.raises(ValueError, match="has 2 values of 'level'; allowed: 1"):
        ZarrReference(weather_bench(), variables)


def test_times_without_units_are_refused(weather_bench: Callable[..., str]) -> None:
    address = weather_bench(time=("time", [0, 6, 12, 18]))
    with pytest.raises(ValueError, match="units none; allowed: CF units"):
        ZarrReference(address, bench_variables())


def test_a_region_is_cut_across_the_seam() -> None:
    whole = ZarrReference(str(GLOBE), SURFACE)
    region = Region(south=20, north=60, west=-30, east=40)
    part = ZarrReference(str(GLOBE), SURFACE, region)
    grid = part.spec.grid
    assert grid.latitude == (60, 50, 40, 30, 20) and not grid.wraps
    assert grid.longitude == (-30, -20, -10, 0, 10, 20, 30, 40)
    time = whole.times[0]
    columns = [int(longitude % 360) // 10 for longitude in grid.longitude]
    assert torch.equal(part.state(time), whole.state(time)[:, 3:8][:, :, columns])
    with pytest.raises(ValueError, match="holds 1 latitudes and 3 longitudes"):
        ZarrReference(str(GLOBE), SURFACE, Region(south=38, north=42, west=0, east=20))
