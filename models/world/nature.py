"""The two models of the embedded twin experiment, and where they start.

The nature run is a T31 model; the forecast model is a T21 model with wrong friction, radiation,
surface exchange, convection and diurnal amplitude. Both share the T21 orography, so that the
difference of their surface pressures is weather. Both exchange states on the forecast model's
64 × 32 Gaussian grid.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from models.world.boundary import land_fraction, spectral_orography
from models.world.constants import EARTH, REFERENCE_PRESSURE
from models.world.model import ModelSettings, SpectralModel
from models.world.physics.column import Geometry
from models.world.physics.moist import MoistPhysics
from models.world.physics.parameters import PhysicsParameters
from models.world.physics.saturation import saturation_humidity
from models.world.spectral import SphericalTransform

__all__ = [
    "FORECAST",
    "FORECAST_PHYSICS",
    "NATURE",
    "NATURE_PHYSICS",
    "clock",
    "forecast_model",
    "moist_model",
    "nature_model",
    "rest_state",
]

#: Global mean of p_s / p_0 over this orography [1].
MEAN_PRESSURE = 0.9855

NATURE = ModelSettings(31, time_step=2700.0, diffusion_hours=6.0, mean_pressure=MEAN_PRESSURE)
NATURE_PHYSICS = PhysicsParameters()

FORECAST = ModelSettings(21, time_step=3600.0, diffusion_hours=8.0, mean_pressure=MEAN_PRESSURE)
FORECAST_PHYSICS = replace(
    NATURE_PHYSICS,
    friction_sea=0.85,
    friction_land=1.1,
    relaxation_rate=1 / 36,
    meridional_contrast=57.0,
    diurnal=4.0,
    convection_time=6 * 3600.0,
    exchange=1.1e-3,
)


def moist_model(
    settings: ModelSettings,
    parameters: PhysicsParameters,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> SpectralModel:
    """Create a model of the Earth with moist physics."""
    model = SpectralModel(settings, spectral_orography(), dtype)
    transform = model.transform
    geometry = Geometry(
        latitude=transform.latitude,
        longitude=transform.longitude,
        land=land_fraction(transform.latitude, transform.longitude),
        half_levels=np.asarray(settings.levels.half_levels),
        time_step=settings.time_step,
    )
    model.physics = MoistPhysics(geometry, settings.reference_temperature, parameters, dtype)
    return model.to(device)


def nature_model(
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    time_step: float = NATURE.time_step,
) -> SpectralModel:
    """Create the T31 model of the nature run, by default with its own time step [s]."""
    return moist_model(replace(NATURE, time_step=time_step), NATURE_PHYSICS, dtype, device)


def forecast_model(
    dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> SpectralModel:
    """Create the imperfect T21 forecast model."""
    return moist_model(FORECAST, FORECAST_PHYSICS, dtype, device)


def clock(valid_time: pd.Timestamp) -> float:
    """Return the model's time: seconds since 1 January 00 UTC of the year [s]."""
    return float((valid_time - pd.Timestamp(valid_time.year, 1, 1)).total_seconds())


def rest_state(
    model: SpectralModel, batch: int = 1, seed: int = 0
) -> Float[Tensor, "order part batch channel degree"]:
    """Return a moist atmosphere at rest, with noise of 0.5 K to start the weather.

    Args:
        model: The model to start.
        batch: Number of members.
        seed: Seed of the noise.
    """
    k, transform = model.n_levels, model.transform
    sigma = torch.as_tensor(model.settings.levels.mid_levels)
    profile = (288.0 * sigma**0.19).clamp(min=205.0)
    humidity = 0.7 * saturation_humidity(profile, torch.log(sigma))
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, k, transform.n_lat, transform.n_lon)
    noise = 0.5 * torch.randn(shape, generator=generator, dtype=torch.float64)
    exact = SphericalTransform(transform.truncation, EARTH.radius, torch.float64)
    altitude = exact.synthesis(model.orography)[:, 0]
    x = torch.zeros(batch, 4 * k + 1, *shape[2:], dtype=torch.float64)
    x[:, 2 * k : 3 * k] = profile[:, None, None] + noise
    x[:, 3 * k : 4 * k] = humidity[:, None, None]
    scale_height = EARTH.gas_constant * 270.0 / EARTH.gravity
    x[:, 4 * k] = REFERENCE_PRESSURE * torch.exp(-altitude / scale_height)
    return model.from_grid(x.to(model.damping.device))
