"""References from files: netCDF files in a folder, or a Zarr store in the WeatherBench layout.

Arrays are opened once and read when a state is asked for (`tasks.reference_sources`), the
variables side by side; never more than what is asked for, in whole chunks.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property, reduce

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from configs.data import DataVariable, Region
from models.grid import LatLonGrid
from models.state import StateSpec, Variable
from tasks.reference import check_values, required_times
from tasks.reference_files import open_netcdf, open_zarr
from tasks.reference_grid import same_points
from tasks.reference_sources import Source, find_source
from tasks.store import join

__all__ = ["GriddedReference", "NetcdfReference", "ZarrReference"]

BATCH_BYTES = 2**25
#: More than this is not read for a check, but evenly spaced states; all are checked when used.
CHECK_BYTES = 2**30
READERS = 8


class GriddedReference:
    """States that are put together from sources on one grid."""

    def __init__(self, sources: Sequence[Source]) -> None:
        """Use sources in the order of the state; levels of one variable may come from several.

        Raises:
            ValueError: Two sources have different grids.
        """
        first = sources[0]
        for source in sources:
            if not same_points(first.grid, source.grid):
                raise ValueError(difference(source, first.grid, f"the same as in {first.where}"))
        self.sources = tuple(source.like(first.grid) for source in sources)
        self.spec = StateSpec(joined([s.variable for s in sources]), first.grid, "pressure")

    def on(self, grid: LatLonGrid, whose: str) -> "GriddedReference":
        """Return the same states with rows and columns in the order of another grid.

        Args:
            grid: A grid of the same points.
            whose: What the grid is of, for the message.

        Raises:
            ValueError: It has other points.
        """
        if grid == self.spec.grid:
            return self
        if not same_points(self.spec.grid, grid):
            raise ValueError(difference(self.sources[0], grid, f"those of {whose}"))
        return GriddedReference([source.like(grid) for source in self.sources])

    @property
    def state_bytes(self) -> int:
        """Size of one state in memory [bytes]."""
        return 4 * int(np.prod(self.spec.shape))

    @cached_property
    def chunk(self) -> int:
        """Number of times that are read at once in the data's own chunks."""
        return max(source.chunk for source in self.sources)

    @cached_property
    def times(self) -> pd.DatetimeIndex:
        """The times that all variables have, UTC, ascending."""
        common = reduce(lambda a, b: a.intersection(b), [s.times for s in self.sources])
        return common.sort_values()

    def state(self, valid_time: pd.Timestamp) -> Float[Tensor, "field lat lon"]:
        """Return the state at a time [SI]."""
        return self.states([valid_time])[0]

    def states(self, times: Sequence[pd.Timestamp]) -> Float[Tensor, "time field lat lon"]:
        """Return the states at some times [SI].

        Raises:
            ValueError: A time is missing, or a value is not finite or absurd.
        """
        wanted = pd.DatetimeIndex(list(times)).as_unit("ns")
        x = np.empty((len(wanted), *self.spec.shape), np.float32)

        def read(source: Source) -> None:
            values = source.read(wanted)
            check_values(values, wanted, self.spec, source.fields, source.where)
            x[:, [self.spec.index(*field) for field in source.fields]] = values

        if len(self.sources) == 1 or not self.parallel:
            for source in self.sources:
                read(source)
        else:
            with ThreadPoolExecutor(min(READERS, len(self.sources))) as pool:
                list(pool.map(read, self.sources))
        return torch.from_numpy(x)

    @property
    def parallel(self) -> bool:
        """Whether variables can be read side by side: not by the netCDF library."""
        return False

    def check(self, start: pd.Timestamp, end: pd.Timestamp, step: pd.Timedelta) -> None:
        """Refuse missing times, and states that are not usable, from `start` to `end`.

        All states are read if they are at most CHECK_BYTES, else as many evenly spaced ones.
        """
        times = required_times(start, end, step).as_unit("ns")
        for source in self.sources:
            source.index(times)
        most = max(2, CHECK_BYTES // self.state_bytes)
        if len(times) > most:
            times = times[np.linspace(0, len(times) - 1, most // 8 + 2).astype(int)]
        size = max(1, BATCH_BYTES // self.state_bytes)
        for first in range(0, len(times), size):
            self.states(times[first : first + size].to_list())


class NetcdfReference(GriddedReference):
    """NetCDF files in a folder, or one file."""

    def __init__(
        self,
        address: str,
        variables: Sequence[DataVariable],
        region: Region | None = None,
        coarsen: int = 1,
    ) -> None:
        """Open the files.

        Args:
            address: Folder with the files that the variables name, or one file; may be on S3.
            variables: The state and where its data are.
            region: Use only this box.
            coarsen: Rows and columns that are averaged to one.
        """
        addresses = [join(address, v.file) if v.file else address for v in variables]
        files = {where: open_netcdf(where) for where in dict.fromkeys(addresses)}
        pairs = zip(variables, addresses, strict=True)
        super().__init__(
            [find_source(files[where], v, region, where, coarsen) for v, where in pairs]
        )


class ZarrReference(GriddedReference):
    """A Zarr store, version 2 or 3, with consolidated metadata or without."""

    def __init__(
        self,
        address: str,
        variables: Sequence[DataVariable],
        region: Region | None = None,
        coarsen: int = 1,
    ) -> None:
        """Open the store.

        Args:
            address: Local path, s3:// or gs:// address.
            variables: The state; names are ours, the store's (`source`) or WeatherBench's.
            region: Use only this box.
            coarsen: Rows and columns that are averaged to one.
        """
        ds = open_zarr(address)
        found = [find_source(ds, variable, region, address, coarsen) for variable in variables]
        super().__init__(found)

    @property
    def parallel(self) -> bool:
        """Whether variables can be read side by side."""
        return True


def difference(source: Source, grid: LatLonGrid, allowed: str) -> str:
    """Say on which axis a source has other points than a grid."""
    for axis in ("latitude", "longitude"):
        own, other = getattr(grid, axis), getattr(source.grid, axis)
        ends = sorted((min(own), max(own))), sorted((min(other), max(other)))
        if len(own) != len(other) or not np.allclose(*ends, atol=1e-3):
            break
    text = f"{axis} {other[0]:g} to {other[-1]:g} ({len(other)} values)"
    return f"{source.where}: {text}; allowed: {allowed}, {own[0]:g} to {own[-1]:g} ({len(own)})"


def joined(variables: Sequence[Variable]) -> tuple[Variable, ...]:
    """Join the levels of variables that come from several sources."""
    result: dict[str, Variable] = {}
    for variable in variables:
        before = result.get(variable.name)
        if before is None:
            result[variable.name] = variable
        elif before.levels is None or variable.levels is None:
            raise ValueError(f"variable {variable.name!r} comes twice, and not on other levels")
        else:
            levels = before.levels + variable.levels
            result[variable.name] = replace(before, levels=levels)
    return tuple(result.values())
