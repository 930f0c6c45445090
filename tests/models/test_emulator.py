from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from models.emulator import Emulator, EmulatorShape, sphere_coordinates
from models.forecast import ForecastModel
from models.grid import LatLonGrid
from models.networks import ResidualBlock
from models.normalization import Statistics
from models.state import StateSpec, Variable
from models.training.emulator import (
    EmulatorObjective,
    EmulatorSettings,
    TrainedEmulator,
    forecast_errors,
    train_emulator,
)
from models.training.emulator_samples import Samples, evenly
from models.training.trainer import TrainingSettings

DAY = pd.Timedelta(days=1)
START = pd.Timestamp("2001-02-03T12")
REGION = LatLonGrid((50.0, 47.5, 45.0, 42.5), (-5.0, -2.5, 0.0, 2.5, 5.0))
GLOBE = LatLonGrid((-60.0, 0.0, 60.0), tuple(30.0 * i for i in range(12)))
VARIABLES = (
    Variable("msl", "air_pressure_at_mean_sea_level", "Pa"),
    Variable("t", "air_temperature", "K", (850.0,)),
)


def state_spec(grid: LatLonGrid = REGION) -> StateSpec:
    return StateSpec(VARIABLES, grid, "pressure")


def statistics_of(spec: StateSpec) -> Statistics:
    generator = torch.Generator().manual_seed(1)
    coefficients = torch.randn(5, *spec.shape, generator=generator)
    coefficients[0] += torch.tensor([1e5, 280.0])[:, None, None]
    return Statistics(coefficients, torch.tensor([800.0, 4.0]))


def emulator_of(
    grid: LatLonGrid = REGION, dense: bool = True, seed: int = 0, patch: int = 1
) -> Emulator:
    """An emulator with weights that are all different from zero."""
    spec = state_spec(grid)
    statistics = statistics_of(spec)
    shape = replace(EmulatorShape.of(spec, statistics, 24, 8, 1, patch), dense=dense)
    generator = torch.Generator().manual_seed(seed)
    emulator = Emulator(shape, statistics, sphere_coordinates(grid))
    with torch.no_grad():
        for value in [*emulator.parameters(), emulator.linear]:
            value.copy_(0.1 * torch.randn(value.shape, generator=generator))
    return emulator.requires_grad_(False).eval()


def anomalies(count: int, grid: LatLonGrid = REGION, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 2, *grid.shape, generator=generator)


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


def series(count: int) -> tuple[Tensor, list[pd.Timestamp]]:
    """The first field tomorrow is a parabola of the second today, which is noise."""
    a = anomalies(count).clamp(-2, 2)
    a[1:, 0] = a[:-1, 1] ** 2 - 1
    times = [START + k * DAY for k in range(count)]
    return statistics_of(state_spec()).denormalize(a, times), times


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


def test_disturbed_states_lie_between_the_truth_and_its_forecast() -> None:
    x, times = series(12)
    emulator = emulator_of()
    samples = Samples(emulator, x, times, state_spec())
    period = (times[0], times[-1])
    objective = EmulatorObjective(
        samples, EmulatorSettings(period, period, noise=0.5, lagged=5 / 8, batch=8)
    )
    generator = torch.Generator().manual_seed(0)
    truth, _, _, before, basis, noise, part = objective.draw(generator)
    assert part.shape[0] == len(before) == 5
    calm = objective.disturbed(truth, 0 * noise, before, basis, part)
    forecast = emulator(before, basis)
    torch.testing.assert_close(calm[:5], truth[:5] + part * (forecast - truth[:5]))
    assert ((part > 0) & (part < 1)).all() and part.std() > 0.1
    assert torch.equal(calm[5:], truth[5:])
    shifted = objective.disturbed(truth, 0.5 + 0 * noise, before[:0], basis[:0], part[:0])
    torch.testing.assert_close(shifted, truth + 0.5)


def test_states_before_and_after_belong_to_the_sample() -> None:
    x, times = series(12)
    samples = Samples(emulator_of(), x, times, state_spec())
    settings = EmulatorSettings((times[0], times[-1]), (times[0], times[-1]), batch=4, lagged=1)
    truth, basis, target, before, basis_before, _, _ = EmulatorObjective(samples, settings).draw(
        torch.Generator().manual_seed(3)
    )
    where = [next(k for k in range(12) if torch.equal(samples.a[k], a)) for a in truth]
    index = torch.tensor(where)
    assert torch.equal(target, samples.a[index + 1]) and torch.equal(before, samples.a[index - 1])
    assert torch.equal(basis, samples.basis[index])
    assert torch.equal(basis_before, samples.basis[index - 1])


def test_no_sample_crosses_a_gap_or_the_end_of_its_period() -> None:
    x, times = series(20)
    del times[7]
    x = torch.cat([x[:7], x[8:]])
    samples = Samples(emulator_of(), x, times, state_spec())
    period = (START + 2 * DAY, START + 12 * DAY)
    assert [times[i] for i in samples.starts(period, 1)] == [
        START + k * DAY for k in (2, 3, 4, 5, 8, 9, 10, 11)
    ]
    assert [times[i] for i in samples.starts(period, 3)] == [START + k * DAY for k in (2, 3, 8, 9)]
    with pytest.raises(ValueError, match="must hold 8 states in a row, 24 h apart"):
        samples.starts(period, 7)


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


class Lazy:
    """States that are read where they are selected."""

    def __init__(self, x: Tensor) -> None:
        self.x = x

    def __getitem__(self, index: Tensor, /) -> Tensor:
        return self.x[index]


def test_states_that_are_not_in_memory_give_the_same_samples() -> None:
    x, times = series(12)
    both = [Samples(emulator_of(), s, times, state_spec()) for s in (x, Lazy(x))]
    starts = torch.tensor([3, 0, 7])
    torch.testing.assert_close(*(s.a[starts] for s in both))
    torch.testing.assert_close(*(s.loss(starts) for s in both))


def test_at_most_so_many_samples_are_taken_from_all_of_the_period() -> None:
    starts = evenly(torch.arange(1000), 64)
    assert 32 < len(starts) <= 64 and starts[0] == 0 and starts[-1] > 980
    assert torch.equal(evenly(torch.arange(50), 64), torch.arange(50))
