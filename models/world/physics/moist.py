"""The physics of the embedded world: the moist Held–Suarez family with continents and seasons.

Radiation, surface fluxes and friction, mixing of moisture, dry adjustment, large-scale
condensation and moist convection, each in its module, act on the same state and are added.

References:
    | Thatcher & Jablonowski (2016), A moist aquaplanet variant of the Held-Suarez test for
      atmospheric model dynamical cores, doi 10.5194/gmd-9-1263-2016
"""

import numpy as np
import torch
from torch import Tensor, nn

from models.world.nodal import Forcing, Nodal
from models.world.physics.column import Column, Geometry
from models.world.physics.convection import TOP, DryAdjustment, MoistConvection
from models.world.physics.moisture import Condensation, MoistureMixing
from models.world.physics.parameters import PhysicsParameters
from models.world.physics.radiation import Radiation
from models.world.physics.saturation import WARMING
from models.world.physics.surface import Surface, friction_rate
from models.world.tables import register_tables
from models.world.vertical import paired

__all__ = ["MoistPhysics"]


class MoistPhysics(nn.Module):
    """All parameterized tendencies."""

    log_sigma: Tensor
    inverse_cosine_squared: Tensor
    minus_friction: Tensor

    def __init__(
        self,
        geometry: Geometry,
        reference_temperature: float,
        parameters: PhysicsParameters,
        dtype: torch.dtype,
    ) -> None:
        """Create the processes.

        Args:
            geometry: The fixed surroundings.
            reference_temperature: T_r, from which a state counts its temperature [K].
            parameters: The parameters of all processes.
            dtype: Floating-point type.
        """
        super().__init__()
        self.reference_temperature = reference_temperature
        self.radiation = Radiation(geometry, parameters, dtype)
        self.surface = Surface(geometry, parameters, dtype)
        self.mixing = MoistureMixing(geometry, parameters, dtype)
        self.dry_adjustment = DryAdjustment(geometry, parameters, dtype)
        self.condensation = Condensation(parameters)
        self.convection = MoistConvection(geometry, parameters, dtype)
        friction = friction_rate(geometry, parameters)
        tables = {
            "log_sigma": np.log(geometry.sigma),
            "inverse_cosine_squared": geometry.cosine**-2,
            "minus_friction": -friction[None],
        }
        register_tables(self, dtype, tables)

    def column(self, x: Nodal) -> Column:
        """Return what the processes see of a state."""
        temperature, humidity = x.tracers.chunk(2, 1)
        levels = temperature.shape[1]
        zonal, meridional = x.wind[:, levels - 1], x.wind[:, -1]
        squared = (zonal * zonal).addcmul(meridional, meridional) * self.inverse_cosine_squared
        return Column(
            temperature=temperature + self.reference_temperature,
            humidity=humidity,
            surface_log_pressure=x.log_pressure[:, 0],
            log_pressure=x.log_pressure + self.log_sigma,
            surface_wind_squared=squared,
        )

    def forward(self, x: Nodal, seconds: float | Tensor) -> Forcing:
        """Return the tendencies at a time [s since 1 January]."""
        column, surface = self.column(x), self.surface.state(seconds)
        equilibrium = self.radiation.surface_equilibrium(surface.season)
        sensible, evaporation = self.surface(column, surface, equilibrium)
        heating = self.radiation(column, equilibrium)
        heating[:, -1] += sensible
        heating = self.dry_adjustment(heating, column.temperature)
        moistening = self.mixing(column.humidity)
        moistening[:, -1] += evaporation
        condensed = self.condensation(column)
        convective_heating, convective_moistening = self.convection(column)
        heating.add_(condensed, alpha=WARMING)
        heating[:, TOP:] += convective_heating
        moistening -= condensed
        moistening[:, TOP:] += convective_moistening
        wind = paired(x.wind) * self.minus_friction
        return Forcing(torch.cat([heating, moistening], 1), wind.flatten(1, 2))
