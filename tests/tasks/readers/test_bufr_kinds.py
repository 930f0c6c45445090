"""Each kind of WMO report, written bit by bit: what it is called and what becomes of its values."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.observations.conversions import (
    height_to_pressure,
    relative_to_specific_humidity,
    wind_components,
)

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "bufr")]
from bufr_messages import Field, message, packed
from reading import counts, read, value

WHEN_WHERE = (301011, 301012, 301021)


def when_where(latitude: float = 10.0, longitude: float = -20.0) -> list[Field]:
    place = [(round((latitude + 90) * 1e5), 25), (round((longitude + 180) * 1e5), 26)]
    return [(2020, 12), (6, 4), (1, 6), (12, 5), (30, 6), *place]


def text(own: str, length: int) -> Field:
    return int.from_bytes(own.ljust(length).encode(), "big"), 8 * length


def one(
    tmp_path: Path, category: int, descriptors: list[int], fields: list[Field]
) -> pd.DataFrame:
    (tmp_path / "a.bufr").write_bytes(message(descriptors, packed(fields), category=category))
    table, _ = read(tmp_path / "a.bufr")
    assert (table["time"] == pd.Timestamp("2020-06-01T12:30")).all()
    assert (table["lat"] == 10.0).all() and (table["lon"] == 340.0).all()
    return table


def test_ship(tmp_path: Path) -> None:
    fields = [text("DBLK", 9), *when_where(), (28_515, 16), (10_132, 14), (29_315, 15)]
    table = one(tmp_path, 1, [1011, *WHEN_WHERE, 12101, 10051, 22043], fields)
    assert counts(table) == {"t2m": 1, "msl": 1, "sst": 1}
    assert set(table["type"]) == {"ship"} and set(table["station"]) == {"DBLK"}
    assert value(table, "sst")["observation"] == pytest.approx(293.15)
    assert value(table, "msl")["observation"] == 101_320.0
    assert (table["pres"] == 101_320.0).all() and (table["elev"] == 0.0).all()


def test_buoy(tmp_path: Path) -> None:
    fields = [(62_001, 17), *when_where(), (240, 9), (81, 12)]
    table = one(tmp_path, 1, [1005, *WHEN_WHERE, 11001, 11002], fields)
    assert set(table["type"]) == {"buoy"} and set(table["station"]) == {"62001"}
    u, v = wind_components(np.array([8.1]), np.array([240.0]))
    assert table["observation"].to_numpy() == pytest.approx([u[0], v[0]])


def test_pilot_by_height(tmp_path: Path) -> None:
    levels: list[Field] = [(2, 8), (2500, 17), (90, 9), (100, 12), (4000, 17), (180, 9), (200, 12)]
    descriptors = [1001, 1002, *WHEN_WHERE, 103000, 31001, 7007, 11001, 11002]
    table = one(tmp_path, 2, descriptors, [(10, 7), (393, 10), *when_where(), *levels])
    assert set(table["type"]) == {"pilot"} and set(table["station"]) == {"10393"}
    assert table["observation"].to_numpy() == pytest.approx([-10, 0, 0, 20], abs=1e-12)
    assert list(table["height"]) == [1500.0, 1500.0, 3000.0, 3000.0]
    expected = height_to_pressure(np.array([1500.0, 1500.0, 3000.0, 3000.0]))
    assert table["pres"].to_numpy() == pytest.approx(expected)


@pytest.mark.parametrize("count", [0, 1])
def test_compressed_soundings_may_have_no_levels(tmp_path: Path, count: int) -> None:
    fields: list[Field] = []
    for least, width in [(10, 7), (393, 10), *when_where(), (count, 8)]:
        fields += [(least, width), (0, 6)]
    for least, width in [(8500, 14), (28_000, 16)] * count:
        fields += [(least, width), (0, 6)]
    descriptors = [1001, 1002, *WHEN_WHERE, 102000, 31001, 7004, 12101]
    (tmp_path / "a.bufr").write_bytes(message(descriptors, packed(fields), 2, True, category=2))
    table, account = read(tmp_path / "a.bufr")
    assert len(table) == 2 * count and account.reports == 2 and not account.damages
    assert account.left["report", "nothing of the table in it"] == 2 - 2 * count


def test_aircraft_with_relative_humidity(tmp_path: Path) -> None:
    fields = [text("EU1234", 8), *when_where(), (5000, 14), (25_000, 16), (50, 7)]
    table = one(tmp_path, 4, [1006, *WHEN_WHERE, 7004, 12101, 13003], fields)
    assert counts(table) == {"t": 1, "q": 1} and set(table["type"]) == {"aircraft"}
    q = relative_to_specific_humidity(np.array([0.5]), np.array([250.0]), np.array([50_000.0]))
    assert value(table, "q")["observation"] == pytest.approx(q[0])
    assert set(table["station"]) == {"EU1234"}


def test_satellite_winds_compressed(tmp_path: Path) -> None:
    same = [(55, 10), (0, 6)]
    for least, width in when_where():
        same += [(least, width), (0, 6)]
    own = [(2000, 14), (10, 6), (0, 10), (500, 10), (0, 9), (9, 6), (90, 9), (270, 9)]
    speed = [(100, 12), (0, 6)]
    descriptors = [1007, *WHEN_WHERE, 7004, 11001, 11002]
    data = message(descriptors, packed([*same, *own, *speed]), 2, True, category=5)
    (tmp_path / "a.bufr").write_bytes(data)
    table, account = read(tmp_path / "a.bufr")
    assert account.reports == 2 and set(table["type"]) == {"satwind"}
    assert list(table["pres"]) == [20_000.0, 20_000.0, 25_000.0, 25_000.0]
    assert table["observation"].to_numpy() == pytest.approx([-10, 0, 10, 0], abs=1e-12)
    assert set(table["station"]) == {"satellite 55"}


def test_radiances_are_named_not_read(tmp_path: Path) -> None:
    data = message(
        [1007, *WHEN_WHERE, 12063], packed([(55, 10), *when_where(), (1, 12)]), category=21
    )
    (tmp_path / "a.bufr").write_bytes(data)
    table, account = read(tmp_path / "a.bufr")
    assert not len(table)
    reason = (
        "category 21 (radiances of satellites), template 0 01 007, 3 01 011, 3 01 012, 3 01 021, …"
    )
    assert account.left["report", reason] == 1
