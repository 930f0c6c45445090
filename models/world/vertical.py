"""Vertical operators on sigma levels, σ = p / p_s, as small matrices that act on columns.

With layer thickness Δσ_k, mid levels σ_k and α_k = ½ ln(σ_{k+1} / σ_k), α_K = -ln σ_K:

    geopotential       Φ_k = Φ_s + R Σ_j G_kj T_j,  G_kk = α_k, G_kj = α_j + α_{j-1} (j > k)
    pressure work      Ω_kj = (Δσ_j / Δσ_k) (α_k [j ≤ k] + α_{k-1} [j < k])
    sigma velocity     σ̇_{k+½} = σ_{k+½} Σ_j Δσ_j g_j - Σ_{j≤k} Δσ_j g_j,  g = D + v·∇ln p_s

which conserve energy, mass and angular momentum of the continuous equations.

References:
    | Durran (2010), Numerical methods for fluid dynamics, section 8.6,
      doi 10.1007/978-1-4419-6412-0
    | Simmons & Burridge (1981), An energy and angular-momentum conserving vertical
      finite-difference scheme and hybrid vertical coordinates,
      doi 10.1175/1520-0493(1981)109<0758:AEAAMC>2.0.CO;2
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from models.world.tables import Array

__all__ = ["EIGHT_LEVELS", "SigmaLevels", "apply_to_columns", "paired"]


@dataclass(frozen=True)
class SigmaLevels:
    """Sigma layers, from the top down, bounded by `half_levels` (0 at the top, 1 at the ground)."""

    half_levels: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse levels that do not increase from 0 to 1."""
        half = np.asarray(self.half_levels)
        if half[0] != 0 or half[-1] != 1 or np.any(np.diff(half) <= 0):
            message = f"half levels {self.half_levels}: allowed are numbers rising from 0 to 1"
            raise ValueError(message)

    def __len__(self) -> int:
        """Return the number of layers K."""
        return len(self.half_levels) - 1

    @cached_property
    def thickness(self) -> Array:
        """Δσ, shape (K,)."""
        return np.diff(np.asarray(self.half_levels, np.float64))

    @cached_property
    def mid_levels(self) -> Array:
        """σ in the middle of the layers, shape (K,)."""
        half = np.asarray(self.half_levels, np.float64)
        return (half[1:] + half[:-1]) / 2

    @cached_property
    def _alpha(self) -> Array:
        return np.append(np.diff(np.log(self.mid_levels)) / 2, -np.log(self.mid_levels[-1]))

    @cached_property
    def _below_or_at(self) -> Array:
        return np.tril(np.ones((len(self), len(self))))

    @cached_property
    def hydrostatic(self) -> Array:
        """G of the geopotential, shape (K, K)."""
        above = np.triu(np.ones((len(self), len(self))), 1)
        shifted = np.append(0.0, self._alpha[:-1])
        matrix: Array = np.diag(self._alpha) + above * (self._alpha + shifted)
        return matrix

    @cached_property
    def pressure_work(self) -> Array:
        """Ω of the conversion of energy, (ω / p)_k = v_k·∇ln p_s - (Ω g)_k, shape (K, K)."""
        here = self._below_or_at * self._alpha[:, None]
        above = np.roll(here, 1, 0)
        above[0] = 0
        work: Array = (here + above) * self.thickness / self.thickness[:, None]
        return work

    @cached_property
    def sigma_velocity(self) -> Array:
        """Map g to σ̇ on the K - 1 inner half levels, shape (K-1, K)."""
        half = np.cumsum(self.thickness)[:, None]
        velocity: Array = (half - self._below_or_at) * self.thickness
        return velocity[:-1]

    @cached_property
    def level_distance(self) -> Array:
        """Distance σ_{k+1} - σ_k of neighboring mid levels, shape (K-1,)."""
        return np.diff(self.mid_levels)


#: The layers of SPEEDY (Molteni 2003).
EIGHT_LEVELS = SigmaLevels((0.0, 0.05, 0.14, 0.26, 0.42, 0.60, 0.77, 0.90, 1.0))


def apply_to_columns(
    operator: Float[Tensor, "row level"], x: Float[Tensor, "batch level lat lon"]
) -> Float[Tensor, "batch row lat lon"]:
    """Multiply every column by a matrix."""
    rows = torch.matmul(operator, x.flatten(2))
    return rows.view(len(x), -1, *x.shape[2:])


def paired(
    x: Float[Tensor, "batch two_levels lat lon"],
) -> Float[Tensor, "batch 2 level lat lon"]:
    """View the channels of two variables as a pair of variables."""
    batch, channels, lat, lon = x.shape
    return x.view(batch, 2, channels // 2, lat, lon)
