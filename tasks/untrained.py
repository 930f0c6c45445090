"""The networks of a configuration before they are trained, with random or, on `meta`, no weights."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from configs import Config
from configs.forecast import EmulatorForecast
from configs.training import Autoencoder as Autoencoding
from configs.training import Emulator as Emulating
from configs.training import ModelError as Erring
from models.autoencoder import Autoencoder, AutoencoderShape
from models.denoiser import WAVES, DenoiserShape, LatentDenoiser
from models.emulator import Emulator, EmulatorShape
from models.normalization import Statistics

__all__ = [
    "Network",
    "unit_statistics",
    "untrained_autoencoder",
    "untrained_denoiser",
    "untrained_emulator",
    "untrained_networks",
]

#: Embedded noise and background-error levels.
LEVELS = 2 * WAVES
#: Functions of time in the climatology of data.
BASIS = 7


def untrained_autoencoder(
    config: Config, fields: int, grid: tuple[int, int], features: int
) -> Autoencoder:
    """Return the autoencoder for global states."""
    options = config.train.autoencoder.model_dump(include={"patch", "latent", "hidden", "blocks"})
    shape = AutoencoderShape(fields, grid, True, True, features, **options)
    return Autoencoder(shape, torch.ones(fields), torch.zeros(features, *grid))


def untrained_denoiser(config: Config, latent: AutoencoderShape, features: int) -> LatentDenoiser:
    """Return the prior of the latent states of an autoencoder."""
    options, error = config.train.denoiser, config.train.model_error
    names = {"hidden", "deep", "network", "depth", "heads", "covariance"}
    sizes: dict[str, Any] = options.model_dump(include=names)
    shape = DenoiserShape(
        latent.latent,
        latent.latent_grid,
        True,
        True,
        features,
        basis=7,
        error_hidden=error.hidden,
        error_blocks=error.blocks,
        **sizes,
    )
    return LatentDenoiser(shape, torch.zeros(features, *latent.latent_grid))


def untrained_emulator(config: Config, statistics: Statistics) -> Emulator:
    """Return the learned forecast model of states with these statistics."""
    options, (basis, fields, *grid) = config.train.emulator, statistics.coefficients.shape
    size = options.hidden, options.blocks, options.patch
    shape = EmulatorShape(fields, (grid[0], grid[1]), True, True, basis, 6, False, *size)
    return Emulator(shape, statistics, torch.zeros(3, *grid))


@dataclass(frozen=True)
class Network:
    """One network and how it is trained.

    Attributes:
        name: Name of the component.
        module: The network.
        forward: A pass of so many samples.
        batch: Samples for each step of the optimizer.
        iterations: Steps of the optimizer.
    """

    name: str
    module: nn.Module
    forward: Callable[[int], Tensor]
    batch: int
    iterations: int

    @property
    def parameters(self) -> int:
        """Numbers that are trained."""
        return sum(parameter.numel() for parameter in self.module.parameters())


def untrained_networks(
    config: Config, fields: int, grid: tuple[int, int], features: int
) -> list[Network]:
    """Return all networks of a configuration for global states.

    Args:
        config: The configuration.
        fields: Fields of a state.
        grid: Latitudes and longitudes of a state.
        features: Static features that the networks see.
    """
    train = config.train
    autoencoder = untrained_autoencoder(config, fields, grid, features)
    denoiser = untrained_denoiser(config, autoencoder.shape, features)
    shape, error = denoiser.shape, denoiser.model_error
    inputs = 2 * shape.channels + shape.features + error.shape.forcings

    def reconstruct(batch: int) -> Tensor:
        return autoencoder.decode(autoencoder.encode(torch.zeros(batch, fields, *grid)))

    def denoise(batch: int) -> Tensor:
        x, levels = torch.zeros(batch, inputs, *shape.grid), torch.zeros(batch, LEVELS)
        denoised: Tensor = denoiser.network(x, levels)
        return denoised

    def flow(batch: int) -> Tensor:
        z = torch.zeros(batch, shape.channels, *shape.grid)
        return error.flow(z, torch.zeros(batch, shape.basis), denoiser.features)

    steps = train.denoiser.iterations * train.denoiser.generations
    settings, prior = train.model_error, train.denoiser
    found = [
        Network("autoencoder", autoencoder, reconstruct, *steps_of(train.autoencoder)),
        Network("denoiser", denoiser.network, denoise, prior.batch, steps),
        Network("model error", error, flow, *steps_of(settings)),
    ]
    if isinstance(config.forecast_model, EmulatorForecast):
        emulator = untrained_emulator(config, unit_statistics(fields, grid))

        def forecast(batch: int) -> Tensor:
            step: Tensor = emulator(torch.zeros(batch, fields, *grid), torch.zeros(batch, BASIS))
            return step

        found.append(Network("emulator", emulator, forecast, *steps_of(train.emulator)))
    return [network for network in found if network.name not in train.given]


def unit_statistics(fields: int, grid: tuple[int, int]) -> Statistics:
    """Return statistics that change nothing; no value is looked at, as there may be none."""
    statistics = Statistics.__new__(Statistics)
    nn.Module.__init__(statistics)
    shapes = {"coefficients": (BASIS, fields, *grid), "std": (fields,), "error_std": (fields,)}
    for name, shape in shapes.items():
        statistics.register_buffer(name, torch.full(shape, float(name != "coefficients")))
    statistics.register_buffer("error_mask", torch.ones(fields, dtype=torch.bool))
    return statistics


def steps_of(options: Autoencoding | Emulating | Erring) -> tuple[int, int]:
    """Return samples for each step of the optimizer, and steps."""
    return options.batch, options.iterations
