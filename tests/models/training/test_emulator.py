"""Training of an emulator: what it learns, which weights it keeps, and how its errors are measured."""

import numpy as np
import pytest
import torch

from models.training.emulator import (
    EmulatorSettings,
    TrainedEmulator,
    forecast_errors,
    train_emulator,
)
from models.training.emulator_samples import Samples
from models.training.trainer import TrainingSettings
from tests.small_emulator import DAY, REGION, START, emulator_of, series, state_spec, statistics_of


def trained(seed: int = 0) -> TrainedEmulator:
    x, times = series(500)
    optimizer = TrainingSettings(100, 1e-2, warm_up=5, averaging=0.8, seed=seed)
    settings = EmulatorSettings(
        (times[0], times[399]),
        (times[400], times[-1]),
        hidden=16,
        blocks=1,
        noise=0.05,
        batch=32,
        evaluate_every=20,
        patience=3,
        optimizer=optimizer,
    )
    return train_emulator(x, times, statistics_of(state_spec()), state_spec(), settings)


@pytest.fixture(scope="module")
def result() -> TrainedEmulator:
    return trained()


def test_network_learns_what_the_linear_part_cannot(result: TrainedEmulator) -> None:
    first, best = result.validation_curve[0][1], min(loss for _, loss in result.validation_curve)
    assert best < 0.8 * first
    assert result.best_iteration > 0
    assert len(result.training_curve) == result.validation_curve[-1][0]


def test_the_weights_kept_are_those_of_the_smallest_validation_error(
    result: TrainedEmulator,
) -> None:
    x, times = series(500)
    samples = Samples(result.emulator, x, times, state_spec())
    starts = samples.starts((times[400], times[-1]), 1)
    best = dict(result.validation_curve)[result.best_iteration]
    assert best == min(loss for _, loss in result.validation_curve)
    assert float(samples.loss(starts)) == pytest.approx(best, rel=1e-4)


def test_training_is_repeatable_and_depends_on_the_seed(result: TrainedEmulator) -> None:
    again, other = trained().emulator.tensors(), trained(seed=1).emulator.tensors()
    own = result.emulator.tensors()
    assert all(torch.equal(own[name], again[name]) for name in own)
    assert not torch.equal(own["head.weight"], other["head.weight"])


def test_errors_of_persistence_and_climatology_are_the_closed_forms() -> None:
    spec, grid = state_spec(), REGION
    statistics = statistics_of(spec)
    times = [START + k * DAY for k in range(30)]
    sign = torch.tensor([(-1.0) ** k for k in range(30)])[:, None, None, None]
    x = statistics.denormalize(sign.expand(-1, *spec.shape), times)
    errors = forecast_errors(emulator_of(), x, times, spec, (times[0], times[-1]))
    area = grid.cell_area_weights()[:, None]
    change = ((x[1:] - x[:-1]) ** 2 * area).mean((0, 2, 3)).sqrt()
    for i, name in enumerate(spec.field_names):
        assert errors["climatology"][name] == pytest.approx(float(statistics.std[i]), rel=1e-4)
        assert errors["persistence"][name] == pytest.approx(float(change[i]), rel=1e-3)
    assert np.isfinite([errors["emulator"][name] for name in spec.field_names]).all()
