from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from models.observations.table import COLUMNS, background_check, screen, validate_table
from models.state import StateSpec, embedded_spec

Tables = Callable[..., pd.DataFrame]


def test_validation_is_idempotent_and_keeps_the_columns_of_sources(make_table: Tables) -> None:
    table = make_table(3).assign(extra=[1, 2, 3])
    once = validate_table(table)
    assert list(once.columns) == [*COLUMNS, "extra"]
    pd.testing.assert_frame_equal(validate_table(once), once)


def test_types_are_made_equal(make_table: Tables) -> None:
    table = make_table(
        3,
        time=pd.date_range("2004-01-01", periods=3, freq="h", tz="UTC").as_unit("s"),
        lat=np.array([30, 40, 50], np.int32),
        observation=np.array([1, 2, 3], np.float32),
        quality=np.array([1.0, 2.0, 3.0]),
        variable=pd.Categorical(["t", "z", "t"]),
        station=np.array(["a", "b", "c"], object),
    )
    valid = validate_table(table.set_index(pd.Index([5, 6, 7])))
    assert valid["time"].dtype == "datetime64[ns]"
    assert valid["time"].iloc[2] == pd.Timestamp("2004-01-01T02")
    assert valid["lat"].dtype == valid["observation"].dtype == np.float64
    assert valid["quality"].dtype == np.int64
    assert valid["variable"].tolist() == ["t", "z", "t"]
    assert {str(valid[name].dtype) for name in ("variable", "station")} == {"str"}
    assert valid.index.tolist() == [0, 1, 2]


def test_level_is_optional(make_table: Tables) -> None:
    valid = validate_table(make_table(3).drop(columns="level"))
    assert valid["level"].isna().all()
    assert valid["level"].dtype == np.float64


def test_empty_tables_are_valid(make_table: Tables, europe: StateSpec) -> None:
    empty = validate_table(make_table(3).iloc[:0])
    assert len(screen(empty, europe)) == 0


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"time": ["2004-01-01T00"] * 3}, "column 'time' has the type str, allowed: datetime64"),
        (
            {"time": pd.date_range("2004-01-01", periods=3, tz="Europe/Berlin")},
            "column 'time' is in the time zone Europe/Berlin, allowed: UTC",
        ),
        ({"lat": ["a", "b", "c"]}, "column 'lat' has the type str, allowed: numbers"),
        ({"error": [True] * 3}, "column 'error' has the type bool, allowed: numbers"),
        ({"variable": [1, 2, 3]}, "column 'variable' has the type int64, allowed: text"),
        ({"station": ["a", None, "c"]}, "column 'station' has the type str, allowed: text"),
        ({"quality": [0.5, 1, 2]}, "column 'quality' has values that are not whole numbers"),
        ({"quality": [np.nan, 1, 2]}, "column 'quality' has values that are not whole numbers"),
    ],
)
def test_bad_columns_are_refused_in_one_line(
    make_table: Tables, columns: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match="^" + message) as error:
        validate_table(make_table(3, **columns))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [name for name in COLUMNS if name != "level"])
def test_missing_columns_are_refused_by_name(make_table: Tables, name: str) -> None:
    with pytest.raises(ValueError, match=f"^column '{name}' is missing .*; present: "):
        validate_table(make_table(3).drop(columns=name))


def test_double_columns_are_refused(make_table: Tables) -> None:
    table = make_table(3)
    with pytest.raises(ValueError, match="column 'lat' comes twice"):
        validate_table(pd.concat([table, table[["lat"]]], axis=1))


BAD_VALUES = [
    ({"time": pd.NaT}, "time is missing"),
    ({"lat": 90.5}, "latitude beyond the poles"),
    ({"lat": -1e100}, "latitude beyond the poles"),
    ({"lat": np.nan}, "position is not finite"),
    ({"lon": np.inf}, "position is not finite"),
    ({"lon": 9999.0}, "longitude beyond 360 degrees"),
    ({"lat": 20.0}, "position outside the grid"),
    ({"variable": "humidity"}, "unknown variable"),
    ({"level": 925.0}, "unknown level"),
    ({"observation": np.nan}, "value is not finite"),
    ({"observation": np.inf}, "value is not finite"),
    ({"observation": 12.5}, "value is not plausible"),
    ({"observation": 3.4e38}, "value is not plausible"),
    ({"error": np.nan}, "error is not finite"),
    ({"error": 0.0}, "error is not positive"),
    ({"error": -1.0}, "error is not positive"),
]


@pytest.mark.parametrize(("columns", "reason"), BAD_VALUES)
def test_bad_values_reject_their_row_only(
    make_table: Tables, europe: StateSpec, columns: dict[str, object], reason: str
) -> None:
    table = make_table(5)
    for name, value in columns.items():
        table.loc[2, name] = value
    screened = screen(validate_table(table), europe)
    assert screened["used"].tolist() == [True, True, False, True, True]
    assert screened["reason"].tolist() == ["", "", reason, "", ""]


def test_each_of_many_bad_rows_has_its_own_reason(make_table: Tables, europe: StateSpec) -> None:
    table = make_table(len(BAD_VALUES))
    for row, (columns, _) in enumerate(BAD_VALUES):
        for name, value in columns.items():
            table.loc[row, name] = value
    screened = screen(validate_table(table), europe)
    assert screened["reason"].tolist() == [reason for _, reason in BAD_VALUES]
    assert not screened["used"].any()


def test_window_excludes_its_start_and_includes_its_end(
    make_table: Tables, europe: StateSpec
) -> None:
    times = pd.to_datetime([f"2004-01-01T{hour:02d}" for hour in (2, 3, 4, 9, 10)])
    window = (pd.Timestamp("2004-01-01T03"), pd.Timestamp("2004-01-01T09"))
    screened = screen(validate_table(make_table(5, time=times)), europe, window)
    assert screened["used"].tolist() == [False, False, True, True, False]
    assert set(screened["reason"]) == {"", "time outside the window"}


def test_of_duplicates_the_first_good_one_is_used(make_table: Tables, europe: StateSpec) -> None:
    table = make_table(4, lat=42.0, lon=3.0, station="07481")
    table.loc[0, "observation"] = np.nan
    table.loc[3, "level"] = 500.0
    screened = screen(validate_table(table), europe)
    assert screened["reason"].tolist() == ["value is not finite", "", "duplicate", ""]


def test_nan_levels_and_pressures_do_not_hide_duplicates(
    make_table: Tables, europe: StateSpec
) -> None:
    table = make_table(2, lat=42.0, lon=3.0, station="07481", variable="msl", level=np.nan)
    screened = screen(validate_table(table.assign(observation=101325.0)), europe)
    assert screened["reason"].tolist() == ["", "duplicate"]


def test_south_pole_station_is_used(make_table: Tables) -> None:
    table = make_table(1, lat=-90.0, lon=0.0, variable="sp", level=np.nan, observation=69000.0)
    assert screen(validate_table(table), embedded_spec())["used"].all()


def test_background_check_rejects_beyond_its_factor_only(
    make_table: Tables, europe: StateSpec
) -> None:
    screened = screen(validate_table(make_table(5)), europe)
    screened.loc[4, ["used", "reason"]] = [False, "duplicate"]
    departure = np.array([0.0, 39.9, -40.1, np.nan, 1000.0])
    checked = background_check(screened, departure, np.full(5, 3.0), factor=40 / np.sqrt(10))
    assert checked["used"].tolist() == [True, True, False, True, False]
    assert checked["reason"].tolist() == ["", "", "far from the background", "", "duplicate"]
    assert screened["used"].tolist() == [True] * 4 + [False]
