"""A synthetic archive in the layout of WeatherBench 2: the embedded world at the size of ERA5.

The states of the nature run are brought to pressure levels and to the finer grid, with a tail of
smaller scales. Written block by block: one block of times is in memory.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
import zarr
from torch import Tensor
from zarr.storage import FsspecStore

from configs.data import DataVariable
from models.grid import LatLonGrid
from models.state import StateSpec, embedded_spec
from models.world.boundary import spectral_orography
from models.world.constants import EARTH
from models.world.isobaric import isobaric
from models.world.refine import Refinement
from models.world.spectral import SphericalTransform
from tasks.reference import Reference
from tasks.reference_sources import LONG_NAMES
from tasks.remote import client_address, explained, remote_options
from tasks.store import is_remote

__all__ = ["regular_grid", "synthetic_states", "write_archive"]

BLOCK = 4
TRUNCATION = 21
DRIEST = 1e-7
EPOCH = pd.Timestamp("1959-01-01")


def regular_grid(rows: int, columns: int) -> LatLonGrid:
    """Return the global grid of equal cells, south first, from 0 degrees east."""
    latitude = (np.arange(rows) + 0.5) * 180.0 / rows - 90.0
    longitude = np.arange(columns) * 360.0 / columns
    return LatLonGrid(tuple(latitude.tolist()), tuple(longitude.tolist()))


def synthetic_states(
    nature: Reference,
    times: Sequence[pd.Timestamp],
    variables: Sequence[DataVariable],
    grid: LatLonGrid,
    seed: int = 0,
) -> Iterator[dict[str, Tensor]]:
    """Yield blocks of BLOCK times of each variable, (time, [level,] lat, lon) [SI].

    Args:
        nature: The nature run of the embedded world.
        times: The times, in order.
        variables: z, t, q, u, v with levels, u10, v10, t2m, msl.
        grid: A global grid.
        seed: Seed of the small scales.
    """
    spec = embedded_spec()
    refine = Refinement(spec.grid, grid, TRUNCATION)
    generator = torch.Generator().manual_seed(seed)
    levels = next(v.levels for v in variables if v.levels is not None)
    sigma = torch.tensor(spec.levels)
    for first in range(0, len(times), BLOCK):
        x = nature.states(list(times[first : first + BLOCK]))
        columns = isobaric(x, sigma, surface_geopotential(spec), levels)
        fields = [columns[v.name].reshape(len(x), -1, *x.shape[2:]) for v in variables]
        sizes = [field.shape[1] for field in fields]
        parts = torch.split(refine(torch.cat(fields, 1), generator), sizes, 1)
        yield {
            v.name: (part.clamp(min=DRIEST) if v.nonnegative else part)
            for v, part in zip(variables, parts, strict=True)
        }


def surface_geopotential(spec: StateSpec) -> Tensor:
    """Return the geopotential of the surface of the embedded world [m2 s-2]."""
    transform = SphericalTransform(TRUNCATION, EARTH.radius, torch.float64)
    orography: Tensor = transform.synthesis(spectral_orography())[0, 0]
    return EARTH.gravity * orography.float()


def write_archive(
    address: str,
    blocks: Iterator[dict[str, Tensor]],
    times: pd.DatetimeIndex,
    variables: Sequence[DataVariable],
    grid: LatLonGrid,
    progress: Callable[[int], None] = lambda done: None,
) -> int:
    """Write an archive as WeatherBench 2 does and return its size [bytes] before compression.

    One time is a chunk of each variable; longitudes come before latitudes.

    Args:
        address: Local path or s3:// address.
        blocks: Blocks of consecutive times.
        times: All times.
        variables: Names, units and levels.
        grid: The grid.
        progress: Called with the number of times that are written.
    """
    with explained(address):
        group = zarr.open_group(_store(address), mode="w", zarr_format=2)
        levels = next((v.levels for v in variables if v.levels is not None), ())
        arrays = {v.name: _array(group, v, len(times), grid) for v in variables}
        hours = (times - EPOCH) // pd.Timedelta(hours=1)
        coordinates = {
            "time": (hours.to_numpy(np.int64), {"units": f"hours since {EPOCH:%Y-%m-%d}"}),
            "level": (np.asarray(levels, np.int64), {"units": "hPa"}),
            "latitude": (np.asarray(grid.latitude), {"units": "degrees_north"}),
            "longitude": (np.asarray(grid.longitude), {"units": "degrees_east"}),
        }
        for name, (values, attributes) in coordinates.items():
            array = group.create_array(  # a fill value of 0 would be read as missing
                name, shape=values.shape, chunks=values.shape, dtype=values.dtype, fill_value=None
            )
            array[:] = values
            array.attrs.update({**attributes, "_ARRAY_DIMENSIONS": [name]})
        done = size = 0
        for block in blocks:
            for v in variables:
                values = block[v.name].numpy()
                values = (values if v.levels else values[:, 0]).swapaxes(-1, -2)
                arrays[v.name][done : done + len(values)] = values
                size += values.nbytes
            done += len(values)
            progress(done)
        zarr.consolidate_metadata(group.store, zarr_format=2)
    return size


def _store(address: str) -> FsspecStore | str:
    if not is_remote(address):
        return address
    return FsspecStore.from_url(client_address(address), storage_options=remote_options(address))


def _array(
    group: zarr.Group, variable: DataVariable, times: int, grid: LatLonGrid
) -> zarr.Array[Any]:
    """Create the array of a variable."""
    inner = (*((len(variable.levels),) if variable.levels else ()), *grid.shape[::-1])
    names = ["time", *(["level"] if variable.levels else []), "longitude", "latitude"]
    name = LONG_NAMES.get(variable.name, variable.name)
    array = group.create_array(
        name, shape=(times, *inner), chunks=(1, *inner), dtype="float32", fill_value=np.nan
    )
    attributes = {"units": variable.units, "standard_name": variable.standard_name}
    array.attrs.update({**attributes, "_ARRAY_DIMENSIONS": names})
    return array
