import torch

from models.covariance import LatentCovariance, gaspari_cohn
from models.hybrid import HybridCovariance, localization_root, sphere_distance

SHAPE = (2, 4, 8)


def made(weight: float, half_width: float = 4000.0) -> tuple[HybridCovariance, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    static = LatentCovariance(SHAPE, True)
    static.fit(torch.randn(300, *SHAPE, generator=generator).cumsum(2))
    x = torch.randn(5, *SHAPE, generator=generator)
    root = localization_root(sphere_distance(*SHAPE[1:]), half_width)
    return HybridCovariance(static, x - x.mean(0), root, weight), x - x.mean(0)


def matrix(covariance: HybridCovariance | LatentCovariance) -> torch.Tensor:
    unit = torch.eye(64).view(64, *SHAPE)
    return covariance.root(covariance.root_adjoint(unit, 1e4), 1e4).flatten(1)


def test_the_ensemble_part_is_the_localized_sample_covariance() -> None:
    covariance, x = made(1.0 - 1e-7)
    sample = torch.einsum("kn,km->nm", x.flatten(1), x.flatten(1)) / 4
    rho = gaspari_cohn(sphere_distance(*SHAPE[1:]), 4000.0).repeat(2, 2)
    torch.testing.assert_close(matrix(covariance), sample * rho, atol=2e-2, rtol=1e-2)


def test_the_parts_are_mixed_by_their_weight() -> None:
    covariance, _ = made(0.3)
    alone, _ = made(1.0 - 1e-7)
    static = matrix(covariance.static)
    torch.testing.assert_close(
        matrix(covariance), 0.7 * static + 0.3 * matrix(alone), atol=1e-3, rtol=1e-3
    )


def test_the_adjoint_of_the_root_is_its_adjoint() -> None:
    covariance, _ = made(0.5)
    generator = torch.Generator().manual_seed(1)
    r = torch.randn(3, *SHAPE, generator=generator)
    v = torch.randn(covariance.control(r).shape, generator=generator)
    left, right = (covariance.root(v, 1.0) * r).sum(), (v * covariance.root_adjoint(r, 1.0)).sum()
    torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-4)


def test_distances_on_the_sphere() -> None:
    d = sphere_distance(8, 16)
    assert d.diagonal().max() < 1 and torch.equal(d, d.T)
    half = torch.pi * 6371.0
    equator = 4 * 16  # the first row north of the equator; its antipode is in the row south of it
    torch.testing.assert_close(d[equator, 3 * 16 + 8], torch.tensor(half), rtol=1e-4, atol=3.0)
