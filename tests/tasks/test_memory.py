"""Counted memory is what torch's profiler measures where the same is computed.

The networks are those of `configs/era5.yaml`, smaller, on a smaller grid.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from configs import Config, load
from models.methods.latent import LatentMethod
from models.observations.batch import Observations
from models.observations.operator import InterpolationOperator
from models.training.execution import Execution
from tasks.analysis_memory import TIME, MemberMemory, few, memory_of_members, usable
from tasks.components_latent import LATENT, settings_of
from tasks.live_memory import LiveMemory
from tasks.training_memory import COPIES, training_memory
from tasks.untrained import (
    Network,
    unit_statistics,
    untrained_autoencoder,
    untrained_denoiser,
    untrained_networks,
)

FIELDS, GRID = 20, (32, 64)
SMALL = (
    "train.autoencoder.hidden=32",
    "train.autoencoder.latent=20",
    "train.autoencoder.blocks=2",
    "train.autoencoder.batch=4",
    "train.denoiser.hidden=64",
    "train.denoiser.depth=2",
    "train.denoiser.heads=4",
    "train.denoiser.batch=4",
    "train.emulator.hidden=8",
    "train.emulator.blocks=1",
    "train.emulator.batch=2",
    "train.model_error.hidden=16",
    "train.model_error.batch=4",
)
METHODS = [("method.kind=losda",), ("method.kind=dps",), ("method.kind=repaint",)]


def measured(function: Callable[[], object]) -> int:
    """Return the largest memory that torch has allocated beside what there was [bytes]."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        function()
    assert found.profiler is not None
    events = found.profiler.kineto_results.events()  # type: ignore[union-attr]
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    now = peak = 0
    for _, change in changes:
        now += change
        peak = max(peak, now)
    return peak


def bytes_of(*modules: nn.Module) -> int:
    tensors = {t.data_ptr(): t for m in modules for t in (*m.parameters(), *m.buffers())}
    return sum(t.untyped_storage().nbytes() for t in tensors.values())


def real_method(config: Config) -> LatentMethod:  # type: ignore[type-arg]
    torch.manual_seed(0)
    autoencoder = untrained_autoencoder(config, FIELDS, GRID, 4)
    denoiser = untrained_denoiser(config, autoencoder.shape, 4)
    for module in (autoencoder, denoiser):
        module.requires_grad_(False).eval()
    parts = unit_statistics(FIELDS, GRID), autoencoder, denoiser, torch.ones(GRID[0])
    method = LATENT[config.method.kind][0](*parts, few(settings_of(config.method)))  # type: ignore[arg-type]
    _ = denoiser.covariance.eigen
    return method


@pytest.mark.parametrize("settings", METHODS, ids=lambda s: s[-1])
def test_the_memory_of_an_ensemble_is_what_is_measured(settings: tuple[str, ...]) -> None:
    config = load("era5", [*SMALL, *settings])
    model, method = memory_of_members(config, FIELDS, GRID), real_method(config)
    count = int(0.01 * FIELDS * GRID[0] * GRID[1])
    index = torch.randperm(FIELDS * GRID[0] * GRID[1])[:count, None]
    operator = InterpolationOperator(index, torch.ones(count, 1), (FIELDS, *GRID))
    observations = Observations(torch.randn(count), torch.ones(count), operator)
    x_b = torch.randn(6, FIELDS, *GRID)

    def analysis(members: int, chunk: int) -> Tensor:
        method.chunk = chunk
        generators = [torch.Generator().manual_seed(k) for k in range(members)]
        return method(x_b[:members], TIME, observations, generators).x_a

    analysis(2, 1)  # what is kept warm
    networks = bytes_of(method.autoencoder, method.denoiser, method.statistics)
    for members, chunk in ((2, 1), (6, 4)):
        beside = measured(lambda members=members, chunk=chunk: analysis(members, chunk))  # type: ignore[misc]
        whole = networks + x_b[:members].numel() * 4 + beside
        assert model.peak(members, chunk) == pytest.approx(whole, rel=0.15), (members, chunk)


@pytest.mark.parametrize(
    "execution",
    [Execution(), Execution(recompute=True), Execution("bfloat16")],
    ids=["float32", "recomputed", "bfloat16"],
)
def test_the_memory_of_a_training_step_is_what_is_measured(execution: Execution) -> None:
    config = load("era5", SMALL)
    counted = training_memory(lambda: untrained_networks(config, FIELDS, GRID, 4), execution)
    for network, memory in zip(untrained_networks(config, FIELDS, GRID, 4), counted, strict=True):

        def step(network: Network = network) -> None:
            with execution.of(network.module):
                network.forward(network.batch).square().mean().backward()

        copies = (COPIES - 1) * 4 * network.parameters  # all but the gradients
        assert memory == pytest.approx(copies + measured(step), rel=0.15), network.name


def test_bfloat16_and_recomputation_need_less() -> None:
    larger = (
        "train.autoencoder.hidden=64",
        "train.autoencoder.blocks=6",
        "train.autoencoder.batch=256",
    )
    config = load("era5", [*SMALL, *larger])
    executions = (Execution(), Execution("bfloat16"), Execution(recompute=True))
    build = lambda: untrained_networks(config, FIELDS, GRID, 4)[:1]
    plain, mixed, recomputed = (training_memory(build, execution)[0] for execution in executions)
    assert recomputed < mixed < 0.9 * plain


def test_chunks_bound_the_memory() -> None:
    memory = MemberMemory(fixed=1e9, each=1e7, at_once=5e8)
    assert memory.peak(20) == 1e9 + 20 * 5.1e8 == memory.peak(20, 50)
    assert memory.peak(20, 4) == 1e9 + 20 * 1e7 + 4 * 5e8
    for chunk in (None, 1, 4):
        for device in (16e9, 24e9, 80e9):
            members = memory.largest_ensemble(usable(device), chunk)
            assert memory.peak(members, chunk) <= usable(device) < device
            assert memory.peak(members + 1, chunk) > usable(device)
    assert memory.largest_ensemble(1.2e9) == 0 and memory.largest_ensemble(1.2e9, 4) == 0


def test_live_memory_counts_each_storage_until_it_is_freed() -> None:
    with LiveMemory() as memory:
        x = torch.zeros(1000, device="meta")
        view = x[:10]
        y = x + 1
        assert memory.now == 8000 == memory.peak
        del x, y
        assert memory.now == 4000  # the view keeps its storage
        del view
        assert memory.now == 0 and memory.peak == 8000
        _ = torch.zeros(1000)  # of the processor
        assert memory.now == 0 and float(torch.zeros((), device="meta")) == 1
