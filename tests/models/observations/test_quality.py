"""Each check by its law, and the account of the chain: read = used + rejected, whatever is in it."""

import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.observations.conversions import height_to_pressure
from models.observations.quality.blocklist import Block, blocked
from models.observations.quality.buddies import BuddySettings, Places, buddy_statistic, judge
from models.observations.quality.control import (
    ControlSettings,
    Moment,
    screen_departures,
    screen_reports,
)
from models.observations.quality.departures import far_from, without_partner
from models.observations.quality.duplicates import duplicated, repeated
from models.observations.quality.flags import flagged, suspects
from models.observations.quality.reasons import Reason, Verdicts, account
from models.observations.quality.thinning import ThinningSettings, superobservations, thinned
from models.observations.quality.values import (
    impossible_places,
    impossible_values,
    sentinels,
    supersaturated,
    unfitting_pressures,
)
from models.observations.table import validate_table

NOON = pd.Timestamp("2020-01-01T12")
HOURS = pd.Timedelta(hours=3)
MOMENT = Moment(NOON - HOURS, NOON + HOURS, (NOON,))
VARIABLES = ("t", "q", "u", "v", "z", "t2m", "q2m", "u10", "v10", "sp", "msl", "nonsense")


def rows(count: int = 4, **columns: object) -> pd.DataFrame:
    table: dict[str, object] = {
        "time": np.full(count, NOON.to_datetime64(), "datetime64[ns]"),
        "lat": np.linspace(0.0, 60.0, count),
        "lon": np.linspace(0.0, 120.0, count),
        "elev": np.full(count, np.nan),
        "pres": np.full(count, 5e4),
        "variable": "t",
        "observation": np.full(count, 255.0),
        "error": np.ones(count),
        "type": "temp",
        "station": [f"{i:05d}" for i in range(count)],
        "source": "bufr:x",
        "quality": np.zeros(count, np.int64),
        "level": np.full(count, np.nan),
    }
    return validate_table(pd.DataFrame(table | columns))


def everything(count: int) -> np.ndarray:
    return np.ones(count, bool)


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


def dense(count: int = 4000, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    table = rows(count, type="aircraft", station=[f"{i % 50}" for i in range(count)])
    table["lat"] = np.degrees(np.arcsin(random.uniform(-1, 1, count)))
    table["lon"] = random.uniform(0, 360, count)
    table["pres"] = random.choice([2e4, 5e4, 8e4], count)
    return table


@pytest.mark.parametrize("spacing", [300.0, 1000.0, 40_000.0])
def test_one_of_each_box_stays(spacing: float) -> None:
    table, options = dense(), ThinningSettings(spacing=spacing)
    out, stands = thinned(table, everything(4000), np.zeros(4000), options)
    assert (out == (stands != np.arange(4000))).all() and not out[stands].any()
    apart = np.degrees(spacing / 6371.0)
    assert (table["pres"].to_numpy() == table["pres"].to_numpy()[stands]).all()
    assert (
        np.abs(table["lat"].to_numpy() - table["lat"].to_numpy()[stands]).max()
        < 1.01 * max(apart, 90)
        or spacing > 2e4
    )
    boxes = 4 * np.pi * 6371.0**2 / spacing**2 * 3
    assert (~out).sum() <= max(1.3 * boxes, 3 * 2)


def test_thinning_is_fair_to_both_components_and_prefers_the_nearest_in_time() -> None:
    wind = pd.concat([dense().assign(variable=name) for name in "uv"], ignore_index=True)
    offset = np.tile(np.random.default_rng(1).uniform(0, 1e4, 4000), 2)
    out, stands = thinned(wind, everything(8000), offset, ThinningSettings(spacing=1000.0))
    assert (out[:4000] == out[4000:]).all() and out.any()
    assert (np.round(offset[stands] / 600) <= np.round(offset / 600)).all()


def test_only_the_types_that_are_dense_are_thinned() -> None:
    table = dense().assign(type="temp")
    assert not thinned(table, everything(4000), np.zeros(4000), ThinningSettings())[0].any()
    none = ThinningSettings(kind="none")
    assert not thinned(dense(), everything(4000), np.zeros(4000), none)[0].any()


def test_a_superobservation_is_the_weighted_mean_departure_at_its_place() -> None:
    table = rows(3, observation=[250.0, 252.0, 260.0], error=[1.0, 1.0, 2.0])
    departure, stands = np.array([1.0, 2.0, -3.0]), np.array([0, 0, 2])
    merged = superobservations(table, everything(3), stands, departure, common=0.0)
    assert merged["observation"].tolist() == [250.5, 252.0, 260.0]  # H(x_b) = 249 there
    assert merged["error"].tolist() == pytest.approx([np.sqrt(0.5), 1.0, 2.0])
    assert merged["reported"].tolist() == [250.0, 252.0, 260.0]
    assert merged["merged"].tolist() == [2, 0, 1]
    common = superobservations(table, everything(3), stands, departure, common=1.0)
    assert common["error"][0] == pytest.approx(1.0)


def test_superobservations_of_independent_errors_are_as_good_as_they_say() -> None:
    random, table = np.random.default_rng(2), dense(20_000)
    departure = random.standard_normal(20_000)
    options = ThinningSettings(kind="superob", spacing=2000.0, common=0.0)
    table = table.assign(observation=255.0 + departure, used=True, reason="", o_minus_b=departure)
    control = ControlSettings(buddies=None, background=None, thinning=options)
    found = screen_departures(table, control, MOMENT, np.zeros(20_000))
    used = found[found["used"]]
    assert used["merged"].sum() == 20_000 and (used["merged"] > 5).mean() > 0.9
    normalized = used["o_minus_b"] / used["error"]
    assert normalized.std() == pytest.approx(1.0, abs=0.1)
    assert (found.loc[~found["used"], "reason"] == Reason.MERGED).all()


def test_verdicts_keep_the_first_reason() -> None:
    verdicts = Verdicts(3)
    verdicts.reject(np.array([True, False, False]), Reason.FLAG)
    verdicts.reject(np.array([True, True, False]), Reason.DUPLICATE)
    verdicts.reject_each(np.array(["other", "", "some text"], object))
    table = verdicts.on(rows(3))
    assert table["reason"].tolist() == [Reason.FLAG, Reason.DUPLICATE, "some text"]
    again = Verdicts.of(table).on(table)
    pd.testing.assert_frame_equal(again, table)
    with pytest.raises(ValueError, match="used or have a reason"):
        Verdicts.of(table.assign(used=True))


wild = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, 1.0, 9999.0, 99999.0, 273.15, 1e5, 5e4, -90.0, 360.0, 1e-3]),
)


@st.composite
def tables(draw: Callable[..., object]) -> pd.DataFrame:
    count = int(draw(st.integers(0, 12)))  # type: ignore[call-overload]
    column: Callable[..., list[object]] = lambda of: draw(
        st.lists(of, min_size=count, max_size=count)
    )  # type: ignore[assignment,return-value]
    shifts = column(st.one_of(st.none(), st.integers(-300, 300)))
    times = [pd.NaT if s is None else NOON + pd.Timedelta(minutes=s) for s in shifts]
    table = {
        "time": pd.Series(times, dtype="datetime64[ns]"),
        **{name: np.array(column(wild), np.float64) for name in ("lat", "lon", "elev", "pres")},
        "variable": pd.Series(column(st.sampled_from(VARIABLES)), dtype="str"),
        "observation": np.array(column(wild), np.float64),
        "error": np.array(column(wild), np.float64),
        "type": pd.Series(column(st.sampled_from(["temp", "aircraft", "synop"])), dtype="str"),
        "station": pd.Series(column(st.sampled_from(["", "a", "b"])), dtype="str"),
        "source": pd.Series(
            column(st.sampled_from(["madis:x", "bufr:y", "", "odb:z"])), dtype="str"
        ),
        "quality": np.array(column(st.integers(0, 20)), np.int64),
        "level": np.array(column(st.sampled_from([np.nan, 0.51, 500.0])), np.float64),
    }
    return validate_table(pd.DataFrame(table))


@settings(max_examples=60, deadline=None)
@given(tables(), st.sampled_from(["none", "thin", "superob"]), st.data())
def test_every_row_is_used_or_has_one_reason(
    table: pd.DataFrame, kind: str, data: st.DataObject
) -> None:
    options = ControlSettings(
        suspects=data.draw(st.booleans()),
        blocklist=(Block(station="b"),),
        thinning=ThinningSettings(kind=kind, spacing=5000.0),  # type: ignore[arg-type]
    )
    first = screen_reports(table, options, MOMENT)
    count = len(table)
    departure = np.array(data.draw(st.lists(wild, min_size=count, max_size=count)), np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        last = screen_departures(
            first.assign(o_minus_b=departure), options, MOMENT, np.ones(count)
        )
    for found in (first, last):
        assert len(found) == len(table)
        assert ((found["reason"] == "") == found["used"]).all()
        assert account(found)["count"].sum() == len(table)
        kept = (
            found["observation"]
            if kind != "superob"
            else found.get("reported", found["observation"])
        )
        pd.testing.assert_series_equal(kept, table["observation"], check_names=False)
        assert set(found["reason"]) <= {"", *Reason}
    assert not (last["used"] & ~first["used"]).any()
    used = last[last["used"]]
    assert np.isfinite(used[["lat", "lon", "observation", "error"]]).all(axis=None)
    assert (used["error"] > 0).all() and (used["station"] != "b").all()


def test_a_hundred_thousand_rows_take_less_than_two_seconds() -> None:
    count, random = 100_000, np.random.default_rng(0)
    table = pd.concat([dense(count // 4, seed=i) for i in range(4)], ignore_index=True)
    table["variable"] = random.choice(["t", "u", "v", "q"], count)
    table["variable"] = table["variable"].astype("str")
    table["observation"] = np.where(
        table["variable"] == "q", 1e-5, 240.0 * (table["variable"] == "t")
    )
    began = time.process_time()
    first = screen_reports(table, ControlSettings(), MOMENT)
    departure = random.standard_normal(count)
    found = screen_departures(
        first.assign(o_minus_b=departure), ControlSettings(), MOMENT, np.ones(count)
    )
    assert time.process_time() - began < 4.0  # 0.6 s alone on the machine
    assert account(found)["count"].sum() == count
