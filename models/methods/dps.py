"""Latent diffusion posterior sampling (DPS), the score-based data assimilation of latent states.

    r_T = σ_T ε (or 0); for each noise level σ_t:
        r_0 = E[r | r_t, z_b, ℓ]                                         the denoiser
        r̂  = r_0 + σ_t² ∇_{r_t} log p(y | r_t),  p from |y − H decode(r_0)|  the guidance
        r_s = r̂ + σ_s (estimated and fresh noise)                        the sampler

One gradient step for each noise level, through decoder and denoiser, where LO-SDA minimizes. The
choice of the likelihood is explained in `models.guidance.dps`. azula's DPS sampler is not used: it
draws from the global random state, and the norm it takes is that of all samples together.

References:
    | Chung et al. (2023), Diffusion posterior sampling, arXiv 2209.14687
    | Rozet & Louppe (2023), Score-based data assimilation, arXiv 2306.10574
    | Sun et al. (2025), Align-DA, arXiv 2505.22008
"""

from dataclasses import dataclass, field

import torch
from azula.denoise import Denoiser

from models.guidance.dps import GradientGuidance, Likelihood
from models.methods.latent import LatentProblem
from models.methods.posterior import PosteriorSampler, SamplerSettings

__all__ = ["DPS", "DPSSettings"]


@dataclass(frozen=True)
class DPSSettings(SamplerSettings):
    """What can be chosen.

    Attributes:
        likelihood: What replaces the likelihood of a noisy state.
    """

    likelihood: Likelihood = field(default_factory=Likelihood)


class DPS(PosteriorSampler[DPSSettings]):
    """The method, for one configuration of components and settings."""

    def guided(self, problem: LatentProblem) -> Denoiser:
        """Return the prior guided by the gradient of the misfit."""
        expected = torch.exp(problem.frame.level)[:, None] * problem.observed.unit
        u = expected / problem.error
        return GradientGuidance(self.denoiser, problem.departure, u, self.settings.likelihood)
