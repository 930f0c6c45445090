"""A spun-up atmosphere for the tests that need weather."""

import pytest
import torch
from torch import Tensor

from models.world.model import ModelSettings, SpectralModel
from models.world.nature import forecast_model, rest_state

JULY = 15_552_000.0


@pytest.fixture(scope="session")
def moist() -> SpectralModel:
    return forecast_model(torch.float64)


@pytest.fixture(scope="session")
def weather(moist: SpectralModel) -> Tensor:
    """Grid states of two members three days after rest, in July."""
    state = rest_state(moist, batch=2, seed=3)
    with torch.no_grad():
        for number in range(72):
            state = moist.step(state, JULY + number * moist.settings.time_step)
        return moist.to_grid(state)


@pytest.fixture(scope="session")
def dry() -> SpectralModel:
    """A T21 model of a flat planet without physics and (nearly) without diffusion."""
    settings = ModelSettings(21, time_step=1800.0, diffusion_hours=1e9)
    return SpectralModel(settings, dtype=torch.float64)
