"""What a state is: named variables on levels, and the way between xarray and tensors.

A state tensor has the shape (field, latitude, longitude), float32, SI units; a field is one
variable on one level, in the order of the variables and of their levels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
import xarray as xr
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from models.conventions import (
    CONVENTIONS,
    VERTICAL,
    horizontal_coordinates,
    level_coordinates,
    member_coordinate,
    read_variable,
    time_coordinate,
)
from models.grid import LatLonGrid
from models.variables import Field, Variable, same_level, same_units

__all__ = [
    "Field",
    "StateSpec",
    "Times",
    "Variable",
    "embedded_spec",
    "same_level",
    "same_units",
]

Times = Sequence[pd.Timestamp] | pd.DatetimeIndex

SIGMA_HALF_LEVELS = (0.0, 0.05, 0.14, 0.26, 0.42, 0.60, 0.77, 0.90, 1.0)


@dataclass(frozen=True)
class StateSpec:
    """The layout of a state tensor.

    Attributes:
        variables: Variables in the order of the tensor.
        grid: Horizontal grid.
        vertical: Meaning of the levels.
    """

    variables: tuple[Variable, ...]
    grid: LatLonGrid
    vertical: Literal["sigma", "pressure"]

    def __post_init__(self) -> None:
        """Refuse names that come twice and an unknown vertical coordinate."""
        names = [variable.name for variable in self.variables]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"variables must be at least one and have different names: {names}")
        if self.vertical not in VERTICAL:
            raise ValueError(f"vertical {self.vertical!r}: allowed are {', '.join(VERTICAL)}")

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """Fields in the order of the tensor."""
        return tuple(
            Field(variable.name, level)
            for variable in self.variables
            for level in (variable.levels or (None,))
        )

    @property
    def n_fields(self) -> int:
        """Number of fields."""
        return len(self.fields)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (field, lat, lon) of one state."""
        return (self.n_fields, *self.grid.shape)

    @cached_property
    def field_names(self) -> tuple[str, ...]:
        """Names of the fields, such as `t@0.51` and `sp`."""
        return tuple(field.name for field in self.fields)

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Where the fields of each variable are in the tensor."""
        counts = [len(variable.levels or (None,)) for variable in self.variables]
        ends = np.cumsum([0, *counts]).tolist()
        names = (variable.name for variable in self.variables)
        return {name: slice(ends[i], ends[i + 1]) for i, name in enumerate(names)}

    @cached_property
    def levels(self) -> tuple[float, ...]:
        """All levels that any variable has, in order of first appearance."""
        return tuple(dict.fromkeys(f.level for f in self.fields if f.level is not None))

    def variable(self, name: str) -> Variable:
        """Return a variable by its name."""
        for variable in self.variables:
            if variable.name == name:
                return variable
        allowed = ", ".join(variable.name for variable in self.variables)
        raise ValueError(f"unknown variable {name!r}, allowed: {allowed}")

    def index(self, variable: str, level: float | None = None) -> int:
        """Return the position of a field in the tensor."""
        levels = self.variable(variable).levels
        start = self.slices[variable].start
        if level is None and levels is None:
            return int(start)
        for i, own in enumerate(levels or ()):
            if level is not None and same_level(own, level):
                return int(start) + i
        allowed = "none" if levels is None else ", ".join(f"{value:g}" for value in levels)
        raise ValueError(f"variable {variable!r} has no level {level}, allowed: {allowed}")

    def to_tensor(self, ds: xr.Dataset) -> Float[Tensor, "time field lat lon"]:
        """Convert a dataset, with or without a dimension `time`, to state tensors.

        Raises:
            ValueError: A variable or level is missing, a unit or the grid is another one, or a
                value is not finite. The message is one line that names the place.
        """
        self._check_grid(ds)
        blocks = [read_variable(ds, variable) for variable in self.variables]
        lengths = {len(block) for block in blocks}
        if len(lengths) > 1:
            raise ValueError(f"variables have different numbers of times: {sorted(lengths)}")
        x = np.concatenate(blocks, axis=1)
        self._check_finite(x, ds)
        return torch.from_numpy(np.ascontiguousarray(x, np.float32))

    def to_dataset(
        self,
        x: Float[Tensor, "time *member field lat lon"],
        times: Times,
        member_dim: bool = False,
    ) -> xr.Dataset:
        """Convert states to a CF dataset with dims (time, [member,] level, latitude, longitude).

        Args:
            x: States [SI]; with `member_dim` of shape (time, member, field, lat, lon).
            times: Time of each state, UTC.
            member_dim: Whether the states have a dimension of members.
        """
        dims = ("time", "member") if member_dim else ("time",)
        expected = (len(times), *x.shape[1 : len(dims)], *self.shape)
        if tuple(x.shape) != expected:
            raise ValueError(f"states have the shape {tuple(x.shape)}, expected {expected}")
        values = x.detach().cpu().numpy().astype(np.float32, copy=False)
        return xr.Dataset(
            {v.name: self._array(values, v, dims) for v in self.variables},
            coords=self._coordinates(times, x.shape[1] if member_dim else None),
            attrs={"Conventions": CONVENTIONS},
        )

    def to_json(self) -> dict[str, Any]:
        """Return the specification as JSON types."""
        return {
            "variables": [asdict(variable) for variable in self.variables],
            "latitude": list(self.grid.latitude),
            "longitude": list(self.grid.longitude),
            "vertical": self.vertical,
        }

    @classmethod
    def from_json(cls, card: Mapping[str, Any]) -> "StateSpec":
        """Undo `to_json`."""
        variables = tuple(
            Variable(**dict(v) | {"levels": None if v["levels"] is None else tuple(v["levels"])})
            for v in card["variables"]
        )
        grid = LatLonGrid(tuple(card["latitude"]), tuple(card["longitude"]))
        return cls(variables, grid, card["vertical"])

    def _check_grid(self, ds: xr.Dataset) -> None:
        """Refuse a dataset on another grid."""
        found = LatLonGrid.from_dataset(ds)
        for axis in ("latitude", "longitude"):
            own, other = getattr(self.grid, axis), getattr(found, axis)
            if len(own) != len(other) or not np.allclose(own, other, atol=1e-3, rtol=0):
                raise ValueError(f"{axis} is {span(other)}, expected {span(own)}")

    def _check_finite(self, x: NDArray[np.float32], ds: xr.Dataset) -> None:
        """Refuse values that are not finite; the message names the first of them."""
        for i, name in enumerate(self.field_names):
            bad = ~np.isfinite(x[:, i])
            if bad.any():
                time, row, column = (int(axis[0]) for axis in np.nonzero(bad))
                when = f" at {str(ds['time'].values.flat[time])[:19]}" if "time" in ds else ""
                where = f"latitude {self.grid.latitude[row]:g}"
                where += f", longitude {self.grid.longitude[column]:g}"
                count = f"{int(bad.sum())} of {bad.size} values are not finite"
                raise ValueError(f"variable {name!r}: {count}, the first{when}, {where}")

    def _array(
        self, values: NDArray[np.float32], variable: Variable, dims: tuple[str, ...]
    ) -> xr.Variable:
        """Return one variable of a dataset; levels it does not have are NaN."""
        block = values[..., self.slices[variable.name], :, :]
        if variable.nonnegative:
            block = np.maximum(block, 0)
        if variable.levels is None:
            dims, block = (*dims, "latitude", "longitude"), block[..., 0, :, :]
            return xr.Variable(dims, block, variable.attributes)
        if variable.levels != self.levels:
            full = np.full((*block.shape[:-3], len(self.levels), *block.shape[-2:]), np.nan)
            block, part = full.astype(np.float32), block
            block[..., [self.levels.index(level) for level in variable.levels], :, :] = part
        return xr.Variable((*dims, "level", "latitude", "longitude"), block, variable.attributes)

    def _coordinates(self, times: Times, members: int | None) -> dict[str, xr.Variable]:
        """Return the coordinates of a dataset with their CF attributes."""
        surface = [v.name for v in self.variables if v.standard_name == "surface_air_pressure"]
        coordinates = {"time": time_coordinate(pd.DatetimeIndex(list(times)))}
        if members is not None:
            coordinates["member"] = member_coordinate(members)
        coordinates |= level_coordinates(self.levels, self.vertical, next(iter(surface), None))
        return coordinates | horizontal_coordinates(self.grid)


def embedded_spec() -> StateSpec:
    """Return the state of the embedded world: 33 fields on 64 × 32 Gaussian points."""
    half = np.asarray(SIGMA_HALF_LEVELS)
    levels = tuple(np.round((half[1:] + half[:-1]) / 2, 6).tolist())
    variables = (
        Variable("u", "eastward_wind", "m s-1", levels, "eastward wind"),
        Variable("v", "northward_wind", "m s-1", levels, "northward wind"),
        Variable("t", "air_temperature", "K", levels, "temperature"),
        Variable("q", "specific_humidity", "kg kg-1", levels, "specific humidity", True),
        Variable("sp", "surface_air_pressure", "Pa", None, "surface pressure"),
    )
    return StateSpec(variables, LatLonGrid.gaussian(32, 64), "sigma")


def span(axis: Sequence[float]) -> str:
    """Describe an axis in a message."""
    return f"{axis[0]:g} to {axis[-1]:g} ({len(axis)} values)"
