"""What archives may be like, and what is said of those that cannot be used."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from models.grid import LatLonGrid
from tasks.reference_gridded import ZarrReference
from tests.small_archive import TIMES, VARIABLES, Archive, Change, archive_in, states


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return archive_in(tmp_path)


def celsius_and_others(ds: xr.Dataset) -> xr.Dataset:
    ds["2m_temperature"] = (ds["2m_temperature"] - 273.15).assign_attrs(units="degC")
    ds["mean_sea_level_pressure"] = (ds["mean_sea_level_pressure"] / 100).assign_attrs(units="hPa")
    ds["specific_humidity"] = (ds["specific_humidity"] * 1000).assign_attrs(units="g kg-1")
    ds["geopotential"] = (ds["geopotential"] / 9.80665).assign_attrs(units="gpm")
    return ds


def noleap(ds: xr.Dataset) -> xr.Dataset:
    ds = ds.assign_coords(time=("time", np.arange(8) * 6.0))
    ds["time"].attrs = {"units": "hours since 2019-02-28", "calendar": "noleap"}
    return ds


def turned(ds: xr.Dataset) -> xr.Dataset:
    east = (ds["longitude"] + 180) % 360 - 180
    return ds.assign_coords(longitude=east).sortby("longitude")


def with_last_column_again(ds: xr.Dataset) -> xr.Dataset:
    first = ds.isel(longitude=[0]).assign_coords(longitude=[360.0])
    return xr.concat([ds, first], "longitude")


RIGHT: dict[str, Change] = {
    "other units": celsius_and_others,
    "levels in another order": lambda ds: ds.isel(level=[1, 0]),
    "levels in Pa without units": lambda ds: ds.assign_coords(level=[50_000, 85_000]),
    "times in another order": lambda ds: ds.isel(time=[3, 0, 1, 2, 7, 5, 6, 4]),
    "longitudes from -180": turned,
    "a last column that is the first": with_last_column_again,
}


@pytest.mark.parametrize("change", RIGHT.values(), ids=RIGHT)
def test_what_has_one_meaning_is_put_right(archive: Archive, change: Change) -> None:
    found, expected = states(archive(change)), states(archive(name="plain.zarr"))
    torch.testing.assert_close(found, expected, rtol=2e-6, atol=1e-9)


def test_reversed_rows_and_turned_columns_follow_the_grid_that_is_asked_for(
    archive: Archive,
) -> None:
    plain = ZarrReference(archive(name="plain.zarr"), VARIABLES)
    other = ZarrReference(
        archive(lambda ds: turned(ds.isel(latitude=slice(None, None, -1)))), VARIABLES
    )
    assert other.spec.grid.latitude == plain.spec.grid.latitude[::-1]
    time = TIMES[3]
    assert torch.equal(other.on(plain.spec.grid, "it").state(time), plain.state(time))
    with pytest.raises(ValueError, match=r"allowed: those of statistics abc, -80 to 80 \(8\)"):
        other.on(
            LatLonGrid(tuple(np.linspace(-80, 80, 8).tolist()), plain.spec.grid.longitude),
            "statistics abc",
        )


def test_blocks_are_averaged_by_area_and_keep_the_mean(archive: Archive) -> None:
    fine = ZarrReference(archive(), VARIABLES)
    coarse = ZarrReference(fine.sources[0].where, VARIABLES, coarsen=2)
    assert coarse.spec.grid.shape == (4, 8) and coarse.spec.grid.latitude[0] == -67.5
    means = [
        (r.state(TIMES[1]).double() * torch.from_numpy(r.spec.grid.area_fractions)[:, None])
        .mean(2)
        .sum(1)
        for r in (fine, coarse)
    ]
    torch.testing.assert_close(means[0], means[1], rtol=1e-5, atol=0)
    with pytest.raises(ValueError, match=r"8 latitudes; reference\.coarsen 3 must divide them"):
        ZarrReference(fine.sources[0].where, VARIABLES, coarsen=3)


def test_a_calendar_without_leap_days_is_ours_where_the_days_are(archive: Archive) -> None:
    address = archive(noleap)
    reference = ZarrReference(address, VARIABLES)
    assert reference.times[0] == pd.Timestamp("2019-02-28")
    assert reference.times[4] == pd.Timestamp("2019-03-01")


def calendar_of_360_days(ds: xr.Dataset) -> xr.Dataset:
    ds = noleap(ds)
    ds["time"].attrs["calendar"] = "360_day"
    return ds


def in_feet(ds: xr.Dataset) -> xr.Dataset:
    ds["2m_temperature"].attrs["units"] = "furlong"
    return ds


def wrong_unit(ds: xr.Dataset) -> xr.Dataset:
    ds["2m_temperature"].attrs["units"] = "degC"
    return ds


WRONG: dict[str, tuple[Change, str]] = {
    "another calendar": (calendar_of_360_days, r"calendar '360_day', .* allowed: standard"),
    "a unit that is none": (in_feet, r"'2m_temperature' has units 'furlong'; allowed: 'K'"),
    "a unit that lies": (wrong_unit, r"'degC' taken as 'K'.*'t2m': 1024 of 1024 .* allowed: 140"),
    "a missing time": (
        lambda ds: ds.isel(time=[0, 1, 2, 4, 5, 6, 7]),
        r"lacks 1 of 8 times, the first 2020-02-28 18",
    ),
    "a time twice": (
        lambda ds: ds.isel(time=[0, 1, 1, 2, 3, 4, 5, 6, 7]),
        r"2020-02-28 06:00:00 comes twice",
    ),
    "a level that is missing": (lambda ds: ds.isel(level=[0]), r"no level 850 hPa; present: 500"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_used_is_said_in_one_line(
    archive: Archive, change: Change, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as error:
        states(archive(change))
    assert "\n" not in str(error.value) and "era5.zarr" in str(error.value)


@pytest.mark.parametrize("fill", [0.0, float("nan")])
def test_a_missing_chunk_is_not_zeros(archive: Archive, fill: float) -> None:
    def filled(ds: xr.Dataset) -> xr.Dataset:
        return ds

    address = archive(filled)
    metadata = Path(address) / "2m_temperature" / ".zarray"
    metadata.write_text(
        metadata.read_text().replace('"fill_value": null', f'"fill_value": {fill}')
    )
    os.unlink(Path(address) / "2m_temperature" / "1.0.0")
    reference = ZarrReference(address, VARIABLES)
    reference.state(TIMES[0])
    with pytest.raises(ValueError, match=r"chunk '2m_temperature/1\.0\.0' is missing"):
        reference.state(TIMES[2])
