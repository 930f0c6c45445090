"""LO-SDA: latent optimization in the reverse diffusion of a background-conditioned prior.

    z_b = encode(x_b); r_T = σ_T ε (or 0); for each noise level σ_t:
        r_0 = E[r | r_t, z_b, ℓ]                                  the denoiser
        r̂  = argmin ½|r − r_0|²_{Σ_t⁻¹} + ½|y − H decode(r)|²_{R⁻¹}   latent optimization
        r_s = r̂ + σ_s (estimated and fresh noise)                  the sampler
    x_a = x_b + decode(z_b + b + s e^ℓ r̂) − decode(z_b)    in the fields that count

Preset `fast` starts from the background without noise (the first anchor is the background itself,
less the known part b of the model's error)
and takes two steps with Gauss–Newton. Preset `paper` starts from noise and takes 128 ancestral
steps with gradient descent, as published as far as is known; published are neither the number of
inner iterations nor the optimizer. For an ensemble each member has its own background, perturbed
observations and its own draw d Σ_t^½ ε in the first anchor (randomize, then optimize), which stands
for the error of the model that the members' forecasts share.

References:
    | Sun et al. (2025), LO-SDA, arXiv 2510.22562
    | Bardsley et al. (2014), Randomize-then-optimize, doi 10.1137/140964023
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from models.autoencoder import Autoencoder
from models.denoiser import LatentDenoiser
from models.guidance.latent_optimization import InnerSolver, LatentOptimization, Trace
from models.latent_frame import LatentFrame, expected_level
from models.methods.base import Analysis
from models.normalization import Statistics, time_basis
from models.observations.batch import Observations
from models.sampler import karras_levels, randn, reverse_diffusion

__all__ = ["LOSDA", "PRESETS", "LOSDASettings", "LatentObservations"]


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


PRESETS = {
    "fast": LOSDASettings(prior_draw=0.4),
    "paper": LOSDASettings(
        steps=128,
        stop=0.03,
        eta=1.0,
        noisy_start=True,
        anchor=1.0,
        solver=InnerSolver("steepest_descent", outer=5, anchor_scale=1.0),
    ),
}


@dataclass(frozen=True)
class LatentObservations:
    """Observations of normalized anomalies, one set for each sample of a batch.

    Attributes:
        y: Observed values.
        error: Observation error, a standard deviation.
        unit: 24 h background error at the observations.
        weight: Share of the sphere of each observation.
        observe: Maps normalized anomalies to the observations' equivalents.
    """

    y: Float[Tensor, "batch obs"]
    error: Float[Tensor, "batch obs"]
    unit: Float[Tensor, "batch obs"]
    weight: Float[Tensor, "batch obs"]
    observe: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class LatentAnalysis:
    """What the reverse process found.

    Attributes:
        a: Analysis anomalies [1].
        frame: The latent coordinates of the analysis.
        trace: Costs of each step.
    """

    a: Float[Tensor, "batch field lat lon"]
    frame: LatentFrame
    trace: Trace

    @property
    def level(self) -> Float[Tensor, "batch"]:
        """The expected background error ℓ."""
        return self.frame.level


class LOSDA:
    """The method, for one configuration of components and settings."""

    def __init__(
        self,
        statistics: Statistics,
        autoencoder: Autoencoder,
        denoiser: LatentDenoiser,
        area: Float[Tensor, "lat"],
        settings: LOSDASettings = PRESETS["fast"],
    ) -> None:
        """Prepare the method.

        Args:
            statistics: Climatology and error sizes.
            autoencoder: The autoencoder.
            denoiser: The prior, trained with this autoencoder.
            area: Cell-area weights of the latitudes, mean 1.
            settings: What can be chosen.
        """
        self.statistics, self.autoencoder, self.denoiser = statistics, autoencoder, denoiser
        self.area, self.settings = area, settings

    @torch.no_grad()
    def __call__(
        self,
        x_b: Float[Tensor, "member field lat lon"],
        valid_time: pd.Timestamp,
        observations: Observations,
        generators: Sequence[torch.Generator],
    ) -> Analysis:
        """Return the analysis of one cycle."""
        times = [valid_time] * len(x_b)
        a_b = self.statistics.normalize(x_b, times)
        if not len(observations.y):
            return Analysis(x_b)
        observed = self.localize(observations, times, generators)
        began = time.perf_counter()
        found = self.analysis(a_b, times, observed, generators, ensemble=len(x_b) > 1)
        seconds = {"latent_optimization": time.perf_counter() - began}
        expected = torch.exp(found.level.mean())
        x_a = self.statistics.denormalize(found.a, times)
        error = expected * observed.unit[0]
        return Analysis(x_a, tuple(found.trace.rows), seconds, float(expected), error)

    def localize(
        self,
        observations: Observations,
        times: Sequence[pd.Timestamp],
        generators: Sequence[torch.Generator],
    ) -> LatentObservations:
        """Express the observations as functions of the normalized anomalies."""
        members, count = len(times), len(observations.y)
        y = observations.y.expand(members, count)
        error = observations.error.expand(members, count)
        if members > 1:
            y = y + error * randn(y.shape, generators, y.device)

        def observe(a: Tensor) -> Tensor:
            return observations.operator(self.statistics.denormalize(a, times))

        # absolute weights: a standard deviation does not change sign across a pole
        spread = observations.operator.absolute()
        shape = (1, len(self.statistics.std), *self.autoencoder.shape.grid)
        unit = (self.statistics.std * self.statistics.error_std)[None, :, None, None]
        unit = spread(unit.expand(shape).contiguous()).clamp(min=1e-30)
        weight = spread(self.area[None, None, :, None].expand(shape).contiguous())
        return LatentObservations(y, error, unit.expand(members, -1), weight, observe)

    def analysis(
        self,
        a_b: Float[Tensor, "batch field lat lon"],
        times: Sequence[pd.Timestamp],
        observed: LatentObservations,
        generators: Sequence[torch.Generator],
        ensemble: bool = False,
    ) -> LatentAnalysis:
        """Return the analysis of normalized anomalies.

        Args:
            a_b: Background anomalies [1].
            times: Valid time of each, UTC.
            observed: Observations of each.
            generators: One random generator for each.
            ensemble: Whether the batch is one ensemble, not independent analyses.
        """
        settings = self.settings
        season = self.season(times)
        frame = LatentFrame.at(a_b, season, self.autoencoder, self.denoiser)
        innovation = observed.y - observed.observe(frame.anomaly(torch.zeros_like(frame.z_b)))
        level = expected_level(innovation, observed.error, observed.unit, observed.weight)
        if ensemble:
            level = level.mean().expand(len(a_b))
        frame = frame.with_level(level)
        error = (observed.error**2 + (settings.representativeness * observed.unit) ** 2).sqrt()

        def departure(r: Tensor) -> Tensor:
            return (observed.y - observed.observe(frame.anomaly(r))) / error

        r, covariance = self.start(frame.z_b, generators), self.denoiser.covariance
        guided = LatentOptimization(
            self.denoiser, departure, covariance, settings.solver, settings.anchor
        )
        if ensemble and settings.prior_draw:
            draw = randn(r.shape, generators, r.device)
            guided.shift = settings.prior_draw * covariance.root(draw, settings.start)
        levels = karras_levels(settings.steps, settings.start, settings.stop)
        condition = {"z_b": frame.z_b, "level": level, "season": season}
        r = reverse_diffusion(guided, r, levels, settings.eta, generators, **condition)
        # Fields that do not count are nearly zero with rare peaks: increments would spread them.
        counts = self.statistics.error_mask[:, None, None]
        return LatentAnalysis(torch.where(counts, frame.anomaly(r), a_b), frame, guided.trace)

    def season(self, times: Sequence[pd.Timestamp]) -> Float[Tensor, "batch basis"]:
        """Return the functions of time that the prior depends on."""
        basis = time_basis(times, self.denoiser.shape.basis)
        return torch.from_numpy(basis).to(self.denoiser.residual_scale)

    def start(self, like: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Return the noisy residual from which the reverse process starts."""
        if self.settings.noisy_start:
            return self.settings.start * randn(like.shape, generators, like.device)
        return torch.zeros_like(like)

    def with_settings(self, **changes: object) -> "LOSDA":
        """Return the same method with other settings."""
        settings = replace(self.settings, **changes)  # type: ignore[arg-type]
        return LOSDA(self.statistics, self.autoencoder, self.denoiser, self.area, settings)
