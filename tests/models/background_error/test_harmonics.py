import numpy as np
import pytest
import torch

from models.background_error.harmonics import HarmonicTransform, exact_truncation
from models.grid import LatLonGrid

GAUSSIAN = LatLonGrid.gaussian(8, 16)
REGULAR = LatLonGrid(tuple(np.linspace(90, -90, 13)), tuple(np.arange(16) * 22.5 + 5))


def transform(grid: LatLonGrid) -> HarmonicTransform:
    return HarmonicTransform(grid, dtype=torch.float64)


def draw(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def angles(grid: LatLonGrid) -> tuple[torch.Tensor, torch.Tensor]:
    latitude, longitude = torch.tensor(grid.latitude), torch.tensor(grid.longitude)
    return torch.deg2rad(latitude).double()[:, None], torch.deg2rad(longitude).double()


def test_the_embedded_grid_resolves_scalars_up_to_degree_31() -> None:
    assert exact_truncation(LatLonGrid.gaussian(32, 64)) == 31
    assert HarmonicTransform(LatLonGrid.gaussian(32, 64), 21).wavenumber.shape == (22**2,)


@pytest.mark.parametrize("grid", [GAUSSIAN, REGULAR])
def test_analysis_undoes_synthesis_up_to_the_largest_truncation(grid: LatLonGrid) -> None:
    t = transform(grid)
    c = draw(2, 3, (t.truncation + 1) ** 2)
    torch.testing.assert_close(t.analysis(t.synthesis(c)), c)


@pytest.mark.parametrize("grid", [GAUSSIAN, REGULAR])
def test_the_gradient_of_a_vector_component_is_known(grid: LatLonGrid) -> None:
    t, (phi, lam) = transform(grid), angles(grid)
    f = (torch.sin(phi) + torch.cos(phi) * torch.cos(lam))[None, None]
    east, north = t.gradient(t.analysis(f))
    torch.testing.assert_close(
        east[0, 0], -torch.sin(lam).expand_as(east[0, 0]), atol=1e-5, rtol=0
    )
    expected = torch.cos(phi) - torch.sin(phi) * torch.cos(lam)
    torch.testing.assert_close(north[0, 0], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("grid", [GAUSSIAN, REGULAR])
def test_the_adjoints_pass_the_dot_test(grid: LatLonGrid) -> None:
    t = transform(grid)
    c, x, y = draw(2, 1, (t.truncation + 1) ** 2), draw(2, 1, *grid.shape), draw(2, 1, *grid.shape)
    y = y.flip(0)
    torch.testing.assert_close((t.synthesis(c) * x).sum(), (c * t.synthesis_adjoint(x)).sum())
    torch.testing.assert_close((t.analysis(x) * c).sum(), (x * t.analysis_adjoint(c)).sum())
    east, north = t.gradient(c)
    both = (c * t.gradient_adjoint(x, y)).sum()
    torch.testing.assert_close((east * x + north * y).sum(), both)


def test_modes_of_a_degree_have_the_same_total_variance_everywhere() -> None:
    t = transform(GAUSSIAN)
    power = draw(t.orders) ** 2
    modes = torch.diag(power[t.wavenumber].sqrt())[:, None]
    explicit = (t.synthesis(modes) ** 2).sum(0)[0]
    torch.testing.assert_close(explicit, t.variance(power).expand_as(explicit))


def test_a_truncation_that_the_grid_does_not_resolve_is_refused() -> None:
    with pytest.raises(ValueError, match="truncation 8: the grid allows 1 to 7"):
        HarmonicTransform(GAUSSIAN, 8)
    with pytest.raises(ValueError, match="from pole to pole"):
        HarmonicTransform(LatLonGrid((30.0, 40.0, 50.0), (0.0, 10.0, 20.0)))
