"""Cost of one step of the embedded world, beside a plain matrix product of as many operations.

Nothing is asserted on time. Each benchmark records the floating-point operations of the spectral
transforms of a step and the time of one square matrix product with as many, so that the ratio
`step / product` can be followed over machines.
"""

import time

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from models.world.model import SpectralModel
from models.world.nature import forecast_model, nature_model, rest_state

STAGES = 3
MODELS = {"T31": nature_model, "T21": forecast_model}
#: Channels of a stage, by kind of product, for eight levels.
LEGENDRE_CHANNELS, FOURIER_CHANNELS = 156, 124


def transform_operations(model: SpectralModel, batch: int) -> int:
    """Return the multiplications and additions of the transforms of one step."""
    t = model.transform
    fourier = 2 * (2 * t.orders) * t.n_lat * t.n_lon * FOURIER_CHANNELS
    legendre = 2 * (2 * t.orders) * t.orders * t.n_lat * LEGENDRE_CHANNELS
    return STAGES * batch * (fourier + legendre)


def seconds_of_product(operations: int) -> float:
    """Return the best time of a square matrix product of as many operations."""
    size = round((operations / 2) ** (1 / 3))
    a, b = torch.ones(size, size), torch.ones(size, size)
    best = float("inf")
    for _ in range(7):
        start = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - start)
    return best


def spun_up(model: SpectralModel, batch: int) -> Tensor:
    state = rest_state(model, batch)
    for number in range(10):
        state = model.step(state, number * model.settings.time_step)
    return state


@pytest.mark.benchmark(group="world step")
@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("name", MODELS)
def test_step(benchmark: BenchmarkFixture, name: str, batch: int) -> None:
    torch.set_num_threads(1)
    model = MODELS[name]()
    with torch.no_grad():
        state = spun_up(model, batch)
        later = benchmark(model.step, state, 0.0)
    assert torch.isfinite(later).all()
    if benchmark.stats is None:  # run as a plain test
        return
    best = float(benchmark.stats.stats.min)
    operations = transform_operations(model, batch)
    product = seconds_of_product(operations)
    steps = 86400 / model.settings.time_step
    benchmark.extra_info["operations"] = operations
    benchmark.extra_info["step / product"] = best / product
    benchmark.extra_info["seconds per simulated day and member"] = best * steps / batch


@pytest.mark.benchmark(group="world gradient")
def test_six_hours_and_their_gradient(benchmark: BenchmarkFixture) -> None:
    torch.set_num_threads(1)
    model = forecast_model()
    with torch.no_grad():
        x = model.to_grid(spun_up(model, 1))

    def gradient() -> Tensor:
        start = x.clone().requires_grad_()
        return torch.autograd.grad(model.forecast(start, 0.0, 6).square().mean(), start)[0]

    assert torch.isfinite(benchmark(gradient)).all()
