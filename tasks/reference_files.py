"""Open netCDF files and Zarr stores of references, and decode their times.

Times are CF numbers with units at the coordinate, which xarray decodes; or numbers whose units
stand in the group's attribute `time_units`, as in "hours since 1940-01-01 00:00
(proleptic_gregorian)".
"""

import re
import warnings

import netCDF4
import numpy as np
import pandas as pd
import xarray as xr
import zarr

from tasks.store import exists, is_remote, read_bytes, s3_options

__all__ = ["decode_times", "open_netcdf", "open_zarr"]

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
    options = s3_options() if is_remote(address) else None
    try:
        group = zarr.open_group(address, mode="r", storage_options=options)
    except (FileNotFoundError, NotADirectoryError, KeyError, ValueError, TypeError):
        raise ValueError(f"{address}: no Zarr group") from None
    consolidated = group.metadata.consolidated_metadata is not None
    with warnings.catch_warnings():
        # Other files inside a store do no harm; zarr warns of each.
        warnings.filterwarnings("ignore", message="Object at .* is not recognized")
        return xr.open_dataset(
            address,
            engine="zarr",
            chunks=None,
            consolidated=consolidated,
            storage_options=options,
        )


def decode_times(ds: xr.Dataset, array: xr.DataArray, where: str) -> pd.DatetimeIndex:
    """Return the times of a variable, UTC.

    Args:
        ds: The dataset with the group's attributes.
        array: The variable, with the dimension `time`.
        where: File or store, for messages.

    Raises:
        ValueError: The times have no units, or do not ascend.
    """
    values = array["time"].values
    if not np.issubdtype(values.dtype, np.datetime64):
        values = _decode(values, str(ds.attrs.get("time_units", "")), where)
    times = pd.DatetimeIndex(values).as_unit("ns")
    if not len(times):
        raise ValueError(f"{where}: variable {array.name!r} has no times")
    if times.hasnans or not (times.is_monotonic_increasing and times.is_unique):
        raise ValueError(f"{where}: the times must ascend without repetition")
    return times


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
    return decoded["time"].values
