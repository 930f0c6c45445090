import pytest
import torch

from models.covariance import LatentCovariance, Localization
from models.separable_covariance import SeparableCovariance

WIDE = Localization(zonal=100.0, meridional=100.0)
NEAR = Localization(2.0, 2.0)
SHAPE = (3, 4, 6)
Samples = torch.Tensor


def samples(count: int, seed: int = 0) -> Samples:
    """Channels that are mixtures of fields with correlation lengths of their own."""
    generator = torch.Generator().manual_seed(seed)
    white = torch.randn(count, *SHAPE, generator=generator)
    smooth = white + 0.8 * white.roll(1, -1) + 0.5 * white.roll(1, -2)
    parts = torch.stack([white[:, 0], 2 * smooth[:, 1], 0.5 * smooth[:, 2].roll(2, -1)], 1)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(9)))[0]
    return torch.einsum("ck,bkji->bcji", turn, parts)


def dense(covariance: SeparableCovariance) -> torch.Tensor:
    """C from its definition: V, and the kernels of the turned channels written out."""
    channels, lat, lon = covariance.shape
    kernel, v = covariance.kernel.float(), covariance.rotation
    reach = covariance.localization.meridional_lags
    turned = torch.zeros(channels, lat, lon, lat, lon)
    for k in range(channels):
        for j in range(lat):
            for i in range(lon):
                for other in range(lat):
                    for east in range(lon):
                        if not covariance.wraps:
                            value = kernel[k, j * lon + i, other * lon + east]
                        else:
                            # K[Δ, j, d] is between (j, i + Δ) and (j + d, i)
                            lag, pair = (i - east) % lon, (j, other)
                            if lag > lon // 2:
                                lag, pair = lon - lag, (other, j)
                            d = pair[1] - pair[0]
                            if lag >= len(kernel) or abs(d) > reach:
                                continue
                            value = kernel[lag, pair[0], d + reach, k]
                        turned[k, j, i, other, east] = value
    full = torch.einsum("ck,kjilm,dk->cjidlm", v, turned, v)
    size = channels * lat * lon
    return full.reshape(size, size)


def fitted(wraps: bool, localization: Localization = NEAR) -> SeparableCovariance:
    covariance = SeparableCovariance(SHAPE, wraps, localization)
    covariance.fit(samples(500))
    return covariance


@pytest.mark.parametrize("wraps", [True, False])
@pytest.mark.parametrize("sigma", [0.3, 1.0, 1e4])
def test_root_and_filter_are_those_of_the_dense_matrix(wraps: bool, sigma: float) -> None:
    # A half-width of 1.4 keeps the zonal lags below half of a circle of 6 cells.
    covariance = fitted(wraps, Localization(1.4, 1.4))
    matrix = dense(covariance).double()
    matrix = 0.5 * (matrix + matrix.T)
    values, vectors = torch.linalg.eigh(matrix)
    matrix = vectors @ torch.diag(values.clamp(min=1e-6)) @ vectors.T
    gain = torch.linalg.solve(matrix + sigma**2 * torch.eye(len(matrix)).double(), matrix)
    v = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(1))
    flat = v.flatten(1).double()
    found = covariance.wiener(v, torch.full((4,), sigma)).flatten(1).double()
    scale = float((flat @ gain).abs().max())
    torch.testing.assert_close(found, flat @ gain, atol=3e-4 * scale, rtol=0)
    twice = covariance.root(covariance.root_adjoint(v, sigma), sigma).flatten(1).double()
    expected = flat @ (sigma**2 * gain)
    torch.testing.assert_close(twice, expected, atol=2e-3 * float(expected.abs().max()), rtol=0)


@pytest.mark.parametrize("wraps", [True, False])
def test_the_adjoint_of_the_root_is_its_adjoint(wraps: bool) -> None:
    covariance = fitted(wraps)
    u, v = torch.randn(2, 2, *SHAPE, generator=torch.Generator().manual_seed(2))
    left, right = (covariance.root(u, 1.0) * v).sum(), (u * covariance.root_adjoint(v, 1.0)).sum()
    torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("wraps", [True, False])
def test_the_variance_is_the_diagonal(wraps: bool) -> None:
    covariance = fitted(wraps, Localization(1.4, 1.4))
    found = covariance.variance().expand(SHAPE).flatten()
    torch.testing.assert_close(found, dense(covariance).diagonal(), rtol=1e-3, atol=1e-4)


def test_it_finds_the_mean_covariance_of_channels_that_are_turned_fields() -> None:
    separable = fitted(False, WIDE)
    found, r = dense(separable), samples(20_000, 1).flatten(1)
    moment = samples(500).flatten(1).T @ samples(500).flatten(1) / 500
    # Between turned channels, uncorrelated in truth, it leaves out the sample's noise.
    truth = r.T @ r / len(r)
    assert (found - truth).square().mean() < 0.8 * (moment - truth).square().mean()


def test_with_one_channel_it_is_the_full_covariance() -> None:
    r = samples(300)[:, :1]
    pair = SeparableCovariance((1, 4, 6), True), LatentCovariance((1, 4, 6), True)
    v = torch.randn(2, 1, 4, 6, generator=torch.Generator().manual_seed(3))
    for covariance in pair:
        covariance.fit(r)
    apply = [c.root(c.root_adjoint(v, 0.7), 0.7) for c in pair]
    torch.testing.assert_close(*apply, rtol=2e-3, atol=2e-3)


def test_the_published_size_takes_megabytes_and_not_gigabytes() -> None:
    covariance = SeparableCovariance((69, 32, 64), True)
    values, vectors = covariance.eigen
    assert values.numel() == 69 * 32 * 33
    assert covariance.kernel.numel() * 2 + vectors.numel() * 8 < 30e6
