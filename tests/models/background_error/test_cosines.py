import numpy as np
import torch

from models.background_error.cosines import CosineTransform
from models.grid import LatLonGrid

GRID = LatLonGrid(tuple(np.arange(35.0, 65.0, 5.0)), tuple(np.arange(0.0, 40.0, 5.0)))


def transform(truncation: int | None = None) -> CosineTransform:
    return CosineTransform(GRID, truncation, torch.float64)


def test_the_modes_are_orthonormal_and_ordered_by_wavenumber() -> None:
    t = transform()
    modes = t.synthesis(torch.eye(48, dtype=torch.float64)[:, None])[:, 0].flatten(1)
    torch.testing.assert_close(modes @ modes.T, torch.eye(48, dtype=torch.float64))
    assert (t.wavenumber.diff() >= 0).all() and t.wavenumber[0] == 0
    torch.testing.assert_close(modes[0], torch.full((48,), 48**-0.5, dtype=torch.float64))


def test_analysis_undoes_synthesis_and_a_truncation_keeps_the_longest_waves() -> None:
    t, x = transform(), torch.randn(2, 3, 6, 8, dtype=torch.float64)
    torch.testing.assert_close(t.synthesis(t.analysis(x)), x)
    coarse = transform(3)
    assert 0 < len(coarse.wavenumber) < 48 and coarse.wavenumber.max() == coarse.truncation <= 3
    torch.testing.assert_close(coarse.analysis(x), t.analysis(x)[..., : len(coarse.wavenumber)])


def test_waves_of_the_same_length_on_the_sphere_have_the_same_wavenumber() -> None:
    # the sides are 30° and 40° cos φ ≈ 26.7°: about equal
    t = transform()
    number = torch.zeros(48, dtype=torch.int64).index_copy(0, t.place, t.wavenumber).view(6, 8)
    assert number[:, 0].tolist() == [0, 1, 2, 3, 4, 4] and number[0].tolist() == list(range(8))


def test_the_variance_at_a_point_is_the_sum_over_the_modes() -> None:
    t = transform(4)
    power = torch.rand(5, dtype=torch.float64)
    modes = torch.diag(power[t.wavenumber].sqrt())[:, None]
    torch.testing.assert_close((t.synthesis(modes) ** 2).sum(0)[0], t.variance(power))


def test_the_ends_of_a_region_are_far_apart() -> None:
    t = transform()
    power = torch.exp(-((torch.arange(t.truncation + 1) / 3.0) ** 2)).double()
    e = torch.zeros(1, 1, 6, 8, dtype=torch.float64)
    e[..., 3, 0] = 1
    response = t.synthesis(power[t.wavenumber] * t.synthesis_adjoint(e))[0, 0]
    assert response[3, 7].abs() < 0.05 * response[3, 0] < 0.1 * response[3, 1]
