"""A reference in netCDF files: packed values, several files, and what is refused of them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import netCDF4
import numpy as np
import pandas as pd
import pytest
import torch

from tasks.reference import Reference, allowed_range
from tasks.reference_gridded import NetcdfReference, ZarrReference
from tasks.store import join
from tests.real_states import EUROPE, MSL, SURFACE, T, Z, upload

DAY = pd.Timedelta(days=1)
FIRST, LAST = pd.Timestamp("2007-12-01T12"), pd.Timestamp("2008-01-29T12")


def line(error: pytest.ExceptionInfo[ValueError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.fixture
def europe(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EUROPE, tmp_path / "europe"))


def test_netcdf_values_are_the_packed_ones_unpacked() -> None:
    reference = NetcdfReference(str(EUROPE), (MSL, Z, T))
    assert isinstance(reference, Reference)
    assert reference.spec.field_names == ("msl", "z@500", "t@850")
    assert reference.spec.grid.latitude[0] == 55 > reference.spec.grid.latitude[-1] == 30
    assert not reference.spec.grid.wraps
    x = reference.state(FIRST + 3 * DAY)
    for i, (file, name) in enumerate([(MSL.file, "msl"), (Z.file, "z"), (T.file, "t")]):
        with netCDF4.Dataset(EUROPE / str(file)) as ds:
            ds.set_auto_maskandscale(False)
            packed = ds[name]
            expected = packed[3] * float(packed.scale_factor) + float(packed.add_offset)
        np.testing.assert_allclose(x[i], expected, rtol=1e-7)


def test_states_are_the_single_states_in_the_order_asked_for() -> None:
    reference = NetcdfReference(str(EUROPE), (MSL, Z, T))
    times = [FIRST + 5 * DAY, FIRST, FIRST + 6 * DAY]
    x = reference.states(times)
    for i, time in enumerate(times):
        assert torch.equal(x[i], reference.state(time))
    assert reference.times.equals(pd.date_range(FIRST, LAST, freq="D").as_unit("ns"))


def test_good_data_pass_the_check() -> None:
    NetcdfReference(str(EUROPE), (MSL, Z, T)).check(FIRST, LAST, DAY)


def test_one_variable_may_come_from_several_files(europe: Path) -> None:
    def move(ds: netCDF4.Dataset) -> None:
        ds["z"].add_offset = float(ds["z"].add_offset) - 41_500.0

    shutil.copy(europe / "z500_2000-2008.nc", europe / "z850.nc")
    edit(europe / "z850.nc", move)
    lower = Z.model_copy(update={"levels": (850.0,), "file": "z850.nc"})
    reference = NetcdfReference(str(europe), (Z, MSL, lower))
    assert reference.spec.field_names == ("z@500", "z@850", "msl")
    x = reference.state(FIRST)
    torch.testing.assert_close(x[0] - x[1], torch.full((11, 13), 41_500.0), rtol=0, atol=0.02)
    with pytest.raises(ValueError, match="comes twice"):
        NetcdfReference(str(europe), (MSL, MSL))


def edit(path: Path, change: Callable[[netCDF4.Dataset], None]) -> None:
    with netCDF4.Dataset(path, "a") as ds:
        ds.set_auto_maskandscale(False)
        change(ds)


def set_missing(ds: netCDF4.Dataset) -> None:
    ds["z"][7, 2, 3] = -32767


def set_fill_without_mask(ds: netCDF4.Dataset) -> None:
    ds["z"].delncattr("_FillValue") if "_FillValue" in ds["z"].ncattrs() else None
    ds["z"].missing_value = np.int16(1)
    ds["z"].scale_factor = 1e30


def set_height(ds: netCDF4.Dataset) -> None:
    ds["z"].scale_factor = float(ds["z"].scale_factor) / 9.80665
    ds["z"].add_offset = float(ds["z"].add_offset) / 9.80665


def set_units(ds: netCDF4.Dataset) -> None:
    ds["z"].units = "m"


def rename(ds: netCDF4.Dataset) -> None:
    ds.renameVariable("z", "gh")


def shift(ds: netCDF4.Dataset) -> None:
    ds["time"][:] = ds["time"][:] + 24 * (np.arange(60) >= 30)


def repeat(ds: netCDF4.Dataset) -> None:
    ds["time"][5] = ds["time"][4]


def shift_grid(ds: netCDF4.Dataset) -> None:
    ds["longitude"][:] = ds["longitude"][:] + 1


def beyond_poles(ds: netCDF4.Dataset) -> None:
    ds["latitude"][:] = ds["latitude"][:] + 40


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (set_missing, ["1 of 8580", "nan", "2007-12-08 12:00", "latitude 50,", "longitude -7.5"]),
        (set_fill_without_mask, ["'z@500'", "allowed", "m2 s-2"]),
        (set_height, ["'z@500'", "8580 of 8580", "allowed"]),
        (set_units, ["'z@500'", "'m' taken as 'm2 s-2'", "8580 of 8580", "allowed"]),
        (rename, ["'z'", "missing", "present: gh"]),
        (shift, ["'z'", "lacks 1 of 60", "2007-12-31 12:00", "present"]),
        (repeat, ["ascend"]),
        (shift_grid, ["longitude -14 to 16", "allowed", "-15 to 15"]),
        (beyond_poles, ["latitude 95", "-90 to 90"]),
    ],
)
def test_bad_files_are_refused_in_one_line(
    europe: Path, change: Callable[[netCDF4.Dataset], None], parts: list[str]
) -> None:
    edit(europe / "z500_2000-2008.nc", change)
    with pytest.raises(ValueError) as error:
        NetcdfReference(str(europe), (MSL, Z, T)).check(FIRST, LAST, DAY)
    text = line(error)
    assert "z500_2000-2008.nc" in text
    for part in parts:
        assert part in text, text


def test_state_refuses_what_check_refuses(europe: Path) -> None:
    edit(europe / "z500_2000-2008.nc", set_missing)
    reference = NetcdfReference(str(europe), (MSL, Z, T))
    reference.state(FIRST)
    with pytest.raises(ValueError, match="2007-12-08"):
        reference.state(FIRST + 7 * DAY)


def test_check_names_the_times_outside(europe: Path) -> None:
    reference = NetcdfReference(str(europe), (MSL,))
    with pytest.raises(ValueError, match="lacks 2 of 62 times, the first 2008-01-30 12:00:00"):
        reference.check(FIRST, LAST + 2 * DAY, DAY)
    with pytest.raises(ValueError, match="in order"):
        reference.check(LAST, FIRST, DAY)


def test_missing_or_broken_files_are_named(europe: Path) -> None:
    other = MSL.model_copy(update={"file": "nothing.nc"})
    with pytest.raises(ValueError, match=r"nothing\.nc: no such file"):
        NetcdfReference(str(europe), (other,))
    (europe / "nothing.nc").write_bytes(b"no netCDF")
    with pytest.raises(ValueError, match=r"nothing\.nc: not a netCDF file"):
        NetcdfReference(str(europe), (other,))
    with pytest.raises(ValueError, match="no Zarr group"):
        ZarrReference(str(europe), SURFACE)
    with pytest.raises(ValueError, match="no Zarr group"):
        ZarrReference(str(europe / "absent"), SURFACE)


@pytest.mark.s3
def test_netcdf_on_s3_equals_local(s3_root: str) -> None:
    address = upload(EUROPE, join(s3_root, "europe"))
    remote = NetcdfReference(address, (MSL, T)).state(FIRST)
    assert torch.equal(remote, NetcdfReference(str(EUROPE), (MSL, T)).state(FIRST))


def test_allowed_geopotential_tells_meters_from_square_meters_per_square_second() -> None:
    for level in (1000.0, 850.0, 500.0, 200.0, 10.0):
        low, high = allowed_range("geopotential", level)
        standard = 9.80665 * 44_330.8 * (1 - (level / 1013.25) ** 0.190263)
        if level > 200:
            assert low < standard < high
        if level < 700:
            assert not low < standard / 9.80665 < high
