"""azula's moment matching with this package's denoisers: vjp and jvp through all they are made of."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from azula.denoise import Denoiser
from azula.guidance.mmps import MMPSDenoiser
from azula.linalg.covariance import IsotropicCovariance

from models.denoiser import DenoiserShape, LatentDenoiser
from models.sampler import karras_levels, reverse_diffusion, schedule_time

Make = Callable[..., Any]


def matched(
    denoiser: Denoiser, departure: Callable, count: int, **options: object
) -> MMPSDenoiser:
    return MMPSDenoiser(
        denoiser, torch.zeros(count), lambda r: -departure(r), IsotropicCovariance(1.0), **options
    )


@pytest.mark.parametrize("wraps", [False, True])
@pytest.mark.parametrize("sigma", [20.0, 1.0, 0.05])
def test_gaussian_problems_are_exact_at_every_noise_level(
    make_gaussian: Make, sigma: float, wraps: bool
) -> None:
    problem = make_gaussian(wraps=wraps)
    guided = matched(problem.denoiser, problem.departure, 7, iterations=7)
    r_t = sigma * torch.randn(3, 2, 3, 4, generator=torch.Generator().manual_seed(1))
    mean = guided(r_t, schedule_time(guided.schedule, sigma, r_t)).mean
    torch.testing.assert_close(mean, problem.denoised(r_t, sigma), rtol=1e-2, atol=2e-3)


def test_it_reaches_the_kalman_filter_from_no_noise(make_gaussian: Make) -> None:
    problem = make_gaussian()
    guided = matched(problem.denoiser, problem.departure, 7, iterations=7)
    levels = karras_levels(48, 80.0, 0.01)
    r = reverse_diffusion(guided, torch.zeros(1, 2, 3, 4), levels, 0.0, [])
    kalman = problem.denoised(torch.zeros(1, 2, 3, 4), 1e4)
    assert (r - kalman).norm() < 0.02 * kalman.norm()


def test_samples_have_the_mean_and_covariance_of_the_posterior(make_gaussian: Make) -> None:
    problem, count = make_gaussian(), 4000
    guided = matched(problem.denoiser, problem.departure, 7, iterations=7)
    generator = torch.Generator().manual_seed(3)
    levels = karras_levels(64, 80.0, 0.01)
    noise = levels[0] * torch.randn(count, 2, 3, 4, generator=generator)
    r = reverse_diffusion(guided, noise, levels, 0.0, []).flatten(1)
    c, h = problem.c, problem.h
    gain = c @ h.T @ torch.linalg.inv(h @ c @ h.T + 0.1 * torch.eye(7))
    values, u = torch.linalg.eigh(c - gain @ h @ c)
    spread = levels[0] * contraction(values.clamp(min=0), levels)
    components = (r - gain @ problem.y) @ u / spread
    kept = values > 1e-3  # below, round-off
    assert int(kept.sum()) > 15
    torch.testing.assert_close(
        components.T.cov()[kept][:, kept], torch.eye(24)[kept][:, kept], rtol=0, atol=0.1
    )
    assert components.mean(0)[kept].abs().max() < 5 / count**0.5
    # fine levels would bring it to one
    assert float(r.var(0).sum() / values.sum()) == pytest.approx(1.0, abs=0.08)


def contraction(variance: torch.Tensor, levels: list[float]) -> torch.Tensor:
    """How finite steps narrow samples of N(0, P): each one by (P + σ_s σ_t)/(P + σ_t²)."""
    factor = torch.ones_like(variance)
    for t, s in pairwise([*levels, 0.0]):
        factor = factor * (variance + s * t) / (variance + t**2)
    return factor


def test_a_learned_denoiser_gives_the_answer_of_its_dense_jacobian() -> None:
    torch.manual_seed(5)
    shape = (3, 4, 8)
    prior = LatentDenoiser(
        DenoiserShape(*shape[:1], shape[1:], True, True, 2, 8, 16), torch.randn(2, *shape[1:])
    )
    for parameter in prior.network.leave.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    prior.requires_grad_(False)
    condition = {
        "z_b": torch.randn(1, *shape),
        "level": torch.zeros(1),
        "season": torch.ones(1, 1),
    }
    h = torch.randn(5, 96) / 10
    departure = lambda r: 2.0 - r.flatten(1) @ h.T
    r_t, sigma = torch.randn(1, *shape), torch.tensor([0.9])
    r_0, jacobian = (
        prior.denoise(r_t, sigma, **condition),
        torch.autograd.functional.jacobian(lambda r: prior.denoise(r, sigma, **condition), r_t),
    )
    v = 0.9**2 * jacobian.reshape(96, 96).T  # the guidance has products with the transpose
    weights = torch.linalg.solve(torch.eye(5) + h @ v @ h.T, departure(r_0)[0])
    expected = r_0 + (v @ h.T @ weights).view_as(r_0)
    guided = matched(prior, departure, 5, iterations=5)
    mean = guided(r_t, schedule_time(prior.schedule, 0.9, r_t), **condition).mean
    assert (expected - r_0).abs().max() > 0.01
    torch.testing.assert_close(mean, expected, rtol=1e-3, atol=1e-4)
