import numpy as np
import pytest
import torch

from models.background_error.covariance import BackgroundCovariance
from models.grid import LatLonGrid
from models.state import StateSpec, Variable

U, V, SP = 1, 3, 5  # of the lower level


def response(covariance: BackgroundCovariance, field: int, row: int, column: int) -> torch.Tensor:
    """Return B e for a unit vector e: the increment of a single observation, up to a factor."""
    e = torch.zeros(1, covariance.std.shape[0], *covariance.transform.grid)
    e[0, field, row, column] = 1
    return covariance.root(covariance.root_adjoint(e))[0]


def test_the_adjoint_passes_the_dot_test(fitted: BackgroundCovariance, spec: StateSpec) -> None:
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(2, *fitted.shape, generator=generator)
    x = torch.randn(2, *spec.shape, generator=generator)
    left, right = (fitted.root(v) * x).sum(), (v * fitted.root_adjoint(x)).sum()
    torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-3)


def test_draws_have_the_covariance_of_the_root(
    fitted: BackgroundCovariance, spec: StateSpec
) -> None:
    generators = [torch.Generator().manual_seed(k) for k in range(4000)]
    draws = fitted.sample(generators)
    column = response(fitted, SP, 9, 5)
    sampled = (draws * draws[:, SP, 9, 5][:, None, None, None]).mean(0)
    noise = (draws.var(0) * column[SP, 9, 5] / len(draws)).sqrt()
    assert ((sampled - column) / noise).abs().mean() < 1.0
    assert ((sampled - column) / noise).abs().max() < 6.0
    again = fitted.sample([torch.Generator().manual_seed(0)])
    torch.testing.assert_close(again[0], draws[0])


def test_the_variance_of_the_errors_is_kept_at_each_latitude(
    fitted: BackgroundCovariance, errors: torch.Tensor
) -> None:
    sampled = (errors**2).mean((0, 3))
    torch.testing.assert_close(fitted.error_variance[..., 0], sampled)
    for row in (0, 3, 6, 11):
        for field in (0, V, 4, SP):
            implied = response(fitted, field, row, 8)[field, row, 8]
            assert implied == pytest.approx(float(sampled[field, row]), rel=0.15), (field, row)


def test_the_correlations_of_the_errors_are_kept(
    fitted: BackgroundCovariance, errors: torch.Tensor
) -> None:
    column = response(fitted, SP, 9, 8)
    sampled = (errors * errors[:, SP, 9, 8][:, None, None, None]).mean(0)
    scale = (errors**2).mean((0, 3), keepdim=True)[0].sqrt()
    difference = (column - sampled) / scale / scale[SP, 9]
    assert difference.abs().max() < 0.12  # sampling noise 1/√3000 = 0.02, four of them 0.08
    largest = (sampled / scale / scale[SP, 9]).flatten(1).abs().max(1).values
    assert largest[V] > 0.25 and largest[SP] > 0.9  # so there is something to keep


@pytest.mark.parametrize(("row", "sign"), [(9, 1.0), (2, -1.0)])
def test_the_wind_around_a_low_is_cyclonic_in_both_hemispheres(
    fitted: BackgroundCovariance, row: int, sign: float
) -> None:
    increment = -response(fitted, SP, row, 8)
    east, west = increment[V, row, 9:11], increment[V, row, 6:8]
    assert (sign * east > 0).all() and (sign * west < 0).all()
    assert increment[SP, row, 8] < 0
    # at the equator the mass tells nothing of the wind
    middle = -response(fitted, SP, 6, 8)
    assert middle[V, 6].abs().max() < 0.5 * increment[V, row].abs().max()


def test_the_covariance_is_the_same_at_all_longitudes(fitted: BackgroundCovariance) -> None:
    first, second = response(fitted, U, 8, 2), response(fitted, U, 8, 13)
    torch.testing.assert_close(first.roll(11, -1), second, atol=1e-5, rtol=1e-4)


def test_humidity_does_not_follow_the_wind(fitted: BackgroundCovariance) -> None:
    assert 4 not in fitted.balance.balanced and fitted.balance.balanced == [2, 3, 5]


@pytest.fixture
def region() -> tuple[BackgroundCovariance, torch.Tensor]:
    """Two fields on a region, whose errors are larger in the south."""
    grid = LatLonGrid(tuple(np.linspace(60, 35, 11)), tuple(np.linspace(0, 30, 13)))
    variables = (
        Variable("z", "geopotential", "m2 s-2", (500.0,)),
        Variable("u", "eastward_wind", "m s-1", (500.0,)),
    )
    covariance = BackgroundCovariance(StateSpec(variables, grid, "pressure"), torch.ones(2))
    generator = torch.Generator().manual_seed(0)
    c = torch.randn(2000, 2, 143, generator=generator)
    x = covariance.transform.synthesis(
        c * torch.exp(-((covariance.transform.wavenumber / 3.0) ** 2))
    )
    x = x * torch.linspace(0.5, 2, 11)[:, None]
    x[:, 1] = 0.5 * x[:, 0] + x[:, 1]
    covariance.fit(lambda: x.split(400))
    return covariance, x


def test_a_region_does_not_wrap_and_has_the_variance_of_each_place(
    region: tuple[BackgroundCovariance, torch.Tensor],
) -> None:
    covariance, x = region
    column = response(covariance, 0, 5, 0)
    assert column[0, 5, 12].abs() < 0.1 * column[0, 5, 0] < 0.2 * column[0, 5, 1]
    for place in ((0, 0), (5, 6), (10, 12)):
        implied = response(covariance, 0, *place)[0, *place]
        assert implied == pytest.approx(float((x[:, 0, *place] ** 2).mean()), rel=0.2)
    cross = response(covariance, 0, 5, 6)[1, 5, 6]
    assert cross == pytest.approx(float((x[:, 0, 5, 6] * x[:, 1, 5, 6]).mean()), rel=0.2)
    assert covariance.wind is None


def test_the_state_dict_is_all_that_is_fitted(
    fitted: BackgroundCovariance, spec: StateSpec
) -> None:
    other = BackgroundCovariance(spec, torch.ones(spec.n_fields))
    other.load_state_dict(fitted.state_dict())
    v = torch.randn(1, *fitted.shape)
    assert torch.equal(other.root(v), fitted.root(v))


def test_the_embedded_world_needs_less_than_a_megabyte() -> None:
    from models.state import embedded_spec

    spec = embedded_spec()
    covariance = BackgroundCovariance(spec, torch.ones(33), 21, bands=3)
    sizes = [t.numel() * t.element_size() for t in covariance.state_dict().values()]
    assert sum(sizes) < 1e6


def test_samples_that_say_nothing_are_refused(spec: StateSpec) -> None:
    covariance = BackgroundCovariance(spec, torch.ones(spec.n_fields))
    with pytest.raises(ValueError, match="no samples"):
        covariance.fit(list)
    with pytest.raises(ValueError, match="does not vary"):
        covariance.fit(lambda: [torch.zeros(4, *spec.shape)])
