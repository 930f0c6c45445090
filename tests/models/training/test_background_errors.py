"""Samples of background errors, on a red-noise truth with persistence as the forecast model."""

import numpy as np
import pandas as pd
import pytest
import torch

from models.forecast import Persistence
from models.grid import LatLonGrid
from models.methods.threedvar import ThreeDVarAnalysis
from models.normalization import Statistics
from models.training.background_errors import (
    cycled_errors,
    equal_levels,
    forecast_errors,
    nmc_differences,
)
from models.training.cycles import CycleSettings, World
from models.training.trajectories import Trajectories

STEP = pd.Timedelta(hours=6)
MEMORY, VARIANCE = 0.9, 0.16 / (1 - 0.81)


@pytest.fixture
def world() -> World:
    random = np.random.default_rng(0)
    x = np.zeros((80, 2, 2, 8, 16), np.float32)
    x[0] = VARIANCE**0.5 * random.standard_normal(x.shape[1:])
    for k in range(1, 80):
        x[k] = MEMORY * x[k - 1] + 0.4 * random.standard_normal(x.shape[1:])
    starts = (pd.Timestamp("2001-01-01"), pd.Timestamp("2001-07-01"))
    statistics = Statistics(torch.zeros(1, 2, 8, 16), torch.ones(2))
    area = LatLonGrid.gaussian(8, 16).cell_area_weights()
    return World(Trajectories(x, starts, STEP), Persistence(), statistics, area)


def test_a_forecast_error_is_forecast_minus_truth(world: World) -> None:
    errors = torch.cat(list(forecast_errors(world, 2, 4, 16, seed=0)))
    assert errors.shape == (64, 2, 8, 16)
    expected = 2 * (1 - MEMORY**2) * VARIANCE
    assert float(errors.var()) == pytest.approx(expected, rel=0.15)


def test_an_nmc_difference_is_of_two_forecasts_for_the_same_time(world: World) -> None:
    # persistence: the truth of two times, their distance the difference of the lead times
    errors = torch.cat(list(nmc_differences(world, (2, 5), 4, 16, seed=0)))
    expected = 2 * (1 - MEMORY**3) * VARIANCE
    assert float(errors.var()) == pytest.approx(expected, rel=0.15)


class Nothing:
    """Keeps the background."""

    def analysis(self, a_b, times, observed, generators) -> ThreeDVarAnalysis:  # noqa: ANN001
        return ThreeDVarAnalysis(a_b, torch.zeros(len(a_b)), ())


def test_cycles_that_assimilate_nothing_have_the_errors_of_a_free_run(world: World) -> None:
    settings = CycleSettings(fractions=(0.1, 0.3), streams=3, cycles=5, spin_up=2, lead=2)
    seen: list[list[tuple[float, float]]] = []
    errors = list(cycled_errors(world, Nothing(), settings, lambda _, found: seen.append(found)))
    assert len(errors) == 2 * 3 and errors[0].shape == (3, 2, 8, 16) and len(seen) == 5
    last = world.error(errors[-1], torch.zeros(1)).mean()
    assert seen[-1][1] == (pytest.approx(float(last)), pytest.approx(float(last)))


def test_with_a_center_the_errors_are_of_the_corrected_backgrounds(world: World) -> None:
    settings = CycleSettings(fractions=(0.1,), streams=3, cycles=1, spin_up=0, lead=2)
    (plain,) = cycled_errors(world, Nothing(), settings)
    (corrected,) = cycled_errors(world, Nothing(), settings, center=lambda a, times: a + 1)
    torch.testing.assert_close(corrected, plain + 1)


def test_errors_of_equal_levels_differ_in_their_pattern_only(world: World) -> None:
    errors = [k * e for k, e in enumerate(forecast_errors(world, 2, 3, 4, seed=0), 1)]
    equal = torch.cat(equal_levels(world, errors))
    levels = world.error(equal, torch.zeros(1))
    before = world.error(torch.cat(errors), torch.zeros(1))
    torch.testing.assert_close(levels, before.median().expand(12))
    ratio = equal / torch.cat(errors)
    torch.testing.assert_close(ratio, ratio[:, :1, :1, :1].expand_as(ratio))
