"""Emulators are trained on several streams as on one: nothing links the end of one with another."""

import numpy as np
import pandas as pd
import pytest
import torch

from models.grid import LatLonGrid
from models.normalization import Statistics
from models.state import StateSpec, Variable
from models.training.emulator import EmulatorSettings, create_emulator
from models.training.emulator_samples import Samples
from models.training.trajectories import Trajectories
from tasks import training_emulator
from tasks.training_emulator import all_states, span, times_of

STEP = pd.Timedelta("6h")
GRID = LatLonGrid(tuple(np.linspace(-67.5, 67.5, 4)), tuple(np.arange(8) * 45.0))
SPEC = StateSpec((Variable("t", "air_temperature", "K", (500.0,)),), GRID, "pressure")


def trajectories(starts: tuple[str, ...], length: int, seed: int) -> Trajectories:
    states = np.random.default_rng(seed).normal(size=(length, len(starts), *SPEC.shape))
    return Trajectories(states.astype(np.float32), tuple(map(pd.Timestamp, starts)), STEP)


@pytest.fixture
def both() -> tuple[Trajectories, Trajectories]:
    """Training streams that overlap in time, and validation streams of another year."""
    training = trajectories(("2001-01-01", "2001-01-02", "2001-01-01T12"), 6, 0)
    return training, trajectories(("2003-01-15", "2003-04-15"), 4, 1)


def test_states_are_those_of_their_times_whether_in_memory_or_read(
    both: tuple[Trajectories, Trajectories], monkeypatch: pytest.MonkeyPatch
) -> None:
    x = all_states(both)
    times = [time for t in both for time in times_of(t)]
    assert isinstance(x, torch.Tensor) and len(x) == len(times) == 3 * 6 + 2 * 4
    number = 0
    for t in both:
        for j in range(t.streams):
            for i in range(t.length):
                assert times[number] == t.starts[j] + i * STEP
                assert np.array_equal(x[number].numpy(), t.states[i, j])
                number += 1
    monkeypatch.setattr(training_emulator, "IN_MEMORY", 0)
    index = torch.tensor([25, 0, 17, 18, 6, 5])
    assert torch.equal(all_states(both)[index], x[index])


def test_no_forecast_leads_from_one_stream_into_another(
    both: tuple[Trajectories, Trajectories],
) -> None:
    x = all_states(both)
    assert isinstance(x, torch.Tensor)
    times = [time for t in both for time in times_of(t)]
    statistics = Statistics(torch.zeros(1, *SPEC.shape), torch.ones(1), torch.ones(1))
    settings = EmulatorSettings(span(both[0]), span(both[1]), hours=6, hidden=8, blocks=0)
    samples = Samples(create_emulator(statistics, SPEC, settings), x, times, SPEC)
    training = samples.starts(settings.training, 1).tolist()
    assert training == [k for k in range(18) if k % 6 != 5]
    assert samples.starts(settings.validation, 1).tolist() == [18, 19, 20, 22, 23, 24]


def test_a_span_covers_all_streams(both: tuple[Trajectories, Trajectories]) -> None:
    assert span(both[0]) == (pd.Timestamp("2001-01-01"), pd.Timestamp("2001-01-03T06"))
