"""One variable of a gridded archive, brought to one form: (time, [level,] latitude, longitude).

Names, dimensions, levels, times, units, and the order of rows, columns and times differ between
archives (`tasks.reference_grid`, `tasks.reference_units`). The order of the latitudes is kept,
unless another is asked for. Where a file does not say its pressure level, the table of variables
does.

References:
    | Rasp et al. (2024), WeatherBench 2, doi 10.1029/2023MS004019 (names and layout)
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from configs.data import DataVariable, Region
from models.grid import LatLonGrid
from models.state import Field, Variable, same_level
from tasks.reference import allowed_range
from tasks.reference_files import DIMENSIONS, decode_times
from tasks.reference_grid import GridView
from tasks.reference_units import conversion

__all__ = ["LONG_NAMES", "Source", "find_source"]

LONG_NAMES = {
    "z": "geopotential",
    "t": "temperature",
    "u": "u_component_of_wind",
    "v": "v_component_of_wind",
    "q": "specific_humidity",
    "t2m": "2m_temperature",
    "u10": "10m_u_component_of_wind",
    "v10": "10m_v_component_of_wind",
    "msl": "mean_sea_level_pressure",
    "sp": "surface_pressure",
    "tp": "total_precipitation",
}
#: Pressures above this are in Pa, whatever the units say or do not say.
HIGHEST_HPA = 2000.0


@dataclass(frozen=True)
class Source:
    """One variable, or some of its levels, in one file.

    Attributes:
        variable: The variable, with the levels that come from here.
        where: File or store, for messages.
        array: Values with the dimensions (time, [level,] latitude, longitude), not yet read.
        times: Their times, UTC.
        view: Which rows and columns make the state.
        scale: Factor and offset that give the units of the variable.
    """

    variable: Variable
    where: str
    array: xr.DataArray
    times: pd.DatetimeIndex
    view: GridView
    scale: tuple[float, float] = (1.0, 0.0)

    @property
    def grid(self) -> LatLonGrid:
        """The horizontal grid."""
        return self.view.grid

    def like(self, grid: LatLonGrid) -> "Source":
        """Return the same source in the order of another grid of the same points."""
        return self if grid == self.grid else replace(self, view=self.view.like(grid))

    @property
    def fields(self) -> tuple[Field, ...]:
        """The fields that come from here."""
        levels = self.variable.levels or (None,)
        return tuple(Field(self.variable.name, level) for level in levels)

    @property
    def chunk(self) -> int:
        """Number of times in a chunk of the data; 1 if it has none."""
        chunks = self.array.encoding.get("preferred_chunks") or {}
        return int(next((chunks[name] for name in DIMENSIONS["time"] if name in chunks), 1))

    def index(self, times: pd.DatetimeIndex) -> NDArray[np.intp]:
        """Return where some times are; a missing one is refused."""
        index = self.times.get_indexer(times)
        if (index < 0).any():
            lacking, first, last = times[index < 0], self.times.min(), self.times.max()
            raise ValueError(
                f"{self.where}: variable {self.variable.name!r} lacks {len(lacking)} of "
                f"{len(times)} times, the first {lacking[0]}; "
                f"present: {len(self.times)} times from {first} to {last}"
            )
        return index

    def read(self, times: pd.DatetimeIndex) -> NDArray[np.float32]:
        """Return the values at some times, of shape (time, field, lat, lon)."""
        values = self.array.isel(time=contiguous(self.index(times))).values
        if self.scale != (1.0, 0.0):
            values = values.astype(np.float64) * self.scale[0] + self.scale[1]
        values = values.astype(np.float32, copy=False)
        return self.view.take(values.reshape(len(times), len(self.fields), *values.shape[-2:]))


def find_source(
    ds: xr.Dataset, entry: DataVariable, region: Region | None, where: str, coarsen: int = 1
) -> Source:
    """Find a variable in a dataset and bring it to one form."""
    names = [entry.source] if entry.source else [entry.name, LONG_NAMES.get(entry.name)]
    found = [name for name in names if name in ds.data_vars]
    if not found:
        present = ", ".join(sorted(str(name) for name in ds.data_vars)) or "none"
        looked = " or ".join(repr(name) for name in names if name)
        raise ValueError(f"{where}: variable {looked} is missing; present: {present}")
    array = ds[found[0]]
    variable = Variable(**entry.model_dump(exclude={"source", "file"}))
    scale = units_of(array, variable, where)
    array = rename(array, ds, where)
    times = decode_times(ds, array, where)
    array = squeeze(select_levels(array, variable, where), variable, where)
    array = array if region is None else cut(array, region, where)
    view = view_of(array, where, coarsen)
    if scale != (1.0, 0.0):
        where = f"{where} ({array.attrs['units']!r} taken as {variable.units!r})"
    return Source(variable, where, array, times, view, scale)


def view_of(array: xr.DataArray, where: str, coarsen: int) -> GridView:
    """Return how the rows and columns of an array make a state."""
    latitude, longitude = (array[name].values.astype(float) for name in ("latitude", "longitude"))
    try:
        return GridView.of(latitude, longitude, coarsen)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def units_of(array: xr.DataArray, variable: Variable, where: str) -> tuple[float, float]:
    """Return factor and offset to the variable's units; without a unit the values must tell."""
    units = array.attrs.get("units")
    limits = allowed_range(variable.standard_name, (variable.levels or (None,))[0])
    if units is None and np.isfinite(limits).all():
        return 1.0, 0.0
    scale = conversion(str(units), variable.units, variable.standard_name)
    if units is not None and scale is not None:
        return scale
    found = "no units" if units is None else f"units {str(units)!r}"
    raise ValueError(f"{where}: variable {array.name!r} has {found}; allowed: {variable.units!r}")


def rename(array: xr.DataArray, ds: xr.Dataset, where: str) -> xr.DataArray:
    """Give the dimensions one name each and their coordinates."""
    for name, others in DIMENSIONS.items():
        found = [other for other in others if other in array.dims]
        if not found and name != "level":
            raise ValueError(
                f"{where}: variable {array.name!r} has the dimensions {array.dims}; "
                f"needed: {' or '.join(others)}"
            )
        if found and found[0] not in ds.variables:
            raise ValueError(f"{where}: dimension {found[0]!r} has no coordinate of that name")
        if found and found[0] != name:
            array = array.rename({found[0]: name})
    return array


def select_levels(array: xr.DataArray, variable: Variable, where: str) -> xr.DataArray:
    """Select the levels of a variable [hPa]; a file with one level need not name it."""
    if variable.levels is None:
        return array
    if "level" not in array.dims:
        if len(variable.levels) > 1:
            text = f"variable {array.name!r} has no dimension of levels, needed for"
            raise ValueError(f"{where}: {text} {list(variable.levels)} hPa")
        return array.expand_dims("level", 1)
    present = array["level"].values.astype(float)
    if array["level"].attrs.get("units") == "Pa" or present.max() > HIGHEST_HPA:
        present = present / 100
    index = []
    for level in variable.levels:
        found = [i for i, own in enumerate(present) if same_level(own, level)]
        if not found:
            levels = ", ".join(f"{own:g}" for own in present)
            text = f"variable {array.name!r} has no level {level:g} hPa"
            raise ValueError(f"{where}: {text}; present: {levels}")
        index.append(found[0])
    return array.isel(level=contiguous(np.asarray(index)))


def squeeze(array: xr.DataArray, variable: Variable, where: str) -> xr.DataArray:
    """Drop other dimensions of length 1 and order the rest."""
    kept = ["time", *(["level"] if variable.levels else []), "latitude", "longitude"]
    for dimension in set(array.dims) - set(kept):
        if array.sizes[dimension] > 1:
            text = f"variable {array.name!r} has {array.sizes[dimension]} values of"
            raise ValueError(f"{where}: {text} {dimension!r}; allowed: 1")
        array = array.isel({dimension: 0})
    return array.transpose(*kept)


def cut(array: xr.DataArray, region: Region, where: str) -> xr.DataArray:
    """Cut out a box; the longitudes are counted from its western edge on."""
    latitude = array["latitude"].values.astype(float)
    turned = (array["longitude"].values.astype(float) - region.west + 1e-6) % 360 - 1e-6
    rows = np.flatnonzero((latitude >= region.south - 1e-6) & (latitude <= region.north + 1e-6))
    columns = np.flatnonzero(turned <= region.east - region.west + 1e-6)
    columns = columns[np.argsort(turned[columns])]
    if len(rows) < 2 or len(columns) < 2:
        box = f"{region.south:g} to {region.north:g} N, {region.west:g} to {region.east:g} E"
        found = f"{len(rows)} latitudes and {len(columns)} longitudes"
        raise ValueError(f"{where}: the region {box} holds {found}; at least 2 are needed")
    array = array.isel(latitude=contiguous(rows), longitude=contiguous(columns))
    longitude = array["longitude"].values.astype(float)
    turns = np.round((turned[columns] + region.west - longitude) / 360)
    return array.assign_coords(longitude=longitude + 360 * turns)


def contiguous(index: NDArray[np.intp]) -> slice | NDArray[np.intp]:
    """Return a slice where the index is one, which reads faster."""
    if len(index) and (np.diff(index) == 1).all():
        return slice(int(index[0]), int(index[-1]) + 1)
    return index
