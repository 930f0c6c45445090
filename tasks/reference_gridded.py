"""References from files: netCDF files in a folder, or a Zarr store in the WeatherBench layout.

Arrays are opened once and read when a state is asked for (`tasks.reference_sources`).
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, reduce

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from configs.data import DataVariable, Region
from models.state import StateSpec, Variable
from tasks.reference import check_values, required_times
from tasks.reference_files import open_netcdf, open_zarr
from tasks.reference_sources import Source, find_source
from tasks.store import join

__all__ = ["GriddedReference", "NetcdfReference", "ZarrReference"]

BATCH_BYTES = 2**25


class GriddedReference:
    """States that are put together from sources on one grid."""

    def __init__(self, sources: Sequence[Source]) -> None:
        """Use sources in the order of the state; levels of one variable may come from several.

        Raises:
            ValueError: Two sources have different grids.
        """
        first = sources[0]
        for source in sources:
            for axis in ("latitude", "longitude"):
                own, other = getattr(first.grid, axis), getattr(source.grid, axis)
                if own != other:
                    text = f"{axis} {other[0]:g} to {other[-1]:g} ({len(other)} values)"
                    allowed = f"the same as in {first.where}, {own[0]:g} to {own[-1]:g}"
                    raise ValueError(f"{source.where}: {text}; allowed: {allowed} ({len(own)})")
        self.sources = tuple(sources)
        self.spec = StateSpec(joined([s.variable for s in sources]), first.grid, "pressure")

    @cached_property
    def times(self) -> pd.DatetimeIndex:
        """The times that all variables have, UTC."""
        return reduce(lambda a, b: a.intersection(b), [s.times for s in self.sources])

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
        for source in self.sources:
            values = source.read(wanted)
            check_values(values, wanted, self.spec, source.fields, source.where)
            x[:, [self.spec.index(*field) for field in source.fields]] = values
        return torch.from_numpy(x)

    def check(self, start: pd.Timestamp, end: pd.Timestamp, step: pd.Timedelta) -> None:
        """Read all states from `start` to `end` and refuse what is missing or not usable."""
        times = required_times(start, end, step).as_unit("ns")
        for source in self.sources:
            source.index(times)
        size = max(1, BATCH_BYTES // (4 * int(np.prod(self.spec.shape))))
        for first in range(0, len(times), size):
            self.states(times[first : first + size].to_list())


class NetcdfReference(GriddedReference):
    """NetCDF files in a folder, or one file."""

    def __init__(
        self, address: str, variables: Sequence[DataVariable], region: Region | None = None
    ) -> None:
        """Open the files.

        Args:
            address: Folder with the files that the variables name, or one file; may be on S3.
            variables: The state and where its data are.
            region: Use only this box.
        """
        addresses = [join(address, v.file) if v.file else address for v in variables]
        files = {where: open_netcdf(where) for where in dict.fromkeys(addresses)}
        pairs = zip(variables, addresses, strict=True)
        super().__init__([find_source(files[where], v, region, where) for v, where in pairs])


class ZarrReference(GriddedReference):
    """A Zarr store, version 2 or 3, with consolidated metadata or without."""

    def __init__(
        self, address: str, variables: Sequence[DataVariable], region: Region | None = None
    ) -> None:
        """Open the store.

        Args:
            address: Local path or s3:// address.
            variables: The state; names are ours, the store's (`source`) or WeatherBench's.
            region: Use only this box.
        """
        ds = open_zarr(address)
        super().__init__([find_source(ds, variable, region, address) for variable in variables])


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
