import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from models.grid import LatLonGrid
from models.state import StateSpec, Variable, embedded_spec, same_units

TIMES = pd.date_range("2004-02-28", periods=3, freq="6h")
EUROPE = StateSpec(
    (
        Variable("msl", "air_pressure_at_mean_sea_level", "Pa"),
        Variable("z", "geopotential", "m2 s-2", (500.0,)),
        Variable("t", "air_temperature", "K", (850.0, 500.0), "temperature"),
    ),
    LatLonGrid((55.0, 52.5, 50.0), (-15.0, -12.5, -10.0, -7.5)),
    "pressure",
)


def random_states(spec: StateSpec, *batch: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(*batch, *spec.shape, generator=generator) * 100


@pytest.mark.parametrize("spec", [embedded_spec(), EUROPE], ids=["embedded", "europe"])
def test_round_trip_through_xarray_is_exact(spec: StateSpec) -> None:
    x = random_states(spec, 3)
    ds = spec.to_dataset(x, list(TIMES))
    assert torch.equal(spec.to_tensor(ds), x)
    assert torch.equal(spec.to_tensor(ds.isel(time=1)), x[1:2])
    assert torch.equal(spec.to_tensor(ds.transpose()), x)
    assert torch.equal(spec.to_tensor(ds.rename(latitude="lat", longitude="lon")), x)


def test_round_trip_through_netcdf_is_exact(tmp_path: Path) -> None:
    spec, x = embedded_spec(), random_states(embedded_spec(), 3)
    spec.to_dataset(x, list(TIMES)).to_netcdf(tmp_path / "x.nc")
    with xr.open_dataset(tmp_path / "x.nc") as ds:
        assert (ds["time"] == TIMES.to_numpy("datetime64[ns]")).all()
        assert torch.equal(spec.to_tensor(ds), x)


def test_members_are_a_dimension() -> None:
    spec, x = embedded_spec(), random_states(embedded_spec(), 3, 2)
    ds = spec.to_dataset(x, list(TIMES), member_dim=True)
    assert ds["t"].dims == ("time", "member", "level", "latitude", "longitude")
    assert ds["sp"].dims == ("time", "member", "latitude", "longitude")
    assert torch.equal(spec.to_tensor(ds.isel(member=1, drop=True)), x[:, 1])


def test_embedded_fields_are_ordered_by_variable_then_level() -> None:
    spec = embedded_spec()
    assert spec.shape == (33, 32, 64)
    assert spec.field_names[:2] == ("u@0.025", "u@0.095")
    assert spec.field_names[-1] == "sp"
    assert spec.slices == {
        "u": slice(0, 8),
        "v": slice(8, 16),
        "t": slice(16, 24),
        "q": slice(24, 32),
        "sp": slice(32, 33),
    }
    assert [spec.index(*field) for field in spec.fields] == list(range(33))
    assert spec.index("t", np.float32(0.51).item()) == 20


def test_files_have_cf_names_units_and_axes() -> None:
    ds = embedded_spec().to_dataset(random_states(embedded_spec(), 3), list(TIMES))
    assert ds.attrs["Conventions"] == "CF-1.11"
    assert ds["time"].dtype == "datetime64[ns]"
    assert ds["latitude"].attrs["units"] == "degrees_north"
    assert ds["longitude"].attrs["units"] == "degrees_east"
    assert ds["level"].attrs["formula_terms"] == "sigma: level ps: sp ptop: ptop"
    assert "ptop" in ds.coords
    for name in ds.data_vars:
        assert {"standard_name", "long_name", "units"} <= set(ds[name].attrs)
    europe = EUROPE.to_dataset(random_states(EUROPE, 3), list(TIMES))
    assert europe["level"].attrs["units"] == "hPa"
    assert europe["level"].to_numpy().tolist() == [500.0, 850.0]


def test_negative_humidity_is_written_as_zero() -> None:
    spec, x = embedded_spec(), random_states(embedded_spec(), 3) - 50
    ds = spec.to_dataset(x, list(TIMES))
    assert (ds["q"] == x[:, spec.slices["q"]].clamp(min=0).numpy()).all()
    assert (ds["u"] < 0).any()
    assert (x[:, spec.slices["q"]] < 0).any()


def test_levels_a_variable_does_not_have_are_missing_on_disk() -> None:
    ds = EUROPE.to_dataset(random_states(EUROPE, 3), list(TIMES))
    assert np.isnan(ds["z"].sel(level=850)).all()
    assert not np.isnan(ds["t"]).any()


def test_single_level_may_stand_without_a_dimension() -> None:
    x = random_states(EUROPE, 3)
    ds = EUROPE.to_dataset(x, list(TIMES))
    for part in (ds["z"].sel(level=500), ds["z"].sel(level=500, drop=True)):
        alone = xr.Dataset({"z": part, "msl": ds["msl"]})
        spec = StateSpec(EUROPE.variables[:2], EUROPE.grid, "pressure")
        assert torch.equal(spec.to_tensor(alone), x[:, :2])
    wrong = xr.Dataset({"z": ds["z"].sel(level=850), "msl": ds["msl"]})
    with pytest.raises(ValueError, match="variable 'z' has no level 500; present: 850"):
        spec.to_tensor(wrong)


def test_units_are_compared_by_meaning_not_by_spelling() -> None:
    assert same_units("m**2 s**-2", "m2 s-2")
    assert same_units("m/s", "m s-1")
    assert same_units("kg kg**-1", "1")
    assert same_units("J/kg/K", "J kg-1 K-1") is False
    assert not same_units("degC", "K")
    assert not same_units("hPa", "Pa")
    assert not same_units("", "1")
    assert not same_units("no unit (0-1)", "no unit (0-2)")


BAD = "variable 't@850': 1 of 36 values are not finite, the first at "


def broken(name: str) -> xr.Dataset:
    ds = EUROPE.to_dataset(random_states(EUROPE, 3), list(TIMES))
    if name == "variable":
        return ds.drop_vars("t")
    if name == "unit":
        ds["t"].attrs["units"] = "degC"
    if name == "no unit":
        del ds["t"].attrs["units"]
    if name == "level":
        return ds.sel(level=[500])
    if name == "nan":
        ds["t"][1, 1, 2, 3] = np.nan
    if name == "infinite":
        ds["msl"][2, 0, 0] = np.inf
    if name == "grid":
        return ds.isel(latitude=slice(None, None, -1))
    if name == "poles":
        return ds.assign_coords(latitude=[95.0, 92.5, 90.0])
    if name == "dimension":
        return ds.expand_dims(number=2)
    return ds


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("variable", "variable 't' is missing; present: msl, z"),
        ("unit", "variable 't' has 'degC', allowed: 'K'"),
        ("no unit", "variable 't' has no units, allowed: 'K'"),
        ("level", "variable 't' has no level 850; present: 500"),
        (
            "nan",
            BAD + "2004-02-28T06:00:00, latitude 50, longitude -7.5",
        ),
        (
            "infinite",
            BAD.replace("t@850", "msl") + "2004-02-28T12:00:00, latitude 55, longitude -15",
        ),
        ("grid", r"latitude is 50 to 55 \(3 values\), expected 55 to 50 \(3 values\)"),
        ("poles", "latitude 95 is beyond the poles, allowed -90 to 90"),
        ("dimension", r"variable 'msl' has other dimensions: \['number'\]"),
    ],
)
def test_bad_datasets_are_refused_in_one_line(name: str, message: str) -> None:
    with pytest.raises(ValueError, match="^" + message + "$"):
        EUROPE.to_tensor(broken(name))


def test_wrong_shapes_are_refused() -> None:
    x = random_states(EUROPE, 3)
    with pytest.raises(ValueError, match=r"shape \(3, 4, 3, 4\), expected \(2, 4, 3, 4\)"):
        EUROPE.to_dataset(x, list(TIMES[:2]))


def test_specification_survives_json() -> None:
    for spec in (embedded_spec(), EUROPE):
        assert StateSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_unknown_fields_are_refused_with_what_is_allowed() -> None:
    with pytest.raises(ValueError, match="unknown variable 'w', allowed: msl, z, t"):
        EUROPE.index("w")
    with pytest.raises(ValueError, match=r"variable 't' has no level 700\.0, allowed: 850, 500"):
        EUROPE.index("t", 700.0)
    with pytest.raises(ValueError, match=r"variable 'msl' has no level 500\.0, allowed: none"):
        EUROPE.index("msl", 500.0)
    with pytest.raises(ValueError, match="variable 't' has no level None, allowed: 850, 500"):
        EUROPE.index("t")


def test_senseless_specifications_are_refused() -> None:
    with pytest.raises(ValueError, match="different names"):
        StateSpec(EUROPE.variables * 2, EUROPE.grid, "pressure")
    with pytest.raises(ValueError, match="level twice"):
        Variable("t", "air_temperature", "K", (500.0, 500.0))
    with pytest.raises(ValueError, match="empty list of levels"):
        Variable("t", "air_temperature", "K", ())
