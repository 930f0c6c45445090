r"""The primitive equations on sigma levels: explicit tendencies and the implicit gravity waves.

With absolute vorticity η = ζ + f, T = T_r + T' (T_r constant), π = ln(p_s / p_0), flow
(U, V) = (u, v) cos φ, g = D + v·∇π and Ω of `models.world.vertical`:

    ∂ζ/∂t  = curl(N),               N = (V η - R T' ∂π/∂λ, -U η - R T' ∂π/∂φ) - σ̇ ∂(U, V)/∂σ + F
    ∂D/∂t  = div(N) - ∇²(½ |v|² + Φ_s)                                      - ∇²(G T' + R T_r π)
    ∂T'/∂t = T' D - div(v T') - σ̇ ∂T'/∂σ
             + κ T_r (I - Ω)(v·∇π) + κ T' (v·∇π - Ω g) + F_T                 - κ T_r Ω D
    ∂q/∂t  = q D - div(v q) - σ̇ ∂q/∂σ + F_q
    ∂π/∂t  = -Σ Δσ v·∇π                                                     - Σ Δσ D

The terms in the last column are linear and carry the gravity waves; they are treated
implicitly. A spectral state holds the channels [ζ, D, π, T', q] (K levels each, one for π), so
that the implicit channels [D, π, T'] and the channels with horizontal gradients [ζ, D, π] are
contiguous.

References:
    | Durran (2010), Numerical methods for fluid dynamics, section 8.6,
      doi 10.1007/978-1-4419-6412-0
    | Hoskins & Simmons (1975), A multi-layer spectral model and the semi-implicit method,
      doi 10.1002/qj.49710142918
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.world.constants import Planet
from models.world.nodal import Forcing, Nodal
from models.world.spectral import SphericalTransform, rotate
from models.world.tables import Array, register_tables
from models.world.vertical import SigmaLevels, apply_to_columns, paired

__all__ = ["Dynamics"]


class Dynamics(nn.Module):
    """Transforms of a state and its adiabatic explicit tendencies."""

    gradient_scale: Tensor
    coriolis: Tensor
    inverse_cosine_squared: Tensor
    laplacian: Tensor
    surface_geopotential: Tensor
    of_convergence: Tensor
    of_advection: Tensor

    def __init__(
        self,
        transform: SphericalTransform,
        levels: SigmaLevels,
        planet: Planet,
        reference_temperature: float,
        orography: Float[Tensor, "order part 1 1 degree"],
    ) -> None:
        """Tabulate the coefficients.

        Args:
            transform: The horizontal discretization.
            levels: The vertical discretization.
            planet: Physical constants.
            reference_temperature: T_r [K].
            orography: Spectral coefficients of the surface altitude [m].
        """
        super().__init__()
        self.transform, self.levels, self.planet = transform, levels, planet
        self.reference_temperature = reference_temperature
        self.n_levels = len(levels)
        laplacian = transform.laplacian
        inverse = np.append(0.0, 1 / laplacian[1:])
        scale = np.ones((2 * self.n_levels + 1, 1)) * inverse
        scale[-1] = 1.0
        mu = transform.sine.double().numpy()
        geopotential = -planet.gravity * laplacian * orography.double().numpy()
        tables = {
            "gradient_scale": scale / planet.radius,
            "coriolis": 2 * planet.rotation * mu,
            "inverse_cosine_squared": 1 / (1 - mu**2),
            "laplacian": laplacian,
            "surface_geopotential": geopotential,
            "of_convergence": self._convergence_operator(),
            "of_advection": self._advection_operator(),
        }
        register_tables(self, transform.sine.dtype, tables)

    def _convergence_operator(self) -> Array:
        """Rows: ½ σ̇ / δσ on the inner half levels, then κ (I - Ω), both applied to g."""
        levels = self.levels
        velocity = 0.5 * levels.sigma_velocity / levels.level_distance[:, None]
        work = self.planet.kappa * (np.eye(self.n_levels) - levels.pressure_work)
        return np.concatenate([velocity, work])

    def _advection_operator(self) -> Array:
        """Rows: -Δσ, then κ T_r (I - Ω), both applied to v·∇π."""
        work = np.eye(self.n_levels) - self.levels.pressure_work
        work = self.planet.kappa * self.reference_temperature * work
        return np.concatenate([-self.levels.thickness[None], work])

    def nodal(self, state: Float[Tensor, "order part batch channel degree"]) -> Nodal:
        """Evaluate a spectral state, its winds and the gradient of π on the grid."""
        k, transform = self.n_levels, self.transform
        potential = state[:, :, :, : 2 * k + 1] * self.gradient_scale
        north = transform.contract(potential, transform.legendre_mu)
        east = transform.contract(rotate(potential), transform.legendre_lambda)
        psi, chi = slice(0, k), slice(k, 2 * k)
        wind = (
            east[:, :, :, chi] - north[:, :, :, psi],
            east[:, :, :, psi] + north[:, :, :, chi],
            east[:, :, :, 2 * k :],
            north[:, :, :, 2 * k :],
        )
        fields = torch.split(transform.synthesis(state), [k, k, 1, 2 * k], 1)
        winds = torch.split(transform.from_fourier(torch.cat(wind, 3)), [2 * k, 2], 1)
        return Nodal(*fields, *winds)

    def spectral(
        self, wind: Float[Tensor, "batch two_levels lat lon"], scalars: Tensor
    ) -> Float[Tensor, "order part batch channel degree"]:
        """Project the channels [U, V] and [π, T', q] of grid fields on a spectral state."""
        vorticity, divergence = self.transform.curl_and_divergence(wind)
        return torch.cat([vorticity, divergence, self.transform.analysis(scalars)], 3)

    def explicit(
        self, x: Nodal, forcing: Forcing | None = None
    ) -> Float[Tensor, "order part batch channel degree"]:
        """Return the explicit tendencies [s-1 times the units of the state]."""
        advection, velocity, work = self._convergence(x)
        surface_and_work = apply_to_columns(self.of_advection, advection)
        wind = self._wind_tendency(x)
        scalars = self._scalar_tendency(x, surface_and_work, work)
        tracers = scalars[:, 1 : 2 * self.n_levels + 1]
        subtract_vertical_advection(wind, x.wind, velocity)
        subtract_vertical_advection(tracers, x.tracers, velocity)
        if forcing is not None:
            wind += forcing.wind
            tracers += forcing.tracers
        return self._project(x, wind, scalars)

    def _convergence(self, x: Nodal) -> tuple[Tensor, Tensor, Tensor]:
        """Return v·∇π, ½ σ̇ / δσ on the inner half levels, and κ (I - Ω) g."""
        k = self.n_levels
        east, north = (x.pressure_gradient * self.inverse_cosine_squared).chunk(2, 1)
        zonal, meridional = x.wind.chunk(2, 1)
        advection = (zonal * east).addcmul(meridional, north)
        operated = apply_to_columns(self.of_convergence, x.divergence + advection)
        velocity, work = torch.split(operated, [k - 1, k], 1)
        return advection, velocity, work

    def _wind_tendency(self, x: Nodal) -> Float[Tensor, "batch two_levels lat lon"]:
        """Return N without vertical advection and F."""
        k = self.n_levels
        absolute = x.vorticity + self.coriolis
        temperature = x.tracers[:, None, :k]
        gradient = x.pressure_gradient[:, :, None] * -self.planet.gas_constant
        wind = (temperature * gradient).flatten(1, 2)
        wind[:, :k].addcmul_(x.wind[:, k:], absolute)
        wind[:, k:].addcmul_(x.wind[:, :k], absolute, value=-1)
        return wind

    def _scalar_tendency(
        self, x: Nodal, surface_and_work: Tensor, work: Tensor
    ) -> Float[Tensor, "batch scalar lat lon"]:
        """Return the channels ∂π/∂t, ∂T'/∂t, ∂q/∂t (without fluxes and F), and ½ |v|²."""
        k = self.n_levels
        heating = torch.add(work, x.divergence, alpha=1 - self.planet.kappa)
        temperature, humidity = x.tracers.chunk(2, 1)
        zonal, meridional = x.wind.chunk(2, 1)
        speed_squared = (zonal * zonal).addcmul(meridional, meridional)
        energy = speed_squared * (0.5 * self.inverse_cosine_squared)
        scalars = torch.cat([surface_and_work, humidity * x.divergence, energy], 1)
        scalars[:, 1 : k + 1].addcmul_(temperature, heating)
        return scalars

    def _project(self, x: Nodal, wind: Tensor, scalars: Tensor) -> Tensor:
        """Assemble the spectral tendencies."""
        k, transform = self.n_levels, self.transform
        tracers = paired(x.tracers)
        zonal, meridional = x.wind.chunk(2, 1)
        fluxes = transform.divergence(
            (tracers * zonal[:, None]).flatten(1, 2),
            (tracers * meridional[:, None]).flatten(1, 2),
        )
        vorticity, divergence = transform.curl_and_divergence(wind)
        surface, tendency, energy = torch.split(transform.analysis(scalars), [1, 2 * k, k], 3)
        divergence = divergence - self.laplacian * energy + self.surface_geopotential
        return torch.cat([vorticity, divergence, surface, tendency - fluxes], 3)


def subtract_vertical_advection(
    tendency: Float[Tensor, "batch two_levels lat lon"],
    x: Float[Tensor, "batch two_levels lat lon"],
    velocity: Float[Tensor, "batch half_level lat lon"],
) -> None:
    """Subtract σ̇ ∂x/∂σ, in a layer the mean of the values at its two half levels, in place.

    Args:
        tendency: Tendencies of `x`, changed in place.
        x: Two advected fields.
        velocity: ½ σ̇ / δσ on the inner half levels [s-1].
    """
    x, tendency = paired(x), paired(tendency)
    flux = (x[:, :, 1:] - x[:, :, :-1]) * velocity[:, None]
    tendency[:, :, :-1] -= flux
    tendency[:, :, 1:] -= flux
