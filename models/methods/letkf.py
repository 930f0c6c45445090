"""LETKF: the local ensemble transform Kalman filter.

Each column and level is analyzed by itself, with the observations around it: with X_b the
perturbations of the members about their mean,

    x_a = x̄_b + X_b (w̄ 1ᵀ + W),

where the weights w̄, W of `models.ensemble_transform` solve the Kalman filter's equations in the
space of the members. Observations act by `models.localization`; `models.inflation` keeps the
spread, `models.static_members` adds a static covariance. The equivalents of the observations are
those of the members, and the innovation is taken from their mean, so the operator may be nonlinear.

References:
    | Hunt, Kostelich & Szunyogh (2007), Efficient data assimilation for spatiotemporal chaos: a
    | local ensemble transform Kalman filter, doi 10.1016/j.physd.2006.11.008
"""

import time
from collections.abc import Iterator, Sequence
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
from models.static_members import Draws, StaticMembers, joint, own

__all__ = ["LETKF", "LETKFSettings"]


@dataclass(frozen=True)
class LETKFSettings:
    """What can be chosen.

    Attributes:
        localization: How far and on what observations act.
        inflation: What is done for the spread.
        static: Static members beside those of the ensemble.
        coarsen: Weights are computed on every n-th column and interpolated; 1 for all columns.
        chunk: Columns at a time, which bounds the memory.
    """

    localization: ObservationLocalization = field(default_factory=ObservationLocalization)
    inflation: Inflation = field(default_factory=Inflation)
    static: StaticMembers = field(default_factory=StaticMembers)
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
        model_error: Draws | None = None,
    ) -> None:
        """Prepare the method.

        Args:
            spec: The state: where its columns are, and the levels of its fields.
            settings: What can be chosen.
            statistics: Which fields count; the others keep their background. All, if None.
            model_error: Draws background errors for additive inflation and static members, one
                state for each generator [SI].

        Raises:
            ValueError: Additive inflation or static members have no draws, or the settings do not
                fit the state.
        """
        if (settings.inflation.additive or settings.static.count) and model_error is None:
            raise ValueError("additive inflation and static members need draws of the model error")
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
        mean, y = centered(observations.equivalents(x))
        error = observations.error.to(y)
        innovation = observations.y.to(y) - mean
        average, perturbation = centered(x)
        z = self.static(x, generators)
        if len(z):
            # what is added for other times than the cycle's is the members' and drops out here
            y = joint(y, centered(observations.operator(average + z))[1])
        factor = self.settings.inflation.prior_factor(innovation, y, error)
        prior, y = factor * perturbation, factor * y
        departures = torch.cat([y, innovation[None]]) / error
        change, shift = self.increment(joint(prior, factor * z), departures, observations, len(x))
        posterior = self.settings.inflation.relax(prior + own(change, len(y)), prior)
        x_a = x + shift + (posterior - perturbation)
        x_a = torch.where(self.counts.to(x.device)[:, None, None], x_a, x_b)
        spread = (y.square().sum(0) / (len(y) - 1)).sqrt()
        row = {"inflation": factor, "innovation": size(innovation, error)}
        row |= {"spread": size(spread, error)}
        seconds = {"transform": time.perf_counter() - began}
        return Analysis(x_a, (row,), seconds, background_error=spread)

    def static(
        self, x: Float[Tensor, "member field lat lon"], generators: Sequence[torch.Generator]
    ) -> Float[Tensor, "static field lat lon"]:
        """Return the perturbations of the static members, none if there are none [SI]."""
        if self.model_error is None or not self.settings.static.count:
            return x[:0]
        return self.settings.static.perturbations(self.model_error, generators).to(x)

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
        prior: Float[Tensor, "joint field lat lon"],
        departures: Float[Tensor, "joint_and_1 obs"],
        observations: Observations,
        members: int,
    ) -> tuple[Float[Tensor, "member field lat lon"], Float[Tensor, "field lat lon"]]:
        """Return Z (W − I), the change of each member's column, and Z w̄, that of the mean [SI].

        Args:
            prior: Columns Z: the perturbations of the members and, after them, of static ones [SI].
            departures: Perturbations of their equivalents and, last, the innovation, in units of
                the observation error [1].
            observations: What is assimilated.
            members: Number of members.
        """
        x = prior.flatten(2)
        change = x.new_zeros(members + 1, *x.shape[1:])
        if departures.shape[1]:
            positions = observation_positions(observations.operator, self.spec)
            localization = self.settings.localization
            local = LocalObservations(departures, positions, self.columns, localization)
            for target in self.targets:
                fields = torch.tensor(target.fields, device=x.device)[:, None]
                for part, weights in self.transforms(local.sums(target), members):
                    before = x[:, fields, part].permute(2, 1, 0)
                    change[:, fields, part] = (before @ weights).permute(2, 1, 0)
        change = change.reshape(members + 1, *prior.shape[1:])
        return change[:-1] - change[-1], change[-1]

    def transforms(
        self, local: LocalSums, members: int
    ) -> Iterator[tuple[Int[Tensor, "part"], Float[Tensor, "part joint member_and_1"]]]:
        """Yield columns of the grid, some at a time, and the weights of members and mean."""
        chunk = self.settings.chunk
        if self.coarse is None:
            for part, weights in local.transforms(chunk):
                yield part, of_members(weights, members)
            return
        coarse = local.sums.new_zeros(len(self.columns), local.members, members + 1)
        for part, weights in local.transforms(chunk):
            coarse[part] = of_members(weights, members)
        for part in pieces(torch.arange(len(self.coarse.index)), chunk):
            yield part.to(coarse.device), self.coarse.interpolate(coarse, part)

    def with_settings(self, **changes: object) -> "LETKF":
        """Return the same method with other settings."""
        settings = replace(self.settings, **changes)  # type: ignore[arg-type]
        return LETKF(self.spec, settings, self.statistics, self.model_error)


def size(values: Float[Tensor, "obs"], error: Float[Tensor, "obs"]) -> float:
    """Return the root of the mean square in units of the observation error, 0 of nothing."""
    return float((values / error).square().mean().sqrt()) if len(values) else 0.0


def of_members(
    weights: Float[Tensor, "part joint joint"], members: int
) -> Float[Tensor, "part joint member_and_1"]:
    """Return the columns of the members and w̄, of w̄ 1ᵀ + W − I; the columns of W − I add to 0."""
    return torch.cat([weights[..., :members], weights.mean(-1, keepdim=True)], -1)
