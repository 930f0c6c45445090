"""How large departures are around an observation: what all stations show counts, what one shows does not."""

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from models.observations.quality.surroundings import size_of_departures

EVERY = 30


def stations(count: int, seed: int = 0) -> pd.DataFrame:
    """Return values of stations that are spread over the sphere, EVERY of each."""
    random = np.random.default_rng(seed)
    lat = np.degrees(np.arcsin(random.uniform(-1, 1, count)))
    lon, name = random.uniform(0, 360, count), [f"s{k}" for k in range(count)]
    own = pd.DataFrame({"lat": lat, "lon": lon, "station": name})
    return own.loc[own.index.repeat(EVERY)].reset_index(drop=True)


def size(table: pd.DataFrame, normal: NDArray[np.float64]) -> NDArray[np.float64]:
    return size_of_departures(table, normal, np.ones(len(table), bool))


def test_where_all_stations_are_far_from_the_background_departures_are_expected_to_be() -> None:
    table = stations(2000)
    south = (table["lat"] < -30).to_numpy()
    normal = np.random.default_rng(1).standard_normal(len(table)) * np.where(south, 3.0, 1.0)
    found = size(table, normal)
    inner = (table["lat"] < -50).to_numpy()
    assert found[inner].mean() == pytest.approx(3.0, rel=0.03)
    assert found[(table["lat"] > -10).to_numpy()].mean() == pytest.approx(1.0, abs=0.05)


def test_a_station_does_not_excuse_itself() -> None:
    table = stations(1000)
    normal = np.random.default_rng(1).standard_normal(len(table))
    wrong = (table["station"] == "s7").to_numpy()
    normal[wrong] += 12.0
    assert size(table, normal)[wrong].max() < 1.2


def test_with_few_stations_around_all_are_asked() -> None:
    near, far = stations(200), stations(1)
    near["lat"] = near["lat"].abs() / 3 + 30  # one station alone on its hemisphere
    table = pd.concat([near, far.assign(lat=-60.0, station="alone")], ignore_index=True)
    normal = 2.0 * np.random.default_rng(1).standard_normal(len(table))
    alone = (table["station"] == "alone").to_numpy()
    expected = np.median(np.abs(normal)) / 0.6745
    np.testing.assert_allclose(size(table, normal)[alone], expected)
    nothing = size_of_departures(table, normal, np.zeros(len(table), bool))
    np.testing.assert_array_equal(nothing, 1.0)


def test_small_departures_do_not_make_the_check_stricter() -> None:
    table = stations(500)
    normal = 0.2 * np.random.default_rng(1).standard_normal(len(table))
    np.testing.assert_array_equal(size(table, normal), 1.0)
