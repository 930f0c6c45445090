r"""3DVar: the minimum of a cost function with a static background-error covariance B = L Lᵀ.

    J(v) = ½ |v|² + ½ |R^{-½} (y − H(x_b + s L v))|²,    x_a = x_b + s L v̂,

by Gauss–Newton: around each linearization of H conjugate gradients in the control variable v go on
until the gradient of J is `tolerance` times the first one. L is the root of a
`models.background_error.covariance.BackgroundCovariance`. Its size s is fixed, or follows the
innovations as that of the latent methods does. For an ensemble each member has its own background,
perturbed observations and its own draw d s L ε on its background, for the error of the model that the
members' forecasts share.

References:
    | Lorenc (1986), Analysis methods for numerical weather prediction, doi 10.1002/qj.49711247414
    | Courtier et al. (1998), The ECMWF implementation of three-dimensional variational
    | assimilation (3D-Var). I, doi 10.1002/qj.49712455002
    | Desroziers & Ivanov (2001), Diagnosis and adaptive tuning of observation-error parameters in a
    | variational assimilation, doi 10.1002/qj.49712757417
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from models.background_error.covariance import BackgroundCovariance
from models.guidance.latent_optimization import Root, linearize
from models.guidance.trace import half_square
from models.latent_frame import expected_level
from models.local_error import LocalError, of_ensemble, on_grid
from models.methods.base import Analysis
from models.methods.corrected import Center
from models.normalization import Statistics
from models.observations.anomalies import AnomalyObservations, of_anomalies
from models.observations.batch import Observations
from models.sampler import randn
from models.solvers import conjugate_gradients

__all__ = ["ThreeDVar", "ThreeDVarAnalysis", "ThreeDVarSettings"]


@dataclass(frozen=True)
class ThreeDVarSettings:
    """What can be chosen.

    Attributes:
        scale: Factor on B.
        adaptive: Whether the size of B follows the innovations, or is that of its samples.
        outer: Linearizations of the observation operator.
        inner: Largest number of iterations of conjugate gradients for each linearization.
        tolerance: Stop these where the gradient of J is this small, relative to the first.
        prior_draw: Size d of each member's draw (ensembles only).
    """

    scale: float = 1.0
    adaptive: bool = True
    outer: int = 1
    inner: int = 100
    tolerance: float = 0.01
    prior_draw: float = 0.0


@dataclass(frozen=True)
class ThreeDVarAnalysis:
    """What was found.

    Attributes:
        a: Analysis anomalies [1].
        level: Expected background error ℓ, a logarithm in units of the 24 h background error.
        trace: Terms of J around each linearization, and the iterations it took.
    """

    a: Float[Tensor, "batch field lat lon"]
    level: Float[Tensor, "batch"]
    trace: tuple[dict[str, float], ...]


class ThreeDVar:
    """The method, for one covariance and settings."""

    def __init__(
        self,
        statistics: Statistics,
        covariance: BackgroundCovariance,
        area: Float[Tensor, "lat"],
        settings: ThreeDVarSettings = ThreeDVarSettings(),
        center: Center | None = None,
        local: LocalError | None = None,
    ) -> None:
        """Prepare the method.

        Args:
            statistics: Climatology and error sizes.
            covariance: B of normalized anomalies.
            area: Cell-area weights of the latitudes, mean 1.
            settings: What can be chosen.
            center: Takes the known error of the forecast model off background anomalies, given
                their valid times.
            local: Estimates the expected error at each place; None for one on the whole sphere.
        """
        self.statistics, self.covariance, self.area = statistics, covariance, area
        self.settings, self.center, self.local = settings, center, local

    @torch.no_grad()
    def __call__(
        self,
        x_b: Float[Tensor, "member field lat lon"],
        valid_time: pd.Timestamp,
        observations: Observations,
        generators: Sequence[torch.Generator],
    ) -> Analysis:
        """Return the analysis of one cycle."""
        if not len(observations.y):
            return Analysis(x_b)
        times = [valid_time] * len(x_b)
        a_b = self.statistics.normalize(x_b, times)
        perturbed = generators if len(x_b) > 1 else None
        observed = of_anomalies(observations, self.statistics, self.area, times, perturbed)
        began = time.perf_counter()
        found = self.analysis(a_b, times, observed, generators, ensemble=len(x_b) > 1)
        seconds = {"minimization": time.perf_counter() - began}
        # fields that are not analyzed are the background's, not rounded by the way to anomalies
        x_a = torch.where(self.counts, self.statistics.denormalize(found.a, times), x_b)
        std = self.statistics.std[:, None, None] * self.covariance.error_variance.sqrt()
        std = std.expand(observations.operator.shape)[None].contiguous()
        error = self.size(found.level).mean() * observations.operator.absolute()(std)[0]
        expected = float(torch.exp(found.level.mean()))
        return Analysis(x_a, found.trace, seconds, expected, error)

    @property
    def counts(self) -> Float[Tensor, "field 1 1"]:
        """Fields that are analyzed; the others are nearly zero with rare peaks."""
        return self.statistics.error_mask[:, None, None]

    @torch.no_grad()
    def analysis(
        self,
        a_b: Float[Tensor, "batch field lat lon"],
        times: Sequence[pd.Timestamp],
        observed: AnomalyObservations,
        generators: Sequence[torch.Generator],
        ensemble: bool = False,
    ) -> ThreeDVarAnalysis:
        """Return the analysis of normalized anomalies.

        Args:
            a_b: Background anomalies [1].
            times: Valid time of each, UTC.
            observed: Observations of each.
            generators: One random generator for each.
            ensemble: Whether the batch is one ensemble, not independent analyses.
        """
        a_b = (
            a_b if self.center is None else torch.where(self.counts, self.center(a_b, times), a_b)
        )
        level, relief = self.expected(a_b, observed, ensemble)
        root = self.scaled_root(level, relief)
        if ensemble and self.settings.prior_draw:
            draw = randn((len(a_b), *self.covariance.shape), generators, a_b.device)
            a_b = a_b + self.settings.prior_draw * root.apply(draw)

        def departure(a: Tensor) -> Tensor:
            return (observed.y - observed.observe(a)) / observed.error

        v, trace = self.minimize(departure, a_b, root)
        return ThreeDVarAnalysis(a_b + root.apply(v), level, trace)

    def expected(
        self,
        a_b: Float[Tensor, "batch field lat lon"],
        observed: AnomalyObservations,
        ensemble: bool,
    ) -> tuple[Float[Tensor, "batch"], Float[Tensor, "#batch 1 lat lon"] | None]:
        """Return the expected background error ℓ, and e^ℓ at each place over it if that is asked for."""
        if self.local is None and not self.settings.adaptive:
            return self.level_of_samples.expand(len(a_b)), None
        innovation = observed.y - observed.observe(a_b)
        relief = None
        if self.local is None:
            level = expected_level(innovation, observed.error, observed.unit, observed.weight)
        else:
            level, coarse = self.local(observed, innovation)
            coarse = of_ensemble(coarse) if ensemble else coarse
            relief = on_grid(coarse, (a_b.shape[-2], a_b.shape[-1]), self.local.wraps)
        return level.mean().expand(len(a_b)) if ensemble else level, relief

    @property
    def level_of_samples(self) -> Float[Tensor, ""]:
        """The level ℓ of the samples that B was fitted to, over the fields that count."""
        unit, mask = self.statistics.error_std[:, None, None], self.statistics.error_mask
        variance = self.covariance.error_variance / unit**2
        return 0.5 * torch.log((variance[mask] * self.area[:, None]).mean())

    def size(self, level: Float[Tensor, "batch"]) -> Float[Tensor, "batch"]:
        """Return s, the factor on L."""
        size: Tensor = self.settings.scale**0.5 * torch.exp(level - self.level_of_samples)
        return size

    def scaled_root(
        self,
        level: Float[Tensor, "batch"],
        relief: Float[Tensor, "#batch 1 lat lon"] | None = None,
    ) -> Root:
        """Return s L, with zero increments of the fields that are not analyzed."""
        factor = self.size(level)[:, None, None, None] * self.counts
        factor = factor if relief is None else factor * relief
        return Root(
            lambda v: factor * self.covariance.root(v),
            lambda x: self.covariance.root_adjoint(factor * x),
            lambda x: x.new_zeros(len(x), *self.covariance.shape),
        )

    def minimize(
        self, departure: Callable[[Tensor], Tensor], a_b: Tensor, root: Root
    ) -> tuple[Float[Tensor, "batch band field mode"], tuple[dict[str, float], ...]]:
        """Minimize J; return v and the terms of J after each linearization."""
        settings, trace = self.settings, []
        v = root.control(a_b)
        first = half_square(departure(a_b))
        for step in range(settings.outer):
            d, tangent, adjoint = linearize(departure, a_b + root.apply(v))

            def hessian(u: Tensor, g: Operator = tangent, h: Operator = adjoint) -> Tensor:
                return u + root.adjoint(h(g(root.apply(u))))

            descent = root.adjoint(adjoint(d)) - v
            increment, iterations = conjugate_gradients(
                hessian, descent, settings.inner, settings.tolerance
            )
            v = v + increment
            last = d - tangent(root.apply(increment))
            costs = {"J_o_before": first, "J_b": half_square(v), "J_o": half_square(last)}
            trace.append({"step": step, "iterations": iterations} | costs)
            first = costs["J_o"]
        return v, tuple(trace)

    def with_settings(self, **changes: object) -> "ThreeDVar":
        """Return the same method with other settings."""
        settings = replace(self.settings, **changes)  # type: ignore[arg-type]
        parts = self.statistics, self.covariance, self.area
        return ThreeDVar(*parts, settings, self.center, self.local)


Operator = Callable[[Tensor], Tensor]
