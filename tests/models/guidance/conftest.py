"""A linear-Gaussian problem, where the mean and covariance of every posterior are known."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from azula.denoise import Denoiser, DiracPosterior
from azula.noise import VESchedule

from models.covariance import LatentCovariance, Localization

ERROR = 0.1


class GaussianDenoiser(Denoiser):
    """The exact denoiser of a Gaussian with mean zero."""

    def __init__(self, covariance: LatentCovariance) -> None:
        super().__init__()
        self.schedule, self.covariance = VESchedule(1e-3, 100.0), covariance

    def forward(self, x_t: torch.Tensor, t: torch.Tensor, **condition: object) -> DiracPosterior:
        sigma = self.schedule.sigma(t).expand(len(x_t))
        return DiracPosterior(self.covariance.wiener(x_t, sigma))


@dataclass(frozen=True)
class GaussianProblem:
    """r ~ N(0, C), y = H r + N(0, R) with R = ERROR I."""

    covariance: LatentCovariance
    c: torch.Tensor
    h: torch.Tensor
    y: torch.Tensor

    @property
    def denoiser(self) -> GaussianDenoiser:
        return GaussianDenoiser(self.covariance)

    def departure(self, r: torch.Tensor) -> torch.Tensor:
        return (self.y - r.flatten(1) @ self.h.T) / ERROR**0.5

    def denoised(self, r_t: torch.Tensor, sigma: float) -> torch.Tensor:
        """E[r | r_t, y]: the prior of r given r_t, then the Kalman filter's update."""
        identity = torch.eye(len(self.c))
        gain = self.c @ torch.linalg.inv(self.c + sigma**2 * identity)
        mean, c = r_t.flatten(1) @ gain.T, sigma**2 * gain
        kalman = (
            c @ self.h.T @ torch.linalg.inv(self.h @ c @ self.h.T + ERROR * torch.eye(len(self.h)))
        )
        return (mean + (self.y - mean @ self.h.T) @ kalman.T).view_as(r_t)


@pytest.fixture
def make_gaussian() -> Callable[..., GaussianProblem]:
    """Make a problem; rows of H that are unit vectors observe the first components."""

    def make(
        shape: tuple[int, int, int] = (2, 3, 4),
        wraps: bool = False,
        isotropic: bool = False,
        unit_vectors: bool = False,
    ) -> GaussianProblem:
        generator = torch.Generator().manual_seed(4)
        size, count = shape[0] * shape[1] * shape[2], 7
        covariance = LatentCovariance(shape, wraps, Localization(100.0, 100.0))
        if not isotropic:
            mixing = torch.randn(size, size, generator=generator) / size**0.5
            samples = torch.randn(3000, size, generator=generator) @ mixing
            covariance.fit(samples.view(-1, *shape))
        basis = torch.eye(size).view(size, *shape)
        root = covariance.root(basis, 1e4).flatten(1)
        h = torch.randn(count, size, generator=generator)
        if unit_vectors:
            h = torch.eye(size)[:count]
        y = torch.randn(count, generator=generator)
        return GaussianProblem(covariance, root.T @ root, h, y)

    return make
