"""Training data from cycles of the method, on a small linear world."""

import numpy as np
import pandas as pd
import pytest
import torch

from models.autoencoder import Autoencoder, AutoencoderShape
from models.denoiser import DenoiserShape, LatentDenoiser
from models.features import coarsen, position_features
from models.forecast import Persistence, each_time
from models.grid import LatLonGrid
from models.methods.losda import LOSDA, PRESETS
from models.normalization import Statistics
from models.training.cycles import (
    CycleSettings,
    World,
    cycled_pairs,
    forecast_pairs,
    latent_pairs,
)
from models.training.losses import (
    AutoencoderObjective,
    DenoiserObjective,
    LatentPairs,
    ModelErrorObjective,
)
from models.training.objective import Objective
from models.training.trajectories import Trajectories

GRID = LatLonGrid.gaussian(8, 16)


def loss_of(objective: Objective, seed: int) -> torch.Tensor:
    """Return the loss of the batch of a seed."""
    loss: torch.Tensor = objective(objective.draw(torch.Generator().manual_seed(seed)))
    return loss


STEP = pd.Timedelta(hours=6)


@pytest.fixture
def world() -> World:
    """A red-noise truth of two streams, and persistence as the forecast model."""
    random = np.random.default_rng(0)
    x = np.zeros((40, 2, 2, 8, 16), np.float32)
    for k in range(1, 40):
        x[k] = 0.9 * x[k - 1] + 0.4 * random.standard_normal(x.shape[1:])
    starts = (pd.Timestamp("2001-01-01"), pd.Timestamp("2001-07-01"))
    statistics = Statistics(torch.zeros(1, 2, 8, 16), torch.ones(2), torch.tensor([0.5, 0.5]))
    return World(
        Trajectories(x, starts, STEP), Persistence(), statistics, GRID.cell_area_weights()
    )


@pytest.fixture
def method(world: World) -> LOSDA:
    torch.manual_seed(0)
    features = position_features(GRID)
    shape = AutoencoderShape(2, (8, 16), True, True, 4, 2, 8, 8, 1)
    autoencoder = Autoencoder(shape, world.statistics.weights, features)
    autoencoder.initialize_linear(world.truth(np.arange(40), np.zeros(40, int)))
    shape_of_prior = DenoiserShape(8, (4, 8), True, True, 4, 8, 8)
    prior = LatentDenoiser(shape_of_prior, coarsen(features, (4, 8)))
    modules = [module.eval().requires_grad_(False) for module in (autoencoder, prior)]
    return LOSDA(world.statistics, *modules, world.area, PRESETS["fast"])


def test_samples_and_their_times_belong_together(world: World) -> None:
    t = world.trajectories
    x = t.x(np.array([3, 5]), np.array([0, 1]))
    assert torch.equal(x[1], torch.from_numpy(np.asarray(t.states[5, 1])))
    expected = [pd.Timestamp("2001-01-01T18"), pd.Timestamp("2001-07-02T06")]
    assert t.times(np.array([3, 5]), np.array([0, 1])) == expected
    assert sum(len(i) for i, _ in t.blocks(7)) == 80


def test_the_error_of_a_persistence_forecast_grows_with_its_lead(world: World) -> None:
    errors: dict[int, list[float]] = {1: [], 4: []}
    for lead, a, i, j in forecast_pairs(world, (1, 4), 6, 8, seed=0):
        errors[lead].append(float(world.error(a, world.truth(i, j)).mean()))
    # variance of x is σ²/(1 − ρ²); the error after k steps is 2 (1 − ρᵏ) of it
    variance = 0.16 / (1 - 0.81) / 0.25
    assert np.mean(errors[1]) == pytest.approx(2 * (1 - 0.9) * variance, rel=0.15)
    assert np.mean(errors[4]) == pytest.approx(2 * (1 - 0.9**4) * variance, rel=0.15)


def test_cycles_give_pairs_whose_level_is_the_background_error(
    world: World, method: LOSDA
) -> None:
    history: list[list[tuple[float, float]]] = []
    settings = CycleSettings(fractions=(0.1, 0.5), streams=2, cycles=6, spin_up=2, lead=2)
    pairs = cycled_pairs(world, method, settings, lambda _, errors: history.append(errors))
    assert len(pairs) == 2 * 2 * 4 and len(history) == 6
    last = pairs.level[-2:]  # the last cycle of the group with half of the columns
    assert float(torch.exp(2 * last).mean()) == pytest.approx(history[-1][1][0], rel=1e-4)
    assert np.mean([e[1][1] for e in history]) < np.mean([e[0][1] for e in history])


def test_cycles_are_repeatable_bit_for_bit(world: World, method: LOSDA) -> None:
    settings = CycleSettings(fractions=(0.2,), streams=2, cycles=3, spin_up=0, lead=1, seed=3)
    first, second = (cycled_pairs(world, method, settings) for _ in range(2))
    assert torch.equal(first.z_b, second.z_b)


def test_cycles_longer_than_the_truth_are_refused(world: World, method: LOSDA) -> None:
    with pytest.raises(ValueError, match=r"cycles 40 need 49 steps, the streams have 40"):
        cycled_pairs(world, method, CycleSettings())


def test_the_losses_fall_when_the_network_learns(world: World, method: LOSDA) -> None:
    settings = CycleSettings(fractions=(0.5,), streams=2, cycles=6, spin_up=0, lead=1)
    pairs = cycled_pairs(world, method, settings)
    prior = method.denoiser
    objective = DenoiserObjective(prior, pairs, 16)
    before = loss_of(objective, 1)
    prior.network.requires_grad_(True)
    optimizer = torch.optim.Adam(prior.network.parameters(), 3e-3)
    for k in range(30):
        optimizer.zero_grad()
        loss_of(objective, k + 10).backward()
        optimizer.step()
    assert loss_of(objective, 1) < 0.95 * before


def test_an_untrained_model_error_explains_its_climatology_and_nothing_else(
    world: World, method: LOSDA
) -> None:
    method.denoiser.requires_grad_(True)
    sets = forecast_pairs(world, (1,), 8, 8, seed=1)
    parts = [latent_pairs(world, method.autoencoder, method.denoiser, *s[1:]) for s in sets]
    pairs = sum(parts[1:], parts[0])
    assert not any(part.requires_grad for part in vars(pairs).values())  # no graph is kept
    error = method.denoiser.requires_grad_(False).model_error
    error.fit_climatology(pairs.error, pairs.season)
    objective = ModelErrorObjective(error, method.denoiser.features, pairs, 256)
    assert float(loss_of(objective, 0)) == pytest.approx(1.0, rel=0.05)
    center = method.denoiser.center(pairs.z_b, pairs.season)
    assert (
        (pairs.z - center).mean(0).abs().max() < 1e-5 < (pairs.z - pairs.z_b).mean(0).abs().max()
    )


def test_the_reconstruction_loss_counts_fields_by_their_background_error(world: World) -> None:
    shape = AutoencoderShape(2, (8, 16), True, True, 4, 2, 8, 8, 0)
    losses = []
    for error in (0.5, 0.25):
        statistics = world.statistics.with_error_std(
            torch.tensor([error, error]), torch.ones(2, dtype=torch.bool)
        )
        torch.manual_seed(0)
        network = Autoencoder(shape, statistics.weights, position_features(GRID))
        torch.nn.init.zeros_(network.decode_linear.weight)
        torch.nn.init.zeros_(network.decode_linear.bias)
        parts = network, world.trajectories, statistics, world.area
        losses.append(loss_of(AutoencoderObjective(*parts, 8, 0.0), 0).item())
    assert losses[1] == pytest.approx(4 * losses[0], rel=0.01)


def test_pairs_join_and_select() -> None:
    z = torch.zeros(3, 1, 2, 2)
    pairs = LatentPairs(z, z + 1, z, torch.arange(3.0), torch.ones(3, 1))
    assert len(pairs + pairs) == 6
    assert (pairs + pairs).select(torch.tensor([4])).level.tolist() == [1.0]


def test_one_time_serves_all_states_or_each_has_its_own() -> None:
    time = pd.Timestamp("2001-01-01")
    assert each_time(time, 3) == [time] * 3
    with pytest.raises(ValueError, match="2 times for 3 states"):
        each_time([time, time], 3)
