import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.observations.conversions import dewpoint_to_specific_humidity, height_to_pressure
from models.observations.reports import QUANTITIES, VARIABLES, Reports
from models.observations.table import validate_table
from models.observations.tabulate import NO_POSITION, NO_TIME, NOTHING, tabulate

Values = dict[str, list[float]]


def reports(size: int = 1, surface: bool = True, **values: list[float]) -> Reports:
    return Reports(
        np.full(size, np.datetime64("2020-01-01T06:00", "ns")),
        np.full(size, 50.0),
        np.full(size, -10.0),
        np.full(size, 100.0),
        np.full(size, "synop", object),
        np.full(size, "10001", object),
        np.full(size, surface),
        {name: np.array(own, np.float64) for name, own in values.items()},
    )


def row(table: pd.DataFrame, variable: str) -> pd.Series:
    return table.set_index("variable").loc[variable]


def test_a_surface_report_becomes_one_row_a_value() -> None:
    own = reports(
        temperature=[280.0],
        dewpoint=[275.0],
        wind_speed=[5.0],
        wind_direction=[270.0],
        station_pressure=[99_000.0],
        sea_level_pressure=[100_200.0],
    )
    result = tabulate(own, "test")
    table = validate_table(result.table)
    assert list(table["variable"]) == ["t2m", "q2m", "u10", "v10", "sp", "msl"]
    q = dewpoint_to_specific_humidity(np.array([275.0]), np.array([99_000.0]))[0]
    expected = [280.0, q, 5.0, 0.0, 99_000.0, 100_200.0]
    assert table["observation"].to_numpy() == pytest.approx(expected, abs=1e-12)
    assert (table["pres"] == 99_000.0).all() and (table["lon"] == 350.0).all()
    assert result.candidates == 6 and not result.values_left and not result.reports_left
    assert table["error"].isna().all() and (table["quality"] == 0).all()


def test_a_value_has_the_mark_of_what_it_comes_from() -> None:
    nan = np.nan
    own = reports(
        2,
        station_pressure=[99_000.0, nan],
        altimeter=[101_000.0, 101_325.0],
        specific_humidity=[nan, 0.005],
        dewpoint=[275.0, 270.0],
        u=[1.0, 2.0],
        v=[3.0, 4.0],
    )
    marks = {"station_pressure": [1, 2], "altimeter": [3, 4], "u": [5, 6], "v": [7, 8]}
    marks |= {"specific_humidity": [9, 10], "dewpoint": [11, 12]}
    own.quality = {name: np.array(own, np.int64) for name, own in marks.items()}
    table = tabulate(own, "test").table
    found = table.groupby("variable")["quality"].apply(list).to_dict()
    assert found == {"sp": [1, 4], "q2m": [11, 10], "u10": [5, 6], "v10": [7, 8]}


def test_pressure_comes_from_altimeter_or_sea_level_or_height() -> None:
    setting = tabulate(reports(temperature=[280.0], altimeter=[101_325.0]), "test").table
    assert row(setting, "sp")["pres"] == pytest.approx(height_to_pressure(np.array([100.0]))[0])
    reduced = tabulate(reports(temperature=[288.15], sea_level_pressure=[101_325.0]), "test").table
    assert row(reduced, "t2m")["pres"] == pytest.approx(100_129.0, abs=15.0)  # ICAO at 100 m
    aloft = tabulate(reports(surface=False, u=[1.0], v=[2.0], height=[5000.0]), "test").table
    assert row(aloft, "u")["pres"] == pytest.approx(54_019.9, rel=1e-5)
    assert row(aloft, "u")["height"] == 5000.0


@pytest.mark.parametrize(
    ("values", "surface", "reason"),
    [
        ({"wind_speed": [5.0]}, True, "u: speed without direction"),
        ({"wind_direction": [5.0]}, True, "u: direction without speed"),
        ({"wind_speed": [5.0], "wind_direction": [990.0]}, True, "u: direction is not 0 to 360"),
        (
            {"wind_speed": [np.inf], "wind_direction": [9.0]},
            True,
            "u: speed is negative or infinite",
        ),
        ({"dewpoint": [275.0]}, True, "q: no pressure to convert humidity with"),
        (
            {"relative_humidity": [0.5], "station_pressure": [9e4]},
            True,
            "q: no temperature to convert humidity with",
        ),
        ({"temperature": [250.0]}, False, "t: no pressure or height"),
        ({"temperature": [np.inf]}, True, "t: value is not finite"),
    ],
)
def test_what_cannot_be_converted_is_named(values: Values, surface: bool, reason: str) -> None:
    result = tabulate(reports(surface=surface, **values), "test")
    assert result.values_left[reason] == 1
    assert result.candidates == len(result.table) + sum(result.values_left.values())


def test_reports_without_time_place_or_values_are_named() -> None:
    own = reports(5, temperature=[280.0, 280.0, 280.0, np.nan, 280.0])
    own.time[0] = np.datetime64("NaT")
    own.latitude[1], own.longitude[2] = 91.0, 3.4e38
    result = tabulate(own, "test")
    assert result.reports_left == {NO_TIME: 1, NO_POSITION: 2, NOTHING: 1}
    assert len(result.table) == 1


def test_the_south_pole_is_a_place() -> None:
    own = reports(temperature=[220.0])
    own.latitude[0] = -90.00000000000001
    assert list(tabulate(own, "test").table["lat"]) == [-90.0]


def test_flags_and_errors_go_along() -> None:
    own = reports(temperature=[280.0], wind_speed=[0.0])
    own.quality = {"temperature": np.array([3])}
    own.errors = {"temperature": np.array([1.5])}
    table = tabulate(own, "test").table
    assert row(table, "t2m")["quality"] == 3 and row(table, "t2m")["error"] == 1.5
    assert row(table, "u10")["quality"] == 0 and np.isnan(row(table, "u10")["error"])


any_number = st.one_of(
    st.none(), st.floats(allow_subnormal=False), st.sampled_from([0.0, 9e4, 280.0])
)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.sampled_from(sorted(QUANTITIES)), any_number),
    st.booleans(),
    st.floats(allow_subnormal=False),
    st.floats(allow_subnormal=False),
)
def test_nothing_is_lost(
    values: dict[str, float | None], surface: bool, latitude: float, longitude: float
) -> None:
    own = reports(surface=surface, **{k: [np.nan if v is None else v] for k, v in values.items()})
    own.latitude[0], own.longitude[0] = latitude, longitude
    result = tabulate(own, "test")
    assert result.candidates == len(result.table) + sum(result.values_left.values())
    assert set(result.table["variable"]) <= set(VARIABLES)
    assert np.isfinite(result.table["observation"]).all()
    validate_table(result.table)


def test_no_reports_give_an_empty_valid_table() -> None:
    result = tabulate(Reports.none(), "test")
    assert result.candidates == 0 and not len(validate_table(result.table))
