"""The observation operator H: interpolation of a state to points, as a gather with weights.

Each observation of a field is a weighted sum of a few values of the state, (H x)_o = Σ_s w_os x[i_os]:

- horizontally bilinear in latitude and longitude, around the circle where the grid wraps. Beyond
  the outermost row of a global grid the next row is the same one on the other side of the pole,
  half a turn away, where the components of the wind point the other way;
- vertically the level that is named, or between pressure levels linear in ln p;
- a point of the grid itself takes one value with weight 1.

A wind speed is (u² + v²)^½ of two such sums with the same weights. Its derivative at no wind is
taken to be 0, so that it is finite everywhere. All else is linear.

A gather works in reverse and forward mode and under vmap (a sparse matrix product does not), and
the adjoint of a linear operator is the scatter Hᵀ y = Σ_o w_os y_o.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from models.grid import LatLonGrid
from models.observations.observables import EASTWARD, NORTHWARD, WIND_SPEED, wind_pair
from models.observations.stencils import Stencil, horizontal_stencil, vertical_stencil
from models.state import StateSpec

__all__ = ["InterpolationOperator"]


@dataclass(frozen=True)
class InterpolationOperator:
    """H for one table of observations.

    Attributes:
        index: Positions in the flattened state; of a wind speed, those of the eastward wind.
        weight: Weights [1].
        shape: Shape (field, lat, lon) of a state.
        speed: Which observations are wind speeds; None if none is.
        northward: How far behind the eastward wind the northward wind is in the flattened state.
    """

    index: Int[Tensor, "obs stencil"]
    weight: Float[Tensor, "obs stencil"]
    shape: tuple[int, int, int]
    speed: Bool[Tensor, "obs"] | None = None
    northward: int = 0

    @classmethod
    def from_table(cls, table: pd.DataFrame, spec: StateSpec) -> "InterpolationOperator":
        """Build H for all rows of a table of observations.

        Raises:
            ValueError: A row is outside the grid or of an unknown variable or level; the message
                has the first reason and the number of such rows.
        """
        vertical, horizontal = vertical_stencil(table, spec), horizontal_stencil(table, spec.grid)
        reason = np.where(vertical.reason != "", vertical.reason, horizontal.reason)
        bad = np.flatnonzero(reason != "")
        if len(bad):
            row = table.iloc[int(bad[0])]
            what = f"{row['variable']} at latitude {row['lat']:g}, longitude {row['lon']:g}"
            raise ValueError(f"{len(bad)} observations cannot be used: {what}: {reason[bad[0]]}")
        index, weight = combine(vertical, horizontal, wind_fields(spec), spec.grid)
        parts = torch.from_numpy(index), torch.from_numpy(weight).float(), spec.shape
        pair, speed = wind_pair(spec), np.array(table["variable"] == WIND_SPEED)
        if pair is None or not speed.any():
            return cls(*parts)
        eastward, northward = (spec.slices[variable.name].start for variable in pair)
        points = spec.grid.shape[0] * spec.grid.shape[1]
        return cls(*parts, torch.from_numpy(speed), (northward - eastward) * points)

    def __call__(self, x: Float[Tensor, "batch field lat lon"]) -> Float[Tensor, "batch obs"]:
        """Return H(x)."""
        values = self.interpolate(x, self.index)
        if self.speed is None:
            return values
        return torch.where(self.speed, length(values, self.interpolate(x, self.beside)), values)

    def interpolate(
        self, x: Float[Tensor, "batch field lat lon"], index: Int[Tensor, "obs stencil"]
    ) -> Float[Tensor, "batch obs"]:
        """Return the weighted sums of the values at some positions."""
        values = x.flatten(1).index_select(1, index.flatten())
        return (values.reshape(len(x), *index.shape) * self.weight.to(x.dtype)).sum(-1)

    @property
    def beside(self) -> Int[Tensor, "obs stencil"]:
        """Positions of the northward wind for wind speeds, and the same as before for others."""
        return (
            self.index if self.speed is None else self.index + self.northward * self.speed[:, None]
        )

    def adjoint(self, y: Float[Tensor, "batch obs"]) -> Float[Tensor, "batch field lat lon"]:
        """Return Hᵀ y.

        Raises:
            ValueError: There are wind speeds, which are not linear.
        """
        if self.speed is not None:
            raise ValueError("an operator with wind speeds is not linear and has no adjoint")
        values = (y[..., None] * self.weight.to(y.dtype)).flatten(1)
        size = self.shape[0] * self.shape[1] * self.shape[2]
        x = torch.zeros(len(y), size, dtype=y.dtype, device=y.device)
        return x.index_add(1, self.index.flatten(), values).reshape(len(y), *self.shape)

    def absolute(self) -> "InterpolationOperator":
        """Return the linear operator that interpolates standard deviations.

        It has the absolute weights, and the mean of both components for a wind speed.
        """
        index, weight = self.index, self.weight.abs()
        if self.speed is not None:
            half = weight / 2 * self.speed[:, None]
            index = torch.cat([index, self.beside], 1)
            weight = torch.cat([weight - half, half], 1)
        return InterpolationOperator(index, weight, self.shape)

    def to(self, device: torch.device | str) -> "InterpolationOperator":
        """Return the operator on another device."""
        speed = None if self.speed is None else self.speed.to(device)
        parts = self.index.to(device), self.weight.to(device), self.shape
        return InterpolationOperator(*parts, speed, self.northward)


def length(u: Float[Tensor, "*shape"], v: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return (u² + v²)^½, with the derivative 0 where it is 0."""
    square = u * u + v * v
    moving = square > 0
    root = torch.where(moving, square, torch.ones_like(square)).sqrt()
    return torch.where(moving, root, torch.zeros_like(square))


def combine(
    vertical: Stencil, horizontal: Stencil, wind: NDArray[np.bool_], grid: LatLonGrid
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Multiply the stencils; the result has as many places as the observation with most needs."""
    count, points = len(vertical.index), grid.shape[0] * grid.shape[1]
    sign = np.where(horizontal.mirrored & wind[vertical.index[:, :1]], -1.0, 1.0)
    index = vertical.index[:, :, None] * points + horizontal.index[:, None, :]
    weight = vertical.weight[:, :, None] * (horizontal.weight * sign)[:, None, :]
    index, weight = index.reshape(count, 8), weight.reshape(count, 8)
    used = weight != 0
    places = max(1, int(used.sum(1).max(initial=0)))
    if places < weight.shape[1]:
        order = np.argsort(~used, axis=1, kind="stable")[:, :places]
        index = np.take_along_axis(index, order, 1)
        weight = np.take_along_axis(weight, order, 1)
    return np.where(weight != 0, index, index[:, :1]), weight


def wind_fields(spec: StateSpec) -> NDArray[np.bool_]:
    """Tell which fields are components of the wind."""
    winds = (EASTWARD, NORTHWARD)
    names = {v.name for v in spec.variables if v.standard_name in winds}
    return np.array([field.variable in names for field in spec.fields])
