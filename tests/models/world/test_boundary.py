import numpy as np
import pytest
import torch

from models.world.boundary import land_fraction, spectral_orography
from models.world.constants import EARTH
from models.world.spectral import SphericalTransform


def at(field: np.ndarray, latitude: float, longitude: float) -> float:
    t = SphericalTransform(21, EARTH.radius)
    row = np.abs(t.latitude - latitude).argmin()
    return float(field[row, np.abs(t.longitude - longitude).argmin()])


def test_land_is_where_the_continents_are() -> None:
    t = SphericalTransform(21, EARTH.radius)
    land = land_fraction(t.latitude, t.longitude)
    assert land.shape == (32, 64)
    assert ((land >= 0) & (land <= 1)).all()
    for latitude, longitude in ((25, 10), (55, 90), (40, 260), (-10, 305), (-25, 135), (-80, 60)):
        assert at(land, latitude, longitude) > 0.9
    for latitude, longitude in ((0, 200), (40, 320), (-30, 80), (-55, 180), (85, 0)):
        assert at(land, latitude, longitude) < 0.1
    share = float((land.mean(1) * t.gauss_weights.numpy()).sum())
    assert share == pytest.approx(0.29, abs=0.03)


def test_land_is_periodic_in_longitude() -> None:
    latitude = np.array([10.0, 50.0])
    near = land_fraction(latitude, np.array([0.0, 359.999]))
    np.testing.assert_allclose(near[:, 0], near[:, 1], atol=1e-3)


def test_highest_ground_is_tibet_and_the_sea_is_nearly_flat() -> None:
    t = SphericalTransform(21, EARTH.radius, torch.float64)
    orography = spectral_orography()
    assert orography.shape == (22, 2, 1, 1, 22)
    altitude = t.synthesis(orography)[0, 0].numpy()
    row, column = np.unravel_index(altitude.argmax(), altitude.shape)
    assert t.latitude[row] == pytest.approx(33, abs=6)
    assert t.longitude[column] == pytest.approx(88, abs=6)
    assert 3000 < altitude.max() < 5500
    assert abs(at(altitude, 0, 200)) < 150  # Lanczos factors leave no Gibbs waves
