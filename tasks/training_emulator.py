"""The training step of the learned forecast model."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.emulator import Emulator
from models.normalization import Statistics
from models.state import StateSpec
from models.training.emulator import EmulatorSettings, forecast_errors, train_emulator
from models.training.emulator_samples import StateSeries
from models.training.trajectories import BatchedStates, Trajectories
from tasks.training_bench import CURVE, VALIDATION_CURVE, Bench

__all__ = ["fit_emulator"]

#: Values of states [1] that are kept in memory; more are read where they are needed.
IN_MEMORY = 2**26


def fit_emulator(
    bench: Bench,
    spec: StateSpec,
    statistics: Statistics,
    trajectories: tuple[Trajectories, Trajectories],
    features: Tensor | None = None,
) -> tuple[Emulator, dict[str, dict[str, float]]]:
    """Train the emulator, or load the trained one; return it and its errors in validation.

    Args:
        bench: What all steps share.
        spec: Layout of the states.
        statistics: Climatology and anomaly size.
        trajectories: Training and validation states.
        features: What tells the places apart [1]; their position on the sphere if not given.
    """
    periods = [span(t) for t in trajectories]
    x = all_states(trajectories)
    times = [time for t in trajectories for time in times_of(t)]
    hours = int(trajectories[0].step / pd.Timedelta(hours=1))
    options = bench.settings.emulator
    names = {"hidden", "blocks", "patch", "batch", "noise", "evaluate_every", "patience"}
    settings = EmulatorSettings(periods[0], periods[1], hours, **options.model_dump(include=names))
    own = settings.optimizer
    optimizer = replace(
        bench.optimizer(options, options.iterations, 0),
        weight_decay=own.weight_decay,
        warm_up=own.warm_up,
    )
    settings = replace(settings, optimizer=optimizer)

    def make() -> dict[str, Tensor]:
        parts = x, times, statistics, spec, settings
        run = partial(bench.run, "emulator")
        trained = train_emulator(*parts, run, bench.processes, features)
        curves = {
            CURVE: torch.tensor(trained.training_curve),
            VALIDATION_CURVE: torch.tensor(trained.validation_curve, dtype=torch.float64),
        }
        return trained.emulator.tensors() | curves

    product = bench.workshop.tensors("emulator", make, together=True)
    tensors = {k: v for k, v in product.items() if k not in (CURVE, VALIDATION_CURVE)}
    shape = settings.shape(spec, statistics)
    emulator = Emulator.from_tensors(shape, tensors, statistics).to(bench.device)
    scores = forecast_errors(emulator, x, times, spec, periods[1])
    bench.report(f"emulator, mean RMSE / deviation in validation: {shares(scores, statistics)}")
    return emulator, scores


def times_of(t: Trajectories) -> list[pd.Timestamp]:
    """Return the times of all states, stream after stream."""
    return t.times(*positions(t))


def positions(t: Trajectories) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return step and stream of all states, stream after stream."""
    j, i = np.divmod(np.arange(t.streams * t.length), t.length)
    return i, j


def shares(scores: dict[str, dict[str, float]], statistics: Statistics) -> dict[str, float]:
    """Return the mean over the fields of each forecast's error in standard deviations."""
    std = statistics.std.tolist()
    return {
        name: round(float(np.mean([e / s for e, s in zip(errors.values(), std, strict=True)])), 3)
        for name, errors in scores.items()
    }


class JoinedSeries:
    """The states of several trajectories, stream after stream, read where they are indexed."""

    def __init__(self, trajectories: Sequence[Trajectories]) -> None:
        """Join trajectories."""
        self.trajectories = trajectories

    def __getitem__(self, index: Tensor, /) -> Tensor:
        """Return the states at some positions [SI]."""
        first = 0
        x = torch.empty(len(index), *self.trajectories[0].states.shape[2:])
        for t in self.trajectories:
            count = t.streams * t.length
            own = (index >= first) & (index < first + count)
            if own.any():
                j, i = np.divmod((index[own] - first).numpy(), t.length)
                x[own] = t.x(i, j)
            first += count
        return x


def all_states(trajectories: Sequence[Trajectories]) -> Tensor | StateSeries:
    """Return the states stream after stream, as a tensor if they are few and in memory."""
    values = sum(math.prod(t.states.shape) for t in trajectories)
    if values > IN_MEMORY or any(isinstance(t.states, BatchedStates) for t in trajectories):
        return JoinedSeries(trajectories)
    return torch.cat([t.x(*positions(t)) for t in trajectories])


def span(t: Trajectories) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Return the first and the last time."""
    times = times_of(t)
    return min(times), max(times)
