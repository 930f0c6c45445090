import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from models.grid import LatLonGrid, gaussian_nodes


def equiangular(nlat: int, nlon: int) -> LatLonGrid:
    latitude = np.linspace(90, -90, nlat)
    return LatLonGrid(tuple(latitude.tolist()), tuple((np.arange(nlon) * 360 / nlon).tolist()))


EUROPE = LatLonGrid(
    tuple(np.arange(55, 29, -2.5).tolist()), tuple(np.arange(-15, 16, 2.5).tolist())
)


@given(nlat=st.integers(2, 200), nlon=st.integers(3, 400))
@settings(max_examples=25, deadline=None)
def test_area_weights_are_exact_fractions_of_the_sphere_with_poles(nlat: int, nlon: int) -> None:
    grid = equiangular(nlat, nlon)
    half = np.pi / (nlat - 1) / 2
    colatitude = np.arange(nlat) * 2 * half
    upper, lower = np.clip(colatitude - half, 0, np.pi), np.clip(colatitude + half, 0, np.pi)
    np.testing.assert_allclose(
        grid.area_fractions, (np.cos(upper) - np.cos(lower)) / 2, atol=1e-15
    )
    assert grid.cell_area_weights().mean().item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("grid", [EUROPE, LatLonGrid.gaussian(32, 64), equiangular(33, 64)])
def test_area_weights_have_mean_one(grid: LatLonGrid) -> None:
    weights = grid.cell_area_weights()
    assert weights.shape == (grid.shape[0],)
    assert weights.dtype == torch.float32
    assert weights.mean().item() == pytest.approx(1, abs=1e-6)
    assert (weights > 0).all()


def test_regional_area_is_the_belt_between_the_outer_edges() -> None:
    edges = np.sin(np.radians(np.arange(56.25, 28, -2.5)))
    expected = -np.diff(edges) / (edges[0] - edges[-1])
    np.testing.assert_allclose(EUROPE.area_fractions, expected, rtol=1e-12)


@pytest.mark.parametrize("nlat", [4, 32, 48, 96])
def test_gaussian_rows_have_the_weights_of_the_quadrature(nlat: int) -> None:
    grid = LatLonGrid.gaussian(nlat, 2 * nlat)
    weights = np.polynomial.legendre.leggauss(nlat)[1]
    np.testing.assert_allclose(grid.area_fractions, weights / 2, rtol=1e-12)
    rounded = tuple(round(value, 3) for value in reversed(grid.latitude))
    again = LatLonGrid(rounded, grid.longitude)
    np.testing.assert_allclose(again.area_fractions, weights / 2, rtol=1e-12)


def test_gaussian_weights_integrate_polynomials_exactly() -> None:
    grid = LatLonGrid.gaussian(8, 16)
    sine = np.sin(np.radians(grid.latitude))
    for power in range(16):
        exact = 0.0 if power % 2 else 1 / (power + 1)
        assert grid.area_fractions @ sine**power == pytest.approx(exact, abs=1e-14)


def test_gaussian_weights_are_near_the_areas_between_midpoints() -> None:
    latitude = gaussian_nodes(32)[0]
    edges = np.sin(np.radians(np.concatenate([[-90], (latitude[1:] + latitude[:-1]) / 2, [90]])))
    ratio = LatLonGrid.gaussian(32, 64).area_fractions / (np.diff(edges) / 2)
    assert np.abs(ratio - 1)[1:-1].max() < 0.01
    assert np.abs(ratio - 1).max() < 0.06


def test_global_grids_wrap_and_reach_the_poles() -> None:
    shifted = LatLonGrid((-87.1875, 0.0, 87.1875), tuple(np.arange(-180, 180, 5.625).tolist()))
    assert shifted.wraps
    for grid in (LatLonGrid.gaussian(32, 64), equiangular(121, 240)):
        assert grid.wraps
        assert grid.reaches_poles
    single = tuple(np.float32(np.arange(3600) / 10).astype(float).tolist())
    assert LatLonGrid((-45.0, 45.0), single).wraps


def test_regional_grids_do_not_wrap() -> None:
    assert not EUROPE.wraps
    assert not EUROPE.reaches_poles
    assert not LatLonGrid(EUROPE.latitude, tuple(np.arange(0, 355, 2.5).tolist())).wraps
    belt = LatLonGrid((-10.0, 0.0, 10.0), tuple(np.arange(0, 360, 10.0).tolist()))
    assert belt.wraps
    assert not belt.reaches_poles


def test_arctic_grid_reaches_one_pole_only() -> None:
    arctic = LatLonGrid((60.0, 70.0, 80.0), tuple(np.arange(0, 360, 10.0).tolist()))
    assert arctic.pole_at_end == (False, True)
    assert not arctic.reaches_poles
    assert arctic.contains(np.array([89.9, 59.0]), np.array([5.0, 5.0])).tolist() == [True, False]


def test_regional_grid_contains_its_own_points_in_any_turn_only() -> None:
    latitude = [55, 30, 42.1, 42.1, 42.1, 55.1, 29.9, 42, np.nan, 42]
    longitude = [-15, 15, 350.0, 375 - 360, 16, 0, 0, 180, 0, np.nan]
    inside = [True, True, True, True, False, False, False, False, False, False]
    assert EUROPE.contains(np.array(latitude), np.array(longitude)).tolist() == inside


def test_global_grid_contains_every_point() -> None:
    latitude, longitude = np.meshgrid([-90.0, -89.0, 0.0, 90.0], [-180, -0.1, 0, 359.999, 360])
    assert LatLonGrid.gaussian(32, 64).contains(latitude, longitude).all()
    assert not LatLonGrid.gaussian(32, 64).contains(np.array([90.5]), np.array([0.0])).any()


@pytest.mark.parametrize(
    ("latitude", "longitude", "message"),
    [
        ((-95.0, 0.0), (0.0, 1.0), "latitude -95 is beyond the poles, allowed -90 to 90"),
        ((0.0, 1.0, 0.5), (0.0, 1.0), "latitude must be strictly monotonic"),
        ((0.0, 1.0), (1.0, 0.0), "longitude must be strictly ascending"),
        ((0.0, 1.0), (0.0, 180.0, 360.0), "longitude 0 to 360 must span less than 360 degrees"),
        ((0.0,), (0.0, 1.0), "latitude has 1 values, at least 2 are needed"),
        ((0.0, float("nan")), (0.0, 1.0), "latitude has a value that is not finite: nan"),
    ],
)
def test_bad_axes_are_refused_in_one_line(
    latitude: tuple[float, ...], longitude: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ValueError, match="^" + message + "$"):
        LatLonGrid(latitude, longitude)


@pytest.mark.parametrize("names", [("latitude", "longitude"), ("lat", "lon")])
def test_grid_is_read_from_a_dataset_in_its_own_order(names: tuple[str, str]) -> None:
    axes = dict(zip(names, (EUROPE.latitude, EUROPE.longitude), strict=True))
    coordinates = {name: np.asarray(axis, np.float32) for name, axis in axes.items()}
    assert LatLonGrid.from_dataset(xr.Dataset(coords=coordinates)) == EUROPE


def test_dataset_without_coordinates_is_refused() -> None:
    with pytest.raises(ValueError, match="no coordinate latitude or lat; present: x"):
        LatLonGrid.from_dataset(xr.Dataset(coords={"x": [1.0, 2.0]}))
