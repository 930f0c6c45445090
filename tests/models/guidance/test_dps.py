"""Diffusion posterior sampling where its guesses of the likelihood are exact."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from azula.denoise import Denoiser, DiracPosterior
from azula.noise import VESchedule

from models.guidance.dps import GradientGuidance, Likelihood
from models.sampler import karras_levels, reverse_diffusion, schedule_time

SHAPE = (2, 3, 4)
Make = Callable[..., Any]


def mean(denoiser: Denoiser, r_t: torch.Tensor, sigma: float) -> torch.Tensor:
    return denoiser(r_t, schedule_time(denoiser.schedule, sigma, r_t)).mean


def noisy(batch: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(batch, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.parametrize("sigma", [20.0, 1.0, 0.05])
def test_separate_observations_of_an_isotropic_prior_are_exact(
    make_gaussian: Make, sigma: float
) -> None:
    problem = make_gaussian(isotropic=True, unit_vectors=True)
    u = torch.full((3, 7), 0.1**-0.5)
    guided = GradientGuidance(problem.denoiser, problem.departure, u, Likelihood(gamma=1.0))
    r_t = sigma * noisy(3)
    expected = problem.denoised(r_t, sigma)
    torch.testing.assert_close(mean(guided, r_t, sigma), expected, rtol=1e-3, atol=1e-4)


def test_it_reaches_the_kalman_filter_from_no_noise(make_gaussian: Make) -> None:
    problem = make_gaussian(isotropic=True, unit_vectors=True)
    u = torch.full((1, 7), 0.1**-0.5)
    guided = GradientGuidance(problem.denoiser, problem.departure, u, Likelihood(gamma=1.0))
    levels = karras_levels(64, 80.0, 0.01)
    r = reverse_diffusion(guided, torch.zeros(1, *SHAPE), levels, 0.0, [])
    kalman = problem.y / 1.1
    torch.testing.assert_close(r.flatten()[:7], kalman, rtol=1e-2, atol=1e-3)
    assert r.flatten()[7:].abs().max() < 1e-6


def test_without_a_variance_of_its_own_the_denoised_state_is_exact_for_little_noise(
    make_gaussian: Make,
) -> None:
    problem, sigma = make_gaussian(), 0.01
    none = GradientGuidance(
        problem.denoiser, problem.departure, torch.ones(3, 7), Likelihood(gamma=0.0)
    )
    r_t = noisy(3)
    step = problem.denoised(r_t, sigma) - mean(problem.denoiser, r_t, sigma)
    found = mean(none, r_t, sigma) - mean(problem.denoiser, r_t, sigma)
    assert (found - step).norm() < 0.05 * step.norm()


class Saturating(Denoiser):
    """A nonlinear denoiser in the precision of its input."""

    schedule = VESchedule(1e-3, 100.0)

    def forward(self, x_t: torch.Tensor, t: torch.Tensor, **condition: object) -> DiracPosterior:
        return DiracPosterior(
            torch.tanh(x_t + 0.3 * x_t.roll(1, -1)) / (1 + self.schedule.sigma(t))
        )


@pytest.mark.parametrize("kind", ["gaussian", "normalized"])
def test_the_step_is_the_gradient_by_finite_differences(kind: str) -> None:
    generator = torch.Generator().manual_seed(2)
    h = torch.randn(7, 24, generator=generator, dtype=torch.float64)
    departure = lambda r: 1.0 - torch.sin(r.flatten(1) @ h.T)
    u, likelihood, sigma = torch.rand(2, 7).double(), Likelihood(kind, 0.7, 0.4), 0.8
    denoiser, r_t = Saturating(), noisy(2, torch.float64)
    guided = GradientGuidance(denoiser, departure, u, likelihood)
    step = mean(guided, r_t, sigma) - mean(denoiser, r_t, sigma)

    def cost(r: torch.Tensor) -> torch.Tensor:
        return likelihood.cost(departure(mean(denoiser, r, sigma)), u, sigma)

    direction = torch.randn(r_t.shape, generator=generator, dtype=torch.float64)
    slope = (cost(r_t + 1e-5 * direction) - cost(r_t - 1e-5 * direction)) / 2e-5
    torch.testing.assert_close(-(step * direction).flatten(1).sum(1), slope, rtol=1e-6, atol=1e-8)


def test_the_normalized_step_does_not_grow_with_the_misfit_nor_know_the_other_samples() -> None:
    departure = lambda r: factor[:, None] * (10.0 - r.flatten(1)[:, :7])
    factor, r_t, u = torch.tensor([1.0, 1000.0]), noisy(1).expand(2, -1, -1, -1), torch.ones(2, 7)
    denoiser = Saturating()
    guided = GradientGuidance(denoiser, departure, u, Likelihood("normalized", zeta=0.5))
    step = mean(guided, r_t, 1.0) - mean(denoiser, r_t, 1.0)
    torch.testing.assert_close(step[1], 1000.0 * step[0], rtol=1e-4, atol=0)
    far = GradientGuidance(
        denoiser, lambda r: 1e4 - r.flatten(1)[:, :7], u, Likelihood("normalized", zeta=0.5)
    )
    near = GradientGuidance(
        denoiser, lambda r: 1e2 - r.flatten(1)[:, :7], u, Likelihood("normalized", zeta=0.5)
    )
    torch.testing.assert_close(mean(far, r_t, 1.0), mean(near, r_t, 1.0), rtol=1e-2, atol=1e-3)


def test_an_unknown_likelihood_is_refused() -> None:
    with pytest.raises(ValueError, match="'student', allowed: 'gaussian', 'normalized'"):
        Likelihood("student")
