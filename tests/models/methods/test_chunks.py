"""An ensemble's analysis does not depend on how many members are computed at once.

The autoencoder is random and nonlinear, the members have backgrounds, offsets and draws of their
own. Products of matrices make their sums in an order that depends on the number of members, so
that results are equal to rounding.
"""

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from models.autoencoder import Autoencoder, AutoencoderShape
from models.chunks import ForecastInChunks, rows_of
from models.denoiser import DenoiserShape, LatentDenoiser
from models.forecast import ValidTime, each_time
from models.grid import LatLonGrid
from models.guidance.latent_optimization import InnerSolver
from models.local_error import LocalError
from models.methods.base import Analysis
from models.methods.dps import DPS, DPSSettings
from models.methods.l3dvar import L3DVAR, L3DVarSettings
from models.methods.latent import LatentMethod
from models.methods.losda import LOSDA, PRESETS
from models.methods.mmps import MMPS, MMPSSettings
from models.methods.repaint import Repaint, RepaintSettings
from models.normalization import Statistics
from models.observations.batch import Observations
from models.observations.operator import InterpolationOperator

TIME = pd.Timestamp("2005-01-01")
GRID = LatLonGrid.gaussian(8, 16)
SHAPE, MEMBERS, COUNT = (2, 8, 16), 5, 60
HYBRID = replace(PRESETS["fast"], ensemble_weight=0.4)
SAMPLE = replace(PRESETS["paper"], steps=3, eta=0.5, noisy_start=True)
LOOSE = InnerSolver(inner=60, tolerance=0.1)
METHODS: dict[str, tuple[type[LatentMethod[Any]], Any]] = {
    "losda, hybrid": (LOSDA, HYBRID),
    "losda, local": (LOSDA, HYBRID),
    "losda, sample": (LOSDA, SAMPLE),
    "l3dvar": (L3DVAR, L3DVarSettings(solver=LOOSE)),
    "dps": (DPS, DPSSettings(steps=4, eta=0.3)),
    "mmps": (MMPS, MMPSSettings(steps=2)),
    "repaint": (Repaint, RepaintSettings(steps=3)),
}


def make(name: str) -> LatentMethod[Any]:
    torch.manual_seed(0)
    statistics = Statistics(
        torch.randn(1, *SHAPE), torch.tensor([2.0, 3.0]), torch.tensor([0.2, 0.3])
    )
    shape = AutoencoderShape(2, GRID.shape, True, True, 1, latent=8, hidden=8, blocks=1)
    autoencoder = Autoencoder(shape, statistics.weights, torch.zeros(1, *GRID.shape))
    autoencoder.initialize_linear(torch.randn(100, *SHAPE))
    prior = LatentDenoiser(DenoiserShape(8, (4, 8), True, True, 1, 8, 8), torch.zeros(1, 4, 8))
    for module in (autoencoder, prior.network, prior.model_error):
        for parameter in module.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    prior.covariance.fit(torch.linspace(0.5, 1.5, 8).view(8, 1, 1) * torch.randn(500, 8, 4, 8))
    modules = [module.eval().requires_grad_(False) for module in (autoencoder, prior)]
    kind, settings = METHODS[name]
    local = LocalError.of(GRID, (4, 8), 2.0, 2000.0) if "local" in name else None
    return kind(statistics, *modules, GRID.cell_area_weights(), settings, local=local)


def problem(method: LatentMethod[Any]) -> tuple[Tensor, Observations]:
    """Backgrounds, and observations of another state whose equivalents have offsets."""
    g = torch.Generator().manual_seed(1)
    error = method.statistics.error_std[:, None, None]
    a = torch.randn(1, *SHAPE, generator=g)
    own = torch.linspace(0.3, 3.0, MEMBERS).view(-1, 1, 1, 1)
    a_b = a + own * error * torch.randn(MEMBERS, *SHAPE, generator=g)
    index = torch.randperm(a[0].numel(), generator=g)[:COUNT, None]
    operator = InterpolationOperator(index, torch.ones(COUNT, 1), SHAPE)
    x, std = method.statistics.denormalize(a, [TIME]), torch.full((COUNT,), 0.2)
    y = operator(x)[0] + std * torch.randn(COUNT, generator=g)
    offset = 0.5 * torch.randn(MEMBERS, COUNT, generator=g)
    x_b = method.statistics.denormalize(a_b, [TIME] * MEMBERS)
    return x_b, Observations(y, std, operator, offset)


def analysis(method: LatentMethod[Any], members: slice = slice(MEMBERS)) -> Analysis:
    x_b, observations = problem(method)
    generators = [torch.Generator().manual_seed(k) for k in range(MEMBERS)][members]
    return method(x_b[members], TIME, observations.of_members(members), generators)


@pytest.mark.parametrize("name", METHODS)
def test_the_size_of_a_chunk_changes_nothing_but_rounding(name: str) -> None:
    method = make(name)
    whole = analysis(method)
    background, _ = problem(method)
    increment = (whole.x_a - background).abs().max()
    for chunk in (1, 2, 3, MEMBERS, 9):
        method.chunk = chunk
        found = analysis(method)
        assert float((found.x_a - whole.x_a).abs().max()) < 1e-4 * float(increment)
        assert found.expected_error == pytest.approx(whole.expected_error, rel=1e-5)
        torch.testing.assert_close(found.background_error, whole.background_error)
        assert len(found.trace) == len(whole.trace)
        for row, expected in zip(found.trace, whole.trace, strict=True):
            assert row == pytest.approx(expected, rel=1e-3)
        if chunk >= MEMBERS:
            assert torch.equal(found.x_a, whole.x_a)


def test_a_chunk_has_the_perturbations_and_the_error_of_all_members() -> None:
    method = make("losda, hybrid")
    method.chunk = 2
    whole, pair = analysis(method), analysis(method, slice(2))
    assert pair.expected_error != pytest.approx(whole.expected_error, rel=0.05)
    assert float((pair.x_a - whole.x_a[:2]).abs().max()) > 0.1


def test_the_analysis_of_a_member_has_its_own_convergence() -> None:
    method = make("l3dvar")
    method.settings = replace(method.settings, adaptive=False)
    whole, last = analysis(method), analysis(method, slice(3, 5))
    torch.testing.assert_close(last.x_a, whole.x_a[3:], rtol=1e-5, atol=1e-5)


def test_chunks_have_every_member_once_in_order() -> None:
    for members in range(1, 12):
        for chunk in (None, 1, 2, 5, 20):
            chunks = rows_of(members, chunk)
            assert [m for rows in chunks for m in range(members)[rows]] == list(range(members))
            assert all(len(range(members)[rows]) <= (chunk or members) for rows in chunks)


class Drift:
    """Adds the hour of each state's own time, and counts the states of each step."""

    history = pd.Timedelta("6h")

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def step(self, x: Tensor, valid_time: ValidTime, lead: pd.Timedelta) -> Tensor:
        self.sizes.append(len(x))
        hours = torch.tensor(
            [t.hour + lead.total_seconds() for t in each_time(valid_time, len(x))]
        )
        return x + hours[:, None, None, None]


def test_a_forecast_in_chunks_is_that_of_all_states() -> None:
    x, model = torch.randn(5, *SHAPE), Drift()
    chunked = ForecastInChunks(model, 2)
    times = [TIME + pd.Timedelta(hours=k) for k in range(5)]
    for valid_time in (TIME, times):
        model.sizes.clear()
        found = chunked.step(x, valid_time, pd.Timedelta("6h"))
        assert model.sizes == [2, 2, 1]
        assert torch.equal(found, Drift().step(x, valid_time, pd.Timedelta("6h")))
    assert chunked.history == pd.Timedelta("6h")
