r"""Large-scale condensation, mixing of moisture in the boundary layer, filling of negative values.

Where q exceeds h q_s(T), vapor condenses with the time scale τ, slowed by the latent heat it
releases (Reed & Jablonowski 2012, Thatcher & Jablonowski 2016):

    c = max(0, q - h q_s) / (τ (1 + γ)),   ∂q/∂t = -c,   ∂T/∂t = (L / c_p) c.

Below σ ≈ 0.85 moisture diffuses with K_z, implicitly over a model step at a reference
temperature, so that the tendency is one constant matrix.

References:
    | Reed & Jablonowski (2012), Idealized tropical cyclone simulations of intermediate
      complexity: a test case for AGCMs, doi 10.1029/2011MS000099
    | Thatcher & Jablonowski (2016), A moist aquaplanet variant of the Held-Suarez test for
      atmospheric model dynamical cores, doi 10.5194/gmd-9-1263-2016
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.world.constants import EARTH
from models.world.physics.column import Column, Geometry
from models.world.physics.parameters import PhysicsParameters
from models.world.physics.saturation import latent_factor, saturation_humidity
from models.world.tables import Array, register_tables
from models.world.vertical import apply_to_columns

__all__ = ["Condensation", "MoistureMixing"]

_MIXED_LAYER_TOP, _DECAY, _MEAN_TEMPERATURE = 0.85, 0.08, 275.0


class Condensation(nn.Module):
    """Rain from saturated layers."""

    def __init__(self, parameters: PhysicsParameters) -> None:
        """Keep time scale and threshold."""
        super().__init__()
        self.time = parameters.condensation_time
        self.relative_humidity = parameters.condensation_humidity

    def forward(self, column: Column) -> Float[Tensor, "batch level lat lon"]:
        """Return the rate c of condensation [s-1]."""
        saturation = saturation_humidity(column.temperature, column.log_pressure)
        excess = torch.sub(column.humidity, saturation, alpha=self.relative_humidity)
        slowness = latent_factor(column.temperature, saturation).add(1).mul(self.time)
        return excess.clamp(min=0.0) / slowness


class MoistureMixing(nn.Module):
    """Vertical diffusion of moisture, and a source where moisture is negative."""

    operator: Tensor

    def __init__(
        self, geometry: Geometry, parameters: PhysicsParameters, dtype: torch.dtype
    ) -> None:
        """Tabulate the diffusion operator."""
        super().__init__()
        self.filling_rate = 1 / (2 * geometry.time_step)
        operator = diffusion_operator(geometry, parameters.diffusivity)
        register_tables(self, dtype, {"operator": operator})

    def forward(
        self, humidity: Float[Tensor, "batch level lat lon"]
    ) -> Float[Tensor, "batch level lat lon"]:
        """Return the moistening [s-1]."""
        mixed = apply_to_columns(self.operator, humidity)
        return torch.sub(mixed, humidity.clamp(max=0.0), alpha=self.filling_rate)


def diffusion_operator(geometry: Geometry, diffusivity: float) -> Array:
    """Return ((I - Δt M)⁻¹ - I) / Δt for the diffusion matrix M, shape (level, level)."""
    inner, sigma, thickness = geometry.half_levels[1:-1], geometry.sigma, geometry.thickness
    height = np.maximum(_MIXED_LAYER_TOP - inner, 0) / _DECAY
    slope = EARTH.gravity * inner / (EARTH.gas_constant * _MEAN_TEMPERATURE)
    flux = slope**2 * diffusivity * np.exp(-(height**2)) / np.diff(sigma.ravel())
    difference = np.diff(np.eye(len(sigma)), axis=0)
    matrix = -(difference.T * flux) @ difference / thickness.reshape(-1, 1)
    identity, step = np.eye(len(sigma)), geometry.time_step
    return np.asarray((np.linalg.inv(identity - step * matrix) - identity) / step)
