"""Samples for a forecast model with one native step, and the errors of its forecasts.

A sample is a state whose successors lie exactly one native step after one another, all within one
period, so that no forecast crosses from the training into the validation period. The states may be
a tensor, or an archive that is read where it is indexed.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Protocol

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from models.emulator import Emulator
from models.normalization import Statistics
from models.state import StateSpec

__all__ = ["Period", "Samples", "StateSeries", "evenly", "forecast_errors", "mean_square"]

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
    """The anomalies of a series of states, and the forecasts that can be made from them.

    Anomalies and functions of time are on the CPU; what is computed from them is where the
    emulator is.
    """

    def __init__(
        self,
        emulator: Emulator,
        x: Tensor | StateSeries,
        times: Sequence[pd.Timestamp],
        spec: StateSpec,
    ) -> None:
        """Normalize the states `x` [SI] with the emulator's statistics."""
        self.times, self.emulator = pd.DatetimeIndex(list(times)), emulator
        statistics = deepcopy(emulator.statistics).cpu()
        self.a: Tensor | Anomalies = (
            statistics.normalize(x, times)
            if isinstance(x, Tensor)
            else Anomalies(x, self.times, statistics)
        )
        self.basis: Tensor = statistics.basis(times)
        self.device = emulator.statistics.std.device
        self.area = spec.grid.cell_area_weights()[:, None].to(self.device)
        self.batch = batch_size(spec)

    def anomalies(self, index: Int[Tensor, "sample"]) -> Float[Tensor, "sample field lat lon"]:
        """Return the anomalies of some states, where the emulator is."""
        return self.a[index].to(self.device)

    def basis_of(self, index: Int[Tensor, "sample"]) -> Float[Tensor, "sample basis"]:
        """Return the functions of time at the times of some states, where the emulator is."""
        return self.basis[index].to(self.device)

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

    def loss(self, starts: Int[Tensor, "sample"]) -> Float[Tensor, ""]:
        """Return the mean squared error of undisturbed forecasts over one native step [1]."""
        forecast = self.emulator(self.anomalies(starts), self.basis_of(starts))
        return mean_square(forecast - self.anomalies(starts + 1), self.area)

    def persistence(self, starts: Int[Tensor, "sample"]) -> Float[Tensor, "sample field lat lon"]:
        """Return the anomalies one step later of states that do not change."""
        statistics = self.emulator.statistics
        change = self.basis_of(starts + 1) - self.basis_of(starts)
        drift = torch.tensordot(change, statistics.coefficients, 1)
        a: Tensor = self.anomalies(starts) - drift / statistics.std[:, None, None]
        return a


def mean_square(
    error: Float[Tensor, "sample field lat lon"], area: Float[Tensor, "lat 1"]
) -> Float[Tensor, ""]:
    """Return the area-weighted mean square."""
    return (error**2 * area).mean()


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
    names = ("emulator", "linear", "persistence", "climatology")
    square = {name: torch.zeros(spec.n_fields, device=samples.device) for name in names}
    for block in torch.split(starts, samples.batch):
        a, target = samples.anomalies(block), samples.anomalies(block + 1)
        forecasts = {
            "emulator": emulator(a, samples.basis_of(block)),
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
