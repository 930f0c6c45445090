import pandas as pd
import torch

from models.denoiser import DenoiserShape, LatentDenoiser
from models.normalization import time_basis
from models.sampler import karras_levels, schedule_time


def seasons(*times: str, basis: int = 1) -> torch.Tensor:
    return torch.from_numpy(time_basis([pd.Timestamp(t) for t in times], basis)).float()


def denoiser(grid: tuple[int, int] = (4, 8), wraps: bool = True, basis: int = 1) -> LatentDenoiser:
    torch.manual_seed(0)
    shape = DenoiserShape(3, grid, wraps, wraps, 2, hidden=8, deep=16, basis=basis, error_hidden=8)
    return LatentDenoiser(shape, torch.randn(2, *grid))


def test_before_training_it_is_the_best_linear_denoiser() -> None:
    prior = denoiser()
    r, z_b = torch.randn(2, 5, 3, 4, 8)
    sigma, level = torch.rand(5) + 0.5, torch.zeros(5)
    mean = prior.denoise(r, sigma, z_b, level, torch.ones(5, 1))
    torch.testing.assert_close(mean, prior.covariance.wiener(r, sigma))


def test_the_network_sees_background_level_season_and_hour() -> None:
    prior = denoiser(basis=7)
    for parameter in prior.network.leave.parameters():
        torch.nn.init.normal_(parameter)
    r, z_b = torch.randn(2, 1, 3, 4, 8)
    one, zero = torch.ones(1), torch.zeros(1)
    winter, summer, evening = seasons("2001-01-01", "2001-07-01", "2001-01-01T18", basis=7)[
        :, None
    ]
    mean = prior.denoise(r, one, z_b, zero, winter)
    assert not torch.allclose(mean, prior.denoise(r, one, 2 * z_b, zero, winter))
    assert not torch.allclose(mean, prior.denoise(r, one, z_b, one, winter))
    assert not torch.allclose(mean, prior.denoise(r, one, z_b, zero, summer))
    assert not torch.allclose(mean, prior.denoise(r, one, z_b, zero, evening))


def test_a_larger_expected_error_scales_the_residual() -> None:
    prior = denoiser()
    twice = prior.scale(torch.full((1,), 2.0).log())
    torch.testing.assert_close(twice, 2 * prior.scale(torch.zeros(1)))


def test_odd_regional_grids_pass() -> None:
    prior = denoiser((5, 7), wraps=False)
    r = torch.randn(2, 3, 5, 7)
    assert prior.denoise(r, torch.ones(2), r, torch.zeros(2), torch.ones(2, 1)).shape == r.shape


def test_noise_levels_and_times_of_the_schedule_belong_together() -> None:
    prior = denoiser()
    for sigma in karras_levels(5, 10.0, 0.03):
        time = schedule_time(prior.schedule, sigma, torch.zeros(1))
        torch.testing.assert_close(prior.schedule.sigma(time), torch.tensor(sigma))
