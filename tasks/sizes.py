"""How large a configuration is: parameters, memory, disk and hours, before anything is trained.

The networks are built without memory (torch's device `meta`), which gives their parameters and the
operations of a pass; the memory of a training step is counted (`tasks.training_memory`). Hours are these operations over the throughput
of a convolution that is timed here: an estimate for this machine, good to a factor of two, in which
reading, forecasts and the optimizer are left out.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from configs import Config
from configs.methods import Latent, Method
from models.training.execution import Execution
from tasks.components_latent import settings_of
from tasks.live_memory import LiveMemory
from tasks.training_memory import COPIES, training_memory
from tasks.untrained import untrained_autoencoder, untrained_networks

__all__ = ["Part", "Sizes", "sizes_of", "throughput"]

FLOAT = 4


@dataclass(frozen=True)
class Part:
    """One network.

    Attributes:
        name: Name of the component.
        parameters: Numbers that are trained.
        operations: Operations of a forward pass of one sample.
        training_memory: Memory of a training step [bytes].
        batch: Samples for each step of the optimizer.
        iterations: Steps of the optimizer.
        recomputed: Whether the backward pass repeats the forward one.
    """

    name: str
    parameters: int
    operations: float
    training_memory: int
    batch: int
    iterations: int
    recomputed: bool

    @property
    def training_operations(self) -> float:
        """Operations of the whole training; a backward pass costs two forward ones."""
        return (4.0 if self.recomputed else 3.0) * self.operations * self.batch * self.iterations


@dataclass(frozen=True)
class Sizes:
    """All of a configuration.

    Attributes:
        state: One state in memory [bytes].
        parts: The networks.
        analysis: Operations of one analysis, mostly derivatives of the decoder.
        registry: The trained components on disk [bytes].
        workshop: What a training keeps on disk [bytes].
        experiment: What the cycles of the experiment keep on disk [bytes].
    """

    state: int
    parts: tuple[Part, ...]
    analysis: float
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
    parts = parts_of(config, fields, grid, features)
    with torch.device("meta"):
        autoencoder = untrained_autoencoder(config, fields, grid, features)
        z = torch.zeros(1, autoencoder.shape.latent, *autoencoder.shape.latent_grid)
        decoder = operations_of(lambda: autoencoder.decode(z))
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
        parts,
        members * decodings(config.method) * decoder,
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


def parts_of(
    config: Config, fields: int, grid: tuple[int, int], features: int
) -> tuple[Part, ...]:
    """Return the sizes of the networks."""
    shapes, computing = (config, fields, grid, features), config.train.computing
    execution = Execution(computing.precision, computing.recompute)
    with LiveMemory(), torch.device("meta"):
        counted = [(n, operations_of(partial(n.forward, 1))) for n in untrained_networks(*shapes)]
    memory = training_memory(lambda: untrained_networks(*shapes), execution)
    return tuple(
        Part(n.name, n.parameters, count, most, n.batch, n.iterations, computing.recompute)
        for (n, count), most in zip(counted, memory, strict=True)
    )


def operations_of(forward: Callable[[], Tensor]) -> float:
    """Return the operations of a pass."""
    with FlopCounterMode(display=False) as counter:
        forward()
    return float(counter.get_total_flops())


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
