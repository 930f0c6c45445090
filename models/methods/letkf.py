"""LETKF: the local ensemble transform Kalman filter.

Each column and level is analyzed by itself, with the observations around it: with X_b the
perturbations of the members about their mean,

    x_a = x̄_b + X_b (w̄ 1ᵀ + W),

where the weights w̄, W of `models.ensemble_transform` solve the Kalman filter's equations in the
space of the members. Observations act by `models.localization`; `models.inflation` keeps the
spread. The equivalents of the observations are those of the members, and the innovation is taken
from their mean, so the operator may be nonlinear.

References:
    | Hunt, Kostelich & Szunyogh (2007), Efficient data assimilation for spatiotemporal chaos: a
    | local ensemble transform Kalman filter, doi 10.1016/j.physd.2006.11.008
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from models.coarse_columns import CoarseColumns
from models.ensemble_transform import LocalObservations, LocalSums, pieces
from models.inflation import Inflation, centered
from models.localization import ObservationLocalization, localization_targets
from models.methods.base import Analysis
from models.normalization import Statistics
from models.observations.batch import Observations
from models.observations.positions import observation_positions, unit_vectors
from models.state import StateSpec

__all__ = ["LETKF", "LETKFSettings", "ModelErrorDraws"]

ModelErrorDraws = Callable[[Sequence[torch.Generator]], Tensor]


@dataclass(frozen=True)
class LETKFSettings:
    """What can be chosen.

    Attributes:
        localization: How far and on what observations act.
        inflation: What is done for the spread.
        coarsen: Weights are computed on every n-th column and interpolated; 1 for all columns.
        chunk: Columns at a time, which bounds the memory.
    """

    localization: ObservationLocalization = field(default_factory=ObservationLocalization)
    inflation: Inflation = field(default_factory=Inflation)
    coarsen: int = 1
    chunk: int = 512

    def __post_init__(self) -> None:
        """Refuse settings without a meaning."""
        for name, value in (("coarsen", self.coarsen), ("chunk", self.chunk)):
            if value < 1:
                raise ValueError(f"{name} {value}: allowed is 1 and more")


class LETKF:
    """The method, for one state and one choice of settings."""

    def __init__(
        self,
        spec: StateSpec,
        settings: LETKFSettings = LETKFSettings(),
        statistics: Statistics | None = None,
        model_error: ModelErrorDraws | None = None,
    ) -> None:
        """Prepare the method.

        Args:
            spec: The state: where its columns are, and the levels of its fields.
            settings: What can be chosen.
            statistics: Which fields count; the others keep their background. All, if None.
            model_error: Draws errors of the forecast model for additive inflation, one state for
                each generator [SI].

        Raises:
            ValueError: Additive inflation has no model error, or the settings do not fit the
                state.
        """
        if settings.inflation.additive and model_error is None:
            raise ValueError("additive inflation needs draws of the model error")
        self.spec, self.settings = spec, settings
        self.statistics, self.model_error = statistics, model_error
        self.counts = torch.ones(spec.n_fields, dtype=torch.bool)
        if statistics is not None:
            self.counts = statistics.error_mask.cpu()
        counts = self.counts.tolist()
        self.targets = localization_targets(spec, settings.localization, counts)
        axes = (spec.grid.latitude, spec.grid.longitude)
        mesh = torch.meshgrid(*(torch.tensor(a, dtype=torch.float64) for a in axes), indexing="ij")
        self.columns = unit_vectors(*mesh).flatten(0, 1)
        self.coarse: CoarseColumns | None = None
        if settings.coarsen > 1:
            self.coarse = CoarseColumns.every(settings.coarsen, spec.grid)
            self.columns = self.columns[self.coarse.columns]

    @torch.no_grad()
    def __call__(
        self,
        x_b: Float[Tensor, "member field lat lon"],
        valid_time: pd.Timestamp,
        observations: Observations,
        generators: Sequence[torch.Generator],
    ) -> Analysis:
        """Return the analysis of one cycle.

        Where no observation reaches, and without observations at all, the members keep their mean
        and their perturbations are inflated as the settings say.

        Raises:
            ValueError: There is only one member.
        """
        if len(x_b) < 2:
            raise ValueError(f"the LETKF has {len(x_b)} member, at least 2 are needed")
        began = time.perf_counter()
        x = self.with_model_error(x_b, generators)
        equivalents = observations.equivalents(x)
        mean, y = centered(equivalents)
        error = observations.error.to(y)
        innovation = observations.y.to(y) - mean
        factor = self.settings.inflation.prior_factor(innovation, y, error)
        perturbation = centered(x)[1]
        prior, y = factor * perturbation, factor * y
        increment = self.increment(prior, torch.cat([y, innovation[None]]) / error, observations)
        shift = increment.mean(0)
        posterior = self.settings.inflation.relax(prior + (increment - shift), prior)
        x_a = x + shift + (posterior - perturbation)
        x_a = torch.where(self.counts.to(x.device)[:, None, None], x_a, x_b)
        spread = (y.square().sum(0) / (len(y) - 1)).sqrt()
        row = {"inflation": factor, "innovation": size(innovation, error)}
        row |= {"spread": size(spread, error)}
        seconds = {"transform": time.perf_counter() - began}
        return Analysis(x_a, (row,), seconds, background_error=spread)

    def with_model_error(
        self,
        x_b: Float[Tensor, "member field lat lon"],
        generators: Sequence[torch.Generator],
    ) -> Float[Tensor, "member field lat lon"]:
        """Return the background with additive inflation, which does not change its mean."""
        factor = self.settings.inflation.additive
        if not factor or self.model_error is None:
            return x_b
        draws = self.model_error(generators).to(x_b)
        if draws.shape != x_b.shape:
            shapes = f"{tuple(draws.shape)} for the background {tuple(x_b.shape)}"
            raise ValueError(f"the model error has the shape {shapes}")
        return x_b + factor * centered(draws)[1]

    def increment(
        self,
        prior: Float[Tensor, "member field lat lon"],
        departures: Float[Tensor, "member_and_1 obs"],
        observations: Observations,
    ) -> Float[Tensor, "member field lat lon"]:
        """Return X_b (w̄ 1ᵀ + W − I), the change of each member [SI].

        Args:
            prior: Perturbations X_b [SI].
            departures: Perturbations of the members' equivalents and, last, the innovation, in
                units of the observation error [1].
            observations: What is assimilated.
        """
        x, change = prior.flatten(2), torch.zeros_like(prior.flatten(2))
        if departures.shape[1]:
            positions = observation_positions(observations.operator, self.spec)
            localization = self.settings.localization
            local = LocalObservations(departures, positions, self.columns, localization)
            for target in self.targets:
                fields = torch.tensor(target.fields, device=x.device)[:, None]
                for part, weights in self.transforms(local.sums(target)):
                    before = x[:, fields, part].permute(2, 1, 0)
                    change[:, fields, part] = (before @ weights).permute(2, 1, 0)
        return change.reshape(prior.shape)

    def transforms(self, local: LocalSums) -> Iterator[tuple[Int[Tensor, "part"], Tensor]]:
        """Yield columns of the grid, some at a time, and their transforms."""
        chunk = self.settings.chunk
        if self.coarse is None:
            yield from local.transforms(chunk)
            return
        coarse = local.sums.new_zeros(len(self.columns), local.members, local.members)
        for part, weights in local.transforms(chunk):
            coarse[part] = weights
        for part in pieces(torch.arange(len(self.coarse.index)), chunk):
            yield part.to(coarse.device), self.coarse.interpolate(coarse, part)

    def with_settings(self, **changes: object) -> "LETKF":
        """Return the same method with other settings."""
        settings = replace(self.settings, **changes)  # type: ignore[arg-type]
        return LETKF(self.spec, settings, self.statistics, self.model_error)


def size(values: Float[Tensor, "obs"], error: Float[Tensor, "obs"]) -> float:
    """Return the root of the mean square in units of the observation error, 0 of nothing."""
    return float((values / error).square().mean().sqrt()) if len(values) else 0.0
