"""Repaint in latent space, the mechanism of DiffDA.

    r_T = σ_T ε (or 0); for each noise level σ_t:
        r_0 = E[r | r_t, z_b, ℓ]                                  the denoiser
        r̂  = r_0, decoded, with the observed values replaced, and encoded   the guidance
        r_s = r̂ + σ_s (estimated and fresh noise)                 the sampler

DiffDA does this with states. In the latent space Align-DA composes E(m D(z_obs) + (1 − m) D(z))
where z_obs is the encoded truth; here only the observations enter. With `resample` > 1 each noise
level is visited again after fresh noise (η > 0), which is RePaint's jump back by one level.

References:
    | Lugmayr et al. (2022), RePaint, arXiv 2201.09865
    | Huang et al. (2024), DiffDA, arXiv 2401.05932
    | Sun et al. (2025), Align-DA, arXiv 2505.22008
"""

from dataclasses import dataclass

from azula.denoise import Denoiser
from torch import Tensor

from models.guidance.repaint import Replacement
from models.methods.latent import LatentProblem
from models.methods.posterior import PosteriorSampler, SamplerSettings

__all__ = ["Repaint", "RepaintSettings"]


@dataclass(frozen=True)
class RepaintSettings(SamplerSettings):
    """What can be chosen; `representativeness` has no effect, as no observation error has.

    Attributes:
        start: First noise level.
        weight: Share of the observed values that is replaced, 1 for all of it.
        resample: Visits of each noise level.
    """

    start: float = 2.0
    weight: float = 1.0
    resample: int = 1


class Repaint(PosteriorSampler[RepaintSettings]):
    """The method, for one configuration of components and settings."""

    @property
    def levels(self) -> list[float]:
        """The noise levels, each as often as it is visited."""
        return [sigma for sigma in super().levels for _ in range(self.settings.resample)]

    def guided(self, problem: LatentProblem) -> Denoiser:
        """Return the prior whose mean takes the observed values."""
        observed, size = problem.observed, 1 / self.statistics.weights[:, None, None]

        def departure(a: Tensor) -> Tensor:
            return (observed.y - observed.observe(a)) / observed.unit

        weight = self.settings.weight
        return Replacement(self.denoiser, problem.frame, departure, size, weight)
