"""The ground of a state's grid: where its surface is, to compare stations with it.

Only the embedded world's is known: both its models have the same orography, smooth at T21. A state
on pressure levels has variables at the surface of its own, which are taken as they are.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from models.state import StateSpec, embedded_spec
from models.world.boundary import land_fraction, spectral_orography
from models.world.constants import EARTH
from models.world.spectral import SphericalTransform

__all__ = ["Terrain", "terrain_of"]

TRUNCATION = 21


@dataclass(frozen=True)
class Terrain:
    """The ground.

    Attributes:
        height: Of the surface above the sea, of the shape (lat, lon) [m].
        land: Land fraction, of the shape (lat, lon) [1].
    """

    height: NDArray[np.float64]
    land: NDArray[np.float64]


def terrain_of(spec: StateSpec) -> Terrain | None:
    """Return the ground of a state's grid, None if it is not known."""
    return _embedded() if spec == embedded_spec() else None


@lru_cache(maxsize=1)
def _embedded() -> Terrain:
    transform = SphericalTransform(TRUNCATION, EARTH.radius, torch.float64)
    height = transform.synthesis(spectral_orography())[0, 0]
    land = land_fraction(transform.latitude, transform.longitude)
    return Terrain(height.numpy(), np.asarray(land, np.float64))
