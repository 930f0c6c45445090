"""The training step of the learned forecast model."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from models.emulator import Emulator, EmulatorShape
from models.normalization import Statistics
from models.state import StateSpec
from models.training.emulator import EmulatorSettings, forecast_errors, train_emulator
from models.training.emulator_samples import StateSeries
from models.training.trajectories import BatchedStates, Trajectories
from tasks.training_bench import CURVE, VALIDATION_CURVE, Bench

__all__ = ["fit_emulator"]


def fit_emulator(
    bench: Bench,
    spec: StateSpec,
    statistics: Statistics,
    trajectories: tuple[Trajectories, Trajectories],
) -> tuple[Emulator, dict[str, dict[str, float]]]:
    """Train the emulator, or load the trained one; return it and its errors in validation.

    Args:
        bench: What all steps share.
        spec: Layout of the states.
        statistics: Climatology and anomaly size.
        trajectories: Training and validation states, one stream each.
    """
    periods = [span(t) for t in trajectories]
    x = all_states(trajectories)
    times = [time for t in trajectories for time in times_of(t)]
    hours = int(trajectories[0].step / pd.Timedelta(hours=1))
    options = bench.settings.emulator
    names = {"hidden", "blocks", "batch", "evaluate_every", "patience"}
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
        trained = train_emulator(*parts, run, bench.processes)
        curves = {
            CURVE: torch.tensor(trained.training_curve),
            VALIDATION_CURVE: torch.tensor(trained.validation_curve, dtype=torch.float64),
        }
        return trained.emulator.tensors() | curves

    product = bench.workshop.tensors("emulator", make, together=True)
    tensors = {k: v for k, v in product.items() if k not in (CURVE, VALIDATION_CURVE)}
    shape = EmulatorShape.of(spec, statistics, hours, settings.hidden, settings.blocks)
    emulator = Emulator.from_tensors(shape, tensors, statistics).to(bench.device)
    scores = forecast_errors(emulator, x, times, spec, periods[1])
    bench.report(f"emulator, mean RMSE / deviation in validation: {shares(scores, statistics)}")
    return emulator, scores


def times_of(t: Trajectories) -> list[pd.Timestamp]:
    """Return the times of a single stream."""
    return t.times(np.arange(t.length), np.zeros(t.length, np.int64))


def shares(scores: dict[str, dict[str, float]], statistics: Statistics) -> dict[str, float]:
    """Return the mean over the fields of each forecast's error in standard deviations."""
    std = statistics.std.tolist()
    return {
        name: round(float(np.mean([e / s for e, s in zip(errors.values(), std, strict=True)])), 3)
        for name, errors in scores.items()
    }


class JoinedSeries:
    """Single streams one after the other, read where they are indexed."""

    def __init__(self, trajectories: Sequence[Trajectories]) -> None:
        """Join streams."""
        self.trajectories = trajectories

    def __getitem__(self, index: Tensor, /) -> Tensor:
        """Return the states at some positions [SI]."""
        first, parts = 0, []
        for t in self.trajectories:
            own = (index >= first) & (index < first + t.length)
            parts.append((own, t, (index[own] - first).numpy()))
            first += t.length
        x = torch.empty(len(index), *self.trajectories[0].states.shape[2:])
        for own, t, i in parts:
            if len(i):
                x[own] = t.x(i, np.zeros(len(i), np.int64))
        return x


def all_states(trajectories: Sequence[Trajectories]) -> Tensor | StateSeries:
    """Return the states of single streams, as a tensor if they are in memory."""
    if any(isinstance(t.states, BatchedStates) for t in trajectories):
        return JoinedSeries(trajectories)
    index = [(t, np.arange(t.length), np.zeros(t.length, np.int64)) for t in trajectories]
    return torch.cat([t.x(i, j) for t, i, j in index])


def span(t: Trajectories) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Return the first and the last time of a single stream."""
    times = times_of(t)
    return times[0], times[-1]
