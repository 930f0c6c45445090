import pytest
import torch
from torch import nn

from configs import load
from models.autoencoder import Autoencoder
from tasks.sizes import operations_of, sizes_of, throughput
from tasks.untrained import untrained_autoencoder

SMALL = (
    "train.autoencoder.hidden=16",
    "train.denoiser.hidden=32",
    "train.denoiser.depth=1",
    "train.denoiser.heads=4",
    "train.emulator.hidden=16",
    "train.model_error.hidden=16",
)


def test_operations_of_a_known_layer() -> None:
    layer, x = nn.Conv2d(3, 5, 1), torch.zeros(1, 3, 4, 8)
    assert operations_of(lambda: layer(x)) == 2 * 3 * 5 * 32


def test_parameters_are_those_of_the_real_networks() -> None:
    config = load("era5", SMALL)
    size = sizes_of(config, 69, (16, 32))
    with torch.device("meta"):
        shape = untrained_autoencoder(config, 69, (16, 32), 4).shape
    real = Autoencoder(shape, torch.ones(69), torch.zeros(4, 16, 32))
    assert size.parts[0].parameters == sum(p.numel() for p in real.parameters())
    assert {part.name for part in size.parts} == {
        "autoencoder",
        "denoiser",
        "model error",
        "emulator",
    }
    assert size.state == 4 * 69 * 16 * 32
    assert size.experiment == 1460 * 6 * size.state


def test_the_published_setting_has_the_latent_state_and_size_that_is_known() -> None:
    config = load("era5")
    with torch.device("meta"):
        shape = untrained_autoencoder(config, 69, (128, 256), 4).shape
    assert (shape.latent, *shape.latent_grid) == (69, 32, 64)
    size = sizes_of(config, 69, (128, 256))
    assert 50e6 < size.parts[0].parameters < 1e9 and 100e6 < size.parts[1].parameters < 1e9
    assert size.training_memory < 80e9


def test_fewer_steps_of_the_method_cost_proportionally_less() -> None:
    full, half = (
        sizes_of(load("era5", [*SMALL, f"method.steps={n}"]), 69, (16, 32)) for n in (4, 2)
    )
    assert full.analysis == pytest.approx(2 * half.analysis)


def test_throughput_is_a_speed_of_this_machine() -> None:
    rate, device = throughput(0.05)
    assert rate > 1e7 and device
