"""Departures judged by their own deviation, by the other wind component, and by their neighbors."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.observations.quality.buddies import BuddySettings, Places, buddy_statistic, judge
from models.observations.quality.departures import far_from, without_partner
from tests.quality_tables import everything, rows


@given(st.floats(0.1, 10), st.floats(0.1, 10), st.floats(1, 10))
def test_departures_are_measured_in_their_own_deviation(o: float, b: float, k: float) -> None:
    limit = k * np.hypot(o, b)
    values = np.array([0.999, -0.999, 1.001, -1.001, np.nan]) * limit
    found = far_from(values, np.full(5, o), np.full(5, b), k)
    assert found.tolist() == [False, False, True, True, False]


def test_a_component_of_the_wind_goes_with_the_other() -> None:
    table = rows(6, variable=["u", "v", "u", "v", "t", "v"], lat=0.0, lon=0.0)
    table["station"] = ["a", "a", "b", "b", "a", "c"]
    bad = np.array([True, False, False, False, False, False])
    assert without_partner(table, ~bad, bad).tolist() == [False, True, False, False, False, False]


def two(
    distance: float, departures: list[float], stations: list[str]
) -> tuple[pd.DataFrame, np.ndarray]:
    degrees = np.degrees(distance / 6371.0)
    lon = [0.0] + [degrees] * (len(stations) - 1)
    table = rows(len(stations), lat=0.0, lon=lon, station=stations, error=0.5)
    return table, np.array(departures)


@given(st.floats(10.0, 390.0), st.floats(-9, 9), st.floats(-9, 9))
def test_two_departures_are_judged_by_their_joint_normal_distribution(
    distance: float, first: float, second: float
) -> None:
    # given δ_2, δ_1 is normal: mean ρ δ_2 / (1 + r), variance 1 + r - ρ² / (1 + r)
    rho, r = np.exp(-0.5 * (2 * np.sin(distance / 6371 / 2) * 6371 / 400) ** 2), 0.25
    mean, std = rho * second / (1 + r), np.sqrt(1 + r - rho**2 / (1 + r))
    options = BuddySettings(length=400.0, least=1)
    table, departure = two(distance, [first, second], ["a", "b"])
    places = Places.of(table, options.length)
    found, enough = buddy_statistic(places, departure, np.full(2, r), everything(2), options)
    assert enough.all()
    assert found[0] == pytest.approx(abs(first - mean) / std, rel=1e-6, abs=1e-9)


def test_neighbors_at_the_same_place_speak_together() -> None:
    # ten exact copies of the truth's departure confirm a storm that the background missed
    table, departure = two(50.0, [6.0, *[5.8] * 10], ["x", *[f"s{i}" for i in range(10)]])
    found = judge(table, everything(11), departure, np.ones(11), BuddySettings())
    assert not found.far.any() and found.near.all()
    departure[0] = -1.0  # harmless for the background, but not among these
    found = judge(table, everything(11), departure, np.ones(11), BuddySettings())
    assert found.far.tolist() == [True] + [False] * 10


def test_one_gross_error_does_not_take_its_neighbors_along() -> None:
    table, departure = two(50.0, [60.0, *[0.3] * 10], ["x", *[f"s{i}" for i in range(10)]])
    found = judge(table, everything(11), departure, np.ones(11), BuddySettings())
    assert found.far.tolist() == [True] + [False] * 10


def test_a_station_is_no_witness_for_itself_and_other_layers_are_none() -> None:
    table, departure = two(10.0, [9.0, *[0.0] * 4], ["x"] * 5)
    assert not judge(table, everything(5), departure, np.ones(5), BuddySettings()).far.any()
    table, departure = two(10.0, [9.0, *[0.0] * 4], list("abcde"))
    table.loc[0, "pres"] = 2e4
    found = judge(table, everything(5), departure, np.ones(5), BuddySettings())
    assert not found.far.any() and found.near.tolist() == [False] + [True] * 4


def test_false_alarms_of_the_buddy_check_are_those_of_a_normal_distribution() -> None:
    random = np.random.default_rng(0)
    count, length = 4000, 400.0
    table = rows(count, lat=random.uniform(40, 60, count), lon=random.uniform(0, 30, count))
    north, east = np.radians(table["lat"].to_numpy()), np.radians(table["lon"].to_numpy())
    place = np.stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)])
    waves = random.standard_normal((500, 3)) * 6371.0 / length
    phase = random.uniform(0, 2 * np.pi, 500)
    field = np.sqrt(2 / 500) * np.cos(waves @ place + phase[:, None]).sum(0)
    departure = field + 0.5 * random.standard_normal(count)
    table["error"] = 0.5
    found = judge(table, everything(count), departure, np.ones(count), BuddySettings(factor=3.0))
    assert found.far.mean() < 0.006, found.far.mean()  # 0.27 % of a normal distribution
    planted = random.choice(count, 100, replace=False)
    departure[planted] += np.where(random.random(100) < 0.5, -4.0, 4.0)
    found = judge(table, everything(count), departure, np.ones(count), BuddySettings(factor=3.0))
    assert found.far[planted].mean() > 0.97
