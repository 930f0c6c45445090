"""Samples for a forecast model with one native step, and the errors of its forecasts.

A sample is a state whose successors lie exactly one native step after one another, all within one
period, so that no forecast crosses from the training into the validation period. The states may be
a tensor, or an archive that is read where it is indexed.
"""

from collections.abc import Sequence
from typing import Protocol

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from models.emulator import Emulator
from models.normalization import Statistics
from models.state import StateSpec

__all__ = ["Period", "Samples", "StateSeries", "evenly", "forecast_errors"]

Period = tuple[pd.Timestamp, pd.Timestamp]
BATCH = 64
BATCH_VALUES = 2**25
#: More states than this are not needed to judge a forecast model.
JUDGED = 512


class StateSeries(Protocol):
    """States [SI] in the order of their times, selected by a tensor of positions."""

    def __getitem__(self, index: Tensor, /) -> Tensor:
        """Return the states at some positions."""
        ...


class Anomalies:
    """Normalized anomalies of states that are not in memory."""

    def __init__(self, x: StateSeries, times: pd.DatetimeIndex, statistics: Statistics) -> None:
        """Normalize the states where they are selected."""
        self.x, self.times, self.statistics = x, times, statistics

    def __getitem__(self, index: Tensor, /) -> Tensor:
        """Return the anomalies at some positions [1]."""
        return self.statistics.normalize(self.x[index], self.times[index.numpy()])


def batch_size(spec: StateSpec) -> int:
    """Return how many states are treated at once: BATCH, fewer where they are large."""
    return max(
        1, min(BATCH, BATCH_VALUES // (spec.n_fields * spec.grid.shape[0] * spec.grid.shape[1]))
    )


def evenly(starts: Tensor, most: int) -> Tensor:
    """Return at most so many samples, evenly spaced."""
    return starts[:: -(-len(starts) // most)]


class Samples:
    """The anomalies of a series of states, and the forecasts that can be made from them."""

    def __init__(
        self,
        emulator: Emulator,
        x: Tensor | StateSeries,
        times: Sequence[pd.Timestamp],
        spec: StateSpec,
    ) -> None:
        """Normalize the states `x` [SI] with the emulator's statistics."""
        self.times, self.emulator = pd.DatetimeIndex(list(times)), emulator
        statistics = emulator.statistics
        self.a: Tensor | Anomalies = (
            statistics.normalize(x, times)
            if isinstance(x, Tensor)
            else Anomalies(x, self.times, statistics)
        )
        self.basis: Tensor = statistics.basis(times)
        self.area = spec.grid.cell_area_weights().to(statistics.std)[:, None]
        self.batch = batch_size(spec)

    def starts(self, period: Period, steps: int) -> Int[Tensor, "sample"]:
        """Return the states of a period with `steps` successors in it.

        Raises:
            ValueError: There are none.
        """
        inside = torch.tensor((self.times >= period[0]) & (self.times <= period[1]))
        apart = torch.tensor(self.times[1:] - self.times[:-1] == self.emulator.native_step)
        linked = inside[:-1] & inside[1:] & apart
        if len(linked) < steps or not linked.unfold(0, steps, 1).all(1).any():
            needed = f"{steps + 1} states in a row, {self.emulator.shape.hours} h apart"
            raise ValueError(f"{period[0]} to {period[1]} must hold {needed}")
        return linked.unfold(0, steps, 1).all(1).nonzero().flatten()

    def disturbed(
        self,
        starts: Int[Tensor, "sample"],
        lagged: int,
        noise: Float[Tensor, "sample field lat lon"],
        generator: torch.Generator,
    ) -> Float[Tensor, "sample field lat lon"]:
        """Return anomalies with errors such as analyses have.

        The first `lagged` states are moved by a random part of the way towards the forecast of
        them that the emulator makes from the state one step before; all get the noise.
        """
        a = self.a[starts] + noise
        before, part = starts[:lagged] - 1, torch.rand(lagged, 1, 1, 1, generator=generator).to(a)
        with torch.no_grad():
            forecast = self.emulator(self.a[before] + noise[:lagged], self.basis[before])
        a[:lagged] += part * (forecast - self.a[starts[:lagged]])
        return a

    def loss(
        self, a: Float[Tensor, "sample field lat lon"], starts: Int[Tensor, "sample"]
    ) -> Float[Tensor, ""]:
        """Return the mean squared error of forecasts over one native step [1].

        Args:
            a: Initial anomalies, disturbed or not.
            starts: The states that they stand for.
        """
        forecast: Tensor = self.emulator(a, self.basis[starts])
        return ((forecast - self.a[starts + 1]) ** 2 * self.area).mean()

    def persistence(self, starts: Int[Tensor, "sample"]) -> Float[Tensor, "sample field lat lon"]:
        """Return the anomalies one step later of states that do not change."""
        statistics = self.emulator.statistics
        change = self.basis[starts + 1] - self.basis[starts]
        drift = torch.tensordot(change, statistics.coefficients, 1)
        a: Tensor = self.a[starts] - drift / statistics.std[:, None, None]
        return a


@torch.no_grad()
def forecast_errors(
    emulator: Emulator,
    x: Tensor | StateSeries,
    times: Sequence[pd.Timestamp],
    spec: StateSpec,
    period: Period,
) -> dict[str, dict[str, float]]:
    """Return the area-weighted RMSE [SI] of forecasts over one native step in a period.

    At most JUDGED forecasts are made, evenly spaced.

    Returns:
        For the emulator, its linear part, persistence and climatology: the RMSE of each field.
    """
    samples = Samples(emulator, x, times, spec)
    starts = evenly(samples.starts(period, 1), JUDGED)
    square = {name: torch.zeros(spec.n_fields) for name in ("emulator", "linear")}
    square |= {name: torch.zeros(spec.n_fields) for name in ("persistence", "climatology")}
    for block in torch.split(starts, samples.batch):
        a, target = samples.a[block], samples.a[block + 1]
        forecasts = {
            "emulator": emulator(a, samples.basis[block]),
            "linear": emulator.apply_linear(a),
            "persistence": samples.persistence(block),
            "climatology": torch.zeros_like(a),
        }
        for name, forecast in forecasts.items():
            error = (forecast - target) ** 2 * samples.area
            square[name] += error.mean((2, 3)).sum(0) / len(starts)
    return {
        name: dict(zip(spec.field_names, (value.sqrt() * std).tolist(), strict=True))
        for std in [emulator.statistics.std]
        for name, value in square.items()
    }
