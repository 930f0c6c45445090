"""Backgrounds to train the prior on: forecasts of the truth, and cycles of the current method.

What a background gets wrong depends on how its analyses were made. A prior trained on forecasts
of the truth learns their systematic error, adds it again at each cycle, and drifts. So the pairs
(background, truth) come from cycles of the method itself, which are run again with each new
generation of the prior: a fixed point.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from models.autoencoder import Autoencoder
from models.denoiser import LatentDenoiser
from models.forecast import ForecastModel
from models.latent_frame import LatentFrame
from models.methods.losda import LOSDA
from models.normalization import Statistics, time_basis
from models.observations.anomalies import AnomalyObservations
from models.training.losses import LatentPairs
from models.training.trajectories import Indices, Trajectories

__all__ = [
    "CycleSettings",
    "World",
    "background_error",
    "cycled_pairs",
    "forecast_pairs",
    "latent_pairs",
]

Errors = list[tuple[float, float]]
Progress = Callable[[int, Errors], None]


@dataclass(frozen=True)
class World:
    """What backgrounds are made of; all is computed where the statistics are.

    Attributes:
        trajectories: The truth.
        forecast: The forecast model.
        statistics: Climatology and error sizes.
        area: Cell-area weights, mean 1.
    """

    trajectories: Trajectories
    forecast: ForecastModel
    statistics: Statistics
    area: Float[Tensor, "lat"]

    def truth(self, i: Indices, j: Indices) -> Float[Tensor, "batch field lat lon"]:
        """Return the normalized anomalies of the truth [1]."""
        x = self.trajectories.x(i, j).to(self.statistics.std.device)
        return self.statistics.normalize(x, self.trajectories.times(i, j))

    def step(self, a: Tensor, i: Indices, j: Indices) -> Float[Tensor, "batch field lat lon"]:
        """Carry the anomalies of the samples (i, j) forward by one step."""
        times = self.trajectories.times(i, j)
        x = self.statistics.denormalize(a, times)
        x = self.forecast.step(x, times, self.trajectories.step)
        return self.statistics.normalize(x, self.trajectories.times(i + 1, j))

    def error(self, a: Tensor, truth: Tensor) -> Float[Tensor, "batch"]:
        """Return the mean squared error in units of the 24 h background-error variance."""
        scaled = (a - truth) * self.statistics.weights[:, None, None]
        return background_error(scaled, self.area, self.statistics.error_mask)


def background_error(
    scaled: Float[Tensor, "batch field lat lon"], area: Tensor, mask: Tensor
) -> Float[Tensor, "batch"]:
    """Return the area-weighted mean square over the fields that count."""
    return (scaled[:, mask] ** 2 * area[:, None]).mean((1, 2, 3))


@torch.no_grad()
def latent_pairs(
    world: World,
    autoencoder: Autoencoder,
    denoiser: LatentDenoiser,
    a_b: Float[Tensor, "batch field lat lon"],
    i: Indices,
    j: Indices,
) -> LatentPairs:
    """Encode the backgrounds of the samples (i, j) and their truths."""
    truth = world.truth(i, j)
    times = world.trajectories.times(i, j)
    season = torch.from_numpy(time_basis(times, denoiser.shape.basis)).to(a_b)
    frame = LatentFrame.at(a_b, season, autoencoder, denoiser)
    corrected = frame.anomaly(torch.zeros_like(frame.z_b))
    level = 0.5 * torch.log(world.error(corrected, truth))
    z = autoencoder.encode(truth)
    z_b, z, center = (part.half().cpu() for part in (frame.z_b, z, frame.center))
    return LatentPairs(z_b, z, center, level.cpu(), season.cpu())


@torch.no_grad()
def forecast_pairs(
    world: World, leads: tuple[int, ...], batches: int, batch: int, seed: int
) -> Iterator[tuple[int, Tensor, Indices, Indices]]:
    """Yield (lead in steps, background, indices i and j of it) of forecasts from the truth.

    Args:
        world: Truth and model.
        leads: Lead times to yield, in steps.
        batches: Number of sets of forecasts.
        batch: Forecasts in each set.
        seed: Seed of the dates.
    """
    generator = np.random.default_rng(seed)
    for _ in range(batches):
        i, j = world.trajectories.draw(batch, generator, max(leads) + 1)
        a = world.truth(i, j)
        for lead in range(1, max(leads) + 1):
            a = world.step(a, i + lead - 1, j)
            if lead in leads:
                yield lead, a, i + lead, j


@dataclass(frozen=True)
class CycleSettings:
    """The cycles that pairs are taken from.

    Attributes:
        fractions: Observed fraction of the columns, one group of cycles for each.
        columns: Whether whole columns are observed, or single values.
        noise: Observation error in climatological standard deviations.
        streams: Cycles side by side in each group.
        cycles: Length of each.
        spin_up: Cycles left out at the start.
        lead: Steps of the forecast that gives the first background.
        seed: Seed of dates, networks and errors.
    """

    fractions: tuple[float, ...] = (0.01, 0.05, 0.05, 0.10)
    columns: bool = True
    noise: float = 0.1
    streams: int = 8
    cycles: int = 40
    spin_up: int = 3
    lead: int = 8
    seed: int = 0


@dataclass
class Group:
    """Cycles side by side with the same density of observations."""

    world: World
    number: int
    settings: CycleSettings

    @torch.no_grad()
    def __post_init__(self) -> None:
        """Draw the dates and make the first backgrounds."""
        s, t = self.settings, self.world.trajectories
        self.fraction = s.fractions[self.number]
        self.generator = np.random.default_rng((s.seed, self.number))
        margin = s.cycles + s.lead + 1
        if margin >= t.length:
            raise ValueError(f"cycles {s.cycles} need {margin} steps, the streams have {t.length}")
        self.i = self.generator.integers(0, t.length - margin, s.streams)
        self.j = np.arange(s.streams) % t.streams
        self.a_b = self.world.truth(self.i, self.j)
        for _ in range(s.lead):
            self.advance(self.a_b)

    @torch.no_grad()
    def cycle(self, method: LOSDA, number: int) -> tuple[LatentPairs, tuple[float, float]]:
        """Run one cycle; return its pairs and the mean errors of background and analysis."""
        a_b, times = self.a_b, self.world.trajectories.times(self.i, self.j)
        truth = self.world.truth(self.i, self.j)
        draws = [torch.Generator().manual_seed(number * 1009 + k) for k in range(len(truth))]
        found = method.analysis(a_b, times, self.observe(truth), draws)
        parts = method.autoencoder, method.denoiser, a_b, self.i, self.j
        pairs = latent_pairs(self.world, *parts)
        errors = (self.world.error(a, truth).mean() for a in (a_b, found.a))
        self.advance(found.a)
        return pairs, (float(next(errors)), float(next(errors)))

    def advance(self, a: Tensor) -> None:
        """Make the next backgrounds from the analyses."""
        self.a_b = self.world.step(a, self.i, self.j)
        self.i = self.i + 1

    def observe(self, truth: Tensor) -> AnomalyObservations:
        """Draw the network and the observations of one cycle."""
        s, (fields, lat, lon) = self.settings, truth.shape[1:]
        index = self.network(fields, lat * lon).to(truth.device)
        random = self.generator.standard_normal(index.shape, np.float32)
        y = gather(truth, index) + s.noise * torch.from_numpy(random).to(truth)
        unit = (1 / self.world.statistics.weights)[index // (lat * lon)]
        weight = self.world.area[(index % (lat * lon)) // lon]
        return AnomalyObservations(
            y, torch.full_like(y, s.noise), unit, weight, lambda a: gather(a, index)
        )

    def network(self, fields: int, points: int) -> Int[Tensor, "stream obs"]:
        """Draw the indices of the observed values."""
        draw = self.generator.choice
        if not self.settings.columns:
            count = max(1, round(self.fraction * fields * points))
            draws = [draw(fields * points, count, False) for _ in self.j]
            return torch.from_numpy(np.stack(draws))
        count = max(1, round(self.fraction * points))
        columns = np.stack([draw(points, count, False) for _ in self.j])
        index = np.arange(fields)[None, :, None] * points + columns[:, None]
        return torch.from_numpy(index.reshape(len(columns), -1))


def gather(a: Tensor, index: Tensor) -> Float[Tensor, "batch obs"]:
    """Return the values of the anomalies at flat indices."""
    return a.flatten(1).gather(1, index)


@torch.no_grad()
def cycled_pairs(
    world: World, method: LOSDA, settings: CycleSettings, progress: Progress | None = None
) -> LatentPairs:
    """Run cycles of the method and return their backgrounds with the truth.

    Args:
        world: Truth and forecast model.
        method: The method with the current prior.
        settings: Which cycles.
        progress: Called after each cycle with its number and, for each group, the mean error of
            background and analysis in units of the 24 h background-error variance.
    """
    groups = [Group(world, k, settings) for k in range(len(settings.fractions))]
    pairs: list[LatentPairs] = []
    for cycle in range(settings.cycles):
        done = [group.cycle(method, cycle) for group in groups]
        if cycle >= settings.spin_up:
            pairs += [found for found, _ in done]
        if progress is not None:
            progress(cycle + 1, [errors for _, errors in done])
    joined = zip(*(vars(pair).values() for pair in pairs), strict=True)
    return LatentPairs(*(torch.cat(part) for part in joined))
