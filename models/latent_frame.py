"""The latent coordinates of one analysis, centered on its background.

With normalized anomalies a, the known model error b and the standardized residual r,

    a(r) = a_b + decode(z_b + b + s e^ℓ r) − decode(z_b),    z_b = encode(a_b),

where e^ℓ may be multiplied by a map of the expected error (`models.local_error`):
r = 0 is the background without the known model error, and the part of the background that the
decoder cannot say is kept.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from models.autoencoder import Autoencoder
from models.denoiser import LatentDenoiser

__all__ = ["LatentFrame", "expected_level"]


@dataclass(frozen=True)
class LatentFrame:
    """Maps the standardized latent residual r to normalized anomalies.

    Attributes:
        autoencoder: The autoencoder.
        z_b: Latent background.
        center: z_b + b.
        remainder: a_b − decode(z_b).
        unit: s, the scale for ℓ = 0.
        level: ℓ, logarithm of the expected background error.
        relief: The expected error at each place over e^ℓ; None for the same everywhere.
    """

    autoencoder: Autoencoder
    z_b: Float[Tensor, "batch channel latent_lat latent_lon"]
    center: Float[Tensor, "batch channel latent_lat latent_lon"]
    remainder: Float[Tensor, "batch field lat lon"]
    unit: Float[Tensor, "batch channel 1 1"]
    level: Float[Tensor, "batch"]
    relief: Float[Tensor, "batch 1 latent_lat latent_lon"] | None = None

    @property
    def scale(self) -> Float[Tensor, "batch channel #latent_lat #latent_lon"]:
        """The scale s e^ℓ."""
        scale = self.unit * torch.exp(self.level)[:, None, None, None]
        return scale if self.relief is None else scale * self.relief

    @classmethod
    def at(
        cls,
        a_b: Float[Tensor, "batch field lat lon"],
        season: Float[Tensor, "batch basis"],
        autoencoder: Autoencoder,
        denoiser: LatentDenoiser,
        corrected: bool = True,
    ) -> "LatentFrame":
        """Center the coordinates on the background anomalies `a_b` [1], for the level 0.

        Args:
            a_b: Background anomalies [1].
            season: Functions of the valid time.
            autoencoder: The autoencoder.
            denoiser: Knows b and s.
            corrected: Whether the known model error b is taken off, or taken as 0.
        """
        z_b = autoencoder.encode(a_b)
        remainder = a_b - autoencoder.decode(z_b)
        level = z_b.new_zeros(len(z_b))
        center = denoiser.center(z_b, season) if corrected else z_b
        return cls(autoencoder, z_b, center, remainder, denoiser.scale(level), level)

    def with_level(
        self,
        level: Float[Tensor, "batch"],
        relief: Float[Tensor, "batch 1 latent_lat latent_lon"] | None = None,
    ) -> "LatentFrame":
        """Return the same coordinates for an expected background error ℓ, and its map."""
        return replace(self, level=level, relief=relief)

    def anomaly(
        self, r: Float[Tensor, "batch channel latent_lat latent_lon"]
    ) -> Float[Tensor, "batch field lat lon"]:
        """Return the normalized anomalies a(r) [1]."""
        return self.autoencoder.decode(self.center + self.scale * r) + self.remainder

    def residual(
        self, a: Float[Tensor, "batch field lat lon"]
    ) -> Float[Tensor, "batch channel latent_lat latent_lon"]:
        """Return the standardized latent residual of a state, the target of the denoiser."""
        return (self.autoencoder.encode(a) - self.center) / self.scale


def expected_level(
    innovation: Float[Tensor, "batch obs"],
    error: Float[Tensor, "batch obs"],
    unit: Float[Tensor, "batch obs"],
    weight: Float[Tensor, "batch obs"],
    least: float = 0.1,
) -> Float[Tensor, "batch"]:
    """Estimate ℓ from the innovations d: e^{2ℓ} = Σ w (d² − σ_o²)/u² / Σ w.

    Args:
        innovation: Observations minus background, in the observations' units.
        error: Observation error σ_o, in the same units.
        unit: 24 h background error u at the observations, in the same units.
        weight: Weight w of each observation, its share of the sphere.
        least: Smallest background error, in units of the 24 h one.

    Returns:
        ℓ, the logarithm of the background error in units of the 24 h background error.
    """
    excess = (innovation**2 - error**2) / unit**2
    square = (weight * excess).sum(1) / weight.sum(1)
    return 0.5 * torch.log(square.clamp(min=least**2))
