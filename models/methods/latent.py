"""What the latent methods share: the problem in the coordinates of the background.

A latent method looks for the standardized residual r between truth and background (see
`models.latent_frame`), given a prior for r and the departures

    d(r) = R^{-½} (y − H a(r)),    a(r) = a_b + decode(z_b + b + s e^ℓ r) − decode(z_b),

and returns the analysis a(r̂). The expected background error ℓ is estimated from the innovations
d(0), or at each place from those around it (`models.local_error`). R holds the observation error and,
if asked for, the decoder's error of representativeness.

The members of an ensemble may be solved in chunks: what they share, the mean of ℓ and the
perturbations of all of them, is known before the first chunk is solved.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Generic, Protocol, Self, TypeVar

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from models.autoencoder import Autoencoder
from models.chunks import rows_of
from models.denoiser import LatentDenoiser
from models.guidance.trace import Trace, joined
from models.latent_frame import LatentFrame, expected_level
from models.local_error import LocalError
from models.methods.base import Analysis
from models.methods.latent_problem import LatentProblem, of_one_ensemble
from models.normalization import Statistics, time_basis
from models.observations.anomalies import AnomalyObservations, of_anomalies
from models.observations.batch import Observations

__all__ = ["LatentAnalysis", "LatentMethod", "LatentProblem"]


class LatentSettings(Protocol):
    """What every latent method can be told."""

    @property
    def representativeness(self) -> float:
        """Error of the decoder that is added to the observation error [24 h error]."""

    @property
    def corrected(self) -> bool:
        """Whether the known part b of the model's error is taken off the background."""

    @property
    def adaptive(self) -> bool:
        """Whether the expected error ℓ follows the innovations, or is that of the training."""


Settings = TypeVar("Settings", bound=LatentSettings)


@dataclass(frozen=True)
class LatentAnalysis:
    """What was found.

    Attributes:
        a: Analysis anomalies [1].
        frame: The latent coordinates of the analysis.
        trace: Costs of each step.
    """

    a: Float[Tensor, "batch field lat lon"]
    frame: LatentFrame
    trace: Trace = field(default_factory=Trace)

    @property
    def level(self) -> Float[Tensor, "batch"]:
        """The expected background error ℓ."""
        return self.frame.level


class LatentMethod(ABC, Generic[Settings]):
    """A method that solves a `LatentProblem`.

    Attributes:
        perturbs: Whether the members of an ensemble get perturbed observations.
    """

    perturbs: ClassVar[bool] = True

    def __init__(
        self,
        statistics: Statistics,
        autoencoder: Autoencoder,
        denoiser: LatentDenoiser,
        area: Float[Tensor, "lat"],
        settings: Settings,
        chunk: int | None = None,
        local: LocalError | None = None,
    ) -> None:
        """Prepare the method.

        Args:
            statistics: Climatology and error sizes.
            autoencoder: The autoencoder.
            denoiser: The prior, trained with this autoencoder.
            area: Cell-area weights of the latitudes, mean 1.
            settings: What can be chosen.
            chunk: Members of an ensemble that are computed at once; None for all.
            local: Estimates the expected error at each place; None for one on the whole sphere.
        """
        self.statistics, self.autoencoder, self.denoiser = statistics, autoencoder, denoiser
        self.area, self.settings, self.chunk, self.local = area, settings, chunk, local

    @abstractmethod
    def solve(
        self, problem: LatentProblem, generators: Sequence[torch.Generator]
    ) -> tuple[Float[Tensor, "batch channel lat lon"], Trace]:
        """Return the standardized residual r̂ of the analysis, and the costs on the way."""

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
        began, x_a, traces = time.perf_counter(), torch.empty_like(x_b), []
        chunks = rows_of(len(x_b), self.chunk)
        problems = self.problems(x_b, valid_time, observations, generators)
        for rows, problem in zip(chunks, problems, strict=True):
            found = self.states(problem, x_b[rows], valid_time, generators[rows])
            x_a[rows] = found[0]
            traces.append((found[1], len(found[0])))
            del found  # while the next chunk is solved
        seconds = {"analysis": time.perf_counter() - began}
        expected = torch.exp(torch.cat([p.frame.level for p in problems]).mean())
        error = expected * problems[0].observed.unit[0]
        return Analysis(x_a, tuple(joined(traces).rows), seconds, float(expected), error)

    def states(
        self,
        problem: LatentProblem,
        x_b: Float[Tensor, "member field lat lon"],
        valid_time: pd.Timestamp,
        generators: Sequence[torch.Generator],
    ) -> tuple[Float[Tensor, "member field lat lon"], Trace]:
        """Return the analyses of a chunk as states, and the costs on the way."""
        times = [valid_time] * len(x_b)
        found = self.solved(problem, self.statistics.normalize(x_b, times), generators)
        return self.statistics.denormalize(found.a, times), found.trace

    def problems(
        self,
        x_b: Float[Tensor, "member field lat lon"],
        valid_time: pd.Timestamp,
        observations: Observations,
        generators: Sequence[torch.Generator],
    ) -> list[LatentProblem]:
        """Return the problem of each chunk of the members."""
        found, ensemble = [], len(x_b) > 1
        for rows in rows_of(len(x_b), self.chunk):
            times = [valid_time] * len(x_b[rows])
            perturbed = generators[rows] if self.perturbs and ensemble else None
            own = observations.of_members(rows)
            observed = of_anomalies(own, self.statistics, self.area, times, perturbed)
            a_b = self.statistics.normalize(x_b[rows], times)
            found.append(self.problem(a_b, times, observed))
        return of_one_ensemble(found) if ensemble else found

    def analysis(
        self,
        a_b: Float[Tensor, "batch field lat lon"],
        times: Sequence[pd.Timestamp],
        observed: AnomalyObservations,
        generators: Sequence[torch.Generator],
    ) -> LatentAnalysis:
        """Return independent analyses of normalized anomalies.

        Args:
            a_b: Background anomalies [1].
            times: Valid time of each, UTC.
            observed: Observations of each.
            generators: One random generator for each.
        """
        return self.solved(self.problem(a_b, times, observed), a_b, generators)

    def solved(
        self,
        problem: LatentProblem,
        a_b: Float[Tensor, "batch field lat lon"],
        generators: Sequence[torch.Generator],
    ) -> LatentAnalysis:
        """Return the analysis of a problem whose background anomalies are `a_b`."""
        r, trace = self.solve(problem, generators)
        # Fields that do not count are nearly zero with rare peaks: increments would spread them.
        counts = self.statistics.error_mask[:, None, None]
        a = torch.where(counts, problem.frame.anomaly(r), a_b)
        return LatentAnalysis(a, problem.frame, trace)

    def problem(
        self,
        a_b: Float[Tensor, "batch field lat lon"],
        times: Sequence[pd.Timestamp],
        observed: AnomalyObservations,
    ) -> LatentProblem:
        """Return the problem of analyses, with the expected errors ℓ of their innovations."""
        settings = self.settings
        season = self.season(times)
        frame = LatentFrame.at(a_b, season, self.autoencoder, self.denoiser, settings.corrected)
        error = (observed.error**2 + (settings.representativeness * observed.unit) ** 2).sqrt()
        return LatentProblem(self._expecting(frame, observed), observed, error, season)

    def _expecting(self, frame: LatentFrame, observed: AnomalyObservations) -> LatentFrame:
        """Return the coordinates for the expected error of the innovations, or of the training."""
        if self.local is None and not self.settings.adaptive:
            return frame.with_level(self.denoiser.reference_level.expand(len(frame.z_b)))
        innovation = observed.y - observed.observe(frame.anomaly(torch.zeros_like(frame.z_b)))
        if self.local is not None:
            return frame.with_level(*self.local(observed, innovation))
        units = observed.error, observed.unit, observed.weight
        return frame.with_level(expected_level(innovation, *units))

    def season(self, times: Sequence[pd.Timestamp]) -> Float[Tensor, "batch basis"]:
        """Return the functions of time that the prior depends on."""
        basis = time_basis(times, self.denoiser.shape.basis)
        return torch.from_numpy(basis).to(self.denoiser.residual_scale)

    def with_settings(self, **changes: object) -> Self:
        """Return the same method with other settings."""
        settings = replace(self.settings, **changes)  # type: ignore[type-var]
        parts = self.statistics, self.autoencoder, self.denoiser, self.area
        return type(self)(*parts, settings, self.chunk, self.local)
