"""What the posterior samplers share: reverse diffusion under a prior that is guided.

A guided denoiser stands for E[r | r_t, z_b, ℓ, y], whatever it makes of the observations, and the
sampler takes it from r_T to r_0. From noise, r_T ~ N(0, C + σ_T²), the result is a sample of the
posterior: its deviation from the mean has the size of the mean's error, so its mean square error
is twice that of the mean. From r_T = 0 without fresh noise the path leads, where everything is
Gaussian, to the posterior mean, up to the part √(P/(P + σ_T²)) that a first noise level not far
above the posterior's deviation √P leaves. That is the best estimate, for a fair comparison with
methods that return one. The members of an ensemble are samples, each from its own noise, and share
observations that are not perturbed. Their spread needs some 30 levels: each step of finite length
narrows it, by (P + σ_s σ_t)/(P + σ_t²) instead of √((P + σ_s²)/(P + σ_t²)).

References:
    | Karras et al. (2022), Elucidating the design space of diffusion-based generative models,
    | arXiv 2206.00364
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from azula.denoise import Denoiser, DiracPosterior
from azula.noise import Schedule
from jaxtyping import Float
from torch import Tensor

from models.covariance import FLAT
from models.guidance.trace import Trace
from models.methods.latent import LatentMethod, LatentProblem
from models.sampler import karras_levels, randn, reverse_diffusion

__all__ = ["PosteriorSampler", "SamplerSettings"]


@dataclass(frozen=True)
class SamplerSettings:
    """What every posterior sampler can be told.

    Attributes:
        steps: Noise levels.
        start: First noise level.
        stop: Last noise level.
        eta: Share of fresh noise between the levels; it narrows the spread of samples.
        noisy_start: Whether to start from noise, for a sample instead of the mean; the members of
            an ensemble always do.
        representativeness: Error of the decoder, in units of the 24 h background error, that is
            added to the observation error.
        corrected: Whether the known part b of the model's error is taken off the background.
        adaptive: Whether the expected error ℓ follows the innovations.
    """

    steps: int = 16
    start: float = 3.0
    stop: float = 0.1
    eta: float = 0.0
    noisy_start: bool = False
    representativeness: float = 0.3
    corrected: bool = True
    adaptive: bool = True


Settings = TypeVar("Settings", bound=SamplerSettings)


class PosteriorSampler(LatentMethod[Settings]):
    """A method that guides the prior and samples it."""

    perturbs = False

    @abstractmethod
    def guided(self, problem: LatentProblem) -> Denoiser:
        """Return the prior guided by the observations."""

    @property
    def levels(self) -> list[float]:
        """The noise levels, decreasing."""
        settings = self.settings
        return karras_levels(settings.steps, settings.start, settings.stop)

    def solve(
        self, problem: LatentProblem, generators: Sequence[torch.Generator]
    ) -> tuple[Float[Tensor, "batch channel lat lon"], Trace]:
        """Run the guided reverse diffusion."""
        r = torch.zeros_like(problem.frame.z_b)
        if self.settings.noisy_start or problem.ensemble:
            r = self.noise(r, generators)
        guided, eta = Recorded(self.guided(problem), problem), self.settings.eta
        r = reverse_diffusion(guided, r, self.levels, eta, generators, **problem.condition)
        return r, guided.trace

    def noise(self, like: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Draw a noisy residual of the prior, r_T ~ N(0, C + σ_T²)."""
        residual, noise = (randn(like.shape, generators, like.device) for _ in range(2))
        return self.denoiser.covariance.root(residual, FLAT) + self.settings.start * noise


class Recorded(Denoiser):  # type: ignore[misc]
    """The same denoiser; the misfit of its means goes on record."""

    def __init__(self, denoiser: Denoiser, problem: LatentProblem) -> None:
        """Record the misfit of `denoiser` to the observations of `problem`."""
        super().__init__()
        self.denoiser, self.problem, self.trace = denoiser, problem, Trace()

    @property
    def schedule(self) -> Schedule:
        """The noise schedule of the denoiser."""
        return self.denoiser.schedule

    @torch.no_grad()
    def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor) -> DiracPosterior:
        """Return what the denoiser returns."""
        q = self.denoiser(x_t, t, **condition)
        self.trace.add_misfit(float(self.schedule.sigma(t)), self.problem.departure(q.mean))
        return q
