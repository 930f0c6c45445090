import numpy as np
import pytest

from models.grid import LatLonGrid
from models.verification.measures import (
    anomaly_correlation,
    area_mean,
    chi_square,
    spread,
    spread_skill,
)

GRID = LatLonGrid.gaussian(16, 32)
AREA = GRID.area_fractions * 16
SINE = np.sin(np.radians(np.array(GRID.latitude)))[:, None] * np.ones(32)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def test_area_mean_is_the_integral_over_the_sphere() -> None:
    assert area_mean(SINE**2, AREA) == pytest.approx(1 / 3, rel=1e-12)
    assert area_mean(np.full((16, 32), 7.0), AREA * 5) == pytest.approx(7, rel=1e-12)
    assert area_mean(normal(3, 2, 16, 32), AREA).shape == (3, 2)


def test_correlation_of_equal_anomalies_is_one_and_of_opposite_minus_one() -> None:
    anomaly = normal(4, 16, 32)
    np.testing.assert_allclose(anomaly_correlation(anomaly, 3 * anomaly, AREA), 1, rtol=1e-12)
    np.testing.assert_allclose(anomaly_correlation(anomaly, -anomaly, AREA), -1, rtol=1e-12)


def test_correlation_of_a_mixture_is_the_cosine_of_its_angle() -> None:
    """With orthogonal anomalies e, o the correlation of e and cos(a) e + sin(a) o is cos(a)."""
    longitude = np.radians(np.array(GRID.longitude))
    e, o = (wave * np.ones((16, 32)) for wave in (np.cos(longitude), np.sin(longitude)))
    for angle in (0.0, 0.7, np.pi / 2, 2.0):
        mixture = np.cos(angle) * e + np.sin(angle) * o
        assert anomaly_correlation(e, mixture, AREA) == pytest.approx(np.cos(angle), abs=1e-12)


def test_correlation_weights_rows_by_their_area() -> None:
    truth, forecast = np.ones((16, 32)), np.ones((16, 32))
    forecast[0] = -1
    expected = 1 - 2 * AREA[0] / 16
    assert anomaly_correlation(forecast, truth, AREA) == pytest.approx(expected, rel=1e-12)


def test_correlation_without_anomaly_is_undefined() -> None:
    assert np.isnan(anomaly_correlation(np.zeros((16, 32)), SINE, AREA))


def test_spread_is_the_root_of_the_mean_variance() -> None:
    x = normal(5, 1, 1, 1) * np.abs(SINE)
    expected = np.sqrt(normal(5).var(ddof=1) / 3)
    np.testing.assert_allclose(spread(x, AREA), [expected], rtol=1e-12)


@pytest.mark.parametrize("members", [2, 5, 20])
def test_spread_equals_skill_if_truth_and_members_are_exchangeable(members: int) -> None:
    flow, draws = normal(400, 16, 32, seed=1), normal(members + 1, 400, 16, 32, seed=2)
    x, truth = flow + draws[:-1], flow + draws[-1]
    mean_square = area_mean((x.mean(0) - truth) ** 2, AREA).mean(keepdims=True)
    variance = (spread(x, AREA) ** 2).mean(keepdims=True)
    ratio = spread_skill(np.sqrt(variance), np.sqrt(mean_square), members)
    assert ratio == pytest.approx(1, abs=0.01)


def test_too_small_a_spread_is_found() -> None:
    x, truth = 0.5 * normal(10, 400, 16, 32), normal(400, 16, 32, seed=1)
    rmse = np.sqrt(area_mean((x.mean(0) - truth) ** 2, AREA))
    ratio = spread_skill(spread(x, AREA), rmse, 10).mean()
    assert ratio == pytest.approx(np.sqrt(1.1 * 0.25 / 1.025), abs=0.005)


def test_chi_square_is_one_for_consistent_departures() -> None:
    count = 40_000
    error, background = np.linspace(0.1, 2, count), np.linspace(3, 0, count)
    departure = np.hypot(error, background) * normal(count)
    mean = chi_square(departure, error, background).mean()
    assert mean == pytest.approx(1, abs=5 * np.sqrt(2 / count))
    assert chi_square(2 * departure, error, background).mean() == pytest.approx(4 * mean)
