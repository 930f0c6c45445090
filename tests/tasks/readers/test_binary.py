"""MADIS extracts; IODA, ODB-2 and Parquet files written by the test."""

import gzip
import sys
from pathlib import Path

import netCDF4
import numpy as np
import pandas as pd
import pyodc
import pytest

from models.observations.conversions import height_to_pressure, wind_components
from models.observations.quality.flags import flagged

sys.path.insert(0, str(Path(__file__).parent))
from reading import counts, read, value

MADIS = Path(__file__).parents[2] / "data" / "madis"
KNOWN = {
    "2005082600_acars": (60, 60, {"t": 45, "q": 5, "u": 43, "v": 43}),
    "2005082600_metar": (
        *(48, 48),
        {"t2m": 47, "q2m": 46, "u10": 47, "v10": 47, "sp": 46, "msl": 15},
    ),
    "2005082600_marine": (
        *(49, 49),
        {"t2m": 18, "q2m": 9, "u10": 17, "v10": 17, "sp": 10, "msl": 26, "sst": 38},
    ),
    "2005082600_rawin": (13, 407, {"t": 320, "q": 282, "u": 272, "v": 272, "z": 179}),
    "2011052700_satwnd": (43, 43, {"u": 43, "v": 43}),
    "2011060311_profiler": (6, 344, {"u": 344, "v": 344}),
}


@pytest.mark.parametrize("name", KNOWN)
def test_madis_known_counts(name: str) -> None:
    table, account = read(MADIS / f"{name}.nc.gz")
    messages, reports, kept = KNOWN[name]
    assert (account.messages, account.reports, counts(table)) == (messages, reports, kept)


def test_madis_values_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "acars.nc"
    path.write_bytes(gzip.decompress((MADIS / "2005082600_acars.nc.gz").read_bytes()))
    table, _ = read(path)
    with netCDF4.Dataset(path) as file:
        t, altitude = file["temperature"][:], file["altitude"][:]
        both = ~np.ma.getmaskarray(t) & ~np.ma.getmaskarray(altitude)
        assert value(table, "t")["observation"] == float(t[both][0])
        expected = height_to_pressure(np.asarray(altitude[both], np.float64))
        assert table.loc[table["variable"] == "t", "pres"].to_numpy() == pytest.approx(expected)
        speed, direction = file["windSpeed"][:], file["windDir"][:]
        wind = both & ~np.ma.getmaskarray(speed) & ~np.ma.getmaskarray(direction)
        u, _ = wind_components(
            np.asarray(speed[wind], np.float64), np.asarray(direction[wind], np.float64)
        )
    assert len(u) <= 43
    assert set(u.round(6)) <= set(
        table.loc[table["variable"] == "u", "observation"].to_numpy().round(6)
    )


def test_madis_letters_are_kept() -> None:
    table, _ = read(MADIS / "2005082600_metar.nc.gz")
    marks = table[table["variable"] == "q2m"]["quality"].value_counts().to_dict()
    assert marks == {3: 45, 5: 1}  # V, Q


def test_what_madis_says_of_a_place_counts_for_its_values(tmp_path: Path) -> None:
    path = tmp_path / "acars.nc"
    path.write_bytes(gzip.decompress((MADIS / "2005082600_acars.nc.gz").read_bytes()))
    sound, _ = read(path)
    assert not sound["quality"].isin([4, 5, 7]).any()
    with netCDF4.Dataset(path, "a") as file:
        both = ~np.ma.getmaskarray(file["temperature"][:]) & ~np.ma.getmaskarray(
            file["windSpeed"][:]
        )
        first, second, third, fourth, *_ = np.flatnonzero(both)
        file["longitudeDD"][first] = "X"
        file["altitudeDD"][second] = "Q"
        file["temperatureDD"][second] = "B"
        file["windDirDD"][third], file["windSpeedDD"][third] = "Q", "G"
        file["latitudeDD"][fourth] = "C"
        times = [pd.Timestamp(int(file["timeObs"][n]), unit="s") for n in (first, second, third)]
        names = [
            b"".join(file["en_tailNumber"][n].compressed()).decode().strip("\0 ")
            for n in (first, second, third)
        ]
    table, _ = read(path)
    own = [
        table[(table["time"] == time) & (table["station"] == name)].set_index("variable")
        for time, name in zip(times, names, strict=True)
    ]
    assert (own[0]["quality"] == 4).all() and len(own[0]) >= 1
    assert own[1].loc["t", "quality"] == 7 and set(own[1]["quality"]) <= {5, 7}
    assert own[2].loc["u", "quality"] == 5 and own[2].loc["t", "quality"] != 5
    assert flagged(table).sum() == len(own[0]) + len(own[1]) + 2


def test_madis_soundings_a_day_late_are_turned_back() -> None:
    table, account = read(MADIS / "2005082600_rawin.nc.gz")
    assert account.left["other value", "release time a day late: turned back"] == 5
    assert table["time"].min() == pd.Timestamp("2005-08-25T23:00")
    assert table["time"].max() == pd.Timestamp("2005-08-26T00:00")


def write_ioda(path: Path, unit: str = "K") -> None:
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("Location", 3)
        meta, observed = file.createGroup("MetaData"), file.createGroup("ObsValue")
        error, marks = file.createGroup("ObsError"), file.createGroup("PreQC")

        def put(group: netCDF4.Group, name: str, kind: str, own: object, units: str = "") -> None:
            variable = group.createVariable(name, kind, ("Location",))
            if units:
                variable.units = units
            variable[:] = np.array(own, object if kind == str else None)

        put(meta, "latitude", "f4", [10.0, 20.0, -30.0], "degrees_north")
        put(meta, "longitude", "f4", [-170.0, 20.0, 30.0], "degrees_east")
        put(meta, "pressure", "f4", [50_000.0, 85_000.0, 25_000.0], "Pa")
        put(meta, "dateTime", "i8", [1_577_836_800 + n for n in (0, 60, 7200)])
        meta["dateTime"].units = "seconds since 1970-01-01T00:00:00Z"
        put(meta, "stationIdentification", str, ["A1", "B2", "C3"])
        fill = float(netCDF4.default_fillvals["f4"])
        put(observed, "airTemperature", "f4", [250.0, 280.0, fill], unit)
        put(observed, "windEastward", "f4", [5.0, -5.0, 50.0], "m s-1")
        put(observed, "windNorthward", "f4", [1.0, fill, 2.0], "m s-1")
        put(observed, "ozoneProfile", "f4", [1.0, 2.0, 3.0])
        put(error, "airTemperature", "f4", [1.2, 1.5, fill], "K")
        put(marks, "airTemperature", "i4", [2, 3, 15])
        put(marks, "windEastward", "i4", [1, 2, 15])
        put(marks, "windNorthward", "i4", [4, 15, 2])


def test_ioda_by_hand(tmp_path: Path) -> None:
    write_ioda(tmp_path / "sondes_obs_2020010100.nc4")
    table, account = read(tmp_path / "sondes_obs_2020010100.nc4")
    assert counts(table) == {"u": 3, "t": 2, "v": 2}
    t = value(table, "t")
    assert (t["observation"], t["error"], t["quality"]) == (250.0, pytest.approx(1.2), 2)
    assert (t["lon"], t["pres"], t["station"], t["type"]) == (190.0, 50_000.0, "A1", "sondes")
    assert value(table, "u", -1)["time"] == pd.Timestamp("2020-01-01T02:00")
    assert table.loc[table["variable"] == "u", "quality"].tolist() == [1, 2, 15]
    assert table.loc[table["variable"] == "v", "quality"].tolist() == [4, 2]
    assert account.left["other value", "ozoneProfile: no variable of the table"] == 3


def test_ioda_in_a_wrong_unit_is_refused(tmp_path: Path) -> None:
    write_ioda(tmp_path / "sondes.nc4", unit="hPa")
    _, account = read(tmp_path / "sondes.nc4")
    ((what, reason),) = account.left
    assert what == "file" and reason.startswith("airTemperature: unit 'hPa'")


def write_odb(path: Path) -> None:
    size = 5
    frame = pd.DataFrame(
        {
            "varno@body": [2, 3, 4, 39, 999],
            "obsvalue@body": [250.0, 5.0, -3.0, 280.0, 1.0],
            "lat@hdr": [50.0, 50.0, 50.0, 10.0, 10.0],
            "lon@hdr": [-10.0, -10.0, -10.0, 20.0, 20.0],
            "date@hdr": [20200101] * size,
            "time@hdr": [60000] * size,
            "vertco_type@body": [1] * size,
            "vertco_reference_1@body": [50_000.0] * size,
            "obstype@hdr": [5, 5, 5, 1, 1],
            "statid@hdr": ["AB", "AB", "AB", "CD", "CD"],
            "stalt@hdr": [10.0] * size,
            "obs_error@errstat": [1.0] * size,
            "datum_status@body": [1] * size,
        }
    )
    with path.open("wb") as file:
        pyodc.encode_odb(frame, file)


def test_odb_by_hand(tmp_path: Path) -> None:
    write_odb(tmp_path / "a.odb")
    table, account = read(tmp_path / "a.odb")
    assert counts(table) == {"t": 1, "u": 1, "v": 1, "t2m": 1}
    t = value(table, "t")
    assert (t["observation"], t["pres"], t["type"], t["station"]) == (250.0, 5e4, "temp", "AB")
    assert (t["lon"], t["error"], t["quality"]) == (350.0, 1.0, 1)
    assert t["time"] == pd.Timestamp("2020-01-01T06:00")
    assert value(table, "t2m")["type"] == "synop"
    assert account.left["other value", "varno 999: no variable of the table"] == 1


def test_odb_without_pyodc_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_odb(tmp_path / "a.odb")
    monkeypatch.setitem(sys.modules, "pyodc", None)
    _, account = read(tmp_path / "a.odb")
    assert account.left["file", "ODB-2 needs pyodc: pip install 'losda[odb]'"] == 1


def test_parquet_of_earth2studio(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "time": pd.to_datetime(["2020-01-01T00:00", "2020-01-01T01:00", None]),
            "lat": np.array([10.0, 95.0, 0.0], np.float32),
            "lon": np.array([-20.0, 0.0, 0.0], np.float32),
            "pres": np.array([50_000.0, 1.0, 1.0], np.float32),
            "variable": ["t", "u", "v"],
            "observation": np.array([250.0, 1.0, 2.0], np.float32),
            "type": np.array([120, 220, 220], np.uint16),
            "class": ["conv", "conv", "conv"],
        }
    )
    frame.to_parquet(tmp_path / "a.parquet")
    table, account = read(tmp_path / "a.parquet")
    assert len(table) == 1 and table["lon"].iloc[0] == 340.0 and table["class"].iloc[0] == "conv"
    assert table["type"].iloc[0] == "120" and np.isnan(table["error"].iloc[0])
    assert account.left["report", "position is missing or not valid"] == 1
    assert account.left["report", "time is missing or not valid"] == 1


def test_parquet_of_nnja(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "OBS_TIMESTAMP": pd.to_datetime(["2021-01-01T00:00Z", "2021-01-01T00:30Z"]),
            "LAT": [10.0, 20.0],
            "LON": [-20.0, 30.0],
            "RPID": ["72201", "72202"],
            "SELV": [5.0, 6.0],
            "TEMHUMDA.TMDB": [280.0, np.nan],
            "TMDB_PRLC50000": [250.0, 251.0],
            "WSPD_PRLC50000": [10.0, 20.0],
            "WDIR_PRLC50000": [270.0, 180.0],
            "TOPC": [1.0, np.nan],
        }
    )
    frame.to_parquet(tmp_path / "a.parquet")
    table, account = read(tmp_path / "a.parquet")
    assert counts(table) == {"t": 2, "u": 2, "v": 2, "t2m": 1}
    aloft = value(table, "u")
    assert (aloft["observation"], aloft["pres"], aloft["station"]) == (10.0, 50_000.0, "72201")
    assert account.left["other value", "TOPC: no variable of the table"] == 1
