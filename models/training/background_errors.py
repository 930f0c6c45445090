"""Samples of the background error, for a static covariance.

- forecasts from the truth minus truth: the error that the forecast model makes in one lead time;
- differences of two forecasts of different lengths for the same time (the NMC method), which need
  no truth where the forecasts start from analyses;
- backgrounds of cycles of a method minus truth: what the method has to correct. Here the few worst
  cycles would outweigh all others, unless all errors are brought to the same size first.

References:
    | Parrish & Derber (1992), The National Meteorological Center's spectral statistical-
    | interpolation analysis system, doi 10.1175/1520-0493(1992)120<1747:TNMCSS>2.0.CO;2
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from models.methods.corrected import Center
from models.observations.anomalies import AnomalyObservations
from models.training.cycles import CycleSettings, Errors, Group, World, forecast_pairs
from models.training.trajectories import Indices

__all__ = ["cycled_errors", "equal_levels", "forecast_errors", "nmc_differences"]


class Analyzed(Protocol):
    """What a method returns for a batch of normalized anomalies."""

    @property
    def a(self) -> Float[Tensor, "batch field lat lon"]:
        """Analysis anomalies [1]."""


class Method(Protocol):
    """A method that analyzes normalized anomalies."""

    def analysis(
        self,
        a_b: Tensor,
        times: Sequence[pd.Timestamp],
        observed: AnomalyObservations,
        generators: Sequence[torch.Generator],
    ) -> Analyzed:
        """Return the analyses of independent backgrounds."""


def forecast_errors(
    world: World, lead: int, batches: int, batch: int, seed: int
) -> Iterator[Float[Tensor, "batch field lat lon"]]:
    """Yield errors of forecasts over `lead` steps from the truth, in normalized anomalies."""
    for _, a, i, j in forecast_pairs(world, (lead,), batches, batch, seed):
        yield a - world.truth(i, j)


@torch.no_grad()
def nmc_differences(
    world: World, leads: tuple[int, int], batches: int, batch: int, seed: int
) -> Iterator[Float[Tensor, "batch field lat lon"]]:
    """Yield differences of forecasts for the same time, in normalized anomalies.

    Args:
        world: Truth, from which the forecasts start, and model.
        leads: Shorter and longer lead time, in steps.
        batches: Number of sets of differences.
        batch: Differences in each set.
        seed: Seed of the dates.
    """
    generator = np.random.default_rng(seed)
    short, long = leads
    for _ in range(batches):
        i, j = world.trajectories.draw(batch, generator, long + 1)
        late = i + long - short
        yield forecast(world, i, j, long) - forecast(world, late, j, short)


def forecast(world: World, i: Indices, j: Indices, lead: int) -> Tensor:
    """Return the anomalies `lead` steps after the truth of the samples (i, j)."""
    a = world.truth(i, j)
    for step in range(lead):
        a = world.step(a, i + step, j)
    return a


@torch.no_grad()
def cycled_errors(
    world: World,
    method: Method,
    settings: CycleSettings,
    progress: Callable[[int, Errors], None] | None = None,
    center: Center | None = None,
) -> Iterator[Float[Tensor, "stream field lat lon"]]:
    """Yield background minus truth in cycles of a method, in normalized anomalies.

    Args:
        world: Truth and forecast model.
        method: The method.
        settings: Which cycles.
        progress: Called after each cycle with its number and, for each group, the mean error of
            background and analysis in units of the 24 h background-error variance.
        center: Takes the known error of the forecast model off the backgrounds, where the method
            does this too.
    """
    groups = [Group(world, k, settings) for k in range(len(settings.fractions))]
    for cycle in range(settings.cycles):
        errors: Errors = []
        for group in groups:
            truth, times = (
                world.truth(group.i, group.j),
                world.trajectories.times(group.i, group.j),
            )
            draws = [torch.Generator().manual_seed(cycle * 1009 + k) for k in range(len(truth))]
            a_b = group.a_b
            a = method.analysis(a_b, times, group.observe(truth), draws).a
            both = [float(world.error(x, truth).mean()) for x in (a_b, a)]
            errors.append((both[0], both[1]))
            group.advance(a)
            if cycle >= settings.spin_up:
                yield (a_b if center is None else center(a_b, times)) - truth
        if progress is not None:
            progress(cycle + 1, errors)


def equal_levels(
    world: World, errors: Sequence[Float[Tensor, "batch field lat lon"]]
) -> list[Float[Tensor, "batch field lat lon"]]:
    """Return errors, each of the median size in units of the 24 h background error."""
    levels = [world.error(a, torch.zeros_like(a)).sqrt() for a in errors]
    median = torch.cat(levels).median()
    pairs = zip(errors, levels, strict=True)
    return [a * (median / level)[:, None, None, None] for a, level in pairs]
