"""The spectral primitive-equation model: states, steps and forecasts, batched over members.

A step is SIL3 (`models.world.timestepping`) with the physics held fixed over its stages, then
hyperdiffusion, S ← S exp(-Δt / τ (l (l+1) / N (N+1))^h), and a correction of the mean of ln p_s
that keeps the global mass of air. Grid states are `[batch, field, lat, lon]` with the fields
u, v, T, q (top down) and p_s in SI units; latitudes run from south to north.

Most of a step is many small operations on arrays of 0.1 to 1 MB. One thread is fastest, and glibc
should keep freed buffers instead of returning them to the system:
MALLOC_MMAP_THRESHOLD_=33554432, MALLOC_TRIM_THRESHOLD_=536870912, MALLOC_TOP_PAD_=67108864.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.world.constants import EARTH, REFERENCE_PRESSURE, Planet
from models.world.dynamics import Dynamics
from models.world.gravity_waves import GravityWaves
from models.world.nodal import Forcing, Nodal
from models.world.spectral import SphericalTransform
from models.world.tables import Array, register_tables
from models.world.timestepping import SIL3
from models.world.vertical import EIGHT_LEVELS, SigmaLevels

__all__ = ["ModelSettings", "SpectralModel"]

Physics = Callable[[Nodal, float | Tensor], Forcing]


@dataclass(frozen=True)
class ModelSettings:
    """The discretization.

    Attributes:
        truncation: Largest total wavenumber N.
        time_step: Δt [s].
        diffusion_hours: Time scale of hyperdiffusion at the smallest scale [h].
        diffusion_order: Its order h, in powers of the Laplacian.
        reference_temperature: T_r of the implicit terms [K].
        mean_pressure: Global mean of p_s / p_0 that is kept [1]; None keeps nothing.
        levels: The sigma levels.
        planet: Physical constants.
    """

    truncation: int
    time_step: float
    diffusion_hours: float
    diffusion_order: int = 3
    reference_temperature: float = 288.0
    mean_pressure: float | None = None
    levels: SigmaLevels = EIGHT_LEVELS
    planet: Planet = EARTH


class SpectralModel(nn.Module):
    """One model of the atmosphere."""

    damping: Tensor

    def __init__(
        self,
        settings: ModelSettings,
        orography: Float[Tensor, "order part 1 1 degree"] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Create the model without physics (see `physics`).

        Args:
            settings: The discretization.
            orography: Spectral altitude of the ground [m] at any truncation; None is flat.
            dtype: Floating-point type of states and operators.
        """
        super().__init__()
        planet, levels = settings.planet, settings.levels
        self.settings, self.n_levels = settings, len(levels)
        self.transform = SphericalTransform(settings.truncation, planet.radius, dtype)
        orders = self.transform.orders
        flat = torch.zeros(orders, 2, 1, 1, orders, dtype=torch.float64)
        self.orography = flat if orography is None else self.fit(orography)
        reference = settings.reference_temperature
        self.dynamics = Dynamics(self.transform, levels, planet, reference, self.orography)
        waves = GravityWaves(levels, planet, reference, self.transform.laplacian, dtype)
        self.scheme = SIL3(waves, settings.time_step)
        self.physics: Physics | None = None
        register_tables(self, dtype, {"damping": self._damping()})

    def _damping(self) -> Array:
        """Return the factor of hyperdiffusion per step, shape (channel, degree)."""
        settings, degree = self.settings, self.transform.degree
        scale = degree * (degree + 1) / (settings.truncation * (settings.truncation + 1))
        rate = scale**settings.diffusion_order / (settings.diffusion_hours * 3600)
        damping = np.tile(np.exp(-settings.time_step * rate), (4 * self.n_levels + 1, 1))
        damping[2 * self.n_levels] = 1.0
        return damping

    def step(
        self, state: Float[Tensor, "order part batch channel degree"], seconds: float | Tensor
    ) -> Float[Tensor, "order part batch channel degree"]:
        """Advance spectral states by one time step.

        Args:
            state: Spectral states.
            seconds: Time [s since 1 January 00 UTC], one or one for each member.
        """
        nodal = self.dynamics.nodal(state)
        forcing = None if self.physics is None else self.physics(nodal, seconds)
        tendency = self.dynamics.explicit(nodal, forcing)
        later: Tensor = self.scheme(state, tendency, partial(self._tendency, forcing=forcing))
        later = later * self.damping
        if self.settings.mean_pressure is not None:
            correction = self._mass_correction(nodal.log_pressure, self.settings.mean_pressure)
            later[0, 0, :, 2 * self.n_levels, 0] += correction
        return later

    def _tendency(self, state: Tensor, forcing: Forcing | None) -> Tensor:
        return self.dynamics.explicit(self.dynamics.nodal(state), forcing)

    def _mass_correction(
        self, log_pressure: Float[Tensor, "batch 1 lat lon"], target: float
    ) -> Float[Tensor, "batch"]:
        """Return the change of the mean coefficient of π that makes mean(p_s / p_0) the target."""
        mean = torch.exp(log_pressure[:, 0]).mean(-1) @ self.transform.gauss_weights
        return math.sqrt(4 * math.pi) * (math.log(target) - torch.log(mean))

    def forecast(
        self, x: Float[Tensor, "batch field lat lon"], seconds: float | Tensor, hours: float
    ) -> Float[Tensor, "batch field lat lon"]:
        """Carry grid states `hours` forward from a time [s since 1 January 00 UTC]."""
        steps = hours * 3600 / self.settings.time_step
        if abs(steps - round(steps)) > 1e-6 or steps < 0:
            step = self.settings.time_step / 3600
            raise ValueError(f"lead time {hours} h: allowed are multiples of {step} h")
        state = self.from_grid(x)
        for number in range(round(steps)):
            state = self.step(state, seconds + number * self.settings.time_step)
        return self.to_grid(state)

    def to_grid(
        self,
        state: Float[Tensor, "order part batch channel degree"],
        other: "SpectralModel | None" = None,
    ) -> Float[Tensor, "batch field lat lon"]:
        """Evaluate spectral states on the grid of this model, or of another one."""
        model = other or self
        nodal = model.dynamics.nodal(model.fit(state))
        temperature, humidity = nodal.tracers.chunk(2, 1)
        fields = [
            nodal.wind / model.transform.cosine,
            temperature + model.settings.reference_temperature,
            humidity,
            REFERENCE_PRESSURE * torch.exp(nodal.log_pressure),
        ]
        return torch.cat(fields, 1)

    def from_grid(
        self, x: Float[Tensor, "batch field lat lon"]
    ) -> Float[Tensor, "order part batch channel degree"]:
        """Project states on the grid of this model to spectral states."""
        k = self.n_levels
        x = x.to(self.damping.dtype)
        wind, temperature, humidity, pressure = torch.split(x, [2 * k, k, k, 1], 1)
        log_pressure = torch.log(pressure / REFERENCE_PRESSURE)
        temperature = temperature - self.settings.reference_temperature
        scalars = torch.cat([log_pressure, temperature, humidity], 1)
        return self.dynamics.spectral(wind * self.transform.cosine, scalars)

    def fit(
        self, state: Float[Tensor, "other_order part batch channel other_degree"]
    ) -> Float[Tensor, "order part batch channel degree"]:
        """Truncate or zero-pad spectral states of another truncation to this one."""
        orders = self.transform.orders
        if state.shape[0] == orders:
            return state
        kept = state[:orders, ..., :orders]
        missing = orders - kept.shape[0]
        return nn.functional.pad(kept, (0, missing, 0, 0, 0, 0, 0, 0, 0, missing))
