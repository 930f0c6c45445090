"""Latent optimization against the exact answers of linear-Gaussian problems."""

import pytest
import torch
from azula.denoise import Denoiser, DiracPosterior
from azula.noise import VESchedule

from models.covariance import LatentCovariance, Localization
from models.guidance.latent_optimization import (
    InnerSolver,
    LatentOptimization,
    linearize,
)
from models.sampler import karras_levels, reverse_diffusion

SHAPE = (2, 3, 4)
SIZE = 24


class WienerDenoiser(Denoiser):
    """The exact denoiser of a Gaussian with mean zero."""

    def __init__(self, covariance: LatentCovariance) -> None:
        super().__init__()
        self.schedule, self.covariance = VESchedule(1e-3, 100.0), covariance

    def forward(self, x_t: torch.Tensor, t: torch.Tensor, **condition: object) -> DiracPosterior:
        sigma = self.schedule.sigma(t).expand(len(x_t))
        return DiracPosterior(self.covariance.wiener(x_t, sigma))


@pytest.fixture
def problem() -> tuple[LatentCovariance, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Covariance, H, y and the Kalman filter's analysis."""
    generator = torch.Generator().manual_seed(4)
    mixing = torch.randn(SIZE, SIZE, generator=generator) / SIZE**0.5
    samples = torch.randn(3000, SIZE, generator=generator) @ mixing
    covariance = LatentCovariance(SHAPE, False, Localization(100.0, 100.0))
    covariance.fit(samples.view(-1, *SHAPE))
    values, vectors = covariance.eigen
    c = (vectors[0] * values[0]) @ vectors[0].mT
    h = torch.randn(7, SIZE, generator=generator)
    y = torch.randn(7, generator=generator)
    gain = c @ h.T @ torch.linalg.inv(h @ c @ h.T + 0.1 * torch.eye(7))
    return covariance, h, y, gain @ y


def departure_of(h: torch.Tensor, y: torch.Tensor):  # noqa: ANN201
    return lambda r: (y - r.flatten(1) @ h.T) / 0.1**0.5


def test_gauss_newton_around_the_background_is_the_kalman_filter(problem) -> None:  # noqa: ANN001
    covariance, h, y, kalman = problem
    guided = LatentOptimization(
        WienerDenoiser(covariance),
        departure_of(h, y),
        covariance,
        InnerSolver(inner=20),
        anchor=0.0,
    )
    r = reverse_diffusion(guided, torch.zeros(1, *SHAPE), [99.0], 0.0, [])
    torch.testing.assert_close(r.flatten(), kalman, atol=2e-3, rtol=1e-2)


def test_steepest_descent_reaches_the_same_minimum(problem) -> None:  # noqa: ANN001
    covariance, h, y, kalman = problem
    solver = InnerSolver("steepest_descent", outer=400)
    guided = LatentOptimization(
        WienerDenoiser(covariance), departure_of(h, y), covariance, solver, anchor=0.0
    )
    r = reverse_diffusion(guided, torch.zeros(1, *SHAPE), [99.0], 0.0, [])
    torch.testing.assert_close(r.flatten(), kalman, atol=5e-3, rtol=2e-2)


def test_the_cost_never_rises_and_the_trace_records_it(problem) -> None:  # noqa: ANN001
    covariance, h, y, _ = problem
    guided = LatentOptimization(
        WienerDenoiser(covariance), departure_of(h, y), covariance, InnerSolver(inner=6)
    )
    reverse_diffusion(guided, torch.zeros(1, *SHAPE), karras_levels(3, 10.0, 0.5), 0.0, [])
    assert [row["step"] for row in guided.trace.rows] == [0, 1, 2]
    for line in guided.trace.rows:
        assert line["J_b"] + line["J_o"] <= line["J_o_before"] + 1e-6


def test_the_minimum_of_a_nonlinear_problem_has_no_gradient(problem) -> None:  # noqa: ANN001
    covariance, h, y, _ = problem

    def departure(r: torch.Tensor) -> torch.Tensor:
        h_r = r.flatten(1) @ h.T
        return (y - h_r - 0.2 * torch.sin(h_r)) / 0.5

    solver = InnerSolver(outer=12, inner=24)
    guided = LatentOptimization(WienerDenoiser(covariance), departure, covariance, solver)
    r = guided.optimize(torch.zeros(1, *SHAPE), 2.0)
    values, u = covariance.eigen
    inverse = (u[0] * (1 / values[0] + 1 / 4)) @ u[0].mT
    d, _, adjoint = linearize(departure, r)
    gradient = r.flatten() @ inverse - adjoint(d).flatten()
    preconditioned = covariance.root_adjoint(gradient.view(1, *SHAPE), 2.0)
    assert preconditioned.abs().max() < 1e-2


def test_tangent_and_adjoint_agree(problem) -> None:  # noqa: ANN001
    _, h, y, _ = problem
    departure = lambda r: y - torch.sin(r.flatten(1) @ h.T)
    generator = torch.Generator().manual_seed(5)
    r, u = torch.randn(2, 1, *SHAPE, generator=generator)
    w = torch.randn(1, 7, generator=generator)
    _, tangent, adjoint = linearize(departure, r)
    torch.testing.assert_close((tangent(u) * w).sum(), (u * adjoint(w)).sum())


def test_sampling_without_observations_gives_the_prior(problem) -> None:  # noqa: ANN001
    covariance, *_ = problem
    count = 400
    generators = [torch.Generator().manual_seed(k) for k in range(count)]
    levels = karras_levels(160, 60.0, 0.01)
    noise = torch.stack([torch.randn(SHAPE, generator=g) for g in generators])
    r = reverse_diffusion(WienerDenoiser(covariance), levels[0] * noise, levels, 0.0, generators)
    values, u = covariance.eigen
    variance = ((u[0] ** 2) * values[0]).sum(1)
    assert r.flatten(1).var(0).mean() == pytest.approx(float(variance.mean()), rel=0.06)


def test_draws_from_prior_and_observations_give_the_spread_of_the_posterior(problem) -> None:  # noqa: ANN001
    covariance, h, y, kalman = problem
    count, generator = 4000, torch.Generator().manual_seed(8)
    perturbed = y + 0.1**0.5 * torch.randn(count, 7, generator=generator)
    guided = LatentOptimization(
        WienerDenoiser(covariance),
        departure_of(h, perturbed),
        covariance,
        InnerSolver(inner=20),
        anchor=0.0,
    )
    guided.shift = covariance.root(torch.randn(count, *SHAPE, generator=generator), 99.0)
    r = reverse_diffusion(guided, torch.zeros(count, *SHAPE), [99.0], 0.0, []).flatten(1)
    values, vectors = covariance.eigen
    c = (vectors[0] * values[0]) @ vectors[0].mT
    gain = c @ h.T @ torch.linalg.inv(h @ c @ h.T + 0.1 * torch.eye(7))
    posterior = (c - gain @ h @ c).diagonal()
    torch.testing.assert_close(r.mean(0), kalman, atol=0.05, rtol=0)
    torch.testing.assert_close(r.var(0), posterior, atol=0.02, rtol=0.1)
