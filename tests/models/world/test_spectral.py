import math

import numpy as np
import pytest
import torch
from torch import Tensor

from models.world.constants import EARTH
from models.world.spectral import GRIDS, SphericalTransform, legendre_functions, rotate

RADIUS = EARTH.radius


def transform(truncation: int = 21) -> SphericalTransform:
    return SphericalTransform(truncation, RADIUS, torch.float64)


def coefficients(t: SphericalTransform, channels: int = 3, seed: int = 0) -> Tensor:
    """Random coefficients of every harmonic inside the triangle."""
    generator = torch.Generator().manual_seed(seed)
    shape = (t.orders, 2, 2, channels, t.orders)
    f = torch.randn(shape, generator=generator, dtype=torch.float64)
    order, degree = torch.arange(t.orders), torch.arange(t.orders)
    f = f * (degree >= order[:, None])[:, None, None, None]
    f[0, 1] = 0
    return f


def grid(t: SphericalTransform) -> tuple[Tensor, Tensor]:
    longitude = torch.as_tensor(np.radians(t.longitude))[None, :]
    return torch.as_tensor(np.radians(t.latitude))[:, None], longitude


@pytest.mark.parametrize("truncation", [21, 31])
def test_analysis_inverts_synthesis(truncation: int) -> None:
    t = transform(truncation)
    f = coefficients(t)
    torch.testing.assert_close(t.analysis(t.synthesis(f)), f, rtol=0, atol=1e-12)


def test_quadrature_is_exact_for_products_of_two_fields() -> None:
    t = transform()
    x = t.synthesis(coefficients(t, 1, seed=1))
    fine = transform(63)
    padded = torch.zeros(64, 2, 2, 1, 64, dtype=torch.float64)
    padded[:22, ..., :22] = t.analysis(x)
    product = fine.analysis(fine.synthesis(padded) ** 2)[:22, ..., :22]
    torch.testing.assert_close(t.analysis(x * x), product, rtol=0, atol=1e-11)


def test_legendre_functions_are_orthonormal_and_have_closed_forms() -> None:
    mu, weights = np.polynomial.legendre.leggauss(32)
    legendre, derivative = legendre_functions(22, mu)
    for m in (0, 1, 7, 21):
        gram = (legendre[m] * weights) @ legendre[m].T
        expected = np.diag((np.arange(22) >= m).astype(float))
        np.testing.assert_allclose(gram, expected, atol=1e-13)
    cosine = np.sqrt(1 - mu**2)
    np.testing.assert_allclose(legendre[0, 2], math.sqrt(5 / 8) * (3 * mu**2 - 1), atol=1e-14)
    np.testing.assert_allclose(legendre[1, 1], -math.sqrt(3 / 4) * cosine, atol=1e-14)
    np.testing.assert_allclose(derivative[0, 2], cosine**2 * math.sqrt(5 / 8) * 6 * mu, atol=1e-13)


def test_synthesis_of_one_harmonic_is_the_harmonic() -> None:
    t = transform()
    latitude, longitude = grid(t)
    f = torch.zeros(22, 2, 1, 1, 22, dtype=torch.float64)
    f[1, 1, 0, 0, 1] = 1.0
    expected = -math.sqrt(3 / 4 / math.pi) * latitude.cos() * longitude.sin()
    torch.testing.assert_close(t.synthesis(f)[0, 0], expected, rtol=0, atol=1e-14)


def test_rotate_differentiates_in_longitude() -> None:
    t = transform()
    latitude, longitude = grid(t)
    x = (latitude.cos() ** 3 * torch.cos(3 * longitude + 0.4))[None, None]
    derivative = t.from_fourier(rotate(t.to_fourier(x)) * torch.arange(22.0).view(-1, 1, 1, 1, 1))
    expected = -3 * latitude.cos() ** 3 * torch.sin(3 * longitude + 0.4)
    torch.testing.assert_close(derivative[0, 0], expected, rtol=0, atol=1e-12)


def test_solid_body_rotation_has_closed_form_vorticity_and_no_divergence() -> None:
    t = transform()
    latitude, _ = grid(t)
    speed = 30.0
    zonal = (speed * latitude.cos() ** 2).expand(32, 64)[None, None]
    vorticity, divergence = t.curl_and_divergence(torch.cat([zonal, 0 * zonal], 1))
    expected = 2 * speed / RADIUS * latitude.sin().expand(32, 64)
    torch.testing.assert_close(t.synthesis(vorticity)[0, 0], expected, rtol=0, atol=1e-18)
    assert divergence.abs().max() < 1e-18


def test_divergence_of_a_gradient_is_the_laplacian_of_a_harmonic() -> None:
    t = transform()
    latitude, longitude = grid(t)
    potential = 1e6 * latitude.cos() ** 2 * torch.cos(2 * longitude)  # degree 2, order 2
    zonal = -2e6 / RADIUS * latitude.cos() ** 2 * torch.sin(2 * longitude)
    meridional = -2e6 / RADIUS * latitude.cos() ** 2 * latitude.sin() * torch.cos(2 * longitude)
    expected = -6 / RADIUS**2 * potential
    divergence = t.synthesis(t.divergence(zonal[None, None], meridional[None, None]))
    torch.testing.assert_close(divergence[0, 0], expected, rtol=0, atol=1e-18)
    vorticity, same = t.curl_and_divergence(torch.stack([zonal, meridional])[None])
    assert vorticity.abs().max() < 1e-18
    torch.testing.assert_close(t.synthesis(same), divergence, rtol=0, atol=1e-18)


def test_gauss_weights_integrate_the_sphere() -> None:
    t = transform()
    square = t.sine[:, 0] ** 2
    assert float(t.gauss_weights.sum()) == pytest.approx(1, abs=1e-14)
    assert float(t.gauss_weights @ square) == pytest.approx(1 / 3, abs=1e-14)


def test_unknown_truncation_is_refused_with_what_is_allowed() -> None:
    with pytest.raises(ValueError, match=r"truncation 22: allowed are \[21, 31, 42, 63\]"):
        SphericalTransform(22, RADIUS, torch.float64)
    assert GRIDS[21] == (64, 32)
