"""DPS, MMPS and Repaint on a small linear-Gaussian world, where the posterior is known.

The autoencoder is lossless and linear, and the prior white: a grid value is then an orthonormal
function of the latents, and separate grid values have nothing in common. DPS is exact there.
"""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from models.autoencoder import Autoencoder, AutoencoderShape
from models.denoiser import DenoiserShape, LatentDenoiser
from models.grid import LatLonGrid
from models.guidance.dps import Likelihood
from models.methods.base import AssimilationMethod
from models.methods.dps import DPS, DPSSettings
from models.methods.latent import LatentProblem
from models.methods.mmps import MMPS, MMPSSettings
from models.methods.posterior import PosteriorSampler
from models.methods.repaint import Repaint, RepaintSettings
from models.normalization import Statistics
from models.observations.anomalies import AnomalyObservations, of_anomalies
from models.observations.batch import Observations
from models.observations.operator import InterpolationOperator
from models.sampler import reverse_diffusion

TIME = pd.Timestamp("2005-01-01")
GRID = LatLonGrid.gaussian(8, 16)
SHAPE = (2, 8, 16)
Method = PosteriorSampler[Any]

#: Many levels from a high one, and nothing besides prior and observation error.
EXACT = {"steps": 48, "start": 30.0, "stop": 0.02, "eta": 0.0, "representativeness": 0.0}
METHODS: dict[str, tuple[type[Method], Any]] = {
    "dps": (DPS, DPSSettings(likelihood=Likelihood(gamma=1.0))),
    "mmps": (MMPS, MMPSSettings(iterations=2)),
    "repaint": (Repaint, RepaintSettings()),
}


def make(name: str, **changes: object) -> Method:
    torch.manual_seed(0)
    coefficients = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(0))
    statistics = Statistics(coefficients, torch.tensor([2.0, 3.0]), torch.tensor([0.2, 0.3]))
    shape = AutoencoderShape(2, GRID.shape, True, True, 1, latent=8, hidden=8, blocks=1)
    autoencoder = Autoencoder(shape, torch.tensor([5.0, 1 / 0.3]), torch.zeros(1, *GRID.shape))
    autoencoder.initialize_linear(torch.randn(100, *SHAPE))
    prior = LatentDenoiser(DenoiserShape(8, (4, 8), True, True, 1, 8, 8), torch.zeros(1, 4, 8))
    modules = [module.eval().requires_grad_(False) for module in (autoencoder, prior)]
    kind, settings = METHODS[name]
    settings = replace(settings, **(EXACT | changes))
    return kind(statistics, *modules, GRID.cell_area_weights(), settings)


def states(method: Method, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Background and truth, whose difference has the size of the 24 h error."""
    g = torch.Generator().manual_seed(seed)
    a = torch.randn(1, *SHAPE, generator=g)
    error = method.statistics.error_std[:, None, None] * torch.randn(SHAPE, generator=g)
    both = [method.statistics.denormalize(value, [TIME]) for value in (a, a + error)]
    return both[0], both[1]


def observations(x: torch.Tensor, count: int, error: float, seed: int = 1) -> Observations:
    random = np.random.default_rng(seed)
    index = torch.from_numpy(random.choice(x[0].numel(), count, replace=False))[:, None]
    operator = InterpolationOperator(index, torch.ones(count, 1), SHAPE)
    noise = torch.from_numpy(random.standard_normal(count)).float()
    std = torch.full((count,), error)
    return Observations(operator(x)[0] + std * noise, std, operator)


def generators(count: int = 1, seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(1000 * seed + k) for k in range(count)]


def prior_variance(method: Method, observed: Observations, expected: float) -> torch.Tensor:
    """Background-error variance of each observed value."""
    unit = method.statistics.std * method.statistics.error_std * expected
    return unit[observed.operator.index[:, 0] // (SHAPE[1] * SHAPE[2])] ** 2


@pytest.mark.parametrize("name", METHODS)
def test_it_is_an_assimilation_method(name: str) -> None:
    assert isinstance(make(name), AssimilationMethod)


@pytest.mark.parametrize("name", ["dps", "mmps"])
def test_from_no_noise_the_analysis_is_the_kalman_filter(name: str) -> None:
    method = make(name)
    x_b, x = states(method, 2)
    observed = observations(x, 30, 0.3)
    analysis = method(x_b, TIME, observed, generators())
    b = prior_variance(method, observed, analysis.expected_error)
    weight = b / (b + observed.error**2)
    innovation = observed.y - observed.operator(x_b)[0]
    increment = observed.operator(analysis.x_a - x_b)[0]
    torch.testing.assert_close(increment, weight * innovation, atol=1e-2, rtol=2e-2)


@pytest.mark.parametrize("name", ["dps", "mmps"])
def test_members_are_samples_of_the_posterior_without_perturbed_observations(name: str) -> None:
    method, members = make(name, steps=24), 32
    x_b, x = states(method, 3)
    observed = observations(x, 30, 0.3)
    analysis = method(x_b.expand(members, -1, -1, -1), TIME, observed, generators(members))
    b = prior_variance(method, observed, analysis.expected_error)
    weight = b / (b + observed.error**2)
    innovation = observed.y - observed.operator(x_b)[0]
    increment = observed.operator(analysis.x_a) - observed.operator(x_b)
    start = (1 + method.settings.start**2) ** 0.5
    spread = start * contraction(observed.error**2 / (observed.error**2 + b), method.levels)
    scaled = (increment - weight * innovation) / (b.sqrt() * spread)
    assert float(scaled.var(0).mean()) == pytest.approx(1.0, abs=0.1)  # sampling error: 0.04
    assert float(scaled.mean(0).square().mean()) == pytest.approx(1 / members, rel=0.7)


def contraction(variance: torch.Tensor, levels: list[float]) -> torch.Tensor:
    """How finite steps narrow samples of N(0, P): each one by (P + σ_s σ_t)/(P + σ_t²)."""
    factor = torch.ones_like(variance)
    for t, s in pairwise([*levels, 0.0]):
        factor = factor * (variance + s * t) / (variance + t**2)
    return factor


@pytest.mark.parametrize("name", METHODS)
def test_without_observations_it_is_the_sampler_of_the_prior(name: str) -> None:
    method = make(name, adaptive=False, noisy_start=True, steps=6)
    method.autoencoder.decode_linear.weight.mul_(0.8)  # a lossy decoder changes nothing
    problem = no_observations(method, batch=3)
    r, trace = method.solve(problem, generators(3))
    start = method.noise(r, generators(3))
    prior = reverse_diffusion(method.denoiser, start, method.levels, 0.0, [], **problem.condition)
    torch.testing.assert_close(r, prior, rtol=1e-4, atol=1e-4)
    assert [row["J_o"] for row in trace.rows] == [0.0] * 6


@pytest.mark.parametrize("start", [0.5, 3.0])
@pytest.mark.parametrize("name", METHODS)
def test_samples_without_observations_have_the_covariance_of_the_prior(
    name: str, start: float
) -> None:
    method = make(name, adaptive=False, noisy_start=True, steps=30, start=start, stop=0.05)
    scales = torch.tensor([2.0, 1.0, 1.0, 0.5, 0.5, 0.5, 1.0, 1.0]).view(8, 1, 1)
    samples = torch.randn(2000, 8, 4, 8, generator=torch.Generator().manual_seed(5))
    method.denoiser.covariance.fit(scales * samples)
    r, _ = method.solve(no_observations(method, batch=40), generators(40))
    ratio = r.var((0, 2, 3)) / scales.flatten() ** 2
    torch.testing.assert_close(ratio, torch.ones(8), rtol=0, atol=0.15)


def no_observations(method: Method, batch: int) -> LatentProblem:
    none = torch.zeros(batch, 0)
    observed = AnomalyObservations(none, none, none, none, lambda a: a.flatten(1)[:, :0])
    a_b = torch.randn(batch, *SHAPE, generator=torch.Generator().manual_seed(4))
    return method.problem(a_b, [TIME] * batch, observed)


@pytest.mark.parametrize("name", METHODS)
def test_only_noise_of_the_start_needs_generators(name: str) -> None:
    method = make(name, steps=4)
    x_b, x = states(method, 5)
    observed = observations(x, 20, 0.2)
    first, other = (method(x_b, TIME, observed, generators(seed=k)).x_a for k in (0, 1))
    assert torch.equal(first, other)
    sample = method.with_settings(noisy_start=True)
    first, again, other = (sample(x_b, TIME, observed, generators(seed=k)).x_a for k in (0, 0, 1))
    assert torch.equal(first, again) and not torch.allclose(first, other)
    ancestral = sample.with_settings(eta=1.0)
    first, again = (ancestral(x_b, TIME, observed, generators()).x_a for _ in range(2))
    assert torch.equal(first, again) and not torch.allclose(first, other)


@pytest.mark.parametrize("name", METHODS)
def test_no_gradients_are_left(name: str) -> None:
    method = make(name, steps=3)
    x_b, x = states(method, 6)
    assert not method(x_b, TIME, observations(x, 20, 0.2), generators()).x_a.requires_grad
    a_b = method.statistics.normalize(x_b, [TIME])
    observed = of_anomalies(observations(x, 20, 0.2), method.statistics, method.area, [TIME])
    with torch.enable_grad():
        r, _ = method.solve(method.problem(a_b, [TIME], observed), generators())
    assert not r.requires_grad


@pytest.mark.parametrize("name", METHODS)
def test_the_misfit_of_every_step_is_on_record(name: str) -> None:
    method = make(name, steps=5)
    x_b, x = states(method, 7)
    rows = method(x_b, TIME, observations(x, 60, 0.2), generators()).trace
    assert [row["step"] for row in rows] == list(range(5))
    assert [row["sigma"] for row in rows] == pytest.approx(method.levels, rel=1e-3)
    assert rows[-1]["J_o"] < 60


def test_repaint_fits_the_observations_and_keeps_the_other_values_of_the_mean() -> None:
    method = make("repaint", steps=8)
    x_b, x = states(method, 8)
    observed = observations(x, 40, 0.2)
    x_a = method(x_b, TIME, observed, generators()).x_a
    torch.testing.assert_close(observed.operator(x_a)[0], observed.y, rtol=1e-4, atol=1e-4)
    away = torch.ones(x_b.numel(), dtype=torch.bool)
    away[observed.operator.index[:, 0]] = False
    torch.testing.assert_close(x_a.flatten()[away], x_b.flatten()[away], rtol=1e-3, atol=1e-3)


def test_repaint_replaces_a_share() -> None:
    method = make("repaint", steps=1, weight=0.25)
    x_b, x = states(method, 9)
    observed = observations(x, 40, 0.2)
    innovation = observed.y - observed.operator(x_b)[0]
    increment = observed.operator(method(x_b, TIME, observed, generators()).x_a - x_b)[0]
    torch.testing.assert_close(increment, 0.25 * innovation, rtol=1e-3, atol=1e-3)


def test_repaint_visits_each_level_again() -> None:
    method = make("repaint", steps=3, resample=2)
    once = method.with_settings(resample=1).levels
    assert method.levels == [sigma for sigma in once for _ in range(2)]
