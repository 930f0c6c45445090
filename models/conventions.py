"""Datasets by the CF conventions: reading one variable, and the coordinates of a state's file.

References:
    | CF metadata conventions 1.11, https://cfconventions.org
"""

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from models.grid import LatLonGrid, coordinate_name
from models.variables import Variable, same_level, same_units

__all__ = [
    "CONVENTIONS",
    "VERTICAL",
    "horizontal_coordinates",
    "level_coordinates",
    "member_coordinate",
    "read_variable",
    "time_coordinate",
]

CONVENTIONS = "CF-1.11"
VERTICAL = {
    "sigma": {
        "standard_name": "atmosphere_sigma_coordinate",
        "long_name": "sigma at layer midpoints",
        "units": "1",
        "positive": "down",
        "axis": "Z",
    },
    "pressure": {
        "standard_name": "air_pressure",
        "long_name": "pressure level",
        "units": "hPa",
        "positive": "down",
        "axis": "Z",
    },
}
HORIZONTAL = {
    "latitude": {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"},
    "longitude": {"standard_name": "longitude", "units": "degrees_east", "axis": "X"},
}
TIME_ENCODING = {"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian"}
MEMBER = {"standard_name": "realization", "long_name": "ensemble member", "units": "1"}


def read_variable(ds: xr.Dataset, variable: Variable) -> NDArray[np.float32]:
    """Return one variable as (time, level, lat, lon), with the levels of `variable`.

    Raises:
        ValueError: The variable or a level is missing, or the unit is another one.
    """
    if variable.name not in ds.data_vars:
        present = ", ".join(str(name) for name in ds.data_vars)
        raise ValueError(f"variable {variable.name!r} is missing; present: {present}")
    array = ds[variable.name]
    units = str(array.attrs.get("units", ""))
    if not same_units(units, variable.units):
        found = repr(units) if units else "no units"
        raise ValueError(f"variable {variable.name!r} has {found}, allowed: {variable.units!r}")
    array = array if "time" in array.dims else array.expand_dims("time")
    array = select_levels(array, variable)
    axes = (coordinate_name(ds, "latitude"), coordinate_name(ds, "longitude"))
    extra = [str(dim) for dim in array.dims if dim not in ("time", "level", *axes)]
    if extra:
        raise ValueError(f"variable {variable.name!r} has other dimensions: {extra}")
    return np.asarray(array.transpose("time", "level", *axes), np.float32)


def select_levels(array: xr.DataArray, variable: Variable) -> xr.DataArray:
    """Select the levels of a variable; a single level may stand without a dimension."""
    single = array if "level" in array.dims else array.expand_dims("level")
    if variable.levels is None:
        if single.sizes["level"] > 1:
            raise ValueError(f"variable {variable.name!r} has levels, expected a surface field")
        return single
    if "level" not in array.coords:
        if len(variable.levels) == 1 and "level" not in array.dims:
            return single
        raise ValueError(f"variable {variable.name!r} has no coordinate 'level'")
    present = np.atleast_1d(np.asarray(array["level"], np.float64)).tolist()
    index = []
    for level in variable.levels:
        found = [i for i, own in enumerate(present) if same_level(own, level)]
        if not found:
            values = ", ".join(f"{value:g}" for value in present)
            text = f"variable {variable.name!r} has no level {level:g}; present: {values}"
            raise ValueError(text)
        index.append(found[0])
    return single.isel(level=index)


def time_coordinate(times: pd.DatetimeIndex) -> xr.Variable:
    """Return the coordinate `time`, which is written in whole seconds."""
    attributes = {"standard_name": "time", "long_name": "valid time", "axis": "T"}
    encoding = TIME_ENCODING | {"dtype": "int64"}
    return xr.Variable("time", times.to_numpy("datetime64[ns]"), attributes, encoding)


def member_coordinate(members: int) -> xr.Variable:
    """Return the coordinate `member`."""
    return xr.Variable("member", np.arange(members), MEMBER)


def horizontal_coordinates(grid: LatLonGrid) -> dict[str, xr.Variable]:
    """Return the coordinates `latitude` and `longitude`."""
    return {
        axis: xr.Variable(axis, np.asarray(getattr(grid, axis), np.float64), attributes)
        for axis, attributes in HORIZONTAL.items()
    }


def level_coordinates(
    levels: tuple[float, ...], vertical: str, surface_pressure: str | None
) -> dict[str, xr.Variable]:
    """Return the vertical coordinate; sigma is (p − ptop) / (ps − ptop) with ptop = 0 Pa."""
    if not levels:
        return {}
    attributes = dict(VERTICAL[vertical])
    if vertical == "pressure" or surface_pressure is None:
        return {"level": xr.Variable("level", list(levels), attributes)}
    attributes["formula_terms"] = f"sigma: level ps: {surface_pressure} ptop: ptop"
    top = {"long_name": "pressure at the top of the model", "units": "Pa"}
    level = xr.Variable("level", list(levels), attributes)
    return {"level": level, "ptop": xr.Variable((), 0.0, top)}
