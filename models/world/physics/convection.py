r"""Moist and dry convective adjustment.

A parcel of the lowest layer is lifted moist-adiabatically. Where it stays buoyant, temperature
and humidity relax to it and to a fixed relative humidity of it, with the time scale τ:

    ∂T/∂t = (T_p - T + δ) / τ,   ∂q/∂t = (h q_s(T_p) - q) / τ,   Σ Δσ (c_p ∂T/∂t + L ∂q/∂t) = 0,

where the shift δ conserves enthalpy; a column that would not rain stays as it is. This is the
simplified Betts–Miller scheme of Frierson (2007) without its shallow branch.

References:
    | Frierson (2007), The dynamics of idealized convection schemes and their effect on the
      zonally averaged tropical circulation, doi 10.1175/JAS3935.1
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.world.constants import EARTH
from models.world.physics.column import Column, Geometry
from models.world.physics.parameters import PhysicsParameters
from models.world.physics.saturation import WARMING, latent_factor, saturation_humidity
from models.world.tables import register_tables

__all__ = ["DryAdjustment", "MoistConvection"]

#: Uppermost layer that convection can reach.
TOP = 2


class MoistConvection(nn.Module):
    """Simplified Betts–Miller convection in the layers from `TOP` to the ground."""

    thickness: Tensor

    def __init__(
        self, geometry: Geometry, parameters: PhysicsParameters, dtype: torch.dtype
    ) -> None:
        """Tabulate the layers."""
        super().__init__()
        self.rate = 1 / parameters.convection_time
        self.relative_humidity = parameters.convection_humidity
        sigma = geometry.sigma.ravel()
        self.expansion = [float(r) for r in (sigma[:-1] / sigma[1:]) ** EARTH.kappa]
        register_tables(self, dtype, {"thickness": geometry.thickness[TOP:]})

    def forward(self, column: Column) -> tuple[Tensor, Tensor]:
        """Return the heating [K s-1] and moistening [s-1] of the layers from `TOP` on."""
        log_pressure = column.log_pressure[:, TOP:]
        parcel = self.lift(column)
        buoyancy = parcel - column.temperature[:, TOP:]
        active = convecting(buoyancy) * self.rate
        reference = self.relative_humidity * saturation_humidity(parcel, log_pressure)
        heating = buoyancy * active
        moistening = (reference - column.humidity[:, TOP:]) * active
        rain = -(moistening * self.thickness).sum(1, keepdim=True)
        enthalpy = torch.add(heating, moistening, alpha=WARMING) * self.thickness
        depth = (active * self.thickness).sum(1, keepdim=True).clamp(min=1e-6 * self.rate)
        shift = enthalpy.sum(1, keepdim=True) / depth
        raining = (rain > 0).to(rain.dtype)
        return (heating - shift * active) * raining, moistening * raining

    def lift(self, column: Column) -> Float[Tensor, "batch level lat lon"]:
        """Return the temperature of a parcel lifted from the lowest layer up to `TOP` [K]."""
        temperature, humidity = column.temperature[:, -1], column.humidity[:, -1]
        ascent = [temperature]
        for level in range(column.temperature.shape[1] - 2, TOP - 1, -1):
            dry = temperature * self.expansion[level]
            temperature, humidity = condense(dry, humidity, column.log_pressure[:, level])
            ascent.append(temperature)
        return torch.stack(ascent[::-1], 1)


def condense(
    temperature: Float[Tensor, "batch lat lon"],
    humidity: Float[Tensor, "batch lat lon"],
    log_pressure: Float[Tensor, "batch lat lon"],
) -> tuple[Tensor, Tensor]:
    """Bring a parcel that is above saturation to saturation by two Newton steps."""
    saturation = saturation_humidity(temperature, log_pressure)
    excess = (humidity - saturation).clamp(min=0.0)
    first = excess / (1 + latent_factor(temperature, saturation))
    temperature = torch.add(temperature, first, alpha=WARMING)
    humidity = humidity - first
    saturation = saturation_humidity(temperature, log_pressure)
    second = (humidity - saturation) / (1 + latent_factor(temperature, saturation))
    second = second * (excess > 0)
    return torch.add(temperature, second, alpha=WARMING), humidity - second


def convecting(buoyancy: Float[Tensor, "batch level lat lon"]) -> Tensor:
    """Return 1 in the layers joined to the ground by buoyant layers, else 0.

    The lowest layer, where the parcel starts, follows the layer above it.
    """
    buoyant = (buoyancy[:, :-1] > 0).to(buoyancy.dtype)
    joined = buoyant.flip(1).cumprod(1).flip(1)
    return torch.cat([joined, joined[:, -1:]], 1)


class DryAdjustment(nn.Module):
    """Exchange of heat between neighboring layers whose potential temperature falls upwards."""

    inverse_exner: Tensor
    upper: Tensor
    lower: Tensor

    def __init__(
        self, geometry: Geometry, parameters: PhysicsParameters, dtype: torch.dtype
    ) -> None:
        """Tabulate the weights that conserve Σ Δσ θ of the two layers."""
        super().__init__()
        exner, thickness = geometry.sigma**EARTH.kappa, geometry.thickness
        above, below = thickness[:-1], thickness[1:]
        joint = above * below / (above + below) / parameters.dry_time
        tables = {
            "inverse_exner": 1 / exner,
            "upper": np.asarray(joint / above * exner[:-1]),
            "lower": np.asarray(joint / below * exner[1:]),
        }
        register_tables(self, dtype, tables)

    def forward(
        self, heating: Float[Tensor, "batch level lat lon"], temperature: Tensor
    ) -> Float[Tensor, "batch level lat lon"]:
        """Add the adjustment of `temperature` to `heating`, in place [K s-1]."""
        potential = temperature * self.inverse_exner
        excess = (potential[:, 1:] - potential[:, :-1]).clamp(min=0.0)
        heating[:, :-1] += excess * self.upper
        heating[:, 1:] -= excess * self.lower
        return heating
