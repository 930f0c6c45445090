import pandas as pd
import pytest
import torch
from torch import Tensor

from models.forecast import ValidTime, trajectory

BEGIN = pd.Timestamp("2004-01-01T06")
HOUR = pd.Timedelta(hours=1)


class Decay:
    """Halves every hour; keeps the legs that it went."""

    def __init__(self) -> None:
        self.legs: list[tuple[ValidTime, pd.Timedelta]] = []

    def step(self, x: Tensor, valid_time: ValidTime, lead: pd.Timedelta) -> Tensor:
        self.legs.append((valid_time, lead))
        return x * 0.5 ** (lead / HOUR)


def test_states_of_one_forecast_are_reached_one_from_the_other() -> None:
    model, x = Decay(), torch.full((2, 1, 1, 1), 64.0)
    times = [BEGIN + h * HOUR for h in (6, 4, 5)]
    found = trajectory(model, x, BEGIN, times)
    assert [float(state[0]) for state in found.values()] == [4.0, 2.0, 1.0]
    assert list(found) == sorted(times)
    assert model.legs == [
        (BEGIN, 4 * HOUR), (BEGIN + 4 * HOUR, HOUR), (BEGIN + 5 * HOUR, HOUR),
    ]  # fmt: skip


def test_the_state_of_the_beginning_is_not_stepped() -> None:
    model, x = Decay(), torch.ones(1, 1, 1, 1)
    assert trajectory(model, x, BEGIN, [BEGIN])[BEGIN] is x
    assert not model.legs


def test_no_forecast_goes_back() -> None:
    with pytest.raises(ValueError, match="2004-01-01 06:00:00 to 2004-01-01 05:00:00"):
        trajectory(Decay(), torch.ones(1, 1, 1, 1), BEGIN, [BEGIN - HOUR, BEGIN + HOUR])
