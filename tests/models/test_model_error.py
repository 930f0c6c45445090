"""The known part of the forecast model's error."""

import numpy as np
import pandas as pd
import pytest
import torch

from models.model_error import ModelError, ModelErrorShape, local_forcing
from models.networks import Topology
from models.normalization import time_basis
from models.training.losses import LatentPairs, ModelErrorObjective
from models.training.trainer import Trainer, TrainingSettings


def seasons(*times: str, basis: int = 7) -> torch.Tensor:
    return torch.from_numpy(time_basis([pd.Timestamp(t) for t in times], basis)).float()


@pytest.fixture
def error() -> ModelError:
    torch.manual_seed(0)
    shape = ModelErrorShape(3, (4, 8), 2, basis=5, hidden=8, blocks=1)
    return ModelError(shape, Topology(True, True)).eval()


def test_the_local_hour_is_the_same_a_quarter_of_the_globe_and_of_the_day_apart() -> None:
    morning, noon = seasons("2001-01-01T06", "2001-01-01T12")[:, None]
    assert local_forcing(morning, (4, 8)).shape == (1, 4, 4, 8)
    east, here = local_forcing(morning, (4, 8)), local_forcing(noon, (4, 8))
    torch.testing.assert_close(east[0, 2:, :, 2:], here[0, 2:, :, :-2])


def test_without_seasons_there_is_no_forcing() -> None:
    assert local_forcing(torch.ones(2, 1), (4, 8)).shape == (2, 0, 4, 8)
    assert local_forcing(seasons("2001-03-01", basis=5), (4, 8)).shape == (1, 2, 4, 8)


def test_before_it_is_fitted_the_model_has_no_error(error: ModelError) -> None:
    z_b = torch.randn(2, 3, 4, 8)
    b = error(z_b, seasons("2001-01-01", "2001-05-01", basis=5), torch.zeros(1, 2, 4, 8))
    assert b.shape == z_b.shape and not b.any()


def test_the_climatology_of_the_error_is_found_by_place_and_season(error: ModelError) -> None:
    times = pd.date_range("2001-01-01", periods=300, freq="29h")
    season = torch.from_numpy(time_basis(times, 5)).float()
    truth = torch.randn(5, 3, 4, 8)
    noise = 0.1 * torch.randn(300, 3, 4, 8)
    samples = (season @ truth.flatten(1)).reshape(300, 3, 4, 8) + noise
    error.fit_climatology(samples, season)
    torch.testing.assert_close(error.climatology, truth, atol=0.05, rtol=0)
    torch.testing.assert_close(error.scale, torch.full((3,), 0.1), atol=0.01, rtol=0)


def test_the_network_learns_an_error_that_depends_on_the_state(error: ModelError) -> None:
    z_b = torch.randn(64, 3, 4, 8)
    pairs = LatentPairs(z_b, 0.5 * z_b, z_b, torch.zeros(64), torch.ones(64, 5))
    objective = ModelErrorObjective(error, torch.zeros(1, 2, 4, 8), pairs)
    settings = TrainingSettings(150, learning_rate=1e-2, averaging=0.9)
    trainer = Trainer(error, objective, settings)
    trainer.run()
    assert np.mean(trainer.curve[-10:]) < 0.3 * trainer.curve[0]
