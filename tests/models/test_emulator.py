"""The emulator as a forecast model: its linear part, leads, climatology, gradients, reach, checkpoint."""

import pandas as pd
import pytest
import torch
from torch import Tensor

from models.emulator import Emulator, EmulatorShape, sphere_coordinates
from models.forecast import ForecastModel
from models.grid import LatLonGrid
from models.networks import ResidualBlock
from tests.small_emulator import (
    DAY,
    GLOBE,
    REGION,
    START,
    anomalies,
    emulator_of,
    state_spec,
    statistics_of,
)


def linear_of(emulator: Emulator, a: Tensor, target: Tensor, noise: float) -> Tensor:
    emulator.fit_linear(zip(a.split(16), target.split(16), strict=True), noise)
    return emulator.apply_linear(a)


def test_dense_part_recovers_a_linear_map() -> None:
    a = anomalies(200)
    matrix = torch.randn(40, 40, generator=torch.Generator().manual_seed(2))
    target = (a.flatten(1) @ matrix).view_as(a)
    torch.testing.assert_close(linear_of(emulator_of(), a, target, 0.0), target, atol=1e-4, rtol=0)


def test_penalty_equals_training_on_disturbed_states() -> None:
    a, target, noise = anomalies(100), anomalies(100, seed=5), 0.4
    expected = linear_of(emulator_of(), a, target, noise)
    rows = torch.cat([a.flatten(1), noise * 100**0.5 * torch.eye(40)]).double()
    values = torch.cat([target.flatten(1), torch.zeros(40, 40)]).double()
    matrix = torch.linalg.lstsq(rows, values).solution.float()
    torch.testing.assert_close(expected, (a.flatten(1) @ matrix).view_as(a), atol=1e-4, rtol=0)


def test_local_part_recovers_advection_round_the_globe() -> None:
    a = anomalies(60, GLOBE)
    target = 0.5 * a.roll(1, -1) + 0.2 * a.flip(1)
    found = linear_of(emulator_of(GLOBE, dense=False), a, target, 0.0)
    torch.testing.assert_close(found, target, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("grid", "dense", "patch"), [(REGION, True, 1), (GLOBE, False, 1), (REGION, False, 2)]
)
def test_leads_compose_and_members_do_not_mix(grid: LatLonGrid, dense: bool, patch: int) -> None:
    emulator = emulator_of(grid, dense, patch=patch)
    assert isinstance(emulator, ForecastModel)
    x = emulator.statistics.denormalize(anomalies(3, grid), [START] * 3)
    once = emulator.step(x, START, 3 * DAY)
    twice = emulator.step(emulator.step(x, START, DAY), START + DAY, 2 * DAY)
    scale = emulator.statistics.std[:, None, None]
    assert ((once - twice).abs() / scale).max() < 1e-3
    single = torch.cat([emulator.step(member[None], START, 3 * DAY) for member in x])
    assert ((once - single).abs() / scale).max() < 1e-3
    assert ((once - x).abs() / scale).mean() > 0.1
    torch.testing.assert_close(emulator.step(x, START, 0 * DAY), x)


def test_an_untrained_emulator_forecasts_the_climatology() -> None:
    spec = state_spec()
    statistics = statistics_of(spec)
    shape = EmulatorShape.of(spec, statistics, 24, 8, 1)
    emulator = Emulator(shape, statistics, sphere_coordinates(REGION)).requires_grad_(False)
    x = emulator.step(statistics.denormalize(anomalies(1), [START]), START, 40 * DAY)
    torch.testing.assert_close(x, statistics.climatology([START + 40 * DAY]))


def test_forecast_depends_on_the_season_of_each_step() -> None:
    emulator = emulator_of()
    x = emulator.statistics.denormalize(anomalies(1), [START])
    first = emulator.step(x, START, DAY)
    later = START + 100 * DAY
    y = emulator.statistics.denormalize(anomalies(1), [later])
    other = emulator.statistics.normalize(emulator.step(y, later, DAY), [later + DAY])
    change = other - emulator.statistics.normalize(first, [START + DAY])
    assert change.abs().max() > 0.01


@pytest.mark.parametrize("hours", [6, 36, -24])
def test_leads_between_the_steps_are_refused(hours: int) -> None:
    x = statistics_of(state_spec()).climatology([START])
    with pytest.raises(ValueError, match="allowed are multiples of the emulator's step of 24 h"):
        emulator_of().step(x, START, pd.Timedelta(hours=hours))


def test_states_of_another_grid_are_refused() -> None:
    x = statistics_of(state_spec(GLOBE)).climatology([START])
    with pytest.raises(ValueError, match=r"shape \(2, 3, 12\), expected \(2, 4, 5\)"):
        emulator_of().step(x, START, DAY)


def test_forecast_is_differentiable_in_its_initial_state() -> None:
    emulator = emulator_of()
    x = emulator.statistics.denormalize(anomalies(1), [START])
    direction = anomalies(1, seed=3) * emulator.statistics.std[:, None, None]
    step = lambda state: emulator.step(state, START, DAY)
    tangent = torch.func.jvp(step, (x,), (direction,))[1]
    gradient = torch.func.vjp(step, x)[1](tangent)[0]
    torch.testing.assert_close((tangent**2).sum(), (gradient * direction).sum(), rtol=1e-3, atol=0)


def test_network_of_patches_sees_twice_as_far() -> None:
    latitude, longitude = (-86.25 + 7.5 * k for k in range(24)), (7.5 * k for k in range(48))
    grid = LatLonGrid(tuple(latitude), tuple(longitude))

    def reach(patch: int) -> int:
        emulator = emulator_of(grid, dense=False, patch=patch)
        basis = emulator.statistics.basis([START])
        for block in emulator.blocks:  # normalization sees the whole globe
            assert isinstance(block, ResidualBlock)
            block.norm_in, block.norm_out = torch.nn.Identity(), torch.nn.Identity()
        a = anomalies(1, grid)
        disturbed = a.clone()
        disturbed[..., 24] += 1.0
        change = (emulator(disturbed, basis) - emulator(a, basis)).abs().amax((0, 1))
        return int((change[12] > 0).sum())

    assert reach(1) == 2 * (1 + 3) + 1  # the linear part, two convolutions of the block, the tail
    assert reach(2) == 2 * (1 + 2 * 3 + 1)


@pytest.mark.parametrize("patch", [1, 2])
def test_checkpoint_gives_the_same_forecast_bit_for_bit(patch: int) -> None:
    emulator = emulator_of(patch=patch)
    tensors = emulator.tensors()
    assert not any(name.startswith("statistics") for name in tensors)
    shape = EmulatorShape.from_dict(emulator.shape.to_dict())
    loaded = Emulator.from_tensors(shape, tensors, emulator.statistics)
    x = emulator.statistics.denormalize(anomalies(2), [START] * 2)
    assert torch.equal(loaded.step(x, START, 2 * DAY), emulator.step(x, START, 2 * DAY))


def test_sphere_coordinates_are_standardized_and_tell_places_apart() -> None:
    place = sphere_coordinates(REGION)
    torch.testing.assert_close(place.mean((1, 2)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(place.std((1, 2), correction=0), torch.ones(3))
    points = place.flatten(1).T
    distance = torch.cdist(points, points) + 9 * torch.eye(len(points))
    assert distance.min() > 0.1
