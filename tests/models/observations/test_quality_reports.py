"""What a report says for itself: possible values and places, marks, the blocklist, duplicates."""

import numpy as np
import pandas as pd
import pytest

from models.observations.conversions import height_to_pressure
from models.observations.quality.blocklist import Block, blocked
from models.observations.quality.duplicates import duplicated, repeated
from models.observations.quality.flags import flagged, suspects
from models.observations.quality.values import (
    impossible_places,
    impossible_values,
    sentinels,
    supersaturated,
    unfitting_pressures,
)
from tests.quality_tables import HOURS, MOMENT, NOON, everything, rows


def test_sentinels_of_all_formats_are_found_and_values_are_not() -> None:
    bad = [
        99999.0,
        -9999.0,
        1e9,
        3.4028234663852886e38,
        9.96921e36,
        -1e100,
        -888888.0,
        2147483647.0,
    ]
    good = [0.0, -90.0, 273.15, 101325.0, 99998.0, 9998.0, 5e5]
    assert sentinels(np.array(bad)).all() and not sentinels(np.array(good)).any()


@pytest.mark.parametrize(
    ("variable", "pressure", "value", "wrong"),
    [
        ("t2m", 1e5, 372.0, True),  # perf_synop.bufr
        ("t2m", 1e5, 326.0, False),
        ("t2m", 68_000.0, 184.0, False),  # Vostok, 3488 m
        ("t", 2e4, 290.0, True),
        ("u10", 1e5, 349.0, True),
        ("u", 101_100.0, 160.0, True),  # temp.bufr, station 16754
        ("u", 25_000.0, 120.0, False),
        ("sp", np.nan, 10_000.0, True),
        ("q", 9e4, 0.02, False),
        ("q", 9e4, 20.0, True),
        ("t", 5e4, -18.0, True),  # degrees Celsius
    ],
)
def test_only_what_an_atmosphere_has_is_possible(
    variable: str, pressure: float, value: float, wrong: bool
) -> None:
    table = rows(1, variable=variable, pres=pressure, observation=value)
    assert impossible_values(table)[0] == wrong


def test_places_that_no_station_has() -> None:
    table = rows(5, pres=[0.0, 2e5, 5e4, 5e4, np.nan], elev=[0.0, 0.0, 12_000.0, -100.0, np.nan])
    assert impossible_places(table).tolist() == [True, True, True, False, False]


def test_humidity_is_judged_by_the_temperature_of_its_own_report() -> None:
    table = rows(4, variable=["t", "q", "q", "q"], observation=[273.15, 4.7e-3, 9.0e-3, 9.0e-3])
    table["station"], table["lat"], table["lon"] = ["a", "a", "a", "b"], 10.0, 10.0
    table["pres"] = 8e4
    # saturated at 0 degrees Celsius and 800 hPa: 0.622 · 611 / 79769 = 4.76e-3
    assert supersaturated(table).tolist() == [False, False, True, False]


def test_station_pressure_must_fit_its_elevation() -> None:
    height = np.array([0.0, 1500.0, 3488.0])
    table = rows(3, variable="sp", observation=height_to_pressure(height), elev=height)
    assert not unfitting_pressures(table).any()
    assert unfitting_pressures(table.assign(elev=height + 1200.0)).all()
    assert not unfitting_pressures(table.assign(elev=np.nan)).any()
    assert not unfitting_pressures(table.assign(variable="msl", elev=height + 1200)).any()


def test_all_bits_of_an_odb_status_are_looked_at() -> None:
    table = rows(4, source="odb:x", quality=np.array([1 + 64, 4 + 64, 8 + 512, 2 + 16]))
    assert flagged(table).tolist() == [False, True, True, False]
    assert suspects(table).tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    ("source", "code", "bad", "doubtful"),
    [
        ("bufr:rap", 120, range(4, 16), {3}),
        ("bufr:synop", 0, (4,), {3}),
        ("madis:metar", 0, (4, 5, 7), {8}),
        ("isd:x", 0, (3, 7), {2, 6}),
        ("ioda:x", 0, range(4, 16), {3}),
        ("odb:x", 0, range(4, 16), {2, 3, 6, 7, 10, 11, 14, 15}),
        ("igra:x", 0, (), set()),
    ],
)
def test_marks_of_providers(source: str, code: int, bad: range, doubtful: set[int]) -> None:
    table = rows(16, source=source, quality=np.arange(16), report_code=code)
    assert np.flatnonzero(flagged(table)).tolist() == list(bad)
    assert set(np.flatnonzero(suspects(table))) == doubtful


def test_blocklist_matches_patterns_within_its_period() -> None:
    table = rows(
        4, type=["temp", "temp", "ship", "temp"], station=["89009", "89050", "89009", "1"]
    )
    table.loc[1, "time"] = NOON + pd.Timedelta(days=1)
    assert blocked(table, [Block(type="temp", station="89*")]).tolist() == [
        True,
        True,
        False,
        False,
    ]
    until = [Block(station="89*", until=NOON)]
    assert blocked(table, until).tolist() == [True, False, True, False]
    assert not blocked(table, [Block(station="89*", since=NOON + HOURS, until=NOON + HOURS)]).any()
    assert not blocked(table, []).any()


def test_the_same_thing_twice_is_a_duplicate_and_the_better_one_stays() -> None:
    table = rows(6, lat=10.0, lon=20.0, station="x", quality=[1, 0, 0, 0, 0, 0])
    table.loc[2, "station"] = "y"  # another header, the same value
    table.loc[3, ["station", "observation"]] = ["z", 256.0]  # another station
    table.loc[4, "pres"] = 5.1e4  # another level
    table.loc[5, "variable"] = "q"
    assert duplicated(table, everything(6)).tolist() == [True, False, True, False, False, False]


def test_duplicates_are_looked_for_among_candidates_only() -> None:
    table = rows(2, lat=10.0, lon=20.0, station="x")
    assert duplicated(table, np.array([False, True])).tolist() == [False, False]


def test_of_a_stations_reports_the_nearest_in_time_stays() -> None:
    minutes = [-120, 10, 60, 0]
    table = rows(4, lat=10.0, lon=20.0, station=["a", "a", "a", ""], variable="t2m")
    table["time"] = [NOON + pd.Timedelta(minutes=m) for m in minutes]
    table["pres"] = [1e5, 1.001e5, 1.002e5, 1e5]  # the weather's, not the place's
    offset = MOMENT.offset(table["time"])
    assert offset.tolist() == [7200, 600, 3600, 0]
    assert repeated(table, everything(4), offset).tolist() == [True, False, True, False]
