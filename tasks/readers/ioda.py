"""IODA (JEDI's observation files, netCDF-4 or HDF5): groups MetaData, ObsValue, ObsError, PreQC.

Values are SI by the format; a unit that is named is checked. `PreQC` (or `PreUseFlag`) goes to
`quality`, `ObsError` to `error`. Reports with a station pressure or with variables at 2 m or 10 m
are of the surface. The report type is the start of the file's name.

References:
    | JCSDA, IODA data conventions, https://jointcenterforsatellitedataassimilation-jedi-docs.readthedocs-hosted.com
"""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.observations.conversions import GRAVITY
from models.observations.reports import Reports
from tasks.readers.account import Account, Batch, Unreadable, batch_of
from tasks.readers.files import File
from tasks.readers.netcdf import Variable, open_netcdf, si, strings, times, values
from tasks.readers.unread import leave_fields

if TYPE_CHECKING:
    import netCDF4

__all__ = ["read_ioda"]

BATCH = 50_000
VALUE, ERROR, META = "ObsValue", "ObsError", "MetaData"
QUALITY = ("PreQC", "PreUseFlag", "QualityMarker")


class Known(NamedTuple):
    """A quantity of the table and the unit that IODA gives it."""

    quantity: str
    kind: str
    unit: str
    surface: bool = False


VARIABLES = {
    "airTemperature": Known("temperature", "temperature", "K"),
    "airTemperatureAt2M": Known("temperature", "temperature", "K", True),
    "dewPointTemperature": Known("dewpoint", "temperature", "K"),
    "relativeHumidity": Known("relative_humidity", "fraction", "1"),
    "specificHumidity": Known("specific_humidity", "fraction", "kg kg-1"),
    "specificHumidityAt2M": Known("specific_humidity", "fraction", "kg kg-1", True),
    "windEastward": Known("u", "speed", "m s-1"),
    "windNorthward": Known("v", "speed", "m s-1"),
    "windEastwardAt10M": Known("u", "speed", "m s-1", True),
    "windNorthwardAt10M": Known("v", "speed", "m s-1", True),
    "windSpeed": Known("wind_speed", "speed", "m s-1"),
    "windDirection": Known("wind_direction", "direction", "degrees"),
    "stationPressure": Known("station_pressure", "pressure", "Pa", True),
    "pressureReducedToMeanSeaLevel": Known("sea_level_pressure", "pressure", "Pa"),
    "seaSurfaceTemperature": Known("sea_temperature", "temperature", "K"),
    "geopotentialHeight": Known("geopotential", "length", "m"),
    "atmosphericRefractivity": Known("refractivity", "refractivity", "N units"),
    "bendingAngle": Known("bending_angle", "angle", "radians"),
}
COORDINATES = {
    "pressure": Known("pressure", "pressure", "Pa"),
    "height": Known("height", "length", "m"),
    "impactParameterRO": Known("impact_parameter", "length", "m"),
}
STATIONS = ("stationIdentification", "stationIdentifier", "aircraftIdentifier")


def read_ioda(file: File) -> Iterator[Batch]:
    """Yield the batches of an IODA file."""
    with file.local() as path, open_netcdf(path) as dataset:
        groups = dataset.groups
        if META not in groups or VALUE not in groups:
            raise Unreadable(f"netCDF without the groups {META} and {VALUE} of IODA")
        size = len(groups[META].variables["latitude"])
        type_ = re.split(r"[_.\d]", file.name, maxsplit=1)[0].lower() or "ioda"
        for start in range(0, size, BATCH):
            part = slice(start, min(start + BATCH, size))
            account = Account(messages=part.stop - start)
            reports = _reports(dataset, part, type_, account)
            yield batch_of(reports, f"ioda:{file.name}", account)


def _reports(dataset: "netCDF4.Dataset", part: slice, type_: str, account: Account) -> Reports:
    meta, observed = dataset.groups[META].variables, dataset.groups[VALUE].variables
    size = part.stop - part.start
    found: dict[str, NDArray[np.float64]] = {}
    quality: dict[str, NDArray[np.int64]] = {}
    errors: dict[str, NDArray[np.float64]] = {}
    surface = any(name in VARIABLES and VARIABLES[name].surface for name in observed)
    for name, variable in observed.items():
        known = VARIABLES.get(name)
        if known is None or variable.ndim != 1:
            count = int(np.isfinite(values(variable, part)).sum())
            account.leave("other value", f"{name}: no variable of the table", count)
            continue
        factor = GRAVITY if known.quantity == "geopotential" else 1.0
        found[known.quantity] = factor * si(variable, part, known.kind, known.unit)
        error = _of(dataset, ERROR, name)
        if error is not None:
            errors[known.quantity] = factor * si(error, part, known.kind, known.unit)
        marks = next((m for group in QUALITY if (m := _of(dataset, group, name))), None)
        if marks is not None:
            quality[known.quantity] = np.nan_to_num(values(marks, part)).astype(np.int64)
    if {"wind_speed", "wind_direction"} <= quality.keys():
        both = quality["wind_speed"], quality["wind_direction"]
        quality["wind_speed"] = np.maximum(*both)  # NCEP's marks: larger is worse
    leave_fields(_unread(dataset, meta), size, account)
    for name, known in COORDINATES.items():
        if name in meta and not (surface and known.quantity == "height"):
            found[known.quantity] = si(meta[name], part, known.kind, known.unit)
    elevation = meta.get("stationElevation")
    station = next((meta[name] for name in STATIONS if name in meta), None)
    return Reports(
        times(meta["dateTime"], part),
        values(meta["latitude"], part),
        values(meta["longitude"], part),
        np.full(size, np.nan) if elevation is None else values(elevation, part),
        np.full(size, type_, object),
        np.full(size, "", object) if station is None else strings(station, part),
        np.full(size, surface),
        found,
        quality,
        errors=errors,
    )


def _unread(dataset: "netCDF4.Dataset", meta: Mapping[str, Variable]) -> list[str]:
    """Return the names of other groups, and of what is not read of the metadata."""
    used = {*COORDINATES, *STATIONS, "dateTime", "latitude", "longitude", "stationElevation"}
    groups = [name for name in dataset.groups if name not in {META, VALUE, ERROR, *QUALITY}]
    return [*(f"group {name}" for name in groups), *(f"{META}/{n}" for n in meta if n not in used)]


def _of(dataset: "netCDF4.Dataset", group: str, name: str) -> "Variable | None":
    return dataset.groups[group].variables.get(name) if group in dataset.groups else None
