"""Static features of the surface and of the position, which the networks see beside the state."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from models.grid import LatLonGrid

__all__ = ["coarsen", "position_features", "world_features"]


def position_features(grid: LatLonGrid) -> Float[Tensor, "4 lat lon"]:
    """Return sin and cos of the latitude, and of the longitude where it does not wrap, else 0."""
    lat, lon = np.meshgrid(np.radians(grid.latitude), np.radians(grid.longitude), indexing="ij")
    east = [0 * lon, 0 * lon] if grid.wraps else [np.sin(lon), np.cos(lon)]
    stacked = np.stack([np.sin(lat), np.cos(lat), *east])
    return torch.from_numpy(stacked.astype(np.float32))


def world_features(
    grid: LatLonGrid, land: Float[Tensor, "lat lon"], altitude: Float[Tensor, "lat lon"]
) -> Float[Tensor, "4 lat lon"]:
    """Return sin and cos of the latitude, land fraction [1] and altitude in units of 2 km."""
    position = position_features(grid)[:2]
    return torch.cat([position, land[None].float(), altitude[None].float() / 2000.0])


def coarsen(
    features: Float[Tensor, "feature lat lon"], shape: tuple[int, int]
) -> Float[Tensor, "feature coarse_lat coarse_lon"]:
    """Average the features over the cells of a coarser grid."""
    return functional.adaptive_avg_pool2d(features[None], shape)[0]
