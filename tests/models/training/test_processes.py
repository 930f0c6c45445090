"""Several processes, and another device, train the network that one process does."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, distributed, multiprocessing, nn

from models.autoencoder import Autoencoder, AutoencoderShape
from models.denoiser import DenoiserShape, LatentDenoiser
from models.features import coarsen, position_features
from models.forecast import Persistence
from models.grid import LatLonGrid
from models.methods.losda import LOSDA, PRESETS
from models.normalization import Statistics
from models.state import StateSpec, Variable
from models.training.cycles import CycleSettings, World, cycled_pairs
from models.training.emulator import EmulatorObjective, EmulatorSettings, create_emulator
from models.training.emulator_samples import Samples
from models.training.losses import (
    AutoencoderObjective,
    DenoiserObjective,
    LatentPairs,
    ModelErrorObjective,
)
from models.training.objective import Objective
from models.training.processes import Processes
from models.training.stopping import EarlyStopping, loss_over
from models.training.trainer import Trainer, TrainingSettings
from models.training.trajectories import Trajectories
from tests.pretend_device import second_device

CPU = torch.device("cpu")
GRID = LatLonGrid.gaussian(4, 8)
SPEC = StateSpec((Variable("t", "air_temperature", "K", (850.0, 500.0)),), GRID, "pressure")
STEP = pd.Timedelta(days=1)
Made = tuple[nn.Module, Objective]


def world(device: torch.device = CPU) -> World:
    random = np.random.default_rng(0)
    x = (280 + random.standard_normal((30, 1, 2, 4, 8))).astype(np.float32)
    statistics = Statistics(
        torch.from_numpy(random.standard_normal((7, 2, 4, 8))).float() + 20, torch.tensor([1.0, 2])
    ).to(device)
    trajectories = Trajectories(x, (pd.Timestamp("2001-01-01"),), STEP)
    return World(trajectories, Persistence(), statistics, GRID.cell_area_weights().to(device))


def networks(device: torch.device = CPU, blocks: int = 1) -> tuple[Autoencoder, LatentDenoiser]:
    """Two channels in each group: with one, a bias before it has no gradient but rounding."""
    torch.manual_seed(0)
    features = position_features(GRID)
    shape = AutoencoderShape(2, (4, 8), True, True, 4, 2, 4, 16, blocks)
    autoencoder = Autoencoder(shape, world().statistics.weights, features)
    of_prior = DenoiserShape(4, (2, 4), True, True, 4, 16, 16, basis=7, error_hidden=16)
    prior = LatentDenoiser(of_prior, coarsen(features, (2, 4)))
    for parameter in [*autoencoder.parameters(), *prior.parameters()]:
        nn.init.normal_(parameter, std=0.2)  # some are zero at first
    autoencoder, prior = autoencoder.to(device), prior.to(device)
    return autoencoder, prior.requires_grad_(False)


def pairs() -> LatentPairs:
    generator = torch.Generator().manual_seed(5)
    z_b, z, center = (torch.randn(40, 4, 2, 4, generator=generator).half() for _ in range(3))
    level, season = (torch.randn(n, generator=generator) for n in ((40,), (40, 7)))
    return LatentPairs(z_b, z, center, level, season)


def autoencoder(device: torch.device = CPU) -> Made:
    network, here = networks(device)[0], world(device)
    return network, AutoencoderObjective(network, here.trajectories, here.statistics, here.area, 8)


def denoiser(device: torch.device = CPU) -> Made:
    prior = networks(device)[1]
    return prior.network.requires_grad_(True), DenoiserObjective(prior, pairs(), 8)


def model_error(device: torch.device = CPU) -> Made:
    prior = networks(device)[1]
    error = prior.model_error.requires_grad_(True)
    return error, ModelErrorObjective(error, prior.features, pairs(), 8)


def emulator(device: torch.device = CPU) -> Made:
    here = world(device)
    i, j = here.trajectories.blocks(99)[0]
    times = here.trajectories.times(i, j)
    period = (times[0], times[-1])
    settings = EmulatorSettings(period, period, hidden=16, blocks=1, batch=8, lagged=0.4)
    made = create_emulator(here.statistics, SPEC, settings)
    torch.manual_seed(0)
    nn.init.normal_(made.tail.convolution.weight, std=0.2)
    made = made.to(device)
    return made, EmulatorObjective(Samples(made, here.trajectories.x(i, j), times, SPEC), settings)


ALL = (autoencoder, denoiser, model_error, emulator)
SETTINGS = TrainingSettings(6, learning_rate=0.01, warm_up=2, averaging=0.5)


def trained(
    make: Callable[[torch.device], Made], processes: Processes, device: torch.device = CPU
) -> Trainer:
    """Train, with evaluations, and return the trainer."""
    network, objective = make(device)
    validate = loss_over(objective, 2, 3, device, processes)
    settings = replace(SETTINGS, ahead=0 if device != CPU else 1)
    trainer = Trainer(network, objective, settings, EarlyStopping(validate, 2, 9), processes)
    trainer.run()
    return trainer


@pytest.mark.parametrize("make", ALL)
def test_gradients_of_the_parts_of_a_batch_average_to_that_of_the_batch(
    make: Callable[[], Made],
) -> None:
    network, objective = make()
    gradients: dict[str, Tensor] = {}
    sizes = {}
    for name, processes in {"0": (0, 2), "1": (1, 2), "all": (0, 1)}.items():
        network.zero_grad()
        batch = objective.draw(torch.Generator().manual_seed(4), Processes(*processes))
        objective(batch).backward()
        sizes[name] = len(batch[0])
        gradients[name] = torch.cat([p.grad.flatten() for p in network.parameters()])
    assert sizes == {"0": 4, "1": 4, "all": 8}
    mean = 0.5 * (gradients["0"] + gradients["1"])
    assert (gradients["0"] - gradients["1"]).abs().max() > 1e-3  # they are of other samples
    torch.testing.assert_close(mean, gradients["all"], rtol=1e-4, atol=1e-6)


def take_part(rank: int, folder: str) -> None:
    """Train all networks as one of two processes."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    for make in ALL:
        save_file(state(trained(make, Processes(rank, 2))), f"{folder}/{make.__name__}-{rank}")
    distributed.destroy_process_group()


def state(trainer: Trainer) -> dict[str, Tensor]:
    """Return averaged weights, moments and both loss curves."""
    kept = {name: value.cpu().contiguous() for name, value in trainer.tensors().items()}
    return {name: value for name, value in kept.items() if not name.startswith("step/")}


def test_two_processes_end_with_the_weights_of_one(tmp_path: Path) -> None:
    multiprocessing.spawn(take_part, (str(tmp_path),), nprocs=2)
    for make in ALL:
        one = state(trained(make, Processes()))
        first, second = (load_file(tmp_path / f"{make.__name__}-{rank}") for rank in range(2))
        assert all(torch.equal(first[name], second[name]) for name in one), make.__name__
        assert one["curve"].std() > 0 and len(one["validation"]) == 4
        for name, value in one.items():
            torch.testing.assert_close(first[name], value, rtol=1e-3, atol=2e-5, msg=name)


@pytest.mark.parametrize("make", ALL)
def test_another_device_trains_the_same_network_bit_for_bit(
    make: Callable[[torch.device], Made],
) -> None:
    expected = state(trained(make, Processes()))
    with second_device() as device:
        trainer = trained(make, Processes(), device)
        assert {p.device for p in trainer.parameters.values()} == {device}
        network, objective = make(device)
        again = Trainer(network, objective, SETTINGS)
        again.restore({name: value.cpu() for name, value in trainer.tensors().items()})
        moments = {m.device for s in again.optimizer.state.values() for m in s.values() if m.ndim}
        assert moments == {device}
        found = state(trainer)
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def test_cycles_on_another_device_give_the_same_pairs_bit_for_bit() -> None:
    settings = CycleSettings(fractions=(0.5,), streams=2, cycles=2, spin_up=0, lead=1)

    def run(device: torch.device) -> LatentPairs:
        # without blocks: torch has no second derivative of a normalization there
        here, modules = world(device), [m.requires_grad_(False) for m in networks(device, 0)]
        method = LOSDA(here.statistics, *modules, here.area, PRESETS["fast"])
        return cycled_pairs(here, method, settings)

    expected = run(CPU)
    with second_device() as device:
        found = run(device)
    for name, value in vars(expected).items():
        assert torch.equal(getattr(found, name), value), name


def test_the_device_refuses_what_is_not_on_it() -> None:
    with second_device() as device:
        layer = nn.Linear(3, 2).to(device)
        with pytest.raises(RuntimeError, match="on the same device"):
            layer(torch.zeros(4, 3))
