import pytest
import torch

from models.background_error.control_variables import WindVariables, wind_pairs
from models.background_error.harmonics import HarmonicTransform
from models.grid import LatLonGrid
from models.state import StateSpec, Variable

GRID = LatLonGrid.gaussian(8, 16)


@pytest.fixture
def variables() -> WindVariables:
    """Fields u, t, v."""
    return WindVariables(HarmonicTransform(GRID, dtype=torch.float64), [0], [2])


def draw(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 3, 8, 16, generator=generator, dtype=torch.float64)


def test_solid_rotation_has_the_sine_of_latitude_as_streamfunction(
    variables: WindVariables,
) -> None:
    phi = torch.deg2rad(torch.tensor(GRID.latitude)).double()[:, None].expand(8, 16)
    x = torch.stack([5 * torch.cos(phi), phi, torch.zeros_like(phi)])[None]
    p = variables.potentials(x)
    torch.testing.assert_close(p[0, 0], -5 * torch.sin(phi))
    assert p[0, 2].abs().max() < 1e-12 and torch.equal(p[0, 1], x[0, 1])


def test_potentials_and_wind_are_inverse_up_to_the_means(variables: WindVariables) -> None:
    transform = variables.transform
    p = transform.synthesis(transform.analysis(draw(0)))
    back = variables.potentials(variables.wind(p))
    mean = (transform.weights * p).sum((2, 3), keepdim=True) / (4 * torch.pi)
    mean[:, 1] = 0
    torch.testing.assert_close(back, p - mean)


def test_the_wind_of_a_streamfunction_has_no_divergence(variables: WindVariables) -> None:
    p = draw(1)
    p[:, 2] = 0
    p = variables.potentials(variables.wind(p))
    assert p[:, 2].abs().max() < 1e-12 < p[:, 0].abs().max()


def test_the_adjoint_passes_the_dot_test(variables: WindVariables) -> None:
    p, x = draw(2), draw(3)
    both = (variables.wind(p) * x).sum(), (p * variables.wind_adjoint(x)).sum()
    torch.testing.assert_close(*both)


def test_winds_are_paired_level_by_level() -> None:
    upper = [Variable("u", "eastward_wind", "m s-1", (500.0, 850.0))]
    rest = [Variable("t2m", "air_temperature", "K"), Variable("u10", "eastward_wind", "m s-1")]
    north = [Variable("v", "northward_wind", "m s-1", (500.0, 850.0))]
    alone = StateSpec((*upper, *rest, *north), GRID, "pressure")
    with pytest.raises(ValueError, match="have other levels"):
        wind_pairs(alone)
    last = Variable("v10", "northward_wind", "m s-1")
    assert wind_pairs(StateSpec((*upper, *rest, *north, last), GRID, "pressure")) == (
        [0, 1, 3],
        [4, 5, 6],
    )
