"""What the parameterizations see: the atmosphere above every grid point at one time."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from torch import Tensor

from models.world.tables import Array

__all__ = ["Column", "Geometry"]


@dataclass(frozen=True)
class Geometry:
    """The fixed surroundings of the columns.

    Attributes:
        latitude: Latitudes [degrees_north], shape (lat,).
        longitude: Longitudes [degrees_east], shape (lon,).
        land: Land fraction [1], shape (lat, lon).
        half_levels: Sigma at the bounds of the layers, top down [1].
        time_step: Step of the model, for terms that are implicit in time [s].
    """

    latitude: Array
    longitude: Array
    land: Array
    half_levels: Array
    time_step: float

    @cached_property
    def sine(self) -> Array:
        """Sine of the latitude, shape (lat, 1)."""
        return np.sin(np.radians(self.latitude))[:, None]

    @cached_property
    def cosine(self) -> Array:
        """Cosine of the latitude, shape (lat, 1)."""
        return np.cos(np.radians(self.latitude))[:, None]

    @cached_property
    def thickness(self) -> Array:
        """Δσ, shape (level, 1, 1)."""
        return np.diff(self.half_levels)[:, None, None]

    @cached_property
    def sigma(self) -> Array:
        """σ in the middle of the layers, shape (level, 1, 1)."""
        return ((self.half_levels[1:] + self.half_levels[:-1]) / 2)[:, None, None]


@dataclass(frozen=True)
class Column:
    """The state of the atmosphere.

    Attributes:
        temperature: T [K].
        humidity: q [1].
        surface_log_pressure: ln(p_s / p_0) [1].
        log_pressure: ln(p / p_0) in the layers [1].
        surface_wind_squared: Squared wind speed in the lowest layer [m2 s-2].
    """

    temperature: Float[Tensor, "batch level lat lon"]
    humidity: Float[Tensor, "batch level lat lon"]
    surface_log_pressure: Float[Tensor, "batch lat lon"]
    log_pressure: Float[Tensor, "batch level lat lon"]
    surface_wind_squared: Float[Tensor, "batch lat lon"]
