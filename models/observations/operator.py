"""The observation operator H: interpolation of a state to points, as a gather with weights.

Each observation of a field is a weighted sum of a few values of the state, (H x)_o = Σ_s w_os x[i_os]:

- horizontally bilinear in latitude and longitude, around the circle where the grid wraps. Beyond
  the outermost row of a global grid the next row is the same one on the other side of the pole,
  half a turn away, where the components of the wind point the other way;
- vertically the level that is named, or between pressure levels linear in ln p;
- a point of the grid itself takes one value with weight 1.

A gather works in reverse and forward mode and under vmap (a sparse matrix product does not), and
its adjoint is the scatter Hᵀ y = Σ_o w_os y_o.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from models.grid import LatLonGrid
from models.observations.stencils import Stencil, horizontal_stencil, vertical_stencil
from models.state import StateSpec

__all__ = ["InterpolationOperator"]

WIND = ("eastward_wind", "northward_wind")


@dataclass(frozen=True)
class InterpolationOperator:
    """H for one table of observations.

    Attributes:
        index: Positions in the flattened state.
        weight: Weights [1].
        shape: Shape (field, lat, lon) of a state.
    """

    index: Int[Tensor, "obs stencil"]
    weight: Float[Tensor, "obs stencil"]
    shape: tuple[int, int, int]

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
        return cls(torch.from_numpy(index), torch.from_numpy(weight).float(), spec.shape)

    def __call__(self, x: Float[Tensor, "batch field lat lon"]) -> Float[Tensor, "batch obs"]:
        """Return H x."""
        values = x.flatten(1).index_select(1, self.index.flatten())
        values = values.reshape(len(x), *self.index.shape)
        return (values * self.weight.to(x.dtype)).sum(-1)

    def adjoint(self, y: Float[Tensor, "batch obs"]) -> Float[Tensor, "batch field lat lon"]:
        """Return Hᵀ y."""
        values = (y[..., None] * self.weight.to(y.dtype)).flatten(1)
        size = self.shape[0] * self.shape[1] * self.shape[2]
        x = torch.zeros(len(y), size, dtype=y.dtype, device=y.device)
        return x.index_add(1, self.index.flatten(), values).reshape(len(y), *self.shape)

    def absolute(self) -> "InterpolationOperator":
        """Return the operator with the absolute weights, which interpolates standard deviations."""
        return InterpolationOperator(self.index, self.weight.abs(), self.shape)

    def to(self, device: torch.device | str) -> "InterpolationOperator":
        """Return the operator on another device."""
        return InterpolationOperator(self.index.to(device), self.weight.to(device), self.shape)


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
    names = {v.name for v in spec.variables if v.standard_name in WIND}
    return np.array([field.variable in names for field in spec.fields])
