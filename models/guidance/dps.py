r"""Diffusion posterior sampling: guidance by the gradient of the misfit through the denoiser.

By Tweedie's formula the mean that knows the observations too is

    E[r | r_t, y] = E[r | r_t] + σ_t² ∇_{r_t} log p(y | r_t),

where the likelihood of a noisy state is not known in closed form. With r_0 = E[r | r_t], the
departures d = R^{-½} (y − H decode(r_0)) and the expected background error over the observation
error, u, it is replaced by one of

    gaussian      log p(y | r_t) ≈ −½ Σ d² / (1 + γ u² σ_t² / (1 + σ_t²))
    normalized    σ_t² log p(y | r_t) → −ζ |d|

The first is SDA's: r_0 has an error of its own, which belongs to the variance. γ = 1 is exact for
an isotropic prior whose observations have nothing in common. The best γ is lower where the prior
is too narrow, but the steps must then be short: neglected correlations between observations make
them too long, and the process diverges. The second is the step of DPS: its length does not grow
with the misfit, so that it is stable, and does not weigh prior and observations either.

References:
    | Chung et al. (2023), Diffusion posterior sampling for general noisy inverse problems,
    | arXiv 2209.14687
    | Rozet & Louppe (2023), Score-based data assimilation, arXiv 2306.10574
    | Manshausen et al. (2024), Generative data assimilation of sparse weather station observations
    | at kilometer scales, arXiv 2406.16947
    | Sun et al. (2025), Align-DA, arXiv 2505.22008
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from azula.denoise import Denoiser, DiracPosterior
from azula.noise import Schedule
from jaxtyping import Float
from torch import Tensor

__all__ = ["GradientGuidance", "Likelihood"]


@dataclass(frozen=True)
class Likelihood:
    """How the likelihood of a noisy state is replaced.

    Attributes:
        kind: `gaussian` or `normalized`.
        gamma: γ, factor on the variance of the denoised state at the observations (gaussian).
        zeta: ζ, length of the step (normalized).
    """

    kind: str = "gaussian"
    gamma: float = 0.2
    zeta: float = 20.0

    def __post_init__(self) -> None:
        """Refuse any other kind."""
        if self.kind not in ("gaussian", "normalized"):
            raise ValueError(f"likelihood {self.kind!r}, allowed: 'gaussian', 'normalized'")

    def cost(
        self, d: Float[Tensor, "batch obs"], u: Float[Tensor, "batch obs"], sigma: float
    ) -> Float[Tensor, "batch"]:
        """Return −σ² log p(y | r_t) for departures d and background errors u of each sample."""
        if self.kind == "normalized":
            norm: Tensor = torch.linalg.vector_norm(d, dim=1)
            return self.zeta * norm
        variance = 1 + self.gamma * u**2 * (sigma**2 / (1 + sigma**2))
        return 0.5 * sigma**2 * (d**2 / variance).sum(1)


class GradientGuidance(Denoiser):  # type: ignore[misc]
    """A denoiser guided by the gradient of the misfit of its mean."""

    def __init__(
        self,
        denoiser: Denoiser,
        departure: Callable[[Tensor], Tensor],
        u: Float[Tensor, "batch obs"],
        likelihood: Likelihood,
    ) -> None:
        """Guide `denoiser`.

        Args:
            denoiser: The prior; called with the keyword arguments of `forward`.
            departure: d(r), the observations minus their equivalents over the error, of shape
                (batch, obs).
            u: Background error at the observations over the observation error.
            likelihood: What replaces the likelihood.
        """
        super().__init__()
        self.denoiser, self.departure, self.u = denoiser, departure, u
        self.likelihood = likelihood

    @property
    def schedule(self) -> Schedule:
        """The noise schedule of the prior."""
        return self.denoiser.schedule

    @torch.no_grad()
    def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor) -> DiracPosterior:
        """Return the posterior mean given the observations."""
        sigma = float(self.schedule.sigma(t))
        with torch.enable_grad():
            x_t = x_t.detach().requires_grad_()
            r_0 = self.denoiser(x_t, t, **condition).mean
            cost = self.likelihood.cost(self.departure(r_0), self.u, sigma)
            (gradient,) = torch.autograd.grad(cost.sum(), x_t)
        return DiracPosterior(r_0.detach() - gradient)
