r"""The lower boundary: prescribed temperatures, bulk fluxes of heat and moisture, friction.

Sea surface temperature is the QOBS profile of Neale & Hoskins (2000), shifted with the season,
plus a warm pool at 130° E; land follows the radiative equilibrium and a diurnal cycle. With the
exchange rate r = C |v| ρ g / Δp_s of the lowest layer, implicit in time,

    ∂T/∂t = r (T_s - T / σ^κ) / (1 + r Δt),   ∂q/∂t = r w max(0, q_s(T_s) - q) / (1 + r Δt),

reduced over sea ice. Friction is Rayleigh friction, ∂v/∂t = -k_f v (Held & Suarez 1994).

References:
    | Neale & Hoskins (2000), A standard test for AGCMs including their physical
      parametrizations: I: the proposal, doi 10.1006/asle.2000.0022
    | Thatcher & Jablonowski (2016), A moist aquaplanet variant of the Held-Suarez test for
      atmospheric model dynamical cores, doi 10.5194/gmd-9-1263-2016
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.world.constants import DAY, EARTH, YEAR
from models.world.physics.column import Column, Geometry
from models.world.physics.parameters import PhysicsParameters
from models.world.physics.saturation import saturation_humidity
from models.world.tables import Array, register_tables

__all__ = ["Surface", "SurfaceState", "friction_rate"]

_SOLSTICE = 172.0
_WARM_POOL_LONGITUDE = math.radians(130.0)
_ICE_EDGE, _ICE_WIDTH, _ICE_REDUCTION = 64.0, 3.0, 0.9
_LOWEST_TEMPERATURE = 285.0
_LAND_LAPSE = 0.6


class SurfaceState(NamedTuple):
    """The prescribed surface at one time.

    Attributes:
        season: Seasonal part of the radiative equilibrium, ε sin φ [K].
        sea_temperature: Sea surface temperature [K].
        ice: Fraction of sea ice [1].
        diurnal: Departure of the land surface from its daily mean [K].
    """

    season: Float[Tensor, "#batch lat lon"]
    sea_temperature: Float[Tensor, "#batch lat lon"]
    ice: Float[Tensor, "#batch lat lon"]
    diurnal: Float[Tensor, "#batch lat lon"]


class Surface(nn.Module):
    """Surface temperatures by the calendar, and the fluxes into the lowest layer."""

    land: Tensor
    is_land: Tensor
    sea: Tensor
    sine: Tensor
    cosine_land: Tensor
    latitude: Tensor
    longitude: Tensor
    warm_pool: Tensor
    exchange: Tensor
    wetness: Tensor

    def __init__(
        self, geometry: Geometry, parameters: PhysicsParameters, dtype: torch.dtype
    ) -> None:
        """Tabulate the geography."""
        super().__init__()
        self.values, self.time_step = parameters, geometry.time_step
        self.reduction = float(geometry.sigma[-1].item() ** -EARTH.kappa)
        thickness = geometry.thickness[-1].item()
        scale = EARTH.gravity / (EARTH.gas_constant * _LOWEST_TEMPERATURE * thickness)
        longitude = np.radians(geometry.longitude)
        tables = {
            "land": geometry.land,
            "sea": 1 - geometry.land,
            "sine": geometry.sine,
            "cosine_land": geometry.cosine * geometry.land,
            "latitude": geometry.latitude[:, None],
            "longitude": longitude,
            "warm_pool": parameters.warm_pool * np.cos(longitude - _WARM_POOL_LONGITUDE),
            "exchange": np.array(parameters.exchange * scale),
            "wetness": 1 - (1 - parameters.land_wetness) * geometry.land,
        }
        register_tables(self, dtype, tables)
        self.register_buffer("is_land", torch.as_tensor(geometry.land > 0.5), persistent=False)

    def state(self, seconds: float | Tensor) -> SurfaceState:
        """Return the surface at a time [s since 1 January], one or one for each member."""
        clock = torch.as_tensor(seconds, dtype=torch.float64, device=self.land.device)
        clock = clock.reshape(-1, 1, 1)
        values = self.values
        sea = self._cycle(clock / YEAR - (_SOLSTICE + values.lag_sea) / 365.25)
        land = self._cycle(clock / YEAR - (_SOLSTICE + values.lag_land) / 365.25)
        warm_sea, warm_land = values.season_sea * sea, values.season_land * land
        season = (warm_sea + (warm_land - warm_sea) * self.land) * self.sine
        latitude = self.latitude - values.sea_shift * sea
        ice = torch.sigmoid((latitude.abs() - _ICE_EDGE) / _ICE_WIDTH) * self.sea
        hour = (clock % DAY / DAY * 2 * math.pi).to(self.land.dtype)
        diurnal = torch.cos(hour + self.longitude - math.pi) * self.cosine_land
        temperature = self._sea_temperature(latitude)
        return SurfaceState(season, temperature, ice, values.diurnal * diurnal)

    def _cycle(self, years: Tensor) -> Tensor:
        """Return the cosine of a fraction of the year, reduced in double precision."""
        angle = 2 * math.pi * years
        return torch.cos(angle).to(self.land.dtype)

    def _sea_temperature(self, latitude: Tensor) -> Tensor:
        """Return QOBS and the warm pool at the distance from the thermal equator [degrees]."""
        square = torch.sin(torch.deg2rad(1.5 * latitude.clamp(-60.0, 60.0))) ** 2
        profile = 1 - 0.5 * (square + square * square)
        qobs = self.values.sea_minimum + self.values.sea_amplitude * profile
        return qobs + self.warm_pool * torch.exp(-((latitude / 18.0) ** 2))

    def forward(
        self, column: Column, state: SurfaceState, equilibrium: Float[Tensor, "#batch lat lon"]
    ) -> tuple[Tensor, Tensor]:
        """Return the heating [K s-1] and moistening [s-1] of the lowest layer.

        Args:
            column: The atmosphere.
            state: The prescribed surface.
            equilibrium: Radiative equilibrium at the ground at p_0 [K].
        """
        pressure = column.surface_log_pressure
        lapse = torch.exp(EARTH.kappa * _LAND_LAPSE * pressure)
        land_temperature = (equilibrium * lapse).add(state.diurnal)
        temperature = torch.where(self.is_land, land_temperature, state.sea_temperature)
        speed = torch.sqrt(column.surface_wind_squared + self.values.gust**2)
        rate = speed * (1 - _ICE_REDUCTION * state.ice) * self.exchange
        rate = rate / (1 + rate * self.time_step)
        deficit = saturation_humidity(temperature, pressure) - column.humidity[:, -1]
        evaporation = rate * self.wetness * deficit.clamp(min=0.0)
        return rate * (temperature - column.temperature[:, -1] * self.reduction), evaporation


def friction_rate(geometry: Geometry, parameters: PhysicsParameters) -> Array:
    """Return k_f [s-1], shape (level, lat, lon), with a sponge in the top layer."""
    bottom = parameters.boundary_layer_top
    depth = np.maximum(0, (geometry.sigma - bottom) / (1 - bottom))
    contrast = parameters.friction_land - parameters.friction_sea
    rate = (parameters.friction_sea + contrast * geometry.land) * depth / DAY
    rate[0] += 1 / (parameters.sponge_days * DAY)
    return rate
