"""Nature runs for training and for the segments of the experiments.

A run starts from rest with small noise, spins up cheaply with the T21 model, then with the T31
model, and arrives at its first time in the right season.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from models.world.model import SpectralModel
from models.world.nature import (
    FORECAST,
    NATURE_PHYSICS,
    clock,
    moist_model,
    nature_model,
    rest_state,
)

__all__ = ["SPIN_UP_COARSE", "SPIN_UP_FINE", "integrate", "spun_up"]

SPIN_UP_COARSE = pd.Timedelta(days=60)
SPIN_UP_FINE = pd.Timedelta(days=20)


def advance(
    model: SpectralModel, state: Tensor, seconds: Float[Tensor, "batch"], span: pd.Timedelta
) -> Tensor:
    """Carry a spectral state forward; `seconds` is the clock of each member at the start."""
    for k in range(round(span.total_seconds() / model.settings.time_step)):
        state = model.step(state, seconds + k * model.settings.time_step)
    return state


@torch.no_grad()
def spun_up(starts: Sequence[pd.Timestamp], seed: int, nature: SpectralModel) -> Tensor:
    """Return spectral states of the nature run, one for each start, after the spin-up."""
    coarse = moist_model(FORECAST, NATURE_PHYSICS)
    seconds = torch.tensor([clock(t) for t in starts], dtype=torch.float64)
    seconds = seconds - (SPIN_UP_COARSE + SPIN_UP_FINE).total_seconds()
    state = advance(coarse, rest_state(coarse, len(starts), seed), seconds, SPIN_UP_COARSE)
    seconds = seconds + SPIN_UP_COARSE.total_seconds()
    return advance(nature, nature.fit(state), seconds, SPIN_UP_FINE)


@torch.no_grad()
def integrate(
    starts: Sequence[pd.Timestamp], seed: int, steps: int, step: pd.Timedelta
) -> Iterator[NDArray[np.float32]]:
    """Yield the states of nature runs on the forecast model's grid, `step` apart.

    Args:
        starts: First time of each run, UTC.
        seed: Seed of the noise that starts them.
        steps: Number of states.
        step: Time between states.

    Yields:
        States in SI units, with shape (run, field, lat, lon).
    """
    nature = nature_model()
    grid = moist_model(FORECAST, NATURE_PHYSICS)
    state = spun_up(starts, seed, nature)
    seconds = torch.tensor([clock(t) for t in starts], dtype=torch.float64)
    for _ in range(steps):
        yield nature.to_grid(state, grid).numpy()
        state = advance(nature, state, seconds, step)
        seconds = seconds + step.total_seconds()
