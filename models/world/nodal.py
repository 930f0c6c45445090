"""A state and its forcing on the grid, as the dynamics and the physics exchange them."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

__all__ = ["Forcing", "Nodal"]


class Nodal(NamedTuple):
    """A state on the grid.

    Attributes:
        vorticity: ζ [s-1].
        divergence: D [s-1].
        log_pressure: π = ln(p_s / p_0), one level [1].
        tracers: T' = T - T_r [K] and q [1], K levels each.
        wind: U = u cos φ and V = v cos φ, K levels each [m s-1].
        pressure_gradient: (1/a) ∂π/∂λ and (cos φ / a) ∂π/∂φ [m-1].
    """

    vorticity: Float[Tensor, "batch level lat lon"]
    divergence: Float[Tensor, "batch level lat lon"]
    log_pressure: Float[Tensor, "batch 1 lat lon"]
    tracers: Float[Tensor, "batch two_levels lat lon"]
    wind: Float[Tensor, "batch two_levels lat lon"]
    pressure_gradient: Float[Tensor, "batch 2 lat lon"]


class Forcing(NamedTuple):
    """Tendencies of unresolved processes.

    Attributes:
        tracers: Of T [K s-1] and q [s-1].
        wind: Of U and V [m s-2].
    """

    tracers: Float[Tensor, "batch two_levels lat lon"]
    wind: Float[Tensor, "batch two_levels lat lon"]
