import pytest
import torch

from models.background_error.harmonics import HarmonicTransform
from models.background_error.spectral_covariance import SpectralCovariance, latitude_bands
from models.grid import LatLonGrid

GRID = LatLonGrid.gaussian(12, 24)
LATITUDE = torch.tensor(GRID.latitude)
FIELDS = 2


def covariance(bands: int = 1) -> SpectralCovariance:
    transform = HarmonicTransform(GRID, dtype=torch.float64)
    return SpectralCovariance(transform, FIELDS, latitude_bands(LATITUDE, bands))


def correlated(count: int, seed: int) -> torch.Tensor:
    """The fields agree in the long waves and are independent in the short ones."""
    transform = covariance().transform
    generator = torch.Generator().manual_seed(seed)
    shape = (count, FIELDS, len(transform.wavenumber))
    c = torch.randn(shape, generator=generator, dtype=torch.float64)
    c[:, 1] = torch.where(transform.wavenumber < 4, c[:, 0], c[:, 1])
    return transform.synthesis(c / (1 + transform.wavenumber))


def fitted(samples: torch.Tensor, bands: int = 1) -> SpectralCovariance:
    c = covariance(bands)
    c.fit(c.moments(samples), len(samples))
    return c


def test_the_spectrum_of_the_samples_is_found() -> None:
    c = fitted(correlated(3000, 0))
    n = torch.arange(12)
    for field in range(FIELDS):
        power = c.spectrum[0, :, field, field]
        torch.testing.assert_close(power, (1 + n.float()) ** -2, rtol=0.1, atol=0)
    cross = c.spectrum[0, :, 0, 1] * (1 + n) ** 2
    torch.testing.assert_close(cross, (n < 4).float(), atol=0.05, rtol=0)


def test_the_root_times_its_adjoint_is_the_covariance_that_was_fitted() -> None:
    c = fitted(correlated(50, 1))
    generator = torch.Generator().manual_seed(2)
    v = torch.randn(1, *c.shape, generator=generator, dtype=torch.float64)
    x = torch.randn(1, FIELDS, *GRID.shape, generator=generator, dtype=torch.float64)
    torch.testing.assert_close((c.root(v) * x).sum(), (v * c.root_adjoint(x)).sum())
    modes = c.transform.synthesis_adjoint(x)
    matrices = c.spectrum[0].double()[c.transform.wavenumber]
    expected = c.transform.synthesis(torch.einsum("mfg,bgm->bfm", matrices, modes))
    torch.testing.assert_close(c.root(c.root_adjoint(x)), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("bands", [1, 3])
def test_the_variance_is_the_diagonal(bands: int) -> None:
    c = fitted(correlated(200, 3), bands)
    row, column = 4, 7
    e = torch.zeros(FIELDS, FIELDS, *GRID.shape, dtype=torch.float64)
    e[range(FIELDS), range(FIELDS), row, column] = 1
    diagonal = c.root(c.root_adjoint(e))[range(FIELDS), range(FIELDS), row, column]
    torch.testing.assert_close(c.variance()[:, row, 0].double(), diagonal, atol=1e-6, rtol=1e-5)


def test_bands_of_the_same_errors_are_alike_and_bands_of_others_are_not() -> None:
    samples = correlated(3000, 4)
    alike = fitted(samples, 3)
    whole = fitted(samples).spectrum[0]
    for spectrum in alike.spectrum:
        torch.testing.assert_close(spectrum, whole, atol=0.06, rtol=0.1)
    north = torch.sigmoid(LATITUDE / 15).double()[:, None]
    short = correlated(3000, 5) - samples.mean((2, 3), keepdim=True)
    c = fitted(torch.cat([samples[:, :1] * north, samples[:, :1] * (1 - north)], 1) + 0 * short, 3)
    assert c.spectrum[2, 1, 0, 0] > 5 * c.spectrum[0, 1, 0, 0]
    assert c.spectrum[0, 1, 1, 1] > 5 * c.spectrum[2, 1, 1, 1]


def test_the_squares_of_the_bands_add_up_to_one() -> None:
    for count in (1, 2, 3, 5):
        bands = latitude_bands(LATITUDE, count)
        assert len(bands) == count and (bands >= 0).all()
        torch.testing.assert_close((bands**2).sum(0), torch.ones(12))


def test_few_samples_are_trusted_less() -> None:
    sample = correlated(1, 6)
    c = fitted(sample)
    first = c.spectrum[0, 0]  # one sample of one mode: correlation one, trusted by a third
    correlation = first[0, 1] / (first[0, 0] * first[1, 1]).sqrt()
    assert correlation == pytest.approx(1 / 3, rel=1e-5)
    assert (torch.linalg.eigvalsh(c.spectrum) > -1e-6).all()


def test_loading_another_state_forgets_the_roots() -> None:
    first, second = fitted(correlated(50, 7)), covariance()
    v = torch.randn(1, *first.shape, dtype=torch.float64)
    before = second.root(v)
    second.load_state_dict(first.state_dict())
    assert not torch.allclose(second.root(v), before)
    assert torch.equal(second.root(v), first.root(v))
