"""Analysis weights on every n-th column, interpolated to all of them.

The weights of an ensemble transform vary far more smoothly than the fields: computed on a coarser
grid and interpolated bilinearly, they cost the square of n less.

References:
    | Yang et al. (2009), Weight interpolation for efficient data assimilation with the local
    | ensemble transform Kalman filter, doi 10.1002/qj.353
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from models.grid import LatLonGrid
from models.observations.stencils import horizontal_stencil

__all__ = ["CoarseColumns"]


@dataclass(frozen=True)
class CoarseColumns:
    """The columns that have weights, and how all columns follow from them.

    Attributes:
        columns: Numbers of the coarse columns among those of the grid.
        index: The coarse columns around each column of the grid, numbered in `columns`.
        share: Their interpolation weights [1].
    """

    columns: Int[Tensor, "coarse"]
    index: Int[Tensor, "column stencil"]
    share: Float[Tensor, "column stencil"]

    @classmethod
    def every(cls, step: int, grid: LatLonGrid) -> "CoarseColumns":
        """Take every `step`-th row and column of a grid, and its last ones where it ends.

        Raises:
            ValueError: The columns of a periodic grid are not a multiple of the step, or too few.
        """
        nlat, nlon = grid.shape
        if grid.wraps and (nlon % step or nlon < 2 * step):
            raise ValueError(
                f"weights on every {step}. column: a periodic grid has {nlon} columns"
            )
        rows = np.union1d(np.arange(0, nlat, step), [nlat - 1])
        ends = [] if grid.wraps else [nlon - 1]
        columns = np.union1d(np.arange(0, nlon, step), ends).astype(np.int64)
        latitude, longitude = np.array(grid.latitude), np.array(grid.longitude)
        coarse = LatLonGrid(tuple(latitude[rows].tolist()), tuple(longitude[columns].tolist()))
        lat, lon = np.meshgrid(latitude, longitude, indexing="ij")
        table = pd.DataFrame({"lat": lat.ravel(), "lon": lon.ravel()})
        stencil = horizontal_stencil(table, coarse)
        return cls(
            torch.from_numpy((rows[:, None] * nlon + columns).ravel()),
            torch.from_numpy(stencil.index),
            torch.from_numpy(stencil.weight),
        )

    def interpolate(
        self, weights: Float[Tensor, "coarse joint column"], columns: Int[Tensor, "part"]
    ) -> Float[Tensor, "part joint column"]:
        """Return the weights of some columns of the grid from those of the coarse columns."""
        share = self.share[columns].to(weights)
        index = self.index[columns].to(weights.device)
        parts = (share[:, s, None, None] * weights[index[:, s]] for s in range(index.shape[1]))
        return sum(parts, torch.zeros((), dtype=weights.dtype, device=weights.device))
