import pytest
import torch

from models.covariance import DiagonalCovariance, LatentCovariance, Localization, gaspari_cohn

WIDE = Localization(zonal=100.0, meridional=100.0)


def correlated(count: int, generator: torch.Generator) -> torch.Tensor:
    """Two channels, the second the first two cells to the east and one to the north."""
    r = torch.randn(count, 2, 6, 16, generator=generator)
    r[:, 1, 1:] = 0.5 * r[:, 1, 1:] + r[:, 0, :-1].roll(2, -1)
    return r


def row(covariance: LatentCovariance, channel: int, lat: int, lon: int) -> torch.Tensor:
    """C e for a unit vector e, through the root with a flat Σ (σ → ∞)."""
    e = torch.zeros(1, *covariance.shape)
    e[0, channel, lat, lon] = 1
    return covariance.root(covariance.root_adjoint(e, 1e4), 1e4)[0]


def test_the_kernel_keeps_direction_and_size_of_correlations() -> None:
    covariance = LatentCovariance((2, 6, 16), True, Localization(6.0, 2.4))
    samples = correlated(4000, torch.Generator().manual_seed(0))
    covariance.fit(samples)
    c = row(covariance, 0, 2, 5)
    taper = gaspari_cohn(torch.tensor(2.0), 6.0) * gaspari_cohn(torch.tensor(1.0), 2.4)
    assert c[0, 2, 5] == pytest.approx(1.0, abs=0.05)
    assert c[1, 3, 7] == pytest.approx(float(taper), abs=0.05)
    assert abs(c[1, 3, 3]) < 0.05


def test_a_regional_covariance_is_the_sample_moment_where_nothing_is_localized() -> None:
    r = torch.randn(500, 2, 3, 4, generator=torch.Generator().manual_seed(1))
    covariance = LatentCovariance((2, 3, 4), False, WIDE)
    covariance.fit(r)
    moment = r.flatten(1).T @ r.flatten(1) / len(r)
    torch.testing.assert_close(
        row(covariance, 1, 1, 2).flatten(), moment[12 + 6], atol=5e-3, rtol=0
    )


@pytest.mark.parametrize("wraps", [True, False])
def test_the_wiener_filter_and_the_root_are_functions_of_the_same_covariance(wraps: bool) -> None:
    generator = torch.Generator().manual_seed(2)
    covariance = LatentCovariance((2, 6, 16), wraps)
    covariance.fit(correlated(400, generator))
    v = torch.randn(3, 2, 6, 16, generator=generator)
    for sigma in (0.3, 1.0, 5.0):
        # Σ = C σ² (C + σ²)⁻¹ = σ² times the Wiener filter
        twice = covariance.root(covariance.root_adjoint(v, sigma), sigma)
        wiener = sigma**2 * covariance.wiener(v, torch.full((3,), sigma))
        torch.testing.assert_close(twice, wiener, atol=1e-4 * sigma**2, rtol=1e-3)


@pytest.mark.parametrize("wraps", [True, False])
@pytest.mark.parametrize("lon", [16, 15])
def test_the_adjoint_of_the_root_is_its_adjoint(wraps: bool, lon: int) -> None:
    generator = torch.Generator().manual_seed(3)
    covariance = LatentCovariance((2, 6, lon), wraps)
    covariance.fit(torch.randn(400, 2, 6, lon, generator=generator).cumsum(2))
    u, v = torch.randn(2, 1, 2, 6, lon, generator=generator)
    left, right = (covariance.root(u, 1.0) * v).sum(), (u * covariance.root_adjoint(v, 1.0)).sum()
    torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-4)


def test_draws_of_the_root_have_the_covariance() -> None:
    generator = torch.Generator().manual_seed(4)
    covariance = LatentCovariance((2, 3, 8), True)
    covariance.fit(torch.randn(400, 2, 3, 8, generator=generator).cumsum(2))
    draws = covariance.root(torch.randn(20000, 2, 3, 8, generator=generator), 1e4)
    expected = row(covariance, 1, 1, 2)
    found = (draws * draws[:, 1:2, 1:2, 2:3]).mean(0)
    torch.testing.assert_close(found, expected, atol=0.05 * float(expected.max()), rtol=0)


@pytest.mark.parametrize("wraps", [True, False])
def test_the_variance_is_the_diagonal(wraps: bool) -> None:
    covariance = LatentCovariance((2, 6, 16), wraps)
    covariance.fit(correlated(400, torch.Generator().manual_seed(5)))
    found = covariance.variance().expand(covariance.shape)
    at = row(covariance, 1, 4, 3)[1, 4, 3]
    torch.testing.assert_close(found[1, 4, 3], at, rtol=2e-3, atol=1e-3)


def test_a_diagonal_covariance_has_the_same_roots_without_correlations() -> None:
    full = LatentCovariance((1, 2, 3), False, WIDE)
    variance = torch.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]])
    full.kernel.copy_(variance.flatten().diag().half())
    diagonal, v = DiagonalCovariance(variance), torch.randn(1, 1, 2, 3)
    twice = [c.root(c.root_adjoint(v, 0.7), 0.7) for c in (full, diagonal)]
    torch.testing.assert_close(twice[0], twice[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("wraps", [True, False])
def test_the_wiener_filter_is_its_own_derivative_in_both_modes(wraps: bool) -> None:
    generator = torch.Generator().manual_seed(4)
    covariance = LatentCovariance((2, 6, 16), wraps)
    covariance.fit(correlated(400, generator))
    u, v, w = torch.randn(3, 2, 2, 6, 16, generator=generator)
    filtered = lambda r: covariance.wiener(r, torch.tensor([0.5, 2.0]))
    torch.testing.assert_close(
        (filtered(u) * w).sum(), (u * filtered(w)).sum(), rtol=1e-4, atol=1e-3
    )
    torch.testing.assert_close(torch.func.jvp(filtered, (v,), (u,)), (filtered(v), filtered(u)))
    torch.testing.assert_close(torch.func.vjp(filtered, v)[1](w)[0], filtered(w))
    v.requires_grad_()
    (gradient,) = torch.autograd.grad(filtered(v.sin()), v, w)
    torch.testing.assert_close(gradient, (v.cos() * filtered(w)).detach(), rtol=1e-4, atol=1e-5)


def test_loading_another_state_forgets_the_eigenvectors() -> None:
    covariance, other = (LatentCovariance((1, 4, 8), True) for _ in range(2))
    v = torch.randn(1, 1, 4, 8)
    other.fit(3 * torch.randn(100, 1, 4, 8))
    before = covariance.root(v, 1.0)
    covariance.load_state_dict(other.state_dict())
    assert not torch.allclose(covariance.root(v, 1.0), before)


def test_gaspari_cohn_is_one_at_zero_smooth_and_zero_beyond_its_support() -> None:
    d = torch.linspace(0, 3, 301)
    f = gaspari_cohn(d, 1.0)
    assert f[0] == 1 and not f[d >= 2].any() and (f.diff() <= 1e-6).all()
    assert f.diff().abs().max() < 0.02
