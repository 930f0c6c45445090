"""Open netCDF files and Zarr stores of references, and decode their times.

Times are CF numbers with units at the coordinate, which xarray decodes; or numbers whose units
stand in the group's attribute `time_units`, as in "hours since 1940-01-01 00:00
(proleptic_gregorian)". A calendar without leap days has no other days than ours; one with other
days is refused.
"""

import re
import warnings

import fsspec
import netCDF4
import numpy as np
import pandas as pd
import xarray as xr
import zarr

from tasks.remote import client_address, explained, remote_options
from tasks.store import exists, is_remote, read_bytes
from tasks.zarr_source import data_store

__all__ = ["DIMENSIONS", "decode_times", "open_netcdf", "open_zarr"]

DIMENSIONS = {
    "time": ("time", "valid_time", "time_index"),
    "level": ("level", "pressure_level", "isobaricInhPa", "plev"),
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon"),
}
COORDINATES = frozenset(name for names in DIMENSIONS.values() for name in names)
#: Calendars whose days are days of ours.
CALENDARS = ("standard", "gregorian", "proleptic_gregorian", "noleap", "365_day")
SCHEMES = ("s3", "gs")

TIME_UNITS = re.compile(r"(?P<units>\w+ since [^(]*[^( ]) *(?:\((?P<calendar>\w+)\))?")


def open_netcdf(address: str) -> xr.Dataset:
    """Open a netCDF file lazily; a file on S3 is read into memory.

    Raises:
        ValueError: There is no such file, or it is not netCDF.
    """
    if not exists(address):
        raise ValueError(f"{address}: no such file")
    try:
        if not is_remote(address):
            return xr.open_dataset(address, engine="netcdf4", chunks=None)
        memory = netCDF4.Dataset("memory", memory=read_bytes(address))
        loaded = xr.backends.NetCDF4DataStore(memory)  # type: ignore[no-untyped-call]
        return xr.open_dataset(loaded, chunks=None)
    except OSError as error:
        raise ValueError(f"{address}: not a netCDF file ({error.strerror or error})") from None


def open_zarr(address: str) -> xr.Dataset:
    """Open a Zarr group lazily, with its consolidated metadata where it has some.

    Raises:
        ValueError: There is no Zarr group.
    """
    scheme, separator, _ = address.partition("://")
    if separator and scheme not in SCHEMES:
        allowed = "a local path, s3:// or gs://"
        raise ValueError(f"address {address}: scheme {scheme!r}; allowed: {allowed}")
    store = data_store(address, COORDINATES)
    try:
        group = zarr.open_group(store, mode="r")
    except (FileNotFoundError, NotADirectoryError, KeyError, TypeError):
        raise ValueError(_no_group(address)) from None
    consolidated = group.metadata.consolidated_metadata is not None
    with warnings.catch_warnings():
        # Other files inside a store do no harm; zarr warns of each.
        warnings.filterwarnings("ignore", message="Object at .* is not recognized")
        return xr.open_dataset(store, engine="zarr", chunks=None, consolidated=consolidated)  # type: ignore[arg-type]


def _no_group(address: str) -> str:
    """Say what there is instead of a Zarr group."""
    if "://" in address:
        bucket = address.split("://")[1].split("/")[0]
        client = fsspec.filesystem("s3", **remote_options(address))
        with explained(address):
            if not client.exists(client_address(address).split("//")[0] + "//" + bucket):
                return f"{address}: there is no bucket {bucket!r}, or it is not to be seen"
    return f"{address}: no Zarr group"


def decode_times(ds: xr.Dataset, array: xr.DataArray, where: str) -> pd.DatetimeIndex:
    """Return the times of a variable, UTC, in the order of the data.

    Args:
        ds: The dataset with the group's attributes.
        array: The variable, with the dimension `time`.
        where: File or store, for messages.

    Raises:
        ValueError: The times have no units, another calendar, or come twice.
    """
    values = array["time"].values
    if values.dtype == object:
        values = _ours(values, where)
    if not np.issubdtype(values.dtype, np.datetime64):
        values = _decode(values, str(ds.attrs.get("time_units", "")), where)
    times = pd.DatetimeIndex(values).as_unit("ns")
    if not len(times):
        raise ValueError(f"{where}: variable {array.name!r} has no times")
    if times.hasnans:
        raise ValueError(
            f"{where}: {int(np.isnat(times.values).sum())} of {len(times)} times are missing values"
        )
    if not times.is_unique:
        twice = times[times.duplicated()][0]
        raise ValueError(f"{where}: the times must ascend without repetition; {twice} comes twice")
    return times


def _ours(values: np.ndarray, where: str) -> np.ndarray:
    """Return times of another calendar as ours, where they are the same days."""
    calendar = str(getattr(values.flat[0], "calendar", "none"))
    if calendar not in CALENDARS:
        raise ValueError(
            f"{where}: the times are in the calendar {calendar!r}, whose days are not ours; "
            f"allowed: {', '.join(CALENDARS)}"
        )
    return np.array([time.isoformat() for time in values], "datetime64[ns]")


def _decode(values: np.ndarray, text: str, where: str) -> np.ndarray:
    """Decode numbers with the units of the group."""
    match = TIME_UNITS.fullmatch(text.strip())
    if match is None or not np.issubdtype(values.dtype, np.number):
        found = f"{text!r}" if text else "none"
        allowed = "CF units such as 'hours since 1940-01-01' at the coordinate or in `time_units`"
        raise ValueError(f"{where}: the times have the units {found}; allowed: {allowed}")
    attributes = {"units": match["units"], "calendar": match["calendar"] or "standard"}
    try:
        decoded = xr.decode_cf(xr.Dataset(coords={"time": ("time", values, attributes)}))
    except ValueError:
        raise ValueError(
            f"{where}: the times have the units {text!r}; allowed: CF units"
        ) from None
    times: np.ndarray = decoded["time"].values
    return _ours(times, where) if times.dtype == object else times
