"""Moment matching posterior sampling (MMPS): the denoiser's own covariance in the likelihood.

    r_T = σ_T ε (or 0); for each noise level σ_t:
        r_0 = E[r | r_t, z_b, ℓ],    V = Cov[r | r_t] = σ_t² ∂r_0/∂r_t        the denoiser
        r̂  = r_0 + V Gᵀ (I + G V Gᵀ)⁻¹ d(r_0)                                the guidance
        r_s = r̂ + σ_s (estimated and fresh noise)                            the sampler

with the departures d and the tangent G of −d. Exact if prior and observations are Gaussian; the
covariance depends on the flow as far as the denoiser's network has learned it. The products with
V are derivatives of the denoiser in reverse mode, those with G in forward mode. A learned
denoiser's V is neither symmetric nor positive, so that the linear system in observation space gets
a few iterations of GMRES: conjugate gradients diverge. The guided denoiser is azula's, for
observations y = 0 of −d with unit error.

References:
    | Rozet et al. (2024), Learning diffusion priors from observations by expectation maximization,
    | arXiv 2405.13712
"""

from dataclasses import dataclass

import torch
from azula.denoise import Denoiser
from azula.guidance.mmps import MMPSDenoiser
from azula.linalg.covariance import IsotropicCovariance

from models.methods.latent import LatentProblem
from models.methods.posterior import PosteriorSampler, SamplerSettings

__all__ = ["MMPS", "MMPSSettings"]


@dataclass(frozen=True)
class MMPSSettings(SamplerSettings):
    """What can be chosen.

    Attributes:
        steps: Noise levels; more serve only the spread of samples.
        iterations: Iterations of GMRES at each noise level.
    """

    steps: int = 4
    iterations: int = 4


class MMPS(PosteriorSampler[MMPSSettings]):
    """The method, for one configuration of components and settings."""

    def guided(self, problem: LatentProblem) -> Denoiser:
        """Return the prior guided by moment matching."""
        return MMPSDenoiser(
            self.denoiser,
            torch.zeros_like(problem.observed.y),
            lambda r: -problem.departure(r),
            IsotropicCovariance(1.0),
            iterations=self.settings.iterations,
        )
