r"""The linear gravity-wave terms and the inverse of I - τ L, by vertical normal modes.

With n_l = l (l+1) / a² and the surface and thermal fields θ = [π, T'], the terms are

    ∂D/∂t = n_l Γ θ,   Γ = [R T_r 1, G];        ∂θ/∂t = -B D,   B = [Δσᵀ; κ T_r Ω].

Elimination of θ from (I - τ L) [D, θ] = r leaves, for every degree l,

    (I + τ² n_l Γ B) D = r_D + τ n_l Γ r_θ,     θ = r_θ - τ B D.

Γ B = E diag(c²) E⁻¹ has positive eigenvalues c², the squared phase speeds of the vertical
modes, so the inverse is two small products and a division by 1 + τ² n_l c².

References:
    | Hoskins & Simmons (1975), A multi-layer spectral model and the semi-implicit method,
      doi 10.1002/qj.49710142918
    | Kasahara & Puri (1981), Spectral representation of three-dimensional global data by
      expansion in normal mode functions, doi 10.1175/1520-0493(1981)109<0037:SROTDG>2.0.CO;2
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.world.constants import Planet
from models.world.tables import Array, register_tables
from models.world.vertical import SigmaLevels

__all__ = ["GravityWaves", "ImplicitSolve"]


class GravityWaves(nn.Module):
    """The linear terms L of the channels [D, π, T']."""

    n: Tensor
    gamma: Tensor
    minus_b: Tensor

    def __init__(
        self,
        levels: SigmaLevels,
        planet: Planet,
        reference_temperature: float,
        laplacian: Array,
        dtype: torch.dtype,
    ) -> None:
        """Tabulate Γ and B.

        Args:
            levels: The vertical discretization.
            planet: Physical constants.
            reference_temperature: T_r [K].
            laplacian: Eigenvalues of ∇² for each degree [m-2].
            dtype: Floating-point type of the operators.
        """
        super().__init__()
        self.n_levels = len(levels)
        gas_constant = planet.gas_constant
        surface = np.full((self.n_levels, 1), gas_constant * reference_temperature)
        thermal = planet.kappa * reference_temperature * levels.pressure_work
        self.gamma64 = np.concatenate([surface, gas_constant * levels.hydrostatic], 1)
        self.b64 = np.concatenate([levels.thickness[None], thermal])
        self.n64 = -laplacian
        tables = {"n": self.n64, "gamma": self.gamma64, "minus_b": -self.b64}
        register_tables(self, dtype, tables)

    def forward(
        self, x: Float[Tensor, "order part batch implicit degree"]
    ) -> Float[Tensor, "order part batch implicit degree"]:
        """Return L x."""
        divergence, thermal = torch.split(x, [self.n_levels, self.n_levels + 1], 3)
        acceleration = torch.matmul(self.gamma, thermal) * self.n
        return torch.cat([acceleration, torch.matmul(self.minus_b, divergence)], 3)

    def solver(self, tau: float) -> "ImplicitSolve":
        """Prepare (I - τ L)⁻¹ for one time scale τ [s]."""
        return ImplicitSolve(self, tau)

    def modes(self) -> tuple[Array, Array]:
        """Return the squared phase speeds c² [m2 s-2] and the vertical modes E."""
        squared_speed, modes = np.linalg.eig(self.gamma64 @ self.b64)
        return squared_speed.real, modes.real


class ImplicitSolve(nn.Module):
    """(I - τ L)⁻¹ on the channels [D, π, T']."""

    to_modes: Tensor
    thermal_to_modes: Tensor
    from_modes: Tensor
    response: Tensor
    n: Tensor

    def __init__(self, waves: GravityWaves, tau: float) -> None:
        """Tabulate the products with the modes."""
        super().__init__()
        self.n_levels = waves.n_levels
        self.tau = tau
        squared_speed, modes = waves.modes()
        inverse = np.linalg.inv(modes)
        tables = {
            "to_modes": inverse,
            "thermal_to_modes": tau * inverse @ waves.gamma64,
            "from_modes": np.concatenate([modes, -tau * waves.b64 @ modes]),
            "response": 1 / (1 + tau**2 * squared_speed[:, None] * waves.n64),
            "n": waves.n64,
        }
        register_tables(self, waves.n.dtype, tables)

    def forward(
        self, right: Float[Tensor, "order part batch implicit degree"]
    ) -> Float[Tensor, "order part batch implicit degree"]:
        """Return (I - τ L)⁻¹ r."""
        divergence, thermal = torch.split(right, [self.n_levels, self.n_levels + 1], 3)
        amplitude = torch.matmul(self.to_modes, divergence)
        amplitude = amplitude.addcmul(torch.matmul(self.thermal_to_modes, thermal), self.n)
        solution = torch.matmul(self.from_modes, amplitude * self.response)
        solution[:, :, :, self.n_levels :] += thermal
        return solution
