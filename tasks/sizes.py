"""How large a configuration is: parameters, memory, disk and hours, before anything is trained.

The networks are built without memory (torch's device `meta`), which gives their parameters, the
operations of a pass and what a backward pass keeps. Hours are these operations over the throughput
of a convolution that is timed here: an estimate for this machine, good to a factor of two, in which
reading, forecasts and the optimizer are left out.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from configs import Config
from configs.forecast import EmulatorForecast
from configs.methods import Latent, Method
from models.autoencoder import Autoencoder, AutoencoderShape
from models.denoiser import DenoiserShape, LatentDenoiser
from models.emulator import Emulator, EmulatorShape
from models.normalization import Statistics
from models.transformer import LatentTransformer
from tasks.components_latent import settings_of

__all__ = ["Part", "Sizes", "sizes_of", "throughput"]

FLOAT = 4
#: Weights, gradients, two moments of the optimizer, averaged weights.
COPIES = 5


@dataclass(frozen=True)
class Part:
    """One network.

    Attributes:
        name: Name of the component.
        parameters: Numbers that are trained.
        operations: Operations of a forward pass of one sample.
        kept: What a backward pass of one sample keeps [bytes].
        batch: Samples for each step of the optimizer.
        iterations: Steps of the optimizer.
    """

    name: str
    parameters: int
    operations: float
    kept: int
    batch: int
    iterations: int

    @property
    def training_memory(self) -> int:
        """Memory of a training step [bytes]."""
        return COPIES * FLOAT * self.parameters + self.batch * self.kept

    @property
    def training_operations(self) -> float:
        """Operations of the whole training; a backward pass costs two forward ones."""
        return 3.0 * self.operations * self.batch * self.iterations


@dataclass(frozen=True)
class Sizes:
    """All of a configuration.

    Attributes:
        state: One state in memory [bytes].
        parts: The networks.
        analysis: Operations of one analysis, mostly derivatives of the decoder.
        analysis_memory: Memory of one analysis of one member [bytes].
        registry: The trained components on disk [bytes].
        workshop: What a training keeps on disk [bytes].
        experiment: What the cycles of the experiment keep on disk [bytes].
    """

    state: int
    parts: tuple[Part, ...]
    analysis: float
    analysis_memory: int
    registry: int
    workshop: int
    experiment: int

    @property
    def parameters(self) -> int:
        """Numbers that are trained."""
        return sum(part.parameters for part in self.parts)

    @property
    def training_memory(self) -> int:
        """Largest memory of a training step [bytes]."""
        return max(part.training_memory for part in self.parts)

    @property
    def training_operations(self) -> float:
        """Operations of the training of all networks."""
        return sum(part.training_operations for part in self.parts)


def sizes_of(config: Config, fields: int, grid: tuple[int, int], features: int = 4) -> Sizes:
    """Return the sizes of a configuration for global states.

    Args:
        config: The configuration.
        fields: Fields of a state.
        grid: Latitudes and longitudes of a state.
        features: Static features that the networks see.
    """
    state = FLOAT * fields * grid[0] * grid[1]
    with torch.device("meta"):
        autoencoder = meta_autoencoder(config, fields, grid, features)
        denoiser = meta_denoiser(config, autoencoder.shape, features)
        parts = [autoencoder_part(config, autoencoder), denoiser_part(config, denoiser)]
        parts.append(error_part(config, denoiser))
        if isinstance(config.forecast_model, EmulatorForecast):
            parts.append(emulator_part(config, fields, grid))
        z = torch.zeros(1, autoencoder.shape.latent, *autoencoder.shape.latent_grid)
        decoder, kept = measured(lambda: autoencoder.decode(z.requires_grad_()))
    members = getattr(config.method, "members", 1)
    train, latent = config.train, int(z.numel())
    pairs = 2 * 16 * train.model_error.forecasts + 32 * train.denoiser.forecasts
    pairs += (
        train.denoiser.generations
        * train.denoiser.streams
        * train.denoiser.cycles
        * len(train.denoiser.fractions)
    )
    parameters = sum(part.parameters for part in parts)
    return Sizes(
        state,
        tuple(parts),
        members * decodings(config.method) * decoder,
        members * (kept + 8 * state) + FLOAT * parameters,
        FLOAT * (parameters + 9 * state // FLOAT),
        3 * 2 * latent * pairs + (COPIES + 1) * FLOAT * parameters,
        config.cycles * state * (2 * members + 1) * 2,
    )


def decodings(options: Method) -> int:
    """Return how many passes through the decoder an analysis costs, derivatives as 2 and 3 passes.

    A linearization takes one in reverse mode, an iteration of conjugate gradients one in forward
    mode and one in reverse mode, of each noise level.
    """
    if not isinstance(options, Latent):
        return 0
    settings = settings_of(options)
    solver = getattr(settings, "solver", None)
    steps = getattr(settings, "steps", 1)
    if solver is None:
        return int(3 * steps * getattr(settings, "iterations", 1))
    inner = solver.inner if solver.kind == "gauss_newton" else 1
    return int(steps * solver.outer * (3 + 5 * inner))


def meta_autoencoder(
    config: Config, fields: int, grid: tuple[int, int], features: int
) -> Autoencoder:
    """Return the autoencoder without memory."""
    options = config.train.autoencoder.model_dump(include={"patch", "latent", "hidden", "blocks"})
    shape = AutoencoderShape(fields, grid, True, True, features, **options)
    return Autoencoder(shape, torch.ones(fields), torch.zeros(features, *grid))


def meta_denoiser(config: Config, latent: AutoencoderShape, features: int) -> LatentDenoiser:
    """Return the prior without memory."""
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


def autoencoder_part(config: Config, module: Autoencoder) -> Part:
    """Return the size of the autoencoder."""
    shape, options = module.shape, config.train.autoencoder
    a = torch.zeros(1, shape.fields, *shape.grid)
    operations, kept = measured(lambda: module.decode(module.encode(a)))
    count = counted(module)
    return Part("autoencoder", count, operations, kept, options.batch, options.iterations)


def denoiser_part(config: Config, module: LatentDenoiser) -> Part:
    """Return the size of the prior's network."""
    options, shape = config.train.denoiser, module.shape
    x = torch.zeros(1, network_inputs(module), *shape.grid)
    levels = torch.zeros(1, 18)
    tokens = module.network.shape.tokens if isinstance(module.network, LatentTransformer) else 0
    operations, kept = measured(lambda: module.network(x, levels), tokens)
    count, iterations = counted(module.network), options.iterations * options.generations
    return Part("denoiser", count, operations, kept, options.batch, iterations)


def error_part(config: Config, module: LatentDenoiser) -> Part:
    """Return the size of the network of the model error."""
    options, shape, error = config.train.model_error, module.shape, module.model_error
    z, season = torch.zeros(1, shape.channels, *shape.grid), torch.zeros(1, shape.basis)
    operations, kept = measured(lambda: error.flow(z, season, module.features))
    return Part("model error", counted(error), operations, kept, options.batch, options.iterations)


def emulator_part(config: Config, fields: int, grid: tuple[int, int]) -> Part:
    """Return the size of the learned forecast model."""
    options = config.train.emulator
    shape = EmulatorShape(fields, grid, True, True, 7, 6, False, options.hidden, options.blocks)
    statistics = Statistics.__new__(Statistics)
    nn.Module.__init__(statistics)
    module = Emulator(shape, statistics, torch.zeros(3, *grid))
    a, basis = torch.zeros(1, fields, *grid), torch.zeros(1, 7)
    operations, kept = measured(lambda: module(a, basis))
    count = counted(module)
    return Part("emulator", count, operations, kept, options.batch, options.iterations)


def network_inputs(module: LatentDenoiser) -> int:
    """Return the number of channels that the network of a prior sees."""
    return 2 * module.shape.channels + module.shape.features + module.model_error.shape.forcings


def counted(module: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def measured(forward: Callable[[], Tensor], tokens: int = 0) -> tuple[float, int]:
    """Return the operations of a pass, and the bytes that it keeps for a backward pass.

    Args:
        forward: The pass.
        tokens: Number of tokens whose attention weights are not kept, by fused kernels.
    """
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        weights = tensor.ndim > 2 and tuple(tensor.shape[-2:]) == (tokens, tokens)
        if not weights and not isinstance(tensor, nn.Parameter):
            kept[storage._cdata] = storage.nbytes()
        return tensor

    with FlopCounterMode(display=False) as counter, saved_tensors_hooks(pack, lambda t: t):
        forward()
    return float(counter.get_total_flops()), sum(kept.values())


@torch.no_grad()
def throughput(seconds: float = 1.0) -> tuple[float, str]:
    """Return the operations a second of a convolution on the best device here, and its name."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = (
        torch.cuda.get_device_name()
        if device.type == "cuda"
        else f"{torch.get_num_threads()} CPU threads"
    )
    channels, size = (512, (64, 128)) if device.type == "cuda" else (128, (32, 64))
    convolution = nn.Conv2d(channels, channels, 3, padding=1).to(device)
    x = torch.randn(4, channels, *size, device=device)
    once = 2.0 * 9 * channels**2 * 4 * size[0] * size[1]

    def run() -> float:
        began = time.perf_counter()
        float(convolution(x).sum())  # waits for the device
        return time.perf_counter() - began

    run()
    spent, count = 0.0, 0
    while spent < seconds:
        spent += run()
        count += 1
    return once * count / spent, name
