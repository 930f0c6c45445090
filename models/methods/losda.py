"""LO-SDA: latent optimization in the reverse diffusion of a background-conditioned prior.

    z_b = encode(x_b); r_T = σ_T ε (or 0); for each noise level σ_t:
        r_0 = E[r | r_t, z_b, ℓ]                                  the denoiser
        r̂  = argmin ½|r − r_0|²_{Σ_t⁻¹} + ½|y − H decode(r)|²_{R⁻¹}   latent optimization
        r_s = r̂ + σ_s (estimated and fresh noise)                  the sampler
    x_a = x_b + decode(z_b + b + s e^ℓ r̂) − decode(z_b)    in the fields that count

Both presets start from r = 0 without noise and add none (η = 0), so that they follow the mean of the
reverse process: from noise the result is a sample of the posterior, whose error is twice as large
and which a cycle does not bear. The first anchor of `fast` is the background less the known part b
of the model's error; it takes two levels with Gauss–Newton. `paper` takes 128 levels with gradient
descent, as published as far as is known; published are neither the number of inner iterations nor
the optimizer, nor the covariance of the anchor. For an ensemble each member has its own background,
perturbed observations and its own draw d Σ_t^½ ε in the first anchor (randomize, then optimize),
which stands for the error of the model that the members' forecasts share.

References:
    | Sun et al. (2025), LO-SDA, arXiv 2510.22562
    | Bardsley et al. (2014), Randomize-then-optimize, doi 10.1137/140964023
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from models.covariance import DiagonalCovariance
from models.guidance.latent_optimization import InnerSolver, LatentOptimization
from models.guidance.trace import Trace
from models.hybrid import HybridCovariance, localization_root, sphere_distance
from models.methods.latent import LatentMethod, LatentProblem
from models.sampler import karras_levels, randn, reverse_diffusion

__all__ = ["LOSDA", "PRESETS", "LOSDASettings"]


@dataclass(frozen=True)
class LOSDASettings:
    """What can be chosen.

    Attributes:
        steps: Noise levels.
        start: First noise level.
        stop: Last noise level.
        eta: Share of fresh noise between the levels.
        noisy_start: Whether to start from noise instead of the background.
        anchor: Weight of the denoiser's mean in the first anchor; 0 anchors on the background.
        solver: The inner solver.
        representativeness: Error of the decoder, in units of the 24 h background error, that is
            added to the observation error.
        prior_draw: Size d of each member's draw (ensembles only).
        ensemble_weight: Weight of the members' perturbations in the covariance of the first anchor
            (ensembles only).
        ensemble_width: Half-width of their localization [km].
        isotropic: Whether the anchor's covariance is a multiple of the identity (as published)
            instead of Σ_t.
        corrected: Whether the known part b of the model's error is taken off the background.
        adaptive: Whether the expected error ℓ follows the innovations.
    """

    steps: int = 2
    start: float = 10.0
    stop: float = 0.5
    eta: float = 0.0
    noisy_start: bool = False
    anchor: float = 0.0
    solver: InnerSolver = field(default_factory=lambda: InnerSolver(anchor_scale=1.5))
    representativeness: float = 0.3
    prior_draw: float = 0.0
    ensemble_weight: float = 0.0
    ensemble_width: float = 2500.0
    isotropic: bool = False
    corrected: bool = True
    adaptive: bool = True


PRESETS = {
    "fast": LOSDASettings(prior_draw=0.4),
    "paper": LOSDASettings(
        steps=128,
        stop=0.03,
        anchor=1.0,
        solver=InnerSolver("steepest_descent", outer=5, anchor_scale=1.0),
        representativeness=0.3,
    ),
}


class LOSDA(LatentMethod[LOSDASettings]):
    """The method, for one configuration of components and settings."""

    _rho: Tensor | None = None

    def solve(
        self, problem: LatentProblem, generators: Sequence[torch.Generator]
    ) -> tuple[Float[Tensor, "batch channel lat lon"], Trace]:
        """Run the guided reverse diffusion."""
        settings, full = self.settings, self.denoiser.covariance
        identity = DiagonalCovariance(torch.ones_like(full.variance()))
        covariance = identity if settings.isotropic else full
        r = self.start(problem.frame.z_b, generators)
        guided = LatentOptimization(
            self.denoiser, problem.departure, covariance, settings.solver, settings.anchor
        )
        if problem.ensemble and settings.prior_draw:
            draw = randn(r.shape, generators, r.device)
            guided.shift = settings.prior_draw * full.root(draw, settings.start)
        if problem.perturbations is not None and settings.ensemble_weight:
            guided.first = self.hybrid(problem.perturbations)
        levels = karras_levels(settings.steps, settings.start, settings.stop)
        r = reverse_diffusion(guided, r, levels, settings.eta, generators, **problem.condition)
        return r, guided.trace

    def hybrid(self, perturbations: Float[Tensor, "member channel lat lon"]) -> HybridCovariance:
        """Return the covariance that also has the perturbations of the members."""
        shape = self.denoiser.shape
        if not (shape.wraps and shape.poles):
            raise ValueError("method.ensemble_weight: needs a global grid")
        if self._rho is None:
            distance = sphere_distance(*shape.grid)
            self._rho = localization_root(distance, self.settings.ensemble_width)
        rho, weight = self._rho.to(perturbations), self.settings.ensemble_weight
        return HybridCovariance(self.denoiser.covariance, perturbations, rho, weight)

    def start(self, like: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Return the noisy residual from which the reverse process starts."""
        if self.settings.noisy_start:
            return self.settings.start * randn(like.shape, generators, like.device)
        return torch.zeros_like(like)
