"""Hybrid covariance: the static one, and that of an ensemble where there is one.

    C = (1 − w) C_s + w Σ_k x_k x_kᵀ ∘ ρ,    x_k = (z_k − z̄)/(s e^ℓ √(m − 1)),

with ρ Gaspari and Cohn's function of the distance on the sphere, the same for all channels. Its
root acts on the control variables of the static part and on one field α_k for each member:

    r = √(1 − w) L_s v + √w Σ_k x_k ∘ (ρ^½ α_k).

References:
    | Hamill & Snyder (2000), A hybrid ensemble Kalman filter–3D variational analysis scheme,
    | doi 10.1175/1520-0493(2000)128<2905:AHEKFV>2.0.CO;2
    | Lorenc (2003), The potential of the ensemble Kalman filter for NWP, doi 10.1256/qj.02.132
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from models.covariance import BlockCovariance, gaspari_cohn

__all__ = ["HybridCovariance", "localization_root", "sphere_distance"]

EARTH_RADIUS = 6371.0


def sphere_distance(rows: int, columns: int) -> Float[Tensor, "point point"]:
    """Return the distances [km] between the points of a global grid of equal angles."""
    latitude = ((torch.arange(rows).double() + 0.5) / rows - 0.5) * math.pi
    longitude = torch.arange(columns).double() * 2 * math.pi / columns
    phi, lam = torch.meshgrid(latitude, longitude, indexing="ij")
    axes = (phi.cos() * lam.cos(), phi.cos() * lam.sin(), phi.sin())
    unit = torch.stack([axis.flatten() for axis in axes], 1)
    distance: Tensor = EARTH_RADIUS * torch.arccos((unit @ unit.T).clamp(-1, 1))
    return distance.float()


def localization_root(
    distance: Float[Tensor, "point point"], half_width: float
) -> Float[Tensor, "point mode"]:
    """Return ρ^½ with ρ^½ (ρ^½)ᵀ = ρ; modes without variance are left out.

    Args:
        distance: Distances between the points.
        half_width: Half-width of ρ, in the units of the distances.
    """
    values, vectors = torch.linalg.eigh(gaspari_cohn(distance.double(), half_width))
    kept = values > 1e-3 * values.max()
    root: Tensor = vectors[:, kept] * values[kept].sqrt()
    return root.float()


class HybridCovariance:
    """A static covariance mixed with that of perturbations."""

    def __init__(
        self,
        static: BlockCovariance,
        perturbations: Float[Tensor, "member channel lat lon"],
        root: Float[Tensor, "point mode"],
        weight: float,
    ) -> None:
        """Mix.

        Args:
            static: C_s.
            perturbations: Deviations of the members from their mean, in units of s e^ℓ.
            root: ρ^½.
            weight: Weight w of the ensemble.
        """
        self.static, self.weight, self.rho = static, weight, root
        self.x = perturbations.flatten(2) / math.sqrt(len(perturbations) - 1)

    def control(self, r: Float[Tensor, "batch channel lat lon"]) -> Float[Tensor, "batch control"]:
        """Return the control variables of r = 0."""
        return r.new_zeros(len(r), r[0].numel() + len(self.x) * self.rho.shape[1])

    def root(
        self, v: Float[Tensor, "batch control"], sigma: float
    ) -> Float[Tensor, "batch channel lat lon"]:
        """Return L v; the ensemble's part is that of σ → ∞."""
        static, alpha = self._split(v)
        fields = alpha @ self.rho.T
        part = torch.einsum("kcp,bkp->bcp", self.x, fields).reshape(static.shape)
        weights = math.sqrt(1 - self.weight), math.sqrt(self.weight)
        return weights[0] * self.static.root(static, sigma) + weights[1] * part

    def root_adjoint(
        self, r: Float[Tensor, "batch channel lat lon"], sigma: float
    ) -> Float[Tensor, "batch control"]:
        """Return Lᵀ r."""
        fields = torch.einsum("kcp,bcp->bkp", self.x, r.flatten(2))
        alpha = math.sqrt(self.weight) * (fields @ self.rho)
        static = math.sqrt(1 - self.weight) * self.static.root_adjoint(r, sigma)
        return torch.cat([static.flatten(1), alpha.flatten(1)], 1)

    def _split(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return the static part as a state and the fields of α in modes of ρ."""
        size = math.prod(self.static.shape)
        static = v[:, :size].reshape(-1, *self.static.shape)
        return static, v[:, size:].reshape(len(v), len(self.x), -1)
